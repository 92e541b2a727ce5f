/**
 * The one source of randomness: `crypto.getRandomValues`, which Node, browsers and the other runtimes share. It is no argument of any
 * public function. Tests replace it through the entry `./testing` alone, which nothing in lib imports.
 */
import { overArrayBuffer } from '../bytes.ts'

/** Fills the array with random bytes. */
export type RandomSource = (bytes: Uint8Array) => void

const system: RandomSource = bytes => {
  crypto.getRandomValues(overArrayBuffer(bytes))
}
let source: RandomSource = system

/** New random bytes in unpooled memory; at most 65,536. */
export const randomBytes = (size: number): Uint8Array => {
  const out = new Uint8Array(size)
  source(out)
  return out
}

/**
 * For tests alone: replaces the source until the function that it returns is called.
 *
 * {@includeCode ../../test/examples/reference.test.ts#randomness}
 */
export const replaceRandomness = (replacement: RandomSource): (() => void) => {
  source = replacement
  return () => {
    source = system
  }
}
