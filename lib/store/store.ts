/**
 * What a store is: where envelopes, bodies, uploads and their states live. The interface alone, for the embedded store (`./file/store.ts`)
 * and for any other. A store knows nothing of HTTP and nothing of cryptography: bodies, envelopes, sessions, receipts and sealed values are
 * opaque bytes, and what it says of an object (`kind`, `etag`, sizes, notes) is a claim that a reader verifies.
 *
 * Every change is one step, seen whole or not at all by every process that uses the store, and durable when its promise resolves. Every
 * method may fail with `StoreFailed` (the medium) and `StoreUnavailable` (the medium, for a moment), a change also with `StoreFull` and `StoreBusy`; a change that fails has not happened, unless `StoreUnavailable` says that nobody knows. Names are well-formed Unicode, a bucket of 1 to 63
 * bytes, a key of 1 to 1,024 bytes of UTF-8: another one is a `TypeError` or a `RangeError`. Order is always that of the UTF-8 bytes.
 *
 * Everything in a bucket hangs on the bucket's random id, never on its name. A method that takes a bucket fails with `NoSuchBucket` where
 * there is no bucket of that id any more, also where another one has its name. A change takes the bucket as its caller read and judged it:
 * where its revision is another one by now, the change fails with `BucketChanged`, and the caller judges again. A body that was to be
 * committed stays whole then, and may be committed again.
 */
import type { Writable } from 'node:stream'
import type { StoreInspection } from './inspection.ts'
import type {
  ObjectSummary,
  ObjectRecord,
  NewObject,
  NewBucket,
  BucketRevision,
  Bucket,
  ObjectCondition,
  NewUpload,
  Upload,
  NewPart,
  Part,
} from './records.ts'

/** Options of a new body. */
export interface BodyOptions {
  /** Bytes that are to come, where that is known: a hint. */
  readonly expectedSize?: number | undefined
}

/** A body on its way into the store. It belongs to nothing, and disappears with its process, until a change commits it. */
export interface BodyWriter extends AsyncDisposable {
  /**
   * Takes the body, byte by byte as it shall lie in the store; its `finish` says that all of it is durable. Errors are `StoreFailed`. Where more
   * than 64 KiB are expected, the memory of a chunk may be used again once its `write` has called back.
   */
  readonly writable: Writable
  /** Bytes taken so far. */
  readonly size: number
  /** Throws the body away; does nothing once a change has committed it. Never rejects, may be called twice. `await using` calls it. */
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

/**
 * A body that stays readable until it is closed, whatever happens to its object; where that was deleted or replaced and a store's grace time
 * is over, it may fail with `StoreFailed`, and never answers other bytes.
 */
export interface BodyReader extends AsyncDisposable {
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

/** Bounds of a new bucket. */
export interface CreateBucketOptions {
  /** Buckets that its owner may have, this one included. Default: any number. */
  readonly most?: number | undefined
}

/** Bounds of a new upload. */
export interface CreateUploadOptions {
  /** Open uploads that its bucket may have, this one included; those that are opened at the same moment may go beyond it. Default: any number. */
  readonly most?: number | undefined
}

/** An upload that was open for too long, and was dropped. */
export interface ExpiredUpload {
  /** Name of its bucket. */
  readonly bucket: string
  /** Key of the object that it was to become. */
  readonly key: string
  /** Its id. */
  readonly id: string
  /** When it was opened, in milliseconds since 1970. */
  readonly initiated: number
}

/** How much there is in a store, for an operator: it may be an estimate where there is much. */
export interface StoreCounts {
  /** Uploads that are open. */
  readonly openUploads: number
  /** Files of bodies and of parts. */
  readonly bodyFiles: number
}

/** How to delete a bucket. */
export interface DeleteBucketOptions {
  /** Whether open uploads go with the bucket. Default `false`: they keep it. */
  readonly dropUploads?: boolean | undefined
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

/** Which uploads to look at. */
export interface FindUploadOptions {
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
  /** Body files that were deleted: garbage whose time had come, and what belonged to nothing. */
  readonly removed: number
  /** Bodies of processes that are gone: begun and never committed. */
  readonly abandoned: number
  /** Completed uploads whose memory was given up. */
  readonly forgotten: number
}

/** The object that a copy takes its body from, as it was read. */
export interface CopyFrom {
  /** Id of its bucket. */
  readonly bucketId: string
  /** Its key. */
  readonly key: string
  /** Its revision. */
  readonly revision: string
}

/** A store. */
export interface ObjectStore extends AsyncDisposable {
  /** Names the store: random, 32 hex digits, the same for good. */
  readonly id: string
  /**
   * Records a fact of the whole store under a name of 1 to 1,024 bytes, and answers the one that stands: the first one does, for good.
   */
  claim(name: string, value: string): Promise<string>
  /** All claims by name. */
  claims(): Promise<ReadonlyMap<string, string>>

  /** Errors: `BucketAlreadyOwnedByYou`, `BucketAlreadyExists`; `TooManyBuckets`, where its owner has `most` already. */
  createBucket(name: string, bucket: NewBucket, options?: CreateBucketOptions): Promise<Bucket>
  /** The bucket that has this name now, if there is one. */
  getBucket(name: string): Promise<Bucket | undefined>
  /** Swaps a bucket's settings in one step, and gives it another revision. Errors: `BucketChanged`. */
  updateBucket(bucket: Bucket, change: Pick<Bucket, 'settings' | 'mac'>): Promise<Bucket>
  /** Errors: `BucketChanged`; `BucketNotEmpty`, where there are objects or, unless `dropUploads`, open uploads. */
  deleteBucket(bucket: BucketRevision, options?: DeleteBucketOptions): Promise<void>
  /** The buckets of an owner, or all, by name. */
  listBuckets(options?: { readonly owner?: string | undefined }): Promise<readonly Bucket[]>

  /** Begins a body. */
  createBody(options?: BodyOptions): Promise<BodyWriter>

  /**
   * Makes this record and body the object at the key, instead of what was there. The body's stream must have finished. Whatever fails, the
   * old object is whole; the body is discarded, unless the error is `BucketChanged`. Errors: `BucketChanged`, and those of a condition.
   */
  putObject(
    bucket: BucketRevision,
    key: string,
    record: NewObject,
    body: BodyWriter,
    condition?: ObjectCondition,
  ): Promise<ObjectRecord>
  /** The object's record, if there is an object. */
  getObject(bucketId: string, key: string): Promise<ObjectRecord | undefined>
  /** The object with its body, if there is an object: of one and the same write. */
  openObject(bucketId: string, key: string): Promise<OpenedObject | undefined>
  /** Whether something was deleted. Errors: `BucketChanged`, and those of a condition. */
  deleteObject(bucket: BucketRevision, key: string, condition?: ObjectCondition): Promise<boolean>
  /**
   * Makes this record and the source's body the object at the key; no byte is copied, and source and target may be the same. Errors:
   * `NoSuchKey`; `PreconditionFailed` where the source has another revision by now; `BucketChanged` of the target, and those of a condition.
   */
  copyObject(
    source: CopyFrom,
    bucket: BucketRevision,
    key: string,
    record: NewObject,
    condition?: ObjectCondition,
  ): Promise<ObjectRecord>
  /**
   * Swaps what is noted of an object; body, ETag and time of last change stay. Errors: `NoSuchKey`; `PreconditionFailed` where the object
   * has another revision by now than the condition's; `BucketChanged`, and those of the condition.
   */
  updateNotes(
    bucket: BucketRevision,
    key: string,
    change: Pick<NewObject, 'notes' | 'mac'>,
    condition?: ObjectCondition,
  ): Promise<ObjectRecord>
  /** A page of the objects of a bucket. */
  listObjects(bucketId: string, options: ListOptions): Promise<ObjectListing>

  /** Opens an upload. `TypeError` where its id is taken. Errors: `BucketChanged`; `TooManyUploads`, where the bucket has `most` open ones already. */
  createUpload(bucket: BucketRevision, key: string, upload: NewUpload, options?: CreateUploadOptions): Promise<Upload>
  /** The upload, if there is one. */
  getUpload(bucketId: string, key: string, id: string, options?: FindUploadOptions): Promise<Upload | undefined>
  /** A page of the open uploads of a bucket. */
  listUploads(bucketId: string, options: ListUploadsOptions): Promise<UploadListing>
  /**
   * Keeps an attempt of a part, beside those of the same number: the three newest and all younger than 15 minutes; older ones are let go.
   * Whatever fails, the body is discarded, unless the error is
   * `BucketChanged`. Errors: `NoSuchUpload` where the upload is not open; `BucketChanged`.
   */
  putPart(bucket: BucketRevision, key: string, id: string, part: NewPart, body: BodyWriter): Promise<Part>
  /**
   * The attempts that are kept, by part number, those of a number in the order of their acknowledgement; of a completed upload those that
   * its object has. Errors: `NoSuchUpload`.
   */
  listParts(bucketId: string, key: string, id: string, options?: FindUploadOptions): Promise<readonly Part[]>
  /** What the store really holds of these attempts, in their order: size and first `length` bytes; nothing where there is none. */
  peekParts(
    bucketId: string,
    key: string,
    id: string,
    attempts: readonly string[],
    length: number,
    options?: FindUploadOptions,
  ): Promise<readonly (PartPeek | undefined)[]>
  /**
   * Swaps the upload from open to completed with this token, and makes the attempts, one after the other, the object; other attempts are
   * dropped. Where it was completed with the same token before, the same record is answered, whatever else has changed meanwhile. Errors:
   * `NoSuchUpload`, also where it was completed with another token; `InvalidPart` for an attempt that is not there; `BucketChanged`, and
   * those of a condition.
   */
  completeUpload(
    bucket: BucketRevision,
    key: string,
    id: string,
    completion: Completion,
    condition?: ObjectCondition,
  ): Promise<ObjectRecord>
  /** Drops an open upload and its attempts. Errors: `NoSuchUpload`, `BucketChanged`. */
  abortUpload(bucket: BucketRevision, key: string, id: string): Promise<void>

  /** What a check of the store looks at. */
  inspect(): StoreInspection
  /** How much there is. Takes the same short time however much that is. */
  counts(): Promise<StoreCounts>
  /** Deletes what processes that are gone left behind, drops uploads that are open for too long, and gives up completed uploads after their time. */
  sweep(): Promise<SweepReport>
  /** Waits for what is under way and lets go of the store. */
  close(): Promise<void>
}
