/**
 * Index and bodies of a store know each other by a random id: in the index's table `meta`, and in the file `bodies/store-id`. Where one of
 * the two was lost, exchanged or is not mounted, the store is not opened: the sweep would take every body for one that belongs to nothing.
 *
 * The first opening of a store, so that a process killed at any moment leaves what the next opening accepts:
 *
 *     1. the index has a proposed id      2. the file has it      3. the index has it for good
 *
 * So a file without an index of its id means a lost index, and an index with a settled id has had the file.
 */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { SseError } from '../../errors.ts'
import { type Database, hasAny } from './database.ts'
import { hasCode, notRegular, readOnly } from '../../files.ts'
import { asStoreFailed } from '../failure.ts'
import { newId } from '../names.ts'
import { encodeKey } from './keys.ts'

/** Keys in `meta`. */
const settled = encodeKey('store-id')
const proposed = encodeKey('new-store-id')

// What every key begins with.
const anything = new Uint8Array()

/** What is opened. */
export interface Halves {
  readonly database: Database
  /** Path of the folder of the bodies, which may be missing. */
  readonly bodies: string
  /** Says that the index counts and the bodies that it does not know do not. */
  readonly beginAnew: boolean
}

/**
 * Makes sure that this index and these bodies belong together; gives them an id where they have none yet. `StoreFailed` where they do not,
 * unless `beginAnew`.
 */
export const identify = async (halves: Halves): Promise<void> => {
  const { database, bodies, beginAnew } = halves
  const { meta } = database.tables
  const read = (key: Uint8Array): string | undefined => meta.get(key)?.toString()
  await asStoreFailed(async () => {
    const used = database.read(() => read(settled)) === undefined && (await holdsFiles(bodies))
    // As changes: LMDB lets one process at a time make one, so that none sees the steps of another half done.
    const isDone = await database.write(() => {
      const id = read(settled)
      const beside = readId(bodies)
      if (id !== undefined && id === beside) return true
      const isBegun = read(proposed) !== undefined
      const fits =
        id === undefined && (beside === undefined ? isBegun || mayBegin(database, used) : beside === read(proposed))
      if (!fits && !beginAnew) throw refused(bodies, id, beside)
      if (id === undefined && read(proposed) === undefined) meta.putSync(proposed, newId())
      return false
    }, 'reserve')
    if (isDone) return
    await database.write(() => {
      const id = read(settled) ?? read(proposed) ?? newId()
      if (readId(bodies) !== id) writeStoreId(bodies, id)
      meta.putSync(settled, id)
      meta.removeSync(proposed)
    }, 'reserve')
  })
}

/** Whether an index without an id and bodies without one are a new store: neither of them knows a file. */
const mayBegin = ({ tables: { files, pending } }: Database, used: boolean): boolean =>
  !used && ![files, pending].some(table => hasAny(table, anything))

/** The id of an index, made where there is none: that of one whose bodies do not lie beside it. */
export const settledId = (database: Database): Promise<string> => {
  const { meta } = database.tables
  const read = (): string | undefined => meta.get(settled)?.toString()
  return database.write(() => {
    const id = read() ?? newId()
    if (read() === undefined) meta.putSync(settled, id)
    return id
  }, 'reserve')
}

const describe = (id: string | undefined, beside: string | undefined): readonly [index: string, bodies: string] => {
  if (id !== undefined)
    return [`belongs to store ${id}`, beside === undefined ? 'have no store id' : `belong to store ${beside}`]
  return beside === undefined
    ? ['has no store id', 'have none, and files that one of the two knows are missing in the other']
    : ['is new', `belong to store ${beside}`]
}

const refused = (bodies: string, id: string | undefined, beside: string | undefined): SseError => {
  const [ofIndex, ofBodies] = describe(id, beside)
  const message =
    `The index ${ofIndex}, but the bodies in ${bodies} ${ofBodies}. Nothing was deleted. Mount or restore the folder that is missing, ` +
    'index or bodies. Or begin anew, which deletes the bodies that the index does not know: sweepAll, on the command line --sweep-all.'
  return new SseError('StoreFailed', { message })
}

const idFile = (bodies: string): string => join(bodies, 'store-id')

const readId = (bodies: string): string | undefined => {
  const path = idFile(bodies)
  try {
    return withFile(path, readOnly, file => {
      if (!fstatSync(file).isFile()) throw notRegular(path)
      return readFileSync(file, 'latin1').trim()
    })
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** Writes the id beside bodies: durable, whole or not at all. */
export const writeStoreId = (bodies: string, id: string): void => {
  const temporary = `${idFile(bodies)}.new`
  mkdirSync(bodies, { recursive: true, mode: 0o700 })
  rmSync(temporary, { force: true }) // a new file, whatever has this name
  withFile(temporary, 'wx', file => {
    writeSync(file, `${id}\n`)
    fsyncSync(file)
  })
  renameSync(temporary, idFile(bodies))
  for (const folder of [bodies, dirname(bodies)]) withFile(folder, 'r', fsyncSync)
}

const withFile = <T>(path: string, flags: 'r' | 'wx' | number, use: (file: number) => T): T => {
  const file = openSync(path, flags, 0o600)
  try {
    return use(file)
  } finally {
    closeSync(file)
  }
}

/** Whether there is any body file. */
const holdsFiles = async (bodies: string): Promise<boolean> => {
  for (const shelf of await namesIn(bodies)) {
    if (!/^[0-9a-f]{2}$/.test(shelf)) continue
    if ((await namesIn(join(bodies, shelf))).some(name => /^[0-9a-f]{32}$/.test(name))) return true
  }
  return false
}

const namesIn = async (folder: string): Promise<readonly string[]> => {
  try {
    return await readdir(folder)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}
