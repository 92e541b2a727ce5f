/**
 * Bodies of a store being read: from memory, or from files. One file is open for as long as the body is; of several at most two
 * are open at a time. Those that do not stay readable are kept for the grace time after their object was deleted or replaced.
 */
import { concat } from '../bytes.ts'
import { SseError } from '../errors.ts'
import type { BodyFile, BodyRange, BodyStore, StoredBody } from './body-store.ts'
import { asStoreFailed } from './failure.ts'
import type { BodyReader, PartPeek, ReadOptions } from './store.ts'

/** Files that are looked at at a time. */
export const mostHandles = 64

type Chunks = AsyncGenerator<Uint8Array, void, void>

/** A file of a body, and how long it is found to be. */
interface FoundFile extends BodyFile {
  readonly held: number
}

type Open = (file: FoundFile) => Promise<StoredBody>

const broken = (message: string): SseError => new SseError('StoreFailed', { message })

/** A range of a body, as the ranges of its files. */
const rangesOf = (files: readonly FoundFile[], range: BodyRange) => {
  let offset = 0
  return files.flatMap(file => {
    const start = Math.max(range.start - offset, 0)
    const end = Math.min(range.end - offset, file.size)
    offset += file.size
    return start < end ? [{ file, range: { ...range, start, end } }] : []
  })
}

async function* readFiles(files: readonly FoundFile[], open: Open, whole: BodyRange): Chunks {
  const openWhole: Open = async file => {
    if (file.held === file.size) return open(file)
    throw broken('A body file has not the length that it was written with. Restore it from a backup.')
  }
  const ranges = rangesOf(files, whole)
  let next: Promise<StoredBody> | undefined
  try {
    for (const [i, { file, range }] of ranges.entries()) {
      const opened = await (next ?? openWhole(file))
      const after = ranges[i + 1]
      next = after && openWhole(after.file) // early
      next?.catch(() => undefined)
      try {
        yield* opened.read(range)
      } finally {
        await opened.close()
      }
    }
  } finally {
    await next?.then(
      body => body.close(),
      () => {},
    )
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

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
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

const overFiles = (files: readonly FoundFile[], open: Open, release?: () => Promise<void>): BodyReader =>
  new OpenBody(
    files.reduce((sum, file) => sum + file.held, 0),
    range => readFiles(files, open, range),
    release,
  )

const openFile = async (bodies: BodyStore, file: BodyFile): Promise<BodyReader | undefined> => {
  const body = await bodies.open(file.id, file.size)
  if (body === undefined) return undefined
  const view = { size: body.size, read: (range: BodyRange) => body.read(range), close: async () => {} }
  return overFiles(
    [{ ...file, held: body.size }],
    async () => view,
    () => body.close(),
  )
}

/** A body of files; `undefined` where one is gone. Writes nothing, and leaves nothing behind. */
export const openFiles = async (bodies: BodyStore, files: readonly BodyFile[]): Promise<BodyReader | undefined> => {
  const [first] = files
  if (first !== undefined && files.length === 1) return openFile(bodies, first)
  const open = async ({ id, size }: FoundFile): Promise<StoredBody> => {
    const body = await bodies.open(id, size)
    if (body !== undefined) return body
    throw broken('A body file is gone: the object was deleted or replaced long ago, and is read still. Read it again.')
  }
  const asRecorded = files.map(file => ({ ...file, held: file.size }))
  if (bodies.remote) return overFiles(asRecorded, open)
  const found: FoundFile[] = []
  for (let at = 0; at < files.length; at += mostHandles) {
    const some = files.slice(at, at + mostHandles)
    const sizes = await Promise.all(some.map(({ id }) => bodies.sizeOf(id)))
    found.push(...some.flatMap((file, i) => (sizes[i] === undefined ? [] : [{ ...file, held: sizes[i] }])))
  }
  return found.length === files.length ? overFiles(found, open) : undefined
}

/** An attempt of a part, as the index has it. */
export interface Attempt {
  readonly file: BodyFile
  /** Its first bytes, where the index has them. */
  readonly head?: Uint8Array | undefined
}

/** What the store really holds of attempts: size and first `length` bytes; of a remote body store what the index says, where it says enough. */
export const peekAttempts = (
  bodies: BodyStore,
  attempts: readonly (Attempt | undefined)[],
  length: number,
): Promise<readonly (PartPeek | undefined)[]> =>
  asStoreFailed(async () => {
    const peeks: (PartPeek | undefined)[] = []
    for (let first = 0; first < attempts.length; first += mostHandles) {
      const some = attempts.slice(first, first + mostHandles)
      peeks.push(...(await Promise.all(some.map(attempt => attempt && peek(bodies, attempt, length)))))
    }
    return peeks
  })

const peek = async (bodies: BodyStore, { file, head }: Attempt, length: number): Promise<PartPeek | undefined> => {
  const { id, size } = file
  if (bodies.remote && head !== undefined && Math.min(length, size) <= head.length) {
    return { size, head: head.subarray(0, length) }
  }
  const body = await bodies.open(id, size)
  if (body === undefined) return undefined
  try {
    const end = Math.min(length, body.size)
    const chunks: Uint8Array[] = []
    for await (const chunk of body.read({ start: 0, end, chunkSize: length, reuse: false })) chunks.push(chunk)
    return { size: body.size, head: concat(...chunks) }
  } finally {
    await body.close()
  }
}
