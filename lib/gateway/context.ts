/** A request, understood: who sent it, what it is about, which action it asks for. What an action needs, and no more. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { SseError } from '../errors.ts'
import type { HeaderGetter } from '../sse/names.ts'
import type { Caller, Requester, Tenant } from '../sse/profile.ts'
import type { Bucket } from '../store/store.ts'
import { type AccessQuestion, findBucket, openBucket } from './access/access.ts'
import type { PolicyOf } from './access/policy-cache.ts'
import { authenticate } from './auth/authenticate.ts'
import type { Authentication, VerifyOptions } from './auth/credential.ts'
import type { GatewayOptions, GatewayUser } from './gateway.ts'
import type { RequestHeaders } from './http/headers.ts'
import { parseQuery, type Query, route } from './http/route.ts'
import { parseTarget, type RequestTarget, splitUrl } from './http/target.ts'

/** A bucket that the caller may do something to, and the tenant that owns it. */
export interface OwnedBucket {
  readonly bucket: Bucket
  readonly owner: Tenant
  /** Whether the caller is of that tenant. */
  readonly own: boolean
  /** The one version that may be read, where it is the object's own ACL that lets the caller in. */
  readonly onlyVersion: string | undefined
  /** Whether the caller may also do that, to the bucket or to an object of it. An object's own ACL is not looked at. */
  may(permission: string, key?: string): boolean
  /** `AccessDenied`, with what to do about it, unless the caller {@link OwnedBucket.may} do that. */
  assertMay(permission: string, key?: string): void
}

/** What the form of a browser upload says: who signed it, with its fields for headers, and which key it names. */
export interface FormClaim {
  readonly authentication: Authentication<GatewayUser>
  readonly key: string
}

/** What an action gets. */
export interface GatewayRequest {
  readonly options: GatewayOptions
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** Name of the action, as S3 gives it. */
  readonly action: string
  readonly requester: Requester
  readonly authentication: Authentication<GatewayUser>
  /** What signatures are verified against. */
  readonly verification: VerifyOptions<GatewayUser>
  /** Headers, and for presigned URLs those that the query carries; of a form its fields. Names in lower case. */
  readonly headers: RequestHeaders
  readonly header: HeaderGetter
  readonly query: Query
  /** Bucket and key, as far as the request names them. */
  readonly target: RequestTarget
  /** Whose header names the answer uses. */
  readonly dialect: 's3' | 'obs'
  /** Whether key material may come over this connection: TLS, loopback, or a trusted proxy. */
  readonly secure: boolean
  /** Whether the request came over TLS, as far as a policy's `aws:SecureTransport` asks. */
  readonly tls: boolean
  /** Milliseconds since 1970. */
  now(): number
  /** Who signed; `AccessDenied` where nobody did. */
  caller(): Caller
  /** The bucket's name; `InvalidRequest` where the request names none. */
  bucketName(): string
  /** The object's key; `InvalidRequest` where the request names none. */
  key(): string
  /** The bucket, once the caller may do this to it, or to the object that is named; `NoSuchBucket`, `AccessDenied`. */
  openBucket(permission: string, question?: AccessQuestion): Promise<OwnedBucket>
  /** The bucket before anything was decided, for actions that ask for each of many objects; `NoSuchBucket`. */
  findBucket(question?: AccessQuestion): Promise<OwnedBucket>
  /** The same request, as its form has it. */
  withForm(form: FormClaim): GatewayRequest
  /** What an action that is not built is answered. */
  notBuilt(): SseError
}

const isLoopback = (address: string | undefined): boolean =>
  address !== undefined && /^(?:127\.|::1$|::ffff:127\.)/.test(address)

const isEncrypted = (req: IncomingMessage): boolean => 'encrypted' in req.socket && req.socket.encrypted === true

const requesterOf = (authentication: Authentication<GatewayUser>): Requester =>
  authentication.kind === 'anonymous'
    ? { kind: 'anonymous' }
    : { kind: 'signed', caller: authentication.identity, signature: authentication.version }

/** OBS clients sign in OBS's way or send `x-obs-…` headers; all others get S3's names. */
const dialectOf = (authentication: Authentication<GatewayUser>): 's3' | 'obs' =>
  (authentication.kind === 'signed' && authentication.version === 'obs') ||
  [...authentication.headers.keys()].some(name => name.startsWith('x-obs-'))
    ? 'obs'
    : 's3'

/**
 * What clients ask that do not know the region yet: the buckets, and where one lies. As S3 does, the gateway takes that signed for the first of
 * Amazon's regions too.
 */
const asksWhere = (method: string, { bucket, key }: RequestTarget, query: Query): boolean =>
  method === 'GET' && key === undefined && (bucket === undefined || query.has('location'))

/** What a context is opened with. */
export interface Opening {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly clock: () => number
  readonly users: ReadonlyMap<string, GatewayUser>
  /** The bucket policies. */
  readonly policyOf: PolicyOf
  /** Told of the context, and of the one that a form makes of it: for the log. */
  readonly onOpen: (context: GatewayRequest) => void
  /** Counts instead of the request's own signature, headers and key. */
  readonly form?: FormClaim | undefined
}

/** Understands a request and verifies its signature; throws what is wrong with either. */
export const openContext = (options: GatewayOptions, opening: Opening): GatewayRequest => {
  const { req, res, clock, users, policyOf, form } = opening
  const { url = '/', method = '' } = req
  const { path, query: rawQuery } = splitUrl(url)
  const target = parseTarget(req.headers.host, path, options.hosts ?? [])
  const query = parseQuery(rawQuery)
  const verification: VerifyOptions<GatewayUser> = {
    lookup: id => users.get(id),
    region: options.profile.region,
    otherRegion: asksWhere(method, target, query) ? 'us-east-1' : undefined,
    bucket: target.style === 'virtual' ? target.bucket : undefined,
    clock,
  }
  const wire = { method, path, query: rawQuery, rawHeaders: req.rawHeaders }
  const authentication = form?.authentication ?? authenticate(wire, verification)
  const { headers } = authentication
  const copySource = headers.has('x-amz-copy-source') || headers.has('x-obs-copy-source')
  const action = route({ method, bucket: target.bucket, key: target.key, query, copySource })
  const objectKey = form?.key ?? target.key
  const requester = requesterOf(authentication)
  const bucketName = (): string => {
    if (target.bucket === undefined) throw new SseError('InvalidRequest', { message: 'Name a bucket in the request.' })
    return target.bucket
  }
  const tls = isEncrypted(req) || options.trustTransport === true
  const context: GatewayRequest = {
    options,
    req,
    res,
    action,
    requester,
    authentication,
    verification,
    headers,
    header: name => headers.get(name),
    query,
    target: { ...target, key: objectKey },
    dialect: dialectOf(authentication),
    secure: tls || isLoopback(req.socket.remoteAddress),
    tls,
    now: clock,
    caller: () => callerOf(requester),
    bucketName,
    key: () => {
      if (objectKey === undefined) throw new SseError('InvalidRequest', { message: 'Name an object in the request.' })
      return objectKey
    },
    openBucket: (permission, question = {}) => openBucket(context, policyOf, permission, question),
    findBucket: (question = {}) => findBucket(context, policyOf, question),
    withForm: claim => openContext(options, { ...opening, form: claim }),
    notBuilt: () => new SseError('NotImplemented', { message: `${action} is not implemented here.` }),
  }
  opening.onOpen(context)
  return context
}

const callerOf = (requester: Requester): Caller => {
  if (requester.kind === 'anonymous') {
    throw new SseError('AccessDenied', { message: 'Anonymous requests are not allowed to do this. Sign the request.' })
  }
  return requester.caller
}

/** `http://HOST/BUCKET/KEY`, or `http://BUCKET.HOST/KEY` where the request came so; the key is encoded, slashes too, as S3 has it. */
export const locationOf = (ctx: GatewayRequest, key: string): string => {
  const host = `${ctx.tls ? 'https' : 'http'}://${ctx.req.headers.host ?? 'localhost'}`
  const path = ctx.target.style === 'path' ? `/${ctx.bucketName()}` : ''
  return `${host}${path}/${encodeURIComponent(key)}`
}
