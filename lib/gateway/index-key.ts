/**
 * The index key of a store: 32 random bytes, which lie in the store as a self-describing file (SKF1) under the service's default key, bound
 * to the store's id. Opening it fails where the store belongs to another key store, so that the two never meet.
 */
import { base64url, fromBase64url, wipe } from '../bytes.ts'
import { randomBytes } from '../cipher/random.ts'
import { SseError } from '../errors.ts'
import type { KeyAdministration } from '../kms/provider.ts'
import type { Sse } from '../object/node.ts'
import { authenticated } from '../store/authenticated.ts'
import type { ObjectStore } from '../store/store.ts'
import { serviceDomain } from './services.ts'

/** Names the index key among the claims of a store. */
export const indexKeyClaim = 'index-key'

/** What the index key is kept with. */
export interface IndexKeyOptions {
  /** Where the service's default key lives. */
  readonly kms: KeyAdministration
  /** Seals and opens the index key. */
  readonly sse: Sse
  /** Region of the gateway. */
  readonly region: string
}

const refused = (message: string, cause?: unknown): SseError => new SseError('IndexNotAuthentic', { message, cause })

/**
 * The store with its rows under a MAC of its index key, which is made where the store is new. `IndexNotAuthentic` where there are buckets
 * and no index key, or one of another store; `KeyringCorrupt` where the KMS has lost the service's key; its other errors as they are.
 *
 * {@includeCode ../../test/examples/gateway.test.ts#gateway}
 *
 * @param options The KMS, the façade and the region of the service’s key.
 */
export const authenticateStore = async (
  store: ObjectStore,
  { kms, sse, region }: IndexKeyOptions,
): Promise<ObjectStore> => {
  const context = { 'sse-kms-streams:index': store.id }

  const make = async (): Promise<string> => {
    if ((await store.listBuckets()).length > 0) {
      throw refused('The index has buckets, but no index key: somebody took it away. Restore the index from a backup.')
    }
    const { keyId } = await kms.defaultKey({ region, domainId: serviceDomain })
    const key = randomBytes(32)
    try {
      const sealed = await sse.encryptBytes(key, { keyId, accept: [keyId], context })
      return await store.claim(indexKeyClaim, `${region} ${base64url(sealed)}`)
    } finally {
      wipe(key)
    }
  }

  const open = async (text: string): Promise<Uint8Array> => {
    // In the region that it was made in, whichever is served now.
    const [, madeIn, sealed = ''] = /^([\w-]{1,64}) ([\w-]+)$/.exec(text) ?? []
    if (madeIn === undefined) throw refused('The index key is none: it was changed. Restore the index from a backup.')
    const accept = await kms.acceptedKeys({ region: madeIn, domainId: serviceDomain })
    if (accept.length === 0) {
      const message =
        'The key store has lost the default key of the service, under which the index key lies, or is another one. ' +
        'Put the old key store back, or restore it from a backup.'
      throw new SseError('KeyringCorrupt', { message })
    }
    try {
      return await sse.decryptBytes(fromBase64url(sealed) ?? new Uint8Array(), { accept, context })
    } catch (cause) {
      if (!(cause instanceof SseError) || !['NotAuthentic', 'KeyNotAccepted', 'KeyNotFound'].includes(cause.code))
        throw cause
      throw refused(
        "The index key cannot be opened with this KMS: the index is another one's, or it was changed. " +
          'Put back the index and the key store that belong together, or restore them from a backup.',
        cause,
      )
    }
  }

  const key = await open((await store.claims()).get(indexKeyClaim) ?? (await make()))
  try {
    return authenticated(store, key)
  } finally {
    wipe(key)
  }
}
