/** Output memory that is used again, for those who own what is sealed or opened until it has been written. */
import { tagSize } from './suite.ts'

/** Bytes of a slot: a segment of 64 KiB and its tag. */
const slotSize = 65_536 + tagSize

/** Smaller pieces are not worth a slot. */
const smallest = 4096

/** Slots that wait for their next use at most: 4 MiB. */
const most = 64

/**
 * Memory for the pieces that leave `pieces()` or a driver, used again: new memory for every segment takes time, and has to be collected. Give a
 * piece back once nobody reads it any more, such as in the callback of the `write` that took it; its bytes are those of another segment from
 * then on. One that is not given back is collected like any other. Only the engine openssl uses it.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sse,segment-memory}
 */
export class SegmentMemory {
  readonly #free: Uint8Array[] = []
  readonly #lent = new WeakMap<ArrayBufferLike, Uint8Array>()

  /** Memory for `size` bytes, asked for by the engine; `undefined` where they are fewer than 4 KiB, or more than a segment of 64 KiB has. */
  take(size: number): Uint8Array | undefined {
    if (size > slotSize || size < smallest) return undefined
    const slot = this.#free.pop() ?? new Uint8Array(slotSize)
    this.#lent.set(slot.buffer, slot)
    return size === slotSize ? slot : slot.subarray(0, size)
  }

  /** The bytes of a piece may be overwritten from now on. Other memory, and a piece that was given back before, is let be. */
  give(piece: Uint8Array): void {
    const slot = this.#lent.get(piece.buffer)
    if (slot === undefined) return
    this.#lent.delete(piece.buffer)
    if (this.#free.length < most) this.#free.push(slot)
  }
}
