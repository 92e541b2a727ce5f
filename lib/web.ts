/**
 * The same as `sse-kms-streams` without `node:`, for browsers and other runtimes. The engine is WebCrypto or noble. Bodies are WHATWG streams
 * and stages for stream-chain.
 *
 * @module sse-kms-streams/web
 */
export * from './common.ts'
export { createSse, type WebAdapters, type WebSse } from './object/web.ts'
export type { SseOptions } from './object/options.ts'
