/**
 * The S3-compatible storage behind a body store, as its parts use it: one policy for every call (so many attempts, a time for each), and what
 * answers mean.
 */
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { setTimeout as wait } from 'node:timers/promises'
import { SseError } from '../../errors.ts'

/** How calls go out. */
export interface UpstreamOptions {
  readonly config: S3ClientConfig | undefined
  /** Whether the storage knows checksums: the SDK adds them to what is sent. */
  readonly checksums: boolean
  /** Attempts of a call. */
  readonly attempts: number
  /** Milliseconds of an attempt, and until the next bytes of a body. */
  readonly timeout: number
}

/** What the SDK takes beside a command. */
export interface SendOptions {
  readonly abortSignal: AbortSignal
}

/** How to ask. */
export interface AskOptions {
  /** Gives up once it aborts, with its reason. */
  readonly signal?: AbortSignal | undefined
  /** Other than the attempts of every call. */
  readonly attempts?: number | undefined
}

/** The storage. */
export interface Upstream {
  readonly checksums: boolean
  readonly attempts: number
  readonly timeout: number
  /**
   * Makes a call, again where it may succeed then. `StoreUnavailable` where it may succeed later, `StoreFull` where there is no space left,
   * else `StoreFailed`, with what the SDK says as the cause.
   */
  ask<T>(run: (client: S3Client, options: SendOptions) => Promise<T>, options?: AskOptions): Promise<T>
  /** Ends the connections. */
  close(): void
}

const field = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined

/** What the SDK says of a call that failed, without the call and the answer. */
export class StorageError extends Error {
  override readonly name: string
  /** HTTP status of the answer; `undefined` where there was none. */
  readonly status: number | undefined
  /** Whether the same may succeed in a moment. */
  readonly isTransient: boolean

  /** Of what the SDK, or the system below it, rejected with. */
  constructor(error: unknown) {
    const metadata = field(error, '$metadata')
    const [status, requestId] = [field(metadata, 'httpStatusCode'), field(metadata, 'requestId')]
    const said = error instanceof Error ? error.message : String(error)
    super(typeof requestId === 'string' ? `${said} (request ${requestId})` : said)
    this.name = error instanceof Error ? error.name : 'Error'
    this.status = typeof status === 'number' ? status : undefined
    const isCorrected = field(metadata, 'clockSkewCorrected') === true
    this.isTransient = isCorrected || transient(this.status, this.name, field(error, 'code'))
  }
}

/** Answers of 4xx after which the same may succeed: they say that the bytes changed on their way, or came too slowly. */
const again: readonly string[] = [
  'BadDigest',
  'IncompleteBody',
  'RequestTimeout',
  'SlowDown',
  'Throttling',
  'XAmzContentChecksumMismatch',
  'XAmzContentSHA256Mismatch',
]

const transient = (status: number | undefined, name: string, code: unknown): boolean => {
  // Without an answer: errors of the system have a code, those of a wrong configuration have none.
  if (status === undefined) return typeof code === 'string' || name === 'TimeoutError'
  if (status >= 300 && status < 500) return status === 408 || status === 429 || again.includes(name)
  return status !== 501 && status !== 507 // of 200 the document was an error
}

const full: readonly string[] = ['QuotaExceeded', 'XMinioStorageFull']

/** What goes wrong with the storage, as the errors of a store. */
const storeError = (cause: StorageError): SseError => {
  if (cause.isTransient) return new SseError('StoreUnavailable', { cause })
  return new SseError(cause.status === 507 || full.includes(cause.name) ? 'StoreFull' : 'StoreFailed', { cause })
}

/** Whether the storage says that it does not have an object or upload. */
export const isMissing = (error: unknown): boolean => {
  const cause = error instanceof SseError ? error.cause : undefined
  return cause instanceof StorageError && cause.status === 404 && cause.name !== 'NoSuchBucket'
}

/** An attempt that took too long. */
class Late extends Error {
  override readonly name = 'TimeoutError'
}

/** Milliseconds before the attempt after this one: a quarter of a second, doubled each time up to 4 s, less a random share. */
export const pauseAfter = (attempt: number): number =>
  Math.min(250 * 2 ** (attempt - 1), 4000) * (0.5 + Math.random() / 2)

// A body that is being read has a connection of its own for as long as that takes; the SDK's default are 50.
const sockets = { keepAlive: true, maxSockets: 1024 }

/** The storage behind a body store. It connects at the first call. */
export const openUpstream = ({ config, checksums, attempts, timeout }: UpstreamOptions): Upstream => {
  const client = new S3Client({
    requestHandler: { connectionTimeout: Math.min(timeout, 5000), httpAgent: sockets, httpsAgent: sockets },
    ...config,
    requestChecksumCalculation: checksums ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED', // where it is asked for
    maxAttempts: 1,
  })

  const once = async <T>(
    run: (client: S3Client, options: SendOptions) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> => {
    const controller = new AbortController()
    const abort = (): void => controller.abort()
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      abort()
    }, timeout)
    signal?.addEventListener('abort', abort)
    try {
      return await run(client, { abortSignal: controller.signal })
    } catch (error) {
      throw new StorageError(isLate ? new Late(`no answer within ${timeout} ms`) : error)
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
  }

  return {
    checksums,
    attempts,
    timeout,
    ask: async (run, { signal, attempts: most = attempts } = {}) => {
      for (let attempt = 1; ; attempt++) {
        signal?.throwIfAborted()
        try {
          return await once(run, signal)
        } catch (error) {
          signal?.throwIfAborted()
          if (!(error instanceof StorageError)) throw error
          if (attempt >= most || !error.isTransient) throw storeError(error)
        }
        await wait(pauseAfter(attempt), undefined, signal && { signal }).catch(() => undefined)
      }
    },
    close: () => client.destroy(),
  }
}
