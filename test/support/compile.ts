/**
 * The store and `store-child.ts` as JavaScript in a directory of the test's: a process that is started and killed many times must not
 * wait for a compiler each time.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import ts from 'typescript'

const root = join(import.meta.dirname, '..', '..')
const sources = [
  'lib/errors.ts',
  'lib/bytes.ts',
  'lib/files.ts',
  'test/support/store.ts',
  'test/support/store-child.ts',
]
const folders = ['lib/store', 'lib/store/file']

const compilerOptions: ts.CompilerOptions = {
  module: ts.ModuleKind.ESNext,
  target: ts.ScriptTarget.ES2023,
  verbatimModuleSyntax: true,
  rewriteRelativeImportExtensions: true,
}

/** Compiles into `directory`, which is inside this package; answers the path of the child's program. */
export const compileChild = (directory: string): string => {
  const found = folders.flatMap(folder => readdirSync(join(root, folder)).map(name => `${folder}/${name}`))
  for (const source of [...sources, ...found.filter(name => name.endsWith('.ts'))]) {
    const { outputText } = ts.transpileModule(readFileSync(join(root, source), 'utf8'), { compilerOptions })
    const target = join(directory, source.replace(/\.ts$/, '.js'))
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, outputText)
  }
  return join(directory, 'test', 'support', 'store-child.js')
}
