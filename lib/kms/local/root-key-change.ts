/**
 * The change of the root key of an embedded key store that is in use. It can be cut off at any moment and goes on when it is run again:
 *
 *     1  keyring.json is sealed with the new root key, and holds the keys of the old one, wrapped
 *     2  nothing is written any more that was sealed before that (Keyring.fence)
 *     3  each master key gets a next revision, and those before it are emptied; aliases and notes are sealed anew in their place
 *     4  keyring.json holds the keys of the old root key no longer
 *
 * From 1 on every process that looks seals with the new root key, so what step 3 has to do only becomes less.
 */
import type { Engine } from '../../cipher/engine.ts'
import { equal, wipe } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { aliasFiles } from './aliases.ts'
import { Keyring } from './keyring.ts'
import { each, KeyFiles } from './keys.ts'
import { assertComplete, noteFiles } from './register.ts'
import { type RootKeySource, rootKeys, type SettledSource, settleSource } from './root-key.ts'

/** What is to be done. */
export interface RootKeyChange {
  /** Where the root key comes from that the key store has. */
  readonly root: RootKeySource
  /** Where the new one comes from. Left out: it is the first one of `root`. */
  readonly newRoot?: RootKeySource | undefined
  readonly engine: Engine
  /** In ms since 1970. */
  readonly now: number
  /** Only looks whether all that would be sealed anew can be read. */
  readonly dryRun: boolean
  /** Told what the operator should know. */
  readonly warn: (message: string) => void
  /** Told how many of so many files are done. */
  readonly onProgress?: ((done: number, of: number) => void) | undefined
  /** Stops it between two files. */
  readonly signal?: AbortSignal | undefined
}

/** What was done. */
export interface RootKeyChanged {
  /** `unchanged` where the key store has the new root key already. */
  readonly outcome: 'changed' | 'unchanged' | 'dry run'
  /** Whether it went on with a change that was begun before. */
  readonly resumed: boolean
  /** Master keys and aliases that were sealed anew by this run; that would be, in a dry run. */
  readonly keys: number
  readonly aliases: number
}

const refused = (message: string): never => {
  throw new SseError('RootKeyRefused', { message })
}

const isLocked = (error: unknown): boolean => error instanceof SseError && error.code === 'KeyringLocked'

/** The root keys of a source that is no passphrase; the caller wipes. */
const keysOf = (source: SettledSource, warn: (message: string) => void): Promise<readonly Uint8Array[]> =>
  rootKeys(source, { scrypt: undefined, isNew: false, warn })

/** The new root key alone, held to more than one in use is. `RootKeyRefused` where others may read it. */
const wantedOf = async (source: SettledSource): Promise<SettledSource> => {
  if ('passphrase' in source) return source.passphrase === '' ? refused('The new passphrase is empty.') : source
  const [key, ...others] = await keysOf(source, message => refused(message))
  for (const other of others) wipe(other)
  return key === undefined ? refused('There is no new root key.') : { key }
}

/** Whether a source has another root key than this one. */
const hasOther = async (source: SettledSource, wanted: SettledSource, warn: (message: string) => void) => {
  if ('passphrase' in source) return !('passphrase' in wanted) || source.passphrase !== wanted.passphrase
  if (!('key' in wanted)) return true
  const found = await keysOf(source, warn)
  const isOther = found.some(key => !equal(key, wanted.key))
  for (const key of found) wipe(key)
  return isOther
}

/**
 * Changes the root key of the key store in a folder. `RootKeyRefused` where there is no other one to change to or others may read it,
 * `KeyringLocked` where the key store opens with neither, `KeyringCorrupt` where a file is damaged or a key is missing: nothing is begun
 * then. A change to another root key that was cut off is ended first.
 */
export const changeRootKey = async (directory: string, change: RootKeyChange): Promise<RootKeyChanged> => {
  const { engine, now, warn, dryRun } = change
  const root = await settleSource(change.root)
  const wanted = await wantedOf(change.newRoot === undefined ? root : await settleSource(change.newRoot))
  const open = (source: RootKeySource) => Keyring.open(directory, { root: source, engine, create: false, now, warn })
  let keyring: Keyring | undefined
  try {
    keyring = await open(wanted).catch((error: unknown) => {
      if (!isLocked(error)) throw error
      return undefined
    })
    if (keyring !== undefined) {
      const resumed = keyring.previous !== undefined
      if (resumed) return await sealAnew(keyring, change, resumed)
      if (await hasOther(root, wanted, warn)) return { outcome: 'unchanged', resumed, keys: 0, aliases: 0 }
      return refused(
        'The key store has this root key already, and no other one was given. Make a new one first: sse-kms root-key new.',
      )
    }
    keyring = await open(root)
    const resumed = keyring.previous !== undefined
    if (resumed && !dryRun) await sealAnew(keyring, change, resumed)
    const files = await assertReadable(keyring)
    if (dryRun) return { outcome: 'dry run', resumed, ...files }
    if (!(await keyring.beginChange(wanted))) return overtaken()
    return await sealAnew(keyring, change, resumed)
  } finally {
    if ('key' in wanted) wipe(wanted.key)
    keyring?.close()
  }
}

const overtaken = (): never =>
  refused('Another change of the root key was made at the same time. Run this one again when that has ended.')

/** How many keys and aliases there are. `KeyringCorrupt` where one of them cannot be read, or is missing. */
const assertReadable = async (keyring: Keyring): Promise<Pick<RootKeyChanged, 'keys' | 'aliases'>> => {
  await assertComplete(keyring)
  const files = new KeyFiles(keyring, 0)
  const names = await files.names(undefined, undefined)
  await each(names, name => files.load(name))
  const aliases = await aliasFilesOf(keyring, files)
  await each(aliases, path => keyring.read(path))
  return { keys: names.length, aliases: aliases.length }
}

const aliasFilesOf = async (keyring: Keyring, files: KeyFiles): Promise<readonly string[]> => {
  const paths: string[] = []
  for (const scope of await files.scopes()) paths.push(...(await aliasFiles(keyring, scope)))
  return paths
}

/** Seals all anew that is not, and ends the change. Where a file is damaged, it does the others, and the change stays begun. */
const sealAnew = async (keyring: Keyring, change: RootKeyChange, resumed: boolean): Promise<RootKeyChanged> => {
  const { dryRun, onProgress, signal } = change
  if (dryRun) return { outcome: 'dry run', resumed, ...(await assertReadable(keyring)) }
  const { previous } = keyring
  await keyring.fence()
  const files = new KeyFiles(keyring, 0)
  const count = { keys: 0, aliases: 0 }
  const [names, aliases] = [await files.names(undefined, undefined), await aliasFilesOf(keyring, files)]
  const notes = await noteFiles(keyring)
  const work = [
    ...names.map(name => async () => {
      if (await files.reseal(name)) count.keys++
    }),
    ...aliases.map(path => async () => {
      if (await keyring.reseal(path)) count.aliases++
    }),
    ...notes.map(path => () => keyring.reseal(path)),
  ]
  let done = 0
  await each(work, async step => {
    signal?.throwIfAborted()
    await step()
    onProgress?.(++done, work.length)
  })
  if (!(await keyring.endChange(previous))) return overtaken()
  return { outcome: 'changed', resumed, ...count }
}
