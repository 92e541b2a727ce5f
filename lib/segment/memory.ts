/** Memory of the process that streams run in. */

/** The largest allocation that glibc learns from; a little less, for its own header. */
const lesson = (32 << 20) - 65_536

/**
 * Has the C library keep up to 64 MiB of memory that was freed, instead of handing it back to the system. A stream allocates and lets go
 * of a buffer for each segment; where the system takes each back, every page of the next is a fault, which may cost as much as the cipher.
 * Call it once, where a program begins that streams much. The program `sse-kms` does.
 *
 * With glibc (most Linux systems) one large allocation that is freed raises its thresholds (mallopt(3), `M_MMAP_THRESHOLD`, "dynamic");
 * elsewhere, and where `MALLOC_TRIM_THRESHOLD_` is set, nothing changes. It touches no page and takes microseconds.
 *
 * {@includeCode ../../test/examples/reference.test.ts#memory}
 */
export const keepFreedMemory = (): void => {
  const { port1, port2 } = new MessageChannel()
  port2.close()
  const { buffer } = Buffer.allocUnsafeSlow(lesson)
  port1.postMessage(buffer, [buffer]) // to nobody: it is freed now, not whenever garbage is collected
  port1.close()
}
