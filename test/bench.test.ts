/** The benchmarks run: one round of some cases with the smallest bodies. Nothing about speed is asserted. `npm run build` comes first. */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'

const root = fileURLToPath(new URL('..', import.meta.url))
const run = promisify(execFile)

/** The benchmarks in a process of their own; their coverage is not this package's. */
const tsx = (args: readonly string[]) =>
  run('env', ['-u', 'NODE_OPTIONS', '-u', 'NODE_V8_COVERAGE', process.execPath, '--import', 'tsx', ...args], {
    cwd: root,
  })
const bench = (...args: readonly string[]) => tsx(['bench/run.ts', ...args])

interface Row {
  readonly case: string
  readonly contestant: string
  readonly direction: string
  readonly unit: string
  readonly median: number
  readonly ratios: readonly { readonly to: string; readonly median: number }[]
}

interface Results {
  readonly machine: { readonly node: string; readonly command: string }
  readonly rows: readonly Row[]
}

const parse = (text: string): Results => JSON.parse(text)

t.test('cases of every kind, their output checked', async t => {
  const json = join(t.testdir(), 'results.json')
  const { stdout, stderr } = await bench('--tiny', '--only', 'multipart', '--only', 'copy', '--json', json)
  const { machine, rows } = parse(readFileSync(json, 'utf8'))
  t.match(machine, {
    node: process.version,
    command: `npm run bench -- --tiny --only multipart --only copy --json ${json}`,
  })
  t.strictSame(new Set(rows.map(row => row.case)), new Set(['multipart', 'copy']))
  for (const { contestant, median } of rows) t.ok(median > 0 && Number.isFinite(median), contestant)
  const [one, ...parts] = rows.filter(row => row.case === 'multipart')
  for (const { median, ratios } of parts) {
    t.strictSame(
      ratios.map(({ to, median }) => ({ to, median })),
      [{ to: 'one stream', median: median / (one?.median ?? 0) }],
      'a ratio is that of the two figures of the round',
    )
  }
  t.match(stdout, /^rewrap of the largest object .* x +(?:yes|no)$/m, 'a goal that was measured')
  t.match(stdout, /^gateway, PUT .* not measured$/m, 'a goal that was not')
  t.match(stderr, /^multipart: /m, 'progress')
})

t.test('a kept run: results, plot, goals, and what the README shows', async t => {
  const row = (contestant: string, direction: string, median: number, more: object = {}) => ({
    ...{ case: 'rivals', group: 'seal and open', contestant, direction, unit: 'MB/s', rounds: 3, size: 1_048_576 },
    ...{ median, minimum: median - 10, maximum: median + 10 },
    ...{ ratios: [{ to: 'openssl speed aes-256-gcm', median: median / 2000, minimum: 0.1, maximum: 1 }], ...more },
  })
  const about = {
    date: '2026-01-02T03:04:05Z',
    cpu: 'CPU <1>',
    cores: 2,
    node: 'v1',
    openssl: '3',
    engine: 'node',
    command: 'bench',
  }
  const rows = [
    row('openssl speed aes-256-gcm', 'seal', 2000, { ratios: [] }),
    row('suite 1, node, Transform', 'seal', 1500, { suite: 1, engine: 'node' }),
    row('suite 1, node, Transform', 'open', 1400, { suite: 1, engine: 'node' }),
    row('other', 'seal', 100, { segmented: true }),
  ]
  const folder = t.testdir({ 'run.json': JSON.stringify({ machine: about, rows }), results: {} })
  const script = join(folder, 'keep.ts')
  const results = join(root, 'bench/results.ts')
  writeFileSync(
    script,
    `import { readFileSync } from 'node:fs'
     import { readmeTable, save } from ${JSON.stringify(results)}
     console.log(readmeTable(${JSON.stringify(join(folder, 'none'))}))
     await save(JSON.parse(readFileSync(${JSON.stringify(join(folder, 'run.json'))}, 'utf8')), ${JSON.stringify(join(folder, 'results'))})
     console.log(readmeTable(${JSON.stringify(join(folder, 'results'))}))`,
  )
  const { stdout } = await tsx([script])
  t.match(stdout, 'No result is kept in this revision yet')
  t.match(stdout, '| sse-kms-streams, engine node | 1500 MB/s, 0.75 (0.10..1.00) x openssl speed | 1400 MB/s, 0.70')
  t.match(stdout, '](bench/results/2026-01-02-CPU-1-v1-node.svg)')
  const files = readdirSync(join(folder, 'results')).toSorted()
  t.strictSame(files, ['2026-01-02-CPU-1-v1-node.json', '2026-01-02-CPU-1-v1-node.svg', 'README.md'])
  const svg = readFileSync(join(folder, 'results/2026-01-02-CPU-1-v1-node.svg'), 'utf8')
  t.match(svg, /<text [^>]*>sse-kms-streams, engine node<\/text>/)
  t.match(svg, 'CPU &lt;1>')
  t.match(readFileSync(join(folder, 'results/README.md'), 'utf8'), 'Node 1, node')
})

t.test('the command line', async t => {
  const { stdout: help } = await bench('--help')
  for (const option of ['full', 'tiny', 'only', 'list', 'json', 'save', 'untuned', 'flame', 'compare'])
    t.match(help, `  --${option} `)
  const { stdout: list } = await bench('--list')
  const names = list
    .trim()
    .split('\n')
    .map(line => line.split(' ')[0] ?? '')
  t.ok(names.length >= 10)
  const readme = readFileSync(join(root, 'bench/README.md'), 'utf8')
  for (const name of names) t.match(readme, `\n- \`${name}\`: `, `bench/README.md has a line about ${name}`)
  await t.rejects(bench('--only', 'nothing'), { code: 2, stderr: /there is no case nothing/ })
  await t.rejects(bench('--fast'), { code: 2, stderr: /--fast/ })
})
