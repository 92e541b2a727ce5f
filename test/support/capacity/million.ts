/**
 * Many objects in PostgreSQL, under so many common prefixes: what a put and a page of a listing take through a gateway, what memory the gateway has,
 * and how the database finds a page. The rows are copies of one that the gateway wrote.
 */
import { CreateBucketCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { listObjects } from '../../../lib/store/postgres/listing.ts'
import type { Ends } from '../ends.ts'
import { type PostgresServer, startPostgres } from '../postgres.ts'
import { type RunningServer, startServer } from '../server.ts'

/** What was measured. Times are milliseconds, the median of several. */
export interface MillionReport {
  readonly objects: number
  readonly prefixes: number
  /** Seconds to make the rows, and bytes of tables and indexes. */
  readonly seconds: number
  readonly bytes: number
  readonly times: Readonly<Record<string, number>>
  /** Resident bytes of the gateway, when it has started and in the end. */
  readonly memory: { readonly started: number; readonly ended: number }
  /** Plans of a page of 1,000 common prefixes and of a page of 1,000 keys. */
  readonly plans: Readonly<Record<string, string>>
}

const bucket = 'photos'
const page = 1000

const residentOf = ({ process: { pid } }: RunningServer): number => {
  const [, kibibytes = '0'] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kibibytes) * 1024
}

const median = async (times: number, work: (i: number) => Promise<unknown>): Promise<number> => {
  const all: number[] = []
  for (let i = 0; i < times; i++) {
    const began = performance.now()
    await work(i)
    all.push(performance.now() - began)
  }
  return all.sort((a, b) => a - b)[times >> 1] ?? 0
}

const fieldOf = (rows: readonly object[], name: string): string =>
  String(new Map<string, unknown>(Object.entries(rows[0] ?? {})).get(name))

/** The plan of the page that a store asks for, run once. */
const planOf = async (
  postgres: PostgresServer,
  connection: Awaited<ReturnType<PostgresServer['create']>>,
  bucketId: string,
  delimiter: string | undefined,
): Promise<string> => {
  let plan = ''
  const session = {
    query: async (asked: { readonly text: string }, ...values: readonly unknown[]) => {
      const lines = await postgres.run(
        connection,
        `EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) ${asked.text}`,
        values,
      )
      plan = lines.map(line => Object.values(line).join('')).join('\n')
      return []
    },
  }
  await listObjects(session, bucketId, { delimiter, limit: page }).catch(() => undefined)
  return plan
}

/** Makes the rows, and measures. */
export const measureMillion = async (
  ends: Ends,
  {
    objects,
    prefixes,
    say,
  }: { readonly objects: number; readonly prefixes: number; readonly say: (line: string) => void },
): Promise<MillionReport> => {
  const folder = await mkdtemp(join(tmpdir(), 'capacity-'))
  ends.teardown(() => rm(folder, { recursive: true, force: true }))
  const postgres = await startPostgres({
    fsync: 'on',
    full_page_writes: 'on',
    shared_buffers: '256MB',
    max_wal_size: '4GB',
  })
  ends.teardown(() => postgres.close())
  const connection = await postgres.create()
  const { user, port, database } = connection
  const ann = { accessKeyId: 'AKANN', secretAccessKey: 'secret-of-ann' }
  const users = [{ name: 'ann', ...ann, roles: ['tenant_admin'] }]
  const config = join(folder, 'sse-kms.json')
  const url = `postgres://${String(user)}@127.0.0.1:${String(port)}/${String(database)}`
  writeFileSync(
    config,
    JSON.stringify({
      profile: 's3',
      tenants: [{ domainId: 'domain1', projectId: 'project1', users }],
      store: { index: { postgres: { url } } },
    }),
  )
  const server = await startServer(join(folder, 'data'), ['--config', config])
  ends.teardown(() => server.stop())
  const s3 = new S3Client({ endpoint: server.url, region: server.region, forcePathStyle: true, credentials: ann })
  ends.teardown(() => s3.destroy())
  const put = (Key: string, size = 1024): Promise<unknown> =>
    s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body: Buffer.alloc(size), ServerSideEncryption: 'aws:kms' }))
  const list = async (Delimiter: string | undefined, StartAfter?: string): Promise<void> => {
    const { KeyCount } = await s3.send(new ListObjectsV2Command({ Bucket: bucket, Delimiter, StartAfter }))
    if (KeyCount !== Math.min(page, Delimiter === undefined ? objects : prefixes))
      throw new Error(`a page of ${KeyCount}`)
  }
  await s3.send(new CreateBucketCommand({ Bucket: bucket }))
  await put('zz-model')
  const started = residentOf(server)

  say(`${objects.toLocaleString('en')} rows under ${prefixes.toLocaleString('en')} prefixes`)
  const columns =
    'size, stored_size, etag, modified, kind, key_id, key_version, headers, notes, owner, revision, envelope, sealed_values, part_values, mac'
  const known = await postgres.run(
    connection,
    "SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'object'",
  )
  const names = columns
    .split(', ')
    .filter(name => known.some(row => 'name' in row && row.name === name))
    .join(', ')
  const begun = performance.now()
  // A body of its own for each, as the store makes it.
  await postgres.run(
    connection,
    `SET synchronous_commit = off;
     INSERT INTO body (id, form, size, refs, bytes)
     SELECT lpad(to_hex(n), 32, '0'), body.form, body.size, 1, body.bytes
     FROM object JOIN body ON body.id = body_id, generate_series(1, ${objects}) n WHERE key = 'zz-model';
     INSERT INTO object (bucket_id, key, body_id, ${names})
     SELECT bucket_id, convert_to(format('p%s/%s', lpad((n % ${prefixes})::text, 7, '0'), lpad(n::text, 9, '0')), 'UTF8'),
       lpad(to_hex(n), 32, '0'), ${names}
     FROM object, generate_series(1, ${objects}) n WHERE key = 'zz-model';
     ANALYZE`,
  )
  await postgres.run(connection, 'VACUUM')
  const seconds = (performance.now() - begun) / 1000
  const sized =
    "SELECT sum(pg_total_relation_size(oid))::bigint AS bytes FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
  const bytes = Number(fieldOf(await postgres.run(connection, sized), 'bytes'))
  say('measures')
  const times = {
    'PUT 1 KiB': await median(50, i => put(`q/${i}`)),
    'page of 1,000 keys': await median(9, () => list(undefined)),
    'page of 1,000 keys, from the middle': await median(9, () =>
      list(undefined, `p${String(prefixes >> 1).padStart(7, '0')}`),
    ),
    'page of 1,000 common prefixes': await median(9, () => list('/')),
  }
  const bucketId = fieldOf(await postgres.run(connection, 'SELECT id FROM bucket'), 'id')
  const plans = {
    'common prefixes': await planOf(postgres, connection, bucketId, '/'),
    keys: await planOf(postgres, connection, bucketId, undefined),
  }
  return { objects, prefixes, seconds, bytes, times, memory: { started, ended: residentOf(server) }, plans }
}
