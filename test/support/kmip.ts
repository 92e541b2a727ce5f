/**
 * PyKMIP's server, of Debian's package python3-pykmip: started in a fresh folder with certificates of its own, over a database file that lives
 * as long as the folder. What it is like:
 *
 * - It runs with Debian's Python (3.11) alone: it calls ssl.wrap_socket, which Python 3.12 no longer has.
 * - It speaks TLS 1.2 with a few old cipher suites; ECDHE with an ECDSA certificate gives AES-GCM.
 * - Who a client is, is the common name of its certificate, which must have the extended key usage clientAuth. User name and password are
 *   read and ignored. By the policy "default" a key is its maker's alone; anyone may locate it.
 * - Each connection has a thread, and one lock is around all work: more connections do not make it faster.
 * - A tag that does not fit, like everything that it did not expect, is General Failure. A key that is not active is Permission Denied.
 * - Ids are numbers, and 01 is taken for 1. Names need not be unique. A destroyed key is gone.
 * - It starts helper processes, so its whole process group is killed; SIGTERM alone takes up to 10 s.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { type KmipKms, type KmipOptions, kmipKms } from '../../lib/kms/kmip/kmip.ts'

const program = '/usr/bin/pykmip-server'

/** In one line, why its tests skip. */
export const kmipMissing: string | false = !existsSync(program) && 'PyKMIP is missing (Debian: python3-pykmip)'

/** PyKMIP, running. */
export interface KmipServer {
  /** The server as its client `gateway`. */
  readonly kms: KmipKms
  /** Full ids of two keys of that client. */
  readonly keyId: string
  readonly otherKeyId: string
  /** Where its certificates lie: ca.pem, and gateway.pem with gateway.key. */
  readonly folder: string
  readonly port: number
  /** Options that lead there as a client; a key manager made with them is the caller's to close. */
  options(client?: 'gateway' | 'stranger', more?: Partial<KmipOptions>): KmipOptions
  /** Kills the server with everything that it has not written. */
  kill(): Promise<void>
  /** Stops all of its work, until it is resumed: it takes connections and answers nothing. */
  pause(): void
  resume(): void
  /** Starts it again, on the same port and database. */
  start(): Promise<void>
  /** What it has logged: at level DEBUG with every request, as hex. */
  log(): string
  /** Ends everything. */
  stop(): Promise<void>
}

const openssl = (...args: readonly string[]): void => {
  const made = spawnSync('openssl', args)
  if (made.status !== 0) throw new Error(`openssl: ${String(made.stderr)}`)
}

/** Paths of a certificate and its key. */
export interface IssuedCertificate {
  readonly cert: string
  readonly key: string
}

const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

/** Makes an authority in a folder; answers what issues certificates of it. */
export const makeAuthority = (folder: string) => {
  const [ca, caKey] = [join(folder, 'ca.pem'), join(folder, 'ca-key.pem')]
  openssl(
    'req',
    '-x509',
    ...curve,
    '-days',
    '2',
    '-subj',
    '/CN=sse-kms-streams test authority',
    '-keyout',
    caKey,
    '-out',
    ca,
  )
  const issue = (name: string, usage: 'serverAuth' | 'clientAuth'): IssuedCertificate => {
    const [cert, key, request] = ['pem', 'key', 'csr'].map(end => join(folder, `${name}.${end}`))
    if (cert === undefined || key === undefined || request === undefined) throw new Error('three paths')
    const extensions = join(folder, `${name}.ext`)
    writeFileSync(extensions, `extendedKeyUsage=${usage}\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n`)
    openssl('req', '-new', ...curve, '-subj', `/CN=${name}`, '-keyout', key, '-out', request)
    const by = ['-CA', ca, '-CAkey', caKey, '-CAcreateserial', '-days', '2', '-extfile', extensions]
    openssl('x509', '-req', '-in', request, ...by, '-out', cert)
    return { cert, key }
  }
  return { ca, issue }
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

const listens = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })

/** Milliseconds until it must be up. */
const patience = 60_000

/** Starts PyKMIP and makes two keys in it. */
export const startKmip = async (): Promise<KmipServer> => {
  const folder = await mkdtemp(join(tmpdir(), 'kmip-'))
  const { ca, issue } = makeAuthority(folder)
  const server = issue('server', 'serverAuth')
  const clients = { gateway: issue('gateway', 'clientAuth'), stranger: issue('stranger', 'clientAuth') }
  mkdirSync(join(folder, 'policies'))
  const port = await freePort()
  const [config, log, said] = [join(folder, 'server.conf'), join(folder, 'server.log'), join(folder, 'said.log')]
  writeFileSync(
    config,
    `[server]
hostname=127.0.0.1
port=${port}
certificate_path=${server.cert}
key_path=${server.key}
ca_path=${ca}
auth_suite=TLS1.2
policy_path=${join(folder, 'policies')}
enable_tls_client_auth=True
logging_level=DEBUG
database_path=${join(folder, 'keys.database')}
`,
  )

  let child: ChildProcess | undefined
  const start = async (): Promise<void> => {
    // Debian's Python and nothing of a version manager's; a process group of its own.
    const out = openSync(said, 'a')
    child = spawn('setpriv', ['--pdeathsig', 'KILL', '/usr/bin/python3', program, '-f', config, '-l', log], {
      env: { PATH: '/usr/bin:/bin', HOME: folder },
      stdio: ['ignore', out, out],
      detached: true,
    })
    const last = Date.now() + patience
    while (!(await listens(port))) {
      if (child.exitCode !== null || Date.now() > last) throw new Error(`PyKMIP: ${readFileSync(said, 'utf8')}`)
      await wait(50)
    }
  }
  const kill = async (): Promise<void> => {
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    process.kill(-child.pid, 'SIGKILL')
    await exited
  }
  const signal = (name: NodeJS.Signals): void => {
    if (child?.pid !== undefined) process.kill(-child.pid, name)
  }
  const options: KmipServer['options'] = (client = 'gateway', more = {}) => {
    const { cert, key } = clients[client]
    return {
      instance: 'kmip1',
      host: '127.0.0.1',
      port,
      tls: { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) },
      ...more,
    }
  }

  const kms = kmipKms(options())
  const stop = async (): Promise<void> => {
    await kms.close()
    await kill()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await start()
    const [first, second] = [await kms.create('first'), await kms.create('second')]
    return {
      kms,
      keyId: first.keyId,
      otherKeyId: second.keyId,
      folder,
      port,
      options,
      kill,
      pause: () => signal('SIGSTOP'),
      resume: () => signal('SIGCONT'),
      start,
      log: () => readFileSync(log, 'utf8'),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}
