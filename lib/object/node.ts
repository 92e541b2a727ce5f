/** The façade with Node's adapters: `stream` (a Transform), `pieces()` (a generator), `stage()` (stream-chain) and `web()` (WHATWG). */
import type { Transform } from 'node:stream'
import { disposal } from '../bytes.ts'
import { pickEngine } from '../cipher/choose.ts'
import { defaultEngine } from '../cipher/default.ts'
import type { Engine } from '../cipher/engine.ts'
import { nodeEngine } from '../cipher/node.ts'
import { hasKoffi } from '../cipher/openssl/koffi.ts'
import type { Chunks, Driver } from '../segment/driver.ts'
import { toPieces } from '../segment/node.ts'
import { type Stage, toStage } from '../segment/chain.ts'
import { toTransform } from '../segment/node.ts'
import { toWeb } from '../segment/web.ts'
import { SseError } from '../errors.ts'
import type { SseOptions } from './options.ts'
import { type WithDriver, type SseOf, sseOver } from './sse.ts'

/** A body's adapters; take one of them, once. */
export interface NodeAdapters {
  /** A Node `Transform`, made when it is first asked for. */
  readonly stream: Transform
  /**
   * What leaves while a source goes in, for `for await`, or as a function in the middle of `pipeline()`. Keys are wiped at the end, on an
   * error, and where the loop is left.
   *
   * {@includeCode ../../test/examples/pipeline.test.ts#sse,pieces}
   */
  pieces(source: Chunks): AsyncGenerator<Uint8Array, void, undefined>
  /** A stage for `chain([...])`. */
  stage(): Stage
  /** A WHATWG `TransformStream`. */
  web(): TransformStream<Uint8Array, Uint8Array>
  /** For `using`: wipes the keys at the end of the block, however far the body came. */
  [Symbol.dispose](): void
}

/** The façade in Node. */
export interface Sse extends SseOf<NodeAdapters> {}

/** The stream of a body. In a class, since V8 makes a hidden class of its own for each object literal that has a getter. */
class BodyStream {
  readonly #driver: Driver
  #stream: Transform | undefined

  constructor(driver: Driver) {
    this.#driver = driver
  }

  get stream(): Transform {
    return (this.#stream ??= toTransform(this.#driver))
  }
}

const adapt = <T extends WithDriver>(result: T): T & NodeAdapters => {
  const { driver } = result
  const adapters: Omit<NodeAdapters, 'stream'> = {
    pieces: source => toPieces(driver, source),
    stage: () => toStage(driver),
    web: () => toWeb(driver),
    [disposal]: () => driver.dispose(),
  }
  return Object.assign(new BodyStream(driver), adapters, result)
}

/** What `createSse` is given in Node. */
export interface NodeSseOptions extends Omit<SseOptions, 'engine'> {
  /**
   * An engine, or the name of one that no other replaces: `'openssl'` for the one of `sse-kms-streams/openssl`, `'node'` for `node:crypto`. Left
   * out, the environment's `SSE_KMS_ENGINE` names it, or it is the first that passes its self-test: openssl where koffi is installed, then
   * `node:crypto`, WebCrypto and noble.
   */
  readonly engine?: Engine | 'openssl' | 'node' | undefined
}

const emitWarning = (message: string): void => process.emitWarning(message)

let openSsl: Promise<Engine | undefined> | undefined

/** The engine over OpenSSL, which whoever installs koffi means; `undefined`, and one warning, where it cannot be had. */
const openSslWithKoffi = async (warn: (message: string) => void): Promise<Engine | undefined> => {
  if (!hasKoffi()) return undefined
  try {
    const { testedOpenSslEngine } = await import('../cipher/openssl/trial.ts')
    return await testedOpenSslEngine()
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    warn(`${why} The engine node is used. Set SSE_KMS_ENGINE=node to have no trial.`)
    return undefined
  }
}

/**
 * The engine that is named, or that `SSE_KMS_ENGINE` names, which no other one replaces; else the first that passes its self-test. `warn` is told
 * once, in one line, where koffi is installed in vain.
 */
export const chooseEngine = async (
  named: string | undefined = process.env['SSE_KMS_ENGINE'],
  warn = emitWarning,
): Promise<Engine> => {
  if (named === 'node') return pickEngine([nodeEngine])
  if (named === 'openssl') return (await import('../cipher/openssl/trial.ts')).openSslEngine()
  if (named !== undefined && named !== '') {
    const message = `SSE_KMS_ENGINE is ${named}: set it to openssl or node, or leave it out.`
    throw new SseError('EngineUnavailable', { message })
  }
  openSsl ??= openSslWithKoffi(warn)
  return (await openSsl) ?? defaultEngine()
}

/**
 * Encrypts and decrypts objects under the keys of a KMS. The engine is chosen at the first call. Calls reject with `EngineUnavailable` where the
 * one that is named cannot be had.
 *
 * {@includeCode ../../test/examples/pipeline.test.ts#sse}
 */
export const createSse = (options: NodeSseOptions): Sse =>
  sseOver(
    options,
    async () => (typeof options.engine === 'object' ? options.engine : chooseEngine(options.engine)),
    adapt,
  )
