/** CreateMultipartUpload (OBS: Initiate Multipart Upload): fixes algorithm, key and context for all parts. */
import { randomBytes } from 'node:crypto'
import { wipe } from '../../bytes.ts'
import { answerXml } from '../http/answer.ts'
import { requestedAttributes } from '../objects/record.ts'
import type { GatewayRequest } from '../context.ts'
import { decideWrite, encryptionHeaders, noteEncryption, type WriteEncryption } from '../objects/encryption.ts'
import { objectHeaders } from '../objects/record.ts'
import { askedChecksumHeaders, initiatedChecksum, noteUploadChecksum } from '../objects/checksums.ts'

/** Session and id of an upload; a plain one has an id alone. */
const sessionOf = async (ctx: GatewayRequest, encryption: WriteEncryption) => {
  if (encryption.kind === 'plain') return { uploadId: randomBytes(24).toString('base64url'), session: undefined }
  try {
    return await ctx.options.sse.createUpload(encryption.options)
  } finally {
    wipe(encryption.options.customerKey)
  }
}

/** Opens an upload. */
export const createMultipartUpload = async (ctx: GatewayRequest): Promise<void> => {
  const key = ctx.key()
  const owned = await ctx.openBucket('s3:PutObject')
  const { bucket, owner } = owned
  const asked = requestedAttributes(ctx, owned, key)
  const checksum = initiatedChecksum(ctx)
  const encryption = await decideWrite(ctx, owned, key)
  const headers = objectHeaders(ctx.headers)
  const { uploadId, session } = await sessionOf(ctx, encryption)
  await ctx.options.store.createUpload(bucket.name, key, {
    id: uploadId,
    session,
    kind: encryption.kind,
    headers,
    attributes: { ...asked, ...noteUploadChecksum(checksum), ...noteEncryption(encryption) },
    owner: owner.domainId,
    initiated: ctx.now(),
  })
  const answer = encryption.kind === 'plain' ? encryption : encryption.answer
  answerXml(
    ctx.res,
    'InitiateMultipartUploadResult',
    { Bucket: bucket.name, Key: key, UploadId: uploadId },
    { ...askedChecksumHeaders(checksum), ...encryptionHeaders(ctx, 'initiate', answer) },
  )
}
