/** What the guide to providers shows: a key manager of one's own, and the suite that it is held to. */
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { createSse, encryptionContext } from '../../lib/index.ts'
import { conformanceCases, memoryKms, runConformance } from '../../lib/testing.ts'
import { ownKms, setup } from './own-provider.ts'

t.test('a provider of your own encrypts and decrypts', async t => {
  const masterKey = randomBytes(32)
  // #region use
  const kms = ownKms(new Map([['first', masterKey]]))
  const sse = createSse({ kms, accept: ['main:first'] })
  const put = await sse.encrypt({ keyId: 'main:first' })
  const stored = await buffer(Readable.from(['Hello']).compose(put.stream))
  const get = await sse.decrypt(put.result().envelope)
  const plain = await buffer(Readable.from([stored]).compose(get.stream))
  // #endregion use
  t.equal(String(plain), 'Hello')
})

t.test('the suite runs in any test runner', async t => {
  // #region cases
  const given = await setup()
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
