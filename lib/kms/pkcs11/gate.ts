/** Lets so many in at a time, and so many wait. */
import { SseError } from '../../errors.ts'

/** As many places as the token's sessions that work at a time. */
export class Gate {
  #free: number
  readonly #longest: number
  readonly #waiting = new Set<() => void>()

  /** `longest`: how many may wait. */
  constructor(places: number, longest: number) {
    this.#free = places
    this.#longest = longest
  }

  /** Takes a place, in the order of asking. Rejects with the signal's reason, or with `KmsThrottled` where too many wait already. */
  async enter(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    if (this.#free > 0) {
      this.#free--
      return
    }
    if (this.#waiting.size >= this.#longest) {
      throw new SseError('KmsThrottled', {
        message: 'Too many calls wait for a session of the token. Try again later.',
      })
    }
    await new Promise<void>((resolve, reject) => {
      const abort = () => {
        this.#waiting.delete(enter)
        reject(signal?.reason)
      }
      const enter = () => {
        signal?.removeEventListener('abort', abort)
        resolve()
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiting.add(enter)
    })
  }

  /** Gives the place to the next. */
  leave(): void {
    for (const enter of this.#waiting) {
      this.#waiting.delete(enter)
      enter()
      return
    }
    this.#free++
  }
}
