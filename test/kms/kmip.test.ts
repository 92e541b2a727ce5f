/** The provider `kmip` against PyKMIP: keys and their states, contexts, tampering, a server that is gone and back, clients that may not. */
import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import t from 'tap'
import { equal, hex } from '../../lib/bytes.ts'
import { SseError } from '../../lib/errors.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { encryptionContext } from '../../lib/kms/context.ts'
import { DataKey } from '../../lib/kms/data-key.ts'
import { withProof } from '../../lib/kms/decorators/policies.ts'
import { kmipKms } from '../../lib/kms/kmip/kmip.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'
import type { KeyManager } from '../../lib/kms/manager.ts'
import type { CallOptions, WrappedKey } from '../../lib/kms/provider.ts'
import { createSse } from '../../lib/object/node.ts'
import { bodyOf, get, put } from '../support/body.ts'
import { type ProxyFault, proxyFaults, startKmipProxy } from '../support/kmip-proxy.ts'
import { kmipMissing, type KmipServer, startKmip } from '../support/kmip.ts'

const context = encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::photos/a' })
const other = encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::photos/b' })
const newKey = () => new DataKey(new Uint8Array(randomBytes(32)))

/** Runs a test against the one server of this file. */
const tests = (server: KmipServer): void => {
  const { kms, keyId, otherKeyId } = server
  const opened = (more: Parameters<KmipServer['options']>[1] = {}, client?: 'stranger') => {
    const made = kmipKms(server.options(client, more))
    t.teardown(() => made.close())
    return made
  }
  const unwrapped = async (wrapped: WrappedKey, of: KeyManager = kms, under = context): Promise<string> => {
    const key = await of.unwrapDataKey({ wrapped, context: under })
    const found = hex(key.bytes)
    key.dispose()
    return found
  }

  for (const version of ['1.4', '2.0'] as const) {
    t.test(`wraps, unwraps and moves data keys, in KMIP ${version}`, async t => {
      const kms = opened({ version })
      const made = await kms.generateDataKey({ keyId, context })
      t.match(made.wrapped, { provider: 'kmip', keyId, wrapAlg: 1 })
      t.equal(made.wrapped.blob.length, 60)
      t.equal(await unwrapped(made.wrapped, kms), hex(made.key.bytes))

      const again = await kms.wrapDataKey(made.key, { keyId, context })
      t.notSame(again.blob, made.wrapped.blob, 'a nonce of its own')
      t.equal(await unwrapped(again, kms), hex(made.key.bytes))

      const to = { keyId: otherKeyId, context: other }
      const moved = await kms.rewrapDataKey({ from: { wrapped: made.wrapped, context }, to })
      t.equal(moved.keyId, otherKeyId)
      t.equal(await unwrapped(moved, kms, other), hex(made.key.bytes))
      await t.rejects(kms.unwrapDataKey({ wrapped: made.wrapped, context: other }), { code: 'NotAuthentic' })
      await t.rejects(kms.unwrapDataKey({ wrapped: moved, context }), { code: 'NotAuthentic' })
      await t.rejects(kms.unwrapDataKey({ wrapped: { ...made.wrapped, keyId: otherKeyId }, context }), {
        code: 'NotAuthentic',
      })
    })

    t.test(`makes, finds and ends keys, in KMIP ${version}`, async t => {
      const kms = opened({ version })
      const name = `life-${version.replace('.', '-')}`
      const before = Date.now()
      const made = await kms.create(name)
      t.match(made, { keyId: /^kmip1:\d+$/, state: 'enabled', name })
      t.ok(Math.abs((made.created ?? 0) - before) < 60_000, 'made now')
      t.strictSame(await kms.describe(made.keyId), made)
      t.strictSame(await kms.describe(name), made, 'by its name')
      t.strictSame(await kms.find(name), [made])
      t.strictSame(await kms.find('no-such-name'), [])
      t.ok((await kms.list()).some(each => each.keyId === made.keyId))

      const { key, wrapped } = await kms.generateDataKey({ keyId: made.keyId, context })
      t.strictSame(await kms.disable(made.keyId), { ...made, state: 'disabled' })
      t.strictSame(await kms.disable(made.keyId), { ...made, state: 'disabled' }, 'twice is once')
      const disabled = { code: 'KeyDisabled', message: /not active in the KMIP server/ }
      await t.rejects(kms.wrapDataKey(key, { keyId: made.keyId, context }), disabled)
      await t.rejects(kms.unwrapDataKey({ wrapped, context }), disabled)

      const deleted = await kms.scheduleDeletion(made.keyId)
      t.match(deleted, { keyId: made.keyId, state: 'pending-deletion', name })
      const gone = { code: 'KeyNotFound' }
      await t.rejects(kms.unwrapDataKey({ wrapped, context }), gone)
      await t.rejects(kms.describe(made.keyId), gone)
      await t.rejects(kms.disable(made.keyId), gone)
      await t.rejects(kms.scheduleDeletion(made.keyId), gone)
      t.strictSame(await kms.find(name), [])
    })
  }

  t.test('an active key is destroyed too, after its use was ended', async t => {
    const { keyId } = await kms.create('short')
    await kms.scheduleDeletion(keyId)
    await t.rejects(kms.describe(keyId), { code: 'KeyNotFound' })
  })

  t.test('no byte of a blob may change, nor its length', async t => {
    const { wrapped } = await kms.generateDataKey({ keyId, context })
    for (let at = 0; at < wrapped.blob.length; at++) {
      const blob = wrapped.blob.slice()
      blob[at] = (blob[at] ?? 0) ^ 1
      await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, blob }, context }), { code: 'NotAuthentic' }, `${at}`)
    }
    for (const blob of [wrapped.blob.slice(1), new Uint8Array([...wrapped.blob, 0]), new Uint8Array(0)]) {
      await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, blob }, context }), { code: 'NotAuthentic' })
    }
    await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, provider: 'pkcs11' }, context }), {
      code: 'NotAuthentic',
    })
    await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, wrapAlg: 4 }, context }), { code: 'NotAuthentic' })
    t.type(await unwrapped(wrapped), 'string', 'and unchanged it opens')
  })

  t.test('ids have one spelling', async t => {
    const { wrapped } = await kms.generateDataKey({ keyId, context })
    const uid = keyId.slice('kmip1:'.length)
    const wrong = [
      `kmip1:0${uid}`,
      `kmip2:${uid}`,
      `kmip1: ${uid}`,
      'kmip1:',
      `KMIP1:${uid}`,
      'kmip1:999',
      'kmip1:none',
    ]
    for (const id of wrong) {
      await t.rejects(kms.describe(id), { code: 'KeyNotFound' }, `describe ${id}`)
      await t.rejects(kms.generateDataKey({ keyId: id, context }), { code: 'KeyNotFound' }, `generate ${id}`)
      await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, keyId: id }, context }), { code: 'KeyNotFound' })
      await t.rejects(kms.disable(id), { code: 'KeyNotFound' }, `disable ${id}`)
      await t.rejects(kms.scheduleDeletion(id), { code: 'KeyNotFound' }, `delete ${id}`)
    }
    await t.rejects(kms.generateDataKey({ keyId: uid, context }), { code: 'KeyNotFound' }, 'without the instance')
    await t.rejects(kms.describe(uid), { code: 'KeyNotFound' }, 'which would be a name')
    t.match(await kms.describe(keyId), { state: 'enabled' }, 'nothing happened to the key')
  })

  t.test('names are no locks: ten who make a key at once have ten keys', async t => {
    const made = await Promise.all(Array.from({ length: 10 }, () => kms.create('ten')))
    t.equal(new Set(made.map(key => key.keyId)).size, 10)
    const found = await kms.find('ten')
    t.strictSame(new Set(found.map(key => key.keyId)), new Set(made.map(key => key.keyId)))
    await t.rejects(kms.describe('ten'), { code: 'KeyNotFound', message: /^10 keys have this name/ })
    for (const name of ['', 'a:b', 'a b', 'x'.repeat(65)]) await t.rejects(kms.create(name), RangeError, name)
  })

  t.test('200 calls at once', async t => {
    const keys = Array.from({ length: 200 }, newKey)
    const wrapped = await Promise.all(keys.map(key => kms.wrapDataKey(key, { keyId, context })))
    const found = await Promise.all(wrapped.map(each => unwrapped(each)))
    t.strictSame(
      found,
      keys.map(key => hex(key.bytes)),
    )
  })

  t.test('an abort lets go at once, and later calls have their own answers', async t => {
    const few = opened({ connections: 2 })
    const keys = Array.from({ length: 40 }, newKey)
    const wrapped = await Promise.all(keys.map(key => few.wrapDataKey(key, { keyId, context })))
    const outcomes = wrapped.map((each, i) => {
      const controller = new AbortController()
      const { signal } = controller
      const outcome = few.unwrapDataKey({ wrapped: each, context }, { signal }).then(
        key => hex(key.bytes),
        (error: unknown) => error,
      )
      if (i % 2 === 0) setTimeout(() => controller.abort(`reason ${i}`), i)
      return outcome
    })
    let aborted = 0
    for (const [i, outcome] of (await Promise.all(outcomes)).entries()) {
      if (i % 2 === 0 && outcome === `reason ${i}`) {
        aborted++
        continue
      }
      t.equal(outcome, hex(keys[i]?.bytes ?? new Uint8Array()), `call ${i}`)
    }
    t.ok(aborted > 5, `${aborted} were aborted`)
    const before: CallOptions = { signal: AbortSignal.abort('before') }
    await t.rejects(
      few
        .generateDataKey({ keyId, context }, before)
        .catch((reason: unknown) => Promise.reject(new Error(String(reason)))),
      { message: 'before' },
    )
  })

  t.test('more than may wait are throttled', async t => {
    const narrow = opened({ connections: 1, queue: 3 })
    await narrow.describe(keyId)
    const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => narrow.describe(keyId)))
    const refused = outcomes.flatMap(each => (each.status === 'rejected' ? [each.reason] : []))
    t.equal(refused.length, 6)
    for (const reason of refused) t.match(reason, { code: 'KmsThrottled' })
  })

  t.test(
    'a server that lies, stalls, breaks off or refuses is unavailable or throttled, and is believed again later',
    async t => {
      const proxy = await startKmipProxy(server)
      const kms = kmipKms(proxy.options)
      t.teardown(async () => {
        await kms.close()
        await proxy.stop()
      })
      const made = await kms.generateDataKey({ keyId, context })
      const request = { wrapped: made.wrapped, context }
      t.equal(await unwrapped(made.wrapped, kms), hex(made.key.bytes))
      const code = async (work: Promise<unknown>): Promise<string> =>
        work.then(
          () => 'answered',
          (error: unknown) => (error instanceof SseError ? error.code : String(error)),
        )
      const asked = async () => [
        await code(kms.generateDataKey({ keyId, context }, { signal: AbortSignal.timeout(1500) })),
        await code(kms.unwrapDataKey(request, { signal: AbortSignal.timeout(1500) })),
        await code(kms.describe(keyId, { signal: AbortSignal.timeout(1500) })),
      ]
      const left = 'TimeoutError: The operation was aborted due to timeout'
      const expected: Readonly<Record<ProxyFault, readonly string[]>> = {
        swallow: [left, left, left],
        stall: [left, left, left],
        cut: ['KmsUnavailable', 'KmsUnavailable', 'KmsUnavailable'],
        throttle: ['KmsThrottled', 'KmsThrottled', 'KmsThrottled'],
        // A description of another id is that of a key which is spelled otherwise.
        'wrong id': ['KmsUnavailable', 'KmsUnavailable', 'KeyNotFound'],
        // What they seal and unwrap to is seen by whoever unwraps, and opens, afterwards.
        'wrong blob': ['answered', 'answered', 'answered'],
        'wrong key': ['answered', 'answered', 'answered'],
        garbage: ['KmsUnavailable', 'KmsUnavailable', 'KmsUnavailable'],
      }
      for (const fault of proxyFaults) {
        proxy.fault = () => fault
        t.strictSame(await asked(), expected[fault], fault)
        proxy.fault = () => undefined
        t.equal(await unwrapped(made.wrapped, kms), hex(made.key.bytes), `after ${fault}`)
      }
      const proving = withProof(kms)
      for (const fault of ['wrong blob', 'wrong key'] as const) {
        proxy.fault = () => fault
        t.equal(await code(proving.generateDataKey({ keyId, context })), 'KmsUnavailable', `${fault}, proved`)
      }
      proxy.fault = operation => (operation === 'Encrypt' ? 'wrong blob' : undefined)
      t.equal(await code(proving.generateDataKey({ keyId, context })), 'KmsUnavailable')
    },
  )

  t.test('another client neither uses nor sees a key', async t => {
    const stranger = opened({}, 'stranger')
    const { key, wrapped } = await kms.generateDataKey({ keyId, context })
    const denied = { code: 'KeyAccessDenied', message: /right/ }
    await t.rejects(stranger.unwrapDataKey({ wrapped, context }), denied)
    await t.rejects(stranger.wrapDataKey(key, { keyId, context }), denied)
    await t.rejects(stranger.describe(keyId), denied)
    await t.rejects(stranger.disable(keyId), denied)
    await t.rejects(stranger.scheduleDeletion(keyId), denied)
    t.strictSame(await stranger.list(), [], 'and lists none')
    const { keyId: own } = await stranger.create('first')
    t.strictSame(
      (await stranger.find('first')).map(each => each.keyId),
      [own],
    )
    await stranger.scheduleDeletion(own)
  })

  t.test('certificates are checked, both of them', async t => {
    const { tls = {}, ...rest } = server.options()
    const unreachable = { code: 'KmsUnavailable', message: /cannot be reached/ }
    const attempt = async (given: typeof tls) => {
      const kms = kmipKms({ ...rest, tls: given })
      try {
        return await kms.describe(keyId)
      } finally {
        await kms.close()
      }
    }
    t.match(await attempt(tls), { keyId })
    t.match(await attempt({ ...tls, servername: 'localhost' }), { keyId }, 'by a name in the certificate')
    await t.rejects(attempt({ ...tls, servername: 'kmip.example' }), unreachable, 'by no other')
    await t.rejects(attempt({ cert: tls.cert, key: tls.key }), unreachable, 'an authority that is not known')
    await t.rejects(attempt({ ca: tls.ca }), unreachable, 'no certificate of ours')
    t.throws(() => kmipKms({ ...rest, tls: { ...tls, key: 'no key' } }), TypeError)
    t.throws(() => kmipKms({ ...rest, tls: { ...tls, cert: tls.ca } }), TypeError, 'a key of another certificate')
  })

  t.test('a user name and password go with every request', async t => {
    const kms = opened({ credential: { username: 'alice', password: 'wonderland' } })
    t.match(await kms.describe(keyId), { keyId })
    t.ok(server.log().includes(hex(Buffer.from('wonderland'))), 'the server has read it')
    t.match(await opened({ credential: { username: 'alice' } }).describe(keyId), { keyId })
  })

  t.test('an answer longer than maxAnswer is refused by the server', async t => {
    await Promise.all(Array.from({ length: 15 }, () => kms.create('many')))
    const narrow = opened({ maxAnswer: 512, version: '2.0' })
    t.match(await narrow.describe(keyId), { keyId })
    await t.rejects(narrow.list(), { code: 'KmsUnavailable', message: /maxAnswer/ })
    t.ok((await kms.list()).length > 25)
  })

  t.test('a server that was killed and is back', async t => {
    const { wrapped, key } = await kms.generateDataKey({ keyId, context })
    await server.kill()
    await t.rejects(kms.unwrapDataKey({ wrapped, context }), { code: 'KmsUnavailable', message: /cannot be reached/ })
    await server.start()
    t.equal(await unwrapped(wrapped), hex(key.bytes))

    await server.kill()
    await server.start()
    t.equal(await unwrapped(wrapped), hex(key.bytes), 'connections that broke meanwhile are noticed by nobody')
    await server.kill()
    await server.start()
    t.match(await kms.create('after'), { state: 'enabled' }, 'nor where a request is never sent twice')
  })

  t.test('objects, bucket keys, and a move to another provider and back', async t => {
    const sse = createSse({ kms, accept: [keyId] })
    const plaintext = bodyOf(200_000)
    const bucketContext = { 'aws:s3:arn': 'arn:aws:s3:::photos' }
    for (const bucketKey of [false, true]) {
      const call = { context: Object.fromEntries(context.entries), bucketContext }
      const encryption = await sse.encrypt({ ...call, bucketKey })
      const body = await put(encryption, plaintext)
      const { envelope } = encryption.result()
      const opened = await sse.decrypt(envelope, call)
      t.ok(equal(await get(opened, body), plaintext), `bucket key ${bucketKey}`)
      await t.rejects(sse.decrypt(envelope, { ...call, context: { 'aws:s3:arn': 'arn:aws:s3:::photos/b' } }), {
        code: 'NotAuthentic',
      })
      const moved = await sse.rewrap(envelope, { ...call, to: { ...call, accept: [otherKeyId] } })
      t.ok(equal(await get(await sse.decrypt(moved, { ...call, accept: [otherKeyId] }), body), plaintext), 'rewrapped')
    }

    const local = await LocalKms.open(t.testdir(), {
      root: { key: new Uint8Array(randomBytes(32)) },
      engine: nodeEngine,
    })
    t.teardown(() => local.close())
    const { keyId: localKey } = await local.createKey({ region: 'sichuan', domainId: 'tenant' })
    const first = await kms.generateDataKey({ keyId, context })
    const there = await local.wrapDataKey(first.key, { keyId: localKey, context })
    const back = await local.unwrapDataKey({ wrapped: there, context })
    t.equal(await unwrapped(await kms.wrapDataKey(back, { keyId: otherKeyId, context })), hex(first.key.bytes))
  })

  t.test('no secret is in an error or an inspection', async t => {
    const password = 'jabberwocky'
    const options = server.options('gateway', { credential: { username: 'alice', password } })
    const kms = kmipKms(options)
    const { key, wrapped } = await kms.generateDataKey({ keyId, context })
    const errors = await Promise.all(
      [
        kms.unwrapDataKey({ wrapped, context: other }),
        kms.wrapDataKey(key, { keyId: 'kmip1:999', context }),
        kmipKms({ ...options, port: 1 }).describe(keyId),
      ].map(work => work.then(() => undefined).catch((error: unknown) => error)),
    )
    await kms.close()
    errors.push(await kms.describe(keyId).catch((error: unknown) => error))
    for (const shown of [kms, ...errors]) {
      const text = inspect(shown, { depth: 20, showHidden: true }) + JSON.stringify(shown)
      t.ok(text.length > 50)
      for (const secret of [password, hex(key.bytes), 'PRIVATE KEY', String(key.bytes)]) t.notMatch(text, secret)
    }
  })

  t.test('after close', async t => {
    const kms = kmipKms(server.options())
    await kms.describe(keyId)
    const running = kms.describe(keyId)
    await kms.close()
    await t.rejects(running, { code: 'KmsUnavailable' })
    await t.rejects(kms.describe(keyId), { code: 'KmsUnavailable', message: /was closed/ })
    await kms.close()
  })

  t.test('options out of their bounds', async t => {
    const wrong = [
      { instance: 'Kmip' },
      { port: 0 },
      { port: 65_536 },
      { connections: 0 },
      { queue: -1 },
      { maxAnswer: 10 },
      { maxAnswer: 2 ** 30 },
    ]
    for (const each of wrong) t.throws(() => kmipKms(server.options('gateway', each)), RangeError, inspect(each))
  })
}

if (kmipMissing !== false) t.test('PyKMIP', { skip: kmipMissing }, async () => undefined)
else {
  const server = await startKmip()
  t.teardown(() => server.stop())
  tests(server)
}
