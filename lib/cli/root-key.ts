/** `sse-kms root-key`: makes a new root key, and changes that of a key store while its servers run. */
import { join } from 'node:path'
import { addRootKey, type RootKeySource } from '../kms/local/root-key.ts'
import { changeRootKey, type RootKeyChanged } from '../kms/local/root-key-change.ts'
import { commandEngine } from './engine.ts'
import { type Arguments, type Command, command, commonOptions, type Option, suggestion } from './command.ts'
import { Interrupted, needPackages, usage } from './failure.ts'
import { type Io, note, print } from './io.ts'
import { keyringPlace, keyStoreOptions, rootKeyFileOption, rootKeySource } from './key-options.ts'
import { printable, printableJson } from './printable.ts'
import { showBar } from './progress.ts'

const options = {
  config: { value: 'FILE', help: 'the configuration of the servers, in JSON' },
  data: { value: 'DIR', help: 'folder of keys and objects, as given to serve (default: ./data)' },
  keyring: keyStoreOptions.keyring,
  'root-key-file': rootKeyFileOption,
  'new-root-key-file': {
    value: 'FILE',
    help: 'change: the new root key (default: the first one where the root key is)',
  },
  'dry-run': { help: 'change: only look whether everything can be sealed anew' },
  ...commonOptions,
} as const satisfies Record<string, Option>

type RootKeyArguments = Arguments<keyof typeof options>

const next = 'See sse-kms help root-key.'

/** The key store and its root key. */
interface Target {
  readonly directory: string
  readonly root: RootKeySource
}

const targetOf = async (args: RootKeyArguments, io: Io): Promise<Target> => {
  const keyring = args.text('keyring')
  const rootKeyFile = args.text('root-key-file')
  if (keyring !== undefined) {
    if (args.text('config') !== undefined || args.text('data') !== undefined) {
      throw usage('--keyring is used without --config and --data', next)
    }
    return { directory: keyring, root: rootKeySource(rootKeyFile, io.env, keyringPlace(keyring)) }
  }
  needPackages(['zod'])
  const { loadConfig } = await import('./config.ts')
  const flags = { data: args.text('data'), rootKeyFile, makeDemo: false }
  const { config } = await loadConfig(args.text('config'), flags, io.env)
  return { directory: join(config.data, 'keys'), root: config.rootKey }
}

const make = async (args: RootKeyArguments, io: Io): Promise<void> => {
  for (const name of ['new-root-key-file', 'dry-run'] as const) {
    if (args.flag(name)) throw usage(`root-key new takes no --${name}`, next)
  }
  const { root } = await targetOf(args, io)
  if (!('file' in root)) {
    throw usage(
      'the root key does not come from a file',
      'Put a new one in front of it in its variable, with a space between (openssl rand -hex 32 makes one), and start the servers with that.',
    )
  }
  await addRootKey(root.file)
  const text = `put a new root key in front of those in ${root.file}. Nothing uses it yet: back it up, then run sse-kms root-key change.`
  await print(io.stdout, args.flag('json') ? `${printableJson({ file: root.file })}\n` : `${printable(text)}\n`)
}

/** Where the new root key comes from; nothing where it stands in front of the old one. */
const newRootOf = (args: RootKeyArguments, { env }: Io, root: RootKeySource): RootKeySource | undefined => {
  const file = args.text('new-root-key-file')
  if (file !== undefined) return { file }
  const passphrase = env['SSE_KMS_NEW_PASSPHRASE']
  if (passphrase !== undefined) return { passphrase }
  if (!('passphrase' in root)) return undefined
  throw usage(
    'name the new root key with --new-root-key-file FILE or in the environment variable SSE_KMS_NEW_PASSPHRASE',
    next,
  )
}

const counted = ({ keys, aliases }: RootKeyChanged): string =>
  `${keys} ${keys === 1 ? 'key' : 'keys'} and ${aliases} ${aliases === 1 ? 'alias' : 'aliases'}`

const textOf = (done: RootKeyChanged, { root }: Target, newRoot: RootKeySource | undefined): string => {
  if (done.outcome === 'dry run') {
    return `${counted(done)} can be sealed anew.${done.resumed ? ' A change was begun and has not ended: it is ended first.' : ''}`
  }
  if (done.outcome === 'unchanged') return 'The key store has this root key already. Nothing was changed.'
  const old =
    newRoot === undefined
      ? `Take it out of ${'file' in root ? root.file : 'the variable'}, and keep it apart for older backups.`
      : 'Start the servers with the new one, and keep the old one apart for older backups.'
  return `The root key is changed: ${counted(done)} were sealed anew${done.resumed ? ' by this run' : ''}. The old one opens nothing here any more. ${old}`
}

const change = async (args: RootKeyArguments, io: Io): Promise<void> => {
  const target = await targetOf(args, io)
  const newRoot = newRootOf(args, io, target.root)
  let at = { value: 0, text: '' }
  const bar = showBar(io, { visible: io.stderr.isTTY === true && !args.flag('json'), total: undefined, now: () => at })
  const outcome = changeRootKey(target.directory, {
    root: target.root,
    newRoot,
    engine: await commandEngine(),
    now: Date.now(),
    dryRun: args.flag('dry-run'),
    warn: message => void note(io, message),
    onProgress: (done, of) => {
      at = { value: done, text: `${done} of ${of} files` }
    },
    signal: io.signal,
  })
  try {
    const done = await outcome
    await print(
      io.stdout,
      args.flag('json') ? `${printableJson(done)}\n` : `${printable(textOf(done, target, newRoot))}\n`,
    )
  } catch (error) {
    if (!(io.signal.aborted && error instanceof Error && error.name === 'AbortError')) throw error
    throw new Interrupted('Interrupted. The key store works; run the same command again, and it goes on where it was.')
  } finally {
    bar.stop()
  }
}

const actions = new Map([
  ['new', make],
  ['change', change],
])

/** `sse-kms root-key`. */
export const rootKey: Command = command({
  name: 'root-key',
  usage: [
    'new [--config FILE | --data DIR | --keyring DIR] [--root-key-file FILE]',
    'change [--config FILE | --data DIR | --keyring DIR] [--root-key-file FILE] [--dry-run]',
    'change … --new-root-key-file FILE',
  ],
  about: [
    'Changes the root key of a key store while its servers run. new puts a new root key in front of those in the root key ' +
      'file, one a line; nothing uses it until change makes it the one that counts. change seals every master key and alias ' +
      'anew, and leaves all ids and names as they are. Afterwards the old root key opens nothing in the key store, but it ' +
      'still opens backups that were made before.',
    'A server reads the root key file again when it sees the change. A root key in an environment variable: start the ' +
      'servers with NEW OLD in it, run change with the same, and start them with the new one alone. A passphrase: run ' +
      'change with the new one in SSE_KMS_NEW_PASSPHRASE (or with --new-root-key-file), and start the servers with it; ' +
      'until then they answer with errors.',
    'A change that was interrupted goes on when the same command is run again. Meanwhile the servers work, and those that ' +
      'start say so. Run it as the user of the servers.',
  ],
  options,
  examples: [
    'sse-kms root-key new --config ./sse-kms.json',
    'sse-kms root-key change --config ./sse-kms.json --dry-run',
    'sse-kms root-key change --config ./sse-kms.json',
    'sse-kms root-key change --keyring ./keys --root-key-file ./old.key --new-root-key-file ./new.key',
  ],
  positionals: 1,
  run: async (args, io) => {
    const [name] = args.positionals
    const names = [...actions.keys()]
    if (name === undefined) throw usage(`say what to do: root-key ${names.join(', ')}`, next)
    const action = actions.get(name)
    if (action === undefined) throw usage(`unknown action root-key ${name}`, suggestion(name, names) ?? next)
    await action(args, io)
  },
})
