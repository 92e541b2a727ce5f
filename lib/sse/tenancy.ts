/**
 * Who asks and who owns: tenants, callers and how a request was signed, with the questions that the rules of `profile.ts` put to them.
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
