/**
 * `Action` and `NotAction`: the names of S3's permissions and of OBS's, which are the same words without `s3:`. Case does not matter. A
 * name that no request can ask for is refused, as S3 does it: a misspelt Deny would deny nothing.
 */

import { glob } from './glob.ts'
import { malformed, quote } from './malformed.ts'
import type { Placed } from './shape.ts'

const words = (text: string): readonly string[] => text.trim().toLowerCase().split(/\s+/)

/** Actions on the bucket itself, in lower case. Sources: S3's service authorization reference; OBS's bucket policy parameters. */
const bucketActions = words(`
  CreateBucket DeleteBucket HeadBucket ListBucket ListBucketVersions ListBucketMultipartUploads
  GetBucketAcl PutBucketAcl GetBucketCORS PutBucketCORS GetBucketLocation GetBucketLogging PutBucketLogging
  GetBucketNotification PutBucketNotification GetBucketObjectLockConfiguration PutBucketObjectLockConfiguration
  GetBucketOwnershipControls PutBucketOwnershipControls GetBucketPolicy PutBucketPolicy DeleteBucketPolicy
  GetBucketPolicyStatus GetBucketPublicAccessBlock PutBucketPublicAccessBlock
  GetBucketRequestPayment PutBucketRequestPayment GetBucketTagging PutBucketTagging DeleteBucketTagging
  GetBucketVersioning PutBucketVersioning GetBucketWebsite PutBucketWebsite DeleteBucketWebsite
  GetAccelerateConfiguration PutAccelerateConfiguration GetAnalyticsConfiguration PutAnalyticsConfiguration
  GetEncryptionConfiguration PutEncryptionConfiguration
  GetIntelligentTieringConfiguration PutIntelligentTieringConfiguration
  GetInventoryConfiguration PutInventoryConfiguration GetLifecycleConfiguration PutLifecycleConfiguration
  GetMetricsConfiguration PutMetricsConfiguration
  GetReplicationConfiguration PutReplicationConfiguration DeleteReplicationConfiguration
  GetBucketStorage GetBucketQuota PutBucketQuota GetBucketStoragePolicy PutBucketStoragePolicy
  ListBucketInventoryConfiguration GetBucketInventoryConfiguration PutBucketInventoryConfiguration
  DeleteBucketInventoryConfiguration GetBucketCustomDomainConfiguration PutBucketCustomDomainConfiguration
  DeleteBucketCustomDomainConfiguration
`)

/** Actions on objects, in lower case. Sources as above. */
const objectActions = words(`
  GetObject GetObjectVersion GetObjectAcl GetObjectVersionAcl GetObjectAttributes GetObjectVersionAttributes
  GetObjectTagging GetObjectVersionTagging GetObjectTorrent GetObjectVersionTorrent GetObjectLegalHold GetObjectRetention
  GetObjectVersionForReplication PutObject PutObjectAcl PutObjectVersionAcl PutObjectTagging PutObjectVersionTagging
  PutObjectLegalHold PutObjectRetention BypassGovernanceRetention ModifyObjectMetaData
  DeleteObject DeleteObjectVersion DeleteObjectTagging DeleteObjectVersionTagging RestoreObject
  AbortMultipartUpload ListMultipartUploadParts
  InitiateReplication ReplicateObject ReplicateDelete ReplicateTags ObjectOwnerOverrideToBucketOwner
`)

/** One pattern of actions. */
export interface ActionPattern extends Placed {
  /** Whether it is about this action, as {@link bareAction} gives it. */
  readonly matches: (action: string) => boolean
  /** Whether it is about an action on the bucket itself. */
  readonly onBucket: boolean
  /** Whether it is about an action on objects. */
  readonly onObjects: boolean
}

/** An action without `s3:` and in lower case, as patterns are held against it. */
export const bareAction = (action: string): string => action.toLowerCase().replace(/^s3:/, '')

/** Reads one action, with `*` and `?`; throws `SseError` MalformedPolicy where it is none. */
export const parseAction = ({ place, text }: Placed): ActionPattern => {
  const matches = glob([bareAction(text)])
  const onBucket = bucketActions.some(matches)
  const onObjects = objectActions.some(matches)
  if (!onBucket && !onObjects)
    throw malformed(place, `${quote(text)} is not an action. Write a name such as "s3:PutObject" or "s3:Get*".`)
  return { place, text, matches, onBucket, onObjects }
}
