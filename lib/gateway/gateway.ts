/** What a gateway is made of, and its request handler: from `(req, res)` to an action and its answer. */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { SseError } from '../errors.ts'
import type { KmsProvider } from '../kms/provider.ts'
import type { Sse } from '../object/node.ts'
import type { Profile } from '../sse/profile.ts'
import type { Caller, Tenant } from '../sse/profile.ts'
import type { ObjectStore } from '../store/store.ts'
import { actions } from './actions/index.ts'
import { answerError, asSseError, type ErrorFacts } from './http/answer.ts'
import { type GatewayRequest, openContext } from './context.ts'
import { createPolicyCache } from './access/policy-cache.ts'
import { splitUrl } from './http/target.ts'

/** A user that may sign requests. */
export interface GatewayUser extends Caller {
  /** Names the user in a signature. */
  readonly accessKeyId: string
  /** Signs; never leaves the process. */
  readonly secretAccessKey: string
}

/** A request that was answered, for a log: never a secret, a signature or a body. */
export interface AccessLogEntry {
  /** When it came, ISO 8601. */
  readonly time: string
  /** What the answer says in `x-amz-request-id`, or `x-obs-request-id` to OBS clients. */
  readonly requestId: string
  /** The client's address. */
  readonly remote: string
  /** Name of the user who signed; absent where nobody did, or the signature does not hold. */
  readonly user: string | undefined
  /** The HTTP method. */
  readonly method: string
  /** The path as it was sent, without the query. */
  readonly path: string
  /** Name of the action, as S3 gives it; absent where the request was not understood. */
  readonly action: string | undefined
  /** The HTTP status. */
  readonly status: number
  /** From the request to the end of the answer. */
  readonly milliseconds: number
  /** What went wrong, its cause included: for the operator alone. */
  readonly error?: SseError | undefined
}

/** What a gateway is made of. */
export interface GatewayOptions {
  /** Where objects live. */
  readonly store: ObjectStore
  /** Where master keys live. */
  readonly kms: KmsProvider
  /** Encrypts and decrypts; its own accepted keys are replaced at every call by the owner's. */
  readonly sse: Sse
  /** The rules of the service. */
  readonly profile: Profile
  /** The tenants: a user's tenant is one of them. */
  readonly tenants: readonly Tenant[]
  /** Who may sign requests. */
  readonly users: readonly GatewayUser[]
  /** Hosts whose subdomains are bucket names; on any other host the bucket stands in the path. */
  readonly hosts?: readonly string[] | undefined
  /** Says that connections are safe for customer keys though they are not TLS: a TLS proxy stands in front. */
  readonly trustTransport?: boolean | undefined
  /** What happens to each request. */
  readonly log?: ((entry: AccessLogEntry) => void) | undefined
  /** Milliseconds since 1970. */
  readonly clock?: (() => number) | undefined
}

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
  const clock = options.clock ?? Date.now
  const users = new Map(options.users.map(user => [user.accessKeyId, user]))
  const policyOf = createPolicyCache()
  const run = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const started = clock()
    const remote = req.socket.remoteAddress ?? '' // a socket that is gone has none
    const requestId = randomBytes(8).toString('hex').toUpperCase()
    const { url = '/', method = '' } = req
    const { path } = splitUrl(url)
    const facts: ErrorFacts = { requestId, hostId, resource: path }
    const last: { context?: GatewayRequest } = {}
    const onOpen = (context: GatewayRequest) => {
      last.context = context
      identify(res, requestId, [context.dialect === 'obs' ? 'obs' : 'amz'])
    }
    let error: SseError | undefined
    res.on('error', () => undefined)
    req.on('error', () => undefined)
    try {
      identify(res, requestId, ['amz', 'obs']) // until it is known who asks
      const context = openContext(options, { req, res, clock, users, policyOf, onOpen })
      const action = actions.get(context.action)
      if (action === undefined) throw context.notBuilt()
      await action(context)
    } catch (thrown) {
      error = asSseError(thrown)
      answerError(req, res, error, facts)
    }
    const { context } = last
    options.log?.({
      time: new Date(started).toISOString(),
      requestId,
      remote,
      user: context?.requester.kind === 'signed' ? context.requester.caller.name : undefined,
      method,
      path,
      action: context?.action,
      status: res.statusCode,
      milliseconds: clock() - started,
      error,
    })
  }
  return (req, res) => {
    void run(req, res)
  }
}
