/**
 * The house as `docs/architecture.md` draws it: floors, who may import what, the shape of files, and that every file of lib is loaded by a
 * test. Read from the sources with TypeScript's own parser.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'
import { gatewayPackages } from '../lib/cli/serve.ts'

const lib = fileURLToPath(new URL('../lib', import.meta.url))

interface Import {
  readonly from: string
  /** A file of lib, relative to it; or a package or `node:` module. */
  readonly to: string
  readonly inside: boolean
}

interface Source {
  readonly name: string
  readonly text: string
  readonly tree: ts.SourceFile
  readonly imports: readonly Import[]
}

const nodes = function* (node: ts.Node): Iterable<ts.Node> {
  yield node
  const children: ts.Node[] = []
  ts.forEachChild(node, child => {
    children.push(child)
  })
  for (const child of children) yield* nodes(child)
}

const specifiersOf = function* (tree: ts.SourceFile): Iterable<string> {
  for (const node of nodes(tree)) {
    const specifier =
      ts.isImportDeclaration(node) || ts.isExportDeclaration(node)
        ? node.moduleSpecifier
        : ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
          ? node.arguments[0]
          : ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)
            ? node.argument.literal
            : undefined
    if (specifier !== undefined && ts.isStringLiteral(specifier)) yield specifier.text
  }
}

const sources: ReadonlyMap<string, Source> = new Map(
  readdirSync(lib, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .sort()
    .map(name => {
      const text = readFileSync(join(lib, name), 'utf8')
      const tree = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true)
      const imports = [...specifiersOf(tree)].map(to => {
        const inside = to.startsWith('.')
        return { from: name, to: inside ? normalize(join(dirname(name), to)) : to, inside }
      })
      return [name, { name, text, tree, imports }] as const
    }),
)
const all = [...sources.values()]
const imports = all.flatMap(source => source.imports)

const floors: Readonly<Record<string, number>> = {
  'errors.ts': 0,
  'files.ts': 0,
  'bytes.ts': 0,
  'lru.ts': 0,
  'arguments.ts': 0,
  cipher: 1,
  segment: 2,
  kms: 3,
  envelope: 4,
  sse: 4,
  policy: 4,
  store: 5,
  object: 6,
  gateway: 7,
  cli: 8,
}
const folderOf = (name: string): string => name.split('/')[0] ?? name
/** Entries re-export; they stand outside the floors. */
const isEntry = (name: string): boolean => !name.includes('/') && !(name in floors)

t.test('floors: an import goes down, or stays in its folder', async t => {
  for (const { name } of all) t.ok(isEntry(name) || folderOf(name) in floors, `${name} is in the house`)
  const wrong = imports.filter(({ from, to, inside }) => {
    if (!inside) return false
    if (!sources.has(to)) return true
    if (isEntry(from)) return false
    if (isEntry(to)) return true
    const [above, below] = [folderOf(from), folderOf(to)]
    return above !== below && (floors[above] ?? 0) <= (floors[below] ?? 0)
  })
  t.strictSame(wrong, [])
})

/** Floors of the gateway: a request goes up, an import goes down. */
const gatewayFloors: Readonly<Record<string, number>> = {
  'limits.ts': 0,
  'options.ts': 0.5,
  http: 1,
  auth: 2,
  body: 3,
  access: 4,
  'services.ts': 5,
  objects: 6,
  'index-key.ts': 6,
  'request.ts': 7,
  plan: 8,
  post: 9,
  actions: 10,
  'gateway.ts': 11,
}

t.test('floors of the gateway: an import goes down, or stays in its folder', async t => {
  const inGateway = (name: string): string | undefined => /^gateway\/([^/]+)/.exec(name)?.[1]
  const tops = new Set(all.flatMap(({ name }) => inGateway(name) ?? []))
  t.strictSame([...tops].sort(), Object.keys(gatewayFloors).sort())
  const wrong = imports.filter(({ from, to, inside }) => {
    const [above, below] = [inGateway(from), inside ? inGateway(to) : undefined]
    if (above === undefined || below === undefined || above === below) return false
    return (gatewayFloors[above] ?? 0) <= (gatewayFloors[below] ?? 0)
  })
  t.strictSame(wrong, [])
})

/** The files of an import circle, in order; none where there is no circle. */
const circleIn = (graph: ReadonlyMap<string, readonly string[]>): readonly string[] => {
  const done = new Set<string>()
  const search = (name: string, path: readonly string[]): readonly string[] => {
    if (path.includes(name)) return path.slice(path.indexOf(name))
    if (done.has(name)) return []
    for (const next of graph.get(name) ?? []) {
      const circle = search(next, [...path, name])
      if (circle.length > 0) return circle
    }
    done.add(name)
    return []
  }
  for (const name of graph.keys()) {
    const circle = search(name, [])
    if (circle.length > 0) return circle
  }
  return []
}

t.test('no import circles, types included', async t => {
  const found = (graph: Readonly<Record<string, readonly string[]>>) => circleIn(new Map(Object.entries(graph)))
  t.strictSame(found({ a: ['b', 'c'], b: ['d'], c: ['d'], d: [] }), [])
  t.strictSame(found({ a: ['b'], b: ['c'], c: ['d', 'b'], d: [] }), ['b', 'c'])
  t.strictSame(found({ a: ['a'] }), ['a'])
  const graph = new Map(
    all.map(source => [source.name, source.imports.filter(({ inside }) => inside).map(({ to }) => to)]),
  )
  t.strictSame(circleIn(graph), [])
})

t.test('entries only re-export', async t => {
  const entries = all.filter(({ name }) => isEntry(name)).map(({ name }) => name)
  for (const name of ['index.ts', 'web.ts', 'testing.ts']) t.ok(entries.includes(name), name)
  for (const { name, tree } of all) {
    if (!isEntry(name)) continue
    const others = tree.statements.filter(
      statement => !ts.isExportDeclaration(statement) && !ts.isImportDeclaration(statement),
    )
    t.strictSame(
      others.map(statement => statement.getText()),
      [],
      name,
    )
  }
})

const importersOf = (module: RegExp): readonly string[] => [
  ...new Set(imports.filter(({ to, inside }) => !inside && module.test(to)).map(({ from }) => from)),
]
const outside = (module: RegExp, allowed: RegExp): readonly string[] =>
  importersOf(module).filter(name => !allowed.test(name))

t.test('who may import what', async t => {
  t.strictSame(
    outside(/^node:https?$/, /^(gateway|cli)\/|^kms\/http\.ts$/),
    [],
    'node:http only in the gateway, the command line, and below the key managers that are services',
  )
  t.strictSame(
    outside(/^node:fs/, /^files\.ts$|^object\/directory\.ts$|^(kms\/local|store\/file|cli)\//),
    [],
    'node:fs only where files live',
  )
  t.strictSame(
    outside(/^node:tls$/, /^kms\/kmip\/(connection|kmip)\.ts$|^cli\//),
    [],
    'node:tls in the client of KMIP, and in cli',
  )
  t.strictSame(outside(/^lmdb/, /^store\/file\/database\.ts$/), [], 'lmdb in the embedded store')
  t.strictSame(outside(/^pg$/, /^store\/postgres\/connection\.ts$/), [], 'pg in the connections to PostgreSQL')
  t.strictSame(outside(/^@aws-sdk\/client-kms/, /^kms\/aws\//), [], 'the SDK of AWS in its provider')
  t.strictSame(outside(/^@aws-sdk\/client-s3/, /^store\/s3\//), [], 'the SDK of S3 below bodies in S3')
  t.strictSame(outside(/^fast-xml-parser/, /^gateway\/http\/xml\.ts$/), [], 'XML in one place')
  t.strictSame(outside(/^pkcs11js/, /^kms\/pkcs11\//), [], 'pkcs11js in its provider')
  t.strictSame(outside(/^cockatiel/, /^kms\/decorators\/policies\.ts$/), [], 'cockatiel in the policies')
  t.strictSame(outside(/^stream-chain/, /^segment\/chain\.ts$/), [], 'stream-chain in one adapter')
  t.strictSame(outside(/^koffi/, /^cipher\/openssl\/koffi\.ts$/), [], 'koffi in its call layer')
  t.strictSame(
    outside(/^@noble/, /^cipher\/noble\.ts$|^kms\/local\/root-key\.ts$|^sse\/customer-key\.ts$/),
    [],
    '@noble in the portable engine',
  )
  const core = imports.filter(
    ({ from, to, inside }) =>
      !inside && /^(cipher|segment|envelope|object)\//.test(from) && !/^node:|^@noble\/|^stream-chain|^koffi$/.test(to),
  )
  t.strictSame(core, [], 'the core imports noble and stream-chain, koffi where it is installed, and nothing else')
  t.strictSame(
    imports.filter(({ to }) => to === 'testing.ts'),
    [],
    'nothing imports the entry for tests',
  )
  const replacing = all.filter(
    ({ name, text }) => name !== 'testing.ts' && name !== 'cipher/random.ts' && text.includes('replaceRandomness'),
  )
  t.strictSame(
    replacing.map(({ name }) => name),
    [],
    'nothing replaces randomness',
  )
  const others = imports
    .filter(({ to, inside }) => !inside && !to.startsWith('node:'))
    .map(({ to }) =>
      to
        .split('/')
        .slice(0, to.startsWith('@') ? 2 : 1)
        .join('/'),
    )
  const manifest: unknown = JSON.parse(readFileSync(join(lib, '../package.json'), 'utf8'))
  const declared = JSON.stringify(manifest)
  for (const name of new Set(others)) t.ok(declared.includes(`"${name}"`), `${name} is declared`)
})

/** A file, and all that it imports. */
const reachedFrom = (entry: string): ReadonlySet<string> => {
  const reached = new Set<string>()
  const reach = (name: string): void => {
    if (reached.has(name)) return
    reached.add(name)
    for (const { to, inside } of sources.get(name)?.imports ?? []) if (inside) reach(to)
  }
  reach(entry)
  return reached
}

t.test('sse-kms serve asks for the packages that it needs, and no others', async t => {
  const { peerDependencies }: { readonly peerDependencies: object } = JSON.parse(
    readFileSync(join(lib, '../package.json'), 'utf8'),
  )
  const reached = new Set(
    [...reachedFrom('cli/serve.ts')].flatMap(name => sources.get(name)?.imports ?? []).map(({ to }) => to),
  )
  // cli-progress, koffi: works without them. prom-client, pg, client-s3: where the configuration asks for them. The others: key managers ask for them when they are opened.
  const elsewhere = new Set([
    'cli-progress',
    'koffi',
    'cockatiel',
    '@aws-sdk/client-kms',
    'pkcs11js',
    'prom-client',
    'pg',
    '@aws-sdk/client-s3',
  ])
  const needed = Object.keys(peerDependencies).filter(name => reached.has(name) && !elsewhere.has(name))
  t.strictSame([...gatewayPackages].sort(), needed.sort())
})

t.test('what ./web reaches is free of node: and of Buffer', async t => {
  const reached = reachedFrom('web.ts')
  t.ok(reached.has('object/sse.ts') && reached.has('segment/async.ts') && reached.size > 30, 'it reaches the core')
  const wrong = [...reached].flatMap(
    name => sources.get(name)?.imports.filter(({ to }) => to.startsWith('node:')) ?? [],
  )
  t.strictSame(wrong, [])
  for (const name of reached) {
    const tree = sources.get(name)?.tree
    if (tree === undefined) continue
    const globals = [...nodes(tree)].filter(
      node => ts.isIdentifier(node) && /^(Buffer|process|global|require|__dirname)$/.test(node.text),
    )
    t.strictSame(
      globals.map(node => node.getText()),
      [],
      name,
    )
  }
})

const where = (node: ts.Node): string => {
  const file = node.getSourceFile()
  return `${file.fileName}:${file.getLineAndCharacterOfPosition(node.getStart()).line + 1} ${node.getText().slice(0, 60)}`
}
const found = (test: (node: ts.Node) => boolean): readonly string[] =>
  all.flatMap(({ tree }) => [...nodes(tree)].filter(test).map(where))
const modifiersOf = (node: ts.Node) => (ts.canHaveModifiers(node) ? (ts.getModifiers(node) ?? []) : [])

t.test('style', async t => {
  const any = found(({ kind }) => kind === ts.SyntaxKind.AnyKeyword)
  t.match(any, [/^segment\/chain\.ts:/], 'one any')
  t.equal(any.length, 1)
  const assertions = found(
    node => (ts.isAsExpression(node) && !ts.isConstTypeReference(node.type)) || ts.isTypeAssertionExpression(node),
  )
  t.strictSame(
    assertions.filter(at => !at.startsWith('bytes.ts:')),
    [],
    'no type assertions outside bytes.ts',
  )
  t.strictSame(found(ts.isNonNullExpression), [], 'no ! assertions')
  t.strictSame(found(ts.isEnumDeclaration), [], 'no enums')
  t.strictSame(found(ts.isModuleDeclaration), [], 'no namespaces')
  const byDefault = found(
    node => ts.isExportAssignment(node) || modifiersOf(node).some(({ kind }) => kind === ts.SyntaxKind.DefaultKeyword),
  )
  t.strictSame(byDefault, [], 'no default exports')
  const keywords = [ts.SyntaxKind.PrivateKeyword, ts.SyntaxKind.ProtectedKeyword, ts.SyntaxKind.PublicKeyword]
  const modified = found(
    node => !ts.isConstructorDeclaration(node) && modifiersOf(node).some(({ kind }) => keywords.includes(kind)),
  )
  t.strictSame(modified, [], '#private instead of private')
  const stateless = found(node => ts.isClassDeclaration(node) && !node.members.some(ts.isPropertyDeclaration))
  t.strictSame(stateless, [], 'no class without state')
  for (const { name, text, imports } of all) {
    const lines = text.split('\n').length - 1
    t.ok(lines <= 400, `${name} has ${lines} lines, at most 400`)
    t.match(text, /^(#!.*\n)?\/\*\*/, `${name} opens with what it is`)
    t.strictSame(
      imports.filter(({ to, inside }) => inside && !to.endsWith('.ts')),
      [],
      `${name}: relative imports end in .ts`,
    )
  }
})

t.test('every file of lib is loaded', async t => {
  for (const { name } of all) {
    if (name === 'cli/main.ts') continue // it runs the command; the tests of the command line start it
    const loaded: unknown = await import(new URL(`../lib/${name}`, import.meta.url).href)
    t.type(loaded, 'object', relative('', name))
  }
})
