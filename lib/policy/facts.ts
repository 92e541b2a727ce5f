/**
 * The condition keys: their names, and the values that a request has for them. A header counts under both spellings, so that a policy for one
 * family of clients also holds for the other: `x-obs-server-side-encryption: kms` is `aws:kms` for `s3:x-amz-server-side-encryption`, and
 * the other way round. Values are taken as they were sent, valid or not.
 */

import { SseError } from '../errors.ts'

/** Tags of an object. */
export type PolicyTags = readonly (readonly [name: string, value: string])[]

/** What conditions can ask of a request. */
export interface RequestFacts {
  /**
   * The value of a header, by its name in lower case; of a form (POST Object) its field of that name, with the field `acl` under
   * `x-amz-acl`. Of a part or Complete, the encryption that the upload was initiated with, under the names that Initiate has for it.
   */
  readonly header: (name: string) => string | undefined
  /** Address of the client, without a port. */
  readonly sourceIp?: string | undefined
  /** Whether the request came over TLS. */
  readonly secure: boolean
  /** The User-Agent header. */
  readonly userAgent?: string | undefined
  /** The Referer header. */
  readonly referer?: string | undefined
  /** When the request arrived. */
  readonly now: Date
  /** `prefix` of a listing, decoded; may be empty. */
  readonly prefix?: string | undefined
  /** `delimiter` of a listing, decoded; may be empty. */
  readonly delimiter?: string | undefined
  /** `max-keys` of a listing, as sent. */
  readonly maxKeys?: string | undefined
  /** Tags that the request puts on its object; asked for when a condition needs them. `unknown` while they are still to come. */
  readonly requestTags?: (() => PolicyTags | 'unknown' | undefined) | undefined
  /** Tags of the object that is there. `unknown` while nobody has looked. */
  readonly existingTags?: PolicyTags | 'unknown' | undefined
}

/** The values that a request has for a canonical condition key, in lower case; `undefined` where it has none, `unknown` where that is not known yet. */
export type ConditionValues = (key: string) => readonly string[] | 'unknown' | undefined

type Reader = (facts: RequestFacts) => string | readonly string[] | undefined

/** The value in either spelling; an empty header counts as none, and two that differ are one value that is neither. */
const either = (s3: string | undefined, obs: string | undefined): string | undefined => {
  if (!s3 || !obs) return s3 || obs || undefined
  return s3 === obs ? s3 : `${s3}, ${obs}`
}

const both =
  (name: string, obsName = name): Reader =>
  ({ header }) =>
    either(header(`x-amz-${name}`), header(`x-obs-${obsName}`))

const algorithm = 'server-side-encryption'

const rename = (value: string | undefined, from: string, to: string): string | undefined =>
  value === from ? to : value

const s3Algorithm: Reader = ({ header }) =>
  either(header(`x-amz-${algorithm}`), rename(header(`x-obs-${algorithm}`), 'kms', 'aws:kms'))

const obsAlgorithm: Reader = ({ header }) =>
  either(rename(header(`x-amz-${algorithm}`), 'aws:kms', 'kms'), header(`x-obs-${algorithm}`))

const keyId = both(`${algorithm}-aws-kms-key-id`, `${algorithm}-kms-key-id`)

/** OBS's short form REGION:DOMAIN:key/ID is the ARN without its beginning. */
const keyArn: Reader = facts => {
  const value = keyId(facts)
  return typeof value === 'string' && /^[^:]+:[^:]+:key\/[^:]+$/.test(value) ? `arn:aws:kms:${value}` : value
}

/** Policies write `bucket/key` and `/bucket/key`, so the source has both spellings; percent-encoding and version are not part of it. */
const copySource: Reader = facts => {
  const sent = both('copy-source')(facts)
  if (typeof sent !== 'string') return undefined
  const [path = ''] = sent.split('?versionId=')
  const name = decode(path).replace(/^\//, '')
  return [name, `/${name}`]
}

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const headers = [
  'acl',
  'grant-full-control',
  'grant-read',
  'grant-read-acp',
  'grant-write',
  'grant-write-acp',
  'metadata-directive',
  'storage-class',
  `${algorithm}-customer-algorithm`,
]

const readers: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ...headers.map((name): [string, Reader] => [`s3:x-amz-${name}`, both(name)]),
  ['s3:x-amz-copy-source', copySource],
  [`s3:x-amz-${algorithm}`, s3Algorithm],
  [`x-obs-${algorithm}`, obsAlgorithm],
  [`s3:x-amz-${algorithm}-aws-kms-key-id`, keyArn],
  ['s3:prefix', facts => facts.prefix],
  ['s3:delimiter', facts => facts.delimiter],
  ['s3:max-keys', facts => facts.maxKeys],
  ['aws:sourceip', facts => facts.sourceIp],
  ['aws:securetransport', facts => String(facts.secure)],
  ['aws:useragent', facts => facts.userAgent],
  ['aws:referer', facts => facts.referer],
  ['aws:currenttime', facts => facts.now.toISOString()],
  ['aws:epochtime', facts => String(Math.floor(facts.now.getTime() / 1000))],
])

const tagKey = /^s3:(existing|request)objecttag(?:\/(.+)|keys)$/s

/** The values of a key about tags: those of the tags that it names, in any case as everywhere in keys; or the names of all. */
const tagValues = (key: string, { requestTags, existingTags }: RequestFacts): ReturnType<ConditionValues> => {
  const [, whose, wanted] = tagKey.exec(key) ?? []
  const tags = whose === 'existing' ? existingTags : requestTags?.()
  if (tags === undefined || tags === 'unknown') return tags
  if (wanted === undefined) return tags.map(([name]) => name)
  return tags.flatMap(([name, value]) => (name.toLowerCase() === wanted ? [value] : []))
}

/** Actions, as `bareAction` gives them, for which there are keys about the tags of the object that is there: as in S3, not writing or deleting it. */
const knowExisting = new Set([
  ...['getobject', 'getobjectacl', 'getobjectattributes', 'getobjecttagging', 'putobjectacl', 'putobjecttagging'],
  ...['getobjectversion', 'getobjectversionacl', 'getobjectversionattributes', 'getobjectversiontagging'],
  ...['putobjectversionacl', 'putobjectversiontagging', 'deleteobjecttagging', 'deleteobjectversiontagging'],
])
/** And about the tags that a request brings. */
const knowRequested = new Set(['putobject', 'putobjecttagging', 'putobjectversiontagging'])

/** Whether a key is about tags. */
export const isTagKey = (key: string): boolean => tagKey.test(key)

/** Whether there is a value of a key for an action at all, as `bareAction` gives it. */
export const hasKey = (action: string, key: string): boolean => {
  const [, whose] = tagKey.exec(key) ?? []
  return whose === undefined || (whose === 'existing' ? knowExisting : knowRequested).has(action)
}

/** OBS's names; those without `x-obs-` are of its older pages. */
const aliases: ReadonlyMap<string, string> = new Map([
  ...['sourceip', 'securetransport', 'useragent', 'referer', 'currenttime', 'epochtime'].map(
    (name): [string, string] => [name, `aws:${name}`],
  ),
  ...['prefix', 'delimiter', 'max-keys'].map((name): [string, string] => [name, `s3:${name}`]),
  ...[...headers, 'copy-source'].map((name): [string, string] => [`x-obs-${name}`, `s3:x-amz-${name}`]),
  [`x-obs-${algorithm}-kms-key-id`, `s3:x-amz-${algorithm}-aws-kms-key-id`],
  ['acl', 's3:x-amz-acl'],
  ['copysource', 's3:x-amz-copy-source'],
  ['metadata-directive', 's3:x-amz-metadata-directive'],
])

/** The canonical name, in lower case, of a condition key in any case and in S3's or OBS's spelling; `undefined` where there is none. */
export const conditionKey = (name: string): string | undefined => {
  const lower = name.toLowerCase()
  const key = aliases.get(lower) ?? lower
  return readers.has(key) || (isTagKey(key) && key !== 's3:existingobjecttagkeys') ? key : undefined
}

/** Characters that a value may have: no header has more, so only a form can send more. */
const maxValue = 16 * 1024

/**
 * The values of a request, to decide with. Pure: headers are asked for when a condition needs them. `InvalidArgument` for a value of more than
 * 16,384 characters, so that a decision stays short.
 *
 * {@includeCode ../../test/examples/rules.test.ts#who,policy}
 */
export const requestValues =
  (facts: RequestFacts): ConditionValues =>
  key => {
    const value = readers.get(key)?.(facts)
    const values = isTagKey(key) ? tagValues(key, facts) : typeof value === 'string' ? [value] : value
    if (values !== 'unknown' && values?.some(({ length }) => length > maxValue))
      throw new SseError('InvalidArgument', { message: `The value of ${key} is too long. Send a shorter one.` })
    return values
  }
