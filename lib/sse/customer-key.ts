/**
 * SSE-C: a key that the customer sends with each request. Its headers become 32 bytes here, and here are the rules about which objects and
 * uploads need one. Whether the key is the right one shows when the object's data key is unwrapped, which is not done here.
 */
import { md5 } from '@noble/hashes/legacy.js'
import { base64, equal, fromBase64, wipe } from '../bytes.ts'
import { SseError } from '../errors.ts'
import {
  aes256,
  badArgument,
  customerNames,
  namesOf,
  obsNames,
  s3Names,
  type CustomerKeyNames,
  type Dialect,
  type EncryptionKind,
  type HeaderGetter,
} from './names.ts'

/** A request with a customer's key. The receiver of `key` wipes it. */
export interface CustomerKeyRequest {
  /** Says which member of a union this is. */
  readonly kind: 'sse-c'
  /** Spelling of the headers. */
  readonly dialect: Dialect
  /** 32 bytes; the receiver wipes them. */
  readonly key: Uint8Array
  /** base64 of the key's MD5, as it is answered. */
  readonly keyMd5: string
}

/** What decides whether a key may be sent at all. */
export interface TransportOptions {
  /** Whether key material is safe on this connection: TLS, loopback, or a server that was told so. */
  readonly secure: boolean
}

/** A missing MD5 or a wrong length is a bad argument on a write. On a read it means that the key is not the right one. */
type Use = 'write' | 'read'

const must = 'Requests specifying Server Side Encryption with Customer provided keys must'

const hasAny = (headers: HeaderGetter, names: CustomerKeyNames): boolean =>
  customerNames(names).some(name => headers(name) !== undefined)

/**
 * Reads one set of three headers, all of which may be absent.
 *
 * @throws {SseError} see {@link parseCustomerKey}.
 */
const parse = (headers: HeaderGetter, names: CustomerKeyNames, dialect: Dialect, use: Use): CustomerKeyRequest => {
  const argument = namesOf[dialect].algorithm // S3 names this header, whichever of the three is at fault
  const algorithm = headers(names.algorithm)
  const text = headers(names.key)
  const sentMd5 = headers(names.keyMd5)
  if (algorithm === undefined) throw badArgument(`${must} provide a valid encryption algorithm.`, argument, undefined)
  if (algorithm !== aes256)
    throw badArgument(
      'The Encryption request you specified is not valid. Supported value: AES256.',
      argument,
      algorithm,
      'InvalidEncryptionAlgorithmError',
    )
  if (!text) throw badArgument(`${must} provide an appropriate secret key.`, argument, undefined)
  if (sentMd5 === undefined) {
    if (use === 'read') throw new SseError('WrongCustomerKey')
    throw badArgument(`${must} provide the client calculated MD5 of the secret key.`, argument, undefined)
  }
  const key = fromBase64(text)
  const digest = key && md5(key)
  if (key && digest && !equal(digest, fromBase64(sentMd5) ?? new Uint8Array())) {
    wipe(key)
    const message = 'The calculated MD5 hash of the key did not match the hash that was provided.'
    throw badArgument(message, argument, undefined)
  }
  if (!digest || key.length !== 32) {
    wipe(key)
    if (use === 'read') throw new SseError('WrongCustomerKey')
    throw badArgument('The secret key was invalid for the specified algorithm.', argument, undefined)
  }
  return { kind: 'sse-c', dialect, key, keyMd5: base64(digest) }
}

const parseEither = (
  headers: HeaderGetter,
  { secure }: TransportOptions,
  pick: 'customer' | 'copySource',
  use: Use,
): CustomerKeyRequest | undefined => {
  const [names, other] = [s3Names, obsNames].filter(names => hasAny(headers, names[pick]))
  if (!names) return undefined
  if (!secure) throw new SseError('InvalidRequest', { message: `${must} be made over a secure connection.` })
  if (other) {
    const name = other[pick].algorithm
    throw badArgument('Send the customer key in x-amz or in x-obs headers, not in both.', name, headers(name))
  }
  return parse(headers, names[pick], names.dialect, use)
}

/**
 * The customer's key of a PUT, POST, Copy (target), Initiate or part; `undefined` where none is sent. Semantics, section 2.
 *
 * {@includeCode ../../test/examples/rules.test.ts#who,header,parts}
 *
 * @throws {SseError} `InvalidRequest` over plain HTTP; `InvalidEncryptionAlgorithmError`; `InvalidArgument` for a missing algorithm, key or
 * MD5, a key that is not 32 bytes, an MD5 that is not the key's.
 */
export const parseCustomerKey = (headers: HeaderGetter, options: TransportOptions): CustomerKeyRequest | undefined =>
  parseEither(headers, options, 'customer', 'write')

/**
 * The customer's key of a GET or HEAD; `undefined` where none is sent.
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,read}
 *
 * @throws {SseError} as {@link parseCustomerKey}, but `WrongCustomerKey` (403) without an MD5 or where the key is not 32 bytes.
 */
export const parseReadHeaders = (headers: HeaderGetter, options: TransportOptions): CustomerKeyRequest | undefined =>
  parseEither(headers, options, 'customer', 'read')

/**
 * The customer's key of the source of a Copy or Upload part copy; `undefined` where none is sent.
 *
 * {@includeCode ../../test/examples/rules.test.ts#who,header,copy}
 *
 * @throws {SseError} as {@link parseReadHeaders}: copying reads the source.
 */
export const parseCopySourceHeaders = (
  headers: HeaderGetter,
  options: TransportOptions,
): CustomerKeyRequest | undefined => parseEither(headers, options, 'copySource', 'read')

const assertFits = (kind: EncryptionKind, request: CustomerKeyRequest | undefined, message: string): void => {
  if ((kind === 'sse-c') !== (request !== undefined)) throw new SseError('InvalidRequest', { message })
}

/**
 * A read, or the source of a copy, sends a customer's key exactly where the object needs one. Semantics, section 2.
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,read}
 *
 * @throws {SseError} `InvalidRequest` where one is missing or one too many.
 */
export const assertReadKeyFits = (object: EncryptionKind, request: CustomerKeyRequest | undefined): void =>
  assertFits(
    object,
    request,
    'The object was stored using a form of Server Side Encryption. ' +
      'The correct parameters must be provided to retrieve the object.',
  )

/**
 * A part sends a customer's key exactly where Initiate did. Semantics, section 2.
 *
 * {@includeCode ../../test/examples/rules.test.ts#who,header,parts}
 *
 * @throws {SseError} `InvalidRequest` where one is missing or one too many.
 */
export const assertPartKeyFits = (upload: EncryptionKind, request: CustomerKeyRequest | undefined): void =>
  assertFits(
    upload,
    request,
    'The multipart upload initiate requested encryption. ' +
      'Subsequent part requests must include the appropriate encryption parameters.',
  )

/** What a part under another key than its upload's is answered: `InvalidRequest`. Semantics, section 2. */
export const partKeyMismatch = (cause?: unknown): SseError =>
  new SseError('InvalidRequest', {
    message: 'The provided encryption parameters did not match the ones used originally.',
    cause,
  })
