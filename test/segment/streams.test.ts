/**
 * Segments and their streams: sizes as inverse functions, bodies of any length in any chunks over every suite, engine and adapter, what is released
 * when, and that keys are wiped however a body ends.
 */
import assert from 'node:assert/strict'
import { type Duplex, Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import { chain } from 'stream-chain'
import t, { type Test } from 'tap'
import { equal, hex, isPromise } from '../../lib/bytes.ts'
import { deriveStreamSync } from '../../lib/cipher/derive.ts'
import type { AsyncEngine, Engine, SyncEngine } from '../../lib/cipher/engine.ts'
import { nobleEngine } from '../../lib/cipher/noble.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { headerSize, type Suite, suiteOf, suites, tagSize } from '../../lib/cipher/suite.ts'
import { webCryptoEngine } from '../../lib/cipher/web.ts'
import { SseError } from '../../lib/errors.ts'
import { DataKey } from '../../lib/kms/data-key.ts'
import { open, seal } from '../../lib/segment/select.ts'
import { type Driver, strict } from '../../lib/segment/driver.ts'
import { Framing } from '../../lib/segment/framing.ts'
import { lengthGuard } from '../../lib/segment/layout.ts'
import {
  maxPlaintext,
  maxSegments,
  plaintextLength,
  resolveRange,
  segmentRange,
  storedLength,
} from '../../lib/segment/layout.ts'
import { nonces } from '../../lib/segment/layout.ts'
import type { Span } from '../../lib/segment/reader.ts'
import { toPieces } from '../../lib/segment/node.ts'
import { toStage } from '../../lib/segment/chain.ts'
import { toTransform } from '../../lib/segment/node.ts'
import { toWeb } from '../../lib/segment/web.ts'
import { engines } from '../support/engines.ts'
import { drive, driven, inChunks, inRandomChunks, seeded } from '../support/drive.ts'
import { adapters } from '../support/adapters.ts'
import { type Seen, spyAsync, spySync } from '../support/spy.ts'

const all: readonly Suite[] = [...suites.values()]
const suite = suiteOf(2)
const S = suite.segmentSize
const salt = new Uint8Array(24).fill(3)
const context = new Uint8Array(21).fill(1)
const newDek = () => new Uint8Array(32).fill(9)
const zeros = (key: Uint8Array) => key.every(byte => byte === 0)

const random = seeded(1)
const pattern = new Uint8Array(1_000_000).map(() => random() * 256)
const plain = (length: number) => pattern.subarray(0, length)

const sealer = (engine: Engine, suite: Suite, length?: number): Driver =>
  seal(engine, { suite, keys: deriveStreamSync(nodeEngine, suite, newDek(), salt, context), salt, length })

const spanOf = (stored: number): Span => ({ salt, context, firstSegment: 0, stored, last: true })

const nowhere = () => new Writable({ write: (_chunk, _encoding, done) => done() })

const opener = (engine: Engine, suite: Suite, stored = Infinity, dek = newDek()): Driver =>
  open(engine, { suite, dek, spans: [spanOf(stored)] })

const sealed = (suite: Suite, length: number): Promise<Uint8Array> => driven(sealer(nodeEngine, suite), [plain(length)])

t.test('sizes are inverse functions', async t => {
  for (const suite of all) {
    const S = suite.segmentSize
    const most = maxPlaintext(suite)
    t.equal(most, S * 2 ** 32 - 1)
    const near = (n: number) => fc.integer({ min: Math.max(0, n - 3 * S), max: Math.min(most, n + 3 * S) })
    const length = fc.oneof(
      near(0),
      near(most),
      fc.maxSafeNat().map(n => n % (most + 1)),
      fc.nat(32).chain(i => near(2 ** i * S)),
    )
    fc.assert(
      fc.property(length, P => {
        const L = storedLength(suite, P)
        assert.equal(L, Number(BigInt(P) + 56n + 16n * (BigInt(P) / BigInt(S) + 1n)))
        assert.equal(plaintextLength(suite, L), P)
        if (P > 0) assert.ok(storedLength(suite, P - 1) < L)
      }),
      { numRuns: 2000 },
    )
    // A stored length that none of the plaintexts has is refused: neighbours in the image have nothing between them but those.
    fc.assert(
      fc.property(length, fc.nat(40), (P, more) => {
        const L = storedLength(suite, P) + more
        let found: number | undefined
        try {
          found = plaintextLength(suite, L)
        } catch (error) {
          assert.ok(error instanceof SseError && error.code === 'NotAuthentic')
        }
        if (found === undefined) return
        assert.equal(storedLength(suite, found), L)
      }),
    )
    t.equal(plaintextLength(suite, storedLength(suite, most)), most)
    for (const none of [
      storedLength(suite, most) + 1,
      storedLength(suite, most) + S,
      2 ** 53 - 1,
      2 ** 53,
      Infinity,
      NaN,
      72.5,
    ]) {
      t.throws(() => plaintextLength(suite, none), { code: 'NotAuthentic' }, `no stream has ${none} bytes`)
    }
    for (const wrong of [-1, 0.5, NaN, most + 1, 2 ** 53, Infinity])
      t.throws(() => storedLength(suite, wrong), RangeError)
  }
  const lengths = new Set(Array.from({ length: 3 * S + 100 }, (_, P) => storedLength(suite, P)))
  for (let L = 0; L < 3 * S; L++) {
    let possible = true
    try {
      plaintextLength(suite, L)
    } catch {
      possible = false
    }
    if (possible !== lengths.has(L)) t.fail(`stored length ${L}`)
  }
})

t.test('ranges', async t => {
  fc.assert(
    fc.property(fc.constantFrom(...all), fc.nat(2_000_000), fc.nat(), fc.nat(), (suite, last, a, b) => {
      const S = suite.segmentSize
      const length = last + 1
      const start = Math.min(a % length, b % length)
      const end = Math.max(a % length, b % length)
      const { firstSegment, storedStart, storedEnd, plaintextStart } = segmentRange(suite, length, { start, end })
      assert.equal(firstSegment, Math.floor(start / S))
      assert.equal(plaintextStart, firstSegment * S)
      assert.equal(storedStart, firstSegment === 0 ? 0 : headerSize + firstSegment * (S + tagSize))
      const past = headerSize + (Math.floor(end / S) + 1) * (S + tagSize)
      assert.equal(storedEnd, Math.min(past, storedLength(suite, length)))
    }),
  )
  t.strictSame(resolveRange({ start: 2, end: 5 }, 10), { start: 2, end: 5 })
  t.strictSame(resolveRange({ start: 2 }, 10), { start: 2, end: 9 })
  t.strictSame(resolveRange({ start: 9, end: 1e20 }, 10), { start: 9, end: 9 }, 'cut at the end')
  t.strictSame(resolveRange({ suffix: 3 }, 10), { start: 7, end: 9 })
  t.strictSame(resolveRange({ suffix: 1e20 }, 10), { start: 0, end: 9 }, 'the whole')
  t.strictSame(resolveRange({ start: 2 }, Infinity), { start: 2, end: Infinity })
  for (const none of [{ start: 10 }, { start: 1e20 }, { start: 5, end: 4 }, { suffix: 0 }])
    t.throws(() => resolveRange(none, 10), { code: 'RangeNotSatisfiable', status: 416 })
  for (const none of [{ start: 0 }, { suffix: 1 }])
    t.throws(() => resolveRange(none, 0), { code: 'RangeNotSatisfiable' })
  for (const wrong of [
    { start: -1 },
    { start: 0.5 },
    { start: NaN },
    { start: 0, end: -1 },
    { suffix: -1 },
    { suffix: 0.5 },
  ])
    t.throws(() => resolveRange(wrong, 10), RangeError)
})

t.test('nonces: the base with its last 8 bytes XOR the index', async t => {
  const base = Uint8Array.from({ length: 12 }, (_, i) => 0xf0 + i)
  const nonce = nonces(base)
  for (const index of [0, 1, 255, 256, 65_536, 2 ** 31, 2 ** 32 - 1]) {
    const expected = Buffer.from(base)
    expected.writeBigUInt64BE(expected.readBigUInt64BE(4) ^ BigInt(index), 4)
    t.equal(hex(nonce(index)), expected.toString('hex'))
  }
})

t.test('framing: the counter has 32 bits', async t => {
  const sink = { begin: () => undefined, piece: () => undefined, end: () => undefined }
  for (const [opening, code] of [
    [false, 'StreamTooLong'],
    [true, 'NotAuthentic'],
  ] as const) {
    const framing = new Framing(16, opening, sink, maxSegments - 1)
    framing.push(new Uint8Array(opening ? 32 : 16))
    t.throws(() => framing.push(Uint8Array.of(0)), { code })
  }
  for (const size of [1, 15]) {
    const framing = new Framing(16, true, sink)
    framing.push(new Uint8Array(size))
    t.throws(() => framing.finish(true), { code: 'NotAuthentic' }, `${size} bytes have no tag`)
    t.throws(() => framing.finish(false), { code: 'NotAuthentic' })
  }
  const guard = lengthGuard(suite, undefined)
  guard.add(maxPlaintext(suite))
  guard.end()
  t.throws(() => guard.add(1), { code: 'StreamTooLong' })
})

t.test('framing: pieces are the bytes, in order, whatever the chunks; the tag is held back', async () => {
  for (const opening of [false, true]) {
    const size = S + (opening ? tagSize : 0)
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: opening ? 16 : 0, max: 2.5 * S }), (seed, length) => {
        if (opening && length % size < 16) return
        const segments: { pieces: number[]; tag: number }[] = []
        let at = 0
        const framing = new Framing(S, opening, {
          begin: index => {
            assert.equal(index, segments.length)
            segments.push({ pieces: [], tag: 0 })
          },
          piece: bytes => {
            assert.ok(bytes.length > 0 && equal(bytes, pattern.subarray(at, at + bytes.length)))
            at += bytes.length
            segments.at(-1)?.pieces.push(bytes.length)
          },
          end: (index, tag) => {
            assert.equal(index, segments.length - 1)
            assert.ok(tag.length === (opening ? 16 : 0) && equal(tag, pattern.subarray(at, at + tag.length)))
            at += tag.length
          },
        })
        for (const chunk of inRandomChunks(plain(length), seeded(seed))) framing.push(chunk)
        framing.finish(true)
        assert.equal(at, length)
        assert.equal(segments.length, Math.floor(length / size) + 1)
      }),
    )
  }
})

const lengthsOf = ({ segmentSize: S }: Suite) =>
  S > 1e5 ? [1, S] : S > 5e4 ? [0, S - 1, S, S + 1] : [0, 1, S - 1, S, S + 1, 2 * S, 3 * S + 17]

for (const engine of engines) {
  t.test(`roundtrips with ${engine.name}`, async t => {
    for (const suite of all) {
      for (const length of lengthsOf(suite)) {
        const reference = await sealed(suite, length)
        t.equal(reference.length, storedLength(suite, length))
        for (const [name, run] of adapters) {
          const label = `suite ${suite.id}, ${length} bytes, ${name}`
          const chunks = (bytes: Uint8Array) => inRandomChunks(bytes, seeded(length))
          const made = await run(sealer(engine, suite, length), chunks(plain(length)))
          t.ok(made.error === undefined && equal(made.released, reference), `${label}, sealed`)
          const stored = length % 2 === 0 ? Infinity : reference.length
          const opened = await run(opener(engine, suite, stored), chunks(reference))
          t.ok(opened.error === undefined && equal(opened.released, plain(length)), `${label}, opened`)
        }
      }
    }
  })

  t.test(`any length in any chunks with ${engine.name}`, async t => {
    const lengths = fc.oneof(fc.nat(3 * S), fc.constantFrom(0, S - 1, S, S + 1, 2 * S))
    const adapter = fc.constantFrom(...adapters)
    await fc.assert(
      fc.asyncProperty(lengths, fc.integer(), adapter, adapter, async (length, seed, [, sealing], [, opening]) => {
        const random = seeded(seed)
        const made = await sealing(sealer(engine, suite), inRandomChunks(plain(length), random))
        assert.equal(made.error, undefined)
        const opened = await opening(opener(engine, suite), inRandomChunks(made.released, random))
        assert.equal(opened.error, undefined)
        assert.ok(equal(opened.released, plain(length)))
      }),
      { numRuns: 60 },
    )
    const length = 2 * S + 3
    const stored = await driven(sealer(engine, suite), inChunks(plain(length), 1))
    t.ok(equal(stored, await sealed(suite, length)), 'sealed byte by byte')
    t.ok(equal(await driven(opener(engine, suite), inChunks(stored, 1)), plain(length)), 'opened byte by byte')
    const large = await driven(sealer(engine, suite), [pattern])
    t.ok(equal(await driven(opener(engine, suite), [large]), pattern), 'in one chunk of many segments')
    t.ok(equal(await driven(opener(engine, suite), [large.subarray(0, 0), large]), pattern), 'after an empty chunk')
  })

  t.test(`a declared length with ${engine.name}`, async t => {
    const length = S + 5
    for (const [name, run] of adapters) {
      for (const declared of [0, 4, S, length - 1, length + 1, 3 * S]) {
        const { error, released } = await run(sealer(engine, suite, declared), inChunks(plain(length), 1000))
        t.match(error, { code: 'LengthMismatch', status: 400 }, `${name}: ${declared} declared, ${length} sent`)
        t.ok(released.length < storedLength(suite, declared), `${name}: it never looks complete`)
      }
    }
  })

  t.test(`nothing unverified leaves with ${engine.name}`, async t => {
    const length = 4 * S + 100
    const stored = await sealed(suite, length)
    for (const [name, run] of adapters) {
      for (let k = 0; k < 5; k++) {
        const at = headerSize + k * (S + tagSize) + (k === 4 ? 7 : S + 3)
        const flipped = stored.map((byte, i) => (i === at ? byte ^ 0x10 : byte))
        for (const chunks of [[flipped], inRandomChunks(flipped, seeded(k))]) {
          const { released, error } = await run(opener(engine, suite), chunks)
          t.match(error, { code: 'NotAuthentic' }, `${name}: a bit of segment ${k}`)
          t.ok(
            released.length <= k * S && equal(released, plain(released.length)),
            `${name}: before it at most ${k} segments`,
          )
        }
      }
      for (const length of [0, 10, 56, 57, 71, stored.length - 1, headerSize + S + tagSize]) {
        for (const known of [Infinity, stored.length]) {
          const { error } = await run(opener(engine, suite, known), [stored.subarray(0, length)])
          t.match(error, { code: 'NotAuthentic' }, `${name}: cut to ${length} of ${known}`)
        }
      }
      const { error } = await run(opener(engine, suite, stored.length), [stored, Uint8Array.of(0)])
      t.match(error, { code: 'NotAuthentic' }, `${name}: a byte more`)
    }
  })

  t.test(`the header is compared first with ${engine.name}`, async t => {
    const stored = await sealed(suite, 3 * S)
    const changed = (at: number) => stored.map((byte, i) => (i === at ? byte ^ 1 : byte))
    for (const at of [0, 23, 24, 55]) {
      const { released, error } = await drive(opener(engine, suite), [changed(at)])
      t.match(error, { code: 'NotAuthentic' })
      t.equal(released.length, 0, `byte ${at} of the header`)
    }
    const from = headerSize + S + tagSize
    const run = { salt, context, firstSegment: 1, stored: S + tagSize, last: false }
    const of = async (span: Span) =>
      drive(open(engine, { suite, dek: newDek(), spans: [span] }), [stored.subarray(from, from + S + tagSize)])
    t.ok(equal((await of(run)).released, pattern.subarray(S, 2 * S)), 'with an authentic salt it may be left unread')
    t.ok(equal((await of({ ...run, header: stored.slice(0, headerSize) })).released, pattern.subarray(S, 2 * S)))
    t.ok(
      equal(
        (await of({ ...run, salt: undefined, header: stored.slice(0, headerSize) })).released,
        pattern.subarray(S, 2 * S),
      ),
    )
    for (const at of [0, 30]) {
      const { released, error } = await of({ ...run, header: changed(at).slice(0, headerSize) })
      t.match(error, { code: 'NotAuthentic' }, 'read apart, it is compared too')
      t.equal(released.length, 0)
    }
    t.match((await of({ ...run, salt: undefined })).error, { message: /needs its salt/ })
    t.match((await of({ ...run, firstSegment: 2 })).error, { code: 'NotAuthentic' }, 'another index')
    t.match((await of({ ...run, last: true })).error, { code: 'NotAuthentic' }, 'a full segment is not the last')
    for (const stored of [10, 56, 60]) {
      t.match(
        (await of({ ...spanOf(stored), firstSegment: 0 })).error,
        { code: 'NotAuthentic' },
        `a stream of ${stored} bytes`,
      )
    }
    t.match((await drive(open(engine, { suite, dek: newDek(), spans: [] }), [Uint8Array.of(1)])).error, {
      code: 'NotAuthentic',
    })
  })
}

t.test('a segment’s plaintext leaves after its tag was checked', async t => {
  const stored = await sealed(suite, 3 * S + 1)
  const sync = spySync(nodeEngine)
  const async_ = spyAsync(webCryptoEngine)
  for (const { engine, seen } of [sync, async_]) {
    const driver = opener(engine, suite)
    const emit = (bytes: Uint8Array) => {
      seen.events.push(`left ${bytes.length}`)
    }
    for (const chunk of inChunks(stored, 5000)) await driver.write(chunk, emit)
    await driver.end(emit)
    driver.dispose()
    let opened = 0
    let left = 0
    for (const event of seen.events) {
      if (event === 'opened') opened += S
      if (event.startsWith('left ')) left += Number(event.slice(5))
      if (left > opened) t.fail('bytes left before their tag was checked')
    }
    t.equal(opened, 4 * S)
    t.equal(left, 3 * S + 1)
  }
})

// How a body may end, over each adapter.

const failing = new Error('the source broke')
function* broken(bytes: Uint8Array): Iterable<Uint8Array> {
  yield bytes.subarray(0, 3000)
  throw failing
}

const wiped = async (t: Test, seen: Seen, deks: readonly Uint8Array[], name: string): Promise<void> => {
  const count = (wanted: string): number => seen.events.filter(event => event === wanted).length
  // An asynchronous engine lets go when its segments under way are done.
  for (let turn = 0; turn < 2000 && count('dispose') < count('open'); turn++)
    await new Promise(resolve => setTimeout(resolve, 2))
  t.ok(seen.keys.every(zeros), `${name}: keys of streams`)
  t.ok(deks.every(zeros), `${name}: data keys`)
  t.ok(count('dispose') >= count('open'), `${name}: engines let go`)
}

const watched: readonly (() => { readonly engine: SyncEngine | AsyncEngine; readonly seen: Seen })[] = [
  () => spySync(nodeEngine),
  () => spyAsync(webCryptoEngine),
  () => spyAsync(nobleEngine),
]

t.test('keys are wiped on success and on errors', async t => {
  const stored = await sealed(suite, 2 * S)
  for (const watch of watched) {
    for (const [adapter, run] of adapters) {
      const ends: readonly (readonly [
        string,
        number | undefined,
        Iterable<Uint8Array>,
        Iterable<Uint8Array>,
        boolean,
      ])[] = [
        ['success', undefined, [plain(2 * S)], [stored], true],
        ['an error at the end', 3 * S, [plain(2 * S)], [stored.subarray(0, -1)], false],
        [
          'an error in the middle',
          S,
          inChunks(plain(2 * S), 999),
          inChunks(
            stored.map(byte => byte ^ 1),
            999,
          ),
          false,
        ],
        ['an error before', undefined, broken(plain(S)), broken(stored), false],
      ]
      for (const [end, declared, plaintext, ciphertext, well] of ends) {
        const { engine, seen } = watch()
        const name = `${adapter}, ${engine.name}, ${end}`
        const made = await run(sealer(engine, suite, declared), plaintext)
        t.equal(made.error === undefined, well, `${name}: sealed`)
        const dek = newDek()
        const opened = await run(opener(engine, suite, Infinity, dek), ciphertext)
        t.equal(opened.error === undefined, well, `${name}: opened`)
        t.ok(seen.keys.length >= 1)
        await wiped(t, seen, [dek], name)
      }
    }
  }
})

t.test('several streams: each has keys of its own, which go before the next', async t => {
  const stored = await sealed(suite, S)
  for (const watch of watched) {
    const { engine, seen } = watch()
    const dek = newDek()
    const spans = [spanOf(stored.length), spanOf(stored.length), spanOf(stored.length)]
    const driver = open(engine, { suite, dek, spans })
    const opened = await driven(driver, inChunks(Buffer.concat([stored, stored, stored]), 1001))
    t.ok(equal(opened, Buffer.concat([plain(S), plain(S), plain(S)])))
    t.equal(seen.keys.length, 3)
    await wiped(t, seen, [dek], engine.name)
  }
})

t.test('keys are wiped on aborts', async t => {
  const stored = await sealed(suite, 2 * S)
  for (const watch of watched) {
    const aborts: Readonly<Record<string, (driver: Driver, bytes: Uint8Array) => Promise<void>>> = {
      'Transform, destroyed': async (driver, bytes) => {
        const transform = toTransform(driver)
        transform.write(bytes.subarray(0, 1000))
        const closed = new Promise(resolve => transform.once('close', resolve))
        transform.destroy()
        await closed
      },
      'Transform, its reader gone': async (driver, bytes) => {
        const reader = async function (source: AsyncIterable<Uint8Array>) {
          for await (const chunk of source) if (chunk.length > 0) throw failing
        }
        await assert.rejects(pipeline(Readable.from([bytes]), toTransform(driver), reader))
      },
      'generator, its loop left': async (driver, bytes) => {
        for await (const _ of toPieces(driver, [bytes])) break
      },
      'generator, its source fails': async (driver, bytes) => {
        const source = async function* () {
          yield bytes.subarray(0, 1000)
          throw failing
        }
        await assert.rejects(
          pipeline(source, source => toPieces(driver, source), nowhere()),
          failing,
        )
      },
      'stage, a function after it throws': async (driver, bytes) => {
        const fused: Duplex = chain([
          toStage(driver),
          () => {
            throw failing
          },
        ])
        await assert.rejects(pipeline(Readable.from([bytes]), fused), failing)
      },
      'stage, aborted': async (driver, bytes) => {
        const abort = new AbortController()
        const source = async function* () {
          yield bytes.subarray(0, 100)
          abort.abort()
          await new Promise(resolve => setTimeout(resolve, 5))
          yield bytes
        }
        const sink = async (source: AsyncIterable<unknown>) => {
          for await (const _ of source) continue
        }
        const fused: Duplex = chain([toStage(driver), (chunk: Uint8Array) => chunk])
        await assert.rejects(pipeline(source, fused, sink, { signal: abort.signal }), { name: 'AbortError' })
      },
      'TransformStream, its writer aborts': async (driver, bytes) => {
        const { writable, readable } = toWeb(driver)
        const reading = assert.rejects(new Response(readable).arrayBuffer())
        const writer = writable.getWriter()
        await writer.write(bytes.subarray(0, 1000))
        await writer.abort(failing)
        await reading
      },
      'TransformStream, its reader cancels': async (driver, bytes) => {
        const { writable, readable } = toWeb(driver)
        const writer = writable.getWriter()
        const writing = writer.write(bytes).catch(() => undefined)
        const reader = readable.getReader()
        const reading = reader.read()
        await reader.cancel()
        await Promise.all([reading, writing])
      },
    }
    for (const [name, abort] of Object.entries(aborts)) {
      const { engine, seen } = watch()
      const label = `${name}, ${engine.name}`
      await abort(sealer(engine, suite), plain(2 * S))
      const dek = newDek()
      await abort(opener(engine, suite, Infinity, dek), stored)
      t.ok(seen.keys.length >= 1, label)
      await wiped(t, seen, [dek], label)
    }
  }
})

t.test('a driver that ended, failed or was disposed takes and gives nothing more', async t => {
  const out: Uint8Array[] = []
  const emit = (bytes: Uint8Array) => {
    out.push(bytes)
  }
  for (const engine of engines) {
    const ended = sealer(engine, suite)
    await ended.write(plain(10), emit)
    await ended.end(emit)
    const before = out.length
    await t.rejects(async () => ended.write(plain(10), emit), { name: 'TypeError', message: /has ended/ })
    await t.rejects(async () => ended.end(emit), { name: 'TypeError', message: /has ended/ })
    ended.dispose()
    const disposed = sealer(engine, suite)
    disposed.dispose()
    disposed.dispose()
    await t.rejects(async () => disposed.write(plain(10), emit), { name: 'TypeError', message: /disposed/ })
    await t.rejects(async () => disposed.end(emit), { name: 'TypeError', message: /disposed/ })
    t.equal(out.length, before)
  }
  // A call that is under way when the body is disposed does not succeed either.
  const driver = sealer(webCryptoEngine, suite)
  const pending = driver.write(plain(20 * S), emit)
  t.ok(isPromise(pending))
  driver.dispose()
  await t.rejects(Promise.resolve(pending), { name: 'TypeError', message: /disposed/ })
  let calls = 0
  const odd = strict({
    write: () => Promise.reject(new Error(`call ${++calls}`)),
    end: () => undefined,
    dispose: () => undefined,
  })
  for (let i = 0; i < 2; i++) await t.rejects(async () => odd.write(plain(1), emit), { message: 'call 1' })
})

t.test('adapters pass on whatever a driver throws, or rejects with', async t => {
  const idle = { write: () => undefined, end: () => undefined, dispose: () => undefined }
  const thrown = () => {
    throw 'a string' // eslint-disable-line no-throw-literal
  }
  const rejected = () => Promise.reject('a string') // eslint-disable-line prefer-promise-reject-errors
  const throwers: readonly Driver[] = [
    { ...idle, write: thrown },
    { ...idle, end: thrown },
    { ...idle, write: rejected },
    { ...idle, end: rejected },
  ]
  for (const [name, run] of adapters.slice(1)) {
    for (const driver of throwers) {
      const { error } = await run(driver, [plain(1)])
      t.match(String(error), /a string/, name)
    }
  }
  for (const [name, run] of adapters.filter(([name]) => name === 'Transform' || name === 'generator')) {
    const { error } = await run({ ...idle, end: () => Promise.reject() }, [plain(1)]) // eslint-disable-line prefer-promise-reject-errors
    t.type(error, Error, `${name}: nothing is no success`)
  }
})

t.test('stages: two bodies in one chain, and a chain that is its own end', async t => {
  const length = 3 * S + 1
  const sealing = toStage(sealer(nodeEngine, suite, length))
  const opening = toStage(opener(webCryptoEngine, suite))
  const sizes: number[] = []
  const fused: Duplex = chain([
    (chunk: Uint8Array) => chunk,
    sealing,
    opening,
    (bytes: Uint8Array) => {
      sizes.push(bytes.length)
      return bytes
    },
  ])
  const out: Uint8Array[] = []
  await pipeline(Readable.from(inChunks(plain(length), 777)), fused, async (source: AsyncIterable<Uint8Array>) => {
    for await (const chunk of source) out.push(chunk)
  })
  t.ok(equal(Buffer.concat(out), plain(length)), 'sealed and opened in one go')
  t.equal(
    sizes.reduce((a, b) => a + b, 0),
    length,
  )
})

t.test('streams share the event loop, whatever their sources do', async t => {
  let turns = 0
  let flowing = true
  const turn = () => {
    turns++
    if (flowing) setImmediate(turn)
  }
  setImmediate(turn)
  const chunk = new Uint8Array(65_536)
  const never = Readable.from(Array.from({ length: 1024 }, () => chunk)) // never waits for anything
  await pipeline(never, toTransform(sealer(nodeEngine, suiteOf(1))), nowhere())
  flowing = false
  t.ok(turns > 4, `others had ${turns} turns while 64 MiB flowed`)

  const errors: unknown[] = []
  const emitted: Uint8Array[] = []
  const streams = Array.from({ length: 500 }, () => {
    const stream = toTransform(sealer(nodeEngine, suiteOf(1)))
    stream.on('error', error => errors.push(error)).on('data', (bytes: Uint8Array) => emitted.push(bytes))
    stream.write(chunk) // more than one turn takes, so that some wait
    return stream
  })
  for (const stream of streams) stream.destroy()
  for (let i = 0; i < 100; i++) await new Promise(resolve => void setImmediate(resolve))
  t.same(errors, [], 'those that are destroyed while they wait say nothing')
  t.ok(emitted.length < streams.length, 'and seal nothing')
})

t.test('a data key is never shown', async t => {
  const key = new DataKey(new Uint8Array(32).fill(0x41))
  const shown = [
    inspect(key),
    inspect({ key }, { depth: 9, showHidden: true }),
    JSON.stringify({ key }),
    String(key),
    `${key}`,
  ]
  for (const text of shown) t.notMatch(text, /A{4}|41, *41|65, *65|QUFB/, text)
  t.match(shown[0], /data key/)
  t.throws(() => new DataKey(new Uint8Array(16)), RangeError)
  const { bytes } = key
  key.dispose()
  key.dispose()
  t.ok(zeros(bytes))
  t.throws(() => key.bytes, TypeError)
})
