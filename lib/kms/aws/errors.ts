/** What AWS KMS rejects with, as the errors of a provider. No error of the SDK is passed on: it holds the request, and so keys. */
import { type ErrorCode, SseError } from '../../errors.ts'

interface Row {
  readonly code: ErrorCode
  /** What to do, where the table of errors does not say it. The name of the operation is put in place of `ACTION`. */
  readonly message?: string
}

const notAuthentic: Row = { code: 'NotAuthentic' }
const notFound: Row = { code: 'KeyNotFound' }
const throttled: Row = { code: 'KmsThrottled' }
const credentials: Row = {
  code: 'KmsUnavailable',
  message: 'AWS KMS does not take the credentials. Give it credentials that are valid, and look at the clock.',
}

const rows: ReadonlyMap<string, Row> = new Map<string, Row>([
  ['InvalidCiphertextException', notAuthentic],
  ['IncorrectKeyException', notAuthentic],
  ['NotFoundException', notFound],
  ['InvalidArnException', notFound],
  ['DisabledException', { code: 'KeyDisabled' }],
  [
    'InvalidKeyUsageException',
    { code: 'KeyNotFound', message: 'The key is not one that encrypts and decrypts. Name a symmetric key of AWS KMS.' },
  ],
  [
    'AccessDeniedException',
    {
      code: 'KeyAccessDenied',
      message: 'AWS KMS refuses kms:ACTION. Allow it to these credentials in the key policy or in an IAM policy.',
    },
  ],
  [
    'InvalidGrantTokenException',
    { code: 'KeyAccessDenied', message: 'AWS KMS does not take a grant token. Leave it out, or make the grant anew.' },
  ],
  [
    'LimitExceededException',
    { code: 'KmsUnavailable', message: 'A quota of AWS KMS is used up. Delete what is not needed, or have it raised.' },
  ],
  [
    'UnsupportedOperationException',
    { code: 'NotImplemented', message: 'AWS KMS does not do kms:ACTION for a key of this kind.' },
  ],
  ['ThrottlingException', throttled],
  ['Throttling', throttled],
  ['TooManyRequestsException', throttled],
  ['RequestLimitExceeded', throttled],
  ['CredentialsProviderError', credentials],
  ['ExpiredTokenException', credentials],
  ['IncompleteSignatureException', credentials],
  ['InvalidSignatureException', credentials],
  ['MissingAuthenticationTokenException', credentials],
  ['UnrecognizedClientException', credentials],
])

/** `KMSInvalidStateException` says the state in its message alone. */
const stateRow = (message: string): Row => {
  if (/pending\s*(replica\s*)?deletion/i.test(message)) return { code: 'KeyPendingDeletion' }
  if (/disabled/i.test(message)) return { code: 'KeyDisabled' }
  return {
    code: 'KmsUnavailable',
    message: 'The key is in a state in which AWS KMS does not use it. Look at it in the console of AWS KMS.',
  }
}

const field = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined

/**
 * What is kept of an error: its name, and its message where AWS or the system wrote it. The message of a parser may quote an answer that
 * holds a key.
 */
const causeOf = (error: Error): Error => {
  const requestId = field(field(error, '$metadata'), 'requestId')
  const isTheirs = field(error, '$fault') !== undefined || typeof field(error, 'syscall') === 'string'
  const isCredentials = error.name === 'CredentialsProviderError'
  const said = isTheirs || isCredentials ? `: ${error.message}` : ''
  return new Error(`${error.name}${said}${typeof requestId === 'string' ? ` (request ${requestId})` : ''}`)
}

const retryAfterOf = (error: Error): number | undefined => {
  const seconds = Number(field(field(field(error, '$response'), 'headers'), 'retry-after'))
  return Number.isInteger(seconds) && seconds > 0 ? seconds : undefined
}

const rowOf = ({ name, message }: Error): Row | undefined => {
  if (name === 'KMSInvalidStateException') return stateRow(message)
  // What AWS says where a blob names a key that is not there: it does not say so of a right that lacks.
  if (name === 'AccessDeniedException' && /^The ciphertext refers to/i.test(message)) return notAuthentic
  return rows.get(name)
}

/** The error of a provider for what the SDK rejected with. */
export const awsError = (error: unknown, action: string): SseError => {
  if (!(error instanceof Error)) return new SseError('KmsUnavailable')
  const { code, message }: Row = rowOf(error) ?? { code: 'KmsUnavailable' }
  return new SseError(code, {
    message: message?.replace('ACTION', action),
    cause: causeOf(error),
    retryAfter: retryAfterOf(error),
  })
}
