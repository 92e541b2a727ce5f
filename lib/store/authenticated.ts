/**
 * A store whose rows decide nothing unless they carry a MAC: HMAC-SHA-256 under the store's index key, over what decides in a bucket (its id,
 * name, owner, settings), an object (its place, kind, owner, headers, notes, digests of envelope and values), an upload and a claim. A row that
 * somebody changed, moved or made without the key is refused with `IndexNotAuthentic`. Listings are not checked.
 *
 * Not detected: a row that is gone, or that is replaced by an older one of the same name.
 */
import { createHmac, createSecretKey, hash, timingSafeEqual } from 'node:crypto'
import { equal, hex } from '../bytes.ts'
import { randomId } from '../cipher/random.ts'
import { SseError } from '../errors.ts'
import { Lru } from '../lru.ts'
import type { Bucket, NewObject, NewUpload, ObjectCondition, ObjectRecord } from './records.ts'
import type { ObjectStore } from './store.ts'

/** JSON with its names in order, so that it is the same however a store keeps it. Members that are `undefined` are left out. */
const canonical = (value: unknown): string => {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  let members = ''
  for (const [name, member] of Object.entries(value).sort(byName)) {
    if (member !== undefined) members += `${members === '' ? '' : ','}${JSON.stringify(name)}:${canonical(member)}`
  }
  return `{${members}}`
}

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1)

const digest = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : hash('sha256', bytes, 'hex')

const ofBucket = (name: string, { id, owner, region, created, settings }: Omit<Bucket, 'revision' | 'name'>) =>
  ({ row: 'bucket', name, id, owner, region, created, settings }) as const

const ofObject = (bucketId: string, key: string, record: NewObject) => {
  const { size, etag, modified, kind, headers, notes, owner } = record
  const sealed = {
    envelope: digest(record.envelope),
    values: digest(record.values),
    partValues: digest(record.partValues),
  }
  return { row: 'object', bucketId, key, size, etag, modified, kind, headers, notes, owner, ...sealed } as const
}

const ofUpload = (bucketId: string, key: string, id: string, upload: NewUpload) => {
  const { kind, headers, notes, owner, initiated } = upload
  const session = digest(upload.session)
  return { row: 'upload', bucketId, key, id, kind, headers, notes, owner, initiated, session } as const
}

const ofClaim = (name: string, value: string) => ({ row: 'claim', name, value }) as const

type Row =
  ReturnType<typeof ofBucket> | ReturnType<typeof ofObject> | ReturnType<typeof ofUpload> | ReturnType<typeof ofClaim>

/** Whether all that the MAC of a bucket covers is the same, and the MAC too. */
const isSameRow = (bucket: Bucket, known: Bucket): boolean =>
  bucket.id === known.id &&
  bucket.owner === known.owner &&
  bucket.region === known.region &&
  bucket.created === known.created &&
  equal(bucket.mac ?? none, known.mac ?? none) &&
  canonical(bucket.settings) === canonical(known.settings)

const none = new Uint8Array()

// Claims with a MAC in front of their value; others, such as the index key itself, are no business of this store.
const claimed = 'authenticated/'

/**
 * The same store, its rows under a MAC. All that use the store must use it so; `key` is 32 bytes, and the caller wipes it.
 *
 * {@includeCode ../../test/examples/reference.test.ts#authenticated}
 */
export const authenticated = (store: ObjectStore, key: Uint8Array): ObjectStore => {
  if (key.length !== 32) throw new RangeError('an index key has 32 bytes')
  const secret = createSecretKey(key)
  const macOf = (row: Row): Uint8Array => createHmac('sha256', secret).update(canonical(row)).digest()

  const assertRow = (row: Row, mac: Uint8Array | undefined): void => {
    if (mac?.length !== 32 || !timingSafeEqual(mac, macOf(row))) throw new SseError('IndexNotAuthentic')
  }
  const assertObject = (bucketId: string, key: string, record: ObjectRecord): ObjectRecord => {
    assertRow(ofObject(bucketId, key, record), record.mac)
    return record
  }
  const sealObject = (bucketId: string, key: string, record: NewObject): NewObject => ({
    ...record,
    mac: macOf(ofObject(bucketId, key, record)),
  })
  const getObject: ObjectStore['getObject'] = async (bucketId, key) => {
    const record = await store.getObject(bucketId, key)
    return record && assertObject(bucketId, key, record)
  }
  // A condition is held against the row that lies there, so that row must be authentic.
  const assertAuthentic = async (bucketId: string, key: string, condition: ObjectCondition = {}): Promise<void> => {
    if (Object.values(condition).some(value => value !== undefined)) await getObject(bucketId, key)
  }
  // Asked for with every request: a row is compared with the one that was found authentic last, which takes no MAC.
  const authenticBuckets = new Lru<string, Bucket>({ most: 1000 })
  const openClaim = (name: string, text: string): string => {
    const dot = text.indexOf('.')
    const value = text.slice(dot + 1)
    assertRow(ofClaim(name, value), Buffer.from(text.slice(0, Math.max(dot, 0)), 'base64url'))
    return value
  }

  return {
    ...store,

    claim: async (name, value) => {
      const mac = Buffer.from(macOf(ofClaim(name, value))).toString('base64url')
      return openClaim(name, await store.claim(claimed + name, `${mac}.${value}`))
    },
    claims: async () => {
      const claims = new Map<string, string>()
      for (const [name, text] of await store.claims()) {
        if (!name.startsWith(claimed)) continue
        const own = name.slice(claimed.length)
        claims.set(own, openClaim(own, text))
      }
      return claims
    },

    createBucket: async (name, bucket, options) => {
      const id = bucket.id ?? hex(randomId(16))
      const { settings = {} } = bucket
      const mac = macOf(ofBucket(name, { ...bucket, id, settings }))
      return store.createBucket(name, { ...bucket, id, mac }, options)
    },
    getBucket: async name => {
      const bucket = await store.getBucket(name)
      const known = authenticBuckets.get(name)
      if (bucket === undefined || (known !== undefined && isSameRow(bucket, known))) return bucket
      assertRow(ofBucket(name, bucket), bucket.mac)
      authenticBuckets.set(name, bucket)
      return bucket
    },
    updateBucket: (bucket, { settings }) =>
      store.updateBucket(bucket, { settings, mac: macOf(ofBucket(bucket.name, { ...bucket, settings })) }),

    getObject,
    openObject: async (bucketId, key) => {
      const opened = await store.openObject(bucketId, key)
      try {
        if (opened !== undefined) assertObject(bucketId, key, opened.record)
        return opened
      } catch (error) {
        await opened?.body.close()
        throw error
      }
    },
    putObject: async (bucket, key, record, body, condition) => {
      await assertAuthentic(bucket.id, key, condition)
      return store.putObject(bucket, key, sealObject(bucket.id, key, record), body, condition)
    },
    deleteObject: async (bucket, key, condition) => {
      await assertAuthentic(bucket.id, key, condition)
      return store.deleteObject(bucket, key, condition)
    },
    copyObject: async (source, bucket, key, record, condition) => {
      await assertAuthentic(bucket.id, key, condition)
      return store.copyObject(source, bucket, key, sealObject(bucket.id, key, record), condition)
    },
    updateNotes: async (bucket, key, { notes }, condition) => {
      const record = await getObject(bucket.id, key)
      if (record === undefined) throw new SseError('NoSuchKey')
      const { mac } = sealObject(bucket.id, key, { ...record, notes })
      return store.updateNotes(bucket, key, { notes, mac }, { revision: record.revision, ...condition })
    },

    createUpload: async (bucket, key, upload, options) =>
      store.createUpload(bucket, key, { ...upload, mac: macOf(ofUpload(bucket.id, key, upload.id, upload)) }, options),
    getUpload: async (bucketId, key, id, options) => {
      const upload = await store.getUpload(bucketId, key, id, options)
      if (upload !== undefined) assertRow(ofUpload(bucketId, key, id, upload), upload.mac)
      return upload
    },
    completeUpload: async (bucket, key, id, completion, condition) => {
      await assertAuthentic(bucket.id, key, condition)
      const record = sealObject(bucket.id, key, completion.record)
      return store.completeUpload(bucket, key, id, { ...completion, record }, condition)
    },
  }
}
