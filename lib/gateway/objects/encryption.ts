/**
 * The rules of encryption at work in a gateway: which key a write uses, which keys a stored object may lie under, and what an answer says of
 * it. Decisions are those of `sse/`; keys come from configuration and the authenticated request, never from the store.
 */
import { wipe } from '../../bytes.ts'
import { claimedKeyId } from '../../envelope/envelope.ts'
import { type ErrorCode, SseError } from '../../errors.ts'
import type { AcceptedKey } from '../../object/decrypt.ts'
import type { KeyOptions, TargetOptions } from '../../object/sse.ts'
import { authorizeRead, authorizeWrite, type KmsDecision } from '../../sse/authorize.ts'
import { assertReadKeyFits, parseReadHeaders } from '../../sse/customer-key.ts'
import { formatArn, keyQuery } from '../../sse/key-id.ts'
import type { EncryptionKind } from '../../sse/names.ts'
import { parseWriteHeaders } from '../../sse/request.ts'
import { type AnsweredOperation, type ObjectEncryption, sseResponseHeaders } from '../../sse/response.ts'
import { assertKeyUsable } from '../../sse/authorize.ts'
import type { Tenant } from '../../sse/profile.ts'
import { bucketEncryption } from './record.ts'
import type { GatewayRequest, OwnedBucket } from '../context.ts'

/** `arn:aws:s3:::bucket/key`: what binds a data key to the object's name. */
export const objectArn = (bucket: string, key: string): string => `arn:aws:s3:::${bucket}/${key}`

/** What a bucket key is bound to. */
const bucketContextOf = (bucket: string) => ({ 'aws:s3:arn': `arn:aws:s3:::${bucket}` })

/** The domain that the keys of SSE-S3 belong to: the service itself, no tenant. */
export const serviceDomain = 'sse-s3'

/** How a body is to be encrypted, its key described and usable. */
export type WriteEncryption =
  | { readonly kind: 'plain' }
  | {
      readonly kind: 'sse-s3' | 'sse-kms' | 'sse-c'
      /** What {@link Sse} is called with. */
      readonly options: TargetOptions
      /** What is answered and noted. */
      readonly answer: ObjectEncryption
    }

/** Tenant and region, as the KMS wants them. */
const scopeOf = (ctx: GatewayRequest, domainId: string) => ({ region: ctx.options.profile.region, domainId })

const kmsKey = async (ctx: GatewayRequest, owner: Tenant, decision: KmsDecision): Promise<string> => {
  const { kms, profile } = ctx.options
  const scope = scopeOf(ctx, owner.domainId)
  const key =
    decision.key === 'default' ? await kms.defaultKey(scope) : await kms.describeKey(keyQuery(decision.key, scope))
  assertKeyUsable(profile, key, owner)
  return key.keyId
}

/** Decides how a write to the named object encrypts: headers, role and tenant, then the key. */
export const decideWrite = async (
  ctx: GatewayRequest,
  { bucket, owner }: OwnedBucket,
  key: string,
  headers = ctx.header,
): Promise<WriteEncryption> => {
  const arn = objectArn(bucket.name, key)
  const request = parseWriteHeaders(headers, { secure: ctx.secure, objectArn: arn })
  const { profile } = ctx.options
  const decision = authorizeWrite({
    profile,
    requester: ctx.requester,
    owner,
    request,
    bucketDefault: bucketEncryption(bucket),
  })
  const system = { 'aws:s3:arn': arn }
  switch (decision.kind) {
    case 'plain':
      return decision
    case 'sse-c': {
      const { key: customerKey, keyMd5 } = decision
      return { kind: 'sse-c', options: { context: system, customerKey }, answer: { kind: 'sse-c', keyMd5 } }
    }
    case 'sse-s3': {
      const { keyId } = await ctx.options.kms.defaultKey(scopeOf(ctx, serviceDomain))
      return { kind: 'sse-s3', options: { keyId, accept: [keyId], context: system }, answer: decision }
    }
    case 'sse-kms': {
      const keyId = await kmsKey(ctx, owner, decision)
      const context = new Map([...decision.context, ...Object.entries(system)])
      const { bucketKey } = decision
      const answer = { kind: 'sse-kms', keyId, bucketKey, context: decision.context } as const
      const bucketContext = bucketContextOf(bucket.name)
      return { kind: 'sse-kms', options: { keyId, accept: [keyId], context, bucketContext, bucketKey }, answer }
    }
  }
}

/** What is no key at all, or not one that there is. */
const noKey: ReadonlySet<ErrorCode> = new Set(['NotAuthentic', 'InvalidKeyId', 'KeyNotFound'])

/**
 * The keys that what is stored may lie under: the one that it names, if that is a key of its owner's, or of the service. Whether it is, its ARN
 * tells, so that a read asks the KMS no more than once.
 */
const acceptedKeys = async (
  ctx: GatewayRequest,
  kind: EncryptionKind,
  owner: Tenant,
  sealed: Uint8Array,
): Promise<readonly AcceptedKey[]> => {
  const { kms, profile } = ctx.options
  const { region, domainId } = scopeOf(ctx, kind === 'sse-s3' ? serviceDomain : owner.domainId)
  try {
    const keyId = claimedKeyId(sealed)
    if (!keyId.startsWith(formatArn(region, domainId, ''))) return []
    const any = kind === 'sse-s3' || profile.customerKeys
    if (!any && (await kms.describeKey({ keyId })).origin !== 'service') return []
    return [{ provider: kms.name, keyId }]
  } catch (error) {
    // HEAD answers what the record says; whoever opens it learns that it cannot be.
    if (error instanceof SseError && noKey.has(error.code)) return []
    throw error
  }
}

/** An object or upload as it is stored. */
export interface Sealed {
  readonly kind: EncryptionKind
  /** An object's. */
  readonly envelope?: Uint8Array | undefined
  /** An upload's. */
  readonly session?: Uint8Array | undefined
}

/** What an object or upload is opened with, where no customer's key came: its context, and the keys that it may lie under. */
export const openedWith = async (
  ctx: GatewayRequest,
  { kind, envelope, session }: Sealed,
  { bucket, owner }: Pick<OwnedBucket, 'bucket' | 'owner'>,
  key: string,
): Promise<KeyOptions> => {
  const context = { 'aws:s3:arn': objectArn(bucket.name, key) }
  const sealed = envelope ?? session
  if (kind === 'plain' || sealed === undefined) return { context, accept: [] }
  const accept = await acceptedKeys(ctx, kind, owner, sealed)
  return kind === 'sse-kms' ? { context, accept, bucketContext: bucketContextOf(bucket.name) } : { context, accept }
}

/** What a stored object is read with; `release` wipes a customer's key. */
export interface ReadEncryption {
  readonly options: KeyOptions
  readonly answer: ObjectEncryption
  /** Wipes what the request brought. */
  release(): void
}

/** What is known of a stored object without its key. */
export interface StoredKind extends Sealed {
  readonly attributes: Readonly<Record<string, string>>
  /** Of an object, not of an upload. */
  readonly version?: string | undefined
}

/**
 * Decides whether the caller may read an object of this kind, and with which keys. `parse` finds the customer's key that came for it:
 * by default in the headers of a read.
 */
export const decideRead = async (
  ctx: GatewayRequest,
  owned: OwnedBucket,
  key: string,
  object: StoredKind,
  parse: typeof parseReadHeaders = parseReadHeaders,
): Promise<ReadEncryption> => {
  const { bucket, owner, onlyVersion } = owned
  if (onlyVersion !== undefined && object.version !== onlyVersion) throw new SseError('AccessDenied')
  const request = parse(ctx.header, { secure: ctx.secure })
  const release = () => wipe(request?.key)
  try {
    assertReadKeyFits(object.kind, request)
    authorizeRead({ profile: ctx.options.profile, requester: ctx.requester, owner }, object.kind)
    if (request !== undefined) {
      const answer = { kind: 'sse-c', keyMd5: request.keyMd5 } as const
      const context = { 'aws:s3:arn': objectArn(bucket.name, key) }
      return { options: { context, customerKey: request.key }, answer, release }
    }
    return { options: await openedWith(ctx, object, owned, key), answer: describeStored(object), release }
  } catch (error) {
    release()
    throw error
  }
}

/** What HEAD and listings say of an object's encryption, from its record: a claim. */
export const describeStored = ({ kind, attributes }: StoredKind): ObjectEncryption => {
  if (kind === 'sse-kms') {
    const bucketKey = attributes['bucketKey'] === 'true'
    return { kind, keyId: attributes['keyId'] ?? '', bucketKey }
  }
  return kind === 'sse-c' ? { kind, keyMd5: '' } : { kind }
}

/** What of an encryption is noted in an object's record. */
export const noteEncryption = (encryption: WriteEncryption): Readonly<Record<string, string>> =>
  encryption.kind === 'sse-kms' && encryption.answer.kind === 'sse-kms'
    ? { keyId: encryption.answer.keyId, ...(encryption.answer.bucketKey === true && { bucketKey: 'true' }) }
    : {}

/** The SSE headers of an answer, in the client's dialect. */
export const encryptionHeaders = (
  ctx: GatewayRequest,
  operation: AnsweredOperation,
  answer: ObjectEncryption,
): Readonly<Record<string, string>> => Object.fromEntries(sseResponseHeaders(operation, answer, ctx.dialect))
