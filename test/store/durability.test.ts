import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { watchFlushes } from '../support/flushes.ts'
import { quickDirectory } from '../support/store.ts'

t.test('every name is durable before the first write is acknowledged', async t => {
  const { folders: flushed, lost } = await watchFlushes()
  const { openFileStore } = await import('../../lib/store/file/store.ts')
  const { bodyOf, pattern, record } = await import('../support/store.ts')
  const above = quickDirectory()
  t.teardown(() => fs.rmSync(above, { recursive: true }))
  const assertDurable = (when: string): void => {
    t.same(lost(above), [], when)
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
