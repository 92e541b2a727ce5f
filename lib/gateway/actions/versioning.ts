/** GetBucketVersioning, PutBucketVersioning: objects have one version here, so versioning can be suspended and not enabled. */
import { SseError } from '../../errors.ts'
import { answerEmpty, answerXml } from '../answer.ts'
import { readBody } from '../body.ts'
import { withSetting } from '../bucket-settings.ts'
import type { Context } from '../context.ts'
import { fromXml, textOf } from '../xml.ts'

const root = 'VersioningConfiguration'

/** Answers an empty configuration, or that versioning was suspended. */
export const getBucketVersioning = async (ctx: Context): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:GetBucketVersioning')
  answerXml(ctx.res, root, { Status: bucket.settings['versioning'] })
}

/** Takes `Suspended`. */
export const putBucketVersioning = async (ctx: Context): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:PutBucketVersioning')
  const content = fromXml(await readBody(ctx, 64 * 1024), root)
  const status = textOf(content, 'Status')
  if (status === 'Enabled' || textOf(content, 'MfaDelete') === 'Enabled') {
    throw new SseError('NotImplemented', {
      message: 'Versioning is not implemented here: objects have one version. Leave it suspended.',
    })
  }
  if (status !== 'Suspended') throw new SseError('MalformedXML')
  await ctx.options.store.updateBucket(bucket.name, current => withSetting(current, 'versioning', status))
  answerEmpty(ctx.res, 200)
}
