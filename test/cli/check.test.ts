/** `sse-kms check` beside servers that run: one machine under load, and an index in PostgreSQL with bodies in S3-compatible storage. */
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { cli } from '../support/cli.ts'
import { postgresMissing, startPostgres } from '../support/postgres.ts'
import { type DemoUser, type RunningServer, startServer } from '../support/server.ts'
import { filesIn } from '../support/store.ts'

const clientOf = (t: Test, { url, region }: RunningServer, { accessKeyId, secretAccessKey }: DemoUser): S3Client => {
  const credentials = { accessKeyId, secretAccessKey }
  const client = new S3Client({ endpoint: url, region, forcePathStyle: true, maxAttempts: 1, credentials })
  t.teardown(() => client.destroy())
  return client
}

const Bucket = 'photos'
const kms = { ServerSideEncryption: 'aws:kms' } as const
const customerKey = Buffer.alloc(32, 5)
const sseC = {
  SSECustomerAlgorithm: 'AES256',
  SSECustomerKey: customerKey.toString('base64'),
  SSECustomerKeyMD5: createHash('md5').update(customerKey).digest('base64'),
}

const upload = async (s3: S3Client, Key: string, parts: readonly Buffer[], complete = true): Promise<void> => {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ...kms }))
  const Parts = []
  for (const [i, Body] of parts.entries()) {
    const part = { Bucket, Key, UploadId, PartNumber: i + 1, Body }
    Parts.push({ PartNumber: i + 1, ETag: (await s3.send(new UploadPartCommand(part))).ETag })
  }
  const completion = { Bucket, Key, UploadId, MultipartUpload: { Parts } }
  if (complete) await s3.send(new CompleteMultipartUploadCommand(completion))
}

const pathOf = (data: string, id: string): string => join(data, 'objects', 'bodies', id.slice(0, 2), id)

/** The body file that something adds. */
const added = async (data: string, work: () => Promise<unknown>): Promise<string> => {
  const before = new Set(filesIn(join(data, 'objects')))
  await work()
  const [id = ''] = filesIn(join(data, 'objects')).filter(name => !before.has(name))
  return id
}

t.test(
  'a server that writes: no false alarm; then what is damaged is told, and mended as far as it may be',
  async t => {
    const data = t.testdir()
    const server = await startServer(data, ['--profile', 's3'])
    t.teardown(() => server.stop())
    const s3 = clientOf(t, server, server.admin)
    const put = (Key: string, size: number, more: object = kms) =>
      s3.send(new PutObjectCommand({ Bucket, Key, Body: randomBytes(size), ...more }))
    await s3.send(new CreateBucketCommand({ Bucket }))
    await put('small', 100)
    await put('plain', 200_000, {})
    await put('s3', 200_000, { ServerSideEncryption: 'AES256' })
    await put('customer', 200_000, sseC)
    await put('bucket-key', 200_000, { ...kms, BucketKeyEnabled: true })
    const demo: { readonly tenants: readonly { readonly domainId: string }[] } = JSON.parse(
      readFileSync(join(data, 'demo.json'), 'utf8'),
    )
    const domain = demo.tenants[0]?.domainId ?? ''
    const made = await cli(['keys', 'create', '--data', data, '--region', server.region, '--domain', domain])
    await put('own-key', 100_000, { ...kms, SSEKMSKeyId: made.stdout.toString().trim() })
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/s3` }))
    await upload(s3, 'parts', [randomBytes(5 * 1024 * 1024), randomBytes(100)])
    await upload(s3, 'open', [randomBytes(100_000)], false)
    const check = (...more: string[]) => cli(['check', '--data', data, '--profile', 's3', ...more])

    const stop = new AbortController()
    const load = async (n: number): Promise<void> => {
      for (let i = 0; !stop.signal.aborted; i++) {
        const Key = `load-${(n + i) % 5}`
        if (i % 4 === 0) await s3.send(new DeleteObjectCommand({ Bucket, Key }))
        else if (i % 4 === 1) await upload(s3, Key, [randomBytes(90_000)])
        else await put(Key, 100_000)
      }
    }
    const loads = [load(0)]
    try {
      for (const more of [[], ['--deep']]) {
        const { code, stdout, stderr } = await check(...more)
        t.match([code, stderr], [0, ''], stdout.toString())
      }
    } finally {
      stop.abort()
      await Promise.all(loads)
    }
    const sound = await check('--deep', '--bucket', Bucket)
    t.equal(sound.code, 0)
    t.match(
      sound.stdout.toString(),
      /^looked at 1 bucket, \d+ objects, 1 open upload, 1 part, \d+ body files; opened \d+ objects; 1 object cannot be opened without the customer's key\n$/,
    )

    const lost = await added(data, () => put('lost', 300_000))
    const rotten = await added(data, () => put('rotten', 300_000))
    rmSync(pathOf(data, lost))
    const bytes = readFileSync(pathOf(data, rotten))
    bytes[200_000] = (bytes[200_000] ?? 0) ^ 1
    writeFileSync(pathOf(data, rotten), bytes)
    const orphan = 'ab'.repeat(16)
    writeFileSync(pathOf(data, orphan), 'nobody')
    const lines = (text: Buffer): readonly string[] => text.toString().trimEnd().split('\n')
    const found = await check('--deep')
    t.equal(found.code, 4)
    t.match(found.stderr, /^sse-kms: 3 faults found, 0 mended\. docs\/operations\.md says/)
    t.match(lines(found.stdout), [
      `missing: photos/lost: its body file ${lost} is missing`,
      /^unreadable: photos\/rotten: it cannot be opened: NotAuthentic: /,
      `orphan: no row refers to the body file ${orphan} of 6 bytes`,
      /^looked at /,
    ])
    t.equal((await check()).stdout.toString().includes('rotten'), false, 'sizes alone do not tell')
    t.ok(existsSync(pathOf(data, orphan)))

    const json = await check('--deep', '--repair', '--json')
    t.equal(json.code, 4)
    const report: { readonly objects: number; readonly findings: readonly object[] } = JSON.parse(
      json.stdout.toString(),
    )
    t.match(report.findings, [
      { what: 'missing', bucket: 'photos', key: 'lost', body: lost, mended: false },
      { what: 'unreadable', key: 'rotten', mended: false },
      { what: 'orphan', body: orphan, mended: true },
    ])
    t.notOk(existsSync(pathOf(data, orphan)))
    for (const Key of ['lost', 'rotten']) await s3.send(new DeleteObjectCommand({ Bucket, Key }))
    const again = await check('--deep', '--repair')
    t.match([again.code, again.stderr], [0, ''])

    const resumed = await check('--start-after', 'photos/parts')
    t.match(resumed.stdout.toString(), /looked at 1 bucket, 3 objects/, 'plain, s3, small')
    const interrupt = new AbortController()
    interrupt.abort()
    t.equal((await cli(['check', '--data', data], { signal: interrupt.signal })).code, 130)
    t.match(await check('--start-after', 'photos'), { code: 2, stderr: /--start-after needs BUCKET\/KEY/ })
    t.match(await cli(['check', '--data', join(data, 'none')]), { code: 1, stderr: /There is no store in/ })
    t.notOk(existsSync(join(data, 'none')), 'nothing was made')
  },
)

t.test('an index in PostgreSQL, bodies in S3-compatible storage', { skip: postgresMissing }, async t => {
  const folder = t.testdir()
  const upstream = await startServer(join(folder, 'upstream'), ['--profile', 's3'])
  t.teardown(() => upstream.stop())
  const below = clientOf(t, upstream, upstream.admin)
  await below.send(new CreateBucketCommand({ Bucket: 'bodies' }))
  const secret = join(folder, 'secret')
  writeFileSync(secret, upstream.admin.secretAccessKey)
  const postgres = await startPostgres()
  t.teardown(() => postgres.close())
  const { connectionString, host, port, user, database } = await postgres.create()
  const url = connectionString ?? `postgres://${user}@${host}:${port}/${database}`
  const { url: endpoint, region } = upstream
  const s3 = {
    bucket: 'bodies',
    endpoint,
    region,
    accessKeyId: upstream.admin.accessKeyId,
    secretAccessKey: { file: secret },
  }
  const config = join(folder, 'sse-kms.json')
  const data = join(folder, 'data')
  writeFileSync(config, JSON.stringify({ data, store: { index: { postgres: { url } }, bodies: { s3 } } }))
  const server = await startServer(data, ['--config', config])
  t.teardown(() => server.stop())
  const client = clientOf(t, server, server.admin)
  await client.send(new CreateBucketCommand({ Bucket }))
  for (const [Key, size] of [
    ['a', 100],
    ['b', 100_000],
    ['c', 100_000],
  ] as const) {
    await client.send(new PutObjectCommand({ Bucket, Key, Body: randomBytes(size), ...kms }))
  }
  await upload(client, 'open', [randomBytes(90_000)], false)
  const check = (...more: string[]) => cli(['check', '--config', config, ...more])
  const sound = await check('--deep')
  t.match([sound.code, sound.stderr], [0, ''])
  t.match(
    sound.stdout.toString(),
    /looked at 1 bucket, 3 objects, 1 open upload, 1 part, 3 body files; opened 3 objects\n/,
  )

  const { Contents = [] } = await below.send(new ListObjectsV2Command({ Bucket: 'bodies' }))
  const [one] = Contents.toSorted((x, y) => (y.Size ?? 0) - (x.Size ?? 0))
  const Key = one?.Key ?? ''
  const storeId = Key.split('/').at(-2) ?? ''
  await below.send(new DeleteObjectCommand({ Bucket: 'bodies', Key }))
  const orphan = 'cd'.repeat(16)
  await below.send(new PutObjectCommand({ Bucket: 'bodies', Key: `${storeId}/${orphan}`, Body: 'nobody' }))
  const begun = 'ef'.repeat(16)
  await below.send(new CreateMultipartUploadCommand({ Bucket: 'bodies', Key: `${storeId}/${begun}` }))
  const found = await check('--repair')
  t.equal(found.code, 4)
  t.match(found.stdout.toString(), new RegExp(`missing: photos/[bc]: its body file ${Key.slice(-32)} is missing`))
  t.match(found.stdout.toString(), `orphan: the body ${begun} was begun and is nobody's (mended)`)
  t.match(found.stdout.toString(), `orphan: no row refers to the body file ${orphan} of 6 bytes (mended)`)
  t.match((await check()).stderr, /1 fault found, 0 mended/)
})
