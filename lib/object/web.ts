/** The façade without `node:`: WebCrypto, else noble; bodies come as stream-chain stages and WHATWG streams. */
import { disposal } from '../bytes.ts'
import { pickEngine } from '../cipher/choose.ts'
import { nobleEngine } from '../cipher/noble.ts'
import { webCryptoEngine } from '../cipher/web.ts'
import { type Stage, toStage } from '../segment/chain.ts'
import type { Chunks } from '../segment/driver.ts'
import { toWeb, toWebPieces } from '../segment/web.ts'
import type { SseOptions } from './options.ts'
import { type WithDriver, type SseOf, sseOver } from './sse.ts'

/** A body's adapters; take one of them, once. */
export interface WebAdapters {
  /** What leaves while a source goes in, for `for await`. Keys are wiped at the end, on an error, and where the loop is left. */
  pieces(source: Chunks): AsyncGenerator<Uint8Array, void, undefined>
  /** A stage for stream-chain's `chain([...])`. */
  stage(): Stage
  /** A WHATWG `TransformStream`. */
  web(): TransformStream<Uint8Array, Uint8Array>
  /** For `using`: wipes the keys at the end of the block, however far the body came. */
  [Symbol.dispose](): void
}

/** The façade in browsers and other runtimes. */
export interface WebSse extends SseOf<WebAdapters> {}

const adapt = <T extends WithDriver>(result: T): T & WebAdapters => ({
  ...result,
  pieces: source => toWebPieces(result.driver, source),
  stage: () => toStage(result.driver),
  web: () => toWeb(result.driver),
  [disposal]: () => result.driver.dispose(),
})

/**
 * Encrypts and decrypts objects under the keys of a KMS, without `node:`. The engine is WebCrypto, else noble, unless one is named.
 *
 * {@includeCode ../../test/examples/web.test.ts#web-entry}
 */
export const createSse = (options: SseOptions): WebSse =>
  sseOver(options, async () => options.engine ?? pickEngine([webCryptoEngine, nobleEngine]), adapt)
