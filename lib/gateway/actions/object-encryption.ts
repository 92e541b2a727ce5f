/** UpdateObjectEncryption: another KMS key, or a bucket key or none, for an object that lies there. Its data key is wrapped anew, and nothing else changes. */
import { claimedKeyId } from '../../envelope/envelope.ts'
import { SseError } from '../../errors.ts'
import { type KeyIdReference, parseKeyReference } from '../../sse/key-id.ts'
import type { EncryptionKind } from '../../sse/names.ts'
import type { KmsRequest } from '../../sse/request.ts'
import { readBody } from '../body/body.ts'
import { answerEmpty } from '../http/answer.ts'
import { field, fromXml, textOf } from '../http/xml.ts'
import { closedToOthers } from '../access/access.ts'
import { decideEncryption, storedKeys } from '../objects/encryption.ts'
import { rewrapObject, swapRecord } from '../objects/rewrap.ts'
import { type GatewayRequest, keyOf, openBucket } from '../request.ts'
import { readRecord, smallBody, untilUndisturbed } from './settings.ts'

const permission = 's3:UpdateObjectEncryption'

/** `InvalidRequest` in the words of S3. */
const invalid = (message: string, cause?: unknown): SseError =>
  new SseError('InvalidRequest', { message, s3Message: message, cause })

const keyOfArn = (arn: string): KeyIdReference => {
  const message =
    "Requests that modify an object's encryption type to SSE-KMS require a valid AWS KMS key Amazon Resource Name (ARN). " +
    'Confirm that you have a correctly formatted KMS key ARN in your request, and then try again.'
  try {
    const key = parseKeyReference(arn)
    if (arn.startsWith('arn:') && key.kind === 'key') return key
  } catch (cause) {
    throw invalid(message, cause)
  }
  throw invalid(message)
}

/** What the document asks for: `<ObjectEncryption><SSE-KMS>` with `KMSKeyArn` and `BucketKeyEnabled`. `MalformedXML`, `InvalidRequest`. */
const wantedEncryption = (document: string): KmsRequest => {
  const content = fromXml(document, 'ObjectEncryption')
  const kms = field(content, 'SSE-KMS')
  if (kms === undefined) {
    if (['DSSE-KMS', 'SSE-C'].some(name => field(content, name) !== undefined)) {
      throw invalid(
        "The UpdateObjectEncryption operation doesn't support updating the encryption type to DSSE-KMS or SSE-C. " +
          'Modify the request to specify SSE-KMS for the updated encryption type, and then try again.',
      )
    }
    throw invalid(
      'Requests that modify an object encryption configuration require a valid new encryption type. Valid values are SSEKMS. ' +
        'Modify the request to specify SSE-KMS for the updated encryption type, and then try again.',
    )
  }
  const arn = textOf(kms, 'KMSKeyArn') ?? ''
  if (arn === '') {
    throw invalid(
      "Requests that modify an object's encryption type to SSE-KMS require an AWS KMS key Amazon Resource Name (ARN). " +
        'Modify the request to specify a KMS key ARN, and then try again.',
    )
  }
  const flag = field(kms, 'BucketKeyEnabled') ?? 'false'
  if (flag !== 'true' && flag !== 'false') {
    throw invalid(
      "The BucketKeyEnabled value isn't valid. Valid values are true or false. " +
        'Modify the request to specify a valid value, and then try again.',
    )
  }
  return { kind: 'sse-kms', dialect: 's3', keyId: keyOfArn(arn), bucketKey: flag === 'true' }
}

const refusals: Readonly<Record<Exclude<EncryptionKind, 'sse-kms'>, string>> = {
  plain:
    "The UpdateObjectEncryption operation doesn't support unencrypted source objects. " +
    'Only source objects encrypted with SSE-S3 or SSE-KMS are supported.',
  'sse-c':
    "The UpdateObjectEncryption operation doesn't support source objects with the encryption type DSSE-KMS or SSE-C. " +
    'Only source objects encrypted with SSE-S3 or SSE-KMS are supported.',
  // S3 does this. Here such an object has the MD5 of its bytes for an ETag, which one under SSE-KMS has not.
  'sse-s3':
    'UpdateObjectEncryption is implemented here for objects under SSE-KMS: one under SSE-S3 could not keep its ETag. ' +
    'Copy the object onto itself under SSE-KMS.',
}

/**
 * Moves an object to a key of the tenant that owns its bucket; ETag and Last-Modified stay. Takes what a copy takes: the object's key to decrypt, the other one to
 * encrypt.
 */
export const updateObjectEncryption = async (request: GatewayRequest): Promise<void> => {
  const { services, requester } = request
  const key = keyOf(request)
  const bucket = await openBucket(request, permission)
  const wanted = wantedEncryption(await readBody(request, smallBody))
  const read = () => readRecord(request, { bucket, permission })
  await untilUndisturbed(read, async record => {
    if (record.kind !== 'sse-kms') throw invalid(refusals[record.kind])
    if (record.envelope === undefined) throw new SseError('NotAuthentic')
    const to = await decideEncryption(services, requester, bucket, key, wanted)
    if (to.kind !== 'sse-kms') throw new TypeError('it was decided for SSE-KMS')
    // The new record outlives the old key, so the key manager says whether that is still enabled; it was just asked about the other one.
    const fresh = claimedKeyId(record.envelope) !== to.options.keyId
    const from = { ...(await storedKeys(services, requester, record, bucket, key)), fresh }
    const next = await rewrapObject(services, record, from, to)
    await bucket.commit(judged => swapRecord(services.store, judged, key, record, next, closedToOthers(bucket)))
  })
  answerEmpty(request.res, 200)
}
