/**
 * Conditions of a change, held against the object that lies there: the one meaning that every store gives them, and a gateway that looks
 * before it asks for a body. Pure.
 */
import { SseError } from '../errors.ts'
import type { ObjectCondition, ObjectSummary } from './records.ts'

const failed = (condition: string): SseError =>
  new SseError('PreconditionFailed', { details: { Condition: condition } })

/**
 * Throws unless a condition holds of the object that lies there; `undefined` for none. `AccessDenied` for a kind that is refused;
 * `NoSuchKey` where an object is asked for and there is none, as S3 answers it; `PreconditionFailed` for everything else. Of no object a time and
 * a size hold, as in S3: there is nothing that must not be deleted.
 *
 * {@includeCode ../../test/examples/reference.test.ts#condition}
 */
export const assertCondition = (current: ObjectSummary | undefined, condition: ObjectCondition = {}): void => {
  const { revision, ifMatch, ifNoneMatch, modified, size, refuseKinds = [] } = condition
  if (current !== undefined && refuseKinds.includes(current.kind)) {
    const message =
      'Objects encrypted with SSE-KMS are for the tenant that owns the bucket, whatever its ACL or policy says.'
    throw new SseError('AccessDenied', { message })
  }
  if (ifMatch !== undefined) {
    if (current === undefined) throw new SseError('NoSuchKey')
    if (ifMatch !== '*' && !ifMatch.includes(current.etag)) throw failed('If-Match')
  }
  if (ifNoneMatch !== undefined && current !== undefined) {
    if (ifNoneMatch === '*' || ifNoneMatch.includes(current.etag)) throw failed('If-None-Match')
  }
  if (revision !== undefined && current?.revision !== revision) throw failed('revision')
  if (current === undefined) return
  if (modified !== undefined && Math.floor(current.modified / 1000) !== modified) {
    throw failed('x-amz-if-match-last-modified-time')
  }
  if (size !== undefined && current.size !== size) throw failed('x-amz-if-match-size')
}
