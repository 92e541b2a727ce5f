/** CopyObject and UploadPartCopy: every kind of source to every kind of target, directives, conditions, self-copies. */
import { createHash, randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import t, { type Test } from 'tap'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, ordinary, region, startGateway, stranger } from '../support/gateway.ts'

const keyed = (key: Buffer, prefix = '') => {
  const md5 = createHash('md5').update(key).digest('base64')
  return {
    [`${prefix}SSECustomerAlgorithm`]: 'AES256',
    [`${prefix}SSECustomerKey`]: key.toString('base64'),
    [`${prefix}SSECustomerKeyMD5`]: md5,
  }
}
const [sourceKey, targetKey] = [randomBytes(32), randomBytes(32)]

/** Kinds of a source, with what reads it as a source; and of a target, with what reads it back. */
const sources = [
  { name: 'plain', put: {}, copy: {} },
  { name: 'SSE-S3', put: { ServerSideEncryption: 'AES256' }, copy: {} },
  { name: 'SSE-KMS', put: { ServerSideEncryption: 'aws:kms' }, copy: {} },
  { name: 'SSE-C', put: keyed(sourceKey), copy: keyed(sourceKey, 'CopySource') },
] as const
const targets = [
  { name: 'plain', copy: {}, get: {}, md5: true },
  { name: 'SSE-S3', copy: { ServerSideEncryption: 'AES256' }, get: {}, md5: true },
  { name: 'SSE-KMS', copy: { ServerSideEncryption: 'aws:kms' }, get: {}, md5: false },
  { name: 'SSE-C', copy: keyed(targetKey), get: keyed(targetKey), md5: false },
] as const
/** Where the bytes stay as they are: a reference more to the same body. */
const shared = new Set(['plain plain', 'SSE-S3 SSE-S3', 'SSE-S3 SSE-KMS', 'SSE-KMS SSE-KMS', 'SSE-C SSE-C'])

const photos = async (t: Test, profile = createProfile('obs', { region })) => {
  const gateway = await startGateway(t, { profile })
  const s3 = gateway.client()
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  const files = () =>
    readdirSync(join(gateway.directory, 'bodies'), { recursive: true, withFileTypes: true }).filter(
      entry => entry.isFile() && entry.name !== 'store-id',
    ).length
  return { gateway, s3, files }
}

const bodyOf = async (s3: S3Client, Key: string, more: object = {}): Promise<Buffer> => {
  const answer = await s3.send(new GetObjectCommand({ Bucket: 'photos', Key, ...more }))
  return Buffer.from((await answer.Body?.transformToByteArray()) ?? [])
}

/** Both, with a base that lets an object be plain. */
const profiles = [createProfile('obs', { region }), createProfile('s3', { region, baseEncryption: 'none' })]

const everyKind = async (t: Test, profile: (typeof profiles)[number]): Promise<void> => {
  const { s3, files } = await photos(t, profile)
  const body = randomBytes(200_000)
  const md5 = `"${createHash('md5').update(body).digest('hex')}"`
  for (const source of sources) {
    const from = `${source.name} ü/source?`
    await s3.send(
      new PutObjectCommand({ Bucket: 'photos', Key: from, Body: body, ...source.put, Metadata: { a: 'b' } }),
    )
    for (const target of targets) {
      const Key = `${source.name} to ${target.name}`
      const before = files()
      const answer = await s3.send(
        new CopyObjectCommand({
          Bucket: 'photos',
          Key,
          CopySource: encodeURIComponent(`photos/${from}`),
          ...source.copy,
          ...target.copy,
        }),
      )
      t.equal(files() - before, shared.has(`${source.name} ${target.name}`) ? 0 : 1, `${Key}: bytes written or shared`)
      t.match(answer, 'ServerSideEncryption' in target.copy ? target.copy : {})
      if (target.md5) t.equal(answer.CopyObjectResult?.ETag, md5)
      else t.match(answer.CopyObjectResult?.ETag, /^"[0-9a-f]{32}-1"$/)
      t.equal(Buffer.compare(await bodyOf(s3, Key, target.get), body), 0, `${Key}: opens`)
      const head = await s3.send(new HeadObjectCommand({ Bucket: 'photos', Key, ...target.get }))
      t.match(head, { ETag: answer.CopyObjectResult?.ETag, ContentLength: body.length, Metadata: { a: 'b' } })
      t.equal(
        head.ServerSideEncryption,
        'ServerSideEncryption' in target.copy ? target.copy.ServerSideEncryption : undefined,
      )
    }
  }
}

t.test('every kind of source to every kind of target', async t => {
  for (const profile of profiles) await t.test(profile.name, t => everyKind(t, profile))
})

t.test(
  'the encryption of a copy is never its source’s: the request says it, else the bucket, else the profile',
  async t => {
    const s3Base = createProfile('s3', { region })
    for (const [profile, base] of [
      [createProfile('obs', { region }), undefined],
      [s3Base, 'AES256'],
    ] as const) {
      const { gateway, s3 } = await photos(t, profile)
      const own = await gateway.kms.defaultKey({ region, domainId: admin.domainId })
      const other = await gateway.kms.createKey({ region, domainId: admin.domainId })
      const source = { Bucket: 'photos', Key: 'kms', Body: 'x', ServerSideEncryption: 'aws:kms' } as const
      await s3.send(new PutObjectCommand(profile === s3Base ? { ...source, SSEKMSKeyId: other.keyId } : source))
      const copy = (more: object = {}) =>
        s3.send(new CopyObjectCommand({ Bucket: 'photos', Key: 'copy', CopySource: 'photos/kms', ...more }))
      t.equal((await copy()).ServerSideEncryption, base, profile.name)
      t.match(
        await copy({ ServerSideEncryption: 'aws:kms' }),
        { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: own.keyId },
        'without a key id the default key, also where the source had another',
      )
      const rule =
        '<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>'
      await gateway.signedFetch(admin, 'PUT', '/photos?encryption', {
        body: `<ServerSideEncryptionConfiguration>${rule}</ServerSideEncryptionConfiguration>`,
      })
      t.match(await copy(), { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: own.keyId }, 'the default of the bucket')
      t.equal((await copy({ ServerSideEncryption: 'AES256' })).ServerSideEncryption, 'AES256')
      t.equal((await bodyOf(s3, 'copy')).toString(), 'x')
    }
  },
)

t.test('between tenants: in s3 all but SSE-KMS is encrypted anew, in obs nothing encrypted is copied', async t => {
  const everything = { Effect: 'Allow', Principal: '*', Action: 's3:*', Resource: 'arn:aws:s3:::photos/*' }
  const policy = JSON.stringify({ Version: '2012-10-17', Statement: [everything] })
  const body = randomBytes(200_000)
  for (const profile of profiles) {
    const { gateway, s3, files } = await photos(t, profile)
    await gateway.signedFetch(admin, 'PUT', '/photos?policy', { body: policy })
    const theirs = gateway.client(stranger)
    await theirs.send(new CreateBucketCommand({ Bucket: 'strange' }))
    for (const source of sources) {
      await s3.send(new PutObjectCommand({ Bucket: 'photos', Key: source.name, Body: body, ...source.put }))
      for (const target of targets) {
        const row = `${profile.name}: ${source.name} to ${target.name}`
        const at = { Bucket: 'strange', Key: row }
        const from = { CopySource: encodeURIComponent(`photos/${source.name}`), ...source.copy }
        const before = files()
        const copied = theirs.send(new CopyObjectCommand({ ...at, ...from, ...target.copy }))
        const plain = source.name === 'plain' && target.name === 'plain'
        if (source.name === 'SSE-KMS' || (profile.name === 'obs' && !plain)) {
          await t.rejects(copied, { name: 'AccessDenied' }, row)
          continue
        }
        await copied
        t.equal(files() - before, plain ? 0 : 1, `${row}: a body of its own`)
        const answer = await theirs.send(new GetObjectCommand({ ...at, ...target.get }))
        t.equal(Buffer.compare(body, (await answer.Body?.transformToByteArray()) ?? Buffer.alloc(0)), 0, row)
      }
    }
  }
})

t.test('the copy outlives its source', async t => {
  const { gateway, s3, files } = await photos(t)
  const body = randomBytes(100_000)
  const kms = { Bucket: 'photos', ServerSideEncryption: 'aws:kms' } as const
  await s3.send(new PutObjectCommand({ ...kms, Key: 'a', Body: body }))
  await s3.send(new CopyObjectCommand({ ...kms, Key: 'b', CopySource: 'photos/a' }))
  await gateway.signedFetch(admin, 'DELETE', '/photos/a')
  t.equal(files(), 1)
  t.equal(Buffer.compare(await bodyOf(s3, 'b'), body), 0)
  await gateway.signedFetch(admin, 'DELETE', '/photos/b')
  // The GET above may still be closing the body that it has sent.
  for (let i = 0; i < 200 && files() > 0; i++) await setTimeout(10)
  t.equal(files(), 0)
})

t.test('directives, conditions and names', async t => {
  const { gateway, s3 } = await photos(t)
  const put = {
    Bucket: 'photos',
    Key: 'a',
    Body: 'hello',
    ContentType: 'text/plain',
    Metadata: { a: 'b' },
    Tagging: 'x=y',
  }
  const { ETag = '' } = await s3.send(new PutObjectCommand(put))
  const copy = (more: object) =>
    s3.send(new CopyObjectCommand({ Bucket: 'photos', Key: 'b', CopySource: '/photos/a', ...more }))
  const tags = async () => (await s3.send(new GetObjectTaggingCommand({ Bucket: 'photos', Key: 'b' }))).TagSet
  const head = () => s3.send(new HeadObjectCommand({ Bucket: 'photos', Key: 'b' }))

  await copy({})
  t.match(await head(), { ContentType: 'text/plain', Metadata: { a: 'b' } })
  t.strictSame(await tags(), [{ Key: 'x', Value: 'y' }])
  await copy({ MetadataDirective: 'REPLACE', ContentType: 'image/png', Metadata: { c: 'd' } })
  t.strictSame((await head()).Metadata, { c: 'd' })
  t.equal((await head()).ContentType, 'image/png')
  await copy({ TaggingDirective: 'REPLACE', Tagging: 'p=q' })
  t.strictSame(await tags(), [{ Key: 'p', Value: 'q' }])
  await t.rejects(copy({ MetadataDirective: 'BOTH' }), { name: 'InvalidArgument' })

  await t.rejects(copy({ CopySourceIfMatch: '"other"' }), { name: 'PreconditionFailed' })
  await t.rejects(copy({ CopySourceIfNoneMatch: ETag }), { name: 'PreconditionFailed' })
  await t.resolves(copy({ CopySourceIfMatch: ETag }))
  const raw = (source: string) =>
    gateway.signedFetch(admin, 'PUT', '/photos/b', { headers: { 'x-amz-copy-source': source } })
  t.match(await raw('photos/missing'), { status: 404, code: 'NoSuchKey' })
  t.match(await raw('nowhere/a'), { status: 404, code: 'NoSuchBucket' })
  for (const wrong of ['photos', '/photos/', '', '%ff/a', 'photos/a?versionId=1']) {
    t.match(await raw(wrong), { status: 400, code: 'InvalidArgument' }, wrong)
  }
  t.match(await raw('photos/a?versionId=null'), { status: 200 })
  t.match(
    await gateway.signedFetch(admin, 'PUT', '/photos/b', {
      headers: { 'x-amz-copy-source': 'photos/a', 'if-none-match': '*' },
    }),
    { status: 412, code: 'PreconditionFailed' },
  )
})

t.test('onto itself only where that changes something', async t => {
  const { gateway, s3, files } = await photos(t)
  const body = randomBytes(70_000)
  await s3.send(new PutObjectCommand({ Bucket: 'photos', Key: 'a', Body: body }))
  const onto = (more: object) =>
    s3.send(new CopyObjectCommand({ Bucket: 'photos', Key: 'a', CopySource: 'photos/a', ...more }))
  await t.rejects(onto({}), { name: 'InvalidRequest', message: /illegal/ })
  await onto({ ServerSideEncryption: 'aws:kms' })
  t.equal(Buffer.compare(await bodyOf(s3, 'a'), body), 0)
  await onto({ ServerSideEncryption: 'aws:kms', MetadataDirective: 'REPLACE', Metadata: { a: 'b' } })
  t.equal(Buffer.compare(await bodyOf(s3, 'a'), body), 0)
  for (let i = 0; i < 200 && files() > 1; i++) await setTimeout(10) // the old ones go in the background
  t.equal(files(), 1)
  await t.resolves(onto({ StorageClass: 'STANDARD' }), 'a storage class is named')
  await t.rejects(onto({ TaggingDirective: 'REPLACE' }), { name: 'InvalidRequest' })
  const rule =
    '<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>'
  await gateway.signedFetch(admin, 'PUT', '/photos?encryption', {
    body: `<ServerSideEncryptionConfiguration>${rule}</ServerSideEncryptionConfiguration>`,
  })
  t.equal((await onto({})).ServerSideEncryption, 'AES256', 'the bucket has an encryption configuration')
  t.equal(Buffer.compare(await bodyOf(s3, 'a'), body), 0)
})

t.test('who may', async t => {
  const { gateway, s3 } = await photos(t)
  await s3.send(new PutObjectCommand({ Bucket: 'photos', Key: 'secret', Body: 'x', ServerSideEncryption: 'aws:kms' }))
  await s3.send(new PutObjectCommand({ Bucket: 'photos', Key: 'plain', Body: 'x' }))
  const copy = (who: typeof admin, more: object) =>
    gateway.client(who).send(new CopyObjectCommand({ Bucket: 'photos', Key: 'b', CopySource: 'photos/plain', ...more }))
  await t.rejects(copy(ordinary, { CopySource: 'photos/secret' }), { name: 'AccessDenied', message: /tenant_admin/ })
  await t.rejects(copy(ordinary, { ServerSideEncryption: 'aws:kms' }), { name: 'AccessDenied' })
  await t.resolves(copy(ordinary, {}))
  await t.rejects(copy(stranger, {}), { name: 'AccessDenied' })
  await gateway.client(stranger).send(new CreateBucketCommand({ Bucket: 'strange' }))
  await t.rejects(
    gateway.client(stranger).send(new CopyObjectCommand({ Bucket: 'strange', Key: 'b', CopySource: 'photos/secret' })),
    { name: 'AccessDenied' },
  )
})

t.test('a changed source is found out before the target exists', async t => {
  const { gateway, s3 } = await photos(t)
  await s3.send(
    new PutObjectCommand({ Bucket: 'photos', Key: 'a', Body: randomBytes(300_000), ServerSideEncryption: 'aws:kms' }),
  )
  const record = await gateway.byName.getObject('photos', 'a')
  if (record === undefined) return t.fail('no record')
  const { envelope = new Uint8Array() } = record
  const at = { bucket: 'photos', key: 'a' }
  const digit = envelope.indexOf(0x2f) + 1 // of the UUID behind `key/`: another digit, and what is none
  for (const [place, byte] of [
    [digit, envelope[digit] === 0x30 ? 0x31 : 0x30],
    [digit, 0x67],
    [envelope.length - 1, (envelope.at(-1) ?? 0) ^ 1],
  ] as const) {
    const changed = new Uint8Array(envelope)
    changed[place] = byte
    await gateway.byName.plant(at, at, { envelope: changed })
    for (const more of [{}, { ServerSideEncryption: 'aws:kms' as const }]) {
      await t.rejects(s3.send(new CopyObjectCommand({ Bucket: 'photos', Key: 'b', CopySource: 'photos/a', ...more })), {
        name: 'InternalError',
        $metadata: { httpStatusCode: 500 },
      })
    }
  }
  await gateway.byName.plant(at, at, { envelope: undefined })
  for (const more of [{}, { ServerSideEncryption: 'aws:kms' as const }]) {
    await t.rejects(s3.send(new CopyObjectCommand({ Bucket: 'photos', Key: 'b', CopySource: 'photos/a', ...more })), {
      name: 'InternalError',
      $metadata: { httpStatusCode: 500 },
    })
  }
  t.equal(await gateway.byName.getObject('photos', 'b'), undefined)
})

t.test('parts copied from objects, with ranges, under the upload’s key', async t => {
  const { gateway, s3 } = await photos(t)
  const body = randomBytes(6 * 1_048_576)
  for (const [i, source] of sources.entries()) {
    await s3.send(new PutObjectCommand({ Bucket: 'photos', Key: `source ${i}`, Body: body, ...source.put }))
    const at = { Bucket: 'photos', Key: `copy ${i}` }
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...at, ServerSideEncryption: 'aws:kms' }))
    const part = async (PartNumber: number, more: object) => {
      const copied = await s3.send(
        new UploadPartCopyCommand({
          ...at,
          UploadId,
          PartNumber,
          CopySource: `photos/source ${i}`,
          ...source.copy,
          ...more,
        }),
      )
      t.equal(copied.ServerSideEncryption, 'aws:kms')
      return { PartNumber, ETag: copied.CopyPartResult?.ETag }
    }
    const Parts = [await part(1, {}), await part(2, { CopySourceRange: 'bytes=100-200099' })]
    await s3.send(new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload: { Parts } }))
    t.equal(
      Buffer.compare(await bodyOf(s3, at.Key), Buffer.concat([body, body.subarray(100, 200_100)])),
      0,
      source.name,
    )
  }
  const { UploadId = '' } = await s3.send(new CreateMultipartUploadCommand({ Bucket: 'photos', Key: 'c' }))
  const raw = (headers: Record<string, string>) =>
    gateway.signedFetch(admin, 'PUT', `/photos/c?partNumber=1&uploadId=${UploadId}`, {
      headers: { 'x-amz-copy-source': 'photos/source 0', ...headers },
    })
  for (const range of ['bytes=0-', 'bytes=5-1', `bytes=0-${body.length}`, 'x']) {
    t.match(await raw({ 'x-amz-copy-source-range': range }), { status: 400, code: 'InvalidArgument' }, range)
  }
  t.match(await raw({ 'x-amz-server-side-encryption': 'aws:kms' }), { status: 400, code: 'InvalidArgument' })
  t.match(await raw({ 'x-amz-copy-source': 'photos/missing' }), { status: 404, code: 'NoSuchKey' })
  t.match(await raw({ 'x-amz-copy-source-range': 'bytes=0-99' }), { status: 200 })
})
