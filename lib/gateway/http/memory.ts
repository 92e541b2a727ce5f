/** The memory that all requests of a gateway may hold together for what they buffer. */
import { SseError } from '../../errors.ts'

/** What one request holds. */
export interface HeldMemory {
  /** Holds so many bytes more; `SlowDown` where there are none left. */
  hold(bytes: number): void
  /** Holds so many bytes more, if there are any left. */
  tryHold(bytes: number): boolean
  /** Gives everything back. */
  release(): void
}

/** Counts what is held: each call makes the account of a request. */
export const memoryOf = (bytes: number): (() => HeldMemory) => {
  let left = bytes
  return () => {
    let held = 0
    const tryHold = (more: number): boolean => {
      if (more > left) return false
      left -= more
      held += more
      return true
    }
    return {
      tryHold,
      hold: more => {
        if (!tryHold(more)) throw new SseError('SlowDown', { retryAfter: 1 })
      },
      release: () => {
        left += held
        held = 0
      },
    }
  }
}
