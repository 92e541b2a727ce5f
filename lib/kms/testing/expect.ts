/** What the cases of the conformance suite are made of: keys, contexts, and what is expected of an answer or a rejection. */
import { inspect } from 'node:util'
import { equal } from '../../bytes.ts'
import { randomBytes } from '../../cipher/random.ts'
import { keySize } from '../../cipher/suite.ts'
import { type ErrorCode, errorTable, SseError } from '../../errors.ts'
import { type EncryptionContext, encryptionContext } from '../context.ts'
import { DataKey } from '../data-key.ts'
import type { ManagedKey } from '../manager.ts'
import type { CallOptions, DataKeyWrapper, GeneratedKey, UnwrapRequest, WrappedKey, WrapTarget } from '../provider.ts'
import { maxBlob, maxInner, providerWrapAlg } from '../wrap.ts'
import type { Fault } from './setup.ts'

/** The context of an object, as a gateway makes it. */
export const context: EncryptionContext = encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::bucket/key', a: 'bc' })

/** Contexts that must not stand for {@link context}, with what each is. */
export const otherContexts: readonly (readonly [string, EncryptionContext])[] = [
  ['another object', encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::bucket/other', a: 'bc' })],
  ['an entry less', encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::bucket/key' })],
  ['an entry more', encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::bucket/key', a: 'bc', d: 'e' })],
  ['the same letters in another name', encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::bucket/key', ab: 'c' })],
  ['no entry', encryptionContext()],
]

/** Ends a case that does not hold. */
export const fail = (message: string): never => {
  throw new SseError('NotConforming', { message })
}

const mostCauses = 5
const mostLetters = 300

/** What an error says itself. Node's own for several addresses that refuse is empty, but for those in it. */
const messageOf = (error: Error): string => {
  if (error.message !== '' || !(error instanceof AggregateError)) return error.message
  return error.errors.map(each => (each instanceof Error ? each.message : '')).join(', ')
}

/** A thrown value without its causes. */
const brief = (error: unknown): string => {
  if (!(error instanceof Error)) return typeof error === 'object' ? inspect(error, { depth: 1 }) : String(error)
  const message = messageOf(error).trim().replace(/\.$/, '').slice(0, mostLetters)
  if (error instanceof SseError) {
    return error.message === errorTable[error.code].message ? error.code : `${error.code}: ${message}`
  }
  const other = error.name === 'SseError' ? ' (an error of another copy of sse-kms-streams: load one copy alone)' : ''
  return `${error.name}: ${message}${other}`
}

/** A thrown value in a few words, with its causes and without a full stop: `KmsUnavailable (cause: TypeError: fetch failed)`. */
export const nameOf = (error: unknown): string => {
  if (error instanceof SseError && error.code === 'NotConforming') return error.message.replace(/\.$/, '')
  const causes: string[] = []
  let cause = error instanceof Error ? error.cause : undefined
  while (cause !== undefined && causes.length < mostCauses) {
    causes.push(`cause: ${brief(cause)}`)
    cause = cause instanceof Error ? cause.cause : undefined
  }
  return causes.length === 0 ? brief(error) : `${brief(error)} (${causes.join('; ')})`
}

/** A text without the secrets that a setup names: causes are those of the key manager. */
export const withoutSecrets = (text: string, secrets: readonly string[] = []): string =>
  secrets.reduce((shown, secret) => (secret === '' ? shown : shown.replaceAll(secret, '[secret]')), text)

/** What work answers that must not reject here; `what` names it where it does. */
export const answerOf = async <T>(what: string, work: () => Promise<T> | T): Promise<T> => {
  try {
    return await work()
  } catch (error) {
    if (error instanceof SseError && error.code === 'NotConforming') throw error
    return fail(`${what} rejects with ${nameOf(error)}.`)
  }
}

/** A new data key, for as long as `use` takes. */
export const withKey = async <T>(use: (key: DataKey) => Promise<T>): Promise<T> => {
  const key = new DataKey(randomBytes(keySize))
  try {
    return await use(key)
  } finally {
    key.dispose()
  }
}

/** The calls of a key manager that carry keys, each with its name: what is said of all of them. */
export interface Calls {
  readonly target: WrapTarget
  readonly from: UnwrapRequest
}

/** Every call of the data path under one key, one after the other; what they answer is wiped. */
export const dataPath = (
  kms: DataKeyWrapper,
  { target, from }: Calls,
): readonly (readonly [name: string, run: (call?: CallOptions) => Promise<unknown>])[] => [
  [
    'generateDataKey',
    async call => {
      const { key, wrapped } = await kms.generateDataKey(target, call)
      key.dispose()
      return wrapped
    },
  ],
  ['wrapDataKey', call => withKey(key => kms.wrapDataKey(key, target, call))],
  [
    'unwrapDataKey',
    async call => {
      const key = await kms.unwrapDataKey(from, call)
      key.dispose()
    },
  ],
  ['rewrapDataKey', call => kms.rewrapDataKey({ from, to: target }, call)],
]

/** Rejects unless the work rejects with an `SseError` of one of these codes; else resolves to that error. */
export const rejects = async (
  what: string,
  work: () => Promise<unknown>,
  ...codes: readonly ErrorCode[]
): Promise<SseError> => {
  let answer: unknown
  try {
    answer = await work()
  } catch (error) {
    if (error instanceof SseError && codes.includes(error.code)) return error
    return fail(`${what} rejects with ${nameOf(error)}. It must reject with ${codes.join(' or ')}.`)
  }
  if (answer instanceof DataKey) answer.dispose()
  return fail(`${what} answers. It must reject with ${codes.join(' or ')}.`)
}

/** Checks a wrapped key as the façade does: names, wrapAlg and length. */
export const checkWrapped = (kms: DataKeyWrapper, what: string, wrapped: WrappedKey, keyId: string): void => {
  const limit = kms.bindsContext ? maxBlob : maxInner
  if (wrapped.provider !== kms.name) fail(`${what} names the provider ${wrapped.provider}, not ${kms.name}.`)
  if (wrapped.keyId !== keyId) fail(`${what} names the key ${wrapped.keyId}, not ${keyId}.`)
  const wrapAlg = providerWrapAlg(kms.name)
  if (wrapped.wrapAlg !== wrapAlg) fail(`${what} has wrapAlg ${wrapped.wrapAlg}, not ${wrapAlg}.`)
  if (!(wrapped.blob instanceof Uint8Array)) fail(`${what} has a blob that is no Uint8Array.`)
  const size = wrapped.blob.length
  if (size < 1 || size > limit) fail(`${what} has a blob of ${size} bytes. It has 1 to ${limit}.`)
}

/** Checks that what was answered is a data key. */
const checkKey = (what: string, key: DataKey): void => {
  if (!(key?.bytes instanceof Uint8Array) || key.bytes.length !== keySize) fail(`${what} is no DataKey of 32 bytes.`)
}

/** Checks that a data key can be wiped: it lies in memory of its own, with nothing besides. */
export const checkMemory = (what: string, key: DataKey): void => {
  const { byteLength } = key.bytes.buffer
  if (byteLength !== keySize) {
    fail(`${what} lies in ${byteLength} bytes of memory that it shares. Copy it into a Uint8Array of 32 bytes.`)
  }
  const others = Reflect.ownKeys(key).map(String)
  if (others.length > 0) fail(`${what} has members of its own: ${others.join(', ')}. They are not wiped with it.`)
}

const states: ReadonlySet<unknown> = new Set(['enabled', 'disabled', 'pending-deletion'])

/** Whether a number can be ms since 1970: seconds and microseconds are of 1970 then, or of the far future. */
const isTime = (time: unknown): boolean => typeof time === 'number' && time > 1e11 && time < 1e14

/** Checks what is told of a master key, the kinds of all fields, and its id and state where they are known. */
export const checkTold = (
  what: string,
  told: ManagedKey | undefined,
  known: Partial<Pick<ManagedKey, 'keyId' | 'state'>> = {},
): void => {
  if (typeof told !== 'object' || told === null || typeof told.keyId !== 'string') {
    return fail(`${what} answers no key. It answers { keyId, state } and what else is known, as the key is then.`)
  }
  const { keyId, state, name, version, created, deletion } = told
  if (known.keyId !== undefined && keyId !== known.keyId) fail(`${what} answers ${keyId}, not ${known.keyId}.`)
  if (!states.has(state)) fail(`${what} answers the state ${String(state)}. It is one of ${[...states].join(', ')}.`)
  if (known.state !== undefined && state !== known.state)
    fail(`${what} answers that it is ${state}, not ${known.state}.`)
  if (name !== undefined && typeof name !== 'string') fail(`${what} answers a name that is no string.`)
  if (version !== undefined && !(Number.isSafeInteger(version) && version > 0)) {
    fail(`${what} answers the version ${String(version)}. Versions are counted from 1.`)
  }
  for (const [field, time] of Object.entries({ created, deletion })) {
    if (time !== undefined && !isTime(time))
      fail(`${what} answers ${field} ${String(time)}. It is a number of ms since 1970.`)
  }
}

/** Wraps a key, and checks the answer. */
export const wrap = async (kms: DataKeyWrapper, key: DataKey, target: WrapTarget): Promise<WrappedKey> => {
  const wrapped = await answerOf('wrapDataKey', () => kms.wrapDataKey(key, target))
  checkWrapped(kms, 'the answer of wrapDataKey', wrapped, target.keyId)
  return wrapped
}

/** Generates a key, and checks the answer; the caller disposes the key. */
export const generate = async (kms: DataKeyWrapper, target: WrapTarget): Promise<GeneratedKey> => {
  const made = await answerOf('generateDataKey', () => kms.generateDataKey(target))
  checkKey('The key that generateDataKey answers', made.key)
  checkWrapped(kms, 'the answer of generateDataKey', made.wrapped, target.keyId)
  return made
}

/** Rejects unless a wrapped key unwraps to this one. */
export const unwrapsTo = async (
  kms: DataKeyWrapper,
  what: string,
  request: UnwrapRequest,
  expected: DataKey,
): Promise<void> => {
  const key = await answerOf(`unwrapDataKey of ${what}`, () => kms.unwrapDataKey(request))
  checkKey('The key that unwrapDataKey answers', key)
  const same = equal(key.bytes, expected.bytes)
  key.dispose()
  if (!same) fail(`${what} unwraps to another key.`)
}

/** Rejects unless a key wraps and unwraps. */
export const works = (kms: DataKeyWrapper, what: string, keyId: string): Promise<void> =>
  withKey(async key => {
    const wrapped = await wrap(kms, key, { keyId, context })
    await unwrapsTo(kms, what, { wrapped, context }, key)
  })

/** Rejects unless the work settles in time, whatever it settles to. */
export const inTime = async <T>(what: string, ms: number, work: Promise<T>): Promise<T> => {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new SseError('NotConforming', { message: `${what} did not end within ${ms} ms.` }))
    }, ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Runs something during a fault of the setup. */
export const during = async (name: string, fault: Fault, run: () => Promise<void>): Promise<void> => {
  const end = await answerOf(`${name} of the setup`, fault)
  try {
    await run()
  } finally {
    await answerOf(`what ${name} of the setup resolves to`, end)
  }
}
