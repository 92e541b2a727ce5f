/**
 * The S3-compatible gateway as a handler of `node:http`, and the rules of the service as functions for a server of one's own: what the headers
 * of a request ask for, who may have it, under which key, what a copy does, what a bucket policy says, and what is answered. Needs the
 * optional packages that `docs/guide-server.md` lists.
 *
 * @module
 */
export {
  type AccessLogEntry,
  createGateway,
  type GatewayHandler,
  type GatewayOptions,
  type GatewayUser,
} from './gateway/gateway.ts'

export {
  type Access,
  authorizeRead,
  authorizeWrite,
  type KmsDecision,
  type WriteAccess,
  type WriteDecision,
} from './sse/authorize.ts'
export {
  type BucketEncryption,
  type BucketEncryptionForm,
  bucketEncryptionOrBase,
  type BucketEncryptionRule,
  formatBucketEncryption,
  type KmsDefault,
  parseBucketEncryption,
  type SseS3Default,
} from './sse/bucket-encryption.ts'
export { assertSelfCopyLegal, type CopyPlan, type CopyQuestion, planCopy, type SelfCopy } from './sse/copy.ts'
export {
  assertPartKeyFits,
  assertReadKeyFits,
  type CustomerKeyRequest,
  parseCopySourceHeaders,
  parseCustomerKey,
  parseReadHeaders,
  type TransportOptions,
} from './sse/customer-key.ts'
export {
  type AliasReference,
  assertKeyScope,
  type KeyIdReference,
  keyQuery,
  type KeyReference,
  parseKeyReference,
} from './sse/key-id.ts'
export type { Dialect, EncryptionKind, HeaderGetter, Plain, SseS3 } from './sse/names.ts'
export { createProfile, type Profile, type ProfileName, type ProfileOptions } from './sse/profile.ts'
export {
  type KmsRequest,
  type NoRequest,
  type OtherOperation,
  type OtherOptions,
  parseWriteHeaders,
  refuseOnOther,
  type SseRequest,
  type SseS3Request,
  type WriteOptions,
} from './sse/request.ts'
export { type AnsweredOperation, type ObjectEncryption, sseResponseHeaders } from './sse/response.ts'
export {
  assertAliasAllowed,
  assertContextAllowed,
  assertKeyEnabled,
  assertKeyOrigin,
  assertKeyUsable,
  assertKmsRole,
  assertOwnTenant,
  assertSigned,
  assertSingleProject,
  type UsableKey,
} from './sse/authorize.ts'
export {
  type AnonymousRequester,
  type Caller,
  type Requester,
  type SignedRequester,
  type Tenant,
  tenantAdmin,
} from './sse/profile.ts'

export type { Condition } from './policy/condition.ts'
export { decide, type PolicyDecision, type PolicyRequest } from './policy/policy.ts'
export { type ConditionValues, type RequestFacts, requestValues } from './policy/facts.ts'
export {
  parsePolicy,
  type ParsePolicyOptions,
  type Policy,
  type PolicyVersion,
  type Statement,
} from './policy/policy.ts'
export type { PolicyPrincipal } from './policy/elements.ts'
