/**
 * Seals a plain object where it lies: its bytes are read, held against its ETag and its checksum, and sealed into a new body; parts stay parts. Time
 * of last change, metadata, tags, ACL and checksums stay. The caller commits it by compare-and-swap.
 */
import { fromBase64, hex } from '../../bytes.ts'
import { compositeFlag, valueIds } from '../../envelope/sealed-values.ts'
import { SseError } from '../../errors.ts'
import type { BodyReader, BodyWriter } from '../../store/store.ts'
import type { NewObject, ObjectRecord } from '../../store/records.ts'
import { createDigest, type DigestAlgorithm } from '../body/checksums.ts'
import { pour } from '../http/pour.ts'
import type { Services } from '../services.ts'
import { noteChecksums, notedChecksums, type StoredChecksum } from './checksums.ts'
import { noteEncryption, type SealedEncryption } from './encryption.ts'
import { type PartSize, partsOf } from './parts.ts'
import { bodyToSeal, hasMd5Etag } from './write.ts'

/** A sealed object, to be committed: its body is discarded where that fails. */
export interface SealedInPlace {
  readonly record: NewObject
  readonly body: BodyWriter
}

/** What becomes of the bytes. */
interface SealedBody extends Pick<NewObject, 'envelope' | 'values' | 'partValues'> {
  readonly etag: string
  readonly body: BodyWriter
}

const damaged = (what: string): SseError =>
  new SseError('BadDigest', { message: `Its bytes are not those of its ${what}. Restore it from a backup.` })

type Digests = ReadonlyMap<DigestAlgorithm, Uint8Array>

/** Bytes that pass, and their digests once they have. */
const digested = (bytes: AsyncIterable<Uint8Array>, names: ReadonlySet<DigestAlgorithm>) => {
  const done = new Map<DigestAlgorithm, Uint8Array>()
  const pass = async function* (): AsyncIterable<Uint8Array> {
    const running = Array.from(names, name => [name, createDigest(name)] as const)
    for await (const chunk of bytes) {
      for (const [, digest] of running) digest.update(chunk)
      yield chunk
    }
    for (const [name, digest] of running) done.set(name, await digest.finish())
  }
  const digests: Digests = done
  return { bytes: pass(), digests }
}

const wanted = (digests: Digests, names: readonly (DigestAlgorithm | undefined)[]): ReadonlyMap<number, Uint8Array> =>
  new Map(
    names.flatMap(name => {
      const value = name === undefined ? undefined : digests.get(name)
      return name === undefined || value === undefined ? [] : [[valueIds[name].id, value] as const]
    }),
  )

/** An object that was put at once. */
const sealWhole = async (
  { store, sse }: Services,
  { etag, size }: ObjectRecord,
  source: BodyReader,
  { kind, options }: SealedEncryption,
  checksum: StoredChecksum | undefined,
): Promise<SealedBody> => {
  const names = new Set<DigestAlgorithm>(checksum === undefined ? ['md5'] : ['md5', checksum.algorithm])
  const { bytes, digests } = digested(source.read(), names)
  const kept = [checksum?.algorithm, hasMd5Etag(kind) ? ('md5' as const) : undefined]
  const values = () => wanted(digests, kept)
  const sealing = await sse.encrypt({ ...options, length: size, values })
  const body = await bodyToSeal(store.createBody({ expectedSize: sealing.planned?.storedLength }), sealing)
  try {
    await pour(sealing.pieces(bytes), body.writable)
    if (hex(digests.get('md5') ?? new Uint8Array(0)) !== etag) throw damaged('ETag')
    const found = checksum && digests.get(checksum.algorithm)
    if (found !== undefined && hex(found) !== hex(fromBase64(checksum?.value ?? '') ?? new Uint8Array(0))) {
      throw damaged('checksum')
    }
    const sealed = sealing.result()
    return {
      body,
      etag: hasMd5Etag(kind) ? etag : sealed.etag,
      envelope: sealed.envelope,
      values: sealed.values,
      partValues: undefined,
    }
  } catch (error) {
    await body.discard()
    throw error
  }
}

/** An object that was uploaded in parts: their streams lie one after the other, as Complete would have put them. */
const sealParts = async (
  { store, sse }: Services,
  { etag }: ObjectRecord,
  source: BodyReader,
  { kind, options }: SealedEncryption,
  { parts, checksum }: { readonly parts: readonly PartSize[]; readonly checksum: StoredChecksum | undefined },
): Promise<SealedBody> => {
  const md5 = hasMd5Etag(kind)
  const ofPart = checksum?.type === 'COMPOSITE' ? checksum.algorithm : undefined
  const names = new Set<DigestAlgorithm>(ofPart === undefined ? ['md5'] : ['md5', ofPart])
  const upload = await sse.createUpload(options)
  const whole = createDigest('md5')
  const receipts: Uint8Array[] = []
  const named: { readonly part: number; readonly etag: string }[] = []
  const streams = async function* (): AsyncIterable<Uint8Array> {
    let start = 0
    for (const { number, size } of parts) {
      const end = start + size - 1
      const { bytes, digests } = digested(size === 0 ? nothing() : source.read({ start, end }), names)
      const values = () => wanted(digests, [ofPart, md5 ? 'md5' : undefined])
      const sealing = await sse.encryptPart(upload, number, { ...options, length: size, values })
      yield* sealing.pieces(bytes)
      const part = sealing.result()
      const digest = digests.get('md5') ?? new Uint8Array(0)
      whole.update(digest)
      receipts.push(part.receipt)
      named.push({ part: number, etag: md5 ? hex(digest) : part.etag })
      start = end + 1
    }
  }
  const body = await store.createBody()
  try {
    await pour(streams(), body.writable)
    const digest = await whole.finish()
    if (`${hex(digest)}-${parts.length}` !== etag) throw damaged('ETag')
    const values = new Map<number, Uint8Array>()
    if (md5) values.set(compositeFlag + valueIds.md5.id, digest)
    const bytes = checksum && fromBase64(checksum.value)
    if (checksum !== undefined && bytes !== undefined) {
      const flag = checksum.type === 'COMPOSITE' ? compositeFlag : 0
      values.set(flag + valueIds[checksum.algorithm].id, bytes)
    }
    const done = await sse.completeUpload(upload, named, receipts, { ...options, md5, values: () => values })
    return {
      body,
      etag: md5 ? etag : done.etag,
      envelope: done.envelope,
      values: done.values,
      partValues: ofPart === undefined ? undefined : done.partValues,
    }
  } catch (error) {
    await body.discard()
    throw error
  }
}

async function* nothing(): AsyncIterable<Uint8Array> {}

/**
 * Seals a plain object, whose body is `source`. The new envelope has been opened when this resolves, so the plain body may go. `BadDigest` where the
 * bytes are not those that were put. The ETag stays under SSE-S3; under SSE-KMS it becomes another one.
 */
export const sealStored = async (
  services: Services,
  record: ObjectRecord,
  source: BodyReader,
  encryption: SealedEncryption,
): Promise<SealedInPlace> => {
  if (record.kind !== 'plain') throw new TypeError('the object is sealed already')
  if (source.size !== record.size) throw damaged('size')
  const [checksum] = notedChecksums(record.notes)
  const parts = partsOf(record)
  const { body, ...sealed } =
    parts.length === 0
      ? await sealWhole(services, record, source, encryption, checksum)
      : await sealParts(services, record, source, encryption, { parts, checksum })
  try {
    const { kind, options } = encryption
    const opened = await services.sse.decrypt(sealed.envelope ?? new Uint8Array(), {
      ...options,
      held: body.size,
      values: sealed.values,
      etag: hasMd5Etag(kind) ? undefined : sealed.etag,
    })
    opened.driver.dispose()
    const { partSizes: _sizes, checksum: _checksum, ...notes } = record.notes
    const { storedSize: _size, revision: _revision, mac: _mac, ...kept } = record
    const noted = noteChecksums(checksum === undefined ? [] : [checksum], kind)
    return { body, record: { ...kept, ...sealed, kind, notes: { ...notes, ...noted, ...noteEncryption(encryption) } } }
  } catch (error) {
    await body.discard()
    throw error
  }
}
