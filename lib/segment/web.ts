/** A driver as a WHATWG `TransformStream`, and as an async generator that needs no `node:`. */
import { assertIterable } from '../arguments.ts'
import { chunkBytes, type Chunks, type Driver } from './driver.ts'

/**
 * A `TransformStream` over a driver, for `pipeThrough`. Keys are wiped when it ends, fails, is aborted or cancelled.
 */
export const toWeb = (driver: Driver): TransformStream<Uint8Array, Uint8Array> => {
  const guarded = async (run: () => unknown, ends: boolean): Promise<void> => {
    let failed = true
    try {
      await run()
      failed = false
    } finally {
      if (failed || ends) driver.dispose()
    }
  }
  const transformer: Transformer<Uint8Array, Uint8Array> & { cancel: () => void } = {
    transform: (chunk, controller) =>
      guarded(() => driver.write(chunkBytes(chunk), bytes => controller.enqueue(bytes)), false),
    flush: controller => guarded(() => driver.end(bytes => controller.enqueue(bytes)), true),
    cancel: () => driver.dispose(),
  }
  return new TransformStream(transformer)
}

/** What leaves a driver while a source goes in. Keys are wiped at the end, on an error, and where the loop is left. */
export async function* toWebPieces(driver: Driver, source: Chunks): AsyncGenerator<Uint8Array, void, undefined> {
  let out: Uint8Array[] = []
  const emit = (bytes: Uint8Array): void => {
    out.push(bytes)
  }
  const taken = (): readonly Uint8Array[] => {
    const pieces = out
    out = []
    return pieces
  }
  try {
    assertIterable('pieces', source)
    for await (const chunk of source) {
      await driver.write(chunkBytes(chunk), emit)
      yield* taken()
    }
    await driver.end(emit)
    yield* taken()
  } finally {
    driver.dispose()
  }
}
