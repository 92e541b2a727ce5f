/**
 * What a copy does with the bytes, as a table, and when an object may be copied onto itself. `authorize.ts` has let the caller read the source
 * and write the target. Upload part copy needs no plan: it always seals under the upload's key.
 */
import { SseError } from '../errors.ts'
import { denied, type EncryptionKind } from './names.ts'
import type { Profile } from './profile.ts'

/**
 * What happens to the bytes: `copy` as they are, `encrypt` plaintext, `decrypt` to plaintext, `rewrap` (only the wrap record is made anew),
 * `reencrypt` (decrypt, and encrypt under a new data key).
 */
export type CopyPlan = 'copy' | 'encrypt' | 'decrypt' | 'rewrap' | 'reencrypt'

/** Source by target, within one tenant and suite. Semantics, section 3. */
const matrix: Readonly<Record<EncryptionKind, Readonly<Record<EncryptionKind, CopyPlan>>>> = {
  plain: { plain: 'copy', 'sse-s3': 'encrypt', 'sse-kms': 'encrypt', 'sse-c': 'encrypt' },
  'sse-s3': { plain: 'decrypt', 'sse-s3': 'rewrap', 'sse-kms': 'rewrap', 'sse-c': 'reencrypt' },
  'sse-kms': { plain: 'decrypt', 'sse-s3': 'reencrypt', 'sse-kms': 'rewrap', 'sse-c': 'reencrypt' },
  'sse-c': { plain: 'decrypt', 'sse-s3': 'reencrypt', 'sse-kms': 'reencrypt', 'sse-c': 'rewrap' },
}

/** What the plan of a copy depends on. */
export interface CopyQuestion {
  /** The rules that hold. */
  readonly profile: Profile
  /** How the source is encrypted. */
  readonly source: EncryptionKind
  /** How the target is to be encrypted, as `authorizeWrite` decided. */
  readonly target: EncryptionKind
  /** Whether one tenant owns both buckets. */
  readonly sameTenant: boolean
  /** Whether the source's suite is the one that writes use. Default true. */
  readonly sameSuite?: boolean
  /** `reencrypt` never shares a data key between two objects. Default `rewrap`. */
  readonly copyMode?: 'rewrap' | 'reencrypt'
}

/**
 * What a copy does. Across tenants and suites, and where the caller wants it, nothing is rewrapped.
 *
 * {@includeCode ../../test/examples/rules.test.ts#who,header,copy}
 *
 * @param copy How source and target are encrypted, and who asks.
 * @throws {SseError} `AccessDenied` in `obs` for a copy between tenants in which either side is encrypted.
 */
export const planCopy = ({
  profile,
  source,
  target,
  sameTenant,
  sameSuite = true,
  copyMode = 'rewrap',
}: CopyQuestion): CopyPlan => {
  const plan = matrix[source][target]
  if (!sameTenant && !profile.crossTenantCopies && plan !== 'copy')
    throw denied('Encrypted objects are not copied between tenants. Read the object and put it anew.')
  return plan === 'rewrap' && !(sameTenant && sameSuite && copyMode === 'rewrap') ? 'reencrypt' : plan
}

/** What a copy of an object onto itself changes. */
export interface SelfCopy {
  /** The metadata directive is REPLACE. */
  readonly replacesMetadata: boolean
  /** A storage class is named. */
  readonly namesStorageClass: boolean
  /** A header of encryption is sent, even one that changes nothing. */
  readonly namesEncryption: boolean
  /** Under the rules of S3 the source is under SSE-KMS, so that the copy may be under another key, or none. */
  readonly leavesKms?: boolean
  /** A website redirect is named. */
  readonly namesRedirect?: boolean
  /** The bucket has a default encryption that somebody configured. */
  readonly bucketHasEncryption: boolean
}

/**
 * An object is copied onto itself only where that may change something. Semantics, section 3.
 *
 * {@includeCode ../../test/examples/rules.test.ts#self-copy}
 *
 * @throws {SseError} `InvalidRequest`, "This copy request is illegal …".
 */
export const assertSelfCopyLegal = (copy: SelfCopy): void => {
  if (Object.values(copy).some(Boolean)) return
  throw new SseError('InvalidRequest', {
    message:
      'This copy request is illegal because it is trying to copy an object to itself without changing ' +
      "the object's metadata, storage class, website redirect location or encryption attributes.",
  })
}
