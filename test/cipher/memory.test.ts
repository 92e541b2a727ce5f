// Memory that is used again: what is lent out is nobody else's until it is given back, and bodies come out the same over every engine.
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { SegmentMemory } from '../../lib/cipher/memory.ts'
import type { SuiteId } from '../../lib/cipher/suite.ts'
import { customerKey } from '../../lib/kms/customer.ts'
import { createSse } from '../../lib/object/node.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { engines, openSslOfTests } from '../support/engines.ts'

const there = <T>(value: T | undefined): T => {
  if (value === undefined) throw new Error('there is none')
  return value
}

t.test('a piece that was given back is the next one that is taken', async t => {
  const memory = new SegmentMemory()
  const first = there(memory.take(65_552))
  const second = there(memory.take(4096))
  t.not(first.buffer, second.buffer)
  t.equal(second.length, 4096)
  memory.give(first.subarray(0, 100)) // a part of it will do
  const third = memory.take(65_536)
  t.equal(third?.buffer, first.buffer)
  t.equal(third?.length, 65_536)
  memory.give(second)
  memory.give(second)
  t.equal(memory.take(65_552)?.buffer, second.buffer)
  t.not(memory.take(65_552)?.buffer, second.buffer, 'one that is given back twice is lent once')
  memory.give(new Uint8Array(65_552)) // of other memory
  for (const size of [0, 64, 4095, 65_553, 262_160]) t.equal(memory.take(size), undefined, `${size} bytes`)
})

t.test('no more than 4 MiB are kept', async t => {
  const memory = new SegmentMemory()
  const lent = Array.from({ length: 100 }, () => there(memory.take(65_552)))
  for (const piece of lent) memory.give(piece)
  const again = new Set(lent.map(({ buffer }) => buffer))
  const kept = Array.from({ length: 100 }, () => memory.take(65_552)).filter(piece => piece && again.has(piece.buffer))
  t.equal(kept.length, 64)
})

const size = 500_000
const body = randomBytes(size)

function* cut(bytes: Uint8Array, length: number): Iterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length)
}

for (const engine of engines) {
  t.test(`${engine.name}: pieces stay what they are until they are given back`, async t => {
    const kms = customerKey(nodeEngine, randomBytes(32))
    const memory = new SegmentMemory()
    /** Takes a body, holding so many pieces before the oldest is copied and given back. */
    const take = async (pieces: AsyncIterable<Uint8Array>, held: number): Promise<Buffer> => {
      const waiting: Uint8Array[] = []
      const copies: Uint8Array[] = []
      const release = (piece: Uint8Array) => {
        copies.push(new Uint8Array(piece))
        memory.give(piece)
      }
      for await (const piece of pieces) {
        waiting.push(piece)
        if (waiting.length > held) release(there(waiting.shift()))
      }
      waiting.forEach(release)
      return Buffer.concat(copies)
    }
    const suites: readonly SuiteId[] = [1, 2, 5]
    for (const suite of suites) {
      const sse = createSse({ kms, accept: [''], engine, suite })
      for (const [length, held] of [
        [65_536, 0],
        [65_536, 3],
        [5000, 7],
        [size, 1],
      ] as const) {
        const put = await sse.encrypt({ length: size, memory })
        const sealed = await take(put.pieces(cut(body, length)), held)
        const { envelope } = put.result()
        const get = await sse.decrypt(envelope, { memory })
        t.ok(body.equals(await take(get.pieces(cut(sealed, length)), held)), `suite ${suite}, ${length}, ${held} held`)
        const range = { start: 70_001, end: 300_001 }
        const part = await sse.decrypt(envelope, { range, memory })
        const { start, end } = part.stored
        const opened = await take(part.pieces(cut(sealed.subarray(start, end + 1), length)), held)
        t.ok(body.subarray(range.start, range.end + 1).equals(opened), 'and a range')
      }
    }
  })
}

t.test('the engine openssl uses it: a body of many segments needs a few pieces of memory', async t => {
  const sse = createSse({ kms: customerKey(nodeEngine, randomBytes(32)), accept: [''], engine: openSslOfTests })
  const memory = new SegmentMemory()
  const put = await sse.encrypt({ length: size, memory })
  const sealed: Uint8Array[] = []
  const used = new Set<ArrayBufferLike>()
  for await (const piece of put.pieces(cut(body, 65_536))) {
    if (piece.length > 4096) used.add(piece.buffer)
    sealed.push(new Uint8Array(piece))
    memory.give(piece)
  }
  t.ok(used.size <= 2, 'sealing')
  const get = await sse.decrypt(put.result().envelope, { memory })
  used.clear()
  for await (const piece of get.pieces(sealed)) {
    used.add(piece.buffer)
    memory.give(piece)
  }
  t.ok(used.size <= 2, 'opening')
})

t.test('what is no memory is refused', async t => {
  const sse = createSse({ kms: customerKey(nodeEngine, randomBytes(32)), accept: [''] })
  const memory: SegmentMemory = JSON.parse('{}')
  await t.rejects(sse.encrypt({ memory }), { name: 'TypeError', message: /memory/ })
  const { envelope } = there((await sse.encrypt({ length: 0 })).planned)
  await t.rejects(sse.decrypt(envelope, { memory }), { name: 'TypeError', message: /memory/ })
})
