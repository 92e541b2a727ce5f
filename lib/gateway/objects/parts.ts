/**
 * The parts of a stored object, for GET and HEAD by part number. Of a sealed object they stand in its envelope, which is a claim until whoever
 * decrypts it has verified it, as GET does before a byte leaves; of a plain one the server has noted them.
 */
import { parseEnvelope } from '../../envelope/envelope.ts'
import { parseTable } from '../../envelope/part-table.ts'
import { SseError } from '../../errors.ts'
import type { RangeRequest } from '../../segment/layout.ts'
import type { ObjectRecord, PartRun } from '../../store/records.ts'

/** A part of an object. */
export interface PartSize {
  readonly number: number
  /** Bytes of plaintext. */
  readonly size: number
}

/** Which bytes a part is. */
export interface PartRange {
  /** `undefined` for an empty object, which has no bytes that a range could name. */
  readonly range: RangeRequest | undefined
  /** Parts of the object; `undefined` where it was not uploaded in parts. */
  readonly count: number | undefined
}

/** What is noted of the parts of a plain object: runs of parts of the same size. */
export const notePartSizes = (parts: readonly PartSize[]): readonly PartRun[] => {
  const runs: { readonly first: number; readonly size: number; count: number }[] = []
  for (const { number, size } of parts) {
    const last = runs.at(-1)
    if (last !== undefined && last.size === size && last.first + last.count === number) last.count++
    else runs.push({ first: number, size, count: 1 })
  }
  return runs
}

/** The parts that the rows of a table tell; an object that was not uploaded in parts has none. */
export const partsInTable = (
  rows: readonly { readonly part: number; readonly length: number }[],
): readonly PartSize[] => rows.flatMap(({ part, length }) => (part === 0 ? [] : [{ number: part, size: length }]))

/** The parts of an object that was uploaded in parts; none of another one. `NotAuthentic` for an envelope that cannot be read. */
export const partsOf = ({ envelope, notes }: ObjectRecord): readonly PartSize[] => {
  if (envelope === undefined) {
    return (notes.partSizes ?? []).flatMap(({ first, size, count }) =>
      Array.from({ length: count }, (_, i) => ({ number: first + i, size })),
    )
  }
  const { descriptor, table } = parseEnvelope(envelope)
  return partsInTable(parseTable(table, descriptor.suite, false))
}

/** The bytes of a part; an object that was not uploaded in parts is its own part 1. `InvalidPartNumber` (416) where there is no such part. */
export const partRange = (record: ObjectRecord, number: number): PartRange => {
  const parts = partsOf(record)
  const at = parts.findIndex(part => part.number === number)
  const found = parts[at]
  if (found !== undefined) {
    const start = parts.slice(0, at).reduce((sum, { size }) => sum + size, 0)
    return { range: { start, end: start + found.size - 1 }, count: parts.length }
  }
  if (parts.length === 0 && number === 1)
    return { range: record.size === 0 ? undefined : { start: 0 }, count: undefined }
  const details = { ActualPartCount: String(parts.length || 1), PartNumberRequested: String(number) }
  throw new SseError('InvalidPartNumber', { details })
}
