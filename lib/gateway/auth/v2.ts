/**
 * The older signatures, HMAC-SHA1 over a few lines: AWS Signature Version 2 (`AWS AK:…`) and OBS's own (`OBS AK:…`), in the Authorization header
 * and in the query. Sources: "Signing and authenticating REST requests (AWS signature version 2)"; OBS API reference, "Authentication of
 * Signature in a Header" and "… in a URL". Parameters that are no sub-resources are not covered by them: prefer version 4.
 */
import { createHmac } from 'node:crypto'
import { SseError } from '../../errors.ts'
import {
  bodyAuthentication,
  type Credential,
  headersNotSigned,
  identify,
  type ParsedRequest,
  sameSignature,
  signatureDoesNotMatch,
  type Signed,
  type VerifyOptions,
} from './credential.ts'
import { carriedHeaders, type RequestHeaders, withCarried } from '../http/headers.ts'
import { cut, order } from '../http/canonical.ts'
import { assertFresh, assertNotExpired, defaultSkew, requestTime } from '../http/time.ts'

/** AWS Signature Version 2, or OBS's. */
export interface OldScheme {
  readonly version: 'v2' | 'obs'
  /** First word of the Authorization header. */
  readonly word: string
  /** Headers that are signed. */
  readonly prefix: string
  /** Headers of the other family: no signature covers them, so they are refused. */
  readonly foreign: string
  /** Query parameter of the access key id. */
  readonly accessKeyId: string
}

/** AWS Signature Version 2. */
export const schemeV2: OldScheme = {
  version: 'v2',
  word: 'AWS',
  prefix: 'x-amz-',
  foreign: 'x-obs-',
  accessKeyId: 'AWSAccessKeyId',
}

/** OBS's own. */
export const schemeObs: OldScheme = {
  version: 'obs',
  word: 'OBS',
  prefix: 'x-obs-',
  foreign: 'x-amz-',
  accessKeyId: 'AccessKeyId',
}

/**
 * Query parameters that are signed, in lower case: those of either reference, those that esdk-obs-nodejs and botocore sign, and what would make
 * another change of one that was signed.
 */
const subResources = new Set(
  [
    'accelerate acl analytics append attname backtosource bucketstatus cdnnotifyconfiguration cors customdomain',
    'defaultobjectacl delete deletebucket directcoldaccess encryption inventory length lifecycle location logging',
    'metadata metrics mirrorbacktosource modify name notification object-lock obsalias obsbucketalias',
    'obscompresspolicy obsworkflowtriggerpolicy orchestration ownershipcontrols partnumber policy policystatus',
    'position publicaccessblock quota rename replication requestpayment response-cache-control response-content-disposition',
    'response-content-encoding response-content-language response-content-type response-expires restore retention',
    'select select-type storageclass storageinfo storagepolicy tagging torrent truncate uploadid uploads versionid',
    'versioning versions website x-image-process x-image-save-bucket x-image-save-object x-obs-security-token',
    'x-oss-process x-workflow-execution-state x-workflow-execution-type x-workflow-graph-name x-workflow-limit',
    'x-workflow-next-marker x-workflow-prefix x-workflow-start x-workflow-template-name',
  ].flatMap(line => line.split(' ')),
)

// esdk-obs-nodejs sends these two under either signature. Nothing here reads them.
const harmless = new Set(['x-obs-az-redundancy', 'x-obs-expires'])

interface Claim {
  readonly accessKeyId: string
  readonly signature: string
  /** The date line: the Date header, empty if `x-amz-date` or `x-obs-date` is sent, or the seconds of Expires. */
  readonly date: string
}

const fromHeader = (
  { headers }: ParsedRequest,
  scheme: OldScheme,
  authorization: string,
  now: number,
  maxSkew: number,
): Claim => {
  const credential = authorization.slice(scheme.word.length).trim()
  const at = credential.lastIndexOf(':')
  if (at < 1) {
    const message = `The authorization header is malformed; expecting "${scheme.word} ACCESS-KEY-ID:SIGNATURE".`
    throw new SseError('AuthorizationHeaderMalformed', { message })
  }
  const own = headers.get(`${scheme.prefix}date`)
  const date = headers.get('date') ?? ''
  assertFresh(requestTime(own ?? date), now, maxSkew)
  return {
    accessKeyId: credential.slice(0, at),
    signature: credential.slice(at + 1),
    date: own === undefined ? date : '',
  }
}

const fromQuery = ({ parameters }: ParsedRequest, scheme: OldScheme, now: number): Claim => {
  const [accessKeyId, signature, date] = [scheme.accessKeyId, 'Signature', 'Expires'].map(name => parameters.get(name))
  if (!accessKeyId || !signature || !date) {
    const message = `Query-string authentication requires the Signature, Expires and ${scheme.accessKeyId} parameters.`
    throw new SseError('AccessDenied', { message, s3Message: message })
  }
  if (!/^\d{1,11}$/.test(date)) {
    const message = 'Invalid date: Expires should be seconds since 1970. Ask for a new presigned URL.'
    throw new SseError('AccessDenied', { message, s3Message: message })
  }
  assertNotExpired(1000 * Number(date), now)
  // Some clients leave the plus signs of base64 as they are, which are spaces in a query.
  return { accessKeyId, signature: signature.replaceAll(' ', '+'), date }
}

interface Attempt {
  readonly toSign: string
  /** The headers that the query carries if this is what was signed. */
  readonly carried: RequestHeaders
}

const byName = ([a]: readonly [string, string], [b]: readonly [string, string]): number => order(a, b)

/** Decodes a part of the query, one character a byte. */
const decode = (raw: string): string => Buffer.from(decodeURIComponent(raw.replaceAll('+', '%20'))).toString('latin1')

/**
 * The lines that are signed hold decoded text, so an "&" or "=" in it, or the end of a line, would be read as the next parameter or header: one
 * signature for two requests.
 */
const assertExact = (name: string, isExact: boolean): void => {
  if (isExact) return
  const message = `Signatures of this version do not tell the value of ${JSON.stringify(name)} from what follows it. Sign with AWS Signature Version 4.`
  throw new SseError('SignatureDoesNotMatch', { message })
}

/** The lines that are signed, with the parameters that `isSubResource` picks. */
const stringToSign = (
  { method, path, query }: ParsedRequest,
  headers: RequestHeaders,
  { prefix }: OldScheme,
  date: string,
  bucket: string | undefined,
  isSubResource: (name: string) => boolean,
): string => {
  const lines = [...headers]
    .filter(([name]) => name.startsWith(prefix))
    .sort(byName)
    .map(([name, value]) => {
      assertExact(name, !/[:\n]/.test(name) && !value.includes('\n'))
      return `${name}:${value}\n`
    })
    .join('')
  const resources = query
    .split('&')
    .map((piece): readonly [string, string] => {
      const [name, value = ''] = cut(piece, '=')
      return [decode(name), decode(value)]
    })
    .filter(([name]) => isSubResource(name.toLowerCase()))
    .sort(byName)
    .map(([name, value]) => {
      assertExact(name, !/[&=]/.test(name) && !value.includes('&'))
      return value === '' ? name : `${name}=${value}`
    })
    .join('&')
  const resource = `${bucket === undefined ? '' : `/${bucket}`}${path}${resources === '' ? '' : `?${resources}`}`
  const [md5 = '', type = ''] = [headers.get('content-md5'), headers.get('content-type')]
  assertExact('content-type', !`${md5}${type}`.includes('\n'))
  return `${method}\n${md5}\n${type}\n${date}\n${lines}${resource}`
}

/** The strings that clients may have signed, the documented one first. All of them mean the same request. */
const attempts = (
  request: ParsedRequest,
  scheme: OldScheme,
  date: string,
  bucket: string | undefined,
  presigned: boolean,
): readonly [Attempt, ...Attempt[]] => {
  const { headers, parameters } = request
  const { prefix } = scheme
  const listed = (name: string): boolean => subResources.has(name)
  const text = (all: RequestHeaders, pick: (name: string) => boolean) =>
    stringToSign(request, all, scheme, date, bucket, pick)
  if (!presigned) return [{ toSign: text(headers, listed), carried: new Map() }]
  // Parameters that stand for headers: esdk-obs-nodejs signs them as sub-resources, botocore as those headers.
  const asResources: Attempt = {
    toSign: text(headers, name => listed(name) || name.startsWith(prefix)),
    carried: carriedHeaders(parameters, prefix),
  }
  const carried = carriedHeaders(parameters, prefix, ['content-md5', 'content-type'])
  const asHeaders: Attempt = { toSign: text(new Map([...carried, ...headers]), listed), carried }
  return scheme.version === 'obs' ? [asResources] : [asHeaders, asResources]
}

/**
 * Verifies a request signed with one of the older schemes, in its `authorization` header or, where that is `undefined`, in its query. Throws
 * `AuthorizationHeaderMalformed`, `InvalidAccessKeyId`, `RequestTimeTooSkewed`, `AccessDenied` (no date, expired, or headers of the other family),
 * `SignatureDoesNotMatch`, `InvalidRequest` (signed chunks), `InvalidArgument`.
 */
export const verifyV2 = <Identity extends Credential>(
  request: ParsedRequest,
  options: VerifyOptions<Identity>,
  scheme: OldScheme,
  authorization: string | undefined,
): Signed<Identity> => {
  const now = (options.clock ?? Date.now)()
  const presigned = authorization === undefined
  const claim = presigned
    ? fromQuery(request, scheme, now)
    : fromHeader(request, scheme, authorization, now, options.maxSkew ?? defaultSkew)
  const { accessKeyId, signature } = claim
  const identity = identify(options, accessKeyId)
  const unsigned = [...request.headers.keys()].filter(name => name.startsWith(scheme.foreign) && !harmless.has(name))
  if (unsigned.length > 0) throw headersNotSigned(unsigned)
  const { path } = request
  const tryPath = (as: string) => attempts({ ...request, path: as }, scheme, claim.date, options.bucket, presigned)
  // botocore signs a bucket's path with a trailing slash that it does not send. After a key it would name another object.
  const isBucket = options.bucket === undefined && /^\/[^/]+$/.test(path)
  const tried = [...tryPath(path), ...(isBucket ? tryPath(`${path}/`) : [])] as const
  const held = tried.find(({ toSign }) => {
    const expected = createHmac('sha1', identity.secretAccessKey).update(toSign, 'latin1').digest('base64')
    return sameSignature(expected, signature)
  })
  if (held === undefined) throw signatureDoesNotMatch(accessKeyId, signature, { StringToSign: tried[0].toSign })
  const headers = withCarried(held.carried, request.headers)
  const body = bodyAuthentication(headers.get(`${scheme.prefix}content-sha256`))
  return { kind: 'signed', version: scheme.version, presigned, accessKeyId, identity, headers, body }
}
