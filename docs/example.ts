/**
 * The examples of the documents and docstrings. They are regions of `test/examples`, where the tests run them. A reader sees a region with the
 * imports that it needs, and these name the package in place of its sources.
 */
import { readFileSync } from 'node:fs'
import ts from 'typescript'

const { exports }: { readonly exports: Readonly<Record<string, string>> } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
)
/** The entry that a built file is. */
const entries: ReadonlyMap<string, string> = new Map(Object.entries(exports).map(([entry, file]) => [file, entry]))

/**
 * The code of regions of a file, `a,b` for one below the other, not indented, below its imports. A region may lie in another. Throws where the
 * file has no such region.
 */
export const exampleOf = (file: string, names: string): string => {
  const text = readFileSync(file, 'utf8')
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)
  const regions = names.split(',').map(name => {
    const found = new RegExp(`^[ ]*// #region ${name}\n(.*?)^[ ]*// #endregion ${name}$`, 'ms').exec(text)
    const code = found?.[1]
    if (found === null || code === undefined) throw new Error(`${file} has no region ${name}`)
    return { code: unindented(code), used: namesIn(tree, found.index, found.index + found[0].length) }
  })
  const imports = importsOf(tree, new Set(regions.flatMap(({ used }) => [...used])))
  return [...(imports.length === 0 ? [] : [imports.join('\n')]), ...regions.map(({ code }) => code), '']
    .join('\n\n')
    .replace(/\n\n$/, '\n')
}

const unindented = (code: string): string => {
  const lines = code
    .trimEnd()
    .split('\n')
    .filter(line => !/^ *\/\/ #(end)?region /.test(line))
  const indent = Math.min(...lines.filter(line => line.trim() !== '').map(line => line.search(/\S/)))
  return lines.map(line => line.slice(indent)).join('\n')
}

/** The identifiers between two places that stand for a variable or a type; names of properties are none. */
const namesIn = (tree: ts.SourceFile, start: number, end: number): ReadonlySet<string> => {
  const names = new Set<string>()
  const visit = (node: ts.Node): void => {
    if (node.end <= start || node.getStart() >= end) return
    const { parent } = node
    const named = (ts.isPropertyAccessExpression(parent) || ts.isPropertyAssignment(parent)) && parent.name === node
    if (ts.isIdentifier(node) && node.getStart() >= start && !named) names.add(node.text)
    ts.forEachChild(node, visit)
  }
  ts.forEachChild(tree, visit)
  return names
}

const importsOf = (tree: ts.SourceFile, used: ReadonlySet<string>): readonly string[] =>
  tree.statements.filter(ts.isImportDeclaration).flatMap(({ importClause, moduleSpecifier }) => {
    const bindings = importClause?.namedBindings
    const elements = bindings !== undefined && ts.isNamedImports(bindings) ? bindings.elements : []
    const names = elements.filter(({ name }) => used.has(name.text)).map(element => element.getText())
    const whole = importClause?.name?.text
    if (whole !== undefined && used.has(whole)) return [`import ${whole} from ${moduleSpecifier.getText()}`]
    if (names.length === 0) return []
    const from = moduleSpecifier.getText().replace(/^'(?:\.\.\/)+lib\/(.+)\.ts'$/, (_, file: string) => {
      const entry = entries.get(`./dist/${file}.js`)
      if (entry === undefined) throw new Error(`lib/${file}.ts is no entry: an example cannot import it`)
      return `'${entry.replace('.', 'sse-kms-streams')}'`
    })
    const line = `import { ${names.join(', ')} } from ${from}`
    return line.length <= 120 ? [line] : ['import {', ...names.map(name => `  ${name},`), `} from ${from}`]
  })
