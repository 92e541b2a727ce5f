/** Memory that was freed and is kept: where glibc takes a large buffer from, with and without. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import t from 'tap'

const module = new URL('../../lib/segment/node.ts', import.meta.url).href
const MiB = 1_048_576
// Bytes that the heap of the process, as the system sees it, grows by for a buffer of 16 MiB: glibc maps it apart, and hands it back when it
// is freed, unless it has learned to keep so much.
const script = `
  import { readFileSync } from 'node:fs'
  import { setImmediate } from 'node:timers/promises'
  const { tuneMemory } = await import(${JSON.stringify(module)})
  if (process.env.TUNED === 'yes') tuneMemory()
  for (let i = 0; i < 10; i++) await setImmediate()
  const heap = () => {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) .*\\[heap\\]$/m.exec(readFileSync('/proc/self/maps', 'latin1'))
    return Number.parseInt(to, 16) - Number.parseInt(from, 16)
  }
  const before = heap()
  const buffer = Buffer.allocUnsafeSlow(${16 * MiB})
  console.log(heap() - before, buffer.length)`
const growth = (tuned: 'yes' | 'no'): number => {
  const env = { ...process.env, TUNED: tuned, NODE_OPTIONS: '', MALLOC_TRIM_THRESHOLD_: undefined }
  const args = ['--import', 'tsx', '--input-type=module', '--eval', script]
  const { stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: 'utf8' })
  const [, bytes] = /^(\d+) \d+\n$/.exec(stdout) ?? []
  if (bytes === undefined) throw new Error(stderr)
  return Number(bytes)
}
const glibc = JSON.stringify(process.report.getReport()).includes('"glibcVersionRuntime"')

t.test(
  'glibc keeps what is freed',
  { skip: !(glibc && existsSync('/proc/self/maps')) && 'only glibc does' },
  async t => {
    t.ok(growth('no') < 4 * MiB, 'a large buffer is mapped apart')
    t.ok(growth('yes') > 8 * MiB, 'tuned, it comes from the heap, which is kept')
  },
)
