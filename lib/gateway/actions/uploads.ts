/**
 * CreateMultipartUpload (OBS: Initiate Multipart Upload), UploadPart, UploadPartCopy, CompleteMultipartUpload, AbortMultipartUpload. Initiate
 * fixes algorithm, key and context; each attempt of a part has a salt of its own, so the same number may be sent again with other bytes.
 */
import { randomBytes } from 'node:crypto'
import { SseError } from '../../errors.ts'
import { refuseOnOther } from '../../sse/request.ts'
import { closedToOthers, initiatorOf } from '../access/access.ts'
import { assertTakesOpenAcl } from '../access/public-access.ts'
import { incomingBody, readBody } from '../body/body.ts'
import { answerEmpty, answerXml, withBlanks } from '../http/answer.ts'
import { writeCondition } from '../http/conditions.ts'
import type { RequestHeaders } from '../http/headers.ts'
import { objectHeaders } from '../http/object-headers.ts'
import { answeredTime } from '../http/time.ts'
import { uploadIdEnd } from '../http/parameters.ts'
import { fields, fromXml, textOf } from '../http/xml.ts'
import {
  askedChecksumHeaders,
  assertPartChecksum,
  checksumXml,
  initiatedChecksum,
  partChecksumHeaders,
  partChecksumXml,
  tellsChecksum,
  uploadChecksum,
  type UploadChecksum,
} from '../objects/checksums.ts'
import { assertObjectSize, assertSameChecksum, namedChecksum } from '../objects/completion-checks.ts'
import { type CheckedPart, planCompletion } from '../objects/complete.ts'
import { sourceBody } from '../objects/copy.ts'
import {
  answerOf,
  decideWrite,
  encryptionHeaders,
  noteEncryption,
  serviceKey,
  wipeKey,
  type WriteEncryption,
} from '../objects/encryption.ts'
import { partDigests, type ReceivedPart, receivePart, underUploadKey } from '../objects/part.ts'
import { commitBody } from '../objects/write.ts'
import { openSource, sourceRange } from '../plan/copy.ts'
import { findUpload, type FoundUpload, partNumberOf, planPart, unlockUpload } from '../plan/upload.ts'
import { requestedNotes } from '../plan/write.ts'
import { type GatewayRequest, keyOf, locationOf, openBucket } from '../request.ts'
import type { Services } from '../services.ts'

/** Session and id of an upload; a plain upload has only an id. The ids of a key end alike. */
const sessionOf = async (services: Services, encryption: WriteEncryption, key: string) => {
  const own = uploadIdEnd(key)
  if (encryption.kind === 'plain')
    return { uploadId: `${randomBytes(24).toString('base64url')}.${own}`, session: undefined }
  try {
    const service = encryption.kind === 'sse-c' ? await serviceKey(services) : undefined
    return await services.sse.createUpload({ ...encryption.options, own, service })
  } finally {
    wipeKey(encryption)
  }
}

/** Opens an upload. */
export const createMultipartUpload = async (request: GatewayRequest): Promise<void> => {
  const { services, header, headers, dialect } = request
  const key = keyOf(request)
  const bucket = await openBucket(request, 's3:PutObject')
  const asked = requestedNotes(header, bucket, key)
  const checksum = initiatedChecksum(header, services.profile.defaultChecksum)
  const encryption = await decideWrite(services, request, bucket, key)
  const initiator = initiatorOf(request.requester)
  if (initiator === undefined) {
    wipeKey(encryption)
    const message = 'Anonymous users cannot initiate multipart uploads. Please authenticate.'
    throw new SseError('AccessDenied', { message })
  }
  const kept = objectHeaders(headers)
  const { uploadId, session } = await sessionOf(services, encryption, key)
  const upload = {
    id: uploadId,
    session,
    kind: encryption.kind,
    headers: kept,
    notes: { ...asked, initiator, ...(checksum && { summedUp: checksum }), ...noteEncryption(encryption) },
    owner: bucket.owner.domainId,
    initiated: services.now(),
  }
  const most = services.limits.uploadsPerBucket
  await bucket.commit(judged => services.store.createUpload(judged, key, upload, { most }))
  answerXml(
    request.res,
    'InitiateMultipartUploadResult',
    { Bucket: bucket.bucket.name, Key: key, UploadId: uploadId },
    { ...askedChecksumHeaders(checksum), ...encryptionHeaders(dialect, 'initiate', answerOf(encryption)) },
  )
}

const commitPart = async (
  { store }: Services,
  { bucket, upload }: FoundUpload,
  { part, body }: ReceivedPart,
): Promise<void> => {
  const change = bucket.commit(judged => store.putPart(judged, upload.key, upload.id, part, body))
  await commitBody(body, change)
}

/** Stores a part. */
export const uploadPart = async (request: GatewayRequest): Promise<void> => {
  const { services, header, dialect, res } = request
  const number = partNumberOf(request)
  const found = await findUpload(request, 's3:PutObject')
  refuseOnOther('upload-part', header, services.profile)
  const { keys, answer, release } = await unlockUpload(request, found)
  try {
    const plan = planPart(found, number, keys)
    const incoming = incomingBody(request, services.profile.unknownLength, partDigests(plan))
    assertPartChecksum(plan.checksum, incoming.checksum)
    const received = await receivePart(services, plan, incoming)
    await commitPart(services, found, received)
    answerEmpty(res, 200, {
      etag: `"${received.part.etag}"`,
      ...partChecksumHeaders(received.checksums),
      ...encryptionHeaders(dialect, 'upload-part', answer),
    })
  } finally {
    release()
  }
}

/** Copies an object, or a range of it, into a part: decrypted and sealed under the upload's key. */
export const uploadPartCopy = async (request: GatewayRequest): Promise<void> => {
  const { services, header, dialect, res } = request
  const number = partNumberOf(request)
  const found = await findUpload(request, 's3:PutObject')
  refuseOnOther('upload-part-copy', header, services.profile)
  const { keys, answer, release } = await unlockUpload(request, found)
  try {
    const source = await openSource(request)
    try {
      const plan = planPart(found, number, keys)
      const range = sourceRange(request, source.record.size)
      const encrypted = encryptionHeaders(dialect, 'upload-part-copy', answer)
      const received = await withBlanks(res, encrypted, services.blankEvery, async () => {
        const incoming = await sourceBody(services, source, () => partDigests(plan), range)
        const part = await receivePart(services, plan, incoming)
        await commitPart(services, found, part)
        return part
      })
      const { etag, modified } = received.part
      answerXml(
        res,
        'CopyPartResult',
        {
          LastModified: answeredTime(modified),
          ETag: `"${etag}"`,
          ...(tellsChecksum(found.upload) ? partChecksumXml(received.checksums) : {}),
        },
        encrypted,
      )
    } finally {
      await source.close()
    }
  } finally {
    release()
  }
}

const maxBody = 4 * 1024 * 1024

/** The parts that the client names; `MalformedXML`, `InvalidRequest` for more than 10,000. */
const namedParts = (xml: string, agreed: UploadChecksum | undefined): readonly CheckedPart[] => {
  const named = fields(fromXml(xml, 'CompleteMultipartUpload'), 'Part').map(content => {
    const number = textOf(content, 'PartNumber') ?? ''
    const etag = textOf(content, 'ETag')
    if (!/^\d{1,9}$/.test(number) || etag === undefined) throw new SseError('MalformedXML')
    const checksum = namedChecksum(content, agreed, { PartNumber: number, ETag: etag })
    return { part: Number(number), etag: etag.replace(/^"(.*)"$/, '$1'), checksum }
  })
  if (named.length === 0) throw new SseError('MalformedXML', { message: 'Name at least one part.' })
  if (named.length > 10_000) throw new SseError('InvalidRequest', { message: 'Name at most 10,000 parts.' })
  return named
}

/** The headers but for the checksums: those of Complete are the object's, not its body's. */
const ofBody = (headers: RequestHeaders): RequestHeaders =>
  new Map([...headers].filter(([name]) => !/^x-amz-(?:sdk-)?checksum-/.test(name)))

/** Completes an upload: the parts that are named become the object, in one step. */
export const completeMultipartUpload = async (request: GatewayRequest): Promise<void> => {
  const { services, headers, header, dialect } = request
  const { upload, bucket } = await findUpload(request, 's3:PutObject', true)
  const { key } = upload
  refuseOnOther('complete', header, services.profile)
  const condition = writeCondition(header)
  if (upload.notes.acl !== undefined && upload.completed === undefined) bucket.bySettings(assertTakesOpenAcl)
  const agreed = uploadChecksum(upload.notes)
  assertSameChecksum(header, agreed)
  const { keys, answer, release } = await unlockUpload(request, { upload, bucket }, 'complete')
  try {
    const xml = await readBody({ ...request, headers: ofBody(headers) }, maxBody)
    const named = namedParts(xml, agreed)
    const plan = { bucketId: bucket.bucket.id, upload, keys, named, headers, owner: bucket.owner.domainId }
    const encrypted = encryptionHeaders(dialect, 'complete', answer)
    const { record, checksums } = await withBlanks(request.res, encrypted, services.blankEvery, async () => {
      const { completion, checksums } = await underUploadKey(planCompletion(services, plan)).catch((error: unknown) => {
        throw upload.completed === undefined ? error : new SseError('NoSuchUpload', { cause: error })
      })
      assertObjectSize(header, completion.record.size)
      const record = await bucket.commit(judged =>
        services.store.completeUpload(judged, key, upload.id, completion, { ...condition, ...closedToOthers(bucket) }),
      )
      return { record, checksums }
    })
    answerXml(
      request.res,
      'CompleteMultipartUploadResult',
      {
        Location: locationOf(request, key),
        Bucket: bucket.bucket.name,
        Key: key,
        ETag: `"${record.etag}"`,
        ...(tellsChecksum(upload) ? checksumXml(checksums, named.length) : {}),
      },
      encrypted,
    )
  } finally {
    release()
  }
}

/** Drops an upload and its parts. */
export const abortMultipartUpload = async (request: GatewayRequest): Promise<void> => {
  const { bucket, upload } = await findUpload(request, 's3:AbortMultipartUpload')
  if (upload.kind === 'sse-kms' && !bucket.isOwner) throw new SseError('AccessDenied')
  await bucket.commit(judged => request.services.store.abortUpload(judged, upload.key, upload.id))
  answerEmpty(request.res, 204)
}
