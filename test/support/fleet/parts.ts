/**
 * A fleet, all of it real and on 127.0.0.1: haproxy in front of `sse-kms serve` processes that keep nothing, their index in PostgreSQL, their
 * bodies in Ceph's gateway, their keys in PyKMIP.
 */
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Ends } from '../ends.ts'
import { kmipMissing, type KmipServer, startKmip } from '../kmip.ts'
import { postgresMissing, type PostgresServer, startPostgres } from '../postgres.ts'
import { radosgwMissing, type Radosgw, startRadosgw } from '../radosgw.ts'
import { type DemoUser, type RunningServer, startServer } from '../server.ts'

const haproxy = '/usr/sbin/haproxy'

/** In one line, what of a fleet is missing. */
export const fleetMissing: string | false =
  [!existsSync(haproxy) && 'haproxy is missing (Debian: haproxy)', postgresMissing, radosgwMissing, kmipMissing]
    .filter(missing => missing !== false)
    .join('; ') || false

/** Rules of the service. */
export type FleetProfile = 'obs' | 's3'

/** One `sse-kms serve` with its workers. */
export interface FleetGateway {
  readonly name: string
  readonly url: string
  /** Address of the operator. */
  readonly admin: string
  /** Ends it at once, and all of its workers. */
  kill(): Promise<void>
  /** Starts it again, on the same address; with the rules that it had, or others. */
  start(profile?: FleetProfile): Promise<void>
}

/** A fleet that runs. */
export interface Fleet {
  /** Where clients go: haproxy. */
  readonly url: string
  readonly region: string
  /** Each the tenant_admin of a tenant of its own. */
  readonly users: readonly [DemoUser, DemoUser]
  /** An ordinary user of the first tenant. */
  readonly ordinary: DemoUser
  /** Keys of the key manager that both tenants may name. */
  readonly keyIds: readonly [string, string]
  readonly gateways: readonly FleetGateway[]
  readonly postgres: PostgresServer
  readonly upstream: Radosgw
  readonly kms: KmipServer
  /** A client that tries each request once, at the fleet or another address. */
  client(url?: string): S3Client
}

/** How a fleet is made. */
export interface FleetOptions {
  readonly gateways: number
  /** Workers of each. */
  readonly workers: number
}

const region = 'us-east-1'

const userOf = (name: string): DemoUser => ({
  name,
  accessKeyId: `AK${name.toUpperCase()}`,
  secretAccessKey: randomBytes(20).toString('hex'),
})

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** Takes a gateway out whose /readyz fails or that does not answer, and gives a request that reached nobody to another one. */
const haproxyConfig = (
  port: number,
  gateways: readonly { readonly port: number; readonly admin: number }[],
): string => `
defaults
  mode http
  timeout connect 2s
  timeout client 120s
  timeout server 120s
  timeout check 3s
  option http-no-delay
  retries 3
  option redispatch 1
  retry-on conn-failure
frontend s3
  bind 127.0.0.1:${port}
  default_backend gateways
backend gateways
  balance leastconn
  option httpchk GET /readyz
  default-server check inter 500ms fall 2 rise 1 observe layer4 error-limit 2 on-error mark-down
${gateways.map(({ port: at, admin }, i) => `  server gateway${i + 1} 127.0.0.1:${at} port ${admin}\n`).join('')}`

const ended = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

const startHaproxy = async (ends: Ends, folder: string, config: string, port: number): Promise<void> => {
  const file = join(folder, 'haproxy.cfg')
  writeFileSync(file, config)
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', haproxy, '-db', '-f', file], { stdio: 'ignore' })
  ends.teardown(() => child.kill('SIGKILL'))
  const last = Date.now() + 20_000
  while (!ended(child) && Date.now() < last) {
    const status = await fetch(`http://127.0.0.1:${port}`).then(
      answer => answer.status,
      () => 503,
    )
    if (status !== 503) return
    await pause(100)
  }
  throw new Error(`haproxy does not answer with ${file}`)
}

/** Starts all of it, in some ten seconds. */
export const startFleet = async (ends: Ends, { gateways: count, workers }: FleetOptions): Promise<Fleet> => {
  const folder = await mkdtemp(join(tmpdir(), 'fleet-'))
  ends.teardown(() => rm(folder, { recursive: true, force: true }))
  const [kms, postgres, upstream] = await Promise.all([
    startKmip(),
    startPostgres({ fsync: 'on', full_page_writes: 'on', max_connections: 200, shared_buffers: '256MB' }),
    startRadosgw({ teardown: ends.teardown, comment: text => void process.stderr.write(`${String(text)}\n`) }),
  ])
  ends.teardown(() => Promise.all([kms.stop(), postgres.close()]))
  const [owner] = upstream.users
  const bodies = new S3Client({ endpoint: upstream.url, region, forcePathStyle: true, credentials: { ...owner } })
  await bodies.send(new CreateBucketCommand({ Bucket: 'bodies' }))
  bodies.destroy()

  const { port: databasePort, user, database } = await postgres.create()
  const users = [userOf('ann'), userOf('ben')] as const
  const ordinary = userOf('joe')
  const domains = [
    { domainId: 'domain1', users: [{ ...users[0], roles: ['tenant_admin'] }, ordinary] },
    { domainId: 'domain2', users: [{ ...users[1], roles: ['tenant_admin'] }] },
  ]
  const keys = Object.entries({ one: kms.keyId, two: kms.otherKeyId })
  const tls = {
    ca: join(kms.folder, 'ca.pem'),
    cert: join(kms.folder, 'gateway.pem'),
    key: join(kms.folder, 'gateway.key'),
  }
  const configOf = (profile: FleetProfile, admin: number): object => ({
    profile,
    region,
    admin: { listen: `127.0.0.1:${admin}` },
    tenants: domains.map(domain => ({ ...domain, projectId: `project-of-${domain.domainId}` })),
    kms: [
      {
        ...{ provider: 'kmip', instance: 'kmip1', host: '127.0.0.1', port: kms.port, tls },
        keys: domains.flatMap(({ domainId }) => keys.map(([alias, key]) => ({ domainId, key, alias }))),
      },
    ],
    store: {
      index: { postgres: { url: `postgres://${String(user)}@127.0.0.1:${String(databasePort)}/${String(database)}` } },
      bodies: { s3: { bucket: 'bodies', endpoint: upstream.url, region, checksum: 'md5', ...owner } },
    },
  })

  const start = async (i: number): Promise<FleetGateway & { readonly port: number; readonly adminPort: number }> => {
    const name = `gateway${i + 1}`
    const [port, adminPort] = [await freePort(), await freePort()]
    const config = join(folder, `${name}.json`)
    const configure = (profile: FleetProfile): void =>
      writeFileSync(config, JSON.stringify(configOf(profile, adminPort)))
    configure('s3')
    const data = join(folder, name)
    mkdirSync(data)
    const args = [
      '--config',
      config,
      '--listen',
      `127.0.0.1:${port}`,
      ...(workers > 1 ? ['--workers', `${workers}`] : []),
    ]
    let running: RunningServer | undefined = await startServer(data, args)
    const { url } = running
    ends.teardown(() => running?.stop('SIGKILL'))
    return {
      ...{ name, url, port, adminPort, admin: `http://127.0.0.1:${adminPort}` },
      kill: async () => {
        await running?.stop('SIGKILL')
        running = undefined
      },
      start: async profile => {
        if (profile !== undefined) configure(profile)
        running = await startServer(data, args)
      },
    }
  }
  const gateways: Awaited<ReturnType<typeof start>>[] = []
  for (let i = 0; i < count; i++) gateways.push(await start(i))
  const port = await freePort()
  await startHaproxy(
    ends,
    folder,
    haproxyConfig(
      port,
      gateways.map(({ port, adminPort: admin }) => ({ port, admin })),
    ),
    port,
  )
  const url = `http://127.0.0.1:${port}`
  return {
    ...{ url, region, users, ordinary, keyIds: ['alias/one', 'alias/two'], gateways, postgres, upstream, kms },
    client: (endpoint = url) => {
      const [{ accessKeyId, secretAccessKey }] = users
      const credentials = { accessKeyId, secretAccessKey }
      const made = new S3Client({ endpoint, region, forcePathStyle: true, maxAttempts: 1, credentials })
      ends.teardown(() => made.destroy())
      return made
    },
  }
}
