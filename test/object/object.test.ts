/** The object layer: what a custom server calls, over the embedded KMS, in Node's façade and the one without `node:`. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import * as fc from 'fast-check'
import { chain } from 'stream-chain'
import t, { type Test } from 'tap'
import { base64url, concat, copy, equal, hex, utf8 } from '../../lib/bytes.ts'
import { nobleEngine } from '../../lib/cipher/noble.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { type SuiteId, suiteOf } from '../../lib/cipher/suite.ts'
import { webCryptoEngine } from '../../lib/cipher/web.ts'
import { encodeEnvelope, parseEnvelope, parseReceipt } from '../../lib/envelope/envelope.ts'
import { compositeFlag, valueIds, type Values } from '../../lib/envelope/sealed-values.ts'
import { encodeRecord } from '../../lib/envelope/wrap-record.ts'
import { encryptionContext } from '../../lib/kms/context.ts'
import { customerKey } from '../../lib/kms/customer.ts'
import { DataKey } from '../../lib/kms/data-key.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'
import { providersOf } from '../../lib/kms/providers.ts'
import { unwrapKey, wrapNested } from '../../lib/kms/wrap.ts'
import { decryptBody } from '../../lib/object/decrypt.ts'
import type { NamedPart } from '../../lib/object/multipart.ts'
import { createSse, type Sse } from '../../lib/object/node.ts'
import type { StoredUpload } from '../../lib/object/options.ts'
import { createSse as createWebSse } from '../../lib/object/web.ts'
import { storedLength } from '../../lib/segment/layout.ts'
import type { Stage } from '../../lib/segment/chain.ts'
import { engines } from '../support/engines.ts'
import { bodyOf, get, inMemory, put, tryGet } from '../support/body.ts'
import { drive, driven, inChunks, inRandomChunks, seeded } from '../support/drive.ts'
import { stubLocal } from '../support/stub-kms.ts'

const root = { root: { key: new Uint8Array(32).fill(1) } }
const directory = t.testdir()
const kms = await LocalKms.open(directory, root)
const scope = { region: 'sichuan', domainId: 'tenant-a' }
const { keyId } = await kms.createKey(scope)
const other = (await kms.createKey(scope)).keyId
t.teardown(() => kms.close())

const arn = (name: string) => ({ 'aws:s3:arn': `arn:aws:s3:::bucket/${name}` })
const sse = createSse({ kms, accept: [keyId] })
const small = createSse({ kms, accept: [keyId], suite: 2 })
const S = suiteOf(2).segmentSize
const md5 = (bytes: Uint8Array) => new Uint8Array(createHash('md5').update(bytes).digest())

t.test('an object comes back, by every façade, engine and suite', async t => {
  for (const suite of [undefined, 1, 2, 3, 5] as const) {
    for (const engine of [undefined, ...engines]) {
      for (const create of [createSse, createWebSse]) {
        const one = create({ kms, accept: [keyId], suite, engine })
        const plaintext = bodyOf(suite === 5 && engine === nobleEngine ? 300 : 140_000)
        for (const length of [undefined, plaintext.length]) {
          const context = { ...arn('cat'), project: 'north' }
          const writing = await one.encrypt({ context, length })
          t.equal(writing.keyId, keyId)
          t.throws(() => writing.result(), { name: 'TypeError', message: /stream has ended/ }, 'too early')
          const stored = await put(writing, plaintext)
          const { envelope, etag, plaintextLength, storedLength: size, values } = writing.result()
          t.match(etag, /^[0-9a-f]{32}-1$/)
          t.strictSame([plaintextLength, size, values.length], [plaintext.length, stored.length, 0])
          t.equal(size, storedLength(suiteOf(suite ?? 1), plaintext.length))
          if (length === undefined) t.equal(writing.planned, undefined)
          else t.strictSame({ ...writing.planned, values }, writing.result(), 'known before the first byte')
          const reading = await one.decrypt(envelope, { context, held: stored.length, etag })
          t.match(reading, { keyId, etag, length: plaintext.length, plaintextLength, range: undefined })
          t.strictSame(reading.stored, { start: 0, end: stored.length - 1 })
          t.ok(equal(await get(reading, stored), plaintext))
          const text = await one.decrypt(base64url(envelope), { context: arn('cat') })
          t.ok(equal(await get(text, stored), plaintext), 'from text; stored entries need not be named')
        }
      }
    }
  }
})

t.test('adapters of the façades', async t => {
  const plaintext = bodyOf(100_000)
  const web = createWebSse({ kms, accept: [keyId] })
  const throughWeb = async (stream: TransformStream<Uint8Array, Uint8Array>, bytes: Uint8Array) =>
    new Uint8Array(await new Response(new Blob([copy(bytes)]).stream().pipeThrough(stream)).arrayBuffer())
  const throughStage = async (stage: Stage, bytes: Uint8Array) =>
    buffer(Readable.from(inChunks(bytes, 9999)).compose(chain([stage])))
  for (const one of [sse, web]) {
    const a = await one.encrypt()
    const stored = await throughWeb(a.web(), plaintext)
    const b = await one.decrypt(a.result().envelope)
    t.ok(equal(await throughStage(b.stage(), stored), plaintext))
    const c = await one.encrypt()
    const staged = await throughStage(c.stage(), plaintext)
    t.ok(equal(await throughWeb((await one.decrypt(c.result().envelope)).web(), staged), plaintext))
  }
  const put = await sse.encrypt()
  t.equal(put.stream, put.stream, 'one stream, however often it is asked for')
  const stored = await buffer(Readable.from([plaintext]).compose(put.stream))
  const { stream } = await sse.decrypt(put.result().envelope)
  t.ok(equal(await buffer(Readable.from([stored]).compose(stream)), plaintext))
})

t.test('a body that does not end well is no object', async t => {
  const wrong = await sse.encrypt({ length: 10 })
  await t.rejects(
    pipeline(Readable.from([bodyOf(11)]), wrong.stream, async source => buffer(source)),
    {
      code: 'LengthMismatch',
    },
  )
  t.throws(() => wrong.result(), TypeError)
  const cause = new Error('no checksum')
  const values = () => {
    throw cause
  }
  const broken = await sse.encrypt({ values })
  t.equal((await drive(broken.driver, [bodyOf(10)])).error, cause)
  t.throws(() => broken.result(), TypeError)
  const upload = await sse.createUpload()
  const part = await sse.encryptPart(upload, 1, { values })
  t.equal((await drive(part.driver, [bodyOf(10)])).error, cause)
  t.throws(() => part.result(), TypeError)
  // Disposed while its end is under way: what would come of it is sealed under keys that were wiped.
  let release: (values: Values) => void = () => undefined
  const waiting = () => new Promise<Values>(resolve => (release = resolve))
  for (const late of [await sse.encrypt({ values: waiting }), await sse.encryptPart(upload, 2, { values: waiting })]) {
    const ending = Promise.resolve(late.driver.end(() => undefined))
    await new Promise(resolve => setTimeout(resolve, 20))
    late.driver.dispose()
    release(new Map([[valueIds.md5.id, md5(bodyOf(0))]]))
    await t.rejects(ending, { name: 'TypeError', message: /disposed/ })
    t.throws(() => late.result(), TypeError)
  }
  for (const length of [-1, 0.5, 2 ** 53]) {
    await t.rejects(sse.encrypt({ length }), RangeError)
    await t.rejects(sse.encryptPart(upload, 1, { length }), RangeError)
  }
})

t.test('what a store claims is held to what is authentic', async t => {
  const plaintext = bodyOf(5000)
  const values = () => new Map([[valueIds.md5.id, md5(plaintext)]])
  const writing = await sse.encrypt({ context: arn('a'), values })
  const stored = await put(writing, plaintext)
  const { envelope, etag, values: sealed } = writing.result()
  const context = arn('a')
  const reading = await sse.decrypt(envelope, { context, held: stored.length, etag, values: sealed })
  t.strictSame([...reading.values], [[1, md5(plaintext)]])
  t.equal((await sse.decrypt(envelope, { context })).values.size, 0, 'not asked for')
  const claims: readonly (readonly [string, object])[] = [
    ['a byte more', { held: stored.length + 1 }],
    ['a byte less', { held: stored.length - 1 }],
    ['another ETag', { etag: etag.replace(/^./, digit => (digit === '0' ? '1' : '0')) }],
    ['values changed', { values: sealed.map(byte => byte ^ 1) }],
    ['values cut', { values: sealed.subarray(1) }],
    ['another name', { context: arn('b') }],
    ['no name', { context: {} }],
    ['a name more', { context: { ...context, 'aws:more': '1' } }],
    ['a user entry that is not stored', { context: { ...context, project: 'south' } }],
  ]
  for (const [name, claim] of claims) {
    await t.rejects(sse.decrypt(envelope, { context, ...claim }), { code: 'NotAuthentic' }, name)
  }
  const unwritten = await sse.encrypt({ context: { 'aws:x': 'y'.repeat(9000) } }).catch((error: unknown) => error)
  t.match(unwritten, { code: 'InvalidContext' })
  await t.rejects(sse.decrypt('@elsewhere'), { code: 'NotAuthentic' }, 'text that is no envelope')
})

/** Completes an upload of these parts; what is stored, in object order. */
const multipart = async (sse: Sse, parts: readonly (readonly [number, Uint8Array])[], context = arn('parts')) => {
  const upload = await sse.createUpload({ context })
  const receipts: Uint8Array[] = []
  const named: NamedPart[] = []
  const bodies = new Map<number, Uint8Array>()
  for (const [number, plaintext] of parts) {
    const part = await sse.encryptPart(upload, number, { context, length: plaintext.length })
    bodies.set(number, await put(part, plaintext))
    receipts.push(part.result().receipt)
    named.push({ part: number, etag: part.result().etag })
  }
  named.sort((a, b) => a.part - b.part)
  const done = await sse.completeUpload(upload, named, receipts, { context })
  const stored = concat(...done.parts.map(({ part }) => bodies.get(part) ?? new Uint8Array(0)))
  return { upload, receipts, named, done, stored, context }
}

t.test('ranges over parts, empty ones and full segments among them', async t => {
  const layouts: readonly (readonly number[])[] = [
    [0],
    [1],
    [S, S, 5],
    [0, 0, 7, 0, 0, 2 * S, 0, 3 * S + 1, 0],
    [2 * S, 0, 1],
    [5, 0],
    [0, 5],
    [S - 1, 1, S + 1, 2 * S],
  ]
  for (const lengths of layouts) {
    const parts = lengths.map((length, i) => [2 * i + 1, bodyOf(length, i)] as const)
    const plaintext = concat(...parts.map(([, bytes]) => bytes))
    const total = plaintext.length
    const { done, stored, context } = await multipart(small, parts)
    t.strictSame([done.plaintextLength, done.storedLength], [total, stored.length])
    t.match(done.etag, new RegExp(`^[0-9a-f]{32}-${parts.length}$`))
    for (const engine of [nodeEngine, webCryptoEngine]) {
      const one = createSse({ kms, accept: [keyId], engine })
      const call = { context, held: stored.length, etag: done.etag }
      const whole = await one.decrypt(done.envelope, call)
      t.ok(equal(await get(whole, stored), plaintext), `${lengths}: whole`)
      t.strictSame(
        whole.parts.map(({ part, length }) => [part, length]),
        parts.map(([part, { length }]) => [part, length]),
      )
      const edges = lengths.flatMap((_, i) => {
        const at = lengths.slice(0, i + 1).reduce((a, b) => a + b, 0)
        return [at - 1, at, at + 1, at - S, at + S].filter(n => n >= 0 && n < total)
      })
      const offset = total === 0 ? fc.constant(0) : fc.oneof(fc.nat(total - 1), fc.constantFrom(...edges))
      await fc.assert(
        fc.asyncProperty(offset, offset, async (a, b) => {
          if (total === 0) return
          const range = { start: Math.min(a, b), end: Math.max(a, b) }
          const reading = await one.decrypt(done.envelope, { ...call, range })
          assert.deepEqual(reading.range, range)
          assert.equal(reading.length, range.end - range.start + 1)
          assert.ok(equal(await get(reading, stored), plaintext.subarray(range.start, range.end + 1)))
          const most = reading.length + 2 * (S + 16) + (lengths.length + 1) * 72 + 16 * (reading.length / S)
          assert.ok(reading.stored.end - reading.stored.start + 1 <= most, 'only the segments that are needed')
        }),
        { numRuns: 25 },
      )
      for (const range of [{ start: total }, { suffix: 0 }, { start: 5, end: 4 }]) {
        await t.rejects(one.decrypt(done.envelope, { ...call, range }), { code: 'RangeNotSatisfiable' })
      }
      if (total === 0) continue
      for (const [range, expected] of [
        [{ suffix: 3 }, plaintext.subarray(-3)],
        [{ suffix: total + 9 }, plaintext],
        [{ start: 0, end: total + 9 }, plaintext],
        [{ start: total - 1 }, plaintext.subarray(-1)],
      ] as const) {
        t.ok(equal(await get(await one.decrypt(done.envelope, { ...call, range }), stored), expected))
      }
    }
    if (total === 0) continue
    const unlock = {
      engine: nodeEngine,
      providers: providersOf([kms]),
      accept: [{ provider: 'local', keyId }],
      context,
    }
    const range = { start: total >> 1, end: total - 1 }
    const piped = await decryptBody(unlock, { envelope: done.envelope, range, sequential: true })
    t.ok(equal(await driven(piped.driver, [stored]), plaintext.subarray(range.start)), `${lengths}: from a pipe`)
  }
})

t.test('a range opens its segments and no others', async t => {
  const plaintext = bodyOf(3 * S)
  const writing = await small.encrypt()
  const stored = await put(writing, plaintext)
  const range = { start: S + 1, end: S + 2 }
  const damaged = stored.map((byte, i) => (i >= 56 + S + 16 && i < 56 + 2 * (S + 16) ? byte : byte ^ 1))
  t.ok(
    equal(
      await get(await small.decrypt(writing.result().envelope, { range }), damaged),
      plaintext.subarray(S + 1, S + 3),
    ),
  )
})

t.test('an upload is resumed anywhere, out of its session and receipts', async t => {
  const context = { ...arn('big'), team: 'x' }
  const created = await small.createUpload({ context, own: 'store.1' })
  t.match(created.uploadId, /^[A-Za-z0-9_-]{32}\.store\.1$/)
  const stored: StoredUpload = JSON.parse(
    JSON.stringify({ uploadId: created.uploadId, session: hex(created.session) }),
    (key, value) => (key === 'session' ? new Uint8Array(Buffer.from(String(value), 'hex')) : value),
  )
  const bodies = new Map<string, Uint8Array>()
  const receipts: Uint8Array[] = []
  const etags = new Map<string, string>()
  const uploadPart = async (label: string, number: number, plaintext: Uint8Array) => {
    const other = await LocalKms.open(directory, root) // another process
    const there = createSse({ kms: other, accept: [keyId], suite: 5, engine: webCryptoEngine })
    const values = () => new Map([[valueIds.md5.id, md5(plaintext)]])
    const part = await there.encryptPart(stored, number, { context: arn('big'), values })
    const body = await put(part, plaintext)
    const { receipt, etag, attempt, plaintextLength, storedLength: size } = part.result()
    t.strictSame([plaintextLength, size], [plaintext.length, body.length])
    t.match(etag, new RegExp(`^[0-9a-f]{32}-${number}$`))
    t.equal(attempt, hex(body.subarray(0, 24)))
    bodies.set(attempt, body)
    receipts.push(receipt)
    etags.set(label, etag)
    other.close()
  }
  const [one, two, again, three] = [bodyOf(S), bodyOf(20), bodyOf(20, 2), bodyOf(7)]
  await uploadPart('3', 3, three)
  await uploadPart('2', 2, two)
  await uploadPart('1', 1, one)
  await uploadPart('2 again', 2, again)
  await uploadPart('2 once more', 2, two)
  t.not(etags.get('2'), etags.get('2 once more'), 'the same bytes in another attempt have another ETag')

  const listed = await sse.listParts(stored, receipts, { context: arn('big') })
  t.strictSame(
    listed.map(({ part, length, etag }) => [part, length, etag]),
    [
      [3, 7, etags.get('3')],
      [2, 20, etags.get('2')],
      [1, S, etags.get('1')],
      [2, 20, etags.get('2 again')],
      [2, 20, etags.get('2 once more')],
    ],
  )
  t.strictSame(listed[0]?.values.get(1), md5(three))

  const name = (part: number, label: string): NamedPart => ({ part, etag: etags.get(label) ?? '' })
  const held = ({ attempt }: { readonly attempt: string }) => {
    const body = bodies.get(attempt)
    return body === undefined ? undefined : { length: body.length, salt: body.subarray(0, 24) }
  }
  const digest = md5(concat(md5(one), md5(again), md5(three)))
  const done = await sse.completeUpload(stored, [name(1, '1'), name(2, '2 again'), name(3, '3')], receipts, {
    context: arn('big'),
    attempts: parts => parts.map(held),
    minimumPartSize: 10,
    values: parts =>
      new Map([[compositeFlag + valueIds.md5.id, md5(concat(...parts.map(({ values }) => values.get(1) ?? digest)))]]),
  })
  const body = concat(...done.parts.map(({ attempt }) => bodies.get(attempt) ?? new Uint8Array(0)))
  const reading = await sse.decrypt(done.envelope, { context: arn('big'), held: body.length, values: done.values })
  t.ok(equal(await get(reading, body), concat(one, again, three)))
  t.strictSame([...reading.values], [[0x81, digest]])
  t.equal(done.token, hex(parseEnvelope(done.envelope).descriptor.bytes))
  t.equal(parseEnvelope(done.envelope).descriptor.suite.id, 2, 'the suite is the session’s')

  // Whoever comes second with the same list gets the same descriptor; with another one another.
  const list = [name(1, '1'), name(2, '2')]
  const call = { context: arn('big') }
  const first = await sse.completeUpload(stored, list, receipts, call)
  t.equal((await sse.completeUpload(stored, list, [...receipts].reverse(), call)).token, first.token)
  t.not(first.token, done.token)

  // MD5s name what was uploaded twice; every machine takes the attempt with the greatest salt.
  const named = (part: number, plaintext: Uint8Array): NamedPart => ({ part, etag: hex(md5(plaintext)) })
  const attempts = listed.filter(({ etag }) => etag === etags.get('2') || etag === etags.get('2 once more'))
  const greatest = attempts
    .map(({ attempt }) => attempt)
    .sort()
    .at(-1)
  for (const order of [receipts, [...receipts].reverse()]) {
    const picked = await sse.completeUpload(stored, [named(1, one), named(2, two)], order, { ...call, md5: true })
    t.equal(picked.parts[1]?.attempt, greatest)
  }

  const refusals: readonly (readonly [string, readonly NamedPart[], string, object?])[] = [
    ['no part', [], 'InvalidRequest'],
    ['too many parts', Array.from({ length: 10_001 }, (_, i) => ({ part: i + 1, etag: '' })), 'InvalidRequest'],
    ['descending', [name(2, '2'), name(1, '1')], 'InvalidPartOrder'],
    ['twice', [name(1, '1'), name(1, '1')], 'InvalidPartOrder'],
    ['part 0', [{ part: 0, etag: '' }], 'InvalidPartOrder'],
    ['the ETag of another part', [name(1, '2')], 'InvalidPart'],
    ['the ETag of nothing', [{ part: 1, etag: '0'.repeat(32) }], 'InvalidPart'],
    ['an ETag in quotes', [{ part: 1, etag: `"${etags.get('1')}"` }], 'InvalidPart'],
    ['an MD5', [named(1, one)], 'InvalidPart'],
    ['a keyed ETag where MD5s are asked for', [name(1, '1')], 'InvalidPart', { md5: true }],
    ['a part that was never uploaded', [name(4, '3')], 'InvalidPart'],
    [
      'a small part in the middle',
      [name(1, '1'), name(2, '2'), name(3, '3')],
      'EntityTooSmall',
      { minimumPartSize: 21 },
    ],
    ['an attempt that is gone', [name(1, '1')], 'InvalidPart', { attempts: () => [undefined] }],
    ['another length', [name(1, '1')], 'InvalidPart', { attempts: () => [{ length: 10, salt: body.subarray(0, 24) }] }],
    ['another salt', [name(1, '1')], 'InvalidPart', { attempts: () => [{ length: S + 88, salt: new Uint8Array(24) }] }],
    [
      'too little of its salt',
      [name(1, '1')],
      'InvalidPart',
      { attempts: () => [{ length: S + 88, salt: new Uint8Array(0) }] },
    ],
  ]
  for (const [label, list, code, more = {}] of refusals) {
    await t.rejects(sse.completeUpload(stored, list, receipts, { ...call, ...more }), { code }, label)
  }
  await t.rejects(sse.completeUpload(stored, [name(1, '1')], [], call), { code: 'InvalidPart' }, 'no receipts')
  for (const uploadId of [
    '',
    created.uploadId.slice(0, 31),
    `${created.uploadId.startsWith('x') ? 'y' : 'x'}${created.uploadId.slice(1)}`,
    `${created.uploadId.slice(0, 32)}x`,
  ]) {
    await t.rejects(sse.listParts({ ...stored, uploadId }, receipts, call), { code: 'NoSuchUpload' }, uploadId)
  }
  t.strictSame(
    await sse.listParts(stored, [receipts[0]?.subarray(1) ?? body], call),
    [],
    'what does not parse is left out',
  )
  for (const own of ['', 'a/b', 'x'.repeat(513)]) await t.rejects(sse.createUpload({ own }), RangeError, own)
  for (const part of [0, -1, 1.5, 10_001, NaN]) await t.rejects(sse.encryptPart(stored, part, call), RangeError)
})

t.test('Complete opens each receipt once, however many attempts a part has', async t => {
  let etags = 0
  let opened = 0
  const engine: typeof nodeEngine = {
    ...nodeEngine,
    hmacSha256: (...data) => {
      etags++
      return nodeEngine.hmacSha256(...data)
    },
    open: (...message) => {
      opened++
      return nodeEngine.open(...message)
    },
  }
  const counted = createSse({ kms: customerKey(engine, new Uint8Array(32)), accept: [''], engine })
  const call = { customerKey: new Uint8Array(32) }
  const upload = await counted.createUpload(call)
  const [parts, attempts] = [10, 20]
  const receipts: Uint8Array[] = []
  const named: NamedPart[] = []
  for (let attempt = 1; attempt <= attempts; attempt++) {
    for (let part = 1; part <= parts; part++) {
      const values = () => new Map([[valueIds.md5.id, md5(bodyOf(part))]])
      const sealing = await counted.encryptPart(upload, part, { ...call, values })
      await put(sealing, bodyOf(part))
      const { receipt, etag } = sealing.result()
      receipts.push(receipt)
      if (attempt === attempts) named.push({ part, etag })
    }
  }
  etags = 0
  opened = 0
  await counted.completeUpload(upload, named, receipts, call)
  t.equal(opened, parts * attempts)
  t.equal(etags, parts * attempts + 2, 'one for each receipt, the descriptor and the object')
})

t.test('values of single parts stay with the object, sealed as in their receipts', async t => {
  const context = arn('parts')
  const upload = await sse.createUpload({ context })
  const sealing = [
    [2, bodyOf(20), true],
    [5, bodyOf(50), false],
    [7, bodyOf(70), true],
  ] as const
  const receipts: Uint8Array[] = []
  const named: NamedPart[] = []
  for (const [number, plaintext, hasValues] of sealing) {
    const values = () => new Map(hasValues ? [[valueIds.md5.id, md5(plaintext)]] : [])
    const part = await sse.encryptPart(upload, number, { context, values })
    await put(part, plaintext)
    receipts.push(part.result().receipt)
    named.push({ part: number, etag: part.result().etag })
  }
  const { envelope, partValues: sealed } = await sse.completeUpload(upload, named, receipts, { context })
  const open = async (parts: readonly number[], from = sealed, bytes = envelope, key: object = {}) => {
    const reading = await sse.decrypt(bytes, { context, partValues: { sealed: from, parts }, ...key })
    reading.driver.dispose()
    return reading.partValues
  }
  const of = (length: number) => new Map([[valueIds.md5.id, md5(bodyOf(length))]])
  t.strictSame(await open([7]), new Map([[7, of(70)]]))
  t.strictSame(
    await open([2, 5, 6, 7]),
    new Map([
      [2, of(20)],
      [5, new Map()],
      [7, of(70)],
    ]),
    'a part without values has none, and a number that is no part is left out',
  )
  t.strictSame(await open([2], new Uint8Array(0)), new Map(), 'none are kept')
  const customer = { customerKey: new Uint8Array(32).fill(9) }
  const moved = await sse.rewrap(envelope, { context, to: customer })
  t.strictSame(await open([7], sealed, moved, customer), new Map([[7, of(70)]]), 'a rewrap leaves them')

  const half = sealed.length / 2 - 1 // two of the same size, and between them the length of none
  const [first, none, last] = [sealed.subarray(0, half), sealed.subarray(half, half + 2), sealed.subarray(half + 2)]
  const changed = copy(sealed)
  changed[20] = (changed[20] ?? 0) ^ 1
  for (const [wrong, what] of [
    [concat(last, none, first), 'in another order'],
    [concat(first, last), 'one is missing'],
    [concat(sealed, none), 'one more'],
    [sealed.subarray(0, -1), 'cut'],
    [changed, 'changed'],
  ] as const) {
    await t.rejects(open([2], wrong), { code: 'NotAuthentic' }, what)
  }
  t.strictSame(await open([7], changed), new Map([[7, of(70)]]), 'only those that are asked for are opened')
  const { done } = await multipart(sse, [[1, bodyOf(1)]])
  t.equal(done.partValues.length, 0, 'no bytes where no part has values')
})

t.test('one part, and 10,000', async t => {
  const { done, stored, context } = await multipart(sse, [[10_000, bodyOf(3)]])
  t.ok(equal(await get(await sse.decrypt(done.envelope, { context }), stored), bodyOf(3)))
  const upload = await sse.createUpload()
  const part = await sse.encryptPart(upload, 1)
  await put(part, bodyOf(9))
  t.equal(parseReceipt(part.result().receipt).row.length, 9)
})

t.test('accepted keys', async t => {
  const writing = await sse.encrypt({ context: arn('a') })
  const stored = await put(writing, bodyOf(10))
  const { envelope } = writing.result()
  const context = arn('a')
  const code = 'KeyNotAccepted'
  await t.rejects(sse.decrypt(envelope, { context, accept: [other] }), { code })
  await t.rejects(sse.decrypt(envelope, { context, accept: [] }), { code })
  await t.rejects(
    sse.decrypt(envelope, { context, accept: [keyId.toUpperCase(), `${keyId} `] }),
    { code },
    'byte for byte',
  )
  await t.rejects(
    sse.decrypt(envelope, { context, accept: [{ provider: 'aws-kms', keyId }] }),
    { code },
    'another provider',
  )
  await t.rejects(sse.encrypt({ keyId: other }), { code }, 'nothing is written under another key')
  await t.rejects(sse.createUpload({ keyId: other }), { code })
  await t.rejects(sse.encrypt({ accept: [] }), { code }, 'nor under none')
  t.equal((await sse.encrypt({ keyId: other, accept: [keyId, other] })).keyId, other)
  const rotated = (await kms.createKey(scope)).keyId
  const old = await sse.encrypt({ accept: [rotated] })
  const oldBody = await put(old, bodyOf(10))
  await kms.rotateKey({ keyId: rotated })
  const young = await sse.encrypt({ accept: [rotated] })
  await put(young, bodyOf(10))
  const fromTwo = [{ provider: 'local', keyId: rotated, lowestVersion: 2 }]
  await t.rejects(
    sse.decrypt(old.result().envelope, { accept: fromTwo }),
    { code, message: /under version 1 of its key, and only versions from 2 on.* rewrap the object: .*sse-kms rewrap/ },
    'below the lowest version',
  )
  await sse.decrypt(young.result().envelope, { accept: fromTwo })
  t.ok(equal(await get(await sse.decrypt(old.result().envelope, { accept: [rotated] }), oldBody), bodyOf(10)))
  t.ok(equal(await get(await sse.decrypt(envelope, { context, accept: [other, keyId] }), stored), bodyOf(10)))
})

t.test('a customer’s key', async t => {
  const customerKey = Buffer.alloc(32, 7)
  const plaintext = bodyOf(100)
  const writing = await sse.encrypt({ customerKey, context: arn('c') })
  t.equal(writing.keyId, '')
  const stored = await put(writing, plaintext)
  const { envelope } = writing.result()
  t.ok(equal(await get(await sse.decrypt(envelope, { customerKey, context: arn('c') }), stored), plaintext))
  t.strictSame(customerKey, Buffer.alloc(32, 7), 'the caller’s memory is not touched')
  await t.rejects(sse.decrypt(envelope, { customerKey: new Uint8Array(32), context: arn('c') }), {
    code: 'WrongCustomerKey',
  })
  await t.rejects(sse.decrypt(envelope, { customerKey, context: arn('d') }), { code: 'WrongCustomerKey' })
  await t.rejects(sse.decrypt(envelope, { context: arn('c') }), { code: 'KeyNotAccepted' }, 'without the key')
  const managed = await sse.encrypt()
  await put(managed, plaintext)
  await t.rejects(sse.decrypt(managed.result().envelope, { customerKey }), { code: 'KeyNotAccepted' }, 'not asked for')
  for (const size of [0, 16, 31, 33]) await t.rejects(sse.encrypt({ customerKey: new Uint8Array(size) }), RangeError)
  const upload = await sse.createUpload({ customerKey })
  const part = await sse.encryptPart(upload, 1, { customerKey })
  const body = await put(part, plaintext)
  const { etag, receipt } = part.result()
  const done = await sse.completeUpload(upload, [{ part: 1, etag }], [receipt], { customerKey })
  t.ok(equal(await get(await sse.decrypt(done.envelope, { customerKey }), body), plaintext))
  await t.rejects(sse.encryptPart(upload, 1, { customerKey: new Uint8Array(32) }), { code: 'WrongCustomerKey' })
})

t.test('rewrap: another key or name over the same bytes', async t => {
  const counting = stubLocal({ a: { 1: new Uint8Array(32).fill(1) }, b: { 1: new Uint8Array(32).fill(2) } })
  const one = createSse({ kms: counting, accept: ['a'] })
  const customerKey = new Uint8Array(32).fill(9)
  const plaintext = bodyOf(1000)
  const values = () => new Map([[valueIds.md5.id, md5(plaintext)]])
  const writing = await one.encrypt({ context: { ...arn('old'), team: 'x' }, values })
  const stored = await put(writing, plaintext)
  const { envelope, values: sealed, etag } = writing.result()
  const reads = async (t: Test, copied: Uint8Array, call: object, name: string) => {
    const reading = await one.decrypt(copied, { held: stored.length, etag, values: sealed, ...call })
    t.ok(equal(await get(reading, stored), plaintext), name)
    t.strictSame(reading.values.get(1), md5(plaintext), `${name}: its sealed values go along`)
  }
  const context = arn('old')
  const renamed = await one.rewrap(envelope, { context, to: { context: arn('new') } })
  t.equal(counting.calls.rewrap, 1, 'inside the KMS')
  await reads(t, renamed, { context: arn('new') }, 'renamed')
  await t.rejects(one.decrypt(renamed, { context }), { code: 'NotAuthentic' })
  const moved = await one.rewrap(base64url(envelope), { context, to: { accept: ['a', 'b'], keyId: 'b' } })
  await reads(t, moved, { context: { ...arn('old'), team: 'x' }, accept: ['b'] }, 'under another key, the context kept')
  await t.rejects(one.decrypt(moved, { context }), { code: 'KeyNotAccepted' })
  const toCustomer = await one.rewrap(envelope, { context, to: { customerKey } })
  await reads(t, toCustomer, { context, customerKey }, 'to a customer’s key')
  const otherCustomer = new Uint8Array(32).fill(8)
  const between = await one.rewrap(toCustomer, { context, customerKey, to: { customerKey: otherCustomer } })
  await reads(t, between, { context, customerKey: otherCustomer }, 'between customer’s keys')
  const back = await one.rewrap(between, { context, customerKey: otherCustomer, to: { context: arn('back') } })
  await reads(t, back, { context: arn('back') }, 'back from a customer’s key')
  t.equal(counting.calls.wrap, 1)
  t.equal(counting.calls.rewrap, 2)

  const before = { ...counting.calls }
  await t.rejects(one.rewrap(envelope, { context, accept: ['b'], to: {} }), { code: 'KeyNotAccepted' }, 'from a key')
  await t.rejects(one.rewrap(envelope, { context, to: { keyId: 'b' } }), { code: 'KeyNotAccepted' }, 'to a key')
  t.strictSame(counting.calls, before, 'refused before any call')
  await t.rejects(one.rewrap(envelope, { context: arn('x'), to: {} }), { code: 'NotAuthentic' })

  // The new record must open the descriptor before the old one may go.
  const wrong = {
    ...counting,
    rewrapDataKey: async () =>
      counting.wrapDataKey(new DataKey(new Uint8Array(32)), { keyId: 'a', context: encryptionContext(context) }),
  }
  const careless = createSse({ kms: wrong, accept: ['a'] })
  await t.rejects(careless.rewrap(envelope, { context, to: { context } }), { code: 'NotAuthentic' })
})

t.test('an object under a bucket key', async t => {
  const local = stubLocal({ a: { 1: new Uint8Array(32).fill(1) }, b: { 1: new Uint8Array(32).fill(2) } })
  const one = createSse({ kms: local, accept: ['a', 'b'] })
  const bucketContext = { 'aws:s3:arn': 'arn:aws:s3:::bucket' }
  const context = arn('k')
  const writing = await one.encrypt({ context })
  const stored = await put(writing, bodyOf(50))
  const { record, descriptor, table } = parseEnvelope(writing.result().envelope)
  const objectContext = encryptionContext(context)
  const key = await unwrapKey(nodeEngine, local, record.wrapped, objectContext, undefined)
  const bucketKey = await local.generateDataKey({ keyId: 'a', context: encryptionContext(bucketContext) })
  const wrapped = await wrapNested(nodeEngine, 3, bucketKey.key, bucketKey.wrapped, key, objectContext)
  const envelope = encodeEnvelope(encodeRecord(wrapped, objectContext.stored), descriptor.bytes, table)
  t.ok(equal(await get(await one.decrypt(envelope, { context, bucketContext }), stored), bodyOf(50)))
  const calls = local.calls.unwrap
  await t.rejects(one.decrypt(envelope, { context }), { code: 'KeyNotAccepted', message: /bucket context/ })
  const low = [{ provider: 'local', keyId: 'a', lowestVersion: 2 }]
  await t.rejects(one.decrypt(envelope, { context, bucketContext, accept: low }), { code: 'KeyNotAccepted' })
  t.equal(local.calls.unwrap, calls, 'refused before any call')
  await t.rejects(one.decrypt(envelope, { context, bucketContext: arn('other') }), { code: 'NotAuthentic' })
  await t.rejects(one.decrypt(envelope, { context: arn('other'), bucketContext }), { code: 'NotAuthentic' })
  const moved = await one.rewrap(envelope, { context, bucketContext, to: { keyId: 'b' } })
  t.equal(local.calls.rewrap, 0, 'the blob of a bucket key never leaves its bucket')
  t.ok(equal(await get(await one.decrypt(moved, { context }), stored), bodyOf(50)))
})

t.test('re-encryption while the bytes flow', async t => {
  const target = createSse({ kms, accept: [keyId, other], suite: 2, engine: webCryptoEngine })
  const plaintext = bodyOf(200_000)
  const context = { ...arn('old'), team: 'x' }
  const writing = await sse.encrypt({ context })
  const stored = await put(writing, plaintext)
  const { envelope } = writing.result()
  const through = async (call: Parameters<Sse['reencrypt']>[1]) => {
    const copying = await target.reencrypt(envelope, call)
    const { start, end } = copying.from.stored
    const body = await put(copying, stored.subarray(start, end + 1))
    return { copying, body, result: copying.result() }
  }
  const kept = await through({ context: arn('old'), to: {} })
  t.ok(
    equal(await get(await target.decrypt(kept.result.envelope, { context }), kept.body), plaintext),
    'the context is kept',
  )
  t.equal(parseEnvelope(kept.result.envelope).descriptor.suite.id, 2)
  t.strictSame(kept.copying.planned?.envelope, kept.result.envelope)
  const moved = await through({
    context,
    range: { start: 70_000, end: 140_000 },
    to: { keyId: other, context: arn('new') },
  })
  t.equal(moved.copying.keyId, other)
  t.ok(
    equal(
      await get(await target.decrypt(moved.result.envelope, { context: arn('new') }), moved.body),
      plaintext.subarray(70_000, 140_001),
    ),
  )
  await t.rejects(target.reencrypt(envelope, { context, to: { accept: [] } }), { code: 'KeyNotAccepted' })
  await t.rejects(target.reencrypt(envelope, { context: {}, to: {} }), { code: 'NotAuthentic' })
  const broken = await target.reencrypt(base64url(envelope), { context, to: {} })
  const { error } = await drive(broken.driver, [stored.map((byte, i) => (i === 100_000 ? byte ^ 1 : byte))])
  t.match(error, { code: 'NotAuthentic' })
  t.throws(() => broken.result(), TypeError)
})

t.test('files', async t => {
  const customerKey = new Uint8Array(32).fill(5)
  for (const suite of [1, 2, 3] as const satisfies readonly SuiteId[]) {
    const one = createSse({ kms, accept: [keyId, other], suite })
    for (const size of [0, 1, 16_384, 65_536, 100_000]) {
      const plaintext = bodyOf(size)
      for (const length of [undefined, size]) {
        const writing = await one.encrypt({ file: true, length, context: { team: 'x' } })
        const file = await put(writing, plaintext)
        const label = `suite ${suite}, ${size} bytes, ${length === undefined ? 'unknown' : 'known'}`
        t.equal(writing.result().plaintextLength, length ?? Infinity)
        t.equal(
          writing.planned?.fileLength,
          length === undefined ? Infinity : file.length,
          `${label}: bytes of the file`,
        )
        const reading = await one.decryptFile(inMemory(file))
        t.strictSame([reading.length, reading.plaintextLength], [size, size], `${label}: an authentic length`)
        t.ok(equal(await get(reading, file), plaintext), `${label}: from a file`)
        t.ok(
          equal(await driven((await one.decryptPipe()).driver, inRandomChunks(file, seeded(size))), plaintext),
          `${label}: from a pipe`,
        )
        if (size < 2)
          t.ok(equal(await driven((await one.decryptPipe()).driver, inChunks(file, 1)), plaintext), 'byte by byte')
        const ranges = [{ start: 0, end: 0 }, { start: size >> 1 }, { start: size - 1, end: size + 100 }]
        for (const range of size === 0 ? [] : ranges) {
          const expected = plaintext.subarray(range.start, (range.end ?? size) + 1)
          t.ok(equal(await get(await one.decryptFile(inMemory(file), { range }), file), expected), `${label}: a range`)
          t.ok(
            equal(await driven((await one.decryptPipe({ range })).driver, [file]), expected),
            `${label}: a range of a pipe`,
          )
        }
        for (const range of [{ start: size }, { start: size, end: size + 5 }]) {
          await t.rejects(one.decryptFile(inMemory(file), { range }), { code: 'RangeNotSatisfiable' })
          const { error } = await drive((await one.decryptPipe({ range })).driver, [file])
          t.match(error, { code: 'RangeNotSatisfiable' }, `${label}: past the end`)
        }
        const { prefix, streams } = await one.rewrapFile(inMemory(file), {
          to: { keyId: other, context: { now: 'y' } },
        })
        const moved = concat(prefix, file.subarray(streams.start, streams.end + 1))
        const call = { accept: [other], context: { now: 'y' } }
        t.ok(equal(await get(await one.decryptFile(inMemory(moved), call), moved), plaintext), `${label}: rewrapped`)
        await t.rejects(one.decryptFile(inMemory(moved), { accept: [keyId] }), { code: 'KeyNotAccepted' })
      }
    }
  }
  for (const engine of [nodeEngine, webCryptoEngine]) {
    const one = createSse({ kms, accept: [keyId], suite: 2, engine })
    const file = await put(await one.encrypt({ file: true }), bodyOf(2 * S + 5))
    const damaged = file.map((byte, i) => (i === file.length - 18 ? byte ^ 1 : byte))
    for (const range of [undefined, { start: 0, end: 5 }, { suffix: 1 }, { start: 9e9 }]) {
      const reading = one.decryptFile(inMemory(damaged), { range })
      await t.rejects(reading, { code: 'NotAuthentic' }, 'a length that is unknown is established first')
    }
  }
  const writing = await sse.encrypt({ file: true, customerKey })
  const file = await put(writing, bodyOf(10))
  t.ok(equal(await get(await sse.decryptFile(inMemory(file), { customerKey }), file), bodyOf(10)))
  t.ok(equal(await driven((await sse.decryptPipe({ customerKey })).driver, [file]), bodyOf(10)))
  const wrong = await sse.decryptPipe({ customerKey: new Uint8Array(32) })
  t.match((await drive(wrong.driver, inChunks(file, 50))).error, { code: 'WrongCustomerKey' })

  for (const cut of [0, 1, 7, 8, 9, 100, file.length - 1]) {
    const short = file.subarray(0, cut)
    await t.rejects(sse.decryptFile(inMemory(short), { customerKey }), { code: 'NotAuthentic' }, `cut to ${cut}`)
    t.match((await drive((await sse.decryptPipe({ customerKey })).driver, [short])).error, { code: 'NotAuthentic' })
  }
  for (const garbage of [utf8('SKF1'), utf8('not a file at all'), new Uint8Array(100)]) {
    await t.rejects(sse.decryptFile(inMemory(garbage)), { code: 'NotAuthentic' })
    t.match((await drive((await sse.decryptPipe()).driver, [garbage])).error, { code: 'NotAuthentic' })
  }
  // An envelope without a body of its own is no file, and a file's may not stand beside an object.
  const unknown = await sse.encrypt({ file: true })
  await put(unknown, bodyOf(10))
  await t.rejects(sse.decrypt(unknown.result().envelope), { code: 'NotAuthentic' }, 'flag bit 0 outside a file')
})

t.test('a pipe that is disposed while its key is asked for', async t => {
  let answer: () => void = () => undefined
  const asked = new Promise<void>(resolve => (answer = resolve))
  const slow = {
    ...stubLocal({ a: { 1: new Uint8Array(32).fill(1) } }),
  }
  const { unwrapDataKey } = slow
  slow.unwrapDataKey = async request => {
    await asked
    return unwrapDataKey(request)
  }
  const one = createSse({ kms: slow, accept: ['a'] })
  const writing = await one.encrypt({ file: true, length: 10 })
  const file = await put(writing, bodyOf(10))
  const { driver } = await one.decryptPipe()
  driver.dispose()
  const late = await one.decryptPipe()
  const released: Uint8Array[] = []
  const pending = Promise.resolve(late.driver.write(file, bytes => released.push(bytes)))
  late.driver.dispose()
  answer()
  await t.rejects(pending, { name: 'TypeError', message: /disposed/ })
  t.equal(released.length, 0)
})

t.test('an engine of another kind', async t => {
  t.throws(() => createSse({ kms, accept: [], suite: JSON.parse('4') }), RangeError, 'an unknown suite')
  const broken = createSse({ kms, accept: [keyId], engine: { ...nodeEngine, hmacSha512: () => new Uint8Array(64) } })
  const writing = await sse.encrypt()
  await put(writing, bodyOf(1))
  await t.rejects(broken.decrypt(writing.result().envelope), { code: 'NotAuthentic' })
  const { driver, stored } = await sse.decrypt(writing.result().envelope)
  t.match((await tryGet({ driver, stored }, new Uint8Array(73))).error, { code: 'NotAuthentic' })
})
