import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import * as fc from 'fast-check'
import { open as openLmdb, type RootDatabase } from 'lmdb'
import t, { type Test } from 'tap'
import { compare, utf8 } from '../../lib/bytes.ts'
import { SseError } from '../../lib/errors.ts'
import { openFileStore, type FileStoreOptions } from '../../lib/store/file/store.ts'
import { mostHandles } from '../../lib/store/body-reader.ts'
import { inlineLimit } from '../../lib/store/body-draft.ts'
import { loadLmdb } from '../../lib/store/file/database.ts'
import { writeAll } from '../../lib/store/file/disk.ts'
import { decodeKey, encodeKey } from '../../lib/store/file/keys.ts'
import { isAlive, nameProcess } from '../../lib/store/file/liveness.ts'
import type { ObjectStore } from '../../lib/store/store.ts'
import type { Bucket } from '../../lib/store/records.ts'
import { compileChild } from '../support/compile.ts'
import {
  assemble,
  bodyOf,
  bucketOf,
  filesBecome,
  filesIn,
  fillUp,
  get,
  part,
  pattern,
  put,
  quickDirectory,
  record,
  upload,
} from '../support/store.ts'

const raw = { keyEncoding: 'binary' as const, encoder: { useRecords: false } }
const bucket = { owner: 'domain', region: 'sichuan', created: 1 }

const fresh = async (
  t: Test,
  options: FileStoreOptions = {},
): Promise<{ store: ObjectStore; directory: string; b: Bucket }> => {
  const above = quickDirectory()
  const directory = join(above, 'data')
  const store = await openFileStore(directory, { sweepEvery: 0, ...options })
  t.teardown(async () => {
    await store.close()
    rmSync(above, { recursive: true })
  })
  const b = await store.createBucket('b', bucket)
  return { store, directory, b }
}

// The index, beside the store.
const openIndex = (directory: string): RootDatabase =>
  openLmdb({ path: join(directory, 'index'), overlappingSync: false, maxDbs: 24, eventTurnBatching: false })

const code = (name: string): { code: string } => ({ code: name })

t.test('the list of an owner reads no buckets of others', async t => {
  const { store, directory } = await fresh(t)
  await store.createBucket('other', { ...bucket, owner: 'domai' })
  const index = openIndex(directory)
  const buckets = index.openDB<unknown, Uint8Array>({ name: 'buckets', ...raw })
  await buckets.put(encodeKey('other'), undefined)
  t.equal((await store.listBuckets({ owner: 'domain' })).length, 1, 'a row of another one is not read')
  await index.close()
})

t.test('the sweep goes on with the deletion of a bucket that was interrupted', async t => {
  const { store, directory, b } = await fresh(t)
  await store.createUpload(b, 'k', upload('u'))
  await store.putPart(b, 'k', 'u', part(1, '1'), await bodyOf(store, pattern(10)))
  const index = openIndex(directory)
  await index.openDB<unknown, Uint8Array>({ name: 'ids', ...raw }).remove(encodeKey(b.id))
  await index.close()
  await store.sweep()
  t.ok(await filesBecome(directory, 0))
})

t.test('files are private, and no name of an object is in a path', async t => {
  const { store, directory, b } = await fresh(t)
  await put(store, b, '../../../secret name', pattern(100_000))
  const [file = ''] = filesIn(directory)
  t.match(file, /^[0-9a-f]{32}$/)
  const shelf = join(directory, 'bodies', file.slice(0, 2))
  t.equal(statSync(join(shelf, file)).mode & 0o777, 0o600)
  for (const path of [directory, join(directory, 'index'), join(directory, 'bodies'), shelf]) {
    t.equal(statSync(path).mode & 0o777, 0o700, path)
  }
  t.notOk(execFileSync('find', [directory]).toString().includes('secret'))
})

t.test('many tiny pieces are kept, whether the system takes them whole or not', async t => {
  const { store, b } = await fresh(t)
  const bytes = pattern(inlineLimit)
  const body = await bodyOf(store, bytes, {}, 1)
  await store.putObject(b, 'k', record(), body)
  t.ok((await get(store, b, 'k'))?.equals(bytes))

  const taken: number[] = []
  const file = {
    writev: async (pieces: readonly Uint8Array[]) => {
      const all = Buffer.concat(pieces).subarray(0, 7)
      taken.push(...all)
      return { bytesWritten: all.length }
    },
  }
  const pieces = [3, 0, 5, 1, 20, 7].map((size, i) => pattern(size, i))
  await writeAll(file, pieces)
  t.same(Buffer.from(taken), Buffer.concat(pieces))
})

t.test('many readers of bodies of many files hold two descriptors each', async t => {
  const { store, b } = await fresh(t)
  await assemble(
    store,
    b,
    'k',
    Array.from({ length: 64 }, (_, i) => pattern(1000, i)),
  )
  const handles = readdirSync('/proc/self/fd').length
  const readers = await Promise.all(Array.from({ length: 60 }, () => store.openObject(b.id, 'k')))
  t.ok(readdirSync('/proc/self/fd').length < handles + 10, 'an open body holds none')
  const reads = readers.map(opened => opened?.body.read({ highWaterMark: 500 })[Symbol.asyncIterator]())
  for (const read of reads) await read?.next()
  const held = readdirSync('/proc/self/fd').length - handles
  t.ok(held <= 125, `${held} descriptors`)
  await Promise.all(readers.map(opened => opened?.body.close()))
  t.ok(readdirSync('/proc/self/fd').length <= handles)
})

t.test('a read writes nothing to the index', async t => {
  const { store, directory, b } = await fresh(t)
  const pieces = Array.from({ length: mostHandles + 1 }, (_, i) => pattern(1000, i))
  await assemble(store, b, 'k', pieces)
  await put(store, b, 'one', pattern(100_000))
  // Its first two pages, one of which every commit writes.
  const commits = (): Buffer => readFileSync(join(directory, 'index', 'data.mdb')).subarray(0, 8192)
  const before = commits()
  t.ok((await get(store, b, 'k'))?.equals(Buffer.concat(pieces)))
  t.ok((await get(store, b, 'one'))?.equals(pattern(100_000)))
  t.ok(commits().equals(before))
})

t.test('keys of the index keep the order of bytes, collide never and are never too long', async () => {
  const text = fc.string({ unit: 'binary', maxLength: 8 })
  fc.assert(
    fc.property(text, text, text, text, (a, b, c, d) => {
      const [one, two] = [encodeKey(a, b), encodeKey(c, d)]
      const order = compare(utf8(a), utf8(c)) || compare(utf8(b), utf8(d))
      return (
        Math.sign(compare(one, two)) === Math.sign(order) && JSON.stringify(decodeKey(one)) === JSON.stringify([a, b])
      )
    }),
  )
})

t.test('a process is alive, gone, a zombie, of another boot, or nobody knows', async t => {
  const self = nameProcess()
  t.match(self, { boot: /./, space: /^pid:/, pid: process.pid, start: /^[0-9]+$/ })
  t.equal(isAlive(self, self), true)
  t.equal(isAlive({ ...self, start: '1' }, self), false, 'the number belongs to another process by now')
  t.equal(isAlive({ ...self, boot: 'other' }, self), false)
  t.equal(isAlive({ ...self, space: 'pid:[1]' }, self), undefined)

  const child = spawn('sh', ['-c', 'read line & exec sleep 60'], { stdio: 'pipe' })
  const { pid = 0 } = child
  const named = { ...self, pid, start: readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[19] ?? '' }
  t.equal(isAlive(named, self), true)
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.equal(isAlive(named, self), false)

  const made = t.testdir({
    [String(pid)]: { stat: `${pid} (a) b) Z ${'0 '.repeat(18)}77 0` },
    [String(process.pid)]: { stat: `1 (x) S ${'0 '.repeat(18)}77 0` },
  })
  t.equal(isAlive({ ...self, pid, start: '77' }, self, made), false, 'a zombie is dead')
  t.equal(isAlive({ ...self, start: '77' }, self, made), true)

  const bare = nameProcess('/nowhere')
  t.same(bare, { boot: '', space: '', pid: process.pid, start: '' })
  t.equal(isAlive(bare, bare, '/nowhere'), true, 'without /proc the number has to do')
  t.equal(isAlive({ ...bare, pid }, bare, '/nowhere'), false)
  t.equal(isAlive({ ...bare, pid: 1 }, bare, '/nowhere'), true)
})

t.test('a sweep takes what dead processes left and nothing else', async t => {
  const { store, directory, b } = await fresh(t, { grace: 0 })
  const child = spawn(
    'env',
    ['-u', 'NODE_OPTIONS', process.execPath, compileChild(t.testdir({})), 'leave', directory],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  await once(child.stdout, 'data')
  await put(store, b, 'mine', pattern(100_000))
  const open = await store.createBody()
  open.writable.write(pattern(100_000))
  t.ok(await filesBecome(directory, 4 + mostHandles))
  writeFileSync(join(directory, 'bodies', '00', 'notes.txt'), 'not ours')
  writeFileSync(join(directory, 'bodies', '00', '00' + 'f'.repeat(30)), 'an orphan')
  const count = 5 + mostHandles
  t.same(await store.sweep(), { examined: count, removed: 1, abandoned: 0, forgotten: 0 }, 'the child lives')

  child.kill('SIGKILL')
  await once(child, 'exit')
  await store.deleteObject(b, 'many')
  const second = await openFileStore(directory, { sweepEvery: 0 })
  const both = await Promise.all([store.sweep(), second.sweep()])
  t.equal(
    both.map(({ abandoned }) => abandoned).reduce((a, b) => a + b),
    1,
    'it is taken once',
  )
  t.ok(await filesBecome(directory, 3), 'mine, the one being written, and the notes')
  t.match(await store.sweep(), { examined: 2, removed: 0, abandoned: 0 })
  await second.close()
  open.writable.end()
  await once(open.writable, 'finish')
  await store.putObject(b, 'open', record(), open)
  t.ok((await get(store, b, 'open'))?.equals(pattern(100_000)))
})

t.test('a process of another namespace is given a day; a body that was swept away cannot be committed', async t => {
  let now = 1_000_000
  const { store, directory, b } = await fresh(t, { now: () => now })
  const body = await bodyOf(store, pattern(100_000))
  const index = openIndex(directory)
  const pending = index.openDB<{ process: object; since: number }, Uint8Array>({
    name: 'pending',
    ...raw,
  })
  for (const { key, value } of pending.getRange())
    await pending.put(key, { ...value, process: { ...value.process, space: 'pid:[1]' } })
  now += 86_399_999
  t.match(await store.sweep(), { abandoned: 0, removed: 0 })
  now += 1
  t.match(await store.sweep(), { abandoned: 1, removed: 1 })
  await t.rejects(store.putObject(b, 'k', record(), body), { ...code('StoreFailed'), message: /swept away/ })
  t.equal(await store.getObject(b.id, 'k'), undefined)

  await store.createUpload(b, 'k', upload('u'))
  for (const number of [1, 2])
    await store.putPart(b, 'k', 'u', part(number, String(number)), await bodyOf(store, pattern(9)))
  await store.completeUpload(b, 'k', 'u', { token: 't', attempts: ['1', '2'], record: record() })
  const manifests = index.openDB<unknown, Uint8Array>({ name: 'manifests', ...raw })
  await manifests.clearAsync()
  const opened = await store.openObject(b.id, 'k')
  t.match(opened, { record: { storedSize: 18 }, body: { size: 0 } }, 'what is not there does not count')
  const contents = index.openDB<unknown, Uint8Array>({ name: 'contents', ...raw })
  await contents.remove(encodeKey(b.id, 'k'))
  await t.rejects(store.getObject(b.id, 'k'), { ...code('StoreFailed'), message: /missing a piece/ })
  const meta = index.openDB<number, Uint8Array>({ name: 'meta', ...raw })
  await meta.put(encodeKey('format'), 9)
  await t.rejects(openFileStore(directory), { ...code('StoreFailed'), message: /format 9.*Use the version that wrote/ })
  t.equal(meta.get(encodeKey('format')), 9)
})

t.test('an index of the first format is refused, and left as it is', async t => {
  const above = quickDirectory()
  t.teardown(() => rmSync(above, { recursive: true }))
  const directory = join(above, 'data')
  mkdirSync(join(directory, 'index'), { recursive: true })
  const index = openIndex(directory)
  const meta = index.openDB<number, Uint8Array>({ name: 'meta', ...raw })
  await meta.put(encodeKey('format'), 1)
  await index.openDB<unknown, Uint8Array>({ name: 'buckets', ...raw }).put(encodeKey('b'), { name: 'b', ...bucket })
  const message =
    /format 1, this program knows 3.*Read its objects out with the version that wrote it.*put them into a new store/
  for (let i = 0; i < 2; i++) await t.rejects(openFileStore(directory), { ...code('StoreFailed'), message })
  t.same([...index.getKeys()], ['buckets', 'meta'], 'no table was made')
  t.equal(meta.get(encodeKey('format')), 1)
  t.notOk(existsSync(join(directory, 'bodies')))
  await index.close()
})

t.test('stores are opened, closed and opened again; several at once in a process', async t => {
  const { store, directory, b } = await fresh(t)
  const second = await openFileStore(directory)
  await put(second, b, 'k', pattern(100))
  t.ok((await get(store, b, 'k'))?.equals(pattern(100)))
  await Promise.all([second.close(), second.close()])
  t.ok((await get(store, b, 'k'))?.equals(pattern(100)), 'the other one stays open')
  await store.close()
  const third = await openFileStore(directory, { sweepEvery: 5 })
  t.ok((await get(third, b, 'k'))?.equals(pattern(100)))
  writeFileSync(join(directory, 'bodies', '00', '00' + 'f'.repeat(30)), 'an orphan')
  t.ok(await filesBecome(directory, 0), 'it sweeps in the background')
  await third.close()
  await t.rejects(third.getObject(b.id, 'k'))
  await t.rejects(put(third, b, 'k', pattern(1)))

  writeFileSync(join(directory, 'file'), '')
  await t.rejects(openFileStore(join(directory, 'file')), code('StoreFailed'))
  await t.rejects(
    loadLmdb(() => Promise.reject(new Error('not found'))),
    { ...code('MissingPeer'), message: /npm install lmdb/ },
  )

  const errors: unknown[] = []
  const told = await openFileStore(directory, { sweepEvery: 5, onSweepError: error => errors.push(error) })
  rmSync(join(directory, 'bodies', '00'), { recursive: true })
  while (errors.length === 0) await sleep(5)
  t.match(errors[0], code('StoreFailed'))
  await told.close()
  const warning = once(process, 'warning')
  const silent = await openFileStore(directory, { sweepEvery: 5 })
  rmSync(join(directory, 'bodies', '00'), { recursive: true })
  t.match(await warning, [{ message: /sweep of the object store failed/ }])
  await silent.close()
})

t.test('a store is opened while another one of the process writes to the same index', async t => {
  const { store, directory, b } = await fresh(t)
  const stop = new AbortController()
  let puts = 0
  const writer = async (name: string): Promise<void> => {
    for (; !stop.signal.aborted; puts++) await put(store, b, name, pattern(10))
  }
  const writers = ['one', 'two', 'three'].map(writer)
  for (let i = 0; i < 20; i++) {
    const others = await Promise.all([1, 2].map(() => openFileStore(directory, { sweepEvery: 0 })))
    for (const other of others) {
      await put(other, b, 'k', pattern(10, i))
      t.ok((await get(store, b, 'k'))?.equals(pattern(10, i)))
      await other.close()
    }
  }
  stop.abort()
  await Promise.all(writers)
  t.ok(puts > 20, `${puts} objects were put meanwhile`)
})

t.test('an index and bodies that do not belong together are not opened, and nothing is deleted', async t => {
  const above = quickDirectory()
  t.teardown(() => rmSync(above, { recursive: true }))
  const directory = join(above, 'data')
  const [index, bodies, aside] = [join(directory, 'index'), join(directory, 'bodies'), join(above, 'aside')]
  const open = (options: FileStoreOptions = {}): Promise<ObjectStore> =>
    openFileStore(directory, { sweepEvery: 0, ...options })
  const refused = async (message: RegExp): Promise<void> => {
    await t.rejects(open(), { ...code('StoreFailed'), message })
  }
  const opens = async (): Promise<void> => {
    const store = await open()
    t.ok((await get(store, await bucketOf(store, 'b'), 'k'))?.equals(pattern(100_000)))
    t.match(await store.sweep(), { examined: 1, removed: 0 })
    await store.close()
  }
  const metaOf = async (change: (meta: ReturnType<RootDatabase['openDB']>) => void): Promise<void> => {
    const root = openIndex(directory)
    const meta = root.openDB({ name: 'meta', ...raw })
    root.transactionSync(() => change(meta))
    await root.close()
  }
  const first = await open()
  await first.createBucket('b', bucket)
  await first.close()
  const id = readFileSync(join(bodies, 'store-id'), 'latin1').trim()
  t.match(id, /^[0-9a-f]{32}$/)

  renameSync(index, aside)
  await refused(
    /^The index is new, but the bodies in .*bodies belong to store [0-9a-f]{32}\..*index.*sweepAll.*--sweep-all/,
  )
  await refused(/^The index is new/)
  rmSync(index, { recursive: true })
  renameSync(aside, index)
  const second = await open()
  await put(second, await bucketOf(second, 'b'), 'k', pattern(100_000))
  await second.close()
  const files = filesIn(directory)

  renameSync(bodies, aside)
  await refused(/^The index belongs to store [0-9a-f]{32}, but the bodies in .* have no store id\./)
  t.notOk(existsSync(bodies), 'nothing was made in their place')
  mkdirSync(bodies)
  writeFileSync(join(bodies, 'store-id'), `${'0'.repeat(32)}\n`)
  await refused(/^The index belongs to store [0-9a-f]{32}, but the bodies in .* belong to store 0{32}\./)
  rmSync(bodies, { recursive: true })
  renameSync(aside, bodies)
  await opens()

  await t.test('ids that are gone, of both', async t => {
    const id = readFileSync(join(bodies, 'store-id'))
    unlinkSync(join(bodies, 'store-id'))
    await metaOf(meta => meta.removeSync(encodeKey('store-id')))
    await refused(/^The index has no store id/)
    renameSync(bodies, aside)
    await refused(/^The index has no store id/)
    renameSync(aside, bodies)
    t.same(filesIn(directory), files)
    writeFileSync(join(bodies, 'store-id'), id)
    await metaOf(meta => meta.putSync(encodeKey('store-id'), id.toString().trim()))
    await opens()
  })

  await t.test('an opening that was killed, at each of its steps', async t => {
    const now = readFileSync(join(bodies, 'store-id'), 'latin1').trim()
    const back = (meta: ReturnType<RootDatabase['openDB']>): void => {
      meta.removeSync(encodeKey('store-id'))
      meta.putSync(encodeKey('new-store-id'), now)
    }
    await metaOf(back)
    await opens()
    t.equal(readFileSync(join(bodies, 'store-id'), 'latin1'), `${now}\n`, 'the file was there')
    await metaOf(back)
    writeFileSync(join(bodies, 'store-id.new'), 'ab')
    unlinkSync(join(bodies, 'store-id'))
    await opens()
    t.equal(readFileSync(join(bodies, 'store-id'), 'latin1'), `${now}\n`, 'it was not, and is made')
    await opens()
  })

  rmSync(index, { recursive: true })
  const anew = await open({ sweepAll: true })
  t.not(readFileSync(join(bodies, 'store-id'), 'latin1').trim(), id, 'another store: the old index does not open it')
  t.match(await anew.sweep(), { examined: 1, removed: 1 })
  await anew.close()
  await (await open()).close()
})

t.test('an object that disappears while it is opened', async t => {
  const { store, directory, b } = await fresh(t)
  const index = openIndex(directory)
  const objects = index.openDB<unknown, Uint8Array>({ name: 'objects', ...raw })
  for (const count of [2, mostHandles + 1]) {
    const id = String(count)
    await store.createUpload(b, id, upload(id))
    const attempts = Array.from({ length: count }, (_, i) => String(i))
    for (const attempt of attempts) await store.putPart(b, id, id, part(1, attempt), await bodyOf(store, pattern(9)))
    await store.completeUpload(b, id, id, { token: 't', attempts, record: record() })
    const opening = store.openObject(b.id, id)
    // The opening has seen the object, and at most one file is open.
    objects.removeSync(encodeKey(b.id, id))
    for (const file of filesIn(directory)) unlinkSync(join(directory, 'bodies', file.slice(0, 2), file))
    const opened = await opening
    t.ok([undefined, count * 9].includes(opened?.body.size), 'none, or one that was whole when it was looked at')
    await opened?.body.close()
  }
})

t.test('a file that is something else, and one that cannot be deleted', async t => {
  const { store, directory, b } = await fresh(t)
  const place = join(directory, 'bodies')
  const size = statSync(join(place, '00')).size
  await store.createUpload(b, 'k', upload('u'))
  await store.putPart(b, 'k', 'u', part(1, 'a'), await bodyOf(store, pattern(size)))
  const [id = ''] = filesIn(directory)
  const path = join(place, id.slice(0, 2), id)
  unlinkSync(path)
  mkdirSync(path)
  await t.rejects(store.peekParts(b.id, 'k', 'u', ['a'], 5), code('StoreFailed'))
  await store.completeUpload(b, 'k', 'u', { token: 't', attempts: ['a'], record: record() })
  await t.rejects(store.openObject(b.id, 'k'), code('StoreFailed'))
  t.equal(await store.deleteObject(b, 'k'), true)
  await t.rejects(store.sweep(), code('StoreFailed'))
  for (const shelf of readdirSync(place)) rmSync(join(place, shelf), { recursive: true })
  const body = await store.createBody()
  await t.rejects(pipeline(Readable.from([pattern(100_000)]), body.writable), {
    ...code('StoreFailed'),
    cause: { code: 'ENOENT' },
  })
})

t.test(
  'a full disk leaves everything old whole',
  { skip: existsSync('/dev/full') ? false : 'no /dev/full' },
  async t => {
    t.capture(console, 'error')
    const { store, directory, b } = await fresh(t)
    const old = pattern(100_000)
    await put(store, b, 'k', old)
    await put(store, b, 's', pattern(100))
    const whole = await bodyOf(store, pattern(80_000))
    fillUp(join(directory, 'index', 'data.mdb'), false)
    const full = { ...code('StoreFull'), cause: { code: 28 } }
    await t.rejects(store.putObject(b, 'k', record(), whole), full)
    t.equal(filesIn(directory).length, 1, 'the new body has made room')
    await t.rejects(store.putObject(b, 's', record(), await bodyOf(store, pattern(10))), full)
    await t.rejects(bodyOf(store, pattern(80_000)), full)
    await t.rejects(bodyOf(store, pattern(80_000), { expectedSize: 80_000 }), full)
    await t.rejects(store.deleteObject(b, 'k'), full)
    t.ok((await get(store, b, 'k'))?.equals(old))
    t.ok((await get(store, b, 's'))?.equals(pattern(100)))
    t.equal((await store.listObjects(b.id, { limit: 9 })).entries.length, 2)
  },
)

t.test(
  'an index that fails while it commits is left alone until the process starts anew',
  { skip: existsSync('/dev/full') ? false : 'no /dev/full' },
  async t => {
    t.capture(console, 'error')
    const told: SseError[] = []
    const { store, directory, b } = await fresh(t, { onBroken: error => told.push(error) })
    const old = pattern(100_000)
    await put(store, b, 'k', old)
    const bodies = [await bodyOf(store, pattern(80_000)), await bodyOf(store, pattern(80_000))]
    fillUp(join(directory, 'index', 'data.mdb'), true)
    const failures = await Promise.allSettled([
      ...bodies.map(body => store.putObject(b, 'k', record(), body)),
      sleep(0).then(() => store.deleteObject(b, 'k')),
      sleep(1).then(() => store.deleteObject(b, 'k')),
    ])
    for (const failure of failures) t.match(failure, { status: 'rejected', reason: code('StoreFull') })
    await t.rejects(store.deleteObject(b, 'k'), code('StoreFull'))
    t.match(told, [{ ...code('StoreFull') }], 'it is told once')
    await t.rejects(store.getObject(b.id, 'k'), code('StoreFailed'))
    t.equal(filesIn(directory).length, 3, 'nobody knows which body is the one')
    await store.close()
  },
)

t.test('a process that is stopped while it writes holds up the others for a bounded time', async t => {
  const { store, directory, b } = await fresh(t, { deadline: 300 })
  await put(store, b, 'k', pattern(10))
  const child = spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, compileChild(t.testdir({})), 'stop', directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  const changes = await Promise.allSettled([
    put(store, b, 'k', pattern(20)),
    put(store, b, 'new', pattern(100_000)),
    store.deleteObject(b, 'k'),
  ])
  for (const change of changes) t.match(change, { status: 'rejected', reason: code('StoreBusy') })
  t.equal((await get(store, b, 'k'))?.length, 10, 'reads go on')
  child.kill('SIGCONT')
  await once(child.stdout, 'data')
  await put(store, b, 'later', pattern(10))
  t.equal((await get(store, b, 'k'))?.length, 10, 'what was refused does not happen later')
  t.equal(await get(store, b, 'new'), undefined)
  t.same(filesIn(directory), [])
})
