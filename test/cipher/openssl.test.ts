// The engine over OpenSSL: held to every vector on each Node that it is used on, with both call layers; its memory; and when it is chosen.
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { callsOverKoffi, koffiFrom } from '../../lib/cipher/openssl/koffi.ts'
import { callsOverNodeFfi } from '../../lib/cipher/openssl/node-ffi.ts'
import { chooseEngine, createSse } from '../../lib/object/node.ts'
import { customerKey } from '../../lib/kms/customer.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { openSslOfTests } from '../support/engines.ts'
import { majors, nodeOf } from '../support/nodes.ts'

const execute = promisify(execFile)
/** Runs a program without what the test runner adds to every process. */
const run = (
  program: string,
  args: readonly string[],
  { cwd, env }: { readonly cwd: string; readonly env: Readonly<Record<string, string>> },
): Promise<{ readonly stdout: string; readonly stderr: string }> => {
  const set = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  const argv = ['-i', `PATH=${process.env['PATH'] ?? ''}`, ...set, program, ...args]
  return execute('env', argv, { cwd, maxBuffer: 1 << 28 })
}
const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')

/** Runs a file of this project on a Node of its own, with one call layer. */
const on = async (node: string, layer: string, file: string, ...flags: readonly string[]): Promise<string> => {
  const env = { SSE_KMS_TEST_LAYER: layer, TAP: '1' }
  const { stdout } = await run(node, ['--no-warnings', ...flags, file], { cwd: root, env })
  return stdout
}

const places = [
  ...majors.map(major => ({ major, layer: 'koffi' }) as const),
  { major: 26, layer: 'node:ffi' } as const,
].map(place => ({ ...place, node: nodeOf(place.major) }))

t.test('every vector, on the Node that runs the tests', async t => {
  t.equal(openSslOfTests.name, 'openssl', 'the other tests of engines, segments and envelopes have it among theirs')
})

for (const { major, layer, node } of places) {
  const skip = node === undefined && `there is no Node ${major}: npm ci --prefix bench/thirdparty brings one`
  t.test(`every vector, on Node ${major} over ${layer}`, { skip }, async t => {
    const output = await on(node ?? '', layer, 'test/support/openssl-vectors.ts')
    t.notMatch(output, /^\s*not ok/m, 'they pass')
    t.match(output, /^ok \d+ - openssl/m, 'the engine is among those that are tested')
    t.match(output, /^1\.\.[1-9]/m, 'and they ran to their end')
  })
}

t.test('memory: collections between all calls, thousands of streams', async t => {
  for (const { node, layer, flags } of [
    { node: process.execPath, layer: 'koffi', flags: ['--import', 'tsx'] },
    { node: nodeOf(26), layer: 'node:ffi', flags: [] },
  ]) {
    const skip = node === undefined && 'there is no Node 26: npm ci --prefix bench/thirdparty brings one'
    await t.test(`over ${layer}`, { skip }, async t => {
      const found: { agreed: number; disposed: number; dropped: number; kept: number } = JSON.parse(
        await on(node ?? '', layer, 'test/support/openssl-child.ts', ...flags, '--expose-gc'),
      )
      t.comment(`growth in MiB: ${JSON.stringify(found)}`)
      t.ok(found.agreed > 40, 'whatever moves, the bytes are those of node:crypto')
      t.ok(found.kept > 8, 'streams that are kept cost memory')
      t.ok(found.disposed < 5, 'those that were disposed do not')
      t.ok(found.dropped < 5, 'nor do those that were dropped without it: a finalizer frees them')
    })
  }
})

t.test('what is too large for the slab, or has another size, is refused or left to node:crypto', async t => {
  const [key, nonce, aad] = [Buffer.alloc(32, 1), Buffer.alloc(12, 2), Buffer.alloc(20, 3)]
  for (const size of [0, 1, 4080, 4096, 4097, 100_000]) {
    const data = Buffer.alloc(size, 4)
    const pieces = [data.subarray(0, size / 2), data.subarray(size / 2)]
    t.strictSame(Buffer.from(openSslOfTests.sha256(...pieces)), Buffer.from(nodeEngine.sha256(data)))
    t.strictSame(Buffer.from(openSslOfTests.hmacSha512(key, ...pieces)), Buffer.from(nodeEngine.hmacSha512(key, data)))
    t.strictSame(Buffer.from(openSslOfTests.hmacSha256(data, key)), Buffer.from(nodeEngine.hmacSha256(data, key)))
    const sealed = openSslOfTests.seal('AEAD_AES_256_GCM', key, nonce, data, aad)
    t.strictSame(Buffer.from(sealed), Buffer.from(nodeEngine.seal('AEAD_AES_256_GCM', key, nonce, data, aad)))
    t.strictSame(Buffer.from(openSslOfTests.open('AEAD_AES_256_GCM', key, nonce, sealed, aad)), data)
    t.throws(() => openSslOfTests.open('AEAD_AES_256_GCM', key, nonce, sealed, key), { code: 'NotAuthentic' })
  }
  const short = Buffer.alloc(31)
  t.throws(() => openSslOfTests.sealer('AEAD_AES_256_GCM', short), RangeError)
  t.throws(() => openSslOfTests.opener('AEAD_AES_256_GCM', short), RangeError)
  t.throws(() => openSslOfTests.seal('AEAD_AES_256_GCM', short, nonce, aad, aad), RangeError)
  t.throws(() => openSslOfTests.seal('AEAD_AES_256_GCM', key, short, aad, aad), RangeError)
  t.throws(() => openSslOfTests.wrap(short, key), RangeError)
  t.throws(() => openSslOfTests.wrap(key, short), RangeError)
  const sealer = openSslOfTests.sealer('AEAD_AES_256_GCM', key)
  t.throws(() => sealer.begin(short), RangeError)
  t.throws(() => sealer.update(aad), /begin a segment first/)
  sealer.dispose()
  sealer.dispose()
  t.throws(() => sealer.begin(nonce), /begin a segment first/)
  t.throws(() => openSslOfTests.open('AEAD_AES_256_GCM', key, nonce, Buffer.alloc(15), aad), { code: 'NotAuthentic' })
})

t.test(
  'a segment is opened into one piece of memory if its size is expected, and whatever is expected it is opened',
  async t => {
    const [key, nonce] = [Buffer.alloc(32, 1), Buffer.alloc(12, 2)]
    const plain = Buffer.from(Array.from({ length: 10_000 }, (_, i) => i))
    const sealed = Buffer.from(nodeEngine.seal('AEAD_CHACHA20_POLY1305', key, nonce, plain, new Uint8Array(0)))
    for (const cuts of [[10_000], [1, 9999], [9999, 10_000], [64, 128, 5000], [5000, 5001, 5065]]) {
      const edges = [0, ...cuts, 10_000]
      const pieces = edges.slice(1).map((to, i) => sealed.subarray(edges[i], to))
      for (const expected of [undefined, 0, 1, 9999, 10_000, 65_536]) {
        const opener = openSslOfTests.opener('AEAD_CHACHA20_POLY1305', key)
        opener.begin(nonce, expected)
        for (const piece of pieces) opener.update(piece)
        const opened = opener.final(sealed.subarray(-16))
        if (Buffer.compare(Buffer.concat(opened), plain) !== 0) t.fail(`cut at ${cuts.join()}, ${expected} expected`)
        if (Number(expected) >= 10_000) t.equal(opened.length, 1)
        opener.begin(nonce, expected)
        for (const piece of pieces) opener.update(piece)
        t.throws(() => opener.final(Buffer.alloc(16)), { code: 'NotAuthentic' })
        t.throws(() => opener.final(sealed.subarray(-16)), /begin a segment first/, 'what was held is gone')
        opener.dispose()
      }
    }
    const kms = customerKey(nodeEngine, key)
    const sse = createSse({ kms, accept: [{ provider: 'sse-c', keyId: '' }], engine: openSslOfTests })
    const whole = Buffer.alloc(3 * 65_536 + 5, 7)
    const put = await sse.encrypt({ length: whole.length })
    const stored: Uint8Array[] = []
    for await (const piece of put.pieces([whole])) stored.push(piece)
    const bytes = Buffer.concat(stored)
    const chunks = Array.from({ length: 7 }, (_, i) => bytes.subarray(i * 30_000, (i + 1) * 30_000))
    const get = await sse.decrypt(put.result().envelope)
    const sizes: number[] = []
    for await (const piece of get.pieces(chunks)) sizes.push(piece.length)
    t.strictSame(sizes, [65_536, 65_536, 65_536, 5])
  },
)

// A project with the package as it was built, and a koffi that is what the test makes it.
const project = mkdtempSync(join(tmpdir(), 'openssl-'))
t.teardown(() => rmSync(project, { recursive: true }))
const modules = join(project, 'node_modules')
mkdirSync(join(modules, '@noble'), { recursive: true })
for (const name of ['@noble/ciphers', '@noble/hashes', 'stream-chain'])
  symlinkSync(join(root, 'node_modules', name), join(modules, name))
mkdirSync(join(modules, 'sse-kms-streams'))
cpSync(join(root, 'dist'), join(modules, 'sse-kms-streams/dist'), { recursive: true })
cpSync(join(root, 'package.json'), join(modules, 'sse-kms-streams/package.json'))

/** Installs koffi: the real one with some exports replaced; or none. */
const installKoffi = (exports: string | undefined): void => {
  const folder = join(modules, 'koffi')
  rmSync(folder, { recursive: true, force: true })
  if (exports === undefined) return
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), '{"name":"koffi","type":"module","exports":"./index.js"}')
  const real = JSON.stringify(join(root, 'node_modules/koffi/index.js'))
  writeFileSync(join(folder, 'index.js'), `import * as real from ${real}\nexport * from ${real}\n${exports}\n`)
}

/** A koffi in whose hands one function becomes something else. */
const replaced = (name: string, by: string): string => `
export const load = path => {
  const library = real.load(path)
  const other = ${by}
  return { func: (name, ...type) => (name === '${name}' ? other(library, type) : library.func(name, ...type)) }
}`

/** Chooses an engine in a new process: its name, or what went wrong; and what stands on stderr. */
const chosen = async (options: {
  readonly env?: Readonly<Record<string, string>>
  readonly before?: string
  readonly flags?: readonly string[]
}): Promise<{ readonly name: string; readonly lines: readonly string[] }> => {
  const code = `${options.before ?? ''}
    const { chooseEngine } = await import('./node_modules/sse-kms-streams/dist/object/node.js')
    const choose = () => chooseEngine().then(engine => engine.name, error => error.code + ': ' + error.message)
    console.log((await Promise.all([choose(), choose()]))[0])`
  const flags = [...(options.flags ?? []), '--input-type=module', '--eval', code]
  const { stdout, stderr } = await run(process.execPath, flags, { cwd: project, env: options.env ?? {} })
  return { name: stdout.trim(), lines: stderr.split('\n').filter(line => /Warning:/.test(line)) }
}

t.test('chosen by itself where koffi is installed, and not without', async t => {
  installKoffi(undefined)
  t.strictSame(await chosen({}), { name: 'node', lines: [] }, 'nobody asked')
  installKoffi('')
  t.strictSame(await chosen({}), { name: 'openssl', lines: [] })
  t.strictSame(await chosen({ env: { SSE_KMS_ENGINE: 'node' } }), { name: 'node', lines: [] }, 'turned off')
  t.strictSame(await chosen({ env: { SSE_KMS_ENGINE: 'openssl' } }), { name: 'openssl', lines: [] }, 'insisted on')
  const inWorker = `import { Worker } from 'node:worker_threads'
    const file = ${JSON.stringify(join(modules, 'sse-kms-streams/dist/object/node.js'))}
    const source = "const { parentPort } = require('node:worker_threads'); import('" + file + "').then(async ({ chooseEngine }) => { const engine = await chooseEngine(); engine.sealer('AEAD_AES_256_GCM', new Uint8Array(32)); parentPort.postMessage(engine.name) })"
    const worker = new Worker(source, { eval: true, execArgv: [] })
    console.log('in a worker thread', await new Promise(resolve => worker.once('message', resolve)))`
  t.match((await chosen({ before: inWorker })).name, 'in a worker thread openssl\nopenssl')
})

t.test('where something is wrong, node is used and one line says so; who insists is told the reason', async t => {
  const crash = `library => { const copy = library.func('memcpy', 'void *', ['void *', 'void *', 'size_t']); return () => copy(8n, 16n, 64) }`
  const cases: Readonly<Record<string, readonly [exports: string, reason: RegExp]>> = {
    'koffi is too old': [`export const version = '3.3.3'`, /koffi 3\.3\.3 is installed, and \^3\.3\.4 is needed/],
    'koffi is too new': [`export const version = '4.0.0'`, /koffi 4\.0\.0 is installed/],
    'koffi does not load': [`throw new Error('no binary for this system')`, /no binary for this system/],
    'a function is missing': [
      replaced('EVP_Digest', `(library, type) => library.func('EVP_Missing', ...type)`),
      /EVP_Missing/,
    ],
    'another OpenSSL answers': [
      replaced('OpenSSL_version_num', '() => () => 0x10101000'),
      /the OpenSSL that can be called is 1\.1\.256, and that of Node is 3\./,
    ],
    'a call ends the process': [replaced('EVP_CipherFinal_ex', crash), /its trial ended with SIGSEGV/],
    'an answer is wrong': [replaced('EVP_Digest', '() => () => 1'), /failed its self-test: SHA-256/],
  }
  for (const [name, [exports, reason]] of Object.entries(cases)) {
    installKoffi(exports)
    const byItself = await chosen({})
    t.equal(byItself.name, 'node', name)
    t.equal(byItself.lines.length, 1, 'one line')
    t.match(byItself.lines[0], reason)
    t.match(byItself.lines[0], /The engine node is used/)
  }
  const insisted = await chosen({ env: { SSE_KMS_ENGINE: 'openssl' } })
  t.match(insisted.name, /^EngineUnavailable: The engine openssl cannot be used: .*self-test: SHA-256/)
})

t.test('it is not tried in other runtimes, and where no child process is allowed', async t => {
  installKoffi('')
  const named = (name: string) => `process, 'versions', { value: { ...process.versions, ${name}: '1.0.0' } }`
  const patched = (module: string, name: string, value: string) => `const found = process.getBuiltinModule('${module}')
    found.${name} = () => ${value}
    process.getBuiltinModule('node:module').syncBuiltinESMExports()`
  for (const [before, reason] of [
    [`Object.defineProperty(${named('electron')})`, /this is electron, not Node/],
    [`Object.defineProperty(${named('bun')})`, /this is bun/],
    [`Object.defineProperty(${named('deno')})`, /this is deno/],
    [patched('node:crypto', 'getFips', '1'), /FIPS/],
    [patched('node:sea', 'isSea', 'true'), /single executable/],
  ] as const) {
    const { name, lines } = await chosen({ before })
    t.equal(name, 'node')
    t.match(lines, [reason])
  }
  const pretend = `Object.defineProperty(process, 'platform', { value: 'darwin' })`
  writeFileSync(join(project, 'darwin.mjs'), pretend)
  const elsewhere = await chosen({ flags: ['--import', './darwin.mjs'] })
  t.equal(elsewhere.name, 'node', 'nor where no test has run')
  t.match(elsewhere.lines, [/it was not tested on Node \d+, darwin x64; SSE_KMS_ENGINE=openssl tries it/])
  const permission = process.allowedNodeEnvironmentFlags.has('--permission')
    ? '--permission'
    : '--experimental-permission'
  const locked = await chosen({ flags: [permission, '--allow-fs-read=*'] })
  t.equal(locked.name, 'node')
  t.equal(locked.lines.filter(line => /The engine node is used/.test(line)).length, 1)
})

t.test('without koffi, who insists has node:ffi, or is told what is missing', async t => {
  installKoffi(undefined)
  const { name } = await chosen({ env: { SSE_KMS_ENGINE: 'openssl' } })
  if (process.getBuiltinModule('node:ffi') !== undefined) t.equal(name, 'openssl')
  else {
    t.match(name, /EngineUnavailable: .*koffi is not installed, and this Node has no node:ffi/)
    t.throws(() => callsOverNodeFfi(), /this Node has no node:ffi/)
  }
  t.equal((await callsOverKoffi()).layer, 'koffi')
})

t.test('SSE_KMS_ENGINE and the option', async t => {
  const kms = customerKey(nodeEngine, new Uint8Array(32).fill(1))
  const begin = (options: { readonly engine?: 'node' }) =>
    createSse({ kms, accept: [{ provider: 'sse-c', keyId: '' }], ...options }).encrypt()
  const before = process.env['SSE_KMS_ENGINE']
  t.teardown(() => {
    if (before === undefined) delete process.env['SSE_KMS_ENGINE']
    else process.env['SSE_KMS_ENGINE'] = before
  })
  process.env['SSE_KMS_ENGINE'] = 'fastest'
  await t.rejects(begin({}), { code: 'EngineUnavailable', message: /SSE_KMS_ENGINE is fastest/ })
  t.ok((await begin({ engine: 'node' })).driver, 'the option comes first')
  t.equal((await chooseEngine('node')).name, 'node')
})

t.test('the range of koffi is that of package.json', async t => {
  const { peerDependencies }: { readonly peerDependencies: Readonly<Record<string, string>> } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  )
  t.equal(peerDependencies['koffi'], `^${koffiFrom.join('.')}`)
})
