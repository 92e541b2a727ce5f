/** Requests and their answers on a connection: one at a time, in order (RFC 9112, section 9.3.2), and with it until the client is gone. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type ErrorCode, SseError } from '../../errors.ts'
import type { GatewayLimits } from '../limits.ts'
import type { HeldMemory } from './memory.ts'

/** A request and its answer. */
export interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** What the answer and the log name the request by. */
  readonly requestId: string
  /** Aborts, with an `SseError`, when the client is gone or the rest of its request cannot be read: what is done for it ends then. */
  readonly signal: AbortSignal
  /** What the client may take. */
  readonly limits: GatewayLimits
  /** What is buffered for the request. */
  readonly memory: HeldMemory
}

/** Requests that may wait on a connection. No client sends so many without reading an answer. */
const mostWaiting = 100

/** Milliseconds that a client may go on to send a body that nobody reads, once it was answered. */
const unreadTime = 2000

/** A connection that requests come on. */
export class Connection {
  readonly #socket: Socket
  readonly #open = new Map<IncomingMessage, AbortController>()
  #last: Promise<void> = Promise.resolve()
  /** Of requests that come one after the other, as nearly all do: making one for each would cost as much as a read of the index. */
  readonly #shared = new AbortController()

  /** One for each socket. */
  constructor(socket: Socket) {
    this.#socket = socket
    socket.once('close', () => this.#abort([...this.#open.keys()], 'ClientClosedRequest'))
  }

  /** Runs `serve` once the requests before it are answered. `serve` does not reject, and resolves when its answer has left or never will. */
  exchange(req: IncomingMessage, serve: (signal: AbortSignal) => Promise<void>): void {
    if (this.#open.size >= mostWaiting) {
      this.#socket.destroy()
      return
    }
    const controller = this.#open.size === 0 && !this.#shared.signal.aborted ? this.#shared : new AbortController()
    this.#open.set(req, controller)
    const before = this.#last
    const run = async (): Promise<void> => {
      await before
      await serve(controller.signal)
      this.#open.delete(req)
      this.#endBody(req)
    }
    this.#last = run()
  }

  /** Fails the request whose body cannot be read on; resolves with whether there is none, once all that came before is answered. */
  async fail(code: ErrorCode): Promise<boolean> {
    const unread = [...this.#open.keys()].filter(req => !req.complete)
    this.#abort(unread, code)
    await this.#last
    return unread.length === 0
  }

  #abort(requests: readonly IncomingMessage[], code: ErrorCode): void {
    for (const req of requests) this.#open.get(req)?.abort(new SseError(code))
  }

  /** A body that is still coming behind its answer may not keep the connection. */
  #endBody(req: IncomingMessage): void {
    if (req.complete || this.#socket.destroyed) return
    const timer = setTimeout(() => this.#socket.destroy(), unreadTime)
    const over = () => clearTimeout(timer)
    req.once('end', over).once('close', over)
  }
}
