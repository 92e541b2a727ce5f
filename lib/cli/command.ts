/** What a command is: its help, its options, and a function of arguments and world. */
import { type Arguments, type Option, type Options, parseArguments } from './arguments.ts'
import type { Io } from './io.ts'

/** What the help says of a command. */
export interface CommandHelp {
  readonly name: string
  /** Lines after `sse-kms NAME`. */
  readonly usage: readonly string[]
  /** Paragraphs. */
  readonly about: readonly string[]
  readonly options: Options
  /** Command lines. */
  readonly examples: readonly string[]
}

/** A command. */
export interface Command extends CommandHelp {
  /** Runs it; rejects where it failed. */
  run(argv: readonly string[], io: Io): Promise<void>
}

/** A command before its arguments are parsed. */
export interface CommandParts<O extends Options> extends CommandHelp {
  readonly options: O
  /** The most positional arguments. */
  readonly positionals: number
  run(args: Arguments<keyof O & string>, io: Io): Promise<void>
}

/** A command of its parts. */
export const command = <const O extends Options>(parts: CommandParts<O>): Command => ({
  ...parts,
  run: async (argv, io) => parts.run(parseArguments(parts.name, parts.options, parts.positionals, argv), io),
})

/** Options that every command has. */
export const commonOptions: Readonly<Record<'json' | 'help', Option>> = {
  json: { help: 'errors (and results, where there are any) as JSON' },
  help: { short: 'h', help: 'this help' },
}
