/**
 * How often a key manager is asked for many objects: without anything in between, with the cache, with bucket keys, and with both. Counted at
 * the key manager itself, behind everything that `guarded` puts around it.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { authenticateStore } from '../../../lib/gateway/index-key.ts'
import { guarded, type GuardOptions } from '../../../lib/kms/decorators/guarded.ts'
import type { KeyManager } from '../../../lib/kms/manager.ts'
import { registered } from '../../../lib/kms/registered.ts'
import { memoryKms } from '../../../lib/kms/testing/memory.ts'
import { createSse } from '../../../lib/object/node.ts'
import { openFileStore } from '../../../lib/store/file/store.ts'
import { admin, region, startGateway } from '../gateway.ts'

/** Calls for the same number of PUTs and of GETs. */
export interface CallsReport {
  /** `library`: `encrypt` and `decrypt` of `createSse`. `gateway`: requests over HTTP. */
  readonly through: 'library' | 'gateway'
  readonly setup: string
  /** PUTs, and as many GETs. */
  readonly objects: number
  /** What was asked for the PUTs, by method. */
  readonly puts: Readonly<Record<string, number>>
  /** What was asked for one GET of each. */
  readonly gets: Readonly<Record<string, number>>
  /** What was asked for another GET of each. */
  readonly getsAgain: Readonly<Record<string, number>>
}

/** What stands between, and whether objects have bucket keys. */
interface Setup {
  readonly name: string
  readonly guard: GuardOptions
  readonly bucketKey: boolean
}

const plain: GuardOptions = { cache: false, proof: false }
/** The rows of the table. */
export const setups: readonly Setup[] = [
  { name: 'nothing', guard: plain, bucketKey: false },
  { name: 'proof', guard: { ...plain, proof: true }, bucketKey: false },
  { name: 'cache', guard: { proof: false, cache: { size: 20_000 } }, bucketKey: false },
  { name: 'proof and cache', guard: { cache: { size: 20_000 } }, bucketKey: false },
  { name: 'bucket keys', guard: plain, bucketKey: true },
  { name: 'proof, cache and bucket keys', guard: {}, bucketKey: true },
]

/** A key manager that counts what it is asked. */
const counting = () => {
  let calls: Record<string, number> = {}
  const kms: KeyManager = memoryKms({
    fault: method => {
      calls[method] = (calls[method] ?? 0) + 1
      return undefined
    },
  })
  const taken = (): Readonly<Record<string, number>> => {
    const counted = calls
    calls = {}
    return counted
  }
  return { kms, taken }
}

const atOnce = 16
/** Does something so many times, some at once. */
const each = async (count: number, run: (i: number) => Promise<void>): Promise<void> => {
  let next = 0
  const worker = async () => {
    for (let i = next++; i < count; i = next++) await run(i)
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

const bucketContext = { 'aws:s3:arn': 'arn:aws:s3:::photos' }
const contextOf = (i: number) => ({ 'aws:s3:arn': `arn:aws:s3:::photos/${i}` })

const throughLibrary = async ({ name, guard, bucketKey }: Setup, count: number): Promise<CallsReport> => {
  const { kms, taken } = counting()
  const key = await kms.create?.('photos')
  if (key === undefined) throw new TypeError('it makes keys')
  const sse = createSse({ kms: guarded(kms, guard), accept: [key.keyId] })
  const envelopes: Uint8Array[] = []
  taken()
  await each(count, async i => {
    const { planned, driver } = await sse.encrypt({ context: contextOf(i), bucketContext, bucketKey, length: 0 })
    await driver.end(() => undefined)
    driver.dispose()
    if (planned === undefined) throw new Error('its length was declared')
    envelopes[i] = planned.envelope
  })
  const puts = taken()
  const read = async (i: number): Promise<void> => {
    const { driver } = await sse.decrypt(envelopes[i] ?? new Uint8Array(), { context: contextOf(i), bucketContext })
    driver.dispose()
  }
  await each(count, read)
  const gets = taken()
  await each(count, read)
  sse.dispose()
  return { through: 'library', setup: name, objects: count, puts, gets, getsAgain: taken() }
}

const throughGateway = async ({ name, guard, bucketKey }: Setup, count: number): Promise<CallsReport> => {
  const { kms: manager, taken } = counting()
  const kms = guarded(manager, guard)
  const folder = await mkdtemp(join(tmpdir(), 'calls-'))
  const ends: (() => unknown)[] = []
  try {
    const rows = await openFileStore(folder, { sweepEvery: 0 })
    const open = () => createSse({ kms, accept: [] })
    const store = await authenticateStore(rows, { kms: registered(kms), sse: open(), region })
    ends.unshift(() => store.close())
    const keys = registered(kms, { register: store })
    const options = { store, kms: keys, sse: open() }
    const gateway = await startGateway({ teardown: (end: () => unknown) => void ends.unshift(end) }, options)
    const send = async (method: string, path: string, sent = {}): Promise<void> => {
      const { status, text } = await gateway.signedFetch(admin, method, path, sent)
      if (status !== 200) throw new Error(`${method} ${path}: ${status} ${text}`)
    }
    await send('PUT', '/photos')
    await keys.defaultKey({ region, domainId: admin.domainId }) // made once for good
    taken()
    const headers = {
      'x-amz-server-side-encryption': 'aws:kms',
      'x-amz-server-side-encryption-bucket-key-enabled': String(bucketKey),
    }
    await each(count, i => send('PUT', `/photos/${i}`, { headers, body: 'a small object' }))
    const puts = taken()
    const read = (i: number): Promise<void> => send('GET', `/photos/${i}`)
    await each(count, read)
    const gets = taken()
    await each(count, read)
    return { through: 'gateway', setup: name, objects: count, puts, gets, getsAgain: taken() }
  } finally {
    for (const end of ends) await end()
    await rm(folder, { recursive: true })
  }
}

/** Counts the calls for so many PUTs and two GETs of each object, in each setup. */
export const countCalls = async (
  count: { readonly library: number; readonly gateway: number },
  onReport: (report: CallsReport) => void = () => undefined,
): Promise<readonly CallsReport[]> => {
  const reports: CallsReport[] = []
  for (const [run, many] of [
    [throughLibrary, count.library],
    [throughGateway, count.gateway],
  ] as const) {
    for (const setup of setups) {
      const report = await run(setup, many)
      reports.push(report)
      onReport(report)
    }
  }
  return reports
}

const shown = (calls: Readonly<Record<string, number>>): string => {
  const all = Object.entries(calls).sort(([a], [b]) => (a < b ? -1 : 1))
  const sum = all.reduce((total, [, count]) => total + count, 0)
  const parts = all.map(([method, count]) => `${count.toLocaleString('en')} ${method}`)
  return all.length === 0
    ? '0'
    : all.length === 1
      ? (parts[0] ?? '')
      : `${sum.toLocaleString('en')}: ${parts.join(', ')}`
}

/** The table, as Markdown. */
export const callsTable = (reports: readonly CallsReport[]): string =>
  [
    '| through | with | PUTs, then GETs | calls for the PUTs | calls for the GETs | for another GET of each |',
    '| --- | --- | --- | --- | --- | --- |',
    ...reports.map(
      ({ through, setup, objects, puts, gets, getsAgain }) =>
        `| ${through} | ${setup} | ${objects.toLocaleString('en')} | ${shown(puts)} | ${shown(gets)} | ${shown(getsAgain)} |`,
    ),
  ].join('\n')
