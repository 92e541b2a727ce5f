/**
 * `npm run bench`: `-- --full` for larger sizes and more rounds, `-- --only TEXT` for the cases whose name has it, `-- --json FILE` for
 * machines.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { pipelineCases } from './cases/pipeline.ts'
import { machine, type Row, runCase, table } from './harness.ts'

const { values } = parseArgs({
  options: { full: { type: 'boolean' }, only: { type: 'string' }, json: { type: 'string' }, help: { type: 'boolean' } },
})
if (values.help === true) {
  console.log('npm run bench [-- --full] [--only TEXT] [--json FILE]')
  process.exit(0)
}
const size = (values.full === true ? 512 : 64) * 1048576
const rounds = values.full === true ? 9 : 5
const progress = (text: string) => {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`)
}
const rows: Row[] = []
for (const one of await pipelineCases(size)) {
  if (values.only !== undefined && !one.name.includes(values.only)) continue
  rows.push(...(await runCase(one, rounds, progress)))
}
progress('')
const about = machine()
console.log(
  `${about.date}  ${about.cpu}, ${about.cores} cores  Node ${about.node}, OpenSSL ${about.openssl}\n${about.command}\n`,
)
console.log(table(rows))
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ machine: about, rows }, null, 2)}\n`)
