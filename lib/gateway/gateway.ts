/** The request handler of a gateway: from `(req, res)` to an action and its answer. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { SseError } from '../errors.ts'
import { createAccess } from './access/access.ts'
import { answerBrowser, type Preflight } from './actions/cors.ts'
import { actions } from './actions/index.ts'
import { answerError, asSseError, type ErrorFacts } from './http/answer.ts'
import { splitUrl } from './http/target.ts'
import { limitsOf } from './limits.ts'
import type { GatewayOptions } from './options.ts'
import { type GatewayRequest, openRequest, type RequestParts } from './request.ts'
import { createServices } from './services.ts'

/** A handler for the requests of a `node:http` server; use it for `checkContinue` too, so that it decides before a body is asked for. */
export type GatewayHandler = (req: IncomingMessage, res: ServerResponse) => void

const hostId = 'sse-kms-streams'

type Family = 'amz' | 'obs'

/**
 * Names the answer in these families' headers, and no other: s3cmd, which sends what it was answered back with a change of metadata, signs
 * none of the family that it does not know.
 */
const identify = (res: ServerResponse, requestId: string, families: readonly Family[]): void => {
  for (const family of ['amz', 'obs'] as const) {
    for (const [name, value] of [
      [`x-${family}-request-id`, requestId],
      [`x-${family}-id-2`, hostId],
    ] as const) {
      if (families.includes(family)) res.setHeader(name, value)
      else res.removeHeader(name)
    }
  }
}

/**
 * Makes the handler of an S3-compatible gateway.
 *
 * {@includeCode ../../test/examples/gateway.test.ts#gateway}
 */
export const createGateway = (options: GatewayOptions): GatewayHandler => {
  const services = createServices(options, limitsOf(options.limits))
  const parts: RequestParts = {
    options,
    services,
    access: createAccess(options.store, options.tenants),
    users: new Map(options.users.map(user => [user.accessKeyId, user])),
  }
  const serve = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const started = services.now()
    const remote = req.socket.remoteAddress ?? '' // a socket that is gone has none
    const requestId = randomUUID().replaceAll('-', '').slice(16).toUpperCase()
    const { url = '/', method = '' } = req
    const { path } = splitUrl(url)
    const facts: ErrorFacts = { requestId, hostId, resource: path }
    const last: { request?: GatewayRequest } = {}
    const onRequest = (request: GatewayRequest) => {
      last.request = request
      identify(res, requestId, [request.dialect === 'obs' ? 'obs' : 'amz'])
    }
    let error: SseError | undefined
    let preflight: Preflight | undefined
    res.on('error', () => undefined)
    req.on('error', () => undefined)
    try {
      identify(res, requestId, ['amz', 'obs']) // until it is known who asks
      preflight = await answerBrowser(options, req, res)
      if (preflight === undefined) {
        const request = openRequest(parts, req, res, onRequest)
        await actions[request.operation](request)
      }
    } catch (thrown) {
      error = asSseError(thrown)
      answerError(req, res, error, facts)
    }
    const { request } = last
    options.log?.({
      time: new Date(started).toISOString(),
      requestId,
      remote,
      user: request?.requester.kind === 'signed' ? request.requester.caller.name : undefined,
      method,
      path,
      action: request?.operation ?? preflight,
      status: res.statusCode,
      milliseconds: services.now() - started,
      error,
    })
  }
  return (req, res) => {
    void serve(req, res)
  }
}
