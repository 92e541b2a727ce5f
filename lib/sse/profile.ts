/**
 * The two sets of rules, as data: `obs` is the OBS page "SSE-KMS" (strict), `s3` is Amazon's. Each field says what holds. The functions in
 * `authorize.ts` read them.
 */

/** A tenant (OBS: domain, S3: account) with its one KMS project in this region. */
export interface Tenant {
  /** Domain id. */
  readonly domainId: string
  /** Project id; there is one a tenant and region. */
  readonly projectId: string
}

/** An authenticated user of a tenant. */
export interface Caller extends Tenant {
  /** User name, for messages and logs. */
  readonly name: string
  /** Roles such as {@link tenantAdmin}. */
  readonly roles: readonly string[]
  /** Access key id. Grants name a user by it, since a name may be another's too. */
  readonly accessKeyId?: string | undefined
}

/** A request without a signature. */
export interface AnonymousRequester {
  /** Says which member of a union this is. */
  readonly kind: 'anonymous'
}

/** A request whose signature was verified. */
export interface SignedRequester {
  /** Says which member of a union this is. */
  readonly kind: 'signed'
  /** Whose secret key signed it. */
  readonly caller: Caller
  /** AWS Signature Version 4 or 2, or OBS's own. */
  readonly signature: 'v4' | 'v2' | 'obs'
}

/** Who a request comes from, as far as authentication goes. */
export type Requester = AnonymousRequester | SignedRequester

/**
 * The role that the OBS page asks for: "Only users with the tenant_admin role can use SSE-KMS interfaces."
 *
 * {@includeCode ../../test/examples/rules.test.ts#who}
 */
export const tenantAdmin = 'tenant_admin'

/** Whether a caller has a role. */
export const hasRole = (caller: Caller, role: string): boolean => caller.roles.includes(role)

/** Whether two belong to the same tenant. Projects do not count: a tenant is its domain. */
export const sameTenant = (a: Pick<Tenant, 'domainId'>, b: Pick<Tenant, 'domainId'>): boolean =>
  a.domainId === b.domainId

/** Which service's rules hold. */
export type ProfileName = 'obs' | 's3'

/** A set of rules and the region that it is served in. */
export interface Profile {
  /** Whose rules these are. */
  readonly name: ProfileName
  /** The region of this service; keys of others are refused. */
  readonly region: string
  /** Whether keys that customers made may be used. OBS page: "does not support the keys created by customers". */
  readonly customerKeys: boolean
  /** What an object gets that neither request nor bucket say anything about. */
  readonly baseEncryption: 'none' | 'sse-s3'
  /** The checksum of a body that came without one. */
  readonly defaultChecksum: 'none' | 'crc64nvme'
  /** Whether headers of encryption are ignored on parts and Complete instead of refused. */
  readonly lenientParts: boolean
  /** The role that SSE-KMS takes; `undefined` for none. */
  readonly kmsRole: string | undefined
  /** Whether a client may give an encryption context. */
  readonly clientContext: boolean
  /** Whether a key may be named by an alias. */
  readonly aliases: boolean
  /** Whether SSE-KMS takes Signature Version 4. */
  readonly kmsNeedsV4: boolean
  /** Whether an encrypted object may be copied from one tenant to another. */
  readonly crossTenantCopies: boolean
  /** Whether bodies may come in HTTP's own chunks, their length not told before: OBS's client sends files so. */
  readonly unknownLength: boolean
  /** Bytes that every part of an upload has at least, but for the last one. */
  readonly minimumPartSize: number
  /** Whether open uploads keep a bucket from being deleted; else they go with it. */
  readonly uploadsKeepBucket: boolean
}

/** What an operator may choose. */
export interface ProfileOptions {
  /** The region of this service. */
  readonly region: string
  /** Default: false in `obs`, true in `s3`. */
  readonly customerKeys?: boolean
  /** Default: `none` in `obs`, `sse-s3` in `s3`. */
  readonly baseEncryption?: 'none' | 'sse-s3'
  /** Default: `none` in `obs`, `crc64nvme` in `s3`. */
  readonly defaultChecksum?: 'none' | 'crc64nvme'
  /** Default: false. */
  readonly lenientParts?: boolean
}

const sets = {
  obs: {
    customerKeys: false,
    baseEncryption: 'none',
    defaultChecksum: 'none',
    lenientParts: false,
    kmsRole: tenantAdmin,
    clientContext: false,
    aliases: false,
    kmsNeedsV4: false,
    crossTenantCopies: false,
    unknownLength: true,
    minimumPartSize: 100 * 1024,
    uploadsKeepBucket: true,
  },
  s3: {
    customerKeys: true,
    baseEncryption: 'sse-s3',
    defaultChecksum: 'crc64nvme',
    lenientParts: false,
    kmsRole: undefined,
    clientContext: true,
    aliases: true,
    kmsNeedsV4: true,
    crossTenantCopies: true,
    unknownLength: false,
    minimumPartSize: 5 * 1024 * 1024,
    uploadsKeepBucket: false,
  },
} as const satisfies Record<ProfileName, Omit<Profile, 'name' | 'region'>>

/**
 * A profile with the operator's choices.
 *
 * {@includeCode ../../test/examples/rules.test.ts#who}
 *
 * @param options The region, and what differs from the profile of that name.
 */
export const createProfile = (
  name: ProfileName,
  {
    region,
    customerKeys = sets[name].customerKeys,
    baseEncryption = sets[name].baseEncryption,
    defaultChecksum = sets[name].defaultChecksum,
    lenientParts = sets[name].lenientParts,
  }: ProfileOptions,
): Profile => ({ ...sets[name], name, region, customerKeys, baseEncryption, defaultChecksum, lenientParts })
