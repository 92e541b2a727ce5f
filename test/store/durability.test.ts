import * as fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { dirname, join } from 'node:path'
import t from 'tap'
import { quickDirectory } from '../support/store.ts'

/** What would be there after a power cut: of each folder the names that it had when it was last flushed. */
const flushed = new Map<string, ReadonlySet<string>>()

const noteFlush = (fd: number): void => {
  const path = fs.readlinkSync(`/proc/self/fd/${fd}`)
  if (fs.fstatSync(fd).isDirectory()) flushed.set(path, new Set(fs.readdirSync(path)))
}

// The flushes of this process are seen, also those of modules that have taken their functions already.
const spy = async (): Promise<void> => {
  const { default: real } = await import('node:fs')
  const { fsyncSync } = real
  real.fsyncSync = fd => {
    fsyncSync(fd)
    noteFlush(fd)
  }
  syncBuiltinESMExports()
  const handle = await real.promises.open('/', 'r')
  const handles: { sync(this: fs.promises.FileHandle): Promise<void> } = Object.getPrototypeOf(handle)
  await handle.close()
  const { sync } = handles
  handles.sync = async function () {
    await sync.call(this)
    noteFlush(this.fd)
  }
}

const everything = (folder: string): readonly string[] =>
  fs.readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? [path, ...everything(path)] : [path]
  })

t.test('every name is durable before the first write is acknowledged', async t => {
  await spy()
  const { openFileStore } = await import('../../lib/store/file/store.ts')
  const { bodyOf, pattern, record } = await import('../support/store.ts')
  const above = quickDirectory()
  t.teardown(() => fs.rmSync(above, { recursive: true }))
  const assertDurable = (when: string): void => {
    const lost = everything(above).filter(
      path => flushed.get(dirname(path))?.has(path.slice(dirname(path).length + 1)) !== true,
    )
    t.same(lost, [], when)
  }
  const directory = join(above, 'some', 'where', 'data')
  const store = await openFileStore(directory, { sweepEvery: 0 })
  assertDurable('opened')
  const b = await store.createBucket('b', { owner: 'o', region: 'r', created: 1 })
  assertDurable('a bucket')
  for (const size of [10, 100_000]) {
    await store.putObject(b, `k${size}`, record(), await bodyOf(store, pattern(size)))
    assertDurable(`an object of ${size} bytes`)
  }
  await store.close()

  // A folder that was made and not flushed, by an opening that was cut off.
  flushed.delete(dirname(directory))
  flushed.delete(directory)
  const again = await openFileStore(directory, { sweepEvery: 0 })
  assertDurable('opened again')
  await again.close()
})
