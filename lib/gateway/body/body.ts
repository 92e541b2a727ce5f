/** Reads the body of a request: nothing of it before it is asked for, so that `Expect: 100-continue` is answered after the decision. */
import type { Readable } from 'node:stream'
import { fromUtf8 } from '../../bytes.ts'
import { type ErrorCode, SseError } from '../../errors.ts'
import type { BodyAuthentication } from '../auth/credential.ts'
import type { GatewayRequest } from '../context.ts'
import type { RequestHeaders } from '../http/headers.ts'
import type { BodyStage } from '../http/pour.ts'
import { type ChunkedDecoder, decodeChunked } from './aws-chunked.ts'
import {
  type ChecksumAlgorithm,
  checksumHeader,
  declaredChecksums,
  type DigestAlgorithm,
  verifyChecksums,
} from './checksums.ts'

/** A body that is about to be received. */
export interface IncomingBody extends RequestBody {
  /** Asks the client for the body and begins to read it. */
  start(): AsyncIterable<Uint8Array>
}

/** Asks the client for the body, where it waits to be asked. Not decoded, and not checked. */
export const askForBody = (ctx: GatewayRequest): Readable => {
  if (/^100-continue$/i.test(ctx.req.headers.expect ?? '')) ctx.res.writeContinue()
  return ctx.req
}

/**
 * The body of a write. `MissingContentLength` where its length is not known, unless the profile takes a body that ends where HTTP's own chunks do.
 */
export const incomingBody = (ctx: GatewayRequest, options: RequestBodyOptions): IncomingBody => {
  const body = openBody(ctx.authentication.body, ctx.headers, options)
  const chunks = /^chunked$/i.test(ctx.req.headers['transfer-encoding'] ?? '')
  if (body.length === undefined && !(chunks && ctx.options.profile.unknownLength)) {
    throw new SseError('MissingContentLength')
  }
  return { ...body, start: () => bytesOf(ctx) }
}

/** The bytes of a request. Whoever stops reading leaves the connection open, for an answer. */
const bytesOf = (ctx: GatewayRequest): AsyncIterable<Uint8Array> => askForBody(ctx).iterator({ destroyOnReturn: false })

/** Bytes through stages, one behind the other. */
export const through = (bytes: AsyncIterable<Uint8Array>, stages: readonly BodyStage[]): AsyncIterable<Uint8Array> => {
  let last = bytes
  for (const stage of stages) last = stage(last)
  return last
}

/** How a small body is read. */
export interface ReadBodyOptions {
  /** What is answered where it is not UTF-8; `MalformedXML` by default. */
  readonly malformed?: ErrorCode
  /** The headers that speak of it; the request's by default. */
  readonly headers?: RequestHeaders
}

/** A small body as text, checked like any other; `EntityTooLarge` above `limit` bytes. */
export const readBody = async (
  ctx: GatewayRequest,
  limit: number,
  { malformed = 'MalformedXML', headers = ctx.headers }: ReadBodyOptions = {},
): Promise<string> => {
  const body = openBody(ctx.authentication.body, headers)
  if ((body.length ?? 0) > limit) throw new SseError('EntityTooLarge')
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of through(bytesOf(ctx), body.stages)) {
    size += chunk.length
    if (size > limit) throw new SseError('EntityTooLarge')
    chunks.push(chunk)
  }
  try {
    return fromUtf8(Buffer.concat(chunks))
  } catch (cause) {
    throw new SseError(malformed, { cause })
  }
}

/** How to read a body. */
export interface RequestBodyOptions {
  /** Digests to compute in any case, such as `md5` for an ETag. */
  readonly always?: readonly DigestAlgorithm[] | undefined
  /** The checksum to compute and keep where the client sends none. */
  readonly otherwise?: ChecksumAlgorithm | undefined
}

/** A body that is about to be read. */
export interface RequestBody {
  /** Behind the request: decode, then verify. They fail before their end, so that nothing behind them ever sees a clean one. */
  readonly stages: readonly BodyStage[]
  /** Bytes of the decoded body; `undefined` where no header tells. Chunked bodies are held to it here, others by HTTP. */
  readonly length: number | undefined
  /** The checksum that the client sent or will send, else the one to compute: to be kept once the body has ended. */
  readonly checksum: ChecksumAlgorithm | undefined
  /** Everything that was computed, raw; empty before the end of the body. */
  digests(): ReadonlyMap<DigestAlgorithm, Uint8Array>
}

const parseLength = (text: string | undefined, header: string): number | undefined => {
  if (text === undefined) return undefined
  const length = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(length)) return length
  const message = `The ${header} header is not a number of bytes. Send the length of the body.`
  throw new SseError('InvalidArgument', { message, details: { ArgumentName: header, ArgumentValue: text } })
}

const decodedLength = 'x-amz-decoded-content-length'

const decoderOf = (
  body: BodyAuthentication,
  length: number | undefined,
  trailer: string | undefined,
): ChunkedDecoder | undefined => {
  const trailers = body.kind === 'chunked-unsigned-trailer' || (body.kind === 'chunked-signed' && body.trailer)
  if (trailer !== undefined && !trailers) {
    const message = 'x-amz-trailer needs a body that is sent with trailers. Name such a coding in x-amz-content-sha256.'
    throw new SseError('InvalidRequest', { message })
  }
  if (body.kind === 'unsigned' || body.kind === 'signed-hash') return undefined
  if (length === undefined) {
    throw new SseError('MissingContentLength', { message: `Send the length of the decoded body in ${decodedLength}.` })
  }
  return decodeChunked(body, { length, trailer })
}

/**
 * Decides the stages of a body. `headers` are those of the authentication. Throws what is wrong before a byte is read: `InvalidRequest`,
 * `InvalidDigest`, `InvalidArgument`, `MissingContentLength`.
 */
export const openBody = (
  body: BodyAuthentication,
  headers: RequestHeaders,
  { always = [], otherwise }: RequestBodyOptions = {},
): RequestBody => {
  const chunked = body.kind === 'chunked-signed' || body.kind === 'chunked-unsigned-trailer'
  const header = chunked ? decodedLength : 'content-length'
  const length = parseLength(headers.get(header), header)
  const declared = declaredChecksums(headers)
  const { checksum } = declared
  const trailer =
    checksum !== undefined && checksum.value === undefined ? checksumHeader(checksum.algorithm) : undefined
  const decoder = decoderOf(body, length, trailer)
  const sha256 = body.kind === 'signed-hash' ? body.sha256 : undefined
  const kept = checksum?.algorithm ?? otherwise
  const computed = kept === undefined ? always : [...always, kept]
  const verifier = verifyChecksums({ declared, sha256, trailer: decoder?.trailer, always: computed })
  const stages = decoder === undefined ? [verifier.stage] : [decoder.stage, verifier.stage]
  return { stages, length, checksum: kept, digests: verifier.digests }
}
