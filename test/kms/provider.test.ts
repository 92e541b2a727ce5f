/**
 * What the façade demands of a provider: answers that can be right, in time; whether its wraps are bound to their context; and which keys the
 * embedded key store accepts for a tenant. A provider that lies, hangs or throws seals nothing and opens nothing.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { concat, equal } from '../../lib/bytes.ts'
import { encodeEnvelope, parseEnvelope } from '../../lib/envelope/envelope.ts'
import { encodeRecord } from '../../lib/envelope/wrap-record.ts'
import { SseError } from '../../lib/errors.ts'
import { checkedAdministration } from '../../lib/kms/checked.ts'
import { encryptionContext } from '../../lib/kms/context.ts'
import { DataKey } from '../../lib/kms/data-key.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'
import type { CallOptions, GeneratedKey, KmsProvider, WrappedKey } from '../../lib/kms/provider.ts'
import { createSse } from '../../lib/object/node.ts'
import { bodyOf, get, put } from '../support/body.ts'

const keyId = 'kms1:key-1'
const context = { 'aws:s3:arn': 'arn:aws:s3:::photos/a' }
const bucketContext = { 'aws:s3:arn': 'arn:aws:s3:::photos' }

/** A key manager elsewhere: its blobs are random names of the keys that it keeps, each with the context that it was made under. */
const remote = (changes: Partial<KmsProvider> = {}) => {
  const kept = new Map<string, { readonly key: Uint8Array; readonly context: string }>()
  const made: DataKey[] = []
  const calls: string[] = []
  const nameOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
  const wrap = (key: Uint8Array, under: Uint8Array): WrappedKey => {
    const blob = new Uint8Array(randomBytes(40))
    kept.set(nameOf(blob), { key: Uint8Array.from(key), context: nameOf(under) })
    return { provider: 'kms1', keyId, wrapAlg: 1, blob }
  }
  const provider: KmsProvider = {
    name: 'kms1',
    bindsContext: true,
    generateDataKey: async ({ context }) => {
      calls.push('generate')
      const key = new DataKey(new Uint8Array(randomBytes(32)))
      made.push(key)
      return { key, wrapped: wrap(key.bytes, context.canonical) }
    },
    wrapDataKey: async (key, { context }) => {
      calls.push('wrap')
      return wrap(key.bytes, context.canonical)
    },
    unwrapDataKey: async ({ wrapped, context }) => {
      calls.push('unwrap')
      const found = kept.get(nameOf(wrapped.blob))
      const bound = provider.bindsContext ? nameOf(context.canonical) : found?.context
      if (found === undefined || found.context !== bound) throw new SseError('NotAuthentic')
      const key = new DataKey(Uint8Array.from(found.key))
      made.push(key)
      return key
    },
    rewrapDataKey: async ({ from, to }) => {
      calls.push('rewrap')
      const key = await provider.unwrapDataKey(from)
      const wrapped = wrap(key.bytes, to.context.canonical)
      key.dispose()
      return wrapped
    },
    describeKey: async () => ({ keyId, state: 'enabled', origin: 'customer', aliases: [] }),
    defaultKey: async () => ({ keyId, state: 'enabled', origin: 'service', aliases: [] }),
    acceptedKeys: async () => [{ provider: 'kms1', keyId }],
    ...changes,
  }
  return { provider, calls, made, sse: createSse({ kms: provider, accept: [keyId], deadline: 100 }) }
}

const isWiped = (key: DataKey): boolean => {
  try {
    return key.bytes.length === 0
  } catch (error) {
    return error instanceof TypeError
  }
}
const unavailable = { code: 'KmsUnavailable' }

t.test('a provider elsewhere: put, get, copies, bucket keys', async t => {
  const { sse, made } = remote()
  const plaintext = bodyOf(1000)
  for (const options of [{ context }, { context, bucketContext, bucketKey: true }]) {
    const writing = await sse.encrypt(options)
    const body = await put(writing, plaintext)
    const { envelope } = writing.result()
    t.equal(parseEnvelope(envelope).record.wrapped.wrapAlg, 'bucketKey' in options ? 3 : 1)
    t.ok(equal(await get(await sse.decrypt(envelope, { context, bucketContext }), body), plaintext))
    const copied = await sse.rewrap(envelope, { context, bucketContext, to: { context: { 'aws:s3:arn': 'b' } } })
    t.ok(equal(await get(await sse.decrypt(copied, { context: { 'aws:s3:arn': 'b' } }), body), plaintext))
    await t.rejects(sse.decrypt(copied, { context }), { code: 'NotAuthentic' })
  }
  sse.dispose()
  await sleep(0)
  t.ok(made.every(isWiped), 'every key that the provider handed out was wiped')
})

t.test('answers that cannot be right', async t => {
  const rows: readonly (readonly [what: string, change: object])[] = [
    ['another provider', { provider: 'kms2' }],
    ['another key', { keyId: 'kms1:key-2' }],
    ['an alias', { keyId: 'alias/photos' }],
    ['a wrapAlg that is not the one of the provider', { wrapAlg: 2 }],
    ['no blob', { blob: new Uint8Array() }],
    ['a blob that is too long', { blob: new Uint8Array(6145) }],
    ['a blob that is text', { blob: 'abc' }],
  ]
  for (const [what, change] of rows) {
    const { provider, made } = remote()
    const generateDataKey: KmsProvider['generateDataKey'] = async target => {
      const { key, wrapped } = await provider.generateDataKey(target)
      return { key, wrapped: Object.assign({ ...wrapped }, change) }
    }
    const { sse } = remote({ generateDataKey })
    const error: unknown = await sse.encrypt({ context }).catch((reason: unknown) => reason)
    t.match(error, unavailable, what)
    t.type(error instanceof Error && error.cause, TypeError, `${what}: the reason is the cause`)
    await t.rejects(sse.createUpload({ context }), unavailable, `${what}: upload`)
    t.ok(made.length === 2 && made.every(isWiped), `${what}: the key was wiped`)
  }
  const wrapDataKey: KmsProvider['wrapDataKey'] = async (key, target) => ({
    ...(await remote().provider.wrapDataKey(key, target)),
    keyId: 'kms1:key-2',
  })
  const { sse } = remote({ wrapDataKey })
  const { envelope } = await (async () => {
    const writing = await sse.encrypt({ context, bucketContext, bucketKey: true })
    await put(writing, bodyOf(10))
    return writing.result()
  })()
  await t.rejects(sse.rewrap(envelope, { context, bucketContext, to: { context } }), unavailable, 'a copy')
})

t.test('a bucket key whose blob is that of another key is not used', async t => {
  const generateDataKey: KmsProvider['generateDataKey'] = async target => {
    const [one, other] = [await honest.provider.generateDataKey(target), await honest.provider.generateDataKey(target)]
    return { key: one.key, wrapped: other.wrapped }
  }
  const honest = remote()
  const { sse } = remote({ generateDataKey, unwrapDataKey: request => honest.provider.unwrapDataKey(request) })
  await t.rejects(sse.encrypt({ context, bucketContext, bucketKey: true }), unavailable)
  const lost = remote({ unwrapDataKey: async () => Promise.reject(new SseError('NotAuthentic')) })
  await t.rejects(
    lost.sse.encrypt({ context, bucketContext, bucketKey: true }),
    unavailable,
    'one that does not unwrap',
  )
})

t.test('what a provider throws', async t => {
  const thrown = new Error('socket hang up')
  for (const fail of [
    () => Promise.reject(thrown),
    () => {
      throw thrown
    },
  ]) {
    const error: unknown = await remote({ generateDataKey: fail })
      .sse.encrypt({ context })
      .catch((e: unknown) => e)
    t.match(error, unavailable)
    t.equal(error instanceof Error && error.cause, thrown, 'its cause is kept')
  }
  for (const code of ['KeyDisabled', 'KeyNotFound', 'KmsThrottled', 'KeyAccessDenied'] as const) {
    const generateDataKey = async () => Promise.reject(new SseError(code))
    await t.rejects(remote({ generateDataKey }).sse.encrypt({ context }), { code })
  }
  const internal = remote({ generateDataKey: async () => Promise.reject(new SseError('NoSuchBucket')) })
  await t.rejects(internal.sse.encrypt({ context }), unavailable, 'a code that is no provider’s')
})

t.test('a provider that does not answer', async t => {
  let answer = (_key: GeneratedKey): void => undefined
  let given: CallOptions | undefined
  const generateDataKey: KmsProvider['generateDataKey'] = (_target, call) => {
    given = call
    return new Promise(resolve => {
      answer = resolve
    })
  }
  const { sse } = remote({ generateDataKey })
  const started = performance.now()
  const waiting = sse.encrypt({ context })
  await sleep(10)
  const signal = given?.signal
  t.equal(signal?.aborted, false, 'the provider is given a signal')
  await t.rejects(waiting, { ...unavailable, message: /kms1 did not answer within 100 ms/ })
  t.ok(performance.now() - started < 5000)
  t.equal(signal?.aborted, true, 'which tells it that the answer is not needed any more')
  const late = await remote().provider.generateDataKey({ keyId, context: encryptionContext(context) })
  answer(late)
  await sleep(0)
  t.ok(isWiped(late.key), 'a key that comes too late is wiped')
  const hung = remote({ unwrapDataKey: () => new Promise(() => undefined) })
  const writing = await hung.sse.encrypt({ context })
  await put(writing, bodyOf(10))
  await t.rejects(hung.sse.decrypt(writing.result().envelope, { context }), unavailable, 'reading')
  t.throws(() => createSse({ kms: hung.provider, accept: [keyId], deadline: 0 }), RangeError)
})

t.test('a caller that aborts', async t => {
  const reason = new Error('the client has gone')
  const { sse, calls } = remote()
  const aborted = AbortSignal.abort(reason)
  const writing = await sse.encrypt({ context })
  await put(writing, bodyOf(10))
  const { envelope } = writing.result()
  const upload = await sse.createUpload({ context })
  calls.length = 0
  for (const [what, call] of Object.entries({
    encrypt: () => sse.encrypt({ context, signal: aborted }),
    decrypt: () => sse.decrypt(envelope, { context, signal: aborted }),
    createUpload: () => sse.createUpload({ context, signal: aborted }),
    encryptPart: () => sse.encryptPart(upload, 1, { context, signal: aborted }),
    listParts: () => sse.listParts(upload, [], { context, signal: aborted }),
    completeUpload: () => sse.completeUpload(upload, [], [], { context, signal: aborted }),
    rewrap: () => sse.rewrap(envelope, { context, signal: aborted, to: {} }),
    reencrypt: () => sse.reencrypt(envelope, { context, signal: aborted, to: {} }),
  })) {
    const error: unknown = await call().catch((e: unknown) => e)
    t.equal(error, reason, what)
  }
  t.strictSame(calls, [], 'before the provider is asked')
  const controller = new AbortController()
  const hung = remote({ generateDataKey: () => new Promise(() => undefined) })
  const waiting = hung.sse.encrypt({ context, signal: controller.signal }).catch((e: unknown) => e)
  controller.abort(reason)
  t.equal(await waiting, reason, 'while the provider works')
})

t.test('one who aborts does not take a bucket key away from others', async t => {
  let answer = (): void => undefined
  const gate = new Promise<void>(resolve => {
    answer = resolve
  })
  const honest = remote()
  const { sse } = remote({
    generateDataKey: async target => {
      await gate
      return honest.provider.generateDataKey(target)
    },
    unwrapDataKey: request => honest.provider.unwrapDataKey(request),
  })
  const controller = new AbortController()
  const options = { context, bucketContext, bucketKey: true }
  const first = sse.encrypt({ ...options, signal: controller.signal }).catch((e: unknown) => e)
  const second = sse.encrypt(options)
  await sleep(5)
  controller.abort(new Error('gone'))
  t.match(await first, { message: 'gone' })
  answer()
  t.type((await second).driver, 'object')
  t.strictSame(honest.calls, ['generate', 'unwrap'], 'one call, and its check')
})

t.test('a provider that binds no context: outer keys, and wrapAlg 1 is refused before a call', async t => {
  const { sse, calls, provider } = remote({ bindsContext: false })
  const plaintext = bodyOf(1000)
  const writing = await sse.encrypt({ context })
  const body = await put(writing, plaintext)
  const { envelope } = writing.result()
  t.equal(parseEnvelope(envelope).record.wrapped.wrapAlg, 4)
  t.ok(equal(await get(await sse.decrypt(envelope, { context }), body), plaintext))
  await t.rejects(sse.decrypt(envelope, { context: { 'aws:s3:arn': 'another' } }), { code: 'NotAuthentic' })
  const copied = await sse.rewrap(envelope, { context, to: { context: { 'aws:s3:arn': 'b' } } })
  t.equal(parseEnvelope(copied).record.wrapped.wrapAlg, 4)
  t.ok(equal(await get(await sse.decrypt(copied, { context: { 'aws:s3:arn': 'b' } }), body), plaintext))
  const shared = await sse.encrypt({ context, bucketContext, bucketKey: true })
  const sharedBody = await put(shared, plaintext)
  t.equal(parseEnvelope(shared.result().envelope).record.wrapped.wrapAlg, 3)
  t.ok(equal(await get(await sse.decrypt(shared.result().envelope, { context, bucketContext }), sharedBody), plaintext))

  const { descriptor, table } = parseEnvelope(envelope)
  const direct = await provider.generateDataKey({ keyId, context: encryptionContext(context) })
  const forged = encodeEnvelope(encodeRecord(direct.wrapped, concat(Uint8Array.of(0, 0))), descriptor.bytes, table)
  calls.length = 0
  await t.rejects(sse.decrypt(forged, { context }), { code: 'NotAuthentic' })
  t.strictSame(calls, [])
})

const openLocal = async (t: Test): Promise<LocalKms> => {
  const kms = await LocalKms.open(t.testdir(), { root: { key: new Uint8Array(randomBytes(32)) } })
  t.teardown(() => kms.close())
  return kms
}

t.test('accepted keys of the embedded key store', async t => {
  const kms = await openLocal(t)
  const scope = { region: 'r', domainId: 'd' }
  const { keyId: service } = await kms.defaultKey(scope)
  const { keyId: customer } = await kms.createKey(scope)
  const { keyId: stranger } = await kms.defaultKey({ region: 'r', domainId: 'e' })
  const { keyId: elsewhere } = await kms.defaultKey({ region: 'q', domainId: 'd' })
  const key = (keyId: string) => ({ provider: 'local', keyId })
  const accepted = (keyId: string, origin?: 'service') => kms.acceptedKeys({ ...scope, keyId, origin })
  t.strictSame(await accepted(service), [key(service)])
  t.strictSame(await accepted(service, 'service'), [key(service)])
  t.strictSame(await accepted(customer), [key(customer)])
  t.strictSame(await accepted(customer, 'service'), [], 'one that a customer made')
  for (const other of [stranger, elsewhere, 'alias/obs/default', '', 'kms1:key-1', service.toUpperCase()]) {
    t.strictSame(await accepted(other), [], other)
  }
  const all = await kms.acceptedKeys(scope)
  t.strictSame(all.map(({ keyId }) => keyId).sort(), [service, customer].sort())
  t.strictSame(await kms.acceptedKeys({ ...scope, origin: 'service' }), [key(service)])
})

t.test('administration has the same bounds', async t => {
  const hang = () => new Promise<never>(() => undefined)
  const { provider } = remote({ describeKey: hang, defaultKey: hang, acceptedKeys: hang })
  const kms = checkedAdministration(provider, 20)
  const scope = { region: 'r', domainId: 'd' }
  await t.rejects(kms.describeKey({ keyId }), unavailable)
  await t.rejects(kms.defaultKey(scope), unavailable)
  await t.rejects(kms.acceptedKeys(scope), unavailable)
  const liar = checkedAdministration(
    remote({ acceptedKeys: async () => [{ provider: 'kms1', keyId: 'kms1:key-2' }] }).provider,
    20,
  )
  await t.rejects(liar.acceptedKeys({ ...scope, keyId }), unavailable, 'another key than the one that was named')
  t.equal((await checkedAdministration(remote().provider).describeKey({ keyId })).keyId, keyId)
})
