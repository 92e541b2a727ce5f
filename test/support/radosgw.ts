/**
 * Ceph's gateway, of Debian's packages, over a cluster of one monitor and one store, in memory by default: made in a fresh folder, gone at the test's end.
 * Everything listens on 127.0.0.1; the daemons die with this process, however it ends.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

const programs = { radosgw: 'radosgw', 'ceph-mon': 'ceph-mon', 'ceph-osd': 'ceph-osd', ceph: 'ceph-common' }
const absent = Object.entries(programs).filter(([program]) => !existsSync(`/usr/bin/${program}`))

/** In one line, why its tests skip. */
export const radosgwMissing: string | false =
  absent.length > 0 && `Ceph's gateway is missing (Debian: ${absent.map(([, name]) => name).join(' ')})`

/** A user of Ceph's gateway, a tenant in our words. */
export interface RadosgwUser {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** Ceph's gateway, running. */
export interface Radosgw {
  readonly url: string
  /** Ids of the master keys of its testing backend. */
  readonly keyIds: readonly [string, string]
  /** Two users that have nothing to do with each other. */
  readonly users: readonly [RadosgwUser, RadosgwUser]
  /** Kills the gateway, and leaves what it stored. */
  kill(): Promise<void>
  /** Starts it again, on the same address. */
  start(): Promise<void>
}

/** Milliseconds until everything must be up. */
const patience = 60_000

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

const keyIds = ['testkey-1', 'testkey-2'] as const

/** Where its objects lie: in memory, or in a file on disk, flushed as in a real cluster. */
export type Medium = 'memstore' | 'bluestore'

const sizes = {
  memstore: 'memstore device bytes = 8589934592',
  bluestore: 'bluestore block size = 10737418240\nosd memory target = 939524096',
} as const satisfies Record<Medium, string>

const configuration = (folder: string, fsid: string, mon: number, gateway: number, medium: Medium): string => `[global]
fsid = ${fsid}
mon host = [v2:127.0.0.1:${mon}]
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
# Debian's client mode is "secure", which goes with cephx alone
ms mon client mode = crc
run dir = ${folder}
admin socket =
pid file =
log file = ${folder}/$name.log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 0
[mon]
mon data = ${folder}/mon
[osd]
osd data = ${folder}/osd
osd objectstore = ${medium}
${sizes[medium]}
[client.rgw]
rgw data = ${folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:${gateway}
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = ${keyIds.map(id => `${id}=${randomBytes(32).toString('base64')}`).join(' ')}
`

/** Repeats what fails until it works or the time is over; fails at once where a daemon has ended. */
const until = async (what: string, daemons: readonly ChildProcess[], attempt: () => Promise<unknown>) => {
  const last = Date.now() + patience
  for (;;) {
    try {
      return await attempt()
    } catch (cause) {
      const dead = daemons.find(daemon => daemon.exitCode !== null || daemon.signalCode !== null)
      if (dead !== undefined) throw new Error(`${what}: ${dead.spawnargs.join(' ')} has ended`, { cause })
      if (Date.now() > last) throw new Error(`${what}: nothing after ${patience} ms`, { cause })
      await wait(100)
    }
  }
}

const startIn = async (folder: string, daemons: ChildProcess[], medium: Medium): Promise<Radosgw> => {
  for (const name of ['mon', 'osd', 'rgw']) mkdirSync(join(folder, name))
  const [fsid, osd] = [randomUUID(), randomUUID()]
  const [mon, gateway] = [await freePort(), await freePort()]
  const config = join(folder, 'ceph.conf')
  writeFileSync(config, configuration(folder, fsid, mon, gateway, medium))
  // None of the variables that Ceph reads, and Debian's own Python for `ceph`.
  const env = { PATH: '/usr/bin:/bin', HOME: folder }
  const do_ = (program: string, ...args: readonly string[]) => run(program, ['-c', config, ...args], { env })
  const start = (program: string, ...args: readonly string[]): ChildProcess => {
    const words = ['--pdeathsig', 'KILL', program, '-c', config, '-f', ...args]
    const daemon = spawn('setpriv', words, { env, stdio: 'ignore' })
    daemons.push(daemon)
    return daemon
  }

  const monmap = join(folder, 'monmap')
  await run('monmaptool', ['--create', '--fsid', fsid, '--addv', 'a', `[v2:127.0.0.1:${mon}]`, monmap], { env })
  await do_('ceph-mon', '--mkfs', '-i', 'a', '--monmap', monmap)
  start('ceph-mon', '-i', 'a')
  await until('the monitor', daemons, () => do_('ceph', '--connect-timeout', '5', 'osd', 'new', osd))
  await do_('ceph-osd', '--mkfs', '-i', '0', '--osd-uuid', osd)
  start('ceph-osd', '-i', '0')
  const url = `http://127.0.0.1:${gateway}`
  const startGateway = async (): Promise<ChildProcess> => {
    const daemon = start('radosgw', '-n', 'client.rgw')
    await until('the gateway', daemons, () => fetch(url).then(answer => answer.text()))
    return daemon
  }
  let serving = await startGateway()
  const user = async (name: string): Promise<RadosgwUser> => {
    const secretAccessKey = randomBytes(20).toString('hex')
    const keys = [`--access-key=${name}`, `--secret-key=${secretAccessKey}`]
    await do_('radosgw-admin', '-n', 'client.rgw', 'user', 'create', `--uid=${name}`, `--display-name=${name}`, ...keys)
    return { accessKeyId: name, secretAccessKey }
  }
  return {
    url,
    keyIds,
    users: [await user('owner'), await user('other')],
    kill: async () => {
      const exited = once(serving, 'exit')
      serving.kill('SIGKILL')
      await exited
      daemons.splice(daemons.indexOf(serving), 1)
    },
    start: async () => {
      serving = await startGateway()
    },
  }
}

/** Starts a cluster and its gateway, in some seconds; the test's end stops both. */
export const startRadosgw = async (
  t: { readonly teardown: (clean: () => Promise<void>) => void; readonly comment: (line: string) => void },
  medium: Medium = 'memstore',
): Promise<Radosgw> => {
  const folder = await mkdtemp(join(tmpdir(), 'radosgw-'))
  const daemons: ChildProcess[] = []
  t.teardown(async () => {
    for (const daemon of daemons) {
      if (daemon.exitCode !== null || daemon.signalCode !== null) continue
      const exited = once(daemon, 'exit')
      daemon.kill('SIGKILL') // there is nothing to save
      await exited
    }
    await rm(folder, { recursive: true })
  })
  try {
    return await startIn(folder, daemons, medium)
  } catch (error) {
    for (const name of ['mon.a', 'osd.0', 'client.rgw']) {
      const log = join(folder, `${name}.log`)
      if (existsSync(log)) t.comment(`${name}: ${readFileSync(log, 'utf8').slice(-2000)}`)
    }
    throw error
  }
}
