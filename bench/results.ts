/** Results that are kept: what `--save` writes to bench/results, and what the README shows of the newest of them. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { goals } from './goals.ts'
import type { Row } from './harness.ts'
import { type Entry, svg } from './plot.ts'
import { figure, goalsMarkdown, type Machine, rowsTable, withSpread } from './report.ts'
import { bytes } from './support/bytes.ts'

/** A run. */
export interface Results {
  readonly machine: Machine
  readonly rows: readonly Row[]
}

/** Where they are kept. */
export const folder: string = fileURLToPath(new URL('results', import.meta.url))

/** `2026-11-25-AMD-EPYC-v20.20.2-openssl`. */
const nameOf = ({ date, cpu, node, engine }: Machine): string =>
  `${date.slice(0, 10)}-${cpu.replace(/[^A-Za-z0-9]+/g, '-').replace(/^-|-$/g, '')}-${node}-${engine}`

const directions = ['seal', 'open'] as const

/** Who is compared: one line each, sealing and opening, out of the case that has the rivals. */
const entriesOf = ({ rows }: Results): readonly (Entry & { readonly rows: readonly Row[] })[] => {
  const found = new Map<string, Row[]>()
  for (const row of rows.filter(({ case: name }) => name === 'rivals')) {
    const name = row.contestant.replace('createDecipheriv', 'createCipheriv')
    found.set(name, [...(found.get(name) ?? []), row])
  }
  return [...found]
    .map(([name, members]) => ({
      label: members[0]?.suite === undefined ? name : `sse-kms-streams, engine ${members[0].engine ?? ''}`,
      ours: members[0]?.suite !== undefined,
      bars: members.map(row => ({ ...row, series: row.direction === 'open' ? 1 : 0 })),
      rows: members,
    }))
    .toSorted((a, b) => (b.rows[0]?.median ?? 0) - (a.rows[0]?.median ?? 0))
}

const machineLine = ({ date, cpu, cores, node, openssl, engine, command }: Machine): string =>
  `${date.slice(0, 10)}, ${cpu}, ${cores} cores, Node ${node}, OpenSSL ${openssl}, engine ${engine}: ${command}`

const sizeOf = ({ rows }: Results): string =>
  bytes(rows.find(row => row.case === 'rivals' && row.suite !== undefined)?.size ?? 0)

/** The plot of a run. */
export const plotOf = (results: Results): string =>
  svg({
    title: `Sealing and opening ${sizeOf(results)}, one thread`,
    caption: machineLine(results.machine),
    unit: 'MB/s, median and spread of the rounds; openssl speed is the limit of one core, without a stream',
    series: directions,
    entries: entriesOf(results),
  })

/** Writes a run, its plot and the goals; the names of the files. */
export const save = async (results: Results, into = folder): Promise<readonly string[]> => {
  mkdirSync(into, { recursive: true })
  const name = nameOf(results.machine)
  const files = new Map([
    [`${name}.json`, `${JSON.stringify(results, null, 2)}\n`],
    [`${name}.svg`, plotOf(results)],
  ])
  for (const [file, text] of files) writeFileSync(join(into, file), text)
  writeFileSync(join(into, 'README.md'), resultsReadme(runsIn(into)))
  return [...files.keys(), 'README.md'].map(file => join(into, file))
}

/** Writes a comparison with another revision; the name of the file, which says what was compared. */
export const saveComparison = ({ machine, rows }: Results, revision: string, into = folder): string => {
  mkdirSync(into, { recursive: true })
  const cases = [...new Set(rows.map(row => row.case))]
  const path = join(into, `compare-${revision}-${cases.join('-')}.md`)
  const about = `${machineLine(machine)}. Ratios of new to old: more is better for rates, less for times.`
  writeFileSync(path, `# Compared with ${revision}\n\n${about}\n\n\`\`\`text\n${rowsTable(rows)}\n\`\`\`\n`)
  return path
}

/** A run that is kept, and the name of its files. */
interface Kept {
  readonly name: string
  readonly results: Results
}

const resultsReadme = (runs: readonly Kept[]): string => {
  const about = runs.map(
    ({ name, results: { machine } }) => `- [${headingOf(machine)}](${name}.json): ${machineLine(machine)}`,
  )
  const [first] = runs
  const plot = first === undefined ? '' : `\n![${plotTitle(first.results)}](${first.name}.svg)\n`
  return `# Goals and what was reached

${about.join('\n')}

The files have all rows. [Benchmarks](../README.md) says how to read them, and why goals were not met. A cell is empty where the run did not
measure it. "Distance to the floor" is no goal: it says how far something is from the least that any way of doing it costs.

${goalsMarkdown(runs.map(({ results }) => ({ heading: headingOf(results.machine), goals: goals(results.rows, results.machine.node) })))}${plot}`
}

const majorOf = ({ node }: Machine): number => Number.parseInt(node.replace(/^v/, ''), 10)

const headingOf = (machine: Machine): string => `Node ${majorOf(machine)}, ${machine.engine}`

const plotTitle = (results: Results): string => `Sealing and opening ${sizeOf(results)}: bars of MB/s`

/** The runs that are kept: the newest of each Node and engine. The lowest Node comes first, and openssl before node. */
const runsIn = (from: string): readonly Kept[] => {
  const newest = new Map<string, Kept>()
  for (const file of filesIn(from)) {
    const results: Results = JSON.parse(readFileSync(join(from, file), 'utf8'))
    const heading = headingOf(results.machine)
    const other = newest.get(heading)
    if (other !== undefined && other.results.machine.date >= results.machine.date) continue
    newest.set(heading, { name: file.replace(/\.json$/, ''), results })
  }
  return [...newest.values()].toSorted(
    ({ results: { machine: a } }, { results: { machine: b } }) =>
      majorOf(a) - majorOf(b) || b.engine.localeCompare(a.engine),
  )
}

const filesIn = (path: string): readonly string[] => {
  try {
    return readdirSync(path).filter(file => file.endsWith('.json'))
  } catch {
    return [] // nothing was kept yet
  }
}

/** What the README says of the first of the runs that are kept; that there is none, where there is none. */
export const readmeTable = (from = folder): string => {
  const [run] = runsIn(from)
  if (run === undefined) return 'No result is kept in this revision yet: `npm run bench -- --save` makes one.\n'
  const { name, results } = run
  const lines = entriesOf(results).map(({ label, rows }) => {
    const cells = directions.map(direction => {
      const row = rows.find(each => each.direction === direction)
      if (row === undefined) return ''
      const limit = row.ratios.find(({ to }) => to.startsWith('openssl speed'))
      return `${figure(row.median)} MB/s${limit === undefined ? '' : `, ${withSpread(limit)} x openssl speed`}`
    })
    return `| ${[label, ...cells].join(' | ')} |\n`
  })
  const head = `![${plotTitle(results)}](bench/results/${name}.svg)\n\n`
  const table = `| ${sizeOf(results)}, one thread | seal | open |\n| --- | --- | --- |\n${lines.join('')}`
  return `${head}${table}\n${machineLine(results.machine)}. [Goals and what was reached](bench/results/README.md).\n`
}
