/** Rows and goals as tables for people. */
import { cpus } from 'node:os'
import type { Reached } from './goals.ts'
import type { Extent, Row, Spread } from './harness.ts'
import { bytes } from './support/bytes.ts'

/** What the figures were measured on. */
export interface Machine {
  /** ISO 8601. */
  readonly date: string
  readonly cpu: string
  readonly cores: number
  readonly node: string
  readonly openssl: string
  /** The engine of all cases that do not say another one. */
  readonly engine: string
  readonly extent: Extent
  readonly command: string
}

/** This machine, now. */
export const machine = (extent: Extent, engine: string): Machine => ({
  date: new Date().toISOString(),
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  node: process.version,
  openssl: process.versions.openssl,
  engine,
  extent,
  command: `npm run bench -- ${process.argv.slice(2).join(' ')}`.replace(/ -- $/, ''),
})

/** Three digits that count. */
export const figure = (value: number): string => {
  const size = Math.abs(value)
  return size >= 100 || size === 0 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2)
}

/** `1.23 (1.20..1.31)`. */
export const withSpread = ({ median, minimum, maximum }: Spread, unit = ''): string =>
  minimum === maximum ? `${figure(median)}${unit}` : `${figure(median)}${unit} (${figure(minimum)}..${figure(maximum)})`

const columns = (lines: readonly (readonly string[])[]): string => {
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map(line => line[column]?.length ?? 0))) ?? []
  const padded = lines.map(line => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '))
  return padded.map(line => line.trimEnd()).join('\n')
}

/** All rows, group by group, each with its ratios to others of the same rounds: one a line. */
export const rowsTable = (rows: readonly Row[]): string => {
  const groups = new Map<string, Row[]>()
  for (const row of rows) {
    const title = `${row.case}: ${row.group}, ${row.unit}`
    groups.set(title, [...(groups.get(title) ?? []), row])
  }
  const linesOf = (row: Row): readonly (readonly string[])[] => {
    const size = row.size === undefined ? '' : bytes(row.size)
    const [first = '', ...others] = row.ratios.map(ratio => `${withSpread(ratio)} x ${ratio.to}`)
    const rest = others.map(ratio => ['', '', '', '', ratio])
    return [[`  ${row.contestant}`, row.direction ?? '', size, withSpread(row), first], ...rest]
  }
  return [...groups].map(([title, members]) => `${title}\n${columns(members.flatMap(linesOf))}`).join('\n\n')
}

const verdict = ({ met, isFloor }: Reached): string =>
  isFloor ? '' : met === undefined ? 'not measured' : met ? 'yes' : 'no'

const reached = ({ reached, unit }: Reached): string => (reached === undefined ? '' : withSpread(reached, unit))

/** The goals and what was reached, for a terminal. */
export const goalsTable = (all: readonly Reached[]): string =>
  columns([
    ['goal', 'wanted', 'reached', 'met'],
    ...all.map(goal => [goal.goal, goal.wanted, reached(goal), verdict(goal)]),
  ])

/** The goals and what each of several runs reached, as Markdown; `runs` has a heading for each. */
export const goalsMarkdown = (
  runs: readonly { readonly heading: string; readonly goals: readonly Reached[] }[],
): string => {
  const [first] = runs
  const lines = first?.goals.map(({ goal, wanted }, i) => [
    goal,
    wanted,
    ...runs.map(({ goals }) => {
      const one = goals[i]
      if (one?.reached === undefined) return ''
      return one.met === false ? `${reached(one)}, not met` : reached(one)
    }),
  ])
  const head = ['goal', 'wanted', ...runs.map(({ heading }) => heading)]
  return [head, head.map(() => '---'), ...(lines ?? [])].map(line => `| ${line.join(' | ')} |\n`).join('')
}
