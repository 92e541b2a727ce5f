/**
 * Framing: bytes in, "segment i begins, these pieces, it ends" out. Pure and synchronous, without cryptography; both drivers and both
 * directions stand on it.
 *
 *     sealing   segment = S bytes                    the last one shorter, perhaps empty
 *     opening   segment = S bytes of ciphertext ‖ 16 bytes of tag, the last one shorter
 *
 * Opening, the last 16 bytes that came are held back until more come or the end, since they may be the tag. Pieces below 4 KiB are
 * gathered, so that a source of tiny chunks costs no cipher call each.
 */
import { SseError } from '../errors.ts'
import { tagSize } from '../cipher/suite.ts'
import { maxSegments } from './layout.ts'

/** What framing calls. Pieces are valid during the call only. */
export interface FrameSink {
  /** A segment begins. */
  begin(index: number): void
  /** Bytes of it: plaintext when sealing, ciphertext without the tag when opening. */
  piece(bytes: Uint8Array): void
  /** It is whole. `tag` has no bytes when sealing. */
  end(index: number, tag: Uint8Array): void
}

const smallPiece = 4096
const tinyPiece = 512
const gatherSize = 16_384
const none = new Uint8Array(0)

/** Cuts one run of segments, from segment `first` on. */
export class Framing {
  readonly #segmentSize: number
  readonly #tagSize: 0 | 16
  readonly #sink: FrameSink
  #index: number
  #count = 0
  #begun = false
  // The bytes of the segment that the sink has not seen, in order: small pieces, and what may be the tag.
  #held = none
  #heldSize = 0

  /** `opening` tells whether segments carry a tag. */
  constructor(segmentSize: number, opening: boolean, sink: FrameSink, first = 0) {
    this.#segmentSize = segmentSize
    this.#tagSize = opening ? tagSize : 0
    this.#sink = sink
    this.#index = first
  }

  /** Takes bytes; calls the sink for what they complete. */
  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length;) {
      this.#begin()
      const take = Math.min(this.#segmentSize + this.#tagSize - this.#count, chunk.length - at)
      this.#take(chunk.subarray(at, at + take))
      this.#count += take
      at += take
      if (this.#count === this.#segmentSize + this.#tagSize) this.#end()
    }
  }

  /**
   * The input ends. With `short`, a short segment must end it: sealing makes an empty one where there is none; opening, its absence is
   * `NotAuthentic` (cut at a segment boundary), as is a segment shorter than its tag.
   */
  finish(short: boolean): void {
    if (short && this.#tagSize === 0) this.#begin()
    if (this.#begun ? this.#count < this.#tagSize : short) throw new SseError('NotAuthentic')
    if (this.#begun) this.#end()
  }

  /** Overwrites what is held. */
  dispose(): void {
    this.#held.fill(0)
  }

  #begin(): void {
    if (this.#begun) return
    if (this.#index >= maxSegments) throw new SseError(this.#tagSize === 0 ? 'StreamTooLong' : 'NotAuthentic')
    this.#begun = true
    this.#sink.begin(this.#index)
  }

  #take(bytes: Uint8Array): void {
    // The first piece of a segment may be all of it, as in a small object: pass it on at a smaller size.
    const small = this.#count === 0 ? tinyPiece : smallPiece
    if (bytes.length < small) {
      this.#hold(bytes)
      return
    }
    // More bytes came than a tag has, so the bytes held back are not the tag.
    this.#release(this.#heldSize)
    this.#sink.piece(bytes.subarray(0, bytes.length - this.#tagSize))
    this.#hold(bytes.subarray(bytes.length - this.#tagSize))
  }

  #hold(bytes: Uint8Array): void {
    if (this.#heldSize + bytes.length > gatherSize) this.#release(this.#heldSize - this.#tagSize)
    // Room for many pieces is made when a second one comes.
    if (this.#held.length < this.#heldSize + bytes.length) this.#grow(this.#held === none ? bytes.length : gatherSize)
    this.#held.set(bytes, this.#heldSize)
    this.#heldSize += bytes.length
  }

  #grow(size: number): void {
    const before = this.#held
    this.#held = new Uint8Array(Math.max(size, this.#tagSize))
    this.#held.set(before.subarray(0, this.#heldSize))
    before.fill(0)
  }

  /** Gives the sink that many of the bytes that are held, if any. */
  #release(size: number): void {
    if (size <= 0) return
    this.#sink.piece(this.#held.subarray(0, size))
    this.#held.copyWithin(0, size, this.#heldSize)
    this.#heldSize -= size
  }

  #end(): void {
    this.#release(this.#heldSize - this.#tagSize)
    this.#sink.end(this.#index, this.#held.subarray(0, this.#heldSize))
    this.#index++
    this.#count = 0
    this.#begun = false
    this.#heldSize = 0
  }
}
