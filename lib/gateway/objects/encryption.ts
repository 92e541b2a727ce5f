/**
 * The rules of encryption at work in a gateway: which key a write uses, which keys a stored object may lie under, and what an answer says of
 * it. Decisions are those of `sse/`; keys come from configuration and the authenticated request, never from the store.
 */
import { wipe } from '../../bytes.ts'
import { claimedKeyId } from '../../envelope/envelope.ts'
import { type ErrorCode, SseError } from '../../errors.ts'
import type { AcceptedKey } from '../../kms/provider.ts'
import type { KeyOptions, TargetOptions } from '../../object/options.ts'
import {
  type Access,
  assertKeyRight,
  assertKeyUsable,
  assertSomeKeyRight,
  authorizeRead,
  authorizeWrite,
  type KmsDecision,
  needsAliases,
  type RightfulKey,
} from '../../sse/authorize.ts'
import { type BucketEncryption, formatBucketEncryption, parseBucketEncryption } from '../../sse/bucket-encryption.ts'
import { assertReadKeyFits, parseReadHeaders } from '../../sse/customer-key.ts'
import { keyQuery } from '../../sse/key-id.ts'
import type { Dialect, EncryptionKind, HeaderGetter } from '../../sse/names.ts'
import type { Requester, Tenant } from '../../sse/profile.ts'
import { parseWriteHeaders, type SseRequest } from '../../sse/request.ts'
import { type AnsweredOperation, type ObjectEncryption, sseResponseHeaders } from '../../sse/response.ts'
import type { Bucket, ObjectNotes, ObjectRecord } from '../../store/records.ts'
import type { JudgedBucket } from '../access/access.ts'
import { type KeyRefusal, type Services, serviceDomain } from '../services.ts'

/** What the rules look at of a request. */
export interface SseFacts {
  readonly header: HeaderGetter
  readonly requester: Requester
  /** Whether key material may come over the connection. */
  readonly secure: boolean
}

/** Where an object lies: its bucket and the tenant that owns it. */
export interface Place {
  readonly bucket: Bucket
  readonly owner: Tenant
}

/** `arn:aws:s3:::bucket/key`: what binds a data key to the object's name. */
const objectArn = (bucket: string, key: string): string => `arn:aws:s3:::${bucket}/${key}`

/** The system entries of an object's encryption context. */
export const objectContext = ({ bucket }: Pick<Place, 'bucket'>, key: string) => ({
  'aws:s3:arn': objectArn(bucket.name, key),
})

/** What a bucket key is bound to. */
export const bucketContext = ({ bucket }: Pick<Place, 'bucket'>) => ({ 'aws:s3:arn': `arn:aws:s3:::${bucket.name}` })

/** What the store keeps of a bucket's default encryption. */
export const encryptionSetting = (encryption: BucketEncryption): string =>
  JSON.stringify(formatBucketEncryption(encryption, 's3'))

/** The default encryption that a bucket is configured with, if it is. `StoreFailed` where its text is none: nothing is written then. */
export const bucketEncryption = ({ settings }: Bucket): BucketEncryption | undefined => {
  const text = settings['encryption']
  if (text === undefined) return undefined
  try {
    return parseBucketEncryption(JSON.parse(text))
  } catch (cause) {
    const message = 'The default encryption of the bucket cannot be read. Put it again, or delete it.'
    throw new SseError('StoreFailed', { message, cause })
  }
}

/** How a body is to be sealed, its key described and usable. */
export interface SealedEncryption {
  readonly kind: 'sse-s3' | 'sse-kms' | 'sse-c'
  /** What {@link Sse} is called with. */
  readonly options: TargetOptions
  /** What is answered and noted. */
  readonly answer: ObjectEncryption
}

/** How a body is to be encrypted. */
export type WriteEncryption = { readonly kind: 'plain' } | SealedEncryption

/** What is answered of an encryption. */
export const answerOf = (encryption: WriteEncryption): ObjectEncryption =>
  encryption.kind === 'plain' ? encryption : encryption.answer

/** Wipes the customer's key of an encryption, if it has one. */
export const wipeKey = (encryption: WriteEncryption): void => {
  if (encryption.kind !== 'plain') wipe(encryption.options.customerKey)
}

/** Errors for a key id that names no key. */
const noKey: ReadonlySet<ErrorCode> = new Set(['NotAuthentic', 'InvalidKeyId', 'KeyNotFound'])

const isNoKey = (error: unknown): boolean => error instanceof SseError && noKey.has(error.code)

/** Who asks, under the rules of this gateway. */
const accessOf = ({ profile, grants }: Services, requester: Requester, owner: Tenant): Access => {
  return { profile, requester, owner, grants }
}

/** The aliases of a key, looked up where they matter. */
const aliasesOf = async ({ kms }: Services, { keyId, arn = keyId }: Omit<RightfulKey, 'aliases'>) => {
  try {
    return (await kms.describeKey({ keyId: arn })).aliases
  } catch (error) {
    if (isNoKey(error)) return []
    throw error
  }
}

/**
 * Lets a requester use a key that was found, or whatever default key there will be, or tells of the refusal: `KeyAccessDenied`. Asked for each
 * request before the key is used, whatever is in memory.
 */
const assertMayUse = async (
  services: Services,
  access: Access,
  right: KeyRefusal['missing'],
  key?: Omit<RightfulKey, 'aliases'> & Partial<RightfulKey>,
): Promise<void> => {
  const looksUp = key !== undefined && key.aliases === undefined && needsAliases(access, right, key)
  const aliases = looksUp ? await aliasesOf(services, key) : (key?.aliases ?? [])
  try {
    if (key === undefined) assertSomeKeyRight(access, right)
    else assertKeyRight(access, right, { ...key, aliases })
  } catch (error) {
    services.onKeyRefused?.({ missing: right, keyId: key?.keyId })
    throw error
  }
}

const kmsKey = async (services: Services, { bucket }: Place, access: Access, { key: named }: KmsDecision) => {
  const { kms, profile, defaultKey } = services
  const { owner } = access
  const scope = { region: profile.region, domainId: owner.domainId }
  if (named === 'default') await assertMayUse(services, access, 'kms:GenerateDataKey')
  const key =
    named === 'default' ? await defaultKey(owner.domainId, bucket.name) : await kms.describeKey(keyQuery(named, scope))
  await assertMayUse(services, access, 'kms:GenerateDataKey', key)
  const { keyId, arn = keyId } = key
  assertKeyUsable(profile, { ...key, keyId: arn }, owner)
  return { keyId, arn }
}

/** The service's own key: that of SSE-S3, and of the completion keys of uploads with a customer's key. */
export const serviceKey = async ({ defaultKey }: Services) => {
  const { keyId } = await defaultKey(serviceDomain)
  return { keyId, accept: [keyId] }
}

/** Decides how a write to an object encrypts: headers, role and tenant, then the key. */
export const decideWrite = async (
  services: Services,
  { header, requester, secure }: SseFacts,
  place: Place,
  key: string,
): Promise<WriteEncryption> => {
  const request = parseWriteHeaders(header, { secure, objectArn: objectContext(place, key)['aws:s3:arn'] })
  return decideEncryption(services, requester, place, key, request)
}

/** The same for what was asked for otherwise than by headers: role and tenant, then the key. */
export const decideEncryption = async (
  services: Services,
  requester: Requester,
  place: Place,
  key: string,
  request: SseRequest,
): Promise<WriteEncryption> => {
  const { bucket, owner } = place
  const system = objectContext(place, key)
  const access = accessOf(services, requester, owner)
  const decision = authorizeWrite({ ...access, request, bucketDefault: bucketEncryption(bucket) })
  switch (decision.kind) {
    case 'plain':
      return decision
    case 'sse-c': {
      const { key: customerKey, keyMd5 } = decision
      return { kind: 'sse-c', options: { context: system, customerKey }, answer: { kind: 'sse-c', keyMd5 } }
    }
    case 'sse-s3':
      return { kind: 'sse-s3', options: { ...(await serviceKey(services)), context: system }, answer: decision }
    case 'sse-kms': {
      const { keyId, arn } = await kmsKey(services, place, access, decision)
      const { bucketKey } = decision
      const context = new Map([...decision.context, ...Object.entries(system)])
      return {
        kind: 'sse-kms',
        options: { keyId, accept: [keyId], context, bucketContext: bucketContext(place), bucketKey },
        answer: { kind: 'sse-kms', keyId: arn, bucketKey, context: decision.context },
      }
    }
  }
}

/** What is noted of an encryption with its object. */
export const noteEncryption = (encryption: WriteEncryption): Pick<ObjectNotes, 'keyId' | 'bucketKey'> => {
  const answer = answerOf(encryption)
  if (answer.kind !== 'sse-kms') return {}
  return { keyId: answer.keyId, ...(answer.bucketKey === true && { bucketKey: true }) }
}

/** An object or upload as it is stored. */
export interface Sealed {
  readonly kind: EncryptionKind
  readonly notes: Pick<ObjectNotes, 'keyId' | 'bucketKey'>
  /** An object's. */
  readonly envelope?: Uint8Array | undefined
  /** An upload's. */
  readonly session?: Uint8Array | undefined
}

/**
 * The keys that what is stored may lie under: the one that it names, if that is a key of its owner's, or of the service. Completion keys of an
 * upload with a customer's key lie under one of the service.
 */
const acceptedKeys = async (
  { kms, profile }: Pick<Services, 'kms' | 'profile'>,
  kind: EncryptionKind,
  owner: Tenant,
  sealed: Uint8Array,
): Promise<readonly AcceptedKey[]> => {
  const byService = kind === 'sse-s3' || kind === 'sse-c'
  const domainId = byService ? serviceDomain : owner.domainId
  const origin = byService || profile.customerKeys ? undefined : 'service'
  try {
    return await kms.acceptedKeys({ region: profile.region, domainId, keyId: claimedKeyId(sealed), origin })
  } catch (error) {
    // HEAD answers from the record. Opening such an object fails.
    if (isNoKey(error)) return []
    throw error
  }
}

/** What an object is opened with: its context, and the keys that it may lie under, whoever asks. */
export const keysOfStored = async (
  services: Pick<Services, 'kms' | 'profile'>,
  { kind, envelope = new Uint8Array() }: Sealed,
  place: Place,
  key: string,
): Promise<KeyOptions> => ({
  context: objectContext(place, key),
  accept: await acceptedKeys(services, kind, place.owner, envelope),
  bucketContext: bucketContext(place),
})

/**
 * What an object or upload is opened with, where no customer's key came: its context, and the keys that it may lie under, if the requester may
 * open such an object and has the right to decrypt with that key.
 */
export const storedKeys = async (
  services: Services,
  requester: Requester,
  { kind, notes, envelope, session }: Sealed,
  place: Place,
  key: string,
): Promise<KeyOptions> => {
  const context = objectContext(place, key)
  const access = accessOf(services, requester, place.owner)
  authorizeRead(access, kind)
  const sealed = envelope ?? session
  if (kind === 'plain' || sealed === undefined) return { context, accept: [] }
  const accept = await acceptedKeys(services, kind, place.owner, sealed)
  if (kind !== 'sse-kms') return { context, accept }
  // Where no key is accepted, nothing is opened: what the record claims is answered to who may use the key that it claims.
  for (const stored of accept.length === 0 ? [{ keyId: notes.keyId ?? '' }] : accept) {
    await assertMayUse(services, access, 'kms:Decrypt', stored)
  }
  return { context, accept, bucketContext: bucketContext(place) }
}

/** What a stored object is read with. */
export interface ReadEncryption {
  readonly options: KeyOptions
  readonly answer: ObjectEncryption
  /** Wipes a customer's key that the request brought. */
  release(): void
}

/**
 * Decides whether a request may read an object, and with which keys. `parse` finds the customer's key that came for it: by default in the
 * headers of a read.
 */
export const decideRead = async (
  services: Services,
  { header, requester, secure }: SseFacts,
  bucket: JudgedBucket,
  key: string,
  object: ObjectRecord,
  parse: typeof parseReadHeaders = parseReadHeaders,
): Promise<ReadEncryption> => {
  bucket.assertMayReadThis(key, object)
  const request = parse(header, { secure })
  const release = () => wipe(request?.key)
  try {
    assertReadKeyFits(object.kind, request)
    if (request !== undefined) {
      const answer = { kind: 'sse-c', keyMd5: request.keyMd5 } as const
      return { options: { context: objectContext(bucket, key), customerKey: request.key }, answer, release }
    }
    return {
      options: await storedKeys(services, requester, object, bucket, key),
      answer: describeStored(object),
      release,
    }
  } catch (error) {
    release()
    throw error
  }
}

/** What HEAD and listings say of an object's encryption, from its record: a claim. */
export const describeStored = ({ kind, notes }: Sealed): ObjectEncryption => {
  if (kind === 'sse-kms') return { kind, keyId: notes.keyId ?? '', bucketKey: notes.bucketKey === true }
  return kind === 'sse-c' ? { kind, keyMd5: '' } : { kind }
}

/** The SSE headers of an answer, in the client's dialect. */
export const encryptionHeaders = (
  dialect: Dialect,
  operation: AnsweredOperation,
  answer: ObjectEncryption,
): Readonly<Record<string, string>> => Object.fromEntries(sseResponseHeaders(operation, answer, dialect))
