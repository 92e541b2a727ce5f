/** GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl: canned lists, by header or as the XML that they come to. */
import { SseError } from '../../errors.ts'
import { parsePolicy } from '../../policy/policy.ts'
import { bucketEncryptionOrBase, formatBucketEncryption, parseBucketEncryption } from '../../sse/bucket-encryption.ts'
import { aclXml, type OpenAcl, parseAcl, requestedAcl } from '../access/acl.ts'
import { readBody } from '../body/body.ts'
import type { GatewayRequest, OwnedBucket } from '../context.ts'
import { answerEmpty, answerXml, setHeaders } from '../http/answer.ts'
import { fromXml } from '../http/xml.ts'
import { bucketEncryption, encryptionSetting, readRecord, updateAttribute, withSetting } from '../objects/record.ts'
import { encodeTags, maxBucketTags, maxObjectTags, parseTags, storedTags, tagsXml } from '../objects/tags.ts'

const aclRoot = 'AccessControlPolicy'

/** The list that a request asks for, by header or body and not by both. */
const wanted = async (ctx: GatewayRequest, { owner }: OwnedBucket): Promise<OpenAcl | undefined> => {
  const named = requestedAcl(ctx.header)
  const body = await readBody(ctx, 64 * 1024)
  if (named !== undefined && body !== '') {
    throw new SseError('InvalidRequest', { message: 'The ACL stands in a header and in the body. Send one of them.' })
  }
  if (named === undefined && body === '') {
    throw new SseError('InvalidRequest', { message: `Name the ACL in x-amz-acl, or send an ${aclRoot}.` })
  }
  const acl = named ?? parseAcl(body, owner)
  return acl === 'closed' ? undefined : acl
}

/** Answers a bucket's list. */
export const getBucketAcl = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket, owner } = await ctx.openBucket('s3:GetBucketAcl')
  answerXml(ctx.res, aclRoot, aclXml(owner, bucket.settings['acl'], ctx.dialect))
}

/** Puts a bucket's list. */
export const putBucketAcl = async (ctx: GatewayRequest): Promise<void> => {
  const owned = await ctx.openBucket('s3:PutBucketAcl')
  const acl = await wanted(ctx, owned)
  await ctx.options.store.updateBucket(owned.bucket.name, current => withSetting(current, 'acl', acl))
  answerEmpty(ctx.res, 200)
}

/** Answers an object's list. */
export const getObjectAcl = async (ctx: GatewayRequest): Promise<void> => {
  const owned = await ctx.openBucket('s3:GetObjectAcl')
  const record = await readRecord(ctx, owned)
  answerXml(ctx.res, aclRoot, aclXml(owned.owner, record.attributes['acl'], ctx.dialect))
}

/** Puts an object's list. */
export const putObjectAcl = async (ctx: GatewayRequest): Promise<void> => {
  const owned = await ctx.openBucket('s3:PutObjectAcl')
  const acl = await wanted(ctx, owned)
  await updateAttribute(ctx, owned, 'acl', acl)
  answerEmpty(ctx.res, 200)
}

const encryptionRoot = 'ServerSideEncryptionConfiguration'
const maxEncryptionBody = 64 * 1024

/** Answers the configuration, or the base that holds without one. */
export const getBucketEncryption = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:GetEncryptionConfiguration')
  const encryption = bucketEncryptionOrBase(bucketEncryption(bucket), ctx.options.profile.baseEncryption)
  const { Rule } = formatBucketEncryption(encryption, ctx.dialect)
  const { ApplyServerSideEncryptionByDefault: apply, BucketKeyEnabled } = Rule
  answerXml(ctx.res, encryptionRoot, { Rule: { ApplyServerSideEncryptionByDefault: { ...apply }, BucketKeyEnabled } })
}

/** Configures a default. The key that it names is looked at when an object is written. */
export const putBucketEncryption = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:PutEncryptionConfiguration')
  const encryption = parseBucketEncryption(fromXml(await readBody(ctx, maxEncryptionBody), encryptionRoot))
  const setting = encryptionSetting(encryption)
  await ctx.options.store.updateBucket(bucket.name, current => withSetting(current, 'encryption', setting))
  answerEmpty(ctx.res, 200)
}

/** Takes the configuration away, if there is one. */
export const deleteBucketEncryption = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:PutEncryptionConfiguration')
  await ctx.options.store.updateBucket(bucket.name, current => withSetting(current, 'encryption', undefined))
  answerEmpty(ctx.res, 204)
}

const maxPolicyBody = 64 * 1024

/** Another tenant may be let at objects by a policy, but never at the policy itself. */
const open = async (ctx: GatewayRequest, permission: string): Promise<OwnedBucket> => {
  const owned = await ctx.openBucket(permission)
  if (!owned.own) {
    throw new SseError('MethodNotAllowed', { message: 'The policy is for the tenant that owns the bucket. Ask it.' })
  }
  return owned
}

/** Answers the policy as it was put. */
export const getBucketPolicy = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket } = await open(ctx, 's3:GetBucketPolicy')
  const text = bucket.settings['policy']
  if (text === undefined) throw new SseError('NoSuchBucketPolicy', { details: { BucketName: bucket.name } })
  const body = Buffer.from(text)
  setHeaders(ctx.res, { 'content-type': 'application/json', 'content-length': body.length })
  ctx.res.writeHead(200).end(body)
}

/** Puts a policy that can be held to. */
export const putBucketPolicy = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket } = await open(ctx, 's3:PutBucketPolicy')
  const policy = await readBody(ctx, maxPolicyBody, { malformed: 'MalformedPolicy' })
  parsePolicy(policy, { bucket: bucket.name })
  await ctx.options.store.updateBucket(bucket.name, current => withSetting(current, 'policy', policy))
  answerEmpty(ctx.res, 204)
}

/** Takes the policy away, if there is one. */
export const deleteBucketPolicy = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket } = await open(ctx, 's3:DeleteBucketPolicy')
  await ctx.options.store.updateBucket(bucket.name, current => withSetting(current, 'policy', undefined))
  answerEmpty(ctx.res, 204)
}

const maxBucketTagging = 128 * 1024

/** Answers the tags; `NoSuchTagSet` where there are none. */
export const getBucketTagging = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:GetBucketTagging')
  const tags = bucket.settings['tagging']
  if (tags === undefined) throw new SseError('NoSuchTagSet', { details: { BucketName: bucket.name } })
  answerXml(ctx.res, 'Tagging', tagsXml(storedTags(tags)))
}

/** Puts these tags instead of those that are there. */
export const putBucketTagging = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:PutBucketTagging')
  const tags = parseTags(await readBody(ctx, maxBucketTagging), maxBucketTags)
  const setting = tags.length === 0 ? undefined : encodeTags(tags)
  await ctx.options.store.updateBucket(bucket.name, current => withSetting(current, 'tagging', setting))
  answerEmpty(ctx.res, 204)
}

/** Takes all tags away. */
export const deleteBucketTagging = async (ctx: GatewayRequest): Promise<void> => {
  const { bucket } = await ctx.openBucket('s3:PutBucketTagging')
  await ctx.options.store.updateBucket(bucket.name, current => withSetting(current, 'tagging', undefined))
  answerEmpty(ctx.res, 204)
}

const maxObjectTagging = 64 * 1024

/** Answers the tags of an object; there may be none. */
export const getObjectTagging = async (ctx: GatewayRequest): Promise<void> => {
  const owned = await ctx.openBucket('s3:GetObjectTagging')
  const { attributes } = await readRecord(ctx, owned)
  answerXml(ctx.res, 'Tagging', tagsXml(storedTags(attributes['tags'])))
}

/** Puts these tags instead of those that are there. */
export const putObjectTagging = async (ctx: GatewayRequest): Promise<void> => {
  const owned = await ctx.openBucket('s3:PutObjectTagging')
  const tags = parseTags(await readBody(ctx, maxObjectTagging), maxObjectTags)
  await updateAttribute(ctx, owned, 'tags', tags.length === 0 ? undefined : encodeTags(tags))
  answerEmpty(ctx.res, 200)
}

/** Takes all tags away. */
export const deleteObjectTagging = async (ctx: GatewayRequest): Promise<void> => {
  const owned = await ctx.openBucket('s3:DeleteObjectTagging')
  await updateAttribute(ctx, owned, 'tags', undefined)
  answerEmpty(ctx.res, 204)
}
