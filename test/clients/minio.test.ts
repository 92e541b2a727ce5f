/** The client `minio` of npm against a running gateway: objects, ranges, uploads in parts, copies, URLs and forms, all under SSE-KMS. */
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { Client, CopyDestinationOptions, CopySourceOptions, S3Error } from 'minio'
import t, { type Test } from 'tap'
import { customerKey } from '../support/customer-key.ts'
import { admin, ordinary, region, startGateway } from '../support/gateway.ts'

const MiB = 1_048_576
const Bucket = 'photos'
const algorithm = 'x-amz-server-side-encryption'
const keyId = 'x-amz-server-side-encryption-aws-kms-key-id'
const kms = { [algorithm]: 'aws:kms' }
const arn = /^arn:aws:kms:sichuan:domain1:key\/[0-9a-f-]{36}$/
/** What `statObject` shows of an object under SSE-KMS. */
const told = { [algorithm]: 'aws:kms', [keyId]: arn }
const body = randomBytes(150_001)
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/** Code of the error that a call fails with. */
const code = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => undefined,
    (error: unknown) => (error instanceof S3Error ? error.code : error),
  )

const photos = async (t: Test) => {
  const gateway = await startGateway(t)
  const [endPoint = '', port = ''] = gateway.host.split(':')
  const connect = (who = admin, its = region) =>
    new Client({
      endPoint,
      port: Number(port),
      useSSL: false,
      accessKey: who.accessKeyId,
      secretKey: who.secretAccessKey,
      partSize: 5 * MiB,
      pathStyle: true,
      region: its,
    })
  const minio = connect()
  await minio.makeBucket(Bucket)
  return { gateway, minio, connect }
}

t.test('put, get, ranges, copy, listing, delete', async t => {
  const { minio, connect } = await photos(t)
  t.match(await minio.listBuckets(), [{ name: Bucket }])
  t.equal(await minio.bucketExists(Bucket), true)
  const key = 'cats/größe 😀.jpg'
  const put = await minio.putObject(Bucket, key, body, body.length, { ...kms, a: 'b' })
  t.match(put.etag, /^[0-9a-f]{32}-1$/)
  const stat = await minio.statObject(Bucket, key)
  t.match(stat, { size: body.length, etag: put.etag, metaData: { ...told, a: 'b' } })
  await minio.putObject(Bucket, 'named', '', 0, { ...kms, [keyId]: String(stat.metaData[keyId]) })
  t.match(await minio.statObject(Bucket, 'named'), { size: 0, metaData: { [keyId]: stat.metaData[keyId] } })

  t.ok(same(await buffer(await minio.getObject(Bucket, key)), body))
  for (const [offset, length] of [
    [65_530, 71],
    [0, 10],
    [149_999, 0],
  ] as const) {
    const part = await buffer(await minio.getPartialObject(Bucket, key, offset, length))
    t.ok(same(part, body.subarray(offset, length === 0 ? body.length : offset + length)), `${offset}, ${length}`)
  }

  const from = new CopySourceOptions({ Bucket, Object: key })
  // Its own Encryption option refuses every value (minio 8.0.7): the headers themselves.
  const copied = await minio.copyObject(from, new CopyDestinationOptions({ Bucket, Object: 'copy', Headers: kms }))
  t.match(copied, { Key: 'copy', MetaData: told })
  t.ok(same(await buffer(await minio.getObject(Bucket, 'copy')), body))
  t.match(await minio.statObject(Bucket, 'copy'), { metaData: { ...told, a: 'b' } })

  const listed: unknown[] = []
  for await (const item of minio.listObjectsV2(Bucket, '', true)) listed.push(item)
  t.match(listed, [{ name: key, size: body.length, etag: put.etag }, { name: 'copy' }, { name: 'named', size: 0 }])
  const folders: unknown[] = []
  for await (const item of minio.listObjects(Bucket)) folders.push(item)
  t.match(folders, [{ name: 'copy' }, { name: 'named' }, { prefix: 'cats/' }])

  const user = connect(ordinary)
  const denied = { code: 'AccessDenied', message: /tenant_admin/ }
  await t.rejects(user.putObject(Bucket, 'mine', 'x', 1, { ...kms }), denied)
  await t.rejects(user.getObject(Bucket, key), denied)
  await t.rejects(user.copyObject(from, new CopyDestinationOptions({ Bucket, Object: 'mine', Headers: kms })), denied)
  await t.rejects(user.statObject(Bucket, key), { code: 'AccessDenied' })
  t.equal(await code(minio.statObject(Bucket, 'mine')), 'NotFound', 'nothing was stored')
  t.equal(await code(minio.putObject(Bucket, 'k', 'x', 1, { ...kms, [keyId]: 'none' })), 'KMS.NotFoundException')

  await minio.removeObject(Bucket, key)
  t.strictSame(await minio.removeObjects(Bucket, ['copy', 'named']), [])
  await minio.removeBucket(Bucket)
  t.equal(await minio.bucketExists(Bucket), false)
})

t.test('without a region of its own it asks where the bucket lies', async t => {
  const { gateway, connect } = await photos(t)
  const minio = connect(admin, '')
  t.match(await minio.listBuckets(), [{ name: Bucket }])
  t.equal(await minio.getBucketRegionAsync(Bucket), region)
  await minio.putObject(Bucket, 'a', body, body.length, { ...kms })
  t.ok(same(await buffer(await minio.getObject(Bucket, 'a')), body))
  t.ok(gateway.log.some(({ action, status }) => action === 'GetBucketLocation' && status === 200))
  for (const [path, status] of [
    ['/', 200],
    [`/${Bucket}?location`, 200],
    [`/${Bucket}`, 400],
    [`/${Bucket}/a`, 400],
    [`/${Bucket}/a?location`, 400],
  ] as const) {
    t.equal((await gateway.signedFetch(admin, 'GET', path, {}, 'us-east-1')).status, status, path)
  }
  const elsewhere = await gateway.signedFetch(admin, 'GET', `/${Bucket}?location`, {}, 'eu-west-1')
  t.match(elsewhere, { code: 'AuthorizationHeaderMalformed', text: `<Region>${region}</Region>` })
})

t.test('files in parts, a stream of unknown length, an upload that was broken off, a composition', async t => {
  const { gateway, minio, connect } = await photos(t)
  const folder = t.testdir()
  const large = randomBytes(10 * MiB + 5)
  writeFileSync(join(folder, 'large.bin'), large)
  const put = await minio.fPutObject(Bucket, 'large', join(folder, 'large.bin'), { ...kms })
  const parts = gateway.log.filter(({ action }) => action === 'UploadPart').length
  t.ok(parts > 1, 'it runs parts together where it reads faster than it sends')
  t.match(put.etag, new RegExp(`^[0-9a-f]{32}-${parts}$`))
  t.match(await minio.statObject(Bucket, 'large'), { size: large.length, metaData: told })
  await minio.fGetObject(Bucket, 'large', join(folder, 'back.bin'))
  t.ok(same(readFileSync(join(folder, 'back.bin')), large))
  const across = await buffer(await minio.getPartialObject(Bucket, 'large', 5 * MiB - 3, 10))
  t.ok(same(across, large.subarray(5 * MiB - 3, 5 * MiB + 7)), 'a range over two parts')

  const feed = (bytes: Uint8Array) =>
    Readable.from(
      Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, i) => bytes.subarray(i * 65_536, (i + 1) * 65_536)),
      { objectMode: false },
    )
  await minio.putObject(Bucket, 'unknown', feed(large), undefined, { ...kms })
  t.ok(same(await buffer(await minio.getObject(Bucket, 'unknown')), large))

  const broken = feed(large)
  broken.once('data', () => setTimeout(() => broken.destroy(new Error('the disk is gone')), 100))
  await t.rejects(minio.putObject(Bucket, 'resumed', broken, large.length, { ...kms }))
  t.ok(await minio.findUploadId(Bucket, 'resumed'), 'it stays, and the next one goes on with it')
  await minio.putObject(Bucket, 'resumed', feed(large), large.length, { ...kms })
  t.ok(same(await buffer(await minio.getObject(Bucket, 'resumed')), large))
  t.match(await minio.statObject(Bucket, 'resumed'), { metaData: told })
  t.equal(await minio.findUploadId(Bucket, 'resumed'), undefined)

  await minio.putObject(Bucket, 'small', body, body.length, { ...kms })
  // It ignores where a range of a source begins (minio 8.0.7).
  await minio.composeObject(new CopyDestinationOptions({ Bucket, Object: 'composed', Headers: kms }), [
    new CopySourceOptions({ Bucket, Object: 'large', MatchRange: true, Start: 0, End: 6 * MiB }),
    new CopySourceOptions({ Bucket, Object: 'small' }),
  ])
  const composed = await buffer(await minio.getObject(Bucket, 'composed'))
  t.ok(same(composed, Buffer.concat([large.subarray(0, 6 * MiB + 1), body])))
  t.match(await minio.statObject(Bucket, 'composed'), { metaData: told })

  await minio.initiateNewMultipartUpload(Bucket, 'left', { ...kms })
  const incomplete: unknown[] = []
  for await (const item of minio.listIncompleteUploads(Bucket, '', true)) incomplete.push(item)
  t.match(incomplete, [{ key: 'left' }])
  await minio.removeIncompleteUpload(Bucket, 'left')
  t.equal(await minio.findUploadId(Bucket, 'left'), undefined)
  await t.rejects(connect(ordinary).fPutObject(Bucket, 'mine', join(folder, 'large.bin'), { ...kms }), {
    code: 'AccessDenied',
    message: /tenant_admin/,
  })
})

t.test('URLs, a form, the default of the bucket', async t => {
  const { minio, connect } = await photos(t)
  await minio.setBucketEncryption(Bucket, {
    Rule: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' } }],
  })
  t.match(await minio.getBucketEncryption(Bucket), {
    ServerSideEncryptionConfiguration: { Rule: { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' } } },
  })
  // Its URLs for PUT sign no header but the host: SSE-KMS comes from the bucket.
  const put = await fetch(await minio.presignedPutObject(Bucket, 'a b', 60), {
    method: 'PUT',
    body: new Uint8Array(body),
  })
  t.strictSame([put.status, put.headers.get('x-amz-server-side-encryption')], [200, 'aws:kms'])
  t.match(put.headers.get(keyId), arn)
  const url = await minio.presignedGetObject(Bucket, 'a b', 60, { 'response-content-type': 'image/jpeg' })
  const range = await fetch(url, { headers: { range: 'bytes=1-149999' } })
  t.strictSame(
    [range.status, range.headers.get('content-type'), range.headers.get(keyId)],
    [206, 'image/jpeg', put.headers.get(keyId)],
  )
  t.ok(same(Buffer.from(await range.arrayBuffer()), body.subarray(1, 150_000)))
  t.match(await (await fetch(await connect(ordinary).presignedGetObject(Bucket, 'a b', 60))).text(), /tenant_admin/)

  await minio.removeBucketEncryption(Bucket)
  t.equal(await code(minio.getBucketEncryption(Bucket)), 'ServerSideEncryptionConfigurationNotFoundError')
  const policy = minio.newPostPolicy()
  policy.setBucket(Bucket)
  policy.setKey('form')
  policy.setContentLengthRange(1, body.length)
  policy.policy.conditions.push(['eq', `$${algorithm}`, 'aws:kms'])
  policy.formData[algorithm] = 'aws:kms'
  const { postURL, formData } = await minio.presignedPostPolicy(policy)
  const form = new FormData()
  for (const [name, value] of Object.entries(formData)) form.append(name, String(value))
  form.append('file', new Blob([new Uint8Array(body)]), 'cat.jpg')
  const posted = await fetch(postURL, { method: 'POST', body: form })
  t.strictSame([posted.status, posted.headers.get('x-amz-server-side-encryption')], [204, 'aws:kms'])
  t.ok(same(await buffer(await minio.getObject(Bucket, 'form')), body))
})

t.test('SSE-C on loopback', async t => {
  const { minio } = await photos(t)
  const { key, md5 } = customerKey()
  const name = 'X-Amz-Server-Side-Encryption-Customer'
  await minio.putObject(Bucket, 'own', body, body.length, {
    [`${name}-Algorithm`]: 'AES256',
    [`${name}-Key`]: key,
    [`${name}-Key-MD5`]: md5,
  })
  const own = { SSECustomerAlgorithm: 'AES256', SSECustomerKey: key, SSECustomerKeyMD5: md5 }
  t.ok(same(await buffer(await minio.getObject(Bucket, 'own', own)), body))
  t.ok(same(await buffer(await minio.getPartialObject(Bucket, 'own', 65_530, 71, own)), body.subarray(65_530, 65_601)))
  t.equal(await code(minio.getObject(Bucket, 'own')), 'InvalidRequest')
  const other = customerKey()
  const wrong = { ...own, SSECustomerKey: other.key, SSECustomerKeyMD5: other.md5 }
  t.equal(await code(minio.getObject(Bucket, 'own', wrong)), 'AccessDenied')
})
