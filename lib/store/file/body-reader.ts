/**
 * Bodies of the embedded store being read: from memory, or from files that are open, so that a deletion does not matter, or from files
 * that a pin keeps from being deleted. One chunk is read ahead.
 */
import { type FileHandle, open, stat } from 'node:fs/promises'
import { SseError } from '../../errors.ts'
import type { BodyReader, ReadOptions } from '../store.ts'
import type { BodyFile } from './database.ts'
import { type Disk, onDisk } from './disk.ts'

/** Bodies of at most so many files are read from open files. */
export const mostHandles = 64

type Pieces = AsyncGenerator<Uint8Array, void, void>

/** What the files of a body are, what they are found to be, and how to come by their handles. */
interface HeldFile extends BodyFile {
  readonly held: number
  readonly take: () => Promise<FileHandle>
  readonly giveBack: (handle: FileHandle) => Promise<void>
}

const broken = (message: string): SseError => new SseError('StoreFailed', { message })

/** Which bytes, in chunks of how many at most, and whether their memory is used again. */
interface Run {
  readonly start: number
  readonly end: number
  readonly most: number
  readonly reuse: boolean
}

async function* readFile(handle: FileHandle, { start, end, most, reuse }: Run): Pieces {
  // A chunk is done with when the one after the next is fetched.
  const memory: Buffer[] = []
  let count = 0
  const fetch = async (at: number): Promise<Uint8Array> => {
    const size = Math.min(most, end - at)
    const slot = count++ % 2
    const into = (reuse ? memory[slot] : undefined) ?? Buffer.allocUnsafeSlow(size)
    memory[slot] = into
    const { bytesRead } = await handle.read(into, 0, size, at)
    if (bytesRead === 0) throw broken('A body file became shorter while it was read. Restore it from a backup.')
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

async function* readFiles(files: readonly HeldFile[], run: Run): Pieces {
  let offset = 0
  for (const file of files) {
    const start = Math.max(run.start - offset, 0)
    const end = Math.min(run.end - offset, file.size)
    offset += file.size
    if (start >= end) continue
    if (file.held !== file.size) {
      throw broken('A body file has not the length that it was written with. Restore it from a backup.')
    }
    const handle = await file.take()
    try {
      yield* readFile(handle, { ...run, start, end })
    } finally {
      await file.giveBack(handle)
    }
  }
}

async function* readMemory(bytes: Uint8Array, { start, end, most, reuse }: Run): Pieces {
  for (let at = start; at < end; at += most) {
    const chunk = bytes.subarray(at, Math.min(at + most, end))
    yield reuse ? chunk : new Uint8Array(chunk)
  }
}

class OpenBody implements BodyReader {
  readonly size: number
  readonly #pieces: (run: Run) => Pieces
  readonly #release: () => Promise<void>
  readonly #running = new Set<Pieces>()
  #closing: Promise<void> | undefined

  constructor(size: number, pieces: (run: Run) => Pieces, release = async (): Promise<void> => {}) {
    this.size = size
    this.#pieces = pieces
    this.#release = release
  }

  read({ start = 0, end = this.size - 1, highWaterMark = 262_144, reuse = false }: ReadOptions = {}): Pieces {
    if (!(start >= 0 && end >= start - 1 && end < this.size)) {
      throw new RangeError(`bytes ${start} to ${end} are not inside a body of ${this.size} bytes`)
    }
    if (this.#closing !== undefined) throw new TypeError('the body was closed')
    return this.#whileOpen(this.#pieces({ start, end: end + 1, most: highWaterMark, reuse }))
  }

  async *#whileOpen(pieces: Pieces): Pieces {
    const assertOpen = () => {
      if (this.#closing !== undefined) throw broken('The body was closed while it was read.')
    }
    this.#running.add(pieces)
    try {
      assertOpen()
      for await (const piece of pieces) {
        assertOpen()
        yield piece
      }
      assertOpen()
    } catch (cause) {
      throw cause instanceof SseError ? cause : new SseError('StoreFailed', { cause })
    } finally {
      this.#running.delete(pieces)
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    // Whoever reads on finds that the body was closed.
    for (const pieces of this.#running) await pieces.return()
    await this.#release()
  }
}

/** A body that lies in memory. */
export const memoryBody = (bytes: Uint8Array): BodyReader => new OpenBody(bytes.length, run => readMemory(bytes, run))

const overFiles = (files: readonly HeldFile[], release: () => Promise<void>): BodyReader =>
  new OpenBody(
    files.reduce((sum, file) => sum + file.held, 0),
    run => readFiles(files, run),
    release,
  )

/** A body of a few files, all of them opened now. The error is the system's: `ENOENT` where a file is gone. */
export const openFiles = async (disk: Disk, files: readonly BodyFile[]): Promise<BodyReader> => {
  const handles: FileHandle[] = []
  const closeAll = async (): Promise<void> => {
    for (const handle of handles) await handle.close()
  }
  try {
    const held: HeldFile[] = []
    for (const file of files) {
      const handle = await open(disk.path(file.id))
      handles.push(handle)
      const { size } = await handle.stat()
      held.push({ ...file, held: size, take: async () => handle, giveBack: async () => {} })
    }
    return overFiles(held, () => onDisk(closeAll))
  } catch (error) {
    await closeAll()
    throw error
  }
}

/** A body of many files, which a pin keeps until `release`: they are opened one by one while they are read. */
export const pinnedFiles = async (
  disk: Disk,
  files: readonly BodyFile[],
  release: () => Promise<void>,
): Promise<BodyReader> => {
  try {
    const held: HeldFile[] = []
    for (let at = 0; at < files.length; at += mostHandles) {
      held.push(...(await Promise.all(files.slice(at, at + mostHandles).map(file => look(disk, file)))))
    }
    return overFiles(held, release)
  } catch (error) {
    await release()
    throw error
  }
}

const look = async (disk: Disk, file: BodyFile): Promise<HeldFile> => {
  const path = disk.path(file.id)
  const { size } = await stat(path)
  return { ...file, held: size, take: () => open(path), giveBack: handle => handle.close() }
}
