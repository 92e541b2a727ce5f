/** The recipes of `docs/recipes` as they lie there; `run.ts` says what a recipe is. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of all recipes. */
export const recipesFolder = fileURLToPath(new URL('../../../docs/recipes', import.meta.url))

/** What the package.json of a recipe says. */
export interface Manifest {
  readonly description: string
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
}

/** A recipe. */
export interface Recipe {
  readonly name: string
  readonly folder: string
  /** A server is held to the course for servers; a program brings its own check. */
  readonly kind: 'server' | 'program'
  readonly manifest: Manifest
  /** Paths of the program's files in the folder. */
  readonly program: readonly string[]
  /** Lines of the program that are neither blank nor a comment alone. */
  readonly lines: number
  /** Those of a server that are left without imports and the set-up of keys and files: what serves requests. */
  readonly serving: number | undefined
}

const isCode = (line: string): boolean => !/^\s*($|\/\/|\/?\*|<!--)/.test(line)
const count = (text: string): number => text.split('\n').filter(isCode).length

/** What stands behind the paragraph that opens the files. */
const servingPart = (text: string): string =>
  text
    .split(/\n\n+/)
    .filter((_, i, all) => all.slice(0, i).some(paragraph => paragraph.includes('sealedFiles({')))
    .join('\n')

const read = (name: string): Recipe => {
  const folder = join(recipesFolder, name)
  const manifest: Manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const program = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    file => /\.(?:[jt]sx?|html)$/.test(file) && file !== 'check.ts',
  )
  const text = program.map(file => readFileSync(join(folder, file), 'utf8')).join('\n')
  const isServer = program.includes('server.js') && !existsSync(join(folder, 'check.ts'))
  if (!isServer && !existsSync(join(folder, 'check.ts')))
    throw new Error(`docs/recipes/${name} has no server.js and no check.ts`)
  return {
    name,
    folder,
    kind: isServer ? 'server' : 'program',
    manifest,
    program: program.sort(),
    lines: count(text),
    serving: isServer ? count(servingPart(text)) : undefined,
  }
}

/** All recipes, by name. */
export const recipes = (): readonly Recipe[] =>
  readdirSync(recipesFolder, { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(({ name }) => read(name))
    .sort((a, b) => a.name.localeCompare(b.name, 'en'))
