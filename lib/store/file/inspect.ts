/** What a check looks at in the embedded store: rows of objects and uploads with what they refer to, and whether the index adds up in itself. */
import { SseError } from '../../errors.ts'
import { pieceMissing } from '../failure.ts'
import { type IndexFault, inspectBodies, type StoreInspection } from '../inspection.ts'
import { commit, type FileStore, objectKey, uploadKey } from './context.ts'
import { type BodyPlace, entries, type Entry, keysOf } from './database.ts'
import { discardBody } from './garbage.ts'
import { decodeKey, encodeKey } from './keys.ts'
import { partsOf } from './parts.ts'
import { filesOf } from './references.ts'
import { knownBodies } from './sweep.ts'

type Table<T> = Parameters<typeof entries<T>>[0]

const allOf = <T>(table: Table<T>): Iterable<Entry<T>> => entries(table, Uint8Array.of(0), Uint8Array.of(255))

/** What all rows together refer to. */
interface References {
  /** Objects of each body. */
  readonly counts: ReadonlyMap<string, number>
  /** Each body that an object has, or that is garbage. */
  readonly bodies: ReadonlyMap<string, BodyPlace>
  /** Files of objects and open uploads. */
  readonly used: ReadonlySet<string>
  /** Files that wait for being deleted. */
  readonly garbage: ReadonlySet<string>
  /** Rows whose other half is gone. */
  readonly broken: readonly IndexFault[]
}

const lostHalf = (name: string): string => `the object ${name} has lost one of its two rows`

const brokenRow = (id: string, message: string): IndexFault => ({ what: 'row', id, message, mended: false })

// Inside a read or a change.
const collectReferences = (context: FileStore): References => {
  const { database } = context
  const { contents, objects, ids, uploads, garbage } = database.tables
  const counts = new Map<string, number>()
  const bodies = new Map<string, BodyPlace>()
  const used = new Set<string>()
  const waiting = new Set<string>()
  const broken: IndexFault[] = []
  const lostBuckets = new Set<string>()
  const readRow = (name: string, read: () => void): void => {
    try {
      read()
    } catch (error) {
      if (!(error instanceof SseError)) throw error
      broken.push(brokenRow(name, `a row of ${name} cannot be read: ${error.message}`))
    }
  }
  for (const { key, value } of allOf(contents)) {
    const { body } = value
    const [bucketId = '', name = ''] = decodeKey(key)
    counts.set(body.id, (counts.get(body.id) ?? 0) + 1)
    bodies.set(body.id, body)
    readRow(name, () => {
      for (const { id } of filesOf(database, body)) used.add(id)
    })
    if (!objects.doesExist(key)) broken.push(brokenRow(name, lostHalf(name)))
    if (!ids.doesExist(encodeKey(bucketId))) lostBuckets.add(bucketId)
  }
  for (const key of keysOf(objects, new Uint8Array())) {
    const [, name = ''] = decodeKey(key)
    if (!contents.doesExist(key)) broken.push(brokenRow(name, lostHalf(name)))
  }
  for (const id of lostBuckets) broken.push(brokenRow(id, `there are objects of a bucket, ${id}, that is not there`))
  for (const { key, value } of allOf(uploads)) {
    readRow(decodeKey(key)[1] ?? '', () => {
      for (const part of partsOf(context, value)) used.add(part.value.file)
    })
  }
  for (const { value } of allOf(garbage)) {
    if (!bodies.has(value.id)) bodies.set(value.id, value)
    readRow('what is to be deleted', () => {
      for (const { id } of filesOf(database, value)) waiting.add(id)
    })
  }
  return { counts, bodies, used, garbage: waiting, broken }
}

const idsOf = (table: Parameters<typeof keysOf>[0]): readonly string[] =>
  keysOf(table, new Uint8Array()).map(key => decodeKey(key)[0] ?? '')

/** Inside a read, or with `mend` a change. */
const findFaults = (context: FileStore, mend: boolean): readonly IndexFault[] => {
  const { counts, files, inline, manifests } = context.database.tables
  const { counts: found, bodies, used, garbage, broken } = collectReferences(context)
  const faults: IndexFault[] = [...broken]
  const report = (what: IndexFault['what'], id: string, message: string, repair: () => void): void => {
    // What a broken row refers to looks as if nothing referred to it.
    const mended = mend && (what === 'unregistered' || broken.length === 0)
    if (mended) repair()
    faults.push({ what, id, message, mended })
  }
  const noted = new Map([...allOf(counts)].map(({ key, value }) => [decodeKey(key)[0] ?? '', value]))
  for (const id of new Set([...noted.keys(), ...found.keys()])) {
    const [says, is] = [noted.get(id) ?? 0, found.get(id) ?? 0]
    if (says === is) continue
    report('count', id, `the index counts ${says} objects of the body ${id}, and there are ${is}`, () => {
      if (is > 0) counts.putSync(encodeKey(id), is)
      else counts.removeSync(encodeKey(id))
    })
  }
  const registered = new Set(idsOf(files))
  for (const id of used) {
    if (registered.has(id) && !garbage.has(id)) continue
    const message = `the file ${id} belongs to an object or upload, and is not kept for it: a sweep would delete it`
    report('unregistered', id, message, () => {
      files.putSync(encodeKey(id), true)
      dropGarbage(context, id)
    })
  }
  for (const id of registered) {
    if (used.has(id) || garbage.has(id)) continue
    report('forgotten', id, `nothing refers to the file ${id}, and nobody would delete it`, () =>
      discardBody(context, { form: 'file', id, size: 0 }),
    )
  }
  for (const [table, what] of [
    [inline, 'bytes'],
    [manifests, 'list of files'],
  ] as const) {
    for (const id of idsOf(table)) {
      if (bodies.has(id)) continue
      report('forgotten', id, `nothing refers to the ${what} of the body ${id}`, () => table.removeSync(encodeKey(id)))
    }
  }
  return faults
}

/** Inside a change: a file that an object or upload has waits for its deletion no longer. */
const dropGarbage = ({ database }: FileStore, file: string): void => {
  const { garbage } = database.tables
  for (const { key, value } of [...allOf(garbage)]) {
    if (filesOf(database, value).some(({ id }) => id === file)) garbage.removeSync(key)
  }
}

/** See {@link StoreInspection}. */
export const inspection = (context: FileStore): StoreInspection => {
  const { database } = context
  const { objects, contents, inline, uploads } = database.tables
  return {
    ...inspectBodies(knownBodies(context)),

    body: async (bucketId, key) => {
      const at = objectKey(bucketId, key)
      return database.read(() => {
        const summary = objects.get(at)
        const body = contents.get(at)?.body
        if (summary === undefined) return undefined
        if (body === undefined) throw pieceMissing()
        const { revision, storedSize: size } = summary
        const bytes = body.form === 'inline' ? (inline.get(encodeKey(body.id))?.length ?? 0) : undefined
        return { revision, size, inline: bytes, files: filesOf(database, body) }
      })
    },

    parts: async (bucketId, key, id) => {
      const at = uploadKey(bucketId, key, id)
      return database.read(() => {
        const row = uploads.get(at)
        if (row === undefined) return []
        return partsOf(context, row).map(({ value: { file, part } }) => ({
          number: part.number,
          attempt: part.attempt,
          file: { id: file, size: part.storedSize },
        }))
      })
    },

    indexFaults: async ({ mend }) =>
      mend
        ? commit(context, () => findFaults(context, true), 'reserve')
        : database.read(() => findFaults(context, false)),
  }
}
