/**
 * The event loop, shared among all streams of a process: once the ciphers had their milliseconds of a turn, the chunks that still come wait
 * for the next one, first come first served; and while some wait, turns are short. So neither a thousand streams that are ready at once nor a
 * source that never waits keeps timers, sockets and other requests waiting for long, and a stream alone hardly notices. A chunk is never
 * cut: one that takes longer takes what it needs.
 */
import { isPromise, type MaybePromise } from '../bytes.ts'

/** What is told once the work is done, or has failed. */
export type Done = (error?: Error | null) => void

/** Milliseconds of a turn while nobody waits. */
const share = 2
/** Milliseconds of a turn while some do. */
const crowdedShare = 0.5
const waiting: (() => void)[] = []
let used = 0
let armed = false

const arm = (): void => {
  if (armed) return
  armed = true
  setImmediate(turn)
}

const run = (work: () => void): void => {
  const start = performance.now()
  work()
  used += performance.now() - start
}

const turn = (): void => {
  armed = false
  used = 0
  for (let next = waiting.shift(); next !== undefined; next = used < crowdedShare ? waiting.shift() : undefined)
    run(next)
  if (waiting.length > 0) arm()
}

const settle = (work: () => MaybePromise<void>, done: Done): void => {
  // Whatever is thrown is an error, `undefined` too: without one the work would pass for done.
  const fail = (thrown: unknown): void => done(thrown instanceof Error ? thrown : new Error(String(thrown)))
  try {
    const result = work()
    if (isPromise(result)) result.then(() => done(), fail)
    else done()
  } catch (error) {
    fail(error)
  }
}

/** Does the work at once while this turn's share lasts, in a later turn otherwise. */
export const inTurn = (work: () => MaybePromise<void>, done: Done): void => {
  arm()
  if (used < share && waiting.length === 0) run(() => settle(work, done))
  else waiting.push(() => settle(work, done))
}
