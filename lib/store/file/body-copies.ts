/** Body files that are put from one folder into another, as links or copies, durably: for backups of the embedded store, and back. */
import { copyFile, link, lstat, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, openRegular, syncDirectory } from '../../files.ts'
import type { BodyFile } from '../body-store.ts'
import { makeShelves } from './disk.ts'

const shelfIn = (bodies: string, id: string): string => join(bodies, id.slice(0, 2))
const pathIn = (bodies: string, id: string): string => join(shelfIn(bodies, id), id)

/** What work answers; `undefined` where the system refuses it with this code. */
export const unless = async <T>(code: string, work: Promise<T>): Promise<T | undefined> => {
  try {
    return await work
  } catch (error) {
    if (hasCode(error, code)) return undefined
    throw error
  }
}

const sizeOf = async (path: string): Promise<number | undefined> => (await unless('ENOENT', lstat(path)))?.size

/** Flushes a file. */
export const syncFile = async (path: string): Promise<void> => {
  const handle = await open(path, 'r+')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Puts bodies of one folder into another, where they are not there yet. Names are flushed by `settle`. */
export class BodyCopies {
  /** Files that were put there; the others were there. */
  added = 0
  readonly #from: string
  readonly #to: string
  #links: boolean
  readonly #touched = new Set<string>()

  /** From one folder of bodies to another; links are tried unless `copy`. */
  constructor(from: string, to: string, copy: boolean) {
    this.#from = from
    this.#to = to
    this.#links = !copy
  }

  /** Makes the folders. */
  prepare(): Promise<void> {
    return makeShelves(this.#to)
  }

  /** Whether the file is there now, with its size. */
  async bring({ id, size }: BodyFile): Promise<boolean> {
    const [source, target] = [pathIn(this.#from, id), pathIn(this.#to, id)]
    const held = await sizeOf(target)
    if (held === size) return true
    if (held !== undefined) await rm(target)
    if ((await sizeOf(source)) !== size) return false
    const isDone = (await this.#link(source, target)) ?? (await this.#copy(source, target))
    if (isDone) {
      this.added++
      this.#touched.add(shelfIn(this.#to, id))
    }
    return isDone
  }

  /** `undefined` where a link cannot be. */
  async #link(source: string, target: string): Promise<boolean | undefined> {
    if (!this.#links) return undefined
    try {
      await link(source, target)
      return true
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return false
      if (!['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP'].some(code => hasCode(error, code))) throw error
      if (!hasCode(error, 'EMLINK')) this.#links = false
      return undefined
    }
  }

  async #copy(source: string, target: string): Promise<boolean> {
    const temporary = `${target}.new`
    const opened = await unless('ENOENT', openRegular(source))
    if (opened === undefined) return false
    await opened.file.close()
    if (
      (await unless(
        'ENOENT',
        copyFile(source, temporary).then(() => true),
      )) === undefined
    )
      return false
    await syncFile(temporary)
    await rename(temporary, target)
    return true
  }

  /** Makes the names durable of what was put there. */
  async settle(): Promise<void> {
    for (const shelf of this.#touched) await syncDirectory(shelf)
    this.#touched.clear()
  }
}
