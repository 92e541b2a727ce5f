/** The nonce of a segment (format.md, section 3): the base with its last 8 bytes XOR the segment's index. */
import { copy, view } from '../bytes.ts'
import { nonceSize } from '../cipher/suite.ts'

/** A function from index (0 to 2^32-1) to the nonce of that segment; it returns the same memory every time. */
export const nonces = (base: Uint8Array): ((index: number) => Uint8Array) => {
  const nonce = copy(base.subarray(0, nonceSize))
  const words = view(nonce)
  // The index has 32 bits, so of its 8 bytes the first four are zero and leave the base as it is.
  const low = words.getUint32(8)
  return index => {
    words.setUint32(8, (low ^ index) >>> 0)
    return nonce
  }
}
