/** A worker of a server, as its primary process sees it: started, asked, stopped. */
import cluster, { type Worker } from 'node:cluster'
import { SseError } from '../errors.ts'
import type { Metric } from './metrics.ts'
import {
  type Answer,
  type Beginning,
  type FromWorker,
  isFromWorker,
  type Question,
  type ToWorker,
} from './worker-messages.ts'

/** Milliseconds that a worker has for an answer. */
const answerTime = 2000

/** A process that is a worker. */
export class WorkerProcess {
  /** Resolves with its address when it takes requests; rejects where it ends before that. */
  readonly ready: Promise<string>
  /** Resolves when it has ended, with how it did. */
  readonly ended: Promise<string>
  /** What it last answered; kept for the time when it answers no more. */
  metrics: readonly Metric[] = []
  readonly #worker: Worker
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #isReady = false
  #asked = 0
  #failure: SseError | undefined

  /** Starts it; `beginning` is asked when it is there to listen. */
  constructor(beginning: () => Beginning) {
    this.#worker = cluster.fork()
    let onReady: (address: string) => void = () => undefined
    this.#worker.on('message', (message: unknown) => {
      if (isFromWorker(message)) this.#take(message, beginning, onReady)
    })
    this.#worker.on('error', () => undefined) // of a channel that is gone: its end is told below
    this.ended = new Promise(resolve => {
      this.#worker.once('exit', (code: number | null, signal: string | null) => {
        this.#isReady = false
        for (const give of this.#waiting.values()) give({ kind: 'refused', message: 'the worker has ended' })
        resolve(this.#failure?.message ?? signal ?? `status ${code}`)
      })
    })
    this.ready = Promise.race([
      new Promise<string>(resolve => {
        onReady = resolve
      }),
      this.ended.then(how => {
        const message = `A worker ended before it took requests (${how}). Look at the lines of the log above.`
        throw this.#failure ?? new SseError('WorkersFailed', { message })
      }),
    ])
    this.ready.catch(() => undefined)
  }

  /** Id of its process. */
  get pid(): number {
    return this.#worker.process.pid ?? 0
  }

  /** Whether it takes requests. */
  get isReady(): boolean {
    return this.#isReady
  }

  /** Asks it. Rejects with what it refuses with, and where it does not answer in time. */
  async ask(question: Question, time: number = answerTime): Promise<Exclude<Answer, { readonly kind: 'refused' }>> {
    const id = this.#asked++
    const answer = await new Promise<Answer>(resolve => {
      const message = `no answer within ${time} ms`
      const timer = setTimeout(() => resolve({ kind: 'refused', message }), time)
      this.#waiting.set(id, given => {
        clearTimeout(timer)
        resolve(given)
      })
      this.#tell({ kind: 'ask', id, question })
    })
    this.#waiting.delete(id)
    if (answer.kind === 'refused')
      throw new SseError('WorkersFailed', { message: `worker ${this.pid}: ${answer.message}` })
    return answer
  }

  /** Lets its requests end. One that takes none yet is ended at once, which is safe at any time. */
  stop(): void {
    if (this.#isReady) this.#tell({ kind: 'stop' })
    else this.kill()
  }

  /** Ends it at once. */
  kill(): void {
    this.#worker.process.kill('SIGKILL')
  }

  #take(message: FromWorker, beginning: () => Beginning, onReady: (address: string) => void): void {
    switch (message.kind) {
      case 'hello':
        return this.#tell({ kind: 'begin', ...beginning() })
      case 'ready':
        this.#isReady = true
        return onReady(message.address)
      case 'failed':
        this.#failure = new SseError(message.code, { message: message.message })
        return
      case 'answer':
        this.#waiting.get(message.id)?.(message.answer)
    }
  }

  #tell(message: ToWorker): void {
    if (this.#worker.isConnected()) this.#worker.send(message, () => undefined)
  }
}
