/**
 * `npm run runtimes`: each runtime writes files, and opens those of all others, over `sse-kms-streams` with `LocalKms` and over
 * `sse-kms-streams/web`, under a key of one key store. Exit status 1 where one does not open. What is not installed is left out, with a line.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { encryptionContext, LocalKms } from '../../lib/index.ts'
import { majors, nodeOf } from '../support/nodes.ts'
import { machine, writeInto } from '../support/page.ts'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = fileURLToPath(new URL('../..', import.meta.url))
/** Milliseconds that one course may take. */
const patience = 60_000

interface Runtime {
  readonly name: string
  readonly command: string
  /** What stands before the program. */
  readonly flags: readonly string[]
  readonly browser?: boolean
  /** What installs it. */
  readonly from: string
}

/** How a course went. */
interface Report {
  readonly name: string
  readonly failed?: string
  readonly opened?: number
  readonly files?: number
  readonly wrong?: Readonly<Record<string, string>>
}

const say = (line: string): void => void process.stderr.write(`${line}\n`)

const withRuntimes = 'npm ci --prefix test/runtimes'
const candidates: readonly Omit<Runtime, 'name'>[] = [
  { command: process.execPath, flags: [], from: '' },
  ...majors.map(major => ({
    command: nodeOf(major) ?? `Node ${major}`,
    flags: [],
    from: 'npm ci --prefix bench/thirdparty',
  })),
  { command: join(here, 'node_modules/@oven/bun-linux-x64/bin/bun'), flags: [], from: withRuntimes },
  {
    command: join(here, 'node_modules/@deno/linux-x64-glibc/deno'),
    flags: ['run', '--allow-all', '--no-lock'],
    from: withRuntimes,
  },
  { command: '/usr/bin/chromium', flags: [], browser: true, from: "Debian's package chromium" },
]

/** Those that are installed, with their versions. */
const installed = (): readonly Runtime[] =>
  candidates.flatMap(runtime => {
    const { status, stdout } = spawnSync(runtime.command, ['--version'], { encoding: 'utf8' })
    const [version] = /\d+(\.\d+)+/.exec(stdout ?? '') ?? []
    if (status !== 0 || version === undefined) {
      say(`left out, not installed: ${basename(runtime.command)} (${runtime.from})`)
      return []
    }
    const kind = basename(runtime.command)
    return [{ ...runtime, name: `${kind[0]?.toUpperCase()}${kind.slice(1)} ${version}` }]
  })

const bodyOf = async (req: IncomingMessage): Promise<Buffer> => Buffer.concat(await req.toArray())

/** The keys, the files and the page, on a port of this machine. */
const serve = async (kms: LocalKms, onReport: (report: Report) => void) => {
  const files = new Map<string, Buffer>()
  const bundle = await build({
    entryPoints: [join(here, 'page.js')],
    bundle: true,
    splitting: true,
    format: 'esm',
    outdir: '/bundle',
    write: false,
  })
  const scripts = new Map(bundle.outputFiles.map(({ path, contents }) => [`/${basename(path)}`, contents]))
  const answer = async (req: IncomingMessage): Promise<readonly [type: string, body: Uint8Array | string]> => {
    const path = decodeURIComponent(new URL(req.url ?? '', 'http://localhost').pathname)
    const json = (value: unknown) => ['application/json', JSON.stringify(value)] as const
    if (path === '/') return ['text/html', '<!doctype html><script type="module" src="/page.js"></script>']
    const script = scripts.get(path)
    if (script !== undefined) return ['text/javascript', script]
    if (path === '/files') return json([...files.keys()])
    const name = path.replace('/files/', '')
    if (req.method === 'PUT') return json(files.set(name, await bodyOf(req)).size)
    if (req.method === 'GET') return ['application/octet-stream', files.get(name) ?? new Uint8Array()]
    const asked = JSON.parse((await bodyOf(req)).toString())
    if (path === '/report') return json(onReport(asked) ?? true)
    const context = encryptionContext(asked.context)
    if (path === '/generate') {
      const { key, wrapped } = await kms.generateDataKey({ keyId: asked.keyId, context })
      return json({ key: [...key.bytes], blob: [...wrapped.blob] })
    }
    const blob = Uint8Array.from(asked.blob)
    const wrapped = { provider: 'local', keyId: asked.keyId, wrapAlg: 2, blob } as const
    return json([...(await kms.unwrapDataKey({ wrapped, context })).bytes])
  }
  const server = createServer((req, res) => {
    answer(req).then(
      ([type, body]) => res.writeHead(200, { 'content-type': type }).end(body),
      (error: unknown) => res.writeHead(500).end(String(error)),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return { server, base: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}` }
}

const browserFlags =
  '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync'

interface Row {
  readonly runtime: string
  readonly entry: string
  readonly wrote: string
  readonly opened: string
  readonly well: boolean
}

const run = async (folder: string): Promise<readonly Row[]> => {
  const keys = join(folder, 'keys')
  const rootKey = crypto.getRandomValues(new Uint8Array(32))
  const kms = await LocalKms.open(keys, { root: { key: rootKey } })
  const { keyId } = await kms.createKey({ region: 'local', domainId: 'runtimes' })
  let reported: (report: Report) => void = () => undefined
  const { server, base } = await serve(kms, report => reported(report))

  /** One phase of a runtime's course. */
  const course = async (runtime: Runtime, entry: string, phase: 'write' | 'open'): Promise<Report> => {
    const name = `${runtime.name}, ${entry}`
    const task = JSON.stringify({ base, name, keyId, phase, entry, keys, rootKey: [...rootKey] })
    const argv = runtime.browser
      ? [...browserFlags.split(' '), `--user-data-dir=${mkdtempSync(join(folder, 'profile-'))}`]
      : [...runtime.flags, join(here, 'server.js')]
    const last = runtime.browser ? `${base}/#${encodeURIComponent(task)}` : task
    const child = spawn(runtime.command, [...argv, last], { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] })
    const ended = once(child, 'close')
    let stderr = ''
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    try {
      return await new Promise<Report>(resolve => {
        reported = resolve
        const fail = (why: string) => resolve({ name, failed: `${why}: ${stderr.trim().slice(-500)}` })
        setTimeout(fail, patience, 'no answer in time').unref()
        void ended.then(([status]) => fail(`ended with status ${status}`))
      })
    } finally {
      if (runtime.browser) child.kill()
      await ended
    }
  }

  const courses = installed().flatMap(runtime =>
    (runtime.browser ? ['./web'] : ['.', './web']).map(entry => ({ runtime, entry })),
  )
  try {
    const written: Report[] = []
    for (const { runtime, entry } of courses) written.push(await course(runtime, entry, 'write'))
    const rows: Row[] = []
    for (const [i, { runtime, entry }] of courses.entries()) {
      const { failed, opened = 0, files = 0, wrong = {} } = await course(runtime, entry, 'open')
      const wrote = written[i]?.failed
      for (const why of [wrote, failed]) if (why !== undefined) say(`${runtime.name}, ${entry}: ${why}`)
      for (const [file, why] of Object.entries(wrong)) say(`${runtime.name}, ${entry}: ${file}: ${why}`)
      rows.push({
        runtime: runtime.name,
        entry,
        wrote: wrote === undefined ? 'yes' : 'no',
        opened: `${opened} of ${files}`,
        well: wrote === undefined && failed === undefined && files === 2 * courses.length && opened === files,
      })
    }
    return rows
  } finally {
    server.close()
    server.closeAllConnections()
    kms.close()
  }
}

const tableOf = (rows: readonly Row[]): string =>
  [
    '| runtime | entry | writes | opens what all wrote |',
    '| --- | --- | --- | --- |',
    ...rows.map(({ runtime, entry, wrote, opened }) => {
      const name = entry === '.' ? '`sse-kms-streams`, `LocalKms`' : '`sse-kms-streams/web`, a key manager over `fetch`'
      return `| ${runtime} | ${name} | ${wrote} | ${opened} |`
    }),
  ].join('\n')

const help = `npm run runtimes -- [options]

Each runtime that is installed (Node 20, 22, 24 and 26, Bun, Deno, Chromium) writes a file in suite 1 and one in suite 3, and opens the files
of all, over sse-kms-streams with LocalKms and over sse-kms-streams/web. Bun and Deno: npm ci --prefix test/runtimes. Nodes: npm ci --prefix
bench/thirdparty.

  --json    the result for machines
  --write   writes the table into docs/runtimes.md
  --help    this
`

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return void process.stdout.write(help)
  if (!existsSync(join(root, 'dist/index.js'))) throw new Error('There is no dist. Run npm run build.')
  const folder = mkdtempSync(join(tmpdir(), 'runtimes-'))
  try {
    const rows = await run(folder)
    process.stdout.write(`${values.json ? JSON.stringify(rows, undefined, 2) : tableOf(rows)}\n`)
    if (values.write) await writeInto('runtimes.md', 'runtimes', `${tableOf(rows)}\n\nOn ${machine()}.`)
    if (!rows.every(({ well }) => well)) process.exitCode = 1
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

await main()
