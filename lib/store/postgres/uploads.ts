/**
 * Uploads. Attempts of parts are files of their own; Complete makes a body of them without touching a byte, and a completed upload is
 * remembered for a while, so that a Complete that is sent again gets its answer.
 */
import { SseError } from '../../errors.ts'
import { commitBody } from '../body-draft.ts'
import { peekAttempts } from '../body-reader.ts'
import { checkName, checkUploadPlace, newId } from '../names.ts'
import type { NewUpload, Part } from '../records.ts'
import type { ObjectStore } from '../store.ts'
import { assembleBody, dropFiles, enterFile } from './bodies.ts'
import { type Session, statement } from './connection.ts'
import { assertRevision, bytesOf, commit, holdBucket, holdKey, lock, lockOf, type PostgresStore } from './context.ts'
import { listUploads } from './listing.ts'
import { heldObject, replaceObject } from './objects.ts'
import { attemptOf, dropSuperfluous, dropUpload, partsOf } from './parts.ts'
import {
  partOf,
  type RecordJson,
  recordOfJson,
  recordToJson,
  uploadColumns,
  uploadOf,
  type UploadRow,
  uploadValues,
} from './rows.ts'

/** The part of the store that deals with uploads. */
export type UploadActions = Pick<
  ObjectStore,
  | 'createUpload'
  | 'getUpload'
  | 'listUploads'
  | 'putPart'
  | 'listParts'
  | 'peekParts'
  | 'completeUpload'
  | 'abortUpload'
>

const insert = statement(`
  INSERT INTO upload (serial, bucket_id, key, id, session, kind, headers, notes, owner, initiated, mac)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (bucket_id, key, id) DO NOTHING RETURNING serial`)
const openOnes = statement(
  'SELECT count(*) AS count FROM (SELECT FROM upload WHERE bucket_id = $1 AND token IS NULL LIMIT $2) few',
)
const find = statement(`
  SELECT ${uploadColumns} FROM bucket b LEFT JOIN upload u ON u.bucket_id = b.id AND u.key = $2 AND u.id = $3 WHERE b.id = $1`)
const held = statement('SELECT serial, token, answer FROM upload WHERE bucket_id = $1 AND key = $2 AND id = $3')
const insertPart = statement(`
  INSERT INTO part (upload, number, attempt, size, stored_size, etag, receipt, modified, acknowledged, file)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp(), $9)`)
const dropOthers = statement('DELETE FROM part WHERE upload = $1 AND NOT (file = ANY($2::text[])) RETURNING file')
const complete = statement('UPDATE upload SET token = $2, completed = clock_timestamp(), answer = $3 WHERE serial = $1')

interface HeldUpload {
  readonly serial: string
  readonly token: string | null
  readonly answer: RecordJson | null
}

const findHeld = async (
  session: Session,
  bucketId: string,
  key: string,
  id: string,
): Promise<HeldUpload | undefined> => {
  const [row] = await session.query<HeldUpload>(held, bucketId, bytesOf(key), bytesOf(id))
  return row
}

/** Inside a change that holds the key: the serial of an open upload. */
const requireOpen = async (session: Session, bucketId: string, key: string, id: string): Promise<string> => {
  const row = await findHeld(session, bucketId, key, id)
  if (row?.token !== null) throw new SseError('NoSuchUpload')
  return row.serial
}

/** See {@link ObjectStore}. */
export const uploadActions = (context: PostgresStore): UploadActions => {
  const { database, bodies, register, grace } = context
  const reading: Session = { query: (...query) => database.read(...query) }

  return {
    createUpload: async (bucket, key, upload, { most = Infinity } = {}) => {
      const { id, session: sealed, kind, headers, notes, owner, initiated, mac } = upload
      checkUploadPlace(bucket.id, key, id)
      const facts = { id, kind, headers, notes, owner, initiated }
      const kept: NewUpload = { ...facts, ...(sealed && { session: sealed }), ...(mac && { mac }) }
      return database.change(async session => {
        await holdKey(session, bucket, key)
        const [open] = most === Infinity ? [] : await session.query<{ count: number }>(openOnes, bucket.id, most)
        if (open !== undefined && open.count >= most) throw new SseError('TooManyUploads')
        const values = uploadValues(kept)
        const [made] = await session.query(insert, newId(), bucket.id, bytesOf(key), bytesOf(id), ...values)
        if (made === undefined) throw new TypeError('the id of the upload is taken')
        return { ...kept, key }
      })
    },

    getUpload: async (bucketId, key, id, { completed = false } = {}) => {
      checkUploadPlace(bucketId, key, id)
      type Row = UploadRow | { readonly [Column in keyof UploadRow]: null }
      const [row] = await database.read<Row>(find, bucketId, bytesOf(key), bytesOf(id))
      if (row === undefined) throw new SseError('NoSuchBucket')
      return row.serial === null || (!completed && row.token !== null) ? undefined : uploadOf(row)
    },

    listUploads: async (bucketId, options) => {
      checkName('the id of a bucket', bucketId, 32)
      return listUploads(reading, bucketId, options)
    },

    putPart: (bucket, key, id, part, body) =>
      commitBody(register, body, async draft => {
        checkUploadPlace(bucket.id, key, id)
        await draft.toFile()
        const { number, attempt, size, etag, receipt, modified } = part
        const { id: file, size: storedSize } = draft.file
        return commit(context, async session => {
          await holdKey(session, bucket, key)
          const serial = await requireOpen(session, bucket.id, key, id)
          await enterFile(session, draft)
          await session.query(insertPart, serial, number, attempt, size, storedSize, etag, receipt, modified, file)
          await dropSuperfluous(session, serial, grace, number)
          const facts = { number, attempt, size, modified, storedSize }
          const kept: Part = { ...facts, ...(etag !== undefined && { etag }), ...(receipt && { receipt }) }
          return kept
        })
      }),

    listParts: async (bucketId, key, id, { completed } = {}) => {
      checkUploadPlace(bucketId, key, id)
      return (await partsOf(reading, [bucketId, key, id], completed)).map(partOf)
    },

    peekParts: async (bucketId, key, id, attempts, length, { completed } = {}) => {
      checkUploadPlace(bucketId, key, id)
      const parts = await partsOf(reading, [bucketId, key, id], completed)
      const found = new Map(parts.map(part => [part.attempt, attemptOf(part)]))
      return peekAttempts(
        bodies,
        attempts.map(attempt => found.get(attempt)),
        length,
      )
    },

    completeUpload: async (bucket, key, id, { token, attempts, record }, condition) => {
      checkUploadPlace(bucket.id, key, id)
      return commit(context, async session => {
        const now = await holdBucket(session, bucket.id)
        await lock(session, lockOf(bucket.id, key))
        const upload = await findHeld(session, bucket.id, key, id)
        if (upload?.token === token && upload.answer !== null) return recordOfJson(upload.answer)
        assertRevision(now, bucket)
        if (upload?.token !== null) throw new SseError('NoSuchUpload')
        const old = await heldObject(session, bucket.id, key, condition)
        const parts = new Map((await partsOf(session, [bucket.id, key, id])).map(part => [part.attempt, part]))
        const chosen = attempts.map(attempt => {
          const part = parts.get(attempt)
          if (part === undefined) throw new SseError('InvalidPart')
          return part
        })
        const files = chosen.map(({ file }) => file)
        const size = chosen.reduce((sum, part) => sum + part.stored_size, 0)
        const body = { id: await assembleBody(session, files, size), size }
        const others = await session.query<{ file: string }>(dropOthers, upload.serial, files)
        await dropFiles(
          session,
          others.map(({ file }) => file),
          grace,
        )
        const result = await replaceObject(session, context, [bucket.id, key], record, body, old)
        await session.query(complete, upload.serial, token, recordToJson(result))
        return result
      })
    },

    abortUpload: async (bucket, key, id) => {
      checkUploadPlace(bucket.id, key, id)
      await commit(context, async session => {
        await holdKey(session, bucket, key)
        await dropUpload(session, await requireOpen(session, bucket.id, key, id), grace)
      })
    },
  }
}
