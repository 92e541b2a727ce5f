/** Starts the built gateway as an operator does: `sse-kms serve`, a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** The built command line. */
export const main: string = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** A user of the demo tenant. */
export interface DemoUser {
  readonly name: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** A server that runs. */
export interface RunningServer {
  readonly url: string
  readonly region: string
  readonly process: ChildProcess
  /** The demo tenant's tenant_admin and ordinary user; nobody where the configuration has tenants. */
  readonly admin: DemoUser
  readonly user: DemoUser
  /** What it has written to stderr. */
  errors(): string
  /** Ends it by this signal and waits. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

interface StartInfo {
  readonly address: string
  readonly region: string
  /** Left out where the configuration has tenants. */
  readonly demo?: readonly [{ readonly users: readonly [DemoUser, DemoUser] }]
}

const nobody: DemoUser = { name: '', accessKeyId: '', secretAccessKey: '' }

const isStartInfo = (value: unknown): value is StartInfo =>
  typeof value === 'object' && value !== null && 'address' in value

/** Starts a server on this data folder with the demo tenant. */
export const startServer = async (data: string, args: readonly string[] = []): Promise<RunningServer> => {
  const listen = args.includes('--listen') ? [] : ['--listen', '127.0.0.1:0']
  const all = [main, 'serve', '--json', '--log', 'none', ...listen, '--data', data, ...args]
  // Without what tap adds to every process: its coverage would be that of the built code.
  const plain = ['-u', 'NODE_OPTIONS', '-u', 'NODE_V8_COVERAGE', process.execPath]
  const child = spawn('env', [...plain, ...all], { stdio: ['ignore', 'pipe', 'pipe'] })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const lines = createInterface({ input: child.stdout })
  const [line]: unknown[] = await Promise.race([once(lines, 'line'), once(child, 'exit')])
  const info: unknown = typeof line === 'string' ? JSON.parse(line) : undefined
  if (!isStartInfo(info)) throw new Error(`not what serve --json prints: ${String(line)} ${errors}`)
  const users = info.demo?.[0].users ?? [nobody, nobody]
  return {
    url: info.address,
    region: info.region,
    process: child,
    admin: users[0],
    user: users[1],
    errors: () => errors,
    stop: async (signal = 'SIGTERM') => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill(signal)
      await exited
    },
  }
}
