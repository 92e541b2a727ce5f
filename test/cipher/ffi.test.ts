// The engine over node:ffi. On a Node that has it (26.1 or later) every test of engines runs again with that engine among them; elsewhere it
// is refused by name.
import { execFile } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { ffiEngine } from '../../lib/cipher/ffi.ts'
import { createSse } from '../../lib/object/node.ts'
import { customerKey } from '../../lib/kms/customer.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { noNode26, node26 } from '../support/node26.ts'

const run = promisify(execFile)
const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')

/** Runs a file on that Node, with the engine among those that it tests. */
const on26 = async (file: string, ...flags: readonly string[]): Promise<string> => {
  // What the test runner adds to every process is for the Node that runs it.
  const plain = ['-u', 'NODE_OPTIONS', '-u', 'NODE_V8_COVERAGE', 'SSE_KMS_ENGINE=ffi', 'TAP=1', node26 ?? '']
  const options = { cwd: root, maxBuffer: 1 << 28 }
  const { stdout } = await run('env', [...plain, '--no-warnings', ...flags, file], options)
  return stdout
}

t.test('the tests of engines, streams and objects hold it to every vector', { skip: noNode26 }, async t => {
  const files = [
    'test/cipher/engines.test.ts',
    'test/segment/cobblestone.test.ts',
    'test/segment/streams.test.ts',
    'test/envelope/sk1.test.ts',
    'test/object/object.test.ts',
  ]
  for (const file of files) {
    const output = await on26(file)
    t.notMatch(output, /^\s*not ok/m, `${file} passes`)
    t.match(output, /^1\.\.[1-9]/m, `${file} ran to its end`)
  }
})

t.test('memory: garbage collection between all calls, and thousands of streams', { skip: noNode26 }, async t => {
  const found: { agreed: number; disposed: number; dropped: number; kept: number } = JSON.parse(
    await on26('test/support/ffi-child.ts', '--expose-gc'),
  )
  t.comment(`growth in MiB: ${JSON.stringify(found)}`)
  t.ok(found.agreed > 40, 'whatever moves, the bytes are those of node:crypto')
  t.ok(found.kept > 20, 'streams that are kept cost memory')
  t.ok(found.disposed < 8, 'those that were disposed do not')
  t.ok(found.dropped < 8, 'nor do those that were dropped without it: a finalizer frees them')
})

t.test('named where it cannot be had, it is an error, and no other engine takes its place', async t => {
  const key = new Uint8Array(32).fill(1)
  const kms = customerKey(nodeEngine, key)
  const begin = (options: { readonly engine?: 'ffi' }) =>
    createSse({ kms, accept: [{ provider: 'sse-c', keyId: '' }], ...options }).encrypt()
  const has = process.getBuiltinModule('node:ffi') !== undefined
  if (has) t.equal(ffiEngine(), ffiEngine(), 'it is made once')
  else {
    t.throws(() => ffiEngine(), { code: 'EngineUnavailable', message: /Node 26/ })
    await t.rejects(begin({ engine: 'ffi' }), { code: 'EngineUnavailable' })
  }
  const before = process.env['SSE_KMS_ENGINE']
  t.teardown(() => {
    if (before === undefined) delete process.env['SSE_KMS_ENGINE']
    else process.env['SSE_KMS_ENGINE'] = before
  })
  process.env['SSE_KMS_ENGINE'] = 'ffi'
  if (!has) await t.rejects(begin({}), { code: 'EngineUnavailable' })
  process.env['SSE_KMS_ENGINE'] = 'fastest'
  await t.rejects(begin({}), { code: 'EngineUnavailable', message: /SSE_KMS_ENGINE is fastest/ })
  process.env['SSE_KMS_ENGINE'] = ''
  t.ok((await begin({})).driver, 'empty is as if it were not there')
})
