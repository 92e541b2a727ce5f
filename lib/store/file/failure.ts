/** What goes wrong with the medium, as the errors of a store. */
import { SseError } from '../../errors.ts'

/** Runs work on bodies: what it rejects with becomes the cause of a `StoreFailed`, unless it is an `SseError`. */
export const asStoreFailed = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work()
  } catch (cause) {
    throw cause instanceof SseError ? cause : new SseError('StoreFailed', { cause })
  }
}

/** Something that the index refers to is not there. */
export const pieceMissing = (): SseError =>
  new SseError('StoreFailed', {
    message: 'The index or a body file is missing a piece. Restore the store from a backup.',
  })
