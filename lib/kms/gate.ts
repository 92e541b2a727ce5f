/** Lets so many in at a time, and so many wait. Who leaves no longer counts among those who wait. */

/** So many places, and a queue before them. */
export class Gate {
  #free: number
  readonly #longest: number
  readonly #full: () => never
  readonly #waiting = new Set<() => void>()

  /** `longest`: how many may wait; `full` throws what one too many is told. */
  constructor(places: number, longest: number, full: () => never) {
    this.#free = places
    this.#longest = longest
    this.#full = full
  }

  /** Takes a place, in the order of asking. Rejects with the signal's reason, or with what `full` throws where too many wait already. */
  async enter(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    if (this.#free > 0) {
      this.#free--
      return
    }
    if (this.#waiting.size >= this.#longest) this.#full()
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
