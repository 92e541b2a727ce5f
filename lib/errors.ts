/**
 * Every error of the product, in one table: a stable code, the HTTP status and the S3 code that a server answers with, and a default
 * message that says what to do. Peers, disks and clients cause an {@link SseError}; a wrong argument of the calling program is a
 * `TypeError` or a `RangeError`.
 */

/** What is known of a code. */
export interface ErrorRow {
  /** HTTP status that a server answers with. */
  readonly status: number
  /** S3 error code that a server answers with; the code itself where it is left out. */
  readonly s3Code?: string
  /** Default message: what happened, and what to do. */
  readonly message: string
}

const table = {
  // The object format (format.md). One message for every failed authentication: it must not tell which check failed.
  NotAuthentic: {
    status: 500,
    s3Code: 'InternalError',
    message: 'The object or key could not be authenticated; its stored bytes, key or context differ. Restore it.',
  },
  LengthMismatch: {
    status: 400,
    s3Code: 'IncompleteBody',
    message: 'The body does not have the length that was declared. Send exactly the declared number of bytes.',
  },
  RangeNotSatisfiable: {
    status: 416,
    s3Code: 'InvalidRange',
    message: 'The requested range is not satisfiable. Ask for bytes inside the object.',
  },
  InvalidContext: {
    status: 400,
    s3Code: 'InvalidArgument',
    message: 'The encryption context is not valid. Send a map of strings without reserved names.',
  },
  StreamTooLong: {
    status: 400,
    s3Code: 'EntityTooLarge',
    message: 'The body is longer than its suite allows. Send it as a multipart upload.',
  },
  // Keys and KMS
  InvalidKeyId: {
    status: 400,
    s3Code: 'KMS.NotFoundException',
    message: 'The key id is malformed. Use a key id, its ARN or an alias.',
  },
  KeyNotFound: {
    status: 400,
    s3Code: 'KMS.NotFoundException',
    message: 'The key does not exist. List the keys, or leave the key id out to use the default key.',
  },
  KeyDisabled: {
    status: 400,
    s3Code: 'KMS.DisabledException',
    message: 'The key is disabled. Enable it, or use another key.',
  },
  KeyPendingDeletion: {
    status: 400,
    s3Code: 'KMS.KMSInvalidStateException',
    message: 'The key is pending deletion. Cancel its deletion, or use another key.',
  },
  KeyAccessDenied: {
    status: 403,
    s3Code: 'AccessDenied',
    message: 'The key is not one that this caller may use. Name a key of your own tenant and region.',
  },
  KeyNotAccepted: {
    status: 500,
    s3Code: 'InternalError',
    message: 'The key that the data key is wrapped under is not accepted here. Accept it, if it is a key of yours.',
  },
  KeyringLocked: {
    status: 500,
    s3Code: 'InternalError',
    message:
      'The key store cannot be opened with this root key. Give the root key or passphrase that it was made with.',
  },
  KeyringCorrupt: {
    status: 500,
    s3Code: 'InternalError',
    message: 'The key store is damaged or was changed by someone without its root key. Restore it from a backup.',
  },
  KeyringTooNew: {
    status: 500,
    s3Code: 'InternalError',
    message:
      'The key store was made by a newer version of this program. Upgrade the program; leave the files as they are.',
  },
  RootKeyRefused: {
    status: 500,
    s3Code: 'InternalError',
    message: 'The new root key cannot be used. Give one that is not the old one and that nobody else may read.',
  },
  KmsThrottled: { status: 503, s3Code: 'SlowDown', message: 'The KMS is throttling requests. Try again later.' },
  KmsUnavailable: { status: 503, s3Code: 'ServiceUnavailable', message: 'The KMS cannot be reached. Try again later.' },
  WrongCustomerKey: {
    status: 403,
    s3Code: 'AccessDenied',
    message: 'The key given is not the one that the object was encrypted with. Send the right customer key.',
  },
  // Stores and uploads
  NoSuchBucket: { status: 404, message: 'The specified bucket does not exist. Create it first.' },
  NoSuchKey: { status: 404, message: 'The specified key does not exist. Check its name with a listing.' },
  NoSuchUpload: {
    status: 404,
    message: 'The upload does not exist: it was completed, aborted, or never begun. Initiate a new one.',
  },
  InvalidPart: {
    status: 400,
    message: 'A part was not found, or its ETag does not match. Upload it again and name the ETag that was answered.',
  },
  InvalidPartNumber: {
    status: 416,
    message: 'The requested partnumber is not satisfiable. Ask for a part that the object has.',
  },
  InvalidPartOrder: {
    status: 400,
    message: 'The list of parts is not in ascending order. Sort it by part number, each number once.',
  },
  EntityTooSmall: { status: 400, message: 'A part other than the last is too small. Upload parts of 5 MiB or more.' },
  BucketAlreadyOwnedByYou: { status: 409, message: 'The bucket exists and is yours already. Use it.' },
  BucketAlreadyExists: { status: 409, message: 'The bucket name is taken. Choose another.' },
  TooManyBuckets: {
    status: 400,
    message: 'You have attempted to create more buckets than allowed. Delete a bucket that is not needed.',
  },
  TooManyUploads: {
    status: 400,
    s3Code: 'InvalidRequest',
    message: 'The bucket has as many open multipart uploads as it may have. Complete or abort some of them.',
  },
  BucketChanged: {
    status: 409,
    s3Code: 'OperationAborted',
    message: 'A conflicting change of the bucket was under way at the same time. Try again.',
  },
  BucketNotEmpty: { status: 409, message: 'The bucket is not empty. Delete its objects and abort its uploads first.' },
  StoreFull: {
    status: 507,
    s3Code: 'InsufficientStorage',
    message: 'The disk of the store is full. Delete objects, or give it more space, and send the request again.',
  },
  StoreBusy: {
    status: 503,
    s3Code: 'ServiceUnavailable',
    message: 'Another process holds the store, and did not let go of it in time. Try again later.',
  },
  StoreUnavailable: {
    status: 503,
    s3Code: 'ServiceUnavailable',
    message: 'The storage behind the store cannot be reached, or is overloaded. Nothing was changed. Try again later.',
  },
  StoreFailed: {
    status: 500,
    s3Code: 'InternalError',
    message: 'The store could not read or write. Look at the cause on the server: the disk may be broken.',
  },
  IndexNotAuthentic: {
    status: 500,
    s3Code: 'InternalError',
    message: 'The index was changed by someone without its key. Restore it from a backup.',
  },
  // Requests
  AccessDenied: { status: 403, message: 'Access denied. Use credentials that are allowed to do this.' },
  InvalidAccessKeyId: { status: 403, message: 'The access key id does not exist here. Check the credentials.' },
  SignatureDoesNotMatch: {
    status: 403,
    message: 'The signature does not match. Check the secret access key and the signing method.',
  },
  RequestTimeTooSkewed: {
    status: 403,
    message: "The request's time is too far from the server's. Set the client's clock.",
  },
  AuthorizationHeaderMalformed: {
    status: 400,
    message: 'The Authorization header is malformed. Sign with AWS Signature Version 4.',
  },
  AuthorizationQueryParametersError: {
    status: 400,
    message: 'The query parameters of the signature are malformed. Ask for a new presigned URL.',
  },
  InvalidRequest: { status: 400, message: 'The request is not valid.' },
  InvalidArgument: { status: 400, message: 'An argument is not valid.' },
  InvalidEncryptionAlgorithmError: {
    status: 400,
    message: 'The Encryption request you specified is not valid. Supported value: AES256.',
  },
  ServerSideEncryptionConfigurationNotFoundError: {
    status: 404,
    message: 'The server side encryption configuration was not found. Put one first.',
  },
  InvalidBucketName: { status: 400, message: 'The bucket name is not valid. Use 3 to 63 of a-z, 0-9, dot and hyphen.' },
  InvalidBucketOwnerAWSAccountID: {
    status: 400,
    message:
      'The expected bucket owner must be the id of a tenant: letters, digits, "_" and "-". Send that, or leave it out.',
  },
  InvalidLocationConstraint: {
    status: 400,
    message: 'The location constraint is not valid. Name the region that is served here, or leave it out.',
  },
  InvalidStorageClass: {
    status: 400,
    message: 'The storage class is not valid. Use STANDARD, or leave the header out.',
  },
  InvalidURI: { status: 400, message: 'The request URI cannot be parsed. Percent-encode the key as UTF-8.' },
  KeyTooLongError: { status: 400, message: 'The key is too long. Use at most 1,024 bytes of UTF-8.' },
  InvalidDigest: { status: 400, message: 'The Content-MD5 or checksum given is not valid. Send it base64-encoded.' },
  BadDigest: { status: 400, message: 'The digest given does not match the body that arrived. Send the body again.' },
  XAmzContentSHA256Mismatch: {
    status: 400,
    message: 'The x-amz-content-sha256 given does not match the body that arrived. Send the body again.',
  },
  IncompleteBody: { status: 400, message: 'The body ended early, or is malformed. Send the whole body.' },
  MalformedTrailerError: {
    status: 400,
    message: 'The trailers are malformed, or not the one that x-amz-trailer announced. Send exactly that one.',
  },
  MissingContentLength: { status: 411, message: 'The length of the body must be given. Send a Content-Length header.' },
  EntityTooLarge: { status: 400, message: 'The body is larger than allowed. Use a multipart upload.' },
  MetadataTooLarge: {
    status: 400,
    message: 'The metadata headers are too large. Send at most 2 KiB of user metadata.',
  },
  MalformedPOSTRequest: {
    status: 400,
    message:
      'The body of your POST request is not well-formed multipart/form-data. Send a form with a boundary, whole.',
  },
  MaxPostPreDataLengthExceeded: {
    status: 400,
    message: 'Your POST request fields preceding the upload file were too large. Name the file part "file".',
  },
  InvalidPolicyDocument: {
    status: 400,
    message: 'The policy document of the form is not valid. Correct it and sign it again.',
  },
  MalformedPolicy: { status: 400, message: 'The bucket policy is malformed. Correct the element that is named.' },
  NoSuchBucketPolicy: { status: 404, message: 'The bucket policy does not exist. Put one first.' },
  NoSuchCORSConfiguration: { status: 404, message: 'The CORS configuration does not exist. Put one first.' },
  AccessForbidden: {
    status: 403,
    message: 'CORSResponse: this CORS request is not allowed. Change the CORS configuration.',
  },
  NoSuchPublicAccessBlockConfiguration: {
    status: 404,
    message: 'The public access block configuration was not found. Put one first.',
  },
  OwnershipControlsNotFoundError: {
    status: 404,
    message: 'The bucket ownership controls were not found. Put them first; without any the bucket takes ACLs.',
  },
  AccessControlListNotSupported: {
    status: 400,
    message: 'The bucket does not allow ACLs. Leave the ACL out, or name bucket-owner-full-control.',
  },
  InvalidBucketAclWithObjectOwnership: {
    status: 400,
    message: 'A bucket whose ACL opens it to others cannot disable ACLs. Put the ACL private first.',
  },
  NoSuchTagSet: { status: 404, message: 'The TagSet does not exist. Put tags first.' },
  InvalidTag: { status: 400, message: 'The tags are not valid. Correct the tag that is named.' },
  MalformedXML: { status: 400, message: 'The XML is not well-formed or does not fit its schema. Correct it.' },
  MethodNotAllowed: { status: 405, message: 'The method is not allowed against this resource.' },
  NotImplemented: { status: 501, message: 'This is not implemented here. Leave the header or parameter out.' },
  PreconditionFailed: {
    status: 412,
    message: 'A condition of the request does not hold. Read the object again and decide anew.',
  },
  NotModified: { status: 304, message: 'The object has not changed.' },
  InternalError: {
    status: 500,
    message: 'An internal error happened. Try again; if it persists, tell the operator the request id.',
  },
  BadRequest: { status: 400, message: 'An error occurred when parsing the HTTP request. Send a request of HTTP/1.1.' },
  RequestHeaderSectionTooLarge: {
    status: 400,
    message: 'Your request header section exceeds the maximum allowed size. Send fewer or shorter headers.',
  },
  RequestTimeout: {
    status: 400,
    message:
      'Your socket connection to the server was not read from or written to within the timeout period. Send and read faster, or in smaller parts.',
  },
  ClientClosedRequest: {
    status: 499,
    message: 'The client closed the connection before it had its answer.',
  },
  SlowDown: { status: 503, message: 'Too many requests. Slow down and try again.' },
  // Programs that use the command line or a configuration
  InvalidUsage: { status: 400, s3Code: 'InvalidRequest', message: 'The command line is not valid. See sse-kms help.' },
  InvalidConfig: { status: 500, s3Code: 'InternalError', message: 'The configuration is not valid.' },
  EngineUnavailable: {
    status: 500,
    s3Code: 'InternalError',
    message: 'The engine cannot be had in this runtime. Install koffi with npm, or use another engine.',
  },
  MissingPeer: {
    status: 500,
    s3Code: 'InternalError',
    message: 'An optional package is missing. Install it with npm.',
  },
  ObjectsLeft: {
    status: 500,
    s3Code: 'InternalError',
    message: 'Some objects were left as they are. The report says which, and why.',
  },
  NotConforming: {
    status: 500,
    s3Code: 'InternalError',
    message: 'The key manager fails cases of the conformance suite. Mend what they name.',
  },
  InvalidSetup: {
    status: 400,
    s3Code: 'InvalidRequest',
    message: 'The setup of the conformance suite is not right. Correct what is named.',
  },
  StoreFaulty: {
    status: 500,
    s3Code: 'InternalError',
    message: 'The check found faults in the store. Do what docs/operations.md says of each kind.',
  },
  FileFailed: { status: 500, s3Code: 'InternalError', message: 'A file could not be read or written.' },
  WorkersFailed: {
    status: 500,
    s3Code: 'InternalError',
    message: 'Workers of the server end again and again. Look at the lines of the log above, and start it again.',
  },
} as const satisfies Record<string, ErrorRow>

/** A stable code of an {@link SseError}; the table in `docs/errors.md` lists them all. */
export type ErrorCode = keyof typeof table

/**
 * The table of errors: each code with its HTTP status, S3 code and default message.
 *
 * {@includeCode ../test/examples/reference.test.ts#sse,errors}
 */
export const errorTable: Readonly<Record<ErrorCode, ErrorRow>> = table

/** What may be said beside the code. */
export interface SseErrorOptions {
  /** Replaces the table's message; never holds key material or plaintext. */
  readonly message?: string | undefined
  /** What Amazon S3 says in this case, word for word, where that is not what it always says of the code. */
  readonly s3Message?: string | undefined
  /** Further elements of an S3 error body, such as `ArgumentName`. */
  readonly details?: Readonly<Record<string, string>> | undefined
  /** Further headers of the answer, such as `content-range` of a 416. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Kept for the operator, never sent to a client. */
  readonly cause?: unknown
  /** Seconds for a Retry-After header. */
  readonly retryAfter?: number | undefined
}

/**
 * An error that a peer, a disk, a client or stored bytes caused. `code` is stable across releases; `status` and `s3Code` are what an S3
 * server answers; `message` says what to do; `cause` is for the operator alone.
 *
 * {@includeCode ../test/examples/reference.test.ts#sse,errors}
 */
export class SseError extends Error {
  /** Stable code, a row of the table. */
  readonly code: ErrorCode
  /** HTTP status that a server answers with. */
  readonly status: number
  /** S3 error code that a server answers with. */
  readonly s3Code: string
  /** What Amazon S3 says in this case, where that is known. */
  readonly s3Message: string | undefined
  /** Further elements of an S3 error body. */
  readonly details: Readonly<Record<string, string>>
  /** Further headers of the answer. */
  readonly headers: Readonly<Record<string, string>>
  /** Seconds after which to try again, where that is known. */
  readonly retryAfter: number | undefined

  /** Makes an error of the table's row `code`. */
  constructor(code: ErrorCode, options: SseErrorOptions = {}) {
    const { status, s3Code = code, message } = errorTable[code]
    super(options.message ?? message, 'cause' in options ? { cause: options.cause } : undefined)
    this.name = 'SseError'
    this.code = code
    this.status = status
    this.s3Code = s3Code
    this.s3Message = options.s3Message
    this.details = options.details ?? {}
    this.headers = options.headers ?? {}
    this.retryAfter = options.retryAfter
  }
}
