/** Bodies that are being written, in the index of the embedded store: pending until a change enters them as those of an object or upload. */
import { type BodyDraft, type BodyRegister, sweptAway } from '../body-draft.ts'
import type { BodyFile } from '../body-store.ts'
import { type FileStore, holder } from './context.ts'
import type { BodyPlace } from './database.ts'
import { discardBody } from './garbage.ts'
import { encodeKey } from './keys.ts'
import { addReference } from './references.ts'

type Inner = Omit<FileStore, 'collectSoon' | 'register'>

/** See {@link BodyRegister}. */
export const createRegister = (context: Inner): BodyRegister => {
  const { database, bodies } = context
  const { pending } = database.tables
  return {
    bodies,
    assertSpace: () => database.assertSpace(),
    begin: id =>
      database.write(() => {
        pending.putSync(encodeKey(id), holder(context))
      }),
    giveUp: (file, isGone) =>
      database.write(() => {
        if (isGone) pending.removeSync(encodeKey(file.id))
        else discardBody(context, { form: 'file', ...enter(context, file) })
      }, 'reserve'),
    mayHaveHappened: () => database.broken,
  }
}

const enter = ({ database }: Inner, file: BodyFile): BodyFile => {
  const { pending, files } = database.tables
  const key = encodeKey(file.id)
  if (!pending.removeSync(key)) throw sweptAway()
  files.putSync(key, true)
  return file
}

/** Inside a change: the file of a body as one that an upload has. */
export const enterFile = (context: FileStore, draft: BodyDraft): BodyFile => enter(context, draft.file)

/** Inside a change: a body as one that an object has. */
export const enterBody = (context: FileStore, draft: BodyDraft): BodyPlace => {
  const { bytes, file } = draft
  const { database } = context
  const body: BodyPlace =
    bytes === undefined ? { form: 'file', ...enterFile(context, draft) } : { form: 'inline', ...file }
  if (bytes !== undefined && bytes.length > 0) database.tables.inline.putSync(encodeKey(file.id), bytes)
  addReference(database, body)
  return body
}
