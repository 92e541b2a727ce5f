/**
 * Bucket keys (wrapAlg 3; format.md, section 6): one call to the KMS makes a key under the bucket's context, which then wraps the data keys
 * of many objects, each under its own context. Kept in memory for a bounded time, number of uses and number of keys; wiped when they go.
 */
import { hex } from '../bytes.ts'
import type { Engine } from '../cipher/engine.ts'
import { randomBytes } from '../cipher/random.ts'
import { keySize } from '../cipher/suite.ts'
import type { EncryptionContext } from './context.ts'
import { DataKey } from './data-key.ts'
import type { GeneratedKey, KeyWrapper, KmsProvider, WrappedKey } from './provider.ts'
import { splitNested, unwrapNested, wrapNested } from './wrap.ts'

/** Bounds of the bucket keys in memory. */
export interface BucketKeyOptions {
  /**
   * Milliseconds that a key is used after the KMS was asked for it, 1 to a day: that a master key was disabled or rotated is noticed no
   * later. Default 5 minutes. A key that nobody uses any more is wiped within twice that time.
   */
  readonly timeToLive?: number | undefined
  /** How often a key is used before the KMS is asked again: for so many objects, or reads. Default 10,000. */
  readonly uses?: number | undefined
  /** Keys in memory at once; those to seal with and those to open with count one by one. Default 1,000. */
  readonly size?: number | undefined
  /** Milliseconds of a clock that never goes back; `performance.now` by default. */
  readonly clock?: (() => number) | undefined
}

/** Under which bucket key data keys are wrapped. */
export interface BucketKeyTarget {
  /** The bucket's context: what the bucket key is bound to. */
  readonly bucketContext: EncryptionContext
  /** The lowest version of the master key that readers accept; a key in memory may be of an older one. */
  readonly lowestVersion?: number | undefined
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

/** A key that is in memory, or on its way. */
interface Entry {
  readonly coming: Promise<Held>
  held: Held | undefined
}

type Fetch = () => Promise<Pick<Held, 'key' | 'inner'>>

const day = 86_400_000

const bound = (name: string, value: number, most: number): number => {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return value
  throw new RangeError(`${name} of bucket keys is an integer from 1 to ${most}`)
}

const closed = (): never => {
  throw new TypeError('the bucket keys were wiped for good: make a new one of what held them')
}

/** The bucket keys of a server. Decisions about who may use a master key come before. */
export class BucketKeys {
  readonly #provider: KmsProvider
  readonly #timeToLive: number
  readonly #uses: number
  readonly #size: number
  readonly #clock: () => number
  // Oldest use first: a Map keeps its order, and a key that is used goes to its end.
  readonly #entries = new Map<string, Entry>()
  #timer: ReturnType<typeof setTimeout> | undefined
  #disposed = false

  /** Keeps keys of one provider. `RangeError` where a bound is none. */
  constructor(provider: KmsProvider, options: BucketKeyOptions = {}) {
    this.#provider = provider
    this.#timeToLive = bound('timeToLive', options.timeToLive ?? 300_000, day)
    this.#uses = bound('uses', options.uses ?? 10_000, Number.MAX_SAFE_INTEGER)
    this.#size = bound('size', options.size ?? 1000, Number.MAX_SAFE_INTEGER)
    this.#clock = options.clock ?? (() => performance.now())
  }

  /** Makes and wraps data keys under the bucket's key (wrapAlg 3); the KMS is asked only where none is in memory. */
  under(engine: Engine, { bucketContext, lowestVersion = 0 }: BucketKeyTarget): KeyWrapper {
    const wrapDataKey: KeyWrapper['wrapDataKey'] = async (key, { keyId, context }) => {
      // Exact, and cheaper than a hash: this is done for every object.
      const name = JSON.stringify([keyId, lowestVersion, ...bucketContext.entries])
      const held = this.#ready(name) ?? (await this.#take(name, () => this.#generate(keyId, bucketContext)))
      try {
        return await wrapNested(engine, 3, held.key, held.inner, key, context)
      } finally {
        this.#release(held)
      }
    }
    const generateDataKey: KeyWrapper['generateDataKey'] = async (target): Promise<GeneratedKey> => {
      const key = new DataKey(randomBytes(keySize))
      try {
        return { key, wrapped: await wrapDataKey(key, target) }
      } catch (error) {
        key.dispose()
        throw error
      }
    }
    return { generateDataKey, wrapDataKey }
  }

  /** The data key of a record of wrapAlg 3, whose master key was found to be an accepted one. The caller disposes it. */
  async unwrapDataKey(
    engine: Engine,
    wrapped: WrappedKey,
    context: EncryptionContext,
    bucketContext: EncryptionContext,
  ): Promise<DataKey> {
    const { inner } = splitNested(wrapped)
    const name = nameOf(inner, bucketContext)
    const held = this.#ready(name) ?? (await this.#take(name, () => this.#unwrap(inner, bucketContext)))
    try {
      return await unwrapNested(engine, wrapped, held.key, context)
    } finally {
      this.#release(held)
    }
  }

  /** Wipes all keys, those in use with their last use; later calls reject with `TypeError`. May be called twice. */
  dispose(): void {
    this.#disposed = true
    clearTimeout(this.#timer)
    for (const name of this.#entries.keys()) this.#drop(name)
  }

  async #generate(keyId: string, context: EncryptionContext): Promise<Pick<Held, 'key' | 'inner'>> {
    const { key, wrapped } = await this.#provider.generateDataKey({ keyId, context })
    return { key, inner: wrapped }
  }

  async #unwrap(inner: WrappedKey, context: EncryptionContext): Promise<Pick<Held, 'key' | 'inner'>> {
    return { key: await this.#provider.unwrapDataKey({ wrapped: inner, context }), inner }
  }

  /** A key that is in memory and may be used; it is released afterwards. */
  #ready(name: string): Held | undefined {
    const entry = this.#entries.get(name)
    if (entry?.held === undefined || !this.#isFresh(entry.held)) return undefined
    this.#entries.delete(name)
    this.#entries.set(name, entry)
    return use(entry.held)
  }

  /** The same, or a key that is fetched: for whoever fetches it, it is fresh in any case. */
  async #take(name: string, fetch: Fetch): Promise<Held> {
    for (;;) {
      if (this.#disposed) return closed()
      const entry = this.#entries.get(name)
      if (entry === undefined) return use(await this.#fetch(name, fetch))
      const held = await entry.coming
      if (this.#isFresh(held)) return use(held)
      // Others may have seen the same, and fetched a new one already.
      if (this.#entries.get(name) === entry) this.#drop(name)
    }
  }

  #isFresh(held: Held): boolean {
    return !held.gone && held.left > 0 && this.#clock() < held.until
  }

  #fetch(name: string, fetch: Fetch): Promise<Held> {
    const until = this.#clock() + this.#timeToLive
    const coming = fetch().then(got => ({ ...got, until, left: this.#uses, users: 0, gone: false }))
    const entry: Entry = { coming, held: undefined }
    this.#entries.set(name, entry)
    coming.then(
      held => {
        entry.held = held
      },
      () => {
        if (this.#entries.get(name) === entry) this.#entries.delete(name) // whoever waits for it learns why
      },
    )
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#size) break
      this.#drop(oldest)
    }
    this.#sweepLater()
    return coming
  }

  /** So that a key does not stay because nobody asks for it any more. */
  #sweepLater(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      for (const [name, { held }] of this.#entries) if (held !== undefined && !this.#isFresh(held)) this.#drop(name)
      if (this.#entries.size > 0) this.#sweepLater()
    }, this.#timeToLive)
    this.#timer.unref?.() // where a timer is an object: it keeps no process alive
  }

  #drop(name: string): void {
    const entry = this.#entries.get(name)
    this.#entries.delete(name)
    entry?.coming.then(
      held => {
        held.gone = true
        this.#settle(held)
      },
      () => undefined,
    )
  }

  #release(held: Held): void {
    held.users--
    this.#settle(held)
  }

  #settle(held: Held): void {
    if (held.gone && held.users === 0) held.key.dispose()
  }
}

const use = (held: Held): Held => {
  held.left--
  held.users++
  return held
}

/** What a bucket key that is read is kept under: all that makes it, since blobs come from the store. */
const nameOf = ({ provider, keyId, wrapAlg, blob }: WrappedKey, { entries }: EncryptionContext): string =>
  JSON.stringify([provider, keyId, wrapAlg, hex(blob), ...entries])
