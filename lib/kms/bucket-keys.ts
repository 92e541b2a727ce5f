/**
 * Bucket keys (wrapAlg 3; format.md, section 6): one call to the KMS makes a key under the bucket's context, which then wraps the data keys
 * of many objects, each under its own context. Kept in memory for a bounded time, number of uses and number of keys; wiped when they go.
 */
import { concat, copy, hex, u32, utf8 } from '../bytes.ts'
import type { Primitives } from '../cipher/engine.ts'
import { randomBytes } from '../cipher/random.ts'
import { keySize } from '../cipher/suite.ts'
import type { EncryptionContext } from './context.ts'
import { DataKey } from './data-key.ts'
import type { GeneratedKey, KmsProvider, WrappedKey } from './provider.ts'
import { splitNested, unwrapNested, wrapNested } from './wrap.ts'

/** Bounds of the keys in memory. */
export interface BucketKeyOptions {
  /** Milliseconds that a key is used after the KMS gave it; a disabled master key is noticed no later. Default 5 minutes. */
  readonly timeToLive?: number | undefined
  /** Objects that one key wraps before a new one is made. Default 10,000. */
  readonly uses?: number | undefined
  /** Keys in memory at once. Default 1,000. */
  readonly size?: number | undefined
  /** Milliseconds since 1970. */
  readonly clock?: (() => number) | undefined
}

/** A key in memory. Whoever is using it while it is let go still finishes: it is wiped with its last use. */
interface Held {
  readonly key: DataKey
  readonly inner: WrappedKey
  readonly until: number
  left: number
  users: number
  gone: boolean
}

/** What a data key is to be wrapped under. */
export interface BucketKeyTarget {
  /** Full id of the master key. */
  readonly keyId: string
  /** The bucket's context: what the bucket key is bound to. */
  readonly bucketContext: EncryptionContext
  /** The object's context: what the data key is bound to. */
  readonly context: EncryptionContext
}

/** The bucket keys of a server. Decisions about who may use a master key come before. */
export class BucketKeys {
  readonly #engine: Primitives
  readonly #provider: KmsProvider
  readonly #timeToLive: number
  readonly #uses: number
  readonly #size: number
  readonly #clock: () => number
  // Oldest use first: a Map keeps its order, and a key that is used goes to its end.
  readonly #held = new Map<string, Promise<Held>>()

  /** Keeps keys of one provider. */
  constructor(engine: Primitives, provider: KmsProvider, options: BucketKeyOptions = {}) {
    this.#engine = engine
    this.#provider = provider
    this.#timeToLive = options.timeToLive ?? 300_000
    this.#uses = options.uses ?? 10_000
    this.#size = options.size ?? 1000
    this.#clock = options.clock ?? Date.now
  }

  /** A new data key under the bucket's key; the KMS is asked only where none is held. The caller disposes it. */
  async generateDataKey({ keyId, bucketContext, context }: BucketKeyTarget): Promise<GeneratedKey> {
    const name = await this.#nameOf('generate', this.#provider.name, keyId, bucketContext.canonical)
    return this.#use(
      name,
      async () => {
        const { key, wrapped } = await this.#provider.generateDataKey({ keyId, context: bucketContext })
        return { key, inner: wrapped }
      },
      async ({ key, inner }) => {
        const dek = new DataKey(randomBytes(keySize))
        try {
          return { key: dek, wrapped: await wrapNested(this.#engine, 3, key, inner, dek, context) }
        } catch (error) {
          dek.dispose()
          throw error
        }
      },
    )
  }

  /** The data key of a record of wrapAlg 3, whose master key was found to be an accepted one. The caller disposes it. */
  async unwrapDataKey(
    wrapped: WrappedKey,
    context: EncryptionContext,
    bucketContext: EncryptionContext,
  ): Promise<DataKey> {
    const { inner } = splitNested(wrapped)
    const name = await this.#nameOf('unwrap', inner.provider, inner.keyId, inner.blob, bucketContext.canonical)
    return this.#use(
      name,
      async () => ({ key: await this.#provider.unwrapDataKey({ wrapped: inner, context: bucketContext }), inner }),
      ({ key }) => unwrapNested(this.#engine, wrapped, key, context),
    )
  }

  /** Wipes all keys; those in use with their last use. */
  dispose(): void {
    for (const name of this.#held.keys()) this.#drop(name)
  }

  async #use<T>(
    name: string,
    fetch: () => Promise<Pick<Held, 'key' | 'inner'>>,
    run: (held: Held) => Promise<T>,
  ): Promise<T> {
    const held = await this.#take(name, fetch)
    try {
      return await run(held)
    } finally {
      held.users--
      this.#settle(held)
    }
  }

  async #take(name: string, fetch: () => Promise<Pick<Held, 'key' | 'inner'>>): Promise<Held> {
    for (;;) {
      const waiting = this.#held.get(name) ?? this.#fetch(name, fetch)
      const held = await waiting
      if (!held.gone && held.left > 0 && this.#clock() < held.until) {
        held.left--
        held.users++
        this.#held.delete(name)
        this.#held.set(name, waiting)
        return held
      }
      // Others may have seen the same, and fetched a new one already.
      if (this.#held.get(name) === waiting) this.#drop(name)
    }
  }

  #fetch(name: string, fetch: () => Promise<Pick<Held, 'key' | 'inner'>>): Promise<Held> {
    const until = this.#clock() + this.#timeToLive
    const held = fetch().then(got => ({ ...got, until, left: this.#uses, users: 0, gone: false }))
    this.#held.set(name, held)
    held.catch(() => this.#held.delete(name)) // whoever waits for it learns why
    for (const oldest of this.#held.keys()) {
      if (this.#held.size <= this.#size) break
      this.#drop(oldest)
    }
    return held
  }

  #drop(name: string): void {
    const held = this.#held.get(name)
    this.#held.delete(name)
    held?.then(
      key => {
        key.gone = true
        this.#settle(key)
      },
      () => undefined,
    )
  }

  #settle(held: Held): void {
    if (held.gone && held.users === 0) held.key.dispose()
  }

  async #nameOf(use: string, ...fields: readonly (string | Uint8Array)[]): Promise<string> {
    const pieces = [use, ...fields].flatMap(field => {
      const bytes = typeof field === 'string' ? utf8(field) : field
      return [u32(bytes.length), bytes]
    })
    return hex(copy(await this.#engine.sha256(concat(...pieces))))
  }
}
