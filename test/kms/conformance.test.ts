/** The conformance suite: good key managers pass it, and each case fails on a key manager that is broken in what the case is about. */
import { readFileSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { base64, concat, copy, view } from '../../lib/bytes.ts'
import { randomBytes } from '../../lib/cipher/random.ts'
import { SseError } from '../../lib/errors.ts'
import { encryptionContext } from '../../lib/kms/context.ts'
import { DataKey } from '../../lib/kms/data-key.ts'
import type { KeyManager } from '../../lib/kms/manager.ts'
import { nameOf } from '../../lib/kms/testing/expect.ts'
import type { CallOptions, UnwrapRequest } from '../../lib/kms/provider.ts'
import { conformanceCases, type ConformanceSetup, memoryKms, runConformance } from '../../lib/testing.ts'
import { columns, runColumns } from '../support/conformance.ts'
import { localSetup } from '../support/local-kms.ts'
import { memorySetup, type MemorySetup } from '../support/memory-kms.ts'

t.test('key managers that are as they should be', async t => {
  const memory = await runConformance(await memorySetup())
  t.match(memory, { provider: 'memory', bindsContext: true, passed: true })
  const unbound = await runConformance(await memorySetup({ bindsContext: false }))
  t.match(unbound, { provider: 'memory', bindsContext: false, passed: true })
  for (const { results } of [memory, unbound]) {
    t.strictSame(
      results,
      conformanceCases.map(({ name, about }) => ({ name, about, outcome: 'passed' })),
      'every case applies',
    )
  }
  const local = await runConformance(await localSetup())
  t.match(local, { provider: 'local', passed: true })
})

t.test('a key manager that can do no more than it must', async t => {
  const { kms, keyId, otherKeyId } = await memorySetup()
  const { name, instance, bindsContext, generateDataKey, wrapDataKey, unwrapDataKey, rewrapDataKey, describe } = kms
  const least: KeyManager = {
    name,
    instance,
    bindsContext,
    generateDataKey,
    wrapDataKey,
    unwrapDataKey,
    rewrapDataKey,
    describe,
  }
  const report = await runConformance({ kms: least, keyId, otherKeyId })
  t.ok(report.passed)
  const inapplicable = report.results.flatMap(({ name, outcome, reason }) =>
    outcome === 'not applicable' && reason !== undefined ? [name] : [],
  )
  t.strictSame(inapplicable, [
    'missing key',
    'disabled key',
    'deleted key',
    'rotation',
    'list',
    'find',
    'create by ten at once',
    'component away and back',
    'throttling',
    'close twice',
  ])
})

t.test('cases that a setup rules out, and its end', async t => {
  let stopped = 0
  const setup = { ...(await memorySetup()), stop: () => void stopped++ }
  const report = await runConformance({ ...setup, notApplicable: { rotation: 'its component rotates by itself' } })
  t.equal(stopped, 1)
  t.match(
    report.results.find(({ name }) => name === 'rotation'),
    { outcome: 'not applicable', reason: 'its component rotates by itself' },
  )
})

t.test('a setup that cannot be right is refused before the first case, and stopped', async t => {
  const good = await memorySetup()
  const { kms, keyId, otherKeyId } = good
  const disabled = (await kms.create('disabled')).keyId
  await kms.disable(disabled)
  const down = memoryKms({ fault: () => 'unavailable' })
  const leaky: KeyManager = {
    ...kms,
    describe: async () => {
      throw new SseError('KmsUnavailable', { cause: new TypeError('refused', { cause: new Error('token-1 expired') }) })
    },
  }
  const untyped: ConformanceSetup = JSON.parse('{ "kms": {}, "otherKeyId": "b" }')
  const refused: readonly (readonly [ConformanceSetup, string | RegExp])[] = [
    [untyped, /^The setup lacks keyId, kms\.generateDataKey, .*kms\.describe\.$/],
    [
      { ...good, notApplicable: { rotations: 'a misspelt name' } },
      /^notApplicable of the setup: there is no case "rotations"\. There are wrap and unwrap, generate, /,
    ],
    [{ ...good, otherKeyId: keyId }, 'keyId and otherKeyId of the setup are the same. Name two keys.'],
    [
      { ...good, keyId: 'first' },
      'keyId of the setup, first, is no key that can be used: describe rejects with KeyNotFound.',
    ],
    [
      { ...good, otherKeyId: disabled },
      `otherKeyId of the setup, ${disabled}, must be enabled, and describe answers that it is disabled.`,
    ],
    [
      { ...good, kms: { ...kms, describe: async () => ({ keyId: otherKeyId, state: 'enabled' }) } },
      `keyId of the setup, ${keyId}, is no full id, or describe is wrong: it answers ${otherKeyId}.`,
    ],
    [{ ...good, kms: down }, /describe rejects with KmsUnavailable\.$/],
    [
      { ...good, kms: leaky, secrets: ['token-1'] },
      /describe rejects with KmsUnavailable \(cause: TypeError: refused; cause: Error: \[secret\] expired\)\.$/,
    ],
  ]
  for (const [setup, message] of refused) {
    let stopped = 0
    await t.rejects(runConformance({ ...setup, stop: () => void stopped++ }), { code: 'InvalidSetup', message })
    t.equal(stopped, 1)
  }
})

t.test('what a case says of an error', async t => {
  const socket = Object.assign(new Error('other side closed'), { name: 'SocketError' })
  const unavailable = new SseError('KmsUnavailable', { cause: new TypeError('fetch failed', { cause: socket }) })
  t.equal(nameOf(unavailable), 'KmsUnavailable (cause: TypeError: fetch failed; cause: SocketError: other side closed)')
  t.equal(nameOf(new SseError('KmsUnavailable', { message: 'It is closed.' })), 'KmsUnavailable: It is closed')
  const refused = new AggregateError([
    new Error('connect ECONNREFUSED ::1:1'),
    new Error('connect ECONNREFUSED 127.0.0.1:1'),
  ])
  t.equal(nameOf(refused), 'AggregateError: connect ECONNREFUSED ::1:1, connect ECONNREFUSED 127.0.0.1:1')
  t.match(nameOf(Object.assign(new Error('no key'), { name: 'SseError' })), /another copy of sse-kms-streams/)
  t.equal(nameOf('a string'), 'a string')
  t.equal(nameOf({ a: 1 }), '{ a: 1 }')
  const endless = new Error('an error that is its own cause')
  endless.cause = endless
  t.equal(nameOf(endless).split('cause: ').length, 6)
  const setup = await memorySetup()
  const kms: KeyManager = {
    ...setup.kms,
    unwrapDataKey: async () => {
      throw new SseError('KmsUnavailable', { cause: new Error('pin-1234 was refused') })
    },
  }
  const { results } = await runConformance({ ...setup, kms, secrets: ['pin-1234'] })
  t.equal(
    results[0]?.reason,
    'unwrapDataKey of a wrapped key rejects with KmsUnavailable (cause: Error: [secret] was refused).',
  )
})

t.test('states that the setup changes', async t => {
  const { kms, keyId, otherKeyId, missing } = await memorySetup()
  const { disable, enable, rotate, create, scheduleDeletion, ...rest } = kms
  let rotated = 0
  const setup: ConformanceSetup = {
    kms: rest,
    keyId,
    otherKeyId,
    missing,
    disable,
    enable,
    rotate: async id => {
      rotated++
      await rotate(id)
    },
    deleted: async () => (await scheduleDeletion((await create('deleted')).keyId)).keyId,
  }
  const { passed, results } = await runConformance(setup)
  t.ok(passed)
  t.equal(rotated, 1)
  for (const name of ['disabled key', 'deleted key', 'rotation']) {
    t.equal(results.find(each => each.name === name)?.outcome, 'passed', name)
  }
})

type Break = (setup: MemorySetup) => Partial<KeyManager> | Promise<Partial<KeyManager>>

const unavailable = async (): Promise<never> => {
  throw new SseError('KmsUnavailable')
}

/** Every call of the data path with another key id. */
const byId = ({ kms }: MemorySetup, idOf: (keyId: string) => string): Partial<KeyManager> => ({
  generateDataKey: async (target, call) => {
    const made = await kms.generateDataKey({ ...target, keyId: idOf(target.keyId) }, call)
    return { ...made, wrapped: { ...made.wrapped, keyId: target.keyId } }
  },
  wrapDataKey: async (key, target, call) => {
    const wrapped = await kms.wrapDataKey(key, { ...target, keyId: idOf(target.keyId) }, call)
    return { ...wrapped, keyId: target.keyId }
  },
  unwrapDataKey: ({ wrapped, context }, call) =>
    kms.unwrapDataKey({ wrapped: { ...wrapped, keyId: idOf(wrapped.keyId) }, context }, call),
})

/** Every call of the data path without its signal. */
const deaf = ({ kms }: MemorySetup): Partial<KeyManager> => ({
  generateDataKey: target => kms.generateDataKey(target),
  wrapDataKey: (key, target) => kms.wrapDataKey(key, target),
  unwrapDataKey: request => kms.unwrapDataKey(request),
  rewrapDataKey: request => kms.rewrapDataKey(request),
})

/** Calls that are given up break the connection for good. */
const fragile = ({ kms }: MemorySetup): Partial<KeyManager> => {
  let broken = false
  const watched = async <T>(call: CallOptions | undefined, run: () => Promise<T>): Promise<T> => {
    if (broken) return unavailable()
    call?.signal?.addEventListener('abort', () => (broken = true))
    return run()
  }
  return {
    generateDataKey: (target, call) => watched(call, () => kms.generateDataKey(target, call)),
    wrapDataKey: (key, target, call) => watched(call, () => kms.wrapDataKey(key, target, call)),
    unwrapDataKey: (request, call) => watched(call, () => kms.unwrapDataKey(request, call)),
    rewrapDataKey: (request, call) => watched(call, () => kms.rewrapDataKey(request, call)),
  }
}

/** Throws these errors of the data path as others. */
const mapped = ({ kms }: MemorySetup, from: string, to: (error: SseError) => Error): Partial<KeyManager> => {
  const calls = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work
    } catch (error) {
      throw error instanceof SseError && error.code === from ? to(error) : error
    }
  }
  return {
    generateDataKey: (target, call) => calls(kms.generateDataKey(target, call)),
    wrapDataKey: (key, target, call) => calls(kms.wrapDataKey(key, target, call)),
    unwrapDataKey: (request, call) => calls(kms.unwrapDataKey(request, call)),
    rewrapDataKey: (request, call) => calls(kms.rewrapDataKey(request, call)),
  }
}

/** A key manager with an answer that its type does not allow, as code without types may give. */
const broken = (method: keyof KeyManager, run: (argument: string) => Promise<unknown>): Partial<KeyManager> =>
  Object.fromEntries([[method, run]])

/** A key manager that tells of keys with another value of a field. */
const described =
  (field: string, value: unknown): Break =>
  ({ kms }) =>
    broken('describe', async keyId => ({ ...(await kms.describe(keyId)), ...Object.fromEntries([[field, value]]) }))

const anyKey: Partial<KeyManager> = { unwrapDataKey: async () => new DataKey(randomBytes(32)) }

/** What is broken, by the case that has to find it; and what the case says. */
const faults: Readonly<Record<string, readonly (readonly [reason: RegExp, Break])[]>> = {
  'wrap and unwrap': [
    [/a wrapped key unwraps to another key/, () => anyKey],
    [
      /changes the key that it is given/,
      ({ kms }) => ({
        wrapDataKey: async (key, target) => {
          const wrapped = await kms.wrapDataKey(key, target)
          key.dispose()
          return wrapped
        },
      }),
    ],
    [
      /has the key in it, in the clear/,
      ({ kms }) => ({
        wrapDataKey: async (key, target) => {
          const wrapped = await kms.wrapDataKey(key, target)
          return { ...wrapped, blob: concat(wrapped.blob, key.bytes) }
        },
      }),
    ],
    [
      /^wrapDataKey rejects with TypeError: no route$/,
      () => ({ wrapDataKey: () => Promise.reject(new TypeError('no route')) }),
    ],
    [/is no DataKey of 32 bytes/, () => broken('unwrapDataKey', async () => undefined)],
    [
      /lies in \d{4,} bytes of memory that it shares/,
      ({ kms }) => ({
        unwrapDataKey: async request => new DataKey(Buffer.from((await kms.unwrapDataKey(request)).bytes)),
      }),
    ],
    [
      /has members of its own: text/,
      ({ kms }) => ({
        unwrapDataKey: async request => {
          const key = await kms.unwrapDataKey(request)
          return Object.assign(key, { text: base64(key.bytes) })
        },
      }),
    ],
    [
      /names the key alias\/first, not memory:/,
      ({ kms }) => ({
        wrapDataKey: async (key, target) => ({ ...(await kms.wrapDataKey(key, target)), keyId: 'alias/first' }),
      }),
    ],
  ],
  generate: [
    [
      /The key that generateDataKey answers lies in \d{4,} bytes/,
      ({ kms }) => ({
        generateDataKey: async target => {
          const { key, wrapped } = await kms.generateDataKey(target)
          return { key: new DataKey(Buffer.from(key.bytes)), wrapped }
        },
      }),
    ],
    [
      /the same key twice/,
      ({ kms }) => ({
        generateDataKey: async target => {
          const key = new DataKey(new Uint8Array(32))
          return { key, wrapped: await kms.wrapDataKey(key, target) }
        },
      }),
    ],
    [
      /unwraps to another key/,
      ({ kms }) => ({
        generateDataKey: async target => ({
          ...(await kms.generateDataKey(target)),
          key: new DataKey(randomBytes(32)),
        }),
      }),
    ],
  ],
  'another context': [
    [
      /under another object answers/,
      async () => {
        const loose = await memorySetup({ bindsContext: false })
        return byId(loose, () => loose.keyId)
      },
    ],
    [
      /NotAuthentic/,
      ({ kms }) => ({
        bindsContext: false,
        generateDataKey: async target => ({
          ...(await kms.generateDataKey(target)),
          key: new DataKey(randomBytes(32)),
        }),
      }),
    ],
  ],
  'tampered blob': [
    [
      /byte 0 of 64 changed answers/,
      ({ kms }) => ({
        unwrapDataKey: ({ wrapped, context }) => {
          const blob = copy(wrapped.blob)
          blob[0] = 0
          return kms.unwrapDataKey({ wrapped: { ...wrapped, blob }, context })
        },
      }),
    ],
    [
      /a byte more answers/,
      ({ kms }) => ({
        unwrapDataKey: ({ wrapped, context }) =>
          kms.unwrapDataKey({ wrapped: { ...wrapped, blob: wrapped.blob.subarray(0, 64) }, context }),
      }),
    ],
    [/rejects with KmsUnavailable/, setup => mapped(setup, 'NotAuthentic', () => new SseError('KmsUnavailable'))],
  ],
  'blob of another key': [
    [
      /unwrapDataKey answers/,
      ({ kms, otherKeyId }) => ({
        unwrapDataKey: async ({ wrapped, context }) => {
          for (const keyId of [wrapped.keyId, otherKeyId]) {
            const key = await kms.unwrapDataKey({ wrapped: { ...wrapped, keyId }, context }).catch(() => undefined)
            if (key !== undefined) return key
          }
          throw new SseError('NotAuthentic')
        },
      }),
    ],
  ],
  'rewrap within': [
    [
      /NotAuthentic/,
      ({ kms }) => ({
        rewrapDataKey: ({ from, to }) => kms.rewrapDataKey({ from, to: { ...to, context: from.context } }),
      }),
    ],
    [
      /changes the blob that it is given/,
      ({ kms }) => ({
        rewrapDataKey: async request => {
          const moved = await kms.rewrapDataKey({
            ...request,
            from: { ...request.from, wrapped: { ...request.from.wrapped, blob: copy(request.from.wrapped.blob) } },
          })
          if (request.to.keyId === request.from.wrapped.keyId && request.to.context === request.from.context) {
            request.from.wrapped.blob.fill(0)
          }
          return moved
        },
      }),
    ],
    [
      /names the key memory:.*, not memory:/,
      ({ kms }) => ({
        rewrapDataKey: async ({ from, to }) => ({
          ...(await kms.rewrapDataKey({ from, to })),
          keyId: from.wrapped.keyId,
        }),
      }),
    ],
  ],
  'rewrap between providers': [
    [
      /unwraps to another key/,
      ({ kms }) => ({
        wrapDataKey: async (_, target) => {
          const { key, wrapped } = await kms.generateDataKey(target)
          key.dispose()
          return wrapped
        },
      }),
    ],
  ],
  'missing key': [
    [/generateDataKey .* KmsUnavailable/, setup => mapped(setup, 'KeyNotFound', () => new SseError('KmsUnavailable'))],
    [/describe of memory:.* answers/, () => ({ describe: async keyId => ({ keyId, state: 'enabled' }) })],
  ],
  'foreign key': [
    [
      /generateDataKey under another-instance:.* answers/,
      setup => byId(setup, keyId => keyId.replace(/^[^:]*/, 'memory')),
    ],
  ],
  'another spelling': [
    [/generateDataKey under memory:.* {2}?answers/, setup => byId(setup, keyId => keyId.trim())],
    [/generateDataKey under MEMORY:.* answers/, setup => byId(setup, keyId => keyId.toLowerCase())],
    [/describe of .* answers another/, () => ({ describe: async () => ({ keyId: 'another', state: 'enabled' }) })],
  ],
  'names and ids': [
    [/name is KeyBox/, () => ({ name: 'KeyBox' })],
    [/instance is /, () => ({ instance: '' })],
    [/does not begin with the instance other and a colon/, () => ({ instance: 'other' })],
    [/holds says no to memory:/, () => ({ holds: () => false })],
    [/holds says yes to another-instance:key/, () => ({ holds: () => true })],
  ],
  'disabled key': [
    [
      /disable answers no key/,
      ({ kms }) =>
        broken('disable', async keyId => {
          await kms.disable(keyId)
        }),
    ],
    [
      /enable answers that it is disabled, not enabled/,
      ({ kms }) => ({ enable: async keyId => ({ ...(await kms.enable(keyId)), state: 'disabled' }) }),
    ],
    [
      /generateDataKey under a disabled key answers/,
      ({ kms }) => ({ disable: async keyId => ({ ...(await kms.describe(keyId)), state: 'disabled' }) }),
    ],
    [/that it is enabled/, ({ keyId }) => ({ describe: async () => ({ keyId, state: 'enabled' }) })],
    [/KeyAccessDenied/, setup => mapped(setup, 'KeyDisabled', () => new SseError('KeyAccessDenied'))],
  ],
  'deleted key': [
    [
      /generateDataKey under a deleted key answers/,
      ({ kms }) => ({
        scheduleDeletion: async keyId => ({ ...(await kms.describe(keyId)), state: 'pending-deletion' }),
      }),
    ],
    [
      /scheduleDeletion answers no key/,
      ({ kms }) =>
        broken('scheduleDeletion', async keyId => {
          await kms.scheduleDeletion(keyId)
        }),
    ],
    [
      /after 8 days answers a deletion in 30\.0 days/,
      ({ kms }) => ({ scheduleDeletion: keyId => kms.scheduleDeletion(keyId) }),
    ],
    [
      /after 8 days rejects with RangeError/,
      ({ kms }) => ({
        scheduleDeletion: async (keyId, options) => {
          if (options?.days === 8) throw new RangeError('days is 30')
          return kms.scheduleDeletion(keyId)
        },
      }),
    ],
    [
      /cancelDeletion answers that the key is pending-deletion/,
      ({ kms }) => ({ cancelDeletion: keyId => kms.describe(keyId) }),
    ],
  ],
  rotation: [
    [
      /NotAuthentic/,
      ({ kms }) => {
        let newest = 1
        return {
          rotate: keyId => {
            newest++
            return kms.rotate(keyId)
          },
          unwrapDataKey: async request => {
            if (view(request.wrapped.blob).getUint32(0) !== newest) throw new SseError('NotAuthentic')
            return kms.unwrapDataKey(request)
          },
        }
      },
    ],
    [/the version is 1, and it was 1/, ({ kms }) => ({ rotate: keyId => kms.describe(keyId) })],
    [
      /rotate answers no key/,
      ({ kms }) =>
        broken('rotate', async keyId => {
          await kms.rotate(keyId)
        }),
    ],
  ],
  describe: [
    [
      /answers alias\/first, not memory:/,
      () => ({ describe: async () => ({ keyId: 'alias/first', state: 'enabled' }) }),
    ],
    [/answers created 1\d{9}\. It is a number of ms/, described('created', Math.floor(Date.now() / 1000))],
    [/answers created .* It is a number of ms/, described('created', new Date())],
    [/answers deletion 2026-11-28\. It is a number/, described('deletion', '2026-11-28')],
    [/answers the version v1\. Versions are counted from 1/, described('version', 'v1')],
    [/answers the version 0\./, described('version', 0)],
    [/answers the state ENABLED\. It is one of enabled, /, described('state', 'ENABLED')],
    [/answers a name that is no string/, described('name', null)],
  ],
  list: [
    [/list does not tell of/, () => ({ list: async () => [] })],
    [/list must answer an array/, () => broken('list', async () => ({ keys: [] }))],
    [/list answers no key/, () => broken('list', async () => ['memory:first'])],
  ],
  find: [
    [/a name that no key has/, ({ kms }) => ({ find: () => kms.list() })],
    [/find does not tell of a key/, () => ({ find: async () => [] })],
    [
      /find of a name that no key has, which must answer \[\], must answer an array/,
      ({ kms }) => broken('find', async name => (await kms.find(name))[0]),
    ],
    [
      /find of a name that no key has, which must answer \[\], rejects with KeyNotFound/,
      () => ({ find: () => Promise.reject(new SseError('KeyNotFound')) }),
    ],
    [
      /create answers that it is disabled/,
      ({ kms }) => ({ create: async name => kms.disable((await kms.create(name)).keyId) }),
    ],
  ],
  'create by ten at once': [
    [
      /create rejects with Error: 409\. Ten that create one name at once must each get a key: answer the one/,
      ({ kms }) => {
        const taken = new Set<string>()
        return {
          create: async name => {
            if (taken.has(name)) throw new Error('409')
            taken.add(name)
            return kms.create(name)
          },
        }
      },
    ],
    [
      /find does not tell of/,
      ({ kms }) => {
        let count = 0
        return { create: name => kms.create(`${name}-${count++}`) }
      },
    ],
  ],
  '200 calls at once': [
    [
      /got another key/,
      ({ kms }) => {
        let last: UnwrapRequest | undefined
        return {
          unwrapDataKey: async request => {
            last = request
            await turn()
            return kms.unwrapDataKey(last)
          },
        }
      },
    ],
  ],
  'abort before a call': [
    [/generateDataKey answers, although/, deaf],
    [
      /not with the signal's reason/,
      ({ kms }) => ({
        generateDataKey: async (target, call) => {
          if (call?.signal?.aborted === true) throw new SseError('KmsUnavailable')
          return kms.generateDataKey(target)
        },
      }),
    ],
  ],
  'abort in the middle': [[/generateDataKey, aborted, did not end/, deaf]],
  deadline: [[/The next calls do not work/, fragile]],
  'component away and back': [
    [
      /generateDataKey rejects with KeyNotFound/,
      setup => mapped(setup, 'KmsUnavailable', () => new SseError('KeyNotFound')),
    ],
    [/describe answers/, ({ keyId }) => ({ describe: async () => ({ keyId, state: 'enabled' }) })],
  ],
  throttling: [
    [/rejects with KmsUnavailable/, setup => mapped(setup, 'KmsThrottled', () => new SseError('KmsUnavailable'))],
  ],
  'answers and lies': [
    [
      /rewrapDataKey does not pass the checks: .*names the key other/,
      ({ kms }) => ({
        rewrapDataKey: async request => ({ ...(await kms.rewrapDataKey(request)), keyId: 'other' }),
      }),
    ],
    [
      /A bucket key does not pass the checks: .*unwraps to another key/,
      ({ kms }) => ({
        generateDataKey: async target => ({
          ...(await kms.generateDataKey(target)),
          key: new DataKey(randomBytes(32)),
        }),
      }),
    ],
  ],
  'nothing secret is shown': [
    [
      /An error shows a data key/,
      ({ kms }) => ({
        wrapDataKey: async (key, target, call) => {
          try {
            return await kms.wrapDataKey(key, target, call)
          } catch (error) {
            throw new SseError('KeyNotFound', { cause: new Error(`request: ${base64(key.bytes)}`, { cause: error }) })
          }
        },
      }),
    ],
    [
      /A log shows a data key/,
      ({ kms }) => ({
        unwrapDataKey: async request => {
          const key = await kms.unwrapDataKey(request)
          process.stderr.write(`# ${Buffer.from(key.bytes).toString('hex')}\n`)
          return key
        },
      }),
    ],
    [
      /The key manager shows a secret/,
      () => {
        const closed = () => undefined
        return { close: Object.assign(closed, { pin: 'pin-1234' }) }
      },
    ],
    [
      /^wrapDataKey rejects with KmsUnavailable \(cause: TypeError: fetch failed\)$/,
      () => ({
        wrapDataKey: async () => {
          throw new SseError('KmsUnavailable', { cause: new TypeError('fetch failed') })
        },
      }),
    ],
  ],
  'close twice': [
    [
      /The second close rejects/,
      () => {
        let closed = false
        return {
          close: async () => {
            if (closed) throw new TypeError('closed already')
            closed = true
          },
        }
      },
    ],
    [
      /The first close rejects with Error: thrown/,
      () => ({
        close: () => {
          throw new Error('thrown')
        },
      }),
    ],
  ],
}

for (const { name, run } of conformanceCases) {
  t.test(`broken: ${name}`, async t => {
    const found = faults[name] ?? []
    t.ok(found.length > 0, 'there is something broken for each case')
    for (const [reason, make] of found) {
      const setup = await memorySetup()
      const kms: KeyManager = { ...setup.kms, ...(await make(setup)) }
      const ended = await run({ ...setup, kms, secrets: ['pin-1234'] }).then(() => 'it passes', nameOf)
      t.match(ended, reason, String(reason))
    }
  })
}

t.test('a case that fails is in the report, and the others go on', async t => {
  const setup = await memorySetup()
  const { passed, results } = await runConformance({ ...setup, kms: { ...setup.kms, list: async () => [] } })
  t.notOk(passed)
  const failed = results.filter(({ outcome }) => outcome !== 'passed')
  t.match(failed, [{ name: 'list', about: /tells of all keys/, outcome: 'failed', reason: /list does not tell of/ }])
  t.equal(results.length, conformanceCases.length)
})

t.test('faults of the key manager in memory', async t => {
  const target = { keyId: 'memory:none', context: encryptionContext() }
  const faulty = memoryKms({ instance: 'mem-2', fault: method => (method === 'create' ? undefined : 'lie') })
  const { keyId } = await faulty.create('a')
  t.match(keyId, /^mem-2:[0-9a-f-]{36}$/)
  t.equal((await faulty.describe(keyId)).keyId, `${keyId}-other`)
  const { key, wrapped } = await faulty.generateDataKey({ ...target, keyId })
  t.equal(wrapped.keyId, `${keyId}-other`)
  const another = await faulty.unwrapDataKey({ wrapped: { ...wrapped, keyId }, context: target.context })
  t.notSame(another.bytes, key.bytes)
  const slow = memoryKms({ fault: () => ({ delay: 20 }) })
  const begun = performance.now()
  await t.rejects(slow.generateDataKey(target), { code: 'KeyNotFound' })
  t.ok(performance.now() - begun > 15)
  t.throws(() => memoryKms({ instance: 'A' }), RangeError)
  await t.rejects(memoryKms().create('no name'), RangeError)
  const longest = 'n'.repeat(200)
  t.equal((await memoryKms().create(longest)).name, longest)
})

t.test('docs/conformance.md is in step for what runs everywhere', async t => {
  const text = readFileSync(new URL('../../docs/conformance.md', import.meta.url), 'utf8')
  const rows = text
    .split('\n')
    .flatMap(line => (line.startsWith('|') ? [line.split('|').map(cell => cell.trim())] : []))
  const [head = [], , , ...cases] = rows
  t.strictSame(
    head.slice(2, -1),
    columns.map(({ name, component }) => `${name}<br>${component}`),
  )
  t.strictSame(
    cases.map(([, about]) => about?.split(':')[0]),
    conformanceCases.map(({ name }) => name),
  )
  const here = columns.filter(({ name }) => name === 'local' || name === 'memory')
  for (const { name, component, report } of await runColumns(here, () => undefined)) {
    const at = head.indexOf(`${name}<br>${component}`)
    t.strictSame(
      cases.map(cells => cells[at]),
      report?.results.map(({ outcome }) => ({ passed: 'yes', failed: '**no**', 'not applicable': '–' })[outcome]),
      name,
    )
  }
})
