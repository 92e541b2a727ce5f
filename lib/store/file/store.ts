/**
 * The embedded store: an LMDB index in `index/` and body files in `bodies/` of one directory, for as many processes of one machine as
 * like to use it. No key of an object is in a path. What it consists of is in the folder `file/`.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { BodyDraft } from './body-writer.ts'
import { bucketActions } from './buckets.ts'
import type { FileStore } from './context.ts'
import { Database } from './database.ts'
import { Disk, onDisk } from './disk.ts'
import { nameProcess } from './liveness.ts'
import { objectActions } from './objects.ts'
import { sweep } from './sweep.ts'
import { uploadActions } from './uploads.ts'
import type { ObjectStore, SweepReport } from '../store.ts'

/** Options of the embedded store. */
export interface FileStoreOptions {
  /** Milliseconds between sweeps in the background, the first of which begins at once; 0 for none. Default an hour. */
  readonly sweepEvery?: number | undefined
  /** Milliseconds for which a completed upload is remembered. Default a day. */
  readonly remember?: number | undefined
  /** The clock, in milliseconds since 1970. */
  readonly now?: (() => number) | undefined
  /** Told of a sweep in the background that failed. Default: a warning of the process. */
  readonly onSweepError?: ((error: unknown) => void) | undefined
}

const warn = (error: unknown): void => {
  process.emitWarning(`A sweep of the object store failed: ${String(error)}`)
}

/**
 * Opens the store in this directory, or makes it. Errors: `StoreFailed` (the disk; a store of another version), `MissingPeer` (the package
 * lmdb is not installed).
 *
 * {@includeCode ../../../test/examples/reference.test.ts#store}
 */
export const openFileStore = async (directory: string, options: FileStoreOptions = {}): Promise<ObjectStore> => {
  const { sweepEvery = 3_600_000, remember = 86_400_000, now = Date.now, onSweepError = warn } = options
  const index = join(directory, 'index')
  await onDisk(() => mkdir(index, { recursive: true, mode: 0o700 }))
  const disk = await Disk.open(join(directory, 'bodies'))
  const database = await Database.open(index)
  const context: FileStore = { database, disk, process: nameProcess(), now }

  let closed: Promise<void> | undefined
  let sweeps: Promise<unknown> = Promise.resolve()
  const sweepNow = (): Promise<SweepReport> => {
    const next = sweeps.then(() => sweep(context, { remember, stop: () => closed !== undefined }))
    sweeps = next.catch(() => {})
    return next
  }
  const sweepBehind = (): void => {
    sweepNow().catch(onSweepError)
  }
  const timer = sweepEvery > 0 ? setInterval(sweepBehind, sweepEvery).unref() : undefined
  if (timer !== undefined) sweepBehind()

  const close = async (): Promise<void> => {
    clearInterval(timer)
    await sweeps
    await disk.settled()
    await database.close()
  }

  return {
    ...bucketActions(context),
    ...objectActions(context),
    ...uploadActions(context),
    createBody: async bodyOptions => new BodyDraft(context, bodyOptions),
    sweep: sweepNow,
    close: () => (closed ??= close()),
  }
}
