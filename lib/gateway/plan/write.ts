/** Plans a write: what PUT, POST, Copy and Initiate ask for, decided before any body comes. */
import { SseError } from '../../errors.ts'
import type { HeaderGetter } from '../../sse/names.ts'
import type { ObjectCondition, ObjectNotes } from '../../store/records.ts'
import { requestedAcl } from '../access/acl.ts'
import { closedToOthers, type JudgedBucket } from '../access/access.ts'
import { assertHeadersBuilt } from '../http/not-built.ts'
import { requestedTags } from '../http/tags.ts'
import { objectHeaders } from '../http/object-headers.ts'
import { decideWrite } from '../objects/encryption.ts'
import { digestsFor, type WritePlan } from '../objects/write.ts'
import type { GatewayRequest } from '../request.ts'

/** Those of S3 and of OBS. Whichever a client names, the object lies in the one that there is, and is listed so. */
const storageClasses = new Set([
  ...['STANDARD', 'REDUCED_REDUNDANCY', 'STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER', 'GLACIER_IR'],
  ...['DEEP_ARCHIVE', 'OUTPOSTS', 'SNOW', 'EXPRESS_ONEZONE', 'WARM', 'COLD'],
])

const checkStorageClass = (header: HeaderGetter): void => {
  const asked = header('x-amz-storage-class') ?? header('x-obs-storage-class')
  if (asked !== undefined && !storageClasses.has(asked)) {
    throw new SseError('InvalidStorageClass', { details: { StorageClassRequested: asked } })
  }
}

/**
 * The ACL and tags that a write asks for. Whoever writes for another tenant needs the permission for each. `AccessDenied`, `InvalidArgument`,
 * `InvalidStorageClass`, `InvalidTag`, `NotImplemented`.
 */
export const requestedNotes = (
  header: HeaderGetter,
  bucket: JudgedBucket,
  key: string,
): Pick<ObjectNotes, 'acl' | 'tags'> => {
  assertHeadersBuilt(header)
  checkStorageClass(header)
  const acl = bucket.bySettings(settings => requestedAcl(header, settings))
  const tags = requestedTags(header)
  const opens = acl !== undefined && acl !== 'closed'
  if (opens) bucket.assertMayOpen(key)
  if (tags !== undefined) bucket.assertMayKnowing({ header, existingTags: [] }, 's3:PutObjectTagging', key)
  return { ...(opens && { acl }), ...(tags !== undefined && tags.length > 0 && { tags }) }
}

/** Plans the write of an object as its request's headers ask for it. Errors are those of the headers, the rules and the KMS. */
export const planWrite = async (
  request: GatewayRequest,
  bucket: JudgedBucket,
  key: string,
  condition: ObjectCondition = {},
): Promise<WritePlan> => {
  const { services, header, headers } = request
  const { defaultChecksum } = services.profile
  const kept = objectHeaders(headers)
  const notes = requestedNotes(header, bucket, key)
  const encryption = await decideWrite(services, request, bucket, key)
  return {
    bucket,
    key,
    encryption,
    headers: kept,
    notes,
    condition: { ...condition, ...closedToOthers(bucket) },
    digests: digestsFor(encryption.kind, defaultChecksum === 'none' ? undefined : defaultChecksum),
  }
}
