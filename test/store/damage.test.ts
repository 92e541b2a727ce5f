import {
  closeSync,
  cpSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { open as openLmdb } from 'lmdb'
import t, { type Test } from 'tap'
import { encodeKey } from '../../lib/store/file/keys.ts'
import { openFileStore } from '../../lib/store/file/store.ts'
import type { Bucket } from '../../lib/store/records.ts'
import type { ObjectStore } from '../../lib/store/store.ts'
import { bodyOf, filesIn, get, part, pattern, put, quickDirectory, record, upload } from '../support/store.ts'

const failed = { code: 'StoreFailed' }

const fresh = async (t: Test): Promise<{ store: ObjectStore; directory: string; above: string; b: Bucket }> => {
  const above = quickDirectory()
  const directory = join(above, 'data')
  const store = await openFileStore(directory, { sweepEvery: 0 })
  t.teardown(async () => {
    await store.close()
    rmSync(above, { recursive: true })
  })
  return { store, directory, above, b: await store.createBucket('b', { owner: 'o', region: 'r', created: 1 }) }
}

const raw = { keyEncoding: 'binary' as const, encoder: { useRecords: false } }

const table = (directory: string, name: string) => {
  const index = openLmdb({ path: join(directory, 'index'), overlappingSync: false, maxDbs: 24 })
  const rows = index.openDB<Record<string, unknown>, Uint8Array>({ name, ...raw })
  return { rows, close: () => index.close() }
}

t.test('ids of bodies in the index that lead out of the folder are refused', async t => {
  const { store, directory, above, b } = await fresh(t)
  const secret = join(above, 'secret')
  writeFileSync(secret, pattern(100_000))
  const outside = '../../../secret'
  const change = async (name: string, how: (value: Record<string, unknown>) => unknown): Promise<void> => {
    const { rows, close } = table(directory, name)
    for (const { key, value } of [...rows.getRange({})]) rows.putSync(key, JSON.parse(JSON.stringify(how(value))))
    await close()
  }
  const still = (): void => {
    t.equal(statSync(secret).size, 100_000, 'nothing outside was touched')
  }

  await put(store, b, 'k', pattern(100_000))
  await change('contents', row => ({ ...row, body: { form: 'file', id: outside, size: 100_000 } }))
  await t.rejects(store.openObject(b.id, 'k'), { ...failed, message: /names a body file by what is no id/ })
  await t.rejects(store.deleteObject(b, 'k'), failed)
  still()

  await store.createUpload(b, 'm', upload('u'))
  await store.putPart(b, 'm', 'u', part(1, '1'), await bodyOf(store, pattern(9)))
  await store.putPart(b, 'm', 'u', part(2, '2'), await bodyOf(store, pattern(9)))
  await change('parts', row => ({ ...row, file: outside }))
  await t.rejects(store.peekParts(b.id, 'm', 'u', ['1'], 9), failed)
  await t.rejects(store.abortUpload(b, 'm', 'u'), failed)
  still()

  await store.createUpload(b, 'n', upload('v'))
  for (const name of ['1', '2']) await store.putPart(b, 'n', 'v', part(1, name), await bodyOf(store, pattern(9)))
  await store.completeUpload(b, 'n', 'v', { token: 't', attempts: ['1', '2'], record: record() })
  await change('manifests', () => [{ id: outside, size: 9 }])
  await t.rejects(store.openObject(b.id, 'n'), failed)
  await t.rejects(store.deleteObject(b, 'n'), failed)
  still()

  const { rows, close } = table(directory, 'pending')
  await rows.put(encodeKey(outside), { process: { boot: 'x', space: '', pid: 1, start: '' }, since: 0 })
  await close()
  await t.rejects(store.sweep(), failed)
  still()
})

t.test('a body file that is a symbolic link, a pipe or a folder is not read', async t => {
  const { store, directory, above, b } = await fresh(t)
  const secret = join(above, 'secret')
  const bytes = pattern(100_000)
  writeFileSync(secret, bytes)
  await put(store, b, 'k', bytes)
  const [id = ''] = filesIn(directory)
  const path = join(directory, 'bodies', id.slice(0, 2), id)
  for (const make of [() => symlinkSync(secret, path), () => execFileSync('mkfifo', [path]), () => mkdirSync(path)]) {
    rmSync(path, { recursive: true })
    make()
    await t.rejects(get(store, b, 'k'), failed)
  }
  rmSync(path, { recursive: true })
  symlinkSync(secret, path)
  await store.deleteObject(b, 'k')
  await store.close()
  t.ok(readFileSync(secret).equals(bytes))

  const shelf = join(directory, 'bodies', 'ab')
  rmSync(shelf, { recursive: true })
  symlinkSync(above, shelf)
  await t.rejects(openFileStore(directory), { ...failed, cause: { message: /ab is not a folder/ } })
})

t.test('the id beside the bodies is neither read nor written through a symbolic link', async t => {
  const { store, directory, above } = await fresh(t)
  await store.close()
  const path = join(directory, 'bodies', 'store-id')
  const aside = join(above, 'aside')
  renameSync(path, aside)
  symlinkSync(aside, path)
  await t.rejects(openFileStore(directory), failed)
  rmSync(join(directory, 'index'), { recursive: true })
  unlinkSync(path)
  const precious = join(above, 'precious')
  writeFileSync(precious, 'precious')
  symlinkSync(precious, `${path}.new`)
  await (await openFileStore(directory, { sweepEvery: 0 })).close()
  t.equal(readFileSync(precious, 'utf8'), 'precious')
})

t.test('an index that was cut or whose first pages are damaged is refused, and left as it is', async t => {
  const { store, directory, b } = await fresh(t)
  for (let i = 0; i < 50; i++) await put(store, b, `k${i}`, pattern(20_000, i))
  await store.close()
  const index = join(directory, 'index')
  const kept = join(directory, 'kept')
  const data = join(index, 'data.mdb')
  cpSync(index, kept, { recursive: true })
  const { size } = statSync(data)
  const overwrite = (at: number, bytes: Uint8Array): void => {
    const file = openSync(data, 'r+')
    writeSync(file, bytes, 0, bytes.length, at)
    closeSync(file)
  }
  const ones = Buffer.alloc(8, 255)
  const damages: Readonly<Record<string, () => void>> = {
    'cut to half': () => truncateSync(data, size / 2),
    'cut by its last page': () => truncateSync(data, size - 4096),
    'cut to one page': () => truncateSync(data, 4096),
    'cut to some bytes': () => truncateSync(data, 100),
    'first page zeros': () => overwrite(0, Buffer.alloc(4096)),
    'second page zeros': () => overwrite(4096, Buffer.alloc(4096)),
    'both pages noise': () => overwrite(0, pattern(8192)),
    'another version': () => overwrite(4096 + 28, Buffer.from([9])),
    'another page size': () => [0, 4096].forEach(page => overwrite(page + 48, Buffer.from([0, 0, 1, 0]))),
    'a root that cannot be': () => [0, 4096].forEach(page => overwrite(page + 136, Buffer.from([255, 255, 255, 15]))),
    'a last page that cannot be': () => [0, 4096].forEach(page => overwrite(page + 144, ones)),
    'a root of zeros': () => {
      const meta = readFileSync(data)
      for (const page of [0, 4096]) {
        overwrite(Number(meta.readBigUInt64LE(page + 136)) * 4096, Buffer.alloc(4096))
      }
    },
    'a symbolic link': () => {
      renameSync(data, join(directory, 'elsewhere'))
      symlinkSync(join(directory, 'elsewhere'), data)
    },
    'a folder': () => {
      rmSync(data)
      mkdirSync(data)
    },
  }
  for (const [name, damage] of Object.entries(damages)) {
    rmSync(index, { recursive: true })
    cpSync(kept, index, { recursive: true })
    damage()
    await t.rejects(openFileStore(directory), failed, name)
  }
  truncateSync(join(kept, 'data.mdb'), size / 2)
  rmSync(index, { recursive: true })
  cpSync(kept, index, { recursive: true })
  await t.rejects(openFileStore(directory), { message: /damaged: .*Restore the store from a backup/ })
  t.equal(statSync(data).size, size / 2, 'left as it is')
})

t.test('an index that is shorter than its last page is opened where nothing refers to what is missing', async t => {
  const { store, directory, b } = await fresh(t)
  for (let i = 0; i < 20; i++) await put(store, b, `k${i}`, pattern(20_000, i))
  await store.close()
  const data = join(directory, 'index', 'data.mdb')
  const bytes = readFileSync(data)
  for (const page of [0, 4096]) bytes.writeBigUInt64LE(bytes.readBigUInt64LE(page + 144) + 5n, page + 144)
  writeFileSync(data, bytes)
  const again = await openFileStore(directory, { sweepEvery: 0 })
  t.ok((await get(again, b, 'k7'))?.equals(pattern(20_000, 7)))
  await put(again, b, 'more', pattern(20_000))
  await again.close()
})
