/**
 * The records that are stored or sent (format.md, section 7):
 *
 *     envelope   "SKE1" | wrap record | descriptor[108] | part table (36 n)
 *     file       "SKF1" | u32 envelopeLen | envelope | streams
 *     session    "SKU1" | u16 suite | u16 flags | bodyId[16] | wrap record (| completion keys)
 *     receipt    "SKR1" | row[36], part 1..10 000 | u16 len, 0 or 31..4 124 | sealed values
 */
import { concat, copy, equal, fromBase64url, u16, u32, utf8 } from '../bytes.ts'
import { bodyIdSize, keySize, nonceSize, type Suite, suites, tagSize } from '../cipher/suite.ts'
import { SseError } from '../errors.ts'
import { maxPlaintext } from '../segment/layout.ts'
import { malformed, Reader } from './codec.ts'
import { type Descriptor, descriptorSize, parseDescriptor } from './descriptor.ts'
import { encodeRow, maxParts, type PartRow, readRow, rowSize } from './part-table.ts'
import { maxSealed, minSealed } from './sealed-values.ts'
import { parseRecord, readRecord, type WrapRecord } from './wrap-record.ts'

const envelopeMagic = utf8('SKE1')
const fileMagic = utf8('SKF1')
const sessionMagic = utf8('SKU1')
const receiptMagic = utf8('SKR1')

/** The longest envelope, and the longest one in text. */
export const maxEnvelope = 374_491
const maxText = 499_322
/** Bytes of a file in front of its envelope. */
export const filePrefixSize = 8

/** An envelope, parsed: claims until key and descriptor were verified. */
export interface Envelope {
  /** The data key, wrapped: replaced by copy, rename and rotation. */
  readonly record: WrapRecord
  /** What the object is: never changed. */
  readonly descriptor: Descriptor
  /** The part table's bytes. */
  readonly table: Uint8Array
}

/** The bytes of an envelope. */
export const encodeEnvelope = (record: WrapRecord, descriptor: Uint8Array, table: Uint8Array): Uint8Array =>
  concat(envelopeMagic, record.bytes, descriptor, table)

/**
 * Parses an envelope; `file` says that it stands in a file, where the length may be unknown. `NotAuthentic` where it is malformed.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sse,envelope}
 */
export const parseEnvelope = (bytes: Uint8Array, file = false): Envelope => {
  if (bytes.length > maxEnvelope) malformed()
  const reader = new Reader(copy(bytes))
  reader.expect(envelopeMagic)
  const record = readRecord(reader)
  const descriptor = parseDescriptor(reader.view(descriptorSize), file)
  const table = reader.view(descriptor.parts * rowSize)
  reader.end()
  return { record, descriptor, table }
}

/**
 * The bytes of an envelope in text: base64url without padding, the one spelling. A longer text than an envelope's is refused undecoded.
 * `NotAuthentic`, which says what is taken, for hex, padded base64 and other text.
 */
export const fromText = (text: string): Uint8Array => {
  const bytes = text.length > maxText ? undefined : fromBase64url(text)
  if (bytes !== undefined && equal(bytes.subarray(0, envelopeMagic.length), envelopeMagic)) return bytes
  throw new SseError('NotAuthentic', {
    message: "The text is no envelope. Pass its bytes, or base64url without padding: toString('base64url').",
  })
}

/** What stands in front of the streams of a file. */
export const filePrefix = (envelope: Uint8Array): Uint8Array => concat(fileMagic, u32(envelope.length), envelope)

/** Length of the envelope that follows a file's first 8 bytes; `NotAuthentic` where this is no such file. */
export const parseFilePrefix = (bytes: Uint8Array): number => {
  const reader = new Reader(bytes)
  reader.expect(fileMagic)
  const size = reader.u32()
  reader.end()
  return size >= 1 && size <= maxEnvelope ? size : malformed()
}

/** The keys of Complete under a key of the service, in the session of a customer's upload (format.md, section 7). */
export interface CompletionKeys {
  /** Wraps the key that seals them. */
  readonly record: WrapRecord
  /** 12 bytes. */
  readonly nonce: Uint8Array
  /** K_desc, K_etag and K_aux, sealed: 112 bytes. */
  readonly sealed: Uint8Array
}

/** An upload between Initiate and Complete. */
export interface Session {
  /** Suite of all parts. */
  readonly suite: Suite
  /** 16 random bytes, the same for all parts. */
  readonly bodyId: Uint8Array
  /** The data key, wrapped. */
  readonly record: WrapRecord
  /** With them Complete and listings of parts need no customer's key. */
  readonly completion?: CompletionKeys | undefined
}

/** What the completion keys under `service` authenticate: all bytes of the session before their nonce. Without `service` the whole session. */
export const sessionFront = ({ suite, bodyId, record }: Session, service?: WrapRecord): Uint8Array => {
  const front = concat(sessionMagic, u16(suite.id), u16(service === undefined ? 0 : 1), bodyId, record.bytes)
  return service === undefined ? front : concat(front, u16(service.bytes.length), service.bytes)
}

/** The bytes of a session. */
export const encodeSession = (session: Session): Uint8Array => {
  const { completion } = session
  const front = sessionFront(session, completion?.record)
  return completion === undefined ? front : concat(front, completion.nonce, completion.sealed)
}

/**
 * Parses a session; `NotAuthentic` where it is malformed.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sse,parts}
 */
export const parseSession = (bytes: Uint8Array): Session => {
  const reader = new Reader(copy(bytes))
  reader.expect(sessionMagic)
  const suite = suites.get(reader.u16()) ?? malformed()
  const flags = reader.u16()
  if (flags > 1) malformed()
  const bodyId = reader.bytes(bodyIdSize)
  const record = readRecord(reader)
  const completion = flags === 1 ? readCompletionKeys(reader) : undefined
  if (completion !== undefined && record.wrapped.provider !== 'sse-c') malformed()
  reader.end()
  return { suite, bodyId, record, completion }
}

const readCompletionKeys = (reader: Reader): CompletionKeys => {
  const record = parseRecord(reader.view(reader.u16()))
  if (record.wrapped.provider === 'sse-c') malformed()
  return { record, nonce: reader.bytes(nonceSize), sealed: reader.bytes(3 * keySize + tagSize) }
}

/** An acknowledged part. */
export interface Receipt {
  /** Part number, plaintext length and salt of the attempt. */
  readonly row: PartRow
  /** Sealed values, or no bytes. */
  readonly values: Uint8Array
}

/** The bytes of a receipt. */
export const encodeReceipt = ({ row, values }: Receipt): Uint8Array =>
  concat(receiptMagic, encodeRow(row), u16(values.length), values)

/**
 * Parses a receipt; `NotAuthentic` where it is malformed, or has more plaintext than a part of `suite`, if that is given.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sse,parts}
 */
export const parseReceipt = (bytes: Uint8Array, suite?: Suite): Receipt => {
  const reader = new Reader(bytes)
  reader.expect(receiptMagic)
  const row = readRow(reader)
  const values = reader.bytes(reader.u16())
  reader.end()
  const longest = suite === undefined ? Number.MAX_SAFE_INTEGER : maxPlaintext(suite)
  if (row.part < 1 || row.part > maxParts || row.length > longest) malformed()
  if (values.length > 0 && (values.length < minSealed || values.length > maxSealed)) malformed()
  return { row, values }
}

/**
 * The id of the master key that an envelope or a session says it lies under; of a session with completion keys, the one that those lie under. A
 * claim, to be judged. `NotAuthentic` where it is neither.
 */
export const claimedKeyId = (bytes: Uint8Array): string => {
  if (bytes[2] === sessionMagic[2]) {
    const { record, completion } = parseSession(bytes)
    return (completion?.record ?? record).wrapped.keyId
  }
  const reader = new Reader(bytes)
  reader.expect(envelopeMagic)
  return readRecord(reader).wrapped.keyId
}
