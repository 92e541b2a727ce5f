/** Starts the gateway of a configuration: key store, object store, request handler, HTTP server. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer, Server as TlsServer } from 'node:https'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { createSecureContext } from 'node:tls'
import type { Engine } from '../cipher/engine.ts'
import { SseError } from '../errors.ts'
import { createGateway, type GatewayHandler, type GatewayUsers } from '../gateway/gateway.ts'
import { authenticateStore } from '../gateway/index-key.ts'
import type { AccessLogEntry } from '../gateway/options.ts'
import { serviceDomain } from '../gateway/services.ts'
import type { DataKeyWrapper } from '../kms/provider.ts'
import { chooseEngine, createSse } from '../object/node.ts'
import { createProfile, type Profile } from '../sse/profile.ts'
import { openFileStore } from '../store/file/store.ts'
import type { ObjectStore } from '../store/store.ts'
import { type Audit, openAudit } from './audit.ts'
import type { Config } from './config.ts'
import { holdConnections } from './connections.ts'
import type { KeyManagerState } from './key-state.ts'
import type { Metrics } from './metrics.ts'
import { printable, printableJson } from './printable.ts'
import { openServerKeys } from './server-keys.ts'

/** A gateway that is listening. */
export interface RunningGateway {
  /** Its URL, such as `http://127.0.0.1:9000`. */
  readonly address: string
  /** Tries each key manager outside this program. Never rejects. */
  checkKeys(): Promise<readonly KeyManagerState[]>
  /** The operator's address, where there is one. */
  readonly admin?: string | undefined
  /**
   * Takes the tenants, users, grants and certificates of another configuration, and opens the audit file anew. Rejects, and changes nothing,
   * where they cannot be.
   */
  reload(config: Config): Promise<void>
  /** Resolves when the store can be used no more by this process: close the gateway, and start it anew. */
  readonly broken: Promise<SseError>
  /** Lets the requests under way end, then closes everything. */
  close(): Promise<void>
}

/** How a gateway stops. */
export interface StopOptions {
  /** Milliseconds that requests under way may take to end; 10,000 by default. */
  readonly grace?: number | undefined
}

/** How often it is looked for connections whose headers are late. */
const checkEvery = 1000

/** The certificate of a configuration and its key. `FileFailed` where they do not belong together. */
const pemOf = async ({ tls }: Pick<Config, 'tls'>) => {
  if (tls === undefined) return undefined
  const pem = { cert: await readFile(tls.cert), key: await readFile(tls.key) }
  try {
    createSecureContext(pem)
    return pem
  } catch (cause) {
    const message = `${tls.cert} and ${tls.key} are not a certificate and its private key. Give both in PEM.`
    throw new SseError('FileFailed', { message, cause })
  }
}

const serverOf = async (handler: GatewayHandler, config: Config): Promise<Server> => {
  const options = {
    headersTimeout: config.limits.headerSeconds * 1000,
    handshakeTimeout: config.limits.headerSeconds * 1000,
    keepAliveTimeout: config.limits.idleSeconds * 1000,
    connectionsCheckingInterval: checkEvery,
    requestTimeout: 0, // no limit for a large body that keeps coming
  }
  const pem = await pemOf(config)
  return pem === undefined ? createServer(options, handler) : createTlsServer({ ...options, ...pem }, handler)
}

const listen = async (server: Server, { listen }: Config): Promise<void> => {
  server.listen(listen.port, listen.host)
  try {
    await once(server, 'listening')
  } catch (cause) {
    const message = `cannot listen on ${listen.host}:${listen.port}. Choose another address with --listen.`
    throw new SseError('FileFailed', { message, cause })
  }
}

/** The URL of a server, also before it listens. */
export const addressOf = (server: Server, { tls, listen }: Config): string => {
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : listen.port
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host
  return `${tls === undefined ? 'http' : 'https'}://${host}:${port}`
}

/** A line of the request log: one line, whatever a client sent. It never contains a secret or a body. */
export const logLine = (entry: AccessLogEntry, form: 'text' | 'json'): string => {
  const { error, ...rest } = entry
  const cause = error?.cause instanceof Error ? `: ${error.cause.message}` : ''
  const problem = error === undefined ? undefined : `${error.code}: ${error.message}${error.status >= 500 ? cause : ''}`
  if (form === 'json') return printableJson({ ...rest, error: problem })
  const { time, remote, user = '-', action = '-', method, path, status, milliseconds } = rest
  return printable(
    [time, remote, user, action, method, path, status, `${milliseconds}ms`, problem].filter(Boolean).join(' '),
  )
}

/** Tells the operator something: a line of the log, or a warning of the process where there is no log. It never contains a secret. */
const warn = (log: Config['log'], message: string): void => {
  const time = new Date().toISOString()
  if (log === 'none') process.emitWarning(message)
  else
    process.stderr.write(
      `${log === 'json' ? printableJson({ time, warning: message }) : printable(`${time} warning: ${message}`)}\n`,
    )
}

/** An error with its cause, which may name files. */
const detailed = (error: unknown): string =>
  error instanceof Error && error.cause instanceof Error ? `${String(error)}: ${error.cause.message}` : String(error)

/** What a gateway is made of, once its store and its keys are open. */
interface Opened extends Pick<RunningGateway, 'broken' | 'checkKeys'> {
  readonly handler: GatewayHandler
  readonly store: ObjectStore
  readonly metrics: Metrics | undefined
  readonly audit: Audit | undefined
  release(): Promise<void>
}

/** Who may ask for what. Throws `InvalidConfig` where a tenant has the domain id of the service. */
const usersOf = ({ tenants }: Config): GatewayUsers => {
  if (tenants.some(({ domainId }) => domainId === serviceDomain)) {
    throw new SseError('InvalidConfig', {
      message: `tenants: the domain id ${serviceDomain} is reserved for the service. Use another.`,
    })
  }
  return {
    tenants,
    users: tenants.flatMap(({ domainId, projectId, users }) => users.map(user => ({ ...user, domainId, projectId }))),
    keyGrants: tenants.flatMap(({ domainId, keyGrants = [] }) => keyGrants.map(grant => ({ ...grant, domainId }))),
  }
}

/** The rules of a configuration. */
export const profileOf = (config: Config): Profile => {
  const { region, profile, customerKeys, baseEncryption, defaultChecksum, lenientParts } = config
  return createProfile(profile, {
    region,
    defaultChecksum,
    lenientParts,
    ...(customerKeys === undefined ? {} : { customerKeys }),
    ...(baseEncryption === undefined ? {} : { baseEncryption }),
  })
}

const started = async (
  config: Config,
  { handler, store, metrics, audit, release, ...running }: Opened,
  { grace = 10_000 }: StopOptions,
): Promise<RunningGateway> => {
  let draining = false
  try {
    const server = await serverOf(handler, config)
    server.on('checkContinue', handler).on('clientError', handler.clientError)
    const connections = holdConnections(server, config.limits)
    const facts = { isDraining: () => draining, askStore: () => store.claims() }
    const admin =
      metrics === undefined || config.admin === undefined
        ? undefined
        : await (await import('./admin.ts')).startAdmin(config.admin, { ...facts, metrics })
    const listening = listen(server, config)
    await listening.catch(() => admin?.close())
    await listening
    const close = async (): Promise<void> => {
      draining = true
      await wait((config.drainSeconds ?? 0) * 1000)
      await connections.close(grace)
      await admin?.close()
      await release()
    }
    const reload = async (next: Config): Promise<void> => {
      const who = usersOf(next)
      const pem = await pemOf(next)
      await audit?.reopen()
      handler.replaceUsers(who)
      if (pem !== undefined && server instanceof TlsServer) server.setSecureContext(pem)
    }
    return { address: addressOf(server, config), admin: admin?.address, ...running, reload, close }
  } catch (error) {
    await release()
    throw error
  }
}

/** Opens what the rows of the index are trusted by: the key managers that they belong to, and their index key. */
export const openKeys = async (
  config: Config,
  rows: ObjectStore,
  engine: Engine,
  around: (manager: DataKeyWrapper) => DataKeyWrapper = manager => manager,
) => {
  const { region, bucketKeySeconds, limits, log } = config
  const keys = await openServerKeys(config, rows, message => warn(log, message))
  const sse = createSse({
    kms: keys.wrappers.map(around),
    accept: [],
    engine,
    bucketKeys: { timeToLive: bucketKeySeconds * 1000 },
    deadline: limits.kmsSeconds * 1000,
  })
  try {
    const store = await authenticateStore(rows, { kms: keys.forIndex, sse, region })
    return { keys, kms: await keys.open(store), sse, store }
  } catch (error) {
    sse.dispose()
    await keys.close()
    throw error
  }
}

/**
 * Starts the gateway. Rejects with `InvalidConfig`, `EngineUnavailable`, `KeyringLocked`, `KeyringCorrupt`, `IndexNotAuthentic` or `StoreFailed`, and with `FileFailed` or the
 * system's error if the address, the audit file or a certificate cannot be used.
 */
export const startGateway = async (config: Config, stop: StopOptions = {}): Promise<RunningGateway> => {
  const audit =
    config.audit === undefined ? undefined : await openAudit(config.audit, message => warn(config.log, message))
  try {
    return await startAudited(config, stop, audit)
  } catch (error) {
    await audit?.close()
    throw error
  }
}

const startAudited = async (config: Config, stop: StopOptions, audit: Audit | undefined): Promise<RunningGateway> => {
  const { data, hosts, limits, log } = config
  const who = usersOf(config)
  const metrics = config.admin === undefined ? undefined : (await import('./metrics.ts')).createMetrics()
  const engine = await chooseEngine()
  let onBroken: (error: SseError) => void = () => {}
  const broken = new Promise<SseError>(resolve => {
    onBroken = resolve
  })
  const { store: setup = { open: openFileStore } } = config
  const rows = await setup.open(join(data, 'objects'), { sweepAll: config.sweepAll, onBroken })
  const opened = await openKeys(config, rows, engine).catch(async (error: unknown) => {
    await rows.close()
    throw error
  })
  const { keys, kms, sse, store } = opened
  const destroyExpired = () =>
    keys.local
      ?.destroyExpired()
      .catch((error: unknown) => warn(log, `expired keys could not be destroyed: ${detailed(error)}`))
  const hourly = setInterval(destroyExpired, 3_600_000).unref()
  await destroyExpired()
  const handler = createGateway({
    store,
    kms,
    sse,
    profile: profileOf(config),
    ...who,
    hosts,
    limits,
    log:
      log === 'none' && metrics === undefined
        ? undefined
        : entry => {
            metrics?.request(entry)
            if (log !== 'none') process.stderr.write(`${logLine(entry, log)}\n`)
          },
    audit:
      audit === undefined && metrics === undefined
        ? undefined
        : entry => {
            metrics?.keyUse(entry)
            audit?.write(entry)
          },
  })
  const release = async (): Promise<void> => {
    clearInterval(hourly)
    metrics?.close()
    await store.close()
    sse.dispose()
    await keys.close()
    await audit?.close()
  }
  return started(config, { handler, store, metrics, audit, release, broken, checkKeys: keys.check }, stop)
}
