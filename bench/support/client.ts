/** A gateway in this process and its client in another one. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server as HttpServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import type { Bench } from '../harness.ts'
import { openService, openStore, owner, region } from './service.ts'

/** What the client does. */
export interface Work {
  readonly method: string
  readonly port: number
  readonly user: { readonly accessKeyId: string; readonly secretAccessKey: string; readonly region: string }
  /** Raw, with its query; `{i}` is the number of the request. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Bytes of a body. */
  readonly size?: number | undefined
  readonly count: number
  readonly atOnce: number
  /** Whether the answer's digest is wanted. */
  readonly digest?: boolean | undefined
  /** Whether it is a listing, to be gone through page by page. */
  readonly pages?: boolean | undefined
  /** Parts of `size` bytes each of a multipart upload, which is what is done then; all of them at once. */
  readonly parts?: number | undefined
}

/** What it did. */
export interface WorkDone {
  /** Bytes of answers. */
  readonly bytes: number
  /** SHA-256 of the last answer. */
  readonly digest: string
  /** Requests, or keys of a listing. */
  readonly count: number
}

/** What is done where: everything but who it is done to. */
export type Task = Omit<Work, 'port' | 'user'>

/** Who it is done to. */
export type Server = Pick<Work, 'port' | 'user'>

/** A gateway and its client. */
export interface Service {
  /** The store underneath. */
  readonly store: Awaited<ReturnType<typeof openStore>>
  /** Has the client send requests of one kind. */
  send(work: Task): Promise<WorkDone>
}

const user = {
  ...owner,
  name: 'bench',
  roles: ['tenant_admin'],
  accessKeyId: 'BENCH',
  secretAccessKey: 'not a secret',
}

/** A client, which ends with the case. */
export type Client = (server: Server, work: Task) => Promise<WorkDone>

/** Starts a client in a process of its own. */
export const startClient = (bench: Bench): Client => {
  const client = fork(fileURLToPath(new URL('client-process.ts', import.meta.url)), {
    execArgv: ['--import', 'tsx'],
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  bench.after(async () => {
    client.disconnect()
    if (client.exitCode === null) await once(client, 'exit')
  })
  return async (server, work) => {
    const settled = new AbortController()
    const heard = (event: string) => once(client, event, { signal: settled.signal })
    const answer = Promise.race([heard('message'), heard('exit')])
    client.send({ ...work, ...server })
    const [done]: unknown[] = await answer
    settled.abort()
    if (isDone(done)) return done
    throw new Error(`the client: ${JSON.stringify(done)}`)
  }
}

/** Starts both; they end with the case. */
export const startGateway = async (bench: Bench, client: Client = startClient(bench)): Promise<Service> => {
  const { createGateway, createProfile } = bench.lib.gateway
  const { directory, kms, sse } = await openService(bench)
  // A revision before rows were authenticated has no such function.
  const authenticate: typeof bench.lib.gateway.authenticateStore | undefined = bench.lib.gateway.authenticateStore
  const store = await openStore(bench, directory, rows => authenticate?.(rows, { kms, sse, region }) ?? rows)
  const profile = createProfile('s3', { region, baseEncryption: 'none' })
  const handler = createGateway({ store: store.whole, kms, sse, profile, tenants: [owner], users: [user] })
  const server = createServer(handler).on('checkContinue', handler)
  return { store, send: await listen(bench, server, client) }
}

/** Has a server listen until the case ends; what sends requests to it. */
const listen = async (bench: Bench, server: HttpServer, client: Client): Promise<(work: Task) => Promise<WorkDone>> => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  bench.after(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const { accessKeyId, secretAccessKey } = user
  const self: Server = { port, user: { accessKeyId, secretAccessKey, region } }
  return work => client(self, work)
}

/** A server that does nothing but HTTP: it takes bodies and answers a KiB, without signatures, store or encryption. The floor under ours. */
export const startBare = async (bench: Bench, client: Client): Promise<(work: Task) => Promise<WorkDone>> => {
  const answer = Buffer.alloc(1024)
  const server = createServer((req, res) => {
    req.resume().on('end', () => res.end(req.method === 'GET' ? answer : undefined))
  })
  return listen(bench, server, client)
}

const isDone = (value: unknown): value is WorkDone => typeof value === 'object' && value !== null && 'digest' in value
