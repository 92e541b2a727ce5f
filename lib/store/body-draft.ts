/**
 * A body on its way into a store. A small one stays in memory and later lies in the index; a larger one goes to the body store, registered
 * before it is created, and durable before the stream finishes. Nothing is written anywhere but what the stream was given.
 */
import { Writable } from 'node:stream'
import { concat } from '../bytes.ts'
import { SseError } from '../errors.ts'
import type { BodyFile, BodySink, BodyStore } from './body-store.ts'
import { asStoreFailed } from './failure.ts'
import { newId } from './names.ts'
import type { BodyOptions, BodyWriter } from './store.ts'

/** What a store does for the bodies that are being written. */
export interface BodyRegister {
  /** Where large ones lie. */
  readonly bodies: BodyStore
  /** Fails where the store cannot take more. Asked before a body grows. */
  assertSpace(): void
  /** Notes that this process is about to create a body of this id: durable when it resolves. */
  begin(id: string): Promise<void>
  /** A body that was begun will never be committed; where it could not be thrown away (`isGone` is false) it has to be deleted later. */
  giveUp(file: BodyFile, isGone: boolean): Promise<void>
  /** Whether a change that failed so may have happened all the same: its body is left alone then, and the sweep decides. */
  mayHaveHappened(error: unknown, file: BodyFile): boolean
}

/** Bytes of the largest body that lies in the index: 64 KiB, and what sealing adds to them. */
export const inlineLimit = 66_560

/** Bytes of the beginning that are kept of a body of a remote body store, so that a look at a part calls nobody. */
const headSize = 32

type Done = (error?: Error | null) => void

const answer = (work: Promise<void>, done: Done): void => {
  work.then(() => done(), done)
}

/** A body that is being written. */
export class BodyDraft implements BodyWriter {
  /** See {@link BodyWriter}. */
  readonly writable: Writable
  readonly #register: BodyRegister
  readonly #id = newId()
  #size = 0
  #head: Uint8Array = new Uint8Array()
  #state: 'open' | 'whole' | 'committing' | 'committed' | 'discarded' = 'open'
  #unwanted = false
  #memory: Uint8Array[] = []
  #sink: Promise<BodySink> | undefined
  #removal: Promise<void> | undefined

  /** Begins a body; where it is known to be large it is created in the body store at once. */
  constructor(register: BodyRegister, { expectedSize = 0 }: BodyOptions = {}) {
    this.#register = register
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
    await this.#register.begin(this.#id)
    return this.#register.bodies.create(this.#id)
  }

  async #take(pieces: readonly Uint8Array[]): Promise<void> {
    this.#register.assertSpace()
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
  beginCommit(register: BodyRegister): void {
    if (register !== this.#register) throw new TypeError('the body is not one of this store')
    if (this.#state === 'open') throw new TypeError('the stream of the body has not finished: end it and wait')
    if (this.#state !== 'whole') throw new TypeError('the body was committed or discarded before')
    this.#state = 'committing'
  }

  /** The change is over: the body is an object's or upload's now, or its writer's as before, or thrown away. */
  async endCommit(outcome: 'committed' | 'unknown' | 'whole' | 'discarded'): Promise<void> {
    this.#state = outcome === 'committed' || outcome === 'unknown' ? 'committed' : 'whole'
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

  /** The bytes of a body that stayed in memory; `undefined` where it is in the body store. */
  get bytes(): Uint8Array | undefined {
    return this.#sink === undefined ? Buffer.concat(this.#memory) : undefined
  }

  /** The body as a file of the body store. */
  get file(): BodyFile {
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

  [Symbol.asyncDispose](): Promise<void> {
    return this.discard()
  }

  async #remove(): Promise<void> {
    this.#memory = []
    if (this.#sink === undefined) return
    const sink = await this.#sink.catch(() => undefined)
    const isGone = await Promise.resolve(sink?.discard()).then(
      () => true,
      () => false,
    )
    await this.#register.giveUp(this.file, isGone).catch(() => {})
  }
}

/**
 * Runs a change that commits a body. Where the change fails the body is discarded, unless the bucket has changed: then it may be committed
 * again. `TypeError` where it is not a body of this store, not whole, or committed or discarded before.
 */
export const commitBody = async <T>(
  register: BodyRegister,
  body: BodyWriter,
  change: (draft: BodyDraft) => Promise<T>,
): Promise<T> => {
  if (!(body instanceof BodyDraft)) throw new TypeError('the body is not one of this store')
  body.beginCommit(register)
  try {
    const result = await change(body)
    await body.endCommit('committed')
    return result
  } catch (error) {
    if (register.mayHaveHappened(error, body.file)) await body.endCommit('unknown')
    else await body.endCommit(error instanceof SseError && error.code === 'BucketChanged' ? 'whole' : 'discarded')
    throw error
  }
}

/** A body that a commit asks for was taken away: better no object than one without its body. */
export const sweptAway = (): SseError =>
  new SseError('StoreFailed', {
    message: 'The body was swept away while it was being written: its process was taken for dead. Send it again.',
  })
