/** ListObjects, ListObjectsV2, ListObjectVersions: pages of a bucket's keys in byte order, common prefixes rolled up. */
import { base64url, utf8 } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { refuseOnOther } from '../../sse/request.ts'
import type { Tenant } from '../../sse/profile.ts'
import type { ObjectSummary } from '../../store/records.ts'
import { answerXml } from '../http/answer.ts'
import { listedChecksumXml } from '../objects/checksums.ts'
import { type GatewayRequest, openBucket } from '../request.ts'
import { continuationToken, encoderOf, limitOf } from '../http/parameters.ts'
import { answeredTime } from '../http/time.ts'

/** A page, and what all three answers have in common. */
interface Listing {
  readonly owner: Tenant
  /** Writes a key as the client wants it. */
  readonly encode: (key: string) => string
  readonly delimited: boolean
  readonly entries: readonly { readonly key: string; readonly record: ObjectSummary }[]
  readonly prefixes: readonly string[]
  /** Where the next page begins, if there is one. */
  readonly next: string | undefined
  readonly common: Readonly<Record<string, string | number | boolean | undefined>>
}

/** Decides, then reads a page; `afterOf` says behind which key it begins. */
const list = async (
  request: GatewayRequest,
  permission: string,
  afterOf: () => string | undefined,
): Promise<Listing> => {
  const { bucket, owner } = await openBucket(request, permission)
  refuseOnOther('list', request.header)
  const limit = limitOf(request, 'max-keys')
  const encode = encoderOf(request)
  const after = afterOf()
  const prefix = request.query.get('prefix') ?? ''
  const delimiter = request.query.get('delimiter') || undefined
  const page = await request.services.store.listObjects(bucket.id, { prefix, delimiter, after, limit })
  return {
    owner,
    encode,
    delimited: delimiter !== undefined,
    entries: page.entries,
    prefixes: page.prefixes,
    next: page.next,
    common: {
      Name: bucket.name,
      Prefix: encode(prefix),
      MaxKeys: limit,
      Delimiter: delimiter === undefined ? undefined : encode(delimiter),
      EncodingType: request.query.get('encoding-type'),
      IsTruncated: page.truncated,
    },
  }
}

/** Objects of a page, with their owner and version where the client gets to see them. */
const contents = ({ entries, encode, owner }: Listing, showOwner: boolean, showVersion = false) =>
  entries.map(({ key, record }) => ({
    Key: encode(key),
    LastModified: answeredTime(record.modified),
    ETag: `"${record.etag}"`,
    ...listedChecksumXml(record.notes),
    Size: record.size,
    StorageClass: 'STANDARD',
    Owner: showOwner ? { ID: owner.domainId, DisplayName: owner.domainId } : undefined,
    VersionId: showVersion ? 'null' : undefined,
    IsLatest: showVersion || undefined,
  }))

const commonPrefixes = ({ prefixes, encode }: Listing) => prefixes.map(prefix => ({ Prefix: encode(prefix) }))

/** A page in the first form: markers are keys. */
export const listObjects = async (request: GatewayRequest): Promise<void> => {
  const marker = request.query.get('marker') ?? ''
  const listing = await list(request, 's3:ListBucket', () => marker)
  const { common, delimited, encode, next } = listing
  answerXml(request.res, 'ListBucketResult', {
    ...common,
    Marker: encode(marker),
    // Without a delimiter clients take the last key, as S3 has it.
    NextMarker: delimited && next !== undefined ? encode(next) : undefined,
    Contents: contents(listing, true),
    CommonPrefixes: commonPrefixes(listing),
  })
}

/** A page in the second form: tokens are opaque, and owners shown when they are asked for. */
export const listObjectsV2 = async (request: GatewayRequest): Promise<void> => {
  const startAfter = request.query.get('start-after')
  const listing = await list(request, 's3:ListBucket', () => continuationToken(request) ?? startAfter)
  const { common, encode, entries, prefixes, next } = listing
  answerXml(request.res, 'ListBucketResult', {
    ...common,
    KeyCount: entries.length + prefixes.length,
    StartAfter: startAfter === undefined ? undefined : encode(startAfter),
    ContinuationToken: request.query.get('continuation-token'),
    NextContinuationToken: next === undefined ? undefined : base64url(utf8(next)),
    Contents: contents(listing, request.query.get('fetch-owner') === 'true'),
    CommonPrefixes: commonPrefixes(listing),
  })
}

/** A page of versions: every object has the one that is called `null`. */
export const listObjectVersions = async (request: GatewayRequest): Promise<void> => {
  const marker = request.query.get('key-marker') ?? ''
  const idMarker = request.query.get('version-id-marker') ?? ''
  const listing = await list(request, 's3:ListBucketVersions', () => {
    if (idMarker === '' || marker !== '') return marker
    throw new SseError('InvalidArgument', {
      message: 'A version-id marker cannot be specified without a key marker. Send both.',
      details: { ArgumentName: 'version-id-marker', ArgumentValue: idMarker },
    })
  })
  const { common, encode, next } = listing
  answerXml(request.res, 'ListVersionsResult', {
    ...common,
    KeyMarker: encode(marker),
    VersionIdMarker: idMarker,
    NextKeyMarker: next === undefined ? undefined : encode(next),
    NextVersionIdMarker: next === undefined ? undefined : 'null',
    Version: contents(listing, true, true),
    CommonPrefixes: commonPrefixes(listing),
  })
}
