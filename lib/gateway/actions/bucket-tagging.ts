/** GetBucketTagging, PutBucketTagging, DeleteBucketTagging. */
import { SseError } from '../../errors.ts'
import { answerEmpty, answerXml } from '../answer.ts'
import { readBody } from '../body.ts'
import { withSetting } from '../bucket-settings.ts'
import type { Context } from '../context.ts'
import { encodeTags, maxBucketTags, parseTags, storedTags, tagsXml } from '../tags.ts'

const maxBody = 128 * 1024

/** Answers the tags; `NoSuchTagSet` where there are none. */
export const getBucketTagging = async (ctx: Context): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:GetBucketTagging')
  const tags = bucket.settings['tagging']
  if (tags === undefined) throw new SseError('NoSuchTagSet', { details: { BucketName: bucket.name } })
  answerXml(ctx.res, 'Tagging', tagsXml(storedTags(tags)))
}

/** Puts these tags instead of those that are there. */
export const putBucketTagging = async (ctx: Context): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:PutBucketTagging')
  const tags = parseTags(await readBody(ctx, maxBody), maxBucketTags)
  const setting = tags.length === 0 ? undefined : encodeTags(tags)
  await ctx.options.store.updateBucket(bucket.name, current => withSetting(current, 'tagging', setting))
  answerEmpty(ctx.res, 204)
}

/** Takes all tags away. */
export const deleteBucketTagging = async (ctx: Context): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:PutBucketTagging')
  await ctx.options.store.updateBucket(bucket.name, current => withSetting(current, 'tagging', undefined))
  answerEmpty(ctx.res, 204)
}
