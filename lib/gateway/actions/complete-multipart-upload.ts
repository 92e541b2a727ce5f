/** CompleteMultipartUpload and AbortMultipartUpload. Complete recomputes every ETag; what the store says of a part is never believed. */
import { createHash } from 'node:crypto'
import { fromHex, hex } from '../../bytes.ts'
import { compositeFlag, valueIds } from '../../envelope/sealed-values.ts'
import { SseError } from '../../errors.ts'
import { assertPartOrder, type ListedPart, type NamedPart } from '../../object/multipart.ts'
import { refuseOnOther } from '../../sse/request.ts'
import type { Completion, NewObject, Part } from '../../store/store.ts'
import { refuseStranger } from '../access.ts'
import { answerEmpty, answerXml } from '../answer.ts'
import { readBody } from '../body.ts'
import type { Context } from '../context.ts'
import { encryptionHeaders } from '../encryption.ts'
import { locationOf } from '../location.ts'
import { notePartSizes } from '../parts.ts'
import { hasMd5Etag } from '../receive.ts'
import { findUpload, type FoundUpload, useUpload, type UploadKeys } from '../uploads.ts'
import { fields, fromXml, textOf } from '../xml.ts'

const maxBody = 4 * 1024 * 1024

/** The parts that the client names; `MalformedXML`, `InvalidPart`. */
const namedParts = (xml: string): readonly NamedPart[] =>
  fields(fromXml(xml, 'CompleteMultipartUpload'), 'Part').map(content => {
    const number = textOf(content, 'PartNumber') ?? ''
    const etag = textOf(content, 'ETag')
    if (!/^\d{1,9}$/.test(number) || etag === undefined) throw new SseError('MalformedXML')
    return { part: Number(number), etag: etag.replace(/^"(.*)"$/, '$1') }
  })

/** `hex(MD5 of the parts' md5s)-n`. */
const md5OfMd5s = (md5s: readonly Uint8Array[]): { readonly digest: Uint8Array; readonly etag: string } => {
  const hash = createHash('md5')
  for (const md5 of md5s) hash.update(md5)
  const digest = hash.digest()
  return { digest, etag: `${hex(digest)}-${md5s.length}` }
}

type Common = Pick<NewObject, 'kind' | 'headers' | 'attributes' | 'owner' | 'modified'>

const completeSealed = async (
  ctx: Context,
  { upload, bucket, key }: FoundUpload,
  { stored, options }: UploadKeys,
  named: readonly NamedPart[],
  common: Common,
): Promise<Completion> => {
  const { store, sse, profile } = ctx.options
  const listed = await store.listParts(bucket.name, key, upload.id, { completed: true })
  const receipts = listed.flatMap(({ receipt }) => (receipt === undefined ? [] : [receipt]))
  const md5 = hasMd5Etag(upload.kind)
  const md5s = (parts: readonly ListedPart[]) =>
    md5OfMd5s(parts.map(part => part.values.get(valueIds.md5.id) ?? new Uint8Array(0)))
  const done = await sse.completeUpload(stored, named, receipts, {
    ...options,
    md5,
    minimumPartSize: profile.minimumPartSize,
    attempt: async part => {
      const held = await store.peekPart(bucket.name, key, upload.id, part.attempt, 24, { completed: true })
      return held === undefined ? undefined : { length: held.size, salt: held.head }
    },
    values: parts => new Map(md5 ? [[compositeFlag + valueIds.md5.id, md5s(parts).digest]] : []),
  })
  return {
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
}

/** The same choice for a plain upload, whose parts have MD5s for ETags; of several attempts the last one acknowledged. */
const completePlain = async (
  ctx: Context,
  { upload, bucket, key }: FoundUpload,
  named: readonly NamedPart[],
  common: Common,
): Promise<Completion> => {
  const { store, profile } = ctx.options
  const listed = await store.listParts(bucket.name, key, upload.id, { completed: true })
  const chosen: Part[] = []
  assertPartOrder(named)
  for (const [i, { part, etag }] of named.entries()) {
    const found = listed.findLast(each => each.number === part && each.etag === etag)
    const details = { PartNumber: String(part), ETag: etag }
    if (found === undefined) throw new SseError('InvalidPart', { details })
    if (i < named.length - 1 && found.size < profile.minimumPartSize) throw new SseError('EntityTooSmall', { details })
    chosen.push(found)
  }
  const { etag } = md5OfMd5s(chosen.map(part => fromHex(part.etag ?? '') ?? new Uint8Array(0)))
  const attempts = chosen.map(part => part.attempt)
  const size = chosen.reduce((sum, part) => sum + part.size, 0)
  const attributes = { ...common.attributes, partSizes: notePartSizes(chosen) }
  return { token: attempts.join(' '), attempts, record: { ...common, attributes, size, etag } }
}

/** Completes an upload: the parts that are named become the object, in one step. */
export const completeMultipartUpload = async (ctx: Context): Promise<void> => {
  const found = await findUpload(ctx, 's3:PutObject', true)
  const { upload, bucket, key, owner } = found
  refuseOnOther('complete', ctx.header, ctx.options.profile)
  const { keys, answer, release } = await useUpload(ctx, found)
  try {
    const named = namedParts(await readBody(ctx, maxBody))
    if (named.length === 0) throw new SseError('MalformedXML', { message: 'Name at least one part.' })
    if (named.length > 10_000) throw new SseError('InvalidRequest', { message: 'Name at most 10,000 parts.' })
    const common: Common = {
      kind: upload.kind,
      headers: upload.headers,
      attributes: { ...upload.attributes, parts: String(named.length) },
      owner: owner.domainId,
      modified: ctx.now(),
    }
    const completing =
      keys === undefined ? completePlain(ctx, found, named, common) : completeSealed(ctx, found, keys, named, common)
    const completion = await completing.catch((error: unknown) => {
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
      },
      encryptionHeaders(ctx, 'complete', answer),
    )
  } finally {
    release()
  }
}

/** Drops an upload and its parts. */
export const abortMultipartUpload = async (ctx: Context): Promise<void> => {
  const { bucket, key, upload } = await findUpload(ctx, 's3:AbortMultipartUpload')
  await ctx.options.store.abortUpload(bucket.name, key, upload.id)
  answerEmpty(ctx.res, 204)
}
