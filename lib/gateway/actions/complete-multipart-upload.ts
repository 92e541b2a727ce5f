/** CompleteMultipartUpload and AbortMultipartUpload. Complete recomputes every ETag; what the store says of a part is never believed. */
import { createHash } from 'node:crypto'
import { base64, fromHex, hex } from '../../bytes.ts'
import { compositeFlag, valueIds } from '../../envelope/sealed-values.ts'
import { SseError } from '../../errors.ts'
import { assertPartOrder, type ListedPart, type NamedPart } from '../../object/multipart.ts'
import { refuseOnOther } from '../../sse/request.ts'
import type { Completion, NewObject, Part } from '../../store/store.ts'
import { refuseStranger } from '../access/access.ts'
import { answerEmpty, answerXml } from '../http/answer.ts'
import { readBody } from '../body/body.ts'
import type { ChecksumAlgorithm } from '../body/checksums.ts'
import type { GatewayRequest } from '../context.ts'
import { encryptionHeaders } from '../objects/encryption.ts'
import { locationOf } from '../context.ts'
import type { RequestHeaders } from '../http/headers.ts'
import { notePartSizes } from '../objects/record.ts'
import { hasMd5Etag } from '../objects/write.ts'
import { checksumXml, noteChecksums, type StoredChecksum } from '../objects/checksums.ts'
import { assertWhole, sumUp, type SummedPart, uploadChecksum, type WholeChecksum } from '../objects/checksums.ts'
import { findUpload, type FoundUpload, underUploadKey, useUpload, type UploadKeys } from '../objects/upload.ts'
import { fields, fromXml, textOf } from '../http/xml.ts'

const maxBody = 4 * 1024 * 1024

/** A part as Complete names it, with the checksum of the upload's algorithm where it has one. */
interface CheckedPart extends NamedPart {
  readonly checksum: string | undefined
}

/** The parts that the client names; `MalformedXML`. */
const namedParts = (xml: string, algorithm: ChecksumAlgorithm | undefined): readonly CheckedPart[] =>
  fields(fromXml(xml, 'CompleteMultipartUpload'), 'Part').map(content => {
    const number = textOf(content, 'PartNumber') ?? ''
    const etag = textOf(content, 'ETag')
    if (!/^\d{1,9}$/.test(number) || etag === undefined) throw new SseError('MalformedXML')
    const checksum = algorithm === undefined ? undefined : textOf(content, `Checksum${algorithm.toUpperCase()}`)
    return { part: Number(number), etag: etag.replace(/^"(.*)"$/, '$1'), checksum }
  })

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
  { headers }: GatewayRequest,
  { upload }: FoundUpload,
  named: readonly CheckedPart[],
  parts: readonly SummedPart[],
): Promise<WholeChecksum | undefined> => {
  const kept = uploadChecksum(upload)
  const whole = kept === undefined ? undefined : await sumUp(kept, parts)
  if (whole === undefined) return undefined
  for (const [i, { part, etag, checksum }] of named.entries()) {
    if (checksum === undefined || checksum === base64(parts[i]?.checksum ?? new Uint8Array(0))) continue
    throw new SseError('InvalidPart', { details: { PartNumber: String(part), ETag: etag } })
  }
  assertWhole(headers, whole, parts.length)
  return whole
}

/** A completion, and the checksum that it answers. */
interface Completed {
  readonly completion: Completion
  readonly checksums: readonly StoredChecksum[]
}

type Common = Pick<NewObject, 'kind' | 'headers' | 'attributes' | 'owner' | 'modified'>

const completeSealed = async (
  ctx: GatewayRequest,
  found: FoundUpload,
  { stored, options }: UploadKeys,
  named: readonly CheckedPart[],
  common: Common,
): Promise<Completed> => {
  const { upload, bucket, key } = found
  const { store, sse, profile } = ctx.options
  const listed = await store.listParts(bucket.name, key, upload.id, { completed: true })
  const receipts = listed.flatMap(({ receipt }) => (receipt === undefined ? [] : [receipt]))
  const md5 = hasMd5Etag(upload.kind)
  const md5s = (parts: readonly ListedPart[]) => md5OfMd5s(parts.map(part => part.values.get(valueIds.md5.id)))
  let whole: WholeChecksum | undefined
  const id = valueIds[uploadChecksum(upload)?.algorithm ?? 'md5'].id
  const done = await sse.completeUpload(stored, named, receipts, {
    ...options,
    md5,
    minimumPartSize: profile.minimumPartSize,
    attempt: async part => {
      const held = await store.peekPart(bucket.name, key, upload.id, part.attempt, 24, { completed: true })
      return held === undefined ? undefined : { length: held.size, salt: held.head }
    },
    values: async parts => {
      const summed = parts.map(({ length, values }) => ({ length, checksum: values.get(id) }))
      whole = await wholeOf(ctx, found, named, summed)
      const values = new Map<number, Uint8Array>()
      if (md5) values.set(compositeFlag + valueIds.md5.id, md5s(parts).digest)
      if (whole !== undefined) values.set(whole.id, whole.bytes)
      return values
    },
  })
  const completion = {
    token: done.token,
    attempts: done.parts.map(part => part.attempt),
    record: {
      ...common,
      size: done.plaintextLength,
      etag: md5 ? md5s(done.parts).etag : done.etag,
      envelope: done.envelope,
      values: done.values,
    },
  }
  return { completion, checksums: whole === undefined ? [] : [whole] }
}

/** The same choice for a plain upload, whose parts have MD5s for ETags; of several attempts the last one acknowledged. */
const completePlain = async (
  ctx: GatewayRequest,
  found: FoundUpload,
  named: readonly CheckedPart[],
  common: Common,
): Promise<Completed> => {
  const { upload, bucket, key } = found
  const { store, profile } = ctx.options
  const listed = await store.listParts(bucket.name, key, upload.id, { completed: true })
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
  const size = chosen.reduce((sum, part) => sum + part.size, 0)
  const summed = chosen.map(part => ({ length: part.size, checksum: part.receipt }))
  const whole = await wholeOf(ctx, found, named, summed)
  const checksums = whole === undefined ? [] : [whole]
  const attributes = { ...common.attributes, partSizes: notePartSizes(chosen), ...noteChecksums(checksums) }
  return {
    completion: { token: attempts.join(' '), attempts, record: { ...common, attributes, size, etag } },
    checksums,
  }
}

/** The headers but for the checksums: those of Complete are the object's, not its body's. */
const ofBody = (headers: RequestHeaders): RequestHeaders =>
  new Map([...headers].filter(([name]) => !/^x-amz-(?:sdk-)?checksum-/.test(name)))

/** Completes an upload: the parts that are named become the object, in one step. */
export const completeMultipartUpload = async (ctx: GatewayRequest): Promise<void> => {
  const found = await findUpload(ctx, 's3:PutObject', true)
  const { upload, bucket, key, owner } = found
  refuseOnOther('complete', ctx.header, ctx.options.profile)
  const { keys, answer, release } = await useUpload(ctx, found)
  try {
    const named = namedParts(
      await readBody(ctx, maxBody, { headers: ofBody(ctx.headers) }),
      uploadChecksum(upload)?.algorithm,
    )
    if (named.length === 0) throw new SseError('MalformedXML', { message: 'Name at least one part.' })
    if (named.length > 10_000) throw new SseError('InvalidRequest', { message: 'Name at most 10,000 parts.' })
    const { uploadChecksum: _checksum, ...attributes } = upload.attributes
    const common: Common = {
      kind: upload.kind,
      headers: upload.headers,
      attributes: { ...attributes, parts: String(named.length) },
      owner: owner.domainId,
      modified: ctx.now(),
    }
    const completing =
      keys === undefined ? completePlain(ctx, found, named, common) : completeSealed(ctx, found, keys, named, common)
    const { completion, checksums } = await underUploadKey(completing).catch((error: unknown) => {
      throw upload.completed === undefined ? error : new SseError('NoSuchUpload', { cause: error })
    })
    const record = await ctx.options.store.completeUpload(bucket.name, key, upload.id, completion, {
      condition: current => refuseStranger(found, current),
    })
    answerXml(
      ctx.res,
      'CompleteMultipartUploadResult',
      {
        Location: locationOf(ctx, key),
        Bucket: bucket.name,
        Key: key,
        ETag: `"${record.etag}"`,
        ...checksumXml(checksums, named.length),
      },
      encryptionHeaders(ctx, 'complete', answer),
    )
  } finally {
    release()
  }
}

/** Drops an upload and its parts. */
export const abortMultipartUpload = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket, key, upload } = await findUpload(ctx, 's3:AbortMultipartUpload')
  await ctx.options.store.abortUpload(bucket.name, key, upload.id)
  answerEmpty(ctx.res, 204)
}
