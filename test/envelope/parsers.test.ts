/**
 * The parsers of the format against anything: they throw nothing but SseError, what they take they give back byte for byte (one encoding a
 * value), and what is encoded they parse. Beside them the helpers of bytes and the table of errors.
 */
import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import t from 'tap'
import {
  base64,
  base64url,
  compare,
  concat,
  equal,
  fromBase64,
  fromBase64url,
  fromHex,
  fromUtf8,
  hex,
  isWellFormed,
  u16,
  u32,
  utf8,
  wipe,
} from '../../lib/bytes.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { type SuiteId, suiteOf, suites } from '../../lib/cipher/suite.ts'
import { Reader, setLength } from '../../lib/envelope/codec.ts'
import { descriptorSize, parseDescriptor, sealDescriptor, verifyDescriptor } from '../../lib/envelope/descriptor.ts'
import {
  fromText,
  encodeEnvelope,
  encodeReceipt,
  encodeSession,
  filePrefix,
  filePrefixSize,
  maxEnvelope,
  parseEnvelope,
  parseFilePrefix,
  parseReceipt,
  parseSession,
} from '../../lib/envelope/envelope.ts'
import { encodeTable, type PartRow, parseTable, totals } from '../../lib/envelope/part-table.ts'
import { maxSealed, minSealed, openValues, partAad, sealValues, type Values } from '../../lib/envelope/sealed-values.ts'
import { encodeRecord, parseRecord, type WrapRecord } from '../../lib/envelope/wrap-record.ts'
import { type ErrorCode, errorTable, SseError } from '../../lib/errors.ts'
import { encryptionContext, maxStored, parseContext } from '../../lib/kms/context.ts'
import type { WrapAlg, WrappedKey } from '../../lib/kms/provider.ts'
import { maxInner } from '../../lib/kms/wrap.ts'
import { maxPlaintext } from '../../lib/segment/layout.ts'

/** The result, or `undefined` where `NotAuthentic` was thrown; anything else fails the test. */
const attempt = <T>(run: () => T): T | undefined => {
  try {
    return run()
  } catch (error) {
    if (error instanceof SseError && error.code === 'NotAuthentic') return undefined
    throw error
  }
}

const sized = (size: number) => fc.uint8Array({ minLength: size, maxLength: size })

// Values of the format, all of them valid.

const text = fc.string({ unit: 'grapheme', maxLength: 12 })
const context = fc
  .array(fc.tuple(text, text), { maxLength: 5 })
  .map(pairs => pairs.filter(([name]) => name !== '' && !name.startsWith('aws:')))
  .map(pairs => encryptionContext(new Map(pairs)))
const localBlob = fc.tuple(fc.integer({ min: 1, max: 0xffff_ffff }), sized(72)).map(([v, rest]) => concat(u32(v), rest))
const nested = (inner: fc.Arbitrary<Uint8Array>) =>
  fc.tuple(inner, sized(72)).map(([inner, rest]) => concat(u16(inner.length), inner, rest))
const keyId = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
const opaque = fc.uint8Array({ minLength: 1, maxLength: 200 })
const otherName = fc.stringMatching(/^[a-z0-9-]{1,32}$/).filter(name => name !== 'local' && name !== 'sse-c')
const wrapped: fc.Arbitrary<WrappedKey> = fc.oneof(
  fc.record({ provider: fc.constant('local'), keyId, wrapAlg: fc.constant<WrapAlg>(2), blob: localBlob }),
  fc.record({ provider: fc.constant('local'), keyId, wrapAlg: fc.constant<WrapAlg>(3), blob: nested(localBlob) }),
  fc.record({
    provider: fc.constant('sse-c'),
    keyId: fc.constant(''),
    wrapAlg: fc.constant<WrapAlg>(2),
    blob: sized(72).map(rest => concat(u32(0), rest)),
  }),
  fc.record({ provider: otherName, keyId, wrapAlg: fc.constant<WrapAlg>(1), blob: opaque }),
  fc.record({ provider: otherName, keyId, wrapAlg: fc.constantFrom<WrapAlg>(3, 4), blob: nested(opaque) }),
)
const record: fc.Arbitrary<WrapRecord> = fc.tuple(wrapped, context).map(([w, { stored }]) => encodeRecord(w, stored))
const suite = fc.constantFrom(...suites.values())
const length = fc.oneof(fc.nat(200_000), fc.integer({ min: 0, max: 2 ** 46 - 1 }))
const row = (part: number): fc.Arbitrary<PartRow> =>
  fc.tuple(length, sized(24)).map(([length, salt]) => ({ part, length, salt }))
const rows: fc.Arbitrary<readonly PartRow[]> = fc.oneof(
  row(0).map(only => [only]),
  fc
    .uniqueArray(fc.integer({ min: 1, max: 10_000 }), { minLength: 1, maxLength: 12 })
    .chain(parts => fc.tuple(...parts.sort((a, b) => a - b).map(row))),
)
const key = new Uint8Array(32).fill(7)
const unknownRows = row(0).map(only => [{ ...only, length: Infinity }])
const sealed = (list: fc.Arbitrary<readonly PartRow[]>) =>
  fc.tuple(suite, sized(16), list).map(async ([suite, bodyId, rows]) => {
    const { descriptor, table } = await sealDescriptor(nodeEngine, key, suite, bodyId, rows)
    return { rows, descriptor, table }
  })
const session = fc.record({ suite, bodyId: sized(16), record })
const receipt = fc.record({
  row: fc.integer({ min: 1, max: 10_000 }).chain(row),
  values: fc.oneof(fc.constant(new Uint8Array(0)), fc.uint8Array({ minLength: minSealed, maxLength: 300 })),
})

/** A few changes of valid bytes: bits flipped, cut short, bytes put in, bytes left out, bytes appended. */
const changed = (bytes: Uint8Array): fc.Arbitrary<Uint8Array> =>
  fc
    .array(
      fc.record({
        at: fc.nat(bytes.length),
        what: fc.integer({ min: 0, max: 4 }),
        byte: fc.integer({ min: 0, max: 255 }),
      }),
      {
        minLength: 1,
        maxLength: 3,
      },
    )
    .map(changes => {
      let out = bytes
      for (const { at, what, byte } of changes) {
        const [front, back] = [out.slice(0, at), out.slice(at)]
        if (what === 0)
          out = concat(
            front,
            back.slice(0, 1).map(old => old ^ (1 << (byte & 7))),
            back.slice(1),
          )
        else if (what === 1) out = front
        else if (what === 2) out = concat(front, Uint8Array.of(byte), back)
        else if (what === 3) out = concat(front, back.slice(1))
        else out = concat(out, Uint8Array.of(byte))
      }
      return out
    })

/** Any bytes; those of a magic; valid ones; valid ones changed. */
const around = (valid: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> =>
  fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    valid.chain(bytes => fc.uint8Array({ maxLength: 200 }).map(rest => concat(bytes.slice(0, 4), rest))),
    valid,
    valid.chain(changed),
    valid.chain(changed),
  )

t.test('wrap records', async t => {
  fc.assert(
    fc.property(wrapped, context, (given, { stored }) => {
      const made = encodeRecord(given, stored)
      const parsed = parseRecord(made.bytes)
      return (
        equal(parsed.bytes, made.bytes) &&
        equal(parsed.context, stored) &&
        parsed.wrapped.provider === given.provider &&
        parsed.wrapped.keyId === given.keyId &&
        parsed.wrapped.wrapAlg === given.wrapAlg &&
        equal(parsed.wrapped.blob, given.blob)
      )
    }),
  )
  fc.assert(
    fc.property(around(record.map(({ bytes }) => bytes)), bytes => {
      const parsed = attempt(() => parseRecord(bytes))
      return parsed === undefined || equal(encodeRecord(parsed.wrapped, parsed.context).bytes, bytes)
    }),
    { numRuns: 1000 },
  )
  const local: WrappedKey = { provider: 'local', keyId: 'k', wrapAlg: 2, blob: concat(u32(1), new Uint8Array(72)) }
  const opaque: WrappedKey = { provider: 'aws-kms', keyId: 'k', wrapAlg: 1, blob: Uint8Array.of(1) }
  const empty = encryptionContext().stored
  const inner = (size: number, version = 1) => concat(u16(size), u32(version), new Uint8Array(size - 4 + 72))
  const limits: readonly (readonly [string, WrappedKey, boolean])[] = [
    ['a key id of 2,048 bytes', { ...local, keyId: 'k'.repeat(2048) }, true],
    ['a key id of 2,049 bytes', { ...local, keyId: 'k'.repeat(2049) }, false],
    ['no key id', { ...local, keyId: '' }, false],
    ['a key id with sse-c', { ...local, provider: 'sse-c', blob: new Uint8Array(76) }, false],
    ['sse-c', { ...local, provider: 'sse-c', keyId: '', blob: new Uint8Array(76) }, true],
    ['version 0 with local', { ...local, blob: new Uint8Array(76) }, false],
    ['a local blob of 75 bytes', { ...local, blob: local.blob.slice(1) }, false],
    ['a provider of 32 characters', { ...opaque, provider: 'p'.repeat(32) }, true],
    ['a provider of 33 characters', { ...opaque, provider: 'p'.repeat(33) }, false],
    ['no provider', { ...opaque, provider: '' }, false],
    ['a provider in upper case', { ...opaque, provider: 'AWS' }, false],
    ['wrapAlg 1 with local', { ...local, wrapAlg: 1 }, false],
    ['wrapAlg 2 with another', { ...opaque, wrapAlg: 2 }, false],
    ['wrapAlg 3 with sse-c', { ...local, provider: 'sse-c', keyId: '', wrapAlg: 3, blob: inner(76) }, false],
    ['wrapAlg 3 with local', { ...local, wrapAlg: 3, blob: inner(76) }, true],
    ['wrapAlg 3 with local, an inner blob of 77 bytes', { ...local, wrapAlg: 3, blob: inner(77) }, false],
    ['wrapAlg 3 with local, inner version 0', { ...local, wrapAlg: 3, blob: inner(76, 0) }, false],
    ['wrapAlg 4 with local', { ...local, wrapAlg: 4, blob: inner(76) }, false],
    ['wrapAlg 4, the longest inner blob', { ...opaque, wrapAlg: 4, blob: inner(maxInner) }, true],
    ['wrapAlg 4, an inner blob too long', { ...opaque, wrapAlg: 4, blob: inner(maxInner + 1) }, false],
    ['wrapAlg 4, no inner blob', { ...opaque, wrapAlg: 4, blob: new Uint8Array(74) }, false],
    ['wrapAlg 4, a byte more', { ...opaque, wrapAlg: 4, blob: concat(inner(9), Uint8Array.of(0)) }, false],
    ['wrapAlg 4, one byte', { ...opaque, wrapAlg: 4 }, false],
    ['no blob', { ...opaque, blob: new Uint8Array(0) }, false],
    ['the longest blob', { ...opaque, blob: new Uint8Array(6144) }, true],
    ['a blob too long', { ...opaque, blob: new Uint8Array(6145) }, false],
  ]
  for (const [name, given, taken] of limits)
    t.equal(attempt(() => encodeRecord(given, empty)) !== undefined, taken, name)
  const made = encodeRecord(opaque, empty).bytes
  for (const wrapAlg of [0, 5, 0x100, 0xffff]) {
    t.equal(
      attempt(() => parseRecord(concat(made.slice(0, 2), u16(wrapAlg), made.slice(4)))),
      undefined,
      `wrapAlg ${wrapAlg}`,
    )
  }
  const shorter = concat(made.slice(0, 2), made.slice(2).subarray(0, -1))
  t.equal(
    attempt(() => parseRecord(shorter)),
    undefined,
    'a byte less than recLen',
  )
  const longer = concat(u16(made.length - 1), made.slice(2), Uint8Array.of(0))
  t.equal(
    attempt(() => parseRecord(longer)),
    undefined,
    'a byte more inside recLen',
  )
  const reserved = concat(u16(1), u16(5), utf8('aws:x'), u16(0))
  for (const context of [reserved, u16(1), concat(u16(0), u16(0)), new Uint8Array(0)]) {
    const bytes = encodeRecord(opaque, context).bytes
    t.equal(
      attempt(() => parseRecord(bytes)),
      undefined,
      'a malformed context',
    )
  }
  const notText = made.map((byte, i) => (i === made.indexOf(utf8('k')[0] ?? 0, 13) ? 0xff : byte))
  t.equal(
    attempt(() => parseRecord(notText)),
    undefined,
    'a key id that is no UTF-8',
  )
})

t.test('stored contexts', async t => {
  fc.assert(
    fc.property(context, ({ stored, entries }) => {
      const parsed = parseContext(stored)
      return equal(encryptionContext(parsed).stored, stored) && parsed.size === entries.size
    }),
  )
  fc.assert(
    fc.property(around(context.map(({ stored }) => stored)), bytes => {
      const parsed = attempt(() => parseContext(bytes))
      return parsed === undefined || equal(encryptionContext(parsed).stored, bytes)
    }),
    { numRuns: 1000 },
  )
  const value = (size: number) => concat(u16(1), u16(1), utf8('a'), u16(size), new Uint8Array(size).fill(97))
  t.equal(parseContext(value(maxStored - 7)).size, 1, 'the longest')
  t.equal(
    attempt(() => parseContext(value(maxStored - 6))),
    undefined,
    'one byte too long',
  )
})

t.test('descriptors and tables', async t => {
  await fc.assert(
    fc.asyncProperty(sealed(rows), async made => {
      const { rows, descriptor, table } = await made
      const parsed = parseDescriptor(descriptor, false)
      const verified = await verifyDescriptor(nodeEngine, key, parsed, table)
      assert.deepEqual(verified, rows)
      return equal(encodeTable(verified), table) && parsed.parts === rows.length && equal(parsed.bytes, descriptor)
    }),
  )
  await fc.assert(
    fc.asyncProperty(sealed(unknownRows), async made => {
      const { rows, descriptor, table } = await made
      assert.equal(
        attempt(() => parseDescriptor(descriptor, false)),
        undefined,
        'flag bit 0 outside a file',
      )
      const parsed = parseDescriptor(descriptor, true)
      assert.equal(parsed.plaintextLength, Infinity)
      assert.deepEqual(await verifyDescriptor(nodeEngine, key, parsed, table), rows)
    }),
    { numRuns: 20 },
  )
  await fc.assert(
    fc.asyncProperty(sealed(fc.oneof(rows, unknownRows)), fc.nat(), fc.boolean(), async (made, seed, file) => {
      const { descriptor, table } = await made
      const at = seed % (descriptorSize * 8)
      const flipped = descriptor.map((byte, i) => (i === at >> 3 ? byte ^ (1 << (at & 7)) : byte))
      const parsed = attempt(() => parseDescriptor(flipped, file))
      if (parsed === undefined) return
      await assert.rejects(verifyDescriptor(nodeEngine, key, parsed, table), { code: 'NotAuthentic' })
    }),
    { numRuns: 300 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, file) => {
      attempt(() => parseDescriptor(bytes, file))
      attempt(() => parseTable(bytes, suiteOf(1), file))
    }),
  )
  const salt = new Uint8Array(24)
  const tables: readonly (readonly [string, SuiteId, readonly (readonly [number, number])[], boolean])[] = [
    ['one body', 1, [[0, 5]], true],
    ['one part', 1, [[3, 5]], true],
    ['part 10,000', 1, [[10_000, 5]], true],
    ['part 10,001', 1, [[10_001, 5]], false],
    [
      'part 0 beside another',
      1,
      [
        [0, 5],
        [1, 5],
      ],
      false,
    ],
    [
      'not ascending',
      1,
      [
        [2, 5],
        [1, 5],
      ],
      false,
    ],
    [
      'twice',
      1,
      [
        [2, 5],
        [2, 5],
      ],
      false,
    ],
    ['the longest', 2, [[1, maxPlaintext(suiteOf(2))]], true],
    ['too long for its suite', 2, [[1, maxPlaintext(suiteOf(2)) + 1]], false],
    ['a length that is unknown', 1, [[0, Infinity]], false],
  ]
  for (const [name, id, pairs, taken] of tables) {
    const bytes = encodeTable(pairs.map(([part, length]) => ({ part, length, salt })))
    t.equal(attempt(() => parseTable(bytes, suiteOf(id), false)) !== undefined, taken, name)
  }
  t.equal(
    attempt(() => parseTable(encodeTable([{ part: 0, length: 5, salt }]), suiteOf(1), true)),
    undefined,
  )
  t.equal(
    attempt(() => parseTable(encodeTable([{ part: 1, length: Infinity, salt }]), suiteOf(1), true)),
    undefined,
  )
  const most = Array.from({ length: 9 }, (_, i) => ({ part: i + 1, length: maxPlaintext(suiteOf(5)), salt }))
  t.equal(
    attempt(() => totals(suiteOf(5), most)),
    undefined,
    'more than 2^53-1 bytes in all',
  )
  t.equal(totals(suiteOf(5), most.slice(0, 7)).plaintext, 7 * maxPlaintext(suiteOf(5)))
  const { descriptor } = await sealDescriptor(nodeEngine, key, suiteOf(1), new Uint8Array(16), [
    { part: 0, length: 5, salt },
  ])
  const put = (at: number, bytes: Uint8Array) =>
    concat(descriptor.slice(0, at), bytes, descriptor.slice(at + bytes.length))
  const changes: readonly (readonly [string, Uint8Array])[] = [
    ['another magic', put(0, utf8('SKE1'))],
    ['suite 0', put(4, u16(0))],
    ['suite 4', put(4, u16(4))],
    ['another flag', put(6, Uint8Array.of(2))],
    ['a reserved byte', put(7, Uint8Array.of(1))],
    ['no stream', put(24, u32(0))],
    ['10,001 streams', put(24, u32(10_001))],
    ['a length of 2^53', put(28, Uint8Array.of(0, 0x20, 0, 0, 0, 0, 0, 0))],
    ['a length that is unknown, and no flag', put(28, new Uint8Array(16).fill(255))],
    ['one length that is unknown', put(28, new Uint8Array(8).fill(255))],
    ['two lengths that are known, and the flag', put(6, Uint8Array.of(1))],
    [
      'a flag and two streams',
      concat(put(6, Uint8Array.of(1)).slice(0, 24), u32(2), new Uint8Array(16).fill(255), descriptor.slice(44)),
    ],
    ['a byte less', descriptor.slice(0, -1)],
    ['a byte more', concat(descriptor, Uint8Array.of(0))],
  ]
  for (const [name, bytes] of changes)
    t.equal(
      attempt(() => parseDescriptor(bytes, true)),
      undefined,
      name,
    )
})

t.test('envelopes and files', async t => {
  const envelope = fc.tuple(record, suite, sized(16), rows).map(async ([record, suite, bodyId, rows]) => {
    const { descriptor, table } = await sealDescriptor(nodeEngine, key, suite, bodyId, rows)
    return encodeEnvelope(record, descriptor, table)
  })
  const samples = await Promise.all(fc.sample(envelope, 40))
  const valid = fc.constantFrom(...samples)
  for (const bytes of samples) {
    const { record, descriptor, table } = parseEnvelope(bytes)
    t.ok(equal(encodeEnvelope(record, descriptor.bytes, table), bytes))
    t.ok(equal(encodeEnvelope(record, descriptor.bytes, table), fromText(base64url(bytes))))
    t.equal(parseFilePrefix(filePrefix(bytes).slice(0, filePrefixSize)), bytes.length)
  }
  fc.assert(
    fc.property(around(valid), fc.boolean(), (bytes, file) => {
      const parsed = attempt(() => parseEnvelope(bytes, file))
      return parsed === undefined || equal(encodeEnvelope(parsed.record, parsed.descriptor.bytes, parsed.table), bytes)
    }),
    { numRuns: 1000 },
  )
  fc.assert(
    fc.property(around(fc.constant(filePrefix(new Uint8Array(300)).slice(0, 8))), bytes => {
      const size = attempt(() => parseFilePrefix(bytes))
      return size === undefined || (bytes.length === 8 && size >= 1 && size <= maxEnvelope)
    }),
  )
  t.equal(
    attempt(() => parseEnvelope(new Uint8Array(maxEnvelope + 1))),
    undefined,
    'too long',
  )
  const prefix = (size: number) => concat(utf8('SKF1'), u32(size))
  t.equal(parseFilePrefix(prefix(maxEnvelope)), maxEnvelope, 'the longest envelope of a file')
  for (const size of [0, maxEnvelope + 1, 0xffff_ffff])
    t.equal(
      attempt(() => parseFilePrefix(prefix(size))),
      undefined,
    )
  const longest = encodeRecord(
    { provider: 'p'.repeat(32), keyId: 'k'.repeat(2048), wrapAlg: 1, blob: new Uint8Array(6144) },
    encryptionContext({ a: 'v'.repeat(maxStored - 7) }).stored,
  )
  const most = Array.from({ length: 10_000 }, (_, i) => ({ part: i + 1, length: 1, salt: new Uint8Array(24) }))
  const { descriptor, table } = await sealDescriptor(nodeEngine, key, suiteOf(1), new Uint8Array(16), most)
  const bytes = encodeEnvelope(longest, descriptor, table)
  t.equal(bytes.length, maxEnvelope, 'the longest envelope')
  t.equal(parseEnvelope(bytes).descriptor.parts, 10_000)
})

t.test('sessions and receipts', async t => {
  fc.assert(
    fc.property(session, given => {
      const bytes = encodeSession(given)
      const parsed = parseSession(bytes)
      return equal(encodeSession(parsed), bytes) && parsed.suite === given.suite && equal(parsed.bodyId, given.bodyId)
    }),
  )
  fc.assert(
    fc.property(around(session.map(encodeSession)), bytes => {
      const parsed = attempt(() => parseSession(bytes))
      return parsed === undefined || equal(encodeSession(parsed), bytes)
    }),
    { numRuns: 1000 },
  )
  fc.assert(
    fc.property(receipt, given => {
      const parsed = parseReceipt(encodeReceipt(given))
      return (
        equal(encodeReceipt(parsed), encodeReceipt(given)) &&
        parsed.row.part === given.row.part &&
        parsed.row.length === given.row.length &&
        equal(parsed.row.salt, given.row.salt) &&
        equal(parsed.values, given.values)
      )
    }),
  )
  fc.assert(
    fc.property(around(receipt.map(encodeReceipt)), bytes => {
      const parsed = attempt(() => parseReceipt(bytes))
      return parsed === undefined || equal(encodeReceipt(parsed), bytes)
    }),
    { numRuns: 1000 },
  )
  const salt = new Uint8Array(24)
  const none = new Uint8Array(0)
  const limits: readonly (readonly [string, PartRow, Uint8Array, boolean])[] = [
    ['part 1', { part: 1, length: 0, salt }, none, true],
    ['part 0', { part: 0, length: 0, salt }, none, false],
    ['part 10,001', { part: 10_001, length: 0, salt }, none, false],
    ['a length that is unknown', { part: 1, length: Infinity, salt }, none, false],
    ['the most values', { part: 1, length: 0, salt }, new Uint8Array(maxSealed), true],
    ['the fewest values', { part: 1, length: 0, salt }, new Uint8Array(minSealed), true],
    ['fewer values', { part: 1, length: 0, salt }, new Uint8Array(minSealed - 1), false],
    ['more values', { part: 1, length: 0, salt }, new Uint8Array(maxSealed + 1), false],
  ]
  for (const [name, row, values, taken] of limits) {
    t.equal(attempt(() => parseReceipt(encodeReceipt({ row, values }))) !== undefined, taken, name)
  }
  for (const suite of suites.values()) {
    const ofLength = (length: number) => encodeReceipt({ row: { part: 1, length, salt }, values: none })
    const most = maxPlaintext(suite)
    t.equal(parseReceipt(ofLength(most), suite).row.length, most)
    t.equal(
      attempt(() => parseReceipt(ofLength(most + 1), suite)),
      undefined,
      'more segments than a stream of the suite has',
    )
    t.equal(parseReceipt(ofLength(Number.MAX_SAFE_INTEGER)).row.length, Number.MAX_SAFE_INTEGER, 'of no known suite')
  }
  const local = encodeRecord({ provider: 'p', keyId: 'k', wrapAlg: 1, blob: Uint8Array.of(1) }, u16(0))
  const bytes = encodeSession({ suite: suiteOf(1), bodyId: new Uint8Array(16), record: local })
  t.equal(
    attempt(() => parseSession(concat(bytes.slice(0, 4), u16(9), bytes.slice(6)))),
    undefined,
    'an unknown suite',
  )
  t.equal(
    attempt(() => parseSession(concat(bytes.slice(0, 6), u16(1), bytes.slice(8)))),
    undefined,
    'reserved bytes',
  )
})

t.test('sealed values', async t => {
  const aad = partAad({ part: 1, length: 5, salt: new Uint8Array(24) })
  const sizes = [16, 4, 4, 8, 20, 32]
  const known = fc.tuple(
    ...sizes.flatMap((size, i) =>
      [i + 1, 0x81 + i].map(id => fc.option(sized(size).map(value => [id, value] as const))),
    ),
  )
  const strange = fc.array(fc.tuple(fc.constantFrom(0, 7, 0x80, 0x87, 255), fc.uint8Array({ maxLength: 50 })))
  await fc.assert(
    fc.asyncProperty(known, strange, async (known, strange) => {
      const mine = known.filter(entry => entry !== null)
      const sealed = await sealValues(nodeEngine, key, aad, new Map([...strange, ...mine]))
      const opened = await openValues(nodeEngine, key, aad, sealed)
      assert.deepEqual(
        [...opened],
        mine.sort(([a], [b]) => a - b),
      )
    }),
  )
  const open = async (sealed: Uint8Array): Promise<Values | undefined> => {
    try {
      return await openValues(nodeEngine, key, aad, sealed)
    } catch (error) {
      if (error instanceof SseError && error.code === 'NotAuthentic') return undefined
      throw error
    }
  }
  const nonce = new Uint8Array(12)
  const authentic = (list: Uint8Array) => concat(nonce, nodeEngine.seal('AEAD_AES_256_GCM', key, nonce, list, aad))
  const valid = concat(Uint8Array.of(1), u16(16), new Uint8Array(16), Uint8Array.of(3), u16(4), new Uint8Array(4))
  // Authentic lists, changed before they were sealed: the parser's own work.
  await fc.assert(
    fc.asyncProperty(around(fc.constant(valid)), async list => {
      const opened = await open(authentic(list))
      assert.ok(opened === undefined || opened.size <= 12)
    }),
    { numRuns: 500 },
  )
  await fc.assert(
    fc.asyncProperty(around(fc.constant(authentic(valid))), async sealed => {
      const opened = await open(sealed)
      assert.equal(opened?.size, equal(sealed, authentic(valid)) ? 2 : sealed.length === 0 ? 0 : undefined)
    }),
    { numRuns: 300 },
  )
  const lists: readonly (readonly [string, Uint8Array, number | undefined])[] = [
    ['two values', valid, 2],
    ['an empty list', new Uint8Array(0), undefined],
    ['not ascending', concat(valid.slice(19), valid.slice(0, 19)), undefined],
    ['twice the same', concat(valid, valid.slice(19)), undefined],
    ['an MD5 of 15 bytes', concat(Uint8Array.of(1), u16(15), new Uint8Array(15)), undefined],
    ['a byte more', concat(valid, Uint8Array.of(9)), undefined],
    ['the longest list', concat(Uint8Array.of(7), u16(4093), new Uint8Array(4093)), 0],
    ['a list too long', concat(Uint8Array.of(7), u16(4094), new Uint8Array(4094)), undefined],
  ]
  for (const [name, list, size] of lists) t.equal((await open(authentic(list)))?.size, size, name)
  t.equal((await open(new Uint8Array(0)))?.size, 0, 'no bytes are no values')
  t.equal((await open(new Uint8Array(27)))?.size, undefined, 'too short')
  t.equal((await sealValues(nodeEngine, key, aad, new Map())).length, 0, 'no values are no bytes')
  for (const [id, size] of [
    [256, 1],
    [-1, 1],
    [1.5, 1],
    [1, 15],
    [0x86, 31],
    [7, 4094],
  ] as const) {
    await t.rejects(
      sealValues(nodeEngine, key, aad, new Map([[id, new Uint8Array(size)]])),
      RangeError,
      `${id}: ${size}`,
    )
  }
})

t.test('text: one spelling of any bytes', async t => {
  const anyText = fc.oneof(
    fc.string({ maxLength: 40 }),
    fc.stringMatching(/^[A-Za-z0-9_=/+-]*$/),
    fc.uint8Array({ maxLength: 40 }).map(base64url),
    fc.uint8Array({ maxLength: 40 }).map(base64),
    fc.uint8Array({ maxLength: 40 }).map(hex),
  )
  fc.assert(
    fc.property(anyText, text => {
      const bytes = attempt(() => fromText(text))
      const padded = fromBase64(text)
      const digits = fromHex(text)
      return (
        (bytes === undefined || base64url(bytes) === text) &&
        (padded === undefined || base64(padded) === text) &&
        (digits === undefined || hex(digits) === text.toLowerCase())
      )
    }),
    { numRuns: 2000 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20_000 }), bytes => {
      assert.deepEqual(fromBase64url(base64url(bytes)), bytes)
      assert.deepEqual(fromBase64(base64(bytes)), bytes)
      assert.deepEqual(fromHex(hex(bytes)), bytes)
      assert.equal(base64(bytes), Buffer.from(bytes).toString('base64'))
      assert.equal(base64url(bytes), Buffer.from(bytes).toString('base64url'))
      assert.equal(hex(bytes), Buffer.from(bytes).toString('hex'))
    }),
    { numRuns: 50 },
  )
  for (const text of ['A', 'AA==', 'AB', 'A A', 'AA\n', 'AA+/', 'é']) t.equal(fromBase64url(text), undefined, text)
  for (const text of ['AA', 'AB==', 'A===', '====', 'AAA', '-_==']) t.equal(fromBase64(text), undefined, text)
  for (const text of ['a', 'gg', '0x', 'aé']) t.equal(fromHex(text), undefined, text)
})

t.test('bytes', async t => {
  const bytes = fc.uint8Array({ maxLength: 40 })
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      const order = Buffer.compare(a, b)
      return Math.sign(compare(a, b)) === order && equal(a, b) === (order === 0) && equal(a, a.slice())
    }),
  )
  fc.assert(
    fc.property(bytes, fc.integer({ min: 0, max: 39 }), (a, at) => {
      const other = a.map((byte, i) => (i === at ? byte ^ 1 : byte))
      return equal(a, other) === at >= a.length && Math.sign(compare(a, other)) === Buffer.compare(a, other)
    }),
  )
  fc.assert(fc.property(fc.array(bytes), list => Buffer.concat(list).equals(concat(...list))))
  const u64 = (n: bigint) => {
    const words = new DataView(new ArrayBuffer(8))
    words.setBigUint64(0, n)
    return new Uint8Array(words.buffer)
  }
  const written = (length: number) => {
    const words = new Uint8Array(8)
    setLength(words, 0, length)
    return words
  }
  t.strictSame(written(Infinity), u64(2n ** 64n - 1n))
  t.equal(new Reader(u64(2n ** 64n - 1n)).u64(), Infinity)
  for (const n of [2n ** 53n, 2n ** 63n, 2n ** 64n - 2n]) t.throws(() => new Reader(u64(n)).u64(), SseError)
  fc.assert(
    fc.property(fc.maxSafeNat(), n => {
      assert.deepEqual(written(n), u64(BigInt(n)))
      const reader = new Reader(concat(Uint8Array.of(n % 256), u16(n % 65_536), u32(n % 2 ** 32), u64(BigInt(n))))
      const read = [reader.u8(), reader.u16(), reader.u32(), reader.u64()]
      reader.end()
      assert.deepEqual(read, [n % 256, n % 65_536, n % 2 ** 32, n])
    }),
  )
  fc.assert(fc.property(fc.string({ unit: 'binary' }), text => fromUtf8(utf8(text)) === text && isWellFormed(text)))
  t.equal(fromUtf8(utf8('\ufeffa')), '\ufeffa', 'a leading U+FEFF is kept')
  t.equal(isWellFormed('a\ud800'), false)
  t.throws(() => fromUtf8(Uint8Array.of(0xff)), TypeError)
  const secret = Uint8Array.of(1, 2)
  wipe(secret, undefined)
  t.strictSame(secret, Uint8Array.of(0, 0))
})

const isCode = (text: string): text is ErrorCode => text in errorTable

t.test('errors: a status, an S3 code and a message that is not empty for every code', async t => {
  for (const [code, { status, s3Code = code, message }] of Object.entries(errorTable)) {
    const error = new SseError(isCode(code) ? code : 'InternalError')
    t.match(error, { name: 'SseError', code, status, s3Code, message, details: {}, retryAfter: undefined })
    t.ok(status >= 300 && status < 600 && s3Code !== '' && message.length > 10, code)
    t.equal('cause' in error, false)
  }
  const cause = new Error('why')
  const error = new SseError('SlowDown', { message: 'wait', details: { A: 'b' }, cause, retryAfter: 3 })
  t.match(error, { message: 'wait', details: { A: 'b' }, cause, retryAfter: 3 })
})
