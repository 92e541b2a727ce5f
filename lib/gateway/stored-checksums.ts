/**
 * The checksums that are kept with an object, and how answers say them. Beside a sealed object they lie sealed: one call to the KMS opens them, and
 * no byte of the body is read. With a plain one they are noted.
 */
import { base64 } from '../bytes.ts'
import { compositeFlag, valueIds, type Values } from '../envelope/sealed-values.ts'
import { SseError } from '../errors.ts'
import type { ObjectRecord } from '../store/store.ts'
import type { AnswerHeaders } from './answer.ts'
import type { IncomingBody } from './body.ts'
import { type ChecksumAlgorithm, checksumAlgorithms, checksumHeader, parseChecksumAlgorithm } from './checksums.ts'
import type { Context } from './context.ts'
import type { ReadEncryption } from './encryption.ts'
import { type PartSize, partsOf } from './parts.ts'

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
export const openStored = async (ctx: Context, record: ObjectRecord, read: ReadEncryption): Promise<StoredFacts> => {
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
export const wantsChecksums = ({ header }: Pick<Context, 'header'>): boolean =>
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
