/**
 * What a provider of master keys does: it wraps data keys, and it answers questions about keys. Small, so that cache, retry, breaker and
 * routing can be decorators of it. Beside the seam itself stands which errors it may reject with.
 */
import type { ErrorCode } from '../errors.ts'
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
  /** Full id: what records hold. */
  readonly keyId: string
  /** The ARN that clients see, where it is not the full id. */
  readonly arn?: string | undefined
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

/** What a default key is asked for. */
export interface DefaultKeyScope extends KeyScope {
  /** The bucket that the object is written to, where one is: several key managers may be told apart by it. */
  readonly bucket?: string | undefined
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

/** What every call to a provider may be given. */
export interface CallOptions {
  /** Aborts the call, which rejects with the signal's reason then. */
  readonly signal?: AbortSignal | undefined
  /** Asks the key manager itself, past every cache: for what outlives the master key. Default `false`. */
  readonly fresh?: boolean | undefined
  /** Called by a cache that answers in the key manager's place. */
  readonly onCached?: (() => void) | undefined
  /** Told of every use of a master key, also where a key in memory made no call: for an audit. */
  readonly onKeyUse?: ((use: KeyUse) => void) | undefined
}

/** A use of a master key that has ended. */
export interface KeyUse {
  /** What it was used for. */
  readonly operation: 'generate' | 'wrap' | 'unwrap' | 'rewrap'
  /** Name of the provider. */
  readonly provider: string
  /** Full id of the master key. */
  readonly keyId: string
  /** Version of the key, where the wrapped key tells it. */
  readonly version: number | undefined
  /** Whether no call was made: a bucket key or data key was in memory. */
  readonly cached: boolean
  /** `ok`; the code of the error; `aborted` where the caller left. */
  readonly outcome: string
}

/** Which accepted keys are asked for. */
export interface AcceptScope extends KeyScope {
  /** The full id that a stored record names: that key is answered or none, and nothing is listed. */
  readonly keyId?: string | undefined
  /** Answers default keys alone. */
  readonly origin?: 'service' | undefined
}

/** A master key that objects may lie under. */
export interface AcceptedKey {
  /** Name of the provider, such as `local`. */
  readonly provider: string
  /** The full id, compared byte for byte. */
  readonly keyId: string
  /** The ARN that clients see, where it is not the full id. */
  readonly arn?: string | undefined
  /** For `local`: the lowest key version. */
  readonly lowestVersion?: number | undefined
}

/**
 * Wraps and unwraps data keys: what a key manager of your own must do. A call rejects with an `SseError` of these codes:
 * `KeyNotFound`, `KeyDisabled`, `KeyPendingDeletion`, `KeyAccessDenied`, `KmsThrottled`, `KmsUnavailable`, and `NotAuthentic` where a blob
 * does not unwrap under this key and context, which is a MUST where `bindsContext` is true. What else it rejects with becomes `KmsUnavailable`.
 */
export interface DataKeyWrapper {
  /** The name that records hold, such as `local` or `aws-kms`: 1 to 32 of `[a-z0-9-]`. */
  readonly name: string
  /**
   * Whether a blob fails to unwrap under another context. The configured mechanism says so, no probe does. Where it is false, data keys
   * are wrapped under outer keys that bind the context (wrapAlg 4), and records of wrapAlg 1 are refused.
   */
  readonly bindsContext: boolean
  /** Whether a full id names a key of this one. Needed where two providers have the same name, such as two HSMs. */
  holds?(keyId: string): boolean
  /** A new 32-byte data key under a master key and context. */
  generateDataKey(target: WrapTarget, call?: CallOptions): Promise<GeneratedKey>
  /** Wraps a key that exists: rewraps across providers need it. */
  wrapDataKey(key: DataKey, target: WrapTarget, call?: CallOptions): Promise<WrappedKey>
  /** The data key of a wrapped one. The caller disposes it. */
  unwrapDataKey(request: UnwrapRequest, call?: CallOptions): Promise<DataKey>
  /** Moves a wrapped key to another master key or context, inside the KMS where it can. */
  rewrapDataKey(request: RewrapRequest, call?: CallOptions): Promise<WrappedKey>
}

/** Answers questions about master keys: what a gateway needs besides. Calls reject as those of {@link DataKeyWrapper} do. */
export interface KeyAdministration {
  /** Whether default keys are recorded by it: a gateway records those of others in its store. */
  readonly recordsDefaults?: boolean | undefined
  /** What is known of a master key. */
  describeKey(query: KeyQuery, call?: CallOptions): Promise<KeyDescription>
  /** The default master key of a tenant in a region, made if there is none; two that ask at once get the same. */
  defaultKey(scope: DefaultKeyScope, call?: CallOptions): Promise<KeyDescription>
  /**
   * The keys that a tenant's objects in a region may lie under. A key id that is malformed, unknown or another tenant's answers none; a KMS
   * that cannot be reached rejects.
   */
  acceptedKeys(scope: AcceptScope, call?: CallOptions): Promise<readonly AcceptedKey[]>
}

/** A key manager: both of its sides. */
export interface KmsProvider extends DataKeyWrapper, KeyAdministration {}

/** What makes and wraps data keys: a provider, or a bucket key of one. */
export type KeyWrapper = Pick<DataKeyWrapper, 'generateDataKey' | 'wrapDataKey'>

/**
 * The codes that a provider rejects with. `InvalidKeyId`, `KeyringCorrupt`, `KeyringTooNew` and `WrongCustomerKey` are those of the providers that are
 * built in; `NotImplemented` is what administration answers that a KMS does not have.
 */
export const providerCodes: ReadonlySet<ErrorCode> = new Set([
  'KeyNotFound',
  'KeyDisabled',
  'KeyPendingDeletion',
  'KeyAccessDenied',
  'KmsThrottled',
  'KmsUnavailable',
  'NotAuthentic',
  'InvalidKeyId',
  'KeyringCorrupt',
  'KeyringTooNew',
  'WrongCustomerKey',
  'NotImplemented',
])

/** `arn:aws:kms:REGION:DOMAIN:key/ID`, the form that every answer has. */
export const formatArn = (region: string, domainId: string, id: string): string =>
  `arn:aws:kms:${region}:${domainId}:key/${id}`
