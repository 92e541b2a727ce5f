/**
 * Unwrapped data keys and descriptions in memory, and for a moment what a key manager refused or could not answer. Asked only after accepted
 * keys, tenant and policy have decided: it decides nothing.
 */
import { createHash } from 'node:crypto'
import { copy, utf8, u32 } from '../../bytes.ts'
import { type ErrorCode, SseError } from '../../errors.ts'
import { Lru } from '../../lru.ts'
import { orAborted } from '../call.ts'
import { DataKey } from '../data-key.ts'
import type { KeyManager, ManagedKey } from '../manager.ts'
import type { CallOptions, UnwrapRequest } from '../provider.ts'
import { around } from './around.ts'

/** Bounds of what is kept. */
export interface KeyCacheOptions {
  /** Milliseconds that a key is kept: that a master key was disabled is noticed no later. Default 5 minutes. */
  readonly timeToLive?: number | undefined
  /** Milliseconds that "denied", "disabled", "pending deletion" and "not found" are kept. Default 10 seconds. */
  readonly refusals?: number | undefined
  /** Milliseconds that "unavailable" and "throttled" are kept. Default 1 second. */
  readonly failures?: number | undefined
  /** Answers kept at once; a key is wiped when it goes. Default 1,000. */
  readonly size?: number | undefined
  /** Milliseconds of a clock that never goes back; `performance.now` by default. */
  readonly clock?: (() => number) | undefined
}

const refused: ReadonlySet<ErrorCode> = new Set(['KeyAccessDenied', 'KeyDisabled', 'KeyPendingDeletion', 'KeyNotFound'])
const failed: ReadonlySet<ErrorCode> = new Set(['KmsUnavailable', 'KmsThrottled'])

/** {@link KeyCacheOptions}, all of them given. */
type Bounds = { readonly [K in keyof KeyCacheOptions]-?: NonNullable<KeyCacheOptions[K]> }

/** An answer, or one that is on its way. */
interface Entry<T> {
  readonly keyId: string
  readonly coming: Promise<T>
  until: number
  /** What came, unless it was an error. */
  value: T | undefined
}

/** Name of what an unwrap is kept under: SHA-256 over all that it depends on (format.md, section 6). */
const nameOf = ({ wrapped, context }: UnwrapRequest): string => {
  const { provider, keyId, wrapAlg, blob } = wrapped
  const hash = createHash('sha256')
  for (const field of [utf8(provider), utf8(keyId), Uint8Array.of(wrapAlg), blob, context.canonical]) {
    hash.update(u32(field.length)).update(field)
  }
  return hash.digest('base64')
}

/** Answers of one kind. Identical questions under way are one call, which a caller that leaves does not end. */
class Answers<T> {
  readonly #entries: Lru<string, Entry<T>>
  readonly #options: Bounds

  constructor(options: Bounds, wipe: (value: T) => void) {
    this.#options = options
    // Later than whoever was just given it has copied it.
    const onEvict = ({ coming }: Entry<T>): void =>
      void coming.then(
        value => setImmediate(() => wipe(value)),
        () => undefined,
      )
    this.#entries = new Lru({ most: options.size, onEvict })
  }

  async get(name: string, keyId: string, ask: (call: CallOptions) => Promise<T>, call: CallOptions): Promise<T> {
    const { clock } = this.#options
    const known = call.fresh === true ? undefined : this.#entries.get(name)
    if (known !== undefined && clock() < known.until) {
      if (known.value !== undefined) {
        call.onCached?.()
        return known.value
      }
      return orAborted(known.coming, call.signal)
    }
    return orAborted(
      this.#ask(name, keyId, () => ask({ fresh: call.fresh })),
      call.signal,
    )
  }

  /** Lets go of what is known of a master key. */
  forget(keyId: string): void {
    for (const [name, entry] of [...this.#entries.entries()]) if (entry.keyId === keyId) this.#entries.delete(name)
  }

  clear(): void {
    this.#entries.clear()
  }

  #ask(name: string, keyId: string, ask: () => Promise<T>): Promise<T> {
    const { clock, timeToLive, refusals, failures } = this.#options
    const coming = ask()
    const entry: Entry<T> = { keyId, coming, until: Infinity, value: undefined }
    this.#entries.set(name, entry)
    const keep = (time: number): void => {
      entry.until = clock() + time
      // Nothing outlives its time, also where nobody asks any more.
      setTimeout(() => {
        if (this.#entries.get(name) === entry) this.#entries.delete(name)
      }, time).unref()
    }
    coming.then(
      value => {
        entry.value = value
        keep(timeToLive)
      },
      (error: unknown) => {
        const code = error instanceof SseError ? error.code : undefined
        if (code !== undefined && refused.has(code)) keep(refusals)
        else if (code !== undefined && failed.has(code)) keep(failures)
        else if (this.#entries.get(name) === entry) this.#entries.delete(name)
      },
    )
    return coming
  }
}

/**
 * Keeps unwrapped data keys and descriptions for a time. Changes of a key that go through it are seen at once.
 *
 * {@includeCode ../../../test/examples/kms.test.ts#decorators}
 */
export const withCache = (manager: KeyManager, options: KeyCacheOptions = {}): KeyManager => {
  const bounds = {
    timeToLive: options.timeToLive ?? 300_000,
    refusals: options.refusals ?? 10_000,
    failures: options.failures ?? 1000,
    size: options.size ?? 1000,
    clock: options.clock ?? (() => performance.now()),
  }
  for (const name of ['timeToLive', 'refusals', 'failures', 'size'] as const) {
    if (!Number.isSafeInteger(bounds[name]) || bounds[name] < 0 || bounds[name] > 86_400_000) {
      throw new RangeError(`${name} of the key cache is an integer from 0 to 86,400,000`)
    }
  }
  const keys = new Answers<DataKey>(bounds, key => key.dispose())
  const descriptions = new Answers<ManagedKey>(bounds, () => undefined)
  const changing = around(manager, async ({ operation, key = '', call }, run) => {
    try {
      return await run(call)
    } finally {
      if (['rotate', 'enable', 'disable', 'scheduleDeletion', 'cancelDeletion'].includes(operation)) {
        keys.forget(key)
        descriptions.forget(key)
      }
    }
  })
  return {
    ...changing,
    unwrapDataKey: async (request, call = {}) => {
      const ask = (given: CallOptions) => manager.unwrapDataKey(request, given)
      const kept = await keys.get(nameOf(request), request.wrapped.keyId, ask, call)
      return new DataKey(copy(kept.bytes))
    },
    describe: (key, call = {}) => descriptions.get(key, key, given => manager.describe(key, given), call),
    close: () => {
      keys.clear()
      descriptions.clear()
      return manager.close?.()
    },
  }
}
