/** Plans a copy: its source, named by a header and opened under its own keys, and what the request makes of the target. */
import { utf8 } from '../../bytes.ts'
import { claimedKeyId } from '../../envelope/envelope.ts'
import { SseError } from '../../errors.ts'
import type { ByteRange } from '../../segment/layout.ts'
import { assertSelfCopyLegal, planCopy } from '../../sse/copy.ts'
import { parseCopySourceHeaders } from '../../sse/customer-key.ts'
import { customerNames, managedNames, obsNames, s3Names } from '../../sse/names.ts'
import { sameTenant } from '../../sse/profile.ts'
import { closedToOthers, type JudgedBucket, noSuchKey } from '../access/access.ts'
import { requestedAlgorithm } from '../body/checksums.ts'
import { assertSourceConditions, writeCondition } from '../http/conditions.ts'
import { objectHeaders } from '../http/object-headers.ts'
import { withTags } from '../http/tags.ts'
import { cut } from '../http/canonical.ts'
import { assertKeyLength, isBucketName, type ObjectName } from '../http/target.ts'
import type { CopyPlan, CopySource } from '../objects/copy.ts'
import { bucketEncryption, decideRead } from '../objects/encryption.ts'
import { type GatewayRequest, openForReading } from '../request.ts'
import { requestedNotes } from './write.ts'

const header = (request: GatewayRequest, name: string): string | undefined =>
  request.header(`x-amz-${name}`) ?? request.header(`x-obs-${name}`)

const invalidSource = (text: string, message: string): SseError =>
  new SseError('InvalidArgument', { message, details: { ArgumentName: 'x-amz-copy-source', ArgumentValue: text } })

/**
 * Bucket and key of `x-amz-copy-source`: percent-encoded, where a plus is a space, with or without a slash in front, or as the path of a URL. The
 * only version there is is "null".
 */
const sourceName = (text = ''): ObjectName => {
  const [path = '', query] = text.replace(/^https?:\/\/[^/?]*/, '').split('?', 2)
  if (query !== undefined && query !== 'versionId=null') {
    throw invalidSource(text, 'Versions are not kept here. Name the source without a versionId.')
  }
  let decoded: string
  try {
    decoded = decodeURIComponent(path.replaceAll('+', ' ')).replace(/^\//, '')
  } catch {
    throw invalidSource(text, 'Copy Source must be percent-encoded UTF-8.')
  }
  const [bucket, key = ''] = cut(decoded, '/')
  if (!isBucketName(bucket) || key === '') {
    throw invalidSource(text, 'Copy Source must mention the source bucket and key: sourcebucket/sourcekey.')
  }
  assertKeyLength(utf8(key).length)
  return { bucket, key }
}

/**
 * Opens the source: permission, existence, conditions, then role, tenant and keys. A copy outlives the source's key, so a bucket key in memory
 * does not do: the key store says whether the key is still enabled. `usableKey` is a key that it was just asked about.
 */
export const openSource = async (request: GatewayRequest, usableKey?: string): Promise<CopySource> => {
  const name = sourceName(header(request, 'copy-source'))
  const bucket = await openForReading(request, name)
  const opened = await request.services.store.openObject(bucket.bucket.id, name.key)
  if (opened === undefined) throw noSuchKey(bucket, name.key)
  const { record, body } = opened
  try {
    assertSourceConditions(request.header, record, request.services.now())
    const read = await decideRead(request.services, request, bucket, name.key, record, parseCopySourceHeaders)
    const fresh = record.envelope === undefined || claimedKeyId(record.envelope) !== usableKey
    const options = { ...read.options, fresh }
    const close = async () => {
      read.release()
      await body.close()
    }
    return { name, bucket, record, read: { ...read, options }, body, close }
  } catch (error) {
    await body.close()
    throw error
  }
}

/** `x-amz-copy-source-range`: exactly `bytes=first-last`, inside the source. */
export const sourceRange = (request: GatewayRequest, size: number): ByteRange | undefined => {
  const text = header(request, 'copy-source-range')
  if (text === undefined) return undefined
  const match = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(text)
  const [start, end] = [Number(match?.[1]), Number(match?.[2])]
  if (match === null || start > end || end >= size) {
    throw new SseError('InvalidArgument', {
      message: `The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy; the source has ${size} bytes.`,
      details: { ArgumentName: 'x-amz-copy-source-range', ArgumentValue: text },
    })
  }
  return { start, end }
}

/** COPY or REPLACE. */
const directive = (request: GatewayRequest, name: string): 'COPY' | 'REPLACE' => {
  const value = header(request, name) ?? 'COPY'
  if (value === 'COPY' || value === 'REPLACE') return value
  throw new SseError('InvalidArgument', {
    message: `Unknown ${name}. Use COPY or REPLACE.`,
    details: { ArgumentName: `x-amz-${name}`, ArgumentValue: value },
  })
}

const namesEncryption = (request: GatewayRequest): boolean =>
  [s3Names, obsNames]
    .flatMap(names => [...managedNames(names), ...customerNames(names.customer)])
    .some(name => request.header(name) !== undefined)

/** `InvalidRequest` for a copy of an object onto itself that changes nothing. */
const checkSelfCopy = (request: GatewayRequest, target: JudgedBucket, key: string, source: CopySource): void => {
  if (source.bucket.bucket.id !== target.bucket.id || source.name.key !== key) return
  assertSelfCopyLegal({
    replacesMetadata: directive(request, 'metadata-directive') === 'REPLACE',
    namesStorageClass: request.header('x-amz-storage-class') !== undefined,
    namesEncryption: namesEncryption(request),
    leavesKms: request.services.profile.name === 's3' && source.record.kind === 'sse-kms',
    bucketHasEncryption: bucketEncryption(target.bucket) !== undefined,
  })
}

/** What is decided of a copy's target before its source is opened. */
type Target = Pick<CopyPlan, 'bucket' | 'key' | 'encryption'>

/**
 * Plans a copy: metadata and tags of the target are the source's, or the request's; its encryption is the request's, the bucket's or the
 * profile's, never the source's.
 */
export const planObjectCopy = (request: GatewayRequest, target: Target, source: CopySource): CopyPlan => {
  const { bucket, key, encryption } = target
  const { record } = source
  checkSelfCopy(request, bucket, key, source)
  const notes = requestedNotes(request.header, bucket, key)
  const { tags: replaced, ...others } = notes
  const existingTags = directive(request, 'tagging-directive') === 'COPY' ? record.notes.tags : undefined
  const tags = existingTags ?? replaced
  const header = withTags(request.header, tags)
  // A policy judges the tags that the object is going to have.
  bucket.assertMayKnowing({ header }, 's3:PutObject', key)
  if (existingTags !== undefined) {
    source.bucket.assertMayKnowing({ existingTags }, 's3:GetObjectTagging', source.name.key)
    bucket.assertMayKnowing({ header, existingTags: [] }, 's3:PutObjectTagging', key)
  }
  const keepsMetadata = directive(request, 'metadata-directive') === 'COPY'
  return {
    bucket,
    key,
    encryption,
    headers: keepsMetadata ? record.headers : objectHeaders(request.headers),
    notes: tags === undefined ? others : { ...others, tags },
    condition: { ...writeCondition(request.header), ...closedToOthers(bucket) },
    what: planCopy({
      profile: request.services.profile,
      source: record.kind,
      target: encryption.kind,
      sameTenant: sameTenant(source.bucket.owner, bucket.owner),
    }),
    asked: requestedAlgorithm(request.header),
  }
}
