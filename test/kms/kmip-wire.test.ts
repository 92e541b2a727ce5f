/** What a KMIP server may send: every answer ends in a value or in `KmsUnavailable`, within the limits of memory, whatever its bytes are. */
import fc from 'fast-check'
import t from 'tap'
import { concat, u32 } from '../../lib/bytes.ts'
import { SseError } from '../../lib/errors.ts'
import { Refusal } from '../../lib/kms/kmip/failure.ts'
import { Frame } from '../../lib/kms/kmip/frame.ts'
import { encodeRequest, parseAnswer } from '../../lib/kms/kmip/message.ts'
import { tags } from '../../lib/kms/kmip/tags.ts'
import {
  bytes,
  encodeItem,
  enumeration,
  integer,
  type Item,
  itemOf,
  parseItem,
  structure,
  text,
} from '../../lib/kms/kmip/ttlv.ts'

const tag = fc.integer({ min: 0x420001, max: 0x42ffff })
const leaf: fc.Arbitrary<Item> = fc.oneof(
  fc.tuple(tag, fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })).map(([tag, value]) => integer(tag, value)),
  fc.tuple(tag, fc.nat(2 ** 32 - 1)).map(([tag, value]) => enumeration(tag, value)),
  fc.tuple(tag, fc.string({ unit: 'grapheme', maxLength: 20 })).map(([tag, value]) => text(tag, value)),
  fc.tuple(tag, fc.uint8Array({ maxLength: 40 })).map(([tag, value]) => bytes(tag, value)),
  fc.record({ tag, type: fc.constant('boolean' as const), value: fc.boolean() }),
  fc.record({ tag, type: fc.constant('date' as const), value: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }) }),
)
const { tree } = fc.letrec<{ tree: Item; item: Item }>(tie => ({
  item: fc.oneof({ depthSize: 'small' }, leaf, tie('tree')),
  tree: fc.tuple(tag, fc.array(tie('item'), { maxLength: 5 })).map(([tag, items]) => structure(tag, ...items)),
}))

const answer = (...result: readonly Item[]): Item =>
  structure(
    tags.responseMessage,
    structure(tags.responseHeader, integer(tags.batchCount, 1)),
    structure(tags.batchItem, ...result),
  )
const success = answer(
  enumeration(tags.operation, 0x20),
  enumeration(tags.resultStatus, 0),
  structure(tags.responsePayload, text(tags.uniqueIdentifier, '1'), bytes(tags.data, new Uint8Array(32))),
)
const failure = answer(
  enumeration(tags.resultStatus, 1),
  enumeration(tags.resultReason, 12),
  text(tags.resultMessage, 'no\u001b[31m, never'),
)

/** Bytes changed, cut, put in or appended. */
const changed = (from: Uint8Array): fc.Arbitrary<Uint8Array> =>
  fc.array(fc.tuple(fc.nat(from.length), fc.nat(255), fc.nat(3)), { minLength: 1, maxLength: 4 }).map(changes =>
    changes.reduce((now, [at, byte, what]) => {
      if (what === 0) return now.slice(0, at)
      if (what === 1) return concat(now.subarray(0, at), Uint8Array.of(byte), now.subarray(at))
      const next = now.slice()
      if (at < next.length) next[at] = what === 2 ? byte : (next[at] ?? 0) ^ (1 << (byte & 7))
      return next
    }, from),
  )

const isUnavailable = (error: unknown): boolean => error instanceof SseError && error.code === 'KmsUnavailable'
const endsWell = (work: () => unknown): boolean => {
  try {
    work()
    return true
  } catch (error) {
    return isUnavailable(error) || error instanceof Refusal
  }
}
const wrong = { code: 'KmsUnavailable', message: /cannot be right/ }

const hasOther = (item: Item): boolean =>
  item.type === 'other' || (item.type === 'structure' && item.value.some(hasOther))

t.test('TTLV: what is written is read again, and has no other encoding', async () => {
  fc.assert(
    fc.property(tree, item => {
      const encoded = encodeItem(item)
      const parsed = parseItem(encoded)
      return encoded.length % 8 === 0 && Buffer.from(encodeItem(parsed)).equals(encoded)
    }),
  )
  fc.assert(
    fc.property(
      tree.chain(item => changed(encodeItem(item))),
      input => {
        let parsed: Item
        try {
          parsed = parseItem(input)
        } catch (error) {
          return isUnavailable(error)
        }
        return hasOther(parsed) || Buffer.from(encodeItem(parsed)).equals(input)
      },
    ),
    { numRuns: 2000 },
  )
})

t.test('answers: any bytes, and any change of a right one, end in a value or an error', async t => {
  const property = (input: Uint8Array) => endsWell(() => parseAnswer(input, 'Decrypt'))
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), property), { numRuns: 2000 })
  for (const item of [success, failure]) fc.assert(fc.property(changed(encodeItem(item)), property), { numRuns: 5000 })

  t.equal(itemOf(parseAnswer(encodeItem(success), 'Decrypt'), tags.uniqueIdentifier, 'text'), '1')
  t.throws(() => parseAnswer(encodeItem(success), 'Encrypt'), wrong, 'one to another operation')
  t.throws(() => parseAnswer(encodeItem(failure), 'Decrypt'), {
    reason: 12,
    message: /^Decrypt: reason 12: no\[31m, never$/,
  })
  const pending = answer(enumeration(tags.operation, 0x20), enumeration(tags.resultStatus, 2))
  t.throws(() => parseAnswer(encodeItem(pending), 'Decrypt'), wrong)
})

t.test('structures that are nested too deep, and lengths that lie', async t => {
  let deep = structure(1)
  for (let i = 0; i < 15; i++) deep = structure(1, deep)
  t.doesNotThrow(() => parseItem(encodeItem(deep)))
  const head = (size: number) => concat(Uint8Array.of(0x42, 0, 8, 1), u32(size))
  const depth = 20_000
  const nest = concat(...Array.from({ length: depth }, (_, i) => head(8 * (depth - 1 - i))))
  t.throws(() => parseItem(nest), wrong, 'the stack is not its to take')
  t.throws(() => parseItem(head(0xffff_fff8)), wrong)
  t.throws(() => parseItem(new Uint8Array()), wrong)
})

t.test('frames: any chunks give the message, and none takes more than the limit', async t => {
  const message = encodeItem(success)
  fc.assert(
    fc.property(fc.array(fc.nat(message.length), { maxLength: 8 }), cuts => {
      const frame = new Frame(message.length)
      const at = [0, ...cuts.sort((a, b) => a - b), message.length]
      const got = at.slice(1).flatMap((end, i) => frame.push(message.slice(at[i], end)) ?? [])
      return got.length > 0 && got.every(each => Buffer.from(each).equals(message))
    }),
  )
  t.throws(() => new Frame(message.length - 8).push(message), wrong, 'over the limit')
  t.throws(() => new Frame(1000).push(concat(message, Uint8Array.of(0))), wrong, 'bytes behind it')
  const claim = concat(Uint8Array.of(0x42, 0, 0x7b, 1), u32(0xffff_fff8))
  t.throws(() => new Frame(1_048_576).push(claim), wrong, 'no memory for what is only claimed')
  t.throws(() => new Frame(1000).push(new Uint8Array(8)), wrong, 'no response')
  const property = (chunks: readonly Uint8Array[]) =>
    endsWell(() => {
      const frame = new Frame(512)
      for (const chunk of chunks) if (frame.push(chunk) !== undefined) return
    })
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 30 }), property))
})

t.test('a request says which version, how long the answer may be, and who asks', async t => {
  const setup = { version: '2.0' as const, credential: { username: 'alice', password: 'secret' }, maxAnswer: 4096 }
  const request = parseItem(encodeRequest(setup, 'Locate', []))
  const header = request.type === 'structure' ? (itemOf(request.value, tags.requestHeader, 'structure') ?? []) : []
  const version = itemOf(header, tags.protocolVersion, 'structure') ?? []
  t.strictSame([itemOf(version, tags.major, 'integer'), itemOf(version, tags.minor, 'integer')], [2, 0])
  t.equal(itemOf(header, tags.maximumResponseSize, 'integer'), 4096)
  const authentication = itemOf(header, tags.authentication, 'structure') ?? []
  const credential = itemOf(authentication, tags.credential, 'structure') ?? []
  t.equal(itemOf(credential, tags.credentialType, 'enumeration'), 1)
  const value = itemOf(credential, tags.credentialValue, 'structure') ?? []
  t.strictSame([itemOf(value, tags.username, 'text'), itemOf(value, tags.password, 'text')], ['alice', 'secret'])
})
