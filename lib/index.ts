/**
 * Server-side encryption with KMS-managed keys as composable streams, for Node. Begin with `createSse`. `LocalKms` is the embedded key
 * manager. The other functions are for a server of your own.
 *
 * @module sse-kms-streams
 */
export * from './common.ts'
export { type FileRead, type FileSize, randomAccess, type ReadableHandle } from './object/access.ts'
export { createSse, type NodeAdapters, type NodeSseOptions, type Sse } from './object/node.ts'
export { LocalKms } from './kms/local/local.ts'
export type { KeyFilter, LocalKmsOptions, NewKey } from './kms/local/options.ts'
export type {
  RootKeyBytes,
  RootKeyEnvironment,
  RootKeyFile,
  RootKeyPassphrase,
  RootKeySource,
  ScryptCost,
} from './kms/local/root-key.ts'
export { SegmentMemory } from './cipher/memory.ts'
export { nodeEngine } from './cipher/node.ts'
export { tuneMemory } from './segment/node.ts'
