/**
 * The tables, as steps from one version to the next: whoever opens a store makes the steps that are missing, in one transaction, one process at
 * a time. Steps are only ever added. A database of a later version is not opened.
 *
 *   store      one row: the id of the store, the version of its tables
 *   bucket     one row a bucket; `id` never changes, `revision` changes with its settings
 *   object     key is UTF-8, so that its order is that of the bytes; body names a row of `body`, which objects may share
 *   body       `inline` (bytes lie here), `one` file, or a `list` of files; refs counts its objects
 *   body_file  a file of the body store: of a body, at a position, or of an attempt of a part (body_id is null)
 *   upload     open, or completed with a token: then `answer` is the record of its object
 *   part       an attempt, in the order of their acknowledgement
 *   process    who uses the store, and when it last said so
 *   pending    files that are being written, by whom
 *   garbage    files that nothing refers to any more, and from when on they may be deleted
 *   incarnation  one row until the server crashes or another one takes over: then none, and the next process that says it is there makes one
 *
 * A file is in one of body_file, pending and garbage from before it is created until after it is deleted.
 */
import { SseError } from '../../errors.ts'
import { newId } from '../names.ts'
import { type Postgres, type Session, statement } from './connection.ts'

const steps: readonly string[] = [
  `CREATE TABLE store (
     id text NOT NULL,
     version integer NOT NULL,
     alone boolean PRIMARY KEY DEFAULT true CHECK (alone)
   );
   CREATE TABLE claim (
     name text COLLATE "C" PRIMARY KEY,
     value text NOT NULL
   );
   CREATE TABLE bucket (
     id text COLLATE "C" PRIMARY KEY,
     name text COLLATE "C" NOT NULL UNIQUE,
     revision text NOT NULL,
     owner text COLLATE "C" NOT NULL,
     region text NOT NULL,
     created bigint NOT NULL,
     settings json NOT NULL,
     mac bytea
   );
   CREATE INDEX bucket_owner ON bucket (owner, name);
   CREATE TABLE body (
     id text COLLATE "C" PRIMARY KEY,
     form text NOT NULL CHECK (form IN ('inline', 'one', 'list')),
     size bigint NOT NULL,
     refs integer NOT NULL CHECK (refs > 0),
     bytes bytea
   );
   ALTER TABLE body ALTER COLUMN bytes SET STORAGE EXTERNAL;
   CREATE TABLE body_file (
     id text COLLATE "C" PRIMARY KEY,
     body_id text COLLATE "C" REFERENCES body,
     position integer,
     size bigint NOT NULL,
     head bytea NOT NULL
   );
   CREATE INDEX body_file_body ON body_file (body_id, position) WHERE body_id IS NOT NULL;
   CREATE TABLE object (
     bucket_id text COLLATE "C" NOT NULL,
     key bytea NOT NULL,
     size bigint NOT NULL,
     stored_size bigint NOT NULL,
     etag text NOT NULL,
     modified bigint NOT NULL,
     kind text NOT NULL,
     key_id text,
     headers json NOT NULL,
     notes json NOT NULL,
     owner text NOT NULL,
     revision text NOT NULL,
     envelope bytea,
     sealed_values bytea,
     part_values bytea,
     mac bytea,
     body_id text COLLATE "C" NOT NULL REFERENCES body,
     PRIMARY KEY (bucket_id, key)
   );
   CREATE INDEX object_body ON object (body_id);
   CREATE TABLE upload (
     serial text COLLATE "C" PRIMARY KEY,
     bucket_id text COLLATE "C" NOT NULL,
     key bytea NOT NULL,
     id bytea NOT NULL,
     session bytea,
     kind text NOT NULL,
     headers json NOT NULL,
     notes json NOT NULL,
     owner text NOT NULL,
     initiated bigint NOT NULL,
     mac bytea,
     token text,
     completed timestamptz,
     answer json,
     UNIQUE (bucket_id, key, id)
   );
   CREATE INDEX upload_open ON upload (bucket_id, key, id) WHERE token IS NULL;
   CREATE TABLE part (
     upload text COLLATE "C" NOT NULL,
     number integer NOT NULL,
     seq bigint GENERATED ALWAYS AS IDENTITY,
     attempt text NOT NULL,
     size bigint NOT NULL,
     stored_size bigint NOT NULL,
     etag text,
     receipt bytea,
     modified bigint NOT NULL,
     acknowledged timestamptz NOT NULL,
     file text COLLATE "C" NOT NULL,
     PRIMARY KEY (upload, number, seq)
   );
   CREATE TABLE process (
     id text COLLATE "C" PRIMARY KEY,
     name text NOT NULL,
     heartbeat timestamptz NOT NULL
   );
   CREATE TABLE pending (
     id text COLLATE "C" PRIMARY KEY,
     process text COLLATE "C" NOT NULL
   );
   CREATE INDEX pending_process ON pending (process);
   CREATE TABLE garbage (
     id text COLLATE "C" PRIMARY KEY,
     due timestamptz NOT NULL
   );
   CREATE INDEX garbage_due ON garbage (due);`,
  `CREATE UNLOGGED TABLE incarnation (
     id uuid NOT NULL,
     alone boolean PRIMARY KEY DEFAULT true CHECK (alone)
   );`,
]

/** Version of the tables that this program knows. */
export const schemaVersion = steps.length

const lock = statement('SELECT pg_advisory_xact_lock(1936942195, 1)')
const patience = statement("SELECT set_config('statement_timeout', '0', true)")
const look = statement(`
  SELECT to_regclass('store')::text AS store, current_setting('server_version_num')::int AS server,
    current_setting('server_encoding') AS encoding, current_setting('synchronous_commit') AS commit`)
const read = statement('SELECT id, version FROM store')
const found = statement('INSERT INTO store (id, version) VALUES ($1, $2)')
const raise = statement('UPDATE store SET version = $1')

const refuse = (message: string): SseError => new SseError('StoreFailed', { message })

interface Looked {
  readonly store: string | null
  readonly server: number
  readonly encoding: string
  readonly commit: string
}

const checkServer = ({ server, encoding, commit }: Looked): void => {
  if (server < 130_000) throw refuse('The store needs PostgreSQL 13 or later. Give it a newer server.')
  if (encoding !== 'UTF8') {
    throw refuse(`The database has the encoding ${encoding}. Give the store a database with the encoding UTF8.`)
  }
  if (commit === 'off') {
    throw refuse(
      'The database acknowledges commits before they are on disk. Set synchronous_commit to on for its role.',
    )
  }
}

const migrate = async (session: Session): Promise<string> => {
  await session.query(patience)
  await session.query(lock)
  const [looked] = await session.query<Looked>(look)
  if (looked !== undefined) checkServer(looked)
  const [row] = looked?.store == null ? [] : await session.query<{ id: string; version: number }>(read)
  const { id = newId(), version = 0 } = row ?? {}
  if (version > schemaVersion) {
    throw refuse(
      `The tables of the store have version ${version}, this program knows ${schemaVersion}. Use the version that wrote them.`,
    )
  }
  for (const text of steps.slice(version)) await session.query({ name: '', text })
  if (row === undefined) await session.query(found, id, schemaVersion)
  else if (version < schemaVersion) await session.query(raise, schemaVersion)
  return id
}

/** Makes the tables what this program knows. Answers the id of the store. Errors: `StoreFailed`, of a server or a version that does not fit. */
export const openSchema = (database: Postgres): Promise<string> => database.changeTables(migrate)
