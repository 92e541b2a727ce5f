/** What a command uses of the process: streams, environment and the signal to stop. Tests pass their own. */
import type { Readable, Writable } from 'node:stream'
import { printable } from './printable.ts'

/** An output that may be a terminal. */
export interface TextOutput extends Writable {
  /** Whether it is a terminal. */
  readonly isTTY?: boolean | undefined
}

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Streams, environment and stop signal of one run. */
export interface Io {
  readonly stdin: Readable
  readonly stdout: TextOutput
  readonly stderr: TextOutput
  readonly env: Environment
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal
  /** Has SIGHUP call this from now on, every time, instead of stopping the run. */
  readonly onHangup?: ((listener: () => void) => void) | undefined
}

/** Writes text. Resolves when the system has taken it. */
export const print = (stream: Writable, text: string): Promise<void> =>
  new Promise((resolve, reject) => {
    stream.write(text, error => (error ? reject(error) : resolve()))
  })

/** Writes one line for the user to stderr. */
export const note = (io: Io, text: string): Promise<void> => print(io.stderr, `sse-kms: ${printable(text)}\n`)

const signalNames = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** The part of `process` that {@link interruptsOf} needs. */
export interface SignalSource {
  on(name: (typeof signalNames)[number], listener: () => void): unknown
  removeListener(name: (typeof signalNames)[number], listener: () => void): unknown
}

/** How the signals of a process reach a run. */
export interface Interrupts extends Pick<Io, 'signal'> {
  readonly onHangup: NonNullable<Io['onHangup']>
}

/**
 * A signal that the first SIGINT, SIGTERM or SIGHUP aborts, so that a command can stop in order. Nobody listens any longer then: a second
 * one ends the process at once. A server may take SIGHUP for something else.
 */
export const interruptsOf = (process: SignalSource): Interrupts => {
  const controller = new AbortController()
  const interrupt = () => {
    for (const name of signalNames) process.removeListener(name, interrupt)
    controller.abort()
  }
  for (const name of signalNames) process.on(name, interrupt)
  return {
    signal: controller.signal,
    onHangup: listener => {
      process.removeListener('SIGHUP', interrupt)
      process.on('SIGHUP', listener)
    },
  }
}
