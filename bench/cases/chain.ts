/** Rows of JSON through a chain of stream-chain: parsed, filtered, written as lines again; without and with a stage that seals them at the end. */
import { randomBytes } from 'node:crypto'
import { chain } from 'stream-chain'
import { parser } from 'stream-chain/jsonl/parser.js'
import { stringer } from 'stream-chain/jsonl/stringer.js'
import type { BenchCase, Contestant } from '../harness.ts'
import { chunksOf, flow, gather, nowhere, type Sink, through } from '../support/streams.ts'

const MiB = 1_048_576

const rowsOf = (size: number): Uint8Array => {
  const row = (n: number) => `${JSON.stringify({ n, name: `row ${n}`, text: 'x'.repeat(100), keep: n % 4 > 0 })}\n`
  const lines: string[] = []
  for (let n = 0, left = size; left > 0; n++) left -= lines[lines.push(row(n)) - 1]?.length ?? 0
  return Buffer.from(lines.join(''))
}

/** What runs in every contestant. */
const rowStages = () => [
  parser(),
  ({ value }: { readonly value: { readonly keep: boolean } }) => (value.keep ? value : null),
  stringer(),
]

/** The case. */
export const rows: BenchCase = {
  name: 'chain',
  about: 'rows of JSON through a chain of stream-chain, without and with a stage that seals them',
  make: async ({ lib: { core }, pick }) => {
    const json = rowsOf(pick(MiB, 8 * MiB, 32 * MiB))
    const kms = core.customerKey(core.nodeEngine, new Uint8Array(randomBytes(32)))
    const sse = core.createSse({ kms, accept: [''] })
    const encode = (line: unknown) => Buffer.from(String(line))
    const plainly = (sink: Sink) => through(chunksOf(json), chain([...rowStages(), encode]), sink)
    const sealed = async (sink: Sink) => {
      const put = await sse.encrypt()
      await through(chunksOf(json), chain([...rowStages(), put.stage()]), sink)
      return put.result()
    }
    const size = json.length
    const plain: Contestant = {
      name: 'the chain alone',
      size,
      run: async () => {
        await plainly(nowhere)
        return size
      },
    }
    const validate = async () => {
      let envelope = new Uint8Array()
      const stored = await gather(async sink => {
        envelope = new Uint8Array((await sealed(sink)).envelope)
      })
      const get = await sse.decrypt(envelope)
      const opened = await gather(sink => flow('generator', chunksOf(stored), get, sink))
      if (!Buffer.from(opened).equals(await gather(plainly))) throw new Error('the rows do not come back')
    }
    const sealing: Contestant = {
      name: 'with put.stage()',
      size,
      own: true,
      against: [plain],
      validate,
      run: async () => {
        await sealed(nowhere)
        return size
      },
    }
    return [{ name: 'rows', unit: 'MB/s', contestants: [plain, sealing] }]
  },
}
