/** How often the KMS is asked: what costs milliseconds and money where it is a service. */
import type { BenchCase, Contestant } from '../harness.ts'
import { wrappingsOf } from '../support/bucket-key.ts'
import { atOnce } from '../support/at-once.ts'
import { contextOf, openService } from '../support/service.ts'

type Provider = Awaited<ReturnType<typeof openService>>['kms']

const counted = new Set<PropertyKey>([
  ...['generateDataKey', 'wrapDataKey', 'unwrapDataKey', 'rewrapDataKey'],
  ...['describeKey', 'defaultKey', 'acceptedKeys'],
])

/** A provider that counts the calls to another. */
const counting = (kms: Provider): { readonly kms: Provider; readonly calls: () => number } => {
  let calls = 0
  const proxy = new Proxy(kms, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: readonly unknown[]): unknown => {
        if (counted.has(name)) calls++
        return Reflect.apply(value, target, args)
      }
    },
  })
  return { kms: proxy, calls: () => calls }
}

/** The case. */
export const kms: BenchCase = {
  name: 'kms',
  about: 'calls of the KMS for 10,000 objects, without and with a bucket key',
  make: async bench => {
    const service = await openService(bench)
    const objects = bench.pick(20, 10_000, 10_000)
    const wrappings = await wrappingsOf(bench, service)
    const contestants = wrappings.map(({ name, seal }): Contestant => ({
      ...{ name, direction: 'seal', own: true, reports: true },
      run: async () => {
        const { kms, calls } = counting(service.kms)
        const sse = bench.lib.core.createSse({ kms, accept: [service.keyId] })
        await atOnce(objects, 1, async i => {
          const { driver } = await sse.encrypt({ context: contextOf(String(i)), ...seal })
          driver.dispose() // the KMS is asked before the first byte, or not at all
        })
        return calls()
      },
    }))
    return [{ name: `${objects.toLocaleString('en')} objects`, unit: 'calls', contestants, once: true }]
  },
}
