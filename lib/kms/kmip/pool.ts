/** The connections to a KMIP server: some at most, one request in flight on each, and a bounded queue before them. */
import { SseError } from '../../errors.ts'
import { Connection, type Endpoint } from './connection.ts'
import { unreachable } from './failure.ts'

/** Bounds of a {@link Pool}. */
export interface PoolOptions {
  /** Connections at once. */
  readonly connections: number
  /** Requests that wait for a connection. */
  readonly queue: number
}

/** How a request is sent. */
export interface Sending {
  readonly signal?: AbortSignal | undefined
  /** It is never sent again, and so has a connection of its own that was not idle before. */
  readonly once?: boolean | undefined
}

/** The connections to one server. */
export class Pool {
  readonly #endpoint: Endpoint
  readonly #options: PoolOptions
  readonly #idle: Connection[] = []
  readonly #open = new Set<Connection>()
  /** Requests that wait, the longest first; called when it is their turn, or the pool was closed. */
  readonly #waiting = new Set<() => void>()
  #running = 0
  #closed = false

  /** Connects when the first request comes. */
  constructor(endpoint: Endpoint, options: PoolOptions) {
    this.#endpoint = endpoint
    this.#options = options
  }

  /**
   * Sends a request and answers what the server says. Where the connection breaks, it is sent once more over a new one, unless it must not be.
   * `KmsThrottled` where too many wait already.
   */
  async send(message: Uint8Array, { signal, once = false }: Sending): Promise<Uint8Array> {
    signal?.throwIfAborted()
    await this.#turn(signal)
    try {
      const first = await this.#attempt(message, signal, once)
      if (first instanceof Uint8Array) return first
      if (once || this.#closed) throw unreachable(first.lost)
      const second = await this.#attempt(message, signal, true)
      if (second instanceof Uint8Array) return second
      throw unreachable(second.lost)
    } finally {
      this.#running--
      this.#next()
    }
  }

  /** Ends all connections and everything that waits. */
  close(): void {
    this.#closed = true
    const cause = new Error('the key manager was closed')
    for (const connection of this.#open) connection.close(cause)
    this.#idle.length = 0
    this.#open.clear()
    for (const go of this.#waiting) go()
    this.#waiting.clear()
  }

  async #attempt(message: Uint8Array, signal: AbortSignal | undefined, fresh: boolean) {
    if (this.#closed) throw closed()
    const idle = this.#takeIdle()
    if (fresh && idle !== undefined) this.#drop(idle)
    const connection = fresh || idle === undefined ? await Connection.open(this.#endpoint, signal) : idle
    if (this.#closed) {
      connection.close(undefined)
      throw closed()
    }
    this.#open.add(connection)
    try {
      return await connection.request(message, signal)
    } finally {
      if (connection.idle && !this.#closed) this.#idle.push(connection)
      else this.#drop(connection)
    }
  }

  #takeIdle(): Connection | undefined {
    for (;;) {
      const connection = this.#idle.pop()
      if (connection === undefined || connection.idle) return connection
      this.#open.delete(connection)
    }
  }

  #drop(connection: Connection): void {
    this.#open.delete(connection)
    connection.close(undefined)
  }

  /** Waits until fewer requests are in flight than there may be connections. */
  async #turn(signal: AbortSignal | undefined): Promise<void> {
    if (this.#running < this.#options.connections) {
      this.#running++
      return
    }
    if (this.#waiting.size >= this.#options.queue) throw tooMany(this.#options.queue)
    await new Promise<void>((resolve, reject) => {
      const leave = () => {
        this.#waiting.delete(go)
        signal?.removeEventListener('abort', abort)
      }
      const go = () => {
        leave()
        if (this.#closed) return reject(closed())
        this.#running++
        resolve()
      }
      const abort = () => {
        leave()
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', abort)
      this.#waiting.add(go)
    })
  }

  #next(): void {
    if (this.#running >= this.#options.connections) return
    const [go] = this.#waiting
    go?.()
  }
}

const closed = (): SseError =>
  new SseError('KmsUnavailable', { message: 'The key manager was closed. Make a new one with kmipKms.' })

const tooMany = (queue: number): SseError =>
  new SseError('KmsThrottled', {
    message: `${queue} requests wait for the KMIP server already. Try again later, or allow more connections.`,
  })
