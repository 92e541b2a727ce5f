/** `npm run bulk`: 100,000 objects are moved to another master key by a command that is killed twice with SIGKILL; every one must open afterwards. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { machine } from '../page.ts'
import { fill, rewrapKilled, setUp, verify } from './course.ts'

const help = `npm run bulk -- [options]

Puts objects into a store, moves them to another master key by sse-kms rewrap-objects, kills that twice in the middle, and opens all of them.

  --objects N       default 100000
  --no-bucket-key   each data key under the master key itself
  --help            this
`

const { values } = parseArgs({
  options: {
    objects: { type: 'string', default: '100000' },
    'no-bucket-key': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(help)
  process.exit()
}
const count = Number(values.objects)
if (!Number.isInteger(count) || count < 3) throw new RangeError('--objects is a whole number from 3')
const bucketKey = !values['no-bucket-key']
const say = (line: string): void => void process.stdout.write(`${line}\n`)

const folder = mkdtempSync(join(tmpdir(), 'bulk-'))
const setup = await setUp(folder, bucketKey)
try {
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
  say(machine())
} finally {
  await setup.close()
  rmSync(folder, { recursive: true, force: true })
}
