/** An example of every public function that no guide shows: what the reference includes. One key store serves them all. */
import { randomBytes } from 'node:crypto'
import { open, readFile, writeFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { crc32 } from 'node:zlib'
import t from 'tap'
import {
  answerOf,
  clientContext,
  compositeFlag,
  createSse,
  customerKey,
  DataKey,
  encryptionContext,
  errorAnswer,
  errorTable,
  tuneMemory,
  LocalKms,
  maxPlaintext,
  nobleEngine,
  nodeEngine,
  parseEnvelope,
  parseRange,
  parseReceipt,
  parseSession,
  pickEngine,
  plaintextLength,
  type RandomAccess,
  randomAccess,
  readFileEnvelope,
  resolveRange,
  SegmentMemory,
  segmentRange,
  selfTest,
  SseError,
  storedLength,
  suiteOf,
  valueIds,
  webCryptoEngine,
  type WrapTarget,
} from '../../lib/index.ts'
import { sealedFiles } from '../../lib/object/directory.ts'
import { openSslEngine } from '../../lib/openssl.ts'
import { assertCondition, authenticated, openFileStore } from '../../lib/store.ts'
import { replaceRandomness } from '../../lib/testing.ts'

process.chdir(t.testdir())
// #region sse
// #region key
const kms = await LocalKms.open('./keys', { root: { file: './root.key', create: true } })
const { keyId } = await kms.defaultKey({ region: 'sichuan', domainId: 'my-tenant' })
// #endregion key
const sse = createSse({ kms, accept: [keyId] })
// #endregion sse
t.teardown(() => kms.close())

const through = (bytes: Uint8Array, stream: NodeJS.ReadWriteStream): Promise<Buffer> =>
  buffer(Readable.from([bytes]).compose(stream))

t.test('engines and suites', async t => {
  const plain = randomBytes(1000)
  // #region engines
  await selfTest(nodeEngine) // rejects with InternalError where an answer is wrong
  const engine = await pickEngine([nodeEngine, webCryptoEngine, nobleEngine]) // the first that passes
  const chosen = createSse({ kms, accept: [keyId], engine })
  const portable = createSse({ kms, accept: [keyId], engine: nobleEngine, suite: 3 }) // ChaCha20-Poly1305
  // #endregion engines
  t.equal(engine.name, 'node')
  // #region engine-openssl
  const fast = createSse({ kms, accept: [keyId], engine: 'openssl' }) // calls reject with EngineUnavailable where it cannot be had
  const same = async () => createSse({ kms, accept: [keyId], engine: await openSslEngine() }) // rejects itself
  // #endregion engine-openssl
  for (const sse of [fast, await same()]) (await sse.encrypt()).driver.dispose()
  const put = await portable.encrypt()
  const stored = await through(plain, put.stream)
  const get = await chosen.decrypt(put.result().envelope)
  t.ok(plain.equals(await through(stored, get.stream)))
})

t.test('memory', async t => {
  // #region memory
  tuneMemory() // once, at the beginning of a program that streams much
  // #endregion memory
  t.ok(process.memoryUsage().external < 32 << 20, 'and what it took is gone')
})

t.test('memory that is used again', async t => {
  // #region segment-memory
  const source = Readable.from([randomBytes(200_000)])
  const memory = new SegmentMemory() // one for a program: it keeps at most 4 MiB
  const put = await sse.encrypt({ memory })
  const file = await open('./body', 'w')
  for await (const piece of put.pieces(source)) {
    await file.writeFile(piece)
    memory.give(piece) // it has been written: its memory may be used again
  }
  await file.close()
  // #endregion segment-memory
  t.equal((await readFile('./body')).length, put.result().storedLength)
})

t.test('a directory of sealed objects', async t => {
  // #region sealed-files
  const plain = randomBytes(1000)
  const source = Readable.from([plain])
  const files = await sealedFiles({
    sse,
    directory: './sealed',
    context: name => ({ 'aws:s3:arn': `arn:aws:s3:::bucket/${name}` }), // binds the data key to the object's name
  })
  const put = await files.put('cat.jpg', source) // a request, or any stream; put.headers has the ETag
  const get = await files.get('cat.jpg', { range: 'bytes=0-99' }) // headers of a request; every check before a byte
  const part = await buffer(get.stream) // or get.web(); get.status and get.headers are the answer's
  await files.remove('cat.jpg')
  // #endregion sealed-files
  t.ok(part.equals(plain.subarray(0, 100)))
  t.match([put.status, get.status, get.headers['content-range']], [200, 206, 'bytes 0-99/1000'])
  await t.rejects(files.get('cat.jpg'), { code: 'NoSuchKey' })
})

t.test('HTTP around objects that lie elsewhere', async t => {
  // #region http
  const context = { 'aws:s3:arn': 'arn:aws:s3:::bucket/object' }
  await writeFile('./object', await sse.encryptBytes(randomBytes(1000), { context }))

  const answer = async (range: string | undefined, path: string) => {
    const file = await open(path)
    try {
      const get = await sse.decryptFile(await randomAccess(file), { context, range: parseRange(range) })
      const { status, headers } = answerOf(get) // 200 or 206, with its headers
      const body = await buffer(file.createReadStream(get.stored).compose(get.stream))
      return { status, headers, body }
    } catch (error) {
      return errorAnswer(error) // 416, 404 and others: status, headers and a text
    } finally {
      await file.close()
    }
  }
  // #endregion http
  t.match(await answer('bytes=-5', './object'), { status: 206, headers: { 'content-range': 'bytes 995-999/1000' } })
  t.match(await answer('bytes=1000-', './object'), { status: 416, body: /^RangeNotSatisfiable/ })
})

t.test('sizes and ranges', async t => {
  // #region sizes
  const suite = suiteOf(1)
  const stored = storedLength(suite, 200_000) // bytes of the stream: header, four segments, their tags
  const plain = plaintextLength(suite, stored) // the way back
  const longest = maxPlaintext(suite) // of one stream; more goes into parts

  const range = resolveRange({ suffix: 100 }, plain) // the last 100 bytes
  const { firstSegment, storedStart, storedEnd } = segmentRange(suite, plain, range)
  // #endregion sizes
  t.equal(stored, 56 + 200_000 + 4 * 16)
  t.equal(plain, 200_000)
  t.equal(longest, 65_536 * 2 ** 32 - 1)
  t.strictSame(range, { start: 199_900, end: 199_999 })
  t.strictSame([firstSegment, storedStart, storedEnd], [3, 56 + 3 * 65_552, stored])
  t.throws(() => plaintextLength(suite, 56 + 65_552), { code: 'NotAuthentic' }, 'cut at a segment boundary')
  t.throws(() => resolveRange({ start: plain }, plain), { code: 'RangeNotSatisfiable' })
})

t.test('encryption contexts', async t => {
  // #region context
  const own = encryptionContext({ project: 'apollo', 'aws:s3:arn': 'arn:aws:s3:::bucket/key' })
  // What a client sent, and what the server computed from the request; the client may not name reserved entries.
  const sent = clientContext({ project: 'apollo' }, { 'aws:s3:arn': 'arn:aws:s3:::bucket/key' })
  // #endregion context
  t.strictSame(own.canonical, sent.canonical)
  t.strictSame([...sent.entries.keys()], ['aws:s3:arn', 'project'])
  t.throws(() => clientContext({ 'aws:other': 'x' }, {}), { code: 'InvalidContext' })
})

t.test('a customer’s key', async t => {
  // #region customer
  const secret = new Uint8Array(randomBytes(32))
  const plain = randomBytes(1000)
  const put = await sse.encrypt({ customerKey: secret }) // instead of the KMS, for this call
  const stored = await buffer(Readable.from([plain]).compose(put.stream))
  const get = await sse.decrypt(put.result().envelope, { customerKey: secret })
  // #endregion customer
  t.ok(plain.equals(await through(stored, get.stream)))
  await t.rejects(sse.decrypt(put.result().envelope, { customerKey: new Uint8Array(32) }), { code: 'WrongCustomerKey' })
})

t.test('a customer’s key as a provider', async t => {
  // #region customer-provider
  const secret = new Uint8Array(randomBytes(32))
  const kms = customerKey(nodeEngine, secret) // copies the key
  const sse = createSse({ kms, accept: [''] })
  const put = await sse.encrypt()
  kms.dispose() // wipes the copy
  // #endregion customer-provider
  const stored = await buffer(Readable.from(['hello']).compose(put.stream))
  const again = createSse({ kms: customerKey(nodeEngine, secret), accept: [''] })
  const get = await again.decrypt(put.result().envelope)
  t.equal(String(await through(stored, get.stream)), 'hello')
})

t.test('data keys', async t => {
  // #region data-key
  const context = encryptionContext({ purpose: 'backup' })
  const { key, wrapped } = await kms.generateDataKey({ keyId, context }) // wrapped is what is stored
  key.dispose() // wipes the 32 bytes; a log or JSON never shows them

  const unwrapped = await kms.unwrapDataKey({ wrapped, context })
  const moved = await kms.rewrapDataKey({ from: { wrapped, context }, to: { keyId, context } })
  const mine = new DataKey(new Uint8Array(randomBytes(32))) // takes the bytes over
  const wrappedToo = await kms.wrapDataKey(mine, { keyId, context })
  // #endregion data-key
  t.throws(() => key.bytes, TypeError)
  const [a, b] = [await kms.unwrapDataKey({ wrapped: moved, context }), unwrapped]
  t.strictSame(a.bytes, b.bytes)
  t.strictSame((await kms.unwrapDataKey({ wrapped: wrappedToo, context })).bytes, mine.bytes)
  t.equal(`${mine} ${JSON.stringify(mine)}`, '[data key] "[data key]"')
  for (const each of [a, b, mine]) each.dispose()
})

t.test('bucket keys', async t => {
  let calls = 0
  const { generateDataKey } = kms
  t.intercept(kms, 'generateDataKey', {
    value: (target: WrapTarget) => {
      calls++
      return generateDataKey.call(kms, target)
    },
  })
  // #region bucket-key
  const plain = randomBytes(100)
  const sse = createSse({ kms, accept: [keyId], bucketKeys: { timeToLive: 60_000 } }) // a disabled key is noticed within a minute
  const bucketContext = { 'aws:s3:arn': 'arn:aws:s3:::photos' } // what the bucket key is bound to
  const cat = { context: { 'aws:s3:arn': 'arn:aws:s3:::photos/cat.jpg' }, bucketContext }
  const dog = { context: { 'aws:s3:arn': 'arn:aws:s3:::photos/dog.jpg' }, bucketContext }

  const first = await sse.encrypt({ ...cat, bucketKey: true }) // two KMS calls: make the bucket key, and check it
  const second = await sse.encrypt({ ...dog, bucketKey: true }) // none
  const stored = await buffer(Readable.from([plain]).compose(second.stream))

  const get = await sse.decrypt(second.result().envelope, dog) // a reader names the bucket too
  sse.dispose() // wipes the bucket keys, when the server ends
  // #endregion bucket-key
  first.driver.dispose()
  t.equal(calls, 1)
  t.equal(get.bucketKey, true)
  t.ok(plain.equals(await through(stored, get.stream)))
})

t.test('master keys', async t => {
  // #region keys
  const scope = { region: 'sichuan', domainId: 'my-tenant' }
  const photos = await kms.createKey({ ...scope, alias: 'photos' })
  await kms.describeKey({ keyId: 'alias/photos', scope }) // state, version, aliases
  await kms.rotateKey(photos) // a new version wraps; what older ones wrapped still opens
  await kms.disableKey(photos) // stops writes and reads, in every process
  await kms.enableKey(photos)
  await kms.createAlias(photos, 'pictures')
  await kms.deleteAlias(scope, 'photos')
  await kms.scheduleDeletion(photos, { days: 7 }) // stops all use; what lies under the key is lost after 7 days
  await kms.cancelDeletion(photos) // disabled then
  await kms.destroyExpired() // a server does this when it starts, and every hour
  await kms.acceptedKeys({ ...scope, keyId: photos.keyId }) // the keys that this tenant's objects may lie under: here that one, or none
  const keys = await kms.listKeys({ region: 'sichuan' })
  // #endregion keys
  const found = keys.find(key => key.keyId === photos.keyId)
  t.match(found, { state: 'disabled', version: 2, aliases: ['pictures'], origin: 'customer', deletion: undefined })
  await t.rejects(kms.describeKey({ keyId: 'alias/photos', scope }), { code: 'KeyNotFound' })
})

t.test('errors', async t => {
  // #region errors
  let answer
  try {
    await sse.decrypt(new Uint8Array(10)) // no envelope
  } catch (error) {
    if (!(error instanceof SseError)) throw error // a mistake of the program: TypeError, RangeError
    const { code, status, s3Code, message } = error // error.cause is for your own log
    answer = { code, status, s3Code, message }
  }
  const { status, s3Code, message } = errorTable.NotAuthentic // the row that it was made of
  // #endregion errors
  t.strictSame(answer, { code: 'NotAuthentic', status, s3Code, message })
})

t.test('what an envelope says', async t => {
  // #region envelope
  const put = await sse.encrypt({ context: { project: 'apollo' } })
  await buffer(Readable.from([randomBytes(10)]).compose(put.stream))
  const { record, descriptor } = parseEnvelope(put.result().envelope) // claims: no key was asked
  const { provider, keyId: under } = record.wrapped // which master key it lies under
  const { suite, plaintextLength: bytes } = descriptor
  // #endregion envelope
  t.strictSame([provider, under, suite.id, bytes], ['local', keyId, 1, 10])
})

t.test('values beside an object', async t => {
  // #region values
  const plain = randomBytes(1000)
  const digest = new Uint8Array(4)
  new DataView(digest.buffer).setUint32(0, crc32(plain))
  const put = await sse.encrypt({ values: () => new Map([[valueIds.crc32.id, digest]]) }) // asked after the last byte
  await buffer(Readable.from([plain]).compose(put.stream))
  const { envelope, values } = put.result() // stored together; the values are sealed

  const get = await sse.decrypt(envelope, { values })
  const opened = get.values.get(valueIds.crc32.id) // compositeFlag + id for a checksum of the parts' checksums
  // #endregion values
  t.strictSame(opened, digest)
  t.equal(get.values.has(compositeFlag + valueIds.crc32.id), false)
  t.equal(Buffer.from(values).includes(digest), false)
})

t.test('files', async t => {
  // #region files
  const plain = randomBytes(200_000)
  const seal = await sse.encrypt({ file: true })
  const bytes = await buffer(Readable.from([plain]).compose(seal.stream))
  const file: RandomAccess = { size: bytes.length, read: async (start, end) => bytes.subarray(start, end + 1) }

  const { envelope } = await readFileEnvelope(file) // without a key
  const get = await sse.decryptFile(file, { range: { suffix: 100 } })
  const { start, end } = get.stored // which bytes of the file to send through
  const last = await buffer(Readable.from([bytes.subarray(start, end + 1)]).compose(get.stream))

  const other = await kms.createKey({ region: 'sichuan', domainId: 'my-tenant' })
  const { prefix, streams } = await sse.rewrapFile(file, { to: { accept: [other.keyId] } })
  const moved = Buffer.concat([prefix, bytes.subarray(streams.start, streams.end + 1)])
  // #endregion files
  t.equal(envelope.descriptor.unknownLength, true)
  t.ok(plain.subarray(-100).equals(last))
  const open = await sse.decryptPipe({ accept: [other.keyId] })
  t.ok(plain.equals(await through(moved, open.stream)))
  await t.rejects(through(bytes, (await sse.decryptPipe({ accept: [other.keyId] })).stream), { code: 'KeyNotAccepted' })
})

t.test('sessions, receipts and listings of parts', async t => {
  // #region parts
  const upload = await sse.createUpload()
  const receipts: Uint8Array[] = []
  for (const number of [2, 1]) {
    const part = await sse.encryptPart(upload, number)
    await buffer(Readable.from([randomBytes(number)]).compose(part.stream))
    receipts.push(part.result().receipt)
  }
  const listed = await sse.listParts(upload, receipts) // authentic: ETags are recomputed
  const named = listed.map(({ part, etag }) => ({ part, etag })).sort((a, b) => a.part - b.part)
  const done = await sse.completeUpload(upload, named, receipts)

  const { suite } = parseSession(upload.session) // claims, without a key
  const { row } = parseReceipt(receipts[0] ?? new Uint8Array())
  // #endregion parts
  t.strictSame([suite.id, row.part, row.length, done.plaintextLength], [1, 2, 2, 3])
})

t.test("Complete without the customer's key", async t => {
  // #region completion-keys
  const secret = randomBytes(32)
  const upload = await sse.createUpload({ customerKey: secret, service: { keyId } })
  const part = await sse.encryptPart(upload, 1, { customerKey: secret })
  const body = await buffer(Readable.from([Buffer.from('hello')]).compose(part.stream))
  const { receipt, etag } = part.result()
  const done = await sse.completeUpload(upload, [{ part: 1, etag }], [receipt]) // under the key of the service
  const get = await sse.decrypt(done.envelope, { customerKey: secret })
  // #endregion completion-keys
  t.equal(String(await through(body, get.stream)), 'hello')
  await t.rejects(sse.decrypt(done.envelope), { code: 'KeyNotAccepted' })
  await t.rejects(sse.encryptPart(upload, 1), { code: 'KeyNotAccepted' })
  await t.rejects(sse.createUpload({ service: { keyId } }), TypeError)
})

t.test('a copy under a data key of its own', async t => {
  // #region reencrypt
  const plain = randomBytes(100_000)
  const put = await sse.encrypt({ context: { owner: 'a' } })
  const stored = await buffer(Readable.from([plain]).compose(put.stream))

  const copy = await sse.reencrypt(put.result().envelope, { to: { context: { owner: 'b' } } })
  const { start, end } = copy.from.stored // the source's stored bytes in, the copy's out
  const target = await buffer(Readable.from([stored.subarray(start, end + 1)]).compose(copy.stream))
  const { envelope } = copy.result()
  // #endregion reencrypt
  t.notOk(target.subarray(0, 24).equals(stored.subarray(0, 24)), 'another salt')
  const get = await sse.decrypt(envelope, { context: { owner: 'b' } })
  t.ok(plain.equals(await through(target, get.stream)))
})

t.test('the embedded store', async t => {
  // #region store
  const plain = randomBytes(100_000)
  const store = await openFileStore('./objects')
  const photos = await store.createBucket('photos', { owner: 'my-tenant', region: 'sichuan', created: Date.now() })

  const put = await sse.encrypt({ context: { 'aws:s3:arn': 'arn:aws:s3:::photos/cat.jpg' } })
  const body = await store.createBody()
  await pipeline([plain], put.stream, body.writable)
  const { envelope, etag, plaintextLength: size } = put.result()
  const said = { size, etag, kind: 'sse-kms', headers: {}, notes: {}, owner: 'my-tenant' } as const
  await store.putObject(photos, 'cat.jpg', { ...said, modified: Date.now(), envelope }, body) // durable now
  // #endregion store
  t.teardown(() => store.close())
  const opened = await store.openObject(photos.id, 'cat.jpg')
  t.teardown(() => opened?.body.close())
  const record = opened?.record.envelope ?? new Uint8Array()
  const get = await sse.decrypt(record, {
    context: { 'aws:s3:arn': 'arn:aws:s3:::photos/cat.jpg' },
    held: opened?.body.size,
  })
  t.ok(plain.equals(await buffer(get.pieces(opened?.body.read({ ...get.stored, reuse: true }) ?? []))))
})

t.test('an index whose rows are authenticated', async t => {
  // #region authenticated
  const indexKey = randomBytes(32)
  const rows = await openFileStore('./index')
  const store = authenticated(rows, indexKey) // 32 bytes that lie wrapped elsewhere; `authenticateStore` of ./gateway does that
  await store.createBucket('photos', { owner: 'my-tenant', region: 'sichuan', created: Date.now() })
  // #endregion authenticated
  t.teardown(() => rows.close())
  t.equal((await store.getBucket('photos'))?.owner, 'my-tenant')
  await rows.createBucket('forged', { owner: 'my-tenant', region: 'sichuan', created: 1 })
  await t.rejects(store.getBucket('forged'), { code: 'IndexNotAuthentic' })
})

t.test('conditions', async t => {
  // #region condition
  const record = { etag: 'e', size: 1, storedSize: 73, modified: 0, kind: 'plain', headers: {}, notes: {} } as const
  const current = { ...record, owner: 'my-tenant', revision: '1' }
  assertCondition(current, { ifMatch: [current.etag], refuseKinds: ['sse-kms'] }) // as a store of your own does, in the step of the change
  // #endregion condition
  t.throws(() => assertCondition(current, { ifNoneMatch: '*' }), { code: 'PreconditionFailed' })
})

t.test('randomness in tests', async t => {
  // #region randomness
  const restore = replaceRandomness(bytes => bytes.fill(7)) // of this process, everywhere: tests alone
  const put = await sse.encrypt({ length: 0 })
  restore()
  // #endregion randomness
  t.strictSame(parseEnvelope(put.planned?.envelope ?? new Uint8Array()).descriptor.bodyId, new Uint8Array(16).fill(7))
})
