/** GetObjectTagging, PutObjectTagging, DeleteObjectTagging. */
import { answerEmpty, answerXml } from '../answer.ts'
import { readBody } from '../body.ts'
import type { Context } from '../context.ts'
import { readRecord, updateAttribute } from '../records.ts'
import { encodeTags, maxObjectTags, parseTags, storedTags, tagsXml } from '../tags.ts'

const maxBody = 64 * 1024

/** Answers the tags of an object; there may be none. */
export const getObjectTagging = async (ctx: Context): Promise<void> => {
  const owned = await ctx.openBucket('s3:GetObjectTagging')
  const { attributes } = await readRecord(ctx, owned)
  answerXml(ctx.res, 'Tagging', tagsXml(storedTags(attributes['tags'])))
}

/** Puts these tags instead of those that are there. */
export const putObjectTagging = async (ctx: Context): Promise<void> => {
  const owned = await ctx.openBucket('s3:PutObjectTagging')
  const tags = parseTags(await readBody(ctx, maxBody), maxObjectTags)
  await updateAttribute(ctx, owned, 'tags', tags.length === 0 ? undefined : encodeTags(tags))
  answerEmpty(ctx.res, 200)
}

/** Takes all tags away. */
export const deleteObjectTagging = async (ctx: Context): Promise<void> => {
  const owned = await ctx.openBucket('s3:DeleteObjectTagging')
  await updateAttribute(ctx, owned, 'tags', undefined)
  answerEmpty(ctx.res, 204)
}
