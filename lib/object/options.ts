/** What the calls of the façade are given. */
import type { Engine } from '../cipher/engine.ts'
import type { SuiteId } from '../cipher/suite.ts'
import type { BucketKeyOptions } from '../kms/bucket-keys.ts'
import type { ContextInput } from '../kms/context.ts'
import type { AcceptedKey, CallOptions, DataKeyWrapper } from '../kms/provider.ts'
import type { DecryptParts } from './decrypt.ts'
import type { EncryptParts } from './encrypt.ts'

/** What `createSse` is given. */
export interface SseOptions {
  /**
   * The key manager, or several: each stored key goes to the one that it names. Answers are checked before anything is sealed under them, or
   * trusted.
   */
  readonly kms: DataKeyWrapper | readonly DataKeyWrapper[]
  /** Master keys that objects may lie under: full ids of the KMS's keys, or keys with provider and lowest version. The first is the default. */
  readonly accept: readonly (string | AcceptedKey)[]
  /** Suite of new objects; 1 by default. */
  readonly suite?: SuiteId | undefined
  /** An engine; by default the first of the entry's that passes its self-test. */
  readonly engine?: Engine | undefined
  /** Bounds of the bucket keys in memory. */
  readonly bucketKeys?: BucketKeyOptions | undefined
  /** Milliseconds that the key manager has for each call; after them it is `KmsUnavailable`. Default 5,000. */
  readonly deadline?: number | undefined
}

/**
 * What every call may say. Its `signal` aborts the call, which rejects with the signal's reason; a body that was handed out already is
 * aborted as a stream.
 */
export interface KeyOptions extends CallOptions {
  /** Encryption context: names that begin with `aws:` are bound but not stored, all others lie in the envelope. */
  readonly context?: ContextInput | undefined
  /** The bucket's context: accepts objects and uploads that lie under a bucket key (wrapAlg 3), and is what that key is bound to. */
  readonly bucketContext?: ContextInput | undefined
  /** A customer's key of 32 bytes (SSE-C), instead of the KMS; it is copied and the copy wiped. */
  readonly customerKey?: Uint8Array | undefined
  /** Replaces the accepted keys for this call. */
  readonly accept?: readonly (string | AcceptedKey)[] | undefined
}

/** What a new data key, or that of a copy, is to lie under. */
export interface TargetOptions extends KeyOptions {
  /** Full id of the master key; by default the first accepted one. It must be an accepted one. */
  readonly keyId?: string | undefined
  /**
   * Puts the data key under the bucket key of `bucketContext`, which must be given then: one call to the KMS serves many objects.
   *
   * {@includeCode ../../test/examples/reference.test.ts#key,bucket-key}
   */
  readonly bucketKey?: boolean | undefined
}

/** How a body is encrypted. */
export interface EncryptOptions extends TargetOptions, Pick<EncryptParts, 'length' | 'values' | 'file' | 'memory'> {}

/** How an object is decrypted. */
export interface DecryptOptions
  extends KeyOptions, Pick<DecryptParts, 'range' | 'held' | 'etag' | 'values' | 'partValues' | 'memory'> {}

/** How a self-describing file is decrypted. */
export interface FileOptions extends KeyOptions, Pick<DecryptParts, 'range'> {}

/** How one that can be read anywhere is decrypted. */
export interface FileRangeOptions extends FileOptions {
  /** An ETag, without quotes, for which alone the range holds, as If-Range of HTTP says: another object is decrypted whole. */
  readonly ifRange?: string | undefined
}

/** How an upload is created. */
export interface UploadOptions extends TargetOptions {
  /**
   * With a customer's key: the key of the key manager under which the session holds the keys of Complete, so that `completeUpload` and
   * `listParts` need no customer's key. No part can be opened with them.
   *
   * {@includeCode ../../test/examples/reference.test.ts#sse,completion-keys}
   */
  readonly service?: Pick<TargetOptions, 'keyId' | 'accept' | 'bucketKey' | 'bucketContext'> | undefined
  /** The store's own upload id, appended to ours. */
  readonly own?: string | undefined
}

/** A stored upload. */
export interface StoredUpload {
  /** As the client sent it. */
  readonly uploadId: string
  /** As it was stored under that id. */
  readonly session: Uint8Array
}

/** How a copy is made. */
export interface CopyOptions extends DecryptOptions {
  /** The target's key and context; `context` is the source's where it is left out. */
  readonly to: TargetOptions
}
