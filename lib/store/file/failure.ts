/** A commit of the index that failed, as an error of the store. */
import { statfsSync } from 'node:fs'
import { SseError } from '../../errors.ts'
import { storeFailure } from '../failure.ts'

/** A commit into this folder failed: of a write that the disk took in part only, LMDB says that it failed (EIO) and no more. */
export const commitFailure = (cause: unknown, folder: string): SseError => {
  if (!(cause instanceof Error && 'code' in cause && cause.code === 5)) return storeFailure(cause)
  const { bavail, bsize } = statfsSync(folder)
  return new SseError(bavail * bsize < 1_048_576 ? 'StoreFull' : 'StoreFailed', { cause })
}
