/** GetObject, HeadObject, GetObjectAttributes. GET verifies everything before a byte leaves; the others answer what the record claims. */
import { SseError } from '../../errors.ts'
import { type ByteRange, type RangeRequest, resolveRange } from '../../segment/layout.ts'
import { refuseOnOther } from '../../sse/request.ts'
import type { ObjectRecord, ObjectSummary } from '../../store/records.ts'
import { type JudgedBucket, noSuchKey } from '../access/access.ts'
import { answerBody, answerEmpty, type AnswerHeaders, answerXml, setHeaders } from '../http/answer.ts'
import { isNotModified, isRangeFor, parseRange } from '../http/conditions.ts'
import { answerMetadata, overriddenHeaders } from '../http/object-headers.ts'
import type { XmlContent } from '../http/xml.ts'
import { checksumHeaders, checksumXml, type StoredChecksum, wantsChecksums } from '../objects/checksums.ts'
import { decideRead, describeStored, encryptionHeaders, type ReadEncryption } from '../objects/encryption.ts'
import { partRange, type PartSize } from '../objects/parts.ts'
import { openStored } from '../objects/read.ts'
import { integer } from '../http/parameters.ts'
import { partNumberOf } from '../plan/upload.ts'
import { type GatewayRequest, keyOf, openForReading } from '../request.ts'

const recordHeaders = ({ dialect }: GatewayRequest, record: ObjectSummary): AnswerHeaders => ({
  ...answerMetadata(record.headers, dialect),
  'content-type': record.headers['content-type'] ?? 'binary/octet-stream',
  etag: `"${record.etag}"`,
  'last-modified': new Date(record.modified).toUTCString(),
  'accept-ranges': 'bytes',
  'x-amz-tagging-count': record.notes.tags?.length || undefined,
})

/** The headers of an answer with `range` of `total` bytes. */
const rangeHeaders = (range: ByteRange | undefined, total: number): AnswerHeaders =>
  range === undefined
    ? { 'content-length': total }
    : {
        'content-length': range.end - range.start + 1,
        'content-range': `bytes ${range.start}-${range.end}/${total}`,
      }

/** 416 says how long the object is, and what was asked for. */
const withTotal = (error: unknown, { header }: GatewayRequest, total: number): unknown => {
  if (!(error instanceof SseError) || error.code !== 'RangeNotSatisfiable') return error
  const asked = header('range')
  return new SseError('RangeNotSatisfiable', {
    details: { ActualObjectSize: String(total), ...(asked !== undefined && { RangeRequested: asked }) },
    headers: { 'content-range': `bytes */${total}` },
  })
}

/** The part of an object that a request asks for. */
interface RequestedBytes {
  readonly range: RangeRequest | undefined
  /** Whether they are one of several parts, or the only one, of an object that was uploaded in parts. */
  readonly ofParts: boolean
  /** Headers that the request adds to the object's. */
  readonly headers: AnswerHeaders
}

const requestedBytes = (request: GatewayRequest, record: ObjectRecord): RequestedBytes => {
  const { header, query, requester } = request
  const headers = overriddenHeaders(query, requester.kind === 'signed')
  const asked = header('range')
  if (!query.has('partNumber')) {
    return { range: isRangeFor(header, record) ? parseRange(asked) : undefined, ofParts: false, headers }
  }
  const number = partNumberOf(request)
  if (asked !== undefined) {
    const message = 'Cannot specify both Range header and partNumber query parameter. Leave one of them out.'
    throw new SseError('InvalidRequest', { message })
  }
  const { range, count } = partRange(record, number)
  return { range, ofParts: count !== undefined, headers: { ...headers, 'x-amz-mp-parts-count': count } }
}

/** Whether the object's checksum is asked for, and is that of the bytes which are asked for: all of them. */
const tellsWhole = ({ header }: GatewayRequest, { range, ofParts }: RequestedBytes, size: number): boolean => {
  if (!wantsChecksums(header) || ofParts) return false
  if (range === undefined) return true
  const { start, end } = resolveRange(range, size)
  return start === 0 && end === size - 1
}

/** 304: what a cache keeps, and no body. */
const answerNotModified = (request: GatewayRequest, record: ObjectSummary): void => {
  const { etag, 'last-modified': modified } = recordHeaders(request, record)
  const { 'cache-control': cacheControl, expires } = record.headers
  answerEmpty(request.res, 304, { etag, 'last-modified': modified, 'cache-control': cacheControl, expires })
}

/** Answers an object, or a range of it. */
export const getObject = async (request: GatewayRequest): Promise<void> => {
  const { services, header, dialect, res } = request
  const key = keyOf(request)
  const bucket = await openForReading(request)
  refuseOnOther('get', header)
  const found = await services.store.openObject(bucket.bucket.id, key)
  if (found === undefined) throw noSuchKey(bucket, key)
  const { record, body } = found
  try {
    const read = await decideRead(services, request, bucket, key, record)
    try {
      const asked = requestedBytes(request, record)
      const { range, headers } = asked
      if (isNotModified(header, record, services.now())) return answerNotModified(request, record)
      const details = tellsWhole(request, asked, record.size) // of a part of the bytes no checksum is known
      const opened = await openStored(services, record, read, { body, range, details })
      // Nothing is sent before the first bytes are verified, so an error can still be answered until then.
      await answerBody(request, opened.read(), () => {
        setHeaders(res, {
          ...recordHeaders(request, record),
          ...headers,
          ...rangeHeaders(opened.range, opened.total),
          ...checksumHeaders(opened.checksums, opened.parts.length),
          ...encryptionHeaders(dialect, 'get', opened.encryption),
        })
        res.statusCode = opened.range === undefined ? 200 : 206
      })
    } catch (error) {
      throw withTotal(error, request, record.size)
    } finally {
      read.release()
    }
  } finally {
    await body.close()
  }
}

/** Runs `use` on a record that the request may read, without its body. `check` looks at the request once its access was decided. */
const withRecord = async (
  request: GatewayRequest,
  check: (bucket: JudgedBucket) => void,
  use: (record: ObjectRecord, read: ReadEncryption) => Promise<void>,
): Promise<void> => {
  const { services } = request
  const key = keyOf(request)
  const bucket = await openForReading(request)
  check(bucket)
  const record = await services.store.getObject(bucket.bucket.id, key)
  if (record === undefined) throw noSuchKey(bucket, key)
  const read = await decideRead(services, request, bucket, key, record)
  try {
    await use(record, read)
  } catch (error) {
    throw withTotal(error, request, record.size)
  } finally {
    read.release()
  }
}

/** Answers what the record says of an object. */
export const headObject = (request: GatewayRequest): Promise<void> => {
  const check = () => refuseOnOther('head', request.header)
  return withRecord(request, check, async (record, read) => {
    const { services, header, dialect, res } = request
    const asked = requestedBytes(request, record)
    const details = tellsWhole(request, asked, record.size)
    // A customer's key is always tried, as S3 does: a wrong one reveals nothing about the object.
    const opened =
      details || record.kind === 'sse-c' ? await openStored(services, record, read, { details }) : undefined
    opened?.close()
    if (isNotModified(header, record, services.now())) return answerNotModified(request, record)
    const range = asked.range === undefined ? undefined : resolveRange(asked.range, record.size)
    const answer = record.kind === 'sse-c' ? read.answer : describeStored(record)
    answerEmpty(res, range === undefined ? 200 : 206, {
      ...recordHeaders(request, record),
      ...asked.headers,
      ...rangeHeaders(range, record.size),
      ...(details ? checksumHeaders(opened?.checksums ?? [], opened?.parts.length) : {}),
      ...encryptionHeaders(dialect, 'head', answer),
    })
  })
}

const attributesHeader = 'x-amz-object-attributes'
const attributes = ['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize']

const wantedAttributes = ({ header }: GatewayRequest): ReadonlySet<string> => {
  const names = (header(attributesHeader) ?? '').split(',').map(name => name.trim())
  const unknown = names.find(name => !attributes.includes(name))
  if (unknown !== undefined) {
    throw new SseError('InvalidArgument', {
      message: `The ${attributesHeader} header is missing, or names what is no attribute. Name some of ${attributes.join(', ')}.`,
      details: { ArgumentName: attributesHeader, ArgumentValue: unknown },
    })
  }
  return new Set(names)
}

const mostParts = 1000

/**
 * A page of the parts; nothing for an object that was not uploaded in parts, and their count alone where the checksum is that of the whole object.
 */
const partsXml = (
  { header }: GatewayRequest,
  parts: readonly PartSize[],
  [checksum]: readonly StoredChecksum[],
): XmlContent => {
  if (parts.length === 0) return undefined
  if (checksum?.type === 'FULL_OBJECT') return { PartsCount: parts.length }
  const numberIn = (name: string, otherwise: number): number => {
    const text = header(name)
    return text === undefined ? otherwise : integer(name, text)
  }
  const marker = numberIn('x-amz-part-number-marker', 0)
  const limit = Math.min(numberIn('x-amz-max-parts', mostParts), mostParts)
  const later = parts.filter(({ number }) => number > marker)
  const page = later.slice(0, limit)
  return {
    PartsCount: parts.length,
    PartNumberMarker: marker,
    NextPartNumberMarker: page.at(-1)?.number ?? marker,
    MaxParts: limit,
    IsTruncated: page.length < later.length,
    Part: page.map(({ number, size }) => ({ PartNumber: number, Size: size })),
  }
}

/** Answers the attributes that are asked for. Checksums and parts of a sealed object are verified, the rest is its record's. */
export const getObjectAttributes = async (request: GatewayRequest): Promise<void> => {
  let wanted: ReadonlySet<string> = new Set()
  const check = (bucket: JudgedBucket): void => {
    bucket.assertMay('s3:GetObjectAttributes', keyOf(request))
    refuseOnOther('get', request.header)
    wanted = wantedAttributes(request)
  }
  await withRecord(request, check, async (record, read) => {
    const details = wanted.has('Checksum') || wanted.has('ObjectParts')
    const opened = details ? await openStored(request.services, record, read, { details }) : undefined
    opened?.close()
    const { checksums = [], parts = [] } = opened ?? {}
    answerXml(
      request.res,
      'GetObjectAttributesResponse',
      {
        ETag: wanted.has('ETag') ? record.etag : undefined,
        Checksum: wanted.has('Checksum') && checksums.length > 0 ? { ...checksumXml(checksums) } : undefined,
        ObjectParts: wanted.has('ObjectParts') ? partsXml(request, parts, checksums) : undefined,
        StorageClass: wanted.has('StorageClass') ? 'STANDARD' : undefined,
        ObjectSize: wanted.has('ObjectSize') ? record.size : undefined,
      },
      { 'last-modified': new Date(record.modified).toUTCString() },
    )
  })
}
