/** Multipart uploads: four parts at once, against one after the other and against one stream of the same length. */
import { createHash } from 'node:crypto'
import type { BenchCase, Contestant } from '../harness.ts'
import type { Lib } from '../lib.ts'
import { openService } from '../support/service.ts'
import { flow, nowhere, plaintext, type Sink } from '../support/streams.ts'

type Sse = ReturnType<Lib['core']['createSse']>
type Upload = Awaited<ReturnType<Sse['createUpload']>>

/** A part that was sealed. */
interface NamedPart {
  readonly receipt: Uint8Array
  readonly part: number
  readonly etag: string
}

const MiB = 1_048_576
const parts = [1, 2, 3, 4]

/** The case. */
export const multipart: BenchCase = {
  name: 'multipart',
  about: 'an upload of four parts, all at once and one after the other, against one stream of the same length',
  make: async bench => {
    const { sse, engine } = await openService(bench)
    const size: number = bench.pick(MiB, 64 * MiB, 512 * MiB)
    const each = size / parts.length
    const seal = async (upload: Upload, part: number, sink: Sink): Promise<NamedPart> => {
      const attempt = await sse.encryptPart(upload, part, { length: each })
      await flow('Transform', plaintext(each), attempt, sink)
      const { receipt, etag } = attempt.result()
      return { receipt, part, etag }
    }
    const complete = async (upload: Upload, sealed: readonly NamedPart[]) => {
      const receipts = sealed.map(({ receipt }) => receipt)
      return sse.completeUpload(upload, sealed, receipts)
    }
    const labels = { size, direction: 'seal', suite: 1, engine, own: true }
    const one: Contestant = {
      ...labels,
      name: 'one stream',
      run: async () => {
        await flow('Transform', plaintext(size), await sse.encrypt({ length: size }), nowhere)
        return size
      },
    }
    const validate = async () => {
      const upload = await sse.createUpload()
      const streams = parts.map((): Uint8Array[] => [])
      const sealed = await Promise.all(parts.map((part, i) => seal(upload, part, chunk => streams[i]?.push(chunk))))
      const { envelope, storedLength } = await complete(upload, sealed)
      const get = await sse.decrypt(envelope, { held: storedLength })
      const hash = createHash('sha256')
      await flow('Transform', streams.flat(), get, chunk => hash.update(chunk))
      const opened = hash.digest('hex')
      const expected = createHash('sha256')
      for (const _ of parts) for (const chunk of plaintext(each)) expected.update(chunk)
      if (opened !== expected.digest('hex')) throw new Error('the parts do not open to the input')
    }
    const upload = (name: string, run: (upload: Upload) => Promise<readonly NamedPart[]>): Contestant => ({
      ...labels,
      name,
      against: [one],
      validate,
      run: async () => {
        const made = await sse.createUpload()
        await complete(made, await run(made))
        return size
      },
    })
    return [
      {
        name: 'seal',
        unit: 'MB/s',
        contestants: [
          one,
          upload('4 parts, one after the other', async made => {
            const sealed: NamedPart[] = []
            for (const part of parts) sealed.push(await seal(made, part, nowhere))
            return sealed
          }),
          upload('4 parts at once', made => Promise.all(parts.map(part => seal(made, part, nowhere)))),
        ],
      },
    ]
  },
}
