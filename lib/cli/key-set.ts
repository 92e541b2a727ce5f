/** Keys that a command uses: those of one key store or key manager, or of several. */
import { SseError } from '../errors.ts'
import type { AcceptedKey, DataKeyWrapper } from '../kms/provider.ts'

/** Keys to encrypt and decrypt with, until {@link Keys.close}. */
export interface Keys {
  readonly kms: readonly DataKeyWrapper[]
  /** The named key. Without a name: of a key store, the oldest enabled key that a customer made, else the default key. */
  choose(name: string | undefined): Promise<AcceptedKey>
  /** The keys that files may be encrypted under: all, or the named one. */
  accepted(name: string | undefined): Promise<readonly AcceptedKey[]>
  /** Wipes the keys in memory. */
  close(): Promise<void>
}

const isUnknownKey = (error: unknown): boolean =>
  error instanceof SseError && (error.code === 'KeyNotFound' || error.code === 'InvalidKeyId')

/** Several sources of keys as one. A name is looked up in each, in their order. */
export const joined = (sources: readonly Keys[]): Keys => {
  const choose = async (name: string | undefined): Promise<AcceptedKey> => {
    let problem: unknown
    for (const source of sources) {
      try {
        return await source.choose(name)
      } catch (error) {
        if (!isUnknownKey(error)) throw error
        problem ??= error
      }
    }
    throw problem
  }
  return {
    kms: sources.flatMap(({ kms }) => kms),
    choose,
    accepted: async name =>
      name === undefined
        ? (await Promise.all(sources.map(source => source.accepted(undefined)))).flat()
        : [await choose(name)],
    close: async () => {
      for (const source of sources) await source.close()
    },
  }
}
