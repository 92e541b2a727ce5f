/** What a store does in the background: it sweeps, and deletes bodies that nothing refers to any more. */
import type { SweepReport } from './store.ts'

/** Milliseconds after a change: the garbage of several is collected at once. */
const soon = 100

/** What is to be done, and when. */
export interface UpkeepOptions<T> {
  /** One sweep; `stop` is asked between its steps: whether to stop here. `collect` is the one below, after the collection under way. */
  readonly sweep: (stop: () => boolean, collect: () => Promise<T>) => Promise<SweepReport>
  /** Deletes the bodies whose time has come. */
  readonly collect: () => Promise<T>
  /** Milliseconds between sweeps, the first of which begins at once; 0 for none. */
  readonly sweepEvery: number
  /** Told of a sweep that failed. */
  readonly onSweepError: (error: unknown) => void
}

/** The work in the background. */
export interface Upkeep {
  /** Has what is garbage deleted, soon. What fails is left to the sweep, which tells of it. */
  readonly collectSoon: () => void
  /** Sweeps, after the sweep under way. */
  readonly sweepNow: () => Promise<SweepReport>
  /** Ends it; waits for what is under way, and collects a last time where that was asked for. */
  readonly close: () => Promise<void>
}

/** Where nobody else is told of a sweep that failed: a warning of the process. */
export const warnOfSweep = (error: unknown): void => {
  process.emitWarning(`A sweep of the object store failed: ${String(error)}`)
}

/** Begins it. */
export const startUpkeep = <T>({ sweep, collect, sweepEvery, onSweepError }: UpkeepOptions<T>): Upkeep => {
  let isClosed = false
  let timer: NodeJS.Timeout | undefined
  let collecting: Promise<unknown> = Promise.resolve()
  let sweeping: Promise<unknown> = Promise.resolve()

  // One at a time, so that nothing is deleted twice.
  const collectNow = (): Promise<T> => {
    const next = collecting.then(collect)
    collecting = next.catch(() => {})
    return next
  }
  const collectBehind = (): void => {
    timer = undefined
    collectNow().catch(() => {})
  }
  const collectSoon = (): void => {
    if (!isClosed) timer ??= setTimeout(collectBehind, soon).unref()
  }
  const sweepNow = (): Promise<SweepReport> => {
    const next = sweeping.then(() => sweep(() => isClosed, collectNow))
    sweeping = next.catch(() => {})
    return next
  }
  const sweepBehind = (): void => {
    sweepNow().catch(onSweepError)
  }
  const isRegular = sweepEvery > 0
  const sweeps = isRegular ? setInterval(sweepBehind, sweepEvery).unref() : undefined
  // Between sweeps: what was kept for the grace time.
  const collections = isRegular ? setInterval(collectSoon, Math.min(sweepEvery, 60_000)).unref() : undefined
  if (isRegular) sweepBehind()

  return {
    collectSoon,
    sweepNow,
    close: async () => {
      isClosed = true
      clearInterval(sweeps)
      clearInterval(collections)
      await sweeping
      clearTimeout(timer)
      if (timer !== undefined) collectBehind()
      await collecting
    },
  }
}
