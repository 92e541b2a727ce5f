/** What every store promises, whatever its index is: the cases run on all of them. */
import { once } from 'node:events'
import { mkdirSync, readdirSync, readlinkSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import * as fc from 'fast-check'
import { compare, hex, utf8 } from '../../lib/bytes.ts'
import { suites } from '../../lib/cipher/suite.ts'
import { SseError } from '../../lib/errors.ts'
import { storedLength } from '../../lib/segment/layout.ts'
import { inlineLimit } from '../../lib/store/body-draft.ts'
import { mostHandles } from '../../lib/store/body-reader.ts'
import type { Bucket } from '../../lib/store/records.ts'
import {
  assemble,
  bodyOf,
  bucketOf,
  filesBecome,
  filesIn,
  get,
  part,
  pattern,
  put,
  record,
  upload,
} from '../support/store.ts'
import type { ExpiredUpload } from '../../lib/store/store.ts'
import { bucketFacts, each, sayCases } from '../support/stores.ts'

const code = (name: string): { code: string } => ({ code: name })

each('buckets are made once, changed in one step, and deleted when they are empty', async (t, fresh) => {
  const { store, b } = await fresh()
  t.match(b, { name: 'b', ...bucketFacts, settings: {}, id: /^[0-9a-f]{32}$/, revision: /^[0-9a-f]{32}$/ })
  t.same(await store.getBucket('b'), b)
  await t.rejects(store.createBucket('b', bucketFacts), code('BucketAlreadyOwnedByYou'))
  await t.rejects(store.createBucket('b', { ...bucketFacts, owner: 'other' }), code('BucketAlreadyExists'))
  await store.createBucket('a', { ...bucketFacts, owner: 'other' })
  t.same(
    (await store.listBuckets()).map(b => b.name),
    ['a', 'b'],
  )
  t.same(
    (await store.listBuckets({ owner: 'domain' })).map(b => b.name),
    ['b'],
  )

  // Counts up, by compare-and-swap.
  const countUp = async (i: number): Promise<number> => {
    for (let tries = 1; ; tries++) {
      const now = await bucketOf(store, 'b')
      const n = String(Number(now.settings['n'] ?? 0) + 1)
      try {
        await store.updateBucket(now, { settings: { ...now.settings, [`k${i}`]: 'v', n } })
        return tries
      } catch (error) {
        if (!(error instanceof SseError && error.code === 'BucketChanged')) throw error
      }
    }
  }
  const tries = await Promise.all(Array.from({ length: 20 }, (_, i) => countUp(i)))
  t.ok(
    tries.some(n => n > 1),
    'some had to try again',
  )
  const changed = await bucketOf(store, 'b')
  t.equal(changed.settings['n'], '20')
  t.equal(Object.keys(changed.settings).length, 21)
  t.equal(changed.id, b.id, 'the id stays')
  await t.rejects(store.updateBucket(b, { settings: {} }), code('BucketChanged'))
  t.same(await store.getBucket('b'), changed, 'what was refused has changed nothing')
  const updated = await store.updateBucket(changed, { settings: { policy: '{}' } })
  t.same(updated, { ...changed, revision: updated.revision, settings: { policy: '{}' } })
  t.not(updated.revision, changed.revision)
  t.same(await store.getBucket('b'), updated)
  await t.rejects(store.updateBucket({ ...updated, id: '0'.repeat(32) }, { settings: {} }), code('NoSuchBucket'))

  await put(store, updated, 'k', pattern(1))
  await t.rejects(store.deleteBucket(updated), code('BucketNotEmpty'))
  await store.deleteObject(updated, 'k')
  await store.createUpload(updated, 'k', upload('u'))
  await t.rejects(store.deleteBucket(updated), code('BucketNotEmpty'))
  await store.abortUpload(updated, 'k', 'u')
  await store.deleteBucket(updated)
  t.equal(await store.getBucket('b'), undefined)
  await t.rejects(store.deleteBucket(updated), code('NoSuchBucket'))
  t.ok(await store.getBucket('a'), 'a bucket whose name begins alike is another one')
})

each('an owner has as many buckets as it may have', async (t, fresh) => {
  const { store } = await fresh()
  const make = (name: string, owner: string, most?: number): Promise<Bucket> =>
    store.createBucket(name, { ...bucketFacts, owner }, { most })
  await t.rejects(make('c', 'domain', 1), code('TooManyBuckets'))
  await make('c', 'domain', 2)
  await make('other', 'domai', 1)
  await t.rejects(make('c', 'domain', 1), code('BucketAlreadyOwnedByYou'))
  const made = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => make(`d${i}`, 'domain', 5)))
  t.equal(made.filter(({ status }) => status === 'fulfilled').length, 3, 'of many at once not one too many')
  await store.deleteBucket(await bucketOf(store, 'c'))
  await make('e', 'domain', 5)
  t.same(
    (await store.listBuckets({ owner: 'domai' })).map(({ name }) => name),
    ['other'],
  )
})

each('a bucket is deleted with its open uploads where that is asked for', async (t, fresh) => {
  const { store, directory, b } = await fresh()
  for (const id of ['u', 'v', 'done']) {
    await store.createUpload(b, 'k', upload(id))
    for (let i = 0; i < 3; i++) await store.putPart(b, 'k', id, part(i, String(i)), await bodyOf(store, pattern(10)))
  }
  await store.completeUpload(b, 'k', 'done', { token: 't', attempts: ['0'], record: record() })
  await t.rejects(store.deleteBucket(b, { dropUploads: true }), code('BucketNotEmpty'))
  t.equal((await store.listUploads(b.id, { limit: 9 })).uploads.length, 2, 'what was refused has changed nothing')
  await store.deleteObject(b, 'k')
  await t.rejects(store.deleteBucket(b), code('BucketNotEmpty'))
  await store.deleteBucket(b, { dropUploads: true })
  t.equal(await store.getBucket('b'), undefined)
  t.ok(await filesBecome(directory, 0))
  const anew = await store.createBucket('b', bucketFacts)
  t.same((await store.listUploads(anew.id, { limit: 9 })).uploads, [])
})

each('a bucket has no more open uploads than it may', async (t, fresh) => {
  const { store, b } = await fresh()
  const other = await store.createBucket('other', bucketFacts)
  const open = (id: string, most?: number, bucket = b) => store.createUpload(bucket, `k-${id}`, upload(id), { most })
  await open('1', 2)
  await open('2', 2)
  await t.rejects(open('3', 2), code('TooManyUploads'))
  await open('1', 1, other)
  t.equal((await store.counts()).openUploads, 3)
  await store.abortUpload(b, 'k-1', '1')
  await open('3', 2)
  await store.putPart(b, 'k-2', '2', part(1, 'a'), await bodyOf(store, pattern(10)))
  t.equal((await store.counts()).bodyFiles, 1)
  await store.completeUpload(b, 'k-2', '2', { token: 't', attempts: ['a'], record: record() })
  await open('4', 2)
  await open('5')
  t.equal((await store.counts()).openUploads, 4, 'a completed one is none')
})

each('an upload that nobody completes is dropped after its time, by one of those that sweep', async (t, fresh) => {
  const day = 86_400_000
  const told: ExpiredUpload[] = []
  const options = { uploadAge: 2 * day, onUploadExpired: (expired: ExpiredUpload) => void told.push(expired) }
  const { store, directory, b, again, pass } = await fresh(options)
  const begun = Date.now()
  for (const id of ['old', 'done']) {
    await store.createUpload(b, 'k', upload(id, { initiated: begun }))
    await store.putPart(b, 'k', id, part(1, id), await bodyOf(store, pattern(10)))
  }
  await store.completeUpload(b, 'k', 'done', { token: 't', attempts: ['done'], record: record() })
  await pass(day)
  await store.sweep()
  t.strictSame(told, [])
  await store.createUpload(b, 'k', upload('young', { initiated: begun + day }))
  const [{ initiated } = { initiated: 0 }] = (await store.listUploads(b.id, { limit: 1 })).uploads
  await pass(day)
  const sweepers = [store, await again(options)]
  await Promise.all(sweepers.map(each => each.sweep()))
  await sweepers[1]?.close()
  t.match(told, [{ bucket: 'b', key: 'k', id: 'old', initiated: Number }])
  t.equal(told.length, 1)
  t.ok(Number(told[0]?.initiated) <= initiated)
  t.equal(await store.getUpload(b.id, 'k', 'old'), undefined)
  t.ok(await store.getUpload(b.id, 'k', 'young'))
  await t.rejects(store.putPart(b, 'k', 'old', part(2, 'late'), await bodyOf(store, pattern(10))), code('NoSuchUpload'))
  t.ok(await store.getObject(b.id, 'k'), 'what was completed stays')
  t.ok(await filesBecome(directory, 1))
  const never = await again()
  await pass(1000 * day)
  await never.sweep()
  t.ok(await store.getUpload(b.id, 'k', 'young'), 'by default they stay')
  await never.close()
})

each('of the attempts of a part the three newest are kept, and the young ones', async (t, fresh) => {
  const { store, directory, b, pass } = await fresh()
  await store.createUpload(b, 'k', upload('u'))
  const send = async (number: number, attempt: string): Promise<void> => {
    await store.putPart(b, 'k', 'u', part(number, attempt), await bodyOf(store, pattern(10)))
  }
  const kept = async (): Promise<readonly string[]> =>
    (await store.listParts(b.id, 'k', 'u')).map(({ attempt }) => attempt)
  await send(2, 'other')
  for (let i = 0; i < 10; i++) await send(1, `old${i}`)
  t.equal((await kept()).length, 11, 'all of them are young')
  await pass(800_000)
  await send(1, 'a')
  t.equal((await kept()).length, 12)
  await pass(100_000)
  await send(1, 'b')
  t.same(await kept(), ['old9', 'a', 'b', 'other'])
  t.ok(await filesBecome(directory, 4))
  await send(1, 'c')
  await send(1, 'd')
  t.same(await kept(), ['a', 'b', 'c', 'd', 'other'])
  await pass(900_000)
  await store.sweep()
  t.same(await kept(), ['b', 'c', 'd', 'other'], 'the sweep lets go of what has grown old')
  t.ok(await filesBecome(directory, 4))
})

each('claims: of each name the first one stands, for every process and for good', async (t, fresh) => {
  const { store, again } = await fresh()
  t.same(await store.claims(), new Map())
  const other = await again()
  const both = await Promise.all([store.claim('a/ü', 'one'), other.claim('a/ü', 'two')])
  t.equal(both[0], both[1])
  t.equal(await store.claim('a/ü', 'three'), both[0])
  t.equal(await store.claim('empty', ''), '')
  t.equal(await store.claim('empty', 'full'), '')
  await other.close()
  t.same([...(await store.claims())].toSorted(), [
    ['a/ü', both[0]],
    ['empty', ''],
  ])
  await t.rejects(store.claim('', 'x'), RangeError)
})

each('everything that names a bucket that is missing says so', async (t, fresh) => {
  const { store, b } = await fresh()
  const none = { id: '0'.repeat(32), revision: b.revision }
  const body = await bodyOf(store, pattern(100_000))
  await t.rejects(store.putObject(none, 'k', record(), body), code('NoSuchBucket'))
  const revision = await put(store, b, 'k', pattern(1))
  const completion = { token: 't', attempts: [], record: record() }
  const attempts: (() => Promise<unknown>)[] = [
    () => store.getObject(none.id, 'k'),
    () => store.openObject(none.id, 'k'),
    () => store.deleteObject(none, 'k'),
    () => store.copyObject({ bucketId: none.id, key: 'k', revision }, b, 'k', record()),
    () => store.copyObject({ bucketId: b.id, key: 'k', revision }, none, 'k', record()),
    () => store.updateNotes(none, 'k', { notes: {} }),
    () => store.updateBucket({ ...b, ...none }, { settings: {} }),
    () => store.deleteBucket(none),
    () => store.listObjects(none.id, { limit: 1 }),
    () => store.createUpload(none, 'k', upload('u')),
    () => store.getUpload(none.id, 'k', 'u'),
    () => store.listUploads(none.id, { limit: 1 }),
    () => store.listParts(none.id, 'k', 'u'),
    () => store.peekParts(none.id, 'k', 'u', ['a'], 1),
    () => store.completeUpload(none, 'k', 'u', completion),
    () => store.abortUpload(none, 'k', 'u'),
  ]
  for (const attempt of attempts) {
    await t.rejects(attempt(), code('NoSuchBucket'), String(attempt))
  }
})

each("names that cannot be are the program's mistake", async (t, fresh) => {
  const { store, b } = await fresh()
  await t.rejects(store.getBucket(''), RangeError)
  await t.rejects(store.getBucket('x'.repeat(64)), RangeError)
  await t.rejects(store.getObject(b.id, '\u{10000}'.repeat(257)), RangeError)
  await t.rejects(store.getObject(b.id, '\ud800'), TypeError)
  await t.rejects(store.openObject(b.id, ''), RangeError)
  await t.rejects(store.getUpload(b.id, 'k', 'x'.repeat(601)), RangeError)
  const body = await bodyOf(store, pattern(100_000))
  await t.rejects(store.putObject(b, '', record(), body), RangeError)
  t.equal(await get(store, b, 'x'.repeat(1024)), undefined)
})

each('an object comes back as it was put, whatever its size, and replaces the one before', async (t, fresh) => {
  const { store, directory, b } = await fresh()
  const before = pattern(10)
  await put(store, b, 'k', before)
  for (const size of [0, 1, inlineLimit, inlineLimit + 1, 300_000, 3_000_001]) {
    const bytes = pattern(size, size)
    const body = await bodyOf(store, bytes)
    t.equal(body.size, size)
    const given = record({
      size,
      kind: 'sse-kms',
      envelope: pattern(400, 3),
      values: pattern(60, 4),
      headers: { 'x-amz-meta-é': 'ü' },
    })
    const stored = await store.putObject(b, 'k', given, body)
    t.match(stored, { ...given, storedSize: size })
    t.same(await store.getObject(b.id, 'k'), stored)
    const opened = await store.openObject(b.id, 'k')
    t.same(opened?.record, stored)
    t.equal(opened?.body.size, size)
    t.ok((await buffer(opened?.body.read() ?? Readable.from([]))).equals(bytes))
    await opened?.body.close()
    await opened?.body.close()
    t.equal((await store.openObject(b.id, 'none'))?.record, undefined)
  }
  for (const suite of suites.values()) {
    t.ok(storedLength(suite, 65_536) <= inlineLimit, `64 KiB sealed with suite ${suite.id} need no file`)
  }
  t.equal(await store.getObject(b.id, 'none'), undefined)
  t.ok(await filesBecome(directory, 1), 'the files of the objects that were replaced are gone')
  t.equal(await store.deleteObject(b, 'k'), true)
  t.equal(await store.deleteObject(b, 'k'), false)
  t.ok(await filesBecome(directory, 0), 'no file is left')
})

each('a condition sees what is there and refuses inside the step', async (t, fresh) => {
  const { store, directory, b } = await fresh()
  const old = pattern(200_000, 1)
  const revision = await put(store, b, 'k', old)
  t.equal(await store.deleteObject(b, 'none', { ifNoneMatch: '*' }), false)
  await t.rejects(
    store.putObject(b, 'k', record(), await bodyOf(store, pattern(100_000)), { ifNoneMatch: '*' }),
    code('PreconditionFailed'),
  )
  await t.rejects(store.deleteObject(b, 'k', { revision: '0'.repeat(32) }), code('PreconditionFailed'))
  const source = { bucketId: b.id, key: 'k', revision }
  await t.rejects(store.copyObject(source, b, 'l', record(), { ifMatch: '*' }), code('NoSuchKey'))
  await t.rejects(store.updateNotes(b, 'k', { notes: {} }, { size: 1 }), code('PreconditionFailed'))
  t.ok((await get(store, b, 'k'))?.equals(old), 'the old object is whole')
  t.equal((await store.getObject(b.id, 'k'))?.revision, revision)
  t.equal(await store.getObject(b.id, 'l'), undefined)
  t.ok(await filesBecome(directory, 1), 'the body that was refused is gone')
  t.equal(await store.deleteObject(b, 'k', { revision }), true)

  const bodies = await Promise.all(Array.from({ length: 12 }, (_, i) => bodyOf(store, pattern(70_000, i))))
  const results = await Promise.allSettled(
    bodies.map((body, i) => store.putObject(b, 'once', record({ etag: String(i) }), body, { ifNoneMatch: '*' })),
  )
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1, 'of many only one creates')
  t.ok(await filesBecome(directory, 1))
})

each('a body is written once, given once, and disappears when it is not', async (t, fresh) => {
  const { store, directory, b } = await fresh()
  const { store: other } = await fresh()

  const unfinished = await store.createBody()
  unfinished.writable.write(pattern(100_000))
  await t.rejects(store.putObject(b, 'k', record(), unfinished), { name: 'TypeError', message: /has not finished/ })
  await unfinished.discard()
  await unfinished.discard()
  t.ok(unfinished.writable.destroyed)
  await t.rejects(store.putObject(b, 'k', record(), unfinished), { name: 'TypeError', message: /discarded/ })

  const body = await bodyOf(store, pattern(100_000))
  await t.rejects(other.putObject(b, 'k', record(), body), { name: 'TypeError', message: /not one of this store/ })
  const foreign = { ...body, size: 1, writable: body.writable, discard: async () => {} }
  await t.rejects(store.putObject(b, 'k', record(), foreign), { name: 'TypeError', message: /not one of this store/ })
  const putting = store.putObject(b, 'k', record(), body)
  await body.discard()
  await putting
  await body.discard()
  await t.rejects(store.putObject(b, 'k', record(), body), { name: 'TypeError', message: /committed/ })
  t.equal((await get(store, b, 'k'))?.length, 100_000, 'a body that was given away is not discarded')

  const small = await bodyOf(store, pattern(10))
  await small.discard()
  for (const expectedSize of [undefined, 1_000_000]) {
    const failing = await store.createBody({ expectedSize })
    const source = Readable.from(
      (async function* () {
        yield pattern(80_000)
        yield pattern(80_000)
        throw new Error('the client left')
      })(),
    )
    await t.rejects(pipeline(source, failing.writable), { message: 'the client left' })
    await t.rejects(store.putObject(b, 'k', record(), failing), TypeError)
    await failing.discard()
  }
  const hinted = await bodyOf(store, pattern(5), { expectedSize: 1_000_000 })
  await store.putObject(b, 'hinted', record(), hinted)
  t.ok((await get(store, b, 'hinted'))?.equals(pattern(5)), 'the expected size is a hint')

  const late = await store.createBody()
  late.writable.end(pattern(200_000))
  await once(late.writable, 'prefinish')
  await late.discard()
  await t.rejects(store.putObject(b, 'k', record(), late), TypeError)

  t.ok(await filesBecome(directory, 2))
  await store.sweep()
  t.ok(await filesBecome(directory, 2))
})

each('a body is read by ranges, and stays readable while its object is replaced and deleted', async (t, fresh) => {
  const { store, directory, b } = await fresh()
  for (const size of [60_000, 700_000]) {
    const bytes = pattern(size)
    await put(store, b, 'k', bytes)
    const opened = await store.openObject(b.id, 'k')
    if (opened === undefined) throw new Error('missing')
    const { body } = opened
    await put(store, b, 'k', pattern(5))
    await store.deleteObject(b, 'k')
    await store.sweep()
    const last = size - 1
    for (const [start, end] of [
      [0, 0],
      [0, last],
      [17, 17],
      [1, last - 1],
      [last, last],
      [size, last],
      [0, -1],
    ] as const) {
      const chunks: Uint8Array[] = await Readable.from(body.read({ start, end, highWaterMark: 1000 })).toArray()
      t.ok(chunks.every(chunk => chunk.length > 0 && chunk.length <= 1000 && chunk.byteOffset === 0))
      t.ok(Buffer.concat(chunks).equals(bytes.subarray(start, end + 1)), `${start}-${end}`)
      const copies: Uint8Array[] = []
      const memory = new Set<ArrayBufferLike>()
      for await (const chunk of body.read({ start, end, highWaterMark: 1000, reuse: true })) {
        copies.push(new Uint8Array(chunk))
        memory.add(chunk.buffer)
      }
      t.ok(
        Buffer.concat(copies).equals(bytes.subarray(start, end + 1)),
        `${start}-${end}, in memory that is used again`,
      )
      t.ok(memory.size <= 2, `${memory.size} pieces of memory`)
    }
    for (const [start, end] of [
      [-1, 5],
      [0, size],
      [5, 3],
    ] as const)
      t.throws(() => body.read({ start, end }), RangeError)
    const running = body.read({ highWaterMark: 100 })[Symbol.asyncIterator]()
    const unread = body.read()[Symbol.asyncIterator]()
    t.equal((await running.next()).value?.length, 100)
    await Promise.all([body.close(), body.close()])
    await t.rejects(running.next(), code('StoreFailed'), 'what runs when the body is closed fails')
    await t.rejects(unread.next(), code('StoreFailed'), 'and so does what had not begun')
    t.throws(() => body.read(), TypeError)
  }
  t.ok(await filesBecome(directory, 0), 'no file is left')
})

each('readers always find a whole object while it is replaced', async (t, fresh) => {
  const { store, directory, b } = await fresh()
  const bodies = [pattern(90_000, 1), pattern(90_001, 2), pattern(10, 3)]
  await put(store, b, 'k', bodies[0] ?? pattern(1))
  const stop = new AbortController()
  const writer = async (): Promise<void> => {
    for (let i = 0; !stop.signal.aborted; i++)
      await put(store, b, 'k', bodies[i % 3] ?? pattern(1), { size: bodies[i % 3]?.length ?? 0 })
  }
  let read = 0
  const reader = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const opened = await store.openObject(b.id, 'k')
      if (opened === undefined) throw new Error('missing')
      if (read % 3 === 0) await sleep(1)
      const bytes = await buffer(opened.body.read())
      await opened.body.close()
      if (!bodies.some(body => body.equals(bytes)) || opened.record.size !== bytes.length) throw new Error('torn')
      read++
    }
  }
  const all = [writer(), writer(), reader(), reader(), reader()]
  await sleep(300)
  stop.abort()
  await Promise.all(all)
  t.ok(read > 10, `${read} reads`)
  await store.close()
  t.ok(filesIn(directory).length <= 1)
})

each('what is missing or changed on the disk is an error, never a shorter body', async (t, fresh) => {
  const { store, directory, b } = await fresh()
  await put(store, b, 'k', pattern(500_000))
  const [id = ''] = filesIn(directory)
  const path = join(directory, 'bodies', id.slice(0, 2), id)

  const during = await store.openObject(b.id, 'k')
  truncateSync(path, 100_000)
  await t.rejects(buffer(during?.body.read() ?? Readable.from([])), { ...code('StoreFailed'), message: /shorter/ })
  await during?.body.close()

  const after = await store.openObject(b.id, 'k')
  t.equal(after?.body.size, 100_000, 'what the store really holds')
  await t.rejects(buffer(after?.body.read() ?? Readable.from([])), { ...code('StoreFailed'), message: /length/ })
  await after?.body.close()

  unlinkSync(path)
  await t.rejects(store.openObject(b.id, 'k'), code('StoreFailed'))
  mkdirSync(path)
  await t.rejects(store.openObject(b.id, 'k'), { ...code('StoreFailed'), cause: { message: /not a regular file/ } })
})

each('copies share a body until the last one is gone', async (t, fresh) => {
  const { store, directory, b } = await fresh()
  for (const size of [1000, 200_000]) {
    const bytes = pattern(size)
    const revision = await put(store, b, 'source', bytes, { envelope: pattern(9), kind: 'sse-kms' })
    const source = { bucketId: b.id, key: 'source', revision }
    const copied = await store.copyObject(source, b, 'copy', record({ etag: 'copied' }))
    t.equal(copied.storedSize, size)
    t.equal(copied.envelope, undefined)
    await store.copyObject({ bucketId: b.id, key: 'copy', revision: copied.revision }, b, 'third', record())
    const rewrapped = await store.copyObject(source, b, 'source', record({ envelope: pattern(11), kind: 'sse-kms' }))
    t.same((await store.getObject(b.id, 'source'))?.envelope, pattern(11), 'a copy to itself swaps the record')
    t.not(rewrapped.revision, revision)
    await t.rejects(store.copyObject(source, b, 'late', record()), code('PreconditionFailed'))
    await t.rejects(store.copyObject({ ...source, key: 'none' }, b, 'source', record()), code('NoSuchKey'))
    t.equal(await store.getObject(b.id, 'late'), undefined)

    await store.deleteObject(b, 'source')
    t.ok((await get(store, b, 'copy'))?.equals(bytes))
    await put(store, b, 'copy', pattern(1))
    t.ok((await get(store, b, 'third'))?.equals(bytes))
    await store.sweep()
    t.ok((await get(store, b, 'third'))?.equals(bytes))
    await store.deleteObject(b, 'third')
    t.ok(await filesBecome(directory, 0), 'no file is left')
  }
})

// What a listing is, by definition: all names in byte order, rolled up, behind the marker, cut at the limit.
const model = (
  names: readonly string[],
  { prefix = '', delimiter = '', after, limit }: { prefix?: string; delimiter?: string; after?: string; limit: number },
): { shown: string[]; truncated: boolean } => {
  const order = (a: string, b: string): number => compare(utf8(a), utf8(b))
  const rolled = names
    .filter(name => name.startsWith(prefix))
    .map(name => {
      const at = delimiter === '' ? -1 : name.indexOf(delimiter, prefix.length)
      return at < 0 ? name : name.slice(0, at + delimiter.length) + '|'
    })
  const items = [...new Set(rolled)]
    .filter(item => after === undefined || order(item.replace(/\|$/, ''), after) > 0)
    .toSorted(order)
  return { shown: items.slice(0, limit), truncated: limit > 0 && items.length > limit }
}

each('listings are what they are by definition, for all keys of Unicode', async (t, fresh) => {
  const { store, b } = await fresh()
  const letter = fc.constantFrom(
    'a',
    'b',
    '/',
    '/',
    '\0',
    '\u0001',
    'é',
    '\ud7ff',
    '\uffff',
    '\u{10000}',
    '\u{10ffff}',
    '%',
    ' ',
  )
  const name = fc.string({
    unit: fc.oneof(letter, fc.string({ unit: 'binary', minLength: 1, maxLength: 1 })),
    minLength: 1,
    maxLength: 6,
  })
  const body = await bodyOf(store, new Uint8Array())
  const { revision } = await store.putObject(b, 'source', record(), body)
  let round = 0
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(name, { maxLength: 25 }),
      fc.array(
        fc.tuple(
          fc.option(name),
          fc.option(fc.constantFrom('/', 'a', '//', 'é', '')),
          fc.option(name),
          fc.integer({ min: 0, max: 6 }),
        ),
        { minLength: 8, maxLength: 8 },
      ),
      async (names, queries) => {
        const name = `b${round++}`
        const here = await store.createBucket(name, bucketFacts)
        const other = await store.createBucket(`${name}-`, bucketFacts)
        await Promise.all(
          [...names.map(key => [here, key] as const), [other, 'x'] as const].map(([target, key]) =>
            store.copyObject(
              { bucketId: b.id, key: 'source', revision },
              target,
              key,
              record({ etag: hex(utf8(key)) }),
            ),
          ),
        )
        for (const [prefix, delimiter, after, limit] of queries) {
          const options = {
            limit,
            ...(prefix !== null && { prefix }),
            ...(delimiter !== null && { delimiter }),
            ...(after !== null && { after }),
          }
          const found = await store.listObjects(here.id, options)
          const shown = [...found.entries.map(({ key }) => key), ...found.prefixes.map(common => common + '|')]
          const wanted = model(names, options)
          if (
            JSON.stringify(shown.toSorted()) !== JSON.stringify(wanted.shown.toSorted()) ||
            found.truncated !== wanted.truncated
          )
            throw new Error(JSON.stringify({ shown, wanted, truncated: found.truncated }))
          if (found.truncated && found.next !== wanted.shown.at(-1)?.replace(/\|$/, '')) throw new Error('next')
          if (found.entries.some(({ key, record: { etag } }) => etag !== hex(utf8(key)))) throw new Error('record')
        }
      },
    ),
    { numRuns: 15 },
  )
})

each('a listing is paged to its end, jumps over what it rolls up, and takes any marker', async (t, fresh) => {
  const { store, b } = await fresh()
  const body = await bodyOf(store, new Uint8Array())
  const { revision } = await store.putObject(b, 'a', record(), body)
  const source = { bucketId: b.id, key: 'a', revision }
  const keys = Array.from({ length: 900 }, (_, i) => `dir${i % 3}/${String(i).padStart(5, '0')}`)
  await Promise.all(keys.map(key => store.copyObject(source, b, key, record())))
  await store.deleteObject(b, 'a')

  const seen: string[] = []
  for (let after: string | undefined; ;) {
    const { entries, next } = await store.listObjects(b.id, { after, limit: 200 })
    seen.push(...entries.map(({ key }) => key))
    if (next === undefined) break
    after = next
  }
  t.same(seen, keys.toSorted())

  const rolled = await store.listObjects(b.id, { delimiter: '/', limit: 2 })
  t.same(rolled, { entries: [], prefixes: ['dir0/', 'dir1/'], truncated: true, next: 'dir1/' })
  t.same((await store.listObjects(b.id, { delimiter: '/', after: 'dir1/', limit: 2 })).prefixes, ['dir2/'])
  t.same((await store.listObjects(b.id, { delimiter: '/', after: 'dir1/zzz', limit: 2 })).prefixes, ['dir2/'])
  const start = performance.now()
  for (let i = 0; i < 100; i++) await store.listObjects(b.id, { delimiter: '/', limit: 10 })
  const rolledTime = performance.now() - start
  t.ok(rolledTime < 1000, `100 rolled listings of 900 keys take ${rolledTime} ms`)

  const long = 'x'.repeat(5000)
  t.equal((await store.listObjects(b.id, { after: long, limit: 5 })).entries.length, 0)
  t.equal((await store.listObjects(b.id, { after: 'dir' + long, limit: 5 })).entries.length, 0)
  t.equal((await store.listObjects(b.id, { prefix: long, limit: 5 })).entries.length, 0)
  t.equal((await store.listObjects(b.id, { after: 'a'.repeat(5000), limit: 5 })).entries.length, 5)
})

each('an upload becomes an object in one step, and is answered again', async (t, fresh) => {
  const { store, directory, b } = await fresh({ grace: 0 })
  await put(store, b, 'k', pattern(100_000, 9))
  const begun = await store.createUpload(
    b,
    'k',
    upload('u', { session: pattern(50), headers: { a: 'b' }, kind: 'sse-kms' }),
  )
  t.same(begun, { ...upload('u', { session: pattern(50), headers: { a: 'b' }, kind: 'sse-kms' }), key: 'k' })
  t.same(await store.getUpload(b.id, 'k', 'u'), begun)
  t.equal(await store.getUpload(b.id, 'k', 'v'), undefined)
  t.equal(await store.getUpload(b.id, 'l', 'u'), undefined)
  await t.rejects(store.createUpload(b, 'k', upload('u')), { name: 'TypeError', message: /taken/ })

  const bytes = [pattern(300_000, 1), pattern(300_000, 2), pattern(10, 3), pattern(70_000, 4)]
  const send = async (number: number, attempt: string, content = pattern(1)): Promise<void> => {
    const sent = { ...part(number, attempt, content.length), etag: 'e' + attempt, receipt: pattern(80, number) }
    const answer = await store.putPart(b, 'k', 'u', sent, await bodyOf(store, content))
    t.same(answer, { ...sent, storedSize: content.length })
  }
  await send(2, 'two', bytes[1])
  await send(1, 'one-stale', bytes[3])
  await send(1, 'one', bytes[0])
  await store.putPart(b, 'k', 'u', part(3, 'three', 10), await bodyOf(store, bytes[2] ?? pattern(1)))
  const listed = await store.listParts(b.id, 'k', 'u')
  t.same(
    listed.map(({ attempt }) => attempt),
    ['one-stale', 'one', 'two', 'three'],
    'by number, then in order of acknowledgement',
  )
  t.same(await store.peekParts(b.id, 'k', 'u', ['three', 'none', 'one'], 24), [
    { size: 10, head: bytes[2] },
    undefined,
    { size: 300_000, head: bytes[0]?.subarray(0, 24) },
  ])
  t.equal(filesIn(directory).length, 5, 'every attempt is a file, small ones too')
  await store.sweep()
  t.equal(filesIn(directory).length, 5)

  const completion = {
    token: '01',
    attempts: ['one', 'two', 'three'],
    record: record({ size: 600_010, envelope: pattern(500) }),
  }
  await t.rejects(store.completeUpload(b, 'k', 'u', { ...completion, attempts: ['one', 'four'] }), code('InvalidPart'))
  await t.rejects(store.completeUpload(b, 'k', 'u', completion, { ifNoneMatch: '*' }), code('PreconditionFailed'))
  t.equal((await get(store, b, 'k'))?.length, 100_000)
  t.equal((await store.listParts(b.id, 'k', 'u')).length, 4, 'what was refused has changed nothing')

  const late = await bodyOf(store, pattern(100_000))
  const answers = await Promise.allSettled([
    store.completeUpload(b, 'k', 'u', completion),
    store.completeUpload(b, 'k', 'u', completion),
    store.completeUpload(b, 'k', 'u', { ...completion, token: '02' }),
    store.putPart(b, 'k', 'u', part(4, 'late'), late),
  ])
  const [first, second, third, fourth] = answers
  if (first?.status !== 'fulfilled') throw new Error('the first Complete failed')
  t.match(first.value, { ...completion.record, storedSize: 600_010 })
  t.match(second, { status: 'fulfilled', value: first.value }, 'the same token, the same answer')
  t.match(third, { status: 'rejected', reason: code('NoSuchUpload') })
  t.match(fourth, { status: 'rejected', reason: code('NoSuchUpload') })
  t.ok((await get(store, b, 'k'))?.equals(Buffer.concat(bytes.slice(0, 3))))
  t.ok(await filesBecome(directory, 3), 'the old object, the stale attempt and the late one are gone')

  t.equal(await store.getUpload(b.id, 'k', 'u'), undefined)
  t.match(await store.getUpload(b.id, 'k', 'u', { completed: true }), { id: 'u', completed: '01' })
  await t.rejects(store.listParts(b.id, 'k', 'u'), code('NoSuchUpload'))
  t.same(
    (await store.listParts(b.id, 'k', 'u', { completed: true })).map(({ attempt }) => attempt),
    ['one', 'two', 'three'],
  )
  t.equal((await store.peekParts(b.id, 'k', 'u', ['one'], 1, { completed: true }))[0]?.size, 300_000)
  await t.rejects(store.abortUpload(b, 'k', 'u'), code('NoSuchUpload'))
  await t.rejects(store.createUpload(b, 'k', upload('u')), TypeError)

  const opened = await store.openObject(b.id, 'k')
  const all = Buffer.concat(bytes.slice(0, 3))
  for (const [start, end] of [
    [299_999, 300_000],
    [0, 599_999],
    [600_000, 600_009],
    [250_000, 600_003],
  ] as const) {
    t.ok((await buffer(opened?.body.read({ start, end }) ?? Readable.from([]))).equals(all.subarray(start, end + 1)))
  }
  await opened?.body.close()
  await store.deleteObject(b, 'k')
  t.ok(await filesBecome(directory, 0))
  t.match(await store.completeUpload(b, 'k', 'u', completion), first.value, 'a Complete that is sent again later')
  t.same(
    await store.peekParts(b.id, 'k', 'u', ['one'], 1, { completed: true }),
    [undefined],
    'the files went with the object',
  )
})

each('uploads are aborted, forgotten after their time, and may have one part or none', async (t, fresh) => {
  const { store, directory, b, pass } = await fresh({ remember: 500_000 })
  await store.createUpload(b, 'k', upload('u'))
  for (let i = 0; i < 3; i++) await store.putPart(b, 'k', 'u', part(i, String(i)), await bodyOf(store, pattern(10)))
  await store.abortUpload(b, 'k', 'u')
  await t.rejects(store.abortUpload(b, 'k', 'u'), code('NoSuchUpload'))
  await t.rejects(store.putPart(b, 'k', 'u', part(1, 'x'), await bodyOf(store, pattern(100_000))), code('NoSuchUpload'))
  t.ok(await filesBecome(directory, 0))

  for (const [id, attempts] of [
    ['one', ['a']],
    ['none', []],
  ] as const) {
    await store.createUpload(b, id, upload(id))
    await store.putPart(b, id, id, part(1, 'a'), await bodyOf(store, pattern(70_000)))
    const { storedSize } = await store.completeUpload(b, id, id, { token: id, attempts, record: record() })
    t.equal((await get(store, b, id))?.length, storedSize)
    t.equal(storedSize, attempts.length * 70_000)
  }
  t.ok(await filesBecome(directory, 1))
  t.match(await store.sweep(), { examined: 1, removed: 0, forgotten: 0 })
  await pass(400_000)
  t.match(await store.sweep(), { forgotten: 0 })
  await pass(100_000)
  t.match(await store.sweep(), { forgotten: 2 })
  t.equal(await store.getUpload(b.id, 'one', 'one', { completed: true }), undefined)
  await t.rejects(
    store.completeUpload(b, 'one', 'one', { token: 'one', attempts: ['a'], record: record() }),
    code('NoSuchUpload'),
  )
  t.equal((await get(store, b, 'one'))?.length, 70_000)

  await store.createUpload(b, 'x', upload('x'))
  await store.completeUpload(b, 'x', 'x', { token: 'x', attempts: [], record: record() })
  for (const key of ['x', 'one', 'none']) await store.deleteObject(b, key)
  await store.deleteBucket(b)
  const anew = await store.createBucket('b', bucketFacts)
  t.equal(await store.getUpload(anew.id, 'x', 'x', { completed: true }), undefined, 'the memory goes with the bucket')
  t.match(await store.sweep(), { forgotten: 0 })
})

each('uploads are listed by key, then by id', async (t, fresh) => {
  const { store, b } = await fresh()
  const all = [
    ['a', '1'],
    ['a', '2'],
    ['a\0', '0'],
    ['ab', '1'],
    ['d/x', '1'],
    ['d/y', '1'],
    ['e', '2'],
    ['e', '3'],
  ] as const
  for (const [key, id] of all.toReversed()) await store.createUpload(b, key, upload(id))
  await store.completeUpload(b, 'e', '2', { token: 't', attempts: [], record: record() })
  const open = all.filter(([key, id]) => key !== 'e' || id !== '2').map(pair => pair.join(' '))
  const names = (listed: { uploads: readonly { key: string; id: string }[] }): string[] =>
    listed.uploads.map(({ key, id }) => `${key} ${id}`)
  t.same(names(await store.listUploads(b.id, { limit: 100 })), open)
  for (const limit of [1, 2, 3]) {
    const seen: string[] = []
    let marker: { keyAfter?: string | undefined; idAfter?: string | undefined } | undefined = {}
    while (marker !== undefined) {
      const listed = await store.listUploads(b.id, { ...marker, limit })
      seen.push(...names(listed))
      marker = listed.next
    }
    t.same(seen, open, `pages of ${limit}`)
  }
  t.same(names(await store.listUploads(b.id, { keyAfter: 'a', limit: 2 })), ['a\0 0', 'ab 1'])
  t.same(names(await store.listUploads(b.id, { keyAfter: 'a', idAfter: '1', limit: 1 })), ['a 2'])
  t.same(names(await store.listUploads(b.id, { idAfter: '1', limit: 1 })), ['a 1'], 'an id alone says nothing')
  const rolled = await store.listUploads(b.id, { delimiter: '/', keyAfter: 'ab', limit: 1 })
  t.same(rolled, { uploads: [], prefixes: ['d/'], truncated: true, next: { keyAfter: 'd/', idAfter: undefined } })
  t.same(names(await store.listUploads(b.id, { delimiter: '/', ...rolled.next, limit: 9 })), ['e 3'])
  t.same(await store.listUploads(b.id, { limit: 0 }), { uploads: [], prefixes: [], truncated: false, next: undefined })
})

// Descriptors of this process that are files of a store.
const openFilesIn = (directory: string): number =>
  readdirSync('/proc/self/fd').filter(name => {
    try {
      return readlinkSync(join('/proc/self/fd', name)).startsWith(join(directory, 'bodies'))
    } catch {
      return false
    }
  }).length

each('a body of several files can be read for the grace time after its object was deleted', async (t, fresh) => {
  const { store, directory, b, pass } = await fresh({ grace: 5_000_000 })
  const count = mostHandles + 6
  const pieces = Array.from({ length: count }, (_, i) => pattern(1000 + i, i))
  const revision = await assemble(store, b, 'k', pieces)
  const handles = openFilesIn(directory)
  const whole = Buffer.concat(pieces)

  const opened = await Promise.all([store.openObject(b.id, 'k'), store.openObject(b.id, 'k')])
  const late = (await store.openObject(b.id, 'k'))?.body.read({ highWaterMark: 2000 })[Symbol.asyncIterator]()
  t.equal((await late?.next())?.value?.length, 1000)
  await store.copyObject({ bucketId: b.id, key: 'k', revision }, b, 'l', record())
  await store.deleteObject(b, 'k')
  await store.deleteObject(b, 'l')
  t.match(await store.sweep(), { examined: count, removed: 0 })
  for (const { body } of opened.filter(found => found !== undefined)) {
    t.equal(body.size, whole.length)
    t.ok((await buffer(body.read())).equals(whole))
    t.ok((await buffer(body.read({ start: 50_000, end: 52_000 }))).equals(whole.subarray(50_000, 52_001)))
    for await (const chunk of body.read({ highWaterMark: 10 })) {
      t.equal(chunk.length, 10)
      break
    }
    await body.close()
  }
  await pass(4_000_000)
  t.match(await store.sweep(), { examined: count, removed: 0 })
  await pass(1_000_000)
  t.match(await store.sweep(), { examined: count, removed: count })
  t.same(filesIn(directory), [])
  t.equal((await late?.next())?.value?.length, 1001, 'the next file was open already')
  await t.rejects(Promise.resolve(late?.next()), { ...code('StoreFailed'), message: /deleted or replaced long ago/ })
  t.ok(openFilesIn(directory) <= handles, 'no file stays open')
})

each('a deletion of many files that was interrupted goes on, and needs no other word', async (t, fresh) => {
  const { store, directory, b, again, pass } = await fresh({ grace: 3_600_000 })
  await assemble(
    store,
    b,
    'k',
    Array.from({ length: 100 }, (_, i) => pattern(9, i)),
  )
  await store.deleteObject(b, 'k')
  // As a process leaves it that ends while it deletes.
  for (const id of filesIn(directory).slice(0, 50)) unlinkSync(join(directory, 'bodies', id.slice(0, 2), id))
  await pass(3_600_000)
  const other = await again()
  await other.sweep()
  t.ok(await filesBecome(directory, 0))
  t.match(await other.sweep(), { examined: 0, removed: 0 })
  await other.close()
})

each('a body of many files that changes while it is opened, or has lost a file', async (t, fresh) => {
  const { store, directory, b } = await fresh({ grace: 0 })
  const make = async (id: string): Promise<void> => {
    await store.createUpload(b, 'k', upload(id))
    const attempts = Array.from({ length: mostHandles + 1 }, (_, i) => String(i))
    await Promise.all(
      attempts.map(async attempt => store.putPart(b, 'k', id, part(1, attempt), await bodyOf(store, pattern(3)))),
    )
    await store.completeUpload(b, 'k', id, { token: 't', attempts, record: record() })
  }
  await make('u')
  const opening = store.openObject(b.id, 'k')
  const deleting = store.deleteObject(b, 'k')
  t.ok([undefined, (mostHandles + 1) * 3].includes((await opening)?.body.size), 'the object, whole, or none')
  await (await opening)?.body.close()
  await deleting
  t.ok(await filesBecome(directory, 0))

  await make('v')
  const replaced = store.putObject(b, 'k', record(), await bodyOf(store, pattern(7)))
  const either = await store.openObject(b.id, 'k')
  t.ok([7, (mostHandles + 1) * 3].includes(either?.body.size ?? 0))
  await replaced
  await either?.body.close()

  await make('w')
  t.ok(await filesBecome(directory, mostHandles + 1))
  const [id = ''] = filesIn(directory)
  unlinkSync(join(directory, 'bodies', id.slice(0, 2), id))
  await t.rejects(store.openObject(b.id, 'k'), code('StoreFailed'))
  await store.deleteObject(b, 'k')
  t.ok(await filesBecome(directory, 0), 'nothing keeps the others')
})

each('a sweep that would delete many of the files deletes none', async (t, fresh) => {
  const { store, directory, b, again } = await fresh()
  const orphan = (name: string): void =>
    writeFileSync(join(directory, 'bodies', name.slice(0, 2), name.padEnd(32, '0')), 'an orphan')
  for (let i = 0; i < 10; i++) orphan(`${i}0`)
  t.match(await store.sweep(), { examined: 10, removed: 10 }, 'a few may go')
  await put(store, b, 'k', pattern(100_000))
  for (let i = 0; i < 11; i++) orphan(`ff${hex(Uint8Array.of(i))}`)
  const many = { ...code('StoreFailed'), message: /does not know 11 of 12 body files\..*--sweep-all/ }
  await t.rejects(store.sweep(), many)
  t.equal(filesIn(directory).length, 12)
  const other = await again({ sweepAll: true })
  t.match(await other.sweep(), { examined: 12, removed: 11 })
  t.equal(filesIn(directory).length, 1)
  await other.close()

  await store.createUpload(b, 'u', upload('u'))
  for (let i = 0; i < 98; i++) await store.putPart(b, 'u', 'u', part(1, String(i)), await bodyOf(store, pattern(1)))
  for (let i = 0; i < 11; i++) orphan(`ff${hex(Uint8Array.of(i))}`)
  t.match(await store.sweep(), { examined: 110, removed: 11 }, 'a tenth')
})

each('the longest names that may be', async (t, fresh) => {
  const { store } = await fresh()
  const longest = await store.createBucket('x'.repeat(63), bucketFacts)
  for (const key of ['\0'.repeat(1024), '\u{10ffff}'.repeat(256), '\0'.repeat(1023)]) {
    await put(store, longest, key, utf8(key))
    await store.createUpload(longest, key, upload('\u{10ffff}'.repeat(150)))
    t.ok((await get(store, longest, key))?.equals(utf8(key)))
  }
  t.equal((await store.listObjects(longest.id, { limit: 10 })).entries.length, 3)
  t.equal((await store.listUploads(longest.id, { limit: 10 })).uploads.length, 3)
})

sayCases()
