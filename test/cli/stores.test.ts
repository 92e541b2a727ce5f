/**
 * Where objects live, by configuration: bodies in S3-compatible storage (here: a second gateway) under an embedded index, and an index in
 * PostgreSQL that two servers share, with a key manager both reach. One of them is killed, and nothing that was acknowledged is lost.
 */
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { cli } from '../support/cli.ts'
import { postgresMissing, startPostgres } from '../support/postgres.ts'
import { type DemoUser, type RunningServer, startServer } from '../support/server.ts'
import { startVault } from '../support/vault.ts'

const clientOf = (t: Test, { url, region }: RunningServer, { accessKeyId, secretAccessKey }: DemoUser): S3Client => {
  const credentials = { accessKeyId, secretAccessKey }
  const client = new S3Client({ endpoint: url, region, forcePathStyle: true, maxAttempts: 1, credentials })
  t.teardown(() => client.destroy())
  return client
}

const configFile = (folder: string, name: string, content: object): string => {
  const file = join(folder, name)
  writeFileSync(file, JSON.stringify(content))
  return file
}

/** An upstream for bodies, and the entry that names it. */
const startUpstream = async (t: Test, folder: string) => {
  const upstream = await startServer(join(folder, 'upstream'), ['--profile', 's3'])
  t.teardown(() => upstream.stop())
  const { accessKeyId, secretAccessKey } = upstream.admin
  const s3 = clientOf(t, upstream, upstream.admin)
  await s3.send(new CreateBucketCommand({ Bucket: 'bodies' }))
  const secret = join(folder, 'upstream-secret')
  writeFileSync(secret, secretAccessKey)
  const { url: endpoint, region } = upstream
  const entry = {
    bucket: 'bodies',
    prefix: 'gateway',
    endpoint,
    region,
    accessKeyId,
    secretAccessKey: { file: secret },
  }
  const count = async (): Promise<number> =>
    (await s3.send(new ListObjectsV2Command({ Bucket: 'bodies', Prefix: 'gateway/' }))).KeyCount ?? 0
  return { upstream, entry, count }
}

const kmsHeaders = { ServerSideEncryption: 'aws:kms' } as const
const read = async (s3: S3Client, Key: string): Promise<Buffer> => {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: 'photos', Key }))
  return Buffer.from((await Body?.transformToByteArray()) ?? [])
}

t.test('bodies in S3 under an embedded index', async t => {
  const folder = t.testdir()
  const { upstream, entry, count } = await startUpstream(t, folder)
  const config = configFile(folder, 'sse-kms.json', { store: { bodies: { s3: entry } } })
  const data = join(folder, 'data')
  let server = await startServer(data, ['--config', config])
  t.teardown(() => server.stop())
  let s3 = clientOf(t, server, server.admin)
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  const [small, large] = [randomBytes(1000), randomBytes(300_000)]
  await s3.send(new PutObjectCommand({ Bucket: 'photos', Key: 'small', Body: small, ...kmsHeaders }))
  t.equal(await count(), 0, 'a small body lies in the index')
  await s3.send(new PutObjectCommand({ Bucket: 'photos', Key: 'large', Body: large, ...kmsHeaders }))
  t.equal(await count(), 1)
  await server.stop()
  server = await startServer(data, ['--config', config])
  s3 = clientOf(t, server, server.admin)
  t.ok((await read(s3, 'small')).equals(small))
  t.ok((await read(s3, 'large')).equals(large))
  await upstream.stop()
  t.ok((await read(s3, 'small')).equals(small), 'the storage is away, and what lies in the index is read')
  await t.rejects(read(s3, 'large'), { name: 'ServiceUnavailable' })
  const put = new PutObjectCommand({ Bucket: 'photos', Key: 'large', Body: randomBytes(300_000), ...kmsHeaders })
  await t.rejects(s3.send(put), { name: 'ServiceUnavailable' })
})

t.test('two servers over one index in PostgreSQL, one of which is killed', { skip: postgresMissing }, async t => {
  const folder = t.testdir()
  const { entry } = await startUpstream(t, folder)
  const postgres = await startPostgres()
  t.teardown(() => postgres.close())
  const { connectionString, host, port, user, database } = await postgres.create()
  const url = connectionString ?? `postgres://${user}@${host}:${port}/${database}`
  const { vault, kms } = await startVault()
  t.teardown(async () => {
    await kms.close?.()
    await vault.stop()
  })
  const { address, roleId, secretId } = vault
  const ann = { name: 'ann', accessKeyId: 'AKANN', secretAccessKey: 'secret-of-ann', roles: ['tenant_admin'] }
  const content = {
    tenants: [{ domainId: 'domain1', projectId: 'project1', users: [ann] }],
    kms: [{ provider: 'vault', instance: 'vault-main', address, auth: { method: 'approle', roleId, secretId } }],
    store: { index: { postgres: { url } }, bodies: { s3: entry } },
  }
  const config = configFile(folder, 'fleet.json', content)
  const [one, two] = await Promise.all(
    ['1', '2'].map(workers => startServer(join(folder, workers), ['--config', config, '--workers', workers])),
  )
  if (one === undefined || two === undefined) throw new TypeError('two servers')
  t.teardown(() => Promise.all([one.stop('SIGKILL'), two.stop()]))
  const [a, b] = [clientOf(t, one, ann), clientOf(t, two, ann)]
  await a.send(new CreateBucketCommand({ Bucket: 'photos' }))
  const bodies = new Map(
    Array.from({ length: 20 }, (_, i) => [`object-${i}`, randomBytes(i % 2 === 0 ? 500 : 100_000)]),
  )
  const keys = await Promise.all(
    [...bodies].map(([Key, Body], i) =>
      (i % 2 === 0 ? a : b).send(new PutObjectCommand({ Bucket: 'photos', Key, Body, ...kmsHeaders })),
    ),
  )
  t.equal(new Set(keys.map(({ SSEKMSKeyId }) => SSEKMSKeyId)).size, 1, 'both make one default key')

  const named = { Bucket: 'photos', Key: 'parts' }
  const { UploadId } = await a.send(new CreateMultipartUploadCommand({ ...named, ...kmsHeaders }))
  const Parts: { PartNumber: number; ETag: string | undefined }[] = []
  const parts = [randomBytes(200_000), randomBytes(100)]
  for (const [i, Body] of parts.entries()) {
    const { ETag } = await (i === 0 ? a : b).send(
      new UploadPartCommand({ ...named, UploadId, PartNumber: i + 1, Body }),
    )
    Parts.push({ PartNumber: i + 1, ETag })
  }
  await one.stop('SIGKILL')
  await b.send(new CompleteMultipartUploadCommand({ ...named, UploadId, MultipartUpload: { Parts } }))
  t.ok((await read(b, 'parts')).equals(Buffer.concat(parts)), 'an upload of both is completed by the one that is left')
  for (const [key, body] of bodies) t.ok((await read(b, key)).equals(body), key)
})

t.test('what a configuration may not say of the store', async t => {
  const folder = t.testdir()
  mkdirSync(join(folder, 'data'))
  const refused = async (store: unknown, problem: string | RegExp): Promise<void> => {
    const config = configFile(folder, 'sse-kms.json', { store })
    t.match(await cli(['serve', '--data', join(folder, 'data'), '--config', config]), { code: 2, stderr: problem })
  }
  await refused({ bodies: 'disk' }, 'store.bodies: expected "files" or { "s3": { … } }')
  await refused({ index: 'lmdb' }, 'store.index: expected "embedded" or { "postgres": { … } }')
  await refused({ graceSeconds: 1 }, 'store.graceSeconds: expected a whole number from 60')
  await refused({ bodies: { s3: { bucket: 'b', accessKeyId: 'a' } } }, 'given both or not at all')
  await refused({ index: { postgres: { url: 'mysql://x' } } }, 'store.index.postgres.url: expected postgres://')
  await refused({ index: { postgres: { url: { environment: 'NOT_SET' } } } }, 'NOT_SET is not set')
})
