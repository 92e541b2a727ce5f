/** Keys of a token: AES keys of 256 bits that have a CKA_ID. */
import type { Handle, Template } from 'pkcs11js'
import { fromHex, fromUtf8, hex } from '../../bytes.ts'
import { randomId } from '../../cipher/random.ts'
import { keySize } from '../../cipher/suite.ts'
import { SseError } from '../../errors.ts'
import type { ManagedKey } from '../manager.ts'
import type { Connection } from './connection.ts'
import { returnValue } from './failure.ts'
import { buffer } from './mechanism.ts'

/** A key that was found. */
export interface TokenKey {
  readonly handle: Handle
  /** CKA_ID, upper-case hex. */
  readonly id: string
  readonly label: string
  /** Whether it may do both of what the mechanism needs. */
  readonly enabled: boolean
}

/** The full id of a key. */
export const fullId = (instance: string, id: string): string => `${instance}:id=${id}`

/** CKA_ID in upper-case hex of a full id; `KeyNotFound` for another instance's, or another spelling. */
export const parseId = (instance: string, keyId: string): string => {
  const prefix = fullId(instance, '')
  const id = keyId.startsWith(prefix) ? keyId.slice(prefix.length) : ''
  if (!/^(?:[0-9A-F]{2}){1,255}$/.test(id)) throw new SseError('KeyNotFound')
  return id
}

/** A key, as a key manager tells of it. */
export const describe = (instance: string, { id, label, enabled }: TokenKey): ManagedKey => ({
  keyId: fullId(instance, id),
  state: enabled ? 'enabled' : 'disabled',
  name: label === '' ? undefined : label,
})

const textOf = (bytes: Uint8Array): string => {
  try {
    return fromUtf8(bytes)
  } catch {
    return ''
  }
}

const aesKeys = ({ module: { api } }: Connection): Template => [
  { type: api.CKA_CLASS, value: api.CKO_SECRET_KEY },
  { type: api.CKA_KEY_TYPE, value: api.CKK_AES },
  { type: api.CKA_TOKEN, value: true },
  { type: api.CKA_VALUE_LEN, value: keySize },
]

const find = ({ module: { native } }: Connection, session: Handle, template: Template): readonly Handle[] => {
  native.C_FindObjectsInit(session, template)
  const found: Handle[] = []
  for (;;) {
    const some = native.C_FindObjects(session, 100)
    found.push(...some)
    if (some.length === 0) break
  }
  native.C_FindObjectsFinal(session)
  return found
}

const read = ({ module: { api, native }, mechanism }: Connection, session: Handle, handle: Handle): TokenKey => {
  const types = [api.CKA_ID, api.CKA_LABEL, ...mechanism.usage(api)]
  const values = native.C_GetAttributeValue(
    session,
    handle,
    types.map(type => ({ type })),
  )
  const [id, label, ...usage] = values.map(({ value }) => new Uint8Array(value))
  return {
    handle,
    id: hex(id ?? new Uint8Array()).toUpperCase(),
    label: textOf(label ?? new Uint8Array()),
    enabled: usage.every(([allowed]) => allowed === 1),
  }
}

/** Another process may have destroyed it. */
const readIfThere = (connection: Connection, session: Handle, handle: Handle): TokenKey | undefined => {
  try {
    return read(connection, session, handle)
  } catch (error) {
    if (returnValue(error) === 'CKR_OBJECT_HANDLE_INVALID') return undefined
    throw error
  }
}

/** The key that was found before, if its handle still is that key's. */
const readKnown = (connection: Connection, session: Handle, id: string): TokenKey | undefined => {
  const handle = connection.handles.get(id)
  const key = handle === undefined ? undefined : readIfThere(connection, session, handle)
  if (key?.id === id) return key
  connection.handles.delete(id)
  return undefined
}

/** The key with a CKA_ID. It is looked at before each use: another process may have disabled or destroyed it. */
export const keyOf = (connection: Connection, session: Handle, id: string): TokenKey => {
  const known = readKnown(connection, session, id)
  if (known !== undefined) return known
  const value = buffer(fromHex(id) ?? new Uint8Array())
  const template = [...aesKeys(connection), { type: connection.module.api.CKA_ID, value }]
  const [handle, ...others] = find(connection, session, template)
  if (handle === undefined) {
    connection.assertPresent() // a token that was removed has no keys either
    throw new SseError('KeyNotFound')
  }
  if (others.length > 0) {
    const message = 'The token has several AES keys with the CKA_ID of this key. Give each its own.'
    throw new SseError('KeyNotFound', { message })
  }
  connection.handles.set(id, handle)
  return read(connection, session, handle)
}

/** As {@link keyOf}, for use: `KeyDisabled` where it may not be used. */
export const enabledKey = (connection: Connection, session: Handle, id: string): TokenKey => {
  const key = keyOf(connection, session, id)
  if (!key.enabled) throw new SseError('KeyDisabled')
  return key
}

/** All keys, or those with a label. */
export const keysOf = (connection: Connection, session: Handle, label?: string): readonly TokenKey[] => {
  const { api } = connection.module
  const labelled = label === undefined ? [] : [{ type: api.CKA_LABEL, value: Buffer.from(label) }]
  const handles = find(connection, session, [...aesKeys(connection), ...labelled])
  if (handles.length === 0) connection.assertPresent()
  return handles.flatMap(handle => {
    const key = readIfThere(connection, session, handle)
    return key === undefined || key.id === '' ? [] : [key]
  })
}

/**
 * Makes a key that cannot be read out, in a session that may change keys. It is destroyed where the caller gave up meanwhile: nobody knows of it.
 */
export const makeKey = async (
  connection: Connection,
  session: Handle,
  label: string,
  signal: AbortSignal | undefined,
): Promise<TokenKey> => {
  const { api, native } = connection.module
  const usage = connection.mechanism.usage(api)
  const others = [
    ...[api.CKA_ENCRYPT, api.CKA_DECRYPT, api.CKA_WRAP, api.CKA_UNWRAP],
    ...[api.CKA_SIGN, api.CKA_VERIFY, api.CKA_DERIVE],
  ]
  const id = randomId(16)
  const handle = await native.C_GenerateKeyAsync(session, { mechanism: api.CKM_AES_KEY_GEN }, [
    ...aesKeys(connection),
    { type: api.CKA_PRIVATE, value: true },
    { type: api.CKA_SENSITIVE, value: true },
    { type: api.CKA_EXTRACTABLE, value: false },
    { type: api.CKA_LABEL, value: Buffer.from(label) },
    { type: api.CKA_ID, value: buffer(id) },
    ...others.map(type => ({ type, value: usage.includes(type) })),
  ])
  if (signal?.aborted === true) native.C_DestroyObject(session, handle)
  signal?.throwIfAborted()
  return read(connection, session, handle)
}

/** Lets a key be used, or no more. `NotImplemented` where the token does not let that be changed. */
export const setEnabled = (connection: Connection, session: Handle, key: TokenKey, enabled: boolean): TokenKey => {
  const { api, native } = connection.module
  const template = connection.mechanism.usage(api).map(type => ({ type, value: enabled }))
  try {
    native.C_SetAttributeValue(session, key.handle, template)
  } catch (cause) {
    if (returnValue(cause) !== 'CKR_ATTRIBUTE_READ_ONLY') throw cause
    const message = 'The token does not let keys be enabled and disabled. Use the tools of the token.'
    throw new SseError('NotImplemented', { message, cause })
  }
  return read(connection, session, key.handle)
}

/** Destroys a key, for good. */
export const destroyKey = (connection: Connection, session: Handle, { handle, id }: TokenKey): void => {
  connection.module.native.C_DestroyObject(session, handle)
  connection.handles.delete(id)
}
