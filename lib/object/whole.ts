/** Whole bytes in memory: what `encryptBytes` and `decryptBytes` do around a body. Bodies that flow are not its business. */
import { wipe } from '../bytes.ts'
import type { Chunks, Driver } from '../segment/driver.ts'
import type { RandomAccess } from './file.ts'

/** A body with the adapter that both entries have. */
export interface Body {
  /** Disposed at the end, whatever that is. */
  readonly driver: Driver
  /** What leaves while a source goes in. */
  pieces(source: Chunks): AsyncIterable<Uint8Array>
}

/** Bytes that go in at a time, between which other work of the process goes on and an abort is heeded. */
const sliceSize = 1 << 20

function* slices(bytes: Uint8Array): Iterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += sliceSize) yield bytes.subarray(at, at + sliceSize)
}

/** Bytes in memory as a file. */
export const fileOf = (bytes: Uint8Array): RandomAccess => ({
  size: bytes.length,
  read: async (start, end) => bytes.subarray(start, end + 1),
})

/**
 * All that a body makes of these bytes, in new memory of this size. `RangeError` where there is no such memory. What came before an error is wiped:
 * it may be plaintext.
 */
export const whole = async (
  body: Body,
  bytes: Uint8Array,
  size: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> => {
  let out: Uint8Array | undefined
  let at = 0
  try {
    out = new Uint8Array(size)
    for await (const piece of body.pieces(slices(bytes))) {
      signal?.throwIfAborted()
      out.set(piece, at)
      at += piece.length
    }
    return out
  } catch (error) {
    wipe(out)
    throw error
  } finally {
    body.driver.dispose()
  }
}
