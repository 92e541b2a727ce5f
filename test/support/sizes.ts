/**
 * `npm run sizes`: what the package costs whoever imports it. Bytes of a bundle for browsers, and files, time and memory of an import in a
 * fresh process. Exit status 1 where a bundle or the number of files is beyond its limit; time and memory depend on the machine, and are told.
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { build, type BuildResult, type Metafile } from 'esbuild'
import { machine, writeInto } from './page.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const rivals = fileURLToPath(new URL('../../bench/thirdparty', import.meta.url))

/** What is imported: some names of a module, or all of them. */
interface Import {
  readonly names: readonly string[] | 'all'
  readonly from: string
  /** The folder that finds it. */
  readonly in: string
}

const from = './dist/web.js'
/** The imports that are bundled. */
export const bundles = {
  web: { names: 'all', from, in: root },
  createSse: { names: ['createSse'], from, in: root },
  parseRange: { names: ['parseRange'], from, in: root },
  SseError: { names: ['SseError'], from, in: root },
} as const satisfies Record<string, Import>

/** Limits in bytes (gzip) of what a page loads first. */
export const limits = { web: 27_500, createSse: 27_000, parseRange: 1_000, SseError: 4_500 } as const

/** Files that an import in Node loads. */
export const fileLimits = { '.': 80, './web': 55 } as const

/** Bytes of a bundle. */
export interface BundleSize {
  /** Minified, and its gzip -9: what is loaded first. */
  readonly minified: number
  readonly gzip: number
  /** gzip of the parts that are loaded when they are used. */
  readonly later: number
}

type Output = Metafile['outputs'][string]

/** An output and what it imports: at once, or also when it is used. */
const reached = (outputs: Metafile['outputs'], path: string, later: boolean, seen = new Set<string>()) => {
  if (seen.has(path)) return seen
  seen.add(path)
  const imports: Output['imports'] = outputs[path]?.imports ?? []
  for (const { path: next, kind } of imports) {
    if (kind === 'import-statement' || later) reached(outputs, next, later, seen)
  }
  return seen
}

/** Bundles an import for browsers, minified, as ES modules. */
export const bundleSize = async ({ names, from, in: resolveDir }: Import): Promise<BundleSize> => {
  const contents = `export ${names === 'all' ? '*' : `{ ${names.join(', ')} }`} from ${JSON.stringify(from)}`
  const options = {
    stdin: { contents, resolveDir },
    outdir: '/out',
    bundle: true,
    splitting: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    logLevel: 'silent',
    write: false,
    metafile: true,
    absWorkingDir: resolveDir,
  } as const
  const { outputFiles, metafile }: BuildResult<typeof options> = await build(options)
  const sizes = new Map(outputFiles.map(({ path, contents }) => [basename(path), contents]))
  const entry = Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint === '<stdin>')?.[0] ?? ''
  const [first, all] = [false, true].map(later => reached(metafile.outputs, entry, later))
  const sum = (paths: Iterable<string>, size: (bytes: Uint8Array) => number): number =>
    [...paths].reduce((total, path) => total + size(sizes.get(basename(path)) ?? new Uint8Array()), 0)
  const zipped = (bytes: Uint8Array): number => gzipSync(bytes, { level: 9 }).length
  const gzip = sum(first ?? [], zipped)
  return { minified: sum(first ?? [], bytes => bytes.length), gzip, later: sum(all ?? [], zipped) - gzip }
}

/** Files that an import of an entry loads at once, and their bytes. */
export const filesOf = async (file: string): Promise<{ readonly files: number; readonly bytes: number }> => {
  const { metafile } = await build({
    stdin: { contents: `import ${JSON.stringify(file)}`, resolveDir: root },
    bundle: true,
    format: 'esm',
    platform: 'node',
    treeShaking: false,
    logLevel: 'silent',
    write: false,
    metafile: true,
    absWorkingDir: root,
  })
  const seen = new Set<string>()
  const reach = (path: string): void => {
    if (seen.has(path)) return
    seen.add(path)
    for (const next of metafile.inputs[path]?.imports ?? []) {
      if (next.kind === 'import-statement' && next.external !== true) reach(next.path)
    }
  }
  reach('<stdin>')
  seen.delete('<stdin>')
  const bytes = [...seen].reduce((all, path) => all + (metafile.inputs[path]?.bytes ?? 0), 0)
  return { files: seen.size, bytes }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

/** Milliseconds of wall and MB of memory of a fresh process that runs a line of code. */
const processCost = (code: string, cwd: string, runs: number): { readonly ms: number; readonly mb: number } => {
  const times: number[] = []
  const memory: number[] = []
  for (let run = 0; run < runs; run++) {
    const start = performance.now()
    const line = `${code}; process.stdout.write(String(process.memoryUsage.rss()))`
    const told = execFileSync(process.execPath, ['--input-type=module', '-e', line], { cwd, encoding: 'utf8' })
    times.push(performance.now() - start)
    memory.push(Number(told) / 1e6)
  }
  return { ms: median(times), mb: median(memory) }
}

interface ImportCost {
  readonly files: number
  readonly kilobytes: number
  readonly ms: number
  readonly mb: number
}

const importCost = async (
  file: string,
  bare: ReturnType<typeof processCost>,
  runs: number,
  cwd = root,
): Promise<ImportCost> => {
  const { files, bytes } = cwd === root ? await filesOf(file) : { files: 0, bytes: 0 }
  const { ms, mb } = processCost(`await import(${JSON.stringify(file)})`, cwd, runs)
  return { files, kilobytes: bytes / 1000, ms: ms - bare.ms, mb: mb - bare.mb }
}

const help = `npm run sizes -- [options]

What an import of the package costs: a bundle for browsers (esbuild, minified, gzip -9), and files, time and memory in a fresh process of
Node, beside an empty one. Beside it stands age-encryption where the rivals of the benchmarks are installed.

  --runs N    processes for each import, of which the median counts; default 15
  --json      the result for machines
  --write     writes the tables into docs/sizes.md
  --help      this
`

interface Sizes {
  readonly machine: string
  readonly bundles: Readonly<Record<string, BundleSize & { readonly limit?: number | undefined }>>
  readonly imports: Readonly<Record<string, ImportCost & { readonly limit?: number | undefined }>>
}

const measure = async (runs: number): Promise<Sizes> => {
  const sized: Record<string, Sizes['bundles'][string]> = {}
  for (const name of ['web', 'createSse', 'parseRange', 'SseError'] as const) {
    sized[name] = { ...(await bundleSize(bundles[name])), limit: limits[name] }
  }
  const bare = processCost('0', root, runs)
  const imports: Record<string, Sizes['imports'][string]> = {
    '.': { ...(await importCost('./dist/index.js', bare, runs)), limit: fileLimits['.'] },
    './web': { ...(await importCost('./dist/web.js', bare, runs)), limit: fileLimits['./web'] },
  }
  if (existsSync(`${rivals}/node_modules/age-encryption`)) {
    sized['age-encryption'] = await bundleSize({ names: 'all', from: 'age-encryption', in: rivals })
    imports['age-encryption'] = await importCost('age-encryption', bare, runs, rivals)
  } else process.stderr.write('age-encryption is left out: npm ci --prefix bench/thirdparty installs it\n')
  return { machine: machine(), bundles: sized, imports }
}

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows].map(row => `| ${row.join(' | ')} |`).join('\n')

const kb = (bytes: number): string => (bytes / 1000).toFixed(1)
const shown: Readonly<Record<string, string>> = {
  web: '`export * from "sse-kms-streams/web"`',
  '.': '`sse-kms-streams`',
  './web': '`sse-kms-streams/web`',
  'age-encryption': '`age-encryption`',
}
const nameOf = (name: string): string => shown[name] ?? `\`import { ${name} } from "sse-kms-streams/web"\``

const tables = ({ bundles, imports, machine }: Sizes): string =>
  [
    table(
      ['bundle', 'minified, kB', 'gzip, kB', 'limit, kB', 'loaded when used, gzip, kB'],
      Object.entries(bundles).map(([name, { minified, gzip, later, limit }]) => [
        nameOf(name),
        kb(minified),
        kb(gzip),
        limit === undefined ? '' : kb(limit),
        kb(later),
      ]),
    ),
    table(
      ['import in Node', 'files', 'limit', 'kB of files', 'ms beyond bare Node', 'MB beyond bare Node'],
      Object.entries(imports).map(([name, { files, kilobytes, ms, mb, limit }]) => [
        nameOf(name),
        files === 0 ? '' : String(files),
        limit === undefined ? '' : String(limit),
        files === 0 ? '' : kilobytes.toFixed(0),
        ms.toFixed(0),
        mb.toFixed(1),
      ]),
    ),
    `On ${machine}.`,
  ].join('\n\n')

/** What is beyond its limit, as lines. */
export const exceeded = ({ bundles, imports }: Pick<Sizes, 'bundles' | 'imports'>): readonly string[] => [
  ...Object.entries(bundles)
    .filter(([, { gzip, limit = Infinity }]) => gzip > limit)
    .map(([name, { gzip, limit }]) => `${nameOf(name)} has ${gzip} bytes, and its limit is ${limit}`),
  ...Object.entries(imports)
    .filter(([, { files, limit = Infinity }]) => files > limit)
    .map(([name, { files, limit }]) => `${nameOf(name)} loads ${files} files, and its limit is ${limit}`),
]

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '15' },
      json: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return void process.stdout.write(help)
  const runs = Number(values.runs)
  if (!Number.isSafeInteger(runs) || runs < 1) throw new RangeError('--runs is a whole number from 1')
  const sizes = await measure(runs)
  process.stdout.write(`${values.json ? JSON.stringify(sizes, undefined, 2) : tables(sizes)}\n`)
  if (values.write) await writeInto('sizes.md', 'sizes', tables(sizes))
  for (const line of exceeded(sizes)) {
    process.stderr.write(`${line}\n`)
    process.exitCode = 1
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
