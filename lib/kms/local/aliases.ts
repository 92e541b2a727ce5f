/** Aliases of master keys as files of a key store: one each, that says which key it names. */
import { join } from 'node:path'
import { hex } from '../../bytes.ts'
import type { KeyScope } from '../provider.ts'
import { isThere, namesIn, removeFile } from './files.ts'
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
  const body = await keyring.read(path)
  if (body === undefined) return undefined
  const fields = fieldsOf(body, format)
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
  keyring.create(await aliasFile(keyring, name, alias), JSON.stringify({ format, alias, uuid: name.uuid }))

/** Takes an alias away, durably; `false` where there is none. */
export const removeAlias = async (keyring: Keyring, scope: KeyScope, alias: string): Promise<boolean> =>
  removeFile(join(keyring.directory, await aliasFile(keyring, scope, alias)), keyring.directory)

/** The aliases of a key, sorted. */
export const aliasesOf = async (keyring: Keyring, name: KeyName): Promise<readonly string[]> => {
  const folder = join(keyring.directory, aliasesIn(name))
  if (!isThere(folder)) return [] // asked for with every write under a default key, and most tenants have none
  const aliases: string[] = []
  for (const file of await namesIn(folder, keyring.directory)) {
    if (!/^[0-9a-f]{32}\.json$/.test(file)) continue
    const found = await read(keyring, `${aliasesIn(name)}/${file}`)
    if (found?.uuid === name.uuid) aliases.push(found.alias)
  }
  return aliases.sort()
}
