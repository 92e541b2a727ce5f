// Wrong and hostile input over HTTP: a clear error, nothing lost, nothing left behind, and a server that goes on. What forms and browsers do
// wrong is in post.test.ts, chunks byte by byte in body.test.ts, signatures in signature.test.ts.
import aws4 from 'aws4'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { SseError } from '../../lib/errors.ts'
import { trimmed } from '../../lib/gateway/http/headers.ts'
import { parsePostPolicy } from '../../lib/gateway/post/policy.ts'
import { createSse } from '../../lib/object/node.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, region, type Reply, startGateway, type TestGateway } from '../support/gateway.ts'
import { filesBecome, filesIn } from '../support/store.ts'

type Headers = Readonly<Record<string, string>>

const kms = { 'x-amz-server-side-encryption': 'aws:kms' }
const unsigned = { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }
const base64 = (text: string): string => Buffer.from(text).toString('base64')
const md5 = (bytes: string | Uint8Array) => createHash('md5').update(bytes).digest('base64')
const messageOf = ({ text }: Reply): string => /<Message>(.*?)<\/Message>/s.exec(text)?.[1] ?? ''
const uploadId = ({ text }: Reply): string => /<UploadId>(.*?)</.exec(text)?.[1] ?? ''

interface Hostile extends TestGateway {
  send(method: string, path: string, headers?: Headers, body?: string | Uint8Array): Promise<Reply>
  /** The head of a signed request, as bytes. */
  head(method: string, path: string, headers: Headers): Buffer
  /** A connection. */
  dial(): Promise<Socket>
}

const open = async (t: Test, options: Parameters<typeof startGateway>[1] = {}): Promise<Hostile> => {
  const gateway = await startGateway(t, options)
  const { hostname, port } = new URL(gateway.url)
  const send: Hostile['send'] = (method, path, headers = {}, body = undefined) =>
    gateway.signedFetch(admin, method, path, {
      headers: { ...unsigned, ...headers },
      ...(body === undefined ? {} : { body }),
    })
  const head: Hostile['head'] = (method, path, headers) => {
    const wire = { service: 's3', region, method, host: gateway.host, path, headers: { ...unsigned, ...headers } }
    const lines = Object.entries(aws4.sign(wire, admin).headers).map(([name, value]) => `${name}: ${value}\r\n`)
    return Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`)
  }
  const dial = async () => {
    const socket = connect(Number(port), hostname)
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    return socket
  }
  t.equal((await send('PUT', '/bucket')).status, 200)
  return { ...gateway, send, head, dial }
}

const until = async (what: string, check: () => boolean): Promise<void> => {
  for (let i = 0; i < 1000; i++) {
    if (check()) return
    await sleep(10)
  }
  throw new Error(`it did not happen: ${what}`)
}

/** Larger than what a store keeps in its index: a body has a file. */
const old = randomBytes(200_000)
const next = randomBytes(200_000)
/** `aws-chunked` without signatures. */
const chunks = (...pieces: readonly (string | Uint8Array)[]): Buffer =>
  Buffer.concat(pieces.map(piece => Buffer.from(piece)))
const size = next.length.toString(16)
const chunked = (length: string = String(next.length)): Headers => ({
  'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
  'x-amz-decoded-content-length': length,
})
const end = '\r\n0\r\n'

/** Bodies that are not what their headers say: what, headers, body, status and code. */
const wrongBodies: readonly (readonly [string, Headers, Uint8Array, number, string])[] = [
  ['another SHA-256', { 'x-amz-content-sha256': 'a'.repeat(64) }, next, 400, 'XAmzContentSHA256Mismatch'],
  ['a SHA-256 that is none', { 'x-amz-content-sha256': 'abc' }, next, 400, 'InvalidArgument'],
  ['another MD5', { 'content-md5': md5('other') }, next, 400, 'BadDigest'],
  ['an MD5 that is none', { 'content-md5': 'abc' }, next, 400, 'InvalidDigest'],
  ['another CRC-32', { 'x-amz-checksum-crc32': 'AAAAAA==' }, next, 400, 'BadDigest'],
  ['another CRC-64', { 'x-amz-checksum-crc64nvme': 'AAAAAAAAAAA=' }, next, 400, 'BadDigest'],
  ['another SHA-1', { 'x-amz-checksum-sha1': Buffer.alloc(20).toString('base64') }, next, 400, 'BadDigest'],
  ['a checksum that is none', { 'x-amz-checksum-sha256': 'abc' }, next, 400, 'InvalidRequest'],
  ['a checksum nobody knows', { 'x-amz-checksum-md4': 'abc' }, next, 400, 'InvalidRequest'],
  [
    'two checksums',
    { 'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-checksum-crc32c': 'AAAAAA==' },
    next,
    400,
    'InvalidRequest',
  ],
  ['a trailer without chunks', { 'x-amz-trailer': 'x-amz-checksum-crc32' }, next, 400, 'InvalidRequest'],
  [
    'chunks without a length',
    { 'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER' },
    next,
    411,
    'MissingContentLength',
  ],
  ['chunks of a length that is none', chunked('many'), next, 400, 'InvalidArgument'],
  ['no chunks at all', chunked(), next, 400, 'IncompleteBody'],
  ['no bytes', chunked(), chunks(''), 400, 'IncompleteBody'],
  ['a size that is none', chunked(), chunks('xyz\r\n', next, end, '\r\n'), 400, 'IncompleteBody'],
  ['a size below zero', chunked(), chunks('-1\r\n', next, end, '\r\n'), 400, 'IncompleteBody'],
  ['a size line without end', chunked(), chunks('0'.repeat(5000)), 400, 'IncompleteBody'],
  ['a chunk longer than its size', chunked(), chunks('10\r\n', next, end, '\r\n'), 400, 'IncompleteBody'],
  ['chunks longer than declared', chunked('1000'), chunks(`${size}\r\n`, next, end, '\r\n'), 400, 'IncompleteBody'],
  ['chunks shorter than declared', chunked('900000'), chunks(`${size}\r\n`, next, end, '\r\n'), 400, 'IncompleteBody'],
  ['no last chunk', chunked(), chunks(`${size}\r\n`, next, '\r\n'), 400, 'IncompleteBody'],
  ['no last line', chunked(), chunks(`${size}\r\n`, next, end), 400, 'IncompleteBody'],
  ['bytes behind the end', chunked(), chunks(`${size}\r\n`, next, end, '\r\n', 'more'), 400, 'IncompleteBody'],
  [
    'a trailer nobody announced',
    chunked(),
    chunks(`${size}\r\n`, next, end, 'x-amz-checksum-crc32:AAAAAA==\r\n\r\n'),
    400,
    'MalformedTrailerError',
  ],
  [
    'a trailer that was announced and is not there',
    { ...chunked(), 'x-amz-trailer': 'x-amz-checksum-crc32' },
    chunks(`${size}\r\n`, next, end, '\r\n'),
    400,
    'MalformedTrailerError',
  ],
  [
    'another checksum in the trailer',
    { ...chunked(), 'x-amz-trailer': 'x-amz-checksum-crc32' },
    chunks(`${size}\r\n`, next, end, 'x-amz-checksum-crc32:AAAAAA==\r\n\r\n'),
    400,
    'BadDigest',
  ],
  [
    'chunks signed by nobody',
    { ...chunked(), 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' },
    chunks(`${size}\r\n`, next, end, '\r\n'),
    400,
    'IncompleteBody',
  ],
  [
    'chunks signed by somebody else',
    { ...chunked(), 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' },
    chunks(`${size};chunk-signature=${'0'.repeat(64)}\r\n`, next, `\r\n0;chunk-signature=${'0'.repeat(64)}\r\n\r\n`),
    403,
    'SignatureDoesNotMatch',
  ],
  [
    'a coding nobody knows',
    { 'x-amz-content-sha256': 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD' },
    next,
    501,
    'NotImplemented',
  ],
  ['metadata without end', { 'x-amz-meta-a': 'b'.repeat(3000) }, next, 400, 'MetadataTooLarge'],
]

t.test('a body that is not what was declared: the old object is whole, and nothing is left', async t => {
  for (const profile of [createProfile('obs', { region }), createProfile('s3', { region })]) {
    const gateway = await open(t, { profile })
    const { send, directory } = gateway
    for (const [kind, headers] of [
      ['plain', {}],
      ['SSE-KMS', kms],
    ] as const) {
      await send('PUT', '/bucket/key', headers, old)
      const id = uploadId(await send('POST', '/bucket/parts?uploads', headers))
      t.ok(await filesBecome(directory, 1), 'the body of the object before is deleted behind the answer')
      for (const [what, more, body, status, code] of wrongBodies) {
        for (const [operation, path, own] of [
          ['PutObject', '/bucket/key', headers],
          ['UploadPart', `/bucket/parts?partNumber=1&uploadId=${id}`, {}],
        ] as const) {
          if (operation === 'UploadPart' && code === 'MetadataTooLarge') continue // parts keep no metadata
          const reply = await send('PUT', path, { ...own, ...more }, body)
          t.match(reply, { status, code }, `${kind}, ${operation}: ${what}`)
          t.not(messageOf(reply), '')
        }
      }
      t.ok(await filesBecome(directory, 1), `${kind}: nothing is left`)
      t.equal(Buffer.compare((await send('GET', '/bucket/key')).body, old), 0, `${kind}: the old object is whole`)
      t.notMatch((await send('GET', `/bucket/parts?uploadId=${id}`)).text, '<Part>')
    }
  }
})

t.test('a body shorter or longer than its length, or without one', async t => {
  const { send, head, dial, directory, log } = await open(t, { profile: createProfile('s3', { region }) })
  for (const headers of [{}, kms]) {
    await send('PUT', '/bucket/key', headers, old)
    t.ok(await filesBecome(directory, 1), 'the body of the object before is deleted behind the answer')
    const shorter = head('PUT', '/bucket/key', { ...headers, 'content-length': String(next.length) })
    for (const sent of [0, 1, next.length - 1]) {
      const puts = () => log.filter(({ action }) => action === 'PutObject')
      const logged = puts().length
      const socket = await dial()
      socket.end(Buffer.concat([shorter, next.subarray(0, sent)]))
      await buffer(socket).catch(() => undefined)
      await until('it is over', () => puts().length > logged)
      t.ok((puts().at(-1)?.error?.status ?? 0) >= 400, `${sent} bytes of ${next.length}`)
      t.not(puts().at(-1)?.error?.message, '')
    }
    t.ok(await filesBecome(directory, 1))
    t.equal(Buffer.compare((await send('GET', '/bucket/key')).body, old), 0)

    const socket = await dial()
    const longer = head('PUT', '/bucket/longer', { ...headers, 'content-length': '5' })
    socket.write(Buffer.concat([longer, Buffer.from('hello')]))
    t.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 200/)
    socket.write('more of it\r\n\r\n')
    t.match((await buffer(socket)).toString(), /^HTTP\/1\.1 400/, 'what follows is no request')
    t.equal((await send('GET', '/bucket/longer')).text, 'hello')

    const without = await dial()
    without.write(
      Buffer.concat([
        head('PUT', '/bucket/without', { ...headers, 'transfer-encoding': 'chunked' }),
        Buffer.from('5\r\nhello\r\n0\r\n\r\n'),
      ]),
    )
    const [answer] = await once(without, 'data')
    t.match(String(answer), /^HTTP\/1\.1 411[^]*<Code>MissingContentLength<\/Code><Message>[^<]/)
    without.destroy()
    t.equal((await send('GET', '/bucket/without')).code, 'NoSuchKey')
  }
})

const bomb = `<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;">]>`
/** Documents that are none, of a root that would be right. */
const brokenXml = (root: string): readonly (readonly [string, string | Uint8Array])[] => [
  ['no document', 'hello'],
  ['one that is cut off', `<${root}><a`],
  ['one that is not closed', `<${root}><a></${root}>`],
  ['another root', '<Other></Other>'],
  ['entities', `${bomb}<${root}>&b;</${root}>`],
  ['an external entity', `<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><${root}>&a;</${root}>`],
  ['an entity nobody knows', `<${root}>&nbsp;</${root}>`],
  ['a character that is none', `<${root}>&#xd800;</${root}>`],
  ['CDATA', `<${root}><![CDATA[<a>]]></${root}>`],
  ['bytes that are not UTF-8', Uint8Array.of(0x3c, 0xff, 0xfe, 0x3e)],
  ['a hundred thousand levels', `${'<a>'.repeat(100_000)}`],
  ['a thousand levels that are closed', `<${root}>${'<a>'.repeat(1000)}${'</a>'.repeat(1000)}</${root}>`],
  ['names of JavaScript', `<${root}><__proto__><a>1</a></__proto__><constructor/></${root}>`],
  ['two documents', `<${root}/><${root}/>`],
  ['an empty document', `<${root}/>`],
  ['too much of it', `<${root}>${' '.repeat(5 * 1024 * 1024)}</${root}>`],
]

t.test('broken XML and JSON, wherever a document is read', async t => {
  const { send, store, byName } = await open(t)
  await send('PUT', '/bucket/key', {}, old)
  const id = uploadId(await send('POST', '/bucket/key?uploads'))
  const documents: readonly (readonly [method: string, path: string, root: string, emptyIsRight?: true])[] = [
    ['PUT', '/another', 'CreateBucketConfiguration', true],
    ['PUT', '/bucket?encryption=', 'ServerSideEncryptionConfiguration'],
    ['PUT', '/bucket?tagging=', 'Tagging', true],
    ['PUT', '/bucket?acl=', 'AccessControlPolicy'],
    ['PUT', '/bucket?versioning=', 'VersioningConfiguration'],
    ['PUT', '/bucket/key?tagging=', 'Tagging', true],
    ['PUT', '/bucket/key?acl=', 'AccessControlPolicy'],
    ['POST', '/bucket?delete=', 'Delete'],
    ['POST', `/bucket/key?uploadId=${id}`, 'CompleteMultipartUpload'],
  ]
  const state = async () => JSON.stringify([await store.getBucket('bucket'), await byName.getObject('bucket', 'key')])
  const before = await state()
  for (const [method, path, root, emptyIsRight] of documents) {
    for (const [what, xml] of brokenXml(root)) {
      // An empty configuration names no region: SDKs leave it out for the first one.
      if (emptyIsRight === true && /^(an empty|names of|a thousand)/.test(what)) continue
      const reply = await send(method, path, { 'content-md5': md5(xml) }, xml)
      t.match(
        reply,
        { status: 400, code: /^(MalformedXML|EntityTooLarge|MalformedACLError|InvalidRequest)$/ },
        `${root}: ${what}`,
      )
      t.not(messageOf(reply), '', `${root}: ${what}`)
    }
  }
  for (const [what, json] of [
    ['no document', 'hello'],
    ['no bytes', ''],
    ['one that is cut off', '{"Statement":'],
    ['a list', '[]'],
    ['null', 'null'],
    ['bytes that are not UTF-8', Uint8Array.of(0x7b, 0xff, 0x7d)],
    ['a name twice', '{"Version":"2012-10-17","Version":"2012-10-17","Statement":[]}'],
    ['a hundred thousand levels', '['.repeat(60_000)],
    ['too much of it', `{"a":"${'b'.repeat(70_000)}"}`],
    ['names of JavaScript', '{"__proto__":{"Statement":[]}}'],
  ] as const) {
    const reply = await send('PUT', '/bucket?policy=', {}, json)
    t.match(reply, { status: 400, code: /^(MalformedPolicy|EntityTooLarge)$/ }, `a policy: ${what}`)
    t.not(messageOf(reply), '')
  }
  t.equal(await state(), before, 'nothing was changed')
  t.equal(await store.getBucket('another'), undefined)
})

const encode = (key: string): string =>
  encodeURIComponent(key).replace(/[!'()*]/g, c => `%${c.charCodeAt(0).toString(16)}`)

t.test('keys are bytes: dots, NUL, 1,024 of them, every plane', async t => {
  const { send } = await open(t)
  const roundTrip = async (key: string) => {
    const path = `/bucket/${encode(key)}`
    const put = await send('PUT', path, {}, key)
    const got = await send('GET', path)
    const listed = await send('GET', `/bucket?list-type=2&encoding-type=url&prefix=${encode(key)}`)
    const names = [...listed.text.matchAll(/<Key>(.*?)<\/Key>/g)].map(([, name = '']) =>
      decodeURIComponent(name.replaceAll('+', ' ').replaceAll('&apos;', "'")),
    )
    const gone = await send('DELETE', path)
    return (
      put.status === 200 &&
      got.text === key &&
      names[0] === key &&
      gone.status === 204 &&
      (await send('HEAD', path)).status === 404
    )
  }
  const keys = [
    '.', '..', '../..', '../../../../etc/passwd', './a', 'a/../b', 'a//b', '/', '//', '/a', 'a/', '\0', 'a\0b', '\u0001\u001f\u007f',
    '%2F', '%', '%00', '+', ' ', ' a ', 'a?b=c', 'a#b', 'a&b', '<a>&amp;"\'', '\\', '..\\..', 'a\nb', '\r\n', 'ü', 'u\u0308', '\ufeff', '\uffff', '\u{10ffff}',
    '日本語', 'a'.repeat(1024), 'ü'.repeat(512), '😀'.repeat(256), '__proto__', 'constructor', 'uploads',
  ] // prettier-ignore
  for (const key of keys) t.ok(await roundTrip(key), JSON.stringify(key.slice(0, 40)))
  for (let plane = 0; plane <= 16; plane++) {
    const key = [0x21, 0x1234, 0xfffd].map(low => String.fromCodePoint(plane * 0x10000 + low)).join('')
    t.ok(await roundTrip(key), `plane ${plane}`)
  }
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }).filter(key => Buffer.byteLength(key) <= 1024),
      roundTrip,
    ),
    { numRuns: 40 },
  )
  for (const key of ['a'.repeat(1025), `${'ü'.repeat(512)}a`]) {
    for (const method of ['PUT', 'GET', 'DELETE']) {
      const reply = await send(method, `/bucket/${encode(key)}`, {}, method === 'PUT' ? 'x' : undefined)
      t.match(reply, { status: 400, code: 'KeyTooLongError' })
    }
  }
  for (const path of [
    '/bucket/%ff',
    '/bucket/%c3',
    '/bucket/%ed%a0%80',
    '/bucket/%',
    '/bucket/%zz',
    '/bucket/a?x=%ff',
  ]) {
    const reply = await send('GET', path).catch(() => undefined)
    if (reply !== undefined) t.match(reply, { status: 400 }, path)
  }
})

const small = 200
/** How many times as long a run takes for 64 times the text: 64 where time is linear, 4,096 where it grows with the square. */
const growth = (make: (size: number) => string, run: (text: string) => unknown): number => {
  const best = (size: number, runs: number): number => {
    const text = make(size)
    const times = Array.from({ length: 9 }, () => {
      const start = performance.now()
      for (let i = 0; i < runs; i++) run(text)
      return (performance.now() - start) / runs
    })
    return Math.min(...times)
  }
  best(small, 200) // compiles
  return best(64 * small, 3) / best(small, 200)
}

t.test('what a client sends is read in linear time', async t => {
  const policy = (text: string): void => {
    try {
      parsePostPolicy(base64(text))
    } catch (error) {
      if (error instanceof SseError && error.code === 'InvalidPolicyDocument') return
      throw error
    }
    throw new Error('was not refused')
  }
  const rows: readonly (readonly [what: string, make: (size: number) => string, run: (text: string) => unknown])[] = [
    ['blanks inside a header', size => `a${' '.repeat(size)}b`, trimmed],
    ['tabs around a header', size => `${'\t'.repeat(size / 2)}a${'\t'.repeat(size / 2)}`, trimmed],
    ['a policy of quotes that nothing closes', size => `"${String.raw`\"`.repeat(size / 2)}\\`, policy],
    ['a policy of commas and blanks', size => `, ${' '.repeat(size - 2)}`, policy],
  ]
  for (const [what, make, run] of rows) {
    const times = growth(make, run)
    t.ok(times < 512, `${what}: ${times.toFixed(1)} times`) // in the middle of the two, as far from noise as can be
  }
  t.equal(trimmed(' \t a \t b\u00a0 \t'), 'a \t b\u00a0')
  t.equal(trimmed(' \t '), '')
  t.equal(trimmed(''), '')
})

t.test('a header that is signed twice is refused before anything is made of it', async t => {
  const gateway = await open(t)
  const sign = (names: string): Headers => {
    const wire = { service: 's3', region, method: 'GET', host: gateway.host, path: '/bucket' }
    const { Authorization = '', ...headers } = aws4.sign(
      { ...wire, headers: { ...unsigned, 'x-amz-a': 'v' } },
      admin,
    ).headers
    const authorization = String(Authorization).replace('SignedHeaders=', `SignedHeaders=${names}`)
    return {
      ...Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)])),
      authorization,
    }
  }
  const ask = (headers: Headers) => gateway.signedFetch(undefined, 'GET', '/bucket', { headers })
  t.match(await ask(sign('')), { status: 200 })
  const twice = await ask(sign('x-amz-a;'.repeat(500)))
  t.match(twice, { status: 400, code: 'AuthorizationHeaderMalformed' })
  t.match(messageOf(twice), 'SignedHeaders names a header twice. Name each once.')
})

t.test('what is no request', async t => {
  const { send, dial, host } = await open(t)
  const say = async (text: string): Promise<string> => {
    const socket = await dial()
    socket.write(text)
    socket.setTimeout(5000, () => socket.destroy())
    return (await buffer(socket)).toString()
  }
  const lines = `Host: ${host}\r\nConnection: close\r\n`
  for (const [what, text, answer] of [
    ['garbage', 'hello\r\n\r\n', /^HTTP\/1\.1 400/],
    ['TLS', '\x16\x03\x01\x02\0\x01\0\x01', /^HTTP\/1\.1 400/],
    ['a header with NUL', `GET / HTTP/1.1\r\n${lines}a: \0\r\n\r\n`, /^HTTP\/1\.1 400/],
    [
      'headers without end',
      `GET / HTTP/1.1\r\n${lines}a: ${'b'.repeat(100_000)}\r\n\r\n`,
      /^HTTP\/1\.1 400[^]*RequestHeaderSectionTooLarge/,
    ],
    [
      'two lengths',
      `PUT /bucket/a HTTP/1.1\r\n${lines}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
      /^HTTP\/1\.1 400/,
    ],
    [
      'a length and a coding',
      `PUT /bucket/a HTTP/1.1\r\n${lines}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      /^HTTP\/1\.1 400/,
    ],
    [
      'a whole URL',
      `GET http://${host}/bucket HTTP/1.1\r\n${lines}\r\n`,
      /^HTTP\/1\.1 400[^]*<Code>InvalidURI<\/Code><Message>[^<]/,
    ],
    ['no path', `OPTIONS * HTTP/1.1\r\n${lines}\r\n`, /^HTTP\/1\.1 400[^]*<Code>InvalidURI<\/Code><Message>[^<]/],
    ['bytes in the path', `GET /bucket/\xff HTTP/1.1\r\n${lines}\r\n`, /^HTTP\/1\.1 400/],
    [
      'another method',
      `TRACE /bucket/a HTTP/1.1\r\n${lines}\r\n`,
      /^HTTP\/1\.1 405[^]*<Code>MethodNotAllowed<\/Code><Message>[^<]/,
    ],
    [
      'a bucket that cannot be',
      `GET /.. HTTP/1.1\r\n${lines}\r\n`,
      /^HTTP\/1\.1 400[^]*<Code>InvalidBucketName<\/Code><Message>[^<]/,
    ],
  ] as const) {
    t.match(await say(text), answer, what)
  }
  t.equal((await send('GET', '/bucket')).status, 200, 'the server goes on')
})

t.test('a connection that breaks, at any stage of anything', async t => {
  const { send, head, dial, directory, log, byName } = await open(t)
  const large = randomBytes(6 * 1024 * 1024)
  await send('PUT', '/bucket/key', kms, large)
  const id = uploadId(await send('POST', '/bucket/parts?uploads', kms))
  const first = await send('PUT', `/bucket/parts?partNumber=1&uploadId=${id}`, {}, large)
  const xml = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${first.headers.etag}</ETag></Part></CompleteMultipartUpload>`
  const files = filesIn(directory).length

  const entries = (action: string) => log.filter(entry => entry.action === action)
  /** Sends so much of a request, waits so long, with or without reading, and goes away. */
  const leave = async (action: string, sent: Buffer, wait: number, reading = true): Promise<void> => {
    const logged = entries(action).length
    const socket = await dial()
    if (reading) socket.resume()
    await new Promise(resolve => socket.write(sent, resolve))
    await sleep(wait)
    socket.destroy()
    await until('the request is over', () => entries(action).length > logged)
  }

  for (const [operation, path, headers] of [
    ['PutObject', '/bucket/key', kms],
    ['UploadPart', `/bucket/parts?partNumber=2&uploadId=${id}`, {}],
  ] as const) {
    const request = Buffer.concat([head('PUT', path, { ...headers, 'content-length': String(large.length) }), large])
    const start = request.length - large.length
    for (const stop of [start, start + 1, start + 100_000, start + 3_000_000, request.length - 1]) {
      await leave(operation, request.subarray(0, stop), 20)
      t.ok(
        (entries(operation).at(-1)?.error?.status ?? 0) >= 400,
        `${operation}, after ${stop - start} bytes of the body`,
      )
    }
    t.ok(await filesBecome(directory, files), `${operation}: nothing is left`)
    t.equal(Buffer.compare((await send('GET', '/bucket/key')).body, large), 0, `${operation}: the old object is whole`)
  }
  t.equal((await byName.listParts('bucket', 'parts', id)).length, 1)

  for (const wait of [0, 1, 3, 10, 30, 100]) {
    await leave('GetObject', head('GET', '/bucket/key', {}), wait)
    await leave('HeadObject', head('HEAD', '/bucket/key', {}), wait)
  }
  for (const wait of [10, 100]) await leave('GetObject', head('GET', '/bucket/key', {}), wait, false)
  t.pass('GetObject')

  // A request that was sent whole may happen or not: what lies there is one of the two, whole.
  const copy = (target: string) => head('PUT', target, { 'x-amz-copy-source': 'bucket/key', 'content-length': '0' })
  for (const wait of [0, 1, 3, 10, 30, 100]) {
    await send('PUT', '/bucket/copied', {}, 'old')
    await leave('CopyObject', copy('/bucket/copied'), wait)
    const { body } = await send('GET', '/bucket/copied')
    t.ok(body.toString() === 'old' || Buffer.compare(body, large) === 0, `CopyObject, left after ${wait} ms`)
    await leave('UploadPartCopy', copy(`/bucket/parts?partNumber=3&uploadId=${id}`), wait)
  }
  for (const part of await byName.listParts('bucket', 'parts', id)) t.equal(part.size, large.length, 'UploadPartCopy')

  const complete = head('POST', `/bucket/parts?uploadId=${id}`, { 'content-length': String(xml.length) })
  await leave('CompleteMultipartUpload', complete, 5)
  await leave('CompleteMultipartUpload', Buffer.concat([complete, Buffer.from(xml.slice(0, -5))]), 5)
  t.equal(await byName.getObject('bucket', 'parts'), undefined, 'Complete: half a list is none')
  await leave('CompleteMultipartUpload', Buffer.concat([complete, Buffer.from(xml)]), 0)
  const again = await send('POST', `/bucket/parts?uploadId=${id}`, {}, xml)
  t.equal(again.status, 200, 'Complete may be repeated by whoever lost the answer')
  t.equal(Buffer.compare((await send('GET', '/bucket/parts')).body, large), 0)

  for (const key of ['key', 'parts', 'copied']) await send('DELETE', `/bucket/${key}`)
  t.ok(await filesBecome(directory, 0), 'and no reader holds what is deleted')
})

t.test('Expect: 100-continue is answered once it is decided', async t => {
  const gateway = await open(t)
  const { head, dial, send } = gateway
  const id = uploadId(await send('POST', '/bucket/parts?uploads', kms))
  const xml = '<CompleteMultipartUpload></CompleteMultipartUpload>'
  const expect = (length: number) => ({ expect: '100-continue', 'content-length': String(length) })
  const say = async (request: Buffer): Promise<{ readonly first: string; readonly socket: Socket }> => {
    const socket = await dial()
    socket.write(request)
    const [first] = await once(socket, 'data')
    return { first: String(first), socket }
  }
  const part = `/bucket/parts?partNumber=1&uploadId=${id}`
  for (const [what, method, path, headers, body, status] of [
    ['PutObject', 'PUT', '/bucket/key', kms, 'hello', 200],
    ['UploadPart', 'PUT', part, {}, 'hello', 200],
    ['Complete', 'POST', `/bucket/parts?uploadId=${id}`, {}, xml, 400],
    ['PutBucketPolicy', 'PUT', '/bucket?policy=', {}, '{}', 400],
  ] as const) {
    const { first, socket } = await say(head(method, path, { ...headers, ...expect(body.length) }))
    t.match(first, /^HTTP\/1\.1 100 Continue\r\n\r\n/, `${what}: the body is asked for`)
    const answer = once(socket, 'data')
    socket.write(body)
    t.match(String((await answer)[0]), new RegExp(`^HTTP/1\\.1 ${status}`), what)
    socket.destroy()
  }
  for (const [what, method, path, headers, status] of [
    ['no such bucket', 'PUT', '/nowhere/key', {}, 404],
    [
      'a key that is not there',
      'PUT',
      '/bucket/key',
      { ...kms, 'x-amz-server-side-encryption-aws-kms-key-id': 'fake' },
      400,
    ],
    ['no such upload', 'PUT', '/bucket/parts?partNumber=1&uploadId=none', {}, 404],
    ['headers that do not belong to parts', 'PUT', part, kms, 400],
    ['a condition that does not hold', 'PUT', '/bucket/key', { 'if-none-match': '*' }, 412],
    ['a coding nobody knows', 'PUT', '/bucket/key', { 'x-amz-content-sha256': 'x' }, 400],
  ] as const) {
    const { first, socket } = await say(head(method, path, { ...headers, ...expect(1_000_000) }))
    t.match(first, new RegExp(`^HTTP/1\\.1 ${status}`), `${what}: the body is never asked for`)
    socket.destroy()
  }
  const unknown = await new Promise<number | undefined>((resolve, reject) => {
    const req = request(`${gateway.url}/bucket/key`, { method: 'PUT', headers: { expect: 'something-else' } })
    req.on('response', res => resolve(res.resume().statusCode)).on('error', reject)
    req.end()
  })
  t.equal(unknown, 417, 'another expectation is refused')
  t.equal((await send('GET', '/bucket/key')).text, 'hello')
})

t.test('10,000 parts, sealed and completed as the object layer does it, read through the gateway', async t => {
  const { send, byName, kms: keys } = await open(t)
  const most = 10_000
  const sse = createSse({ kms: keys, accept: [] })
  const { keyId } = await keys.defaultKey({ region, domainId: admin.domainId })
  const call = { keyId, accept: [keyId], context: { 'aws:s3:arn': 'arn:aws:s3:::bucket/many' } }
  const upload = await sse.createUpload(call)
  const bodyOf = (part: number): Buffer => Buffer.from(`${part},`)
  const sealed = await Promise.all(
    Array.from({ length: most }, async (_, i) => {
      const { stream, result } = await sse.encryptPart(upload, i + 1, call)
      stream.end(bodyOf(i + 1))
      return { bytes: await buffer(stream), ...result() }
    }),
  )
  const named = sealed.map(({ etag }, i) => ({ part: i + 1, etag }))
  const receipts = sealed.map(({ receipt }) => receipt)
  const done = await sse.completeUpload(upload, named, receipts, call)
  await t.rejects(sse.completeUpload(upload, [...named, { part: 10_001, etag: '' }], receipts, call), {
    code: 'InvalidRequest',
  })
  await byName.putObject('bucket', 'many', Buffer.concat(sealed.map(({ bytes }) => bytes)), {
    kind: 'sse-kms',
    headers: {},
    notes: { keyId },
    owner: admin.domainId,
    modified: 0,
    size: done.plaintextLength,
    etag: done.etag,
    envelope: done.envelope,
    values: done.values,
  })
  const whole = Buffer.concat(Array.from({ length: most }, (_, i) => bodyOf(i + 1)))
  t.equal(Buffer.compare((await send('GET', '/bucket/many')).body, whole), 0)
  t.match(await send('GET', '/bucket/many?partNumber=10000'), {
    status: 206,
    text: '10000,',
    headers: { 'x-amz-mp-parts-count': '10000' },
  })
  t.match(await send('GET', '/bucket/many?partNumber=10001'), { status: 400, code: 'InvalidArgument' })
  t.match(await send('GET', '/bucket/many', { range: 'bytes=-12' }), { status: 206, text: ',9999,10000,' })
  const page = await send('GET', '/bucket/many?attributes=', {
    'x-amz-object-attributes': 'ObjectParts',
    'x-amz-part-number-marker': '9990',
  })
  t.match(page.text, '<PartsCount>10000</PartsCount>')
  t.equal([...page.text.matchAll(/<PartNumber>/g)].length, 10)

  const id = uploadId(await send('POST', '/bucket/named?uploads', kms))
  const complete = (count: number) => {
    const list = Array.from({ length: count }, (_, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>0</ETag></Part>`)
    const xml = `<CompleteMultipartUpload>${list.join('')}</CompleteMultipartUpload>`
    return send('POST', `/bucket/named?uploadId=${id}`, {}, xml)
  }
  t.match(await complete(10_000), { status: 400, code: 'InvalidPart' }, 'as many may be named')
  t.match(await complete(10_001), { status: 400, code: 'InvalidRequest' }, 'and no more')
})
