/** A body as one stage of a chain: what it fuses with, what goes through it, how it ends, and that its keys are wiped however that is. */
import { type Duplex, PassThrough, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { chain, final, gen, many, none, stop } from 'stream-chain'
import { chain as webChain } from 'stream-chain/web'
import t, { type Test } from 'tap'
import { concat, equal } from '../../lib/bytes.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { suiteOf } from '../../lib/cipher/suite.ts'
import { webCryptoEngine } from '../../lib/cipher/web.ts'
import { createSse } from '../../lib/object/node.ts'
import { storedLength } from '../../lib/segment/layout.ts'
import { bodyOf } from '../support/body.ts'
import { inChunks } from '../support/drive.ts'
import { spyAsync, spyKms, spySync, wiped } from '../support/spy.ts'
import { stubLocal } from '../support/stub-kms.ts'

const suite = suiteOf(2)
const S = suite.segmentSize

/** Both kinds of engine, spied on, and whether all keys that they and the KMS saw are wiped. */
const watched = () =>
  [spySync(nodeEngine), spyAsync(webCryptoEngine)].map(({ engine, seen }) => {
    const { kms, given } = spyKms(stubLocal({ key: { 1: new Uint8Array(32).fill(7) } }))
    const sse = createSse({ kms, accept: ['key'], engine, suite: 2 })
    const clean = () => seen.keys.length > 0 && seen.keys.every(key => key.every(b => b === 0)) && given.every(wiped)
    return { name: engine.name, sse, clean }
  })
type Watched = ReturnType<typeof watched>[number]

const through = async (source: Iterable<unknown>, stream: Duplex): Promise<Uint8Array> => {
  const out: Uint8Array[] = []
  await pipeline(Readable.from(source), stream, async (from: AsyncIterable<Uint8Array>) => {
    for await (const bytes of from) out.push(bytes)
  })
  return concat(...out)
}
const opened = async ({ sse }: Watched, envelope: Uint8Array, sealed: Uint8Array): Promise<string> =>
  Buffer.from(await through([sealed], chain([(await sse.decrypt(envelope)).stage()]))).toString()

const each = (name: string, run: (t: Test, watched: Watched) => Promise<void>): void => {
  t.test(name, async t => {
    for (const one of watched()) {
      await run(t, one)
      t.ok(one.clean(), `${one.name}: keys are wiped`)
    }
  })
}

each('it is one stream with the functions beside it, and seals the last segment at the end', async (t, one) => {
  const plaintext = bodyOf(3 * S + 1)
  const put = await one.sse.encrypt()
  const fused = chain([(chunk: Uint8Array) => chunk, put.stage(), (bytes: Uint8Array) => bytes])
  t.equal(fused.streams?.length, 1)
  const sealed = await through(inChunks(plaintext, 999), fused)
  t.equal(sealed.length, storedLength(suite, plaintext.length))
  t.equal(await opened(one, put.result().envelope, sealed), Buffer.from(plaintext).toString())
  for (const functions of [[], [(chunk: Uint8Array) => chunk]]) {
    const none = await one.sse.encrypt()
    const empty = await through([], chain([...functions, none.stage()]))
    t.equal(empty.length, storedLength(suite, 0), 'an empty body has its last segment too')
    t.equal(await opened(one, none.result().envelope, empty), '')
  }
})

each('text, bytes, several values, none, promises and generators go through it', async (t, one) => {
  const put = await one.sse.encrypt()
  const sealed = await through(
    [0, 1, 2, 3, 4, 5, 6],
    chain([
      (n: number) =>
        [
          'text ü',
          new Uint8Array([33]),
          many(['a', Buffer.from('b'), 'c']),
          none,
          Promise.resolve('later'),
          many([]),
          (function* () {
            yield '1'
            yield '2'
          })(),
        ][n] ?? none,
      put.stage(),
      (bytes: Uint8Array) => many([bytes.subarray(0, 1), bytes.subarray(1)]),
      (bytes: Uint8Array) => (bytes.length === 0 ? none : bytes),
    ]),
  )
  t.equal(await opened(one, put.result().envelope, sealed), 'text ü!abclater12')
})

each('what is neither bytes nor text ends the pipeline', async (t, one) => {
  for (const value of [7, { row: 1 }, 'half \ud83d']) {
    const put = await one.sse.encrypt()
    const wrong = chain([() => value, put.stage()])
    await t.rejects(through(['a'], wrong), { name: 'TypeError', message: /chunk/ })
    t.throws(() => put.result(), TypeError)
  }
})

each('final() goes past it, as past every stage: it is not sealed', async (t, one) => {
  const put = await one.sse.encrypt()
  const out = await through(
    ['a', 'b'],
    chain([(text: string) => (text === 'a' ? final(Buffer.from('past')) : text), put.stage()]),
  )
  t.equal(Buffer.from(out.subarray(0, 4)).toString(), 'past')
  t.equal(await opened(one, put.result().envelope, out.subarray(4)), 'b')
})

each('stop before it ends the body there; stop after it gives no object', async (t, one) => {
  const before = await one.sse.encrypt()
  const sealed = await through(['a', 'b', 'c'], chain([(text: string) => (text === 'b' ? stop : text), before.stage()]))
  t.equal(await opened(one, before.result().envelope, sealed), 'a')
  const after = await one.sse.encrypt()
  await through([bodyOf(2 * S), bodyOf(S)], chain([after.stage(), () => stop]))
  t.throws(() => after.result(), TypeError, 'there is no object')
})

each('destroyed in the middle: the error reaches the pipeline, and there is no object', async (t, one) => {
  const reason = new Error('enough')
  for (const layout of ['fused', 'between streams', 'not grouped']) {
    for (const how of ['destroyed', 'a function throws', 'the source fails', 'the reader leaves']) {
      const put = await one.sse.encrypt()
      const check = (bytes: Uint8Array) => {
        if (how === 'a function throws') throw reason
        return bytes
      }
      const same = (chunk: Uint8Array) => chunk
      const stages =
        layout === 'between streams'
          ? [same, new PassThrough(), put.stage(), check, new PassThrough()]
          : [same, put.stage(), check]
      const stream: Duplex = chain(stages, { noGrouping: layout === 'not grouped' })
      const source = async function* () {
        yield bodyOf(2 * S)
        if (how === 'destroyed') stream.destroy(reason)
        if (how === 'the source fails') throw reason
        yield bodyOf(2 * S)
      }
      const reader = async (from: AsyncIterable<Uint8Array>) => {
        for await (const _ of from) if (how === 'the reader leaves') throw reason
      }
      await t.rejects(pipeline(source, stream, reader), reason, `${one.name}, ${layout}: ${how}`)
      await new Promise(resolve => setImmediate(resolve))
      t.throws(() => put.result(), TypeError)
    }
  }
})

each('a segment that was changed ends the pipeline before a function sees it', async (t, one) => {
  const plaintext = bodyOf(4 * S)
  const put = await one.sse.encrypt()
  const sealed = await through([plaintext], chain([put.stage()]))
  const changed = sealed.map((byte, i) => (i === sealed.length - 1 - 2 * S ? byte ^ 1 : byte))
  const get = await one.sse.decrypt(put.result().envelope)
  const seen: Uint8Array[] = []
  const opening = chain([get.stage(), (bytes: Uint8Array) => void seen.push(bytes)])
  await t.rejects(through(inChunks(changed, 1000), opening), { code: 'NotAuthentic' })
  const came = concat(...seen)
  t.ok(came.length <= 2 * S && equal(came, plaintext.subarray(0, came.length)))
})

each('chains of Web Streams and of generators', async (t, one) => {
  const put = await one.sse.encrypt()
  const { readable, writable } = webChain([(text: string) => `${text}!`, put.stage()])
  if (readable === null || writable === null) throw new TypeError('the chain has both ends')
  const reading = buffer(readable)
  const writer = writable.getWriter()
  await writer.write('a')
  await writer.close()
  t.equal(await opened(one, put.result().envelope, await reading), 'a!')

  const other = await one.sse.encrypt()
  const run = gen((text: string) => `${text}?`, other.stage())
  const pieces: Uint8Array[] = []
  for await (const piece of run('b')) pieces.push(piece)
  for await (const piece of Reflect.apply(run, undefined, [none])) pieces.push(piece)
  t.equal(await opened(one, other.result().envelope, concat(...pieces)), 'b?')

  const left = await one.sse.encrypt()
  for await (const _ of gen(left.stage(), (bytes: Uint8Array) => bytes)(bodyOf(2 * S))) break
  t.throws(() => left.result(), TypeError)
})
