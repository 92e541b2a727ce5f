/**
 * What `keyring.json` says: which key store this is, and how a passphrase becomes its root key. While the root key is changed it also has
 * the keys of the one before, wrapped under those of the new one; programs that know no such change refuse it.
 */
import { fromHex, hex } from '../../bytes.ts'
import { randomBytes } from '../../cipher/random.ts'
import type { WrappedKeys } from './keyring-keys.ts'
import { isCost, type ScryptParameters } from './root-key.ts'
import { corrupt, fieldsOf } from './sealed-json.ts'

/** The file. */
export const headerFile = 'keyring.json'

/** What it says. */
export interface Header {
  /** 32 hex digits, made with the key store. */
  readonly id: string
  /** Where the root key is a passphrase. */
  readonly scrypt: ScryptParameters | undefined
  /** While the root key is changed: the keys of the one before. */
  readonly previous?: WrappedKeys | undefined
}

const format = 'sse-kms-keyring/1'
const changingFormat = 'sse-kms-keyring/2'
const idBytes = 16
const wrappedSize = 40

/** An id for a new key store. */
export const newId = (): string => hex(randomBytes(idBytes))

/** The text of a header. */
export const encodeHeader = ({ id, scrypt, previous }: Header): string =>
  JSON.stringify({
    format: previous === undefined ? format : changingFormat,
    id,
    ...(scrypt === undefined ? {} : { ...scrypt, salt: hex(scrypt.salt) }),
    ...(previous === undefined ? {} : { previous: previous.map(hex) }),
  })

/** The header of a text, which need not be authentic yet. `KeyringTooNew` or `KeyringCorrupt` where this release cannot read it. */
export const parseHeader = (body: string): Header => {
  const fields = fieldsOf(body, changingFormat, format)
  const id = fields.text('id')
  if (fromHex(id)?.length !== idBytes) return corrupt(headerFile)
  const scrypt = scryptOf(fields)
  if (fields.text('format') === format) return { id, scrypt }
  const [mac, kek] = fields.bytes('previous', wrappedSize)
  return mac === undefined || kek === undefined ? corrupt(headerFile) : { id, scrypt, previous: [mac, kek] }
}

const scryptOf = (fields: ReturnType<typeof fieldsOf>): ScryptParameters | undefined => {
  const N = fields.optionalNumber('N')
  if (N === undefined) return undefined
  const cost = { N, r: fields.number('r'), p: fields.number('p') }
  const salt = fromHex(fields.text('salt'))
  return salt !== undefined && isCost(cost) ? { ...cost, salt } : corrupt(headerFile)
}
