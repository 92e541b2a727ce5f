import type { BodyWriter, ObjectStore } from '../../lib/store/store.ts'
import type { Bucket } from '../../lib/store/records.ts'
import { bodyOf, bucketOf, filesBecome, filesIn, get, part, pattern, put, record, upload } from '../support/store.ts'
import { bucketFacts, each, sayCases } from '../support/stores.ts'

const code = (name: string): { code: string } => ({ code: name })
const sizes = [10, 100_000] // in the index, and in a file

interface Change {
  readonly name: string
  readonly run: (store: ObjectStore, bucket: Bucket, source: Source) => Promise<unknown>
}

/** An object in a bucket that stays, to copy from. */
interface Source {
  readonly bucketId: string
  readonly key: string
  readonly revision: string
}

// Every change that takes a bucket. There are an object `k` and an open upload `u` of it with an attempt `a` in the bucket.
const changes: readonly Change[] = [
  { name: 'updateBucket', run: (store, bucket) => store.updateBucket(bucket, { settings: { policy: 'theirs' } }) },
  { name: 'deleteBucket', run: (store, bucket) => store.deleteBucket(bucket) },
  {
    name: 'putObject',
    run: async (store, bucket) => store.putObject(bucket, 'k', record(), await bodyOf(store, pattern(100_000, 5))),
  },
  { name: 'deleteObject', run: (store, bucket) => store.deleteObject(bucket, 'k') },
  { name: 'copyObject', run: (store, bucket, source) => store.copyObject(source, bucket, 'k', record()) },
  { name: 'updateNotes', run: (store, bucket) => store.updateNotes(bucket, 'k', { notes: { acl: 'public-read' } }) },
  { name: 'createUpload', run: (store, bucket) => store.createUpload(bucket, 'k', upload('v')) },
  {
    name: 'putPart',
    run: async (store, bucket) => store.putPart(bucket, 'k', 'u', part(1, 'b'), await bodyOf(store, pattern(10))),
  },
  {
    name: 'completeUpload',
    run: (store, bucket) => store.completeUpload(bucket, 'k', 'u', { token: 't', attempts: ['a'], record: record() }),
  },
  { name: 'abortUpload', run: (store, bucket) => store.abortUpload(bucket, 'k', 'u') },
]

// What is in a bucket, all of it.
const contentOf = async (store: ObjectStore, name: string): Promise<unknown> => {
  const bucket = await bucketOf(store, name)
  const { entries } = await store.listObjects(bucket.id, { limit: 100 })
  const { uploads } = await store.listUploads(bucket.id, { limit: 100 })
  const bytes = await Promise.all(entries.map(({ key }) => get(store, bucket, key)))
  const parts = await Promise.all(uploads.map(({ key, id }) => store.listParts(bucket.id, key, id)))
  return { bucket, entries, bytes: bytes.map(found => found?.toString('hex')), uploads, parts }
}

const fill = async (store: ObjectStore, bucket: Bucket): Promise<void> => {
  await put(store, bucket, 'k', pattern(70_000, 1))
  await store.createUpload(bucket, 'k', upload('u'))
  await store.putPart(bucket, 'k', 'u', part(1, 'a'), await bodyOf(store, pattern(10)))
}

const empty = async (store: ObjectStore, bucket: Bucket): Promise<void> => {
  await store.deleteObject(bucket, 'k')
  await store.abortUpload(bucket, 'k', 'u')
  await store.deleteBucket(bucket)
}

const sourceIn = async (store: ObjectStore): Promise<Source> => {
  const bucket = await store.createBucket('source', bucketFacts)
  return { bucketId: bucket.id, key: 's', revision: await put(store, bucket, 's', pattern(80_000, 2)) }
}

each('a change that was judged against one bucket never reaches another one of the same name', async (t, fresh) => {
  for (const { name, run } of changes) {
    const { store, directory, b } = await fresh()
    const source = await sourceIn(store)
    await fill(store, b)
    await empty(store, b)
    const other = await store.createBucket('b', { ...bucketFacts, owner: 'other' })
    t.not(other.id, b.id)
    await fill(store, other)
    t.ok(await filesBecome(directory, 3))
    const before = await contentOf(store, 'b')
    await t.rejects(run(store, b, source), code('NoSuchBucket'), name)
    await t.rejects(run(store, { ...b, revision: other.revision }, source), code('NoSuchBucket'), name)
    t.same(await contentOf(store, 'b'), before, `${name}: nothing has changed`)
    t.equal(filesIn(directory).length, 3, `${name}: no body is left`)
    const reads: readonly (() => Promise<unknown>)[] = [
      () => store.getObject(b.id, 'k'),
      () => store.openObject(b.id, 'k'),
      () => store.listObjects(b.id, { limit: 1 }),
      () => store.getUpload(b.id, 'k', 'u'),
      () => store.listUploads(b.id, { limit: 1 }),
      () => store.listParts(b.id, 'k', 'u'),
      () => store.peekParts(b.id, 'k', 'u', ['a'], 1),
    ]
    for (const read of reads) await t.rejects(read(), code('NoSuchBucket'))
  }
})

each(
  'a change that was judged against other settings of the bucket fails, and goes once it is judged again',
  async (t, fresh) => {
    for (const { name, run } of changes) {
      const { store, b } = await fresh()
      const source = await sourceIn(store)
      await fill(store, b)
      const now = await store.updateBucket(b, { settings: { policy: 'a policy' } })
      const before = await contentOf(store, 'b')
      await t.rejects(
        run(store, b, source),
        { ...code('BucketChanged'), status: 409, s3Code: 'OperationAborted' },
        name,
      )
      t.same(await contentOf(store, 'b'), before, `${name}: nothing has changed`)
      if (name === 'deleteBucket') await t.rejects(run(store, now, source), code('BucketNotEmpty'))
      else {
        await run(store, now, source)
        t.notSame(await contentOf(store, 'b'), before, `${name}: it is done`)
      }
    }
  },
)

each('a copy takes its body from the bucket that was read, not from another one of its name', async (t, fresh) => {
  const { store, b } = await fresh()
  const source = await sourceIn(store)
  const bucket = await bucketOf(store, 'source')
  await store.updateBucket(bucket, { settings: { policy: 'a policy' } })
  await store.copyObject(source, b, 'copy', record())
  t.ok((await get(store, b, 'copy'))?.equals(pattern(80_000, 2)), 'settings of the source are not those of the target')
  const changed = await bucketOf(store, 'source')
  await store.deleteObject(changed, 's')
  await store.deleteBucket(changed)
  const other = await store.createBucket('source', bucketFacts)
  await put(store, other, 's', pattern(10))
  await t.rejects(store.copyObject(source, b, 'copy', record()), code('NoSuchBucket'))
})

each('a body stays whole when the bucket has changed, and may be committed again', async (t, fresh) => {
  for (const size of sizes) {
    const { store, directory, b } = await fresh()
    const bytes = pattern(size, 3)
    await store.createUpload(b, 'p', upload('u'))
    const now = await store.updateBucket(b, { settings: {} })
    const object = await bodyOf(store, bytes)
    const attempt = await bodyOf(store, bytes)
    for (let i = 0; i < 2; i++) {
      await t.rejects(store.putObject(b, 'k', record(), object), code('BucketChanged'))
      await t.rejects(store.putPart(b, 'p', 'u', part(1, 'a'), attempt), code('BucketChanged'))
    }
    await store.putObject(now, 'k', record(), object)
    await store.putPart(now, 'p', 'u', part(1, 'a'), attempt)
    t.ok((await get(store, now, 'k'))?.equals(bytes))
    await store.completeUpload(now, 'p', 'u', { token: 't', attempts: ['a'], record: record() })
    t.ok((await get(store, now, 'p'))?.equals(bytes))
    await t.rejects(store.putObject(now, 'k', record(), object), { name: 'TypeError', message: /committed/ })

    // As a part that was refused, then as an object: it lies in a file by now.
    const moved = await bodyOf(store, bytes)
    await t.rejects(store.putPart(b, 'p', 'u', part(1, 'a'), moved), code('BucketChanged'))
    await store.putObject(now, 'moved', record(), moved)
    t.ok((await get(store, now, 'moved'))?.equals(bytes))
    for (const key of ['k', 'p', 'moved']) await store.deleteObject(now, key)
    t.ok(await filesBecome(directory, 0), 'and every file is accounted for')
  }
})

each('a body that nobody commits again is discarded by its writer; every other error discards it', async (t, fresh) => {
  const left = async (change: (store: ObjectStore, b: Bucket, body: BodyWriter) => Promise<void>): Promise<void> => {
    const { store, directory, b } = await fresh()
    await store.updateBucket(b, { settings: {} })
    const body = await bodyOf(store, pattern(100_000))
    t.equal(filesIn(directory).length, 1)
    await change(store, b, body)
    t.equal(filesIn(directory).length, 0)
    await t.rejects(store.putObject(await bucketOf(store, 'b'), 'k', record(), body), {
      name: 'TypeError',
      message: /discarded/,
    })
  }
  await left(async (store, b, body) => {
    await t.rejects(store.putObject(b, 'k', record(), body), code('BucketChanged'))
    await body.discard()
  })
  await left(async (store, b, body) => {
    const putting = store.putObject(b, 'k', record(), body)
    await body.discard()
    await t.rejects(putting, code('BucketChanged'), 'it was discarded while it was being committed')
  })
  await left(async (store, b, body) => {
    await t.rejects(store.putObject(b, 'k', record(), body), code('BucketChanged'))
    body.writable.destroy()
    await t.rejects(
      store.putObject(await bucketOf(store, 'b'), 'k', record(), body, { ifMatch: '*' }),
      code('NoSuchKey'),
    )
  })
  await left(async (store, b, body) => {
    await t.rejects(store.putObject({ ...b, id: '0'.repeat(32) }, 'k', record(), body), code('NoSuchBucket'))
  })
  await left(async (store, _, body) => {
    await t.rejects(store.putPart(await bucketOf(store, 'b'), 'k', 'u', part(1, 'a'), body), code('NoSuchUpload'))
  })
})

each('a Complete that is sent again gets its answer, whatever has changed of the bucket', async (t, fresh) => {
  const { store, b } = await fresh()
  await store.createUpload(b, 'k', upload('u'))
  await store.putPart(b, 'k', 'u', part(1, 'a'), await bodyOf(store, pattern(10)))
  const completion = { token: 't', attempts: ['a'], record: record() }
  const done = await store.completeUpload(b, 'k', 'u', completion, { ifNoneMatch: '*' })
  const now = await store.updateBucket(b, { settings: {} })
  t.same(await store.completeUpload(b, 'k', 'u', completion, { ifNoneMatch: '*' }), done)
  await t.rejects(store.completeUpload(b, 'k', 'u', { ...completion, token: 'other' }), code('BucketChanged'))
  await t.rejects(store.completeUpload(now, 'k', 'u', { ...completion, token: 'other' }), code('NoSuchUpload'))
  await store.deleteObject(now, 'k')
  await store.deleteBucket(now)
  await t.rejects(store.completeUpload(now, 'k', 'u', completion), code('NoSuchBucket'))
})

each('notes are kept as they are, and swapped without touching anything else', async (t, fresh) => {
  const { store, b } = await fresh()
  const notes = {
    acl: 'public-read',
    tags: [
      ['é', 'ü'],
      ['__proto__', ''],
    ],
    keyId: 'arn:aws:kms:sichuan:domain:key/1',
    bucketKey: false,
    parts: 3,
    partSizes: [
      { first: 1, size: 5_242_880, count: 2 },
      { first: 3, size: 10, count: 1 },
    ],
    checksum: { algorithm: 'crc64nvme', type: 'FULL_OBJECT', value: 'AAAAAAAAAAA=' },
  } as const
  const bytes = pattern(100_000, 4)
  const given = record({ notes, kind: 'sse-kms', envelope: pattern(300), values: pattern(50), headers: { a: 'b' } })
  const stored = await store.putObject(b, 'k', given, await bodyOf(store, bytes))
  t.strictSame(stored.notes, notes)
  t.strictSame((await store.getObject(b.id, 'k'))?.notes, notes)
  const summedUp = { algorithm: 'crc32', type: 'COMPOSITE', asked: true } as const
  await store.createUpload(b, 'k', upload('u', { notes: { ...notes, summedUp } }))
  t.strictSame((await store.getUpload(b.id, 'k', 'u'))?.notes, { ...notes, summedUp })

  const opened = await store.openObject(b.id, 'k')
  const changed = await store.updateNotes(b, 'k', { notes: { acl: 'private' } }, { revision: stored.revision })
  t.strictSame(changed, { ...stored, notes: { acl: 'private' }, revision: changed.revision })
  t.not(changed.revision, stored.revision)
  t.strictSame((await store.openObject(b.id, 'k'))?.record.notes, { acl: 'private' })
  t.ok((await get(store, b, 'k'))?.equals(bytes))
  t.same(opened?.record, stored)
  await opened?.body.close()
  await t.rejects(
    store.updateNotes(b, 'k', { notes: {} }, { revision: stored.revision }),
    code('PreconditionFailed'),
    'of two that have read the same, one',
  )
  await t.rejects(store.updateNotes(b, 'k', { notes: {} }, { refuseKinds: ['sse-kms'] }), code('AccessDenied'))
  await t.rejects(store.updateNotes(b, 'none', { notes: {} }, { revision: stored.revision }), code('NoSuchKey'))
  t.strictSame((await store.getObject(b.id, 'k'))?.notes, { acl: 'private' })
})

sayCases()
