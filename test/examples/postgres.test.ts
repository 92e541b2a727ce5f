import { rmSync } from 'node:fs'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { openBodyFiles } from '../../lib/store.ts'
import { openPostgresStore } from '../../lib/store/postgres/store.ts'
import { postgresMissing, startPostgres } from '../support/postgres.ts'
import { quickDirectory } from '../support/store.ts'

t.test('a store in PostgreSQL', { skip: postgresMissing }, async t => {
  const server = await startPostgres()
  const folder = quickDirectory()
  t.teardown(async () => {
    await server.close()
    rmSync(folder, { recursive: true })
  })
  const { host, port, user, database } = await server.create()
  process.env['DATABASE'] = `postgres://${user}@${host}:${port}/${database}`
  process.chdir(folder)
  // #region store
  const store = await openPostgresStore({
    connection: { connectionString: process.env['DATABASE'] ?? 'postgres://gateway@db.example.com/objects' },
    bodies: id => openBodyFiles(`./bodies-${id}`), // a folder that all gateways share
  })
  const photos = await store.createBucket('photos', { owner: 'my-tenant', region: 'sichuan', created: Date.now() })

  const body = await store.createBody()
  await pipeline(['miau'], body.writable)
  const said = { size: 4, etag: 'e', kind: 'plain', headers: {}, notes: {}, owner: 'my-tenant' } as const
  await store.putObject(photos, 'cat.txt', { ...said, modified: Date.now() }, body) // durable now, seen by every gateway
  // #endregion store
  const opened = await store.openObject(photos.id, 'cat.txt')
  t.equal((await buffer(opened?.body.read() ?? Readable.from([]))).toString(), 'miau')
  await opened?.body.close()
  await store.close()
})
