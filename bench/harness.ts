/**
 * The harness: contestants are validated first, then measured in turn, round after round, so that a noisy machine hurts all alike. A figure
 * is the median of its rounds, and a ratio the median of the ratios of each round; beside both stand the smallest and the largest.
 */
import { performance } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Lib } from './lib.ts'

/** What figures are in. `run` counts bytes or operations, unless the contestant reports its figure itself. */
export const units = {
  'MB/s': (bytes: number, seconds: number): number => bytes / seconds / 1e6,
  'objects/s': (count: number, seconds: number): number => count / seconds,
  µs: (count: number, seconds: number): number => (seconds * 1e6) / count,
  ms: (count: number, seconds: number): number => (seconds * 1e3) / count,
  KiB: (value: number): number => value,
  calls: (value: number): number => value,
  segments: (value: number): number => value,
} as const

/** The name of a unit. */
export type Unit = keyof typeof units

/** What a row says of its work, for people and for the goals. */
export interface Labels {
  readonly direction?: string | undefined
  /** Bytes of a body. */
  readonly size?: number | undefined
  readonly engine?: string | undefined
  readonly suite?: number | undefined
  /** Whether plaintext is released segment by segment, each checked before: no rival otherwise. */
  readonly segmented?: boolean | undefined
}

/** One way to do the work of a group. */
export interface Contestant extends Labels {
  readonly name: string
  /** Whether it is this package, and `--compare` therefore measures it twice. */
  readonly own?: boolean | undefined
  /** Those that it is compared with, of the same group. */
  readonly against?: readonly Contestant[] | undefined
  /** Whether `run` resolves with the figure itself instead of with what it counts. */
  readonly reports?: boolean | undefined
  /** Rejects unless its output is right: called once, before anything is measured. */
  readonly validate?: (() => Promise<void>) | undefined
  /** Does the work once. */
  readonly run: () => Promise<number>
}

/** Contestants that take turns. */
export interface Group {
  readonly name: string
  readonly unit: Unit
  readonly contestants: readonly Contestant[]
  /** One round without a warm-up: for counts, which do not vary. */
  readonly once?: boolean | undefined
  /** Whether to measure without a run before that is not counted: where it is no matter of speed, or was warmed up already. */
  readonly cold?: boolean | undefined
  /** Rounds at the most: for what takes long and varies little. */
  readonly rounds?: number | undefined
}

/** How large everything is: to see that it runs, for a look, for the record. */
export type Extent = 'tiny' | 'quick' | 'full'

/** What a case is made with. */
export interface Bench {
  readonly lib: Lib
  /** One of three by the extent of this run. */
  readonly pick: <T>(tiny: T, quick: T, full: T) => T
  /** Tells people a line, such as what is left out. */
  readonly note: (line: string) => void
  /** A new folder on disk, removed after the case. */
  readonly directory: () => Promise<string>
  /** Called after the case, the last one first. */
  readonly after: (clean: () => unknown) => void
}

/** A case: what `--only` names. */
export interface BenchCase {
  readonly name: string
  /** A line for `--list`. */
  readonly about: string
  readonly make: (bench: Bench) => Promise<readonly Group[]>
}

/** A median with the smallest and the largest. */
export interface Spread {
  readonly median: number
  readonly minimum: number
  readonly maximum: number
}

/** What a contestant reached. */
export interface Row extends Labels, Spread {
  readonly case: string
  readonly group: string
  readonly contestant: string
  readonly unit: Unit
  readonly rounds: number
  /** Its figure divided by another's of the same round. */
  readonly ratios: readonly (Spread & { readonly to: string })[]
}

const medianOf = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

/** The spread of some figures. */
export const spreadOf = (values: readonly number[]): Spread => ({
  median: medianOf(values),
  minimum: Math.min(...values),
  maximum: Math.max(...values),
})

setFlagsFromString('--expose-gc')
const collect: unknown = runInNewContext('gc')

/**
 * Collects garbage, so that nobody pays for what the one before left. Without an argument V8 would take compiled code along, which a program
 * that runs on never sees: what comes after takes up to one and a half times as long. `everything` does so, to read what memory is used.
 */
export const collectGarbage = (everything = false): void => {
  if (typeof collect === 'function') collect(...(everything ? [] : [{ type: 'major' }]))
}

const titleOf = ({ name, direction = '' }: Contestant): string => `${name} ${direction}`.trim()

/** How a group is measured. */
export interface Schedule {
  readonly rounds: number
  /** Seconds after which no further round begins, once there were three. */
  readonly budget: number
  readonly progress: (text: string) => void
  readonly note: (line: string) => void
}

/** A contestant that cannot be validated: fatal where it is this package, one line otherwise. */
const validated = async (
  group: Group,
  { progress, note }: Pick<Schedule, 'progress' | 'note'>,
): Promise<readonly Contestant[]> => {
  const fit: Contestant[] = []
  for (const contestant of group.contestants) {
    progress(`${group.name}: validating ${titleOf(contestant)}`)
    try {
      await contestant.validate?.()
      fit.push(contestant)
    } catch (error) {
      if (contestant.own === true) throw new Error(`${group.name}: ${titleOf(contestant)} is wrong`, { cause: error })
      note(`left out: ${titleOf(contestant)}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  return fit
}

/** Whether it runs in this process; what others measure (openssl, go) is warm. */
const isInside = ({ own, reports }: Contestant): boolean => own === true || reports !== true

const measure = async (contestant: Contestant, { unit }: Group): Promise<number> => {
  collectGarbage()
  const start = performance.now()
  const count = await contestant.run()
  const seconds = (performance.now() - start) / 1000
  return contestant.reports === true ? count : units[unit](count, seconds)
}

/** Validates, warms up and measures the contestants of a group. */
export const runGroup = async (caseName: string, group: Group, schedule: Schedule): Promise<readonly Row[]> => {
  const { progress, budget } = schedule
  const rounds = group.once === true ? 1 : Math.min(group.rounds ?? Infinity, schedule.rounds)
  const contestants = await validated(group, schedule)
  const figures = new Map<Contestant, number[]>(contestants.map(contestant => [contestant, []]))
  const warmed = group.once === true || group.cold === true ? [] : contestants.filter(isInside)
  for (const contestant of warmed) {
    progress(`${group.name}: warming up ${titleOf(contestant)}`)
    await contestant.run()
  }
  const start = performance.now()
  let done = 0
  while (done < rounds && (done < 3 || performance.now() - start < budget * 1000)) {
    for (const contestant of done % 2 === 0 ? contestants : contestants.toReversed()) {
      progress(`${group.name}: round ${done + 1} of ${rounds}, ${titleOf(contestant)}`)
      figures.get(contestant)?.push(await measure(contestant, group))
    }
    done++
  }
  return contestants.map(contestant => {
    const { name, direction, size, engine, suite, segmented, against = [] } = contestant
    const mine = figures.get(contestant) ?? []
    const ratios = against.flatMap(other => {
      const theirs = figures.get(other)
      if (theirs === undefined) return []
      return [{ to: other.name, ...spreadOf(mine.map((figure, i) => figure / (theirs[i] ?? Number.NaN))) }]
    })
    return {
      case: caseName,
      group: group.name,
      contestant: name,
      unit: group.unit,
      rounds: mine.length,
      ...spreadOf(mine),
      ...{ direction, size, engine, suite, segmented },
      ratios,
    }
  })
}
