/** Starts the gateway of a configuration: key store, object store, request handler, HTTP server. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { join } from 'node:path'
import type { Engine } from '../cipher/engine.ts'
import { SseError } from '../errors.ts'
import { createGateway, type GatewayHandler } from '../gateway/gateway.ts'
import { authenticateStore } from '../gateway/index-key.ts'
import type { AccessLogEntry } from '../gateway/options.ts'
import { serviceDomain } from '../gateway/services.ts'
import { chooseEngine, createSse } from '../object/node.ts'
import { createProfile } from '../sse/profile.ts'
import { openFileStore } from '../store/file/store.ts'
import type { ObjectStore } from '../store/store.ts'
import { type Audit, openAudit } from './audit.ts'
import type { Config } from './config.ts'
import { holdConnections } from './connections.ts'
import type { KeyManagerState } from './key-state.ts'
import { printable, printableJson } from './printable.ts'
import { openServerKeys } from './server-keys.ts'

/** A gateway that is listening. */
export interface RunningGateway {
  /** Its URL, such as `http://127.0.0.1:9000`. */
  readonly address: string
  /** Tries each key manager outside this program. Never rejects. */
  checkKeys(): Promise<readonly KeyManagerState[]>
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

const serverOf = async (handler: GatewayHandler, { tls, limits }: Config): Promise<Server> => {
  const options = {
    headersTimeout: limits.headerSeconds * 1000,
    handshakeTimeout: limits.headerSeconds * 1000,
    keepAliveTimeout: limits.idleSeconds * 1000,
    connectionsCheckingInterval: checkEvery,
    requestTimeout: 0, // no limit for a large body that keeps coming
  }
  if (tls === undefined) return createServer(options, handler)
  const pem = { cert: await readFile(tls.cert), key: await readFile(tls.key) }
  try {
    return createTlsServer({ ...options, ...pem }, handler)
  } catch (cause) {
    const message = `${tls.cert} and ${tls.key} are not a certificate and its private key. Give both in PEM.`
    throw new SseError('FileFailed', { message, cause })
  }
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

const started = async (
  config: Config,
  handler: GatewayHandler,
  { release, ...running }: Pick<RunningGateway, 'broken' | 'checkKeys'> & { readonly release: () => Promise<void> },
  { grace = 10_000 }: StopOptions,
): Promise<RunningGateway> => {
  try {
    const server = await serverOf(handler, config)
    server.on('checkContinue', handler).on('clientError', handler.clientError)
    const connections = holdConnections(server, config.limits)
    await listen(server, config)
    const close = async (): Promise<void> => {
      await connections.close(grace)
      await release()
    }
    return { address: addressOf(server, config), ...running, close }
  } catch (error) {
    await release()
    throw error
  }
}

/** Opens what the rows of the index are trusted by: the key managers that they belong to, and their index key. */
const openKeys = async (config: Config, rows: ObjectStore, engine: Engine) => {
  const { region, bucketKeySeconds, limits, log } = config
  const keys = await openServerKeys(config, rows, message => warn(log, message))
  const sse = createSse({
    kms: keys.wrappers,
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
  const {
    data,
    region,
    profile,
    customerKeys,
    baseEncryption,
    defaultChecksum,
    lenientParts,
    tenants,
    hosts,
    limits,
    log,
  } = config
  if (tenants.some(({ domainId }) => domainId === serviceDomain)) {
    throw new SseError('InvalidConfig', {
      message: `tenants: the domain id ${serviceDomain} is reserved for the service. Use another.`,
    })
  }
  const engine = await chooseEngine()
  let onBroken: (error: SseError) => void = () => {}
  const broken = new Promise<SseError>(resolve => {
    onBroken = resolve
  })
  const rows = await openFileStore(join(data, 'objects'), { sweepAll: config.sweepAll, onBroken })
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
    profile: createProfile(profile, {
      region,
      defaultChecksum,
      lenientParts,
      ...(customerKeys === undefined ? {} : { customerKeys }),
      ...(baseEncryption === undefined ? {} : { baseEncryption }),
    }),
    tenants,
    users: tenants.flatMap(({ domainId, projectId, users }) => users.map(user => ({ ...user, domainId, projectId }))),
    keyGrants: tenants.flatMap(({ domainId, keyGrants = [] }) => keyGrants.map(grant => ({ ...grant, domainId }))),
    hosts,
    limits,
    log: log === 'none' ? undefined : entry => process.stderr.write(`${logLine(entry, log)}\n`),
    audit: audit && (entry => audit.write(entry)),
  })
  const release = async (): Promise<void> => {
    clearInterval(hourly)
    await store.close()
    sse.dispose()
    await keys.close()
    await audit?.close()
  }
  return started(config, handler, { release, broken, checkKeys: keys.check }, stop)
}
