/**
 * The sweep: takes away what processes that are gone left behind, and what was remembered long enough. Any process may run it at any
 * time, beside others: a file may go when the index knows it neither as one that belongs to something nor as one that is being written,
 * for an entry is always there before its file is.
 */
import type { SweepReport } from '../store.ts'
import { release } from './bodies.ts'
import type { FileStore } from './context.ts'
import { entriesWhere, type Holder } from './database.ts'
import { onDisk } from './disk.ts'
import { encodeKey } from './keys.ts'
import { isAlive } from './liveness.ts'
import { forgetCompletion } from './uploads.ts'

/** Milliseconds for which a process of another PID namespace, of which nobody can tell, counts as alive. */
const patience = 86_400_000

/** How to sweep. */
export interface SweepOptions {
  /** Milliseconds for which a completed upload is remembered. */
  readonly remember: number
  /** Asked between the steps: whether to stop here. */
  readonly stop: () => boolean
}

/** One sweep; see {@link SweepReport}. */
export const sweep = async (context: FileStore, { remember, stop }: SweepOptions): Promise<SweepReport> => {
  const { database, disk, process, now } = context
  const { pending, pins, completions, files } = database.tables
  const isGone = (held: Holder): boolean => !(isAlive(held.process, process) ?? now() - held.since < patience)

  // As a change, not a read: a process that was killed may have written a commit without announcing it, and LMDB finds that when the next
  // writer begins. And of several that sweep only one takes an entry away.
  const abandoned = await database.write(() => {
    const gone = entriesWhere(pending, isGone)
    for (const { key } of gone) pending.removeSync(key)
    return gone.length
  })
  const released = await database.write(() =>
    entriesWhere(pins, isGone).map(({ key, value }) => {
      pins.removeSync(key)
      return release(database, value.body)
    }),
  )
  disk.drop(released.flat())
  await disk.settled()

  const expired = database.read(() => entriesWhere(completions, ({ at }) => now() - at >= remember))
  for (const { key, value } of expired) await database.write(() => forgetCompletion(context, key, value))

  let examined = 0
  let removed = 0
  await onDisk(async () => {
    for await (const ids of disk.list()) {
      if (stop()) break
      const known = (id: string): boolean => {
        const key = encodeKey(id)
        return files.doesExist(key) || pending.doesExist(key)
      }
      const orphans = database.read(() => ids.filter(id => !known(id)))
      for (const id of orphans) await disk.delete(id)
      examined += ids.length
      removed += orphans.length
    }
  })
  return { examined, removed, abandoned, released: released.length, forgotten: expired.length }
}
