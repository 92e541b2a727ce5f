/**
 * Decrypts an object, or a range of it: the reader's checks in the order of the format (section 5), all of them before a byte leaves,
 * then the segments that are needed and no others.
 */
import { copy, wipe } from '../bytes.ts'
import { deriveBody, streamContext } from '../cipher/derive.ts'
import type { Engine } from '../cipher/engine.ts'
import type { SegmentMemory } from '../cipher/memory.ts'
import { objectEtag, verifyTable, verifyTag } from '../envelope/descriptor.ts'
import { type Envelope, parseEnvelope } from '../envelope/envelope.ts'
import type { PartRow } from '../envelope/part-table.ts'
import { openPartValues, openValues, type PartValues, type Values } from '../envelope/sealed-values.ts'
import { SseError } from '../errors.ts'
import { assertAccepted } from '../kms/wrap.ts'
import type { BucketKeys } from '../kms/bucket-keys.ts'
import { type ContextInput, type EncryptionContext, encryptionContext, storedContext } from '../kms/context.ts'
import type { DataKey } from '../kms/data-key.ts'
import type { AcceptedKey, CallOptions, WrappedKey } from '../kms/provider.ts'
import type { Providers } from '../kms/providers.ts'
import { unwrapKey } from '../kms/wrap.ts'
import type { Driver } from '../segment/driver.ts'
import { type ByteRange, type RangeRequest, resolveRange, segmentRange } from '../segment/layout.ts'
import type { Span } from '../segment/reader.ts'
import { open } from '../segment/select.ts'
import { indexParts, partAt, type PartIndex, streams, VerifiedTables } from './part-index.ts'

/** How the data key of a stored object is got at. */
export interface UnlockParts {
  /** What computes. */
  readonly engine: Engine
  /** The KMS, several, or a customer's key. */
  readonly providers: Providers
  /** The master keys that the object may lie under. */
  readonly accept: readonly AcceptedKey[]
  /** System entries, recomputed from the request; user entries, if given, must be the stored ones. */
  readonly context?: ContextInput | undefined
  /** The bucket's context, for objects under a bucket key (wrapAlg 3). */
  readonly bucketContext?: ContextInput | undefined
  /** Keeps the bucket keys of the provider in memory; without it the provider is asked for each object. */
  readonly bucketKeys?: BucketKeys | undefined
  /** What calls to the provider are given. */
  readonly call?: CallOptions | undefined
}

/** Which object is decrypted, and what of it. */
export interface DecryptParts {
  /** The envelope's bytes. */
  readonly envelope: Uint8Array
  /** What to release; everything by default. Resolved against the authentic length. */
  readonly range?: RangeRequest | undefined
  /** Bytes of the streams that the store holds, where it can tell: they must be exactly the descriptor's. */
  readonly held?: number | undefined
  /** The ETag that the store claims; a keyed one must be the object's. */
  readonly etag?: string | undefined
  /** Sealed values that lie beside the envelope, to be opened. */
  readonly values?: Uint8Array | undefined
  /** Sealed values of parts that lie beside the envelope, and the numbers of the parts of which they are to be opened. */
  readonly partValues?: PartValues | undefined
  /** Memory for what leaves, to be given back piece by piece; new memory by default. See `SegmentMemory`. */
  readonly memory?: SegmentMemory | undefined
  /** Says that every stored byte comes, in order, though a range is asked for: a pipe. */
  readonly sequential?: boolean | undefined
}

/** An object whose checks have passed. */
export interface Decryption {
  /** The stored bytes `stored` in, plaintext out. */
  readonly driver: Driver
  /** The stored bytes to read, both ends inclusive, counted from the first stream. */
  readonly stored: ByteRange
  /** The range that is released; `undefined` for the whole object. */
  readonly range: ByteRange | undefined
  /** Plaintext bytes that are released; `Infinity` in a file of unknown length. */
  readonly length: number
  /** Plaintext bytes of the object; `Infinity` in a file of unknown length. */
  readonly plaintextLength: number
  /** The object's keyed ETag, without quotes. */
  readonly etag: string
  /** Full id of the master key; empty with a customer's key. */
  readonly keyId: string
  /** Whether its data key lies under a bucket key. */
  readonly bucketKey: boolean
  /** Part numbers and plaintext lengths, in order. */
  readonly parts: readonly PartRow[]
  /** Sealed values, opened; none where none were given. */
  readonly values: Values
  /** Sealed values of the parts that were asked for, opened, by part number; none where none were given. */
  readonly partValues: ReadonlyMap<number, Values>
}

/** Unwraps a data key whose master key was found to be an accepted one. The caller disposes it. */
export const unwrapAccepted = async (
  { engine, providers, bucketContext, bucketKeys, call }: UnlockParts,
  wrapped: WrappedKey,
  context: EncryptionContext,
): Promise<DataKey> => {
  const provider = providers.of(wrapped)
  if (wrapped.wrapAlg !== 3) return unwrapKey(engine, provider, wrapped, context, undefined, call)
  if (bucketContext === undefined) {
    throw new SseError('KeyNotAccepted', {
      message: 'The object lies under a bucket key, which is not accepted here. Name its bucket context to accept it.',
    })
  }
  const bucket = encryptionContext(bucketContext)
  return bucketKeys === undefined
    ? unwrapKey(engine, provider, wrapped, context, bucket, call)
    : bucketKeys.unwrapDataKey(engine, wrapped, context, bucket, call)
}

/** Unwraps the data key of a parsed envelope: accepted keys, context, provider. The caller disposes it. */
export const unlock = async (record: Envelope['record'], parts: UnlockParts): Promise<DataKey> => {
  assertAccepted(record.wrapped, parts.accept)
  return unwrapAccepted(parts, record.wrapped, storedContext(record.context, parts.context))
}

/**
 * Unlocks with what `check` finds to be the right key; its error disposes the key. Where a data key that was kept in memory is not, the KMS is
 * asked once more, past all caches: it may have answered with another key before.
 */
export const unlockRight = async <T>(
  record: Envelope['record'],
  parts: UnlockParts,
  check: (key: DataKey) => Promise<T>,
): Promise<T> => {
  let cached = false
  const onCached = () => {
    cached = true
  }
  const tried = async (call: CallOptions): Promise<T> => {
    const key = await unlock(record, { ...parts, call })
    try {
      return await check(key)
    } catch (error) {
      key.dispose()
      throw error
    }
  }
  try {
    return await tried({ ...parts.call, onCached })
  } catch (error) {
    const again = cached && record.wrapped.wrapAlg !== 3 && error instanceof SseError && error.code === 'NotAuthentic'
    return again ? tried({ ...parts.call, fresh: true }) : Promise.reject(error)
  }
}

/** The runs of segments to open, and where they lie. */
interface Plan {
  readonly spans: Iterable<Span>
  readonly stored: ByteRange
  readonly skip: number
  readonly take: number
}

const plan = (envelope: Envelope, index: PartIndex, range: ByteRange | undefined, sequential: boolean): Plan => {
  const { suite, bodyId } = envelope.descriptor
  const whole = ({ salt, part }: PartRow, stored: number): Span => ({
    salt,
    context: streamContext(bodyId, part),
    firstSegment: 0,
    stored,
    last: true,
  })
  function* all(): Iterable<Span> {
    for (const { row, size } of streams(index)) yield whole(row, size)
  }
  if (range === undefined || sequential) {
    const take = range === undefined ? Infinity : range.end - range.start + 1
    return { spans: all(), stored: { start: 0, end: index.stored - 1 }, skip: range?.start ?? 0, take }
  }
  // One run of stored bytes: from the first segment with a byte of the range to the last. What lies between is read whole, the last
  // segment of a stream and the streams of empty parts too, though they have no byte of the range.
  const spans: Span[] = []
  const stored = { start: 0, end: 0 }
  let skip = 0
  for (const { row, plaintextAt, storedAt, size } of streams(
    index,
    partAt(index, range.start),
    partAt(index, range.end),
  )) {
    const first = range.start - plaintextAt
    const last = range.end - plaintextAt
    const run = segmentRange(suite, row.length, { start: Math.max(0, first), end: Math.min(last, row.length) })
    const { firstSegment, storedStart, storedEnd } = run
    spans.push({ ...whole(row, storedEnd - storedStart), firstSegment, last: storedEnd === size })
    if (first >= 0) {
      skip = first - run.plaintextStart
      stored.start = storedAt + storedStart
    }
    stored.end = storedAt + storedEnd - 1
  }
  return { spans, stored, skip, take: range.end - range.start + 1 }
}

/** An envelope whose checks have passed. */
export interface Verified {
  readonly engine: Engine
  readonly envelope: Envelope
  /** The data key; the caller disposes it. */
  readonly key: DataKey
  readonly index: PartIndex
  readonly etag: string
  readonly values: Values
  readonly partValues: ReadonlyMap<number, Values>
}

const tables = new VerifiedTables()

/** The reader's checks but those of range and stored length: accepted keys, unwrap, descriptor, table, ETag, sealed values. */
export const verifyEnvelope = async (
  envelope: Envelope,
  unlocking: UnlockParts,
  claimed: Pick<DecryptParts, 'etag' | 'values' | 'partValues'> = {},
): Promise<Verified> => {
  const { engine } = unlocking
  const { descriptor, table, record } = envelope
  return unlockRight(record, unlocking, async key => {
    const keys = await deriveBody(engine, key.bytes, descriptor.bodyId)
    try {
      await verifyTag(engine, keys.descriptor, descriptor)
      const index =
        tables.get(descriptor.tag, table) ??
        tables.set(descriptor.tag, table, indexParts(descriptor.suite, await verifyTable(engine, descriptor, table)))
      const etag = await objectEtag(engine, keys.etag, descriptor)
      if (claimed.etag !== undefined && claimed.etag !== etag) throw new SseError('NotAuthentic')
      const values = await openValues(engine, keys.aux, descriptor.bytes, claimed.values ?? new Uint8Array(0))
      const asked = claimed.partValues ?? { sealed: new Uint8Array(0), parts: [] }
      const partValues = await openPartValues(engine, keys.aux, index.rows, asked)
      return { engine, envelope, key, index, etag, values, partValues }
    } finally {
      wipe(keys.descriptor, keys.etag, keys.aux)
    }
  })
}

/** The driver of a verified object. The key is copied; `index` may replace the table's where a file's length was established otherwise. */
export const openVerified = (
  { engine, envelope, key, index: table, etag, values, partValues }: Verified,
  parts: Pick<DecryptParts, 'range' | 'sequential' | 'memory'>,
  index: PartIndex = table,
): Decryption => {
  const { rows, plaintext: plaintextLength } = index
  const range = parts.range === undefined ? undefined : resolveRange(parts.range, plaintextLength)
  const { spans, stored, skip, take } = plan(envelope, index, range, parts.sequential === true)
  const driver = open(engine, {
    suite: envelope.descriptor.suite,
    dek: copy(key.bytes),
    spans,
    skip,
    take,
    memory: parts.memory,
  })
  const length = range === undefined ? plaintextLength : take
  const { keyId, wrapAlg } = envelope.record.wrapped
  const bucketKey = wrapAlg === 3
  return { driver, stored, range, length, plaintextLength, etag, keyId, bucketKey, parts: rows, values, partValues }
}

/**
 * Checks an envelope and makes the driver that opens its object. Rejects before a byte is released: `NotAuthentic`, `KeyNotAccepted`,
 * `WrongCustomerKey`, `RangeNotSatisfiable`, and the provider's errors.
 */
export const decryptBody = async (unlocking: UnlockParts, parts: DecryptParts): Promise<Decryption> => {
  const envelope = parseEnvelope(parts.envelope)
  const verified = await verifyEnvelope(envelope, unlocking, parts)
  try {
    if (parts.held !== undefined && parts.held !== envelope.descriptor.storedLength) throw new SseError('NotAuthentic')
    return openVerified(verified, parts)
  } finally {
    verified.key.dispose()
  }
}
