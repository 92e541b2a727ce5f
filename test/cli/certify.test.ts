/** `sse-kms certify`: in this process, where a module of the sources can be loaded; and the built program on a module that a user wrote. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { conformanceCases } from '../../lib/testing.ts'
import { cli, ended, main, start } from '../support/cli.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const example = join(root, 'test/examples/own-provider.ts')

t.test('the provider of the guide', async t => {
  const { code, stdout, stderr } = await cli(['certify', example])
  t.equal(code, 0)
  t.equal(stderr, '')
  const [first, ...lines] = stdout.toString().trimEnd().split('\n')
  t.equal(first, 'own-kms')
  t.equal(lines.length, conformanceCases.length)
  t.match(lines, [/^passed {10}wrap and unwrap$/])
  t.ok(lines.some(line => /^not applicable {2}rotation +its keys have no versions$/.test(line)))
  const json = await cli(['certify', example, '--json'])
  t.equal(json.code, 0)
  const report: unknown = JSON.parse(json.stdout.toString())
  t.match(report, { provider: 'own-kms', bindsContext: true, passed: true, results: [{ name: 'wrap and unwrap' }] })
})

t.test('what is no setup', async t => {
  const folder = t.testdir({
    'none.mjs': 'export const other = 1\n',
    'wrong.mjs': 'export const setup = async () => ({ kms: {} })\n',
    'broken.mjs': 'throw new Error("no such HSM")\n',
  })
  for (const [argv, pattern] of [
    [[], /^sse-kms: no module was given/],
    [[join(folder, 'none.mjs')], /none\.mjs has no export setup that gives/],
    [[join(folder, 'wrong.mjs')], /wrong\.mjs has no export setup that gives/],
    [[join(folder, 'broken.mjs')], /broken\.mjs cannot be loaded: no such HSM/],
    [[join(folder, 'missing.mjs')], /missing\.mjs cannot be loaded: /],
  ] as const) {
    const { code, stdout, stderr } = await cli(['certify', ...argv])
    t.equal(code, 2)
    t.equal(stdout.length, 0)
    t.match(stderr, pattern)
  }
})

const failing = `
import { memoryKms } from 'sse-kms-streams/testing'
export const setup = async () => {
  const kms = memoryKms()
  const [{ keyId }, { keyId: otherKeyId }] = [await kms.create('a'), await kms.create('b')]
  return { kms: { ...kms, list: async () => [], find: async () => ['\\u001b[31m'] }, keyId, otherKeyId }
}
`

t.test('a module of a user, and a key manager that fails', async t => {
  const folder = t.testdir({ 'own.mjs': failing, node_modules: {} })
  const link = join(folder, 'node_modules/sse-kms-streams')
  mkdirSync(dirname(link), { recursive: true })
  symlinkSync(root, link)
  const { code, stdout, stderr } = await ended(start(['certify', 'own.mjs'], main, folder))
  t.equal(code, 1)
  t.match(stdout.toString(), /\nfailed {10}describe, find and list +list does not tell of memory:/)
  t.equal(stderr, 'sse-kms: The key manager memory fails 1 of 24 cases. Mend what they name.\n')
  writeFileSync(join(folder, 'good.mjs'), failing.replace(/, list: .*?\] \}/, ' }'))
  const good = await ended(start(['certify', 'good.mjs', '--json'], main, folder))
  t.equal(good.code, 0)
  t.match(JSON.parse(good.stdout.toString()), { passed: true })
})
