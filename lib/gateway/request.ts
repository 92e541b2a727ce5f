/** A request, understood: who sent it, what it is about, which action it asks for. What it needs of the gateway comes along. */
import type { IncomingMessage } from 'node:http'
import { SseError } from '../errors.ts'
import type { HeaderGetter } from '../sse/names.ts'
import type { Caller, Requester } from '../sse/profile.ts'
import type { ObjectName } from './http/target.ts'
import { type Access, type AccessFacts, type JudgedBucket, signatureNeeded } from './access/access.ts'
import { authenticate } from './auth/authenticate.ts'
import type { Authentication, VerifyOptions } from './auth/credential.ts'
import type { Exchange } from './http/exchange.ts'
import { assertOneMeaning, type RequestHeaders } from './http/headers.ts'
import { assertBuilt, type Operation, parseQuery, type Query, route } from './http/route.ts'
import { parseTarget, type RequestTarget, splitUrl } from './http/target.ts'
import type { GatewayOptions, GatewayUser, KeyUseEntry } from './options.ts'
import { type KeyRefusal, type Services, forRequest } from './services.ts'

/** What the form of a browser upload says: who signed it, with its fields for headers, and which key it names. */
export interface FormClaim {
  readonly authentication: Authentication<GatewayUser>
  readonly key: string
}

/** What an action gets. */
export interface GatewayRequest extends Exchange {
  readonly services: Services
  readonly operation: Operation
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
  /** Opens buckets. */
  readonly access: Access
  /** The same request, as its form has it. */
  withForm(form: FormClaim): GatewayRequest
}

const isLoopback = (address: string | undefined): boolean =>
  address !== undefined && /^(?:127\.|::1$|::ffff:127\.)/.test(address)

const isEncrypted = (req: IncomingMessage): boolean => 'encrypted' in req.socket && req.socket.encrypted === true

const requesterOf = (authentication: Authentication<GatewayUser>): Requester =>
  authentication.kind === 'anonymous'
    ? { kind: 'anonymous' }
    : { kind: 'signed', caller: authentication.identity, signature: authentication.version }

/** OBS clients sign in OBS's way or send `x-obs-…` headers; all others get S3's names. */
const dialectOf = (authentication: Authentication<GatewayUser>): 's3' | 'obs' => {
  if (authentication.kind === 'signed' && authentication.version === 'obs') return 'obs'
  for (const name of authentication.headers.keys()) if (name.startsWith('x-obs-')) return 'obs'
  return 's3'
}

/**
 * What clients ask that do not know the region yet: the buckets, and where one lies. As S3 does, the gateway takes that signed for the first of
 * Amazon's regions too.
 */
const asksWhere = (method: string, { bucket, key }: RequestTarget, query: Query): boolean =>
  method === 'GET' && key === undefined && (bucket === undefined || query.has('location'))

/** What requests are understood with: made once from the options. */
export interface RequestParts {
  readonly options: GatewayOptions
  readonly services: Services
  readonly access: Access
  readonly users: ReadonlyMap<string, GatewayUser>
}

/** Called with a request as soon as it is understood, and again with the one that a form makes of it: for the log. */
export type OnRequest = (request: GatewayRequest) => void

/** What an entry of the audit says of the use itself. */
type KeyUsed = Pick<KeyUseEntry, 'operation' | 'provider' | 'keyId' | 'version' | 'cached' | 'outcome' | 'missing'>

const keyUseEntry = (
  { requester, target, operation, requestId, services }: GatewayRequest,
  use: KeyUsed,
): KeyUseEntry => {
  const { name, accessKeyId, domainId } = requester.kind === 'signed' ? requester.caller : {}
  const { bucket, key } = target
  const time = new Date(services.now()).toISOString()
  return { time, requestId, user: name, accessKeyId, tenant: domainId, action: operation, bucket, key, ...use }
}

/** What a key was to be used for by somebody who has not the right. */
const refusedUse = { 'kms:GenerateDataKey': 'generate', 'kms:Decrypt': 'unwrap' } as const

const refusal = ({ missing, keyId }: KeyRefusal): KeyUsed => {
  const operation = refusedUse[missing]
  return {
    operation,
    provider: undefined,
    keyId,
    version: undefined,
    cached: false,
    outcome: 'KeyAccessDenied',
    missing,
  }
}

/** Understands a request and verifies its signature; throws what is wrong with either. `form` counts instead of its own headers and key. */
export const openRequest = (
  parts: RequestParts,
  exchange: Exchange,
  onRequest: OnRequest,
  form?: FormClaim,
): GatewayRequest => {
  const { options, access, users } = parts
  const { req, signal } = exchange
  const onKeyUse = (use: KeyUsed): void => options.audit?.(keyUseEntry(request, use))
  const call = { signal, onKeyUse: options.audit && onKeyUse }
  const services = forRequest(parts.services, call, refused => onKeyUse(refusal(refused)))
  const { url = '/', method = '' } = req
  const { path, query: rawQuery } = splitUrl(url)
  const query = parseQuery(rawQuery)
  assertBuilt(method, path, query)
  const target = parseTarget(req.headers.host, path, options.hosts ?? [])
  const verification: VerifyOptions<GatewayUser> = {
    lookup: id => users.get(id),
    region: services.profile.region,
    otherRegion: asksWhere(method, target, query) ? 'us-east-1' : undefined,
    bucket: target.style === 'virtual' ? target.bucket : undefined,
    clock: services.now,
  }
  const authentication =
    form?.authentication ?? authenticate({ method, path, query: rawQuery, rawHeaders: req.rawHeaders }, verification)
  const { headers } = authentication
  assertOneMeaning(headers)
  const copySource = headers.has('x-amz-copy-source') || headers.has('x-obs-copy-source')
  const tls = isEncrypted(req) || options.trustTransport === true
  const request: GatewayRequest = {
    ...exchange,
    services,
    operation: route({ method, bucket: target.bucket, key: target.key, query, copySource }),
    requester: requesterOf(authentication),
    authentication,
    verification,
    headers,
    header: name => headers.get(name),
    query,
    target: { ...target, key: form?.key ?? target.key },
    dialect: dialectOf(authentication),
    secure: tls || isLoopback(req.socket.remoteAddress),
    tls,
    access,
    withForm: claim => openRequest(parts, exchange, onRequest, claim),
  }
  onRequest(request)
  return request
}

/** Who signed; `AccessDenied` where nobody did. */
export const callerOf = ({ requester }: GatewayRequest): Caller => {
  if (requester.kind === 'anonymous') throw signatureNeeded()
  return requester.caller
}

/** The bucket's name; `InvalidRequest` where the request names none. */
export const bucketNameOf = ({ target }: GatewayRequest): string => {
  if (target.bucket !== undefined) return target.bucket
  throw new SseError('InvalidRequest', { message: 'Name a bucket in the request.' })
}

/** The object's key; `InvalidRequest` where the request names none. */
export const keyOf = ({ target }: GatewayRequest): string => {
  if (target.key !== undefined) return target.key
  throw new SseError('InvalidRequest', { message: 'Name an object in the request.' })
}

/** Whether the tags of the object are not those of the headers: they stand in the body, or a copy takes them from its source. */
const tagsComeLater = (operation: Operation, header: HeaderGetter): boolean => {
  const directive = header('x-amz-tagging-directive') ?? header('x-obs-tagging-directive')
  return operation === 'PutObjectTagging' || (operation === 'CopyObject' && directive !== 'REPLACE')
}

const factsOf = (request: GatewayRequest, header: HeaderGetter): AccessFacts => {
  const { requester, req, query, tls, services } = request
  return {
    requester,
    header,
    sourceIp: req.socket.remoteAddress,
    secure: tls,
    userAgent: req.headers['user-agent'],
    referer: req.headers.referer,
    now: new Date(services.now()),
    prefix: query.get('prefix'),
    delimiter: query.get('delimiter'),
    maxKeys: query.get('max-keys'),
    tagsToCome: tagsComeLater(request.operation, header),
  }
}

/** The tenant that a client expects to own a bucket, by its domain id. `InvalidBucketOwnerAWSAccountID` for what can be none. */
const expectedOwner = (header: HeaderGetter, name: string): string | undefined => {
  const id = header(`x-amz-${name}`) ?? header(`x-obs-${name}`)
  if (id === undefined || /^[A-Za-z0-9_-]{1,64}$/.test(id)) return id
  throw new SseError('InvalidBucketOwnerAWSAccountID')
}

/**
 * The bucket that a request names, before anything was decided: call `assertMay` for each thing that is done. `header` is what a policy sees, by
 * default the request's own headers. `NoSuchBucket`, `AccessDenied`.
 */
export const findBucket = (request: GatewayRequest, header = request.header): Promise<JudgedBucket> =>
  request.access.find(bucketNameOf(request), factsOf(request, header), expectedOwner(header, 'expected-bucket-owner'))

/** The bucket that a request names, once the requester may do this to it, or to the object that is named. `NoSuchBucket`, `AccessDenied`. */
export const openBucket = async (
  request: GatewayRequest,
  permission: string,
  header = request.header,
): Promise<JudgedBucket> => {
  const bucket = await findBucket(request, header)
  bucket.assertMay(permission, request.target.key)
  return bucket
}

/** The bucket of an object that is read: the one that the request names, or the source of a copy. `NoSuchBucket`, `AccessDenied`. */
export const openForReading = async (request: GatewayRequest, source?: ObjectName): Promise<JudgedBucket> => {
  const bucket =
    source === undefined
      ? await findBucket(request)
      : await request.access.find(
          source.bucket,
          factsOf(request, request.header),
          expectedOwner(request.header, 'source-expected-bucket-owner'),
        )
  await bucket.assertMayRead(source?.key ?? keyOf(request))
  return bucket
}

/** The URL of an object by the name that the client called the gateway; the key is encoded, slashes too, as S3 has it. */
export const locationOf = (request: GatewayRequest, key: string): string => {
  const host = `${request.tls ? 'https' : 'http'}://${request.req.headers.host ?? 'localhost'}`
  const path = request.target.style === 'path' ? `/${bucketNameOf(request)}` : ''
  return `${host}${path}/${encodeURIComponent(key)}`
}
