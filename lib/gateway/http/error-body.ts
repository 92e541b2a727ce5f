/** What a client is told of an error: a sentence and the elements of the `Error` document. Nothing of the server is in it. */
import { type ErrorCode, errorTable, type SseError } from '../../errors.ts'
import type { Query } from './route.ts'
import { s3Words } from './s3-words.ts'

/** Facts of the request that an error's answer repeats. */
export interface ErrorFacts {
  readonly requestId: string
  readonly hostId: string
  /** The path as it was sent; `undefined` where no request was understood. */
  readonly resource?: string | undefined
  /** In whose words. */
  readonly profile: 's3' | 'obs'
  readonly method?: string | undefined
  /** As far as the request was understood. */
  readonly bucket?: string | undefined
  readonly key?: string | undefined
  readonly query?: Query | undefined
}

/**
 * The sentence that a client is told. What goes wrong in the server (5xx but for 501) has the sentence of its code alone: its own message, which
 * may name a folder or a key manager, is for the log.
 */
export const clientMessage = (error: SseError, profile: 's3' | 'obs'): string => {
  const { status, code, s3Code, message } = error
  const words = profile === 's3' ? s3Words.get(s3Code) : undefined
  if (status >= 500 && status !== 501) return words ?? errorTable[status === 500 ? 'InternalError' : code].message
  if (profile === 'obs') return message
  return error.s3Message ?? words ?? message
}

type Elements = Readonly<Record<string, string | undefined>>

const bytesOf = (text: string | undefined): string | undefined =>
  text === undefined ? undefined : (Buffer.from(text).toString('hex').match(/../g) ?? []).join(' ')

/** The elements that S3 has beside a code, of what is known of the request, where the error itself does not say. */
const known: Partial<Readonly<Record<ErrorCode, (facts: ErrorFacts, details: SseError['details']) => Elements>>> = {
  NoSuchBucket: ({ bucket }) => ({ BucketName: bucket }),
  NoSuchBucketPolicy: ({ bucket }) => ({ BucketName: bucket }),
  BucketAlreadyExists: ({ bucket }) => ({ BucketName: bucket }),
  BucketAlreadyOwnedByYou: ({ bucket }) => ({ BucketName: bucket }),
  BucketNotEmpty: ({ bucket }) => ({ BucketName: bucket }),
  ServerSideEncryptionConfigurationNotFoundError: ({ bucket }) => ({ BucketName: bucket }),
  NoSuchKey: ({ key }) => ({ Key: key }),
  NoSuchUpload: ({ query }) => ({ UploadId: query?.get('uploadId') }),
  InvalidPart: ({ query }) => ({ UploadId: query?.get('uploadId') }),
  InvalidPartOrder: ({ query }) => ({ UploadId: query?.get('uploadId') }),
  InvalidURI: ({ resource }) => ({ URI: resource }),
  MethodNotAllowed: ({ method, bucket, key }) => ({
    Method: method,
    ResourceType: key !== undefined ? 'OBJECT' : bucket !== undefined ? 'BUCKET' : 'SERVICE',
  }),
  SignatureDoesNotMatch: (_facts, { StringToSign, CanonicalRequest }) => ({
    StringToSignBytes: bytesOf(StringToSign),
    CanonicalRequestBytes: bytesOf(CanonicalRequest),
  }),
}

/** The elements of an error's document, in their order. */
export const errorElements = (error: SseError, facts: ErrorFacts): Elements => ({
  Code: error.s3Code,
  Message: clientMessage(error, facts.profile),
  ...(facts.profile === 's3' ? known[error.code]?.(facts, error.details) : undefined),
  ...error.details,
  // S3 repeats the path in none of its answers, OBS in all.
  ...(facts.profile === 'obs' && { Resource: facts.resource }),
  RequestId: facts.requestId,
  HostId: facts.hostId,
})
