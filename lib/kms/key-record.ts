/**
 * What the key store keeps of one master key, and how its state changes: pure, without files or cryptography. A record is replaced as a
 * whole, never changed in place.
 */
import { hex } from '../bytes.ts'
import { SseError } from '../errors.ts'
import type { KeyState } from './provider.ts'
import { fieldsOf } from './sealed-json.ts'

/** A master key as its newest file has it. */
export interface KeyRecord {
  readonly state: KeyState
  /** `service` for a default key. */
  readonly origin: 'service' | 'customer'
  /** In ms since 1970. */
  readonly created: number
  /** When the key is to be destroyed, in ms since 1970: where it is pending deletion, and only there. */
  readonly deletion: number | undefined
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
  return { ...record, state: 'disabled', deletion: undefined }
}

/** Whether the time of a key has come: it is to be destroyed. */
export const isExpired = ({ deletion }: KeyRecord, now: number): boolean => deletion !== undefined && now >= deletion

/** What is left of a destroyed key: its name, so that nobody takes it again. */
export const destroyed = (record: KeyRecord): KeyRecord => ({ ...record, versions: [] })

/** Whether a key was destroyed. */
export const isDestroyed = ({ versions }: KeyRecord): boolean => versions.length === 0
