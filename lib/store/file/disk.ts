/**
 * Bodies as files: `bodies/ab/abcdef…`, named by 32 random hex digits, never by a bucket or key. Mode 0600 in directories of mode 0700.
 * What is not a regular file is not read, and no symbolic link is followed. One chunk is read ahead.
 */
import { type FileHandle, lstat, mkdir, open, opendir, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { hex } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import type { BodyRange, BodySink, BodyStore, StoredBody } from '../body-store.ts'
import { hasCode, makeDirectory, notRegular, openRegular, syncDirectory } from '../../files.ts'
import { checkBodyId } from '../names.ts'

/**
 * Opens a folder of body files, and makes the directories that are missing. Errors are the system's.
 *
 * {@includeCode ../../../test/examples/postgres.test.ts#store}
 */
export const openBodyFiles = async (root: string): Promise<BodyStore> => {
  await makeShelves(root)
  const shelfOf = (id: string): string => join(root, id.slice(0, 2))
  const pathOf = (id: string): string => join(shelfOf(checkBodyId(id)), id)
  return {
    remote: false,
    create: id => createFile(pathOf(id), shelfOf(id)),
    open: id => openFile(pathOf(id)),
    sizeOf: id => ifThere(() => sizeOf(pathOf(id))),
    delete: async id => removeFile(pathOf(id)),
    list: () => listFiles(root),
    discardUnfinished: async () => 0, // a file that is being written is listed
    close: async () => {},
  }
}

const ifThere = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
  try {
    return await work()
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

const sizeOf = async (path: string): Promise<number> => {
  const found = await lstat(path)
  if (!found.isFile()) throw notRegular(path)
  return found.size
}

/** Removes a file: `false` where there was none. Rejects with the system's error. */
export const removeFile = async (path: string): Promise<boolean> => {
  const done = await ifThere(async () => {
    await unlink(path)
    return true
  })
  return done ?? false
}

/** Names of the folders that bodies lie in. */
export const shelves: readonly string[] = Array.from({ length: 256 }, (_, byte) => hex(Uint8Array.of(byte)))

/** Makes those folders and the one above them, durably. Rejects where one of them is another thing. */
export const makeShelves = async (root: string): Promise<void> => {
  await makeDirectory(root)
  const there = new Map((await readdir(root, { withFileTypes: true })).map(entry => [entry.name, entry]))
  for (const shelf of shelves) {
    const entry = there.get(shelf)
    if (entry === undefined) await mkdir(join(root, shelf), { recursive: true, mode: 0o700 })
    else if (!entry.isDirectory()) throw new Error(`${join(root, shelf)} is not a folder`)
  }
  await syncDirectory(root)
}

// Shelf by shelf; other names are not body files.
async function* listFiles(root: string): AsyncGenerator<readonly string[]> {
  for (const shelf of shelves) {
    const ids: string[] = []
    for await (const { name } of await opendir(join(root, shelf))) {
      if (/^[0-9a-f]{32}$/.test(name) && name.startsWith(shelf)) ids.push(name)
    }
    yield ids
  }
}

/** Bytes after which a body that still grows is flushed beside its writes, so that not all of it is left to be flushed at its end. */
const flushEvery = 8 * 1024 * 1024

/** Whether such a flush is under way: one at a time in a process, for each takes a thread that reads wait for, too. */
let isFlushing = false

class FileSink implements BodySink {
  readonly #handle: FileHandle
  readonly #path: string
  readonly #shelf: string
  /** Bytes since the last flush was begun. */
  #unflushed = 0
  #flushing: Promise<void> | undefined
  /** What a flush failed with: the system tells it once. */
  #failure: { readonly error: unknown } | undefined

  constructor(handle: FileHandle, path: string, shelf: string) {
    this.#handle = handle
    this.#path = path
    this.#shelf = shelf
  }

  async write(pieces: readonly Uint8Array[]): Promise<void> {
    await writeAll(this.#handle, pieces)
    for (const { length } of pieces) this.#unflushed += length
    if (this.#unflushed >= flushEvery && !isFlushing) this.#flushing = this.#flush()
  }

  async #flush(): Promise<void> {
    isFlushing = true
    this.#unflushed = 0
    try {
      await this.#handle.datasync()
    } catch (error) {
      this.#failure ??= { error }
    } finally {
      isFlushing = false
    }
  }

  /**
   * Flushes the bytes and the name side by side: both have to be durable before the index names the body, and until then neither needs the other. A
   * power cut in between leaves a file without its bytes, or bytes without a name, of a body that is pending: the sweep takes either.
   */
  async finish(): Promise<void> {
    await this.#flushing
    if (this.#failure !== undefined) throw this.#failure.error
    await Promise.all([this.#handle.sync(), syncDirectory(this.#shelf)])
    await this.#handle.close()
  }

  async discard(): Promise<void> {
    await this.#handle.close().catch(() => {})
    await removeFile(this.#path)
  }
}

/** Creates a file of mode 0600 in a folder, which is flushed with it. Rejects with the system's error, also where there is such a file. */
export const createFile = async (path: string, folder: string): Promise<BodySink> =>
  new FileSink(await open(path, 'wx', 0o600), path, folder)

/** Writes all of the pieces: the system may take a part of them at a time, as it does when the disk runs full. */
export const writeAll = async (
  file: { writev(pieces: readonly Uint8Array[]): Promise<{ readonly bytesWritten: number }> },
  pieces: readonly Uint8Array[],
): Promise<void> => {
  for (let left = pieces; left.length > 0;) {
    let { bytesWritten } = await file.writev(left)
    left = left.flatMap(piece => {
      const taken = Math.min(bytesWritten, piece.length)
      bytesWritten -= taken
      return taken === piece.length ? [] : [piece.subarray(taken)]
    })
  }
}

/** Opens a regular file, never through a symbolic link; `undefined` where there is none. Rejects with the system's error. */
export const openFile = (path: string): Promise<StoredBody | undefined> =>
  ifThere(async () => {
    const { file, size } = await openRegular(path)
    return { size, read: range => readFile(file, range), close: () => file.close() }
  })

async function* readFile(
  handle: FileHandle,
  { start, end, chunkSize, reuse }: BodyRange,
): AsyncGenerator<Uint8Array, void, void> {
  // A chunk is done with when the one after the next is fetched.
  const memory: Buffer[] = []
  let count = 0
  const fetch = async (at: number): Promise<Uint8Array> => {
    const size = Math.min(chunkSize, end - at)
    const slot = count++ % 2
    const into = (reuse ? memory[slot] : undefined) ?? Buffer.allocUnsafeSlow(size)
    memory[slot] = into
    const { bytesRead } = await handle.read(into, 0, size, at)
    if (bytesRead === 0) {
      const message = 'A body file became shorter while it was read. Restore it from a backup.'
      throw new SseError('StoreFailed', { message })
    }
    return into.subarray(0, bytesRead)
  }
  let at = start
  let next = at < end ? fetch(at) : undefined
  while (next !== undefined) {
    const chunk = await next
    at += chunk.length
    next = at < end ? fetch(at) : undefined
    next?.catch(() => undefined) // thrown when it is its turn, if anybody waits for it then
    yield chunk
  }
}
