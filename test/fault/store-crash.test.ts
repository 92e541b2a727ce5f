import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { open as openLmdb } from 'lmdb'
import t from 'tap'
import { openFileStore } from '../../lib/store/file/store.ts'
import { decodeKey } from '../../lib/store/file/keys.ts'
import type { ObjectStore } from '../../lib/store/store.ts'
import type { Bucket } from '../../lib/store/records.ts'
import { compileChild } from '../support/compile.ts'
import {
  bodyOf,
  filesBecome,
  filesIn,
  get,
  part,
  pattern,
  put,
  quickDirectory,
  record,
  upload,
} from '../support/store.ts'

const program = compileChild(t.testdir({}))
// Without what tap puts into NODE_OPTIONS: it would handle SIGXFSZ, which Node ignores.
const plain = ['-u', 'NODE_OPTIONS', process.execPath, program]
const bucket = { owner: 'domain', region: 'sichuan', created: 1 }

const random = (most: number): number => 1 + Math.floor(Math.random() * most)

/** What a child said of a key: what it has become for certain, and what it was about to become. */
interface Said {
  readonly sequence: number
  readonly size: number
}

const nothing: Said = { sequence: 0, size: -1 }

class Watched {
  readonly process: ChildProcess
  readonly done = new Map<string, Said>()
  readonly begun = new Map<string, Said>()
  counted = 0
  /** It has said enough. */
  readonly ready: Promise<void>
  #lines = 0
  readonly ended: Promise<void>

  constructor(directory: string, name: string, seed: number, enough: number) {
    const child = spawn('env', [...plain, 'change', directory, name, String(seed)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.process = child
    let ready = (): void => {}
    this.ready = new Promise(resolve => {
      ready = resolve
    })
    const lines = createInterface(child.stdout)
    this.ended = once(lines, 'close').then(() => {})
    lines.on('line', line => {
      const [word, key = '', sequence, size] = line.split(' ')
      if (++this.#lines === enough) ready()
      if (word === 'counted') this.counted++
      if (word === 'begin') this.begun.set(key, { sequence: Number(sequence), size: Number(size) })
      const said = this.begun.get(key)
      if (word === 'done' && said !== undefined) this.done.set(key, said)
    })
  }

  async kill(): Promise<void> {
    const exit = once(this.process, 'exit')
    this.process.kill('SIGKILL')
    await exit
    await this.ended
  }
}

const isThere = async (store: ObjectStore, b: Bucket, key: string, { sequence, size }: Said): Promise<boolean> => {
  const record = await store.getObject(b.id, key)
  if (size < 0 || record === undefined) return size < 0 && record === undefined
  if (record.notes.tags?.[0]?.[1] !== String(sequence)) return false
  const bytes = await get(store, b, key)
  return record.size === size && bytes?.equals(pattern(size, sequence)) === true
}

interface Place {
  readonly form: string
  readonly id: string
}

/** The files that the index refers to, as it says itself, from its records on. */
const referredTo = async (directory: string): Promise<readonly string[]> => {
  const index = openLmdb({ path: join(directory, 'index'), overlappingSync: false, maxDbs: 24 })
  const table = <T>(name: string): readonly { readonly key: Uint8Array; readonly value: T }[] => {
    const raw = { name, keyEncoding: 'binary' as const, encoder: { useRecords: false } }
    return [...index.openDB<T, Uint8Array>(raw).getRange({})].map(({ key, value }) => ({ key, value }))
  }
  const manifests = new Map(
    table<readonly Place[]>('manifests').map(({ key, value }) => [decodeKey(key)[0] ?? '', value]),
  )
  const bodies = new Map(table<{ body: Place }>('contents').map(({ value: { body } }) => [body.id, body]))
  const uploads = new Set(table<{ serial: string }>('uploads').map(({ value }) => value.serial))
  const parts = table<{ file: string }>('parts').filter(({ key }) =>
    uploads.has(decodeKey(key.subarray(0, 33))[0] ?? ''),
  )
  const ids = [...bodies.values()].flatMap(({ form, id }) => {
    if (form === 'files') return (manifests.get(id) ?? []).map(file => file.id)
    return form === 'file' ? [id] : []
  })
  const files = table('files').map(({ key }) => decodeKey(key)[0] ?? '')
  const held = [...table('pending'), ...table('garbage')].map(({ value }) => JSON.stringify(value))
  await index.close()
  const referred = [...ids, ...parts.map(({ value }) => value.file)].toSorted()
  const lost = referred.filter(id => !files.includes(id)).map(id => `${id} is not among the files`)
  const kept = files.filter(id => !referred.includes(id)).map(id => `${id} is referred to by nothing`)
  return [...held, ...lost, ...kept, ...referred]
}

t.test(
  'processes killed at any moment: nothing acknowledged is lost, nothing half is there, nothing is left',
  async t => {
    const above = mkdtempSync(join(tmpdir(), 'sse-kms-crash-'))
    t.teardown(() => rmSync(above, { recursive: true }))
    const directory = join(above, 'data')
    const store = await openFileStore(directory, { sweepEvery: 0, grace: 0 })
    const b = await store.createBucket('b', bucket)
    let counted = 0
    let changes = 0
    const known = new Map<string, Said>()
    // Which of two things a key has become; nothing else is allowed.
    const settle = async (key: string, last: Said, next: Said): Promise<void> => {
      if (await isThere(store, b, key, next)) known.set(key, next)
      else if (await isThere(store, b, key, last)) known.set(key, last)
      else t.fail(`${key} is neither ${JSON.stringify(last)} nor ${JSON.stringify(next)}`)
    }
    const rounds = Number(process.env['SSE_KMS_CRASH_ROUNDS'] ?? 6)
    for (let round = 0; round < rounds; round++) {
      const children = ['one', 'two'].map(name => new Watched(directory, name, round * 10_000, random(40)))
      await Promise.all(children.map(child => child.ready))
      await sleep(random(50))
      await children[0]?.kill()
      await sleep(random(50))
      await children[1]?.kill()
      const settleAll = async (): Promise<void> => {
        for (const { done, begun } of children) {
          for (const [key, next] of begun) await settle(key, done.get(key) ?? known.get(key) ?? nothing, next)
        }
      }
      await settleAll()
      await store.sweep()
      await settleAll()
      t.same(filesIn(directory), await referredTo(directory), 'the files are those that are referred to')
      for (const child of children) {
        counted += child.counted
        for (const { sequence } of child.begun.values()) changes += sequence - round * 10_000 + 1
      }
      const count = Number((await store.getObject(b.id, 'counter'))?.notes.parts ?? 0)
      t.ok(count >= counted && count <= counted + children.length, `${count} counted, ${counted} acknowledged`)
      counted = count
    }
    t.comment(`${changes} changes in ${rounds} rounds`)
    t.ok(changes > rounds, 'the children did work')
    await store.close()
  },
)

const filled = (line: string): Record<string, string> =>
  Object.fromEntries(
    line
      .trim()
      .split('\n')
      .map(words => words.split(' ')),
  )

t.test('a limit of the size of files, as on a full disk: everything old stays whole', async t => {
  const above = quickDirectory()
  t.teardown(() => rmSync(above, { recursive: true }))
  const limit = ['-c', 'ulimit -f 20000 && exec "$@"', 'sh']
  const directory = join(above, 'data')
  const store = await openFileStore(directory, { sweepEvery: 0, grace: 0 })
  const b = await store.createBucket('b', bucket)
  const { stdout, stderr } = spawnSync('sh', [...limit, 'env', ...plain, 'fill', directory, '60000'], {
    timeout: 60_000,
    encoding: 'utf8',
  })
  t.match(filled(stdout), { full: 'StoreFailed', huge: 'StoreFailed', old: 'true' }, stdout + stderr)
  t.ok((await get(store, b, 'old'))?.equals(pattern(300_000)))
  await store.sweep()
  await store.close()
  t.same(filesIn(directory), await referredTo(directory))
})

const mounted = (path: string): boolean => {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', path], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

t.test('a disk that runs full', async t => {
  for (const size of [60_000, 3_000_000]) {
    const above = quickDirectory()
    const disk = join(above, 'disk')
    mkdirSync(disk)
    if (!mounted(disk)) {
      t.comment('a tmpfs cannot be mounted here')
      rmSync(above, { recursive: true })
      continue
    }
    try {
      const directory = join(disk, 'data')
      const first = await openFileStore(directory, { sweepEvery: 0, grace: 0 })
      const b = await first.createBucket('b', bucket)
      await first.close()
      const { stdout, stderr } = spawnSync('env', [...plain, 'fill', directory, String(size)], {
        timeout: 60_000,
        encoding: 'utf8',
      })
      t.match(filled(stdout), { full: 'StoreFull', huge: 'StoreFull', old: 'true' }, stdout + stderr)
      const store = await openFileStore(directory, { sweepEvery: 0, grace: 0 })
      t.ok((await get(store, b, 'old'))?.equals(pattern(300_000)))
      await store.sweep()
      await store.close()
      t.same(filesIn(directory), await referredTo(directory))
    } finally {
      execFileSync('umount', [disk])
      rmSync(above, { recursive: true })
    }
  }
})

t.test('a disk with no more than its reserve: what adds is refused, what takes away is not, and it opens', async t => {
  const above = quickDirectory()
  const disk = join(above, 'disk')
  mkdirSync(disk)
  if (!mounted(disk)) {
    t.comment('a tmpfs cannot be mounted here')
    rmSync(above, { recursive: true })
    return
  }
  try {
    const directory = join(disk, 'data')
    const open = (): Promise<ObjectStore> => openFileStore(directory, { sweepEvery: 0, grace: 0 })
    const first = await open()
    const b = await first.createBucket('b', bucket)
    const empty = await first.createBucket('empty', bucket)
    await first.claim('known', 'stands')
    const revision = await put(first, b, 'key', pattern(100_000))
    for (const id of ['one', 'other']) {
      await first.createUpload(b, id, upload(id))
      await first.putPart(b, id, id, part(1, 'a'), await bodyOf(first, pattern(100_000)))
    }
    const ready = await bodyOf(first, pattern(10))
    const filler = join(disk, 'filler')
    writeFileSync(filler, pattern(statfsSync(disk).bavail * statfsSync(disk).bsize - 7_000_000))

    const full = { code: 'StoreFull' }
    const from = { bucketId: b.id, key: 'key', revision }
    await t.rejects(first.createBucket('c', bucket), full)
    await t.rejects(first.updateBucket(b, { settings: { acl: 'private' } }), full)
    await t.rejects(first.claim('new', 'value'), full)
    t.equal(await first.claim('known', 'another'), 'stands', 'what stands is told')
    await t.rejects(bodyOf(first, pattern(10)), full)
    await t.rejects(first.putObject(b, 'key', record(), ready), full)
    await t.rejects(first.updateNotes(b, 'key', { notes: { acl: 'private' } }), full)
    await t.rejects(first.copyObject(from, b, 'copy', record()), full)
    await t.rejects(first.createUpload(b, 'third', upload('third')), full)
    await t.rejects(first.completeUpload(b, 'one', 'one', { token: 't', attempts: ['a'], record: record() }), full)
    t.equal((await first.getObject(b.id, 'key'))?.revision, revision, 'nothing has changed')
    t.same(await first.getBucket('b'), b)
    await first.close()

    const store = await open()
    await store.sweep()
    await store.abortUpload(b, 'one', 'one')
    t.equal(await store.deleteObject(b, 'key'), true)
    await store.deleteBucket(empty)
    await store.deleteBucket(b, { dropUploads: true })
    t.same(await store.listBuckets(), [])
    t.ok(await filesBecome(directory, 0))
    rmSync(filler)
    t.ok(await store.createBucket('c', bucket))
    await store.close()
  } finally {
    execFileSync('umount', ['-l', disk]) // a store that is open does not keep it
    rmSync(above, { recursive: true })
  }
})
