/**
 * The interface of an engine: one implementation of the AEADs, hashes and the key wrap of every suite. A synchronous engine seals segments
 * piece by piece; an asynchronous one (WebCrypto) seals whole segments, several at once. Code outside the segment path awaits and takes
 * either.
 */
import type { MaybePromise } from '../bytes.ts'
import type { SegmentMemory } from './memory.ts'
import type { Aead } from './suite.ts'

/** The primitives that both kinds have. Keys are 32 bytes; nothing here keeps a reference to them after it has settled. */
export interface Primitives {
  /** `openssl`, `node`, `webcrypto` or `noble`. */
  readonly name: string
  /** Whether the engine has the AEAD. */
  supports(aead: Aead): boolean
  /**
   * A new key of 32 random bytes, where the engine draws it from the generator of `crypto.getRandomValues` at less cost; that function is called
   * where an engine has none.
   */
  randomKey?(): Uint8Array
  /** HMAC-SHA-512 (64 bytes; RFC 2104) over the pieces one after the other. */
  hmacSha512(key: Uint8Array, ...data: readonly Uint8Array[]): MaybePromise<Uint8Array>
  /** HMAC-SHA-256 (32 bytes). */
  hmacSha256(key: Uint8Array, ...data: readonly Uint8Array[]): MaybePromise<Uint8Array>
  /** SHA-256 (32 bytes). */
  sha256(...data: readonly Uint8Array[]): MaybePromise<Uint8Array>
  /** AES-256 key wrap of a 32-byte key with the default IV (RFC 3394): 40 bytes. */
  wrap(kek: Uint8Array, key: Uint8Array): MaybePromise<Uint8Array>
  /** The 32-byte key of 40 wrapped bytes; {@link SseError} `NotAuthentic` where the KEK is another. */
  unwrap(kek: Uint8Array, wrapped: Uint8Array): MaybePromise<Uint8Array>
  /** One AEAD message: ciphertext and tag. For small values; segments have their own path. */
  seal(aead: Aead, key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): MaybePromise<Uint8Array>
  /** The plaintext of one AEAD message; `NotAuthentic` where the tag does not hold. */
  open(aead: Aead, key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, aad: Uint8Array): MaybePromise<Uint8Array>
}

/** An engine whose calls return at once. */
export interface SyncEngine extends Primitives {
  /** Tells the kinds apart. */
  readonly synchronous: true
  hmacSha512(key: Uint8Array, ...data: readonly Uint8Array[]): Uint8Array
  hmacSha256(key: Uint8Array, ...data: readonly Uint8Array[]): Uint8Array
  sha256(...data: readonly Uint8Array[]): Uint8Array
  wrap(kek: Uint8Array, key: Uint8Array): Uint8Array
  unwrap(kek: Uint8Array, wrapped: Uint8Array): Uint8Array
  seal(aead: Aead, key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): Uint8Array
  open(aead: Aead, key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Uint8Array
  /** Seals the segments of one stream, one after the other; into `memory`, where the engine can. */
  sealer(aead: Aead, key: Uint8Array, memory?: SegmentMemory): SegmentSealer
  /** Opens the segments of one stream, one after the other; into `memory`, where the engine can. */
  opener(aead: Aead, key: Uint8Array, memory?: SegmentMemory): SegmentOpener
}

/** Seals segments piece by piece. The engine copies the key; `dispose` lets it go. */
export interface SegmentSealer {
  /** Begins a segment under a nonce of 12 bytes that this key never saw. */
  begin(nonce: Uint8Array): void
  /** Takes a piece of plaintext, which the caller may reuse afterwards; returns ciphertext that is ready, if any. */
  update(piece: Uint8Array): Uint8Array | undefined
  /** Ends the segment: what is left of the ciphertext, then the tag. */
  final(): Uint8Array[]
  /** Wipes what is held. May be called at any time, and twice. */
  dispose(): void
}

/** Opens segments piece by piece; plaintext is held until its tag was checked. */
export interface SegmentOpener {
  /** Begins a segment. `size` is how many bytes of plaintext are expected: an engine may make room for them at once. */
  begin(nonce: Uint8Array, size?: number): void
  /** Takes a piece of ciphertext, which the caller may reuse afterwards. */
  update(piece: Uint8Array): void
  /** Checks the tag: the plaintext in pieces, or `NotAuthentic` after what was held is overwritten. */
  final(tag: Uint8Array): Uint8Array[]
  /** Wipes what is held. May be called at any time, and twice. */
  dispose(): void
}

/** An engine whose calls return promises. What a call is given stays as it is until it settles. */
export interface AsyncEngine extends Primitives {
  /** Tells the kinds apart. */
  readonly synchronous: false
  /** Seals and opens whole segments of one stream, any number under way at once. The key is copied at once. */
  segments(aead: Aead, key: Uint8Array): Promise<SegmentCipher>
}

/** Whole segments of one stream. The input belongs to the call until it settles. */
export interface SegmentCipher {
  /** Ciphertext and tag of a segment. */
  seal(nonce: Uint8Array, plaintext: Uint8Array): Promise<Uint8Array>
  /** The plaintext of ciphertext and tag; `NotAuthentic` where the tag does not hold. */
  open(nonce: Uint8Array, sealed: Uint8Array): Promise<Uint8Array>
  /** Wipes what is held, once no call is under way. */
  dispose(): void
}

/** An engine of either kind. */
export type Engine = SyncEngine | AsyncEngine
