/**
 * The embedded store: an LMDB index in `index/` and body files in `bodies/` of one directory, for as many processes of one machine as
 * like to use it. No key of an object is in a path.
 */
import { join } from 'node:path'
import type { SseError } from '../../errors.ts'
import { makeDirectory } from '../../files.ts'
import { BodyDraft } from '../body-draft.ts'
import type { BodyStore, BodyStoreMaker } from '../body-store.ts'
import type { ExpiredUpload, ObjectStore } from '../store.ts'
import { startUpkeep, warnOfSweep } from '../upkeep.ts'
import { createRegister } from './body-register.ts'
import { bucketActions, claimActions } from './buckets.ts'
import type { FileStore } from './context.ts'
import { Database, sizeOf } from './database.ts'
import { openBodyFiles } from './disk.ts'
import { asStoreFailed } from '../failure.ts'
import { collectGarbage } from './garbage.ts'
import { type Halves, identify, settledId } from './identity.ts'
import { nameProcess } from './liveness.ts'
import { inspection } from './inspect.ts'
import { objectActions } from './objects.ts'
import { sweep } from './sweep.ts'
import { uploadActions } from './uploads.ts'

/** Options of the embedded store. */
export interface FileStoreOptions {
  /**
   * Where bodies lie: a body store for this index alone, which the caller closes after `close`; or what makes one, by the id of this index. Default:
   * files in `bodies/` of the directory, which are held to be those of the index.
   */
  readonly bodies?: BodyStore | BodyStoreMaker | undefined
  /** Milliseconds between sweeps in the background, the first of which begins at once; 0 for none. Default an hour. */
  readonly sweepEvery?: number | undefined
  /**
   * Milliseconds for which a body of several files, or in a remote body store, can still be read after its object was deleted or replaced: as long
   * as its files are kept. Default an hour.
   */
  readonly grace?: number | undefined
  /** Milliseconds for which a completed upload is remembered. Default a day. */
  readonly remember?: number | undefined
  /**
   * Milliseconds for which an upload may be open; a sweep drops one that nobody completed by then, as an abort does. Default: any time, as in S3.
   */
  readonly uploadAge?: number | undefined
  /** Told of each upload that was open for longer, when this process drops it. Default: nobody. */
  readonly onUploadExpired?: ((upload: ExpiredUpload) => void) | undefined
  /**
   * Says that body files which the index does not know are to be deleted however many they are, and that index and bodies are those of one
   * store from now on. Default `false`: an index and bodies that do not belong together are not opened, and a sweep that would delete more
   * than 10 files and more than a tenth of all deletes none.
   */
  readonly sweepAll?: boolean | undefined
  /**
   * Milliseconds that a change may wait for another process that holds the index, such as one that was stopped: then it fails with `StoreBusy`,
   * and has not happened. Default 30 seconds. Opening a store waits for as long as it takes.
   */
  readonly deadline?: number | undefined
  /**
   * Told once when a commit failed so that this process can use the index no more, not even to read: everything fails with this error until
   * the process starts anew. Default: nobody.
   */
  readonly onBroken?: ((error: SseError) => void) | undefined
  /** The clock, in milliseconds since 1970. */
  readonly now?: (() => number) | undefined
  /** Told of a sweep in the background that failed. Default: a warning of the process. */
  readonly onSweepError?: ((error: unknown) => void) | undefined
}

/** The id of the index, and the bodies that belong to it. */
const openBodies = async (halves: Halves, given: FileStoreOptions['bodies']): Promise<readonly [string, BodyStore]> => {
  if (given === undefined) await identify(halves)
  const id = await settledId(halves.database)
  if (typeof given === 'object') return [id, given]
  return [id, await asStoreFailed(async () => (given ? given(id) : openBodyFiles(halves.bodies)))]
}

/**
 * Opens the store in this directory, or makes it. Errors: `StoreFailed` (the disk; a store of another version; an index and bodies that
 * do not belong together), `MissingPeer` (the package lmdb is not installed).
 *
 * {@includeCode ../../../test/examples/reference.test.ts#sse,store}
 */
export const openFileStore = async (directory: string, options: FileStoreOptions = {}): Promise<ObjectStore> => {
  const {
    sweepEvery = 3_600_000,
    grace = 3_600_000,
    remember = 86_400_000,
    uploadAge = Infinity,
    onUploadExpired = () => {},
    sweepAll = false,
    now = Date.now,
    onSweepError = warnOfSweep,
    deadline = 30_000,
    onBroken = () => {},
  } = options
  const index = join(directory, 'index')
  await asStoreFailed(async () => {
    await makeDirectory(directory)
    await makeDirectory(index)
  })
  const database = await Database.open(index, { deadline, onBroken })
  const halves: Halves = { database, bodies: join(directory, 'bodies'), beginAnew: sweepAll }
  const [id, bodies] = await openBodies(halves, options.bodies).catch(async (error: unknown) => {
    await database.close()
    throw error
  })
  const inner = { database, bodies, process: nameProcess(), now, grace }
  const upkeep = startUpkeep({
    sweep: (stop, collect) => sweep(context, { remember, uploadAge, onUploadExpired, sweepAll, stop, collect }),
    collect: () => collectGarbage(inner),
    sweepEvery,
    onSweepError,
  })
  const context: FileStore = { ...inner, register: createRegister(inner), collectSoon: () => upkeep.collectSoon() }
  let closed: Promise<void> | undefined
  const close = async (): Promise<void> => {
    await upkeep.close()
    await database.close()
    if (typeof options.bodies !== 'object') await bodies.close()
  }

  return {
    id,
    ...bucketActions(context),
    ...claimActions(context),
    ...objectActions(context),
    ...uploadActions(context),
    inspect: () => inspection(context),
    createBody: async bodyOptions => new BodyDraft(context.register, bodyOptions),
    counts: async () =>
      database.read(() => ({
        openUploads: sizeOf(database.tables.uploads),
        bodyFiles: sizeOf(database.tables.files),
      })),
    sweep: upkeep.sweepNow,
    close: () => (closed ??= close()),
    [Symbol.asyncDispose]: () => (closed ??= close()),
  }
}
