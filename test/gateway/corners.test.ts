// What happens seldom, over HTTP: stores that fail or say something else than they hold, bodies without a length, answers to clients that still
// send, headers that few clients use.
import t, { type Test } from 'tap'
import { connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { createOnce } from '../../lib/cli/files.ts'
import { SseError } from '../../lib/errors.ts'
import { serviceDomain } from '../../lib/gateway/services.ts'
import { createSse } from '../../lib/object/node.ts'
import type { WithDriver } from '../../lib/object/sse.ts'
import type { Driver } from '../../lib/segment/driver.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import type { ObjectStore } from '../../lib/store/store.ts'
import type { NewObject } from '../../lib/store/records.ts'
import { admin, ordinary, region, type Reply, startGateway, stranger, type TestGateway } from '../support/gateway.ts'

type Headers = Readonly<Record<string, string>>

const kms = { 'x-amz-server-side-encryption': 'aws:kms' }
const uploadId = ({ text }: Reply): string => /<UploadId>(.*?)</.exec(text)?.[1] ?? ''

const open = async (t: Test, options: Parameters<typeof startGateway>[1] = {}) => {
  const gateway = await startGateway(t, options)
  const send = (method: string, path: string, headers: Headers = {}, body?: string, who = admin): Promise<Reply> =>
    gateway.signedFetch(who, method, path, { headers, ...(body === undefined ? {} : { body }) })
  t.equal((await send('PUT', '/bucket')).status, 200)
  return { ...gateway, send }
}

/** Puts an object of which the record says this. */
const claim = async (
  { byName }: TestGateway,
  key: string,
  bytes: string | Uint8Array,
  record: Partial<NewObject>,
): Promise<void> => {
  const common = { kind: 'plain' as const, headers: {}, notes: {}, owner: admin.domainId, modified: 0, etag: 'e' }
  await byName.putObject('bucket', key, bytes, { ...common, size: bytes.length, ...record })
}

t.test('what a store claims and does not hold is an error, and no copy', async t => {
  const gateway = await open(t)
  const { send } = gateway
  await claim(gateway, 'longer', 'hello', { size: 6 })
  await claim(gateway, 'sealed', 'hello', { kind: 'sse-kms' })
  await claim(gateway, 'nameless', 'hello', { kind: 'sse-kms', notes: {} })
  for (const key of ['longer', 'sealed']) {
    t.match(await send('GET', `/bucket/${key}`), { status: 500, code: 'InternalError' }, `${key}: GET`)
    const copied = await send('PUT', '/bucket/copy', { ...kms, 'x-amz-copy-source': `bucket/${key}` })
    t.match(copied, { status: 500, code: 'InternalError' }, `${key}: Copy`)
  }
  t.equal((await send('HEAD', '/bucket/nameless')).headers['x-amz-server-side-encryption'], 'aws:kms')
  t.equal((await send('GET', '/bucket/copy')).code, 'NoSuchKey')
})

t.test('a master key that is not the owner’s is refused before any KMS is asked', async t => {
  for (const profile of [createProfile('obs', { region }), createProfile('s3', { region })]) {
    const gateway = await open(t, { profile })
    const { kms, calls, send } = gateway
    const { domainId } = admin
    const keys = {
      own: await kms.defaultKey({ region, domainId }),
      made: await kms.createKey({ region, domainId }),
      stranger: await kms.defaultKey({ region, domainId: stranger.domainId }),
      elsewhere: await kms.defaultKey({ region: 'elsewhere', domainId }),
      service: await kms.defaultKey({ region, domainId: serviceDomain }),
    }
    const sse = createSse({ kms, accept: Object.values(keys).map(({ keyId }) => keyId) })
    const sealed = async (name: string, keyId: string, kind: 'sse-kms' | 'sse-s3') => {
      const put = await sse.encrypt({ keyId, context: { 'aws:s3:arn': `arn:aws:s3:::bucket/${name}` } })
      put.stream.end('hello')
      const bytes = await buffer(put.stream)
      const { envelope, etag } = put.result()
      await claim(gateway, name, bytes, { kind, envelope, etag, size: 5 })
      const before = calls.unwrap
      const { status, text } = await send('GET', `/bucket/${name}`)
      return { status, text: status === 200 ? text : '', asked: calls.unwrap - before }
    }
    const opened = { status: 200, text: 'hello', asked: 1 }
    const refused = { status: 500, text: '', asked: 0 }
    const { own, made, stranger: theirs, elsewhere, service } = keys
    t.match(await sealed('own', own.keyId, 'sse-kms'), opened)
    t.match(await sealed('service', service.keyId, 'sse-s3'), opened)
    t.match(await sealed('made', made.keyId, 'sse-kms'), profile.customerKeys ? opened : refused, 'made by a customer')
    t.match(await sealed('stranger', theirs.keyId, 'sse-kms'), refused, 'another tenant')
    t.match(await sealed('elsewhere', elsewhere.keyId, 'sse-kms'), refused, 'another region')
    t.match(await sealed('service-as-kms', service.keyId, 'sse-kms'), refused, 'the service for SSE-KMS')
    t.match(await sealed('own-as-s3', own.keyId, 'sse-s3'), refused, 'the tenant for SSE-S3')
  }
})

t.test('a KMS that cannot say whose key it is makes the read fail, not the key accepted', async t => {
  const gateway = await open(t, { profile: createProfile('s3', { region }) })
  t.equal((await gateway.send('PUT', '/bucket/a', kms, 'hello')).status, 200)
  const failing = Object.assign(Object.create(gateway.kms), {
    acceptedKeys: () => Promise.reject(new SseError('KmsUnavailable')),
  })
  const { store } = gateway
  const other = await startGateway(t, { store, kms: failing, profile: createProfile('obs', { region }) })
  t.match(await other.signedFetch(admin, 'GET', '/bucket/a'), { status: 503 })
})

t.test('a store that fails in a way of its own is an internal error, its cause for the log alone', async t => {
  const { store, log, ...gateway } = await startGateway(t)
  await gateway.signedFetch(admin, 'PUT', '/bucket')
  const failing: ObjectStore = Object.assign(Object.create(store), {
    getBucket: () => Promise.reject(new Error('a disk of rust')),
  })
  const entries: typeof log extends readonly (infer Entry)[] ? Entry[] : never = []
  const other = await startGateway(t, { store: failing, log: entry => entries.push(entry), clock: Date.now })
  const reply = await other.signedFetch(admin, 'GET', '/bucket')
  t.match(reply, { status: 500, code: 'InternalError' })
  t.notMatch(reply.text, 'rust')
  t.match(entries.at(-1)?.error?.cause, { message: 'a disk of rust' })
})

t.test('a store that takes no body: the keys that were made for it are wiped', async t => {
  const { store, ...gateway } = await open(t)
  const id = uploadId(await gateway.send('POST', '/bucket/parts?uploads', kms))
  const failing: ObjectStore = Object.assign(Object.create(store), {
    createBody: () => Promise.reject(new SseError('StoreFailed')),
  })
  const drivers: Driver[] = []
  const noting = <A extends readonly unknown[], R extends WithDriver>(make: (...given: A) => Promise<R>) =>
    async function (...given: A): Promise<R> {
      const made = await make(...given)
      drivers.push(made.driver)
      return made
    }
  const sse = createSse({ kms: gateway.kms, accept: [] })
  t.teardown(() => sse.dispose())
  const watched = { ...sse, encrypt: noting(sse.encrypt), encryptPart: noting(sse.encryptPart) }
  const other = await startGateway(t, { store: failing, kms: gateway.kms, sse: watched })
  for (const path of ['/bucket/key', `/bucket/parts?partNumber=1&uploadId=${id}`]) {
    const headers = path.includes('parts') ? {} : kms
    t.match(await other.signedFetch(admin, 'PUT', path, { headers, body: 'x' }), { status: 500 }, path)
    t.throws(() => drivers.pop()?.write(new Uint8Array(1), () => undefined), TypeError)
  }
})

t.test('copies of empty objects', async t => {
  const { send } = await open(t)
  await send('PUT', '/bucket/empty', {}, '')
  await send('PUT', '/bucket/sealed', kms, '')
  for (const [source, headers] of [
    ['empty', kms],
    ['sealed', {}],
    ['empty', {}],
  ] as const) {
    const copied = await send('PUT', '/bucket/copy', { ...headers, 'x-amz-copy-source': `bucket/${source}` })
    t.equal(copied.status, 200, copied.text)
    t.match(await send('GET', '/bucket/copy'), { status: 200, text: '' })
  }
})

t.test('content codings, ranges and names as few clients send them', async t => {
  const { send } = await open(t)
  for (const [sent, kept] of [
    ['aws-chunked', undefined],
    ['aws-chunked, gzip', 'gzip'],
    ['deflate, gzip', 'deflate, gzip'],
    ['gzip, aws-chunked, br', 'gzip, br'],
    ['gzip,,br', 'gzip,,br'],
  ] as const) {
    await send('PUT', '/bucket/key', { 'content-encoding': sent, 'x-amz-meta-a': 'b' }, 'hello')
    t.equal((await send('HEAD', '/bucket/key')).headers['content-encoding'], kept, sent)
  }
  const got = await send('GET', '/bucket/key', { 'x-obs-date': 'x' })
  t.match(got.headers, { 'x-obs-meta-a': 'b' }, 'user metadata in the words of the client')
  for (const [range, status, text] of [
    ['bytes=-', 200, 'hello'],
    ['bytes=3-1', 200, 'hello'],
    ['bytes=-2', 206, 'lo'],
    ['bytes=3-', 206, 'lo'],
    ['bytes=1-2', 206, 'el'],
    ['lines=1-2', 200, 'hello'],
  ] as const) {
    t.match(await send('GET', '/bucket/key', { range }), { status, text }, range)
  }
})

t.test('small bodies without a length are read, and bounded', async t => {
  const gateway = await open(t)
  const { hostname, port } = new URL(gateway.url)
  await gateway.send('PUT', '/bucket?acl', { 'x-amz-acl': 'public-read-write' })
  const everything = { Effect: 'Allow', Principal: '*', Action: 's3:*', Resource: 'arn:aws:s3:::bucket' }
  const policy = JSON.stringify({ Version: '2012-10-17', Statement: [everything] })
  t.equal((await gateway.send('PUT', '/bucket?policy', {}, policy)).status, 204)
  const say = async (bytes: string): Promise<string> => {
    const socket = connect(Number(port), hostname)
    socket.on('error', () => undefined)
    const lines = `PUT /bucket?tagging HTTP/1.1\r\nHost: ${gateway.host}\r\nConnection: close\r\nTransfer-Encoding: chunked`
    socket.write(`${lines}\r\n\r\n${bytes.length.toString(16)}\r\n${bytes}\r\n0\r\n\r\n`)
    return (await buffer(socket)).toString()
  }
  t.match(await say('<Tagging><TagSet></TagSet></Tagging>'), /^HTTP\/1\.1 204/)
  t.match(await say(' '.repeat(200_000)), /^HTTP\/1\.1 400[^]*EntityTooLarge/)
})

t.test('a client that sends without end gets its answer, and is not listened to for long', async t => {
  const gateway = await open(t)
  const { hostname, port } = new URL(gateway.url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => undefined)
  const answers: Buffer[] = []
  socket.on('data', (chunk: Buffer) => answers.push(chunk))
  socket.write(`PUT /bucket/key HTTP/1.1\r\nHost: ${gateway.host}\r\nContent-Length: 99999999999\r\n\r\n`)
  const piece = Buffer.alloc(1024 * 1024)
  const pump = () => {
    while (!socket.destroyed && socket.write(piece));
  }
  socket.on('drain', pump)
  pump()
  await new Promise(resolve => socket.once('close', resolve))
  t.match(Buffer.concat(answers).toString(), /^HTTP\/1\.1 403[^]*<Code>AccessDenied<\/Code>/)
  t.equal((await gateway.send('GET', '/bucket')).status, 200)
})

t.test('parts that the store has and nobody acknowledged', async t => {
  const { send, byName } = await open(t)
  const put = (key: string, id: string, part: { attempt: string; receipt?: Uint8Array }) =>
    byName.putPart('bucket', key, id, { number: 1, size: 1, modified: 0, ...part }, 'x')
  const complete = (id: string, part: string) =>
    send(
      'POST',
      `/bucket/key?uploadId=${id}`,
      {},
      `<CompleteMultipartUpload><Part>${part}</Part></CompleteMultipartUpload>`,
    )
  const id = uploadId(await send('POST', '/bucket/key?uploads', kms))
  await put('key', id, { attempt: 'without-a-receipt' })
  t.notMatch((await send('GET', `/bucket/key?uploadId=${id}`)).text, '<Part>')
  const { etag = '' } = (await send('PUT', `/bucket/key?uploadId=${id}&partNumber=1`, {}, 'x')).headers
  const receipt = (await byName.listParts('bucket', 'key', id)).at(-1)?.receipt ?? new Uint8Array(0)

  const other = uploadId(await send('POST', '/bucket/plain?uploads'))
  await put('plain', other, { attempt: 'a' })
  t.match((await send('GET', `/bucket/plain?uploadId=${other}`)).text, '<ETag>&quot;&quot;</ETag>')

  t.match(await complete(id, `<ETag>${etag}</ETag>`), { status: 400, code: 'MalformedXML' }, 'a part without a number')
  t.equal((await complete(id, `<PartNumber>1</PartNumber><ETag>${etag}</ETag>`)).status, 200)

  const again = uploadId(await send('POST', '/bucket/key?uploads', kms))
  await put('key', again, { attempt: 'b', receipt })
  t.match(
    await complete(again, `<PartNumber>1</PartNumber><ETag>${etag}</ETag>`),
    { status: 400, code: 'InvalidPart' },
    'the receipt of another upload',
  )
})

t.test('receipts that do not open are not listed, and spoil no Complete of other parts', async t => {
  const { send, byName } = await open(t)
  for (const headers of [kms, { 'x-amz-server-side-encryption': 'AES256' }]) {
    const id = uploadId(await send('POST', '/bucket/key?uploads', headers))
    const etags: string[] = []
    for (const number of [1, 2]) {
      etags.push((await send('PUT', `/bucket/key?uploadId=${id}&partNumber=${number}`, {}, 'x')).headers['etag'] ?? '')
    }
    const stored = await byName.listParts('bucket', 'key', id)
    const receipt = stored[1]?.receipt ?? new Uint8Array(0)
    const tooLong = receipt.slice()
    tooLong.set([0x00, 0x1f], 8) // of a length that no stream of its suite has
    const spoiled = [receipt.slice(1), receipt.map((byte, i) => (i === receipt.length - 1 ? byte ^ 1 : byte)), tooLong]
    for (const [i, bytes] of spoiled.entries()) {
      const part = { number: 2, attempt: `spoiled-${i}`, size: 1, modified: 0, receipt: bytes }
      await byName.putPart('bucket', 'key', id, part, 'x')
    }
    const listed = (await send('GET', `/bucket/key?uploadId=${id}`)).text
    t.strictSame(
      [...listed.matchAll(/<ETag>&quot;(.*?)&quot;/g)].map(([, etag]) => `"${etag}"`),
      etags,
    )
    const complete = (...parts: readonly (readonly [number, string])[]) => {
      const named = parts.map(([n, etag]) => `<Part><PartNumber>${n}</PartNumber><ETag>${etag}</ETag></Part>`)
      const xml = `<CompleteMultipartUpload>${named.join('')}</CompleteMultipartUpload>`
      return send('POST', `/bucket/key?uploadId=${id}`, {}, xml)
    }
    t.equal((await complete([1, etags[0] ?? ''])).status, 200, 'its receipts open; those of part 2 do not matter')
    t.equal((await send('GET', '/bucket/key')).text, 'x')
  }
})

t.test('a request that names no bucket or no object', async t => {
  const { send } = await open(t)
  const profile = createProfile('obs', { region })
  t.equal(profile.name, 'obs')
  t.equal((await send('POST', '/')).code, 'MethodNotAllowed')
  t.equal((await send('PUT', '/bucket/key', {}, 'x', ordinary)).status, 200)
  t.match(await send('GET', '/bucket?torrent'), { status: 501, code: 'NotImplemented' })
})

t.test('a file that cannot be made is an error', async t => {
  await t.rejects(createOnce(`${t.testdir()}/none/file`, 'x'), { code: 'ENOENT' })
})
