/** What goes wrong with the medium, as the errors of a store. */
import { SseError } from '../errors.ts'

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined)

// ENOSPC and EDQUOT, as Node and as LMDB name them.
const full: readonly unknown[] = ['ENOSPC', 'EDQUOT', 28, 122]

/** What the medium says as an error of the store: `StoreFull` where there is no space left, else `StoreFailed`. */
export const storeFailure = (cause: unknown): SseError =>
  new SseError(full.includes(codeOf(cause)) ? 'StoreFull' : 'StoreFailed', { cause })

/** Runs work on bodies: what it rejects with becomes the cause of an error of the store, unless it is an `SseError`. */
export const asStoreFailed = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work()
  } catch (cause) {
    throw cause instanceof SseError ? cause : storeFailure(cause)
  }
}

/** Something that the index refers to is not there. */
export const pieceMissing = (): SseError =>
  new SseError('StoreFailed', {
    message: 'The index or a body file is missing a piece. Restore the store from a backup.',
  })
