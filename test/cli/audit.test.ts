/** The audit and the access log of `sse-kms serve`: their files, what becomes of lines that a file does not take, and what is written. */
import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, chmodSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import t, { type Test } from 'tap'
import { openLineFile } from '../../lib/cli/line-file.ts'
import type { KeyUseEntry } from '../../lib/gateway/options.ts'
import { ended, start } from '../support/cli.ts'
import { fillUp } from '../support/store.ts'

const entry = (n: number, more: Partial<KeyUseEntry> = {}): KeyUseEntry => ({
  time: new Date(n).toISOString(),
  requestId: String(n),
  user: 'ann',
  accessKeyId: 'AKANN',
  tenant: 'domain1',
  action: 'GetObject',
  bucket: 'photos',
  key: 'a',
  operation: 'unwrap',
  provider: 'local',
  keyId: 'arn:aws:kms:sichuan:domain1:key/1',
  version: 1,
  cached: false,
  outcome: 'ok',
  ...more,
})

const linesOf = (path: string): readonly Record<string, unknown>[] => {
  const text = readFileSync(path, 'utf8')
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line is torn')
  return text
    .split('\n')
    .slice(0, -1)
    .map(line => Object(JSON.parse(line)))
}

/** The lines of a text that are JSON; the first start says on stderr that it made a root key. */
const jsonIn = (text: string): readonly Record<string, unknown>[] =>
  text
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => Object(JSON.parse(line)))

const idsOf = (path: string): readonly unknown[] => linesOf(path).map(({ requestId }) => requestId)

const ids = (from: number, to: number): readonly string[] =>
  Array.from({ length: to - from }, (_, i) => String(from + i))

const noPrlimit = spawnSync('prlimit', ['--version']).status === 0 ? false : 'there is no prlimit'

/** Opens an audit in a new folder. */
const opened = async (t: Test, more: { readonly most?: number; readonly shared?: boolean } = {}) => {
  const path = join(t.testdir(), 'audit.json')
  const warnings: string[] = []
  const audit = await openLineFile(path, { setting: 'audit', warn: message => warnings.push(message), ...more })
  t.teardown(() => audit.close())
  return { path, warnings, audit }
}

t.test('a file: mode 0600, appended to, one line an entry, whatever a name has in it', async t => {
  const { path, audit, warnings } = await opened(t)
  t.equal(statSync(path).mode & 0o777, 0o600)
  const key = 'a\n{"forged":true}\u001b[2J\u2028\u202e'
  audit.write(entry(0, { key }))
  for (let n = 1; n < 500; n++) audit.write(entry(n))
  await audit.close()
  await audit.close()
  t.strictSame(idsOf(path), ids(0, 500), 'in the order of the calls')
  t.strictSame(linesOf(path)[0], { ...entry(0), key }, 'and it is what was told')
  t.notMatch(readFileSync(path, 'utf8'), /[^\n\u0020-\u007e]/)

  chmodSync(path, 0o640)
  const again = await openLineFile(path, { setting: 'audit', warn: message => warnings.push(message) })
  again.write(entry(500))
  await again.close()
  t.strictSame(idsOf(path), ids(0, 501))
  t.equal(statSync(path).mode & 0o777, 0o640, 'a file that is there keeps its mode')
  t.strictSame(warnings, [])
  await t.rejects(openLineFile(join(path, 'none'), { setting: 'audit', warn: () => undefined }), {
    code: 'FileFailed',
    message: /name another file/,
  })
})

t.test('reopen goes on in a new file, and loses nothing', async t => {
  const { path, audit, warnings } = await opened(t)
  for (let n = 0; n < 100; n++) audit.write(entry(n))
  renameSync(path, `${path}.1`)
  const reopened = audit.reopen()
  for (let n = 100; n < 200; n++) audit.write(entry(n))
  await reopened
  audit.write(entry(200))
  await audit.close()
  t.strictSame([...idsOf(`${path}.1`), ...idsOf(path)], ids(0, 201))
  t.ok(idsOf(path).length > 0)
  t.strictSame(warnings, [])
})

t.test('a file that cannot be written to is a warning, and its lines wait', async t => {
  const { path, audit, warnings } = await opened(t)
  audit.write(entry(0))
  while (idsOf(path).length === 0) await new Promise(resolve => setImmediate(resolve))
  fillUp(path, false)
  for (let n = 1; n < 4; n++) {
    audit.write(entry(n))
    while (warnings.length === 0) await new Promise(resolve => setImmediate(resolve))
  }
  t.equal(warnings.length, 1, 'once')
  t.match(warnings[0], /audit\.json cannot be written to, lines wait: Error: ENOSPC/)
  await audit.reopen()
  audit.write(entry(4))
  await audit.close()
  t.strictSame(idsOf(path), ids(0, 5))
  t.match(warnings[1], /is written to again; 0 lines were lost/)
})

/** Lets files of this process have no more than so many bytes. */
const limitFiles = (size: number | 'unlimited') =>
  execFileSync('prlimit', [`--fsize=${size}:unlimited`, `--pid=${process.pid}`])

t.test('a line that a full disk tore is whole in the end', { skip: noPrlimit }, async t => {
  const ignore = () => undefined
  process.on('SIGXFSZ', ignore)
  t.teardown(() => process.off('SIGXFSZ', ignore))
  const size = JSON.stringify(entry(1)).length + 1
  for (const again of [false, true]) {
    const { path, audit, warnings } = await opened(t)
    limitFiles(Math.round(1.5 * size))
    for (let n = 1; n < 4; n++) audit.write(entry(n))
    while (warnings.length === 0) await new Promise(resolve => setImmediate(resolve))
    limitFiles('unlimited')
    t.equal(statSync(path).size, Math.round(1.5 * size), 'so much of it was written')
    if (again) {
      renameSync(path, `${path}.1`)
      await audit.reopen()
    }
    audit.write(entry(4))
    await audit.close()
    t.strictSame(idsOf(path), again ? ids(2, 5) : ids(1, 5))
  }
})

t.test('a file that other processes append to: a torn line is repeated', { skip: noPrlimit }, async t => {
  const ignore = () => undefined
  process.on('SIGXFSZ', ignore)
  t.teardown(() => process.off('SIGXFSZ', ignore))
  const line = `${JSON.stringify(entry(1))}\n`
  const { path, audit, warnings } = await opened(t, { shared: true })
  limitFiles(Math.round(0.5 * line.length))
  audit.write(entry(1))
  while (warnings.length === 0) await new Promise(resolve => setImmediate(resolve))
  limitFiles('unlimited')
  appendFileSync(path, 'of another\n')
  audit.write(entry(2))
  await audit.close()
  const [torn = '', ...whole] = readFileSync(path, 'utf8').split('\n')
  t.equal(torn, `${line.slice(0, Math.round(0.5 * line.length))}of another`)
  t.strictSame(whole, ['', JSON.stringify(entry(1)), JSON.stringify(entry(2)), ''])
})

t.test('so many lines wait, and the number of the others is told', async t => {
  const size = JSON.stringify(entry(1)).length + 1
  const { path, audit, warnings } = await opened(t, { most: 3 * size })
  fillUp(path, false)
  for (let n = 1; n < 8; n++) audit.write(entry(n))
  while (warnings.length < 2) await new Promise(resolve => setImmediate(resolve))
  t.match(warnings.join('\n'), /takes no more lines/)
  await audit.reopen()
  await audit.close()
  t.strictSame(idsOf(path), ids(1, 4), 'the first ones')
  t.match(warnings.at(-1), /written to again; 4 lines were lost/)
})

const users = [
  { name: 'ann', accessKeyId: 'AKANN', secretAccessKey: 'secret of ann', roles: ['tenant_admin'] },
  { name: 'bob', accessKeyId: 'AKBOB', secretAccessKey: 'secret of bob' },
]

/** `sse-kms serve` as a process, with grants: ann may read and write, bob only write. */
const serve = async (t: Test, more: object) => {
  const folder = t.testdir()
  const keyGrants = [
    { roles: ['tenant_admin'], rights: ['kms:GenerateDataKey', 'kms:Decrypt'] },
    { users: ['AKBOB'], rights: ['kms:GenerateDataKey'] },
  ]
  const tenants = [{ domainId: 'domain1', projectId: 'project1', users, keyGrants }]
  const config = { data: join(folder, 'data'), listen: '127.0.0.1:0', tenants, ...more }
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  const child = start(['serve', '--json', '--config', join(folder, 'config.json')], undefined, folder)
  const end = ended(child)
  t.teardown(() => child.kill('SIGKILL'))
  const [chunk]: unknown[] = await Promise.race([
    once(child.stdout ?? child, 'data'),
    end.then(({ stderr }) => [stderr]),
  ])
  const { address } = Object(JSON.parse(String(chunk)))
  const [ann, bob] = users.map(({ accessKeyId, secretAccessKey }) => {
    const credentials = { accessKeyId, secretAccessKey }
    const options = { endpoint: String(address), region: 'sichuan', forcePathStyle: true, credentials, maxAttempts: 1 }
    const client = new S3Client(options)
    t.teardown(() => client.destroy())
    return client
  })
  if (ann === undefined || bob === undefined) throw new Error('there are two users')
  const stop = async () => {
    child.kill('SIGTERM')
    return end
  }
  return { folder, ann, bob, stop }
}

/** A write and a read of each user: three uses of keys, and a refusal. */
const useKeys = async (t: Test, ann: S3Client, bob: S3Client): Promise<string> => {
  const Bucket = 'photos'
  await ann.send(new CreateBucketCommand({ Bucket }))
  const put = { Bucket, Key: 'a', Body: 'very secret plaintext', ServerSideEncryption: 'aws:kms' } as const
  const { SSEKMSKeyId = '' } = await ann.send(new PutObjectCommand({ ...put, BucketKeyEnabled: true }))
  await ann.send(new GetObjectCommand({ Bucket, Key: 'a' }))
  await bob.send(new PutObjectCommand({ ...put, Key: 'b', BucketKeyEnabled: true }))
  await t.rejects(bob.send(new GetObjectCommand({ Bucket, Key: 'b' })), {
    name: 'AccessDenied',
    message: `User: bob is not authorized to perform: kms:Decrypt on resource: ${SSEKMSKeyId} because no grant`,
  })
  return SSEKMSKeyId
}

const expected = (keyId: string) => [
  { user: 'ann', accessKeyId: 'AKANN', action: 'PutObject', operation: 'generate', key: 'a', cached: false },
  { user: 'ann', action: 'GetObject', operation: 'unwrap', key: 'a', provider: 'local', keyId, outcome: 'ok' },
  { user: 'bob', action: 'PutObject', operation: 'generate', key: 'b', cached: true, outcome: 'ok' },
  {
    user: 'bob',
    accessKeyId: 'AKBOB',
    tenant: 'domain1',
    action: 'GetObject',
    bucket: 'photos',
    key: 'b',
    operation: 'unwrap',
    keyId,
    cached: false,
    outcome: 'KeyAccessDenied',
    missing: 'kms:Decrypt',
  },
]

t.test('serve: grants and audit of a configuration', async t => {
  const { folder, ann, bob, stop } = await serve(t, { audit: './audit.json', log: 'json' })
  const keyId = await useKeys(t, ann, bob)
  const { code, stderr } = await stop()
  t.equal(code, 0)
  const path = join(folder, 'audit.json')
  t.equal(statSync(path).mode & 0o777, 0o600)
  const lines = linesOf(path)
  t.match(lines, expected(keyId))
  t.equal(lines.length, 4)
  const log = jsonIn(stderr)
  t.equal(log.length, 5, 'the request log is apart')
  const refused = log.find(line => line['status'] === 403)
  t.match(refused, { user: 'bob', action: 'GetObject', requestId: lines[3]?.['requestId'] })
  t.notMatch(readFileSync(path, 'utf8'), /secret/)
})

t.test('serve: the audit on stderr', async t => {
  const { ann, bob, stop } = await serve(t, { audit: 'stderr', log: 'none' })
  const keyId = await useKeys(t, ann, bob)
  const { stderr } = await stop()
  const lines = jsonIn(stderr)
  t.match(lines, expected(keyId))
  t.equal(lines.length, 4)
})

t.test('serve: a disk that fails stops no request, and is a warning', async t => {
  const { ann, bob, stop } = await serve(t, { audit: '/dev/full', log: 'json' })
  await useKeys(t, ann, bob)
  const { code, stderr } = await stop()
  t.equal(code, 0)
  t.match(stderr, /"warning":"the audit file \/dev\/full cannot be written to, lines wait: Error: ENOSPC/)
  t.equal(stderr.split('cannot be written to').length, 2, 'once')
})

t.test('serve: an audit file that cannot be opened keeps it from starting', async t => {
  const folder = t.testdir()
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ data: join(folder, 'data'), audit: './none/audit.json' }))
  const { code, stderr } = await ended(start(['serve', '--config', join(folder, 'config.json')], undefined, folder))
  t.equal(code, 1)
  t.match(stderr, /the audit file .*none\/audit\.json cannot be opened\. Make its folder/)
})

t.test('serve: the request log in a file of its own', async t => {
  const { folder, ann, bob, stop } = await serve(t, { accessLog: './access.json', audit: './audit.json' })
  await useKeys(t, ann, bob)
  const { code, stderr } = await stop()
  t.equal(code, 0)
  const path = join(folder, 'access.json')
  t.equal(statSync(path).mode & 0o777, 0o600)
  const lines = linesOf(path)
  t.match(lines, [
    { user: 'ann', action: 'CreateBucket', status: 200 },
    { action: 'PutObject', path: '/photos/a', received: Number },
    { action: 'GetObject', status: 200 },
    { user: 'bob', action: 'PutObject' },
    { action: 'GetObject', status: 403, error: /^KeyAccessDenied: / },
  ])
  t.equal(lines.length, 5)
  t.notMatch(stderr, 'PutObject', 'and not on stderr')
  t.match(linesOf(join(folder, 'audit.json')), [{ requestId: lines[1]?.['requestId'] }])
  t.notMatch(readFileSync(path, 'utf8'), /secret/)
})
