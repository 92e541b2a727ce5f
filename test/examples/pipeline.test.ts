/** The pipelines that the README and the guides show. */
import { randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { chain } from 'stream-chain'
import { parser } from 'stream-chain/jsonl/parser.js'
import { stringer } from 'stream-chain/jsonl/stringer.js'
import t from 'tap'
import { createSse, LocalKms } from '../../lib/index.ts'
import { openFileStore } from '../../lib/store.ts'

process.chdir(t.testdir())
// #region sse
const kms = await LocalKms.open('./keys', { root: { file: './root.key', create: true } })
const { keyId } = await kms.defaultKey({ region: 'sichuan', domainId: 'my-tenant' })
const sse = createSse({ kms, accept: [keyId] })
// #endregion sse

t.teardown(() => kms.close())

t.test('a first file', async t => {
  // #region start
  await writeFile('cat.txt', 'meow')

  const put = await sse.encrypt({ file: true })
  await pipeline(createReadStream('cat.txt'), put.stream, createWriteStream('cat.sse'))

  const get = await sse.decryptPipe()
  await pipeline(createReadStream('cat.sse'), get.stream, createWriteStream('copy.txt'))
  // #endregion start
  t.equal(await readFile('copy.txt', 'utf8'), 'meow')
  t.notMatch(await readFile('cat.sse', 'latin1'), 'meow')
})

t.test('stream-chain: one stage among others', async t => {
  // #region chain
  const rows = '{"keep":true,"n":1}\n{"keep":false,"n":2}\n{"keep":true,"n":3}\n'
  const put = await sse.encrypt()
  const sealed = chain([
    parser(),
    ({ value }: { value: unknown }) => (Object(value).keep ? value : null),
    stringer(),
    (line: unknown) => Buffer.from(String(line)),
    put.stage(),
  ])
  Readable.from([rows]).pipe(sealed)
  const body = await buffer(sealed)

  const get = await sse.decrypt(put.result().envelope)
  const opened = await text(Readable.from([body]).compose(get.stream))
  // #endregion chain
  t.equal(opened, '{"keep":true,"n":1}\n{"keep":true,"n":3}')
})

t.test('bytes in memory', async t => {
  // #region bytes
  const context = { 'aws:s3:arn': 'arn:aws:s3:::bucket/name' }
  const sealed = await sse.encryptBytes('hello, world', { context }) // bytes, or text as UTF-8
  const opened = await sse.decryptBytes(sealed, { context })
  const world = await sse.decryptBytes(sealed, { context, range: { suffix: 5 } })
  // #endregion bytes
  t.equal(Buffer.from(opened).toString(), 'hello, world')
  t.equal(Buffer.from(world).toString(), 'world')
  await t.rejects(sse.decryptBytes(sealed), { code: 'NotAuthentic' })
})

t.test('what a block closes', async t => {
  const run = async () => {
    // #region using
    const plain = randomBytes(100_000)
    using kms = await LocalKms.open('./keys', { root: { file: './root.key', create: true } })
    const { keyId } = await kms.defaultKey({ region: 'sichuan', domainId: 'my-tenant' })
    using sse = createSse({ kms, accept: [keyId] })
    await using store = await openFileStore('./objects')
    await using body = await store.createBody() // thrown away, unless putObject commits it
    using put = await sse.encrypt({ length: plain.length })
    await pipeline(Readable.from([plain]), put.stream, body.writable)
    // #endregion using
    t.equal(body.size, put.result().storedLength)
    return { kms, store }
  }
  const closed = await run()
  await t.rejects(closed.kms.listKeys(), TypeError)
  await t.rejects(closed.store.listBuckets(), /closed/)
})

t.test('a generator', async t => {
  // #region pieces
  const plain = randomBytes(100_000)
  const put = await sse.encrypt({ length: plain.length })
  const stored = []
  for await (const piece of put.pieces([plain])) stored.push(piece)

  const get = await sse.decrypt(put.result().envelope)
  const opened = await buffer(get.pieces(stored)) // or a stream, a file: whatever gives chunks
  // #endregion pieces
  t.ok(plain.equals(opened))
})

t.test('Web Streams', async t => {
  // #region web
  const put = await sse.encrypt()
  const body = new Blob(['hello']).stream().pipeThrough(put.web())
  const sealed = await new Response(body).arrayBuffer()

  const get = await sse.decrypt(put.result().envelope)
  const opened = new Blob([sealed]).stream().pipeThrough(get.web())
  // #endregion web
  t.equal(await new Response(opened).text(), 'hello')
})

t.test('a range, of an object whose length was known', async t => {
  // #region range
  const plain = randomBytes(200_000)
  const put = await sse.encrypt({ length: plain.length })
  const stored = await buffer(Readable.from([plain]).compose(put.stream))

  const get = await sse.decrypt(put.result().envelope, { range: { start: 150_000, end: 150_099 } })
  const { start, end } = get.stored // which stored bytes to read: one segment here
  const part = await buffer(Readable.from([stored.subarray(start, end + 1)]).compose(get.stream))
  // #endregion range
  t.strictSame(part, plain.subarray(150_000, 150_100))
})

t.test('multipart, in any order', async t => {
  // #region multipart
  const [first, second] = [randomBytes(100_000), randomBytes(5)]
  const upload = await sse.createUpload() // uploadId and session, to be stored
  const sealed = new Map<number, Buffer>()
  const parts = []
  for (const [number, bytes] of [
    [2, second],
    [1, first],
  ] as const) {
    const part = await sse.encryptPart(upload, number)
    sealed.set(number, await buffer(Readable.from([bytes]).compose(part.stream)))
    parts.push({ number, ...part.result() }) // the receipt is stored, the ETag goes to the client
  }
  const named = parts.map(({ number, etag }) => ({ part: number, etag })).sort((a, b) => a.part - b.part)
  const done = await sse.completeUpload(
    upload,
    named,
    parts.map(part => part.receipt),
  )
  // #endregion multipart
  const stored = Buffer.concat([sealed.get(1) ?? Buffer.alloc(0), sealed.get(2) ?? Buffer.alloc(0)])
  const get = await sse.decrypt(done.envelope, { held: stored.length })
  t.strictSame(await buffer(Readable.from([stored]).compose(get.stream)), Buffer.concat([first, second]))
})

t.test('a copy under another key and name, without reading the body', async t => {
  // #region rewrap
  const plain = randomBytes(1000)
  const context = { 'aws:s3:arn': 'arn:aws:s3:::bucket/old' }
  const put = await sse.encrypt({ context })
  const stored = await buffer(Readable.from([plain]).compose(put.stream))

  const target = await kms.createKey({ region: 'sichuan', domainId: 'my-tenant' })
  const copy = await sse.rewrap(put.result().envelope, {
    context,
    to: { accept: [target.keyId], context: { 'aws:s3:arn': 'arn:aws:s3:::bucket/new' } },
  })
  // #endregion rewrap
  const get = await sse.decrypt(copy, { accept: [target.keyId], context: { 'aws:s3:arn': 'arn:aws:s3:::bucket/new' } })
  t.strictSame(await buffer(Readable.from([stored]).compose(get.stream)), plain)
  await t.rejects(sse.decrypt(copy, { accept: [target.keyId], context }), { code: 'NotAuthentic' })
})

t.test('a file on its own', async t => {
  // #region file
  const plain = randomBytes(70_000)
  const seal = await sse.encrypt({ file: true }) // the envelope leaves in front of the streams
  const file = await buffer(Readable.from([plain]).compose(seal.stream))

  const open = await sse.decryptPipe()
  const chunks: Uint8Array[] = []
  await pipeline(Readable.from([file]), open.stream, async function (source) {
    for await (const chunk of source) chunks.push(chunk)
  })
  // #endregion file
  t.strictSame(Buffer.concat(chunks), plain)
})
