/**
 * Puts the examples into the built declarations: each `{@includeCode FILE#REGION}` of `dist`, which editors show as it stands, becomes the
 * code. Runs after the compiler. Fails where a region is missing.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
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

/** A source map says line by line where they come from: lines that were added come from nowhere. */
const stretched = (map: string, lines: readonly (readonly string[])[]): string =>
  map.replace(/(?<="mappings":")[^"]*/, mappings =>
    mappings
      .split(';')
      .map((line, i) => line + ';'.repeat((lines[i]?.length ?? 1) - 1))
      .join(';'),
  )

for (const name of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
  if (!name.endsWith('.d.ts')) continue
  const file = join(dist, name)
  const text = readFileSync(file, 'utf8')
  if (!text.includes('{@includeCode ')) continue
  const lines = included(file, text)
  writeFileSync(file, lines.flat().join('\n'))
  writeFileSync(`${file}.map`, stretched(readFileSync(`${file}.map`, 'utf8'), lines))
}
