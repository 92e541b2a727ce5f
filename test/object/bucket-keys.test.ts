/** Objects under bucket keys, through the façade: one KMS call for many, and nothing that the cache lets pass which the KMS would not. */
import { randomBytes } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { concat, equal } from '../../lib/bytes.ts'
import { webCryptoEngine } from '../../lib/cipher/web.ts'
import { encodeEnvelope, parseEnvelope } from '../../lib/envelope/envelope.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'
import { createSse, type Sse } from '../../lib/object/node.ts'
import type { SseOptions } from '../../lib/object/options.ts'
import type { SseOf } from '../../lib/object/sse.ts'
import { createSse as createWebSse } from '../../lib/object/web.ts'
import { bodyOf, get, inMemory, put } from '../support/body.ts'
import { spyKms, wiped } from '../support/spy.ts'

const arn = (name: string) => ({ 'aws:s3:arn': `arn:aws:s3:::${name}` })
const bucketContext = arn('photos')

/** What an object of a bucket is written with, and what it is read with. */
const writeOf = (name: string, bucket = 'photos') => ({
  context: arn(`${bucket}/${name}`),
  bucketContext: arn(bucket),
  bucketKey: true,
})
const readOf = (name: string, bucket = 'photos') => ({ context: arn(`${bucket}/${name}`), bucketContext: arn(bucket) })

const setUp = async (t: Test, options: Partial<SseOptions> = {}) => {
  const kms = await LocalKms.open(t.testdir(), { root: { key: new Uint8Array(randomBytes(32)) } })
  const { keyId } = await kms.defaultKey({ region: 'r', domainId: 'd' })
  const { keyId: other } = await kms.createKey({ region: 'r', domainId: 'd' })
  const spied = spyKms(kms)
  const sse = createSse({ kms: spied.kms, accept: [keyId, other], ...options })
  t.teardown(() => {
    sse.dispose()
    kms.close()
  })
  return { ...spied, local: kms, keyId, other, sse }
}

const write = async (
  sse: Pick<SseOf<unknown>, 'encrypt'>,
  name: string,
  options: object = writeOf(name),
  size = 100,
) => {
  const plaintext = bodyOf(size, name.length)
  const writing = await sse.encrypt({ length: size, ...options })
  const body = await put(writing, plaintext)
  return { plaintext, body, envelope: writing.result().envelope }
}
type Written = Awaited<ReturnType<typeof write>>

const opens = async (t: Test, sse: Sse, { envelope, body, plaintext }: Written, options: object, what: string) => {
  const reading = await sse.decrypt(envelope, options)
  t.ok(equal(await get(reading, body), plaintext), what)
  return reading
}
const wrapAlgOf = (envelope: Uint8Array) => parseEnvelope(envelope).record.wrapped.wrapAlg

t.test('1,000 objects under one bucket key cost two calls, and one more to be read', async t => {
  const { sse, calls, keyId } = await setUp(t)
  const written: Written[] = []
  for (let i = 0; i < 1000; i++) written.push(await write(sse, `${i}`))
  t.strictSame(calls, { generate: 1, unwrap: 1 }, 'made once, and unwrapped once before it counts')
  let wrong = 0
  for (const [i, { envelope, body, plaintext }] of written.entries()) {
    const reading = await sse.decrypt(envelope, readOf(`${i}`))
    if (!reading.bucketKey || reading.keyId !== keyId || !equal(await get(reading, body), plaintext)) wrong++
  }
  t.equal(wrong, 0)
  t.strictSame(calls, { generate: 1, unwrap: 2 })
  const blobs = new Set(
    written.map(({ envelope }) => Buffer.from(parseEnvelope(envelope).record.wrapped.blob).toString('hex')),
  )
  t.equal(blobs.size, 1000)
})

t.test('without the option nothing lies under a bucket key', async t => {
  const { sse, calls } = await setUp(t)
  const { bucketKey: _, ...rest } = writeOf('a')
  for (const options of [rest, { ...rest, bucketKey: false }]) {
    const plain = await write(sse, 'a', options)
    t.equal(wrapAlgOf(plain.envelope), 2)
    t.equal((await opens(t, sse, plain, readOf('a'), 'it opens')).bucketKey, false)
  }
  t.strictSame(calls, { generate: 2, unwrap: 2 })
})

t.test('what the caller must say', async t => {
  const { sse, kms, calls } = await setUp(t)
  await t.rejects(sse.encrypt({ bucketKey: true, context: arn('photos/a') }), TypeError, 'which bucket')
  await t.rejects(sse.createUpload({ bucketKey: true }), TypeError)
  await t.rejects(sse.encrypt({ ...writeOf('a'), customerKey: new Uint8Array(32) }), TypeError, 'no key of a customer')
  await t.rejects(sse.encrypt({ ...writeOf('a'), keyId: 'arn:other' }), { code: 'KeyNotAccepted' })
  await t.rejects(sse.encrypt({ ...writeOf('a'), bucketContext: { '': 'x' } }), { code: 'InvalidContext' })
  t.throws(() => createSse({ kms, accept: [], bucketKeys: { uses: 0 } }), RangeError)
  t.strictSame(calls, { generate: 0, unwrap: 0 })
  const under = await write(sse, 'a')
  await t.rejects(sse.decrypt(under.envelope, { context: arn('photos/a') }), {
    code: 'KeyNotAccepted',
    message: /bucket context/,
  })
  await t.rejects(sse.decrypt(under.envelope, { ...readOf('a'), accept: ['arn:other'] }), { code: 'KeyNotAccepted' })
  t.strictSame(calls, { generate: 1, unwrap: 1 }, 'refused before any call')
  await opens(t, sse, under, readOf('a'), 'it opens')
  await t.rejects(sse.decrypt(under.envelope, { ...readOf('a'), accept: ['arn:other'] }), { code: 'KeyNotAccepted' })
  const low = [{ provider: 'local', keyId: parseEnvelope(under.envelope).record.wrapped.keyId, lowestVersion: 2 }]
  await t.rejects(sse.decrypt(under.envelope, { ...readOf('a'), accept: low }), { code: 'KeyNotAccepted' })
  t.strictSame(calls, { generate: 1, unwrap: 2 }, 'and before the keys in memory')
})

t.test('envelopes of one bucket are not exchanged, nor those of two', async t => {
  const { sse } = await setUp(t)
  const a = await write(sse, 'a')
  const b = await write(sse, 'b')
  await opens(t, sse, a, readOf('a'), 'its key is in memory from now on')
  const elsewhere = await write(sse, 'a', writeOf('a', 'videos'))
  for (const [envelope, options, what] of [
    [b.envelope, readOf('a'), 'another object of the bucket'],
    [elsewhere.envelope, readOf('a'), 'the same name in another bucket'],
    [a.envelope, readOf('a', 'videos'), 'moved to another bucket'],
    [a.envelope, { context: arn('photos/a'), bucketContext: arn('videos') }, 'under the key of another bucket'],
    [a.envelope, { context: arn('videos/a'), bucketContext }, 'under another name'],
  ] as const) {
    await t.rejects(sse.decrypt(envelope, options), { code: 'NotAuthentic' }, what)
  }
  const [mine, theirs] = [parseEnvelope(a.envelope), parseEnvelope(b.envelope)]
  const mixed = encodeEnvelope(mine.record, theirs.descriptor.bytes, theirs.table)
  await t.rejects(sse.decrypt(mixed, readOf('a')), { code: 'NotAuthentic' }, 'its wrap record over the other body')
  const magic = 4
  for (let at = magic; at < magic + mine.record.bytes.length; at++) {
    const envelope = a.envelope.map((byte, i) => (i === at ? byte ^ 1 : byte))
    const refused = { code: /^(NotAuthentic|KeyNotAccepted)$/ }
    await t.rejects(sse.decrypt(envelope, readOf('a')), refused, `byte ${at - magic} of the wrap record`)
  }
  await opens(t, sse, a, readOf('a'), 'the honest one opens afterwards')
})

t.test('the bounds that createSse is given hold, on writes and on reads', async t => {
  let now = 0
  const bucketKeys = { timeToLive: 60_000, uses: 5, size: 2, clock: () => now }
  const { sse, calls, local, given, other } = await setUp(t, { bucketKeys })
  const mine = { keyId: other }
  const under = await write(sse, 'a', { ...writeOf('a'), ...mine })
  await opens(t, sse, under, readOf('a'), 'it opens')
  await local.disableKey({ keyId: other })
  now = 59_999
  await write(sse, 'b', { ...writeOf('b'), ...mine })
  await opens(t, sse, under, readOf('a'), 'within its time')
  now = 60_000
  await t.rejects(write(sse, 'c', { ...writeOf('c'), ...mine }), { code: 'KeyDisabled' }, 'a write')
  await t.rejects(sse.decrypt(under.envelope, readOf('a')), { code: 'KeyDisabled' }, 'a read')
  t.ok(given.every(wiped), 'both keys were wiped')
  await local.enableKey({ keyId: other })
  const before = calls.generate
  for (let i = 0; i < 6; i++) await write(sse, `${i}`, { ...writeOf(`${i}`), ...mine })
  t.equal(calls.generate, before + 2, 'five uses')
  await write(sse, 'a', writeOf('a', 'videos'))
  await write(sse, 'a', writeOf('a', 'music'))
  await setImmediate()
  t.equal(given.filter(key => !wiped(key)).length, 2, 'two keys at once')
})

t.test('a rotated key: what readers refuse is not written', async t => {
  const { sse, local, keyId } = await setUp(t)
  await write(sse, 'a')
  await local.rotateKey({ keyId })
  const accept = [{ provider: 'local', keyId, lowestVersion: 2 }]
  const under = await write(sse, 'b', { ...writeOf('b'), accept })
  await opens(t, sse, under, { ...readOf('b'), accept }, 'it opens')
})

t.test('dispose wipes, and only bucket keys end with it', async t => {
  const { sse, given, local } = await setUp(t)
  const under = await write(sse, 'a')
  await opens(t, sse, under, readOf('a'), 'it opens')
  sse.dispose()
  await setImmediate()
  t.ok(given.length === 3 && given.every(wiped), 'the one that was unwrapped for a check too')
  await t.rejects(write(sse, 'b'), TypeError)
  await t.rejects(sse.decrypt(under.envelope, readOf('a')), TypeError)
  const plain = await write(sse, 'c', { context: arn('photos/c') })
  await opens(t, sse, plain, readOf('c'), 'an object of its own key')
  sse.dispose()
  createSse({ kms: local, accept: [] }).dispose()
})

t.test('an upload, its parts and its object', async t => {
  const { sse, calls } = await setUp(t)
  const upload = await sse.createUpload(writeOf('a'))
  const second = await sse.createUpload(writeOf('b'))
  t.equal(calls.generate, 1)
  const read = readOf('a')
  const sealed = []
  for (const part of [1, 2]) {
    const encryption = await sse.encryptPart(upload, part, read)
    const body = await put(encryption, bodyOf(50, part))
    sealed.push({ part, body, ...encryption.result() })
  }
  const receipts = sealed.map(({ receipt }) => receipt)
  t.equal((await sse.listParts(upload, receipts, read)).length, 2)
  const { envelope } = await sse.completeUpload(upload, sealed, receipts, read)
  t.equal(wrapAlgOf(envelope), 3)
  const body = concat(...sealed.map(part => part.body))
  await opens(t, sse, { envelope, body, plaintext: concat(bodyOf(50, 1), bodyOf(50, 2)) }, read, 'it opens')
  t.strictSame(calls, { generate: 1, unwrap: 2 })
  await t.rejects(sse.encryptPart(upload, 3, { context: arn('photos/a') }), { code: 'KeyNotAccepted' })
  await t.rejects(sse.encryptPart(upload, 3, readOf('b')), { code: 'NotAuthentic' }, 'another name')
  await t.rejects(sse.encryptPart(upload, 3, { ...read, bucketContext: arn('videos') }), { code: 'NotAuthentic' })
  await t.rejects(sse.encryptPart({ ...upload, session: second.session }, 3, read), { code: 'NoSuchUpload' })
})

t.test('rewrap: to a bucket key, within its bucket, to another, and away', async t => {
  const { sse, calls, keyId, other } = await setUp(t)
  const { bucketKey: _, ...own } = writeOf('a')
  const plain = await write(sse, 'a', own)
  const moved = async (envelope: Uint8Array, from: object, to: Parameters<Sse['rewrap']>[1]['to']) => {
    const next = await sse.rewrap(envelope, { ...from, to })
    return { ...plain, envelope: next }
  }
  const blobOf = ({ envelope }: Written) => parseEnvelope(envelope).record.wrapped.blob
  const innerOf = (written: Written) => Buffer.from(blobOf(written).subarray(2, 78)).toString('hex')

  const under = await moved(plain.envelope, readOf('a'), writeOf('a'))
  t.equal(wrapAlgOf(under.envelope), 3)
  await opens(t, sse, under, readOf('a'), 'to a bucket key')
  const renamed = await moved(under.envelope, readOf('a'), writeOf('b'))
  await opens(t, sse, renamed, readOf('b'), 'to another name of the bucket')
  t.equal(innerOf(renamed), innerOf(under), 'under the same bucket key')
  t.equal(calls.generate, 2, 'one for the object, one for the bucket key')
  const elsewhere = await moved(under.envelope, readOf('a'), writeOf('a', 'videos'))
  await opens(t, sse, elsewhere, readOf('a', 'videos'), 'to another bucket')
  t.not(innerOf(elsewhere), innerOf(under), 'whose bucket key is its own')
  await t.rejects(sse.decrypt(elsewhere.envelope, readOf('a')), { code: 'NotAuthentic' })
  const second = await moved(under.envelope, readOf('a'), { ...writeOf('a'), keyId: other })
  t.equal((await opens(t, sse, second, readOf('a'), 'to another master key')).keyId, other)
  const away = await moved(under.envelope, readOf('a'), { context: arn('photos/c') })
  t.equal(wrapAlgOf(away.envelope), 2)
  await opens(t, sse, away, { context: arn('photos/c') }, 'away from it')
  const customerKey = new Uint8Array(32).fill(7)
  const theirs = await moved(under.envelope, readOf('a'), { context: own.context, customerKey })
  await opens(t, sse, theirs, { context: own.context, customerKey }, "to a customer's key")
  const back = await moved(theirs.envelope, { context: own.context, customerKey }, writeOf('a'))
  t.equal((await opens(t, sse, back, readOf('a'), "and from a customer's key")).keyId, keyId)
  await t.rejects(sse.rewrap(under.envelope, { context: own.context, to: {} }), { code: 'KeyNotAccepted' })
  await t.rejects(sse.rewrap(under.envelope, { ...readOf('a'), to: { bucketKey: true } }), TypeError)
  await t.rejects(sse.rewrap(under.envelope, { ...readOf('a', 'videos'), to: writeOf('a', 'videos') }), {
    code: 'NotAuthentic',
  })
})

t.test('re-encryption to a bucket key, and files', async t => {
  const { sse } = await setUp(t)
  const plain = await write(sse, 'a', { context: arn('photos/a') })
  const copying = await sse.reencrypt(plain.envelope, { context: arn('photos/a'), to: writeOf('b') })
  const body = await put(copying, plain.body)
  const copied = { plaintext: plain.plaintext, body, envelope: copying.result().envelope }
  t.ok((await opens(t, sse, copied, readOf('b'), 'it opens')).bucketKey)

  const writing = await sse.encrypt({ ...writeOf('f'), file: true })
  const file = await put(writing, bodyOf(70_000))
  const reading = await sse.decryptFile(inMemory(file), readOf('f'))
  t.ok(reading.bucketKey)
  t.ok(equal(await get(reading, file.subarray(file.length - reading.stored.end - 1)), bodyOf(70_000)))
  const { prefix, streams } = await sse.rewrapFile(inMemory(file), { ...readOf('f'), to: writeOf('g') })
  const moved = concat(prefix, file.subarray(streams.start))
  t.equal((await sse.decryptFile(inMemory(moved), readOf('g'))).plaintextLength, 70_000)
  const pipe = await sse.decryptPipe(readOf('g'))
  t.ok(equal(await put(pipe, moved), bodyOf(70_000)))
})

t.test('the portable façade and the asynchronous engine do the same', async t => {
  const { sse, kms, keyId, calls } = await setUp(t)
  const web = createWebSse({ kms, accept: [keyId], engine: webCryptoEngine })
  const written = await Promise.all(['a', 'b', 'c'].map(async name => [name, await write(web, name)] as const))
  t.equal(calls.generate, 1)
  for (const [name, one] of written) await opens(t, sse, one, readOf(name), name)
  t.equal(calls.unwrap, 2)
  web.dispose()
})
