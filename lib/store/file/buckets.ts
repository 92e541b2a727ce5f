/** Buckets of the embedded store, and its claims: facts of the whole store, of which the first one stands. */
import { SseError } from '../../errors.ts'
import { checkName, newId } from '../names.ts'
import type { Bucket } from '../records.ts'
import type { ObjectStore } from '../store.ts'
import { bucketKey, bucketRoot, type FileStore, requireBucket } from './context.ts'
import { entriesWhere, hasAny, keysOf } from './database.ts'
import { decodeKey, encodeKey } from './keys.ts'
import { dropUploadsIn } from './parts.ts'

/** The part of the store that deals with buckets. */
export type BucketActions = Pick<
  ObjectStore,
  'createBucket' | 'getBucket' | 'updateBucket' | 'deleteBucket' | 'listBuckets'
>

/** See {@link ObjectStore}. */
export const bucketActions = (context: FileStore): BucketActions => {
  const { database } = context
  const { buckets, ids, owners, objects, uploads } = database.tables
  const ownersKey = ({ owner, name }: Pick<Bucket, 'owner' | 'name'>): Uint8Array => encodeKey(owner, name)
  return {
    createBucket: async (name, bucket, { most = Infinity } = {}) => {
      const { id = newId(), owner, region, created, settings = {}, mac } = bucket
      const key = bucketKey(name)
      checkName('the owner of a bucket', owner, 1024)
      return database.write(() => {
        const there = buckets.get(key)
        if (there !== undefined) {
          throw new SseError(there.owner === owner ? 'BucketAlreadyOwnedByYou' : 'BucketAlreadyExists')
        }
        if (keysOf(owners, encodeKey(owner), most).length >= most) throw new SseError('TooManyBuckets')
        const facts = { id, revision: newId(), name, owner, region, created, settings }
        const bucket: Bucket = mac === undefined ? facts : { ...facts, mac }
        buckets.putSync(key, bucket)
        ids.putSync(encodeKey(bucket.id), name)
        owners.putSync(ownersKey(bucket), true)
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

    deleteBucket: async (bucket, { dropUploads = false } = {}) => {
      const root = await database.write(() => {
        const found = requireBucket(context, bucket)
        const root = bucketRoot(found.id)
        if (hasAny(objects, root) || (!dropUploads && hasAny(uploads, root))) throw new SseError('BucketNotEmpty')
        buckets.removeSync(encodeKey(found.name))
        ids.removeSync(root)
        owners.removeSync(ownersKey(found))
        return root
      }, 'reserve')
      // The bucket is gone, and its uploads with it, whatever comes of this: the sweep goes on.
      await dropUploadsIn(context, root).catch(() => {})
    },

    listBuckets: async ({ owner } = {}) =>
      database.read(() => {
        if (owner === undefined) return entriesWhere(buckets, () => true).map(({ value }) => value)
        const names = keysOf(owners, encodeKey(owner)).map(key => decodeKey(key)[1] ?? '')
        return names.map(name => buckets.get(encodeKey(name))).filter(bucket => bucket !== undefined)
      }),
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
      const known = database.read(() => claims.get(key))
      if (known !== undefined) return known
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
