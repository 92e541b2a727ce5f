/** The entries of the package, as it was built, where no optional package is installed. */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('..', import.meta.url))
interface Manifest {
  readonly exports: Readonly<Record<string, string>>
  readonly dependencies: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
}
const manifest: Manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

// Outside of the project, whose node_modules Node would find.
const folder = mkdtempSync(join(tmpdir(), 'entries-'))
t.teardown(() => rmSync(folder, { recursive: true }))

const install = (name: string): void => {
  const path = join(folder, 'node_modules', name)
  mkdirSync(dirname(path), { recursive: true })
  symlinkSync(join(root, 'node_modules', name), path)
}
const installed = join(folder, 'node_modules/sse-kms-streams')
cpSync(join(root, 'dist'), join(installed, 'dist'), { recursive: true })
cpSync(join(root, 'package.json'), join(installed, 'package.json'))
for (const name of Object.keys(manifest.dependencies)) install(name)

/** Runs code as a module in that folder; resolves to what it wrote to stderr where it failed. */
const run = (code: string): Promise<string | undefined> =>
  new Promise(resolve => {
    const env = { PATH: process.env['PATH'] }
    const args = ['--input-type=module', '--eval', code]
    execFile(process.execPath, args, { cwd: folder, env }, (error, _, stderr) => resolve(error ? stderr : undefined))
  })
const load = (entry: string): Promise<string | undefined> =>
  run(`await import('${entry.replace('.', 'sse-kms-streams')}')`)

t.test('entries that need no optional package', async t => {
  for (const entry of ['.', './web', './rules', './ffi', './testing']) t.equal(await load(entry), undefined, entry)
})

t.test('the engine over node:ffi is loaded when it is asked for by name', async t => {
  const file = join(installed, 'dist/cipher/ffi.js')
  renameSync(file, `${file}.away`)
  t.equal(await load('.'), undefined)
  const encrypt = `import { createSse, customerKey, nobleEngine } from 'sse-kms-streams'
    await createSse({ kms: customerKey(nobleEngine, new Uint8Array(32)), accept: [''], ENGINE }).encrypt()`
  t.equal(await run(encrypt.replace('ENGINE', '')), undefined)
  t.match(await run(encrypt.replace('ENGINE', `engine: 'ffi'`)), /Cannot find module '.*cipher\/ffi\.js'/)
  renameSync(`${file}.away`, file)
})

t.test('the store names the optional package that it needs when it is opened', async t => {
  t.equal(await load('./store'), undefined)
  const open = `const { openFileStore } = await import('sse-kms-streams/store'); await openFileStore('objects')`
  t.match(await run(open), /code: 'MissingPeer'/)
  t.match(await run(open), /Cannot find package 'lmdb'/)
})

t.test('the gateway names the optional packages that it needs when it is imported', async t => {
  const named: string[] = []
  for (;;) {
    const [, name = ''] = /Cannot find package '([^']+)'/.exec((await load('./gateway')) ?? '') ?? []
    if (name === '' || named.includes(name)) break
    t.ok(name in manifest.peerDependencies, name)
    named.push(name)
    install(name)
  }
  t.strictSame(named.sort(), ['@aws-sdk/crc64-nvme', 'fast-xml-parser'])
  t.equal(await load('./gateway'), undefined)
})

t.test('every entry is known here', async t => {
  const known = ['.', './web', './rules', './ffi', './testing', './store', './gateway', './package.json']
  t.strictSame(Object.keys(manifest.exports).sort(), known.sort())
})
