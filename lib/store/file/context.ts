/** What the parts of the embedded store share, and the checks that all of them make. */
import { SseError } from '../../errors.ts'
import type { BodyRegister } from '../body-draft.ts'
import type { BodyStore } from '../body-store.ts'
import { checkName, checkPlace, checkUploadPlace } from '../names.ts'
import type { Bucket, BucketRevision } from '../records.ts'
import type { Database, Holder, SpaceUsed } from './database.ts'
import { encodeKey } from './keys.ts'
import type { ProcessName } from './liveness.ts'

/** An open store. */
export interface FileStore {
  readonly database: Database
  readonly bodies: BodyStore
  /** Bodies that are being written. */
  readonly register: BodyRegister
  /** Has what is garbage deleted, soon. */
  readonly collectSoon: () => void
  /** Milliseconds for which the files of a body of several are kept after nothing refers to it any more. */
  readonly grace: number
  /** This process. */
  readonly process: ProcessName
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** Runs a change that may leave bodies that nothing refers to any more. */
export const commit = async <T>(
  { database, collectSoon }: FileStore,
  change: () => T,
  from?: SpaceUsed,
): Promise<T> => {
  const result = await database.write(change, from)
  collectSoon()
  return result
}

/** What this process writes beside what it holds. */
export const holder = ({ process, now }: Pick<FileStore, 'process' | 'now'>): Holder => ({ process, since: now() })

/** Key of a bucket in the table of buckets. */
export const bucketKey = (name: string): Uint8Array => {
  checkName('the name of a bucket', name, 63)
  return encodeKey(name)
}

/** What the keys of everything in a bucket begin with. */
export const bucketRoot = (bucketId: string): Uint8Array => {
  checkName('the id of a bucket', bucketId, 32)
  return encodeKey(bucketId)
}

/** Key of an object. */
export const objectKey = (bucketId: string, key: string): Uint8Array => {
  checkPlace(bucketId, key)
  return encodeKey(bucketId, key)
}

/** Key of an upload. */
export const uploadKey = (bucketId: string, key: string, id: string): Uint8Array => {
  checkUploadPlace(bucketId, key, id)
  return encodeKey(bucketId, key, id)
}

/** Inside a read or a change: `NoSuchBucket` where there is no bucket of this id. */
export const assertBucket = ({ database }: FileStore, bucketId: string): void => {
  if (!database.tables.ids.doesExist(bucketRoot(bucketId))) throw new SseError('NoSuchBucket')
}

/** Inside a change: the bucket, as its caller has judged it; else `NoSuchBucket` or `BucketChanged`. */
export const requireBucket = ({ database }: FileStore, { id, revision }: BucketRevision): Bucket => {
  const { ids, buckets } = database.tables
  const name = ids.get(bucketRoot(id))
  const bucket = name === undefined ? undefined : buckets.get(encodeKey(name))
  if (bucket?.id !== id) throw new SseError('NoSuchBucket')
  if (bucket.revision !== revision) throw new SseError('BucketChanged')
  return bucket
}
