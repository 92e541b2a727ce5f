/** Bucket keys: one call for many objects, within bounds, and wiped. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { BucketKeys } from '../../lib/kms/bucket-keys.ts'
import { encryptionContext } from '../../lib/kms/context.ts'
import { customerKey } from '../../lib/kms/customer.ts'
import type { DataKey } from '../../lib/kms/data-key.ts'
import { LocalKms } from '../../lib/kms/local.ts'
import type { KmsProvider } from '../../lib/kms/provider.ts'

/** A provider that counts its calls and keeps the keys that it gave. */
const counting = (provider: KmsProvider) => {
  const given: DataKey[] = []
  let calls = 0
  const counted: KmsProvider = {
    name: provider.name,
    generateDataKey: async target => {
      calls++
      const generated = await provider.generateDataKey(target)
      given.push(generated.key)
      return generated
    },
    unwrapDataKey: async request => {
      calls++
      const key = await provider.unwrapDataKey(request)
      given.push(key)
      return key
    },
    wrapDataKey: (key, target) => provider.wrapDataKey(key, target),
    rewrapDataKey: request => provider.rewrapDataKey(request),
    describeKey: query => provider.describeKey(query),
    defaultKey: scope => provider.defaultKey(scope),
  }
  return { counted, given, calls: () => calls }
}

const objectContext = (key: string) => encryptionContext({ 'aws:s3:arn': `arn:aws:s3:::photos/${key}` })
const bucketContext = encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::photos' })
const wiped = (key: DataKey): boolean => {
  try {
    return key.bytes.length < 0
  } catch {
    return true
  }
}

t.test('bucket keys', async t => {
  const kms = await LocalKms.open(t.testdir(), { root: { key: new Uint8Array(randomBytes(32)) } })
  t.teardown(() => kms.close())
  const { keyId } = await kms.defaultKey({ region: 'r', domainId: 'd' })
  const target = (key: string) => ({ keyId, bucketContext, context: objectContext(key) })

  t.test('one call serves many objects, and their reads', async t => {
    const { counted, calls } = counting(kms)
    const keys = new BucketKeys(nodeEngine, counted)
    const made = await Promise.all(['a', 'b', 'c'].map(key => keys.generateDataKey(target(key))))
    t.equal(calls(), 1)
    t.equal(
      new Set(made.map(({ key }) => Buffer.from(key.bytes).toString('hex'))).size,
      3,
      'each object has its own data key',
    )
    for (const [i, key] of ['a', 'b', 'c'].entries()) {
      const { wrapped, key: dek } = made[i] ?? assert.fail('three were made')
      t.match(wrapped, { wrapAlg: 3, provider: 'local', keyId })
      const opened = await keys.unwrapDataKey(wrapped, objectContext(key), bucketContext)
      t.strictSame(opened.bytes, dek.bytes)
      await t.rejects(keys.unwrapDataKey(wrapped, objectContext('other'), bucketContext), { code: 'NotAuthentic' })
    }
    t.equal(calls(), 2, 'one more for all the reads')
    const elsewhere = encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::other' })
    await t.rejects(
      keys.unwrapDataKey(made[0]?.wrapped ?? assert.fail('three were made'), objectContext('a'), elsewhere),
      {
        code: 'NotAuthentic',
      },
    )
    keys.dispose()
  })

  t.test('a key ends with its time and with its uses', async t => {
    const { counted, calls, given } = counting(kms)
    let now = 0
    const keys = new BucketKeys(nodeEngine, counted, { timeToLive: 100, uses: 2, clock: () => now })
    await keys.generateDataKey(target('a'))
    await keys.generateDataKey(target('b'))
    t.equal(calls(), 1)
    await keys.generateDataKey(target('c'))
    t.equal(calls(), 2, 'two uses')
    now = 100
    await Promise.all([keys.generateDataKey(target('d')), keys.generateDataKey(target('e'))])
    t.equal(calls(), 3, 'its time; two that notice it fetch one')
    t.strictSame(given.map(wiped), [true, true, false])
    keys.dispose()
    await new Promise(resolve => setImmediate(resolve))
    t.strictSame(given.map(wiped), [true, true, true])
  })

  t.test('a disabled master key is noticed no later than the time to live', async t => {
    const customer = await kms.createKey({ region: 'r', domainId: 'd' })
    let now = 0
    const keys = new BucketKeys(nodeEngine, kms, { timeToLive: 100, clock: () => now })
    const own = { ...target('a'), keyId: customer.keyId }
    const { wrapped } = await keys.generateDataKey(own)
    await kms.disableKey({ keyId: customer.keyId })
    await keys.generateDataKey(own)
    now = 100
    await t.rejects(keys.generateDataKey(own), { code: 'KeyDisabled' })
    await t.rejects(keys.unwrapDataKey(wrapped, objectContext('a'), bucketContext), { code: 'KeyDisabled' })
    await kms.enableKey({ keyId: customer.keyId })
    await keys.generateDataKey(own)
    keys.dispose()
  })

  t.test('holds so many keys and no more', async t => {
    const { counted, calls, given } = counting(kms)
    const keys = new BucketKeys(nodeEngine, counted, { size: 1 })
    const other = { ...target('a'), bucketContext: encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::other' }) }
    await keys.generateDataKey(target('a'))
    await keys.generateDataKey(other)
    await keys.generateDataKey(target('b'))
    t.equal(calls(), 3)
    await new Promise(resolve => setImmediate(resolve))
    t.strictSame(given.map(wiped), [true, true, false])
    keys.dispose()
  })

  t.test('a key that was let go while in use serves that use', async t => {
    const keys = new BucketKeys(nodeEngine, kms)
    await keys.generateDataKey(target('a'))
    const using = keys.generateDataKey(target('b'))
    keys.dispose()
    t.equal((await using).wrapped.wrapAlg, 3)
  })

  t.test('an inner blob that is too long is refused, and its data key wiped', async t => {
    const long: KmsProvider = {
      ...customerKey(nodeEngine, new Uint8Array(32)),
      name: 'long',
      generateDataKey: async request => {
        const { key, wrapped } = await kms.generateDataKey({ ...request, keyId })
        return { key, wrapped: { ...wrapped, blob: new Uint8Array(6071) } }
      },
    }
    await t.rejects(new BucketKeys(nodeEngine, long).generateDataKey(target('a')), RangeError)
  })
})
