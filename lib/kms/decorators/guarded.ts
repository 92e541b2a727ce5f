/** All decorators in their order: observation, cache, proof, deadline, retry, breaker, bulkhead, then the key manager itself. */
import type { KeyManager } from '../manager.ts'
import { type KeyCacheOptions, withCache } from './cache.ts'
import {
  type BreakerOptions,
  type BulkheadOptions,
  observed,
  type RetryOptions,
  withBreaker,
  withBulkhead,
  withDeadline,
  withProof,
  withRetry,
} from './policies.ts'

/** Bounds of each decorator; `false` leaves it out. */
export interface GuardOptions {
  /** Milliseconds of a call with all of its tries. Default 5,000. */
  readonly deadline?: number | undefined
  /** How often a call is tried. */
  readonly retry?: RetryOptions | false | undefined
  /** When the key manager is left alone. */
  readonly breaker?: BreakerOptions | false | undefined
  /** Calls under way at once. */
  readonly bulkhead?: BulkheadOptions | false | undefined
  /**
   * Whether each new data key is unwrapped once before it is used. It is one more call for each object without a bucket key; without it, an
   * object is lost whose blob the key manager got wrong. Default `true`.
   */
  readonly proof?: boolean | undefined
  /** What is kept in memory. */
  readonly cache?: KeyCacheOptions | false | undefined
}

/**
 * A key manager that a server may depend on: its calls end in time, are tried again where that helps, are bounded in number, stop where it is
 * gone, and are told on {@link kmsChannel}; unwrapped data keys are kept for a time. Retries of an SDK must be off.
 *
 * {@includeCode ../../../test/examples/kms.test.ts#guarded}
 */
export const guarded = (manager: KeyManager, options: GuardOptions = {}): KeyManager & AsyncDisposable => {
  const { deadline, retry = {}, breaker = {}, bulkhead = {}, proof = true, cache = {} } = options
  const bound = bulkhead === false ? manager : withBulkhead(manager, bulkhead)
  const broken = breaker === false ? bound : withBreaker(bound, breaker)
  const tried = retry === false ? broken : withRetry(broken, retry)
  const timed = withDeadline(tried, deadline)
  const proved = proof ? withProof(timed) : timed
  return observed(cache === false ? proved : withCache(proved, cache))
}
