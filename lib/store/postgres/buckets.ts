/** Buckets, and claims: facts of the whole store, of which the first one stands. */
import { SseError } from '../../errors.ts'
import { checkName, newId } from '../names.ts'
import type { Bucket } from '../records.ts'
import type { ObjectStore } from '../store.ts'
import { statement } from './connection.ts'
import {
  assertRevision,
  type BucketRow,
  bucketOfRow,
  commit,
  hasNul,
  holdBucket,
  lock,
  lockOf,
  type PostgresStore,
} from './context.ts'
import { dropUploadsIn } from './parts.ts'

/** The part of the store that deals with buckets. */
export type BucketActions = Pick<
  ObjectStore,
  'createBucket' | 'getBucket' | 'updateBucket' | 'deleteBucket' | 'listBuckets'
>

const columns = 'id, name, revision, owner, region, created, settings, mac'
const byName = statement(`SELECT ${columns} FROM bucket WHERE name = $1`)
const all = statement(`SELECT ${columns} FROM bucket ORDER BY name`)
const ofOwner = statement(`SELECT ${columns} FROM bucket WHERE owner = $1 ORDER BY name`)
const countOf = statement('SELECT count(*) AS count FROM bucket WHERE owner = $1')
const insert = statement(
  `INSERT INTO bucket (${columns}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name) DO NOTHING RETURNING id`,
)
const update = statement('UPDATE bucket SET revision = $2, settings = $3, mac = $4 WHERE id = $1')
const remove = statement('DELETE FROM bucket WHERE id = $1')
const hasObject = statement('SELECT 1 AS one FROM object WHERE bucket_id = $1 LIMIT 1')
const hasUpload = statement('SELECT 1 AS one FROM upload WHERE bucket_id = $1 AND token IS NULL LIMIT 1')

const checkText = (what: string, name: string, most: number): void => {
  checkName(what, name, most)
  if (hasNul(name)) throw new TypeError(`${what} has a NUL in it, which PostgreSQL does not keep`)
}

/** See {@link ObjectStore}. */
export const bucketActions = (context: PostgresStore): BucketActions => {
  const { database } = context
  return {
    createBucket: async (name, bucket, { most = Infinity } = {}) => {
      const { id = newId(), owner, region, created, settings = {}, mac } = bucket
      checkText('the name of a bucket', name, 63)
      checkText('the owner of a bucket', owner, 1024)
      return database.change(async session => {
        await lock(session, lockOf('owner', owner))
        const facts = { id, revision: newId(), name, owner, region, created, settings }
        const assertFree = async (): Promise<void> => {
          const [there] = await session.query<BucketRow>(byName, name)
          if (there === undefined) return
          throw new SseError(there.owner === owner ? 'BucketAlreadyOwnedByYou' : 'BucketAlreadyExists')
        }
        await assertFree()
        const [row] = most === Infinity ? [] : await session.query<{ count: number }>(countOf, owner)
        if (row !== undefined && row.count >= most) throw new SseError('TooManyBuckets')
        const { revision } = facts
        const text = JSON.stringify(settings)
        const [made] = await session.query(insert, id, name, revision, owner, region, created, text, mac)
        if (made === undefined) {
          await assertFree() // another owner was first
          throw new SseError('StoreBusy')
        }
        const result: Bucket = mac === undefined ? facts : { ...facts, mac }
        return result
      })
    },

    getBucket: async name => {
      checkName('the name of a bucket', name, 63)
      if (hasNul(name)) return undefined
      const [row] = await database.read<BucketRow>(byName, name)
      return row && bucketOfRow(row)
    },

    updateBucket: async (bucket, { settings, mac }) =>
      database.change(async session => {
        const { mac: _old, ...facts } = assertRevision(await holdBucket(session, bucket.id, true), bucket)
        const changed = { ...facts, ...(mac && { mac }), revision: newId(), settings }
        await session.query(update, changed.id, changed.revision, JSON.stringify(settings), mac)
        return changed
      }),

    deleteBucket: async (bucket, { dropUploads = false } = {}) => {
      await database.change(async session => {
        const { id } = assertRevision(await holdBucket(session, bucket.id, true), bucket)
        const objects = await session.query(hasObject, id)
        const uploads = dropUploads ? [] : await session.query(hasUpload, id)
        if (objects.length + uploads.length > 0) throw new SseError('BucketNotEmpty')
        await session.query(remove, id)
      })
      // The bucket is gone, and its uploads with it, whatever comes of this: the sweep goes on.
      await dropUploadsIn(context, bucket.id, action => commit(context, action)).catch(() => {})
    },

    listBuckets: async ({ owner } = {}) => {
      const rows =
        owner === undefined ? await database.read<BucketRow>(all) : await database.read<BucketRow>(ofOwner, owner)
      return rows.map(bucketOfRow)
    },
  }
}

/** The part of the store that deals with claims. */
export type ClaimActions = Pick<ObjectStore, 'claim' | 'claims'>

interface Claim {
  readonly name: string
  readonly value: string
}

const claimOf = statement('SELECT name, value FROM claim WHERE name = $1')
const allClaims = statement('SELECT name, value FROM claim')
const makeClaim = statement('INSERT INTO claim (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING')

/** See {@link ObjectStore}. */
export const claimActions = ({ database }: PostgresStore): ClaimActions => ({
  claim: async (name, value) => {
    checkText('the name of a claim', name, 1024)
    const [known] = await database.read<Claim>(claimOf, name)
    if (known !== undefined) return known.value
    return database.change(async session => {
      await session.query(makeClaim, name, value)
      const [standing] = await session.query<Claim>(claimOf, name)
      return standing?.value ?? value
    })
  },

  claims: async () => new Map((await database.read<Claim>(allClaims)).map(({ name, value }) => [name, value])),
})
