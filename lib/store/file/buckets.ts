/** Buckets of the embedded store, and its claims: facts of the whole store, of which the first one stands. */
import { SseError } from '../../errors.ts'
import type { Bucket } from '../records.ts'
import type { ObjectStore } from '../store.ts'
import { bucketKey, bucketRoot, type FileStore, newId, requireBucket } from './context.ts'
import { entriesOf, entriesWhere, hasAny } from './database.ts'
import { checkName, decodeKey, encodeKey } from './keys.ts'
import { forgetCompletion } from './uploads.ts'

/** The part of the store that deals with buckets. */
export type BucketActions = Pick<
  ObjectStore,
  'createBucket' | 'getBucket' | 'updateBucket' | 'deleteBucket' | 'listBuckets'
>

/** See {@link ObjectStore}. */
export const bucketActions = (context: FileStore): BucketActions => {
  const { database } = context
  const { buckets, ids, objects, uploads, completions } = database.tables
  return {
    createBucket: async (name, { id = newId(), owner, region, created, settings = {}, mac }) => {
      const key = bucketKey(name)
      return database.write(() => {
        const there = buckets.get(key)
        if (there !== undefined) {
          throw new SseError(there.owner === owner ? 'BucketAlreadyOwnedByYou' : 'BucketAlreadyExists')
        }
        const facts = { id, revision: newId(), name, owner, region, created, settings }
        const bucket: Bucket = mac === undefined ? facts : { ...facts, mac }
        buckets.putSync(key, bucket)
        ids.putSync(encodeKey(bucket.id), name)
        return bucket
      })
    },

    getBucket: async name => {
      const key = bucketKey(name)
      return database.read(() => buckets.get(key))
    },

    updateBucket: async (bucket, { settings, mac }) =>
      database.write(() => {
        const { mac: _old, ...facts } = requireBucket(context, bucket)
        const changed = { ...facts, ...(mac && { mac }), revision: newId(), settings }
        buckets.putSync(encodeKey(changed.name), changed)
        return changed
      }),

    deleteBucket: async bucket =>
      database.write(() => {
        const { id, name } = requireBucket(context, bucket)
        const root = bucketRoot(id)
        if (hasAny(objects, root) || hasAny(uploads, root)) throw new SseError('BucketNotEmpty')
        for (const { key, value } of entriesOf(completions, root)) forgetCompletion(context, key, value)
        buckets.removeSync(encodeKey(name))
        ids.removeSync(root)
      }),

    listBuckets: async ({ owner } = {}) =>
      database.read(() =>
        entriesWhere(buckets, bucket => owner === undefined || bucket.owner === owner).map(({ value }) => value),
      ),
  }
}

/** The part of the store that deals with claims. */
export type ClaimActions = Pick<ObjectStore, 'claim' | 'claims'>

/** See {@link ObjectStore}. */
export const claimActions = ({ database }: FileStore): ClaimActions => {
  const { claims } = database.tables
  return {
    claim: async (name, value) => {
      checkName('the name of a claim', name, 1024)
      const key = encodeKey(name)
      return database.write(() => {
        const standing = claims.get(key)
        if (standing === undefined) claims.putSync(key, value)
        return standing ?? value
      })
    },

    claims: async () =>
      database.read(
        () => new Map(entriesWhere(claims, () => true).map(({ key, value }) => [decodeKey(key)[0] ?? '', value])),
      ),
  }
}
