/**
 * The sweep: takes away what processes that are gone left behind, what is garbage, and what was remembered long enough. One process at a time
 * does it; where another one is at it, a sweep does nothing. A file may go when the database knows it neither as one of a body or an upload, nor
 * as one that is being written, nor as garbage: for a row is always there before its file is.
 */
import { SseError } from '../../errors.ts'
import { asStoreFailed } from '../failure.ts'
import type { KnownBodies } from '../inspection.ts'
import { removeOrphans } from '../orphans.ts'
import type { ExpiredUpload, SweepReport } from '../store.ts'
import type { Collected, Register } from './bodies.ts'
import { type Statement, statement } from './connection.ts'
import { lockOf, type PostgresStore } from './context.ts'
import type { Liveness } from './liveness.ts'
import { dropExpiredUploads, dropLostUploads, dropOldAttempts, forgetCompletions } from './parts.ts'

/** How to sweep. */
export interface SweepOptions {
  readonly storeId: string
  readonly liveness: Liveness
  readonly register: Register
  /** Milliseconds for which a completed upload is remembered. */
  readonly remember: number
  /** Milliseconds for which an upload may be open. */
  readonly uploadAge: number
  /** Told of each upload that was open for longer, when it is dropped. */
  readonly onUploadExpired: (upload: ExpiredUpload) => void
  /** Whether to delete what the database does not know however much it is. */
  readonly sweepAll: boolean
  /** Asked between the steps: whether to stop here. */
  readonly stop: () => boolean
  /** Deletes what is garbage. */
  readonly collect: () => Promise<Collected>
}

const abandon = statement(`
  WITH gone AS (
    DELETE FROM pending p WHERE NOT EXISTS (SELECT FROM process WHERE process.id = p.process) RETURNING id
  ), kept AS (
    INSERT INTO garbage (id, due) SELECT id, clock_timestamp() FROM gone
  )
  SELECT id FROM gone`)
const unknownOnes = statement(`
  SELECT given.id FROM unnest($1::text[]) AS given (id)
  WHERE NOT EXISTS (SELECT FROM body_file WHERE body_file.id = given.id)
    AND NOT EXISTS (SELECT FROM pending WHERE pending.id = given.id)
    AND NOT EXISTS (SELECT FROM garbage WHERE garbage.id = given.id)`)

const unpending = statement(`
  SELECT given.id FROM unnest($1::text[]) AS given (id) WHERE NOT EXISTS (SELECT FROM pending WHERE pending.id = given.id)`)

/** One sweep; see {@link SweepReport}. */
export const sweep = async (context: PostgresStore, options: SweepOptions): Promise<SweepReport> => {
  const nothing: SweepReport = { examined: 0, removed: 0, abandoned: 0, forgotten: 0 }
  const done = context.database.whileAlone(lockOf('sweep', options.storeId), () => sweepAlone(context, options))
  return (await done) ?? nothing
}

const sweepAlone = async (context: PostgresStore, options: SweepOptions): Promise<SweepReport> => {
  const { liveness, register, remember, uploadAge, onUploadExpired, sweepAll, stop, collect } = options
  const { database } = context
  await register.settle()
  await liveness.forgetGone()
  const abandoned = await database.aside<{ id: string }>(abandon)
  await dropLostUploads(context)
  if (uploadAge !== Infinity) for (const upload of await dropExpiredUploads(context, uploadAge)) onUploadExpired(upload)
  await dropOldAttempts(context)
  const forgotten = await forgetCompletions(context, remember)

  const collected = await asStoreFailed(collect)
  if (collected.failure instanceof SseError && collected.failure.code === 'StoreUnavailable') throw collected.failure
  const found = await removeOrphans({ ...knownBodies(context), examined: collected.removed, sweepAll, stop })
  if (collected.failure !== undefined) await asStoreFailed(() => Promise.reject(collected.failure))
  const removed = collected.removed + found.removed
  return { examined: found.examined, removed, abandoned: abandoned.length, forgotten }
}

/** What the database knows of bodies. */
export const knownBodies = ({ database, bodies }: Pick<PostgresStore, 'database' | 'bodies'>): KnownBodies => {
  const pick =
    (from: Statement): KnownBodies['unknown'] =>
    async ids =>
      (await database.aside<{ id: string }>(from, ids)).map(({ id }) => id)
  return { bodies, unknown: pick(unknownOnes), unfinished: pick(unpending) }
}
