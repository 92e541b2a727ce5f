/**
 * Bodies that nothing refers to any more. The change that takes the last reference writes a row with the time from which on the files may be
 * deleted; they are deleted first and their rows after that, so that a crash in between leaves nothing that the index does not know.
 *
 * A body of one file is open while it is read, and an open file stays readable: it goes at once. The files of a body of several are opened
 * one after the other, by whichever process, so they stay for the grace time. So a read writes nothing, and leaves nothing behind.
 */
import { concat } from '../../bytes.ts'
import type { FileStore } from './context.ts'
import { type BodyFile, type BodyPlace, entries, type Entry } from './database.ts'
import { asStoreFailed } from './failure.ts'
import { encodeKey, keyAfter } from './keys.ts'
import { filesOf, removeReference } from './references.ts'

// Bodies whose rows are taken away in one change.
const together = 100

/** Milliseconds after a change: the garbage of several is collected at once. */
const soon = 100

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
export const collectGarbage = async (context: Omit<FileStore, 'collectSoon'>): Promise<Collected> => {
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
  const remove = async (due: Due): Promise<boolean> => {
    try {
      for (const { id } of due.files) if (await bodies.delete(id)) removed++
      return true
    } catch (error) {
      failure ??= error
      return false
    }
  }
  for (;;) {
    const all = database.read(nextOnes)
    const last = all.at(-1)
    if (last === undefined) return { removed, failure }
    start = keyAfter(last.key)
    const gone: Due[] = []
    for (const due of all) if (await remove(due)) gone.push(due)
    const forget = (): void => {
      for (const { key, body, files: ids } of gone) {
        for (const { id } of ids) files.removeSync(encodeKey(id))
        manifests.removeSync(encodeKey(body.id))
        garbage.removeSync(key)
      }
    }
    await database.write(forget, 'reserve')
  }
}

/** Collects in the background. */
export interface Collector {
  /** Soon. */
  readonly soon: () => void
  /** Waits for what is under way, and collects a last time where that was asked for. */
  readonly close: () => Promise<void>
}

/** A collector. What it cannot delete is left to the sweep, which tells of it. */
export const createCollector = (context: Omit<FileStore, 'collectSoon'>): Collector => {
  let timer: NodeJS.Timeout | undefined
  let running: Promise<unknown> = Promise.resolve()
  let isClosed = false
  const collect = (): void => {
    timer = undefined
    running = running.then(() => asStoreFailed(() => collectGarbage(context))).catch(() => {})
  }
  return {
    soon: () => {
      if (!isClosed) timer ??= setTimeout(collect, soon).unref()
    },
    close: async () => {
      isClosed = true
      clearTimeout(timer)
      if (timer !== undefined) collect()
      await running
    },
  }
}

/** Inside a change: nothing refers to this body of files any more. */
export const discardBody = (context: FileStore, body: BodyPlace): void => {
  const { database, now, grace } = context
  filesOf(database, body) // that they can be deleted
  const time = now() + (body.form === 'files' ? grace : 0)
  database.tables.garbage.putSync(concat(timeKey(time), encodeKey(body.id)), body)
}

/** Inside a change: one less refers to this body. */
export const releaseBody = (context: FileStore, body: BodyPlace): void => {
  const { database } = context
  if (!removeReference(database, body)) return
  if (body.form === 'inline') database.tables.inline.removeSync(encodeKey(body.id))
  else discardBody(context, body)
}
