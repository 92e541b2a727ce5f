/**
 * The second address of a server, for the operator alone: `/livez`, `/readyz` and `/metrics`. Nothing of it is on the address that clients use.
 * Why a server is not ready is told on loopback only.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { isIP } from 'node:net'
import { SseError } from '../errors.ts'
import type { Config } from './config.ts'
import type { LastCalls, Metrics } from './metrics.ts'

/** Where the operator asks. */
export type AdminAddress = NonNullable<Config['admin']>

/** What is asked about. */
export interface AdminFacts {
  readonly metrics: Pick<Metrics, 'contentType' | 'text' | 'lastCalls'>
  /** Why the server takes no requests, whatever the store says; nothing where it does. */
  obstacles(): readonly string[]
  /** Rejects where the store cannot be reached. */
  askStore(): Promise<unknown>
}

/** The admin address of a server that listens. */
export interface Admin {
  /** Its URL. */
  readonly address: string
  /** Stops listening. */
  close(): Promise<void>
}

/** The reason of a server that is about to end. */
export const stopping = 'the server is stopping'

/** Milliseconds that the store has to answer. */
const storeTime = 2000

const isLoopback = (address = ''): boolean => /^(?:127\.|::1$|::ffff:127\.)/.test(address)

const late = async (): Promise<never> => {
  await new Promise(resolve => setTimeout(resolve, storeTime).unref())
  throw new SseError('StoreFailed', { message: `The store did not answer within ${storeTime} ms.` })
}

/** Why the server is not ready: nothing, where it is. */
const reasonsOf = async ({ obstacles, askStore }: AdminFacts): Promise<readonly string[]> => {
  try {
    await Promise.race([askStore(), late()])
    return obstacles()
  } catch (error) {
    return [...obstacles(), `the store cannot be used: ${error instanceof Error ? error.message : String(error)}`]
  }
}

interface Readiness {
  readonly ready: boolean
  readonly reasons: readonly string[]
  /** The last call of each key manager. One that is away takes no server out: reads under keys in memory go on. */
  readonly keyManagers: LastCalls
}

const readiness = async (facts: AdminFacts): Promise<Readiness> => {
  const reasons = await reasonsOf(facts)
  return { ready: reasons.length === 0, reasons, keyManagers: await facts.metrics.lastCalls() }
}

type Reply = readonly [status: number, type: string, body: string]

const plain = 'text/plain; charset=utf-8'

const replyTo = async (path: string, facts: AdminFacts, tellsReasons: boolean): Promise<Reply> => {
  switch (path) {
    case '/livez':
      return [200, plain, 'alive\n']
    case '/readyz': {
      const state = await readiness(facts)
      const status = state.ready ? 200 : 503
      if (!tellsReasons) return [status, plain, state.ready ? 'ready\n' : 'not ready\n']
      return [status, 'application/json', `${JSON.stringify(state)}\n`]
    }
    case '/metrics':
      return [200, facts.metrics.contentType, await facts.metrics.text()]
    default:
      return [404, plain, 'There are /livez, /readyz and /metrics.\n']
  }
}

/** Listens. `FileFailed` where the address cannot be had; `InvalidConfig` where it is not loopback and that was not allowed. */
export const startAdmin = async ({ host, port, allowRemote }: AdminAddress, facts: AdminFacts): Promise<Admin> => {
  if (!allowRemote && !(host === 'localhost' || isLoopback(host))) {
    const message = `admin.listen: ${host} is no loopback address. Set admin.allowRemote where everybody who reaches it may read the metrics.`
    throw new SseError('InvalidConfig', { message })
  }
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 }, (req, res) => {
    const [path = ''] = (req.url ?? '').split('?')
    const answer = async (): Promise<void> => {
      const isRead = req.method === 'GET' || req.method === 'HEAD'
      const [status, type, body] = isRead
        ? await replyTo(path, facts, isLoopback(req.socket.remoteAddress))
        : [405, plain, 'Only GET is answered.\n']
      res.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' })
      res.end(req.method === 'HEAD' ? undefined : body)
    }
    answer().catch(() => res.destroy())
  })
  server.maxConnections = 64
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (cause) {
    const message = `cannot listen on ${host}:${port}. Choose another address for admin.listen.`
    throw new SseError('FileFailed', { message, cause })
  }
  const address = server.address()
  const shown = typeof address === 'object' && address !== null ? address.port : port
  return {
    address: `http://${isIP(host) === 6 ? `[${host}]` : host}:${shown}`,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
