/**
 * Every derivation of the product, and the one list of its labels (format.md, sections 2 and 6). Expand is RFC 5869's second step with
 * SHA-512, written with HMAC calls: WebCrypto has no Expand alone, and other implementations refuse a 32-byte PRK. It has a
 * synchronous and an asynchronous form; everything else is bytes.
 */
import { concat, copy, u16, u32, utf8, wipe } from '../bytes.ts'
import type { Engine, SyncEngine } from './engine.ts'
import { bodyIdSize, keySize, nonceSize, saltSize, type Suite } from './suite.ts'

const zero = Uint8Array.of(0)
const labels = {
  body: utf8('sse-kms-streams/v1/body'),
  kek: utf8('sse-kms-streams/v1/kek'),
  upload: utf8('sse-kms-streams/v1/upload'),
  keyring: utf8('sse-kms-streams/v1/keyring'),
} as const

/** Keys of one stream. */
export interface StreamKeys {
  /** K, 32 bytes. */
  readonly key: Uint8Array
  /** N0, 12 bytes. */
  readonly baseNonce: Uint8Array
  /** C, 32 bytes. Public: it stands in the stream's header. */
  readonly commitment: Uint8Array
}

/** Keys of one body or upload, 32 bytes each. */
export interface BodyKeys {
  /** K_desc, for the descriptor's tag. */
  readonly descriptor: Uint8Array
  /** K_etag, for ETags. */
  readonly etag: Uint8Array
  /** K_aux, for sealed values. */
  readonly aux: Uint8Array
}

/** Throws `RangeError` unless a key that enters Expand is exactly 32 bytes: HMAC pads, so shorter ones would alias. */
export const assertKey = (key: Uint8Array): void => {
  if (key.length !== keySize) throw new RangeError(`a key must have ${keySize} bytes, not ${key.length}`)
}

/** Gives the next bytes of a derivation as new memory. */
export type Take = (size: number) => Uint8Array

/** What is derived: bytes in all, at most 128, and what they are cut into. */
export interface Shape<T> {
  readonly length: number
  /** Takes the pieces in their order. */
  readonly cut: (take: Take) => T
}

/** HKDF-Expand-SHA-512 of a 32-byte PRK. The caller wipes; the PRK may be wiped while this is under way. */
export const expand = async <T>(
  engine: Engine,
  prk: Uint8Array,
  info: readonly Uint8Array[],
  shape: Shape<T>,
): Promise<T> => {
  if (engine.synchronous) return expandSync(engine, prk, info, shape)
  assertKey(prk)
  const key = copy(prk)
  const message = new Uint8Array(messageSize(info))
  try {
    const first = await engine.hmacSha512(key, firstOf(message, info))
    return cut(shape, first, shape.length > block ? await engine.hmacSha512(key, secondOf(message, first)) : zero)
  } finally {
    wipe(key, message)
  }
}

/** {@link expand} over a synchronous engine. */
export const expandSync = <T>(engine: SyncEngine, prk: Uint8Array, info: readonly Uint8Array[], shape: Shape<T>): T => {
  assertKey(prk)
  const size = messageSize(info)
  const message = size <= scratch.length ? scratch.subarray(0, size) : new Uint8Array(size)
  try {
    const first = engine.hmacSha512(prk, firstOf(message, info))
    return cut(shape, first, shape.length > block ? engine.hmacSha512(prk, secondOf(message, first)) : zero)
  } finally {
    wipe(message)
  }
}

/** Bytes of HMAC-SHA-512. */
const block = 64
/** Where a synchronous engine, which keeps nothing, reads its messages. */
const scratch = new Uint8Array(512)

// Both steps hash one piece of memory: `info ‖ 1` from its 65th byte on, then `first ‖ info ‖ 2`.
const messageSize = (info: readonly Uint8Array[]): number => {
  let size = block + 1
  for (const piece of info) size += piece.length
  return size
}

const firstOf = (message: Uint8Array, info: readonly Uint8Array[]): Uint8Array => {
  let at = block
  for (const piece of info) {
    message.set(piece, at)
    at += piece.length
  }
  message[at] = 1
  return message.subarray(block)
}

const secondOf = (message: Uint8Array, first: Uint8Array): Uint8Array => {
  message.set(first)
  message[message.length - 1] = 2
  return message
}

/** Cuts what both steps gave, and wipes it. Byte by byte: a view of a small array would move it off V8's heap. */
const cut = <T>(shape: Shape<T>, first: Uint8Array, second: Uint8Array): T => {
  let at = 0
  const result = shape.cut(size => {
    const piece = new Uint8Array(size)
    for (let i = 0; i < size; i++, at++) piece[i] = (at < block ? first[at] : second[at - block]) ?? 0
    return piece
  })
  wipe(first, second)
  return result
}

const oneKey: Shape<Uint8Array> = { length: keySize, cut: take => take(keySize) }

const streamKeys: Shape<StreamKeys> = {
  length: 2 * keySize + nonceSize,
  cut: take => ({ key: take(keySize), baseNonce: take(nonceSize), commitment: take(keySize) }),
}

const bodyKeys: Shape<BodyKeys> = {
  length: 3 * keySize,
  cut: take => ({ descriptor: take(keySize), etag: take(keySize), aux: take(keySize) }),
}

/** The context of a stream inside an object: 0x01 ‖ bodyId ‖ u32(part). Cobblestone's own vectors have others. */
export const streamContext = (bodyId: Uint8Array, part: number): Uint8Array => {
  if (bodyId.length !== bodyIdSize) throw new RangeError(`a bodyId must have ${bodyIdSize} bytes`)
  return concat(Uint8Array.of(1), bodyId, u32(part))
}

const prefixes = new Map<Suite, Uint8Array>()

/** What the information of a suite's streams begins with. */
const prefixOf = (suite: Suite): Uint8Array => {
  const made = prefixes.get(suite) ?? concat(utf8(suite.label), utf8(suite.aead), zero)
  prefixes.set(suite, made)
  return made
}

const streamInfo = (suite: Suite, salt: Uint8Array, context: Uint8Array): readonly Uint8Array[] => {
  if (salt.length !== saltSize) throw new RangeError(`a salt must have ${saltSize} bytes`)
  return [prefixOf(suite), salt, context]
}

/** K, N0 and C of a stream. The caller wipes `key`. */
export const deriveStream = async (
  engine: Engine,
  suite: Suite,
  dek: Uint8Array,
  salt: Uint8Array,
  context: Uint8Array,
): Promise<StreamKeys> => expand(engine, dek, streamInfo(suite, salt, context), streamKeys)

/** {@link deriveStream} over a synchronous engine. */
export const deriveStreamSync = (
  engine: SyncEngine,
  suite: Suite,
  dek: Uint8Array,
  salt: Uint8Array,
  context: Uint8Array,
): StreamKeys => expandSync(engine, dek, streamInfo(suite, salt, context), streamKeys)

/** K_desc, K_etag and K_aux of a body. The caller wipes all three. */
export const deriveBody = async (engine: Engine, dek: Uint8Array, bodyId: Uint8Array): Promise<BodyKeys> =>
  expand(engine, dek, [labels.body, zero, bodyId], bodyKeys)

/** K_desc, K_etag and K_aux out of their 96 bytes, which are wiped. The caller wipes all three. */
export const cutBodyKeys = (bytes: Uint8Array): BodyKeys =>
  cut(bodyKeys, bytes.subarray(0, block), bytes.subarray(block))

/**
 * The KEK of a wrap record (format.md, section 6), from a local, customer's, bucket or outer key. The caller
 * wipes; the key may be wiped while this is under way.
 */
export const deriveKek = async (
  engine: Engine,
  key: Uint8Array,
  wrapAlg: number,
  wrapSalt: Uint8Array,
  canonicalContext: Uint8Array,
): Promise<Uint8Array> => {
  const prk = copy(key)
  try {
    const contextHash = await engine.sha256(canonicalContext)
    return await expand(engine, prk, [labels.kek, zero, u16(wrapAlg), wrapSalt, contextHash], oneKey)
  } finally {
    wipe(prk)
  }
}

/** The first 24 bytes of an upload's identity (format.md, section 8). */
export const uploadIdentity = async (engine: Engine, session: Uint8Array): Promise<Uint8Array> =>
  (await engine.sha256(labels.upload, zero, session)).slice(0, 24)

/** A key of the embedded key store from its root key: `purpose` is bound. The caller wipes. */
export const deriveKeyring = (engine: Engine, rootKey: Uint8Array, purpose: string): Promise<Uint8Array> =>
  expand(engine, rootKey, [labels.keyring, zero, utf8(purpose)], oneKey)
