/** Bodies that flow from memory to nowhere in chunks of 64 KiB, through whatever is measured. */
import { createCipheriv, createHash } from 'node:crypto'
import { type Duplex, Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { chain } from 'stream-chain'

/** Bytes of a chunk. */
export const chunkSize = 65_536

/** Takes chunks. */
export type Sink = (chunk: Uint8Array) => void

/** Takes chunks to nowhere. */
export const nowhere: Sink = () => undefined

// The same in every process: pseudorandom, from AES.
const block = new Uint8Array(
  createCipheriv('aes-128-ctr', new Uint8Array(16), new Uint8Array(16)).update(new Uint8Array(16 * chunkSize)),
)

/** Plaintext of any length: the same pseudorandom MiB over and over, which no cipher minds and which needs no memory. */
export function* plaintext(size: number): Iterable<Uint8Array> {
  for (let left = size, at = 0; left > 0; left -= chunkSize, at += chunkSize) {
    const start = at % block.length
    yield block.subarray(start, start + Math.min(left, chunkSize))
  }
}

/** Bytes in memory, in chunks. */
export function* chunksOf(bytes: Uint8Array): Iterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkSize) yield bytes.subarray(at, at + chunkSize)
}

/** As a Node stream. */
export const readable = (chunks: Iterable<Uint8Array>): Readable =>
  Readable.from(chunks, { objectMode: false, highWaterMark: chunkSize })

const writable = (sink: Sink): Writable =>
  new Writable({
    highWaterMark: 1 << 20,
    write: (chunk: Uint8Array, _encoding, done) => {
      sink(chunk)
      done()
    },
  })

/** Through a Node stream. */
export const through = (chunks: Iterable<Uint8Array>, stream: Duplex, sink: Sink): Promise<void> =>
  pipeline(readable(chunks), stream, writable(sink))

/** Out of a WHATWG stream that some function made of the chunks. */
export const throughWeb = async (
  chunks: Iterable<Uint8Array>,
  make: (from: ReadableStream<Uint8Array>) => ReadableStream<Uint8Array> | Promise<ReadableStream<Uint8Array>>,
  sink: Sink,
): Promise<void> => {
  const iterator = chunks[Symbol.iterator]()
  const from = new ReadableStream<Uint8Array>({
    pull: controller => {
      const next = iterator.next()
      if (next.done === true) controller.close()
      else controller.enqueue(next.value)
    },
  })
  await (await make(from)).pipeTo(new WritableStream<Uint8Array>({ write: sink }))
}

/** What a body may be dressed as: a bare driver, or an adapter. */
export type AdapterName = 'driver' | 'Transform' | 'generator' | 'stage' | 'web'

/** What has all adapters: what `encrypt` and `decrypt` make. */
export interface Adapted {
  readonly driver: {
    write(chunk: Uint8Array, emit: Sink): unknown
    end(emit: Sink): unknown
    dispose(): void
  }
  readonly stream: Duplex
  readonly pieces: (chunks: Iterable<Uint8Array>) => AsyncIterable<Uint8Array>
  readonly stage: () => (chunk: Uint8Array) => unknown
  readonly web: () => TransformStream<Uint8Array, Uint8Array>
}

/** Sends a body through one of its adapters. */
export const flow = async (
  adapter: AdapterName,
  chunks: Iterable<Uint8Array>,
  body: Adapted,
  sink: Sink,
): Promise<void> => {
  switch (adapter) {
    case 'driver': {
      for (const chunk of chunks) await body.driver.write(chunk, sink)
      await body.driver.end(sink)
      return body.driver.dispose()
    }
    case 'generator': {
      for await (const piece of body.pieces(chunks)) sink(piece)
      return
    }
    case 'Transform':
      return through(chunks, body.stream, sink)
    case 'stage':
      return through(chunks, chain([body.stage()]), sink)
    case 'web':
      return throughWeb(chunks, from => from.pipeThrough(body.web()), sink)
  }
}

/** Gathers what a function sends to a sink. */
export const gather = async (run: (sink: Sink) => Promise<unknown>): Promise<Uint8Array> => {
  const pieces: Uint8Array[] = []
  await run(chunk => pieces.push(chunk))
  const all = Buffer.concat(pieces)
  return new Uint8Array(all.buffer, all.byteOffset, all.length)
}

const digest = async (run: (sink: Sink) => Promise<unknown>): Promise<string> => {
  const hash = createHash('sha256')
  await run(chunk => hash.update(chunk))
  return hash.digest('hex')
}

const expected = new Map<number, Promise<string>>()

/** Rejects unless what comes out is the plaintext of that length. */
export const assertPlaintext = async (size: number, run: (sink: Sink) => Promise<unknown>): Promise<void> => {
  const right =
    expected.get(size) ??
    digest(async sink => {
      for (const chunk of plaintext(size)) sink(chunk)
    })
  expected.set(size, right)
  if ((await digest(run)) !== (await right)) throw new Error('the output does not open to the input')
}

/** A body several times, one after the other: how many bytes. */
export const repeated =
  (times: number, size: number, once: () => Promise<void>): (() => Promise<number>) =>
  async () => {
    for (let i = 0; i < times; i++) await once()
    return times * size
  }
