/** 1,000 streams open at once: what each holds, whether that grows, and how long the event loop waits under full load. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { type Duplex, PassThrough, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate as turn, setTimeout } from 'node:timers/promises'
import { type BenchCase, collectGarbage, type Contestant, type Group, spreadOf } from '../harness.ts'
import { chosenOf } from '../support/engines.ts'
import { chunksOf, flow, gather, plaintext } from '../support/streams.ts'

const KiB = 1024
const MiB = KiB * KiB
const resolution = 1

/** Heap and external memory, once what waited for its turn has had it. */
const used = async (): Promise<number> => {
  await setTimeout(200)
  for (let i = 0; i < 3; i++) {
    await turn()
    collectGarbage(true)
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Fills a stream that nobody reads until it asks to wait. */
const fill = async (stream: Duplex, chunks: Iterator<Uint8Array>): Promise<void> => {
  for (;;) {
    const next = chunks.next()
    if (next.done === true || !stream.write(next.value)) break
  }
  await turn()
}

/** Reads what a stream gives while its source goes on for some bytes, then leaves it open in the middle of a segment. */
const pump = async (stream: Duplex, chunks: Iterator<Uint8Array>, size: number): Promise<void> => {
  stream.resume()
  for (let left = size; left > 0;) {
    const next = chunks.next()
    if (next.done === true) break
    left -= next.value.length
    if (!stream.write(next.value)) await once(stream, 'drain')
  }
  stream.pause()
}

/** Small pieces, each a copy of its own as a socket would give it, which do not end at a border of a segment. */
function* pieces(chunks: Iterable<Uint8Array>): Generator<Uint8Array> {
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += 15_000) yield new Uint8Array(chunk.subarray(at, at + 15_000))
  }
}

/** The case. */
export const memory: BenchCase = {
  name: 'memory',
  about: '1,000 streams open at once: memory of each, its growth, and the delay of the event loop under full load',
  make: async bench => {
    const { core } = bench.lib
    const customerKey = new Uint8Array(randomBytes(32))
    const engine = await chosenOf(bench.lib)
    const sse = core.createSse({ kms: core.customerKey(engine, customerKey), accept: [''], engine })
    const count = bench.pick(10, 1000, 1000)
    const size = bench.pick(512 * KiB, 512 * KiB, 4 * MiB)
    const put = await sse.encrypt({ length: size })
    const stored = await gather(sink => flow('Transform', plaintext(size), put, sink))
    const { envelope } = put.result()
    const ways = [
      { name: 'PassThrough', direction: 'none', make: async (): Promise<Duplex> => new PassThrough(), input: stored },
      { name: 'Transform', direction: 'seal', make: async () => (await sse.encrypt()).stream, input: undefined },
      { name: 'Transform', direction: 'open', make: async () => (await sse.decrypt(envelope)).stream, input: stored },
    ]
    const inputOf = ({ input }: (typeof ways)[number]) => (input === undefined ? plaintext(size) : chunksOf(input))

    /** Opens all, has something happen to each, and measures: KiB of each stream. */
    const held = async (
      way: (typeof ways)[number],
      each: (stream: Duplex, chunks: Iterator<Uint8Array>) => Promise<void>,
      again?: (stream: Duplex, chunks: Iterator<Uint8Array>) => Promise<void>,
    ): Promise<number> => {
      const before = await used()
      const open: { readonly stream: Duplex; readonly chunks: Iterator<Uint8Array> }[] = []
      for (let i = 0; i < count; i++) open.push({ stream: await way.make(), chunks: pieces(inputOf(way)) })
      await Promise.all(open.map(({ stream, chunks }) => each(stream, chunks)))
      let figure = (await used()) - before
      if (again !== undefined) {
        await Promise.all(open.map(({ stream, chunks }) => again(stream, chunks)))
        figure = (await used()) - before - figure
      }
      for (const { stream } of open) stream.destroy()
      return figure / count / KiB
    }
    const memoryGroup = (name: string, run: (way: (typeof ways)[number]) => Promise<number>): Group => {
      const contestants: Contestant[] = []
      for (const way of ways) {
        const own = way.direction !== 'none'
        const labels = { name: way.name, direction: own ? way.direction : undefined, own, reports: true }
        contestants.push({ ...labels, ...(own && { suite: 1, engine: engine.name }), run: () => run(way) })
      }
      return { name, unit: 'KiB', contestants, rounds: bench.pick(1, 1, 3), cold: true }
    }

    const directory = await bench.directory()
    const [plainFile, sealedFile] = [join(directory, 'plain'), join(directory, 'sealed')]
    await writeFile(plainFile, Buffer.concat([...plaintext(size)]))
    await writeFile(sealedFile, stored)
    const middles = new Map<string, number[]>(ways.map(way => [way.direction, []]))
    const waited = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - resolution)
    /** Milliseconds that all but one in a hundred turns took at most; the median is remembered. */
    const delay = async (way: (typeof ways)[number]): Promise<number> => {
      const streams = await Promise.all(Array.from({ length: count }, () => way.make()))
      const monitor = monitorEventLoopDelay({ resolution })
      monitor.enable()
      await Promise.all(
        streams.map(stream =>
          pipeline(
            createReadStream(way.input === undefined ? plainFile : sealedFile),
            stream,
            new Writable({ write: (_chunk, _encoding, done) => done() }),
          ),
        ),
      )
      monitor.disable()
      middles.get(way.direction)?.push(waited(monitor.percentile(50)))
      return waited(monitor.percentile(99))
    }
    const delays = `delay of the event loop, ${count.toLocaleString('en')} files at once`
    return [
      memoryGroup(`${count.toLocaleString('en')} streams, filled until they ask to wait`, way => held(way, fill)),
      ...(bench.pick(true, false, true)
        ? [
            memoryGroup(`${count.toLocaleString('en')} streams in the middle of a body`, way =>
              held(way, (stream, chunks) => pump(stream, chunks, size / 4)),
            ),
          ]
        : []),
      memoryGroup(`${count.toLocaleString('en')} streams, growth of each while twice the bytes flow`, way =>
        held(
          way,
          // Two segments first, after which a stream has all that it will ever hold.
          (stream, chunks) => pump(stream, chunks, size / 4),
          (stream, chunks) => pump(stream, chunks, size / 2),
        ),
      ),
      { ...memoryGroup(`${delays}, p99`, delay), unit: 'ms', rounds: bench.pick(1, 2, 9) },
      {
        ...memoryGroup(`${delays}, p50`, async way => spreadOf(middles.get(way.direction) ?? []).median),
        unit: 'ms',
        once: true,
      },
    ]
  },
}
