import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { once } from 'node:events'
import {
  chmod,
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { hex } from '../../lib/bytes.ts'
import { deriveKeyring } from '../../lib/cipher/derive.ts'
import type { Engine } from '../../lib/cipher/engine.ts'
import { nobleEngine } from '../../lib/cipher/noble.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { randomBytes, replaceRandomness } from '../../lib/cipher/random.ts'
import { webCryptoEngine } from '../../lib/cipher/web.ts'
import { SseError } from '../../lib/errors.ts'
import { encryptionContext } from '../../lib/kms/context.ts'
import { DataKey } from '../../lib/kms/data-key.ts'
import { onDisk, sweepTemps } from '../../lib/kms/local/files.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'
import type { LocalKmsOptions } from '../../lib/kms/local/options.ts'
import type { KeyDescription } from '../../lib/kms/provider.ts'
import { createSse } from '../../lib/object/node.ts'
import { newScrypt } from '../../lib/kms/local/root-key.ts'
import { bodyOf, fieldsOf, isSealed, sealJson } from '../../lib/kms/local/sealed-json.ts'

const scope = { region: 'sichuan', domainId: 'tenant-1' }
const context = encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::photos/a' })
const otherContext = encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::photos/b' })
const day = 86_400_000
const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[48][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/

const code = (name: string, message?: string) => ({
  name: 'SseError',
  code: name,
  ...(message === undefined ? {} : { message }),
})
const corrupt = code('KeyringCorrupt')
const notAuthentic = code('NotAuthentic')

/** The files below a directory. */
const filesIn = async (directory: string): Promise<readonly string[]> => {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  return entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
}

/** Where a key lies. */
const pathOf = (directory: string, { region, domainId, keyId }: KeyDescription): string =>
  join(directory, 'keys', region ?? '', domainId ?? '', keyId.slice(keyId.indexOf('/') + 1))

/** Runs `work` with the file changed, and puts it back. */
const changed = async (path: string, content: Uint8Array | string, work: () => Promise<unknown>): Promise<void> => {
  const before = await readFile(path)
  await writeFile(path, content)
  await work()
  await writeFile(path, before)
}

/** A key store of its own for a test. */
const place = async (t: Test, options: Partial<LocalKmsOptions> = {}) => {
  const directory = join(t.testdir({}), 'keys')
  const root = { key: randomBytes(32) }
  const open = async (more: Partial<LocalKmsOptions> = {}): Promise<LocalKms> => {
    const kms = await LocalKms.open(directory, { root, ...options, ...more })
    t.teardown(() => kms.close())
    return kms
  }
  return { directory, root, open }
}

/** A process of `keyring-child.ts`, and what it tells. */
class Child {
  readonly heard: ReadonlyMap<string, unknown>[] = []
  readonly #process: ChildProcess = fork(fileURLToPath(new URL('../support/keyring-child.ts', import.meta.url)))

  constructor() {
    this.#process.on('message', message => this.heard.push(new Map(Object.entries(message))))
  }

  send(...words: readonly string[]): void {
    this.#process.send(words.join(' '))
  }

  async done(job: string): Promise<void> {
    while (!this.heard.some(message => message.get('done') === job)) await once(this.#process, 'message')
  }

  /** Waits for so many messages more. */
  async tells(more: number): Promise<void> {
    const enough = this.heard.length + more
    while (this.heard.length < enough) await once(this.#process, 'message')
  }

  async kill(): Promise<void> {
    if (this.#process.kill('SIGKILL')) await once(this.#process, 'exit')
  }
}

// They need a while to start.
const children = [new Child(), new Child()]
t.teardown(() => Promise.all(children.map(child => child.kill())))

t.test('data keys: generated, wrapped, unwrapped and rewrapped under their context', async t => {
  const { open } = await place(t)
  const kms = await open()
  const [a, b] = [await kms.createKey(scope), await kms.createKey(scope)]
  const { key, wrapped } = await kms.generateDataKey({ keyId: a.keyId, context })
  t.match(wrapped, { provider: 'local', keyId: a.keyId, wrapAlg: 2 })
  t.match(a.keyId, new RegExp(`^arn:aws:kms:sichuan:tenant-1:key/${uuid.source}$`))
  const plain = hex(key.bytes)
  t.equal(hex((await kms.unwrapDataKey({ wrapped, context })).bytes), plain)
  await t.rejects(kms.unwrapDataKey({ wrapped, context: otherContext }), notAuthentic)

  const moved = await kms.rewrapDataKey({ from: { wrapped, context }, to: { keyId: b.keyId, context: otherContext } })
  t.equal(moved.keyId, b.keyId)
  t.equal(hex((await kms.unwrapDataKey({ wrapped: moved, context: otherContext })).bytes), plain)
  await t.rejects(kms.unwrapDataKey({ wrapped: { ...moved, keyId: a.keyId }, context: otherContext }), notAuthentic)
  const own = new DataKey(randomBytes(32))
  const again = await kms.wrapDataKey(own, { keyId: a.keyId, context })
  t.equal(hex((await kms.unwrapDataKey({ wrapped: again, context })).bytes), hex(own.bytes))

  // A blob says its version: 0 is a customer's, an unknown one is answered like a failed unwrap.
  for (const version of [0, 2, 255]) {
    const blob = wrapped.blob.map((byte, i) => (i === 3 ? version : byte))
    await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, blob }, context }), notAuthentic)
  }
  await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, blob: wrapped.blob.subarray(1) }, context }), notAuthentic)
  await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, provider: 'aws-kms' }, context }), notAuthentic)
  await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, wrapAlg: 1 }, context }), notAuthentic)
})

t.test('engines read what the others wrote', async t => {
  const { open } = await place(t)
  const engines: readonly Engine[] = [nodeEngine, nobleEngine, webCryptoEngine]
  const { keyId } = await (await open({ engine: webCryptoEngine })).defaultKey(scope)
  const opened = await Promise.all(engines.map(engine => open({ engine })))
  for (const one of opened) {
    const { key, wrapped } = await one.generateDataKey({ keyId, context })
    for (const other of opened) t.equal(hex((await other.unwrapDataKey({ wrapped, context })).bytes), hex(key.bytes))
  }
})

t.test('states: errors and messages of the service', async t => {
  let now = Date.UTC(2026, 0, 1)
  const warnings: string[] = []
  const { open, directory } = await place(t, { clock: () => now, onWarning: text => warnings.push(text) })
  const kms = await open()
  const target = await kms.createKey(scope)
  const { keyId } = await kms.createKey({ ...scope, alias: 'alias/mine' })
  const { wrapped } = await kms.generateDataKey({ keyId, context })
  const refuses = async (expected: ReturnType<typeof code>, why: string): Promise<void> => {
    const key = new DataKey(randomBytes(32))
    const from = { wrapped, context }
    await t.rejects(kms.generateDataKey({ keyId, context }), expected, `${why}: generate`)
    await t.rejects(kms.wrapDataKey(key, { keyId, context }), expected, `${why}: wrap`)
    await t.rejects(kms.unwrapDataKey(from), expected, `${why}: unwrap`)
    await t.rejects(kms.rewrapDataKey({ from, to: { keyId: target.keyId, context } }), expected, `${why}: rewrap from`)
    const other = await kms.generateDataKey({ keyId: target.keyId, context })
    const to = { keyId, context }
    await t.rejects(kms.rewrapDataKey({ from: { ...other, context }, to }), expected, `${why}: rewrap to`)
    await t.rejects(kms.rotateKey({ keyId }), expected, `${why}: rotate`)
  }

  t.equal((await kms.disableKey({ keyId })).state, 'disabled')
  t.equal((await kms.disableKey({ keyId })).state, 'disabled', 'twice is the same')
  await refuses(code('KeyDisabled', `${keyId} is disabled.`), 'disabled')
  t.equal((await kms.enableKey({ keyId })).state, 'enabled')
  await kms.unwrapDataKey({ wrapped, context })

  const pending = await kms.scheduleDeletion({ keyId }, { days: 7 })
  t.match(pending, { state: 'pending-deletion', deletion: now + 7 * day, created: now })
  const isPending = code('KeyPendingDeletion', `${keyId} is pending deletion.`)
  await refuses(isPending, 'pending deletion')
  for (const change of [kms.enableKey({ keyId }), kms.disableKey({ keyId }), kms.scheduleDeletion({ keyId })]) {
    await t.rejects(change, isPending)
  }
  t.match(await kms.cancelDeletion({ keyId: 'alias/mine', scope }), { state: 'disabled', deletion: undefined })
  await t.rejects(kms.cancelDeletion({ keyId }), code('InvalidRequest', `${keyId} is not pending deletion`))
  for (const days of [6, 31, 7.5, Number.NaN]) await t.rejects(kms.scheduleDeletion({ keyId }, { days }), RangeError)
  t.equal((await kms.scheduleDeletion({ keyId })).deletion, now + 30 * day, '30 days by default')

  now += 30 * day - 1
  t.equal((await kms.describeKey({ keyId })).state, 'pending-deletion')
  const lies = pathOf(directory, pending)
  t.equal((await readdir(lies)).length, 6)
  const secrets = await Promise.all((await readdir(lies)).map(file => readFile(join(lies, file))))
  now += 1
  t.equal((await kms.describeKey({ keyId })).state, 'pending-deletion', 'its time has come, which is noted')
  t.strictSame(warnings.length, 1)
  now += day
  const gone = code('KeyNotFound', `Key '${keyId}' does not exist`)
  await refuses(gone, 'destroyed')
  await t.rejects(kms.describeKey({ keyId }), gone)
  await t.rejects(kms.cancelDeletion({ keyId }), gone)
  await t.rejects(
    kms.describeKey({ keyId: 'alias/mine', scope }),
    code('KeyNotFound', "Key 'alias/mine' does not exist"),
  )
  t.strictSame(
    (await kms.listKeys()).map(key => key.keyId),
    [target.keyId],
  )
  now -= 31 * day
  await t.rejects(kms.describeKey({ keyId }), gone, 'also where the clock goes back')

  // The key material has left the disk, and no revision can be taken again.
  const sizes = await Promise.all((await readdir(lies)).sort().map(async file => (await stat(join(lies, file))).size))
  t.strictSame(sizes.slice(0, 7), [0, 0, 0, 0, 0, 0, 0])
  t.equal(sizes.length, 8)
  const wrappedKeys = secrets.flatMap(text => text.toString().match(/[0-9a-f]{80}/g) ?? [])
  const left = (await Promise.all((await filesIn(directory)).map(path => readFile(path, 'utf8')))).join()
  t.ok(wrappedKeys.length >= 6 && wrappedKeys.every(wrapped => !left.includes(wrapped)))
  // A process that was killed before it had erased all of them: whoever looks next does.
  await writeFile(join(lies, '000002.json'), secrets[1] ?? '')
  await (await open()).destroyExpired()
  t.equal((await stat(join(lies, '000002.json'))).size, 0)
})

t.test('rotation: the newest version wraps, all versions unwrap', async t => {
  const { open } = await place(t)
  const kms = await open()
  const { keyId } = await kms.createKey(scope)
  const made = []
  for (const version of [1, 2, 3, 4]) {
    t.equal((await kms.describeKey({ keyId })).version, version)
    const generated = await kms.generateDataKey({ keyId, context })
    t.equal(generated.wrapped.blob[3], version)
    made.push(generated)
    t.equal((await kms.rotateKey({ keyId })).version, version + 1)
  }
  for (const reader of [kms, await open()]) {
    for (const { key, wrapped } of made) {
      t.equal(hex((await reader.unwrapDataKey({ wrapped, context })).bytes), hex(key.bytes))
    }
  }
})

t.test('the id of a key store: made with it, and its own', async t => {
  const { open } = await place(t)
  const [one, same] = [await open(), await open()]
  t.match(one.storeId, /^[0-9a-f]{32}$/)
  t.equal(same.storeId, one.storeId)
  t.not((await (await place(t)).open()).storeId, one.storeId)
})

t.test('the default key: one a tenant and region, never deleted', async t => {
  const { open } = await place(t)
  const [kms, other] = [await open(), await open()]
  await t.rejects(
    kms.describeKey({ keyId: 'alias/obs/default', scope }),
    code('KeyNotFound', "Key 'alias/obs/default' does"),
  )
  const made = await Promise.all([kms, other, kms, other].map(one => one.defaultKey(scope)))
  const [first] = made
  t.equal(new Set(made.map(key => key.keyId)).size, 1)
  t.match(first, { origin: 'service', state: 'enabled', version: 1, aliases: ['obs/default'], ...scope })
  t.strictSame(await kms.describeKey({ keyId: 'alias/obs/default', scope }), first)
  const elsewhere = await kms.defaultKey({ ...scope, region: 'beijing' })
  const another = await kms.defaultKey({ ...scope, domainId: 'tenant-2' })
  t.equal(new Set([first, elsewhere, another].map(key => key?.keyId.slice(-36))).size, 3)

  const { keyId } = elsewhere
  await t.rejects(kms.scheduleDeletion({ keyId }), code('KeyAccessDenied'))
  await kms.disableKey({ keyId })
  t.match(await other.defaultKey({ ...scope, region: 'beijing' }), { keyId, state: 'disabled' })
  await t.rejects(other.generateDataKey({ keyId, context }), code('KeyDisabled'))
  await (await open()).enableKey({ keyId })
  await other.rotateKey({ keyId })
  t.match(await kms.defaultKey({ ...scope, region: 'beijing' }), { version: 2, state: 'enabled' })
})

t.test('names: ARNs, OBS ids, short ids, aliases', async t => {
  const { open } = await place(t)
  const kms = await open()
  const key = await kms.createKey({ ...scope, alias: 'team/blue_1-2' })
  const short = key.keyId.slice(-36)
  t.strictSame(key.aliases, ['team/blue_1-2'])
  for (const keyId of [
    short,
    `key/${short}`,
    `sichuan:tenant-1:key/${short}`,
    `sichuan:tenant-1:${short}`,
    'alias/team/blue_1-2',
    'sichuan:tenant-1:alias/team/blue_1-2',
    'arn:aws:kms:sichuan:tenant-1:alias/team/blue_1-2',
  ]) {
    t.strictSame(await kms.describeKey({ keyId, scope }), key, keyId)
  }
  const elsewhere = { region: 'beijing', domainId: 'tenant-1' }
  t.strictSame(await kms.describeKey({ keyId: key.keyId, scope: elsewhere }), key, 'an ARN needs no scope')
  await t.rejects(
    kms.describeKey({ keyId: short, scope: elsewhere }),
    code('KeyNotFound', `Key 'arn:aws:kms:beijing:tenant-1:key/${short}'`),
  )
  await t.rejects(kms.describeKey({ keyId: 'alias/team/blue_1-2', scope: elsewhere }), code('KeyNotFound'))
  const malformed = [
    'fake-key-id',
    '',
    'alias/',
    'alias/a b',
    '../../x',
    `${key.keyId}/`,
    key.keyId.toUpperCase(),
    'arn:aws:kms:a.b:c:key/x',
  ]
  for (const keyId of malformed) {
    await t.rejects(kms.describeKey({ keyId, scope }), code('InvalidKeyId', `Invalid keyId '${keyId}'`))
  }
  await t.rejects(kms.describeKey({ keyId: short }), code('InvalidKeyId'), 'a short id needs a scope')
  await t.rejects(kms.generateDataKey({ keyId: short, context }), code('InvalidKeyId'), 'records have ARNs only')
  await t.rejects(kms.generateDataKey({ keyId: `${key.keyId.slice(0, -1)}x`, context }), code('InvalidKeyId'))

  for (const wrong of ['', '.', '..', 'a/b', 'a.b', 'a:b', 'é', 'x'.repeat(65)]) {
    await t.rejects(kms.createKey({ ...scope, region: wrong }), RangeError)
    await t.rejects(kms.defaultKey({ ...scope, domainId: wrong }), RangeError)
    await t.rejects(kms.listKeys({ region: wrong }), RangeError)
    await t.rejects(kms.listKeys({ domainId: wrong }), RangeError)
    await t.rejects(kms.describeKey({ keyId: short, scope: { ...scope, region: wrong } }), RangeError)
    await t.rejects(kms.deleteAlias({ ...scope, region: wrong }, 'x'), RangeError)
  }

  t.strictSame((await kms.createAlias({ keyId: short, scope }, 'alias/red')).aliases, ['red', 'team/blue_1-2'])
  const second = await kms.createKey({ ...elsewhere, alias: 'red' })
  t.strictSame(second.aliases, ['red'], 'the same alias in another scope')
  await t.rejects(kms.createAlias({ keyId: short, scope }, 'red'), code('InvalidArgument', 'alias/red is taken'))
  await t.rejects(kms.createKey({ ...scope, alias: 'red' }), code('InvalidArgument', 'alias/red is taken'))
  t.equal((await kms.listKeys(scope)).length, 1, 'and no key is left of it')
  for (const alias of ['', 'a b', 'obs/default', 'alias/aws/s3', 'x'.repeat(251)]) {
    await t.rejects(kms.createAlias({ keyId: key.keyId }, alias), RangeError)
    await t.rejects(kms.createKey({ ...scope, alias }), RangeError)
  }
  await kms.deleteAlias(scope, 'red')
  await t.rejects(kms.deleteAlias(scope, 'alias/red'), code('KeyNotFound', "Key 'alias/red' does not exist"))
  t.strictSame((await kms.describeKey({ keyId: short, scope })).aliases, ['team/blue_1-2'])
  t.strictSame((await kms.describeKey({ keyId: second.keyId })).aliases, ['red'])
})

t.test('lists: by region and domain, whatever else lies there', async t => {
  const { open, directory } = await place(t)
  const kms = await open()
  t.strictSame(await kms.listKeys(), [])
  const first = await kms.createKey({ region: 'r1', domainId: 'd1' })
  const keys = [
    first,
    await kms.createKey({ region: 'r1', domainId: 'd2', alias: 'x' }),
    await kms.createKey({ region: 'r2', domainId: 'd1' }),
    await kms.defaultKey({ region: 'r1', domainId: 'd1' }),
  ]
  await mkdir(join(directory, 'keys', 'lost+found'))
  await mkdir(join(directory, 'keys', 'r1', 'd1', '00000000-0000-4000-8000-000000000000'))
  await writeFile(join(directory, 'keys', 'r1', 'd1', 'notes.txt'), '')
  await writeFile(join(pathOf(directory, first), 'notes.txt'), '')
  const list = async (filter?: object) => (await kms.listKeys(filter)).map(key => key.keyId)
  const ids = (...wanted: readonly number[]) => wanted.map(i => keys[i]?.keyId).sort()
  t.strictSame(await list(), ids(0, 1, 2, 3))
  t.strictSame(await list({ region: 'r1' }), ids(0, 1, 3))
  t.strictSame(await list({ domainId: 'd1' }), ids(0, 2, 3))
  t.strictSame(await list({ region: 'r1', domainId: 'd2' }), ids(1))
  t.strictSame(await list({ region: 'r3' }), [])
  t.strictSame((await kms.listKeys({ domainId: 'd2' }))[0], keys[1])
})

t.test('many calls at once', async t => {
  const { open } = await place(t)
  const [kms, other] = [await open(), await open()]
  const { keyId } = await kms.createKey(scope)
  const calls = Array.from({ length: 60 }, async (_, i) => {
    const one = i % 3 === 0 ? other : kms
    if (i % 10 === 0) return void (await one.rotateKey({ keyId }))
    const { key, wrapped } = await one.generateDataKey({ keyId, context })
    if (hex((await kms.unwrapDataKey({ wrapped, context })).bytes) !== hex(key.bytes)) t.fail('another key')
  })
  await Promise.all(calls)
  t.equal((await kms.describeKey({ keyId })).version, 7)
})

t.test('another process: what it changes counts at the next use', async t => {
  const { open } = await place(t)
  const [server, tool] = [await open({ heldKeys: 1 }), await open()]
  const { keyId } = await server.createKey(scope)
  const second = await server.createKey(scope)
  const { wrapped, key } = await server.generateDataKey({ keyId, context })
  await tool.rotateKey({ keyId })
  t.equal((await server.generateDataKey({ keyId, context })).wrapped.blob[3], 2)
  await server.generateDataKey({ keyId: second.keyId, context })
  await tool.disableKey({ keyId })
  await t.rejects(server.unwrapDataKey({ wrapped, context }), code('KeyDisabled'))
  await tool.enableKey({ keyId })
  for (let i = 0; i < 3; i++) {
    const both = [keyId, second.keyId].map(keyId => server.generateDataKey({ keyId, context }))
    t.equal((await Promise.all(both)).length, 2, 'one key held at a time')
    t.equal(hex((await server.unwrapDataKey({ wrapped, context })).bytes), hex(key.bytes))
  }
})

t.test('on disk: modes, and nothing in clear', async t => {
  const mask = process.umask(0)
  t.teardown(() => process.umask(mask))
  const secrets: Uint8Array[] = []
  t.teardown(
    replaceRandomness(out => {
      randomFillSync(out)
      if (out.length === 32) secrets.push(out.slice())
    }),
  )
  const top = t.testdir({})
  const directory = join(top, 'new', 'keys')
  const rootFile = join(top, 'root', 'root.key')
  const kms = await LocalKms.open(directory, { root: { file: rootFile, create: true } })
  const { keyId } = await kms.createKey({ ...scope, alias: 'x' })
  await kms.rotateKey({ keyId })
  await kms.defaultKey(scope)
  await kms.generateDataKey({ keyId, context })
  kms.close()
  t.ok(secrets.length >= 5)
  for (const path of [directory, ...(await filesIn(directory)), rootFile]) {
    for (let above = path; above !== top; above = dirname(above)) {
      const found = await stat(above)
      t.equal(found.mode & 0o777, found.isFile() ? 0o600 : 0o700, relative(top, above))
    }
  }
  const [rootKey] = secrets
  t.strictSame(Uint8Array.from(await readFile(rootFile)), rootKey)
  t.strictSame(await readdir(dirname(rootFile)), ['root.key'])
  t.strictSame(await readdir(join(directory, 'temp')), [])
  const all = Buffer.concat(await Promise.all((await filesIn(directory)).map(path => readFile(path))))
  for (const secret of secrets) {
    for (let part = 0; part < 32; part += 8) {
      const piece = Buffer.from(secret.subarray(part, part + 8))
      t.notOk([piece, piece.toString('hex'), piece.toString('base64').slice(0, 10)].some(form => all.includes(form)))
    }
  }
})

t.test('on disk: nothing can be changed, exchanged or forged without the root key', async t => {
  const { open, directory, root } = await place(t, { heldKeys: 0 })
  const kms = await open()
  const key = await kms.createKey({ ...scope, alias: 'mine' })
  const { keyId } = key
  await kms.rotateKey({ keyId })
  await kms.disableKey({ keyId })
  const lies = pathOf(directory, key)
  const newest = join(lies, '000003.json')
  const refused = async (why: string): Promise<void> => {
    await t.rejects(kms.describeKey({ keyId }), corrupt, why)
    await t.rejects(kms.enableKey({ keyId }), corrupt, why)
  }

  // Each byte, and each length.
  const content = Uint8Array.from(await readFile(newest))
  const outcomes = new Set<string>()
  const outcome = async (work: Promise<unknown>): Promise<void> => {
    outcomes.add(
      await work.then(
        () => 'accepted',
        (error: unknown) => (error instanceof SseError ? error.code : String(error)),
      ),
    )
  }
  for (const i of content.keys()) {
    await writeFile(
      newest,
      content.map((byte, at) => (at === i ? byte ^ (1 << (i % 8)) : byte)),
    )
    await outcome(kms.describeKey({ keyId }))
    if (i % 8 > 0) continue
    await truncate(newest, i)
    await outcome(kms.describeKey({ keyId }))
  }
  t.strictSame([...outcomes], ['KeyringCorrupt'])
  await writeFile(newest, content)
  t.equal((await kms.describeKey({ keyId })).state, 'disabled')

  const text = Buffer.from(content).toString()
  await changed(newest, text.replace('disabled', 'enabled'), () => refused('enabled by hand'))
  await changed(newest, text.replace('customer', 'service'), () => refused('another origin'))
  await changed(newest, text.replace('"mac"', ' "mac"'), () => refused('the same JSON, other bytes'))
  await changed(newest, await readFile(join(lies, '000002.json')), () => refused('an older revision as the newest'))
  await copyFile(join(lies, '000002.json'), join(lies, '000004.json'))
  await refused('an older revision as the next one')
  await rename(join(lies, '000004.json'), join(lies, '0000009.json'))
  await refused('a name that we never give')
  await rm(join(lies, '0000009.json'))
  const second = await kms.createKey({ ...scope, domainId: 'tenant-2' })
  const first = join(lies, '000001.json')
  await changed(join(pathOf(directory, second), '000001.json'), await readFile(first), () =>
    t.rejects(kms.describeKey({ keyId: second.keyId }), corrupt, "another tenant's key"),
  )
  const elsewhere = await LocalKms.open(join(directory, '..', 'other'), { root })
  const third = await elsewhere.defaultKey(scope)
  const imported = join(pathOf(join(directory, '..', 'other'), third), '000001.json')
  await mkdir(pathOf(directory, third))
  await copyFile(imported, join(pathOf(directory, third), '000001.json'))
  await t.rejects(kms.describeKey({ keyId: third.keyId }), corrupt, 'a key of another key store with the same root key')
  elsewhere.close()
  await rm(pathOf(directory, third), { recursive: true })

  // Aliases.
  await kms.createAlias({ keyId: (await kms.defaultKey(scope)).keyId }, 'other')
  const aliases = join(directory, 'keys', scope.region, scope.domainId, 'aliases')
  const [one = '', two = ''] = await readdir(aliases)
  await changed(join(aliases, one), await readFile(join(aliases, two)), async () => {
    const asked = ['mine', 'other'].map(alias => kms.describeKey({ keyId: `alias/${alias}`, scope }))
    await t.rejects(Promise.all(asked), corrupt, 'an alias for another key')
  })

  // What the deletion of the newest file does: a process that saw it notices, a new one does not (documented).
  const watching = await open({ heldKeys: 10 })
  await watching.describeKey({ keyId })
  await rm(newest)
  await t.rejects(watching.describeKey({ keyId }), corrupt)
  t.equal((await (await open()).describeKey({ keyId })).state, 'enabled')

  await rm(lies, { recursive: true })
  await t.rejects(kms.describeKey({ keyId }), code('KeyNotFound'), 'nor that of all of them')
})

t.test('versions are wrapped for their key and their number', async t => {
  const { open, directory, root } = await place(t)
  const kms = await open()
  const key = await kms.createKey(scope)
  const { wrapped } = await kms.generateDataKey({ keyId: key.keyId, context })
  const path = join(pathOf(directory, key), '000001.json')
  // Sealed anew, as only the owner of the root key could.
  const header: { id: string } = JSON.parse(await readFile(join(directory, 'keyring.json'), 'utf8'))
  const mac = await deriveKeyring(nodeEngine, root.key, `mac ${header.id}`)
  const body = bodyOf(Uint8Array.from(await readFile(path)))
  const identity = relative(directory, path)
  t.ok(await isSealed(nodeEngine, mac, identity, Uint8Array.from(await readFile(path))))
  const other = await kms.createKey(scope)
  const theirs = bodyOf(Uint8Array.from(await readFile(join(pathOf(directory, other), '000001.json'))))
  await writeFile(path, await sealJson(nodeEngine, mac, identity, theirs))
  const reader = await open()
  t.match(await reader.describeKey({ keyId: key.keyId }), { state: 'enabled' })
  await t.rejects(reader.unwrapDataKey({ wrapped, context }), corrupt)
  await writeFile(path, await sealJson(nodeEngine, mac, identity, body.replace('enabled', 'unheard-of')))
  await t.rejects((await open()).describeKey({ keyId: key.keyId }), corrupt)
})

t.test('a revision that is erased while it is read: the next one counts', async t => {
  const { open, directory } = await place(t)
  const kms = await open()
  const key = await kms.createKey(scope)
  await kms.rotateKey({ keyId: key.keyId })
  await kms.rotateKey({ keyId: key.keyId })
  const [second = '', third = ''] = ['000002.json', '000003.json'].map(file => join(pathOf(directory, key), file))
  let meanwhile = async (): Promise<void> => undefined
  const hmacSha256: typeof webCryptoEngine.hmacSha256 = async (...input) => {
    await meanwhile()
    return webCryptoEngine.hmacSha256(...input)
  }
  const reader = await open({ engine: { ...webCryptoEngine, hmacSha256 } })
  await rename(third, `${third}.later`)
  await truncate(second)
  meanwhile = () => rename(`${third}.later`, third).catch(() => undefined)
  t.equal((await reader.describeKey({ keyId: key.keyId })).version, 3)
})

t.test('a clock that is wrong for a while destroys no key', async t => {
  const start = Date.UTC(2026, 0, 1)
  let now = start
  const warnings: string[] = []
  const { open } = await place(t, { clock: () => now, onWarning: text => warnings.push(text) })
  /** A start of a server, and what it says. */
  const started = async (time: number): Promise<readonly string[]> => {
    now = time
    warnings.length = 0
    const kms = await open()
    await kms.destroyExpired()
    kms.close()
    return [...warnings]
  }
  const kms = await open()
  const { keyId } = await kms.createKey({ ...scope, alias: 'a' })
  const { wrapped } = await kms.generateDataKey({ keyId, context })
  await kms.scheduleDeletion({ keyId }, { days: 7 })

  for (const round of ['once', 'and once more']) {
    t.match(
      await started(start + 8 * day),
      [/waiting time of arn.* has ended.*destroyed in a day.*keys undelete/],
      round,
    )
    t.strictSame(await started(start + 8 * day + day / 2), [], 'said once')
    t.match(await started(start + day), [/^The clock was ahead when the waiting time of arn/])
    t.match(await kms.describeKey({ keyId }), { state: 'pending-deletion', deletion: start + 7 * day })
  }
  t.match(await started(start + 400 * day), [/has ended/])
  t.match(await started(start + 8 * day), [/has ended/], 'noted in a future that is none')
  await kms.cancelDeletion({ keyId })
  await kms.enableKey({ keyId })
  await kms.unwrapDataKey({ wrapped, context })

  await kms.scheduleDeletion({ keyId }, { days: 7 })
  t.strictSame(await started(now + 7 * day - 1), [], 'nothing of before is left')
  t.match(await started(now + 1), [/has ended/])
  t.strictSame(await started(now + day - 1), [])
  t.equal((await kms.describeKey({ keyId: 'alias/a', scope })).state, 'pending-deletion')
  t.strictSame(await started(now + 1), [])
  await t.rejects(kms.describeKey({ keyId }), code('KeyNotFound'), 'destroyed, a day later')
})

t.test('symbolic links in the key store are not followed: nothing is read, made or emptied through them', async t => {
  let now = Date.now()
  const { open, directory } = await place(t, { clock: () => now, onWarning: () => undefined })
  const kms = await open()
  const [key, other] = [await kms.createKey({ ...scope, alias: 'mine' }), await kms.createKey(scope)]
  const outside = join(directory, '..', 'outside')
  await mkdir(outside)
  const linked = async (path: string, work: () => Promise<unknown>): Promise<void> => {
    const target = join(outside, 'target')
    await rename(path, target)
    await symlink(target, path)
    await t.rejects(work(), corrupt, relative(directory, path))
    await rm(path)
    await rename(target, path)
  }
  const lies = pathOf(directory, key)
  const inKeys = (...names: readonly string[]) => join(directory, 'keys', ...names)
  const { region, domainId } = scope
  const [alias = ''] = await readdir(inKeys(region, domainId, 'aliases'))
  const byName = async () => (await open()).describeKey({ keyId: 'alias/mine', scope })
  await linked(join(lies, '000001.json'), byName)
  await linked(lies, byName)
  await linked(inKeys(region, domainId, 'aliases', alias), byName)
  for (const folder of [inKeys(region, domainId, 'aliases'), inKeys(region, domainId), inKeys(region), inKeys()]) {
    await linked(folder, byName)
    if (!folder.endsWith('aliases')) {
      await linked(folder, async () => (await open()).listKeys())
      await linked(folder, () => kms.createKey(scope))
    }
  }
  for (const name of ['keyring.json', 'temp']) await linked(join(directory, name), open)
  await linked(join(directory, 'temp'), () => kms.createKey(scope))
  await linked(inKeys(region, domainId, 'aliases'), () => kms.deleteAlias(scope, 'mine'))
  execFileSync('mkfifo', [join(lies, '000002.json')])
  await t.rejects((await open()).describeKey({ keyId: key.keyId }), corrupt, 'nor waits it for a pipe')
  await rm(join(lies, '000002.json'))

  // A revision that is a link when its key is destroyed: what it leads to stays, all others are emptied, other keys too.
  await kms.rotateKey({ keyId: key.keyId })
  for (const { keyId } of [key, other]) await kms.scheduleDeletion({ keyId }, { days: 7 })
  const victim = join(outside, 'victim')
  await writeFile(victim, 'precious')
  await rm(join(lies, '000001.json'))
  await symlink(victim, join(lies, '000001.json'))
  for (now += 7 * day; now <= Date.now() + 9 * day; now += day) await kms.destroyExpired().catch(() => undefined)
  await t.rejects(kms.destroyExpired(), corrupt)
  t.equal(await readFile(victim, 'utf8'), 'precious')
  t.equal((await stat(join(lies, '000002.json'))).size, 0)
  t.equal((await stat(join(pathOf(directory, other), '000001.json'))).size, 0)
})

t.test('a key whose files were lost is missed, and not made anew', async t => {
  const { open, directory } = await place(t)
  const kms = await open()
  const [key, byDefault] = [await kms.createKey(scope), await kms.defaultKey(scope)]
  const [keys, aside] = [join(directory, 'keys'), join(directory, '..', 'aside')]
  await rename(keys, aside)
  const missing = code('KeyringCorrupt', 'are missing from the key store')
  await t.rejects(open(), code('KeyringCorrupt', 'The files of 2 keys are missing from the key store, such as arn:aws'))
  await t.rejects(kms.defaultKey(scope), missing, 'nor by one that was open before')
  await t.rejects(readdir(keys), { code: 'ENOENT' }, 'none was made')
  await rename(aside, keys)
  t.match(await (await open()).defaultKey(scope), { keyId: byDefault.keyId })

  await rm(pathOf(directory, key), { recursive: true })
  await t.rejects(open(), code('KeyringCorrupt', key.keyId))
  const made = join(directory, 'made')
  const noted = (id: string) => join(made, `${scope.region}.${scope.domainId}.${id.slice(-36)}.json`)
  await rm(noted(key.keyId))
  await writeFile(join(made, 'notes.txt'), '')
  t.equal((await (await open()).listKeys()).length, 1, 'forgotten on purpose')

  // One that was made and not noted, by a build that knew no such thing or a process that was killed: before it is used, it is.
  await rm(noted(byDefault.keyId))
  const reader = await open()
  await reader.defaultKey(scope)
  await reader.generateDataKey({ keyId: byDefault.keyId, context })
  t.ok((await stat(noted(byDefault.keyId))).isFile())
  await kms.createKey({ ...scope, alias: 'x' })
  await t.rejects(kms.createKey({ ...scope, alias: 'x' }), code('InvalidArgument'))
  t.equal((await (await open()).listKeys()).length, 2, 'a key that was not made is not missed')
})

t.test('a key store of a newer version says so', async t => {
  const { open, directory, root } = await place(t)
  const kms = await open()
  const key = await kms.createKey(scope)
  const newer = code('KeyringTooNew', 'made by a newer version of this program. Upgrade the program')
  const header = join(directory, 'keyring.json')
  const text = await readFile(header, 'utf8')
  for (const version of ['3', '10']) {
    await changed(header, text.replace('keyring/1', `keyring/${version}`), () => t.rejects(open(), newer))
  }
  for (const format of ['keyring/0', 'keyring/x', 'keyring/2', 'other/2', 'keyring/1/2']) {
    await changed(header, text.replace('keyring/1', format), () => t.rejects(open(), corrupt, format))
  }
  const mac = await deriveKeyring(nodeEngine, root.key, `mac ${kms.storeId}`)
  const path = join(pathOf(directory, key), '000001.json')
  const body = bodyOf(Uint8Array.from(await readFile(path)))
  const later = await sealJson(nodeEngine, mac, relative(directory, path), body.replace('key/1', 'key/2'))
  await changed(path, later, async () => {
    const reader = await open()
    await t.rejects(reader.describeKey({ keyId: key.keyId }), newer)
    await t.rejects(createSse({ kms: reader, accept: [key.keyId] }).encrypt(), newer, 'also where it is called')
  })
})

t.test('what is answered names no file; the cause does', async t => {
  const { open, directory } = await place(t)
  const key = await (await open()).createKey(scope)
  const path = join(pathOf(directory, key), '000001.json')
  await writeFile(path, 'damaged')
  const error: unknown = await (await open()).describeKey({ keyId: key.keyId }).catch((reason: unknown) => reason)
  if (!(error instanceof SseError) || !(error.cause instanceof Error)) return t.fail('no cause')
  t.notMatch(error.message, '000001')
  t.match(error.cause.message, /^keys\/sichuan\/tenant-1\/.*\/000001\.json is damaged/)
})

t.test('root keys: a file that others may use is a warning', async t => {
  const file = join(t.testdir({}), 'root.key')
  const warnings: string[] = []
  const open = async (): Promise<void> => {
    const options = { root: { file, create: true }, onWarning: (text: string) => void warnings.push(text) }
    const kms = await LocalKms.open(join(dirname(file), 'keys'), options)
    kms.close()
  }
  await open()
  await open()
  t.strictSame(warnings, [], 'not as it is made')
  for (const mode of [0o640, 0o604, 0o660]) {
    await chmod(file, mode)
    await open()
    const found = mode.toString(8)
    const text = `The root key file ${file} has mode ${found}: others than its owner may use it. Run: chmod 600 ${file}`
    t.strictSame(warnings.splice(0), [text], 'once')
  }
})

t.test('root keys: files, environment, bytes', async t => {
  const top = t.testdir({ keys: {} })
  const raw = randomBytes(32)
  const directory = join(top, 'keys')
  const open = async (root: LocalKmsOptions['root'], create?: boolean): Promise<string> => {
    const kms = await LocalKms.open(directory, { root, create })
    const { keyId } = await kms.defaultKey(scope)
    await kms.generateDataKey({ keyId, context })
    kms.close()
    return keyId
  }
  await t.rejects(open({ key: raw }, false), code('FileFailed', 'There is no key store in'))
  t.strictSame(await readdir(directory), [], 'and none was made')
  const expected = await open({ key: raw })
  const text = Buffer.from(raw)
  const file = join(top, 'root')
  for (const content of [
    raw,
    hex(raw),
    `${hex(raw).toUpperCase()}\n`,
    text.toString('base64'),
    ` ${text.toString('base64url')}\r\n`,
  ]) {
    await writeFile(file, content)
    t.equal(await open({ file }), expected)
    if (typeof content !== 'string') continue
    process.env['SSE_KMS_TEST_ROOT'] = content
    t.equal(await open({ environment: 'SSE_KMS_TEST_ROOT' }), expected)
  }
  delete process.env['SSE_KMS_TEST_ROOT']
  t.equal(await open({ file, create: true }), expected, 'a file that is there is taken')

  const locked = (message: string) => code('KeyringLocked', message)
  await t.rejects(open({ environment: 'SSE_KMS_TEST_ROOT' }), locked('SSE_KMS_TEST_ROOT has no root key'))
  for (const content of ['', 'x', hex(raw).slice(2), `${hex(raw)}00`, randomBytes(33), '0'.repeat(5000)]) {
    await writeFile(file, content)
    await t.rejects(open({ file }), locked('is no root key'))
  }
  await rm(file)
  await t.rejects(open({ file }), locked('cannot be read'))
  await t.rejects(open({ file, create: true }), locked('cannot be read'), 'a new root key would open nothing')
  await t.rejects(stat(file), { code: 'ENOENT' }, 'so none is made')
  await t.rejects(open({ key: randomBytes(32) }), code('KeyringLocked'))
  await t.rejects(open({ key: randomBytes(31) }), RangeError)
  t.equal(await open({ key: text }), expected)
  t.equal(text.toString('hex'), hex(raw), "a caller's Buffer is left as it was")
  await t.rejects(open({ passphrase: 'x' }), locked('made without a passphrase'))

  // A new key store with a new root key, made by two at once.
  const both = await Promise.all(
    [1, 2].map(() => LocalKms.open(join(top, 'second'), { root: { file: join(top, 'made'), create: true } })),
  )
  const ids = await Promise.all(both.map(async kms => (await kms.defaultKey(scope)).keyId))
  t.equal(ids[0], ids[1])
  for (const kms of both) kms.close()
  t.equal((await stat(join(top, 'made'))).size, 32)
})

t.test('root keys: a passphrase', async t => {
  const directory = join(t.testdir({}), 'keys')
  const cost = { N: 16, r: 2, p: 1 }
  let asked = 0
  const kms = await LocalKms.open(directory, {
    root: { passphrase: async () => (asked++, 'caf\u00e9 au lait'), cost },
  })
  t.equal(asked, 1)
  const { keyId } = await kms.defaultKey(scope)
  const { wrapped } = await kms.generateDataKey({ keyId, context })
  const again = await LocalKms.open(directory, { root: { passphrase: 'cafe\u0301 au lait' } })
  t.equal(
    (await again.unwrapDataKey({ wrapped, context })).bytes.length,
    32,
    'the cost is kept, and the form of the é is not',
  )
  for (const passphrase of ['cafe au lait', '', 'x']) {
    await t.rejects(LocalKms.open(directory, { root: { passphrase } }), code('KeyringLocked'))
  }
  await t.rejects(
    LocalKms.open(directory, { root: { key: randomBytes(32) } }),
    code('KeyringLocked', 'made with a passphrase'),
  )
  for (const wrong of [
    { ...cost, N: 15 },
    { ...cost, N: 1 },
    { ...cost, N: 2 ** 21 },
    { ...cost, r: 0 },
    { ...cost, r: 33 },
    { ...cost, p: 17 },
    { ...cost, p: 1.5 },
    { N: 2 ** 20, r: 32, p: 1 },
  ]) {
    const root = { passphrase: 'x', cost: wrong }
    await t.rejects(LocalKms.open(join(directory, 'new'), { root }), RangeError)
  }

  t.match(newScrypt({ passphrase: 'x' }), { N: 2 ** 17, r: 8, p: 1 }, 'left out')

  // The parameters are read before they can be authenticated.
  const path = join(directory, 'keyring.json')
  const header = await readFile(path, 'utf8')
  const opens = () => LocalKms.open(directory, { root: { passphrase: 'caf\u00e9 au lait' } })
  const salt = /"salt":"([0-9a-f]{32})"/.exec(header)?.[1] ?? ''
  const saltReplaced = (by: string): string => header.replace(salt, by)
  await changed(path, header.replace('"N":16', '"N":1073741824'), () => t.rejects(opens(), corrupt))
  await changed(path, header.replace('"r":2', '"r":-2'), () => t.rejects(opens(), corrupt))
  await changed(path, saltReplaced('xyz'), () => t.rejects(opens(), corrupt))
  await changed(path, saltReplaced('00'.repeat(16)), () => t.rejects(opens(), code('KeyringLocked')))
  await changed(path, '', () => t.rejects(opens(), corrupt))
  await rm(path)
  await t.rejects(opens(), corrupt, 'keys without keyring.json: no new one is made')
  await writeFile(path, header)
  const last = await opens()
  for (const one of [kms, again, last]) one.close()
})

t.test('closed: nothing works, nothing is shown', async t => {
  const { open, directory, root } = await place(t)
  const kms = await open()
  const { keyId } = await kms.createKey(scope)
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  const shown = inspect(kms, { showHidden: true, depth: 9 }) + inspect({ kms }) + JSON.stringify(kms)
  t.match(shown, `[LocalKms ${directory}]`)
  t.notMatch(shown, new RegExp(hex(root.key)))
  // What is under way ends well or fails; it never wraps under zeros.
  const underWay = Promise.allSettled([1, 2, 3, 4].map(() => kms.generateDataKey({ keyId, context })))
  const made = Promise.allSettled([1, 2].map(() => kms.createKey(scope)))
  kms.close()
  kms.close()
  const reader = await open()
  for (const result of await underWay) {
    if (result.status === 'fulfilled') {
      const { key, wrapped } = result.value
      t.equal(hex((await reader.unwrapDataKey({ wrapped, context })).bytes), hex(key.bytes))
    } else t.match(result.reason, TypeError)
  }
  await made
  for (const { keyId } of await reader.listKeys()) await reader.generateDataKey({ keyId, context })
  const calls: readonly Promise<unknown>[] = [
    kms.generateDataKey({ keyId, context }),
    kms.wrapDataKey(key, { keyId, context }),
    kms.unwrapDataKey({ wrapped, context }),
    kms.rewrapDataKey({ from: { wrapped, context }, to: { keyId, context } }),
    kms.describeKey({ keyId }),
    kms.describeKey({ keyId: 'alias/x', scope }),
    kms.defaultKey(scope),
    kms.createKey(scope),
    kms.listKeys(),
    kms.disableKey({ keyId }),
    kms.rotateKey({ keyId }),
    kms.scheduleDeletion({ keyId }),
    kms.createAlias({ keyId }, 'x'),
    kms.deleteAlias(scope, 'x'),
    kms.destroyExpired(),
  ]
  for (const result of await Promise.allSettled(calls)) {
    t.match(result, { status: 'rejected', reason: { name: 'TypeError', message: 'the key store was closed' } })
  }
})

t.test('a disk that fails', async t => {
  const { open, directory, root } = await place(t)
  const kms = await open()
  const { keyId } = await kms.createKey(scope)
  const failed = code('KmsUnavailable', 'The key store cannot be read or written')
  await writeFile(join(directory, 'keys', 'file'), '')
  await t.rejects(kms.createKey({ region: 'file', domainId: 'x' }), failed)
  await t.rejects(kms.listKeys({ region: 'file' }), failed)
  await rm(join(directory, 'temp'), { recursive: true })
  await t.rejects(kms.rotateKey({ keyId }), failed)
  t.equal((await kms.describeKey({ keyId })).version, 1, 'nothing has changed')
  await (await open()).rotateKey({ keyId })
  await t.rejects(LocalKms.open(join(directory, 'keyring.json'), { root }), failed)
  const inner = new SseError('KeyringCorrupt')
  await t.rejects(
    onDisk(() => Promise.reject(inner)),
    inner,
  )

  for (const clock of [() => Number.NaN, () => -1]) await t.rejects(open({ clock }), RangeError)
  for (const heldKeys of [-1, 0.5]) await t.rejects(open({ heldKeys }), RangeError)

  // 2^-122, or a broken source of randomness: a key is never handed out twice.
  const restore = replaceRandomness(out => out.fill(7))
  await kms.createKey(scope)
  await t.rejects(kms.createKey(scope), code('InternalError'))
  restore()
})

t.test('leftovers: swept after an hour, and nothing else', async t => {
  const temps = t.testdir({})
  const now = Date.now()
  const name = (n: number): string => `.${String(n).repeat(32)}.tmp`
  for (const file of [name(1), name(2), 'notes.tmp']) await writeFile(join(temps, file), '')
  await symlink(join(temps, 'nowhere'), join(temps, name(3)))
  for (const file of [name(2), 'notes.tmp']) await utimes(join(temps, file), now / 1000 - 3601, now / 1000 - 3601)
  await sweepTemps(temps, now)
  t.strictSame((await readdir(temps)).sort(), [name(1), name(3), 'notes.tmp'])
})

t.test('processes make one key store and one default key between them', async t => {
  const { directory, root } = await place(t)
  await Promise.all(children.map(child => child.done('start')))
  for (const child of children) child.send('default', directory, hex(root.key))
  await Promise.all(children.map(child => child.done('default')))
  const made = children.map(({ heard }) => heard.find(message => message.has('keyId'))?.get('keyId'))
  t.match(made[0], /^arn:aws:kms:sichuan:tenant-1:key/)
  t.equal(new Set(made).size, 1)
})

t.test('processes lose no rotation between them', async t => {
  const { open, directory, root } = await place(t)
  const kms = await open()
  const { keyId } = await kms.createKey(scope)
  const { wrapped } = await kms.generateDataKey({ keyId, context })
  for (const child of children) child.send('rotate', directory, hex(root.key), keyId)
  await Promise.all(children.map(child => child.done('rotate')))
  t.equal((await kms.describeKey({ keyId })).version, 21)
  await kms.unwrapDataKey({ wrapped, context })
})

t.test('processes killed at any moment: what was acknowledged is there', async t => {
  const { open, directory, root } = await place(t)
  const kms = await open()
  const shared = (await kms.createKey(scope)).keyId
  for (const child of children) child.send('change', directory, hex(root.key), shared)
  for (const child of children) {
    await child.tells(15)
    await sleep(Math.random() * 20)
    await child.kill()
  }
  const later = await open({ clock: () => Date.now() + 2 * 3_600_000 })
  const heard = children.flatMap(({ heard }) => heard)
  let seen = 0
  for (const message of heard) {
    const keyId = ['made', 'rotated', 'disabled'].map(what => message.get(what)).find(id => id !== undefined)
    if (typeof keyId !== 'string') continue
    seen++
    const key = await later.describeKey({ keyId })
    const [version, alias] = [message.get('version'), message.get('alias')]
    if (typeof version === 'number' && (key.version ?? 0) < version) t.fail('a rotation was lost')
    if (typeof alias === 'string' && !key.aliases.includes(alias)) t.fail('an alias was lost')
    if (message.has('disabled') && key.state !== 'disabled') t.fail('a state was lost')
  }
  t.ok(seen >= 30, `${seen} changes`)
  for (const { keyId, state } of await later.listKeys(scope)) {
    if (state === 'enabled') await later.generateDataKey({ keyId, context })
  }
  t.strictSame(await readdir(join(directory, 'temp')), [], 'leftovers are swept')
})

t.test('sealed JSON: only what was written is read', async t => {
  const key = randomBytes(32)
  const sealed = await sealJson(nodeEngine, key, 'a', '{"format":"f/1","n":1}')
  t.ok(await isSealed(nodeEngine, key, 'a', sealed))
  t.match(JSON.parse(Buffer.from(sealed).toString()), { format: 'f/1', n: 1, mac: /^[0-9a-f]{64}$/ })
  t.notOk(await isSealed(nodeEngine, key, 'b', sealed))
  t.notOk(await isSealed(nodeEngine, randomBytes(32), 'a', sealed))
  t.equal(bodyOf(sealed), '{"format":"f/1","n":1}')
  t.equal(bodyOf(new Uint8Array(75)), '')
  t.equal(bodyOf(new Uint8Array(90).fill(0xff)), '')
  for (const body of ['', '{', 'null', '1', '"x"', '[]', '{"format":"f/0"}'])
    t.throws(() => fieldsOf(body, 'f/1'), corrupt)
  const fields = fieldsOf('{"format":"f/1","n":1,"s":"x","b":["00ff"],"w":["0"],"big":1e300,"minus":-1,"m":[1]}', 'f/1')
  t.strictSame([fields.number('n'), fields.optionalNumber('n'), fields.optionalNumber('none')], [1, 1, undefined])
  t.strictSame([fields.text('s'), fields.oneOf('s', ['y', 'x'])], ['x', 'x'])
  t.strictSame(fields.bytes('b', 2), [Uint8Array.of(0, 255)])
  for (const wrong of [
    () => fields.number('s'),
    () => fields.number('none'),
    () => fields.number('big'),
    () => fields.number('minus'),
    () => fields.optionalNumber('s'),
    () => fields.text('n'),
    () => fields.oneOf('s', ['y']),
    () => fields.oneOf('none', ['y']),
    () => fields.bytes('s', 1),
    () => fields.bytes('b', 1),
    () => fields.bytes('w', 1),
    () => fields.bytes('m', 1),
  ]) {
    t.throws(wrong, corrupt)
  }
})
