/** HTTP around objects, without an HTTP server: from a Range header to a request, from an object or an error to what a server answers. */
import { SseError } from '../errors.ts'
import type { RangeRequest } from '../segment/layout.ts'
import type { Decryption } from './decrypt.ts'

/** Status and headers of an answer, as `writeHead` of `node:http` and `new Response` take them. */
export interface AnswerHead {
  /** The status code. */
  readonly status: number
  /** Headers by their names in lower case. */
  readonly headers: Readonly<Record<string, string>>
}

/**
 * The range that a Range header asks for; `undefined` for the whole object: there is no header, or one that a server ignores, such as one with
 * several ranges (RFC 9110, section 14.2).
 *
 * {@includeCode ../../test/examples/reference.test.ts#sse,http}
 */
export const parseRange = (header: string | null | undefined): RangeRequest | undefined => {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? '')
  if (match === null) return undefined
  const [, first = '', last = ''] = match
  if (first === '') return last === '' ? undefined : { suffix: Number(last) }
  if (last === '') return { start: Number(first) }
  return Number(last) < Number(first) ? undefined : { start: Number(first), end: Number(last) }
}

/**
 * What a GET is answered with: 200, or 206 for a range; Content-Length, Content-Range, Accept-Ranges and ETag.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sse,http}
 *
 * @param decryption What `decrypt` or `decryptFile` returned.
 */
export const answerOf = ({ range, length, plaintextLength, etag }: Decryption): AnswerHead => {
  const headers = { 'content-length': String(length), 'accept-ranges': 'bytes', etag: `"${etag}"` }
  if (range === undefined) return { status: 200, headers }
  const contentRange = `bytes ${range.start}-${range.end}/${plaintextLength}`
  return { status: 206, headers: { ...headers, 'content-range': contentRange } }
}

/** An answer with a text. */
export interface ErrorAnswer extends AnswerHead {
  /** Code and message of the error, for the client. */
  readonly body: string
}

/**
 * What an error is answered with, while no byte of an object has left: status, headers and text of an `SseError`, 404 for a file that is not
 * there, 500 for all others, of which the client learns nothing. After the first byte, destroy the answer instead.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sse,http}
 */
export const errorAnswer = (error: unknown): ErrorAnswer => {
  const type = { 'content-type': 'text/plain; charset=utf-8' }
  if (error instanceof SseError && error.status < 500) {
    const { status, code, message, headers } = error
    return { status, headers: { ...type, ...headers }, body: `${code}: ${message}\n` }
  }
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
    return { status: 404, headers: type, body: 'There is no such object.\n' }
  }
  const wait = error instanceof SseError && error.retryAfter !== undefined ? String(error.retryAfter) : undefined
  const status = error instanceof SseError ? error.status : 500
  const headers = { ...type, ...(wait !== undefined && { 'retry-after': wait }) }
  return { status, headers, body: status === 503 ? 'Try again later.\n' : 'The server failed.\n' }
}
