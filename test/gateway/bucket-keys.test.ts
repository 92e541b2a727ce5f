/** Bucket keys through the gateway: who gets them, what is answered, what they cost, and that a key in memory opens nothing to anybody. */
import { randomBytes } from 'node:crypto'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetBucketEncryptionCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListPartsCommand,
  PutBucketEncryptionCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import t, { type Test } from 'tap'
import { parseEnvelope, parseSession } from '../../lib/envelope/envelope.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, ordinary, region, type Sent, startGateway, stranger, type TestGateway } from '../support/gateway.ts'
import { bucketOf } from '../support/store.ts'

const header = 'x-amz-server-side-encryption-bucket-key-enabled'
const Bucket = 'photos'
const kms = { ServerSideEncryption: 'aws:kms' } as const
const under = { ...kms, BucketKeyEnabled: true } as const
const kmsHeaders = { 'x-amz-server-side-encryption': 'aws:kms' }
const underHeaders = { ...kmsHeaders, [header]: 'true' }

const photos = async (t: Test, options: Parameters<typeof startGateway>[1] = {}) => {
  const gateway = await startGateway(t, { profile: createProfile('s3', { region }), ...options })
  const s3 = gateway.client()
  for (const name of [Bucket, 'videos']) await s3.send(new CreateBucketCommand({ Bucket: name }))
  return { gateway, s3 }
}

/** How an object lies in the store. */
const wrapAlgOf = async ({ byName }: TestGateway, key: string, bucket = Bucket): Promise<number> => {
  const record = await byName.getObject(bucket, key)
  return parseEnvelope(record?.envelope ?? new Uint8Array()).record.wrapped.wrapAlg
}

const bodyOf = async (s3: S3Client, Key: string, bucket = Bucket): Promise<string | undefined> =>
  (await s3.send(new GetObjectCommand({ Bucket: bucket, Key }))).Body?.transformToString()

/** PUT, GET, HEAD, copy, an upload in parts: what each answer says of a bucket key. */
const answersOf = async (s3: S3Client, sent: object): Promise<Readonly<Record<string, boolean | undefined>>> => {
  const put = await s3.send(new PutObjectCommand({ Bucket, Key: 'put', Body: 'hello', ...sent }))
  const get = await s3.send(new GetObjectCommand({ Bucket, Key: 'put' }))
  await get.Body?.transformToByteArray()
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'put' }))
  const copy = await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/put`, ...sent }))
  const upload = { Bucket, Key: 'parts' }
  const initiate = await s3.send(new CreateMultipartUploadCommand({ ...upload, ...sent }))
  const { UploadId } = initiate
  const part = await s3.send(
    new UploadPartCommand({ ...upload, UploadId, PartNumber: 1, Body: new Uint8Array(5 * 1024 * 1024) }),
  )
  const partCopy = await s3.send(
    new UploadPartCopyCommand({ ...upload, UploadId, PartNumber: 2, CopySource: `${Bucket}/put` }),
  )
  const listed = await s3.send(new ListPartsCommand({ ...upload, UploadId }))
  const Parts = listed.Parts?.map(({ PartNumber, ETag }) => ({ PartNumber, ETag }))
  const complete = await s3.send(
    new CompleteMultipartUploadCommand({ ...upload, UploadId, MultipartUpload: { Parts } }),
  )
  const whole = await s3.send(new HeadObjectCommand(upload))
  const range = await s3.send(new GetObjectCommand({ ...upload, Range: 'bytes=5242880-' }))
  if ((await range.Body?.transformToString()) !== 'hello') throw new Error('the range is not the last part')
  const answers = { put, get, head, copy, initiate, part, partCopy, complete, whole, range }
  return Object.fromEntries(Object.entries(answers).map(([name, answer]) => [name, answer.BucketKeyEnabled]))
}

const allAre = (value: true | undefined) =>
  Object.fromEntries(
    ['put', 'get', 'head', 'copy', 'initiate', 'part', 'partCopy', 'complete', 'whole', 'range'].map(name => [
      name,
      value,
    ]),
  )

t.test('a bucket key is answered as true on every response of such an object, and not at all otherwise', async t => {
  const { gateway, s3 } = await photos(t)
  t.strictSame(await answersOf(s3, under), allAre(true))
  for (const key of ['put', 'copy', 'parts']) t.equal(await wrapAlgOf(gateway, key), 3, key)
  for (const [what, sent] of [
    ['SSE-KMS', kms],
    ['SSE-KMS, false', { ...kms, BucketKeyEnabled: false }],
    ['SSE-S3', { ServerSideEncryption: 'AES256' }],
    ['nothing', {}],
  ] as const) {
    t.strictSame(await answersOf(s3, sent), allAre(undefined), what)
    for (const key of ['put', 'copy', 'parts']) t.equal(await wrapAlgOf(gateway, key), 2, `${what}: ${key}`)
  }
  const put = await gateway.signedFetch(admin, 'PUT', '/photos/a', { headers: kmsHeaders, body: 'a' })
  t.notOk(header in put.headers)
  await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'a', ChecksumAlgorithm: 'CRC32', ...under }))
  t.match(
    await s3.send(new GetObjectAttributesCommand({ Bucket, Key: 'a', ObjectAttributes: ['Checksum', 'ObjectSize'] })),
    { ObjectSize: 1, Checksum: { ChecksumCRC32: '6Le+Qw==' } },
  )
})

t.test('a form of a browser', async t => {
  const { gateway, s3 } = await photos(t)
  const Fields = underHeaders
  const { fields } = await createPresignedPost(s3, {
    Bucket,
    Key: 'form',
    Fields,
    Conditions: Object.entries(Fields).map(([name, value]) => ({ [name]: value })),
  })
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.set(name, value)
  form.set('file', new Blob(['from a form']))
  const answer = await fetch(`${gateway.url}/${Bucket}`, { method: 'POST', body: form })
  t.equal(answer.status, 204)
  t.equal(answer.headers.get(header), 'true')
  t.equal(await wrapAlgOf(gateway, 'form'), 3)
  t.equal(await bodyOf(s3, 'form'), 'from a form')
})

t.test("the bucket's default asks for one, and the request goes before it", async t => {
  const { gateway, s3 } = await photos(t)
  const Rules = [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' as const }, BucketKeyEnabled: true }]
  await s3.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration: { Rules } }))
  const { ServerSideEncryptionConfiguration: got } = await s3.send(new GetBucketEncryptionCommand({ Bucket }))
  t.match(got, { Rules })
  t.strictSame(await answersOf(s3, {}), allAre(true), 'no header')
  t.strictSame(await answersOf(s3, kms), allAre(true), 'aws:kms alone')
  t.strictSame(await answersOf(s3, { ...kms, BucketKeyEnabled: false }), allAre(undefined), 'false')
  t.strictSame(await answersOf(s3, { ServerSideEncryption: 'AES256' }), allAre(undefined), 'SSE-S3')
  t.equal(await wrapAlgOf(gateway, 'put'), 2)
})

t.test('obs: the header of S3 is understood, and OBS has no name for the answer', async t => {
  const { gateway, s3 } = await photos(t, { profile: createProfile('obs', { region }) })
  await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'a', ...under }))
  t.equal(await wrapAlgOf(gateway, 'a'), 3)
  const native = await gateway.signedFetch(admin, 'HEAD', '/photos/a', { headers: { 'x-obs-date': 'now' } })
  t.equal(native.status, 200)
  t.match(native.headers, { 'x-obs-server-side-encryption': 'kms' })
  t.notOk(Object.keys(native.headers).some(name => name.includes('bucket-key')))
  t.match(
    await gateway.signedFetch(admin, 'PUT', '/photos/b', { headers: { [header]: 'true' }, body: 'b' }),
    { status: 400, code: 'InvalidArgument' },
    'without aws:kms',
  )
})

t.test('many objects cost one bucket key of the KMS, and their reads one call more', async t => {
  const { gateway, s3 } = await photos(t)
  const keys = Array.from({ length: 60 }, (_, i) => `k${i}`)
  await Promise.all(keys.map(Key => s3.send(new PutObjectCommand({ Bucket, Key, Body: Key, ...under }))))
  // A new bucket key is unwrapped once before it counts.
  t.strictSame(gateway.calls, { generate: 1, unwrap: 1 })
  t.strictSame(await Promise.all(keys.map(key => bodyOf(s3, key))), keys)
  t.strictSame(gateway.calls, { generate: 1, unwrap: 2 })
  for (const key of keys) {
    await s3.send(new CopyObjectCommand({ Bucket, Key: `${key} again`, CopySource: `${Bucket}/${key}`, ...under }))
  }
  t.strictSame(gateway.calls, { generate: 1, unwrap: 2 }, 'nor do copies within the bucket')
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'parts', ...under }))
  for (const PartNumber of [1, 2, 3]) {
    await s3.send(new UploadPartCommand({ Bucket, Key: 'parts', UploadId, PartNumber, Body: 'part' }))
  }
  t.strictSame(gateway.calls, { generate: 1, unwrap: 2 }, 'nor parts')
})

t.test('copies: to another bucket, another master key, away and back, onto itself', async t => {
  const { gateway, s3 } = await photos(t)
  const body = randomBytes(70_000).toString('hex')
  const inner = async (key: string, bucket = Bucket) => {
    const record = await gateway.byName.getObject(bucket, key)
    return Buffer.from(parseEnvelope(record?.envelope ?? new Uint8Array()).record.wrapped.blob).toString('hex', 2, 78)
  }
  const copy = async (source: string, bucket: string, Key: string, sent: object) => {
    const answer = await s3.send(new CopyObjectCommand({ Bucket: bucket, Key, CopySource: source, ...sent }))
    const wanted = 'BucketKeyEnabled' in sent && sent.BucketKeyEnabled === true
    t.equal(answer.BucketKeyEnabled, wanted ? true : undefined, `${source} to ${bucket}/${Key}`)
    const head = await s3.send(new HeadObjectCommand({ Bucket: bucket, Key }))
    t.equal(head.BucketKeyEnabled, wanted ? true : undefined)
    t.equal(head.ETag, answer.CopyObjectResult?.ETag)
    t.equal(await bodyOf(s3, Key, bucket), body)
    return head
  }
  await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: body, ...under }))
  await copy('photos/a', Bucket, 'b', under)
  t.equal(await inner('b'), await inner('a'), 'within the bucket: its bucket key')
  await copy('photos/a', 'videos', 'a', under)
  t.equal(await wrapAlgOf(gateway, 'a', 'videos'), 3)
  t.not(await inner('a', 'videos'), await inner('a'), 'in another bucket: that one’s own')
  const { keyId } = await gateway.kms.createKey({ region, domainId: admin.domainId })
  const other = await copy('photos/a', Bucket, 'c', { ...under, SSEKMSKeyId: keyId })
  t.equal(other.SSEKMSKeyId, keyId)
  t.not(await inner('c'), await inner('a'))
  await copy('videos/a', Bucket, 'd', kms)
  t.equal(await wrapAlgOf(gateway, 'd'), 2)
  await copy('photos/d', Bucket, 'e', under)
  await copy('photos/e', Bucket, 'f', { ServerSideEncryption: 'AES256' })
  await copy('photos/f', Bucket, 'g', under)
  t.equal(await wrapAlgOf(gateway, 'g'), 3)
  for (const sent of [kms, under, under, kms]) {
    await copy('photos/a', Bucket, 'a', sent)
    t.equal(await wrapAlgOf(gateway, 'a'), sent === under ? 3 : 2, 'onto itself')
  }
})

t.test('a disabled key stops writes at once, and reads within the time to live', async t => {
  let now = 0
  const { gateway, s3 } = await photos(t, { bucketKeys: { timeToLive: 60_000, clock: () => now } })
  const { keyId } = await gateway.kms.createKey({ region, domainId: admin.domainId })
  const sent = { headers: { ...underHeaders, 'x-amz-server-side-encryption-aws-kms-key-id': keyId }, body: 'x' }
  const put = () => gateway.signedFetch(admin, 'PUT', '/photos/a', sent)
  const get = () => gateway.signedFetch(admin, 'GET', '/photos/a')
  t.match(await put(), { status: 200, headers: { [header]: 'true' } })
  t.match(await get(), { status: 200, text: 'x', headers: { [header]: 'true' } })
  const { UploadId } = await s3.send(
    new CreateMultipartUploadCommand({ Bucket, Key: 'parts', ...under, SSEKMSKeyId: keyId }),
  )
  const part = () => gateway.signedFetch(admin, 'PUT', `/photos/parts?partNumber=1&uploadId=${UploadId}`, { body: 'x' })
  t.match(await part(), { status: 200, headers: { [header]: 'true' } })
  await gateway.kms.disableKey({ keyId })
  const refused = { status: 400, code: 'KMS.DisabledException' }
  t.match(await put(), refused)
  now = 59_999
  t.match(await get(), { status: 200, text: 'x' })
  now = 60_000
  t.match(await get(), refused)
  t.match(await part(), refused)
  t.match(await put(), refused)
  await gateway.kms.enableKey({ keyId })
  t.match(await get(), { status: 200, text: 'x' })
})

t.test('role, tenant and policy are asked for each request, whatever is in memory', async t => {
  const { gateway, s3 } = await photos(t, { profile: createProfile('obs', { region }) })
  const send = (who: Parameters<TestGateway['signedFetch']>[0], method: string, key: string, sent: Sent = {}) =>
    gateway.signedFetch(who, method, `/photos/${key}`, sent)
  const put = { headers: underHeaders, body: 'x' }
  t.match(await send(admin, 'PUT', 'a', put), { status: 200 })
  t.match(await send(admin, 'GET', 'a'), { status: 200, text: 'x' })
  const calls = { ...gateway.calls }
  const denied = { status: 403, code: 'AccessDenied' }
  for (const who of [ordinary, stranger, undefined]) {
    t.match(await send(who, 'PUT', 'b', put), denied)
    t.match(await send(who, 'GET', 'a'), denied)
  }
  const statement = {
    Effect: 'Allow',
    Principal: '*',
    Action: ['s3:GetObject', 's3:PutObject'],
    Resource: 'arn:aws:s3:::photos/*',
  }
  const policy = (...Statement: readonly object[]) =>
    s3.send(new PutBucketPolicyCommand({ Bucket, Policy: JSON.stringify({ Version: '2012-10-17', Statement }) }))
  await policy(statement)
  for (const who of [ordinary, stranger, undefined]) {
    t.match(await send(who, 'PUT', 'b', put), denied, 'a policy opens it to nobody')
    t.match(await send(who, 'GET', 'a'), denied)
  }
  await policy({ ...statement, Effect: 'Deny' })
  t.match(await send(admin, 'PUT', 'b', put), denied, 'and closes it to everybody')
  t.match(await send(admin, 'GET', 'a'), denied)
  t.strictSame(gateway.calls, calls, 'the KMS was not asked')
})

t.test('no tenant and no bucket gets the key of another', async t => {
  const { gateway, s3 } = await photos(t)
  const theirs = gateway.client(stranger)
  await theirs.send(new CreateBucketCommand({ Bucket: 'theirs' }))
  const mine = await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'mine', ...under }))
  await s3.send(new PutObjectCommand({ Bucket: 'videos', Key: 'a', Body: 'mine too', ...under }))
  const other = await theirs.send(new PutObjectCommand({ Bucket: 'theirs', Key: 'a', Body: 'theirs', ...under }))
  t.equal(gateway.calls.generate, 3)
  t.match(mine.SSEKMSKeyId, /:domain1:/)
  t.match(other.SSEKMSKeyId, /:domain2:/)
  const named = {
    headers: { ...underHeaders, 'x-amz-server-side-encryption-aws-kms-key-id': mine.SSEKMSKeyId ?? '' },
    body: 'x',
  }
  t.match(await gateway.signedFetch(stranger, 'PUT', '/theirs/b', named), { status: 403, code: 'AccessDenied' })
  t.equal(gateway.calls.generate, 3)
})

t.test('whoever holds the storage exchanges no envelopes under bucket keys', async t => {
  const { gateway, s3 } = await photos(t)
  const { plant } = gateway.byName
  for (const [bucket, Key] of [
    [Bucket, 'a'],
    [Bucket, 'b'],
    ['videos', 'a'],
  ] as const) {
    await s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body: `${bucket} ${Key}`, ...under }))
    t.equal(await bodyOf(s3, Key, bucket), `${bucket} ${Key}`)
  }
  // Envelope, record and body of one object under the name of another, as they are.
  const refused = { status: 500, code: 'InternalError' }
  await plant({ bucket: Bucket, key: 'b' }, { bucket: Bucket, key: 'c' })
  t.match(await gateway.signedFetch(admin, 'GET', '/photos/c'), refused, 'of another object of the bucket')
  await plant({ bucket: 'videos', key: 'a' }, { bucket: Bucket, key: 'a' })
  t.match(await gateway.signedFetch(admin, 'GET', '/photos/a'), refused, 'of another bucket')
  const copied = { headers: { ...underHeaders, 'x-amz-copy-source': 'photos/a' } }
  t.match(await gateway.signedFetch(admin, 'PUT', '/videos/d', copied), refused, 'as the source of a copy')
  t.equal(await bodyOf(s3, 'b'), 'photos b')

  // A record that claims a bucket key, or none, does not change what a GET says: that is in the envelope.
  for (const [claim, wanted] of [
    [true, false],
    [false, true],
  ] as const) {
    await s3.send(new PutObjectCommand({ Bucket, Key: 'e', Body: 'e', ...(wanted ? under : kms) }))
    const at = { bucket: Bucket, key: 'e' }
    const notes = (await gateway.byName.getObject(Bucket, 'e'))?.notes
    await plant(at, at, { notes: { ...notes, bucketKey: claim } })
    const get = await gateway.signedFetch(admin, 'GET', '/photos/e')
    t.match(get, { status: 200, text: 'e' })
    t.equal(get.headers[header], wanted ? 'true' : undefined)
  }
})

t.test('a session under a bucket key belongs to its upload', async t => {
  const { gateway, s3 } = await photos(t)
  const open = async (bucket: string, Key: string) =>
    (await s3.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key, ...under }))).UploadId ?? ''
  const id = await open(Bucket, 'a')
  const upload = await gateway.byName.getUpload(Bucket, 'a', id)
  t.equal(parseSession(upload?.session ?? new Uint8Array()).record.wrapped.wrapAlg, 3)
  if (upload === undefined) throw new Error('there is no such upload')
  const { key: _, ...record } = upload
  await gateway.store.createUpload(await bucketOf(gateway.store, 'videos'), 'a', record)
  const part = await gateway.signedFetch(admin, 'PUT', `/videos/a?partNumber=1&uploadId=${id}`, { body: 'x' })
  t.match(part, { status: 500, code: 'InternalError' }, 'planted in another bucket')
})
