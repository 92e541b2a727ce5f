/**
 * What keeps a slow, throttled or broken key manager from taking a server with it: deadline, retry and breaker, over cockatiel, and bulkhead; and
 * what makes its calls visible. Each takes a key manager and gives one.
 */
import { channel } from 'node:diagnostics_channel'
import {
  circuitBreaker,
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  DelegateBackoff,
  handleWhen,
  isBrokenCircuitError,
  retry,
} from 'cockatiel'
import { SseError } from '../../errors.ts'
import { bounded } from '../call.ts'
import { proving } from '../checked.ts'
import { Gate } from '../gate.ts'
import type { KeyManager } from '../manager.ts'
import type { CallOptions } from '../provider.ts'
import { kmsChannel, type KmsEvent, type KmsOperation } from '../events.ts'
import { around, discardAnswer, endsWithSignal } from './around.ts'

const atLeast = (name: string, value: number, least: number): number => {
  if (Number.isSafeInteger(value) && value >= least) return value
  throw new RangeError(`${name} is an integer of ${least} or more`)
}

/**
 * Ends every call after `deadline` milliseconds, by default 5,000, with `KmsUnavailable`; also one that never answers.
 *
 * {@includeCode ../../../test/examples/kms.test.ts#decorators}
 */
export const withDeadline = (manager: KeyManager, deadline = 5000): KeyManager & AsyncDisposable => {
  const given = { provider: manager.instance, deadline: atLeast('deadline', deadline, 1), discard: discardAnswer }
  return around(manager, ({ call }, run) => bounded({ ...given, call, run }))
}

/** How often, and how far apart, a call is tried. */
export interface RetryOptions {
  /** Tries of a call, the first one counted. Default 3. */
  readonly tries?: number | undefined
  /** The most milliseconds before the second try; twice that before the third. What is waited is random below (full jitter). Default 100. */
  readonly wait?: number | undefined
  /** The most seconds that a key manager may ask for with Retry-After; where it asks for more, the call fails at once. Default 2. */
  readonly longestRetryAfter?: number | undefined
}

const codeOf = (error: unknown): string | undefined => (error instanceof SseError ? error.code : undefined)
const isTransient = (error: unknown): boolean => ['KmsThrottled', 'KmsUnavailable'].includes(codeOf(error) ?? '')

/** Errors with which breaker and bulkhead declined a call that was never made: to try again at once would only make callers wait. */
const declined = new WeakSet<SseError>()
const decline = (code: 'KmsThrottled' | 'KmsUnavailable', message: string, retryAfter: number): never => {
  const error = new SseError(code, { message, retryAfter })
  declined.add(error)
  throw error
}

/** What is not asked for twice: the first try may have done it. */
const once: ReadonlySet<KmsOperation> = new Set(['create', 'rotate'])

/**
 * Tries a call again that was throttled or found the key manager unreachable. Keys are never made twice. What breaker and bulkhead decline is
 * not tried again.
 *
 * {@includeCode ../../../test/examples/kms.test.ts#decorators}
 */
export const withRetry = (manager: KeyManager, options: RetryOptions = {}): KeyManager & AsyncDisposable => {
  const { tries = 3, wait = 100, longestRetryAfter = 2 } = options
  const again = (error: unknown): boolean =>
    error instanceof SseError &&
    isTransient(error) &&
    !declined.has(error) &&
    (error.retryAfter ?? 0) <= longestRetryAfter
  const backoff = new DelegateBackoff<{ readonly attempt: number; readonly result: object }>(({ attempt, result }) => {
    const asked = 'error' in result && result.error instanceof SseError ? result.error.retryAfter : undefined
    return asked === undefined ? Math.random() * wait * 2 ** (attempt - 1) : asked * 1000
  })
  const policy = retry(handleWhen(again), { maxAttempts: atLeast('tries', tries, 1) - 1, backoff })
  return around(manager, ({ operation, call }, run) => {
    if (once.has(operation)) return run(call)
    // The wait itself cannot be aborted: the caller goes, and the next try sees it.
    const tried = async () => {
      call.signal?.throwIfAborted()
      return run(call)
    }
    return endsWithSignal(() => policy.execute(tried), call)
  })
}

/** When a key manager is left alone, and for how long. */
export interface BreakerOptions {
  /** Calls that fail one after the other, with `KmsUnavailable`, until no further one is made. Default 5. */
  readonly failures?: number | undefined
  /** Milliseconds until one call tries whether it is back. Default 2,000. */
  readonly rest?: number | undefined
}

/** A call that its caller did not wait for; `cause` is what it ended with. */
class Left extends Error {
  override readonly name = 'Left'
}

/**
 * Leaves a key manager alone that cannot be reached: calls fail at once with `KmsUnavailable`, until one that tries it succeeds.
 *
 * {@includeCode ../../../test/examples/kms.test.ts#decorators}
 */
export const withBreaker = (manager: KeyManager, options: BreakerOptions = {}): KeyManager & AsyncDisposable => {
  const { failures = 5, rest = 2000 } = options
  // A caller that leaves says nothing of the key manager; but one that leaves while its call tries it has not shown that it is back.
  const failed = (error: unknown): boolean =>
    codeOf(error) === 'KmsUnavailable' || (error instanceof Left && policy.state === CircuitState.HalfOpen)
  const policy: CircuitBreakerPolicy = circuitBreaker(handleWhen(failed), {
    halfOpenAfter: atLeast('rest', rest, 1),
    breaker: new ConsecutiveBreaker(atLeast('failures', failures, 1)),
  })
  const open = (): never => {
    const message = `The KMS ${manager.instance} was not reached ${failures} times in a row, so it is left alone for ${rest} ms. Try again later.`
    return decline('KmsUnavailable', message, Math.ceil(rest / 1000))
  }
  return around(manager, async ({ call }, run) => {
    if (policy.state === CircuitState.HalfOpen) return open() // one call tries it, and the others do not wait for that
    const tried = async () => {
      try {
        return await endsWithSignal(run, call)
      } catch (error) {
        const left = call.signal?.aborted === true && codeOf(error) !== 'KmsUnavailable'
        throw left ? new Left('the caller left', { cause: error }) : error
      }
    }
    try {
      return await policy.execute(tried)
    } catch (error) {
      if (error instanceof Left) throw error.cause
      return isBrokenCircuitError(error) ? open() : Promise.reject(error)
    }
  })
}

/**
 * Unwraps each new data key once before it is handed out, with one more call: a key manager that answers with the blob of another key, or with
 * one that it cannot read, is `KmsUnavailable`, and no object is lost under it.
 *
 * {@includeCode ../../../test/examples/kms.test.ts#decorators}
 */
export const withProof = (manager: KeyManager): KeyManager & AsyncDisposable => {
  const plain = around(manager, ({ call }, run) => run(call))
  return { ...plain, generateDataKey: proving(plain).generateDataKey }
}

/** How many calls are under way at once. */
export interface BulkheadOptions {
  /** Calls under way at once. Default 64. */
  readonly calls?: number | undefined
  /** Calls that wait for one of these; over it, `KmsThrottled`. Default 1,024. */
  readonly queue?: number | undefined
}

/**
 * Bounds the calls that are under way at once, and those that wait.
 *
 * {@includeCode ../../../test/examples/kms.test.ts#decorators}
 */
export const withBulkhead = (manager: KeyManager, options: BulkheadOptions = {}): KeyManager & AsyncDisposable => {
  const { calls = 64, queue = 1024 } = options
  const message = `${calls} calls to the KMS ${manager.instance} are under way and ${queue} wait. Try again later.`
  const full = (): never => decline('KmsThrottled', message, 1)
  const gate = new Gate(atLeast('calls', calls, 1), atLeast('queue', queue, 0), full)
  return around(manager, async ({ call }, run) => {
    await gate.enter(call.signal)
    try {
      return await endsWithSignal(run, call)
    } finally {
      gate.leave()
    }
  })
}

/**
 * Tells subscribers of {@link kmsChannel} of every call; never of a key's bytes.
 *
 * {@includeCode ../../../test/examples/kms.test.ts#decorators}
 */
export const observed = (manager: KeyManager): KeyManager & AsyncDisposable => {
  const events = channel(kmsChannel)
  const { name: provider, instance } = manager
  return around(manager, async ({ operation, key, call }, run) => {
    if (!events.hasSubscribers) return run(call)
    const since = performance.now()
    let cached = false
    const tell = (outcome: string): void => {
      const event: KmsEvent = {
        provider,
        instance,
        operation,
        key,
        milliseconds: performance.now() - since,
        cached,
        outcome,
      }
      events.publish(event)
    }
    const given: CallOptions = {
      ...{ signal: call.signal, fresh: call.fresh },
      onCached: () => {
        cached = true
        call.onCached?.()
      },
    }
    try {
      const answer = await run(given)
      tell('ok')
      return answer
    } catch (error) {
      tell(codeOf(error) ?? (call.signal?.aborted === true ? 'aborted' : 'InternalError'))
      throw error
    }
  })
}
