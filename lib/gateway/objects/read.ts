/** Opens a stored object: the one way to its plaintext and to what is kept beside it, for GET, HEAD, copies and attributes. */
import type { SegmentMemory } from '../../cipher/memory.ts'
import { SseError } from '../../errors.ts'
import type { KeyOptions } from '../../object/options.ts'
import { type ByteRange, type RangeRequest, resolveRange } from '../../segment/layout.ts'
import type { ObjectEncryption } from '../../sse/response.ts'
import type { BodyReader } from '../../store/store.ts'
import type { ObjectRecord } from '../../store/records.ts'
import type { Services } from '../services.ts'
import {
  checksumsOf,
  keptPartChecksums,
  notedChecksums,
  type PartChecksums,
  partChecksumsOf,
  type StoredChecksum,
} from './checksums.ts'
import type { ReadEncryption } from './encryption.ts'
import { partsInTable, type PartSize, partsOf } from './parts.ts'

/** A stored object whose checks have passed. */
export interface OpenedObject {
  /** The range that is read; `undefined` for the whole. */
  readonly range: ByteRange | undefined
  /** Bytes of plaintext that are read. */
  readonly length: number
  /** Bytes of plaintext of the object. */
  readonly total: number
  readonly encryption: ObjectEncryption
  /** Where details were asked for. */
  readonly checksums: readonly StoredChecksum[]
  /** Where details were asked for; none of an object that was not uploaded in parts. */
  readonly parts: readonly PartSize[]
  /** Those of single parts that were asked for, where there are any. */
  readonly partChecksums: PartChecksums
  /** Keyed, without quotes; `undefined` for a plain object. */
  readonly etag: string | undefined
  /** The plaintext, each piece once its tag was checked. `TypeError` where no body was given. Call this or `close`. */
  read(): AsyncIterable<Uint8Array>
  /** Wipes the keys of an object whose plaintext is not read. */
  close(): void
}

/** What of an object is opened. */
export interface OpenOptions {
  /** The object's body; without it nothing but what lies beside it can be read. */
  readonly body?: BodyReader | undefined
  /** Everything by default. */
  readonly range?: RangeRequest | undefined
  /** Whether its checksums and parts are told. */
  readonly details?: boolean | undefined
  /** With details: numbers of the parts whose checksums are told, too. */
  readonly partChecksums?: readonly number[] | undefined
  /** What the plaintext is opened into. */
  readonly memory?: SegmentMemory | undefined
}

const noBody = (): never => {
  throw new TypeError('the object was opened without its body')
}

const openPlain = (record: ObjectRecord, { answer }: ReadEncryption, options: OpenOptions): OpenedObject => {
  const { body, range: asked, details = false, partChecksums: numbers = [] } = options
  if (body !== undefined && body.size !== record.size) throw new SseError('StoreFailed')
  const range = asked === undefined ? undefined : resolveRange(asked, record.size)
  const parts = details ? partsOf(record) : []
  return {
    range,
    length: range === undefined ? record.size : range.end - range.start + 1,
    total: record.size,
    encryption: answer,
    checksums: details ? notedChecksums(record.notes) : [],
    parts,
    partChecksums: keptPartChecksums(
      record,
      parts.map(part => part.number),
      numbers,
    ),
    etag: undefined,
    read: () => body?.read(range) ?? noBody(),
    close: () => undefined,
  }
}

/** The ARN that clients see of a master key that was accepted. */
const clientKeyId = (keyId: string, { accept = [] }: KeyOptions): string => {
  const accepted = accept.find(key => typeof key !== 'string' && key.keyId === keyId)
  return (typeof accepted === 'object' ? accepted.arn : undefined) ?? keyId
}

/** Opens an object. `NotAuthentic`, `RangeNotSatisfiable`, `StoreFailed`, and the KMS's errors; all checks before a byte is read. */
export const openStored = async (
  { sse }: Pick<Services, 'sse'>,
  record: ObjectRecord,
  read: ReadEncryption,
  options: OpenOptions = {},
): Promise<OpenedObject> => {
  if (record.kind === 'plain') return openPlain(record, read, options)
  if (record.envelope === undefined) throw new SseError('NotAuthentic')
  const { body, range, details = false, partChecksums: numbers = [], memory } = options
  const opened = await sse.decrypt(record.envelope, {
    ...read.options,
    held: body?.size,
    etag: record.kind === 'sse-s3' ? undefined : record.etag, // an MD5 is not the keyed one
    range,
    memory,
    values: details ? record.values : undefined,
    ...(details && record.partValues && { partValues: { sealed: record.partValues, parts: numbers } }),
  })
  const { keyId, bucketKey } = opened
  const checksums = checksumsOf(opened.values)
  return {
    range: opened.range,
    length: opened.length,
    total: opened.plaintextLength,
    encryption:
      record.kind === 'sse-kms' ? { kind: 'sse-kms', keyId: clientKeyId(keyId, read.options), bucketKey } : read.answer,
    checksums,
    parts: details ? partsInTable(opened.parts) : [],
    partChecksums: partChecksumsOf(checksums, opened.partValues),
    etag: opened.etag,
    read: () => (body === undefined ? noBody() : opened.pieces(body.read({ ...opened.stored, reuse: true }))),
    close: () => opened.driver.dispose(),
  }
}
