/**
 * Headers, or form fields, become one discriminated union here, and no other code reads the strings. Only the headers themselves are judged.
 * `authorize.ts` judges roles, tenants, regions and defaults.
 */
import { SseError } from '../errors.ts'
import { parseContextHeader } from './context-header.ts'
import { parseCustomerKey, type CustomerKeyRequest, type TransportOptions } from './customer-key.ts'
import { parseKeyReference, type KeyReference } from './key-id.ts'
import {
  aes256,
  badArgument,
  customerNames,
  managedNames,
  obsNames,
  s3Names,
  type Dialect,
  type HeaderGetter,
  type SseNames,
  type SseS3,
} from './names.ts'

/** A request for SSE-KMS; what is not sent is absent. */
export interface KmsRequest {
  /** Says which member of a union this is. */
  readonly kind: 'sse-kms'
  /** Spelling of the headers. */
  readonly dialect: Dialect
  /** The master key; the default one without it. */
  readonly keyId?: KeyReference
  /** The client's entries of the encryption context. */
  readonly context?: ReadonlyMap<string, string>
  /** Whether a bucket key shall wrap the data key; the bucket's setting without it. */
  readonly bucketKey?: boolean
  /** Project that the master key is said to be of. */
  readonly projectId?: string
}

/** A request that says nothing: the bucket's default or the profile's base decides. */
export interface NoRequest {
  /** Says which member of a union this is. */
  readonly kind: 'none'
}

/** A request for encryption under a key of the service. */
export interface SseS3Request extends SseS3 {
  /** Spelling of the headers. */
  readonly dialect: Dialect
}

/** What the headers of a write ask for. */
export type SseRequest = NoRequest | SseS3Request | KmsRequest | CustomerKeyRequest

/** What a write is parsed with. */
export interface WriteOptions extends TransportOptions {
  /** `arn:aws:s3:::bucket/key`, the one value that a client's context may have for `aws:s3:arn`. */
  readonly objectArn?: string
}

/** Operations that headers of SSE-KMS and SSE-S3 do not belong to. */
export type OtherOperation = 'get' | 'head' | 'list' | 'upload-part' | 'upload-part-copy' | 'complete'

/** How strict an operation is that the headers do not belong to. */
export interface OtherOptions {
  /** Ignores them on parts and Complete, where some clients repeat them; the upload's own encryption holds. Default false. */
  readonly lenientParts?: boolean
}

const unsupported = 'The encryption method specified is not supported'

const firstSent = (headers: HeaderGetter, names: readonly string[]): string | undefined =>
  names.find(name => headers(name) !== undefined)

const notImplemented = (name: string, value: string): SseError =>
  badArgument(`The value '${value}' of ${name} is not implemented here. Use AES-256.`, name, value, 'NotImplemented')

const requiresKms = (headers: HeaderGetter, { dialect, algorithm, kms }: SseNames): SseError => {
  const brand = dialect === 's3' ? 'AWS KMS' : 'KMS'
  const message = `Server Side Encryption with ${brand} managed key requires HTTP header ${algorithm} : ${kms}`
  return badArgument(message, algorithm, headers(algorithm))
}

/** A header's value that may not be empty where it is sent. */
const nonEmpty = (headers: HeaderGetter, name: string): string | undefined => {
  const value = headers(name)
  if (value === '') throw badArgument(`${name} is empty. Give it a value or leave it out.`, name, value)
  return value
}

const parseBucketKey = (name: string, value: string): boolean => {
  if (value !== 'true' && value !== 'false') throw badArgument(`${name} must be true or false.`, name, value)
  return value === 'true'
}

const parseProjectId = (name: string, value: string): string => {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(value))
    throw badArgument(`${name} must be one project id; several projects are not supported.`, name, value)
  return value
}

/** The cipher of the body is AES-256 or nothing. */
const checkDataEncryption = (headers: HeaderGetter, { dataEncryption }: SseNames): void => {
  const value = dataEncryption && headers(dataEncryption)
  if (dataEncryption === undefined || value === undefined || value === aes256) return
  throw value === 'SM4' ? notImplemented(dataEncryption, value) : badArgument(unsupported, dataEncryption, value)
}

const parseKms = (headers: HeaderGetter, names: SseNames, objectArn: string | undefined): KmsRequest => {
  const keyId = nonEmpty(headers, names.keyId)
  const context = names.context && headers(names.context)
  const bucketKey = names.bucketKey && headers(names.bucketKey)
  const projectId = nonEmpty(headers, names.projectId)
  return {
    kind: 'sse-kms',
    dialect: names.dialect,
    ...(names.bucketKey && bucketKey !== undefined && { bucketKey: parseBucketKey(names.bucketKey, bucketKey) }),
    ...(projectId !== undefined && { projectId: parseProjectId(names.projectId, projectId) }),
    ...(context !== undefined && { context: parseContextHeader(context, objectArn) }),
    ...(keyId !== undefined && { keyId: parseKeyReference(keyId) }),
  }
}

const parseManaged = (headers: HeaderGetter, names: SseNames, objectArn: string | undefined): SseRequest => {
  const { algorithm, dataEncryption, dialect, kms } = names
  const value = headers(algorithm)
  if (value === 'aws:kms:dsse') throw notImplemented(algorithm, value)
  if (value !== undefined && value !== kms && value !== aes256) throw badArgument(unsupported, algorithm, value)
  checkDataEncryption(headers, names)
  if (value === kms) return parseKms(headers, names, objectArn)
  const belongs = value === aes256 ? [algorithm, dataEncryption] : [algorithm]
  if (
    firstSent(
      headers,
      managedNames(names).filter(name => !belongs.includes(name)),
    )
  )
    throw requiresKms(headers, names)
  return { kind: 'sse-s3', dialect }
}

/** The one dialect whose SSE-KMS or SSE-S3 headers are sent; both at once would be two requests in one. */
const managedDialect = (headers: HeaderGetter): SseNames | undefined => {
  const [names, other] = [s3Names, obsNames].filter(names => firstSent(headers, managedNames(names)))
  const name = other && firstSent(headers, managedNames(other))
  if (name) throw badArgument('Send x-amz or x-obs headers of encryption, not both.', name, headers(name))
  return names
}

/**
 * What the headers of PUT, POST (its form fields), Copy (its target) or Initiate ask for. Semantics, sections 1 and 2.
 *
 * {@includeCode ../../test/examples/rules.test.ts#sse,who,write}
 *
 * @param options Whether the connection is encrypted, and the ARN of the object.
 * @throws {SseError} `InvalidArgument` for an unknown algorithm, key id, context, bucket key or project without SSE-KMS, a malformed one of
 * those, SSE-C beside SSE-KMS or SSE-S3, two dialects at once; `InvalidKeyId`; `InvalidContext`; `NotImplemented` for `aws:kms:dsse` and `SM4`;
 * and what {@link parseCustomerKey} throws. The receiver wipes the key of SSE-C.
 */
export const parseWriteHeaders = (headers: HeaderGetter, { secure, objectArn }: WriteOptions): SseRequest => {
  const clash = firstSent(headers, [...managedNames(s3Names), ...managedNames(obsNames)])
  if (clash !== undefined && [s3Names, obsNames].some(({ customer }) => firstSent(headers, customerNames(customer)))) {
    const message =
      'Server Side Encryption with Customer provided key is incompatible with the encryption method specified'
    throw badArgument(message, clash, headers(clash))
  }
  const names = managedDialect(headers)
  if (names) return parseManaged(headers, names, objectArn)
  return parseCustomerKey(headers, { secure }) ?? { kind: 'none' }
}

/**
 * Refuses headers of SSE-KMS and SSE-S3 on an operation that they do not belong to. A customer's key is not looked at.
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,read}
 *
 * @param options What is allowed all the same.
 * @throws {SseError} `InvalidArgument`, "x-amz-server-side-encryption header is not supported for this operation.".
 */
export const refuseOnOther = (
  operation: OtherOperation,
  headers: HeaderGetter,
  { lenientParts = false }: OtherOptions = {},
): void => {
  const part = operation === 'upload-part' || operation === 'upload-part-copy' || operation === 'complete'
  if (part && lenientParts) return
  for (const names of [s3Names, obsNames]) {
    const name = firstSent(headers, managedNames(names))
    const message = `${names.algorithm} header is not supported for this operation.`
    if (name !== undefined) throw badArgument(message, name, headers(name))
  }
}
