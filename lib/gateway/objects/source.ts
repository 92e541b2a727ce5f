/** The source of CopyObject and UploadPartCopy: named by a header, opened for reading under its own keys. */
import { SseError } from '../../errors.ts'
import { type ByteRange, resolveRange } from '../../segment/layout.ts'
import { parseCopySourceHeaders } from '../../sse/customer-key.ts'
import type { BodyReader, ObjectName, ObjectRecord } from '../../store/store.ts'
import { noSuchKey } from '../access/access.ts'
import type { IncomingBody } from '../body/body.ts'
import { assertSourceConditions } from '../http/conditions.ts'
import type { GatewayRequest, OwnedBucket } from '../context.ts'
import { createDigest, type DigestAlgorithm } from '../body/checksums.ts'
import { decideRead, type ReadEncryption } from './encryption.ts'
import type { BodyStage } from '../http/pour.ts'
import type { RequestBodyOptions } from '../body/body.ts'
import { checksumsOf, notedChecksums, type StoredChecksum } from './checksums.ts'

const header = (ctx: GatewayRequest, name: string): string | undefined =>
  ctx.header(`x-amz-${name}`) ?? ctx.header(`x-obs-${name}`)

const invalidSource = (text: string, message: string): SseError =>
  new SseError('InvalidArgument', { message, details: { ArgumentName: 'x-amz-copy-source', ArgumentValue: text } })

/** Bucket and key of `x-amz-copy-source`: percent-encoded, with or without a slash in front. The only version there is is "null". */
const sourceName = (text = ''): ObjectName => {
  const [path = '', query] = text.split('?', 2)
  if (query !== undefined && query !== 'versionId=null') {
    throw invalidSource(text, 'Versions are not kept here. Name the source without a versionId.')
  }
  let decoded: string
  try {
    decoded = decodeURIComponent(path).replace(/^\//, '')
  } catch {
    throw invalidSource(text, 'Copy Source must be percent-encoded UTF-8.')
  }
  const at = decoded.indexOf('/')
  if (at < 1 || at === decoded.length - 1) {
    throw invalidSource(text, 'Copy Source must mention the source bucket and key: sourcebucket/sourcekey.')
  }
  return { bucket: decoded.slice(0, at), key: decoded.slice(at + 1) }
}

/** A source that may be read. `close` lets its body and a customer's key go. */
export interface CopySource {
  readonly name: ObjectName
  readonly owned: OwnedBucket
  readonly record: ObjectRecord
  readonly read: ReadEncryption
  readonly body: BodyReader
  close(): Promise<void>
}

/** Opens the source: permission, existence, conditions, then role, tenant and keys. */
export const openSource = async (ctx: GatewayRequest): Promise<CopySource> => {
  const name = sourceName(header(ctx, 'copy-source'))
  const owned = await ctx.openBucket('s3:GetObject', { object: name })
  const opened = await ctx.options.store.openObject(name.bucket, name.key)
  if (opened === undefined) throw noSuchKey(owned, name.key)
  const { record, body } = opened
  try {
    assertSourceConditions(ctx.header, record)
    const read = await decideRead(ctx, owned, name.key, record, parseCopySourceHeaders)
    const close = async () => {
      read.release()
      await body.close()
    }
    return { name, owned, record, read, body, close }
  } catch (error) {
    await body.close()
    throw error
  }
}

/** `x-amz-copy-source-range`: exactly `bytes=first-last`, inside the source. */
export const sourceRange = (ctx: GatewayRequest, size: number): ByteRange | undefined => {
  const text = header(ctx, 'copy-source-range')
  if (text === undefined) return undefined
  const match = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(text)
  const [start, end] = [Number(match?.[1]), Number(match?.[2])]
  if (match === null || start > end || end >= size) {
    throw new SseError('InvalidArgument', {
      message: `The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy; the source has ${size} bytes.`,
      details: { ArgumentName: 'x-amz-copy-source-range', ArgumentValue: text },
    })
  }
  return { start, end }
}

/** A source's plaintext, or a range of it. */
interface SourcePlaintext {
  readonly length: number
  readonly checksums: readonly StoredChecksum[]
  start(): AsyncIterable<Uint8Array>
}

/** Opens the plaintext of a source: every check before its first byte. */
const plaintext = async (
  ctx: GatewayRequest,
  { record, read, body }: CopySource,
  range: ByteRange | undefined,
): Promise<SourcePlaintext> => {
  if (record.kind === 'plain') {
    if (body.size !== record.size) throw new SseError('StoreFailed')
    const { start, end } = range ?? { start: 0, end: record.size - 1 }
    const length = end - start + 1
    return { length, checksums: notedChecksums(record), start: () => body.read(length === 0 ? {} : { start, end }) }
  }
  if (record.envelope === undefined) throw new SseError('NotAuthentic')
  const opened = await ctx.options.sse.decrypt(record.envelope, {
    ...read.options,
    held: body.size,
    etag: record.kind === 'sse-s3' ? undefined : record.etag,
    values: record.values,
    range: range === undefined ? undefined : resolveRange(range, record.size),
  })
  const start = () => opened.pieces(body.read({ ...opened.stored, reuse: true }))
  return { length: opened.length, checksums: checksumsOf(opened.values), start }
}

/** The source as a body that is received like any other. `digestsOf` says which digests its target needs, from the checksums that it has itself. */
export const sourceBody = async (
  ctx: GatewayRequest,
  source: CopySource,
  digestsOf: (checksums: readonly StoredChecksum[]) => RequestBodyOptions,
  range?: ByteRange,
): Promise<IncomingBody> => {
  const { length, checksums, start } = await plaintext(ctx, source, range)
  const { always = [], otherwise } = digestsOf(checksums)
  const names = new Set(otherwise === undefined ? always : [...always, otherwise])
  const running = Array.from(names, name => [name, createDigest(name)] as const)
  const done = new Map<DigestAlgorithm, Uint8Array>()
  const stage: BodyStage = async function* (source) {
    for await (const chunk of source) {
      for (const [, digest] of running) digest.update(chunk)
      yield chunk
    }
    for (const [name, digest] of running) done.set(name, await digest.finish())
  }
  return { length, start, stages: [stage], checksum: otherwise, digests: () => done }
}
