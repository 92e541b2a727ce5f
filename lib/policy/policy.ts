/**
 * Parses a bucket policy document (JSON text) into an immutable policy, and decides by it. The parser refuses what could not be enforced later:
 * unknown elements, operators, keys, actions, principals and resources. Sources: S3's policy language; OBS's bucket policy parameters.
 */
import { utf8 } from '../bytes.ts'
import { type Condition, parseConditions } from './condition.ts'
import {
  type ActionPattern,
  bareAction,
  bareResource,
  parseAction,
  parsePrincipal,
  parseResource,
  type PolicyPrincipal,
  type ResourcePattern,
} from './elements.ts'
import { type ConditionValues, hasKey, isTagKey } from './facts.ts'
import { glob } from './glob.ts'
import {
  asList,
  asObject,
  asText,
  asTexts,
  type Json,
  type JsonObject,
  malformed,
  onlyKnown,
  parseJson,
  type Placed,
  quote,
} from './syntax.ts'

/** The versions of the policy language; they differ in policy variables (`${aws:…}`) alone. */
export type PolicyVersion = '2008-10-17' | '2012-10-17'

/** One statement, its elements compiled into tests; `Not…` elements are in the tests already. */
export interface Statement {
  /** The statement's name, for logs. */
  readonly sid: string | undefined
  /** What the statement does to requests that it is about. */
  readonly effect: 'Allow' | 'Deny'
  /** Principal or NotPrincipal. */
  readonly coversPrincipal: (principal: PolicyPrincipal) => boolean
  /** Action or NotAction; takes `putobject`, without `s3:` and in lower case. */
  readonly coversAction: (action: string) => boolean
  /** Resource or NotResource; takes `bucket` or `bucket/key`. */
  readonly coversResource: (resource: string) => boolean
  /** All must hold. */
  readonly conditions: readonly Condition[]
  /** Whether it allows something to everyone, and no condition names addresses. */
  readonly isPublic: boolean
}

/** A bucket policy. Frozen. */
export interface Policy {
  /** Version of the language; 2008-10-17 where the document names none. */
  readonly version: PolicyVersion
  /** The document's Id. */
  readonly id: string | undefined
  /** In the order of the document, which does not matter. */
  readonly statements: readonly Statement[]
  /** Whether S3 calls it public: one statement is. A Deny does not take that back. */
  readonly isPublic: boolean
}

/** What a policy is parsed for. */
export interface ParsePolicyOptions {
  /** Name of the bucket that the policy is put on: all resources must be of it. */
  readonly bucket: string
}

/** Longest document, in bytes of UTF-8 (S3: "bucket policies are limited to 20 KB in size"). */
export const maxPolicyLength: number = 20 * 1024

const elements = [
  'Sid',
  'Effect',
  'Principal',
  'NotPrincipal',
  'Action',
  'NotAction',
  'Resource',
  'NotResource',
  'Condition',
]

/** Which of an element and its `Not…` a statement has: it needs exactly one. */
const oneOf = (place: string, statement: JsonObject, name: string): { place: string; not: boolean; value: Json } => {
  const value = statement.get(name)
  const notValue = statement.get(`Not${name}`)
  if (value !== undefined && notValue === undefined) return { place: `${place}.${name}`, not: false, value }
  if (notValue !== undefined && value === undefined) return { place: `${place}.Not${name}`, not: true, value: notValue }
  throw malformed(place, `needs ${name} or Not${name}, and not both. Write one of them.`)
}

/** S3's "Action does not apply to any resource(s) in statement". */
const checkApplies = (action: ActionPattern, resources: readonly ResourcePattern[]): void => {
  const applies = resources.some(
    ({ namesBucket, namesObjects }) => (namesBucket && action.onBucket) || (namesObjects && action.onObjects),
  )
  if (applies) return
  const wanted = action.onBucket ? 'the bucket itself ("arn:aws:s3:::bucket")' : 'objects ("arn:aws:s3:::bucket/*")'
  throw malformed(
    action.place,
    `${quote(action.text)} does not apply to any resource in the statement. Add ${wanted} or take it out.`,
  )
}

/** S3's "Conditions do not apply to combination of actions and resources in statement", of keys about tags. */
const checkKeys = (actions: readonly ActionPattern[], conditions: readonly Condition[]): void => {
  for (const { key } of conditions) {
    const without = actions.find(({ pattern }) => !/[*?]/.test(pattern) && !hasKey(pattern, key))
    if (without === undefined) continue
    throw malformed(
      without.place,
      `there is no ${quote(key)} for ${quote(without.text)}. Take the action or the condition out of the statement.`,
    )
  }
}

const parseEffect = (place: string, value: Json | undefined): 'Allow' | 'Deny' => {
  if (value !== 'Allow' && value !== 'Deny') throw malformed(place, 'write "Allow" or "Deny".')
  return value
}

const parseStatement = (place: string, json: Json, bucket: string, check: (value: Placed) => void): Statement => {
  const statement = asObject(place, json)
  onlyKnown(place, statement, elements)
  const sid = statement.get('Sid')
  const principal = oneOf(place, statement, 'Principal')
  const action = oneOf(place, statement, 'Action')
  const resource = oneOf(place, statement, 'Resource')
  const condition = statement.get('Condition')

  const { covers, isEveryone } = parsePrincipal(principal.place, principal.value)
  const effect = parseEffect(`${place}.Effect`, statement.get('Effect'))
  if (effect === 'Allow' && principal.not)
    throw malformed(principal.place, 'Allow with NotPrincipal is not allowed. Name whom to allow under Principal.')
  const actions = asTexts(action.place, action.value).map(parseAction)
  const isAction = glob(actions.map(({ pattern }) => pattern))
  const resources = asTexts(resource.place, resource.value).map(text => {
    check(text)
    return parseResource(text, bucket)
  })
  const isResource = glob(resources.map(({ pattern }) => pattern))
  if (!action.not && !resource.not) for (const one of actions) checkApplies(one, resources)
  const conditions =
    condition === undefined
      ? []
      : parseConditions(`${place}.Condition`, condition, check).map(one => Object.freeze(one))
  if (!action.not) checkKeys(actions, conditions)
  return Object.freeze({
    sid: sid === undefined ? undefined : asText(`${place}.Sid`, sid),
    effect,
    coversPrincipal: (who: PolicyPrincipal) => covers(who) !== principal.not,
    coversAction: (name: string) => isAction(name) !== action.not,
    coversResource: (name: string) => isResource(name) !== resource.not,
    conditions: Object.freeze(conditions),
    isPublic: effect === 'Allow' && isEveryone && !conditions.some(({ isNarrow }) => isNarrow),
  })
}

const parseVersion = (value: Json | undefined): PolicyVersion => {
  if (value === undefined) return '2008-10-17'
  if (value !== '2008-10-17' && value !== '2012-10-17')
    throw malformed('Version', 'write "2012-10-17" or "2008-10-17".')
  return value
}

/** In 2008-10-17 `${…}` is plain text. */
const refuseVariables = ({ place, text }: Placed): void => {
  if (text.includes('${'))
    throw malformed(
      place,
      'policy variables are not supported. Write the value, or use Version 2008-10-17 for a plain "${".',
    )
}

/**
 * Parses a bucket policy. Elements with one value may have it bare or in a list.
 *
 * {@includeCode ../../test/examples/rules.test.ts#who,policy}
 *
 * @param options The bucket that the policy is of.
 * @throws {SseError} `MalformedPolicy`, with the place in its message, for example `Statement[0].Condition: …`.
 */
export const parsePolicy = (text: string, { bucket }: ParsePolicyOptions): Policy => {
  if (text.length > maxPolicyLength || utf8(text).length > maxPolicyLength)
    throw malformed('Policy', `is longer than ${maxPolicyLength} bytes. Shorten it, for example with wildcards.`)
  const document = asObject('Policy', parseJson(text))
  onlyKnown('Policy', document, ['Version', 'Id', 'Statement'])
  const version = parseVersion(document.get('Version'))
  const id = document.get('Id')
  const statement = document.get('Statement')
  if (statement === undefined) throw malformed('Policy', 'has no Statement. Write at least one.')
  const check = version === '2012-10-17' ? refuseVariables : () => undefined
  const statements = asList('Statement', statement).map(([place, json]) => parseStatement(place, json, bucket, check))
  return Object.freeze({
    version,
    id: id === undefined ? undefined : asText('Id', id),
    statements: Object.freeze(statements),
    isPublic: statements.some(({ isPublic }) => isPublic),
  })
}

/** What is asked. */
export interface PolicyRequest {
  /** Who asks. */
  readonly principal: PolicyPrincipal
  /** The permission that the operation needs, for example `s3:PutObject`. */
  readonly action: string
  /** `arn:aws:s3:::bucket` or `arn:aws:s3:::bucket/key`, the key as it is, not percent-encoded. */
  readonly resource: string
  /** The request's values of condition keys; see `requestValues`. */
  readonly values: ConditionValues
}

/** `none`: the policy says nothing, so only who has the right without it may go on. */
export type PolicyDecision = 'allow' | 'deny' | 'none'

/** What a policy says of a request, whichever resource it names: principal, action and conditions are looked at once for all of them. */
export interface Ruling {
  /** Whether some resource may be allowed. */
  readonly mayAllow: boolean
  /** Whether it hangs on tags that are not known yet. Until then, conditions on them hold for an Allow, and for no Deny: ask again. */
  readonly isOpen: boolean
  /** The decision for a resource, as {@link PolicyRequest} names it. */
  of(resource: string): PolicyDecision
}

/** What a policy says of a request, to be asked for one resource or for many. Without a policy: `none`. */
export const ruling = (
  policy: Policy | undefined,
  { principal, action, values }: Omit<PolicyRequest, 'resource'>,
): Ruling => {
  const name = bareAction(action)
  const valuesOf: ConditionValues = key => (hasKey(name, key) ? values(key) : undefined)
  const about = (policy?.statements ?? []).filter(
    statement => statement.coversPrincipal(principal) && statement.coversAction(name),
  )
  const applying = about.filter(({ effect, conditions }) =>
    conditions.every(({ key, holds }) => {
      const known = valuesOf(key)
      return known === 'unknown' ? effect === 'Allow' : holds(known)
    }),
  )
  return {
    isOpen: about.some(({ conditions }) => conditions.some(({ key }) => isTagKey(key) && valuesOf(key) === 'unknown')),
    mayAllow: applying.some(({ effect }) => effect === 'Allow'),
    of: resource => {
      const bare = bareResource(resource)
      const covering = applying.filter(({ coversResource }) => coversResource(bare))
      if (covering.some(({ effect }) => effect === 'Deny')) return 'deny'
      return covering.length === 0 ? 'none' : 'allow'
    },
  }
}

/**
 * An explicit deny wins over an allow, an allow over none. Without a policy: `none`. While tags are unknown, conditions on them hold for an Allow, and
 * for no Deny: decide again once they are known.
 *
 * {@includeCode ../../test/examples/rules.test.ts#who,policy}
 */
export const decide = (policy: Policy | undefined, request: PolicyRequest): PolicyDecision =>
  ruling(policy, request).of(request.resource)
