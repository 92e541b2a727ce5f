/**
 * Work on each object of a bucket: so many at once, so many a second, with progress, and stopped in order by a signal. It keeps no cursor: what is
 * done shows in the objects themselves, so that whoever begins again skips it. How objects are read and changed is not its business.
 */
import { setMaxListeners } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { type ErrorCode, SseError } from '../errors.ts'
import type { ObjectStore } from '../store/store.ts'
import type { Arguments, Option } from './command.ts'
import { Interrupted, usage } from './failure.ts'
import { type Io, note } from './io.ts'
import { printable } from './printable.ts'
import { showBar } from './progress.ts'

type BulkOption = 'dry-run' | 'rate' | 'concurrency'

/** Options of every command that works on each object. */
export const bulkOptions: Readonly<Record<BulkOption, Option>> = {
  'dry-run': { help: 'change nothing, and tell what would be changed' },
  rate: { value: 'N', help: 'change at most so many objects a second (default: as many as it can)' },
  concurrency: { value: 'N', help: 'objects that are worked on at once, 1 to 256 (default: 16)' },
}

/** How it is worked. */
export interface Pace {
  readonly concurrency: number
  /** Changes a second; any number without it. */
  readonly rate: number | undefined
}

/** The pace that a command line asks for. `InvalidUsage`. */
export const paceOf = (args: Arguments<BulkOption>): Pace => {
  const number = (name: 'rate' | 'concurrency', most: number): number | undefined => {
    const text = args.text(name)
    if (text === undefined) return undefined
    const value = Number(text)
    if (/^\d+(?:\.\d+)?$/.test(text) && value > 0 && value <= most) return value
    throw usage(`--${name} is a number above 0, at most ${most}`)
  }
  return { concurrency: Math.ceil(number('concurrency', 256) ?? 16), rate: number('rate', 1_000_000) }
}

/** What became of an object. */
export type Outcome =
  /** `changed`; `already` as it should be; `other`, none that was asked for; `gone` meanwhile; `stopped` before anything was changed. */
  | { readonly did: 'changed' | 'already' | 'other' | 'gone' | 'stopped' }
  /** It could not be changed. */
  | { readonly did: 'left'; readonly reason: string }

/** An object or upload that was left as it is. */
export interface LeftObjects {
  readonly reason: string
  readonly count: number
  /** The first ones of them. */
  readonly keys: readonly string[]
}

/** What became of all objects. */
export interface Tally {
  readonly objects: number
  readonly changed: number
  readonly already: number
  readonly other: number
  readonly left: readonly LeftObjects[]
  readonly seconds: number
}

/** How many keys a report names for each reason. */
const mostNamed = 1000

/** Counts outcomes. */
export class Tallier {
  readonly #counts = { changed: 0, already: 0, other: 0, gone: 0, stopped: 0, left: 0 }
  readonly #left = new Map<string, { readonly reason: string; count: number; readonly keys: string[] }>()
  readonly #start = performance.now()

  /** Counts one. */
  add(key: string, outcome: Outcome): void {
    this.#counts[outcome.did]++
    if (outcome.did !== 'left') return
    const { reason } = outcome
    const left = this.#left.get(reason) ?? { reason, count: 0, keys: [] }
    this.#left.set(reason, left)
    left.count++
    if (left.keys.length < mostNamed) left.keys.push(key)
  }

  /** All so far. */
  result(): Tally {
    const { changed, already, other, left } = this.#counts
    const seconds = (performance.now() - this.#start) / 1000
    return {
      objects: changed + already + other + left,
      changed,
      already,
      other,
      left: [...this.#left.values()],
      seconds,
    }
  }

  /** All so far in a few words. */
  text(): string {
    const { objects, changed, seconds } = this.result()
    const rate = seconds > 0 ? Math.round(changed / seconds) : 0
    const left = this.#counts.left > 0 ? ` | ${this.#counts.left} left` : ''
    return `${objects} looked at | ${changed} changed${left} | ${rate}/s`
  }
}

/** Objects of a bucket. */
export interface BulkPlace {
  readonly store: ObjectStore
  readonly bucketId: string
  readonly prefix: string | undefined
}

const pageSize = 1000

/** The keys of the objects, in order, until it is stopped. Rows of a listing decide nothing: each object's own row is read by who works on it. */
export async function* keysOf(
  { store, bucketId, prefix }: BulkPlace,
  signal?: AbortSignal,
): AsyncGenerator<string, void, undefined> {
  for (let after: string | undefined; ;) {
    const page = await store.listObjects(bucketId, { prefix, after, limit: pageSize })
    for (const { key } of page.entries) {
      if (signal?.aborted === true) return
      yield key
    }
    after = page.next
    if (after === undefined) return
  }
}

/** What passes by itself: the same is tried again. */
const passing: ReadonlySet<ErrorCode> = new Set(['KmsThrottled', 'KmsUnavailable', 'StoreUnavailable', 'StoreBusy'])
/** What no other object would get past either. */
const fatal: ReadonlySet<ErrorCode> = new Set([...passing, 'StoreFailed', 'StoreFull', 'NoSuchBucket', 'FileFailed'])
const changedMeanwhile: ReadonlySet<ErrorCode> = new Set(['PreconditionFailed', 'NoSuchKey'])
const waits = [250, 500, 1000, 2000, 4000]

const isOf = (codes: ReadonlySet<ErrorCode>, error: unknown): error is SseError =>
  error instanceof SseError && codes.has(error.code)

/** Why an object is left as it is. Rejects with what stops the work. */
const reasonOf = (error: unknown): Outcome => {
  if (!(error instanceof SseError) || fatal.has(error.code)) throw error
  return { did: 'left', reason: `${error.code}: ${error.message}` }
}

const patiently = async (work: () => Promise<Outcome>, signal: AbortSignal): Promise<Outcome> => {
  for (let attempt = 0; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      const pause = waits[attempt]
      if (pause === undefined || !isOf(passing, error) || signal.aborted) return reasonOf(error)
      await wait(pause)
    }
  }
}

const attempts = 5

/** Works on an object, and again where a client has changed it meanwhile. */
export const retried = async (work: () => Promise<Outcome>): Promise<Outcome> => {
  for (let attempt = 0; attempt < attempts; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (!isOf(changedMeanwhile, error)) throw error // else look at what is there now
    }
  }
  return { did: 'left', reason: 'changed again and again meanwhile: give the command once more' }
}

/** Answers when the next change may be made: `false` where it was told to stop. */
export type MayGoOn = () => Promise<boolean>

const paced = (rate: number | undefined, signal: AbortSignal): MayGoOn => {
  let next = performance.now()
  return async () => {
    if (rate === undefined) return !signal.aborted
    const now = performance.now()
    const at = Math.max(now, next)
    next = at + 1000 / rate
    if (at > now) await wait(at - now, undefined, { signal }).catch(() => undefined)
    return !signal.aborted
  }
}

/**
 * Works on each object. Once it is told to stop, what is under way is finished, and it rejects with {@link Interrupted}; an error that no other
 * object would get past stops it likewise.
 */
export const forEachObject = async (
  io: Io,
  place: BulkPlace,
  { concurrency, rate }: Pace,
  work: (key: string, mayGoOn: MayGoOn) => Promise<Outcome>,
): Promise<Tally> => {
  const tallier = new Tallier()
  const failed = new AbortController()
  const signal = AbortSignal.any([io.signal, failed.signal])
  setMaxListeners(0, signal) // each worker waits with it
  const mayGoOn = paced(rate, signal)
  const keys = keysOf(place, signal)
  const bar = showBar(io, {
    visible: io.stderr.isTTY === true,
    total: undefined,
    now: () => ({ value: 0, text: tallier.text() }),
  })
  const worker = async (): Promise<void> => {
    try {
      for await (const key of { [Symbol.asyncIterator]: () => ({ next: () => keys.next() }) }) {
        tallier.add(key, await patiently(() => work(key, mayGoOn), signal))
      }
    } catch (error) {
      failed.abort()
      throw error
    }
  }
  const ends = await Promise.allSettled(Array.from({ length: concurrency }, worker))
  bar.stop()
  const again = 'Give the same command again: it goes on where it stopped.'
  const end = ends.find(each => each.status === 'rejected')
  if (end !== undefined) {
    await note(io, `stopped: ${tallier.text()}. ${again}`)
    throw end.reason
  }
  if (io.signal.aborted) throw new Interrupted(`Interrupted: ${tallier.text()}. ${again}`)
  return tallier.result()
}

/** Objects that were left as they are, as lines. */
export const leftLines = (left: readonly LeftObjects[]): readonly string[] =>
  left.flatMap(({ reason, count, keys }) => [
    `${count} left: ${printable(reason)}`,
    ...keys.map(key => `  ${printable(key)}`),
    ...(count > keys.length ? [`  and ${count - keys.length} more`] : []),
  ])

/** `ObjectsLeft` where there are any. */
export const assertNoneLeft = (left: readonly LeftObjects[]): void => {
  const count = left.reduce((sum, each) => sum + each.count, 0)
  if (count === 0) return
  const message = `${count} objects or uploads were left as they are. The report says which, and why.`
  throw new SseError('ObjectsLeft', { message })
}
