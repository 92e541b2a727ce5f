/**
 * What a request may do, decided from its parsed headers, who sent it, the bucket and the profile, in the one order that holds everywhere:
 * the headers' own rules, then role and tenant, then the key. Signature, bucket policy and ACL came before; the KMS and the body come after.
 */

import type { BucketEncryption, KmsDefault } from './bucket-encryption.ts'
import type { CustomerKeyRequest } from './customer-key.ts'
import { assertKeyScope, parseKeyReference, type KeyReference } from './key-id.ts'
import type { EncryptionKind, Plain, SseS3 } from './names.ts'
import type { Profile } from './profile.ts'
import type { KmsRequest, SseRequest } from './request.ts'
import {
  assertAliasAllowed,
  assertContextAllowed,
  assertKmsRole,
  assertOwnTenant,
  assertSigned,
  assertSingleProject,
} from './rules.ts'
import type { Requester, Tenant } from './tenancy.ts'

/** Who asks whom under which rules. */
export interface Access {
  /** The rules that hold. */
  readonly profile: Profile
  /** Who asks. */
  readonly requester: Requester
  /** The tenant that owns the bucket, and with it the objects and their keys. */
  readonly owner: Tenant
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
const assertKmsCaller = ({ profile, requester, owner }: Access): void => {
  const caller = assertSigned(profile, requester)
  assertKmsRole(profile, caller)
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
 * How a PUT, POST, Copy (its target) or Initiate encrypts: the request's headers, else the bucket's default, else the profile's base; never
 * the source of a copy (semantics, section 3). The rules of SSE-KMS hold whether headers or the bucket ask for it.
 *
 * A key that is named is yet to be described by the KMS and passed to `assertKeyUsable`.
 *
 * {@includeCode ../../test/examples/rules.test.ts#write}
 *
 * @throws {SseError} what the rules of SSE-KMS throw; see `rules.ts` and `assertKeyScope`.
 */
export const authorizeWrite = (access: WriteAccess): WriteDecision => {
  const { profile, request, bucketDefault } = access
  switch (request.kind) {
    case 'sse-kms':
      return authorizeKms(access, request)
    case 'sse-s3':
      return { kind: 'sse-s3' }
    case 'sse-c':
      return request
    case 'none':
      if (bucketDefault?.kind === 'sse-kms') return authorizeKms(access, fromDefault(bucketDefault))
      return { kind: bucketDefault || profile.baseEncryption === 'sse-s3' ? 'sse-s3' : 'plain' }
  }
}

/**
 * Whether a GET, HEAD, a copy's source or a part of an upload may use an object of that kind. Only SSE-KMS has rules of its own; policy and
 * ACL have decided the rest.
 *
 * {@includeCode ../../test/examples/rules.test.ts#read}
 *
 * @throws {SseError} what `assertSigned`, `assertKmsRole`, `assertOwnTenant` and `assertSingleProject` throw.
 */
export const authorizeRead = (access: Access, object: EncryptionKind): void => {
  if (object === 'sse-kms') assertKmsCaller(access)
}
