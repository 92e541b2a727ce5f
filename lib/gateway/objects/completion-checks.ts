/** What Complete says of its object beside the ETags of its parts, held against the upload. The words are S3's, with what to do about it. */
import { SseError } from '../../errors.ts'
import type { HeaderGetter } from '../../sse/names.ts'
import { type ChecksumAlgorithm, checksumAlgorithms, checksumHeader } from '../body/checksums.ts'
import { textOf } from '../http/xml.ts'
import type { UploadChecksum } from './checksums.ts'

const badDigest = (s3Message: string, advice: string): SseError =>
  new SseError('BadDigest', { message: `${s3Message} ${advice}`, s3Message })
const invalidRequest = (message: string): SseError => new SseError('InvalidRequest', { message })

/** The type and algorithm of the object's checksum are the upload's: `InvalidRequest`, `BadDigest`. */
export const assertSameChecksum = (header: HeaderGetter, agreed: UploadChecksum | undefined): void => {
  const type = header('x-amz-checksum-type')?.toUpperCase()
  if (type !== undefined && type !== 'FULL_OBJECT' && type !== 'COMPOSITE') {
    throw invalidRequest('Value for x-amz-checksum-type header is invalid. Use FULL_OBJECT or COMPOSITE.')
  }
  if (type !== undefined && type !== agreed?.type) {
    throw invalidRequest(
      `The upload was created using the ${agreed?.type ?? 'null'} checksum mode. The complete request must use the same checksum mode.`,
    )
  }
  const other = checksumAlgorithms.some(
    algorithm => algorithm !== agreed?.algorithm && header(checksumHeader(algorithm)) !== undefined,
  )
  if (!other) return
  const name = agreed?.algorithm ?? 'null'
  throw badDigest(
    `The ${name} you specified did not match the calculated checksum.`,
    "Send the upload's checksum, or none.",
  )
}

/**
 * The checksum that Complete names for a part, of the upload's algorithm. Another one is `BadDigest`, and `InvalidPart` where the upload was
 * created without.
 */
export const namedChecksum = (
  part: unknown,
  agreed: UploadChecksum | undefined,
  details: Readonly<Record<string, string>>,
): string | undefined => {
  const named = (algorithm: ChecksumAlgorithm) => textOf(part, `Checksum${algorithm.toUpperCase()}`)
  const other = checksumAlgorithms.find(each => each !== agreed?.algorithm && named(each) !== undefined)
  if (other === undefined) return agreed && named(agreed.algorithm)
  if (agreed?.asked !== true) throw new SseError('InvalidPart', { details })
  throw badDigest(
    `The ${other} you specified for part ${details['PartNumber']} did not match what we received.`,
    `Name its ${agreed.algorithm}.`,
  )
}

/** `x-amz-mp-object-size` is the size of the object: `InvalidRequest`. */
export const assertObjectSize = (header: HeaderGetter, size: number): void => {
  const text = header('x-amz-mp-object-size')
  if (text === undefined) return
  if (!/^-?\d{1,15}$/.test(text)) {
    throw invalidRequest(`Value for x-amz-mp-object-size header is invalid: '${text}'. Send the bytes of all parts.`)
  }
  const sent = Number(text)
  if (sent < 0) {
    throw invalidRequest(
      `Value for x-amz-mp-object-size header is less than zero: '${text}'. Send the bytes of all parts.`,
    )
  }
  if (sent === size) return
  throw invalidRequest(
    `The provided 'x-amz-mp-object-size' header value ${sent} does not match what was computed: ${size}. Name all parts.`,
  )
}
