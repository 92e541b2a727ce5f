/** The change of the root key of an embedded key store that is in use: cut off at every step, under load, beside processes that lag behind. */
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { hex } from '../../lib/bytes.ts'
import { deriveKeyring } from '../../lib/cipher/derive.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { randomBytes } from '../../lib/cipher/random.ts'
import { encryptionContext } from '../../lib/kms/context.ts'
import type { LocalKms as Kms } from '../../lib/kms/local/local.ts'
import type { LocalKmsOptions } from '../../lib/kms/local/options.ts'
import type { WrappedKey } from '../../lib/kms/provider.ts'
import { isSealed } from '../../lib/kms/local/sealed-json.ts'
import { cli, ended, start } from '../support/cli.ts'
import { ann, serving } from '../support/serving.ts'
import { watchSteps } from '../support/steps.ts'
import { bytes } from '../support/vectors.ts'

const workerFile = fileURLToPath(new URL('../support/root-key-child.ts', import.meta.url))

/** A process that uses a key store, and what it tells. */
class Worker {
  readonly heard: ReadonlyMap<string, unknown>[] = []
  readonly #process: ChildProcess = fork(workerFile)

  constructor() {
    this.#process.on('message', message => this.heard.push(new Map(Object.entries(message))))
  }

  send(...words: readonly string[]): void {
    this.#process.send(words.join(' '))
  }

  async tells(word: string): Promise<void> {
    while (!this.heard.some(message => message.has(word) || message.has('failed'))) await once(this.#process, 'message')
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }
}

// They need a while to start.
const workers = [new Worker(), new Worker()]
t.teardown(() => workers.forEach(worker => worker.kill()))

const steps = await watchSteps()
const { LocalKms } = await import('../../lib/kms/local/local.ts')
const { changeRootKey } = await import('../../lib/kms/local/root-key-change.ts')
const { copyKeyStore } = await import('../../lib/kms/local/copy.ts')

const scope = { region: 'sichuan', domainId: 'tenant-1' }
const context = encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::photos/a' })
const code = (name: string, message?: string) => ({
  name: 'SseError',
  code: name,
  ...(message === undefined ? {} : { message }),
})

type Root = LocalKmsOptions['root']

const open = async (directory: string, root: Root, onWarning: (message: string) => void = () => undefined) =>
  LocalKms.open(directory, { root, create: false, onWarning, heldKeys: 10 })

/** Runs a command line; its output as text. */
const sse = async (argv: readonly string[], options: Parameters<typeof cli>[1] = {}) => {
  const { stdout, ...rest } = await cli(argv, options)
  return { ...rest, stdout: stdout.toString() }
}

const change = (directory: string, root: Root, newRoot?: Root, dryRun = false) =>
  changeRootKey(directory, { root, newRoot, engine: nodeEngine, now: Date.now(), dryRun, warn: () => undefined })

/** Files that were written with a root key, and versions of keys that it unwraps. */
const openedBy = async (directory: string, root: Uint8Array): Promise<readonly string[]> => {
  const { id }: { id: string } = JSON.parse(readFileSync(join(directory, 'keyring.json'), 'utf8'))
  const mac = await deriveKeyring(nodeEngine, root, `mac ${id}`)
  const kek = await deriveKeyring(nodeEngine, root, `kek ${id}`)
  const found: string[] = []
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const content = Uint8Array.from(readFileSync(path))
    const name = relative(directory, path)
    if (content.length > 0 && (await isSealed(nodeEngine, mac, name, content))) found.push(name)
    const [, region, domain, uuid] = /^keys\/([^/]+)\/([^/]+)\/([0-9a-f-]{36})\//.exec(name) ?? []
    if (uuid === undefined || content.length === 0) continue
    const { versions }: { versions: readonly string[] } = JSON.parse(Buffer.from(content).toString())
    for (const [i, version] of versions.entries()) {
      const key = await deriveKeyring(nodeEngine, kek, `arn:aws:kms:${region}:${domain}:key/${uuid} ${i + 1}`)
      const isOpened = await (async () => nodeEngine.unwrap(key, bytes(version)))().then(
        () => true,
        () => false,
      )
      if (isOpened) found.push(`${name} version ${i + 1}`)
    }
  }
  return found
}

interface Filled {
  readonly keyId: string
  readonly byDefault: string
  readonly data: readonly { readonly wrapped: WrappedKey; readonly plain: string }[]
}

/** A few keys of all kinds, and data keys under them. */
const fill = async (kms: Kms): Promise<Filled> => {
  const { keyId } = await kms.createKey({ ...scope, alias: 'photos' })
  const byDefault = (await kms.defaultKey(scope)).keyId
  const data: { wrapped: WrappedKey; plain: string }[] = []
  for (const id of [keyId, byDefault, keyId]) {
    const { key, wrapped } = await kms.generateDataKey({ keyId: id, context })
    data.push({ wrapped, plain: hex(key.bytes) })
    await kms.rotateKey({ keyId })
  }
  return { keyId, byDefault, data }
}

/** Whether all of that is there. */
const assertThere = async (t: Test, kms: Kms, { keyId, byDefault, data }: Filled, why: string): Promise<void> => {
  for (const { wrapped, plain } of data) {
    if (hex((await kms.unwrapDataKey({ wrapped, context })).bytes) !== plain) t.fail(`${why}: another data key`)
  }
  const named = await kms.describeKey({ keyId: 'alias/photos', scope })
  if (named.keyId !== keyId || named.version !== 4) t.fail(`${why}: the alias, or a version`)
  if ((await kms.defaultKey(scope)).keyId !== byDefault) t.fail(`${why}: another default key`)
}

/** A key store with content, its root key and a new one, and a file with both. */
const place = async (t: Test) => {
  const top = t.testdir({})
  const directory = join(top, 'keys')
  const [old, next] = [randomBytes(32), randomBytes(32)]
  const both = { file: join(top, 'both.key') }
  const onlyOld = { file: join(top, 'old.key') }
  writeFileSync(both.file, `${hex(next)}\n${hex(old)}\n`, { mode: 0o600 })
  writeFileSync(onlyOld.file, hex(old), { mode: 0o600 })
  const kms = await LocalKms.open(directory, { root: { key: old } })
  const filled = await fill(kms)
  t.teardown(() => kms.close())
  return { top, directory, old, next, both, onlyOld, filled, kms }
}

t.test('cut off at each of its steps, a change goes on, and the servers work meanwhile', async t => {
  const { top, directory, old, next, both, filled } = await place(t)
  let [count, begun] = [0, 0]
  for (let isCut = true; isCut; count++) {
    const copy = join(top, `cut-${count}`)
    cpSync(directory, copy, { recursive: true })
    // One that is open already, or one that is opened afterwards.
    const running = count % 2 === 0 ? await open(copy, both) : undefined
    isCut = await steps.halt(count, () => change(copy, both))
    const why = `after ${count} steps`
    const warnings: string[] = []
    const server = running ?? (await open(copy, both, text => warnings.push(text)))
    await assertThere(t, server, filled, why)
    await server.createKey({ ...scope, alias: 'new' })
    if (warnings.some(text => text.includes('run sse-kms root-key change again'))) begun++
    const { outcome } = await change(copy, both)
    if (outcome !== (isCut ? 'changed' : 'unchanged') && warnings.length > 0) t.fail(`${why}: ${outcome}`)
    const left = await openedBy(copy, old)
    if (left.length > 0) t.fail(`${why}: the old root key opens ${left.join(', ')}`)
    const after = await open(copy, { key: next }, text => t.fail(text))
    await assertThere(t, after, filled, `${why}, and gone on`)
    await assertThere(t, server, filled, `${why}, and gone on, by a server`)
    if ((await after.listKeys()).length !== 3) t.fail(`${why}: not three keys`)
    for (const kms of [after, server]) kms.close()
  }
  t.ok(count > 10 && begun > 4, `${count} steps, ${begun} of them while it was under way`)
})

t.test(
  'under load, killed again and again: nothing fails, nothing is lost, and the old root key opens nothing',
  async t => {
    const { top, directory, old, next, both, filled, kms } = await place(t)
    for (let i = 0; i < 12; i++) await kms.createKey({ ...scope, alias: `more-${i}` })
    await Promise.all(workers.map(worker => worker.tells('ready')))
    for (const worker of workers) worker.send(directory, both.file, filled.keyId)
    await Promise.all(workers.map(worker => worker.tells('deleted')))
    const header = join(directory, 'keyring.json')
    const before = readFileSync(header, 'utf8')
    const command = ['root-key', 'change', '--keyring', directory, '--root-key-file', both.file]
    let kills = 0
    for (let tries = 0; tries < 3; tries++) {
      const child = start(command)
      const end = ended(child)
      // The first one early in the change, the others at any moment.
      if (tries > 0) await sleep(150 + Math.random() * 150)
      else while (readFileSync(header, 'utf8') === before && child.exitCode === null) await sleep(2)
      child.kill('SIGKILL')
      if ((await end).signal === 'SIGKILL') kills++
    }
    t.ok(kills > 0, `killed ${kills} times`)
    const done = await cli(command)
    t.match(done.stdout.toString(), /^The (root key is changed: \d+ keys|key store has this root key)/)
    t.equal(done.stderr, '')
    await sleep(100)
    for (const worker of workers) worker.send('stop')
    await Promise.all(workers.map(worker => worker.tells('done')))
    const heard = workers.flatMap(worker => worker.heard)
    t.strictSame(
      heard.filter(message => message.has('failed')),
      [],
      'no call failed',
    )
    t.strictSame(await openedBy(directory, old), [], 'the old root key opens nothing')
    const after = await open(directory, { file: writeKey(top, next) })
    await after.describeKey({ keyId: filled.keyId })
    const defaults = new Map<unknown, unknown>()
    let seen = 0
    for (const message of heard) {
      const [keyId, plain, blob] = [
        message.get('made') ?? message.get('byDefault'),
        message.get('plain'),
        message.get('blob'),
      ]
      if (typeof keyId === 'string' && typeof blob === 'string') {
        seen++
        const wrapped: WrappedKey = { provider: 'local', keyId, wrapAlg: 2, blob: bytes(blob) }
        if (hex((await after.unwrapDataKey({ wrapped, context })).bytes) !== plain) t.fail('a data key was lost')
        const alias = message.get('alias')
        const { aliases } = await after.describeKey({ keyId })
        if (typeof alias === 'string' && !aliases.includes(alias)) t.fail('an alias was lost')
        const tenant = message.get('of')
        if (tenant !== undefined && (defaults.get(tenant) ?? keyId) !== keyId) t.fail('two default keys of a tenant')
        if (tenant !== undefined) defaults.set(tenant, keyId)
      }
      const [version, gone] = [message.get('version'), message.get('deleted')]
      if (typeof version === 'number' && ((await after.describeKey({ keyId: filled.keyId })).version ?? 0) < version) {
        t.fail('a rotation was lost')
      }
      if (typeof gone === 'string') {
        const asked = { keyId: `alias/${gone}`, scope: { ...scope, domainId: String(message.get('domainId')) } }
        await t.rejects(after.describeKey(asked), code('KeyNotFound'))
      }
    }
    t.ok(seen > 10, `${seen} data keys`)
    after.close()
  },
)

const writeKey = (top: string, key: Uint8Array): string => {
  const path = join(top, 'written.key')
  writeFileSync(path, key, { mode: 0o600 })
  return path
}

t.test('a server that was held while it made a key makes none under the old root key', async t => {
  const { directory, old, next, both, onlyOld } = await place(t)
  const made = async (
    root: Root,
    step = 'link',
  ): Promise<{ readonly finish: () => void; readonly key: Promise<string> }> => {
    const server = await open(directory, root)
    t.teardown(() => server.close())
    const held = steps.hold(({ name, path }) => name === step && path.includes('/keys/sichuan/tenant-1/'))
    const key = server.createKey(scope).then(({ keyId }) => keyId)
    key.catch(() => undefined)
    return { finish: await held, key }
  }
  // Held before its file gets its name, and before there is a temporary one.
  const [lagging, slow, locked] = [await made(both), await made(both, 'mkdir'), await made(onlyOld)]
  t.equal((await change(directory, both)).outcome, 'changed')
  lagging.finish()
  slow.finish()
  locked.finish()
  const after = await open(directory, { key: next })
  for (const { key } of [lagging, slow]) await after.generateDataKey({ keyId: await key, context })
  await t.rejects(
    locked.key,
    code('KeyringLocked', 'The root key of the key store was changed, and this process does not have the new one'),
  )
  t.strictSame(await openedBy(directory, old), [])
  t.equal((await after.listKeys()).length, 4)
  after.close()
})

t.test('a server without the new root key says so, and goes on once it has it', async t => {
  const { directory, old, next, onlyOld, both, filled } = await place(t)
  const server = await open(directory, onlyOld)
  t.teardown(() => server.close())
  await assertThere(t, server, filled, 'before')
  await change(directory, both)
  const locked = code(
    'KeyringLocked',
    'was changed, and this process does not have the new one. Put it into the root key file',
  )
  const [first] = filled.data
  if (first === undefined) return t.fail('no data key')
  const calls: readonly (() => Promise<unknown>)[] = [
    () => server.unwrapDataKey({ wrapped: first.wrapped, context }),
    () => server.generateDataKey({ keyId: filled.keyId, context }),
    () => server.createKey(scope),
    () => server.defaultKey({ ...scope, domainId: 'another' }),
    () => server.describeKey({ keyId: 'alias/photos', scope }),
    () => server.createAlias({ keyId: filled.keyId }, 'x'),
    () => server.rotateKey({ keyId: filled.keyId }),
  ]
  for (const call of calls) await t.rejects(call(), locked)
  t.strictSame(await openedBy(directory, old), [])
  writeFileSync(onlyOld.file, hex(next))
  await assertThere(t, server, filled, 'with the new one')
  for (const call of calls) await call()

  // A forged file under the old root key is none any more, also for a server that has not looked since.
  const idle = await open(directory, { key: next })
  t.teardown(() => idle.close())
  await change(directory, { key: next }, { key: old })
  await t.rejects(idle.describeKey({ keyId: 'alias/photos', scope }), code('KeyringLocked'))
})

t.test('an alias that is deleted while it is sealed anew stays deleted', async t => {
  const { directory, next, both } = await place(t)
  const server = await open(directory, both)
  t.teardown(() => server.close())
  const held = steps.hold(({ name, path }) => name === 'rename' && path.includes('/aliases/'))
  const changing = change(directory, both)
  const finish = await held
  await server.deleteAlias(scope, 'photos')
  finish()
  t.equal((await changing).outcome, 'changed')
  const after = await open(directory, { key: next })
  await t.rejects(after.describeKey({ keyId: 'alias/photos', scope }), code('KeyNotFound'))
  after.close()

  // By one that has not seen that a change began.
  const second = await place(t)
  const lagging = await open(second.directory, second.both)
  t.teardown(() => lagging.close())
  const deleted = steps.hold(({ name, path }) => name === 'rm' && path.includes('/aliases/'))
  const deletion = lagging.deleteAlias(scope, 'photos')
  const deleteIt = await deleted
  const renamed = steps.hold(({ name, path }) => name === 'rename' && path.includes('/aliases/'))
  const other = change(second.directory, second.both)
  const rename = await renamed
  deleteIt()
  await deletion
  rename()
  await other
  await t.rejects(lagging.describeKey({ keyId: 'alias/photos', scope }), code('KeyNotFound'))
})

t.test('a backup that is made meanwhile is whole', async t => {
  for (const begun of [false, true]) {
    const { top, directory, next, both, filled } = await place(t)
    if (begun) t.equal(await steps.halt(2, () => change(directory, both)), true)
    const copy = join(top, 'copy')
    const held = steps.hold(({ name, path }) => name === 'copyFile' && path.includes('/keys/sichuan/'))
    const copying = copyKeyStore(directory, copy)
    const finish = await held
    // One that was begun before goes on to its last step, the other one ends meanwhile.
    const last = begun ? steps.hold(({ name, path }) => name === 'rename' && path.endsWith('keyring.json')) : undefined
    const all = change(directory, both)
    const end = await (last ?? all.then(() => undefined))
    finish()
    t.equal(await copying, true)
    end?.()
    await all
    const restored = await open(copy, { key: next })
    await assertThere(t, restored, filled, `begun before: ${begun}`)
    restored.close()
  }
})

t.test('two changes at once: one of them counts, and nothing is lost', async t => {
  for (const isSame of [true, false, false, false]) {
    const { directory, old, filled } = await place(t)
    const [one, two] = [randomBytes(32), randomBytes(32)]
    const wanted = isSame ? [one, one] : [one, two]
    const results = await Promise.allSettled(wanted.map(key => change(directory, { key: old }, { key })))
    const done = results.filter(result => result.status === 'fulfilled')
    // To the same root key, the second one may go on with what the first one began.
    t.ok(done.length === 1 || (isSame && done.length === 2), `${done.length} of them`)
    for (const result of results) {
      if (result.status === 'rejected')
        t.match(result.reason, { name: 'SseError', code: /^(RootKeyRefused|KeyringLocked)$/ })
    }
    const winner = wanted[results.findIndex(result => result.status === 'fulfilled')] ?? old
    const kms = await open(directory, { key: winner }, text => t.fail(text))
    await assertThere(t, kms, filled, 'two at once')
    kms.close()
    for (const key of [old, one, two]) if (key !== winner) t.strictSame(await openedBy(directory, key), [])
  }
})

t.test('kinds of root keys: files, variables, bytes and passphrases', async t => {
  const { directory, old, next, filled } = await place(t)
  const steps: readonly (readonly [from: Root, to: Root])[] = [
    [{ key: old }, { passphrase: 'first', cost: { N: 16, r: 1, p: 1 } }],
    [{ passphrase: 'first' }, { passphrase: 'second', cost: { N: 16, r: 2, p: 1 } }],
    [{ passphrase: 'second' }, { key: next }],
  ]
  for (const [from, to] of steps) {
    t.match(await change(directory, from, to, true), { outcome: 'dry run', keys: 2, aliases: 1 })
    t.match(await change(directory, from, to), { outcome: 'changed', resumed: false, keys: 2, aliases: 1 })
    t.match(await change(directory, from, to), { outcome: 'unchanged', keys: 0 })
    await t.rejects(open(directory, from), code('KeyringLocked'))
    const kms = await open(directory, to)
    await assertThere(t, kms, filled, 'changed')
    kms.close()
  }
  process.env['SSE_KMS_TEST_ROOT'] = `${hex(old)} ${hex(next)}`
  t.match(await change(directory, { environment: 'SSE_KMS_TEST_ROOT' }), { outcome: 'changed', keys: 2 })
  delete process.env['SSE_KMS_TEST_ROOT']
  ;(await open(directory, { key: old })).close()
})

t.test('a new root key that cannot be used is refused, and nothing is begun', async t => {
  const { top, directory, old, onlyOld, filled, kms } = await place(t)
  const before = readFileSync(join(directory, 'keyring.json'), 'utf8')
  const file = join(top, 'new.key')
  const give = (content: Uint8Array | string, mode: number): Root => {
    writeFileSync(file, content, { mode })
    return { file }
  }
  const refused = (message: string) => code('RootKeyRefused', message)
  const other = randomBytes(32)
  await t.rejects(change(directory, onlyOld), refused('no other one was given'))
  await t.rejects(change(directory, onlyOld, give(old, 0o600)), refused('has this root key already'))
  await t.rejects(change(directory, onlyOld, give(other.subarray(1), 0o600)), code('KeyringLocked', 'is no root key'))
  await t.rejects(change(directory, onlyOld, { file: join(top, 'none') }), code('KeyringLocked', 'cannot be read'))
  await t.rejects(change(directory, { key: other }, { key: randomBytes(32) }), code('KeyringLocked'))
  await t.rejects(change(directory, onlyOld, { passphrase: '' }), refused('empty'))
  const shared = join(top, 'shared.key')
  writeFileSync(shared, other, { mode: 0o640 })
  await t.rejects(change(directory, onlyOld, { file: shared }), refused('has mode 640'))
  await t.rejects(change(join(top, 'nowhere'), onlyOld, { key: other }), code('FileFailed'))

  const [damaged = ''] = readdirSync(join(directory, 'keys/sichuan/tenant-1/aliases'))
  const path = join(directory, 'keys/sichuan/tenant-1/aliases', damaged)
  const content = readFileSync(path)
  writeFileSync(path, 'damaged')
  await t.rejects(
    change(directory, onlyOld, { key: other }),
    code('KeyringCorrupt'),
    'what cannot be read cannot be sealed anew',
  )
  t.equal(readFileSync(join(directory, 'keyring.json'), 'utf8'), before)
  writeFileSync(path, content)
  await assertThere(t, kms, filled, 'unchanged')
  t.match(await change(directory, onlyOld, { key: other }), { outcome: 'changed' })
})

t.test('the command: a new root key in front of the old one, and the change', async t => {
  const { top, directory, old, onlyOld, kms } = await place(t)
  const words = ['--keyring', directory, '--root-key-file', onlyOld.file]
  const alone = await sse(['root-key', 'change', ...words])
  t.match(alone, { code: 2, stderr: /has this root key already.*sse-kms root-key new/ })
  const made = await sse(['root-key', 'new', ...words])
  t.match(made, { code: 0, stdout: /^put a new root key in front of those in .*old\.key\. Nothing uses it yet/ })
  const [first = '', second] = readFileSync(onlyOld.file, 'utf8').trim().split('\n')
  t.equal(second, hex(old))
  t.match(first, /^[0-9a-f]{64}$/)
  t.equal(statSync(onlyOld.file).mode & 0o777, 0o600)
  const dry = await sse(['root-key', 'change', '--dry-run', ...words])
  t.match(dry, { code: 0, stdout: /^2 keys and 1 alias can be sealed anew\.$/m })
  t.match(JSON.parse((await sse(['root-key', 'change', '--json', ...words])).stdout), {
    outcome: 'changed',
    resumed: false,
    keys: 2,
    aliases: 1,
  })
  t.match(await sse(['root-key', 'change', ...words]), {
    code: 0,
    stdout: /has this root key already\. Nothing was changed/,
  })
  t.strictSame(await openedBy(directory, old), [])
  const again = await sse(['root-key', 'change', ...words, '--new-root-key-file', writeKey(top, randomBytes(32))])
  t.match(again, {
    code: 0,
    stdout: /^The root key is changed: 2 keys and 1 alias were sealed anew\. The old one opens nothing/,
  })

  const aborted = new AbortController()
  aborted.abort()
  const last = [
    '--keyring',
    directory,
    '--root-key-file',
    join(top, 'written.key'),
    '--new-root-key-file',
    onlyOld.file,
  ]
  const cut = await sse(['root-key', 'change', ...last], { signal: aborted.signal })
  t.match(cut, { code: 130, stderr: /Interrupted\. The key store works; run the same command again/ })
  t.match(await sse(['root-key', 'change', ...last]), { code: 0, stdout: /were sealed anew by this run/ })

  for (const [argv, message] of [
    [[], 'say what to do: root-key new, change'],
    [['chang', ...words], 'unknown action root-key chang. Did you mean change'],
    [['new', '--dry-run', ...words], 'takes no --dry-run'],
    [['change', '--data', top, ...words], '--keyring is used without'],
  ] as const) {
    t.match(await sse(['root-key', ...argv]), { code: 2, stderr: message })
  }
  const env = { SSE_KMS_ROOT_KEY: hex(old) }
  t.match(await sse(['root-key', 'new', '--keyring', directory], { env }), { code: 2, stderr: /openssl rand -hex 32/ })
  const phrase = { SSE_KMS_PASSPHRASE: 'x' }
  t.match(await sse(['root-key', 'change', '--keyring', directory], { env: phrase }), {
    code: 2,
    stderr: /SSE_KMS_NEW_PASSPHRASE/,
  })
  kms.close()
  t.notOk(existsSync(join(top, 'root.key')))
})

t.test('servers and sse-kms check tell of a change that was cut off, and work until it is ended', async t => {
  const server = await serving(t, { profile: 's3' })
  const data = join(server.folder, 'data')
  const [root, directory] = [join(data, 'root.key'), join(data, 'keys')]
  const s3 = server.clientOf(ann)
  const put = (Key: string) =>
    s3.send(new PutObjectCommand({ Bucket: 'photos', Key, Body: Key, ServerSideEncryption: 'aws:kms' }))
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  await put('before')
  const config = join(server.folder, 'sse-kms.json')
  t.match(await sse(['root-key', 'new', '--config', config]), { code: 0 })
  t.equal(await steps.halt(3, () => change(directory, { file: root })), true)
  await put('meanwhile')
  const check = async () => ended(start(['check', '--config', config]))
  const told = 'A change of the root key was begun and has not ended'
  server.write({ ...server.base, log: 'text' })
  t.match(await check(), { code: 0, stderr: told })
  t.match(await sse(['root-key', 'change', '--config', config]), {
    code: 0,
    stdout: /sealed anew by this run/,
    stderr: '',
  })
  t.match(await check(), { code: 0, stderr: /^$/ })
  for (const Key of ['before', 'meanwhile']) {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket: 'photos', Key }))
    t.equal(await Body?.transformToString(), Key)
  }
  const [next = '', old = ''] = readFileSync(root, 'utf8').trim().split('\n')
  writeFileSync(root, next)
  await put('afterwards')
  t.strictSame(await openedBy(directory, bytes(old)), [])
})
