/**
 * The checksums that are kept with an object, and how answers say them. Beside a sealed object they lie sealed: one call to the KMS opens them, and
 * no byte of the body is read. With a plain one they are noted.
 */
import { base64, concat } from '../../bytes.ts'
import { compositeFlag, valueIds, type Values } from '../../envelope/sealed-values.ts'
import { SseError } from '../../errors.ts'
import type { ObjectRecord, Upload } from '../../store/store.ts'
import type { IncomingBody } from '../body/body.ts'
import {
  type ChecksumAlgorithm,
  checksumAlgorithms,
  checksumHeader,
  createDigest,
  parseChecksumAlgorithm,
  requestedAlgorithm,
} from '../body/checksums.ts'
import { combineCrcs, isCrc } from '../body/crc.ts'
import type { GatewayRequest } from '../context.ts'
import type { AnswerHeaders } from '../http/answer.ts'
import type { RequestHeaders } from '../http/headers.ts'
import type { ReadEncryption } from './encryption.ts'
import { type PartSize, partsOf } from './record.ts'

/** What a checksum is of: the object's bytes, or its parts' checksums. */
export type ChecksumType = 'FULL_OBJECT' | 'COMPOSITE'

/** A checksum of an object. */
export interface StoredChecksum {
  readonly algorithm: ChecksumAlgorithm
  readonly type: ChecksumType
  /** In base64. */
  readonly value: string
}

/** Elements of an answer. */
export type ChecksumXml = Readonly<Record<string, string | undefined>>

/** What is known of an object once its envelope and values were verified. */
export interface StoredFacts {
  readonly checksums: readonly StoredChecksum[]
  readonly parts: readonly PartSize[]
}

const forms = [
  ['FULL_OBJECT', 0],
  ['COMPOSITE', compositeFlag],
] as const

/** The checksums among opened values; the MD5 is no checksum that clients ask for. */
export const checksumsOf = (values: Values): readonly StoredChecksum[] =>
  checksumAlgorithms.flatMap(algorithm => {
    const { id } = valueIds[algorithm]
    return forms.flatMap(([type, flag]) => {
      const value = values.get(flag + id)
      return value === undefined ? [] : [{ algorithm, type, value: base64(value) }]
    })
  })

/** The checksum that is kept of a body which has ended. */
export const receivedChecksums = ({ checksum, digests }: IncomingBody): readonly StoredChecksum[] => {
  const digest = checksum === undefined ? undefined : digests().get(checksum)
  if (checksum === undefined || digest === undefined) return []
  return [{ algorithm: checksum, type: 'FULL_OBJECT', value: base64(digest) }]
}

/** What is noted of the checksum of a plain object. */
export const noteChecksums = ([first]: readonly StoredChecksum[]): Readonly<Record<string, string>> =>
  first === undefined ? {} : { checksum: `${first.algorithm} ${first.type} ${first.value}` }

/** What was noted. */
export const notedChecksums = ({ attributes }: Pick<ObjectRecord, 'attributes'>): readonly StoredChecksum[] => {
  const [name = '', type, value = ''] = (attributes['checksum'] ?? '').split(' ')
  const algorithm = parseChecksumAlgorithm(name)
  return algorithm === undefined ? [] : [{ algorithm, type: type === 'COMPOSITE' ? type : 'FULL_OBJECT', value }]
}

/** Opens what lies beside an object. `NotAuthentic`, and the KMS's errors. */
export const openStored = async (
  ctx: GatewayRequest,
  record: ObjectRecord,
  read: ReadEncryption,
): Promise<StoredFacts> => {
  if (record.kind === 'plain') return { checksums: notedChecksums(record), parts: partsOf(record) }
  if (record.envelope === undefined) throw new SseError('NotAuthentic')
  const { driver, values, parts } = await ctx.options.sse.decrypt(record.envelope, {
    ...read.options,
    etag: record.kind === 'sse-s3' ? undefined : record.etag,
    values: record.values,
  })
  driver.dispose()
  return { checksums: checksumsOf(values), parts: partsIn(parts) }
}

/** The parts that a verified table tells; an object that was not uploaded in parts has none. */
const partsIn = (rows: readonly { readonly part: number; readonly length: number }[]): readonly PartSize[] =>
  rows.flatMap(({ part, length }) => (part === 0 ? [] : [{ number: part, size: length }]))

/** A value as clients know it: that of parts' checksums ends with how many there are, where it stands for the object. */
export const shownChecksum = ({ type, value }: StoredChecksum, parts: number | undefined): string =>
  type === 'COMPOSITE' && parts !== undefined ? `${value}-${parts}` : value

/** Whether a GET or HEAD asks for checksums. */
export const wantsChecksums = ({ header }: Pick<GatewayRequest, 'header'>): boolean =>
  header('x-amz-checksum-mode')?.toUpperCase() === 'ENABLED'

/** The checksum of a part as a header. */
export const partChecksumHeaders = (checksums: readonly StoredChecksum[], parts?: number): AnswerHeaders =>
  Object.fromEntries(checksums.map(each => [checksumHeader(each.algorithm), shownChecksum(each, parts)]))

/** The checksum of an object as a header, with its type. */
export const checksumHeaders = (checksums: readonly StoredChecksum[], parts?: number): AnswerHeaders => ({
  ...partChecksumHeaders(checksums, parts),
  'x-amz-checksum-type': checksums[0]?.type,
})

/** The checksum of a part as an element. */
export const partChecksumXml = (checksums: readonly StoredChecksum[], parts?: number): ChecksumXml =>
  Object.fromEntries(checksums.map(each => [`Checksum${each.algorithm.toUpperCase()}`, shownChecksum(each, parts)]))

/** The checksum of an object as an element, with its type. */
export const checksumXml = (checksums: readonly StoredChecksum[], parts?: number): ChecksumXml => ({
  ...partChecksumXml(checksums, parts),
  ChecksumType: checksums[0]?.type,
})

/** What the parts of an upload are summed up with. */
export interface UploadChecksum {
  readonly algorithm: ChecksumAlgorithm
  readonly type: ChecksumType
  /** Whether the client asked for it: parts may have no other then, and answers name it. */
  readonly asked: boolean
}

const invalid = (message: string): SseError => new SseError('InvalidRequest', { message })

const typeOf = (algorithm: ChecksumAlgorithm, asked: string | undefined): ChecksumType => {
  const type = asked?.toUpperCase() ?? (algorithm === 'crc64nvme' ? 'FULL_OBJECT' : 'COMPOSITE')
  if (type !== 'FULL_OBJECT' && type !== 'COMPOSITE') {
    throw invalid('Value for x-amz-checksum-type header is invalid. Use FULL_OBJECT or COMPOSITE.')
  }
  if (type === 'FULL_OBJECT' ? isCrc(algorithm) : algorithm !== 'crc64nvme') return type
  throw invalid(`The ${type} checksum type cannot be used with the ${algorithm} checksum algorithm. Use the other one.`)
}

/** What Initiate asks for, or the default; `undefined` for no checksum. `InvalidRequest`. */
export const initiatedChecksum = (ctx: GatewayRequest): UploadChecksum | undefined => {
  const type = ctx.header('x-amz-checksum-type')
  const algorithm = requestedAlgorithm(ctx.header)
  if (algorithm !== undefined) return { algorithm, type: typeOf(algorithm, type), asked: true }
  if (type !== undefined) {
    throw invalid(
      'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header. Send both.',
    )
  }
  const { defaultChecksum } = ctx.options.profile
  return defaultChecksum === 'none' ? undefined : { algorithm: defaultChecksum, type: 'FULL_OBJECT', asked: false }
}

/** What is noted of it with the upload. */
export const noteUploadChecksum = (checksum: UploadChecksum | undefined): Readonly<Record<string, string>> =>
  checksum === undefined
    ? {}
    : { uploadChecksum: `${checksum.algorithm} ${checksum.type}${checksum.asked ? ' asked' : ''}` }

/** What was noted. */
export const uploadChecksum = ({ attributes }: Pick<Upload, 'attributes'>): UploadChecksum | undefined => {
  const [name = '', type, asked] = (attributes['uploadChecksum'] ?? '').split(' ')
  const algorithm = parseChecksumAlgorithm(name)
  if (algorithm === undefined) return undefined
  return { algorithm, type: type === 'COMPOSITE' ? type : 'FULL_OBJECT', asked: asked !== undefined }
}

/** The algorithm and type that answers name, where the client asked for them. */
export const askedChecksumHeaders = (checksum: UploadChecksum | undefined): Readonly<Record<string, string>> =>
  checksum?.asked === true
    ? { 'x-amz-checksum-algorithm': checksum.algorithm.toUpperCase(), 'x-amz-checksum-type': checksum.type }
    : {}

/** A part has the checksum that Initiate asked for, or none: `InvalidRequest` for another one. */
export const assertPartChecksum = (upload: UploadChecksum | undefined, sent: ChecksumAlgorithm | undefined): void => {
  if (upload?.asked !== true || sent === undefined || sent === upload.algorithm) return
  throw invalid(
    `Checksum Type mismatch occurred, expected checksum Type: ${upload.algorithm}, actual checksum Type: ${sent}`,
  )
}

/** A part that was chosen, with its checksum where it has one. */
export interface SummedPart {
  readonly length: number
  readonly checksum: Uint8Array | undefined
}

/** The object's checksum. */
export interface WholeChecksum extends StoredChecksum {
  /** Under which id it is sealed. */
  readonly id: number
  readonly bytes: Uint8Array
}

/** Sums up parts; `undefined` where one of them has no checksum of that algorithm. */
export const sumUp = async (
  { algorithm, type }: UploadChecksum,
  parts: readonly SummedPart[],
): Promise<WholeChecksum | undefined> => {
  const pieces = parts.flatMap(({ checksum: crc, length }) => (crc === undefined ? [] : [{ crc, length }]))
  if (pieces.length < parts.length) return undefined
  const { id } = valueIds[algorithm]
  if (type === 'FULL_OBJECT' && isCrc(algorithm)) {
    const bytes = combineCrcs(algorithm, pieces)
    return { algorithm, type, id, bytes, value: base64(bytes) }
  }
  const digest = createDigest(algorithm)
  digest.update(concat(...pieces.map(({ crc }) => crc)))
  const bytes = await digest.finish()
  return { algorithm, type: 'COMPOSITE', id: compositeFlag + id, bytes, value: base64(bytes) }
}

/** Holds the object's checksum to what Complete says of it: `BadDigest`. */
export const assertWhole = (headers: RequestHeaders, whole: WholeChecksum, parts: number): void => {
  const expected = headers.get(checksumHeader(whole.algorithm))
  if (expected === undefined || expected === shownChecksum(whole, parts)) return
  throw new SseError('BadDigest', {
    message: `The ${whole.algorithm} you specified did not match the calculated checksum. Send the parts again.`,
  })
}
