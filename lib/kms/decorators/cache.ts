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

/** What is known of a question for a time. */
interface Kept<T> {
  readonly keyId: string
  readonly until: number
  readonly value: T
}

/** A call that is under way, and who asks the same waits for. */
interface Asked<T> {
  readonly keyId: string
  readonly coming: Promise<T>
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

/**
 * Answers of one kind. Identical questions under way are one call, which a caller that leaves does not end. Errors are kept apart from
 * answers: however many questions fail, what is known stays.
 */
class Answers<T> {
  readonly #answers: Lru<string, Kept<T>>
  readonly #errors: Lru<string, Kept<SseError>>
  readonly #asked = new Map<string, Asked<T>>()
  readonly #options: Bounds
  readonly #wipe: (value: T) => void

  constructor(options: Bounds, wipe: (value: T) => void) {
    this.#options = options
    // Later than whoever was just given it has copied it.
    this.#wipe = value => void setImmediate(() => wipe(value))
    this.#answers = new Lru({ most: options.size, onEvict: ({ value }) => this.#wipe(value) })
    this.#errors = new Lru({ most: options.size })
  }

  async get(name: string, keyId: string, ask: (call: CallOptions) => Promise<T>, call: CallOptions): Promise<T> {
    if (call.fresh !== true) {
      const answer = this.#fresh(this.#answers, name)
      if (answer !== undefined) {
        call.onCached?.()
        return answer.value
      }
      const error = this.#fresh(this.#errors, name)
      if (error !== undefined) throw error.value
    }
    const asked = call.fresh === true ? undefined : this.#asked.get(name)
    const { coming } = asked ?? this.#ask(name, keyId, () => ask({ fresh: call.fresh }))
    return orAborted(coming, call.signal)
  }

  /** Lets go of what is known of a master key; answers on their way are not kept. */
  forget(keyId: string): void {
    for (const known of [this.#answers, this.#errors, this.#asked]) {
      for (const [name, entry] of [...known.entries()]) if (entry.keyId === keyId) known.delete(name)
    }
  }

  clear(): void {
    for (const known of [this.#answers, this.#errors, this.#asked]) known.clear()
  }

  #fresh<V>(known: Lru<string, Kept<V>>, name: string): Kept<V> | undefined {
    const entry = known.get(name)
    return entry !== undefined && this.#options.clock() < entry.until ? entry : undefined
  }

  #ask(name: string, keyId: string, ask: () => Promise<T>): Asked<T> {
    const { timeToLive, refusals, failures } = this.#options
    const asked: Asked<T> = { keyId, coming: ask() }
    this.#asked.set(name, asked)
    /** Whether it is still the answer that is waited for. */
    const isWanted = (): boolean => this.#asked.get(name) === asked && this.#asked.delete(name)
    asked.coming.then(
      value => {
        if (!isWanted()) return this.#wipe(value)
        this.#errors.delete(name)
        this.#keep(this.#answers, name, { keyId, value }, timeToLive)
      },
      (error: unknown) => {
        if (!isWanted() || !(error instanceof SseError)) return
        const refuses = refused.has(error.code)
        if (refuses) this.#answers.delete(name)
        if (refuses || failed.has(error.code)) {
          this.#keep(this.#errors, name, { keyId, value: error }, refuses ? refusals : failures)
        }
      },
    )
    return asked
  }

  #keep<V>(known: Lru<string, Kept<V>>, name: string, answer: Pick<Kept<V>, 'keyId' | 'value'>, time: number): void {
    const entry = { ...answer, until: this.#options.clock() + time }
    known.set(name, entry)
    // Nothing outlives its time, also where nobody asks any more.
    setTimeout(() => {
      if (known.get(name) === entry) known.delete(name)
    }, time).unref()
  }
}

/**
 * Keeps unwrapped data keys and descriptions for a time. Changes of a key that go through it are seen at once.
 *
 * {@includeCode ../../../test/examples/kms.test.ts#decorators}
 */
export const withCache = (manager: KeyManager, options: KeyCacheOptions = {}): KeyManager & AsyncDisposable => {
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
  const close: KeyManager['close'] = () => {
    keys.clear()
    descriptions.clear()
    return manager.close?.()
  }
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
    close,
    [Symbol.asyncDispose]: async () => close(),
  }
}
