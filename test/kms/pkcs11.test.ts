/** The provider `pkcs11` on real tokens: SoftHSM 2 and the softoken of NSS. Skips, in one line, where one is missing. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { equal } from '../../lib/bytes.ts'
import { parseEnvelope } from '../../lib/envelope/envelope.ts'
import { SseError } from '../../lib/errors.ts'
import { encryptionContext } from '../../lib/kms/context.ts'
import { DataKey } from '../../lib/kms/data-key.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'
import type { KeyManager } from '../../lib/kms/manager.ts'
import { loadModule } from '../../lib/kms/pkcs11/module.ts'
import { pkcs11Kms } from '../../lib/kms/pkcs11/pkcs11.ts'
import { createSse } from '../../lib/object/node.ts'
import { runConformance } from '../../lib/testing.ts'
import { bodyOf, get, put } from '../support/body.ts'
import { noSoftHsm, noSoftoken, startSoftHsm, startSoftoken, type TestToken } from '../support/pkcs11.ts'

const context = encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::photos/a' })
const otherContext = encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::photos/b' })
const mechanisms = ['aes-gcm', 'aes-key-wrap'] as const

const directory = t.testdir()
const tokens = [
  { name: 'SoftHSM', missing: noSoftHsm, start: startSoftHsm },
  { name: 'softoken', missing: noSoftoken, start: startSoftoken },
]

const bytesOf = (key: DataKey): Buffer => {
  const bytes = Buffer.from(key.bytes)
  key.dispose()
  return bytes
}

const failureOf = async (work: Promise<unknown>): Promise<SseError> => {
  try {
    await work
  } catch (error) {
    if (error instanceof SseError) return error
    throw error
  }
  throw new TypeError('it did not fail')
}

/** Each key manager on each token. */
const onEach = (
  what: string,
  body: (t: Test, token: TestToken, mechanism: (typeof mechanisms)[number]) => Promise<void>,
) => {
  for (const { name, missing, start } of tokens) {
    for (const mechanism of mechanisms) {
      t.test(`${what}: ${name}, ${mechanism}`, { skip: missing }, async t => {
        const token = await start(directory, mechanism)
        t.teardown(() => token.stop())
        await body(t, token, mechanism)
      })
    }
  }
}

onEach('wraps and unwraps', async (t, { kms, keyId, otherKeyId }, mechanism) => {
  const binds = mechanism === 'aes-gcm'
  t.equal(kms.name, 'pkcs11')
  t.equal(kms.bindsContext, binds)
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  const plain = bytesOf(key)
  t.match(wrapped, { provider: 'pkcs11', keyId, wrapAlg: 1 })
  t.equal(wrapped.blob.length, binds ? 60 : 40)
  t.strictSame(bytesOf(await kms.unwrapDataKey({ wrapped, context })), plain)
  const given = new DataKey(new Uint8Array(randomBytes(32)))
  const [first, second] = [
    await kms.wrapDataKey(given, { keyId, context }),
    await kms.wrapDataKey(given, { keyId, context }),
  ]
  t.equal(equal(first.blob, second.blob), !binds, 'a nonce is new for each wrap; a key wrap has none')
  t.strictSame(bytesOf(await kms.unwrapDataKey({ wrapped: second, context })), bytesOf(given))
  const moved = await kms.rewrapDataKey({
    from: { wrapped, context },
    to: { keyId: otherKeyId, context: otherContext },
  })
  t.equal(moved.keyId, otherKeyId)
  t.strictSame(bytesOf(await kms.unwrapDataKey({ wrapped: moved, context: otherContext })), plain)
  const elsewhere = kms.unwrapDataKey({ wrapped, context: otherContext })
  if (binds) await t.rejects(elsewhere, { code: 'NotAuthentic' }, 'another context')
  else t.strictSame(bytesOf(await elsewhere), plain)
  await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, keyId: otherKeyId }, context }), { code: 'NotAuthentic' })
})

onEach('a blob that was changed', async (t, { kms, keyId }) => {
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  const plain = bytesOf(key)
  const { blob } = wrapped
  for (let i = 0; i < blob.length; i++) {
    const changed = Uint8Array.from(blob)
    changed[i] = (changed[i] ?? 0) ^ 1
    const failure = await failureOf(kms.unwrapDataKey({ wrapped: { ...wrapped, blob: changed }, context }))
    if (failure.code !== 'NotAuthentic') t.fail(`byte ${i}: ${failure.code}`)
  }
  for (const wrong of [blob.subarray(1), new Uint8Array([...blob, 0]), new Uint8Array()]) {
    await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, blob: wrong }, context }), { code: 'NotAuthentic' })
  }
  await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, wrapAlg: 2 }, context }), { code: 'NotAuthentic' })
  await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, provider: 'kmip' }, context }), { code: 'NotAuthentic' })
  t.strictSame(bytesOf(await kms.unwrapDataKey({ wrapped, context })), plain, 'the token works on')
})

onEach('keys that cannot be used', async (t, { kms, keyId, otherKeyId, elsewhere, options }, mechanism) => {
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  key.dispose()
  const unknown = `${options.instance}:id=00FF00FF`
  for (const wrong of [
    unknown,
    keyId.toLowerCase(),
    keyId.replace(options.instance, 'hsm9'),
    `${keyId}0`,
    'test',
    '',
  ]) {
    await t.rejects(kms.generateDataKey({ keyId: wrong, context }), { code: 'KeyNotFound' }, wrong)
    await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, keyId: wrong }, context }), { code: 'KeyNotFound' })
  }
  t.match(await kms.disable(keyId), { keyId, state: 'disabled', name: 'test' })
  t.match(await kms.describe(keyId), { keyId, state: 'disabled' })
  await t.rejects(kms.generateDataKey({ keyId, context }), { code: 'KeyDisabled' })
  await t.rejects(kms.unwrapDataKey({ wrapped, context }), { code: 'KeyDisabled' })
  t.match(await kms.enable(keyId), { keyId, state: 'enabled' })
  ;(await kms.unwrapDataKey({ wrapped, context })).dispose()

  const found = `const [key] = find([{ type: api.CKA_ID, value: Buffer.from('${keyId.split('=')[1]}', 'hex') }]);`
  const attribute = mechanism === 'aes-gcm' ? 'CKA_DECRYPT' : 'CKA_UNWRAP'
  await elsewhere(`${found} native.C_SetAttributeValue(session, key, [{ type: api.${attribute}, value: false }])`)
  await t.rejects(kms.unwrapDataKey({ wrapped, context }), { code: 'KeyDisabled' }, 'disabled by another process')
  await t.rejects(kms.generateDataKey({ keyId, context }), { code: 'KeyDisabled' }, 'one of the two uses is enough')
  await kms.enable(keyId)
  ;(await kms.unwrapDataKey({ wrapped, context })).dispose()
  await elsewhere(`${found} native.C_DestroyObject(session, key)`)
  await t.rejects(kms.unwrapDataKey({ wrapped, context }), { code: 'KeyNotFound' }, 'destroyed by another process')

  await t.rejects(kms.scheduleDeletion(otherKeyId, { days: 7 }), { code: 'NotImplemented' })
  t.match(await kms.describe(otherKeyId), { state: 'enabled' }, 'nothing was destroyed')
  t.match(await kms.scheduleDeletion(otherKeyId), { keyId: otherKeyId, state: 'pending-deletion' })
  await t.rejects(kms.describe(otherKeyId), { code: 'KeyNotFound' })
  await t.rejects(kms.scheduleDeletion(otherKeyId), { code: 'KeyNotFound' })
})

onEach('keys are made, found and listed', async (t, { kms, keyId, options, elsewhere }) => {
  const name = `made-${randomBytes(4).toString('hex')}`
  const made = await Promise.all(Array.from({ length: 10 }, () => kms.create(name)))
  t.equal(new Set(made.map(key => key.keyId)).size, 10, 'a name is no lock')
  for (const key of made) {
    t.match(key, { keyId: new RegExp(`^${options.instance}:id=[0-9A-F]{32}$`), state: 'enabled', name })
  }
  const found = await kms.find(name)
  t.strictSame(found.map(key => key.keyId).sort(), made.map(key => key.keyId).sort())
  const listed = (await kms.list()).map(key => key.keyId)
  for (const key of [keyId, ...found.map(key => key.keyId)]) t.ok(listed.includes(key))
  t.strictSame(await kms.find('no-such'), [])
  await t.rejects(kms.describe('no-such'), { code: 'KeyNotFound' })
  await t.rejects(kms.describe(name), { code: 'KeyNotFound', message: /Several keys/ })
  await t.rejects(kms.create('a b'), RangeError)
  for (const key of found.slice(1)) await kms.scheduleDeletion(key.keyId)
  t.strictSame(await kms.describe(name), found[0], 'a label names a key, if it is the only one')
  const attributes = await elsewhere(`
    const [key] = find([{ type: api.CKA_LABEL, value: '${name}' }])
    const types = [api.CKA_TOKEN, api.CKA_PRIVATE, api.CKA_SENSITIVE, api.CKA_EXTRACTABLE, api.CKA_SIGN, api.CKA_DERIVE]
    return native.C_GetAttributeValue(session, key, types.map(type => ({ type }))).map(({ value }) => value[0])`)
  t.strictSame(attributes, [1, 1, 1, 0, 0, 0], 'it lies in the token, and cannot be read out')
  const id = found[0]?.keyId ?? ''
  await elsewhere(`
    native.C_GenerateKey(session, { mechanism: api.CKM_AES_KEY_GEN }, [
      { type: api.CKA_CLASS, value: api.CKO_SECRET_KEY }, { type: api.CKA_KEY_TYPE, value: api.CKK_AES },
      { type: api.CKA_VALUE_LEN, value: 32 }, { type: api.CKA_TOKEN, value: true },
      { type: api.CKA_ID, value: Buffer.from('${id.split('=')[1]}', 'hex') }])`)
  const fresh = pkcs11Kms(options)
  // softoken puts the new key in place of the old one.
  if (options.instance === 'hsm1')
    await t.rejects(fresh.generateDataKey({ keyId: id, context }), { code: 'KeyNotFound', message: /several/ })
  await fresh.close()
})

onEach('200 calls at once', async (t, { kms, keyId, options }) => {
  const { native } = await loadModule(options.module)
  const fresh = pkcs11Kms({ ...options, sessions: 3 })
  const sessions = new Set<string>()
  let most = 0
  const [open, close] = [native.C_OpenSession, native.C_CloseSession]
  native.C_OpenSession = (...args) => {
    const session = open.apply(native, args)
    sessions.add(session.toString('hex'))
    most = Math.max(most, sessions.size)
    return session
  }
  native.C_CloseSession = session => {
    sessions.delete(session.toString('hex'))
    close.call(native, session)
  }
  t.teardown(() => {
    native.C_OpenSession = open
    native.C_CloseSession = close
  })
  const wrong = await Promise.all(
    Array.from({ length: 200 }, async () => {
      const target = { keyId, context }
      const { key, wrapped } = await fresh.generateDataKey(target)
      const again = await fresh.unwrapDataKey({ wrapped, context })
      return !bytesOf(key).equals(bytesOf(again))
    }),
  )
  t.strictSame(new Set(wrong), new Set([false]))
  t.ok(most > 1 && most <= 4, `${most} sessions: at most three that work, and the one that keeps the login`)
  const last = fresh.generateDataKey({ keyId, context })
  await sleep(0)
  await fresh.close()
  await last.then(
    ({ key }) => key.dispose(),
    () => undefined,
  )
  t.equal(sessions.size, 0, 'all of them are closed')
  await fresh.close()
  await t.rejects(fresh.generateDataKey({ keyId, context }), TypeError, 'closed')
  ;(await kms.generateDataKey({ keyId, context })).key.dispose()
})

/** Does something whenever the module is about to wrap, unwrap or make a key. */
const onUse = async (t: Test, { options }: TestToken, act: () => void): Promise<void> => {
  const { native } = await loadModule(options.module)
  const { C_EncryptAsync, C_DecryptAsync, C_WrapKey, C_UnwrapKey, C_GenerateKeyAsync } = native
  const kept = { C_EncryptAsync, C_DecryptAsync, C_WrapKey, C_UnwrapKey, C_GenerateKeyAsync }
  for (const [name, work] of Object.entries(kept)) {
    const before = (...args: readonly unknown[]): unknown => {
      act()
      return Reflect.apply(work, native, args)
    }
    Object.assign(native, { [name]: before })
  }
  t.teardown(() => Object.assign(native, kept))
}

onEach('calls are given up at once, and only so many wait', async (t, token) => {
  const { kms, keyId, options } = token
  const small = pkcs11Kms({ ...options, sessions: 1, queue: 2 })
  t.teardown(() => small.close())
  const ask = (signal?: AbortSignal) => small.generateDataKey({ keyId, context }, { signal })
  ;(await ask()).key.dispose()
  const all = await Promise.allSettled([ask(), ask(), ask(), ask(), ask()])
  t.strictSame(
    all.map(each => (each.status === 'rejected' ? each.reason.code : each.status)),
    ['fulfilled', 'fulfilled', 'fulfilled', 'KmsThrottled', 'KmsThrottled'],
  )
  const reason = new Error('enough')
  await t.rejects(ask(AbortSignal.abort(reason)), reason, 'before it began')
  const waits = new AbortController()
  const [first, waiting, last] = [ask(), ask(waits.signal), ask()]
  waits.abort(reason)
  await t.rejects(waiting, reason, 'while it waits')
  for (const call of [first, last]) (await call).key.dispose()

  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  key.dispose()
  let controller = new AbortController()
  await onUse(t, token, () => controller.abort(reason))
  await t.rejects(ask(controller.signal), reason, 'while the token wraps')
  controller = new AbortController()
  const made: DataKey[] = []
  const dispose = DataKey.prototype.dispose
  DataKey.prototype.dispose = function () {
    made.push(this)
    dispose.call(this)
  }
  t.teardown(() => {
    DataKey.prototype.dispose = dispose
  })
  await t.rejects(small.unwrapDataKey({ wrapped, context }, { signal: controller.signal }), reason, 'while it unwraps')
  const [next] = await Promise.all([small.unwrapDataKey({ wrapped, context }), small.describe(keyId)])
  t.equal(made.length, 1, 'the key that came too late was wiped')
  next.dispose()

  controller = new AbortController()
  await t.rejects(small.create('given-up', { signal: controller.signal }), reason, 'while it makes a key')
  await small.describe(keyId) // in the only session, so after
  t.strictSame(await kms.find('given-up'), [], 'a key that nobody knows of is destroyed')
})

onEach('objects under a key of the token', async (t, { kms, keyId }, mechanism) => {
  const local = await LocalKms.open(t.testdir(), { root: { key: new Uint8Array(randomBytes(32)) } })
  t.teardown(() => local.close())
  const { keyId: localId } = await local.createKey({ region: 'r', domainId: 'd' })
  const sse = createSse({ kms, accept: [keyId] })
  t.teardown(() => sse.dispose())
  const names = {
    context: { 'aws:s3:arn': 'arn:aws:s3:::photos/a' },
    bucketContext: { 'aws:s3:arn': 'arn:aws:s3:::photos' },
  }
  for (const bucketKey of [false, true]) {
    const plaintext = bodyOf(100_000, 7)
    const writing = await sse.encrypt({ length: plaintext.length, ...names, bucketKey })
    const body = await put(writing, plaintext)
    const { envelope } = writing.result()
    const { wrapped } = parseEnvelope(envelope).record
    t.equal(wrapped.wrapAlg, bucketKey ? 3 : mechanism === 'aes-gcm' ? 1 : 4)
    t.ok(equal(await get(await sse.decrypt(envelope, names), body), plaintext))
    const elsewhere = { ...names, context: { 'aws:s3:arn': 'arn:aws:s3:::photos/b' } }
    await t.rejects(sse.decrypt(envelope, elsewhere), { code: 'NotAuthentic' }, 'under another name')
  }
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  const there = await kms.unwrapDataKey({ wrapped, context })
  const atLocal = await local.wrapDataKey(there, { keyId: localId, context })
  const back = await kms.wrapDataKey(await local.unwrapDataKey({ wrapped: atLocal, context }), { keyId, context })
  t.strictSame(bytesOf(await kms.unwrapDataKey({ wrapped: back, context })), bytesOf(key), 'to local and back')
})

onEach('the conformance suite', async (t, { kms, keyId, otherKeyId, options, remove, putBack }) => {
  const report = await runConformance({
    kms,
    keyId,
    otherKeyId,
    missing: `${options.instance}:id=00FF00FF`,
    spellings: [keyId.toLowerCase(), keyId.replace('=', '=00')],
    secrets: [typeof options.pin === 'string' && options.pin.length > 4 ? options.pin : 'no secret'],
    unavailable:
      options.instance === 'nss1' // its files stay open
        ? undefined
        : async () => {
            remove()
            return async () => {
              putBack()
              await sleep(1050)
            }
          },
  })
  for (const { name, outcome, reason = '' } of report.results) {
    if (outcome === 'not applicable') t.comment(`${name}: ${reason}`)
    else t.equal(outcome, 'passed', `${name} ${reason}`)
  }
})

for (const { name, missing, start } of tokens) {
  t.test(`sessions that were lost: ${name}`, { skip: missing }, async t => {
    const { kms, keyId, options, stop } = await start(directory, 'aes-gcm')
    const second = pkcs11Kms({ ...options, instance: 'second' })
    t.teardown(() => {
      second.close()
      return stop()
    })
    const secondId = keyId.replace(options.instance, 'second')
    const works = async (kms: KeyManager, keyId: string, what: string) => {
      const { key, wrapped } = await kms.generateDataKey({ keyId, context })
      t.strictSame(bytesOf(await kms.unwrapDataKey({ wrapped, context })), bytesOf(key), what)
    }
    const { native } = await loadModule(options.module)
    const slot = native.C_GetSlotList(true).find(slot => native.C_GetTokenInfo(slot).label.trimEnd() === options.token)
    if (slot === undefined) throw new TypeError('the token is there')
    await works(kms, keyId, 'one instance')
    await works(second, secondId, 'two of one module')
    native.C_CloseAllSessions(slot)
    await works(kms, keyId, 'all sessions were closed')
    await works(second, secondId, 'the other instance too')
    native.C_Finalize()
    await works(kms, keyId, 'the module was finalized')
    await works(second, secondId, 'the other instance too')
    const session = native.C_OpenSession(slot, 4)
    native.C_Logout(session)
    native.C_CloseSession(session)
    await works(kms, keyId, 'the user was logged out')
    await kms.close()
    await works(second, secondId, 'one instance closed, the other goes on')
  })

  t.test(`a wrong PIN: ${name}`, { skip: missing }, async t => {
    const { options, keyId, stop } = await start(directory, 'aes-gcm')
    await stop() // the login is the process's: nobody else is logged in
    const { native } = await loadModule(options.module)
    const logIn = native.C_Login.bind(native)
    const tried: unknown[] = []
    native.C_Login = (session, user, pin) => {
      tried.push(pin)
      logIn(session, user, pin)
    }
    t.teardown(() => {
      native.C_Login = logIn
    })
    const right = typeof options.pin === 'string' ? options.pin : ''
    const wrong = 'Wrong-pin-9'
    const fixed = pkcs11Kms({ ...options, pin: wrong })
    let pin = wrong
    const asked = pkcs11Kms({ ...options, pin: async () => pin })
    for (const kms of [fixed, asked]) {
      for (let i = 0; i < 3; i++) {
        const failure = await failureOf(kms.generateDataKey({ keyId, context }))
        t.match(failure, { code: 'KeyAccessDenied', message: /PIN/ })
        for (const shown of [
          inspect(failure, { depth: 9, showHidden: true }),
          JSON.stringify(failure),
          inspect(kms, { depth: 9, showHidden: true }),
        ]) {
          t.notOk(shown.includes(wrong), 'no PIN is shown')
        }
        await sleep(1050)
      }
    }
    t.strictSame(tried, [wrong, wrong], 'each tried it once')
    pin = right
    ;(await asked.generateDataKey({ keyId, context })).key.dispose()
    t.strictSame(tried, [wrong, wrong, right], 'a corrected PIN is tried')
    await asked.close()
  })
}

t.test('the token is taken away, and comes back: SoftHSM', { skip: noSoftHsm }, async t => {
  const token = await startSoftHsm(directory, 'aes-gcm')
  const { kms, keyId } = token
  t.teardown(() => token.stop())
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  token.remove()
  try {
    for (let i = 0; i < 3; i++) {
      await t.rejects(kms.unwrapDataKey({ wrapped, context }), { code: 'KmsUnavailable' }, 'not "there is no such key"')
      await t.rejects(kms.list(), { code: 'KmsUnavailable' })
    }
    await sleep(1050)
    await t.rejects(kms.unwrapDataKey({ wrapped, context }), { code: 'KmsUnavailable' })
  } finally {
    token.putBack()
  }
  await sleep(1050)
  t.strictSame(bytesOf(await kms.unwrapDataKey({ wrapped, context })), bytesOf(key))
})

t.test('options', async t => {
  const options = { instance: 'hsm1', module: '/nowhere/module.so', token: 'kms', pin: 'x' }
  t.throws(() => pkcs11Kms({ ...options, instance: 'HSM' }), RangeError)
  t.throws(() => pkcs11Kms({ ...options, sessions: 0 }), RangeError)
  t.throws(() => pkcs11Kms({ ...options, queue: 1.5 }), RangeError)
  const target = { keyId: 'hsm1:id=00', context }
  const absent = await failureOf(pkcs11Kms(options).generateDataKey(target))
  t.match(absent, { code: 'KmsUnavailable', message: /option module/ })
  t.notMatch(absent.message, /nowhere/)
  const noPin = pkcs11Kms({ ...options, pin: () => Promise.reject(new Error('no file')) })
  await t.rejects(noPin.generateDataKey(target), { code: 'KmsUnavailable', message: /pin failed/ })
})

t.test('which token: SoftHSM', { skip: noSoftHsm }, async t => {
  const { kms, keyId, options, stop } = await startSoftHsm(directory, 'aes-gcm')
  t.teardown(stop)
  ;(await kms.generateDataKey({ keyId, context })).key.dispose()
  const other = pkcs11Kms({ ...options, token: 'no such token' })
  await t.rejects(other.generateDataKey({ keyId, context }), { code: 'KmsUnavailable', message: /option token/ })
  ;(await kms.generateDataKey({ keyId, context })).key.dispose()
  const { native } = await loadModule(options.module)
  const slot = native.C_GetSlotList(true).find(slot => native.C_GetTokenInfo(slot).label.trimEnd() === options.token)
  const bySlot = pkcs11Kms({ ...options, token: { slot: Number(slot?.readBigUInt64LE()) } })
  t.teardown(() => bySlot.close())
  ;(await bySlot.generateDataKey({ keyId, context })).key.dispose()
})
