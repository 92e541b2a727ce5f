/**
 * Default keys of a key store that does not record them itself, such as `LocalKms`: a register knows each that was ever made, so that a key
 * store that has lost one is an error, and no reason to make another.
 */
import { SseError } from '../errors.ts'
import type { CallOptions, KeyAdministration, KeyDescription, KeyScope } from './provider.ts'
import { defaultKeyClaim, type KeyRegister } from './registered.ts'

const lostKey = (keyId: string, cause: unknown): SseError =>
  new SseError('KeyringCorrupt', {
    message: `The key store has lost the default key ${keyId}. Tell the operator to put the key store back, or restore it from a backup.`,
    cause,
  })

/**
 * The same keys, each default key recorded when it is made. `KeyringCorrupt` where one is lost. Rows never change, so each is read once.
 *
 * {@includeCode ../../test/examples/kms.test.ts#routed}
 */
export const recorded = (keys: KeyAdministration, register: KeyRegister): KeyAdministration => {
  if (keys.recordsDefaults === true) return keys
  const known = new Map<string, string>()
  const defaultKey = async (scope: KeyScope, call?: CallOptions): Promise<KeyDescription> => {
    const name = `${defaultKeyClaim}${scope.region}/${scope.domainId}`
    const keyId = known.get(name) ?? (await register.claims()).get(name)
    if (keyId === undefined) {
      const made = await keys.defaultKey(scope, call)
      const stands = await register.claim(name, made.keyId)
      known.set(name, stands)
      return stands === made.keyId ? made : keys.describeKey({ keyId: stands }, call)
    }
    known.set(name, keyId)
    try {
      return await keys.describeKey({ keyId }, call)
    } catch (error) {
      throw error instanceof SseError && error.code === 'KeyNotFound' ? lostKey(keyId, error) : error
    }
  }
  return {
    recordsDefaults: true,
    describeKey: (query, call) => keys.describeKey(query, call),
    defaultKey,
    acceptedKeys: (scope, call) => keys.acceptedKeys(scope, call),
  }
}
