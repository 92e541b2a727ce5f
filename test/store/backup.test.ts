/** Backups of an embedded store, in one process: that they are whole while bodies come and go, and flushed before they count. */
import { existsSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { checkStore, type Finding } from '../../lib/store/check.ts'
import type { ObjectStore } from '../../lib/store/store.ts'
import { watchFlushes } from '../support/flushes.ts'
import { bucketFacts } from '../support/stores.ts'
import { filesIn, get, pattern, put } from '../support/store.ts'

const flushes = await watchFlushes()
const { backupStore, readBackup, restoreStore } = await import('../../lib/store/file/backup.ts')
const { openFileStore } = await import('../../lib/store/file/store.ts')

const findings = async (store: ObjectStore): Promise<readonly Finding[]> => {
  const found: Finding[] = []
  await checkStore(store, { onFinding: finding => found.push(finding) })
  return found
}

t.test('a backup is durable before it counts, and so is what is restored', async t => {
  const folder = realpathSync(t.testdir())
  const at = (name: string): string => join(folder, name)
  const store = await openFileStore(at('data'), { sweepEvery: 0 })
  t.teardown(() => store.close())
  const b = await store.createBucket('b', bucketFacts)
  await put(store, b, 'large', pattern(100_000))
  await put(store, b, 'small', pattern(10))
  const beside = async (place: string): Promise<void> => writeFileSync(join(place, 'note'), 'beside', { flush: true })
  for (const copy of [false, true]) {
    const name = copy ? 'copied' : 'linked'
    const report = await backupStore(at('data'), at(name), { copy, beside })
    t.match(report, { files: 1, bytes: 100_000, added: 1, dropped: 0, missing: [] })
    t.strictSame(
      flushes.lost(at(name), true).filter(path => !path.endsWith('/note')),
      [],
      name,
    )
  }
  await restoreStore(at('copied'), at('restored'))
  t.strictSame(flushes.lost(at('restored'), true), [])
  const again = await openFileStore(at('restored'), { sweepEvery: 0 })
  t.teardown(() => again.close())
  t.ok((await get(again, b, 'large'))?.equals(pattern(100_000)))
  t.strictSame(await findings(again), [])
})

t.test('bodies that come and go: every backup is whole', async t => {
  const folder = t.testdir()
  const at = (name: string): string => join(folder, name)
  const store = await openFileStore(at('data'), { sweepEvery: 0 })
  t.teardown(() => store.close())
  const b = await store.createBucket('b', bucketFacts)
  const stop = new AbortController()
  const load = async (n: number): Promise<void> => {
    for (let i = 0; !stop.signal.aborted; i++) {
      await put(store, b, `${n} ${i % 3}`, pattern(70_000, i))
      if (i % 3 === 2) await store.deleteObject(b, `${n} 1`)
    }
  }
  const loads = [load(1), load(2)]
  try {
    for (let i = 0; i < 4; i++) {
      const { missing } = await backupStore(at('data'), at('backup'))
      t.strictSame(missing, [])
      await restoreStore(at('backup'), at('restored'))
      const restored = await openFileStore(at('restored'), { sweepEvery: 0 })
      t.strictSame(await findings(restored), [])
      await restored.close()
      rmSync(at('restored'), { recursive: true })
    }
  } finally {
    stop.abort()
    await Promise.all(loads)
  }
})

t.test('a body that the store has lost is told, and the rest is backed up', async t => {
  const folder = t.testdir()
  const at = (name: string): string => join(folder, name)
  const store = await openFileStore(at('data'), { sweepEvery: 0 })
  t.teardown(() => store.close())
  const b = await store.createBucket('b', bucketFacts)
  await put(store, b, 'lost', pattern(100_000))
  const [lost = ''] = filesIn(at('data'))
  await put(store, b, 'kept', pattern(100_000))
  rmSync(join(at('data'), 'bodies', lost.slice(0, 2), lost))
  t.match(await backupStore(at('data'), at('backup')), { files: 1, missing: [lost] })
  t.match(await restoreStore(at('backup'), at('restored')), { missing: [lost] })
})

t.test('one that is interrupted leaves the one before; a lock of a process that is gone is taken', async t => {
  const folder = t.testdir()
  const at = (name: string): string => join(folder, name)
  const store = await openFileStore(at('data'), { sweepEvery: 0 })
  t.teardown(() => store.close())
  const b = await store.createBucket('b', bucketFacts)
  await put(store, b, 'one', pattern(100_000))
  t.equal(await readBackup(at('none')), undefined)
  await backupStore(at('data'), at('backup'))
  const before = await readBackup(at('backup'))
  await store.deleteObject(b, 'one')
  await put(store, b, 'two', pattern(100_000))
  const stop = new AbortController()
  const beside = async (): Promise<void> => stop.abort()
  await t.rejects(backupStore(at('data'), at('backup'), { beside, signal: stop.signal }), { name: 'AbortError' })
  t.strictSame(await readBackup(at('backup')), before)
  t.match(await restoreStore(at('backup'), at('restored')), { files: 1, missing: [] })
  t.notOk(existsSync(join(at('backup'), 'lock')))
  const gone = { boot: 'another boot', space: '', pid: 1, start: '' }
  writeFileSync(join(at('backup'), 'lock'), JSON.stringify(gone))
  t.match(await backupStore(at('data'), at('backup')), { files: 1, dropped: 1 })
  t.equal(readdirSync(join(at('backup'), 'snapshots')).length, 1)
})
