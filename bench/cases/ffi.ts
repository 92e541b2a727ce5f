/** The engine over node:ffi against the limit and the peers in Go; on a Node of its own where this one has no node:ffi. */
import type { BenchCase, Contestant } from '../harness.ts'
import { enginesOf } from '../support/engines.ts'
import { limits } from '../support/limit.ts'
import { byHand } from '../support/one-tag.ts'
import { ours } from '../support/ours.ts'
import { sio } from '../support/sio.ts'
import { installRivals } from '../support/thirdparty.ts'

const MiB = 1_048_576

/** The case. */
export const ffi: BenchCase = {
  name: 'ffi',
  about: 'seal and open by the engine over node:ffi, on Node 26, with openssl speed and the peers in Go',
  elsewhere: async bench => {
    if (process.getBuiltinModule('node:ffi') !== undefined) return undefined
    installRivals(bench) // a Node 26 is among them
    const { node26 } = await import('../../test/support/node26.ts')
    return node26
  },
  make: async bench => {
    const engine = (await enginesOf(bench.lib, bench.note)).find(({ name }) => name === 'ffi')
    if (engine === undefined) return []
    const size = bench.pick(MiB, 16 * MiB, 512 * MiB)
    const times = bench.pick(1, 3, 1)
    const hand = await byHand(size, times, bench.pick(true, false, true))
    const others = [...limits(bench, ['aes-256-gcm']), ...(await sio(bench))]
    const of = (direction: string) => others.filter(each => each.direction === direction || each.engine === 'openssl')
    const against = { seal: [...of('seal'), ...hand.seal], open: [...of('open'), ...hand.open] }
    const contestants: Contestant[] = [...others, ...hand.seal, ...hand.open]
    for (const [suite, skin] of [
      [1, 'Transform'],
      [1, 'generator'],
      [5, 'Transform'],
    ] as const) {
      contestants.push(...(await ours(bench.lib, { engine, suite, skin, size, times }, against)))
    }
    return [{ name: `seal and open, Node ${process.version}`, unit: 'MB/s', contestants }]
  },
}
