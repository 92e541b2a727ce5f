/**
 * Parts of an upload and its Complete (format.md, section 8): parts are sealed on their own, in any order, on any machine; every attempt under
 * a salt of its own. State lies in the session and the receipts, which the caller stores; nothing is kept here.
 */
import { copy, equal, hex, type MaybePromise, wipe } from '../bytes.ts'
import { deriveStream, streamContext } from '../cipher/derive.ts'
import type { SegmentMemory } from '../cipher/memory.ts'
import { randomId } from '../cipher/random.ts'
import { saltSize, type Suite } from '../cipher/suite.ts'
import { malformed } from '../envelope/codec.ts'
import { objectEtag, partEtag, sealDescriptor } from '../envelope/descriptor.ts'
import { encodeEnvelope, encodeReceipt, parseReceipt } from '../envelope/envelope.ts'
import { maxParts, type PartRow, totals } from '../envelope/part-table.ts'
import { joinPartValues, openValues, partAad, sealValues, valueIds, type Values } from '../envelope/sealed-values.ts'
import { SseError } from '../errors.ts'
import { type Driver, strict } from '../segment/driver.ts'
import { seal } from '../segment/select.ts'
import { storedLength } from '../segment/layout.ts'
import { finished } from './encrypt.ts'
import type { CompletableUpload, OpenUpload } from './upload.ts'

/** How a part is sealed. */
export interface PartOptions {
  /** Plaintext bytes, where they were declared. */
  readonly length?: number | undefined
  /** Asked once, after the last byte: values to seal into the receipt. */
  readonly values?: (() => MaybePromise<Values>) | undefined
  /** Memory for what leaves, to be given back piece by piece; new memory by default. See `SegmentMemory`. */
  readonly memory?: SegmentMemory | undefined
}

/** An acknowledged part. */
export interface SealedPart {
  /** To be stored with the attempt. */
  readonly receipt: Uint8Array
  /** What the client is answered, without quotes. */
  readonly etag: string
  /** Bytes of plaintext. */
  readonly plaintextLength: number
  /** Bytes of the attempt as it is stored. */
  readonly storedLength: number
  /** The attempt's salt in hex: names the attempt. */
  readonly attempt: string
}

/** A part that is being encrypted. */
export interface PartEncryption {
  /** Plaintext in, the stream of the attempt out. */
  readonly driver: Driver
  /** The acknowledged part, once the stream has ended without an error; `TypeError` before. */
  result(): SealedPart
}

/** Begins to encrypt one attempt of a part, under a new salt. The upload's keys are copied: it may be disposed at once. */
export const encryptPart = async (
  upload: OpenUpload,
  part: number,
  options: PartOptions = {},
): Promise<PartEncryption> => {
  const { engine, session } = upload
  const { suite, bodyId } = session
  if (!Number.isInteger(part) || part < 1 || part > maxParts) throw new RangeError(`a part number is 1 to ${maxParts}`)
  if (options.length !== undefined) storedLength(suite, options.length)
  const salt = randomId(saltSize)
  const etagKey = copy(upload.keys.etag)
  const auxKey = copy(upload.keys.aux)
  const streamKeys = await deriveStream(engine, suite, upload.key.bytes, salt, streamContext(bodyId, part))
  const { length, memory } = options
  const stream = seal(engine, { suite, keys: streamKeys, salt, length, memory })
  let count = 0
  let disposed = false
  let sealed: SealedPart | undefined
  const driver = strict({
    write: (chunk, emit) => {
      count += chunk.length
      return stream.write(chunk, emit)
    },
    end: async emit => {
      await stream.end(emit)
      const row: PartRow = { part, length: count, salt }
      const list = (await options.values?.()) ?? new Map<number, Uint8Array>()
      const values = await sealValues(engine, auxKey, partAad(row), list)
      const acknowledged: SealedPart = {
        receipt: encodeReceipt({ row, values }),
        etag: await partEtag(engine, etagKey, row),
        plaintextLength: count,
        storedLength: storedLength(suite, count),
        attempt: hex(salt),
      }
      if (!disposed) sealed = acknowledged // else under keys that were wiped meanwhile
    },
    dispose: () => {
      disposed = true
      stream.dispose()
      wipe(etagKey, auxKey)
    },
  })
  return { driver, result: () => finished(sealed) }
}

/** A part as a client names it in Complete. */
export interface NamedPart {
  /** Part number, 1 to 10,000. */
  readonly part: number
  /** Without quotes. */
  readonly etag: string
}

/** An acknowledged part, as listings show it. */
export interface ListedPart extends PartRow {
  /** Recomputed from the receipt, or its MD5: a stored ETag is never believed. */
  readonly etag: string
  /** The attempt's salt in hex. */
  readonly attempt: string
  /** Its sealed values, opened. */
  readonly values: Values
  /** The same as they lie in the receipt. */
  readonly sealed: Uint8Array
}

/** How stored receipts are listed. */
export interface ListPartsOptions {
  /** A kind whose ETags are MD5s: a part's is the one that its receipt holds, and a receipt without one is left out. */
  readonly md5?: boolean | undefined
}

/** What listings show of stored receipts, in their order. One that does not parse, or whose values do not open, is left out. */
export const listParts = async (
  upload: CompletableUpload,
  receipts: readonly Uint8Array[],
  options: ListPartsOptions = {},
): Promise<readonly ListedPart[]> => {
  const listed: ListedPart[] = []
  for (const receipt of receipts) {
    const part = await openReceipt(upload, receipt, options).catch((error: unknown) => {
      if (error instanceof SseError && error.code === 'NotAuthentic') return undefined
      throw error
    })
    if (part !== undefined) listed.push(part)
  }
  return listed
}

const openReceipt = async (
  { engine, keys, session }: CompletableUpload,
  bytes: Uint8Array,
  { md5 = false }: ListPartsOptions,
): Promise<ListedPart> => {
  const { row, values: sealed } = parseReceipt(bytes, session.suite)
  const values = await openValues(engine, keys.aux, partAad(row), sealed)
  const etag = md5 ? hex(values.get(valueIds.md5.id) ?? malformed()) : await partEtag(engine, keys.etag, row)
  return { ...row, etag, attempt: hex(row.salt), values, sealed }
}

/** What a store really holds of an attempt. */
export interface HeldAttempt {
  /** Bytes as they are stored. */
  readonly length: number
  /** The first 24 bytes. */
  readonly salt: Uint8Array
}

/** Parts are named in strictly ascending order: `InvalidPartOrder`. */
export const assertPartOrder = (named: readonly NamedPart[]): void => {
  for (const [i, { part }] of named.entries()) {
    if (part <= (named[i - 1]?.part ?? 0)) throw new SseError('InvalidPartOrder')
  }
}

/** How Complete is held to its parts. */
export interface CompleteOptions extends ListPartsOptions {
  /**
   * Asked once with the chosen parts: what the store holds of the attempt of each, `undefined` where there is none. A part whose attempt has
   * not the length and salt of its receipt is `InvalidPart`.
   */
  readonly attempts?: ((parts: readonly ListedPart[]) => MaybePromise<readonly (HeldAttempt | undefined)[]>) | undefined
  /** Smallest plaintext of all parts but the last (S3: 5 MiB): `EntityTooSmall`. Default 0. */
  readonly minimumPartSize?: number | undefined
  /** Asked with the chosen parts: values to seal beside the envelope. */
  readonly values?: ((parts: readonly ListedPart[]) => MaybePromise<Values>) | undefined
}

/** A completed upload, to be committed: envelope and the chosen attempts together. */
export interface CompletedUpload {
  /** To be stored with the object. */
  readonly envelope: Uint8Array
  /** The object's ETag, without quotes. */
  readonly etag: string
  /** Bytes of plaintext. */
  readonly plaintextLength: number
  /** Bytes of all chosen attempts as they are stored. */
  readonly storedLength: number
  /** The chosen attempts, in object order. */
  readonly parts: readonly ListedPart[]
  /** Sealed values: no bytes where there are none. */
  readonly values: Uint8Array
  /**
   * The sealed values of the parts, as they lie in their receipts: to be stored with the object where those of single parts are to be told.
   * `decrypt` opens them.
   */
  readonly partValues: Uint8Array
  /** The descriptor's bytes in hex: what the upload's state is swapped to, so that a second Complete can be told from another one. */
  readonly token: string
}

/**
 * Completes an upload: the parts that the client names by ETag, out of the receipts in the order of their acknowledgement. Errors:
 * `InvalidPartOrder`, `InvalidPart`, `EntityTooSmall`, `InvalidRequest` for no part or more than 10,000.
 */
export const completeUpload = async (
  upload: CompletableUpload,
  named: readonly NamedPart[],
  receipts: readonly Uint8Array[],
  options: CompleteOptions = {},
): Promise<CompletedUpload> => {
  const { engine, keys, session } = upload
  const { suite, bodyId, record } = session
  if (named.length < 1 || named.length > maxParts) {
    throw new SseError('InvalidRequest', {
      message: `An upload is completed with 1 to ${maxParts} parts. Name each part once.`,
    })
  }
  assertPartOrder(named)
  const attempts = byName(await listParts(upload, receipts, options))
  const chosen: ListedPart[] = []
  for (const [i, { part, etag }] of named.entries()) {
    const found = attempts.get(nameOf({ part, etag }))
    if (found === undefined) throw new SseError('InvalidPart', { details: { PartNumber: String(part), ETag: etag } })
    if (i < named.length - 1 && found.length < (options.minimumPartSize ?? 0)) {
      throw new SseError('EntityTooSmall', {
        details: { PartNumber: String(part), ProposedSize: String(found.length) },
      })
    }
    chosen.push(found)
  }
  await assertHeld(suite, chosen, options)
  const rows = chosen.map(({ part, length, salt }) => ({ part, length, salt }))
  const sealed = await sealDescriptor(engine, keys.descriptor, suite, bodyId, rows)
  const { descriptor, table } = sealed
  const sums = totals(suite, rows)
  return {
    envelope: encodeEnvelope(record, descriptor, table),
    etag: await objectEtag(engine, keys.etag, sealed),
    plaintextLength: sums.plaintext,
    storedLength: sums.stored,
    parts: chosen,
    values: await sealValues(
      engine,
      keys.aux,
      descriptor,
      (await options.values?.(chosen)) ?? new Map<number, Uint8Array>(),
    ),
    partValues: joinPartValues(chosen.map(part => part.sealed)),
    token: hex(descriptor),
  }
}

const nameOf = ({ part, etag }: NamedPart): string => `${part} ${etag}`

const byName = (listed: readonly ListedPart[]): ReadonlyMap<string, ListedPart> => {
  const parts = new Map<string, ListedPart>()
  for (const row of listed) {
    const other = parts.get(nameOf(row))
    // Attempts with the same MD5 hold the same bytes: the greatest salt, so that every machine chooses alike.
    if (other === undefined || other.attempt < row.attempt) parts.set(nameOf(row), row)
  }
  return parts
}

const assertHeld = async (
  suite: Suite,
  chosen: readonly ListedPart[],
  { attempts }: CompleteOptions,
): Promise<void> => {
  if (attempts === undefined) return
  const all = await attempts(chosen)
  for (const [i, { part, etag, length, salt }] of chosen.entries()) {
    const held = all[i]
    const right = held !== undefined && held.length === storedLength(suite, length) && equal(held.salt, salt)
    if (!right) throw new SseError('InvalidPart', { details: { PartNumber: String(part), ETag: etag } })
  }
}
