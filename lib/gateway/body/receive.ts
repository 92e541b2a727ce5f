/** The bytes of a request as they come, and how long they may take. Nothing is read before it is asked for. */
import { finished, type Readable } from 'node:stream'
import { SseError } from '../../errors.ts'
import type { Exchange } from '../http/exchange.ts'
import type { GatewayLimits } from '../limits.ts'
import { Pace, tooSlow } from '../http/pace.ts'

/** What a reader needs to know of the exchange. */
export type ReaderOptions = Pick<Exchange, 'signal' | 'limits'>

/** Reads a body. Never destroys its source, so that an error can still be answered. `release` it, whatever happens. */
export class BodyReader {
  readonly #source: Readable
  readonly #limits: GatewayLimits
  readonly #cleanUp: () => void
  readonly #late = (): void => this.#fail(tooSlow)
  #pace: Pace
  /** Ends what waits: something came, or nothing will. */
  #wake = (): void => undefined
  #over = false
  /** Makes what is thrown: most bodies end well, and an error costs its stack. */
  #failure: (() => unknown) | undefined

  /** Begins to listen to the source, which is to come whole in the time of a document, until `stream` says otherwise. */
  constructor(source: Readable, { signal, limits }: ReaderOptions) {
    this.#source = source
    this.#limits = limits
    this.#pace = new Pace({ seconds: limits.documentSeconds, late: this.#late })
    const onReadable = () => this.#wake()
    const onAbort = () => this.#fail(() => signal.reason)
    const stopWatching = finished(source, { writable: false }, cause => {
      this.#over = true
      if (cause) this.#fail(() => new SseError('ClientClosedRequest', { cause }))
      this.#wake()
    })
    source.on('readable', onReadable)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort)
    this.#cleanUp = () => {
      stopWatching()
      source.off('readable', onReadable)
      signal.removeEventListener('abort', onAbort)
      this.#pace.stop()
    }
  }

  /** From here on the source is a stream: as long as it likes, at the rate that bodies have to come at. */
  stream(): this {
    const { stallSeconds, bytesPerSecond } = this.#limits
    this.#pace.stop()
    this.#pace = new Pace({ seconds: stallSeconds, bytesPerSecond, late: this.#late })
    return this
  }

  /** The next bytes; `undefined` at the end. `ClientClosedRequest`, `RequestTimeout`, or the reason of the signal. */
  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure()
      const chunk: unknown = this.#source.read()
      if (chunk instanceof Uint8Array) {
        this.#pace.moved(chunk.length)
        return chunk
      }
      if (this.#over) return undefined
      this.#pace.wait()
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
    }
  }

  /** Lets go of the source; what waits for it fails. May be called twice. */
  release(): void {
    this.#fail(() => new SseError('ClientClosedRequest'))
    this.#cleanUp()
  }

  #fail(error: () => unknown): void {
    this.#failure ??= error
    this.#wake()
  }
}
