/**
 * Where bodies lie: the seam between a store's index and its bodies. The interface alone. A body is immutable, named by a random id that is
 * never used again (32 hex digits), and nothing but bytes: what it belongs to stands in the index.
 *
 * A method may reject with any error; the caller turns it into `StoreFailed`, unless it is an `SseError`: `StoreUnavailable` says that the
 * same may succeed in a moment.
 */

/** A file of a body or an upload, as the index has it. */
export interface BodyFile {
  /** 32 hex digits. */
  readonly id: string
  /** Bytes. */
  readonly size: number
}

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

/** A body that is open: readable until it is closed, also where it is deleted meanwhile, unless its store is `remote`. */
export interface StoredBody {
  /** Bytes that the store holds. */
  readonly size: number
  /** Exactly these bytes; fails where they are there no more, or the body has another size. Where it ends early by `return`, nothing of it goes on. */
  read(range: BodyRange): AsyncIterable<Uint8Array>
  /** Lets go of the body. */
  close(): Promise<void>
}

/** A store of bodies. */
export interface BodyStore {
  /**
   * Whether a look at a body is a call to another machine, and a body that was deleted cannot be read to its end. Where so, sizes are those of the
   * index, checked when a body is read, and whatever is deleted is kept for the grace time.
   */
  readonly remote: boolean
  /** Begins a body. */
  create(id: string): Promise<BodySink>
  /**
   * Opens a body; `undefined` where there is none. `size` is what the index says it has: a remote store may take it as it is, and look at the
   * body only when it is read.
   */
  open(id: string, size: number): Promise<StoredBody | undefined>
  /** Bytes that the store really holds of a body; `undefined` where there is none. */
  sizeOf(id: string): Promise<number | undefined>
  /** Deletes a body; `false` where it is known that there was none. */
  delete(id: string): Promise<boolean>
  /** The ids of all bodies, some at a time; those that are being written may be among them. */
  list(): AsyncIterable<readonly string[]>
  /**
   * Throws away what was begun and did not become a body, nor is in `list`. `unwanted` picks of some ids those that are not being written. Answers how
   * much it was.
   */
  discardUnfinished(unwanted: (ids: readonly string[]) => Promise<readonly string[]>): Promise<number>
  /** Lets go of what the store holds, such as connections. */
  close(): Promise<void>
}

/** Makes the body store of an index, which is known by its random id (32 hex digits). The index closes it. */
export type BodyStoreMaker = (storeId: string) => BodyStore | Promise<BodyStore>
