/** Memory of a process that streams much. */
import { setFlagsFromString } from 'node:v8'

/** The largest allocation that glibc learns from; a little less, for its own header. */
const lesson = (32 << 20) - 65_536

/**
 * Tunes the memory of the process for streams, which allocate and let go of a buffer for each segment. Call it once, where a program begins
 * that streams much: it is the program's decision, so no other function calls it. The program `sse-kms` does. Two things, neither of which
 * touches a page or takes longer than microseconds:
 *
 * - V8 counts buffers as if they were part of its heap, and collects the whole heap again and again where that is small: as
 *   `--heap-growing-percent=400` does, it lets the heap grow to five times of what was left before it collects all of it.
 * - glibc (most Linux systems) hands memory that was freed back to the system, and every page of the next buffer is a fault: one large
 *   allocation that is freed raises its thresholds (mallopt(3), `M_MMAP_THRESHOLD`, "dynamic"), so that up to 64 MiB are kept. Where
 *   `MALLOC_TRIM_THRESHOLD_` is set, it rules.
 *
 * {@includeCode ../../test/examples/reference.test.ts#memory}
 */
export const tuneMemory = (): void => {
  setFlagsFromString('--heap-growing-percent=400')
  const { port1, port2 } = new MessageChannel()
  port2.close()
  const { buffer } = Buffer.allocUnsafeSlow(lesson)
  port1.postMessage(buffer, [buffer]) // to nobody: it is freed with the port, not whenever garbage is collected
  port1.close()
}
