// Verification of signatures: held against the signing of @smithy/signature-v4 and aws4 on random requests, against the documented examples
// of Amazon S3, and against an independent construction of the OBS string to sign. Then every part of a request is tampered with.
import t from 'tap'
import { Sha256 } from '@aws-crypto/sha256-js'
import { SignatureV4 } from '@smithy/signature-v4'
import aws4 from 'aws4'
import * as fc from 'fast-check'
import { createHash, createHmac } from 'node:crypto'
import { createServer, request as httpRequest, type Server } from 'node:http'
import { inspect } from 'node:util'
import { hex } from '../../lib/bytes.ts'
import { SseError, type ErrorCode } from '../../lib/errors.ts'
import type { Authentication, Signed, VerifyOptions, WireRequest } from '../../lib/gateway/auth/credential.ts'
import { isBucketName, parseTarget, splitUrl } from '../../lib/gateway/http/target.ts'
import { authenticate } from '../../lib/gateway/auth/authenticate.ts'
import { signingKeyOf } from '../../lib/gateway/auth/v4.ts'

const accessKeyId = 'AKIAIOSFODNN7EXAMPLE'
const secretAccessKey = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
const region = 'us-east-1'
const may24 = Date.UTC(2013, 4, 24)
const user = { name: 'ann', secretAccessKey }
type User = typeof user

const options = (now: number, more: Partial<VerifyOptions<User>> = {}): VerifyOptions<User> => ({
  lookup: id => (id === accessKeyId ? user : undefined),
  region,
  clock: () => now,
  ...more,
})

type Sent = readonly (readonly [name: string, value: string])[]
const wire = (method: string, url: string, headers: Sent): WireRequest => {
  // What node:http shows of a header is a character a byte.
  const rawHeaders = headers.flatMap(([name, value]) => [name, Buffer.from(value).toString('latin1')])
  return { method, ...splitUrl(url), rawHeaders }
}
const signed = (answer: Authentication<User>): Signed<User> => {
  if (answer.kind !== 'signed') throw new Error('nobody signed')
  return answer
}
const refusal = (run: () => unknown): SseError => {
  try {
    run()
  } catch (error) {
    if (!(error instanceof SseError)) throw error
    const told = `${inspect(error, { depth: 5 })}${JSON.stringify(error.details)}${error.message}`
    if (told.includes(secretAccessKey) || error.message === '')
      throw new Error('tells the secret, or nothing', { cause: error })
    return error
  }
  throw new Error('was not refused')
}
const isRefused = (test: Pick<typeof t, 'equal'>, code: ErrorCode, run: () => unknown, what: string): SseError => {
  const error = refusal(run)
  test.equal(error.code, code, what)
  return error
}

const emptyHash = createHash('sha256').digest('hex')
const escape = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)

// --- Random requests

const date = new Date(may24)
const smithy = new SignatureV4({
  credentials: { accessKeyId, secretAccessKey },
  region,
  service: 's3',
  sha256: Sha256,
  uriEscapePath: false,
})

const unicode = fc.string({ unit: 'binary', maxLength: 12 })
const segment = fc.oneof(
  unicode,
  fc.constantFrom('', '.', '..', ' ', 'a b', '+', '%', '%2F', 'ü', '𝄞', '(1)', "it's!*", 'a=b&c'),
)
const keys = fc.array(segment, { minLength: 1, maxLength: 5 }).map(segments => segments.join('/'))
const methods = fc.constantFrom('GET', 'PUT', 'POST', 'HEAD', 'DELETE')
const parameters = fc.dictionary(
  fc.oneof(
    fc.constantFrom('prefix', 'list-type', 'uploads', 'partNumber', 'a-b', 'a', 'A'),
    unicode.filter(name => name !== '' && name !== '__proto__' && !/^x-amz-/i.test(name)),
  ),
  fc.oneof(unicode, fc.constantFrom('', 'a/b', ' ', '+', 'ü')),
  { maxKeys: 4, noNullPrototype: true },
)
const printable = fc.string({ unit: 'grapheme', maxLength: 20 }).filter(value => !/[\0-\x08\x0a-\x1f\x7f]/.test(value))
const headerValue = fc.oneof(printable, fc.constantFrom('', ' ', 'a  b', '\ta\t b ', 'à  ', '"x"   y'))
const metadata = fc.dictionary(fc.stringMatching(/^[a-z][a-z0-9-]{0,6}$/), headerValue, {
  maxKeys: 3,
  noNullPrototype: true,
})

/** Encoded as a sloppy client would, which must not matter. */
const sloppily = (encoded: string): string =>
  encoded
    .replace(/%(28|29|21|2A|27|40|3A|2C)/g, each => decodeURIComponent(each))
    .replace(/%[C-F]./g, each => each.toLowerCase())

const queryOf = (record: Readonly<Record<string, string>>): string =>
  Object.entries(record)
    .map(([name, value]) => (value === '' ? escape(name) : `${escape(name)}=${escape(value)}`))
    .reverse()
    .join('&')

t.test('@smithy/signature-v4: header', async t => {
  await fc.assert(
    fc.asyncProperty(methods, keys, parameters, metadata, fc.boolean(), async (method, key, query, meta, sloppy) => {
      const path = `/bucket/${key.split('/').map(escape).join('/')}`
      const headers: Record<string, string> = { host: 'localhost:9000', 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }
      headers['x-amz-server-side-encryption'] = 'aws:kms'
      headers['content-type'] = 'text/plain;  charset=utf-8'
      for (const [name, value] of Object.entries(meta)) headers[`x-amz-meta-${name}`] = value
      const request = { method, protocol: 'http:', hostname: 'localhost', path, query, headers }
      const { headers: sent } = await smithy.sign(request, { signingDate: date })
      const raw = queryOf(query)
      const url = `${sloppy ? sloppily(path) : path}${raw === '' ? '' : `?${sloppy ? sloppily(raw) : raw}`}`
      const answer = signed(authenticate(wire(method, url, Object.entries(sent)), options(may24)))
      return (
        answer.version === 'v4' && !answer.presigned && answer.identity === user && answer.accessKeyId === accessKeyId
      )
    }),
    { numRuns: 100 },
  )
  t.pass('all accepted')
})

t.test('@smithy/signature-v4: presigned', async t => {
  await fc.assert(
    fc.asyncProperty(methods, keys, parameters, metadata, async (method, key, query, meta) => {
      const path = `/${key.split('/').map(escape).join('/')}`
      const headers: Record<string, string> = { host: 'bucket.localhost', 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }
      for (const [name, value] of Object.entries(meta)) headers[`x-amz-meta-${name}`] = value
      headers['x-amz-server-side-encryption'] = 'aws:kms'
      const request = { method, protocol: 'http:', hostname: 'bucket.localhost', path, query, headers }
      const { query: all = {} } = await smithy.presign(request, {
        signingDate: date,
        expiresIn: 600,
        unhoistableHeaders: new Set(['x-amz-server-side-encryption']),
      })
      const strings = Object.fromEntries(Object.entries(all).map(([name, value]) => [name, String(value)]))
      const sent: Sent = [
        ['Host', 'bucket.localhost'],
        ['X-Amz-Server-Side-Encryption', 'aws:kms'],
        ['User-Agent', 'any'],
      ]
      const answer = signed(authenticate(wire(method, `${path}?${queryOf(strings)}`, sent), options(may24 + 600_000)))
      const carried = Object.entries(meta).every(
        ([name, value]) => Buffer.from(answer.headers.get(`x-amz-meta-${name}`) ?? '', 'latin1').toString() === value,
      )
      return answer.presigned && answer.body.kind === 'unsigned' && carried
    }),
    { numRuns: 60 },
  )
  t.pass('all accepted, and the headers that the query carries count')
})

t.test('aws4: header and query', t => {
  const ascii = fc.string({ unit: 'grapheme-ascii', maxLength: 20 })
  fc.assert(
    fc.property(methods, keys, parameters, ascii, fc.boolean(), (method, key, query, value, signQuery) => {
      const raw = queryOf(query)
      const path = `/bucket/${key.split('/').map(escape).join('/')}${raw === '' ? '' : `?${raw}`}`
      const headers: Record<string, string> = signQuery ? {} : { 'X-Amz-Meta-Any': value }
      const given = { service: 's3', region, host: 'localhost', method, path, headers, signQuery }
      const request = aws4.sign(given, { accessKeyId, secretAccessKey })
      const answer = signed(
        authenticate(wire(method, request.path, Object.entries(request.headers)), options(Date.now())),
      )
      return answer.presigned === signQuery
    }),
    { numRuns: 100 },
  )
  t.pass('all accepted')
  t.end()
})

// --- Documented examples of Signature Version 4

const authorization = (signedHeaders: string, signature: string): string =>
  `AWS4-HMAC-SHA256 Credential=${accessKeyId}/20130524/${region}/s3/aws4_request,SignedHeaders=${signedHeaders},Signature=${signature}`
const host = 'examplebucket.s3.amazonaws.com'

const documented: readonly (readonly [name: string, method: string, url: string, headers: Sent, signature: string])[] =
  [
    [
      'GET Object',
      'GET',
      '/test.txt',
      [
        ['Range', 'bytes=0-9'],
        ['x-amz-content-sha256', emptyHash],
      ],
      'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
    ],
    [
      'PUT Object',
      'PUT',
      '/test$file.text',
      [
        ['Date', 'Fri, 24 May 2013 00:00:00 GMT'],
        ['x-amz-storage-class', 'REDUCED_REDUNDANCY'],
        ['x-amz-content-sha256', '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072'],
      ],
      '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
    ],
    [
      'GET Bucket Lifecycle',
      'GET',
      '/?lifecycle',
      [['x-amz-content-sha256', emptyHash]],
      'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
    ],
    [
      'List Objects',
      'GET',
      '/?max-keys=2&prefix=J',
      [['x-amz-content-sha256', emptyHash]],
      '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
    ],
  ]

const example = (method: string, url: string, headers: Sent, signature: string): WireRequest => {
  const all: Sent = [['Host', host], ['x-amz-date', '20130524T000000Z'], ...headers]
  const names = all.map(([name]) => name.toLowerCase()).sort()
  return wire(method, url, [...all, ['Authorization', authorization(names.join(';'), signature)]])
}

t.test('the examples of "Authenticating Requests (AWS Signature Version 4)"', t => {
  for (const [name, method, url, headers, signature] of documented) {
    const answer = signed(authenticate(example(method, url, headers, signature), options(may24)))
    t.equal(answer.body.kind, 'signed-hash', name)
    const last = signature.replace(/.$/, c => (c === '0' ? '1' : '0'))
    isRefused(t, 'SignatureDoesNotMatch', () => authenticate(example(method, url, headers, last), options(may24)), name)
  }
  t.end()
})

const presignedExample =
  `/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${accessKeyId}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request` +
  '&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host' +
  '&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404'
const hostOnly: Sent = [['host', host]]

t.test('the presigned example', t => {
  const at = (now: number) => () => authenticate(wire('GET', presignedExample, hostOnly), options(now))
  t.match(at(may24)(), { kind: 'signed', version: 'v4', presigned: true, accessKeyId, identity: user })
  t.ok(at(may24 + 86_400_000)(), 'until its last second')
  t.ok(at(may24 - 15 * 60_000)(), 'a quarter of an hour early')
  const expired = isRefused(t, 'AccessDenied', at(may24 + 86_401_000), 'expired')
  t.match(expired.message, /^Request has expired/)
  t.same(expired.details, { Expires: '2013-05-25T00:00:00.000Z', ServerTime: '2013-05-25T00:00:01.000Z' })
  t.match(isRefused(t, 'AccessDenied', at(may24 - 15 * 60_000 - 1), 'early').message, /not yet valid/)
  const change = (from: string | RegExp, to: string) => () =>
    authenticate(wire('GET', presignedExample.replace(from, to), hostOnly), options(may24))
  for (const name of ['Algorithm', 'Credential', 'Date', 'Expires', 'SignedHeaders', 'Signature']) {
    isRefused(t, 'AuthorizationQueryParametersError', change(`X-Amz-${name}=`, 'x='), `without X-Amz-${name}`)
  }
  const rows: readonly (readonly [string, string, RegExp])[] = [
    ['AWS4-HMAC-SHA256', 'AWS4-HMAC-SHA512', /X-Amz-Algorithm/],
    ['%2Fs3%2F', '%2Fs3', /Credential is mal-formed/],
    ['%2Fus-east-1', '%2Feu-west-1', /the region 'eu-west-1' is wrong; expecting 'us-east-1'/],
    ['%2Fs3%2F', '%2Fec2%2F', /incorrect service "ec2"/],
    ['aws4_request', 'aws4', /incorrect terminator "aws4"/],
    ['%2F20130524', '%2F20130525', /the date "20130525"/],
    ['Expires=86400', 'Expires=604801', /at most a week/],
    ['Expires=86400', 'Expires=-1', /at most a week/],
    ['Date=20130524T', 'Date=20131324T', /X-Amz-Date must be/],
  ]
  for (const [from, to, message] of rows) {
    t.match(isRefused(t, 'AuthorizationQueryParametersError', change(from, to), to).message, message)
  }
  isRefused(t, 'SignatureDoesNotMatch', change('Expires=86400', 'Expires=86401'), 'a longer life')
  isRefused(t, 'SignatureDoesNotMatch', change('/test.txt', '/test.tx'), 'another key')
  isRefused(t, 'SignatureDoesNotMatch', change(/$/, '&acl'), 'a parameter more')
  isRefused(t, 'InvalidURI', change(/$/, '&a=%zz'), 'a malformed parameter')
  t.end()
})

// --- Our own signer, for what libraries do not do

interface Plain {
  readonly method?: string
  readonly path?: string
  readonly query?: string
  readonly headers?: Sent
  /** As a client computes them, where that differs. */
  readonly canonicalPath?: string
  readonly canonicalQuery?: string
  readonly signedHeaders?: readonly string[]
  readonly payload?: string
  readonly scope?: string
  readonly timestamp?: string
}
const hmac = (key: string | Uint8Array, text: string): Buffer => createHmac('sha256', key).update(text).digest()
const key4 = (day: string): Buffer =>
  hmac(hmac(hmac(hmac(`AWS4${secretAccessKey}`, day), region), 's3'), 'aws4_request')

const sign = (request: Plain = {}): WireRequest => {
  const { method = 'GET', path = '/bucket/key', query = '', payload = 'UNSIGNED-PAYLOAD' } = request
  const { timestamp = '20130524T000000Z', scope = `20130524/${region}/s3/aws4_request` } = request
  const headers: Sent = request.headers ?? [
    ['host', host],
    ['x-amz-content-sha256', payload],
    ['x-amz-date', timestamp],
  ]
  const names = request.signedHeaders ?? [...new Set(headers.map(([name]) => name.toLowerCase()))].sort()
  const valueOf = (name: string): string =>
    headers
      .filter(([each]) => each.toLowerCase() === name)
      .map(([, value]) => value.trim().replace(/ +/g, ' '))
      .join(',')
  const lines = names.map(name => `${name}:${valueOf(name)}\n`).join('')
  const { canonicalPath = path, canonicalQuery = query } = request
  const canonical = [method, canonicalPath, canonicalQuery, lines, names.join(';'), payload].join('\n')
  const hash = createHash('sha256').update(canonical).digest('hex')
  const signature = hmac(key4('20130524'), `AWS4-HMAC-SHA256\n${timestamp}\n${scope}\n${hash}`).toString('hex')
  const value = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`
  return wire(method, query === '' ? path : `${path}?${query}`, [...headers, ['Authorization', value]])
}
const verify = (request: WireRequest, more: Partial<VerifyOptions<User>> = {}) =>
  authenticate(request, options(may24, more))
const base: Sent = [
  ['Host', host],
  ['x-amz-content-sha256', 'UNSIGNED-PAYLOAD'],
  ['x-amz-date', '20130524T000000Z'],
]

t.test('spellings of paths and queries that clients sign', t => {
  const rows: readonly (readonly [what: string, request: Plain])[] = [
    ['as documented', {}],
    ['%2F kept', { path: '/bucket/a%2Fb' }],
    ['%2F decoded', { path: '/bucket/a%2Fb', canonicalPath: '/bucket/a/b' }],
    ['unencoded, signed as sent', { path: "/bucket/(a)!*'" }],
    ['unencoded, signed encoded', { path: '/bucket/(a)', canonicalPath: '/bucket/%28a%29' }],
    ['slash in a query signed as sent', { query: 'list-type=2&prefix=a/b' }],
    ['letters encoded in vain', { path: '/bucket/%6bey', canonicalPath: '/bucket/key' }],
    ['plus in a query is a space', { query: 'prefix=a+b', canonicalQuery: 'prefix=a%20b' }],
    ['no value, signed as sent', { query: 'uploads&prefix=a/b', canonicalQuery: 'prefix=a/b&uploads=' }],
    ['empty pieces', { query: '&&uploads&', canonicalQuery: 'uploads=' }],
    ['sorted by name, then value', { query: 'a-b=1&a=2&a=1&A=', canonicalQuery: 'A=&a=1&a=2&a-b=1' }],
    ['// and .. are not normalized', { path: '/bucket//a/../b/./c' }],
  ]
  for (const [what, request] of rows) t.match(verify(sign(request)), { kind: 'signed' }, what)
  isRefused(
    t,
    'SignatureDoesNotMatch',
    () => verify(sign({ path: '/b/../c', canonicalPath: '/c' })),
    'a normalized path',
  )
  isRefused(t, 'InvalidURI', () => verify(sign({ path: '/b/%4' })), 'half an escape')
  isRefused(t, 'InvalidURI', () => verify(sign({ path: '/b/ü' })), 'not ASCII')
  isRefused(t, 'InvalidURI', () => verify(sign({ path: '/b/\x01' })), 'a control character')
  t.end()
})

t.test('headers', t => {
  const more = (...headers: Sent): Sent => [...base, ...headers]
  t.match(
    verify(sign({ headers: more(['x-amz-meta-a', 'joe'], ['X-Amz-Meta-A', 'jane']) })),
    { kind: 'signed' },
    'joined',
  )
  const unsigned: readonly (readonly [what: string, headers: Sent, signed: readonly string[], names: string])[] = [
    ['host', base, ['x-amz-content-sha256', 'x-amz-date'], 'host'],
    [
      'SSE headers',
      more(['x-amz-server-side-encryption', 'aws:kms'], ['x-obs-acl', 'private']),
      ['host', 'x-amz-content-sha256', 'x-amz-date'],
      'x-amz-server-side-encryption, x-obs-acl',
    ],
  ]
  for (const [what, headers, signedHeaders, names] of unsigned) {
    const error = isRefused(t, 'AccessDenied', () => verify(sign({ headers, signedHeaders })), what)
    t.match(error.message, /^There were headers present in the request which were not signed/)
    t.same(error.details, { HeadersNotSigned: names })
  }
  const free = more(['User-Agent', 'any'], ['Content-Length', '5'], ['Content-Type', 'text/plain'])
  t.match(verify(sign({ headers: free, signedHeaders: ['host', 'x-amz-content-sha256', 'x-amz-date'] })), {
    kind: 'signed',
  })
  const missing = sign({ signedHeaders: ['host', 'x-amz-content-sha256', 'x-amz-date', 'x-amz-meta-gone'] })
  t.match(isRefused(t, 'SignatureDoesNotMatch', () => verify(missing), 'gone').message, /x-amz-meta-gone was signed/)
  const [date, sha]: Sent = [
    ['Date', 'Fri, 24 May 2013 00:00:00 GMT'],
    ['x-amz-content-sha256', emptyHash],
  ]
  t.match(
    verify(sign({ headers: [['host', host], ...(date ? [date] : []), ...(sha ? [sha] : [])], payload: emptyHash })),
    {
      kind: 'signed',
    },
  )
  isRefused(
    t,
    'InvalidRequest',
    () => verify(sign({ headers: base.filter(([name]) => name !== 'x-amz-content-sha256') })),
    'no hash',
  )
  t.end()
})

t.test('tampering', t => {
  const headers: Sent = [...base, ['content-type', 'a/b'], ['x-amz-meta-a', 'one  two']]
  const good = sign({ method: 'PUT', query: 'partNumber=1&uploadId=x', headers })
  t.match(verify(good), { kind: 'signed' })
  const header = (name: string, change: (value: string) => string): WireRequest => ({
    ...good,
    rawHeaders: good.rawHeaders.map((each, i) =>
      i % 2 === 1 && good.rawHeaders[i - 1]?.toLowerCase() === name ? change(each) : each,
    ),
  })
  const rows: readonly (readonly [what: string, request: WireRequest, code: ErrorCode])[] = [
    ['method', { ...good, method: 'GET' }, 'SignatureDoesNotMatch'],
    ['path', { ...good, path: '/bucket/kez' }, 'SignatureDoesNotMatch'],
    ['slash', { ...good, path: '/bucket//key' }, 'SignatureDoesNotMatch'],
    ['query value', { ...good, query: 'partNumber=2&uploadId=x' }, 'SignatureDoesNotMatch'],
    ['query name', { ...good, query: 'partNumber=1' }, 'SignatureDoesNotMatch'],
    ['host', header('host', () => 'other'), 'SignatureDoesNotMatch'],
    ['content type', header('content-type', () => 'a/c'), 'SignatureDoesNotMatch'],
    ['metadata', header('x-amz-meta-a', () => 'one two three'), 'SignatureDoesNotMatch'],
    ['hash', header('x-amz-content-sha256', () => emptyHash), 'SignatureDoesNotMatch'],
    ['time', header('x-amz-date', () => '20130524T000001Z'), 'SignatureDoesNotMatch'],
    ['a value more', { ...good, rawHeaders: [...good.rawHeaders, 'x-amz-meta-a', 'b'] }, 'SignatureDoesNotMatch'],
    ['a header more', { ...good, rawHeaders: [...good.rawHeaders, 'x-amz-acl', 'b'] }, 'AccessDenied'],
    [
      'signature',
      header('authorization', value => value.replace(/.$/, c => (c === '0' ? '1' : '0'))),
      'SignatureDoesNotMatch',
    ],
    ['short signature', header('authorization', value => value.slice(0, -1)), 'SignatureDoesNotMatch'],
    ['signed headers', header('authorization', value => value.replace('content-type;', '')), 'SignatureDoesNotMatch'],
    ['access key', header('authorization', value => value.replace(accessKeyId, 'AKIA')), 'InvalidAccessKeyId'],
  ]
  for (const [what, request, code] of rows) isRefused(t, code, () => verify(request), what)
  const folded = header('x-amz-meta-a', () => 'one two')
  t.match(verify(folded), { kind: 'signed' }, 'spaces may be folded on the way')

  const details = refusal(() => verify({ ...good, method: 'GET' })).details
  t.equal(details['AWSAccessKeyId'], accessKeyId)
  t.match(
    details['StringToSign'],
    /^AWS4-HMAC-SHA256\n20130524T000000Z\n20130524\/us-east-1\/s3\/aws4_request\n[0-9a-f]{64}$/,
  )
  t.match(details['CanonicalRequest'], /^GET\n\/bucket\/key\npartNumber=1&uploadId=x\ncontent-type:a\/b\nhost:/)
  t.match(good.rawHeaders.at(-1), `Signature=${details['SignatureProvided'] ?? ''}`)
  const customer = 'x-amz-server-side-encryption-customer-key'
  const secret = sign({ headers: [...base, [customer, 'c2VjcmV0'], ['x-amz-security-token', 'token']] })
  const echoed = refusal(() => verify({ ...secret, path: '/' })).details['CanonicalRequest'] ?? ''
  t.match(echoed, `${customer}:***\n`, 'a customer key is not echoed')
  t.match(echoed, 'x-amz-security-token:***\n')
  t.notMatch(echoed, /c2VjcmV0|:token/)
  t.end()
})

t.test('time, scope and form', t => {
  const at = (now: number, maxSkew?: number) => () => authenticate(sign(), options(now, { maxSkew }))
  t.ok(at(may24 + 15 * 60_000)())
  t.ok(at(may24 - 15 * 60_000)())
  t.ok(at(may24 + 60 * 60_000, 60 * 60_000)(), 'another skew')
  for (const now of [may24 + 15 * 60_000 + 1, may24 - 15 * 60_000 - 1]) {
    const { details } = isRefused(t, 'RequestTimeTooSkewed', at(now), String(now))
    t.same(details, {
      RequestTime: '2013-05-24T00:00:00.000Z',
      ServerTime: new Date(now).toISOString(),
      MaxAllowedSkewMilliseconds: '900000',
    })
  }
  isRefused(t, 'RequestTimeTooSkewed', () => authenticate(sign(), { lookup: () => user, region }), "the system's clock")
  const dates: readonly (readonly [what: string, headers: Sent])[] = [
    ['no date', []],
    ['malformed', [['x-amz-date', '2013-05-24']]],
    ['a month too many', [['x-amz-date', '20131324T000000Z']]],
    ['malformed Date', [['date', '24 May']]],
    [
      'a header of its own comes first',
      [
        ['x-amz-date', ''],
        ['date', 'Fri, 24 May 2013 00:00:00 GMT'],
      ],
    ],
  ]
  for (const [what, headers] of dates) {
    const request = sign({ headers: [...base.slice(0, 2), ...headers] })
    t.match(isRefused(t, 'AccessDenied', () => verify(request), what).message, /valid Date or x-amz-date header/)
  }
  const scopes: readonly (readonly [scope: string, message: RegExp])[] = [
    [
      '20130524/eu-west-1/s3/aws4_request',
      /^The authorization header is malformed; the region 'eu-west-1' is wrong; expecting 'us-east-1'$/,
    ],
    [`20130524/${region}/iam/aws4_request`, /incorrect service "iam"/],
    [`20130524/${region}/s3/aws5_request`, /incorrect terminator "aws5_request"/],
    [`20130523/${region}/s3/aws4_request`, /the date "20130523"/],
    [`2013052/${region}/s3/aws4_request`, /Credential is mal-formed/],
    ['', /Credential is mal-formed/],
  ]
  for (const [scope, message] of scopes) {
    t.match(isRefused(t, 'AuthorizationHeaderMalformed', () => verify(sign({ scope })), scope).message, message)
  }
  const elsewhere = refusal(() => verify(sign({ scope: '20130524/eu-west-1/s3/aws4_request' })))
  t.same(elsewhere.details, { Region: region }, 'tells the right region')
  const form = (value: string) => () => verify(wire('GET', '/', [...base, ['Authorization', value]]))
  for (const value of [
    'AWS4-HMAC-SHA256',
    'AWS4-HMAC-SHA256 Credential=a',
    'AWS4-HMAC-SHA256 Signature=a,Credential=b',
  ]) {
    isRefused(t, 'AuthorizationHeaderMalformed', form(value), value)
  }
  isRefused(t, 'InvalidArgument', form('Basic YTpi'), 'another scheme')
  isRefused(t, 'InvalidArgument', form(''), 'an empty header')
  isRefused(t, 'NotImplemented', form('AWS4-ECDSA-P256-SHA256 Credential=a'), '4A')
  const both = { ...sign(), query: presignedExample.split('?')[1] ?? '' }
  t.match(isRefused(t, 'InvalidArgument', () => verify(both), 'two').message, /^Only one auth mechanism allowed/)
  const slashed = authorization('host', 'a').replace(accessKeyId, 'a/b')
  t.equal(
    isRefused(t, 'InvalidAccessKeyId', form(slashed), 'slashes').details['AWSAccessKeyId'],
    'a/b',
    'an access key id may hold slashes',
  )
  t.end()
})

t.test('what the body is held to', t => {
  const body = (payload: string) => verify(sign({ payload })).body
  t.same(body('UNSIGNED-PAYLOAD'), { kind: 'unsigned' })
  t.same(body('STREAMING-UNSIGNED-PAYLOAD-TRAILER'), { kind: 'chunked-unsigned-trailer' })
  t.match(body(emptyHash), { kind: 'signed-hash', sha256: createHash('sha256').digest() })
  for (const [payload, trailer] of [
    ['STREAMING-AWS4-HMAC-SHA256-PAYLOAD', false],
    ['STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER', true],
  ] as const) {
    const request = sign({ payload })
    const chunked = verify(request).body
    t.match(chunked, { kind: 'chunked-signed', trailer, timestamp: '20130524T000000Z' })
    if (chunked.kind !== 'chunked-signed') throw new Error('not chunked')
    t.equal(chunked.scope, `20130524/${region}/s3/aws4_request`)
    t.match(request.rawHeaders.at(-1), `Signature=${chunked.seed}`)
    t.ok(chunked.signingKey.export().equals(key4('20130524')))
    t.notMatch(inspect(chunked, { depth: 5 }), hex(key4('20130524')), 'prints no key')
  }
  isRefused(t, 'NotImplemented', () => body('STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD'), '4A')
  isRefused(t, 'NotImplemented', () => body('STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER'), '4A')
  for (const payload of ['', 'abc', 'z'.repeat(64), `${emptyHash}00`]) {
    const error = isRefused(t, 'InvalidArgument', () => body(payload), payload)
    t.same(error.details, { ArgumentName: 'x-amz-content-sha256', ArgumentValue: payload })
  }
  const anonymous = (payload: Sent) => verify(wire('PUT', '/bucket/key?acl', [['Host', host], ...payload]))
  t.match(anonymous([]), { kind: 'anonymous', body: { kind: 'unsigned' } })
  t.equal(anonymous([['X-Custom', ' a ']]).headers.get('x-custom'), 'a')
  t.match(anonymous([['x-amz-content-sha256', emptyHash]]), { kind: 'anonymous', body: { kind: 'signed-hash' } })
  isRefused(
    t,
    'InvalidRequest',
    () => anonymous([['x-amz-content-sha256', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD']]),
    'no chain',
  )
  t.equal(
    verify(wire('PUT', '/', [['Host', host]]).rawHeaders.length ? { ...sign(), rawHeaders: ['Odd'] } : sign()).kind,
    'anonymous',
  )
  t.end()
})

t.test('headers that a presigned query carries', async t => {
  const presign = async (headers: Record<string, string>, hoist: readonly string[] = []) => {
    const request = { method: 'PUT', protocol: 'http:', hostname: 'localhost', path: '/bucket/key', query: {}, headers }
    const { query = {} } = await smithy.presign(
      { ...request, headers: { host: 'localhost', 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', ...headers } },
      { signingDate: date, expiresIn: 60, unhoistableHeaders: new Set(hoist) },
    )
    const all = Object.fromEntries(Object.entries(query).map(([name, value]) => [name, String(value)]))
    return `/bucket/key?${queryOf(all)}`
  }
  const from = (url: string, more: Sent = []) => signed(verify(wire('PUT', url, [['host', 'localhost'], ...more])))
  const url = await presign({
    'x-amz-acl': 'private',
    'x-amz-meta-name': 'ü',
    'x-amz-checksum-crc32': 'AAAAAA==',
    'x-amz-sdk-checksum-algorithm': 'CRC32',
    'x-amz-checksum-mode': 'ENABLED',
  })
  const { headers } = from(url)
  t.equal(headers.get('x-amz-acl'), 'private')
  t.equal(headers.get('x-amz-meta-name'), Buffer.from('ü').toString('latin1'), 'a character a byte')
  t.equal(headers.get('x-amz-checksum-mode'), 'ENABLED')
  for (const name of ['x-amz-checksum-crc32', 'x-amz-sdk-checksum-algorithm', 'x-amz-signature', 'x-amz-date']) {
    t.notOk(headers.has(name), `${name} is not a header`)
  }
  t.match(
    from(url, [['x-amz-content-sha256', emptyHash]]).body,
    { kind: 'signed-hash' },
    'a hash sent later is checked',
  )
  isRefused(t, 'AccessDenied', () => from(url, [['x-amz-acl', 'public-read']]), 'an unsigned header')
  const pinned = await presign({ 'x-amz-server-side-encryption': 'aws:kms' }, ['x-amz-server-side-encryption'])
  isRefused(t, 'SignatureDoesNotMatch', () => from(pinned), 'a signed header that is not sent')
  isRefused(
    t,
    'SignatureDoesNotMatch',
    () => from(pinned, [['x-amz-server-side-encryption', 'AES256']]),
    'another value',
  )
  t.equal(
    from(pinned, [['x-amz-server-side-encryption', 'aws:kms']]).headers.get('x-amz-server-side-encryption'),
    'aws:kms',
  )
  const hashed = await presign({ 'x-amz-content-sha256': emptyHash })
  t.match(from(hashed).body, { kind: 'signed-hash' }, 'a hash in the query')
  const hashSigned = await presign({ 'x-amz-content-sha256': emptyHash }, ['x-amz-content-sha256'])
  t.match(from(hashSigned, [['x-amz-content-sha256', emptyHash]]).body, { kind: 'signed-hash' }, 'a signed hash')
  isRefused(
    t,
    'SignatureDoesNotMatch',
    () => from(hashSigned, [['x-amz-content-sha256', 'UNSIGNED-PAYLOAD']]),
    'the signed hash changed',
  )
})

t.test('signing keys are kept, and made anew for a new secret', t => {
  const first = signingKeyOf('AK', 'one', '20130524', region)
  t.equal(signingKeyOf('AK', 'one', '20130524', region), first)
  const second = signingKeyOf('AK', 'two', '20130524', region)
  t.notOk(second.equals(first))
  t.notOk(signingKeyOf('AK', 'two', '20130525', region).equals(second))
  const early = signingKeyOf('early', 's', '20130524', region)
  for (let i = 0; i < 1000; i++) {
    signingKeyOf(`AK${i}`, 's', '20130524', region)
    if (i < 900) signingKeyOf('AK', 'two', '20130524', region)
  }
  t.equal(signingKeyOf('AK', 'two', '20130524', region), second, 'what is used is kept')
  const again = signingKeyOf('early', 's', '20130524', region)
  t.not(again, early, 'what is not used is dropped')
  t.ok(again.equals(early))
  t.end()
})

// --- The older signatures

const v2Example = (method: string, url: string, headers: Sent, signature: string): WireRequest =>
  wire(method, url, [...headers, ['Authorization', `AWS ${accessKeyId}:${signature}`]])

t.test('the examples of "Signing and authenticating REST requests (AWS signature version 2)"', t => {
  const upload: Sent = [
    ['User-Agent', 'curl/7.15.5'],
    ['Host', 'static.example.com:8080'],
    ['Date', 'Tue, 27 Mar 2007 21:06:08 +0000'],
    ['x-amz-acl', 'public-read'],
    ['content-type', 'application/x-download'],
    ['Content-MD5', '4gJE4saaMU4BqNR0kLY+lw=='],
    ['X-Amz-Meta-ReviewedBy', 'joe@example.com'],
    ['X-Amz-Meta-ReviewedBy', 'jane@example.com'],
    ['X-Amz-Meta-FileChecksum', '0x02661779'],
    ['X-Amz-Meta-ChecksumAlgorithm', 'crc32'],
    ['Content-Disposition', 'attachment; filename=database.dat'],
  ]
  const rows: readonly (readonly [string, string | undefined, string, Sent | string, string])[] = [
    ['GET', 'awsexamplebucket1', '/photos/puppy.jpg', '27 Mar 2007 19:36:42', 'qgk2+6Sv9/oM7G3qLEjTH1a1l1g='],
    [
      'PUT',
      'awsexamplebucket1',
      '/photos/puppy.jpg',
      [
        ['Content-Type', 'image/jpeg'],
        ['Content-Length', '94328'],
        ['Date', 'Tue, 27 Mar 2007 21:15:45 +0000'],
      ],
      'iqRzw+ileNPu1fhspnRs8nOjjIA=',
    ],
    [
      'GET',
      'awsexamplebucket1',
      '/?prefix=photos&max-keys=50&marker=puppy',
      '27 Mar 2007 19:42:41',
      'm0WP8eCtspQl5Ahe6L1SozdX9YA=',
    ],
    ['GET', 'awsexamplebucket1', '/?acl', '27 Mar 2007 19:44:46', '82ZHiFIjc+WbcwFKGUVEQspPn+0='],
    ['PUT', 'static.example.com', '/db-backup.dat.gz', upload, 'jtBQa0Aq+DkULFI8qrpwIjGEx0E='],
    ['GET', undefined, '/', 'Wed, 28 Mar 2007 01:29:59', 'qGdzdERIC03wnaRNKh6OqZehG9s='],
    [
      'GET',
      undefined,
      '/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re',
      'Wed, 28 Mar 2007 01:49:49',
      'DNEZGsoieTZ92F3bUfSPQcbGmlM=',
    ],
  ]
  for (const [method, bucket, url, given, signature] of rows) {
    const text = typeof given === 'string' ? `${given.startsWith('W') ? '' : 'Tue, '}${given} +0000` : ''
    const headers: Sent = typeof given === 'string' ? [['Date', text]] : given
    const now = Date.parse(headers.find(([name]) => name === 'Date')?.[1] ?? '')
    const request = v2Example(method, url, headers, signature)
    const answer = signed(authenticate(request, options(now, { bucket })))
    t.match(
      answer,
      { version: 'v2', presigned: false, accessKeyId, identity: user, body: { kind: 'unsigned' } },
      `${method} ${url}`,
    )
    const error = isRefused(
      t,
      'SignatureDoesNotMatch',
      () => authenticate({ ...request, method: 'HEAD' }, options(now, { bucket })),
      url,
    )
    t.match(error.details['StringToSign'], /^HEAD\n/)
    t.same(Object.keys(error.details).sort(), ['AWSAccessKeyId', 'SignatureProvided', 'StringToSign'])
  }
  t.end()
})

t.test('the presigned examples of version 2', t => {
  const puppy = `/photos/puppy.jpg?AWSAccessKeyId=${accessKeyId}&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620`
  const at =
    (url: string, now = 1175139620_000) =>
    () =>
      authenticate(wire('GET', url, [['host', 'johnsmith.localhost']]), options(now, { bucket: 'johnsmith' }))
  t.match(at(puppy)(), { version: 'v2', presigned: true })
  t.match(at(puppy.replace('%2B', '+'))(), { version: 'v2' }, 'an unencoded plus')
  t.match(isRefused(t, 'AccessDenied', at(puppy, 1175139620_001), 'expired').message, /^Request has expired/)
  for (const name of ['AWSAccessKeyId', 'Signature', 'Expires']) {
    t.match(
      isRefused(t, 'AccessDenied', at(puppy.replace(`${name}=`, 'x=')), name).message,
      /requires the Signature, Expires and/,
    )
  }
  t.match(isRefused(t, 'AccessDenied', at(puppy.replace('=1175139620', '=soon')), 'soon').message, /seconds since 1970/)
  isRefused(t, 'SignatureDoesNotMatch', at(puppy.replace('=1175139620', '=1175139621')), 'a longer life')
  for (const more of ['acl', 'publicAccessBlock', 'ownershipControls', 'policyStatus']) {
    isRefused(t, 'SignatureDoesNotMatch', at(`${puppy}&${more}`), `another sub-resource: ${more}`)
  }
  t.ok(at(`${puppy}&prefix=a`)(), 'what is no sub-resource is not covered')
  const other = {
    lookup: () => ({ name: '', secretAccessKey: 'OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV' }),
    region,
    clock: () => 1141889120_000,
  }
  const nelson =
    '/quotes/nelson?AWSAccessKeyId=44CF9590006BF252F707&Expires=1141889120&Signature=vjbyPxybdZaNmGa%2ByT272YEAiv4%3D'
  t.match(authenticate(wire('GET', nelson, [['host', 'localhost']]), other), { version: 'v2', presigned: true })
  t.end()
})

/** The string to sign of the OBS reference, built the plain way. */
const obsSign = (lines: readonly string[]): string =>
  createHmac('sha1', secretAccessKey).update(lines.join('\n')).digest('base64')
const httpDate = 'Fri, 24 May 2013 00:00:00 GMT'

t.test('OBS in the Authorization header', t => {
  const sent = (signature: string, more: Sent): WireRequest =>
    wire('PUT', '/a%2Bb%20c?partNumber=1&uploadId=u%2B1&prefix=x', [
      ...more,
      ['Authorization', `OBS ${accessKeyId}:${signature}`],
    ])
  const sse: Sent = [
    ['x-obs-server-side-encryption', 'kms'],
    ['X-Obs-Meta-B', ' two '],
    ['x-obs-meta-a', 'one'],
    ['x-obs-meta-a', 'more'],
  ]
  const tail = [
    'x-obs-meta-a:one,more',
    'x-obs-meta-b:two',
    'x-obs-server-side-encryption:kms',
    '/bucket/a%2Bb%20c?partNumber=1&uploadId=u+1',
  ]
  const bucket = { bucket: 'bucket' }
  const good = sent(obsSign(['PUT', 'md5==', 'text/plain', httpDate, ...tail]), [
    ['Date', httpDate],
    ['content-md5', 'md5=='],
    ['content-type', 'text/plain'],
    ...sse,
  ])
  t.match(verify(good, bucket), { kind: 'signed', version: 'obs', presigned: false, accessKeyId })
  isRefused(t, 'SignatureDoesNotMatch', () => verify(good, { bucket: 'other' }), 'another bucket')
  isRefused(
    t,
    'SignatureDoesNotMatch',
    () => verify({ ...good, query: `${good.query}&acl` }, bucket),
    'a sub-resource more',
  )
  t.ok(
    verify({ ...good, query: good.query.replace('prefix=x', 'prefix=y') }, bucket),
    'what is no sub-resource is not covered',
  )
  isRefused(t, 'RequestTimeTooSkewed', () => authenticate(good, options(may24 + 3_600_000)), 'too late')
  isRefused(t, 'RequestTimeTooSkewed', () => authenticate(good, { lookup: () => user, region }), "the system's clock")
  const named = sent(obsSign(['PUT', '', '', '', `x-obs-date:${httpDate}`, tail[3] ?? '']), [['x-obs-date', httpDate]])
  t.match(verify(named, bucket), { version: 'obs' }, 'x-obs-date takes the place of Date')
  t.match(isRefused(t, 'AccessDenied', () => verify(sent('a', []), bucket), 'no date').message, /valid Date/)
  isRefused(t, 'InvalidAccessKeyId', () => verify(good, { lookup: () => undefined }), 'nobody')
  for (const value of ['OBS', 'OBS a', 'OBS :a']) {
    isRefused(t, 'AuthorizationHeaderMalformed', () => verify(wire('GET', '/', [['Authorization', value]])), value)
  }
  const foreign = isRefused(
    t,
    'AccessDenied',
    () => verify({ ...good, rawHeaders: [...good.rawHeaders, 'X-Amz-Copy-Source', '/a/b'] }, bucket),
    'foreign',
  )
  t.same(foreign.details, { HeadersNotSigned: 'x-amz-copy-source' })
  const key = 'x-obs-server-side-encryption-customer-key'
  const secret = sent('a', [
    ['Date', httpDate],
    [key, 'c2VjcmV0'],
  ])
  t.match(refusal(() => verify(secret, bucket)).details['StringToSign'], `${key}:***\n`, 'a customer key is not echoed')
  const hash: Sent = [['x-obs-content-sha256', emptyHash]]
  const hashed = sent(obsSign(['PUT', '', '', httpDate, `x-obs-content-sha256:${emptyHash}`, tail[3] ?? '']), [
    ['Date', httpDate],
    ...hash,
  ])
  t.match(verify(hashed, bucket), { body: { kind: 'signed-hash' } })
  t.end()
})

t.test('version 2: a bucket in the path, with a slash behind it or without', t => {
  const sent = (path: string, resource: string): WireRequest =>
    v2Example('GET', path, [['Date', httpDate]], obsSign(['GET', '', '', httpDate, resource]))
  t.match(verify(sent('/bucket', '/bucket/')), { version: 'v2' }, 'as botocore signs')
  t.match(verify(sent('/bucket?acl', '/bucket/?acl')), { version: 'v2' })
  isRefused(
    t,
    'SignatureDoesNotMatch',
    () => verify(sent('/bucket/key', '/bucket/key/')),
    'a key is another one with it',
  )
  isRefused(
    t,
    'SignatureDoesNotMatch',
    () => verify(sent('/key', '/bucket/key/'), { bucket: 'bucket' }),
    'also in the host',
  )
  const query = `AWSAccessKeyId=${accessKeyId}&Expires=1369353600&Signature=`
  const link = (path: string): WireRequest =>
    wire('GET', `${path}?${query}${escape(obsSign(['GET', '', '', '1369353600', `${path}/`]))}`, [])
  t.match(verify(link('/bucket')), { version: 'v2', presigned: true })
  isRefused(t, 'SignatureDoesNotMatch', () => verify(link('/bucket/key')), 'presigned')
  t.end()
})

t.test('version 2 with headers of OBS', t => {
  const sent = (more: Sent): WireRequest =>
    wire('PUT', '/bucket', [
      ['Date', httpDate],
      ...more,
      ['Authorization', `AWS ${accessKeyId}:${obsSign(['PUT', '', '', httpDate, '/bucket'])}`],
    ])
  t.match(verify(sent([['x-obs-az-redundancy', '3az']])), { version: 'v2' }, 'what its own client sends')
  isRefused(t, 'AccessDenied', () => verify(sent([['x-obs-acl', 'public-read']])), 'an ACL')
  t.end()
})

t.test('OBS and version 2 in the query, with parameters that stand for headers', t => {
  const link = (parameter: string, extra: string, lines: readonly string[]): string =>
    `/bucket/key?${parameter}=${accessKeyId}&Expires=1369353600${extra}&Signature=${escape(obsSign(lines))}`
  const get = (url: string, more: Sent = []) => signed(verify(wire('GET', url, [['host', 'localhost'], ...more])))
  const plain = ['GET', '', '', '1369353600']
  const obs = link('AccessKeyId', '&x-obs-acl=private&x-image-process=a%2Fb', [
    ...plain,
    '/bucket/key?x-image-process=a/b&x-obs-acl=private',
  ])
  t.match(get(obs), { version: 'obs', presigned: true })
  t.equal(get(obs).headers.get('x-obs-acl'), 'private')
  isRefused(t, 'SignatureDoesNotMatch', () => get(obs.replace('private', 'public-read')), 'changed')
  const asResource = link('AWSAccessKeyId', '&x-amz-security-token=s', [...plain, '/bucket/key?x-amz-security-token=s'])
  t.equal(get(asResource).headers.get('x-amz-security-token'), 's', 'as esdk-obs-nodejs signs')
  const asHeader = link('AWSAccessKeyId', '&x-amz-acl=private&content-type=a%2Fb', [
    'GET',
    '',
    'a/b',
    '1369353600',
    'x-amz-acl:private',
    '/bucket/key',
  ])
  t.equal(get(asHeader).headers.get('x-amz-acl'), 'private', 'as botocore signs')
  t.equal(get(asHeader).headers.get('content-type'), 'a/b')
  isRefused(t, 'SignatureDoesNotMatch', () => get(asHeader, [['content-type', 'c/d']]), 'another type')
  isRefused(t, 'AccessDenied', () => get(obs.replace('Expires=', 'x=')), 'no Expires')
  t.end()
})

t.test('version 2 does not sign two requests with one signature', t => {
  const link = (
    query: string,
    resource: string,
    lines: readonly string[] = ['GET', '', '', '1369353600'],
  ): (() => unknown) => {
    const signature = escape(obsSign([...lines, `/bucket/key?${resource}`]))
    const url = `/bucket/key?AWSAccessKeyId=${accessKeyId}&Expires=1369353600&${query}&Signature=${signature}`
    return () => verify(wire('GET', url, [['host', 'localhost']]))
  }
  const both = 'response-content-type=a&uploads'
  t.match(link(both, both)(), { version: 'v2' })
  isRefused(
    t,
    'SignatureDoesNotMatch',
    link('response-content-type=a%26uploads', both),
    'a value that holds a parameter',
  )
  isRefused(t, 'SignatureDoesNotMatch', link('x-amz-meta-a%26acl', 'x-amz-meta-a&acl'), 'a name that holds one')
  isRefused(t, 'SignatureDoesNotMatch', link('x-amz-meta-a%3Db', 'x-amz-meta-a=b'), 'a name that holds a value')
  const headers = ['GET', '', '', '1369353600', 'x-amz-acl:private', 'x-amz-meta-a:1']
  isRefused(
    t,
    'SignatureDoesNotMatch',
    link('x-amz-acl=private%0Ax-amz-meta-a:1&acl', 'acl', headers),
    'a header that holds one',
  )
  const type = ['GET', '', 'a', '1369353600', 'x-amz-acl:private', '1369353600']
  isRefused(
    t,
    'SignatureDoesNotMatch',
    link('content-type=a%0A1369353600%0Ax-amz-acl:private&acl', 'acl', type),
    'a type that holds one',
  )
  t.end()
})

// --- Over a real connection

const portOf = (server: Server): number => {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return address.port
}

t.test('what node:http makes of a request', async t => {
  const answers: Authentication<User>[] = []
  const server = createServer((req, res) => {
    const { method = '', url = '', rawHeaders } = req
    answers.push(authenticate({ method, ...splitUrl(url), rawHeaders }, options(may24)))
    res.end()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const port = portOf(server)
  const headers = { host: `127.0.0.1:${port}`, 'x-amz-content-sha256': emptyHash, 'x-amz-meta-name': ' Zoë  à ' }
  const path = `/bucket/${['Zoë', '..', '', '𝄞 +'].map(escape).join('/')}`
  const request = { method: 'PUT', protocol: 'http:', hostname: '127.0.0.1', path, query: { 'a b': 'ü' }, headers }
  const { headers: sent } = await smithy.sign(request, { signingDate: date })
  const bytes = Object.fromEntries(
    Object.entries(sent).map(([name, value]) => [name, Buffer.from(value).toString('latin1')]),
  )
  await new Promise<void>((resolve, reject) => {
    const req = httpRequest({ port, host: '127.0.0.1', method: 'PUT', path: `${path}?a%20b=%C3%BC`, headers: bytes })
    req.on('response', res => res.resume().on('end', resolve))
    req.on('error', reject).end()
  })
  server.close()
  t.match(answers, [{ kind: 'signed', version: 'v4' }])
})

// --- Targets

t.test('bucket and key', t => {
  const bases = ['localhost', 'obs.localhost:9000', '127.0.0.1']
  const target = (host: string | undefined, path: string) => parseTarget(host, path, bases)
  const path = (bucket?: string, key?: string) => ({ bucket, key, style: 'path' })
  const virtual = (bucket: string, key?: string) => ({ bucket, key, style: 'virtual' })
  const rows: readonly (readonly [host: string | undefined, path: string, object])[] = [
    ['localhost', '/', path()],
    [undefined, '/', path()],
    ['localhost:9000', '/bucket', path('bucket')],
    ['localhost', '/bucket/', path('bucket')],
    ['localhost', '/bucket/key', path('bucket', 'key')],
    ['localhost', '/bucket//a/../b/./', path('bucket', '/a/../b/./')],
    ['localhost', '/bucket/a%2Fb%00%20+', path('bucket', 'a/b\0 +')],
    ['localhost', '/bucket/%252F', path('bucket', '%2F')],
    ['localhost', '/bucket/%F0%9D%84%9E', path('bucket', '𝄞')],
    ['localhost', '/bucket/%EF%BB%BFa', path('bucket', '\ufeffa')],
    ['localhost', '/%62ucket/key', path('bucket', 'key')],
    ['127.0.0.1:9000', '/bucket/key', path('bucket', 'key')],
    ['[::1]:9000', '/bucket/key', path('bucket', 'key')],
    ['elsewhere.example', '/bucket/key', path('bucket', 'key')],
    ['notlocalhost', '/bucket/key', path('bucket', 'key')],
    ['bucket.localhost:9000', '/', virtual('bucket')],
    ['Bucket.LocalHost.', '/key', virtual('bucket', 'key')],
    ['my.bucket.obs.localhost', '//key', virtual('my.bucket', '/key')],
    ['obs.localhost', '/bucket', path('bucket')],
  ]
  for (const [host, url, expected] of rows) t.same(target(host, url), expected, `${host ?? 'no host'} ${url}`)
  const refused: readonly (readonly [host: string, path: string, code: ErrorCode])[] = [
    ['localhost', '*', 'InvalidURI'],
    ['localhost', '/bucket/%', 'InvalidURI'],
    ['localhost', '/bucket/%zz', 'InvalidURI'],
    ['localhost', '/bucket/%ff', 'InvalidURI'],
    ['localhost', '/bucket/%ED%A0%80', 'InvalidURI'],
    ['localhost', '/bucket/ü', 'InvalidURI'],
    ['localhost', '//key', 'InvalidBucketName'],
    ['localhost', '/bucket%2Fkey', 'InvalidBucketName'],
    ['localhost', '/Bucket/key', 'InvalidBucketName'],
    ['under_score.localhost', '/key', 'InvalidBucketName'],
  ]
  for (const [host, url, code] of refused) isRefused(t, code, () => target(host, url), `${host} ${url}`)
  t.equal(target('localhost', `/bucket/${'%C3%BC'.repeat(512)}`).key?.length, 512, '1,024 bytes')
  const tooLong = isRefused(
    t,
    'KeyTooLongError',
    () => target('localhost', `/bucket/${'%C3%BC'.repeat(512)}a`),
    '1,025 bytes',
  )
  t.same(tooLong.details, { Size: '1025', MaxSizeAllowed: '1024' })
  for (const name of ['abc', 'a-b', 'a.b', '1.2.3', 'a'.repeat(63), 'xn--a']) t.ok(isBucketName(name), name)
  for (const name of [
    '',
    'ab',
    'a'.repeat(64),
    'Abc',
    'a_b',
    '-ab',
    'ab-',
    'a..b',
    '.ab',
    'ab.',
    'a-.b',
    'a.-b',
    '1.2.3.4',
    'a b',
  ]) {
    t.notOk(isBucketName(name), name)
  }
  fc.assert(
    fc.property(keys, key => {
      const url = `/bucket/${key.split('/').map(escape).join('/')}`
      return key === '' || Buffer.byteLength(key) > 1024 || target('localhost', url).key === key
    }),
  )
  t.same(splitUrl('/a?b?c'), { path: '/a', query: 'b?c' })
  t.same(splitUrl('/a'), { path: '/a', query: '' })
  t.end()
})
