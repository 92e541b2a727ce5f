/** Seal and open, suite by suite, engine by engine, adapter by adapter: whole pipelines from memory to nowhere. */
import type { BenchCase, Contestant } from '../harness.ts'
import { enginesOf, type NamedEngine } from '../support/engines.ts'
import { limits } from '../support/limit.ts'
import { byHand } from '../support/one-tag.ts'
import { ours, type Ours } from '../support/ours.ts'

const MiB = 1_048_576

/** Which of ours for a size: everything at one, the suite that is the default at others. */
const entries = (
  engines: readonly NamedEngine[],
  size: number,
  times: number,
  large: boolean,
  all: boolean,
): readonly Ours[] =>
  engines.flatMap(engine => {
    const entry = (suite: Ours['suite'], adapter: Ours['adapter'] = 'Transform'): Ours => ({
      ...{ engine, suite, adapter, size },
      times: engine.name === 'noble' ? 1 : times,
    })
    if (size > engine.upTo) return []
    if (engine.name === 'noble') return all ? [entry(1), entry(3)] : [entry(3)]
    if (!large) return [entry(1)]
    if (engine.name === 'webcrypto') return all ? [entry(1), entry(5), entry(1, 'web')] : [entry(1), entry(5)]
    return [entry(1), entry(2), entry(3), entry(5), entry(1, 'generator'), entry(1, 'stage'), entry(1, 'web')]
  })

/** The case. */
export const streams: BenchCase = {
  name: 'streams',
  about: 'seal and open per suite, engine and adapter, with openssl speed and createCipheriv in the same rounds',
  make: async bench => {
    const sizes: readonly number[] = bench.pick([MiB], [MiB, 16 * MiB], [MiB, 64 * MiB, 512 * MiB])
    const large = bench.pick(0, 16, 64) * MiB
    const engines = await enginesOf(bench.lib, bench.note)
    const [limit, chacha] = limits(
      bench,
      bench.pick(['aes-256-gcm'], ['aes-256-gcm', 'chacha20-poly1305'], ['aes-256-gcm', 'chacha20-poly1305']),
    )
    const contestants: Contestant[] = [limit, chacha].filter(each => each !== undefined)
    for (const size of sizes) {
      const times = Math.max(1, (bench.pick(1, 48, 512) * MiB) / size)
      const hand = await byHand(size, times, size === large)
      contestants.push(...hand.seal, ...hand.open)
      for (const entry of entries(engines, size, times, size === large, bench.pick(true, false, true))) {
        const mine = entry.suite === 3 ? chacha : limit
        const first = mine === undefined ? [] : [mine]
        const against = { seal: [...first, ...hand.seal.slice(0, 1)], open: [...first, ...hand.open.slice(0, 1)] }
        contestants.push(...(await ours(bench.lib, entry, against)))
      }
    }
    return [{ name: 'seal and open', unit: 'MB/s', contestants }]
  },
}
