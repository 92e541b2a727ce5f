/**
 * Files of the embedded key store: written once and never half, seen by every process at once, mode 0600. There is no lock: whoever
 * creates a name first has won. What stands in the files is not this file's business.
 */
import { statSync } from 'node:fs'
import { link, mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hex } from '../../bytes.ts'
import { randomBytes } from '../../cipher/random.ts'
import { SseError } from '../../errors.ts'
import { hasCode, syncDirectory } from '../../files.ts'

const staleAfter = 3_600_000

/** Runs work on files: what the system refuses becomes `KmsUnavailable`, with the system's error as its cause. */
export const onDisk = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work()
  } catch (cause) {
    const message =
      'The key store cannot be read or written. Look at the cause on the server: the disk may be full or not permitted.'
    throw cause instanceof SseError ? cause : new SseError('KmsUnavailable', { message, cause })
  }
}

const unless = async <T>(code: string, work: Promise<T>, otherwise: T): Promise<T> => {
  try {
    return await work
  } catch (error) {
    if (hasCode(error, code)) return otherwise
    throw error
  }
}

/** The bytes of a file that must be there. */
export const readExisting = (path: string): Promise<Uint8Array> => onDisk(() => readFile(path))

/** The bytes of a file; none where there is no such file. */
export const readIfThere = (path: string): Promise<Uint8Array | undefined> =>
  onDisk(() => unless<Uint8Array | undefined>('ENOENT', readFile(path), undefined))

/** The names in a directory, in no order; none where there is no such directory. */
export const namesIn = (directory: string): Promise<readonly string[]> =>
  // Most are asked for again and again and are not there (aliases): so much can be told without a trip to another thread.
  onDisk(async () => (isThere(directory) ? unless('ENOENT', readdir(directory), []) : []))

/** Whether there is such a file or directory, told at once: for names whose lookup the system answers from memory. */
export const isThere = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined

/** Makes a directory and what is missing above it, mode 0700, durably. */
export const makeDirectory = (directory: string): Promise<void> =>
  onDisk(async () => {
    const first = await mkdir(directory, { recursive: true, mode: 0o700 })
    if (first !== undefined) await syncUp(directory, dirname(first))
  })

/** Makes the entries of a directory durable, and those of the directories above it up to `top`. */
export const syncUp = (directory: string, top: string): Promise<void> =>
  onDisk(async () => {
    await syncDirectory(directory)
    if (directory !== top) await syncUp(dirname(directory), top)
  })

/**
 * Creates a file with this content, or leaves the one that is there: `false` then. Whole and durable in both cases, directories up to
 * `top` included, whoever created it. `temps` is a directory of the same file system.
 */
export const createFile = (path: string, content: Uint8Array, temps: string, top: string): Promise<boolean> =>
  onDisk(async () => {
    const temp = join(temps, `.${hex(randomBytes(16))}.tmp`)
    const handle = await open(temp, 'wx', 0o600)
    try {
      try {
        await handle.writeFile(content)
        await handle.sync()
      } finally {
        await handle.close()
      }
      const created = await unless(
        'EEXIST',
        link(temp, path).then(() => true),
        false,
      )
      await syncUp(dirname(path), top)
      return created
    } finally {
      await rm(temp, { force: true })
    }
  })

/** Deletes a file, durably; `false` where there is none. */
export const removeFile = (path: string): Promise<boolean> =>
  onDisk(async () => {
    const removed = await unless(
      'ENOENT',
      rm(path).then(() => true),
      false,
    )
    if (removed) await syncUp(dirname(path), dirname(path))
    return removed
  })

/** Overwrites a file with zeros and empties it; the name stays taken. */
export const eraseFile = (path: string): Promise<void> =>
  onDisk(async () => {
    const handle = await open(path, 'r+')
    try {
      const { size } = await handle.stat()
      if (size === 0) return
      await handle.write(new Uint8Array(size), 0, size, 0)
      await handle.sync()
      await handle.truncate(0)
      await handle.sync()
    } finally {
      await handle.close()
    }
  })

/** Deletes what {@link createFile} left in `temps` when its process was killed: temporary files older than an hour at `now` (ms). */
export const sweepTemps = (temps: string, now: number): Promise<void> =>
  onDisk(async () => {
    for (const name of await namesIn(temps)) {
      if (!/^\.[0-9a-f]{32}\.tmp$/.test(name)) continue
      const path = join(temps, name)
      const found = await unless('ENOENT', stat(path), undefined)
      if (found !== undefined && now - found.mtimeMs > staleAfter) await rm(path, { force: true })
    }
  })
