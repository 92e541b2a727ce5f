/** What a gateway is made of, as types: options, users, and what it logs. */
import type { SseError } from '../errors.ts'
import type { KeyAdministration, KeyUse } from '../kms/provider.ts'
import type { Sse } from '../object/node.ts'
import type { KeyGrant, KeyRight } from '../sse/grants.ts'
import type { Caller, Profile, Tenant } from '../sse/profile.ts'
import type { ObjectStore } from '../store/store.ts'
import type { GatewayLimits } from './limits.ts'

/** A user that may sign requests. */
export interface GatewayUser extends Caller {
  /** Names the user in a signature. */
  readonly accessKeyId: string
  /** Signs; never leaves the process. */
  readonly secretAccessKey: string
}

/** A request that was answered, for a log: never a secret, a signature or a body. */
export interface AccessLogEntry {
  /** When it came, ISO 8601. */
  readonly time: string
  /** What the answer says in `x-amz-request-id`, or `x-obs-request-id` to OBS clients. */
  readonly requestId: string
  /** The client's address. */
  readonly remote: string
  /** Name of the user who signed; absent for an unsigned request and for a signature that does not match. */
  readonly user: string | undefined
  /** The HTTP method. */
  readonly method: string
  /** The path as it was sent, without the query. */
  readonly path: string
  /** Name of the action, as S3 gives it; absent where the request was not understood. */
  readonly action: string | undefined
  /** The HTTP status. */
  readonly status: number
  /** From the request to the end of the answer. */
  readonly milliseconds: number
  /** Bytes that came on the connection since its answer before. */
  readonly received: number
  /** Bytes that went on it since then. */
  readonly sent: number
  /** What went wrong, its cause included: for the operator alone. */
  readonly error?: SseError | undefined
}

/** A use of a master key, or the refusal of one for want of a right, for an audit: never a secret. */
export interface KeyUseEntry extends Omit<KeyUse, 'provider' | 'keyId'> {
  /** When it ended, ISO 8601. */
  readonly time: string
  /** What the answer says in `x-amz-request-id`. */
  readonly requestId: string
  /** Name of the user who signed; absent for an unsigned request. */
  readonly user: string | undefined
  /** The user's access key id, which is unique. */
  readonly accessKeyId: string | undefined
  /** The user's tenant. */
  readonly tenant: string | undefined
  /** Name of the action, as S3 gives it. */
  readonly action: string
  /** The bucket that the request names. */
  readonly bucket: string | undefined
  /** The object's key that the request names. */
  readonly key: string | undefined
  /** Name of the provider; absent where a right was missing, and none was asked. */
  readonly provider: string | undefined
  /** Full id of the master key; absent where a default key was asked for by somebody who may use no key. */
  readonly keyId: string | undefined
  /** The right that was missing; `outcome` is `KeyAccessDenied` then. */
  readonly missing?: KeyRight | undefined
}

/** What a gateway is made of. */
export interface GatewayOptions {
  /** Where objects live. */
  readonly store: ObjectStore
  /** Which keys tenants have: a `LocalKms`, or `registered` key managers. */
  readonly kms: KeyAdministration
  /** Encrypts and decrypts; its own accepted keys are replaced at every call by the owner's. */
  readonly sse: Sse
  /** The rules of the service. */
  readonly profile: Profile
  /** The tenants: a user's tenant is one of them. */
  readonly tenants: readonly Tenant[]
  /** Who may sign requests. */
  readonly users: readonly GatewayUser[]
  /**
   * Rights to use master keys. Tenants that have grants are judged by them alone, whatever roles their users have; in the others every user may use
   * every key of the tenant, in the profile `obs` with the role tenant_admin. Keys of the service (SSE-S3) take no right.
   */
  readonly keyGrants?: readonly KeyGrant[] | undefined
  /** Hosts whose subdomains are bucket names; on any other host the bucket stands in the path. */
  readonly hosts?: readonly string[] | undefined
  /** Says that connections are safe for customer keys though they are not TLS: a TLS proxy stands in front. */
  readonly trustTransport?: boolean | undefined
  /** What clients may take; each limit has a default. */
  readonly limits?: Partial<GatewayLimits> | undefined
  /**
   * Milliseconds until a Complete or copy that takes long is answered in advance, and then a blank each time: 200, and an error is the document
   * that follows. Default 10,000.
   */
  readonly blankEvery?: number | undefined
  /** What happens to each request. */
  readonly log?: ((entry: AccessLogEntry) => void) | undefined
  /** Told of each use of a master key, also where a key in memory made no call, and of each that was refused for want of a right. */
  readonly audit?: ((entry: KeyUseEntry) => void) | undefined
  /** Milliseconds since 1970. */
  readonly clock?: (() => number) | undefined
}
