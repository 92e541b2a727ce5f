/** Key managers that the command line names: by the environment, or by a file such as the configuration of `serve`. Needs zod. */
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { SseError } from '../errors.ts'
import type { KeyManager } from '../kms/manager.ts'
import { usage } from './failure.ts'
import type { Environment } from './io.ts'
import { type OutsideManager, outsideManager } from './key-managers.ts'
import type { Keys } from './key-set.ts'
import { managers, type OutsideManagerFile } from './kms-schema.ts'
import { problemsOf } from './problems.ts'
import { invalidConfig } from './secrets.ts'

/** A key manager that is open. */
export interface NamedManager {
  readonly manager: KeyManager
  /** Keys that the file names. */
  readonly keys: OutsideManager['keys']
}

const fromEnvironment = (name: string, env: Environment): unknown => {
  if (name === 'aws') {
    const endpoint = env['AWS_ENDPOINT_URL_KMS'] ?? env['AWS_ENDPOINT_URL']
    return { provider: 'aws', ...(endpoint === undefined ? {} : { endpoint }) }
  }
  const { VAULT_ADDR: address, VAULT_TOKEN: token, VAULT_NAMESPACE: namespace, VAULT_CACERT: ca } = env
  if (address === undefined || token === undefined) {
    throw usage('--kms vault needs the environment variables VAULT_ADDR and VAULT_TOKEN', 'Or name a file.')
  }
  return {
    provider: 'vault',
    address,
    auth: { method: 'token', token },
    ...(namespace === undefined ? {} : { namespace }),
    ...(ca === undefined ? {} : { tls: { ca } }),
  }
}

/** A file with a key manager, a list of them, or the configuration of a server. */
const fromFile = async (path: string): Promise<unknown> => {
  const text = await readFile(path, 'utf8')
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (error) {
    throw invalidConfig(path, `this is not JSON, ${String(error)}`)
  }
  const { kms } = z.object({ kms: z.unknown() }).partial().catch({}).parse(content)
  return kms ?? content
}

const setupsOf = async (name: string, env: Environment): Promise<readonly OutsideManager[]> => {
  const content = name === 'aws' || name === 'vault' ? fromEnvironment(name, env) : await fromFile(name)
  const isList = Array.isArray(content)
  const parsed = managers.safeParse(isList ? content : [content])
  if (!parsed.success) throw invalidConfig(`--kms ${name}`, ...problemsOf(parsed.error))
  const entries = parsed.data.flatMap((entry): readonly OutsideManagerFile[] =>
    entry.provider === 'local' ? [] : [entry],
  )
  if (entries.length === 0) {
    throw usage(`--kms ${name} names the embedded key store alone`, 'Name that with --keyring DIR.')
  }
  return entries.map((entry, i) =>
    outsideManager(entry, { env, where: name, path: isList ? `[${i}]` : entry.provider }),
  )
}

/** Opens the key managers that `--kms` names. The caller closes them. */
export const openManagers = async (names: readonly string[], env: Environment): Promise<readonly NamedManager[]> => {
  const opened: NamedManager[] = []
  try {
    for (const name of names) {
      for (const { keys, open } of await setupsOf(name, env)) opened.push({ manager: await open(), keys })
    }
  } catch (error) {
    for (const { manager } of opened) await manager.close?.()
    throw error
  }
  const instances = opened.map(({ manager }) => manager.instance)
  const twice = instances.find((instance, i) => instances.indexOf(instance) !== i)
  if (twice === undefined) return opened
  for (const { manager } of opened) await manager.close?.()
  throw usage(`--kms names two key managers with the name ${twice}`, 'Give each an instance of its own.')
}

const cannotList = (instance: string, cause?: unknown): SseError =>
  new SseError('KeyAccessDenied', {
    message: `The keys of ${instance} cannot be listed, so say which one the file may be encrypted under, with --key (rewrap: --from).`,
    cause,
  })

/** The keys of a key manager. Without a name, those that its file names, else all that it lists. */
const keysOf = ({ manager, keys }: NamedManager): Keys => {
  const provider = manager.name
  const choose = async (name: string | undefined) => {
    if (name === undefined) throw usage(`say which key of ${manager.instance} to use, with --key`)
    return { provider, keyId: (await manager.describe(name)).keyId }
  }
  const all = async (): Promise<readonly { readonly keyId: string }[]> => {
    if (keys.length > 0) return Promise.all(keys.map(({ key }) => manager.describe(key)))
    if (manager.list === undefined) throw cannotList(manager.instance)
    try {
      return await manager.list()
    } catch (error) {
      throw error instanceof SseError && error.code === 'KeyAccessDenied' ? cannotList(manager.instance, error) : error
    }
  }
  return {
    kms: [manager],
    choose,
    accepted: async name =>
      name === undefined ? (await all()).map(({ keyId }) => ({ provider, keyId })) : [await choose(name)],
    close: async () => manager.close?.(),
  }
}

/** Keys of the key managers that `--kms` names. */
export const namedManagers = async (names: readonly string[], env: Environment): Promise<readonly Keys[]> =>
  (await openManagers(names, env)).map(keysOf)
