/** How long a client may keep the gateway waiting. Time runs only while it is waited for. */
import { SseError } from '../../errors.ts'

/** 400, as S3 answers a client that is too slow. */
export const tooSlow = (): SseError => new SseError('RequestTimeout')

/** What a client is held to. */
export interface PaceOptions {
  /** Seconds that it may be waited for. Bytes that move give time back, never more than this. */
  readonly seconds: number
  /** Bytes that give a second; with none, nothing gives time back. */
  readonly bytesPerSecond?: number | undefined
  /** Called once when the time is up. */
  readonly late: () => void
}

/** Milliseconds at least between two looks at the time that is left. */
const checkEvery = 100

/** A client's time. `stop` it when the client is no longer waited for. */
export class Pace {
  readonly #most: number
  readonly #perByte: number
  readonly #late: () => void
  #left: number
  /** Since when the client is waited for. */
  #since: number | undefined
  #timer: NodeJS.Timeout | undefined

  /** Time begins to run with the first `wait`. */
  constructor({ seconds, bytesPerSecond, late }: PaceOptions) {
    this.#most = seconds * 1000
    this.#perByte = bytesPerSecond === undefined ? 0 : 1000 / bytesPerSecond
    this.#late = late
    this.#left = this.#most
  }

  /** The client is waited for. `bytes` are known to be under way, and may take their time. */
  wait(bytes = 0): void {
    this.#left += bytes * this.#perByte
    this.#since = performance.now()
    // Time only goes while one waits, so it cannot be up before the timer says so: the timer lives across waits.
    this.#timer ??= setTimeout(this.#check, this.#left).unref()
  }

  /** The client is not waited for any more; so many bytes came that `wait` did not know of. */
  moved(bytes = 0): void {
    if (this.#since !== undefined) this.#left -= performance.now() - this.#since
    this.#since = undefined
    this.#left = Math.min(this.#most, this.#left + bytes * this.#perByte)
  }

  /** Ends it: nobody is late any more. */
  stop(): void {
    clearTimeout(this.#timer)
  }

  readonly #check = (): void => {
    const waited = this.#since === undefined ? 0 : performance.now() - this.#since
    const left = this.#left - waited
    if (left <= 0) this.#late()
    else this.#timer = setTimeout(this.#check, Math.max(left, checkEvery)).unref()
  }
}
