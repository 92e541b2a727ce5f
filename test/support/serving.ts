/** `sse-kms serve` with a configuration, a process group of its own, as an operator has it: its answers, its lines, its signals. */
import { S3Client } from '@aws-sdk/client-s3'
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Test } from 'tap'
import { type CliResult, ended, main, starting } from './cli.ts'

/** A user of a configuration. */
export interface ConfiguredUser {
  readonly name: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly roles: readonly string[]
}

/** A tenant_admin. */
export const ann: ConfiguredUser = {
  name: 'ann',
  accessKeyId: 'AKANN',
  secretAccessKey: 'secret-of-ann',
  roles: ['tenant_admin'],
}

/** A tenant with these users. */
export const tenantOf = (...users: readonly object[]): readonly object[] => [
  { domainId: 'domain1', projectId: 'project1', users },
]

/** What was answered to a GET. */
export interface Got {
  readonly status: number
  readonly type: string | null
  readonly text: string
}

/** GETs a URL. */
export const get = async (url: string, init: RequestInit = {}): Promise<Got> => {
  const answer = await fetch(url, init)
  return { status: answer.status, type: answer.headers.get('content-type'), text: await answer.text() }
}

/** Waits until it is so; fails after ten seconds. */
export const until = async (what: string, isSo: () => boolean | Promise<boolean>): Promise<void> => {
  for (let tries = 0; tries < 400; tries++) {
    if (await isSo()) return
    await wait(25)
  }
  throw new Error(`not within ten seconds: ${what}`)
}

/** A server of a configuration that runs. */
export interface Serving {
  readonly child: ChildProcess
  readonly result: Promise<CliResult>
  readonly folder: string
  readonly base: object
  /** Writes the configuration file. */
  write(content: unknown): void
  readonly admin: string
  readonly address: string
  readonly out: () => string
  readonly err: () => string
  /** A client of this user; each request has a connection of its own where `alone` is true. */
  clientOf(user: ConfiguredUser, alone?: boolean): S3Client
  /** Sends SIGHUP, and waits for the line that answers it. */
  hangUp(): Promise<string>
  /** The value of a metric: the line that begins so. */
  metric(line: string): Promise<number>
  /** Ids of its child processes. */
  workers(): readonly number[]
}

/** Starts a server of a configuration, without tenants but {@link ann}'s unless it says otherwise. */
export const serving = async (t: Test, more: object): Promise<Serving> => {
  const folder = t.testdir()
  const config = join(folder, 'sse-kms.json')
  const write = (content: unknown): void =>
    writeFileSync(config, typeof content === 'string' ? content : JSON.stringify(content))
  const base = { listen: '127.0.0.1:0', data: join(folder, 'data'), log: 'none', tenants: tenantOf(ann), ...more }
  write(base)
  const [command = '', ...words] = starting(main)
  const child = spawn(command, [...words, 'serve', '--json', '--config', config], { detached: true })
  const { pid = 0 } = child
  const result = ended(child)
  t.teardown(async () => {
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      // it has ended
    }
    await result
  })
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  for (let tries = 0; tries < 600 && !out.includes('\n') && child.exitCode === null; tries++) await wait(50)
  if (out === '') throw new Error(`serve did not start: ${err}`)
  const info: unknown = JSON.parse(out)
  const field = (name: string): string => String(new Map<string, unknown>(Object.entries(Object(info))).get(name))
  return {
    child,
    result,
    folder,
    base,
    write,
    admin: field('admin'),
    address: field('address'),
    out: () => out,
    err: () => err,
    clientOf: (user, alone = false) => {
      const client = new S3Client({
        endpoint: field('address'),
        region: 'sichuan',
        forcePathStyle: true,
        maxAttempts: 1,
        credentials: { ...user }, // the SDK adds to them
        ...(alone ? { requestHandler: { httpAgent: new Agent({ keepAlive: false }) } } : {}),
      })
      t.teardown(() => client.destroy())
      return client
    },
    hangUp: async () => {
      const before = err.length
      child.kill('SIGHUP')
      await until('a line that answers SIGHUP', () => err.slice(before).includes('\n'))
      return err.slice(before)
    },
    metric: async line => {
      const { text } = await get(`${field('admin')}/metrics`)
      const found = text.split('\n').find(each => each.startsWith(line))
      return Number(found?.split(' ').at(-1))
    },
    workers: () =>
      readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
        .split(' ')
        .filter(id => id.trim() !== '')
        .map(Number),
  }
}
