/** HeadApiVersion: OBS clients ask a host, unsigned and before anything else, which interface it speaks. */
import { answerEmpty } from '../answer.ts'
import type { Context } from '../context.ts'

/** Says that OBS's own interface is spoken; whether the bucket exists is not said. */
export const headApiVersion = async (ctx: Context): Promise<void> => answerEmpty(ctx.res, 200, { 'x-obs-api': '3.0' })
