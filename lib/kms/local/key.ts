/**
 * What the key store keeps of one master key, and how its state changes: pure, without files or cryptography. A record is replaced as a
 * whole, never changed in place.
 */
import { hex } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { formatArn } from '../provider.ts'
import type { KeyQuery, KeyScope, KeyState } from '../provider.ts'
import { fieldsOf } from './sealed-json.ts'

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
export const isScopePart = (text: unknown): boolean => typeof text === 'string' && scopePattern.test(text)

/** Whether text is the UUID of a key. */
export const isUuid = (text: string): boolean => uuidPattern.test(text)

/** Whether text is the name of an alias, without `alias/`. */
export const isAlias = (text: string): boolean => aliasPattern.test(text)

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
  if (!isAlias(name)) throw new RangeError('an alias has 1 to 250 of A-Z, a-z, 0-9, /, _ and -')
  if (/^(obs|aws)\//.test(name)) throw new RangeError('an alias that begins with obs/ or aws/ belongs to the service')
  return name
}

/** The folder of a key in a key store. */
export const keyFolder = ({ region, domainId, uuid }: KeyName): string => `keys/${region}/${domainId}/${uuid}`

/** The file of a revision of a key, counted from 1. */
export const keyFile = (name: KeyName, revision: number): string =>
  `${keyFolder(name)}/${String(revision).padStart(6, '0')}.json`

/** The full ARN. */
export const localArn = ({ region, domainId, uuid }: KeyName): string => formatArn(region, domainId, uuid)

const invalid = (keyId: string): never => {
  throw new SseError('InvalidKeyId', { message: `Invalid keyId '${keyId}'` })
}

/** Throws `KeyNotFound`. */
export const notFound = (keyId: string): never => {
  throw new SseError('KeyNotFound', { message: `Key '${keyId}' does not exist` })
}

/** Throws `InvalidArgument` for an alias that another key has. */
export const taken = (alias: string): never => {
  const message = `The alias alias/${alias} is taken. Choose another one, or delete it first.`
  throw new SseError('InvalidArgument', { message })
}

/** The key of a full ARN, as records have it; none for anything else. */
export const findArn = (keyId: string): KeyName | undefined => {
  const [, region, domainId, uuid] = arnPattern.exec(keyId) ?? []
  return region === undefined || domainId === undefined || uuid === undefined ? undefined : { region, domainId, uuid }
}

/** The key of a full ARN; `InvalidKeyId` for anything else. */
export const parseArn = (keyId: string): KeyName => findArn(keyId) ?? invalid(keyId)

/** What a query names: a key, or an alias in a scope. */
export type LocalKeyReference = KeyName | (KeyScope & { readonly alias: string })

/**
 * What a query names. A scope inside the text goes before the query's. `InvalidKeyId` where the text is malformed, or short without a
 * scope; `RangeError` where the query's scope is malformed.
 */
export const parseQuery = ({ keyId, scope }: KeyQuery): LocalKeyReference => {
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

/** A master key as its newest file has it. */
export interface KeyRecord {
  readonly state: KeyState
  /** `service` for a default key. */
  readonly origin: 'service' | 'customer'
  /** In ms since 1970. */
  readonly created: number
  /** When the key is to be destroyed, in ms since 1970: where it is pending deletion, and only there. */
  readonly deletion: number | undefined
  /** When a process first saw that this time has come, in ms since 1970. */
  readonly due?: number | undefined
  /** The keys, wrapped, 40 bytes each (RFC 3394). The first is version 1; the last one wraps, all of them unwrap; none once destroyed. */
  readonly versions: readonly Uint8Array[]
}

const format = 'sse-kms-key/1'
const wrappedSize = 40
const dayMs = 86_400_000

/** The text of a record. */
export const encodeRecord = ({ versions, ...fields }: KeyRecord): string =>
  JSON.stringify({ format, ...fields, versions: versions.map(hex) })

/** The record of a text that was authenticated; `KeyringCorrupt` where it has a form that this release cannot read. */
export const parseRecord = (text: string): KeyRecord => {
  const fields = fieldsOf(text, format)
  return {
    state: fields.oneOf('state', ['enabled', 'disabled', 'pending-deletion']),
    origin: fields.oneOf('origin', ['service', 'customer']),
    created: fields.number('created'),
    deletion: fields.optionalNumber('deletion'),
    due: fields.optionalNumber('due'),
    versions: fields.bytes('versions', wrappedSize),
  }
}

const isPending = ({ state }: KeyRecord): boolean => state === 'pending-deletion'

/** Throws `KeyPendingDeletion` while a key is pending deletion. */
export const assertNotPending = (record: KeyRecord, arn: string): void => {
  if (isPending(record)) throw new SseError('KeyPendingDeletion', { message: `${arn} is pending deletion.` })
}

/** Throws `KeyPendingDeletion` or `KeyDisabled` unless a key may be used. */
export const assertEnabled = (record: KeyRecord, arn: string): void => {
  assertNotPending(record, arn)
  if (record.state === 'disabled') throw new SseError('KeyDisabled', { message: `${arn} is disabled.` })
}

/** The record of a key that is switched on or off; the same one where it is already. */
export const switched = (record: KeyRecord, arn: string, state: 'enabled' | 'disabled'): KeyRecord => {
  assertNotPending(record, arn)
  return record.state === state ? record : { ...record, state }
}

/** The record of a key with one more version, which wraps from then on. */
export const rotated = (record: KeyRecord, version: Uint8Array): KeyRecord => ({
  ...record,
  versions: [...record.versions, version],
})

/** The record of a key that is to be destroyed `days` after `now`; `KeyAccessDenied` for a default key. */
export const scheduled = (record: KeyRecord, arn: string, now: number, days: number): KeyRecord => {
  assertNotPending(record, arn)
  if (record.origin === 'service') {
    const message = `${arn} is the default key of its tenant and cannot be deleted. Disable it instead.`
    throw new SseError('KeyAccessDenied', { message })
  }
  return { ...record, state: 'pending-deletion', deletion: now + days * dayMs }
}

/** The record of a key whose deletion is cancelled: disabled, as AWS leaves it. `InvalidRequest` where none is pending. */
export const cancelled = (record: KeyRecord, arn: string): KeyRecord => {
  if (!isPending(record))
    throw new SseError('InvalidRequest', { message: `${arn} is not pending deletion. Leave it as it is.` })
  return { ...record, state: 'disabled', deletion: undefined, due: undefined }
}

/**
 * What is to be done with a key at `now`: `note` that its time has come, `withdraw` that where the clock says otherwise, `destroy` it where
 * it was noted a day before, or `wait`.
 */
export const deletionStep = ({ deletion, due }: KeyRecord, now: number): 'wait' | 'note' | 'withdraw' | 'destroy' => {
  if (deletion === undefined) return 'wait'
  if (now < deletion) return due === undefined ? 'wait' : 'withdraw'
  if (due === undefined || due > now) return 'note'
  return now - due >= dayMs ? 'destroy' : 'wait'
}

/** The record with the time at which it was seen that the key's time has come. */
export const withDue = (record: KeyRecord, due: number | undefined): KeyRecord => ({ ...record, due })

/** A destroyed key keeps only its name, which stays taken. */
export const destroyed = (record: KeyRecord): KeyRecord => ({ ...record, versions: [] })

/** Whether a key was destroyed. */
export const isDestroyed = ({ versions }: KeyRecord): boolean => versions.length === 0
