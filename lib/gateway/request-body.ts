/**
 * The body of a request, from the wire to bytes that were checked: which stages it must pass, decided from its authentication and its headers
 * before any of it is read.
 */
import { SseError } from '../errors.ts'
import type { BodyAuthentication } from './authentication.ts'
import { type ChunkedDecoder, decodeChunked } from './aws-chunked.ts'
import { type ChecksumAlgorithm, checksumHeader, declaredChecksums, verifyChecksums } from './checksums.ts'
import type { DigestAlgorithm } from './digest.ts'
import type { RequestHeaders } from './headers.ts'
import type { BodyStage } from './pour.ts'

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
