/**
 * Pages of keys in byte order, with common prefixes rolled up. The database walks along its index from one entry to the next: behind a key, or
 * behind everything that is rolled up with it. So a page costs what it shows and not what lies below its prefixes.
 */
import { compare, concat } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import type { ListOptions, ListUploadsOptions, ObjectListing, UploadListing } from '../store.ts'
import { type Session, statement } from './connection.ts'
import { bytesOf, nameOf } from './context.ts'
import { summaryColumns, summaryOf, type SummaryRow, uploadColumns, uploadOf, type UploadRow } from './rows.ts'

// $1 bucket, $2 first key, $3 behind the last one, $4 bytes of the prefix, $5 delimiter or NULL, $6 most entries.
const commonOf = (key: string): string =>
  `CASE WHEN position($5::bytea IN substring(${key} FROM $4::int + 1)) > 0
     THEN substring(${key} FROM 1 FOR $4::int + position($5::bytea IN substring(${key} FROM $4::int + 1)) - 1 + octet_length($5::bytea)) END`

const walkObjects = statement(`
  WITH RECURSIVE walk AS (
    (SELECT 1 AS n, key, ${commonOf('key')} AS common FROM object
     WHERE bucket_id = $1 AND key >= $2 AND key < $3 ORDER BY key LIMIT 1)
    UNION ALL
    SELECT walk.n + 1, next.key, next.common FROM walk, LATERAL (
      SELECT key, ${commonOf('key')} AS common FROM object
      WHERE bucket_id = $1 AND key >= CASE WHEN walk.common IS NULL THEN walk.key || '\\x00'::bytea ELSE walk.common || '\\xff'::bytea END
        AND key < $3 ORDER BY key LIMIT 1
    ) next WHERE walk.n < $6::int
  )
  SELECT walk.key AS at, walk.common, ${summaryColumns} FROM bucket b LEFT JOIN walk ON true
  LEFT JOIN object o ON walk.common IS NULL AND o.bucket_id = b.id AND o.key = walk.key
  WHERE b.id = $1 ORDER BY walk.n`)

const scanObjects = statement(`
  SELECT o.key AS at, NULL::bytea AS common, ${summaryColumns} FROM bucket b LEFT JOIN LATERAL (
    SELECT * FROM object WHERE bucket_id = $1 AND key >= $2 AND key < $3 ORDER BY key LIMIT $4::int
  ) o ON true WHERE b.id = $1 ORDER BY o.key`)

// $7: the id from which on, at the first key.
const walkUploads = statement(`
  WITH RECURSIVE walk AS (
    (SELECT 1 AS n, key, id, ${commonOf('key')} AS common FROM upload
     WHERE bucket_id = $1 AND token IS NULL AND (key, id) >= ($2::bytea, $7::bytea) AND key < $3 ORDER BY key, id LIMIT 1)
    UNION ALL
    SELECT walk.n + 1, next.key, next.id, next.common FROM walk, LATERAL (
      SELECT key, id, ${commonOf('key')} AS common FROM upload
      WHERE bucket_id = $1 AND token IS NULL AND (key, id) >= (
        CASE WHEN walk.common IS NULL THEN walk.key ELSE walk.common || '\\xff'::bytea END,
        CASE WHEN walk.common IS NULL THEN walk.id || '\\x00'::bytea ELSE '\\x'::bytea END
      ) AND key < $3 ORDER BY key, id LIMIT 1
    ) next WHERE walk.n < $6::int
  )
  SELECT walk.key AS at, walk.common, ${uploadColumns} FROM bucket b LEFT JOIN walk ON true
  LEFT JOIN upload u ON walk.common IS NULL AND u.bucket_id = b.id AND u.key = walk.key AND u.id = walk.id
  WHERE b.id = $1 ORDER BY walk.n`)

const nothing = new Uint8Array()
// No UTF-8 has this byte: behind everything that begins so.
const end = Uint8Array.of(255)
const zero = Uint8Array.of(0)

/** Where a page begins and ends. */
interface Bounds {
  readonly from: Uint8Array
  readonly to: Uint8Array
  readonly prefixSize: number
  readonly delimiter: Uint8Array | null
}

const boundsOf = ({ prefix = '', delimiter = '', after }: Omit<ListOptions, 'limit'>, behind: Uint8Array): Bounds => {
  const start = bytesOf(prefix)
  const at = delimiter === '' || !after?.startsWith(prefix) ? -1 : after.indexOf(delimiter, prefix.length)
  // What is rolled up with the marker has been shown before.
  const from = at < 0 || after === undefined ? behind : concat(bytesOf(after.slice(0, at + delimiter.length)), end)
  return {
    from: compare(from, start) > 0 ? from : start,
    to: concat(start, end),
    prefixSize: start.length,
    delimiter: delimiter === '' ? null : bytesOf(delimiter),
  }
}

/** Where a walk is. */
interface Step {
  readonly at: Uint8Array | null
  readonly common: Uint8Array | null
}

interface Page<Row> {
  readonly rows: readonly (Row & { readonly at: Uint8Array })[]
  readonly truncated: boolean
}

const isEntry = <Row extends Step>(row: Row): row is Row & { readonly at: Uint8Array } => row.at !== null

const pageOf = <Row extends Step>(rows: readonly Row[], limit: number): Page<Row> => {
  if (rows.length === 0) throw new SseError('NoSuchBucket')
  const found = rows.filter(isEntry)
  return { rows: found.slice(0, limit), truncated: limit > 0 && found.length > limit }
}

const prefixesOf = (rows: readonly Step[]): readonly string[] =>
  rows.flatMap(({ common }) => (common === null ? [] : [nameOf(common)]))

/** A page of the objects of a bucket. Errors: `NoSuchBucket`. */
export const listObjects = async (session: Session, bucketId: string, options: ListOptions): Promise<ObjectListing> => {
  const { after, limit } = options
  const behind = after === undefined ? nothing : concat(bytesOf(after), zero)
  const { from, to, prefixSize, delimiter } = boundsOf(options, behind)
  const most = Math.max(limit, 0) + 1
  type Row = SummaryRow & Step
  const all =
    delimiter === null
      ? await session.query<Row>(scanObjects, bucketId, from, to, most)
      : await session.query<Row>(walkObjects, bucketId, from, to, prefixSize, delimiter, most)
  const { rows, truncated } = pageOf(all, limit)
  const last = rows.at(-1)
  return {
    entries: rows.filter(({ common }) => common === null).map(row => ({ key: nameOf(row.at), record: summaryOf(row) })),
    prefixes: prefixesOf(rows),
    truncated,
    next: truncated && last !== undefined ? nameOf(last.common ?? last.at) : undefined,
  }
}

/** A page of the open uploads of a bucket. Errors: `NoSuchBucket`. */
export const listUploads = async (
  session: Session,
  bucketId: string,
  { prefix, delimiter: by, keyAfter: after, idAfter, limit }: ListUploadsOptions,
): Promise<UploadListing> => {
  const key = after === undefined ? nothing : bytesOf(after)
  // After all uploads of that key, or after one of them.
  const isWithin = after !== undefined && idAfter !== undefined
  const behind = after === undefined || isWithin ? key : concat(key, zero)
  const { from, to, prefixSize, delimiter } = boundsOf({ prefix, delimiter: by, after }, behind)
  const id = isWithin && compare(from, key) === 0 ? concat(bytesOf(idAfter), zero) : nothing
  const most = Math.max(limit, 0) + 1
  type Row = UploadRow & Step
  const all = await session.query<Row>(walkUploads, bucketId, from, to, prefixSize, delimiter, most, id)
  const { rows, truncated } = pageOf(all, limit)
  const last = rows.at(-1)
  const next =
    last?.common == null
      ? { keyAfter: last && nameOf(last.at), idAfter: last && nameOf(last.id) }
      : { keyAfter: nameOf(last.common), idAfter: undefined }
  return {
    uploads: rows.filter(({ common }) => common === null).map(uploadOf),
    prefixes: prefixesOf(rows),
    truncated,
    next: truncated ? next : undefined,
  }
}
