/**
 * The one source of randomness: `crypto.getRandomValues`, which Node, browsers and the other runtimes share; data keys may come from the
 * generator of OpenSSL that is behind it in Node. It is no argument of any
 * public function. Tests replace it through the entry `./testing` alone, which nothing in lib imports.
 */
import { copy, overArrayBuffer, wipe } from '../bytes.ts'
import type { Engine } from './engine.ts'
import { keySize } from './suite.ts'

/** Fills the array with random bytes. */
export type RandomSource = (bytes: Uint8Array) => void

const system: RandomSource = bytes => {
  crypto.getRandomValues(overArrayBuffer(bytes))
}
let source: RandomSource = system

/**
 * A new key of 32 bytes. An engine that calls OpenSSL draws it from the same generator without the object that Node makes for each call, which
 * its garbage collector has to visit.
 */
export const randomKey = (engine?: Pick<Engine, 'randomKey'>): Uint8Array =>
  (source === system ? engine?.randomKey?.() : undefined) ?? randomBytes(keySize)

const block = new Uint8Array(4096)
let used = block.length
const drawn = new Uint8Array(64)

/** New random bytes in unpooled memory; at most 65,536. */
export const randomBytes = (size: number): Uint8Array => {
  if (size > drawn.length) {
    const out = new Uint8Array(size)
    source(out)
    return out
  }
  // Drawn elsewhere and copied: to fill a small array itself, V8 would have to move it off its heap.
  const from = drawn.subarray(0, size)
  source(from)
  const out = copy(from)
  wipe(from)
  return out
}

/**
 * New random bytes that are no secret, such as salts and ids: drawn in blocks, because a draw costs as much as 4 KiB of it. At most 4,096.
 * Never for keys, which are drawn one by one.
 */
export const randomId = (size: number): Uint8Array => {
  if (source !== system) return randomBytes(size)
  if (used + size > block.length) {
    system(block)
    used = 0
  }
  used += size
  return copy(block.subarray(used - size, used))
}

/**
 * For tests alone: replaces the source until the function that it returns is called.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sse,randomness}
 */
export const replaceRandomness = (replacement: RandomSource): (() => void) => {
  source = replacement
  return () => {
    source = system
  }
}
