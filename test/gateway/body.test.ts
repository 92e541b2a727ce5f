// Bodies: aws-chunked coding in all of its variants, declared checksums, and that whatever is wrong with a body reaches the sink as an error,
// never as a clean end.
import t from 'tap'
import { Crc32c } from '@aws-crypto/crc32c'
import { Crc64Nvme as PackagedCrc64 } from '@aws-sdk/crc64-nvme'
import { PutObjectCommand, S3Client, type ChecksumAlgorithm as SdkAlgorithm } from '@aws-sdk/client-s3'
import * as fc from 'fast-check'
import { createHash, createHmac, createSecretKey, randomBytes } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { base64, u32 } from '../../lib/bytes.ts'
import { SseError, type ErrorCode } from '../../lib/errors.ts'
import type { BodyAuthentication } from '../../lib/gateway/auth/credential.ts'
import { type ChunkedAuthentication, decodeChunked } from '../../lib/gateway/body/aws-chunked.ts'
import {
  checksumAlgorithms,
  checksumHeader,
  parseChecksumAlgorithm,
  verifyChecksums,
} from '../../lib/gateway/body/checksums.ts'
import { crc32c, Crc64Nvme } from '../../lib/gateway/body/crc.ts'
import { createDigest, type DigestAlgorithm } from '../../lib/gateway/body/checksums.ts'
import { openBody } from '../../lib/gateway/body/body.ts'
import { splitUrl } from '../../lib/gateway/http/target.ts'
import { authenticate } from '../../lib/gateway/auth/authenticate.ts'

type Fields = Readonly<Record<string, string>>
type Bytes = Uint8Array | string

interface Outcome {
  readonly code: ErrorCode | undefined
  readonly error: SseError | undefined
  readonly received: string
  readonly ended: boolean
  readonly digests: ReadonlyMap<DigestAlgorithm, Uint8Array>
}

/** Sends pieces through the stages of a body into a sink that notes what it gets, and whether it saw an end. */
const send = async (
  body: BodyAuthentication,
  headers: Fields,
  pieces: readonly Bytes[],
  always: readonly DigestAlgorithm[] = [],
): Promise<Outcome> => {
  const got: Buffer[] = []
  let ended = false
  const sink = new Writable({
    write: (bytes: Buffer, _encoding, done) => {
      got.push(Buffer.from(bytes))
      done()
    },
    final: done => {
      ended = true
      done()
    },
  })
  let error: SseError | undefined
  let digests: Outcome['digests'] = new Map()
  try {
    const opened = openBody(body, new Map(Object.entries(headers)), { always })
    digests = opened.digests()
    await pipeline([
      Readable.from(
        pieces.map(piece => Buffer.from(piece)),
        { objectMode: false },
      ),
      ...opened.stages,
      sink,
    ])
  } catch (thrown) {
    if (!(thrown instanceof SseError)) throw thrown
    error = thrown
  }
  return { code: error?.code, error, received: Buffer.concat(got).toString('latin1'), ended, digests }
}

const split = (bytes: Uint8Array, ...at: readonly number[]): readonly Uint8Array[] => {
  const cuts = [0, ...[...at].sort((a, b) => a - b), bytes.length]
  return cuts.slice(1).map((end, i) => bytes.subarray(cuts[i], end))
}
const byteByByte = (bytes: Uint8Array): readonly Uint8Array[] => Array.from(bytes, byte => Uint8Array.of(byte))

// --- Signing of chunks, written from the documentation

const secret = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
const hmac = (key: string | Uint8Array, text: string): Buffer => createHmac('sha256', key).update(text).digest()
const key = hmac(hmac(hmac(hmac(`AWS4${secret}`, '20130524'), 'us-east-1'), 's3'), 'aws4_request')
const scope = '20130524/us-east-1/s3/aws4_request'
const timestamp = '20130524T000000Z'
const sha256 = (bytes: Bytes): string => createHash('sha256').update(bytes).digest('hex')
const seed = '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9'

const chain = (first: string) => {
  let before = first
  const next = (algorithm: string, hashes: string): string => {
    before = hmac(key, [algorithm, timestamp, scope, before, hashes].join('\n')).toString('hex')
    return before
  }
  return {
    chunk: (data: Bytes) => next('AWS4-HMAC-SHA256-PAYLOAD', `${sha256('')}\n${sha256(data)}`),
    trailer: (text: string) => next('AWS4-HMAC-SHA256-TRAILER', sha256(text)),
  }
}
const signedBody = (trailer = false, from = seed): ChunkedAuthentication => ({
  kind: 'chunked-signed',
  trailer,
  seed: from,
  signingKey: createSecretKey(key),
  scope,
  timestamp,
})
const unsignedBody = { kind: 'chunked-unsigned-trailer' } as const

/** A signed body; `trailer` as `name:value`. */
const encodeSigned = (chunks: readonly Bytes[], trailer?: string): Buffer => {
  const signatures = chain(seed)
  const parts = [...chunks, ''].map(data => {
    const bytes = Buffer.from(data)
    const line = `${bytes.length.toString(16)};chunk-signature=${signatures.chunk(bytes)}\r\n`
    return Buffer.concat([Buffer.from(line), bytes, Buffer.from(bytes.length === 0 ? '' : '\r\n')])
  })
  const tail =
    trailer === undefined ? '' : `${trailer}\r\nx-amz-trailer-signature:${signatures.trailer(`${trailer}\n`)}\r\n`
  return Buffer.concat([...parts, Buffer.from(`${tail}\r\n`)])
}
const encodeUnsigned = (chunks: readonly Bytes[], trailer?: string): Buffer =>
  Buffer.concat([
    ...chunks.flatMap(data => [
      Buffer.from(`${Buffer.from(data).length.toString(16)}\r\n`),
      Buffer.from(data),
      Buffer.from('\r\n'),
    ]),
    Buffer.from(`0\r\n${trailer === undefined ? '' : `${trailer}\r\n`}\r\n`),
  ])
const lengthOf = (bytes: string | number): Fields => ({
  'x-amz-decoded-content-length': String(typeof bytes === 'number' ? bytes : bytes.length),
})

t.test('the examples of "transferring payload in multiple chunks"', async t => {
  const [a, b] = [Buffer.alloc(65_536, 'a'), Buffer.alloc(1024, 'a')]
  const body = (signatures: readonly string[], tail: string): Buffer =>
    Buffer.concat([
      Buffer.from(`10000;chunk-signature=${signatures[0] ?? ''}\r\n`),
      a,
      Buffer.from(`\r\n400;chunk-signature=${signatures[1] ?? ''}\r\n`),
      b,
      Buffer.from(`\r\n0;chunk-signature=${signatures[2] ?? ''}\r\n${tail}\r\n`),
    ])
  const plain = body(
    [
      'ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648',
      '0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497',
      'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9',
    ],
    '',
  )
  t.equal(plain.length, 66_824, 'the Content-Length of the example')
  t.ok(plain.equals(encodeSigned([a, b])), 'and what our own signing makes')
  const trailing = body(
    [
      'b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2',
      '1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7',
      '2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992',
    ],
    'x-amz-checksum-crc32c:sOO8/Q==\r\n' +
      'x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n',
  )
  t.equal(trailing.length, 66_946, 'the Content-Length of the example')
  const trailerSeed = '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e'
  const announced = { 'x-amz-trailer': 'x-amz-checksum-crc32c' }
  const rows = [
    ['plain', signedBody(), plain, {}],
    ['trailing headers', signedBody(true, trailerSeed), trailing, announced],
  ] as const
  for (const [name, authentication, bytes, more] of rows) {
    const random = Array.from({ length: 40 }, () => Math.floor(Math.random() * bytes.length))
    for (const pieces of [[bytes], split(bytes, ...random), ...(name === 'plain' ? [] : [byteByByte(bytes)])]) {
      const { code, received, ended, digests } = await send(authentication, { ...lengthOf(66_560), ...more }, pieces)
      t.match({ code, ended, size: received.length }, { code: undefined, ended: true, size: 66_560 }, name)
      t.ok(/^a+$/.test(received))
      t.equal(base64(digests.get('crc32c') ?? new Uint8Array()), name === 'plain' ? '' : 'sOO8/Q==')
    }
    const wrong = await send(signedBody(false, trailerSeed.replace('1', '2')), lengthOf(66_560), [plain])
    t.same([wrong.code, wrong.received, wrong.ended], ['SignatureDoesNotMatch', '', false], 'another seed')
  }
})

t.test('random bodies, however they are cut', async t => {
  const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 6 })
  const cuts = fc.array(fc.nat(), { maxLength: 20 })
  const kinds = fc.constantFrom('signed', 'signed trailer', 'unsigned', 'unsigned trailer')
  await fc.assert(
    fc.asyncProperty(kinds, chunks, cuts, fc.constantFrom(...checksumAlgorithms), async (kind, data, at, algorithm) => {
      const whole = Buffer.concat(data)
      const digest = createDigest(algorithm)
      digest.update(whole)
      const value = base64(await digest.finish())
      const trailing = kind.endsWith('trailer')
      const trailer = trailing ? `${checksumHeader(algorithm)}:${value}` : undefined
      const bytes = kind.startsWith('signed') ? encodeSigned(data, trailer) : encodeUnsigned(data, trailer)
      const authentication = kind.startsWith('signed') ? signedBody(trailing) : unsignedBody
      const headers = { ...lengthOf(whole.length), ...(trailing ? { 'x-amz-trailer': checksumHeader(algorithm) } : {}) }
      const pieces = split(bytes, ...at.map(each => each % (bytes.length + 1)))
      const { code, received, ended, digests } = await send(authentication, headers, pieces, ['md5'])
      const md5 = createHash('md5').update(whole).digest()
      const same = received === whole.toString('latin1') && md5.equals(digests.get('md5') ?? new Uint8Array())
      return code === undefined && ended && same && digests.has(algorithm) === trailing
    }),
    { numRuns: 100 },
  )
  t.pass('decoded')
})

t.test('every byte of a signed body that is changed is noticed', async t => {
  const bytes = encodeSigned(['hello', 'world'], 'x-amz-checksum-crc32:+esgrQ==')
  const headers = { ...lengthOf(10), 'x-amz-trailer': 'x-amz-checksum-crc32' }
  t.equal((await send(signedBody(true), headers, [bytes])).received, 'helloworld')
  for (let i = 0; i < bytes.length; i++) {
    const changed = Buffer.from(bytes)
    changed.writeUInt8(changed.readUInt8(i) ^ 1, i)
    const { code, ended, received } = await send(signedBody(true), headers, [changed])
    if (code === undefined || ended || !'helloworld'.startsWith(received)) t.fail(`byte ${i}`)
    if (i % 3 > 0) continue
    const short = await send(signedBody(true), headers, [bytes.subarray(0, i)])
    if (short.code !== 'IncompleteBody' || short.ended) t.fail(`cut after ${i}`)
  }
  t.pass('noticed')
})

t.test('malformed chunks', async t => {
  const good = encodeSigned(['hello', 'world']).toString()
  const [first = '', second = ''] = good.match(/^.*?\r\n.*?\r\n/gs) ?? []
  t.ok(first.endsWith('hello\r\n') && second === '')
  const wrongHex = '0'.repeat(64)
  const crc = 'x-amz-checksum-crc32'
  const announced: Fields = { 'x-amz-trailer': crc }
  const value = '+esgrQ=='
  const tail = (text: string): string => `a\r\nhelloworld\r\n0\r\n${text}`
  const signedTail = encodeSigned(['hello', 'world'], `${crc}:${value}`).toString()
  const rows: readonly (readonly [string, BodyAuthentication, string, ErrorCode | undefined, Fields?])[] = [
    ['good, signed', signedBody(), good, undefined],
    ['good, unsigned', unsignedBody, tail('\r\n'), undefined],
    ['upper-case sizes', unsignedBody, tail('\r\n').toUpperCase().replace('HELLOWORLD', 'helloworld'), undefined],
    ['leading zeros', unsignedBody, `000${tail('\r\n')}`, undefined],
    [
      'a trailer with spaces, in capitals',
      unsignedBody,
      tail(`X-Amz-Checksum-CRC32 : ${value} \r\n\r\n`),
      undefined,
      announced,
    ],
    [
      'a trailer that ends as minio-go has it',
      signedBody(true),
      signedTail.replace(`${value}\r\n`, `${value}\n\r\n`),
      undefined,
      announced,
    ],
    [
      'a blank line before a signed trailer',
      signedBody(true),
      signedTail.replace(crc, `\r\n${crc}`),
      undefined,
      announced,
    ],
    ['nothing', signedBody(), '', 'IncompleteBody'],
    ['an empty size', unsignedBody, '\r\n', 'IncompleteBody'],
    ['a size that is not hex', unsignedBody, 'g\r\n', 'IncompleteBody'],
    ['a negative size', unsignedBody, '-1\r\n', 'IncompleteBody'],
    ['a size beyond all numbers', unsignedBody, `${'f'.repeat(17)}\r\n`, 'IncompleteBody'],
    ['a size that overflows', unsignedBody, `${'f'.repeat(16)}\r\n`, 'IncompleteBody'],
    ['a size line without CR', unsignedBody, 'a\nhelloworld\r\n0\r\n\r\n', 'IncompleteBody'],
    ['an endless size line', unsignedBody, '0'.repeat(5000), 'IncompleteBody'],
    ['a signature where none is agreed', unsignedBody, good, 'IncompleteBody'],
    ['no signature where one is agreed', signedBody(), tail('\r\n'), 'IncompleteBody'],
    ['a short signature', signedBody(), good.replace(/(chunk-signature=.{63})./, '$1'), 'IncompleteBody'],
    ['an extension more', signedBody(), good.replace('\r\n', ';a=b\r\n'), 'IncompleteBody'],
    ['data longer than its size', unsignedBody, '4\r\nhello\r\n', 'IncompleteBody'],
    ['data shorter than its size', unsignedBody, '6\r\nhello\r\n4\r\nworld\r\n0\r\n\r\n', 'IncompleteBody'],
    ['more than declared', unsignedBody, `b\r\nhelloworld!\r\n0\r\n\r\n`, 'IncompleteBody'],
    ['less than declared', unsignedBody, `5\r\nhello\r\n0\r\n\r\n`, 'IncompleteBody'],
    ['less than declared, signed', signedBody(), encodeSigned(['hello']).toString(), 'IncompleteBody'],
    ['no last chunk', unsignedBody, 'a\r\nhelloworld\r\n', 'IncompleteBody'],
    ['no last line', unsignedBody, 'a\r\nhelloworld\r\n0\r\n', 'IncompleteBody'],
    ['bytes after the end', unsignedBody, tail('\r\n\r\n'), 'IncompleteBody'],
    ['bytes after the end, signed', signedBody(), `${good}x`, 'IncompleteBody'],
    ['a wrong signature', signedBody(), good.replace(/=.{64}/, `=${wrongHex}`), 'SignatureDoesNotMatch'],
    [
      'a wrong signature of the last chunk',
      signedBody(),
      good.replace(/0;(.*)=.{64}/, `0;$1=${wrongHex}`),
      'SignatureDoesNotMatch',
    ],
    ['a chunk left out', signedBody(), good.replace(first, ''), 'SignatureDoesNotMatch'],
    ['a chunk sent again', signedBody(), first + good, 'SignatureDoesNotMatch'],
    [
      'chunks of an unsigned size',
      signedBody(),
      `a;chunk-signature=${wrongHex}\r\nhelloworld\r\n`,
      'SignatureDoesNotMatch',
    ],
    ['a trailer that was not announced', unsignedBody, tail(`${crc}:${value}\r\n\r\n`), 'MalformedTrailerError'],
    ['another trailer', unsignedBody, tail(`x-amz-checksum-sha1:${value}\r\n\r\n`), 'MalformedTrailerError', announced],
    ['no trailer', unsignedBody, tail('\r\n'), 'MalformedTrailerError', announced],
    ['a trailer without a colon', unsignedBody, tail(`${crc}\r\n\r\n`), 'MalformedTrailerError', announced],
    ['a trailer without a value', unsignedBody, tail(`${crc}:\r\n\r\n`), 'MalformedTrailerError', announced],
    [
      'a trailer twice',
      unsignedBody,
      tail(`${crc}:${value}\r\n${crc}:${value}\r\n\r\n`),
      'MalformedTrailerError',
      announced,
    ],
    ['an endless trailer', unsignedBody, tail(`${crc}:${'a'.repeat(2000)}`), 'IncompleteBody', announced],
    [
      'a trailer under plain chunks',
      signedBody(),
      good.replace(/\r\n$/, `${crc}:${value}\r\n\r\n`),
      'MalformedTrailerError',
    ],
    [
      'a signature of unsigned trailers',
      unsignedBody,
      tail(`x-amz-trailer-signature:${wrongHex}\r\n\r\n`),
      'MalformedTrailerError',
    ],
    [
      'a wrong signature of trailers',
      signedBody(true),
      signedTail.replace(/(trailer-signature:)./, '$1x'),
      'SignatureDoesNotMatch',
      announced,
    ],
    [
      'no value under a signature',
      signedBody(true),
      signedTail.replace(/(trailer-signature).*/, '$1'),
      'SignatureDoesNotMatch',
      announced,
    ],
    [
      'another value under a signature',
      signedBody(true),
      signedTail.replace(value, 'AAAAAA=='),
      'SignatureDoesNotMatch',
      announced,
    ],
    [
      'trailers without their signature',
      signedBody(true),
      signedTail.replace(/x-amz-trailer-signature.*\r\n/, ''),
      'IncompleteBody',
      announced,
    ],
    [
      'only the signature of trailers',
      signedBody(true),
      signedTail.replace(`${crc}:${value}\r\n`, ''),
      'SignatureDoesNotMatch',
      announced,
    ],
    [
      'a trailer after its signature',
      signedBody(true),
      signedTail.replace(/\r\n$/, `${crc}:${value}\r\n\r\n`),
      'MalformedTrailerError',
      announced,
    ],
    ['a malformed value', unsignedBody, tail(`${crc}:abc\r\n\r\n`), 'InvalidRequest', announced],
    ['a wrong value', unsignedBody, tail(`${crc}:AAAAAA==\r\n\r\n`), 'BadDigest', announced],
  ]
  for (const [what, body, text, code, more] of rows) {
    for (const pieces of [[text], byteByByte(Buffer.from(text))]) {
      const outcome = await send(body, { ...lengthOf(10), ...more }, pieces)
      t.equal(outcome.code, code, what)
      t.equal(outcome.ended, code === undefined, what)
      if (code === undefined) t.equal(outcome.received, 'helloworld', what)
    }
  }
  const late = await send(signedBody(), lengthOf(10), byteByByte(Buffer.from(good.replace('world', 'World'))))
  t.same([late.code, late.ended], ['SignatureDoesNotMatch', false], 'what passed of it has no end')
  t.notMatch(JSON.stringify(late.error?.details), /expected/i)
})

t.test('an empty signed trailer list', async t => {
  const signatures = chain(seed)
  const text = `0;chunk-signature=${signatures.chunk('')}\r\nx-amz-trailer-signature:${signatures.trailer('')}\r\n\r\n`
  t.same((await send(signedBody(true), lengthOf(0), [text])).code, undefined)
})

t.test('chunks of any size, signed or not, are held in no memory', async t => {
  const size = 32 * 1024 * 1024
  const zeros = Buffer.alloc(64 * 1024)
  for (const [body, lines] of [
    [unsignedBody, [`${size.toString(16)}\r\n`, '\r\n0\r\n\r\n']],
    [
      signedBody(),
      [
        `${size.toString(16)};chunk-signature=${chain(seed).chunk(Buffer.alloc(size))}\r\n`,
        `\r\n0;chunk-signature=${'0'.repeat(64)}\r\n\r\n`,
      ],
    ],
  ] as const) {
    const { stage } = decodeChunked(body, { length: size })
    let held = 0
    let came = 0
    let passed = 0
    const source = async function* () {
      for (const bytes of [
        Buffer.from(lines[0]),
        ...Array.from({ length: size / zeros.length }, () => zeros),
        lines[1],
      ]) {
        came += bytes.length
        yield Buffer.from(bytes)
      }
    }
    const read = async (): Promise<void> => {
      for await (const bytes of stage(source())) {
        passed += bytes.length
        held = Math.max(held, came - passed)
      }
    }
    if (body === unsignedBody) await read()
    else
      await t.rejects(
        read(),
        { code: 'SignatureDoesNotMatch' },
        'the signature of the large chunk held, that of the end does not',
      )
    t.equal(passed, size)
    t.ok(held < 1024 * 1024, `streams, at most ${held} bytes inside`)
  }
})

t.test('digests', async t => {
  const known = {
    crc32: 'y/Q5Jg==',
    crc32c: '4waSgw==',
    crc64nvme: 'rosUhgp5mIg=',
    sha1: '98O8HYCOBHMq32eZZczDTKeuNEE=',
    sha256: 'FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=',
  } as const
  for (const algorithm of checksumAlgorithms) {
    const header = checksumHeader(algorithm)
    const value = known[algorithm]
    const run = (sent: string, more: Fields = {}) =>
      send({ kind: 'unsigned' }, { [header]: sent, ...more }, ['1234', '56789'])
    const good = await run(value, { 'x-amz-sdk-checksum-algorithm': algorithm.toUpperCase() })
    t.same([good.code, good.ended, base64(good.digests.get(algorithm) ?? new Uint8Array())], [undefined, true, value])
    t.equal(good.digests.size, 1, 'and nothing else is computed')
    const bad = await run(`z${value.slice(1)}`)
    t.same([bad.code, bad.ended], ['BadDigest', false])
    t.match(bad.error?.message, `The ${algorithm.toUpperCase()} you specified did not match the calculated checksum.`)
    // The last digit has bits that no byte uses; S3 refuses a value that has them.
    const spare = value
      .replace(/.(=+)$/, (_, end: string) => `${end === '=' ? 'h' : 'Z'}${end}`)
      .replace('IZ==', 'Ih==')
    for (const malformed of ['short===', 'shrt', 'toolong=', '^^^^^^==', 'y^/^Q5^J^g==', '', spare]) {
      const outcome = await run(malformed)
      t.equal(outcome.code, 'InvalidRequest', malformed)
      t.match(outcome.error?.message, `Value for ${header} header is invalid.`)
    }
    t.equal(parseChecksumAlgorithm(algorithm.toUpperCase()), algorithm)
  }
  t.equal(parseChecksumAlgorithm('md5'), undefined)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.uint8Array({ maxLength: 40 }), (a, b) => {
      const whole = Buffer.concat([a, b])
      const expected = new Crc32c().update(whole).digest()
      return crc32c(b, crc32c(a)) === expected && crc32c(whole.subarray(0)) === expected
    }),
  )
  const unaligned = randomBytes(4099).subarray(3)
  t.same(u32(crc32c(unaligned)), u32(new Crc32c().update(unaligned).digest()))
})

t.test('CRC-64/NVME: check values, and that of the package of the AWS SDK', async t => {
  const crc = (...pieces: readonly Uint8Array[]): string => {
    const running = new Crc64Nvme()
    for (const piece of pieces) running.update(piece)
    return Buffer.from(running.digest()).toString('hex')
  }
  // The test cases of the NVM Command Set Specification.
  t.equal(crc(Buffer.alloc(4096)), '6482d367eb22b64e')
  t.equal(crc(Buffer.alloc(4096, 255)), 'c0ddba7302eca3ac')
  t.equal(crc(Uint8Array.from({ length: 4096 }, (_, i) => i & 255)), '3e729f5f6750449c')
  t.equal(crc(Uint8Array.from({ length: 4096 }, (_, i) => ~i & 255)), '9a2df64b8e9e517e')
  t.equal(crc(Buffer.from('123456789')), 'ae8b14860a799888')
  t.equal(crc(), '0000000000000000')
  const packaged = async (bytes: Uint8Array): Promise<string> => {
    const running = new PackagedCrc64()
    running.update(bytes)
    return Buffer.from(await running.digest()).toString('hex')
  }
  const pieces = fc.array(fc.uint8Array({ maxLength: 70 }), { maxLength: 5 })
  await fc.assert(fc.asyncProperty(pieces, async pieces => crc(...pieces) === (await packaged(Buffer.concat(pieces)))))
  for (const size of [15, 16, 17, 4096, 65_539]) {
    const unaligned = randomBytes(size + 3).subarray(3)
    t.equal(crc(unaligned), await packaged(unaligned), `${size} bytes, unaligned`)
  }
})

t.test('what a request declares', async t => {
  const md5 = createHash('md5').update('hello').digest('base64')
  const hash: BodyAuthentication = { kind: 'signed-hash', sha256: createHash('sha256').update('hello').digest() }
  const open: BodyAuthentication = { kind: 'unsigned' }
  const crc = { 'x-amz-checksum-crc32': 'NhCmhg==' }
  const rows: readonly (readonly [string, BodyAuthentication, Fields, string, ErrorCode | undefined])[] = [
    ['nothing', open, {}, 'hello', undefined],
    ['Content-MD5', open, { 'content-md5': md5 }, 'hello', undefined],
    ['Content-MD5 of another body', open, { 'content-md5': md5 }, 'hullo', 'BadDigest'],
    [
      'Content-MD5 in hex',
      open,
      { 'content-md5': Buffer.from(md5, 'base64').toString('hex') },
      'hello',
      'InvalidDigest',
    ],
    ['Content-MD5 without padding', open, { 'content-md5': md5.replace('==', '') }, 'hello', 'InvalidDigest'],
    ['an empty Content-MD5', open, { 'content-md5': '' }, 'hello', 'InvalidDigest'],
    ['a signed hash', hash, {}, 'hello', undefined],
    ['a signed hash of another body', hash, {}, 'hell', 'XAmzContentSHA256Mismatch'],
    ['all of them', hash, { 'content-md5': md5, ...crc, 'x-amz-sdk-checksum-algorithm': 'CRC32' }, 'hello', undefined],
    [
      'two checksums',
      open,
      { ...crc, 'x-amz-checksum-sha1': 'qvTGHdzF6KLavt4PO0gs2a6pQ00=' },
      'hello',
      'InvalidRequest',
    ],
    ['an unknown checksum', open, { 'x-amz-checksum-md4': 'AAAA' }, 'hello', 'InvalidRequest'],
    [
      'names that are no checksums',
      open,
      { 'x-amz-checksum-mode': 'ENABLED', 'x-amz-checksum-type': 'COMPOSITE', 'x-amz-checksum-algorithm': 'CRC32' },
      'hello',
      undefined,
    ],
    ['a name without its checksum', open, { 'x-amz-sdk-checksum-algorithm': 'CRC32' }, 'hello', 'InvalidRequest'],
    [
      'the name of another checksum',
      open,
      { ...crc, 'x-amz-sdk-checksum-algorithm': 'SHA1' },
      'hello',
      'InvalidRequest',
    ],
    ['a trailer that cannot come', open, { 'x-amz-trailer': 'x-amz-checksum-crc32' }, 'hello', 'InvalidRequest'],
    ['an empty list of trailers', open, { 'x-amz-trailer': ' ' }, 'hello', undefined],
    ['an unknown trailer', unsignedBody, { 'x-amz-trailer': 'x-amz-meta-a' }, 'hello', 'InvalidRequest'],
    [
      'two trailers',
      unsignedBody,
      { 'x-amz-trailer': 'x-amz-checksum-crc32,x-amz-checksum-sha1' },
      'hello',
      'InvalidRequest',
    ],
    ['a checksum twice', unsignedBody, { ...crc, 'x-amz-trailer': 'x-amz-checksum-crc32' }, 'hello', 'InvalidRequest'],
    [
      'a trailer under plain signed chunks',
      signedBody(),
      { ...lengthOf(5), 'x-amz-trailer': 'x-amz-checksum-crc32' },
      '',
      'InvalidRequest',
    ],
    ['no decoded length', unsignedBody, {}, '', 'MissingContentLength'],
    [
      'a decoded length that is no number',
      unsignedBody,
      { 'x-amz-decoded-content-length': '-1' },
      '',
      'InvalidArgument',
    ],
    [
      'a decoded length beyond all numbers',
      unsignedBody,
      { 'x-amz-decoded-content-length': '9'.repeat(30) },
      '',
      'InvalidArgument',
    ],
    [
      'a checksum in a header over chunks',
      unsignedBody,
      { ...crc, ...lengthOf(5) },
      '5\r\nhello\r\n0\r\n\r\n',
      undefined,
    ],
    [
      'a wrong checksum in a header over chunks',
      unsignedBody,
      { ...crc, ...lengthOf(5) },
      '5\r\nhullo\r\n0\r\n\r\n',
      'BadDigest',
    ],
  ]
  for (const [what, body, headers, text, code] of rows) {
    const outcome = await send(body, headers, [text])
    t.equal(outcome.code, code, what)
    t.equal(outcome.ended, code === undefined, what)
    if (code === undefined) t.equal(outcome.received, 'hello', what)
  }
  const mismatch = await send(hash, {}, ['x'])
  t.same(mismatch.error?.details, { ClientComputedContentSHA256: sha256('hello') })
  const digest = await send(open, { 'content-md5': md5 }, ['x'])
  t.same(digest.error?.details, { ExpectedDigest: md5 })
  const lengths = (body: BodyAuthentication, headers: Fields) => {
    const { length, checksum, stages } = openBody(body, new Map(Object.entries(headers)))
    return [length, checksum, stages.length]
  }
  t.same(lengths(open, { 'content-length': '5', ...crc }), [5, 'crc32', 1])
  t.same(lengths(open, {}), [undefined, undefined, 1])
  t.same(lengths(unsignedBody, { 'content-length': '99', ...lengthOf(5), 'x-amz-trailer': 'X-Amz-Checksum-SHA256' }), [
    5,
    'sha256',
    2,
  ])
  const { stage } = verifyChecksums({ declared: { checksum: { algorithm: 'crc32', value: undefined } } })
  await t.rejects(pipeline(Readable.from([]), stage, new Writable()), { code: 'InvalidRequest' }, 'no trailer to ask')
  const all = await send(open, {}, ['123456789'], ['md5', 'crc64nvme'])
  t.same([...all.digests.keys()], ['md5', 'crc64nvme'])
  t.equal(base64(all.digests.get('crc64nvme') ?? new Uint8Array()), 'rosUhgp5mIg=')
})

// --- A real client

const portOf = (server: Server): number => {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return address.port
}

const sdkName = (algorithm: string): SdkAlgorithm => {
  const name = algorithm.toUpperCase()
  if (name === 'CRC32' || name === 'CRC32C' || name === 'CRC64NVME' || name === 'SHA1' || name === 'SHA256') return name
  throw new Error(algorithm)
}

t.test('@aws-sdk/client-s3', async t => {
  const received: { readonly kind: string; readonly text: string; readonly digests: readonly string[] }[] = []
  const server = createServer((req, res) => {
    const run = async (): Promise<void> => {
      const { method = '', url = '', rawHeaders } = req
      const user = { secretAccessKey: secret }
      const answer = authenticate({ method, ...splitUrl(url), rawHeaders }, { lookup: () => user, region: 'sichuan' })
      const { stages, digests, length } = openBody(answer.body, answer.headers, { always: ['md5'] })
      const got: Buffer[] = []
      await pipeline([
        req,
        ...stages,
        new Writable({
          write: (bytes: Buffer, _encoding, done) => {
            got.push(bytes)
            done()
          },
        }),
      ])
      const bytes = Buffer.concat(got)
      if (bytes.length !== length) throw new Error('another length')
      received.push({ kind: answer.body.kind, text: bytes.toString(), digests: [...digests().keys()] })
    }
    run().then(
      () => res.end(),
      (error: unknown) => {
        const code = error instanceof SseError ? error.code : String(error)
        res.writeHead(400).end(`<Error><Code>${code}</Code><Message>m</Message></Error>`)
      },
    )
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const port = portOf(server)
  const client = new S3Client({
    endpoint: `http://127.0.0.1:${port}`,
    region: 'sichuan',
    forcePathStyle: true,
    credentials: { accessKeyId: 'AK', secretAccessKey: secret },
    maxAttempts: 1,
  })
  const put = (Body: string | Readable, more: { ChecksumAlgorithm?: SdkAlgorithm; ChecksumCRC32?: string } = {}) =>
    client.send(
      new PutObjectCommand({
        Bucket: 'bucket',
        Key: 'a b/ü',
        Body,
        ServerSideEncryption: 'aws:kms',
        Metadata: { a: ' b  c ' },
        ...more,
      }),
    )
  const stream = (text: string): Readable => Readable.from([Buffer.from(text)], { objectMode: false })
  for (const algorithm of checksumAlgorithms) {
    await put('hello', { ChecksumAlgorithm: sdkName(algorithm) })
    t.match(received.at(-1), { text: 'hello', digests: ['md5', algorithm] })
    await client.send(
      new PutObjectCommand({
        Bucket: 'bucket',
        Key: 'key',
        Body: stream('hello'),
        ContentLength: 5,
        ChecksumAlgorithm: sdkName(algorithm),
      }),
    )
    t.match(received.at(-1), { kind: 'chunked-unsigned-trailer', text: 'hello', digests: ['md5', algorithm] })
  }
  await t.rejects(put('hello', { ChecksumCRC32: 'AAAAAA==' }), { name: 'BadDigest' })
  client.destroy()
  server.close()
})
