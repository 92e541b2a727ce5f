/** Multipart uploads through the gateway, of every kind of encryption: attempts, Complete's checks, listings, aborts. */
import { createHash, randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import t, { type Test } from 'tap'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, ordinary, region, startGateway } from '../support/gateway.ts'

const MiB = 1_048_576
const md5 = (...pieces: readonly Uint8Array[]): Buffer => {
  const hash = createHash('md5')
  for (const piece of pieces) hash.update(piece)
  return hash.digest()
}
const customerKey = randomBytes(32)
const customer = {
  SSECustomerAlgorithm: 'AES256',
  SSECustomerKey: customerKey.toString('base64'),
  SSECustomerKeyMD5: md5(customerKey).toString('base64'),
}

/** Every kind: what Initiate says, what every later request repeats, what an answer must have. */
const kinds = [
  { name: 'plain', initiate: {}, repeat: {}, answer: {}, md5: true },
  {
    name: 'SSE-S3',
    initiate: { ServerSideEncryption: 'AES256' },
    repeat: {},
    answer: { ServerSideEncryption: 'AES256' },
    md5: true,
  },
  {
    name: 'SSE-KMS',
    initiate: { ServerSideEncryption: 'aws:kms' },
    repeat: {},
    answer: { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: /^arn:aws:kms:/ },
    md5: false,
  },
  { name: 'SSE-C', initiate: customer, repeat: customer, answer: { SSECustomerAlgorithm: 'AES256' }, md5: false },
] as const

const bodyOf = async (s3: S3Client, Key: string, more: object = {}): Promise<Buffer> => {
  const answer = await s3.send(new GetObjectCommand({ Bucket: 'photos', Key, ...more }))
  return Buffer.from((await answer.Body?.transformToByteArray()) ?? [])
}

const photos = async (t: Test, options: Parameters<typeof startGateway>[1] = {}) => {
  const gateway = await startGateway(t, options)
  const s3 = gateway.client()
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  return { gateway, s3 }
}

t.test('parts in any order, one sent twice; the one that Complete names counts', async t => {
  const { gateway, s3 } = await photos(t)
  for (const kind of kinds) {
    await t.test(kind.name, async t => {
      const at = { Bucket: 'photos', Key: `${kind.name} object` }
      const created = await s3.send(
        new CreateMultipartUploadCommand({ ...at, ...kind.initiate, Metadata: { who: 'me' } }),
      )
      t.match(created, kind.answer)
      const upload = { ...at, UploadId: created.UploadId }
      const [one, other, last] = [randomBytes(5 * MiB), randomBytes(5 * MiB), randomBytes(100)]
      const put = async (PartNumber: number, Body: Buffer) => {
        const part = await s3.send(new UploadPartCommand({ ...upload, PartNumber, Body, ...kind.repeat }))
        t.match(part, kind.answer)
        if (kind.md5) t.equal(part.ETag, `"${md5(Body).toString('hex')}"`)
        else t.match(part.ETag, new RegExp(`^"[0-9a-f]{32}-${PartNumber}"$`))
        return { PartNumber, ETag: part.ETag }
      }
      const third = await put(3, last)
      const stale = await put(1, one)
      const first = await put(1, other)
      const parts = await s3.send(new ListPartsCommand({ ...upload, ...kind.repeat }))
      t.match(parts.Parts, [first, third], 'a listing has the last attempt of each')
      t.strictSame(
        parts.Parts?.map(part => part.Size),
        [other.length, last.length],
      )
      const page = await s3.send(new ListPartsCommand({ ...upload, MaxParts: 1, ...kind.repeat }))
      t.match(page, { IsTruncated: true, NextPartNumberMarker: '1', Parts: [first] })
      const next = await s3.send(new ListPartsCommand({ ...upload, PartNumberMarker: '1', ...kind.repeat }))
      t.match(next, { IsTruncated: false, NextPartNumberMarker: '3', Parts: [third] })
      const behind = await s3.send(new ListPartsCommand({ ...upload, PartNumberMarker: '3', ...kind.repeat }))
      t.match(behind, { IsTruncated: false, NextPartNumberMarker: '3', Parts: undefined })

      const complete = (Parts: readonly object[]) =>
        s3.send(
          new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: [...Parts] }, ...kind.repeat }),
        )
      await t.rejects(complete([third, first]), { name: 'InvalidPartOrder' })
      await t.rejects(complete([first, { ...third, ETag: '"0-3"' }]), { name: 'InvalidPart' })
      await t.rejects(complete([first, { ...third, PartNumber: 2 }]), { name: 'InvalidPart' })
      const done = await complete([stale, third])
      t.match(done.Location, /^http:\/\/127\.0\.0\.1:\d+\/photos\/[^/]+$/)
      if (kind.md5) t.equal(done.ETag, `"${md5(md5(one), md5(last)).toString('hex')}-2"`)
      else t.match(done.ETag, /^"[0-9a-f]{32}-2"$/)
      t.equal((await complete([stale, third])).ETag, done.ETag, 'Complete may be repeated')
      await t.rejects(complete([first, third]), { name: 'NoSuchUpload' }, 'but not with other parts')
      await t.rejects(put(4, last), { name: 'NoSuchUpload' })

      const whole = Buffer.concat([one, last])
      t.equal(Buffer.compare(await bodyOf(s3, at.Key, kind.repeat), whole), 0)
      const Range = `bytes=${5 * MiB - 10}-${5 * MiB + 9}`
      t.strictSame(await bodyOf(s3, at.Key, { ...kind.repeat, Range }), whole.subarray(5 * MiB - 10, 5 * MiB + 10))
      const head = await s3.send(new HeadObjectCommand({ ...at, ...kind.repeat }))
      t.match(head, { ...kind.answer, ContentLength: whole.length, ETag: done.ETag, Metadata: { who: 'me' } })
    })
  }
  const files = readdirSync(join(gateway.directory, 'bodies'), { recursive: true, withFileTypes: true })
  t.equal(
    files.filter(entry => entry.isFile() && entry.name !== 'store-id').length,
    8,
    'of each object two parts, and no attempt beside them',
  )
})

t.test("SSE-C: listings and Complete need no customer's key, parts and the object do", async t => {
  const { gateway, s3 } = await photos(t)
  const other = createHash('sha256').update(customerKey).digest()
  const another = {
    ...customer,
    SSECustomerKey: other.toString('base64'),
    SSECustomerKeyMD5: md5(other).toString('base64'),
  }
  for (const [Key, repeat] of [
    ['without', {}],
    ['with', customer],
  ] as const) {
    const at = { Bucket: 'photos', Key }
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...at, ...customer }))
    const upload = { ...at, UploadId }
    const bodies = [randomBytes(5 * MiB), randomBytes(100)]
    const Parts: { PartNumber: number; ETag: string | undefined }[] = []
    for (const [i, Body] of bodies.entries()) {
      const part = { ...upload, PartNumber: i + 1, Body }
      await t.rejects(s3.send(new UploadPartCommand(part)), { name: 'InvalidRequest' }, 'a part without its key')
      await t.rejects(s3.send(new UploadPartCommand({ ...part, ...another })), { name: 'InvalidRequest' })
      const { ETag } = await s3.send(new UploadPartCommand({ ...part, ...customer }))
      Parts.push({ PartNumber: i + 1, ETag })
    }
    const listed = await s3.send(new ListPartsCommand({ ...upload, ...repeat }))
    t.match(listed.Parts, [
      { ...Parts[0], Size: 5 * MiB },
      { ...Parts[1], Size: 100 },
    ])
    const complete = new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts }, ...repeat })
    const wrong = new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts }, ...another })
    await t.rejects(s3.send(wrong), { name: 'InvalidRequest' }, 'another key')
    await t.rejects(s3.send(new ListPartsCommand({ ...upload, ...another })), { name: 'InvalidRequest' })
    const done = await s3.send(complete)
    t.equal((await s3.send(complete)).ETag, done.ETag, 'sent again')
    t.equal(Buffer.compare(await bodyOf(s3, Key, customer), Buffer.concat(bodies)), 0)
    await t.rejects(bodyOf(s3, Key), { name: 'InvalidRequest' })
    await t.rejects(bodyOf(s3, Key, another), { name: 'AccessDenied' })
  }
  t.equal((await gateway.store.claims()).has(`default-key/${region}/sse-s3`), true, 'under the key of SSE-S3')
})

t.test('Complete and parts refuse what is wrong', async t => {
  const { gateway, s3 } = await photos(t)
  const at = { Bucket: 'photos', Key: 'cat' }
  for (const kind of kinds.filter(({ name }) => name !== 'SSE-C')) {
    const { UploadId = '' } = await s3.send(new CreateMultipartUploadCommand({ ...at, ...kind.initiate }))
    const etags: (string | undefined)[] = []
    for (const PartNumber of [1, 2]) {
      const part = await s3.send(new UploadPartCommand({ ...at, UploadId, PartNumber, Body: 'small' }))
      etags.push(part.ETag)
    }
    const Parts = etags.map((ETag, i) => ({ ETag, PartNumber: i + 1 }))
    await t.rejects(s3.send(new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload: { Parts } })), {
      name: 'EntityTooSmall',
    })
    const post = (body: string, path = `/photos/cat?uploadId=${UploadId}`, headers = {}) =>
      gateway.signedFetch(admin, 'POST', path, { body, headers })
    const list = (inner: string) => `<CompleteMultipartUpload>${inner}</CompleteMultipartUpload>`
    const part = `<Part><PartNumber>1</PartNumber><ETag>${etags[0] ?? ''}</ETag></Part>`
    t.match(await post('not xml'), { status: 400, code: 'MalformedXML' })
    t.match(await post(list('')), { status: 400, code: 'MalformedXML' })
    t.match(await post(list('<Part><PartNumber>x</PartNumber><ETag>1</ETag></Part>')), {
      status: 400,
      code: 'MalformedXML',
    })
    t.match(await post(list('<Part><PartNumber>1</PartNumber></Part>')), { status: 400, code: 'MalformedXML' })
    t.match(await post(list(part.repeat(10_001))), { status: 400, code: 'InvalidRequest' })
    const kms = { 'x-amz-server-side-encryption': 'aws:kms' }
    t.match(await post(list(part), undefined, kms), { status: 400, code: 'InvalidArgument' })
    t.match(await post(list(part), `/photos/dog?uploadId=${UploadId}`), { status: 404, code: 'NoSuchUpload' })
    t.match(await post(list(part), `/photos/cat?uploadId=${UploadId.slice(1)}a`), { status: 404, code: 'NoSuchUpload' })
    t.match(await post(list(part), '/photos/cat?uploadId='), { status: 404, code: 'NoSuchUpload' })
    const put = (number: string, headers = {}) =>
      gateway.signedFetch(admin, 'PUT', `/photos/cat?partNumber=${number}&uploadId=${UploadId}`, { body: 'x', headers })
    for (const number of ['0', '10001', 'x', '']) t.match(await put(number), { status: 400, code: 'InvalidArgument' })
    t.match(
      await put('1', kms),
      { status: 400, code: 'InvalidArgument' },
      'headers of encryption do not belong to parts',
    )
    t.match(await put('1', { 'content-md5': md5(Buffer.from('y')).toString('base64') }), {
      status: 400,
      code: 'BadDigest',
    })
    t.match(await post(list(part)), { status: 200 }, `${kind.name}: and what is right is done`)
  }
})

t.test('SSE-C: the same key on every request, and no other', async t => {
  const { s3 } = await photos(t)
  const at = { Bucket: 'photos', Key: 'cat' }
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...at, ...customer }))
  const part = { ...at, UploadId, PartNumber: 1, Body: 'x' }
  await t.rejects(s3.send(new UploadPartCommand(part)), { name: 'InvalidRequest' })
  const key = randomBytes(32)
  const other = { ...customer, SSECustomerKey: key.toString('base64'), SSECustomerKeyMD5: md5(key).toString('base64') }
  await t.rejects(s3.send(new UploadPartCommand({ ...part, ...other })), {
    name: 'InvalidRequest',
    message: /did not match the ones used originally/,
  })
  t.ok((await s3.send(new UploadPartCommand({ ...part, ...customer }))).ETag)
})

t.test('lenientParts ignores the headers that some clients repeat', async t => {
  const { s3 } = await photos(t, { profile: createProfile('obs', { region, lenientParts: true }) })
  const upload = new Upload({
    client: s3,
    params: { Bucket: 'photos', Key: 'big', Body: randomBytes(11 * MiB), ServerSideEncryption: 'aws:kms' },
  })
  t.match(await upload.done(), { ServerSideEncryption: 'aws:kms' })
})

t.test("lib-storage's Upload, four parts at once", async t => {
  const { s3 } = await photos(t)
  const body = randomBytes(22 * MiB)
  const params = { Bucket: 'photos', Key: 'big', Body: body, ServerSideEncryption: 'aws:kms' } as const
  await new Upload({ client: s3, queueSize: 4, params }).done()
  t.equal(Buffer.compare(await bodyOf(s3, 'big'), body), 0)
})

t.test('uploads are listed, and aborted', async t => {
  const { gateway, s3 } = await photos(t)
  const ids = new Map<string, string | undefined>()
  for (const Key of ['a/1', 'a/2', 'b']) {
    const created = await s3.send(
      new CreateMultipartUploadCommand({ Bucket: 'photos', Key, ServerSideEncryption: 'aws:kms' }),
    )
    ids.set(Key, created.UploadId)
  }
  const list = (more: object = {}) => s3.send(new ListMultipartUploadsCommand({ Bucket: 'photos', ...more }))
  t.strictSame(
    (await list()).Uploads?.map(({ Key, UploadId }) => [Key, UploadId]),
    [...ids],
  )
  t.match(await list({ Delimiter: '/' }), { CommonPrefixes: [{ Prefix: 'a/' }], Uploads: [{ Key: 'b' }] })
  const page = await list({ MaxUploads: 1 })
  t.match(page, { IsTruncated: true, NextKeyMarker: 'a/1', NextUploadIdMarker: ids.get('a/1') })
  const rest = await list({ KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker, Prefix: 'a/' })
  t.match(rest, { IsTruncated: false, Uploads: [{ Key: 'a/2' }] })
  t.match(await gateway.signedFetch(admin, 'GET', '/photos?uploads&max-uploads=x'), {
    status: 400,
    code: 'InvalidArgument',
  })

  const at = { Bucket: 'photos', Key: 'b', UploadId: ids.get('b') }
  await s3.send(new UploadPartCommand({ ...at, PartNumber: 1, Body: randomBytes(100_000) }))
  await t.rejects(gateway.client(ordinary).send(new UploadPartCommand({ ...at, PartNumber: 2, Body: 'x' })), {
    name: 'AccessDenied',
  })
  await s3.send(new AbortMultipartUploadCommand(at))
  await t.rejects(s3.send(new AbortMultipartUploadCommand(at)), { name: 'NoSuchUpload' })
  await t.rejects(s3.send(new ListPartsCommand(at)), { name: 'NoSuchUpload' })
  t.equal((await list()).Uploads?.length, 2)
})
