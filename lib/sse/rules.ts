/**
 * The rules of SSE-KMS, each a function that a server calls by name and that throws or lets pass. The order in which they are asked is in
 * `authorize.ts`; the sources are the OBS page "SSE-KMS" ([1]) and Amazon's documentation ([2]), as the semantics list them.
 */

import { SseError } from '../errors.ts'
import type { KeyDescription } from '../kms/provider.ts'
import { assertKeyScope, invalidKeyId, type KeyReference } from './key-id.ts'
import { contextHeader } from './names.ts'
import type { Profile } from './profile.ts'
import { badArgument, denied } from './refusal.ts'
import { hasRole, sameTenant, type Caller, type Requester, type Tenant } from './tenancy.ts'

/** A master key as far as the rules need to know it: what a KMS provider describes. */
export type UsableKey = Pick<KeyDescription, 'keyId' | 'state' | 'origin' | 'region' | 'domainId'>

/**
 * `obs`: a client gives no encryption context ([1] has no such header; semantics, section 2).
 *
 * {@includeCode ../../test/examples/rules.test.ts#rules}
 *
 * @throws {SseError} `InvalidArgument`.
 */
export const assertContextAllowed = (profile: Profile, context: ReadonlyMap<string, string> | undefined): void => {
  if (context === undefined || profile.clientContext) return
  const message = 'An encryption context is not supported here. Leave the header out.'
  throw new SseError('InvalidArgument', { message, details: { ArgumentName: contextHeader } })
}

/**
 * `obs`: a key is named by its id or ARN, not by an alias (semantics, section 1).
 *
 * {@includeCode ../../test/examples/rules.test.ts#rules}
 *
 * @throws {SseError} `InvalidKeyId`.
 */
export const assertAliasAllowed = (profile: Profile, key: KeyReference | undefined): void => {
  if (key?.kind === 'alias' && !profile.aliases) throw invalidKeyId(`alias/${key.name}`)
}

/**
 * `s3`: SSE-KMS takes Signature Version 4 ([2]). `obs`: any signature, but not an anonymous request. Returns the caller.
 *
 * {@includeCode ../../test/examples/rules.test.ts#rules}
 *
 * @throws {SseError} `InvalidArgument`, "… require AWS Signature Version 4.", or `AccessDenied`.
 */
export const assertSigned = (profile: Profile, requester: Requester): Caller => {
  const v4 = requester.kind === 'signed' && requester.signature === 'v4'
  if (profile.kmsNeedsV4 && !v4) {
    const message =
      'Requests specifying Server Side Encryption with AWS KMS managed keys require AWS Signature Version 4.'
    throw badArgument(message, 'Authorization', undefined)
  }
  if (requester.kind === 'anonymous') throw denied('SSE-KMS is not for anonymous requests. Sign the request.')
  return requester.caller
}

/**
 * `obs`: "Only users with the tenant_admin role can use SSE-KMS interfaces" ([1]), for writes and for reading such an object.
 *
 * {@includeCode ../../test/examples/rules.test.ts#rules}
 *
 * @throws {SseError} `AccessDenied`, which names the role.
 */
export const assertKmsRole = ({ kmsRole }: Profile, caller: Caller): void => {
  if (kmsRole === undefined || hasRole(caller, kmsRole)) return
  throw denied(`Only users with the ${kmsRole} role can use SSE-KMS. Ask an administrator of the tenant for it.`)
}

/**
 * "The bucket ACL and policy do not allow cross-tenant authorized access to objects encrypted using SSE-KMS" ([1]), in both profiles.
 *
 * {@includeCode ../../test/examples/rules.test.ts#rules}
 *
 * @throws {SseError} `AccessDenied`.
 */
export const assertOwnTenant = (caller: Caller, owner: Tenant): void => {
  if (sameTenant(caller, owner)) return
  throw denied(
    'Objects encrypted with SSE-KMS are for the tenant that owns the bucket, whatever its ACL or policy says.',
  )
}

/**
 * "OBS does not support KMS with multiple projects" ([1]): whoever names a project, or comes from one, names the tenant's own. Both profiles.
 *
 * {@includeCode ../../test/examples/rules.test.ts#rules}
 *
 * @throws {SseError} `InvalidArgument`.
 */
export const assertSingleProject = (projectId: string | undefined, owner: Tenant): void => {
  if (projectId === undefined || projectId === owner.projectId) return
  const message = 'KMS with multiple projects is not supported. Leave the project out, or use the one of the tenant.'
  throw new SseError('InvalidArgument', { message })
}

/**
 * "The SSE-KMS mode does not support the keys created by customers" ([1]); the option `customerKeys` allows them, and `s3` does.
 *
 * {@includeCode ../../test/examples/rules.test.ts#origin}
 *
 * @throws {SseError} `AccessDenied`, "SSE-KMS here uses the default master key".
 */
export const assertKeyOrigin = ({ customerKeys }: Profile, { origin }: UsableKey): void => {
  if (origin === 'customer' && !customerKeys)
    throw denied('SSE-KMS here uses the default master key. Leave the key id out, or name the default key.')
}

/**
 * A key is enabled, on writes and on reads ([2]).
 *
 * {@includeCode ../../test/examples/rules.test.ts#rules}
 *
 * @throws {SseError} `KeyDisabled`, "ARN is disabled."; `KeyPendingDeletion`, "ARN is pending deletion.".
 */
export const assertKeyEnabled = ({ keyId, state }: UsableKey): void => {
  if (state === 'disabled') throw new SseError('KeyDisabled', { message: `${keyId} is disabled.` })
  if (state === 'pending-deletion')
    throw new SseError('KeyPendingDeletion', { message: `${keyId} is pending deletion.` })
}

/**
 * All that is asked of a key once the KMS has described it: its region and tenant are this one's (both profiles), who made it, its state. In
 * this order, so that nobody learns the state of a key that is not for him. Of a provider without tenants, a key belongs to whom it was
 * configured for.
 *
 * With `customerKeys` in `obs`, a custom key "of a non-default project serves its owner only": there is one project a tenant, so the owner is
 * the tenant, and `assertOwnTenant` has seen to it.
 *
 * {@includeCode ../../test/examples/rules.test.ts#write}
 *
 * @throws {SseError} `KeyNotFound`, `KeyAccessDenied`, `AccessDenied`, `KeyDisabled`, `KeyPendingDeletion`.
 */
export const assertKeyUsable = (profile: Profile, key: UsableKey, owner: Tenant): void => {
  assertKeyScope(key, { region: profile.region, domainId: owner.domainId })
  assertKeyOrigin(profile, key)
  assertKeyEnabled(key)
}
