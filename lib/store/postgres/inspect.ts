/** What a check looks at in the store in PostgreSQL: rows of objects and uploads with what they refer to, and whether they add up. */
import { checkBodyId } from '../names.ts'
import { type IndexFault, inspectBodies, type StoreInspection } from '../inspection.ts'
import { type Session, statement } from './connection.ts'
import { bytesOf, commit, type PostgresStore } from './context.ts'
import { knownBodies } from './sweep.ts'

const findBody = statement(`
  SELECT o.revision, o.stored_size AS size, body.form, octet_length(body.bytes) AS inline,
    (SELECT json_agg(json_build_array(f.id, f.size) ORDER BY f.position) FROM body_file f WHERE f.body_id = o.body_id) AS files
  FROM object o JOIN body ON body.id = o.body_id WHERE o.bucket_id = $1 AND o.key = $2`)

interface BodyRow {
  readonly revision: string
  readonly size: number
  readonly form: 'inline' | 'one' | 'list'
  readonly inline: number | null
  readonly files: readonly (readonly [id: string, size: number])[] | null
}

const findParts = statement(`
  SELECT p.number, p.attempt, p.file, p.stored_size AS size FROM upload u JOIN part p ON p.upload = u.serial
  WHERE u.bucket_id = $1 AND u.key = $2 AND u.id = $3 AND u.token IS NULL ORDER BY p.number, p.seq`)

interface PartRow {
  readonly number: number
  readonly attempt: string
  readonly file: string
  readonly size: number
}

const patience = statement("SELECT set_config('statement_timeout', '0', true)")
const holdAll = statement('LOCK TABLE object, body, body_file, part, garbage IN SHARE ROW EXCLUSIVE MODE')
const wrongCounts = statement(`
  SELECT b.id, b.refs AS says, count(o.body_id)::int AS is FROM body b LEFT JOIN object o ON o.body_id = b.id
  GROUP BY b.id HAVING b.refs <> count(o.body_id)`)
const forgotten = statement(`
  SELECT f.id FROM body_file f WHERE f.body_id IS NULL AND NOT EXISTS (
    SELECT FROM part p JOIN upload u ON u.serial = p.upload WHERE p.file = f.id AND u.token IS NULL)`)
const unregistered = statement(`
  SELECT p.file AS id, p.stored_size AS size FROM part p JOIN upload u ON u.serial = p.upload
  WHERE u.token IS NULL AND NOT EXISTS (SELECT FROM body_file f WHERE f.id = p.file)`)
const doomed = statement('SELECT f.id FROM body_file f JOIN garbage g ON g.id = f.id')
const lostBuckets = statement(`
  SELECT DISTINCT o.bucket_id AS id FROM object o WHERE NOT EXISTS (SELECT FROM bucket b WHERE b.id = o.bucket_id)`)

const setCount = statement('UPDATE body SET refs = $2 WHERE id = $1')
const dropBody = statement(`
  WITH files AS (DELETE FROM body_file WHERE body_id = $1 RETURNING id)
  INSERT INTO garbage (id, due) SELECT id, clock_timestamp() + $2 * interval '1 millisecond' FROM files
  ON CONFLICT DO NOTHING`)
const removeBody = statement('DELETE FROM body WHERE id = $1')
const dropFile = statement(`
  WITH file AS (DELETE FROM body_file WHERE id = $1 AND body_id IS NULL RETURNING id)
  INSERT INTO garbage (id, due) SELECT id, clock_timestamp() + $2 * interval '1 millisecond' FROM file
  ON CONFLICT DO NOTHING`)
const addFile = statement("INSERT INTO body_file (id, size, head) VALUES ($1, $2, '')")
const spare = statement('DELETE FROM garbage WHERE id = $1')

type IdRow = { readonly id: string }

/** Inside a change. */
const findFaults = async (session: Session, grace: number, mend: boolean): Promise<readonly IndexFault[]> => {
  await session.query(patience)
  if (mend) await session.query(holdAll)
  const faults: IndexFault[] = []
  const report = async (
    what: IndexFault['what'],
    id: string,
    message: string,
    repair?: () => Promise<unknown>,
  ): Promise<void> => {
    const mended = mend && repair !== undefined
    if (mended) await repair()
    faults.push({ what, id, message, mended })
  }
  for (const { id } of await session.query<IdRow>(lostBuckets)) {
    await report('row', id, `there are objects of a bucket, ${id}, that is not there`)
  }
  type CountRow = IdRow & { readonly says: number; readonly is: number }
  for (const { id, says, is } of await session.query<CountRow>(wrongCounts)) {
    await report('count', id, `the index counts ${says} objects of the body ${id}, and there are ${is}`, async () => {
      if (is > 0) return session.query(setCount, id, is)
      await session.query(dropBody, id, grace)
      return session.query(removeBody, id)
    })
  }
  const unkept = (id: string): string =>
    `the file ${id} belongs to an object or upload, and is not kept for it: a sweep would delete it`
  for (const { id, size } of await session.query<IdRow & { readonly size: number }>(unregistered)) {
    await report('unregistered', id, unkept(id), () => session.query(addFile, id, size))
  }
  for (const { id } of await session.query<IdRow>(doomed)) {
    await report('unregistered', id, unkept(id), () => session.query(spare, id))
  }
  for (const { id } of await session.query<IdRow>(forgotten)) {
    await report('forgotten', id, `nothing refers to the file ${id}, and nobody would delete it`, () =>
      session.query(dropFile, id, grace),
    )
  }
  return faults
}

/** See {@link StoreInspection}. */
export const inspection = (context: PostgresStore): StoreInspection => {
  const { database, grace } = context
  return {
    ...inspectBodies(knownBodies(context)),

    body: async (bucketId, key) => {
      const [row] = await database.read<BodyRow>(findBody, bucketId, bytesOf(key))
      if (row === undefined) return undefined
      const { revision, size, form, inline, files } = row
      return {
        revision,
        size,
        inline: form === 'inline' ? (inline ?? 0) : undefined,
        files: (files ?? []).map(([id, length]) => ({ id: checkBodyId(id), size: length })),
      }
    },

    parts: async (bucketId, key, id) =>
      (await database.read<PartRow>(findParts, bucketId, bytesOf(key), bytesOf(id))).map(
        ({ number, attempt, file, size }) => ({ number, attempt, file: { id: checkBodyId(file), size } }),
      ),

    indexFaults: ({ mend }) => commit(context, session => findFaults(session, grace, mend)),
  }
}
