// The OBS page "SSE-KMS", over HTTP: each of its sentences is a test of that name, and its examples are sent as they stand there, in the region
// and by the tenant that it names. Its bucket policy is in policy.test.ts: "the policy of the page rejects whatever does not ask for SSE-KMS,
// and lets the rest through".
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parseEnvelope } from '../../lib/envelope/envelope.ts'
import type { GatewayUser } from '../../lib/gateway/options.ts'
import { tenantAdmin } from '../../lib/sse/profile.ts'
import { region, type Reply, startGateway, stranger, type TestGateway } from '../support/gateway.ts'

type Headers = Readonly<Record<string, string>>

/** A line of the page, `name:value`, as a header. */
const headerOf = (line: string): Headers => {
  const at = line.indexOf(':')
  return { [line.slice(0, at)]: line.slice(at + 1) }
}

const algorithmLine = 'x-amz-server-side-encryption:aws:kms'
const keyLine =
  'x-amz-server-side-encryption-aws-kms-key-id:arn:aws:kms:sichuan:domainiddomainiddomainiddoma0001:key/4f1cd4de-ab64-4807-920a-47fc42e7f0d0'
const algorithm = headerOf(algorithmLine)
const [keyName = '', keyArn = ''] = Object.entries(headerOf(keyLine))[0] ?? []
const domainId = 'domainiddomainiddomainiddoma0001'

const userOf = (name: string, roles: readonly string[]): GatewayUser => ({
  domainId,
  projectId: 'project0001',
  name,
  roles,
  accessKeyId: `AK${name}`,
  secretAccessKey: `secret of ${name}`,
})
const administrator = userOf('administrator', [tenantAdmin])
const user = userOf('user', [])
const tenants = [administrator, stranger].map(({ domainId, projectId }) => ({ domainId, projectId }))
const home = { region: 'sichuan', domainId }

interface Page extends TestGateway {
  send(method: string, path: string, headers?: Headers, body?: string, who?: GatewayUser): Promise<Reply>
}

const open = async (t: Test): Promise<Page> => {
  t.equal(region, 'sichuan')
  const gateway = await startGateway(t, { tenants, users: [administrator, user, stranger] })
  const send: Page['send'] = (method, path, headers = {}, body = undefined, who = administrator) =>
    gateway.signedFetch(who, method, path, { headers, ...(body === undefined ? {} : { body }) })
  t.equal((await send('PUT', '/yourbucket')).status, 200)
  return { ...gateway, send }
}

/** What the answer to a request under SSE-KMS says. */
const encrypted = (arn: string) => ({ ...algorithm, [keyName]: arn })

/** The master key that an object lies under, as its envelope says it. */
const keyOf = async ({ byName }: TestGateway, bucket: string, key: string): Promise<string | undefined> => {
  const record = await byName.getObject(bucket, key)
  return record?.envelope === undefined ? undefined : parseEnvelope(record.envelope).record.wrapped.keyId
}

t.test('In SSE-KMS mode, OBS uses the keys provided by KMS for server-side encryption.', async t => {
  const page = await open(t)
  const { send, directory, kms } = page
  const body = 'a plaintext that must not lie on the disk; '.repeat(4000)
  t.equal((await send('PUT', '/yourbucket/object', algorithm, body)).status, 200)
  const { keyId } = await kms.defaultKey(home)
  t.equal(await keyOf(page, 'yourbucket', 'object'), keyId, 'the data key is wrapped by a key of the KMS')
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  t.ok(files.length > 1)
  for (const { parentPath, name } of files) {
    t.notOk(readFileSync(join(parentPath, name)).includes('a plaintext that must not'), name)
  }
  t.match(await send('GET', '/yourbucket/object'), { status: 200, text: body })
  await kms.disableKey({ keyId })
  t.match(await send('GET', '/yourbucket/object'), { status: 400, code: 'KMS.DisabledException' }, 'and by no other')
})

t.test(
  'When an object encrypted using SSE-KMS is added to a bucket in a region for the first time, OBS creates a default customer master key (CMK), which is used to encrypt and decrypt the keys provided by KMS.',
  async t => {
    const page = await open(t)
    const { send, kms } = page
    await send('PUT', '/another')
    t.equal((await send('PUT', '/yourbucket/plain', {}, 'x')).status, 200)
    t.strictSame(await kms.listKeys(home), [], 'none before, and none for an object that is not encrypted')
    const first = await send('PUT', '/yourbucket/first', algorithm, 'x')
    const keys = await kms.listKeys(home)
    t.match(keys, [{ origin: 'service', state: 'enabled', region: 'sichuan', domainId }], 'one after')
    const [{ keyId } = { keyId: '' }] = keys
    t.match(first.headers, encrypted(keyId))
    t.match(
      (await send('PUT', '/yourbucket/second', algorithm, 'x')).headers,
      encrypted(keyId),
      'the same for the next',
    )
    t.match((await send('PUT', '/another/first', algorithm, 'x')).headers, encrypted(keyId), 'and for another bucket')
    t.equal((await kms.listKeys(home)).length, 1)
    for (const [bucket, key] of [
      ['yourbucket', 'first'],
      ['yourbucket', 'second'],
      ['another', 'first'],
    ] as const) {
      t.equal(await keyOf(page, bucket, key), keyId, `${bucket}/${key}: its data key lies under it`)
    }
    t.equal((await send('GET', '/another/first')).text, 'x')
  },
)

t.test('Only users with the tenant_admin role can use SSE-KMS interfaces.', async t => {
  const { send } = await open(t)
  await send('PUT', '/yourbucket/object', algorithm, 'x')
  await send('PUT', '/yourbucket/plain', {}, 'x')
  const copy = { 'x-amz-copy-source': '/yourbucket/plain' }
  const refused = { status: 403, code: 'AccessDenied', text: /tenant_admin/ }
  t.match(await send('PUT', '/yourbucket/theirs', algorithm, 'x', user), refused, 'PUT Object')
  t.match(await post(await open(t), 'theirs', algorithm, user), refused, 'POST Object')
  t.match(await send('PUT', '/yourbucket/theirs', { ...copy, ...algorithm }, undefined, user), refused, 'Copy')
  t.match(await send('POST', '/yourbucket/theirs?uploads', algorithm, undefined, user), refused, 'Initiate')
  t.match(await send('GET', '/yourbucket/object', {}, undefined, user), refused, 'reading')
  t.equal((await send('GET', '/yourbucket/plain', {}, undefined, user)).status, 200, 'everything else they may')
  t.equal((await send('PUT', '/yourbucket/theirs', {}, 'x', user)).status, 200)
})

t.test('The SSE-KMS mode does not support the keys created by customers.', async t => {
  const { send, kms, byName } = await open(t)
  const { keyId } = await kms.createKey(home)
  const named = { ...algorithm, [keyName]: keyId }
  t.match(await send('PUT', '/yourbucket/object', named, 'x'), {
    status: 403,
    code: 'AccessDenied',
    text: /default master key/,
  })
  t.equal(await byName.getObject('yourbucket', 'object'), undefined)
})

t.test(
  'The bucket ACL and policy do not allow cross-tenant authorized access to objects encrypted using SSE-KMS.',
  async t => {
    const { send } = await open(t)
    await send('PUT', '/yourbucket/secret', { ...algorithm, 'x-amz-acl': 'public-read' }, 'x')
    await send('PUT', '/yourbucket/plain', { 'x-amz-acl': 'public-read' }, 'x')
    const statement = {
      Effect: 'Allow',
      Principal: '*',
      Action: 's3:*',
      Resource: ['arn:aws:s3:::yourbucket', 'arn:aws:s3:::yourbucket/*'],
    }
    const policy = JSON.stringify({ Version: '2012-10-17', Statement: [statement] })
    const refused = { status: 403, code: 'AccessDenied' }
    for (const [what, method, path, headers, body] of [
      ['the ACL', 'PUT', '/yourbucket?acl', { 'x-amz-acl': 'public-read-write' }, undefined],
      ['the policy', 'PUT', '/yourbucket?policy', {}, policy],
    ] as const) {
      t.ok((await send(method, path, headers, body)).status < 300, what)
      t.match(await send('GET', '/yourbucket/secret', {}, undefined, stranger), refused, `${what}: reading`)
      t.equal((await send('HEAD', '/yourbucket/secret', {}, undefined, stranger)).status, 403)
      t.match(await send('PUT', '/yourbucket/theirs', algorithm, 'x', stranger), refused, `${what}: writing`)
      t.match(await send('PUT', '/yourbucket/secret', {}, 'x', stranger), refused, `${what}: writing over it`)
      t.match(await send('DELETE', '/yourbucket/secret', {}, undefined, stranger), refused, `${what}: deleting`)
      t.equal((await send('GET', '/yourbucket/plain', {}, undefined, stranger)).text, 'x', `${what} lets at others`)
      t.equal((await send('PUT', '/yourbucket/others', {}, 'x', stranger)).status, 200)
    }
    t.equal((await send('GET', '/yourbucket/secret')).text, 'x', 'it is whole')
  },
)

t.test('OBS does not support KMS with multiple projects.', async t => {
  const { send } = await open(t)
  const refused = { status: 400, code: 'InvalidArgument', text: /multiple projects/ }
  const project = (id: string) => ({ ...algorithm, 'x-amz-sse-kms-key-project-id': id })
  t.match(await send('PUT', '/yourbucket/object', project('project0002'), 'x'), refused)
  t.equal((await send('PUT', '/yourbucket/object', project('project0001'), 'x')).status, 200, 'the one of the tenant')
})

t.test(`Indicates that SSE-KMS is used. Objects are encrypted using SSE-KMS. Example: ${algorithmLine}`, async t => {
  const { send, byName } = await open(t)
  t.match(await send('PUT', '/yourbucket/object', algorithm, 'x'), { status: 200, headers: algorithm })
  t.match(await byName.getObject('yourbucket', 'object'), { kind: 'sse-kms' })
  t.match(await send('GET', '/yourbucket/object'), { status: 200, headers: algorithm, text: 'x' })
  t.match(await send('HEAD', '/yourbucket/object'), { status: 200, headers: algorithm })
})

t.test(`Indicates the master key ID of an encrypted object. Example: ${keyLine}`, async t => {
  const { send, byName, kms } = await open(t)
  t.match(
    await send('PUT', '/yourbucket/object', { ...algorithm, ...headerOf(keyLine) }, 'x'),
    { status: 400, code: 'KMS.NotFoundException', text: new RegExp(keyArn) },
    'the tenant has no key of this id: what is missing is named',
  )
  t.equal(await byName.getObject('yourbucket', 'object'), undefined)
  const { keyId } = await kms.defaultKey(home)
  t.match(
    await send('PUT', '/yourbucket/object', { ...algorithm, [keyName]: keyId }, 'x'),
    { status: 200, headers: encrypted(keyId) },
    'the master key that it has, in the form of the example',
  )
  const form = /^arn:aws:kms:([^:]+):([^:]+):key\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/
  t.strictSame(form.exec(keyArn)?.slice(1), ['sichuan', domainId, '4f1cd4de-ab64-4807-920a-47fc42e7f0d0'])
  t.strictSame(
    form.exec(keyId)?.slice(1, 3),
    ['sichuan', domainId],
    'region name and tenant ID stand where they do there',
  )
})

t.test('This header is used in SSE-KMS mode.', async t => {
  const { send, kms } = await open(t)
  const { keyId } = await kms.defaultKey(home)
  const alone = await send('PUT', '/yourbucket/object', { [keyName]: keyId }, 'x')
  t.match(alone, {
    status: 400,
    code: 'InvalidArgument',
    text: /requires HTTP header x-amz-server-side-encryption : aws:kms/,
  })
})

t.test('If the customer does not provide the master key, the default master key will be used.', async t => {
  const page = await open(t)
  const { keyId } = await page.kms.defaultKey(home)
  t.match((await page.send('PUT', '/yourbucket/object', algorithm, 'x')).headers, encrypted(keyId))
  t.equal(await keyOf(page, 'yourbucket', 'object'), keyId)
})

/** POST Object: the headers as fields. */
const post = async (page: Page, key: string, fields: Headers, who = administrator): Promise<Reply> => {
  const made = await createPresignedPost(page.client(who), { Bucket: 'yourbucket', Key: key, Fields: { ...fields } })
  const form = new FormData()
  for (const [name, value] of Object.entries(made.fields)) form.append(name, value)
  form.append('file', new Blob(['x']))
  const encoded = new Response(form)
  const headers = { 'content-type': encoded.headers.get('content-type') ?? '' }
  const body = new Uint8Array(await encoded.arrayBuffer())
  return page.signedFetch(undefined, 'POST', '/yourbucket', { headers, body })
}

t.test('Interfaces to which the newly added headers apply', async t => {
  const page = await open(t)
  const { send, kms } = page
  const { keyId } = await kms.defaultKey(home)
  await send('PUT', '/yourbucket/source', {}, 'x')
  const both = { ...algorithm, [keyName]: keyId }
  const copy = { 'x-amz-copy-source': '/yourbucket/source' }
  const interfaces: Readonly<Record<string, (headers: Headers) => Promise<Reply>>> = {
    'PUT Object': headers => send('PUT', '/yourbucket/object', headers, 'x'),
    'POST Object': headers => post(page, 'object', headers),
    'PUT Object - Copy (the newly added headers apply to target objects)': headers =>
      send('PUT', '/yourbucket/object', { ...copy, ...headers }),
    'Initiate Multipart Upload': headers => send('POST', '/yourbucket/object?uploads', headers),
  }
  for (const [name, ask] of Object.entries(interfaces)) {
    await t.test(name, async t => {
      for (const headers of [algorithm, both]) {
        await send('DELETE', '/yourbucket/object')
        const reply = await ask(headers)
        t.ok(reply.status < 300, reply.text)
        t.match(reply.headers, encrypted(keyId))
        const id = /<UploadId>(.*?)</.exec(reply.text)?.[1]
        if (id !== undefined) {
          const part = await send('PUT', `/yourbucket/object?uploadId=${id}&partNumber=1`, {}, 'x')
          const list = `<Part><PartNumber>1</PartNumber><ETag>${part.headers.etag}</ETag></Part>`
          const xml = `<CompleteMultipartUpload>${list}</CompleteMultipartUpload>`
          t.equal((await send('POST', `/yourbucket/object?uploadId=${id}`, {}, xml)).status, 200)
        }
        t.equal(await keyOf(page, 'yourbucket', 'object'), keyId)
        t.match(await send('GET', '/yourbucket/object'), { status: 200, text: 'x', headers: encrypted(keyId) })
      }
      const unknown = await ask({ ...algorithm, ...headerOf(keyLine) })
      t.match(unknown, { status: 400, code: 'KMS.NotFoundException' }, 'the key of the example is not there')
    })
  }
  t.notOk(
    'x-amz-server-side-encryption' in (await send('GET', '/yourbucket/source')).headers,
    'the source stays as it is',
  )
})
