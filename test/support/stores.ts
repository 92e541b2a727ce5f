/** The stores that keep the interface of `lib/store/store.ts`, each opened afresh for a test: the cases of `test/store` run on all of them. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openBodyFiles } from '../../lib/store/file/disk.ts'
import { openFileStore } from '../../lib/store/file/store.ts'
import { openPostgresStore } from '../../lib/store/postgres/store.ts'
import type { Bucket } from '../../lib/store/records.ts'
import type { ExpiredUpload, ObjectStore } from '../../lib/store/store.ts'
import { postgresMissing, type PostgresServer, startPostgres } from './postgres.ts'
import { quickDirectory } from './store.ts'

/** What a bucket is made with. */
export const bucketFacts = { owner: 'domain', region: 'sichuan', created: 1 }

/** Options that all stores have. */
export interface StoreOptions {
  readonly grace?: number
  readonly remember?: number
  readonly uploadAge?: number
  readonly onUploadExpired?: (upload: ExpiredUpload) => void
  readonly sweepAll?: boolean
}

/** An open store, and one bucket in it. */
export interface OpenStore {
  readonly store: ObjectStore
  /** Its bodies are files in `bodies/` of it. */
  readonly directory: string
  readonly b: Bucket
  /** Opens the same store once more; to be closed by the test. */
  again(options?: StoreOptions): Promise<ObjectStore>
  /** Lets so many milliseconds pass for whoever uses it. */
  pass(milliseconds: number): Promise<void>
}

interface Kind {
  readonly missing: string | false
  open(t: Test, options: StoreOptions): Promise<Omit<OpenStore, 'b'>>
}

const folderOf = (t: Test): string => {
  const above = quickDirectory()
  t.teardown(() => rmSync(above, { recursive: true }))
  return join(above, 'data')
}

const embedded: Kind = {
  missing: false,
  open: async (t, options) => {
    const directory = folderOf(t)
    let passed = 0
    const again = (options: StoreOptions = {}): Promise<ObjectStore> =>
      openFileStore(directory, { sweepEvery: 0, now: () => Date.now() + passed, ...options })
    const pass = async (milliseconds: number): Promise<void> => {
      passed += milliseconds
    }
    return { store: await again(options), directory, again, pass }
  },
}

/** The columns that a time is in. */
const times = [
  ['garbage', 'due'],
  ['part', 'acknowledged'],
  ['upload', 'completed'],
] as const

let server: Promise<PostgresServer> | undefined

/** The server of this process's tests. */
export const postgresServer = (): Promise<PostgresServer> => {
  if (server === undefined) {
    server = startPostgres()
    t.teardown(async () => (await server)?.close())
  }
  return server
}

const postgres: Kind = {
  missing: postgresMissing,
  open: async (t, options) => {
    const directory = folderOf(t)
    const server = await postgresServer()
    const connection = await server.create()
    const again = (options: StoreOptions = {}): Promise<ObjectStore> =>
      openPostgresStore({
        connection,
        bodies: () => openBodyFiles(join(directory, 'bodies')),
        sweepEvery: 0,
        grace: 0,
        ...options,
      })
    const pass = async (milliseconds: number): Promise<void> => {
      const back = times.map(
        ([table, column]) => `UPDATE ${table} SET ${column} = ${column} - interval '${milliseconds}ms'`,
      )
      back.push(`UPDATE upload SET initiated = initiated - ${milliseconds}`)
      await server.run(connection, back.join(';'))
    }
    return { store: await again(options), directory, again, pass }
  },
}

/** The stores, by name. */
export const stores: Readonly<Record<string, Kind>> = { embedded, postgres }

let cases = 0

/** A case: runs on every store, each time with a fresh one. */
export const each = (
  title: string,
  run: (t: Test, fresh: (options?: StoreOptions) => Promise<OpenStore>) => Promise<void>,
): void => {
  cases++
  for (const [name, { missing, open }] of Object.entries(stores)) {
    void t.test(`${name}: ${title}`, { skip: missing }, async t => {
      await run(t, async (options = {}) => {
        const opened = await open(t, options)
        t.teardown(() => opened.store.close())
        return { ...opened, b: await opened.store.createBucket('b', bucketFacts) }
      })
    })
  }
}

/** Says how many cases ran on how many stores. */
export const sayCases = (): void => {
  const names = Object.entries(stores).map(([name, { missing }]) => (missing === false ? name : `${name} (skipped)`))
  t.comment(`${cases} cases x ${names.length} stores: ${names.join(', ')}`)
}
