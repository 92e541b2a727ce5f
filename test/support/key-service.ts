/**
 * A small key service over HTTP, for the example of a provider that is one: JSON with base64, a token, states and errors in words of its own. Its
 * keys are those of `memoryKms`.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { base64, fromBase64 } from '../../lib/bytes.ts'
import { DataKey, encryptionContext, SseError } from '../../lib/index.ts'
import type { ManagedKey } from '../../lib/kms/manager.ts'
import { memoryKms } from '../../lib/testing.ts'

/** What goes wrong with every request. */
export type ServiceFault = 'hang' | 'reset' | 'throttle' | 'garble'

interface Body {
  readonly name: string
  readonly context: Readonly<Record<string, string>>
  readonly plaintext: string
  readonly ciphertext: string
  readonly to: string
  readonly toContext: Readonly<Record<string, string>>
  readonly days?: number
}

const words: ReadonlyMap<string, readonly [status: number, error: string]> = new Map([
  ['KeyNotFound', [404, 'no-such-key']],
  ['KeyDisabled', [409, 'disabled']],
  ['KeyPendingDeletion', [409, 'pending-deletion']],
  ['NotAuthentic', [400, 'bad-ciphertext']],
])

const states = { enabled: 'ENABLED', disabled: 'DISABLED', 'pending-deletion': 'PENDING' } as const

const shown = ({ keyId, state, created = 0, deletion, ...more }: ManagedKey): object => ({
  ...more,
  id: keyId.replace('memory:', ''),
  state: states[state],
  created: Math.floor(created / 1000),
  ...(deletion === undefined ? {} : { deletion: Math.floor(deletion / 1000) }),
})

/** A service that listens on a port of this machine. */
export class KeyService {
  /** Where it is. */
  url = ''
  readonly #kms = memoryKms()
  readonly #token: string
  readonly #server = createServer((req, res) => void this.#answer(req, res))
  readonly #hung = new Set<Socket>()
  #fault: ServiceFault | undefined

  constructor(token: string) {
    this.#token = token
  }

  /** Listens. */
  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    const address = this.#server.address()
    this.url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
    return this
  }

  /** Begins a fault. */
  begin(fault: ServiceFault): void {
    this.#fault = fault
  }

  /** Ends it, and the connections that hung; those that a client keeps stay. */
  end(): void {
    this.#fault = undefined
    for (const socket of this.#hung) socket.destroy()
    this.#hung.clear()
  }

  /** Ends all connections. */
  async stop(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    if (this.#server.listening) await once(this.#server, 'close')
  }

  async #answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const send = (status: number, answer: object, headers: Record<string, string> = {}): void =>
      void res.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(answer))
    if (this.#fault === 'hang') return void this.#hung.add(req.socket)
    if (this.#fault === 'reset') return void req.socket.destroy()
    if (this.#fault === 'throttle') return send(429, { error: 'slow-down' }, { 'retry-after': '2' })
    if (this.#fault === 'garble') return void res.end('no JSON')
    if (req.headers.authorization !== `Bearer ${this.#token}`) return send(401, { error: 'bad-token' })
    try {
      const body: Body = JSON.parse(Buffer.concat(await req.toArray()).toString())
      send(200, await this.#act(req.url?.slice(1).split('/') ?? [], body))
    } catch (error) {
      const [status, word] = (error instanceof SseError && words.get(error.code)) || ([500, 'internal'] as const)
      send(status, { error: word })
    }
  }

  async #act([id = '', action]: readonly string[], body: Body): Promise<object> {
    const kms = this.#kms
    if (id === 'list') return { keys: (await kms.list()).map(shown) }
    if (id === 'create') return { key: shown(await kms.create(body.name)) }
    const keyId = `memory:${id}`
    const context = encryptionContext(body.context)
    const wrapped = {
      provider: 'memory',
      keyId,
      wrapAlg: 1,
      blob: fromBase64(body.ciphertext ?? '') ?? new Uint8Array(),
    } as const
    switch (action) {
      case 'generate': {
        const made = await kms.generateDataKey({ keyId, context })
        return { plaintext: base64(made.key.bytes), ciphertext: base64(made.wrapped.blob) }
      }
      case 'encrypt': {
        const key = new DataKey(fromBase64(body.plaintext) ?? new Uint8Array())
        return { ciphertext: base64((await kms.wrapDataKey(key, { keyId, context })).blob) }
      }
      case 'decrypt':
        return { plaintext: base64((await kms.unwrapDataKey({ wrapped, context })).bytes) }
      case 'reencrypt': {
        const to = { keyId: `memory:${body.to}`, context: encryptionContext(body.toContext) }
        return { ciphertext: base64((await kms.rewrapDataKey({ from: { wrapped, context }, to })).blob) }
      }
      case 'describe':
        return { key: shown(await kms.describe(keyId)) }
      case 'rotate':
        return { key: shown(await kms.rotate(keyId)) }
      case 'enable':
        return { key: shown(await kms.enable(keyId)) }
      case 'disable':
        return { key: shown(await kms.disable(keyId)) }
      case 'delete':
        return { key: shown(await kms.scheduleDeletion(keyId, { days: body.days })) }
      case 'cancel':
        return { key: shown(await kms.cancelDeletion(keyId)) }
      default:
        throw new SseError('KeyNotFound')
    }
  }
}
