/** Amazon's SDK for JavaScript, with lib-storage and both presigners, against a running gateway: everything under SSE-KMS, and over TLS. */
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { Agent } from 'node:https'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import {
  AbortMultipartUploadCommand,
  type ChecksumAlgorithm,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  type GetObjectCommandInput,
  type GetObjectCommandOutput,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutBucketEncryptionCommand,
  PutObjectCommand,
  type S3Client,
  S3Client as Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import t, { type Test } from 'tap'
import type { GatewayOptions } from '../../lib/gateway/options.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { makeCertificate, noOpenssl } from '../support/certificate.ts'
import { customerKey } from '../support/customer-key.ts'
import { admin, ordinary, region, startGateway } from '../support/gateway.ts'
import { startServer } from '../support/server.ts'

const MiB = 1_048_576
const Bucket = 'photos'
const kms = { ServerSideEncryption: 'aws:kms' } as const
const kmsAnswer = { ...kms, SSEKMSKeyId: /^arn:aws:kms:sichuan:domain1:key\/[0-9a-f-]{36}$/ }
/** An object of several segments, the last one short. */
const body = randomBytes(150_001)

const bytesOf = async (answer: GetObjectCommandOutput): Promise<Buffer> =>
  Buffer.from((await answer.Body?.transformToByteArray()) ?? [])

const get = (s3: S3Client, Key: string, more: Partial<GetObjectCommandInput> = {}) =>
  s3.send(new GetObjectCommand({ Bucket, Key, ...more }))

const photos = async (t: Test, options: Partial<GatewayOptions> = {}) => {
  const gateway = await startGateway(t, options)
  const s3 = gateway.client()
  await s3.send(new CreateBucketCommand({ Bucket }))
  return { gateway, s3 }
}

t.test('put, get, ranges, copy, listing, delete', async t => {
  const { gateway, s3 } = await photos(t)
  const Key = 'cats/größe 😀+%2F.jpg'
  const put = await s3.send(new PutObjectCommand({ Bucket, Key, Body: body, ...kms, Metadata: { a: 'b' } }))
  t.match(put, { ...kmsAnswer, ETag: /^"[0-9a-f]{32}-1"$/ })
  const { SSEKMSKeyId = '', ETag } = put
  const told = { ...kms, SSEKMSKeyId, ETag }
  const [, id] = SSEKMSKeyId.split('/')
  for (const name of [SSEKMSKeyId, id]) {
    const named = await s3.send(new PutObjectCommand({ Bucket, Key: 'named', Body: '', ...kms, SSEKMSKeyId: name }))
    t.match(named, { ...kms, SSEKMSKeyId }, 'the key by ARN and by id, an empty object')
  }
  const whole = await get(s3, Key)
  t.match(whole, { ...told, ContentLength: body.length, Metadata: { a: 'b' } })
  t.equal(Buffer.compare(await bytesOf(whole), body), 0)
  t.match(await s3.send(new HeadObjectCommand({ Bucket, Key })), { ...told, ContentLength: body.length })
  for (const [Range, from, to] of [
    ['bytes=65530-65600', 65_530, 65_601],
    ['bytes=149999-', 149_999, body.length],
    ['bytes=-2', body.length - 2, body.length],
  ] as const) {
    const part = await get(s3, Key, { Range })
    t.match(part, { ...told, ContentRange: `bytes ${from}-${to - 1}/${body.length}` }, Range)
    t.equal(Buffer.compare(await bytesOf(part), body.subarray(from, to)), 0, Range)
  }
  await t.rejects(get(s3, Key, { Range: `bytes=${body.length}-` }), { name: 'InvalidRange' })

  const source = { Bucket, CopySource: `${Bucket}/${encodeURIComponent(Key)}` }
  const copy = await s3.send(new CopyObjectCommand({ ...source, Key: 'copy', ...kms }))
  t.match(copy, { ...kms, SSEKMSKeyId, CopyObjectResult: { ETag: String } })
  const replaced = await s3.send(
    new CopyObjectCommand({ ...source, Key: 'other', ...kms, Metadata: { c: 'd' }, MetadataDirective: 'REPLACE' }),
  )
  t.match(replaced, { ...kms, SSEKMSKeyId })
  for (const [name, Metadata] of [
    ['copy', { a: 'b' }],
    ['other', { c: 'd' }],
  ] as const) {
    const copied = await get(s3, name)
    t.match(copied, { ...kms, SSEKMSKeyId })
    t.strictSame(copied.Metadata, Metadata)
    t.equal(Buffer.compare(await bytesOf(copied), body), 0, name)
  }
  const attributes = await s3.send(
    new GetObjectAttributesCommand({ Bucket, Key: 'copy', ObjectAttributes: ['ObjectSize', 'ETag'] }),
  )
  t.match(attributes, { ObjectSize: body.length, ETag: copy.CopyObjectResult?.ETag?.replaceAll('"', '') })

  const list = await s3.send(new ListObjectsV2Command({ Bucket, Delimiter: '/' }))
  t.match(list, {
    CommonPrefixes: [{ Prefix: 'cats/' }],
    Contents: [{ Key: 'copy' }, { Key: 'named' }, { Key: 'other' }],
  })
  t.match(await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'cats/' })), {
    Contents: [{ Key, Size: body.length }],
  })

  const user = gateway.client(ordinary)
  const denied = { name: 'AccessDenied', message: /tenant_admin/, $metadata: { httpStatusCode: 403 } }
  await t.rejects(user.send(new PutObjectCommand({ Bucket, Key: 'mine', Body: 'x', ...kms })), denied)
  await t.rejects(user.send(new CreateMultipartUploadCommand({ Bucket, Key: 'mine', ...kms })), denied)
  await t.rejects(user.send(new CopyObjectCommand({ ...source, Key: 'mine', ...kms })), denied)
  await t.rejects(get(user, Key), denied)
  await t.rejects(get(s3, 'mine'), { name: 'NoSuchKey' }, 'nothing was stored')
  await t.rejects(s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'x', ...kms, SSEKMSKeyId: 'none' })), {
    name: 'KMS.NotFoundException',
    $metadata: { httpStatusCode: 400 },
  })

  const deleted = await s3.send(
    new DeleteObjectsCommand({ Bucket, Delete: { Objects: ['copy', 'named', 'other'].map(name => ({ Key: name })) } }),
  )
  t.equal(deleted.Deleted?.length, 3)
  await s3.send(new DeleteObjectCommand({ Bucket, Key }))
  await s3.send(new DeleteBucketCommand({ Bucket }))
})

const algorithms = ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const satisfies readonly ChecksumAlgorithm[]
type Algorithm = (typeof algorithms)[number]

/** The checksum of an answer that has just this one. */
const checksumOf = (
  answer: Readonly<Record<`Checksum${Algorithm}`, unknown>> | object,
  algorithm: Algorithm,
): unknown => {
  const found = new Map<string, unknown>(Object.entries(answer).filter(([name]) => /^Checksum[A-Z]+\d/.test(name)))
  return found.size === 1 ? found.get(`Checksum${algorithm}`) : [...found.keys()]
}

t.test('checksums of every algorithm, on objects and uploads, read back', async t => {
  const { s3 } = await photos(t)
  const mode = { ChecksumMode: 'ENABLED' } as const
  const large = randomBytes(5 * MiB + 77)
  for (const ChecksumAlgorithm of algorithms) {
    for (const stream of [false, true]) {
      const what = `${ChecksumAlgorithm} of ${stream ? 'a stream, in a trailer' : 'a buffer'}`
      const put = await s3.send(
        new PutObjectCommand({
          Bucket,
          Key: 'small',
          Body: stream ? Readable.from([body.subarray(0, 70_000), body.subarray(70_000)], { objectMode: false }) : body,
          ContentLength: body.length,
          ChecksumAlgorithm,
          ...kms,
        }),
      )
      t.match(put, kmsAnswer)
      const sum = checksumOf(put, ChecksumAlgorithm)
      t.type(sum, 'string', what)
      const answer = await get(s3, 'small', mode)
      t.match(answer, { ...kmsAnswer, ChecksumType: 'FULL_OBJECT' })
      t.equal(checksumOf(answer, ChecksumAlgorithm), sum, what)
      t.equal(Buffer.compare(await bytesOf(answer), body), 0, 'which the SDK verifies')
      t.equal(
        checksumOf(await s3.send(new HeadObjectCommand({ Bucket, Key: 'small', ...mode })), ChecksumAlgorithm),
        sum,
      )
    }
    const params = { Bucket, Key: 'large', Body: large, ChecksumAlgorithm, ...kms }
    const done = await new Upload({ client: s3, queueSize: 2, params }).done()
    t.match(done, kmsAnswer)
    const answer = await get(s3, 'large', mode)
    const type = ChecksumAlgorithm === 'CRC64NVME' ? 'FULL_OBJECT' : 'COMPOSITE'
    t.match(answer, { ...kmsAnswer, ChecksumType: type, ETag: done.ETag }, ChecksumAlgorithm)
    t.match(checksumOf(answer, ChecksumAlgorithm), type === 'COMPOSITE' ? /=-2$/ : /=$/)
    t.equal(checksumOf(answer, ChecksumAlgorithm), checksumOf(done, ChecksumAlgorithm))
    t.equal(Buffer.compare(await bytesOf(answer), large), 0)
  }
  const wrong = { Bucket, Key: 'small', Body: 'x', ChecksumSHA256: 'A'.repeat(43) + '=', ...kms }
  await t.rejects(s3.send(new PutObjectCommand(wrong)), { name: 'BadDigest' })
  t.equal(Buffer.compare(await bytesOf(await get(s3, 'small')), body), 0, 'the object before stays')
})

t.test('an upload by hand and by lib-storage: many parts at once, copied parts, abort', async t => {
  const { gateway, s3 } = await photos(t)
  const large = randomBytes(16 * MiB + 3)
  const upload = new Upload({
    client: s3,
    queueSize: 4,
    partSize: 5 * MiB,
    params: { Bucket, Key: 'big', Body: large, ...kms },
  })
  const progress: (number | undefined)[] = []
  upload.on('httpUploadProgress', ({ part }) => progress.push(part))
  t.match(await upload.done(), { ...kmsAnswer, ETag: /-4"$/ })
  t.strictSame(progress.toSorted(), [1, 2, 3, 4])
  const whole = await get(s3, 'big')
  t.match(whole, { ...kmsAnswer, ContentLength: large.length })
  t.equal(Buffer.compare(await bytesOf(whole), large), 0)
  const across = await get(s3, 'big', { Range: `bytes=${5 * MiB - 3}-${10 * MiB + 3}` })
  t.equal(
    Buffer.compare(await bytesOf(across), large.subarray(5 * MiB - 3, 10 * MiB + 4)),
    0,
    'a range over three parts',
  )
  const third = await get(s3, 'big', { PartNumber: 3 })
  t.match(third, { ...kmsAnswer, PartsCount: 4 })
  t.equal(Buffer.compare(await bytesOf(third), large.subarray(10 * MiB, 15 * MiB)), 0)

  const created = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'assembled', ...kms }))
  t.match(created, kmsAnswer)
  const at = { Bucket, Key: 'assembled', UploadId: created.UploadId }
  const CopySource = `${Bucket}/big`
  const range = `bytes=1-${5 * MiB}`
  const copied = await s3.send(new UploadPartCopyCommand({ ...at, PartNumber: 1, CopySource, CopySourceRange: range }))
  t.match(copied, kmsAnswer)
  const sent = await s3.send(new UploadPartCommand({ ...at, PartNumber: 2, Body: body }))
  t.match(sent, kmsAnswer)
  t.match(await s3.send(new ListPartsCommand(at)), {
    Parts: [{ Size: 5 * MiB }, { Size: body.length, ETag: sent.ETag }],
  })
  t.match(await s3.send(new ListMultipartUploadsCommand({ Bucket })), { Uploads: [{ Key: 'assembled' }] })
  const Parts = [
    { PartNumber: 1, ETag: copied.CopyPartResult?.ETag },
    { PartNumber: 2, ETag: sent.ETag },
  ]
  t.match(await s3.send(new CompleteMultipartUploadCommand({ ...at, MultipartUpload: { Parts } })), kmsAnswer)
  const assembled = Buffer.concat([large.subarray(1, 5 * MiB + 1), body])
  t.equal(Buffer.compare(await bytesOf(await get(s3, 'assembled')), assembled), 0)

  const left = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'left', ...kms }))
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'left', UploadId: left.UploadId }))
  const given = new Upload({ client: s3, partSize: 5 * MiB, params: { Bucket, Key: 'never', Body: large, ...kms } })
  given.on('httpUploadProgress', () => void given.abort())
  await t.rejects(given.done(), { name: 'AbortError' })
  const uploads = async () => (await s3.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads
  while ((await uploads()) !== undefined) await wait(20) // lib-storage drops its upload after it has told of the end
  await t.rejects(get(s3, 'never'), { name: 'NoSuchKey' })
  const denied = new Upload({ client: gateway.client(ordinary), params: { Bucket, Key: 'mine', Body: large, ...kms } })
  await t.rejects(denied.done(), { name: 'AccessDenied', message: /tenant_admin/ })
})

t.test('presigned URLs: a PUT whose SSE headers stay signed, a GET with ranges, both until they expire', async t => {
  let now = Date.now()
  const { gateway, s3 } = await photos(t, { clock: () => now })
  const put = new PutObjectCommand({
    Bucket,
    Key: 'a b/ü',
    ContentType: 'image/jpeg',
    ContentLength: body.length,
    ...kms,
  })
  const putUrl = await getSignedUrl(s3, put, { expiresIn: 60 })
  t.match(new URL(putUrl).searchParams.get('X-Amz-SignedHeaders'), 'content-length;host;x-amz-server-side-encryption')
  const headers = { 'x-amz-server-side-encryption': 'aws:kms' }
  const send = (url: string, init: RequestInit) => fetch(url, { method: 'PUT', body: new Uint8Array(body), ...init })
  const code = async (answer: Response) => /<Code>(.*?)<\/Code>/.exec(await answer.text())?.[1]
  t.equal(await code(await send(putUrl, {})), 'SignatureDoesNotMatch', 'a signed header is missing')
  t.equal(
    await code(await send(putUrl, { headers: { 'x-amz-server-side-encryption': 'AES256' } })),
    'SignatureDoesNotMatch',
  )
  const key = 'x-amz-server-side-encryption-aws-kms-key-id'
  t.equal(await code(await send(putUrl, { headers: { ...headers, [key]: 'x' } })), 'AccessDenied', 'one is not signed')
  const stored = await send(putUrl, { headers })
  t.equal(stored.status, 200, await stored.text())
  t.equal(stored.headers.get('x-amz-server-side-encryption'), 'aws:kms')
  const SSEKMSKeyId = stored.headers.get(key) ?? ''
  t.match(SSEKMSKeyId, kmsAnswer.SSEKMSKeyId)

  const named = new PutObjectCommand({ Bucket, Key: 'named', ContentLength: body.length, ...kms, SSEKMSKeyId })
  const both = await send(await getSignedUrl(s3, named), { headers: { ...headers, [key]: SSEKMSKeyId } })
  t.equal(both.status, 200, await both.text())
  const plain = await send(
    await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: 'plain', ContentLength: body.length })),
    {},
  )
  t.equal(plain.headers.get('x-amz-server-side-encryption'), null, await plain.text())

  const getUrl = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'a b/ü' }), { expiresIn: 60 })
  const whole = await fetch(getUrl)
  t.equal(whole.headers.get(key), SSEKMSKeyId)
  t.equal(Buffer.compare(Buffer.from(await whole.arrayBuffer()), body), 0)
  const range = await fetch(getUrl, { headers: { range: 'bytes=65530-65600' } })
  t.strictSame([range.status, range.headers.get('content-range')], [206, `bytes 65530-65600/${body.length}`])
  t.equal(Buffer.compare(Buffer.from(await range.arrayBuffer()), body.subarray(65_530, 65_601)), 0)

  const user = gateway.client(ordinary)
  const refused = await fetch(await getSignedUrl(user, new GetObjectCommand({ Bucket, Key: 'a b/ü' })))
  t.match(await refused.text(), /<Code>AccessDenied<\/Code><Message>[^<]*tenant_admin/)
  t.match(await (await send(await getSignedUrl(user, put), { headers })).text(), /tenant_admin/)
  now = Date.now() + 61_000 // after the time at which the client signed
  t.match(await (await fetch(getUrl)).text(), /<Code>AccessDenied<\/Code><Message>Request has expired/)
  t.equal(await code(await send(putUrl, { headers })), 'AccessDenied')
})

t.test('a form of s3-presigned-post with SSE-KMS under the key that it names', async t => {
  const { gateway, s3 } = await photos(t)
  const { SSEKMSKeyId = '' } = await s3.send(new PutObjectCommand({ Bucket, Key: 'first', Body: '', ...kms }))
  const upload = async (client: S3Client, more: Record<string, string> = {}) => {
    const { url, fields } = await createPresignedPost(client, {
      Bucket,
      Key: 'form/${filename}',
      Conditions: [['content-length-range', 1, body.length]],
      Fields: {
        'x-amz-server-side-encryption': 'aws:kms',
        'x-amz-server-side-encryption-aws-kms-key-id': SSEKMSKeyId,
        success_action_status: '201',
      },
    })
    const form = new FormData()
    for (const [name, value] of Object.entries({ ...fields, ...more })) form.append(name, value)
    form.append('file', new Blob([new Uint8Array(body)]), 'cat.jpg')
    const answer = await fetch(url, { method: 'POST', body: form })
    return { answer, text: await answer.text() }
  }
  const { answer, text } = await upload(s3)
  t.equal(answer.status, 201, text)
  t.equal(answer.headers.get('x-amz-server-side-encryption-aws-kms-key-id'), SSEKMSKeyId)
  const stored = await get(s3, 'form/cat.jpg')
  t.match(stored, { ...kms, SSEKMSKeyId })
  t.equal(Buffer.compare(await bytesOf(stored), body), 0)
  t.match((await upload(gateway.client(ordinary))).text, /<Code>AccessDenied<.*tenant_admin/)
  t.match((await upload(s3, { 'x-amz-server-side-encryption': 'AES256' })).text, /<Code>AccessDenied<.*policy/i)
})

t.test('the rules of Amazon: context, bucket key, alias, the default of the bucket', async t => {
  const { gateway, s3 } = await photos(t, { profile: createProfile('s3', { region }) })
  const { keyId } = await gateway.kms.createKey({ region, domainId: admin.domainId, alias: 'alias/mine' })
  const SSEKMSEncryptionContext = Buffer.from('{"department":"cats"}').toString('base64')
  const more = { ...kms, SSEKMSKeyId: 'alias/mine', SSEKMSEncryptionContext }
  const put = await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: body, ...more }))
  t.match(put, { ...kms, SSEKMSKeyId: keyId })
  t.strictSame(JSON.parse(Buffer.from(put.SSEKMSEncryptionContext ?? '', 'base64').toString()), { department: 'cats' })
  const answer = await get(s3, 'a')
  t.match(answer, { ...kms, SSEKMSKeyId: keyId })
  t.equal(Buffer.compare(await bytesOf(answer), body), 0)
  const rule = { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' as const, KMSMasterKeyID: keyId } }
  await s3.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration: { Rules: [rule] } }))
  const user = gateway.client(ordinary)
  const byDefault = new Upload({ client: user, params: { Bucket, Key: 'b', Body: randomBytes(6 * MiB) } })
  t.match(await byDefault.done(), { ...kms, SSEKMSKeyId: keyId }, 'which every user may use')
})

t.test('over TLS, SSE-C too', { skip: noOpenssl }, async t => {
  const folder = t.testdir()
  const certificate = makeCertificate(folder)
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ tls: certificate }))
  const server = await startServer(join(folder, 'data'), ['--config', join(folder, 'config.json')])
  t.teardown(() => server.stop())
  t.match(server.url, /^https:\/\/127\.0\.0\.1:\d+$/)
  const connect = (ca?: Buffer) =>
    new Client({
      endpoint: server.url,
      region: server.region,
      forcePathStyle: true,
      maxAttempts: 1,
      credentials: server.admin,
      requestHandler: { httpsAgent: new Agent({ ca, keepAlive: true }) },
    })
  const s3 = connect(readFileSync(certificate.cert))
  const stranger = connect()
  t.teardown(() => [s3, stranger].map(client => client.destroy()))
  await t.rejects(stranger.send(new CreateBucketCommand({ Bucket })), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
  await s3.send(new CreateBucketCommand({ Bucket }))
  const Body = Readable.from([body], { objectMode: false }) // which the SDK sends unsigned over TLS, with a trailer
  const put = await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body, ContentLength: body.length, ...kms }))
  t.match(put, { ...kms, SSEKMSKeyId: /^arn:aws:kms:/ })
  const answer = await get(s3, 'a', { Range: 'bytes=1-149999' })
  t.match(answer, { ...kms, SSEKMSKeyId: put.SSEKMSKeyId })
  t.equal(Buffer.compare(await bytesOf(answer), body.subarray(1, 150_000)), 0)

  const { key, md5 } = customerKey()
  const own = { SSECustomerAlgorithm: 'AES256', SSECustomerKey: key, SSECustomerKeyMD5: md5 }
  const told = { SSECustomerAlgorithm: 'AES256', SSECustomerKeyMD5: md5 }
  t.match(await s3.send(new PutObjectCommand({ Bucket, Key: 'own', Body: body, ...own })), told)
  const read = await get(s3, 'own', own)
  t.match(read, told)
  t.equal(Buffer.compare(await bytesOf(read), body), 0)
  await t.rejects(get(s3, 'own'), { name: 'InvalidRequest' })
  const other = customerKey()
  await t.rejects(get(s3, 'own', { ...own, SSECustomerKey: other.key, SSECustomerKeyMD5: other.md5 }), {
    name: 'AccessDenied',
  })
  const source = {
    Bucket,
    CopySource: `${Bucket}/own`,
    CopySourceSSECustomerAlgorithm: 'AES256',
    CopySourceSSECustomerKey: key,
    CopySourceSSECustomerKeyMD5: md5,
  }
  t.match(await s3.send(new CopyObjectCommand({ ...source, Key: 'copy', ...kms })), kms)
  t.equal(Buffer.compare(await bytesOf(await get(s3, 'copy')), body), 0, 'from a key of the customer to SSE-KMS')
  const large = randomBytes(6 * MiB)
  const upload = new Upload({ client: s3, params: { Bucket, Key: 'large', Body: large, ...own } })
  await upload.done()
  t.equal(Buffer.compare(await bytesOf(await get(s3, 'large', own)), large), 0)
})
