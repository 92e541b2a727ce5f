/** Deadline, retry, breaker, bulkhead, cache and observation around a key manager that goes wrong at a test's word. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as later } from 'node:timers/promises'
import t from 'tap'
import { equal } from '../../lib/bytes.ts'
import { SseError } from '../../lib/errors.ts'
import { encryptionContext } from '../../lib/kms/context.ts'
import { withCache } from '../../lib/kms/decorators/cache.ts'
import { guarded } from '../../lib/kms/decorators/guarded.ts'
import { kmsChannel } from '../../lib/kms/events.ts'
import {
  observed,
  withBreaker,
  withBulkhead,
  withDeadline,
  withProof,
  withRetry,
} from '../../lib/kms/decorators/policies.ts'
import type { KeyManager } from '../../lib/kms/manager.ts'
import { type MemoryFault, memoryKms } from '../../lib/kms/testing/memory.ts'
import { createSse } from '../../lib/object/node.ts'

const named = { 'aws:s3:arn': 'arn:aws:s3:::photos/cat' }
const context = encryptionContext(named)
const unavailable = { code: 'KmsUnavailable' }
const throttled = { code: 'KmsThrottled' }

/** A key manager with one key, that counts its calls and goes wrong as `faults` says. */
const start = async () => {
  const calls: string[] = []
  const state: { fault: MemoryFault | undefined; after: number } = { fault: undefined, after: 0 }
  const kms = memoryKms({
    fault: method => {
      calls.push(method)
      return state.fault !== undefined && state.after-- <= 0 ? state.fault : undefined
    },
  })
  const { keyId } = await kms.create('k')
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  calls.length = 0
  return { kms, keyId, key, request: { wrapped, context }, calls, state }
}

t.test('deadline: a call that hangs ends in time, and what it was asked for is let go', async t => {
  const { kms, keyId, request, state } = await start()
  const timed = withDeadline(kms, 30)
  state.fault = 'hang'
  await t.rejects(timed.unwrapDataKey(request), unavailable)
  await t.rejects(timed.describe(keyId), unavailable)
  await t.rejects(async () => timed.create?.('another'), unavailable)
  state.fault = undefined
  ;(await timed.unwrapDataKey(request)).dispose()
  t.throws(() => withDeadline(kms, 0), RangeError)
})

t.test('retry: throttled and unreachable are tried again, three times at most; refusals and new keys once', async t => {
  const { kms, keyId, request, calls, state } = await start()
  const tried = withRetry(kms, { wait: 1 })
  for (const fault of ['throttled', 'unavailable'] as const) {
    state.fault = fault
    await t.rejects(tried.unwrapDataKey(request), fault === 'throttled' ? throttled : unavailable)
    t.equal(calls.splice(0).length, 3, fault)
  }
  await t.rejects(async () => tried.create?.('another'), unavailable)
  t.strictSame(calls.splice(0), ['create'], 'a key is never made twice')
  state.fault = undefined
  await kms.disable(keyId)
  calls.length = 0
  await t.rejects(tried.unwrapDataKey(request), { code: 'KeyDisabled' })
  t.equal(calls.length, 1, 'a refusal')
})

t.test('retry: Retry-After is honoured, or the call fails at once where it is too long', async t => {
  const { kms, request } = await start()
  const tries: number[] = []
  const asking = (retryAfter: number): KeyManager => ({
    ...kms,
    unwrapDataKey: () => {
      tries.push(performance.now())
      return Promise.reject(new SseError('KmsThrottled', { retryAfter }))
    },
  })
  await t.rejects(withRetry(asking(0.05), { tries: 2 }).unwrapDataKey(request), throttled)
  const [first = 0, second = 0] = tries.splice(0)
  t.ok(second - first >= 45, 'it waits')
  await t.rejects(withRetry(asking(3600)).unwrapDataKey(request), throttled)
  t.equal(tries.length, 1)
})

t.test('retry: who leaves does not wait, and asks no more', async t => {
  const { kms, request, calls, state } = await start()
  state.fault = 'unavailable'
  const leaving = new AbortController()
  const asked = withRetry(kms, { wait: 3000 }).unwrapDataKey(request, { signal: leaving.signal })
  await later(5)
  leaving.abort(new Error('gone'))
  await t.rejects(asked, { message: 'gone' })
  t.equal(calls.length, 1)
})

t.test(
  'breaker: open after five failures in a row, one call tries it after its rest, and it closes when that succeeds',
  async t => {
    const { kms, request, calls, state } = await start()
    const broken = withBreaker(kms, { rest: 40 })
    state.fault = 'unavailable'
    for (let i = 0; i < 5; i++) await t.rejects(broken.unwrapDataKey(request), unavailable)
    await t.rejects(broken.unwrapDataKey(request), { code: 'KmsUnavailable', retryAfter: 1, message: /left alone/ })
    t.equal(calls.splice(0).length, 5, 'the sixth made no call')
    await later(50)
    state.fault = 'hang'
    const leaving = new AbortController()
    const trying = broken.unwrapDataKey(request, { signal: leaving.signal })
    await t.rejects(broken.unwrapDataKey(request), { message: /left alone/ }, 'the others do not wait for it')
    leaving.abort(new SseError('KmsUnavailable'))
    await t.rejects(trying, unavailable)
    t.equal(calls.splice(0).length, 1)
    await later(50)
    state.fault = undefined
    ;(await broken.unwrapDataKey(request)).dispose()
    ;(await broken.unwrapDataKey(request)).dispose()
    t.equal(calls.length, 2, 'closed')
  },
)

t.test('breaker: a caller that leaves while its call tries the key manager has not shown that it is back', async t => {
  const { kms, request, calls, state } = await start()
  const broken = withBreaker(kms, { failures: 2, rest: 40 })
  state.fault = 'unavailable'
  for (let i = 0; i < 2; i++) await t.rejects(broken.unwrapDataKey(request), unavailable)
  await later(50)
  state.fault = 'hang'
  const leaving = new AbortController()
  const trying = broken.unwrapDataKey(request, { signal: leaving.signal })
  leaving.abort('gone')
  await t.rejects(
    trying.catch(reason => Promise.reject(new Error(String(reason)))),
    { message: 'gone' },
  )
  calls.length = 0
  await t.rejects(broken.unwrapDataKey(request), { message: /left alone/ })
  t.equal(calls.length, 0)
})

t.test('retry: what breaker and bulkhead decline is not tried again', async t => {
  const { kms, request, state } = await start()
  const broken = withRetry(withBreaker(kms, { failures: 1, rest: 500 }), { wait: 1 })
  state.fault = 'unavailable'
  await t.rejects(broken.unwrapDataKey(request), { message: /left alone/ })
  state.fault = undefined
  await t.rejects(
    broken.unwrapDataKey(request),
    { message: /left alone/, retryAfter: 1 },
    'it does not wait until it may',
  )

  const bound = withRetry(withBulkhead(kms, { calls: 1, queue: 0 }), { wait: 1 })
  state.fault = 'hang'
  const leaving = new AbortController()
  const first = bound.unwrapDataKey(request, { signal: leaving.signal })
  const second = bound.unwrapDataKey(request)
  state.fault = undefined
  leaving.abort(new Error('gone'))
  await t.rejects(first, { message: 'gone' })
  await t.rejects(second, throttled)
})

t.test('breaker: refusals and throttling do not open it', async t => {
  const { kms, keyId, request, calls, state } = await start()
  const broken = withBreaker(kms)
  state.fault = 'throttled'
  for (let i = 0; i < 10; i++) await t.rejects(broken.unwrapDataKey(request), throttled)
  state.fault = undefined
  await kms.disable(keyId)
  calls.length = 0
  for (let i = 0; i < 10; i++) await t.rejects(broken.unwrapDataKey(request), { code: 'KeyDisabled' })
  t.equal(calls.length, 10)
})

t.test('bulkhead: so many calls at once, so many that wait, and those over it are throttled', async t => {
  const { kms, request, calls, state } = await start()
  const bound = withBulkhead(kms, { calls: 2, queue: 2 })
  state.fault = 'hang'
  const leaving = [1, 2, 3, 4].map(() => new AbortController())
  const asked = leaving.map(({ signal }) => bound.unwrapDataKey(request, { signal }))
  const outcomes = Promise.allSettled(asked)
  await t.rejects(bound.unwrapDataKey(request), { code: 'KmsThrottled', retryAfter: 1 })
  t.equal(calls.length, 2)
  leaving[2]?.abort(new Error('gone'))
  await t.rejects(async () => void (await asked[2]), { message: 'gone' }, 'one that waits may leave')
  state.fault = undefined
  leaving[0]?.abort(new Error('gone'))
  ;(await (asked[3] ?? Promise.reject(new Error('none')))).dispose()
  leaving[1]?.abort(new Error('gone'))
  t.strictSame(
    (await outcomes).map(({ status }) => status),
    ['rejected', 'rejected', 'rejected', 'fulfilled'],
  )
})

t.test('bulkhead: who leaves the queue makes room in it', async t => {
  const { kms, request, state } = await start()
  const bound = withBulkhead(kms, { calls: 1, queue: 1 })
  state.fault = 'hang'
  const [running, waiting] = [new AbortController(), new AbortController()]
  const first = bound.unwrapDataKey(request, { signal: running.signal })
  const second = bound.unwrapDataKey(request, { signal: waiting.signal })
  waiting.abort(new Error('gone'))
  await t.rejects(second, { message: 'gone' })
  state.fault = undefined
  const third = bound.unwrapDataKey(request)
  running.abort(new Error('gone'))
  await t.rejects(first, { message: 'gone' })
  ;(await third).dispose()
})

t.test('proof: a new key whose blob is that of another key, or of none, is not handed out', async t => {
  const { kms, keyId, calls } = await start()
  const foreign = await kms.generateDataKey({ keyId, context })
  const answers = { another: foreign.wrapped.blob, none: new Uint8Array(64).fill(1), long: new Uint8Array(7000) }
  for (const [name, blob] of Object.entries(answers)) {
    const made: Uint8Array[] = []
    const lying = withProof({
      ...kms,
      generateDataKey: async (target, call) => {
        const { key, wrapped } = await kms.generateDataKey(target, call)
        made.push(key.bytes)
        return { key, wrapped: { ...wrapped, blob } }
      },
    })
    await t.rejects(lying.generateDataKey({ keyId, context }), unavailable, name)
    t.ok(
      made[0]?.every(byte => byte === 0),
      'and is wiped',
    )
  }
  calls.length = 0
  const { key, wrapped } = await withProof(kms).generateDataKey({ keyId, context })
  t.strictSame(calls, ['generateDataKey', 'unwrapDataKey'])
  t.ok(equal((await kms.unwrapDataKey({ wrapped, context })).bytes, key.bytes))
})

t.test('cache: unwrapped keys for their time, one call for all who ask at once', async t => {
  const { kms, keyId, key, request, calls, state } = await start()
  let now = 0
  const cached = withCache(kms, { timeToLive: 1000, clock: () => now })
  state.fault = { delay: 20 }
  const leaving = new AbortController()
  const asked = [
    cached.unwrapDataKey(request, { signal: leaving.signal }),
    ...Array.from({ length: 9 }, () => cached.unwrapDataKey(request)),
  ]
  leaving.abort(new Error('gone'))
  await t.rejects(async () => void (await asked[0]), { message: 'gone' })
  for (const coming of asked.slice(1)) {
    const one = await coming
    t.ok(equal(one.bytes, key.bytes))
    one.dispose() // each has a copy of its own
  }
  t.equal(calls.splice(0).length, 1, 'who leaves does not end it for the others')
  state.fault = undefined
  let told = 0
  const again = await cached.unwrapDataKey(request, { onCached: () => told++ })
  t.ok(equal(again.bytes, key.bytes))
  t.equal(told, 1)
  t.equal(calls.length, 0)
  ;(await cached.unwrapDataKey(request, { fresh: true })).dispose()
  t.equal(calls.splice(0).length, 1, 'past the cache')
  const other = { ...request, context: encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::photos/dog' }) }
  await t.rejects(cached.unwrapDataKey(other), { code: 'NotAuthentic' }, 'another context is another question')
  now = 1000
  await kms.disable(keyId)
  calls.length = 0
  await t.rejects(cached.unwrapDataKey(request), { code: 'KeyDisabled' }, 'after its time')
})

t.test('cache: refusals and failures for a moment, changes at once', async t => {
  const { kms, keyId, request, calls, state } = await start()
  let now = 0
  const cached = withCache(kms, { clock: () => now })
  await cached.disable?.(keyId)
  calls.length = 0
  for (let i = 0; i < 5; i++) await t.rejects(cached.unwrapDataKey(request), { code: 'KeyDisabled' })
  t.equal(calls.splice(0).length, 1, 'disabled: kept')
  await cached.enable?.(keyId)
  ;(await cached.unwrapDataKey(request)).dispose()
  t.strictSame(calls.splice(0), ['enable', 'unwrapDataKey'], 'enabled again: seen')
  now += 300_000
  state.fault = 'unavailable'
  for (let i = 0; i < 5; i++) await t.rejects(cached.unwrapDataKey(request), unavailable)
  t.equal(calls.splice(0).length, 1, 'unavailable: kept')
  state.fault = undefined
  now += 1000
  ;(await cached.unwrapDataKey(request)).dispose()
  t.equal(calls.splice(0).length, 1, 'for a second')
  t.equal((await cached.describe(keyId)).state, 'enabled')
  await cached.describe(keyId)
  t.strictSame(calls.splice(0), ['describe'])
  await cached.disable?.(keyId)
  t.equal((await cached.describe(keyId)).state, 'disabled')
})

t.test('cache: what fails does not push out what is known', async t => {
  const { kms, keyId, request, calls, state } = await start()
  const cached = withCache(kms, { size: 1 })
  ;(await cached.unwrapDataKey(request)).dispose()
  state.fault = 'unavailable'
  for (let i = 0; i < 5; i++) {
    const other = { ...request, context: encryptionContext({ 'aws:s3:arn': `arn:aws:s3:::photos/${i}` }) }
    await t.rejects(cached.unwrapDataKey(other), unavailable)
  }
  await t.rejects(cached.unwrapDataKey(request, { fresh: true }), unavailable)
  calls.length = 0
  ;(await cached.unwrapDataKey(request)).dispose()
  t.equal(calls.length, 0)
  state.fault = undefined
  await kms.disable(keyId)
  await t.rejects(cached.unwrapDataKey(request, { fresh: true }), { code: 'KeyDisabled' })
  await t.rejects(cached.unwrapDataKey(request), { code: 'KeyDisabled' }, 'but a refusal replaces it')
})

t.test('cache: bounded, and keys are wiped when they go', async t => {
  for (const size of [0, 2]) {
    const { kms, keyId, calls } = await start()
    const cached = withCache(kms, { size })
    const requests = []
    for (let i = 0; i < 3; i++) {
      const { key, wrapped } = await kms.generateDataKey({ keyId, context })
      requests.push({ request: { wrapped, context }, bytes: new Uint8Array(key.bytes) })
    }
    calls.length = 0
    for (const { request, bytes } of [...requests, ...requests]) {
      const key = await cached.unwrapDataKey(request)
      t.ok(equal(key.bytes, bytes))
    }
    t.equal(calls.length, 6, `the one used longest ago goes, of ${size}`)
    cached.close?.()
  }
  t.throws(() => withCache(memoryKms(), { timeToLive: -1 }), RangeError)
})

t.test('observed: each call with its outcome, cached or not', async t => {
  const { kms, keyId, request, state } = await start()
  const events: unknown[] = []
  const listen = (event: unknown) => events.push(event)
  subscribe(kmsChannel, listen)
  t.teardown(() => unsubscribe(kmsChannel, listen))
  const seen = observed(withCache(kms))
  ;(await seen.unwrapDataKey(request)).dispose()
  ;(await seen.unwrapDataKey(request)).dispose()
  state.fault = 'throttled'
  await t.rejects(seen.describe(keyId), throttled)
  const told = { provider: 'memory', instance: 'memory', key: keyId, milliseconds: Number }
  t.match(events, [
    { ...told, operation: 'unwrapDataKey', cached: false, outcome: 'ok' },
    { ...told, operation: 'unwrapDataKey', cached: true, outcome: 'ok' },
    { ...told, operation: 'describe', cached: false, outcome: 'KmsThrottled' },
  ])
})

t.test('a wrong answer of the KMS is not kept: the next read asks again', async t => {
  const { kms, keyId } = await start()
  let lying = false
  const asked: string[] = []
  const liar: KeyManager = {
    ...kms,
    unwrapDataKey: async (request, call) => {
      asked.push('unwrap')
      const key = await kms.unwrapDataKey(request, call)
      if (lying) key.bytes.set([(key.bytes[0] ?? 0) ^ 1])
      return key
    },
  }
  const body = new Uint8Array(1000).fill(5)
  for (const bucketKey of [false, true]) {
    const seal = createSse({ kms, accept: [keyId] })
    const bucketContext = { 'aws:s3:arn': 'arn:aws:s3:::photos' }
    const encrypting = await seal.encrypt({ context: named, bucketContext, bucketKey })
    const sealed = await buffer(Readable.from([body]).pipe(encrypting.stream))
    const { envelope } = encrypting.result()
    const sse = createSse({ kms: guarded(liar), accept: [keyId] })
    const read = async () => {
      const decrypting = await sse.decrypt(envelope, { context: named, bucketContext })
      return buffer(Readable.from([sealed]).pipe(decrypting.stream))
    }
    lying = true
    await t.rejects(read(), { code: 'NotAuthentic' })
    await t.rejects(read(), { code: 'NotAuthentic' })
    const other = createSse({ kms: guarded(liar), accept: [keyId] })
    const copy = { context: named, bucketContext, to: { keyId, bucketContext, bucketKey: true } }
    await t.rejects(other.rewrap(envelope, copy), { code: 'NotAuthentic' }, 'nothing is rewrapped under it')
    lying = false
    t.ok(await other.rewrap(envelope, copy), 'and then it is')
    other.dispose()
    t.ok(equal(await read(), body), bucketKey ? 'under a bucket key' : 'under the master key')
    asked.length = 0
    t.ok(equal(await read(), body))
    t.strictSame(asked, [], 'the right one is kept')
    const forged = Uint8Array.from(envelope)
    forged.set([(forged.at(-1) ?? 0) ^ 1], forged.length - 1)
    await t.rejects(sse.decrypt(forged, { context: named, bucketContext }), { code: 'NotAuthentic' })
    t.ok(asked.length <= 1, 'a forged envelope makes one call at most')
    sse.dispose()
    seal.dispose()
  }
})

t.test(
  'an upload is completed under the key that the KMS answers then, not under a wrong one that was kept',
  async t => {
    const { kms, keyId } = await start()
    let lying = false
    const liar: KeyManager = {
      ...kms,
      unwrapDataKey: async (request, call) => {
        const key = await kms.unwrapDataKey(request, call)
        if (lying) key.bytes.set([(key.bytes[0] ?? 0) ^ 1])
        return key
      },
    }
    const sse = createSse({ kms: guarded(liar), accept: [keyId] })
    const { uploadId, session } = await sse.createUpload({ context: named })
    const upload = { uploadId, session }
    const part = async () => {
      const encrypting = await sse.encryptPart(upload, 1, { context: named })
      await buffer(Readable.from([new Uint8Array(10)]).pipe(encrypting.stream))
      return encrypting.result()
    }
    lying = true
    const wrong = await part()
    lying = false
    const parts = (etag: string) => [{ part: 1, etag }]
    await t.rejects(sse.completeUpload(upload, parts(wrong.etag), [wrong.receipt], { context: named }), {
      code: 'InvalidPart',
    })
    const right = await part()
    const done = await sse.completeUpload(upload, parts(right.etag), [wrong.receipt, right.receipt], { context: named })
    ;(await createSse({ kms, accept: [keyId] }).decrypt(done.envelope, { context: named })).driver.dispose()
    sse.dispose()
  },
)

t.test('guarded: all of them in their order', async t => {
  const { kms, key, request, calls, state } = await start()
  const all = guarded(kms, { deadline: 200, retry: { wait: 1 } })
  state.fault = 'throttled'
  state.after = -1
  const first = all.unwrapDataKey(request)
  state.fault = undefined
  t.ok(equal((await first).bytes, key.bytes), 'tried again')
  ;(await all.unwrapDataKey(request)).dispose()
  t.ok(calls.length <= 2, 'then kept')
  state.fault = 'hang'
  await t.rejects(all.describe('memory:none'), unavailable, 'a deadline over all tries')
  const bare = guarded(kms, { cache: false, retry: false, breaker: false, bulkhead: false, deadline: 20 })
  await t.rejects(bare.unwrapDataKey(request), unavailable)
  t.equal(bare.holds?.('memory:x'), true)
  await all.close?.()
})
