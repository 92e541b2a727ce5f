/**
 * The Key Management Service of Huawei Cloud (Data Encryption Workshop), OBS's own. Its data keys are wrapped without associated data here, so
 * that they lie under outer keys that bind the context.
 *
 * @module sse-kms-streams/kms/huawei
 */
import { createHash } from 'node:crypto'
import { concat, fromHex, hex, wipe } from '../../bytes.ts'
import { keySize } from '../../cipher/suite.ts'
import { SseError } from '../../errors.ts'
import { DataKey } from '../data-key.ts'
import type { TlsOptions } from '../http.ts'
import { field, list, text } from '../json.ts'
import { checkInstance, holdsKeysOf, type KeyManager, type ManagedKey } from '../manager.ts'
import type { CallOptions, GeneratedKey, RewrapRequest, UnwrapRequest, WrappedKey, WrapTarget } from '../provider.ts'
import { type HuaweiAccessKey, HuaweiApi, type HuaweiCredentials, type HuaweiToken, isTakenAlias } from './api.ts'

export type { HuaweiAccessKey, HuaweiCredentials, HuaweiToken, TlsOptions }

/** How Huawei Cloud's key service is reached and used. */
export interface HuaweiOptions {
  /** Name of this instance, 1 to 32 of `[a-z0-9-]`: full ids are `INSTANCE:PROJECT/KEY_ID`. It must never change. */
  readonly instance: string
  /** Endpoint of the region, such as `https://kms.cn-north-4.myhuaweicloud.com`. */
  readonly address: string
  /** Id of the project that the keys are in. */
  readonly project: string
  /** How the program shows who it is; a function is called for every request, so that temporary credentials can change. */
  readonly credentials: HuaweiCredentials | (() => HuaweiCredentials | Promise<HuaweiCredentials>)
  /** Certificates. */
  readonly tls?: TlsOptions | undefined
}

/**
 * A key manager that is Huawei Cloud's key service. It connects at first use. `RangeError` where an option cannot be right.
 *
 * {@includeCode ../../../test/examples/huawei.test.ts#huawei}
 */
export const huaweiKms = (options: HuaweiOptions): KeyManager & AsyncDisposable => new DewKms(options)

const provider = 'huawei-kms'

class DewKms implements KeyManager, AsyncDisposable {
  readonly name = provider
  readonly instance: string
  readonly holds: (keyId: string) => boolean
  readonly bindsContext = false
  readonly #project: string
  readonly #api: HuaweiApi

  constructor({ instance, project, ...connection }: HuaweiOptions) {
    this.instance = checkInstance(instance)
    this.holds = holdsKeysOf(instance)
    if (!/^[0-9a-zA-Z_-]{1,64}$/.test(project)) throw new RangeError('project is the id of a project, not its name')
    this.#project = project
    this.#api = new HuaweiApi(project, connection)
  }

  async generateDataKey({ keyId }: WrapTarget, call?: CallOptions): Promise<GeneratedKey> {
    const key_id = this.#idOf(keyId)
    const answer = await this.#api.call('create-datakey', { key_id, datakey_length: String(8 * keySize) }, call)
    const key = keyOf(answer, 'plain_text') ?? lie('a data key of 256 bits')
    try {
      return { key, wrapped: wrappedOf(keyId, key_id, answer) }
    } catch (error) {
      key.dispose()
      throw error
    }
  }

  async wrapDataKey(key: DataKey, { keyId }: WrapTarget, call?: CallOptions): Promise<WrappedKey> {
    const key_id = this.#idOf(keyId)
    const digest = digestOf(key)
    const both = concat(key.bytes, digest)
    const given = { key_id, plain_text: hex(both).toUpperCase(), datakey_plain_length: String(keySize) }
    wipe(both, digest)
    return wrappedOf(keyId, key_id, await this.#api.call('encrypt-datakey', given, call))
  }

  async unwrapDataKey({ wrapped }: UnwrapRequest, call?: CallOptions): Promise<DataKey> {
    if (wrapped.provider !== provider || wrapped.wrapAlg !== 1) throw new SseError('NotAuthentic')
    const given = {
      key_id: this.#idOf(wrapped.keyId),
      cipher_text: hex(wrapped.blob).toUpperCase(),
      datakey_cipher_length: String(keySize),
    }
    const answer = await this.#api.call('decrypt-datakey', given, call)
    const key = keyOf(answer, 'data_key')
    if (key === undefined) throw new SseError('NotAuthentic')
    const digest = digestOf(key)
    const same = text(answer, 'datakey_dgst')?.toLowerCase() === hex(digest)
    wipe(digest)
    if (same) return key
    key.dispose()
    return lie('the digest of its data key')
  }

  async rewrapDataKey({ from, to }: RewrapRequest, call?: CallOptions): Promise<WrappedKey> {
    this.#idOf(to.keyId)
    const key = await this.unwrapDataKey(from, call)
    try {
      return await this.wrapDataKey(key, to, call)
    } finally {
      key.dispose()
    }
  }

  async describe(key: string, call?: CallOptions): Promise<ManagedKey> {
    if (isId(key)) return this.#read(key, call)
    if (!isName(key)) return this.#read(this.#idOf(key), call)
    const [found, ...more] = await this.find(key, call)
    if (found === undefined || more.length > 0) throw new SseError('KeyNotFound')
    return found
  }

  async find(name: string, call?: CallOptions): Promise<readonly ManagedKey[]> {
    return (await this.list(call)).filter(key => key.name === name)
  }

  async list(call?: CallOptions): Promise<readonly ManagedKey[]> {
    const found = new Map<string, ManagedKey>()
    const markers = new Set<string>()
    for (let marker: string | undefined = ''; marker !== undefined;) {
      const given: Readonly<Record<string, string>> = { limit: '100', ...(marker === '' ? {} : { marker }) }
      const answer = await this.#api.call('list-keys', given, call)
      for (const details of list(answer, 'key_details')) {
        const key = this.#described(details)
        found.set(key.keyId, key)
      }
      markers.add(marker)
      const next = text(answer, 'next_marker')
      const goesOn = text(answer, 'truncated') === 'true' && next !== undefined && next !== '' && !markers.has(next)
      marker = goesOn ? next : undefined
    }
    return [...found.values()]
  }

  async create(name: string, call?: CallOptions): Promise<ManagedKey> {
    if (!isName(name)) throw new SseError('InvalidKeyId')
    try {
      const answer = await this.#api.call('create-key', { key_alias: name }, call)
      return await this.#read(text(answer, 'key_info', 'key_id') ?? lie('a key'), call)
    } catch (error) {
      if (!isTakenAlias(error)) throw error
      return this.describe(name, call)
    }
  }

  enable(keyId: string, call?: CallOptions): Promise<ManagedKey> {
    return this.#change('enable-key', keyId, {}, call)
  }

  disable(keyId: string, call?: CallOptions): Promise<ManagedKey> {
    return this.#change('disable-key', keyId, {}, call)
  }

  async scheduleDeletion(
    keyId: string,
    options: { readonly days?: number | undefined } = {},
    call?: CallOptions,
  ): Promise<ManagedKey> {
    const { days = 7 } = options
    if (!Number.isInteger(days) || days < 7 || days > 1096) throw new RangeError('days is a number from 7 to 1096')
    return this.#change('schedule-key-deletion', keyId, { pending_days: String(days) }, call)
  }

  cancelDeletion(keyId: string, call?: CallOptions): Promise<ManagedKey> {
    return this.#change('cancel-key-deletion', keyId, {}, call)
  }

  close(): void {
    this.#api.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  async #change(
    action: string,
    keyId: string,
    more: Readonly<Record<string, string>>,
    call: CallOptions | undefined,
  ): Promise<ManagedKey> {
    const key_id = this.#idOf(keyId)
    await this.#api.call(action, { key_id, ...more }, call)
    return this.#read(key_id, call)
  }

  /** The id in a full id of this instance and project; `KeyNotFound`, without a call, for any other. */
  #idOf(keyId: string): string {
    const before = `${this.instance}:${this.#project}/`
    const id = keyId.startsWith(before) ? keyId.slice(before.length) : ''
    if (!isId(id)) throw new SseError('KeyNotFound')
    return id
  }

  async #read(key_id: string, call: CallOptions | undefined): Promise<ManagedKey> {
    const key = this.#described(field(await this.#api.call('describe-key', { key_id }, call), 'key_info'))
    return key.keyId.endsWith(`/${key_id}`) ? key : lie('the key that was asked for')
  }

  #described(details: unknown): ManagedKey {
    const id = text(details, 'key_id')
    const state = states.get(text(details, 'key_state') ?? '')
    if (id === undefined || !isId(id) || state === undefined) return lie('a key')
    const name = text(details, 'key_alias')
    const created = timeOf(text(details, 'creation_date'))
    const deletion = state === 'pending-deletion' ? timeOf(text(details, 'scheduled_deletion_date')) : undefined
    return {
      keyId: `${this.instance}:${this.#project}/${id}`,
      state,
      ...(name === undefined ? {} : { name }),
      ...(created === undefined ? {} : { created }),
      ...(deletion === undefined ? {} : { deletion }),
    }
  }
}

const isId = (id: string): boolean => /^[0-9a-z]{8}(?:-[0-9a-z]{4}){3}-[0-9a-z]{12}$/.test(id)
const isName = (name: string): boolean => /^[A-Za-z0-9_-]{1,64}$/.test(name)

/** What `key_state` means: 1 waits for its activation and 5 for its material, so that neither can be used. */
const states: ReadonlyMap<string, ManagedKey['state']> = new Map([
  ['1', 'disabled'],
  ['2', 'enabled'],
  ['3', 'disabled'],
  ['4', 'pending-deletion'],
  ['5', 'disabled'],
] as const)

/** A time in ms: the documentation speaks of seconds, and its examples are in ms. */
const timeOf = (time: string | undefined): number | undefined => {
  if (time === undefined || !/^\d{1,15}$/.test(time) || Number(time) === 0) return undefined
  return Number(time) < 1e11 ? Number(time) * 1000 : Number(time)
}

const digestOf = (key: DataKey): Uint8Array => new Uint8Array(createHash('sha256').update(key.bytes).digest())

/** The data key of an answer, if it has 32 bytes. */
const keyOf = (answer: unknown, name: string): DataKey | undefined => {
  const bytes = fromHex(text(answer, name) ?? '')
  if (bytes?.length === keySize) return new DataKey(bytes)
  wipe(bytes)
  return undefined
}

const wrappedOf = (keyId: string, id: string, answer: unknown): WrappedKey => {
  const blob = fromHex(text(answer, 'cipher_text') ?? '')
  if (blob === undefined || blob.length === 0) return lie('a ciphertext')
  if (text(answer, 'key_id') !== id) return lie('the key that was asked for')
  return { provider, keyId, wrapAlg: 1, blob }
}

const lie = (what: string): never => {
  throw new SseError('KmsUnavailable', { cause: new TypeError(`the answer of the key service has not ${what}`) })
}
