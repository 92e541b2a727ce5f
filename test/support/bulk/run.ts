/** `npm run bulk`: 100,000 objects are moved to another master key by a command that is killed twice with SIGKILL; every one must open afterwards. */
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { fill, rewrapKilled, setUp, verify } from './course.ts'

const { values } = parseArgs({
  options: { objects: { type: 'string', default: '100000' }, 'no-bucket-key': { type: 'boolean', default: false } },
})
const count = Number(values.objects)
const bucketKey = !values['no-bucket-key']
const say = (line: string): void => void process.stdout.write(`${line}\n`)

const folder = mkdtempSync(join(tmpdir(), 'bulk-'))
const setup = await setUp(folder, bucketKey)
try {
  say(
    `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'CPU'}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}`,
  )
  let begun = performance.now()
  const seconds = (): string => `${((performance.now() - begun) / 1000).toFixed(1)} s`
  await fill(setup, count, bucketKey)
  say(`${count} objects put ${bucketKey ? 'under a bucket key' : 'under the master key itself'}: ${seconds()}`)
  begun = performance.now()
  const { kills, report } = await rewrapKilled(setup, count, [Math.floor(count / 3), Math.floor((count * 2) / 3)])
  say(`moved, killed ${kills} times: ${seconds()} with the starts`)
  say(JSON.stringify(report, undefined, 2))
  begun = performance.now()
  await verify(setup, count)
  say(`${count} rows looked at and ${count} objects decrypted: ${seconds()}`)
} finally {
  await setup.close()
  rmSync(folder, { recursive: true, force: true })
}
