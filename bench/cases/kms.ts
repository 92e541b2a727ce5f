/** How often the KMS is asked: what costs milliseconds and money where it is a service. */
import type { BenchCase, Contestant } from '../harness.ts'
import type { Lib } from '../lib.ts'
import { wrappingsOf } from '../support/bucket-key.ts'
import { atOnce } from '../support/at-once.ts'
import { contextOf, openService } from '../support/service.ts'

type Provider = Parameters<Lib['core']['createSse']>[0]['kms']

/** A provider that counts the calls to another. */
const counting = (kms: Provider): { readonly kms: Provider; readonly calls: () => number } => {
  let calls = 0
  const count = <A, R>(run: (argument: A) => R) => {
    return (argument: A): R => {
      calls++
      return run(argument)
    }
  }
  const counted: Provider = {
    name: kms.name,
    generateDataKey: count(target => kms.generateDataKey(target)),
    wrapDataKey: (key, target) => {
      calls++
      return kms.wrapDataKey(key, target)
    },
    unwrapDataKey: count(request => kms.unwrapDataKey(request)),
    rewrapDataKey: count(request => kms.rewrapDataKey(request)),
    describeKey: count(query => kms.describeKey(query)),
    defaultKey: count(scope => kms.defaultKey(scope)),
  }
  return { kms: counted, calls: () => calls }
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
