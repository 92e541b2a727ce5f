/** Answers what the parser of `node:http` refuses: there is no request then, and no response of Node's to answer with. */
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { ErrorCode, SseError } from '../../errors.ts'
import { errorXml, serverNames } from './answer.ts'
import type { ErrorFacts } from './error-body.ts'

const codes: ReadonlyMap<unknown, ErrorCode> = new Map<unknown, ErrorCode>([
  ['HPE_HEADER_OVERFLOW', 'RequestHeaderSectionTooLarge'],
  ['ERR_HTTP_REQUEST_TIMEOUT', 'RequestTimeout'],
])

/** Errors of a client that is gone: in the middle of a request, or already. */
const gone: ReadonlySet<unknown> = new Set(['ECONNRESET', 'HPE_INVALID_EOF_STATE'])

/** What a `clientError` is answered with; `undefined` where nobody is there to be answered, or nobody asked. */
export const refusalOf = (error: Error, socket: Duplex): ErrorCode | undefined => {
  const code = 'code' in error ? error.code : undefined
  const silent = 'bytesRead' in socket && socket.bytesRead === 0
  if (!socket.writable || gone.has(code) || silent) return undefined
  return codes.get(code) ?? 'BadRequest'
}

/** Milliseconds that a client has to read the answer. */
const readTime = 2000

/** Answers an error on a connection, and closes it. */
export const refuse = (socket: Duplex, error: SseError, facts: ErrorFacts): void => {
  const body = errorXml(error, facts)
  const { requestId, hostId, profile } = facts
  const head = [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ''}`,
    `Server: ${serverNames[profile]}`,
    `Date: ${new Date().toUTCString()}`,
    `x-amz-request-id: ${requestId}`,
    `x-amz-id-2: ${hostId}`,
    'Content-Type: application/xml',
    `Content-Length: ${body.length}`,
    'Connection: close',
  ]
  socket.end(Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]))
  setTimeout(() => socket.destroy(), readTime).unref()
}
