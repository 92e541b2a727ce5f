/** Routing: from method, target and query to the name of an S3 operation, which `actions/` carries out. */
import { SseError } from '../../errors.ts'

/** Query parameters, decoded; the first of a name counts. */
export type Query = ReadonlyMap<string, string>

/** Decodes a raw query; `InvalidURI` where it is not percent-encoded UTF-8. */
export const parseQuery = (raw: string): Query => {
  const query = new Map<string, string>()
  for (const pair of raw.split('&')) {
    if (pair === '') continue
    const at = pair.indexOf('=')
    const name = decode(at < 0 ? pair : pair.slice(0, at))
    if (!query.has(name)) query.set(name, at < 0 ? '' : decode(pair.slice(at + 1)))
  }
  return query
}

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch (cause) {
    throw new SseError('InvalidURI', { cause })
  }
}

/** What routing looks at. */
export interface RouteInput {
  readonly method: string
  readonly bucket: string | undefined
  readonly key: string | undefined
  readonly query: Query
  /** Whether the request names a source to copy from. */
  readonly copySource: boolean
}

type Methods = Readonly<Record<string, string>>
type Sub = readonly [parameter: string, actions: Methods]

const bucketSubs = [
  ['apiversion', { HEAD: 'HeadApiVersion' }],
  ['uploads', { GET: 'ListMultipartUploads' }],
  ['delete', { POST: 'DeleteObjects' }],
  ['location', { GET: 'GetBucketLocation' }],
  ['policy', { GET: 'GetBucketPolicy', PUT: 'PutBucketPolicy', DELETE: 'DeleteBucketPolicy' }],
  ['encryption', { GET: 'GetBucketEncryption', PUT: 'PutBucketEncryption', DELETE: 'DeleteBucketEncryption' }],
  ['cors', { GET: 'GetBucketCors', PUT: 'PutBucketCors', DELETE: 'DeleteBucketCors' }],
  ['tagging', { GET: 'GetBucketTagging', PUT: 'PutBucketTagging', DELETE: 'DeleteBucketTagging' }],
  ['acl', { GET: 'GetBucketAcl', PUT: 'PutBucketAcl' }],
  ['versioning', { GET: 'GetBucketVersioning', PUT: 'PutBucketVersioning' }],
  ['versions', { GET: 'ListObjectVersions' }],
] as const satisfies readonly Sub[]

const objectSubs = [
  ['uploads', { POST: 'CreateMultipartUpload' }],
  [
    'uploadId',
    { GET: 'ListParts', PUT: 'UploadPart', POST: 'CompleteMultipartUpload', DELETE: 'AbortMultipartUpload' },
  ],
  ['tagging', { GET: 'GetObjectTagging', PUT: 'PutObjectTagging', DELETE: 'DeleteObjectTagging' }],
  ['acl', { GET: 'GetObjectAcl', PUT: 'PutObjectAcl' }],
  ['attributes', { GET: 'GetObjectAttributes' }],
] as const satisfies readonly Sub[]

/** Sub-resources of S3 and OBS that are not implemented, and refused by name. */
const notBuilt = new Set(
  (
    'abac accelerate analytics annotation append bucketStatus customdomain deletebucket ' +
    'directcoldaccess encryptionkey intelligent-tiering inventory legal-hold lifecycle logging metadata ' +
    'metadataAnnotationTable metadataConfiguration metadataInventoryTable metadataJournalTable ' +
    'metadataTable metrics mirrorBackToSource modify notification object-lock obscompresspolicy ' +
    'ownershipControls policyStatus publicAccessBlock quota rename renameObject replication ' +
    'requestPayment restore retention select session storageClass storageinfo storagePolicy torrent ' +
    'truncate website x-image-process'
  ).split(' '),
)

const plain = {
  service: { GET: 'ListBuckets', HEAD: 'HeadApiVersion' },
  bucket: { PUT: 'CreateBucket', HEAD: 'HeadBucket', DELETE: 'DeleteBucket', GET: 'ListObjects', POST: 'PostObject' },
  object: { PUT: 'PutObject', GET: 'GetObject', HEAD: 'HeadObject', DELETE: 'DeleteObject' },
} as const satisfies Record<string, Methods>

const copies = { PutObject: 'CopyObject', UploadPart: 'UploadPartCopy' } as const
const listV2 = 'ListObjectsV2'

type NamesIn<T> = T extends Methods ? T[keyof T] : never
/** The actions that are built, by the names that S3 gives them. */
export type Operation =
  | NamesIn<(typeof bucketSubs)[number][1]>
  | NamesIn<(typeof objectSubs)[number][1]>
  | NamesIn<(typeof plain)[keyof typeof plain]>
  | NamesIn<typeof copies>
  | typeof listV2

const lookUp = (actions: Readonly<Record<string, Operation>>, method: string): Operation => {
  const action = Object.hasOwn(actions, method) ? actions[method] : undefined
  if (action === undefined) throw new SseError('MethodNotAllowed', { details: { Method: method } })
  return action
}

const namesOf = (subs: readonly Sub[]): readonly string[] => subs.map(([name]) => name)
/** Sub-resources that a bucket has and an object has not, and the other way round. */
const notOfObjects = new Set(namesOf(bucketSubs).filter(name => !namesOf(objectSubs).includes(name)))
const notOfBuckets = new Set(namesOf(objectSubs).filter(name => !namesOf(bucketSubs).includes(name)))
const known = new Set([...namesOf(bucketSubs), ...namesOf(objectSubs), 'partNumber'])

/**
 * Refuses sub-resources that the plain operation must not be run for: a PUT of an unknown one would replace the object. A parameter without a
 * value counts as a sub-resource; reads may have other empty parameters.
 */
const assertSubResources = ({ method, bucket, key, query }: RouteInput): void => {
  const foreign = key === undefined ? notOfBuckets : notOfObjects
  const writes = method !== 'GET' && method !== 'HEAD'
  for (const [name, value] of query) {
    const unknown = writes && value === '' && !known.has(name) && !/^x-(?:amz|obs)-/i.test(name)
    if (!notBuilt.has(name) && !(bucket !== undefined && foreign.has(name)) && !unknown) continue
    const message = `The sub-resource ${name} is not implemented here. Leave it out.`
    throw new SseError('NotImplemented', { message })
  }
}

/** The action of a request; `NotImplemented` for a sub-resource that is not built, `MethodNotAllowed` for another method. */
export const route = (input: RouteInput): Operation => {
  const { method, bucket, key, query, copySource } = input
  const versionId = query.get('versionId') ?? 'null'
  if (versionId !== 'null') {
    throw new SseError('InvalidArgument', {
      message: 'Invalid version id specified. Objects have one version here, null: leave versionId out.',
      details: { ArgumentName: 'versionId', ArgumentValue: versionId },
    })
  }
  assertSubResources(input)
  if (bucket === undefined) return lookUp(plain.service, method)
  if (key === undefined) {
    for (const [parameter, actions] of bucketSubs) if (query.has(parameter)) return lookUp(actions, method)
    return method === 'GET' && query.get('list-type') === '2' ? listV2 : lookUp(plain.bucket, method)
  }
  const sub = objectSubs.find(([parameter]) => query.has(parameter))
  const action = lookUp(sub?.[1] ?? plain.object, method)
  return copySource && (action === 'PutObject' || action === 'UploadPart') ? copies[action] : action
}
