/**
 * Bodies and their files in the database: who shares them, which are being written, and which are garbage. All of it happens inside a change,
 * together with the swap of the record that refers to the body.
 */
import { SseError } from '../../errors.ts'
import { type BodyDraft, type BodyRegister, sweptAway } from '../body-draft.ts'
import type { BodyStore } from '../body-store.ts'
import { newId } from '../names.ts'
import { type Postgres, type Session, statement } from './connection.ts'
import type { PostgresStore } from './context.ts'
import type { ProcessName } from './liveness.ts'

const due = (parameter: number): string => `clock_timestamp() + $${parameter} * interval '1 millisecond'`

const insertInline = statement("INSERT INTO body (id, form, size, refs, bytes) VALUES ($1, 'inline', $2, 1, $3)")
const enterPending = statement(`
  WITH file AS (DELETE FROM pending WHERE id = $1 RETURNING id)
  INSERT INTO body_file (id, size, head) SELECT id, $2, $3 FROM file RETURNING id`)
const insertBody = statement('INSERT INTO body (id, form, size, refs) VALUES ($1, $2, $3, 1)')
const assignFiles = statement(`
  UPDATE body_file SET body_id = $1, position = given.position
  FROM unnest($2::text[]) WITH ORDINALITY AS given (id, position)
  WHERE body_file.id = given.id AND body_file.body_id IS NULL RETURNING body_file.id`)
const addOne = statement('UPDATE body SET refs = refs + 1 WHERE id = $1 RETURNING id')
const dropLast = statement(`
  WITH gone AS (DELETE FROM body WHERE id = $1 AND refs = 1 RETURNING id),
  files AS (DELETE FROM body_file WHERE body_id IN (SELECT id FROM gone) RETURNING id),
  kept AS (INSERT INTO garbage (id, due) SELECT id, ${due(2)} FROM files)
  SELECT id FROM gone`)
const removeOne = statement('UPDATE body SET refs = refs - 1 WHERE id = $1 AND refs > 1 RETURNING id')
const dropLoose = statement(`
  WITH files AS (DELETE FROM body_file WHERE id = ANY($1::text[]) AND body_id IS NULL RETURNING id)
  INSERT INTO garbage (id, due) SELECT id, ${due(2)} FROM files`)

/** Inside a change: the file of a body as one that an upload has. */
export const enterFile = async (session: Session, { file: { id, size }, head }: BodyDraft): Promise<void> => {
  const [entered] = await session.query(enterPending, id, size, head)
  if (entered === undefined) throw sweptAway()
}

/** Inside a change: a new body of files that an upload has, in this order. Errors: `InvalidPart`, where one is not there. */
export const assembleBody = async (session: Session, files: readonly string[], size: number): Promise<string> => {
  const [first, ...others] = files
  const id = first !== undefined && others.length === 0 ? first : newId()
  await session.query(insertBody, id, id === first ? 'one' : 'list', size)
  const assigned = await session.query(assignFiles, id, files)
  if (assigned.length !== files.length) throw new SseError('InvalidPart')
  return id
}

/** Inside a change: a body as one that an object has. Answers its id. */
export const enterBody = async (session: Session, draft: BodyDraft): Promise<string> => {
  const { bytes, file } = draft
  if (bytes === undefined) {
    await enterFile(session, draft)
    return assembleBody(session, [file.id], file.size)
  }
  await session.query(insertInline, file.id, file.size, bytes)
  return file.id
}

/** Inside a change: one more object has this body. Whether the body is still there. */
export const addReference = async (session: Session, body: string): Promise<boolean> =>
  (await session.query(addOne, body)).length > 0

/** Inside a change: one object less has this body; the files of the last one become garbage. */
export const releaseBody = async (session: Session, body: string, grace: number): Promise<void> => {
  // Between the two, a change of another object may have taken the count from one to two or back.
  for (let i = 0; i < 10; i++) {
    if ((await session.query(dropLast, body, grace)).length > 0) return
    if ((await session.query(removeOne, body)).length > 0) return
  }
  throw new SseError('StoreBusy')
}

/** Inside a change: these files, of attempts, become garbage. */
export const dropFiles = async (session: Session, files: readonly string[], grace: number): Promise<void> => {
  if (files.length > 0) await session.query(dropLoose, files, grace)
}

const begin = statement(`
  WITH self AS (
    INSERT INTO process (id, name, heartbeat) VALUES ($2, $3, clock_timestamp()) ON CONFLICT (id) DO NOTHING
  )
  INSERT INTO pending (id, process) VALUES ($1, $2)`)
const forget = statement('DELETE FROM pending WHERE id = $1')
const discard = statement(`
  WITH file AS (DELETE FROM pending WHERE id = ANY($1::text[]) RETURNING id)
  INSERT INTO garbage (id, due) SELECT id, clock_timestamp() FROM file`)

/** Bodies that this process is writing. */
export interface Register extends BodyRegister {
  /** Makes garbage of those whose commit has not happened, of which that was unknown before. */
  settle(): Promise<void>
}

/** See {@link Register}. */
export const createRegister = (database: Postgres, bodies: BodyStore, process: ProcessName): Register => {
  const undecided = new Set<string>()
  return {
    bodies,
    assertSpace: () => {},
    begin: id =>
      database.change(async session => {
        await session.query(begin, id, process.id, process.name)
      }),
    giveUp: ({ id }, isGone) =>
      database.change(async session => {
        if (isGone) await session.query(forget, id)
        else await session.query(discard, [id])
      }),
    mayHaveHappened: (error, { id }) => {
      const isUnknown = database.mayHaveHappened(error)
      if (isUnknown) undecided.add(id)
      return isUnknown
    },
    settle: async () => {
      const ids = [...undecided]
      if (ids.length === 0) return
      // Waits for a commit that is under way: it holds the row.
      await database.aside(discard, ids)
      for (const id of ids) undecided.delete(id)
    },
  }
}

const lease = statement(`
  UPDATE garbage SET due = clock_timestamp() + interval '10 minutes' WHERE id IN (
    SELECT id FROM garbage WHERE due <= clock_timestamp() ORDER BY due LIMIT 500 FOR UPDATE SKIP LOCKED
  ) RETURNING id`)
const collected = statement('DELETE FROM garbage WHERE id = ANY($1::text[])')
const giveBack = statement('UPDATE garbage SET due = clock_timestamp() WHERE id = ANY($1::text[])')

// Files that are deleted at a time.
const atATime = 8

/** What a collection did. */
export interface Collected {
  /** Files that were deleted. */
  readonly removed: number
  /** The first error of files that could not be deleted: they are tried again. */
  readonly failure: unknown
}

/**
 * Deletes the files whose time has come: the file first and its row after that, so that a crash in between leaves nothing that the index does not
 * know. Of several processes that do so at once each takes other files.
 */
export const collectGarbage = async ({
  database,
  bodies,
}: Pick<PostgresStore, 'database' | 'bodies'>): Promise<Collected> => {
  let removed = 0
  let failure: unknown
  const failed: string[] = []
  const isUnavailable = (): boolean => failure instanceof SseError && failure.code === 'StoreUnavailable'
  for (;;) {
    const ids = (await database.aside<{ id: string }>(lease)).map(({ id }) => id)
    if (ids.length === 0) break
    const gone: string[] = []
    for (let at = 0; at < ids.length; at += atATime) {
      const some = ids.slice(at, at + atATime)
      const results = isUnavailable() ? [] : await Promise.allSettled(some.map(id => bodies.delete(id)))
      for (const [i, id] of some.entries()) {
        const result = results[i]
        if (result?.status === 'fulfilled') gone.push(id)
        else failed.push(id)
        if (result?.status === 'fulfilled' && result.value) removed++
        if (result?.status === 'rejected') failure ??= result.reason
      }
    }
    await database.aside(collected, gone)
    if (isUnavailable()) break
  }
  if (failed.length > 0) await database.aside(giveBack, failed)
  return { removed, failure }
}
