/** ListBuckets, CreateBucket, HeadBucket, GetBucketLocation, DeleteBucket. */
import { base64url, utf8 } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { requestedAcl } from '../access/acl.ts'
import { readBody } from '../body/body.ts'
import type { GatewayRequest } from '../context.ts'
import { answerEmpty, answerXml } from '../http/answer.ts'
import { fromXml, textOf } from '../http/xml.ts'
import { withSetting } from '../objects/record.ts'
import { continuationToken, limitOf } from '../parameters.ts'

/** The buckets of the caller's tenant, by name; pages of them where the client asks for pages. */
export const listBuckets = async (ctx: GatewayRequest): Promise<void> => {
  const { domainId, name } = ctx.caller()
  const limit = ctx.query.has('max-buckets') ? limitOf(ctx, 'max-buckets') : Infinity
  const after = continuationToken(ctx) ?? ''
  const prefix = ctx.query.get('prefix')
  const region = ctx.query.get('bucket-region')
  const all = await ctx.options.store.listBuckets({ owner: domainId })
  const wanted = all.filter(
    bucket =>
      bucket.name.startsWith(prefix ?? '') && bucket.name > after && (region === undefined || region === bucket.region),
  )
  const page = wanted.slice(0, limit)
  const last = page.at(-1)
  answerXml(ctx.res, 'ListAllMyBucketsResult', {
    Owner: { ID: domainId, DisplayName: name },
    Buckets: {
      Bucket: page.map(bucket => ({
        Name: bucket.name,
        CreationDate: new Date(bucket.created).toISOString(),
        [ctx.dialect === 's3' ? 'BucketRegion' : 'Location']: bucket.region,
      })),
    },
    Prefix: prefix,
    ContinuationToken: last !== undefined && page.length < wanted.length ? base64url(utf8(last.name)) : undefined,
  })
}

/** Makes a bucket of the caller's tenant, in this region and no other. */
export const createBucket = async (ctx: GatewayRequest): Promise<void> => {
  const caller = ctx.caller()
  const bucket = ctx.bucketName()
  const { store, profile } = ctx.options
  const acl = requestedAcl(ctx.header)
  if (ctx.header('x-amz-bucket-object-lock-enabled')?.toLowerCase() === 'true') {
    throw new SseError('NotImplemented', { message: 'Object lock is not implemented here. Leave the header out.' })
  }
  const body = await readBody(ctx, 64 * 1024)
  const wanted = body === '' ? undefined : constraint(body)
  // SDKs name us-east-1 by leaving the constraint out; one that is named must be this region.
  if (wanted !== undefined && wanted !== '' && wanted !== profile.region) {
    throw new SseError('InvalidLocationConstraint', {
      message: `Buckets are made in region ${profile.region} here. Name it, or leave the constraint out.`,
      details: { LocationConstraint: wanted },
    })
  }
  await store.createBucket(bucket, { owner: caller.domainId, region: profile.region, created: ctx.now() })
  // A crash in between leaves the bucket closed.
  if (acl !== undefined && acl !== 'closed') {
    await store.updateBucket(bucket, current => withSetting(current, 'acl', acl))
  }
  answerEmpty(ctx.res, 200, { location: `/${bucket}` })
}

const constraint = (body: string): string | undefined => {
  const content = fromXml(body, 'CreateBucketConfiguration')
  return textOf(content, 'LocationConstraint') ?? textOf(content, 'Location')
}

/** Whether the bucket is there and the caller may list it; where it lies, in the words of both families of clients. */
export const headBucket = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:ListBucket')
  answerEmpty(ctx.res, 200, {
    'x-amz-bucket-region': bucket.region,
    'x-obs-bucket-location': bucket.region,
    'x-obs-version': '3.0',
    'x-obs-storage-class': 'STANDARD',
  })
}

/** Answers where the bucket lies. S3 calls the first of its regions by an empty name. */
export const getBucketLocation = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:GetBucketLocation')
  if (ctx.dialect === 'obs') answerXml(ctx.res, 'Location', { '#text': bucket.region })
  else answerXml(ctx.res, 'LocationConstraint', bucket.region === 'us-east-1' ? {} : { '#text': bucket.region })
}

/** Deletes an empty bucket. */
export const deleteBucket = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:DeleteBucket')
  await ctx.options.store.deleteBucket(bucket.name)
  answerEmpty(ctx.res, 204)
}

/** Says that OBS's own interface is spoken; whether the bucket exists is not said. */
export const headApiVersion = async (ctx: GatewayRequest): Promise<void> =>
  answerEmpty(ctx.res, 200, { 'x-obs-api': '3.0' })

const root = 'VersioningConfiguration'

/** Answers an empty configuration, or that versioning was suspended. */
export const getBucketVersioning = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:GetBucketVersioning')
  answerXml(ctx.res, root, { Status: bucket.settings['versioning'] })
}

/** Takes `Suspended`. */
export const putBucketVersioning = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:PutBucketVersioning')
  const content = fromXml(await readBody(ctx, 64 * 1024), root)
  const status = textOf(content, 'Status')
  if (status === 'Enabled' || textOf(content, 'MfaDelete') === 'Enabled') {
    throw new SseError('NotImplemented', {
      message: 'Versioning is not implemented here: objects have one version. Leave it suspended.',
    })
  }
  if (status !== 'Suspended') throw new SseError('MalformedXML')
  await ctx.options.store.updateBucket(bucket.name, current => withSetting(current, 'versioning', status))
  answerEmpty(ctx.res, 200)
}
