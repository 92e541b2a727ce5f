/** Keys as a table or as JSON. */
import { printable, printableJson } from './printable.ts'

/** As JSON. */
export const json = (value: unknown): string => `${printableJson(value, 2)}\n`

/** A time in UTC, to the second. */
export const date = (time: number | undefined): string => new Date(Number(time)).toISOString().replace(/\.\d+Z$/, 'Z')

/** Rows in columns that are as wide as they must be. */
export const table = <T>(
  columns: readonly (readonly [title: string, cell: (row: T) => string])[],
  rows: readonly T[],
): string => {
  const padded = columns.map(([title, cell]) => {
    const width = Math.max(title.length, ...rows.map(row => printable(cell(row)).length))
    return { title: title.padEnd(width), cell: (row: T) => printable(cell(row)).padEnd(width) }
  })
  const head = padded.map(({ title }) => title)
  return [head, ...rows.map(row => padded.map(({ cell }) => cell(row)))]
    .map(cells => `${cells.join('  ').trimEnd()}\n`)
    .join('')
}
