/**
 * The sweep: takes away what processes that are gone left behind, what is garbage, and what was remembered long enough. Any process may run it at any
 * time, beside others: a file may go when the index knows it neither as one that belongs to something nor as one that is being written,
 * for an entry is always there before its file is. Where that would be many files, the index is taken for the wrong one and none goes.
 */
import { SseError } from '../../errors.ts'
import type { SweepReport } from '../store.ts'
import type { FileStore } from './context.ts'
import { entriesWhere, type Holder } from './database.ts'
import { asStoreFailed } from './failure.ts'
import { collectGarbage, discardBody } from './garbage.ts'
import { decodeKey, encodeKey } from './keys.ts'
import { isAlive } from './liveness.ts'
import { dropLostUploads, dropOldAttempts, forgetCompletion } from './parts.ts'

/** Milliseconds for which a process of another PID namespace, whose state cannot be seen, counts as alive. */
const patience = 86_400_000

/** Files that the index does not know which are deleted in any case; of more, a tenth of all at most. */
const few = 10

/** How to sweep. */
export interface SweepOptions {
  /** Milliseconds for which a completed upload is remembered. */
  readonly remember: number
  /** Whether to delete what the index does not know however much it is. */
  readonly sweepAll: boolean
  /** Asked between the steps: whether to stop here. */
  readonly stop: () => boolean
}

/** One sweep; see {@link SweepReport}. */
export const sweep = async (context: FileStore, { remember, sweepAll, stop }: SweepOptions): Promise<SweepReport> => {
  const { database, bodies, process, now } = context
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
  await dropOldAttempts(context)
  const expired = database.read(() => entriesWhere(completions, ({ at }) => now() - at >= remember))
  for (const { key, value } of expired) {
    await database.write(() => forgetCompletion(context, key, value), 'reserve')
  }

  const collected = await asStoreFailed(() => collectGarbage(context))
  let { removed } = collected
  let examined = removed
  if (collected.failure instanceof SseError && collected.failure.code === 'StoreUnavailable') throw collected.failure
  const orphans: string[] = []
  const known = (id: string): boolean => {
    const key = encodeKey(id)
    return files.doesExist(key) || pending.doesExist(key)
  }
  const unknown = (ids: readonly string[]): readonly string[] => database.read(() => ids.filter(id => !known(id)))
  await asStoreFailed(async () => {
    removed += await bodies.discardUnfinished(async ids => (stop() ? [] : unknown(ids)))
    for await (const ids of bodies.list()) {
      if (stop()) return
      examined += ids.length
      orphans.push(...unknown(ids))
    }
    if (!sweepAll && orphans.length > few && orphans.length > examined / 10) throw tooMany(orphans.length, examined)
    for (const id of orphans) {
      if (stop()) return
      if (await bodies.delete(id)) removed++
    }
    if (collected.failure !== undefined) throw collected.failure
  })
  return { examined, removed, abandoned, forgotten: expired.length }
}

const tooMany = (orphans: number, examined: number): SseError => {
  const message =
    `The index does not know ${orphans} of ${examined} body files. That many are not deleted, for the index may be the wrong one: put the ` +
    'right one back. Where it is the right one, have them deleted: sweepAll, on the command line --sweep-all.'
  return new SseError('StoreFailed', { message })
}
