/**
 * The index of the embedded store: an LMDB environment, its tables, and the two ways to use them. Only here lmdb is imported, an optional
 * peer.
 *
 * Why a change is durable when its promise resolves: without `overlappingSync` the writer's thread runs mdb_txn_commit() to its end before
 * lmdb-js marks the transaction TXN_COMMITTED and resolves (src/writer.cpp, WriteWorker::Write), and that is: write the pages, fdatasync(),
 * then write the meta page through a descriptor opened O_DSYNC (mdb.c). With `overlappingSync`, the default, a transaction is visible
 * before fdatasync(), so one that then fails with EIO is reported as failed and is there all the same: a record would name a body that was
 * thrown away. `eventTurnBatching` is off because lmdb-js otherwise leaves a promise of a failed commit unhandled, which ends the process.
 */
import type { Database as Table, RootDatabase } from 'lmdb'
import { SseError } from '../../errors.ts'
import { syncDirectory } from '../../files.ts'
import type { BodyFile } from '../body-store.ts'
import { asStoreFailed, storeFailure } from '../failure.ts'
import type { Bucket, NewUpload, ObjectRecord, ObjectSummary, Part } from '../records.ts'
import { commitFailure } from './failure.ts'
import { checkIndexFiles } from './index-file.ts'
import { encodeKey, keyAfterAll } from './keys.ts'
import type { ProcessName } from './liveness.ts'
import { spaceOf } from './space.ts'

/** Where a body lies: in the index, in a file named by the body's id, or in the files of a manifest. */
export interface BodyPlace {
  readonly form: 'inline' | 'file' | 'files'
  /** 32 hex digits. */
  readonly id: string
  readonly size: number
}

/** What lies beside an object's summary, so that listings do not load it. */
export interface Content extends Pick<ObjectRecord, 'envelope' | 'values' | 'partValues' | 'mac'> {
  readonly body: BodyPlace
}

/** A process that holds something, since when (ms). */
export interface Holder {
  readonly process: ProcessName
  readonly since: number
}

/** An upload; its parts lie under its serial. */
export interface UploadRow {
  /** 32 hex digits. */
  readonly serial: string
  readonly upload: NewUpload
}

/** What is remembered of a completed upload. */
export interface CompletionRow {
  readonly upload: UploadRow
  readonly token: string
  readonly at: number
  readonly record: ObjectRecord
}

/** An attempt of a part: a file of its own. */
export interface AttemptRow {
  /** 32 hex digits. */
  readonly file: string
  readonly part: Part
  /** Milliseconds since 1970: when it was acknowledged. */
  readonly at: number
  /** Its first bytes, where the body store is remote. */
  readonly head?: Uint8Array
}

/** The tables of the index. */
export interface Tables {
  /** "format"; "store-id" and "new-store-id" (`identity.ts`) */
  readonly meta: Table<number | string, Uint8Array>
  /** name of a claim */
  readonly claims: Table<string, Uint8Array>
  /** name of a bucket */
  readonly buckets: Table<Bucket, Uint8Array>
  /** id of a bucket: its name */
  readonly ids: Table<string, Uint8Array>
  /** owner, name of a bucket; the value says nothing */
  readonly owners: Table<true, Uint8Array>
  /** id of the bucket, key */
  readonly objects: Table<ObjectSummary, Uint8Array>
  /** id of the bucket, key */
  readonly contents: Table<Content, Uint8Array>
  /** body: bytes of small ones, unless there are none */
  readonly inline: Table<Uint8Array, Uint8Array>
  /** body: the files, in order, of one that has several */
  readonly manifests: Table<readonly BodyFile[], Uint8Array>
  /** body: objects that share it */
  readonly counts: Table<number, Uint8Array>
  /** file: the files that belong to a body or an upload, until they are deleted; the value says nothing */
  readonly files: Table<true, Uint8Array>
  /** file: the files that are being written, or were by a process that is gone */
  readonly pending: Table<Holder, Uint8Array>
  /** from when on its files may be deleted (`garbage.ts`), body: the bodies that nothing refers to any more */
  readonly garbage: Table<BodyPlace, Uint8Array>
  /** id of the bucket, key, upload: open ones */
  readonly uploads: Table<UploadRow, Uint8Array>
  /** id of the bucket, key, upload: completed ones */
  readonly completions: Table<CompletionRow, Uint8Array>
  /** serial of the upload ‖ u32 part number ‖ u32 in order of acknowledgement */
  readonly parts: Table<AttemptRow, Uint8Array>
}

/** Where a change takes its pages from: from the disk but for its reserve, or from all of it. */
export type SpaceUsed = 'space' | 'reserve'

// Changes in one commit: they run one after the other on the event loop, which waits for as long.
const mostTogether = 64

/** Version of what lies in the index. */
const format = 3
const formatKey = encodeKey('format')

const otherFormat = (found: string): SseError => {
  const advice =
    Number(found) < format
      ? 'Read its objects out with the version that wrote it, and put them into a new store.'
      : 'Use the version that wrote it.'
  return new SseError('StoreFailed', {
    message: `The store has format ${found}, this program knows ${format}. ${advice}`,
  })
}

const hasNumber = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && typeof error.code === 'number'

/** What the medium or LMDB says (errors with a number) as `StoreFailed`; every other error as it is. */
const explain = (error: unknown): unknown => (hasNumber(error) ? storeFailure(error) : error)

// Of all indexes of this process: groups of changes that are being made, and the openings that go before the next ones.
const underWay = new Set<Promise<unknown>>()
let openings: Promise<unknown> = Promise.resolve()

/**
 * Opens an index while no change is under way: lmdb-js opens with a synchronous transaction, which waits for the writer of the same index,
 * while that writer waits for this thread to run its actions.
 */
const betweenChanges = <T>(open: () => T): Promise<T> => {
  const opening = openings.then(async () => {
    while (underWay.size > 0) await Promise.all(underWay)
    return open()
  })
  openings = opening.catch(() => undefined)
  return opening
}

/** Loads the optional peer: `MissingPeer` where it is not installed. */
export const loadLmdb = async (
  load: () => Promise<typeof import('lmdb')> = () => import('lmdb'),
): Promise<typeof import('lmdb')> => {
  try {
    return await load()
  } catch (cause) {
    const message = 'The embedded store needs the package lmdb. Install it: npm install lmdb'
    throw new SseError('MissingPeer', { message, cause })
  }
}

/** How to open an index. */
export interface DatabaseOptions {
  /** Its folder. */
  readonly path: string
  /** Milliseconds that a change may wait for the writers before it. */
  readonly deadline: number
  /** Told once where the index cannot be used any more by this process. */
  readonly onBroken: (error: SseError) => void
}

/** The index, open. */
export class Database {
  /** Inside {@link Database.write} they show and take what the change does, inside {@link Database.read} one snapshot. */
  readonly tables: Tables
  readonly #root: RootDatabase
  readonly #options: DatabaseOptions
  readonly #assertSpace: () => void
  #queue: (() => Promise<void>)[] = []
  #writing: Promise<void> | undefined
  #broken: SseError | undefined

  private constructor(root: RootDatabase, tables: Tables, options: DatabaseOptions) {
    this.#root = root
    this.#options = options
    this.#assertSpace = spaceOf(options.path)
    this.tables = tables
  }

  /** Opens or makes the index in this directory. `StoreFailed` where it is damaged or another version wrote it. */
  static async open(path: string, options: Partial<Omit<DatabaseOptions, 'path'>> = {}): Promise<Database> {
    const { open } = await loadLmdb()
    await asStoreFailed(() => checkIndexFiles(path))
    try {
      const { root, tables } = await betweenChanges(() => {
        const root = open({ path, noSubdir: false, maxDbs: 24, overlappingSync: false, eventTurnBatching: false })
        // One commit for all of the tables, where they are new; an index of another format is left as it is.
        const tables = root.transactionSync(() => {
          const meta = openTable<number | string>(root, 'meta')
          const found = meta.get(formatKey)
          if (found === undefined) meta.putSync(formatKey, format)
          return found === undefined || found === format ? openTables(root, meta) : String(found)
        })
        return { root, tables }
      })
      if (typeof tables !== 'string') {
        // The names of LMDB's files, too, are to outlive a power cut.
        await syncDirectory(path)
        return new Database(root, tables, { path, deadline: 30_000, onBroken: () => {}, ...options })
      }
      await root.close()
      throw otherFormat(tables)
    } catch (error) {
      throw explain(error)
    }
  }

  /** Whether the medium failed and its contents are unknown: nothing more is written until the process restarts. */
  get broken(): boolean {
    return this.#broken !== undefined
  }

  /** Reads one snapshot: the newest, of whichever process. `action` is synchronous. */
  read<T>(action: () => T): T {
    try {
      // lmdb-js keeps a snapshot until its timer runs: a change that another process has acknowledged since could be missed.
      this.#root.resetReadTxn()
      return action()
    } catch (error) {
      throw explain(error)
    }
  }

  /**
   * Runs a synchronous action as one change: durable when the promise resolves, undone in full when the action throws. Errors of the
   * medium are `StoreFailed` and `StoreFull`, those of the action its own. Changes that come while a commit is under way share the next one.
   * `StoreBusy` where it could not begin in time, for another process holds the index: then it never happens. `StoreFull` where the disk has
   * no more than its reserve, which is for what takes away more than it adds, and for opening.
   */
  write<T>(action: () => T, from: SpaceUsed = 'space'): Promise<T> {
    return new Promise((resolve, reject) => {
      let isLate = false
      const giveUp = (): void => {
        isLate = true
        reject(new SseError('StoreBusy'))
      }
      const timer = setTimeout(giveUp, this.#options.deadline)
      const begin = (): T => {
        clearTimeout(timer)
        if (isLate) throw new SseError('StoreBusy')
        if (from === 'space') this.assertSpace()
        return action()
      }
      const change = (): Promise<void> =>
        this.#change(begin)
          .finally(() => clearTimeout(timer))
          .then(resolve, reject)
      this.#queue.push(change)
      this.#writing ??= this.#writeAll()
    })
  }

  // lmdb-js gets the next group when the one before is settled: after a failure for good it would block on its lock for ever.
  async #writeAll(): Promise<void> {
    for (;;) {
      await openings
      if (this.#queue.length === 0) break
      const group = Promise.all(this.#queue.splice(0, mostTogether).map(start => start()))
      underWay.add(group)
      await group
      underWay.delete(group)
    }
    this.#writing = undefined
  }

  async #change<T>(action: () => T): Promise<T> {
    if (this.#broken !== undefined) throw this.#broken
    try {
      return await this.#root.childTransaction(action)
    } catch (error) {
      if (!(error instanceof Error && 'commitError' in error)) throw explain(error)
      const cause: unknown = await Promise.resolve(error.commitError).catch((reason: unknown) => reason)
      const failure = commitFailure(cause, this.#options.path)
      this.#probe(failure)
      throw failure
    }
  }

  // After the meta page could not be written LMDB answers everything with MDB_PANIC (reads too), and lmdb-js writes not at all.
  #probe(failure: SseError): void {
    try {
      this.read(() => this.tables.meta.get(formatKey))
    } catch {
      if (this.#broken !== undefined) return
      this.#broken = failure
      this.#options.onBroken(failure)
    }
  }

  /** `StoreFull` where the disk of the index has no more than its reserve. Changes look themselves; bodies ask before they grow. */
  assertSpace(): void {
    this.#assertSpace()
  }

  /** Writes a copy of one snapshot into this folder, which is there and empty: not flushed. Changes go on meanwhile. */
  async copyTo(path: string): Promise<void> {
    try {
      await this.#root.backup(path, true)
    } catch (error) {
      throw explain(error)
    }
  }

  /** Waits for the changes under way and closes the index. */
  async close(): Promise<void> {
    await this.#writing
    if (!this.broken) await this.#root.close()
  }
}

// Plain maps: msgpackr's records would compile a function for every set of header names that a client makes up.
const tableOptions = { keyEncoding: 'binary' as const, encoder: { useRecords: false } }

const openTable = <T>(root: RootDatabase, name: string): Table<T, Uint8Array> =>
  root.openDB<T, Uint8Array>({ ...tableOptions, name })

const openTables = (root: RootDatabase, meta: Tables['meta']): Tables => ({
  meta,
  claims: openTable(root, 'claims'),
  buckets: openTable(root, 'buckets'),
  ids: openTable(root, 'ids'),
  owners: openTable(root, 'owners'),
  objects: openTable(root, 'objects'),
  contents: openTable(root, 'contents'),
  inline: openTable(root, 'inline'),
  manifests: openTable(root, 'manifests'),
  counts: openTable(root, 'counts'),
  files: openTable(root, 'files'),
  pending: openTable(root, 'pending'),
  garbage: openTable(root, 'garbage'),
  uploads: openTable(root, 'uploads'),
  completions: openTable(root, 'completions'),
  parts: openTable(root, 'parts'),
})

/** An entry of a table. */
export interface Entry<T> {
  readonly key: Uint8Array
  readonly value: T
}

// Every key of the index is shorter than this, so a longer bound, which LMDB would not take, orders just as its beginning does.
const bound = (key: Uint8Array): Uint8Array => key.subarray(0, 1900)

/** The entries of a table from one key (inclusive) to another (exclusive), as they are asked for. */
export function* entries<T>(table: Table<T, Uint8Array>, start: Uint8Array, end: Uint8Array): Generator<Entry<T>> {
  for (const { key, value } of table.getRange({ start: bound(start), end: bound(end) })) yield { key, value }
}

/** All entries of a table that begin with these bytes. */
export const entriesOf = <T>(table: Table<T, Uint8Array>, prefix: Uint8Array): readonly Entry<T>[] => [
  ...entries(table, prefix, keyAfterAll(prefix)),
]

/** The entries of a table whose values are wanted. */
export const entriesWhere = <T>(table: Table<T, Uint8Array>, wanted: (value: T) => boolean): readonly Entry<T>[] => {
  const found: Entry<T>[] = []
  for (const entry of entries(table, Uint8Array.of(0), Uint8Array.of(255))) if (wanted(entry.value)) found.push(entry)
  return found
}

/** The keys of a table that begin with these bytes, the first `limit` of them. */
export const keysOf = (
  table: Table<unknown, Uint8Array>,
  prefix: Uint8Array,
  limit = Infinity,
): readonly Uint8Array[] => [
  ...table.getKeys({ start: prefix, end: keyAfterAll(prefix), ...(limit !== Infinity && { limit }) }),
]

/** How many keys of a table begin with these bytes, counted up to `limit`. */
export const countOf = (table: Table<unknown, Uint8Array>, prefix: Uint8Array, limit: number): number =>
  table.getKeysCount({ start: prefix, end: keyAfterAll(prefix), limit })

/** How many entries a table has; LMDB keeps the number. */
export const sizeOf = (table: Table<unknown, Uint8Array>): number => {
  const stats: { readonly entryCount?: number } = table.getStats()
  return stats.entryCount ?? 0
}

/** Whether a table has a key that begins with these bytes. */
export const hasAny = (table: Table<unknown, Uint8Array>, prefix: Uint8Array): boolean =>
  keysOf(table, prefix, 1).length > 0

/** The last key of a table that begins with these bytes. */
export const lastKey = (table: Table<unknown, Uint8Array>, prefix: Uint8Array): Uint8Array | undefined =>
  [...table.getKeys({ start: keyAfterAll(prefix), end: prefix, reverse: true, limit: 1 })][0]
