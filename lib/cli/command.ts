/**
 * Defines a command by a table of its options, and reads its arguments with `parseArgs` of `node:util`. Stricter than that: an option is
 * given once, and a missing value does not take the next option. A value may begin with a hyphen and a digit, as a range does. A misspelt
 * option is answered with the most similar one.
 */
import { parseArgs } from 'node:util'
import { usage } from './failure.ts'
import type { Io } from './io.ts'

/** An option of a command. */
export interface Option {
  /** Placeholder of its value in the help. Without it the option is a flag. */
  readonly value?: string
  /** One letter. */
  readonly short?: string
  /** Whether it may be given several times. */
  readonly many?: boolean
  /** What it does, for the help. */
  readonly help: string
}

/** Options by their long names. */
export type Options = Readonly<Record<string, Option>>

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
  /** Runs it. Rejects if it fails. */
  run(argv: readonly string[], io: Io): Promise<void>
}

/** A command that takes parsed arguments. */
export interface CommandDefinition<O extends Options> extends CommandHelp {
  readonly options: O
  /** Greatest number of positional arguments. */
  readonly positionals: number
  run(args: Arguments<keyof O & string>, io: Io): Promise<void>
}

/** Makes a command that parses its arguments and then runs. */
export const command = <const O extends Options>(definition: CommandDefinition<O>): Command => ({
  ...definition,
  run: async (argv, io) => {
    const { name, options, positionals } = definition
    return definition.run(parseArguments(name, options, positionals, argv), io)
  },
})

/** Options that every command has. */
export const commonOptions: Readonly<Record<'json' | 'help', Option>> = {
  json: { help: 'print errors (and results, if there are any) as JSON' },
  help: { short: 'h', help: 'print this help' },
}

/** Arguments as they were given. `N` are the names of the options that exist. */
export interface Arguments<N extends string> {
  readonly positionals: readonly string[]
  /** The value of an option. */
  text(name: N): string | undefined
  /** Whether a flag was given. */
  flag(name: N): boolean
  /** All values of an option that may be given several times. */
  list(name: N): readonly string[]
}

/**
 * Parses the arguments of `command`. Throws `InvalidUsage` for an unknown option, a missing value, a value of a flag, an option that is
 * given twice, and more than `most` positional arguments.
 */
export const parseArguments = <O extends Options>(
  command: string,
  options: O,
  most: number,
  argv: readonly string[],
): Arguments<keyof O & string> => {
  const next = `See sse-kms help ${command}.`
  const known = new Map(Object.entries(options))
  const { tokens, positionals } = parseArgs({
    args: [...argv],
    strict: false,
    tokens: true,
    options: Object.fromEntries(
      [...known].map(([name, { value, short }]) => [
        name,
        { type: value === undefined ? 'boolean' : 'string', ...(short === undefined ? {} : { short }) },
      ]),
    ),
  })
  const given = new Map<string, string[]>()
  for (const token of tokens) {
    if (token.kind !== 'option') continue
    const { name, rawName, value, inlineValue } = token
    const option = known.get(name)
    if (option === undefined) {
      const names = [...known.keys()].map(each => `--${each}`)
      throw usage(`unknown option ${rawName}`, suggestion(rawName, names) ?? next)
    }
    if (option.value === undefined) {
      if (value !== undefined) throw usage(`${rawName} takes no value`, next)
    } else if (value === undefined || (inlineValue === false && /^-\D/.test(value))) {
      throw usage(`${rawName} needs a value, ${option.value}`, next)
    }
    const values = given.get(name) ?? []
    if (values.length > 0 && option.many !== true) throw usage(`${rawName} was given twice`, next)
    given.set(name, [...values, value ?? ''])
  }
  const unexpected = positionals[most]
  if (unexpected !== undefined) throw usage(`unexpected argument ${unexpected}`, next)
  return {
    positionals,
    text: name => given.get(name)?.[0],
    flag: name => given.has(name),
    list: name => given.get(name) ?? [],
  }
}

/** All pairs of neighbouring letters, with a space at either end of the word. */
const pairsOf = (word: string): ReadonlySet<string | undefined> =>
  new Set([...` ${word} `.matchAll(/(?=(..))/g)].map(([, pair]) => pair))

/** Similarity of two words, 0 to 1: the share of letter pairs that they have in common (Dice's coefficient). */
const similarity = (a: string, b: string): number => {
  const left = pairsOf(a)
  const right = pairsOf(b)
  return (2 * [...left].filter(pair => right.has(pair)).length) / (left.size + right.size)
}

/** `Did you mean …?` with the most similar known word, or `undefined` if none is similar. */
export const suggestion = (word: string, known: readonly string[]): string | undefined => {
  const ranked = known.map(name => ({ name, score: similarity(word, name) })).sort((a, b) => b.score - a.score)
  const best = ranked.find(({ score }) => score >= 0.5)
  return best === undefined ? undefined : `Did you mean ${best.name}?`
}
