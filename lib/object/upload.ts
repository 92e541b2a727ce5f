/**
 * A multipart upload (format.md, sections 7 and 8): one data key for all of its parts, wrapped in a session that the caller stores. Here it is
 * created and unlocked; nothing is kept.
 */
import { base64url, concat, wipe } from '../bytes.ts'
import { type BodyKeys, cutBodyKeys, deriveBody, uploadIdentity } from '../cipher/derive.ts'
import type { Engine } from '../cipher/engine.ts'
import { randomBytes, randomId } from '../cipher/random.ts'
import { bodyIdSize, nonceSize, type Suite } from '../cipher/suite.ts'
import { type CompletionKeys, encodeSession, parseSession, type Session, sessionFront } from '../envelope/envelope.ts'
import { encodeRecord } from '../envelope/wrap-record.ts'
import { SseError } from '../errors.ts'
import type { EncryptionContext } from '../kms/context.ts'
import type { DataKey } from '../kms/data-key.ts'
import type { CallOptions, KeyWrapper } from '../kms/provider.ts'
import { unlock, type UnlockParts } from './decrypt.ts'

/** A new upload. */
export interface CreatedUpload {
  /** 32 characters, alone or followed by a dot and the store's own id. */
  readonly uploadId: string
  /** To be stored until Complete; it holds the data key wrapped, and nothing secret in clear. */
  readonly session: Uint8Array
  /** Full id of the master key that was used. */
  readonly keyId: string
}

/** A key of the service, and what is bound to what it wraps. */
export interface ServiceKey {
  readonly provider: KeyWrapper
  readonly keyId: string
  readonly context: EncryptionContext
  /** What the call to the KMS is given. */
  readonly call?: CallOptions | undefined
}

/** What an upload is created with. */
export interface CreateUploadParts {
  readonly engine: Engine
  readonly suite: Suite
  readonly provider: KeyWrapper
  readonly keyId: string
  readonly context: EncryptionContext
  /** What the call to the KMS is given. */
  readonly call?: CallOptions | undefined
  /** A key of the service, for the completion keys of a customer's upload. */
  readonly service?: ServiceKey | undefined
  /** The store's own id, 1 to 512 of `[A-Za-z0-9._~-]`, appended to the uploadId. */
  readonly own?: string | undefined
}

const completionAead = 'AEAD_AES_256_GCM'

const idOf = async (engine: Engine, session: Uint8Array): Promise<string> =>
  base64url(await uploadIdentity(engine, session))

/** Creates an upload; one call to the KMS, or none under a bucket key in memory. */
export const createUpload = async (parts: CreateUploadParts): Promise<CreatedUpload> => {
  const { engine, suite, provider, keyId, context, call, service, own } = parts
  if (own !== undefined && !/^[A-Za-z0-9._~-]{1,512}$/.test(own)) {
    throw new RangeError("a store's own upload id is 1 to 512 of A-Z, a-z, 0-9, dot, underscore, tilde and hyphen")
  }
  const { key, wrapped } = await provider.generateDataKey({ keyId, context }, call)
  try {
    const opened = { suite, bodyId: randomId(bodyIdSize), record: encodeRecord(wrapped, context.stored) }
    const completion = service && (await sealCompletionKeys(engine, opened, key, service))
    const session = encodeSession({ ...opened, completion })
    const id = await idOf(engine, session)
    return { uploadId: own === undefined ? id : `${id}.${own}`, session, keyId: wrapped.keyId }
  } finally {
    key.dispose()
  }
}

const sealCompletionKeys = async (
  engine: Engine,
  session: Session,
  dek: DataKey,
  { provider, keyId, context, call }: ServiceKey,
): Promise<CompletionKeys> => {
  const { key, wrapped } = await provider.generateDataKey({ keyId, context }, call)
  try {
    const record = encodeRecord(wrapped, context.stored)
    const nonce = randomBytes(nonceSize)
    const { descriptor, etag, aux } = await deriveBody(engine, dek.bytes, session.bodyId)
    const keys = concat(descriptor, etag, aux)
    const sealed = await engine.seal(completionAead, key.bytes, nonce, keys, sessionFront(session, record))
    wipe(descriptor, etag, aux, keys)
    return { record, nonce, sealed }
  } finally {
    key.dispose()
  }
}

/** An upload, unlocked: what listings and Complete need. */
export interface CompletableUpload {
  readonly engine: Engine
  readonly session: Session
  readonly keys: BodyKeys
  /** Wipes its keys; may be called twice. */
  dispose(): void
}

/** An upload, unlocked: what parts need, too. */
export interface OpenUpload extends CompletableUpload {
  readonly key: DataKey
}

const sessionOf = async (engine: Engine, uploadId: string, session: Uint8Array): Promise<Session> => {
  const id = await idOf(engine, session)
  if (uploadId !== id && !uploadId.startsWith(`${id}.`)) throw new SseError('NoSuchUpload')
  return parseSession(session)
}

/**
 * Unlocks a stored session. The uploadId's first 32 characters must be the session's: `NoSuchUpload` otherwise; that the whole uploadId is
 * the one that Initiate returned, the store looks up. Accepted keys are checked before the KMS is asked.
 */
export const openUpload = async (uploadId: string, session: Uint8Array, parts: UnlockParts): Promise<OpenUpload> => {
  const { engine } = parts
  const parsed = await sessionOf(engine, uploadId, session)
  const key = await unlock(parsed.record, parts)
  const keys = await deriveBody(engine, key.bytes, parsed.bodyId)
  const dispose = () => {
    key.dispose()
    wipe(keys.descriptor, keys.etag, keys.aux)
  }
  return { engine, session: parsed, key, keys, dispose }
}

/**
 * {@link openForComplete} where the parts become an object. A data key that the KMS itself wrapped (wrapAlg 1) is asked for past all caches:
 * parts that were sealed under a wrong answer of the KMS, kept since, do not open then.
 */
export const openToComplete: typeof openForComplete = async (uploadId, session, parts) => {
  const { wrapAlg } = (await sessionOf(parts.engine, uploadId, session)).record.wrapped
  return openForComplete(uploadId, session, wrapAlg === 1 ? { ...parts, call: { ...parts.call, fresh: true } } : parts)
}

/** {@link openUpload} for listings and Complete: without a customer's key by the completion keys, where the session has them. */
export const openForComplete = async (
  uploadId: string,
  session: Uint8Array,
  parts: UnlockParts,
): Promise<CompletableUpload> => {
  const { engine, providers } = parts
  const parsed = await sessionOf(engine, uploadId, session)
  const { completion } = parsed
  if (completion === undefined || providers.customer) return openUpload(uploadId, session, parts)
  const { record, nonce, sealed } = completion
  const key = await unlock(record, parts)
  try {
    const opened = await engine.open(completionAead, key.bytes, nonce, sealed, sessionFront(parsed, record))
    const keys = cutBodyKeys(opened)
    return { engine, session: parsed, keys, dispose: () => wipe(keys.descriptor, keys.etag, keys.aux) }
  } finally {
    key.dispose()
  }
}
