/** Attempts of parts, which are files of their own until their upload becomes an object: which are kept, and how uploads are dropped. */
import { SseError } from '../../errors.ts'
import type { Attempt } from '../body-reader.ts'
import { checkBodyId } from '../names.ts'
import { newest, young } from '../retention.ts'
import type { ExpiredUpload } from '../store.ts'
import { dropFiles } from './bodies.ts'
import { type Session, statement } from './connection.ts'
import { bytesOf, lock, lockOf, nameOf, type PostgresStore } from './context.ts'
import { partColumns, type PartRow } from './rows.ts'

// A row where there is such a bucket; one of each attempt. `held`: the size of a file that is still one of an upload or a body.
const ofUpload = `
  FROM bucket b LEFT JOIN upload u ON u.bucket_id = b.id AND u.key = $2 AND u.id = $3
  LEFT JOIN part p ON p.upload = u.serial LEFT JOIN body_file f ON f.id = p.file WHERE b.id = $1 ORDER BY p.number, p.seq`
const findParts = statement(`SELECT u.serial, u.token, ${partColumns}, f.size AS held, f.head ${ofUpload}`)

/** An attempt, and what is known of its file. */
export interface HeldPart extends PartRow {
  readonly held: number | null
  readonly head: Uint8Array | null
}

interface FoundPart {
  readonly serial: string | null
  readonly token: string | null
  readonly file: string | null
}

const isPart = (row: FoundPart | (FoundPart & HeldPart)): row is FoundPart & HeldPart => row.file !== null

/** The attempts of an upload, by number, those of a number in the order of their acknowledgement. Errors: `NoSuchBucket`, `NoSuchUpload`. */
export const partsOf = async (
  session: Session,
  [bucketId, key, id]: readonly [bucketId: string, key: string, id: string],
  completed = false,
): Promise<readonly HeldPart[]> => {
  const rows = await session.query<FoundPart | (FoundPart & HeldPart)>(findParts, bucketId, bytesOf(key), bytesOf(id))
  const [first] = rows
  if (first === undefined) throw new SseError('NoSuchBucket')
  if (first.serial === null || (!completed && first.token !== null)) throw new SseError('NoSuchUpload')
  return rows.filter(isPart)
}

/** An attempt as its file is read; `undefined` where the file is gone. */
export const attemptOf = ({ file, held, head }: HeldPart): Attempt | undefined =>
  held === null ? undefined : { file: { id: checkBodyId(file), size: held }, ...(head && { head }) }

const superfluous = statement(`
  DELETE FROM part WHERE upload = $1 AND acknowledged <= clock_timestamp() - ${young} * interval '1 millisecond'
    AND (number, seq) IN (
      SELECT number, seq FROM (
        SELECT number, seq, row_number() OVER (PARTITION BY number ORDER BY seq DESC) AS age FROM part
        WHERE upload = $1 AND ($2::int IS NULL OR number = $2)
      ) ranked WHERE age > ${newest}
    ) RETURNING file`)

/** Inside a change that holds the key: lets go of attempts that newer ones of their number make superfluous; of all numbers by default. */
export const dropSuperfluous = async (
  session: Session,
  serial: string,
  grace: number,
  number?: number,
): Promise<void> => {
  const rows = await session.query<{ file: string }>(superfluous, serial, number)
  await dropFiles(
    session,
    rows.map(({ file }) => file),
    grace,
  )
}

const someParts = statement(`
  DELETE FROM part WHERE upload = $1 AND (number, seq) IN (SELECT number, seq FROM part WHERE upload = $1 LIMIT 5000) RETURNING file`)
const oneUpload = statement('SELECT serial FROM upload WHERE bucket_id = $1 LIMIT 1')
const removeUpload = statement('DELETE FROM upload WHERE serial = $1')

/** Inside a change: drops an upload and its attempts. */
export const dropUpload = async (session: Session, serial: string, grace: number): Promise<void> => {
  for (;;) {
    const rows = await session.query<{ file: string }>(someParts, serial)
    if (rows.length === 0) break
    // Those of a completed upload are files of a body, which are left alone.
    await dropFiles(
      session,
      rows.map(({ file }) => file),
      grace,
    )
  }
  await session.query(removeUpload, serial)
}

/** Drops all uploads of a bucket that is gone, each in a change of its own. */
export const dropUploadsIn = async (
  { grace }: PostgresStore,
  bucketId: string,
  change: (action: (session: Session) => Promise<boolean>) => Promise<boolean>,
): Promise<void> => {
  const dropOne = async (session: Session): Promise<boolean> => {
    const [row] = await session.query<{ serial: string }>(oneUpload, bucketId)
    if (row !== undefined) await dropUpload(session, row.serial, grace)
    return row !== undefined
  }
  while (await change(dropOne));
}

const lostBuckets = statement(`
  SELECT DISTINCT bucket_id AS id FROM upload u WHERE NOT EXISTS (SELECT FROM bucket b WHERE b.id = u.bucket_id)`)

/** Drops the uploads of buckets that are gone: their deletion was interrupted. */
export const dropLostUploads = async (context: PostgresStore): Promise<void> => {
  const { database } = context
  for (const { id } of await database.aside<{ id: string }>(lostBuckets)) {
    await dropUploadsIn(context, id, action => database.changeAside(action))
  }
}

const crowded = statement(`
  SELECT DISTINCT u.serial, u.bucket_id, u.key FROM upload u JOIN part p ON p.upload = u.serial WHERE u.token IS NULL
  GROUP BY u.serial, p.number HAVING count(*) > ${newest}`)
const isOpen = statement('SELECT serial FROM upload WHERE serial = $1 AND token IS NULL')

/** Lets go of attempts that were superfluous already, but too young, when the last one of their number came. */
export const dropOldAttempts = async ({ database, grace }: PostgresStore): Promise<void> => {
  type Row = { readonly serial: string; readonly bucket_id: string; readonly key: Uint8Array }
  for (const { serial, bucket_id: bucketId, key } of await database.aside<Row>(crowded)) {
    await database.changeAside(async session => {
      await lock(session, lockOf(bucketId, nameOf(key)))
      if ((await session.query(isOpen, serial)).length > 0) await dropSuperfluous(session, serial, grace)
    })
  }
}

const openFor = statement(`
  SELECT u.serial, u.bucket_id, u.key, u.id, u.initiated, b.name AS bucket FROM upload u JOIN bucket b ON b.id = u.bucket_id
  WHERE u.token IS NULL AND u.initiated <= extract(epoch FROM clock_timestamp()) * 1000 - $1::float8`)

interface OldUpload {
  readonly serial: string
  readonly bucket_id: string
  readonly key: Uint8Array
  readonly id: Uint8Array
  readonly initiated: number
  readonly bucket: string
}

/** Drops uploads that are open for so many milliseconds, as an abort does. Answers them. */
export const dropExpiredUploads = async (
  { database, grace }: PostgresStore,
  age: number,
): Promise<readonly ExpiredUpload[]> => {
  const dropped: ExpiredUpload[] = []
  for (const { serial, bucket_id: bucketId, initiated, bucket, ...names } of await database.aside<OldUpload>(
    openFor,
    age,
  )) {
    const [key, id] = [nameOf(names.key), nameOf(names.id)]
    const isDropped = await database.changeAside(async session => {
      await lock(session, lockOf(bucketId, key))
      if ((await session.query(isOpen, serial)).length === 0) return false
      await dropUpload(session, serial, grace)
      return true
    })
    if (isDropped) dropped.push({ bucket, key, id, initiated })
  }
  return dropped
}

const expired = statement(`
  SELECT serial FROM upload WHERE token IS NOT NULL AND completed <= clock_timestamp() - $1 * interval '1 millisecond'`)

/** Gives up the memory of uploads that were completed so long ago. Answers how many. */
export const forgetCompletions = async ({ database, grace }: PostgresStore, remember: number): Promise<number> => {
  const rows = await database.aside<{ serial: string }>(expired, remember)
  for (const { serial } of rows) await database.changeAside(session => dropUpload(session, serial, grace))
  return rows.length
}
