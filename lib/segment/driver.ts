/**
 * The interface under the Node, Web and stream-chain adapters: bytes in, bytes out. Works with synchronous and asynchronous engines.
 */
import { assertBytes } from '../arguments.ts'
import { isPromise, isWellFormed, type MaybePromise, utf8 } from '../bytes.ts'

/** Takes bytes that leave. They are new memory and belong to the taker. */
export type Emit = (bytes: Uint8Array) => void

/** Seals or opens one body. Calls come one after the other. */
export interface Driver {
  /** Takes a chunk; the caller may reuse its memory once the call has returned, or its promise has settled. */
  write(chunk: Uint8Array, emit: Emit): MaybePromise<void>
  /** The input ended. Errors tell of a body that is cut, too long, too short or not authentic. */
  end(emit: Emit): MaybePromise<void>
  /** Wipes keys and whatever is held; may be called at any time, and twice. Adapters call it on success, error and abort. */
  dispose(): void
}

/**
 * A driver that keeps failing with its first error, and wipes itself then; and that refuses calls after its end or its disposal with a
 * `TypeError`, a call that was under way included. So a body with a gap never ends cleanly, and nothing is sealed under wiped
 * keys.
 */
export const strict = (driver: Driver): Driver => {
  // What every later call throws; made when it is, since most bodies end well and an error costs its stack.
  let over: (() => unknown) | undefined
  const refuse = (error: unknown): never => {
    over ??= () => error
    driver.dispose()
    throw over()
  }
  const settled = (): void => {
    if (over !== undefined) throw over()
  }
  const run = (call: () => MaybePromise<void>): MaybePromise<void> => {
    settled()
    try {
      const result = call()
      return isPromise(result) ? result.then(settled).catch(refuse) : result
    } catch (error) {
      return refuse(error)
    }
  }
  const ended = () => {
    over = () => new TypeError('the body has ended: encrypt or decrypt another one')
  }
  return {
    write: (chunk, emit) => run(() => driver.write(chunk, emit)),
    end: emit => {
      const result = run(() => driver.end(emit))
      if (isPromise(result)) return result.then(ended)
      ended()
    },
    dispose: () => {
      over ??= () => new TypeError('the body was disposed before it ended: begin it anew')
      driver.dispose()
    },
  }
}

/**
 * The bytes of a chunk of a body. Text is its UTF-8, as in Node's streams; a chunk that ends inside of a character is refused, for its halves
 * would be lost.
 */
export const chunkBytes = (chunk: Uint8Array | string): Uint8Array => {
  if (typeof chunk !== 'string') {
    assertBytes('a body', chunk, 'chunks of bytes (Uint8Array, Buffer) or text')
    return chunk
  }
  if (!isWellFormed(chunk)) {
    throw new TypeError('a chunk of text ends inside of a character (half of a surrogate pair): send the body as bytes')
  }
  return utf8(chunk)
}

/** Where the chunks of a body come from: bytes, or text as UTF-8. */
export type Chunks = AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>
