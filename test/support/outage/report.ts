/** What a run of an outage found, as plain data and as tables. */
import { type Kind, kinds, type Outcome } from './load.ts'

/** How often each result came. */
export type Counts = Readonly<Record<string, number>>

/** Requests of a kind in a stretch of time. */
export interface Stretch {
  readonly results: Counts
  /** Milliseconds of the answer that half of them were faster than. */
  readonly median: number
  /** Milliseconds of the slowest answer. */
  readonly slowest: number
}

/** A phase: something goes wrong for a time, and ends. */
export interface PhaseReport {
  readonly phase: string
  readonly about: string
  /** Seconds that it was wrong. */
  readonly seconds: number
  readonly before: Readonly<Record<Kind, Stretch>>
  readonly during: Readonly<Record<Kind, Stretch>>
  readonly after: Readonly<Record<Kind, Stretch>>
  /** Milliseconds from the end of the fault to the first answer of 200 to a PUT or cold GET; `undefined` where none came. */
  readonly firstSuccess: number | undefined
  /** Milliseconds from the end of the fault until at least 99 of 100 PUTs and cold GETs that began later succeeded. */
  readonly recovered: number | undefined
  /** Objects whose PUT was acknowledged: all of them, and those while it was wrong. */
  readonly acknowledged: { readonly all: number; readonly during: number }
  /** What must not be: objects that do not open, requests that hung, answers of a kind that must not come. */
  readonly problems: readonly string[]
}

const stretchOf = (outcomes: readonly Outcome[]): Stretch => {
  const results: Record<string, number> = {}
  for (const { result } of outcomes) results[result] = (results[result] ?? 0) + 1
  const times = outcomes.map(({ began, ended }) => ended - began).sort((a, b) => a - b)
  return { results, median: Math.round(times[times.length >> 1] ?? 0), slowest: Math.round(times.at(-1) ?? 0) }
}

const byKind = (outcomes: readonly Outcome[]): Readonly<Record<Kind, Stretch>> => {
  const of = (kind: Kind): Stretch => stretchOf(outcomes.filter(outcome => outcome.kind === kind))
  return {
    PUT: of('PUT'),
    'PUT, bucket key': of('PUT, bucket key'),
    'GET, warm': of('GET, warm'),
    'GET, cold': of('GET, cold'),
  }
}

/** Outcomes before, during and after a fault; what a fault may have touched is during. */
export const stretches = (outcomes: readonly Outcome[], start: number, end: number) => ({
  before: byKind(outcomes.filter(({ ended }) => ended < start)),
  during: byKind(outcomes.filter(({ began, ended }) => ended >= start && began < end)),
  after: byKind(outcomes.filter(({ began }) => began >= end)),
})

/** How long after `end` the first one of those that need the key manager succeeded, and when 99 of 100 did. */
export const recovery = (
  outcomes: readonly Outcome[],
  end: number,
): Pick<PhaseReport, 'firstSuccess' | 'recovered'> => {
  const needing = outcomes
    .filter(({ kind, began }) => (kind === 'PUT' || kind === 'GET, cold') && began >= end)
    .sort((a, b) => a.began - b.began)
  const good = needing.filter(({ result }) => result === '200').map(({ ended }) => ended)
  let [count, ok, since] = [0, 0, Infinity]
  for (const { began, result } of needing.toReversed()) {
    count++
    if (result === '200') ok++
    if (ok >= count * 0.99) since = began
  }
  return {
    firstSuccess: good.length === 0 ? undefined : Math.round(Math.min(...good) - end),
    recovered: since === Infinity ? undefined : Math.round(since - end),
  }
}

const table = (head: readonly string[], rows: readonly (readonly unknown[])[]): string =>
  [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n')

const shown = (results: Counts): string =>
  Object.entries(results)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([result, count]) => `${count.toLocaleString('en')} × ${result}`)
    .join(', ') || 'none'

const seconds = (milliseconds: number | undefined): string =>
  milliseconds === undefined ? 'not at all' : `${(milliseconds / 1000).toFixed(1)} s`

/** The tables of all phases, as Markdown. */
export const outageTable = (reports: readonly PhaseReport[]): string => {
  const requests = reports.flatMap(({ phase, before, during }) =>
    kinds.map((kind, i) => [
      i === 0 ? phase : '',
      kind,
      shown(before[kind].results),
      shown(during[kind].results),
      `${during[kind].median} ms`,
      `${during[kind].slowest} ms`,
    ]),
  )
  const ends = reports.map(({ phase, seconds: lasted, firstSuccess, recovered, acknowledged, problems }) => [
    phase,
    `${Math.round(lasted)} s`,
    seconds(firstSuccess),
    seconds(recovered),
    `${acknowledged.all.toLocaleString('en')} (${acknowledged.during.toLocaleString('en')})`,
    problems.length === 0 ? 'all' : `**${problems.join('; ')}**`,
  ])
  return [
    table(['', 'requests', 'before', 'during', 'median', 'slowest'], requests),
    '',
    table(['', 'lasted', 'first success after', '99 % after', 'acknowledged (during)', 'opened afterwards'], ends),
  ].join('\n')
}
