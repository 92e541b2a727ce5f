/** Engines that remember the keys that they were given, so that a test sees them wiped, and what happened in which order. */
import type { AsyncEngine, SyncEngine } from '../../lib/cipher/engine.ts'

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
        }
      },
    },
  }
}
