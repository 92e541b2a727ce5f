// Clients that are slow, leave, or send what they should not, on real connections: what they may take of a gateway, and what is logged of them.
import aws4 from 'aws4'
import t, { type Test } from 'tap'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { createGateway } from '../../lib/gateway/gateway.ts'
import { limitsOf } from '../../lib/gateway/limits.ts'
import type { CallOptions, KmsProvider } from '../../lib/kms/provider.ts'
import { createSse } from '../../lib/object/node.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, region, type Reply, startGateway, type TestGateway } from '../support/gateway.ts'
import { filesBecome } from '../support/store.ts'

type Headers = Readonly<Record<string, string>>

const kms = { 'x-amz-server-side-encryption': 'aws:kms' }
const unsigned = { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }
const uploadId = ({ text }: Reply): string => /<UploadId>(.*?)</.exec(text)?.[1] ?? ''
const policy = (statements: readonly object[]): string =>
  JSON.stringify({ Version: '2012-10-17', Statement: statements })

interface Wire extends TestGateway {
  send(method: string, path: string, headers?: Headers, body?: string | Uint8Array): Promise<Reply>
  /** The head of a signed request. */
  head(method: string, path: string, headers?: Headers): Buffer
  dial(): Promise<Talk>
}

/** A connection, and what came on it. */
interface Talk {
  readonly socket: Socket
  /** Everything that came until now. */
  text(): string
  /** Resolves when the connection is closed, by whomever. */
  readonly closed: Promise<unknown>
}

const open = async (t: Test, options: Parameters<typeof startGateway>[1] = {}): Promise<Wire> => {
  const gateway = await startGateway(t, options)
  const { hostname, port } = new URL(gateway.url)
  const send: Wire['send'] = (method, path, headers = {}, body = undefined) =>
    gateway.signedFetch(admin, method, path, {
      headers: { ...unsigned, ...headers },
      ...(body === undefined ? {} : { body }),
    })
  const head: Wire['head'] = (method, path, headers = {}) => {
    const wire = { service: 's3', region, method, host: gateway.host, path, headers: { ...unsigned, ...headers } }
    const lines = Object.entries(aws4.sign(wire, admin).headers).map(([name, value]) => `${name}: ${value}\r\n`)
    return Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`)
  }
  const dial = async (): Promise<Talk> => {
    const socket = connect(Number(port), hostname)
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    let text = ''
    socket.on('data', piece => (text += piece.toString('latin1')))
    return { socket, text: () => text, closed: new Promise(resolve => socket.once('close', resolve)) }
  }
  t.equal((await send('PUT', '/bucket')).status, 200)
  return { ...gateway, send, head, dial }
}

const until = async (what: string, check: () => boolean): Promise<void> => {
  for (let i = 0; i < 1000; i++) {
    if (check()) return
    await wait(10)
  }
  throw new Error(`it did not happen: ${what}`)
}

/** Writes a byte now and again until the connection is closed. */
const drip = async ({ socket }: Talk, byte: string, every: number): Promise<void> => {
  while (!socket.closed && !socket.destroyed) {
    socket.write(byte)
    await wait(every)
  }
}

const form = (fields: readonly (readonly [string, string])[], rest: string): string =>
  fields.map(([name, value]) => `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`).join('') +
  rest
const formHead = (host: string): string =>
  `POST /bucket HTTP/1.1\r\nHost: ${host}\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n`

t.test('a body that comes too slowly is refused, and nothing is left of it', async t => {
  const limits = { stallSeconds: 0.5, documentSeconds: 0.5, bytesPerSecond: 1000 }
  const gateway = await open(t, { limits })
  const { head, dial, send, host, log } = gateway
  const id = uploadId(await send('POST', '/bucket/parts?uploads', kms))
  const length = { 'content-length': '100000' }
  const open_ = { Effect: 'Allow', Principal: '*', Action: 's3:PutObject', Resource: 'arn:aws:s3:::bucket/*' }
  t.equal((await send('PUT', '/bucket?policy', {}, policy([open_]))).status, 204)
  for (const [what, request, byte] of [
    ['an object', head('PUT', '/bucket/key', { ...kms, ...length }), 'x'],
    ['a part', head('PUT', `/bucket/parts?partNumber=1&uploadId=${id}`, length), 'x'],
    ['a policy', head('PUT', '/bucket?policy=', { 'content-length': '10000' }), ' '],
    ['a list of parts', head('POST', `/bucket/parts?uploadId=${id}`, length), ' '],
    ['the fields of a form, signed by nobody', formHead(host) + form([['key', 'a']], '--b\r\n'), 'x'],
    [
      'the file of a form',
      formHead(host) + form([['key', 'a']], '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'),
      'x',
    ],
  ] as const) {
    const talk = await dial()
    const logged = log.length
    talk.socket.write(request)
    await Promise.all([drip(talk, byte, 50), talk.closed])
    t.match(talk.text(), /^HTTP\/1\.1 400[^]*<Code>RequestTimeout<\/Code><Message>Your socket connection/, what)
    t.match(log.slice(logged), [{ status: 400, error: { code: 'RequestTimeout' } }], `${what}: logged once`)
  }
  t.ok(await filesBecome(gateway.directory, 0), 'nothing is left')
  t.equal((await send('GET', '/bucket/key')).status, 404)

  const steady = await dial()
  steady.socket.write(head('PUT', '/bucket/key', { ...kms, 'content-length': '4000' }))
  for (let i = 0; i < 20; i++) {
    await wait(100)
    steady.socket.write('x'.repeat(200))
  }
  await until('it is answered', () => steady.text() !== '')
  t.match(steady.text(), /^HTTP\/1\.1 200/, 'one that takes longer, at the rate that is asked for, is stored')
  const pausing = await dial()
  pausing.socket.write(head('PUT', '/bucket/key', { ...kms, 'content-length': '100000' }))
  pausing.socket.write('x'.repeat(50_000))
  await pausing.closed
  t.match(pausing.text(), /RequestTimeout/, 'what came fast does not pay for a long pause')
})

t.test('an answer that is not taken, or too slowly, is given up', async t => {
  const gateway = await open(t, { limits: { stallSeconds: 0.5, bytesPerSecond: 4 * 1024 * 1024 } })
  const { head, dial, send, log } = gateway
  const large = randomBytes(48 * 1024 * 1024)
  await send('PUT', '/bucket/large', kms, large)
  const { socket: stopped, closed } = await dial()
  stopped.write(head('GET', '/bucket/large'))
  await once(stopped, 'data')
  stopped.pause()
  await until('the reader that stopped is noticed', () => log.at(-1)?.error?.code === 'RequestTimeout')
  stopped.resume()
  await closed

  const slow = connect(Number(new URL(gateway.url).port), '127.0.0.1')
  slow.on('error', () => undefined)
  slow.write(head('GET', '/bucket/large'))
  const logged = log.length
  let got = 0
  while (log.length === logged) {
    got += (slow.read(8192) ?? '').length
    await wait(20)
  }
  t.match(log.at(-1), { action: 'GetObject', error: { code: 'RequestTimeout' } })
  t.ok(got > 8192, 'though it took some all the time')
  slow.destroy()
  t.equal(Buffer.compare((await send('GET', '/bucket/large')).body, large), 0, 'others read it')

  const record = {
    kind: 'plain',
    headers: {},
    notes: {},
    owner: admin.domainId,
    modified: 0,
    etag: 'e',
    size: 1,
  } as const
  // Small answers that nobody reads fill the connection too.
  for (let i = 0; i < 300; i++) await gateway.byName.putObject('bucket', `${'k'.repeat(900)}${i}`, 'x', record)
  const listing = await dial()
  listing.socket.pause()
  const one = head('GET', '/bucket')
  listing.socket.write(Buffer.concat(Array.from({ length: 90 }, () => one)))
  for (let before = -1; before !== log.length; await wait(3000)) before = log.length
  listing.socket.resume()
  await listing.closed
  t.ok((listing.text().match(/HTTP\/1\.1 200/g)?.length ?? 0) < 90, 'listings')
})

t.test('an answered connection keeps the time-out that its server gave it', async t => {
  const { store, kms: keys } = await open(t)
  const sse = createSse({ kms: keys, accept: [] })
  const profile = createProfile('obs', { region })
  const handler = createGateway({ store, kms: keys, sse, profile, tenants: [admin], users: [admin] })
  const { createServer } = await import('node:http')
  for (const keepAliveTimeout of [0, 5000]) {
    const server = createServer({ keepAliveTimeout }, handler)
    server.setTimeout(7000)
    const times: unknown[] = []
    server.on('request', ({ socket }) => times.push(socket.timeout))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const socket = connect(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1')
    for (let i = 0; i < 2; i++) {
      socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
      await once(socket, 'data')
      await wait(50)
    }
    t.strictSame(times, [7000, 7000])
    socket.destroy()
    server.close()
  }
})

t.test('memory is shared, and what does not fit is refused', async t => {
  const gateway = await open(t, { limits: { memoryBytes: 100_000 } })
  const { head, dial, send } = gateway
  await send('PUT', '/bucket/key', kms, randomBytes(3_000_000))
  const text = `<CompleteMultipartUpload>${' '.repeat(60_000)}`
  const id = uploadId(await send('POST', '/bucket/parts?uploads', kms))
  const first = await dial()
  first.socket.write(head('POST', `/bucket/parts?uploadId=${id}`, { 'content-length': '70000' }))
  first.socket.write(text)
  await wait(200)
  const second = await send('POST', `/bucket/parts?uploadId=${id}`, {}, text)
  t.match(second, { status: 503, code: 'SlowDown', headers: { 'retry-after': '1' } })
  const formed = await gateway.signedFetch(undefined, 'POST', '/bucket', {
    headers: { 'content-type': 'multipart/form-data; boundary=b' },
    body: form([['key', 'x'.repeat(50_000)]], '--b--\r\n'),
  })
  t.match(formed, { status: 503, code: 'SlowDown' }, 'fields of a form')
  t.equal((await send('PUT', '/bucket/other', kms, randomBytes(3_000_000))).status, 200, 'objects flow')
  t.equal((await send('GET', '/bucket/key')).body.length, 3_000_000, 'both ways')
  first.socket.destroy()
  await until('the client is gone', () => gateway.log.at(-1)?.error?.code === 'ClientClosedRequest')
  t.match(await send('POST', `/bucket/parts?uploadId=${id}`, {}, text), { status: 400, code: 'MalformedXML' })
})

t.test('a client that leaves is no error of ours', async t => {
  const gateway = await open(t)
  const { head, dial, send, log } = gateway
  await send('PUT', '/bucket/large', kms, randomBytes(20 * 1024 * 1024))
  const length = { 'content-length': '1000000' }
  for (const [what, request, body] of [
    ['PutObject', head('PUT', '/bucket/key', { ...kms, ...length }), 'x'.repeat(500_000)],
    ['PutObject', head('PUT', '/bucket/key', { ...kms, ...length }), ''],
    ['PutBucketPolicy', head('PUT', '/bucket?policy=', { 'content-length': '10000' }), '{'],
    ['GetObject', head('GET', '/bucket/large'), ''],
    ['PostObject', Buffer.from(formHead(gateway.host)), form([['key', 'a']], '')],
  ] as const) {
    const logged = log.length
    const { socket } = await dial()
    if (what === 'GetObject') socket.pause()
    socket.write(request)
    socket.write(body)
    await wait(100)
    socket.destroy()
    await until(`${what} is over`, () => log.length > logged)
    t.match(log.slice(logged), [{ action: what, status: 499, error: { code: 'ClientClosedRequest' } }], what)
  }
})

t.test('requests on one connection happen one after the other', async t => {
  const gateway = await open(t)
  const { head, dial, send } = gateway
  const put = (key: string, body: Uint8Array): Buffer =>
    Buffer.concat([head('PUT', `/bucket/${key}`, { ...kms, 'content-length': String(body.length) }), body])
  const answers = (talk: Talk): number => talk.text().match(/HTTP\/1\.1 \d+/g)?.length ?? 0
  for (let i = 0; i < 10; i++) {
    await send('PUT', '/bucket/key', kms, 'old')
    const talk = await dial()
    talk.socket.write(Buffer.concat([put('key', Buffer.from('new')), head('GET', '/bucket/key')]))
    await until('both are answered', () => talk.text().endsWith('new') || talk.text().endsWith('old'))
    t.match(talk.text(), /new$/, 'GET sees what the PUT in front of it stored')
    talk.socket.write(Buffer.concat([put('key', randomBytes(500_000)), put('key', Buffer.from('small'))]))
    await until('both are answered', () => answers(talk) === 4)
    t.equal((await send('GET', '/bucket/key')).text, 'small', 'the last of two PUTs counts')
    talk.socket.write(Buffer.concat([head('DELETE', '/bucket/key'), head('GET', '/bucket/key')]))
    await until('both are answered', () => answers(talk) === 6)
    t.match(talk.text(), /NoSuchKey/)
    talk.socket.destroy()
  }
  const flood = await dial()
  const started = gateway.log.length
  flood.socket.write(Buffer.concat(Array.from({ length: 500 }, () => head('GET', '/bucket/key'))))
  await flood.closed
  await wait(100)
  t.ok(gateway.log.length - started < 200, 'who sends hundreds without reading an answer is not served')
})

t.test('a body that nobody reads does not keep the connection', async t => {
  const { head, dial } = await open(t)
  const talk = await dial()
  talk.socket.write(head('GET', '/bucket', { 'content-length': '1000' }))
  await until('it is answered', () => talk.text() !== '')
  t.match(talk.text(), /^HTTP\/1\.1 200/)
  await Promise.all([drip(talk, 'x', 200), talk.closed])
})

t.test('what the parser refuses is answered as S3 does, and logged once', async t => {
  const { dial, head, log, host } = await open(t)
  const lines = `Host: ${host}\r\n`
  for (const [what, request, code] of [
    ['garbage', 'hello\r\n\r\n', 'BadRequest'],
    ['garbage, and more', `hello\r\n\r\n${'more\r\n'.repeat(1000)}`, 'BadRequest'],
    ['a header with NUL', `GET / HTTP/1.1\r\n${lines}a: \0\r\n\r\n`, 'BadRequest'],
    ['long headers', `GET / HTTP/1.1\r\n${lines}a: ${'b'.repeat(100_000)}\r\n\r\n`, 'RequestHeaderSectionTooLarge'],
    ['behind a request', `${head('GET', '/bucket').toString()}hello\r\n\r\n`, 'BadRequest'],
  ] as const) {
    const logged = log.length
    const talk = await dial()
    talk.socket.write(request)
    await talk.closed
    const [, head_ = '', body = ''] = /(HTTP\/1\.1 400 Bad Request\r\n(?:.*\r\n)*)\r\n(.*)$/s.exec(talk.text()) ?? []
    t.match(body, new RegExp(`^<\\?xml.*<Error><Code>${code}</Code><Message>[^<]`, 's'), what)
    t.match(head_, `Content-Length: ${Buffer.byteLength(body)}\r\n`)
    t.match(head_, 'Server: OBS\r\n')
    const [, id = ''] = /<RequestId>(.*?)</.exec(body) ?? []
    const entries = log.slice(logged).filter(({ status }) => status === 400)
    t.match(entries, [{ requestId: id, method: '-', path: '-', error: { code } }], `${what}: logged once`)
    t.equal(entries.length, 1)
  }
  const logged = log.length
  const talk = await dial()
  talk.socket.write(head('PUT', '/bucket/key', { ...kms, 'transfer-encoding': 'chunked' }))
  talk.socket.write('5\r\nhello\r\nno size\r\n')
  await talk.closed
  t.match(talk.text(), /^HTTP\/1\.1 4\d\d[^]*<Code>/, 'a body in chunks that are none')
  t.equal(log.length, logged + 1)
  const silent = await dial()
  silent.socket.end()
  await silent.closed
  t.equal(log.length, logged + 1, 'a connection without a byte is nothing to speak of')
})

t.test('calls to the KMS end with the request', async t => {
  const base = await open(t)
  const asked: CallOptions[] = []
  const hanging = (_: unknown, call: CallOptions = {}) => {
    asked.push(call)
    return new Promise<never>(() => undefined)
  }
  const { kms: keys } = base
  const answering: KmsProvider = {
    name: keys.name,
    bindsContext: keys.bindsContext,
    generateDataKey: target => keys.generateDataKey(target),
    wrapDataKey: (key, target) => keys.wrapDataKey(key, target),
    unwrapDataKey: wrapped => keys.unwrapDataKey(wrapped),
    rewrapDataKey: request => keys.rewrapDataKey(request),
    describeKey: query => keys.describeKey(query),
    defaultKey: scope => keys.defaultKey(scope),
    acceptedKeys: scope => keys.acceptedKeys(scope),
  }
  const { store } = base
  await base.send('PUT', '/bucket/key', kms, 'hello')
  const profile = createProfile('obs', { region })
  for (const [what, method] of [
    ['describeKey', 'PUT'],
    ['generateDataKey', 'PUT'],
    ['acceptedKeys', 'GET'],
    ['unwrapDataKey', 'GET'],
  ] as const) {
    const stuck = { ...answering, [what]: hanging }
    const sse = createSse({ kms: stuck, accept: [], deadline: 60_000 })
    const gateway = await startGateway(t, { store, kms: stuck, sse, profile, limits: { kmsSeconds: 60 } })
    const wire = { service: 's3', region, method, host: gateway.host, path: '/bucket/key', headers: { ...unsigned } }
    if (method === 'PUT') Object.assign(wire.headers, kms, { 'content-length': '5' })
    const { headers } = aws4.sign(wire, admin)
    const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1')
    const sent = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.write(`${method} /bucket/key HTTP/1.1\r\n${sent.join('')}\r\n${method === 'PUT' ? 'hello' : ''}`)
    await until(`${what} is called`, () => asked.length === 1)
    t.equal(asked[0]?.signal?.aborted, false)
    socket.destroy()
    await until('it is logged', () => gateway.log.length === 1)
    t.match(gateway.log, [{ status: 499, error: { code: 'ClientClosedRequest' } }], what)
    t.equal(asked.splice(0)[0]?.signal?.aborted, true, `${what} is told`)
  }
  const stuck = { ...answering, describeKey: hanging }
  const gateway = await startGateway(t, { store, kms: stuck, profile, limits: { kmsSeconds: 0.2 } })
  const late = await gateway.signedFetch(admin, 'PUT', '/bucket/key', { headers: kms, body: 'hello' })
  t.match(late, { status: 503, code: 'ServiceUnavailable' })
  t.match(gateway.log.at(-1)?.error?.message, /did not answer within 200 ms/)
  t.throws(() => limitsOf({ kmsSeconds: 0 }), new RangeError('limits.kmsSeconds is a number above 0'))
})
