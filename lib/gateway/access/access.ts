/**
 * Who may do what to a bucket and its objects: explicit deny of the bucket policy, then its allow, then the right of the tenant that owns
 * the bucket, then ACLs, else nobody. Not the last word on SSE-KMS: `sse/authorize.ts` closes such objects to other tenants, whatever was
 * decided here.
 */
import { SseError } from '../../errors.ts'
import { decide } from '../../policy/policy.ts'
import { requestValues } from '../../policy/facts.ts'
import type { PolicyPrincipal } from '../../policy/elements.ts'
import { aes256, type HeaderGetter, managedNames, obsNames, s3Names } from '../../sse/names.ts'
import { hasRole, type Requester, sameTenant, tenantAdmin } from '../../sse/profile.ts'
import type { ObjectName, ObjectSummary, Upload } from '../../store/store.ts'
import { aclGrants, bucketAclGrants } from './acl.ts'
import type { GatewayRequest, OwnedBucket } from '../context.ts'
import type { PolicyOf } from './policy-cache.ts'

/** What is asked, where it is not the request itself that says so. */
export interface AccessQuestion {
  /** The source of a copy; what the request names by default. */
  readonly object?: ObjectName | undefined
  /** {@link uploadHeaders} for parts and Complete; the request's headers by default. */
  readonly header?: HeaderGetter | undefined
}

/** `none`: nobody said anything, so the answer is no. */
type Verdict = 'allow' | 'deny' | 'none'

const managesPolicy = ['s3:GetBucketPolicy', 's3:PutBucketPolicy', 's3:DeleteBucketPolicy']

const principalOf = (requester: Requester): PolicyPrincipal =>
  requester.kind === 'anonymous'
    ? { anonymous: true, domainId: '' }
    : { anonymous: false, domainId: requester.caller.domainId, userName: requester.caller.name }

const refusal = (verdict: Verdict, requester: Requester): SseError => {
  if (verdict === 'deny') {
    const message = 'The policy of the bucket denies this. Send what it asks for, or ask its owner to change it.'
    return new SseError('AccessDenied', { message })
  }
  return requester.kind === 'signed'
    ? new SseError('AccessDenied')
    : new SseError('AccessDenied', { message: 'Anonymous requests are not allowed to do this. Sign the request.' })
}

/** A bucket, its owner, and what it says to a wish of whoever asks. */
const lookUp = async (ctx: GatewayRequest, policyOf: PolicyOf, question: AccessQuestion) => {
  const { requester, req, query } = ctx
  const { header = ctx.header, object } = question
  const name = object?.bucket ?? ctx.bucketName()
  const bucket = await ctx.options.store.getBucket(name)
  if (bucket === undefined) throw new SseError('NoSuchBucket', { details: { BucketName: name } })
  const owner = ctx.options.tenants.find(tenant => tenant.domainId === bucket.owner)
  const expected = object === undefined ? header('x-amz-expected-bucket-owner') : undefined
  if (owner === undefined || (expected ?? owner.domainId) !== owner.domainId) throw new SseError('AccessDenied')
  const own = requester.kind === 'signed' && sameTenant(requester.caller, owner)
  // So that a policy cannot lock out whoever may correct it.
  const mayManagePolicy = own && hasRole(requester.caller, tenantAdmin)
  const values = requestValues({
    header,
    sourceIp: req.socket.remoteAddress,
    secure: ctx.tls,
    userAgent: req.headers['user-agent'],
    referer: req.headers.referer,
    now: new Date(ctx.now()),
    prefix: query.get('prefix'),
    delimiter: query.get('delimiter'),
    maxKeys: query.get('max-keys'),
  })
  const judge = (action: string, key: string | undefined): Verdict => {
    if (mayManagePolicy && managesPolicy.includes(action)) return 'allow'
    const resource = `arn:aws:s3:::${bucket.name}${key === undefined ? '' : `/${key}`}`
    const decision = decide(policyOf(bucket), { principal: principalOf(requester), action, resource, values })
    if (decision !== 'none') return decision
    return own || bucketAclGrants(bucket.settings['acl'], action, requester) ? 'allow' : 'none'
  }
  const owned: OwnedBucket = {
    bucket,
    owner,
    own,
    onlyVersion: undefined,
    may: (permission, key) => judge(permission, key) === 'allow',
    assertMay: (permission, key) => {
      const verdict = judge(permission, key)
      if (verdict !== 'allow') throw refusal(verdict, requester)
    },
  }
  return { owned, judge, requester }
}

/** The bucket before anything was decided: whoever calls this asks `assertMay` for each thing that is done. `NoSuchBucket`. */
export const findBucket = async (
  ctx: GatewayRequest,
  policyOf: PolicyOf,
  question: AccessQuestion,
): Promise<OwnedBucket> => (await lookUp(ctx, policyOf, question)).owned

/** The bucket, once the caller may do this to it, or to the object that the question or request names. `NoSuchBucket`, `AccessDenied`. */
export const openBucket = async (
  ctx: GatewayRequest,
  policyOf: PolicyOf,
  permission: string,
  question: AccessQuestion,
): Promise<OwnedBucket> => {
  const { owned, judge, requester } = await lookUp(ctx, policyOf, question)
  const { key } = question.object ?? ctx.target
  const verdict = judge(permission, key)
  if (verdict === 'allow') return owned
  if (verdict === 'none' && key !== undefined && permission === 's3:GetObject') {
    const record = await ctx.options.store.getObject(owned.bucket.name, key)
    if (record !== undefined && aclGrants(record.attributes['acl'], 'READ', requester)) {
      return { ...owned, onlyVersion: record.version }
    }
  }
  throw refusal(verdict, requester)
}

/** What is answered for an object that is not there: whoever may not list the bucket does not learn that. */
export const noSuchKey = (owned: OwnedBucket, key: string): SseError =>
  owned.may('s3:ListBucket') ? new SseError('NoSuchKey', { details: { Key: key } }) : new SseError('AccessDenied')

/** Keeps other tenants from an object under SSE-KMS where nothing of its body is read or written: deleting it, its tags, its ACL. */
export const refuseStranger = ({ own }: OwnedBucket, current: Pick<ObjectSummary, 'kind'> | undefined): void => {
  if (own || current?.kind !== 'sse-kms') return
  const message =
    'Objects encrypted with SSE-KMS are for the tenant that owns the bucket, whatever its ACL or policy says.'
  throw new SseError('AccessDenied', { message })
}

const encryptionNames = new Set(
  [s3Names, obsNames].flatMap(names => managedNames(names).concat(names.customer.algorithm)),
)

const initiatedWith = ({ kind, attributes }: Upload): ReadonlyMap<string, string | undefined> => {
  switch (kind) {
    case 'plain':
      return new Map()
    case 'sse-c':
      return new Map([[s3Names.customer.algorithm, aes256]])
    case 'sse-s3':
      return new Map([[s3Names.algorithm, aes256]])
    case 'sse-kms':
      return new Map([
        [s3Names.algorithm, s3Names.kms],
        [s3Names.keyId, attributes['keyId']],
      ])
  }
}

/** The headers of a part or Complete as a policy sees them: their encryption is the one that the upload was initiated with. */
export const uploadHeaders = (header: HeaderGetter, upload: Upload | undefined): HeaderGetter => {
  const own = upload === undefined ? new Map<string, string>() : initiatedWith(upload)
  return name => (encryptionNames.has(name) ? own.get(name) : header(name))
}
