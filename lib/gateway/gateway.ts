/** The request handler of a gateway: from `(req, res)` to an action and its answer. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { SseError } from '../errors.ts'
import { createAccess } from './access/access.ts'
import { answerBrowser, type Preflight } from './actions/cors.ts'
import { actions } from './actions/index.ts'
import { answerError, asSseError, serverNames, untilTaken } from './http/answer.ts'
import type { ErrorFacts } from './http/error-body.ts'
import { Connection, type Exchange } from './http/exchange.ts'
import { memoryOf } from './http/memory.ts'
import { refusalOf, refuse } from './http/refuse.ts'
import { parseQuery } from './http/route.ts'
import { parseTarget, splitUrl } from './http/target.ts'
import { limitsOf } from './limits.ts'
import type { AccessLogEntry, GatewayOptions } from './options.ts'
import { type GatewayRequest, openRequest, type RequestParts } from './request.ts'
import { createServices, underGrants } from './services.ts'

/** A handler for the requests of a `node:http` server; use it for `checkContinue` too, so that it decides before a body is asked for. */
export interface GatewayHandler {
  (req: IncomingMessage, res: ServerResponse): void
  /** Answers what is no request, as S3 does: for the server's `clientError`. */
  readonly clientError: (error: Error, socket: Duplex) => void
  /** Puts others in the place of the tenants, users and grants. Requests under way go on as they were understood. `RangeError` where a grant cannot be. */
  readonly replaceUsers: (who: GatewayUsers) => void
}

/** Who may ask for what. */
export type GatewayUsers = Pick<GatewayOptions, 'tenants' | 'users' | 'keyGrants'>

const hostId = 'sse-kms-streams'

type Family = 'amz' | 'obs'

const both = ['amz', 'obs'] as const
const names = { amz: ['x-amz-request-id', 'x-amz-id-2'], obs: ['x-obs-request-id', 'x-obs-id-2'] } as const

/**
 * Names the answer in these families' headers, and no other: s3cmd, which sends what it was answered back with a change of metadata, signs
 * none of the family that it does not know.
 */
const identify = (res: ServerResponse, requestId: string, families: readonly Family[]): void => {
  for (const family of both) {
    const [requestName, hostName] = names[family]
    if (families.includes(family)) {
      res.setHeader(requestName, requestId)
      res.setHeader(hostName, hostId)
    } else if (res.hasHeader(requestName)) {
      res.removeHeader(requestName)
      res.removeHeader(hostName)
    }
  }
}

/** What a request names, as far as that can be read: for the answer to one that was not understood, too. */
const namesIn = (req: IncomingMessage, hosts: readonly string[] = []): Pick<ErrorFacts, 'bucket' | 'key' | 'query'> => {
  const { path, query } = splitUrl(req.url ?? '/')
  try {
    const { bucket, key } = parseTarget(req.headers.host, path, hosts)
    return { bucket, key, query: parseQuery(query) }
  } catch {
    return {}
  }
}

/** A request, as far as it can be told without understanding it. */
interface Arrival {
  readonly started: number
  readonly requestId: string
  readonly remote: string
}

/**
 * Makes the handler of an S3-compatible gateway.
 *
 * {@includeCode ../../test/examples/gateway.test.ts#gateway}
 */
export const createGateway = (options: GatewayOptions): GatewayHandler => {
  const limits = limitsOf(options.limits)
  const services = createServices(options, limits)
  const partsFor = (who: GatewayUsers): RequestParts => ({
    options: { ...options, ...who },
    services: underGrants(services, who.keyGrants),
    access: createAccess(options.store, who.tenants),
    users: new Map(who.users.map(user => [user.accessKeyId, user])),
  })
  let parts = partsFor(options)
  const memoryFor = memoryOf(limits.memoryBytes)
  const arrived = (remote: string | undefined): Arrival => ({
    started: services.now(),
    requestId: randomUUID().replaceAll('-', '').slice(16).toUpperCase(),
    remote: remote ?? '', // a socket that is gone has none
  })
  const log = (
    { started, requestId, remote }: Arrival,
    entry: Pick<AccessLogEntry, 'method' | 'path' | 'status' | 'error'> & Partial<AccessLogEntry>,
  ): void => {
    const time = new Date(started).toISOString()
    options.log?.({
      time,
      requestId,
      remote,
      user: undefined,
      action: undefined,
      received: 0,
      sent: 0,
      ...entry,
      milliseconds: services.now() - started,
    })
  }

  /** Bytes of a connection at its answer before. */
  const answered = new WeakMap<Socket, { readonly bytesRead: number; readonly bytesWritten: number }>()
  const trafficOf = (socket: Socket): Pick<AccessLogEntry, 'received' | 'sent'> => {
    const before = answered.get(socket) ?? { bytesRead: 0, bytesWritten: 0 }
    const { bytesRead, bytesWritten } = socket
    answered.set(socket, { bytesRead, bytesWritten })
    return { received: bytesRead - before.bytesRead, sent: bytesWritten - before.bytesWritten }
  }

  const serve = async (exchange: Exchange, arrival: Arrival): Promise<void> => {
    const { req, res, signal, requestId } = exchange
    const { url = '/', method = '' } = req
    const { path } = splitUrl(url)
    const facts: ErrorFacts = { requestId, hostId, resource: path, profile: services.profile.name, method }
    const last: { request?: GatewayRequest } = {}
    const onRequest = (request: GatewayRequest) => {
      last.request = request
      identify(res, requestId, [request.dialect === 'obs' ? 'obs' : 'amz'])
    }
    let error: SseError | undefined
    let preflight: Preflight | undefined
    try {
      res.setHeader('server', serverNames[services.profile.name])
      if (method === 'OPTIONS') identify(res, requestId, both)
      signal.throwIfAborted()
      preflight = await answerBrowser(options, req, res)
      if (preflight === undefined) {
        const request = openRequest(parts, exchange, onRequest)
        await actions[request.operation](request)
      }
      if (!res.writableFinished) signal.throwIfAborted()
    } catch (thrown) {
      if (last.request === undefined) identify(res, requestId, both) // it is not known who asks
      // What a client breaks off fails in many ways, all of them its own.
      error = asSseError(signal.aborted && !(thrown instanceof SseError) ? signal.reason : thrown)
      answerError(req, res, error, { ...facts, ...namesIn(req, options.hosts) })
    }
    const { request } = last
    log(arrival, {
      user: request?.requester.kind === 'signed' ? request.requester.caller.name : undefined,
      method,
      path,
      action: request?.operation ?? preflight,
      status: error?.code === 'ClientClosedRequest' ? error.status : res.statusCode,
      ...trafficOf(req.socket),
      error,
    })
  }

  const connections = new WeakMap<Duplex, Connection>()
  const handler = (req: IncomingMessage, res: ServerResponse): void => {
    const { socket } = req
    const connection = connections.get(socket) ?? new Connection(socket)
    connections.set(socket, connection)
    res.on('error', () => undefined)
    req.on('error', () => undefined)
    connection.exchange(req, async signal => {
      const memory = memoryFor()
      const arrival = arrived(req.socket.remoteAddress)
      const exchange = { req, res, requestId: arrival.requestId, signal, limits, memory }
      await serve(exchange, arrival).finally(() => memory.release())
      await untilTaken(exchange)
    })
  }

  const refused = new WeakSet<Duplex>()
  const clientError = async (cause: Error, socket: Duplex): Promise<void> => {
    if (refused.has(socket)) return
    refused.add(socket)
    const code = refusalOf(cause, socket)
    const alone = code === undefined || ((await connections.get(socket)?.fail(code)) ?? true)
    if (!alone) return // the request that it belongs to is answered
    if (code === undefined || !socket.writable) return void socket.destroy()
    const arrival = arrived('remoteAddress' in socket ? String(socket.remoteAddress) : undefined)
    const error = new SseError(code, { cause })
    refuse(socket, error, { requestId: arrival.requestId, hostId, profile: services.profile.name })
    log(arrival, { method: '-', path: '-', status: error.status, error })
  }
  return Object.assign(handler, {
    clientError: (error: Error, socket: Duplex) => void clientError(error, socket),
    replaceUsers: (who: GatewayUsers) => {
      parts = partsFor(who)
    },
  })
}
