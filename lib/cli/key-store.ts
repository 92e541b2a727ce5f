/** Opens key stores as the command line names them: a folder, its root key, and the region and domain that short key names are meant in. */
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { checkScope } from '../kms/local/key.ts'
import { LocalKms } from '../kms/local/local.ts'
import type { KeyScope } from '../kms/provider.ts'
import type { RootKeySource } from '../kms/local/root-key.ts'
import type { Arguments, Option } from './arguments.ts'
import { usage } from './failure.ts'
import { type Environment, type Io, note } from './io.ts'

/** Names of {@link keyStoreOptions}. */
export type KeyStoreOption = 'keyring' | 'root-key-file' | 'region' | 'domain'

/** Options of every command that opens a key store. */
export const keyStoreOptions: Readonly<Record<KeyStoreOption, Option>> = {
  keyring: { value: 'DIR', help: 'the key store in this folder' },
  'root-key-file': {
    value: 'FILE',
    help: 'its root key; else $SSE_KMS_ROOT_KEY, else $SSE_KMS_PASSPHRASE, else root.key in DIR',
  },
  region: { value: 'REGION', help: 'region of the keys; "local" with --keyring' },
  domain: { value: 'DOMAIN', help: 'domain (tenant) of the keys; "local" with --keyring' },
}

type StoreArguments = Arguments<KeyStoreOption>

/** Where a key store is. */
export interface KeyStorePlace {
  /** The folder of the key store. */
  readonly directory: string
  /** The folder that holds `root.key`, unless the root key is elsewhere. */
  readonly rootDirectory: string
}

/** The folder that `--keyring` names. */
export const keyringPlace = (directory: string): KeyStorePlace => ({ directory, rootDirectory: directory })

/** The key store in the data folder of a server. */
export const dataPlace = (data: string): KeyStorePlace => ({ directory: join(data, 'keys'), rootDirectory: data })

/** Where the root key comes from: the file named, else the environment, else `root.key`, which is made together with a new key store. */
export const rootKeySource = (
  file: string | undefined,
  env: Environment,
  { rootDirectory }: KeyStorePlace,
): RootKeySource => {
  if (file !== undefined) return { file, create: true }
  if (env['SSE_KMS_ROOT_KEY'] !== undefined) return { environment: 'SSE_KMS_ROOT_KEY' }
  if (env['SSE_KMS_PASSPHRASE'] !== undefined) return { passphrase: env['SSE_KMS_PASSPHRASE'] }
  return { file: join(rootDirectory, 'root.key'), create: true }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

/** Runs something that may make a root key in a file, and tells the person in front where it did. */
export const tellingOfRootKey = async <T>(io: Io, root: RootKeySource, run: () => Promise<T>): Promise<T> => {
  const file = 'file' in root && !(await exists(root.file)) ? root.file : undefined
  const result = await run()
  if (file !== undefined && (await exists(file))) {
    await note(io, `made the root key ${file}. Back it up, and in production keep it apart from the data.`)
  }
  return result
}

/** Opens a key store, or makes one where `create` says so. The caller closes it. */
export const openKeyStore = (
  args: StoreArguments,
  io: Io,
  place: KeyStorePlace,
  create: boolean,
): Promise<LocalKms> => {
  const root = rootKeySource(args.text('root-key-file'), io.env, place)
  return tellingOfRootKey(io, root, () => LocalKms.open(place.directory, { root, create }))
}

/** Runs a check of arguments; what it throws becomes `InvalidUsage`. */
export const asUsage = (check: () => unknown): void => {
  try {
    check()
  } catch (error) {
    throw usage(String(error).replace(/^RangeError: /, ''))
  }
}

/** The region and domain that were named; none where one is missing. */
export const namedScope = (args: StoreArguments): KeyScope | undefined => {
  const region = args.text('region')
  const domainId = args.text('domain')
  asUsage(() => checkScope({ region: region ?? 'any', domainId: domainId ?? 'any' }))
  return region === undefined || domainId === undefined ? undefined : { region, domainId }
}

/** The region and domain of keys in a key store of one's own: what was named, else `local`. */
export const localScope = (args: StoreArguments): KeyScope => {
  const scope = { region: args.text('region') ?? 'local', domainId: args.text('domain') ?? 'local' }
  asUsage(() => checkScope(scope))
  return scope
}
