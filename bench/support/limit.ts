/** The limit: what `openssl speed` reaches on one core, in turn with the others. */
import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import type { Bench, Contestant } from '../harness.ts'

const run = promisify(execFile)

const speed = async (cipher: string): Promise<number> => {
  const args = ['speed', '-elapsed', '-mr', '-seconds', '1', '-bytes', '65536', '-evp', cipher]
  const { stdout } = await run('openssl', args)
  const [, figure = ''] = /^\+F:\d+:[^:]+:([\d.]+)/m.exec(stdout) ?? []
  if (figure === '') throw new Error(`openssl speed does not say how fast ${cipher} is`)
  return Number(figure) / 1e6
}

/** `openssl speed` for these ciphers; none, with a note, where the command is missing. */
export const limits = (bench: Bench, ciphers: readonly string[]): readonly Contestant[] => {
  const version = spawnSync('openssl', ['version'], { encoding: 'utf8' }).stdout?.trim() ?? ''
  if (version === '') {
    bench.note('left out: the limit: there is no command openssl')
    return []
  }
  bench.note(`the limit is that of the command openssl: ${version}; this Node has ${process.versions.openssl}`)
  return ciphers.map(cipher => ({
    name: `openssl speed ${cipher}`,
    direction: 'seal',
    engine: 'openssl',
    reports: true,
    run: () => speed(cipher),
  }))
}
