/** Holds a body to the length that was declared for it, and to the longest that its suite can seal. */
import { SseError } from '../errors.ts'
import type { Suite } from '../cipher/suite.ts'
import { maxPlaintext } from './layout.ts'

/** Counts plaintext. */
export interface LengthGuard {
  /** Bytes came; `LengthMismatch` or `StreamTooLong` where they are too many. */
  add(bytes: number): void
  /** The end came; `LengthMismatch` where bytes are missing. */
  end(): void
}

/** A guard for a declared length, or for the suite's longest. */
export const lengthGuard = (suite: Suite, declared: number | undefined): LengthGuard => {
  const longest = declared ?? maxPlaintext(suite)
  let count = 0
  return {
    add: bytes => {
      count += bytes
      if (count > longest) throw new SseError(declared === undefined ? 'StreamTooLong' : 'LengthMismatch')
    },
    end: () => {
      if (declared !== undefined && count !== declared) throw new SseError('LengthMismatch')
    },
  }
}
