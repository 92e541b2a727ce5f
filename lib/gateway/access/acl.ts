/**
 * Canned access control lists, by header and as XML. A bucket or object stores the name of a list that opens it to others, or none. No ACL opens an
 * object under SSE-KMS.
 */
import { SseError } from '../../errors.ts'
import type { Dialect, HeaderGetter } from '../../sse/names.ts'
import type { Requester, Tenant } from '../../sse/profile.ts'
import type { Bucket } from '../../store/records.ts'
import { field, fields, fromXml, textOf, type XmlContent } from '../http/xml.ts'
import { assertTakesOpenAcl, hasAclsDisabled } from './public-access.ts'

/** A list that opens something to others. */
export type OpenAcl = 'public-read' | 'public-read-write' | 'authenticated-read'

const openAcls: readonly OpenAcl[] = ['public-read', 'public-read-write', 'authenticated-read']
const ownerFullControl = 'bucket-owner-full-control'
const closedAcls = ['private', 'bucket-owner-read', ownerFullControl]
const known = [...closedAcls, ...openAcls].join(', ')

const groups = 'http://acs.amazonaws.com/groups/global/'

/** What a list grants to a group. */
type Grant = readonly [group: 'AllUsers' | 'AuthenticatedUsers', permission: 'READ' | 'WRITE']

const grantsOf: Readonly<Record<OpenAcl, readonly Grant[]>> = {
  'public-read': [['AllUsers', 'READ']],
  'public-read-write': [
    ['AllUsers', 'READ'],
    ['AllUsers', 'WRITE'],
  ],
  'authenticated-read': [['AuthenticatedUsers', 'READ']],
}

const notBuilt = (what: string): SseError =>
  new SseError('NotImplemented', {
    message: `${what} is not implemented here. Use one of ${known}, or a bucket policy.`,
  })

/** A list by its name; `undefined` for one that opens nothing. `InvalidArgument` for an unknown name, `NotImplemented` for one that is not built. */
const parseCanned = (header: string, name: string): OpenAcl | undefined => {
  const open = openAcls.find(each => each === name)
  if (open !== undefined || closedAcls.includes(name)) return open
  if (/^(?:aws-exec-read|log-delivery-write|public-read(?:-write)?-delivered)$/.test(name))
    throw notBuilt(`ACL ${name}`)
  throw new SseError('InvalidArgument', {
    message: `The ACL is not known. Use one of ${known}.`,
    details: { ArgumentName: header, ArgumentValue: name },
  })
}

const grants = ['full-control', 'read', 'read-acp', 'write', 'write-acp', 'read-delivered', 'full-control-delivered']
const grantHeaders = ['x-amz', 'x-obs'].flatMap(family => grants.map(name => `${family}-grant-${name}`))
const aclHeaders = ['x-amz-acl', 'x-obs-acl']

/**
 * The ACL that headers ask for: `undefined` where they name none, `'closed'` for one that opens nothing. `NotImplemented`, `InvalidArgument`; what
 * the bucket's settings refuse: `AccessControlListNotSupported`, `AccessDenied`.
 */
export const requestedAcl = (header: HeaderGetter, settings: Bucket['settings']): OpenAcl | 'closed' | undefined => {
  const grant = grantHeaders.find(name => header(name) !== undefined)
  const name = aclHeaders.find(each => header(each) !== undefined) ?? ''
  const value = header(name)
  if (hasAclsDisabled(settings) && (grant ?? value ?? ownerFullControl) !== ownerFullControl) {
    throw new SseError('AccessControlListNotSupported')
  }
  if (grant !== undefined) throw notBuilt(`The header ${grant}`)
  if (value === undefined) return undefined
  const open = parseCanned(name, value)
  if (open !== undefined) assertTakesOpenAcl(settings)
  return open ?? 'closed'
}

/**
 * The ACL of an `AccessControlPolicy`: one that a canned ACL could have made. `MalformedXML`, `NotImplemented`, `AccessDenied` for another owner;
 * what the bucket's settings refuse, as {@link requestedAcl}.
 */
export const parseAcl = (xml: string, owner: Tenant, settings: Bucket['settings']): OpenAcl | 'closed' => {
  const content = fromXml(xml, 'AccessControlPolicy')
  const isOwner = (id: string | undefined): boolean => id === owner.domainId
  const named = textOf(field(content, 'Owner'), 'ID')
  if (named === undefined) throw new SseError('MalformedXML')
  if (!isOwner(named))
    throw new SseError('AccessDenied', { message: 'The owner cannot be changed. Name the owner that is.' })
  const other = (what: string): SseError =>
    hasAclsDisabled(settings) ? new SseError('AccessControlListNotSupported') : notBuilt(what)
  const given = new Set<string>()
  for (const grant of fields(field(content, 'AccessControlList'), 'Grant')) {
    const grantee = field(grant, 'Grantee')
    const permission = textOf(grant, 'Permission')
    const id = textOf(grantee, 'ID')
    const group = textOf(grantee, 'URI') ?? canned(textOf(grantee, 'Canned'))
    if (permission === undefined) throw new SseError('MalformedXML')
    if (textOf(grantee, 'EmailAddress') !== undefined) throw other('A grant to an email address')
    if ((id === undefined) === (group === undefined)) throw new SseError('MalformedXML')
    if (group === undefined && !isOwner(id)) throw other('A grant to another user')
    given.add(group === undefined ? `owner ${permission}` : `${group} ${permission}`)
  }
  // The owner has full control here, whatever the list says: one that says less would not be kept as it is.
  given.delete('owner FULL_CONTROL')
  if ([...given].some(grant => grant.startsWith('owner '))) {
    throw other('A list that gives its owner less than FULL_CONTROL')
  }
  if (given.size === 0) return 'closed'
  const same = (acl: OpenAcl): boolean =>
    grantsOf[acl].length === given.size &&
    grantsOf[acl].every(([group, permission]) => given.has(`${groups}${group} ${permission}`))
  const found = openAcls.find(same)
  if (found === undefined) throw other('This list of grants')
  assertTakesOpenAcl(settings)
  return found
}

/** OBS has its own element for everyone. */
const everyone = { Canned: 'Everyone' }

const canned = (name: string | undefined): string | undefined => (name === everyone.Canned ? `${groups}AllUsers` : name)

const xsi = 'http://www.w3.org/2001/XMLSchema-instance'

/** An ACL as `AccessControlPolicy`: the owner's full control, then what it opens. */
export const aclXml = (
  owner: Tenant,
  acl: string | undefined,
  dialect: Dialect,
): { readonly [name: string]: XmlContent } => {
  const open = openAcls.find(each => each === acl)
  const user = { ID: owner.domainId, DisplayName: owner.domainId }
  const typed = (type: string, content: Readonly<Record<string, string>>): XmlContent =>
    dialect === 'obs' ? content : { '@xmlns:xsi': xsi, '@xsi:type': type, ...content }
  return {
    Owner: user,
    AccessControlList: {
      Grant: [
        { Grantee: typed('CanonicalUser', user), Permission: 'FULL_CONTROL' },
        ...(open === undefined ? [] : grantsOf[open]).map(([group, permission]) => ({
          Grantee: group === 'AllUsers' && dialect === 'obs' ? everyone : typed('Group', { URI: `${groups}${group}` }),
          Permission: permission,
        })),
      ],
    },
  }
}

const bucketRead = ['s3:ListBucket', 's3:ListBucketVersions', 's3:ListBucketMultipartUploads']
const bucketWrite = ['s3:PutObject', 's3:DeleteObject', 's3:AbortMultipartUpload', 's3:ListMultipartUploadParts']

/** Whether an ACL gives a permission to somebody who is not the owner. */
export const aclGrants = (acl: string | undefined, wanted: Grant[1], requester: Requester): boolean => {
  const open = openAcls.find(each => each === acl)
  if (open === undefined) return false
  return grantsOf[open].some(
    ([group, permission]) => permission === wanted && (group === 'AllUsers' || requester.kind === 'signed'),
  )
}

/** Whether a bucket's ACL lets somebody else do this to the bucket or its objects. Reading objects is up to their own ACLs. */
export const bucketAclGrants = (acl: string | undefined, permission: string, requester: Requester): boolean =>
  (bucketRead.includes(permission) && aclGrants(acl, 'READ', requester)) ||
  (bucketWrite.includes(permission) && aclGrants(acl, 'WRITE', requester))
