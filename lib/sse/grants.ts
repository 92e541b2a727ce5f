/**
 * Who was granted which right to a tenant's master keys. A grant gives and never takes: without one there is no right, as soon as the tenant
 * has any. What holds in a tenant without grants is decided in `authorize.ts`.
 */
import { SseError } from '../errors.ts'
import { formatArn } from '../kms/provider.ts'
import { parseKeyReference } from './key-id.ts'
import type { Caller, Tenant } from './profile.ts'

/** A right as a grant names it; `kms:ReEncrypt*` is both of its rights. */
export type GrantableRight =
  'kms:GenerateDataKey' | 'kms:Decrypt' | 'kms:ReEncryptFrom' | 'kms:ReEncryptTo' | 'kms:ReEncrypt*' | 'kms:DescribeKey'

/** All of them. */
export const grantableRights: readonly GrantableRight[] = [
  'kms:GenerateDataKey',
  'kms:Decrypt',
  'kms:ReEncryptFrom',
  'kms:ReEncryptTo',
  'kms:ReEncrypt*',
  'kms:DescribeKey',
]

/** A right to use a master key, by AWS's name for it. */
export type KeyRight = Exclude<GrantableRight, 'kms:ReEncrypt*'>

/** Rights to keys of a tenant, for users of that tenant. */
export interface KeyGrant {
  /** The tenant that owns the keys. */
  readonly domainId: string
  /** Its keys, each by ARN, id or `alias/NAME`; all of them by default. */
  readonly keys?: readonly string[] | undefined
  /** Who has the rights, by access key id. */
  readonly users?: readonly string[] | undefined
  /** Whoever has one of these roles has the rights, too. */
  readonly roles?: readonly string[] | undefined
  /** What they may do with the keys. */
  readonly rights: readonly GrantableRight[]
}

/** Keys that a caller has some right to. */
export interface GrantedKeys {
  /** Whether it is every key of the tenant. */
  readonly all: boolean
  /** Else those with these ARNs, */
  readonly arns: ReadonlySet<string>
  /** and those with these aliases, without `alias/`. */
  readonly aliases: ReadonlySet<string>
}

/** A grant, read. */
export interface Grant extends GrantedKeys {
  /** Users, by access key id. */
  readonly users: ReadonlySet<string>
  /** Whoever has one of these roles. */
  readonly roles: readonly string[]
  /** What they may do with the keys. */
  readonly rights: ReadonlySet<GrantableRight>
}

/** Grants by the domain of the tenant that has given them. */
export type KeyGrants = ReadonlyMap<string, readonly Grant[]>

/** The keys that a grant names. `InvalidKeyId`; `InvalidConfig` for a key of another tenant or region. */
export const namedKeys = (names: readonly string[] | undefined, region: string, domainId: string): GrantedKeys => {
  const arns = new Set<string>()
  const aliases = new Set<string>()
  for (const name of names ?? []) {
    const key = parseKeyReference(name)
    const { scope = { region, domainId } } = key
    if (scope.region !== region || scope.domainId !== domainId) {
      const message = `${name} is no key of tenant ${domainId} in ${region}. Grant rights to keys of the tenant alone.`
      throw new SseError('InvalidConfig', { message })
    }
    if (key.kind === 'key') arns.add(formatArn(region, domainId, key.id))
    else aliases.add(key.name)
  }
  return { all: names === undefined, arns, aliases }
}

/**
 * Reads grants once, for the rules. Ids and aliases are those of the region.
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,grants}
 *
 * @throws {SseError} `InvalidKeyId`, `InvalidConfig` for a key that is none of its tenant's.
 */
export const readKeyGrants = (grants: readonly KeyGrant[], region: string): KeyGrants => {
  const read = new Map<string, Grant[]>()
  for (const { domainId, keys, users = [], roles = [], rights } of grants) {
    const grant = { ...namedKeys(keys, region, domainId), users: new Set(users), roles, rights: new Set(rights) }
    read.set(domainId, [...(read.get(domainId) ?? []), grant])
  }
  return read
}

const names = (rights: ReadonlySet<GrantableRight>, right: KeyRight): boolean =>
  rights.has(right) || (right.startsWith('kms:ReEncrypt') && rights.has('kms:ReEncrypt*'))

const isFor = ({ users, roles }: Grant, { accessKeyId, roles: own }: Caller): boolean =>
  (accessKeyId !== undefined && users.has(accessKeyId)) || roles.some(role => own.includes(role))

/** The keys of a tenant that a caller has this right to; `undefined` where the tenant has no grants, and they decide nothing. */
export const grantedKeys = (
  grants: KeyGrants | undefined,
  { domainId }: Pick<Tenant, 'domainId'>,
  caller: Caller,
  right: KeyRight,
): GrantedKeys | undefined => {
  const own = grants?.get(domainId)
  if (own === undefined) return undefined
  const given =
    caller.domainId === domainId ? own.filter(grant => isFor(grant, caller) && names(grant.rights, right)) : []
  return {
    all: given.some(grant => grant.all),
    arns: new Set(given.flatMap(grant => [...grant.arns])),
    aliases: new Set(given.flatMap(grant => [...grant.aliases])),
  }
}
