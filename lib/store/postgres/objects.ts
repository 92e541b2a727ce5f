/** Objects: a row each, and a body that objects may share. */
import { SseError } from '../../errors.ts'
import { commitBody } from '../body-draft.ts'
import { memoryBody, openFiles } from '../body-reader.ts'
import { assertCondition } from '../condition.ts'
import { asStoreFailed, pieceMissing } from '../failure.ts'
import { checkBodyId, checkName, checkPlace, newId } from '../names.ts'
import type { NewObject, ObjectCondition, ObjectRecord } from '../records.ts'
import type { ObjectStore } from '../store.ts'
import { addReference, enterBody, releaseBody } from './bodies.ts'
import { type Session, statement } from './connection.ts'
import { assertRevision, bytesOf, commit, holdBucket, holdKey, lock, lockOf, type PostgresStore } from './context.ts'
import { listObjects } from './listing.ts'
import { keyIdOf, newRecord, objectColumns, type ObjectRow, recordOf, summaryOf } from './rows.ts'

/** The part of the store that deals with objects. */
export type ObjectActions = Pick<
  ObjectStore,
  'putObject' | 'getObject' | 'openObject' | 'deleteObject' | 'copyObject' | 'updateNotes' | 'listObjects'
>

// A row where there is such a bucket; its columns are NULL where there is no such object.
const ofBucket = 'FROM bucket b LEFT JOIN object o ON o.bucket_id = b.id AND o.key = $2'
const find = statement(`SELECT ${objectColumns} ${ofBucket} WHERE b.id = $1`)
const open = statement(`
  SELECT ${objectColumns}, body.form, body.bytes,
    (SELECT json_agg(json_build_array(f.id, f.size) ORDER BY f.position) FROM body_file f WHERE f.body_id = o.body_id) AS files
  ${ofBucket} LEFT JOIN body ON body.id = o.body_id WHERE b.id = $1`)
const current = statement(`SELECT ${objectColumns} FROM object o WHERE o.bucket_id = $1 AND o.key = $2`)
const replace = statement(`
  INSERT INTO object (bucket_id, key, size, stored_size, etag, modified, kind, key_id, headers, notes, owner, revision,
    envelope, sealed_values, part_values, mac, body_id)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
  ON CONFLICT (bucket_id, key) DO UPDATE SET
    (size, stored_size, etag, modified, kind, key_id, headers, notes, owner, revision,
      envelope, sealed_values, part_values, mac, body_id)
    = (EXCLUDED.size, EXCLUDED.stored_size, EXCLUDED.etag, EXCLUDED.modified, EXCLUDED.kind, EXCLUDED.key_id,
      EXCLUDED.headers, EXCLUDED.notes, EXCLUDED.owner, EXCLUDED.revision,
      EXCLUDED.envelope, EXCLUDED.sealed_values, EXCLUDED.part_values, EXCLUDED.mac, EXCLUDED.body_id)`)
const remove = statement('DELETE FROM object WHERE bucket_id = $1 AND key = $2')
const setNotes = statement(
  'UPDATE object SET notes = $3, key_id = $4, mac = $5, revision = $6 WHERE bucket_id = $1 AND key = $2',
)

/** Of an outer join: every column is NULL where there is no object. */
type Found<Row> = Row | { readonly [Column in keyof Row]: null }

const isThere = <Row extends ObjectRow>(row: Found<Row>): row is Row => row.body_id !== null

interface OpenRow extends ObjectRow {
  readonly form: 'inline' | 'one' | 'list'
  readonly bytes: Uint8Array | null
  readonly files: readonly (readonly [id: string, size: number])[] | null
}

/** Inside a change that holds the key: the object that lies there, if the condition holds of it. */
export const heldObject = async (
  session: Session,
  bucketId: string,
  key: string,
  condition: ObjectCondition | undefined,
): Promise<ObjectRow | undefined> => {
  const [row] = await session.query<ObjectRow>(current, bucketId, bytesOf(key))
  assertCondition(row && summaryOf(row), condition)
  return row
}

/** A body that an object is given, which has its reference already. */
export interface NewBody {
  readonly id: string
  readonly size: number
}

/** Inside a change that holds the key: makes record and body the object, instead of the old one. */
export const replaceObject = async (
  session: Session,
  { grace }: PostgresStore,
  [bucketId, key]: readonly [bucketId: string, key: string],
  given: NewObject,
  body: NewBody,
  old: ObjectRow | undefined,
): Promise<ObjectRecord> => {
  const record = newRecord(given, body.size, newId())
  const { size, storedSize, etag, modified, kind, headers, notes, owner, revision } = record
  const facts = [size, storedSize, etag, modified, kind, keyIdOf(notes), JSON.stringify(headers), JSON.stringify(notes)]
  const { envelope, values, partValues, mac } = record
  const sealed = [envelope, values, partValues, mac]
  await session.query(replace, bucketId, bytesOf(key), ...facts, owner, revision, ...sealed, body.id)
  if (old !== undefined) await releaseBody(session, old.body_id, grace)
  return record
}

const filesOf = ({ files }: OpenRow) => (files ?? []).map(([id, size]) => ({ id: checkBodyId(id), size }))

/** See {@link ObjectStore}. */
export const objectActions = (context: PostgresStore): ObjectActions => {
  const { database, bodies, register, grace } = context

  const findObject = async (session: Session, bucketId: string, key: string): Promise<ObjectRow | undefined> => {
    const [row] = await session.query<Found<ObjectRow>>(find, bucketId, bytesOf(key))
    if (row === undefined) throw new SseError('NoSuchBucket')
    return isThere(row) ? row : undefined
  }
  const reading: Session = { query: (...query) => database.read(...query) }

  return {
    putObject: (bucket, key, record, body, condition) =>
      commitBody(register, body, async draft => {
        checkPlace(bucket.id, key)
        return commit(context, async session => {
          await holdKey(session, bucket, key)
          const old = await heldObject(session, bucket.id, key, condition)
          const entered = { id: await enterBody(session, draft), size: draft.size }
          return replaceObject(session, context, [bucket.id, key], record, entered, old)
        })
      }),

    getObject: async (bucketId, key) => {
      checkPlace(bucketId, key)
      const row = await findObject(reading, bucketId, key)
      return row && recordOf(row)
    },

    openObject: async (bucketId, key) => {
      checkPlace(bucketId, key)
      return asStoreFailed(async () => {
        for (let last: string | undefined; ;) {
          const [row] = await database.read<Found<OpenRow>>(open, bucketId, bytesOf(key))
          if (row === undefined) throw new SseError('NoSuchBucket')
          if (!isThere(row)) return undefined
          const record = recordOf(row)
          // It is still the object whose file was gone.
          if (record.revision === last) throw pieceMissing()
          last = record.revision
          const bytes = row.form === 'inline' ? (row.bytes ?? new Uint8Array()) : undefined
          // Not where a file is gone, as it is when the object is another one by now.
          const body = bytes ? memoryBody(bytes) : await openFiles(bodies, filesOf(row))
          if (body !== undefined) return { record, body }
        }
      })
    },

    deleteObject: async (bucket, key, condition) => {
      checkPlace(bucket.id, key)
      return commit(context, async session => {
        await holdKey(session, bucket, key)
        const old = await heldObject(session, bucket.id, key, condition)
        if (old === undefined) return false
        await session.query(remove, bucket.id, bytesOf(key))
        await releaseBody(session, old.body_id, grace)
        return true
      })
    },

    copyObject: async (source, bucket, key, record, condition) => {
      checkPlace(source.bucketId, source.key)
      checkPlace(bucket.id, key)
      return commit(context, async session => {
        assertRevision(await holdBucket(session, bucket.id), bucket)
        await lock(session, lockOf(source.bucketId, source.key), lockOf(bucket.id, key))
        const found = await findObject(session, source.bucketId, source.key)
        if (found === undefined) throw new SseError('NoSuchKey')
        assertCondition(summaryOf(found), { revision: source.revision })
        const old = await heldObject(session, bucket.id, key, condition)
        if (!(await addReference(session, found.body_id))) throw pieceMissing()
        const body = { id: found.body_id, size: found.stored_size }
        return replaceObject(session, context, [bucket.id, key], record, body, old)
      })
    },

    updateNotes: async (bucket, key, { notes, mac }, condition) => {
      checkPlace(bucket.id, key)
      return database.change(async session => {
        await holdKey(session, bucket, key)
        const [row] = await session.query<ObjectRow>(current, bucket.id, bytesOf(key))
        if (row === undefined) throw new SseError('NoSuchKey')
        assertCondition(summaryOf(row), condition)
        const revision = newId()
        await session.query(setNotes, bucket.id, bytesOf(key), JSON.stringify(notes), keyIdOf(notes), mac, revision)
        return recordOf({ ...row, notes, revision, mac: mac ?? null })
      })
    },

    listObjects: async (bucketId, options) => {
      checkName('the id of a bucket', bucketId, 32)
      return listObjects(reading, bucketId, options)
    },
  }
}
