/** A gateway whose bodies lie in S3-compatible storage, with Amazon's client: what its calls cost, and what an outage does. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createProfile } from '../../lib/sse/profile.ts'
import { openFileStore } from '../../lib/store/file/store.ts'
import { s3Bodies } from '../../lib/store/s3/bodies.ts'
import type { ObjectStore } from '../../lib/store/store.ts'
import { admin, region, startGateway, type TestGateway } from '../support/gateway.ts'
import { slowDown, startProxy, type TcpProxy } from '../support/proxy.ts'
import { ownUpstream, type S3Upstream } from '../support/s3-upstreams.ts'
import { pattern } from '../support/store.ts'

const mebibyte = 1_048_576
const hour = 3_600_000

interface Running {
  readonly gateway: TestGateway
  readonly client: S3Client
  readonly store: ObjectStore
  readonly proxy: TcpProxy
  /** The names of all bodies that lie in the storage. */
  readonly names: () => Promise<readonly string[]>
  /** What is asked of the storage meanwhile: methods, sorted. */
  readonly asked: (work: () => Promise<unknown>) => Promise<string>
  /** Lets time pass. */
  readonly pass: (milliseconds: number) => void
}

const start = async (t: Test, bucket = 'bucket'): Promise<Running> => {
  const upstream: S3Upstream = await ownUpstream(t)
  const proxy = await startProxy(t, upstream.config.endpoint)
  const config = { ...upstream.config, endpoint: proxy.url }
  const bodies = s3Bodies({ bucket: upstream.bucket, prefix: 'sse-kms', config, attempts: 2 })
  const folder = await mkdtemp(join(tmpdir(), 's3-bodies-'))
  let time = Date.now()
  const store = await openFileStore(folder, { bodies, sweepEvery: 0, now: () => time })
  const gateway = await startGateway(t, { store, profile: createProfile('s3', { region }) })
  t.teardown(async () => {
    await store.close()
    await rm(folder, { recursive: true })
  })
  const client = gateway.client()
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  return {
    gateway,
    client,
    store,
    proxy,
    names: async () => {
      const command = new ListObjectsV2Command({ Bucket: upstream.bucket })
      return ((await upstream.client.send(command)).Contents ?? []).map(({ Key = '' }) => Key)
    },
    asked: async work => {
      proxy.requests.length = 0
      await work()
      return proxy.requests
        .map(request => request.split(' ')[0])
        .toSorted()
        .join(' ')
    },
    pass: milliseconds => {
      time += milliseconds
    },
  }
}

const kms = { ServerSideEncryption: 'aws:kms' } as const

t.test('what lies in the storage, and how many calls each request takes', async t => {
  const { client, store, names, asked, pass } = await start(t)
  const Bucket = 'bucket'
  const put = (Key: string, Body: Uint8Array) => client.send(new PutObjectCommand({ Bucket, Key, Body, ...kms }))
  const get = async (Key: string, Range?: string): Promise<Buffer> => {
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key, Range }))
    return Buffer.from((await Body?.transformToByteArray()) ?? [])
  }
  const small = pattern(65_536, 1)
  t.equal(await asked(() => put('small', small)), '', 'up to 64 KiB lie in the index')
  t.equal(await asked(async () => t.ok((await get('small')).equals(small))), '')
  t.strictSame(await names(), [])

  const one = pattern(mebibyte, 2)
  t.equal(await asked(() => put('one', one)), 'PUT')
  t.match(await names(), [new RegExp(`^sse-kms/${store.id}/[0-9a-f]{32}$`)])
  t.equal(await asked(async () => t.ok((await get('one')).equals(one))), 'GET')
  const range = async () => t.ok((await get('one', 'bytes=500000-600000')).equals(one.subarray(500_000, 600_001)))
  t.equal(await asked(range), 'GET')
  t.equal(await asked(() => client.send(new HeadObjectCommand({ Bucket, Key: 'one' }))), '')

  const large = pattern(40 * mebibyte, 3)
  t.equal(await asked(() => put('large', large)), 'POST POST PUT PUT PUT', 'parts of 16 MiB')
  t.equal(await asked(async () => t.ok((await get('large')).equals(large))), 'GET')

  const Key = 'parts'
  let UploadId: string | undefined
  const begin = async () => {
    UploadId = (await client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...kms }))).UploadId
  }
  t.equal(await asked(begin), '')
  const contents = [pattern(5 * mebibyte, 4), pattern(5 * mebibyte, 5), pattern(100, 6)]
  const Parts: { PartNumber: number; ETag: string | undefined }[] = []
  for (const [i, Body] of contents.entries()) {
    const PartNumber = i + 1
    const send = async () => {
      const { ETag } = await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }))
      Parts.push({ PartNumber, ETag })
    }
    t.equal(await asked(send), 'PUT', 'a part is a body of its own')
  }
  const complete = () =>
    client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
  const before = await names()
  t.equal(await asked(complete), '', 'Complete moves nothing and asks nothing')
  t.strictSame(await names(), before)
  const whole = Buffer.concat(contents)
  t.equal(await asked(async () => t.ok((await get(Key)).equals(whole))), 'GET GET GET')
  const middle = 5 * mebibyte
  const across = async () =>
    t.ok((await get(Key, `bytes=${middle - 5}-${middle + 5}`)).equals(whole.subarray(middle - 5, middle + 6)))
  t.equal(await asked(across), 'GET GET', 'the parts that the range touches')

  const copy = (from: string, to: string) =>
    client.send(new CopyObjectCommand({ Bucket, Key: to, CopySource: `${Bucket}/${from}`, ...kms }))
  t.equal(await asked(() => copy('one', 'copy')), '', 'a copy shares the body')
  const remove = (Key: string) => client.send(new DeleteObjectCommand({ Bucket, Key }))
  t.equal(await asked(() => remove('one')), '')
  await store.sweep()
  pass(2 * hour)
  t.equal(await asked(() => store.sweep()), 'GET GET', 'what is listed, and what is unfinished')
  t.ok((await get('copy')).equals(one))

  t.equal((await names()).length, 5)
  for (const key of ['copy', 'large', Key]) await remove(key)
  const aborted = await client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...kms }))
  const upload = { Bucket, Key, UploadId: aborted.UploadId }
  await client.send(new UploadPartCommand({ ...upload, PartNumber: 1, Body: one }))
  await client.send(new AbortMultipartUploadCommand(upload))
  await store.sweep()
  t.equal((await names()).length, 6, 'kept for the grace time, for those who read it')
  pass(hour)
  t.equal(await asked(() => store.sweep()), 'DELETE DELETE DELETE DELETE DELETE DELETE GET GET')
  t.strictSame(await names(), [])
  t.ok((await get('small')).equals(small))
})

t.test('an outage of the storage: 503 with Retry-After, nothing committed, nothing lost', async t => {
  const { gateway, client, store, proxy, names, asked, pass } = await start(t)
  const { signedFetch } = gateway
  const headers = { 'x-amz-server-side-encryption': 'aws:kms' }
  const old = pattern(300_000, 1)
  t.equal((await signedFetch(admin, 'PUT', '/bucket/k', { headers, body: old })).status, 200)
  t.equal((await signedFetch(admin, 'PUT', '/bucket/small', { headers, body: 'small' })).status, 200)
  const uploads = await signedFetch(admin, 'POST', '/bucket/parts?uploads', { headers })
  const [, id = ''] = /<UploadId>(.*?)</.exec(uploads.text) ?? []
  const part = (number: number) =>
    signedFetch(admin, 'PUT', `/bucket/parts?partNumber=${number}&uploadId=${id}`, { body: pattern(100_000, number) })
  const { etag = '' } = (await part(1)).headers

  const outages: Readonly<Record<string, TcpProxy['fault']>> = {
    'it cannot be reached': ({ direction }) => (direction === 'up' ? 'cut' : 'pass'),
    'it is overloaded': ({ direction }) => (direction === 'up' ? slowDown : 'pass'),
    'it takes the bytes and does not answer': ({ direction }) => (direction === 'down' ? 'cut' : 'pass'),
  }
  for (const [name, fault] of Object.entries(outages)) {
    proxy.fault = fault
    const answers = [
      await signedFetch(admin, 'PUT', '/bucket/k', { headers, body: pattern(200_000, 2) }),
      await signedFetch(admin, 'GET', '/bucket/k'),
      await part(2),
      await signedFetch(admin, 'PUT', '/bucket/new', { headers, body: pattern(20 * mebibyte, 2) }),
    ]
    for (const { status, code, headers } of answers) {
      t.strictSame([status, code, headers['retry-after']], [503, 'ServiceUnavailable', '1'], name)
    }
    t.equal((await signedFetch(admin, 'GET', '/bucket/small')).text, 'small', 'what lies in the index is there')
    t.equal((await signedFetch(admin, 'HEAD', '/bucket/k')).status, 200)
    t.equal((await signedFetch(admin, 'GET', '/bucket/new')).status, 404)
    await t.rejects(store.sweep(), { code: 'StoreUnavailable' })
    proxy.fault = () => 'pass'
    t.ok((await signedFetch(admin, 'GET', '/bucket/k')).body.equals(old))
  }

  const xml = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${etag}</ETag></Part></CompleteMultipartUpload>`
  proxy.fault = () => 'cut'
  t.equal((await signedFetch(admin, 'POST', `/bucket/parts?uploadId=${id}`, { body: xml })).status, 200)
  proxy.fault = () => 'pass'
  t.ok((await signedFetch(admin, 'GET', '/bucket/parts')).body.equals(pattern(100_000, 1)))

  pass(2 * hour)
  await store.sweep()
  t.equal((await names()).length, 2, 'nothing is left of what was not committed')
  t.equal(await asked(() => store.sweep()), 'GET GET')

  await signedFetch(admin, 'PUT', '/bucket/long', { headers, body: pattern(8 * mebibyte, 5) })
  proxy.fault = ({ request, direction, before }) =>
    request.startsWith('GET') && (direction === 'up' ? before === 0 && hasBegun : before > mebibyte) ? 'cut' : 'pass'
  let hasBegun = false
  const { Body } = await client.send(new GetObjectCommand({ Bucket: 'bucket', Key: 'long' }))
  hasBegun = true
  await t.rejects(async () => Body?.transformToByteArray(), 'an answer that has begun never ends as if it were whole')
})
