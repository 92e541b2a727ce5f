/** This package as contestants: a suite, an engine and a adapter, sealing and opening. */
import { randomBytes } from 'node:crypto'
import type { Contestant } from '../harness.ts'
import type { Lib } from '../lib.ts'
import type { NamedEngine } from './engines.ts'
import { assertPlaintext, chunksOf, flow, gather, plaintext, repeated, type AdapterName } from './streams.ts'

/** Which of ours. */
export interface Ours {
  readonly engine: NamedEngine
  readonly suite: 1 | 2 | 3 | 5
  readonly adapter: AdapterName
  /** Bytes of a body. */
  readonly size: number
  /** Bodies one after the other. */
  readonly times: number
}

/** Sealing and opening, compared with others that seal and open. */
export const ours = async (
  { core }: Lib,
  { engine: { name: engine, engine: made }, suite, adapter, size, times }: Ours,
  against: { readonly seal: readonly Contestant[]; readonly open: readonly Contestant[] },
): Promise<readonly Contestant[]> => {
  const customerKey = new Uint8Array(randomBytes(32))
  const kms = core.customerKey(core.nodeEngine, customerKey)
  const sse = core.createSse({ kms, accept: [''], suite, engine: made })
  // What comes out of a driver or generator stays ours, so its memory is used again. A stream hands it on.
  const lends = adapter === 'driver' || adapter === 'generator'
  const memory = lends && 'SegmentMemory' in core ? new core.SegmentMemory() : undefined
  const giveBack = (piece: Uint8Array) => memory?.give(piece)
  const seal = () => sse.encrypt({ length: size, memory })
  const sealed = async () => {
    const put = await sse.encrypt({ length: size })
    const stored = await gather(sink => flow(adapter, plaintext(size), put, sink))
    return { stored, envelope: put.result().envelope }
  }
  const open = ({ envelope, stored }: Awaited<ReturnType<typeof sealed>>) =>
    sse.decrypt(envelope, { held: stored.length, memory })
  const { driver, ...first } = await seal()
  driver.dispose()
  if (adapter === 'generator' && !('pieces' in first)) return [] // another revision, which has none
  const given = await sealed()
  const check = () =>
    assertPlaintext(size, async sink => {
      const take = (piece: Uint8Array) => {
        sink(piece)
        giveBack(piece)
      }
      await flow(adapter, chunksOf(given.stored), await open(given), take)
    })
  let checked: Promise<void> | undefined
  const validate = () => (checked ??= check())
  const labels = {
    name: `suite ${suite}, ${engine}, ${adapter}`,
    size,
    engine,
    suite,
    own: true,
    segmented: true,
    validate,
  }
  return [
    {
      ...labels,
      direction: 'seal',
      against: against.seal,
      run: repeated(times, size, async () => flow(adapter, plaintext(size), await seal(), giveBack)),
    },
    {
      ...labels,
      direction: 'open',
      against: against.open,
      run: repeated(times, size, async () => flow(adapter, chunksOf(given.stored), await open(given), giveBack)),
    },
  ]
}
