/** What a store keeps of buckets, objects, uploads and parts: plain data. What it says of an object is a claim that a reader verifies. */
import type { EncryptionKind } from '../sse/names.ts'

/** What is noted of a checksum. */
export interface ChecksumNote {
  /** `crc32`, `crc32c`, `crc64nvme`, `sha1` or `sha256`. */
  readonly algorithm: string
  /** Of the object's bytes, or of its parts' checksums. */
  readonly type: 'FULL_OBJECT' | 'COMPOSITE'
  /** In base64; absent where the object is sealed, and its checksum with it. */
  readonly value?: string | undefined
}

/** Parts of one size, one after the other. */
export interface PartRun {
  /** Number of the first one. */
  readonly first: number
  /** Bytes of plaintext of each. */
  readonly size: number
  /** How many there are. */
  readonly count: number
}

/** What the server notes of an object. Serialisable; what is not known is left out. */
export interface ObjectNotes {
  /** Name of a canned ACL that opens the object to others. */
  readonly acl?: string | undefined
  /** Tags, in the order in which they were put. */
  readonly tags?: readonly (readonly [name: string, value: string])[] | undefined
  /** Full id of the master key, of an object under SSE-KMS: a claim. */
  readonly keyId?: string | undefined
  /** Whether its data key lies under a bucket key: a claim. */
  readonly bucketKey?: boolean | undefined
  /** How many parts it was uploaded in. */
  readonly parts?: number | undefined
  /** The parts of a plain object. */
  readonly partSizes?: readonly PartRun[] | undefined
  /** Its checksum: of a plain object with its value. */
  readonly checksum?: ChecksumNote | undefined
}

/** What the server notes of an upload: what its object is going to have, and how its parts are summed up. */
export interface UploadNotes extends ObjectNotes {
  /** The checksum that was agreed on. */
  readonly summedUp?: AgreedChecksum | undefined
  /** Who began it: domain id and name of a user, a slash between them. */
  readonly initiator?: string | undefined
}

/** The checksum of an upload. */
export interface AgreedChecksum extends Omit<ChecksumNote, 'value'> {
  /** Whether the client asked for it. */
  readonly asked: boolean
}

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
  /** How the body is encrypted, as its writer says: a claim. */
  readonly kind: EncryptionKind
  /** `content-type`, `cache-control`, `x-amz-meta-…`: what is answered as it is. */
  readonly headers: Readonly<Record<string, string>>
  /** The server's own. */
  readonly notes: ObjectNotes
  /** Domain id of the owner. */
  readonly owner: string
  /** Made by the store, another one for every write of an object: for compare-and-swap. */
  readonly revision: string
}

/** An object but for its body. Immutable, serialisable. */
export interface ObjectRecord extends ObjectSummary {
  /** Envelope of a sealed body (format.md, section 7). */
  readonly envelope?: Uint8Array | undefined
  /** Sealed checksums (format.md, section 5). */
  readonly values?: Uint8Array | undefined
  /** Of an object that was uploaded in parts: their sealed checksums (format.md, section 5), or those of a plain one as they are. */
  readonly partValues?: Uint8Array | undefined
  /** Authenticates the record; opaque to the store. See `authenticated`. */
  readonly mac?: Uint8Array | undefined
}

/** An object as its writer describes it: the store adds the rest. */
export type NewObject = Omit<ObjectRecord, 'storedSize' | 'revision'>

/** What a new bucket is made with. */
export interface NewBucket {
  /** Random, 32 hex digits, never used again; the store draws one where it is left out. */
  readonly id?: string | undefined
  /** Domain id of the owner. */
  readonly owner: string
  /** Region that it was made in. */
  readonly region: string
  /** Milliseconds since 1970. */
  readonly created: number
  /** What it has from the start; nothing by default. */
  readonly settings?: Readonly<Record<string, string>> | undefined
  /** Authenticates the bucket; opaque to the store. See `authenticated`. */
  readonly mac?: Uint8Array | undefined
}

/** A bucket as a caller has read and judged it; a {@link Bucket} is one. */
export interface BucketRevision {
  /** Random, never used again. */
  readonly id: string
  /** Made by the store, another one for every change of the bucket's settings. */
  readonly revision: string
}

/** A bucket. Immutable, serialisable. */
export interface Bucket extends Omit<NewBucket, 'id' | 'settings'>, BucketRevision {
  /** Unique in the store. */
  readonly name: string
  /** Policy, encryption, tagging, ACL: documents of the server. */
  readonly settings: Readonly<Record<string, string>>
}

/**
 * What must hold of the object that lies there for a change to happen, looked at in the step that makes the change. Plain data, so that any
 * store can hold it; see `condition.ts`, which says what each member means.
 */
export interface ObjectCondition {
  /** Its revision. */
  readonly revision?: string | undefined
  /** One of these ETags, or any object at all. */
  readonly ifMatch?: readonly string[] | '*' | undefined
  /** None of these ETags, or no object at all. */
  readonly ifNoneMatch?: readonly string[] | '*' | undefined
  /** Its time of last change, in whole seconds since 1970; holds where there is no object. */
  readonly modified?: number | undefined
  /** Its bytes of plaintext; holds where there is no object. */
  readonly size?: number | undefined
  /** Kinds that it must not be of: `AccessDenied`. */
  readonly refuseKinds?: readonly EncryptionKind[] | undefined
}

/** What an upload is created with: its id and what its object is going to have. */
export interface NewUpload {
  /** Unique, at most 600 bytes. */
  readonly id: string
  /** Opaque bytes of the upload (format.md, section 7). */
  readonly session?: Uint8Array | undefined
  /** What the object is going to be: a claim. */
  readonly kind: EncryptionKind
  /** What the object is going to have. */
  readonly headers: Readonly<Record<string, string>>
  /** The server's own. */
  readonly notes: UploadNotes
  /** Domain id of the owner. */
  readonly owner: string
  /** Milliseconds since 1970. */
  readonly initiated: number
  /** Authenticates the upload; opaque to the store. See `authenticated`. */
  readonly mac?: Uint8Array | undefined
}

/** An upload. */
export interface Upload extends NewUpload {
  /** Key of the object that it is going to be. */
  readonly key: string
  /** Token of the Complete that has happened; absent while the upload is open. */
  readonly completed?: string | undefined
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
