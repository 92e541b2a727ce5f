/** Memory that was freed and is kept: what a process faults in while it streams, with and without. */
import { spawnSync } from 'node:child_process'
import t from 'tap'

const module = new URL('../../lib/segment/memory.ts', import.meta.url).href
// Two rounds of 64 buffers of a segment's size, written and let go again and again; the faults of the second.
const script = `
  import { setImmediate } from 'node:timers/promises'
  const { tuneMemory } = await import(${JSON.stringify(module)})
  if (process.env.KEEP === 'yes') tuneMemory()
  const flow = async () => {
    for (let i = 0; i < 4096; i++) {
      Buffer.allocUnsafeSlow(65_536).fill(1)
      if (i % 64 === 0) await setImmediate()
    }
  }
  await flow()
  const before = process.resourceUsage().minorPageFault
  await flow()
  console.log(process.resourceUsage().minorPageFault - before)`
const faults = (keep: 'yes' | 'no'): number => {
  const env = { ...process.env, KEEP: keep, NODE_OPTIONS: '', MALLOC_TRIM_THRESHOLD_: undefined }
  const args = ['--import', 'tsx', '--input-type=module', '--eval', script]
  const { stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: 'utf8' })
  if (!/^\d+\n$/.test(stdout)) throw new Error(stderr)
  return Number(stdout)
}
const report: unknown = process.report.getReport()
const glibc = JSON.stringify(report).includes('"glibcVersionRuntime"')

t.test('freed memory is kept', { skip: !glibc && 'only glibc hands memory back this way' }, async t => {
  const pages = (4096 * 65_536) / 4096
  const kept = faults('yes')
  // Some are there in any case, for the heap itself; where memory is handed back, nearly each page is one.
  t.ok(kept < pages / 4, `${kept} faults while ${pages} pages were written`)
  t.comment(`${faults('no')} where it is not asked for, which depends on what else lies on the heap`)
})
