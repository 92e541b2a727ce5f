/**
 * Whole pipelines: 64 KiB chunks from memory through a stream to nowhere. The rival is what people write by hand: one `createCipheriv` with
 * one tag at the very end, which releases plaintext before it was verified when it decrypts.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { type Duplex, Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { chain } from 'stream-chain'
import { createSse, customerKey, nodeEngine, type Sse, type SuiteId } from '../../dist/index.js'
import type { Case, Contestant } from '../harness.ts'

const chunkSize = 65_536

const source = (data: Uint8Array): Readable =>
  Readable.from(
    (function* () {
      for (let at = 0; at < data.length; at += chunkSize) yield data.subarray(at, at + chunkSize)
    })(),
    { objectMode: false, highWaterMark: chunkSize },
  )

const nowhere = (): Writable => new Writable({ highWaterMark: 1 << 20, write: (_chunk, _encoding, done) => done() })

const collect = async (from: Readable, through: Duplex): Promise<Buffer> => {
  const chunks: Uint8Array[] = []
  const sink = new Writable({
    write: (chunk: Uint8Array, _encoding, done) => {
      chunks.push(chunk)
      done()
    },
  })
  await pipeline(from, through, sink)
  return Buffer.concat(chunks)
}

const same = (a: Uint8Array, b: Uint8Array): void => {
  const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
  if (digest(a) !== digest(b)) throw new Error('the output does not open to the input')
}

const sseOf = (suite: SuiteId): { readonly sse: Sse; readonly key: Uint8Array } => {
  const key = new Uint8Array(randomBytes(32))
  return { sse: createSse({ kms: customerKey(nodeEngine, key), accept: [''], suite }), key }
}

/** Seal and open against node's own one-tag pipeline. */
export const pipelineCases = async (size: number): Promise<readonly Case[]> => {
  const data = new Uint8Array(randomBytes(chunkSize))
  const plain = new Uint8Array(size)
  for (let at = 0; at < size; at += chunkSize) plain.set(data.subarray(0, Math.min(chunkSize, size - at)), at)
  const key = randomBytes(32)
  const iv = randomBytes(12)
  const oneTag = createCipheriv('aes-256-gcm', key, iv)
  const sealedByNode = await collect(source(plain), oneTag)
  const tag = oneTag.getAuthTag()
  const decipher = () => createDecipheriv('aes-256-gcm', key, iv, { authTagLength: 16 }).setAuthTag(tag)
  const run = async (from: Readable, through: Duplex) => {
    await pipeline(from, through, nowhere())
    return size
  }
  const seals: Contestant[] = [
    {
      name: 'createCipheriv, one tag',
      validate: async () => same(await collect(source(sealedByNode), decipher()), plain),
      run: () => run(source(plain), createCipheriv('aes-256-gcm', key, iv)),
    },
  ]
  const opens: Contestant[] = [
    {
      name: 'createDecipheriv, one tag, unverified until the end',
      validate: async () => same(await collect(source(sealedByNode), decipher()), plain),
      run: () => run(source(sealedByNode), decipher()),
    },
  ]
  for (const suite of [1, 2, 3, 5] as const) {
    const { sse, key: customer } = sseOf(suite)
    const put = await sse.encrypt({ customerKey: customer, length: size })
    const stored = await collect(source(plain), put.stream)
    const { envelope } = put.result()
    const open = async () => (await sse.decrypt(envelope, { customerKey: customer, held: stored.length })).stream
    seals.push({
      name: `suite ${suite}, Transform`,
      validate: async () => same(await collect(source(stored), await open()), plain),
      run: async () => run(source(plain), (await sse.encrypt({ customerKey: customer, length: size })).stream),
    })
    opens.push({
      name: `suite ${suite}, Transform`,
      validate: async () => same(await collect(source(stored), await open()), plain),
      run: async () => run(source(stored), await open()),
    })
    if (suite !== 1) continue
    const stage = async () => chain([(await sse.encrypt({ customerKey: customer, length: size })).stage()])
    seals.push({
      name: 'suite 1, stream-chain stage',
      validate: async () => {
        const again = await sse.encrypt({ customerKey: customer, length: size })
        const bytes = await collect(source(plain), chain([again.stage()]))
        const opened = await sse.decrypt(again.result().envelope, { customerKey: customer })
        same(await collect(source(bytes), opened.stream), plain)
      },
      run: async () => run(source(plain), await stage()),
    })
  }
  const mib = `${size / 1048576} MiB`
  return [
    { name: `seal ${mib}`, unit: 'MB/s', contestants: seals, reference: 'createCipheriv, one tag' },
    {
      name: `open ${mib}`,
      unit: 'MB/s',
      contestants: opens,
      reference: 'createDecipheriv, one tag, unverified until the end',
    },
  ]
}
