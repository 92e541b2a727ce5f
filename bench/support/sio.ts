/**
 * The peers in Go, AES-256-GCM in memory on one core, each a MiB at a time: secure-io/sio-go as Debian has it
 * (golang-go, golang-github-secure-io-sio-go-dev), and minio/sio by its own benchmarks where SIO_DIR names its source.
 */
import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Bench, Contestant } from '../harness.ts'

const run = promisify(execFile)
const debian = '/usr/share/gocode'
const program = new URL('../thirdparty/sio-go/main.go', import.meta.url).pathname
const directions = ['seal', 'open'] as const
type Direction = (typeof directions)[number]

const contestants = (name: string, speed: (direction: Direction) => Promise<number>): readonly Contestant[] =>
  directions.map(direction => ({
    name,
    direction,
    size: 1_048_576,
    engine: 'go',
    segmented: true,
    reports: true,
    validate: async () => {
      await speed(direction)
    },
    run: () => speed(direction),
  }))

const minio = async (folder: string, direction: Direction): Promise<number> => {
  const name = direction === 'seal' ? 'BenchmarkEncryptReader_1MB' : 'BenchmarkDecryptReader_1MB'
  const args = ['test', '-run', '^$', '-bench', `^${name}$`, '-benchtime', '1s', '-cpu', '1', '.']
  const { stdout } = await run('go', args, { cwd: folder })
  const [, figure] = /([\d.]+) MB\/s/.exec(stdout) ?? []
  if (figure === undefined) throw new Error(`go test does not say how fast ${name} is`)
  return Number(figure)
}

/** Sealing and opening in Go; what is not there is left out, in a line each. */
export const sio = async (bench: Bench): Promise<readonly Contestant[]> => {
  const found: Contestant[] = []
  const hasGo = spawnSync('go', ['version']).status === 0
  const folder = process.env['SIO_DIR']
  if (!hasGo || folder === undefined) {
    bench.note('left out: minio/sio: it needs the command go, and SIO_DIR set to a checkout of it')
  } else found.push(...contestants('minio/sio, DARE 2.0', direction => minio(folder, direction)))
  if (!hasGo || !existsSync(join(debian, 'src/github.com/secure-io/sio-go'))) {
    bench.note('left out: secure-io/sio-go: Debian has it (golang-go golang-github-secure-io-sio-go-dev)')
    return found
  }
  const binary = join(await bench.directory(), 'sio-go')
  const env = { ...process.env, GO111MODULE: 'off', GOPATH: debian, GOMAXPROCS: '1' }
  await run('go', ['build', '-o', binary, program], { env })
  // It opens what it sealed, and compares, before it measures.
  const speed = async (direction: Direction) => Number((await run(binary, [direction, '300ms'], { env })).stdout)
  return [...found, ...contestants('secure-io/sio-go, 64 KiB', speed)]
}
