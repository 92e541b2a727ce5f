/** What a server counts, in the words of Prometheus. Needs prom-client. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { collectDefaultMetrics, Counter, Histogram, Registry } from 'prom-client'
import type { AccessLogEntry, KeyUseEntry } from '../gateway/options.ts'
import { kmsChannel, type KmsEvent } from '../kms/events.ts'

/** The last call of a key manager. */
export interface LastCall {
  /** `ok`, or the code of its error. */
  readonly outcome: string
  /** When it ended, ISO 8601. */
  readonly time: string
}

/** The counters of a server. */
export interface Metrics {
  /** Media type of {@link text}. */
  readonly contentType: string
  /** Counts a request that was answered. */
  request(entry: AccessLogEntry): void
  /** Counts a use of a master key. */
  keyUse(entry: KeyUseEntry): void
  /** The last call of each key manager, by instance. */
  readonly keyManagers: ReadonlyMap<string, LastCall>
  /** All of it, in the format of Prometheus. */
  text(): Promise<string>
  /** Stops listening to key managers. */
  close(): void
}

const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

const isEvent = (message: unknown): message is KmsEvent =>
  typeof message === 'object' && message !== null && 'instance' in message && 'outcome' in message

/** New counters, all at nothing. */
export const createMetrics = (): Metrics => {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const requests = new Counter({
    name: 'sse_kms_requests_total',
    help: 'Requests that were answered.',
    labelNames: ['action', 'status'],
    registers,
  })
  const durations = new Histogram({
    name: 'sse_kms_request_duration_seconds',
    help: 'Seconds from a request to the end of its answer.',
    labelNames: ['action'],
    buckets: seconds,
    registers,
  })
  const bytes = new Counter({
    name: 'sse_kms_bytes_total',
    help: 'Bytes of requests (in) and of answers (out).',
    labelNames: ['direction'],
    registers,
  })
  const errors = new Counter({
    name: 'sse_kms_errors_total',
    help: 'Requests that were refused or failed, by the code of the error.',
    labelNames: ['code'],
    registers,
  })
  const uses = new Counter({
    name: 'sse_kms_key_uses_total',
    help: 'Uses of master keys, also those that a key in memory answered.',
    labelNames: ['provider', 'operation', 'cached', 'outcome'],
    registers,
  })
  const calls = new Counter({
    name: 'sse_kms_key_manager_calls_total',
    help: 'Calls to key managers, also those that a cache answered.',
    labelNames: ['key_manager', 'operation', 'cached', 'outcome'],
    registers,
  })
  const callDurations = new Histogram({
    name: 'sse_kms_key_manager_call_duration_seconds',
    help: 'Seconds of a call to a key manager that no cache answered.',
    labelNames: ['key_manager', 'operation'],
    buckets: seconds,
    registers,
  })
  const keyManagers = new Map<string, LastCall>()
  const onCall = (message: unknown): void => {
    if (!isEvent(message)) return
    const { instance, operation, cached, outcome, milliseconds } = message
    calls.inc({ key_manager: instance, operation, cached: String(cached), outcome })
    if (cached) return
    callDurations.observe({ key_manager: instance, operation }, milliseconds / 1000)
    keyManagers.set(instance, { outcome, time: new Date().toISOString() })
  }
  subscribe(kmsChannel, onCall)
  return {
    contentType: registry.contentType,
    request: ({ action = 'none', status, milliseconds, received, sent, error }) => {
      requests.inc({ action, status: String(status) })
      durations.observe({ action }, milliseconds / 1000)
      bytes.inc({ direction: 'in' }, received)
      bytes.inc({ direction: 'out' }, sent)
      if (error !== undefined) errors.inc({ code: error.code })
    },
    keyUse: ({ provider = 'none', operation, cached, outcome }) =>
      uses.inc({ provider, operation, cached: String(cached), outcome }),
    keyManagers,
    text: () => registry.metrics(),
    close: () => void unsubscribe(kmsChannel, onCall),
  }
}
