/** The script `npm run capacity`, in short: what it counts and measures, with few objects. */
import t from 'tap'
import { Ends } from './support/ends.ts'
import { countCosts, settings } from './support/capacity/calls.ts'
import { measureMillion } from './support/capacity/million.ts'
import { measureSizes, sizeKinds } from './support/capacity/sizes.ts'
import { postgresMissing } from './support/postgres.ts'

const silent = (): void => undefined

t.test('what requests cost, by setting', async t => {
  const ends = new Ends()
  t.teardown(() => ends.run())
  const reports = await countCosts(ends, settings.slice(0, 3), { '1 KiB': 1024, '1 MiB': 1_048_576 })
  const costOf = (setting: string, request: string) =>
    reports.find(each => each.setting === setting)?.costs.find(each => each.request === request)
  t.match(costOf('SSE-KMS, no proof, no cache', 'PUT 1 KiB'), { keyManager: 2, storage: 0 }, 'state and data key')
  t.match(costOf('SSE-KMS (default)', 'PUT 1 KiB'), { keyManager: 2, storage: 0 }, 'data key and proof')
  t.match(costOf('SSE-KMS, no proof, no cache', 'GET 1 KiB, again'), { keyManager: 1 })
  t.match(costOf('SSE-KMS (default)', 'GET 1 KiB, again'), { keyManager: 0 }, 'the cache saves it')
  for (const request of ['PUT 1 MiB', 'GET 1 MiB, first', 'complete it']) {
    t.match(costOf('SSE-KMS, bucket key', request), { keyManager: 0 }, request)
  }
  t.match(costOf('SSE-KMS (default)', 'PUT 1 MiB'), { storage: 1 })
  t.match(costOf('SSE-KMS (default)', 'copy 1 MiB, same key'), { storage: 0 }, 'no byte moves')
})

t.test('bytes of index of an object, by kind', async t => {
  const ends = new Ends()
  t.teardown(() => ends.run())
  for (const { kind, embedded, postgres = 1 } of await measureSizes(ends, 100, silent, sizeKinds.slice(-2, -1))) {
    t.ok(embedded > 100 && postgres > 0, `${kind}: ${embedded}, ${postgres}`)
  }
})

t.test('many objects in PostgreSQL', { skip: postgresMissing }, async t => {
  const ends = new Ends()
  t.teardown(() => ends.run())
  const { times, plans, memory } = await measureMillion(ends, { objects: 5000, prefixes: 2000, say: silent })
  for (const [request, time] of Object.entries(times)) t.ok(time > 0, `${request}: ${time}`)
  t.match(plans['common prefixes'], /Index Only Scan using object_pkey.*rows=1 loops=1000\b/s)
  t.match(plans['keys'], /rows=1001 loops=1\b/)
  t.ok(memory.started > 0 && memory.ended > 0)
})
