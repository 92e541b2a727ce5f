/**
 * The settings of buckets (policy, encryption, tags, ACL, versioning) and what is noted of objects (tags, ACL): get, put and delete of each.
 * A setting is text that the store keeps. `bucketSetting` makes the actions of one from what is special about it.
 */
import { type ErrorCode, SseError } from '../../errors.ts'
import { parsePolicy } from '../../policy/policy.ts'
import { assertKmsRole } from '../../sse/authorize.ts'
import type { HeaderGetter } from '../../sse/names.ts'
import { bucketEncryptionOrBase, formatBucketEncryption, parseBucketEncryption } from '../../sse/bucket-encryption.ts'
import type { Bucket, ObjectNotes, ObjectRecord } from '../../store/records.ts'
import { aclXml, type OpenAcl, parseAcl, requestedAcl } from '../access/acl.ts'
import { assertOpenTo, closedToOthers, type JudgedBucket, noSuchKey } from '../access/access.ts'
import { assertTakesPolicy, effectiveAcl } from '../access/public-access.ts'
import { readBody } from '../body/body.ts'
import { answerEmpty, answerXml, setHeaders } from '../http/answer.ts'
import { encodeTags, maxBucketTags, maxObjectTags, parseTags, storedTags, tagsXml, withTags } from '../http/tags.ts'
import { fromXml, textOf } from '../http/xml.ts'
import { bucketEncryption, encryptionSetting } from '../objects/encryption.ts'
import { callerOf, type GatewayRequest, keyOf, openBucket } from '../request.ts'

const kib = 1024
/** Bytes of a small document. */
export const smallBody: number = 64 * kib

/** A bucket's settings with one of them set, or taken out. */
const withSetting = ({ settings }: Bucket, name: string, value: string | undefined): Bucket['settings'] => {
  const { [name]: _old, ...others } = settings
  return value === undefined ? others : { ...others, [name]: value }
}

/** Sets one of a bucket's settings, or takes it out. */
export const changeSetting = (
  { services }: GatewayRequest,
  bucket: JudgedBucket,
  name: string,
  value: string | undefined,
): Promise<Bucket> =>
  bucket.commit(async judged =>
    // No new revision for a setting that is already so: it would make other requests judge again.
    judged.settings[name] === value
      ? judged
      : services.store.updateBucket(judged, { settings: withSetting(judged, name, value) }),
  )

/** What is special about a setting. */
interface SettingParts {
  /** Under which the store keeps it. */
  readonly name: string
  /** The permissions of its actions, without `s3:`; the one of put also deletes where none is given for it. */
  readonly permissions: { readonly get: string; readonly put: string; readonly delete?: string }
  /** Bytes that its document may have, and what is answered where it is not UTF-8. */
  readonly limit: number
  readonly malformed?: ErrorCode
  /** Who may change it, beside the permission. */
  assertMayChange?(request: GatewayRequest): void
  /** Whether it is closed to other tenants, whatever the policy allows. */
  readonly ownerOnly?: boolean
  /** Status of a put. */
  readonly status: 200 | 204
  /** What is kept of a document; `undefined` for nothing. */
  parse(document: string, bucket: JudgedBucket, request: GatewayRequest): string | undefined
  /** Answers what is kept. */
  answer(request: GatewayRequest, kept: string | undefined, bucket: JudgedBucket): void
}

type Action = (request: GatewayRequest) => Promise<void>

/** The actions of a setting. */
export const bucketSetting = (
  parts: SettingParts,
): { readonly get: Action; readonly put: Action; readonly delete: Action } => {
  const { name, permissions, limit, malformed, ownerOnly = false, status } = parts
  const open = async (request: GatewayRequest, permission: string): Promise<JudgedBucket> => {
    const bucket = await openBucket(request, `s3:${permission}`)
    if (!ownerOnly || bucket.isOwner) return bucket
    const message = `The ${name} is for the tenant that owns the bucket. Ask it.`
    throw new SseError('MethodNotAllowed', { message })
  }
  return {
    get: async request => {
      const bucket = await open(request, permissions.get)
      parts.answer(request, bucket.bucket.settings[name], bucket)
    },
    put: async request => {
      const bucket = await open(request, permissions.put)
      parts.assertMayChange?.(request)
      const kept = parts.parse(await readBody(request, limit, malformed), bucket, request)
      await changeSetting(request, bucket, name, kept)
      answerEmpty(request.res, status)
    },
    delete: async request => {
      const bucket = await open(request, permissions.delete ?? permissions.put)
      parts.assertMayChange?.(request)
      await changeSetting(request, bucket, name, undefined)
      answerEmpty(request.res, 204)
    },
  }
}

const configuration = 'ServerSideEncryptionConfiguration'

/**
 * What objects get whose request says nothing. To set it, or to take it away, is to use SSE-KMS, which takes a role where the profile says so.
 * The key that it names is looked at when an object is written. */
export const bucketEncryptionActions = bucketSetting({
  name: 'encryption',
  permissions: { get: 'GetEncryptionConfiguration', put: 'PutEncryptionConfiguration' },
  limit: smallBody,
  status: 200,
  assertMayChange: request => assertKmsRole(request.services.profile, callerOf(request)),
  parse: document => encryptionSetting(parseBucketEncryption(fromXml(document, configuration))),
  answer: ({ res, services, dialect }, _kept, { bucket }) => {
    const encryption = bucketEncryptionOrBase(bucketEncryption(bucket), services.profile.baseEncryption)
    const { Rule } = formatBucketEncryption(encryption, dialect)
    const { ApplyServerSideEncryptionByDefault: apply, BucketKeyEnabled, BlockedEncryptionTypes: blocked } = Rule
    answerXml(res, configuration, {
      Rule: {
        ApplyServerSideEncryptionByDefault: { ...apply },
        BucketKeyEnabled,
        BlockedEncryptionTypes: blocked && { ...blocked },
      },
    })
  },
})

/** The policy, answered as it was put. A tenant_admin of the owner always may, whatever the policy says; another tenant never. */
export const bucketPolicyActions = bucketSetting({
  name: 'policy',
  permissions: { get: 'GetBucketPolicy', put: 'PutBucketPolicy', delete: 'DeleteBucketPolicy' },
  limit: smallBody,
  malformed: 'MalformedPolicy',
  ownerOnly: true,
  status: 204,
  parse: (document, bucket) => {
    const policy = parsePolicy(document, { bucket: bucket.bucket.name })
    bucket.bySettings(settings => assertTakesPolicy(settings, policy))
    return document
  },
  answer: ({ res }, kept, { bucket }) => {
    if (kept === undefined) throw new SseError('NoSuchBucketPolicy', { details: { BucketName: bucket.name } })
    const body = Buffer.from(kept)
    setHeaders(res, { 'content-type': 'application/json', 'content-length': body.length })
    res.writeHead(200).end(body)
  },
})

/** The tags of a bucket. */
export const bucketTaggingActions = bucketSetting({
  name: 'tagging',
  permissions: { get: 'GetBucketTagging', put: 'PutBucketTagging' },
  limit: 128 * kib,
  status: 204,
  parse: document => {
    const tags = parseTags(document, maxBucketTags)
    return tags.length === 0 ? undefined : encodeTags(tags)
  },
  answer: ({ res }, kept, { bucket }) => {
    if (kept === undefined) throw new SseError('NoSuchTagSet', { details: { BucketName: bucket.name } })
    answerXml(res, 'Tagging', tagsXml(storedTags(kept)))
  },
})

const versioning = 'VersioningConfiguration'

/** Objects have one version here, so versioning can be suspended and not enabled. */
export const bucketVersioningActions = bucketSetting({
  name: 'versioning',
  permissions: { get: 'GetBucketVersioning', put: 'PutBucketVersioning' },
  limit: smallBody,
  status: 200,
  parse: document => {
    const content = fromXml(document, versioning)
    const status = textOf(content, 'Status')
    if (status === 'Enabled' || textOf(content, 'MfaDelete') === 'Enabled') {
      throw new SseError('NotImplemented', {
        message: 'Versioning is not implemented here: objects have one version. Leave it suspended.',
      })
    }
    if (status !== 'Suspended') throw new SseError('MalformedXML')
    return status
  },
  answer: ({ res }, kept) => answerXml(res, versioning, { Status: kept }),
})

const aclDocument = 'AccessControlPolicy'

/** A list that opens something, or none. */
interface WantedAcl {
  readonly acl: OpenAcl | undefined
  /** What a policy sees: one that denies a list by its header denies it in a body too. */
  readonly header: HeaderGetter
}

/** The list that a request asks for, by header or body and not by both. */
const wantedAcl = (document: string, bucket: JudgedBucket, { header }: GatewayRequest): WantedAcl => {
  const named = bucket.bySettings(settings => requestedAcl(header, settings))
  if (named !== undefined && document !== '') {
    throw new SseError('InvalidRequest', { message: 'The ACL stands in a header and in the body. Send one of them.' })
  }
  if (named === undefined && document === '') {
    throw new SseError('InvalidRequest', { message: `Name the ACL in x-amz-acl, or send an ${aclDocument}.` })
  }
  const acl = named ?? bucket.bySettings(settings => parseAcl(document, bucket.owner, settings))
  const open = acl === 'closed' ? undefined : acl
  const asHeader: HeaderGetter = name => (name === 'x-amz-acl' ? (open ?? 'private') : header(name))
  return { acl: open, header: named === undefined ? asHeader : header }
}

/** A bucket's list: canned ones, by header or as the XML that they come to; answered as far as it counts. */
export const bucketAclActions = bucketSetting({
  name: 'acl',
  permissions: { get: 'GetBucketAcl', put: 'PutBucketAcl' },
  limit: smallBody,
  status: 200,
  parse: (document, bucket, request) => {
    const { acl, header } = wantedAcl(document, bucket, request)
    bucket.assertMayKnowing({ header }, 's3:PutBucketAcl')
    return acl
  },
  answer: ({ res, dialect }, kept, { owner, bucket }) =>
    answerXml(res, aclDocument, aclXml(owner, effectiveAcl(bucket.settings, kept), dialect)),
})

/** What an object's tags or list are read or changed with. */
interface NotesAccess {
  readonly bucket: JudgedBucket
  readonly permission: string
  /** What a policy sees; by default the request's own headers. */
  readonly header?: HeaderGetter
}

/** The record of the object that a request names, whose own tags a policy may ask for. `NoSuchKey`; `AccessDenied`, for another tenant's SSE-KMS too. */
export const readRecord = async (
  request: GatewayRequest,
  { bucket, permission, header = request.header }: NotesAccess,
): Promise<ObjectRecord> => {
  const key = keyOf(request)
  const record = await request.services.store.getObject(bucket.bucket.id, key)
  if (record === undefined) throw noSuchKey(bucket, key)
  assertOpenTo(bucket, record)
  bucket.assertMayKnowing({ header, existingTags: record.notes.tags ?? [] }, permission, key)
  return record
}

/** Opens the bucket of the object that a request names, and reads its record. */
const openRecord = async (request: GatewayRequest, permission: string) => {
  const bucket = await openBucket(request, permission)
  return { bucket, record: await readRecord(request, { bucket, permission }) }
}

const attempts = 20

const changedMeanwhile = (error: unknown): boolean =>
  error instanceof SseError && (error.code === 'PreconditionFailed' || error.code === 'NoSuchKey')

/** Reads an object and changes it, and again where others change it meanwhile. `SlowDown` where they do so without end. */
export const untilUndisturbed = async <T>(
  read: () => Promise<T>,
  change: (found: T) => Promise<unknown>,
): Promise<void> => {
  for (let i = 0; i < attempts; i++) {
    const found = await read()
    try {
      await change(found)
      return
    } catch (error) {
      if (!changedMeanwhile(error)) throw error // else look again
    }
  }
  throw new SseError('SlowDown')
}

/** Changes what is noted of the object that a request names. */
const changeNotes = async (
  request: GatewayRequest,
  access: NotesAccess,
  change: (notes: ObjectNotes) => ObjectNotes,
): Promise<void> => {
  const { bucket } = access
  const { store } = request.services
  const key = keyOf(request)
  await untilUndisturbed(
    () => readRecord(request, access),
    ({ notes, revision }) => {
      const condition = { revision, ...closedToOthers(bucket) }
      return bucket.commit(judged => store.updateNotes(judged, key, { notes: change(notes) }, condition))
    },
  )
}

/** Answers an object's list as far as it counts. */
export const getObjectAcl = async (request: GatewayRequest): Promise<void> => {
  const { bucket, record } = await openRecord(request, 's3:GetObjectAcl')
  const acl = effectiveAcl(bucket.bucket.settings, record.notes.acl)
  answerXml(request.res, aclDocument, aclXml(bucket.owner, acl, request.dialect))
}

/** Puts an object's list. */
export const putObjectAcl = async (request: GatewayRequest): Promise<void> => {
  const permission = 's3:PutObjectAcl'
  const bucket = await openBucket(request, permission)
  const { acl, header } = wantedAcl(await readBody(request, smallBody), bucket, request)
  await changeNotes(request, { bucket, permission, header }, ({ acl: _old, ...others }) =>
    acl === undefined ? others : { ...others, acl },
  )
  answerEmpty(request.res, 200)
}

/** Answers the tags of an object; there may be none. */
export const getObjectTagging = async (request: GatewayRequest): Promise<void> => {
  const { record } = await openRecord(request, 's3:GetObjectTagging')
  answerXml(request.res, 'Tagging', tagsXml(record.notes.tags ?? []))
}

/** Puts these tags instead of those that are there. */
export const putObjectTagging = async (request: GatewayRequest): Promise<void> => {
  const permission = 's3:PutObjectTagging'
  const bucket = await openBucket(request, permission)
  const tags = parseTags(await readBody(request, smallBody), maxObjectTags)
  await changeNotes(
    request,
    { bucket, permission, header: withTags(request.header, tags) },
    ({ tags: _old, ...others }) => (tags.length === 0 ? others : { ...others, tags }),
  )
  answerEmpty(request.res, 200)
}

/** Takes all tags away. */
export const deleteObjectTagging = async (request: GatewayRequest): Promise<void> => {
  const permission = 's3:DeleteObjectTagging'
  const bucket = await openBucket(request, permission)
  await changeNotes(request, { bucket, permission }, ({ tags: _old, ...others }) => others)
  answerEmpty(request.res, 204)
}
