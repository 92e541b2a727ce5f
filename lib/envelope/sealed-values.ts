/**
 * Sealed values (format.md, section 5): what is derived from the plaintext, such as checksums, lies in storage only encrypted.
 *
 *     nonce[12] ‖ AES-256-GCM(K_aux, nonce, list, AAD)        list = (u8 id, u16 len, value)*, ids strictly ascending, at least one
 *     AAD = descriptor[108] of an object, or "part" ‖ row[36]
 *
 * Those of the parts may stay with the object, as they lie in the receipts: (u16 len, sealed values)*, one for each row of the table, in its order.
 */
import { concat, getU16, u16, utf8, wipe } from '../bytes.ts'
import type { Engine } from '../cipher/engine.ts'
import { randomBytes } from '../cipher/random.ts'
import { nonceSize, tagSize } from '../cipher/suite.ts'
import { malformed, Reader } from './codec.ts'
import { encodeRow, type PartRow } from './part-table.ts'

/** Name of a value. */
export type ValueName = 'md5' | 'crc32' | 'crc32c' | 'crc64nvme' | 'sha1' | 'sha256'

/** How a value lies in a list. */
export interface ValueKind {
  /** Its id, 1 to 6. */
  readonly id: number
  /** Its bytes. */
  readonly size: number
}

/**
 * Ids of values and their sizes in bytes; 0x80 + id is the composite form, of the same size.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sse,values}
 */
export const valueIds: Readonly<Record<ValueName, ValueKind>> = {
  md5: { id: 1, size: 16 },
  crc32: { id: 2, size: 4 },
  crc32c: { id: 3, size: 4 },
  crc64nvme: { id: 4, size: 8 },
  sha1: { id: 5, size: 20 },
  sha256: { id: 6, size: 32 },
}

/**
 * Added to an id for the checksum of the parts' checksums.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sse,values}
 */
export const compositeFlag = 0x80

const sizes: ReadonlyMap<number, number> = new Map(
  Object.values(valueIds).flatMap(({ id, size }) => [
    [id, size],
    [compositeFlag + id, size],
  ]),
)
const maxList = 4096
/** The fewest bytes that sealed values have, but for none: a list of one value without bytes. */
export const minSealed: number = nonceSize + 3 + tagSize
/** The most bytes that sealed values have. */
export const maxSealed: number = nonceSize + maxList + tagSize

/** Values by id, big-endian bytes. */
export type Values = ReadonlyMap<number, Uint8Array>

/** AAD of an object's values: its descriptor. Of a part's: this. */
export const partAad = (row: PartRow): Uint8Array => concat(utf8('part'), encodeRow(row))

/** Seals values; none give no bytes. `RangeError` for a known id of another length, or a list that is too long. */
export const sealValues = async (
  engine: Engine,
  key: Uint8Array,
  aad: Uint8Array,
  values: Values,
): Promise<Uint8Array> => {
  if (values.size === 0) return new Uint8Array(0)
  const rows = [...values].sort(([a], [b]) => a - b)
  for (const [id, value] of rows) {
    if (!Number.isInteger(id) || id < 0 || id > 255) throw new RangeError('the id of a value has 8 bits')
    if (value.length !== (sizes.get(id) ?? value.length)) throw new RangeError(`value ${id} has another length`)
  }
  const list = concat(...rows.map(([id, value]) => concat(Uint8Array.of(id), u16(value.length), value)))
  if (list.length > maxList) throw new RangeError(`a list of values has at most ${maxList} bytes`)
  const nonce = randomBytes(nonceSize)
  return concat(nonce, await engine.seal('AEAD_AES_256_GCM', key, nonce, list, aad))
}

/**
 * Opens sealed values: those whose id is known. `NotAuthentic` where they do not open, or a known id has another length; no bytes are no
 * values.
 */
export const openValues = async (
  engine: Engine,
  key: Uint8Array,
  aad: Uint8Array,
  sealed: Uint8Array,
): Promise<Values> => {
  if (sealed.length === 0) return new Map()
  if (sealed.length < minSealed || sealed.length > maxSealed) return malformed()
  const list = await engine.open(
    'AEAD_AES_256_GCM',
    key,
    sealed.subarray(0, nonceSize),
    sealed.subarray(nonceSize),
    aad,
  )
  const reader = new Reader(list)
  const values = new Map<number, Uint8Array>()
  let before = -1
  do {
    const id = reader.u8()
    const value = reader.bytes(reader.u16())
    if (id <= before) malformed()
    const size = sizes.get(id)
    if (size !== undefined && size !== value.length) malformed()
    if (size !== undefined) values.set(id, value)
    before = id
  } while (reader.position < list.length)
  wipe(list)
  return values
}

/** Joins the sealed values of an object's parts, in the order of its table; no bytes where none has any. */
export const joinPartValues = (sealed: readonly Uint8Array[]): Uint8Array =>
  sealed.every(each => each.length === 0)
    ? new Uint8Array(0)
    : concat(...sealed.flatMap(each => [u16(each.length), each]))

const splitPartValues = (bytes: Uint8Array, count: number): readonly Uint8Array[] => {
  const found: Uint8Array[] = []
  let end = 0
  while (found.length < count) {
    const start = end + 2
    if (start > bytes.length) return malformed()
    end = start + getU16(bytes, end)
    found.push(bytes.subarray(start, end))
  }
  return end === bytes.length ? found : malformed()
}

/** Sealed values of an object's parts, and which of them are to be opened. */
export interface PartValues {
  /** As `joinPartValues` made them. */
  readonly sealed: Uint8Array
  /** Numbers of parts. */
  readonly parts: readonly number[]
}

/**
 * Opens the sealed values of parts by their number; a number that the table has not is left out. `NotAuthentic` where there are not as many as
 * rows, or one that is asked for does not open; no bytes are no values.
 */
export const openPartValues = async (
  engine: Engine,
  key: Uint8Array,
  rows: readonly PartRow[],
  { sealed, parts }: PartValues,
): Promise<ReadonlyMap<number, Values>> => {
  const opened = new Map<number, Values>()
  if (sealed.length === 0 || parts.length === 0) return opened
  const all = splitPartValues(sealed, rows.length)
  const wanted = new Set(parts)
  for (const [i, row] of rows.entries()) {
    const values = all[i]
    if (values !== undefined && wanted.has(row.part)) {
      opened.set(row.part, await openValues(engine, key, partAad(row), values))
    }
  }
  return opened
}
