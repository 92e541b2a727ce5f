/**
 * The part table (format.md, section 4): n rows of 36 bytes, in object order.
 *
 *     0   4  part number     0 only when there is one stream; else strictly ascending, 1..10 000
 *     4   8  P, plaintext length of the stream
 *     12 24  salt of the stream
 */
import { setU32 } from '../bytes.ts'
import { saltSize, type Suite } from '../cipher/suite.ts'
import { maxPlaintext, storedLength } from '../segment/layout.ts'
import { malformed, Reader, setLength } from './codec.ts'

/** A row: one stream of the object. */
export interface PartRow {
  /** 0 for a single body, else the part number, 1 to 10,000. */
  readonly part: number
  /** Plaintext length in bytes; `Infinity` where it was unknown when the row was written (SKF1 only). */
  readonly length: number
  /** Salt of the attempt that belongs to the object, 24 bytes. */
  readonly salt: Uint8Array
}

/** The most parts of an object, and the highest part number. */
export const maxParts = 10_000
/** Bytes of a row. */
export const rowSize = 36

/** The 36 bytes of a row. */
export const encodeRow = (row: PartRow): Uint8Array => encodeTable([row])

/** Reads a row, without judging it. */
export const readRow = (reader: Reader): PartRow => ({
  part: reader.u32(),
  length: reader.u64(),
  salt: reader.bytes(saltSize),
})

/** The bytes of a table. */
export const encodeTable = (rows: readonly PartRow[]): Uint8Array => {
  const table = new Uint8Array(rows.length * rowSize)
  for (const [i, { part, length, salt }] of rows.entries()) {
    setU32(table, i * rowSize, part)
    setLength(table, i * rowSize + 4, length)
    table.set(salt, i * rowSize + 12)
  }
  return table
}

/** The rows of an authentic table; `NotAuthentic` where order, numbers or lengths break a limit of the suite. */
export const parseTable = (table: Uint8Array, suite: Suite, unknownLength: boolean): readonly PartRow[] => {
  const reader = new Reader(table)
  const rows: PartRow[] = []
  while (reader.position < table.length) rows.push(readRow(reader))
  let before = 0
  for (const { part, length } of rows) {
    const single = part === 0 && rows.length === 1
    if (!single && (part <= before || part > maxParts)) malformed()
    if (unknownLength ? length !== Infinity || !single : length > maxPlaintext(suite)) malformed()
    before = part
  }
  return rows
}

/** Sums over the rows: plaintext and stored bytes, `Infinity` where a length is unknown; `NotAuthentic` above 2^53-1. */
export const totals = (
  suite: Suite,
  rows: readonly PartRow[],
): { readonly plaintext: number; readonly stored: number } => {
  let plaintext = 0
  let stored = 0
  for (const { length } of rows) {
    plaintext += length
    stored += length === Infinity ? Infinity : storedLength(suite, length)
    if (stored !== Infinity && stored > Number.MAX_SAFE_INTEGER) malformed()
  }
  return { plaintext, stored }
}
