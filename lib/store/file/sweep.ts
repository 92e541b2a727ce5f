/**
 * The sweep: takes away what processes that are gone left behind, what is garbage, and what was remembered long enough. Any process may run it at any
 * time, beside others: a file may go when the index knows it neither as one that belongs to something nor as one that is being written,
 * for an entry is always there before its file is.
 */
import { SseError } from '../../errors.ts'
import type { ExpiredUpload, SweepReport } from '../store.ts'
import type { FileStore } from './context.ts'
import { entriesWhere, type Holder } from './database.ts'
import { asStoreFailed } from '../failure.ts'
import type { KnownBodies } from '../inspection.ts'
import { removeOrphans } from '../orphans.ts'
import { type Collected, discardBody } from './garbage.ts'
import { decodeKey, encodeKey } from './keys.ts'
import { isAlive } from './liveness.ts'
import { dropExpiredUploads, dropLostUploads, dropOldAttempts, forgetCompletion } from './parts.ts'

/** Milliseconds for which a process of another PID namespace, whose state cannot be seen, counts as alive. */
const patience = 86_400_000

/** How to sweep. */
export interface SweepOptions {
  /** Milliseconds for which a completed upload is remembered. */
  readonly remember: number
  /** Milliseconds for which an upload may be open. */
  readonly uploadAge: number
  /** Told of each upload that was open for longer, when it is dropped. */
  readonly onUploadExpired: (upload: ExpiredUpload) => void
  /** Whether to delete what the index does not know however much it is. */
  readonly sweepAll: boolean
  /** Asked between the steps: whether to stop here. */
  readonly stop: () => boolean
  /** Deletes what is garbage. */
  readonly collect: () => Promise<Collected>
}

/** One sweep; see {@link SweepReport}. */
export const sweep = async (context: FileStore, options: SweepOptions): Promise<SweepReport> => {
  const { remember, uploadAge, onUploadExpired, sweepAll, stop, collect } = options
  const { database, process, now } = context
  const { pending, completions, files } = database.tables
  const isGone = (held: Holder): boolean => !(isAlive(held.process, process) ?? now() - held.since < patience)

  // As a change, not a read: a process that was killed may have written a commit without announcing it, and LMDB finds that when the next
  // writer begins. And of several that sweep only one takes an entry away.
  const abandon = (): number => {
    const gone = entriesWhere(pending, isGone)
    for (const { key } of gone) {
      discardBody(context, { form: 'file', id: decodeKey(key)[0] ?? '', size: 0 })
      files.putSync(key, true)
      pending.removeSync(key)
    }
    return gone.length
  }
  const abandoned = await database.write(abandon, 'reserve')
  await dropLostUploads(context)
  if (uploadAge !== Infinity) for (const upload of await dropExpiredUploads(context, uploadAge)) onUploadExpired(upload)
  await dropOldAttempts(context)
  const expired = database.read(() => entriesWhere(completions, ({ at }) => now() - at >= remember))
  for (const { key, value } of expired) {
    await database.write(() => forgetCompletion(context, key, value), 'reserve')
  }

  const collected = await asStoreFailed(collect)
  if (collected.failure instanceof SseError && collected.failure.code === 'StoreUnavailable') throw collected.failure
  const found = await removeOrphans({ ...knownBodies(context), examined: collected.removed, sweepAll, stop })
  if (collected.failure !== undefined) await asStoreFailed(() => Promise.reject(collected.failure))
  return { examined: found.examined, removed: collected.removed + found.removed, abandoned, forgotten: expired.length }
}

/** What the index knows of bodies. */
export const knownBodies = ({ database, bodies }: Pick<FileStore, 'database' | 'bodies'>): KnownBodies => {
  const { files, pending } = database.tables
  const isPending = (id: string): boolean => pending.doesExist(encodeKey(id))
  const isKnown = (id: string): boolean => files.doesExist(encodeKey(id)) || isPending(id)
  return {
    bodies,
    unknown: async ids => database.read(() => ids.filter(id => !isKnown(id))),
    unfinished: async ids => database.read(() => ids.filter(id => !isPending(id))),
  }
}
