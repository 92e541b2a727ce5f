/** Reads request bodies. Nothing is read before it is asked for, so `Expect: 100-continue` is answered after the decision. */
import { fromUtf8 } from '../../bytes.ts'
import { type ErrorCode, SseError } from '../../errors.ts'
import type { BodyAuthentication } from '../auth/credential.ts'
import type { Exchange } from '../http/exchange.ts'
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
import { BodyReader } from './receive.ts'

/** A body that is about to be received. */
export interface IncomingBody extends RequestBody {
  /** Asks the client for the body and begins to read it. */
  start(): AsyncIterable<Uint8Array>
}

/** A request as far as its body goes. */
export interface BodySource extends Exchange {
  /** The headers that speak of the body. */
  readonly headers: RequestHeaders
  readonly authentication: { readonly body: BodyAuthentication }
}

/** Answers `100 Continue` if the client waits for it, and begins to read. What comes is neither decoded nor checked. */
export const receive = (exchange: Exchange): BodyReader => {
  const { req, res } = exchange
  if (/^100-continue$/i.test(req.headers.expect ?? '')) res.writeContinue()
  return new BodyReader(req, exchange)
}

/**
 * The body of a write. `MissingContentLength` where its length is not known, unless `unknownLength` takes a body that ends where HTTP's own
 * chunks do.
 */
export const incomingBody = (source: BodySource, unknownLength: boolean, digests: BodyDigests): IncomingBody => {
  const body = openBody(source.authentication.body, source.headers, digests)
  const chunks = /^chunked$/i.test(source.req.headers['transfer-encoding'] ?? '')
  if (body.length === undefined && !(chunks && unknownLength)) throw new SseError('MissingContentLength')
  return { ...body, start: () => bytesOf(receive(source).stream()) }
}

/** Everything that is left. A consumer that stops leaves the connection open for an answer. */
async function* bytesOf(reader: BodyReader): AsyncIterable<Uint8Array> {
  try {
    for (let bytes = await reader.next(); bytes !== undefined; bytes = await reader.next()) yield bytes
  } finally {
    reader.release()
  }
}

/** Sends bytes through stages in order. */
export const through = (bytes: AsyncIterable<Uint8Array>, stages: readonly BodyStage[]): AsyncIterable<Uint8Array> => {
  let last = bytes
  for (const stage of stages) last = stage(last)
  return last
}

/**
 * A small body as text, checked like any other. `EntityTooLarge` above `limit` bytes; `malformed` where it is not UTF-8; `SlowDown`,
 * `RequestTimeout`.
 */
export const readBody = async (
  source: BodySource,
  limit: number,
  malformed: ErrorCode = 'MalformedXML',
): Promise<string> => {
  const body = openBody(source.authentication.body, source.headers)
  if ((body.length ?? 0) > limit) throw new SseError('EntityTooLarge')
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of through(bytesOf(receive(source)), body.stages)) {
    size += chunk.length
    if (size > limit) throw new SseError('EntityTooLarge')
    source.memory.hold(chunk.length)
    chunks.push(chunk)
  }
  try {
    return fromUtf8(Buffer.concat(chunks))
  } catch (cause) {
    throw new SseError(malformed, { cause })
  }
}

/** What is computed of a body while it passes. */
export interface BodyDigests {
  /** Digests to compute in any case, such as `md5` for an ETag. */
  readonly always?: readonly DigestAlgorithm[] | undefined
  /** The checksum to compute and keep where the client sends none. */
  readonly otherwise?: ChecksumAlgorithm | undefined
}

/** A body that is about to be read. */
export interface RequestBody {
  /** Decoding, then verification. They throw instead of ending, so a later stage never sees the clean end of a bad body. */
  readonly stages: readonly BodyStage[]
  /** Length of the decoded body; `undefined` if no header declares it. Checked here for chunked bodies, by HTTP for others. */
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
  { always = [], otherwise }: BodyDigests = {},
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
