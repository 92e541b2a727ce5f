/**
 * What Amazon S3 says of its error codes, word for word: the profile `s3` answers with it wherever S3 has one sentence for a code. Where S3 says
 * something of its own in one case, the error brings it along as `s3Message`; where it has no words, ours are answered.
 */

const schema = 'The XML you provided was not well-formed or did not validate against our published schema'

/** By the code that is answered. */
export const s3Words: ReadonlyMap<string, string> = new Map([
  ['AccessControlListNotSupported', 'The bucket does not allow ACLs'],
  ['AccessDenied', 'Access Denied'],
  ['BadDigest', 'The Content-MD5 you specified did not match what we received.'],
  [
    'BucketAlreadyExists',
    'The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.',
  ],
  ['BucketAlreadyOwnedByYou', 'Your previous request to create the named bucket succeeded and you already own it.'],
  ['BucketNotEmpty', 'The bucket you tried to delete is not empty'],
  ['EntityTooLarge', 'Your proposed upload exceeds the maximum allowed size'],
  ['EntityTooSmall', 'Your proposed upload is smaller than the minimum allowed size'],
  ['IncompleteBody', 'You did not provide the number of bytes specified by the Content-Length HTTP header'],
  ['InternalError', 'We encountered an internal error. Please try again.'],
  ['InvalidAccessKeyId', 'The AWS Access Key Id you provided does not exist in our records.'],
  [
    'InvalidBucketAclWithObjectOwnership',
    "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
  ],
  ['InvalidBucketName', 'The specified bucket is not valid.'],
  ['InvalidDigest', 'The Content-MD5 you specified was invalid.'],
  ['InvalidLocationConstraint', 'The specified location-constraint is not valid'],
  [
    'InvalidPart',
    "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
  ],
  ['InvalidPartNumber', 'The requested partnumber is not satisfiable'],
  ['InvalidPartOrder', 'The list of parts was not in ascending order. Parts must be ordered by part number.'],
  ['InvalidRange', 'The requested range is not satisfiable'],
  ['InvalidStorageClass', 'The storage class you specified is not valid'],
  ['InvalidURI', "Couldn't parse the specified URI."],
  ['KeyTooLongError', 'Your key is too long'],
  ['MalformedPOSTRequest', 'The body of your POST request is not well-formed multipart/form-data.'],
  ['MalformedXML', schema],
  ['MaxPostPreDataLengthExceeded', 'Your POST request fields preceding the upload file were too large.'],
  ['MetadataTooLarge', 'Your metadata headers exceed the maximum allowed metadata size'],
  ['MethodNotAllowed', 'The specified method is not allowed against this resource.'],
  ['MissingContentLength', 'You must provide the Content-Length HTTP header.'],
  ['NoSuchBucket', 'The specified bucket does not exist'],
  ['NoSuchBucketPolicy', 'The bucket policy does not exist'],
  ['NoSuchCORSConfiguration', 'The CORS configuration does not exist'],
  ['NoSuchKey', 'The specified key does not exist.'],
  ['NoSuchPublicAccessBlockConfiguration', 'The public access block configuration was not found'],
  ['NoSuchTagSet', 'The TagSet does not exist'],
  [
    'NoSuchUpload',
    'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.',
  ],
  [
    'OperationAborted',
    'A conflicting conditional operation is currently in progress against this resource. Please try again.',
  ],
  ['OwnershipControlsNotFoundError', 'The bucket ownership controls were not found'],
  ['PreconditionFailed', 'At least one of the pre-conditions you specified did not hold'],
  ['RequestTimeTooSkewed', 'The difference between the request time and the current time is too large.'],
  ['ServerSideEncryptionConfigurationNotFoundError', 'The server side encryption configuration was not found'],
  ['ServiceUnavailable', 'Service is unable to handle request.'],
  [
    'SignatureDoesNotMatch',
    'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
  ],
  ['SlowDown', 'Please reduce your request rate.'],
  ['TooManyBuckets', 'You have attempted to create more buckets than allowed'],
  ['XAmzContentSHA256Mismatch', "The provided 'x-amz-content-sha256' header does not match what was computed."],
])
