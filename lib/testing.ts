/**
 * For tests alone: the one place where randomness can be replaced, the suite that a key manager of your own is held to, and a key manager in
 * memory. Nothing in the product imports it.
 *
 * @module sse-kms-streams/testing
 */
export { type RandomSource, replaceRandomness } from './cipher/random.ts'
export { conformanceCases, runConformance } from './kms/testing/conformance.ts'
export {
  type MemoryDelay,
  type MemoryFault,
  memoryKms,
  type MemoryKms,
  type MemoryKmsOptions,
} from './kms/testing/memory.ts'
export type {
  ConformanceCase,
  ConformanceReport,
  ConformanceResult,
  ConformanceSetup,
  Fault,
  SecondProvider,
} from './kms/testing/setup.ts'
