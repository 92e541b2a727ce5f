/** One call to a provider, bounded: it ends when the provider answers, when its deadline has passed or when the caller aborts. */
import { SseError } from '../errors.ts'
import { type CallOptions, type KeyUse, providerCodes } from './provider.ts'

/** What {@link bounded} calls, and how. */
export interface BoundedCall<T> {
  /** Name of the provider, for messages. */
  readonly provider: string
  /** Milliseconds that the provider has. */
  readonly deadline: number
  /** What the caller gave. */
  readonly call: CallOptions | undefined
  /** The call itself; its `signal` aborts when the answer is no longer needed. */
  readonly run: (call: CallOptions) => Promise<T>
  /** Wipes an answer that came too late. */
  readonly discard: (answer: T) => void
}

/**
 * Calls a provider. Rejects with the signal's reason where the caller aborts, at once where it did so before; with `KmsUnavailable` where
 * the deadline passes first; and with the provider's own error, which is `KmsUnavailable` too unless it has one of {@link providerCodes}.
 */
export const bounded = <T>({ provider, deadline, call, run, discard }: BoundedCall<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    const outer = call?.signal
    if (outer?.aborted === true) {
      reject(outer.reason)
      return
    }
    let open = true
    const given = new GivenCall(call)
    const close = () => {
      open = false
      clearTimeout(timer)
      outer?.removeEventListener('abort', abort)
    }
    const giveUp = (reason: unknown) => {
      close()
      reject(reason)
      given.abort(reason)
    }
    const abort = () => giveUp(outer?.reason)
    const timer = setTimeout(() => giveUp(tooLate(provider, deadline)), deadline)
    outer?.addEventListener('abort', abort)
    started(run, given).then(
      answer => {
        if (!open) return discardLate(discard, answer)
        close()
        resolve(answer)
      },
      (error: unknown) => {
        if (!open) return
        close()
        reject(asProviderError(error))
      },
    )
  })

/** What a provider is given. Its signal is made when it is asked for: an embedded key store never does. */
class GivenCall implements CallOptions {
  #controller: AbortController | undefined
  #reason: { readonly reason: unknown } | undefined
  readonly fresh: boolean | undefined
  readonly onCached: CallOptions['onCached']

  constructor(call: CallOptions | undefined) {
    this.fresh = call?.fresh
    this.onCached = call?.onCached
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#reason !== undefined) this.#controller.abort(this.#reason.reason)
    }
    return this.#controller.signal
  }

  abort(reason: unknown): void {
    this.#reason = { reason }
    this.#controller?.abort(reason)
  }
}

/** Runs a use of a master key, and tells whoever asked for it; `run` is given what a cache calls, and answers with the version that it used. */
export const reportUse = async <T>(
  call: CallOptions | undefined,
  use: Pick<KeyUse, 'operation' | 'provider' | 'keyId'>,
  run: (onCached: () => void) => Promise<T>,
  versionOf: (answer: T | undefined) => number | undefined,
): Promise<T> => {
  if (call?.onKeyUse === undefined) return run(() => undefined)
  let cached = false
  const tell = (outcome: string, answer: T | undefined) =>
    call.onKeyUse?.({ ...use, version: versionOf(answer), cached, outcome })
  try {
    const answer = await run(() => {
      cached = true
    })
    tell('ok', answer)
    return answer
  } catch (error) {
    const aborted = call.signal?.aborted === true && error === call.signal.reason
    tell(aborted ? 'aborted' : error instanceof SseError ? error.code : 'InternalError', undefined)
    throw error
  }
}

/** A promise, or the reason of a signal that aborts first; the work itself goes on. */
export const orAborted = <T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> => {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    const close = () => signal.removeEventListener('abort', abort)
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort)
    work.then(resolve, reject).then(close, close)
  })
}

// Asynchronous, so that what a provider throws before it has a promise is a rejection too.
const started = async <T>(run: BoundedCall<T>['run'], call: CallOptions): Promise<T> => run(call)

const discardLate = <T>(discard: (answer: T) => void, answer: T): void => {
  try {
    discard(answer)
  } catch {
    // It was no key.
  }
}

const tooLate = (provider: string, deadline: number): SseError =>
  new SseError('KmsUnavailable', {
    message: `The KMS ${provider} did not answer within ${deadline} ms. Try again later, or allow more time with deadline.`,
  })

/** The error itself where its code is one of a provider's; else `KmsUnavailable` with the error as its cause. */
const asProviderError = (error: unknown): SseError =>
  error instanceof SseError && providerCodes.has(error.code) ? error : new SseError('KmsUnavailable', { cause: error })
