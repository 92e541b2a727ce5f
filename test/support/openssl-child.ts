/** The engine over OpenSSL against `node:crypto`'s, with garbage collection forced between all calls; and what its contexts cost. */
import { randomBytes, randomInt } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { concat } from '../../lib/bytes.ts'
import type { SegmentOpener, SyncEngine } from '../../lib/cipher/engine.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import type { Aead } from '../../lib/cipher/suite.ts'
import { openSslOfTests as engine } from './engines.ts'

const aeads: readonly Aead[] = ['AEAD_AES_256_GCM', 'AEAD_CHACHA20_POLY1305']
const gc = globalThis.gc ?? (() => process.exit(2))
let collections = 0
/** Moves what is young; from time to time everything. */
const collect = (): void => void gc({ type: collections++ % 20 === 0 ? 'major' : 'minor', execution: 'sync' })

/** Random bytes; those of up to 64 on V8's moving heap. */
const bytes = (size: number): Uint8Array => new Uint8Array(size).map(() => randomInt(256))

/** Cut where small pieces, which may move, alternate with large ones. */
const pieces = (whole: Uint8Array): readonly Uint8Array[] => {
  const out: Uint8Array[] = []
  for (let at = 0; at < whole.length;) {
    const size = randomInt(2) === 0 ? randomInt(1, 80) : randomInt(1, 9000)
    out.push(new Uint8Array(whole.subarray(at, at + size)))
    at += size
  }
  return out
}

const seal = (by: SyncEngine, aead: Aead, key: Uint8Array, nonce: Uint8Array, plain: readonly Uint8Array[]) => {
  const sealer = by.sealer(aead, key)
  collect()
  sealer.begin(nonce)
  const out: Uint8Array[] = []
  for (const piece of plain) {
    collect()
    out.push(sealer.update(piece) ?? new Uint8Array(0))
  }
  collect()
  out.push(...sealer.final())
  collect()
  sealer.dispose()
  return concat(...out)
}

const open = (opener: SegmentOpener, nonce: Uint8Array, sealed: Uint8Array): Uint8Array => {
  opener.begin(nonce)
  for (const piece of pieces(sealed.subarray(0, -16))) {
    collect()
    opener.update(piece)
  }
  return concat(...opener.final(new Uint8Array(sealed.subarray(-16))))
}

const agreed = (): number => {
  let rounds = 0
  for (; rounds < 42; rounds++) {
    const aead = aeads[rounds % 2] ?? 'AEAD_AES_256_GCM'
    const key = bytes(32)
    const nonce = bytes(12)
    const whole = bytes([0, 1, 63, 64, 65, 1000, 20_000][rounds % 7] ?? 0)
    const cut = pieces(whole)
    const sealed = seal(engine, aead, key, nonce, cut)
    if (Buffer.compare(sealed, seal(nodeEngine, aead, key, nonce, cut)) !== 0) throw new Error('sealed to other bytes')
    const opener = engine.opener(aead, key)
    if (Buffer.compare(open(opener, nonce, sealed), whole) !== 0) throw new Error('opened to other bytes')
    opener.dispose()
  }
  return rounds
}

/** Megabytes that the process grows by while so many streams are begun, and ended by `end`. */
const growth = async (streams: number, end: (opener: { dispose(): void }) => void): Promise<number> => {
  const key = randomBytes(32)
  const run = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const sealer = engine.sealer('AEAD_AES_256_GCM', key)
      sealer.begin(new Uint8Array(12))
      sealer.update(key)
      end(sealer)
      end(engine.opener('AEAD_AES_256_GCM', key))
      if (i % 250 === 0) {
        await setImmediate() // a stream that outlives its turn gets a finalizer
        gc()
        await setImmediate() // finalizers run between tasks
      }
    }
  }
  await run(streams / 4)
  const before = process.memoryUsage.rss()
  await run(streams)
  return (process.memoryUsage.rss() - before) / 1_048_576
}

const kept: unknown[] = []
console.log(
  JSON.stringify({
    agreed: agreed(),
    disposed: await growth(4_000, stream => stream.dispose()),
    dropped: await growth(4_000, () => undefined),
    kept: await growth(4_000, stream => void kept.push(stream)),
  }),
)
