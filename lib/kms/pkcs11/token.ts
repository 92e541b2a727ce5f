/** A token as the provider uses it: logged in when it is first needed and whenever its sessions were lost, so many calls at a time. */
import type { Handle } from 'pkcs11js'
import type { MaybePromise } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { Gate } from '../gate.ts'
import type { CallOptions } from '../provider.ts'
import { connect, type Connection, type TokenOptions } from './connection.ts'
import { asFailure, endsSessions, refusesPin } from './failure.ts'

/** What is done with a session. */
export type SessionWork<T> = (connection: Connection, session: Handle) => MaybePromise<T>

/** How a token is used. */
export interface UseOptions extends TokenOptions {
  readonly pin: () => MaybePromise<string>
  readonly sessions: number
  readonly queue: number
}

/** After a login that failed the next is tried this many milliseconds later. */
const pause = 1000

const tooMany = (): never => {
  const message = 'Too many calls wait for a session of the token. Try again later.'
  throw new SseError('KmsThrottled', { message })
}

/** A token. */
export class Token {
  readonly #options: UseOptions
  readonly #gate: Gate
  #connection: Connection | undefined
  #connecting: Promise<Connection> | undefined
  #failed: { readonly error: unknown; readonly at: number } | undefined
  #refusedPin: string | undefined
  #closed = false

  constructor(options: UseOptions) {
    this.#options = options
    this.#gate = new Gate(options.sessions, options.queue, tooMany)
  }

  /**
   * Does work in a session that is logged in; where `writing`, in one that may change keys. Rejects at once where the caller aborts: an answer
   * that comes later goes to `discard`.
   */
  use<T>(
    call: CallOptions | undefined,
    work: SessionWork<T>,
    { writing = false, discard = () => undefined }: { writing?: boolean; discard?: (answer: T) => void } = {},
  ): Promise<T> {
    const signal = call?.signal
    return new Promise((resolve, reject) => {
      let wanted = true
      const abort = () => {
        wanted = false
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#work(signal, work, writing)
        .then(answer => (wanted ? resolve(answer) : discard(answer)), reject)
        .finally(() => signal?.removeEventListener('abort', abort))
    })
  }

  /** Ends the sessions; those that work, when their work is done. */
  close(): void {
    this.#closed = true
    this.#connection?.end()
  }

  async #work<T>(signal: AbortSignal | undefined, work: SessionWork<T>, writing: boolean): Promise<T> {
    await this.#gate.enter(signal)
    try {
      const connection = await this.#connected()
      signal?.throwIfAborted()
      connection.module.working++
      try {
        const act = (session: Handle): MaybePromise<T> => work(connection, session)
        return await (writing ? connection.inWritingSession(act) : connection.inSession(act))
      } catch (error) {
        if (endsSessions(error)) connection.end()
        throw asFailure(error)
      } finally {
        connection.module.working--
      }
    } finally {
      this.#gate.leave()
    }
  }

  async #connected(): Promise<Connection> {
    if (this.#closed) throw new TypeError('the key manager was closed already')
    if (this.#connection?.alive === true) return this.#connection
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined
    })
    return this.#connecting
  }

  async #connect(): Promise<Connection> {
    this.#connection?.end()
    if (this.#failed !== undefined && performance.now() - this.#failed.at < pause) throw this.#failed.error
    try {
      this.#failed = undefined
      const connection = await this.#logIn(await this.#pin())
      this.#connection = connection
      if (this.#closed) connection.end()
      return connection
    } catch (error) {
      this.#failed = { error: asFailure(error), at: performance.now() }
      throw this.#failed.error
    }
  }

  async #pin(): Promise<string> {
    try {
      return await this.#options.pin()
    } catch (cause) {
      throw new SseError('KmsUnavailable', { message: 'The PIN of the token cannot be had: pin failed.', cause })
    }
  }

  async #logIn(pin: string): Promise<Connection> {
    if (pin === this.#refusedPin) {
      const message =
        'The token refused this PIN before. Check pin; where it is a text, start again with the right one.'
      throw new SseError('KeyAccessDenied', { message })
    }
    try {
      return await connect(this.#options, pin)
    } catch (error) {
      if (refusesPin(error)) this.#refusedPin = pin
      throw error
    }
  }
}
