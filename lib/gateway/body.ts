/** Reads the body of a request: nothing of it before it is asked for, so that `Expect: 100-continue` is answered after the decision. */
import type { Readable } from 'node:stream'
import { fromUtf8 } from '../bytes.ts'
import { type ErrorCode, SseError } from '../errors.ts'
import type { Context } from './context.ts'
import type { RequestHeaders } from './headers.ts'
import type { BodyStage } from './pour.ts'
import { openBody, type RequestBody, type RequestBodyOptions } from './request-body.ts'

/** A body that is about to be received. */
export interface IncomingBody extends RequestBody {
  /** Asks the client for the body and begins to read it. */
  start(): AsyncIterable<Uint8Array>
}

/** Asks the client for the body, where it waits to be asked. Not decoded, and not checked. */
export const askForBody = (ctx: Context): Readable => {
  if (/^100-continue$/i.test(ctx.req.headers.expect ?? '')) ctx.res.writeContinue()
  return ctx.req
}

/**
 * The body of a write. `MissingContentLength` where its length is not known, unless the profile takes a body that ends where HTTP's own chunks do.
 */
export const incomingBody = (ctx: Context, options: RequestBodyOptions): IncomingBody => {
  const body = openBody(ctx.authentication.body, ctx.headers, options)
  const chunks = /^chunked$/i.test(ctx.req.headers['transfer-encoding'] ?? '')
  if (body.length === undefined && !(chunks && ctx.options.profile.unknownLength)) {
    throw new SseError('MissingContentLength')
  }
  return { ...body, start: () => bytesOf(ctx) }
}

/** The bytes of a request. Whoever stops reading leaves the connection open, for an answer. */
const bytesOf = (ctx: Context): AsyncIterable<Uint8Array> => askForBody(ctx).iterator({ destroyOnReturn: false })

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
  ctx: Context,
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
