/** Data keys under keys in a KMIP server: AES-256-GCM there, with the digest of the context as associated data. */
import { concat, wipe } from '../../bytes.ts'
import { randomBytes } from '../../cipher/random.ts'
import { keySize } from '../../cipher/suite.ts'
import { SseError } from '../../errors.ts'
import { DataKey } from '../data-key.ts'
import { contextDigest } from '../digest.ts'
import type { CallOptions, RewrapRequest, UnwrapRequest, WrappedKey, WrapTarget } from '../provider.ts'
import { type Client, nonceSize, tagSize } from './client.ts'
import { maybeByState, Refusal, reasons, refusalError } from './failure.ts'
import { type KmipKeys, keyState } from './keys.ts'

/** Bytes of a blob: nonce, ciphertext and tag. */
const blobSize = nonceSize + keySize + tagSize

/** Wraps and unwraps under the keys of one server. */
export class KmipWrapper {
  readonly #keys: KmipKeys
  readonly #client: Client

  /** The keys that there are, and the server that has them. */
  constructor(keys: KmipKeys, client: Client) {
    this.#keys = keys
    this.#client = client
  }

  /** Wraps a data key under an active key. */
  async wrap(key: DataKey, { keyId, context }: WrapTarget, call: CallOptions = {}): Promise<WrappedKey> {
    const uid = this.#keys.uidOf(keyId)
    await this.#keys.checkSpelling(uid, call)
    const blob = await this.#seal(uid, key.bytes, contextDigest(context), call)
    return { provider: 'kmip', keyId, wrapAlg: 1, blob }
  }

  /** The data key of a blob. `NotAuthentic` where it was not made under this key and context. */
  async unwrap({ wrapped, context }: UnwrapRequest, call: CallOptions = {}): Promise<DataKey> {
    const { provider, keyId, wrapAlg, blob } = wrapped
    if (provider !== 'kmip' || wrapAlg !== 1) throw new SseError('NotAuthentic')
    const uid = this.#keys.uidOf(keyId)
    if (blob.length !== blobSize) throw new SseError('NotAuthentic')
    await this.#keys.checkSpelling(uid, call)
    return new DataKey(await this.#open(uid, blob, contextDigest(context), call))
  }

  /** Moves a data key to another key or context. KMIP does not do that inside: it passes through memory here. */
  async rewrap({ from, to }: RewrapRequest, call: CallOptions = {}): Promise<WrappedKey> {
    const key = await this.unwrap(from, call)
    try {
      return await this.wrap(key, to, call)
    } finally {
      key.dispose()
    }
  }

  async #seal(uid: string, key: Uint8Array, additional: Uint8Array, call: CallOptions): Promise<Uint8Array> {
    const nonce = randomBytes(nonceSize)
    try {
      const { data, tag } = await this.#client.encrypt(uid, key, nonce, additional, call)
      return concat(nonce, data, tag)
    } catch (error) {
      throw error instanceof Refusal ? await this.#explain(error, uid, call) : error
    }
  }

  async #open(uid: string, blob: Uint8Array, additional: Uint8Array, call: CallOptions): Promise<Uint8Array> {
    const sealed = {
      nonce: blob.subarray(0, nonceSize),
      data: blob.subarray(nonceSize, nonceSize + keySize),
      tag: blob.subarray(nonceSize + keySize),
    }
    const open = () => this.#client.decrypt(uid, sealed, additional, call)
    try {
      return await open()
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (error.reason !== reasons.generalFailure) throw await this.#explain(error, uid, call)
    }
    // A server that answers no more than "general failure" means a tag that does not fit, or trouble of its own. It is the former where
    // another blob under the same key and context opens and this one still does not.
    await this.#tryAnother(uid, additional, call)
    try {
      return await open()
    } catch (error) {
      if (error instanceof Refusal && error.reason === reasons.generalFailure) {
        throw new SseError('NotAuthentic', { cause: error })
      }
      throw error instanceof Refusal ? await this.#explain(error, uid, call) : error
    }
  }

  async #tryAnother(uid: string, additional: Uint8Array, call: CallOptions): Promise<void> {
    const blob = await this.#seal(uid, randomBytes(keySize), additional, call)
    const [nonce, data, tag] = [
      blob.subarray(0, nonceSize),
      blob.subarray(nonceSize, -tagSize),
      blob.subarray(-tagSize),
    ]
    try {
      wipe(await this.#client.decrypt(uid, { nonce, data, tag }, additional, call))
    } catch (error) {
      throw error instanceof Refusal ? await this.#explain(error, uid, call) : error
    }
  }

  /** What a refused Encrypt or Decrypt means. The state of the key is asked for, as servers word it in many ways. */
  async #explain(refusal: Refusal, uid: string, call: CallOptions): Promise<unknown> {
    if (refusal.operation === 'Decrypt' && refusal.reason === reasons.cryptographicFailure) {
      return new SseError('NotAuthentic', { cause: refusal })
    }
    if (!maybeByState(refusal)) return refusalError(refusal)
    const { state } = await this.#keys.attributes(uid, call)
    if (keyState(state) === 'enabled') return refusalError(refusal)
    const message = 'The key is not active in the KMIP server. Activate it if it never was, or use another key.'
    return new SseError('KeyDisabled', { message, cause: refusal })
  }
}
