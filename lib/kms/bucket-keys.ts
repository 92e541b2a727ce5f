/**
 * Bucket keys (wrapAlg 3; format.md, section 6): one call to the KMS makes a key under the bucket's context, which then wraps the data keys
 * of many objects, each under its own context. Kept in memory for a bounded time, number of uses and number of keys; wiped when they go.
 */
import { copy, hex } from '../bytes.ts'
import type { Engine } from '../cipher/engine.ts'
import { Lru } from '../lru.ts'
import { orAborted, reportUse } from './call.ts'
import type { EncryptionContext } from './context.ts'
import type { DataKey } from './data-key.ts'
import type { CallOptions, KeyWrapper, WrappedKey } from './provider.ts'
import type { Providers } from './providers.ts'
import { splitNested, masterKeyVersion, unwrapNested, wrapNested, wrapperOf } from './wrap.ts'

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
  /** Name of the master key's provider. */
  readonly provider: string
  /** The bucket's context: what the bucket key is bound to. */
  readonly bucketContext: EncryptionContext
  /** The lowest version of the master key that readers accept; a key in memory may be of an older one. */
  readonly lowestVersion?: number | undefined
}

/** A bucket key and its wrap. */
interface BucketKey {
  readonly key: DataKey
  readonly inner: WrappedKey
}

/** A key in memory. Who is using it when it leaves still finishes: it is wiped after its last use. */
interface Cached extends BucketKey {
  readonly until: number
  usesLeft: number
  users: number
  gone: boolean
  /** Whether something opened under it: then it is the right key. A new one was proved when it was made. */
  opened: boolean
}

/** A key that is in memory, or on its way. */
interface Entry {
  readonly coming: Promise<Cached>
  cached: Cached | undefined
}

type Fetch = () => Promise<BucketKey>

const day = 86_400_000

const bound = (name: string, value: number, most: number): number => {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return value
  throw new RangeError(`${name} of bucket keys is an integer from 1 to ${most}`)
}

const closed = (): never => {
  throw new TypeError('the bucket keys were wiped for good: make a new façade')
}

/** The bucket keys of a server. Decisions about who may use a master key come before. */
export class BucketKeys {
  readonly #providers: Providers
  readonly #timeToLive: number
  readonly #uses: number
  readonly #clock: () => number
  readonly #entries: Lru<string, Entry>
  #timer: ReturnType<typeof setTimeout> | undefined
  #disposed = false

  /** Keeps keys of these providers. `RangeError` where a bound is none. */
  constructor(providers: Providers, options: BucketKeyOptions = {}) {
    this.#providers = providers
    this.#timeToLive = bound('timeToLive', options.timeToLive ?? 300_000, day)
    this.#uses = bound('uses', options.uses ?? 10_000, Number.MAX_SAFE_INTEGER)
    const most = bound('size', options.size ?? 1000, Number.MAX_SAFE_INTEGER)
    this.#entries = new Lru({ most, onEvict: letGo })
    this.#clock = options.clock ?? (() => performance.now())
  }

  /** Makes and wraps data keys under the bucket's key (wrapAlg 3); the KMS is asked only where none is in memory. */
  wrapper(engine: Engine, { provider, bucketContext, lowestVersion = 0 }: BucketKeyTarget): KeyWrapper {
    return wrapperOf((key, { keyId, context }, call) => {
      const use = { operation: 'generate', provider, keyId } as const
      // Exact, and cheaper than a hash: this is done for every object.
      const name = JSON.stringify([provider, keyId, lowestVersion, ...bucketContext.entries])
      const generate = async () => this.#generate({ provider, keyId }, bucketContext)
      const wrap = async (onCached: () => void): Promise<WrappedKey> => {
        const bucketKey = await this.#get(name, generate, call, onCached)
        try {
          return await wrapNested(engine, 3, bucketKey.key, bucketKey.inner, key, context)
        } finally {
          release(bucketKey)
        }
      }
      return reportUse(call, use, wrap, wrapped => wrapped && masterKeyVersion(wrapped))
    }, engine)
  }

  /** The data key of a record of wrapAlg 3, whose master key was found to be an accepted one. The caller disposes it. */
  async unwrapDataKey(
    engine: Engine,
    wrapped: WrappedKey,
    context: EncryptionContext,
    bucketContext: EncryptionContext,
    call?: CallOptions,
  ): Promise<DataKey> {
    const { inner } = splitNested(wrapped)
    const name = nameOf(inner, bucketContext)
    const { provider, keyId } = wrapped
    const unwrap = async (onCached: () => void): Promise<DataKey> => {
      for (let fresh = false; ; fresh = true) {
        const bucketKey = await this.#get(name, () => this.#unwrap(inner, bucketContext, fresh), call, onCached)
        try {
          const key = await unwrapNested(engine, wrapped, bucketKey.key, context)
          bucketKey.opened = true
          return key
        } catch (error) {
          if (bucketKey.opened) throw error
          // The record is not authentic, or the KMS answered with another key. That one must not stay: it is asked once more, past all caches.
          if (this.#entries.get(name)?.cached === bucketKey) this.#entries.delete(name)
          if (fresh) throw error
        } finally {
          release(bucketKey)
        }
      }
    }
    return reportUse(call, { operation: 'unwrap', provider, keyId }, unwrap, () => masterKeyVersion(wrapped))
  }

  /** Wipes all keys, those in use with their last use; later calls reject with `TypeError`. May be called twice. */
  dispose(): void {
    this.#disposed = true
    clearTimeout(this.#timer)
    this.#entries.clear()
  }

  async #generate(named: Pick<WrappedKey, 'provider' | 'keyId'>, context: EncryptionContext): Promise<BucketKey> {
    const { key, wrapped } = await this.#providers.of(named).generateDataKey({ keyId: named.keyId, context })
    return { key, inner: wrapped }
  }

  async #unwrap(inner: WrappedKey, context: EncryptionContext, fresh: boolean): Promise<BucketKey> {
    const key = await this.#providers.of(inner).unwrapDataKey({ wrapped: inner, context }, { fresh })
    return { key, inner: { ...inner, blob: copy(inner.blob) } } // kept for long: not all of the envelope with it
  }

  /** A key that is in memory, or is fetched; it is released afterwards. */
  async #get(name: string, fetch: Fetch, call: CallOptions | undefined, onCached: () => void): Promise<Cached> {
    const ready = this.#ready(name)
    if (ready !== undefined) onCached()
    return ready ?? (await this.#take(name, fetch, call))
  }

  /** A key that is in memory and may be used; it is released afterwards. */
  #ready(name: string): Cached | undefined {
    const cached = this.#entries.get(name)?.cached
    return cached !== undefined && this.#isFresh(cached) ? use(cached) : undefined
  }

  /**
   * The same, or a key that is fetched: it is fresh in any case for the call that fetches it. A fetch under way is shared, so an abort ends
   * the wait of one caller and not the fetch.
   */
  async #take(name: string, fetch: Fetch, call: CallOptions | undefined): Promise<Cached> {
    for (;;) {
      if (this.#disposed) return closed()
      call?.signal?.throwIfAborted()
      const entry = this.#entries.get(name)
      if (entry === undefined) return use(await orAborted(this.#fetch(name, fetch), call?.signal))
      const cached = await orAborted(entry.coming, call?.signal)
      if (this.#isFresh(cached)) return use(cached)
      // Others may have seen the same, and fetched a new one already.
      if (this.#entries.get(name) === entry) this.#entries.delete(name)
    }
  }

  #isFresh(cached: Cached): boolean {
    return !cached.gone && cached.usesLeft > 0 && this.#clock() < cached.until
  }

  #fetch(name: string, fetch: Fetch): Promise<Cached> {
    const until = this.#clock() + this.#timeToLive
    const coming = fetch().then(fetched => ({
      ...fetched,
      until,
      usesLeft: this.#uses,
      users: 0,
      gone: false,
      opened: false,
    }))
    const entry: Entry = { coming, cached: undefined }
    this.#entries.set(name, entry)
    coming.then(
      cached => {
        entry.cached = cached
      },
      () => {
        if (this.#entries.get(name) === entry) this.#entries.delete(name) // every caller that waits for it learns why
      },
    )
    this.#sweepLater()
    return coming
  }

  /** Wipes a key that is no longer asked for. */
  #sweepLater(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      for (const [name, { cached }] of this.#entries.entries()) {
        if (cached !== undefined && !this.#isFresh(cached)) this.#entries.delete(name)
      }
      if (this.#entries.size > 0) this.#sweepLater()
    }, this.#timeToLive)
    this.#timer.unref?.() // where a timer is an object: it keeps no process alive
  }
}

const use = (cached: Cached): Cached => {
  cached.usesLeft--
  cached.users++
  return cached
}

const release = (cached: Cached): void => {
  cached.users--
  wipeUnused(cached)
}

const letGo = ({ coming }: Entry): void => {
  coming.then(
    cached => {
      cached.gone = true
      wipeUnused(cached)
    },
    () => undefined,
  )
}

const wipeUnused = (cached: Cached): void => {
  if (cached.gone && cached.users === 0) cached.key.dispose()
}

/** What a bucket key that is read is kept under: all that makes it, since blobs come from the store. */
const nameOf = ({ provider, keyId, wrapAlg, blob }: WrappedKey, { entries }: EncryptionContext): string =>
  JSON.stringify([provider, keyId, wrapAlg, hex(blob), ...entries])
