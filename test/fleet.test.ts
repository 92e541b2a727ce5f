/** The fleet of `npm run fleet`, in short: a gateway is killed during an upload in parts, and the database under load. */
import { CreateBucketCommand } from '@aws-sdk/client-s3'
import t from 'tap'
import { Ends } from './support/ends.ts'
import { runEvent } from './support/fleet/events.ts'
import { bodyOf, defaultLoad, sequenceOf } from './support/fleet/load.ts'
import { fleetMissing, startFleet } from './support/fleet/parts.ts'

t.test('the bodies of the load tell whether they are whole', async t => {
  const body = bodyOf('writer-1/2', 17, 100_000)
  t.equal(body.length, 100_000)
  t.equal(sequenceOf('writer-1/2', body), 17)
  t.equal(sequenceOf('writer-1/3', body), undefined, 'of another object')
  t.equal(sequenceOf('writer-1/2', body.subarray(0, 99_999)), undefined, 'cut short')
  t.equal(
    sequenceOf('writer-1/2', Buffer.concat([body.subarray(0, 50_000), bodyOf('writer-1/2', 18, 50_000)])),
    undefined,
  )
})

t.test('a fleet loses nothing that it acknowledged', { skip: fleetMissing }, async t => {
  const ends = new Ends()
  t.teardown(() => ends.run())
  const fleet = await startFleet(ends, { gateways: 2, workers: 1 })
  await fleet.client().send(new CreateBucketCommand({ Bucket: 'photos' }))
  const load = { ...defaultLoad, writers: 2, readers: 2, objects: 10 }
  const killed = await runEvent(fleet, 'gateway killed', { seconds: 2, uploadBytes: 80 * 1_048_576, load })
  t.strictSame(killed.problems, [])
  t.match(killed.upload, { whole: true, parts: 5 })
  t.ok(
    (killed.during.PUT.results['200'] ?? 0) > 0 && (killed.during.GET.results['200'] ?? 0) > 0,
    'the other one serves',
  )
  const restarted = await runEvent(fleet, 'database restarted', { seconds: 2, uploadBytes: 0, load })
  t.strictSame(restarted.problems, [])
  t.ok(restarted.objects >= 10)
})
