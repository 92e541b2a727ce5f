/** What `.` and `./web` both export: free of `node:`. Re-exports only. */
export { errorTable, SseError, type ErrorCode, type SseErrorOptions } from './errors.ts'

export type { Decryption } from './object/decrypt.ts'
export type { Encryption, PlannedObject, SealedObject } from './object/encrypt.ts'
export { answerOf, type AnswerHead, type ErrorAnswer, errorAnswer, parseRange } from './object/http.ts'
export { type FileFront, type RandomAccess, readFileEnvelope } from './object/file.ts'
export type {
  CompletedUpload,
  CompleteOptions,
  HeldAttempt,
  ListedPart,
  ListPartsOptions,
  NamedPart,
  PartEncryption,
  PartOptions,
  SealedPart,
} from './object/multipart.ts'
export type {
  CopyOptions,
  DecryptOptions,
  EncryptOptions,
  FileOptions,
  FileRangeOptions,
  KeyOptions,
  StoredUpload,
  TargetOptions,
  UploadOptions,
} from './object/options.ts'
export type { Reencryption, RewrappedFile } from './object/sse.ts'
export type { CreatedUpload } from './object/upload.ts'

export type { BucketKeyOptions } from './kms/bucket-keys.ts'
export { clientContext, type ContextInput, type EncryptionContext, encryptionContext } from './kms/context.ts'
export { customerKey, type CustomerKey } from './kms/customer.ts'
export { DataKey } from './kms/data-key.ts'
export type { KeyManager, ManagedKey } from './kms/manager.ts'
export type {
  AcceptedKey,
  AcceptScope,
  CallOptions,
  DataKeyWrapper,
  GeneratedKey,
  KeyAdministration,
  KeyDescription,
  KeyQuery,
  DefaultKeyScope,
  KeyScope,
  KeyState,
  KeyUse,
  KmsProvider,
  RewrapRequest,
  UnwrapRequest,
  WrapAlg,
  WrappedKey,
  WrapTarget,
} from './kms/provider.ts'

export {
  type CompletionKeys,
  type Envelope,
  parseEnvelope,
  parseReceipt,
  parseSession,
  type Receipt,
  type Session,
} from './envelope/envelope.ts'
export type { PartRow } from './envelope/part-table.ts'
export { compositeFlag, type PartValues, valueIds, type Values } from './envelope/sealed-values.ts'
export type { Chunks } from './segment/driver.ts'
export {
  type ByteRange,
  maxPlaintext,
  plaintextLength,
  type RangeRequest,
  resolveRange,
  type SegmentRange,
  segmentRange,
  storedLength,
} from './segment/layout.ts'

export { pickEngine, selfTest } from './cipher/choose.ts'
export type { Engine } from './cipher/engine.ts'
export { nobleEngine } from './cipher/noble.ts'
export { type Suite, type SuiteId, suiteOf } from './cipher/suite.ts'
export { webCryptoEngine } from './cipher/web.ts'
