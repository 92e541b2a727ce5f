/**
 * Decodes `aws-chunked` bodies, signed or not, with their trailers. Nothing is held: a chunk passes before its signature was verified, and one
 * that does not hold fails the body before its end. So whoever takes the body acts on it only after its end. Source: "Signature calculations for the Authorization header: transferring payload in multiple chunks", and
 * the same "… with trailing headers", of the Amazon S3 API reference.
 *
 *     SIZE;chunk-signature=HEX CRLF data CRLF  …  0;chunk-signature=HEX CRLF  name:value CRLF x-amz-trailer-signature:HEX CRLF  CRLF
 *     SIZE CRLF data CRLF                      …  0 CRLF                      name:value CRLF                                   CRLF
 */
import { createHash } from 'node:crypto'
import { SseError } from '../../errors.ts'
import { type BodyAuthentication, type ChunkChain, sameSignature } from '../auth/credential.ts'
import { trimmed } from '../http/headers.ts'
import { cut } from '../http/canonical.ts'
import type { BodyStage } from '../http/pour.ts'
import { signV4 } from '../auth/v4.ts'

/** A body that arrives in chunks. */
export type ChunkedAuthentication = Extract<BodyAuthentication, { kind: 'chunked-signed' | 'chunked-unsigned-trailer' }>

const maxLine = 1024
const emptyHash = createHash('sha256').digest('hex')
const sha256 = (text: string): string => createHash('sha256').update(text, 'latin1').digest('hex')

/** What the headers declare of a chunked body. */
export interface ChunkedOptions {
  /** Bytes of the decoded body, exactly (`x-amz-decoded-content-length`). */
  readonly length: number
  /** Name of the one trailer that was announced, in lower case. */
  readonly trailer?: string | undefined
}

/** Decodes a chunked body. */
export interface ChunkedDecoder {
  /** Coded bytes in, the body out; fails with `IncompleteBody`, `MalformedTrailerError` or `SignatureDoesNotMatch`. */
  readonly stage: BodyStage
  /** The value of the announced trailer, once the body has ended; empty before, and where none was announced. */
  trailer(): string
}

const incomplete = (message: string): SseError => new SseError('IncompleteBody', { message })

/** A signed chunk while it passes. */
interface SignedChunk {
  update(piece: Uint8Array): void
  /** All of it has come: `SignatureDoesNotMatch` unless its signature holds. */
  verify(): void
}

/** The chain of signatures: each covers the one before it. */
interface SignatureChain {
  chunk(signature: string): SignedChunk
  trailer(text: string, signature: string): void
}

const signatureChain = ({ seed, signingKey, scope, timestamp }: ChunkChain): SignatureChain => {
  let before = seed
  const verify = (algorithm: string, hashes: string, provided: string): void => {
    const expected = signV4(signingKey, `${algorithm}\n${timestamp}\n${scope}\n${before}\n${hashes}`)
    if (!sameSignature(expected, provided)) {
      const message = 'The signature of a chunk does not match. Check the secret access key, and send the body again.'
      throw new SseError('SignatureDoesNotMatch', { message, details: { SignatureProvided: provided } })
    }
    before = expected
  }
  return {
    chunk: signature => {
      const hash = createHash('sha256')
      return {
        update: piece => void hash.update(piece),
        verify: () => verify('AWS4-HMAC-SHA256-PAYLOAD', `${emptyHash}\n${hash.digest('hex')}`, signature),
      }
    },
    trailer: (text, signature) => verify('AWS4-HMAC-SHA256-TRAILER', sha256(text), signature),
  }
}

/** Makes the decoder of a chunked body. */
export const decodeChunked = (
  body: ChunkedAuthentication,
  { length, trailer: announced }: ChunkedOptions,
): ChunkedDecoder => {
  const chain = body.kind === 'chunked-signed' ? signatureChain(body) : undefined
  let state: 'size' | 'data' | 'data end' | 'trailer' | 'done' = 'size'
  let line = ''
  let left = 0
  let decoded = 0
  let chunk: SignedChunk | undefined
  let trailer = ''
  /** What the signature of the trailer covers. */
  let trailerText = ''
  /** What of the body is decoded, and may leave. */
  let out: Uint8Array[] = []
  /** Whether the signature of the trailer is still to come. */
  let unverified = body.kind === 'chunked-signed' && body.trailer

  const onSize = (text: string): void => {
    const [, size, signature] = /^([0-9a-f]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?\r\n$/i.exec(text) ?? []
    if (size === undefined || (signature === undefined) !== (chain === undefined)) {
      throw incomplete(
        'The size line of a chunk is malformed. Send the body in the coding that x-amz-content-sha256 names.',
      )
    }
    left = Number.parseInt(size, 16)
    if (left > length - decoded) {
      throw incomplete('The chunks are longer than x-amz-decoded-content-length says. Send exactly that many bytes.')
    }
    chunk = signature === undefined ? undefined : chain?.chunk(signature.toLowerCase())
    state = 'data'
    if (left > 0) return
    chunk?.verify()
    state = 'trailer'
    if (decoded < length) {
      throw incomplete('The chunks are shorter than x-amz-decoded-content-length says. Send exactly that many bytes.')
    }
  }

  const onData = (piece: Uint8Array): void => {
    left -= piece.length
    decoded += piece.length
    chunk?.update(piece)
    out.push(piece)
    if (left > 0) return
    chunk?.verify()
    state = 'data end'
  }

  const onTrailer = (text: string): void => {
    // minio-go ends the trailer with LF, and puts a blank line before its signature.
    const field = text.replace(/\r?\n$/, '')
    if (field === '') {
      if (unverified) return
      if (trailer === '' && announced !== undefined) throw new SseError('MalformedTrailerError')
      state = 'done'
      return
    }
    const [name, rest = ''] = cut(field, ':')
    const [lower, value] = [trimmed(name).toLowerCase(), trimmed(rest)]
    if (lower === announced && trailer === '' && value !== '') {
      trailer = value
      trailerText = `${lower}:${value}\n`
    } else if (lower === 'x-amz-trailer-signature' && unverified) {
      chain?.trailer(trailerText, value)
      unverified = false
    } else throw new SseError('MalformedTrailerError')
  }

  const onLine = (text: string): void => {
    if (state === 'size') onSize(text)
    else if (state === 'trailer') onTrailer(text)
    else if (text === '\r\n') state = 'size'
    else throw incomplete('A chunk is longer than its size line says. Send the body again.')
  }

  const write = (bytes: Buffer): void => {
    let at = 0
    while (at < bytes.length) {
      if (state === 'done') throw incomplete('Bytes follow the end of the chunks. Send nothing after the last line.')
      const from = at
      if (state === 'data') {
        at = Math.min(at + left, bytes.length)
        onData(bytes.subarray(from, at))
        continue
      }
      const end = bytes.indexOf(10, at)
      at = end < 0 ? bytes.length : end + 1
      line += bytes.toString('latin1', from, at)
      if (line.length > maxLine) throw incomplete('A line between the chunks is too long. Send the body again.')
      if (end < 0) continue
      const text = line
      line = ''
      onLine(text)
    }
  }

  const stage: BodyStage = async function* (source) {
    for await (const bytes of source) {
      write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
      const ready = out
      out = []
      for (const piece of ready) yield piece
    }
    if (state !== 'done') throw incomplete('The body ended before its last chunk. Send the whole body.')
  }
  return { stage, trailer: () => trailer }
}
