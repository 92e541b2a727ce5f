/** What a write asks to be kept with its object beside body and headers: its ACL and its tags. */
import type { Context, OwnedBucket } from './context.ts'
import { requestedAcl } from './acl.ts'
import { encodeTags, requestedTags } from './tags.ts'

/**
 * The attributes that PUT, POST, Copy (with its directive REPLACE for tags) and Initiate ask for. Whoever writes for another tenant needs the
 * permission for each. `AccessDenied`, `InvalidArgument`, `InvalidTag`, `NotImplemented`.
 */
export const requestedAttributes = (
  ctx: Context,
  owned: OwnedBucket,
  key: string,
): Readonly<Record<string, string>> => {
  const acl = requestedAcl(ctx.header)
  const tags = requestedTags(ctx.header)
  if (acl !== undefined && acl !== 'closed') owned.assertMay('s3:PutObjectAcl', key)
  if (tags !== undefined) owned.assertMay('s3:PutObjectTagging', key)
  return {
    ...(acl !== undefined && acl !== 'closed' && { acl }),
    ...(tags !== undefined && tags.length > 0 && { tags: encodeTags(tags) }),
  }
}
