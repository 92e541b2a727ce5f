/** ListParts and ListMultipartUploads. ETags of sealed parts are recomputed from their receipts: one unwrap. */
import { hex } from '../../bytes.ts'
import { valueIds } from '../../envelope/sealed-values.ts'
import { refuseOnOther } from '../../sse/request.ts'
import { answerXml } from '../answer.ts'
import type { Context } from '../context.ts'
import { encoderOf, limitOf, markerOf } from '../listing.ts'
import { hasMd5Etag } from '../receive.ts'
import { findUpload, useUpload } from '../uploads.ts'

interface PartRow {
  readonly number: number
  readonly size: number
  readonly etag: string
  readonly modified: number
}

/** The parts of an upload: of each number the attempt that was acknowledged last. */
export const listParts = async (ctx: Context): Promise<void> => {
  refuseOnOther('list', ctx.header)
  const found = await findUpload(ctx, 's3:ListMultipartUploadParts')
  const { bucket, key, upload, owner } = found
  const { keys, release } = await useUpload(ctx, found)
  const rows = new Map<number, PartRow>()
  try {
    const attempts = await ctx.options.store.listParts(bucket.name, key, upload.id)
    const receipts = attempts.map(part => part.receipt ?? new Uint8Array(0))
    const sealed = keys === undefined ? [] : await ctx.options.sse.listParts(keys.stored, receipts, keys.options)
    for (const [i, attempt] of attempts.entries()) {
      const part = sealed[i]
      const md5 = part?.values.get(valueIds.md5.id)
      const etag =
        part === undefined ? (attempt.etag ?? '') : hasMd5Etag(upload.kind) && md5 !== undefined ? hex(md5) : part.etag
      const row = {
        number: part?.part ?? attempt.number,
        size: part?.length ?? attempt.size,
        etag,
        modified: attempt.modified,
      }
      rows.set(row.number, row)
    }
  } finally {
    release()
  }
  const marker = markerOf(ctx, 'part-number-marker')
  const limit = limitOf(ctx, 'max-parts')
  const behind = [...rows.values()].filter(row => row.number > marker).sort((a, b) => a.number - b.number)
  const page = behind.slice(0, limit)
  const truncated = behind.length > page.length
  answerXml(ctx.res, 'ListPartsResult', {
    Bucket: bucket.name,
    Key: encoderOf(ctx)(key),
    UploadId: upload.id,
    Initiator: { ID: owner.domainId },
    Owner: { ID: owner.domainId },
    StorageClass: 'STANDARD',
    PartNumberMarker: marker,
    NextPartNumberMarker: page.at(-1)?.number ?? marker,
    MaxParts: limit,
    IsTruncated: truncated,
    Part: page.map(row => ({
      PartNumber: row.number,
      LastModified: new Date(row.modified).toISOString(),
      ETag: `"${row.etag}"`,
      Size: row.size,
    })),
  })
}

/** The open uploads of a bucket. */
export const listMultipartUploads = async (ctx: Context): Promise<void> => {
  refuseOnOther('list', ctx.header)
  const { bucket, owner } = await ctx.openBucket('s3:ListBucketMultipartUploads')
  const encode = encoderOf(ctx)
  const limit = limitOf(ctx, 'max-uploads')
  const keyMarker = ctx.query.get('key-marker') ?? ''
  const idMarker = ctx.query.get('upload-id-marker') ?? ''
  const prefix = ctx.query.get('prefix') ?? ''
  const delimiter = ctx.query.get('delimiter') ?? ''
  const page = await ctx.options.store.listUploads(bucket.name, {
    prefix,
    delimiter: delimiter === '' ? undefined : delimiter,
    keyAfter: keyMarker === '' ? undefined : keyMarker,
    idAfter: keyMarker === '' || idMarker === '' ? undefined : idMarker,
    limit: Math.max(1, limit),
  })
  answerXml(ctx.res, 'ListMultipartUploadsResult', {
    Bucket: bucket.name,
    KeyMarker: encode(keyMarker),
    UploadIdMarker: idMarker,
    NextKeyMarker: page.next?.keyAfter === undefined ? undefined : encode(page.next.keyAfter),
    NextUploadIdMarker: page.next?.idAfter,
    Prefix: encode(prefix),
    Delimiter: delimiter === '' ? undefined : encode(delimiter),
    EncodingType: ctx.query.get('encoding-type'),
    MaxUploads: limit,
    IsTruncated: page.truncated,
    Upload: page.uploads.map(upload => ({
      Key: encode(upload.key),
      UploadId: upload.id,
      Initiator: { ID: owner.domainId },
      Owner: { ID: owner.domainId },
      StorageClass: 'STANDARD',
      Initiated: new Date(upload.initiated).toISOString(),
    })),
    CommonPrefixes: page.prefixes.map(text => ({ Prefix: encode(text) })),
  })
}
