/**
 * `npm run fleet`: haproxy, gateways, PostgreSQL, Ceph's gateway and PyKMIP, all real and on this machine; what clients can do with them, and what
 * they see while one of them fails. Exit status 1 where something that was acknowledged is not whole, or a client got what it must not get.
 */
import { CreateBucketCommand } from '@aws-sdk/client-s3'
import { parseArgs } from 'node:util'
import { Ends } from '../ends.ts'
import { machine, writeInto } from '../page.ts'
import { runClient, runScripts } from './course.ts'
import { type EventName, eventNames, type EventReport, events, runEvent } from './events.ts'
import { bucket } from './load.ts'
import { fleetMissing, startFleet } from './parts.ts'
import { courseText, eventsTable, throughputTable } from './report.ts'
import { measureThroughput } from './throughput.ts'

const help = `npm run fleet -- [options]

Starts a fleet on this machine (Debian: haproxy radosgw ceph-mon ceph-osd python3-pykmip; PostgreSQL of Debian or of npm) and shows

  clients      the script of the AWS SDK, compared with one process, and the tests of boto3, awscli, s3cmd and rclone
${eventNames.map(name => `  ${name.padEnd(21)}${events[name].about}`).join('\n')}
  throughput   1, 2 and 4 workers of one gateway, as ratios

  --only NAMES    these alone, separated by commas
  --seconds N     seconds that an event lasts where that can be chosen; default 30
  --upload MIB    MiB that are uploaded in parts while a gateway is killed; default 1024
  --workers N     workers of each of the two gateways; default 2
  --anyway        measures the throughput although the machine has too few cores for it to mean much
  --json          the result for machines
  --write         writes the tables into docs/fleet.md
  --help          this
`

const parts = ['clients', ...eventNames, 'throughput'] as const
type Part = (typeof parts)[number]
const isEvent = (part: Part): part is EventName => eventNames.some(name => name === part)
const clients = ['boto3', 'awscli', 's3cmd', 'rclone'] as const

const number = (name: string, text: string, least: number): number => {
  const value = Number(text)
  if (Number.isFinite(value) && value >= least) return value
  throw new RangeError(`--${name} is a number from ${least}`)
}

const namesIn = (text: string | undefined): readonly Part[] =>
  text === undefined
    ? parts
    : text.split(',').map(each => {
        const found = parts.find(name => name === each.trim())
        if (found === undefined) throw new RangeError(`--only: there is no ${each}; there are ${parts.join(', ')}`)
        return found
      })

const say = (line: string): void => void process.stderr.write(`${line}\n`)

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      seconds: { type: 'string', default: '30' },
      upload: { type: 'string', default: '1024' },
      workers: { type: 'string', default: '2' },
      anyway: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return void process.stdout.write(help)
  const wanted = namesIn(values.only)
  const seconds = number('seconds', values.seconds, 1)
  const uploadBytes = number('upload', values.upload, 0) * 1_048_576
  const workers = number('workers', values.workers, 1)
  if (fleetMissing !== false) throw new Error(fleetMissing)
  const show = async (name: string, found: unknown, text: string): Promise<void> => {
    const whole = `${text}\n\n${machine()}.`
    process.stdout.write(values.json ? `${JSON.stringify({ [name]: found, machine: machine() })}\n` : `${whole}\n\n`)
    if (values.write) await writeInto('fleet.md', name, whole)
  }

  const ends = new Ends()
  try {
    if (wanted.some(part => part !== 'throughput')) {
      say(`starts PostgreSQL, Ceph's gateway, PyKMIP, two gateways with ${workers} workers each, haproxy`)
      const fleet = await startFleet(ends, { gateways: 2, workers })
      say(`clients go to ${fleet.url}`)
      if (wanted.includes('clients')) {
        say('clients: the script of the AWS SDK')
        const script = await runScripts(ends, fleet)
        for (const gateway of fleet.gateways) await gateway.kill().then(() => gateway.start('obs'))
        const failures: Record<string, string | undefined> = {}
        for (const name of clients) {
          say(`clients: ${name}`)
          failures[name] = await runClient(fleet, name)
        }
        if (script.differences.length > 0 || Object.values(failures).some(Boolean)) process.exitCode = 1
        await show('clients', { script, failures }, courseText(script, failures))
      }
      const names = wanted.filter(isEvent)
      const reports: EventReport[] = []
      if (names.length > 0) await fleet.client().send(new CreateBucketCommand({ Bucket: bucket }))
      for (const name of names) {
        const options = { seconds, uploadBytes: name === 'gateway killed' ? uploadBytes : 0, progress: say }
        const report = await runEvent(fleet, name, options)
        for (const problem of report.problems) say(`${name}: WRONG: ${problem}`)
        if (report.problems.length > 0) process.exitCode = 1
        reports.push(report)
      }
      if (reports.length > 0) await show('events', reports, eventsTable(reports))
    }
  } finally {
    await ends.run()
  }
  if (wanted.includes('throughput')) {
    const reports = await measureThroughput([1, 2, 4], { seconds: Math.min(seconds, 10), anyway: values.anyway, say })
    await show('throughput', reports, throughputTable(reports))
  }
}

try {
  await main()
} catch (error) {
  say(`fleet: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 2
}
