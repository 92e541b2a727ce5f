/** The key manager that the guide to providers shows, its setup for the conformance suite, and what a configuration opens it with. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import {
  type CallOptions,
  DataKey,
  type KeyManager,
  SseError,
  type UnwrapRequest,
  type WrappedKey,
  type WrapTarget,
} from '../../lib/index.ts'
import { type ConformanceSetup } from '../../lib/testing.ts'

// #region provider
/** Master keys by name, here in memory: where a cipher is made stands the call of your KMS. */
export const ownKms = (masterKeys: ReadonlyMap<string, Uint8Array>, instance = 'main'): KeyManager => {
  const name = 'own-kms' // what records hold, for ever
  const masterOf = (keyId: string): Uint8Array => {
    const key = keyId.startsWith(`${instance}:`) ? masterKeys.get(keyId.slice(instance.length + 1)) : undefined
    if (key === undefined) throw new SseError('KeyNotFound')
    return key
  }
  const wrapDataKey = async (key: DataKey, { keyId, context }: WrapTarget, call?: CallOptions): Promise<WrappedKey> => {
    call?.signal?.throwIfAborted()
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', masterOf(keyId), nonce).setAAD(context.canonical)
    const blob = Buffer.concat([nonce, cipher.update(key.bytes), cipher.final(), cipher.getAuthTag()])
    return { provider: name, keyId, wrapAlg: 1, blob }
  }
  const unwrapDataKey = async ({ wrapped, context }: UnwrapRequest, call?: CallOptions): Promise<DataKey> => {
    call?.signal?.throwIfAborted()
    const { keyId, blob } = wrapped
    const master = masterOf(keyId)
    if (blob.length !== 60) throw new SseError('NotAuthentic')
    const decipher = createDecipheriv('aes-256-gcm', master, blob.subarray(0, 12)).setAAD(context.canonical)
    const key = new DataKey(decipher.update(blob.subarray(12, 44))) // takes the bytes over, and wipes them
    try {
      decipher.setAuthTag(blob.subarray(44)).final()
    } catch (cause) {
      key.dispose()
      throw new SseError('NotAuthentic', { cause })
    }
    return key
  }
  return {
    name,
    instance,
    bindsContext: true, // the context is authenticated with each blob
    wrapDataKey,
    unwrapDataKey,
    generateDataKey: async (target, call) => {
      const key = new DataKey(randomBytes(32))
      return { key, wrapped: await wrapDataKey(key, target, call) }
    },
    rewrapDataKey: async ({ from, to }, call) => {
      const key = await unwrapDataKey(from, call)
      try {
        return await wrapDataKey(key, to, call)
      } finally {
        key.dispose()
      }
    },
    describe: async keyId => {
      masterOf(keyId)
      return { keyId, state: 'enabled' }
    },
  }
}
// #endregion provider

// #region setup
/** What `sse-kms certify` looks for. */
export const setup = async (): Promise<ConformanceSetup> => {
  const newKey = () => crypto.getRandomValues(new Uint8Array(32))
  const kms = ownKms(
    new Map([
      ['first', newKey()],
      ['other', newKey()],
    ]),
  )
  return { kms, keyId: 'main:first', otherKeyId: 'main:other', missing: 'main:none' }
}
// #endregion setup

// #region open
/** What `serve` and `--kms` look for. */
export const open = ({ instance, masterKey }: { readonly instance: string; readonly masterKey: string }) =>
  ownKms(new Map([['first', Buffer.from(masterKey, 'base64')]]), instance)
// #endregion open
