/**
 * What a store is: where envelopes, bodies, uploads and their states live. The interface alone, for the embedded store (`./file.ts`) and
 * for any other. A store knows nothing of HTTP and nothing of cryptography: bodies, envelopes, sessions, receipts and sealed values are
 * opaque bytes, and what it says of an object (`kind`, `etag`, sizes) is a claim that a reader verifies.
 *
 * Every change is one step, seen whole or not at all by every process that uses the store, and durable when its promise resolves. Every
 * method may fail with `StoreFailed` (the medium) and, where it names a bucket, with `NoSuchBucket`; a change that fails has not
 * happened. Names are well-formed Unicode, a bucket of 1 to 63 bytes, a key of 1 to 1,024 bytes of UTF-8: another one is a `TypeError` or
 * a `RangeError`. Order is always that of the UTF-8 bytes.
 */
import type { Writable } from 'node:stream'

/** How a body lies in the store, as whoever wrote it says. */
export type ObjectKind = 'plain' | 'sse-kms' | 'sse-s3' | 'sse-c'

/** What a listing needs of an object. Immutable, serialisable. */
export interface ObjectSummary {
  /** Bytes of plaintext. */
  readonly size: number
  /** Bytes of the body in the store, as they were counted when it was written. */
  readonly storedSize: number
  /** Without quotes. */
  readonly etag: string
  /** Milliseconds since 1970. */
  readonly modified: number
  /** A claim. */
  readonly kind: ObjectKind
  /** `content-type`, `cache-control`, `x-amz-meta-…`: what is answered as it is. */
  readonly headers: Readonly<Record<string, string>>
  /** The server's own notes: tags, checksum of a plain object, key id, number of parts, ACL. */
  readonly attributes: Readonly<Record<string, string>>
  /** Domain id of the owner. */
  readonly owner: string
  /** Made by the store, another one for every write of an object: for compare-and-swap. */
  readonly version: string
}

/** An object but for its body. Immutable, serialisable. */
export interface ObjectRecord extends ObjectSummary {
  /** Envelope of a sealed body (format.md, section 7). */
  readonly envelope?: Uint8Array | undefined
  /** Sealed checksums (format.md, section 5). */
  readonly values?: Uint8Array | undefined
}

/** An object as its writer describes it: the store adds the rest. */
export type NewObject = Omit<ObjectRecord, 'storedSize' | 'version'>

/** What a new bucket is made with. */
export interface NewBucket {
  /** Domain id of the owner. */
  readonly owner: string
  /** Region that it was made in. */
  readonly region: string
  /** Milliseconds since 1970. */
  readonly created: number
}

/** A bucket. Immutable, serialisable. */
export interface Bucket extends NewBucket {
  /** Unique in the store. */
  readonly name: string
  /** Policy, encryption, tagging, ACL: documents of the server. */
  readonly settings: Readonly<Record<string, string>>
}

/**
 * Looks at what lies there now and throws to refuse the change: the change does not happen and its promise rejects with just that error.
 * Called inside the step, so it is quick and synchronous and calls no store; it may be called more than once.
 */
export type Condition = (current: ObjectSummary | undefined) => void

/** Options of a change to an object. */
export interface ChangeOptions {
  /** May refuse the change. */
  readonly condition?: Condition | undefined
}

/** Options of a new body. */
export interface BodyOptions {
  /** Bytes that are to come, where that is known: a hint. */
  readonly expectedSize?: number | undefined
}

/** A body on its way into the store. It belongs to nothing, and disappears with its process, until it is given to a change. */
export interface BodyWriter {
  /** Takes the body, byte by byte as it shall lie in the store; its `finish` says that all of it is durable. Errors are `StoreFailed`. */
  readonly writable: Writable
  /** Bytes taken so far. */
  readonly size: number
  /** Throws the body away; does nothing once a change has taken it. Never rejects, may be called twice. */
  discard(): Promise<void>
}

/** Which bytes of a body. */
export interface ReadOptions {
  /** First byte; default 0. */
  readonly start?: number | undefined
  /** Last byte, inclusive; default the last one. */
  readonly end?: number | undefined
  /** Bytes of a chunk; chunks at file borders may be shorter. Default 256 KiB. */
  readonly highWaterMark?: number | undefined
  /** Says that a chunk is done with once the next one is asked for, so that its memory may be used again. Chunks are memory of their own by default. */
  readonly reuse?: boolean | undefined
}

/** A body that stays readable until it is closed, whatever happens to its object. */
export interface BodyReader {
  /** Bytes that the store really holds, which a reader compares with what it expects. */
  readonly size: number
  /**
   * Exactly these bytes, chunk by chunk, such as a stream: it ends after the last one, or fails with `StoreFailed`. May be called several times.
   * `RangeError` where the range is not inside the body.
   */
  read(options?: ReadOptions): AsyncIterable<Uint8Array>
  /** Releases the body; what is still read from it fails. May be called twice. */
  close(): Promise<void>
}

/** An object opened for reading. */
export interface OpenedObject {
  /** The object but for its body, of the same write as the body. */
  readonly record: ObjectRecord
  /** To be closed by the caller. */
  readonly body: BodyReader
}

/** Where an object lies. */
export interface ObjectName {
  /** Name of the bucket. */
  readonly bucket: string
  /** Key of the object in it. */
  readonly key: string
}

/** Which objects to list. */
export interface ListOptions {
  /** Only keys that begin so. */
  readonly prefix?: string | undefined
  /** Keys that go on after the prefix up to here are rolled up into one common prefix. */
  readonly delimiter?: string | undefined
  /** Only keys and common prefixes behind this one. */
  readonly after?: string | undefined
  /** Most entries and common prefixes together. */
  readonly limit: number
}

/** An object of a listing. */
export interface ListedObject {
  /** Key of the object. */
  readonly key: string
  /** What a listing needs of it. */
  readonly record: ObjectSummary
}

/** A page of a listing. */
export interface ObjectListing {
  /** Objects, by key. */
  readonly entries: readonly ListedObject[]
  /** Common prefixes. */
  readonly prefixes: readonly string[]
  /** Whether there is more. */
  readonly truncated: boolean
  /** What to go on `after`, where there is more. */
  readonly next: string | undefined
}

/** What an upload is created with: its id and what its object is going to have. */
export interface NewUpload {
  /** Unique, at most 600 bytes. */
  readonly id: string
  /** Opaque bytes of the upload (format.md, section 7). */
  readonly session?: Uint8Array | undefined
  /** What the object is going to be: a claim. */
  readonly kind: ObjectKind
  /** What the object is going to have. */
  readonly headers: Readonly<Record<string, string>>
  /** The server's own notes. */
  readonly attributes: Readonly<Record<string, string>>
  /** Domain id of the owner. */
  readonly owner: string
  /** Milliseconds since 1970. */
  readonly initiated: number
}

/** An upload. */
export interface Upload extends NewUpload {
  /** Key of the object that it is going to be. */
  readonly key: string
  /** Token of the Complete that has happened; absent while the upload is open. */
  readonly completed?: string | undefined
}

/** Which uploads to look at. */
export interface UploadOptions {
  /** Also one that was completed a short time ago, so that a repeated Complete can be answered. Default `false`. */
  readonly completed?: boolean | undefined
}

/** Which uploads to list. */
export interface ListUploadsOptions {
  /** Only keys that begin so. */
  readonly prefix?: string | undefined
  /** As in {@link ListOptions}. */
  readonly delimiter?: string | undefined
  /** Only keys and common prefixes behind this one (and, with `idAfter`, this key's uploads behind that id). */
  readonly keyAfter?: string | undefined
  /** Only uploads of `keyAfter` behind this id, and all of later keys. */
  readonly idAfter?: string | undefined
  /** Most entries and common prefixes together. */
  readonly limit: number
}

/** A page of open uploads, ordered by key, then by id. */
export interface UploadListing {
  /** Open uploads. */
  readonly uploads: readonly Upload[]
  /** Common prefixes. */
  readonly prefixes: readonly string[]
  /** Whether there is more. */
  readonly truncated: boolean
  /** What to go on after, where there is more; `idAfter` is missing behind a common prefix. */
  readonly next: Pick<ListUploadsOptions, 'keyAfter' | 'idAfter'> | undefined
}

/** A part as its writer describes it. */
export interface NewPart {
  /** Part number, 1 to 10,000; several attempts may have the same. */
  readonly number: number
  /** Names this attempt: unique within the upload. */
  readonly attempt: string
  /** Bytes of plaintext. */
  readonly size: number
  /** Without quotes. */
  readonly etag?: string | undefined
  /** Opaque bytes of the part: its receipt (format.md, section 7), or the checksum of a plain one. */
  readonly receipt?: Uint8Array | undefined
  /** Milliseconds since 1970. */
  readonly modified: number
}

/** An acknowledged attempt of a part. */
export interface Part extends NewPart {
  /** Bytes of the attempt in the store. */
  readonly storedSize: number
}

/** What an upload is completed with. */
export interface Completion {
  /** Names what the upload becomes: the same token, the same object. */
  readonly token: string
  /** The attempts that make up the body, in order. */
  readonly attempts: readonly string[]
  /** The object but for its body. */
  readonly record: NewObject
}

/** What the store really holds of an attempt. */
export interface PartPeek {
  /** Bytes that the store holds. */
  readonly size: number
  /** Its first bytes, fewer where it has not as many. */
  readonly head: Uint8Array
}

/** What a sweep did. */
export interface SweepReport {
  /** Body files that were looked at. */
  readonly examined: number
  /** Body files that belonged to nothing and were deleted. */
  readonly removed: number
  /** Bodies of processes that are gone: begun and never committed. */
  readonly abandoned: number
  /** Bodies that processes which are gone had open. */
  readonly released: number
  /** Completed uploads whose memory was given up. */
  readonly forgotten: number
}

/** A store. */
export interface ObjectStore {
  /** Errors: `BucketAlreadyOwnedByYou`, `BucketAlreadyExists`. */
  createBucket(name: string, bucket: NewBucket): Promise<Bucket>
  /** The bucket, if there is one. */
  getBucket(name: string): Promise<Bucket | undefined>
  /** Swaps a bucket's settings in one step. `change` is as quick, synchronous and free to throw as a {@link Condition}. */
  updateBucket(name: string, change: (bucket: Bucket) => Bucket['settings']): Promise<Bucket>
  /** Errors: `BucketNotEmpty`, where there are objects or open uploads. */
  deleteBucket(name: string): Promise<void>
  /** The buckets of an owner, or all, by name. */
  listBuckets(options?: { readonly owner?: string | undefined }): Promise<readonly Bucket[]>

  /** Begins a body. */
  createBody(options?: BodyOptions): Promise<BodyWriter>

  /**
   * Makes this record and body the object at the key, instead of what was there. The body's stream must have finished. Whatever fails, the
   * old object is whole and the body is discarded.
   */
  putObject(
    bucket: string,
    key: string,
    record: NewObject,
    body: BodyWriter,
    options?: ChangeOptions,
  ): Promise<ObjectRecord>
  /** The object's record, if there is an object. */
  getObject(bucket: string, key: string): Promise<ObjectRecord | undefined>
  /** The object with its body, if there is an object: of one and the same write. */
  openObject(bucket: string, key: string): Promise<OpenedObject | undefined>
  /** Whether something was deleted. */
  deleteObject(bucket: string, key: string, options?: ChangeOptions): Promise<boolean>
  /**
   * Makes this record and the source's body the object at the target; no byte is copied, and source and target may be the same. Errors:
   * `NoSuchKey`; `PreconditionFailed` where the source is no longer that version.
   */
  copyObject(
    source: ObjectName & { readonly version: string },
    target: ObjectName,
    record: NewObject,
    options?: ChangeOptions,
  ): Promise<ObjectRecord>
  /** A page of the objects of a bucket. */
  listObjects(bucket: string, options: ListOptions): Promise<ObjectListing>

  /** Opens an upload. `TypeError` where its id is taken. */
  createUpload(bucket: string, key: string, upload: NewUpload): Promise<Upload>
  /** The upload, if there is one. */
  getUpload(bucket: string, key: string, id: string, options?: UploadOptions): Promise<Upload | undefined>
  /** A page of the open uploads of a bucket. */
  listUploads(bucket: string, options: ListUploadsOptions): Promise<UploadListing>
  /**
   * Keeps an attempt of a part, beside those of the same number that are there. `NoSuchUpload` where the upload is not open; whatever
   * fails, the body is discarded.
   */
  putPart(bucket: string, key: string, id: string, part: NewPart, body: BodyWriter): Promise<Part>
  /** All attempts in the order of their acknowledgement; of a completed upload those that its object has. Errors: `NoSuchUpload`. */
  listParts(bucket: string, key: string, id: string, options?: UploadOptions): Promise<readonly Part[]>
  /** What the store really holds of an attempt: its size and first `length` bytes; nothing where there is none. */
  peekPart(
    bucket: string,
    key: string,
    id: string,
    attempt: string,
    length: number,
    options?: UploadOptions,
  ): Promise<PartPeek | undefined>
  /**
   * Swaps the upload from open to completed with this token, and makes the attempts, one after the other, the object; other attempts are
   * dropped. Where it was completed with the same token before, the same record is answered. Errors: `NoSuchUpload`, also where it was
   * completed with another token; `InvalidPart` for an attempt that is not there.
   */
  completeUpload(
    bucket: string,
    key: string,
    id: string,
    completion: Completion,
    options?: ChangeOptions,
  ): Promise<ObjectRecord>
  /** Drops an open upload and its attempts. Errors: `NoSuchUpload`. */
  abortUpload(bucket: string, key: string, id: string): Promise<void>

  /** Deletes what processes that are gone left behind, and gives up completed uploads after their time. */
  sweep(): Promise<SweepReport>
  /** Waits for what is under way and lets go of the store. */
  close(): Promise<void>
}
