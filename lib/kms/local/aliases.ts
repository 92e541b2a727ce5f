/** Aliases of master keys as files of a key store: one each, that says which key it names. */
import { join } from 'node:path'
import { hex } from '../../bytes.ts'
import type { KeyScope } from '../provider.ts'
import { isThere, namesIn } from './files.ts'
import { isAlias, isUuid, type KeyName } from './key.ts'
import type { Keyring } from './keyring.ts'
import { corrupt, fieldsOf } from './sealed-json.ts'

interface Alias {
  readonly alias: string
  readonly uuid: string
}

const format = 'sse-kms-alias/1'

const aliasesIn = ({ region, domainId }: KeyScope): string => `keys/${region}/${domainId}/aliases`

const aliasFile = async (keyring: Keyring, scope: KeyScope, alias: string): Promise<string> =>
  `${aliasesIn(scope)}/${hex(await keyring.fingerprint(`alias ${alias}`)).slice(0, 32)}.json`

const read = async (keyring: Keyring, path: string): Promise<Alias | undefined> => {
  const file = await keyring.read(path)
  if (file === undefined) return undefined
  const fields = fieldsOf(file.body, format)
  const found = { alias: fields.text('alias'), uuid: fields.text('uuid') }
  return isAlias(found.alias) && isUuid(found.uuid) ? found : corrupt(path)
}

/** The key of an alias; none where there is no such alias. */
export const findAlias = async (keyring: Keyring, scope: KeyScope, alias: string): Promise<KeyName | undefined> => {
  const found = await read(keyring, await aliasFile(keyring, scope, alias))
  return found === undefined ? undefined : { region: scope.region, domainId: scope.domainId, uuid: found.uuid }
}

/** Names a key, durably; `false` where the alias is taken in the key's scope. */
export const addAlias = async (keyring: Keyring, name: KeyName, alias: string): Promise<boolean> =>
  keyring.put(await aliasFile(keyring, name, alias), JSON.stringify({ format, alias, uuid: name.uuid }))

/** Takes an alias away, durably; `false` where there is none. */
export const removeAlias = async (keyring: Keyring, scope: KeyScope, alias: string): Promise<boolean> =>
  keyring.remove(await aliasFile(keyring, scope, alias))

/** The files of the aliases in a scope. */
export const aliasFiles = async (keyring: Keyring, scope: KeyScope): Promise<readonly string[]> => {
  const files = await namesIn(join(keyring.directory, aliasesIn(scope)), keyring.directory)
  return files.filter(file => /^[0-9a-f]{32}\.json$/.test(file)).map(file => `${aliasesIn(scope)}/${file}`)
}

/** The aliases of a key, sorted. */
export const aliasesOf = async (keyring: Keyring, name: KeyName): Promise<readonly string[]> => {
  if (!isThere(join(keyring.directory, aliasesIn(name)))) return [] // asked for with every write under a default key, and most tenants have none
  const aliases: string[] = []
  for (const file of await aliasFiles(keyring, name)) {
    const found = await read(keyring, file)
    if (found?.uuid === name.uuid) aliases.push(found.alias)
  }
  return aliases.sort()
}
