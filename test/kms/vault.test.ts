/**
 * The key manager over Vault's Transit engine: against a stand-in with real cryptography, which the real client `node-vault` is content with
 * too. No live Vault or OpenBao was reached.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import nodeVault from 'node-vault'
import t from 'tap'
import { equal, fromUtf8, utf8 } from '../../lib/bytes.ts'
import { parseEnvelope } from '../../lib/envelope/envelope.ts'
import { SseError } from '../../lib/errors.ts'
import { checkedWrapper } from '../../lib/kms/checked.ts'
import { encryptionContext } from '../../lib/kms/context.ts'
import { DataKey } from '../../lib/kms/data-key.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'
import type { DataKeyWrapper, WrappedKey } from '../../lib/kms/provider.ts'
import { vaultKms } from '../../lib/kms/vault/vault.ts'
import { createSse } from '../../lib/object/node.ts'
import { runConformance } from '../../lib/testing.ts'
import { bodyOf, get, put } from '../support/body.ts'
import { makeCertificate, noOpenssl } from '../support/certificate.ts'
import { FakeVault, type Policy, recommended, startVault } from '../support/vault.ts'

const arn = { 'aws:s3:arn': 'arn:aws:s3:::photos/a' }
const context = encryptionContext(arn)
const other = encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::photos/b' })
const started: Awaited<ReturnType<typeof startVault>>[] = []
t.afterEach(async () => {
  for (const each of started.splice(0)) await each.stop()
})
const start = async (...options: Parameters<typeof startVault>) => {
  const each = await startVault(...options)
  started.push(each)
  return each
}
const without =
  (right: string): Policy =>
  (capability, path) =>
    recommended(capability, path) && !`${capability} ${path}`.includes(right)

const sameKey = async (kms: DataKeyWrapper, wrapped: WrappedKey, key: DataKey, under = context): Promise<boolean> => {
  const again = await kms.unwrapDataKey({ wrapped, context: under })
  try {
    return equal(again.bytes, key.bytes)
  } finally {
    again.dispose()
  }
}

t.test('wraps: generate, wrap, unwrap, rewrap', async t => {
  const { kms, keyId, otherKeyId, vault } = await start()
  t.match(kms, { name: 'vault-transit', instance: 'vault-main', bindsContext: true })
  t.equal(keyId, 'vault-main:transit/photos')
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  t.match(
    { ...wrapped, blob: fromUtf8(wrapped.blob) },
    { provider: 'vault-transit', keyId, wrapAlg: 1, blob: /^vault:v1:/ },
  )
  t.ok(await sameKey(kms, wrapped, key))
  t.ok(await sameKey(kms, await kms.wrapDataKey(key, { keyId: otherKeyId, context }), key))

  await kms.rotate?.(keyId)
  const from = { wrapped, context }
  const renewed = await kms.rewrapDataKey({ from, to: { keyId, context } })
  t.match(fromUtf8(renewed.blob), /^vault:v2:/)
  t.ok(await sameKey(kms, renewed, key))
  t.equal(vault.count('transit/rewrap'), 1)
  t.ok(
    await sameKey(kms, await kms.rewrapDataKey({ from, to: { keyId, context: other } }), key, other),
    'another context',
  )
  t.ok(await sameKey(kms, await kms.rewrapDataKey({ from, to: { keyId: otherKeyId, context } }), key), 'another key')
  t.equal(vault.count('transit/rewrap'), 1, 'rewrap keeps key and context: a move is decrypt and encrypt')
  key.dispose()
})

t.test('a blob opens under its key and context alone, in its one spelling', async t => {
  const { kms, keyId, otherKeyId, vault } = await start()
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  key.dispose()
  const fails = (changed: Partial<WrappedKey>, under = context, what = '') =>
    t.rejects(
      kms.unwrapDataKey({ wrapped: { ...wrapped, ...changed }, context: under }),
      { code: 'NotAuthentic' },
      what,
    )
  await fails({}, other, 'another context')
  await fails({ keyId: otherKeyId }, context, 'another key')
  await fails({ provider: 'aws-kms' })
  await fails({ wrapAlg: 2 })
  for (let i = 0; i < wrapped.blob.length; i++) {
    for (const bit of [1, 64]) {
      const blob = Uint8Array.from(wrapped.blob)
      blob[i] = (blob[i] ?? 0) ^ bit
      await fails({ blob }, context, `byte ${i}`)
    }
  }
  const asked = vault.count('decrypt')
  const text = fromUtf8(wrapped.blob)
  for (const spelling of [
    text.replace('v1', 'v0'),
    text.replace('v1', 'v01'),
    text.replace('v1', 'v+1'),
    `${text}\n`,
    `${text}=`,
    '',
  ]) {
    await fails({ blob: utf8(spelling) }, context, spelling.slice(0, 12))
  }
  await fails({ blob: Uint8Array.of(255) })
  t.equal(vault.count('decrypt'), asked, 'Vault, which reads some of them, was not asked')
})

t.test('a ciphertext with other bits after its end is not the same blob', async t => {
  const { vault, open } = await start()
  const kms = open({ derived: false })
  const { keyId } = (await kms.create?.('plain')) ?? {}
  if (keyId === undefined) return t.fail()
  const key = vault.keys.get('plain')
  t.equal(key?.derived, false)
  // 61 bytes and no padding of zeros: Vault's own base64 ignores the last bits.
  const { key: dek, wrapped } = await kms.generateDataKey({ keyId, context })
  dek.dispose()
  const text = fromUtf8(wrapped.blob)
  await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, blob: utf8(`${text.slice(0, -4)}QR==`) }, context }), {
    code: 'NotAuthentic',
  })
  await kms.close?.()
})

t.test('ids have one spelling, and other instances have none here', async t => {
  const { kms, keyId, vault } = await start()
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  const before = vault.requests.length
  const ids = [
    'vault-2:transit/photos',
    'vault-main:transit2/photos',
    'vault-main:transit/',
    'vault-main:transit/../x',
    'vault-main:transit/a/b',
  ]
  for (const id of [...ids, 'vault-main:transit/photos?', 'photos', '', 'vault-main:TRANSIT/photos']) {
    const target = { keyId: id, context }
    const from = { wrapped: { ...wrapped, keyId: id }, context }
    await t.rejects(kms.generateDataKey(target), { code: 'KeyNotFound' }, id)
    await t.rejects(kms.wrapDataKey(key, target), { code: 'KeyNotFound' }, id)
    await t.rejects(kms.unwrapDataKey(from), { code: 'KeyNotFound' }, id)
    await t.rejects(kms.rewrapDataKey({ from, to: { keyId, context } }), { code: 'KeyNotFound' }, id)
    await t.rejects(async () => kms.rotate?.(id), { code: 'KeyNotFound' }, id)
    await t.rejects(async () => kms.scheduleDeletion?.(id), { code: 'KeyNotFound' }, id)
    if (id !== 'photos') await t.rejects(kms.describe(id), { code: 'KeyNotFound' }, id)
  }
  t.equal(vault.requests.length, before, 'without a call')
  key.dispose()
  const options = { address: 'https://vault', auth: { method: 'token', token: 'x' } } as const
  for (const change of [
    { instance: 'V' },
    { mount: '/transit' },
    { mount: 'a//b' },
    { mount: '' },
    { address: 'vault:8200' },
    { address: 'ftp://v' },
    { address: 'https://u:p@v' },
    { address: 'https://v/?q' },
  ]) {
    t.throws(() => vaultKms({ instance: 'v', ...options, ...change }), RangeError, JSON.stringify(change))
  }
})

t.test('keys are described, found, listed, made, rotated and deleted', async t => {
  const { kms, keyId, vault } = await start()
  t.match(await kms.describe('photos'), { keyId, state: 'enabled', name: 'photos', version: 1, created: Number })
  t.strictSame(await kms.describe(keyId), await kms.describe('photos'))
  t.equal((await kms.rotate?.(keyId))?.version, 2)
  t.match(await kms.find?.('photos'), [{ keyId, version: 2 }])
  t.strictSame(await kms.find?.('none'), [])
  t.strictSame(await kms.find?.('no/name'), [])
  t.strictSame(
    (await kms.list?.())?.map(({ name }) => name),
    ['films', 'photos'],
  )
  vault.keys.set('signer', { derived: false, type: 'ed25519', versions: [], minDecryption: 1, deletable: false })
  t.strictSame(
    (await kms.list?.())?.map(({ name }) => name),
    ['films', 'photos'],
    'no key that could not be used',
  )

  const ten = await Promise.all(Array.from({ length: 10 }, () => kms.create?.('one')))
  t.equal(new Set(ten.map(key => key?.keyId)).size, 1, 'names are locks')
  t.equal(vault.keys.get('one')?.versions.length, 1)
  await t.rejects(async () => kms.create?.('-x'), { code: 'InvalidKeyId' })

  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  t.match(await kms.scheduleDeletion?.(keyId, { days: 7 }), { keyId, state: 'pending-deletion', deletion: Number })
  t.notOk(vault.keys.has('photos'), 'at once: Transit has no waiting time')
  const gone = { code: 'KeyNotFound' }
  await t.rejects(kms.generateDataKey({ keyId, context }), gone)
  await t.rejects(kms.wrapDataKey(key, { keyId, context }), gone)
  await t.rejects(kms.unwrapDataKey({ wrapped, context }), gone)
  await t.rejects(kms.describe(keyId), gone)
  await t.rejects(async () => kms.rotate?.(keyId), gone)
  await t.rejects(async () => kms.scheduleDeletion?.(keyId), gone)
  key.dispose()
  vault.keys.clear()
  t.strictSame(await kms.list?.(), [])
})

t.test('a key that others delete, or make anew as another kind, is noticed', async t => {
  const { kms, keyId, vault } = await start()
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  vault.keys.delete('photos')
  await t.rejects(kms.generateDataKey({ keyId, context }), { code: 'KeyNotFound' })
  vault.policy = () => true // the right to create: a plain encryption would make a key
  await t.rejects(kms.wrapDataKey(key, { keyId, context }), { code: 'KeyNotFound' })
  t.notOk(vault.keys.has('photos'))
  vault.keys.set('photos', { derived: false, type: 'aes256-gcm96', versions: [], minDecryption: 1, deletable: false })
  await t.rejects(kms.unwrapDataKey({ wrapped, context }), { code: 'KeyAccessDenied', message: /not a derived one/ })
  key.dispose()
})

t.test('keys of the wrong kind are refused before anything lies under them', async t => {
  const { kms, vault, open } = await start()
  const plain = open({ derived: false })
  t.equal(plain.bindsContext, false)
  const { keyId } = (await plain.create?.('plain')) ?? {}
  if (keyId === undefined) return t.fail()
  const { key, wrapped } = await plain.generateDataKey({ keyId, context })
  t.ok(await sameKey(plain, wrapped, key, other), 'such a key binds no context')
  const refused = { code: 'KeyAccessDenied', message: /derived=true/ }
  await t.rejects(kms.describe(keyId), refused)
  await t.rejects(async () => kms.create?.('plain'), refused)
  const used = vault.count('/plain')
  await t.rejects(kms.generateDataKey({ keyId, context }), refused)
  await t.rejects(kms.wrapDataKey(key, { keyId, context }), refused)
  await t.rejects(kms.unwrapDataKey({ wrapped, context: other }), refused)
  t.equal(vault.count('/plain') - used, 3, 'only looked at')
  await t.rejects(plain.describe('photos'), { code: 'KeyAccessDenied', message: /set derived to true|Set derived/ })
  vault.keys.set('signer', { derived: false, type: 'ed25519', versions: [], minDecryption: 1, deletable: false })
  await t.rejects(plain.describe('signer'), { code: 'KeyAccessDenied', message: /does not encrypt/ })
  key.dispose()
  await plain.close?.()
})

t.test('rotation: old blobs open until min_decryption_version says otherwise', async t => {
  const { kms, keyId, vault } = await start()
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  await kms.rotate?.(keyId)
  t.ok(await sameKey(kms, wrapped, key))
  const renewed = await kms.rewrapDataKey({ from: { wrapped, context }, to: { keyId, context } })
  const stored = vault.keys.get('photos')
  if (stored !== undefined) stored.minDecryption = 2
  await t.rejects(kms.unwrapDataKey({ wrapped, context }), { code: 'KeyDisabled', message: /min_decryption_version/ })
  t.ok(await sameKey(kms, renewed, key))
  t.match(await kms.describe(keyId), { version: 2, created: undefined })
  key.dispose()
})

t.test('what Vault answers, and the error that it is', async t => {
  const { kms, keyId, vault } = await start()
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  key.dispose()
  const answers: readonly (readonly [number, unknown, Record<string, string>, Record<string, unknown>])[] = [
    [429, { errors: ['rate limit quota exceeded'] }, { 'retry-after': '7' }, { code: 'KmsThrottled', retryAfter: 7 }],
    [
      503,
      { errors: ['Vault is sealed'] },
      {},
      { code: 'KmsUnavailable', retryAfter: undefined, cause: /Vault is sealed/ },
    ],
    [
      503,
      '',
      { 'retry-after': new Date(Date.now() + 60_000).toUTCString() },
      { code: 'KmsUnavailable', retryAfter: Number },
    ],
    [503, '', { 'retry-after': 'soon' }, { code: 'KmsUnavailable', retryAfter: undefined }],
    [473, '', {}, { code: 'KmsUnavailable' }],
    [500, { errors: ['internal error'] }, {}, { code: 'KmsUnavailable' }],
    [412, { errors: ['required index state not present'] }, {}, { code: 'KmsUnavailable' }],
    [307, '', { location: 'https://other' }, { code: 'KmsUnavailable', message: /standby/ }],
    [
      404,
      { errors: ['no handler for route "transit/decrypt". route entry not found.'] },
      {},
      { code: 'KmsUnavailable', message: /Mount/ },
    ],
    [404, '<html>', {}, { code: 'KmsUnavailable', message: /Mount/ }],
    [400, { errors: ['something else'] }, {}, { code: 'KmsUnavailable', cause: /something else/ }],
    [200, 'not json', {}, { code: 'KmsUnavailable' }],
    [200, { data: { plaintext: 'AAAA' } }, {}, { code: 'NotAuthentic' }],
    [200, 'x'.repeat(5 << 20), {}, { code: 'KmsUnavailable', cause: /more than/ }],
  ]
  for (const [status, body, headers, expected] of answers) {
    vault.interposed = line => (line.includes('decrypt') ? [status, body, headers] : undefined)
    const error: unknown = await kms.unwrapDataKey({ wrapped, context }).catch((reason: unknown) => reason)
    t.match(error, expected, `${status} ${JSON.stringify(body).slice(0, 40)}`)
  }
  const lies = [
    { ciphertext: 'vault:v1:x', plaintext: randomBytes(32).toString('base64') },
    { ciphertext: fromUtf8(wrapped.blob), plaintext: 'AAAA' },
    {},
  ]
  for (const data of lies) {
    vault.interposed = line => (line.includes('datakey') ? [200, { data }] : undefined)
    await t.rejects(kms.generateDataKey({ keyId, context }), { code: 'KmsUnavailable' }, JSON.stringify(data))
  }
  vault.interposed = () => [200, { data: {} }]
  await t.rejects(kms.describe(keyId), { code: 'KmsUnavailable' })
  vault.interposed = undefined
  t.ok(await kms.describe(keyId))
})

t.test('a right that is missing is named, and no login storm follows', async t => {
  const { kms, keyId, vault } = await start()
  vault.policy = without('update transit/datakey')
  for (let i = 0; i < 20; i++) {
    await t.rejects(kms.generateDataKey({ keyId, context }), {
      code: 'KeyAccessDenied',
      message: /update datakey\/plaintext/,
    })
  }
  t.ok(vault.count('login') <= 2, `${vault.count('login')} logins`)
  vault.policy = without('read transit/keys')
  await t.rejects(kms.describe(keyId), { code: 'KeyAccessDenied', message: /read keys/ })
  t.strictSame(await kms.list?.(), [], 'keys that may not be read')
  await t.rejects(async () => kms.create?.('new'), { code: 'KeyAccessDenied' })
  vault.policy = without('list transit/keys')
  await t.rejects(async () => kms.list?.(), { code: 'KeyAccessDenied', message: /list/ })
})

t.test('a token that was revoked is had anew, once', async t => {
  const { kms, keyId, vault } = await start()
  await kms.generateDataKey({ keyId, context })
  await sleep(1100)
  vault.tokens.clear()
  const before = vault.count('login')
  const made = await Promise.all(Array.from({ length: 50 }, () => kms.generateDataKey({ keyId, context })))
  t.equal(made.length, 50)
  t.equal(vault.count('login') - before, 1, 'fifty calls share one login')
})

t.test('logins: AppRole, Kubernetes, tokens', async t => {
  const { keyId, vault, open } = await start()
  const works = async (auth: Parameters<typeof open>[0]) => {
    const kms = open(auth)
    t.ok(await kms.describe(keyId))
    await kms.close?.()
  }
  let asked = 0
  await works({ auth: { method: 'approle', roleId: vault.roleId, secretId: async () => `${vault.secretId}\n` } })
  await works({ auth: { method: 'kubernetes', role: 'gateway', jwt: () => vault.jwt } })
  await works({ auth: { method: 'token', token: vault.root } })
  const kms = open({
    auth: {
      method: 'token',
      token: () => {
        asked++
        return vault.grant()
      },
    },
  })
  t.ok(await kms.describe(keyId))
  t.equal(asked, 1)
  await sleep(1100)
  vault.tokens.clear()
  t.ok(await kms.describe(keyId), 'a token from a function is asked for anew')
  t.equal(asked, 2)
  await kms.close?.()

  const refused = { code: 'KeyAccessDenied', message: /refused the login/ }
  for (const auth of [
    { method: 'approle', roleId: vault.roleId, secretId: 'wrong' },
    { method: 'kubernetes', role: 'gateway', jwt: 'wrong' },
  ] as const) {
    const kms = open({ auth })
    const before = vault.count('login')
    for (let i = 0; i < 20; i++) await t.rejects(kms.describe(keyId), refused)
    t.equal(vault.count('login') - before, 1, 'a login that was refused is not tried again at once')
    await kms.close?.()
  }
  const lost = open({ auth: { method: 'token', token: 'hvs.gone' } })
  await t.rejects(lost.describe(keyId), { code: 'KeyAccessDenied' })
  t.equal(
    vault.requests.filter(({ line, headers }) => line.includes('keys') && headers['x-vault-token'] === 'hvs.gone')
      .length,
    1,
  )
  await lost.close?.()
  const unreadable = open({
    auth: { method: 'kubernetes', role: 'gateway', jwt: () => readFileSync('no-such-file', 'utf8') },
  })
  const error: unknown = await unreadable.describe(keyId).catch((reason: unknown) => reason)
  t.match(error, { code: 'KmsUnavailable', message: /could not be read \(ENOENT\)/ })
  t.notMatch(inspect(error), /no-such-file/)
  await unreadable.close?.()
})

t.test('leases: renewed before they end, and never in a storm', async t => {
  const vault = await new FakeVault().start()
  t.teardown(() => vault.stop())
  vault.keys.set('photos', {
    derived: true,
    type: 'aes256-gcm96',
    versions: [{ key: randomBytes(32), time: 0 }],
    minDecryption: 1,
    deletable: false,
  })
  const run = async (leases: FakeVault['leases'], ms = 2600) => {
    vault.leases = leases
    vault.requests.length = 0
    const kms = vaultKms({
      instance: 'v',
      address: vault.address,
      auth: { method: 'approle', roleId: vault.roleId, secretId: vault.secretId },
    })
    const until = performance.now() + ms
    let calls = 0
    while (performance.now() < until) {
      await kms.describe('photos').catch((error: unknown) => t.match(error, { code: 'KmsUnavailable' }))
      calls++
      await sleep(5)
    }
    await kms.close?.()
    return { calls, logins: vault.count('login'), renewals: vault.count('renew-self') }
  }
  const year = 365 * 86_400
  t.match(
    await run({ lease: 10 * year, most: 10 * year, renewable: true }, 300),
    { logins: 1, renewals: 0 },
    'longer than a timer',
  )
  t.match(await run({ lease: 0, most: 0, renewable: true }, 300), { logins: 1, renewals: 0 }, 'for ever')
  const kept = await run({ lease: 2, most: 3600, renewable: true })
  t.ok(kept.logins === 1 && kept.renewals >= 1 && kept.renewals <= 2, `2 s, renewable: ${JSON.stringify(kept)}`)
  const short = await run({ lease: 1, most: 2, renewable: true })
  t.ok(short.logins + short.renewals <= 8, `2 s at most: ${JSON.stringify(short)}`)
  const anew = await run({ lease: 1, most: 1, renewable: false })
  t.ok(anew.logins >= 2 && anew.logins <= 4 && anew.renewals === 0, `1 s, not renewable: ${JSON.stringify(anew)}`)
  vault.interposed = line => (line.includes('renew') ? [503, { errors: ['Vault is sealed'] }] : undefined)
  const sealed = await run({ lease: 2, most: 3600, renewable: true })
  t.ok(sealed.renewals >= 1 && sealed.renewals <= 3, `renewals that fail: ${JSON.stringify(sealed)}`)
  vault.interposed = undefined
  t.comment({ kept, short, anew, sealed })
})

t.test('a token that was handed in is renewed', async t => {
  const { keyId, vault, open } = await start()
  vault.leases = { lease: 2, most: 3600, renewable: true }
  const kms = open({ auth: { method: 'token', token: vault.grant() } })
  await kms.describe(keyId)
  await sleep(2500)
  t.ok(await kms.describe(keyId), 'past the lease that it came with')
  t.ok(vault.count('renew-self') >= 1)
  await kms.close?.()
})

t.test('two hundred calls at once', async t => {
  const { kms, keyId, vault } = await start()
  const before = vault.count('GET transit/keys')
  const all = await Promise.all(Array.from({ length: 200 }, () => kms.generateDataKey({ keyId, context })))
  t.ok((await Promise.all(all.map(({ key, wrapped }) => sameKey(kms, wrapped, key)))).every(Boolean))
  t.equal(new Set(all.map(({ wrapped }) => fromUtf8(wrapped.blob))).size, 200)
  t.equal(vault.count('login'), 1)
  t.equal(vault.count('GET transit/keys') - before, 1, 'the key was looked at once')
  for (const { key } of all) key.dispose()
})

t.test('an abort ends a call at once, and nothing else', async t => {
  const { kms, keyId, vault, open } = await start()
  const reason = new Error('no longer wanted')
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  let hung: (() => void) | undefined
  const hanging = new Promise<undefined>(resolve => {
    hung = () => resolve(undefined)
  })
  vault.interposed = line => (line.includes('decrypt') ? hanging : undefined)
  const controller = new AbortController()
  const aborted = Promise.all(
    Array.from({ length: 100 }, () =>
      t.rejects(kms.unwrapDataKey({ wrapped, context }, { signal: controller.signal }), reason),
    ),
  )
  await sleep(50)
  controller.abort(reason)
  await aborted
  await t.rejects(kms.unwrapDataKey({ wrapped, context }, { signal: controller.signal }), reason, 'before it began')
  vault.interposed = undefined
  hung?.()
  t.ok(await sameKey(kms, wrapped, key), 'the connections are sane')

  vault.interposed = line => (line.includes('login') ? hanging.then(() => sleep(200)).then(() => undefined) : undefined)
  const second = open()
  const leaving = new AbortController()
  const left = t.rejects(second.describe(keyId, { signal: leaving.signal }), reason)
  const stays = second.describe(keyId)
  leaving.abort(reason)
  await left
  t.ok(await stays, 'a login that another call waits for goes on')
  await second.close?.()
  key.dispose()
})

t.test('Vault is killed and comes back', async t => {
  const { kms, keyId, vault } = await start()
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  const under = Promise.allSettled(Array.from({ length: 20 }, () => kms.unwrapDataKey({ wrapped, context })))
  await vault.stop()
  for (const result of await under) {
    if (result.status === 'rejected') t.match(result.reason, { code: 'KmsUnavailable' })
    else result.value.dispose()
  }
  await t.rejects(kms.unwrapDataKey({ wrapped, context }), { code: 'KmsUnavailable', cause: /ECONNREFUSED/ })
  vault.tokens.clear() // one that keeps its tokens in memory
  await sleep(1100)
  await vault.start()
  t.ok(await sameKey(kms, wrapped, key))
  await kms.close?.()
  await kms.close?.()
  await t.rejects(kms.unwrapDataKey({ wrapped, context }), { code: 'KmsUnavailable' })
  key.dispose()
})

t.test('secrets are in no error, inspection or JSON, nor is a data key', async t => {
  const { keyId, vault, open } = await start()
  const kms = open({ tls: { key: 'PRIVATE', passphrase: 'PASSPHRASE' } })
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  const [token = ''] = [...vault.tokens.keys()].slice(-1)
  const shown: string[] = [inspect(kms, { depth: 20, showHidden: true }), JSON.stringify(kms)]
  const remember = (error: unknown) => {
    shown.push(inspect(error, { depth: 20, showHidden: true }), String(error))
  }
  for (const [status, body] of [
    [500, { errors: ['x'] }],
    [403, ''],
    [200, `{"data":{"plaintext":"${Buffer.from(key.bytes).toString('base64')}"`],
  ] as const) {
    vault.interposed = line => (line.includes('transit') ? [status, body] : undefined)
    await kms.unwrapDataKey({ wrapped, context }).catch(remember)
    await kms.wrapDataKey(key, { keyId, context }).catch(remember)
  }
  vault.interposed = undefined
  await open({ auth: { method: 'approle', roleId: vault.roleId, secretId: 'SECRET-ID' } })
    .describe(keyId)
    .catch(remember)
  await vault.stop()
  await kms.wrapDataKey(key, { keyId, context }).catch(remember)
  t.ok(shown.length > 8)
  const secrets = [
    token,
    vault.secretId,
    'SECRET-ID',
    'PRIVATE',
    'PASSPHRASE',
    Buffer.from(key.bytes).toString('base64'),
  ]
  for (const secret of secrets)
    t.notOk(
      shown.some(text => text.includes(secret)),
      secret.slice(0, 6),
    )
  key.dispose()
  await kms.close?.()
})

t.test('keys in memory are wiped', async t => {
  const { kms, keyId } = await start()
  const checked = checkedWrapper(kms)
  const { key, wrapped } = await checked.generateDataKey({ keyId, context })
  const moved = await kms.rewrapDataKey({ from: { wrapped, context }, to: { keyId, context: other } })
  t.ok(await sameKey(kms, moved, key, other))
  key.dispose()
  t.throws(() => key.bytes, TypeError)
})

t.test('the conformance suite', async t => {
  for (const derived of [true, false]) {
    const setup = await start({ derived })
    const report = await runConformance(setup)
    for (const { name, outcome, reason = '' } of report.results) {
      t.not(outcome, 'failed', `${name} ${reason}`)
      if (outcome === 'not applicable') t.comment(`not applicable: ${name}: ${reason}`)
    }
    t.ok(report.results.length > 10 && report.passed)
  }
})

t.test('namespaces and other mounts', async t => {
  const { vault, open } = await start()
  vault.namespace = 'team-a'
  vault.mount = 'teams/a/transit'
  const kms = open({ namespace: 'team-a', mount: 'teams/a/transit' })
  const { keyId } = (await kms.create?.('k')) ?? {}
  t.equal(keyId, 'vault-main:teams/a/transit/k')
  if (keyId === undefined) return
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  t.ok(await sameKey(kms, wrapped, key))
  key.dispose()
  const elsewhere = open({ namespace: 'team-b', mount: 'teams/a/transit' })
  await t.rejects(elsewhere.describe('k'), { code: 'KeyAccessDenied' })
  await kms.close?.()
  await elsewhere.close?.()
})

t.test('TLS: a CA of its own, and a certificate of the program', { skip: noOpenssl }, async t => {
  const files = makeCertificate(t.testdir())
  const [cert, key] = [readFileSync(files.cert, 'utf8'), readFileSync(files.key, 'utf8')]
  const vault = await new FakeVault({ cert, key, ca: cert }).start()
  t.teardown(() => vault.stop())
  const open = (tls?: Parameters<typeof vaultKms>[0]['tls']) =>
    vaultKms({ instance: 'v', address: vault.address, auth: { method: 'token', token: vault.root }, tls })
  const kms = open({ ca: cert, cert, key })
  t.ok(await kms.create?.('photos'))
  await kms.close?.()
  for (const tls of [undefined, { cert, key }, { ca: cert }, { ca: [cert], cert, key, servername: 'other.example' }]) {
    const refused = open(tls)
    await t.rejects(refused.describe('photos'), { code: 'KmsUnavailable' }, JSON.stringify(Object.keys(tls ?? {})))
    await refused.close?.()
  }
})

t.test('objects: encrypt, decrypt, bucket keys, and to local and back', async t => {
  const { kms, keyId, open } = await start()
  const root = { key: new Uint8Array(randomBytes(32)) }
  const local = await LocalKms.open(t.testdir(), { root })
  const { keyId: localKeyId } = await local.defaultKey({ region: 'r', domainId: 'd' })
  const plain = open({ derived: false })
  const { keyId: plainKeyId = '' } = (await plain.create?.('plain')) ?? {}
  const bucketContext = { 'aws:s3:arn': 'arn:aws:s3:::photos' }
  const plaintext = bodyOf(1000)
  for (const [provider, id, wrapAlg] of [
    [kms, keyId, 1],
    [plain, plainKeyId, 4],
  ] as const) {
    const sse = createSse({ kms: provider, accept: [id] })
    for (const bucketKey of [false, true]) {
      const options = { context: arn, bucketContext, bucketKey }
      const writing = await sse.encrypt(options)
      const body = await put(writing, plaintext)
      const { envelope } = writing.result()
      t.equal(parseEnvelope(envelope).record.wrapped.wrapAlg, bucketKey ? 3 : wrapAlg)
      t.ok(equal(await get(await sse.decrypt(envelope, options), body), plaintext))
      await t.rejects(sse.decrypt(envelope, { ...options, context: { 'aws:s3:arn': 'b' } }), { code: 'NotAuthentic' })
      const moved = await sse.rewrap(envelope, { ...options, to: { context: { 'aws:s3:arn': 'b' } } })
      t.ok(equal(await get(await sse.decrypt(moved, { context: { 'aws:s3:arn': 'b' } }), body), plaintext))
    }
    sse.dispose()
  }
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  const there = await local.wrapDataKey(await kms.unwrapDataKey({ wrapped, context }), { keyId: localKeyId, context })
  const back = await kms.wrapDataKey(await local.unwrapDataKey({ wrapped: there, context }), { keyId, context })
  t.ok(await sameKey(kms, back, key), 'to local and back')
  key.dispose()
  await plain.close?.()
  await local.close()
})

t.test('the stand-in is one to the real client node-vault', async t => {
  const { kms, keyId, vault } = await start()
  vault.policy = () => true
  const client = nodeVault({ endpoint: vault.address })
  const login = await client.approleLogin({ role_id: vault.roleId, secret_id: vault.secretId })
  client.token = login.auth.client_token
  await client.tokenLookupSelf()
  await client.tokenRenewSelf()
  await client.transitCreateKey({ name: 'theirs', derived: true })
  t.match(await client.transitReadKey({ name: 'theirs' }), { data: { derived: true, latest_version: 1 } })
  const shared = Buffer.from('a context').toString('base64')
  const plaintext = randomBytes(32).toString('base64')
  const sealed = await client.encryptData({ name: 'theirs', plaintext, context: shared })
  await client.write('transit/keys/theirs/rotate', {})
  const renewed = await client.rewrapData({ name: 'theirs', ciphertext: sealed.data.ciphertext, context: shared })
  t.match(renewed.data.ciphertext, /^vault:v2:/)
  const opened = await client.decryptData({ name: 'theirs', ciphertext: renewed.data.ciphertext, context: shared })
  t.equal(opened.data.plaintext, plaintext)
  const wrong = Buffer.from('another').toString('base64')
  await t.rejects(client.decryptData({ name: 'theirs', ciphertext: renewed.data.ciphertext, context: wrong }), {
    message: /authentication failed/,
  })
  await t.rejects(client.transitDeleteKey({ name: 'theirs' }), { message: /not allowed/ })

  // What one wraps the other opens: the key is the same, and the context is the digest in base64.
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  const { createHash } = await import('node:crypto')
  const digest = createHash('sha256').update(context.canonical).digest('base64')
  const theirs = await client.decryptData({ name: 'photos', ciphertext: fromUtf8(wrapped.blob), context: digest })
  t.equal(theirs.data.plaintext, Buffer.from(key.bytes).toString('base64'))
  const again = await client.encryptData({ name: 'photos', plaintext: theirs.data.plaintext, context: digest })
  t.ok(await sameKey(kms, { ...wrapped, blob: utf8(again.data.ciphertext) }, key))
  key.dispose()
})

t.test('an error keeps what Vault said as its cause', async t => {
  const { kms, vault } = await start()
  vault.interposed = () => [500, { errors: ['line one\nline two', 7] }]
  const error: unknown = await kms.describe('photos').catch((reason: unknown) => reason)
  t.ok(error instanceof SseError && error.cause instanceof Error)
  t.match(error, { cause: { message: 'GET transit/keys/photos: 500 line one line two' } })
})
