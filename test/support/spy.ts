/** Engines that remember the keys that they were given, so that a test sees them wiped, and what happened in which order; and such a KMS. */
import type { MaybePromise } from '../../lib/bytes.ts'
import type { AsyncEngine, SyncEngine } from '../../lib/cipher/engine.ts'
import type { DataKey } from '../../lib/kms/data-key.ts'
import type { KmsProvider } from '../../lib/kms/provider.ts'

/** What a spied engine saw. */
export interface Seen {
  /** The very arrays that were given as keys of segments. */
  readonly keys: Uint8Array[]
  /** `open`, `sealed`, `opened` (a tag was checked), `dispose`. */
  readonly events: string[]
}

/** A synchronous engine, spied on. */
export const spySync = (engine: SyncEngine): { readonly engine: SyncEngine; readonly seen: Seen } => {
  const seen: Seen = { keys: [], events: [] }
  const note = (event: string) => seen.events.push(event)
  return {
    seen,
    engine: {
      ...engine,
      sealer: (aead, key) => {
        seen.keys.push(key)
        note('open')
        const sealer = engine.sealer(aead, key)
        const final = () => {
          const sealed = sealer.final()
          note('sealed')
          return sealed
        }
        const dispose = () => {
          note('dispose')
          sealer.dispose()
        }
        return { ...sealer, final, dispose }
      },
      opener: (aead, key) => {
        seen.keys.push(key)
        note('open')
        const opener = engine.opener(aead, key)
        const final = (tag: Uint8Array) => {
          const plaintext = opener.final(tag)
          note('opened')
          return plaintext
        }
        const dispose = () => {
          note('dispose')
          opener.dispose()
        }
        return { ...opener, final, dispose }
      },
    },
  }
}

/** An asynchronous engine, spied on. */
export const spyAsync = (engine: AsyncEngine): { readonly engine: AsyncEngine; readonly seen: Seen } => {
  const seen: Seen = { keys: [], events: [] }
  return {
    seen,
    engine: {
      ...engine,
      segments: async (aead, key) => {
        seen.keys.push(key)
        seen.events.push('open')
        const cipher = await engine.segments(aead, key)
        return {
          seal: async (nonce, plaintext) => {
            const sealed = await cipher.seal(nonce, plaintext)
            seen.events.push('sealed')
            return sealed
          },
          open: async (nonce, sealed) => {
            const plaintext = await cipher.open(nonce, sealed)
            seen.events.push('opened')
            return plaintext
          },
          dispose: () => {
            seen.events.push('dispose')
            cipher.dispose()
          },
        }
      },
    },
  }
}

/** What a spied KMS did. */
export interface SpiedKms<K extends KmsProvider> {
  readonly kms: K
  /** How often it made a data key, and how often it unwrapped one. */
  readonly calls: { generate: number; unwrap: number }
  /** The very keys that it gave. */
  readonly given: DataKey[]
}

/** A KMS that counts its calls and remembers the keys that it gave; `before` is waited for whenever a data key is to be made. */
export const spyKms = <K extends KmsProvider>(
  kms: K,
  before: () => MaybePromise<void> = () => undefined,
): SpiedKms<K> => {
  const calls = { generate: 0, unwrap: 0 }
  const given: DataKey[] = []
  const methods: Partial<KmsProvider> = {
    generateDataKey: async target => {
      await before()
      calls.generate++
      const generated = await kms.generateDataKey(target)
      given.push(generated.key)
      return generated
    },
    unwrapDataKey: async request => {
      calls.unwrap++
      const key = await kms.unwrapDataKey(request)
      given.push(key)
      return key
    },
  }
  const spied = new Proxy(kms, {
    get: (target, name) => {
      const value: unknown = Reflect.get(methods, name) ?? Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return { kms: spied, calls, given }
}

/** Whether a data key was wiped. */
export const wiped = (key: DataKey): boolean => {
  try {
    return key.bytes.length < 0
  } catch {
    return true
  }
}
