import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'

/** What would be there after a power cut: of each folder the names that it had when it was last flushed; of files, which were flushed. */
const flushed = new Map<string, ReadonlySet<string>>()
const contents = new Set<number>()

const noteFlush = (fd: number): void => {
  const path = fs.readlinkSync(`/proc/self/fd/${fd}`)
  const found = fs.fstatSync(fd)
  if (found.isDirectory()) flushed.set(path, new Set(fs.readdirSync(path)))
  else contents.add(found.ino)
}

const spy = async (): Promise<void> => {
  const handle = await fs.promises.open('/', 'r')
  const handles: { sync(this: fs.promises.FileHandle): Promise<void> } = Object.getPrototypeOf(handle)
  await handle.close()
  const { sync } = handles
  handles.sync = async function () {
    await sync.call(this)
    noteFlush(this.fd)
  }
}

t.test('every name of the key store is durable before the first call is answered', async t => {
  await spy()
  const { LocalKms } = await import('../../lib/kms/local/local.ts')
  const above = fs.realpathSync(t.testdir({}))
  const assertDurable = (when: string): void => {
    const lost = fs
      .readdirSync(above, { recursive: true, withFileTypes: true })
      .filter(
        ({ parentPath, name }) =>
          flushed.get(parentPath)?.has(name) !== true ||
          (fs.statSync(join(parentPath, name)).isFile() && !contents.has(fs.statSync(join(parentPath, name)).ino)),
      )
    t.same(
      lost.map(({ parentPath, name }) => join(parentPath, name)),
      [],
      when,
    )
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
