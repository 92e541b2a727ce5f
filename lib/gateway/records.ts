/** Records of objects for actions that leave the body alone: what is noted of an object is read, or swapped in one step. */
import { SseError } from '../errors.ts'
import type { ObjectRecord } from '../store/store.ts'
import { noSuchKey, refuseStranger } from './access.ts'
import type { Context, OwnedBucket } from './context.ts'

/** The record of the object that the request names. `NoSuchKey`; `AccessDenied` for another tenant's SSE-KMS. */
export const readRecord = async (ctx: Context, owned: OwnedBucket): Promise<ObjectRecord> => {
  const key = ctx.key()
  const record = await ctx.options.store.getObject(owned.bucket.name, key)
  if (record === undefined) throw noSuchKey(owned, key)
  refuseStranger(owned, record)
  return record
}

const attempts = 20

/**
 * Sets an attribute of the object that the request names, or takes it away: the record is swapped, the body stays, and so does the time of
 * its last change. Errors as {@link readRecord}; `SlowDown` where others change the object without end.
 */
export const updateAttribute = async (
  ctx: Context,
  owned: OwnedBucket,
  name: string,
  value: string | undefined,
): Promise<void> => {
  const at = { bucket: owned.bucket.name, key: ctx.key() }
  for (let i = 0; i < attempts; i++) {
    const { attributes, version, ...record } = await readRecord(ctx, owned)
    const { [name]: _old, ...others } = attributes
    const changed = value === undefined ? others : { ...others, [name]: value }
    try {
      await ctx.options.store.copyObject({ ...at, version }, at, { ...record, attributes: changed })
      return
    } catch (error) {
      // Somebody else changed the object in between: look again.
      if (!(error instanceof SseError) || (error.code !== 'PreconditionFailed' && error.code !== 'NoSuchKey'))
        throw error
    }
  }
  throw new SseError('SlowDown')
}
