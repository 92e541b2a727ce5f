/**
 * The portable engine over @noble/ciphers and @noble/hashes: audited, free of `node:`, for references and runtimes without WebCrypto's
 * AEADs; not for throughput. noble has no incremental AEAD, so a segment is collected first.
 */
import { aeskw, gcm } from '@noble/ciphers/aes.js'
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import { concat, copy, wipe } from '../bytes.ts'
import { SseError } from '../errors.ts'
import type { SegmentOpener, SegmentSealer, SyncEngine } from './engine.ts'
import { type Aead, keySize } from './suite.ts'

const cipherOf = (aead: Aead, key: Uint8Array, nonce: Uint8Array, aad?: Uint8Array) =>
  (aead === 'AEAD_AES_256_GCM' ? gcm : chacha20poly1305)(key, nonce, aad)

const checked = (run: () => Uint8Array): Uint8Array => {
  try {
    return run()
  } catch (cause) {
    throw new SseError('NotAuthentic', { cause })
  }
}

/** Collects the pieces of a segment; `seal` and `open` differ only in what they do with the whole. */
class Collector {
  #aead: Aead
  #key: Uint8Array
  #nonce: Uint8Array | undefined
  #pieces: Uint8Array[] = []

  constructor(aead: Aead, key: Uint8Array) {
    this.#aead = aead
    this.#key = copy(key)
  }

  begin(nonce: Uint8Array): void {
    this.#nonce = copy(nonce)
  }

  add(piece: Uint8Array): void {
    this.#pieces.push(copy(piece))
  }

  run(direction: 'encrypt' | 'decrypt', tag: Uint8Array): Uint8Array[] {
    if (this.#nonce === undefined) throw new TypeError('begin a segment first')
    const whole = concat(...this.#pieces, tag)
    const cipher = cipherOf(this.#aead, this.#key, this.#nonce)
    this.#clear()
    try {
      return [direction === 'encrypt' ? cipher.encrypt(whole) : checked(() => cipher.decrypt(whole))]
    } finally {
      wipe(whole)
    }
  }

  #clear(): void {
    wipe(...this.#pieces)
    this.#pieces = []
    this.#nonce = undefined
  }

  dispose(): void {
    this.#clear()
    wipe(this.#key)
  }
}

const noTag = new Uint8Array(0)

const sealer = (aead: Aead, key: Uint8Array): SegmentSealer => {
  const collector = new Collector(aead, key)
  return {
    begin: nonce => collector.begin(nonce),
    update: piece => {
      collector.add(piece)
      return undefined
    },
    final: () => collector.run('encrypt', noTag),
    dispose: () => collector.dispose(),
  }
}

const opener = (aead: Aead, key: Uint8Array): SegmentOpener => {
  const collector = new Collector(aead, key)
  return {
    begin: nonce => collector.begin(nonce),
    update: piece => collector.add(piece),
    final: tag => collector.run('decrypt', tag),
    dispose: () => collector.dispose(),
  }
}

/**
 * @noble/ciphers and @noble/hashes.
 *
 * {@includeCode ../../test/examples/reference.test.ts#engines}
 */
export const nobleEngine: SyncEngine = {
  name: 'noble',
  synchronous: true,
  supports: () => true,
  hmacSha512: (key, ...data) => {
    const mac = hmac.create(sha512, key)
    for (const piece of data) mac.update(piece)
    return mac.digest()
  },
  hmacSha256: (key, ...data) => {
    const mac = hmac.create(sha256, key)
    for (const piece of data) mac.update(piece)
    return mac.digest()
  },
  sha256: (...data) => {
    const hash = sha256.create()
    for (const piece of data) hash.update(piece)
    return hash.digest()
  },
  wrap: (kek, key) => aeskw(kek).encrypt(key),
  unwrap: (kek, wrapped) => {
    if (wrapped.length !== keySize + 8) throw new SseError('NotAuthentic')
    return checked(() => aeskw(kek).decrypt(wrapped))
  },
  seal: (aead, key, nonce, plaintext, aad) => cipherOf(aead, key, nonce, aad).encrypt(plaintext),
  open: (aead, key, nonce, sealed, aad) => checked(() => cipherOf(aead, key, nonce, aad).decrypt(sealed)),
  sealer,
  opener,
}
