/** `sse-kms encrypt-existing` on the store of a running server: what clients see of an object before and after, and what is left as it is. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectAclCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  PutBucketEncryptionCommand,
  PutBucketPolicyCommand,
  PutObjectAclCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openFileStore } from '../../lib/store/file/store.ts'
import { cli, ended, start } from '../support/cli.ts'
import { main, startServer } from '../support/server.ts'

const Bucket = 'photos'
const user = (name: string) => ({
  name,
  accessKeyId: `AK${name}`,
  secretAccessKey: `secret-of-${name}`,
  roles: ['tenant_admin'],
})
const [ann, bob] = [user('ann'), user('bob')]

const prepare = async (t: Test) => {
  const folder = t.testdir()
  const config = join(folder, 'sse-kms.json')
  const data = join(folder, 'data')
  const tenants = [
    { domainId: 'domain1', projectId: 'project1', users: [ann] },
    { domainId: 'domain2', projectId: 'project2', users: [bob] },
  ]
  writeFileSync(config, JSON.stringify({ tenants, data, customerKeys: true }))
  const server = await startServer(data, ['--config', config])
  const clientOf = (credentials: typeof ann) =>
    new S3Client({
      ...{ endpoint: server.url, region: server.region, forcePathStyle: true, maxAttempts: 1 },
      credentials: { ...credentials },
      requestChecksumCalculation: 'WHEN_REQUIRED',
    })
  const [s3, other] = [clientOf(ann), clientOf(bob)]
  t.teardown(async () => {
    s3.destroy()
    other.destroy()
    await server.stop()
  })
  await s3.send(new CreateBucketCommand({ Bucket }))
  const command = (...more: readonly string[]) => ['encrypt-existing', '--config', config, '--bucket', Bucket, ...more]
  return { config, data, s3, other, command }
}

/** Puts an object in three parts. */
const putParts = async (s3: S3Client, Key: string, parts: readonly Buffer[], more: object) => {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ...more }))
  const Parts: object[] = []
  for (const [i, Body] of parts.entries()) {
    const PartNumber = 2 * i + 1
    const { $metadata: _, ...part } = await s3.send(
      new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body, ...more }),
    )
    Parts.push({ ...part, PartNumber })
  }
  await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
}

/** All that a client can learn of an object. */
const seen = async (s3: S3Client, Key: string) => {
  const at = { Bucket, Key }
  const parts = [1, 3, 5].map(async PartNumber => {
    try {
      const { Body } = await s3.send(new GetObjectCommand({ ...at, PartNumber }))
      return (await Body?.transformToByteArray())?.length
    } catch (error) {
      return error instanceof Error ? error.name : ''
    }
  })
  const { $metadata: _head, ...head } = await s3.send(new HeadObjectCommand({ ...at, ChecksumMode: 'ENABLED' }))
  const ObjectAttributes = ['ETag', 'Checksum', 'ObjectParts', 'ObjectSize'] as const
  const { $metadata: _attributes, ...attributes } = await s3.send(
    new GetObjectAttributesCommand({ ...at, ObjectAttributes: [...ObjectAttributes] }),
  )
  const { TagSet } = await s3.send(new GetObjectTaggingCommand(at))
  const { Grants } = await s3.send(new GetObjectAclCommand(at))
  const { Body } = await s3.send(new GetObjectCommand(at))
  const { ServerSideEncryption, SSEKMSKeyId, ETag, ...facts } = head
  return {
    under: ServerSideEncryption,
    key: SSEKMSKeyId,
    ETag,
    body: Buffer.from((await Body?.transformToByteArray()) ?? []),
    facts: { ...facts, attributes: { ...attributes, ETag: '' }, TagSet, Grants },
    parts: await Promise.all(parts),
  }
}

const kib = 1024
const bodies = [randomBytes(100 * kib), randomBytes(150 * kib), randomBytes(7)]
const fill = async (s3: S3Client): Promise<readonly string[]> => {
  const put = (Key: string, more: object) =>
    s3.send(new PutObjectCommand({ Bucket, Key, Body: `body of ${Key}`, ...more }))
  await put('empty', { Body: '' })
  await put('large', { Body: randomBytes(300 * kib) })
  await put('tagged', { ContentType: 'text/x', Metadata: { a: 'b' }, Tagging: 'x=y', ChecksumAlgorithm: 'SHA256' })
  await putParts(s3, 'parts', bodies, {})
  await putParts(s3, 'parts-crc', bodies, { ChecksumAlgorithm: 'CRC64NVME' })
  await putParts(s3, 'parts-sha', bodies, { ChecksumAlgorithm: 'SHA256', Metadata: { a: 'b' } })
  return ['empty', 'large', 'tagged', 'parts', 'parts-crc', 'parts-sha']
}

t.test('to SSE-S3: clients see the same, but for the encryption', async t => {
  const { data, s3, command } = await prepare(t)
  const keys = await fill(s3)
  await s3.send(new PutObjectAclCommand({ Bucket, Key: 'tagged', ACL: 'public-read' }))
  await s3.send(new PutObjectCommand({ Bucket, Key: 'kms', Body: 'x', ServerSideEncryption: 'aws:kms' }))
  const before = new Map(await Promise.all(keys.map(async key => [key, await seen(s3, key)] as const)))
  t.equal(before.get('parts-sha')?.under, undefined)

  t.match(await cli(command()), { code: 2, stderr: 'the bucket has no default encryption: name a key with --to' })
  const dry = await cli(command('--to', 'sse-s3', '--dry-run'))
  t.match(dry, { code: 0 })
  t.match(dry.stdout.toString(), '6 would be sealed under')
  t.equal((await seen(s3, 'tagged')).under, undefined)

  // A process of its own is killed after it has sealed one of them.
  const child = start(command('--to', 'sse-s3', '--rate', '5', '--concurrency', '1'), main)
  const end = ended(child)
  for (;;) {
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'large' }))
    if (head.ServerSideEncryption !== undefined || child.exitCode !== null) break
  }
  child.kill('SIGKILL')
  t.equal((await end).signal, 'SIGKILL')
  const rest = await cli(command('--to', 'sse-s3'))
  t.match(rest, { code: 0, stderr: '' })
  t.match(rest.stdout.toString(), /[1-4] sealed under .*, [3-6] were there/)
  for (const key of keys) {
    const { under, body, ...now } = await seen(s3, key)
    const { under: _none, body: old, ...then } = before.get(key) ?? (await seen(s3, key))
    t.equal(under, 'AES256', key)
    t.ok(body.equals(old), `${key}: the body`)
    t.strictSame(now, then, `${key}: ETag, Last-Modified, metadata, checksums, parts, tags, ACL`)
  }

  // Bytes that are not those that were put are not sealed as if they were.
  await s3.send(new PutObjectCommand({ Bucket, Key: 'damaged', Body: 'good' }))
  const rows = await openFileStore(join(data, 'objects'), { sweepEvery: 0 })
  const bucket = await rows.getBucket(Bucket)
  const record = bucket && (await rows.getObject(bucket.id, 'damaged'))
  if (bucket === undefined || record === undefined) throw new TypeError('it is there')
  const body = await rows.createBody()
  body.writable.end('evil')
  await new Promise(resolve => body.writable.on('finish', resolve))
  await rows.putObject(bucket, 'damaged', record, body)
  await rows.close()
  const damaged = await cli(command('--to', 'sse-s3'))
  t.match(damaged, { code: 1, stderr: '1 objects or uploads were left as they are' })
  t.match(
    damaged.stdout.toString(),
    '1 left: BadDigest: Its bytes are not those of its ETag. Restore it from a backup.\n  damaged\n',
  )
})

t.test('to SSE-KMS: other ETags, and nothing that others may read', async t => {
  const { s3, other, command } = await prepare(t)
  const keys = await fill(s3)
  const put = (Key: string, more: object = {}) => s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x', ...more }))
  await put('public', { ACL: 'public-read' })
  await put('shared/a')
  const Statement = [
    {
      Effect: 'Allow',
      Principal: { AWS: 'domain2' },
      Action: 's3:GetObject',
      Resource: `arn:aws:s3:::${Bucket}/shared/*`,
    },
    { Effect: 'Allow', Principal: { AWS: 'domain1' }, Action: 's3:GetObject', Resource: `arn:aws:s3:::${Bucket}/*` },
  ]
  await s3.send(new PutBucketPolicyCommand({ Bucket, Policy: JSON.stringify({ Statement }) }))
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'open' }))
  await s3.send(
    new PutBucketEncryptionCommand({
      Bucket,
      ServerSideEncryptionConfiguration: {
        Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' }, BucketKeyEnabled: true }],
      },
    }),
  )
  const before = new Map(await Promise.all(keys.map(async key => [key, await seen(s3, key)] as const)))
  t.match(await cli(command()), { code: 2, stderr: 'allow that with --change-etags, or use --to sse-s3' })
  const done = await cli(command('--change-etags', '--json'))
  t.match(done, { code: 1, stderr: '3 objects or uploads were left as they are' })
  const report: unknown = JSON.parse(done.stdout.toString())
  t.match(report, { changed: keys.length, left: [{ count: 1 }, { count: 1 }, { count: 1 }] })
  const told = done.stdout.toString()
  for (const words of [
    'open to others by its ACL',
    "open to others by the bucket's policy",
    `open?uploadId=${UploadId}`,
  ]) {
    t.match(told, words)
  }
  for (const key of keys) {
    const { under, key: kmsKey, body, ETag, facts, parts } = await seen(s3, key)
    const old = before.get(key)
    t.equal(under, 'aws:kms', key)
    t.match(kmsKey, 'key/')
    t.not(ETag, old?.ETag)
    t.ok(body.equals(old?.body ?? Buffer.alloc(1)), `${key}: the body`)
    t.match(facts, { ...old?.facts, BucketKeyEnabled: true }, `${key}: all but ETag and encryption`)
    t.strictSame(parts, old?.parts)
  }
  t.equal(await (await other.send(new GetObjectCommand({ Bucket, Key: 'shared/a' }))).Body?.transformToString(), 'x')
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'open', UploadId }))
  const rest = await cli(command('--to', 'sse-s3'))
  t.match(rest, { code: 0 })
  t.match(rest.stdout.toString(), '2 sealed under')
  t.equal(await (await other.send(new GetObjectCommand({ Bucket, Key: 'shared/a' }))).Body?.transformToString(), 'x')
})
