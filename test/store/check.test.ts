/** What a check finds in a store, and what it mends: each kind of damage, put in by hand, in every store. */
import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { open as openLmdb } from 'lmdb'
import t, { type Test } from 'tap'
import { authenticated } from '../../lib/store/authenticated.ts'
import type { BodyStore } from '../../lib/store/body-store.ts'
import { type CheckOptions, checkStore, type CheckSummary, type Finding } from '../../lib/store/check.ts'
import { openBodyFiles } from '../../lib/store/file/disk.ts'
import { encodeKey } from '../../lib/store/file/keys.ts'
import { openFileStore } from '../../lib/store/file/store.ts'
import { openPostgresStore } from '../../lib/store/postgres/store.ts'
import type { Bucket } from '../../lib/store/records.ts'
import type { ObjectStore } from '../../lib/store/store.ts'
import { postgresMissing } from '../support/postgres.ts'
import { bucketFacts, each, postgresServer } from '../support/stores.ts'
import {
  assemble,
  bodyOf,
  filesBecome,
  filesIn,
  part,
  pattern,
  put,
  quickDirectory,
  record,
  upload,
} from '../support/store.ts'

const key = new Uint8Array(32).fill(7)

interface Checked {
  readonly findings: readonly Finding[]
  readonly summary: CheckSummary
}

const check = async (store: ObjectStore, options: Partial<CheckOptions> = {}): Promise<Checked> => {
  const findings: Finding[] = []
  const summary = await checkStore(store, { onFinding: finding => findings.push(finding), ...options })
  return { findings, summary }
}

const pathOf = (directory: string, id: string): string => join(directory, 'bodies', id.slice(0, 2), id)

/** The body files that something adds. */
const added = async (directory: string, work: () => Promise<unknown>): Promise<readonly string[]> => {
  const before = new Set(filesIn(directory))
  await work()
  return filesIn(directory).filter(name => !before.has(name))
}

each('a sound store is sound, and each damaged body is found', async (t, fresh) => {
  const { store: rows, directory, b: unsealed } = await fresh()
  const store = authenticated(rows, key)
  await rows.deleteBucket(unsealed)
  const b = await store.createBucket('photos', bucketFacts)
  await put(store, b, 'inline', pattern(100))
  await put(store, b, 'empty', pattern(0))
  const [single = ''] = await added(directory, () => put(store, b, 'single', pattern(100_000)))
  const several = await added(directory, () => assemble(store, b, 'several', [pattern(70_000), pattern(80_000)]))
  const from = await store.getObject(b.id, 'single')
  await store.copyObject(
    { bucketId: b.id, key: 'single', revision: from?.revision ?? '' },
    b,
    'copy',
    record({ size: 100_000 }),
  )
  await store.createUpload(b, 'open', upload('u1'))
  const [attempt = ''] = await added(directory, async () =>
    store.putPart(b, 'open', 'u1', part(3, 'a'), await bodyOf(store, pattern(90_000))),
  )
  const unfinished = await store.createBody({ expectedSize: 100_000 })
  await new Promise(done => unfinished.writable.write(pattern(70_000), done))
  const sound = await check(store)
  t.strictSame(sound.findings, [])
  t.match(sound.summary, { objects: 5, uploads: 1, parts: 1, bodies: 5 })
  await unfinished.discard()

  rmSync(pathOf(directory, single))
  truncateSync(pathOf(directory, several[1] ?? ''), 5)
  rmSync(pathOf(directory, attempt))
  const orphan = createHash('md5').update('orphan').digest('hex')
  mkdirSync(join(directory, 'bodies', orphan.slice(0, 2)), { recursive: true })
  writeFileSync(pathOf(directory, orphan), 'nobody')
  const { findings } = await check(store)
  t.match(
    findings.toSorted((x, y) => (`${x.what}${x.key}` < `${y.what}${y.key}` ? -1 : 1)),
    [
      { what: 'missing', bucket: 'photos', key: 'copy', body: single, message: `its body file ${single} is missing` },
      { what: 'missing', bucket: 'photos', key: 'open', upload: 'u1', part: 3, body: attempt, mended: false },
      { what: 'missing', bucket: 'photos', key: 'single', body: single },
      { what: 'orphan', body: orphan, message: `no row refers to the body file ${orphan} of 6 bytes`, mended: false },
      {
        what: 'size',
        bucket: 'photos',
        key: 'several',
        body: several[1],
        message: /has 5 bytes, and the index says [78]0000/,
      },
    ],
  )
  t.equal(filesIn(directory).includes(orphan), true, 'nothing was changed')

  const mended = (await check(store, { repair: true })).findings
  t.strictSame(
    mended.filter(finding => finding.mended).map(({ what, body }) => [what, body]),
    [['orphan', orphan]],
  )
  t.equal(filesIn(directory).includes(orphan), false)
  const after = (await check(store, { repair: true })).findings
  t.equal(after.length, 4, 'what is missing stays, and is told again')
  t.ok(await store.getObject(b.id, 'single'), 'no object was deleted')

  const places: string[] = []
  await check(store, { onProgress: ({ key }) => places.push(key) })
  t.same(places, ['single'])
  const behind = await check(store, { startAfter: { bucket: 'photos', key: 'empty' } })
  t.equal(behind.summary.objects, 3, 'inline, several, single')
  t.equal((await check(store, { bucket: 'photos' })).findings.length, 4, 'a bucket alone')
  await t.rejects(check(store, { bucket: 'none' }), { code: 'NoSuchBucket' })
  await t.rejects(check(store, { signal: AbortSignal.abort() }), { name: 'AbortError' })
})

each('rows without a MAC that holds', async (t, fresh) => {
  const { store: rows, b } = await fresh()
  const store = authenticated(rows, key)
  await put(rows, b, 'forged', pattern(10))
  await rows.createUpload(b, 'forged-upload', upload('u'))
  const { findings } = await check(store)
  t.match(findings, [
    { what: 'not-authentic', bucket: 'b', message: /^the bucket was changed by somebody without the index key/ },
    { what: 'not-authentic', bucket: 'b', key: 'forged', message: /^the object was changed/ },
    { what: 'not-authentic', bucket: 'b', key: 'forged-upload', upload: 'u', message: /^the upload was changed/ },
  ])
  t.equal((await check(rows)).findings.length, 0, 'a store without MACs')
})

each('objects that do not open are found, and those that are another one by now are not', async (t, fresh) => {
  const { store, b } = await fresh()
  for (const name of ['bad', 'changing', 'customer', 'good', 'off']) await put(store, b, name, pattern(10))
  const { SseError } = await import('../../lib/errors.ts')
  const { findings, summary } = await check(store, {
    open: async (bucket, name) => {
      if (name === 'customer') return false
      if (name === 'off') throw new SseError('KeyDisabled')
      if (name === 'changing') await put(store, b, name, pattern(10))
      if (name !== 'good') throw new SseError('NotAuthentic')
      return bucket.id === b.id
    },
  })
  t.match(findings, [{ what: 'unreadable', bucket: 'b', key: 'bad', message: /^it cannot be opened: NotAuthentic: / }])
  t.equal(findings.length, 1)
  t.match(summary, { objects: 5, opened: 1, customerKeys: 1, keysOff: 1 })
  const away = check(store, { open: () => Promise.reject(new SseError('KmsUnavailable')) })
  await t.rejects(away, { code: 'KmsUnavailable' }, 'that is no fault of an object')
})

const inParts = async (store: ObjectStore, b: Bucket, name: string, id: string, pieces: Buffer[]): Promise<void> => {
  await store.createUpload(b, name, upload(id))
  for (const bytes of pieces) await store.putPart(b, name, id, part(1, randomUUID()), await bodyOf(store, bytes))
  const attempts = (await store.listParts(b.id, name, id)).map(({ attempt }) => attempt)
  await store.completeUpload(b, name, id, { token: id, attempts, record: record() })
}

each('bodies that come and go are no fault', async (t, fresh) => {
  const { store, b, again } = await fresh()
  const stop = new AbortController()
  const load = async (seed: number): Promise<void> => {
    for (let i = 0; !stop.signal.aborted; i++) {
      const name = `k${(seed * 7 + i) % 12}`
      if (i % 3 === 0) await inParts(store, b, name, `${seed} ${i}`, [pattern(70_000, i), pattern(10, i)])
      else if (i % 3 === 1) await put(store, b, name, pattern(90_000, i))
      else await store.deleteObject(b, name)
    }
  }
  const loads = [load(1), load(2), load(3)]
  const other = await again()
  try {
    let objects = 0
    for (let i = 0; i < 4; i++) {
      const { findings, summary } = await check(other)
      objects += summary.objects
      if (!t.strictSame(findings, [])) break
    }
    t.ok(objects > 0)
  } finally {
    stop.abort()
    await Promise.all(loads)
    await other.close()
  }
})

t.test('embedded: a body that goes while it is looked at is no fault', async t => {
  const above = quickDirectory()
  t.teardown(() => rmSync(above, { recursive: true }))
  const files = await openBodyFiles(join(above, 'bodies'))
  let meanwhile: (() => Promise<unknown>) | undefined
  const once = async (): Promise<void> => {
    const work = meanwhile
    meanwhile = undefined
    await work?.()
  }
  const listed: string[] = []
  const bodies: BodyStore = {
    ...files,
    sizeOf: async id => {
      await once()
      return files.sizeOf(id)
    },
    list: async function* () {
      for await (const ids of files.list()) {
        listed.push(...ids)
        if (ids.length > 0) await once()
        yield ids
      }
    },
  }
  const store = await openFileStore(join(above, 'data'), { sweepEvery: 0, bodies })
  t.teardown(() => store.close())
  const b = await store.createBucket('b', bucketFacts)
  const count = async (n: number): Promise<void> => {
    if (!(await filesBecome(above, n))) throw new Error(`there are not ${n} files`)
  }

  await put(store, b, 'k', pattern(100_000))
  meanwhile = async () => {
    await put(store, b, 'k', pattern(90_000))
    await count(1)
  }
  t.strictSame((await check(store, { bucket: 'b' })).findings, [], 'replaced after its row was read')
  t.equal(meanwhile, undefined)

  await store.deleteObject(b, 'k')
  await count(0)
  await store.createUpload(b, 'u', upload('u1'))
  await store.putPart(b, 'u', 'u1', part(1, 'a'), await bodyOf(store, pattern(90_000)))
  meanwhile = async () => {
    await store.abortUpload(b, 'u', 'u1')
    await count(0)
  }
  t.strictSame((await check(store, { bucket: 'b' })).findings, [], 'an upload that was aborted')
  t.equal(meanwhile, undefined)

  await put(store, b, 'k', pattern(100_000))
  const orphans: string[] = []
  meanwhile = async () => {
    await store.deleteObject(b, 'k')
    await store.sweep() // its row goes behind it
  }
  for await (const page of store.inspect().orphans()) orphans.push(...page.orphans.map(({ id }) => id))
  t.equal(listed.length, 1, 'deleted after it was listed')
  t.strictSame(orphans, [])
})

const raw = { keyEncoding: 'binary' as const, encoder: { useRecords: false } }

/** Changes tables of a closed embedded store. */
const damage = async (
  directory: string,
  work: (table: (name: string) => ReturnType<ReturnType<typeof openLmdb>['openDB']>) => void,
): Promise<void> => {
  const index = openLmdb({ path: join(directory, 'index'), overlappingSync: false, maxDbs: 24 })
  work(name => index.openDB({ name, ...raw }))
  await index.close()
}

t.test('embedded: an index that does not add up is mended, and loses nothing', async t => {
  const above = quickDirectory()
  t.teardown(() => rmSync(above, { recursive: true }))
  const directory = join(above, 'data')
  let store = await openFileStore(directory, { sweepEvery: 0 })
  const b = await store.createBucket('b', bucketFacts)
  const [shared = ''] = await added(directory, () => put(store, b, 'shared', pattern(100_000)))
  const [lonely = ''] = await added(directory, () => put(store, b, 'lonely', pattern(100_000)))
  const [doomed = ''] = await added(directory, () => put(store, b, 'doomed', pattern(100_000)))
  await store.close()
  const [nobodys, bytes] = ['1'.repeat(32), '2'.repeat(32)]
  await damage(directory, table => {
    table('counts').putSync(encodeKey(shared), 5)
    table('files').removeSync(encodeKey(lonely))
    table('files').putSync(encodeKey(nobodys), true)
    table('inline').putSync(encodeKey(bytes), pattern(3))
    table('garbage').putSync(encodeKey('9999999999999999', doomed), { form: 'file', id: doomed, size: 100_000 })
  })
  store = await openFileStore(directory, { sweepEvery: 0 })
  t.teardown(() => store.close())
  const told = (checked: Checked) => checked.findings.map(({ what, body }) => [what, body]).toSorted()
  const expected = [
    ['count', shared],
    ['forgotten', bytes],
    ['forgotten', nobodys],
    ['unregistered', doomed],
    ['unregistered', lonely],
  ].toSorted()
  t.strictSame(told(await check(store)), expected)
  const first = await check(store)
  t.strictSame(told(first), expected, 'nothing was changed')
  t.match(
    first.findings.find(({ what }) => what === 'count'),
    { message: `the index counts 5 objects of the body ${shared}, and there are 1`, mended: false },
  )
  const mended = await check(store, { repair: true })
  t.strictSame(told(mended), expected)
  t.ok(mended.findings.every(finding => finding.mended))
  t.strictSame((await check(store)).findings, [])
  await store.sweep()
  for (const name of ['shared', 'lonely', 'doomed']) t.equal((await store.openObject(b.id, name))?.body.size, 100_000)
  await store.deleteObject(b, 'shared')
  t.ok(await filesBecome(directory, 2), 'its count is right: the last one takes the body')
})

t.test('embedded: what a broken row may refer to is not deleted', async t => {
  const above = quickDirectory()
  t.teardown(() => rmSync(above, { recursive: true }))
  const directory = join(above, 'data')
  let store = await openFileStore(directory, { sweepEvery: 0 })
  const b = await store.createBucket('b', bucketFacts)
  const lost = await store.createBucket('lost', bucketFacts)
  const [body = ''] = await added(directory, () => put(store, b, 'half', pattern(100_000)))
  await put(store, b, 'other-half', pattern(10))
  await put(store, b, 'led-astray', pattern(100_000))
  await put(store, lost, 'in-lost', pattern(10))
  await store.close()
  await damage(directory, table => {
    table('contents').removeSync(encodeKey(b.id, 'half'))
    table('objects').removeSync(encodeKey(b.id, 'other-half'))
    table('contents').putSync(encodeKey(b.id, 'led-astray'), { body: { form: 'file', id: '../x', size: 100_000 } })
    table('ids').removeSync(encodeKey(lost.id))
  })
  store = await openFileStore(directory, { sweepEvery: 0 })
  t.teardown(() => store.close())
  const { findings } = await check(store, { repair: true })
  const rows = findings.filter(({ what }) => what === 'row')
  const told = [...new Set(rows.map(finding => finding.body ?? finding.key))].toSorted()
  t.strictSame(told, ['half', 'led-astray', 'other-half', lost.id].toSorted())
  t.match(
    findings.filter(finding => finding.body === body),
    [
      { what: 'count', mended: false },
      { what: 'forgotten', mended: false },
    ],
  )
  await store.sweep()
  t.ok(filesIn(directory).includes(body))
})

t.test('embedded: an index that knows none of many bodies: they are told, and stay', async t => {
  const above = quickDirectory()
  t.teardown(() => rmSync(above, { recursive: true }))
  const directory = join(above, 'data')
  const store = await openFileStore(directory, { sweepEvery: 0 })
  t.teardown(() => store.close())
  for (let i = 0; i < 12; i++) {
    const id = createHash('md5').update(String(i)).digest('hex')
    writeFileSync(pathOf(directory, id), 'a body')
  }
  const findings: Finding[] = []
  const checking = checkStore(store, { repair: true, onFinding: finding => findings.push(finding) })
  await t.rejects(checking, { code: 'StoreFailed', message: /12 of 12 body files.*--sweep-all/ })
  t.equal(findings.length, 12)
  t.equal(filesIn(directory).length, 12)
})

const openOn = (t: Test, connection: Awaited<ReturnType<Awaited<ReturnType<typeof postgresServer>>['create']>>) => {
  const directory = quickDirectory()
  t.teardown(() => rmSync(directory, { recursive: true }))
  return openPostgresStore({
    connection,
    bodies: () => openBodyFiles(join(directory, 'bodies')),
    sweepEvery: 0,
    grace: 0,
  }).then(store => ({ store, directory }))
}

t.test('postgres: an index that does not add up is mended', { skip: postgresMissing }, async t => {
  const server = await postgresServer()
  const connection = await server.create()
  const { store, directory } = await openOn(t, connection)
  t.teardown(() => store.close())
  const b = await store.createBucket('b', bucketFacts)
  const [shared = ''] = await added(directory, () => put(store, b, 'shared', pattern(100_000)))
  const [doomed = ''] = await added(directory, () => put(store, b, 'doomed', pattern(100_000)))
  await store.createUpload(b, 'open', upload('u'))
  const [attempt = ''] = await added(directory, async () =>
    store.putPart(b, 'open', 'u', part(1, 'a'), await bodyOf(store, pattern(90_000))),
  )
  const [nobodys, unreferenced] = ['1'.repeat(32), '2'.repeat(32)]
  await server.run(
    connection,
    `UPDATE body SET refs = 4 WHERE id = '${shared}';
     INSERT INTO garbage (id, due) VALUES ('${doomed}', clock_timestamp() + interval '1 day');
     DELETE FROM body_file WHERE id = '${attempt}';
     INSERT INTO body_file (id, size, head) VALUES ('${nobodys}', 1, '');
     INSERT INTO body (id, form, size, refs, bytes) VALUES ('${unreferenced}', 'inline', 1, 1, 'x')`,
  )
  const told = (checked: Checked) => checked.findings.map(({ what, body }) => [what, body]).toSorted()
  const expected = [
    ['count', shared],
    ['count', unreferenced],
    ['forgotten', nobodys],
    ['unregistered', attempt],
    ['unregistered', doomed],
  ].toSorted()
  t.strictSame(told(await check(store)), expected)
  const mended = await check(store, { repair: true })
  t.strictSame(told(mended), expected)
  t.ok(mended.findings.every(finding => finding.mended))
  await sleep(300)
  t.strictSame((await check(store)).findings, [])
  await store.sweep()
  t.strictSame((await check(store)).findings, [])
  t.equal((await store.openObject(b.id, 'doomed'))?.body.size, 100_000)
})
