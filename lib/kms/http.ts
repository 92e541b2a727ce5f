/**
 * HTTP for key managers that are services: one server, connections that are kept, answers of bounded size, and calls that end when they are
 * aborted. It tries nothing twice and follows no redirection.
 */
import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { Agent as SecureAgent, request as secureRequest } from 'node:https'
import { wipe } from '../bytes.ts'
import { SseError } from '../errors.ts'

/** How a server proves who it is, and how this program does. */
export interface TlsOptions {
  /** Certificates to trust, as PEM, instead of those that Node trusts. */
  readonly ca?: string | readonly string[] | undefined
  /** Certificate of this program, as PEM. */
  readonly cert?: string | undefined
  /** Its private key, as PEM. */
  readonly key?: string | undefined
  /** Passphrase of that key. */
  readonly passphrase?: string | undefined
  /** Name that the server's certificate must have, where that is not the host of the address. */
  readonly servername?: string | undefined
}

/** A request to the server. */
export interface HttpRequest {
  readonly method: string
  /** Path from the root of the server, percent-encoded, with its query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** May hold secrets: the caller wipes it. */
  readonly body?: Uint8Array | undefined
  readonly signal?: AbortSignal | undefined
}

/** An answer, whole. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** May hold secrets: the caller wipes it. */
  readonly body: Uint8Array
}

const mostBytes = 4 << 20
const mostSockets = 64
const idle = 30_000 // a kept connection that nobody uses ends after this many ms

/** A server, and the connections to it. */
export class HttpServer {
  /** Where it is: scheme, host, port and a path without a slash at its end. */
  readonly address: URL
  readonly #agent: Agent
  #closed = false

  /** `RangeError` where the address is not one of `http:` or `https:` without credentials, query and fragment. */
  constructor(address: string, tls: TlsOptions = {}) {
    const url = URL.canParse(address) ? new URL(address) : undefined
    const plain = url !== undefined && url.username === '' && url.password === '' && url.search + url.hash === ''
    if (!plain || !/^https?:$/.test(url.protocol)) {
      throw new RangeError('the address of a key manager is a URL such as https://kms.example.com:8200')
    }
    url.pathname = url.pathname.replace(/\/+$/, '')
    this.address = url
    const { ca, ...own } = tls
    const common = { keepAlive: true, maxSockets: mostSockets, timeout: idle }
    this.#agent =
      url.protocol === 'http:'
        ? new Agent(common)
        : new SecureAgent({ ...common, ...own, ...(ca === undefined ? {} : { ca: [ca].flat() }) })
  }

  /**
   * Sends a request. Rejects with the signal's reason where it aborts, with `KmsUnavailable` where there is no whole answer of at most
   * 4 MiB.
   */
  send(outgoing: HttpRequest): Promise<HttpAnswer> {
    const { method, path, headers, body, signal } = outgoing
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason)
      if (this.#closed) return reject(unreachable(new TypeError('the key manager was closed')))
      const { protocol, hostname, port, pathname } = this.address
      const sending = (protocol === 'http:' ? request : secureRequest)({
        agent: this.#agent,
        hostname: hostname.replace(/^\[(.*)\]$/, '$1'),
        port,
        method,
        path: pathname.replace(/^\/$/, '') + path,
        headers: { ...headers, 'content-length': body?.length ?? 0 },
      })
      const abort = () => {
        reject(signal?.reason)
        sending.destroy()
      }
      const close = () => signal?.removeEventListener('abort', abort)
      signal?.addEventListener('abort', abort)
      sending.on('error', error => {
        close()
        reject(unreachable(error))
      })
      sending.on('response', incoming => {
        received(incoming)
          .then(
            answer => resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: answer }),
            error => {
              sending.destroy()
              reject(unreachable(error))
            },
          )
          .finally(close)
      })
      sending.end(body)
    })
  }

  /** Ends all connections; calls that are under way reject. May be called twice. */
  close(): void {
    this.#closed = true
    this.#agent.destroy()
  }
}

const received = async (incoming: IncomingMessage): Promise<Uint8Array> => {
  const pieces: Buffer[] = []
  let size = 0
  try {
    for await (const piece of incoming) {
      const bytes: unknown = piece
      if (!Buffer.isBuffer(bytes)) continue
      size += bytes.length
      pieces.push(bytes)
      if (size > mostBytes) throw new RangeError(`the answer has more than ${mostBytes} bytes`)
    }
    return new Uint8Array(Buffer.concat(pieces))
  } finally {
    wipe(...pieces)
  }
}

const unreachable = (cause: unknown): SseError => new SseError('KmsUnavailable', { cause })

/** Seconds of a Retry-After header, in either of its forms; `undefined` where there is none. */
export const retryAfterOf = ({ 'retry-after': value }: IncomingHttpHeaders): number | undefined => {
  if (value === undefined) return undefined
  if (/^\d{1,9}$/.test(value)) return Number(value)
  const time = Date.parse(value)
  return Number.isNaN(time) ? undefined : Math.max(0, Math.ceil((time - Date.now()) / 1000))
}
