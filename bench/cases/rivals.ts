/** Other packages that encrypt a body while it flows, at their best settings: the same body, the same chunks. */
import type { BenchCase, Contestant } from '../harness.ts'
import { enginesOf } from '../support/engines.ts'
import { limits } from '../support/limit.ts'
import { byHand } from '../support/one-tag.ts'
import { ours } from '../support/ours.ts'
import { sio } from '../support/sio.ts'
import { thirdParties } from '../support/thirdparty.ts'

const MiB = 1_048_576

/** The case. */
export const rivals: BenchCase = {
  name: 'rivals',
  about: 'seal and open against age-encryption, the AWS Encryption SDK, openpgp, sodium-native and sio in Go',
  make: async bench => {
    const size: number = bench.pick(MiB, 16 * MiB, 64 * MiB)
    const times = bench.pick(1, 3, 4)
    const hand = await byHand(size, times, bench.pick(true, false, true))
    const others = [...limits(bench, ['aes-256-gcm']), ...(await thirdParties(bench, size)), ...(await sio(bench))]
    const contestants: Contestant[] = [...others, ...hand.seal, ...hand.open]
    const of = (direction: string) =>
      others.filter(other => other.direction === direction || other.engine === 'openssl')
    const against = { seal: [...of('seal'), ...hand.seal], open: [...of('open'), ...hand.open] }
    for (const engine of await enginesOf(bench.lib, bench.note)) {
      if (engine.name !== 'node' && engine.name !== 'openssl') continue
      contestants.push(...(await ours(bench.lib, { engine, suite: 1, adapter: 'Transform', size, times }, against)))
    }
    return [{ name: 'seal and open', unit: 'MB/s', contestants }]
  },
}
