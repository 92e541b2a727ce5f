/**
 * Bodies of the embedded store being read: from memory, or from files that are open, so that a deletion does not matter, or from files
 * that a pin keeps from being deleted.
 */
import { SseError } from '../../errors.ts'
import type { BodyRange, BodyStore, StoredBody } from '../body-store.ts'
import type { BodyReader, ReadOptions } from '../store.ts'
import type { BodyFile } from './database.ts'
import { asStoreFailed, pieceMissing } from './failure.ts'

/** Bodies of at most so many files are read from open files. */
export const mostHandles = 64

type Chunks = AsyncGenerator<Uint8Array, void, void>

/** A file of a body, how long it is found to be, and how to open it to read and to be done with that. */
interface FoundFile extends BodyFile {
  readonly held: number
  readonly open: () => Promise<StoredBody>
  readonly done: (file: StoredBody) => Promise<void>
}

const broken = (message: string): SseError => new SseError('StoreFailed', { message })

async function* readFiles(files: readonly FoundFile[], range: BodyRange): Chunks {
  let offset = 0
  for (const file of files) {
    const start = Math.max(range.start - offset, 0)
    const end = Math.min(range.end - offset, file.size)
    offset += file.size
    if (start >= end) continue
    if (file.held !== file.size) {
      throw broken('A body file has not the length that it was written with. Restore it from a backup.')
    }
    const opened = await file.open()
    try {
      yield* opened.read({ ...range, start, end })
    } finally {
      await file.done(opened)
    }
  }
}

async function* readMemory(bytes: Uint8Array, { start, end, chunkSize, reuse }: BodyRange): Chunks {
  for (let at = start; at < end; at += chunkSize) {
    const chunk = bytes.subarray(at, Math.min(at + chunkSize, end))
    yield reuse ? chunk : new Uint8Array(chunk)
  }
}

class OpenBody implements BodyReader {
  readonly size: number
  readonly #chunks: (range: BodyRange) => Chunks
  readonly #release: () => Promise<void>
  readonly #running = new Set<Chunks>()
  #closing: Promise<void> | undefined

  constructor(size: number, chunks: (range: BodyRange) => Chunks, release = async (): Promise<void> => {}) {
    this.size = size
    this.#chunks = chunks
    this.#release = release
  }

  read({ start = 0, end = this.size - 1, highWaterMark = 262_144, reuse = false }: ReadOptions = {}): Chunks {
    if (!(start >= 0 && end >= start - 1 && end < this.size)) {
      throw new RangeError(`bytes ${start} to ${end} are not inside a body of ${this.size} bytes`)
    }
    if (this.#closing !== undefined) throw new TypeError('the body was closed')
    return this.#whileOpen(this.#chunks({ start, end: end + 1, chunkSize: highWaterMark, reuse }))
  }

  async *#whileOpen(chunks: Chunks): Chunks {
    const assertOpen = () => {
      if (this.#closing !== undefined) throw broken('The body was closed while it was read.')
    }
    this.#running.add(chunks)
    try {
      assertOpen()
      for await (const chunk of chunks) {
        assertOpen()
        yield chunk
      }
      assertOpen()
    } catch (cause) {
      throw cause instanceof SseError ? cause : new SseError('StoreFailed', { cause })
    } finally {
      this.#running.delete(chunks)
    }
  }

  close(): Promise<void> {
    this.#closing ??= asStoreFailed(() => this.#close())
    return this.#closing
  }

  async #close(): Promise<void> {
    // A reader that goes on gets the error that the body was closed.
    for (const chunks of this.#running) await chunks.return()
    await this.#release()
  }
}

/** A body that lies in memory. */
export const memoryBody = (bytes: Uint8Array): BodyReader =>
  new OpenBody(bytes.length, range => readMemory(bytes, range))

const overFiles = (files: readonly FoundFile[], release: () => Promise<void>): BodyReader =>
  new OpenBody(
    files.reduce((sum, file) => sum + file.held, 0),
    range => readFiles(files, range),
    release,
  )

/** A body of a few files, all of them opened now; `undefined` where one is gone. */
export const openFiles = async (bodies: BodyStore, files: readonly BodyFile[]): Promise<BodyReader | undefined> => {
  const opened: StoredBody[] = []
  const closeAll = async (): Promise<void> => {
    for (const file of opened) await file.close()
  }
  try {
    const found: FoundFile[] = []
    for (const file of files) {
      const body = await bodies.open(file.id)
      if (body === undefined) {
        await closeAll()
        return undefined
      }
      opened.push(body)
      found.push({ ...file, held: body.size, open: async () => body, done: async () => {} })
    }
    return overFiles(found, closeAll)
  } catch (error) {
    await closeAll()
    throw error
  }
}

/** A body of many files, which a pin keeps until `release`: they are opened one by one while they are read. `undefined` where one is gone. */
export const pinnedFiles = async (
  bodies: BodyStore,
  files: readonly BodyFile[],
  release: () => Promise<void>,
): Promise<BodyReader | undefined> => {
  const open = async (id: string): Promise<StoredBody> => {
    const body = await bodies.open(id)
    if (body === undefined) throw pieceMissing()
    return body
  }
  const find = async (file: BodyFile): Promise<FoundFile | undefined> => {
    const held = await bodies.sizeOf(file.id)
    return held === undefined ? undefined : { ...file, held, open: () => open(file.id), done: body => body.close() }
  }
  try {
    const found: FoundFile[] = []
    for (let at = 0; at < files.length; at += mostHandles) {
      const some = await Promise.all(files.slice(at, at + mostHandles).map(find))
      found.push(...some.filter(file => file !== undefined))
    }
    if (found.length === files.length) return overFiles(found, release)
  } catch (error) {
    await release()
    throw error
  }
  await release()
  return undefined
}
