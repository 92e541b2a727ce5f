/** Bucket keys: one call for many objects, within bounds, and wiped. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { setImmediate, setTimeout } from 'node:timers/promises'
import t from 'tap'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { providersOf } from '../../lib/kms/providers.ts'
import { BucketKeys } from '../../lib/kms/bucket-keys.ts'
import { encryptionContext } from '../../lib/kms/context.ts'
import { customerKey } from '../../lib/kms/customer.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'
import type { KmsProvider, KeyWrapper, WrappedKey } from '../../lib/kms/provider.ts'
import { spyKms, wiped } from '../support/spy.ts'

const contextOf = (name: string) => encryptionContext({ 'aws:s3:arn': `arn:aws:s3:::${name}` })
const bucketContext = contextOf('photos')
const objectContext = (key: string) => contextOf(`photos/${key}`)

t.test('bucket keys', async t => {
  const kms = await LocalKms.open(t.testdir(), { root: { key: new Uint8Array(randomBytes(32)) } })
  t.teardown(() => kms.close())
  const { keyId } = await kms.defaultKey({ region: 'r', domainId: 'd' })

  /** A new data key of `photos/KEY`, or of another bucket's object, as it is stored. */
  const seal = async (keys: BucketKeys, key: string, bucket = 'photos', by = keyId): Promise<WrappedKey> => {
    const wrapper = keys.wrapper(nodeEngine, { provider: 'local', bucketContext: contextOf(bucket) })
    const made = await wrapper.generateDataKey({ keyId: by, context: contextOf(`${bucket}/${key}`) })
    made.key.dispose()
    return made.wrapped
  }
  const open = (keys: BucketKeys, wrapped: WrappedKey, key: string, bucket = 'photos') =>
    keys.unwrapDataKey(nodeEngine, wrapped, contextOf(`${bucket}/${key}`), contextOf(bucket))

  t.test('one call serves many objects, and one more their reads', async t => {
    const spied = spyKms(kms)
    const keys = new BucketKeys(providersOf([spied.kms]))
    const wrapper = keys.wrapper(nodeEngine, { provider: 'local', bucketContext })
    const names = ['a', 'b', 'c']
    const made = await Promise.all(names.map(key => wrapper.generateDataKey({ keyId, context: objectContext(key) })))
    const bytes = new Set(made.map(({ key }) => Buffer.from(key.bytes).toString('hex')))
    t.equal(bytes.size, 3, 'each object has its own data key')
    t.equal(new Set(made.map(({ wrapped }) => Buffer.from(wrapped.blob).toString('hex'))).size, 3)
    for (const [i, key] of names.entries()) {
      const { wrapped, key: dek } = made[i] ?? assert.fail('three were made')
      t.match(wrapped, { wrapAlg: 3, provider: 'local', keyId })
      t.strictSame((await open(keys, wrapped, key)).bytes, dek.bytes)
      await t.rejects(open(keys, wrapped, 'other'), { code: 'NotAuthentic' }, 'under the name of another object')
    }
    t.strictSame(spied.calls, { generate: 1, unwrap: 1 })
    const { wrapped } = made[0] ?? assert.fail('three were made')
    await t.rejects(open(keys, wrapped, 'a', 'other'), { code: 'NotAuthentic' }, 'in another bucket')
    t.strictSame(spied.calls, { generate: 1, unwrap: 2 }, 'which the KMS was asked for')
    keys.dispose()
  })

  t.test('a data key that exists is wrapped alike', async t => {
    const keys = new BucketKeys(providersOf([kms]))
    const { key } = await kms.generateDataKey({ keyId, context: objectContext('a') })
    const wrapped = await keys
      .wrapper(nodeEngine, { provider: 'local', bucketContext })
      .wrapDataKey(key, { keyId, context: objectContext('a') })
    t.strictSame((await open(keys, wrapped, 'a')).bytes, key.bytes)
    keys.dispose()
  })

  t.test('no other bucket, tenant or master key gets the key', async t => {
    const spied = spyKms(kms)
    const keys = new BucketKeys(providersOf([spied.kms]))
    const { keyId: theirs } = await kms.defaultKey({ region: 'r', domainId: 'stranger' })
    const { keyId: second } = await kms.createKey({ region: 'r', domainId: 'd' })
    const all = await Promise.all([
      seal(keys, 'a'),
      seal(keys, 'a', 'other'),
      seal(keys, 'a', 'photos', theirs),
      seal(keys, 'a', 'photos', second),
    ])
    t.equal(spied.calls.generate, 4)
    t.strictSame(
      all.map(wrapped => wrapped.keyId),
      [keyId, keyId, theirs, second],
    )
    const inner = ({ blob }: WrappedKey) => Buffer.from(blob.subarray(0, 78)).toString('hex')
    t.equal(new Set(all.map(inner)).size, 4)
    for (const wrapped of all) {
      const forged = { ...wrapped, keyId: wrapped.keyId === theirs ? keyId : theirs }
      await t.rejects(open(keys, forged, 'a'), { code: 'NotAuthentic' }, 'under the id of another master key')
    }
    // Names and values that run into each other if they are only put one behind the other.
    const near = [{ a: 'bc' }, { ab: 'c' }, { a: 'b', c: '' }, { 'a","b': 'c' }]
    for (const context of near) {
      const wrapper = keys.wrapper(nodeEngine, { provider: 'local', bucketContext: encryptionContext(context) })
      await wrapper.generateDataKey({ keyId, context: objectContext('a') })
    }
    t.equal(spied.calls.generate, 8)
    keys.dispose()
  })

  t.test('a key ends with its time and with its uses', async t => {
    const spied = spyKms(kms)
    let now = 0
    const keys = new BucketKeys(providersOf([spied.kms]), { timeToLive: 60_000, uses: 2, clock: () => now })
    const first = await seal(keys, 'a')
    await seal(keys, 'b')
    t.equal(spied.calls.generate, 1)
    await seal(keys, 'c')
    t.equal(spied.calls.generate, 2, 'two uses')
    now = 60_000
    await Promise.all([seal(keys, 'd'), seal(keys, 'e')])
    t.equal(spied.calls.generate, 3, 'its time; two that notice it fetch one')
    t.strictSame(spied.given.map(wiped), [true, true, false])
    for (let i = 0; i < 5; i++) await open(keys, first, 'a')
    t.equal(spied.calls.unwrap, 3, 'reads are uses too')
    now = 119_999
    await open(keys, first, 'a')
    t.equal(spied.calls.unwrap, 3)
    now = 120_000
    await open(keys, first, 'a')
    t.equal(spied.calls.unwrap, 4)
    keys.dispose()
    await setImmediate()
    t.ok(spied.given.every(wiped))
  })

  t.test('bounds hold when many ask at once', async t => {
    const spied = spyKms(kms)
    const keys = new BucketKeys(providersOf([spied.kms]), { uses: 3 })
    await Promise.all(Array.from({ length: 10 }, (_, i) => seal(keys, `${i}`)))
    t.equal(spied.calls.generate, 4)
    keys.dispose()
    let now = 0
    const slow = spyKms(kms, () => {
      now += 1000
    })
    const brief = new BucketKeys(providersOf([slow.kms]), { timeToLive: 1000, clock: () => now })
    await Promise.all([seal(brief, 'a'), seal(brief, 'b')])
    t.equal(slow.calls.generate, 2, 'a key whose time was over when it came serves the one call that asked for it')
    brief.dispose()
  })

  t.test('a disabled master key is noticed no later than the time to live', async t => {
    const customer = await kms.createKey({ region: 'r', domainId: 'd' })
    let now = 0
    const keys = new BucketKeys(providersOf([kms]), { timeToLive: 60_000, clock: () => now })
    const write = () => seal(keys, 'a', 'photos', customer.keyId)
    const wrapped = await write()
    now = 30_000
    await open(keys, wrapped, 'a')
    await kms.disableKey({ keyId: customer.keyId })
    await write()
    await open(keys, wrapped, 'a')
    now = 60_000
    await t.rejects(write(), { code: 'KeyDisabled' })
    await open(keys, wrapped, 'a')
    now = 90_000
    await t.rejects(open(keys, wrapped, 'a'), { code: 'KeyDisabled' })
    await kms.enableKey({ keyId: customer.keyId })
    await write()
    await open(keys, wrapped, 'a')
    await kms.scheduleDeletion({ keyId: customer.keyId })
    now = 150_000
    await t.rejects(write(), { code: 'KeyPendingDeletion' })
    await t.rejects(open(keys, wrapped, 'a'), { code: 'KeyPendingDeletion' })
    keys.dispose()
  })

  t.test('a key of an old version is not used where readers refuse it', async t => {
    const customer = await kms.createKey({ region: 'r', domainId: 'd' })
    const keys = new BucketKeys(providersOf([kms]))
    const version = async (lowestVersion?: number): Promise<number> => {
      const wrapper = keys.wrapper(nodeEngine, { provider: 'local', bucketContext, lowestVersion })
      const { wrapped } = await wrapper.generateDataKey({ keyId: customer.keyId, context: objectContext('a') })
      return Buffer.from(wrapped.blob).readUInt32BE(2)
    }
    t.equal(await version(), 1)
    await kms.rotateKey({ keyId: customer.keyId })
    t.equal(await version(), 1, 'until its time is over')
    t.equal(await version(2), 2)
    keys.dispose()
  })

  t.test('holds so many keys and no more', async t => {
    const spied = spyKms(kms)
    const keys = new BucketKeys(providersOf([spied.kms]), { size: 2 })
    await seal(keys, 'a', 'one')
    await seal(keys, 'a', 'two')
    await seal(keys, 'b', 'one')
    await seal(keys, 'a', 'three')
    await setImmediate()
    t.strictSame(spied.given.map(wiped), [false, true, false], 'the one that was not used for longest goes')
    await seal(keys, 'c', 'one')
    t.equal(spied.calls.generate, 3)
    keys.dispose()
  })

  t.test('what the KMS refuses is asked anew, and takes no place', async t => {
    let asked = 0
    const failing = spyKms(kms, () => {
      if (asked++ < 1) throw new Error('not now')
    })
    const keys = new BucketKeys(providersOf([failing.kms]), { size: 1 })
    const [one, two] = await Promise.allSettled([seal(keys, 'a'), seal(keys, 'b')])
    t.equal(one?.status, 'rejected')
    t.equal(two?.status, 'rejected', 'who waited for it learns why')
    await seal(keys, 'a')
    t.equal(asked, 2)
    // One that fails after it had to go leaves the one in its place alone.
    const answers: (() => void)[] = []
    const spied = spyKms(kms, async () => {
      if (answers.length > 0) return
      await new Promise<void>(resolve => {
        answers.push(resolve)
      })
      throw new Error('too late')
    })
    const small = new BucketKeys(providersOf([spied.kms]), { size: 1 })
    const first = seal(small, 'a')
    await seal(small, 'a', 'other')
    await seal(small, 'b')
    answers[0]?.()
    await t.rejects(first, { message: 'too late' })
    await seal(small, 'c')
    t.equal(spied.calls.generate, 2)
    small.dispose()
    await setImmediate()
    t.ok(spied.given.every(wiped))
  })

  t.test('a key that nobody asks for any more is wiped', async t => {
    const spied = spyKms(kms)
    const keys = new BucketKeys(providersOf([spied.kms]), { timeToLive: 20 })
    await seal(keys, 'a')
    for (let i = 0; i < 100 && !spied.given.every(wiped); i++) await setTimeout(20)
    t.strictSame(spied.given.map(wiped), [true])
    await seal(keys, 'b')
    t.equal(spied.calls.generate, 2)
    let now = 0
    const stopped = new BucketKeys(providersOf([spied.kms]), { timeToLive: 1, clock: () => now })
    await seal(stopped, 'a')
    await setTimeout(20)
    t.equal(wiped(spied.given[2] ?? assert.fail('three were made')), false, 'its time is not over')
    now = 1
    for (let i = 0; i < 100 && !wiped(spied.given[2] ?? assert.fail()); i++) await setTimeout(5)
    t.ok(wiped(spied.given[2] ?? assert.fail()))
    keys.dispose()
  })

  t.test('wiped for good: what is under way finishes, later calls fail', async t => {
    const spied = spyKms(kms)
    const keys = new BucketKeys(providersOf([spied.kms]))
    const wrapped = await seal(keys, 'a')
    const using = seal(keys, 'b')
    const fetching = seal(keys, 'a', 'other')
    keys.dispose()
    t.equal((await using).wrapAlg, 3)
    t.equal((await fetching).wrapAlg, 3)
    await setImmediate()
    t.strictSame(spied.given.map(wiped), [true, true])
    await t.rejects(seal(keys, 'c'), TypeError)
    await t.rejects(open(keys, wrapped, 'a'), TypeError)
    t.strictSame(spied.calls, { generate: 2, unwrap: 0 })
    keys.dispose()
  })

  t.test('an inner blob that is too long is refused, and its data key wiped', async t => {
    const long: KmsProvider = {
      ...customerKey(nodeEngine, new Uint8Array(32)),
      name: 'local',
      generateDataKey: async request => {
        const { key, wrapped } = await kms.generateDataKey({ ...request, keyId })
        return { key, wrapped: { ...wrapped, blob: new Uint8Array(6071) } }
      },
    }
    await t.rejects(seal(new BucketKeys(providersOf([long])), 'a'), RangeError)
  })

  t.test('bounds that are none', async t => {
    for (const wrong of [0, -1, 1.5, NaN, Infinity]) {
      for (const name of ['timeToLive', 'uses', 'size']) {
        t.throws(() => new BucketKeys(providersOf([kms]), { [name]: wrong }), RangeError, `${name} ${wrong}`)
      }
    }
    t.throws(() => new BucketKeys(providersOf([kms]), { timeToLive: 86_400_001 }), RangeError, 'more than a day')
    const wrapper: KeyWrapper = new BucketKeys(providersOf([kms]), { timeToLive: 86_400_000 }).wrapper(nodeEngine, {
      provider: 'local',
      bucketContext,
    })
    t.type(wrapper.wrapDataKey, 'function')
  })
})
