/**
 * A driver as a Node `Transform` and as an async generator, the share of the event loop that all of them take together, and the tuning of
 * memory that a program may ask for.
 */
import { channel } from 'node:diagnostics_channel'
import { Transform } from 'node:stream'
import { setFlagsFromString } from 'node:v8'
import { assertIterable } from '../arguments.ts'
import { isPromise, type MaybePromise } from '../bytes.ts'
import { SseError } from '../errors.ts'
import { chunkBytes, type Chunks, type Driver } from './driver.ts'

/** Called when the work is done or has failed. */
export type Done = (error?: Error | null) => void

/** Name of the channel of `node:diagnostics_channel` that bodies are told on whose segments were refused: they are not what was sealed. */
export const refusedChannel = 'sse-kms-streams:refused'
const refused = channel(refusedChannel)

/** Milliseconds of ciphers in one turn of the event loop if no other stream waits. */
const share = 2
/** Milliseconds if some wait. */
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
  const fail = (thrown: unknown): void => {
    if (thrown instanceof SseError && thrown.code === 'NotAuthentic') refused.publish(thrown)
    done(thrown instanceof Error ? thrown : new Error(String(thrown)))
  }
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

/**
 * A Node `Transform` over a driver: chunks in, chunks out, errors destroy it, keys are wiped when it closes. Use it in `pipeline()`,
 * which propagates errors both ways.
 */
export const toTransform = (driver: Driver): Transform => {
  const emit = (bytes: Uint8Array) => {
    transform.push(bytes)
  }
  const transform = new Transform({
    transform: (chunk: Uint8Array, _encoding, done) => inTurn(() => driver.write(chunk, emit), done),
    flush: done => inTurn(() => driver.end(emit), done),
    destroy: (error, done) => {
      driver.dispose()
      done(error)
    },
  })
  return transform
}

/** The largest allocation that glibc learns from; a little less, for its own header. */
const lesson = (32 << 20) - 65_536

/**
 * Tunes the memory of the process for streams, which allocate and let go of a buffer for each segment. Call it once, where a program begins
 * that streams much: it is the program's decision, so no other function calls it. The program `sse-kms` does. Two things, neither of which
 * touches a page or takes longer than microseconds:
 *
 * - V8 counts buffers as if they were part of its heap, and collects the whole heap again and again where that is small: as
 *   `--heap-growing-percent=400` does, it lets the heap grow to five times of what was left before it collects all of it.
 * - glibc (most Linux systems) hands memory that was freed back to the system, and every page of the next buffer is a fault: one large
 *   allocation that is freed raises its thresholds (mallopt(3), `M_MMAP_THRESHOLD`, "dynamic"), so that up to 64 MiB are kept. Where
 *   `MALLOC_TRIM_THRESHOLD_` is set, it rules.
 *
 * {@includeCode ../../test/examples/reference.test.ts#memory}
 */
export const tuneMemory = (): void => {
  setFlagsFromString('--heap-growing-percent=400')
  const { port1, port2 } = new MessageChannel()
  port2.close()
  const { buffer } = Buffer.allocUnsafeSlow(lesson)
  port1.postMessage(buffer, [buffer]) // to nobody: it is freed with the port, not whenever garbage is collected
  port1.close()
}

/**
 * What leaves a driver while a source goes in, piece by piece: for `for await`, or as a function in the middle of `pipeline()`. Nothing is read
 * ahead: the next chunk is asked for once everything that the last one gave was taken, so its source may use its memory again. Errors are
 * thrown; keys are wiped at the end, on an error, and where the loop is left.
 */
export async function* toPieces(driver: Driver, source: Chunks): AsyncGenerator<Uint8Array, void, undefined> {
  let out: Uint8Array[] = []
  const emit = (bytes: Uint8Array) => {
    out.push(bytes)
  }
  const step = (work: () => MaybePromise<void>): Promise<readonly Uint8Array[]> =>
    new Promise((resolve, reject) => {
      inTurn(work, error => {
        const pieces = out
        out = []
        if (error instanceof Error) reject(error)
        else resolve(pieces)
      })
    })
  try {
    assertIterable('pieces', source)
    for await (const chunk of source) {
      for (const piece of await step(() => driver.write(chunkBytes(chunk), emit))) yield piece
    }
    for (const piece of await step(() => driver.end(emit))) yield piece
  } finally {
    driver.dispose()
  }
}
