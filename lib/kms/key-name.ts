/**
 * Names of the embedded key store's keys, in text. A key is `arn:aws:kms:REGION:DOMAIN:key/UUID`; OBS leaves `arn:aws:kms:` out. Region
 * and domain become names of directories, so their alphabet has neither dots nor slashes.
 */
import { hex } from '../bytes.ts'
import { SseError } from '../errors.ts'
import type { KeyQuery, KeyScope } from './provider.ts'

/** A key of the embedded key store. */
export interface KeyName extends KeyScope {
  /** Lower case. */
  readonly uuid: string
}

/** The alias that every tenant's default key has in each region. */
export const defaultAlias = 'obs/default'

const part = '[A-Za-z0-9_-]{1,64}'
const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
const aliasName = '[A-Za-z0-9/_-]{1,250}'
const scopePattern = new RegExp(`^${part}$`)
const uuidPattern = new RegExp(`^${uuid}$`)
const aliasPattern = new RegExp(`^${aliasName}$`)
const arnPattern = new RegExp(`^arn:aws:kms:(${part}):(${part}):key/(${uuid})$`)
const queryPattern = new RegExp(
  `^(?:(?:arn:aws:kms:)?(${part}):(${part}):)?(?:(?:key/)?(${uuid})|alias/(${aliasName}))$`,
)

/** Whether text is a region or domain id: 1 to 64 of `[A-Za-z0-9_-]`. */
export const isScopePart = (text: string): boolean => scopePattern.test(text)

/** Whether text is the UUID of a key. */
export const isUuid = (text: string): boolean => uuidPattern.test(text)

/** Throws `RangeError` unless region and domain are 1 to 64 of `[A-Za-z0-9_-]`. */
export const checkScope = ({ region, domainId }: KeyScope): void => {
  if (!isScopePart(region)) throw new RangeError('a region has 1 to 64 of A-Z, a-z, 0-9, _ and -')
  if (!isScopePart(domainId)) throw new RangeError('a domain id has 1 to 64 of A-Z, a-z, 0-9, _ and -')
}

/**
 * The name of an alias without `alias/`, which may be left out. Throws `RangeError` unless it has 1 to 250 of `[A-Za-z0-9/_-]`; `obs/`
 * and `aws/` are the service's.
 */
export const checkAlias = (alias: string): string => {
  const name = alias.startsWith('alias/') ? alias.slice(6) : alias
  if (!aliasPattern.test(name)) throw new RangeError('an alias has 1 to 250 of A-Z, a-z, 0-9, /, _ and -')
  if (/^(obs|aws)\//.test(name)) throw new RangeError('an alias that begins with obs/ or aws/ belongs to the service')
  return name
}

/** The full ARN. */
export const arnOf = ({ region, domainId, uuid }: KeyName): string => `arn:aws:kms:${region}:${domainId}:key/${uuid}`

const invalid = (keyId: string): never => {
  throw new SseError('InvalidKeyId', { message: `Invalid keyId '${keyId}'` })
}

/** The key of a full ARN, as records have it; `InvalidKeyId` for anything else. */
export const parseArn = (keyId: string): KeyName => {
  const [, region, domainId, uuid] = arnPattern.exec(keyId) ?? []
  return region === undefined || domainId === undefined || uuid === undefined
    ? invalid(keyId)
    : { region, domainId, uuid }
}

/** What a query names: a key, or an alias in a scope. */
export type KeyReference = KeyName | (KeyScope & { readonly alias: string })

/**
 * What a query names. A scope inside the text goes before the query's. `InvalidKeyId` where the text is malformed, or short without a
 * scope; `RangeError` where the query's scope is malformed.
 */
export const parseQuery = ({ keyId, scope }: KeyQuery): KeyReference => {
  if (scope !== undefined) checkScope(scope)
  const [, inRegion, inDomain, uuid, alias] = queryPattern.exec(keyId) ?? []
  const region = inRegion ?? scope?.region
  const domainId = inDomain ?? scope?.domainId
  if (region === undefined || domainId === undefined) return invalid(keyId)
  if (uuid !== undefined) return { region, domainId, uuid }
  return alias === undefined ? invalid(keyId) : { region, domainId, alias }
}

/** A UUID (RFC 9562) of 16 bytes: version 4 where they are random, 8 where they are a hash. */
export const uuidOf = (bytes: Uint8Array, version: 4 | 8): string => {
  const digits = hex(bytes)
  const variant = '89ab'[Number.parseInt(digits.charAt(16), 16) & 3]
  const time = `${digits.slice(0, 8)}-${digits.slice(8, 12)}-${version}${digits.slice(13, 16)}`
  return `${time}-${variant}${digits.slice(17, 20)}-${digits.slice(20, 32)}`
}
