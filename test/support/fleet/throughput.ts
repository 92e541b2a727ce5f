/** How much 1, 2 and 4 processes of a gateway take, in one run: ratios, for what they share is on the same machine. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { CreateBucketCommand } from '@aws-sdk/client-s3'
import { Ends } from '../ends.ts'
import { bucket } from './load.ts'
import { type Fleet, startFleet } from './parts.ts'

/** Requests of one kind, and the bytes of a body. */
export interface Measure {
  readonly method: 'PUT' | 'GET'
  readonly size: number
}

/** What is measured. */
export const measures: readonly Measure[] = [4096, 1_048_576].flatMap(size => [
  { method: 'PUT', size },
  { method: 'GET', size },
])

/** What a child of the load is told. */
export interface ChildTask extends Measure {
  readonly url: string
  readonly region: string
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string }
  readonly name: string
  readonly seconds: number
}

/** Requests a second, or why they were not measured. */
export interface ThroughputReport {
  readonly processes: number
  readonly skipped?: string | undefined
  readonly rates: readonly (Measure & { readonly perSecond: number })[]
}

const childPath = fileURLToPath(new URL('throughput-child.ts', import.meta.url))

const runChild = async (task: ChildTask): Promise<number> => {
  const child = fork(childPath, { execArgv: ['--import', 'tsx'] })
  child.send(task)
  const [count]: unknown[] = await Promise.race([once(child, 'message'), once(child, 'exit')])
  if (typeof count !== 'number') throw new Error('a client of the load ended')
  child.disconnect()
  return count
}

const measure = async (fleet: Fleet, { method, size }: Measure, clients: number, seconds: number): Promise<number> => {
  const [{ accessKeyId, secretAccessKey }] = fleet.users
  const { url, region } = fleet
  const credentials = { accessKeyId, secretAccessKey }
  const tasks = Array.from({ length: clients }, (_, i) => ({
    ...{ url, region, credentials, method, size, seconds, name: `client-${i}-${size}` },
  }))
  const counts = await Promise.all(tasks.map(runChild))
  return counts.reduce((sum, count) => sum + count, 0) / seconds
}

/** Measures with so many workers of one gateway; skips those for which the machine has not two cores more, unless `anyway`. */
export const measureThroughput = async (
  processes: readonly number[],
  {
    seconds,
    anyway,
    say,
  }: { readonly seconds: number; readonly anyway: boolean; readonly say: (line: string) => void },
): Promise<readonly ThroughputReport[]> => {
  const reports: ThroughputReport[] = []
  for (const count of processes) {
    if (availableParallelism() < count + 2 && !anyway) {
      const skipped = `needs ${count + 2} cores, the machine has ${availableParallelism()}`
      say(`${count} processes: skipped, ${skipped}`)
      reports.push({ processes: count, skipped, rates: [] })
      continue
    }
    const ends = new Ends()
    try {
      say(`${count} processes: starts`)
      const fleet = await startFleet(ends, { gateways: 1, workers: count })
      await fleet.client().send(new CreateBucketCommand({ Bucket: bucket }))
      const rates: ThroughputReport['rates'][number][] = []
      for (const each of measures) {
        const perSecond = await measure(fleet, each, Math.max(2, count), seconds)
        say(`${count} processes: ${each.method} ${each.size} bytes, ${perSecond.toFixed(1)} a second`)
        rates.push({ ...each, perSecond })
      }
      reports.push({ processes: count, rates })
    } finally {
      await ends.run()
    }
  }
  return reports
}
