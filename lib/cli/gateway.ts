/** Starts the gateway that a configuration describes: key store, object store, handler, server. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { join } from 'node:path'
import { SseError } from '../errors.ts'
import { serviceDomain } from '../gateway/objects/encryption.ts'
import { type AccessLogEntry, createGateway, type GatewayHandler } from '../gateway/gateway.ts'
import { LocalKms } from '../kms/local/local.ts'
import { chooseEngine, createSse } from '../object/node.ts'
import { createProfile } from '../sse/profile.ts'
import { openFileStore } from '../store/file/store.ts'
import type { Config } from './config.ts'
import type { RunningGateway } from './serve.ts'

/** How a gateway ends. */
export interface StopOptions {
  /** Milliseconds that a request under way may still take once the server is told to stop; 10,000 by default. */
  readonly grace?: number | undefined
}

/** Milliseconds without a byte after which a connection is closed. */
const idle = 120_000

const serverOf = async (handler: GatewayHandler, tls: Config['tls']): Promise<Server> => {
  if (tls === undefined) return createServer(handler)
  const pem = { cert: await readFile(tls.cert), key: await readFile(tls.key) }
  try {
    return createTlsServer(pem, handler)
  } catch (cause) {
    const message = `${tls.cert} and ${tls.key} are no certificate and its private key. Give both in PEM.`
    throw new SseError('FileFailed', { message, cause })
  }
}

const listening = async (handler: GatewayHandler, { tls, listen }: Config): Promise<Server> => {
  const server = await serverOf(handler, tls)
  server.on('checkContinue', handler)
  server.requestTimeout = 0 // a large body may take as long as it keeps coming
  server.setTimeout(idle)
  server.listen(listen.port, listen.host)
  try {
    await once(server, 'listening')
  } catch (cause) {
    const message = `cannot listen on ${listen.host}:${listen.port}. Choose another address with --listen.`
    throw new SseError('FileFailed', { message, cause })
  }
  return server
}

/** The URL of a server; of one that does not listen yet, where it will. */
export const addressOf = (server: Server, { tls, listen }: Config): string => {
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : listen.port
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host
  return `${tls === undefined ? 'http' : 'https'}://${host}:${port}`
}

/** A line of the log: what happened, never a secret or a body. */
export const logLine = (entry: AccessLogEntry, form: 'text' | 'json'): string => {
  const { error, ...rest } = entry
  const cause = error?.cause instanceof Error ? `: ${error.cause.message}` : ''
  const problem = error === undefined ? undefined : `${error.code}: ${error.message}${error.status >= 500 ? cause : ''}`
  if (form === 'json') return JSON.stringify({ ...rest, error: problem })
  const { time, remote, user = '-', action = '-', method, path, status, milliseconds } = rest
  return [time, remote, user, action, method, path, status, `${milliseconds}ms`, problem].filter(Boolean).join(' ')
}

const started = async (
  config: Config,
  handler: GatewayHandler,
  release: () => Promise<void>,
  { grace = 10_000 }: StopOptions,
): Promise<RunningGateway> => {
  try {
    const server = await listening(handler, config)
    const close = async (): Promise<void> => {
      const closed = once(server, 'close')
      server.close()
      server.closeIdleConnections()
      const timer = setTimeout(() => server.closeAllConnections(), grace)
      await closed
      clearTimeout(timer)
      await release()
    }
    return { address: addressOf(server, config), close }
  } catch (error) {
    await release()
    throw error
  }
}

/**
 * Starts the gateway. `InvalidConfig`, `EngineUnavailable`, `KeyringLocked`, `StoreFailed`; `FileFailed` or the system's own error where the address or a certificate
 * cannot be used.
 */
export const startGateway = async (config: Config, stop: StopOptions = {}): Promise<RunningGateway> => {
  const { data, region, profile, customerKeys, baseEncryption, defaultChecksum, lenientParts, tenants, hosts, log } =
    config
  if (tenants.some(({ domainId }) => domainId === serviceDomain)) {
    throw new SseError('InvalidConfig', {
      message: `tenants: the domain id ${serviceDomain} is the service's own. Use another.`,
    })
  }
  const engine = await chooseEngine()
  const kms = await LocalKms.open(join(data, 'keys'), { root: config.rootKey })
  const store = await openFileStore(join(data, 'objects')).catch((error: unknown) => {
    kms.close()
    throw error
  })
  const expire = () =>
    kms.destroyExpired().catch((error: unknown) => process.emitWarning(`keys past their date: ${String(error)}`))
  const daily = setInterval(expire, 86_400_000).unref()
  await expire()
  const sse = createSse({ kms, accept: [], engine, bucketKeys: { timeToLive: config.bucketKeySeconds * 1000 } })
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
    hosts,
    log: log === 'none' ? undefined : entry => process.stderr.write(`${logLine(entry, log)}\n`),
  })
  const release = async (): Promise<void> => {
    clearInterval(daily)
    await store.close()
    sse.dispose()
    kms.close()
  }
  return started(config, handler, release, stop)
}
