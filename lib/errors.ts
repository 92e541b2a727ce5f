/**
 * Every error of the product, in one table: a stable code, the HTTP status and the S3 code that a server answers with, and a default
 * message that says what to do. Peers, disks and clients cause an {@link SseError}; a wrong argument of the calling program is a
 * `TypeError` or a `RangeError`.
 */

/** A row of the table. */
export type ErrorRow = readonly [status: number, s3Code: string, message: string]

const table = {
  // The object format (format.md). One message for every failed authentication: it must not tell which check failed.
  NotAuthentic: [
    500,
    'InternalError',
    'The object or key could not be authenticated; its stored bytes, key or context differ. Restore it.',
  ],
  LengthMismatch: [
    400,
    'IncompleteBody',
    'The body does not have the length that was declared. Send exactly the declared number of bytes.',
  ],
  RangeNotSatisfiable: [
    416,
    'InvalidRange',
    'The requested range is not satisfiable. Ask for bytes inside the object.',
  ],
  InvalidContext: [
    400,
    'InvalidArgument',
    'The encryption context is not valid. Send a map of strings without reserved names.',
  ],
  StreamTooLong: [400, 'EntityTooLarge', 'The body is longer than its suite allows. Send it as a multipart upload.'],
  // Keys and KMS
  InvalidKeyId: [400, 'KMS.NotFoundException', 'The key id is malformed. Use a key id, its ARN or an alias.'],
  KeyNotFound: [
    400,
    'KMS.NotFoundException',
    'The key does not exist. List the keys, or leave the key id out to use the default key.',
  ],
  KeyDisabled: [400, 'KMS.DisabledException', 'The key is disabled. Enable it, or use another key.'],
  KeyPendingDeletion: [
    400,
    'KMS.KMSInvalidStateException',
    'The key is pending deletion. Cancel its deletion, or use another key.',
  ],
  KeyAccessDenied: [
    403,
    'AccessDenied',
    'The key is not one that this caller may use. Name a key of your own tenant and region.',
  ],
  KeyNotAccepted: [
    500,
    'InternalError',
    'The key that the data key is wrapped under is not accepted here. Accept it, if it is a key of yours.',
  ],
  KeyringLocked: [
    500,
    'InternalError',
    'The key store cannot be opened with this root key. Give the root key or passphrase that it was made with.',
  ],
  KeyringCorrupt: [
    500,
    'InternalError',
    'The key store is damaged or was changed by someone without its root key. Restore it from a backup.',
  ],
  KmsThrottled: [503, 'SlowDown', 'The KMS is throttling requests. Try again later.'],
  KmsUnavailable: [503, 'ServiceUnavailable', 'The KMS cannot be reached. Try again later.'],
  WrongCustomerKey: [
    403,
    'AccessDenied',
    'The key given is not the one that the object was encrypted with. Send the right customer key.',
  ],
  // Stores and uploads
  NoSuchBucket: [404, 'NoSuchBucket', 'The specified bucket does not exist. Create it first.'],
  NoSuchKey: [404, 'NoSuchKey', 'The specified key does not exist. Check its name with a listing.'],
  NoSuchUpload: [
    404,
    'NoSuchUpload',
    'The upload does not exist: it was completed, aborted, or never begun. Initiate a new one.',
  ],
  InvalidPart: [
    400,
    'InvalidPart',
    'A part was not found, or its ETag does not match. Upload it again and name the ETag that was answered.',
  ],
  InvalidPartNumber: [
    416,
    'InvalidPartNumber',
    'The requested partnumber is not satisfiable. Ask for a part that the object has.',
  ],
  InvalidPartOrder: [
    400,
    'InvalidPartOrder',
    'The list of parts is not in ascending order. Sort it by part number, each number once.',
  ],
  EntityTooSmall: [400, 'EntityTooSmall', 'A part other than the last is too small. Upload parts of 5 MiB or more.'],
  BucketAlreadyOwnedByYou: [409, 'BucketAlreadyOwnedByYou', 'The bucket exists and is yours already. Use it.'],
  BucketAlreadyExists: [409, 'BucketAlreadyExists', 'The bucket name is taken. Choose another.'],
  BucketNotEmpty: [409, 'BucketNotEmpty', 'The bucket is not empty. Delete its objects and abort its uploads first.'],
  StoreFailed: [
    500,
    'InternalError',
    'The store could not read or write. Look at the cause on the server: the disk may be full or broken.',
  ],
  // Requests
  AccessDenied: [403, 'AccessDenied', 'Access denied. Use credentials that are allowed to do this.'],
  InvalidAccessKeyId: [403, 'InvalidAccessKeyId', 'The access key id does not exist here. Check the credentials.'],
  SignatureDoesNotMatch: [
    403,
    'SignatureDoesNotMatch',
    'The signature does not match. Check the secret access key and the signing method.',
  ],
  RequestTimeTooSkewed: [
    403,
    'RequestTimeTooSkewed',
    "The request's time is too far from the server's. Set the client's clock.",
  ],
  AuthorizationHeaderMalformed: [
    400,
    'AuthorizationHeaderMalformed',
    'The Authorization header is malformed. Sign with AWS Signature Version 4.',
  ],
  AuthorizationQueryParametersError: [
    400,
    'AuthorizationQueryParametersError',
    'The query parameters of the signature are malformed. Ask for a new presigned URL.',
  ],
  InvalidRequest: [400, 'InvalidRequest', 'The request is not valid.'],
  InvalidArgument: [400, 'InvalidArgument', 'An argument is not valid.'],
  InvalidEncryptionAlgorithmError: [
    400,
    'InvalidEncryptionAlgorithmError',
    'The Encryption request you specified is not valid. Supported value: AES256.',
  ],
  ServerSideEncryptionConfigurationNotFoundError: [
    404,
    'ServerSideEncryptionConfigurationNotFoundError',
    'The server side encryption configuration was not found. Put one first.',
  ],
  InvalidBucketName: [
    400,
    'InvalidBucketName',
    'The bucket name is not valid. Use 3 to 63 of a-z, 0-9, dot and hyphen.',
  ],
  InvalidLocationConstraint: [
    400,
    'InvalidLocationConstraint',
    'The location constraint is not valid. Name the region that is served here, or leave it out.',
  ],
  InvalidStorageClass: [
    400,
    'InvalidStorageClass',
    'The storage class is not valid. Use STANDARD, or leave the header out.',
  ],
  InvalidURI: [400, 'InvalidURI', 'The request URI cannot be parsed. Percent-encode the key as UTF-8.'],
  KeyTooLongError: [400, 'KeyTooLongError', 'The key is too long. Use at most 1,024 bytes of UTF-8.'],
  InvalidDigest: [400, 'InvalidDigest', 'The Content-MD5 or checksum given is not valid. Send it base64-encoded.'],
  BadDigest: [400, 'BadDigest', 'The digest given does not match the body that arrived. Send the body again.'],
  XAmzContentSHA256Mismatch: [
    400,
    'XAmzContentSHA256Mismatch',
    'The x-amz-content-sha256 given does not match the body that arrived. Send the body again.',
  ],
  IncompleteBody: [400, 'IncompleteBody', 'The body ended early, or is malformed. Send the whole body.'],
  MalformedTrailerError: [
    400,
    'MalformedTrailerError',
    'The trailers are malformed, or not the one that x-amz-trailer announced. Send exactly that one.',
  ],
  MissingContentLength: [
    411,
    'MissingContentLength',
    'The length of the body must be given. Send a Content-Length header.',
  ],
  EntityTooLarge: [400, 'EntityTooLarge', 'The body is larger than allowed. Use a multipart upload.'],
  MetadataTooLarge: [
    400,
    'MetadataTooLarge',
    'The metadata headers are too large. Send at most 2 KiB of user metadata.',
  ],
  MalformedPOSTRequest: [
    400,
    'MalformedPOSTRequest',
    'The body of your POST request is not well-formed multipart/form-data. Send a form with a boundary, whole.',
  ],
  MaxPostPreDataLengthExceeded: [
    400,
    'MaxPostPreDataLengthExceeded',
    'Your POST request fields preceding the upload file were too large. Name the file part "file".',
  ],
  InvalidPolicyDocument: [
    400,
    'InvalidPolicyDocument',
    'The policy document of the form is not valid. Correct it and sign it again.',
  ],
  MalformedPolicy: [400, 'MalformedPolicy', 'The bucket policy is malformed. Correct the element that is named.'],
  NoSuchBucketPolicy: [404, 'NoSuchBucketPolicy', 'The bucket policy does not exist. Put one first.'],
  NoSuchTagSet: [404, 'NoSuchTagSet', 'The TagSet does not exist. Put tags first.'],
  InvalidTag: [400, 'InvalidTag', 'The tags are not valid. Correct the tag that is named.'],
  MalformedXML: [400, 'MalformedXML', 'The XML is not well-formed or does not fit its schema. Correct it.'],
  MethodNotAllowed: [405, 'MethodNotAllowed', 'The method is not allowed against this resource.'],
  NotImplemented: [501, 'NotImplemented', 'This is not implemented here. Leave the header or parameter out.'],
  PreconditionFailed: [
    412,
    'PreconditionFailed',
    'A condition of the request does not hold. Read the object again and decide anew.',
  ],
  NotModified: [304, 'NotModified', 'The object has not changed.'],
  InternalError: [
    500,
    'InternalError',
    'An internal error happened. Try again; if it persists, tell the operator the request id.',
  ],
  SlowDown: [503, 'SlowDown', 'Too many requests. Slow down and try again.'],
  // Programs that use the command line or a configuration
  InvalidUsage: [400, 'InvalidRequest', 'The command line is not valid. See sse-kms help.'],
  InvalidConfig: [500, 'InternalError', 'The configuration is not valid.'],
  EngineUnavailable: [
    500,
    'InternalError',
    'The engine cannot be had in this runtime. Use Node 26.1 or later on a platform with node:ffi, or another engine.',
  ],
  MissingPeer: [500, 'InternalError', 'An optional package is missing. Install it with npm.'],
  FileFailed: [500, 'InternalError', 'A file could not be read or written.'],
} as const satisfies Record<string, ErrorRow>

/** A stable code of an {@link SseError}; the table in `docs/errors.md` lists them all. */
export type ErrorCode = keyof typeof table

/** What may be said beside the code. */
export interface SseErrorOptions {
  /** Replaces the table's message; never holds key material or plaintext. */
  readonly message?: string | undefined
  /** Further elements of an S3 error body, such as `ArgumentName`. */
  readonly details?: Readonly<Record<string, string>> | undefined
  /** Kept for the operator, never sent to a client. */
  readonly cause?: unknown
  /** Seconds for a Retry-After header. */
  readonly retryAfter?: number | undefined
}

/**
 * An error that a peer, a disk, a client or stored bytes caused. `code` is stable across releases; `status` and `s3Code` are what an S3
 * server answers; `message` says what to do; `cause` is for the operator alone.
 *
 * {@includeCode ../test/examples/reference.test.ts#errors}
 */
export class SseError extends Error {
  /** Stable code, a row of the table. */
  readonly code: ErrorCode
  /** HTTP status that a server answers with. */
  readonly status: number
  /** S3 error code that a server answers with. */
  readonly s3Code: string
  /** Further elements of an S3 error body. */
  readonly details: Readonly<Record<string, string>>
  /** Seconds after which to try again, where that is known. */
  readonly retryAfter: number | undefined

  /** Makes an error of the table's row `code`. */
  constructor(code: ErrorCode, options: SseErrorOptions = {}) {
    const [status, s3Code, message] = table[code]
    super(options.message ?? message, 'cause' in options ? { cause: options.cause } : undefined)
    this.name = 'SseError'
    this.code = code
    this.status = status
    this.s3Code = s3Code
    this.details = options.details ?? {}
    this.retryAfter = options.retryAfter
  }
}

/**
 * The table of errors: each code with its HTTP status, S3 code and default message.
 *
 * {@includeCode ../test/examples/reference.test.ts#errors}
 */
export const errorTable: Readonly<Record<ErrorCode, ErrorRow>> = table
