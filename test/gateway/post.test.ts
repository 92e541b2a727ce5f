// POST Object: forms as browsers, Amazon's SDK and OBS's make them, in any order and any number of pieces; policies and signatures by table and
// against the documented example; hostile forms and broken connections, which must neither hang nor harm what lies there.
import t from 'tap'
import { PutBucketPolicyCommand } from '@aws-sdk/client-s3'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import fc from 'fast-check'
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { SseError } from '../../lib/errors.ts'
import { expandFilename } from '../../lib/gateway/post/form.ts'
import { BodyReader } from '../../lib/gateway/body/receive.ts'
import { defaultLimits } from '../../lib/gateway/limits.ts'
import { type FormFields, maxFields, readForm, type UploadForm } from '../../lib/gateway/post/form.ts'
import type { GatewayUser } from '../../lib/gateway/options.ts'
import { checkPostPolicy, parsePostPolicy } from '../../lib/gateway/post/policy.ts'
import { authenticateForm } from '../../lib/gateway/post/signature.ts'
import { signingKeyOf, signV4 } from '../../lib/gateway/auth/v4.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, ordinary, region, type Reply, startGateway, stranger, type TestGateway } from '../support/gateway.ts'
import { filesIn } from '../support/store.ts'

// --- Forms

type Fields = readonly (readonly [name: string, value: string])[]

const boundary = '----boundary7MA4YWxk'
const multipart = `multipart/form-data; boundary=${boundary}`
const piece = (name: string, value: string | Uint8Array, more = ''): Buffer =>
  Buffer.concat([
    Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n`),
    Buffer.from(value),
    Buffer.from('\r\n'),
  ])
const close = Buffer.from(`--${boundary}--\r\n`)
const filePiece = (file: string | Uint8Array, filename: string | undefined = 'cat.jpg'): Buffer =>
  piece('file', file, filename === undefined ? '' : `; filename="${filename}"\r\nContent-Type: image/jpeg`)
const fieldPieces = (fields: Fields): Buffer => Buffer.concat(fields.map(([name, value]) => piece(name, value)))
/** A whole form. */
const formOf = (fields: Fields, file: string | Uint8Array, filename?: string): Buffer =>
  Buffer.concat([fieldPieces(fields), filePiece(file, filename), close])

const post = (gateway: TestGateway, body: string | Uint8Array, path = '/bucket', type = multipart): Promise<Reply> =>
  gateway.signedFetch(undefined, 'POST', path, { headers: { 'content-type': type }, body })

// --- Policies and signatures

const base64 = (text: string): string => Buffer.from(text).toString('base64')
const soon = (): string => new Date(Date.now() + 60_000).toISOString()
const sha1 = (who: GatewayUser, policy: string): string =>
  createHmac('sha1', who.secretAccessKey).update(policy).digest('base64')

/** A policy that asks each field to be what it is. */
const policyOf = (fields: Fields, more: readonly unknown[] = [], expiration = soon()): string =>
  base64(JSON.stringify({ expiration, conditions: [...fields.map(([name, value]) => ({ [name]: value })), ...more] }))

const inBucket = ['bucket', 'bucket'] as const
const day = '20260102'

const signers = {
  v4: (who: GatewayUser, fields: Fields, more: readonly unknown[] = []): Fields => {
    const all: Fields = [
      ...fields,
      ['x-amz-algorithm', 'AWS4-HMAC-SHA256'],
      ['x-amz-credential', `${who.accessKeyId}/${day}/${region}/s3/aws4_request`],
      ['x-amz-date', `${day}T030405Z`],
    ]
    const policy = policyOf([...all, inBucket], more)
    const signature = signV4(signingKeyOf(who.accessKeyId, who.secretAccessKey, day, region), policy)
    return [...all, ['policy', policy], ['x-amz-signature', signature]]
  },
  v2: (who: GatewayUser, fields: Fields, more: readonly unknown[] = []): Fields => {
    const policy = policyOf([...fields, inBucket], more)
    return [...fields, ['AWSAccessKeyId', who.accessKeyId], ['policy', policy], ['signature', sha1(who, policy)]]
  },
  obs: (who: GatewayUser, fields: Fields, more: readonly unknown[] = []): Fields => {
    const policy = policyOf([...fields, inBucket], more)
    return [...fields, ['AccessKeyId', who.accessKeyId], ['policy', policy], ['signature', sha1(who, policy)]]
  },
  token: (who: GatewayUser, fields: Fields, more: readonly unknown[] = []): Fields => {
    const policy = policyOf([...fields, inBucket], more)
    return [...fields, ['token', `${who.accessKeyId}:${sha1(who, policy)}:${policy}`]]
  },
} as const

const kms = ['x-amz-server-side-encryption', 'aws:kms'] as const
const kmsAnswer = {
  'x-amz-server-side-encryption': 'aws:kms',
  'x-amz-server-side-encryption-aws-kms-key-id': /^arn:aws:kms:sichuan:domain1:key\//,
}
const message = (reply: Reply): string | undefined =>
  /<Message>(.*?)<\/Message>/s.exec(reply.text)?.[1]?.replaceAll('&quot;', '"').replaceAll('&apos;', "'")

const refusalOf = async (run: () => unknown): Promise<SseError> => {
  try {
    await run()
  } catch (error) {
    if (error instanceof SseError) return error
    throw error
  }
  throw new Error('was not refused')
}

// --- The parts, alone

/** Reads a form as the gateway does. */
const readAsForm = (source: Readable, type: string): Promise<UploadForm> => {
  const { signal } = new AbortController()
  return readForm(new BodyReader(source, { signal, limits: defaultLimits }), type, { hold: () => undefined })
}

t.test('the documented example of Signature Version 4', async t => {
  const policy = base64(
    [
      '{ "expiration": "2015-12-30T12:00:00.000Z",',
      '  "conditions": [',
      '    {"bucket": "sigv4examplebucket"},',
      '    ["starts-with", "$key", "user/user1/"],',
      '    {"acl": "public-read"},',
      '    {"success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"},',
      '    ["starts-with", "$Content-Type", "image/"],',
      '    {"x-amz-meta-uuid": "14365123651274"},',
      '    {"x-amz-server-side-encryption": "AES256"},',
      '    ["starts-with", "$x-amz-meta-tag", ""],',
      '',
      '    {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"},',
      '    {"x-amz-algorithm": "AWS4-HMAC-SHA256"},',
      '    {"x-amz-date": "20151229T000000Z" }',
      '  ]',
      '}',
    ].join('\r\n'),
  )
  const fields: FormFields = new Map([
    ['bucket', 'sigv4examplebucket'],
    ['key', 'user/user1/cat.jpg'],
    ['acl', 'public-read'],
    ['success_action_redirect', 'http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html'],
    ['content-type', 'image/jpeg'],
    ['x-amz-meta-uuid', '14365123651274'],
    ['x-amz-server-side-encryption', 'AES256'],
    ['x-amz-credential', 'AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request'],
    ['x-amz-algorithm', 'AWS4-HMAC-SHA256'],
    ['x-amz-date', '20151229T000000Z'],
    ['x-amz-meta-tag', ''],
    ['policy', policy],
    ['x-amz-signature', '8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e'],
  ])
  const user = { secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' }
  const { signer, policy: signed } = authenticateForm(fields, { lookup: () => user, region: 'us-east-1' })
  t.match(signer, { kind: 'signed', version: 'v4', accessKeyId: 'AKIAIOSFODNN7EXAMPLE' })
  const expires = Date.UTC(2015, 11, 30, 12)
  t.strictSame(checkPostPolicy(parsePostPolicy(signed ?? ''), fields, expires), { min: 0, max: Infinity })
  const late = await refusalOf(() => checkPostPolicy(parsePostPolicy(policy), fields, expires + 1))
  t.equal(late.message, 'Invalid according to Policy: Policy expired.')
})

const text = fc.string({ unit: 'binary', maxLength: 20 })
const fieldName = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }).filter(name => !/["\\\r\n;]/.test(name))
const nearBoundary = fc.constantFrom(
  '\r\n',
  `\r\n--${boundary.slice(0, 9)}`,
  `--${boundary}`,
  '\r\n--',
  '-',
  `\n--${boundary}`,
)
const content = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 40 }).map(bytes => Buffer.from(bytes)),
    nearBoundary,
  ),
  {
    maxLength: 8,
  },
)
const bytesOf = (pieces: readonly (string | Uint8Array)[]): Buffer =>
  Buffer.concat(pieces.map(part => Buffer.from(part)))
/** Cuts bytes at places that numbers from 0 to 1 name. */
const cutAt = (bytes: Buffer, places: readonly number[]): Buffer[] => {
  const at = [0, ...places.map(place => Math.floor(place * bytes.length)).sort((a, b) => a - b), bytes.length]
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end))
}
const places = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 })
const joined = (fields: Fields): FormFields => {
  const map = new Map<string, string>()
  for (const [name, value] of fields) {
    const before = map.get(name.toLowerCase())
    map.set(name.toLowerCase(), before === undefined ? value : `${before},${value}`)
  }
  return map
}

t.test('forms of any content, in any pieces', async t => {
  const fieldList = fc.array(fc.tuple(fieldName, text), { maxLength: 5 })
  let runs = 0
  await fc.assert(
    fc.asyncProperty(fieldList, content, text, places, async (fields, pieces, after, cuts) => {
      const file = bytesOf(pieces)
      fc.pre(!`\r\n${file.toString('latin1')}`.includes(`\r\n--${boundary}`))
      const start = Buffer.concat([Buffer.from('a preamble\r\n'), fieldPieces(fields), filePiece(file)])
      const body = Buffer.concat([start, piece('submit', after), close, Buffer.from('an epilogue')])
      const form = await readAsForm(Readable.from(cutAt(body, cuts), { objectMode: false }), multipart)
      const expected = [...joined(fields)].map(([name, value]) => [name, value.replaceAll('${filename}', 'cat.jpg')])
      const same = JSON.stringify([...expandFilename(form)]) === JSON.stringify(expected)
      runs++
      return same && Buffer.compare(await buffer(form.file), file) === 0
    }),
    { numRuns: 200 },
  )
  t.ok(runs >= 200)
})

t.test('hostile forms are read or refused, whatever their bytes', async t => {
  const valid = formOf([['key', 'k'], ['x-amz-meta-a', 'b'], kms], 'the file')
  const words = [
    '--',
    '\r\n',
    '\r\n\r\n',
    `--${boundary}`,
    `\r\n--${boundary}--`,
    'Content-Disposition: ',
    'form-data; ',
    'name="',
    ...`";\0=\\:\n ',*`,
  ]
  const mutation = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    remove: fc.nat({ max: 30 }),
    insert: fc.oneof(fc.constantFrom(...words), fc.uint8Array({ maxLength: 8 })),
  })
  const outcomes = { read: 0, refused: 0 }
  await fc.assert(
    fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 5 }), places, async (mutations, cuts) => {
      let body = valid
      for (const { at, remove, insert } of mutations) {
        const start = Math.floor(at * body.length)
        body = bytesOf([body.subarray(0, start), insert, body.subarray(start + remove)])
      }
      const timeout = new AbortController()
      const hang = sleep(5000, undefined, { signal: timeout.signal }).then(() => Promise.reject(new Error('it hangs')))
      hang.catch(() => undefined)
      try {
        const form = readAsForm(Readable.from(cutAt(body, cuts), { objectMode: false }), multipart)
        const file = await Promise.race([form.then(({ file }) => buffer(file)), hang])
        outcomes.read++
        return body.includes(file) && body.includes(`\r\n--${boundary}--`)
      } catch (error) {
        outcomes.refused++
        if (error instanceof SseError) return error.status === 400
        throw error
      } finally {
        timeout.abort()
      }
    }),
    { numRuns: 500 },
  )
  t.ok(outcomes.read > 0 && outcomes.refused > 0, JSON.stringify(outcomes))
})

t.test('a form is refused, and its source left alone', async t => {
  const large = 'v'.repeat(600 * 1024)
  const many: Fields = Array.from({ length: 1001 }, (_, i) => [`x-ignore-${i}`, ''])
  const key = ['key', 'k'] as const
  const nameless = Buffer.from(`--${boundary}\r\nContent-Disposition: form-data\r\n\r\nv\r\n`)
  const rows: readonly (readonly [what: string, body: Uint8Array, code: string, type?: string])[] = [
    ['text', formOf([key], 'f'), 'PreconditionFailed', 'text/html'],
    ['no type', formOf([key], 'f'), 'PreconditionFailed', ''],
    ['another multipart', formOf([key], 'f'), 'PreconditionFailed', `multipart/mixed; boundary=${boundary}`],
    ['no boundary', formOf([key], 'f'), 'MalformedPOSTRequest', 'multipart/form-data'],
    ['a boundary without end', formOf([key], 'f'), 'MalformedPOSTRequest', `multipart/form-data; boundary=${large}`],
    ['another boundary', formOf([key], 'f'), 'MalformedPOSTRequest', 'multipart/form-data; boundary=other'],
    ['nothing', new Uint8Array(), 'MalformedPOSTRequest'],
    ['no file', Buffer.concat([fieldPieces([key]), close]), 'InvalidArgument'],
    ['a field without a name', Buffer.concat([nameless, filePiece('f'), close]), 'MalformedPOSTRequest'],
    ['a field that is too large', formOf([key, ['x', `${large}${large}`]], 'f'), 'MaxPostPreDataLengthExceeded'],
    [
      'fields that are too large',
      formOf(
        [
          ['x', large],
          ['y', large],
        ],
        'f',
      ),
      'MaxPostPreDataLengthExceeded',
    ],
    [
      'a file by another name',
      Buffer.concat([piece('upload', `${large}${large}`), close]),
      'MaxPostPreDataLengthExceeded',
    ],
    ['too many fields', formOf(many, 'f'), 'MaxPostPreDataLengthExceeded'],
    ['cut in the fields', fieldPieces([key]), 'MalformedPOSTRequest'],
    ['a key that is not UTF-8', formOf([key, ['x', '']], 'f').fill(0xff, 90, 91), 'MalformedPOSTRequest'],
    ['bytes behind a boundary', Buffer.from(`--${boundary}x\r\n\r\n`), 'MalformedPOSTRequest'],
    ['a part of another kind', Buffer.from(`--${boundary}\r\nContent-Type: a/b\r\n\r\nv\r\n`), 'MalformedPOSTRequest'],
    ['a boundary line without end', Buffer.from(`--${boundary}${' '.repeat(300)}`), 'MalformedPOSTRequest'],
    ...[
      'form-data; name="a"\r\nContent-Disposition: form-data; name="b"',
      'form-data; name="a"\r\n filename="folded"',
      'form-data; name="a" filename="b"',
      'form-data; name="a',
      'attachment; name="a"',
      'form-data; name=a\r\nno header',
      'form-data; name=a\r\nn me: value',
      `form-data; name="${'a'.repeat(20_000)}"`,
      'form-data; name="\xff"',
    ].map((line): readonly [string, Uint8Array, string] => [
      line.slice(0, 80),
      Buffer.from(`--${boundary}\r\nContent-Disposition: ${line}\r\n\r\nv\r\n${close.toString()}`, 'latin1'),
      'MalformedPOSTRequest',
    ]),
  ]
  for (const [what, body, code, type = multipart] of rows) {
    const source = Readable.from(cutAt(Buffer.from(body), [0.3, 0.9]), { objectMode: false })
    t.equal((await refusalOf(() => readAsForm(source, type))).code, code, what)
    t.notOk(source.destroyed && !source.readableEnded, `${what}: source`)
  }
  const late: readonly (readonly [what: string, body: Uint8Array, code: string])[] = [
    [
      'cut in the file',
      Buffer.concat([fieldPieces([key]), filePiece('the file').subarray(0, -8)]),
      'MalformedPOSTRequest',
    ],
    ['not closed', Buffer.concat([fieldPieces([key]), filePiece('f')]), 'MalformedPOSTRequest'],
    ['not closed after the file', Buffer.concat([filePiece('f'), piece('submit', 'x')]), 'MalformedPOSTRequest'],
    ['two files', Buffer.concat([filePiece('f'), filePiece('g'), close]), 'InvalidArgument'],
  ]
  for (const [what, body, code] of late) {
    const form = await readAsForm(Readable.from([body], { objectMode: false }), multipart)
    t.equal((await refusalOf(() => buffer(form.file))).code, code, what)
  }
  const ignored = Buffer.concat([filePiece('f'), fieldPieces(many), piece('x', `${large}${large}`), close])
  const form = await readAsForm(Readable.from([ignored], { objectMode: false }), multipart)
  t.equal((await buffer(form.file)).toString(), 'f', 'what follows the file is ignored, however large')

  const slow = formOf([['key', 'k'.repeat(1000)]], 'f').toString('latin1')
  const drops = Readable.from(
    (function* () {
      for (const byte of slow) yield Buffer.from(byte)
    })(),
    { objectMode: false, highWaterMark: 1 },
  )
  t.equal((await readAsForm(drops, multipart)).fields.get('key')?.length, 1000, 'byte by byte')

  const spelled = Buffer.from(
    `--a b \t\r\ncontent-disposition:FORM-DATA;NAME=key;name=other\r\nX-Other: 1\r\n\r\nk\r\n--a b\r\n` +
      `Content-Disposition: form-data; name="file"; filename="say \\"\\\\o\\".txt"; filename*=utf-8''x\r\n\r\n\r\n--a b--`,
  )
  const { fields, file } = await readAsForm(
    Readable.from([spelled], { objectMode: false }),
    'Multipart/Form-Data ; Boundary="a b"',
  )
  t.strictSame([...fields], [['key', 'k']], 'other spellings of the same')
  t.equal((await buffer(file)).length, 0)
})

t.test('${filename}', async t => {
  for (const [filename, name] of [
    ['cat.jpg', 'cat.jpg'],
    ['C:\\Program Files\\directory1\\file.txt', 'file.txt'],
    ['/home/ann/a b.txt', 'a b.txt'],
    ['', ''],
    ['..', '..'],
    ['$&.txt', '$&.txt'],
    ['Größe.txt', 'Größe.txt'],
  ] as const) {
    const body = formOf(
      [
        ['key', 'a/${filename}'],
        ['x', '${filename}${filename}'],
      ],
      'f',
      filename,
    )
    const form = await readAsForm(Readable.from([body], { objectMode: false }), multipart)
    t.strictSame([...expandFilename(form).values()], [`a/${name}`, `${name}${name}`], filename)
  }
  const unnamed = Buffer.concat([piece('key', 'a/${filename}'), piece('FILE', 'f'), close])
  const form = await readAsForm(Readable.from([unnamed], { objectMode: false }), multipart)
  t.equal(expandFilename(form).get('key'), 'a/${filename}', 'stays where the file has no name')
})

t.test('${filename}: what the fields would have is bounded', async t => {
  const expand = (fields: Fields, filename: string): FormFields => expandFilename({ fields: joined(fields), filename })
  const name = 'ü'.repeat(500)
  t.equal(expand([['key', `${'k'.repeat(24)}\${filename}`]], name).get('key')?.length, 524, 'a key of 1,024 bytes')
  t.match(await refusalOf(() => expand([['key', `${'k'.repeat(25)}\${filename}`]], name)), {
    code: 'KeyTooLongError',
    details: { Size: '1025', MaxSizeAllowed: '1024' },
  })
  const times = Math.floor((maxFields - 2) / 1000)
  const rest = maxFields - 2 - times * 1000
  const full: Fields = [
    ['x', '${filename}'.repeat(times)],
    ['y', 'y'.repeat(rest)],
  ]
  t.equal(expand(full, name).get('x')?.length, times * 500, 'as much as a form may send')
  const code = 'MaxPostPreDataLengthExceeded'
  t.equal((await refusalOf(() => expand([...full, ['z', '']], name))).code, code, 'and a byte more')
  for (const field of ['Policy', 'X-Amz-Signature', 'Signature', 'AWSAccessKeyId', 'AccessKeyId', 'token']) {
    t.strictSame([...expand([[field, '${filename}']], name).values()], ['${filename}'], field)
  }
})

t.test('policies: what they must be', async t => {
  const good = { expiration: '2026-01-02T03:04:05Z', conditions: [] }
  const rows: readonly (readonly [document: unknown, message: string])[] = [
    ['{', 'Invalid JSON.'],
    ['[1, 2', 'Invalid JSON.'],
    ['"text"', 'Invalid JSON.'],
    ['null', 'Invalid JSON.'],
    [{ conditions: [] }, 'Policy missing expiration.'],
    [{ EXPIRATION: good.expiration, conditions: [] }, "Unexpected: 'expiration'"],
    [{ Statement: [] }, "Unexpected: 'statement'"],
    [{ ...good, expiration: '2026-01-02 03:04:05Z' }, "Invalid 'expiration' value: '2026-01-02 03:04:05Z'"],
    [{ ...good, expiration: '2026-01-02T03:04:05+02:00' }, "Invalid 'expiration' value: '2026-01-02T03:04:05+02:00'"],
    [{ ...good, expiration: '2026-13-02T03:04:05Z' }, "Invalid 'expiration' value: '2026-13-02T03:04:05Z'"],
    [{ ...good, expiration: 5 }, "Invalid 'expiration' value: '5'"],
    [{ expiration: good.expiration }, 'Policy missing conditions.'],
    [{ ...good, conditions: {} }, "Invalid 'conditions' value: must be a List."],
    [{ ...good, conditions: [5] }, 'Invalid condition: must be a List or Object.'],
    [{ ...good, conditions: [null] }, 'Invalid condition: must be a List or Object.'],
    [{ ...good, conditions: [[]] }, 'Invalid Condition: missing operation identifier.'],
    [{ ...good, conditions: [['ends-with', '$key', 'a']] }, "Invalid Condition: unknown operation 'ends-with'."],
    [{ ...good, conditions: [['eq', '$key']] }, 'Invalid eq: wrong number of arguments.'],
    [
      { ...good, conditions: [['content-length-range', 0]] },
      'Invalid content-length-range: wrong number of arguments.',
    ],
    [{ ...good, conditions: [['content-length-range', -1, 0]] }, 'Invalid content-length-range: a size is not valid.'],
    [{ ...good, conditions: [['content-length-range', 0, 1.5]] }, 'Invalid content-length-range: a size is not valid.'],
    [{ ...good, conditions: [['eq', '$key', 5]] }, 'Invalid JSON.'],
    [{ ...good, conditions: [['eq', 5, 'a']] }, 'Invalid JSON.'],
    [
      { ...good, conditions: [{}] },
      'Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.',
    ],
    [
      { ...good, conditions: [{ a: 'b', c: 'd' }] },
      'Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.',
    ],
    [{ ...good, conditions: [{ key: 5 }] }, 'Invalid Simple-Condition: value must be a string.'],
  ]
  for (const [document, told] of rows) {
    const json = typeof document === 'string' ? document : JSON.stringify(document)
    const error = await refusalOf(() => parsePostPolicy(base64(json)))
    t.match(error, { code: 'InvalidPolicyDocument', status: 400, message: `Invalid Policy: ${told}` }, json)
  }
  const malformed = await refusalOf(() => parsePostPolicy('a'))
  t.equal(malformed.message, 'Invalid Policy: invalid Base64 encoding.')
  t.equal((await refusalOf(() => parsePostPolicy('/////w=='))).message, 'Invalid Policy: Invalid JSON.', 'not UTF-8')
  t.equal((await refusalOf(() => parsePostPolicy('a'.repeat(20_481)))).code, 'MaxPostPreDataLengthExceeded')

  const json = `{ "expiration": "${good.expiration}", "conditions": [{"a": "x,]"}, ["eq", "$b", ",}\\",]"],\n] , }`
  const lenient = parsePostPolicy(base64(json).replace(/(.{60})/g, '$1\r\n'))
  t.match(
    lenient.conditions,
    [{ value: 'x,]' }, { value: ',}",]' }],
    'commas behind the last are let pass, those of strings kept',
  )
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.json(), fc.string()), async json => {
      const error = await refusalOf(() => parsePostPolicy(base64(json)))
      return error.code === 'InvalidPolicyDocument'
    }),
  )
})

t.test('policies: what they ask', async t => {
  const fields: FormFields = new Map([
    ['key', 'user/a'],
    ['content-type', 'image/a, image/b'],
    ['a', 'x,y'],
    ['bucket', 'b'],
  ])
  const all = [
    { bucket: 'b' },
    ['starts-with', '$KEY', 'user/'],
    ['StArTs-WiTh', '$Content-Type', 'image/'],
    ['eq', '$a', 'x,y'],
  ]
  const judge = async (conditions: readonly unknown[], sent: FormFields = fields): Promise<unknown> => {
    const policy = parsePostPolicy(base64(JSON.stringify({ expiration: '2026-01-02T03:04:05Z', conditions })))
    try {
      return checkPostPolicy(policy, sent, 0)
    } catch (error) {
      return error instanceof SseError ? `${error.s3Code}: ${error.message}` : error
    }
  }
  const failed = (what: string) => `AccessDenied: Invalid according to Policy: ${what}`
  t.strictSame(await judge(all), { min: 0, max: Infinity })
  t.strictSame(await judge([...all, ['content-length-range', 5, '10']]), { min: 5, max: 10 })
  t.strictSame(await judge([...all, ['content-length-range', 0, 8], ['content-length-range', 3, 9]]), {
    min: 3,
    max: 8,
  })
  const range = ['content-length-range', 'test', '10']
  t.equal(await judge([...all, range]), failed('Policy Condition failed: ["content-length-range", "test", "10"]'))
  t.equal(await judge([...all, { key: 'user/b' }]), failed('Policy Condition failed: ["eq", "$key", "user/b"]'))
  t.equal(await judge([...all, ['eq', 'key', 'user/a']]), failed('Policy Condition failed: ["eq", "key", "user/a"]'))
  t.equal(
    await judge([...all, ['starts-with', '$key', 'User/']]),
    failed('Policy Condition failed: ["starts-with", "$key", "User/"]'),
  )
  t.equal(
    await judge([...all, ['starts-with', '$x', '']]),
    failed('Policy Condition failed: ["starts-with", "$x", ""]'),
    'absent',
  )
  t.equal(
    await judge([...all, ['starts-with', '$a', 'y']]),
    failed('Policy Condition failed: ["starts-with", "$a", "y"]'),
  )
  const mixed = new Map([...fields, ['content-type', 'image/a,text/b']])
  t.equal(await judge(all, mixed), failed('Policy Condition failed: ["StArTs-WiTh", "$Content-Type", "image/"]'))
  const more = new Map([...fields, ['x-amz-meta-a', ''], ['submit', ''], ['x-ignore-me', '']])
  t.equal(await judge(all, more), failed('Extra input fields: x-amz-meta-a, submit'))
  t.equal(await judge(all.slice(1)), failed('Extra input fields: bucket'), 'no policy is good for every bucket')
})

t.test('signatures', async t => {
  const options = { lookup: (id: string) => (id === admin.accessKeyId ? admin : undefined), region }
  const field = [['key', 'k']] as const
  const judge = async (fields: Fields): Promise<string> => {
    try {
      const { signer } = authenticateForm(joined(fields), options)
      return signer.kind === 'signed' ? signer.version : signer.kind
    } catch (error) {
      if (!(error instanceof SseError)) throw error
      const { ArgumentName = '' } = error.details
      return `${error.status} ${error.s3Code} ${ArgumentName}`.trim()
    }
  }
  const without = (fields: Fields, ...names: readonly string[]): Fields =>
    fields.filter(([name]) => !names.includes(name.toLowerCase()))
  const set = (fields: Fields, name: string, value: string): Fields => [...without(fields, name), [name, value]]
  const { v4, v2, obs, token } = signers

  t.equal(await judge(field), 'anonymous')
  t.equal(await judge([...field, ['policy', policyOf(field)]]), 'anonymous', 'a policy alone, as S3 takes it')
  t.equal(await judge(v4(admin, field)), 'v4')
  t.equal(await judge(v2(admin, field)), 'v2')
  t.equal(await judge(obs(admin, field)), 'obs')
  t.equal(await judge(token(admin, field)), 'obs')
  for (const [kind, sign] of Object.entries(signers)) {
    t.equal(await judge(sign({ ...admin, secretAccessKey: 'another' }, field)), '403 SignatureDoesNotMatch', kind)
    t.equal(await judge(sign(stranger, field)), '403 InvalidAccessKeyId', kind)
  }
  for (const name of ['x-amz-signature', 'policy', 'x-amz-date', 'x-amz-credential', 'x-amz-algorithm']) {
    t.match(
      await judge(without(v4(admin, field), name)).then(told => told.toLowerCase()),
      `400 invalidargument ${name}`,
    )
    t.match(
      await judge(set(v4(admin, field), name, '')).then(told => told.toLowerCase()),
      `400 invalidargument ${name}`,
    )
  }
  for (const [fields, name] of [
    [without(v2(admin, field), 'awsaccesskeyid'), 'AWSAccessKeyId'],
    [without(v2(admin, field), 'signature'), 'Signature'],
    [without(v2(admin, field), 'policy'), 'Policy'],
    [without(obs(admin, field), 'signature'), 'signature'],
    [without(obs(admin, field), 'policy'), 'policy'],
    [set(v4(admin, field), 'x-amz-algorithm', 'AWS4-ECDSA-P256-SHA256'), 'X-Amz-Algorithm'],
    [set(v4(admin, field), 'x-amz-date', '2026-01-02'), 'X-Amz-Date'],
    [set(v4(admin, field), 'x-amz-date', '20260103T000000Z'), 'X-Amz-Credential'],
    [set(v4(admin, field), 'x-amz-credential', admin.accessKeyId), 'X-Amz-Credential'],
    [set(v4(admin, field), 'x-amz-credential', `AK/${day}/elsewhere/s3/aws4_request`), 'X-Amz-Credential'],
    [set(v4(admin, field), 'x-amz-credential', `AK/${day}/${region}/ec2/aws4_request`), 'X-Amz-Credential'],
    [set(v4(admin, field), 'x-amz-credential', `AK/${day}/${region}/s3/aws5_request`), 'X-Amz-Credential'],
  ] as const) {
    t.equal(await judge(fields), `400 InvalidArgument ${name}`)
  }
  t.equal(await judge([['token', '']]), '403 InvalidAccessKeyId')
  t.equal(await judge([['token', `${admin.accessKeyId}:x`]]), '403 SignatureDoesNotMatch')
  const error = await refusalOf(() => authenticateForm(joined(set(v4(admin, field), 'policy', 'other')), options))
  t.match(error.details, {
    AWSAccessKeyId: admin.accessKeyId,
    StringToSign: 'other',
    SignatureProvided: /^[0-9a-f]{64}$/,
  })
  t.equal(await judge(set(v4(admin, field), 'policy', 'ĀĀ')), '403 SignatureDoesNotMatch')
})

// --- Over HTTP

t.test('the presigned post of Amazon’s SDK', async t => {
  const gateway = await startGateway(t)
  await gateway.signedFetch(admin, 'PUT', '/bucket')
  const client = gateway.client()
  /** As a browser sends it. */
  const upload = async (url: string, fields: Readonly<Record<string, string>>, file: Uint8Array<ArrayBuffer>) => {
    const form = new FormData()
    for (const [name, value] of Object.entries(fields)) form.append(name, value)
    form.append('file', new Blob([file], { type: 'image/jpeg' }), 'Größe.jpg')
    return fetch(url, { method: 'POST', body: form, redirect: 'manual' })
  }
  const file = new Uint8Array(randomBytes(300_000))

  await t.test('SSE-KMS, metadata, checksums, tags', async t => {
    const { url, fields } = await createPresignedPost(client, {
      Bucket: 'bucket',
      Key: 'uploads/${filename}',
      Conditions: [['content-length-range', 1, 300_000]],
      Fields: {
        'x-amz-server-side-encryption': 'aws:kms',
        'Content-Type': 'image/jpeg',
        'x-amz-meta-Title': 'Größe',
        'Content-MD5': createHash('md5').update(file).digest('base64'),
        'x-amz-checksum-sha256': createHash('sha256').update(file).digest('base64'),
        tagging: '<Tagging><TagSet><Tag><Key>a</Key><Value>b c</Value></Tag></TagSet></Tagging>',
        success_action_status: '201',
      },
    })
    const answer = await upload(url, fields, file)
    const body = await answer.text()
    t.equal(answer.status, 201, body)
    const location = `${gateway.url}/bucket/uploads%2FGr%C3%B6%C3%9Fe.jpg`
    const etag = answer.headers.get('etag') ?? ''
    t.equal(answer.headers.get('location'), location)
    t.equal(answer.headers.get('x-amz-server-side-encryption'), 'aws:kms')
    t.match(answer.headers.get('x-amz-server-side-encryption-aws-kms-key-id'), /:key\//)
    const told = `<PostResponse><Location>${location}</Location><Bucket>bucket</Bucket><Key>uploads/Größe.jpg</Key>`
    t.ok(body.includes(told), body)
    t.match(body.replaceAll('&quot;', '"'), `<ETag>${etag}</ETag></PostResponse>`)
    const got = await gateway.signedFetch(admin, 'GET', '/bucket/uploads/Gr%C3%B6%C3%9Fe.jpg')
    t.match(got.headers, { ...kmsAnswer, 'content-type': 'image/jpeg', etag })
    t.equal(got.headers['x-amz-meta-title'], `=?UTF-8?B?${Buffer.from('Größe').toString('base64')}?=`)
    t.equal(Buffer.compare(got.body, file), 0)
    const record = await gateway.byName.getObject('bucket', 'uploads/Größe.jpg')
    t.match(record, { kind: 'sse-kms', owner: admin.domainId, size: file.length, notes: { tags: [['a', 'b c']] } })
    t.match(
      gateway.log.find(({ action }) => action === 'PostObject'),
      { action: 'PostObject', status: 201, user: 'admin' },
      'the log names who signed the form',
    )
  })

  await t.test('refusals', async t => {
    const presigned = async (who = admin, Fields: Record<string, string> = {}) =>
      createPresignedPost(gateway.client(who), {
        Bucket: 'bucket',
        Key: 'k',
        Fields,
        Conditions: [['content-length-range', 5, 10]],
      })
    const { url, fields } = await presigned()
    const six = new Uint8Array(6)
    t.equal((await upload(url, fields, six)).status, 204)
    const large = await upload(url, fields, file)
    t.equal(large.status, 400)
    const detail = '<ProposedSize>\\d+</ProposedSize><MaxSizeAllowed>10</MaxSizeAllowed>'
    t.match(
      await large.text(),
      new RegExp(`EntityTooLarge.*Your proposed upload exceeds the maximum allowed size.*${detail}`),
    )
    const small = await (await upload(url, fields, new Uint8Array(4))).text()
    t.match(small, /EntityTooSmall.*smaller than the minimum allowed size.*<ProposedSize>4<.*<MinSizeAllowed>5</)
    const forged = await (await upload(url, { ...fields, key: 'other' }, six)).text()
    t.match(
      forged.replaceAll('&quot;', '"'),
      'Invalid according to Policy: Policy Condition failed: ["eq", "$key", "k"]',
    )
    t.match(
      await (await upload(url, { ...fields, 'x-amz-meta-a': 'b' }, six)).text(),
      'Extra input fields: x-amz-meta-a',
    )
    const wrong = await presigned(admin, { 'Content-MD5': createHash('md5').update('other').digest('base64') })
    t.match(await (await upload(wrong.url, wrong.fields, six)).text(), 'BadDigest')
    const user = await presigned(ordinary, { 'x-amz-server-side-encryption': 'aws:kms' })
    const denied = await upload(user.url, user.fields, six)
    t.match([denied.status, await denied.text()], [403, /tenant_admin/])
    const other = await presigned(stranger)
    t.equal((await upload(other.url, other.fields, six)).status, 403)
    const nowhere = await createPresignedPost(client, { Bucket: 'nowhere', Key: 'k' })
    t.match(await (await upload(nowhere.url, nowhere.fields, six)).text(), 'NoSuchBucket')
    t.match(await (await upload(`${gateway.url}/nowhere`, fields, six)).text(), /Policy Condition failed.*\$bucket/)
  })

  await t.test('the bucket policy of the page sees the fields', async t => {
    const Policy = JSON.stringify({
      Version: '2008-10-17',
      Id: 'PutObjPolicy',
      Statement: [
        {
          Sid: 'DenyUnEncryptedObjectUploads',
          Effect: 'Deny',
          Principal: '*',
          Action: 's3:PutObject',
          Resource: 'arn:aws:s3:::bucket/*',
          Condition: { StringNotEquals: { 's3:x-amz-server-side-encryption': 'aws:kms' } },
        },
      ],
    })
    await client.send(new PutBucketPolicyCommand({ Bucket: 'bucket', Policy }))
    const header = { 'content-type': multipart, 'x-amz-server-side-encryption': 'aws:kms' }
    const body = formOf(signers.v2(admin, [['key', 'policed']]), 'f')
    t.match(
      await gateway.signedFetch(undefined, 'POST', '/bucket', { headers: header, body }),
      { status: 403 },
      'a header of the request is none of the form',
    )
    t.equal(
      (
        await post(
          gateway,
          formOf(
            signers.v4(admin, [
              ['key', 'policed'],
              ['x-amz-server-side-encryption', 'AES256'],
            ]),
            'f',
          ),
        )
      ).status,
      403,
    )
    t.match(await post(gateway, formOf(signers.v4(admin, [['key', 'policed'], kms]), 'f')), {
      status: 204,
      headers: kmsAnswer,
    })
    const obs = ['x-obs-server-side-encryption', 'kms'] as const
    t.match(await post(gateway, formOf(signers.obs(admin, [['key', 'policed'], obs]), 'f')), { status: 204 })
  })
})

t.test('POST Object', async t => {
  const gateway = await startGateway(t)
  await gateway.signedFetch(admin, 'PUT', '/bucket')
  const get = (key: string, headers: Readonly<Record<string, string>> = {}) =>
    gateway.signedFetch(admin, 'GET', `/bucket/${key}`, { headers })

  await t.test('every signature and spelling, fields in any order', async t => {
    const obsKms = ['x-obs-server-side-encryption', 'kms'] as const
    for (const [kind, sign] of Object.entries(signers)) {
      const answer = await post(gateway, formOf(sign(admin, [['key', `by ${kind}`], kms]), kind))
      t.equal(answer.status, 204, answer.text)
      const own = kind === 'obs' || kind === 'token'
      t.match(answer.headers, own ? { 'x-obs-server-side-encryption': 'kms' } : kmsAnswer)
      t.match(await get(`by%20${kind}`), { text: kind, headers: kmsAnswer })
      const other = await post(
        gateway,
        formOf(sign(admin, [['key', `by ${kind}`], obsKms, ['x-obs-meta-a', 'b']]), kind),
      )
      t.match(other, {
        status: 204,
        headers: { 'x-obs-server-side-encryption': 'kms', 'x-obs-server-side-encryption-kms-key-id': /:key\// },
      })
      t.match(await get(`by%20${kind}`), { headers: { ...kmsAnswer, 'x-amz-meta-a': 'b' } })
    }
    const fields = signers.v4(admin, [
      ['key', 'shuffled'],
      kms,
      ['acl', 'private'],
      ['Content-Type', 'a/b'],
      ['x-amz-meta-a', 'c'],
    ])
    const spellings = fc.constantFrom<(name: string) => string>(
      name => name,
      name => name.toUpperCase(),
      name => name.toLowerCase(),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray([...fields], { minLength: fields.length }),
        spellings,
        async (shuffled, spell) => {
          const spelled = shuffled.map(([name, value]) => [spell(name), value] as const)
          return (await post(gateway, formOf(spelled, 'f'))).status === 204
        },
      ),
      { numRuns: 20 },
    )
    t.match(await get('shuffled'), { text: 'f', headers: { ...kmsAnswer, 'content-type': 'a/b', 'x-amz-meta-a': 'c' } })
  })

  await t.test('esdk-obs-nodejs leaves a comma behind the last condition', async t => {
    const signed = signers.v4(admin, [['key', 'comma']])
    const [, policy = ''] = signed.find(([name]) => name === 'policy') ?? []
    const trailing = base64(Buffer.from(policy, 'base64').toString().replace(/\]\}$/, ',]}'))
    const signature = signV4(signingKeyOf(admin.accessKeyId, admin.secretAccessKey, day, region), trailing)
    const others = signed.filter(([name]) => name !== 'policy' && name !== 'x-amz-signature')
    const fields: Fields = [...others, ['policy', trailing], ['x-amz-signature', signature]]
    t.equal((await post(gateway, formOf(fields, 'f'))).status, 204)
  })

  await t.test('kinds of encryption', async t => {
    const key = randomBytes(32)
    const sseC = [
      ['x-amz-server-side-encryption-customer-algorithm', 'AES256'],
      ['x-amz-server-side-encryption-customer-key', key.toString('base64')],
      ['x-amz-server-side-encryption-customer-key-MD5', createHash('md5').update(key).digest('base64')],
    ] as const
    const file = randomBytes(100_000)
    const md5 = createHash('md5').update(file).digest('hex')
    const { keyId } = await gateway.kms.defaultKey({ region, domainId: admin.domainId })
    const keyField = ['x-amz-server-side-encryption-aws-kms-key-id', keyId] as const
    for (const [kind, fields, etag] of [
      ['plain', [], md5],
      ['sse-s3', [['x-amz-server-side-encryption', 'AES256']], md5],
      ['sse-kms', [kms, keyField], undefined],
      ['sse-c', sseC, undefined],
    ] as const) {
      const answer = await post(gateway, formOf(signers.v4(admin, [['key', kind], ...fields]), file))
      t.equal(answer.status, 204, answer.text)
      t.match(await gateway.byName.getObject('bucket', kind), { kind, size: file.length })
      if (etag !== undefined) t.equal(answer.headers.etag, `"${etag}"`)
      const got = await get(kind, kind === 'sse-c' ? Object.fromEntries(sseC) : {})
      t.equal(Buffer.compare(got.body, file), 0, kind)
    }
    const refused: readonly (readonly [Fields, number, string])[] = [
      [[['x-amz-server-side-encryption', 'aes:kms']], 400, 'InvalidArgument'],
      [[['x-amz-server-side-encryption', 'aws:kms:dsse']], 501, 'NotImplemented'],
      [[keyField], 400, 'InvalidArgument'],
      [[kms, ...sseC], 400, 'InvalidArgument'],
      [[kms, ['x-amz-server-side-encryption-aws-kms-key-id', 'fake-key-id']], 400, 'KMS.NotFoundException'],
      [[kms, ['x-amz-sse-kms-key-project-id', 'another']], 400, 'InvalidArgument'],
    ]
    for (const [fields, status, code] of refused) {
      const answer = await post(gateway, formOf(signers.v4(admin, [['key', 'refused'], ...fields]), 'f'))
      t.match(answer, { status, code }, JSON.stringify(fields))
    }
    t.equal(await gateway.byName.getObject('bucket', 'refused'), undefined)
  })

  await t.test('the answer that the form asks for', async t => {
    const ask = async (...fields: readonly (readonly [string, string])[]) =>
      post(gateway, formOf(signers.v2(admin, [['key', 'a/b c'], ...fields]), 'f'), '/bucket/')
    const location = `${gateway.url}/bucket/a%2Fb%20c`
    const etag = `"${createHash('md5').update('f').digest('hex')}"`
    for (const [wanted, status] of [
      ['200', 200],
      ['204', 204],
      ['404', 204],
      ['', 204],
    ] as const) {
      t.match(await ask(['success_action_status', wanted]), { status, text: '', headers: { etag, location } })
    }
    const xml = await ask(['success_action_status', '201'])
    t.match(xml, { status: 201, headers: { etag, location, 'content-type': 'application/xml' } })
    t.match(xml.text, `<PostResponse><Location>${location}</Location><Bucket>bucket</Bucket><Key>a/b c</Key>`)
    const stored = `bucket=bucket&key=a%2Fb+c&etag=${encodeURIComponent(etag)}`
    for (const [url, wanted] of [
      ['https://example.com/done', `https://example.com/done?${stored}`],
      ['https://example.com/done?a=b#c', `https://example.com/done?a=b&${stored}#c`],
      ['/relative', undefined],
      ['javascript:alert(1)', undefined],
      ['http://', undefined],
    ] as const) {
      for (const name of ['success_action_redirect', 'redirect']) {
        const answer = await ask([name, url], ['success_action_status', '200'])
        if (wanted === undefined) t.match(answer, { status: 200, headers: { location } }, url)
        else t.match(answer, { status: 303, text: '', headers: { etag, location: wanted } }, url)
      }
    }
  })

  await t.test('requests that are refused, with nothing stored', async t => {
    const key = ['key', 'refused'] as const
    const long = 'ü'.repeat(513)
    const conflict: Fields = [
      ['x-amz-checksum-crc32', 'AAAAAA=='],
      ['x-amz-checksum-sha1', 'AAAA'],
    ]
    const rows: readonly (readonly [
      what: string,
      body: Buffer,
      status: number,
      code: string,
      told: string | RegExp,
    ])[] = [
      ['nobody signed', formOf([key], 'f'), 403, 'AccessDenied', /Anonymous/],
      [
        'no key',
        formOf(signers.v4(admin, []), 'f'),
        400,
        'InvalidArgument',
        "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.",
      ],
      ['an empty key', formOf(signers.v4(admin, [['key', '']]), 'f'), 400, 'InvalidArgument', /'key'/],
      ['a key that is too long', formOf(signers.v4(admin, [['key', long]]), 'f'), 400, 'KeyTooLongError', /1,024/],
      [
        'two keys',
        formOf([...signers.v4(admin, [key]), ['key', 'b']], 'f'),
        403,
        'AccessDenied',
        /Policy Condition failed: \["eq", "\$key", "refused"\]/,
      ],
      [
        'the file first',
        Buffer.concat([filePiece('f'), fieldPieces(signers.v4(admin, [key])), close]),
        400,
        'InvalidArgument',
        /check the order/,
      ],
      [
        'no file',
        Buffer.concat([fieldPieces(signers.v4(admin, [key])), close]),
        400,
        'InvalidArgument',
        'POST requires exactly one file upload per request.',
      ],
      [
        'two files',
        Buffer.concat([fieldPieces(signers.v4(admin, [key])), filePiece('f'), filePiece('g'), close]),
        400,
        'InvalidArgument',
        'POST requires exactly one file upload per request.',
      ],
      [
        'not closed',
        formOf(signers.v4(admin, [key]), 'f').subarray(0, -6),
        400,
        'MalformedPOSTRequest',
        /not well-formed/,
      ],
      [
        'the wrong secret',
        formOf(signers.v4({ ...admin, secretAccessKey: 'x' }, [key]), 'f'),
        403,
        'SignatureDoesNotMatch',
        /secret/,
      ],
      [
        'tags that are no XML',
        formOf(signers.v4(admin, [key, ['tagging', 'not-xml']]), 'f'),
        400,
        'MalformedXML',
        /XML/,
      ],
      [
        'a content type that is no header',
        formOf(signers.v4(admin, [key, ['content-type', 'a\r\nb: c']]), 'f'),
        400,
        'InvalidArgument',
        /header/,
      ],
      [
        'a name that is no header',
        formOf(signers.v4(admin, [key, ['x-amz-meta-ü', 'a']]), 'f'),
        400,
        'InvalidArgument',
        /header/,
      ],
      ['an unknown ACL', formOf(signers.v4(admin, [key, ['acl', 'mine']]), 'f'), 400, 'InvalidArgument', /ACL/],
      [
        'a checksum that differs',
        formOf(signers.v4(admin, [key, ['x-amz-checksum-crc32', 'AAAAAA==']]), 'f'),
        400,
        'BadDigest',
        /CRC32/,
      ],
      ['two checksums', formOf(signers.v4(admin, [key, ...conflict]), 'f'), 400, 'InvalidRequest', /single/],
      [
        'a trailer',
        formOf(signers.v4(admin, [key, ['x-amz-trailer', 'x-amz-checksum-crc32']]), 'f'),
        400,
        'InvalidRequest',
        /trailer/,
      ],
      [
        'metadata that is too large',
        formOf(signers.v4(admin, [key, ['x-amz-meta-a', 'a'.repeat(2048)]]), 'f'),
        400,
        'MetadataTooLarge',
        /2 KiB/,
      ],
    ]
    for (const [what, body, status, code, told] of rows) {
      const answer = await post(gateway, body)
      t.match(answer, { status, code }, what)
      t.match(message(answer), told, what)
    }
    t.match(await post(gateway, formOf([key], 'f'), '/bucket', 'text/html'), {
      status: 412,
      text: /<Condition>Bucket POST must be of the enclosure-type multipart\/form-data<\/Condition>/,
    })
    t.match(await post(gateway, formOf([key], 'f'), '/bucket', 'multipart/form-data'), { code: 'MalformedPOSTRequest' })
    const body = formOf(signers.v4(admin, [key]), 'f')
    const headers = { 'content-type': multipart }
    t.match(await gateway.signedFetch(admin, 'POST', '/bucket', { headers, body }), {
      status: 400,
      code: 'InvalidRequest',
    })
    t.match(await gateway.signedFetch(undefined, 'POST', '/bucket', { body }), { status: 412 })
    t.equal(await gateway.byName.getObject('bucket', 'refused'), undefined)
    t.ok(filesIn(gateway.directory).every(name => !name.includes('refused')))
  })

  await t.test('nobody signs, where the bucket is open to everyone', async t => {
    await gateway.signedFetch(admin, 'PUT', '/open', { headers: { 'x-amz-acl': 'public-read-write' } })
    t.match(await post(gateway, formOf([['key', 'k']], 'f'), '/open'), { status: 204 })
    t.match(await gateway.byName.getObject('open', 'k'), { size: 1 })
    t.match(await post(gateway, formOf([['key', 'k'], kms], 'f'), '/open'), { status: 403 }, 'but not with SSE-KMS')
  })

  await t.test('${filename} is replaced once it is known who signed', async t => {
    // 30 MB, were it built.
    const bomb = '${filename}'.repeat(2000)
    const name = 'n'.repeat(15_000)
    const key = ['key', 'k'] as const
    const large = ['x-amz-meta-a', bomb] as const
    const wrong = { ...admin, secretAccessKey: 'x' }
    const anyKey = [['starts-with', '$key', '']] as const
    const rows: readonly (readonly [what: string, path: string, fields: Fields, code: string])[] = [
      ['nobody signed, and there is no bucket', '/nosuchbucket', [['key', bomb]], 'NoSuchBucket'],
      ['nobody signed', '/bucket', [['key', bomb]], 'KeyTooLongError'],
      ['nobody signed, another field', '/bucket', [key, large], 'MaxPostPreDataLengthExceeded'],
      ['a wrong signature', '/bucket', signers.v4(wrong, [['key', bomb]]), 'SignatureDoesNotMatch'],
      ['a wrong signature, another field', '/bucket', signers.v2(wrong, [key, large]), 'SignatureDoesNotMatch'],
      ['a key', '/bucket', signers.v4(admin, [['key', bomb]], anyKey), 'KeyTooLongError'],
      ['another field', '/bucket', signers.obs(admin, [key, large]), 'MaxPostPreDataLengthExceeded'],
    ]
    for (const [what, path, fields, code] of rows) {
      t.match(await post(gateway, formOf(fields, 'f', name), path), { code }, what)
    }
    const signed = signers.v4(admin, [key])
    const signature = signed.at(-1)?.[1] ?? ''
    const elsewhere: Fields = [...signed.slice(0, -1), ['x-amz-signature', '${filename}']]
    t.match(await post(gateway, formOf(signed, 'f', signature)), { status: 204 })
    t.match(
      await post(gateway, formOf(elsewhere, 'f', signature)),
      { code: 'SignatureDoesNotMatch' },
      'the signature itself',
    )
  })

  await t.test('keys of every plane', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }), async name => {
        fc.pre(!name.includes('${filename}'))
        const key = `every/${name}`
        const answer = await post(gateway, formOf(signers.v2(admin, [['key', key]]), name))
        const path = encodeURIComponent(key).replace(/[!'()*]/g, c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
        return answer.status === 204 && (await get(path)).text === name
      }),
      { numRuns: 15 },
    )
  })

  await t.test('Expect: 100-continue is asked for once, by the form', async t => {
    const body = formOf(signers.v4(admin, [['key', 'continued']]), 'f')
    const headers = { 'content-type': multipart, 'content-length': body.length, expect: '100-continue' }
    const req = request(`${gateway.url}/bucket`, { method: 'POST', headers })
    req.flushHeaders()
    await once(req, 'continue')
    req.end(body)
    const [answer] = await once(req, 'response')
    t.equal(answer.statusCode, 204)
    answer.resume()
  })
})

t.test('the file flows', async t => {
  const gateway = await startGateway(t)
  await gateway.signedFetch(admin, 'PUT', '/bucket')
  const { hostname, port } = new URL(gateway.url)
  const open = async (length: number) => {
    const socket = connect(Number(port), hostname)
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    socket.write(
      `POST /bucket HTTP/1.1\r\nHost: ${gateway.host}\r\nContent-Type: ${multipart}\r\nContent-Length: ${length}\r\n\r\n`,
    )
    return socket
  }
  const fields = signers.v4(admin, [['key', 'large'], kms], [['content-length-range', 0, 16 * 1024 * 1024]])
  const file = randomBytes(8 * 1024 * 1024)
  const bodies = join(gateway.directory, 'bodies')
  const onDisk = (): number =>
    readdirSync(bodies)
      .filter(name => name !== 'store-id')
      .flatMap(shelf => readdirSync(join(bodies, shelf)).map(name => statSync(join(bodies, shelf, name)).size))
      .reduce((sum, size) => sum + size, 0)
  const until = async (what: string, check: () => boolean | Promise<boolean>) => {
    for (let i = 0; i < 500; i++) {
      if (await check()) return
      await sleep(10)
    }
    throw new Error(`it did not happen: ${what}`)
  }
  const body = formOf(fields, file)

  await t.test('it is sealed on disk before its end has come', async t => {
    const socket = await open(body.length)
    const early = body.length - 100_000
    socket.write(body.subarray(0, early))
    await until('the store holds most of it', () => onDisk() > file.length - 1_000_000)
    t.equal(await gateway.byName.getObject('bucket', 'large'), undefined)
    socket.write(body.subarray(early))
    const [answer] = await once(socket, 'data')
    t.match(String(answer), /^HTTP\/1.1 204/)
    socket.destroy()
    const got = await gateway.signedFetch(admin, 'GET', '/bucket/large')
    t.equal(Buffer.compare(got.body, file), 0)
  })

  await t.test('by a client of HTTP/1.0, which names no host', async t => {
    const form = formOf(signers.v4(admin, [['key', 'old']]), 'f')
    const socket = connect(Number(port), hostname)
    const type = `Content-Type: ${multipart}\r\nContent-Length: ${form.length}`
    socket.write(Buffer.concat([Buffer.from(`POST /bucket HTTP/1.0\r\n${type}\r\n\r\n`), form]))
    t.match((await buffer(socket)).toString(), /^HTTP\/1.1 204[^]*\r\nlocation: http:\/\/localhost\/bucket\/old\r\n/)
  })

  await t.test('a connection that breaks, at any stage, leaves the old object whole', async t => {
    const before = onDisk()
    const start = body.indexOf('\r\n\r\n', body.indexOf('name="file"')) + 4
    for (const stop of [10, start - 200, start, start + 1_000_000, start + file.length, body.length - 3]) {
      const posts = () => gateway.log.filter(({ action }) => action === 'PostObject')
      const logged = posts().length
      const socket = await open(body.length)
      const sent = body.subarray(0, stop)
      await new Promise(resolve => socket.write(sent, resolve))
      await sleep(stop > start ? 50 : 10)
      socket.destroy()
      await until('the request is over', () => posts().length > logged)
      t.ok((posts().at(-1)?.error?.status ?? 0) >= 400, `after ${stop} bytes`)
      await until('what came is gone', () => onDisk() === before)
    }
    const got = await gateway.signedFetch(admin, 'GET', '/bucket/large')
    t.equal(Buffer.compare(got.body, file), 0)
  })

  await t.test('a refusal is answered while the client still sends', async t => {
    const half = file.subarray(0, file.length / 2)
    for (const [form, code] of [
      [formOf(signers.v4({ ...admin, secretAccessKey: 'x' }, [['key', 'large']]), half), 'SignatureDoesNotMatch'],
      [formOf(signers.v4(admin, [['key', 'large']], [['content-length-range', 0, 1000]]), half), 'EntityTooLarge'],
    ] as const) {
      const answer = await post(gateway, form)
      t.match(answer, { code, headers: { connection: 'close' } })
    }
    const got = await gateway.signedFetch(admin, 'GET', '/bucket/large')
    t.equal(Buffer.compare(got.body, file), 0)
  })
})

t.test('the rules of Amazon: SSE-KMS takes Signature Version 4, in forms too', async t => {
  const gateway = await startGateway(t, {
    profile: createProfile('s3', { region }),
    hosts: ['example.com'],
    trustTransport: true,
  })
  await gateway.signedFetch(admin, 'PUT', '/bucket')
  const v2 = await post(gateway, formOf(signers.v2(admin, [['key', 'k'], kms]), 'f'))
  t.match(v2, { status: 400, code: 'InvalidArgument' })
  t.match(message(v2), /require AWS Signature Version 4/)
  const context = ['x-amz-server-side-encryption-context', base64('{"a":"b"}')] as const
  t.match(await post(gateway, formOf(signers.v4(ordinary, [['key', 'k'], kms, context]), 'f')), { status: 204 })
  const headers = { host: 'bucket.example.com', 'content-type': multipart }
  const body = formOf(signers.v4(admin, [['key', 'k']]), 'f')
  t.match(await gateway.signedFetch(undefined, 'POST', '/', { headers, body }), {
    headers: { location: 'https://bucket.example.com/k' },
  })
  t.match(await post(gateway, formOf(signers.v2(admin, [['key', 'k']]), 'f')), {
    headers: { 'x-amz-server-side-encryption': 'AES256' },
  })
})
