/**
 * One client's script, step by step, for services that are to be compared: what it asks is the same everywhere, and what it is answered is told
 * in words that are the same wherever the answer means the same.
 */
import * as s3 from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'

/** Who signs. */
export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** A service that the script runs against. */
export interface Service {
  readonly url: string
  /** Two users that have nothing to do with each other. */
  readonly users: readonly [Credentials, Credentials]
  /** Two master keys. */
  readonly keyIds: readonly [string, string]
}

/** What came of a step: the fields of the answer by name, `status` first; of an error its `code`, and no more. */
export type Outcome = ReadonlyMap<string, string>

const region = 'us-east-1'
const md5 = (body: Uint8Array | string): string => createHash('md5').update(body).digest('hex')

const bodies = {
  small: 'a small body',
  other: 'another one',
  empty: '',
  large: Buffer.alloc(300_000, 'large'),
  part: Buffer.alloc(5 * 1_048_576, 'part'),
  tail: 'the last part',
}
const digests = new Set(Object.values(bodies).map(md5))

/** Values that differ from run to run, by the name of their field. */
const namesOfValues = new Map([
  ...['UploadId', 'VersionId', 'CopySourceVersionId', 'NextUploadIdMarker', 'ID'].map(name => [name, 'id'] as const),
  ['NextContinuationToken', 'token'],
  ['ContinuationToken', 'token'],
  ['DisplayName', 'name'],
])

const told = (name: string, value: unknown, { keyIds }: Service): string => {
  if (value instanceof Date) return 'date'
  const text = String(value)
  if (text === '') return '(empty)'
  if (name === 'ETag') {
    const bare = text.replaceAll('"', '')
    return digests.has(bare) ? 'MD5' : bare.replace(/^[0-9a-f]{32}/, 'hex')
  }
  if (name === 'SSEKMSKeyId' || name === 'KMSMasterKeyID') {
    return text.startsWith('arn:') ? 'ARN' : keyIds.some(id => id === text) ? 'as sent' : text
  }
  if (name === 'SSEKMSEncryptionContext') {
    return Object.keys(JSON.parse(Buffer.from(text, 'base64').toString()))
      .sort()
      .join(' and ')
  }
  if (name === 'Location') return /^https?:/.test(text) ? 'URL' : 'path'
  return namesOfValues.get(name) ?? text
}

/** Flattens an answer into fields such as `Contents[0].Key`. */
const flatten = (value: unknown, path: string, name: string, service: Service, into: Map<string, string>): void => {
  if (value === undefined || value === null || name === '$metadata') return
  if (Array.isArray(value)) value.forEach((item, i) => flatten(item, `${path}[${i}]`, name, service, into))
  else if (typeof value === 'object' && !(value instanceof Date)) {
    for (const [field, inner] of Object.entries(value)) {
      flatten(inner, path === '' ? field : `${path}.${field}`, field, service, into)
    }
  } else into.set(path, told(name, value, service))
}

const bodyTold = (bytes: Uint8Array): string => {
  const known = Object.entries(bodies).find(([, body]) => Buffer.compare(Buffer.from(body), bytes) === 0)
  return known === undefined ? `${bytes.length} bytes, ${md5(bytes).slice(0, 6)}` : known[0]
}

const ofResponse = async (response: Response): Promise<Outcome> => {
  const bytes = Buffer.from(await response.arrayBuffer())
  const into = new Map([['status', String(response.status)]])
  const code = /<Code>(.*?)<\/Code>/.exec(bytes.toString())?.[1]
  if (code !== undefined) return into.set('code', code)
  for (const name of ['content-type', 'content-range', 'x-amz-server-side-encryption']) {
    const value = response.headers.get(name)
    if (value !== null) into.set(name, value)
  }
  return bytes.length === 0 ? into : into.set('Body', bodyTold(bytes))
}

/** Runs a step, and tells what came of it. */
const outcomeOf = async (step: Promise<unknown>, service: Service): Promise<Outcome> => {
  try {
    const answer = await step
    if (answer instanceof Response) return await ofResponse(answer)
    const { $metadata, Body, ...fields } = Object(answer)
    const into = new Map([['status', String($metadata.httpStatusCode)]])
    if (Body !== undefined) into.set('Body', bodyTold(await Body.transformToByteArray()))
    flatten(fields, '', '', service, into)
    return into
  } catch (error) {
    const { $response } = Object(error)
    if ($response !== undefined && !(error instanceof s3.S3ServiceException)) {
      return new Map([
        ['status', String($response.statusCode)],
        ['code', 'an answer that the SDK cannot read'],
      ])
    }
    if (!(error instanceof s3.S3ServiceException)) throw error
    const { httpStatusCode } = error.$metadata
    return new Map([
      ['status', String(httpStatusCode)],
      ...(/^[A-Z]/.test(error.name) ? ([['code', error.name]] as const) : []),
    ])
  }
}

/** What a step may use. */
export interface Side extends Service {
  readonly owner: s3.S3Client
  readonly other: s3.S3Client
  /** What goes from step to step: ids, entity tags. */
  readonly kept: Map<string, string>
  /** A client of the first user with other settings, and headers that it signs beside its own, or instead of them. */
  with(config: s3.S3ClientConfig, headers?: Readonly<Record<string, string>>): s3.S3Client
}

/** A step: its name, which is unique, and what it asks: the answer of the SDK, or of `fetch`. */
export type Step = readonly [name: string, run: (side: Side) => Promise<unknown>]

const Bucket = 'bucket'

const put = (Key: string, Body: string | Uint8Array, more: Partial<s3.PutObjectCommandInput> = {}) =>
  new s3.PutObjectCommand({ Bucket, Key, Body, ...more })
const get = (Key: string, more: Partial<s3.GetObjectCommandInput> = {}) =>
  new s3.GetObjectCommand({ Bucket, Key, ...more })
const head = (Key: string, more: Partial<s3.HeadObjectCommandInput> = {}) =>
  new s3.HeadObjectCommand({ Bucket, Key, ...more })
const copy = (from: string, Key: string, more: Partial<s3.CopyObjectCommandInput> = {}) =>
  new s3.CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/${from}`, ...more })
const list = (more: Partial<s3.ListObjectsV2CommandInput> = {}) => new s3.ListObjectsV2Command({ Bucket, ...more })
const list1 = (more: Partial<s3.ListObjectsCommandInput> = {}) => new s3.ListObjectsCommand({ Bucket, ...more })

declare const sdk: s3.S3Client
type Command<Input extends s3.ServiceInputTypes, Output extends s3.ServiceOutputTypes> = Parameters<
  typeof sdk.send<Input, Output>
>[0]

/** A step of the first user. */
const owner = <Input extends s3.ServiceInputTypes, Output extends s3.ServiceOutputTypes>(
  name: string,
  make: (side: Side) => Command<Input, Output>,
): Step => [name, side => side.owner.send(make(side))]

const past = new Date('2001-02-03T04:05:06Z')

const bucketSteps: readonly Step[] = [
  owner('create a bucket', () => new s3.CreateBucketCommand({ Bucket })),
  owner('create it again', () => new s3.CreateBucketCommand({ Bucket })),
  ['create a bucket that another has', ({ other }) => other.send(new s3.CreateBucketCommand({ Bucket }))],
  owner(
    'create a bucket in another region',
    () =>
      new s3.CreateBucketCommand({
        Bucket: 'elsewhere',
        CreateBucketConfiguration: { LocationConstraint: 'eu-west-1' },
      }),
  ),
  owner('create a bucket with a bad name', () => new s3.CreateBucketCommand({ Bucket: 'Bad_Name' })),
  owner('list buckets', () => new s3.ListBucketsCommand({})),
  owner('head of a bucket', () => new s3.HeadBucketCommand({ Bucket })),
  owner('head of a bucket that is not there', () => new s3.HeadBucketCommand({ Bucket: 'none-such' })),
  ["head of another's bucket", ({ other }) => other.send(new s3.HeadBucketCommand({ Bucket }))],
  owner('location of a bucket', () => new s3.GetBucketLocationCommand({ Bucket })),
]

const objectSteps: readonly Step[] = [
  owner('put an object', () =>
    put('k', bodies.small, {
      ContentType: 'text/x-test',
      CacheControl: 'no-cache',
      ContentDisposition: 'attachment',
      ContentEncoding: 'identity',
      ContentLanguage: 'eo',
      Expires: past,
      Metadata: { colour: 'blue' },
    }),
  ),
  owner('head', () => head('k')),
  owner('get', () => get('k')),
  owner('get with overrides', () => get('k', { ResponseContentType: 'text/plain', ResponseCacheControl: 'private' })),
  owner('get of an object that is not there', () => get('none')),
  owner('head of an object that is not there', () => head('none')),
  owner('get of a bucket that is not there', () => new s3.GetObjectCommand({ Bucket: 'none-such', Key: 'k' })),
  ["get of another's object", ({ other }) => other.send(get('k'))],
  owner('put an empty object', () => put('empty', bodies.empty)),
  owner('get an empty object', () => get('empty')),
  owner('range of an empty object', () => get('empty', { Range: 'bytes=0-0' })),
  owner('range: first bytes', () => get('k', { Range: 'bytes=0-3' })),
  owner('range: in the middle', () => get('k', { Range: 'bytes=2-7' })),
  owner('range: to the end', () => get('k', { Range: 'bytes=8-' })),
  owner('range: the last bytes', () => get('k', { Range: 'bytes=-4' })),
  owner('range: longer than the object', () => get('k', { Range: 'bytes=4-999' })),
  owner('range: behind the end', () => get('k', { Range: 'bytes=99-' })),
  owner('range: none of it', () => get('k', { Range: 'bytes=-0' })),
  owner('range: not understood', () => get('k', { Range: 'bytes=7-2' })),
  owner('range: two of them', () => get('k', { Range: 'bytes=0-1,4-5' })),
  owner('head with a range', () => head('k', { Range: 'bytes=0-3' })),
  owner('get part 1 of an object without parts', () => get('k', { PartNumber: 1 })),
  owner('put with an MD5 that is another body’s', () =>
    put('bad', bodies.small, { ContentMD5: Buffer.from(md5('x'), 'hex').toString('base64') }),
  ),
  owner('put with an MD5 that is none', () => put('bad', bodies.small, { ContentMD5: 'bm9uZQ==' })),
  owner('put with a checksum', () => put('sum', bodies.small, { ChecksumAlgorithm: 'SHA256' })),
  owner('head with its checksum', () => head('sum', { ChecksumMode: 'ENABLED' })),
  owner('put with a checksum of another body', () =>
    put('bad', bodies.small, { ChecksumSHA256: createHash('sha256').update('x').digest('base64') }),
  ),
  owner(
    'put a stream with a checksum behind it',
    () =>
      new s3.PutObjectCommand({
        Bucket,
        Key: 'trailer',
        Body: Readable.from([Buffer.from(bodies.small)]),
        ContentLength: bodies.small.length,
        ChecksumAlgorithm: 'CRC32',
      }),
  ),
  owner('put with tags', () => put('tagged', bodies.small, { Tagging: 'a=1&b=2' })),
  owner('head counts tags', () => head('tagged')),
  owner('put with a storage class that is none', () => put('bad', bodies.small, { StorageClass: 'GOLD' as never })),
  owner('put with 3 KiB of metadata', () => put('meta', bodies.small, { Metadata: { long: 'x'.repeat(3000) } })),
  owner('put a key of 1,024 bytes', () => put('x'.repeat(1024), bodies.small)),
  owner('put a key of 1,025 bytes', () => put('x'.repeat(1025), bodies.small)),
  ...['a b+c&d=e', 'ü/ñ/日本', '%41', 'a//b', './a', 'a/../b', 'end/', '*?<>|"'].flatMap((key): readonly Step[] => [
    owner(`put ${key}`, () => put(key, bodies.small)),
    owner(`get ${key}`, () => get(key)),
    owner(`delete ${key}`, () => new s3.DeleteObjectCommand({ Bucket, Key: key })),
  ]),
  owner('delete', () => new s3.DeleteObjectCommand({ Bucket, Key: 'empty' })),
  owner('delete it again', () => new s3.DeleteObjectCommand({ Bucket, Key: 'empty' })),
  ["delete another's object", ({ other }) => other.send(new s3.DeleteObjectCommand({ Bucket, Key: 'k' }))],
  ["put into another's bucket", ({ other }) => other.send(put('k', bodies.other))],
]

const etag = `"${md5(bodies.small)}"`
const future = (): Date => new Date(Date.now() + 3_600_000)

const conditionSteps: readonly Step[] = [
  [
    'when it was modified',
    async ({ owner, kept }) => {
      const found = await owner.send(head('k'))
      kept.set('modified', found.LastModified?.toISOString() ?? '')
      return found
    },
  ],
  owner('get if it is this', () => get('k', { IfMatch: etag })),
  owner('get if it is that', () => get('k', { IfMatch: `"${md5('x')}"` })),
  owner('get if it is not this', () => get('k', { IfNoneMatch: etag })),
  owner('get if it is not that', () => get('k', { IfNoneMatch: `"${md5('x')}"` })),
  owner('get if modified since long ago', () => get('k', { IfModifiedSince: past })),
  owner('get if not modified since long ago', () => get('k', { IfUnmodifiedSince: past })),
  owner('get if modified since just now', ({ kept }) =>
    get('k', { IfModifiedSince: new Date(kept.get('modified') ?? 0) }),
  ),
  owner('get if this, and not modified since long ago', () => get('k', { IfMatch: etag, IfUnmodifiedSince: past })),
  owner('get if not that, and modified since just now', ({ kept }) =>
    get('k', { IfNoneMatch: `"${md5('x')}"`, IfModifiedSince: new Date(kept.get('modified') ?? 0) }),
  ),
  owner('head if it is that', () => head('k', { IfMatch: `"${md5('x')}"` })),
  owner('put if nothing is there, where something is', () => put('k', bodies.other, { IfNoneMatch: '*' })),
  owner('put if nothing is there, where nothing is', () => put('fresh', bodies.other, { IfNoneMatch: '*' })),
  owner('put if it is that', () => put('fresh', bodies.small, { IfMatch: etag })),
  owner('put if it is this', () => put('fresh', bodies.small, { IfMatch: `"${md5(bodies.other)}"` })),
]

const listingSteps: readonly Step[] = [
  [
    'put some objects to list',
    async side => {
      for (const key of ['l/a', 'l/b/1', 'l/b/2', 'l/c d', 'l/ü', 'l/z/1'])
        await side.owner.send(put(key, bodies.small))
      return side.owner.send(put('l/Z', bodies.small))
    },
  ],
  owner('list: all', () => list({ Prefix: 'l/' })),
  owner('list: with owners', () => list({ Prefix: 'l/a', FetchOwner: true })),
  owner('list: with a delimiter', () => list({ Prefix: 'l/', Delimiter: '/' })),
  owner('list: a delimiter of two characters', () => list({ Prefix: 'l/', Delimiter: '/1' })),
  owner('list: names encoded', () => list({ Prefix: 'l/', EncodingType: 'url' })),
  owner('list: an encoding that is none', () => list({ Prefix: 'l/', EncodingType: 'base64' as never })),
  owner('list: after a name', () => list({ Prefix: 'l/', StartAfter: 'l/b/1' })),
  [
    'list: a page of two',
    async ({ owner, kept }) => {
      const page = await owner.send(list({ Prefix: 'l/', Delimiter: '/', MaxKeys: 2 }))
      kept.set('token', page.NextContinuationToken ?? '')
      return page
    },
  ],
  owner('list: the next page', ({ kept }) =>
    list({ Prefix: 'l/', Delimiter: '/', MaxKeys: 2, ContinuationToken: kept.get('token') }),
  ),
  owner('list: a token that is none', () => list({ ContinuationToken: 'none' })),
  owner('list: nothing', () => list({ Prefix: 'l/', MaxKeys: 0 })),
  owner('list: 2,000 at once', () => list({ Prefix: 'l/a', MaxKeys: 2000 })),
  owner('list: fewer than nothing', () => list({ Prefix: 'l/', MaxKeys: -1 })),
  owner('list: a bucket that is not there', () => new s3.ListObjectsV2Command({ Bucket: 'none-such' })),
  ["list another's bucket", ({ other }) => other.send(list())],
  owner('list V1: all', () => list1({ Prefix: 'l/' })),
  owner('list V1: a page with a delimiter', () => list1({ Prefix: 'l/', Delimiter: '/', MaxKeys: 2 })),
  owner('list V1: a page without one', () => list1({ Prefix: 'l/', MaxKeys: 2 })),
  owner('list V1: from a marker', () => list1({ Prefix: 'l/', Delimiter: '/', Marker: 'l/b/' })),
  owner('list versions', () => new s3.ListObjectVersionsCommand({ Bucket, Prefix: 'l/', MaxKeys: 2 })),
]

/** Steps of an upload in two parts; what encrypts it goes into the first request, what opens it into each, Complete included unless it is told. */
const uploadSteps = (
  what: string,
  Key: string,
  first: (side: Side) => Partial<s3.CreateMultipartUploadCommandInput>,
  each: Partial<ReturnType<typeof customer>> = {},
  complete: typeof each = each,
): readonly Step[] => {
  const part = (PartNumber: number, Body: string | Uint8Array): Step => [
    `${what}: part ${PartNumber}`,
    async ({ owner, kept }) => {
      const UploadId = kept.get(Key)
      const done = await owner.send(new s3.UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body, ...each }))
      kept.set(`${Key} ${PartNumber}`, done.ETag ?? '')
      return done
    },
  ]
  return [
    [
      `${what}: initiate`,
      async side => {
        const upload = await side.owner.send(new s3.CreateMultipartUploadCommand({ Bucket, Key, ...first(side) }))
        side.kept.set(Key, upload.UploadId ?? '')
        return upload
      },
    ],
    part(1, bodies.part),
    part(2, bodies.tail),
    owner(`${what}: complete`, side => completion(side, Key, [1, 2], complete)),
    owner(`${what}: head`, () => head(Key, each)),
    owner(`${what}: a range over both parts`, () => get(Key, { ...each, Range: 'bytes=5242875-5242885' })),
  ]
}

const completion = (
  { kept }: Side,
  Key: string,
  numbers: readonly number[],
  more: Partial<s3.CompleteMultipartUploadCommandInput> = {},
): s3.CompleteMultipartUploadCommand =>
  new s3.CompleteMultipartUploadCommand({
    Bucket,
    Key,
    UploadId: kept.get(Key),
    ...more,
    MultipartUpload: { Parts: numbers.map(n => ({ PartNumber: n, ETag: kept.get(`${Key} ${n}`) ?? etag })) },
  })

const multipartSteps: readonly Step[] = [
  ...uploadSteps('multipart', 'mp', () => ({ ContentType: 'text/x-test', Metadata: { colour: 'blue' } })),
  owner('multipart: complete it again', side => completion(side, 'mp', [1, 2])),
  owner('multipart: get part 2', () => get('mp', { PartNumber: 2 })),
  owner('multipart: get part 3', () => get('mp', { PartNumber: 3 })),
  owner('multipart: head of part 1', () => head('mp', { PartNumber: 1 })),
  [
    'multipart: initiate another',
    async ({ owner, kept }) => {
      const upload = await owner.send(new s3.CreateMultipartUploadCommand({ Bucket, Key: 'mq' }))
      kept.set('mq', upload.UploadId ?? '')
      return upload
    },
  ],
  owner('multipart: complete without parts', side => completion(side, 'mq', [])),
  ...[1, 2, 3].map((n): Step => [
    `multipart: small part ${n}`,
    async ({ owner, kept }) => {
      const command = { Bucket, Key: 'mq', UploadId: kept.get('mq'), PartNumber: n, Body: bodies.small }
      const done = await owner.send(new s3.UploadPartCommand(command))
      kept.set(`mq ${n}`, done.ETag ?? '')
      return done
    },
  ]),
  owner(
    'multipart: list parts',
    ({ kept }) => new s3.ListPartsCommand({ Bucket, Key: 'mq', UploadId: kept.get('mq') }),
  ),
  owner(
    'multipart: list a page of parts',
    ({ kept }) =>
      new s3.ListPartsCommand({ Bucket, Key: 'mq', UploadId: kept.get('mq'), MaxParts: 1, PartNumberMarker: '1' }),
  ),
  owner('multipart: list uploads', () => new s3.ListMultipartUploadsCommand({ Bucket })),
  owner('multipart: complete with small parts', side => completion(side, 'mq', [1, 2])),
  owner('multipart: complete in the wrong order', side => completion(side, 'mq', [2, 1])),
  owner('multipart: complete with a part that is not there', side => completion(side, 'mq', [7])),
  owner(
    'multipart: complete with another ETag',
    ({ kept }) =>
      new s3.CompleteMultipartUploadCommand({
        Bucket,
        Key: 'mq',
        UploadId: kept.get('mq'),
        MultipartUpload: { Parts: [{ PartNumber: 1, ETag: `"${md5('x')}"` }] },
      }),
  ),
  owner(
    'multipart: part from an object',
    ({ kept }) =>
      new s3.UploadPartCopyCommand({
        Bucket,
        Key: 'mq',
        UploadId: kept.get('mq'),
        PartNumber: 4,
        CopySource: `${Bucket}/mp`,
      }),
  ),
  owner(
    'multipart: part from a range of an object',
    ({ kept }) =>
      new s3.UploadPartCopyCommand({
        ...{ Bucket, Key: 'mq', UploadId: kept.get('mq'), PartNumber: 5, CopySource: `${Bucket}/k` },
        CopySourceRange: 'bytes=0-3',
      }),
  ),
  owner(
    'multipart: part from a range that is not there',
    ({ kept }) =>
      new s3.UploadPartCopyCommand({
        ...{ Bucket, Key: 'mq', UploadId: kept.get('mq'), PartNumber: 6, CopySource: `${Bucket}/k` },
        CopySourceRange: 'bytes=0-999',
      }),
  ),
  owner(
    'multipart: part 0',
    ({ kept }) =>
      new s3.UploadPartCommand({ Bucket, Key: 'mq', UploadId: kept.get('mq'), PartNumber: 0, Body: bodies.small }),
  ),
  owner(
    'multipart: part 10,001',
    ({ kept }) =>
      new s3.UploadPartCommand({ Bucket, Key: 'mq', UploadId: kept.get('mq'), PartNumber: 10_001, Body: bodies.small }),
  ),
  owner(
    'multipart: abort',
    ({ kept }) => new s3.AbortMultipartUploadCommand({ Bucket, Key: 'mq', UploadId: kept.get('mq') }),
  ),
  owner(
    'multipart: abort it again',
    ({ kept }) => new s3.AbortMultipartUploadCommand({ Bucket, Key: 'mq', UploadId: kept.get('mq') }),
  ),
  owner(
    'multipart: part of an upload that is not there',
    ({ kept }) =>
      new s3.UploadPartCommand({ Bucket, Key: 'mq', UploadId: kept.get('mq'), PartNumber: 1, Body: bodies.small }),
  ),
]

const copySteps: readonly Step[] = [
  owner('copy', () => copy('k', 'copied')),
  owner('copy: head', () => head('copied')),
  owner('copy an object in parts', () => copy('mp', 'copied-mp')),
  owner('copy with other metadata', () =>
    copy('k', 'copied', { MetadataDirective: 'REPLACE', ContentType: 'text/plain', Metadata: { colour: 'red' } }),
  ),
  owner('copy with other metadata: head', () => head('copied')),
  owner('copy onto itself', () => copy('k', 'k')),
  owner('copy onto itself with other metadata', () =>
    copy('k', 'k', { MetadataDirective: 'REPLACE', ContentType: 'text/x-test', Metadata: { colour: 'green' } }),
  ),
  owner('copy of an object that is not there', () => copy('none', 'copied')),
  owner('copy from a bucket that is not there', () => copy('k', 'copied', { CopySource: 'none-such/k' })),
  owner('copy if the source is this', () => copy('k', 'copied', { CopySourceIfMatch: etag })),
  owner('copy if the source is that', () => copy('k', 'copied', { CopySourceIfMatch: `"${md5('x')}"` })),
  owner('copy if the source is not this', () => copy('k', 'copied', { CopySourceIfNoneMatch: etag })),
  owner('copy if the source is newer than now', () => copy('k', 'copied', { CopySourceIfModifiedSince: future() })),
  owner('copy with its tags', () => copy('tagged', 'copied')),
  owner('copy with its tags: they came along', () => new s3.GetObjectTaggingCommand({ Bucket, Key: 'copied' })),
  owner('copy with other tags', () => copy('tagged', 'copied', { TaggingDirective: 'REPLACE', Tagging: 'c=3' })),
  owner('copy with other tags: these', () => new s3.GetObjectTaggingCommand({ Bucket, Key: 'copied' })),
  ["copy another's object", ({ other }) => other.send(copy('k', 'stolen'))],
]

const tagSet = (count: number): s3.Tagging => ({
  TagSet: Array.from({ length: count }, (_, i) => ({ Key: `k${i}`, Value: `v${i}` })),
})

const settingSteps: readonly Step[] = [
  owner('object tags: put', () => new s3.PutObjectTaggingCommand({ Bucket, Key: 'k', Tagging: tagSet(2) })),
  owner('object tags: get', () => new s3.GetObjectTaggingCommand({ Bucket, Key: 'k' })),
  owner('object tags: eleven', () => new s3.PutObjectTaggingCommand({ Bucket, Key: 'k', Tagging: tagSet(11) })),
  owner(
    'object tags: one key twice',
    () =>
      new s3.PutObjectTaggingCommand({
        ...{ Bucket, Key: 'k' },
        Tagging: {
          TagSet: [
            { Key: 'a', Value: '1' },
            { Key: 'a', Value: '2' },
          ],
        },
      }),
  ),
  owner('object tags: delete', () => new s3.DeleteObjectTaggingCommand({ Bucket, Key: 'k' })),
  owner('object tags: get none', () => new s3.GetObjectTaggingCommand({ Bucket, Key: 'k' })),
  owner('object tags: of an object that is not there', () => new s3.GetObjectTaggingCommand({ Bucket, Key: 'none' })),
  owner('bucket tags: get none', () => new s3.GetBucketTaggingCommand({ Bucket })),
  owner('bucket tags: put', () => new s3.PutBucketTaggingCommand({ Bucket, Tagging: tagSet(2) })),
  owner('bucket tags: get', () => new s3.GetBucketTaggingCommand({ Bucket })),
  owner('bucket tags: delete', () => new s3.DeleteBucketTaggingCommand({ Bucket })),
  owner('bucket ACL: get', () => new s3.GetBucketAclCommand({ Bucket })),
  owner('object ACL: get', () => new s3.GetObjectAclCommand({ Bucket, Key: 'k' })),
  ['anonymous get', ({ url }) => fetch(`${url}/${Bucket}/k`)],
  ['anonymous get of an object that is not there', ({ url }) => fetch(`${url}/${Bucket}/none`)],
  ['anonymous listing', ({ url }) => fetch(`${url}/${Bucket}`)],
  ['anonymous put', ({ url }) => fetch(`${url}/${Bucket}/k`, { method: 'PUT', body: 'x' })],
  owner('object ACL: put public-read', () => new s3.PutObjectAclCommand({ Bucket, Key: 'k', ACL: 'public-read' })),
  owner('object ACL: get public-read', () => new s3.GetObjectAclCommand({ Bucket, Key: 'k' })),
  ['anonymous get of a public object', ({ url }) => fetch(`${url}/${Bucket}/k`)],
  owner('object ACL: one that is none', () => new s3.PutObjectAclCommand({ Bucket, Key: 'k', ACL: 'odd' as never })),
  owner('object ACL: put private', () => new s3.PutObjectAclCommand({ Bucket, Key: 'k', ACL: 'private' })),
  owner('bucket ACL: put public-read', () => new s3.PutBucketAclCommand({ Bucket, ACL: 'public-read' })),
  ['anonymous head of a public bucket', ({ url }) => fetch(`${url}/${Bucket}`, { method: 'HEAD' })],
  ["list another's public bucket", ({ other }) => other.send(list({ Prefix: 'l/a' }))],
  ["get another's private object in a public bucket", ({ other }) => other.send(get('k'))],
  owner('bucket ACL: put private', () => new s3.PutBucketAclCommand({ Bucket, ACL: 'private' })),
]

const policy = (statement: object): s3.PutBucketPolicyCommand =>
  new s3.PutBucketPolicyCommand({
    Bucket,
    Policy: JSON.stringify({ Version: '2012-10-17', Statement: [{ Principal: '*', ...statement }] }),
  })

const policySteps: readonly Step[] = [
  owner('policy: get none', () => new s3.GetBucketPolicyCommand({ Bucket })),
  owner('policy: put, anyone may get', () =>
    policy({ Effect: 'Allow', Action: 's3:GetObject', Resource: `arn:aws:s3:::${Bucket}/*` }),
  ),
  owner('policy: get', () => new s3.GetBucketPolicyCommand({ Bucket })),
  ['policy: anonymous get', ({ url }) => fetch(`${url}/${Bucket}/k`)],
  ["policy: get another's object", ({ other }) => other.send(get('l/a'))],
  ["policy: list another's bucket", ({ other }) => other.send(list())],
  owner('policy: put one that is no JSON', () => new s3.PutBucketPolicyCommand({ Bucket, Policy: '{' })),
  owner('policy: put one with an effect that is none', () =>
    policy({ Effect: 'Perhaps', Action: 's3:GetObject', Resource: `arn:aws:s3:::${Bucket}/*` }),
  ),
  owner('policy: put one for another bucket', () =>
    policy({ Effect: 'Allow', Action: 's3:GetObject', Resource: 'arn:aws:s3:::elsewhere/*' }),
  ),
  owner('policy: deny puts without aws:kms', () =>
    policy({
      Effect: 'Deny',
      Action: 's3:PutObject',
      Resource: `arn:aws:s3:::${Bucket}/*`,
      Condition: { StringNotEquals: { 's3:x-amz-server-side-encryption': 'aws:kms' } },
    }),
  ),
  owner('policy: put without aws:kms', () => put('p', bodies.small)),
  owner('policy: put with aws:kms', ({ keyIds }) => put('p', bodies.small, kms(keyIds[0]))),
  owner('policy: delete', () => new s3.DeleteBucketPolicyCommand({ Bucket })),
  owner('policy: delete it again', () => new s3.DeleteBucketPolicyCommand({ Bucket })),
]

const publicRead = { Effect: 'Allow', Action: 's3:GetObject', Resource: `arn:aws:s3:::${Bucket}/*` }

const publicSteps: readonly Step[] = [
  owner('public access block: get none', () => new s3.GetPublicAccessBlockCommand({ Bucket })),
  owner('is the policy public: none', () => new s3.GetBucketPolicyStatusCommand({ Bucket })),
  owner('public access block: put', () => {
    const PublicAccessBlockConfiguration = { BlockPublicAcls: true, BlockPublicPolicy: true }
    return new s3.PutPublicAccessBlockCommand({ Bucket, PublicAccessBlockConfiguration })
  }),
  owner('public access block: get', () => new s3.GetPublicAccessBlockCommand({ Bucket })),
  owner('public access block: a public ACL of the bucket', () => {
    return new s3.PutBucketAclCommand({ Bucket, ACL: 'public-read' })
  }),
  owner('public access block: a public ACL of an object', () => {
    return new s3.PutObjectAclCommand({ Bucket, Key: 'k', ACL: 'authenticated-read' })
  }),
  owner('public access block: an object with a public ACL', () => put('b', bodies.small, { ACL: 'public-read' })),
  owner('public access block: a public policy', () => policy(publicRead)),
  owner('public access block: delete', () => new s3.DeletePublicAccessBlockCommand({ Bucket })),
  owner('is the policy public: put one', () => policy(publicRead)),
  owner('is the policy public: yes', () => new s3.GetBucketPolicyStatusCommand({ Bucket })),
  owner('is the policy public: put one for addresses', () => {
    return policy({ ...publicRead, Condition: { IpAddress: { 'aws:SourceIp': '192.0.2.0/24' } } })
  }),
  owner('is the policy public: no', () => new s3.GetBucketPolicyStatusCommand({ Bucket })),
  owner('is the policy public: delete it', () => new s3.DeleteBucketPolicyCommand({ Bucket })),
]

const kms = (SSEKMSKeyId?: string) => ({ ServerSideEncryption: 'aws:kms', SSEKMSKeyId }) as const
const customer = (byte: number) => {
  const key = Buffer.alloc(32, byte)
  return {
    SSECustomerAlgorithm: 'AES256',
    SSECustomerKey: key.toString('base64'),
    SSECustomerKeyMD5: Buffer.from(md5(key), 'hex').toString('base64'),
  }
}
const customerSource = (byte: number) => {
  const { SSECustomerAlgorithm, SSECustomerKey, SSECustomerKeyMD5 } = customer(byte)
  return {
    CopySourceSSECustomerAlgorithm: SSECustomerAlgorithm,
    CopySourceSSECustomerKey: SSECustomerKey,
    CopySourceSSECustomerKeyMD5: SSECustomerKeyMD5,
  }
}

const encryption = (...rules: readonly s3.ServerSideEncryptionRule[]): s3.PutBucketEncryptionCommand =>
  new s3.PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration: { Rules: [...rules] } })
const rule = (SSEAlgorithm: s3.ServerSideEncryption, KMSMasterKeyID?: string): s3.ServerSideEncryptionRule => ({
  ApplyServerSideEncryptionByDefault: { SSEAlgorithm, KMSMasterKeyID },
})

const kmsSteps: readonly Step[] = [
  owner('SSE-KMS: put', ({ keyIds }) => put('kms', bodies.large, kms(keyIds[0]))),
  owner('SSE-KMS: head', () => head('kms')),
  owner('SSE-KMS: get', () => get('kms')),
  owner('SSE-KMS: a range', () => get('kms', { Range: 'bytes=65530-65545' })),
  ['SSE-KMS: anonymous get', ({ url }) => fetch(`${url}/${Bucket}/kms`)],
  owner('SSE-KMS: put without a key id', () => put('kms-default', bodies.small, kms())),
  owner('SSE-KMS: put with a key that is not there', () => put('bad', bodies.small, kms('none-such'))),
  owner('SSE-KMS: put with a bucket key', ({ keyIds }) =>
    put('kms-bucket-key', bodies.small, { ...kms(keyIds[0]), BucketKeyEnabled: true }),
  ),
  owner('SSE-KMS: put with a context', ({ keyIds }) =>
    put('kms-context', bodies.small, {
      ...kms(keyIds[0]),
      SSEKMSEncryptionContext: Buffer.from('{"a":"b"}').toString('base64'),
    }),
  ),
  owner('SSE-KMS: get with a context', () => get('kms-context')),
  owner('SSE-KMS: put with a context that is no JSON', ({ keyIds }) =>
    put('bad', bodies.small, { ...kms(keyIds[0]), SSEKMSEncryptionContext: 'bm9uZQ==' }),
  ),
  owner('SSE-KMS: key id with AES256', ({ keyIds }) =>
    put('bad', bodies.small, { ServerSideEncryption: 'AES256', SSEKMSKeyId: keyIds[0] }),
  ),
  owner('SSE-KMS: key id alone', ({ keyIds }) => put('bad', bodies.small, { SSEKMSKeyId: keyIds[0] })),
  owner('SSE: an algorithm that is none', () =>
    put('bad', bodies.small, { ServerSideEncryption: 'rot13' as s3.ServerSideEncryption }),
  ),
  owner('SSE: aws:kms:dsse', () => put('bad', bodies.small, { ServerSideEncryption: 'aws:kms:dsse' })),
  ['SSE-KMS: header on get', side => side.with({}, { 'x-amz-server-side-encryption': 'aws:kms' }).send(get('kms'))],
  owner('SSE-KMS: copy to it', ({ keyIds }) => copy('k', 'kms-copy', kms(keyIds[1]))),
  owner('SSE-KMS: copy to it: head', () => head('kms-copy')),
  owner('SSE-KMS: copy from it', () => copy('kms', 'plain-copy')),
  owner('SSE-KMS: copy from it: get', () => get('plain-copy')),
  owner('SSE-KMS: copy to another key', ({ keyIds }) => copy('kms', 'kms-copy', kms(keyIds[1]))),
  owner('SSE-KMS: copy to another key: get', () => get('kms-copy')),
  ...uploadSteps('SSE-KMS: multipart', 'kms-mp', ({ keyIds }) => kms(keyIds[0])),
  [
    'SSE-KMS: presigned put',
    async ({ owner, keyIds }) => {
      const command = put('kms-presigned', bodies.small, kms(keyIds[0]))
      const unhoistableHeaders = new Set([
        'x-amz-server-side-encryption',
        'x-amz-server-side-encryption-aws-kms-key-id',
      ])
      const signed = await getSignedUrl(owner, command, { unhoistableHeaders })
      const headers = {
        'x-amz-server-side-encryption': 'aws:kms',
        'x-amz-server-side-encryption-aws-kms-key-id': keyIds[0],
      }
      return fetch(signed, { method: 'PUT', body: bodies.small, headers })
    },
  ],
  owner('SSE-KMS: presigned put: head', () => head('kms-presigned')),
  owner('SSE-S3: put', () => put('s3', bodies.small, { ServerSideEncryption: 'AES256' })),
  owner('SSE-S3: head', () => head('s3')),
  owner('bucket encryption: get none', () => new s3.GetBucketEncryptionCommand({ Bucket })),
  owner('bucket encryption: put aws:kms', ({ keyIds }) => encryption(rule('aws:kms', keyIds[0]))),
  owner('bucket encryption: get', () => new s3.GetBucketEncryptionCommand({ Bucket })),
  owner('bucket encryption: put an object', () => put('by-default', bodies.small)),
  owner('bucket encryption: head of it', () => head('by-default')),
  owner('bucket encryption: put two rules', () => encryption(rule('AES256'), rule('AES256'))),
  owner('bucket encryption: put a key id with AES256', ({ keyIds }) => encryption(rule('AES256', keyIds[0]))),
  owner('bucket encryption: delete', () => new s3.DeleteBucketEncryptionCommand({ Bucket })),
  owner('bucket encryption: delete it again', () => new s3.DeleteBucketEncryptionCommand({ Bucket })),
]

const customerSteps: readonly Step[] = [
  owner('SSE-C: put', () => put('c', bodies.large, customer(1))),
  owner('SSE-C: head', () => head('c', customer(1))),
  owner('SSE-C: get', () => get('c', customer(1))),
  owner('SSE-C: a range', () => get('c', { ...customer(1), Range: 'bytes=65530-65545' })),
  owner('SSE-C: get without a key', () => get('c')),
  owner('SSE-C: head without a key', () => head('c')),
  owner('SSE-C: get with another key', () => get('c', customer(2))),
  owner('SSE-C: get of an object without', () => get('k', customer(1))),
  [
    'SSE-C: put with the MD5 of another key',
    side => {
      const { SSECustomerKeyMD5 } = customer(2)
      const other = side.with({}, { 'x-amz-server-side-encryption-customer-key-MD5': SSECustomerKeyMD5 })
      return other.send(put('bad', bodies.small, customer(1)))
    },
  ],
  owner('SSE-C: put with another algorithm', () =>
    put('bad', bodies.small, { ...customer(1), SSECustomerAlgorithm: 'AES128' }),
  ),
  owner('SSE-C: together with SSE-KMS', () => put('bad', bodies.small, { ...customer(1), ...kms() })),
  owner('SSE-C: copy from it', () => copy('c', 'c-plain', customerSource(1))),
  owner('SSE-C: copy from it: get', () => get('c-plain')),
  owner('SSE-C: copy from it without a key', () => copy('c', 'c-plain')),
  owner('SSE-C: copy to another key', () => copy('c', 'c-copy', { ...customerSource(1), ...customer(2) })),
  owner('SSE-C: copy to another key: get', () => get('c-copy', customer(2))),
  owner('SSE-C: copy from it to SSE-KMS', ({ keyIds }) =>
    copy('c', 'c-kms', { ...customerSource(1), ...kms(keyIds[0]) }),
  ),
  owner('SSE-C: copy from it to SSE-KMS: get', () => get('c-kms')),
  ...uploadSteps('SSE-C: multipart', 'c-mp', () => customer(1), customer(1)),
  ...uploadSteps('SSE-C: multipart, Complete without the key', 'c-mp2', () => customer(1), customer(1), {}),
]

const requestSteps: readonly Step[] = [
  ['presigned get', async ({ owner }) => fetch(await getSignedUrl(owner, get('k'), { expiresIn: 60 }))],
  [
    'presigned get with a range',
    async ({ owner }) => fetch(await getSignedUrl(owner, get('k')), { headers: { range: 'bytes=0-3' } }),
  ],
  [
    'presigned get that has expired',
    async ({ owner }) =>
      fetch(await getSignedUrl(owner, get('k'), { expiresIn: 60, signingDate: new Date(Date.now() - 3_600_000) })),
  ],
  [
    'presigned get of another object',
    async ({ owner }) => fetch((await getSignedUrl(owner, get('k'))).replace('/k?', '/l/a?')),
  ],
  [
    'presigned put',
    async ({ owner }) =>
      fetch(await getSignedUrl(owner, put('presigned', bodies.small)), { method: 'PUT', body: bodies.small }),
  ],
  [
    'presigned get sent as a put',
    async ({ owner }) => fetch(await getSignedUrl(owner, get('k')), { method: 'PUT', body: 'x' }),
  ],
  owner(
    'delete many',
    () => new s3.DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'copied' }, { Key: 'none' }] } }),
  ),
  owner(
    'delete many, quietly',
    () =>
      new s3.DeleteObjectsCommand({ Bucket, Delete: { Quiet: true, Objects: [{ Key: 'copied' }, { Key: 'none' }] } }),
  ),
  owner('delete none of many', () => new s3.DeleteObjectsCommand({ Bucket, Delete: { Objects: [] } })),
  [
    "delete many of another's",
    ({ other }) => other.send(new s3.DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'k' }] } })),
  ],
  owner(
    'attributes of an object',
    () =>
      new s3.GetObjectAttributesCommand({
        Bucket,
        Key: 'mp',
        ObjectAttributes: ['ETag', 'ObjectSize', 'ObjectParts', 'StorageClass'],
      }),
  ),
  [
    'a user that is not there',
    side => side.with({ credentials: { accessKeyId: 'nobody', secretAccessKey: 'x' } }).send(get('k')),
  ],
  [
    'a secret that is wrong',
    side => side.with({ credentials: { ...side.users[0], secretAccessKey: 'wrong' } }).send(get('k')),
  ],
  ['a clock that is an hour behind', side => side.with({ systemClockOffset: -3_600_000 }).send(get('k'))],
  ['a region that is another', side => side.with({ region: 'eu-west-1' }).send(get('k'))],
  ['a method that is none', ({ url }) => fetch(`${url}/${Bucket}/k`, { method: 'PATCH' })],
  [
    'a signature that is none',
    ({ url }) => fetch(`${url}/${Bucket}/k`, { headers: { authorization: 'AWS4-HMAC-SHA256 no' } }),
  ],
  owner('versioning: get', () => new s3.GetBucketVersioningCommand({ Bucket })),
  owner(
    'versioning: enable',
    () => new s3.PutBucketVersioningCommand({ Bucket: 'settings', VersioningConfiguration: { Status: 'Enabled' } }),
  ),
  owner('get of a version that is not there', () => get('k', { VersionId: 'none' })),
  owner('CORS: get none', () => new s3.GetBucketCorsCommand({ Bucket })),
  owner('lifecycle: get none', () => new s3.GetBucketLifecycleConfigurationCommand({ Bucket })),
  owner('website: get none', () => new s3.GetBucketWebsiteCommand({ Bucket })),
  owner('object lock: get none', () => new s3.GetObjectLockConfigurationCommand({ Bucket })),
  owner('replication: get none', () => new s3.GetBucketReplicationCommand({ Bucket })),
  owner('notifications: get', () => new s3.GetBucketNotificationConfigurationCommand({ Bucket })),
  owner('logging: get', () => new s3.GetBucketLoggingCommand({ Bucket })),
  owner('who pays for requests', () => new s3.GetBucketRequestPaymentCommand({ Bucket })),
  owner('delete a bucket that is not empty', () => new s3.DeleteBucketCommand({ Bucket })),
  owner('delete a bucket that is not there', () => new s3.DeleteBucketCommand({ Bucket: 'none-such' })),
]

/** All steps, in their order. */
export const script: readonly Step[] = [
  ...bucketSteps,
  ...objectSteps,
  ...conditionSteps,
  ...listingSteps,
  ...multipartSteps,
  ...copySteps,
  ...settingSteps,
  ...policySteps,
  ...publicSteps,
  ...kmsSteps,
  ...customerSteps,
  ...requestSteps,
]

/** Runs the script: what came of each step. */
export const runScript = async (service: Service): Promise<ReadonlyMap<string, Outcome>> => {
  const clients: s3.S3Client[] = []
  const client = (credentials: Credentials, config: s3.S3ClientConfig = {}): s3.S3Client => {
    const made = new s3.S3Client({
      ...{ endpoint: service.url, region, forcePathStyle: true, credentials, maxAttempts: 1 },
      ...{ requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED' },
      ...config,
    })
    clients.push(made)
    return made
  }
  const [first, second] = service.users
  const side: Side = {
    ...service,
    owner: client(first),
    other: client(second),
    kept: new Map(),
    with: (config, headers = {}) => {
      const made = client(first, config)
      made.middlewareStack.add(
        next => args => {
          Object.assign(Object(Object(args).request).headers, headers)
          return next(args)
        },
        { step: 'build', priority: 'low' },
      )
      return made
    },
  }
  const outcomes = new Map<string, Outcome>()
  for (const [name, step] of script) {
    const asked = step(side)
    outcomes.set(name, await outcomeOf(asked, service))
  }
  for (const made of clients) made.destroy()
  return outcomes
}
