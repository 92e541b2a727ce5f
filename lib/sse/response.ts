/**
 * Which headers of encryption an answer carries: by operation, by how the object is encrypted, in the client's spelling. Semantics, sections
 * 1, 4 and 5.
 */
import { formatContextHeader } from './context-header.ts'
import { aes256, namesOf, type Dialect, type Plain, type SseS3 } from './names.ts'

/** Operations whose answers name the encryption. */
export type AnsweredOperation =
  'put' | 'post' | 'copy' | 'initiate' | 'upload-part' | 'upload-part-copy' | 'complete' | 'get' | 'head'

/** How the object (or upload) of an answer is encrypted. */
export type ObjectEncryption =
  | Plain
  | SseS3
  | {
      /** Says which member of a union this is. */
      readonly kind: 'sse-kms'
      /** Full ARN of the master key that was used. */
      readonly keyId: string
      /** Whether a bucket key wraps the data key. */
      readonly bucketKey?: boolean
      /** The client's entries of the encryption context. */
      readonly context?: ReadonlyMap<string, string>
    }
  | {
      /** Says which member of a union this is. */
      readonly kind: 'sse-c'
      /** base64 of the MD5 of the customer's key, from this request. */
      readonly keyMd5: string
    }

/** The operations whose answers repeat the client's encryption context. */
const answersContext: readonly AnsweredOperation[] = ['put', 'copy', 'initiate']

/**
 * Names (in lower case) and values of an answer's headers of encryption, in the order to send them; none for a plain object.
 *
 * A bucket key is answered as `true` or not at all. Complete does not repeat SSE-C. OBS has no header for bucket keys and contexts.
 *
 * {@includeCode ../../test/examples/rules.test.ts#sse,who,write}
 */
export const sseResponseHeaders = (
  operation: AnsweredOperation,
  encryption: ObjectEncryption,
  dialect: Dialect,
): readonly (readonly [name: string, value: string])[] => {
  const names = namesOf[dialect]
  switch (encryption.kind) {
    case 'plain':
      return []
    case 'sse-s3':
      return [[names.algorithm, aes256]]
    case 'sse-c':
      if (operation === 'complete') return []
      return [
        [names.customer.algorithm, aes256],
        [names.customer.keyMd5, encryption.keyMd5],
      ]
    case 'sse-kms': {
      const { keyId, bucketKey, context } = encryption
      const headers: [string, string][] = [
        [names.algorithm, names.kms],
        [names.keyId, keyId],
      ]
      if (bucketKey && names.bucketKey) headers.push([names.bucketKey, 'true'])
      if (context?.size && names.context && answersContext.includes(operation))
        headers.push([names.context, formatContextHeader(context)])
      return headers
    }
  }
}
