// Every regular expression that sees what a client sends is read in linear time: each is found in the sources, and run on texts that are made to
// send it back and forth.
import t from 'tap'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const lib = fileURLToPath(new URL('../../lib', import.meta.url))

/** Where the bytes of clients go. */
const sources: readonly string[] = [
  'bytes.ts',
  ...['gateway', 'sse', 'policy'].flatMap(folder =>
    readdirSync(join(lib, folder), { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.ts'))
      .map(name => join(folder, name)),
  ),
]

const literalsOf = function* (node: ts.Node): Iterable<string> {
  if (ts.isRegularExpressionLiteral(node)) yield node.text
  const children: ts.Node[] = []
  ts.forEachChild(node, child => void children.push(child))
  for (const child of children) yield* literalsOf(child)
}

const patterns: ReadonlyMap<string, string> = new Map(
  sources.flatMap(name => {
    const tree = ts.createSourceFile(name, readFileSync(join(lib, name), 'utf8'), ts.ScriptTarget.Latest, true)
    return [...literalsOf(tree)].map(literal => [literal, name] as const)
  }),
)

const compile = (literal: string): RegExp => {
  const end = literal.lastIndexOf('/')
  return new RegExp(literal.slice(1, end), literal.slice(end + 1))
}

/** Characters that a pattern speaks of that are no letters, and some of each kind. */
const charactersOf = (literal: string): readonly string[] => [
  ...new Set([...literal.replaceAll(/\\[a-z]|[\w()|^$?+{}[\]]/gi, ''), ...'a0 \t"\\:/%=,']),
]

const size = 16_384

/** Texts of this size that a pattern may go through again and again: repeated, behind a beginning, and with an end that does not fit. */
const textsOf = function* (literal: string, size: number): Iterable<string> {
  const characters = charactersOf(literal)
  const source = /^\/\^?((?:[\w:;"=-]|\\\/)*)/.exec(literal)?.[1]?.replaceAll('\\', '') ?? ''
  for (const one of characters) {
    for (const two of [one, ...characters]) {
      const run = (one + two).repeat(size / 2)
      yield `${run}\0`
      if (one === two) for (const start of [source, '"', ';a="', one === '"' ? '' : `"${one}`]) yield `${start}${run}\0`
    }
  }
}

const timeOf = (pattern: RegExp, text: string): number => {
  pattern.lastIndex = 0
  const start = performance.now()
  text.replace(pattern, '')
  return performance.now() - start
}

/** How many times as long 16 times the text takes: 16 in linear time, 256 where it grows with the square. Short times are not worth a look. */
const growthOf = (pattern: RegExp, text: string): number => {
  if (timeOf(pattern, text) < 10) return 0
  const end = text.slice(-1)
  const short = `${text.slice(0, text.length / 16)}${end}`
  const best = (of: string) => Math.min(...Array.from({ length: 5 }, () => timeOf(pattern, of)))
  return best(text) / best(short)
}

t.test('every pattern that reads what a client sends takes linear time', async t => {
  t.ok(patterns.size > 60, `${patterns.size} patterns`)
  t.ok(
    [...textsOf('/=+$/', size)].some(text => growthOf(/=+$/, text) > 100),
    'a pattern that takes the square is noticed',
  )
  for (const [literal, name] of patterns) {
    const pattern = compile(literal)
    const slow = [...textsOf(literal, size)].find(text => growthOf(pattern, text) > 64)
    t.equal(slow?.slice(0, 10), undefined, `${name}: ${literal}`)
  }
})
