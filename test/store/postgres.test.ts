/** What the store in PostgreSQL does where the database, the way to it, or another process fails. What every store does is in `store.test.ts`. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { SseError } from '../../lib/errors.ts'
import { openBodyFiles } from '../../lib/store/file/disk.ts'
import {
  openPostgresStore,
  type PostgresConnection,
  type PostgresStoreOptions,
} from '../../lib/store/postgres/store.ts'
import type { Bucket } from '../../lib/store/records.ts'
import { storeError } from '../../lib/store/postgres/failure.ts'
import type { ObjectStore } from '../../lib/store/store.ts'
import { postgresMissing, type PostgresServer, startPostgres } from '../support/postgres.ts'
import {
  assemble,
  bodyOf,
  bucketOf,
  filesBecome,
  filesIn,
  get,
  part,
  pattern,
  put,
  quickDirectory,
  record,
  upload,
} from '../support/store.ts'

const code = (name: string): { code: string } => ({ code: name })
const codeOf = (error: unknown): string => (error instanceof SseError ? error.code : String(error))
const facts = { owner: 'domain', region: 'sichuan', created: 1 }

interface Fresh {
  readonly server: PostgresServer
  readonly connection: PostgresConnection
  readonly directory: string
  readonly store: ObjectStore
  readonly b: Bucket
  /** Another store on the same database. */
  open(options?: Partial<PostgresStoreOptions>): Promise<ObjectStore>
}

const skip = { skip: postgresMissing }
const shared = postgresMissing === false ? startPostgres() : undefined
t.teardown(async () => (await shared)?.close())

const folderOf = (t: Test): string => {
  const above = quickDirectory()
  t.teardown(() => rmSync(above, { recursive: true }))
  return join(above, 'data')
}

const fresh = async (t: Test, options: Partial<PostgresStoreOptions> = {}, server = shared): Promise<Fresh> => {
  const directory = folderOf(t)
  const running = await server
  if (running === undefined) throw new Error('no server')
  const connection = await running.create()
  const open = async (more: Partial<PostgresStoreOptions> = {}): Promise<ObjectStore> => {
    const bodies = () => openBodyFiles(join(directory, 'bodies'))
    const store = await openPostgresStore({ connection, bodies, sweepEvery: 0, grace: 0, ...options, ...more })
    t.teardown(() => store.close())
    return store
  }
  const store = await open()
  return { server: running, connection, directory, store, b: await store.createBucket('b', facts), open }
}

/**
 * What becomes of what a client sends: it gets through; it is the last that gets through, and its answer finds nobody; the connection is cut
 * before it; or it is held back.
 */
type Fate = 'through' | 'last' | 'cut' | 'held'

/** A way to the server that looks at what clients send. */
const proxy = async (t: Test, to: number, fateOf: (sent: Buffer) => Fate): Promise<{ readonly port: number }> => {
  const sockets = new Set<Socket>()
  const listener = createServer(client => {
    const upstream = connect(to, '127.0.0.1')
    const cut = (): void => {
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', cut)
      socket.on('close', cut)
    }
    let isDeaf = false
    upstream.on('data', data => {
      if (!isDeaf) client.write(data)
    })
    client.on('data', (data: Buffer) => {
      const fate = fateOf(data)
      if (fate === 'cut') cut()
      else if (fate !== 'held') upstream.write(data)
      if (fate !== 'last') return
      isDeaf = true
      setTimeout(cut, 100)
    })
  }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.teardown(() => {
    listener.close()
    for (const socket of sockets) socket.destroy()
  })
  const address = listener.address()
  return { port: typeof address === 'object' && address !== null ? address.port : 0 }
}

const idOf = ([row]: readonly object[]): number => (row !== undefined && 'id' in row ? Number(row.id) : NaN)
const isCommit = (sent: Buffer): boolean => sent.includes('COMMIT\0')

t.test(
  'a connection that breaks once COMMIT is sent: the change is asked for, and answered as what it is',
  skip,
  async t => {
    const { server, connection, directory, store, b, open } = await fresh(t)
    let next: Fate = 'through'
    const { port } = await proxy(t, server.port, sent => {
      if (!isCommit(sent)) return 'through'
      const fate = next
      next = 'through'
      return fate
    })
    const far = await open({ connection: { ...connection, port } })
    for (const fate of ['last', 'cut'] as const) {
      for (const size of [10, 100_000]) {
        const bytes = pattern(size, size)
        const body = await bodyOf(far, bytes)
        next = fate
        const stored = await far.putObject(b, `${fate} ${size}`, record({ size }), body)
        t.equal(next, 'through', 'the connection was cut')
        t.same(await store.getObject(b.id, `${fate} ${size}`), stored)
        t.ok((await get(store, b, `${fate} ${size}`))?.equals(bytes))
      }
      const revision = (await store.getObject(b.id, `${fate} 10`))?.revision ?? ''
      next = fate
      // Once more, it would not find the object that it is to delete.
      t.equal(await far.deleteObject(b, `${fate} 10`, { revision }), true)
      t.equal(await store.getObject(b.id, `${fate} 10`), undefined)
    }
    t.equal(filesIn(directory).length, 2, 'no body was thrown away, none is left')
    t.match(await store.sweep(), { examined: 2, removed: 0 })
  },
)

t.test('where nobody can say what became of a commit, the body stays until it is known', skip, async t => {
  const { server, connection, directory, store, b, open } = await fresh(t)
  for (const fate of ['last', 'cut'] as const) {
    let isArmed = false
    let isGone = false
    const { port } = await proxy(t, server.port, sent => {
      if (isGone) return 'cut'
      if (!isArmed || !isCommit(sent)) return 'through'
      isGone = true
      return fate
    })
    const far = await open({ connection: { ...connection, port }, deadline: 2000 })
    const body = await bodyOf(far, pattern(100_000))
    isArmed = true
    await t.rejects(far.putObject(b, fate, record(), body), {
      ...code('StoreUnavailable'),
      message: /nobody knows whether the change happened/,
    })
    await body.discard()
    t.equal(filesIn(directory).length, fate === 'last' ? 1 : 2)
    isArmed = false
    isGone = false
    await far.sweep()
    t.ok(await filesBecome(directory, 1), 'the one that is an object')
    t.equal((await get(store, b, fate))?.equals(pattern(100_000)), fate === 'last' ? true : undefined)
  }
})

// A server that is killed forgets the numbers of transactions that left nothing on its disk, and gives them out again.
t.test('a commit that was lost with its server is not taken for another one of the same number', skip, async t => {
  const server = startPostgres({ fsync: 'on' })
  t.teardown(async () => (await server).close())
  const { server: running, connection, store, b, open } = await fresh(t, { deadline: 5000 }, server)
  let way: Fate = 'through'
  let reached = (): void => {}
  const held = new Promise<void>(resolve => {
    reached = resolve
  })
  const { port } = await proxy(t, running.port, sent => {
    if (way === 'held' && isCommit(sent)) reached()
    return way === 'held' && !isCommit(sent) ? 'through' : way
  })
  const far = await open({ connection: { ...connection, port } })
  const body = await bodyOf(far, pattern(10))
  running.holdWriters()
  way = 'held'
  const put = far.putObject(b, 'key', record(), body).then(
    () => 'acknowledged',
    (error: unknown) => error,
  )
  await held
  const underWay = 'SELECT backend_xid::text AS id FROM pg_stat_activity WHERE backend_xid IS NOT NULL'
  const lost = idOf(await running.run(connection, underWay))
  way = 'cut'
  await running.kill()
  await running.start()
  const another = async (): Promise<number> =>
    idOf(await running.run(connection, 'SELECT pg_current_xact_id()::text AS id'))
  let id = await another()
  t.ok(id <= lost, 'the number is free again')
  while (id < lost) id = await another()
  way = 'through'
  t.match(await put, { ...code('StoreUnavailable'), message: /nobody knows whether the change happened/ })
  t.equal(await store.getObject(b.id, 'key'), undefined)
})

t.test('a pool that is exhausted: requests wait, then StoreBusy, and it goes on', skip, async t => {
  const { server, connection, store, b, open } = await fresh(t)
  await put(store, b, 'k', pattern(10))
  const small = await open({ connections: 2, deadline: 500 })
  // Somebody holds the row of the bucket.
  const holding = server.run(connection, 'BEGIN; SELECT 1 FROM bucket FOR UPDATE; SELECT pg_sleep(4); COMMIT')
  await sleep(500)
  const results = await Promise.allSettled(Array.from({ length: 6 }, (_, i) => put(small, b, `k${i}`, pattern(10))))
  for (const result of results) t.match(result, { status: 'rejected', reason: code('StoreBusy') })
  t.equal((await get(store, b, 'k'))?.length, 10, 'reads go on')
  await holding
  await put(small, b, 'k', pattern(20))
  t.equal((await get(small, b, 'k'))?.length, 20)
  t.equal((await store.listObjects(b.id, { limit: 9 })).entries.length, 1, 'what was refused does not happen later')
})

t.test('a connection that breaks is unavailable, whatever its error is called', async t => {
  for (const code of ['EPIPE', 'ECONNRESET', 'ECONNREFUSED']) {
    t.match(storeError(Object.assign(new Error(`write ${code}`), { code })), { code: 'StoreUnavailable' }, code)
  }
  const told = (code: string): Error => Object.assign(new Error('told'), { code, severity: 'ERROR' })
  t.match(storeError(told('42601')), { code: 'StoreFailed' })
  t.match(storeError(told('57P01')), { code: 'StoreUnavailable' })
})

t.test('a server that is killed and started again under load loses nothing that was acknowledged', skip, async t => {
  const server = startPostgres({ fsync: 'on', full_page_writes: 'on' })
  t.teardown(async () => (await server).close())
  const { directory, store, b } = await fresh(t, { deadline: 5000 }, server)
  const stop = new AbortController()
  const done = new Map<string, { readonly sequence: number; readonly size: number }>()
  const maybe = new Map<string, number>()
  const failures = new Map<string, number>()
  const lane = async (name: string): Promise<void> => {
    for (let sequence = 1; !stop.signal.aborted; sequence++) {
      const size = sequence % 2 === 0 ? 100_000 : 500
      try {
        const notes = { parts: sequence }
        maybe.set(name, sequence)
        const body = await bodyOf(store, pattern(size, sequence))
        await store.putObject(b, name, record({ size, notes }), body)
        done.set(name, { sequence, size })
      } catch (error) {
        const code = codeOf(error)
        failures.set(code, (failures.get(code) ?? 0) + 1)
        if (code !== 'StoreUnavailable') t.comment(inspect(error))
        await sleep(20)
      }
    }
  }
  const lanes = ['a', 'b', 'c', 'd'].map(lane)
  await sleep(1000)
  const running = await server
  for (let i = 0; i < 2; i++) {
    await running.kill()
    await sleep(300)
    await running.start()
    await sleep(1500)
  }
  stop.abort()
  await Promise.all(lanes)
  t.strictSame([...failures.keys()], ['StoreUnavailable'], `${[...failures].join(' ')}`)
  for (const [name, { sequence }] of done) {
    const found = await store.getObject(b.id, name)
    const at = found?.notes.parts ?? 0
    t.ok(at >= sequence && at <= (maybe.get(name) ?? 0), `${name}: ${at}, acknowledged ${sequence}`)
    t.ok((await get(store, b, name))?.equals(pattern(at % 2 === 0 ? 100_000 : 500, at)), 'it is whole')
  }
  const large = [...done.keys()].map(async name => ((await store.getObject(b.id, name))?.storedSize ?? 0) > 66_560)
  const files = (await Promise.all(large)).filter(Boolean).length
  // What became of some commits is known later, and what a sweep in the background was at is left to the next one.
  for (let i = 0; i < 20 && filesIn(directory).length !== files; i++) await store.sweep().then(() => sleep(100))
  t.ok(await filesBecome(directory, files), `${files} files are left`)
})

const childOf = (t: Test, what: string, connection: PostgresConnection, directory: string) => {
  const path = fileURLToPath(new URL('../support/postgres-child.ts', import.meta.url))
  const argv = ['--import', 'tsx', path, what, JSON.stringify(connection), join(directory, 'bodies')]
  const env = { PATH: process.env['PATH'] }
  const child = spawn(process.execPath, argv, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  return { child, line: async (): Promise<string> => String((await lines.next()).value) }
}

t.test('processes that change one key at once: each change is made on top of the one before', skip, async t => {
  const { connection, directory, store, b } = await fresh(t)
  const children = [0, 1].map(() => childOf(t, 'count', connection, directory))
  for (const { line } of children) await line()
  for (const { line } of children) t.equal(await line(), 'counted')
  t.equal((await store.getObject(b.id, 'counter'))?.notes.parts, 80)
  t.ok(await filesBecome(directory, 1), 'and one body is left')
})

t.test('many processes open a new store at once: it is made once', skip, async t => {
  const connection = await (await shared)?.create()
  if (connection === undefined) throw new Error('no server')
  const directory = folderOf(t)
  const children = Array.from({ length: 5 }, () => childOf(t, 'open', connection, directory))
  const ids = await Promise.all(children.map(({ line }) => line()))
  t.equal(new Set(ids).size, 1)
  t.match(ids[0], /^opened [0-9a-f]{32}$/)
})

t.test('a database of an earlier version is made what this program knows', skip, async t => {
  const { server, connection, store, b, open } = await fresh(t)
  const stored = await store.putObject(b, 'key', record(), await bodyOf(store, pattern(10)))
  await store.close()
  const now = await server.run(connection, 'SELECT version FROM store')
  await server.run(connection, 'DROP TABLE incarnation; UPDATE store SET version = 1')
  t.same(await (await open()).getObject(b.id, 'key'), stored)
  t.same(await server.run(connection, 'SELECT version, (SELECT count(*)::int FROM incarnation) AS rows FROM store'), [
    { ...now[0], rows: 1 },
  ])
})

t.test('a database of a later version is refused, and left as it is', skip, async t => {
  const { server, connection, store, open } = await fresh(t)
  await store.close()
  await server.run(connection, 'UPDATE store SET version = 9')
  const message = /have version 9, this program knows \d+\. Use the version that wrote them/
  for (let i = 0; i < 2; i++) await t.rejects(open(), { ...code('StoreFailed'), message })
  t.same(await server.run(connection, 'SELECT version FROM store'), [{ version: 9 }])

  await server.run(connection, `ALTER DATABASE ${connection.database} SET synchronous_commit = off`)
  await t.rejects(open(), { ...code('StoreFailed'), message: /synchronous_commit/ })
  await server.run(connection, "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
  await t.rejects(open({ connection: { ...connection, database: 'latin' } }), {
    ...code('StoreFailed'),
    message: /encoding LATIN1/,
  })
  await t.rejects(open({ connection: { ...connection, database: 'none' } }), code('StoreFailed'))
  await t.rejects(open({ connection: { ...connection, port: 1 } }), code('StoreUnavailable'))
})

t.test('what a process that is gone was writing is swept away, and nothing of one that lives', skip, async t => {
  const { connection, directory, store, b } = await fresh(t, { patience: 2000 })
  const { child, line } = childOf(t, 'leave', connection, directory)
  await line()
  t.equal(await line(), 'left')
  await put(store, b, 'mine', pattern(100_000))
  const open = await store.createBody()
  open.writable.write(pattern(100_000))
  t.ok(await filesBecome(directory, 3))
  await sleep(3000)
  t.match(await store.sweep(), { examined: 3, removed: 0, abandoned: 0 }, 'the child lives')
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.match(await store.sweep(), { abandoned: 0 }, 'it has not been silent for long')
  let abandoned = 0
  for (let i = 0; i < 100 && abandoned === 0; i++) {
    await sleep(200)
    abandoned = (await store.sweep()).abandoned
  }
  t.equal(abandoned, 1)
  t.ok(await filesBecome(directory, 2), 'mine, and the one that is being written')
  open.writable.end()
  await once(open.writable, 'finish')
  await store.putObject(b, 'open', record(), open)
  t.ok((await get(store, b, 'open'))?.equals(pattern(100_000)))
})

t.test('a body whose process was taken for dead cannot be committed', skip, async t => {
  const { server, connection, store, b } = await fresh(t)
  const body = await bodyOf(store, pattern(100_000))
  await server.run(connection, 'DELETE FROM process')
  t.match(await store.sweep(), { abandoned: 1, removed: 1 })
  await t.rejects(store.putObject(b, 'k', record(), body), { ...code('StoreFailed'), message: /swept away/ })
  t.equal(await store.getObject(b.id, 'k'), undefined)
})

t.test('one process sweeps at a time; several collect garbage, each its own', skip, async t => {
  const { server, connection, directory, store, b, open } = await fresh(t, { grace: 3_600_000 })
  const others = [await open(), await open()]
  await assemble(
    store,
    b,
    'k',
    Array.from({ length: 60 }, (_, i) => pattern(9, i)),
  )
  await store.deleteObject(b, 'k')
  t.match(await store.sweep(), { examined: 60, removed: 0 }, 'kept for the grace time')
  await server.run(connection, "UPDATE garbage SET due = due - interval '1 hour'")
  const reports = await Promise.all([store, ...others].map(each => each.sweep()))
  t.equal(
    reports.reduce((sum, { removed }) => sum + removed, 0),
    60,
  )
  t.same(filesIn(directory), [])
  t.same(await server.run(connection, 'SELECT id FROM garbage'), [])
})

t.test('the uploads of a bucket whose deletion was interrupted go with the sweep', skip, async t => {
  const { server, connection, directory, store, b } = await fresh(t)
  await store.createUpload(b, 'k', upload('u'))
  await store.putPart(b, 'k', 'u', part(1, '1'), await bodyOf(store, pattern(10)))
  await server.run(connection, 'DELETE FROM bucket')
  await store.sweep()
  t.ok(await filesBecome(directory, 0))
  t.same(await server.run(connection, 'SELECT serial FROM upload'), [])
})

t.test('no statement and no value of one is in an error', skip, async t => {
  const { server, connection, store, b } = await fresh(t)
  await server.run(connection, 'ALTER TABLE object RENAME COLUMN etag TO gone')
  const error = await put(store, b, 'a secret key', pattern(1)).catch((error: unknown) => error)
  t.match(error, {
    ...code('StoreFailed'),
    message: 'The database refused a statement. Look at the cause on the server.',
  })
  t.notMatch(JSON.stringify([String(error), { ...Object(error) }]), /SELECT|INSERT|secret/)
  await server.run(connection, 'ALTER TABLE object RENAME COLUMN gone TO etag')
  await put(store, b, 'a secret key', pattern(1))
})

t.test('names with a NUL are kept where they may be, and looked for everywhere', skip, async t => {
  const { store, b } = await fresh(t)
  t.equal(await store.getBucket('a\0b'), undefined)
  await t.rejects(store.createBucket('a\0b', facts), TypeError)
  await put(store, b, 'a\0b', pattern(1), { headers: { 'x-amz-meta-a': '\0' }, notes: { tags: [['\0', '\0']] } })
  t.match(await store.getObject(b.id, 'a\0b'), { headers: { 'x-amz-meta-a': '\0' }, notes: { tags: [['\0', '\0']] } })
  t.equal(await store.getUpload(b.id, 'k', '\0'), undefined)
  t.same((await store.listUploads(b.id, { keyAfter: 'a', idAfter: '\0', limit: 1 })).uploads, [])
})

t.test('every reference between tables has an index: a body is deleted without reading all objects', skip, async t => {
  const { server, connection } = await fresh(t)
  const references = `SELECT conrelid::regclass::text AS name FROM pg_constraint c WHERE contype = 'f'`
  t.equal((await server.run(connection, references)).length, 2)
  const index = 'SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1]'
  t.same(await server.run(connection, `${references} AND NOT EXISTS (${index})`), [])
})

t.test('a body that fails on its way leaves nothing', skip, async t => {
  const { directory, store, b } = await fresh(t)
  const body = await store.createBody()
  const source = Readable.from(
    (async function* () {
      yield pattern(100_000)
      throw new Error('the client left')
    })(),
  )
  await t.rejects(pipeline(source, body.writable), { message: 'the client left' })
  await t.rejects(store.putObject(b, 'k', record(), body), TypeError)
  t.ok(await filesBecome(directory, 0))
  t.equal((await bucketOf(store, 'b')).id, b.id)
})
