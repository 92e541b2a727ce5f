import { inspect } from 'node:util'
import * as fc from 'fast-check'
import t from 'tap'
import { concat, hex, u16, utf8 } from '../../lib/bytes.ts'
import type { Engine } from '../../lib/cipher/engine.ts'
import { nobleEngine } from '../../lib/cipher/noble.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { randomBytes, replaceRandomness } from '../../lib/cipher/random.ts'
import { webCryptoEngine } from '../../lib/cipher/web.ts'
import {
  clientContext,
  encryptionContext,
  maxCanonical,
  maxStored,
  parseContext,
  storedContext,
} from '../../lib/kms/context.ts'
import { customerKey } from '../../lib/kms/customer.ts'
import { DataKey } from '../../lib/kms/data-key.ts'
import type { KmsProvider, WrapAlg, WrappedKey } from '../../lib/kms/provider.ts'
import {
  localVersion,
  splitNested,
  unwrapKey,
  unwrapLocal,
  unwrapNested,
  wrapLocal,
  wrapNested,
} from '../../lib/kms/wrap.ts'
import { bytes, vectors } from '../support/vectors.ts'

const engines: readonly Engine[] = [nodeEngine, nobleEngine, webCryptoEngine]
const notAuthentic = { name: 'SseError', code: 'NotAuthentic' }
const invalidContext = { name: 'SseError', code: 'InvalidContext' }

type Pairs = readonly (readonly [string, string])[]
type Entries = Readonly<Record<string, string>>

interface Record_ {
  readonly name: string
  readonly wrapAlg: WrapAlg
  readonly provider: string
  readonly keyId: string
  readonly user: Pairs
  readonly system: Entries
  readonly bucketContext: Entries | null
  readonly dek: string
  readonly blob: string
  readonly record: string
  readonly context: string
  readonly contextSha256: string
  readonly version?: number
  readonly wrapSalt?: string
  readonly outerKey?: string
  readonly inner?: string
  readonly innerWrapSalt?: string
}

interface Sk1 {
  readonly keys: {
    readonly local: Readonly<Record<string, Readonly<Record<string, string>>>>
    readonly customer: string
    readonly answers: readonly {
      readonly provider: string
      readonly keyId: string
      readonly blob: string
      readonly context: string | null
      readonly key: string
    }[]
  }
  readonly contexts: readonly {
    readonly name: string
    readonly user: Pairs
    readonly system: Entries
    readonly stored: string
    readonly canonical: string
    readonly sha256: string
  }[]
  readonly records: readonly Record_[]
  readonly invalid: readonly {
    readonly kind: string
    readonly name: string
    readonly user: Pairs
    readonly system: Entries
    readonly record: string
    readonly bucketContext: Entries
  }[]
}

const sk1 = vectors<Sk1>('sk1.json')

/** What a KMS answers in the vectors, and refuses otherwise. */
const providerOf = (engine: Engine, name: string): KmsProvider => {
  const refuse = async (): Promise<never> => Promise.reject(new TypeError('not part of the vectors'))
  const answers = sk1.keys.answers
  return {
    name,
    bindsContext: true,
    acceptedKeys: refuse,
    generateDataKey: refuse,
    wrapDataKey: refuse,
    rewrapDataKey: refuse,
    describeKey: refuse,
    defaultKey: refuse,
    unwrapDataKey: async ({ wrapped, context }) => {
      if (name === 'sse-c') {
        return customerKey(engine, bytes(sk1.keys.customer)).unwrapDataKey({ wrapped, context })
      }
      if (name === 'local') {
        const key = sk1.keys.local[wrapped.keyId]?.[localVersion(wrapped.blob)]
        if (wrapped.wrapAlg !== 2 || key === undefined) throw new TypeError('no such key')
        return unwrapLocal(engine, bytes(key), wrapped.blob, context)
      }
      const found = answers.find(
        answer =>
          answer.provider === name &&
          answer.keyId === wrapped.keyId &&
          answer.blob === hex(wrapped.blob) &&
          (answer.context ?? hex(context.canonical)) === hex(context.canonical),
      )
      if (found === undefined || wrapped.wrapAlg !== 1) throw new TypeError('the KMS refuses')
      return new DataKey(bytes(found.key))
    },
  }
}

/** A record's fields, without the checks that its parser makes. */
const fieldsOf = (record: string): { wrapped: WrappedKey; stored: Uint8Array } => {
  const all = Buffer.from(record, 'hex')
  let at = 4
  const take = (size: number): Buffer => all.subarray(at, (at += size))
  const provider = take(take(1).readUInt8()).toString()
  const keyId = take(take(2).readUInt16BE()).toString()
  const stored = Uint8Array.from(take(take(2).readUInt16BE()))
  const blob = Uint8Array.from(take(take(2).readUInt16BE()))
  const wrapAlg = ([1, 2, 3, 4] as const).find(alg => alg === all.readUInt16BE(2))
  if (wrapAlg === undefined) throw new TypeError('no such wrapAlg')
  return { wrapped: { provider, keyId, wrapAlg, blob }, stored }
}

const withSalt = async <T>(salt: string, work: () => Promise<T>): Promise<T> => {
  const restore = replaceRandomness(out => out.set(bytes(salt)))
  try {
    return await work()
  } finally {
    restore()
  }
}

t.test('contexts: the vectors', async t => {
  for (const { name, user, system, stored, canonical, sha256 } of sk1.contexts) {
    const context = clientContext(new Map(user), system)
    t.strictSame([hex(context.stored), hex(context.canonical)], [stored, canonical], name)
    t.equal(hex(await nodeEngine.sha256(context.canonical)), sha256)
    const again = storedContext(context.stored, system)
    t.strictSame([again.canonical, [...again.entries]], [context.canonical, [...context.entries]], 'from the record')
  }
  const invalid = sk1.invalid.filter(({ kind }) => kind === 'context')
  t.equal(invalid.length, 2)
  for (const { name, user, system } of invalid)
    t.throws(() => clientContext(new Map(user), system), invalidContext, name)
})

t.test('records: unwrap to the data key, and wrap to the same bytes', async t => {
  for (const record of sk1.records) {
    for (const engine of engines) {
      const name = `${record.name} (${engine.name})`
      const { wrapped, stored } = fieldsOf(record.record)
      const context = storedContext(stored, record.system)
      t.equal(hex(context.canonical), record.context, name)
      t.equal(hex(await engine.sha256(context.canonical)), record.contextSha256)
      const bucketContext = record.bucketContext === null ? undefined : encryptionContext(record.bucketContext)
      const provider = providerOf(engine, record.provider)
      const dek = await unwrapKey(engine, provider, wrapped, context, bucketContext)
      t.equal(hex(dek.bytes), record.dek, name)

      const { version = 0, wrapSalt = '', outerKey = '', inner = '', innerWrapSalt } = record
      const source = record.provider === 'sse-c' ? sk1.keys.customer : sk1.keys.local[record.keyId]?.[version]
      if (record.wrapAlg === 2) {
        const blob = await withSalt(wrapSalt, () => wrapLocal(engine, bytes(source ?? ''), version, dek, context))
        t.equal(hex(blob), record.blob, name)
      }
      if (record.wrapAlg !== 3 && record.wrapAlg !== 4) continue
      const { wrapAlg } = record
      const outer = new DataKey(bytes(outerKey))
      const split = splitNested(wrapped)
      t.equal(hex(split.inner.blob), inner)
      t.equal(hex((await unwrapNested(engine, wrapped, outer, context)).bytes), record.dek)
      const again = await withSalt(wrapSalt, () => wrapNested(engine, wrapAlg, outer, split.inner, dek, context))
      t.strictSame({ ...again, blob: hex(again.blob) }, { ...wrapped, blob: record.blob }, name)
      if (innerWrapSalt === undefined || bucketContext === undefined) continue
      const innerAgain = await withSalt(innerWrapSalt, () =>
        wrapLocal(engine, bytes(source ?? ''), version, outer, bucketContext),
      )
      t.equal(hex(innerAgain), inner)
    }
  }
})

t.test('records: what must be refused', async t => {
  const invalid = sk1.invalid.filter(({ kind }) => kind === 'record')
  t.ok(invalid.length >= 5)
  for (const { name, record, system, bucketContext } of invalid) {
    const { wrapped, stored } = fieldsOf(record)
    const unwrap = async () =>
      unwrapKey(
        nodeEngine,
        providerOf(nodeEngine, wrapped.provider),
        wrapped,
        storedContext(stored, system),
        encryptionContext(bucketContext),
      )
    await t.rejects(unwrap(), notAuthentic, name)
  }
})

t.test('contexts: what callers and records may not say', async t => {
  const arn = 'arn:aws:s3:::b/k'
  t.throws(() => encryptionContext({ '': 'x' }), invalidContext)
  t.throws(() => encryptionContext({ x: '\ud800' }), invalidContext)
  t.throws(() => encryptionContext({ '\udc00': 'x' }), invalidContext)
  t.throws(() => clientContext({}, { mine: 'x' }), TypeError)
  t.throws(() => clientContext({ 'sse-kms-streams:x': '' }, {}), invalidContext)
  t.throws(() => clientContext({ 'aws:s3:arn': arn }, {}), invalidContext)
  t.strictSame(
    [...clientContext({ AWS: 'x' }, { 'aws:s3:arn': arn }).entries],
    [
      ['AWS', 'x'],
      ['aws:s3:arn', arn],
    ],
  )
  t.strictSame(encryptionContext().canonical, Uint8Array.of(0, 0))

  // Limits: 2 + 4 + name + value.
  t.equal(encryptionContext({ x: 'v'.repeat(maxStored - 7) }).stored.length, maxStored)
  t.throws(() => encryptionContext({ x: 'v'.repeat(maxStored - 6) }), invalidContext)
  t.equal(encryptionContext({ 'aws:x': 'v'.repeat(maxCanonical - 11) }).canonical.length, maxCanonical)
  t.throws(() => encryptionContext({ 'aws:x': 'v'.repeat(maxCanonical - 10) }), invalidContext)

  // A reader's own user entries must be among the stored ones.
  const { stored } = encryptionContext({ a: '1', b: '2' })
  t.strictSame([...storedContext(stored, { b: '2', 'aws:s3:arn': arn }).entries.keys()], ['a', 'aws:s3:arn', 'b'])
  t.throws(() => storedContext(stored, { b: '3' }), notAuthentic)
  t.throws(() => storedContext(stored, { c: '2' }), notAuthentic)

  const row = (...texts: readonly (string | Uint8Array)[]): Uint8Array =>
    concat(
      u16(texts.length / 2),
      ...texts.flatMap(text => {
        const raw = typeof text === 'string' ? utf8(text) : text
        return [u16(raw.length), raw]
      }),
    )
  t.strictSame(
    [...parseContext(row('a', '1', 'b', ''))],
    [
      ['a', '1'],
      ['b', ''],
    ],
  )
  const wrong: Readonly<Record<string, Uint8Array>> = {
    'no bytes': new Uint8Array(0),
    'one byte': new Uint8Array(1),
    'too long': new Uint8Array(maxStored + 1),
    'a byte more': concat(row('a', '1'), Uint8Array.of(0)),
    'a byte less': row('a', '1').subarray(0, -1),
    'no length': row('a', '1').subarray(0, 3),
    'empty name': row('', '1'),
    'not sorted': row('b', '1', 'a', '2'),
    'a name twice': row('a', '1', 'a', '2'),
    reserved: row('aws:x', '1'),
    'not UTF-8': row('a', Uint8Array.of(0xff)),
  }
  for (const [name, raw] of Object.entries(wrong)) t.throws(() => parseContext(raw), notAuthentic, name)
})

t.test('contexts: one encoding, and a parser that only refuses', async t => {
  const name = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
    .filter(n => !/^(aws|sse-kms-streams):/.test(n))
  const entries = fc.array(fc.tuple(name, fc.string({ unit: 'binary', maxLength: 20 })), { maxLength: 8 })
  fc.assert(
    fc.property(entries, fc.integer(), (pairs, seed) => {
      const context = encryptionContext(new Map(pairs))
      const shuffled = [...new Map(pairs)].sort((a, b) => ((a[0].length + seed) % 3) - (b[0].length % 3))
      const same = encryptionContext(new Map(shuffled))
      return (
        hex(context.stored) === hex(same.stored) && hex(storedContext(context.stored).canonical) === hex(same.canonical)
      )
    }),
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), raw => {
      try {
        return hex(encryptionContext(parseContext(raw)).stored) === hex(raw)
      } catch (error) {
        return error instanceof Error && 'code' in error && error.code === 'NotAuthentic'
      }
    }),
    { numRuns: 500 },
  )
  t.pass('held')
})

t.test('blobs: every byte counts, and lengths are checked', async t => {
  const [master, dek] = [randomBytes(32), new DataKey(randomBytes(32))]
  const [context, bucketContext] = [
    encryptionContext({ 'aws:s3:arn': 'a/k' }),
    encryptionContext({ 'aws:s3:arn': 'a' }),
  ]
  const blob = await wrapLocal(nodeEngine, master, 7, dek, context)
  t.equal(localVersion(blob), 7)
  t.not(hex(await wrapLocal(nodeEngine, master, 7, dek, context)), hex(blob), 'a new salt for every wrap')
  for (let i = 4; i < blob.length; i++) {
    const changed = blob.map((byte, at) => (at === i ? byte ^ 128 : byte))
    await t.rejects(unwrapLocal(nodeEngine, master, changed, context), notAuthentic)
  }
  await t.rejects(unwrapLocal(nodeEngine, master, blob, bucketContext), notAuthentic)
  await t.rejects(unwrapLocal(nodeEngine, randomBytes(32), blob, context), notAuthentic)
  await t.rejects(unwrapLocal(nodeEngine, master, blob.subarray(1), context), notAuthentic)

  const provider: KmsProvider = {
    ...providerOf(nodeEngine, 'local'),
    unwrapDataKey: ({ wrapped, context }) => unwrapLocal(nodeEngine, master, wrapped.blob, context),
  }
  const outer = new DataKey(randomBytes(32))
  const inner: WrappedKey = {
    provider: 'local',
    keyId: 'k',
    wrapAlg: 2,
    blob: await wrapLocal(nodeEngine, master, 1, outer, bucketContext),
  }
  const wrapped = await wrapNested(nodeEngine, 3, outer, inner, dek, context)
  t.equal(hex((await unwrapKey(nodeEngine, provider, wrapped, context, bucketContext)).bytes), hex(dek.bytes))
  await t.rejects(unwrapKey(nodeEngine, provider, wrapped, context, undefined), TypeError)
  await t.rejects(unwrapKey(nodeEngine, provider, wrapped, bucketContext, bucketContext), notAuthentic)
  await t.rejects(wrapNested(nodeEngine, 4, outer, { ...inner, blob: new Uint8Array(6071) }, dek, context), RangeError)
  const nested: Readonly<Record<string, Uint8Array>> = {
    'one byte': wrapped.blob.subarray(0, 1),
    'a byte less': wrapped.blob.subarray(0, -1),
    'a byte more': concat(wrapped.blob, Uint8Array.of(0)),
    'no inner': concat(u16(0), new Uint8Array(72)),
    'inner too long': concat(u16(6071), new Uint8Array(6071 + 72)),
    'an inner of 75 bytes': concat(u16(75), new Uint8Array(75 + 72)),
    'inner version 0': concat(u16(76), new Uint8Array(76 + 72)),
  }
  for (const [name, blob] of Object.entries(nested))
    t.throws(() => splitNested({ ...wrapped, blob }), notAuthentic, name)
})

t.test("a customer's key", async t => {
  const raw = randomBytes(32)
  const mine = customerKey(nodeEngine, raw)
  const [context, other] = [encryptionContext({ 'aws:s3:arn': 'a' }), encryptionContext({ 'aws:s3:arn': 'b' })]
  const { key, wrapped } = await mine.generateDataKey({ keyId: '', context })
  t.match(wrapped, { provider: 'sse-c', keyId: '', wrapAlg: 2 })
  t.equal(localVersion(wrapped.blob), 0)
  t.equal(hex((await mine.unwrapDataKey({ wrapped, context })).bytes), hex(key.bytes))
  const moved = await mine.rewrapDataKey({ from: { wrapped, context }, to: { keyId: '', context: other } })
  t.equal(hex((await mine.unwrapDataKey({ wrapped: moved, context: other })).bytes), hex(key.bytes))
  await t.rejects(mine.unwrapDataKey({ wrapped, context: other }), { code: 'WrongCustomerKey' })
  const theirs = customerKey(nodeEngine, randomBytes(32))
  await t.rejects(theirs.unwrapDataKey({ wrapped, context }), { code: 'WrongCustomerKey' })
  const ofVersion1 = { ...wrapped, blob: wrapped.blob.map((byte, i) => (i === 3 ? 1 : byte)) }
  await t.rejects(mine.unwrapDataKey({ wrapped: ofVersion1, context }), notAuthentic)
  t.match(await mine.describeKey({ keyId: '' }), { state: 'enabled', origin: 'customer' })
  await t.rejects(mine.defaultKey({ region: 'r', domainId: 'd' }), TypeError)
  for (const size of [0, 16, 31, 33]) t.throws(() => customerKey(nodeEngine, new Uint8Array(size)), RangeError)
  const before = hex(raw)
  const underWay = mine.wrapDataKey(key, { keyId: '', context })
  mine.dispose()
  t.equal(hex(raw), before, 'the key was copied')
  await t.rejects(mine.unwrapDataKey({ wrapped, context }), TypeError, 'and the copy wiped')
  await t.rejects(mine.wrapDataKey(key, { keyId: '', context }), TypeError, 'nothing is wrapped under zeros')
  const again = customerKey(nodeEngine, raw)
  t.equal(hex((await again.unwrapDataKey({ wrapped: await underWay, context })).bytes), hex(key.bytes))
})

t.test('a data key is wiped and never shown', async t => {
  const raw = Uint8Array.from({ length: 32 }, (_, i) => i + 100)
  const key = new DataKey(raw)
  for (const shown of [
    inspect(key),
    inspect({ key }, { showHidden: true, depth: 9 }),
    JSON.stringify({ key }),
    `${key}`,
  ]) {
    t.match(shown, '[data key]')
    t.notMatch(shown, /100|101|6465|ZGVm/)
  }
  t.equal(hex(key.bytes), hex(raw))
  key.dispose()
  key.dispose()
  t.strictSame(raw, new Uint8Array(32))
  t.throws(() => key.bytes, TypeError)
  t.throws(() => new DataKey(new Uint8Array(31)), RangeError)
  const ofBuffer = new DataKey(Buffer.alloc(32, 1))
  ofBuffer.bytes.slice().fill(0)
  t.equal(hex(ofBuffer.bytes), '01'.repeat(32), 'a slice of its bytes is a copy')
})
