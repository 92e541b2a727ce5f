/** What every part that keeps files needs: the system's error codes, and folders flushed to disk. */
import { open } from 'node:fs/promises'

/** Whether an error of the system has this code, such as `ENOENT`. */
export const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code

/** Flushes a folder, so that the names in it outlive a power cut. Rejects with the system's error. */
export const syncDirectory = async (path: string): Promise<void> => {
  const handle = await open(path)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
