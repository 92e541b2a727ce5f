/**
 * What a root key does in a key store: the two keys that are derived from it.
 *
 *     K_mac = Expand(root key, "mac ID")      authenticates every file, with its path
 *     K_kek = Expand(root key, "kek ID")      K_version = Expand(K_kek, "ARN VERSION") wraps one version of one key (RFC 3394)
 */
import { copy, type MaybePromise, wipe } from '../../bytes.ts'
import { deriveKeyring } from '../../cipher/derive.ts'
import type { Engine } from '../../cipher/engine.ts'
import { SseError } from '../../errors.ts'
import { DataKey } from '../data-key.ts'
import { isSealed, sealJson } from './sealed-json.ts'

/** Two keys, wrapped under those of another root key: 40 bytes each. */
export type WrappedKeys = readonly [mac: Uint8Array, kek: Uint8Array]

// In the place of an ARN, all of which begin with arn:.
const [macName, kekName] = ['previous mac', 'previous kek']

/** The keys of a root key, until {@link KeyringKeys.dispose}. */
export class KeyringKeys {
  readonly #engine: Engine
  readonly #mac: DataKey
  readonly #kek: DataKey

  private constructor(engine: Engine, mac: Uint8Array, kek: Uint8Array) {
    this.#engine = engine
    this.#mac = new DataKey(mac)
    this.#kek = new DataKey(kek)
  }

  /** Those of a root key in the key store with this id. The caller wipes the root key. */
  static async derive(engine: Engine, id: string, root: Uint8Array): Promise<KeyringKeys> {
    const mac = await deriveKeyring(engine, root, `mac ${id}`)
    return new KeyringKeys(engine, mac, await deriveKeyring(engine, root, `kek ${id}`))
  }

  /** The bytes of a file with this body: see `sealed-json.ts`. */
  seal(path: string, body: string): Promise<Uint8Array> {
    return this.#lend(this.#mac, key => sealJson(this.#engine, key, path, body))
  }

  /** Whether a file was written with these keys, at this path. */
  isSealed(path: string, bytes: Uint8Array): Promise<boolean> {
    return this.#lend(this.#mac, key => isSealed(this.#engine, key, path, bytes))
  }

  /** A version of a master key, wrapped for the disk: 40 bytes. */
  wrap(arn: string, version: number, key: Uint8Array): Promise<Uint8Array> {
    return this.#withKek(arn, version, kek => this.#engine.wrap(kek, key))
  }

  /** A version of a master key; the caller wipes it. `KeyringCorrupt` where it was wrapped as another one. */
  unwrap(arn: string, version: number, wrapped: Uint8Array): Promise<Uint8Array> {
    return this.#withKek(arn, version, async kek => {
      try {
        return await this.#engine.unwrap(kek, wrapped)
      } catch (cause) {
        throw new SseError('KeyringCorrupt', { cause })
      }
    })
  }

  /** The versions of a master key that were wrapped with other keys, wrapped with these. */
  async rewrap(arn: string, versions: readonly Uint8Array[], from: KeyringKeys): Promise<readonly Uint8Array[]> {
    const rewrapped: Uint8Array[] = []
    for (const [i, wrapped] of versions.entries()) {
      const key = await from.unwrap(arn, i + 1, wrapped)
      try {
        rewrapped.push(await this.wrap(arn, i + 1, key))
      } finally {
        wipe(key)
      }
    }
    return rewrapped
  }

  /** The keys of another root key of the same key store, wrapped under these. */
  async wrapKeys(other: KeyringKeys): Promise<WrappedKeys> {
    const wrapOne = (name: string, secret: DataKey) => this.#lend(secret, key => this.wrap(name, 0, key))
    return [await wrapOne(macName, other.#mac), await wrapOne(kekName, other.#kek)]
  }

  /** The opposite of {@link KeyringKeys.wrapKeys}. */
  async unwrapKeys([mac, kek]: WrappedKeys): Promise<KeyringKeys> {
    return new KeyringKeys(this.#engine, await this.unwrap(macName, 0, mac), await this.unwrap(kekName, 0, kek))
  }

  /** Wipes the keys; every later call fails. */
  dispose(): void {
    this.#mac.dispose()
    this.#kek.dispose()
  }

  async #withKek(
    arn: string,
    version: number,
    use: (kek: Uint8Array) => MaybePromise<Uint8Array>,
  ): Promise<Uint8Array> {
    const kek = await this.#lend(this.#kek, key => deriveKeyring(this.#engine, key, `${arn} ${version}`))
    try {
      return await use(kek)
    } finally {
      wipe(kek)
    }
  }

  /** Lends a copy of a secret: closing the key store meanwhile must not turn it into zeros. */
  async #lend<T>(secret: DataKey, use: (key: Uint8Array) => MaybePromise<T>): Promise<T> {
    const key = copy(secret.bytes)
    try {
      return await use(key)
    } finally {
      wipe(key)
    }
  }
}
