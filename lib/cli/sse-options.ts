/**
 * What encrypt, decrypt and rewrap share: keys that come from a key store or from a customer's file, and the encryption context. A key
 * store's keys are the accepted ones; every other is refused.
 */
import { open } from 'node:fs/promises'
import { wipe } from '../bytes.ts'
import { nodeEngine } from '../cipher/node.ts'
import { keySize } from '../cipher/suite.ts'
import { SseError } from '../errors.ts'
import { customerKey } from '../kms/customer.ts'
import type { KeyFilter, LocalKms } from '../kms/local/local.ts'
import type { KeyScope, KmsProvider } from '../kms/provider.ts'
import type { AcceptedKey } from '../object/decrypt.ts'
import type { Arguments, Option } from './arguments.ts'
import { usage } from './failure.ts'
import type { Io } from './io.ts'
import { keyringPlace, type KeyStoreOption, keyStoreOptions, localScope, openKeyStore } from './key-store.ts'

/** Names of {@link keyringOptions}. */
export type KeyringOption = KeyStoreOption | 'context'
/** Names of {@link keyOptions}. */
export type KeyOption = KeyringOption | 'customer-key'

/** Options of every command that works under keys of a key store. */
export const keyringOptions: Readonly<Record<KeyringOption, Option>> = {
  ...keyStoreOptions,
  context: { value: 'NAME=VALUE', many: true, help: 'an entry of the encryption context, which is authenticated' },
}

/** Options of commands that work under a customer's key as well. */
export const keyOptions: Readonly<Record<KeyOption, Option>> = {
  ...keyringOptions,
  'customer-key': { value: 'FILE', help: "a key of one's own, exactly 32 bytes, instead of a key store" },
}

/** Keys to encrypt and decrypt with, until {@link Keys.close}. */
export interface Keys {
  readonly kms: KmsProvider
  /** The full id of the key that is named, or of the one to use where none is: the oldest enabled one of a customer, else the default key. */
  choose(name: string | undefined): Promise<string>
  /** The keys that files may lie under: all, or the one that is named. */
  accepted(name: string | undefined): Promise<readonly AcceptedKey[]>
  /** Wipes the keys in memory. */
  close(): void
}

const fromStore = (kms: LocalKms, scope: KeyScope, filter: KeyFilter): Keys => {
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
  return { kms, choose, accepted, close: () => kms.close() }
}

const fromCustomer = async (path: string): Promise<Keys> => {
  const key = await readCustomerKey(path)
  const kms = customerKey(nodeEngine, key)
  wipe(key)
  const named = (name: string | undefined): void => {
    if (name !== undefined) throw usage('--customer-key has no use for another key')
  }
  return {
    kms,
    choose: async name => {
      named(name)
      return ''
    },
    accepted: async name => {
      named(name)
      return [{ provider: kms.name, keyId: '' }]
    },
    close: () => kms.dispose(),
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
  const message = `${path} is no customer key: it must have exactly ${keySize} bytes. Make one: head -c ${keySize} /dev/urandom > FILE`
  throw new SseError('FileFailed', { message })
}

/** The keys of the key store in a folder. */
export const openKeyring = async (directory: string, args: Arguments<KeyringOption>, io: Io): Promise<Keys> => {
  const scope = localScope(args)
  const kms = await openKeyStore(args, io, keyringPlace(directory), false)
  return fromStore(kms, scope, { region: args.text('region'), domainId: args.text('domain') })
}

/** The keys that the command line names. */
export const openKeys = async (args: Arguments<KeyOption>, io: Io): Promise<Keys> => {
  const customer = args.text('customer-key')
  const keyring = args.text('keyring')
  if (customer !== undefined && keyring === undefined) return fromCustomer(customer)
  if (keyring !== undefined && customer === undefined) return openKeyring(keyring, args, io)
  throw usage('name keys with either --keyring DIR or --customer-key FILE')
}

/** The encryption context that was given. */
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
