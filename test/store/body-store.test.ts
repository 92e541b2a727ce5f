import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import * as fc from 'fast-check'
import t, { type Test } from 'tap'
import { SseError } from '../../lib/errors.ts'
import type { BodySink, BodyStore, StoredBody } from '../../lib/store/body-store.ts'
import { mostHandles } from '../../lib/store/body-reader.ts'
import { inlineLimit } from '../../lib/store/body-draft.ts'
import { openBodyFiles } from '../../lib/store/file/disk.ts'
import { openFileStore } from '../../lib/store/file/store.ts'
import type { Bucket } from '../../lib/store/records.ts'
import type { ObjectStore } from '../../lib/store/store.ts'
import { holdToContract, opened, readRange, writeBody } from '../support/body-stores.ts'
import { memoryBodies } from '../support/memory-bodies.ts'
import { bodyOf, filesIn, get, part, pattern, put, quickDirectory, record, upload } from '../support/store.ts'

const code = (name: string): { code: string } => ({ code: name })

interface Bodies {
  readonly bodies: BodyStore
  /** The ids of what it holds. */
  readonly ids: () => readonly string[]
}

/** The body stores that the embedded store is held to, made in a directory. */
const kinds: Readonly<Record<string, (directory: string) => Promise<Bodies>>> = {
  files: async directory => {
    const bodies = await openBodyFiles(join(directory, 'bodies'))
    return { bodies, ids: () => filesIn(directory) }
  },
  memory: async () => {
    const { store, bodies } = memoryBodies()
    return { bodies: store, ids: () => [...bodies.keys()].toSorted() }
  },
  'remote memory': async () => {
    const { store, bodies } = memoryBodies(true)
    return { bodies: store, ids: () => [...bodies.keys()].toSorted() }
  },
}

const become = async (ids: () => readonly string[], count: number): Promise<boolean> => {
  for (let i = 0; i < 500; i++) {
    if (ids().length === count) return true
    await sleep(10)
  }
  return false
}

const directoryOf = (t: Test): string => {
  const above = quickDirectory()
  t.teardown(() => rmSync(above, { recursive: true }))
  return join(above, 'data')
}

const storeOver = async (
  t: Test,
  bodies: BodyStore,
  directory = directoryOf(t),
): Promise<readonly [ObjectStore, Bucket]> => {
  const store = await openFileStore(directory, { sweepEvery: 0, grace: 0, bodies })
  t.teardown(() => store.close())
  return [store, await store.createBucket('b', { owner: 'domain', region: 'sichuan', created: 1 })]
}

for (const [kind, make] of Object.entries(kinds)) {
  const fresh = async (t: Test): Promise<Bodies & { readonly store: ObjectStore; readonly b: Bucket }> => {
    const directory = directoryOf(t)
    mkdirSync(directory)
    const made = await make(directory)
    const [store, b] = await storeOver(t, made.bodies, directory)
    return { ...made, store, b }
  }

  t.test(`${kind}: an id is used once, and an open body stays readable`, async t => {
    const directory = directoryOf(t)
    mkdirSync(directory)
    const { bodies, ids } = await make(directory)
    if (!bodies.remote)
      await t.test('the cases of every body store', t => holdToContract(t, { bodies, large: 1_000_000 }))
    const [one, two] = ['f'.repeat(32), 'e'.repeat(32)]
    const bytes = pattern(300_000)
    await writeBody(bodies, one, bytes)
    await t.rejects(bodies.create(one))
    const other = await bodies.create(two)
    await other.write([bytes])
    t.same(ids(), [two, one], 'one that is being written is there too')
    await other.discard()
    t.same(ids(), [one])
    const body = await opened(bodies, one, bytes.length)
    t.equal(await bodies.delete(one), true)
    t.equal(await bodies.delete(one), false)
    t.same(ids(), [])
    t.ok((await readRange(body, 0, bytes.length)).equals(bytes))
    await body.close()
  })

  t.test(`${kind}: bodies and parts of the embedded store lie in it`, async t => {
    const { bodies, store, ids, b } = await fresh(t)
    await put(store, b, 'small', pattern(100))
    t.same(ids(), [], 'a small body lies in the index')
    await put(store, b, 'k', pattern(200_000))
    t.equal(ids().length, 1)
    const unfinished = await store.createBody()
    await new Promise(resolve => unfinished.writable.write(pattern(100_000), resolve))
    t.equal(ids().length, 2)
    t.match(await store.sweep(), { examined: 2, removed: 0 })
    await unfinished.discard()

    const count = mostHandles + 1
    await store.createUpload(b, 'many', upload('u'))
    const pieces = Array.from({ length: count }, (_, i) => pattern(1000, i))
    for (const [i, bytes] of pieces.entries())
      await store.putPart(b, 'many', 'u', part(1, String(i)), await bodyOf(store, bytes))
    t.same(await store.peekParts(b.id, 'many', 'u', ['7'], 24), [{ size: 1000, head: pieces[7]?.subarray(0, 24) }])
    const attempts = pieces.map((_, i) => String(i))
    await store.completeUpload(b, 'many', 'u', { token: 't', attempts, record: record() })
    const opened = await store.openObject(b.id, 'many')
    t.match(await store.sweep(), { examined: count + 1, removed: 0 })
    const whole = Buffer.concat(pieces)
    t.equal(opened?.body.size, whole.length)
    const read = await buffer(opened?.body.read({ start: 500, end: 60_000 }) ?? Readable.from([]))
    t.ok(read.equals(whole.subarray(500, 60_001)))
    await opened?.body.close()
    await store.deleteObject(b, 'many')
    t.ok(await become(ids, 1), 'the files go with the object')

    const orphan = await bodies.create('f'.repeat(32))
    await orphan.finish()
    t.match(await store.sweep(), { examined: 2, removed: 1 })
    t.ok((await get(store, b, 'k'))?.equals(pattern(200_000)))
    const [id = ''] = ids()
    await bodies.delete(id)
    await t.rejects(store.openObject(b.id, 'k'), { ...code('StoreFailed'), message: /missing a piece/ })
  })

  t.test(`${kind}: whatever is put, copied, completed and deleted, what is kept is what is referred to`, async t => {
    const { store, ids, b } = await fresh(t)
    const keys = ['a', 'b', 'c']
    const key = fc.constantFrom(...keys)
    const size = fc.constantFrom(0, 10, inlineLimit, inlineLimit + 1, 150_000)
    const step = fc.oneof(
      fc.record({ what: fc.constant('put' as const), key, size }),
      fc.record({ what: fc.constant('copy' as const), from: key, key }),
      fc.record({ what: fc.constant('delete' as const), key }),
      fc.record({
        what: fc.constant('complete' as const),
        key,
        sizes: fc.array(size, { maxLength: 4 }),
        drop: fc.nat(4),
      }),
      fc.record({ what: fc.constant('abort' as const), key, size }),
      fc.record({ what: fc.constant('refuse' as const), key, size }),
    )
    let seed = 0
    let id = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async steps => {
        const model = new Map<string, { bytes: Buffer; files: number; body: number }>()
        for (const key of keys) await store.deleteObject(b, key)
        for (const s of steps) {
          const bytes = (n: number): Buffer => pattern(n, seed++)
          if (s.what === 'put') {
            const content = bytes(s.size)
            await put(store, b, s.key, content)
            model.set(s.key, { bytes: content, files: s.size > inlineLimit ? 1 : 0, body: seed })
          } else if (s.what === 'copy') {
            const revision = (await store.getObject(b.id, s.from))?.revision ?? ''
            const copying = store.copyObject({ bucketId: b.id, key: s.from, revision }, b, s.key, record())
            const source = model.get(s.from)
            if (source === undefined) await t.rejects(copying, code('NoSuchKey'))
            else {
              await copying
              model.set(s.key, source)
            }
          } else if (s.what === 'delete') {
            if ((await store.deleteObject(b, s.key)) !== model.delete(s.key)) throw new Error('delete')
          } else if (s.what === 'refuse') {
            const condition = { revision: '0'.repeat(32) }
            const refusing = store.putObject(b, s.key, record(), await bodyOf(store, bytes(s.size)), condition)
            await t.rejects(refusing, code('PreconditionFailed'))
          } else {
            const name = `u${id++}`
            await store.createUpload(b, s.key, upload(name))
            const contents = s.what === 'abort' ? [bytes(s.size)] : s.sizes.map(bytes)
            await Promise.all(
              contents.map(async (content, i) =>
                store.putPart(b, s.key, name, part(i, String(i)), await bodyOf(store, content)),
              ),
            )
            if (s.what === 'abort') await store.abortUpload(b, s.key, name)
            else {
              const attempts = contents.map((_, i) => String(i)).filter((_, i) => i !== s.drop)
              await store.completeUpload(b, s.key, name, { token: name, attempts, record: record() })
              model.set(s.key, {
                bytes: Buffer.concat(contents.filter((_, i) => i !== s.drop)),
                files: attempts.length,
                body: ++seed,
              })
            }
          }
        }
        for (const key of keys) {
          const found = await get(store, b, key)
          if (!(found === undefined ? !model.has(key) : model.get(key)?.bytes.equals(found)))
            throw new Error(`${key} differs`)
        }
        const bodies = new Map([...model.values()].map(({ body, files }) => [body, files]))
        const files = [...bodies.values()].reduce((sum, n) => sum + n, 0)
        if (!(await become(ids, files))) throw new Error(`${ids().length} files, not ${files}`)
        const { examined, removed, abandoned } = await store.sweep()
        if (examined !== files || removed !== 0 || abandoned !== 0) throw new Error('the sweep found something')
      }),
      { numRuns: 15 },
    )
  })
}

t.test('whatever a body store rejects with is StoreFailed, and what was there is whole', async t => {
  const failing = new Set<string>()
  const { store: inner, bodies } = memoryBodies()
  const attempt = (name: string): void => {
    if (failing.has(name)) throw new Error(`no ${name}`)
  }
  const failingSink = (sink: BodySink): BodySink => ({
    write: async pieces => {
      attempt('write')
      await sink.write(pieces)
    },
    finish: async () => {
      attempt('finish')
      await sink.finish()
    },
    discard: async () => {
      attempt('discard')
      await sink.discard()
    },
  })
  const failingBody = (body: StoredBody): StoredBody => ({
    size: body.size,
    read: async function* (range) {
      attempt('read')
      yield* body.read(range)
    },
    close: async () => {
      attempt('close')
      await body.close()
    },
  })
  const outer: BodyStore = {
    ...inner,
    create: async id => {
      attempt('create')
      return failingSink(await inner.create(id))
    },
    open: async (id, size) => {
      attempt('open')
      const body = await inner.open(id, size)
      return body && failingBody(body)
    },
    sizeOf: async id => {
      attempt('sizeOf')
      return inner.sizeOf(id)
    },
    delete: async id => {
      attempt('delete')
      return inner.delete(id)
    },
    list: async function* () {
      attempt('list')
      yield* inner.list()
    },
  }
  const [store, b] = await storeOver(t, outer)
  const bytes = pattern(100_000)
  await put(store, b, 'k', bytes)
  await store.createUpload(b, 'k', upload('u'))
  await store.putPart(b, 'k', 'u', part(1, 'a'), await bodyOf(store, bytes))
  const whileFailing = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    failing.add(name)
    await t.rejects(work(), { ...code('StoreFailed'), cause: { message: `no ${name}` } }, name)
    failing.delete(name)
  }
  for (const name of ['create', 'write', 'finish']) {
    await whileFailing(name, async () => {
      const body = await store.createBody()
      await pipeline(Readable.from([pattern(100_000, 1)]), body.writable)
    })
    await whileFailing(name, async () => store.putPart(b, 'k', 'u', part(2, 'b'), await bodyOf(store, pattern(10))))
  }
  t.equal(bodies.size, 2, 'what was begun is gone')
  await whileFailing('open', () => store.openObject(b.id, 'k'))
  await whileFailing('open', () => store.peekParts(b.id, 'k', 'u', ['a'], 5))
  await whileFailing('read', () => get(store, b, 'k'))
  await whileFailing('close', () => get(store, b, 'k'))
  await whileFailing('list', () => store.sweep())
  const body = await bodyOf(store, bytes)
  failing.add('discard')
  await body.discard()
  failing.delete('discard')
  t.equal(bodies.size, 3)
  await whileFailing('delete', () => store.sweep())
  await store.sweep()
  t.equal(bodies.size, 2, 'the sweep takes what could not be discarded')
  failing.add('delete')
  await store.deleteObject(b, 'k')
  await store.createUpload(b, 'many', upload('m'))
  const attempts = Array.from({ length: mostHandles + 1 }, (_, i) => String(i))
  for (const name of attempts) await store.putPart(b, 'many', 'm', part(1, name), await bodyOf(store, pattern(9)))
  await store.completeUpload(b, 'many', 'm', { token: 't', attempts, record: record() })
  await whileFailing('sizeOf', () => store.openObject(b.id, 'many'))
  failing.clear()
  await store.sweep()
  t.equal(bodies.size, attempts.length + 1, 'and what could not be deleted')
  await store.deleteObject(b, 'many')
  await store.abortUpload(b, 'k', 'u')
  t.ok(await become(() => [...bodies.keys()], 0), 'nothing is left')
})

t.test(
  'a remote body store is asked for nothing that the index knows, and what is deleted is kept for the grace time',
  async t => {
    const { store: inner, bodies } = memoryBodies(true)
    const asked: string[] = []
    const outer: BodyStore = {
      ...inner,
      open: async (id, size) => {
        asked.push(`open ${size}`)
        return inner.open(id, size)
      },
      sizeOf: async id => {
        asked.push('sizeOf')
        return inner.sizeOf(id)
      },
    }
    let now = 1_000_000
    const store = await openFileStore(directoryOf(t), { sweepEvery: 0, grace: 5000, bodies: outer, now: () => now })
    t.teardown(() => store.close())
    const b = await store.createBucket('b', { owner: 'domain', region: 'sichuan', created: 1 })
    await store.createUpload(b, 'k', upload('u'))
    const pieces = [pattern(70_000, 1), pattern(80_000, 2), pattern(10, 3)]
    for (const [i, bytes] of pieces.entries())
      await store.putPart(b, 'k', 'u', part(i + 1, String(i)), await bodyOf(store, bytes))
    t.same(await store.peekParts(b.id, 'k', 'u', ['0', '2'], 24), [
      { size: 70_000, head: pieces[0]?.subarray(0, 24) },
      { size: 10, head: pieces[2] },
    ])
    await store.completeUpload(b, 'k', 'u', { token: 't', attempts: ['0', '1', '2'], record: record() })
    const opened = await store.openObject(b.id, 'k')
    t.equal(opened?.body.size, 150_010)
    t.same(asked, [])
    const read = await buffer(opened?.body.read({ start: 70_000, end: 70_009 }) ?? Readable.from([]))
    t.same(read, pieces[1]?.subarray(0, 10))
    t.same(asked, ['open 80000'], 'the file that is read, and no other')

    await put(store, b, 'single', pattern(100_000))
    const single = await store.openObject(b.id, 'single')
    await store.deleteObject(b, 'single')
    await store.sweep()
    t.equal(bodies.size, 4)
    t.ok((await buffer(single?.body.read() ?? Readable.from([]))).equals(pattern(100_000)))
    now += 5000
    await store.sweep()
    t.equal(bodies.size, 3)
  },
)

t.test('a body store that cannot be reached for a moment: StoreUnavailable, and nothing is lost', async t => {
  const { store: inner, bodies } = memoryBodies(true)
  let isAway = false
  let calls = 0
  const reach = (): void => {
    calls++
    if (isAway) throw new SseError('StoreUnavailable', { retryAfter: 3 })
  }
  const outer: BodyStore = {
    ...inner,
    create: async id => {
      const sink = await inner.create(id)
      return {
        ...sink,
        finish: async () => {
          reach()
          await sink.finish()
        },
        discard: async () => {
          reach()
          await sink.discard()
        },
      }
    },
    delete: async id => {
      reach()
      return inner.delete(id)
    },
  }
  const [store, b] = await storeOver(t, outer)
  await put(store, b, 'k', pattern(100_000))
  for (let i = 0; i < 30; i++) await put(store, b, `gone ${i}`, pattern(70_000))
  isAway = true
  const away = { ...code('StoreUnavailable'), retryAfter: 3 }
  for (let i = 0; i < 12; i++) await t.rejects(put(store, b, 'k', pattern(70_000)), away)
  for (let i = 0; i < 30; i++) await store.deleteObject(b, `gone ${i}`)
  await sleep(200)
  calls = 0
  await t.rejects(store.sweep(), away)
  t.ok(calls <= 16, 'a sweep gives up soon')
  t.equal(bodies.size, 43)
  isAway = false
  t.match(await store.sweep(), { removed: 42 }, 'however many bodies could not be thrown away')
  t.ok((await get(store, b, 'k'))?.equals(pattern(100_000)))
})

t.test('the sweep has what is unfinished thrown away, but for what is being written', async t => {
  const { store: inner } = memoryBodies(true)
  const dead = 'd'.repeat(32)
  let writing = ''
  let committed = ''
  const unwanted: string[] = []
  const outer: BodyStore = {
    ...inner,
    create: async id => {
      writing = id
      return inner.create(id)
    },
    discardUnfinished: async pick => {
      unwanted.push(...(await pick([committed, writing, dead])))
      return unwanted.length
    },
  }
  const [store, b] = await storeOver(t, outer)
  await put(store, b, 'k', pattern(100_000))
  committed = writing
  const body = await store.createBody({ expectedSize: 100_000 })
  await new Promise(resolve => body.writable.write(pattern(100_000), resolve))
  t.match(await store.sweep(), { removed: 2 })
  t.same(unwanted, [committed, dead], 'also what was begun twice of a body that is whole by now')
  await body.discard()
})

t.test('a body store is made for the id of its index, and closed with it', async t => {
  const directory = directoryOf(t)
  const made: string[] = []
  let closed = 0
  const bodies = (id: string): BodyStore => {
    made.push(id)
    return { ...memoryBodies().store, close: async () => void closed++ }
  }
  for (const round of [1, 2]) {
    const store = await openFileStore(directory, { sweepEvery: 0, bodies })
    t.equal(made.at(-1), store.id)
    await store.close()
    t.equal(closed, round)
  }
  t.equal(made[0], made[1])
  const failing = () => Promise.reject(new Error('no'))
  await t.rejects(openFileStore(directory, { sweepEvery: 0, bodies: failing }), code('StoreFailed'))
})
