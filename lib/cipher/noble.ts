/**
 * The portable engine over @noble/ciphers and @noble/hashes: audited, free of `node:`, for references and runtimes without WebCrypto's
 * AEADs; not for throughput. Each part of noble is loaded when it is first used: the tables of its AES alone take 8 MB.
 */
import { copy, wipe } from '../bytes.ts'
import { SseError } from '../errors.ts'
import type { AsyncEngine } from './engine.ts'
import { type Aead, keySize } from './suite.ts'

const checked = (run: () => Uint8Array): Uint8Array => {
  try {
    return run()
  } catch (cause) {
    throw new SseError('NotAuthentic', { cause })
  }
}

const loadCipher = async (aead: Aead) =>
  aead === 'AEAD_AES_256_GCM'
    ? (await import('@noble/ciphers/aes.js')).gcm
    : (await import('@noble/ciphers/chacha.js')).chacha20poly1305

const loadHashes = () => Promise.all([import('@noble/hashes/sha2.js'), import('@noble/hashes/hmac.js')])

const macOf = async (name: 'sha256' | 'sha512', key: Uint8Array, data: readonly Uint8Array[]): Promise<Uint8Array> => {
  const [hashes, { hmac }] = await loadHashes()
  const mac = hmac.create(hashes[name], key)
  for (const piece of data) mac.update(piece)
  return mac.digest()
}

const keyWrap = async (kek: Uint8Array) => (await import('@noble/ciphers/aes.js')).aeskw(kek)

/**
 * @noble/ciphers and @noble/hashes.
 *
 * {@includeCode ../../test/examples/reference.test.ts#key,engines}
 */
export const nobleEngine: AsyncEngine = {
  name: 'noble',
  synchronous: false,
  supports: () => true,
  hmacSha512: (key, ...data) => macOf('sha512', key, data),
  hmacSha256: (key, ...data) => macOf('sha256', key, data),
  sha256: async (...data) => {
    const [{ sha256 }] = await loadHashes()
    const hash = sha256.create()
    for (const piece of data) hash.update(piece)
    return hash.digest()
  },
  wrap: async (kek, key) => (await keyWrap(kek)).encrypt(key),
  unwrap: async (kek, wrapped) => {
    if (wrapped.length !== keySize + 8) throw new SseError('NotAuthentic')
    const cipher = await keyWrap(kek)
    return checked(() => cipher.decrypt(wrapped))
  },
  seal: async (aead, key, nonce, plaintext, aad) => (await loadCipher(aead))(key, nonce, aad).encrypt(plaintext),
  open: async (aead, key, nonce, sealed, aad) => {
    const cipher = await loadCipher(aead)
    return checked(() => cipher(key, nonce, aad).decrypt(sealed))
  },
  segments: async (aead, key) => {
    const kept = copy(key)
    const cipher = await loadCipher(aead)
    return {
      seal: async (nonce, plaintext) => cipher(kept, nonce).encrypt(plaintext),
      open: async (nonce, sealed) => checked(() => cipher(kept, nonce).decrypt(sealed)),
      dispose: () => wipe(kept),
    }
  },
}
