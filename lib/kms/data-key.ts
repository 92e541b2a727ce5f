/** A data key in memory: 32 bytes that are wiped, and that no log, message, JSON or inspection shows. */
import { keySize } from '../cipher/suite.ts'
import { disposal, wipe } from '../bytes.ts'

const isPlain = (bytes: Uint8Array): boolean => Object.getPrototypeOf(bytes) === Uint8Array.prototype

const inspect = Symbol.for('nodejs.util.inspect.custom')
const hidden = '[data key]'

/**
 * Holds a data key until {@link DataKey.dispose}.
 *
 * {@includeCode ../../test/examples/reference.test.ts#key,data-key}
 */
export class DataKey {
  readonly #bytes: Uint8Array
  #disposed = false

  /** Takes ownership of 32 bytes; they must not be shared or pooled memory. */
  constructor(bytes: Uint8Array) {
    if (bytes.length !== keySize) throw new RangeError(`a data key has ${keySize} bytes`)
    // Never a Buffer, whose slice is no copy. What is none stays as it is: its `buffer` would move it off V8's heap.
    this.#bytes = isPlain(bytes) ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, keySize)
  }

  /** The key itself, not a copy; `TypeError` once it was wiped. */
  get bytes(): Uint8Array {
    if (this.#disposed) throw new TypeError('the data key was wiped already')
    return this.#bytes
  }

  /** Overwrites the key; may be called twice. */
  dispose(): void {
    this.#disposed = true
    wipe(this.#bytes)
  }

  /** The same, for `using`. */
  [disposal](): void {
    this.dispose()
  }

  /** Never the key. */
  toJSON(): string {
    return hidden
  }

  /** Never the key. */
  toString(): string {
    return hidden
  }

  // What `util.inspect` and `console.log` show. (A method of that name has no type that declarations could state.)
  static {
    Object.defineProperty(DataKey.prototype, inspect, { value: () => hidden })
  }
}
