/** UpdateObjectEncryption with Amazon's own client: what changes and what stays, who may, and what is refused in the words of S3. */
import {
  CreateBucketCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  PutBucketPolicyCommand,
  PutObjectCommand,
  type S3Client,
  UpdateObjectEncryptionCommand,
} from '@aws-sdk/client-s3'
import t, { type Test } from 'tap'
import { parseEnvelope } from '../../lib/envelope/envelope.ts'
import type { GatewayUser } from '../../lib/gateway/options.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, ordinary, region, startGateway, stranger } from '../support/gateway.ts'

const Bucket = 'photos'
const { domainId } = admin

const prepare = async (t: Test, options: Parameters<typeof startGateway>[1] = {}) => {
  const gateway = await startGateway(t, { profile: createProfile('s3', { region }), trustTransport: true, ...options })
  const s3 = gateway.client()
  await s3.send(new CreateBucketCommand({ Bucket }))
  const create = async (alias: string, domain = domainId): Promise<string> =>
    (await gateway.kms.createKey({ region, domainId: domain, alias })).keyId
  return { gateway, s3, create, first: await create('first'), second: await create('second') }
}

const update = (s3: S3Client, Key: string, KMSKeyArn: string, BucketKeyEnabled?: boolean) =>
  s3.send(
    new UpdateObjectEncryptionCommand({ Bucket, Key, ObjectEncryption: { SSEKMS: { KMSKeyArn, BucketKeyEnabled } } }),
  )

const head = (s3: S3Client, Key: string): Promise<HeadObjectCommandOutput> =>
  s3.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }))

const text = async (s3: S3Client, Key: string): Promise<string | undefined> =>
  (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body?.transformToString()

t.test('key and bucket key change, and nothing else does', async t => {
  const { gateway, s3, first, second } = await prepare(t)
  const context = Buffer.from('{"team":"red"}').toString('base64')
  await s3.send(
    new PutObjectCommand({
      ...{ Bucket, Key: 'a', Body: 'hello', ServerSideEncryption: 'aws:kms', SSEKMSKeyId: first },
      ...{ SSEKMSEncryptionContext: context, ContentType: 'text/x', Metadata: { a: 'b' }, Tagging: 'x=y' },
      ChecksumAlgorithm: 'SHA256',
    }),
  )
  const { $metadata: _, SSEKMSKeyId: before, ...old } = await head(s3, 'a')
  t.equal(before, first)
  for (const [key, bucketKey] of [
    [second, undefined],
    [second, true],
    [first, true],
    [first, false],
  ] as const) {
    await new Promise(resolve => setTimeout(resolve, 5))
    const answer = await update(s3, 'a', key, bucketKey)
    t.equal(answer.$metadata.httpStatusCode, 200)
    const { $metadata: _now, SSEKMSKeyId, BucketKeyEnabled, ...now } = await head(s3, 'a')
    t.equal(SSEKMSKeyId, key)
    t.equal(BucketKeyEnabled ?? false, bucketKey ?? false)
    t.strictSame(now, old, 'ETag, Last-Modified, metadata, checksum')
    t.equal(await text(s3, 'a'), 'hello')
    const record = await gateway.byName.getObject(Bucket, 'a')
    const { wrapped, context: stored } = parseEnvelope(record?.envelope ?? new Uint8Array()).record
    t.match(wrapped, { keyId: key, wrapAlg: bucketKey === true ? 3 : 2 })
    t.match(Buffer.from(stored).toString(), 'team', "the client's context stays")
  }
  const { TagSet } = await s3.send(new GetObjectTaggingCommand({ Bucket, Key: 'a' }))
  t.strictSame(TagSet, [{ Key: 'x', Value: 'y' }])
  // The newest version of the same key.
  await gateway.kms.rotateKey({ keyId: first })
  await update(s3, 'a', first)
  t.equal(await text(s3, 'a'), 'hello')
})

t.test('what is refused', async t => {
  const { gateway, s3, create, first, second } = await prepare(t)
  const put = (Key: string, more: object) => s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x', ...more }))
  const kms = { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: first }
  await put('kms', kms)
  await put('s3', { ServerSideEncryption: 'AES256' })
  await put('c', { SSECustomerAlgorithm: 'AES256', SSECustomerKey: '0123456789abcdef0123456789abcdef' })
  const strange = await create('strange', stranger.domainId)
  const elsewhere = first.replace(region, 'elsewhere')
  for (const [key, arn, error] of [
    ['s3', second, { name: 'InvalidRequest', message: 'objects under SSE-KMS' }],
    [
      'c',
      second,
      { name: 'InvalidRequest', message: "doesn't support source objects with the encryption type DSSE-KMS" },
    ],
    ['none', second, { name: 'NoSuchKey' }],
    ['kms', 'alias/second', { name: 'InvalidRequest', message: 'require a valid AWS KMS key Amazon Resource Name' }],
    ['kms', second.slice(second.indexOf('/') + 1), { name: 'InvalidRequest', message: 'correctly formatted' }],
    ['kms', strange, { name: 'AccessDenied' }],
    ['kms', elsewhere, { name: 'KMS.NotFoundException' }],
  ] as const) {
    await t.rejects(update(s3, key, arn), error, `${key} to ${arn}`)
  }
  await t.rejects(update(gateway.client(stranger), 'kms', strange), { name: 'AccessDenied' }, 'another tenant')
  const policy = { Effect: 'Allow', Principal: '*', Action: 's3:*', Resource: [`arn:aws:s3:::${Bucket}/*`] }
  await s3.send(new PutBucketPolicyCommand({ Bucket, Policy: JSON.stringify({ Statement: [policy] }) }))
  await t.rejects(update(gateway.client(stranger), 'kms', second), { name: 'AccessDenied' }, 'whatever the policy says')
  const deny = { ...policy, Effect: 'Deny', Action: 's3:UpdateObjectEncryption' }
  await s3.send(new PutBucketPolicyCommand({ Bucket, Policy: JSON.stringify({ Statement: [deny] }) }))
  await t.rejects(update(s3, 'kms', second), { name: 'AccessDenied' }, 'a policy names the action')
  await s3.send(new PutBucketPolicyCommand({ Bucket, Policy: JSON.stringify({ Statement: [policy] }) }))

  const send = (body: string) => gateway.signedFetch(admin, 'PUT', `/${Bucket}/kms?encryption`, { body })
  for (const [body, code, message] of [
    ['<ObjectEncryption><SSE-C/></ObjectEncryption>', 'InvalidRequest', 'to DSSE-KMS or SSE-C'],
    ['<ObjectEncryption><SSE-S3/></ObjectEncryption>', 'InvalidRequest', 'Valid values are SSEKMS'],
    [
      '<ObjectEncryption><SSE-KMS/></ObjectEncryption>',
      'InvalidRequest',
      'Modify the request to specify a KMS key ARN',
    ],
    [
      `<ObjectEncryption><SSE-KMS><KMSKeyArn>${second}</KMSKeyArn><BucketKeyEnabled>1</BucketKeyEnabled></SSE-KMS></ObjectEncryption>`,
      'InvalidRequest',
      'BucketKeyEnabled',
    ],
    ['<Other/>', 'MalformedXML', 'not well-formed'],
  ] as const) {
    const reply = await send(body)
    t.match(reply, { status: 400, code }, body)
    t.match(reply.text, message)
  }

  // The old key must be enabled, and the new one; a key in memory does not do.
  await put('held', { ...kms, BucketKeyEnabled: true })
  await gateway.kms.disableKey({ keyId: first })
  await t.rejects(update(s3, 'held', second), { name: 'KMS.DisabledException' })
  await gateway.kms.enableKey({ keyId: first })
  await gateway.kms.disableKey({ keyId: second })
  await t.rejects(update(s3, 'held', second), { name: 'KMS.DisabledException' })
  t.equal(await text(s3, 'held'), 'x')
  t.match(await head(s3, 'kms'), { SSEKMSKeyId: first }, 'nothing was changed')
})

t.test('obs: the role tenant_admin, and the default key', async t => {
  const { gateway, s3, first } = await prepare(t, { profile: createProfile('obs', { region }) })
  await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'x', ServerSideEncryption: 'aws:kms' }))
  const { SSEKMSKeyId = '' } = await head(s3, 'a')
  await t.rejects(update(s3, 'a', first), { name: 'AccessDenied', message: 'default master key' })
  await t.rejects(update(gateway.client(ordinary), 'a', SSEKMSKeyId), { name: 'AccessDenied', message: 'tenant_admin' })
  await update(s3, 'a', SSEKMSKeyId, true)
  t.match(await head(s3, 'a'), { BucketKeyEnabled: true })
})

t.test('rights: those of a copy', async t => {
  const user = (name: string): GatewayUser => ({ ...ordinary, name, accessKeyId: `AK${name}` })
  const [writer, reader, both] = [user('writer'), user('reader'), user('both')]
  const grant = (who: GatewayUser, ...rights: readonly ('kms:GenerateDataKey' | 'kms:Decrypt')[]) =>
    ({ domainId, users: [who.accessKeyId], rights }) as const
  const { gateway, s3, first, second } = await prepare(t, {
    users: [admin, writer, reader, both],
    keyGrants: [
      grant(admin, 'kms:GenerateDataKey', 'kms:Decrypt'),
      grant(writer, 'kms:GenerateDataKey'),
      grant(reader, 'kms:Decrypt'),
      grant(both, 'kms:GenerateDataKey', 'kms:Decrypt'),
    ],
  })
  const kms = { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: first } as const
  await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'x', ...kms }))
  const refused = (right: string, key: string) => ({ name: 'AccessDenied', message: `${right} on resource: ${key}` })
  await t.rejects(update(gateway.client(writer), 'a', second), refused('kms:Decrypt', first))
  await t.rejects(update(gateway.client(reader), 'a', second), refused('kms:GenerateDataKey', second))
  await update(gateway.client(both), 'a', second)
  t.match(await head(s3, 'a'), { SSEKMSKeyId: second })
})
