/** The two ways to wrap a key with a key of a token (format.md, section 6). */
import type { AesGCM, Handle, Mechanism as NativeMechanism, Template } from 'pkcs11js'
import { concat, wipe } from '../../bytes.ts'
import { randomBytes } from '../../cipher/random.ts'
import { keySize } from '../../cipher/suite.ts'
import { SseError } from '../../errors.ts'
import type { TokenModule } from './module.ts'

type Api = TokenModule['api']

/** A session of a module and a key, at work. */
export interface Work {
  readonly module: TokenModule
  readonly session: Handle
  readonly key: Handle
}

/** How keys are wrapped. */
export interface Mechanism {
  /** Whether a blob fails to unwrap under another context. */
  readonly bindsContext: boolean
  /** Bytes of a blob. */
  readonly blobSize: number
  /** The two attributes that allow a key's use. */
  usage(api: Api): readonly [number, number]
  /** The blob of 32 bytes; `digest` is that of the context. */
  seal(work: Work, plain: Uint8Array, digest: Uint8Array): Promise<Uint8Array>
  /** The 32 bytes of a blob, in unpooled memory. */
  open(work: Work, blob: Uint8Array, digest: Uint8Array): Promise<Uint8Array>
}

/** An unpooled copy, as pkcs11js takes bytes. */
export const buffer = (bytes: Uint8Array): Buffer => {
  const out = Buffer.alloc(bytes.length)
  out.set(bytes)
  return out
}

const assertSize = (answer: Uint8Array, size: number): void => {
  if (answer.length === size) return
  const cause = new TypeError(`the token answered ${answer.length} bytes, not ${size}`)
  throw new SseError('KmsUnavailable', { message: 'The token gave an answer that cannot be right.', cause })
}

const nonceSize = 12
const tagSize = 16

const gcm = (api: Api, iv: Buffer, digest: Uint8Array): NativeMechanism => {
  const type = api.CK_PARAMS_AES_GCM_v240 // softoken does not take the older one
  const parameter: AesGCM = { type, iv, ivBits: 8 * nonceSize, aad: buffer(digest), tagBits: 8 * tagSize }
  return { mechanism: api.CKM_AES_GCM, parameter }
}

/** nonce ‖ ciphertext ‖ tag, the context's digest as associated data. */
const aesGcm: Mechanism = {
  bindsContext: true,
  blobSize: nonceSize + keySize + tagSize,
  usage: api => [api.CKA_ENCRYPT, api.CKA_DECRYPT],
  async seal({ module: { api, native }, session, key }, plain, digest) {
    const iv = buffer(randomBytes(nonceSize))
    const input = buffer(plain) // pkcs11js reads it on another thread, whatever the caller does meanwhile
    const room = Buffer.alloc(keySize + tagSize)
    try {
      native.C_EncryptInit(session, gcm(api, iv, digest), key)
      const sealed = await native.C_EncryptAsync(session, input, room)
      assertSize(sealed, keySize + tagSize)
      return concat(iv, sealed)
    } finally {
      wipe(input)
    }
  },
  async open({ module: { api, native }, session, key }, blob, digest) {
    const iv = buffer(blob.subarray(0, nonceSize))
    const input = buffer(blob.subarray(nonceSize))
    const room = Buffer.alloc(input.length) // SoftHSM asks for as much as the ciphertext has
    try {
      native.C_DecryptInit(session, gcm(api, iv, digest), key)
      const plain = await native.C_DecryptAsync(session, input, room)
      assertSize(plain, keySize)
      return new Uint8Array(plain)
    } finally {
      wipe(room)
    }
  },
}

/** A key that is in the session alone, and that may leave it. */
const sessionKey = (api: Api): Template => [
  { type: api.CKA_CLASS, value: api.CKO_SECRET_KEY },
  { type: api.CKA_KEY_TYPE, value: api.CKK_AES },
  { type: api.CKA_TOKEN, value: false },
  { type: api.CKA_SENSITIVE, value: false },
  { type: api.CKA_EXTRACTABLE, value: true },
]

/** RFC 3394. Synchronous: pkcs11js frees neither mechanism nor template of its asynchronous C_WrapKey and C_UnwrapKey. */
const aesKeyWrap: Mechanism = {
  bindsContext: false,
  blobSize: keySize + 8,
  usage: api => [api.CKA_WRAP, api.CKA_UNWRAP],
  async seal({ module: { api, native }, session, key }, plain) {
    const value = buffer(plain)
    try {
      const handle = native.C_CreateObject(session, [...sessionKey(api), { type: api.CKA_VALUE, value }])
      try {
        const sealed = native.C_WrapKey(
          session,
          { mechanism: api.CKM_AES_KEY_WRAP },
          key,
          handle,
          Buffer.alloc(keySize + 8),
        )
        assertSize(sealed, keySize + 8)
        return new Uint8Array(sealed)
      } finally {
        native.C_DestroyObject(session, handle)
      }
    } finally {
      wipe(value)
    }
  },
  async open({ module: { api, native }, session, key }, blob) {
    const mechanism = { mechanism: api.CKM_AES_KEY_WRAP }
    const handle = native.C_UnwrapKey(session, mechanism, key, buffer(blob), sessionKey(api))
    try {
      const [attribute] = native.C_GetAttributeValue(session, handle, [{ type: api.CKA_VALUE }])
      const plain = attribute?.value ?? Buffer.alloc(0)
      try {
        assertSize(plain, keySize)
        return new Uint8Array(plain)
      } finally {
        wipe(plain)
      }
    } finally {
      native.C_DestroyObject(session, handle)
    }
  },
}

/** The mechanisms by their names in the configuration. */
export const mechanisms = { 'aes-gcm': aesGcm, 'aes-key-wrap': aesKeyWrap } as const
