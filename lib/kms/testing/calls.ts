/** Cases of the conformance suite: many calls at once, calls that are given up, components that fail, answers that lie. */
import { setImmediate as turn, setTimeout as pause } from 'node:timers/promises'
import { equal } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { checkedForBucketKeys, checkedWrapper } from '../checked.ts'
import type { DataKey } from '../data-key.ts'
import type { DataKeyWrapper, WrappedKey } from '../provider.ts'
import { providerWrapAlg } from '../wrap.ts'
import {
  answerOf,
  context,
  dataPath,
  during,
  fail,
  generate,
  inTime,
  nameOf,
  rejects,
  withKey,
  works,
  wrap,
} from './expect.ts'
import type { ConformanceCase, ConformanceSetup } from './setup.ts'

const manyCalls: ConformanceCase = {
  name: '200 calls at once',
  about: 'Two hundred calls at once each get an answer of their own.',
  run: async ({ kms, keyId }) => {
    const made = await Promise.all(Array.from({ length: 200 }, () => generate(kms, { keyId, context })))
    const unwrapped = await Promise.all(
      made.map(({ wrapped }) => answerOf('unwrapDataKey', () => kms.unwrapDataKey({ wrapped, context }))),
    )
    try {
      for (const [i, { key }] of made.entries()) {
        if (!equal(key.bytes, unwrapped[i]?.bytes ?? new Uint8Array()))
          fail('One of 200 calls at once got another key.')
      }
    } finally {
      for (const { key } of made) key.dispose()
      for (const key of unwrapped) key.dispose()
    }
    return undefined
  },
}

/** All calls of the data path under `keyId`, for as long as `use` takes. */
const withCalls = <T>(
  { kms, keyId }: Pick<ConformanceSetup, 'kms' | 'keyId'>,
  use: (calls: ReturnType<typeof dataPath>) => Promise<T>,
): Promise<T> =>
  withKey(async key => {
    const wrapped = await wrap(kms, key, { keyId, context })
    return use(dataPath(kms, { target: { keyId, context }, from: { wrapped, context } }))
  })

/** What a call rejects with; `undefined` where it answers. */
const failureOf = async (work: Promise<unknown>): Promise<{ readonly reason: unknown } | undefined> => {
  try {
    await work
    return undefined
  } catch (reason) {
    return { reason }
  }
}

const abortedBefore: ConformanceCase = {
  name: 'abort before a call',
  about: 'A call whose signal is aborted already rejects with the reason of the signal.',
  run: setup =>
    withCalls(setup, async calls => {
      for (const [name, run] of calls) {
        const reason = new Error('the reason of the signal')
        const failure = await failureOf(inTime(name, 5000, run({ signal: AbortSignal.abort(reason) })))
        if (failure === undefined) fail(`${name} answers, although its signal was aborted before.`)
        if (failure?.reason !== reason)
          fail(`${name} rejects with ${nameOf(failure?.reason)}, not with the signal's reason.`)
      }
      await works(setup.kms, 'a key afterwards', setup.keyId)
      return undefined
    }),
}

const abortedMidway: ConformanceCase = {
  name: 'abort in the middle',
  about:
    'A call that is aborted while it is under way rejects with the reason of the signal at once, and the next calls work.',
  run: setup =>
    withCalls(setup, async calls => {
      const { hang } = setup
      for (const [name, run] of calls) {
        const abort = async () => {
          const reason = new Error('the reason of the signal')
          const controller = new AbortController()
          const failure = failureOf(run({ signal: controller.signal }))
          await (hang === undefined ? turn() : pause(50))
          controller.abort(reason)
          const settled = await inTime(`${name}, aborted,`, 2000, failure)
          if (settled === undefined && hang === undefined) return // it was done already
          if (settled === undefined) fail(`${name} answers, although its component answers nothing.`)
          if (settled?.reason !== reason)
            fail(`${name} rejects with ${nameOf(settled?.reason)}, not with the signal's reason.`)
        }
        await (hang === undefined ? abort() : during('hang', hang, abort))
        await recovers(setup)
      }
      return undefined
    }),
}

const deadline: ConformanceCase = {
  name: 'deadline',
  about: 'A call whose deadline passes is KmsUnavailable, and the next calls work.',
  run: async setup => {
    const { hang, keyId } = setup
    const kms = checkedWrapper(setup.kms, hang === undefined ? 1 : 100)
    const target = { keyId, context }
    await withKey(async key => {
      const wrapped = await wrap(setup.kms, key, target)
      const calls = dataPath(kms, { target, from: { wrapped, context } })
      const late = async () => {
        for (const [name, run] of calls) {
          const failure = await failureOf(inTime(name, 5000, run()))
          if (failure === undefined && hang === undefined) continue // faster than its deadline
          const { reason } = failure ?? { reason: 'an answer, although its component answers nothing' }
          if (!(reason instanceof SseError) || reason.code !== 'KmsUnavailable')
            fail(`${name} ends with ${nameOf(reason)}. It must reject with KmsUnavailable.`)
        }
      }
      await (hang === undefined ? late() : during('hang', hang, late))
    })
    await recovers(setup)
    return undefined
  },
}

const recovery = 10_000

/** Rejects unless the key manager works again soon. */
const recovers = async ({ kms, keyId }: ConformanceSetup): Promise<void> => {
  const end = Date.now() + recovery
  for (;;) {
    const failure = await failureOf(inTime('a call after the fault', 5000, works(kms, 'a key after the fault', keyId)))
    if (failure === undefined) return
    if (Date.now() > end) return fail(`The next calls do not work: ${nameOf(failure.reason)}.`)
    await pause(200)
  }
}

const failing = (
  name: string,
  about: string,
  code: 'KmsUnavailable' | 'KmsThrottled',
  member: 'unavailable' | 'throttled',
): ConformanceCase => ({
  name,
  about,
  run: async setup => {
    const fault = setup[member]
    if (fault === undefined) return 'the setup has no means for it'
    await withCalls(setup, calls =>
      during(member, fault, async () => {
        for (const [name, run] of calls) await inTime(name, 10_000, rejects(name, run, code))
        await inTime(
          'describe',
          10_000,
          rejects('describe', () => setup.kms.describe(setup.keyId), code),
        )
      }),
    )
    await recovers(setup)
    return undefined
  },
})

const unavailable = failing(
  'component away and back',
  'Calls are KmsUnavailable while the component cannot be reached, and work when it is back.',
  'KmsUnavailable',
  'unavailable',
)

const throttled = failing(
  'throttling',
  'Calls are KmsThrottled while the component asks to be left alone, and work afterwards.',
  'KmsThrottled',
  'throttled',
)

/** The same provider, but for the answers that a test changes. */
const withAnswers = (kms: DataKeyWrapper, change: (wrapped: WrappedKey) => WrappedKey): DataKeyWrapper => ({
  name: kms.name,
  bindsContext: kms.bindsContext,
  generateDataKey: async (target, call) => {
    const { key, wrapped } = await kms.generateDataKey(target, call)
    return { key, wrapped: change(wrapped) }
  },
  wrapDataKey: async (key, target, call) => change(await kms.wrapDataKey(key, target, call)),
  unwrapDataKey: (request, call) => kms.unwrapDataKey(request, call),
  rewrapDataKey: async (request, call) => change(await kms.rewrapDataKey(request, call)),
})

const lies: readonly (readonly [string, (wrapped: WrappedKey) => WrappedKey])[] = [
  ['another provider', wrapped => ({ ...wrapped, provider: 'another' })],
  ['another key', wrapped => ({ ...wrapped, keyId: `${wrapped.keyId}-other` })],
  ['another wrapAlg', wrapped => ({ ...wrapped, wrapAlg: 3 })],
  ['no blob', wrapped => ({ ...wrapped, blob: new Uint8Array() })],
  ['a blob that is too long', wrapped => ({ ...wrapped, blob: new Uint8Array(6145) })],
]

const lying: ConformanceCase = {
  name: 'answers and lies',
  about:
    'Its answers pass the checks of the façade, for data keys and for bucket keys; the same answers with a lie in them do not.',
  run: async ({ kms, keyId }) => {
    const target = { keyId, context }
    const checked = checkedWrapper(kms)
    await withCalls({ kms: asManager(checked, kms), keyId }, async calls => {
      for (const [name, run] of calls) {
        const failure = await failureOf(run())
        if (failure !== undefined) fail(`${name} does not pass the checks: ${causeOf(failure.reason)}.`)
      }
    })
    const forBuckets = await failureOf(disposed(checkedForBucketKeys(checked).generateDataKey(target)))
    if (forBuckets !== undefined) fail(`A bucket key does not pass the checks: ${causeOf(forBuckets.reason)}.`)
    for (const [what, change] of lies) {
      const liar = checkedWrapper(withAnswers(kms, change))
      await rejects(`generateDataKey with ${what}`, () => disposed(liar.generateDataKey(target)), 'KmsUnavailable')
      await rejects(`wrapDataKey with ${what}`, () => withKey(key => liar.wrapDataKey(key, target)), 'KmsUnavailable')
    }
    const another = await generate(kms, target)
    another.key.dispose()
    const swapped = withAnswers(kms, wrapped => ({
      ...wrapped,
      wrapAlg: providerWrapAlg(kms.name),
      blob: another.wrapped.blob,
    }))
    const bucketKeys = checkedForBucketKeys(checkedWrapper(swapped))
    await rejects(
      'a bucket key with the blob of another',
      () => disposed(bucketKeys.generateDataKey(target)),
      'KmsUnavailable',
    )
    return undefined
  },
}

const asManager = (checked: DataKeyWrapper, kms: ConformanceSetup['kms']): ConformanceSetup['kms'] => ({
  ...checked,
  instance: kms.instance,
  describe: (key, call) => kms.describe(key, call),
})

const disposed = async (work: Promise<{ readonly key: DataKey }>): Promise<void> => {
  const { key } = await work
  key.dispose()
}

const causeOf = (error: unknown): string =>
  nameOf(error instanceof Error && error.cause !== undefined ? error.cause : error)

const closedTwice: ConformanceCase = {
  name: 'close twice',
  about: 'close may be called twice. It is the last case: nothing works afterwards.',
  run: async ({ kms }) => {
    if (kms.close === undefined) return 'it has nothing to close'
    for (const count of ['first', 'second']) {
      const failure = await failureOf(inTime(`The ${count} close`, 10_000, (async () => kms.close?.())()))
      if (failure !== undefined) fail(`The ${count} close rejects with ${nameOf(failure.reason)}.`)
    }
    return undefined
  },
}

/** Calls that are many, given up or answered wrongly. */
export const calls: readonly ConformanceCase[] = [
  manyCalls,
  abortedBefore,
  abortedMidway,
  deadline,
  unavailable,
  throttled,
  lying,
]

/** What comes last. */
export const closing: readonly ConformanceCase[] = [closedTwice]
