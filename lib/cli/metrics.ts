/** What a server counts, in the words of Prometheus. Needs prom-client. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { AggregatorRegistry, collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { AccessLogEntry, KeyUseEntry } from '../gateway/options.ts'
import { kmsChannel, type KmsEvent } from '../kms/events.ts'
import { refusedChannel } from '../segment/node.ts'
import type { StoreCounts } from '../store/store.ts'

/** The last call of a key manager. */
export interface LastCall {
  /** `ok`, or the code of its error. */
  readonly outcome: string
  /** When it ended, ISO 8601. */
  readonly time: string
}

/** The last call of each key manager, by instance. */
export type LastCalls = Readonly<Record<string, LastCall>>

/** A metric and its values, as plain data. */
export type Metric = Omit<Awaited<ReturnType<Registry['getMetricsAsJSON']>>[number], 'collect'>

/** The counters of a server. */
export interface Metrics {
  /** Media type of {@link text}. */
  readonly contentType: string
  /** Counts a request that was answered. */
  request(entry: AccessLogEntry): void
  /** Counts a use of a master key. */
  keyUse(entry: KeyUseEntry): void
  /** Says that this process takes requests. */
  serving(): void
  /** Has the store asked how much there is, when somebody looks and the last answer is older than half a minute. */
  watch(ask: () => Promise<StoreCounts>): void
  /** Counts a worker that took the place of another. */
  workerReplaced(): void
  /** The last call of each key manager. */
  lastCalls(): LastCalls | Promise<LastCalls>
  /** All of it, as plain data. */
  values(): Promise<readonly Metric[]>
  /** All of it, in the format of Prometheus. */
  text(): Promise<string>
  /** Stops listening to key managers. */
  close(): void
}

const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

const isEvent = (message: unknown): message is KmsEvent =>
  typeof message === 'object' && message !== null && 'instance' in message && 'outcome' in message

/** Milliseconds between two questions to the store, and those that an answer is waited for. */
const [askEvery, answerWithin] = [30_000, 1000]

/** Does this at the first call, and at a later one where the last time is long ago. Does not wait for long. */
const nowAndThen = (work: () => Promise<void>): (() => Promise<void>) => {
  let last = -Infinity
  let running: Promise<void> | undefined
  return async () => {
    if (running === undefined && performance.now() - last >= askEvery) {
      last = performance.now()
      running = work().finally(() => {
        running = undefined
      })
    }
    const late = new Promise(resolve => setTimeout(resolve, answerWithin).unref())
    await Promise.race([running, late])
  }
}

/** Media type of the format of Prometheus. */
export const contentType: string = Registry.PROMETHEUS_CONTENT_TYPE

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
  const workers = new Gauge({
    name: 'sse_kms_workers',
    help: 'Processes that take requests.',
    registers,
  })
  const restarts = new Counter({
    name: 'sse_kms_worker_restarts_total',
    help: 'Workers that took the place of one that had ended.',
    registers,
  })
  const refused = new Counter({
    name: 'sse_kms_refused_bodies_total',
    help: 'Stored bodies of which a segment was refused, since it is not what was sealed.',
    registers,
  })
  let counts: (() => Promise<void>) | undefined
  const collect = () => counts?.()
  const uploads = new Gauge({
    name: 'sse_kms_open_uploads',
    help: 'Multipart uploads that are open in the store; an estimate where they are many.',
    aggregator: 'max',
    registers,
    collect,
  })
  const files = new Gauge({
    name: 'sse_kms_body_files',
    help: 'Files of bodies and parts in the store; an estimate where they are many.',
    aggregator: 'max',
    registers,
    collect,
  })
  const show = ({ openUploads, bodyFiles }: StoreCounts): void => {
    uploads.set(openUploads)
    files.set(bodyFiles)
  }
  const keyManagers = new Map<string, LastCall>()
  const onCall = (message: unknown): void => {
    if (!isEvent(message)) return
    const { instance, operation, cached, outcome, milliseconds } = message
    calls.inc({ key_manager: instance, operation, cached: String(cached), outcome })
    if (cached) return
    callDurations.observe({ key_manager: instance, operation }, milliseconds / 1000)
    keyManagers.set(instance, { outcome, time: new Date().toISOString() })
  }
  const onRefused = (): void => refused.inc()
  subscribe(kmsChannel, onCall)
  subscribe(refusedChannel, onRefused)
  return {
    contentType,
    request: ({ action = 'none', status, milliseconds, received, sent, error }) => {
      requests.inc({ action, status: String(status) })
      durations.observe({ action }, milliseconds / 1000)
      bytes.inc({ direction: 'in' }, received)
      bytes.inc({ direction: 'out' }, sent)
      if (error !== undefined) errors.inc({ code: error.code })
    },
    keyUse: ({ provider = 'none', operation, cached, outcome }) =>
      uses.inc({ provider, operation, cached: String(cached), outcome }),
    serving: () => workers.set(1),
    watch: ask => {
      counts = nowAndThen(() => ask().then(show, () => undefined))
    },
    workerReplaced: () => restarts.inc(),
    lastCalls: () => Object.fromEntries(keyManagers),
    values: () => registry.getMetricsAsJSON(),
    text: () => registry.metrics(),
    close: () => {
      unsubscribe(kmsChannel, onCall)
      unsubscribe(refusedChannel, onRefused)
    },
  }
}

/** Whose value counts where several processes have one: the slowest event loop is not to be lost in an average. */
const together = (metric: Metric): Metric =>
  /^nodejs_eventloop_lag_(?!min)/.test(metric.name) ? { ...metric, aggregator: 'max' } : metric

const sumOf = (processes: readonly (readonly Metric[])[]): Registry =>
  AggregatorRegistry.aggregate(processes.map(metrics => metrics.map(together)))

/** The metrics of several processes as those of one, in the format of Prometheus. */
export const sumUp = (processes: readonly (readonly Metric[])[]): Promise<string> => sumOf(processes).metrics()

/** What stays of the metrics of processes that are gone: what only grows. */
export const sumOfGone = async (processes: readonly (readonly Metric[])[]): Promise<readonly Metric[]> => {
  const grows = ({ type }: Metric): boolean => ['counter', 'histogram'].includes(String(type))
  return sumOf(processes.map(metrics => metrics.filter(grows))).getMetricsAsJSON()
}
