/** A body store in memory: what the embedded store asks of one, and no more. It may behave as one on another machine does. */
import { concat } from '../../lib/bytes.ts'
import type { BodyRange, BodyStore } from '../../lib/store/body-store.ts'

/** A new one, and its bodies by id. */
export const memoryBodies = (
  remote = false,
): { readonly store: BodyStore; readonly bodies: ReadonlyMap<string, Uint8Array> } => {
  const bodies = new Map<string, Uint8Array>()
  async function* read(bytes: Uint8Array, { start, end, chunkSize, reuse }: BodyRange): AsyncGenerator<Uint8Array> {
    const memory = new Uint8Array(reuse ? chunkSize : 0)
    for (let at = start; at < end; at += chunkSize) {
      const chunk = bytes.subarray(at, Math.min(at + chunkSize, end))
      if (reuse) memory.set(chunk)
      yield reuse ? memory.subarray(0, chunk.length) : new Uint8Array(chunk)
    }
  }
  const store: BodyStore = {
    remote,
    create: async id => {
      if (bodies.has(id)) throw new Error(`${id} is there already`)
      bodies.set(id, new Uint8Array())
      return {
        write: async pieces => {
          bodies.set(id, concat(bodies.get(id) ?? new Uint8Array(), ...pieces))
        },
        finish: async () => {},
        discard: async () => {
          bodies.delete(id)
        },
      }
    },
    open: async id => {
      const bytes = bodies.get(id)
      return bytes && { size: bytes.length, read: range => read(bytes, range), close: async () => {} }
    },
    sizeOf: async id => bodies.get(id)?.length,
    delete: async id => bodies.delete(id),
    list: async function* () {
      yield [...bodies.keys()]
    },
    discardUnfinished: async () => 0,
    close: async () => {},
  }
  return { store, bodies }
}
