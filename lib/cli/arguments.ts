/**
 * Reads argument lists by a table of options, over `parseArgs` of `node:util`: strict, but a range may begin with a hyphen, and a
 * misspelt option is answered with the nearest one.
 */
import { parseArgs } from 'node:util'
import { usage } from './failure.ts'

/** An option of a command. */
export interface Option {
  /** What stands for its value in the help; a flag has none. */
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

/** Arguments as they were given; `N` are the names of the options that exist. */
export interface Arguments<N extends string> {
  readonly positionals: readonly string[]
  /** The value of an option. */
  text(name: N): string | undefined
  /** Whether a flag was given. */
  flag(name: N): boolean
  /** All values of an option that may be given several times. */
  list(name: N): readonly string[]
}

/** Neighbouring letters, the ends of the word included. */
const pairs = (word: string): ReadonlySet<string | undefined> =>
  new Set([...` ${word} `.matchAll(/(?=(..))/g)].map(([, pair]) => pair))

/** How much two words are alike, 0 to 1: twice the pairs that they share, of all that they have. */
const likeness = (a: string, b: string): number => {
  const mine = pairs(a)
  const others = pairs(b)
  return (2 * [...mine].filter(pair => others.has(pair)).length) / (mine.size + others.size)
}

/** `Did you mean …?` for the known word that is most alike, or nothing where none is. */
export const hint = (word: string, known: readonly string[]): string | undefined => {
  const ranked = known.map(name => ({ name, score: likeness(word, name) })).sort((a, b) => b.score - a.score)
  const best = ranked.find(({ score }) => score >= 0.5)
  return best === undefined ? undefined : `Did you mean ${best.name}?`
}

/**
 * The arguments of `command`. Throws `InvalidUsage` for an unknown option, a missing or superfluous value, an option given twice, and more
 * than `most` positionals.
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
      throw usage(`unknown option ${rawName}`, hint(rawName, names) ?? next)
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
