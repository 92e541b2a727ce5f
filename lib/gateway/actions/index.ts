/** The actions that are built, by the names that S3 gives them. */
import type { GatewayRequest } from '../context.ts'
import { abortMultipartUpload, completeMultipartUpload } from './complete-multipart-upload.ts'
import { copyObject } from './copy-object.ts'
import { uploadPartCopy } from './upload-part.ts'
import { createMultipartUpload } from './create-multipart-upload.ts'
import { listMultipartUploads, listParts } from './list-parts.ts'
import { uploadPart } from './upload-part.ts'
import { getBucketAcl, getObjectAcl, putBucketAcl, putObjectAcl } from './settings.ts'
import { headApiVersion } from './buckets.ts'
import { deleteBucketEncryption, getBucketEncryption, putBucketEncryption } from './settings.ts'
import { deleteBucketPolicy, getBucketPolicy, putBucketPolicy } from './settings.ts'
import { deleteBucketTagging, getBucketTagging, putBucketTagging } from './settings.ts'
import { createBucket, deleteBucket, getBucketLocation, headBucket, listBuckets } from './buckets.ts'
import { deleteObjects } from './put-delete.ts'
import { deleteObject } from './put-delete.ts'
import { getObjectAttributes } from './get-object.ts'
import { getObject, headObject } from './get-object.ts'
import { listObjects, listObjectsV2, listObjectVersions } from './list-objects.ts'
import { deleteObjectTagging, getObjectTagging, putObjectTagging } from './settings.ts'
import { postObject } from '../post/post-object.ts'
import { putObject } from './put-delete.ts'
import { getBucketVersioning, putBucketVersioning } from './buckets.ts'

/** Carries out a request and answers it; what it throws is answered as an error. */
export type Action = (ctx: GatewayRequest) => Promise<void>

/** Actions by name. */
export const actions: ReadonlyMap<string, Action> = new Map<string, Action>([
  ['ListBuckets', listBuckets],
  ['CreateBucket', createBucket],
  ['HeadBucket', headBucket],
  ['DeleteBucket', deleteBucket],
  ['HeadApiVersion', headApiVersion],
  ['GetBucketLocation', getBucketLocation],
  ['GetBucketPolicy', getBucketPolicy],
  ['PutBucketPolicy', putBucketPolicy],
  ['DeleteBucketPolicy', deleteBucketPolicy],
  ['GetBucketEncryption', getBucketEncryption],
  ['PutBucketEncryption', putBucketEncryption],
  ['DeleteBucketEncryption', deleteBucketEncryption],
  ['GetBucketTagging', getBucketTagging],
  ['PutBucketTagging', putBucketTagging],
  ['DeleteBucketTagging', deleteBucketTagging],
  ['GetBucketAcl', getBucketAcl],
  ['PutBucketAcl', putBucketAcl],
  ['GetBucketVersioning', getBucketVersioning],
  ['PutBucketVersioning', putBucketVersioning],
  ['ListObjects', listObjects],
  ['ListObjectsV2', listObjectsV2],
  ['ListObjectVersions', listObjectVersions],
  ['DeleteObjects', deleteObjects],
  ['GetObjectAttributes', getObjectAttributes],
  ['GetObjectTagging', getObjectTagging],
  ['PutObjectTagging', putObjectTagging],
  ['DeleteObjectTagging', deleteObjectTagging],
  ['GetObjectAcl', getObjectAcl],
  ['PutObjectAcl', putObjectAcl],
  ['PutObject', putObject],
  ['PostObject', postObject],
  ['GetObject', getObject],
  ['HeadObject', headObject],
  ['DeleteObject', deleteObject],
  ['CreateMultipartUpload', createMultipartUpload],
  ['UploadPart', uploadPart],
  ['UploadPartCopy', uploadPartCopy],
  ['CopyObject', copyObject],
  ['ListParts', listParts],
  ['ListMultipartUploads', listMultipartUploads],
  ['CompleteMultipartUpload', completeMultipartUpload],
  ['AbortMultipartUpload', abortMultipartUpload],
])
