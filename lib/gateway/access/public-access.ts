/**
 * What a bucket's owner lets be public: its public access block and its ownership controls, as S3 has them, and what they say of ACLs and of
 * policies. Every ACL that opens something is public here: all of them grant to everyone, or to everyone who signs.
 */
import { SseError } from '../../errors.ts'
import type { Policy } from '../../policy/policy.ts'
import type { HeaderGetter } from '../../sse/names.ts'
import type { Bucket } from '../../store/records.ts'
import { field, fields, textOf, type XmlContent } from '../http/xml.ts'

type Settings = Bucket['settings']

const blocks = ['BlockPublicAcls', 'IgnorePublicAcls', 'BlockPublicPolicy', 'RestrictPublicBuckets'] as const

const isSet = (kept: string | undefined, block: (typeof blocks)[number]): boolean =>
  kept?.split(' ').includes(block) ?? false

const keptBlock = (settings: Settings): string | undefined => settings['publicAccessBlock']

/** The text that a bucket keeps of a `PublicAccessBlockConfiguration`: the names of what is on. `MalformedXML`, `InvalidRequest`. */
export const publicAccessSetting = (content: unknown): string => {
  const named = blocks.filter(name => field(content, name) !== undefined)
  if (named.length === 0) throw new SseError('InvalidRequest', { message: 'Must specify at least one configuration.' })
  const on = named.filter(name => {
    const value = textOf(content, name)?.toLowerCase()
    if (value !== 'true' && value !== 'false') throw new SseError('MalformedXML')
    return value === 'true'
  })
  return on.join(' ')
}

/** The content of a `PublicAccessBlockConfiguration`. */
export const publicAccessXml = (kept: string): { readonly [name: string]: XmlContent } =>
  Object.fromEntries(blocks.map(name => [name, isSet(kept, name)]))

const ownerships = ['BucketOwnerEnforced', 'BucketOwnerPreferred', 'ObjectWriter']

/** The text that a bucket keeps of its `OwnershipControls`: the one rule's. `MalformedXML`. */
export const ownershipSetting = (content: unknown): string => {
  const [rule, ...more] = fields(content, 'Rule')
  const ownership = textOf(rule, 'ObjectOwnership')
  if (more.length > 0 || ownership === undefined || !ownerships.includes(ownership)) throw new SseError('MalformedXML')
  return ownership
}

/** The content of `OwnershipControls`. */
export const ownershipXml = (kept: string): { readonly [name: string]: XmlContent } => ({
  Rule: { ObjectOwnership: kept },
})

/** The ownership that a new bucket is to have. `InvalidArgument`. */
export const requestedOwnership = (header: HeaderGetter): string | undefined => {
  const ownership = header('x-amz-object-ownership')
  if (ownership === undefined || ownerships.includes(ownership)) return ownership
  throw new SseError('InvalidArgument', {
    message: `Invalid x-amz-object-ownership header: use one of ${ownerships.join(', ')}.`,
    details: { ArgumentName: 'x-amz-object-ownership', ArgumentValue: ownership },
  })
}

/** Whether the bucket takes no ACLs, and those that there are do not count. */
export const hasAclsDisabled = (settings: Settings): boolean => settings['ownership'] === 'BucketOwnerEnforced'

/** An ACL of the bucket or of an object in it, as far as it counts. */
export const effectiveAcl = (settings: Settings, acl: string | undefined): string | undefined =>
  hasAclsDisabled(settings) || isSet(keptBlock(settings), 'IgnorePublicAcls') ? undefined : acl

/** `AccessControlListNotSupported`, `AccessDenied` where a bucket does not take an ACL that opens something. */
export const assertTakesOpenAcl = (settings: Settings): void => {
  if (hasAclsDisabled(settings)) throw new SseError('AccessControlListNotSupported')
  if (!isSet(keptBlock(settings), 'BlockPublicAcls')) return
  const message = 'The public access block of the bucket refuses public ACLs. Leave the ACL out, or change the block.'
  throw new SseError('AccessDenied', { message })
}

/** `InvalidBucketAclWithObjectOwnership` for controls that disable ACLs while the bucket's own opens it to others. */
export const assertOwnershipFits = (ownership: string | undefined, acl: string | undefined): void => {
  if (ownership === 'BucketOwnerEnforced' && acl !== undefined) {
    throw new SseError('InvalidBucketAclWithObjectOwnership')
  }
}

/** `AccessDenied` where the bucket takes no public policy, and this is one. */
export const assertTakesPolicy = (settings: Settings, { isPublic }: Policy): void => {
  if (!isPublic || !isSet(keptBlock(settings), 'BlockPublicPolicy')) return
  const message = 'The public access block of the bucket refuses public policies. Name principals, or change the block.'
  throw new SseError('AccessDenied', { message })
}

/** Whether the bucket serves the tenant that owns it, and nobody else: its policy is public, and the block says so. */
export const isRestricted = (settings: Settings, policy: Policy | undefined): boolean =>
  policy?.isPublic === true && isSet(keptBlock(settings), 'RestrictPublicBuckets')
