/** GetObjectAttributes: what is known of an object without its body. Checksums and parts of a sealed one are verified, the rest is its record's. */
import { SseError } from '../../errors.ts'
import { refuseOnOther } from '../../sse/request.ts'
import { noSuchKey } from '../access.ts'
import { answerXml } from '../answer.ts'
import type { Context } from '../context.ts'
import { decideRead } from '../encryption.ts'
import { integer } from '../listing.ts'
import { type PartSize } from '../parts.ts'
import { checksumXml, openStored } from '../stored-checksums.ts'
import type { XmlContent } from '../xml.ts'

const header = 'x-amz-object-attributes'
const known = ['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize']

const wantedOf = (ctx: Context): ReadonlySet<string> => {
  const names = (ctx.header(header) ?? '').split(',').map(name => name.trim())
  const unknown = names.find(name => !known.includes(name))
  if (unknown !== undefined) {
    throw new SseError('InvalidArgument', {
      message: `The ${header} header is missing, or names what is no attribute. Name some of ${known.join(', ')}.`,
      details: { ArgumentName: header, ArgumentValue: unknown },
    })
  }
  return new Set(names)
}

const numberIn = (ctx: Context, name: string, otherwise: number): number => {
  const text = ctx.header(name)
  return text === undefined ? otherwise : integer(name, text)
}

const mostParts = 1000

/** A page of the parts; nothing for an object that was not uploaded in parts. */
const partsXml = (ctx: Context, parts: readonly PartSize[]): XmlContent => {
  if (parts.length === 0) return undefined
  const marker = numberIn(ctx, 'x-amz-part-number-marker', 0)
  const limit = Math.min(numberIn(ctx, 'x-amz-max-parts', mostParts), mostParts)
  const behind = parts.filter(({ number }) => number > marker)
  const page = behind.slice(0, limit)
  return {
    PartsCount: parts.length,
    PartNumberMarker: marker,
    NextPartNumberMarker: page.at(-1)?.number ?? marker,
    MaxParts: limit,
    IsTruncated: page.length < behind.length,
    Part: page.map(({ number, size }) => ({ PartNumber: number, Size: size })),
  }
}

/** Answers the attributes that are asked for. */
export const getObjectAttributes = async (ctx: Context): Promise<void> => {
  const key = ctx.key()
  const owned = await ctx.openBucket('s3:GetObject')
  owned.assertMay('s3:GetObjectAttributes', key)
  refuseOnOther('get', ctx.header)
  const wanted = wantedOf(ctx)
  const record = await ctx.options.store.getObject(owned.bucket.name, key)
  if (record === undefined) throw noSuchKey(owned, key)
  const read = await decideRead(ctx, owned, key, record)
  try {
    const opens = wanted.has('Checksum') || wanted.has('ObjectParts')
    const { checksums, parts } = opens ? await openStored(ctx, record, read) : { checksums: [], parts: [] }
    answerXml(
      ctx.res,
      'GetObjectAttributesResponse',
      {
        ETag: wanted.has('ETag') ? record.etag : undefined,
        Checksum: wanted.has('Checksum') && checksums.length > 0 ? { ...checksumXml(checksums) } : undefined,
        ObjectParts: wanted.has('ObjectParts') ? partsXml(ctx, parts) : undefined,
        StorageClass: wanted.has('StorageClass') ? 'STANDARD' : undefined,
        ObjectSize: wanted.has('ObjectSize') ? record.size : undefined,
      },
      { 'last-modified': new Date(record.modified).toUTCString() },
    )
  } finally {
    read.release()
  }
}
