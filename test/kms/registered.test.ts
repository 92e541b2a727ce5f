/** Keys of tenants over key managers that know no tenants: default keys, accepted keys, and the ids that clients see. */
import t from 'tap'
import { memoryKms } from '../../lib/kms/testing/memory.ts'
import { clientKeyId, defaultKeyName, type KeyRegister, registered } from '../../lib/kms/registered.ts'
import type { KeyScope } from '../../lib/kms/provider.ts'

const tenant = { region: 'sichuan', domainId: 'domain-1' }
const other = { region: 'sichuan', domainId: 'domain-2' }

/** A register in memory: the first claim stands. */
const register = (): KeyRegister => {
  const rows = new Map<string, string>()
  return {
    claim: async (name, value) => {
      if (!rows.has(name)) rows.set(name, value)
      return rows.get(name) ?? value
    },
    claims: async () => new Map(rows),
  }
}

t.test('a default key is made once, whoever asks at the same moment; who loses drops its own', async t => {
  // Names are no locks here: each of the ten sees none and makes one.
  const kms = memoryKms()
  const rows = register()
  const gateways = Array.from({ length: 10 }, () => registered({ ...kms, find: async () => [] }, { register: rows }))
  const keys = await Promise.all(gateways.map(each => each.defaultKey(tenant)))
  t.equal(new Set(keys.map(key => key.keyId)).size, 1)
  const all = (await kms.list()).filter(({ state }) => state !== 'pending-deletion')
  t.strictSame(
    all.map(({ keyId }) => keyId),
    [keys[0]?.keyId],
  )
  t.not((await gateways[0]?.defaultKey(other))?.keyId, keys[0]?.keyId, 'another tenant has another one')
})

t.test('a key of that name that is there already is taken, and not dropped', async t => {
  const kms = memoryKms()
  const made = await kms.create(defaultKeyName(tenant))
  const rows = register()
  const one = registered(kms, { register: rows })
  t.equal((await one.defaultKey(tenant)).keyId, made.keyId)
  const before = registered(kms)
  t.equal((await before.defaultKey(tenant)).keyId, made.keyId, 'the same before a register can be read')
  t.match(await before.acceptedKeys(tenant), [{ provider: 'memory', keyId: made.keyId }])
})

t.test('what cannot be made says what to configure; a failure is not kept', async t => {
  const kms = memoryKms()
  const none = registered(kms, { register: register(), create: false })
  await t.rejects(none.defaultKey(tenant), { code: 'KeyNotFound', message: /Name one for the tenant/ })
  let failing = true
  const faulty = memoryKms({ fault: method => (failing && method === 'create' ? 'unavailable' : undefined) })
  const keys = registered(faulty, { register: register() })
  await t.rejects(keys.defaultKey(tenant), { code: 'KmsUnavailable' })
  failing = false
  t.equal((await keys.defaultKey(tenant)).state, 'enabled')
})

t.test('a tenant accepts its own keys: configured ones and its default, by any gateway', async t => {
  const kms = memoryKms()
  const mine = await kms.create('mine')
  const theirs = await kms.create('theirs')
  const rows = register()
  const options = {
    register: rows,
    keys: [
      { ...tenant, key: mine.keyId, alias: 'photos' },
      { ...other, key: theirs.keyId, isDefault: true },
    ],
  }
  const [one, two] = [registered(kms, options), registered(kms, options)]
  t.equal((await one.defaultKey(other)).keyId, theirs.keyId, 'a default key that is named is not made')
  const { keyId } = await one.defaultKey(tenant)
  const accepted = async (scope: KeyScope & { readonly keyId?: string; readonly origin?: 'service' }) =>
    (await two.acceptedKeys(scope)).map(key => key.keyId)
  t.strictSame(await accepted({ ...tenant, keyId }), [keyId], 'made by another gateway')
  t.strictSame((await accepted(tenant)).sort(), [mine.keyId, keyId].sort())
  t.strictSame(await accepted({ ...tenant, origin: 'service' }), [keyId])
  t.strictSame(await accepted({ ...tenant, keyId: theirs.keyId }), [], "another tenant's")
  t.strictSame(await accepted({ ...tenant, region: 'elsewhere' }), [], 'another region')
  const stranger = await kms.create('stranger')
  t.strictSame(await accepted({ ...tenant, keyId: stranger.keyId }), [], 'a key of nobody')
})

t.test('clients name keys by ARN, id and alias, and see ARNs', async t => {
  const kms = memoryKms()
  const { keyId } = await kms.create('mine')
  const keys = registered(kms, { register: register(), keys: [{ ...tenant, key: keyId, alias: 'photos' }] })
  const id = clientKeyId(keyId)
  const arn = `arn:aws:kms:sichuan:domain-1:key/${id}`
  t.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  for (const name of [id, 'alias/photos', arn]) {
    const found = await keys.describeKey({ keyId: name, scope: tenant })
    t.match(found, { keyId, arn, origin: 'customer', aliases: ['photos'], state: 'enabled' }, name)
  }
  t.equal((await keys.describeKey({ keyId: arn })).keyId, keyId)
  for (const name of [id, 'alias/photos', arn, keyId]) {
    await t.rejects(keys.describeKey({ keyId: name, scope: other }), { code: 'KeyNotFound' }, name)
  }
  await keys.defaultKey(tenant) // which has no alias
  for (const alias of ['alias/none', 'alias/undefined']) {
    await t.rejects(keys.describeKey({ keyId: alias, scope: tenant }), { code: 'KeyNotFound' }, alias)
  }
})

t.test('rows of other instances, and of the embedded key store, are not its own', async t => {
  const kms = memoryKms({ instance: 'domain-1' })
  const rows = register()
  await rows.claim('default-key/sichuan/domain-1', 'arn:aws:kms:sichuan:domain-1:key/x')
  await rows.claim('default-key/sichuan/domain-1/other', 'other:key')
  const keys = registered(kms, { register: rows })
  t.strictSame(await keys.acceptedKeys(tenant), [])
  t.strictSame(await keys.acceptedKeys({ region: 'sichuan', domainId: '' }), [])
  t.match((await keys.defaultKey(tenant)).keyId, /^domain-1:/)
})

t.test('ids of keys: their own UUID, or UUIDv5', async t => {
  const own = '4f1cd4de-ab64-4807-920a-47fc42e7f0d0'
  t.equal(clientKeyId(`arn:aws:kms:eu-west-1:111122223333:key/${own}`), own)
  t.equal(clientKeyId(`dew1:project/${own}`), own)
  const made = clientKeyId('hsm1:id=0A1B')
  t.match(made, /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  t.equal(made, clientKeyId('hsm1:id=0A1B'))
  t.not(made, clientKeyId('hsm2:id=0A1B'))
  t.not(defaultKeyName({ region: 'a', domainId: 'b-c' }), defaultKeyName({ region: 'a-b', domainId: 'c' }))
  const [long, other] = ['0', '1'].map(end =>
    defaultKeyName({ region: 'ap-southeast-1', domainId: 'd'.repeat(63) + end }),
  )
  t.match(long, /^[A-Za-z0-9_-]{64}$/, 'no longer than key managers take')
  t.not(long, other)
})
