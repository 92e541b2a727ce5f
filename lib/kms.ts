/**
 * What a server needs around a key manager such as AWS KMS, an HSM or Vault: bounds on its calls, and keys of tenants. The key managers themselves are `sse-kms-streams/kms/aws`,
 * `/huawei`, `/vault`, `/pkcs11` and `/kmip`.
 *
 * @module sse-kms-streams/kms
 */
export { kmsChannel, type KmsEvent, type KmsOperation } from './kms/events.ts'
export { type KeyCacheOptions, withCache } from './kms/decorators/cache.ts'
export { guarded, type GuardOptions } from './kms/decorators/guarded.ts'
export {
  type BreakerOptions,
  type BulkheadOptions,
  observed,
  type RetryOptions,
  withBreaker,
  withBulkhead,
  withDeadline,
  withProof,
  withRetry,
} from './kms/decorators/policies.ts'
export type { KeyManager, ManagedKey } from './kms/manager.ts'
export { recorded } from './kms/recorded.ts'
export { type KeyRoute, routed } from './kms/routed.ts'
export { type KeyRegister, registered, type RegisteredOptions, type TenantKey } from './kms/registered.ts'
