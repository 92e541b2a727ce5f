/** One policy around every call of a key manager: what deadline, retry, breaker, bulkhead and observation are made with. */
import { orAborted } from '../call.ts'
import { DataKey } from '../data-key.ts'
import type { KeyManager } from '../manager.ts'
import type { KmsOperation } from '../events.ts'
import type { CallOptions } from '../provider.ts'

/** A call to a key manager, as a policy sees it. */
export interface KmsCall {
  /** What is asked for. */
  readonly operation: KmsOperation
  /** The master key, or the name that a key is looked for by. */
  readonly key: string | undefined
  /** What the caller gave. */
  readonly call: CallOptions
}

/** Runs a call, several times, later or not at all. */
export type Policy = <T>(asked: KmsCall, run: (call: CallOptions) => Promise<T>) => Promise<T>

/** A key manager whose calls all go through a policy. What it cannot do stays left out. */
export const around = (manager: KeyManager, policy: Policy): KeyManager & AsyncDisposable => {
  const asked = async <T>(
    operation: KmsOperation,
    key: string | undefined,
    call: CallOptions = {},
    run: (call: CallOptions) => Promise<T>,
  ): Promise<T> => policy({ operation, key, call }, run)
  const { find, list, create, rotate, enable, disable, scheduleDeletion, cancelDeletion } = manager
  type Change = NonNullable<KeyManager['rotate']>
  const change = (operation: KmsOperation, run: Change | undefined): Change | undefined =>
    run && ((keyId, call) => asked(operation, keyId, call, given => run.call(manager, keyId, given)))
  const changes = {
    create: change('create', create),
    rotate: change('rotate', rotate),
    enable: change('enable', enable),
    disable: change('disable', disable),
    cancelDeletion: change('cancelDeletion', cancelDeletion),
  }
  return {
    name: manager.name,
    instance: manager.instance,
    bindsContext: manager.bindsContext,
    holds: keyId => manager.holds?.(keyId) === true,
    generateDataKey: (target, call) =>
      asked('generateDataKey', target.keyId, call, given => manager.generateDataKey(target, given)),
    wrapDataKey: (key, target, call) =>
      asked('wrapDataKey', target.keyId, call, given => manager.wrapDataKey(key, target, given)),
    unwrapDataKey: (request, call) =>
      asked('unwrapDataKey', request.wrapped.keyId, call, given => manager.unwrapDataKey(request, given)),
    rewrapDataKey: (request, call) =>
      asked('rewrapDataKey', request.to.keyId, call, given => manager.rewrapDataKey(request, given)),
    describe: (key, call) => asked('describe', key, call, given => manager.describe(key, given)),
    ...(find && { find: (name, call) => asked('find', name, call, given => find.call(manager, name, given)) }),
    ...(list && { list: call => asked('list', undefined, call, given => list.call(manager, given)) }),
    ...Object.fromEntries(Object.entries(changes).filter(([, run]) => run !== undefined)),
    ...(scheduleDeletion && {
      scheduleDeletion: (keyId, options, call) =>
        asked('scheduleDeletion', keyId, call, given => scheduleDeletion.call(manager, keyId, options, given)),
    }),
    close: () => manager.close?.(),
    [Symbol.asyncDispose]: async () => manager.close?.(),
  }
}

/** Wipes the key of an answer that nobody waits for any more. */
export const discardAnswer = (answer: unknown): void => {
  if (answer instanceof DataKey) answer.dispose()
  else if (typeof answer === 'object' && answer !== null && 'key' in answer) discardAnswer(answer.key)
}

/** A call that ends at the latest when its signal aborts, also where the key manager does not look at it. */
export const endsWithSignal = <T>(run: (call: CallOptions) => Promise<T>, call: CallOptions): Promise<T> => {
  const { signal } = call
  if (signal === undefined) return run(call)
  const answer = run(call)
  answer.then(
    late => {
      if (signal.aborted) discardAnswer(late)
    },
    () => undefined,
  )
  return orAborted(answer, signal)
}
