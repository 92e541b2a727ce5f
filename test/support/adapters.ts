/** A body through each of the adapters, as a program would use them. */
import { type Duplex, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { chain } from 'stream-chain'
import type { Driver } from '../../lib/segment/driver.ts'
import { toPieces } from '../../lib/segment/node.ts'
import { toStage } from '../../lib/segment/chain.ts'
import { toTransform } from '../../lib/segment/node.ts'
import { toWeb } from '../../lib/segment/web.ts'
import { drive, type Outcome } from './drive.ts'

/** Runs a body over chunks: what was released, and the error where it did not end well. */
export type Run = (driver: Driver, chunks: Iterable<Uint8Array>) => Promise<Outcome>

const outcome = async (run: (take: (bytes: Uint8Array) => void) => Promise<void>): Promise<Outcome> => {
  const out: Uint8Array[] = []
  const take = (bytes: Uint8Array) => {
    out.push(bytes)
  }
  try {
    await run(take)
    return { released: Buffer.concat(out), error: undefined }
  } catch (error) {
    return { released: Buffer.concat(out), error }
  }
}

const taking = (take: (bytes: Uint8Array) => void) =>
  async function (source: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const bytes of source) take(bytes)
  }

const transform: Run = (driver, chunks) =>
  outcome(take => pipeline(Readable.from(chunks, { objectMode: true }), toTransform(driver), taking(take)))

const pieces: Run = (driver, chunks) =>
  outcome(async take => {
    for await (const bytes of toPieces(driver, chunks)) take(bytes)
  })

/** In the middle of a chain, between functions that it fuses with. */
const stage: Run = (driver, chunks) =>
  outcome(take => {
    const fused: Duplex = chain([
      (chunk: Uint8Array) => (chunk.length > 0 ? chunk : null),
      toStage(driver),
      (bytes: Uint8Array) => ({ bytes }),
      ({ bytes }: { readonly bytes: Uint8Array }) => bytes,
    ])
    return pipeline(Readable.from(chunks, { objectMode: true }), fused, taking(take))
  })

const web: Run = (driver, chunks) =>
  outcome(take => {
    const iterator = chunks[Symbol.iterator]()
    const source = new ReadableStream<Uint8Array>({
      pull: controller => {
        const next = iterator.next()
        if (next.done === true) controller.close()
        else controller.enqueue(next.value)
      },
    })
    return source.pipeThrough(toWeb(driver)).pipeTo(new WritableStream({ write: take }))
  })

/** Every way to run a body. */
export const adapters: readonly (readonly [name: string, run: Run])[] = [
  ['driver', drive],
  ['Transform', transform],
  ['generator', pieces],
  ['stage', stage],
  ['TransformStream', web],
]
