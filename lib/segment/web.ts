/** A driver as a WHATWG `TransformStream`. */
import { chunkBytes, type Driver } from './driver.ts'

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
