/**
 * Range reads of 4 KiB in a large object that lies in a file, under a bucket key in memory where the revision has them: how long beyond the raw
 * read of the same bytes, and how much is read.
 */
import { createReadStream, createWriteStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough, type Duplex } from 'node:stream'
import { performance } from 'node:perf_hooks'
import { pipeline } from 'node:stream/promises'
import type { Bench, BenchCase, Contestant, Group } from '../harness.ts'
import { type Wrapping, wrappingsOf } from '../support/bucket-key.ts'
import { bytes } from '../support/bytes.ts'
import { openService, type Service } from '../support/service.ts'
import { gather, plaintext, readable } from '../support/streams.ts'

const length = 4096
const sealedSegment = 65_536 + 16
const header = 56

/** A sealed object in a file. */
interface Stored {
  readonly path: string
  readonly envelope: Uint8Array
  readonly size: number
  /** Bytes of a part. */
  readonly part: number
}

const onePart = async ({ sse, directory }: Service, { seal }: Wrapping, size: number): Promise<Stored> => {
  const path = join(directory, 'one-part')
  const put = await sse.encrypt({ length: size, ...seal })
  await pipeline(readable(plaintext(size)), put.stream, createWriteStream(path, { highWaterMark: 4 << 20 }))
  return { path, envelope: put.result().envelope, size, part: size }
}

const manyParts = async (
  { sse, directory }: Service,
  { seal, read }: Wrapping,
  count: number,
  part: number,
): Promise<Stored> => {
  const path = join(directory, 'many-parts')
  const upload = await sse.createUpload(seal)
  const file = await open(path, 'w')
  const receipts: Uint8Array[] = []
  const named: { readonly part: number; readonly etag: string }[] = []
  for (let number = 1; number <= count; number++) {
    const { driver, result } = await sse.encryptPart(upload, number, { length: part, ...read })
    const stored = await gather(async sink => {
      for (const chunk of plaintext(part)) await driver.write(chunk, sink)
      await driver.end(sink)
    })
    driver.dispose()
    await file.write(stored)
    const { receipt, etag } = result()
    receipts.push(receipt)
    named.push({ part: number, etag })
  }
  await file.close()
  const { envelope } = await sse.completeUpload(upload, named, receipts, read)
  return { path, envelope, size: count * part, part }
}

/** Where to read: all over the object, now and then across the border of two segments. */
const places = ({ size }: Stored, count: number): readonly number[] =>
  Array.from({ length: count }, (_, i) => {
    const at = Math.floor(((i + 0.5) / count) * (size - 2 * sealedSegment))
    return i % 8 === 0 ? at - (at % 65_536) + 65_536 - length / 2 : at
  })

const expected = ({ part }: Stored, start: number): Uint8Array => {
  const out = new Uint8Array(length)
  const period = [...plaintext(1 << 20)]
  for (let i = 0; i < length; i++) {
    const at = ((start + i) % part) % (1 << 20)
    out[i] = period[at >> 16]?.[at & 65_535] ?? 0
  }
  return out
}

const contestantsOf = async (
  bench: Bench,
  { sse, engine }: Service,
  { read }: Wrapping,
  stored: Stored,
  count: number,
  title: string,
): Promise<readonly Group[]> => {
  const { path, envelope, size } = stored
  const file = await open(path)
  bench.after(() => file.close())
  const begin = (start: number) => sse.decrypt(envelope, { range: { start, end: start + length - 1 }, ...read })
  const take = async ({ start, end }: { readonly start: number; readonly end: number }) => {
    const buffer = Buffer.allocUnsafe(end - start + 1)
    await file.read(buffer, 0, buffer.length, start)
    return buffer
  }
  const flow = ({ start, end }: { readonly start: number; readonly end: number }, stream: Duplex) =>
    gather(async sink => {
      const from = createReadStream(path, { start, end, highWaterMark: 262_144 })
      await pipeline(from, stream, async chunks => {
        for await (const chunk of chunks) sink(chunk)
      })
    })
  const driven = async (start: number) => {
    const get = await begin(start)
    const plain = await gather(async sink => {
      await get.driver.write(await take(get.stored), sink)
      await get.driver.end(sink)
    })
    get.driver.dispose()
    return plain
  }
  const streamed = async (start: number) => {
    const get = await begin(start)
    return flow(get.stored, get.stream)
  }
  // Where the bytes of each place lie is found beforehand, so that the raw read is nothing but a read.
  const all = await Promise.all(
    places(stored, count).map(async start => {
      const { driver, stored: at } = await begin(start)
      driver.dispose()
      return { start, at }
    }),
  )
  type Place = (typeof all)[number]
  /** Microseconds that the second takes longer than the first, place by place in turn. */
  const beyond = async (raw: (place: Place) => Promise<unknown>, ours: (place: Place) => Promise<unknown>) => {
    let sum = 0
    for (const place of all) {
      const start = performance.now()
      await raw(place)
      const middle = performance.now()
      await ours(place)
      sum += performance.now() - middle - (middle - start)
    }
    return (sum / all.length) * 1000
  }
  const each = async (run: (place: Place) => Promise<unknown>) => {
    for (const place of all) await run(place)
    return all.length
  }
  const validate = async () => {
    for (const { start } of all) {
      const plain = expected(stored, start)
      for (const got of [await driven(start), await streamed(start)]) {
        if (Buffer.compare(got, plain) !== 0) throw new Error(`the range at ${start} is wrong`)
      }
    }
  }
  const labels = { direction: 'read', size, suite: 1, engine }
  const own = { ...labels, own: true, validate }
  const raw: Contestant = { ...labels, name: 'raw read', run: () => each(({ at }) => take(at)) }
  return [
    {
      name: `${bytes(length)} of ${bytes(size)}, ${title}`,
      unit: 'µs',
      rounds: bench.pick(1, 3, 9),
      contestants: [
        raw,
        { ...own, name: 'driver', against: [raw], run: () => each(({ start }) => driven(start)) },
        {
          ...own,
          name: 'driver, beyond the raw read',
          reports: true,
          run: () =>
            beyond(
              ({ at }) => take(at),
              ({ start }) => driven(start),
            ),
        },
        {
          ...own,
          name: 'Transform, beyond the raw read through a PassThrough',
          reports: true,
          run: () =>
            beyond(
              ({ at }) => flow(at, new PassThrough()),
              ({ start }) => streamed(start),
            ),
        },
      ],
    },
    {
      name: `read for ${bytes(length)} of ${bytes(size)}, ${title}`,
      unit: 'segments',
      once: true,
      contestants: [
        {
          ...labels,
          name: 'most that a range read',
          own: true,
          reports: true,
          run: async () =>
            Math.max(...all.map(({ at }) => Math.ceil((at.end - at.start + 1 - header) / sealedSegment))),
        },
      ],
    },
  ]
}

/** The case. */
export const range: BenchCase = {
  name: 'range',
  about: '4 KiB out of 1 GiB, of one part and of 10,000: microseconds beyond the raw read, and segments read',
  make: async bench => {
    const service = await openService(bench)
    const wrapping = (await wrappingsOf(bench, service)).at(-1)
    if (wrapping === undefined) return []
    const one = await onePart(service, wrapping, bench.pick(1 << 20, 1 << 30, 1 << 30))
    const count = bench.pick(20, 10_000, 10_000)
    const many = await manyParts(service, wrapping, count, 107_375)
    return [
      ...(await contestantsOf(bench, service, wrapping, one, bench.pick(8, 100, 400), 'one part')),
      ...(await contestantsOf(
        bench,
        service,
        wrapping,
        many,
        bench.pick(8, 24, 200),
        `${count.toLocaleString('en')} parts`,
      )),
    ]
  },
}
