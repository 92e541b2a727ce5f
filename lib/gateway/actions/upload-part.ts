/** UploadPart: one attempt of a part, under a salt of its own; the same number may be sent again with other bytes. */
import { randomBytes } from 'node:crypto'
import { hex } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { partKeyMismatch } from '../../sse/customer-key.ts'
import { refuseOnOther } from '../../sse/request.ts'
import type { BodyWriter, NewPart } from '../../store/store.ts'
import { answerEmpty } from '../answer.ts'
import { type IncomingBody, incomingBody } from '../body.ts'
import type { Context } from '../context.ts'
import { encryptionHeaders } from '../encryption.ts'
import { digestsFor, fill, hasMd5Etag, valuesOf } from '../receive.ts'
import { findUpload, useUpload, type UploadKeys } from '../uploads.ts'

/** The part number of a request, 1 to 10,000. */
export const partNumberOf = (ctx: Context): number => {
  const text = ctx.query.get('partNumber') ?? ''
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
}

/** Receives one attempt of a part into the store; it belongs to nothing yet. */
export const receivePart = async (
  ctx: Context,
  { number, kind, keys }: PartTarget,
  incoming: IncomingBody,
): Promise<{ readonly body: BodyWriter; readonly part: NewPart & { readonly etag: string } }> => {
  const md5 = (): string => hex(incoming.digests().get('md5') ?? new Uint8Array(0))
  if (keys === undefined) {
    const body = await ctx.options.store.createBody({ expectedSize: incoming.length })
    await fill(body, incoming)
    const attempt = randomBytes(24).toString('hex')
    return { body, part: { number, attempt, size: body.size, etag: md5(), modified: ctx.now() } }
  }
  const sealing = await ctx.options.sse
    .encryptPart(keys.stored, number, {
      ...keys.options,
      length: incoming.length,
      values: () => valuesOf(incoming, kind),
    })
    .catch((error: unknown) => {
      throw error instanceof SseError && error.code === 'WrongCustomerKey' ? partKeyMismatch(error) : error
    })
  const body = await ctx.options.store.createBody({ expectedSize: incoming.length })
  await fill(body, incoming, sealing.stream)
  const { attempt, plaintextLength, receipt, etag } = sealing.result()
  const part = { number, attempt, size: plaintextLength, receipt, modified: ctx.now() }
  return { body, part: { ...part, etag: hasMd5Etag(kind) ? md5() : etag } }
}

/** Stores a part. */
export const uploadPart = async (ctx: Context): Promise<void> => {
  const number = partNumberOf(ctx)
  const found = await findUpload(ctx, 's3:PutObject')
  refuseOnOther('upload-part', ctx.header, ctx.options.profile)
  const { keys, answer, release } = await useUpload(ctx, found)
  try {
    const { kind } = found.upload
    const incoming = incomingBody(ctx, digestsFor(kind))
    const { body, part } = await receivePart(ctx, { number, kind, keys }, incoming)
    await ctx.options.store.putPart(found.bucket.name, found.key, found.upload.id, part, body)
    answerEmpty(ctx.res, 200, { etag: `"${part.etag}"`, ...encryptionHeaders(ctx, 'upload-part', answer) })
  } finally {
    release()
  }
}
