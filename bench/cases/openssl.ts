/** The engine over OpenSSL against the limit and the peers in Go. */
import { randomBytes } from 'node:crypto'
import type { Bench, BenchCase, Contestant } from '../harness.ts'
import type { Lib } from '../lib.ts'
import { enginesOf } from '../support/engines.ts'
import { limits } from '../support/limit.ts'
import { byHand } from '../support/one-tag.ts'
import { ours } from '../support/ours.ts'
import { sio } from '../support/sio.ts'
import { chunkSize, flow, nowhere, plaintext } from '../support/streams.ts'

const MiB = 1_048_576

type Engine = Awaited<ReturnType<Lib['core']['pickEngine']>>

/** Layer upon layer: the engine, a driver, the adapters. The limit for 64 KiB is 65.5 over its GB/s. */
const layers = async (bench: Bench, engine: Engine, size: number): Promise<readonly Contestant[]> => {
  if (!engine.synchronous) return []
  const key = new Uint8Array(randomBytes(32))
  const sse = bench.lib.core.createSse({ kms: bench.lib.core.customerKey(engine, key), accept: [''], engine })
  const count = (4 * size) / chunkSize
  const labels = { direction: 'seal', size: 4 * size, suite: 1, engine: 'openssl', own: true }
  const alone: Contestant = {
    ...labels,
    name: 'the engine alone',
    run: async () => {
      const sealer = engine.sealer('AEAD_AES_256_GCM', key)
      const nonce = new Uint8Array(12)
      for (const chunk of plaintext(4 * size)) {
        sealer.begin(nonce)
        sealer.update(chunk)
        sealer.final()
      }
      sealer.dispose()
      return count
    },
  }
  const driver = async () => {
    const put = await sse.encrypt({ length: 4 * size })
    for (const chunk of plaintext(4 * size)) await put.driver.write(chunk, nowhere)
    await put.driver.end(nowhere)
    put.driver.dispose()
    return count
  }
  const adapted = (adapter: 'generator' | 'Transform') => async () => {
    await flow(adapter, plaintext(4 * size), await sse.encrypt({ length: 4 * size }), nowhere)
    return count
  }
  const put = await sse.encrypt()
  put.driver.dispose()
  const adapters = 'pieces' in put ? (['generator', 'Transform'] as const) : (['Transform'] as const)
  const against = [alone]
  return [
    alone,
    { ...labels, name: 'suite 1, driver', against, run: driver },
    ...adapters.map(adapter => ({ ...labels, name: `suite 1, ${adapter}`, against, run: adapted(adapter) })),
  ]
}

/** The case. */
export const openssl: BenchCase = {
  name: 'openssl',
  about: 'seal and open by the engine openssl, with openssl speed and the peers in Go',
  make: async bench => {
    const engine = (await enginesOf(bench.lib, bench.note)).find(({ name }) => name === 'openssl')
    if (engine === undefined) return []
    const size = bench.pick(MiB, 16 * MiB, 512 * MiB)
    const times = bench.pick(1, 3, 1)
    const hand = await byHand(size, times, bench.pick(true, false, true))
    const others = [...limits(bench, ['aes-256-gcm']), ...(await sio(bench))]
    const of = (direction: string) => others.filter(each => each.direction === direction || each.engine === 'openssl')
    const against = { seal: [...of('seal'), ...hand.seal], open: [...of('open'), ...hand.open] }
    const contestants: Contestant[] = [...others, ...hand.seal, ...hand.open]
    for (const [suite, adapter] of [
      [1, 'Transform'],
      [1, 'generator'],
      [5, 'Transform'],
    ] as const) {
      contestants.push(...(await ours(bench.lib, { engine, suite, adapter, size, times }, against)))
    }
    return [
      { name: `seal and open, Node ${process.version}`, unit: 'MB/s', contestants },
      {
        name: `seal 64 KiB, Node ${process.version}`,
        unit: 'µs',
        contestants: await layers(bench, engine.engine, size),
      },
    ]
  },
}
