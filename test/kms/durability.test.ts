import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { watchFlushes } from '../support/flushes.ts'

t.test('every name of the key store is durable before the first call is answered', async t => {
  const { folders: flushed, lost } = await watchFlushes()
  const { LocalKms } = await import('../../lib/kms/local/local.ts')
  const above = fs.realpathSync(t.testdir({}))
  const assertDurable = (when: string): void => {
    t.same(lost(above, true), [], when)
  }
  const directory = join(above, 'some', 'where', 'keys')
  const root = { file: join(above, 'elsewhere', 'root.key'), create: true }
  const scope = { region: 'r', domainId: 'd' }
  const kms = await LocalKms.open(directory, { root })
  assertDurable('opened')
  const { keyId } = await kms.createKey({ ...scope, alias: 'a' })
  assertDurable('a key')
  await kms.defaultKey(scope)
  await kms.rotateKey({ keyId })
  await kms.createAlias({ keyId }, 'b')
  assertDurable('a default key, a version and an alias')
  kms.close()

  // A folder that was made and not flushed, by an opening that was cut off.
  const second = join(above, 'second', 'keys')
  fs.mkdirSync(second, { recursive: true })
  flushed.delete(dirname(second))
  const again = await LocalKms.open(second, { root: { key: new Uint8Array(32) } })
  t.equal(flushed.get(dirname(second))?.has('keys'), true, 'its name is made durable by the next one')
  again.close()
})
