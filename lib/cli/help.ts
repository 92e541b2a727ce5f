/** The help: of the whole, and of one command, out of its table of options. */
import type { Options } from './arguments.ts'
import type { CommandHelp } from './command.ts'
import { type CommandEntry } from './commands.ts'

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

/** The help of a command. */
export const commandHelp = ({ name, usage, about, options, examples }: CommandHelp): string =>
  [
    usage.map((line, i) => `${i === 0 ? 'Usage: ' : '       '}sse-kms ${name} ${line}`.trimEnd() + '\n').join(''),
    ...about.map(wrap),
    `Options:\n${table(optionRows(options))}`,
    `Examples:\n${examples.map(line => `  ${line}\n`).join('')}`,
  ].join('\n')

/** The help of the whole. */
export const overview = (commands: readonly CommandEntry[]): string =>
  [
    'Usage: sse-kms COMMAND [ARGUMENTS]\n',
    'Encrypts files and streams under keys of a key manager, and serves an S3-compatible object store that does.\n',
    `Commands:\n${table(commands.map(({ name, summary }) => [name, summary]))}`,
    `Exit status:\n${table([
      ['0', 'done'],
      ['1', 'failed'],
      ['2', 'the command line or the configuration is wrong'],
      ['3', 'the input is not authentic, or the key is the wrong one'],
      ['130', 'interrupted'],
      ['141', 'whoever read the output stopped reading'],
    ])}`,
    `Environment:\n${table([
      ['SSE_KMS_ROOT_KEY', 'root key of key stores: hex or base64 of 32 bytes'],
      ['SSE_KMS_PASSPHRASE', 'or a passphrase that it is derived from'],
      ['SSE_KMS_ENGINE', 'ffi: call OpenSSL through node:ffi (Node 26.1 or later)'],
    ])}`,
    'See sse-kms help COMMAND for options and examples.\n',
  ].join('\n')
