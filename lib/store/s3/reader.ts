/**
 * Bodies in S3-compatible storage being read: one ranged GET, which is sent again from the byte that was reached where its connection breaks. What
 * comes is held to the size and to the ETag of the body. The last chunk is let go only when the answer has ended in order, checksum included.
 */
import { GetObjectCommand, type GetObjectCommandOutput } from '@aws-sdk/client-s3'
import { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { SseError } from '../../errors.ts'
import type { BodyRange } from '../body-store.ts'
import { isMissing, pauseAfter, StorageError, type Upstream } from './upstream.ts'

/** A body. */
export interface UpstreamBody {
  readonly Bucket: string
  readonly Key: string
  /** Bytes that the index says it has. */
  readonly size: number
}

const failed = (message: string): SseError => new SseError('StoreFailed', { message })

/** The body of an answer. `StoreFailed` unless it has exactly these bytes of a body of that size. */
const bodyOf = (
  { Body: stream, ContentLength: length, ContentRange: range }: GetObjectCommandOutput,
  { size }: UpstreamBody,
  start: number,
  end: number,
): Readable => {
  if (!(stream instanceof Readable)) throw failed('The storage of the bodies answered without a body.')
  const isWhole = start === 0 && end === size && range === undefined
  if (length === end - start && (isWhole || range === `bytes ${start}-${end - 1}/${size}`)) return stream
  stream.on('error', () => undefined).destroy()
  throw failed('A body has not the length that it was written with. Restore it from a backup.')
}

const gone =
  'A body is gone: the object was deleted or replaced long ago, and is read still. Read it again; if it is gone then, restore it from a backup.'
const changed = 'A body is not the one that was written. Restore it from a backup.'

/** What the storage says where it has not the body, or not as it was. */
const explained = (error: SseError): SseError => {
  const { cause } = error
  if (isMissing(error)) return new SseError('StoreFailed', { message: gone, cause })
  const isOther = cause instanceof StorageError && (cause.status === 412 || cause.status === 416)
  return isOther ? new SseError('StoreFailed', { message: changed, cause }) : error
}

/** The chunks of a stream. Fails where none comes for so long. */
async function* timed(stream: Readable, timeout: number): AsyncGenerator<Uint8Array, void, void> {
  const chunks: AsyncIterator<Uint8Array> = stream[Symbol.asyncIterator]()
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    const timer = setTimeout(() => stream.destroy(new Error(`no bytes within ${timeout} ms`)), timeout)
    try {
      return await chunks.next()
    } finally {
      clearTimeout(timer)
    }
  }
  for (let result = await next(); result.done !== true; result = await next()) yield result.value
}

const slices = function* (bytes: Uint8Array, size: number): Generator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** Reads a range of a body, for `longest` milliseconds at most. */
export async function* readBody(
  upstream: Upstream,
  body: UpstreamBody,
  { start, end, chunkSize }: BodyRange,
  longest: number,
): AsyncGenerator<Uint8Array, void, void> {
  const { Bucket, Key, size } = body
  let etag: string | undefined
  let stream: Readable | undefined
  const late = new AbortController()
  const timer = setTimeout(() => {
    const error = failed(`A body was read for longer than ${longest} ms. Read faster, or in ranges.`)
    late.abort(error)
    stream?.destroy(error)
  }, longest).unref()

  const open = async (at: number): Promise<Readable> => {
    const Range = at === 0 && end === size ? undefined : `bytes=${at}-${end - 1}`
    // Of a range some storage answers with the checksum of the whole body.
    const ChecksumMode = Range === undefined && upstream.checksums ? 'ENABLED' : undefined
    const command = new GetObjectCommand({ Bucket, Key, Range, IfMatch: etag, ChecksumMode })
    const answer = await upstream.ask((client, options) => client.send(command, options), { signal: late.signal })
    etag ??= answer.ETag
    return bodyOf(answer, body, at, end).on('error', () => undefined) // thrown where it is read
  }

  let at = start
  let held: Uint8Array | undefined
  let failures = 0
  try {
    while (at < end) {
      try {
        stream = await open(at)
        for await (const chunk of timed(stream, upstream.timeout)) {
          if (held !== undefined) yield* slices(held, chunkSize)
          held = chunk
          at += chunk.length
          failures = 0
        }
        if (at < end) throw new Error('the answer ended early')
      } catch (error) {
        late.signal.throwIfAborted()
        if (error instanceof SseError) throw explained(error)
        // All of it has come, and has not the checksum that the storage says it has.
        if (at >= end) throw new SseError('StoreFailed', { message: changed, cause: error })
        if (++failures >= upstream.attempts) throw new SseError('StoreUnavailable', { cause: error })
        await wait(pauseAfter(failures), undefined, { signal: late.signal }).catch(() => undefined)
      } finally {
        stream?.destroy()
      }
    }
    if (held !== undefined) yield* slices(held, chunkSize)
  } finally {
    clearTimeout(timer)
  }
}
