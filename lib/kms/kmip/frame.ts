/** Cuts the bytes of a connection into an answer. It holds the bytes of one answer at most, and those only up to a limit. */
import { wipe } from '../../bytes.ts'
import { wrongAnswer } from './failure.ts'
import { tags } from './tags.ts'
import { headSize, readHead } from './ttlv.ts'

/** The head of the longest answer that is taken. */
export class Frame {
  readonly #limit: number
  readonly #head = new Uint8Array(headSize)
  #message: Uint8Array | undefined
  #filled = 0

  /** `limit`: bytes of the longest answer. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /**
   * Takes what the network delivered. Answers the whole message once it is there; `KmsUnavailable` where it is no response, is longer than
   * the limit or has bytes behind it.
   */
  push(chunk: Uint8Array): Uint8Array | undefined {
    let rest = chunk
    if (this.#message === undefined) {
      rest = this.#fill(this.#head, rest)
      if (this.#filled < headSize) return undefined
      this.#message = this.#begin()
    }
    rest = this.#fill(this.#message, rest)
    if (rest.length > 0) return wrongAnswer('there are bytes behind it')
    return this.#filled === this.#message.length ? this.#message : undefined
  }

  /** Overwrites what has come so far. */
  wipe(): void {
    wipe(this.#message)
  }

  #begin(): Uint8Array {
    const { tag, type, size } = readHead(this.#head)
    if (tag !== tags.responseMessage || type !== 1) return wrongAnswer('it is no response')
    if (headSize + size > this.#limit) {
      return wrongAnswer(`it has ${headSize + size} bytes, more than the ${this.#limit} of maxAnswer`)
    }
    const message = new Uint8Array(headSize + size)
    message.set(this.#head)
    return message
  }

  /** Copies as much as fits; answers the rest. */
  #fill(into: Uint8Array, from: Uint8Array): Uint8Array {
    const taken = from.subarray(0, into.length - this.#filled)
    into.set(taken, this.#filled)
    this.#filled += taken.length
    return from.subarray(taken.length)
  }
}
