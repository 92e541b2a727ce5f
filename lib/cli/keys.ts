/** `sse-kms keys`: manages the master keys of a key store, or of a key manager. */
import { checkAlias } from '../kms/local/key.ts'
import type { LocalKms } from '../kms/local/local.ts'
import type { KeyDescription, KeyQuery, KeyScope } from '../kms/provider.ts'
import { type Arguments, type Command, command, commonOptions, suggestion, type Option } from './command.ts'
import { usage } from './failure.ts'
import { type Io, print } from './io.ts'
import {
  checkUsage,
  dataPlace,
  keyringPlace,
  keyStoreOptions,
  kmsOption,
  type KeyStorePlace,
  localScope,
  namedScope,
  openKeyStore,
} from './key-options.ts'
import { date, json, table } from './key-table.ts'
import { printable } from './printable.ts'

const options = {
  ...keyStoreOptions,
  data: { value: 'DIR', help: 'the key store of the server with this data folder, which may be running' },
  kms: { ...kmsOption, many: false },
  alias: { value: 'NAME', help: 'create: an alias for the new key (with --kms: its name)' },
  days: { value: 'N', help: 'delete: days until the key is destroyed, 7 to 30 (default: 30)' },
  ...commonOptions,
} as const satisfies Record<string, Option>

type KeysArguments = Arguments<keyof typeof options>

const next = 'See sse-kms help keys.'

const columns: readonly (readonly [title: string, cell: (key: KeyDescription) => string])[] = [
  ['KEY', key => key.keyId],
  ['STATE', ({ state, deletion }) => (deletion === undefined ? state : `${state} (${date(deletion)})`)],
  ['MADE BY', key => key.origin],
  ['VERSION', key => String(key.version)],
  ['CREATED', key => date(key.created)],
  ['ALIASES', key => key.aliases.map(alias => `alias/${alias}`).join(' ') || '-'],
]

/** Arguments of an action. */
interface Call {
  readonly kms: LocalKms
  readonly args: KeysArguments
  readonly scope: KeyScope | undefined
  readonly key: KeyQuery
}

interface Action {
  readonly takesKey: boolean
  /** Resolves to the output. */
  run(call: Call): Promise<string>
}

const days = (args: KeysArguments): number => {
  const text = args.text('days') ?? '30'
  const n = Number(text)
  if (!/^\d+$/.test(text) || n < 7 || n > 30) throw usage(`--days ${text} is not a number from 7 to 30`, next)
  return n
}

const requireScope = (scope: KeyScope | undefined): KeyScope => {
  if (scope === undefined) throw usage('keys create --data DIR needs --region and --domain', next)
  return scope
}

const create = async ({ kms, args, scope }: Call): Promise<string> => {
  const key = await kms.createKey({ ...requireScope(scope), alias: args.text('alias') })
  return args.flag('json') ? json(key) : `${key.keyId}\n`
}

const list = async ({ kms, args }: Call): Promise<string> => {
  const keys = await kms.listKeys({ region: args.text('region'), domainId: args.text('domain') })
  return args.flag('json') ? json(keys) : table(columns, keys)
}

const stateText = ({ keyId, state, version, deletion }: KeyDescription): string =>
  deletion === undefined
    ? `${printable(keyId)} is ${state}, version ${version}.\n`
    : `${printable(keyId)} will be destroyed on ${date(deletion)}. Everything encrypted under it is lost then.\n`

const change = (make: (call: Call) => Promise<KeyDescription>): Action => ({
  takesKey: true,
  run: async call => {
    const key = await make(call)
    return call.args.flag('json') ? json(key) : stateText(key)
  },
})

const actions: ReadonlyMap<string, Action> = new Map([
  ['create', { takesKey: false, run: create }],
  ['list', { takesKey: false, run: list }],
  ['disable', change(({ kms, key }) => kms.disableKey(key))],
  ['enable', change(({ kms, key }) => kms.enableKey(key))],
  ['rotate', change(({ kms, key }) => kms.rotateKey(key))],
  ['delete', change(({ kms, key, args }) => kms.scheduleDeletion(key, { days: days(args) }))],
  ['undelete', change(({ kms, key }) => kms.cancelDeletion(key))],
])

const find = (name: string | undefined): Action => {
  const names = [...actions.keys()]
  if (name === undefined) throw usage(`say what to do: keys ${names.join(', ')}`, next)
  const action = actions.get(name)
  if (action === undefined) throw usage(`unknown action keys ${name}`, suggestion(name, names) ?? next)
  return action
}

/** Refuses arguments of another action, before anything is opened. */
const check = (name: string | undefined, { takesKey }: Action, key: string | undefined, args: KeysArguments): void => {
  if (takesKey && key === undefined) throw usage(`keys ${name} needs a key: its ARN, id or alias/NAME`, next)
  if (!takesKey && key !== undefined) throw usage(`unexpected argument ${key}`, next)
  const alias = args.text('alias')
  if (alias !== undefined && name !== 'create') throw usage(`keys ${name} takes no --alias`, next)
  if (alias !== undefined && args.text('kms') === undefined) checkUsage(() => checkAlias(alias))
  if (args.text('days') !== undefined && name !== 'delete') throw usage(`keys ${name} takes no --days`, next)
  days(args)
}

const placeOf = (args: KeysArguments): { readonly place: KeyStorePlace; readonly scope: KeyScope | undefined } => {
  const keyring = args.text('keyring')
  const data = args.text('data')
  if (keyring !== undefined && data !== undefined) throw usage('--keyring and --data cannot be used together', next)
  if (keyring !== undefined) return { place: keyringPlace(keyring), scope: localScope(args) }
  if (data !== undefined) return { place: dataPlace(data), scope: namedScope(args) }
  throw usage('name a key store with --keyring DIR or --data DIR, or a key manager with --kms', next)
}

/** Runs an action on the keys of the key manager that `--kms` names. */
const withManager = async (args: KeysArguments, io: Io, name: string, key: string): Promise<void> => {
  if (args.text('keyring') !== undefined || args.text('data') !== undefined) {
    throw usage('--kms is used without --keyring and --data', next)
  }
  const { openManagers } = await import('./key-sources.ts')
  const { runManagerAction } = await import('./manager-keys.ts')
  const opened = await openManagers(args.list('kms'), io.env)
  try {
    const [first, ...others] = opened
    if (first === undefined || others.length > 0)
      throw usage('--kms names several key managers', 'Name a file with one.')
    const asked = { manager: first.manager, name, key, alias: args.text('alias'), days: days(args) }
    await print(io.stdout, await runManagerAction({ ...asked, json: args.flag('json') }))
  } finally {
    for (const { manager } of opened) await manager.close?.()
  }
}

/** `sse-kms keys`. */
export const keys: Command = command({
  name: 'keys',
  usage: [
    'create [--alias NAME] --keyring DIR',
    'list --keyring DIR',
    'disable|enable|rotate|delete|undelete KEY --keyring DIR',
    '… --data DIR --region REGION --domain DOMAIN',
    '… --kms aws|vault|FILE',
  ],
  about: [
    'Manages the master keys of a key store or a key manager. The key store may be one of your own (--keyring), or that of a server (--data), which may be running and ' +
      'applies a change at once. KEY is an ARN, or an id or alias/NAME in the region and domain given.',
    'create prints the ARN of the new key and nothing else. It makes the key store and its root key, if there is none.',
    'rotate gives a key a new version, which wraps data keys from then on. Data keys that older versions wrapped can ' +
      'still be unwrapped. delete destroys a key a day after a waiting time: everything encrypted under it is lost then. ' +
      'undelete cancels that, and leaves the key disabled.',
  ],
  options,
  examples: [
    'key=$(sse-kms keys create --keyring ./keys --alias photos)',
    'sse-kms keys list --keyring ./keys',
    'sse-kms keys rotate alias/photos --keyring ./keys',
    'sse-kms keys disable "$key" --keyring ./keys',
    'sse-kms keys list --kms aws',
    'sse-kms keys list --data ./data --region sichuan --domain domainiddomainiddomainiddoma0001 --json',
  ],
  positionals: 2,
  run: async (args, io) => {
    const [name, key] = args.positionals
    const action = find(name)
    check(name, action, key, args)
    if (args.text('kms') !== undefined) return withManager(args, io, name ?? '', key ?? '')
    const { place, scope } = placeOf(args)
    const isNew = name === 'create'
    if (isNew) requireScope(scope)
    const kms = await openKeyStore(args, io, place, isNew)
    try {
      await print(io.stdout, await action.run({ kms, args, scope, key: { keyId: key ?? '', scope } }))
    } finally {
      kms.close()
    }
  },
})
