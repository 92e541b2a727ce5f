/**
 * The same without `node:`, for browsers and other runtimes: WebCrypto or noble underneath, WHATWG streams and stream-chain stages on top.
 *
 * @module
 */
export { errorTable, SseError, type ErrorCode, type ErrorRow, type SseErrorOptions } from './errors.ts'
export type { MaybePromise } from './bytes.ts'
export * from './common.ts'
export { createSse, type WebAdapters, type WebSse } from './object/web.ts'
