/**
 * The load of a fleet: clients that write objects again and again, and clients that read what was acknowledged. A body says what it is: its key,
 * the number of its write and its size, so that a reader sees whether it is whole, and not older than what was acknowledged.
 */
import { GetObjectCommand, PutObjectCommand, type S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import { setTimeout as pause } from 'node:timers/promises'

/** What a client does. */
export const kinds = ['PUT', 'GET'] as const
/** One of {@link kinds}. */
export type Kind = (typeof kinds)[number]

/** A request that has ended. Times are those of `performance.now`. */
export interface Outcome {
  readonly kind: Kind
  readonly began: number
  readonly ended: number
  /** `200`, status and code of an error, `broken` where there was no whole answer, `wrong` where it was not what was written. */
  readonly result: string
  readonly bytes: number
}

/** How much is sent. */
export interface LoadOptions {
  readonly writers: number
  readonly readers: number
  /** Objects of each writer. */
  readonly objects: number
  /** Sizes of bodies, one after the other. */
  readonly sizes: readonly number[]
  /** Milliseconds that a client waits after each answer. */
  readonly think: number
}

/** Six clients that write and six that read, 500 bytes, 100 kB and 1 MB in turn: in the index, in one PUT upstream. */
export const defaultLoad: LoadOptions = {
  writers: 6,
  readers: 6,
  objects: 40,
  sizes: [500, 100_000, 1_000_000],
  think: 20,
}

/** The bucket of everything. */
export const bucket = 'photos'

/** The body of a write. */
export const bodyOf = (key: string, sequence: number, size: number): Buffer =>
  Buffer.alloc(size, `${key} ${sequence} ${size} `)

/** The number of the write that these bytes are the body of; `undefined` where they are none. */
export const sequenceOf = (key: string, body: Buffer): number | undefined => {
  const [name, sequence = '', size = ''] = body.subarray(0, 200).toString().split(' ')
  return name === key && body.equals(bodyOf(key, Number(sequence), Number(size))) ? Number(sequence) : undefined
}

const resultOf = (error: unknown): string =>
  error instanceof S3ServiceException && error.$metadata.httpStatusCode !== undefined
    ? `${error.$metadata.httpStatusCode}${error.name === 'S3ServiceException' || /^\d|Unknown/.test(error.name) ? '' : ` ${error.name}`}`
    : 'broken'

/** Clients of a fleet. */
export class Load {
  readonly outcomes: Outcome[] = []
  /** The newest write of each key that was acknowledged, and the newest one that was sent. */
  readonly #acknowledged = new Map<string, number>()
  readonly #sent = new Map<string, number>()
  readonly #s3: S3Client
  readonly #options: LoadOptions
  #running = true

  constructor(s3: S3Client, options: LoadOptions = defaultLoad) {
    this.#s3 = s3
    this.#options = options
  }

  /** Objects that were acknowledged. */
  get objects(): number {
    return this.#acknowledged.size
  }

  /** Lets the clients work until {@link Load.stop}. */
  async run(): Promise<void> {
    const { writers, readers } = this.#options
    await Promise.all([
      ...Array.from({ length: writers }, (_, i) => this.#write(i)),
      ...Array.from({ length: readers }, () => this.#read()),
    ])
  }

  stop(): void {
    this.#running = false
  }

  /** Reads every object once: what is wrong. */
  async verify(): Promise<readonly string[]> {
    const wrong: string[] = []
    const keys = [...this.#acknowledged.keys()]
    const reader = async (): Promise<void> => {
      for (let key = keys.pop(); key !== undefined; key = keys.pop()) {
        const result = await this.#get(key)
        if (result !== '200') wrong.push(`${key} was acknowledged, and its GET is ${result}`)
      }
    }
    await Promise.all(Array.from({ length: 8 }, reader))
    return wrong
  }

  async #write(writer: number): Promise<void> {
    const { objects, sizes, think } = this.#options
    for (let sequence = 1; this.#running; sequence++) {
      const key = `writer-${writer}/${sequence % objects}`
      const Body = bodyOf(key, sequence, sizes[sequence % sizes.length] ?? 0)
      this.#sent.set(key, sequence)
      const put = new PutObjectCommand({ Bucket: bucket, Key: key, Body, ServerSideEncryption: 'aws:kms' })
      const result = await this.#timed('PUT', Body.length, async () => {
        await this.#s3.send(put)
        return '200'
      })
      if (result === '200') this.#acknowledged.set(key, sequence)
      await pause(think)
    }
  }

  async #read(): Promise<void> {
    while (this.#running) {
      const keys = [...this.#acknowledged.keys()]
      const key = keys[Math.floor(Math.random() * keys.length)]
      if (key !== undefined) await this.#timed('GET', 0, () => this.#get(key))
      await pause(this.#options.think)
    }
  }

  async #get(key: string): Promise<string> {
    const least = this.#acknowledged.get(key) ?? Infinity
    const { Body } = await this.#s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }))
    const found = sequenceOf(key, Buffer.from((await Body?.transformToByteArray()) ?? []))
    if (found === undefined) return 'wrong: torn'
    if (found < least) return `wrong: write ${found}, and ${least} was acknowledged`
    return found > (this.#sent.get(key) ?? 0) ? 'wrong: never sent' : '200'
  }

  async #timed(kind: Kind, bytes: number, work: () => Promise<string>): Promise<string> {
    const began = performance.now()
    const result = await work().catch(resultOf)
    this.outcomes.push({ kind, began, ended: performance.now(), result, bytes })
    return result
  }
}
