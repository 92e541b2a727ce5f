/** Writes answers: empty, XML, a body, or an error. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { SegmentMemory } from '../../cipher/memory.ts'
import { SseError } from '../../errors.ts'
import { clientMessage, errorElements, type ErrorFacts } from './error-body.ts'
import type { Exchange } from './exchange.ts'
import { Pace, tooSlow } from './pace.ts'
import { givenBack, until } from './pour.ts'
import { toXml, type XmlContent, xmlDeclaration } from './xml.ts'

/** What the services call themselves, by which some clients tell them apart. */
export const serverNames = { s3: 'AmazonS3', obs: 'OBS' } as const

/** An answer's headers by name; `undefined` ones are left out. */
export type AnswerHeaders = Readonly<Record<string, string | number | undefined>>

/** Sets headers. */
export const setHeaders = (res: ServerResponse, headers: AnswerHeaders): void => {
  for (const [name, value] of Object.entries(headers)) if (value !== undefined) res.setHeader(name, value)
}

/** Answers without a body. */
export const answerEmpty = (res: ServerResponse, status: number, headers: AnswerHeaders = {}): void => {
  setHeaders(res, headers)
  if (status !== 204 && status !== 304 && !res.hasHeader('content-length')) res.setHeader('content-length', 0)
  res.writeHead(status).end()
}

/** Answers that have begun with a declaration and blanks. */
const begun = new WeakSet<ServerResponse>()

/**
 * Works on an XML answer that may be long in coming, as S3 does. After `every` milliseconds status 200, these headers and the XML declaration go
 * out, and a blank each time after, so that nobody takes the connection for dead. `answerXml` goes on from there; an error is the document of
 * the 200 then.
 */
export const withBlanks = async <T>(
  res: ServerResponse,
  headers: AnswerHeaders,
  every: number,
  work: () => Promise<T>,
): Promise<T> => {
  const timer = setInterval(() => {
    if (res.destroyed) return
    if (begun.has(res)) {
      res.write(' ')
      return
    }
    begun.add(res)
    setHeaders(res, { 'content-type': 'application/xml', ...headers })
    res.writeHead(200)
    res.write(xmlDeclaration)
  }, every)
  try {
    return await work()
  } finally {
    clearInterval(timer)
  }
}

/** Answers with an XML document. */
export const answerXml = (
  res: ServerResponse,
  root: string,
  content: { readonly [name: string]: XmlContent },
  headers: AnswerHeaders = {},
): void => {
  const body = Buffer.from(toXml(root, content))
  if (begun.has(res)) {
    res.end(body.subarray(xmlDeclaration.length))
    return
  }
  setHeaders(res, { 'content-type': 'application/xml', 'content-length': body.length, ...headers })
  res.writeHead(200).end(body)
}

/** Bytes that may be buffered for a client before reading pauses: while there is memory, and otherwise. */
const [most, few] = [524_288, 65_536]

/** Waits for a client. */
interface Taken {
  taken(event: 'drain' | 'finish'): Promise<void>
  stop(): void
}

/**
 * Waits until a client has taken what was written. `RequestTimeout`, and the connection destroyed, where it takes nothing for a while, or too
 * little.
 */
const takenBy = ({ res, limits }: Exchange): Taken => {
  const { stallSeconds, bytesPerSecond } = limits
  let isLate = false
  const late = (): void => {
    isLate = true
    res.destroy()
  }
  const pace = new Pace({ seconds: stallSeconds, bytesPerSecond, late })
  // The socket sees bytes leave that its callers do not. Half a millisecond tells this time from those that others set.
  const time = Math.ceil(stallSeconds * 1000) + 0.5
  const onTimeout = (): void => {
    if (res.writableLength > 0) late()
  }
  const taken = async (event: 'drain' | 'finish'): Promise<void> => {
    // The system has all of it already, as it has of small answers: nobody is waited for, and the event is about to come.
    if (res.writableLength === 0) return until(res, event)
    const { socket } = res
    const before = socket?.timeout ?? 0
    res.on('timeout', onTimeout)
    socket?.setTimeout(time)
    pace.wait(res.writableLength)
    try {
      await until(res, event)
    } catch (error) {
      throw isLate ? tooSlow() : error
    } finally {
      pace.moved()
      res.off('timeout', onTimeout)
      if (socket?.timeout === time) socket.setTimeout(before)
    }
  }
  return { taken, stop: () => pace.stop() }
}

/** Waits until an answer has left, or never will. */
export const untilTaken = async (exchange: Exchange): Promise<void> => {
  const { req, res } = exchange
  if (res.writableFinished || res.destroyed || req.socket.destroyed) return
  const { taken, stop } = takenBy(exchange)
  await taken('finish').catch(() => undefined) // the connection is destroyed then
  stop()
}

/**
 * Answers with a body. Calls `start`, which sets status and headers, when the first piece or the end has arrived: until then an error can
 * still be answered. Pieces of one turn are sent together by `node:http`; those of `output` are given back once they were sent. `RequestTimeout`
 * for a client that reads too slowly.
 */
export const answerBody = async (
  exchange: Exchange,
  body: AsyncIterable<Uint8Array>,
  start: () => void,
  output?: SegmentMemory,
): Promise<void> => {
  const { res, memory } = exchange
  const { taken, stop } = takenBy(exchange)
  let allowed = few
  let begin = (): void => {
    start()
    begin = () => undefined
  }
  try {
    for await (const piece of body) {
      begin()
      res.write(piece, givenBack(output, piece))
      if (allowed < most && res.writableLength >= allowed && memory.tryHold(most - few)) allowed = most
      if (res.destroyed || res.writableLength >= allowed) await taken('drain')
    }
    begin()
    res.end()
    await taken('finish')
  } finally {
    stop()
  }
}

/** Turns anything thrown into an `SseError`: `InternalError` with the cause kept for the operator, unless it is one already. */
export const asSseError = (error: unknown): SseError =>
  error instanceof SseError ? error : new SseError('InternalError', { cause: error })

/** Code and message as headers, for the answers that have no body: OBS's clients read them there. */
const errorHeaders = ({ s3Code }: SseError, message: string): AnswerHeaders =>
  Object.fromEntries(
    ['amz', 'obs'].flatMap(family => [
      [`x-${family}-error-code`, s3Code],
      [`x-${family}-error-message`, message.replace(/[^\x20-\x7e]/g, '?')],
    ]),
  )

/** What an error keeps of the headers that were set before: its names, and what lets a browser read it. */
const kept = /^x-(?:amz|obs)-(?:request-id|id-2)$|^server$|^access-control-|^vary$/

/** The document of an error. */
export const errorXml = (error: SseError, facts: ErrorFacts): Buffer =>
  Buffer.from(toXml('Error', errorElements(error, facts), false))

/**
 * Answers an error; after blanks as the document of the 200. If other headers were sent already, destroys the connection instead, so that no
 * client takes a partial body for the whole. An unread request body is drained for a moment, so that the client gets to read the answer.
 */
export const answerError = (req: IncomingMessage, res: ServerResponse, thrown: unknown, facts: ErrorFacts): void => {
  const error = asSseError(thrown)
  if (begun.has(res) && !res.writableEnded) {
    res.end(errorXml(error, facts).subarray(xmlDeclaration.length))
    return
  }
  if (res.headersSent || res.destroyed) {
    res.destroy()
    return
  }
  for (const name of res.getHeaderNames()) if (!kept.test(name)) res.removeHeader(name)
  const reading = !req.complete
  if (reading) res.setHeader('connection', 'close')
  const headers: AnswerHeaders = {
    ...error.headers,
    'retry-after': error.retryAfter ?? (error.status === 503 ? 1 : undefined),
  }
  if (error.status === 304 || req.method === 'HEAD') {
    answerEmpty(
      res,
      error.status,
      error.status === 304 ? headers : { ...headers, ...errorHeaders(error, clientMessage(error, facts.profile)) },
    )
    return
  }
  const body = errorXml(error, facts)
  setHeaders(res, { ...headers, 'content-type': 'application/xml', 'content-length': body.length })
  res.writeHead(error.status)
  res.write(body)
  if (reading) drain(req, () => res.end())
  else res.end()
}

const drainTime = 2000
const drainBytes = 8 * 1024 * 1024

/**
 * Reads and drops what the client still sends, for a moment, before the connection is closed. Closing with unread bytes would reset the
 * connection, and the client would lose the answer.
 */
const drain = (req: IncomingMessage, done: () => void): void => {
  let left = drainBytes
  const timer = setTimeout(done, drainTime)
  timer.unref()
  const over = (): void => {
    clearTimeout(timer)
    done()
  }
  req.on('data', (chunk: Uint8Array) => {
    left -= chunk.length
    if (left < 0) over()
  })
  req.once('end', over)
  req.once('close', over)
  req.on('error', () => undefined)
  req.resume()
}
