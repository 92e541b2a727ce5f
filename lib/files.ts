/** What every part that keeps files needs: the system's error codes, and folders made and flushed to disk. */
import { constants, fstatSync } from 'node:fs'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Whether an error of the system has this code, such as `ENOENT`. */
export const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code

/** Flags to open what is there for reading: no symbolic link is followed, and nothing is waited for, as a pipe would be. */
export const readOnly = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** The error of a name that should be a file's, and is another thing's. */
export const notRegular = (path: string): Error => new Error(`${path} is not a regular file`)

/** Opens a file for reading, with its size: a regular one, never through a symbolic link. Rejects with the system's error. */
export const openRegular = async (path: string): Promise<{ readonly file: FileHandle; readonly size: number }> => {
  const file = await open(path, readOnly)
  try {
    const stat = fstatSync(file.fd) // the system has it in memory once the file is open: no trip to another thread
    if (!stat.isFile()) throw notRegular(path)
    return { file, size: stat.size }
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Flushes a folder, so that the names in it outlive a power cut. Rejects with the system's error. */
export const syncDirectory = async (path: string): Promise<void> => {
  const handle = await open(path)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * Makes a folder of mode 0700, with those above it, so that all of them outlive a power cut: each name is flushed before anything is made
 * below it, so only the last folder that is there already may be unflushed, and is flushed again. Rejects with the system's error.
 */
export const makeDirectory = async (path: string): Promise<void> => {
  const above = dirname(path)
  const make = async (): Promise<boolean> => {
    try {
      await mkdir(path, { mode: 0o700 })
      return true
    } catch (error) {
      if (hasCode(error, 'EEXIST')) return false
      throw error
    }
  }
  const isNew = await make().catch(async (error: unknown) => {
    if (!hasCode(error, 'ENOENT')) throw error
    await makeDirectory(above)
    return make()
  })
  try {
    await syncDirectory(above)
  } catch (error) {
    // One that somebody else made, in a folder that may be entered but not read.
    if (isNew || !hasCode(error, 'EACCES')) throw error
  }
}
