/**
 * `npm run outage`: what a gateway does while its key manager is killed, hung, throttling or lying, measured; and how often a key manager is
 * asked. Exit status 1 where an acknowledged object does not open, or a request got an answer that it must not get.
 */
import { parseArgs } from 'node:util'
import { kmipMissing } from '../kmip.ts'
import { machine, writeInto } from '../page.ts'
import { callsTable, countCalls } from './calls.ts'
import { defaultLoad, kinds } from './load.ts'
import { type PhaseName, phaseNames, phases, runPhase } from './phases.ts'
import { outageTable, type PhaseReport } from './report.ts'

const help = `npm run outage -- [options]

A gateway over PyKMIP (Debian: python3-pykmip) under a load of PUTs and GETs with SSE-KMS, while something is wrong with the key manager:

${phaseNames.map(name => `  ${name.padEnd(12)}${phases[name].about}`).join('\n')}

  --only NAMES    these phases alone, separated by commas
  --seconds N     seconds that each lasts; default 60
  --calls         counts the calls to a key manager for PUTs and GETs instead
  --requests N    PUTs and GETs that are counted through the library; default 10000
  --gateway N     PUTs and GETs that are counted through the gateway; default 10000
  --json          the result for machines
  --write         writes the tables into docs/outage.md
  --help          this
`

const positive = (name: string, text: string): number => {
  const value = Number(text)
  if (Number.isFinite(value) && value > 0) return value
  throw new RangeError(`--${name} is a number above 0`)
}

const namesIn = (text: string | undefined): readonly PhaseName[] => {
  if (text === undefined) return phaseNames
  return text.split(',').map(each => {
    const found = phaseNames.find(name => name === each.trim())
    if (found === undefined)
      throw new RangeError(`--only: there is no phase ${each}; there are ${phaseNames.join(', ')}`)
    return found
  })
}

const clients = kinds.map(kind => `${defaultLoad.clients[kind]} ${kind}`).join('; ')

const say = (line: string): void => void process.stderr.write(`${line}\n`)

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      seconds: { type: 'string', default: '60' },
      calls: { type: 'boolean', default: false },
      requests: { type: 'string', default: '10000' },
      gateway: { type: 'string', default: '10000' },
      json: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return void process.stdout.write(help)
  const show = async (name: string, found: unknown, table: string): Promise<void> => {
    const text = `${table}\n\n${machine()}.`
    process.stdout.write(values.json ? `${JSON.stringify({ machine: machine(), found }, undefined, 2)}\n` : `${text}\n`)
    if (values.write) await writeInto('outage.md', name, text)
  }
  if (values.calls) {
    const [library, gateway] = [
      Math.ceil(positive('requests', values.requests)),
      Math.ceil(positive('gateway', values.gateway)),
    ]
    const reports = await countCalls({ library, gateway }, ({ through, setup }) => say(`${through}, ${setup}: counted`))
    return show('calls', reports, callsTable(reports))
  }
  const [names, seconds] = [namesIn(values.only), positive('seconds', values.seconds)]
  if (kmipMissing !== false) throw new Error(kmipMissing)
  const reports: PhaseReport[] = []
  for (const name of names) {
    const report = await runPhase(name, { seconds, progress: say })
    for (const problem of report.problems) say(`${name}: WRONG: ${problem}`)
    reports.push(report)
  }
  await show(
    'outage',
    reports,
    `Clients: ${clients}; ${defaultLoad.think} ms between two requests of one.\n\n${outageTable(reports)}`,
  )
  if (reports.some(({ problems }) => problems.length > 0)) process.exitCode = 1
}

try {
  await main()
} catch (error) {
  say(`outage: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 2
}
