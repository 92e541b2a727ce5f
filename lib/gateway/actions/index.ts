/** The actions, by the names that S3 gives them: one that routing knows and that is missing here does not compile. */
import type { Operation } from '../http/route.ts'
import { postObject } from '../post/post-object.ts'
import type { GatewayRequest } from '../request.ts'
import { createBucket, deleteBucket, getBucketLocation, headApiVersion, headBucket, listBuckets } from './buckets.ts'
import { abortMultipartUpload, completeMultipartUpload } from './uploads.ts'
import { bucketCorsActions } from './cors.ts'
import { copyObject } from './objects.ts'
import { createMultipartUpload } from './uploads.ts'
import { getObject, getObjectAttributes, headObject } from './get-object.ts'
import { listObjects, listObjectsV2, listObjectVersions } from './list-objects.ts'
import { listMultipartUploads, listParts } from './list-parts.ts'
import { updateObjectEncryption } from './object-encryption.ts'
import { deleteObject, deleteObjects, putObject } from './objects.ts'
import { bucketOwnershipActions, getBucketPolicyStatus, publicAccessBlockActions } from './public-access.ts'
import {
  bucketAclActions,
  bucketEncryptionActions,
  bucketPolicyActions,
  bucketTaggingActions,
  bucketVersioningActions,
  deleteObjectTagging,
  getObjectAcl,
  getObjectTagging,
  putObjectAcl,
  putObjectTagging,
} from './settings.ts'
import { uploadPart, uploadPartCopy } from './uploads.ts'

/** Carries out a request and answers it; what it throws is answered as an error. */
export type Action = (request: GatewayRequest) => Promise<void>

/** Actions by name. */
export const actions: Readonly<Record<Operation, Action>> = {
  ListBuckets: listBuckets,
  CreateBucket: createBucket,
  HeadBucket: headBucket,
  DeleteBucket: deleteBucket,
  HeadApiVersion: headApiVersion,
  GetBucketLocation: getBucketLocation,
  GetBucketPolicy: bucketPolicyActions.get,
  PutBucketPolicy: bucketPolicyActions.put,
  DeleteBucketPolicy: bucketPolicyActions.delete,
  GetBucketPolicyStatus: getBucketPolicyStatus,
  GetPublicAccessBlock: publicAccessBlockActions.get,
  PutPublicAccessBlock: publicAccessBlockActions.put,
  DeletePublicAccessBlock: publicAccessBlockActions.delete,
  GetBucketOwnershipControls: bucketOwnershipActions.get,
  PutBucketOwnershipControls: bucketOwnershipActions.put,
  DeleteBucketOwnershipControls: bucketOwnershipActions.delete,
  GetBucketEncryption: bucketEncryptionActions.get,
  PutBucketEncryption: bucketEncryptionActions.put,
  DeleteBucketEncryption: bucketEncryptionActions.delete,
  GetBucketTagging: bucketTaggingActions.get,
  PutBucketTagging: bucketTaggingActions.put,
  DeleteBucketTagging: bucketTaggingActions.delete,
  GetBucketAcl: bucketAclActions.get,
  PutBucketAcl: bucketAclActions.put,
  GetBucketVersioning: bucketVersioningActions.get,
  PutBucketVersioning: bucketVersioningActions.put,
  GetBucketCors: bucketCorsActions.get,
  PutBucketCors: bucketCorsActions.put,
  DeleteBucketCors: bucketCorsActions.delete,
  ListObjects: listObjects,
  ListObjectsV2: listObjectsV2,
  ListObjectVersions: listObjectVersions,
  DeleteObjects: deleteObjects,
  GetObjectAttributes: getObjectAttributes,
  GetObjectTagging: getObjectTagging,
  PutObjectTagging: putObjectTagging,
  UpdateObjectEncryption: updateObjectEncryption,
  DeleteObjectTagging: deleteObjectTagging,
  GetObjectAcl: getObjectAcl,
  PutObjectAcl: putObjectAcl,
  PutObject: putObject,
  PostObject: postObject,
  GetObject: getObject,
  HeadObject: headObject,
  DeleteObject: deleteObject,
  CreateMultipartUpload: createMultipartUpload,
  UploadPart: uploadPart,
  UploadPartCopy: uploadPartCopy,
  CopyObject: copyObject,
  ListParts: listParts,
  ListMultipartUploads: listMultipartUploads,
  CompleteMultipartUpload: completeMultipartUpload,
  AbortMultipartUpload: abortMultipartUpload,
}
