/** What both entries share: free of `node:`. Re-exports only. */
export type {
  AsyncEngine,
  Engine,
  Primitives,
  SegmentCipher,
  SegmentOpener,
  SegmentSealer,
  SyncEngine,
} from './cipher/engine.ts'
export { pickEngine, selfTest } from './cipher/choose.ts'
export { nobleEngine } from './cipher/noble.ts'
export { webCryptoEngine } from './cipher/web.ts'
export { type Aead, type Suite, type SuiteId, suiteOf } from './cipher/suite.ts'
export type { BucketKeyOptions, BucketKeys, BucketKeyTarget } from './kms/bucket-keys.ts'
export { clientContext, type ContextInput, type EncryptionContext, encryptionContext } from './kms/context.ts'
export { customerKey, type CustomerKey } from './kms/customer.ts'
export { DataKey } from './kms/data-key.ts'
export type {
  GeneratedKey,
  KeyDescription,
  KeyQuery,
  KeyScope,
  KeyState,
  KeyWrapper,
  KmsProvider,
  RewrapRequest,
  UnwrapRequest,
  WrapAlg,
  WrappedKey,
  WrapTarget,
} from './kms/provider.ts'
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
export type { Driver, Emit } from './segment/driver.ts'
export { type Stage, toStage } from './segment/chain.ts'
export { toWeb } from './segment/web.ts'
export { type Descriptor } from './envelope/descriptor.ts'
export {
  type Envelope,
  parseEnvelope,
  parseReceipt,
  parseSession,
  type Receipt,
  type Session,
} from './envelope/envelope.ts'
export type { PartRow } from './envelope/part-table.ts'
export { compositeFlag, valueIds, type ValueKind, type ValueName, type Values } from './envelope/sealed-values.ts'
export type { WrapRecord } from './envelope/wrap-record.ts'
export type { AcceptedKey } from './object/decrypt.ts'
export type { Decryption, DecryptParts, UnlockParts } from './object/decrypt.ts'
export type { Encryption, EncryptParts, PlannedObject, SealedObject } from './object/encrypt.ts'
export { type FileFront, type RandomAccess, readFileEnvelope } from './object/file.ts'
export type {
  CompletedUpload,
  CompleteOptions,
  HeldAttempt,
  ListedPart,
  NamedPart,
  CreatedUpload,
  PartEncryption,
  PartOptions,
  SealedPart,
} from './object/multipart.ts'
export type {
  CopyOptions,
  DecryptOptions,
  WithDriver,
  EncryptOptions,
  KeyOptions,
  Reencryption,
  RewrappedFile,
  Adapt,
  SseOf,
  SseOptions,
  StoredUpload,
  TargetOptions,
  UploadOptions,
} from './object/sse.ts'
