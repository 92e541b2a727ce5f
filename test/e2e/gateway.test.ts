/** The main job, end to end: the built server in a process of its own, the real AWS SDK as its client. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import t from 'tap'
import { type DemoUser, type RunningServer, startServer } from '../support/server.ts'

const MiB = 1_048_576

const clientOf = ({ url, region }: RunningServer, { accessKeyId, secretAccessKey }: DemoUser): S3Client =>
  new S3Client({
    endpoint: url,
    region,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId, secretAccessKey },
  })

/** Bytes in which every 64 bytes are unlike all others. */
const bytes = (size: number, seed: string): Buffer => {
  const out = Buffer.alloc(size)
  for (let at = 0, i = 0; at < size; at += 64, i++) {
    createHash('sha512').update(`${seed} ${i}`).digest().copy(out, at)
  }
  return out
}

const filesUnder = (directory: string): readonly string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))

/** The body files; the folder also holds the store's id. */
const bodyFiles = (data: string): readonly string[] =>
  filesUnder(join(data, 'objects', 'bodies')).filter(path => basename(path) !== 'store-id')

const bodyOf = async (s3: S3Client, Key: string, Range?: string): Promise<Uint8Array> => {
  const answer = await s3.send(
    new GetObjectCommand({ Bucket: 'photos', Key, ...(Range === undefined ? {} : { Range }) }),
  )
  return (await answer.Body?.transformToByteArray()) ?? new Uint8Array(0)
}

const put = (s3: S3Client, Key: string, Body: Uint8Array | Readable, ContentLength?: number) =>
  s3.send(
    new PutObjectCommand({
      Bucket: 'photos',
      Key,
      Body,
      ServerSideEncryption: 'aws:kms',
      ...(ContentLength === undefined ? {} : { ContentLength }),
    }),
  )

t.test('a real client puts an object, and what lies on disk is sealed', async t => {
  const data = t.testdir()
  const server = await startServer(data)
  t.teardown(() => server.stop())
  const s3 = clientOf(server, server.admin)
  t.teardown(() => s3.destroy())
  const body = bytes(100 * MiB, 'plaintext')
  const key = 'cats/größe 😀.jpg'

  await t.test('puts 100 MiB under aws:kms, gets them and a range', async t => {
    await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
    const answer = await put(s3, key, body)
    t.match(answer, {
      ServerSideEncryption: 'aws:kms',
      SSEKMSKeyId: /^arn:aws:kms:sichuan:[A-Za-z0-9]+:key\/[0-9a-f-]{36}$/,
      ETag: /^"[0-9a-f]{32}-1"$/,
    })
    t.equal(Buffer.compare(await bodyOf(s3, key), body), 0, 'the whole')
    const range = await s3.send(new GetObjectCommand({ Bucket: 'photos', Key: key, Range: 'bytes=65530-70000000' }))
    t.equal(range.ContentRange, `bytes 65530-70000000/${body.length}`)
    const got = (await range.Body?.transformToByteArray()) ?? new Uint8Array(0)
    t.equal(Buffer.compare(got, body.subarray(65_530, 70_000_001)), 0, 'a range')
    t.equal(Buffer.compare(await bodyOf(s3, key, 'bytes=-7'), body.subarray(-7)), 0, 'a suffix')
    await t.rejects(bodyOf(s3, key, `bytes=${body.length}-`), { name: 'InvalidRange' })
    const head = await s3.send(new HeadObjectCommand({ Bucket: 'photos', Key: key }))
    t.match(head, { ContentLength: body.length, ServerSideEncryption: 'aws:kms', SSEKMSKeyId: answer.SSEKMSKeyId })
    const list = await s3.send(new ListObjectsV2Command({ Bucket: 'photos', Prefix: 'cats/', Delimiter: '/' }))
    t.match(list.Contents, [{ Key: key, Size: body.length }])
    t.match(await s3.send(new ListBucketsCommand({})), { Buckets: [{ Name: 'photos' }] })
  })

  await t.test('no 64 bytes of the plaintext lie anywhere in the data folder', async t => {
    // Every block of the plaintext begins at a multiple of 64 and is unlike all others: look for a sample of them, in every file.
    const sample = Array.from({ length: 50 }, (_, i) => body.subarray(i * 2 * MiB, i * 2 * MiB + 64))
    let stored = 0
    for (const path of filesUnder(data)) {
      const content = readFileSync(path)
      stored += content.length
      for (const block of sample) if (content.includes(block)) t.fail(`plaintext in ${path}`)
    }
    t.ok(stored > body.length, 'but its ciphertext does')
    const closed = (path: string) => (statSync(path).mode & 0o077) === 0
    t.strictSame(
      filesUnder(data).filter(path => !closed(path) && !closed(dirname(path))),
      [],
      'and nobody else may read a file',
    )
  })

  await t.test('a byte flipped on disk makes GET fail without a clean end', async t => {
    const [path = ''] = bodyFiles(data).filter(each => statSync(each).size > body.length)
    const flip = (at: number) => {
      const stored = readFileSync(path)
      stored[at] = (stored[at] ?? 0) ^ 1
      writeFileSync(path, stored)
    }
    flip(50 * MiB)
    await t.rejects(bodyOf(s3, key), 'in the middle: what came is cut off')
    t.equal(Buffer.compare(await bodyOf(s3, key, 'bytes=0-99'), body.subarray(0, 100)), 0, 'other segments still open')
    flip(50 * MiB)
    flip(100)
    await t.rejects(
      bodyOf(s3, key),
      { name: 'InternalError', $metadata: { httpStatusCode: 500 } },
      'at the front: an error',
    )
    flip(100)
    t.equal(Buffer.compare(await bodyOf(s3, key), body), 0, 'whole again')
  })

  await t.test('an ordinary user stores plain objects, and neither writes nor reads SSE-KMS', async t => {
    const user = clientOf(server, server.user)
    t.teardown(() => user.destroy())
    const denied = { name: 'AccessDenied', message: /tenant_admin/ }
    await t.rejects(put(user, 'mine', Buffer.from('x')), denied)
    await t.rejects(bodyOf(user, key), denied)
    await user.send(new PutObjectCommand({ Bucket: 'photos', Key: 'plain', Body: 'hello' }))
    t.strictSame(Buffer.from(await bodyOf(user, 'plain')).toString(), 'hello')
    const wrong = clientOf(server, { ...server.user, secretAccessKey: 'wrong' })
    await t.rejects(bodyOf(wrong, 'plain'), { name: 'SignatureDoesNotMatch' })
    wrong.destroy()
  })

  await t.test('deletes', async t => {
    await s3.send(new DeleteObjectCommand({ Bucket: 'photos', Key: key }))
    await t.rejects(bodyOf(s3, key), { name: 'NoSuchKey' })
    await t.rejects(s3.send(new DeleteBucketCommand({ Bucket: 'photos' })), { name: 'BucketNotEmpty' })
    await s3.send(new DeleteObjectCommand({ Bucket: 'photos', Key: 'plain' }))
    await s3.send(new DeleteBucketCommand({ Bucket: 'photos' }))
    for (let i = 0; i < 100 && bodyFiles(data).length > 0; i++) await wait(20) // they go in the background
    t.strictSame(bodyFiles(data), [])
  })
})

t.test('the server killed during a PUT leaves the old object whole', async t => {
  const data = t.testdir()
  const old = bytes(3 * MiB, 'old')
  let server = await startServer(data)
  t.teardown(() => server.stop())
  let s3 = clientOf(server, server.admin)
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  await put(s3, 'cat.jpg', old)
  for (const after of [0, 1, 5]) {
    const next = bytes(8 * MiB, `new ${after}`)
    const feed = async function* () {
      for (let at = 0; at < next.length; at += MiB) {
        if (at / MiB > after) await wait(1000) // the rest would come later, but the server is gone
        yield next.subarray(at, at + MiB)
      }
    }
    const upload = put(s3, 'cat.jpg', Readable.from(feed(), { objectMode: false }), next.length)
    const failed = t.rejects(upload, 'the client sees an error')
    await wait(300 + 200 * after)
    await server.stop('SIGKILL')
    await failed
    s3.destroy()
    server = await startServer(data)
    s3 = clientOf(server, server.admin)
    t.equal(Buffer.compare(await bodyOf(s3, 'cat.jpg'), old), 0, `killed after ${after} MiB: the old object`)
    await wait(500) // the first sweep
    t.equal(bodyFiles(data).length, 1, 'and nothing but its body remains')
  }
  s3.destroy()
})
