/** A strict reader of bytes: big-endian, limits checked before anything is copied, and `NotAuthentic` for whatever does not fit. */
import { copy, fromBase64url, view } from '../bytes.ts'
import { SseError } from '../errors.ts'

/** What every parser of the format throws: one message, whatever is wrong. */
export const malformed = (cause?: unknown): never => {
  throw new SseError('NotAuthentic', cause === undefined ? {} : { cause })
}

/** 2^64-1, which is no Number: the length that was unknown when a descriptor was written. */
export const unknown64: Uint8Array = new Uint8Array(8).fill(255)

/** Reads fields one after the other. What it hands out are copies. */
export class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  /** Reads from the front of `bytes`. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = view(bytes)
  }

  /** Bytes read so far. */
  get position(): number {
    return this.#at
  }

  /** The next `size` bytes. */
  bytes(size: number): Uint8Array {
    return copy(this.#bytes.subarray(this.#skip(size), this.#at))
  }

  /** Unsigned, 8 bits. */
  u8(): number {
    return this.#view.getUint8(this.#skip(1))
  }

  /** Unsigned, 16 bits. */
  u16(): number {
    return this.#view.getUint16(this.#skip(2))
  }

  /** Unsigned, 32 bits. */
  u32(): number {
    return this.#view.getUint32(this.#skip(4))
  }

  /** Unsigned, 64 bits, at most 2^53-1; or `Infinity` for 2^64-1. Anything between is malformed. */
  u64(): number {
    const value = this.#view.getBigUint64(this.#skip(8))
    if (value === 0xffff_ffff_ffff_ffffn) return Infinity
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : malformed()
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

/** Bytes of an envelope, session or receipt in text: base64url without padding, the one spelling (format.md, section 7). */
export const fromText = (text: string): Uint8Array => fromBase64url(text) ?? malformed()
