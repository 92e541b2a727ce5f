/** ListParts and ListMultipartUploads. ETags of sealed parts are recomputed from their receipts: one unwrap. */
import { base64 } from '../../bytes.ts'
import { valueIds } from '../../envelope/sealed-values.ts'
import { refuseOnOther } from '../../sse/request.ts'
import { answerXml } from '../http/answer.ts'
import { type GatewayRequest, openBucket } from '../request.ts'
import { encoderOf, limitOf, markerOf, uploadMarkers } from '../http/parameters.ts'
import { answeredTime } from '../http/time.ts'
import { hasMd5Etag } from '../objects/write.ts'
import { askedChecksumXml, tellsChecksum, uploadChecksum } from '../objects/checksums.ts'
import { underUploadKey, type UploadKeys } from '../objects/part.ts'
import { findUpload, type FoundUpload, unlockUpload } from '../plan/upload.ts'

interface PartRow {
  readonly number: number
  readonly size: number
  readonly etag: string
  readonly modified: number
  readonly checksum: Uint8Array | undefined
}

/** All attempts; one of a sealed upload that has no receipt was never acknowledged. */
const rowsOf = async (
  request: GatewayRequest,
  { upload, bucket }: FoundUpload,
  keys: UploadKeys | undefined,
): Promise<readonly PartRow[]> => {
  const attempts = await request.services.store.listParts(bucket.bucket.id, upload.key, upload.id)
  if (keys === undefined) {
    return attempts.map(({ number, size, etag = '', modified, receipt: checksum }) => {
      return { number, size, etag, modified, checksum }
    })
  }
  const { sse } = request.services
  const kept = uploadChecksum(upload.notes)
  const receipts = attempts.flatMap(({ receipt }) => (receipt === undefined ? [] : [receipt]))
  const modified = new Map(attempts.map(part => [part.attempt, part.modified]))
  const options = { ...keys.options, md5: hasMd5Etag(upload.kind) }
  const listed = await underUploadKey(sse.listParts(keys.stored, receipts, options))
  return listed.map(({ part, length, etag, attempt, values }) => {
    const checksum = kept === undefined ? undefined : values.get(valueIds[kept.algorithm].id)
    return { number: part, size: length, etag, modified: modified.get(attempt) ?? upload.initiated, checksum }
  })
}

/** The parts of an upload: of each number the attempt that was acknowledged last. */
export const listParts = async (request: GatewayRequest): Promise<void> => {
  const found = await findUpload(request, 's3:ListMultipartUploadParts')
  const { bucket, upload } = found
  const { owner } = bucket
  refuseOnOther('list', request.header)
  const { keys, release } = await unlockUpload(request, found, 'listing')
  const kept = uploadChecksum(upload.notes)
  const rows = new Map<number, PartRow>()
  try {
    for (const row of await rowsOf(request, found, keys)) rows.set(row.number, row)
  } finally {
    release()
  }
  const marker = markerOf(request, 'part-number-marker')
  const limit = limitOf(request, 'max-parts')
  const behind = [...rows.values()].filter(row => row.number > marker).sort((a, b) => a.number - b.number)
  const page = behind.slice(0, limit)
  const truncated = behind.length > page.length
  answerXml(request.res, 'ListPartsResult', {
    Bucket: bucket.bucket.name,
    Key: encoderOf(request)(upload.key),
    UploadId: upload.id,
    Initiator: { ID: owner.domainId },
    Owner: { ID: owner.domainId },
    StorageClass: 'STANDARD',
    PartNumberMarker: marker,
    NextPartNumberMarker: page.at(-1)?.number ?? marker,
    MaxParts: limit,
    IsTruncated: truncated,
    ...askedChecksumXml(kept),
    Part: page.map(row => ({
      PartNumber: row.number,
      LastModified: answeredTime(row.modified),
      ETag: `"${row.etag}"`,
      Size: row.size,
      ...(kept === undefined || row.checksum === undefined || !tellsChecksum(upload)
        ? {}
        : { [`Checksum${kept.algorithm.toUpperCase()}`]: base64(row.checksum) }),
    })),
  })
}

/** The open uploads of a bucket. */
export const listMultipartUploads = async (request: GatewayRequest): Promise<void> => {
  const { bucket, owner } = await openBucket(request, 's3:ListBucketMultipartUploads')
  refuseOnOther('list', request.header)
  const encode = encoderOf(request)
  const limit = limitOf(request, 'max-uploads')
  const marker = uploadMarkers(request)
  const prefix = request.query.get('prefix') ?? ''
  const delimiter = request.query.get('delimiter') ?? ''
  const page = await request.services.store.listUploads(bucket.id, {
    prefix,
    delimiter: delimiter === '' ? undefined : delimiter,
    keyAfter: marker.key || undefined,
    idAfter: marker.id || undefined,
    limit: Math.max(1, limit),
  })
  const last = page.uploads.at(-1)
  answerXml(request.res, 'ListMultipartUploadsResult', {
    Bucket: bucket.name,
    KeyMarker: encode(marker.key),
    UploadIdMarker: marker.id,
    // On a last page too, as in S3.
    NextKeyMarker: encode(page.next?.keyAfter ?? last?.key ?? ''),
    NextUploadIdMarker: (page.next === undefined ? last?.id : page.next.idAfter) ?? '',
    Prefix: encode(prefix),
    Delimiter: delimiter === '' ? undefined : encode(delimiter),
    EncodingType: request.query.get('encoding-type'),
    MaxUploads: limit,
    IsTruncated: page.truncated,
    Upload: page.uploads.map(upload => ({
      Key: encode(upload.key),
      UploadId: upload.id,
      Initiator: { ID: owner.domainId },
      Owner: { ID: owner.domainId },
      StorageClass: 'STANDARD',
      Initiated: answeredTime(upload.initiated),
      ...askedChecksumXml(uploadChecksum(upload.notes)),
    })),
    CommonPrefixes: page.prefixes.map(text => ({ Prefix: encode(text) })),
  })
}
