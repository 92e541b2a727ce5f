/** The keys that a command names for the objects of a bucket: those of the tenant that owns it, or of the service. */
import { SseError } from '../errors.ts'
import { bucketContext, objectContext, type SealedEncryption } from '../gateway/objects/encryption.ts'
import { serviceDomain } from '../gateway/services.ts'
import type { AcceptedKey, KeyDescription } from '../kms/provider.ts'
import { assertKeyUsable } from '../sse/authorize.ts'
import type { OpenedBucket } from './bulk-store.ts'

/** A key that objects are to lie under. */
export interface TargetKey {
  /** The objects that can lie under it. */
  readonly kind: 'sse-kms' | 'sse-s3'
  readonly key: KeyDescription
  readonly accepted: AcceptedKey
}

/** Whether an error says that there is no such key. */
export const isNoKey = (error: unknown): boolean =>
  error instanceof SseError && (error.code === 'KeyNotFound' || error.code === 'InvalidKeyId')

/** A key by its ARN, id, alias or full id: of the tenant that owns the bucket, or of the service. */
export const describeKey = async ({ services, place }: OpenedBucket, keyId: string): Promise<KeyDescription> => {
  const { kms, profile } = services
  const find = (domainId: string) => kms.describeKey({ keyId, scope: { region: profile.region, domainId } })
  try {
    return await find(place().owner.domainId)
  } catch (error) {
    if (!isNoKey(error)) throw error
    return find(serviceDomain).catch(() => Promise.reject(error))
  }
}

/** A key that may be used for the bucket's objects, and that servers will accept. The errors of a write under it. */
export const targetKey = async (opened: OpenedBucket, key: KeyDescription): Promise<TargetKey> => {
  const { kms, profile } = opened.services
  const { owner } = opened.place()
  const { keyId, arn = keyId } = key
  const kind = key.domainId === serviceDomain ? 'sse-s3' : 'sse-kms'
  const tenant = kind === 'sse-s3' ? { ...owner, domainId: serviceDomain } : owner
  assertKeyUsable(kind === 'sse-s3' ? { ...profile, customerKeys: false } : profile, { ...key, keyId: arn }, tenant)
  const origin = kind === 'sse-s3' || !profile.customerKeys ? 'service' : undefined
  const scope = { region: profile.region, domainId: tenant.domainId, keyId, origin } as const
  const [accepted] = await kms.acceptedKeys(scope)
  if (accepted === undefined) throw new SseError('KeyNotAccepted')
  return { kind, key, accepted }
}

/** How an object lies under such a key. */
export const underKey = (
  opened: OpenedBucket,
  { kind, accepted, key: { keyId, arn = keyId } }: TargetKey,
  key: string,
  bucketKey: boolean,
): SealedEncryption => {
  const place = opened.place()
  const options = { keyId, accept: [accepted], context: objectContext(place, key) }
  if (kind === 'sse-s3') return { kind, options, answer: { kind } }
  return {
    kind,
    options: { ...options, bucketContext: bucketContext(place), bucketKey },
    answer: { kind, keyId: arn, bucketKey },
  }
}
