/**
 * The checksums that are kept with an object or upload, and how answers say them. Beside a sealed object they lie sealed; with a plain one they
 * are noted. Source of the rules for uploads: "Checking object integrity" of the Amazon S3 user guide.
 */
import { base64, concat } from '../../bytes.ts'
import { compositeFlag, valueIds, type Values } from '../../envelope/sealed-values.ts'
import { SseError } from '../../errors.ts'
import type { EncryptionKind, HeaderGetter } from '../../sse/names.ts'
import type { NewUpload, ObjectNotes, ObjectRecord, UploadNotes } from '../../store/records.ts'
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
import type { AnswerHeaders } from '../http/answer.ts'
import type { RequestHeaders } from '../http/headers.ts'

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

/** What is noted of the checksum of an object: of a sealed one not its value, which lies sealed. */
export const noteChecksums = (
  [first]: readonly StoredChecksum[],
  kind: EncryptionKind,
): Pick<ObjectNotes, 'checksum'> => {
  if (first === undefined) return {}
  const { algorithm, type, value } = first
  return { checksum: { algorithm, type, ...(kind === 'plain' && { value }) } }
}

/** What was noted of a plain one. */
export const notedChecksums = ({ checksum }: ObjectNotes): readonly StoredChecksum[] => {
  const algorithm = parseChecksumAlgorithm(checksum?.algorithm ?? '')
  if (algorithm === undefined || checksum?.value === undefined) return []
  return [{ algorithm, type: checksum.type, value: checksum.value }]
}

/** Checksums of single parts, by part number: of a composite checksum alone, as S3 has it. */
export type PartChecksums = ReadonlyMap<number, StoredChecksum>

const byPart = (
  [whole]: readonly StoredChecksum[],
  parts: readonly number[],
  bytesOf: (part: number, algorithm: ChecksumAlgorithm) => Uint8Array | undefined,
): PartChecksums => {
  const found = new Map<number, StoredChecksum>()
  if (whole?.type !== 'COMPOSITE') return found
  for (const part of parts) {
    const bytes = bytesOf(part, whole.algorithm)
    if (bytes !== undefined) found.set(part, { ...whole, value: base64(bytes) })
  }
  return found
}

/** Those among the opened values of parts; `checksums` are the object's. */
export const partChecksumsOf = (
  checksums: readonly StoredChecksum[],
  values: ReadonlyMap<number, Values>,
): PartChecksums =>
  byPart(checksums, [...values.keys()], (part, algorithm) => values.get(part)?.get(valueIds[algorithm].id))

/** What is kept of the checksums of a plain object's parts: one after the other. */
export const plainPartValues = (checksums: readonly (Uint8Array | undefined)[]): Uint8Array =>
  concat(...checksums.flatMap(bytes => (bytes === undefined ? [] : [bytes])))

/** What was kept of them; `all` are the numbers of the object's parts, in order, and `parts` those that are asked for. */
export const keptPartChecksums = (
  { notes, partValues = new Uint8Array(0) }: ObjectRecord,
  all: readonly number[],
  parts: readonly number[],
): PartChecksums =>
  byPart(notedChecksums(notes), parts, (part, algorithm) => {
    const { size } = valueIds[algorithm]
    const at = all.indexOf(part) * size
    return at < 0 || partValues.length !== all.length * size ? undefined : partValues.subarray(at, at + size)
  })

/** Whether single parts of an object have checksums that can be told. A claim. */
export const hasPartChecksums = ({ notes, partValues }: ObjectRecord): boolean =>
  notes.checksum?.type === 'COMPOSITE' && partValues !== undefined

/** What a listing says of it. */
export const listedChecksumXml = ({ checksum }: ObjectNotes): ChecksumXml => ({
  ChecksumAlgorithm: checksum?.algorithm.toUpperCase(),
  ChecksumType: checksum?.type,
})

/** A checksum as clients see it: a composite one of an object ends with the number of parts. */
const shownChecksum = ({ type, value }: Omit<StoredChecksum, 'algorithm'>, parts: number | undefined): string =>
  type === 'COMPOSITE' && parts !== undefined ? `${value}-${parts}` : value

/** Whether a GET or HEAD asks for checksums. */
export const wantsChecksums = (header: HeaderGetter): boolean =>
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
export const initiatedChecksum = (
  header: HeaderGetter,
  defaultChecksum: 'none' | ChecksumAlgorithm,
): UploadChecksum | undefined => {
  const type = header('x-amz-checksum-type')
  const algorithm = requestedAlgorithm(header)
  if (algorithm !== undefined) return { algorithm, type: typeOf(algorithm, type), asked: true }
  if (type !== undefined) {
    throw invalid(
      'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header. Send both.',
    )
  }
  return defaultChecksum === 'none' ? undefined : { algorithm: defaultChecksum, type: 'FULL_OBJECT', asked: false }
}

/** What was noted of it with the upload. */
export const uploadChecksum = ({ summedUp }: UploadNotes): UploadChecksum | undefined => {
  const algorithm = parseChecksumAlgorithm(summedUp?.algorithm ?? '')
  return algorithm === undefined || summedUp === undefined ? undefined : { ...summedUp, algorithm }
}

/** Whether answers have the checksums of its parts and of its object: as in S3, under SSE-KMS only those that the client asked for. */
export const tellsChecksum = ({ kind, notes }: Pick<NewUpload, 'kind' | 'notes'>): boolean =>
  kind !== 'sse-kms' || uploadChecksum(notes)?.asked === true

/** The algorithm and type that answers name, where the client asked for them. */
export const askedChecksumHeaders = (checksum: UploadChecksum | undefined): Readonly<Record<string, string>> =>
  checksum?.asked === true
    ? { 'x-amz-checksum-algorithm': checksum.algorithm.toUpperCase(), 'x-amz-checksum-type': checksum.type }
    : {}

/** The same as elements. */
export const askedChecksumXml = (checksum: UploadChecksum | undefined): ChecksumXml =>
  checksum?.asked === true ? { ChecksumAlgorithm: checksum.algorithm.toUpperCase(), ChecksumType: checksum.type } : {}

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

/** Compares the object's checksum with the one that Complete names: `BadDigest`. */
export const assertWhole = (headers: RequestHeaders, whole: WholeChecksum, parts: number): void => {
  const expected = headers.get(checksumHeader(whole.algorithm))
  if (expected === undefined || expected === shownChecksum(whole, parts)) return
  throw new SseError('BadDigest', {
    message: `The ${whole.algorithm} you specified did not match the calculated checksum. Send the parts again.`,
    s3Message: `The ${whole.algorithm} you specified did not match the calculated checksum.`,
  })
}
