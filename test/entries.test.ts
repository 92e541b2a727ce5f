/** The entries of the package and its command, as it is packed, where no optional package is installed. */
import { execFile, execFileSync, spawn } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { once } from 'node:events'
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
mkdirSync(installed, { recursive: true })
const pack = ['pack', '--silent', '--offline', '--ignore-scripts', '--pack-destination', folder]
const packed = execFileSync('npm', pack, { cwd: root, encoding: 'utf8' }).trim()
execFileSync('tar', ['-xzf', join(folder, packed), '-C', installed, '--strip-components', '1'])
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
  for (const entry of [
    '.',
    './web',
    './rules',
    './openssl',
    './files',
    './testing',
    './kms/huawei',
    './kms/vault',
    './kms/kmip',
  ])
    t.equal(await load(entry), undefined, entry)
})

t.test('the engine openssl is loaded where koffi is installed, or when it is asked for by name', async t => {
  const file = join(installed, 'dist/cipher/openssl/trial.js')
  renameSync(file, `${file}.away`)
  t.equal(await load('.'), undefined)
  const encrypt = `import { createSse, customerKey, nobleEngine } from 'sse-kms-streams'
    await createSse({ kms: customerKey(nobleEngine, new Uint8Array(32)), accept: [''], ENGINE }).encrypt()`
  t.equal(await run(encrypt.replace('ENGINE', '')), undefined)
  const missing = /Cannot find module '.*openssl\/trial\.js'/
  t.match(await run(encrypt.replace('ENGINE', `engine: 'openssl'`)), missing)
  install('koffi')
  const throwing = `process.on('warning', warning => { throw warning });`
  t.match(await run(throwing + encrypt.replace('ENGINE', '')), missing)
  t.equal(await run(encrypt.replace('ENGINE', `engine: 'node'`)), undefined)
  rmSync(join(folder, 'node_modules/koffi'))
  renameSync(`${file}.away`, file)
})

t.test('where node:crypto has no AES key wrap, as in Bun and Deno, the next engine is taken', async t => {
  const code = `const crypto = process.getBuiltinModule('node:crypto')
    const { createCipheriv } = crypto
    crypto.createCipheriv = (name, ...others) => {
      if (name === 'id-aes256-wrap') throw new Error('Unknown cipher')
      return createCipheriv(name, ...others)
    }
    process.getBuiltinModule('node:module').syncBuiltinESMExports()
    const { createSse, LocalKms } = await import('sse-kms-streams')
    const kms = await LocalKms.open('keys', { root: { key: new Uint8Array(32) } })
    const { keyId } = await kms.createKey({ region: 'here', domainId: 'tenant' })
    const sse = createSse({ kms, accept: [keyId] })
    const opened = await sse.decryptBytes(await sse.encryptBytes('text'))
    if (new TextDecoder().decode(opened) !== 'text') throw new Error('other bytes')
    kms.close()`
  t.equal(await run(code), undefined)
})

t.test('the store names the optional package that it needs when it is opened', async t => {
  t.equal(await load('./store'), undefined)
  const open = `const { openFileStore } = await import('sse-kms-streams/store'); await openFileStore('objects')`
  t.match(await run(open), /code: 'MissingPeer'/)
  t.match(await run(open), /Cannot find package 'lmdb'/)
})

t.test('a provider names the optional package that it needs when it is imported', async t => {
  t.match(await load('./kms/aws'), /Cannot find package '@aws-sdk\/client-kms'/)
})

t.test('bodies in S3 name the optional package that they need when they are imported', async t => {
  t.match(await load('./store/s3'), /Cannot find package '@aws-sdk\/client-s3'/)
})

t.test('the store in PostgreSQL names the optional package that it needs when it is imported', async t => {
  t.match(await load('./store/postgres'), /Cannot find package 'pg'/)
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
  t.strictSame(named.sort(), ['fast-xml-parser'])
  t.equal(await load('./gateway'), undefined)
})

t.test('serve names all optional packages that are missing, as one line to copy', async t => {
  for (const name of Object.keys(manifest.peerDependencies)) rmSync(join(folder, 'node_modules', name), { force: true })
  const main = join(installed, 'dist/cli/main.js')
  const argv = [main, 'serve', '--listen', '127.0.0.1:0', '--data', join(folder, 'data')]
  const serve = async (): Promise<string> => {
    const child = spawn(process.execPath, argv, { cwd: folder, env: { PATH: process.env['PATH'] } })
    let text = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += String(chunk)))
    child.stdout.once('data', () => child.kill('SIGTERM'))
    await once(child, 'close')
    return text
  }
  const missing = ['zod', 'lmdb', 'fast-xml-parser']
  t.match(await serve(), new RegExp(`^sse-kms: This needs 3 packages .*\\. Run: npm install ${missing.join(' ')}\n$`))
  t.notOk(existsSync(join(folder, 'data')))
  missing.forEach(install)
  const text = await serve()
  t.match(text, /sse-kms listens on/, 'nothing else is needed')
  t.match(
    text,
    `\n  npx sse-kms keys list --data ${join(folder, 'data')} --region sichuan\n`,
    'lines that can be copied',
  )
})

t.test('every built file has a source: the build leaves nothing of an older one', async t => {
  t.ok(statSync(join(root, 'dist/cli/main.js')).mode & 0o100, 'and npx may run it')
  for (const path of readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' })) {
    if (path.endsWith('.js')) t.ok(existsSync(join(root, 'lib', path.replace(/\.js$/, '.ts'))), path)
  }
})

t.test('every entry is known here', async t => {
  const known = [
    '.',
    './web',
    './rules',
    './openssl',
    './files',
    './testing',
    './kms',
    './kms/aws',
    './kms/huawei',
    './kms/vault',
    './kms/kmip',
    './kms/pkcs11',
    './store',
    './store/s3',
    './store/postgres',
    './gateway',
    './package.json',
  ]
  t.strictSame(Object.keys(manifest.exports).sort(), known.sort())
})
