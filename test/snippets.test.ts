/**
 * Each TypeScript block of the packed pages, and each example of the built declarations, is a file of its own: it compiles as it stands, and
 * runs where it needs no service and no test runner. Those that need one run in `test/examples`.
 */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import ts from 'typescript'

const root = fileURLToPath(new URL('..', import.meta.url))
const filesOf = (folder: string, extension: string): readonly string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith(extension) && !name.startsWith('site'))
    .map(name => join(folder, name))

/** By their code, where it was found first. Blocks of one module, which is no test, are one file. A fragment says that it is one. */
const snippets = new Map<string, string>()
const modules = new Map<string, string>()
let fragments = 0
for (const path of ['README.md', ...filesOf('docs', '.md')]) {
  for (const [, mark = '', code = ''] of readFileSync(join(root, path), 'utf8').matchAll(
    /^(?:<!-- ((?:fragment )?test\/\S+) -->\n+)?```ts\n(.*?)^```/gms,
  )) {
    const [, module = ''] = /^test\/examples\/([\w-]+\.ts)#/.exec(mark) ?? []
    if (mark.startsWith('fragment ')) fragments++
    else if (module !== '') modules.set(module, (modules.get(module) ?? '') + code)
    else if (!snippets.has(code)) snippets.set(code, path)
  }
}
for (const path of filesOf('dist', '.d.ts')) {
  for (const [, comment = ''] of readFileSync(join(root, path), 'utf8').matchAll(/^ *\* ```ts\n(.*?)^ *\* ```$/gms)) {
    const code = comment.replace(/^ *\* ?/gm, '')
    if (!snippets.has(code)) snippets.set(code, path)
  }
}

/** What a service, or a runner of tests, has to be there for. */
const outside = /'sse-kms-streams\/(?:kms\/(?:aws|huawei|kmip|pkcs11|vault)|store\/(?:postgres|s3))'|from 'tap'/

const folder = t.testdir()
const write = (name: string, code: string): string => {
  writeFileSync(join(folder, name), code)
  return join(folder, name)
}
const named = new Map(Array.from(snippets, ([code, from], i) => [write(`snippet-${i}.ts`, code), { code, from }]))
const files = [...named.keys(), ...Array.from(modules, ([name, code]) => write(name, code))]

t.test('each compiles as a file of its own', async t => {
  const { config }: { config?: { compilerOptions?: object } } = ts.readConfigFile(join(root, 'tsconfig.json'), path =>
    readFileSync(path, 'utf8'),
  )
  const { options } = ts.convertCompilerOptionsFromJson(
    { ...config?.compilerOptions, noEmit: false, rootDir: folder },
    root,
  )
  const program = ts.createProgram(files, options)
  const problems = ts.getPreEmitDiagnostics(program).map(({ file, messageText, start = 0 }) => {
    const from = named.get(file?.fileName ?? '')?.from ?? file?.fileName ?? ''
    const line = file?.text.slice(0, start).split('\n').length ?? 0
    return `${from}: ${ts.flattenDiagnosticMessageText(messageText, ' ')} (${file?.text.split('\n')[line - 1]})`
  })
  t.strictSame(problems, [])
  t.equal(program.emit().emitSkipped, false)
  t.ok(named.size > 50, `${named.size} snippets`)
  t.equal(fragments, 1, 'fragments')
})

t.test('each that needs nothing from outside runs', async t => {
  const alone = [...named].filter(([, { code }]) => !outside.test(code))
  const runner = `
    import { mkdirSync } from 'node:fs'
    for (const file of ${JSON.stringify(alone.map(([file]) => file.replace(/\.ts$/, '.js')))}) {
      mkdirSync(file + '.folder')
      process.chdir(file + '.folder')
      try { await import(file) } catch (error) { console.log(file, error) }
    }
    console.log('ran')
    process.exit()`
  const env = { ...process.env, SSE_KMS_ENGINE: 'node', PORT: '0', DATA: '', NODE_OPTIONS: '', NODE_V8_COVERAGE: '' }
  const { DATA: _, ...clean } = env
  const main = write('runner.mjs', runner)
  const { stdout } = await promisify(execFile)(process.execPath, [main], { env: clean, timeout: 60_000 })
  const failed = stdout.replace(/^(\S+)\.js /gm, (_, file: string) => `${named.get(`${file}.ts`)?.from}: `)
  t.equal(failed, 'ran\n')
  t.ok(alone.length > 40, `${alone.length} of ${named.size} run`)
})
