/** PutObject: decide, then receive the body into the store, sealed while it flows. */
import { answerEmpty } from '../answer.ts'
import { incomingBody } from '../body.ts'
import { changeCondition } from '../conditions.ts'
import type { Context } from '../context.ts'
import { writeObject } from '../write-object.ts'

/** Stores an object. */
export const putObject = async (ctx: Context): Promise<void> => {
  const key = ctx.key()
  const owned = await ctx.openBucket('s3:PutObject')
  const condition = changeCondition(ctx.header)
  const write = { operation: 'put', owned, key, condition } as const
  const { headers } = await writeObject(ctx, { ...write, body: digests => incomingBody(ctx, digests) })
  answerEmpty(ctx.res, 200, headers)
}
