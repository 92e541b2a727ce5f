// Who gets in: what is decided must be what is done, however a request spells it, and deciding must not take the gateway from others.
import { Sha256 } from '@aws-crypto/sha256-js'
import { SignatureV4 } from '@smithy/signature-v4'
import { createHash, randomBytes } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { fromBase64 } from '../../lib/bytes.ts'
import type { GatewayUser } from '../../lib/gateway/options.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import {
  admin,
  ordinary,
  region,
  type Reply,
  type Sent,
  startGateway,
  stranger,
  strangersUser,
  type TestGateway,
} from '../support/gateway.ts'

type Headers = Readonly<Record<string, string>>
type Statement = Readonly<Record<string, unknown>>

const outcome = ({ status, code }: Reply): string => (code === undefined ? String(status) : `${status} ${code}`)
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

interface Bucket extends TestGateway {
  send(who: GatewayUser | undefined, method: string, path: string, headers?: Headers, body?: string): Promise<Reply>
  /** Puts a policy on the bucket; statements are about its objects and everyone unless they say otherwise. */
  policy(...statements: readonly Statement[]): Promise<void>
  /** Sends what presigned URLs of this user ask for; `query` is signed, `sent` is not. */
  presigned(who: GatewayUser, method: string, path: string, query: Headers, sent?: Sent): Promise<Reply>
}

const open = async (
  t: Test,
  options: Parameters<typeof startGateway>[1] = {},
  headers: Headers = {},
): Promise<Bucket> => {
  const gateway = await startGateway(t, options)
  const send: Bucket['send'] = (who, method, path, headers = {}, body = undefined) =>
    gateway.signedFetch(who, method, path, { headers, ...(body !== undefined && { body }) })
  t.equal(outcome(await send(admin, 'PUT', '/bucket', headers)), '200')
  const policy: Bucket['policy'] = async (...statements) => {
    const all = {
      Effect: 'Allow',
      Principal: '*',
      Action: 's3:*',
      Resource: ['arn:aws:s3:::bucket', 'arn:aws:s3:::bucket/*'],
    }
    const Statement = statements.map(statement => ({ ...all, ...statement }))
    const put = await send(admin, 'PUT', '/bucket?policy', {}, JSON.stringify({ Version: '2012-10-17', Statement }))
    t.equal(put.status, 204, put.text)
  }
  const presigned: Bucket['presigned'] = async (who, method, path, query, sent) => {
    const signer = new SignatureV4({ service: 's3', region, sha256: Sha256, uriEscapePath: false, credentials: who })
    const hash = query['X-Amz-Content-Sha256'] ?? 'UNSIGNED-PAYLOAD'
    const headers = { host: gateway.host, 'x-amz-content-sha256': hash }
    const wire = { method, protocol: 'http:', hostname: '127.0.0.1', path, headers, query: { ...query } }
    const { query: all = {} } = await signer.presign(wire, { expiresIn: 60 })
    const text = Object.entries(all).map(
      ([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`,
    )
    return gateway.signedFetch(undefined, method, `${path}?${text.join('&')}`, sent)
  }
  return { ...gateway, send, policy, presigned }
}

const kms = { 'x-amz-server-side-encryption': 'aws:kms' }
const uploadId = ({ text }: Reply): string => /<UploadId>(.*?)</.exec(text)?.[1] ?? ''

const deleteList = (keys: readonly string[]) => {
  const body = `<Delete>${keys.map(key => `<Object><Key>${key}</Key></Object>`).join('')}</Delete>`
  return { body, headers: { 'content-md5': createHash('md5').update(body).digest('base64') } }
}

t.test('a list of 1,000 keys under a policy full of wildcards: others have their turn meanwhile', async t => {
  const { policy, signedFetch } = await open(t)
  const wild = Array.from({ length: 250 }, (_, i) => `arn:aws:s3:::bucket/${'*a?'.repeat(15)}${i}`)
  await policy({ Principal: { AWS: 'domain2' }, Action: 's3:DeleteObject', Resource: wild })
  const { body, headers } = deleteList(Array.from({ length: 1000 }, (_, i) => `${'a'.repeat(1000)}${i}z`))
  const started = performance.now()
  let longest = 0
  const answered = new AbortController()
  const watch = async () => {
    for (let before = started; !answered.signal.aborted;) {
      await setImmediate()
      const now = performance.now()
      longest = Math.max(longest, now - before)
      before = now
    }
  }
  const watching = watch()
  const reply = await signedFetch(stranger, 'POST', '/bucket?delete', { body, headers })
  answered.abort()
  await watching
  t.equal(reply.text.match(/<Code>AccessDenied<\/Code>/g)?.length, 1000, 'each is decided')
  const total = performance.now() - started
  t.ok(longest < total / 3, `no turn takes most of the time: ${longest} of ${total} ms`)
})

t.test('a list of keys is not read from somebody whom nothing lets delete', async t => {
  const { policy, signedFetch } = await open(t, {}, { 'x-amz-acl': 'public-read' })
  await policy(
    { Principal: { AWS: 'domain2' }, Action: 's3:DeleteObject' },
    { Action: 's3:DeleteObject', Condition: { StringEquals: { 'aws:UserAgent': 'friend' } } },
    { Action: 's3:GetObject' },
  )
  const wrong = { body: 'no list at all', headers: { 'content-md5': 'wrong' } }
  const post = (who: GatewayUser | undefined, headers: Headers = {}) =>
    signedFetch(who, 'POST', '/bucket?delete', { ...wrong, headers: { ...wrong.headers, ...headers } })
  t.equal(outcome(await post(undefined)), '403 AccessDenied')
  t.equal(
    outcome(await post(undefined, { 'user-agent': 'friend' })),
    '400 InvalidDigest',
    'read, as some key may be deleted',
  )
  t.equal(outcome(await post(stranger)), '400 InvalidDigest')
  t.equal(outcome(await post(ordinary)), '400 InvalidDigest')
})

t.test('a hash that was signed in a URL counts, and no other that is sent beside it', async t => {
  const { presigned, send } = await open(t)
  const query = { 'X-Amz-Content-Sha256': sha256('agreed') }
  const put = (body: string, headers: Headers = {}) => presigned(admin, 'PUT', '/bucket/key', query, { body, headers })
  t.equal(outcome(await put('agreed')), '200')
  t.equal(outcome(await put('another')), '400 XAmzContentSHA256Mismatch')
  for (const value of ['UNSIGNED-PAYLOAD', sha256('another'), 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'])
    t.equal(outcome(await put('another', { 'x-amz-content-sha256': value })), '400 InvalidArgument', value)
  t.equal(outcome(await put('agreed', { 'x-amz-content-sha256': sha256('agreed') })), '200', 'the same again')
  t.equal((await send(admin, 'GET', '/bucket/key')).text, 'agreed')
})

t.test('two spellings of a header with two values are refused everywhere', async t => {
  const { send, presigned, signedFetch, policy } = await open(t)
  await send(admin, 'PUT', '/bucket/key', {}, 'text')
  await send(admin, 'PUT', '/bucket/secret', {}, 'secret')
  await policy(
    { Action: 's3:*' },
    { Effect: 'Deny', Action: 's3:PutObject', Condition: { StringLike: { 's3:x-amz-copy-source': 'bucket/secret' } } },
  )
  const rows: readonly (readonly [name: string, one: string, other: string])[] = [
    ['copy-source', '/bucket/key', '/bucket/secret'],
    ['metadata-directive', 'COPY', 'REPLACE'],
    ['storage-class', 'STANDARD', 'WARM'],
    ['acl', 'private', 'public-read'],
    ['tagging', 'a=1', 'a=2'],
    ['meta-name', '1', '2'],
    ['server-side-encryption', 'AES256', 'kms'],
    ['expected-bucket-owner', 'domain1', 'domain2'],
  ]
  for (const [name, one, other] of rows) {
    const headers = { 'x-amz-copy-source': '/bucket/key', [`x-amz-${name}`]: one, [`x-obs-${name}`]: other }
    t.equal(outcome(await send(admin, 'PUT', '/bucket/copy', headers)), '400 InvalidArgument', name)
    const query = { [`x-amz-${name}`]: one, [`x-obs-${name}`]: other }
    const anonymous = { body: 'text', headers: { ...query, 'x-amz-copy-source': '/bucket/key' } }
    t.equal(
      outcome(await signedFetch(undefined, 'PUT', '/bucket/copy', anonymous)),
      '400 InvalidArgument',
      `${name}, unsigned`,
    )
    const sent = { headers: { [`x-amz-${name}`]: other } }
    const twice = await presigned(admin, 'PUT', '/bucket/copy', { [`x-amz-${name}`]: one }, sent)
    t.equal(outcome(twice), '403 AccessDenied', `${name} in the query, and another that nobody signed`)
  }
  const keyIds = { 'x-amz-server-side-encryption-aws-kms-key-id': 'a', 'x-obs-server-side-encryption-kms-key-id': 'b' }
  t.equal(outcome(await send(admin, 'PUT', '/bucket/copy', { ...kms, ...keyIds })), '400 InvalidArgument', 'key ids')
  const same = { 'x-amz-meta-a': '1', 'x-obs-meta-a': '1' }
  t.equal(outcome(await send(admin, 'PUT', '/bucket/copy', same, 'text')), '200', 'both, and they say the same')
  const form = (fields: Headers): Promise<Reply> => {
    const parts = Object.entries({ key: 'form', ...fields, file: 'text' }).map(
      ([name, value]) => `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
    )
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    return signedFetch(undefined, 'POST', '/bucket', { body: `${parts.join('')}--b--\r\n`, headers })
  }
  t.equal(outcome(await form({})), '204')
  t.equal(
    outcome(await form({ 'x-amz-storage-class': 'STANDARD', 'x-obs-storage-class': 'WARM' })),
    '400 InvalidArgument',
  )
  t.equal(outcome(await form({ acl: 'private', 'x-amz-acl': 'public-read' })), '400 InvalidArgument')
  t.equal(outcome(await form({ acl: 'private', 'x-obs-acl': 'public-read' })), '400 InvalidArgument')
  t.equal((await send(admin, 'GET', '/bucket/copy')).text, 'text', 'nothing was copied')
})

t.test('a value that no header could have is refused, and is no work for a policy', async t => {
  const { policy, signedFetch } = await open(t)
  await policy({ Condition: { StringLike: { 's3:x-amz-acl': '*a*a*' } } })
  const part = (name: string, value: string) =>
    `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
  const body = `${part('key', 'k')}${part('acl', 'b'.repeat(20_000))}${part('file', 'text')}--b--\r\n`
  const headers = { 'content-type': 'multipart/form-data; boundary=b' }
  t.equal(outcome(await signedFetch(undefined, 'POST', '/bucket', { body, headers })), '400 InvalidArgument')
})

t.test('a copy takes tags along only with the permissions to read and to put them', async t => {
  const { send, policy } = await open(t)
  await send(admin, 'PUT', '/bucket/tagged', { 'x-amz-tagging': 'secret=1' }, 'text')
  await send(admin, 'PUT', '/bucket/plain', {}, 'text')
  const copy = async (source: string, headers: Headers = {}) =>
    outcome(await send(stranger, 'PUT', '/bucket/copy', { 'x-amz-copy-source': `/bucket/${source}`, ...headers }))
  const may = (...Action: readonly string[]) =>
    policy({ Action: Action.map(name => `s3:${name}`), Resource: 'arn:aws:s3:::bucket/*' })
  await may('GetObject', 'PutObject')
  t.equal(await copy('plain'), '200', 'there are none')
  t.equal(await copy('tagged'), '403 AccessDenied')
  t.equal(await copy('tagged', { 'x-amz-tagging-directive': 'REPLACE' }), '200', 'without them')
  t.equal((await send(admin, 'GET', '/bucket/copy?tagging')).text.includes('secret'), false)
  await may('GetObject', 'PutObject', 'GetObjectTagging')
  t.equal(await copy('tagged'), '403 AccessDenied')
  await may('GetObject', 'PutObject', 'PutObjectTagging')
  t.equal(await copy('tagged'), '403 AccessDenied')
  await may('GetObject', 'PutObject', 'GetObjectTagging', 'PutObjectTagging')
  t.equal(await copy('tagged'), '200')
  t.match((await send(admin, 'GET', '/bucket/copy?tagging')).text, 'secret')
  await policy({}, { Effect: 'Deny', Action: 's3:PutObjectTagging', Resource: 'arn:aws:s3:::bucket/*' })
  for (const [method, path] of [
    ['PUT', '/bucket/x'],
    ['POST', '/bucket/x?uploads'],
  ] as const)
    t.equal(
      outcome(await send(admin, method, path, { 'x-amz-tagging': 'a=1' })),
      '403 AccessDenied',
      `${method} ${path}`,
    )
})

t.test('a policy that denies an ACL denies it in a body too', async t => {
  const { send, policy } = await open(t)
  await send(admin, 'PUT', '/bucket/key', {}, 'text')
  await policy({ Effect: 'Deny', Condition: { StringEquals: { 's3:x-amz-acl': 'public-read' } } })
  const grant = (uri: string, permission: string) =>
    `<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>http://acs.amazonaws.com/groups/global/${uri}</URI></Grantee><Permission>${permission}</Permission></Grant>`
  const xml = (grants: string) =>
    `<AccessControlPolicy><Owner><ID>domain1</ID></Owner><AccessControlList>${grants}</AccessControlList></AccessControlPolicy>`
  for (const path of ['/bucket?acl', '/bucket/key?acl']) {
    t.equal(outcome(await send(admin, 'PUT', path, { 'x-amz-acl': 'public-read' })), '403 AccessDenied', path)
    t.equal(outcome(await send(admin, 'PUT', path, {}, xml(grant('AllUsers', 'READ')))), '403 AccessDenied', path)
    t.equal(outcome(await send(admin, 'PUT', path, {}, xml(grant('AuthenticatedUsers', 'READ')))), '200', path)
    t.equal(outcome(await send(admin, 'PUT', path, {}, xml(''))), '200', path)
  }
})

t.test(
  'uploads are for who began them and for the owner; for others only by a policy, and never under SSE-KMS',
  async t => {
    const { send, policy } = await open(
      t,
      { profile: createProfile('s3', { region, baseEncryption: 'none' }) },
      { 'x-amz-acl': 'public-read-write' },
    )
    const begin = async (who: GatewayUser, headers: Headers = {}) =>
      uploadId(await send(who, 'POST', '/bucket/key?uploads', headers))
    const xml =
      '<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>'
    const touch = async (who: GatewayUser | undefined, id: string) => [
      outcome(await send(who, 'PUT', `/bucket/key?partNumber=1&uploadId=${id}`, {}, 'text')),
      outcome(
        await send(who, 'PUT', `/bucket/key?partNumber=1&uploadId=${id}`, { 'x-amz-copy-source': '/bucket/key' }),
      ),
      outcome(await send(who, 'GET', `/bucket/key?uploadId=${id}`)),
      outcome(await send(who, 'POST', `/bucket/key?uploadId=${id}`, {}, xml)),
      outcome(await send(who, 'DELETE', `/bucket/key?uploadId=${id}`)),
    ]
    await send(admin, 'PUT', '/bucket/key', { 'x-amz-acl': 'public-read' }, 'text')
    const refused = Array.from({ length: 5 }, () => '403 AccessDenied')
    const done = ['200', '200', '200', '400 InvalidPart', '204']
    const [sealed, plain, theirs] = [await begin(admin, kms), await begin(admin), await begin(stranger)]
    for (const who of [undefined, stranger]) {
      t.same(await touch(who, sealed), refused, 'SSE-KMS')
      t.same(await touch(who, plain), refused, 'of the owner')
    }
    t.same(await touch(undefined, theirs), refused, 'of another tenant')
    t.same(await touch(strangersUser, theirs), refused, 'of another user of that tenant')
    t.same(await touch(stranger, theirs), done, 'by who began it')
    t.same(await touch(ordinary, await begin(stranger)), done, 'by the owner')
    t.equal(
      outcome(await send(undefined, 'POST', '/bucket/key?uploads')),
      '403 AccessDenied',
      'nobody could go on with it',
    )
    await policy({
      Action: ['s3:PutObject', 's3:AbortMultipartUpload', 's3:ListMultipartUploadParts'],
      Resource: 'arn:aws:s3:::bucket/*',
    })
    t.same(await touch(strangersUser, sealed), refused, 'SSE-KMS, whatever a policy says')
    t.same(await touch(strangersUser, plain), done, 'by a policy')
  },
)

t.test('the expected owner is obeyed, of the bucket and of the source of a copy', async t => {
  const { send } = await open(t)
  await send(admin, 'PUT', '/bucket/key', {}, 'text')
  const id = uploadId(await send(admin, 'POST', '/bucket/parts?uploads'))
  const source = { 'x-amz-copy-source': '/bucket/key' }
  for (const path of ['/bucket/copy', `/bucket/parts?partNumber=1&uploadId=${id}`]) {
    for (const name of ['x-amz-expected-bucket-owner', 'x-amz-source-expected-bucket-owner']) {
      const put = async (owner: string) => outcome(await send(admin, 'PUT', path, { ...source, [name]: owner }))
      t.equal(await put('domain1'), '200', `${name} ${path}`)
      t.equal(await put('domain2'), '403 AccessDenied', `${name} ${path}`)
      for (const none of ['', 'a b', 'domain1!', '1'.repeat(65)])
        t.equal(await put(none), '400 InvalidBucketOwnerAWSAccountID', `${name} ${path}`)
    }
  }
})

t.test('what could not be answered as a header is not kept as one', async t => {
  const { presigned, send, signedFetch } = await open(t)
  const rows: readonly Headers[] = [
    { 'x-amz-meta-a': 'a\r\nx: y' },
    { 'x-amz-meta-a': 'a\0' },
    { 'x-amz-meta-a': '\u001b' },
    { 'x-amz-meta-a': '\u007f' },
    { 'x-amz-meta-a b': 'name' },
    { 'x-amz-meta-a\r\n': 'name' },
  ]
  for (const query of rows) {
    const said = JSON.stringify(query)
    t.equal(outcome(await presigned(admin, 'PUT', '/bucket/key', query, { body: 'x' })), '400 InvalidArgument', said)
    t.equal(
      outcome(await presigned(admin, 'POST', '/bucket/key', { uploads: '', ...query })),
      '400 InvalidArgument',
      said,
    )
  }
  t.equal((await send(admin, 'HEAD', '/bucket/key')).status, 404)
  await send(admin, 'PUT', '/bucket/key', {}, 'x')
  for (const name of ['content-type', 'content-disposition', 'cache-control', 'expires']) {
    const query = `response-${name}=${encodeURIComponent('a\r\nx: y')}`
    t.equal(outcome(await send(admin, 'GET', `/bucket/key?${query}`)), '400 InvalidArgument', name)
  }
  const part = (name: string, value: string) =>
    `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
  await send(admin, 'PUT', '/bucket?acl', { 'x-amz-acl': 'public-read-write' })
  for (const name of ['Content-Type', 'Cache-Control']) {
    const body = `${part('key', 'form')}${part(name, 'a\r\nb')}${part('file', 'text')}--b--\r\n`
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    t.equal(outcome(await signedFetch(undefined, 'POST', '/bucket', { body, headers })), '400 InvalidArgument', name)
  }
})

t.test('a customer key is decoded without a string of it, and wrong spellings are refused', async t => {
  const { send } = await open(t)
  const decoded = t.intercept(globalThis, 'atob', { value: globalThis.atob })
  const key = Buffer.alloc(32, 'k')
  const headers = {
    'x-amz-server-side-encryption-customer-algorithm': 'AES256',
    'x-amz-server-side-encryption-customer-key': key.toString('base64'),
    'x-amz-server-side-encryption-customer-key-md5': createHash('md5').update(key).digest('base64'),
  }
  t.equal(outcome(await send(admin, 'PUT', '/bucket/key', headers, 'text')), '200')
  t.equal((await send(admin, 'GET', '/bucket/key', headers)).text, 'text')
  t.same(decoded(), [])
  for (let length = 0; length < 70; length++) {
    const bytes = randomBytes(length)
    const text = bytes.toString('base64')
    t.same(fromBase64(text), new Uint8Array(bytes), text)
    for (const wrong of [`${text}=`, text.replace(/=$/, ''), `${text}A`, `${text} `, `=${text}`])
      if (wrong !== text) t.equal(fromBase64(wrong), undefined, wrong)
  }
  for (const wrong of ['AB==', 'AAB=', '////=', 'A===', '====', 'AA=A', 'A-_A'])
    t.equal(fromBase64(wrong), undefined, wrong)
})

t.test('a copy asks the key store, whatever key is in memory', async t => {
  const {
    send,
    kms: keys,
    policy: _policy,
  } = await open(t, { profile: createProfile('s3', { region, baseEncryption: 'none' }) })
  const underBucketKey = { ...kms, 'x-amz-server-side-encryption-bucket-key-enabled': 'true' }
  const put = await send(admin, 'PUT', '/bucket/key', underBucketKey, 'text')
  const keyId = String(put.headers['x-amz-server-side-encryption-aws-kms-key-id'])
  const upload = uploadId(await send(admin, 'POST', '/bucket/parts?uploads'))
  const copies = async () => [
    outcome(await send(admin, 'PUT', '/bucket/copy', { 'x-amz-copy-source': '/bucket/key' })),
    outcome(
      await send(admin, 'PUT', '/bucket/copy', {
        'x-amz-copy-source': '/bucket/key',
        'x-amz-server-side-encryption': 'AES256',
      }),
    ),
    outcome(
      await send(admin, 'PUT', `/bucket/parts?partNumber=1&uploadId=${upload}`, { 'x-amz-copy-source': '/bucket/key' }),
    ),
  ]
  t.same(await copies(), ['200', '200', '200'])
  t.equal((await send(admin, 'GET', '/bucket/key')).text, 'text', 'the bucket key is in memory')
  await keys.disableKey({ keyId })
  t.equal((await send(admin, 'GET', '/bucket/key')).text, 'text', 'and reads go on for a while')
  t.same(
    await copies(),
    Array.from({ length: 3 }, () => '400 KMS.DisabledException'),
  )
})

t.test('who may list a bucket may know that an object is not there', async t => {
  const { send, policy } = await open(t, {}, { 'x-amz-acl': 'public-read' })
  const miss = async (who?: GatewayUser) => [
    outcome(await send(who, 'GET', '/bucket/none')),
    (await send(who, 'HEAD', '/bucket/none')).status,
  ]
  await send(admin, 'PUT', '/bucket/there', {}, 'text')
  t.same(await miss(), ['404 NoSuchKey', 404])
  t.equal(outcome(await send(undefined, 'GET', '/bucket/there')), '403 AccessDenied')
  await send(admin, 'PUT', '/bucket?acl', { 'x-amz-acl': 'private' })
  t.same(await miss(), ['403 AccessDenied', 403])
  t.same(await miss(stranger), ['403 AccessDenied', 403])
  await policy({ Action: 's3:ListBucket', Resource: 'arn:aws:s3:::bucket' })
  t.same(await miss(), ['404 NoSuchKey', 404])
  t.same(await miss(stranger), ['404 NoSuchKey', 404])
  await policy(
    { Action: 's3:ListBucket', Resource: 'arn:aws:s3:::bucket' },
    { Effect: 'Deny', Action: 's3:GetObject', Resource: 'arn:aws:s3:::bucket/*' },
  )
  t.same(await miss(), ['403 AccessDenied', 403])
})

t.test('who writes by the ACL of a bucket may say the ACL of the object, and of no other', async t => {
  const { send, policy } = await open(t, {}, { 'x-amz-acl': 'public-read-write' })
  const publicRead = { 'x-amz-acl': 'public-read' }
  t.equal(outcome(await send(undefined, 'PUT', '/bucket/key', publicRead, 'text')), '200')
  t.equal((await send(undefined, 'GET', '/bucket/key')).text, 'text')
  await send(admin, 'PUT', '/bucket/other', {}, 'text')
  t.equal(outcome(await send(undefined, 'PUT', '/bucket/other?acl', publicRead)), '403 AccessDenied')
  await policy({ Effect: 'Deny', Action: 's3:PutObjectAcl', Resource: 'arn:aws:s3:::bucket/*' })
  t.equal(outcome(await send(undefined, 'PUT', '/bucket/key', publicRead, 'text')), '403 AccessDenied')
  await send(admin, 'PUT', '/bucket?acl', { 'x-amz-acl': 'private' })
  await policy({ Action: 's3:PutObject', Resource: 'arn:aws:s3:::bucket/*' })
  t.equal(
    outcome(await send(undefined, 'PUT', '/bucket/key', publicRead, 'text')),
    '403 AccessDenied',
    'a policy has to name it',
  )
})

t.test('the default encryption of a bucket takes the role of SSE-KMS, to set and to delete', async t => {
  const { send } = await open(t)
  const xml =
    '<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>' +
    '</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>'
  t.equal(outcome(await send(ordinary, 'PUT', '/bucket?encryption', {}, xml)), '403 AccessDenied')
  t.equal(outcome(await send(admin, 'PUT', '/bucket?encryption', {}, xml)), '200')
  t.equal(outcome(await send(ordinary, 'DELETE', '/bucket?encryption')), '403 AccessDenied')
  t.equal(
    outcome(await send(ordinary, 'PUT', '/bucket?encryption', {}, xml.replace('aws:kms', 'AES256'))),
    '403 AccessDenied',
  )
  t.equal(outcome(await send(ordinary, 'GET', '/bucket?encryption')), '200')
  t.equal(outcome(await send(admin, 'DELETE', '/bucket?encryption')), '204')
})

t.test('an id of an upload and a source of a copy may be too long', async t => {
  const { send } = await open(t)
  const id = 'a'.repeat(601)
  for (const [method, path] of [
    ['GET', ''],
    ['PUT', 'partNumber=1&'],
    ['POST', ''],
    ['DELETE', ''],
  ] as const)
    t.equal(outcome(await send(admin, method, `/bucket/key?${path}uploadId=${id}`)), '404 NoSuchUpload', method)
  for (const source of [`/bucket/${'a'.repeat(1025)}`, `/${'b'.repeat(300)}/key`, '/B/key'])
    t.match((await send(admin, 'PUT', '/bucket/key', { 'x-amz-copy-source': source })).status, 400, source)
})
