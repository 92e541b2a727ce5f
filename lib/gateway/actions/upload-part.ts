/** UploadPart: one attempt of a part, under a salt of its own; the same number may be sent again with other bytes. */
import { randomBytes } from 'node:crypto'
import { SseError } from '../../errors.ts'
import { refuseOnOther } from '../../sse/request.ts'
import type { BodyWriter, NewPart } from '../../store/store.ts'
import { type IncomingBody, incomingBody, type RequestBodyOptions } from '../body/body.ts'
import type { GatewayRequest } from '../context.ts'
import { answerEmpty, answerXml } from '../http/answer.ts'
import {
  assertPartChecksum,
  partChecksumHeaders,
  partChecksumXml,
  receivedChecksums,
  type StoredChecksum,
  uploadChecksum,
  type UploadChecksum,
} from '../objects/checksums.ts'
import { encryptionHeaders } from '../objects/encryption.ts'
import { openSource, sourceBody, sourceRange } from '../objects/source.ts'
import { findUpload, type FoundUpload, underUploadKey, type UploadKeys, useUpload } from '../objects/upload.ts'
import { bodyToSeal, digestsFor, fill, hasMd5Etag, md5Of, valuesOf } from '../objects/write.ts'
import { parameterOf } from '../parameters.ts'

/** The part number of a request, 1 to 10,000. */
export const partNumberOf = (ctx: GatewayRequest): number => {
  const text = parameterOf(ctx, 'partNumber')
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (number >= 1 && number <= 10_000) return number
  throw new SseError('InvalidArgument', {
    message: 'Part number must be an integer between 1 and 10000, inclusive.',
    details: { ArgumentName: 'partNumber', ArgumentValue: text },
  })
}

/** What a part is received with. */
export interface PartTarget {
  readonly number: number
  readonly kind: 'plain' | 'sse-s3' | 'sse-kms' | 'sse-c'
  readonly keys: UploadKeys | undefined
  /** What the parts of its upload are summed up with. */
  readonly checksum: UploadChecksum | undefined
}

/** What a part of that upload is received with. */
export const partTarget = ({ upload }: FoundUpload, number: number, keys: UploadKeys | undefined): PartTarget => ({
  number,
  kind: upload.kind,
  keys,
  checksum: uploadChecksum(upload),
})

/** Digests that a part needs: also its upload's, where the client sends another checksum or none. */
export const partDigests = ({ kind, checksum }: PartTarget): RequestBodyOptions => {
  const { always = [] } = digestsFor(kind, undefined)
  return checksum === undefined
    ? { always }
    : { always: [...always, checksum.algorithm], otherwise: checksum.algorithm }
}

/** A part that was received. */
export interface ReceivedPart {
  readonly body: BodyWriter
  readonly part: NewPart & { readonly etag: string }
  readonly checksums: readonly StoredChecksum[]
}

/** Receives one attempt of a part into the store; it belongs to nothing yet. */
export const receivePart = async (
  ctx: GatewayRequest,
  { number, kind, keys, checksum }: PartTarget,
  incoming: IncomingBody,
): Promise<ReceivedPart> => {
  if (keys === undefined) {
    const body = await ctx.options.store.createBody({ expectedSize: incoming.length })
    await fill(body, incoming)
    const attempt = randomBytes(24).toString('hex')
    // A plain part has nothing sealed: its receipt is its checksum.
    const receipt = checksum === undefined ? undefined : incoming.digests().get(checksum.algorithm)
    const part = { number, attempt, size: body.size, etag: md5Of(incoming), receipt, modified: ctx.now() }
    return { body, part, checksums: receivedChecksums(incoming) }
  }
  const values = () => valuesOf(incoming, kind, checksum?.algorithm)
  const sealing = await underUploadKey(
    ctx.options.sse.encryptPart(keys.stored, number, { ...keys.options, length: incoming.length, values }),
  )
  const body = await bodyToSeal(ctx.options.store.createBody({ expectedSize: incoming.length }), sealing)
  await fill(body, incoming, source => sealing.pieces(source))
  const { attempt, plaintextLength, receipt, etag } = sealing.result()
  const part = { number, attempt, size: plaintextLength, receipt, modified: ctx.now() }
  const checksums = receivedChecksums(incoming)
  return { body, part: { ...part, etag: hasMd5Etag(kind) ? md5Of(incoming) : etag }, checksums }
}

/** Stores a part. */
export const uploadPart = async (ctx: GatewayRequest): Promise<void> => {
  const number = partNumberOf(ctx)
  const found = await findUpload(ctx, 's3:PutObject')
  refuseOnOther('upload-part', ctx.header, ctx.options.profile)
  const { keys, answer, release } = await useUpload(ctx, found)
  try {
    const target = partTarget(found, number, keys)
    const incoming = incomingBody(ctx, partDigests(target))
    assertPartChecksum(target.checksum, incoming.checksum)
    const { body, part, checksums } = await receivePart(ctx, target, incoming)
    await ctx.options.store.putPart(found.bucket.name, found.key, found.upload.id, part, body)
    answerEmpty(ctx.res, 200, {
      etag: `"${part.etag}"`,
      ...partChecksumHeaders(checksums),
      ...encryptionHeaders(ctx, 'upload-part', answer),
    })
  } finally {
    release()
  }
}

/** Copies an object, or a range of it, into a part. */
export const uploadPartCopy = async (ctx: GatewayRequest): Promise<void> => {
  const number = partNumberOf(ctx)
  const found = await findUpload(ctx, 's3:PutObject')
  refuseOnOther('upload-part-copy', ctx.header, ctx.options.profile)
  const { keys, answer, release } = await useUpload(ctx, found)
  try {
    const source = await openSource(ctx)
    try {
      const target = partTarget(found, number, keys)
      const range = sourceRange(ctx, source.record.size)
      const incoming = await sourceBody(ctx, source, () => partDigests(target), range)
      const { body, part, checksums } = await receivePart(ctx, target, incoming)
      const { store } = ctx.options
      const { modified } = await store.putPart(found.bucket.name, found.key, found.upload.id, part, body)
      answerXml(
        ctx.res,
        'CopyPartResult',
        { LastModified: new Date(modified).toISOString(), ETag: `"${part.etag}"`, ...partChecksumXml(checksums) },
        encryptionHeaders(ctx, 'upload-part-copy', answer),
      )
    } finally {
      await source.close()
    }
  } finally {
    release()
  }
}
