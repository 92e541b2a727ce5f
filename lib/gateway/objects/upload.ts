/** What the actions of a multipart upload share: finding it, and the keys that its parts and Complete are unlocked with. */
import { wipe } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import type { KeyOptions, StoredUpload } from '../../object/sse.ts'
import { authorizeRead } from '../../sse/authorize.ts'
import { assertPartKeyFits, parseCustomerKey, partKeyMismatch } from '../../sse/customer-key.ts'
import type { ObjectEncryption } from '../../sse/response.ts'
import type { Upload } from '../../store/store.ts'
import { uploadHeaders } from '../access/access.ts'
import type { GatewayRequest, OwnedBucket } from '../context.ts'
import { parameterOf } from '../parameters.ts'
import { describeStored, objectArn, openedWith } from './encryption.ts'

/** A stored upload and the bucket it is in. */
export interface FoundUpload extends OwnedBucket {
  readonly upload: Upload
  readonly key: string
}

/** The upload that a request names by its whole id; `NoSuchUpload`. */
export const findUpload = async (ctx: GatewayRequest, permission: string, completed = false): Promise<FoundUpload> => {
  const key = ctx.key()
  const id = parameterOf(ctx, 'uploadId')
  // Looked up first: what a bucket policy sees of a part is how its upload is encrypted.
  const upload = id === '' ? undefined : await ctx.options.store.getUpload(ctx.bucketName(), key, id, { completed })
  const owned = await ctx.openBucket(permission, { header: uploadHeaders(ctx.header, upload) })
  if (upload === undefined) throw new SseError('NoSuchUpload', { details: { UploadId: id } })
  return { ...owned, upload, key }
}

/** What the sealed parts of an upload are unlocked with. */
export interface UploadKeys {
  readonly stored: StoredUpload
  readonly options: KeyOptions
}

/** An upload as its actions use it. */
export interface UsableUpload {
  /** Absent where the object will be plain. */
  readonly keys: UploadKeys | undefined
  /** What is answered. */
  readonly answer: ObjectEncryption
  /** Wipes what the request brought. */
  release(): void
}

/** What a customer's key that is not the upload's is answered: `InvalidRequest`. */
export const underUploadKey = <T>(work: Promise<T>): Promise<T> =>
  work.catch((error: unknown) => {
    throw error instanceof SseError && error.code === 'WrongCustomerKey' ? partKeyMismatch(error) : error
  })

/** Role, tenant and customer's key of a request about an upload; the keys that its session may lie under. */
export const useUpload = async (ctx: GatewayRequest, found: FoundUpload): Promise<UsableUpload> => {
  const { upload, key, bucket, owner } = found
  const request = parseCustomerKey(ctx.header, { secure: ctx.secure })
  const release = () => wipe(request?.key)
  try {
    assertPartKeyFits(upload.kind, request)
    authorizeRead({ profile: ctx.options.profile, requester: ctx.requester, owner }, upload.kind)
    if (upload.kind === 'plain') return { keys: undefined, answer: { kind: 'plain' }, release }
    if (upload.session === undefined) throw new SseError('NotAuthentic')
    const stored = { uploadId: upload.id, session: upload.session }
    if (request !== undefined) {
      const answer = { kind: 'sse-c', keyMd5: request.keyMd5 } as const
      const context = { 'aws:s3:arn': objectArn(bucket.name, key) }
      return { keys: { stored, options: { context, customerKey: request.key } }, answer, release }
    }
    const options = await openedWith(ctx, upload, found, key)
    return { keys: { stored, options }, answer: describeStored(upload), release }
  } catch (error) {
    release()
    throw error
  }
}
