/**
 * Accepted keys (format.md, section 6): the descriptor's tag does not say who chose the data key, so a reader is told which master keys
 * it may lie under, and refuses every other before any call to a KMS.
 */
import { view } from '../bytes.ts'
import { SseError } from '../errors.ts'
import type { WrappedKey } from '../kms/provider.ts'
import { splitNested } from '../kms/wrap.ts'

/** A master key that objects may lie under. */
export interface AcceptedKey {
  /** Name of the provider, such as `local`. */
  readonly provider: string
  /** The full id, compared byte for byte. */
  readonly keyId: string
  /** For `local`: the lowest key version. */
  readonly lowestVersion?: number | undefined
}

const versionOf = (wrapped: WrappedKey): number =>
  wrapped.wrapAlg === 2 ? view(wrapped.blob).getUint32(0) : view(splitNested(wrapped).inner.blob).getUint32(0)

/** Throws {@link SseError} `KeyNotAccepted` unless the wrapped key's master key is among the accepted ones. */
export const assertAccepted = (wrapped: WrappedKey, accept: readonly AcceptedKey[]): void => {
  const found = accept.some(
    ({ provider, keyId, lowestVersion = 0 }) =>
      provider === wrapped.provider &&
      keyId === wrapped.keyId &&
      (provider !== 'local' || versionOf(wrapped) >= lowestVersion),
  )
  if (!found) throw new SseError('KeyNotAccepted')
}
