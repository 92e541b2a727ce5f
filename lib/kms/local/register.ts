/**
 * Which keys the key store has: an empty, authenticated file for each, apart from the keys themselves. A key that is noted here and has no
 * files was lost, and must not be taken for one that never was: a new default key would take its place, and what lies under the old one
 * would not open. A key is noted after it is durable and before anything is wrapped under it.
 */
import { join } from 'node:path'
import { SseError } from '../../errors.ts'
import { isThere, namesIn } from './files.ts'
import { isScopePart, isUuid, keyFile, type KeyName, localArn } from './key.ts'
import type { Keyring } from './keyring.ts'

const folder = 'made'
const format = 'sse-kms-made/1'

const fileOf = ({ region, domainId, uuid }: KeyName): string => `${folder}/${region}.${domainId}.${uuid}.json`

const nameOf = (file: string): KeyName | undefined => {
  const [region = '', domainId = '', uuid = '', ...rest] = file.split('.')
  return rest.join('.') === 'json' && isScopePart(region) && isScopePart(domainId) && isUuid(uuid)
    ? { region, domainId, uuid }
    : undefined
}

const isIn = ({ directory }: Keyring, path: string): boolean => isThere(join(directory, path))

/** Throws `KeyringCorrupt`: these keys are noted and have no files. */
export const lost = (keys: readonly KeyName[], more = ''): never => {
  const [first] = keys
  const which = first === undefined ? '' : `, such as ${localArn(first)}`
  const message = `The files of ${keys.length} keys are missing from the key store${which}. Restore its folder keys from a backup.${more}`
  throw new SseError('KeyringCorrupt', { message })
}

/** Whether a key is noted: its files are there then, or were lost. */
export const isNoted = (keyring: Keyring, name: KeyName): boolean => isIn(keyring, fileOf(name))

/** Notes a key, durably. */
export const note = async (keyring: Keyring, name: KeyName): Promise<void> => {
  if (!isNoted(keyring, name)) await keyring.put(fileOf(name), JSON.stringify({ format }))
}

const namesOf = async (keyring: Keyring): Promise<readonly KeyName[]> =>
  (await namesIn(join(keyring.directory, folder), keyring.directory)).flatMap(file => nameOf(file) ?? [])

/** The files of the keys that are noted. */
export const noteFiles = async (keyring: Keyring): Promise<readonly string[]> => (await namesOf(keyring)).map(fileOf)

/** Throws `KeyringCorrupt` where a key is noted and has no files. */
export const assertComplete = async (keyring: Keyring): Promise<void> => {
  const missing = (await namesOf(keyring)).filter(name => !isIn(keyring, keyFile(name, 1)))
  if (missing.length > 0)
    lost(missing, ` A key that is lost for good can be forgotten: delete its file in the folder ${folder}.`)
}
