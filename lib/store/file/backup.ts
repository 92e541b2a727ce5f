/**
 * Backups of the embedded store, of one that runs: a folder that holds one snapshot of the index, and the bodies that it refers to.
 *
 *     backup.json                    which snapshot counts: exchanged in one step
 *     snapshots/NAME/index/          the index, and beside it what the caller puts there
 *     bodies/ab/abcdef…              bodies, as in the store
 *     lock                           the process that is at it
 *
 * Bodies are immutable, so a hard link is as good as a copy where the disk is the same. Servers delete bodies meanwhile: the committed ones are linked
 * first, then a snapshot is taken, then what it refers to besides; where some of that is gone by now, another snapshot is taken. All of it is
 * flushed before `backup.json` is exchanged, and only after that goes what the snapshot does not refer to. So a backup that was cut off leaves the
 * one before whole, and the next goes on with what is there.
 */
import { copyFile, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { SseError } from '../../errors.ts'
import { hasCode, makeDirectory, syncDirectory } from '../../files.ts'
import type { BodyFile } from '../body-store.ts'
import { newId } from '../names.ts'
import { BodyCopies, syncFile, unless } from './body-copies.ts'
import { Database, entries } from './database.ts'
import { shelves } from './disk.ts'
import { settledId, writeStoreId } from './identity.ts'
import { decodeKey } from './keys.ts'
import { isAlive, nameProcess } from './liveness.ts'
import { filesOf } from './references.ts'

/** What a backup says of itself. */
export interface BackupFacts {
  /** Id of the store. */
  readonly storeId: string
  /** When its snapshot was taken, in ms since 1970. */
  readonly taken: number
  /** Name of the snapshot that counts. */
  readonly snapshot: string
  /** Body files, and bytes of them. */
  readonly files: number
  readonly bytes: number
}

/** How to make a backup. */
export interface BackupOptions {
  /** Whether to copy bodies where a hard link would do. Default `false`. */
  readonly copy?: boolean | undefined
  /** Puts more into the folder of the new snapshot, durably: what is to be of the time of the snapshot or later. */
  readonly beside?: ((folder: string) => Promise<void>) | undefined
  /** Told of how many files were looked at. */
  readonly onProgress?: ((files: number, of: number) => void) | undefined
  /** Aborted to stop: it rejects with an `AbortError`, and the backup before counts. */
  readonly signal?: AbortSignal | undefined
}

/** What became of a backup. */
export interface BackupReport extends BackupFacts {
  /** Files that were linked or copied; the others were there. */
  readonly added: number
  /** Files that the newest snapshot does not refer to, and that were deleted. */
  readonly dropped: number
  /** Files that the store itself has lost. */
  readonly missing: readonly string[]
}

const format = 'sse-kms-backup/1'
const factsFile = 'backup.json'

// Snapshots that are taken until one is whole.
const attempts = 10

const refuse = (message: string, cause?: unknown): SseError => new SseError('FileFailed', { message, cause })

const everything = [Uint8Array.of(0), Uint8Array.of(255)] as const

/** The files that an index refers to. */
const neededFiles = (database: Database): ReadonlyMap<string, BodyFile> =>
  database.read(() => {
    const { contents, uploads, parts } = database.tables
    const needed = new Map<string, BodyFile>()
    const serials = new Set<string>()
    for (const { value } of entries(contents, ...everything)) {
      for (const file of filesOf(database, value.body)) needed.set(file.id, file)
    }
    for (const { value } of entries(uploads, ...everything)) serials.add(value.serial)
    for (const { key, value } of entries(parts, ...everything)) {
      const [serial = ''] = decodeKey(key.subarray(0, key.indexOf(0) + 1))
      if (serials.has(serial)) needed.set(value.file, { id: value.file, size: value.part.storedSize })
    }
    return needed
  })

/** Writes a small file, whole or not at all, durably. */
const replaceFile = async (path: string, content: string): Promise<void> => {
  await writeFile(`${path}.new`, content, { mode: 0o600, flush: true })
  await rename(`${path}.new`, path)
  await syncDirectory(dirname(path))
}

/** Runs work while this process alone is at a backup; `FileFailed` where another one is. */
const whileAlone = async <T>(folder: string, work: () => Promise<T>): Promise<T> => {
  const path = join(folder, 'lock')
  const self = nameProcess()
  for (let attempt = 1; ; attempt++) {
    try {
      await writeFile(path, JSON.stringify(self), { flag: 'wx', mode: 0o600 })
      break
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
      const holder: unknown = JSON.parse((await readFile(path, 'utf8')) || 'null')
      const isGone = isProcessName(holder) && isAlive(holder, self) === false
      if (!isGone || attempt > 3) {
        throw refuse(
          `Another process makes or restores the backup in ${folder}. Wait for it, or delete ${path} where there is none.`,
        )
      }
      await rm(path, { force: true })
    }
  }
  try {
    return await work()
  } finally {
    await rm(path, { force: true })
  }
}

const isProcessName = (value: unknown): value is Parameters<typeof isAlive>[0] =>
  typeof value === 'object' &&
  value !== null &&
  'pid' in value &&
  'boot' in value &&
  'space' in value &&
  'start' in value

const isFacts = (value: unknown): value is BackupFacts & { readonly format: string } =>
  typeof value === 'object' &&
  value !== null &&
  'format' in value &&
  'snapshot' in value &&
  typeof value.snapshot === 'string' &&
  /^[0-9a-f]{32}$/.test(value.snapshot)

/** What a backup says of itself; nothing where there is none. `FileFailed` where it cannot be read. */
export const readBackup = async (folder: string): Promise<BackupFacts | undefined> => {
  const text = await unless('ENOENT', readFile(join(folder, factsFile), 'utf8'))
  if (text === undefined) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    value = undefined
  }
  if (isFacts(value) && value.format === format) return value
  throw refuse(`${join(folder, factsFile)} is not one of a backup that this program can read.`)
}

/** The folder of the snapshot that counts. */
export const snapshotFolder = (folder: string, { snapshot }: BackupFacts): string => join(folder, 'snapshots', snapshot)

const openCopy = async <T>(index: string, use: (database: Database) => T | Promise<T>): Promise<T> => {
  const database = await Database.open(index)
  try {
    return await use(database)
  } finally {
    await database.close()
    await rm(join(index, 'lock.mdb'), { force: true })
  }
}

/**
 * Makes a backup of the store in `directory`, or brings the one in `folder` up to date. `FileFailed` where the folder holds one of another store, or
 * another process is at it; the system's error where a file cannot be read or written.
 */
export const backupStore = async (
  directory: string,
  folder: string,
  options: BackupOptions = {},
): Promise<BackupReport> => {
  await makeDirectory(folder)
  return whileAlone(folder, async () => {
    const database = await Database.open(join(directory, 'index'))
    try {
      return await makeBackup(database, directory, folder, options)
    } finally {
      await database.close()
    }
  })
}

const makeBackup = async (
  database: Database,
  directory: string,
  folder: string,
  { copy = false, beside = async () => {}, onProgress = () => {}, signal }: BackupOptions,
): Promise<BackupReport> => {
  const storeId = await settledId(database)
  const before = await readBackup(folder)
  if (before !== undefined && before.storeId !== storeId) {
    throw refuse(
      `The backup in ${folder} is one of the store ${before.storeId}, not of ${storeId}. Name another folder.`,
    )
  }
  const bodies = new BodyCopies(join(directory, 'bodies'), join(folder, 'bodies'), copy)
  await bodies.prepare()
  const snapshots = join(folder, 'snapshots')
  await makeDirectory(snapshots)
  await dropAllBut(snapshots, before?.snapshot)

  const bring = async (files: Iterable<BodyFile>, count: number): Promise<readonly string[]> => {
    const missing: string[] = []
    let looked = 0
    for (const file of files) {
      signal?.throwIfAborted()
      if (!(await bodies.bring(file))) missing.push(file.id)
      onProgress(++looked, count)
    }
    return missing
  }
  let lost: ReadonlySet<string> = new Set()
  const now = neededFiles(database)
  await bring(now.values(), now.size)
  for (let attempt = 1; ; attempt++) {
    const taken = Date.now()
    const snapshot = newId()
    const place = join(snapshots, snapshot)
    const index = join(place, 'index')
    await makeDirectory(index)
    await database.copyTo(index)
    const needed = await openCopy(index, neededFiles)
    const missing = await bring(needed.values(), needed.size)
    // What was not there a snapshot before either was not deleted meanwhile: the store has lost it.
    if (missing.some(id => !lost.has(id)) && attempt < attempts) {
      lost = new Set(missing)
      await rm(place, { recursive: true })
      continue
    }
    if (missing.some(id => !lost.has(id))) {
      throw refuse(
        `Bodies were deleted faster than the index was copied, ${attempts} times. Try again when there is less load.`,
      )
    }
    await beside(place)
    await syncFile(join(index, 'data.mdb'))
    for (const path of [index, place, snapshots]) await syncDirectory(path)
    await bodies.settle()
    const bytes = [...needed.values()].reduce((sum, { size }) => sum + size, 0)
    const facts: BackupFacts = { storeId, taken, snapshot, files: needed.size - missing.length, bytes }
    signal?.throwIfAborted()
    await replaceFile(join(folder, factsFile), `${JSON.stringify({ format, ...facts })}\n`)
    await dropAllBut(snapshots, snapshot)
    return { ...facts, added: bodies.added, dropped: await dropBodies(join(folder, 'bodies'), needed), missing }
  }
}

const dropAllBut = async (snapshots: string, kept: string | undefined): Promise<void> => {
  for (const name of await readdir(snapshots)) {
    if (name !== kept) await rm(join(snapshots, name), { recursive: true, force: true })
  }
}

const dropBodies = async (bodies: string, needed: ReadonlyMap<string, BodyFile>): Promise<number> => {
  let dropped = 0
  for (const shelf of shelves) {
    for (const name of await readdir(join(bodies, shelf))) {
      if (needed.has(name)) continue
      await rm(join(bodies, shelf, name), { force: true })
      if (/^[0-9a-f]{32}$/.test(name)) dropped++
    }
  }
  return dropped
}

/** What became of a restore. */
export interface RestoreReport extends BackupFacts {
  /** Files that the backup has not, or not with their size: their objects cannot be read. */
  readonly missing: readonly string[]
}

/**
 * Puts the objects of a backup into a folder, which must not be there: whole and durable when it resolves. Bodies are copied, so that neither of the
 * two depends on the other. Errors as of {@link backupStore}.
 */
export const restoreStore = async (
  folder: string,
  directory: string,
  { onProgress = () => {}, signal }: Pick<BackupOptions, 'onProgress' | 'signal'> = {},
): Promise<RestoreReport> => {
  const facts = await readBackup(folder)
  if (facts === undefined)
    throw refuse(`There is no backup in ${folder}. Name the folder that sse-kms backup was given.`)
  return whileAlone(folder, async () => {
    const index = join(directory, 'index')
    await makeDirectory(index)
    await copyFile(join(snapshotFolder(folder, facts), 'index', 'data.mdb'), join(index, 'data.mdb'))
    const needed = await openCopy(index, neededFiles)
    const bodies = new BodyCopies(join(folder, 'bodies'), join(directory, 'bodies'), true)
    await bodies.prepare()
    const missing: string[] = []
    let looked = 0
    for (const file of needed.values()) {
      signal?.throwIfAborted()
      if (!(await bodies.bring(file))) missing.push(file.id)
      onProgress(++looked, needed.size)
    }
    await bodies.settle()
    await syncFile(join(index, 'data.mdb'))
    await syncDirectory(index)
    writeStoreId(join(directory, 'bodies'), facts.storeId)
    await syncDirectory(directory)
    return { ...facts, missing }
  })
}
