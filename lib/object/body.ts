/** Bodies of a directory's objects on their way: a source that is read once and may be aborted, and the plaintext of an open file. */
import { Readable } from 'node:stream'
import { ReadableStream as WebStream } from 'node:stream/web'
import { assertIterable } from '../arguments.ts'
import { SseError } from '../errors.ts'
import { chunkBytes, type Chunks } from '../segment/driver.ts'
import type { StoredBody } from '../store/body-store.ts'
import { storeFailure } from '../store/failure.ts'
import type { Decryption } from './decrypt.ts'
import type { NodeAdapters } from './node.ts'

/** A body that is being taken. */
export interface PutBody {
  /** Its chunks, once. A source that is a stream is destroyed where they are left, or the signal aborts. */
  readonly chunks: AsyncIterable<Uint8Array>
  /** Bytes that came up to now. */
  readonly length: number
}

/**
 * A body out of what `put` is given. `TypeError` where that is no source, or a stream that somebody has read from: an object must not be silently
 * empty because a body parser was there first.
 */
export const bodyOf = (source: Chunks | Uint8Array | null, signal?: AbortSignal): PutBody => {
  if (source !== null) assertIterable('put', source)
  if (isRead(source)) {
    throw new TypeError('put takes a stream that nobody has read from: let no body parser have the request before it')
  }
  let length = 0
  async function* counted(): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of abortable(chunksOf(source), signal)) {
      const bytes = chunkBytes(chunk)
      length += bytes.length
      yield bytes
    }
  }
  return {
    chunks: counted(),
    get length() {
      return length
    },
  }
}

/** One that was aborted before anything came is left to tell so itself. */
const isRead = (source: unknown): boolean =>
  source instanceof Readable
    ? source.readableDidRead
    : source instanceof WebStream && (source.locked || Readable.isDisturbed(source))

const chunksOf = (source: Chunks | Uint8Array | null): Chunks => {
  if (source === null) return []
  if (source instanceof WebStream) return Readable.fromWeb(source) // which can be destroyed while it waits for a chunk
  return source instanceof Uint8Array || typeof source === 'string' ? [source] : source
}

/** Ends with the signal's reason where it aborts, though the source never gives another chunk. */
async function* abortable(source: Chunks, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array | string> {
  const chunks = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
  let fail: (reason: unknown) => void = () => undefined
  const abort = () => fail(signal?.reason)
  signal?.addEventListener('abort', abort)
  try {
    for (;;) {
      const next = await new Promise<IteratorResult<Uint8Array | string>>((resolve, reject) => {
        fail = reject
        signal?.throwIfAborted()
        Promise.resolve(chunks.next()).then(resolve, reject)
      })
      if (next.done === true) return
      yield next.value
    }
  } finally {
    signal?.removeEventListener('abort', abort)
    // Neither is awaited: it may wait for a chunk that never comes. A stream's iterator would destroy it only then.
    if (source instanceof Readable) source.destroy()
    else Promise.resolve(chunks.return?.()).catch(() => undefined)
  }
}

/** Milliseconds after which a file that nobody has begun to read is closed. */
const unreadFor = 30_000

/** Bytes of a file that are read at a time. */
const readSize = 256 * 1024

const after = (work: Promise<void>, error: Error | null, done: (error?: Error | null) => void): void => {
  work.then(() => done(error), done)
}

/** The plaintext of an open file, which is closed when the stream is over, or where nobody begins to read it. */
export const plaintextOf = (file: StoredBody, found: Decryption & NodeAdapters): Readable => {
  const pieces = found.pieces(storedBytes(file, found))
  const unread = setTimeout(() => void stream.destroy(), unreadFor).unref()
  const stream = new Readable({
    read() {
      clearTimeout(unread)
      pieces.next().then(
        ({ done, value }) => stream.push(done === true ? null : value),
        (error: Error) => stream.destroy(error),
      )
    },
    destroy(error, done) {
      clearTimeout(unread)
      found.driver.dispose()
      after(file.close(), error, done)
    },
  })
  return stream
}

async function* storedBytes(file: StoredBody, { stored: { start, end } }: Decryption): AsyncGenerator<Uint8Array> {
  try {
    yield* file.read({ start, end: end + 1, chunkSize: readSize, reuse: true })
  } catch (error) {
    throw error instanceof SseError ? error : storeFailure(error)
  }
}

/** A stream as a WHATWG stream, which reads when it is asked to and no further. */
export const webOf = (stream: Readable): ReadableStream<Uint8Array> => {
  const chunks: AsyncIterator<Uint8Array> = stream[Symbol.asyncIterator]()
  const source: UnderlyingDefaultSource<Uint8Array> = {
    pull: async controller => {
      const { done, value } = await chunks.next()
      if (done === true) controller.close()
      else controller.enqueue(value)
    },
    cancel: () => void stream.destroy(),
  }
  return new ReadableStream(source, { highWaterMark: 0 })
}
