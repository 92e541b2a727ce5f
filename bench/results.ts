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

/** `2026-11-25-AMD-EPYC-v20.20.2`. */
const nameOf = ({ date, cpu, node }: Machine): string =>
  `${date.slice(0, 10)}-${cpu.replace(/[^A-Za-z0-9]+/g, '-').replace(/^-|-$/g, '')}-${node}`

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

const machineLine = ({ date, cpu, cores, node, openssl, command }: Machine): string =>
  `${date.slice(0, 10)}, ${cpu}, ${cores} cores, Node ${node}, OpenSSL ${openssl}: ${command}`

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
    ['README.md', resultsReadme(results, name)],
  ])
  for (const [file, text] of files) writeFileSync(join(into, file), text)
  return [...files.keys()].map(file => join(into, file))
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

const resultsReadme = (results: Results, name: string): string => `# Goals and what was reached

${machineLine(results.machine)}. All rows: [${name}.json](${name}.json). How to read them: [benchmarks](../README.md).

${goalsMarkdown(goals(results.rows))}
![${plotTitle(results)}](${name}.svg)
`

const plotTitle = (results: Results): string => `Sealing and opening ${sizeOf(results)}: bars of MB/s`

/** The newest run that is kept, with the name of its files. */
export const newest = (from = folder): { readonly name: string; readonly results: Results } | undefined => {
  const runs = filesIn(from).map(file => {
    const results: Results = JSON.parse(readFileSync(join(from, file), 'utf8'))
    return { name: file.replace(/\.json$/, ''), results }
  })
  return runs.toSorted((a, b) => (a.results.machine.date < b.results.machine.date ? 1 : -1))[0]
}

const filesIn = (path: string): readonly string[] => {
  try {
    return readdirSync(path).filter(file => file.endsWith('.json'))
  } catch {
    return [] // nothing was kept yet
  }
}

/** What the README says of the newest run; that there is none, where there is none. */
export const readmeTable = (from = folder): string => {
  const run = newest(from)
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
