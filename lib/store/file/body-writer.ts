/**
 * A body on its way into the embedded store. A small one stays in memory and later lies in the index, where many of them share one commit; a
 * larger one goes to a file, registered as pending before it is created, and fsynced with its directory before the stream finishes. Nothing
 * is written anywhere but what the stream was given.
 */
import type { FileHandle } from 'node:fs/promises'
import { Writable } from 'node:stream'
import { SseError } from '../../errors.ts'
import type { BodyOptions, BodyWriter } from '../store.ts'
import { hold } from './bodies.ts'
import { type FileStore, holder } from './context.ts'
import type { BodyFile, BodyPlace } from './database.ts'
import { newId, onDisk } from './disk.ts'
import { encodeKey } from './keys.ts'

/** Bytes of the largest body that lies in the index: 64 KiB, and what sealing adds to them. */
export const inlineLimit = 66_560

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

const answer = (work: Promise<void>, done: (error?: Error | null) => void): void => {
  work.then(() => done(), done)
}

/** A body of the embedded store that is being written. */
export class BodyDraft implements BodyWriter {
  /** See {@link BodyWriter}. */
  readonly writable: Writable
  readonly #context: FileStore
  readonly #id = newId()
  #size = 0
  #state: 'open' | 'whole' | 'given' | 'gone' = 'open'
  #memory: Uint8Array[] = []
  #file: Promise<FileHandle> | undefined
  #removal: Promise<void> | undefined

  /** Begins a body; where it is known to be large its file is made at once. */
  constructor(context: FileStore, { expectedSize = 0 }: BodyOptions = {}) {
    this.#context = context
    this.writable = new Writable({
      highWaterMark: 262_144,
      write: (chunk: Uint8Array, _, done) =>
        answer(
          onDisk(() => this.#take([chunk])),
          done,
        ),
      writev: (chunks: readonly { chunk: Uint8Array }[], done) =>
        answer(
          onDisk(() => this.#take(chunks.map(({ chunk }) => chunk))),
          done,
        ),
      final: done =>
        answer(
          onDisk(() => this.#finish()),
          done,
        ),
      destroy: (error, done) => answer(this.#end(error), done),
    })
    if (expectedSize > inlineLimit) this.#open().catch(() => {})
  }

  /** See {@link BodyWriter}. */
  get size(): number {
    return this.#size
  }

  #open(): Promise<FileHandle> {
    this.#file ??= this.#create()
    return this.#file
  }

  async #create(): Promise<FileHandle> {
    const { database, disk } = this.#context
    await database.write(() => database.tables.pending.putSync(encodeKey(this.#id), holder(this.#context)))
    return disk.create(this.#id)
  }

  async #take(pieces: readonly Uint8Array[]): Promise<void> {
    for (const piece of pieces) {
      this.#size += piece.length
      this.#memory.push(piece)
    }
    if (this.#file !== undefined || this.#size > inlineLimit) await this.#flush()
  }

  async #flush(): Promise<void> {
    const pieces = this.#memory
    this.#memory = []
    await writeAll(await this.#open(), pieces)
  }

  async #finish(): Promise<void> {
    if (this.#file !== undefined) await this.#settle()
    if (this.#state === 'open') this.#state = 'whole'
  }

  // The stream is over: whole, failed or given up.
  async #end(error: Error | null): Promise<void> {
    if (this.#state === 'open') await this.discard()
    if (error !== null) throw error
  }

  async #settle(): Promise<void> {
    const handle = await this.#open()
    await this.#context.disk.settle(this.#id, handle)
    await handle.close()
  }

  /** Gives the body away, to a change of this store. `TypeError` where it is not of this store, not whole or not its writer's any more. */
  give(context: FileStore): void {
    if (context !== this.#context) throw new TypeError('the body is not one of this store')
    if (this.#state === 'open') throw new TypeError('the stream of the body has not finished: end it and wait')
    if (this.#state !== 'whole') throw new TypeError('the body was given away or discarded before')
    this.#state = 'given'
  }

  /** The change that it was given to has failed: discards it. */
  async giveBack(): Promise<void> {
    this.#state = 'whole'
    await this.discard()
  }

  /** Moves a body that is whole from memory to a file. */
  async toFile(): Promise<void> {
    if (this.#file !== undefined) return
    await onDisk(async () => {
      await this.#flush()
      await this.#settle()
    })
  }

  /** Inside a change: the body as one that an object has. */
  enter(): BodyPlace {
    const { database } = this.#context
    if (this.#file !== undefined) {
      const body: BodyPlace = { form: 'file', ...this.enterFile() }
      hold(database, body)
      return body
    }
    const body: BodyPlace = { form: 'inline', id: this.#id, size: this.#size }
    if (this.#size > 0) database.tables.inline.putSync(encodeKey(this.#id), Buffer.concat(this.#memory))
    hold(database, body)
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
    if (this.#state === 'given') return
    this.#state = 'gone'
    this.#removal ??= this.#remove()
    this.writable.destroy()
    await this.#removal
  }

  async #remove(): Promise<void> {
    const { database, disk } = this.#context
    this.#memory = []
    if (this.#file === undefined) return
    const handle = await this.#file.catch(() => undefined)
    await handle?.close().catch(() => {})
    // Where the index failed so that nobody knows whether the commit took place, the sweep of the next process decides.
    if (database.broken) return
    await disk.delete(this.#id).catch(() => {})
    await database.write(() => database.tables.pending.removeSync(encodeKey(this.#id))).catch(() => {})
  }
}

/**
 * Runs a change that takes a body: it is the change's, or it is discarded. `TypeError` where it is not a body of this store, not whole, or
 * given away before.
 */
export const giving = async <T>(
  context: FileStore,
  body: BodyWriter,
  change: (draft: BodyDraft) => Promise<T>,
): Promise<T> => {
  if (!(body instanceof BodyDraft)) throw new TypeError('the body is not one of this store')
  body.give(context)
  try {
    return await change(body)
  } catch (error) {
    await body.giveBack()
    throw error
  }
}
