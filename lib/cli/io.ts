/** What a command touches of the world: streams, environment and the signal to stop. Tests give it others than the process's. */
import type { Readable, Writable } from 'node:stream'

/** A stream that people may be looking at. */
export interface TextOutput extends Writable {
  /** Whether it is a terminal. */
  readonly isTTY?: boolean | undefined
}

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The world of one run. */
export interface Io {
  readonly stdin: Readable
  readonly stdout: TextOutput
  readonly stderr: TextOutput
  readonly env: Environment
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal
}

/** Writes text, and waits until the system took it. */
export const print = (stream: Writable, text: string): Promise<void> =>
  new Promise((resolve, reject) => {
    stream.write(text, error => (error ? reject(error) : resolve()))
  })

/** A note to the person in front: one line to stderr. */
export const note = (io: Io, text: string): Promise<void> => print(io.stderr, `sse-kms: ${text}\n`)
