/** Runs drivers over chunks, and sees what they released even where they fail. */
import { isPromise } from '../../lib/bytes.ts'
import type { Driver } from '../../lib/segment/driver.ts'

/** What came of a body: the bytes that were released, and the error that ended it, if any. */
export interface Outcome {
  readonly released: Uint8Array
  readonly error: unknown
}

/**
 * Drives a body to its end or first error, and disposes it. Each chunk lies in memory that is overwritten once its write has settled. After its own
 * error a driver must keep failing and release nothing more: `RangeError` from here otherwise.
 */
export const drive = async (driver: Driver, chunks: Iterable<Uint8Array>): Promise<Outcome> => {
  const out: Uint8Array[] = []
  const emit = (bytes: Uint8Array) => {
    out.push(bytes)
  }
  let scratch = new Uint8Array(0)
  let inDriver = false
  try {
    for (const chunk of chunks) {
      if (scratch.length < chunk.length) scratch = new Uint8Array(chunk.length)
      const lent = chunk.length === scratch.length ? scratch : scratch.subarray(0, chunk.length)
      lent.set(chunk)
      inDriver = true
      const pending = driver.write(lent, emit)
      if (isPromise(pending)) await pending
      inDriver = false
      lent.fill(0xaa)
    }
    inDriver = true
    await driver.end(emit)
    return { released: Buffer.concat(out), error: undefined }
  } catch (error) {
    const before = out.length
    for (const again of [() => driver.write(new Uint8Array(100), emit), () => driver.end(emit)]) {
      const goesOn = inDriver && !(await fails(again))
      if (goesOn || out.length !== before) throw new RangeError('a driver went on after its error', { cause: error })
    }
    return { released: Buffer.concat(out), error }
  } finally {
    driver.dispose()
  }
}

const fails = async (run: () => unknown): Promise<boolean> => {
  try {
    await run()
    return false
  } catch {
    return true
  }
}

/** Drives a body that must end well. */
export const driven = async (driver: Driver, chunks: Iterable<Uint8Array>): Promise<Uint8Array> => {
  const { released, error } = await drive(driver, chunks)
  if (error !== undefined) throw error
  return released
}

/** The bytes in chunks of one size. */
export function* inChunks(bytes: Uint8Array, size: number): Iterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** The bytes in chunks of sizes that `random` (0 to 1) draws, small ones and large ones. */
export function* inRandomChunks(bytes: Uint8Array, random: () => number): Iterable<Uint8Array> {
  for (let at = 0; at < bytes.length;) {
    const size = Math.floor(2 ** (random() * 17))
    yield bytes.subarray(at, at + size)
    at += size
  }
}

/** Numbers from 0 to 1 that a seed decides (mulberry32). */
export const seeded = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
