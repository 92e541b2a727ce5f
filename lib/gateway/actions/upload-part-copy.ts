/** UploadPartCopy: a part whose bytes come from an object; decrypted and sealed under the upload's key, ciphertext is never spliced. */
import { refuseOnOther } from '../../sse/request.ts'
import { answerXml } from '../answer.ts'
import type { Context } from '../context.ts'
import { openSource, sourceBody, sourceRange } from '../copy-source.ts'
import { encryptionHeaders } from '../encryption.ts'
import { partChecksumXml } from '../stored-checksums.ts'
import { findUpload, useUpload } from '../uploads.ts'
import { partDigests, partNumberOf, partTarget, receivePart } from './upload-part.ts'

/** Copies an object, or a range of it, into a part. */
export const uploadPartCopy = async (ctx: Context): Promise<void> => {
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
