/**
 * CopyObject: inside a tenant a sealed object gets a new wrap record over the same bytes; whatever else is asked for is decrypted and
 * encrypted while it flows. The target's encryption is the request's, the bucket's or the profile's, never the source's.
 */
import { wipe } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { assertSelfCopyLegal, planCopy } from '../../sse/copy.ts'
import { managedNames, customerNames, obsNames, s3Names } from '../../sse/names.ts'
import { sameTenant } from '../../sse/profile.ts'
import type { NewObject, ObjectRecord } from '../../store/store.ts'
import { refuseStranger } from '../access/access.ts'
import { answerXml } from '../http/answer.ts'
import { requestedAttributes } from '../objects/record.ts'
import { bucketEncryption } from '../objects/record.ts'
import { requestedAlgorithm } from '../body/checksums.ts'
import { changeCondition } from '../http/conditions.ts'
import type { GatewayRequest, OwnedBucket } from '../context.ts'
import { type CopySource, openSource, sourceBody } from '../objects/source.ts'
import { decideWrite, encryptionHeaders, noteEncryption, type WriteEncryption } from '../objects/encryption.ts'
import { objectHeaders } from '../objects/record.ts'
import { defaultChecksum, digestsFor, hasMd5Etag, receiveObject } from '../objects/write.ts'
import { checksumsOf, checksumXml, notedChecksums, openStored, type StoredChecksum } from '../objects/checksums.ts'

/** COPY or REPLACE. */
const directive = (ctx: GatewayRequest, name: string): 'COPY' | 'REPLACE' => {
  const value = ctx.header(`x-amz-${name}`) ?? ctx.header(`x-obs-${name}`) ?? 'COPY'
  if (value === 'COPY' || value === 'REPLACE') return value
  throw new SseError('InvalidArgument', {
    message: `Unknown ${name}. Use COPY or REPLACE.`,
    details: { ArgumentName: `x-amz-${name}`, ArgumentValue: value },
  })
}

const namesEncryption = (ctx: GatewayRequest): boolean =>
  [s3Names, obsNames]
    .flatMap(names => [...managedNames(names), ...customerNames(names.customer)])
    .some(name => ctx.header(name) !== undefined)

/** Metadata, tags and notes of the target: the source's, or the request's. */
const describeTarget = (ctx: GatewayRequest, target: OwnedBucket, source: CopySource, encryption: WriteEncryption) => {
  const asked = requestedAttributes(ctx, target, ctx.key())
  const { tags, parts } = source.record.attributes
  const keepsTags = directive(ctx, 'tagging-directive') === 'COPY' && tags !== undefined
  const { tags: _own, ...others } = asked
  return {
    headers: directive(ctx, 'metadata-directive') === 'COPY' ? source.record.headers : objectHeaders(ctx.headers),
    attributes: {
      ...(keepsTags ? { ...others, tags } : asked),
      ...(parts === undefined ? {} : { parts }),
      ...noteEncryption(encryption),
    },
  }
}

/** A new envelope over the source's bytes, the ETag that the object has under it, and its checksums, which stay. */
const rewrapped = async (ctx: GatewayRequest, source: CopySource, encryption: WriteEncryption) => {
  const { envelope, values } = source.record
  if (encryption.kind === 'plain' || envelope === undefined) throw new SseError('NotAuthentic')
  const { sse } = ctx.options
  const next = await sse.rewrap(envelope, { ...source.read.options, to: encryption.options })
  const opened = await sse.decrypt(next, { ...encryption.options, held: source.body.size, values })
  opened.driver.dispose()
  const etag = hasMd5Etag(encryption.kind) ? source.record.etag : opened.etag
  return { body: { envelope: next, values, etag }, checksums: checksumsOf(opened.values) }
}

/** Whether the target is to have a checksum that the source has not, so that its bytes are read. */
const lacks = async (ctx: GatewayRequest, source: CopySource): Promise<boolean> => {
  const asked = requestedAlgorithm(ctx.header)
  if (asked === undefined) return false
  const { checksums } = await openStored(ctx, source.record, source.read)
  return !checksums.some(({ algorithm }) => algorithm === asked)
}

interface Copied {
  readonly record: ObjectRecord
  readonly checksums: readonly StoredChecksum[]
}

type Described = ReturnType<typeof describeTarget> & Pick<NewObject, 'kind' | 'owner' | 'modified'>

const carryOut = async (
  ctx: GatewayRequest,
  target: OwnedBucket,
  source: CopySource,
  encryption: WriteEncryption,
  common: Described,
): Promise<Copied> => {
  const { store, profile } = ctx.options
  const { record } = source
  const key = ctx.key()
  const matching = changeCondition(ctx.header)
  const condition: NonNullable<typeof matching> = current => {
    refuseStranger(target, current)
    matching?.(current)
  }
  const plan = planCopy({
    profile,
    source: record.kind,
    target: encryption.kind,
    sameTenant: sameTenant(source.owned.owner, target.owner),
  })
  if ((plan === 'copy' || plan === 'rewrap') && !(await lacks(ctx, source))) {
    const { body, checksums } =
      plan === 'copy'
        ? { body: { etag: record.etag }, checksums: notedChecksums(record) }
        : await rewrapped(ctx, source, encryption)
    const { checksum, partSizes } = record.attributes
    const noted = {
      ...(checksum === undefined ? {} : { checksum }),
      ...(partSizes === undefined ? {} : { partSizes }),
    }
    const written = { ...common, attributes: { ...common.attributes, ...noted }, size: record.size, ...body }
    const from = { ...source.name, version: record.version }
    return {
      record: await store.copyObject(from, { bucket: target.bucket.name, key }, written, { condition }),
      checksums,
    }
  }
  const asked = requestedAlgorithm(ctx.header)
  const incoming = await sourceBody(ctx, source, ([first]) =>
    digestsFor(encryption.kind, asked ?? first?.algorithm ?? defaultChecksum(ctx)),
  )
  const { size, etag, envelope, values, body, checksums, notes } = await receiveObject(ctx, encryption, incoming)
  const { parts: _parts, ...attributes } = common.attributes
  const written = { ...common, attributes: { ...attributes, ...notes }, size, etag, envelope, values }
  return { record: await store.putObject(target.bucket.name, key, written, body, { condition }), checksums }
}

/** Copies an object. */
export const copyObject = async (ctx: GatewayRequest): Promise<void> => {
  const key = ctx.key()
  const target = await ctx.openBucket('s3:PutObject')
  const encryption = await decideWrite(ctx, target, key)
  try {
    const source = await openSource(ctx)
    try {
      if (source.name.bucket === target.bucket.name && source.name.key === key) {
        assertSelfCopyLegal({
          replacesMetadata: directive(ctx, 'metadata-directive') === 'REPLACE',
          namesStorageClass: ctx.header('x-amz-storage-class') !== undefined,
          namesEncryption: namesEncryption(ctx),
          bucketHasEncryption: bucketEncryption(target.bucket) !== undefined,
        })
      }
      const described = describeTarget(ctx, target, source, encryption)
      const common = { ...described, kind: encryption.kind, owner: target.owner.domainId, modified: ctx.now() }
      const { record, checksums } = await carryOut(ctx, target, source, encryption, common)
      const { etag, modified, attributes } = record
      answerXml(
        ctx.res,
        'CopyObjectResult',
        {
          LastModified: new Date(modified).toISOString(),
          ETag: `"${etag}"`,
          ...checksumXml(checksums, Number(attributes['parts'] ?? 0)),
        },
        encryptionHeaders(ctx, 'copy', encryption.kind === 'plain' ? encryption : encryption.answer),
      )
    } finally {
      await source.close()
    }
  } finally {
    if (encryption.kind !== 'plain') wipe(encryption.options.customerKey)
  }
}
