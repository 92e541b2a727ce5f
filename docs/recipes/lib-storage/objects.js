import { GetObjectCommand, HeadObjectCommand } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { pipeline } from 'node:stream/promises'

/** @typedef {{ s3: import('@aws-sdk/client-s3').S3Client, sse: import('sse-kms-streams').Sse }} Clients */
/** @typedef {{ Bucket: string, Key: string }} Name */

const contextOf = (/** @type {Name} */ { Bucket, Key }) => ({ 'aws:s3:arn': `arn:aws:s3:::${Bucket}/${Key}` })

/**
 * Seals a stream of so many bytes while it is uploaded.
 * @param {Clients} clients @param {Name} to @param {import('node:stream').Readable} source @param {number} length
 */
export const put = async ({ s3, sse }, to, source, length) => {
  const sealing = await sse.encrypt({ context: contextOf(to), file: true, length })
  const params = { ...to, Body: sealing.stream, ContentLength: sealing.planned?.fileLength }
  await Promise.all([pipeline(source, sealing.stream), new Upload({ client: s3, params }).done()])
}

/**
 * Opens an object, or a range of it: only the segments that hold it are fetched.
 * @param {Clients} clients @param {Name} from @param {import('sse-kms-streams').RangeRequest} [range]
 */
export const get = async ({ s3, sse }, from, range) => {
  const { ContentLength: size = 0, ETag: IfMatch } = await s3.send(new HeadObjectCommand(from))
  const fetched = async (/** @type {number} */ start, /** @type {number} */ end) => {
    const answer = await s3.send(new GetObjectCommand({ ...from, IfMatch, Range: `bytes=${start}-${end}` }))
    if (!answer.Body) throw new Error('the storage answered no body')
    return answer.Body
  }
  const read = async (/** @type {number} */ start, /** @type {number} */ end) =>
    (await fetched(start, end)).transformToByteArray()
  const opening = await sse.decryptFile({ size, read }, { context: contextOf(from), range })
  const body = await fetched(opening.stored.start, opening.stored.end)
  return opening.pieces(/** @type {import('node:stream').Readable} */ (body))
}
