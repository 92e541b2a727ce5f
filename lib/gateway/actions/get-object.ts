/** GetObject, HeadObject, GetObjectAttributes. GET verifies everything before a byte leaves; the others answer what the record claims. */
import { SseError } from '../../errors.ts'
import { type ByteRange, type RangeRequest, resolveRange } from '../../segment/layout.ts'
import { refuseOnOther } from '../../sse/request.ts'
import type { ObjectRecord, ObjectSummary } from '../../store/records.ts'
import { type JudgedBucket, noSuchKey } from '../access/access.ts'
import { answerBody, answerEmpty, type AnswerHeaders, answerXml, setHeaders } from '../http/answer.ts'
import { parseRange } from '../../object/http.ts'
import { isNotModified, isRangeFor } from '../http/conditions.ts'
import { answerMetadata, overriddenHeaders } from '../http/object-headers.ts'
import type { XmlContent } from '../http/xml.ts'
import {
  checksumHeaders,
  checksumXml,
  hasPartChecksums,
  partChecksumXml,
  wantsChecksums,
} from '../objects/checksums.ts'
import { decideRead, describeStored, encryptionHeaders, type ReadEncryption } from '../objects/encryption.ts'
import { partRange, type PartSize, partsOf } from '../objects/parts.ts'
import { type OpenedObject, openStored } from '../objects/read.ts'
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
  /** The number of the part that they are, of an object that was uploaded in parts. */
  readonly part: number | undefined
  /** Headers that the request adds to the object's. */
  readonly headers: AnswerHeaders
}

const requestedBytes = (request: GatewayRequest, record: ObjectRecord): RequestedBytes => {
  const { header, query, requester } = request
  const headers = overriddenHeaders(query, requester.kind === 'signed')
  const asked = header('range')
  if (!query.has('partNumber')) {
    return { range: isRangeFor(header, record) ? parseRange(asked) : undefined, part: undefined, headers }
  }
  const number = partNumberOf(request)
  if (asked !== undefined) {
    const message = 'Cannot specify both Range header and partNumber query parameter. Leave one of them out.'
    throw new SseError('InvalidRequest', { message })
  }
  const { range, count } = partRange(record, number)
  const part = count === undefined ? undefined : number
  return { range, part, headers: { ...headers, 'x-amz-mp-parts-count': count } }
}

const ofPart = ({ part }: RequestedBytes): readonly number[] => (part === undefined ? [] : [part])

/** Whether a checksum is asked for, and one of the bytes which are asked for may be known: of all of them, or of a part. */
const tellsChecksum = ({ header }: GatewayRequest, { range, part }: RequestedBytes, record: ObjectRecord): boolean => {
  if (!wantsChecksums(header)) return false
  if (part !== undefined && hasPartChecksums(record)) return true
  if (range === undefined) return true
  const { start, end } = resolveRange(range, record.size)
  return start === 0 && end === record.size - 1
}

/**
 * The checksum of the bytes that are answered: of a part its own, and that of an object which is of all of its bytes, where it has but this
 * part. As in S3 a part of several has none otherwise.
 */
const bytesChecksum = (part: number | undefined, { checksums, parts, partChecksums }: OpenedObject): AnswerHeaders => {
  if (part === undefined) return checksumHeaders(checksums, parts.length)
  const own = partChecksums.get(part)
  if (own !== undefined) return checksumHeaders([own])
  return parts.length === 1 && checksums[0]?.type === 'FULL_OBJECT' ? checksumHeaders(checksums) : {}
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
      const { range, headers, part } = asked
      if (isNotModified(header, record, services.now())) return answerNotModified(request, record)
      const details = tellsChecksum(request, asked, record)
      const opened = await openStored(services, record, read, {
        body,
        range,
        details,
        partChecksums: ofPart(asked),
        memory: services.output,
      })
      // Nothing is sent before the first bytes are verified, so an error can still be answered until then.
      await answerBody(
        request,
        opened.read(),
        () => {
          setHeaders(res, {
            ...recordHeaders(request, record),
            ...headers,
            ...rangeHeaders(opened.range, opened.total),
            ...bytesChecksum(part, opened),
            ...encryptionHeaders(dialect, 'get', opened.encryption),
          })
          res.statusCode = opened.range === undefined ? 200 : 206
        },
        services.output,
      )
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
  use: (record: ObjectRecord, read: ReadEncryption, bucket: JudgedBucket) => Promise<void>,
): Promise<void> => {
  const { services } = request
  const key = keyOf(request)
  const bucket = await openForReading(request)
  check(bucket)
  const record = await services.store.getObject(bucket.bucket.id, key)
  if (record === undefined) throw noSuchKey(bucket, key)
  const read = await decideRead(services, request, bucket, key, record)
  try {
    await use(record, read, bucket)
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
    const { part } = asked
    const details = tellsChecksum(request, asked, record)
    // A customer's key is always tried, as S3 does: a wrong one reveals nothing about the object.
    const opened =
      details || record.kind === 'sse-c'
        ? await openStored(services, record, read, { details, partChecksums: ofPart(asked) })
        : undefined
    opened?.close()
    if (isNotModified(header, record, services.now())) return answerNotModified(request, record)
    const range = asked.range === undefined ? undefined : resolveRange(asked.range, record.size)
    const answer = record.kind === 'sse-c' ? read.answer : describeStored(record)
    answerEmpty(res, range === undefined ? 200 : 206, {
      ...recordHeaders(request, record),
      ...asked.headers,
      ...rangeHeaders(range, record.size),
      ...(opened && bytesChecksum(part, opened)),
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

/** Parts of an object that are told together. */
interface PartPage {
  readonly marker: number
  readonly limit: number
  readonly parts: readonly PartSize[]
  readonly truncated: boolean
}

/** The page of the parts that a request asks for. */
const pageOf = ({ header }: GatewayRequest, all: readonly PartSize[]): PartPage => {
  const numberIn = (name: string, otherwise: number): number => {
    const text = header(name)
    return text === undefined ? otherwise : integer(name, text)
  }
  const marker = numberIn('x-amz-part-number-marker', 0)
  const limit = Math.min(numberIn('x-amz-max-parts', mostParts), mostParts)
  const later = all.filter(({ number }) => number > marker)
  const parts = later.slice(0, limit)
  return { marker, limit, parts, truncated: parts.length < later.length }
}

/**
 * A page of the parts; nothing for an object that was not uploaded in parts, and their count alone where the checksum is that of the whole object.
 */
const partsXml = (
  { marker, limit, parts, truncated }: PartPage,
  { parts: { length: count }, checksums, partChecksums }: OpenedObject,
): XmlContent => {
  if (count === 0) return undefined
  if (checksums[0]?.type === 'FULL_OBJECT') return { PartsCount: count }
  const checksumOf = (number: number) => {
    const own = partChecksums.get(number)
    return own === undefined ? {} : partChecksumXml([own])
  }
  return {
    PartsCount: count,
    PartNumberMarker: marker,
    NextPartNumberMarker: parts.at(-1)?.number ?? marker,
    MaxParts: limit,
    IsTruncated: truncated,
    Part: parts.map(({ number, size }) => ({ PartNumber: number, Size: size, ...checksumOf(number) })),
  }
}

/** Answers the attributes that are asked for. Checksums and parts of a sealed object are verified, the rest is its record's. */
export const getObjectAttributes = async (request: GatewayRequest): Promise<void> => {
  let wanted: ReadonlySet<string> = new Set()
  const permission = 's3:GetObjectAttributes'
  const check = (bucket: JudgedBucket): void => {
    bucket.assertMay(permission, keyOf(request))
    refuseOnOther('get', request.header)
    wanted = wantedAttributes(request)
  }
  await withRecord(request, check, async (record, read, bucket) => {
    bucket.assertMayKnowing({ existingTags: record.notes.tags ?? [] }, permission, keyOf(request))
    const details = wanted.has('Checksum') || wanted.has('ObjectParts')
    // A page of what the record claims; opening it verifies the table that it is of.
    const page = wanted.has('ObjectParts') ? pageOf(request, partsOf(record)) : undefined
    const numbers = page?.parts.map(({ number }) => number)
    const opened = details
      ? await openStored(request.services, record, read, { details, partChecksums: numbers })
      : undefined
    opened?.close()
    const checksums = opened?.checksums ?? []
    answerXml(
      request.res,
      'GetObjectAttributesResponse',
      {
        ETag: wanted.has('ETag') ? record.etag : undefined,
        Checksum: wanted.has('Checksum') && checksums.length > 0 ? { ...checksumXml(checksums) } : undefined,
        ObjectParts: page && opened ? partsXml(page, opened) : undefined,
        StorageClass: wanted.has('StorageClass') ? 'STANDARD' : undefined,
        ObjectSize: wanted.has('ObjectSize') ? record.size : undefined,
      },
      { 'last-modified': new Date(record.modified).toUTCString() },
    )
  })
}
