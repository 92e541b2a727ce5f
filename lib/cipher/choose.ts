/**
 * The choice of an engine: the first one that gives known answers. A runtime with a broken or crippled primitive is found before it
 * touches data.
 */
import { concat, equal, hex, type MaybePromise, utf8 } from '../bytes.ts'
import { SseError } from '../errors.ts'
import type { Engine, SegmentCipher, SyncEngine } from './engine.ts'
import { type Aead, nonceSize, tagSize } from './suite.ts'

/** Bytes 0, 1, 2, … */
const counting = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i)

const key = counting(32)
const nonce = counting(nonceSize)
const plaintext = counting(40)
/** What an engine may treat in another way, because it is more than a few bytes. */
const long = counting(300)
const aad = utf8('aad')
const text = utf8('abc')

// FIPS 180-4's "abc"; its HMACs under `key`, computed with OpenSSL.
const sha256 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
const hmacSha256 = 'f0133729c4163dede81e21cd47839256da58171238c8a0d874397c73b14e1e47'
const hmacSha512 =
  '69d4a21e226bf0d348cb9a847c01cf24e93e8ac30d7c951704b936f82f795a624b470e23abd33ac8700e797f0f2a499b932bac7d283bbbb37d8fecf70d5e08a7'

// RFC 3394, section 4.6: 00 11 22 to ff, then 00 to 0f, under `key`.
const wrappable = concat(
  counting(16).map(n => n * 17),
  counting(16),
)
const wrapped = '28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21'

interface AeadAnswer {
  readonly aead: Aead
  readonly ciphertext: string
  /** With `aad`. */
  readonly tag: string
  /** Without: segments have none. */
  readonly segmentTag: string
  /** Of `long`. */
  readonly longTag: string
}

// `plaintext` under `key` and `nonce`, computed with OpenSSL.
const answers: readonly AeadAnswer[] = [
  {
    aead: 'AEAD_AES_256_GCM',
    ciphertext: '4703d418c1e0c41c85489d80bde4766293c79527e46e496b207eff9e01741ead21318cdf8be434bf',
    tag: 'd72db5db932b952533f97c1def1140a2',
    segmentTag: 'a5a15cb7d628273c9c7e945deb95eb41',
    longTag: '46b0a12f1c023e59360188cee3353342',
  },
  {
    aead: 'AEAD_CHACHA20_POLY1305',
    ciphertext: '89fa0a032d12a347bf8a35f89410006cd961a0f44561bbaefe8e35de69ddb823cca10ed0c23b97bf',
    tag: 'a82f270c5135d194cc7677c59a021ea3',
    segmentTag: '0b7847b4b59279b56e8cd91787755bae',
    longTag: '54dbe75f452feff0a902adff018db7b9',
  },
]

const isHex = (made: Uint8Array, expected: string): boolean => hex(made) === expected

type Open = (sealed: Uint8Array) => MaybePromise<Uint8Array>

/** Whether sealed bytes open to `expected`, and are refused as they must be with one bit changed. */
const opens = async (open: Open, sealed: Uint8Array, expected: Uint8Array): Promise<boolean> =>
  equal(await open(sealed), expected) && refused(open, sealed)

const refused = async (open: Open, sealed: Uint8Array): Promise<boolean> => {
  try {
    await open(sealed.map((byte, i) => (i === sealed.length - 1 ? byte ^ 1 : byte)))
    return false
  } catch (error) {
    return error instanceof SseError && error.code === 'NotAuthentic'
  }
}

const holdsWrap = async (engine: Engine): Promise<boolean> => {
  const made = await engine.wrap(key, wrappable)
  return isHex(made, wrapped) && opens(sealed => engine.unwrap(key, sealed), made, wrappable)
}

const holdsMessage = async (engine: Engine, { aead, ciphertext, tag }: AeadAnswer): Promise<boolean> => {
  const made = await engine.seal(aead, key, nonce, plaintext, aad)
  return isHex(made, ciphertext + tag) && opens(sealed => engine.open(aead, key, nonce, sealed, aad), made, plaintext)
}

const holdsSegment = async (
  engine: Engine,
  { aead, ciphertext, segmentTag, longTag }: AeadAnswer,
): Promise<boolean> => {
  const cipher = engine.synchronous ? inPieces(engine, aead) : await engine.segments(aead, key)
  const open: Open = sealed => cipher.open(nonce, sealed)
  const made = await cipher.seal(nonce, plaintext)
  if (!isHex(made, ciphertext + segmentTag) || !(await opens(open, made, plaintext))) return false
  const whole = await cipher.seal(nonce, long)
  return isHex(whole.subarray(-tagSize), longTag) && opens(open, whole, long)
}

/** A synchronous engine's segments, each in two pieces. */
const inPieces = (engine: SyncEngine, aead: Aead): Omit<SegmentCipher, 'dispose'> => ({
  seal: async (nonce, plaintext) => {
    const sealer = engine.sealer(aead, key)
    sealer.begin(nonce)
    const pieces = [plaintext.subarray(0, 17), plaintext.subarray(17)].map(
      piece => sealer.update(piece) ?? new Uint8Array(0),
    )
    const sealed = concat(...pieces, ...sealer.final())
    sealer.dispose()
    return sealed
  },
  open: async (nonce, sealed) => {
    const opener = engine.opener(aead, key)
    opener.begin(nonce)
    opener.update(sealed.subarray(0, 17))
    opener.update(sealed.subarray(17, -tagSize))
    const opened = concat(...opener.final(sealed.subarray(-tagSize)))
    opener.dispose()
    return opened
  },
})

type Check = readonly [what: string, holds: () => Promise<boolean>]

const checksOf = (engine: Engine): readonly Check[] => [
  ['SHA-256', async () => isHex(await engine.sha256(text), sha256)],
  ['HMAC-SHA-256', async () => isHex(await engine.hmacSha256(key, text), hmacSha256)],
  ['HMAC-SHA-512', async () => isHex(await engine.hmacSha512(key, text), hmacSha512)],
  ['AES key wrap', () => holdsWrap(engine)],
  ...answers
    .filter(({ aead }) => engine.supports(aead))
    .flatMap((answer): readonly Check[] => [
      [answer.aead, () => holdsMessage(engine, answer)],
      [`${answer.aead} of segments`, () => holdsSegment(engine, answer)],
    ]),
]

const test = async (engine: Engine): Promise<void> => {
  for (const [what, holds] of checksOf(engine)) {
    let cause: unknown
    const held = await holds().catch((error: unknown) => {
      cause = error
      return false
    })
    if (held) continue
    const message = `The engine ${engine.name} failed its self-test: ${what} gives other answers. Use another engine or another runtime.`
    throw new SseError('InternalError', { message, cause })
  }
}

const tested = new WeakMap<Engine, Promise<void>>()

/**
 * Holds an engine to known answers: SHA-256, HMAC, key wrap, and every AEAD that it supports, as one message and in segments. Rejects
 * with `InternalError`, which names the engine and what differs. Runs once for an engine.
 *
 * {@includeCode ../../test/examples/reference.test.ts#key,engines}
 */
export const selfTest = (engine: Engine): Promise<void> => {
  const result = tested.get(engine) ?? test(engine)
  tested.set(engine, result)
  return result
}

/**
 * The first engine that passes its {@link selfTest}; rejects with `InternalError` where none does.
 *
 * {@includeCode ../../test/examples/reference.test.ts#key,engines}
 */
export const pickEngine = async (candidates: readonly Engine[]): Promise<Engine> => {
  const failures: unknown[] = []
  for (const engine of candidates) {
    try {
      await selfTest(engine)
      return engine
    } catch (failure) {
      failures.push(failure)
    }
  }
  const message = `None of the engines passes its self-test (${candidates.map(({ name }) => name).join(', ')}). Use another runtime.`
  throw new SseError('InternalError', { message, cause: new AggregateError(failures) })
}
