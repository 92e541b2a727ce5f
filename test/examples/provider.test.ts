/** What the guide to providers shows: a key manager of one's own, and the suite that it is held to. */
import { randomBytes, randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { createSse, encryptionContext } from '../../lib/index.ts'
import { conformanceCases, type ConformanceSetup, memoryKms, runConformance } from '../../lib/testing.ts'
import { cli } from '../support/cli.ts'
import { KeyService } from '../support/key-service.ts'
import { keyService } from './http-provider.ts'
import { ownKms, setup } from './own-provider.ts'

t.test('a provider of your own encrypts and decrypts', async t => {
  // #region use
  const kms = ownKms(new Map([['first', randomBytes(32)]]))
  const sse = createSse({ kms, accept: ['main:first'] })
  const put = await sse.encrypt({ keyId: 'main:first' })
  const stored = await buffer(Readable.from(['Hello']).compose(put.stream))
  const get = await sse.decrypt(put.result().envelope)
  const plain = await buffer(Readable.from([stored]).compose(get.stream))
  // #endregion use
  t.equal(String(plain), 'Hello')
})

t.test('a configuration opens a provider of your own', async t => {
  const folder = t.testdir()
  const file = join(folder, 'kms.json')
  const module = fileURLToPath(new URL('own-provider.ts', import.meta.url))
  const options = { masterKey: randomBytes(32).toString('base64') }
  writeFileSync(file, JSON.stringify({ kms: [{ provider: 'module', module, instance: 'main', options }] }))
  const put = await cli(['encrypt', '--kms', file, '--key', 'main:first'], { stdin: 'Hello' })
  t.match(put, { code: 0, stderr: '' })
  const get = await cli(['decrypt', '--kms', file, '--key', 'main:first'], { stdin: put.stdout })
  t.equal(get.stdout.toString(), 'Hello')
})

t.test('a provider over HTTP passes every case', async t => {
  const token = randomUUID()
  const service = await new KeyService(token).start()
  const kms = keyService({ url: service.url, token })
  const [{ keyId }, { keyId: otherKeyId }] = [await kms.create('first'), await kms.create('other')]
  const missing = `main:${randomUUID()}`
  // #region faults
  const during = (fault: 'hang' | 'reset' | 'throttle') => async () => {
    service.begin(fault)
    return async () => service.end() // destroys the sockets that hung
  }
  const faulty: ConformanceSetup = {
    ...{ kms, keyId, otherKeyId, missing, spellings: ['first'], secrets: [token] },
    hang: during('hang'), // takes requests, and answers none
    unavailable: during('reset'), // ends each connection
    throttled: during('throttle'), // answers each request with its 429
    stop: () => service.stop(),
  }
  // #endregion faults
  const { results } = await runConformance(faulty)
  t.strictSame(
    results.filter(({ outcome }) => outcome !== 'passed'),
    [],
  )
  const refused = keyService({ url: service.url, token: 'another' })
  await t.rejects(refused.describe(keyId), { code: 'KmsUnavailable' }, 'the service has stopped')
  await t.rejects(async () => kms.describe(keyId), { code: 'KmsUnavailable', message: /was closed/ })
})

t.test('what a service answers, as an error', async t => {
  const token = randomUUID()
  const service = await new KeyService(token).start()
  t.teardown(() => service.stop())
  const kms = keyService({ url: service.url, token })
  const { keyId } = await kms.create('first')
  const refused = keyService({ url: service.url, token: 'another' })
  await t.rejects(refused.describe(keyId), { code: 'KeyAccessDenied', message: /refuses the token/ })
  service.begin('throttle')
  await t.rejects(kms.describe(keyId), { code: 'KmsThrottled', retryAfter: 2 })
  service.begin('garble')
  await t.rejects(kms.describe(keyId), { code: 'KmsUnavailable', cause: undefined }, 'no piece of the answer is shown')
})

t.test('the suite runs in any test runner', async t => {
  // #region cases
  const given = await setup()
  t.teardown(() => given.stop?.())
  for (const { name, run } of conformanceCases) {
    t.test(name, async t => {
      const inapplicable = await run(given) // rejects where the case does not hold
      if (inapplicable !== undefined) t.pass(`not applicable: ${inapplicable}`)
    })
  }
  // #endregion cases
})

t.test('the suite gives a report', async t => {
  // #region conformance
  const report = await runConformance(await setup())
  for (const { name, outcome, reason = '' } of report.results) console.error(`# ${outcome}: ${name} ${reason}`)
  if (!report.passed) process.exitCode = 1
  // #endregion conformance
  t.ok(report.passed)
  t.equal(report.results.length, conformanceCases.length)
})

t.test('a key manager in memory', async t => {
  // #region memory
  let isDown = false
  const kms = memoryKms({ fault: method => (isDown && method !== 'create' ? 'unavailable' : undefined) })
  const { keyId } = await kms.create('tests')
  const { key, wrapped } = await kms.generateDataKey({ keyId, context: encryptionContext() })
  isDown = true // from now on its calls reject with KmsUnavailable
  // #endregion memory
  key.dispose()
  await t.rejects(kms.unwrapDataKey({ wrapped, context: encryptionContext() }), { code: 'KmsUnavailable' })
})

t.test('states, versions and delays of a key manager in memory', async t => {
  // #region memory-states
  const kms = memoryKms({ fault: method => (method === 'unwrapDataKey' ? { delay: 20 } : undefined) })
  const { keyId } = await kms.create('tests')
  const sse = createSse({ kms, accept: [keyId] })
  const sealed = await sse.encryptBytes('text')
  await kms.rotate(keyId) // a second version wraps now
  const opened = await sse.decryptBytes(sealed) // under the first one, after 20 ms
  await kms.disable(keyId) // KeyDisabled, until kms.enable(keyId)
  await kms.scheduleDeletion(keyId) // KeyPendingDeletion, until kms.cancelDeletion(keyId)
  // #endregion memory-states
  t.equal(Buffer.from(opened).toString(), 'text')
  t.equal((await kms.describe(keyId)).version, 2)
  await t.rejects(sse.decryptBytes(sealed), { code: 'KeyPendingDeletion' })
  await kms.cancelDeletion(keyId)
  await t.rejects(sse.decryptBytes(sealed), { code: 'KeyDisabled' })
  await kms.enable(keyId)
  const before = performance.now()
  await sse.decryptBytes(sealed)
  t.ok(performance.now() - before >= 19)
})
