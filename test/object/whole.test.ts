/** Whole bytes in, whole bytes out: `encryptBytes` and `decryptBytes` of both entries. */
import t from 'tap'
import { equal, fromUtf8, utf8 } from '../../lib/bytes.ts'
import { nobleEngine } from '../../lib/cipher/noble.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { suiteOf } from '../../lib/cipher/suite.ts'
import { webCryptoEngine } from '../../lib/cipher/web.ts'
import type { KmsProvider } from '../../lib/kms/provider.ts'
import { createSse } from '../../lib/object/node.ts'
import { createSse as createWebSse } from '../../lib/object/web.ts'
import { type Body, whole } from '../../lib/object/whole.ts'
import { parseFilePrefix } from '../../lib/envelope/envelope.ts'
import { bodyOf, get, inMemory } from '../support/body.ts'
import { inChunks } from '../support/drive.ts'
import { type Seen, spyAsync, spyKms, spySync, wiped } from '../support/spy.ts'
import { stubLocal } from '../support/stub-kms.ts'

const keyId = 'key'
const context = { 'aws:s3:arn': 'arn:aws:s3:::bucket/name' }
const local = () => stubLocal({ [keyId]: { 1: new Uint8Array(32).fill(7) } })
const accept = [keyId]
const S = suiteOf(2).segmentSize
const bothEntries = [createSse, createWebSse]

t.test('bytes of any length come back, by both entries, every suite and engine', async t => {
  for (const suite of [undefined, 1, 2, 3, 5] as const) {
    for (const engine of [undefined, nodeEngine, webCryptoEngine, nobleEngine]) {
      for (const create of bothEntries) {
        const sse = create({ kms: local(), accept, suite, engine })
        for (const length of engine === nobleEngine ? [0, 1, 300] : [0, 1, S - 1, S, S + 1, 140_000]) {
          const plaintext = bodyOf(length)
          const sealed = await sse.encryptBytes(plaintext, { context })
          t.equal(sealed.buffer.byteLength, sealed.length, 'memory of its own')
          const opened = await sse.decryptBytes(sealed, { context })
          t.ok(equal(opened, plaintext) && opened.buffer.byteLength === length)
        }
      }
    }
  }
})

t.test('more than goes in at a time', async t => {
  const plaintext = bodyOf(3_000_001)
  for (const create of bothEntries) {
    const sse = create({ kms: local(), accept })
    const opened = await sse.decryptBytes(await sse.encryptBytes(plaintext))
    t.ok(equal(opened, plaintext))
  }
})

t.test('it is the self-describing file that streams write and read', async t => {
  const sse = createSse({ kms: local(), accept })
  const plaintext = bodyOf(200_000)
  const sealed = await sse.encryptBytes(Buffer.from(plaintext), { context: { ...context, project: 'north' } })
  t.ok(parseFilePrefix(sealed.subarray(0, 8)) > 0)
  const reading = await sse.decryptFile(inMemory(sealed), { context })
  t.ok(equal(await get(reading, sealed), plaintext))

  const writing = await sse.encrypt({ context, file: true })
  const chunks: Uint8Array[] = []
  for await (const piece of writing.pieces(inChunks(plaintext, 999))) chunks.push(piece)
  t.ok(equal(await sse.decryptBytes(Buffer.concat(chunks), { context }), plaintext), 'of unknown length too')
})

t.test('a range', async t => {
  const sse = createSse({ kms: local(), accept, suite: 2 })
  const plaintext = bodyOf(5 * S)
  const sealed = await sse.encryptBytes(plaintext)
  for (const [range, start, end] of [
    [{ start: 3 * S - 5, end: 3 * S + 5 }, 3 * S - 5, 3 * S + 6],
    [{ start: S }, S, 5 * S],
    [{ suffix: 7 }, 5 * S - 7, 5 * S],
  ] as const) {
    t.ok(equal(await sse.decryptBytes(sealed, { range }), plaintext.subarray(start, end)))
  }
  await t.rejects(sse.decryptBytes(sealed, { range: { start: 5 * S } }), { code: 'RangeNotSatisfiable' })
})

t.test('text is its UTF-8', async t => {
  for (const create of bothEntries) {
    const sse = create({ kms: local(), accept })
    for (const text of ['', 'grün 😀 и так далее']) {
      t.equal(fromUtf8(await sse.decryptBytes(await sse.encryptBytes(text))), text)
    }
    await t.rejects(sse.encryptBytes('half \ud83d'), { name: 'TypeError', message: /half of a surrogate pair/ })
  }
})

t.test('no changed byte, cut, byte more, other context or other key is let through', async t => {
  const sse = createSse({ kms: local(), accept, suite: 2 })
  const sealed = await sse.encryptBytes(utf8('a secret'), { context })
  t.equal(fromUtf8(await sse.decryptBytes(sealed, { context })), 'a secret')
  for (let at = 0; at < sealed.length; at++) {
    const changed = sealed.map((byte, i) => (i === at ? byte ^ 1 : byte))
    await t.rejects(sse.decryptBytes(changed, { context }), { name: 'SseError' }, `byte ${at}`)
    await t.rejects(sse.decryptBytes(sealed.subarray(0, at), { context }), { code: 'NotAuthentic' }, `cut to ${at}`)
  }
  const longer = new Uint8Array([...sealed, 0])
  await t.rejects(sse.decryptBytes(longer, { context }), { code: 'NotAuthentic' })
  await t.rejects(sse.decryptBytes(sealed, { context: {} }), { code: 'NotAuthentic' })
  await t.rejects(sse.decryptBytes(sealed, { context, accept: ['another'] }), { code: 'KeyNotAccepted' })
})

t.test("a customer's key, which is copied and wiped", async t => {
  const customerKey = crypto.getRandomValues(new Uint8Array(32))
  const sse = createSse({ kms: local(), accept })
  const sealed = await sse.encryptBytes('a secret', { customerKey })
  t.equal(fromUtf8(await sse.decryptBytes(sealed, { customerKey })), 'a secret')
  await t.rejects(sse.decryptBytes(sealed, { customerKey: new Uint8Array(32) }), { code: 'WrongCustomerKey' })
})

t.test('wrong arguments', async t => {
  const sse = createSse({ kms: local(), accept })
  const call = (run: unknown, ...args: readonly unknown[]): unknown =>
    typeof run === 'function' ? run(...args) : undefined
  await t.rejects(async () => call(sse.encryptBytes, 5), {
    name: 'TypeError',
    message: /bytes .* or text, not a number/,
  })
  await t.rejects(async () => call(sse.encryptBytes, 'text', 'context'), {
    name: 'TypeError',
    message: /last argument/,
  })
  await t.rejects(async () => call(sse.decryptBytes, 'text'), {
    name: 'TypeError',
    message: 'decryptBytes takes what encryptBytes gave: a Uint8Array or Buffer, not a string',
  })
})

/** Spied engines over one KMS; whether every key that they saw was wiped. */
const watched = () =>
  [spySync(nodeEngine), spyAsync(webCryptoEngine)].map(({ engine, seen }) => {
    const { kms, given } = spyKms<KmsProvider>(local())
    const clean = () =>
      given.length > 0 && seen.keys.length > 0 && given.every(wiped) && seen.keys.every(key => key.every(b => b === 0))
    return { engine, seen, kms, given, clean }
  })

t.test('keys are wiped on success, on an error and on an abort', async t => {
  const plaintext = bodyOf(3 << 20)
  for (const { engine, seen, kms, given, clean } of watched()) {
    const sse = createSse({ kms, accept, engine })
    const sealed = await sse.encryptBytes(plaintext)
    t.ok(clean(), `${engine.name}: sealed`)
    await sse.decryptBytes(sealed)
    t.ok(clean(), `${engine.name}: opened`)
    const changed = sealed.map((byte, i) => (i === sealed.length - 1 ? byte ^ 1 : byte))
    await t.rejects(sse.decryptBytes(changed), { code: 'NotAuthentic' })
    t.ok(clean(), `${engine.name}: refused`)

    for (const run of [
      (signal: AbortSignal) => sse.encryptBytes(plaintext, { signal }),
      (signal: AbortSignal) => sse.decryptBytes(sealed, { signal }),
    ]) {
      const controller = new AbortController()
      const before: Seen = { keys: [...seen.keys], events: [...seen.events] }
      const reason = new Error('enough')
      seen.events.push = (...events) => {
        controller.abort(reason) // when the first segment begins
        return Array.prototype.push.apply(seen.events, events)
      }
      await t.rejects(run(controller.signal), reason)
      t.ok(seen.keys.length > before.keys.length && clean(), `${engine.name}: aborted`)
      const done = seen.events.slice(before.events.length).filter(event => /^(sealed|opened)$/.test(event)).length
      t.ok(done < 49, `${engine.name}: after ${done} of 49 segments`)
    }
    const calls = given.length
    await t.rejects(sse.encryptBytes('', { signal: AbortSignal.abort() }), { name: 'AbortError' })
    t.equal(given.length, calls, 'before the KMS is asked')
  }
})

t.test('too large for the memory: a RangeError, and the keys are wiped', async t => {
  const sse = createSse({ kms: local(), accept })
  const body: Body = await sse.encrypt()
  await t.rejects(whole(body, new Uint8Array(1), 2 ** 53 - 1, undefined), RangeError)
  t.throws(() => body.driver.write(new Uint8Array(1), () => undefined), { name: 'TypeError', message: /disposed/ })
})
