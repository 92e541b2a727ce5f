/** Buckets of the embedded store. */
import { SseError } from '../../errors.ts'
import type { Bucket, ObjectStore } from '../store.ts'
import { bucketKey, type FileStore, requireBucket } from './context.ts'
import { entriesOf, entriesWhere, hasAny } from './database.ts'
import { forgetCompletion } from './uploads.ts'

/** The part of the store that deals with buckets. */
export type BucketActions = Pick<
  ObjectStore,
  'createBucket' | 'getBucket' | 'updateBucket' | 'deleteBucket' | 'listBuckets'
>

/** See {@link ObjectStore}. */
export const bucketActions = (context: FileStore): BucketActions => {
  const { database } = context
  const { buckets, objects, uploads, completions } = database.tables
  return {
    createBucket: async (name, { owner, region, created }) => {
      const key = bucketKey(name)
      return database.write(() => {
        const there = buckets.get(key)
        if (there !== undefined) {
          throw new SseError(there.owner === owner ? 'BucketAlreadyOwnedByYou' : 'BucketAlreadyExists')
        }
        const bucket: Bucket = { name, owner, region, created, settings: {} }
        buckets.putSync(key, bucket)
        return bucket
      })
    },

    getBucket: async name => {
      const key = bucketKey(name)
      return database.read(() => buckets.get(key))
    },

    updateBucket: async (name, change) =>
      database.write(() => {
        const bucket = requireBucket(context, name)
        const changed = { ...bucket, settings: change(bucket) }
        buckets.putSync(bucketKey(name), changed)
        return changed
      }),

    deleteBucket: async name =>
      database.write(() => {
        requireBucket(context, name)
        const key = bucketKey(name)
        if (hasAny(objects, key) || hasAny(uploads, key)) throw new SseError('BucketNotEmpty')
        for (const done of entriesOf(completions, key)) forgetCompletion(context, done.key, done.value)
        buckets.removeSync(key)
      }),

    listBuckets: async ({ owner } = {}) =>
      database.read(() =>
        entriesWhere(buckets, bucket => owner === undefined || bucket.owner === owner).map(({ value }) => value),
      ),
  }
}
