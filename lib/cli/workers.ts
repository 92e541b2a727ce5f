/**
 * A server of several processes: this one, the primary, starts workers over node:cluster and holds what there is once: the listening socket, the
 * operator's address, the signals. It takes no request and opens no store. A worker that ends is replaced.
 *
 * Workers take connections from the socket themselves: those that the primary hands out would wait for ever for a worker that was killed meanwhile.
 */
import cluster from 'node:cluster'
import { SseError } from '../errors.ts'
import { type AdminFacts, startAdmin, stopping } from './admin.ts'
import type { LoadedConfig } from './config.ts'
import { needPackages } from './failure.ts'
import { warn } from './log.ts'
import type { LastCall, Metric, Metrics } from './metrics.ts'
import { defaultGrace, type RunningGateway } from './server.ts'
import { type Takeover, takeoverOf } from './takeover.ts'
import type { Question } from './worker-messages.ts'
import { WorkerProcess } from './worker-process.ts'

/** So many ends of workers within so many milliseconds end the program. */
const mostEnds = 5
const endsWithin = 60_000

/** Milliseconds until a worker is started in the place of one that never took requests: fewer than five of these end within a minute. */
const again = 20_000

/** Milliseconds beyond those for requests that a worker has to end in, before it is killed. */
const lastGrace = 10_000

/** Milliseconds that workers have for a changed configuration. */
const reloadTime = 10_000

/** The workers of a server. */
class Workers {
  /** Resolves when they end again and again. */
  readonly broken: Promise<SseError>
  readonly #loaded: LoadedConfig
  readonly #metrics: Metrics | undefined
  readonly #all = new Set<WorkerProcess>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #takeover: Takeover
  #ends: readonly number[] = []
  #gone: readonly Metric[] = []
  #isFirst = true
  #isStopping = false
  #break: (error: SseError) => void = () => undefined

  constructor(loaded: LoadedConfig, takeover: Takeover, metrics: Metrics | undefined) {
    this.#loaded = loaded
    this.#takeover = takeover
    this.#metrics = metrics
    this.broken = new Promise(resolve => {
      this.#break = resolve
    })
  }

  /** Starts the first one, alone, since it may make what all of them need; then the others. Resolves with their address. */
  async start(): Promise<string> {
    const address = await this.#add().ready
    this.#isFirst = false
    const others = Array.from({ length: (this.#loaded.config.workers ?? 1) - 1 }, () => this.#add().ready)
    await Promise.allSettled(others)
    return address
  }

  /** Those that take requests. */
  get ready(): readonly WorkerProcess[] {
    return [...this.#all].filter(({ isReady }) => isReady)
  }

  /** Why no request is taken. */
  obstacles(): readonly string[] {
    return this.#isStopping ? [stopping] : this.ready.length === 0 ? ['no worker takes requests'] : []
  }

  /** Rejects where no worker reaches the store. */
  async askStore(): Promise<void> {
    const asked = this.ready.map(worker => worker.ask({ kind: 'store' }))
    if (asked.length === 0) return
    await Promise.any(asked).catch((error: unknown) => {
      throw error instanceof AggregateError ? error.errors[0] : error
    })
  }

  /** The metrics of all of them, those that have ended and this process included. */
  async values(): Promise<readonly (readonly Metric[])[]> {
    await Promise.all(this.ready.map(worker => this.#look(worker)))
    const own = (await this.#metrics?.values()) ?? []
    return [...[...this.#all].map(({ metrics }) => metrics), this.#gone, own]
  }

  /** The last call of each key manager, whichever worker made it. */
  async lastCalls(): Promise<Readonly<Record<string, LastCall>>> {
    const last = new Map<string, LastCall>()
    for (const calls of await Promise.all(this.ready.map(worker => this.#look(worker)))) {
      for (const [instance, call] of Object.entries(calls)) {
        if (call.time >= (last.get(instance)?.time ?? '')) last.set(instance, call)
      }
    }
    return Object.fromEntries(last)
  }

  /** Has all of them take over the same; rejects, and nothing is taken over, where one cannot open its files anew. */
  async takeOver(takeover: Takeover): Promise<void> {
    await this.#askAll({ kind: 'reopen' })
    this.#takeover = takeover
    await this.#askAll({ kind: 'takeOver', takeover })
  }

  /** What the first one found out of the key managers. */
  async checkKeys(): ReturnType<RunningGateway['checkKeys']> {
    const [first] = this.ready
    const answer = await first?.ask({ kind: 'keys' }, 120_000).catch(() => undefined)
    return answer?.kind === 'keys' ? answer.states : []
  }

  /** Has them end, each when its requests have; kills those that do not within the time. */
  async stop(time: number): Promise<void> {
    this.#isStopping = true
    for (const timer of this.#timers) clearTimeout(timer)
    for (const worker of this.#all) worker.stop()
    const killing = setTimeout(() => {
      for (const worker of this.#all) worker.kill()
    }, time)
    await Promise.all([...this.#all].map(({ ended }) => ended))
    clearTimeout(killing)
  }

  #add(): WorkerProcess {
    const isFirst = this.#isFirst
    const worker = new WorkerProcess(() => ({
      written: this.#loaded.written,
      takeover: this.#takeover,
      isFirst,
    }))
    this.#all.add(worker)
    let served = false
    worker.ready.then(
      () => (served = true),
      () => undefined,
    )
    void worker.ended.then(how => this.#ended(worker, how, served))
    return worker
  }

  async #ended(worker: WorkerProcess, how: string, served: boolean): Promise<void> {
    this.#all.delete(worker)
    if (this.#isStopping || this.#isFirst) return
    const now = performance.now()
    this.#ends = [...this.#ends.filter(end => now - end < endsWithin), now]
    const enough = this.#ends.length >= mostEnds
    const next = enough ? 'it is not replaced' : `another one starts ${served ? 'now' : `in ${again / 1000} s`}`
    warn(this.#loaded.config.log, `worker ${worker.pid} ended (${how}): ${next}`)
    if (enough) this.#break(new SseError('WorkersFailed'))
    else this.#replace(served ? 0 : again)
    if (this.#metrics === undefined) return
    const { sumOfGone } = await import('./metrics.ts')
    this.#gone = await sumOfGone([this.#gone, worker.metrics])
  }

  #replace(after: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      this.#add()
      this.#metrics?.workerReplaced()
    }, after)
    this.#timers.add(timer)
  }

  async #look(worker: WorkerProcess): Promise<Readonly<Record<string, LastCall>>> {
    const answer = await worker.ask({ kind: 'metrics' }).catch(() => undefined)
    if (answer?.kind !== 'metrics') return {}
    worker.metrics = answer.metrics
    return answer.lastCalls
  }

  /** Asks all; one that does not take requests yet does it before it does, and is not waited for. */
  async #askAll(question: Question): Promise<void> {
    const all = [...this.#all].map(worker => ({ isReady: worker.isReady, asked: worker.ask(question, reloadTime) }))
    const results = await Promise.allSettled(all.flatMap(({ isReady, asked }) => (isReady ? [asked] : [])))
    for (const { asked } of all) asked.catch(() => undefined)
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }
}

const adminOf = async ({ config }: LoadedConfig, workers: Workers) => {
  if (config.admin === undefined) return undefined
  const { sumUp, contentType } = await import('./metrics.ts')
  const metrics: AdminFacts['metrics'] = {
    contentType,
    text: async () => sumUp(await workers.values()),
    lastCalls: () => workers.lastCalls(),
  }
  return startAdmin(config.admin, {
    metrics,
    obstacles: () => workers.obstacles(),
    askStore: () => workers.askStore(),
  })
}

/** Starts a server with several workers. Rejects with what the first worker fails with, and with what `startGateway` does. */
export const startWorkers = async (loaded: LoadedConfig): Promise<RunningGateway> => {
  const { config } = loaded
  if (config.admin !== undefined) needPackages(['prom-client'])
  const metrics = config.admin === undefined ? undefined : (await import('./metrics.ts')).createMetrics()
  cluster.schedulingPolicy = cluster.SCHED_NONE
  const workers = new Workers(loaded, await takeoverOf(config), metrics)
  const drain = (config.drainSeconds ?? 0) * 1000
  const admin = await adminOf(loaded, workers)
  const close = async (): Promise<void> => {
    await workers.stop(drain + defaultGrace + lastGrace)
    await admin?.close()
    metrics?.close()
  }
  try {
    return {
      address: await workers.start(),
      admin: admin?.address,
      broken: workers.broken,
      checkKeys: () => workers.checkKeys(),
      reload: async next => workers.takeOver(await takeoverOf(next)),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
