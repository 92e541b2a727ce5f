/** GetObject and HeadObject. GET verifies everything before a byte leaves; HEAD answers what the record claims. */
import { SseError } from '../../errors.ts'
import { type ByteRange, type RangeRequest, resolveRange } from '../../segment/layout.ts'
import { refuseOnOther } from '../../sse/request.ts'
import type { ObjectEncryption } from '../../sse/response.ts'
import type { BodyReader, ObjectRecord, ObjectSummary } from '../../store/store.ts'
import { noSuchKey } from '../access/access.ts'
import type { GatewayRequest } from '../context.ts'
import { answerBody, answerEmpty, type AnswerHeaders, answerXml, setHeaders } from '../http/answer.ts'
import { isNotModified, isRangeFor, parseRange } from '../http/conditions.ts'
import type { XmlContent } from '../http/xml.ts'
import {
  checksumHeaders,
  checksumsOf,
  checksumXml,
  notedChecksums,
  openStored,
  wantsChecksums,
} from '../objects/checksums.ts'
import { decideRead, describeStored, encryptionHeaders } from '../objects/encryption.ts'
import { answerMetadata, overriddenHeaders, partRange, type PartSize, partsOf } from '../objects/record.ts'
import { storedTags } from '../objects/tags.ts'
import { integer } from '../parameters.ts'
import { partNumberOf } from './upload-part.ts'

const recordHeaders = (ctx: GatewayRequest, record: ObjectSummary): AnswerHeaders => ({
  ...answerMetadata(record.headers, ctx.dialect),
  'content-type': record.headers['content-type'] ?? 'binary/octet-stream',
  etag: `"${record.etag}"`,
  'last-modified': new Date(record.modified).toUTCString(),
  'accept-ranges': 'bytes',
  'x-amz-tagging-count': storedTags(record.attributes['tags']).length || undefined,
})

/** Status and headers of an answer with `range` of `total` bytes. */
const rangeHeaders = (range: ByteRange | undefined, total: number): AnswerHeaders =>
  range === undefined
    ? { 'content-length': total }
    : {
        'content-length': range.end - range.start + 1,
        'content-range': `bytes ${range.start}-${range.end}/${total}`,
      }

/** 416 says how long the object is. */
const withTotal = (error: unknown, total: number): unknown =>
  error instanceof SseError && error.code === 'RangeNotSatisfiable'
    ? new SseError('RangeNotSatisfiable', { details: { ActualObjectSize: String(total), 'x-none': '' } })
    : error

/** What of an object a request wants. */
interface RequestedBytes {
  readonly range: RangeRequest | undefined
  /** Headers that say more of it than the object does. */
  readonly headers: AnswerHeaders
}

const requestedBytes = (ctx: GatewayRequest, record: ObjectRecord): RequestedBytes => {
  const headers = overriddenHeaders(ctx)
  const asked = ctx.header('range')
  if (!ctx.query.has('partNumber')) {
    return { range: isRangeFor(ctx.header, record) ? parseRange(asked) : undefined, headers }
  }
  const number = partNumberOf(ctx)
  if (asked !== undefined) {
    const message = 'Cannot specify both Range header and partNumber query parameter. Leave one of them out.'
    throw new SseError('InvalidRequest', { message })
  }
  const { range, count } = partRange(record, number)
  return { range, headers: { ...headers, 'x-amz-mp-parts-count': count } }
}

/** 304: what a cache keeps, and no body. */
const answerNotModified = (ctx: GatewayRequest, record: ObjectSummary): void => {
  const { etag, 'last-modified': modified } = recordHeaders(ctx, record)
  const { 'cache-control': cacheControl, expires } = record.headers
  answerEmpty(ctx.res, 304, { etag, 'last-modified': modified, 'cache-control': cacheControl, expires })
}

/** What a GET sends. */
interface Answer {
  readonly body: AsyncIterable<Uint8Array>
  readonly range: ByteRange | undefined
  readonly total: number
  readonly encryption: ObjectEncryption
  readonly checksums: AnswerHeaders
}

/** Answers an object, or a range of it. */
export const getObject = async (ctx: GatewayRequest): Promise<void> => {
  const key = ctx.key()
  const owned = await ctx.openBucket('s3:GetObject')
  const { bucket } = owned
  refuseOnOther('get', ctx.header)
  const opened = await ctx.options.store.openObject(bucket.name, key)
  if (opened === undefined) throw noSuchKey(owned, key)
  const { record, body } = opened
  try {
    const read = await decideRead(ctx, owned, key, record)
    try {
      const wish = requestedBytes(ctx, record)
      if (isNotModified(ctx.header, record)) return answerNotModified(ctx, record)
      const answer = await openAnswer(ctx, record, body, read, wish.range)
      await send(ctx, { ...recordHeaders(ctx, record), ...wish.headers }, answer)
    } catch (error) {
      throw withTotal(error, record.size)
    } finally {
      read.release()
    }
  } finally {
    await body.close()
  }
}

const openAnswer = async (
  ctx: GatewayRequest,
  record: ObjectRecord,
  body: BodyReader,
  read: Awaited<ReturnType<typeof decideRead>>,
  request: RangeRequest | undefined,
): Promise<Answer> => {
  // Of a range no checksum is known.
  const wants = request === undefined && wantsChecksums(ctx)
  if (record.kind === 'plain') {
    if (body.size !== record.size) throw new SseError('StoreFailed')
    const range = request === undefined ? undefined : resolveRange(request, record.size)
    const checksums = wants ? checksumHeaders(notedChecksums(record), partsOf(record).length) : {}
    return { body: body.read(range), range, total: record.size, encryption: read.answer, checksums }
  }
  if (record.envelope === undefined) throw new SseError('NotAuthentic')
  const plain = await ctx.options.sse.decrypt(record.envelope, {
    ...read.options,
    held: body.size,
    etag: record.kind === 'sse-s3' ? undefined : record.etag,
    range: request,
    values: wants ? record.values : undefined,
  })
  const { keyId, bucketKey } = plain
  const encryption = record.kind === 'sse-kms' ? ({ kind: 'sse-kms', keyId, bucketKey } as const) : read.answer
  const checksums = checksumHeaders(checksumsOf(plain.values), plain.parts.length)
  const pieces = plain.pieces(body.read({ ...plain.stored, reuse: true }))
  return { body: pieces, range: plain.range, total: plain.plaintextLength, encryption, checksums }
}

const send = async (
  ctx: GatewayRequest,
  headers: AnswerHeaders,
  { body, range, total, encryption, checksums }: Answer,
): Promise<void> => {
  // Until the first bytes were verified, an error can still be answered.
  await answerBody(ctx.res, body, () => {
    setHeaders(ctx.res, {
      ...headers,
      ...rangeHeaders(range, total),
      ...checksums,
      ...encryptionHeaders(ctx, 'get', encryption),
    })
    ctx.res.statusCode = range === undefined ? 200 : 206
  })
}

/** Answers what the record says of an object. */
export const headObject = async (ctx: GatewayRequest): Promise<void> => {
  const key = ctx.key()
  const owned = await ctx.openBucket('s3:GetObject')
  const { bucket } = owned
  refuseOnOther('head', ctx.header)
  const record = await ctx.options.store.getObject(bucket.name, key)
  if (record === undefined) throw noSuchKey(owned, key)
  const read = await decideRead(ctx, owned, key, record)
  try {
    const wish = requestedBytes(ctx, record)
    const wants = wish.range === undefined && wantsChecksums(ctx)
    // A customer's key is tried in any case, as S3 does: whoever has a wrong one learns nothing of the object.
    const stored = wants || record.kind === 'sse-c' ? await openStored(ctx, record, read) : undefined
    if (isNotModified(ctx.header, record)) return answerNotModified(ctx, record)
    const range = wish.range === undefined ? undefined : resolveRange(wish.range, record.size)
    const answer = record.kind === 'sse-c' ? read.answer : describeStored(record)
    answerEmpty(ctx.res, range === undefined ? 200 : 206, {
      ...recordHeaders(ctx, record),
      ...wish.headers,
      ...rangeHeaders(range, record.size),
      ...(wants ? checksumHeaders(stored?.checksums ?? [], stored?.parts.length) : {}),
      ...encryptionHeaders(ctx, 'head', answer),
    })
  } finally {
    read.release()
  }
}

const header = 'x-amz-object-attributes'
const known = ['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize']

const wantedOf = (ctx: GatewayRequest): ReadonlySet<string> => {
  const names = (ctx.header(header) ?? '').split(',').map(name => name.trim())
  const unknown = names.find(name => !known.includes(name))
  if (unknown !== undefined) {
    throw new SseError('InvalidArgument', {
      message: `The ${header} header is missing, or names what is no attribute. Name some of ${known.join(', ')}.`,
      details: { ArgumentName: header, ArgumentValue: unknown },
    })
  }
  return new Set(names)
}

const numberIn = (ctx: GatewayRequest, name: string, otherwise: number): number => {
  const text = ctx.header(name)
  return text === undefined ? otherwise : integer(name, text)
}

const mostParts = 1000

/** A page of the parts; nothing for an object that was not uploaded in parts. */
const partsXml = (ctx: GatewayRequest, parts: readonly PartSize[]): XmlContent => {
  if (parts.length === 0) return undefined
  const marker = numberIn(ctx, 'x-amz-part-number-marker', 0)
  const limit = Math.min(numberIn(ctx, 'x-amz-max-parts', mostParts), mostParts)
  const behind = parts.filter(({ number }) => number > marker)
  const page = behind.slice(0, limit)
  return {
    PartsCount: parts.length,
    PartNumberMarker: marker,
    NextPartNumberMarker: page.at(-1)?.number ?? marker,
    MaxParts: limit,
    IsTruncated: page.length < behind.length,
    Part: page.map(({ number, size }) => ({ PartNumber: number, Size: size })),
  }
}

/** Answers the attributes that are asked for. */
export const getObjectAttributes = async (ctx: GatewayRequest): Promise<void> => {
  const key = ctx.key()
  const owned = await ctx.openBucket('s3:GetObject')
  owned.assertMay('s3:GetObjectAttributes', key)
  refuseOnOther('get', ctx.header)
  const wanted = wantedOf(ctx)
  const record = await ctx.options.store.getObject(owned.bucket.name, key)
  if (record === undefined) throw noSuchKey(owned, key)
  const read = await decideRead(ctx, owned, key, record)
  try {
    const opens = wanted.has('Checksum') || wanted.has('ObjectParts')
    const { checksums, parts } = opens ? await openStored(ctx, record, read) : { checksums: [], parts: [] }
    answerXml(
      ctx.res,
      'GetObjectAttributesResponse',
      {
        ETag: wanted.has('ETag') ? record.etag : undefined,
        Checksum: wanted.has('Checksum') && checksums.length > 0 ? { ...checksumXml(checksums) } : undefined,
        ObjectParts: wanted.has('ObjectParts') ? partsXml(ctx, parts) : undefined,
        StorageClass: wanted.has('StorageClass') ? 'STANDARD' : undefined,
        ObjectSize: wanted.has('ObjectSize') ? record.size : undefined,
      },
      { 'last-modified': new Date(record.modified).toUTCString() },
    )
  } finally {
    read.release()
  }
}
