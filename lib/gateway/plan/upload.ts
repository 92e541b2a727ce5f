/** Finds the upload that a request is about, and the keys that its parts and Complete are unlocked with. */
import { utf8, wipe } from '../../bytes.ts'
import { parseSession } from '../../envelope/envelope.ts'
import { SseError } from '../../errors.ts'
import { assertCustomerKeysTaken } from '../../sse/authorize.ts'
import { assertPartKeyFits, parseCustomerKey } from '../../sse/customer-key.ts'
import { aes256, type HeaderGetter, managedNames, obsNames, s3Names } from '../../sse/names.ts'
import type { ObjectEncryption } from '../../sse/response.ts'
import type { Upload } from '../../store/records.ts'
import type { JudgedBucket } from '../access/access.ts'
import { uploadChecksum } from '../objects/checksums.ts'
import { bucketEncryption, describeStored, objectContext, storedKeys } from '../objects/encryption.ts'
import type { PartPlan, UploadKeys } from '../objects/part.ts'
import { parameterOf } from '../http/parameters.ts'
import { withTags } from '../http/tags.ts'
import { findBucket, type GatewayRequest, keyOf } from '../request.ts'

/** A stored upload and the bucket it is in. */
export interface FoundUpload {
  readonly bucket: JudgedBucket
  readonly upload: Upload
}

const encryptionNames = new Set(
  [s3Names, obsNames].flatMap(names => managedNames(names).concat(names.customer.algorithm)),
)

const initiatedWith = ({ kind, notes }: Upload): ReadonlyMap<string, string | undefined> => {
  switch (kind) {
    case 'plain':
      return new Map()
    case 'sse-c':
      return new Map([[s3Names.customer.algorithm, aes256]])
    case 'sse-s3':
      return new Map([[s3Names.algorithm, aes256]])
    case 'sse-kms':
      return new Map([
        [s3Names.algorithm, s3Names.kms],
        [s3Names.keyId, notes.keyId],
      ])
  }
}

/** The headers of a part or Complete as a policy sees them: their encryption and tags are those that the upload was initiated with. */
const uploadHeaders = (header: HeaderGetter, upload: Upload | undefined): HeaderGetter => {
  const initiated = upload === undefined ? new Map<string, string>() : initiatedWith(upload)
  const tagged = withTags(header, upload?.notes.tags)
  return name => (encryptionNames.has(name) ? initiated.get(name) : tagged(name))
}

/** Bytes that an id may have in a store. */
const maxId = 600

/**
 * The upload that a request names by its whole id, once the requester may do this to it: `NoSuchUpload`, `AccessDenied`. It is for who began it and
 * for the tenant that owns the bucket, for others only as far as a policy says so. `completed` finds one that was completed a short time ago, too.
 */
export const findUpload = async (
  request: GatewayRequest,
  permission: string,
  completed = false,
): Promise<FoundUpload> => {
  const key = keyOf(request)
  const id = parameterOf(request, 'uploadId')
  const { id: bucketId } = (await findBucket(request)).bucket
  // Looked up first: what a bucket policy sees of a part is how its upload is encrypted.
  const fits = id !== '' && utf8(id).length <= maxId
  const upload = !fits ? undefined : await request.services.store.getUpload(bucketId, key, id, { completed })
  const bucket = await findBucket(request, uploadHeaders(request.header, upload))
  if (upload === undefined || bucket.bucket.id !== bucketId) {
    bucket.assertMay(permission, key)
    throw new SseError('NoSuchUpload', { details: { UploadId: id } })
  }
  bucket.assertMayToUpload(permission, key, upload.notes.initiator)
  return { bucket, upload }
}

/** An upload as its actions use it. */
export interface UnlockedUpload {
  /** Absent where the object will be plain. */
  readonly keys: UploadKeys | undefined
  /** What is answered. */
  readonly answer: ObjectEncryption
  /** Wipes what the request brought. */
  release(): void
}

/** Whether the session of an upload with a customer's key says by itself what listings and Complete need. */
const hasCompletionKeys = ({ kind, session }: Upload): boolean =>
  kind === 'sse-c' && session !== undefined && parseSession(session).completion !== undefined

/**
 * Role, tenant and customer's key of a request about an upload; the keys that its session may lie under. A part needs the customer's key of its
 * upload; listings and Complete take it, and do without it where the session has completion keys.
 */
export const unlockUpload = async (
  { services, header, requester, secure }: GatewayRequest,
  { upload, bucket }: FoundUpload,
  use: 'part' | 'listing' | 'complete' = 'part',
): Promise<UnlockedUpload> => {
  if (use === 'part' && upload.kind === 'sse-c') assertCustomerKeysTaken(bucketEncryption(bucket.bucket))
  const sent = parseCustomerKey(header, { secure })
  const release = () => wipe(sent?.key)
  try {
    if (sent !== undefined || use === 'part' || !hasCompletionKeys(upload)) assertPartKeyFits(upload.kind, sent)
    if (upload.kind === 'plain') return { keys: undefined, answer: { kind: 'plain' }, release }
    if (upload.session === undefined) throw new SseError('NotAuthentic')
    const stored = { uploadId: upload.id, session: upload.session }
    if (sent !== undefined) {
      const options = { context: objectContext(bucket, upload.key), customerKey: sent.key }
      return { keys: { stored, options }, answer: { kind: 'sse-c', keyMd5: sent.keyMd5 }, release }
    }
    const options = await storedKeys(services, requester, upload, bucket, upload.key)
    return { keys: { stored, options }, answer: describeStored(upload), release }
  } catch (error) {
    release()
    throw error
  }
}

/** The part number of a request, 1 to 10,000. */
export const partNumberOf = (request: GatewayRequest): number => {
  const text = parameterOf(request, 'partNumber')
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (number >= 1 && number <= 10_000) return number
  throw new SseError('InvalidArgument', {
    message: 'Part number must be an integer between 1 and 10000, inclusive.',
    details: { ArgumentName: 'partNumber', ArgumentValue: text },
  })
}

/** What a part of an upload is received with. */
export const planPart = ({ upload }: FoundUpload, number: number, keys: UploadKeys | undefined): PartPlan => ({
  number,
  kind: upload.kind,
  keys,
  checksum: uploadChecksum(upload.notes),
})
