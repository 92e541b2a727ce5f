/** Rows through both chains; a file that was changed or cut; a source that fails. */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createSse, LocalKms } from 'sse-kms-streams'
import { openRows, sealRows } from './rows.js'

const data = process.env['DATA'] ?? ''
const [csv, sealed] = [join(data, 'rows.csv'), join(data, 'rows.skf')]
const kms = await LocalKms.open(join(data, 'keys'), { root: { file: join(data, 'root.key'), create: true } })
const { keyId } = await kms.defaultKey({ region: 'sichuan', domainId: 'my-tenant' })
const sse = createSse({ kms, accept: [keyId] })

const count = 20_000
const all = Array.from({ length: count }, (_, n) => ({ name: `"a", ${n} ü`, n: String(n) }))
await writeFile(csv, `name,n\r\n${all.map(({ name, n }) => `"${name.replaceAll('"', '""')}",${n}\r\n`).join('')}`)
await sealRows(sse, csv, sealed, row => Number(row.n) % 2 === 0)

const open = async (file: string): Promise<readonly unknown[]> => {
  const rows: unknown[] = []
  await openRows(sse, file, row => rows.push(row))
  return rows
}
const wanted = all.filter(({ n }) => Number(n) % 2 === 0)
assert.deepEqual(await open(sealed), wanted)
console.log(`ok ${wanted.length} rows of ${count} come back`)

const bytes = await readFile(sealed)
assert.ok(!bytes.includes('"name"'))
console.log('ok the file shows none of them')

const changed = Buffer.from(bytes)
changed[100_000] = (changed[100_000] ?? 0) ^ 1
for (const [what, wrong] of [
  ['a changed byte', changed],
  ['a file that was cut', bytes.subarray(0, -20)],
] as const) {
  const file = join(data, 'wrong.skf')
  await writeFile(file, wrong)
  const rows: unknown[] = []
  await assert.rejects(
    openRows(sse, file, row => rows.push(row)),
    { code: 'NotAuthentic' },
  )
  assert.deepEqual(rows, wanted.slice(0, rows.length))
  console.log(`ok ${what} is refused, after ${rows.length} authentic rows`)
}
await assert.rejects(
  sealRows(sse, csv, join(data, 'part.skf'), () => {
    throw new Error('no row')
  }),
  { message: 'no row' },
)
console.log('ok a function that throws ends the pipeline')
kms.close()
