/**
 * What the operator of a running server has: the second address with /livez, /readyz and /metrics, SIGHUP, and a stop that a balancer notices in
 * time.
 */
import { CreateBucketCommand, GetObjectCommand, ListBucketsCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { connect } from 'node:tls'
import t from 'tap'
import { makeCertificate, noOpenssl } from '../support/certificate.ts'
import { ended, start } from '../support/cli.ts'
import { ann, type ConfiguredUser, get, serving, tenantOf } from '../support/serving.ts'

const bob = { name: 'bob', accessKeyId: 'AKBOB', secretAccessKey: 'secret-of-bob', roles: [] }

t.test('/livez, /readyz and /metrics on an address of their own', async t => {
  const { admin, address, clientOf, folder } = await serving(t, { admin: { listen: '127.0.0.1:0' } })
  t.strictSame(await get(`${admin}/livez`), { status: 200, type: 'text/plain; charset=utf-8', text: 'alive\n' })
  const ready = await get(`${admin}/readyz`)
  t.equal(ready.status, 200)
  t.strictSame(JSON.parse(ready.text), { ready: true, reasons: [], keyManagers: {} })
  const s3 = clientOf(ann)
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  const Body = new Uint8Array(100_000)
  await s3.send(new PutObjectCommand({ Bucket: 'photos', Key: 'a', Body, ServerSideEncryption: 'aws:kms' }))
  await (await s3.send(new GetObjectCommand({ Bucket: 'photos', Key: 'a' }))).Body?.transformToByteArray()
  await t.rejects(s3.send(new GetObjectCommand({ Bucket: 'photos', Key: 'none' })))
  const { text, type } = await get(`${admin}/metrics`)
  t.match(type, /^text\/plain; version=0\.0\.4/)
  const value = (line: string): number =>
    Number(
      text
        .split('\n')
        .find(each => each.startsWith(line))
        ?.split(' ')
        .at(-1),
    )
  t.equal(value('sse_kms_requests_total{action="PutObject",status="200"}'), 1)
  t.equal(value('sse_kms_requests_total{action="GetObject",status="404"}'), 1)
  t.equal(value('sse_kms_errors_total{code="NoSuchKey"}'), 1)
  t.equal(value('sse_kms_request_duration_seconds_count{action="GetObject"}'), 2)
  t.equal(value('sse_kms_key_uses_total{provider="local",operation="generate",cached="false",outcome="ok"}'), 1)
  t.ok(value('sse_kms_bytes_total{direction="in"}') >= 100_000, 'the body that came')
  t.ok(value('sse_kms_bytes_total{direction="out"}') >= 100_000, 'the body that went')
  t.ok(value('nodejs_eventloop_lag_p99_seconds') > 0)
  t.equal(value('sse_kms_workers'), 1)
  t.equal(value('sse_kms_body_files'), 1)
  t.equal(value('sse_kms_open_uploads'), 0)
  t.equal(value('sse_kms_refused_bodies_total'), 0)
  const bodies = join(folder, 'data/objects/bodies')
  const names = readdirSync(bodies, { recursive: true, encoding: 'utf8' })
  const file = join(bodies, names.find(name => name.includes('/')) ?? '')
  const bytes = readFileSync(file)
  bytes.writeUInt8(bytes.readUInt8(90_000) ^ 1, 90_000)
  writeFileSync(file, bytes)
  await t.rejects(async () => {
    await (await s3.send(new GetObjectCommand({ Bucket: 'photos', Key: 'a' }))).Body?.transformToByteArray()
  })
  t.match((await get(`${admin}/metrics`)).text, /^sse_kms_refused_bodies_total 1$/m)
  t.equal((await get(`${admin}/other`)).status, 404)
  t.equal((await get(`${admin}/livez`, { method: 'POST' })).status, 405)
  t.equal((await get(`${admin}/livez`, { method: 'HEAD' })).text, '')
  t.match(await get(`${address}/metrics`), { status: 404, text: /NoSuchBucket/ }, 'nothing of it where clients are')

  const promtool = '/usr/bin/promtool'
  if (!existsSync(promtool)) t.comment('promtool is missing (Debian: prometheus)')
  else {
    const checked = spawnSync(promtool, ['check', 'metrics'], { input: text, encoding: 'utf8' })
    const own = checked.stderr.split('\n').filter(line => line.includes('sse_kms'))
    t.strictSame(own, [], 'as Prometheus wants them')
    t.notMatch(checked.stderr, /error while linting|parsing error/)
  }
})

const outward = Object.values(networkInterfaces())
  .flat()
  .find(each => each?.family === 'IPv4' && !each.internal)?.address

t.test('another address than loopback is allowed on purpose, and tells no reasons', async t => {
  const folder = t.testdir()
  const config = join(folder, 'sse-kms.json')
  const content = { data: join(folder, 'data'), listen: '127.0.0.1:0', admin: { listen: '0.0.0.0:0' } }
  writeFileSync(config, JSON.stringify(content))
  const refused = await ended(start(['serve', '--config', config]))
  t.match(refused, { code: 2, stderr: /admin\.listen: 0\.0\.0\.0 is no loopback address\. Set admin\.allowRemote/ })
  if (outward === undefined) return t.comment('this machine has no other address')
  const { admin } = await serving(t, { admin: { listen: '0.0.0.0:0', allowRemote: true } })
  const { port } = new URL(admin)
  t.strictSame(await get(`http://${outward}:${port}/readyz`), {
    status: 200,
    type: 'text/plain; charset=utf-8',
    text: 'ready\n',
  })
})

t.test('SIGHUP takes over users; what is wrong changes nothing', async t => {
  const { base, write, clientOf, hangUp } = await serving(t, {})
  const list = (user: ConfiguredUser) => clientOf(user).send(new ListBucketsCommand())
  await list(ann)
  await t.rejects(list({ ...bob, roles: ['x'] }), { name: 'InvalidAccessKeyId' })
  write({ ...base, tenants: tenantOf({ ...ann, secretAccessKey: 'changed' }, bob), region: 'elsewhere' })
  const lines = await hangUp()
  t.match(lines, /took over tenants, users and certificates/)
  await list({ ...ann, secretAccessKey: 'changed' })
  await list({ ...bob, roles: ['x'] })
  await t.rejects(list(ann), { name: 'SignatureDoesNotMatch' })
  write('{')
  t.match(await hangUp(), /the configuration stays as it is: .*this is not JSON/)
  await list({ ...bob, roles: ['x'] })
  write({ ...base, tenants: tenantOf(ann, { ...bob, accessKeyId: ann.accessKeyId }) })
  t.match(await hangUp(), /the configuration stays as it is: .*is used already/)
  await list({ ...bob, roles: ['x'] })
  write({ ...base, tenants: [{ domainId: 'sse-s3', projectId: 'project1', users: [ann] }] })
  t.match(await hangUp(), /the configuration stays as it is: .*sse-s3 is reserved for the service/)
  await list({ ...bob, roles: ['x'] })
})

t.test('a certificate that is exchanged while the server runs', { skip: noOpenssl }, async t => {
  const certificates = mkdtempSync(join(tmpdir(), 'certificates-'))
  t.teardown(() => rmSync(certificates, { recursive: true }))
  const tls = makeCertificate(certificates)
  const { address, hangUp } = await serving(t, { tls })
  const shown = async (): Promise<string> => {
    const socket = connect({ port: Number(new URL(address).port), host: '127.0.0.1', rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    const { fingerprint256 } = socket.getPeerCertificate()
    socket.destroy()
    return fingerprint256
  }
  const first = await shown()
  makeCertificate(certificates)
  t.equal(await shown(), first)
  t.match(await hangUp(), /took over/)
  const second = await shown()
  t.not(second, first)
  writeFileSync(tls.key, 'no key')
  t.match(await hangUp(), /stays as it is: .*are not a certificate and its private key/)
  t.equal(await shown(), second)
})

t.test('SIGHUP opens the audit file anew', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'audit-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const audit = join(folder, 'audit.log')
  const { clientOf, hangUp } = await serving(t, { audit })
  const s3 = clientOf(ann)
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  const put = (Key: string) =>
    s3.send(new PutObjectCommand({ Bucket: 'photos', Key, Body: 'a', ServerSideEncryption: 'aws:kms' }))
  await put('one')
  renameSync(audit, `${audit}.1`)
  await put('two')
  t.match(await hangUp(), /took over/)
  await put('three')
  const read = (file: string): string => (existsSync(file) ? readFileSync(file, 'utf8') : '')
  for (let tries = 0; tries < 100 && !read(audit).includes('three'); tries++) await wait(50)
  t.match(read(`${audit}.1`), /"key":"one".*\n.*"key":"two"/)
  t.match(read(audit), /^[^\n]*"key":"three"/)
})

t.test('a stop that a balancer notices in time', async t => {
  const { child, result, admin, clientOf } = await serving(t, { admin: { listen: '127.0.0.1:0' }, drainSeconds: 2 })
  const s3 = clientOf(ann)
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  child.kill('SIGTERM')
  let state = await get(`${admin}/readyz`)
  for (let tries = 0; tries < 50 && state.status !== 503; tries++) {
    await wait(20)
    state = await get(`${admin}/readyz`)
  }
  t.match(JSON.parse(state.text), { ready: false, reasons: ['the server is stopping'] })
  t.equal((await get(`${admin}/livez`)).status, 200)
  await s3.send(new PutObjectCommand({ Bucket: 'photos', Key: 'a', Body: 'a' }))
  t.equal((await result).code, 0)
})
