/** The engine over OpenSSL, layer upon layer, against the cipher alone, the limit, `node:crypto` by hand and the peers in Go. */
import { randomBytes } from 'node:crypto'
import type { BenchCase, Contestant } from '../harness.ts'
import type { Lib } from '../lib.ts'
import { bareLoops } from '../support/bare.ts'
import { enginesOf } from '../support/engines.ts'
import { limits } from '../support/limit.ts'
import { byHand } from '../support/one-tag.ts'
import { ours } from '../support/ours.ts'
import { sio } from '../support/sio.ts'
import { chunkSize, plaintext } from '../support/streams.ts'

const MiB = 1_048_576
const gcm = 'AEAD_AES_256_GCM'

type Engine = Awaited<ReturnType<Lib['core']['pickEngine']>>

/** The engine without framing, driver or stream: segments of 64 KiB, one after the other. Its self-test has validated it. */
const alone = (
  { core }: Lib,
  engine: Engine,
  size: number,
  against: { readonly seal: readonly Contestant[]; readonly open: readonly Contestant[] },
): readonly Contestant[] => {
  if (!engine.synchronous) return []
  const [key, nonce] = [new Uint8Array(randomBytes(32)), new Uint8Array(12)]
  const labels = { name: `the engine alone, ${engine.name}`, size, engine: engine.name, own: true }
  const memory = 'SegmentMemory' in core ? new core.SegmentMemory() : undefined
  const sealer = engine.sealer(gcm, key)
  const sealed = [...plaintext(Math.min(size, 16 * chunkSize))].map(chunk => {
    sealer.begin(nonce)
    const pieces = [sealer.update(chunk) ?? new Uint8Array(0), ...sealer.final()]
    const whole = Buffer.concat(pieces)
    return { bytes: whole.subarray(0, -16), tag: whole.subarray(-16) }
  })
  const seal = async (): Promise<number> => {
    const sealer = engine.sealer(gcm, key, memory)
    for (const chunk of plaintext(size)) {
      sealer.begin(nonce)
      sealer.update(chunk)
      for (const piece of sealer.final()) memory?.give(piece)
    }
    sealer.dispose()
    return size
  }
  const open = async (): Promise<number> => {
    const opener = engine.opener(gcm, key, memory)
    for (let at = 0; at < size;) {
      for (const { bytes, tag } of sealed) {
        if (at >= size) break
        opener.begin(nonce, bytes.length)
        opener.update(bytes)
        for (const piece of opener.final(tag)) memory?.give(piece)
        at += bytes.length
      }
    }
    opener.dispose()
    return size
  }
  return [
    { ...labels, direction: 'seal', against: against.seal, run: seal },
    { ...labels, direction: 'open', against: against.open, run: open },
  ]
}

/** The case. */
export const openssl: BenchCase = {
  name: 'openssl',
  about: 'the engine openssl, layer upon layer, against the cipher alone, openssl speed and the peers in Go',
  make: async bench => {
    const size = bench.pick(MiB, 16 * MiB, 64 * MiB)
    const times = bench.pick(1, 3, 4)
    const hand = await byHand(size, times, false)
    const bare = await bareLoops(bench, size * times)
    const others = [...limits(bench, ['aes-256-gcm']), ...(await sio(bench))]
    const floor = (direction: 'seal' | 'open') =>
      bare === undefined ? [] : [bare[direction].again, bare[direction].fresh, bare[direction].piped]
    const of = (direction: 'seal' | 'open') => [
      ...floor(direction),
      ...others.filter(each => each.direction === direction || each.engine === 'openssl'),
      ...hand[direction],
    ]
    const against = { seal: of('seal'), open: of('open') }
    const contestants: Contestant[] = [...others, ...floor('seal'), ...floor('open'), ...hand.seal, ...hand.open]
    for (const engine of await enginesOf(bench.lib, bench.note)) {
      if (engine.name !== 'openssl' && engine.name !== 'node') continue
      contestants.push(...alone(bench.lib, engine.engine, size * times, against))
      for (const adapter of ['driver', 'generator', 'Transform'] as const) {
        contestants.push(...(await ours(bench.lib, { engine, suite: 1, adapter, size, times }, against)))
      }
    }
    return [{ name: 'seal and open', unit: 'MB/s', contestants }]
  },
}
