/**
 * The body files: `bodies/ab/abcdef…`, named by 32 random hex digits, never by a bucket or key. Mode 0600 in directories of mode 0700.
 * What the names mean stands in the index alone.
 */
import { mkdir, open, opendir, readdir, unlink } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { hex } from '../../bytes.ts'
import { randomBytes } from '../../cipher/random.ts'
import { SseError } from '../../errors.ts'

/** A new id of a body, a file, a pin, a version. */
export const newId = (): string => hex(randomBytes(16))

/** Whether the system answered with this code, such as `ENOENT`. */
export const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code

/** Runs work on files: what the system refuses becomes `StoreFailed`, with the system's error as its cause. */
export const onDisk = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work()
  } catch (cause) {
    throw cause instanceof SseError ? cause : new SseError('StoreFailed', { cause })
  }
}

const syncDirectory = async (path: string): Promise<void> => {
  const handle = await open(path)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const shelves = Array.from({ length: 256 }, (_, byte) => hex(Uint8Array.of(byte)))

/** The files of a store. */
export class Disk {
  readonly #root: string
  readonly #deletions = new Set<Promise<void>>()

  private constructor(root: string) {
    this.#root = root
  }

  /** Makes the directories that are missing. */
  static async open(root: string): Promise<Disk> {
    await onDisk(async () => {
      await mkdir(root, { recursive: true, mode: 0o700 })
      const there = new Set(await readdir(root))
      const missing = shelves.filter(shelf => !there.has(shelf))
      for (const shelf of missing) await mkdir(join(root, shelf), { recursive: true, mode: 0o700 })
      await syncDirectory(root)
    })
    return new Disk(root)
  }

  #shelf(id: string): string {
    return join(this.#root, id.slice(0, 2))
  }

  /** Where a file lies. */
  path(id: string): string {
    return join(this.#shelf(id), id)
  }

  /** Creates a file, which must not be there. */
  create(id: string): Promise<FileHandle> {
    return open(this.path(id), 'wx', 0o600)
  }

  /** Makes a file's content and its name durable. */
  async settle(id: string, handle: FileHandle): Promise<void> {
    await handle.sync()
    await syncDirectory(this.#shelf(id))
  }

  /** Deletes a file, if it is there. */
  async delete(id: string): Promise<void> {
    try {
      await unlink(this.path(id))
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
    }
  }

  /** Deletes files that nothing refers to any more, in the background: what cannot be deleted is left to the sweep. */
  drop(ids: readonly string[]): void {
    const deletion = this.#dropAll(ids).finally(() => this.#deletions.delete(deletion))
    this.#deletions.add(deletion)
  }

  async #dropAll(ids: readonly string[]): Promise<void> {
    for (const id of ids) await this.delete(id).catch(() => {})
  }

  /** Waits for the deletions in the background. */
  async settled(): Promise<void> {
    await Promise.all(this.#deletions)
  }

  /** The ids of all files, shelf by shelf; what has another name is none of ours. */
  async *list(): AsyncGenerator<readonly string[]> {
    for (const shelf of shelves) {
      const ids: string[] = []
      for await (const { name } of await opendir(join(this.#root, shelf))) {
        if (/^[0-9a-f]{32}$/.test(name) && name.startsWith(shelf)) ids.push(name)
      }
      yield ids
    }
  }
}
