/** `npm run bench`: parses the command line, runs the cases, prints and keeps what they reached. `-- --help` says the rest. */
import { mkdtemp, rm } from 'node:fs/promises'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cases } from './cases/index.ts'
import { buildOf, paired } from './compare.ts'
import { flames } from './flame.ts'
import { goals } from './goals.ts'
import { type Bench, type BenchCase, type Group, type Row, runGroup } from './harness.ts'
import { type Lib, loadLib } from './lib.ts'
import { help, type Options, parseOptions } from './options.ts'
import { goalsTable, machine, rowsTable } from './report.ts'
import { folder, type Results, save, saveComparison } from './results.ts'
import { chosenOf } from './support/engines.ts'

const rounds = { tiny: 1, quick: 5, full: 9 } as const
const budgets = { tiny: 0, quick: 2, full: Infinity } as const

/** The one line of progress at the bottom of a terminal; elsewhere each case is a line. */
const progress = {
  show: (text: string) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`)
  },
  clear: () => {
    if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
  },
  line: (text: string) => {
    progress.clear()
    process.stderr.write(`${text}\n`)
  },
}

const noted = new Set<string>()
const note = (line: string): void => {
  if (!noted.has(line)) progress.line(line)
  noted.add(line)
}

/** Gives work what a case is made with, and cleans up after it. */
const withBench = async <T>(
  extent: Options['extent'],
  work: (bench: (lib: Lib) => Bench) => Promise<T>,
): Promise<T> => {
  const cleanups: (() => unknown)[] = []
  const after = (clean: () => unknown) => {
    cleanups.push(clean)
  }
  const bench = (lib: Lib): Bench => ({
    lib,
    pick: (tiny, quick, full) => ({ tiny, quick, full })[extent],
    note,
    directory: async () => {
      const made = await mkdtemp(join(tmpdir(), 'sse-kms-bench-'))
      after(() => rm(made, { recursive: true, force: true }))
      return made
    },
    after,
  })
  try {
    return await work(bench)
  } finally {
    for (const clean of cleanups.toReversed()) await clean()
  }
}

/** Runs a case; with another revision, both in turn. */
const runCase = async (
  one: BenchCase,
  { extent }: Options,
  lib: Lib,
  other: { readonly lib: Lib; readonly name: string } | undefined,
  bench: (lib: Lib) => Bench,
): Promise<readonly Row[]> => {
  const make = async (): Promise<readonly Group[]> => {
    const groups = await one.make(bench(lib))
    return other === undefined ? groups : paired(groups, await one.make(bench(other.lib)), other.name, note)
  }
  const rows: Row[] = []
  for (const group of await make()) {
    const schedule = { rounds: rounds[extent], budget: budgets[extent], progress: progress.show, note }
    rows.push(...(await runGroup(one.name, group, schedule)))
  }
  return rows
}

const main = async (): Promise<void> => {
  const options = parseOptions(process.argv.slice(2))
  if (options.help) return console.log(help)
  if (options.list) return console.log(cases.map(({ name, about }) => `${name.padEnd(12)}${about}`).join('\n'))
  const unknown = options.only.find(name => !cases.some(one => one.name === name))
  if (unknown !== undefined) throw new TypeError(`there is no case ${unknown}: see --list`)
  const old = options.compare === undefined ? undefined : await buildOf(options.compare, progress.line)
  try {
    const lib = await loadLib()
    const engine = (await chosenOf(lib)).name
    if (!options.untuned) lib.core.tuneMemory() // for all contestants alike, as a server would
    if (options.flame) {
      const { date, cpu, node } = machine(options.extent, engine)
      const caption = `${date.slice(0, 10)}, ${cpu}, Node ${node}: npm run bench -- --flame`
      const written = await withBench(options.extent, bench => flames(bench(lib), caption, folder))
      for (const path of written) progress.line(`written: ${path}`)
      return
    }
    const other = old && { lib: await loadLib(old.dist), name: old.name }
    const chosen = cases.filter(({ name }) => options.only.length === 0 || options.only.includes(name))
    const rows: Row[] = []
    for (const [i, one] of chosen.entries()) {
      const [start, cpu] = [performance.now(), process.cpuUsage()]
      if (!process.stderr.isTTY) progress.line(`${one.name} (${i + 1} of ${chosen.length})`)
      rows.push(...(await withBench(options.extent, bench => runCase(one, options, lib, other, bench))))
      const { user, system } = process.cpuUsage(cpu)
      const seconds = [(performance.now() - start) / 1000, (user + system) / 1e6].map(each => each.toFixed(1))
      progress.line(`${one.name}: ${seconds[0]} s, ${seconds[1]} s of CPU in this process`)
    }
    progress.clear()
    const about = machine(options.extent, engine)
    console.log(`${about.date}  ${about.cpu}, ${about.cores} cores  Node ${about.node}, OpenSSL ${about.openssl}`)
    console.log(`${about.command}\n\n${rowsTable(rows)}`)
    const results: Results = { machine: about, rows }
    if (other === undefined) console.log(`\n${goalsTable(goals(rows, about.node))}`)
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(results, null, 2)}\n`)
    if (!options.save) return
    const written = other === undefined ? await save(results) : [saveComparison(results, other.name)]
    for (const path of written) progress.line(`written: ${path}`)
  } finally {
    await old?.remove()
  }
}

try {
  await main()
} catch (error) {
  if (!(error instanceof TypeError)) throw error
  progress.line(`${error.message}\nSee npm run bench -- --help`)
  process.exitCode = 2
}
