/** Runs the command line: in this process with streams of the test's own, or as a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Environment } from '../../lib/cli/io.ts'
import { run } from '../../lib/cli/program.ts'

/** What became of a run. */
export interface CliResult {
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: string
}

/** A stream that collects what it is given. */
export class Collector extends Writable {
  readonly chunks: Uint8Array[] = []
  isTTY: boolean | undefined

  constructor(isTTY?: boolean) {
    super()
    this.isTTY = isTTY
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks)
  }

  get text(): string {
    return this.bytes.toString()
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.chunks.push(Uint8Array.from(chunk))
    done()
  }
}

/** How {@link cli} runs. */
export interface CliOptions {
  readonly stdin?: Uint8Array | string | Readable | undefined
  readonly stdout?: Collector | Writable | undefined
  readonly stderr?: Collector | undefined
  readonly env?: Environment | undefined
  readonly signal?: AbortSignal | undefined
}

const readable = (input: Uint8Array | string | Readable): Readable =>
  input instanceof Readable ? input : Readable.from([Buffer.from(input)], { objectMode: false })

/** Runs a command line in this process. */
export const cli = async (argv: readonly string[], options: CliOptions = {}): Promise<CliResult> => {
  const { stdin = '', stdout = new Collector(), stderr = new Collector(), env = {} } = options
  const signal = options.signal ?? new AbortController().signal
  stdout.on('error', () => undefined)
  const code = await run(argv, { stdin: readable(stdin), stdout, stderr, env, signal })
  return { code, stdout: stdout instanceof Collector ? stdout.bytes : Buffer.alloc(0), stderr: stderr.text }
}

const built = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
/** Its source. */
export const source: string = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url))

/** The program's main file: the built one where there is one, else the sources. */
export const main: string = existsSync(built) ? built : source

/**
 * The words that start a main file: built code without what tap adds to every process (coverage, handlers of signals), sources through the
 * loader that runs the tests.
 */
export const starting = (file: string): readonly string[] =>
  file.endsWith('.ts')
    ? [process.execPath, ...process.execArgv, file]
    : ['env', '-u', 'NODE_OPTIONS', process.execPath, file]

/** What became of a process, once it has ended. */
export const ended = async (child: ChildProcess): Promise<CliResult & { readonly signal: NodeJS.Signals | null }> => {
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk))
  child.stdin?.on('error', () => undefined)
  await once(child, 'close')
  const { exitCode: code, signalCode: signal } = child
  return { code, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() }
}

/** Starts the program as a process of its own, with pipes. */
export const start = (argv: readonly string[], file: string = main, cwd: string = process.cwd()): ChildProcess => {
  const [command = '', ...words] = starting(file)
  return spawn(command, [...words, ...argv], { cwd })
}

/** What starts the program in a shell. */
export const startingText = (file: string = main): string =>
  starting(file)
    .map(word => `'${word}'`)
    .join(' ')

/** Runs a script of bash in which `sse-kms` is the program; a pipe fails where any of its commands does. */
export const shell = (script: string, cwd: string, file: string = main): ChildProcess =>
  spawn('bash', ['-c', `set -o pipefail; sse-kms() { ${startingText(file)} "$@"; }; ${script}`], { cwd })

/** The same on a terminal, which is the stdout of what is returned. */
export const terminal = (script: string, cwd: string, file: string = main): ChildProcess => {
  const command = `sse-kms() { ${startingText(file)} "$@"; }; ${script}`
  return spawn('script', ['-qec', command, '/dev/null'], {
    cwd,
    env: { ...process.env, SHELL: '/bin/bash', TERM: 'xterm' },
  })
}
