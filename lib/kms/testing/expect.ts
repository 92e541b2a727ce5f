/** What the cases of the conformance suite are made of: keys, contexts, and what is expected of an answer or a rejection. */
import { equal } from '../../bytes.ts'
import { randomBytes } from '../../cipher/random.ts'
import { keySize } from '../../cipher/suite.ts'
import { type ErrorCode, SseError } from '../../errors.ts'
import { type EncryptionContext, encryptionContext } from '../context.ts'
import { DataKey } from '../data-key.ts'
import type { CallOptions, DataKeyWrapper, GeneratedKey, UnwrapRequest, WrappedKey, WrapTarget } from '../provider.ts'
import { maxBlob, maxInner, providerWrapAlg } from '../wrap.ts'

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

/** A thrown value, in a few words. */
export const nameOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  if (!(error instanceof SseError)) return `${error.name}: ${error.message}`
  return error.code === 'NotConforming' ? error.message : `${error.code}: ${error.message}`
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
    return fail(`${what} rejects with ${nameOf(error)} It must reject with ${codes.join(' or ')}.`)
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

/** Wraps a key, and checks the answer. */
export const wrap = async (kms: DataKeyWrapper, key: DataKey, target: WrapTarget): Promise<WrappedKey> => {
  const wrapped = await kms.wrapDataKey(key, target)
  checkWrapped(kms, 'the answer of wrapDataKey', wrapped, target.keyId)
  return wrapped
}

/** Generates a key, and checks the answer; the caller disposes the key. */
export const generate = async (kms: DataKeyWrapper, target: WrapTarget): Promise<GeneratedKey> => {
  const made = await kms.generateDataKey(target)
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
  const key = await kms.unwrapDataKey(request)
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
