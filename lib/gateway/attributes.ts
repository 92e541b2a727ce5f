/** What a write asks to be kept with its object beside body and headers: its ACL and its tags. Of storage classes there is one. */
import { SseError } from '../errors.ts'
import type { Context, OwnedBucket } from './context.ts'
import { requestedAcl } from './acl.ts'
import { encodeTags, requestedTags } from './tags.ts'

/** Those of S3 and of OBS. Whichever a client names, the object lies in the one that there is, and is listed so. */
const storageClasses = new Set([
  ...['STANDARD', 'REDUCED_REDUNDANCY', 'STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER', 'GLACIER_IR'],
  ...['DEEP_ARCHIVE', 'OUTPOSTS', 'SNOW', 'EXPRESS_ONEZONE', 'WARM', 'COLD'],
])

const checkStorageClass = ({ header }: Context): void => {
  const asked = header('x-amz-storage-class') ?? header('x-obs-storage-class')
  if (asked !== undefined && !storageClasses.has(asked)) {
    throw new SseError('InvalidStorageClass', { details: { StorageClassRequested: asked } })
  }
}

/**
 * The attributes that PUT, POST, Copy (with its directive REPLACE for tags) and Initiate ask for. Whoever writes for another tenant needs the
 * permission for each. `AccessDenied`, `InvalidArgument`, `InvalidStorageClass`,
 * `InvalidTag`, `NotImplemented`.
 */
export const requestedAttributes = (
  ctx: Context,
  owned: OwnedBucket,
  key: string,
): Readonly<Record<string, string>> => {
  checkStorageClass(ctx)
  const acl = requestedAcl(ctx.header)
  const tags = requestedTags(ctx.header)
  if (acl !== undefined && acl !== 'closed') owned.assertMay('s3:PutObjectAcl', key)
  if (tags !== undefined) owned.assertMay('s3:PutObjectTagging', key)
  return {
    ...(acl !== undefined && acl !== 'closed' && { acl }),
    ...(tags !== undefined && tags.length > 0 && { tags: encodeTags(tags) }),
  }
}
