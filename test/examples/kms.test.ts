/** The examples of `sse-kms-streams/kms`. */
import t from 'tap'
import { createSse, LocalKms } from '../../lib/index.ts'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import {
  guarded,
  type KeyRegister,
  kmsChannel,
  observed,
  recorded,
  registered,
  routed,
  withBreaker,
  withBulkhead,
  withCache,
  withDeadline,
  withProof,
  withRetry,
} from '../../lib/kms.ts'
import { memoryKms } from '../../lib/testing.ts'

t.test('a key manager that a server may depend on', async t => {
  // #region guarded
  const vault = memoryKms() // or any other key manager
  const { keyId } = await vault.create('photos')
  const kms = guarded(vault, { deadline: 2000, retry: { tries: 3 }, cache: { timeToLive: 60_000 } })
  const sse = createSse({ kms, accept: [keyId] })
  const encrypting = await sse.encrypt({ length: 5 })
  // #endregion guarded
  encrypting.driver.dispose()
  await kms.close?.()
  t.ok(encrypting)
})

t.test('decorators one by one', async t => {
  // #region decorators
  const manager = memoryKms() // or any other key manager
  const events: unknown[] = []
  const bounded = withBulkhead(manager, { calls: 16, queue: 100 })
  const tried = withRetry(withBreaker(bounded, { failures: 3, rest: 1000 }), { tries: 2 })
  const kms = observed(withCache(withProof(withDeadline(tried, 2000)), { timeToLive: 60_000 }))
  const listen = (event: unknown) => events.push(event) // { provider, instance, operation, key, milliseconds, cached, outcome }
  subscribe(kmsChannel, listen)
  const key = await kms.create?.('photos')
  // #endregion decorators
  unsubscribe(kmsChannel, listen)
  t.equal(key?.state, 'enabled')
  t.match(events, [{ operation: 'create', key: 'photos', outcome: 'ok', cached: false }])
})

t.test('keys of tenants', async t => {
  // #region registered
  const manager = memoryKms() // or any other key manager
  // Rows that nobody else can write; the first value of a name stands. An object store is one.
  const rows = new Map<string, string>()
  const register: KeyRegister = {
    claim: async (name, value) => rows.get(name) ?? (rows.set(name, value), value),
    claims: async () => rows,
  }
  const keys = registered(manager, { register })
  const { keyId, arn } = await keys.defaultKey({ region: 'sichuan', domainId: 'domain-1' })
  // #endregion registered
  t.match(arn, /^arn:aws:kms:sichuan:domain-1:key/)
  t.strictSame(rows.get('default-key/sichuan/domain-1/memory'), keyId)
})

t.test('several key managers', async t => {
  process.chdir(t.testdir())
  // #region routed
  const [hsm, vault] = [memoryKms({ instance: 'hsm1' }), memoryKms({ instance: 'vault-main' })]
  const local = await LocalKms.open('./keys', { root: { file: './root.key', create: true } })
  const rows = new Map<string, string>()
  const register: KeyRegister = {
    claim: async (name, value) => rows.get(name) ?? (rows.set(name, value), value),
    claims: async () => rows,
  }

  const keys = routed([
    { keys: registered(hsm, { register }), serves: ({ domainId }) => domainId === 'bank' },
    { keys: registered(vault, { register }), serves: ({ bucket }) => bucket?.startsWith('logs-') === true },
    { keys: recorded(local, register) },
  ])
  const key = await keys.defaultKey({ region: 'sichuan', domainId: 'bank', bucket: 'photos' })
  // #endregion routed
  t.teardown(() => local.close())
  t.match(key.keyId, /^hsm1:/)
  const logs = await keys.defaultKey({ region: 'sichuan', domainId: 'shop', bucket: 'logs-1' })
  const other = await keys.defaultKey({ region: 'sichuan', domainId: 'shop', bucket: 'photos' })
  t.match([logs.keyId, other.keyId], [/^vault-main:/, /^arn:aws:kms:sichuan:shop:key/])
  t.equal((await keys.acceptedKeys({ region: 'sichuan', domainId: 'shop' })).length, 2)
  t.equal((await keys.describeKey({ keyId: logs.arn ?? '' })).keyId, logs.keyId)
  await t.rejects(keys.describeKey({ keyId: 'arn:aws:kms:sichuan:shop:key/none' }), {
    code: /KeyNotFound|InvalidKeyId/,
  })
  await t.rejects(routed([]).defaultKey({ region: 'sichuan', domainId: 'shop' }), { code: 'KeyNotFound' })
})
