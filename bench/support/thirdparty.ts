/** The rivals of bench/thirdparty, which has packages of its own: installed the first time that they are asked for. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Bench, Contestant } from '../harness.ts'
import {
  assertPlaintext,
  chunksOf,
  gather,
  nowhere,
  plaintext,
  repeated,
  type Sink,
  through,
  throughWeb,
} from './streams.ts'

const folder = new URL('../thirdparty/', import.meta.url)

type Web = ReadableStream<Uint8Array>

/** What an adapter in bench/thirdparty exports for each of its settings. */
type Rival = {
  /** Name of the package. */
  readonly package: string
  readonly settings: string
  /** Whether `--full` alone has it. */
  readonly full?: boolean | undefined
} & (
  | { readonly kind: 'node'; readonly seal: () => Duplex; readonly open: () => Duplex }
  | { readonly kind: 'web'; readonly seal: (from: Web) => Promise<Web>; readonly open: (from: Web) => Promise<Web> }
)

/** Installs them the first time that they are asked for. */
export const installRivals = (bench: Bench): void => {
  if (existsSync(new URL('node_modules', folder))) return
  bench.note('installing the rivals: npm ci --prefix bench/thirdparty')
  const args = ['ci', '--prefix', fileURLToPath(folder), '--no-audit', '--no-fund', '--loglevel', 'error']
  const { status } = spawnSync('npm', args, { stdio: 'ignore', shell: process.platform === 'win32' })
  if (status !== 0) bench.note('the rivals could not be installed: is a registry in reach?')
}

const versionOf = (name: string): string => {
  const { version }: { readonly version: string } = JSON.parse(
    readFileSync(new URL(`node_modules/${name}/package.json`, folder), 'utf8'),
  )
  return version
}

const run = (rival: Rival, direction: 'seal' | 'open', chunks: Iterable<Uint8Array>, sink: Sink): Promise<void> =>
  rival.kind === 'node'
    ? through(chunks, rival[direction](), sink)
    : throughWeb(chunks, from => rival[direction](from), sink)

/** Both directions of a rival. All of them check each segment before they release it. */
const contestantsOf = async (rival: Rival, size: number): Promise<readonly Contestant[]> => {
  const start = performance.now()
  const stored = await gather(sink => run(rival, 'seal', plaintext(size), sink))
  // The fast ones several times, so that what is measured is no shorter than for ours.
  const times = Math.max(1, Math.min(4, Math.round(100 / (performance.now() - start))))
  const labels = {
    name: `${rival.package} ${versionOf(rival.package)}, ${rival.settings}`,
    size,
    engine: rival.package,
    segmented: true,
    validate: () => assertPlaintext(size, sink => run(rival, 'open', chunksOf(stored), sink)),
  }
  return [
    {
      ...labels,
      direction: 'seal',
      run: repeated(times, size, () => run(rival, 'seal', plaintext(size), nowhere)),
    },
    {
      ...labels,
      direction: 'open',
      run: repeated(times, size, () => run(rival, 'open', chunksOf(stored), nowhere)),
    },
  ]
}

/** All rivals that are there; one line for each that is not. */
export const thirdParties = async (bench: Bench, size: number): Promise<readonly Contestant[]> => {
  installRivals(bench)
  const found: Contestant[] = []
  for (const file of ['age', 'aws', 'openpgp', 'sodium']) {
    try {
      const adapter: { readonly rivals: readonly Rival[] } = await import(new URL(`${file}.mjs`, folder).href)
      const rivals = adapter.rivals.filter(({ full = false }) => !full || bench.pick(false, false, true))
      for (const rival of rivals) found.push(...(await contestantsOf(rival, size)))
    } catch (error) {
      const [line] = (error instanceof Error ? error.message : String(error)).split('\n')
      bench.note(`left out: rival ${file}: ${line}`)
    }
  }
  return found
}
