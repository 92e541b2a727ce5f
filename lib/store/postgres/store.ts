/**
 * A store whose index is in PostgreSQL and whose bodies are wherever a body store keeps them: for any number of gateways on any number of
 * machines. Small bodies lie in the database. Needs the optional package `pg`.
 *
 * @module sse-kms-streams/store/postgres
 */
import { BodyDraft } from '../body-draft.ts'
import type { BodyStoreMaker } from '../body-store.ts'
import { asStoreFailed } from '../failure.ts'
import type { ExpiredUpload, ObjectStore } from '../store.ts'
import { startUpkeep, warnOfSweep } from '../upkeep.ts'
import { collectGarbage, createRegister } from './bodies.ts'
import { bucketActions, claimActions } from './buckets.ts'
import { Postgres, type PostgresConnection } from './connection.ts'
import type { PostgresStore } from './context.ts'
import { countAll } from './counts.ts'
import { nameProcess, openLiveness } from './liveness.ts'
import { inspection } from './inspect.ts'
import { objectActions } from './objects.ts'
import { openSchema } from './schema.ts'
import { sweep } from './sweep.ts'
import { uploadActions } from './uploads.ts'

export type { PostgresConnection } from './connection.ts'

/** Options of a store in PostgreSQL. */
export interface PostgresStoreOptions {
  /** Where the database is: one of its own, or a schema of its own, with the encoding UTF8; PostgreSQL 13 or later. */
  readonly connection: PostgresConnection
  /** Makes the body store, for this index alone, by its id. The store closes it. */
  readonly bodies: BodyStoreMaker
  /** Connections for requests, at most; four more are for the work behind them. Default 10. */
  readonly connections?: number | undefined
  /**
   * Milliseconds that a request may wait for a connection, and for each statement, such as one that waits for another change of the same key: then
   * it fails with `StoreBusy`, and has not happened. Default 30 seconds.
   */
  readonly deadline?: number | undefined
  /** Milliseconds between sweeps in the background, the first of which begins at once; 0 for none. Default an hour. */
  readonly sweepEvery?: number | undefined
  /**
   * Milliseconds for which a body is kept after its object was deleted or replaced: for as long it can still be read. At least the age of the oldest
   * backup of the database that is to be restorable. Default an hour.
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
   * Milliseconds for which another process must say nothing before it counts as gone, and the bodies that it was writing as abandoned; each says
   * something twenty times as often. Default 10 minutes.
   */
  readonly patience?: number | undefined
  /**
   * Says that bodies which the index does not know are to be deleted however many they are. Default `false`: a sweep that would delete more than 10
   * and more than a tenth of all deletes none.
   */
  readonly sweepAll?: boolean | undefined
  /** Told of a sweep in the background that failed. Default: a warning of the process. */
  readonly onSweepError?: ((error: unknown) => void) | undefined
}

/**
 * Opens the store in this database, and makes or updates its tables first, while other processes wait. Errors: `StoreUnavailable` (the database
 * cannot be reached), `StoreFailed` (it refuses the role, does not fit, or was written by a later version).
 *
 * {@includeCode ../../../test/examples/postgres.test.ts#store}
 */
export const openPostgresStore = async (options: PostgresStoreOptions): Promise<ObjectStore> => {
  const {
    connection,
    connections = 10,
    deadline = 30_000,
    sweepEvery = 3_600_000,
    grace = 3_600_000,
    remember = 86_400_000,
    uploadAge = Infinity,
    onUploadExpired = () => {},
    patience = 600_000,
    sweepAll = false,
    onSweepError = warnOfSweep,
  } = options
  const database = new Postgres(connection, { connections, deadline })
  const open = async () => {
    const id = await openSchema(database)
    const bodies = await asStoreFailed(async () => options.bodies(id))
    const self = nameProcess()
    const register = createRegister(database, bodies, self)
    const liveness = await openLiveness(database, self, patience, () => register.settle())
    return { id, bodies, liveness, register }
  }
  const { id, bodies, liveness, register } = await open().catch(async (error: unknown) => {
    await database.close()
    throw error
  })
  const upkeep = startUpkeep({
    sweep: (stop, collect) =>
      sweep(context, {
        storeId: id,
        liveness,
        register,
        remember,
        uploadAge,
        onUploadExpired,
        sweepAll,
        stop,
        collect,
      }),
    collect: () => collectGarbage(context),
    sweepEvery,
    onSweepError,
  })
  const context: PostgresStore = { database, bodies, register, grace, collectSoon: () => upkeep.collectSoon() }
  let closed: Promise<void> | undefined
  const close = async (): Promise<void> => {
    await upkeep.close()
    await liveness.close()
    await database.close()
    await bodies.close()
  }

  return {
    id,
    ...bucketActions(context),
    ...claimActions(context),
    ...objectActions(context),
    ...uploadActions(context),
    inspect: () => inspection(context),
    createBody: async bodyOptions => new BodyDraft(register, bodyOptions),
    counts: () => countAll(database),
    sweep: upkeep.sweepNow,
    close: () => (closed ??= close()),
    [Symbol.asyncDispose]: () => (closed ??= close()),
  }
}
