/**
 * The KMS seam: what a provider of master keys does for us. Small, so that cache, retry, breaker and routing can be decorators of it.
 */
import type { EncryptionContext } from './context.ts'
import type { DataKey } from './data-key.ts'

/** How a key is wrapped (format.md, section 6): 1 the provider's opaque blob, 2 local, 3 under a bucket key, 4 under an outer key. */
export type WrapAlg = 1 | 2 | 3 | 4

/** A data key as it lies at rest. */
export interface WrappedKey {
  /** Name of the provider: 1 to 32 of `[a-z0-9-]`. */
  readonly provider: string
  /** The full ARN or URI of the master key, never an alias; empty with `sse-c`. */
  readonly keyId: string
  /** How `blob` is to be read. */
  readonly wrapAlg: WrapAlg
  /** The wrapped key. */
  readonly blob: Uint8Array
}

/** State of a master key. */
export type KeyState = 'enabled' | 'disabled' | 'pending-deletion'

/** What a provider tells of a master key. */
export interface KeyDescription {
  /** Full ARN or URI. */
  readonly keyId: string
  /** Whether it may be used. */
  readonly state: KeyState
  /** Who made it: the service (a default key), or a customer. */
  readonly origin: 'service' | 'customer'
  /** Region that it lives in, where the provider has regions. */
  readonly region?: string | undefined
  /** Tenant (OBS: domain; AWS: account) that owns it, where the provider has tenants. */
  readonly domainId?: string | undefined
  /** Version that wraps now, where the provider counts versions. */
  readonly version?: number | undefined
  /** When it was made, in ms since 1970. */
  readonly created?: number | undefined
  /** When it will be destroyed, in ms since 1970. */
  readonly deletion?: number | undefined
  /** Its aliases, without `alias/`. */
  readonly aliases: readonly string[]
}

/** Tenant and region: what a default key belongs to, and what short key ids and aliases are looked up in. */
export interface KeyScope {
  /** Region that the key lives in. */
  readonly region: string
  /** Tenant that owns it (OBS: domain; AWS: account). */
  readonly domainId: string
}

/** Names a key: the full id; or, within a scope, a short id or `alias/NAME`. */
export interface KeyQuery {
  /** Full id, short id or `alias/NAME`. */
  readonly keyId: string
  /** Where short ids and aliases are looked up. */
  readonly scope?: KeyScope | undefined
}

/** A new data key, plain and wrapped. The caller disposes `key`. */
export interface GeneratedKey {
  /** The key itself. */
  readonly key: DataKey
  /** The same key as it is to be stored. */
  readonly wrapped: WrappedKey
}

/** To unwrap: the wrapped key (its wrapAlg is the provider's own, 1 or 2), and the context it was wrapped under. */
export interface UnwrapRequest {
  /** The key at rest. */
  readonly wrapped: WrappedKey
  /** The context that it was wrapped under; another one fails. */
  readonly context: EncryptionContext
}

/** To rewrap: from a wrapped key and its context to another master key, or context, of the same provider. */
export interface RewrapRequest {
  /** The key as it lies now. */
  readonly from: UnwrapRequest
  /** Where it goes. */
  readonly to: WrapTarget
}

/** Under what a key is to be wrapped. */
export interface WrapTarget {
  /** Full id of the master key. */
  readonly keyId: string
  /** What is authenticated with the wrapped key. */
  readonly context: EncryptionContext
}

/**
 * One implementation of a key manager. Every call rejects with an `SseError`: `KeyNotFound`, `KeyDisabled`, `KeyPendingDeletion`,
 * `KeyAccessDenied`, `KmsThrottled`, `KmsUnavailable`, and `NotAuthentic` where a blob does not unwrap under this key and context, which
 * is a MUST.
 */
export interface KmsProvider {
  /** The name that records hold, such as `local` or `aws-kms`. */
  readonly name: string
  /** A new 32-byte data key under a master key and context. */
  generateDataKey(target: WrapTarget): Promise<GeneratedKey>
  /** Wraps a key that exists: rewraps across providers need it. */
  wrapDataKey(key: DataKey, target: WrapTarget): Promise<WrappedKey>
  /** The data key of a wrapped one. The caller disposes it. */
  unwrapDataKey(request: UnwrapRequest): Promise<DataKey>
  /** Moves a wrapped key to another master key or context, inside the KMS where it can. */
  rewrapDataKey(request: RewrapRequest): Promise<WrappedKey>
  /** What is known of a master key. */
  describeKey(query: KeyQuery): Promise<KeyDescription>
  /** The default master key of a tenant in a region, made if there is none; two that ask at once get the same. */
  defaultKey(scope: KeyScope): Promise<KeyDescription>
}

/** What makes and wraps data keys: a provider, or a bucket key of one. */
export type KeyWrapper = Pick<KmsProvider, 'generateDataKey' | 'wrapDataKey'>
