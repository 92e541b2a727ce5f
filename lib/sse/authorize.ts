/**
 * What a request may do. It is decided from the parsed headers, the sender, the bucket and the profile, and always in this order: the headers'
 * own rules, role and tenant, the key. Signature, bucket policy and ACL are checked before. The KMS and the body come after.
 */
import { SseError } from '../errors.ts'
import type { KeyDescription } from '../kms/provider.ts'
import type { BucketEncryption, KmsDefault } from './bucket-encryption.ts'
import type { CustomerKeyRequest } from './customer-key.ts'
import { grantedKeys, type GrantedKeys, type KeyGrants, type KeyRight } from './grants.ts'
import { assertKeyScope, invalidKeyId, type KeyReference, parseKeyReference } from './key-id.ts'
import { badArgument, contextHeader, denied, type EncryptionKind, type Plain, type SseS3 } from './names.ts'
import { type Caller, hasRole, type Profile, type Requester, sameTenant, type Tenant } from './profile.ts'
import type { KmsRequest, SseRequest } from './request.ts'

/** A master key as far as the rules need to know it: what a KMS provider describes. */
export type UsableKey = Pick<KeyDescription, 'keyId' | 'state' | 'origin' | 'region' | 'domainId'>

/**
 * `obs`: a client gives no encryption context ([1] has no such header).
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,one-key,rules}
 *
 * @throws {SseError} `InvalidArgument`.
 */
export const assertContextAllowed = (profile: Profile, context: ReadonlyMap<string, string> | undefined): void => {
  if (context === undefined || profile.clientContext) return
  const message = 'An encryption context is not supported here. Leave the header out.'
  throw new SseError('InvalidArgument', { message, details: { ArgumentName: contextHeader } })
}

/**
 * `obs`: a key is named by its id or ARN, not by an alias.
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,one-key,rules}
 *
 * @throws {SseError} `InvalidKeyId`.
 */
export const assertAliasAllowed = (profile: Profile, key: KeyReference | undefined): void => {
  if (key?.kind === 'alias' && !profile.aliases) throw invalidKeyId(`alias/${key.name}`)
}

/**
 * `s3`: SSE-KMS takes Signature Version 4 ([2]). `obs`: any signature, but not an anonymous request. Returns the caller.
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,one-key,rules}
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
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,one-key,rules}
 *
 * @param profile Names the role, if it wants one.
 * @throws {SseError} `AccessDenied`, which names the role.
 */
export const assertKmsRole = ({ kmsRole }: Profile, caller: Caller): void => {
  if (kmsRole === undefined || hasRole(caller, kmsRole)) return
  throw denied(`Only users with the ${kmsRole} role can use SSE-KMS. Ask an administrator of the tenant for it.`)
}

/**
 * "The bucket ACL and policy do not allow cross-tenant authorized access to objects encrypted using SSE-KMS" ([1]), in both profiles.
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,one-key,rules}
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
 * "OBS does not support KMS with multiple projects" ([1]): a request that names a project must name the tenant's own, and so must a caller. Both profiles.
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,one-key,rules}
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
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,one-key,origin}
 *
 * @param profile Says whether keys of customers are allowed.
 * @param key The key and its origin.
 * @throws {SseError} `AccessDenied`, "SSE-KMS here uses the default master key".
 */
export const assertKeyOrigin = ({ customerKeys }: Profile, { origin }: UsableKey): void => {
  if (origin === 'customer' && !customerKeys)
    throw denied('SSE-KMS here uses the default master key. Leave the key id out, or name the default key.')
}

/**
 * A key is enabled, on writes and on reads ([2]).
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,one-key,rules}
 *
 * @param key The key and its state.
 * @throws {SseError} `KeyDisabled`, "ARN is disabled."; `KeyPendingDeletion`, "ARN is pending deletion.".
 */
export const assertKeyEnabled = ({ keyId, state }: UsableKey): void => {
  if (state === 'disabled') throw new SseError('KeyDisabled', { message: `${keyId} is disabled.` })
  if (state === 'pending-deletion')
    throw new SseError('KeyPendingDeletion', { message: `${keyId} is pending deletion.` })
}

/**
 * Checks a key that the KMS has described: its region and tenant (both profiles), who made it, its state. The order keeps the state of a key
 * from callers of other tenants. A key of a provider without tenants belongs to whom it was configured for.
 *
 * With `customerKeys` in `obs`, a custom key "of a non-default project serves its owner only". A tenant has one project, so the owner is the
 * tenant, which `assertOwnTenant` checks.
 *
 * {@includeCode ../../test/examples/rules.test.ts#sse,who,write}
 *
 * @throws {SseError} `KeyNotFound`, `KeyAccessDenied`, `AccessDenied`, `KeyDisabled`, `KeyPendingDeletion`.
 */
export const assertKeyUsable = (profile: Profile, key: UsableKey, owner: Tenant): void => {
  assertKeyScope(key, { region: profile.region, domainId: owner.domainId })
  assertKeyOrigin(profile, key)
  assertKeyEnabled(key)
}

/**
 * A bucket may refuse writes under a customer's key (S3: `BlockedEncryptionTypes`); what lies there under one is still read.
 *
 * {@includeCode ../../test/examples/rules.test.ts#who,bucket-encryption}
 *
 * @throws {SseError} `AccessDenied`.
 */
export const assertCustomerKeysTaken = (bucketDefault: BucketEncryption | undefined): void => {
  if (bucketDefault?.blocked !== 'SSE-C') return
  throw denied('The bucket refuses objects under customer keys (SSE-C). Use SSE-KMS or SSE-S3.')
}

/** Who asks whom under which rules. */
export interface Access {
  /** The rules that hold. */
  readonly profile: Profile
  /** Who asks. */
  readonly requester: Requester
  /** The tenant that owns the bucket, and with it the objects and their keys. */
  readonly owner: Tenant
  /** Rights that tenants have granted. A tenant that has grants is judged by them instead of by the role of the profile. */
  readonly grants?: KeyGrants | undefined
}

/** A write that is to be decided. */
export interface WriteAccess extends Access {
  /** What its headers ask for. */
  readonly request: SseRequest
  /** The bucket's default encryption, where it is configured. */
  readonly bucketDefault?: BucketEncryption | undefined
}

/** A write under SSE-KMS. */
export interface KmsDecision {
  /** Says which member of a union this is. */
  readonly kind: 'sse-kms'
  /** The master key to describe and use: the owner's default one, or one of the owner's tenant and region. */
  readonly key: 'default' | KeyReference
  /** The client's entries of the encryption context; there may be none. */
  readonly context: ReadonlyMap<string, string>
  /** Whether a bucket key wraps the data key. */
  readonly bucketKey: boolean
}

/** How the body of a write is to be encrypted. */
export type WriteDecision = Plain | SseS3 | KmsDecision | CustomerKeyRequest

/** What the bucket's default asks for, as if a request had; the dialect plays no part. */
const fromDefault = ({ keyId, projectId }: KmsDefault): Omit<KmsRequest, 'dialect'> => ({
  kind: 'sse-kms',
  ...(keyId !== undefined && { keyId: parseKeyReference(keyId) }),
  ...(projectId !== undefined && { projectId }),
})

/** Signature, role, tenant and project of whoever writes or reads under SSE-KMS. */
const assertKmsCaller = ({ profile, requester, owner, grants }: Access): void => {
  const caller = assertSigned(profile, requester)
  if (grants?.has(owner.domainId) !== true) assertKmsRole(profile, caller)
  assertOwnTenant(caller, owner)
  assertSingleProject(caller.projectId, owner)
}

const authorizeKms = (
  access: WriteAccess,
  { keyId, context, bucketKey, projectId }: Omit<KmsRequest, 'dialect'>,
): KmsDecision => {
  const { profile, owner, bucketDefault } = access
  assertContextAllowed(profile, context)
  assertAliasAllowed(profile, keyId)
  assertKmsCaller(access)
  assertSingleProject(projectId, owner)
  if (keyId) assertKeyScope(keyId.scope ?? {}, { region: profile.region, domainId: owner.domainId })
  return {
    kind: 'sse-kms',
    key: keyId ?? 'default',
    context: context ?? new Map(),
    bucketKey: bucketKey ?? (bucketDefault?.kind === 'sse-kms' && bucketDefault.bucketKey),
  }
}

/**
 * Decides how a PUT, POST, Copy (its target) or Initiate encrypts: as the request's headers say, else the bucket's default, else the profile's
 * base. The source of a copy plays no part. The rules of SSE-KMS hold whether headers or the bucket ask for it.
 *
 * Have the KMS describe a key that is named, and pass it to `assertKeyUsable`.
 *
 * {@includeCode ../../test/examples/rules.test.ts#sse,who,write}
 *
 * @throws {SseError} what the rules of SSE-KMS throw: the functions above, and `assertKeyScope`.
 */
export const authorizeWrite = (access: WriteAccess): WriteDecision => {
  const { profile, request, bucketDefault } = access
  switch (request.kind) {
    case 'sse-kms':
      return authorizeKms(access, request)
    case 'sse-s3':
      return { kind: 'sse-s3' }
    case 'sse-c':
      assertCustomerKeysTaken(bucketDefault)
      return request
    case 'none':
      if (bucketDefault?.kind === 'sse-kms') return authorizeKms(access, fromDefault(bucketDefault))
      return { kind: bucketDefault || profile.baseEncryption === 'sse-s3' ? 'sse-s3' : 'plain' }
  }
}

/**
 * Lets a GET, HEAD, the source of a copy or a part of an upload use an object of that kind, or throws. Only SSE-KMS has rules of its own. Policy
 * and ACL have decided the rest.
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,read}
 *
 * @throws {SseError} what `assertSigned`, `assertKmsRole`, `assertOwnTenant` and `assertSingleProject` throw.
 */
export const authorizeRead = (access: Access, object: EncryptionKind): void => {
  if (object === 'sse-kms') assertKmsCaller(access)
}

/** A key that somebody asks to use. */
export type RightfulKey = Pick<KeyDescription, 'keyId' | 'arn' | 'aliases'>

const granted = ({ requester, owner, grants }: Access, right: KeyRight): GrantedKeys | undefined => {
  if (requester.kind === 'signed') return grantedKeys(grants, owner, requester.caller, right)
  return grants?.has(owner.domainId) === true ? { all: false, arns: new Set(), aliases: new Set() } : undefined
}

const has = ({ all, arns, aliases }: GrantedKeys, { keyId, arn = keyId, aliases: own }: RightfulKey): boolean =>
  all || arns.has(arn) || own.some(alias => aliases.has(alias))

/** In AWS's words, which name the user, the right and the key. */
const withoutRight = ({ requester }: Access, right: KeyRight, resource: string): SseError => {
  const user = requester.kind === 'signed' ? requester.caller.name : 'anonymous'
  const message =
    `User: ${user} is not authorized to perform: ${right} on resource: ${resource} ` +
    `because no grant allows the ${right} action. Ask the operator for a grant.`
  return new SseError('KeyAccessDenied', { message, s3Message: message })
}

/**
 * Whether the aliases of a key decide if its use is granted: who asks for no right that an alias gives need not look them up.
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,grants}
 */
export const needsAliases = (access: Access, right: KeyRight, key: Pick<RightfulKey, 'keyId' | 'arn'>): boolean => {
  const keys = granted(access, right)
  return keys !== undefined && keys.aliases.size > 0 && !has(keys, { ...key, aliases: [] })
}

/**
 * Lets a requester use a key for what needs this right, if a grant of the tenant says so. Where the tenant has no grants, {@link authorizeWrite}
 * and {@link authorizeRead} have decided. Ask before every use, also of a key in memory.
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,grants}
 *
 * @throws {SseError} `KeyAccessDenied`, which names the right and the key.
 */
export const assertKeyRight = (access: Access, right: KeyRight, key: RightfulKey): void => {
  const keys = granted(access, right)
  if (keys !== undefined && !has(keys, key)) throw withoutRight(access, right, key.arn ?? key.keyId)
}

/**
 * Refuses who has a right to no key at all: before a default key is made for somebody who could not use it.
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,grants}
 *
 * @throws {SseError} `KeyAccessDenied`, which names the right.
 */
export const assertSomeKeyRight = (access: Access, right: KeyRight): void => {
  const keys = granted(access, right)
  if (keys === undefined || keys.all || keys.arns.size > 0 || keys.aliases.size > 0) return
  throw withoutRight(access, right, 'the default key')
}
