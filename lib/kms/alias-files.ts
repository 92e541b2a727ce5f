/**
 * Aliases as files of a key store: `keys/REGION/DOMAIN/aliases/HASH.json`. A file is named by a hash of the alias, which may have
 * slashes and be longer than names of files.
 */
import { join } from 'node:path'
import { hex } from '../bytes.ts'
import type { KeyName } from './key-name.ts'
import type { Keyring } from './keyring.ts'
import { namesIn, removeFile } from './keyring-file.ts'
import type { KeyScope } from './provider.ts'
import { fieldsOf } from './sealed-json.ts'

interface Alias {
  readonly alias: string
  readonly uuid: string
}

const format = 'sse-kms-alias/1'

const directoryOf = ({ region, domainId }: KeyScope): string => `keys/${region}/${domainId}/aliases`

const fileOf = async (keyring: Keyring, scope: KeyScope, alias: string): Promise<string> =>
  `${directoryOf(scope)}/${hex(await keyring.fingerprint(`alias ${alias}`)).slice(0, 32)}.json`

const read = async (keyring: Keyring, path: string): Promise<Alias | undefined> => {
  const body = await keyring.read(path)
  if (body === undefined) return undefined
  const fields = fieldsOf(body, format)
  return { alias: fields.text('alias'), uuid: fields.text('uuid') }
}

/** The key of an alias; none where there is no such alias. */
export const findAlias = async (keyring: Keyring, scope: KeyScope, alias: string): Promise<KeyName | undefined> => {
  const found = await read(keyring, await fileOf(keyring, scope, alias))
  return found === undefined ? undefined : { region: scope.region, domainId: scope.domainId, uuid: found.uuid }
}

/** Names a key, durably; `false` where the alias is taken in the key's scope. */
export const addAlias = async (keyring: Keyring, name: KeyName, alias: string): Promise<boolean> =>
  keyring.create(await fileOf(keyring, name, alias), JSON.stringify({ format, alias, uuid: name.uuid }))

/** Takes an alias away, durably; `false` where there is none. */
export const removeAlias = async (keyring: Keyring, scope: KeyScope, alias: string): Promise<boolean> =>
  removeFile(join(keyring.directory, await fileOf(keyring, scope, alias)))

/** The aliases of a key, sorted. */
export const aliasesOf = async (keyring: Keyring, name: KeyName): Promise<readonly string[]> => {
  const aliases: string[] = []
  for (const file of await namesIn(join(keyring.directory, directoryOf(name)))) {
    const found = await read(keyring, `${directoryOf(name)}/${file}`)
    if (found?.uuid === name.uuid) aliases.push(found.alias)
  }
  return aliases.sort()
}
