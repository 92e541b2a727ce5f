// Bucket policies enforced: the page's own policy on every interface that writes, other tenants and anonymous callers let in and kept out,
// the order of decision, and that nobody is locked out of the policy itself.
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteBucketPolicyCommand,
  GetBucketPolicyCommand,
  GetObjectCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
  S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import type { GatewayUser } from '../../lib/gateway/options.ts'
import { createPolicyCache } from '../../lib/gateway/access/policy-cache.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import type { Bucket } from '../../lib/store/records.ts'
import { admin, ordinary, region, startGateway, stranger, strangersUser, type TestGateway } from '../support/gateway.ts'

/** The policy of the OBS page "SSE-KMS", word for word but for the bucket's name. */
const pagePolicy = (bucket: string): string => `{
"Version":"2008-10-17",
"Id":"PutObjPolicy",
"Statement":[{
"Sid":"DenyUnEncryptedObjectUploads",
"Effect":"Deny",
"Principal":"*",
"Action":"s3:PutObject",
"Resource":"arn:aws:s3:::${bucket}/*",
"Condition":{
"StringNotEquals":{
"s3:x-amz-server-side-encryption":"aws:kms"
}
}
}
]
}`

type Statement = Readonly<Record<string, unknown>>
const policyOf = (...statements: readonly Statement[]): string =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: statements.map(statement =>
      Object.assign(
        { Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: 'arn:aws:s3:::bucket/*' },
        statement,
      ),
    ),
  })

const kms = { 'x-amz-server-side-encryption': 'aws:kms' }
const obsKms = { 'x-obs-server-side-encryption': 'kms' }

const put = async (t: Test, { signedFetch }: TestGateway, policy: string): Promise<void> => {
  const reply = await signedFetch(admin, 'PUT', '/bucket?policy', { body: policy })
  t.equal(reply.status, 204, reply.text)
}

const withBucket = async (t: Test, options: Parameters<typeof startGateway>[1] = {}): Promise<TestGateway> => {
  const gateway = await startGateway(t, options)
  t.equal((await gateway.signedFetch(admin, 'PUT', '/bucket')).status, 200)
  return gateway
}

const outcome = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: unknown) => {
      if (!(error instanceof S3ServiceException)) throw error
      return `${error.$metadata.httpStatusCode} ${error.name}`
    },
  )

t.test('a policy is put, answered as it was put, replaced and deleted', async t => {
  const gateway = await withBucket(t)
  const { signedFetch } = gateway
  const s3 = gateway.client()
  const Bucket = 'bucket'
  t.equal(await outcome(s3.send(new GetBucketPolicyCommand({ Bucket }))), '404 NoSuchBucketPolicy')
  t.equal((await signedFetch(admin, 'DELETE', '/bucket?policy')).status, 204, 'also where there is none')
  await s3.send(new PutBucketPolicyCommand({ Bucket, Policy: pagePolicy(Bucket) }))
  t.equal((await s3.send(new GetBucketPolicyCommand({ Bucket }))).Policy, pagePolicy(Bucket))
  const reply = await signedFetch(admin, 'GET', '/bucket?policy')
  t.equal(reply.text, pagePolicy(Bucket), 'byte for byte')
  t.equal(reply.headers['content-type'], 'application/json')

  const bad: readonly (readonly [what: string, policy: string | Uint8Array])[] = [
    ['no JSON', 'policy'],
    ['nothing', ''],
    ['another bucket', pagePolicy('other')],
    ['an unknown action', policyOf({ Action: 's3:Frobnicate' })],
    ['too long', `${policyOf({})}${' '.repeat(30_000)}`],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
  ]
  for (const [what, policy] of bad) {
    const refused = await signedFetch(admin, 'PUT', '/bucket?policy', { body: policy })
    t.equal(refused.status, 400, what)
    t.equal(refused.code, 'MalformedPolicy', what)
    t.match(refused.text, /<Message>.{10,}<\/Message>/, what)
  }
  const huge = await signedFetch(admin, 'PUT', '/bucket?policy', { body: ' '.repeat(70_000) })
  t.equal(huge.code, 'EntityTooLarge')
  t.equal((await signedFetch(admin, 'GET', '/bucket?policy')).text, pagePolicy(Bucket), 'the old one stands')
  const next = policyOf({ Sid: 'grüß', Action: ['s3:GetObject', 'PutObject'] })
  await put(t, gateway, next)
  t.equal((await signedFetch(admin, 'GET', '/bucket?policy')).text, next)
  await s3.send(new DeleteBucketPolicyCommand({ Bucket }))
  t.equal((await signedFetch(admin, 'GET', '/bucket?policy')).code, 'NoSuchBucketPolicy')
  t.equal((await signedFetch(admin, 'PUT', '/none?policy', { body: next })).code, 'NoSuchBucket')
})

/** A form of a browser, as `@aws-sdk/s3-presigned-post` signs it. */
const postForm = async (
  { client, signedFetch }: TestGateway,
  who: GatewayUser,
  key: string,
  fields: Readonly<Record<string, string>>,
) => {
  const form = await createPresignedPost(client(who), { Bucket: 'bucket', Key: key, Fields: { ...fields } })
  const boundary = 'boundary'
  const parts = [...Object.entries(form.fields), ['file', 'text'] as const].map(
    ([name, value]) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  )
  const body = `${parts.join('')}--${boundary}--\r\n`
  return signedFetch(undefined, 'POST', '/bucket', {
    body,
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
  })
}

t.test('the policy of the page rejects whatever does not ask for SSE-KMS, and lets the rest through', async t => {
  const gateway = await withBucket(t)
  const { signedFetch } = gateway
  await signedFetch(admin, 'PUT', '/bucket/source', { body: 'text' })
  await put(t, gateway, pagePolicy('bucket'))

  const asks: readonly (readonly [what: string, headers: Record<string, string>, allowed: boolean])[] = [
    ['nothing', {}, false],
    ['AES256', { 'x-amz-server-side-encryption': 'AES256' }, false],
    ['what is not supported', { 'x-amz-server-side-encryption': 'aes:kms' }, false],
    ['a customer key', { 'x-amz-server-side-encryption-customer-algorithm': 'AES256' }, false],
    ['aws:kms', kms, true],
    ['kms, as OBS writes it', obsKms, true],
    ['AES256, as OBS writes it', { 'x-obs-server-side-encryption': 'AES256' }, false],
  ]
  for (const [what, headers, allowed] of asks) {
    const writes = {
      PUT: signedFetch(admin, 'PUT', '/bucket/put', { body: 'text', headers }),
      POST: postForm(gateway, admin, 'post', headers),
      copy: signedFetch(admin, 'PUT', '/bucket/copy', {
        headers: { ...headers, 'x-amz-copy-source': '/bucket/source' },
      }),
      initiate: signedFetch(admin, 'POST', '/bucket/upload?uploads', { headers }),
    }
    for (const [name, write] of Object.entries(writes)) {
      const reply = await write
      if (allowed) t.ok(reply.status < 300, `${name} with ${what}: ${reply.text}`)
      else t.equal(`${reply.status} ${reply.code}`, '403 AccessDenied', `${name} with ${what}`)
    }
  }
  t.equal((await signedFetch(admin, 'GET', '/bucket/source')).text, 'text', 'reading is not rejected')
  t.equal((await signedFetch(admin, 'GET', '/bucket')).status, 200, 'nor listing')
  t.equal((await signedFetch(admin, 'DELETE', '/bucket/source')).status, 204, 'nor deleting')
  t.match(
    (await signedFetch(admin, 'PUT', '/bucket/put', { body: 'x' })).text,
    'The policy of the bucket denies this.',
    'the message says why',
  )
})

t.test('what the default of the bucket would add does not count: the header must be there', async t => {
  const gateway = await withBucket(t)
  const { signedFetch, store } = gateway
  await put(t, gateway, pagePolicy('bucket'))
  const xml =
    '<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>' +
    '</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>'
  t.equal((await signedFetch(admin, 'PUT', '/bucket?encryption', { body: xml })).status, 200)
  t.same(Object.keys((await store.getBucket('bucket'))?.settings ?? {}), ['policy', 'encryption'])
  t.equal((await signedFetch(admin, 'PUT', '/bucket/key', { body: 'x' })).code, 'AccessDenied')
  t.equal((await signedFetch(admin, 'PUT', '/bucket/key', { body: 'x', headers: kms })).status, 200)
})

t.test('a whole upload goes through under the policy of the page, though its parts have no header', async t => {
  const gateway = await withBucket(t)
  const { signedFetch, byName } = gateway
  const s3 = gateway.client()
  const at = { Bucket: 'bucket', Key: 'upload' }
  const plain = await s3.send(new CreateMultipartUploadCommand(at))
  await put(t, gateway, pagePolicy('bucket'))

  const upload = await s3.send(new CreateMultipartUploadCommand({ ...at, ServerSideEncryption: 'aws:kms' }))
  const part = await s3.send(new UploadPartCommand({ ...at, UploadId: upload.UploadId, PartNumber: 1, Body: 'text' }))
  await s3.send(
    new CompleteMultipartUploadCommand({
      ...at,
      UploadId: upload.UploadId,
      MultipartUpload: { Parts: [{ PartNumber: 1, ETag: part.ETag }] },
    }),
  )
  t.equal(await (await s3.send(new GetObjectCommand(at))).Body?.transformToString(), 'text')

  const late = { ...at, UploadId: plain.UploadId, PartNumber: 1, Body: 'text' }
  t.equal(await outcome(s3.send(new UploadPartCommand(late))), '403 AccessDenied', 'one that was begun before is plain')
  const lie = await signedFetch(admin, 'PUT', `/bucket/upload?partNumber=1&uploadId=${plain.UploadId}`, {
    body: 'text',
    headers: kms,
  })
  t.equal(lie.code, 'AccessDenied', 'and a part cannot say that it is not')
  t.equal((await byName.listParts('bucket', 'upload', plain.UploadId ?? '')).length, 0)
})

t.test('what the policy sees of the parts of an upload: how it was initiated', async t => {
  const gateway = await withBucket(t)
  const { signedFetch } = gateway
  const key = Buffer.alloc(32, 1)
  const sseC = {
    'x-amz-server-side-encryption-customer-algorithm': 'AES256',
    'x-amz-server-side-encryption-customer-key': key.toString('base64'),
    'x-amz-server-side-encryption-customer-key-MD5': createHash('md5').update(key).digest('base64'),
  }
  const begin = async (headers: Record<string, string>): Promise<string> => {
    const reply = await signedFetch(admin, 'POST', '/bucket/key?uploads', { headers })
    return /<UploadId>(.*?)</.exec(reply.text)?.[1] ?? ''
  }
  const aes = await begin({ 'x-amz-server-side-encryption': 'AES256' })
  const own = await begin(sseC)
  const part = async (id: string, headers: Record<string, string> = {}): Promise<number> =>
    (await signedFetch(admin, 'PUT', `/bucket/key?partNumber=1&uploadId=${id}`, { body: 'text', headers })).status
  const deny = (operator: string, key: string, value: string): string =>
    policyOf({ Effect: 'Deny', Action: 's3:PutObject', Condition: { [operator]: { [key]: value } } })

  await put(t, gateway, deny('StringNotEquals', 's3:x-amz-server-side-encryption', 'AES256'))
  t.same([await part(aes), await part(own, sseC)], [200, 403])
  await put(t, gateway, deny('Null', 's3:x-amz-server-side-encryption-customer-algorithm', 'true'))
  t.same([await part(aes), await part(own, sseC)], [403, 200])
  await put(t, gateway, deny('StringEquals', 's3:x-amz-acl', 'private'))
  t.same([await part(aes), await part(aes, { 'x-amz-acl': 'private' })], [200, 403], 'all else is the request’s')
  await put(t, gateway, deny('Null', 's3:x-amz-server-side-encryption', 'true'))
  t.equal(await part('no-such-upload'), 403, 'where there is none, it has no encryption')
})

t.test('who is let in: other tenants, their users, anybody', async t => {
  const gateway = await withBucket(t)
  const { signedFetch } = gateway
  await signedFetch(admin, 'PUT', '/bucket/open/a', { body: 'text' })
  await signedFetch(admin, 'PUT', '/bucket/open/kms', { body: 'text', headers: kms })
  await signedFetch(admin, 'PUT', '/bucket/closed', { body: 'text' })

  const statuses = async (method: string, path: string, sent = {}): Promise<readonly number[]> => {
    const all: number[] = []
    for (const who of [undefined, stranger, strangersUser, ordinary, admin]) {
      all.push((await signedFetch(who, method, path, sent)).status)
    }
    return all
  }
  t.same(await statuses('GET', '/bucket/open/a'), [403, 403, 403, 200, 200], 'without a policy: the owner’s tenant')

  await put(t, gateway, policyOf({ Resource: 'arn:aws:s3:::bucket/open/*' }))
  t.same(await statuses('GET', '/bucket/open/a'), [200, 200, 200, 200, 200])
  t.same(await statuses('HEAD', '/bucket/open/a'), [200, 200, 200, 200, 200])
  t.same(await statuses('GET', '/bucket/closed'), [403, 403, 403, 200, 200])
  t.same(await statuses('GET', '/bucket/open/none'), [403, 403, 403, 404, 404], 'what is not there is not told')
  t.same(await statuses('GET', '/bucket'), [403, 403, 403, 200, 200])
  t.same(await statuses('GET', '/bucket/open/kms'), [403, 403, 403, 403, 200], 'no policy opens SSE-KMS')
  t.same(await statuses('HEAD', '/bucket/open/kms'), [403, 403, 403, 403, 200])
  t.same(await statuses('GET', '/bucket/open/a?tagging'), [403, 403, 403, 200, 200])
  const attributes = { headers: { 'x-amz-object-attributes': 'ETag' } }
  t.same(await statuses('GET', '/bucket/open/a?attributes', attributes), [403, 403, 403, 200, 200])

  await put(t, gateway, policyOf({ Principal: { AWS: 'arn:aws:iam::domain2:root' } }))
  t.same(await statuses('GET', '/bucket/open/a'), [403, 200, 200, 200, 200], 'a tenant')
  await put(t, gateway, policyOf({ Principal: { AWS: 'arn:aws:iam::domain2:user/ordinary' } }))
  t.same(await statuses('GET', '/bucket/open/a'), [403, 403, 200, 200, 200], 'a user')
  await put(t, gateway, policyOf({ Principal: { ID: 'domain/domain2:user/admin' }, Action: 'GetObject' }))
  t.same(await statuses('GET', '/bucket/open/a'), [403, 200, 403, 200, 200], 'a user, as OBS writes it')
  await put(t, gateway, policyOf({}, { Effect: 'Deny', Principal: { AWS: 'arn:aws:iam::domain1:user/ordinary' } }))
  t.same(
    await statuses('GET', '/bucket/open/a'),
    [200, 200, 200, 403, 200],
    'an explicit deny wins over the owner’s own right',
  )
  await put(
    t,
    gateway,
    policyOf({ Effect: 'Deny', Principal: undefined, NotPrincipal: { AWS: 'arn:aws:iam::domain1:user/admin' } }),
  )
  t.same(await statuses('GET', '/bucket/open/a'), [403, 403, 403, 403, 200])

  await put(t, gateway, policyOf({ Action: 's3:*', Resource: ['arn:aws:s3:::bucket', 'arn:aws:s3:::bucket/*'] }))
  t.same(await statuses('GET', '/bucket/open/kms'), [403, 403, 403, 403, 200])
  t.same(await statuses('PUT', '/bucket/open/new', { body: 'x', headers: kms }), [403, 403, 403, 403, 200])
  t.same(
    await statuses('PUT', '/bucket/open/kms', { body: 'x' }),
    [403, 403, 403, 200, 200],
    'nor lets others replace it',
  )
  await signedFetch(admin, 'PUT', '/bucket/open/kms', { body: 'text', headers: kms })
  t.same(await statuses('GET', '/bucket/open/kms?tagging'), [403, 403, 403, 200, 200])
  t.same(await statuses('GET', '/bucket/open/kms?acl'), [403, 403, 403, 200, 200])
  t.same(await statuses('GET', '/bucket/open/kms?attributes', attributes), [403, 403, 403, 403, 200])
  t.same(
    await statuses('PUT', '/bucket/open/copy', { headers: { 'x-amz-copy-source': '/bucket/open/kms' } }),
    [403, 403, 403, 403, 200],
  )
  t.same(await statuses('PUT', '/bucket/open/b', { body: 'x' }), [200, 200, 200, 200, 200])
  t.same(await statuses('POST', '/bucket/open/c?uploads', { headers: kms }), [403, 403, 403, 403, 200])
  t.same(await statuses('GET', '/bucket?list-type=2'), [200, 200, 200, 200, 200])
  t.same(await statuses('GET', '/bucket/open/none'), [404, 404, 404, 404, 404], 'whoever may list is told')
  t.same(await statuses('GET', '/bucket?policy'), [405, 405, 405, 200, 200], 'the policy is its owner’s alone')
  t.same(await statuses('PUT', '/bucket?policy', { body: '{}' }), [405, 405, 405, 400, 400])
  t.same(await statuses('DELETE', '/bucket/open/kms'), [403, 403, 403, 204, 204])
})

t.test('copies ask both buckets', async t => {
  const gateway = await withBucket(t)
  const { signedFetch, client } = gateway
  await signedFetch(admin, 'PUT', '/bucket/a', { body: 'text' })
  await signedFetch(stranger, 'PUT', '/strange')
  const s3 = client(stranger)
  const copy = () => outcome(s3.send(new CopyObjectCommand({ Bucket: 'strange', Key: 'b', CopySource: 'bucket/a' })))
  t.equal(await copy(), '403 AccessDenied')
  await put(t, gateway, policyOf({}))
  t.equal(await copy(), 'done')
  await put(t, gateway, policyOf({ Resource: 'arn:aws:s3:::bucket/b' }))
  t.equal(await copy(), '403 AccessDenied', 'of the source, its own key')
  await put(t, gateway, policyOf({ Resource: 'arn:aws:s3:::bucket/a' }))
  const denied = JSON.stringify({
    Version: '2012-10-17',
    Statement: {
      Effect: 'Deny',
      Principal: '*',
      Action: 's3:PutObject',
      Resource: 'arn:aws:s3:::strange/*',
      Condition: { StringEquals: { 's3:x-amz-copy-source': '/bucket/a' } },
    },
  })
  t.equal((await signedFetch(stranger, 'PUT', '/strange?policy', { body: denied })).status, 204)
  t.equal(await copy(), '403 AccessDenied', 'of the target, what is copied')
})

t.test('conditions on the request itself', async t => {
  const gateway = await withBucket(t)
  const { signedFetch } = gateway
  await signedFetch(admin, 'PUT', '/bucket/home/a', { body: 'text' })
  const status = async (path: string, headers: Record<string, string> = {}): Promise<number> =>
    (await signedFetch(undefined, 'GET', path, { headers })).status
  const when = async (Condition: object, more: Statement = {}): Promise<void> =>
    put(t, gateway, policyOf({ Condition, ...more }))
  const object = '/bucket/home/a'

  await when({ IpAddress: { 'aws:SourceIp': '127.0.0.0/8' } })
  t.equal(await status(object), 200)
  await when({ IpAddress: { 'aws:SourceIp': '10.0.0.0/8' } })
  t.equal(await status(object), 403)
  t.equal(
    await status(object, { 'x-forwarded-for': '10.0.0.1' }),
    403,
    'what a client says of its address does not count',
  )
  await when({ Bool: { 'aws:SecureTransport': 'true' } })
  t.equal(await status(object), 403, 'loopback is not TLS')
  await when({ StringLike: { 'aws:Referer': 'https://example.com/*' } })
  t.same([await status(object), await status(object, { referer: 'https://example.com/x' })], [403, 200])
  await when({ StringEquals: { 'aws:UserAgent': 'me' } })
  t.same([await status(object), await status(object, { 'user-agent': 'me' })], [403, 200])
  await when({ DateGreaterThan: { 'aws:CurrentTime': '2020-01-01T00:00:00Z' } })
  t.equal(await status(object), 200)
  await when({ DateLessThan: { 'aws:CurrentTime': '2020-01-01T00:00:00Z' } })
  t.equal(await status(object), 403)

  const list = { Action: 's3:ListBucket', Resource: 'arn:aws:s3:::bucket' }
  await when(
    { StringEquals: { 's3:prefix': 'home/', 's3:delimiter': '/' }, NumericLessThan: { 's3:max-keys': 10 } },
    list,
  )
  t.equal(await status('/bucket?prefix=home%2F&delimiter=/&max-keys=5'), 200)
  t.equal(await status('/bucket?prefix=home%2F&delimiter=/&max-keys=50'), 403)
  t.equal(await status('/bucket?prefix=home%2F&max-keys=5'), 403)
  t.equal(await status('/bucket?list-type=2&prefix=&delimiter=/&max-keys=5'), 403)

  const secure = await startGateway(t, { trustTransport: true })
  await secure.signedFetch(admin, 'PUT', '/bucket')
  await secure.signedFetch(admin, 'PUT', '/bucket/a', { body: 'text' })
  await put(t, secure, policyOf({ Condition: { Bool: { 'aws:SecureTransport': 'true' } } }))
  t.equal((await secure.signedFetch(undefined, 'GET', '/bucket/a')).status, 200, 'behind a proxy that speaks TLS')

  await when({ StringEquals: { 's3:x-amz-acl': 'public-read' } }, { Effect: 'Deny', Action: 's3:PutObject' })
  const acl = { body: 'x', headers: { 'x-amz-acl': 'public-read' } }
  t.equal((await signedFetch(admin, 'PUT', '/bucket/b', acl)).status, 403)
  t.equal((await postForm(gateway, admin, 'b', { acl: 'public-read' })).status, 403, 'a form’s acl is seen')
  t.equal((await postForm(gateway, admin, 'b', {})).status, 204)
})

t.test('the order of decision: signature, policy, headers, role, key, body', async t => {
  const gateway = await withBucket(t, { profile: createProfile('obs', { region }) })
  const { signedFetch } = gateway
  await put(t, gateway, pagePolicy('bucket'))
  const wrong = { ...admin, secretAccessKey: 'not it' }
  const send = async (who: GatewayUser, headers: Record<string, string>): Promise<string> => {
    const reply = await signedFetch(who, 'PUT', '/bucket/key', { body: 'x', headers })
    return `${reply.status} ${reply.code}`
  }
  t.equal(await send(wrong, { 'x-amz-server-side-encryption': 'nonsense' }), '403 SignatureDoesNotMatch')
  t.equal(
    await send(admin, { 'x-amz-server-side-encryption': 'nonsense' }),
    '403 AccessDenied',
    'policy before headers',
  )
  const context = { ...kms, 'x-amz-server-side-encryption-aws-kms-key-id': 'fake-key-id' }
  t.equal(await send(ordinary, context), '400 KMS.NotFoundException', 'headers before role')
  const key = `arn:aws:kms:${region}:domain1:key/4f1cd4de-ab64-4807-920a-47fc42e7f0d0`
  const named = { ...kms, 'x-amz-server-side-encryption-aws-kms-key-id': key }
  t.match(await send(ordinary, named), '403 AccessDenied', 'role before key')
  t.equal(await send(admin, named), '400 KMS.NotFoundException')
  const digest = { ...kms, 'content-md5': 'AAAAAAAAAAAAAAAAAAAAAA==' }
  t.equal(await send(admin, digest), '400 BadDigest', 'and the body last')
  t.equal(await send(stranger, { 'x-amz-server-side-encryption': 'nonsense' }), '403 AccessDenied')
})

t.test('nobody can lock the owner’s administrators out of the policy', async t => {
  const gateway = await withBucket(t)
  const { signedFetch, byName } = gateway
  const everything = policyOf({
    Effect: 'Deny',
    Action: 's3:*',
    Resource: ['arn:aws:s3:::bucket', 'arn:aws:s3:::bucket/*'],
  })
  await put(t, gateway, everything)
  t.equal((await signedFetch(admin, 'GET', '/bucket')).status, 403)
  t.equal((await signedFetch(ordinary, 'GET', '/bucket?policy')).status, 403)
  t.equal((await signedFetch(ordinary, 'DELETE', '/bucket?policy')).status, 403)
  t.equal((await signedFetch(stranger, 'DELETE', '/bucket?policy')).status, 403)
  t.equal((await signedFetch(undefined, 'DELETE', '/bucket?policy')).status, 403)
  t.equal((await signedFetch(admin, 'GET', '/bucket?policy')).text, everything)
  await put(t, gateway, everything)
  t.equal((await signedFetch(admin, 'DELETE', '/bucket?policy')).status, 204)
  t.equal((await signedFetch(admin, 'GET', '/bucket')).status, 200)

  await byName.setSettings('bucket', { policy: 'damaged' })
  const damaged = await signedFetch(admin, 'GET', '/bucket')
  t.equal(damaged.status, 500, 'a policy that cannot be read lets nobody in')
  t.match(gateway.log.at(-1)?.error?.message, 'The policy of the bucket cannot be read.')
  t.equal((await signedFetch(admin, 'DELETE', '/bucket?policy')).status, 204, 'and can be deleted')
  t.equal((await signedFetch(admin, 'GET', '/bucket')).status, 200)
})

t.test('parsed policies are remembered, as many as may be and no older than the store', async t => {
  const bucket = (name: string, sid: string | undefined): Bucket => ({
    id: `id of ${name}`,
    revision: `${sid}`,
    name,
    owner: 'domain1',
    region,
    created: 0,
    settings: sid === undefined ? {} : { policy: pagePolicy(name).replace('DenyUn', sid) },
  })
  const cached = createPolicyCache(2)
  const first = cached(bucket('one', 'a'))
  t.equal(first?.statements[0]?.sid, 'aEncryptedObjectUploads')
  t.equal(cached(bucket('one', 'a')), first, 'the same one')
  t.equal(cached(bucket('one', 'b'))?.statements[0]?.sid, 'bEncryptedObjectUploads', 'another text is another policy')
  const one = cached(bucket('one', 'a'))
  const two = cached(bucket('two', 'a'))
  t.equal(cached(bucket('one', 'a')), one)
  cached(bucket('three', 'a'))
  t.equal(cached(bucket('one', 'a')), one, 'what was used last is kept')
  t.not(cached(bucket('two', 'a')), two, 'what was not is given up')
  t.equal(cached(bucket('two', undefined)), undefined)
})

t.test('a policy of version 2008-10-17 with an OBS condition key', async t => {
  const gateway = await withBucket(t)
  const { signedFetch } = gateway
  await put(
    t,
    gateway,
    JSON.stringify({
      Statement: [
        {
          Effect: 'Deny',
          Principal: { ID: '*' },
          Action: 'PutObject',
          Resource: 'bucket/*',
          Condition: { StringNotEquals: { 'x-obs-server-side-encryption': 'kms' } },
        },
      ],
    }),
  )
  const status = async (headers: Record<string, string>): Promise<number> =>
    (await signedFetch(admin, 'PUT', '/bucket/key', { body: 'x', headers })).status
  t.same([await status({}), await status(kms), await status(obsKms)], [403, 200, 200])
  const s3 = gateway.client()
  t.equal(await outcome(s3.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'a', Body: 'x' }))), '403 AccessDenied')
})
