/**
 * A key manager outside this program: AWS KMS, an HSM, Vault. It wraps data keys, and administers master keys as far as it can. It knows keys by names
 * of its own, and knows nothing of tenants, regions and default keys: `registered.ts` adds those.
 */
import type { CallOptions, DataKeyWrapper, KeyState } from './provider.ts'

/** A master key, as the key manager tells of it. */
export interface ManagedKey {
  /** Full id in its one spelling: what records hold. */
  readonly keyId: string
  /** Whether it may be used. */
  readonly state: KeyState
  /** The name that it was made with, where it has one. */
  readonly name?: string | undefined
  /** Version that wraps now, where the key manager counts versions. */
  readonly version?: number | undefined
  /** When it was made, in ms since 1970. */
  readonly created?: number | undefined
  /** When it will be destroyed, in ms since 1970. */
  readonly deletion?: number | undefined
}

/**
 * Wraps data keys, and administers the master keys behind them. What a key manager cannot do is left out. Calls reject as those of
 * {@link DataKeyWrapper} do. A key is named by its full id, or as users of the key manager write it: `describe` answers the full id.
 */
export interface KeyManager extends DataKeyWrapper {
  /** Name of the configured instance, 1 to 32 of `[a-z0-9-]`. It never changes: full ids begin with it, unless they are ARNs. */
  readonly instance: string
  /** What is known of a key. An alias or label is resolved; the answer has the full id. */
  describe(key: string, call?: CallOptions): Promise<ManagedKey>
  /** The keys that were made with this name: none, one, or more where names are no locks. */
  find?(name: string, call?: CallOptions): Promise<readonly ManagedKey[]>
  /** All keys that may be seen. */
  list?(call?: CallOptions): Promise<readonly ManagedKey[]>
  /** Makes a key with a name of 1 to 200 of `[A-Za-z0-9_-]`. Where names are locks and it is taken, the key that has it. */
  create?(name: string, call?: CallOptions): Promise<ManagedKey>
  /** Gives a key a new version. */
  rotate?(keyId: string, call?: CallOptions): Promise<ManagedKey>
  /** Lets a disabled key be used again. */
  enable?(keyId: string, call?: CallOptions): Promise<ManagedKey>
  /** Stops all use of a key. */
  disable?(keyId: string, call?: CallOptions): Promise<ManagedKey>
  /** Destroys a key after a waiting time of days, where the key manager has one; else at once. */
  scheduleDeletion?(
    keyId: string,
    options?: { readonly days?: number | undefined },
    call?: CallOptions,
  ): Promise<ManagedKey>
  /** Keeps a key that is pending deletion. */
  cancelDeletion?(keyId: string, call?: CallOptions): Promise<ManagedKey>
  /** Ends connections and timers, and wipes secrets. May be called twice. */
  close?(): Promise<void> | void
}

/** `holds` of a key manager whose full ids begin with its instance and a colon. */
export const holdsKeysOf =
  (instance: string): NonNullable<KeyManager['holds']> =>
  keyId =>
    keyId.startsWith(`${instance}:`)

/** Checks the name of an instance. */
export const checkInstance = (name: string): string => {
  if (/^[a-z0-9-]{1,32}$/.test(name)) return name
  throw new RangeError('the name of a key manager is 1 to 32 of [a-z0-9-]')
}
