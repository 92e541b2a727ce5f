/**
 * What editors and the reference show of the built declarations: each `{@includeCode FILE#REGION}` of `dist` becomes the code, each constant that
 * is a function is declared as one, and what describes a module stays. Runs after the compiler. Fails where a region is missing.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { exampleOf } from './example.ts'

const dist = fileURLToPath(new URL('../dist', import.meta.url))
const tag = /^( *\*) \{@includeCode (\S+)#(\S+)\}$/

/** The lines of a declaration file, and for each line of the source file how many it became. */
const included = (file: string, text: string): readonly (readonly string[])[] =>
  text.split('\n').map(line => {
    const [, margin = '', path = '', name = ''] = tag.exec(line) ?? []
    if (path === '') return [line]
    const code = exampleOf(join(dirname(file), path), name).trimEnd()
    if (code.includes('*/')) throw new Error(`${path}: region ${name} would end the comment that includes it`)
    return ['```ts', ...code.split('\n'), '```'].map(each => `${margin} ${each}`.trimEnd())
  })

/** `const f: (a: A) => B` as `function f(a: A): B`. No line comes or goes. */
const withFunctions = (text: string): string => {
  const tree = ts.createSourceFile('x.d.ts', text, ts.ScriptTarget.Latest, true)
  const parts: string[] = []
  let end = 0
  for (const statement of tree.statements) {
    if (!ts.isVariableStatement(statement)) continue
    const [declaration] = statement.declarationList.declarations
    const type = declaration?.type
    if (declaration === undefined || type === undefined || !ts.isFunctionTypeNode(type)) continue
    const head = text.slice(end, declaration.name.getStart()).replace(/const $/, 'function ')
    const signature = text.slice(type.getStart(), type.type.getFullStart()).replace(/ =>$/, ':')
    parts.push(head, declaration.name.getText(), signature)
    end = type.type.getFullStart()
  }
  return parts.join('') + text.slice(end)
}

/** What a source file says of its module, where the compiler dropped it together with the import below. */
const moduleComment = (file: string, text: string): readonly string[] => {
  const source = readFileSync(join(dist, '../lib', relative(dist, file).replace(/\.d\.ts$/, '.ts')), 'utf8')
  const [comment = ''] = /^\/\*\*.*?\*\//s.exec(source) ?? []
  return comment.includes('@module') && !text.startsWith('/**\n') ? comment.split('\n') : []
}

/** A source map says line by line where they come from: lines that were added come from nowhere. */
const stretched = (map: string, added: number, lines: readonly (readonly string[])[]): string =>
  map.replace(
    /(?<="mappings":")[^"]*/,
    mappings =>
      ';'.repeat(added) +
      mappings
        .split(';')
        .map((line, i) => line + ';'.repeat((lines[i]?.length ?? 1) - 1))
        .join(';'),
  )

for (const name of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
  if (!name.endsWith('.d.ts')) continue
  const file = join(dist, name)
  const text = readFileSync(file, 'utf8')
  const head = moduleComment(file, text)
  const lines = included(file, withFunctions(text))
  writeFileSync(file, [...head, ...lines.flat()].join('\n'))
  writeFileSync(`${file}.map`, stretched(readFileSync(`${file}.map`, 'utf8'), head.length, lines))
}
