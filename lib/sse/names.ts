/**
 * The names of server-side encryption on the wire: every header once, in both spellings, and the value that asks for SSE-KMS. The form fields
 * of a POST have the same names. `request.ts` decides what the values mean.
 */
import { type ErrorCode, SseError } from '../errors.ts'

/** The family of a client: Amazon's `x-amz-…` headers, or OBS's own `x-obs-…`. */
export type Dialect = 's3' | 'obs'

/** How a body is encrypted; `plain` is not at all. */
export type EncryptionKind = 'plain' | 'sse-s3' | 'sse-kms' | 'sse-c'

/** Not encrypted. */
export interface Plain {
  /** Says which member of a union this is. */
  readonly kind: 'plain'
}

/** Encrypted under a key of the service itself. */
export interface SseS3 {
  /** Says which member of a union this is. */
  readonly kind: 'sse-s3'
}

/** A case-insensitive look at headers or form fields: takes a name in lower case; an empty value is present. */
export type HeaderGetter = (name: string) => string | undefined

/** The three headers of a key that the customer holds (SSE-C). */
export interface CustomerKeyNames {
  /** Names the algorithm, always AES256. */
  readonly algorithm: string
  /** 32 bytes in base64. */
  readonly key: string
  /** MD5 of those 32 bytes in base64. */
  readonly keyMd5: string
}

/** One spelling of every header; `undefined` where a dialect has none. Semantics, section 1. */
export interface SseNames {
  /** Whose spelling it is. */
  readonly dialect: Dialect
  /** Names the kind of encryption. */
  readonly algorithm: string
  /** The value of `algorithm` that asks for SSE-KMS. */
  readonly kms: string
  /** The master key; left out, the default one is used. */
  readonly keyId: string
  /** Encryption context: base64 of a JSON object, string to string. */
  readonly context: string | undefined
  /** `true` or `false`. */
  readonly bucketKey: string | undefined
  /** Project of the master key. */
  readonly projectId: string
  /** Cipher of the body. */
  readonly dataEncryption: string | undefined
  /** The customer's key of the object itself. */
  readonly customer: CustomerKeyNames
  /** The customer's key of the source of a copy. */
  readonly copySource: CustomerKeyNames
}

const customerKeyNames = (prefix: string): CustomerKeyNames => ({
  algorithm: `${prefix}server-side-encryption-customer-algorithm`,
  key: `${prefix}server-side-encryption-customer-key`,
  keyMd5: `${prefix}server-side-encryption-customer-key-md5`,
})

/** The encryption context; OBS has no header for it. */
export const contextHeader = 'x-amz-server-side-encryption-context'

/** Amazon's spelling, which the OBS page for the S3 interface uses too. */
export const s3Names: SseNames = {
  dialect: 's3',
  algorithm: 'x-amz-server-side-encryption',
  kms: 'aws:kms',
  keyId: 'x-amz-server-side-encryption-aws-kms-key-id',
  context: contextHeader,
  bucketKey: 'x-amz-server-side-encryption-bucket-key-enabled',
  projectId: 'x-amz-sse-kms-key-project-id',
  dataEncryption: undefined,
  customer: customerKeyNames('x-amz-'),
  copySource: customerKeyNames('x-amz-copy-source-'),
}

/** The spelling of OBS's native interface. */
export const obsNames: SseNames = {
  dialect: 'obs',
  algorithm: 'x-obs-server-side-encryption',
  kms: 'kms',
  keyId: 'x-obs-server-side-encryption-kms-key-id',
  context: undefined,
  bucketKey: undefined,
  projectId: 'x-obs-sse-kms-key-project-id',
  dataEncryption: 'x-obs-server-side-data-encryption',
  customer: customerKeyNames('x-obs-'),
  copySource: customerKeyNames('x-obs-copy-source-'),
}

/** The names of a dialect. */
export const namesOf: Readonly<Record<Dialect, SseNames>> = { s3: s3Names, obs: obsNames }

/** The algorithm's name for a key of the service itself (SSE-S3), and the only cipher that SSE-C names. */
export const aes256 = 'AES256'

/** The names of one dialect that ask for SSE-KMS or SSE-S3, the algorithm first; SSE-C's are not among them. */
export const managedNames = (names: SseNames): readonly string[] =>
  [names.algorithm, names.keyId, names.context, names.bucketKey, names.projectId, names.dataEncryption].filter(
    name => name !== undefined,
  )

/** The three names of a customer's key as a list. */
export const customerNames = ({ algorithm, key, keyMd5 }: CustomerKeyNames): readonly string[] => [
  algorithm,
  key,
  keyMd5,
]

/**
 * An error about one header or element, with `ArgumentName` and `ArgumentValue` as S3 gives them: `null` stands for a header that was not
 * sent. Never pass key material as the value.
 */
export const badArgument = (
  message: string,
  name: string,
  value: string | undefined,
  code: ErrorCode = 'InvalidArgument',
): SseError => new SseError(code, { message, details: { ArgumentName: name, ArgumentValue: value ?? 'null' } })

/** 403 AccessDenied with a message of its own. */
export const denied = (message: string): SseError => new SseError('AccessDenied', { message, s3Message: message })
