/** The provider `sse-c`: a key that the caller holds, for one object or request. Nothing of it is stored but the wrap. */
import { assertBytes, assertFunctions } from '../arguments.ts'
import { assertKey } from '../cipher/derive.ts'
import type { Engine } from '../cipher/engine.ts'
import { SseError } from '../errors.ts'
import { copy, disposal, wipe } from '../bytes.ts'
import { DataKey } from './data-key.ts'
import type { KmsProvider, WrappedKey, WrapTarget } from './provider.ts'
import { generateKey, localVersion, unwrapLocal, wrapLocal } from './wrap.ts'

/** A customer's key as a provider; `dispose` wipes it. */
export interface CustomerKey extends KmsProvider, Disposable {
  /** Overwrites the copy of the key that the provider holds; later calls reject with `TypeError`. */
  dispose(): void
}

/**
 * A provider over a customer's key of 32 bytes, which is copied. Every unwrap that fails is `WrongCustomerKey`.
 *
 * {@includeCode ../../test/examples/reference.test.ts#customer-provider}
 */
export const customerKey = (engine: Engine, customer: Uint8Array): CustomerKey => {
  assertFunctions('customerKey', engine, 'an engine, such as nodeEngine, and then the key', ['seal', 'open'])
  assertBytes('the key of customerKey', customer, '32 bytes: a Uint8Array or Buffer')
  assertKey(customer)
  const secret = new DataKey(copy(customer))
  // A copy for every call: `dispose` meanwhile must not turn it into zeros.
  const lend = async <T>(use: (key: Uint8Array) => Promise<T>): Promise<T> => {
    const key = copy(secret.bytes)
    try {
      return await use(key)
    } finally {
      wipe(key)
    }
  }
  const wrap = async (dek: DataKey, { context }: WrapTarget): Promise<WrappedKey> => ({
    provider: 'sse-c',
    keyId: '',
    wrapAlg: 2,
    blob: await lend(key => wrapLocal(engine, key, 0, dek, context)),
  })
  const provider: CustomerKey = {
    name: 'sse-c',
    bindsContext: true,
    generateDataKey: target => generateKey(key => wrap(key, target), engine),
    wrapDataKey: wrap,
    unwrapDataKey: async ({ wrapped, context }) => {
      if (localVersion(wrapped.blob) !== 0) throw new SseError('NotAuthentic')
      return lend(async key => {
        try {
          return await unwrapLocal(engine, key, wrapped.blob, context)
        } catch (cause) {
          throw new SseError('WrongCustomerKey', { cause })
        }
      })
    },
    rewrapDataKey: async ({ from, to }) => {
      const dek = await provider.unwrapDataKey(from)
      try {
        return await wrap(dek, to)
      } finally {
        dek.dispose()
      }
    },
    describeKey: async () => ({ keyId: '', state: 'enabled', origin: 'customer', aliases: [] }),
    defaultKey: async () => {
      throw new TypeError('a customer key has no default key')
    },
    acceptedKeys: async ({ keyId = '', origin }) =>
      keyId === '' && origin === undefined ? [{ provider: 'sse-c', keyId }] : [],
    dispose: () => secret.dispose(),
    [disposal]: () => secret.dispose(),
  }
  return provider
}
