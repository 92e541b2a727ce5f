/** How much there is in the tables, without a look at each row: counted up to so many, and estimated by the statistics of the database beyond. */
import type { StoreCounts } from '../store.ts'
import { type Postgres, statement } from './connection.ts'

// As far as it is counted: a few milliseconds.
const counted = 10_000

const countOf = (rows: string, relation: string): string => `
  (SELECT CASE WHEN few.count <= ${counted} THEN few.count
    ELSE greatest(few.count, (SELECT reltuples::bigint FROM pg_class WHERE oid = '${relation}'::regclass)) END
   FROM (SELECT count(*) AS count FROM (SELECT FROM ${rows} LIMIT ${counted + 1}) r) few)`

const all = statement(`
  SELECT ${countOf('upload WHERE token IS NULL', 'upload_open')} AS uploads, ${countOf('body_file', 'body_file')} AS files`)

/** See {@link StoreCounts}. */
export const countAll = async (database: Postgres): Promise<StoreCounts> => {
  const [row] = await database.aside<{ uploads: number; files: number }>(all)
  return { openUploads: row?.uploads ?? 0, bodyFiles: row?.files ?? 0 }
}
