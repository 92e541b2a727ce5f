/**
 * Attempts of parts, in the index: files of their own, until their upload becomes an object. Which are kept, and how uploads are dropped whose
 * bucket is gone. All of it but {@link dropUploadsIn} and {@link dropExpiredUploads} happens inside a change.
 */
import { concat, u32, view } from '../../bytes.ts'
import { checkBodyId } from '../names.ts'
import { newest, young } from '../retention.ts'
import type { ExpiredUpload } from '../store.ts'
import { commit, type FileStore } from './context.ts'
import {
  type AttemptRow,
  type CompletionRow,
  entriesOf,
  type Entry,
  entriesWhere,
  keysOf,
  lastKey,
  type UploadRow,
} from './database.ts'
import { discardBody } from './garbage.ts'
import { decodeKey, encodeKey } from './keys.ts'

// Attempts that are dropped in one change, of an upload whose bucket is gone.
const step = 1000

/** The attempts of an upload, by number, those of a number in the order of their acknowledgement. */
export const partsOf = ({ database }: FileStore, { serial }: UploadRow): readonly Entry<AttemptRow>[] =>
  attemptsUnder(database.tables.parts, encodeKey(serial))

const attemptsUnder = (
  table: FileStore['database']['tables']['parts'],
  prefix: Uint8Array,
): readonly Entry<AttemptRow>[] => {
  const found = entriesOf(table, prefix)
  for (const { value } of found) checkBodyId(value.file)
  return found
}

/** Removes attempts, and their files soon. */
export const removeParts = (context: FileStore, attempts: readonly Entry<AttemptRow>[]): void => {
  for (const { key, value } of attempts) {
    context.database.tables.parts.removeSync(key)
    discardBody(context, { form: 'file', id: value.file, size: value.part.storedSize })
  }
}

/** Drops an open upload and its attempts; whether it was there. */
export const removeUpload = (context: FileStore, at: Uint8Array): boolean => {
  const { uploads } = context.database.tables
  const row = uploads.get(at)
  if (row === undefined) return false
  removeParts(context, partsOf(context, row))
  uploads.removeSync(at)
  return true
}

/** Adds an attempt, behind those of its number, and removes those that it makes superfluous. */
export const addPart = (context: FileStore, { serial }: UploadRow, row: AttemptRow): void => {
  const { parts } = context.database.tables
  const root = concat(encodeKey(serial), u32(row.part.number))
  const last = lastKey(parts, root)
  parts.putSync(concat(root, u32(last === undefined ? 0 : view(last).getUint32(root.length) + 1)), row)
  const older = attemptsUnder(parts, root).slice(0, -newest)
  removeParts(
    context,
    older.filter(({ value }) => context.now() - value.at >= young),
  )
}

/** Gives up the memory of a completed upload. */
export const forgetCompletion = (context: FileStore, at: Uint8Array, { upload }: CompletionRow): void => {
  const { completions, parts } = context.database.tables
  for (const key of keysOf(parts, encodeKey(upload.serial))) parts.removeSync(key)
  completions.removeSync(at)
}

/** Drops all uploads, open and completed, of a bucket that is gone, in changes of a bounded size. `root` is that of the bucket. */
export const dropUploadsIn = async (context: FileStore, root: Uint8Array): Promise<void> => {
  const { database } = context
  const { uploads, completions } = database.tables
  const dropSome = (): boolean => {
    const [open] = keysOf(uploads, root, 1)
    const row = open && uploads.get(open)
    if (open === undefined || row === undefined) return false
    const some = partsOf(context, row).slice(0, step)
    if (some.length < step) uploads.removeSync(open)
    removeParts(context, some)
    return true
  }
  while (await commit(context, dropSome, 'reserve'));
  for (const { key, value } of database.read(() => entriesOf(completions, root))) {
    await database.write(() => forgetCompletion(context, key, value), 'reserve')
  }
}

/** Drops the uploads of buckets that are gone: their deletion was interrupted. */
export const dropLostUploads = async (context: FileStore): Promise<void> => {
  const { database } = context
  const { ids, uploads, completions } = database.tables
  const lost = database.read(() => {
    const bucketIds = [...keysOf(uploads, new Uint8Array()), ...keysOf(completions, new Uint8Array())].map(
      key => decodeKey(key)[0] ?? '',
    )
    return [...new Set(bucketIds)].filter(id => !ids.doesExist(encodeKey(id)))
  })
  for (const id of lost) await dropUploadsIn(context, encodeKey(id))
}

/** Drops uploads that are open for so many milliseconds, as an abort does. Answers those that it dropped itself. */
export const dropExpiredUploads = async (context: FileStore, age: number): Promise<readonly ExpiredUpload[]> => {
  const { database, now } = context
  const { ids, uploads } = database.tables
  const old = database.read(() => entriesWhere(uploads, ({ upload }) => now() - upload.initiated >= age))
  const dropped: ExpiredUpload[] = []
  for (const { key: at, value } of old) {
    const [bucketId = '', key = '', id = ''] = decodeKey(at)
    const bucket = database.read(() => ids.get(encodeKey(bucketId)))
    if (bucket === undefined || !(await commit(context, () => removeUpload(context, at), 'reserve'))) continue
    dropped.push({ bucket, key, id, initiated: value.upload.initiated })
  }
  return dropped
}

/** Lets go of attempts that were superfluous already, but too young, when the last one of their number came. */
export const dropOldAttempts = async (context: FileStore): Promise<void> => {
  const { database, now } = context
  const { uploads } = database.tables
  for (const { key, value: upload } of database.read(() => entriesWhere(uploads, () => true))) {
    const superfluous = (): readonly Entry<AttemptRow>[] => {
      const all = partsOf(context, upload)
      return all.filter(
        ({ value }, i) => all[i + newest]?.value.part.number === value.part.number && now() - value.at >= young,
      )
    }
    if (database.read(superfluous).length === 0) continue
    const drop = (): void => {
      if (uploads.doesExist(key)) removeParts(context, superfluous())
    }
    await commit(context, drop, 'reserve')
  }
}
