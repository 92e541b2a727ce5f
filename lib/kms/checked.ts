/**
 * A provider whose answers are checked before anything is sealed or trusted, and whose calls are bounded (`call.ts`). An answer that cannot
 * be right is `KmsUnavailable` with the reason as its cause; a key that came with it is wiped.
 */
import { equal } from '../bytes.ts'
import { keySize } from '../cipher/suite.ts'
import { SseError } from '../errors.ts'
import { type BoundedCall, bounded, reportUse } from './call.ts'
import type { DataKey } from './data-key.ts'
import type {
  AcceptedKey,
  AcceptScope,
  CallOptions,
  DataKeyWrapper,
  GeneratedKey,
  KeyAdministration,
  KeyDescription,
  KeyUse,
  WrappedKey,
} from './provider.ts'
import { maxBlob, maxInner, providerWrapAlg, masterKeyVersion } from './wrap.ts'

/** Default deadline of a call to a provider, in milliseconds. */
export const defaultDeadline = 5000

const mostDeadline = 2 ** 31 - 1

/**
 * A provider as the façade calls it. Its blobs fit into a record, and into another blob where they have to go there. `RangeError` unless
 * `deadline` is an integer of 1 ms or more.
 */
export const checkedWrapper = (provider: DataKeyWrapper, deadline: number = defaultDeadline): DataKeyWrapper => {
  const { name, bindsContext } = provider
  const ask = askerOf(name, deadline)
  const limit = bindsContext ? maxBlob : maxInner // under outer keys every blob goes inside another one
  const checkWrapped = (wrapped: WrappedKey, keyId: string): void => {
    if (wrapped.provider !== name) lie(`the answer names the provider ${wrapped.provider}, not ${name}`)
    if (wrapped.keyId !== keyId) lie(`the answer names the key ${wrapped.keyId}, not ${keyId}`)
    if (wrapped.wrapAlg !== providerWrapAlg(name)) lie(`the answer has wrapAlg ${wrapped.wrapAlg}`)
    if (!(wrapped.blob instanceof Uint8Array)) lie('the blob of the answer is no Uint8Array')
    checkSize(wrapped, limit)
  }
  const used = <T>(
    call: CallOptions | undefined,
    use: Pick<KeyUse, 'operation' | 'keyId'>,
    wrapped: (answer: T | undefined) => WrappedKey | undefined,
    run: (given: CallOptions | undefined) => Promise<T>,
  ): Promise<T> =>
    reportUse(
      call,
      { provider: name, ...use },
      tell => {
        const onCached = () => {
          tell()
          call?.onCached?.()
        }
        return run(call && { ...call, onCached })
      },
      answer => {
        const told = wrapped(answer)
        return told && masterKeyVersion(told)
      },
    )
  return {
    name,
    bindsContext: bindsContext === true,
    holds: keyId => provider.holds?.(keyId) === true,
    generateDataKey: (target, call) =>
      used(
        call,
        { operation: 'generate', keyId: target.keyId },
        answer => answer?.wrapped,
        given =>
          ask(
            given,
            through => provider.generateDataKey(target, through),
            ({ key, wrapped }) => {
              checkKey(key)
              checkWrapped(wrapped, target.keyId)
            },
            wipeGenerated,
          ),
      ),
    wrapDataKey: (key, target, call) =>
      used(
        call,
        { operation: 'wrap', keyId: target.keyId },
        wrapped => wrapped,
        given =>
          ask(
            given,
            through => provider.wrapDataKey(key, target, through),
            wrapped => checkWrapped(wrapped, target.keyId),
          ),
      ),
    unwrapDataKey: (request, call) =>
      used(
        call,
        { operation: 'unwrap', keyId: request.wrapped.keyId },
        () => request.wrapped,
        given =>
          ask(
            given,
            through => provider.unwrapDataKey(request, through),
            checkKey,
            key => key.dispose(),
          ),
      ),
    rewrapDataKey: (request, call) =>
      used(
        call,
        { operation: 'rewrap', keyId: request.to.keyId },
        wrapped => wrapped,
        given =>
          ask(
            given,
            through => provider.rewrapDataKey(request, through),
            wrapped => checkWrapped(wrapped, request.to.keyId),
          ),
      ),
  }
}

/** Questions about keys as a gateway asks them: each ends in time, and an answer that cannot be right is none. */
export const checkedAdministration = (
  keys: KeyAdministration,
  deadline: number = defaultDeadline,
): KeyAdministration => {
  const ask = askerOf('of this gateway', deadline)
  return {
    recordsDefaults: keys.recordsDefaults,
    describeKey: (query, call) => ask(call, given => keys.describeKey(query, given), checkDescription),
    defaultKey: (scope, call) => ask(call, given => keys.defaultKey(scope, given), checkDescription),
    acceptedKeys: (scope, call) =>
      ask(
        call,
        given => keys.acceptedKeys(scope, given),
        accepted => checkAccepted(accepted, scope),
      ),
  }
}

/**
 * The same provider, whose new keys are unwrapped once before they count: a blob of another key looks right, and what lies under it is lost.
 * `most`: bytes of the longest blob.
 */
export const proving = (provider: DataKeyWrapper, most: number = maxBlob): DataKeyWrapper => ({
  ...provider,
  generateDataKey: async (target, call) => {
    const made = await provider.generateDataKey(target, call)
    try {
      checkSize(made.wrapped, most)
      const again = await unwrapNew(provider, made.wrapped, target, call)
      try {
        if (!equal(again.bytes, made.key.bytes)) lie('the blob of a new key unwraps to another key')
      } finally {
        again.dispose()
      }
      return made
    } catch (error) {
      made.key.dispose()
      throw error
    }
  },
})

/** The same provider for bucket keys, under which many objects lie. */
export const checkedForBucketKeys = (provider: DataKeyWrapper): DataKeyWrapper => proving(provider, maxInner)

const unwrapNew = async (
  provider: DataKeyWrapper,
  wrapped: WrappedKey,
  { context }: Parameters<DataKeyWrapper['generateDataKey']>[0],
  call: CallOptions | undefined,
): Promise<DataKey> => {
  try {
    return await provider.unwrapDataKey({ wrapped, context }, { ...call, fresh: true, onKeyUse: undefined })
  } catch (error) {
    if (error instanceof SseError && error.code === 'NotAuthentic') return lie('the blob of a new key does not unwrap')
    throw error
  }
}

type Ask = <T>(
  call: CallOptions | undefined,
  run: BoundedCall<T>['run'],
  check: (answer: T) => void,
  discard?: (answer: T) => void,
) => Promise<T>

const askerOf = (provider: string, deadline: number): Ask => {
  if (!Number.isSafeInteger(deadline) || deadline < 1 || deadline > mostDeadline) {
    throw new RangeError(`deadline is a number of milliseconds from 1 to ${mostDeadline}`)
  }
  return async (call, run, check, discard = () => undefined) => {
    const answer = await bounded({ provider, deadline, call, run, discard })
    try {
      check(answer)
    } catch (error) {
      try {
        discard(answer)
      } catch {
        // There is no key in it.
      }
      throw error instanceof SseError ? error : wrongAnswer(error)
    }
    return answer
  }
}

const wrongAnswer = (cause: unknown): SseError =>
  new SseError('KmsUnavailable', {
    message:
      'The KMS gave an answer that cannot be right, so nothing was done with it. Look at the cause on the server.',
    cause,
  })

const lie = (reason: string): never => {
  throw wrongAnswer(new TypeError(reason))
}

const wipeGenerated = ({ key }: GeneratedKey): void => key.dispose()

const checkKey = (key: DataKey): void => {
  if (!(key.bytes instanceof Uint8Array) || key.bytes.length !== keySize) lie('the key of the answer has not 32 bytes')
}

const checkSize = ({ blob }: WrappedKey, most: number): void => {
  if (blob.length < 1 || blob.length > most) lie(`the blob of the answer has ${blob.length} bytes, not 1 to ${most}`)
}

const checkDescription = ({ keyId }: KeyDescription): void => {
  if (typeof keyId !== 'string') lie('the answer names no key')
}

const checkAccepted = (keys: readonly AcceptedKey[], { keyId }: AcceptScope): void => {
  for (const key of keys) {
    if (keyId !== undefined && key.keyId !== keyId) lie(`the answer names the key ${key.keyId}, not ${keyId}`)
  }
}
