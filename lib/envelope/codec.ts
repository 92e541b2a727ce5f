/** A strict reader of bytes: big-endian, limits checked before anything is copied, and `NotAuthentic` for whatever does not fit. */
import { copy, setU32 } from '../bytes.ts'
import { SseError } from '../errors.ts'

/** What every parser of the format throws: one message, whatever is wrong. */
export const malformed = (cause?: unknown): never => {
  throw new SseError('NotAuthentic', cause === undefined ? {} : { cause })
}

/** Writes a length, unsigned with 64 bits: a safe integer, or `Infinity` as 2^64-1, which says that it was unknown. */
export const setLength = (bytes: Uint8Array, at: number, length: number): void => {
  setU32(bytes, at, length === Infinity ? 0xffff_ffff : Math.floor(length / 2 ** 32))
  setU32(bytes, at + 4, length === Infinity ? 0xffff_ffff : length % 2 ** 32)
}

/** Reads fields one after the other. What it hands out are copies, but for {@link Reader.view}. */
export class Reader {
  readonly #bytes: Uint8Array
  #at = 0

  /** Reads from the front of `bytes`. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** Bytes read so far. */
  get position(): number {
    return this.#at
  }

  /** The next `size` bytes. */
  bytes(size: number): Uint8Array {
    return copy(this.view(size))
  }

  /** The next `size` bytes, where they lie: for bytes that the parser owns. */
  view(size: number): Uint8Array {
    return this.#bytes.subarray(this.#skip(size), this.#at)
  }

  /** What was read since that position, where it lies. */
  since(position: number): Uint8Array {
    return this.#bytes.subarray(position, this.#at)
  }

  /** Unsigned, 8 bits. */
  u8(): number {
    return this.#bytes[this.#skip(1)] ?? 0
  }

  /** Unsigned, 16 bits. */
  u16(): number {
    return this.u8() * 2 ** 8 + this.u8()
  }

  /** Unsigned, 32 bits. */
  u32(): number {
    return this.u16() * 2 ** 16 + this.u16()
  }

  /** Unsigned, 64 bits, at most 2^53-1; or `Infinity` for 2^64-1. Anything between is malformed. */
  u64(): number {
    const high = this.u32()
    const low = this.u32()
    if (high === 0xffff_ffff && low === 0xffff_ffff) return Infinity
    return high < 2 ** 21 ? high * 2 ** 32 + low : malformed()
  }

  /** The next bytes must be these. */
  expect(bytes: Uint8Array): void {
    for (const byte of bytes) if (this.u8() !== byte) malformed()
  }

  /** No byte may follow. */
  end(): void {
    if (this.#at !== this.#bytes.length) malformed()
  }

  #skip(size: number): number {
    const at = this.#at
    if (size > this.#bytes.length - at) malformed()
    this.#at += size
    return at
  }
}
