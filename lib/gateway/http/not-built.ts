/**
 * What S3 and OBS have and the gateway does not: the operations of each sub-resource, by S3's names, and by OBS's where S3 has none; and headers of a
 * write. They are refused by name, so that none is taken for another operation or left undone in silence.
 */
import { SseError } from '../../errors.ts'
import type { HeaderGetter } from '../../sse/names.ts'

/** Operations by method. Where a parameter tells two apart, it stands behind the method, and that row comes first. */
type Operations = Readonly<Record<string, string>>

const table: ReadonlyMap<string, Operations> = new Map<string, Operations>(
  Object.entries({
    abac: { GET: 'GetBucketAbac', PUT: 'PutBucketAbac' },
    accelerate: { GET: 'GetBucketAccelerateConfiguration', PUT: 'PutBucketAccelerateConfiguration' },
    analytics: {
      'GET id': 'GetBucketAnalyticsConfiguration',
      GET: 'ListBucketAnalyticsConfigurations',
      PUT: 'PutBucketAnalyticsConfiguration',
      DELETE: 'DeleteBucketAnalyticsConfiguration',
    },
    annotation: {
      'GET annotationName': 'GetObjectAnnotation',
      GET: 'ListObjectAnnotations',
      PUT: 'PutObjectAnnotation',
      DELETE: 'DeleteObjectAnnotation',
    },
    append: { POST: 'AppendObject' },
    bucketStatus: { GET: 'GetBucketPublicStatus' },
    customdomain: { GET: 'GetBucketCustomDomain', PUT: 'SetBucketCustomDomain', DELETE: 'DeleteBucketCustomDomain' },
    deletebucket: {},
    directcoldaccess: {
      GET: 'GetBucketDirectColdAccess',
      PUT: 'SetBucketDirectColdAccess',
      DELETE: 'DeleteBucketDirectColdAccess',
    },
    encryptionkey: {},
    'intelligent-tiering': {
      'GET id': 'GetBucketIntelligentTieringConfiguration',
      GET: 'ListBucketIntelligentTieringConfigurations',
      PUT: 'PutBucketIntelligentTieringConfiguration',
      DELETE: 'DeleteBucketIntelligentTieringConfiguration',
    },
    inventory: {
      'GET id': 'GetBucketInventoryConfiguration',
      GET: 'ListBucketInventoryConfigurations',
      PUT: 'PutBucketInventoryConfiguration',
      DELETE: 'DeleteBucketInventoryConfiguration',
    },
    'legal-hold': { GET: 'GetObjectLegalHold', PUT: 'PutObjectLegalHold' },
    lifecycle: {
      GET: 'GetBucketLifecycleConfiguration',
      PUT: 'PutBucketLifecycleConfiguration',
      DELETE: 'DeleteBucketLifecycle',
    },
    logging: { GET: 'GetBucketLogging', PUT: 'PutBucketLogging' },
    metadata: { PUT: 'SetObjectMetadata' },
    metadataAnnotationTable: { PUT: 'UpdateBucketMetadataAnnotationTableConfiguration' },
    metadataConfiguration: {
      POST: 'CreateBucketMetadataConfiguration',
      GET: 'GetBucketMetadataConfiguration',
      DELETE: 'DeleteBucketMetadataConfiguration',
    },
    metadataInventoryTable: { PUT: 'UpdateBucketMetadataInventoryTableConfiguration' },
    metadataJournalTable: { PUT: 'UpdateBucketMetadataJournalTableConfiguration' },
    metadataTable: {
      POST: 'CreateBucketMetadataTableConfiguration',
      GET: 'GetBucketMetadataTableConfiguration',
      DELETE: 'DeleteBucketMetadataTableConfiguration',
    },
    metrics: {
      'GET id': 'GetBucketMetricsConfiguration',
      GET: 'ListBucketMetricsConfigurations',
      PUT: 'PutBucketMetricsConfiguration',
      DELETE: 'DeleteBucketMetricsConfiguration',
    },
    mirrorBackToSource: {
      GET: 'GetBucketMirrorBackToSource',
      PUT: 'SetBucketMirrorBackToSource',
      DELETE: 'DeleteBucketMirrorBackToSource',
    },
    modify: { PUT: 'ModifyObject' },
    notification: { GET: 'GetBucketNotificationConfiguration', PUT: 'PutBucketNotificationConfiguration' },
    'object-lock': { GET: 'GetObjectLockConfiguration', PUT: 'PutObjectLockConfiguration' },
    obscompresspolicy: {
      GET: 'GetBucketCompressPolicy',
      PUT: 'SetBucketCompressPolicy',
      DELETE: 'DeleteBucketCompressPolicy',
    },
    quota: { GET: 'GetBucketQuota', PUT: 'SetBucketQuota' },
    rename: { POST: 'RenameObject' },
    renameObject: { PUT: 'RenameObject' },
    replication: { GET: 'GetBucketReplication', PUT: 'PutBucketReplication', DELETE: 'DeleteBucketReplication' },
    requestPayment: { GET: 'GetBucketRequestPayment', PUT: 'PutBucketRequestPayment' },
    restore: { POST: 'RestoreObject' },
    retention: { GET: 'GetObjectRetention', PUT: 'PutObjectRetention' },
    select: { POST: 'SelectObjectContent' },
    session: { GET: 'CreateSession' },
    storageClass: { GET: 'GetBucketStoragePolicy', PUT: 'SetBucketStoragePolicy' },
    storageinfo: { GET: 'GetBucketStorageInfo' },
    storagePolicy: {},
    torrent: { GET: 'GetObjectTorrent' },
    truncate: { PUT: 'TruncateObject' },
    website: { GET: 'GetBucketWebsite', PUT: 'PutBucketWebsite', DELETE: 'DeleteBucketWebsite' },
    'x-image-process': {},
  }),
)

/** Whether a sub-resource, of buckets or of objects, is one that is not built. */
export const isNotBuilt = (subResource: string): boolean => table.has(subResource)

/** The operations that are not built, by name. */
export const notBuiltOperations: readonly string[] = [...table.values()].flatMap(each => Object.values(each))

/** `NotImplemented` for a request of a sub-resource; says which operation that is, where it is known. */
export const refusedSubResource = (
  subResource: string,
  method: string,
  query: ReadonlyMap<string, string>,
): SseError => {
  const operation = Object.entries(table.get(subResource) ?? {}).find(([row]) => {
    const [verb, parameter = subResource] = row.split(' ')
    return verb === method && query.has(parameter)
  })
  const message = `${operation?.[1] ?? 'This'} is not implemented here. Leave out the sub-resource ${subResource}.`
  return new SseError('NotImplemented', { message })
}

/** `NotImplemented` for an operation that a request names itself. */
export const refusedOperation = (operation: string): SseError =>
  new SseError('NotImplemented', { message: `${operation} is not implemented here. Do without it.` })

/** What would keep an object, delete it, lead elsewhere, or write into the one that is there. */
const headers = [
  ...[
    'object-lock-mode',
    'object-lock-retain-until-date',
    'object-lock-legal-hold',
    'website-redirect-location',
  ].flatMap(name => [`x-amz-${name}`, `x-obs-${name}`]),
  'x-amz-write-offset-bytes',
  'x-obs-expires',
]

/** Throws `NotImplemented` for a header of a write that asks for what is not built. */
export const assertHeadersBuilt = (header: HeaderGetter): void => {
  const name = headers.find(each => header(each) !== undefined)
  if (name === undefined) return
  const message = `The header ${name} is not implemented here. Leave it out.`
  throw new SseError('NotImplemented', { message, details: { Header: name } })
}
