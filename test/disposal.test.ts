/** `using` and `await using`: what they close and wipe, and that they compile and run where nothing of Node is known. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { setImmediate } from 'node:timers/promises'
import { inspect } from 'node:util'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import ts from 'typescript'
import { nodeEngine } from '../lib/cipher/node.ts'
import { webCryptoEngine } from '../lib/cipher/web.ts'
import { createSse, customerKey, DataKey, encryptionContext, LocalKms } from '../lib/index.ts'
import {
  guarded,
  observed,
  withBreaker,
  withBulkhead,
  withCache,
  withDeadline,
  withProof,
  withRetry,
} from '../lib/kms.ts'
import { awsKms } from '../lib/kms/aws/aws.ts'
import { huaweiKms } from '../lib/kms/huawei/huawei.ts'
import { kmipKms } from '../lib/kms/kmip/kmip.ts'
import { pkcs11Kms } from '../lib/kms/pkcs11/pkcs11.ts'
import type { KmsProvider } from '../lib/kms/provider.ts'
import { vaultKms } from '../lib/kms/vault/vault.ts'
import { openFileStore } from '../lib/store.ts'
import { memoryBody } from '../lib/store/body-reader.ts'
import { memoryKms } from '../lib/testing.ts'
import { createSse as createWebSse } from '../lib/web.ts'
import { spyAsync, spyKms, spySync, wiped } from './support/spy.ts'
import { stubLocal } from './support/stub-kms.ts'

const local = () => stubLocal({ key: { 1: new Uint8Array(32).fill(7) } })
const zeros = (bytes: Uint8Array) => bytes.every(byte => byte === 0)
const target = { keyId: '', context: encryptionContext() }

t.test('a data key and a customer’s key are wiped, also where the block throws', async t => {
  const bytes = new Uint8Array(32).fill(7)
  const leave = () => {
    using key = new DataKey(bytes)
    t.equal(key.bytes[0], 7)
    throw new Error('left')
  }
  t.throws(leave, { message: 'left' })
  t.ok(zeros(bytes))
  const take = async () => {
    using customer = customerKey(nodeEngine, new Uint8Array(32).fill(7))
    const { key } = await customer.generateDataKey(target)
    key.dispose()
    return customer
  }
  const customer = await take()
  await t.rejects(customer.generateDataKey(target), { name: 'TypeError', message: /wiped already/ })
})

t.test('bodies that are left in the middle, and bucket keys', async t => {
  for (const create of [createSse, createWebSse]) {
    for (const { engine, seen } of [spySync(nodeEngine), spyAsync(webCryptoEngine)]) {
      const { kms, given } = spyKms<KmsProvider>(local())
      const sealed = await createSse({ kms: local(), accept: ['key'] }).encryptBytes('text')
      const leave = async () => {
        using sse = create({ kms, accept: ['key'], engine })
        using put = await sse.encrypt()
        using pipe = await sse.decryptPipe()
        using get = await sse.decryptFile({ size: sealed.length, read: async (a, b) => sealed.subarray(a, b + 1) })
        const upload = await sse.createUpload()
        using part = await sse.encryptPart(upload, 1)
        const bodies = [put, pipe, get, part]
        await put.driver.write(new Uint8Array(100_000), () => undefined)
        await pipe.driver.write(sealed.subarray(0, -1), () => undefined)
        t.notOk(seen.keys.every(zeros))
        return { sse, bodies }
      }
      const { sse, bodies } = await leave()
      t.ok(seen.keys.length > 1 && seen.keys.every(zeros) && given.every(wiped), engine.name)
      for (const { driver } of bodies) {
        await t.rejects(async () => driver.end(() => undefined), { name: 'TypeError', message: /disposed/ })
      }
      const bucketContext = { 'aws:s3:arn': 'arn:aws:s3:::bucket' }
      await t.rejects(sse.encrypt({ bucketKey: true, bucketContext }), TypeError)
    }
  }
})

t.test('a body that ended keeps its result', async t => {
  const sse = createSse({ kms: local(), accept: ['key'] })
  const run = async () => {
    using put = await sse.encrypt()
    for await (const _ of put.pieces(['text'])) continue
    return put
  }
  t.equal((await run()).result().plaintextLength, 4)
})

t.test('the embedded key store', async t => {
  const run = async () => {
    using kms = await LocalKms.open(join(t.testdir(), 'keys'), { root: { key: new Uint8Array(32) } })
    await kms.createKey({ region: 'sichuan', domainId: 'tenant' })
    return kms
  }
  const kms = await run()
  await t.rejects(kms.listKeys(), { name: 'TypeError', message: /was closed/ })
})

t.test('key managers', async t => {
  const address = 'https://127.0.0.1:1'
  const token = { method: 'token', token: 'secret' } as const
  const managers = [
    () => awsKms({ config: { region: 'us-east-1', endpoint: address } }),
    () => vaultKms({ instance: 'main', address, auth: token }),
    () => huaweiKms({ instance: 'main', address, project: 'project', credentials: { token: 'secret' } }),
    () => kmipKms({ instance: 'main', host: '127.0.0.1', port: 1 }),
    () => pkcs11Kms({ instance: 'main', module: '/nowhere.so', token: 'kms', pin: 'secret' }),
  ]
  for (const open of managers) {
    const run = async () => {
      await using kms = open()
      return kms
    }
    const kms = await run()
    const error: unknown = await kms.list?.().catch((error: unknown) => error)
    t.match(inspect(error), /was closed/, kms.name)
  }
  const kept = async () => {
    await using kms = memoryKms()
    const { keyId } = await kms.create('key')
    return { kms, keyId }
  }
  const { kms, keyId } = await kept()
  await t.rejects(kms.describe(keyId), { code: 'KeyNotFound' })
})

t.test('what goes around a key manager closes it, once', async t => {
  const decorators = {
    guarded,
    observed,
    withBreaker,
    withBulkhead,
    withCache,
    withDeadline,
    withProof,
    withRetry,
  }
  for (const [name, decorate] of Object.entries(decorators)) {
    let closed = 0
    const inner = memoryKms()
    const { keyId } = await inner.create('key')
    const data = await inner.generateDataKey({ keyId, context: encryptionContext() })
    data.key.dispose()
    const kept: DataKey[] = []
    const manager = {
      ...inner,
      unwrapDataKey: async (...given: Parameters<typeof inner.unwrapDataKey>) => {
        const key = await inner.unwrapDataKey(...given)
        kept.push(key)
        return key
      },
      close: () => void closed++,
    }
    {
      await using kms = decorate(manager)
      const key = await kms.unwrapDataKey({ wrapped: data.wrapped, context: encryptionContext() })
      key.dispose()
      t.equal(closed, 0)
    }
    t.equal(closed, 1, name)
    await setImmediate() // the cache lets whoever was just given a key copy it
    t.ok(kept.length === 1 && kept.every(wiped), `${name}: nothing is kept`)
  }
})

t.test('the embedded store, a body that is written and one that is read', async t => {
  const directory = join(t.testdir(), 'data')
  const bodies = () => readdirSync(join(directory, 'bodies'), { recursive: true, withFileTypes: true })
  const files = () => bodies().filter(entry => entry.isFile()).length
  const run = async () => {
    await using store = await openFileStore(directory, { sweepEvery: 0 })
    const before = files()
    const leave = async () => {
      await using body = await store.createBody()
      await pipeline(Readable.from([new Uint8Array(100_000)]), body.writable)
      t.equal(files(), before + 1)
      throw new Error('left')
    }
    await t.rejects(leave(), { message: 'left' })
    t.equal(files(), before, 'what was not committed is thrown away')
    return store
  }
  const store = await run()
  await t.rejects(store.listBuckets(), /closed database/)
  const read = async () => {
    await using body = memoryBody(new Uint8Array(10))
    return body
  }
  const body = await read()
  t.throws(() => body.read(), { name: 'TypeError', message: 'the body was closed' })
})

const root = fileURLToPath(new URL('..', import.meta.url))

t.test('a program for browsers compiles, with nothing of Node and with the declarations checked', async t => {
  const folder = t.testdir({ node_modules: { 'sse-kms-streams': t.fixture('symlink', root) } })
  const file = join(folder, 'program.mts')
  writeFileSync(
    file,
    `import { createSse, customerKey, nobleEngine } from 'sse-kms-streams/web'
    using kms = customerKey(nobleEngine, new Uint8Array(32))
    using sse = createSse({ kms, accept: [''] })
    using put = await sse.encrypt()
    using none = sse.encrypt()`,
  )
  const program = ts.createProgram([file], {
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    lib: ['es2022', 'dom', 'dom.iterable', 'dom.asynciterable'].map(name => `lib.${name}.d.ts`),
    types: [],
    strict: true,
    noEmit: true,
  })
  const told = ts.getPreEmitDiagnostics(program).map(({ messageText, file, start = 0 }) => {
    const line = (file?.getLineAndCharacterOfPosition(start).line ?? 0) + 1
    return `${file?.fileName.split('/').at(-1)}:${line} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`
  })
  t.match(
    told,
    [/^program.mts:5 .* must be either an object with a '\[Symbol.dispose\]\(\)' method/],
    'but for a promise',
  )
  t.equal(told.length, 1)
})

t.test('a runtime without the symbol gets the one that compilers put in its place', async t => {
  const source = readFileSync(new URL('../lib/bytes.ts', import.meta.url), 'utf8')
  const { outputText } = ts.transpileModule(source, { compilerOptions: { module: ts.ModuleKind.CommonJS } })
  const globals = { TextEncoder, TextDecoder, exports: {} }
  const same = `(Symbol.dispose ?? Symbol.for('Symbol.dispose')) === exports.disposal`
  t.equal(runInNewContext(`${outputText}; ${same}`, globals), true)
})
