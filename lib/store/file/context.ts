/** What the parts of the embedded store share, and the checks that all of them make. */
import { SseError } from '../../errors.ts'
import type { Bucket } from '../store.ts'
import type { Database, Holder } from './database.ts'
import type { Disk } from './disk.ts'
import { checkName, encodeKey } from './keys.ts'
import type { ProcessName } from './liveness.ts'

/** An open store. */
export interface FileStore {
  readonly database: Database
  readonly disk: Disk
  /** This process. */
  readonly process: ProcessName
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** What this process writes beside what it holds. */
export const holder = ({ process, now }: FileStore): Holder => ({ process, since: now() })

/** Key of a bucket. */
export const bucketKey = (bucket: string): Uint8Array => {
  checkName('the name of a bucket', bucket, 63)
  return encodeKey(bucket)
}

/** Key of an object. */
export const objectKey = (bucket: string, key: string): Uint8Array => {
  checkName('the name of a bucket', bucket, 63)
  checkName('the key of an object', key, 1024)
  return encodeKey(bucket, key)
}

/** Key of an upload. */
export const uploadKey = (bucket: string, key: string, id: string): Uint8Array => {
  checkName('the name of a bucket', bucket, 63)
  checkName('the key of an object', key, 1024)
  checkName('the id of an upload', id, 600)
  return encodeKey(bucket, key, id)
}

/** The bucket, inside a read or a change; else `NoSuchBucket`. */
export const requireBucket = ({ database }: FileStore, bucket: string): Bucket => {
  const found = database.tables.buckets.get(bucketKey(bucket))
  if (found === undefined) throw new SseError('NoSuchBucket')
  return found
}
