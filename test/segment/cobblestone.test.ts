/**
 * Suite 2 on its own is Cobblestone-256: Wycheproof's vectors for it, each one whole, streamed in random chunks, one byte at a time and by
 * range, over every engine.
 */
import { createHash } from 'node:crypto'
import { inflateSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { deriveStream } from '../../lib/cipher/derive.ts'
import type { Engine } from '../../lib/cipher/engine.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { headerSize, saltSize, suiteOf, tagSize } from '../../lib/cipher/suite.ts'
import { equal } from '../../lib/bytes.ts'
import { SseError } from '../../lib/errors.ts'
import type { Driver } from '../../lib/segment/driver.ts'
import { open, seal } from '../../lib/segment/select.ts'
import { type ByteRange, plaintextLength, segmentRange, storedLength } from '../../lib/segment/layout.ts'
import { engines } from '../support/engines.ts'
import { drive, driven, inChunks, inRandomChunks, type Outcome, seeded } from '../support/drive.ts'
import { bytes, vectors } from '../support/vectors.ts'

interface Vector {
  readonly tcId: number
  readonly comment: string
  readonly key: string
  readonly ctx: string
  readonly ct: string
  readonly aeadKey?: string
  readonly baseNonce?: string
  readonly msgLength?: number
  readonly msgSha512?: string
  readonly result: 'valid' | 'invalid'
  readonly flags: readonly string[]
}

const suite = suiteOf(2)
const full = suite.segmentSize + tagSize
const file = vectors<{ readonly testGroups: readonly { readonly tests: readonly Vector[] }[] }>(
  'wycheproof/c2sp_chunked_encryption_aes_256_gcm_test.json',
)
const cases = file.testGroups.flatMap(({ tests }) => tests)
const sha512 = (data: Uint8Array) => createHash('sha512').update(data).digest('hex')

const whole = (engine: Engine, { key, ctx }: Vector): Driver =>
  open(engine, {
    suite,
    dek: bytes(key),
    spans: [{ salt: undefined, context: bytes(ctx), firstSegment: 0, stored: Infinity, last: true }],
  })

/** Around every border of two segments byte by byte, between them a chunk. */
function* atBorders(stored: Uint8Array): Iterable<Uint8Array> {
  yield* inChunks(stored.subarray(0, headerSize + 20), 1)
  for (let at = headerSize; at < stored.length; at += full) {
    yield stored.subarray(at + 20, at + full - 20)
    yield* inChunks(stored.subarray(Math.max(at + 20, at + full - 20), at + full + 20), 1)
  }
}

/** Opens a range of a stored stream: the header is read apart, and its C compared first. */
const byRange = async (engine: Engine, vector: Vector, stored: Uint8Array, range: ByteRange): Promise<Outcome> => {
  try {
    const length = plaintextLength(suite, stored.length)
    const { firstSegment, storedStart, storedEnd, plaintextStart } = segmentRange(suite, length, range)
    const header = stored.subarray(0, headerSize)
    const driver = open(engine, {
      suite,
      dek: bytes(vector.key),
      spans: [
        {
          salt: header.slice(0, saltSize),
          context: bytes(vector.ctx),
          firstSegment,
          stored: storedEnd - storedStart,
          last: storedEnd === stored.length,
          header,
        },
      ],
      skip: range.start - plaintextStart,
      take: range.end - range.start + 1,
    })
    return await drive(driver, [stored.subarray(storedStart, storedEnd)])
  } catch (error) {
    return { released: new Uint8Array(0), error }
  }
}

t.test('there are 35 vectors, 10 of them valid', async t => {
  t.equal(cases.length, 35)
  t.equal(cases.filter(({ result }) => result === 'valid').length, 10)
})

for (const engine of engines) {
  t.test(engine.name, async t => {
    for (const vector of cases) {
      const { tcId, comment, flags, result, msgLength = 0 } = vector
      const stored = new Uint8Array(inflateSync(bytes(vector.ct)))
      const valid = result === 'valid'
      const prefix = valid || flags.includes('PartialPlaintext') ? msgLength : 0
      const runs: readonly (readonly [string, Iterable<Uint8Array>])[] = [
        ['whole', [stored]],
        ['streamed', inRandomChunks(stored, seeded(tcId))],
        ['byte by byte', engine === nodeEngine || stored.length < 1e6 ? inChunks(stored, 1) : atBorders(stored)],
      ]
      let plaintext = new Uint8Array(0)
      for (const [how, chunks] of runs) {
        const name = `${tcId} ${comment}, ${how}`
        const { released, error } = await drive(whole(engine, vector), chunks)
        plaintext = new Uint8Array(released)
        if (valid) t.equal(error, undefined, name)
        else refused(t, error, flags, name)
        t.equal(released.length, prefix, `${name}: what is valid is released, and no byte beyond`)
        if (prefix > 0 || valid) t.equal(sha512(released), vector.msgSha512, `${name}: the plaintext`)
      }
      if (valid) await readsRanges(t, engine, vector, stored, plaintext)
      else await refusesRanges(t, engine, vector, stored, plaintext)
    }
  })
}

const refused = (t: Test, error: unknown, flags: readonly string[], name: string): void => {
  if (flags.includes('InvalidKeySize')) t.type(error, RangeError, `${name}: a key of another size is a wrong argument`)
  else t.equal(error instanceof SseError && error.code, 'NotAuthentic', name)
}

const readsRanges = async (
  t: Test,
  engine: Engine,
  vector: Vector,
  stored: Uint8Array,
  plaintext: Uint8Array,
): Promise<void> => {
  const { tcId, msgLength = 0 } = vector
  t.equal(plaintextLength(suite, stored.length), msgLength, `${tcId}: the plaintext's length`)
  t.equal(storedLength(suite, msgLength), stored.length, `${tcId}: the stored length`)
  const random = seeded(tcId)
  const at = (limit: number) => Math.floor(random() * limit)
  const edge = Math.floor((msgLength - 1) / suite.segmentSize) * suite.segmentSize
  const ranges = [
    { start: 0, end: 0 },
    { start: msgLength - 1, end: msgLength - 1 },
    { start: edge, end: edge },
    { start: Math.max(0, edge - 1), end: edge },
    ...Array.from({ length: 5 }, () => {
      const start = at(msgLength)
      return { start, end: start + at(Math.min(msgLength - start, 100_000)) }
    }),
  ]
  for (const range of msgLength === 0 ? [] : ranges) {
    const { released, error } = await byRange(engine, vector, stored, range)
    const expected = plaintext.subarray(range.start, range.end + 1)
    t.ok(error === undefined && equal(released, expected), `${tcId}, by range ${range.start}-${range.end}`)
  }
}

/** Of an invalid stream a range opens where its segments are valid ones; nothing else is ever released. */
const refusesRanges = async (
  t: Test,
  engine: Engine,
  vector: Vector,
  stored: Uint8Array,
  prefix: Uint8Array,
): Promise<void> => {
  const { tcId, comment, flags } = vector
  const name = `${tcId} ${comment}, by range`
  const segments = Math.ceil((stored.length - headerSize) / full)
  const opened: number[] = []
  for (let i = 0; i < segments; i++) {
    const start = i * suite.segmentSize
    const { released, error } = await byRange(engine, vector, stored, { start, end: start + suite.segmentSize - 1 })
    if (error === undefined) opened.push(i)
    else refused(t, error, flags, name)
    if (error !== undefined) t.equal(released.length, 0, `${name}: nothing of segment ${i}`)
    else if (start < prefix.length) {
      t.ok(equal(released, prefix.subarray(start, start + suite.segmentSize)), `${name}: segment ${i} is the prefix's`)
    }
  }
  const expected = [
    ...Array.from({ length: Math.floor(prefix.length / suite.segmentSize) }, (_, i) => i),
    ...(flags.includes('ValidFinalChunk') ? [segments - 1] : []),
  ]
  // A length that no stream has is refused before any segment is.
  const possible = lengthIsPossible(stored.length)
  t.strictSame(opened, possible ? expected : [], `${name}: the segments that open`)
}

const lengthIsPossible = (stored: number): boolean => {
  try {
    plaintextLength(suite, stored)
    return true
  } catch {
    return false
  }
}

t.test('sealing with a vector’s salt gives its bytes', async t => {
  for (const engine of engines) {
    for (const vector of cases.filter(({ result }) => result === 'valid')) {
      const stored = new Uint8Array(inflateSync(bytes(vector.ct)))
      const plaintext = await driven(whole(nodeEngine, vector), [stored])
      const salt = stored.slice(0, saltSize)
      const keys = await deriveStream(engine, suite, bytes(vector.key), salt, bytes(vector.ctx))
      t.equal(Buffer.from(keys.key).toString('hex'), vector.aeadKey)
      t.equal(Buffer.from(keys.baseNonce).toString('hex'), vector.baseNonce)
      const driver = seal(engine, { suite, keys, salt, length: vector.msgLength })
      const sealed = await driven(driver, inRandomChunks(plaintext, seeded(vector.tcId)))
      t.ok(equal(sealed, stored), `${vector.tcId} ${vector.comment}, ${engine.name}`)
    }
  }
})
