/** The engine over `node:crypto`: synchronous, incremental, the fastest that every Node has. */
import { createCipheriv, createDecipheriv, createHash, createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import { concat, wipe } from '../bytes.ts'
import { SseError } from '../errors.ts'
import type { SegmentOpener, SegmentSealer, SyncEngine } from './engine.ts'
import { type Aead, keySize, tagSize } from './suite.ts'

const options = { authTagLength: tagSize } as const
const wrapIv = new Uint8Array(8).fill(0xa6)

const cipherOf = (aead: Aead, key: KeyObject, nonce: Uint8Array) =>
  aead === 'AEAD_AES_256_GCM'
    ? createCipheriv('aes-256-gcm', key, nonce, options)
    : createCipheriv('chacha20-poly1305', key, nonce, options)

const decipherOf = (aead: Aead, key: KeyObject, nonce: Uint8Array) =>
  aead === 'AEAD_AES_256_GCM'
    ? createDecipheriv('aes-256-gcm', key, nonce, options)
    : createDecipheriv('chacha20-poly1305', key, nonce, options)

const notAuthentic = (cause: unknown): never => {
  throw new SseError('NotAuthentic', { cause })
}

const hmac = (hash: string, key: Uint8Array, data: readonly Uint8Array[]): Uint8Array => {
  const mac = createHmac(hash, key)
  for (const piece of data) mac.update(piece)
  return mac.digest()
}

const sealer = (aead: Aead, key: Uint8Array): SegmentSealer => {
  const secret = createSecretKey(key)
  let cipher: ReturnType<typeof cipherOf> | undefined
  const current = () => cipher ?? notBegun()
  return {
    begin: nonce => {
      cipher = cipherOf(aead, secret, nonce)
    },
    update: piece => current().update(piece),
    final: () => {
      const ending = current()
      cipher = undefined
      ending.final()
      return [ending.getAuthTag()]
    },
    dispose: () => {
      cipher = undefined
    },
  }
}

const opener = (aead: Aead, key: Uint8Array): SegmentOpener => {
  const secret = createSecretKey(key)
  let decipher: ReturnType<typeof decipherOf> | undefined
  let held: Uint8Array[] = []
  const current = () => decipher ?? notBegun()
  const dispose = () => {
    decipher = undefined
    wipe(...held)
    held = []
  }
  return {
    begin: nonce => {
      decipher = decipherOf(aead, secret, nonce)
    },
    update: piece => {
      held.push(current().update(piece))
    },
    final: tag => {
      try {
        current().setAuthTag(tag).final()
      } catch (cause) {
        dispose()
        return notAuthentic(cause)
      }
      const plaintext = held
      decipher = undefined
      held = []
      return plaintext
    },
    dispose,
  }
}

const notBegun = (): never => {
  throw new TypeError('begin a segment first')
}

/**
 * `node:crypto`.
 *
 * {@includeCode ../../test/examples/reference.test.ts#engines}
 */
export const nodeEngine: SyncEngine = {
  name: 'node',
  synchronous: true,
  supports: () => true,
  hmacSha512: (key, ...data) => hmac('sha512', key, data),
  hmacSha256: (key, ...data) => hmac('sha256', key, data),
  sha256: (...data) => {
    const hash = createHash('sha256')
    for (const piece of data) hash.update(piece)
    return hash.digest()
  },
  wrap: (kek, key) => {
    const cipher = createCipheriv('id-aes256-wrap', kek, wrapIv)
    return concat(cipher.update(key), cipher.final())
  },
  unwrap: (kek, wrapped) => {
    // Node takes no bytes at all for a wrapped key of none.
    if (wrapped.length !== keySize + 8) throw new SseError('NotAuthentic')
    try {
      const decipher = createDecipheriv('id-aes256-wrap', kek, wrapIv)
      const key = decipher.update(wrapped)
      try {
        decipher.final()
        return concat(key)
      } finally {
        wipe(key)
      }
    } catch (cause) {
      return notAuthentic(cause)
    }
  },
  seal: (aead, key, nonce, plaintext, aad) => {
    const cipher = cipherOf(aead, createSecretKey(key), nonce)
    cipher.setAAD(aad, { plaintextLength: plaintext.length })
    return concat(cipher.update(plaintext), cipher.final(), cipher.getAuthTag())
  },
  open: (aead, key, nonce, sealed, aad) => {
    try {
      const decipher = decipherOf(aead, createSecretKey(key), nonce)
      decipher.setAAD(aad, { plaintextLength: sealed.length - tagSize })
      decipher.setAuthTag(sealed.subarray(sealed.length - tagSize))
      const held = decipher.update(sealed.subarray(0, sealed.length - tagSize))
      try {
        decipher.final()
        return concat(held)
      } finally {
        wipe(held)
      }
    } catch (cause) {
      return notAuthentic(cause)
    }
  },
  sealer,
  opener,
}
