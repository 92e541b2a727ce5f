/** What a body store is held to, whatever it is made of: a list of cases, run on one. */
import type { Test } from 'tap'
import type { BodyStore, StoredBody } from '../../lib/store/body-store.ts'
import { pattern } from './store.ts'

/** A body store that is held to the cases. */
export interface HeldBodies {
  readonly bodies: BodyStore
  /** A size that it takes in several pieces of its own. */
  readonly large: number
}

let made = 0
/** An id that was not used before. */
export const freshId = (): string => (++made).toString(16).padStart(32, '0')

/** Writes a body in pieces, whose memory is used again. */
export const writeBody = async (bodies: BodyStore, id: string, bytes: Uint8Array, piece = 100_000): Promise<void> => {
  const sink = await bodies.create(id)
  for (let at = 0; at < bytes.length; at += 2 * piece) {
    const pieces = [at, at + piece].map(from => new Uint8Array(bytes.subarray(from, from + piece)))
    await sink.write(pieces)
    for (const each of pieces) each.fill(0)
  }
  await sink.finish()
}

/** The bytes of a range of a body; rejects where the reading does. */
export const readRange = async (
  { read }: StoredBody,
  start: number,
  end: number,
  { chunkSize = 65_536, reuse = false } = {},
): Promise<Buffer> => {
  const chunks: Uint8Array[] = []
  for await (const chunk of read({ start, end, chunkSize, reuse })) {
    if (chunk.length === 0 || chunk.length > chunkSize) throw new Error(`a chunk of ${chunk.length} bytes`)
    chunks.push(reuse ? new Uint8Array(chunk) : chunk)
  }
  return Buffer.concat(chunks)
}

/** Opens a body that is there. */
export const opened = async (bodies: BodyStore, id: string, size: number): Promise<StoredBody> => {
  const body = await bodies.open(id, size)
  if (body === undefined) throw new Error('there is no such body')
  return body
}

/** The ids that it lists, sorted. */
export const listed = async (bodies: BodyStore): Promise<readonly string[]> => {
  const ids: string[] = []
  for await (const some of bodies.list()) ids.push(...some)
  return ids.toSorted()
}

/** Runs all cases on a store that is empty. */
export const holdToContract = async (t: Test, { bodies, large }: HeldBodies): Promise<void> => {
  await t.test('what was written is read, and all of its ranges', async t => {
    for (const size of [0, 1, 300_000, large, 2 * large + 17]) {
      const id = freshId()
      const bytes = pattern(size, size)
      await writeBody(bodies, id, bytes)
      t.equal(await bodies.sizeOf(id), size)
      const body = await opened(bodies, id, size)
      t.equal(body.size, size)
      t.ok((await readRange(body, 0, size)).equals(bytes), `all of ${size}`)
      for (const [start, end] of [
        [17, 18],
        [99_999, 200_001],
        [size - 1, size],
        [5, 5],
        [1, size],
        [0, size - 1],
      ] as const) {
        if (start < 0 || start > end || end > size) continue
        for (const reuse of size < large ? [false, true] : [true])
          t.ok((await readRange(body, start, end, { reuse })).equals(bytes.subarray(start, end)), `${start} to ${end}`)
      }
      if (size < large) t.ok((await readRange(body, 0, size, { chunkSize: 1000 })).equals(bytes))
      await body.close()
      t.equal(await bodies.delete(id), true)
    }
  })

  await t.test('several are written and read at a time, by several readers', async t => {
    const ids = Array.from({ length: 6 }, freshId)
    const contents = ids.map((_, i) => pattern(large / 2 + i, i))
    await Promise.all(ids.map((id, i) => writeBody(bodies, id, contents[i] ?? Buffer.alloc(0))))
    const bodiesOpen = await Promise.all(ids.map((id, i) => opened(bodies, id, large / 2 + i)))
    const reads = await Promise.all(bodiesOpen.flatMap(body => [0, 1].map(start => readRange(body, start, body.size))))
    t.ok(reads.every((read, i) => read.equals(contents[i >> 1]?.subarray(i % 2) ?? Buffer.alloc(0))))
    const [first] = bodiesOpen
    for await (const chunk of first?.read({ start: 0, end: large / 2, chunkSize: 1000, reuse: false }) ?? []) {
      t.ok(contents[0]?.subarray(0, chunk.length).equals(chunk), 'a reader may stop early')
      break
    }
    await Promise.all(bodiesOpen.map(body => body.close()))
    t.strictSame(await listed(bodies), ids.toSorted())
    await Promise.all(ids.map(id => bodies.delete(id)))
    t.strictSame(await listed(bodies), [])
  })

  await t.test('what is not there, and what has another size', async t => {
    const none = freshId()
    t.equal(await bodies.sizeOf(none), undefined)
    const body = await bodies.open(none, 10)
    if (body !== undefined) await t.rejects(readRange(body, 0, 10), { code: 'StoreFailed', message: /is gone/ })
    t.equal(body === undefined, !bodies.remote)
    await bodies.delete(none)

    const id = freshId()
    await writeBody(bodies, id, pattern(1000))
    for (const size of [999, 1001]) {
      const other = await opened(bodies, id, size)
      if (!bodies.remote) t.equal(other.size, 1000)
      else {
        await t.rejects(readRange(other, 0, size), { code: 'StoreFailed' })
        await t.rejects(readRange(other, 1, 2), { code: 'StoreFailed' })
      }
      await other.close()
    }
    await bodies.delete(id)
    t.equal(await bodies.sizeOf(id), undefined)
  })

  await t.test('what is discarded is gone, whenever that is', async t => {
    for (const [size, finish] of [
      [0, false],
      [1000, false],
      [1000, true],
      [2 * large + 1, false],
      [2 * large + 1, true],
    ] as const) {
      const id = freshId()
      const sink = await bodies.create(id)
      await sink.write([pattern(size)])
      if (finish) await sink.finish()
      await sink.discard()
      t.equal(await bodies.sizeOf(id), undefined, `${size}`)
    }
    const id = freshId()
    const sink = await bodies.create(id)
    const writing = sink
      .write([pattern(3 * large)])
      .then(() => sink.finish())
      .catch(() => undefined)
    await sink.discard()
    await writing
    await bodies.delete(id) // what came to be at the very end
    t.strictSame(await listed(bodies), [])
    const asked: string[] = []
    await bodies.discardUnfinished(async ids => {
      asked.push(...ids)
      return ids
    })
    t.ok(asked.every(each => each === id))
  })
}
