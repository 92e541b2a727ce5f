/** A server of several processes: one address, workers that are replaced, one that the operator talks to. Real processes, a real client. */
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListBucketsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { ended, start } from '../support/cli.ts'
import { ann, type ConfiguredUser, get, serving, tenantOf, until } from '../support/serving.ts'

const bob = { name: 'bob', accessKeyId: 'AKBOB', secretAccessKey: 'secret-of-bob', roles: ['tenant_admin'] }
const Bucket = 'photos'
const kms = { ServerSideEncryption: 'aws:kms' } as const

const read = async (s3: S3Client, Key: string): Promise<Buffer> => {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }))
  return Buffer.from((await Body?.transformToByteArray()) ?? [])
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

t.test('two workers', async t => {
  const server = await serving(t, { workers: 2, admin: { listen: '127.0.0.1:0' }, log: 'text' })
  const { child, result, admin, base, write, clientOf, hangUp, metric, workers, err } = server
  const s3 = clientOf(ann, true)

  await t.test('what one writes, the other reads; parts come by any connection', async t => {
    t.equal(server.out().split('\n').length, 2, 'one line')
    t.equal(workers().length, 2)
    t.equal(await metric('sse_kms_workers'), 2)
    t.match(JSON.parse((await get(`${admin}/readyz`)).text), { ready: true, reasons: [] })
    await s3.send(new CreateBucketCommand({ Bucket }))
    const body = randomBytes(200_000)
    await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: body, ...kms }))
    for (let i = 0; i < 4; i++) t.ok((await read(s3, 'a')).equals(body))
    const named = { Bucket, Key: 'parts' }
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...named, ...kms }))
    const parts = [randomBytes(200_000), randomBytes(150_000), randomBytes(100)]
    const Parts = await Promise.all(
      parts.map(async (Body, i) => {
        const part = new UploadPartCommand({ ...named, UploadId, PartNumber: i + 1, Body })
        return { PartNumber: i + 1, ETag: (await s3.send(part)).ETag }
      }),
    )
    await s3.send(new CompleteMultipartUploadCommand({ ...named, UploadId, MultipartUpload: { Parts } }))
    for (let i = 0; i < 2; i++) t.ok((await read(s3, 'parts')).equals(Buffer.concat(parts)))
    t.equal(await metric('sse_kms_requests_total{action="GetObject",status="200"}'), 6, 'of both, added up')
    t.equal(await metric('sse_kms_requests_total{action="UploadPart",status="200"}'), 3)
  })

  await t.test('SIGHUP: all of them take over the same, or nothing', async t => {
    const list = async (user: ConfiguredUser) => {
      const client = clientOf(user, true)
      for (let i = 0; i < 4; i++) await client.send(new ListBucketsCommand())
    }
    const linesOf = (text: string) => text.split('\n').filter(line => line.startsWith('sse-kms: '))
    write('{')
    const wrong = await hangUp()
    t.match(linesOf(wrong), [/^sse-kms: the configuration stays as it is: .*this is not JSON/])
    t.equal(linesOf(wrong).length, 1)
    await list(ann)
    await t.rejects(list(bob), { name: 'InvalidAccessKeyId' })
    write({ ...base, tenants: tenantOf(ann, bob) })
    t.match(linesOf(await hangUp()), [/took over tenants, users and certificates/])
    await list(ann)
    await list(bob)
    write('{')
  })

  await t.test('a worker that is killed under load is replaced; what was acknowledged is there', async t => {
    const [first = 0] = workers()
    const acknowledged = new Map<string, string>()
    const load = { isOn: true, failed: 0 }
    const loaders = Array.from({ length: 4 }, async (_, n) => {
      for (let i = 0; load.isOn; i++) {
        const [Key, Body] = [`load-${n}-${i}`, randomBytes(80_000)]
        await s3.send(new PutObjectCommand({ Bucket, Key, Body, ...kms })).then(
          () => acknowledged.set(Key, createHash('sha256').update(Body).digest('hex')),
          () => load.failed++,
        )
      }
    })
    await until('some are acknowledged', () => acknowledged.size > 4)
    const before = await metric('sse_kms_requests_total{action="PutObject",status="200"}')
    process.kill(first, 'SIGKILL')
    await until('another worker', async () => (await metric('sse_kms_workers')) === 2 && !workers().includes(first))
    const some = acknowledged.size
    await until('more are acknowledged', () => acknowledged.size > some + 4)
    load.isOn = false
    await Promise.all(loaders)
    t.comment(`${acknowledged.size} acknowledged, ${load.failed} failed`)
    for (const [Key, hash] of acknowledged) {
      t.equal(
        createHash('sha256')
          .update(await read(s3, Key))
          .digest('hex'),
        hash,
        Key,
      )
    }
    t.match(err(), new RegExp(`warning: worker ${first} ended \\(SIGKILL\\): another one starts now\n`))
    t.equal(await metric('sse_kms_worker_restarts_total'), 1)
    const after = await metric('sse_kms_requests_total{action="PutObject",status="200"}')
    t.ok(after >= before, 'a counter never goes back')
    for (let i = 0; i < 4; i++) await clientOf(bob, true).send(new ListBucketsCommand())
    t.pass('the new one knows the users that were taken over, though the file is wrong by now')
  })

  await t.test(
    'a signal to the whole group, as a terminal and systemd send it: a slow upload ends, and all of them once',
    async t => {
      const signer = clientOf(ann)
      const url = await getSignedUrl(signer, new PutObjectCommand({ Bucket, Key: 'slow' }))
      const body = randomBytes(100_000)
      const req = request(url, { method: 'PUT', headers: { 'content-length': body.length } })
      const answered = once(req, 'response')
      req.write(body.subarray(0, 60_000))
      await wait(300)
      const ids = workers()
      process.kill(-(child.pid ?? 0), 'SIGTERM')
      await until('no new connection', () =>
        fetch(server.address).then(
          () => false,
          () => true,
        ),
      )
      t.match(await get(`${admin}/readyz`), { status: 503, text: /the server is stopping/ })
      req.end(body.subarray(60_000))
      const [answer] = await answered
      t.equal(answer.statusCode, 200)
      answer.resume()
      t.match(await result, { code: 0 })
      t.strictSame(ids.filter(isAlive), [])
      t.equal(err().split('sse-kms: ').length, 4, 'a root key was made, and two lines of SIGHUP')
    },
  )
})

t.test('five ends of workers within a minute end the program', async t => {
  const { result, workers, metric, err } = await serving(t, { workers: 3, admin: { listen: '127.0.0.1:0' } })
  for (const id of workers()) process.kill(id, 'SIGKILL')
  await until('they are replaced', async () => (await metric('sse_kms_workers')) === 3)
  for (const id of workers().slice(0, 2)) process.kill(id, 'SIGKILL')
  t.match(await result, {
    code: 1,
    stderr: /"code":"WorkersFailed","message":"Workers of the server end again and again/,
  })
  t.equal(err().split('another one starts now').length, 5)
  t.match(err(), /it is not replaced/)
})

t.test('a primary process that is killed takes its workers with it', async t => {
  const { child, address, workers } = await serving(t, { workers: 2 })
  const ids = workers()
  t.equal(ids.length, 2)
  child.kill('SIGKILL')
  await until('they are gone', () => !ids.some(isAlive))
  await t.rejects(fetch(address))
})

t.test('a worker that cannot start: the error and status of a server of one process, once', async t => {
  const data = `${t.testdir({ data: { objects: 'no folder' } })}/data`
  const args = ['serve', '--workers', '2', '--listen', '127.0.0.1:0', '--data', data]
  const { code, stderr } = await ended(start(args))
  t.equal(code, 1)
  t.equal(stderr.split('\n').filter(line => line.startsWith('sse-kms: ')).length, 1, stderr)
  const wrong = await ended(start(['serve', '--workers', 'many', '--data', data]))
  t.match(wrong, { code: 2, stderr: /command line: workers: expected 1 to 256, or "auto"/ })
})
