/**
 * A worker of a server with several: a gateway that is told what to do by the primary process, and ends with it. Signals are the primary's: those
 * that a terminal or a supervisor sends to the whole group are ignored here.
 */
import { SseError } from '../errors.ts'
import type { Config } from './config.ts'
import { failureOf } from './failure.ts'
import type { ServingGateway, StartOptions } from './server.ts'
import { type Answer, type Beginning, type FromWorker, isToWorker, type Question } from './worker-messages.ts'

/** How a worker gets its gateway. */
export interface WorkerParts {
  /** The configuration that it begins with. */
  load(beginning: Beginning): Promise<Config>
  start(config: Config, options: StartOptions): Promise<ServingGateway>
}

/** Resolves when it is sent, or when there is nobody left to send it to. */
const tell = (message: FromWorker): Promise<void> =>
  new Promise(resolve => {
    if (process.send === undefined) resolve()
    else process.send(message, undefined, undefined, () => resolve())
  })

const answerOf = async (gateway: ServingGateway, question: Question): Promise<Answer> => {
  switch (question.kind) {
    case 'store':
      await gateway.askStore()
      return { kind: 'done' }
    case 'metrics': {
      const { metrics } = gateway
      return {
        kind: 'metrics',
        metrics: (await metrics?.values()) ?? [],
        lastCalls: (await metrics?.lastCalls()) ?? {},
      }
    }
    case 'keys':
      return { kind: 'keys', states: await gateway.checkKeys() }
    case 'reopen':
      await gateway.reopen()
      return { kind: 'done' }
    case 'takeOver':
      gateway.takeOver(question.takeover)
      return { kind: 'done' }
  }
}

const answer = async (gateway: Promise<ServingGateway>, id: number, question: Question): Promise<void> => {
  const given = await gateway
    .then(opened => answerOf(opened, question))
    .catch((error: unknown): Answer => ({ kind: 'refused', message: failureOf(error, false).message }))
  await tell({ kind: 'answer', id, answer: given })
}

/** Runs a worker until it is told to stop. Rejects where its gateway must end; a gateway that does not start is the primary's to report. */
export const runWorker = async ({ load, start }: WorkerParts): Promise<void> => {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => undefined)
  let begin: (beginning: Beginning) => void = () => undefined
  const gateway = new Promise<Beginning>(resolve => {
    begin = resolve
  }).then(async beginning => start(await load(beginning), { worker: beginning.takeover }))
  const stopped = new Promise<undefined>(resolve => {
    process.on('message', message => {
      if (!isToWorker(message)) return
      if (message.kind === 'begin') begin(message)
      else if (message.kind === 'ask') void answer(gateway, message.id, message.question)
      else resolve(undefined)
    })
  })
  await tell({ kind: 'hello' })
  let opened: ServingGateway
  try {
    opened = await gateway
  } catch (error) {
    const { code, message } = failureOf(error, false)
    return tell({
      kind: 'failed',
      code: code === 'Interrupted' || code === 'BrokenPipe' ? 'InternalError' : code,
      message,
    })
  }
  try {
    await tell({ kind: 'ready', address: opened.address })
    const cause = await Promise.race([stopped, opened.broken])
    if (cause instanceof SseError) throw cause
  } finally {
    await opened.close()
  }
}
