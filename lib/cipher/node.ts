/** The engine over `node:crypto`: synchronous, incremental, the fastest that every Node has. */
import { createCipheriv, createDecipheriv, createHash, createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import { concat, copy, wipe } from '../bytes.ts'
import { SseError } from '../errors.ts'
import type { SegmentOpener, SegmentSealer, SyncEngine } from './engine.ts'
import { type Aead, keySize, tagSize } from './suite.ts'

const options = { authTagLength: tagSize } as const
const wrapIv = new Uint8Array(8).fill(0xa6)

const cipherOf = (aead: Aead, key: KeyObject | Uint8Array, nonce: Uint8Array) =>
  aead === 'AEAD_AES_256_GCM'
    ? createCipheriv('aes-256-gcm', key, nonce, options)
    : createCipheriv('chacha20-poly1305', key, nonce, options)

const decipherOf = (aead: Aead, key: KeyObject | Uint8Array, nonce: Uint8Array) =>
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

/** A key for many ciphers. The first takes the bytes themselves: a small object has no second, and a `KeyObject` costs half a cipher. */
const keyOf = (key: Uint8Array) => {
  const bytes = copy(key)
  let used = false
  let secret: KeyObject | undefined
  return {
    next: (): KeyObject | Uint8Array => {
      if (!used) {
        used = true
        return bytes
      }
      secret ??= createSecretKey(bytes)
      wipe(bytes)
      return secret
    },
    dispose: () => wipe(bytes),
  }
}

const sealer = (aead: Aead, key: Uint8Array): SegmentSealer => {
  const secret = keyOf(key)
  let cipher: ReturnType<typeof cipherOf> | undefined
  const current = () => cipher ?? notBegun()
  return {
    begin: nonce => {
      cipher = cipherOf(aead, secret.next(), nonce)
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
      secret.dispose()
    },
  }
}

const opener = (aead: Aead, key: Uint8Array): SegmentOpener => {
  const secret = keyOf(key)
  let decipher: ReturnType<typeof decipherOf> | undefined
  let held: Uint8Array[] = []
  const current = () => decipher ?? notBegun()
  const drop = () => {
    decipher = undefined
    wipe(...held)
    held = []
  }
  return {
    begin: nonce => {
      decipher = decipherOf(aead, secret.next(), nonce)
    },
    update: piece => {
      held.push(current().update(piece))
    },
    final: tag => {
      try {
        current().setAuthTag(tag).final()
      } catch (cause) {
        drop()
        return notAuthentic(cause)
      }
      const plaintext = held
      decipher = undefined
      held = []
      return plaintext
    },
    dispose: () => {
      drop()
      secret.dispose()
    },
  }
}

const notBegun = (): never => {
  throw new TypeError('begin a segment first')
}

/**
 * `node:crypto`.
 *
 * {@includeCode ../../test/examples/reference.test.ts#key,engines}
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
    const wrapped = cipher.update(key)
    cipher.final() // nothing is left
    return wrapped
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
    const cipher = cipherOf(aead, key, nonce)
    cipher.setAAD(aad, { plaintextLength: plaintext.length })
    return concat(cipher.update(plaintext), cipher.final(), cipher.getAuthTag())
  },
  open: (aead, key, nonce, sealed, aad) => {
    try {
      const decipher = decipherOf(aead, key, nonce)
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
