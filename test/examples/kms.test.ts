/** The examples of `sse-kms-streams/kms`. */
import t from 'tap'
import { join } from 'node:path'
import { createSse, LocalKms } from '../../lib/index.ts'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import {
  guarded,
  type KeyManager,
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

const memoryKmsKey = async (kms: KeyManager) => {
  if (kms.create === undefined) throw new Error('it makes keys')
  return kms.create('photos')
}

t.test('a key manager that a server may depend on', async t => {
  const vault: KeyManager = memoryKms()
  const { keyId } = await memoryKmsKey(vault)
  // #region guarded
  const kms = guarded(vault, { deadline: 2000, retry: { tries: 3 }, cache: { timeToLive: 60_000 } })
  const sse = createSse({ kms, accept: [keyId] })
  const encrypting = await sse.encrypt({ length: 5 })
  // #endregion guarded
  encrypting.driver.dispose()
  await kms.close?.()
  t.ok(encrypting)
})

t.test('decorators one by one', async t => {
  const manager: KeyManager = memoryKms()
  const events: unknown[] = []
  // #region decorators
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
  const manager: KeyManager = memoryKms()
  const rows = new Map<string, string>()
  // #region registered
  // Rows that nobody else can write; the first value of a name stands. An object store is one.
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
  const rows = new Map<string, string>()
  const register: KeyRegister = {
    claim: async (name, value) => rows.get(name) ?? (rows.set(name, value), value),
    claims: async () => rows,
  }
  const [hsm, vault] = [memoryKms({ instance: 'hsm1' }), memoryKms({ instance: 'vault-main' })]
  const root = { key: new Uint8Array(32).fill(7) }
  const local = await LocalKms.open(join(t.testdir(), 'keys'), { root, create: true })
  t.teardown(() => local.close())
  // #region routed
  const keys = routed([
    { keys: registered(hsm, { register }), serves: ({ domainId }) => domainId === 'bank' },
    { keys: registered(vault, { register }), serves: ({ bucket }) => bucket?.startsWith('logs-') === true },
    { keys: recorded(local, register) },
  ])
  const key = await keys.defaultKey({ region: 'sichuan', domainId: 'bank', bucket: 'photos' })
  // #endregion routed
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
