/**
 * Moves a stored object to another master key, or to the newest version of its own: the data key is wrapped anew, and body, ETag, time of last
 * change, metadata and checksums stay.
 */
import { parseEnvelope, parseSession } from '../../envelope/envelope.ts'
import { SseError } from '../../errors.ts'
import { masterKeyVersion } from '../../kms/wrap.ts'
import type { WrappedKey } from '../../kms/provider.ts'
import type { KeyOptions } from '../../object/options.ts'
import type { BucketRevision, NewObject, ObjectCondition, ObjectRecord } from '../../store/records.ts'
import type { ObjectStore } from '../../store/store.ts'
import type { Services } from '../services.ts'
import { noteEncryption, type SealedEncryption } from './encryption.ts'

/** Under what a data key lies: what its record says. */
export interface KeyPlace {
  readonly provider: string
  /** Full id of the master key; empty with a customer's key. */
  readonly keyId: string
  /** Version of the master key, where the wrapped key tells it. */
  readonly version: number | undefined
}

const placeOf = (wrapped: WrappedKey): KeyPlace => ({
  provider: wrapped.provider,
  keyId: wrapped.keyId,
  version: masterKeyVersion(wrapped),
})

/** Under what an object's data key lies. `NotAuthentic` where its envelope is none. */
export const keyPlaceOf = (envelope: Uint8Array): KeyPlace => placeOf(parseEnvelope(envelope).record.wrapped)

/** Under what an open upload's data key lies, and the keys of its Complete, where a customer's key came. `NotAuthentic`. */
export const keyPlaceOfUpload = (session: Uint8Array): KeyPlace => {
  const { record, completion } = parseSession(session)
  return placeOf((completion?.record ?? record).wrapped)
}

/**
 * The object under another key. The new record has been opened when this resolves, so the old one may go. An object under SSE-KMS stays one, and so
 * does one under SSE-S3: their ETags differ. The client's own encryption context stays.
 */
export const rewrapObject = async (
  { sse }: Services,
  record: ObjectRecord,
  from: KeyOptions,
  to: SealedEncryption,
): Promise<NewObject> => {
  if (record.envelope === undefined) throw new SseError('NotAuthentic')
  if (record.kind !== to.kind) throw new TypeError(`an object of ${record.kind} does not become one of ${to.kind}`)
  const envelope = await sse.rewrap(record.envelope, { ...from, to: { ...to.options, context: undefined } })
  const { keyId: _key, bucketKey: _bucketKey, ...notes } = record.notes
  const { storedSize: _size, revision: _revision, mac: _mac, ...kept } = record
  return { ...kept, envelope, notes: { ...notes, ...noteEncryption(to) } }
}

/** Puts the object in the place of what was read, over the same body. `NoSuchKey` or `PreconditionFailed` where it is another one by now. */
export const swapRecord = (
  store: ObjectStore,
  bucket: BucketRevision,
  key: string,
  read: ObjectRecord,
  next: NewObject,
  condition?: ObjectCondition,
): Promise<ObjectRecord> =>
  store.copyObject({ bucketId: bucket.id, key, revision: read.revision }, bucket, key, next, condition)
