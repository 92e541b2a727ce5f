/**
 * Where bodies lie: the seam between a store's index and its bodies. The interface alone. A body is immutable, named by a random id that is
 * never used again (32 hex digits), and nothing but bytes: what it belongs to stands in the index.
 *
 * A method may reject with any error; the caller turns it into `StoreFailed`.
 */

/** Takes a new body. Its methods are called one at a time, but for `discard`. */
export interface BodySink {
  /** Takes these pieces, one after the other and all of them; they do not change until the promise resolves. */
  write(pieces: readonly Uint8Array[]): Promise<void>
  /** The body is whole: resolves when its bytes and its id are durable. Called once, after the last `write`. */
  finish(): Promise<void>
  /** Throws the body away, whole or not, also while another method is under way. */
  discard(): Promise<void>
}

/** Which bytes of a body, inside its size. */
export interface BodyRange {
  /** First byte. */
  readonly start: number
  /** The byte behind the last one. */
  readonly end: number
  /** Bytes of a chunk at most. */
  readonly chunkSize: number
  /** Says that a chunk is done with once the next one is asked for, so that its memory may be used again. */
  readonly reuse: boolean
}

/** A body that is open: readable until it is closed, also where it is deleted meanwhile, unless its store cannot do that. */
export interface StoredBody {
  /** Bytes that the store really holds. */
  readonly size: number
  /** Exactly these bytes; fails where they are there no more. Where it ends early by `return`, nothing of it goes on. */
  read(range: BodyRange): AsyncIterable<Uint8Array>
  /** Lets go of the body. */
  close(): Promise<void>
}

/** A store of bodies. */
export interface BodyStore {
  /** Begins a body. */
  create(id: string): Promise<BodySink>
  /** Opens a body; `undefined` where there is none. */
  open(id: string): Promise<StoredBody | undefined>
  /** Bytes that the store really holds of a body; `undefined` where there is none. */
  sizeOf(id: string): Promise<number | undefined>
  /** Deletes a body; `false` where there was none. */
  delete(id: string): Promise<boolean>
  /** The ids of all bodies, those that are being written too, some at a time. */
  list(): AsyncIterable<readonly string[]>
}
