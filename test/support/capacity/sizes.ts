/** How many bytes of index an object takes, by kind, in the embedded index and in PostgreSQL. Objects are put through a gateway. */
import { readdirSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createProfile } from '../../../lib/sse/profile.ts'
import { authenticateStore } from '../../../lib/gateway/index-key.ts'
import { LocalKms } from '../../../lib/kms/local/local.ts'
import { createSse } from '../../../lib/object/node.ts'
import { openBodyFiles } from '../../../lib/store/file/disk.ts'
import { openFileStore } from '../../../lib/store/file/store.ts'
import { openPostgresStore } from '../../../lib/store/postgres/store.ts'
import type { ObjectStore } from '../../../lib/store/store.ts'
import { Ends } from '../ends.ts'
import { admin, region, startGateway } from '../gateway.ts'
import { postgresMissing, startPostgres } from '../postgres.ts'

/** Bytes of index of one object. */
export interface SizeReport {
  readonly kind: string
  readonly embedded: number
  /** Left out where PostgreSQL is missing. */
  readonly postgres?: number | undefined
}

interface Kind {
  readonly name: string
  readonly size: number
  readonly headers: Readonly<Record<string, string>>
}

const kms = { 'x-amz-server-side-encryption': 'aws:kms' }
const bucketKey = { ...kms, 'x-amz-server-side-encryption-bucket-key-enabled': 'true' }

/** All kinds. */
export const sizeKinds: readonly Kind[] = [
  { name: 'plain, body of 100 KiB outside', size: 102_400, headers: {} },
  { name: 'SSE-KMS, body of 100 KiB outside', size: 102_400, headers: kms },
  { name: 'SSE-KMS with bucket key, body of 100 KiB outside', size: 102_400, headers: bucketKey },
  { name: 'SSE-S3, body of 100 KiB outside', size: 102_400, headers: { 'x-amz-server-side-encryption': 'AES256' } },
  { name: 'SSE-KMS, body of 1 KiB in the index', size: 1024, headers: kms },
  { name: 'SSE-KMS, body of 16 KiB in the index', size: 16_384, headers: kms },
]

/** A store, and how many bytes its index has. */
interface Measured {
  open(directory: string): Promise<ObjectStore>
  bytes(directory: string): Promise<number>
}

const bytesIn = (folder: string): number =>
  readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter(entry => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).blocks * 512, 0)

const embedded: Measured = {
  open: directory => openFileStore(directory, { sweepEvery: 0 }),
  bytes: async directory => bytesIn(join(directory, 'index')),
}

const inPostgres = async (ends: Ends): Promise<Measured> => {
  const server = await startPostgres()
  ends.teardown(() => server.close())
  const connection = await server.create()
  const sized = `SELECT sum(pg_total_relation_size(oid))::float8 AS bytes FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`
  return {
    open: directory =>
      openPostgresStore({ connection, bodies: () => openBodyFiles(join(directory, 'bodies')), sweepEvery: 0 }),
    bytes: async () => {
      await server.run(connection, 'VACUUM')
      const [row = {}] = await server.run(connection, sized)
      return 'bytes' in row ? Number(row.bytes) : Number.NaN
    },
  }
}

/** Puts so many objects of a kind into a fresh gateway, twice: what the second half added, for the first one finds an empty index. */
const measure = async ({ open, bytes }: Measured, { size, headers }: Kind, count: number): Promise<number> => {
  const ends = new Ends()
  try {
    const folder = await mkdtemp(join(tmpdir(), 'sizes-'))
    ends.teardown(() => rm(folder, { recursive: true, force: true }))
    const kms = await LocalKms.open(join(folder, 'keys'), { root: { key: new Uint8Array(32).fill(7) } })
    ends.teardown(() => kms.close())
    const sse = createSse({ kms, accept: [] })
    const store = await authenticateStore(await open(join(folder, 'objects')), { kms, sse, region })
    const options = { store, kms, sse, profile: createProfile('s3', { region, baseEncryption: 'none' }) }
    const gateway = await startGateway({ teardown: ends.teardown }, options)
    const put = async (path: string, sent = {}): Promise<void> => {
      const { status, text } = await gateway.signedFetch(admin, 'PUT', path, sent)
      if (status !== 200) throw new Error(`${path}: ${status} ${text}`)
    }
    await put('/photos')
    const body = Buffer.alloc(size, 1)
    const fill = async (from: number, to: number): Promise<void> => {
      let next = from
      const lane = async (): Promise<void> => {
        for (let i = next++; i < to; i = next++) {
          await put(`/photos/2026/11/28/picture-${String(i).padStart(8, '0')}.jpg`, { headers, body })
        }
      }
      await Promise.all(Array.from({ length: 16 }, lane))
    }
    await fill(0, count)
    const before = await bytes(join(folder, 'objects'))
    await fill(count, 2 * count)
    return ((await bytes(join(folder, 'objects'))) - before) / count
  } finally {
    await ends.run()
  }
}

/** Measures all kinds with so many objects. */
export const measureSizes = async (
  ends: Ends,
  count: number,
  say: (line: string) => void,
  kinds = sizeKinds,
): Promise<readonly SizeReport[]> => {
  const reports: SizeReport[] = []
  for (const kind of kinds) {
    const report = {
      kind: kind.name,
      embedded: await measure(embedded, kind, count),
      postgres: postgresMissing === false ? await measure(await inPostgres(ends), kind, count) : undefined,
    }
    say(
      `${kind.name}: ${Math.round(report.embedded)} bytes embedded, ${Math.round(report.postgres ?? NaN)} in PostgreSQL`,
    )
    reports.push(report)
  }
  return reports
}

/** The table, as Markdown: for a million objects. */
export const sizesTable = (reports: readonly SizeReport[]): string => {
  const gibibytes = (bytes: number | undefined): string =>
    bytes === undefined ? 'PostgreSQL is missing' : `${((bytes * 1e6) / 2 ** 30).toFixed(2)} GiB`
  return [
    '| a million objects | embedded index | PostgreSQL |',
    '| --- | --- | --- |',
    ...reports.map(({ kind, embedded, postgres }) => `| ${kind} | ${gibibytes(embedded)} | ${gibibytes(postgres)} |`),
  ].join('\n')
}
