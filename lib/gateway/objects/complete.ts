/** Completes an upload by its plan: chooses the attempts that the client names and describes the object. What the store says of a part is not believed. */
import { createHash } from 'node:crypto'
import { base64, fromHex, hex } from '../../bytes.ts'
import { compositeFlag, valueIds } from '../../envelope/sealed-values.ts'
import { SseError } from '../../errors.ts'
import { assertPartOrder, type ListedPart, type NamedPart } from '../../object/multipart.ts'
import type { Completion } from '../../store/store.ts'
import type { NewObject, Part, Upload } from '../../store/records.ts'
import type { RequestHeaders } from '../http/headers.ts'
import type { Services } from '../services.ts'
import {
  assertWhole,
  noteChecksums,
  plainPartValues,
  type StoredChecksum,
  sumUp,
  type SummedPart,
  uploadChecksum,
  type WholeChecksum,
} from './checksums.ts'
import type { UploadKeys } from './part.ts'
import { notePartSizes } from './parts.ts'
import { hasMd5Etag } from './write.ts'

/** A part as Complete names it, with the checksum of the upload's algorithm where it has one. */
export interface CheckedPart extends NamedPart {
  readonly checksum: string | undefined
}

/** Everything that was decided of a Complete. */
export interface CompletePlan {
  readonly bucketId: string
  readonly upload: Upload
  /** Absent where the object will be plain. */
  readonly keys: UploadKeys | undefined
  /** In the order in which the client names them. */
  readonly named: readonly CheckedPart[]
  /** Headers that may name the object's checksum. */
  readonly headers: RequestHeaders
  /** Domain id of the object's owner. */
  readonly owner: string
}

/** A completion to be committed, and the checksum that is answered. */
export interface PlannedCompletion {
  readonly completion: Completion
  readonly checksums: readonly StoredChecksum[]
}

/** `hex(MD5 of the parts' md5s)-n`. */
const md5OfMd5s = (
  md5s: readonly (Uint8Array | undefined)[],
): { readonly digest: Uint8Array; readonly etag: string } => {
  const hash = createHash('md5')
  for (const md5 of md5s) if (md5 !== undefined) hash.update(md5)
  const digest = hash.digest()
  return { digest, etag: `${hex(digest)}-${md5s.length}` }
}

/** The checksum of the object out of its parts'; `InvalidPart`, `BadDigest` where the client says otherwise. */
const wholeOf = async (
  { headers, upload, named }: CompletePlan,
  parts: readonly SummedPart[],
): Promise<WholeChecksum | undefined> => {
  const kept = uploadChecksum(upload.notes)
  const whole = kept === undefined ? undefined : await sumUp(kept, parts)
  if (whole === undefined) return undefined
  for (const [i, { part, etag, checksum }] of named.entries()) {
    if (checksum === undefined || checksum === base64(parts[i]?.checksum ?? new Uint8Array(0))) continue
    throw new SseError('InvalidPart', { details: { PartNumber: String(part), ETag: etag } })
  }
  assertWhole(headers, whole, parts.length)
  return whole
}

const commonOf = ({ upload, named, owner }: CompletePlan, now: number): Omit<NewObject, 'size' | 'etag'> => {
  const { summedUp: _agreed, initiator: _user, ...notes } = upload.notes
  const { kind, headers } = upload
  return { kind, headers, notes: { ...notes, parts: named.length }, owner, modified: now }
}

const completeSealed = async (
  { store, sse, profile, now }: Services,
  plan: CompletePlan,
  { stored, options }: UploadKeys,
): Promise<PlannedCompletion> => {
  const { bucketId, upload, named } = plan
  const listed = await store.listParts(bucketId, upload.key, upload.id, { completed: true })
  const receipts = listed.flatMap(({ receipt }) => (receipt === undefined ? [] : [receipt]))
  const md5 = hasMd5Etag(upload.kind)
  const md5s = (parts: readonly ListedPart[]) => md5OfMd5s(parts.map(part => part.values.get(valueIds.md5.id)))
  let whole: WholeChecksum | undefined
  const id = valueIds[uploadChecksum(upload.notes)?.algorithm ?? 'md5'].id
  const done = await sse.completeUpload(stored, named, receipts, {
    ...options,
    md5,
    minimumPartSize: profile.minimumPartSize,
    attempts: async parts => {
      const names = parts.map(({ attempt }) => attempt)
      const held = await store.peekParts(bucketId, upload.key, upload.id, names, 24, { completed: true })
      return held.map(found => found && { length: found.size, salt: found.head })
    },
    values: async parts => {
      whole = await wholeOf(
        plan,
        parts.map(({ length, values }) => ({ length, checksum: values.get(id) })),
      )
      const values = new Map<number, Uint8Array>()
      if (md5) values.set(compositeFlag + valueIds.md5.id, md5s(parts).digest)
      if (whole !== undefined) values.set(whole.id, whole.bytes)
      return values
    },
  })
  const checksums = whole === undefined ? [] : [whole]
  const common = commonOf(plan, now())
  const record = {
    ...common,
    notes: { ...common.notes, ...noteChecksums(checksums, upload.kind) },
    size: done.plaintextLength,
    etag: md5 ? md5s(done.parts).etag : done.etag,
    envelope: done.envelope,
    values: done.values,
    ...(whole?.type === 'COMPOSITE' && { partValues: done.partValues }),
  }
  return {
    completion: { token: done.token, attempts: done.parts.map(part => part.attempt), record },
    checksums,
  }
}

/** The same choice for a plain upload, whose parts have MD5s for ETags; of several attempts the last one acknowledged. */
const completePlain = async ({ store, profile, now }: Services, plan: CompletePlan): Promise<PlannedCompletion> => {
  const { bucketId, upload, named } = plan
  const listed = await store.listParts(bucketId, upload.key, upload.id, { completed: true })
  const byName = new Map(listed.map(each => [`${each.number} ${each.etag}`, each])) // the last one of each
  const chosen: Part[] = []
  assertPartOrder(named)
  for (const [i, { part, etag }] of named.entries()) {
    const last = byName.get(`${part} ${etag}`)
    const details = { PartNumber: String(part), ETag: etag }
    if (last === undefined) throw new SseError('InvalidPart', { details })
    if (i < named.length - 1 && last.size < profile.minimumPartSize) throw new SseError('EntityTooSmall', { details })
    chosen.push(last)
  }
  const { etag } = md5OfMd5s(named.map(part => fromHex(part.etag)))
  const attempts = chosen.map(part => part.attempt)
  const whole = await wholeOf(
    plan,
    chosen.map(part => ({ length: part.size, checksum: part.receipt })),
  )
  const checksums = whole === undefined ? [] : [whole]
  const common = commonOf(plan, now())
  const record = {
    ...common,
    notes: { ...common.notes, partSizes: notePartSizes(chosen), ...noteChecksums(checksums, 'plain') },
    size: chosen.reduce((sum, part) => sum + part.size, 0),
    etag,
    ...(whole?.type === 'COMPOSITE' && { partValues: plainPartValues(chosen.map(part => part.receipt)) }),
  }
  return { completion: { token: attempts.join(' '), attempts, record }, checksums }
}

/** Chooses the attempts of an upload's object and describes it. `InvalidPart`, `InvalidPartOrder`, `EntityTooSmall`, `BadDigest`. */
export const planCompletion = (services: Services, plan: CompletePlan): Promise<PlannedCompletion> =>
  plan.keys === undefined ? completePlain(services, plan) : completeSealed(services, plan, plan.keys)
