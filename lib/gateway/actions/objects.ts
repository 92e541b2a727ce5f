/** PutObject, CopyObject, DeleteObject and DeleteObjects. */
import { setImmediate } from 'node:timers/promises'
import { utf8 } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { closedToOthers, type JudgedBucket } from '../access/access.ts'
import { incomingBody, readBody } from '../body/body.ts'
import { declaredChecksums } from '../body/checksums.ts'
import { clientMessage } from '../http/error-body.ts'
import { answerEmpty, answerXml, asSseError, withBlanks } from '../http/answer.ts'
import { deleteCondition, type DeletedIf, deletedIf, writeCondition } from '../http/conditions.ts'
import { maxKeyLength } from '../http/target.ts'
import { answeredTime } from '../http/time.ts'
import { fields, fromXml, textOf } from '../http/xml.ts'
import { checksumHeaders, checksumXml } from '../objects/checksums.ts'
import { copyStored } from '../objects/copy.ts'
import { answerOf, decideWrite, encryptionHeaders, wipeKey } from '../objects/encryption.ts'
import { writeObject } from '../objects/write.ts'
import { openSource, planObjectCopy } from '../plan/copy.ts'
import { planWrite } from '../plan/write.ts'
import { findBucket, type GatewayRequest, keyOf, openBucket } from '../request.ts'
import type { Services } from '../services.ts'

/** Stores an object: decides, then receives the body into the store, sealed while it flows. */
export const putObject = async (request: GatewayRequest): Promise<void> => {
  const { services, dialect, res } = request
  const key = keyOf(request)
  const bucket = await openBucket(request, 's3:PutObject')
  const plan = await planWrite(request, bucket, key, writeCondition(request.header))
  const body = incomingBody(request, services.profile.unknownLength, plan.digests)
  const { record, checksums } = await writeObject(services, plan, body)
  answerEmpty(res, 200, {
    etag: `"${record.etag}"`,
    ...checksumHeaders(checksums),
    ...encryptionHeaders(dialect, 'put', answerOf(plan.encryption)),
  })
}

/** Deletes an object: 204, whether there was one or not. */
export const deleteObject = async (request: GatewayRequest): Promise<void> => {
  const key = keyOf(request)
  const bucket = await openBucket(request, 's3:DeleteObject')
  const condition = { ...deleteCondition(deletedIf(request.header)), ...closedToOthers(bucket) }
  await bucket.commit(judged => request.services.store.deleteObject(judged, key, condition))
  answerEmpty(request.res, 204)
}

const maxBody = 2 * 1024 * 1024
const maxObjects = 1000

/** An object that is to be deleted. */
interface ObjectToDelete {
  readonly key: string
  readonly versionId: string | undefined
  readonly onlyIf: DeletedIf
}

/** OBS clients may percent-encode keys, and want them so in the answer. */
const codecOf = (type: string | undefined): { decode(text: string): string; encode(text: string): string } => {
  if (type === undefined) return { decode: text => text, encode: text => text }
  if (type !== 'url') throw new SseError('MalformedXML')
  return { decode: text => decodeURIComponent(text.replaceAll('+', ' ')), encode: encodeURIComponent }
}

const parse = (xml: string) => {
  const content = fromXml(xml, 'Delete')
  const { decode, encode } = codecOf(textOf(content, 'EncodingType'))
  const objects = fields(content, 'Object').map((object): ObjectToDelete => {
    const sent = textOf(object, 'Key')
    if (sent === undefined || sent === '') throw new SseError('MalformedXML')
    try {
      const [etag, modified, size] = ['ETag', 'LastModifiedTime', 'Size'].map(name => textOf(object, name))
      return { key: decode(sent), versionId: textOf(object, 'VersionId'), onlyIf: { etag, modified, size } }
    } catch (cause) {
      throw new SseError('MalformedXML', { cause })
    }
  })
  if (objects.length < 1 || objects.length > maxObjects) throw new SseError('MalformedXML')
  return { objects, encode, quiet: textOf(content, 'Quiet') === 'true' }
}

/** An object of the list as it was decided: what deletes it, or why it is not deleted. */
type Decided = readonly [object: ObjectToDelete, outcome: (() => Promise<unknown>) | SseError]

const decideOne = ({ store }: Services, bucket: JudgedBucket, object: ObjectToDelete): Decided => {
  const { key, versionId, onlyIf } = object
  try {
    const condition = { ...deleteCondition(onlyIf), ...closedToOthers(bucket) }
    bucket.assertMay('s3:DeleteObject', key)
    if (utf8(key).length > maxKeyLength) throw new SseError('KeyTooLongError')
    if (versionId !== undefined && versionId !== '' && versionId !== 'null') {
      throw new SseError('InvalidArgument', {
        message: 'Invalid version id specified. Objects have one version here, null.',
      })
    }
    return [object, () => bucket.commit(judged => store.deleteObject(judged, key, condition))]
  } catch (error) {
    return [object, asSseError(error)]
  }
}

/** Deletes one object; returns the error, if any. `NoSuchBucket` where the bucket was deleted meanwhile: that is an answer to all of them. */
const deleteOne = async ([, outcome]: Decided): Promise<SseError | undefined> => {
  if (outcome instanceof SseError) return outcome
  try {
    await outcome()
    return undefined
  } catch (thrown) {
    const error = asSseError(thrown)
    if (error.code === 'NoSuchBucket') throw error
    return error
  }
}

/** Milliseconds of decisions after which other requests have their turn. */
const turn = 10

/** How many objects are deleted at once; if the bucket's settings change meanwhile, so many are judged again in one turn. */
const atOnce = 100

/** Deletes up to 1,000 objects, each decided and answered by itself; those that are not there count as deleted. */
export const deleteObjects = async (request: GatewayRequest): Promise<void> => {
  const bucket = await findBucket(request)
  // If nothing could let the requester in, the list of keys is not even read.
  bucket.assertMayToSome('s3:DeleteObject')
  const { checksum, contentMd5 } = declaredChecksums(request.headers)
  if (checksum === undefined && contentMd5 === undefined) {
    throw new SseError('InvalidRequest', {
      message: 'Missing required header for this request: Content-MD5 OR x-amz-checksum-*. Send one of them.',
    })
  }
  const { objects, encode, quiet } = parse(await readBody(request, maxBody))
  const decided: Decided[] = []
  let since = performance.now()
  for (const object of objects) {
    decided.push(decideOne(request.services, bucket.apart(), object))
    if (performance.now() - since < turn) continue
    await setImmediate()
    since = performance.now()
  }
  const answers: { Key: string; VersionId: string | undefined; error: SseError | undefined }[] = []
  for (let i = 0; i < decided.length; i += atOnce) {
    const done = decided.slice(i, i + atOnce).map(async one => {
      const [{ key, versionId }] = one
      return { Key: encode(key), VersionId: versionId, error: await deleteOne(one) }
    })
    answers.push(...(await Promise.all(done)))
  }
  answerXml(request.res, 'DeleteResult', {
    Deleted: quiet ? [] : answers.flatMap(({ error, ...object }) => (error === undefined ? [object] : [])),
    Error: answers.flatMap(({ error, ...object }) =>
      error === undefined
        ? []
        : [{ ...object, Code: error.s3Code, Message: clientMessage(error, request.services.profile.name) }],
    ),
  })
}

/** Copies an object. */
export const copyObject = async (request: GatewayRequest): Promise<void> => {
  const { services, dialect, res } = request
  const key = keyOf(request)
  const bucket = await openBucket(request, 's3:PutObject')
  const encryption = await decideWrite(services, request, bucket, key)
  try {
    const source = await openSource(request, encryption.kind === 'sse-kms' ? encryption.options.keyId : undefined)
    try {
      const plan = planObjectCopy(request, { bucket, key, encryption }, source)
      const encrypted = encryptionHeaders(dialect, 'copy', answerOf(encryption))
      const { record, checksums } = await withBlanks(res, encrypted, services.blankEvery, () =>
        copyStored(services, plan, source),
      )
      answerXml(
        res,
        'CopyObjectResult',
        {
          LastModified: answeredTime(record.modified),
          ETag: `"${record.etag}"`,
          ...checksumXml(checksums, record.notes.parts ?? 0),
        },
        encrypted,
      )
    } finally {
      await source.close()
    }
  } finally {
    wipeKey(encryption)
  }
}
