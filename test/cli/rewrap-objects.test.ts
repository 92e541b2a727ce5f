/** `sse-kms rewrap-objects` on the store of a running server: killed in the middle, stopped, beside clients that write, and what it leaves as it is. */
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { once } from 'node:events'
import { join } from 'node:path'
import t from 'tap'
import { keyPlaceOf } from '../../lib/gateway/objects/rewrap.ts'
import type { NewObject } from '../../lib/store/records.ts'
import { openFileStore } from '../../lib/store/file/store.ts'
import {
  bucket as Bucket,
  type BulkSetup,
  domainId,
  fill,
  keyOf,
  reportOf,
  rewrapKilled,
  setUp,
  verify,
  withBucket,
} from '../support/bulk/course.ts'
import { cli, Collector } from '../support/cli.ts'
import { postgresMissing, startPostgres } from '../support/postgres.ts'

const command = ({ config }: BulkSetup, ...more: readonly string[]): readonly string[] => [
  'rewrap-objects',
  ...['--config', config, '--bucket', Bucket],
  ...more,
]

/** ETags of all objects that `fill` has put. */
const etagsOf = (setup: BulkSetup, count: number): Promise<readonly (string | undefined)[]> =>
  withBucket(setup.config, ({ store, place }) =>
    Promise.all(
      Array.from({ length: count }, async (_, i) => (await store.getObject(place().bucket.id, keyOf(i)))?.etag),
    ),
  )

t.test('objects move to another key beside a server, and it goes on where it was killed', async t => {
  const setup = await setUp(t.testdir())
  t.teardown(setup.close)
  const { s3, keys } = setup
  const count = 90
  await fill(setup, count)
  const etags = await etagsOf(setup, count)
  // A client that overwrites one object all the time: what it was told is stored, is there.
  const Key = keyOf(count / 2 - 1)
  let last = ''
  const ends = new AbortController()
  const client = (async () => {
    for (let n = 0; !ends.signal.aborted; n++) {
      const Body = `overwritten ${n}`
      await s3.send(new PutObjectCommand({ Bucket, Key, Body }))
      last = Body
    }
  })()
  const { report } = await rewrapKilled(setup, count, [30, 60], ['--rate', '200'])
  ends.abort()
  await client
  t.equal(await (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body?.transformToString(), last)
  t.match(report, { objects: count, left: [], keys: [{ keyId: keys[1] }] })
  t.ok(report.already >= 40, 'what was moved before it was killed is there')
  t.ok(report.kmsCalls < 20, 'bucket keys: no call for each object')
  // The first objects, as their client sees them: nothing has changed but the key.
  await verify(setup, 40, { before: (i, { etag }) => t.equal(etag, etags[i]) })
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key: keyOf(7) }))
  t.match(head, { SSEKMSKeyId: keys[1], BucketKeyEnabled: true, ETag: `"${etags[7]}"`, Metadata: { number: '7' } })
  t.equal(head.LastModified?.getTime(), 1_700_000_000_000)
})

t.test('after a rotation, what is left as it is, and a stop', async t => {
  const folder = t.testdir()
  const setup = await setUp(folder, false)
  t.teardown(setup.close)
  const { s3, keys, createKey, rotate } = setup
  const [first] = keys
  const third = await createKey('third')
  await fill(setup, 40, false)
  const kms = { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: third } as const
  await s3.send(new PutObjectCommand({ Bucket, Key: 'under-third', Body: 'x', ...kms }))
  await s3.send(new PutObjectCommand({ Bucket, Key: 's3', Body: 'x', ServerSideEncryption: 'AES256' }))
  await withBucket(setup.config, async ({ services, store, place, commit }) => {
    const put = async (key: string, kind: 'plain' | 'sse-c', envelope?: Uint8Array): Promise<void> => {
      const body = await store.createBody()
      body.writable.end(Buffer.from('x'))
      await once(body.writable, 'finish')
      const common = { size: 1, etag: 'e', modified: 0, headers: {}, notes: {}, owner: domainId }
      const record: NewObject = { ...common, kind, envelope }
      await commit(judged => store.putObject(judged, key, record, body))
    }
    await put('plain', 'plain')
    const sealing = await services.sse.encrypt({ customerKey: new Uint8Array(32), length: 0 })
    for await (const piece of sealing.pieces([])) void piece
    await put('customer', 'sse-c', sealing.result().envelope)
    t.ok(place())
  })
  await rotate(first)
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'open', ...kms }))

  const dry = await cli(command(setup, '--from', `${first}:1`, '--to', first, '--dry-run'))
  t.match(dry, { code: 0, stderr: '' })
  t.match(dry.stdout.toString(), `40 would be moved to ${first}, 0 were there, 4 others`)
  t.match(dry.stdout.toString(), `sse-kms under ${first} version 1: 40 objects`)
  t.match(dry.stdout.toString(), `something in it is left under ${first}:1`)

  // A signal: what is under way is finished, and the same command goes on.
  const controller = new AbortController()
  setTimeout(() => controller.abort(), 500)
  const stderr = new Collector()
  const stopped = await cli(command(setup, '--from', `${first}:1`, '--to', first, '--rate', '20'), {
    signal: controller.signal,
    stderr,
  })
  t.equal(stopped.code, 130)
  t.match(stopped.stderr, /Interrupted: \d+ looked at .* Give the same command again/)

  const moved = await cli(command(setup, '--from', `${first}:1`, '--to', first, '--json'))
  t.match(moved, { code: 0, stderr: '' })
  const report = reportOf(moved.stdout)
  t.match(report, { nothingLeft: true, left: [] })
  t.ok(report.changed > 0 && report.changed < 40, 'it went on')
  t.match(moved.stdout.toString(), /"version": 2,\s+"objects": 40/)

  // Without --from all that cannot be moved is told.
  await cli(['keys', 'disable', third, '--data', join(folder, 'data')])
  const all = await cli(command(setup, '--to', keys[1]))
  t.match(all, { code: 1, stderr: '5 objects or uploads were left as they are' })
  const text = all.stdout.toString()
  t.match(text, '1 left: plain: seal it with sse-kms encrypt-existing\n  plain\n')
  t.match(text, '1 left: SSE-C: only the client has its key\n  customer\n')
  t.match(text, /1 left: SSE-S3: .*\n  s3\n/)
  t.match(text, /1 left: KeyDisabled: .*\n  under-third\n/)
  t.match(text, `1 left: open upload, which keeps its key: complete it or abort it\n  open?uploadId=${UploadId}\n`)
  await verify(setup, 40)

  // An open upload holds its key, whatever lies there.
  await cli(['keys', 'enable', third, '--data', join(folder, 'data')])
  const held = await cli(command(setup, '--from', third, '--to', keys[1]))
  t.match(held, { code: 1 })
  t.match(held.stdout.toString(), `something in it is left under ${third}`)
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'open', UploadId }))
  const freed = await cli(command(setup, '--from', third, '--to', keys[1]))
  t.match(freed, { code: 0 })
  t.match(freed.stdout.toString(), `nothing in it is left under ${third}`)

  // A row that somebody changed decides nothing, and nothing is said to be left nowhere.
  const rows = await openFileStore(join(folder, 'data', 'objects'), { sweepEvery: 0 })
  const bucket = await rows.getBucket(Bucket)
  if (bucket === undefined) throw new TypeError('the bucket is there')
  const before = await rows.getObject(bucket.id, keyOf(3))
  await rows.updateNotes(bucket, keyOf(3), { notes: { keyId: first }, mac: before?.mac })
  const changed = await cli(command(setup, '--from', first, '--to', keys[1]))
  t.match(changed, { code: 1 })
  t.match(changed.stdout.toString(), /1 left: IndexNotAuthentic/)
  t.match(changed.stdout.toString(), `something in it is left under ${first}`)
  t.equal(keyPlaceOf((await rows.getObject(bucket.id, keyOf(2)))?.envelope ?? new Uint8Array()).keyId, keys[1])
  await rows.close()

  // SSE-S3 moves under keys of the service.
  const key = await cli(['keys', 'list', '--data', join(folder, 'data'), '--json'])
  const service = /arn:aws:kms:sichuan:sse-s3:key\/[0-9a-f-]{36}/.exec(key.stdout.toString())?.[0] ?? ''
  const sameKey = await cli(command(setup, '--prefix', 's3', '--to', service))
  t.match(sameKey, { code: 0 })
  t.match(sameKey.stdout.toString(), '0 moved to')
  await rotate(service)
  t.match((await cli(command(setup, '--prefix', 's3', '--to', service))).stdout.toString(), '1 moved to')
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key: 's3' }))
  t.equal(await Body?.transformToString(), 'x')

  for (const [words, code, problem] of [
    [['--bucket', Bucket], 2, 'rewrap-objects needs --to KEY'],
    [['--to', first], 2, 'rewrap-objects needs --bucket BUCKET'],
    [['--to', first, '--bucket', 'videos'], 1, 'There is no bucket videos'],
    [['--to', first, '--bucket', Bucket, '--rate', '0'], 2, '--rate is a number above 0'],
    [['--to', 'alias/none', '--bucket', Bucket], 1, 'alias/none'],
    [['--to', first.replace('domain1', 'domain2'), '--bucket', Bucket], 1, 'does not exist'],
  ] as const) {
    t.match(
      await cli(['rewrap-objects', '--config', setup.config, ...words]),
      { code, stderr: problem },
      words.join(' '),
    )
  }
  const nowhere = await cli(['rewrap-objects', '--data', join(folder, 'none'), '--bucket', Bucket, '--to', first])
  t.match(nowhere, { code: 1, stderr: 'There is no store in' })
})

t.test('an index in PostgreSQL', { skip: postgresMissing }, async t => {
  const postgres = await startPostgres()
  t.teardown(() => postgres.close())
  const { connectionString, host, port, user, database } = await postgres.create()
  const url = connectionString ?? `postgres://${user}@${host}:${port}/${database}`
  const setup = await setUp(t.testdir(), true, { store: { index: { postgres: { url } } } })
  t.teardown(setup.close)
  await fill(setup, 90)
  const { report } = await rewrapKilled(setup, 90, [30], ['--rate', '200'])
  t.match(report, { objects: 90, left: [] })
  t.ok(report.already >= 14)
  await verify(setup, 90)
})
