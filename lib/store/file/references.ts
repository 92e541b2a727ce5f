/**
 * Who shares which body: the counts of references to bodies, and the files that belong to them, in the index. All of it happens inside a
 * change, together with the swap of the record that refers to the body, so that a count is never wrong.
 */
import type { BodyFile } from '../body-store.ts'
import { checkBodyId, newId } from '../names.ts'
import type { BodyPlace, Database } from './database.ts'
import { encodeKey } from './keys.ts'

/** The files of a body, in order; none of one that lies in the index. */
export const filesOf = ({ tables }: Database, body: BodyPlace): readonly BodyFile[] => {
  if (body.form === 'inline') return []
  if (body.form === 'file') return [{ id: checkBodyId(body.id), size: body.size }]
  const files = tables.manifests.get(encodeKey(body.id)) ?? []
  for (const { id } of files) checkBodyId(id)
  return files
}

const changeCount = ({ tables }: Database, key: Uint8Array, by: number): number => {
  const count = (tables.counts.get(key) ?? 0) + by
  if (count > 0) tables.counts.putSync(key, count)
  else tables.counts.removeSync(key)
  return count
}

/** One more refers to a body: the first of a new one. */
export const addReference = (database: Database, body: BodyPlace): void => {
  changeCount(database, encodeKey(body.id), 1)
}

/** One less. Whether nothing refers to the body any more. */
export const removeReference = (database: Database, body: BodyPlace): boolean =>
  changeCount(database, encodeKey(body.id), -1) < 1

/** A new body of files that belonged to an upload, one after the other; with its first reference. */
export const assembleBody = (database: Database, files: readonly BodyFile[]): BodyPlace => {
  const [first, ...others] = files
  const size = files.reduce((sum, file) => sum + file.size, 0)
  const alone = first !== undefined && others.length === 0
  const body: BodyPlace = alone ? { form: 'file', id: first.id, size } : { form: 'files', id: newId(), size }
  if (!alone) database.tables.manifests.putSync(encodeKey(body.id), files)
  addReference(database, body)
  return body
}
