/** minio/sio in Go, where its source and the command go are at hand: its own benchmarks of readers, 1 MiB bodies. */
import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import type { Bench, Contestant } from '../harness.ts'

const run = promisify(execFile)

const speed = async (folder: string, direction: 'seal' | 'open'): Promise<number> => {
  const name = direction === 'seal' ? 'BenchmarkEncryptReader_1MB' : 'BenchmarkDecryptReader_1MB'
  const args = ['test', '-run', '^$', '-bench', `^${name}$`, '-benchtime', '1s', '-cpu', '1', '.']
  const { stdout } = await run('go', args, { cwd: folder })
  const [, figure] = /([\d.]+) MB\/s/.exec(stdout) ?? []
  if (figure === undefined) throw new Error(`go test does not say how fast ${name} is`)
  return Number(figure)
}

/** Sealing and opening with DARE 2.0; none, with a note, where go or SIO_DIR is missing. */
export const sio = (bench: Bench): readonly Contestant[] => {
  const folder = process.env['SIO_DIR']
  if (folder === undefined || spawnSync('go', ['version']).status !== 0) {
    bench.note('left out: minio/sio: it needs the command go, and SIO_DIR set to a checkout of it')
    return []
  }
  return (['seal', 'open'] as const).map(direction => ({
    name: 'minio/sio, DARE 2.0',
    direction,
    size: 1_048_576,
    engine: 'minio/sio',
    segmented: true,
    reports: true,
    validate: async () => {
      await speed(folder, direction)
    },
    run: () => speed(folder, direction),
  }))
}
