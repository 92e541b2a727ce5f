/** The façade with Node's skins: `stream` (a Transform), `stage()` (stream-chain) and `web()` (WHATWG). */
import type { Transform } from 'node:stream'
import { pickEngine } from '../cipher/choose.ts'
import { nodeEngine } from '../cipher/node.ts'
import { nobleEngine } from '../cipher/noble.ts'
import { webCryptoEngine } from '../cipher/web.ts'
import { type Stage, toStage } from '../segment/stage.ts'
import { toTransform } from '../segment/transform.ts'
import { toWeb } from '../segment/web.ts'
import { type Driven, type SseOf, sseOver, type SseOptions } from './sse.ts'

/** A body's skins; take one of them, once. */
export interface NodeSkins {
  /** A Node `Transform`, made when it is first asked for. */
  readonly stream: Transform
  /** A stage for `chain([...])`. */
  stage(): Stage
  /** A WHATWG `TransformStream`. */
  web(): TransformStream<Uint8Array, Uint8Array>
}

/** The façade in Node. */
export type Sse = SseOf<NodeSkins>

const skin = <T extends Driven>(result: T): T & NodeSkins => {
  let stream: Transform | undefined
  return {
    ...result,
    get stream() {
      return (stream ??= toTransform(result.driver))
    },
    stage: () => toStage(result.driver),
    web: () => toWeb(result.driver),
  }
}

/**
 * Encrypts and decrypts objects under the keys of a KMS. The engine is `node:crypto`, unless its self-test fails or another is named.
 *
 * {@includeCode ../../test/examples/pipeline.test.ts#create}
 */
export const createSse = (options: SseOptions): Sse =>
  sseOver(options, () => pickEngine([nodeEngine, webCryptoEngine, nobleEngine]), skin)
