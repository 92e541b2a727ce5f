/**
 * `Principal` and `NotPrincipal`: whom a statement is about.
 *
 * ```
 * "*"                                             everyone, also without credentials
 * {"AWS": "*"}   {"ID": "*"}                      the same
 * {"AWS": "arn:aws:iam::DOMAIN:root"}             every user of a tenant; also {"AWS": "DOMAIN"}
 * {"AWS": "arn:aws:iam::DOMAIN:user/NAME"}        one user
 * {"ID": "domain/DOMAIN"}                         every user of a tenant, as OBS writes it; also "domain/DOMAIN:user/*"
 * {"ID": "domain/DOMAIN:user/NAME"}               one user
 * ```
 *
 * Roles, agencies, federated users, services and canonical ids do not exist here and are refused: a Deny that names one would never hold.
 */
import { glob } from './glob.ts'
import { asTexts, type Json, malformed, onlyKnown, type Placed, quote } from './syntax.ts'

/** Who asks. */
export interface PolicyPrincipal {
  /** The tenant (OBS: domain, S3: account); not looked at where `anonymous`. */
  readonly domainId: string
  /** The user in the tenant. */
  readonly userName?: string | undefined
  /** Without credentials: only `*` is about such a request. */
  readonly anonymous: boolean
}

const forms: ReadonlyMap<string, readonly RegExp[]> = new Map([
  [
    'AWS',
    [
      /^(?<domain>[A-Za-z0-9_-]{1,64})$/,
      /^arn:aws:iam::(?<domain>[A-Za-z0-9_-]{1,64}):(?:root|user\/(?<user>[^*?]+))$/,
    ],
  ],
  ['ID', [/^domain\/(?<domain>[A-Za-z0-9_-]{1,64})(?::user\/(?:\*|(?<user>[^*?]+)))?$/]],
])

type Test = (principal: PolicyPrincipal) => boolean

const everyone: Test = () => true

const parseOne = ({ place, text }: Placed, forms: readonly RegExp[]): Test => {
  if (text === '*') return everyone
  for (const form of forms) {
    const groups = form.exec(text)?.groups
    if (!groups) continue
    const { domain, user } = groups
    return ({ domainId, userName, anonymous }) =>
      !anonymous && domainId === domain && (user === undefined || userName === user)
  }
  throw malformed(
    place,
    `${quote(text)} is not a principal that exists here. Use "*", "arn:aws:iam::DOMAIN:root", "arn:aws:iam::DOMAIN:user/NAME" under AWS, or "domain/DOMAIN:user/NAME" under ID.`,
  )
}

/** A Principal or NotPrincipal element. */
export interface PrincipalPattern {
  readonly covers: Test
  /** Whether it is about everyone, also without credentials. */
  readonly isEveryone: boolean
}

/** Reads a Principal or NotPrincipal element; throws `SseError` MalformedPolicy. */
export const parsePrincipal = (place: string, value: Json): PrincipalPattern => {
  if (value === '*') return { covers: everyone, isEveryone: true }
  if (!(value instanceof Map))
    throw malformed(place, 'write "*" or an object such as {"AWS": "arn:aws:iam::DOMAIN:root"}.')
  onlyKnown(place, value, [...forms.keys()])
  if (value.size === 0) throw malformed(place, 'the object is empty. Name at least one principal.')
  const tests = [...forms].flatMap(([kind, forms]) => {
    const named = value.get(kind)
    return named === undefined ? [] : asTexts(`${place}.${kind}`, named).map(one => parseOne(one, forms))
  })
  return { covers: principal => tests.some(test => test(principal)), isEveryone: tests.includes(everyone) }
}

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
  PutObjectLegalHold PutObjectRetention BypassGovernanceRetention ModifyObjectMetaData UpdateObjectEncryption
  DeleteObject DeleteObjectVersion DeleteObjectTagging DeleteObjectVersionTagging RestoreObject
  AbortMultipartUpload ListMultipartUploadParts
  InitiateReplication ReplicateObject ReplicateDelete ReplicateTags ObjectOwnerOverrideToBucketOwner
`)

/** One pattern of actions. */
export interface ActionPattern extends Placed {
  /** With wildcards, to be held against what {@link bareAction} gives. */
  readonly pattern: string
  /** Whether it is about an action on the bucket itself. */
  readonly onBucket: boolean
  /** Whether it is about an action on objects. */
  readonly onObjects: boolean
}

/** An action without `s3:` and in lower case, as patterns are held against it. */
export const bareAction = (action: string): string => action.toLowerCase().replace(/^s3:/, '')

/** Reads one action, with `*` and `?`; throws `SseError` MalformedPolicy for anything else. */
export const parseAction = ({ place, text }: Placed): ActionPattern => {
  const pattern = bareAction(text)
  const matches = glob([pattern])
  const onBucket = bucketActions.some(matches)
  const onObjects = objectActions.some(matches)
  if (!onBucket && !onObjects)
    throw malformed(place, `${quote(text)} is not an action. Write a name such as "s3:PutObject" or "s3:Get*".`)
  return { place, text, pattern, onBucket, onObjects }
}

/** One pattern of resources. */
export interface ResourcePattern {
  /** `bucket` or `bucket/key` with wildcards, to be held against what {@link bareResource} gives. */
  readonly pattern: string
  /** Whether it is about the bucket itself. */
  readonly namesBucket: boolean
  /** Whether it is about objects. */
  readonly namesObjects: boolean
}

/** `bucket` or `bucket/key` of a resource that is written with or without its ARN. */
export const bareResource = (resource: string): string => resource.replace(/^arn:aws:s3:::/, '')

/** Reads one resource; throws `SseError` MalformedPolicy where it is not one of `bucket`. */
export const parseResource = ({ place, text }: Placed, bucket: string): ResourcePattern => {
  const pattern = bareResource(text)
  const rest = pattern.slice(bucket.length)
  if (!pattern.startsWith(bucket) || !/^(?:$|[/*?])/.test(rest))
    throw malformed(
      place,
      `${quote(text)} is not a resource of this bucket. Use "arn:aws:s3:::${bucket}" or "arn:aws:s3:::${bucket}/*".`,
    )
  return { pattern, namesBucket: glob([pattern])(bucket), namesObjects: rest !== '' }
}
