/**
 * Server-side encryption with KMS-managed keys as composable streams, for Node. `createSse` is where to begin; `LocalKms` is the embedded
 * key manager; the rest is what a custom server needs around them.
 *
 * @module
 */
export { errorTable, SseError, type ErrorCode, type ErrorRow, type SseErrorOptions } from './errors.ts'
export type { MaybePromise } from './bytes.ts'
export * from './common.ts'
export { ffiEngine } from './cipher/ffi.ts'
export { nodeEngine } from './cipher/node.ts'
export { type KeyFilter, LocalKms, type LocalKmsOptions, type NewKey } from './kms/local/local.ts'
export type {
  RootKeyBytes,
  RootKeyEnvironment,
  RootKeyFile,
  RootKeyPassphrase,
  RootKeySource,
  ScryptCost,
} from './kms/local/root-key.ts'
export { createSse, type NodeAdapters, type NodeSseOptions, type Sse } from './object/node.ts'
export { tuneMemory } from './segment/node.ts'
export { toPieces } from './segment/node.ts'
export { toTransform } from './segment/node.ts'
