/** What the parts of the store share: the database, and what every change begins with. */
import { createHash } from 'node:crypto'
import { SseError } from '../../errors.ts'
import type { BodyRegister } from '../body-draft.ts'
import type { BodyStore } from '../body-store.ts'
import type { Bucket, BucketRevision } from '../records.ts'
import { type Postgres, type Session, statement } from './connection.ts'

/** An open store. */
export interface PostgresStore {
  readonly database: Postgres
  readonly bodies: BodyStore
  /** Bodies that are being written. */
  readonly register: BodyRegister
  /** Milliseconds for which a file is kept after nothing refers to it any more. */
  readonly grace: number
  /** Has what is garbage deleted, soon. */
  readonly collectSoon: () => void
}

/** Runs a change that may leave files that nothing refers to any more. */
export const commit = async <T>(
  { database, collectSoon }: PostgresStore,
  action: (session: Session) => Promise<T>,
): Promise<T> => {
  const result = await database.change(action)
  collectSoon()
  return result
}

/** A name as the database has it where any Unicode may be in it. */
export const bytesOf = (name: string): Uint8Array => Buffer.from(name)

/** The name of such bytes. */
export const nameOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()

/** Text of PostgreSQL holds no NUL: a name with one is in no column of text. */
export const hasNul = (name: string): boolean => name.includes('\0')

const shareBucket = statement(
  'SELECT id, name, revision, owner, region, created, settings, mac FROM bucket WHERE id = $1 FOR SHARE',
)
const ownBucket = statement(
  'SELECT id, name, revision, owner, region, created, settings, mac FROM bucket WHERE id = $1 FOR UPDATE',
)

/** A row of `bucket`. */
export interface BucketRow extends Omit<Bucket, 'mac'> {
  readonly mac: Uint8Array | null
}

/** A bucket of its row. */
export const bucketOfRow = ({ mac, ...facts }: BucketRow): Bucket => (mac === null ? facts : { ...facts, mac })

/** Inside a change: the bucket of this id, which stays as it is until the change is over. Errors: `NoSuchBucket`. */
export const holdBucket = async (session: Session, id: string, alone = false): Promise<Bucket> => {
  const [row] = await session.query<BucketRow>(alone ? ownBucket : shareBucket, id)
  if (row === undefined) throw new SseError('NoSuchBucket')
  return bucketOfRow(row)
}

/** The bucket, as its caller has judged it; else `BucketChanged`. */
export const assertRevision = (bucket: Bucket, { revision }: BucketRevision): Bucket => {
  if (bucket.revision !== revision) throw new SseError('BucketChanged')
  return bucket
}

/** The number of a lock, which stands for these names. */
export const lockOf = (...names: readonly string[]): string => {
  const hash = createHash('sha256')
  for (const name of names) hash.update(name).update('\0')
  return hash.digest().readBigInt64BE().toString()
}

const takeLocks = statement('SELECT pg_advisory_xact_lock(number) FROM unnest($1::bigint[]) AS number')

const ascending = (a: string, b: string): number => (BigInt(a) < BigInt(b) ? -1 : 1)

/**
 * Inside a change: nobody else changes what these locks stand for until the change is over, whether or not there is a row of it. What is read
 * after it is the newest.
 */
export const lock = async (session: Session, ...locks: readonly string[]): Promise<void> => {
  await session.query(takeLocks, [...new Set(locks)].sort(ascending))
}

/** Inside a change: the bucket as its caller has judged it, and this key in it. Errors: `NoSuchBucket`, `BucketChanged`. */
export const holdKey = async (session: Session, bucket: BucketRevision, key: string): Promise<void> => {
  assertRevision(await holdBucket(session, bucket.id), bucket)
  await lock(session, lockOf(bucket.id, key))
}
