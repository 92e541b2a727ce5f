/**
 * Bodies that nothing refers to any more. The change that takes the last reference writes a row with the time from which on the files may be
 * deleted; they are deleted first and their rows after that, so that a crash in between leaves nothing that the index does not know.
 *
 * A body of one file is open while it is read, and an open file stays readable: it goes at once. The files of a body of several are opened
 * one after the other, by whichever process, and those of a remote body store do not stay readable: they are kept for the grace time. So a
 * read writes nothing, and leaves nothing behind.
 */
import { concat } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import type { FileStore } from './context.ts'
import type { BodyFile } from '../body-store.ts'
import { type BodyPlace, entries, type Entry } from './database.ts'
import { encodeKey, keyAfter } from './keys.ts'
import { filesOf, removeReference } from './references.ts'

// Bodies whose rows are taken away in one change.
const together = 100

// Bodies, and files of one, that are deleted at a time.
const atATime = 8

const timeKey = (time: number): Uint8Array => encodeKey(String(Math.trunc(time)).padStart(16, '0'))

/** What a collection did. */
export interface Collected {
  /** Files that were deleted. */
  readonly removed: number
  /** The first error of files that could not be deleted: they are tried again. */
  readonly failure: unknown
}

interface Due {
  readonly key: Uint8Array
  readonly body: BodyPlace
  readonly files: readonly BodyFile[]
}

/** Deletes the bodies whose time has come. Several processes may do so at once. */
export const collectGarbage = async (context: Omit<FileStore, 'collectSoon' | 'register'>): Promise<Collected> => {
  const { database, bodies, now } = context
  const { garbage, files, manifests } = database.tables
  const end = timeKey(now() + 1)
  let start: Uint8Array = Uint8Array.of(0)
  let removed = 0
  let failure: unknown
  const nextOnes = (): readonly Due[] => {
    const found: Entry<BodyPlace>[] = []
    for (const entry of entries(garbage, start, end)) if (found.push(entry) === together) break
    return found.map(({ key, value }) => ({ key, body: value, files: filesOf(database, value) }))
  }
  const isUnavailable = (): boolean => failure instanceof SseError && failure.code === 'StoreUnavailable'
  // Settled, so that nothing goes on once this has failed.
  const remove = async ({ files: dueFiles }: Due): Promise<boolean> => {
    for (const some of slices(dueFiles)) {
      const results = await Promise.allSettled(some.map(({ id }) => bodies.delete(id)))
      removed += results.filter(result => result.status === 'fulfilled' && result.value).length
      const failed = results.find(result => result.status === 'rejected')
      failure ??= failed?.reason
      if (failed !== undefined) return false
    }
    return true
  }
  for (;;) {
    const all = database.read(nextOnes)
    const last = all.at(-1)
    if (last === undefined) return { removed, failure }
    start = keyAfter(last.key)
    const gone: Due[] = []
    for (const some of slices(all)) {
      if (isUnavailable()) break
      const removals = await Promise.all(some.map(remove))
      gone.push(...some.filter((_, i) => removals[i]))
    }
    const forget = (): void => {
      for (const { key, body, files: ids } of gone) {
        for (const { id } of ids) files.removeSync(encodeKey(id))
        manifests.removeSync(encodeKey(body.id))
        garbage.removeSync(key)
      }
    }
    await database.write(forget, 'reserve')
    if (isUnavailable()) return { removed, failure }
  }
}

const slices = function* <T>(all: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < all.length; at += atATime) yield all.slice(at, at + atATime)
}

/** Inside a change: nothing refers to this body of files any more. */
export const discardBody = (context: Omit<FileStore, 'collectSoon' | 'register'>, body: BodyPlace): void => {
  const { database, bodies, now, grace } = context
  filesOf(database, body) // that they can be deleted
  const time = now() + (body.form === 'files' || bodies.remote ? grace : 0)
  database.tables.garbage.putSync(concat(timeKey(time), encodeKey(body.id)), body)
}

/** Inside a change: one less refers to this body. */
export const releaseBody = (context: FileStore, body: BodyPlace): void => {
  const { database } = context
  if (!removeReference(database, body)) return
  if (body.form === 'inline') database.tables.inline.removeSync(encodeKey(body.id))
  else discardBody(context, body)
}
