/** Runs a command line: finds the command, runs it or prints its help, and reports errors. */
import { readFile } from 'node:fs/promises'
import { type Command, type CommandHelp, type Options, suggestion } from './command.ts'
import { exitCodes, failureOf, usage } from './failure.ts'
import { type Io, print } from './io.ts'

/** Runs one command line and resolves to its exit status. Never rejects. */
export const run = async (argv: readonly string[], io: Io): Promise<number> => {
  try {
    await dispatch(argv, io)
    return exitCodes.ok
  } catch (error) {
    const { code, message, exitCode } = failureOf(error, io.signal.aborted)
    const text = beforeDashes(argv).includes('--json') ? JSON.stringify({ code, message }) : `sse-kms: ${message}`
    if (message !== '') await print(io.stderr, `${text}\n`).catch(() => undefined)
    return exitCode
  }
}

/** A command that is loaded when it is called. */
export interface CommandEntry {
  readonly name: string
  /** One line for the help. */
  readonly summary: string
  load(): Promise<Command>
}

/** All commands. */
export const commands: readonly CommandEntry[] = [
  {
    name: 'keys',
    summary: 'create, list, disable, enable, rotate and delete master keys',
    load: async () => (await import('./keys.ts')).keys,
  },
  {
    name: 'root-key',
    summary: 'change the root key of a key store while its servers run',
    load: async () => (await import('./root-key.ts')).rootKey,
  },
  {
    name: 'encrypt',
    summary: 'encrypt a file, or stdin to stdout',
    load: async () => (await import('./encrypt.ts')).encrypt,
  },
  {
    name: 'decrypt',
    summary: 'decrypt a file or a range of it, or stdin to stdout',
    load: async () => (await import('./decrypt.ts')).decrypt,
  },
  {
    name: 'inspect',
    summary: 'show what an encrypted file says about itself, without a key',
    load: async () => (await import('./inspect.ts')).inspect,
  },
  {
    name: 'rewrap',
    summary: 'move an encrypted file to another master key without decrypting it',
    load: async () => (await import('./rewrap.ts')).rewrap,
  },
  {
    name: 'rewrap-objects',
    summary: 'move the objects of a bucket to another master key, or to its newest version',
    load: async () => (await import('./rewrap-objects.ts')).rewrapObjects,
  },
  {
    name: 'encrypt-existing',
    summary: 'seal the plain objects of a bucket where they lie',
    load: async () => (await import('./encrypt-existing.ts')).encryptExisting,
  },
  {
    name: 'certify',
    summary: 'hold a key manager of your own to the conformance suite',
    load: async () => (await import('./certify.ts')).certify,
  },
  {
    name: 'check',
    summary: 'check the store of a gateway: index, bodies and, with --deep, every byte',
    load: async () => (await import('./check.ts')).check,
  },
  {
    name: 'backup',
    summary: 'back up the store and the key store of a gateway that runs',
    load: async () => (await import('./backup.ts')).backup,
  },
  {
    name: 'restore',
    summary: 'restore a backup into an empty data folder',
    load: async () => (await import('./restore.ts')).restore,
  },
  {
    name: 'serve',
    summary: 'start the S3-compatible gateway',
    load: async () => (await import('./serve.ts')).serve,
  },
]

const dispatch = async (argv: readonly string[], io: Io): Promise<void> => {
  const [name, ...rest] = argv
  if (name === undefined) throw usage('no command was given')
  if (name === '--version' || name === 'version') return print(io.stdout, `${await version()}\n`)
  if (name === '--help' || name === '-h') return print(io.stdout, overview())
  if (name === 'help') return print(io.stdout, await helpOf(rest[0]))
  if (name.startsWith('-')) throw usage(`unknown option ${name}`, suggestion(name, ['--help', '--version']))
  const entry = find(name)
  const wantsHelp = beforeDashes(rest).some(argument => argument === '--help' || argument === '-h')
  if (wantsHelp) return print(io.stdout, await helpOf(name))
  return (await entry.load()).run(rest, io)
}

/** The arguments before `--`, which may be options. */
const beforeDashes = (argv: readonly string[]): readonly string[] => {
  const at = argv.indexOf('--')
  return at < 0 ? argv : argv.slice(0, at)
}

const find = (name: string): CommandEntry => {
  const entry = commands.find(each => each.name === name)
  if (entry !== undefined) return entry
  const names = [...commands.map(each => each.name), 'help']
  throw usage(`unknown command ${name}`, suggestion(name, names))
}

const version = async (): Promise<string> => {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8')
  return text.replace(/^.*?"version": "([^"]+)".*$/s, '$1')
}

const helpOf = async (name: string | undefined): Promise<string> =>
  name === undefined ? overview() : commandHelp(await find(name).load())

const table = (rows: readonly (readonly [string, string])[]): string => {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}\n`).join('')
}

const optionRows = (options: Options): readonly (readonly [string, string])[] =>
  Object.entries(options).map(([name, { short, value, help, many }]) => {
    const left = `${short === undefined ? '    ' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`
    return [left, many === true ? `${help} (may be repeated)` : help]
  })

/** Breaks a paragraph into lines of at most 100 characters. */
const wrap = (paragraph: string): string => paragraph.replaceAll(/(.{1,100})(?: |$)/g, '$1\n')

const commandHelp = ({ name, usage, about, options, examples }: CommandHelp): string =>
  [
    usage.map((line, i) => `${i === 0 ? 'Usage: ' : '       '}sse-kms ${name} ${line}`.trimEnd() + '\n').join(''),
    ...about.map(wrap),
    `Options:\n${table(optionRows(options))}`,
    `Examples:\n${examples.map(line => `  ${line}\n`).join('')}`,
  ].join('\n')

const overview = (): string =>
  [
    'Usage: sse-kms COMMAND [ARGUMENTS]\n',
    'Encrypts files and streams under keys of a KMS, and serves an S3-compatible object store that does.\n',
    `Commands:\n${table(commands.map(({ name, summary }) => [name, summary]))}`,
    `Exit status:\n${table([
      ['0', 'done'],
      ['1', 'failed'],
      ['2', 'the command line or the configuration is wrong'],
      ['3', 'the input is not authentic, or the key is the wrong one'],
      ['4', 'the check found faults in the store'],
      ['130', 'interrupted by a signal'],
      ['141', 'the reader of the output stopped reading'],
    ])}`,
    `Environment:\n${table([
      ['SSE_KMS_ROOT_KEY', 'root key of key stores: 32 bytes in hex or base64'],
      ['SSE_KMS_PASSPHRASE', 'passphrase to derive the root key from, if SSE_KMS_ROOT_KEY is not set'],
      ['SSE_KMS_ENGINE', 'openssl or node; by default serve uses koffi if it is installed'],
    ])}`,
    'See sse-kms help COMMAND for options and examples.\n',
  ].join('\n')
