/**
 * A body on its way into the embedded store. A small one stays in memory and later lies in the index, where many of them share one commit; a
 * larger one goes to the body store, registered as pending before it is created, and durable before the stream finishes. Nothing is written
 * anywhere but what the stream was given.
 */
import { Writable } from 'node:stream'
import { concat } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import type { BodySink } from '../body-store.ts'
import type { BodyOptions, BodyWriter } from '../store.ts'
import { type FileStore, holder } from './context.ts'
import type { BodyFile, BodyPlace } from './database.ts'
import { asStoreFailed } from './failure.ts'
import { discardBody } from './garbage.ts'
import { newId } from './context.ts'
import { encodeKey } from './keys.ts'
import { addReference } from './references.ts'

/** Bytes of the largest body that lies in the index: 64 KiB, and what sealing adds to them. */
export const inlineLimit = 66_560

/** Bytes of the beginning that are kept of a body of a remote body store, so that a look at a part calls nobody. */
const headSize = 32

type Done = (error?: Error | null) => void

const answer = (work: Promise<void>, done: Done): void => {
  work.then(() => done(), done)
}

/** A body of the embedded store that is being written. */
export class BodyDraft implements BodyWriter {
  /** See {@link BodyWriter}. */
  readonly writable: Writable
  readonly #context: FileStore
  readonly #id = newId()
  #size = 0
  #head: Uint8Array = new Uint8Array()
  #state: 'open' | 'whole' | 'committing' | 'committed' | 'discarded' = 'open'
  #unwanted = false
  #memory: Uint8Array[] = []
  #sink: Promise<BodySink> | undefined
  #finished = false
  #removal: Promise<void> | undefined

  /** Begins a body; where it is known to be large it is created in the body store at once. */
  constructor(context: FileStore, { expectedSize = 0 }: BodyOptions = {}) {
    this.#context = context
    this.writable = new Writable({
      highWaterMark: 262_144,
      write: (chunk: Uint8Array, _, done) => answer(this.#take([chunk]), done),
      writev: (chunks: readonly { chunk: Uint8Array }[], done) =>
        answer(this.#take(chunks.map(({ chunk }) => chunk)), done),
      final: done => answer(this.#end(), done),
      destroy: (error, done) => answer(this.#abandon(error), done),
    })
    if (expectedSize > inlineLimit) this.#open().catch(() => {})
  }

  /** See {@link BodyWriter}. */
  get size(): number {
    return this.#size
  }

  /** The first bytes of the body. */
  get head(): Uint8Array {
    return this.#head
  }

  #open(): Promise<BodySink> {
    this.#sink ??= this.#create()
    return this.#sink
  }

  async #create(): Promise<BodySink> {
    const { database, bodies } = this.#context
    await database.write(() => database.tables.pending.putSync(encodeKey(this.#id), holder(this.#context)))
    return bodies.create(this.#id)
  }

  async #take(pieces: readonly Uint8Array[]): Promise<void> {
    this.#context.database.assertSpace()
    for (const piece of pieces) {
      if (this.#head.length < headSize) {
        this.#head = concat(this.#head, piece.subarray(0, headSize - this.#head.length))
      }
      this.#size += piece.length
      this.#memory.push(piece)
    }
    if (this.#sink !== undefined || this.#size > inlineLimit) await asStoreFailed(() => this.#flush())
  }

  async #flush(): Promise<void> {
    const pieces = this.#memory
    this.#memory = []
    const sink = await this.#open()
    await sink.write(pieces)
  }

  async #finish(): Promise<void> {
    const sink = await this.#open()
    await sink.finish()
    this.#finished = true
  }

  async #end(): Promise<void> {
    if (this.#sink !== undefined) await asStoreFailed(() => this.#finish())
    if (this.#state === 'open') this.#state = 'whole'
  }

  // The stream is over: whole, failed or given up.
  async #abandon(error: Error | null): Promise<void> {
    if (this.#state === 'open') await this.discard()
    if (error !== null) throw error
  }

  /** A change begins to commit the body. `TypeError` where it is not of this store, not whole or not its writer's any more. */
  beginCommit(context: FileStore): void {
    if (context !== this.#context) throw new TypeError('the body is not one of this store')
    if (this.#state === 'open') throw new TypeError('the stream of the body has not finished: end it and wait')
    if (this.#state !== 'whole') throw new TypeError('the body was committed or discarded before')
    this.#state = 'committing'
  }

  /** The change is over: the body is an object's or upload's now, or its writer's as before, or thrown away. */
  async endCommit(outcome: 'committed' | 'whole' | 'discarded'): Promise<void> {
    this.#state = outcome === 'committed' ? 'committed' : 'whole'
    // It may have been discarded while it was being committed.
    if (outcome === 'discarded' || this.#unwanted) await this.discard()
  }

  /** Moves a body that is whole from memory to the body store. */
  async toFile(): Promise<void> {
    if (this.#sink !== undefined) return
    await asStoreFailed(async () => {
      await this.#flush()
      await this.#finish()
    })
  }

  /** Inside a change: the body as one that an object has. */
  enter(): BodyPlace {
    const { database } = this.#context
    const body: BodyPlace =
      this.#sink === undefined
        ? { form: 'inline', id: this.#id, size: this.#size }
        : { form: 'file', ...this.enterFile() }
    if (this.#sink === undefined && this.#size > 0) {
      database.tables.inline.putSync(encodeKey(this.#id), Buffer.concat(this.#memory))
    }
    addReference(database, body)
    return body
  }

  /** Inside a change: the file of the body as one that an upload has. */
  enterFile(): BodyFile {
    const { pending, files } = this.#context.database.tables
    const key = encodeKey(this.#id)
    // A sweep that took this process for dead has deleted the file: better no object than one without its body.
    if (!pending.removeSync(key)) {
      throw new SseError('StoreFailed', {
        message: 'The body was swept away while it was being written: its process was taken for dead. Send it again.',
      })
    }
    files.putSync(key, true)
    return { id: this.#id, size: this.#size }
  }

  /** See {@link BodyWriter}. */
  async discard(): Promise<void> {
    if (this.#state === 'committing') this.#unwanted = true
    if (this.#state === 'committing' || this.#state === 'committed') return
    this.#state = 'discarded'
    this.#removal ??= this.#remove()
    this.writable.destroy()
    await this.#removal
  }

  async #remove(): Promise<void> {
    const { database } = this.#context
    this.#memory = []
    if (this.#sink === undefined) return
    const sink = await this.#sink.catch(() => undefined)
    // If it is unknown whether the commit took place, the sweep of the next process decides.
    if (this.#finished && database.broken) return
    const isGone = await Promise.resolve(sink?.discard()).then(
      () => true,
      () => false,
    )
    const forget = (): void => {
      // What could not be thrown away is deleted later.
      if (isGone) database.tables.pending.removeSync(encodeKey(this.#id))
      else discardBody(this.#context, { form: 'file', ...this.enterFile() })
    }
    await database.write(forget, 'reserve').catch(() => {})
  }
}

/**
 * Runs a change that commits a body. Where the change fails the body is discarded, unless the bucket has changed: then it may be committed
 * again. `TypeError` where it is not a body of this store, not whole, or committed or discarded before.
 */
export const commitBody = async <T>(
  context: FileStore,
  body: BodyWriter,
  change: (draft: BodyDraft) => Promise<T>,
): Promise<T> => {
  if (!(body instanceof BodyDraft)) throw new TypeError('the body is not one of this store')
  body.beginCommit(context)
  try {
    const result = await change(body)
    await body.endCommit('committed')
    return result
  } catch (error) {
    await body.endCommit(error instanceof SseError && error.code === 'BucketChanged' ? 'whole' : 'discarded')
    throw error
  }
}
