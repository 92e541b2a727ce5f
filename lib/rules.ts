/**
 * The rules of SSE-KMS as functions, for a server of your own. They parse the headers of a request and decide who may have what under which
 * key. They plan copies, parse bucket policies and decide by them, and give the headers of an answer. They read no body, ask no KMS and need
 * no optional package.
 *
 * @module sse-kms-streams/rules
 */
export {
  type Access,
  assertAliasAllowed,
  assertContextAllowed,
  assertKeyEnabled,
  assertKeyOrigin,
  assertKeyRight,
  assertKeyUsable,
  assertKmsRole,
  assertOwnTenant,
  assertSigned,
  assertSingleProject,
  assertSomeKeyRight,
  authorizeRead,
  authorizeWrite,
  type KmsDecision,
  needsAliases,
  type RightfulKey,
  type UsableKey,
  type WriteAccess,
  type WriteDecision,
} from './sse/authorize.ts'
export {
  type BlockedEncryption,
  type BucketEncryption,
  type BucketEncryptionForm,
  bucketEncryptionOrBase,
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
  type Grant,
  type GrantableRight,
  type GrantedKeys,
  type KeyGrant,
  type KeyGrants,
  type KeyRight,
  readKeyGrants,
} from './sse/grants.ts'
export { assertKeyScope, keyQuery, type KeyReference, parseKeyReference } from './sse/key-id.ts'
export type { Dialect, EncryptionKind, HeaderGetter } from './sse/names.ts'
export {
  type AnonymousRequester,
  type Caller,
  createProfile,
  type Profile,
  type ProfileName,
  type ProfileOptions,
  type Requester,
  type SignedRequester,
  type Tenant,
  tenantAdmin,
} from './sse/profile.ts'
export {
  type KmsRequest,
  type OtherOperation,
  type OtherOptions,
  parseWriteHeaders,
  refuseOnOther,
  type SseRequest,
  type WriteOptions,
} from './sse/request.ts'
export { type AnsweredOperation, type ObjectEncryption, sseResponseHeaders } from './sse/response.ts'

export type { PolicyPrincipal } from './policy/elements.ts'
export { type ConditionValues, type PolicyTags, type RequestFacts, requestValues } from './policy/facts.ts'
export {
  decide,
  parsePolicy,
  type ParsePolicyOptions,
  type Policy,
  type PolicyDecision,
  type PolicyRequest,
} from './policy/policy.ts'
