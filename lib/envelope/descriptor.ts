/**
 * The descriptor (format.md, section 5): 108 bytes, never changed while the ciphertext lives.
 *
 *     0    4  "SKD1"
 *     4    2  suite
 *     6    1  flags: bit 0 = lengths were unknown when it was written (SKF1 only)
 *     7    1  0
 *     8   16  bodyId
 *     24   4  n, the number of streams
 *     28   8  plaintext length in all                    (2^64-1 with flag bit 0)
 *     36   8  stored length of the streams in all        (2^64-1 with flag bit 0)
 *     44  32  SHA-256(part table)
 *     76  32  HMAC-SHA-256(K_desc, bytes 0..75)
 */
import { equal, hex, setU16, setU32, utf8 } from '../bytes.ts'
import type { Engine } from '../cipher/engine.ts'
import { bodyIdSize, type Suite, suites } from '../cipher/suite.ts'
import { malformed, Reader, setLength } from './codec.ts'
import { encodeRow, encodeTable, maxParts, parseTable, type PartRow, totals } from './part-table.ts'

/** Bytes of a descriptor. */
export const descriptorSize = 108
const tagged = 76
const magic = utf8('SKD1')

/** A descriptor as it was parsed: claims, until `verifyDescriptor` held them to the key. */
export interface Descriptor {
  /** Suite of all streams. */
  readonly suite: Suite
  /** Flag bit 0. */
  readonly unknownLength: boolean
  /** 16 random bytes, one of their own for every body or upload. */
  readonly bodyId: Uint8Array
  /** Number of streams. */
  readonly parts: number
  /** Plaintext bytes in all; `Infinity` with flag bit 0. */
  readonly plaintextLength: number
  /** Stored bytes in all; `Infinity` with flag bit 0. */
  readonly storedLength: number
  /** SHA-256 of the part table, 32 bytes. */
  readonly tableHash: Uint8Array
  /** HMAC-SHA-256 over what stands before it, 32 bytes. */
  readonly tag: Uint8Array
  /** The 108 bytes. */
  readonly bytes: Uint8Array
}

/** Seals the descriptor of a body with the given rows; a row of length `Infinity` sets flag bit 0. */
export const sealDescriptor = async (
  engine: Engine,
  key: Uint8Array,
  suite: Suite,
  bodyId: Uint8Array,
  rows: readonly PartRow[],
): Promise<{ readonly descriptor: Uint8Array; readonly table: Uint8Array } & Pick<Descriptor, 'tag' | 'parts'>> => {
  const table = encodeTable(rows)
  const { plaintext, stored } = totals(suite, rows)
  const descriptor = new Uint8Array(descriptorSize)
  descriptor.set(magic)
  setU16(descriptor, 4, suite.id)
  descriptor[6] = plaintext === Infinity ? 1 : 0
  descriptor.set(bodyId, 8)
  setU32(descriptor, 24, rows.length)
  setLength(descriptor, 28, plaintext)
  setLength(descriptor, 36, stored)
  descriptor.set(await engine.sha256(table), 44)
  const tag = await engine.hmacSha256(key, descriptor.subarray(0, tagged))
  descriptor.set(tag, tagged)
  return { descriptor, table, tag, parts: rows.length }
}

/** Parses 108 bytes, which it keeps; `file` says that flag bit 0 is allowed. `NotAuthentic` where a field or an unknown suite breaks a limit. */
export const parseDescriptor = (bytes: Uint8Array, file: boolean): Descriptor => {
  const reader = new Reader(bytes)
  reader.expect(magic)
  const suite = suites.get(reader.u16()) ?? malformed()
  const flags = reader.u8()
  if (flags > (file ? 1 : 0) || reader.u8() !== 0) malformed()
  const bodyId = reader.bytes(bodyIdSize)
  const parts = reader.u32()
  const plaintextLength = reader.u64()
  const storedLength = reader.u64()
  const tableHash = reader.bytes(32)
  const tag = reader.bytes(32)
  reader.end()
  const unknownLength = flags === 1
  if (parts < 1 || parts > (unknownLength ? 1 : maxParts)) malformed()
  if ((plaintextLength === Infinity) !== unknownLength || (storedLength === Infinity) !== unknownLength) malformed()
  return { suite, unknownLength, bodyId, parts, plaintextLength, storedLength, tableHash, tag, bytes }
}

/** Compares the descriptor's tag with the one that the key makes; `NotAuthentic` where it differs. */
export const verifyTag = async (engine: Engine, key: Uint8Array, descriptor: Descriptor): Promise<void> => {
  if (!equal(await engine.hmacSha256(key, descriptor.bytes.subarray(0, tagged)), descriptor.tag)) malformed()
}

/**
 * Holds a table to a descriptor whose tag was verified, in the order of the format: the hash, then number, order and sums. Returns the rows,
 * which are authentic then; `NotAuthentic` otherwise.
 */
export const verifyTable = async (
  engine: Engine,
  descriptor: Descriptor,
  table: Uint8Array,
): Promise<readonly PartRow[]> => {
  if (!equal(await engine.sha256(table), descriptor.tableHash)) malformed()
  const rows = parseTable(table, descriptor.suite, descriptor.unknownLength)
  const { plaintext, stored } = totals(descriptor.suite, rows)
  if (
    rows.length !== descriptor.parts ||
    plaintext !== descriptor.plaintextLength ||
    stored !== descriptor.storedLength
  ) {
    malformed()
  }
  return rows
}

/** Both: {@link verifyTag}, then {@link verifyTable}. */
export const verifyDescriptor = async (
  engine: Engine,
  key: Uint8Array,
  descriptor: Descriptor,
  table: Uint8Array,
): Promise<readonly PartRow[]> => {
  await verifyTag(engine, key, descriptor)
  return verifyTable(engine, descriptor, table)
}

const etag = async (engine: Engine, key: Uint8Array, kind: number, data: Uint8Array, suffix: number): Promise<string> =>
  `${hex((await engine.hmacSha256(key, Uint8Array.of(kind), data)).slice(0, 16))}-${suffix}`

/** ETag of an acknowledged part (format.md, section 8): names the attempt, tells nothing of the plaintext. */
export const partEtag = (engine: Engine, etagKey: Uint8Array, row: PartRow): Promise<string> =>
  etag(engine, etagKey, 1, encodeRow(row), row.part)

/** ETag of an object (format.md, section 8). */
export const objectEtag = (
  engine: Engine,
  etagKey: Uint8Array,
  { tag, parts }: Pick<Descriptor, 'tag' | 'parts'>,
): Promise<string> => etag(engine, etagKey, 2, tag, parts)
