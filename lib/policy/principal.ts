/**
 * `Principal` and `NotPrincipal`: whom a statement is about.
 *
 * ```
 * "*"                                             everyone, also without credentials
 * {"AWS": "*"}   {"ID": "*"}                      the same
 * {"AWS": "arn:aws:iam::DOMAIN:root"}             every user of a tenant; also {"AWS": "DOMAIN"}
 * {"AWS": "arn:aws:iam::DOMAIN:user/NAME"}        one user
 * {"ID": "domain/DOMAIN"}                         every user of a tenant, as OBS writes it; also "domain/DOMAIN:user/*"
 * {"ID": "domain/DOMAIN:user/NAME"}               one user
 * ```
 *
 * Roles, agencies, federated users, services and canonical ids do not exist here and are refused: a Deny that names one would never hold.
 */

import type { Json } from './json.ts'
import { malformed, quote } from './malformed.ts'
import { asTexts, onlyKnown, type Placed } from './shape.ts'

/** Who asks. */
export interface PolicyPrincipal {
  /** The tenant (OBS: domain, S3: account); not looked at where `anonymous`. */
  readonly domainId: string
  /** The user in the tenant. */
  readonly userName?: string | undefined
  /** Without credentials: only `*` is about such a request. */
  readonly anonymous: boolean
}

const forms: ReadonlyMap<string, readonly RegExp[]> = new Map([
  [
    'AWS',
    [
      /^(?<domain>[A-Za-z0-9_-]{1,64})$/,
      /^arn:aws:iam::(?<domain>[A-Za-z0-9_-]{1,64}):(?:root|user\/(?<user>[^*?]+))$/,
    ],
  ],
  ['ID', [/^domain\/(?<domain>[A-Za-z0-9_-]{1,64})(?::user\/(?:\*|(?<user>[^*?]+)))?$/]],
])

type Test = (principal: PolicyPrincipal) => boolean

const everyone: Test = () => true

const parseOne = ({ place, text }: Placed, forms: readonly RegExp[]): Test => {
  if (text === '*') return everyone
  for (const form of forms) {
    const groups = form.exec(text)?.groups
    if (!groups) continue
    const { domain, user } = groups
    return ({ domainId, userName, anonymous }) =>
      !anonymous && domainId === domain && (user === undefined || userName === user)
  }
  throw malformed(
    place,
    `${quote(text)} is not a principal that exists here. Use "*", "arn:aws:iam::DOMAIN:root", "arn:aws:iam::DOMAIN:user/NAME" under AWS, or "domain/DOMAIN:user/NAME" under ID.`,
  )
}

/** Reads a Principal or NotPrincipal element into a test; throws `SseError` MalformedPolicy. */
export const parsePrincipal = (place: string, value: Json): Test => {
  if (value === '*') return everyone
  if (!(value instanceof Map))
    throw malformed(place, 'write "*" or an object such as {"AWS": "arn:aws:iam::DOMAIN:root"}.')
  onlyKnown(place, value, [...forms.keys()])
  if (value.size === 0) throw malformed(place, 'the object is empty. Name at least one principal.')
  const tests = [...forms].flatMap(([kind, forms]) => {
    const named = value.get(kind)
    return named === undefined ? [] : asTexts(`${place}.${kind}`, named).map(one => parseOne(one, forms))
  })
  return principal => tests.some(test => test(principal))
}
