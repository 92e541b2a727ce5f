/** A store seen through the names of its buckets, for tests that look past a gateway into what lies there. */
import { once } from 'node:events'
import type { Bucket, NewObject, NewPart, ObjectRecord, Part, Upload } from '../../lib/store/records.ts'
import type { ObjectStore } from '../../lib/store/store.ts'
import { bucketOf } from './store.ts'

/** An object by name. */
export interface At {
  readonly bucket: string
  readonly key: string
}

/** The store's methods for a test. Where a bucket has to be there and is not, they fail. */
export interface StoreByName {
  getObject(bucket: string, key: string): Promise<ObjectRecord | undefined>
  /** Puts an object of these bytes whose record says what is given. */
  putObject(bucket: string, key: string, bytes: Uint8Array | string, record: NewObject): Promise<ObjectRecord>
  /** Puts body and record of an object at another place, or its own: as they are, but for what is given. */
  plant(source: At, target: At, given?: Partial<NewObject>): Promise<void>
  /** The keys of a bucket, in order. */
  keys(bucket: string): Promise<readonly string[]>
  /** Swaps all settings of a bucket. */
  setSettings(bucket: string, settings: Bucket['settings']): Promise<void>
  getUpload(bucket: string, key: string, id: string): Promise<Upload | undefined>
  listParts(bucket: string, key: string, id: string): Promise<readonly Part[]>
  putPart(bucket: string, key: string, id: string, part: NewPart, bytes: Uint8Array | string): Promise<void>
}

/** See {@link StoreByName}. */
export const byName = (store: ObjectStore): StoreByName => {
  const bodyOf = async (bytes: Uint8Array | string) => {
    const body = await store.createBody()
    body.writable.end(bytes)
    await once(body.writable, 'finish')
    return body
  }
  const idOf = async (name: string): Promise<string> => (await bucketOf(store, name)).id
  return {
    getObject: async (bucket, key) => store.getObject(await idOf(bucket), key),
    putObject: async (bucket, key, bytes, record) =>
      store.putObject(await bucketOf(store, bucket), key, record, await bodyOf(bytes)),
    plant: async (source, target, given = {}) => {
      const bucketId = await idOf(source.bucket)
      const record = await store.getObject(bucketId, source.key)
      if (record === undefined) throw new Error(`there is no object ${source.key}`)
      const from = { bucketId, key: source.key, revision: record.revision }
      await store.copyObject(from, await bucketOf(store, target.bucket), target.key, { ...record, ...given })
    },
    keys: async bucket => (await store.listObjects(await idOf(bucket), { limit: 1000 })).entries.map(({ key }) => key),
    setSettings: async (bucket, settings) => {
      await store.updateBucket(await bucketOf(store, bucket), { settings })
    },
    getUpload: async (bucket, key, id) => store.getUpload(await idOf(bucket), key, id),
    listParts: async (bucket, key, id) => store.listParts(await idOf(bucket), key, id),
    putPart: async (bucket, key, id, part, bytes) => {
      await store.putPart(await bucketOf(store, bucket), key, id, part, await bodyOf(bytes))
    },
  }
}
