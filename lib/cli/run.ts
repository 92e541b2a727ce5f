/** From an argument list to an exit status: finds the command, runs it, reports what went wrong. */
import { readFile } from 'node:fs/promises'
import { hint } from './arguments.ts'
import { commandHelp, overview } from './help.ts'
import { type CommandEntry, commands } from './commands.ts'
import { exitCodes, failureOf, usage } from './failure.ts'
import { type Io, print } from './io.ts'

/** The arguments that may be options: those before `--`. */
const beforeDashes = (argv: readonly string[]): readonly string[] => {
  const at = argv.indexOf('--')
  return at < 0 ? argv : argv.slice(0, at)
}

const find = (name: string): CommandEntry => {
  const entry = commands.find(each => each.name === name)
  if (entry !== undefined) return entry
  const names = [...commands.map(each => each.name), 'help']
  throw usage(`unknown command ${name}`, hint(name, names))
}

const helpOf = async (name: string | undefined): Promise<string> => {
  if (name === undefined) return overview(commands)
  const entry = find(name)
  return commandHelp(await entry.load())
}

const version = async (): Promise<string> => {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8')
  return text.replace(/^.*?"version": "([^"]+)".*$/s, '$1')
}

const dispatch = async (argv: readonly string[], io: Io): Promise<void> => {
  const [name, ...rest] = argv
  if (name === undefined) throw usage('no command was given')
  if (name === '--version' || name === 'version') return print(io.stdout, `${await version()}\n`)
  if (name === '--help' || name === '-h') return print(io.stdout, overview(commands))
  if (name === 'help') return print(io.stdout, await helpOf(rest[0]))
  if (name.startsWith('-')) throw usage(`unknown option ${name}`, hint(name, ['--help', '--version']))
  const entry = find(name)
  const wantsHelp = beforeDashes(rest).some(argument => argument === '--help' || argument === '-h')
  if (wantsHelp) return print(io.stdout, await helpOf(name))
  return (await entry.load()).run(rest, io)
}

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
