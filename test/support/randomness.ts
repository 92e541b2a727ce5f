/** Randomness that a test orders: the draws come out of a list. */
import { replaceRandomness } from '../../lib/testing.ts'

/** Runs with these draws in their order; every one must be of the size that is asked for, and all must be used. */
export const withDraws = async <T>(draws: readonly Uint8Array[], run: () => Promise<T>): Promise<T> => {
  const left = [...draws]
  const restore = replaceRandomness(bytes => {
    const next = left.shift()
    if (next?.length !== bytes.length) throw new RangeError(`a draw of ${bytes.length} bytes was not ordered`)
    bytes.set(next)
  })
  try {
    const result = await run()
    if (left.length > 0) throw new RangeError(`${left.length} draws were left`)
    return result
  } finally {
    restore()
  }
}
