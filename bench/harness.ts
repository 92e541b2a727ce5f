/**
 * The harness of the benchmarks: contestants are validated first, then timed in turn, round after round, so that a noisy machine hurts all
 * alike; a figure is the median of its rounds, and a ratio the median of the ratios of each round.
 */
import { cpus } from 'node:os'
import { performance } from 'node:perf_hooks'

/** One way to do a case's work. */
export interface Contestant {
  readonly name: string
  /** Rejects unless its output is right: called once, before anything is timed. */
  validate(): Promise<void>
  /** Does the work once and returns the bytes (or operations) it counts. */
  run(): Promise<number>
}

/** A comparison: every contestant does the same work. */
export interface Case {
  readonly name: string
  readonly unit: 'MB/s' | 'ops/s'
  readonly contestants: readonly Contestant[]
  /** Name of the contestant that the others are compared with. */
  readonly reference: string
}

/** What a contestant reached. */
export interface Row {
  readonly case: string
  readonly contestant: string
  readonly unit: string
  readonly median: number
  readonly minimum: number
  readonly maximum: number
  readonly rounds: number
  /** To the reference, in the same rounds; 1 for the reference itself. */
  readonly ratio: { readonly to: string; readonly median: number; readonly minimum: number; readonly maximum: number }
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

const spread = (values: readonly number[]) => ({
  median: median(values),
  minimum: Math.min(...values),
  maximum: Math.max(...values),
})

/** Validates, warms up and times the contestants of a case; `progress` is told what runs. */
export const runCase = async (
  { name, unit, contestants, reference }: Case,
  rounds: number,
  progress: (text: string) => void,
): Promise<readonly Row[]> => {
  for (const contestant of contestants) {
    progress(`${name}: validating ${contestant.name}`)
    await contestant.validate()
  }
  const speeds = new Map<string, number[]>(contestants.map(contestant => [contestant.name, []]))
  for (let round = -1; round < rounds; round++) {
    for (const contestant of contestants) {
      progress(`${name}: round ${round + 1} of ${rounds}, ${contestant.name}`)
      const start = performance.now()
      const count = await contestant.run()
      const seconds = (performance.now() - start) / 1000
      if (round >= 0) speeds.get(contestant.name)?.push(count / seconds / (unit === 'MB/s' ? 1e6 : 1))
    }
  }
  const base = speeds.get(reference) ?? []
  return contestants.map(contestant => {
    const mine = speeds.get(contestant.name) ?? []
    const ratios = mine.map((speed, i) => speed / (base[i] ?? speed))
    return {
      case: name,
      contestant: contestant.name,
      unit,
      rounds,
      ...spread(mine),
      ratio: { to: reference, ...spread(ratios) },
    }
  })
}

/** What the figures were measured on. */
export const machine = () => ({
  date: new Date().toISOString(),
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  node: process.version,
  openssl: process.versions.openssl,
  command: `npm run bench -- ${process.argv.slice(2).join(' ')}`.trim(),
})

/** Rows as a table for people. */
export const table = (rows: readonly Row[]): string => {
  const cells = rows.map(row => [
    row.case,
    row.contestant,
    `${row.median.toFixed(0)} ${row.unit}`,
    `${row.minimum.toFixed(0)}..${row.maximum.toFixed(0)}`,
    `${row.ratio.median.toFixed(2)} x ${row.ratio.to}`,
    `${row.ratio.minimum.toFixed(2)}..${row.ratio.maximum.toFixed(2)}`,
  ])
  const all = [['case', 'contestant', 'median', 'spread', 'ratio', 'spread'], ...cells]
  const widths = all[0]?.map((_, column) => Math.max(...all.map(line => line[column]?.length ?? 0))) ?? []
  return all
    .map(line =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
