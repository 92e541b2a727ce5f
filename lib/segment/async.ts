/**
 * Seals and opens over an asynchronous engine (WebCrypto, noble): whole segments, several under way at once, leaving in order. The window
 * bounds memory: at most `width` segments are held beside the one that is gathered.
 */
import { concat, type MaybePromise, wipe } from '../bytes.ts'
import { deriveStream, type StreamKeys } from '../cipher/derive.ts'
import type { AsyncEngine, SegmentCipher } from '../cipher/engine.ts'
import { type Suite, tagSize } from '../cipher/suite.ts'
import type { Driver, Emit } from './driver.ts'
import { Framing, type FrameSink } from './framing.ts'
import { lengthGuard } from './layout.ts'
import { nonces } from './layout.ts'
import { checkHeader, type OpenParts, saltOf, slicer } from './sync.ts'
import { SpanReader } from './reader.ts'
import type { SealParts } from './sync.ts'

/** Segments under way at once. */
const width = 4

/** A stream that is opened: its cipher and its nonces. */
interface Stream {
  readonly cipher: SegmentCipher
  readonly nonce: (index: number) => Uint8Array
}

type Job = (segment: Uint8Array, index: number) => Promise<Uint8Array>

/** Gathers segments, hands each to a job, and lets the results leave in order. */
class Window {
  readonly #suite: Suite
  #gathered = new Uint8Array(0)
  #jobs: Promise<Uint8Array>[] = []

  constructor(suite: Suite) {
    this.#suite = suite
  }

  /** What takes the segments of a stream whose job this is. */
  sink(job: Job): FrameSink {
    let fill = 0
    const add = (bytes: Uint8Array): void => {
      this.#gathered.set(bytes, fill)
      fill += bytes.length
    }
    return {
      begin: () => {
        this.#gathered = new Uint8Array(this.#suite.segmentSize + tagSize)
        fill = 0
      },
      piece: add,
      end: (index, tag) => {
        add(tag)
        const segment = this.#gathered
        const result = job(segment.subarray(0, fill), index).finally(() => wipe(segment))
        result.catch(() => undefined) // awaited by drain, later or never
        this.#jobs.push(result)
      },
    }
  }

  /** Feeds a chunk in pieces of a segment, so that no chunk is too large for the window. Waits only where the window is full. */
  feed(chunk: Uint8Array, push: (piece: Uint8Array) => void, emit: Emit): MaybePromise<void> {
    const piece = chunk.subarray(0, this.#suite.segmentSize)
    push(piece)
    const rest = chunk.subarray(piece.length)
    if (this.#jobs.length > width) return this.drain(width, emit).then(() => this.feed(rest, push, emit))
    if (rest.length > 0) return this.feed(rest, push, emit)
  }

  /** Waits until at most `left` segments are under way. */
  async drain(left: number, emit: Emit): Promise<void> {
    for (let job = this.#jobs[0]; job !== undefined && this.#jobs.length > left; job = this.#jobs[0]) {
      const result = await job
      this.#jobs.shift()
      emit(result)
    }
  }

  /** Has a cipher wiped when none of the segments under way needs it any more. */
  async release(cipher: Promise<SegmentCipher> | undefined): Promise<void> {
    await Promise.allSettled(this.#jobs)
    const ready = await cipher?.catch(() => undefined)
    ready?.dispose()
  }

  dispose(): void {
    wipe(this.#gathered)
    this.#jobs = []
  }
}

/** A driver that seals over an asynchronous engine. */
export const sealWithin = (engine: AsyncEngine, { suite, keys, salt, length }: SealParts): Driver => {
  const nonce = nonces(keys.baseNonce)
  const cipher = engine.segments(suite.aead, keys.key)
  cipher.catch(() => undefined)
  const guard = lengthGuard(suite, length)
  const window = new Window(suite)
  const sink = window.sink((segment, index) => {
    const iv = nonce(index).slice()
    return cipher.then(ready => ready.seal(iv, segment))
  })
  const framing = new Framing(suite.segmentSize, false, sink)
  let header: Uint8Array | undefined = concat(salt, keys.commitment)
  const start = (emit: Emit) => {
    if (header !== undefined) emit(header)
    header = undefined
  }
  return {
    write: (chunk, emit) => {
      guard.add(chunk.length)
      start(emit)
      return window.feed(chunk, piece => framing.push(piece), emit)
    },
    end: async emit => {
      guard.end()
      start(emit)
      framing.finish(true)
      await window.drain(0, emit)
    },
    dispose: () => {
      void window.release(cipher)
      window.dispose()
      framing.dispose()
      wipe(keys.key, keys.baseNonce)
    },
  }
}

/** A driver that opens over an asynchronous engine. */
export const openWithin = (engine: AsyncEngine, { suite, dek, spans, skip, take }: OpenParts): Driver => {
  const slice = slicer(skip, take)
  const begin = async (
    derived: Promise<StreamKeys>,
    header: Uint8Array | undefined,
    salt: Uint8Array,
  ): Promise<Stream> => {
    const keys = await derived
    try {
      checkHeader(header, salt, keys)
      const cipher = engine.segments(suite.aead, keys.key)
      wipe(keys.key) // the cipher has its copy
      return { cipher: await cipher, nonce: nonces(keys.baseNonce) }
    } finally {
      wipe(keys.key, keys.baseNonce)
    }
  }
  const window = new Window(suite)
  let cipher: Promise<SegmentCipher> | undefined
  const reader = new SpanReader(suite, spans, (span, header) => {
    void window.release(cipher)
    const salt = saltOf(span, header)
    const stream = begin(deriveStream(engine, suite, dek, salt, span.context), header, salt)
    cipher = stream.then(({ cipher }) => cipher)
    cipher.catch(() => undefined) // its segments report it
    return window.sink(async (segment, index) => {
      const { cipher, nonce } = await stream
      return cipher.open(nonce(index).slice(), segment)
    })
  })
  const release = (emit: Emit) => (plaintext: Uint8Array) => slice(plaintext, emit)
  return {
    write: (chunk, emit) => window.feed(chunk, piece => reader.push(piece), release(emit)),
    end: async emit => {
      // Segments that arrived whole leave before the end of a cut stream is reported, as they do over a synchronous engine.
      await window.drain(0, release(emit))
      reader.finish()
      await window.drain(0, release(emit))
    },
    dispose: () => {
      void window.release(cipher)
      window.dispose()
      reader.dispose()
      wipe(dek)
    },
  }
}
