/** DeleteObject: 204, whether there was one or not. */
import { refuseStranger } from '../access.ts'
import { answerEmpty } from '../answer.ts'
import { changeCondition } from '../conditions.ts'
import type { Context } from '../context.ts'

/** Deletes an object. */
export const deleteObject = async (ctx: Context): Promise<void> => {
  const owned = await ctx.openBucket('s3:DeleteObject')
  const matching = changeCondition(ctx.header)
  await ctx.options.store.deleteObject(owned.bucket.name, ctx.key(), {
    condition: current => {
      refuseStranger(owned, current)
      matching?.(current)
    },
  })
  answerEmpty(ctx.res, 204)
}
