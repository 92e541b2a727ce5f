/** Moves bytes from an input through stages to an output, with a progress bar, until the end, an error or an interrupt. */
import type { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Source } from './input.ts'
import type { Io } from './io.ts'
import { writeOutput } from './output.ts'
import { progress } from './progress.ts'

/** What {@link pump} moves. */
export interface Pumped {
  readonly source: Source
  /** Its bytes in all, where they are known. */
  readonly total: number | undefined
  readonly through: readonly Transform[]
  /** A file; stdout where left out, or `-`. */
  readonly output: string | undefined
}

/** Resolves when the output has everything, durably where it is a file. Rejects with the first error, or an `AbortError`. */
export const pump = (io: Io, { source, total, through, output }: Pumped): Promise<void> =>
  writeOutput(output, io, async (sink, before) => {
    const mixed = sink === io.stdout && io.stdout.isTTY === true
    const meter = progress(io, total, { visible: io.stderr.isTTY === true && !mixed })
    try {
      await pipeline(source, meter.stream, ...through, ...before, sink, { signal: io.signal })
    } finally {
      meter.stop()
    }
  })
