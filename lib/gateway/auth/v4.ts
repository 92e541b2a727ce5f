/**
 * AWS Signature Version 4 as Amazon S3 has it, in the Authorization header and in the query: the path is encoded once and not normalized.
 * Source: "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API reference.
 */
import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto'
import { SseError } from '../../errors.ts'
import { Lru } from '../../lru.ts'
import { canonicalPath, canonicalQuery, cut } from '../http/canonical.ts'
import { carriedHeaders, type RequestHeaders, withCarried } from '../http/headers.ts'
import { assertFresh, assertNotExpired, basicTime, defaultSkew, parseTime, requestTime } from '../http/time.ts'
import {
  bodyAuthentication,
  type ChunkChain,
  type Credential,
  headersNotSigned,
  identify,
  type ParsedRequest,
  sameSignature,
  signatureDoesNotMatch,
  type Signed,
  unsignedPayload,
  type VerifyOptions,
} from './credential.ts'

interface Entry {
  readonly secretAccessKey: string
  readonly key: KeyObject
}

const cache = new Lru<string, Entry>({ most: 1000 })

const hmac = (key: string | Uint8Array, text: string): Uint8Array => createHmac('sha256', key).update(text).digest()

/**
 * The signing key of a secret access key for a day (`20130524`) and a region. Cached until the secret changes. Call
 * it for known access keys only.
 */
export const signingKeyOf = (accessKeyId: string, secretAccessKey: string, date: string, region: string): KeyObject => {
  const name = `${accessKeyId}/${date}/${region}`
  const kept = cache.get(name)
  if (kept?.secretAccessKey === secretAccessKey) return kept.key
  const bytes = hmac(hmac(hmac(hmac(`AWS4${secretAccessKey}`, date), region), 's3'), 'aws4_request')
  const key = createSecretKey(bytes)
  bytes.fill(0)
  cache.set(name, { secretAccessKey, key })
  return key
}

/** Signs text of one character a byte with a signing key: lower-case hex. */
export const signV4 = (key: KeyObject, text: string): string =>
  createHmac('sha256', key).update(text, 'latin1').digest('hex')

/** The name of the algorithm, as headers and queries have it. */
export const algorithmV4 = 'AWS4-HMAC-SHA256'

const contentSha256 = 'x-amz-content-sha256'
const week = 604_800

/** The signature that a request claims. */
interface Claim {
  readonly accessKeyId: string
  /** Day, region, service and terminator, as they were sent. */
  readonly scope: readonly [string, string, string, string]
  readonly signedHeaders: readonly string[]
  readonly signature: string
  /** What a presigned URL says of its time, as it was sent. */
  readonly life: { readonly date: string; readonly expires: string } | undefined
  readonly malformed: Malformed
}

type Malformed = (what: string, details?: Readonly<Record<string, string>>) => SseError

const headerMalformed: Malformed = (what, details) =>
  new SseError('AuthorizationHeaderMalformed', { message: `The authorization header is malformed; ${what}`, details })

const queryMalformed: Malformed = (what, details) =>
  new SseError('AuthorizationQueryParametersError', {
    message: `Error parsing the X-Amz-Credential parameter; ${what}`,
    details,
  })

const claim = (
  credential: string,
  signedHeaders: string,
  signature: string,
  life: Claim['life'],
  malformed: Malformed,
): Claim => {
  // Parsed from the end, since an access key id may contain slashes.
  const match = /^(.+)\/(\d{8})\/([^/]*)\/([^/]*)\/([^/]*)$/.exec(credential)
  if (match === null) {
    throw malformed('the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".')
  }
  const names = signedHeaders.split(';')
  // What is signed has the value of each: a long one named a thousand times would fill the memory.
  if (new Set(names).size < names.length) throw malformed('SignedHeaders names a header twice. Name each once.')
  const [, accessKeyId = '', date = '', region = '', service = '', terminator = ''] = match
  const scope = [date, region, service, terminator] as const
  return { accessKeyId, scope, signedHeaders: names, signature, life, malformed }
}

const fromHeader = (authorization: string): Claim => {
  const fields = new Map(
    authorization
      .slice(algorithmV4.length)
      .split(',')
      .map(field => cut(field.trim(), '=')),
  )
  const [credential, signedHeaders, signature] = ['Credential', 'SignedHeaders', 'Signature'].map(name =>
    fields.get(name),
  )
  if (!credential || !signedHeaders || !signature) {
    throw headerMalformed('it needs Credential, SignedHeaders and Signature, separated by commas.')
  }
  return claim(credential, signedHeaders, signature, undefined, headerMalformed)
}

const fromQuery = ({ parameters }: ParsedRequest): Claim => {
  const names = ['Algorithm', 'Credential', 'SignedHeaders', 'Signature', 'Date', 'Expires']
  const [algorithm, credential, signedHeaders, signature, date, expires] = names.map(name =>
    parameters.get(`X-Amz-${name}`),
  )
  if (!algorithm || !credential || !signedHeaders || !signature || !date || !expires) {
    throw new SseError('AuthorizationQueryParametersError', {
      message:
        'Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, ' +
        'X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.',
    })
  }
  if (algorithm !== algorithmV4) {
    throw new SseError('AuthorizationQueryParametersError', {
      message: `X-Amz-Algorithm only supports "${algorithmV4}" here. Sign with it.`,
    })
  }
  return claim(credential, signedHeaders, signature, { date, expires }, queryMalformed)
}

/** Milliseconds at which the request was signed, once it is neither too old nor from the future. */
const checkTime = ({ headers }: ParsedRequest, life: Claim['life'], now: number, maxSkew: number): number => {
  if (life === undefined) {
    const time = requestTime(headers.get('x-amz-date') ?? headers.get('date'))
    assertFresh(time, now, maxSkew)
    return time
  }
  const time = parseTime(life.date)
  const { expires } = life
  if (time === undefined || !/^\d+$/.test(expires) || Number(expires) > week) {
    throw new SseError('AuthorizationQueryParametersError', {
      message:
        'X-Amz-Date must be like 20130524T000000Z, and X-Amz-Expires a number of seconds, at most a week (604800).',
    })
  }
  if (time - now > maxSkew) {
    const message = "Request is not yet valid. Set the clock of the one who signs, or wait until the URL's time."
    throw new SseError('AccessDenied', { message, s3Message: 'Request is not yet valid' })
  }
  assertNotExpired(time + 1000 * Number(expires), now)
  return time
}

const checkScope = (
  { scope, malformed }: Claim,
  date: string,
  { region, otherRegion }: Pick<VerifyOptions<Credential>, 'region' | 'otherRegion'>,
): void => {
  const [itsDate, itsRegion, service, terminator] = scope
  if (itsRegion !== region && itsRegion !== otherRegion)
    throw malformed(`the region '${itsRegion}' is wrong; expecting '${region}'`, { Region: region })
  if (service !== 's3') throw malformed(`incorrect service "${service}". This endpoint belongs to "s3".`)
  if (terminator !== 'aws4_request') throw malformed(`incorrect terminator "${terminator}". Use "aws4_request".`)
  if (itsDate !== date) throw malformed(`the date "${itsDate}" is not that of the request's time. Expecting "${date}".`)
}

/** `host` and all `x-amz-` and `x-obs-` headers must be signed. Others, such as User-Agent, may change on the way. */
const checkSignedHeaders = ({ headers }: ParsedRequest, signedHeaders: readonly string[], presigned: boolean): void => {
  const unsigned: string[] = []
  for (const name of headers.keys()) {
    const counts = name === 'host' || name.startsWith('x-amz-') || name.startsWith('x-obs-')
    if (!counts || signedHeaders.includes(name)) continue
    // The hash of a body is not known when a URL is presigned; S3 lets it be sent unsigned.
    if (!(presigned && name === contentSha256)) unsigned.push(name)
  }
  if (unsigned.length > 0) throw headersNotSigned(unsigned)
}

const canonicalHeaders = (headers: RequestHeaders, signedHeaders: readonly string[]): string => {
  let text = ''
  for (const name of signedHeaders) {
    const value = headers.get(name)
    if (value === undefined) {
      const message = `The header ${name} was signed, but did not arrive. Send it, or leave it out of SignedHeaders.`
      throw new SseError('SignatureDoesNotMatch', { message })
    }
    text += `${name}:${value.replace(/[ \t]+/g, ' ')}\n`
  }
  return text
}

const asSent = (query: string): string =>
  query
    .split('&')
    .filter(piece => piece !== '' && !piece.startsWith('X-Amz-Signature='))
    .sort()
    .map(piece => (piece.includes('=') ? piece : `${piece}=`))
    .join('&')

type Spelling = readonly [path: string, query: string]

/**
 * Path and query in the spellings that clients sign, the documented one first. All decode to the same name. Some clients keep `%2F`, others (aws4)
 * decode it; curl and esdk-obs-nodejs sign the path as they send it.
 */
const documentedSpelling = ({ path, query }: ParsedRequest): Spelling => [
  canonicalPath(path),
  canonicalQuery(query, 'X-Amz-Signature'),
]

const otherSpellings = ({ path, query }: ParsedRequest, [strict, sorted]: Spelling): readonly Spelling[] => [
  [strict.replaceAll('%2F', '/'), sorted],
  [path, asSent(query)],
]

/**
 * Verifies a request signed with Signature Version 4, in its `authorization` header or, where that is `undefined`, in its query. Throws
 * `AuthorizationHeaderMalformed`, `AuthorizationQueryParametersError`, `InvalidAccessKeyId`, `RequestTimeTooSkewed`, `AccessDenied` (expired, or
 * headers not signed), `SignatureDoesNotMatch`, `InvalidRequest`, `InvalidArgument`.
 */
export const verifyV4 = <Identity extends Credential>(
  request: ParsedRequest,
  options: VerifyOptions<Identity>,
  authorization: string | undefined,
): Signed<Identity> => {
  const { method, parameters } = request
  const presigned = authorization === undefined
  const its = presigned ? fromQuery(request) : fromHeader(authorization)
  const { accessKeyId, signedHeaders, signature } = its
  const now = (options.clock ?? Date.now)()
  const time = checkTime(request, its.life, now, options.maxSkew ?? defaultSkew)
  const timestamp = basicTime(time)
  checkScope(its, timestamp.slice(0, 8), options)
  const identity = identify(options, accessKeyId)
  checkSignedHeaders(request, signedHeaders, presigned)

  const carried = presigned ? new Map(carriedHeaders(parameters, 'x-amz-')) : undefined
  const carriedHash = carried?.get(contentSha256)
  // Signed as open, so that whoever sends the body may say its hash.
  if (carriedHash === unsignedPayload && request.headers.has(contentSha256)) carried?.delete(contentSha256)
  const headers = carried === undefined ? request.headers : withCarried(carried, request.headers)
  const sentHash = headers.get(contentSha256)
  if (!presigned && sentHash === undefined) {
    const message = `Missing required header for this request: ${contentSha256}. Send the body's SHA-256, or ${unsignedPayload}.`
    throw new SseError('InvalidRequest', { message })
  }
  // A hash that comes with a presigned URL, but unsigned, is checked, and is no part of what was signed.
  const signedHash = signedHeaders.includes(contentSha256) || !presigned ? sentHash : carriedHash
  const payload = signedHash ?? unsignedPayload
  const tail = `${canonicalHeaders(headers, signedHeaders)}\n${signedHeaders.join(';')}\n${payload}`

  const scope = its.scope.join('/')
  const signingKey = signingKeyOf(accessKeyId, identity.secretAccessKey, its.scope[0], its.scope[1])
  const canonical = ([path, query]: Spelling): string => `${method}\n${path}\n${query}\n${tail}`
  const stringToSign = (spelling: Spelling): string => {
    const digest = hash('sha256', Buffer.from(canonical(spelling), 'latin1'), 'hex')
    return `${algorithmV4}\n${timestamp}\n${scope}\n${digest}`
  }
  const isSigned = (spelling: Spelling): boolean => sameSignature(signV4(signingKey, stringToSign(spelling)), signature)
  const strict = documentedSpelling(request)
  if (!isSigned(strict) && !otherSpellings(request, strict).some(isSigned)) {
    const signed = { StringToSign: stringToSign(strict), CanonicalRequest: canonical(strict) }
    throw signatureDoesNotMatch(accessKeyId, signature, signed)
  }
  const chain: ChunkChain = { seed: signature, signingKey, scope, timestamp }
  const body = bodyAuthentication(sentHash, chain)
  return { kind: 'signed', version: 'v4', presigned, accessKeyId, identity, headers, body }
}
