/**
 * Whether the engine over OpenSSL may be used. What is wrong in a call into native code, its arguments or the binary around it, is no
 * exception: the process ends. So a child process loads the engine and tests it first, once for each process or worker thread.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { getFips } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { SseError } from '../../errors.ts'
import { selfTest } from '../choose.ts'
import type { SyncEngine } from '../engine.ts'
import { loadEngine } from './load.ts'

/** Milliseconds that the child process has. */
const patience = 10_000

/** Why no child process is to try: another OpenSSL inside, the rules of FIPS, or a program that would start itself. */
const excluded = (): string | undefined => {
  const other = ['electron', 'bun', 'deno'].find(name => name in process.versions)
  if (other !== undefined) return `this is ${other}, not Node`
  if (getFips() === 1) return 'OpenSSL is in FIPS mode'
  if (process.getBuiltinModule('node:sea').isSea()) return 'this is a single executable application'
  return undefined
}

/** Options of Node that load modules before a program begins, as a compiler of TypeScript does; nothing else goes to the child. */
const preloads = (argv: readonly string[]): readonly string[] => {
  const option = /^(--import|--require|-r|--loader|--experimental-loader)(=|$)/
  return argv.filter((arg, i) => {
    const before = argv[i - 1] ?? ''
    return option.test(arg) || (option.test(before) && !before.includes('='))
  })
}

/** Why the child process did not get through, if it did not. */
const tried = async (anywhere: boolean): Promise<string | undefined> => {
  const file = fileURLToPath(import.meta.url).replace(/trial\.([jt]s)$/, 'probe.$1')
  const child = fork(file, anywhere ? ['anywhere'] : [], {
    execArgv: [...preloads(process.execArgv)],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    timeout: patience,
  })
  let said: { readonly reason?: string } | undefined
  child.on('message', (message: { readonly reason?: string }) => (said = message))
  const [status, signal]: unknown[] = await once(child, 'close')
  return said === undefined ? `its trial ended with ${String(signal ?? `status ${String(status)}`)}` : said.reason
}

const loadTried = async (anywhere: boolean): Promise<SyncEngine> => {
  const reason = excluded() ?? (await tried(anywhere))
  if (reason !== undefined) throw new Error(reason)
  const engine = await loadEngine()
  await selfTest(engine)
  return engine
}

const engines = new Map<boolean, Promise<SyncEngine>>()

const loadOnce = (anywhere: boolean): Promise<SyncEngine> => {
  const loading =
    engines.get(anywhere) ??
    loadTried(anywhere).catch((cause: unknown) => {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new SseError('EngineUnavailable', { message: `The engine openssl cannot be used: ${reason}.`, cause })
    })
  engines.set(anywhere, loading)
  return loading
}

/**
 * The engine over the OpenSSL that Node has inside, called through koffi if that is installed, else through `node:ffi` (Node 26.1 and
 * later). A child process tries it first. Rejects with `EngineUnavailable`, which says why, where it cannot be had.
 *
 * {@includeCode ../../../test/examples/reference.test.ts#key,engine-openssl}
 */
export const openSslEngine = (): Promise<SyncEngine> => loadOnce(true)

/** {@link openSslEngine} where the tests of this project have run it: rejects elsewhere. */
export const testedOpenSslEngine = (): Promise<SyncEngine> => loadOnce(false)
