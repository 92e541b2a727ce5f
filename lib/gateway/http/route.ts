/** Routing: from method, target and query to the name of an S3 operation, which `actions/` carries out. */
import { SseError } from '../../errors.ts'
import { isNotBuilt, refusedOperation, refusedSubResource } from './not-built.ts'

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
  ['policyStatus', { GET: 'GetBucketPolicyStatus' }],
  [
    'publicAccessBlock',
    { GET: 'GetPublicAccessBlock', PUT: 'PutPublicAccessBlock', DELETE: 'DeletePublicAccessBlock' },
  ],
  [
    'ownershipControls',
    {
      GET: 'GetBucketOwnershipControls',
      PUT: 'PutBucketOwnershipControls',
      DELETE: 'DeleteBucketOwnershipControls',
    },
  ],
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
  ['encryption', { PUT: 'UpdateObjectEncryption' }],
] as const satisfies readonly Sub[]

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

const namesOf = (subs: readonly Sub[]): ReadonlySet<string> => new Set(subs.map(([name]) => name))
const ofBuckets = namesOf(bucketSubs)
const ofObjects = namesOf(objectSubs)
const operations = new Set<string>([
  ...[...bucketSubs, ...objectSubs].flatMap(([, actions]) => Object.values(actions)),
  ...Object.values(plain).flatMap(actions => Object.values(actions)),
  ...Object.values(copies),
  listV2,
])

/**
 * Refuses sub-resources that the plain operation must not be run for: a PUT of an unknown one would replace the object. A parameter without a
 * value counts as a sub-resource; reads may have other empty parameters.
 */
const assertSubResources = ({ method, bucket, key, query }: RouteInput): void => {
  const [own, others] = key === undefined ? [ofBuckets, ofObjects] : [ofObjects, ofBuckets]
  const writes = method !== 'GET' && method !== 'HEAD'
  for (const [name, value] of query) {
    if (own.has(name)) continue
    const foreign = bucket !== undefined && others.has(name)
    const unknown = writes && value === '' && name !== 'partNumber' && !/^x-(?:amz|obs)-/i.test(name)
    if (isNotBuilt(name) || foreign || unknown) throw refusedSubResource(name, method, query)
  }
}

/**
 * Refuses an operation that is not built and that looks like another one, or like a bucket: what an SDK names so in `x-id`, and the answer of Object
 * Lambda. To be called before the signature is verified: S3 serves some of these on other hosts, and they are signed for another service.
 */
export const assertBuilt = (method: string, path: string, query: Query): void => {
  const objectLambda = 'WriteGetObjectResponse'
  if (method === 'POST' && path === `/${objectLambda}`) throw refusedOperation(objectLambda)
  const named = query.get('x-id') ?? ''
  if (named !== '' && !operations.has(named)) throw refusedOperation(named)
}

/** The action of a request; `NotImplemented` for an operation that is not built, `MethodNotAllowed` for another method. */
export const route = (input: RouteInput): Operation => {
  const { method, bucket, key, query, copySource } = input
  assertSubResources(input)
  const versionId = query.get('versionId') ?? 'null'
  if (versionId !== 'null') {
    throw new SseError('InvalidArgument', {
      message: 'Invalid version id specified. Objects have one version here, null: leave versionId out.',
      details: { ArgumentName: 'versionId', ArgumentValue: versionId },
    })
  }
  if (bucket === undefined) return lookUp(plain.service, method)
  if (key === undefined) {
    for (const [parameter, actions] of bucketSubs) if (query.has(parameter)) return lookUp(actions, method)
    return method === 'GET' && query.get('list-type') === '2' ? listV2 : lookUp(plain.bucket, method)
  }
  const sub = objectSubs.find(([parameter]) => query.has(parameter))
  const action = lookUp(sub?.[1] ?? plain.object, method)
  return copySource && (action === 'PutObject' || action === 'UploadPart') ? copies[action] : action
}
