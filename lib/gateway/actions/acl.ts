/** GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl: canned lists, by header or as the XML that they come to. */
import { SseError } from '../../errors.ts'
import { aclXml, type OpenAcl, parseAcl, requestedAcl } from '../acl.ts'
import { answerEmpty, answerXml } from '../answer.ts'
import { readBody } from '../body.ts'
import { withSetting } from '../bucket-settings.ts'
import type { Context, OwnedBucket } from '../context.ts'
import { readRecord, updateAttribute } from '../records.ts'

const root = 'AccessControlPolicy'

/** The list that a request asks for, by header or body and not by both. */
const wanted = async (ctx: Context, { owner }: OwnedBucket): Promise<OpenAcl | undefined> => {
  const named = requestedAcl(ctx.header)
  const body = await readBody(ctx, 64 * 1024)
  if (named !== undefined && body !== '') {
    throw new SseError('InvalidRequest', { message: 'The ACL stands in a header and in the body. Send one of them.' })
  }
  if (named === undefined && body === '') {
    throw new SseError('InvalidRequest', { message: `Name the ACL in x-amz-acl, or send an ${root}.` })
  }
  const acl = named ?? parseAcl(body, owner)
  return acl === 'closed' ? undefined : acl
}

/** Answers a bucket's list. */
export const getBucketAcl = async (ctx: Context): Promise<void> => {
  const { bucket, owner } = await ctx.openBucket('s3:GetBucketAcl')
  answerXml(ctx.res, root, aclXml(owner, bucket.settings['acl'], ctx.dialect))
}

/** Puts a bucket's list. */
export const putBucketAcl = async (ctx: Context): Promise<void> => {
  const owned = await ctx.openBucket('s3:PutBucketAcl')
  const acl = await wanted(ctx, owned)
  await ctx.options.store.updateBucket(owned.bucket.name, current => withSetting(current, 'acl', acl))
  answerEmpty(ctx.res, 200)
}

/** Answers an object's list. */
export const getObjectAcl = async (ctx: Context): Promise<void> => {
  const owned = await ctx.openBucket('s3:GetObjectAcl')
  const record = await readRecord(ctx, owned)
  answerXml(ctx.res, root, aclXml(owned.owner, record.attributes['acl'], ctx.dialect))
}

/** Puts an object's list. */
export const putObjectAcl = async (ctx: Context): Promise<void> => {
  const owned = await ctx.openBucket('s3:PutObjectAcl')
  const acl = await wanted(ctx, owned)
  await updateAttribute(ctx, owned, 'acl', acl)
  answerEmpty(ctx.res, 200)
}
