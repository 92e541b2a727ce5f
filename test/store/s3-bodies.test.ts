/** Bodies in S3-compatible storage: the cases of every body store on storage of several makers, and what networks do to them. */
import { ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { BodyStore } from '../../lib/store/body-store.ts'
import { s3Bodies, type S3BodiesOptions } from '../../lib/store/s3/bodies.ts'
import { freshId, holdToContract, listed, opened, readRange, writeBody } from '../support/body-stores.ts'
import { type Fault, type Passing, slowDown, startProxy, type TcpProxy } from '../support/proxy.ts'
import { ownUpstream, type S3Upstream, upstreams } from '../support/s3-upstreams.ts'
import { pattern } from '../support/store.ts'

const mebibyte = 1_048_576
const partSize = 5 * mebibyte

for (const [maker, { missing, checksums, start }] of Object.entries(upstreams)) {
  t.test(`bodies in S3-compatible storage: ${maker}`, { skip: missing }, async t => {
    const upstream = await start(t)
    const [first = 'md5', ...others] = checksums
    await t.test(`the cases of every body store, ${first}`, async t =>
      holdToContract(t, { bodies: await upstream.bodies({ partSize, checksum: first }), large: partSize }),
    )

    for (const checksum of others) {
      await t.test(`one part and several, ${checksum}`, async t => {
        const bodies = await upstream.bodies({ partSize, checksum, partsInFlight: 1 })
        for (const size of [0, 1000, 2 * partSize + 1]) {
          const id = freshId()
          await writeBody(bodies, id, pattern(size, 1))
          const body = await opened(bodies, id, size)
          t.ok((await readRange(body, 0, size)).equals(pattern(size, 1)))
          t.ok((await readRange(body, size >> 1, size)).equals(pattern(size, 1).subarray(size >> 1)))
          await bodies.delete(id)
        }
      })
    }

    await t.test('stores of one bucket see nothing of each other', async t => {
      const [one, two] = [await upstream.bodies({ prefix: 'a' }), await upstream.bodies({ prefix: 'a/' })]
      const id = freshId()
      await writeBody(one, id, pattern(10, 1))
      await writeBody(two, id, pattern(20, 2))
      t.strictSame([await one.sizeOf(id), await two.sizeOf(id)], [10, 20])
      await one.delete(id)
      t.strictSame([await listed(one), await listed(two)], [[], [id]])
      const { bucket: Bucket, client } = upstream
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'a/' }))
      t.match(Contents[0]?.Key, new RegExp(`^a/[0-9a-f]{32}/${id}$`))
      await two.delete(id)
    })

    await t.test('uploads that nobody goes on with are aborted, and no others', async t => {
      const storeId = 'e'.repeat(32)
      const bodies = await upstream.bodies({ partSize }, storeId)
      const [dead, alive] = [freshId(), freshId()]
      const [one, two] = [await bodies.create(dead), await bodies.create(alive)]
      for (const sink of [one, two]) await sink.write([pattern(2 * partSize)])
      const uploads = async () => {
        const { bucket: Bucket, client } = upstream
        const page = await client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: `${storeId}/` }))
        return (page.Uploads ?? []).map(({ Key }) => Key?.slice(-32)).toSorted()
      }
      t.strictSame(await uploads(), [dead, alive].toSorted())
      t.strictSame(await listed(bodies), [])
      t.equal(await bodies.discardUnfinished(async ids => ids.filter(id => id === dead)), 1)
      t.strictSame(await uploads(), [alive])
      await t.rejects(one.finish(), { name: 'SseError' })
      await two.finish()
      t.strictSame(await listed(bodies), [alive])
      t.strictSame(await uploads(), [])
      await one.discard()
      await bodies.delete(alive)
    })
  })
}

/** A body store whose storage is reached through a proxy. */
const behindProxy = async (
  t: Test,
  options: Partial<S3BodiesOptions> = {},
): Promise<{ readonly bodies: BodyStore; readonly proxy: TcpProxy; readonly upstream: S3Upstream }> => {
  const upstream = await ownUpstream(t)
  const proxy = await startProxy(t, upstream.config.endpoint)
  const config = { ...upstream.config, endpoint: proxy.url }
  const bodies = await upstream.bodies({ partSize, config, attempts: 3, timeout: 2000, ...options })
  return { bodies, proxy, upstream }
}

const unavailable = { code: 'StoreUnavailable', status: 503, s3Code: 'ServiceUnavailable' }
const failed = { code: 'StoreFailed' }

/** A fault once for each request that begins so, when so many bytes of it, or of its answer, have passed. */
const once = (
  begin: string,
  direction: 'up' | 'down',
  after: number,
  what: (passing: Passing) => ReturnType<Fault>,
) => {
  let left = 1
  const fault: Fault = passing => {
    const isIt = passing.direction === direction && passing.request.startsWith(begin) && passing.before >= after
    return isIt && left-- > 0 ? what(passing) : 'pass'
  }
  return fault
}

const flipped = ({ chunk }: Passing): Buffer => {
  const other = Buffer.from(chunk)
  other[other.length >> 1] = (other[other.length >> 1] ?? 0) ^ 1
  return other
}

/** An answer of the storage's own. */
const answering = (status: number, name: string): { readonly answer: string } => {
  const body = `<Error><Code>${name}</Code><Message>no</Message></Error>`
  const head = `HTTP/1.1 ${status} no\r\ncontent-type: application/xml\r\nconnection: close`
  return { answer: `${head}\r\ncontent-length: ${body.length}\r\n\r\n${body}` }
}

t.test('a read goes on where its connection broke', async t => {
  const { bodies, proxy } = await behindProxy(t)
  const id = freshId()
  const bytes = pattern(3_000_000)
  await writeBody(bodies, id, bytes)
  const body = await opened(bodies, id, bytes.length)
  const faults: Readonly<Record<string, Fault>> = {
    'cut before the answer': once('GET', 'up', 0, () => 'cut'),
    'cut in the answer': once('GET', 'down', 1_000_000, () => 'cut'),
    'nothing comes any more': once('GET', 'down', 1_000_000, () => 'hang'),
    'no answer': once('GET', 'down', 0, () => 'hang'),
    SlowDown: once('GET', 'up', 0, () => slowDown),
    'cut again and again': ({ request, direction, before }) =>
      request.startsWith('GET') && direction === 'down' && before > 400_000 ? 'cut' : 'pass',
  }
  for (const [name, fault] of Object.entries(faults)) {
    for (const [start, end] of [
      [0, bytes.length],
      [70_001, bytes.length - 5],
    ] as const) {
      proxy.requests.length = 0
      proxy.fault = fault
      const read = await readRange(body, start, end)
      t.ok(read.equals(bytes.subarray(start, end)), name)
      if (start === 0) t.ok(proxy.requests.length > 1, `${proxy.requests.length} requests`)
    }
  }
  const always: Readonly<Record<string, Fault>> = {
    'cut before the answer': ({ direction }) => (direction === 'up' ? 'cut' : 'pass'),
    SlowDown: ({ direction }) => (direction === 'up' ? slowDown : 'pass'),
  }
  for (const [name, fault] of Object.entries(always)) {
    proxy.requests.length = 0
    proxy.fault = fault
    await t.rejects(readRange(body, 0, bytes.length), unavailable, name)
    t.equal(proxy.requests.length, 3, 'so many attempts as are configured, and none of the SDK besides')
    await t.rejects(bodies.sizeOf(id), unavailable)
    await t.rejects(bodies.delete(id), unavailable)
    await t.rejects(listed(bodies), unavailable)
  }
})

t.test('more than a page of bodies', async t => {
  const { bodies, proxy } = await behindProxy(t)
  const ids = Array.from({ length: 1003 }, freshId)
  const left = ids.values()
  const write = async (): Promise<void> => {
    for (const id of left) await writeBody(bodies, id, pattern(10))
  }
  await Promise.all(Array.from({ length: 16 }, write))
  proxy.requests.length = 0
  t.strictSame(await listed(bodies), ids.toSorted())
  t.equal(proxy.requests.length, 2)
})

t.test('a read never gets other bytes, nor an end that is not one', async t => {
  const { bodies, proxy, upstream } = await behindProxy(t)
  const storeId = 'b'.repeat(32)
  const direct = await upstream.bodies({ partSize }, storeId)
  for (const size of [200_000, 2 * partSize + 1]) {
    const id = freshId()
    await writeBody(bodies, id, pattern(size, 1))
    const body = await opened(bodies, id, size)
    proxy.fault = once('GET', 'down', 100_000, flipped)
    let read = 0
    const reading = async (): Promise<void> => {
      for await (const chunk of body.read({ start: 0, end: size, chunkSize: 65_536, reuse: false }))
        read += chunk.length
    }
    await t.rejects(reading(), { ...failed, message: /not the one that was written/ })
    t.ok(read < size, 'the last bytes are not let go')
  }

  const id = freshId()
  await writeBody(direct, id, pattern(3_000_000, 1))
  const config = { ...upstream.config, endpoint: proxy.url }
  const again = await upstream.bodies({ config, attempts: 3, timeout: 2000 }, storeId)
  const body = await opened(again, id, 3_000_000)
  let replacing: Promise<void> | undefined
  proxy.fault = passing => {
    if (passing.direction === 'up' && replacing !== undefined) return 'pass'
    if (passing.direction === 'up' || passing.before < 1_000_000 || replacing !== undefined) return 'pass'
    replacing = writeBody(direct, id, pattern(3_000_000, 2))
    return 'hang' // until it is replaced
  }
  await t.rejects(readRange(body, 0, 3_000_000), { ...failed, message: /not the one that was written/ })
  await replacing
})

t.test('a reader that lags holds the storage back, and one that stops lets go of it', async t => {
  const { bodies, proxy } = await behindProxy(t, { longestRead: 3000 })
  const id = freshId()
  const size = 12 * partSize
  await writeBody(bodies, id, pattern(size))
  const body = await opened(bodies, id, size)
  let passed = 0
  proxy.fault = ({ direction, chunk }) => {
    if (direction === 'down') passed += chunk.length
    return 'pass'
  }
  const chunks = body.read({ start: 0, end: size, chunkSize: 65_536, reuse: false })[Symbol.asyncIterator]()
  await chunks.next()
  await sleep(500)
  const soFar = passed
  t.ok(soFar < size / 2, `${soFar} bytes of ${size} have passed`)
  await chunks.return?.()
  await sleep(200)
  t.ok(passed < size / 2)

  const slow = body.read({ start: 0, end: size, chunkSize: 65_536, reuse: false })[Symbol.asyncIterator]()
  await slow.next()
  await sleep(3200)
  const rest = async (): Promise<void> => {
    while ((await slow.next()).done !== true);
  }
  await t.rejects(rest(), { ...failed, message: /longer than 3000 ms/ })
})

t.test('a body that is being written goes on where its connection broke', async t => {
  const { bodies, proxy } = await behindProxy(t)
  const write = async (name: string, size: number, fault: Fault): Promise<void> => {
    const id = freshId()
    proxy.fault = fault
    proxy.requests.length = 0
    await writeBody(bodies, id, pattern(size, 3))
    const { length } = proxy.requests
    proxy.fault = () => 'pass'
    t.ok((await readRange(await opened(bodies, id, size), 0, size)).equals(pattern(size, 3)), `${name}: ${size}`)
    t.ok(length > (size > partSize ? 2 + Math.ceil(size / partSize) : 1), `${length} requests`)
    await bodies.delete(id)
  }
  const faults: Readonly<Record<string, () => Fault>> = {
    'cut in the bytes': () => once('PUT', 'up', 500_000, () => 'cut'),
    'cut before the answer': () => once('PUT', 'down', 0, () => 'cut'),
    'nothing goes any more': () => once('PUT', 'up', 500_000, () => 'hang'),
    SlowDown: () => once('PUT', 'up', 0, () => slowDown),
    'other bytes': () => once('PUT', 'up', 500_000, flipped),
  }
  for (const [name, fault] of Object.entries(faults)) {
    await write(name, 2_000_000, fault())
    await write(name, 2 * partSize + 1, fault())
  }
  await write(
    'the answer to Create is lost',
    2 * partSize + 1,
    once('POST', 'down', 0, () => 'cut'),
  )
  t.equal(await bodies.discardUnfinished(async ids => ids), 1, 'the upload that was begun in vain')
  const complete: Fault = passing => (passing.request.includes('uploadId=') ? lost(passing) : 'pass')
  const lost = once('POST', 'down', 0, () => 'cut')
  await write('the answer to Complete is lost', 2 * partSize + 1, complete)
})

t.test('an upload that is gone when it is completed again was completed, if the body is there', async t => {
  const { bodies, proxy } = await behindProxy(t)
  const isComplete = (request: string): boolean => request.startsWith('POST') && request.includes('uploadId=')
  let completions = 0
  proxy.fault = ({ request, direction }) => {
    if (!isComplete(request)) return 'pass'
    if (direction === 'down') return 'cut'
    return completions++ === 0 ? 'pass' : answering(404, 'NoSuchUpload')
  }
  const id = freshId()
  await writeBody(bodies, id, pattern(2 * partSize))
  t.ok(completions > 1)
  t.ok((await readRange(await opened(bodies, id, 2 * partSize), 0, 2 * partSize)).equals(pattern(2 * partSize)))
  proxy.fault = ({ request, direction }) =>
    isComplete(request) && direction === 'up' ? answering(404, 'NoSuchUpload') : 'pass'
  await t.rejects(writeBody(bodies, freshId(), pattern(2 * partSize)), failed)
  const shorter = { answer: 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n' }
  proxy.fault = ({ request, direction }) => {
    if (direction === 'up' && request.startsWith('HEAD')) return shorter
    return isComplete(request) && direction === 'up' ? answering(404, 'NoSuchUpload') : 'pass'
  }
  await t.rejects(writeBody(bodies, freshId(), pattern(2 * partSize)), failed)
})

t.test('a body that cannot be written: StoreUnavailable, StoreFull or StoreFailed, and nothing is left', async t => {
  const { bodies, proxy, upstream } = await behindProxy(t)
  const answers =
    (status: number, name: string): Fault =>
    ({ direction }) =>
      direction === 'up' ? answering(status, name) : 'pass'
  const cases: readonly (readonly [Fault, string, number])[] = [
    [({ direction }) => (direction === 'up' ? 'cut' : 'pass'), 'StoreUnavailable', 3],
    [answers(503, 'SlowDown'), 'StoreUnavailable', 3],
    [answers(500, 'InternalError'), 'StoreUnavailable', 3],
    [answers(403, 'QuotaExceeded'), 'StoreFull', 1],
    [answers(507, 'InsufficientStorage'), 'StoreFull', 1],
    [answers(403, 'AccessDenied'), 'StoreFailed', 1],
    [answers(404, 'NoSuchBucket'), 'StoreFailed', 1],
  ]
  for (const [fault, code, attempts] of cases) {
    for (const size of [1000, 2 * partSize + 1]) {
      proxy.fault = fault
      proxy.requests.length = 0
      const sink = await bodies.create(freshId())
      const writing = async (): Promise<void> => {
        await sink.write([pattern(size)])
        await sink.finish()
      }
      await t.rejects(writing(), { code })
      t.equal(proxy.requests.length, attempts)
      proxy.fault = () => 'pass'
      await sink.discard()
    }
  }
  proxy.fault = ({ request, direction }) => (request.includes('partNumber=2') && direction === 'up' ? 'cut' : 'pass')
  const sink = await bodies.create(freshId())
  const writing = async (): Promise<void> => {
    await sink.write([pattern(6 * partSize)])
    await sink.finish()
  }
  await t.rejects(writing(), unavailable, 'a part that cannot be sent, by the end at the latest')
  await sink.discard()
  t.strictSame(await listed(bodies), [])
  t.equal(await bodies.discardUnfinished(async ids => ids), 0)

  proxy.fault = passing => (passing.direction === 'up' && passing.before > 1000 ? flipped(passing) : 'pass')
  await t.rejects(writeBody(bodies, freshId(), pattern(2_000_000)), unavailable, 'other bytes each time')
  proxy.fault = () => 'pass'
  t.strictSame(await listed(bodies), [])
  const wrong = await upstream.bodies({ bucket: 'none' })
  await t.rejects(writeBody(wrong, freshId(), pattern(10)), { code: 'StoreFailed', cause: { name: 'NoSuchBucket' } })
  const nobody = await upstream.bodies({ config: { ...upstream.config, endpoint: 'http://127.0.0.1:1' }, attempts: 2 })
  await t.rejects(writeBody(nobody, freshId(), pattern(10)), { ...unavailable, cause: { message: /ECONNREFUSED/ } })
})

t.test('a body takes memory of so many parts and no more: then it waits', async t => {
  const { bodies, proxy } = await behindProxy(t, { timeout: 60_000 })
  proxy.fault = ({ request, direction }) => (request.includes('partNumber=') && direction === 'up' ? 'hang' : 'pass')
  const sink = await bodies.create(freshId())
  let taken = 0
  const writing = (async () => {
    for (;;) {
      await sink.write([pattern(100_000)])
      taken += 100_000
    }
  })()
  await sleep(1500)
  t.ok(taken <= 3 * partSize && taken > 3 * partSize - 200_000, `${taken} bytes were taken`)
  await Promise.all([t.rejects(writing), sink.discard()])
  t.equal(await bodies.discardUnfinished(async ids => ids), 0)
})

t.test('options that cannot be are refused', async t => {
  for (const wrong of [{ partSize: 5_000_000 }, { partsInFlight: 0 }, { attempts: 0.5 }, { timeout: Infinity }])
    t.throws(() => s3Bodies({ bucket: 'b', ...wrong }), RangeError)
  t.throws(() => s3Bodies({ bucket: '' }), TypeError)
  t.throws(() => s3Bodies({ bucket: 'b', prefix: '/a' }), TypeError)
  const store = await s3Bodies({ bucket: 'b', config: { region: 'r' } })('0'.repeat(32))
  await t.rejects(store.create('../x'), TypeError)
  await store.close()
})
