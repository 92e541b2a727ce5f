/**
 * The load of an outage: clients that each send one request after the other, and what became of each. They write objects under SSE-KMS with
 * and without a bucket key, and read some whose keys are in memory (warm) and some whose keys nobody asked for yet (cold).
 */
import { setTimeout as pause } from 'node:timers/promises'
import { admin, type TestGateway } from '../gateway.ts'

/** What a client does. */
export const kinds = ['PUT', 'PUT, bucket key', 'GET, warm', 'GET, cold'] as const
/** One of {@link kinds}. */
export type Kind = (typeof kinds)[number]

/** A request that has ended. Times are those of `performance.now`. */
export interface Outcome {
  readonly kind: Kind
  readonly began: number
  readonly ended: number
  /** Status and code, such as `200` and `503 SlowDown`; `broken` where there was no whole answer, `wrong bytes` where they are not those of the object. */
  readonly result: string
}

/** How much is sent. */
export interface LoadOptions {
  /** Clients of each kind. */
  readonly clients: Readonly<Record<Kind, number>>
  /** Milliseconds that a client waits after each answer. */
  readonly think: number
  /** Objects that are read again and again. */
  readonly warm: number
  /** Objects that nobody reads before what goes wrong. */
  readonly cold: number
}

/** Four clients that write, two that write under a bucket key, four and four that read. */
export const defaultLoad: LoadOptions = {
  clients: { PUT: 4, 'PUT, bucket key': 2, 'GET, warm': 4, 'GET, cold': 4 },
  think: 20,
  warm: 20,
  cold: 200,
}

/** The bucket of everything. */
export const bucket = 'photos'

const size = 4096
/** The body of an object: its key, again and again. */
export const bodyOf = (key: string): Buffer => Buffer.alloc(size, `${key} `)

const sse = { 'x-amz-server-side-encryption': 'aws:kms' }
const underBucketKey = { ...sse, 'x-amz-server-side-encryption-bucket-key-enabled': 'true' }

/** Clients of a gateway. */
export class Load {
  readonly #gateway: TestGateway
  readonly #options: LoadOptions
  readonly outcomes: Outcome[] = []
  /** Keys of the objects whose PUT was answered with 200, with the time of that. */
  readonly acknowledged = new Map<string, number>()
  /** Keys of the objects of which no answer came: they may be there or not. */
  readonly unknown = new Set<string>()
  readonly #warm: string[] = []
  /** Objects that nobody has read, the first one the oldest. */
  readonly #cold: string[] = []
  /** Cold objects that are left for later. */
  #reserve: number
  #count = 0
  #running = true

  constructor(gateway: TestGateway, options: LoadOptions) {
    this.#gateway = gateway
    this.#options = options
    this.#reserve = options.cold
  }

  /** Makes the bucket and the objects that are read. */
  async prepare(): Promise<void> {
    const { status, text } = await this.#gateway.signedFetch(admin, 'PUT', `/${bucket}`)
    if (status !== 200) throw new Error(`the bucket: ${text}`)
    const { warm, cold } = this.#options
    for (let i = 0; i < warm; i++) this.#warm.push(await this.#write(i % 2 === 0 ? 'PUT' : 'PUT, bucket key'))
    for (let i = 0; i < cold; i++) this.#cold.push(await this.#write('PUT'))
    for (let round = 0; round < 2; round++) for (const key of this.#warm) await this.read('GET, warm', key)
    this.outcomes.length = 0
  }

  /** Lets the clients work until {@link Load.stop}. */
  async run(): Promise<void> {
    const clients = kinds.flatMap(kind => Array.from({ length: this.#options.clients[kind] }, () => kind))
    await Promise.all(clients.map(kind => this.#client(kind)))
  }

  /** From now on all cold objects may be read. */
  useReserve(): void {
    this.#reserve = 0
  }

  stop(): void {
    this.#running = false
  }

  /** Reads an object whole; answers whether it is what was written. */
  async read(kind: Kind, key: string): Promise<boolean> {
    const result = await this.#send(kind, 'GET', key)
    return result === '200'
  }

  async #client(kind: Kind): Promise<void> {
    while (this.#running) {
      if (kind === 'GET, warm') {
        await this.read(kind, this.#warm[this.#count++ % this.#warm.length] ?? '')
      } else if (kind === 'GET, cold') {
        const key = this.#cold.length > this.#reserve ? this.#cold.shift() : undefined
        if (key !== undefined && !(await this.read(kind, key))) this.#cold.push(key)
      } else {
        const key = `${kind === 'PUT' ? 'own' : 'bucket'}-${this.#count++}`
        const isThere = (await this.#send(kind, 'PUT', key)) === '200'
        if (isThere && kind === 'PUT') this.#cold.push(key)
      }
      await pause(this.#options.think)
    }
  }

  async #write(kind: 'PUT' | 'PUT, bucket key'): Promise<string> {
    const key = `first-${this.#count++}`
    const result = await this.#send(kind, 'PUT', key)
    if (result !== '200') throw new Error(`a PUT before anything goes wrong: ${result}`)
    return key
  }

  async #send(kind: Kind, method: 'PUT' | 'GET', key: string): Promise<string> {
    const began = performance.now()
    const result = await this.#answer(kind, method, key)
    const ended = performance.now()
    this.outcomes.push({ kind, began, ended, result })
    if (method === 'PUT' && result === '200') this.acknowledged.set(key, ended)
    if (method === 'PUT' && result === 'broken') this.unknown.add(key)
    return result
  }

  async #answer(kind: Kind, method: 'PUT' | 'GET', key: string): Promise<string> {
    const headers = kind === 'PUT, bucket key' ? underBucketKey : sse
    const sent = method === 'PUT' ? { headers, body: bodyOf(key) } : {}
    try {
      const { status, code, body } = await this.#gateway.signedFetch(admin, method, `/${bucket}/${key}`, sent)
      if (status !== 200) return code === undefined ? String(status) : `${status} ${code}`
      return method === 'PUT' || body.equals(bodyOf(key)) ? '200' : 'wrong bytes'
    } catch {
      return 'broken'
    }
  }
}
