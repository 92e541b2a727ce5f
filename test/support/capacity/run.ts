/**
 * `npm run capacity`: what objects and requests cost: bytes of index, calls to the key manager, requests to the storage of the bodies; and how a
 * million objects in PostgreSQL are listed.
 */
import { parseArgs } from 'node:util'
import { Ends } from '../ends.ts'
import { machine, writeInto } from '../page.ts'
import { postgresMissing } from '../postgres.ts'
import { costsTable, countCosts } from './calls.ts'
import { measureMillion, type MillionReport } from './million.ts'
import { measureSizes, sizesTable } from './sizes.ts'

const help = `npm run capacity -- [options]

  calls      calls to the key manager and requests to the storage of the bodies, by request and setting
  sizes      bytes of index of an object, by kind, in the embedded index and in PostgreSQL
  million    a million objects in PostgreSQL: a put, pages of a listing and their plans, memory of a gateway

  --only NAMES   these alone, separated by commas
  --objects N    rows of "million"; default 1000000
  --prefixes N   their common prefixes; default 100000
  --sample N     objects of each kind of "sizes"; default 2000
  --json         the result for machines
  --write        writes the tables into docs/capacity.md
  --help         this
`

const parts = ['calls', 'sizes', 'million'] as const

const whole = (name: string, text: string): number => {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  throw new RangeError(`--${name} is a whole number above 0`)
}

const say = (line: string): void => void process.stderr.write(`${line}\n`)

const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20).toLocaleString('en')} MiB`

const millionText = ({ objects, prefixes, seconds, bytes, times, memory, plans }: MillionReport): string =>
  [
    `${objects.toLocaleString('en')} objects of 1 KiB under SSE-KMS, bodies in the index, under ${prefixes.toLocaleString('en')} common prefixes: ` +
      `${mebibytes(bytes)} of tables and indexes, made in ${seconds.toFixed(0)} s as copies of a row that the gateway wrote. Through the gateway, medians:`,
    '',
    '| request | time |',
    '| --- | --- |',
    ...Object.entries(times).map(([name, time]) => `| ${name} | ${time.toFixed(1)} ms |`),
    '',
    `Memory of the gateway (resident): ${mebibytes(memory.started)} after its start, ${mebibytes(memory.ended)} in the end.`,
    ...Object.entries(plans).map(
      ([name, plan]) => `\nThe plan of a page of 1,000 ${name}:\n\n\`\`\`text\n${plan}\n\`\`\``,
    ),
  ].join('\n')

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      objects: { type: 'string', default: '1000000' },
      prefixes: { type: 'string', default: '100000' },
      sample: { type: 'string', default: '2000' },
      json: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return void process.stdout.write(help)
  const wanted = values.only?.split(',').map(name => name.trim()) ?? parts
  for (const name of wanted) {
    if (!parts.some(part => part === name))
      throw new RangeError(`--only: there is no ${name}; there are ${parts.join(', ')}`)
  }
  const show = async (name: string, found: unknown, text: string): Promise<void> => {
    const all = `${text}\n\n${machine()}.`
    process.stdout.write(values.json ? `${JSON.stringify({ [name]: found, machine: machine() })}\n` : `${all}\n\n`)
    if (values.write) await writeInto('capacity.md', name, all)
  }
  const ends = new Ends()
  try {
    if (wanted.includes('calls')) {
      const costs = await countCosts(ends)
      await show('calls', costs, costsTable(costs))
    }
    if (wanted.includes('sizes')) {
      const sizes = await measureSizes(ends, whole('sample', values.sample), say)
      await show('sizes', sizes, sizesTable(sizes))
    }
    if (wanted.includes('million')) {
      if (postgresMissing !== false) say(`million: skipped: ${postgresMissing}`)
      else {
        const [objects, prefixes] = [whole('objects', values.objects), whole('prefixes', values.prefixes)]
        const million = await measureMillion(ends, { objects, prefixes, say })
        await show('million', million, millionText(million))
      }
    }
  } finally {
    await ends.run()
  }
}

try {
  await main()
} catch (error) {
  say(`capacity: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 2
}
