/**
 * The checksum of a multipart upload: agreed on at Initiate, or the profile's default; every part has one of that algorithm, and Complete makes
 * the object's out of them. Source: "Checking object integrity" of the Amazon S3 user guide.
 */
import { base64, concat } from '../bytes.ts'
import { compositeFlag, valueIds } from '../envelope/sealed-values.ts'
import { SseError } from '../errors.ts'
import type { Upload } from '../store/store.ts'
import { type ChecksumAlgorithm, checksumHeader, parseChecksumAlgorithm, requestedAlgorithm } from './checksums.ts'
import type { Context } from './context.ts'
import { combineCrcs, isCrc } from './crc-combine.ts'
import { createDigest } from './digest.ts'
import type { RequestHeaders } from './headers.ts'
import { type ChecksumType, shownChecksum, type StoredChecksum } from './stored-checksums.ts'

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
export const initiatedChecksum = (ctx: Context): UploadChecksum | undefined => {
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
