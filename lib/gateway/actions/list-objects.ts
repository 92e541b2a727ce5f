/** ListObjects, ListObjectsV2, ListObjectVersions: pages of a bucket's keys in byte order, common prefixes rolled up. */
import { base64url, utf8 } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { refuseOnOther } from '../../sse/request.ts'
import type { Tenant } from '../../sse/profile.ts'
import type { ObjectSummary } from '../../store/store.ts'
import { answerXml } from '../http/answer.ts'
import type { GatewayRequest } from '../context.ts'
import { continuationToken, encoderOf, limitOf } from '../parameters.ts'

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
const list = async (ctx: GatewayRequest, permission: string, afterOf: () => string | undefined): Promise<Listing> => {
  const { bucket, owner } = await ctx.openBucket(permission)
  refuseOnOther('list', ctx.header)
  const limit = limitOf(ctx, 'max-keys')
  const encode = encoderOf(ctx)
  const after = afterOf()
  const prefix = ctx.query.get('prefix') ?? ''
  const delimiter = ctx.query.get('delimiter') || undefined
  const page = await ctx.options.store.listObjects(bucket.name, { prefix, delimiter, after, limit })
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
      EncodingType: ctx.query.get('encoding-type'),
      IsTruncated: page.truncated,
    },
  }
}

/** Objects of a page, with their owner and version where the client gets to see them. */
const contents = ({ entries, encode, owner }: Listing, showOwner: boolean, showVersion = false) =>
  entries.map(({ key, record }) => ({
    Key: encode(key),
    LastModified: new Date(record.modified).toISOString(),
    ETag: `"${record.etag}"`,
    Size: record.size,
    StorageClass: 'STANDARD',
    Owner: showOwner ? { ID: owner.domainId, DisplayName: owner.domainId } : undefined,
    VersionId: showVersion ? 'null' : undefined,
    IsLatest: showVersion || undefined,
  }))

const commonPrefixes = ({ prefixes, encode }: Listing) => prefixes.map(prefix => ({ Prefix: encode(prefix) }))

/** A page in the first form: markers are keys. */
export const listObjects = async (ctx: GatewayRequest): Promise<void> => {
  const marker = ctx.query.get('marker') ?? ''
  const listing = await list(ctx, 's3:ListBucket', () => marker)
  const { common, delimited, encode, next } = listing
  answerXml(ctx.res, 'ListBucketResult', {
    ...common,
    Marker: encode(marker),
    // Without a delimiter clients take the last key, as S3 has it.
    NextMarker: delimited && next !== undefined ? encode(next) : undefined,
    Contents: contents(listing, true),
    CommonPrefixes: commonPrefixes(listing),
  })
}

/** A page in the second form: tokens are opaque, and owners shown when they are asked for. */
export const listObjectsV2 = async (ctx: GatewayRequest): Promise<void> => {
  const startAfter = ctx.query.get('start-after')
  const listing = await list(ctx, 's3:ListBucket', () => continuationToken(ctx) ?? startAfter)
  const { common, encode, entries, prefixes, next } = listing
  answerXml(ctx.res, 'ListBucketResult', {
    ...common,
    KeyCount: entries.length + prefixes.length,
    StartAfter: startAfter === undefined ? undefined : encode(startAfter),
    ContinuationToken: ctx.query.get('continuation-token'),
    NextContinuationToken: next === undefined ? undefined : base64url(utf8(next)),
    Contents: contents(listing, ctx.query.get('fetch-owner') === 'true'),
    CommonPrefixes: commonPrefixes(listing),
  })
}

/** A page of versions: every object has the one that is called `null`. */
export const listObjectVersions = async (ctx: GatewayRequest): Promise<void> => {
  const marker = ctx.query.get('key-marker') ?? ''
  const idMarker = ctx.query.get('version-id-marker') ?? ''
  const listing = await list(ctx, 's3:ListBucketVersions', () => {
    if (idMarker === '' || marker !== '') return marker
    throw new SseError('InvalidArgument', {
      message: 'A version-id marker cannot be specified without a key marker. Send both.',
      details: { ArgumentName: 'version-id-marker', ArgumentValue: idMarker },
    })
  })
  const { common, encode, next } = listing
  answerXml(ctx.res, 'ListVersionsResult', {
    ...common,
    KeyMarker: encode(marker),
    VersionIdMarker: idMarker,
    NextKeyMarker: next === undefined ? undefined : encode(next),
    NextVersionIdMarker: next === undefined ? undefined : 'null',
    Version: contents(listing, true, true),
    CommonPrefixes: commonPrefixes(listing),
  })
}
