/**
 * A gateway while its key manager is killed, hung, throttling and lying, for a few seconds each (`npm run outage` does it for long): what is
 * answered, that warm reads go on, and that every acknowledged object opens afterwards. And how often a key manager is asked.
 */
import t from 'tap'
import { kmipMissing } from '../support/kmip.ts'
import { countCalls, setups } from '../support/outage/calls.ts'
import { type Kind, type Outcome } from '../support/outage/load.ts'
import { phaseNames, runPhase } from '../support/outage/phases.ts'
import { outageTable, recovery, stretches } from '../support/outage/report.ts'

const load = {
  clients: { PUT: 2, 'PUT, bucket key': 1, 'GET, warm': 2, 'GET, cold': 2 },
  think: 20,
  warm: 4,
  cold: 10,
}

/** Results of a kind that say the key manager could not be asked, or not be believed. */
const failed = (results: Readonly<Record<string, number>>): number =>
  Object.entries(results).reduce((sum, [result, count]) => (result === '200' ? sum : sum + count), 0)

t.test('outages', { skip: kmipMissing }, async t => {
  // One that is hung, and what the network swallows, look the same to a gateway: the long run has both.
  for (const name of phaseNames.filter(each => each !== 'swallowed')) {
    t.test(name, async t => {
      const report = await runPhase(name, { seconds: 3, deadline: 1500, load })
      t.strictSame(report.problems, [], 'nothing that must not be')
      const { PUT, 'GET, warm': warm, 'GET, cold': cold } = report.during
      t.strictSame(Object.keys(warm.results), ['200'], 'reads of keys in memory go on')
      if (name !== 'wrong blob') t.ok(failed(cold.results) > 0, 'it was wrong for cold reads')
      t.ok(failed(PUT.results) > 0, 'and for writes')
      t.ok(report.acknowledged.all > load.warm + load.cold)
      t.type(report.recovered, 'number', 'it recovers by itself')
      t.match(outageTable([report]), name)
    })
  }
})

t.test('how recovery and stretches are counted', async t => {
  const at = (began: number, ended: number, result: string, kind: Kind = 'PUT'): Outcome => ({
    kind,
    began,
    ended,
    result,
  })
  const outcomes = [
    at(0, 5, '200'),
    at(6, 12, '503 ServiceUnavailable'),
    at(14, 15, '200', 'GET, warm'),
    at(19, 30, '503 ServiceUnavailable'),
    at(21, 22, '503 ServiceUnavailable', 'GET, cold'),
    at(23, 24, '200', 'GET, cold'),
    at(25, 26, '503 SlowDown'),
    at(27, 29, '200'),
    at(28, 31, '200'),
  ]
  t.strictSame(recovery(outcomes, 20), { firstSuccess: 4, recovered: 7 })
  t.strictSame(recovery(outcomes.slice(0, 5), 20), { firstSuccess: undefined, recovered: undefined })
  const { before, during, after } = stretches(outcomes, 10, 20)
  t.strictSame(before.PUT.results, { '200': 1 })
  t.strictSame(during.PUT, { results: { '503 ServiceUnavailable': 2 }, median: 11, slowest: 11 })
  t.strictSame(after['GET, cold'].results, { '503 ServiceUnavailable': 1, '200': 1 })
})

t.test('calls to a key manager for 50 PUTs and 50 GETs', async t => {
  const reports = await countCalls({ library: 50, gateway: 50 })
  t.equal(reports.length, 2 * setups.length)
  const sum = (calls: Readonly<Record<string, number>>, ...methods: readonly string[]): number =>
    methods.reduce((total, method) => total + (calls[method] ?? 0), 0)
  for (const { through, setup, puts, gets, getsAgain } of reports) {
    const generated = sum(puts, 'generateDataKey')
    const unwrapped = [sum(puts, 'unwrapDataKey'), sum(gets, 'unwrapDataKey')]
    const what = `${through}, with ${setup}`
    if (setup.includes('bucket keys')) {
      t.equal(generated, 1, `${what}: one bucket key`)
      const kept = setup.includes('cache') // by the cache, when it was proved
      t.strictSame(unwrapped, [setup.includes('proof') ? 2 : 1, kept ? 0 : 1], `${what}: proved, and read once`)
    } else {
      t.strictSame(
        [generated, ...unwrapped],
        [50, setup.includes('proof') ? 50 : 0, 50],
        `${what}: one for each object`,
      )
    }
    const rest = setup.includes('cache') || setup.includes('bucket keys') ? 0 : 50
    t.equal(sum(getsAgain, 'unwrapDataKey'), rest, `${what}: read again`)
    if (through === 'gateway') {
      const described = sum(puts, 'describe')
      t.ok(setup.includes('cache') ? described <= 1 : described === 50, `${what}: the key is described`)
    }
  }
})
