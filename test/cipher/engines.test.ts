import { createHmac, hkdfSync, randomFillSync } from 'node:crypto'
import * as fc from 'fast-check'
import t from 'tap'
import { concat, hex, utf8 } from '../../lib/bytes.ts'
import { pickEngine, selfTest } from '../../lib/cipher/choose.ts'
import {
  deriveBody,
  deriveKek,
  deriveKeyring,
  deriveStream,
  deriveStreamSync,
  expand,
  expandSync,
  type Shape,
  streamContext,
  uploadIdentity,
} from '../../lib/cipher/derive.ts'
import type { AsyncEngine, Engine, SegmentCipher, SyncEngine } from '../../lib/cipher/engine.ts'
import { nobleEngine } from '../../lib/cipher/noble.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { randomBytes, replaceRandomness } from '../../lib/cipher/random.ts'
import { type Aead, type SuiteId, suiteOf, suites } from '../../lib/cipher/suite.ts'
import { webCryptoEngine } from '../../lib/cipher/web.ts'
import { SseError } from '../../lib/errors.ts'
import { engines, syncEngines } from '../support/engines.ts'
import { bytes, vectors } from '../support/vectors.ts'

/** So many derived bytes in one piece. */
const whole = (length: number): Shape<Uint8Array> => ({ length, cut: take => take(length) })

const aeads: readonly Aead[] = ['AEAD_AES_256_GCM', 'AEAD_CHACHA20_POLY1305']

interface Wycheproof<T> {
  readonly testGroups: readonly {
    readonly keySize: number
    readonly ivSize: number
    readonly tagSize: number
    readonly tests: readonly (T & { readonly tcId: number; readonly result: 'valid' | 'invalid' | 'acceptable' })[]
  }[]
}

/** Segments of any engine, those of a synchronous one cut at `cut`. */
const segmentsOf = async (engine: Engine, aead: Aead, key: Uint8Array, cut: number): Promise<SegmentCipher> => {
  if (!engine.synchronous) return engine.segments(aead, key)
  return {
    seal: async (nonce, plaintext) => {
      const sealer = engine.sealer(aead, key)
      sealer.begin(nonce)
      const pieces = [plaintext.subarray(0, cut), plaintext.subarray(cut)].map(piece => sealer.update(piece))
      const sealed = concat(...pieces.flatMap(piece => piece ?? []), ...sealer.final())
      sealer.dispose()
      return sealed
    },
    open: async (nonce, sealed) => {
      const opener = engine.opener(aead, key)
      opener.begin(nonce)
      const body = sealed.subarray(0, -16)
      for (const piece of [body.subarray(0, cut), body.subarray(cut)]) opener.update(piece)
      try {
        return concat(...opener.final(sealed.subarray(-16)))
      } finally {
        opener.dispose()
      }
    },
    dispose: () => undefined,
  }
}

const notAuthentic = { name: 'SseError', code: 'NotAuthentic' }

for (const [aead, name] of [
  ['AEAD_AES_256_GCM', 'wycheproof/aes_gcm_test.json'],
  ['AEAD_CHACHA20_POLY1305', 'wycheproof/chacha20_poly1305_test.json'],
] as const) {
  t.test(`Wycheproof: ${name}`, async t => {
    type Case = { key: string; iv: string; aad: string; msg: string; ct: string; tag: string }
    const file = vectors<Wycheproof<Case>>(name)
    const groups = file.testGroups.filter(g => g.keySize === 256 && g.ivSize === 96 && g.tagSize === 128)
    for (const engine of engines.filter(engine => engine.supports(aead))) {
      const seen = { valid: 0, invalid: 0, segments: 0 }
      const wrong: unknown[] = []
      for (const { tests } of groups) {
        for (const { tcId, result, ...c } of tests) {
          const [key, nonce, aad, plaintext] = [bytes(c.key), bytes(c.iv), bytes(c.aad), bytes(c.msg)]
          const sealed = bytes(c.ct + c.tag)
          const segments = await segmentsOf(engine, aead, key, 3)
          if (result === 'invalid') {
            seen.invalid++
            const refused = await Promise.resolve()
              .then(() => engine.open(aead, key, nonce, sealed, aad))
              .catch((error: unknown) => error)
            if (!(refused instanceof SseError) || refused.code !== 'NotAuthentic') wrong.push(tcId)
            if (c.aad === '' && !((await segments.open(nonce, sealed).catch(e => e)) instanceof SseError))
              wrong.push(tcId)
            continue
          }
          seen.valid++
          if (hex(await engine.seal(aead, key, nonce, plaintext, aad)) !== hex(sealed)) wrong.push(tcId)
          if (hex(await engine.open(aead, key, nonce, sealed, aad)) !== c.msg) wrong.push(tcId)
          if (c.aad !== '') continue
          seen.segments++
          if (hex(await segments.seal(nonce, plaintext)) !== hex(sealed)) wrong.push(tcId)
          if (hex(await segments.open(nonce, sealed)) !== c.msg) wrong.push(tcId)
        }
      }
      t.strictSame(wrong, [], `${engine.name}: all as expected`)
      t.ok(seen.valid > 30 && seen.invalid > 20 && seen.segments > 10, `${engine.name}: ${JSON.stringify(seen)}`)
    }
  })
}

t.test('Wycheproof: aes_wrap_test.json', async t => {
  const file = vectors<Wycheproof<{ key: string; msg: string; ct: string }>>('wycheproof/aes_wrap_test.json')
  const tests = file.testGroups.filter(g => g.keySize === 256).flatMap(g => g.tests)
  for (const engine of engines) {
    const seen = { valid: 0, invalid: 0 }
    for (const { tcId, result, key, msg, ct } of tests) {
      if (result === 'invalid') {
        seen.invalid++
        await t.rejects(
          async () => engine.unwrap(bytes(key), bytes(ct)),
          notAuthentic,
          `${engine.name} refuses ${tcId}`,
        )
      } else if (msg.length === 64) {
        seen.valid++
        t.equal(hex(await engine.wrap(bytes(key), bytes(msg))), ct)
        t.equal(hex(await engine.unwrap(bytes(key), bytes(ct))), msg)
      }
    }
    for (const { ct } of tests.filter(({ ct }) => ct.length !== 80)) {
      await t.rejects(async () => engine.unwrap(new Uint8Array(32), bytes(ct)), notAuthentic, 'no keys of other sizes')
    }
    t.ok(seen.valid >= 4 && seen.invalid > 30, `${engine.name}: ${JSON.stringify(seen)}`)
  }
})

t.test('Wycheproof: hmac_sha512_test.json', async t => {
  const file = vectors<Wycheproof<{ key: string; msg: string; tag: string }>>('wycheproof/hmac_sha512_test.json')
  for (const engine of engines) {
    let seen = 0
    for (const { tests } of file.testGroups) {
      for (const { tcId, result, key, msg, tag } of tests) {
        const mac = hex(await engine.hmacSha512(bytes(key), bytes(msg))).slice(0, tag.length)
        if ((mac === tag) !== (result === 'valid')) t.fail(`${engine.name}: ${tcId}`)
        seen++
      }
    }
    t.ok(seen > 100, `${engine.name}: ${seen} cases`)
  }
})

t.test('Wycheproof: hkdf_sha512_test.json', async t => {
  const file = vectors<Wycheproof<{ ikm: string; salt: string; info: string; size: number; okm: string }>>(
    'wycheproof/hkdf_sha512_test.json',
  )
  // Expand as RFC 5869 has it, for the 64-byte PRKs of Extract: our own takes 32-byte ones only.
  const expandAny = async (engine: Engine, prk: Uint8Array, info: Uint8Array, size: number): Promise<Uint8Array> => {
    const blocks: Uint8Array[] = []
    for (let i = 1; blocks.length * 64 < size; i++) {
      blocks.push(await engine.hmacSha512(prk, blocks.at(-1) ?? new Uint8Array(0), info, Uint8Array.of(i)))
    }
    return concat(...blocks).subarray(0, size)
  }
  for (const engine of engines) {
    let seen = 0
    for (const { tests } of file.testGroups) {
      for (const { tcId, result, ikm, salt, info, size, okm } of tests) {
        if (result === 'invalid') continue
        const prk = await engine.hmacSha512(salt === '' ? new Uint8Array(64) : bytes(salt), bytes(ikm))
        if (hex(await expandAny(engine, prk, bytes(info), size)) !== okm) t.fail(`${engine.name}: ${tcId}`)
        seen++
      }
    }
    t.ok(seen > 50, `${engine.name}: ${seen} cases`)
  }
})

t.test('Expand: both colours, every engine and a computation of its own agree', async t => {
  const own = (prk: Uint8Array, info: Uint8Array, length: number): string => {
    const first = createHmac('sha512', prk).update(info).update('\x01').digest()
    const second = createHmac('sha512', prk).update(first).update(info).update('\x02').digest()
    return Buffer.concat([first, second])
      .toString('hex')
      .slice(0, 2 * length)
  }
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.uint8Array({ maxLength: 600 }),
      fc.integer({ min: 0, max: 128 }),
      async (prk, info, length) => {
        const expected = own(prk, info, length)
        for (const engine of engines) t.equal(hex(await expand(engine, prk, [info], whole(length))), expected)
        for (const engine of syncEngines) t.equal(hex(expandSync(engine, prk, [info], whole(length))), expected)
      },
    ),
    { numRuns: 30 },
  )
  // With Extract in front it is node's own HKDF.
  const [ikm, salt] = [utf8('input'), utf8('salt')]
  const prk = await nodeEngine.hmacSha512(salt, ikm)
  t.equal(
    hex(await nodeEngine.hmacSha512(prk, utf8('info'), Uint8Array.of(1))),
    Buffer.from(hkdfSync('sha512', ikm, salt, 'info', 64)).toString('hex'),
  )
  for (const length of [0, 31, 33, 64]) {
    await t.rejects(expand(nodeEngine, new Uint8Array(length), [utf8('')], whole(32)), RangeError)
    t.throws(() => expandSync(nodeEngine, new Uint8Array(length), [utf8('')], whole(32)), RangeError)
  }
})

interface Sk1 {
  readonly dek: string
  readonly bodyId: string
  readonly kDesc: string
  readonly kEtag: string
  readonly kAux: string
  readonly streams: readonly {
    readonly suite: SuiteId
    readonly part: number
    readonly salt: string
    readonly key: string
    readonly baseNonce: string
    readonly commitment: string
  }[]
  readonly sessions: readonly { readonly session: string; readonly uploadId: string }[]
}

t.test('derivations: the vectors of the format', async t => {
  const sk1 = vectors<Sk1>('sk1.json')
  const [dek, bodyId] = [bytes(sk1.dek), bytes(sk1.bodyId)]
  for (const engine of engines) {
    const body = await deriveBody(engine, dek, bodyId)
    t.strictSame([body.descriptor, body.etag, body.aux].map(hex), [sk1.kDesc, sk1.kEtag, sk1.kAux])
    for (const stream of sk1.streams) {
      const arguments_ = [suiteOf(stream.suite), dek, bytes(stream.salt), streamContext(bodyId, stream.part)] as const
      const all = [
        await deriveStream(engine, ...arguments_),
        ...syncEngines.map(e => deriveStreamSync(e, ...arguments_)),
      ]
      for (const { key, baseNonce, commitment } of all) {
        t.strictSame([key, baseNonce, commitment].map(hex), [stream.key, stream.baseNonce, stream.commitment])
      }
    }
    for (const { session, uploadId } of sk1.sessions) {
      t.equal(Buffer.from(await uploadIdentity(engine, bytes(session))).toString('base64url'), uploadId)
    }
  }
})

t.test('derivations: what they refuse, and that purposes differ', async t => {
  const key = randomBytes(32)
  t.throws(() => streamContext(new Uint8Array(15), 0), RangeError)
  const context = streamContext(new Uint8Array(16), 1)
  t.throws(() => deriveStreamSync(nodeEngine, suiteOf(1), key, new Uint8Array(23), context), RangeError)
  await t.rejects(deriveStream(nodeEngine, suiteOf(1), key, new Uint8Array(25), context), RangeError)
  const made = await Promise.all([
    deriveKeyring(nodeEngine, key, 'a'),
    deriveKeyring(nodeEngine, key, 'b'),
    deriveKek(nodeEngine, key, 2, new Uint8Array(32), utf8('a')),
    deriveKek(nodeEngine, key, 3, new Uint8Array(32), utf8('a')),
  ])
  t.equal(new Set(made.map(hex)).size, made.length)
  t.equal(hex(await deriveKeyring(webCryptoEngine, key, 'a')), hex(await deriveKeyring(nobleEngine, key, 'a')))
})

t.test('derivations: a key wiped meanwhile does not count as zeros', async t => {
  for (const engine of engines) {
    const [key, same] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(1)]
    const derive = async (from: Uint8Array) => [
      deriveKek(engine, from, 2, same, same),
      expand(engine, from, [same], whole(128)),
    ]
    const underWay = await derive(key)
    key.fill(0)
    t.strictSame(await Promise.all(underWay), await Promise.all(await derive(same)), engine.name)
    const buffer = Buffer.alloc(32, 1)
    await Promise.all(await derive(buffer))
    t.ok(buffer.equals(same), "a caller's Buffer is left as it was")
  }
})

t.test('suites', async t => {
  t.strictSame([...suites.keys()], [1, 2, 3, 5])
  const reserved: number = 4
  const asked = [...suites.values()].map(({ id }) => suiteOf(id).segmentSize)
  t.strictSame(asked, [65_536, 16_384, 65_536, 262_144])
  // A program without types may ask for the reserved one.
  t.throws(() => Reflect.apply(suiteOf, undefined, [reserved]), RangeError)
})

t.test('engines agree on random input', async t => {
  const key = fc.uint8Array({ minLength: 32, maxLength: 32 })
  const nonce = fc.uint8Array({ minLength: 12, maxLength: 12 })
  const data = fc.uint8Array({ maxLength: 300 })
  await fc.assert(
    fc.asyncProperty(key, key, nonce, data, data, fc.nat(), async (k, other, n, plaintext, aad, cut) => {
      const wraps = new Set<string>()
      const macs = new Set<string>()
      for (const engine of engines) {
        const wrapped = await engine.wrap(k, other)
        wraps.add(hex(wrapped))
        t.equal(hex(await engine.unwrap(k, wrapped)), hex(other))
        macs.add(
          [
            await engine.hmacSha512(k, plaintext, aad),
            await engine.hmacSha256(k, plaintext, aad),
            await engine.sha256(plaintext, aad),
          ]
            .map(hex)
            .join(),
        )
      }
      t.strictSame([wraps.size, macs.size], [1, 1])
      for (const aead of aeads) {
        const seals = new Set<string>()
        for (const engine of engines.filter(engine => engine.supports(aead))) {
          const sealed = await engine.seal(aead, k, n, plaintext, aad)
          t.equal(hex(await engine.open(aead, k, n, sealed, aad)), hex(plaintext))
          const segments = await segmentsOf(engine, aead, k, cut % (plaintext.length + 1))
          const segment = await segments.seal(n, plaintext)
          t.equal(hex(await segments.open(n, segment)), hex(plaintext))
          seals.add(hex(sealed) + hex(segment))
          const bad = segment.slice()
          bad.set([(bad.at(cut % bad.length) ?? 0) ^ 1], cut % bad.length)
          await t.rejects(segments.open(n, bad), notAuthentic)
          await t.rejects(async () => engine.open(aead, k, n, sealed.subarray(0, 15), aad), notAuthentic)
        }
        t.equal(seals.size, 1)
      }
    }),
    { numRuns: 30 },
  )
})

t.test('segments: begun first, wiped at any time', async t => {
  const key = randomBytes(32)
  for (const engine of syncEngines) {
    for (const aead of aeads) {
      const sealer = engine.sealer(aead, key)
      t.throws(() => sealer.final(), TypeError)
      sealer.begin(new Uint8Array(12))
      sealer.update(utf8('x'))
      sealer.dispose()
      sealer.dispose()
      const opener = engine.opener(aead, key)
      t.throws(() => opener.final(new Uint8Array(16)))
      opener.begin(new Uint8Array(12))
      opener.update(utf8('x'))
      opener.dispose()
      opener.dispose()
    }
  }
  t.throws(() => nodeEngine.sealer('AEAD_AES_256_GCM', key).update(utf8('x')), TypeError)
  for (const aead of aeads) {
    const given = key.slice()
    const segments = nobleEngine.segments(aead, given)
    given.fill(0)
    const cipher = await segments
    const sealed = await cipher.seal(new Uint8Array(12), utf8('x'))
    t.strictSame(await nodeEngine.open(aead, key, new Uint8Array(12), sealed, new Uint8Array()), utf8('x'))
    t.strictSame(await cipher.open(new Uint8Array(12), sealed), utf8('x'))
    cipher.dispose()
    await t.rejects(cipher.open(new Uint8Array(12), sealed), notAuthentic, 'noble has no key any more')
  }
})

t.test('the self-test passes every engine, once', async t => {
  for (const engine of engines) {
    await selfTest(engine)
    t.equal(selfTest(engine), selfTest(engine), 'and is not run again')
  }
  t.equal(await pickEngine(engines), engines[0])
})

t.test('the self-test finds every broken primitive', async t => {
  const flip = (made: Uint8Array): Uint8Array => made.map((byte, i) => (i === 0 ? byte ^ 1 : byte))
  const sealer = (aead: Aead, key: Uint8Array) => ({
    ...nodeEngine.sealer(aead, key),
    final: () => [new Uint8Array(16)],
  })
  const opener = (aead: Aead, key: Uint8Array) => {
    // It releases plaintext without having looked at the tag.
    const inner = nodeEngine.sealer(aead, key)
    const held: Uint8Array[] = []
    const update = (piece: Uint8Array) => held.push(inner.update(piece) ?? piece)
    return { begin: inner.begin, update, final: () => held, dispose: inner.dispose }
  }
  const broken: Record<string, Partial<SyncEngine>> = {
    'SHA-256': { sha256: (...data) => flip(nodeEngine.sha256(...data)) },
    'HMAC-SHA-256': { hmacSha256: (key, ...data) => flip(nodeEngine.hmacSha256(key, ...data)) },
    'HMAC-SHA-512': { hmacSha512: (key, ...data) => flip(nodeEngine.hmacSha512(key, ...data)) },
    'AES key wrap': { unwrap: (_kek, wrapped) => nodeEngine.unwrap(new Uint8Array(32), wrapped) },
    'AEAD_AES_256_GCM gives': { seal: (...all) => flip(nodeEngine.seal(...all)) },
    'AEAD_CHACHA20_POLY1305 gives': {
      open: (aead, key, nonce, sealed, aad) =>
        aead === 'AEAD_AES_256_GCM' ? nodeEngine.open(aead, key, nonce, sealed, aad) : sealed.subarray(0, -16),
    },
    'AEAD_AES_256_GCM of segments': { sealer },
    'AEAD_CHACHA20_POLY1305 of segments': {
      opener: (aead, key) => (aead === 'AEAD_AES_256_GCM' ? nodeEngine.opener(aead, key) : opener(aead, key)),
    },
  }
  const engines: Engine[] = []
  for (const [what, change] of Object.entries(broken)) {
    const engine: SyncEngine = { ...nodeEngine, ...change, name: 'broken' }
    engines.push(engine)
    await t.rejects(selfTest(engine), { code: 'InternalError', message: `broken failed its self-test: ${what}` }, what)
  }
  // An asynchronous one that does not verify.
  const unverified: AsyncEngine = {
    ...webCryptoEngine,
    name: 'unverified',
    unwrap: async () => bytes('00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f'),
  }
  await t.rejects(selfTest(unverified), { message: 'unverified failed its self-test: AES key wrap' })
  const refusesOtherwise: SyncEngine = {
    ...nodeEngine,
    name: 'other',
    unwrap: (kek, wrapped) => {
      try {
        return nodeEngine.unwrap(kek, wrapped)
      } catch {
        throw new Error('no')
      }
    },
  }
  await t.rejects(selfTest(refusesOtherwise), { message: 'other failed its self-test: AES key wrap' })
  t.equal(await pickEngine([...engines, nobleEngine, nodeEngine]), nobleEngine)
  await t.rejects(pickEngine(engines), { code: 'InternalError', message: 'None of the engines' })
  await t.rejects(pickEngine([]), { code: 'InternalError' })
})

t.test('randomness: new memory, replaced for tests and put back', async t => {
  const before = randomBytes(32)
  t.not(hex(before), hex(randomBytes(32)))
  t.equal(before.buffer.byteLength, 32, 'unpooled')
  const restore = replaceRandomness(out => out.fill(7))
  t.equal(hex(randomBytes(3)), '070707')
  restore()
  const filled = randomFillSync(new Uint8Array(32))
  t.not(hex(randomBytes(32)), hex(filled))
  t.not(hex(randomBytes(32)), '07'.repeat(32))
})
