/** PutObject: decide, then receive the body into the store, sealed while it flows. */
import { utf8 } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { refuseStranger } from '../access/access.ts'
import { incomingBody, readBody } from '../body/body.ts'
import { declaredChecksums } from '../body/checksums.ts'
import type { GatewayRequest, OwnedBucket } from '../context.ts'
import { answerEmpty, answerXml, asSseError } from '../http/answer.ts'
import { changeCondition } from '../http/conditions.ts'
import { maxKeyLength } from '../http/target.ts'
import { fields, fromXml, textOf } from '../http/xml.ts'
import { writeObject } from '../objects/write.ts'

/** Stores an object. */
export const putObject = async (ctx: GatewayRequest): Promise<void> => {
  const key = ctx.key()
  const owned = await ctx.openBucket('s3:PutObject')
  const condition = changeCondition(ctx.header)
  const write = { operation: 'put', owned, key, condition } as const
  const { headers } = await writeObject(ctx, { ...write, body: digests => incomingBody(ctx, digests) })
  answerEmpty(ctx.res, 200, headers)
}

/** Deletes an object. */
export const deleteObject = async (ctx: GatewayRequest): Promise<void> => {
  const owned = await ctx.openBucket('s3:DeleteObject')
  const matching = changeCondition(ctx.header)
  await ctx.options.store.deleteObject(owned.bucket.name, ctx.key(), {
    condition: current => {
      refuseStranger(owned, current)
      matching?.(current)
    },
  })
  answerEmpty(ctx.res, 204)
}

const maxBody = 2 * 1024 * 1024
const maxObjects = 1000

/** An object that is to be deleted. */
interface ObjectToDelete {
  readonly key: string
  readonly versionId: string | undefined
  readonly etag: string | undefined
}

/** OBS clients may percent-encode keys, and want them so in the answer. */
const codecOf = (type: string | undefined): { decode(text: string): string; encode(text: string): string } => {
  if (type === undefined) return { decode: text => text, encode: text => text }
  if (type !== 'url') throw new SseError('MalformedXML')
  return { decode: text => decodeURIComponent(text.replaceAll('+', ' ')), encode: encodeURIComponent }
}

const parse = (xml: string) => {
  const content = fromXml(xml, 'Delete')
  const { decode, encode } = codecOf(textOf(content, 'EncodingType'))
  const objects = fields(content, 'Object').map((object): ObjectToDelete => {
    const sent = textOf(object, 'Key')
    if (sent === undefined || sent === '') throw new SseError('MalformedXML')
    try {
      return { key: decode(sent), versionId: textOf(object, 'VersionId'), etag: textOf(object, 'ETag') }
    } catch (cause) {
      throw new SseError('MalformedXML', { cause })
    }
  })
  if (objects.length < 1 || objects.length > maxObjects) throw new SseError('MalformedXML')
  return { objects, encode, quiet: textOf(content, 'Quiet') === 'true' }
}

/** What was wrong, if something was. */
const deleteOne = async (
  ctx: GatewayRequest,
  owned: OwnedBucket,
  { key, versionId, etag }: ObjectToDelete,
): Promise<SseError | undefined> => {
  const matching = changeCondition(name => (name === 'if-match' ? etag : undefined))
  try {
    owned.assertMay('s3:DeleteObject', key)
    if (utf8(key).length > maxKeyLength) throw new SseError('KeyTooLongError')
    if (versionId !== undefined && versionId !== '' && versionId !== 'null') {
      throw new SseError('InvalidArgument', {
        message: 'Invalid version id specified. Objects have one version here, null.',
      })
    }
    await ctx.options.store.deleteObject(owned.bucket.name, key, {
      condition: current => {
        refuseStranger(owned, current)
        matching?.(current)
      },
    })
    return undefined
  } catch (error) {
    return asSseError(error)
  }
}

/** Deletes objects; those that are not there count as deleted. */
export const deleteObjects = async (ctx: GatewayRequest): Promise<void> => {
  const owned = await ctx.findBucket()
  const { policy, acl } = owned.bucket.settings
  // Where nothing could let a stranger in, not even the list of keys is read.
  if (policy === undefined && acl === undefined) owned.assertMay('s3:DeleteObject')
  const { checksum, contentMd5 } = declaredChecksums(ctx.headers)
  if (checksum === undefined && contentMd5 === undefined) {
    throw new SseError('InvalidRequest', {
      message: 'Missing required header for this request: Content-MD5 OR x-amz-checksum-*. Send one of them.',
    })
  }
  const { objects, encode, quiet } = parse(await readBody(ctx, maxBody))
  const answers = await Promise.all(
    objects.map(async object => {
      const error = await deleteOne(ctx, owned, object)
      return { Key: encode(object.key), VersionId: object.versionId, error }
    }),
  )
  answerXml(ctx.res, 'DeleteResult', {
    Deleted: quiet ? [] : answers.flatMap(({ error, ...object }) => (error === undefined ? [object] : [])),
    Error: answers.flatMap(({ error, ...object }) =>
      error === undefined ? [] : [{ ...object, Code: error.s3Code, Message: error.message }],
    ),
  })
}
