/** The façade with Node's adapters: `stream` (a Transform), `pieces()` (a generator), `stage()` (stream-chain) and `web()` (WHATWG). */
import type { Transform } from 'node:stream'
import { pickEngine } from '../cipher/choose.ts'
import type { Engine } from '../cipher/engine.ts'
import { nodeEngine } from '../cipher/node.ts'
import { nobleEngine } from '../cipher/noble.ts'
import { webCryptoEngine } from '../cipher/web.ts'
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
   * {@includeCode ../../test/examples/pipeline.test.ts#pieces}
   */
  pieces(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined>
  /** A stage for `chain([...])`. */
  stage(): Stage
  /** A WHATWG `TransformStream`. */
  web(): TransformStream<Uint8Array, Uint8Array>
}

/** The façade in Node. */
export interface Sse extends SseOf<NodeAdapters> {}

// `assign`, because a spread in front of a getter takes several times as long: this is done for every small object.
const adapt = <T extends WithDriver>(result: T): T & NodeAdapters => {
  let stream: Transform | undefined
  const adapters: NodeAdapters = {
    get stream() {
      return (stream ??= toTransform(result.driver))
    },
    pieces: source => toPieces(result.driver, source),
    stage: () => toStage(result.driver),
    web: () => toWeb(result.driver),
  }
  return Object.assign(adapters, result)
}

/** What `createSse` is given in Node. */
export interface NodeSseOptions extends Omit<SseOptions, 'engine'> {
  /**
   * An engine, or `'ffi'` for the one of `sse-kms-streams/ffi`, which is off unless it is asked for here or with `SSE_KMS_ENGINE=ffi`. By default
   * the first of `node:crypto`, WebCrypto and noble that passes its self-test.
   */
  readonly engine?: Engine | 'ffi' | undefined
}

/** The engine that is named, or that `SSE_KMS_ENGINE` names, which no other one replaces; else the first that passes its self-test. */
export const chooseEngine = async (named: string | undefined = process.env['SSE_KMS_ENGINE']): Promise<Engine> => {
  if (named === undefined || named === '') return pickEngine([nodeEngine, webCryptoEngine, nobleEngine])
  if (named === 'ffi') {
    const { ffiEngine } = await import('../cipher/ffi.ts')
    return pickEngine([ffiEngine()])
  }
  throw new SseError('EngineUnavailable', { message: `SSE_KMS_ENGINE is ${named}: set it to ffi, or leave it out.` })
}

/**
 * Encrypts and decrypts objects under the keys of a KMS. The engine is `node:crypto`, unless its self-test fails or another is named.
 * Calls reject with `EngineUnavailable` where the one that is named cannot be had.
 *
 * {@includeCode ../../test/examples/pipeline.test.ts#create}
 */
export const createSse = ({ engine, ...options }: NodeSseOptions): Sse =>
  sseOver(options, async () => (typeof engine === 'object' ? engine : chooseEngine(engine)), adapt)
