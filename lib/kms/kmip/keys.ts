/** The master keys in a KMIP server: their ids, their states, and how they are made and ended. */
import { SseError } from '../../errors.ts'
import { Lru } from '../../lru.ts'
import type { ManagedKey } from '../manager.ts'
import type { CallOptions, KeyState } from '../provider.ts'
import type { Client, KeyAttributes } from './client.ts'
import { Refusal, reasons, refusalError, wrongAnswer } from './failure.ts'
import { states, values } from './tags.ts'

/** Milliseconds that the server has to take back a key that could not be activated. */
const takingBack = 5000
/** Keys that are asked for at once in a listing. */
const atOnce = 4
const nameTaken: ReadonlySet<number> = new Set([
  reasons.objectAlreadyExists,
  reasons.nonUniqueName,
  reasons.invalidField,
])
const gone: ReadonlySet<number | undefined> = new Set([states.destroyed, states.destroyedCompromised])

/** The keys of one server. Full ids are `INSTANCE:UID`. */
export class KmipKeys {
  readonly #instance: string
  readonly #client: Client
  /** Ids that the server was seen to spell like this. */
  readonly #spelled = new Lru<string, true>({ most: 1000 })

  /** Keys of this server, under the name of the instance. */
  constructor(instance: string, client: Client) {
    this.#instance = instance
    this.#client = client
  }

  /** The server's id in a full id. `KeyNotFound`, without a call, where it is no id or one of another instance. */
  uidOf(keyId: string): string {
    const [, instance, uid = ''] = /^([^:]*):([!-~]{1,256})$/.exec(keyId) ?? []
    if (instance !== this.#instance) throw new SseError('KeyNotFound')
    return uid
  }

  /** `KeyNotFound` unless this is how the server spells the id of a key: some take several spellings, and records hold one. */
  async checkSpelling(uid: string, call: CallOptions): Promise<void> {
    if (this.#spelled.get(uid) === true) return
    await this.attributes(uid, call)
  }

  /** What the server tells of a key. `KeyNotFound` where it is none, is destroyed, or is no AES-256 key. */
  async attributes(uid: string, call: CallOptions): Promise<KeyAttributes> {
    const found = await this.#asked(() => this.#client.attributes(uid, call))
    if (found.uid !== uid || gone.has(found.state)) throw new SseError('KeyNotFound')
    if (found.algorithm !== values.aes || found.length !== 256) {
      throw new SseError('KeyNotFound', { message: 'The key is no AES key of 256 bits. Name one that is.' })
    }
    this.#spelled.set(uid, true)
    return found
  }

  /** A key by its full id, or by its name where it is the only one with it. */
  async describe(key: string, call: CallOptions = {}): Promise<ManagedKey> {
    if (key.includes(':')) return this.#managed(await this.attributes(this.uidOf(key), call))
    const [found, ...more] = await this.find(key, call)
    if (found === undefined) throw new SseError('KeyNotFound')
    if (more.length === 0) return found
    const message = `${more.length + 1} keys have this name. Name one by its id, which begins with ${this.#instance}: there.`
    throw new SseError('KeyNotFound', { message })
  }

  /** The keys with this name. */
  async find(name: string, call: CallOptions = {}): Promise<readonly ManagedKey[]> {
    const uids = await this.#asked(() => this.#client.locate(name, call))
    const found = await this.#each(uids, call)
    return found.filter(({ names }) => names.includes(name)).map(each => this.#managed(each, name))
  }

  /** All keys that this client may see. */
  async list(call: CallOptions = {}): Promise<readonly ManagedKey[]> {
    const uids = await this.#asked(() => this.#client.locate(undefined, call))
    return (await this.#each(uids, call)).map(each => this.#managed(each))
  }

  /** Makes a key and activates it. A server may hold names to be unique: the key that has the name is answered then. */
  async create(name: string, call: CallOptions = {}): Promise<ManagedKey> {
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) throw new RangeError('the name of a key is 1 to 64 of [A-Za-z0-9_-]')
    let uid: string
    try {
      uid = await this.#client.create(name, call)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      const [holder, ...more] = nameTaken.has(error.reason) ? await this.find(name, call) : []
      if (holder !== undefined && more.length === 0) return holder
      throw refusalError(error)
    }
    try {
      await this.#reach(
        uid,
        state => state === states.active,
        call,
        () => this.#client.activate(uid, call),
      )
    } catch (error) {
      // In the background, as the call may have been aborted. A key that was activated after all is not destroyed by this.
      this.#client.destroy(uid, { signal: AbortSignal.timeout(takingBack) }).catch(() => undefined)
      throw error
    }
    return this.#managed(await this.attributes(uid, call), name)
  }

  /** Ends all use of a key, for good: KMIP has no way back. */
  async disable(keyId: string, call: CallOptions = {}): Promise<ManagedKey> {
    const uid = this.uidOf(keyId)
    await this.checkSpelling(uid, call)
    await this.#reach(
      uid,
      state => state !== states.active,
      call,
      () => this.#client.revoke(uid, call),
    )
    return this.#managed(await this.attributes(uid, call))
  }

  /** Destroys a key at once. */
  async destroy(keyId: string, call: CallOptions = {}): Promise<ManagedKey> {
    const { uid, names } = await this.attributes(this.uidOf(keyId), call)
    await this.#reach(
      uid,
      state => state !== states.active,
      call,
      () => this.#client.revoke(uid, call),
    )
    await this.#asked(() => this.#client.destroy(uid, call)).catch((error: unknown) => {
      if (!(error instanceof SseError && error.code === 'KeyNotFound')) throw error // else it was sent twice
    })
    return { keyId, state: 'pending-deletion', name: names[0], deletion: Date.now() }
  }

  /** Changes the state of a key. A refusal is none where the key is in a state that was wanted: the request may have been sent twice. */
  async #reach(
    uid: string,
    wanted: (state: number | undefined) => boolean,
    call: CallOptions,
    change: () => Promise<unknown>,
  ): Promise<void> {
    try {
      await change()
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      const { state } = await this.attributes(uid, call)
      if (!wanted(state)) throw refusalError(error)
    }
  }

  async #asked<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask()
    } catch (error) {
      throw error instanceof Refusal ? refusalError(error) : error
    }
  }

  /** What may be seen of these keys, a few at once; keys that are gone or another's are left out. */
  async #each(uids: readonly string[], call: CallOptions): Promise<readonly KeyAttributes[]> {
    const found: KeyAttributes[] = []
    for (let at = 0; at < uids.length; at += atOnce) {
      const some = uids.slice(at, at + atOnce).map(uid => this.#visible(uid, call))
      found.push(...(await Promise.all(some)).flatMap(each => each ?? []))
    }
    return found
  }

  async #visible(uid: string, call: CallOptions): Promise<KeyAttributes | undefined> {
    try {
      return await this.attributes(this.uidOf(`${this.#instance}:${uid}`), call)
    } catch (error) {
      if (error instanceof SseError && (error.code === 'KeyNotFound' || error.code === 'KeyAccessDenied'))
        return undefined
      throw error
    }
  }

  #managed({ uid, state, names, created }: KeyAttributes, name = names[0]): ManagedKey {
    return { keyId: `${this.#instance}:${uid}`, state: keyState(state), name, created }
  }
}

/** What a state of KMIP means here: only an active key is used. */
export const keyState = (state: number | undefined): KeyState => {
  if (state === undefined) return wrongAnswer('it does not tell the state of the key')
  return state === states.active ? 'enabled' : 'disabled'
}
