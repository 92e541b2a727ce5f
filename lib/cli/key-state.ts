/** What a start tells of a key manager: whether it answers, whether its keys do what they must, and which default keys are there. */
import { equal } from '../bytes.ts'
import { SseError } from '../errors.ts'
import { serviceDomain } from '../gateway/services.ts'
import { encryptionContext } from '../kms/context.ts'
import type { KeyManager } from '../kms/manager.ts'
import type { KeyAdministration } from '../kms/provider.ts'
import { defaultKeyName } from '../kms/registered.ts'
import type { ManagerSetup } from './key-managers.ts'

/** What a start found out of a key manager. */
export interface KeyManagerState {
  /** Its name in the configuration. */
  readonly instance: string
  /** Its kind, as records name it. */
  readonly provider: string
  /** Whether it answers. */
  readonly reachable: boolean
  /** Keys that were tried, a data key wrapped and unwrapped, and those of them that did it. */
  readonly keys: { readonly tried: number; readonly usable: number }
  /** Default keys that are there, of those that its rule wants. What is not there is made when it is needed. */
  readonly defaultKeys: { readonly there: number; readonly wanted: number }
  /** What is wrong. */
  readonly problem?: string | undefined
}

/** What is tried. */
export interface CheckedManager {
  readonly setup: Pick<ManagerSetup, 'serves'>
  readonly manager: KeyManager
  /** The service's own keys, by their name. */
  readonly byName: KeyAdministration
  /** Keys by tenant. */
  readonly administration: KeyAdministration
}

/** Most keys that are tried at a start. */
const mostTried = 10

const messageOf = (error: unknown): string => {
  if (!(error instanceof SseError)) return String(error)
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message
}

/** Wraps and unwraps a data key, past every cache. */
const tryKey = async (manager: KeyManager, keyId: string): Promise<void> => {
  const context = encryptionContext({ 'sse-kms-streams:check': manager.instance })
  const { key, wrapped } = await manager.generateDataKey({ keyId, context }, { fresh: true })
  try {
    const again = await manager.unwrapDataKey({ wrapped, context }, { fresh: true })
    const same = equal(again.bytes, key.bytes)
    again.dispose()
    if (!same) throw new SseError('KmsUnavailable', { message: `The key ${keyId} unwraps a data key to another one.` })
  } finally {
    key.dispose()
  }
}

/** Tries a key manager. Never rejects. */
export const stateOf = async (
  { setup, manager, byName, administration }: CheckedManager,
  region: string,
  domains: readonly string[],
): Promise<KeyManagerState> => {
  const { instance, name: provider } = manager
  const wanted = domains.filter(domainId => setup.serves({ region, domainId }))
  const ids = new Set<string>()
  let [there, tried, usable] = [0, 0, 0]
  let problem: string | undefined
  let reachable = true
  const failed = (error: unknown): void => {
    problem ??= messageOf(error)
    if (!(error instanceof SseError) || error.code === 'KmsUnavailable' || error.code === 'KmsThrottled') {
      reachable = false
    }
  }
  try {
    for (const domainId of domains) {
      const sources = domainId === serviceDomain ? [administration, byName] : [administration]
      const keys = (await Promise.all(sources.map(each => each.acceptedKeys({ region, domainId })))).flat()
      for (const { keyId } of keys) ids.add(keyId)
      if (!wanted.includes(domainId)) continue
      const scope = { region, domainId, origin: 'service' } as const
      const own = (await Promise.all(sources.map(each => each.acceptedKeys(scope)))).flat()
      if (own.length > 0) there++
    }
    // Without keys it is asked for the name of one that is to be made.
    if (ids.size === 0) await manager.find?.(defaultKeyName({ region, domainId: serviceDomain }))
  } catch (error) {
    failed(error)
  }
  for (const keyId of [...ids].slice(0, mostTried)) {
    if (!reachable) break
    tried++
    try {
      await tryKey(manager, keyId)
      usable++
    } catch (error) {
      failed(error)
    }
  }
  return {
    instance,
    provider,
    reachable,
    keys: { tried, usable },
    defaultKeys: { there, wanted: wanted.length },
    problem,
  }
}

/** One line for the operator. */
export const stateLine = ({ instance, provider, reachable, keys, defaultKeys, problem }: KeyManagerState): string => {
  const facts = reachable
    ? `reachable, ${keys.usable} of ${keys.tried} keys usable, ${defaultKeys.there} of ${defaultKeys.wanted} default keys there`
    : 'not reachable'
  return `key manager ${instance} (${provider}): ${facts}${problem === undefined ? '' : `: ${problem}`}`
}
