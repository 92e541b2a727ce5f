/**
 * Where the streams of an object lie: rows of an authentic part table with their offsets, and the memory of large tables that were verified,
 * so that a range of an object of 10,000 parts costs neither a hash of its table nor a walk along it.
 */
import { equal, hex } from '../bytes.ts'
import type { Suite } from '../cipher/suite.ts'
import { type PartRow, rowSize } from '../envelope/part-table.ts'
import { Lru } from '../lru.ts'
import { storedLength } from '../segment/layout.ts'

/** Rows and where each stream begins; one more entry of both arrays is where the last stream ends. */
export interface PartIndex {
  readonly rows: readonly PartRow[]
  /** In the object's plaintext. */
  readonly plaintextAt: Float64Array
  /** In the stored bytes. */
  readonly storedAt: Float64Array
  /** Plaintext bytes in all; `Infinity` where a length is unknown. */
  readonly plaintext: number
  /** Stored bytes in all; `Infinity` likewise. */
  readonly stored: number
}

/** Offsets of all streams; `Infinity` behind one of unknown length. */
export const indexParts = (suite: Suite, rows: readonly PartRow[]): PartIndex => {
  const plaintextAt = new Float64Array(rows.length + 1)
  const storedAt = new Float64Array(rows.length + 1)
  let plaintext = 0
  let stored = 0
  for (const [i, { length }] of rows.entries()) {
    plaintext += length
    stored += length === Infinity ? Infinity : storedLength(suite, length)
    plaintextAt[i + 1] = plaintext
    storedAt[i + 1] = stored
  }
  return { rows, plaintextAt, storedAt, plaintext, stored }
}

/** The stream that has the plaintext byte at `offset`, which must be inside the object. */
export const partAt = ({ plaintextAt }: PartIndex, offset: number): number => {
  let low = 0
  let high = plaintextAt.length - 1
  while (high - low > 1) {
    const middle = (low + high) >>> 1
    if ((plaintextAt[middle] ?? 0) <= offset) low = middle
    else high = middle
  }
  return low
}

/** A stream in its place. */
interface PlacedStream {
  readonly row: PartRow
  readonly plaintextAt: number
  readonly storedAt: number
  /** Stored bytes; `Infinity` where its length is unknown. */
  readonly size: number
}

/** The streams from `first` to `last`, in order. */
export function* streams(index: PartIndex, first = 0, last = index.rows.length - 1): Generator<PlacedStream, void> {
  const { rows, plaintextAt, storedAt } = index
  for (const [i, row] of rows.slice(first, last + 1).entries()) {
    const from = storedAt[first + i] ?? 0
    yield { row, plaintextAt: plaintextAt[first + i] ?? 0, storedAt: from, size: (storedAt[first + i + 1] ?? 0) - from }
  }
}

/** Tables of fewer rows are verified faster than they are looked up. */
const fewest = 64
/** Rows in memory at once: some 24 MiB. */
const most = 100_000

interface VerifiedTable {
  readonly table: Uint8Array
  readonly index: PartIndex
}

/** Large tables that were found authentic, by the tag of their descriptor. Nothing in them is secret. */
export class VerifiedTables {
  readonly #tables = new Lru<string, VerifiedTable>({ most, weigh: ({ index }) => index.rows.length })

  /** What was found in exactly this table, under a tag that has just been verified. */
  get(tag: Uint8Array, table: Uint8Array): PartIndex | undefined {
    if (table.length < fewest * rowSize) return undefined
    const found = this.#tables.get(hex(tag))
    return found !== undefined && equal(found.table, table) ? found.index : undefined
  }

  /** Remembers a table that was verified, and keeps its bytes. */
  set(tag: Uint8Array, table: Uint8Array, index: PartIndex): PartIndex {
    if (index.rows.length >= fewest) this.#tables.set(hex(tag), { table, index })
    return index
  }
}
