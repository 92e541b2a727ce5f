/**
 * Who may do what to a bucket and its objects: explicit deny of the bucket policy, then its allow, then the right of the tenant that owns
 * the bucket, then ACLs, else nobody. `sse/authorize.ts` additionally closes objects under SSE-KMS to other tenants. A decision looks
 * at facts of a request and holds for the revision of the bucket that it was made for.
 */
import { SseError } from '../../errors.ts'
import type { PolicyPrincipal } from '../../policy/elements.ts'
import { type ConditionValues, type PolicyTags, type RequestFacts, requestValues } from '../../policy/facts.ts'
import { type Policy, type Ruling, ruling } from '../../policy/policy.ts'
import type { HeaderGetter } from '../../sse/names.ts'
import { hasRole, type Requester, sameTenant, type Tenant, tenantAdmin } from '../../sse/profile.ts'
import type { ObjectStore } from '../../store/store.ts'
import type { Bucket, ObjectCondition, ObjectSummary } from '../../store/records.ts'
import { assertCondition } from '../../store/condition.ts'
import { requestedTags } from '../http/tags.ts'
import { aclGrants, bucketAclGrants } from './acl.ts'
import { createPolicyCache, type PolicyOf } from './policy-cache.ts'
import { effectiveAcl, isRestricted } from './public-access.ts'

/** What a decision looks at: who asks, and what a bucket policy can see of the request. */
export interface AccessFacts extends Omit<RequestFacts, 'requestTags'> {
  readonly requester: Requester
  readonly header: HeaderGetter
  /** Whether the tags that the request puts on its object are not those of its headers, and still to come. */
  readonly tagsToCome?: boolean | undefined
}

/** What is known of a request only after it was judged first: headers that its body comes to, the tags of the object that is there. */
export type LaterFacts = Partial<Pick<AccessFacts, 'header'>> & { readonly existingTags?: PolicyTags }

/** Opens buckets for requests. */
export interface Access {
  /** The bucket of this name, before anything was decided. `NoSuchBucket`; `AccessDenied` where `expectedOwner` is not its owner. */
  find(name: string, facts: AccessFacts, expectedOwner?: string): Promise<JudgedBucket>
}

/** `restricted`: the bucket serves its owner alone. `none`: neither policy, owner nor ACL decides, so the answer is no. */
type Verdict = 'allow' | 'deny' | 'restricted' | 'none'

const managesPolicy = ['s3:GetBucketPolicy', 's3:PutBucketPolicy', 's3:DeleteBucketPolicy']

const principalOf = (requester: Requester): PolicyPrincipal =>
  requester.kind === 'anonymous'
    ? { anonymous: true, domainId: '' }
    : { anonymous: false, domainId: requester.caller.domainId, userName: requester.caller.name }

/** Who began an upload, as it is noted with it: a user of a tenant. Nobody is the one who did not sign. */
export const initiatorOf = (requester: Requester): string | undefined =>
  requester.kind === 'signed' ? `${requester.caller.domainId}/${requester.caller.name}` : undefined

/** `AccessDenied` for a request that nobody signed. */
export const signatureNeeded = (): SseError =>
  new SseError('AccessDenied', { message: 'Anonymous requests are not allowed to do this. Sign the request.' })

const refusal = (verdict: Verdict, requester: Requester): SseError => {
  if (verdict === 'deny') {
    const message = 'The policy of the bucket denies this. Send what it asks for, or ask its owner to change it.'
    return new SseError('AccessDenied', { message })
  }
  if (verdict === 'restricted') {
    const message = 'The public access block of the bucket keeps it for the tenant that owns it. Ask its owner.'
    return new SseError('AccessDenied', { message })
  }
  return requester.kind === 'signed' ? new SseError('AccessDenied') : signatureNeeded()
}

/** How often a change is tried if the bucket's settings change meanwhile: more often than clients change one bucket at once. */
const mostAttempts = 20

/** What policies say of one request, by policy and permission: asked once for all objects that the request is about. */
type Rulings = Map<Policy | undefined, Map<string, Ruling>>

/** What the buckets of a gateway have in common. */
interface Shared {
  readonly store: Pick<ObjectStore, 'getBucket' | 'getObject'>
  readonly policyOf: PolicyOf
}

/** A bucket, and what its settings say of one request. */
export class JudgedBucket {
  /** The tenant that owns the bucket. */
  readonly owner: Tenant
  /** Whether the requester is of that tenant. */
  readonly isOwner: boolean
  readonly #shared: Shared
  readonly #facts: AccessFacts
  readonly #values: ConditionValues
  readonly #rulings: Rulings
  /** Questions that were answered with yes; each is asked again by its function. */
  readonly #granted: (() => void)[] = []
  #bucket: Bucket
  /** Whether it is up to the object who may read it. */
  #isUpToObject = true

  /** Judges nothing yet. */
  constructor(shared: Shared, bucket: Bucket, owner: Tenant, facts: AccessFacts, rulings: Rulings = new Map()) {
    this.#shared = shared
    this.#bucket = bucket
    this.#facts = facts
    const { existingTags = 'unknown' } = facts
    const requestTags = () => (facts.tagsToCome === true ? 'unknown' : requestedTags(facts.header))
    this.#values = requestValues({ ...facts, requestTags, existingTags })
    this.#rulings = rulings
    this.owner = owner
    this.isOwner = facts.requester.kind === 'signed' && sameTenant(facts.requester.caller, owner)
  }

  /** The bucket as it was judged last. */
  get bucket(): Bucket {
    return this.#bucket
  }

  /** The bucket's policy, if it has one. */
  get policy(): Policy | undefined {
    return this.#shared.policyOf(this.#bucket)
  }

  /** What its settings make of something. Asked again, for what it throws, if they have changed before the commit. */
  bySettings<T>(ask: (settings: Bucket['settings']) => T): T {
    const answer = ask(this.#bucket.settings)
    this.#granted.push(() => void this.bySettings(ask))
    return answer
  }

  /** The same bucket and request, nothing asked yet: for one of many objects, each of which is decided by itself. */
  apart(): JudgedBucket {
    return new JudgedBucket(this.#shared, this.#bucket, this.owner, this.#facts, this.#rulings)
  }

  /** Whether the requester may do this to the bucket, or to an object of it. An object's own ACL is not looked at. */
  may(permission: string, key?: string): boolean {
    return this.#judge(permission, key) === 'allow'
  }

  /**
   * `AccessDenied`, with what to do about it, unless the requester {@link JudgedBucket.may} do that. A change is held to it. Conditions of a policy
   * on tags that are still unknown let the requester pass: {@link JudgedBucket.assertMayKnowing} decides then.
   */
  assertMay(permission: string, key?: string): void {
    const verdict = this.#judge(permission, key)
    if (verdict !== 'allow') throw refusal(verdict, this.#facts.requester)
    this.#granted.push(() => this.assertMay(permission, key))
  }

  /** {@link JudgedBucket.assertMay} for the ACL of an object that is written: who writes by the bucket's ACL may say it too, as in S3. */
  assertMayOpen(key: string): void {
    const { requester } = this.#facts
    const verdict = this.#knowing({ existingTags: [] }).#judge('s3:PutObjectAcl', key) // a new object has none
    const byAcl = verdict === 'none' && this.#byAcl('s3:PutObject')
    if (verdict !== 'allow' && !byAcl) throw refusal(verdict, requester)
    this.#granted.push(() => this.assertMayOpen(key))
  }

  /** {@link JudgedBucket.assertMay} of the same request, of which more is known by now. */
  assertMayKnowing(later: LaterFacts, permission: string, key?: string): void {
    this.#knowing(later).assertMay(permission, key)
    this.#granted.push(() => this.assertMayKnowing(later, permission, key))
  }

  #knowing(later: LaterFacts): JudgedBucket {
    const tagsToCome = later.header === undefined && this.#facts.tagsToCome
    return new JudgedBucket(this.#shared, this.#bucket, this.owner, { ...this.#facts, ...later, tagsToCome })
  }

  /**
   * {@link JudgedBucket.assertMay} for an upload that somebody else may have begun: an ACL that lets everyone write does not let them have the
   * uploads of others. Those take the owner's right, or a policy.
   */
  assertMayToUpload(permission: string, key: string, initiator: string | undefined): void {
    const { requester } = this.#facts
    const own = this.isOwner || (initiator !== undefined && initiator === initiatorOf(requester))
    const verdict = own ? this.#judge(permission, key) : this.#byPolicy(permission, key)
    if (verdict !== 'allow') throw refusal(verdict, requester)
    this.#granted.push(() => this.assertMayToUpload(permission, key, initiator))
  }

  /** `AccessDenied` where the requester may do this to no object at all: asked before a body names the objects. */
  assertMayToSome(permission: string): void {
    const { requester } = this.#facts
    if (this.isOwner) return
    if (this.#isRestricted()) throw refusal('restricted', requester)
    if (!this.#byAcl(permission) && !this.#ruling(permission).mayAllow) throw refusal('none', requester)
  }

  /**
   * The same for reading an object, whose own ACL may let the requester in. `NoSuchKey` for who may list the bucket. To be followed by
   * {@link JudgedBucket.assertMayReadThis}.
   */
  async assertMayRead(key: string): Promise<void> {
    const { requester } = this.#facts
    const verdict = this.#judge('s3:GetObject', key)
    this.#isUpToObject = verdict !== 'allow' || this.#ruling('s3:GetObject').isOpen
    if (verdict === 'allow') return
    const record = verdict === 'none' ? await this.#shared.store.getObject(this.#bucket.id, key) : undefined
    // Whoever may list the bucket may know that there is no such object.
    if (verdict === 'none' && record === undefined && this.may('s3:ListBucket')) throw noSuchKey(this, key)
    if (!this.#byAclOf(record)) throw refusal(verdict, requester)
  }

  /** {@link JudgedBucket.assertMayRead} once the object is open: its own tags and ACL count, whatever was there before. */
  assertMayReadThis(key: string, object: Pick<ObjectSummary, 'notes'>): void {
    if (!this.#isUpToObject) return
    const verdict = this.#knowing({ existingTags: object.notes.tags ?? [] }).#judge('s3:GetObject', key)
    const byAcl = verdict === 'none' && this.#byAclOf(object)
    if (verdict !== 'allow' && !byAcl) throw refusal(verdict, this.#facts.requester)
  }

  #byAclOf(object: Pick<ObjectSummary, 'notes'> | undefined): boolean {
    return aclGrants(effectiveAcl(this.#bucket.settings, object?.notes.acl), 'READ', this.#facts.requester)
  }

  /**
   * Runs a change of the bucket, or of what is in it, as it was judged. Where the bucket's settings have changed meanwhile, the same facts are
   * judged again under the new ones, and the change is run again: twenty times at most, `BucketChanged` then. `NoSuchBucket` where the bucket
   * is gone, even if another one has its name by now.
   */
  async commit<T>(change: (bucket: Bucket) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await change(this.#bucket)
      } catch (error) {
        if (!(error instanceof SseError) || error.code !== 'BucketChanged' || attempt === mostAttempts) throw error
        await this.#judgeAgain()
      }
    }
  }

  async #judgeAgain(): Promise<void> {
    const { id, name } = this.#bucket
    const now = await this.#shared.store.getBucket(name)
    if (now?.id !== id) throw new SseError('NoSuchBucket', { details: { BucketName: name } })
    this.#bucket = now
    for (const askAgain of this.#granted.splice(0)) askAgain()
  }

  #judge(action: string, key: string | undefined): Verdict {
    const { requester } = this.#facts
    // A policy must not lock out the administrators who can correct it.
    if (this.#managesPolicy(requester) && managesPolicy.includes(action)) return 'allow'
    const decision = this.#byPolicy(action, key)
    if (decision !== 'none') return decision
    return this.isOwner || this.#byAcl(action) ? 'allow' : 'none'
  }

  #byAcl(action: string): boolean {
    const { settings } = this.#bucket
    return bucketAclGrants(effectiveAcl(settings, settings['acl']), action, this.#facts.requester)
  }

  #isRestricted(): boolean {
    return !this.isOwner && isRestricted(this.#bucket.settings, this.policy)
  }

  #byPolicy(action: string, key: string | undefined): Verdict {
    if (this.#isRestricted()) return 'restricted'
    const resource = `arn:aws:s3:::${this.#bucket.name}${key === undefined ? '' : `/${key}`}`
    return this.#ruling(action).of(resource)
  }

  #ruling(action: string): Ruling {
    const { policy } = this
    const ofPolicy = this.#rulings.get(policy) ?? new Map<string, Ruling>()
    this.#rulings.set(policy, ofPolicy)
    const known = ofPolicy.get(action)
    if (known !== undefined) return known
    const made = ruling(policy, { principal: principalOf(this.#facts.requester), action, values: this.#values })
    ofPolicy.set(action, made)
    return made
  }

  #managesPolicy(requester: Requester): boolean {
    return this.isOwner && requester.kind === 'signed' && hasRole(requester.caller, tenantAdmin)
  }
}

/** Opens the buckets of a store for requests; keeps parsed policies. */
export const createAccess = (store: Shared['store'], tenants: readonly Tenant[]): Access => {
  const shared: Shared = { store, policyOf: createPolicyCache() }
  const owners = new Map(tenants.map(tenant => [tenant.domainId, tenant]))
  return {
    find: async (name, facts, expectedOwner) => {
      const bucket = await store.getBucket(name)
      if (bucket === undefined) throw new SseError('NoSuchBucket', { details: { BucketName: name } })
      const owner = owners.get(bucket.owner)
      if (owner === undefined || (expectedOwner ?? owner.domainId) !== owner.domainId)
        throw new SseError('AccessDenied')
      return new JudgedBucket(shared, bucket, owner, facts)
    },
  }
}

/** The error for an object that does not exist: `AccessDenied` for a requester who may not list the bucket. */
export const noSuchKey = (bucket: JudgedBucket, key: string): SseError =>
  bucket.may('s3:ListBucket') ? new SseError('NoSuchKey', { details: { Key: key } }) : new SseError('AccessDenied')

/** Keeps other tenants from objects under SSE-KMS, also where nothing of a body is read: deleting one, overwriting it, its tags, its ACL. */
export const closedToOthers = ({ isOwner }: JudgedBucket): Pick<ObjectCondition, 'refuseKinds'> =>
  isOwner ? {} : { refuseKinds: ['sse-kms'] }

/** {@link closedToOthers} for an object that is read. */
export const assertOpenTo = (bucket: JudgedBucket, current: ObjectSummary): void =>
  assertCondition(current, closedToOthers(bucket))
