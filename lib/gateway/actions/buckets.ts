/** ListBuckets, CreateBucket, HeadBucket, GetBucketLocation, DeleteBucket. */
import { base64url, utf8 } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import type { HeaderGetter } from '../../sse/names.ts'
import { requestedAcl } from '../access/acl.ts'
import { assertOwnershipFits, requestedOwnership } from '../access/public-access.ts'
import { readBody } from '../body/body.ts'
import { answerEmpty, answerXml } from '../http/answer.ts'
import { answeredTime } from '../http/time.ts'
import { encodeTags, maxBucketTags, type Tag, tagsIn } from '../http/tags.ts'
import { field, fromXml, textOf } from '../http/xml.ts'
import { continuationToken, limitOf } from '../http/parameters.ts'
import { bucketNameOf, callerOf, type GatewayRequest, openBucket } from '../request.ts'

/** The buckets of the caller's tenant, by name; pages of them where the client asks for pages. */
export const listBuckets = async (request: GatewayRequest): Promise<void> => {
  const { domainId, name } = callerOf(request)
  const limit = request.query.has('max-buckets') ? limitOf(request, 'max-buckets') : Infinity
  const after = request.query.get('continuation-token') === '' ? '' : (continuationToken(request) ?? '')
  const prefix = request.query.get('prefix')
  const region = request.query.get('bucket-region')
  const all = await request.services.store.listBuckets({ owner: domainId })
  const wanted = all.filter(
    bucket =>
      bucket.name.startsWith(prefix ?? '') && bucket.name > after && (region === undefined || region === bucket.region),
  )
  const page = wanted.slice(0, limit)
  const last = page.at(-1)
  answerXml(request.res, 'ListAllMyBucketsResult', {
    Owner: { ID: domainId, DisplayName: name },
    Buckets: {
      Bucket: page.map(bucket => ({
        Name: bucket.name,
        CreationDate: answeredTime(bucket.created),
        ...(request.dialect === 's3'
          ? { BucketRegion: bucket.region, BucketArn: `arn:aws:s3:::${bucket.name}` }
          : { Location: bucket.region }),
      })),
    },
    Prefix: prefix,
    ContinuationToken: last !== undefined && page.length < wanted.length ? base64url(utf8(last.name)) : undefined,
  })
}

/** Makes a bucket of the caller's tenant, in this region and no other. */
export const createBucket = async (request: GatewayRequest): Promise<void> => {
  const caller = callerOf(request)
  const name = bucketNameOf(request)
  const { store, profile, limits, now } = request.services
  const asked = requestedAcl(request.header, {})
  const acl = asked === 'closed' ? undefined : asked
  const ownership = requestedOwnership(request.header)
  assertOwnershipFits(ownership, acl)
  assertKindBuilt(request.header)
  const body = await readBody(request, 64 * 1024)
  const { wanted, tags } = configuration(body)
  // SDKs name us-east-1 by leaving the constraint out; one that is named must be this region.
  if (wanted !== undefined && wanted !== '' && wanted !== profile.region) {
    throw new SseError('InvalidLocationConstraint', {
      message: `Buckets are made in region ${profile.region} here. Name it, or leave the constraint out.`,
      details: { LocationConstraint: wanted },
    })
  }
  const settings = {
    ...(acl !== undefined && { acl }),
    ...(ownership !== undefined && { ownership }),
    ...(tags.length > 0 && { tagging: encodeTags(tags) }),
  }
  const made = { owner: caller.domainId, region: profile.region, created: now(), settings }
  await store.createBucket(name, made, { most: limits.bucketsPerTenant })
  answerEmpty(request.res, 200, { location: `/${name}` })
}

/** `NotImplemented` for headers that ask for another kind of bucket than there is. */
const assertKindBuilt = (header: HeaderGetter): void => {
  for (const [name, kind, off] of [
    ['x-amz-bucket-object-lock-enabled', 'Object lock is', 'false'],
    ['x-obs-bucket-object-lock-enabled', 'Object lock is', 'false'],
    ['x-obs-fs-file-interface', 'Parallel file systems are', 'disabled'],
  ] as const) {
    if ((header(name)?.toLowerCase() ?? off) === off) continue
    const message = `${kind} not implemented here. Leave the header ${name} out.`
    throw new SseError('NotImplemented', { message, details: { Header: name } })
  }
}

/** What the document of a new bucket asks for. `MalformedXML`, `InvalidTag`; `NotImplemented` for a directory bucket. */
const configuration = (body: string): { readonly wanted?: string | undefined; readonly tags: readonly Tag[] } => {
  if (body === '') return { tags: [] }
  const content = fromXml(body, 'CreateBucketConfiguration')
  // Of a directory bucket the location is an element with a type and a name; OBS's is a text.
  const ofDirectory = field(content, 'Bucket') !== undefined || typeof field(content, 'Location') === 'object'
  if (ofDirectory) {
    const message =
      'Directory buckets are not implemented here. Leave out the elements Bucket, and Location with a Type.'
    throw new SseError('NotImplemented', { message })
  }
  const wanted = textOf(content, 'LocationConstraint') ?? textOf(content, 'Location')
  return { wanted, tags: tagsIn(field(content, 'Tags'), maxBucketTags) }
}

/** Whether the bucket is there and the caller may list it; where it lies, in the words of both families of clients. */
export const headBucket = async (request: GatewayRequest): Promise<void> => {
  const { bucket } = await openBucket(request, 's3:ListBucket')
  answerEmpty(request.res, 200, {
    'x-amz-bucket-region': bucket.region,
    'x-obs-bucket-location': bucket.region,
    'x-obs-version': '3.0',
    'x-obs-storage-class': 'STANDARD',
  })
}

/** Answers where the bucket lies. S3 calls the first of its regions by an empty name. */
export const getBucketLocation = async (request: GatewayRequest): Promise<void> => {
  const { bucket } = await openBucket(request, 's3:GetBucketLocation')
  if (request.dialect === 'obs') answerXml(request.res, 'Location', { '#text': bucket.region })
  else answerXml(request.res, 'LocationConstraint', bucket.region === 'us-east-1' ? {} : { '#text': bucket.region })
}

/** Deletes an empty bucket, in S3's profile with its open uploads. */
export const deleteBucket = async (request: GatewayRequest): Promise<void> => {
  const bucket = await openBucket(request, 's3:DeleteBucket')
  const { store, profile } = request.services
  await bucket.commit(judged => store.deleteBucket(judged, { dropUploads: !profile.uploadsKeepBucket }))
  answerEmpty(request.res, 204)
}

/** Says that OBS's own interface is spoken; whether the bucket exists is not said. */
export const headApiVersion = async (request: GatewayRequest): Promise<void> =>
  answerEmpty(request.res, 200, { 'x-obs-api': '3.0' })
