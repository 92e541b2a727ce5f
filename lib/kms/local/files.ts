/**
 * Files of the embedded key store: written whole, never half, seen by every process at once, mode 0600. There is no lock: whoever
 * creates a name first has won. What stands in the files is not this file's business.
 */
import { constants, lstatSync } from 'node:fs'
import { link, lstat, open, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hex } from '../../bytes.ts'
import { randomBytes } from '../../cipher/random.ts'
import { SseError } from '../../errors.ts'
import { hasCode, makeDirectory as makeFolder, openRegular, syncDirectory } from '../../files.ts'
import { corrupt } from './sealed-json.ts'

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

/** Throws `KeyringCorrupt` where a path, or a folder between it and `top`, is a symbolic link: what it leads to is not the key store's. */
const assertNoLink = (path: string, top: string): void => {
  for (let each = path; each.length > top.length; each = dirname(each)) {
    if (lstatSync(each, { throwIfNoEntry: false })?.isSymbolicLink() === true) refuseLink(each)
  }
}

const refuseLink = (path: string): never => corrupt(path, 'a symbolic link, or no regular file')

/** The bytes of a file of the key store in `top`; none where there is no such file. `KeyringCorrupt` unless it is a regular one. */
export const readIfThere = (path: string, top: string): Promise<Uint8Array | undefined> =>
  onDisk(async () => {
    assertNoLink(path, top)
    const opened = await unless('ENOENT', openRegular(path), undefined).catch((error: unknown) => {
      // Of these, only the first comes from the system.
      if (hasCode(error, 'ELOOP') || (error instanceof Error && !('code' in error))) return refuseLink(path)
      throw error
    })
    if (opened === undefined) return undefined
    try {
      return await opened.file.readFile()
    } finally {
      await opened.file.close()
    }
  })

/** The names in a directory of the key store in `top`, in no order; none where there is no such directory. */
export const namesIn = (directory: string, top: string): Promise<readonly string[]> =>
  // Most are asked for again and again and are not there (aliases): so much can be told without a trip to another thread.
  onDisk(async () => {
    assertNoLink(directory, top)
    return isThere(directory) ? unless('ENOENT', readdir(directory), []) : []
  })

/** Whether there is such a file or directory, told at once: for names whose lookup the system answers from memory. */
export const isThere = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined

/** Makes a directory and what is missing above it, mode 0700, durably. */
export const makeDirectory = (directory: string): Promise<void> => onDisk(() => makeFolder(directory))

/** Makes the entries of a directory durable, and those of the directories above it up to `top`. */
export const syncUp = (directory: string, top: string): Promise<void> =>
  onDisk(async () => {
    await syncDirectory(directory)
    if (directory !== top) await syncUp(dirname(directory), top)
  })

/** Where files are written before they get their names: `temps` is a directory of the same file system. */
export interface Place {
  readonly temps: string
  /** The key store's own directory. */
  readonly top: string
}

/**
 * Asked when the temporary file lies there, by its path, right before it gets its name. Whoever wants to be sure that nobody goes on by an older answer
 * calls {@link clearTemps}: a file that is not there any more gets no name.
 */
export type Guard = (temp: string) => Promise<boolean>

const always: Guard = async () => true

/** Writes a temporary file, whole and durable, and lends its path. `gone` where it was deleted meanwhile or the guard refuses. */
const throughTemp = <T>(
  content: Uint8Array,
  { temps, top }: Place,
  path: string,
  guard: Guard,
  name: (temp: string) => Promise<T>,
): Promise<T | 'refused'> =>
  onDisk(async () => {
    for (const folder of [dirname(path), temps]) assertNoLink(folder, top)
    const temp = join(temps, `.${hex(randomBytes(16))}.tmp`)
    const handle = await open(temp, 'wx', 0o600)
    try {
      try {
        await handle.writeFile(content)
        await handle.sync()
      } finally {
        await handle.close()
      }
      return (await guard(temp)) ? await unless<T | 'refused'>('ENOENT', name(temp), 'refused') : 'refused'
    } finally {
      await rm(temp, { force: true })
    }
  })

/**
 * Creates a file with this content, or leaves the one that is there: `false` then. Whole and durable in both cases, directories up to
 * `top` included, whoever created it. `refused` where the guard says no, or the temporary file was deleted before it got its name.
 */
export const createFile = async (
  path: string,
  content: Uint8Array,
  place: Place,
  guard: Guard = always,
): Promise<boolean | 'refused'> => {
  const created = await throughTemp(content, place, path, guard, temp =>
    unless(
      'EEXIST',
      link(temp, path).then(() => true),
      false,
    ),
  )
  if (created !== 'refused') await syncUp(dirname(path), place.top)
  return created
}

/** Puts a file with this content in the place of another one, durably. `refused` as {@link createFile} says it. */
export const replaceFile = async (
  path: string,
  content: Uint8Array,
  place: Place,
  guard: Guard = always,
): Promise<true | 'refused'> => {
  const replaced = await throughTemp(content, place, path, guard, temp => rename(temp, path).then(() => true as const))
  if (replaced !== 'refused') await syncUp(dirname(path), dirname(path))
  return replaced
}

/** What tells a file from each one that is put in its place: nothing where there is none. */
export const stampOf = (path: string): Promise<string> =>
  onDisk(async () => {
    const found = lstatSync(path, { bigint: true, throwIfNoEntry: false })
    return found === undefined ? '' : `${found.ino} ${found.ctimeNs} ${found.mtimeNs} ${found.size}`
  })

/** Deletes a file of the key store in `top`, durably; `false` where there is none. */
export const removeFile = (path: string, top: string): Promise<boolean> =>
  onDisk(async () => {
    assertNoLink(dirname(path), top)
    const removed = await unless(
      'ENOENT',
      rm(path).then(() => true),
      false,
    )
    if (removed) await syncUp(dirname(path), dirname(path))
    return removed
  })

/** Deletes a directory of the key store in `top`, with all that is in it. */
export const removeDirectory = (directory: string, top: string): Promise<void> =>
  onDisk(async () => {
    assertNoLink(directory, top)
    // Another process may write a file into it just now.
    await rm(directory, { recursive: true, maxRetries: 10 })
  })

/** Overwrites a file of the key store in `top` with zeros and empties it; the name stays taken. */
export const eraseFile = (path: string, top: string): Promise<void> =>
  onDisk(async () => {
    assertNoLink(path, top)
    const handle = await open(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const found = await handle.stat()
      if (!found.isFile()) return refuseLink(path)
      if (found.size === 0) return
      await handle.write(new Uint8Array(found.size), 0, found.size, 0)
      await handle.sync()
      await handle.truncate(0)
      await handle.sync()
    } finally {
      await handle.close()
    }
  })

/** Deletes all temporary files: whoever is about to give one a name has to begin again. */
export const clearTemps = ({ temps, top }: Place): Promise<void> => sweepTemps(temps, Number.POSITIVE_INFINITY, top)

/**
 * Deletes what {@link createFile} left in `temps` when its process was killed: temporary files older than an hour at `now` (ms). `temps` is
 * `top` or lies in it.
 */
export const sweepTemps = (temps: string, now: number, top: string = temps): Promise<void> =>
  onDisk(async () => {
    for (const name of await namesIn(temps, top)) {
      if (!/^\.[0-9a-f]{32}\.tmp$/.test(name)) continue
      const path = join(temps, name)
      const found = await unless('ENOENT', lstat(path), undefined)
      if (found !== undefined && now - found.mtimeMs > staleAfter) await rm(path, { force: true })
    }
  })
