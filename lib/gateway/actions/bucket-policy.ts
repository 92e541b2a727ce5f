/** GetBucketPolicy, PutBucketPolicy, DeleteBucketPolicy. A tenant_admin of the owner always may, whatever the policy says. */
import { SseError } from '../../errors.ts'
import { parsePolicy } from '../../policy/parse.ts'
import { answerEmpty, setHeaders } from '../answer.ts'
import { readBody } from '../body.ts'
import { withSetting } from '../bucket-settings.ts'
import type { Context, OwnedBucket } from '../context.ts'

const maxBody = 64 * 1024

/** Another tenant may be let at objects by a policy, but never at the policy itself. */
const open = async (ctx: Context, permission: string): Promise<OwnedBucket> => {
  const owned = await ctx.openBucket(permission)
  if (!owned.own) {
    throw new SseError('MethodNotAllowed', { message: 'The policy is for the tenant that owns the bucket. Ask it.' })
  }
  return owned
}

/** Answers the policy as it was put. */
export const getBucketPolicy = async (ctx: Context): Promise<void> => {
  const { bucket } = await open(ctx, 's3:GetBucketPolicy')
  const text = bucket.settings['policy']
  if (text === undefined) throw new SseError('NoSuchBucketPolicy', { details: { BucketName: bucket.name } })
  const body = Buffer.from(text)
  setHeaders(ctx.res, { 'content-type': 'application/json', 'content-length': body.length })
  ctx.res.writeHead(200).end(body)
}

/** Puts a policy that can be held to. */
export const putBucketPolicy = async (ctx: Context): Promise<void> => {
  const { bucket } = await open(ctx, 's3:PutBucketPolicy')
  const policy = await readBody(ctx, maxBody, { malformed: 'MalformedPolicy' })
  parsePolicy(policy, { bucket: bucket.name })
  await ctx.options.store.updateBucket(bucket.name, current => withSetting(current, 'policy', policy))
  answerEmpty(ctx.res, 204)
}

/** Takes the policy away, if there is one. */
export const deleteBucketPolicy = async (ctx: Context): Promise<void> => {
  const { bucket } = await open(ctx, 's3:DeleteBucketPolicy')
  await ctx.options.store.updateBucket(bucket.name, current => withSetting(current, 'policy', undefined))
  answerEmpty(ctx.res, 204)
}
