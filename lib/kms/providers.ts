/** The providers that a façade is given, and which of them a key belongs to. */
import { SseError } from '../errors.ts'
import type { AcceptedKey, DataKeyWrapper } from './provider.ts'

/** Names a master key as records do. */
type Named = Pick<AcceptedKey, 'provider' | 'keyId'>

/** The providers of a call. */
export interface Providers {
  /** Whether it is a customer's key alone. */
  readonly customer: boolean
  /** The provider that a key belongs to. `KeyNotAccepted` where none of that name is there. */
  of(key: Named): DataKeyWrapper
}

/** The providers of a call with a customer's key. */
export const customerOnly = (provider: DataKeyWrapper): Providers => ({ customer: true, of: () => provider })

/** Several providers, of different names or of the same; those of the same name say which ids they hold. */
export const providersOf = (all: readonly DataKeyWrapper[]): Providers => ({
  customer: false,
  of: ({ provider, keyId }) => {
    const named = all.filter(({ name }) => name === provider)
    const [first, ...others] = named
    const found = others.length === 0 ? first : named.find(each => each.holds?.(keyId) === true)
    if (found !== undefined) return found
    throw new SseError('KeyNotAccepted', {
      message: `The data key lies under a key of ${provider}, and no such key manager is configured here. Add it, or rewrap the object where it is.`,
    })
  },
})

/** Accepted keys, of which those that are named by their id alone belong to the provider that holds it, or to the only one. */
export const acceptedOf = (
  all: readonly DataKeyWrapper[],
  keys: readonly (string | AcceptedKey)[],
): readonly AcceptedKey[] =>
  keys.map(key => {
    if (typeof key !== 'string') return key
    const [first, ...others] = all
    const found = others.length === 0 ? first : all.find(each => each.holds?.(key) === true)
    if (found !== undefined) return { provider: found.name, keyId: key }
    throw new TypeError(`no key manager says that it holds ${key}: name the key as { provider, keyId }`)
  })
