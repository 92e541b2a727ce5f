/**
 * Bodies of the embedded store being read: from memory, or from files that are open, so that a deletion does not matter, or from files
 * that a pin keeps from being deleted. Every chunk is memory of its own.
 */
import { type FileHandle, open, stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
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

async function* readFile(handle: FileHandle, start: number, end: number, most: number): Pieces {
  for (let at = start; at < end;) {
    const chunk = Buffer.allocUnsafeSlow(Math.min(most, end - at))
    const { bytesRead } = await handle.read(chunk, 0, chunk.length, at)
    if (bytesRead === 0) throw broken('A body file became shorter while it was read. Restore it from a backup.')
    at += bytesRead
    yield chunk.subarray(0, bytesRead)
  }
}

async function* readFiles(files: readonly HeldFile[], start: number, end: number, most: number): Pieces {
  let offset = 0
  for (const file of files) {
    const from = Math.max(start - offset, 0)
    const to = Math.min(end - offset, file.size)
    offset += file.size
    if (from >= to) continue
    if (file.held !== file.size) {
      throw broken('A body file has not the length that it was written with. Restore it from a backup.')
    }
    const handle = await file.take()
    try {
      yield* readFile(handle, from, to, most)
    } finally {
      await file.giveBack(handle)
    }
  }
}

async function* readMemory(bytes: Uint8Array, start: number, end: number, most: number): Pieces {
  for (let at = start; at < end; at += most) yield new Uint8Array(bytes.subarray(at, Math.min(at + most, end)))
}

async function* explained(pieces: Pieces): Pieces {
  try {
    yield* pieces
  } catch (cause) {
    throw cause instanceof SseError ? cause : new SseError('StoreFailed', { cause })
  }
}

class OpenBody implements BodyReader {
  readonly size: number
  readonly #pieces: (start: number, end: number, most: number) => Pieces
  readonly #release: () => Promise<void>
  readonly #streams = new Set<Readable>()
  #closing: Promise<void> | undefined

  constructor(
    size: number,
    pieces: (start: number, end: number, most: number) => Pieces,
    release = async (): Promise<void> => {},
  ) {
    this.size = size
    this.#pieces = pieces
    this.#release = release
  }

  read({ start = 0, end = this.size - 1, highWaterMark = 262_144 }: ReadOptions = {}): Readable {
    if (!(start >= 0 && end >= start - 1 && end < this.size)) {
      throw new RangeError(`bytes ${start} to ${end} are not inside a body of ${this.size} bytes`)
    }
    if (this.#closing !== undefined) throw new TypeError('the body was closed')
    const pieces = explained(this.#pieces(start, end + 1, highWaterMark))
    const stream = Readable.from(pieces, { objectMode: false, highWaterMark })
    this.#streams.add(stream)
    return stream.once('close', () => this.#streams.delete(stream))
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    for (const stream of this.#streams) stream.destroy(broken('The body was closed while it was read.'))
    await this.#release()
  }
}

/** A body that lies in memory. */
export const memoryBody = (bytes: Uint8Array): BodyReader =>
  new OpenBody(bytes.length, (start, end, most) => readMemory(bytes, start, end, most))

const overFiles = (files: readonly HeldFile[], release: () => Promise<void>): BodyReader =>
  new OpenBody(
    files.reduce((sum, file) => sum + file.held, 0),
    (start, end, most) => readFiles(files, start, end, most),
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
