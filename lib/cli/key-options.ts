/**
 * Options that name keys, and the keys that they name: a key store (its folder, its root key, the region and domain that short key names
 * belong to), key managers, a customer key in a file, and the encryption context. Only the keys that are named so are accepted.
 */
import { access, open } from 'node:fs/promises'
import { join } from 'node:path'
import { wipe } from '../bytes.ts'
import { nodeEngine } from '../cipher/node.ts'
import { keySize } from '../cipher/suite.ts'
import { SseError } from '../errors.ts'
import { customerKey } from '../kms/customer.ts'
import { checkScope } from '../kms/local/key.ts'
import { LocalKms } from '../kms/local/local.ts'
import type { KeyFilter } from '../kms/local/options.ts'
import type { RootKeySource } from '../kms/local/root-key.ts'
import type { AcceptedKey, KeyScope } from '../kms/provider.ts'
import type { Arguments, Option } from './command.ts'
import { usage } from './failure.ts'
import { type Environment, type Io, note } from './io.ts'
import { joined, type Keys } from './key-set.ts'

/** Names of {@link keyStoreOptions}. */
export type KeyStoreOption = 'keyring' | 'root-key-file' | 'region' | 'domain'
/** Names of {@link keyringOptions}. */
export type KeyringOption = KeyStoreOption | 'kms' | 'context'
/** Names of {@link keyOptions}. */
export type KeyOption = KeyringOption | 'customer-key'

/** `--root-key-file`, for every command that opens a key store. */
export const rootKeyFileOption: Option = {
  value: 'FILE',
  help: 'root key (default: $SSE_KMS_ROOT_KEY, else $SSE_KMS_PASSPHRASE, else root.key in DIR)',
}

/** Options of every command that opens a key store. */
export const keyStoreOptions: Readonly<Record<KeyStoreOption, Option>> = {
  keyring: { value: 'DIR', help: 'the key store in this folder' },
  'root-key-file': rootKeyFileOption,
  region: { value: 'REGION', help: 'region of the keys (with --keyring "local" by default)' },
  domain: { value: 'DOMAIN', help: 'domain (tenant) of the keys (with --keyring "local" by default)' },
}

/** `--kms`, for every command that can use a key manager. */
export const kmsOption: Option = {
  value: 'aws|vault|FILE',
  many: true,
  help: 'a key manager: as the environment says, or as a file configures it',
}

/** Options of every command that uses keys of a key store or a key manager. */
export const keyringOptions: Readonly<Record<KeyringOption, Option>> = {
  ...keyStoreOptions,
  kms: kmsOption,
  context: { value: 'NAME=VALUE', many: true, help: 'an entry of the encryption context, which is authenticated' },
}

/** Options of every command that can use a customer key instead. */
export const keyOptions: Readonly<Record<KeyOption, Option>> = {
  ...keyringOptions,
  'customer-key': { value: 'FILE', help: 'a key of your own, exactly 32 bytes, instead of a key store or key manager' },
}

/** Options of every command that writes a file. */
export const outputOptions: Readonly<Record<'output' | 'force', Option>> = {
  output: { value: 'FILE', short: 'o', help: 'write to FILE, whole or not at all, instead of to stdout' },
  force: { short: 'f', help: 'replace the file that -o names, if there is one' },
}

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

/** Where the root key comes from: the named file, else the environment, else `root.key`, which is made together with a new key store. */
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

/** Runs `work`, and tells the user if it made a root key file. */
export const notingNewRootKey = async <T>(io: Io, root: RootKeySource, work: () => Promise<T>): Promise<T> => {
  const file = 'file' in root && !(await exists(root.file)) ? root.file : undefined
  const result = await work()
  if (file !== undefined && (await exists(file))) {
    await note(io, `made the root key ${file}. Back it up, and in production keep it apart from the data.`)
  }
  return result
}

/** Opens a key store, or makes one if `create` is true. The caller closes it. */
export const openKeyStore = (
  args: Arguments<KeyStoreOption>,
  io: Io,
  place: KeyStorePlace,
  create: boolean,
): Promise<LocalKms> => {
  const root = rootKeySource(args.text('root-key-file'), io.env, place)
  return notingNewRootKey(io, root, () =>
    LocalKms.open(place.directory, { root, create, onWarning: warning => void note(io, warning) }),
  )
}

/** Runs a check of arguments. What it throws becomes `InvalidUsage`. */
export const checkUsage = (check: () => unknown): void => {
  try {
    check()
  } catch (error) {
    throw usage(String(error).replace(/^RangeError: /, ''))
  }
}

/** The region and domain that are named; `undefined` if one is missing. */
export const namedScope = (args: Arguments<KeyStoreOption>): KeyScope | undefined => {
  const region = args.text('region')
  const domainId = args.text('domain')
  checkUsage(() => checkScope({ region: region ?? 'any', domainId: domainId ?? 'any' }))
  return region === undefined || domainId === undefined ? undefined : { region, domainId }
}

/** The region and domain of keys in a `--keyring`: `local`, unless others are named. */
export const localScope = (args: Arguments<KeyStoreOption>): KeyScope => {
  const scope = { region: args.text('region') ?? 'local', domainId: args.text('domain') ?? 'local' }
  checkUsage(() => checkScope(scope))
  return scope
}

/** The keys that the command line names. */
export const openKeys = async (args: Arguments<KeyOption>, io: Io): Promise<Keys> => {
  const customer = args.text('customer-key')
  if (customer === undefined) return openKmsKeys(args, io)
  if (args.text('keyring') !== undefined || args.list('kms').length > 0) {
    throw usage('--customer-key is used alone, without --keyring and --kms')
  }
  return customerKeys(customer)
}

/** Checks that a key store or a key manager is named, before anything is opened. */
export const needKeys = (args: Arguments<'keyring' | 'kms'>): void => {
  if (args.text('keyring') !== undefined || args.list('kms').length > 0) return
  throw usage('name keys with --keyring DIR, or --kms aws|vault|FILE (or, to encrypt and decrypt, --customer-key FILE)')
}

/** The keys of the key store and the key managers that the command line names. */
export const openKmsKeys = async (args: Arguments<KeyringOption>, io: Io): Promise<Keys> => {
  needKeys(args)
  const directory = args.text('keyring')
  const named = args.list('kms')
  const sources: Keys[] = []
  try {
    if (directory !== undefined) sources.push(await openKeyring(directory, args, io))
    if (named.length > 0) {
      const { namedManagers } = await import('./key-sources.ts')
      for (const source of await namedManagers(named, io.env)) sources.push(source)
    }
  } catch (error) {
    for (const source of sources) await source.close()
    throw error
  }
  return joined(sources)
}

const openKeyring = async (directory: string, args: Arguments<KeyringOption>, io: Io): Promise<Keys> => {
  const scope = localScope(args)
  const kms = await openKeyStore(args, io, keyringPlace(directory), false)
  return storedKeys(kms, scope, { region: args.text('region'), domainId: args.text('domain') })
}

const storedKeys = (kms: LocalKms, scope: KeyScope, filter: KeyFilter): Keys => {
  const choose = async (name: string | undefined): Promise<string> => {
    if (name !== undefined) return (await kms.describeKey({ keyId: name, scope })).keyId
    const usable = (await kms.listKeys(scope)).filter(key => key.origin === 'customer' && key.state === 'enabled')
    const [oldest] = [...usable].sort((a, b) => Number(a.created) - Number(b.created))
    return (oldest ?? (await kms.defaultKey(scope))).keyId
  }
  const accepted = async (name: string | undefined): Promise<readonly AcceptedKey[]> => {
    const ids = name === undefined ? (await kms.listKeys(filter)).map(key => key.keyId) : [await choose(name)]
    return ids.map(keyId => ({ provider: kms.name, keyId }))
  }
  return {
    kms: [kms],
    choose: async name => ({ provider: kms.name, keyId: await choose(name) }),
    accepted,
    close: async () => kms.close(),
  }
}

const customerKeys = async (path: string): Promise<Keys> => {
  const key = await readCustomerKey(path)
  const kms = customerKey(nodeEngine, key)
  wipe(key)
  const choose = async (name: string | undefined): Promise<AcceptedKey> => {
    if (name !== undefined) throw usage('--key cannot be used with --customer-key')
    return { provider: kms.name, keyId: '' }
  }
  return {
    kms: [kms],
    choose,
    accepted: async name => [await choose(name)],
    close: async () => kms.dispose(),
  }
}

const readCustomerKey = async (path: string): Promise<Uint8Array> => {
  const buffer = new Uint8Array(keySize + 1)
  const handle = await open(path)
  let length = 0
  try {
    for (let more = 1; more > 0; length += more) {
      more = (await handle.read(buffer, length, buffer.length - length)).bytesRead
    }
  } finally {
    await handle.close()
  }
  if (length === keySize) return buffer.slice(0, keySize)
  wipe(buffer)
  const message = `${path} is not a customer key: it must have exactly ${keySize} bytes. Make one: head -c ${keySize} /dev/urandom > FILE`
  throw new SseError('FileFailed', { message })
}

/** The encryption context that the command line gives. */
export const contextOf = (args: Arguments<'context'>): ReadonlyMap<string, string> => {
  const context = new Map<string, string>()
  for (const entry of args.list('context')) {
    const at = entry.indexOf('=')
    if (at < 1) throw usage(`--context ${entry} is not NAME=VALUE`)
    const name = entry.slice(0, at)
    if (context.has(name)) throw usage(`--context ${name} was given twice`)
    context.set(name, entry.slice(at + 1))
  }
  return context
}
