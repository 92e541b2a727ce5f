/** Records of objects for actions that leave the body alone: what is noted of an object is read, or swapped in one step. */
import { validateHeaderValue } from 'node:http'
import { parseEnvelope } from '../../envelope/envelope.ts'
import { parseTable } from '../../envelope/part-table.ts'
import { SseError } from '../../errors.ts'
import type { RangeRequest } from '../../segment/layout.ts'
import { type BucketEncryption, formatBucketEncryption, parseBucketEncryption } from '../../sse/bucket-encryption.ts'
import type { Bucket, ObjectRecord } from '../../store/store.ts'
import { noSuchKey, refuseStranger } from '../access/access.ts'
import { requestedAcl } from '../access/acl.ts'
import type { GatewayRequest, OwnedBucket } from '../context.ts'
import type { AnswerHeaders } from '../http/answer.ts'
import { asHeader, type RequestHeaders } from '../http/headers.ts'
import { encodeTags, requestedTags } from './tags.ts'

/** The record of the object that the request names. `NoSuchKey`; `AccessDenied` for another tenant's SSE-KMS. */
export const readRecord = async (ctx: GatewayRequest, owned: OwnedBucket): Promise<ObjectRecord> => {
  const key = ctx.key()
  const record = await ctx.options.store.getObject(owned.bucket.name, key)
  if (record === undefined) throw noSuchKey(owned, key)
  refuseStranger(owned, record)
  return record
}

const attempts = 20

/**
 * Sets an attribute of the object that the request names, or takes it away: the record is swapped, the body stays, and so does the time of
 * its last change. Errors as {@link readRecord}; `SlowDown` where others change the object without end.
 */
export const updateAttribute = async (
  ctx: GatewayRequest,
  owned: OwnedBucket,
  name: string,
  value: string | undefined,
): Promise<void> => {
  const at = { bucket: owned.bucket.name, key: ctx.key() }
  for (let i = 0; i < attempts; i++) {
    const { attributes, version, ...record } = await readRecord(ctx, owned)
    const { [name]: _old, ...others } = attributes
    const changed = value === undefined ? others : { ...others, [name]: value }
    try {
      await ctx.options.store.copyObject({ ...at, version }, at, { ...record, attributes: changed })
      return
    } catch (error) {
      // Somebody else changed the object in between: look again.
      if (!(error instanceof SseError) || (error.code !== 'PreconditionFailed' && error.code !== 'NoSuchKey'))
        throw error
    }
  }
  throw new SseError('SlowDown')
}

/** Those of S3 and of OBS. Whichever a client names, the object lies in the one that there is, and is listed so. */
const storageClasses = new Set([
  ...['STANDARD', 'REDUCED_REDUNDANCY', 'STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER', 'GLACIER_IR'],
  ...['DEEP_ARCHIVE', 'OUTPOSTS', 'SNOW', 'EXPRESS_ONEZONE', 'WARM', 'COLD'],
])

const checkStorageClass = ({ header }: GatewayRequest): void => {
  const asked = header('x-amz-storage-class') ?? header('x-obs-storage-class')
  if (asked !== undefined && !storageClasses.has(asked)) {
    throw new SseError('InvalidStorageClass', { details: { StorageClassRequested: asked } })
  }
}

/**
 * The attributes that PUT, POST, Copy (with its directive REPLACE for tags) and Initiate ask for. Whoever writes for another tenant needs the
 * permission for each. `AccessDenied`, `InvalidArgument`, `InvalidStorageClass`,
 * `InvalidTag`, `NotImplemented`.
 */
export const requestedAttributes = (
  ctx: GatewayRequest,
  owned: OwnedBucket,
  key: string,
): Readonly<Record<string, string>> => {
  checkStorageClass(ctx)
  const acl = requestedAcl(ctx.header)
  const tags = requestedTags(ctx.header)
  if (acl !== undefined && acl !== 'closed') owned.assertMay('s3:PutObjectAcl', key)
  if (tags !== undefined) owned.assertMay('s3:PutObjectTagging', key)
  return {
    ...(acl !== undefined && acl !== 'closed' && { acl }),
    ...(tags !== undefined && tags.length > 0 && { tags: encodeTags(tags) }),
  }
}

/** A bucket's settings with one of them set, or taken out. */
export const withSetting = ({ settings }: Bucket, name: string, value: string | undefined): Bucket['settings'] => {
  const { [name]: _old, ...others } = settings
  return value === undefined ? others : { ...others, [name]: value }
}

/** What the store keeps of a default encryption. */
export const encryptionSetting = (encryption: BucketEncryption): string =>
  JSON.stringify(formatBucketEncryption(encryption, 's3'))

/** The default encryption that a bucket is configured with, if it is. `StoreFailed` where its text is none: nothing is written then. */
export const bucketEncryption = ({ settings }: Bucket): BucketEncryption | undefined => {
  const text = settings['encryption']
  if (text === undefined) return undefined
  try {
    return parseBucketEncryption(JSON.parse(text))
  } catch (cause) {
    throw new SseError('StoreFailed', {
      message: 'The default encryption of the bucket cannot be read. Put it again, or delete it.',
      cause,
    })
  }
}

const kept = new Set([
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-type',
  'expires',
])
const maxMetadata = 2048

/** Headers to keep: the standard ones, and user metadata (`x-amz-meta-…`, `x-obs-meta-…`) of at most 2 KiB. */
export const objectHeaders = (headers: RequestHeaders): Readonly<Record<string, string>> => {
  const out = new Map<string, string>()
  let size = 0
  for (const [name, value] of headers) {
    const own = /^x-(?:amz|obs)-meta-(.+)$/.exec(name)?.[1]
    if (own !== undefined) {
      out.set(`x-amz-meta-${own}`, value)
      size += own.length + value.length
    } else if (kept.has(name)) {
      const stripped = name === 'content-encoding' ? withoutChunked(value) : value
      if (stripped !== '') out.set(name, stripped)
    }
  }
  if (size > maxMetadata) throw new SseError('MetadataTooLarge')
  return Object.fromEntries(out)
}

/** `aws-chunked` describes the transfer, not the object. */
const withoutChunked = (value: string): string =>
  value
    .split(',')
    .map(coding => coding.trim())
    .filter(coding => coding !== 'aws-chunked' && coding !== '')
    .join(',')

/** Kept headers as an answer has them: user metadata in the client's dialect. */
export const answerMetadata = (
  headers: Readonly<Record<string, string>>,
  dialect: 's3' | 'obs',
): Readonly<Record<string, string>> =>
  dialect === 's3'
    ? headers
    : Object.fromEntries(
        Object.entries(headers).map(([name, value]) => [name.replace(/^x-amz-meta-/, 'x-obs-meta-'), value]),
      )

const names = [
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-type',
  'expires',
]

/**
 * The headers that the query asks for. `InvalidRequest` where nobody signed it: a link could else make an object into something that its owner did
 * not store. `InvalidArgument` for what no header can say.
 */
export const overriddenHeaders = ({ query, requester }: Pick<GatewayRequest, 'query' | 'requester'>): AnswerHeaders => {
  const headers = new Map<string, string>()
  for (const name of names) {
    const parameter = `response-${name}`
    const value = query.get(parameter)
    if (value === undefined) continue
    if (requester.kind === 'anonymous') {
      const message = 'Request specific response headers cannot be used for anonymous GET requests. Sign the request.'
      throw new SseError('InvalidRequest', { message })
    }
    const text = asHeader(value)
    try {
      validateHeaderValue(name, text)
    } catch (cause) {
      const message = `${parameter} has a character that a header cannot have. Leave it out.`
      throw new SseError('InvalidArgument', { message, details: { ArgumentName: parameter }, cause })
    }
    headers.set(name, text)
  }
  return Object.fromEntries(headers)
}

/** A part of an object. */
export interface PartSize {
  readonly number: number
  /** Bytes of plaintext. */
  readonly size: number
}

/** Which bytes a part is. */
export interface PartRange {
  /** `undefined` for an empty object, which has no bytes that a range could name. */
  readonly range: RangeRequest | undefined
  /** Parts of the object; `undefined` where it was not uploaded in parts. */
  readonly count: number | undefined
}

/** What is noted of the parts of a plain object: `number:size`, and a count where parts of the same size follow, such as `1:5242880*3 9:70`. */
export const notePartSizes = (parts: readonly PartSize[]): string => {
  const runs: { readonly first: number; readonly size: number; count: number }[] = []
  for (const { number, size } of parts) {
    const last = runs.at(-1)
    if (last !== undefined && last.size === size && last.first + last.count === number) last.count++
    else runs.push({ first: number, size, count: 1 })
  }
  return runs.map(({ first, size, count }) => `${first}:${size}${count === 1 ? '' : `*${count}`}`).join(' ')
}

const notedParts = (note: string): readonly PartSize[] =>
  [...note.matchAll(/(\d+):(\d+)(?:\*(\d{1,5}))?/g)].flatMap(([, first, size, count = 1]) =>
    Array.from({ length: Number(count) }, (_, i) => ({ number: Number(first) + i, size: Number(size) })),
  )

/** The parts of an object that was uploaded in parts; none of another one. `NotAuthentic` for an envelope that cannot be read. */
export const partsOf = ({ envelope, attributes }: ObjectRecord): readonly PartSize[] => {
  if (envelope === undefined) return notedParts(attributes['partSizes'] ?? '')
  const { descriptor, table } = parseEnvelope(envelope)
  const rows = parseTable(table, descriptor.suite, false)
  return rows.flatMap(({ part, length }) => (part === 0 ? [] : [{ number: part, size: length }]))
}

/** The bytes of a part; an object that was not uploaded in parts is its own part 1. `InvalidPartNumber` (416) where there is no such part. */
export const partRange = (record: ObjectRecord, number: number): PartRange => {
  const parts = partsOf(record)
  const at = parts.findIndex(part => part.number === number)
  const found = parts[at]
  if (found !== undefined) {
    const start = parts.slice(0, at).reduce((sum, { size }) => sum + size, 0)
    return { range: { start, end: start + found.size - 1 }, count: parts.length }
  }
  if (parts.length === 0 && number === 1)
    return { range: record.size === 0 ? undefined : { start: 0 }, count: undefined }
  const details = { ActualPartCount: String(parts.length || 1), PartNumberRequested: String(number) }
  throw new SseError('InvalidPartNumber', { details })
}
