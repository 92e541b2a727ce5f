/** Starts the gateway of a configuration: key store, object store, request handler, HTTP server. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer, Server as TlsServer } from 'node:https'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Engine } from '../cipher/engine.ts'
import { SseError } from '../errors.ts'
import { createGateway, type GatewayHandler } from '../gateway/gateway.ts'
import { authenticateStore } from '../gateway/index-key.ts'
import type { DataKeyWrapper } from '../kms/provider.ts'
import { chooseEngine, createSse } from '../object/node.ts'
import { createProfile, type Profile } from '../sse/profile.ts'
import { openFileStore } from '../store/file/store.ts'
import type { ExpiredUpload, ObjectStore } from '../store/store.ts'
import { startAdmin, stopping } from './admin.ts'
import type { Config } from './config.ts'
import { holdConnections } from './connections.ts'
import type { KeyManagerState } from './key-state.ts'
import { detailed, type Logs, openLogs, warn } from './log.ts'
import type { Metrics } from './metrics.ts'
import { openServerKeys } from './server-keys.ts'
import { type Takeover, takeoverOf } from './takeover.ts'

/** A gateway that is listening. */
export interface RunningGateway {
  /** Its URL, such as `http://127.0.0.1:9000`. */
  readonly address: string
  /** Tries each key manager outside this program. Never rejects. */
  checkKeys(): Promise<readonly KeyManagerState[]>
  /** The operator's address, where there is one. */
  readonly admin?: string | undefined
  /**
   * Takes the tenants, users, grants and certificates of another configuration, and opens the files of its logs anew. Rejects, and changes nothing,
   * where they cannot be.
   */
  reload(config: Config): Promise<void>
  /** Resolves with what it is to end with: the store can be used no more by this process, or workers end again and again. */
  readonly broken: Promise<SseError>
  /** Lets the requests under way end, then closes everything. */
  close(): Promise<void>
}

/** A gateway that is listening in this process. */
export interface ServingGateway extends RunningGateway {
  /** What it counts, where there is an operator's address. */
  readonly metrics: Metrics | undefined
  /** Rejects where the store cannot be reached. */
  askStore(): Promise<unknown>
  /** Opens the files of its logs anew. Rejects where one cannot be, and the old one stays. */
  reopen(): Promise<void>
  /** Takes over users and certificate. */
  takeOver(next: Takeover): void
}

/** How a gateway starts and stops. */
export interface StartOptions {
  /** Milliseconds that requests under way may take to end. Default {@link defaultGrace}. */
  readonly grace?: number | undefined
  /** In a worker: what the primary process has read. The operator's address is the primary's then. */
  readonly worker?: Takeover | undefined
}

/** Milliseconds that requests under way may take to end. */
export const defaultGrace = 10_000

/** How often it is looked for connections whose headers are late. */
const checkEvery = 1000

const serverOf = (handler: GatewayHandler, config: Config, { pem }: Takeover): Server => {
  const options = {
    headersTimeout: config.limits.headerSeconds * 1000,
    handshakeTimeout: config.limits.headerSeconds * 1000,
    keepAliveTimeout: config.limits.idleSeconds * 1000,
    connectionsCheckingInterval: checkEvery,
    requestTimeout: 0, // no limit for a large body that keeps coming
  }
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

// Whoever supervises the process starts it anew, and it goes on from the last commit.
const brokenStore = (cause: SseError): SseError => {
  const message =
    'The index failed while it committed, so this process cannot use it any more. Look at the disk, and start the server again.'
  return new SseError('StoreFailed', { message, cause })
}

const expiredText = ({ bucket, key, id, initiated }: ExpiredUpload, days: number): string =>
  `an upload was aborted, since nobody completed it within ${days} days (limits.uploadDays): bucket ${bucket}, key ${key}, upload ${id}, begun at ${new Date(initiated).toISOString()}`

/** What a gateway is made of, once its store and its keys are open. */
interface Opened extends Pick<ServingGateway, 'broken' | 'checkKeys' | 'metrics'> {
  readonly handler: GatewayHandler
  readonly store: ObjectStore
  readonly takeover: Takeover
  readonly logs: Logs
  release(): Promise<void>
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
  { handler, store, metrics, takeover, logs, release, ...running }: Opened,
  { grace = defaultGrace, worker }: StartOptions,
): Promise<ServingGateway> => {
  let draining = false
  try {
    const server = serverOf(handler, config, takeover)
    server.on('checkContinue', handler).on('clientError', handler.clientError)
    const connections = holdConnections(server, config.limits)
    const askStore = () => store.claims()
    const obstacles = () => (draining ? [stopping] : [])
    const admin =
      metrics === undefined || config.admin === undefined || worker !== undefined
        ? undefined
        : await startAdmin(config.admin, { obstacles, askStore, metrics })
    const listening = listen(server, config)
    await listening.catch(() => admin?.close())
    await listening
    metrics?.serving()
    metrics?.watch(() => store.counts())
    const close = async (): Promise<void> => {
      draining = true
      await wait((config.drainSeconds ?? 0) * 1000)
      await connections.close(grace)
      await admin?.close()
      await release()
    }
    const { reopen } = logs
    const takeOver = ({ who, pem }: Takeover): void => {
      handler.replaceUsers(who)
      if (pem !== undefined && server instanceof TlsServer) server.setSecureContext(pem)
    }
    const reload = async (next: Config): Promise<void> => {
      const read = await takeoverOf(next)
      await reopen()
      takeOver(read)
    }
    const address = addressOf(server, config)
    return { address, admin: admin?.address, ...running, metrics, askStore, reopen, takeOver, reload, close }
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
 * system's error if the address, the file of a log or a certificate cannot be used.
 */
export const startGateway = async (config: Config, options: StartOptions = {}): Promise<ServingGateway> => {
  const logs = await openLogs(config, options.worker !== undefined)
  try {
    return await startLogged(config, options, logs)
  } catch (error) {
    await logs.close()
    throw error
  }
}

const startLogged = async (config: Config, options: StartOptions, logs: Logs): Promise<ServingGateway> => {
  const { data, hosts, log } = config
  const { uploadDays } = config.limits
  const takeover = options.worker ?? (await takeoverOf(config))
  const metrics = config.admin === undefined ? undefined : (await import('./metrics.ts')).createMetrics()
  const engine = await chooseEngine(undefined, message => warn(log, message))
  let onBroken: (error: SseError) => void = () => {}
  const broken = new Promise<SseError>(resolve => {
    onBroken = resolve
  })
  const { store: setup = { open: openFileStore } } = config
  const rows = await setup.open(join(data, 'objects'), {
    sweepAll: config.sweepAll,
    onBroken,
    uploadAge: uploadDays === 0 ? undefined : uploadDays * 86_400_000,
    onUploadExpired: upload => warn(log, expiredText(upload, uploadDays)),
  })
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
    ...takeover.who,
    hosts,
    limits: config.limits,
    log:
      logs.request === undefined && metrics === undefined
        ? undefined
        : entry => {
            metrics?.request(entry)
            logs.request?.(entry)
          },
    audit:
      logs.keyUse === undefined && metrics === undefined
        ? undefined
        : entry => {
            metrics?.keyUse(entry)
            logs.keyUse?.(entry)
          },
  })
  const release = async (): Promise<void> => {
    clearInterval(hourly)
    metrics?.close()
    await store.close()
    sse.dispose()
    await keys.close()
    await logs.close()
  }
  const parts = { handler, store, metrics, takeover, logs, release, broken: broken.then(brokenStore) }
  return started(config, { ...parts, checkKeys: keys.check }, options)
}
