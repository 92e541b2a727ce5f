/** GetBucketEncryption, PutBucketEncryption, DeleteBucketEncryption: what objects get whose request says nothing. */
import { bucketEncryptionOrBase, formatBucketEncryption, parseBucketEncryption } from '../../sse/bucket-encryption.ts'
import { answerEmpty, answerXml } from '../answer.ts'
import { readBody } from '../body.ts'
import { bucketEncryption, encryptionSetting, withSetting } from '../bucket-settings.ts'
import type { Context } from '../context.ts'
import { fromXml } from '../xml.ts'

const root = 'ServerSideEncryptionConfiguration'
const maxBody = 64 * 1024

/** Answers the configuration, or the base that holds without one. */
export const getBucketEncryption = async (ctx: Context): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:GetEncryptionConfiguration')
  const encryption = bucketEncryptionOrBase(bucketEncryption(bucket), ctx.options.profile.baseEncryption)
  const { Rule } = formatBucketEncryption(encryption, ctx.dialect)
  const { ApplyServerSideEncryptionByDefault: apply, BucketKeyEnabled } = Rule
  answerXml(ctx.res, root, { Rule: { ApplyServerSideEncryptionByDefault: { ...apply }, BucketKeyEnabled } })
}

/** Configures a default. The key that it names is looked at when an object is written. */
export const putBucketEncryption = async (ctx: Context): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:PutEncryptionConfiguration')
  const encryption = parseBucketEncryption(fromXml(await readBody(ctx, maxBody), root))
  const setting = encryptionSetting(encryption)
  await ctx.options.store.updateBucket(bucket.name, current => withSetting(current, 'encryption', setting))
  answerEmpty(ctx.res, 200)
}

/** Takes the configuration away, if there is one. */
export const deleteBucketEncryption = async (ctx: Context): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:PutEncryptionConfiguration')
  await ctx.options.store.updateBucket(bucket.name, current => withSetting(current, 'encryption', undefined))
  answerEmpty(ctx.res, 204)
}
