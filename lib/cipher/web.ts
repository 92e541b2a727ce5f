/**
 * The engine over WebCrypto (`globalThis.crypto.subtle`): asynchronous, in every browser and runtime. It has no ChaCha20-Poly1305
 * (suite 3 is noble's alone there).
 */
import { concat, overArrayBuffer } from '../bytes.ts'
import { SseError } from '../errors.ts'
import type { AsyncEngine } from './engine.ts'

const mac = async (hash: string, key: Uint8Array, data: readonly Uint8Array[]): Promise<Uint8Array> => {
  const imported = await crypto.subtle.importKey('raw', overArrayBuffer(key), { name: 'HMAC', hash }, false, ['sign'])
  return new Uint8Array(await crypto.subtle.sign('HMAC', imported, overArrayBuffer(concat(...data))))
}

const gcmKey = (key: Uint8Array, usage: readonly ('encrypt' | 'decrypt')[]): Promise<CryptoKey> =>
  crypto.subtle.importKey('raw', overArrayBuffer(key), 'AES-GCM', false, usage)

const gcm = (nonce: Uint8Array, aad?: Uint8Array): AesGcmParams => ({
  name: 'AES-GCM',
  iv: overArrayBuffer(nonce),
  tagLength: 128,
  ...(aad === undefined ? {} : { additionalData: overArrayBuffer(aad) }),
})

const kwKey = (kek: Uint8Array, usage: 'wrapKey' | 'unwrapKey'): Promise<CryptoKey> =>
  crypto.subtle.importKey('raw', overArrayBuffer(kek), 'AES-KW', false, [usage])

const checked = async (run: Promise<ArrayBuffer>): Promise<Uint8Array> => {
  try {
    return new Uint8Array(await run)
  } catch (cause) {
    throw new SseError('NotAuthentic', { cause })
  }
}

// AES-KW wraps key objects, not bytes: an extractable HMAC key carries any 32 bytes.
const carrier = { name: 'HMAC', hash: 'SHA-256', length: 256 } as const

/**
 * WebCrypto.
 *
 * {@includeCode ../../test/examples/reference.test.ts#key,engines}
 */
export const webCryptoEngine: AsyncEngine = {
  name: 'webcrypto',
  synchronous: false,
  supports: aead => aead === 'AEAD_AES_256_GCM',
  hmacSha512: (key, ...data) => mac('SHA-512', key, data),
  hmacSha256: (key, ...data) => mac('SHA-256', key, data),
  sha256: async (...data) => new Uint8Array(await crypto.subtle.digest('SHA-256', overArrayBuffer(concat(...data)))),
  wrap: async (kek, key) => {
    const wrapping = await kwKey(kek, 'wrapKey')
    const carried = await crypto.subtle.importKey('raw', overArrayBuffer(key), carrier, true, ['sign'])
    return new Uint8Array(await crypto.subtle.wrapKey('raw', carried, wrapping, 'AES-KW'))
  },
  unwrap: async (kek, wrapped) => {
    const wrapping = await kwKey(kek, 'unwrapKey')
    const bytes = overArrayBuffer(wrapped)
    return checked(
      crypto.subtle
        .unwrapKey('raw', bytes, wrapping, 'AES-KW', carrier, true, ['sign'])
        .then(carried => crypto.subtle.exportKey('raw', carried)),
    )
  },
  seal: async (_aead, key, nonce, plaintext, aad) =>
    new Uint8Array(
      await crypto.subtle.encrypt(gcm(nonce, aad), await gcmKey(key, ['encrypt']), overArrayBuffer(plaintext)),
    ),
  open: async (_aead, key, nonce, sealed, aad) =>
    checked(crypto.subtle.decrypt(gcm(nonce, aad), await gcmKey(key, ['decrypt']), overArrayBuffer(sealed))),
  segments: async (_aead, key) => {
    const imported = await gcmKey(key, ['encrypt', 'decrypt'])
    return {
      seal: async (nonce, plaintext) =>
        new Uint8Array(await crypto.subtle.encrypt(gcm(nonce), imported, overArrayBuffer(plaintext))),
      open: (nonce, sealed) => checked(crypto.subtle.decrypt(gcm(nonce), imported, overArrayBuffer(sealed))),
      dispose: () => undefined, // a CryptoKey cannot be wiped
    }
  },
}
