/** What a page of a listing reads in PostgreSQL: what it shows, however much lies below its common prefixes. As the server itself counts it. */
import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openBodyFiles } from '../../lib/store/file/disk.ts'
import { openPostgresStore } from '../../lib/store/postgres/store.ts'
import type { ObjectListing, ObjectStore } from '../../lib/store/store.ts'
import { postgresMissing, startPostgres } from '../support/postgres.ts'
import { put, quickDirectory } from '../support/store.ts'

const facts = { owner: 'domain', region: 'sichuan', created: 1 }
const limit = 1000
const prefixes = 5000

t.test('a page reads what it shows, however much lies below its prefixes', { skip: postgresMissing }, async t => {
  const server = await startPostgres()
  t.teardown(() => server.close())
  const folder = quickDirectory()
  t.teardown(() => rmSync(folder, { recursive: true }))
  const connection = await server.create()

  const using = async <T>(run: (store: ObjectStore) => Promise<T>): Promise<T> => {
    const store = await openPostgresStore({ connection, bodies: () => openBodyFiles(folder), sweepEvery: 0 })
    try {
      return await run(store)
    } finally {
      await store.close()
    }
  }
  /** Rows and entries of indexes of objects that were read so far. A session has told all of its own when it is gone. */
  const rowsRead = async (): Promise<number> => {
    const others = 'SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()'
    while ((await server.run(connection, `${others} AND backend_type = 'client backend'`)).length > 0) await sleep(20)
    const counted = `SELECT (seq_tup_read + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'object'))::int AS rows
      FROM pg_stat_user_tables WHERE relname = 'object'`
    const [row = {}] = await server.run(connection, counted)
    return 'rows' in row && typeof row.rows === 'number' ? row.rows : Number.NaN
  }
  const costOf = async (list: (store: ObjectStore) => Promise<ObjectListing>) => {
    const before = await rowsRead()
    const page = await using(list)
    return { page, read: (await rowsRead()) - before }
  }

  const bucket = await using(async store => {
    const made = await store.createBucket('photos', facts)
    await put(store, made, 'a-model', Buffer.from('miau'))
    return made
  })
  /** Puts copies of one row below every prefix. */
  const fill = async (from: number, to: number): Promise<void> => {
    const columns =
      'size, stored_size, etag, modified, kind, key_id, headers, notes, owner, revision, envelope, sealed_values, part_values, mac, body_id'
    await server.run(
      connection,
      `INSERT INTO object (bucket_id, key, ${columns})
       SELECT bucket_id, convert_to(format('p%s/%s', lpad(p::text, 5, '0'), lpad(n::text, 5, '0')), 'UTF8'), ${columns}
       FROM object, generate_series(1, ${prefixes}) p, generate_series(${from}, ${to}) n
       WHERE key = 'a-model'`,
    )
    await server.run(connection, 'VACUUM ANALYZE object')
  }
  const folded = (store: ObjectStore) => store.listObjects(bucket.id, { delimiter: '/', prefix: 'p', limit })
  const flat = (store: ObjectStore) => store.listObjects(bucket.id, { prefix: 'p', limit })
  const inside = (store: ObjectStore) =>
    store.listObjects(bucket.id, { delimiter: '/', prefix: 'p', after: 'p02500/00007', limit })

  for (const [from, to] of [
    [1, 5],
    [6, 20],
  ] as const) {
    await fill(from, to)
    for (const [name, list, shown] of [
      ['folded', folded, 'prefixes'],
      ['folded, from a marker within a prefix', inside, 'prefixes'],
      ['flat', flat, 'entries'],
    ] as const) {
      const { page, read } = await costOf(list)
      const what = `${name}, ${to} objects below each of ${prefixes} prefixes: ${read} rows`
      t.equal(page[shown].length, limit, what)
      t.equal(page.truncated, true, what)
      t.ok(read >= limit && read <= 3 * limit, what)
    }
  }
})
