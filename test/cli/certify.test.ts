/** `sse-kms certify`: in this process, where a module of the sources can be loaded; and the built program on a module that a user wrote. */
import { mkdirSync, symlinkSync } from 'node:fs'
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
    'rejects.mjs': 'export const setup = async () => { throw new Error("boom\\non two lines") }\n',
  })
  for (const [argv, pattern] of [
    [[], /^sse-kms: no module was given/],
    [[join(folder, 'none.mjs')], /none\.mjs has no export named setup\. See docs\/guide-provider\.md\.$/m],
    [[join(folder, 'wrong.mjs')], /setup of .*wrong\.mjs lacks keyId, otherKeyId, kms\.generateDataKey, kms\.wrap/],
    [[join(folder, 'broken.mjs')], /broken\.mjs cannot be loaded: Error: no such HSM/],
    [[join(folder, 'missing.mjs')], /missing\.mjs cannot be loaded: /],
    [[join(folder, 'rejects.mjs')], /setup of .*rejects\.mjs rejects: Error: boom on two lines\. Correct it\.$/m],
  ] as const) {
    const { code, stdout, stderr } = await cli(['certify', ...argv])
    t.equal(code, 2)
    t.equal(stdout.length, 0)
    t.match(stderr, pattern)
  }
})

/** A module of a user: what it changes of a key manager in memory, and of its setup. */
const moduleOf = (change: string, setup = ''): string => `
import { memoryKms } from 'sse-kms-streams/testing'
export const setup = async () => {
  const kms = memoryKms()
  const [{ keyId }, { keyId: otherKeyId }] = [await kms.create('a'), await kms.create('b')]
  return { kms: { ...kms, ${change} }, keyId, otherKeyId, ${setup} }
}
`

t.test('a module of a user, and a key manager that fails', async t => {
  const folder = t.testdir({
    'own.mjs': moduleOf("list: async () => [{ keyId: '\\u001b[31m' }]"),
    'named.mjs': moduleOf("name: 'keybox'"),
    'good.mjs': moduleOf(''),
    'misspelt.mjs': moduleOf('', "notApplicable: { throtling: 'it never does' }"),
    'alias.mjs': moduleOf('', "keyId: 'a'"),
    'typed.ts': moduleOf(''),
    node_modules: {},
  })
  const link = join(folder, 'node_modules/sse-kms-streams')
  mkdirSync(dirname(link), { recursive: true })
  symlinkSync(root, link)
  const certify = (...argv: readonly string[]) => ended(start(['certify', ...argv], main, folder))

  const { code, stdout, stderr } = await certify('own.mjs')
  t.equal(code, 1)
  t.match(
    stdout.toString(),
    /\nfailed {10}list +list answers the state undefined\. .*\n {20,}list tells of all keys\.\n/,
  )
  t.equal(stderr, `sse-kms: The key manager memory fails 1 of ${conformanceCases.length} cases. Mend what they name.\n`)
  const json: unknown = JSON.parse((await certify('own.mjs', '--json')).stdout.toString())
  t.match(json, { passed: false, results: [{ name: 'wrap and unwrap', about: /^A wrapped key/, outcome: 'passed' }] })

  const named = await certify('named.mjs')
  t.equal(named.code, 1)
  const same = named.stdout.toString().match(/^failed .* As "wrap and unwrap"\.$/gm) ?? []
  t.ok(same.length > 10, 'what fails for the same reason says so')
  t.match(named.stderr, /^sse-kms: The key manager keybox fails \d+ of \d+ cases\. Mend "wrap and unwrap" first\.$/m)

  const good = await certify('good.mjs', '--json')
  t.equal(good.code, 0)
  t.match(JSON.parse(good.stdout.toString()), { passed: true })

  const misspelt = await certify('misspelt.mjs')
  t.equal(misspelt.code, 2)
  t.match(
    misspelt.stderr,
    /^sse-kms: notApplicable of the setup: there is no case "throtling"\. There are .*throttling/,
  )
  const alias = await certify('alias.mjs')
  t.equal(alias.code, 2)
  t.equal(
    alias.stderr,
    'sse-kms: keyId of the setup, a, is no key that can be used: describe rejects with KeyNotFound.\n',
  )

  const typed = await certify('typed.ts')
  if (process.features.typescript === false || !('typescript' in process.features)) {
    t.equal(typed.code, 2)
    t.match(typed.stderr, /typed\.ts cannot be loaded: .* Compile it first, or use Node 22\.18 or later\.$/m)
  } else t.equal(typed.code, 0)
})
