/**
 * The Transit engine of HashiCorp Vault and OpenBao. Data keys are wrapped under derived keys: what a wrapping key is derived with is the digest
 * of the context, so that a blob fails under another one. Transit knows no disabled keys, and no waiting time before a deletion.
 *
 * @module sse-kms-streams/kms/vault
 */
import { base64, fromBase64, fromUtf8, utf8, wipe } from '../../bytes.ts'
import { keySize } from '../../cipher/suite.ts'
import { SseError } from '../../errors.ts'
import { orAborted } from '../call.ts'
import type { EncryptionContext } from '../context.ts'
import { DataKey } from '../data-key.ts'
import { contextDigest } from '../digest.ts'
import type { TlsOptions } from '../http.ts'
import { field, list, number, text } from '../json.ts'
import { checkInstance, holdsKeysOf, type KeyManager, type ManagedKey } from '../manager.ts'
import type { CallOptions, GeneratedKey, RewrapRequest, UnwrapRequest, WrappedKey, WrapTarget } from '../provider.ts'
import {
  asUnavailable,
  encoded,
  type Secret,
  sharedDeadline,
  VaultApi,
  type VaultAppRole,
  type VaultAuth,
  type VaultKubernetes,
  type VaultToken,
  type VaultRequest,
} from './api.ts'

export type { Secret, TlsOptions, VaultAppRole, VaultAuth, VaultKubernetes, VaultToken }

/** How a Vault is reached and used. */
export interface VaultOptions {
  /** Name of this instance, 1 to 32 of `[a-z0-9-]`: full ids are `INSTANCE:MOUNT/NAME`. It must never change. */
  readonly instance: string
  /** Address of Vault, or of a balancer before it, such as `https://vault.example.com:8200`. */
  readonly address: string
  /** How the program shows who it is. */
  readonly auth: VaultAuth
  /** Where the Transit engine is mounted; `transit` by default. */
  readonly mount?: string | undefined
  /** Namespace of Vault Enterprise or OpenBao; none by default. */
  readonly namespace?: string | undefined
  /** Certificates. */
  readonly tls?: TlsOptions | undefined
  /**
   * Whether the keys are derived ones, which bind the context. Default `true`; a key of the other kind is refused either way. Where `false`,
   * data keys are wrapped under outer keys that bind it.
   */
  readonly derived?: boolean | undefined
}

/**
 * A key manager that is a Vault. It connects at first use. `RangeError` where an option cannot be right.
 *
 * {@includeCode ../../../test/examples/vault.test.ts#vault}
 */
export const vaultKms = (options: VaultOptions): KeyManager & AsyncDisposable => new TransitKms(options)

const provider = 'vault-transit'

class TransitKms implements KeyManager, AsyncDisposable {
  readonly name = provider
  readonly instance: string
  readonly holds: (keyId: string) => boolean
  readonly bindsContext: boolean
  readonly #mount: string
  readonly #vault: VaultApi
  /** Keys that are of the configured kind, by name; a check that is under way is shared. */
  readonly #checked = new Map<string, Promise<ManagedKey>>()

  constructor({ instance, mount = 'transit', derived = true, ...connection }: VaultOptions) {
    this.instance = checkInstance(instance)
    this.holds = holdsKeysOf(instance)
    if (!/^[\w.-]+(?:\/[\w.-]+)*$/.test(mount)) throw new RangeError('a mount is a path without slashes at its ends')
    this.bindsContext = derived
    this.#mount = mount
    this.#vault = new VaultApi(connection)
  }

  async generateDataKey({ keyId, context }: WrapTarget, call?: CallOptions): Promise<GeneratedKey> {
    const name = await this.#ready(keyId, call)
    const given = { ...this.#bound(context), bits: 8 * keySize }
    const answer = await this.#use('datakey/plaintext', name, given, call)
    const key = keyOf(answer) ?? lie('a data key of 256 bits')
    try {
      return { key, wrapped: this.#wrapped(keyId, answer) }
    } catch (error) {
      key.dispose()
      throw error
    }
  }

  async wrapDataKey(key: DataKey, { keyId, context }: WrapTarget, call?: CallOptions): Promise<WrappedKey> {
    // Read first: with the right to create, Vault would make a key that is missing, and wrap under that.
    const name = this.#nameOf(keyId)
    await this.#read(name, call)
    const given = { ...this.#bound(context), plaintext: base64(key.bytes) }
    return this.#wrapped(keyId, await this.#use('encrypt', name, given, call))
  }

  async unwrapDataKey({ wrapped, context }: UnwrapRequest, call?: CallOptions): Promise<DataKey> {
    const given = { ...this.#bound(context), ciphertext: ciphertextOf(wrapped) }
    const name = await this.#ready(wrapped.keyId, call)
    return keyOf(await this.#use('decrypt', name, given, call)) ?? notAuthentic()
  }

  async rewrapDataKey({ from, to }: RewrapRequest, call?: CallOptions): Promise<WrappedKey> {
    const { keyId } = to
    const [before, after] = [this.#bound(from.context), this.#bound(to.context)]
    if (from.wrapped.keyId === keyId && before.context === after.context) {
      const given = { ...after, ciphertext: ciphertextOf(from.wrapped) }
      return this.#wrapped(keyId, await this.#use('rewrap', await this.#ready(keyId, call), given, call))
    }
    const key = await this.unwrapDataKey(from, call)
    try {
      return await this.wrapDataKey(key, to, call)
    } finally {
      key.dispose()
    }
  }

  async describe(key: string, call?: CallOptions): Promise<ManagedKey> {
    return this.#read(isName(key) ? key : this.#nameOf(key), call)
  }

  async find(name: string, call?: CallOptions): Promise<readonly ManagedKey[]> {
    const found = isName(name) ? await this.#readIfUsable(name, call) : undefined
    return found === undefined ? [] : [found]
  }

  async list(call?: CallOptions): Promise<readonly ManagedKey[]> {
    const right = `list ${this.#mount}/keys`
    const outgoing: VaultRequest = {
      method: 'GET',
      path: `${this.#path('keys')}?list=true`,
      right,
      signal: call?.signal,
    }
    const names = list(await this.#vault.call(outgoing).catch(noneFound), 'keys').filter(isName)
    const found: ManagedKey[] = []
    for (let i = 0; i < names.length; i += readsAtOnce) {
      const some = await Promise.all(names.slice(i, i + readsAtOnce).map(name => this.#readIfUsable(name, call)))
      found.push(...some.filter(key => key !== undefined))
    }
    return found
  }

  async create(name: string, call?: CallOptions): Promise<ManagedKey> {
    if (!isName(name)) throw new SseError('InvalidKeyId', { message: badName })
    await this.#use('keys', name, { type: 'aes256-gcm96', derived: this.bindsContext }, call)
    return this.#read(name, call)
  }

  async rotate(keyId: string, call?: CallOptions): Promise<ManagedKey> {
    const name = this.#nameOf(keyId)
    await this.#use('keys', name, {}, call, 'rotate')
    return this.#read(name, call)
  }

  async scheduleDeletion(
    keyId: string,
    _options?: { readonly days?: number | undefined },
    call?: CallOptions,
  ): Promise<ManagedKey> {
    const name = this.#nameOf(keyId)
    const key = await this.#read(name, call)
    await this.#use('keys', name, { deletion_allowed: true }, call, 'config')
    const path = this.#path('keys', name)
    await this.#vault.call({ method: 'DELETE', path, right: `delete on ${this.#mount}/keys`, signal: call?.signal })
    this.#checked.delete(name)
    return { ...key, state: 'pending-deletion', deletion: Date.now() }
  }

  close(): void {
    this.#vault.close()
    this.#checked.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  #path(operation: string, ...names: readonly string[]): string {
    return encoded([this.#mount, operation, ...names].join('/'))
  }

  async #use(
    operation: string,
    name: string,
    data: Readonly<Record<string, unknown>>,
    call: CallOptions | undefined,
    what?: string,
  ): Promise<unknown> {
    const path = this.#path(operation, name, ...(what === undefined ? [] : [what]))
    const right = `update ${operation}${what === undefined ? '' : `/NAME/${what}`} of its Transit engine`
    try {
      return await this.#vault.call({ method: 'POST', path, data, right, signal: call?.signal })
    } catch (error) {
      if (isCode(error, 'KeyNotFound')) this.#checked.delete(name)
      throw error
    }
  }

  /** The name in a full id of this instance and mount; `KeyNotFound`, without a call, for any other. */
  #nameOf(keyId: string): string {
    const before = `${this.instance}:${this.#mount}/`
    const name = keyId.startsWith(before) ? keyId.slice(before.length) : ''
    if (!isName(name)) throw new SseError('KeyNotFound')
    return name
  }

  /** The name in a full id, once it is known that the key is of the configured kind: Transit ignores a context that it does not need. */
  async #ready(keyId: string, call: CallOptions | undefined): Promise<string> {
    const name = this.#nameOf(keyId)
    let check = this.#checked.get(name)
    if (check === undefined) {
      const signal = AbortSignal.timeout(sharedDeadline)
      check = this.#read(name, { signal }).catch(asUnavailable)
      this.#checked.set(name, check)
      check.catch(() => this.#checked.delete(name))
    }
    await orAborted(check, call?.signal)
    return name
  }

  #bound(context: EncryptionContext): { readonly context?: string } {
    return this.bindsContext ? { context: base64(contextDigest(context)) } : {}
  }

  #wrapped(keyId: string, answer: unknown): WrappedKey {
    const ciphertext = text(answer, 'ciphertext')
    if (ciphertext === undefined || !isCiphertext(ciphertext)) return lie('a ciphertext')
    return { provider, keyId, wrapAlg: 1, blob: utf8(ciphertext) }
  }

  async #read(name: string, call: CallOptions | undefined): Promise<ManagedKey> {
    const right = `read keys of its Transit engine`
    const answer = await this.#vault.call({
      method: 'GET',
      path: this.#path('keys', name),
      right,
      signal: call?.signal,
    })
    const version = number(answer, 'latest_version')
    const derived = field(answer, 'derived')
    if (version === undefined || typeof derived !== 'boolean') return lie('a key')
    if (field(answer, 'supports_encryption') !== true) throw new SseError('KeyAccessDenied', { message: cannotEncrypt })
    if (derived !== this.bindsContext) {
      throw new SseError('KeyAccessDenied', { message: derived ? isDerived : isNotDerived })
    }
    const first = number(answer, 'keys', '1')
    return {
      keyId: `${this.instance}:${this.#mount}/${name}`,
      state: 'enabled',
      name,
      version,
      ...(first === undefined ? {} : { created: first * 1000 }),
    }
  }

  /** A key; `undefined` where there is none, or none that may be read or used as it is configured here. */
  async #readIfUsable(name: string, call: CallOptions | undefined): Promise<ManagedKey | undefined> {
    try {
      return await this.#read(name, call)
    } catch (error) {
      if (isCode(error, 'KeyNotFound') || isCode(error, 'KeyAccessDenied')) return undefined
      throw error
    }
  }
}

const readsAtOnce = 8

/** Names that Transit takes. */
const isName = (name: unknown): name is string => typeof name === 'string' && /^\w(?:[\w.-]{0,254}\w)?$/.test(name)

const badName = 'The name of a key in Vault begins and ends with a letter, digit or "_". Choose another.'
const isDerived =
  'The key is a derived one, and derived keys are not configured. Set derived to true, or use another key.'
const isNotDerived =
  'The key is not a derived one, so it would bind no context. Make it with derived=true, or set derived to false.'
const cannotEncrypt = 'The key is of a type that does not encrypt. Use one of the type aes256-gcm96.'

const ciphertexts = /^vault:v[1-9]\d{0,8}:(.+)$/s

/** Whether text is a ciphertext in its one spelling: Vault reads other spellings too, such as version 0 for 1. */
const isCiphertext = (ciphertext: string): boolean => {
  const [, encodedBytes = ''] = ciphertexts.exec(ciphertext) ?? []
  return encodedBytes !== '' && fromBase64(encodedBytes) !== undefined
}

const ciphertextOf = ({ provider: wrappedBy, wrapAlg, blob }: WrappedKey): string => {
  try {
    const ciphertext = fromUtf8(blob)
    if (wrappedBy === provider && wrapAlg === 1 && isCiphertext(ciphertext)) return ciphertext
  } catch {
    // It is no text.
  }
  return notAuthentic()
}

/** The data key of an answer, if it has 32 bytes. */
const keyOf = (answer: unknown): DataKey | undefined => {
  const bytes = fromBase64(text(answer, 'plaintext') ?? '')
  if (bytes?.length === keySize) return new DataKey(bytes)
  wipe(bytes)
  return undefined
}

const isCode = (error: unknown, code: SseError['code']): boolean => error instanceof SseError && error.code === code

const noneFound = (error: unknown): undefined => {
  if (!isCode(error, 'KeyNotFound')) throw error
}

const notAuthentic = (): never => {
  throw new SseError('NotAuthentic')
}

const lie = (what: string): never => {
  throw new SseError('KmsUnavailable', { cause: new TypeError(`the answer of Vault has not ${what}`) })
}
