/** A fresh folder with recipes and what they depend on, the package itself as the tarball that `npm pack` makes of it. */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Recipe } from './folders.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const run = promisify(execFile)

/** Runs a command; rejects with all that it wrote. */
const runIn = async (cwd: string, command: string, args: readonly string[]): Promise<string> => {
  try {
    return (await run(command, args, { cwd, encoding: 'utf8', maxBuffer: 1 << 26 })).stdout
  } catch (error) {
    const { stdout = '', stderr = '' }: { readonly stdout?: string; readonly stderr?: string } = Object(error)
    throw new Error(`${command} ${args.join(' ')}\n${stdout}${stderr}`, { cause: error })
  }
}

const writeJson = (path: string, value: unknown): void => writeFileSync(path, JSON.stringify(value, undefined, 2))

/**
 * One folder for all of them, each a workspace in it: one `npm install` resolves what each package.json names, and installs what they share once.
 * Resolves to its path.
 */
export const installRecipes = async (all: readonly Recipe[]): Promise<string> => {
  const folder = mkdtempSync(join(tmpdir(), 'recipes-'))
  const pack = ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder]
  const tarball = `file:${join(folder, (await runIn(root, 'npm', pack)).trim())}`
  const {
    devDependencies,
  }: Pick<Required<Recipe['manifest']>, 'devDependencies'> = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  )
  const types = { '@types/node': devDependencies['@types/node'] }
  writeJson(join(folder, 'package.json'), { private: true, workspaces: ['*'], devDependencies: types })
  for (const recipe of all) {
    const path = join(folder, recipe.name)
    mkdirSync(path)
    cpSync(recipe.folder, path, { recursive: true })
    const { manifest } = recipe
    const dependencies = { ...manifest.dependencies, 'sse-kms-streams': tarball }
    writeJson(join(path, 'package.json'), { ...manifest, name: recipe.name, dependencies })
  }
  await runIn(folder, 'npm', ['install', '--no-audit', '--no-fund', '--no-progress', '--loglevel=error'])
  return folder
}

/** Type checks all programs and checks against the declarations of the tarball and of what they depend on. Rejects with what is wrong. */
export const checkTypes = async (folder: string, all: readonly Recipe[]): Promise<void> => {
  const files = all.flatMap(({ name, kind, program }) =>
    [...program.filter(file => !file.endsWith('.html')), ...(kind === 'program' ? ['check.ts'] : [])].map(file =>
      join(name, file),
    ),
  )
  const compilerOptions = {
    target: 'es2023',
    lib: ['es2023', 'dom', 'dom.iterable', 'dom.asynciterable'],
    module: 'nodenext',
    types: ['node'],
    jsx: 'react-jsx',
    strict: true,
    allowJs: true,
    checkJs: true,
    noEmit: true,
    skipLibCheck: true,
    allowImportingTsExtensions: true,
  }
  writeJson(join(folder, 'tsconfig.json'), { compilerOptions, files })
  await runIn(folder, process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', '.'])
}

/** Packages that a program imports and its package.json does not name: another recipe's may be there by chance. */
export const undeclared = ({ folder, program, manifest }: Recipe): readonly string[] => {
  const imported = program.flatMap(file =>
    Array.from(
      readFileSync(join(folder, file), 'utf8').matchAll(
        /(?:\bfrom |\bimport |\bimport\()'((?:@[\w.-]+\/)?[\w.-]+)[^']*'/g,
      ),
      ([specifier, name = '']) => (/'(?:node:|\.)/.test(specifier) ? '' : name),
    ),
  )
  return [...new Set(imported)].filter(name => name !== '' && !(name in manifest.dependencies))
}
