/**
 * The documents are in step with the code: tables, code blocks, links, names of tests, and an example for every public function.
 * `DOCS_WRITE=1 npx tap test/docs.test.ts` writes tables and code blocks anew.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { SourceMap } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { format } from 'prettier'
import t from 'tap'
import { z } from 'zod'
import { exampleOf } from '../docs/example.ts'
import { checkConfig, jsonSchema } from '../lib/cli/config-schema.ts'
import { managerKinds } from '../lib/cli/kms-schema.ts'
import { exitCodes } from '../lib/cli/failure.ts'
import { actions } from '../lib/gateway/actions/index.ts'
import { parseQuery, route } from '../lib/gateway/http/route.ts'
import * as aws from '../lib/kms/aws/aws.ts'
import * as files from '../lib/object/directory.ts'
import * as openssl from '../lib/openssl.ts'
import * as gateway from '../lib/gateway.ts'
import * as kmip from '../lib/kms/kmip/kmip.ts'
import * as index from '../lib/index.ts'
import * as kms from '../lib/kms.ts'
import * as huawei from '../lib/kms/huawei/huawei.ts'
import * as vault from '../lib/kms/vault/vault.ts'
import * as pkcs11 from '../lib/kms/pkcs11/pkcs11.ts'
import * as postgres from '../lib/store/postgres/store.ts'
import * as rules from '../lib/rules.ts'
import * as store from '../lib/store.ts'
import * as s3 from '../lib/store/s3/bodies.ts'
import * as testing from '../lib/testing.ts'
import * as web from '../lib/web.ts'
import { obsOperations, s3Operations } from './support/operations.ts'
import { recipes } from './support/recipes/folders.ts'
import { main } from './support/server.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const markdown = (folder: string): readonly string[] =>
  readdirSync(join(root, folder))
    .filter(name => name.endsWith('.md'))
    .map(name => join(folder, name))
const documents = ['.', 'docs', 'docs/recipes', '.github'].flatMap(markdown)
const write = process.env['DOCS_WRITE'] === '1'

const table = (head: readonly string[], rows: readonly (readonly unknown[])[]): string =>
  [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |\n`).join('')

const errorsTable = (): string =>
  table(
    ['code', 'HTTP', 'S3 code, if another', 'message'],
    Object.entries(index.errorTable).map(([code, { status, s3Code, message }]) => [
      `\`${code}\``,
      status,
      s3Code === undefined || s3Code === code ? '' : `\`${s3Code}\``,
      message,
    ]),
  )

const field = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? new Map<string, unknown>(Object.entries(value)).get(name) : undefined

const fieldsTable = (properties: unknown): string =>
  table(
    ['field', 'default', 'what it is'],
    Object.entries(Object(properties))
      .filter(([name]) => name !== '$schema')
      .map(([name, property]) => {
        const standard = field(property, 'default')
        const shown = standard === undefined ? '' : `\`${JSON.stringify(standard)}\``
        return [`\`${name}\``, shown, field(property, 'description')]
      }),
  )

const configTable = (): string => fieldsTable(jsonSchema()['properties'])

const limitsTable = (): string => fieldsTable(field(field(jsonSchema()['properties'], 'limits'), 'properties'))

/** Fields of key managers that all of them have. */
const commonFields = new Set(['instance', 'tenants', 'buckets', 'keys', 'createKeys', 'bounds'])

const managerSchemas = Object.entries(managerKinds).map(([name, schema]) => ({
  name,
  properties: Object.entries(Object(field(z.toJSONSchema(schema, { io: 'input' }), 'properties'))),
}))

/** What all key managers have; the default of `instance` is the name of the kind. */
const commonTable = (): string => {
  const { properties } = managerSchemas.find(({ name }) => name === 'module') ?? { properties: [] }
  return fieldsTable(Object.fromEntries(properties.filter(([name]) => commonFields.has(name)))).replace('`"own"`', '')
}

const boundsTable = (): string => {
  const { properties } = managerSchemas.find(({ name }) => name === 'module') ?? { properties: [] }
  return fieldsTable(field(Object.fromEntries(properties)['bounds'], 'properties'))
}

/** What each kind of key manager has besides. */
const managersTable = (): string =>
  table(
    ['provider', 'field', 'default', 'what it is'],
    managerSchemas.flatMap(({ name, properties }) =>
      properties
        .filter(([key]) => !commonFields.has(key))
        .map(([key, property]) => {
          const standard = field(property, 'default')
          const shown = standard === undefined ? '' : `\`${JSON.stringify(standard)}\``
          const first = key === 'provider'
          return [first ? `\`${name}\`` : '', first ? '' : `\`${key}\``, shown, field(property, 'description')]
        }),
    ),
  )

const exitTable = (): string => {
  const meanings: Readonly<Record<keyof typeof exitCodes, string>> = {
    ok: 'done',
    failed: 'failed',
    usage: 'the command line or the configuration is wrong',
    notAuthentic: 'the input is not authentic, or the key is the wrong one',
    faulty: 'the check found faults in the store',
    interrupted: 'interrupted by a signal',
    brokenPipe: 'the reader of the output stopped reading',
  }
  const rows = Object.entries(exitCodes).map(([name, code]) => [code, new Map(Object.entries(meanings)).get(name)])
  return table(['exit status', 'meaning'], rows)
}

/** What the gateway could be asked: method, what follows the host, and whether a source to copy from is named. */
const requests: readonly (readonly [method: string, target: string, copySource?: boolean])[] = [
  ['GET', '/'],
  ['HEAD', '/b?apiversion'],
  ...['PUT', 'HEAD', 'DELETE', 'GET', 'POST'].map(method => [method, '/b'] as const),
  ['GET', '/b?list-type=2'],
  ['GET', '/b?uploads'],
  ['POST', '/b?delete'],
  ['GET', '/b?location'],
  ['GET', '/b?policyStatus'],
  ...['policy', 'publicAccessBlock', 'ownershipControls', 'encryption', 'cors', 'tagging'].flatMap(sub =>
    ['GET', 'PUT', 'DELETE'].map(method => [method, `/b?${sub}`] as const),
  ),
  ...['acl', 'versioning'].flatMap(sub => ['GET', 'PUT'].map(method => [method, `/b?${sub}`] as const)),
  ['GET', '/b?versions'],
  ...['PUT', 'GET', 'HEAD', 'DELETE'].map(method => [method, '/b/k'] as const),
  ['PUT', '/b/k', true],
  ['POST', '/b/k?uploads'],
  ['PUT', '/b/k?partNumber=1&uploadId=u'],
  ['PUT', '/b/k?partNumber=1&uploadId=u', true],
  ['GET', '/b/k?uploadId=u'],
  ['POST', '/b/k?uploadId=u'],
  ['DELETE', '/b/k?uploadId=u'],
  ...['GET', 'PUT', 'DELETE'].map(method => [method, '/b/k?tagging'] as const),
  ...['GET', 'PUT'].map(method => [method, '/b/k?acl'] as const),
  ['GET', '/b/k?attributes'],
  ['PUT', '/b/k?encryption'],
]

const actionOf = ([method, target, copySource = false]: (typeof requests)[number]): string => {
  const [path = '', query = ''] = target.split('?')
  const [, bucket, key] = path.split('/')
  return route({ method, bucket: bucket || undefined, key, query: parseQuery(query), copySource })
}

const actionsTable = (): string =>
  table(
    ['operation', 'request', ''],
    requests.map(request => {
      const [method, target, copySource] = request
      const shown = target.replace('/b', '/BUCKET').replace('/k', '/KEY').replace('=u', '=ID').replace('=1', '=N')
      const action = actionOf(request)
      const source = copySource === true ? ' with `x-amz-copy-source`' : ''
      return [action, `\`${method} ${shown}\`${source}`, action in actions ? 'built' : 'refused, 501 NotImplemented']
    }),
  )

const operations = [...(await s3Operations()), ...obsOperations()]

/** What is refused by the name of its sub-resource; the test of the routing says that nothing else is missing. */
const refusedTable = (): string => {
  const subs = [...new Set(operations.flatMap(({ sub }) => sub ?? []))].sort((a, b) => a.localeCompare(b, 'en'))
  const named = (sub: string, of: string): string =>
    operations.flatMap(each => (each.sub === sub && each.of === of ? [each.operation] : [])).join(', ')
  return table(
    ['sub-resource', 'operations of S3', 'operations of OBS'],
    subs.map(sub => [`\`?${sub}\``, named(sub, 'S3') || '–', named(sub, 'OBS') || '–']),
  )
}

/** Adds the packages that a file of lib and what it imports need. */
const collect = (file: string, packages: Set<string>, seen: Set<string>): void => {
  if (seen.has(file)) return
  seen.add(file)
  const code = read(file).replace(/^import type .*?'$/gms, '')
  for (const [, specifier = ''] of code.matchAll(/(?:from |import\()'([^']+)'/g)) {
    if (specifier.startsWith('.')) collect(join(dirname(file), specifier), packages, seen)
    else if (!specifier.startsWith('node:')) packages.add(/^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? '')
  }
}

const { dependencies }: { readonly dependencies: object } = JSON.parse(read('package.json'))
const peersOf = (...entries: readonly string[]): string => {
  const packages = new Set<string>()
  const seen = new Set<string>()
  for (const entry of entries) collect(entry, packages, seen)
  const peers = [...packages].filter(name => !(name in dependencies)).sort()
  return peers.map(name => `\`${name}\``).join(', ')
}

const peersTable = (): string =>
  table(
    ['entry', 'optional packages'],
    [
      [
        '`sse-kms-streams`, `/web`, `/rules`, `/openssl`, `/files`, `/testing`, `/kms/huawei`, `/kms/kmip`, `/kms/vault`',
        peersOf(
          ...[
            'lib/index.ts',
            'lib/web.ts',
            'lib/rules.ts',
            'lib/openssl.ts',
            'lib/object/directory.ts',
            'lib/testing.ts',
            'lib/kms/huawei/huawei.ts',
            'lib/kms/kmip/kmip.ts',
            'lib/kms/vault/vault.ts',
          ],
        ) || 'none',
      ],
      ['`sse-kms-streams/store`', peersOf('lib/store.ts')],
      ['`sse-kms-streams/store/s3`', peersOf('lib/store/s3/bodies.ts')],
      ['`sse-kms-streams/store/postgres`', peersOf('lib/store/postgres/store.ts')],
      ['`sse-kms-streams/gateway`', peersOf('lib/gateway.ts')],
      ['`sse-kms-streams/kms`', peersOf('lib/kms.ts')],
      ['`sse-kms-streams/kms/aws`', peersOf('lib/kms/aws/aws.ts')],
      ['`sse-kms-streams/kms/pkcs11`', peersOf('lib/kms/pkcs11/pkcs11.ts')],
      ['`sse-kms`', peersOf('lib/cli/main.ts')],
    ],
  )

/** Of the newest kept result; in a process of its own, as the benchmarks are not part of the package. */
const benchTable = (): string => {
  const code = "import { readmeTable } from './bench/results.ts'; process.stdout.write(readmeTable())"
  const env = { ...process.env, NODE_OPTIONS: '', NODE_V8_COVERAGE: '' }
  const args = ['--import', 'tsx', '--input-type=module', '--eval', code]
  return execFileSync(process.execPath, args, { cwd: root, env, encoding: 'utf8' })
}

const casesTable = (): string =>
  table(
    ['case', 'what it holds a provider to'],
    testing.conformanceCases.map(({ name, about }) => [`\`${name}\``, about]),
  )

const recipesTable = (): string =>
  table(
    ['recipe', 'what it is', 'lines'],
    recipes().map(({ name, manifest, lines }) => [`[${name}](recipes/${name}.md)`, manifest.description, lines]),
  )

const tables: ReadonlyMap<string, () => string> = new Map([
  ['errors', errorsTable],
  ['config', configTable],
  ['limits', limitsTable],
  ['managerFields', commonTable],
  ['bounds', boundsTable],
  ['managers', managersTable],
  ['exit', exitTable],
  ['actions', actionsTable],
  ['refused', refusedTable],
  ['peers', peersTable],
  ['cases', casesTable],
  ['bench', benchTable],
  ['recipes', recipesTable],
])

/** A document with its tables and code blocks as they should be. */
const inStep = (text: string): string =>
  text
    .replace(/(<!-- table: (\w+) -->\n)(?:(?!<!--).)*(?=<!-- end -->)/gs, (_, head: string, name: string) => {
      const make = tables.get(name)
      if (make === undefined) throw new Error(`there is no table ${name}`)
      return `${head}\n${make()}\n`
    })
    .replace(
      /(<!-- (?:fragment )?(test\/\S+?)#(\S+) -->\n+```ts\n).*?(?=```)/gs,
      (_, head: string, path: string, name: string) => head + exampleOf(join(root, path), name),
    )
    .replace(
      /(<!-- (docs\/recipes\/\S+) -->\n+```\w+\n).*?(?=```)/gs,
      (_, head: string, path: string) => head + read(path),
    )

/** A document without its code: blocks and spans. */
const prose = (text: string): string => text.replace(/^```.*?^```/gms, '').replace(/`[^`\n]*`/g, '``')

/** As GitHub makes anchors of headings. */
const anchorsOf = (text: string): readonly string[] =>
  [...text.replace(/^```.*?^```/gms, '').matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )

t.test('tables and code blocks', async t => {
  for (const path of documents) {
    const text = read(path)
    const expected = inStep(text)
    if (write && text !== expected) writeFileSync(join(root, path), expected)
    t.equal(write ? expected : text, expected, `${path}: DOCS_WRITE=1 npx tap test/docs.test.ts writes it anew`)
    const blocks = text.match(/^```ts$/gm)?.length ?? 0
    t.equal(
      text.match(/^<!-- (?:fragment )?test\/\S+ -->\n+```ts$/gm)?.length ?? 0,
      blocks,
      `${path}: all its TypeScript is tested`,
    )
    const programs = text.match(/^```[jt]sx?$/gm)?.length ?? 0
    const shown = text.match(/^<!-- docs\/recipes\/\S+ -->\n+```[jt]sx?$/gm)?.length ?? 0
    t.equal(programs, blocks + shown, `${path}: all its JavaScript is a recipe's`)
  }
  for (const [name] of tables) t.ok(documents.some(path => read(path).includes(`<!-- table: ${name} -->`)))
  const listed = new Set(requests.map(actionOf))
  t.strictSame(
    Object.keys(actions).filter(name => !listed.has(name)),
    [],
    'every operation that is built is listed',
  )
})

t.test('blocks of one file can be pasted into one file', async t => {
  const names = new Map<string, readonly string[]>()
  const blocks = read('docs/guide-provider.md').matchAll(/<!-- (test\/\S+(?<!\.test)\.ts)#\S+ -->\n+```ts\n(.*?)```/gs)
  for (const [, file = '', code = ''] of blocks) {
    const imported = [...code.matchAll(/^import \{([^}]*)\}/gm)].flatMap(([, list = '']) => list.split(','))
    names.set(file, [...(names.get(file) ?? []), ...imported.map(name => name.trim()).filter(name => name !== '')])
  }
  t.ok(names.size > 1)
  for (const [file, imported] of names)
    t.equal(new Set(imported).size, imported.length, `${file}: nothing is imported twice`)
})

t.test('the configuration', async t => {
  const schema = await format(JSON.stringify(jsonSchema()), { parser: 'json', printWidth: 120 })
  const path = 'docs/config.schema.json'
  if (write) writeFileSync(join(root, path), schema)
  t.equal(read(path), schema, `${path}: DOCS_WRITE=1 npx tap test/docs.test.ts writes it anew`)
  const examples = documents.flatMap(page => [...read(page).matchAll(/```json\n(.*?)```/gs)])
  const configurations = examples.filter(([text]) => /"(?:kms|tenants)": \[|"(?:store|admin)": \{/.test(text))
  t.ok(configurations.length > 8)
  for (const [, text = ''] of configurations) t.strictSame(checkConfig(JSON.parse(text)).problems, undefined, text)
})

t.test('links lead somewhere', async t => {
  for (const path of documents) {
    for (const [, target = ''] of prose(read(path)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [file = '', anchor] = target.split('#')
      const found = file === '' ? path : join(dirname(path), file)
      const there = existsSync(join(root, found))
      t.ok(there, `${path}: ${target}`)
      if (there && anchor !== undefined) t.ok(anchorsOf(read(found)).includes(anchor), `${path}: ${target}`)
    }
  }
})

t.test('no document names a path of a machine', async t => {
  for (const path of documents) {
    const found = /(?<![\w.~/}])\/(?:work|home|root|tmp|mnt|srv|opt|usr|var|Users)(?=\/|\b)|file:\/\/|\b[A-Z]:\\/.exec(
      read(path),
    )
    t.equal(found?.[0], undefined, path)
  }
})

t.test('tests that documents name exist', async t => {
  const isTest = (file: string, name: string): boolean =>
    existsSync(join(root, file)) && ["'", '"', '`'].some(quote => read(file).includes(quote + name + quote))
  let count = 0
  for (const path of documents) {
    for (const [, name = '', file = ''] of read(path).matchAll(/\[([^\]]+)\]\(\.\.\/(test\/[^)]+\.test\.ts)\)/g)) {
      t.ok(isTest(file, name), `${path}: ${name} in ${file}`)
      count++
    }
  }
  t.ok(count > 50)
  const [, section = ''] = /^## 9 .*?\n\|[^\n]*\n\| ---[^\n]*\n(.*?)\n\n/ms.exec(read('docs/format.md')) ?? []
  const rows = section.split('\n').map(line => line.split(' | ')[0]?.slice(2) ?? '')
  t.ok(rows.length > 10)
  for (const row of rows) t.ok(isTest('test/object/forgeries.test.ts', row), `format.md, section 9: ${row}`)
})

t.test('the files that the architecture names exist', async t => {
  const rows = [...read('docs/architecture.md').matchAll(/^\| `(lib\/[\w/]+\/)` \| (.*) \|$/gm)]
  t.ok(rows.length > 10)
  for (const [, folder = '', text = ''] of rows) {
    for (const [, name = ''] of text.matchAll(/`([\w-]+\.ts)`/g))
      t.ok(existsSync(join(root, folder, name)), folder + name)
  }
})

t.test('every public function has an example that a test runs', async t => {
  const sources = readdirSync(join(root, 'test/examples')).map(name => read(join('test/examples', name)))
  const regions = sources.join('\n').matchAll(/\/\/ #region (\S+)\n(.*?)\/\/ #endregion \1\n/gs)
  const examples = Array.from(regions, ([, , code]) => code).join('\n')
  const shown = (name: string): boolean => new RegExp(`\\b${name}\\b`).test(examples)
  for (const [entry, exports] of Object.entries({
    index,
    web,
    rules,
    openssl,
    files,
    store,
    s3,
    gateway,
    testing,
    huawei,
    vault,
    aws,
    kmip,
    kms,
    pkcs11,
    postgres,
  })) {
    for (const name of Object.keys(exports)) t.ok(shown(name), `${name} of ${entry}`)
  }
  const sse = index.createSse({ kms: index.customerKey(index.nodeEngine, new Uint8Array(32)), accept: [''] })
  for (const name of Object.keys(sse)) t.ok(shown(name), `${name} of what createSse makes`)
  for (const name of Object.getOwnPropertyNames(index.LocalKms.prototype)) {
    if (name !== 'constructor') t.ok(shown(name), `${name} of LocalKms`)
  }
})

t.test('the built declarations show the examples, and their maps still lead to the sources', async t => {
  const names = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' }).filter(name =>
    name.endsWith('.ts'),
  )
  let count = 0
  for (const name of names) {
    const source = read(join('lib', name)).split('\n')
    const built = join('dist', name.replace(/\.ts$/, '.d.ts'))
    const text = read(built)
    t.notMatch(text, '{@includeCode', built)
    const shown = text.replace(/^ *\* ?/gm, '')
    for (const line of source) {
      const [, path = '', region = ''] = /\{@includeCode (\S+)#(\S+)\}/.exec(line) ?? []
      if (path === '') continue
      count++
      t.ok(shown.includes(`\n\`\`\`ts\n${exampleOf(join(root, 'lib', dirname(name), path), region)}\`\`\`\n`), line)
    }
    const map = new SourceMap(JSON.parse(read(`${built}.map`)))
    for (const [i, line] of text.split('\n').entries()) {
      const [, declared = ''] = /^export declare (?:const|function|class) (\w+)/.exec(line) ?? []
      if (declared === '') continue
      const entry = map.findEntry(i, line.indexOf(declared))
      const found = 'originalLine' in entry ? source[entry.originalLine] : undefined
      t.match(found, new RegExp(`\\b${declared}\\b`), `${built}: ${declared}`)
    }
  }
  t.ok(count > 50)
})

t.test('an example that is missing stops the build', async t => {
  t.throws(() => exampleOf(join(root, 'test/examples/pipeline.test.ts'), 'missing'), /has no region missing/)
})

t.test('the commands of the guide run', async t => {
  const cwd = t.testdir({ bin: {} })
  const bin = join(cwd, 'bin')
  writeFileSync(join(bin, 'sse-kms'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`, { mode: 0o755 })
  const env = { ...process.env, PATH: `${bin}:${process.env['PATH']}`, NODE_OPTIONS: '', NODE_V8_COVERAGE: '' }
  const scripts = [...read('docs/guide-cli.md').matchAll(/<!-- run -->\n```sh\n(.*?)```/gs)].map(
    ([, code = '']) => code,
  )
  t.ok(scripts.length > 5)
  for (const script of scripts) {
    const run = (): unknown =>
      execFileSync('bash', ['-euo', 'pipefail', '-c', script], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    t.doesNotThrow(run, script)
  }
})
