/**
 * That the objects of a data folder and its key store belong together. The object store says which key store it is used with, and which
 * default keys there are: a key store that was lost and made anew would take writes whose objects do not open when the old one is back.
 */
import { join } from 'node:path'
import { SseError } from '../errors.ts'
import { LocalKms } from '../kms/local/local.ts'
import { defaultKeyClaim } from '../kms/registered.ts'
import type { RootKeySource } from '../kms/local/root-key.ts'
import type { ObjectStore } from '../store/store.ts'

/** Names the embedded key store that the objects belong to. */
export const keyStoreClaim = 'key-store'

const next = 'Put the old folder back, or name another data folder.'

const corrupt = (message: string, cause?: unknown): SseError => new SseError('KeyringCorrupt', { message, cause })

/**
 * Opens the key store of a data folder, or makes it where the objects have none yet. `KeyringCorrupt` where the objects belong to another
 * one; else as {@link LocalKms.open} says.
 */
export const openKeyStore = async (
  data: string,
  root: RootKeySource,
  store: ObjectStore,
  onWarning: (message: string) => void,
): Promise<LocalKms> => {
  const [keys, objects] = [join(data, 'keys'), join(data, 'objects')]
  const known = (await store.claims()).get(keyStoreClaim)
  const kms = await LocalKms.open(keys, { root, create: known === undefined, onWarning }).catch((cause: unknown) => {
    if (known === undefined || !(cause instanceof SseError && cause.code === 'FileFailed')) throw cause
    throw corrupt(
      `The objects in ${objects} belong to key store ${known}, but there is none in ${keys}. ${next}`,
      cause,
    )
  })
  try {
    const owner = await store.claim(keyStoreClaim, kms.storeId)
    if (owner !== kms.storeId) {
      throw corrupt(
        `The objects in ${objects} belong to key store ${owner}, but ${keys} is key store ${kms.storeId}. ${next}`,
      )
    }
    return kms
  } catch (error) {
    kms.close()
    throw error
  }
}

/** `KeyringCorrupt` where the key store has lost a default key that the index, whose rows are authentic, knows. */
export const assertDefaultKeys = async (data: string, kms: LocalKms, store: ObjectStore): Promise<void> => {
  for (const [name, keyId] of await store.claims()) {
    const [region, domain, instance] = name.slice(defaultKeyClaim.length).split('/')
    if (!name.startsWith(defaultKeyClaim) || region === undefined || domain === undefined || instance !== undefined)
      continue
    await kms.describeKey({ keyId }).catch((cause: unknown) => {
      if (!(cause instanceof SseError && cause.code === 'KeyNotFound')) throw cause
      throw corrupt(`The key store in ${join(data, 'keys')} has lost the default key ${keyId}. ${next}`, cause)
    })
  }
}
