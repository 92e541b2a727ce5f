/**
 * Types of signature verification, and the errors that all kinds of signatures share. No signature is computed here.
 */
import type { KeyObject } from 'node:crypto'
import { equal, fromHex, utf8 } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { parseHeaders, type RequestHeaders } from '../http/headers.ts'
import { parseQuery, type Query } from '../http/route.ts'

/** A request as it came over the wire. */
export interface WireRequest {
  readonly method: string
  /** Raw and undecoded, without the query. */
  readonly path: string
  /** Raw, without its question mark; empty where there is none. */
  readonly query: string
  /** Node's `rawHeaders`. */
  readonly rawHeaders: readonly string[]
}

/** What a caller's identity must hold. */
export interface Credential {
  readonly secretAccessKey: string
}

/** What requests are verified against. */
export interface VerifyOptions<Identity extends Credential> {
  /** The identity of an access key id, `undefined` for an unknown one. */
  readonly lookup: (accessKeyId: string) => Identity | undefined
  /** The region that version 4 signatures must name. */
  readonly region: string
  /** Another one that they may name instead. */
  readonly otherRegion?: string | undefined
  /** The bucket that the host names (virtual-host style): signatures of version 2 and of OBS cover it. */
  readonly bucket?: string | undefined
  /** Milliseconds since 1970; the system's clock by default. */
  readonly clock?: (() => number) | undefined
  /** Milliseconds that a request's time may be off, either way; 15 minutes by default. */
  readonly maxSkew?: number | undefined
}

/** How the body of a request is protected and coded. */
export type BodyAuthentication =
  | { readonly kind: 'unsigned' }
  | {
      /** The whole body has this SHA-256. */
      readonly kind: 'signed-hash'
      readonly sha256: Uint8Array
    }
  | ({ readonly kind: 'chunked-signed' } & ChunkChain & {
        /** Whether signed trailers follow the last chunk. */
        readonly trailer: boolean
      })
  | { readonly kind: 'chunked-unsigned-trailer' }

/** Where the chain of chunk signatures begins. A `KeyObject` prints no key. */
export interface ChunkChain {
  /** The request's own signature, lower-case hex. */
  readonly seed: string
  readonly signingKey: KeyObject
  /** `DATE/REGION/s3/aws4_request`. */
  readonly scope: string
  /** `20130524T000000Z`. */
  readonly timestamp: string
}

/** A request without any signature. */
export interface Anonymous {
  readonly kind: 'anonymous'
  /** All headers. */
  readonly headers: RequestHeaders
  readonly body: BodyAuthentication
}

/** A request whose signature holds. */
export interface Signed<Identity> {
  readonly kind: 'signed'
  readonly version: 'v4' | 'v2' | 'obs'
  /** Whether the signature stood in the query. */
  readonly presigned: boolean
  readonly accessKeyId: string
  /** What the look-up gave. */
  readonly identity: Identity
  /** All headers; of a presigned URL also those that its query carries. Read these, not the request's. */
  readonly headers: RequestHeaders
  readonly body: BodyAuthentication
}

/** What verification answers. */
export type Authentication<Identity> = Anonymous | Signed<Identity>

/** A request whose headers and query are parsed. */
export interface ParsedRequest extends WireRequest {
  readonly headers: RequestHeaders
  readonly parameters: Query
}

/** Parses headers and query; `InvalidURI` for a query that is not percent-encoded UTF-8. */
export const parseRequest = (request: WireRequest): ParsedRequest => ({
  method: request.method,
  path: request.path,
  query: request.query,
  rawHeaders: request.rawHeaders,
  headers: parseHeaders(request.rawHeaders),
  parameters: parseQuery(request.query),
})

/** A body that no signature covers. */
export const unsignedPayload = 'UNSIGNED-PAYLOAD'

const contentSha256 = 'x-amz-content-sha256'
const accepted =
  'UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, ' +
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.'

/**
 * What `x-amz-content-sha256` promises about the body. `chain` is given if chunks may be signed, which takes Signature Version 4.
 * `InvalidArgument` for an unknown value, `NotImplemented` for elliptic-curve signatures, `InvalidRequest` for signed chunks without a chain.
 */
export const bodyAuthentication = (value: string | undefined, chain?: ChunkChain): BodyAuthentication => {
  switch (value) {
    case undefined:
    case unsignedPayload:
      return { kind: 'unsigned' }
    case 'STREAMING-UNSIGNED-PAYLOAD-TRAILER':
      return { kind: 'chunked-unsigned-trailer' }
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD':
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER':
      if (chain === undefined) {
        const message = `Signed chunks need a request that is signed with AWS Signature Version 4. Sign it so, or send ${unsignedPayload}.`
        throw new SseError('InvalidRequest', { message })
      }
      return { kind: 'chunked-signed', trailer: value.endsWith('-TRAILER'), ...chain }
    case 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD':
    case 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER':
      throw notAsymmetric()
    default: {
      const sha256 = fromHex(value)
      if (sha256?.length === 32) return { kind: 'signed-hash', sha256 }
      const message = `${contentSha256} must be ${accepted}`
      throw new SseError('InvalidArgument', { message, details: { ArgumentName: contentSha256, ArgumentValue: value } })
    }
  }
}

/** 501 for Signature Version 4A. */
export const notAsymmetric = (): SseError =>
  new SseError('NotImplemented', {
    message: 'Signature Version 4A (ECDSA) is not implemented here. Sign with AWS4-HMAC-SHA256 for one region.',
  })

/** The identity of an access key id; `InvalidAccessKeyId` for an unknown one. */
export const identify = <Identity extends Credential>(
  options: VerifyOptions<Identity>,
  accessKeyId: string,
): Identity => {
  const identity = options.lookup(accessKeyId)
  if (identity === undefined) throw new SseError('InvalidAccessKeyId', { details: { AWSAccessKeyId: accessKeyId } })
  return identity
}

/** 403 for headers that the signature had to cover. */
export const headersNotSigned = (names: readonly string[]): SseError =>
  new SseError('AccessDenied', {
    message: 'There were headers present in the request which were not signed. Sign them, or leave them out.',
    s3Message: 'There were headers present in the request which were not signed',
    details: { HeadersNotSigned: names.join(', ') },
  })

// The string to sign may hold a customer's key and a session token. Neither is ever sent back.
const secrets = /(x-(?:amz|obs)-(?:(?:copy-source-)?server-side-encryption-customer-key|security-token)[:=])[^&\n]*/gi
const redact = (signed: string): string => signed.replace(secrets, '$1***')

/** 403 with the string that was signed here, secrets removed, for whoever debugs a client. Never with the right signature. */
export const signatureDoesNotMatch = (
  accessKeyId: string,
  provided: string,
  signed: { readonly StringToSign: string; readonly CanonicalRequest?: string },
): SseError => {
  const texts = Object.fromEntries(Object.entries(signed).map(([name, text]) => [name, redact(text)]))
  return new SseError('SignatureDoesNotMatch', {
    details: { AWSAccessKeyId: accessKeyId, ...texts, SignatureProvided: provided },
  })
}

/** Compares signatures in constant time. */
export const sameSignature = (expected: string, provided: string): boolean => equal(utf8(expected), utf8(provided))
