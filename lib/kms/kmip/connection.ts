/** One TLS connection to a KMIP server, with one request in flight at most. */
import { connect, type SecureContext, type TLSSocket } from 'node:tls'
import { wipe } from '../../bytes.ts'
import { unreachable, wrongAnswer } from './failure.ts'
import { Frame } from './frame.ts'

/** Where the server is, and what is sent and checked there. */
export interface Endpoint {
  readonly host: string
  readonly port: number
  readonly servername: string | undefined
  readonly secureContext: SecureContext
  /** Bytes of the longest answer. */
  readonly maxAnswer: number
}

/** The connection broke before the answer was there: whether the server did what it was asked is not known. */
export interface Lost {
  readonly lost: unknown
}

interface Pending {
  readonly frame: Frame
  readonly resolve: (outcome: Uint8Array | Lost) => void
  readonly reject: (reason: unknown) => void
}

/** An open connection. It does not keep the process alive while nothing is asked. */
export class Connection {
  readonly #socket: TLSSocket
  readonly #maxAnswer: number
  #pending: Pending | undefined
  #cause: unknown = new Error('the server closed the connection')

  private constructor(socket: TLSSocket, maxAnswer: number) {
    this.#socket = socket
    this.#maxAnswer = maxAnswer
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    socket.on('error', error => (this.#cause = error))
    socket.on('end', () => socket.destroy())
    socket.on('close', () => this.#settle()?.resolve({ lost: this.#cause }))
    socket.unref()
  }

  /** Connects. `KmsUnavailable` where that fails, the signal's reason where it aborts. */
  static open(endpoint: Endpoint, signal: AbortSignal | undefined): Promise<Connection> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const { host, port, servername, secureContext, maxAnswer } = endpoint
      const socket = connect({ host, port, secureContext, ...(servername === undefined ? {} : { servername }) })
      const settle = () => {
        signal?.removeEventListener('abort', abort)
        socket.removeAllListeners()
      }
      const fail = (reason: unknown) => {
        settle()
        socket.on('error', () => undefined) // what is said after the first error
        socket.destroy()
        reject(reason)
      }
      const abort = () => fail(signal?.reason)
      signal?.addEventListener('abort', abort)
      socket.on('error', error => fail(unreachable(error)))
      socket.on('close', () => fail(unreachable(new Error('the server closed the connection'))))
      socket.on('secureConnect', () => {
        settle()
        socket.setNoDelay(true)
        resolve(new Connection(socket, maxAnswer))
      })
    })
  }

  /** Whether it is open and no request is in flight. */
  get idle(): boolean {
    return this.#pending === undefined && !this.#socket.destroyed
  }

  /**
   * Sends a request and takes its answer, which the caller wipes. Rejects with the signal's reason where it aborts and with `KmsUnavailable`
   * where the answer cannot be right; the connection is closed then, so that no later request takes the answer to an earlier one.
   */
  async request(message: Uint8Array, signal: AbortSignal | undefined): Promise<Uint8Array | Lost> {
    signal?.throwIfAborted()
    const abort = () => this.#fail(signal?.reason)
    try {
      return await new Promise((resolve, reject) => {
        this.#pending = { frame: new Frame(this.#maxAnswer), resolve, reject }
        if (this.#socket.destroyed) this.#settle()?.resolve({ lost: this.#cause })
        signal?.addEventListener('abort', abort)
        this.#socket.ref()
        this.#socket.write(message)
      })
    } finally {
      signal?.removeEventListener('abort', abort)
      this.#socket.unref()
    }
  }

  /** Closes it; a request in flight is lost. */
  close(cause: unknown): void {
    this.#cause = cause
    this.#socket.destroy()
  }

  #take(chunk: Uint8Array): void {
    try {
      if (this.#pending === undefined) wrongAnswer('nothing was asked')
      const answer = this.#pending?.frame.push(chunk)
      if (answer === undefined) return
      const pending = this.#pending
      this.#pending = undefined
      pending?.resolve(answer)
    } catch (error) {
      this.#fail(error)
    } finally {
      wipe(chunk) // it may be of a data key, and nothing else has it
    }
  }

  #fail(reason: unknown): void {
    this.#settle()?.reject(reason)
    this.close(reason)
  }

  /** The request in flight, which is none any more, and whose answer is wiped. */
  #settle(): Pending | undefined {
    const pending = this.#pending
    this.#pending = undefined
    pending?.frame.wipe()
    return pending
  }
}
