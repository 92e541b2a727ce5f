// The gateway that `sse-kms serve` starts, in this process: TLS, addresses, what keeps it from starting, its log, its end.
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { Agent as PlainAgent, createServer } from 'node:http'
import { Agent, get } from 'node:https'
import { connect, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadBucketCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import aws4 from 'aws4'
import t, { type Test } from 'tap'
import type { Config } from '../../lib/cli/config.ts'
import { toConfig } from '../../lib/cli/config-schema.ts'
import { networkOf } from '../../lib/cli/connections.ts'
import { logLine } from '../../lib/cli/log.ts'
import { addressOf, startGateway, type StartOptions } from '../../lib/cli/server.ts'
import { exitCodes } from '../../lib/cli/failure.ts'
import { SseError } from '../../lib/errors.ts'
import type { AccessLogEntry } from '../../lib/gateway/options.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'
import { cli } from '../support/cli.ts'
import { makeCertificate, noOpenssl } from '../support/certificate.ts'
import { fillUp } from '../support/store.ts'

const user = { name: 'ann', accessKeyId: 'AKANN', secretAccessKey: 'secret', roles: ['tenant_admin'] }
const tenant = { domainId: 'domain1', projectId: 'project1', users: [user] }

const rootKey = { key: new Uint8Array(32).fill(9) }

const standardLimits = toConfig('nothing', {}).limits

const configOf = (data: string, more: Partial<Config> = {}): Config => ({
  region: 'sichuan',
  profile: 'obs',
  listen: { host: '127.0.0.1', port: 0 },
  data,
  rootKey,
  hosts: ['localhost'],
  tenants: [tenant],
  lenientParts: false,
  defaultChecksum: 'none',
  bucketKeySeconds: 60,
  limits: standardLimits,
  log: 'none',
  ...more,
})

/** Starts a gateway that the test's end stops. */
const running = async (t: Test, more: Partial<Config> = {}, options: StartOptions = {}) => {
  const data = more.data ?? t.testdir()
  const gateway = await startGateway(configOf(data, more), options)
  let closed: Promise<void> | undefined
  const close = (): Promise<void> => (closed ??= gateway.close())
  t.teardown(close)
  return { data, address: gateway.address, close }
}

const clientOf = (t: Test, endpoint: string, more: { readonly agent?: PlainAgent | Agent } = {}): S3Client => {
  const client = new S3Client({
    endpoint,
    region: 'sichuan',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: user,
    ...(more.agent === undefined ? {} : { requestHandler: { httpAgent: more.agent, httpsAgent: more.agent } }),
  })
  t.teardown(() => client.destroy())
  return client
}

t.test('TLS: the certificate that is configured, and nothing below TLS 1.2', { skip: noOpenssl }, async t => {
  const folder = t.testdir()
  const tls = makeCertificate(folder)
  const { address } = await running(t, { tls, data: join(folder, 'data') })
  t.match(address, /^https:\/\/127\.0\.0\.1:\d+$/)
  const s3 = clientOf(t, address, { agent: new Agent({ ca: readFileSync(tls.cert) }) })
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  const put = new PutObjectCommand({ Bucket: 'photos', Key: 'a', Body: 'x', ServerSideEncryption: 'aws:kms' })
  t.match(await s3.send(put), { ServerSideEncryption: 'aws:kms' })
  const plain = await fetch(address.replace('https', 'http')).catch((error: unknown) => error)
  t.ok(plain instanceof Error, 'no HTTP there')
  const old = get(address, { agent: false, maxVersion: 'TLSv1.1', minVersion: 'TLSv1', rejectUnauthorized: false })
  const [error]: unknown[] = await once(old, 'error')
  t.ok(error instanceof Error)

  const swapped = startGateway(configOf(join(folder, 'other'), { tls: { cert: tls.key, key: tls.cert } }))
  await t.rejects(swapped, { code: 'FileFailed', message: /are not a certificate and its private key/ })
  const missing = startGateway(
    configOf(join(folder, 'other'), { tls: { cert: join(folder, 'none.pem'), key: tls.key } }),
  )
  await t.rejects(missing, { code: 'ENOENT', message: /none\.pem/ })
})

t.test('an address of IPv6, in brackets', async t => {
  const { address } = await running(t, { listen: { host: '::1', port: 0 } })
  t.match(address, /^http:\/\/\[::1\]:\d+$/)
  const s3 = clientOf(t, address)
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  t.match(await s3.send(new HeadBucketCommand({ Bucket: 'photos' })), { BucketRegion: 'sichuan' })
  const own = { SSECustomerAlgorithm: 'AES256', SSECustomerKey: Buffer.alloc(32, 1).toString('base64') }
  const put = new PutObjectCommand({ Bucket: 'photos', Key: 'own', Body: 'x', ...own })
  t.match(await s3.send(put), { SSECustomerAlgorithm: 'AES256' }, 'which is loopback')
  const listen = { host: '::', port: 9000 }
  t.equal(addressOf(createServer(), configOf('data', { listen })), 'http://[::]:9000', 'before it listens')
})

const outside = Object.values(networkInterfaces())
  .flat()
  .find(each => each?.internal === false && each.family === 'IPv4')?.address
const alone = outside === undefined && 'this machine has no address but loopback'

t.test('SSE-C over plain HTTP is refused from outside, and nothing of it kept', { skip: alone }, async t => {
  const { address } = await running(t, { listen: { host: '0.0.0.0', port: 0 } })
  t.match(address, /^http:\/\/0\.0\.0\.0:\d+$/)
  const s3 = clientOf(t, address.replace('0.0.0.0', outside ?? ''))
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  const SSECustomerKey = Buffer.alloc(32, 1).toString('base64')
  const at = { Bucket: 'photos', Key: 'a', SSECustomerAlgorithm: 'AES256', SSECustomerKey }
  const insecure = { name: 'InvalidRequest', message: /secure connection/ }
  await t.rejects(s3.send(new PutObjectCommand({ ...at, Body: 'x' })), insecure)
  await t.rejects(s3.send(new GetObjectCommand(at)), { name: 'NoSuchKey' })
  const local = clientOf(t, address.replace('0.0.0.0', '127.0.0.1'))
  await local.send(new PutObjectCommand({ ...at, Body: 'x' }))
  await t.rejects(s3.send(new GetObjectCommand(at)), insecure)
  const kms = new PutObjectCommand({ Bucket: 'photos', Key: 'b', Body: 'x', ServerSideEncryption: 'aws:kms' })
  t.match(await s3.send(kms), { ServerSideEncryption: 'aws:kms' }, 'SSE-KMS sends no key')
})

t.test("the operator's choices", async t => {
  const { address, data } = await running(t, { customerKeys: true, baseEncryption: 'sse-s3' })
  const s3 = clientOf(t, address)
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  const at = { Bucket: 'photos', Key: 'a', Body: 'x' }
  t.match(await s3.send(new PutObjectCommand(at)), { ServerSideEncryption: 'AES256' })
  const kms = await LocalKms.open(join(data, 'keys'), { root: rootKey })
  t.teardown(() => kms.close())
  const { keyId } = await kms.createKey({ region: 'sichuan', domainId: 'domain1' })
  const put = new PutObjectCommand({ ...at, ServerSideEncryption: 'aws:kms', SSEKMSKeyId: keyId })
  t.match(await s3.send(put), { SSEKMSKeyId: keyId }, 'a key that the customer made')
})

t.test('what keeps it from starting, and that it leaves nothing open then', async t => {
  const { address, data, close } = await running(t)
  const port = Number(new URL(address).port)
  const taken = { listen: { host: '127.0.0.1', port } }
  const second = join(data, 'second')
  await t.rejects(startGateway(configOf(second, taken)), {
    code: 'FileFailed',
    message: `cannot listen on 127.0.0.1:${port}. Choose another address with --listen.`,
    cause: { code: 'EADDRINUSE' },
  })
  const told = await cli(['serve', '--listen', `127.0.0.1:${port}`, '--data', join(data, 'demo')])
  t.equal(told.code, exitCodes.failed)
  t.match(
    told.stderr,
    /cannot listen on .* with --listen\. Cause: listen EADDRINUSE: address already in use 127\.0\.0\.1/,
  )
  await close()
  const again = await startGateway(configOf(second, taken))
  await again.close()

  const reserved = [{ ...tenant, domainId: 'sse-s3' }]
  await t.rejects(startGateway(configOf(join(data, 'third'), { tenants: reserved })), {
    code: 'InvalidConfig',
    message: /^tenants: the domain id sse-s3 is reserved for the service\./,
  })
  t.notOk(readdirSync(data).includes('third'), 'nothing was made')
  process.env['SSE_KMS_ENGINE'] = 'fastest'
  await t.rejects(startGateway(configOf(join(data, 'third'))), { code: 'EngineUnavailable' }).finally(() => {
    delete process.env['SSE_KMS_ENGINE']
  })
  t.notOk(readdirSync(data).includes('third'), 'nor with an engine that there is not')

  const other = { rootKey: { key: new Uint8Array(32).fill(8) } }
  await t.rejects(startGateway(configOf(second, other)), { code: 'KeyringLocked' })
  const broken = join(data, 'broken')
  mkdirSync(broken)
  writeFileSync(join(broken, 'objects'), 'no folder')
  await t.rejects(startGateway(configOf(broken)))
  rmSync(join(broken, 'objects'))
  const mended = await startGateway(configOf(broken))
  await mended.close()
})

t.test('a key store with a damaged key: it starts, and says so', async t => {
  const data = t.testdir()
  const kms = await LocalKms.open(join(data, 'keys'), { root: rootKey })
  await kms.createKey({ region: 'sichuan', domainId: 'domain1' })
  kms.close()
  const [path = ''] = readdirSync(join(data, 'keys/keys'), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
  writeFileSync(path, 'damaged')
  const warned = once(process, 'warning')
  const gateway = await startGateway(configOf(data))
  const [warning]: unknown[] = await warned
  t.match(warning, { message: /^expired keys could not be destroyed: / })
  await gateway.close()
})

t.test('a root key file that others may read: said once, in the form of the log', async t => {
  const file = join(t.testdir(), 'root.key')
  writeFileSync(file, rootKey.key, { mode: 0o644 })
  const said = async (log: Config['log']): Promise<string> => {
    const lines: string[] = []
    const { write } = process.stderr
    process.stderr.write = text => lines.push(String(text)) > 0
    try {
      const gateway = await startGateway(configOf(join(file, '..', log), { rootKey: { file }, log }))
      await gateway.close()
    } finally {
      process.stderr.write = write
    }
    return lines.join('')
  }
  const text = `The root key file ${file} has mode 644: others than its owner may use it. Run: chmod 600 ${file}`
  t.match(await said('text'), new RegExp(`^\\d{4}-\\S+Z warning: ${text}\\n$`))
  const json = await said('json')
  t.match(JSON.parse(json), { time: /^\d{4}-/, warning: text })
  t.match(json, /^[^\n]+\n$/)
})

t.test('an index that is not mounted: it does not start, and with --sweep-all it begins anew', async t => {
  const { data, close } = await running(t)
  await close()
  const index = join(data, 'objects', 'index')
  rmSync(index, { recursive: true })
  await t.rejects(startGateway(configOf(data)), { code: 'StoreFailed', message: /^The index is new.*--sweep-all/ })
  const file = join(data, 'root')
  writeFileSync(file, rootKey.key, { mode: 0o600 })
  const argv = ['serve', '--log', 'none', '--listen', '127.0.0.1:0', '--data', data, '--root-key-file', file]
  const options = { signal: AbortSignal.abort() }
  t.match(await cli(argv, options), { code: exitCodes.failed, stderr: /The index is new.*--sweep-all/ })
  t.match(await cli([...argv, '--sweep-all'], options), { code: exitCodes.ok, stderr: '' })
  t.match(await cli(argv, options), { code: exitCodes.ok, stderr: '' }, 'once')
})

t.test('a key store that is missing or another one: it does not start, and makes none', async t => {
  const { data, address, close } = await running(t)
  const [keys, aside] = [join(data, 'keys'), join(data, 'aside')]
  const s3 = clientOf(t, address)
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  const at = { Bucket: 'photos', Key: 'a' }
  const put = new PutObjectCommand({ ...at, Body: 'x', ServerSideEncryption: 'aws:kms' })
  await s3.send(put)
  await t.test('default keys that are lost meanwhile are not made anew', async t => {
    renameSync(join(keys, 'keys'), aside)
    await t.rejects(s3.send(put), {
      name: 'InternalError',
      message: /^An internal error happened/, // what is lost is in the log alone
    })
    t.notOk(existsSync(join(keys, 'keys')), 'no key was made')
    renameSync(aside, join(keys, 'keys'))
    await s3.send(put)
  })
  await close()
  const refused = async (message: RegExp): Promise<void> => {
    await t.rejects(startGateway(configOf(data)), { code: 'KeyringCorrupt', message })
  }

  renameSync(keys, aside)
  await refused(
    /^The objects in .*objects belong to key store [0-9a-f]{32}, but there is none in .*keys\. Put the old folder back/,
  )
  t.notOk(existsSync(keys), 'none was made')
  const other = await LocalKms.open(keys, { root: rootKey })
  other.close()
  await refused(
    new RegExp(`^The objects in .* belong to key store [0-9a-f]{32}, but .* is key store ${other.storeId}\\.`),
  )
  rmSync(keys, { recursive: true })
  renameSync(aside, keys)

  renameSync(join(keys, 'keys'), aside)
  await refused(/^The files of \d+ keys are missing from the key store, such as arn:aws:kms:.*Restore its folder keys/)
  renameSync(aside, join(keys, 'keys'))
  const kms = await LocalKms.open(keys, { root: rootKey })
  const { keyId } = await kms.defaultKey({ region: 'sichuan', domainId: 'domain1' })
  await kms.disableKey({ keyId })
  await (await startGateway(configOf(data))).close()
  await kms.enableKey({ keyId })
  kms.close()
  const again = await running(t, { data })
  const answer = await clientOf(t, again.address).send(new GetObjectCommand(at))
  t.equal(await answer.Body?.transformToString(), 'x')
})

t.test('the log: a line a request, never a secret', async t => {
  for (const log of ['text', 'json', 'none'] as const) {
    const lines: string[] = []
    const { write } = process.stderr
    t.teardown(() => (process.stderr.write = write))
    process.stderr.write = (chunk: string | Uint8Array): boolean => lines.push(String(chunk)) > 0
    const { address, close } = await running(t, { log })
    const s3 = clientOf(t, address)
    await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
    const refused = await fetch(`${address}/photos/a?b=c`)
    t.equal(refused.status, 403)
    await close()
    process.stderr.write = write
    const text = lines.join('')
    t.notMatch(text, /secret|Signature=/)
    if (log === 'none') t.equal(text, '')
    if (log === 'text') {
      t.match(lines[0], /^\S+Z 127\.0\.0\.1 ann CreateBucket PUT \/photos\/ 200 \d+ms\n$/)
      t.match(lines[1], /^\S+Z 127\.0\.0\.1 - GetObject GET \/photos\/a 403 \d+ms AccessDenied: /)
    }
    if (log === 'json') {
      t.match(JSON.parse(lines[1] ?? ''), { status: 403, action: 'GetObject', error: /^AccessDenied: / })
    }
  }
  const entry: AccessLogEntry = {
    time: '2026-01-01T00:00:00.000Z',
    requestId: 'ID',
    remote: '::1',
    user: undefined,
    method: 'GET',
    path: '/',
    action: undefined,
    status: 500,
    milliseconds: 7,
    received: 0,
    sent: 0,
    error: new SseError('InternalError', { message: 'We failed.', cause: new Error('the reason') }),
  }
  t.equal(
    logLine(entry, 'text'),
    '2026-01-01T00:00:00.000Z ::1 - - GET / 500 7ms InternalError: We failed.: the reason',
  )
  const denied = new SseError('AccessDenied', { message: 'No.', cause: new Error('the reason') })
  t.match(
    logLine({ ...entry, error: denied }, 'text'),
    /AccessDenied: No\.$/,
    'the cause is told of failures of its own',
  )
  const bare = new SseError('InternalError', { message: 'We failed.', cause: 'text' })
  t.match(logLine({ ...entry, error: bare }, 'text'), /We failed\.$/)
})

t.test('the log: one line, whatever a client sends', async t => {
  const lines: string[] = []
  const { write } = process.stderr
  t.teardown(() => (process.stderr.write = write))
  const evil = 'a\nb\u001b[2J\u009b\u202e\u2066\u2028'
  const token = `--b\r\nContent-Disposition: form-data; name="${evil.replace('\n', '\t')}"\r\n\r\nx\r\n`
  const file = '--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n'
  for (const log of ['text', 'json'] as const) {
    const { address, close } = await running(t, { log })
    const s3 = clientOf(t, address)
    await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
    const { url, fields } = await createPresignedPost(s3, { Bucket: 'photos', Key: 'a' })
    const signed = Object.entries(fields).map(
      ([name, value]) => `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
    )
    process.stderr.write = (chunk: string | Uint8Array): boolean => lines.push(String(chunk)) > 0
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    await fetch(url, { method: 'POST', headers, body: [...signed, token, file].join('') })
    await fetch(`${address}/photos/a%0Ab%1B`)
    await close()
    process.stderr.write = write
    t.equal(lines.length, 2)
    for (const line of lines) t.notMatch(line, /[^ -~][^]|[^ -~\n]/, line)
    if (log === 'json') t.match(JSON.parse(lines[0] ?? '').error, '\u001b[2j\u009b\u202e\u2066\u2028')
    else t.match(lines[0], /Extra input fields: a.*\\u001b\[2j\\u009b\\u202e\\u2066\\u2028\n$/)
    lines.splice(0)
  }
})

/** Connects to a server, and stays silent. */
const dial = async (address: string): Promise<Socket> => {
  const socket = connect(Number(new URL(address).port), '127.0.0.1')
  socket.on('error', () => undefined).resume()
  await once(socket, 'connect')
  return socket
}

const isClosed = (socket: Socket, within = 5000): Promise<boolean> =>
  socket.closed ? Promise.resolve(true) : Promise.race([once(socket, 'close').then(() => true), wait(within, false)])

const timed = async (run: () => Promise<unknown>): Promise<number> => {
  const began = performance.now()
  await run()
  return performance.now() - began
}

t.test('connections of one address, and of all', async t => {
  const warnings: string[] = []
  const onWarning = ({ message }: Error) => warnings.push(message)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  for (const [limits, warning] of [
    [
      { connectionsPerAddress: 3 },
      'connections of 127.0.0.1 are refused, since 3 are open (limits.connectionsPerAddress)',
    ],
    [{ connections: 3 }, 'connections are refused, since 3 are open (limits.connections)'],
  ] as const) {
    const { address, close } = await running(t, { limits: { ...standardLimits, ...limits } })
    const held = await Promise.all([dial(address), dial(address), dial(address)])
    for (let i = 0; i < 3; i++) t.ok(await isClosed(await dial(address)), 'one too many is closed')
    t.strictSame(
      held.map(socket => socket.closed),
      [false, false, false],
    )
    held[0]?.destroy()
    await wait(50)
    t.equal((await fetch(address)).status, 403, 'there is room again')
    t.strictSame(warnings.splice(0), [warning], 'one warning')
    await close()
  }
  for (const [address, network] of [
    ['10.0.0.1', '10.0.0.1'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
    ['::1', '0:0:0:0'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['fe80::1:2:3:4%eth0', 'fe80:0:0:0'],
    ['1::', '1:0:0:0'],
    ['', ''],
  ] as const) {
    t.equal(networkOf(address), network, address)
  }
})

t.test('headers that do not come', { skip: noOpenssl }, async t => {
  const limits = { ...standardLimits, headerSeconds: 1 }
  const plain = await running(t, { limits })
  const folder = t.testdir()
  const encrypted = await running(t, { limits, tls: makeCertificate(folder), data: join(folder, 'data') })
  const silent = await dial(plain.address)
  const half = await dial(plain.address)
  half.write('GET / HTTP/1.1\r\n')
  const noHandshake = await dial(encrypted.address)
  for (const socket of [silent, half, noHandshake]) t.ok(await isClosed(socket, 10_000))
})

t.test('the end: connections without a request are closed at once', { skip: noOpenssl }, async t => {
  const folder = t.testdir()
  const pem = makeCertificate(folder)
  for (const tls of [undefined, pem]) {
    const data = join(folder, tls === undefined ? 'http' : 'https')
    const { address, close } = await running(t, { data, ...(tls === undefined ? {} : { tls }) })
    const silent = await dial(address)
    const half = await dial(address)
    half.write('GET / HTTP/1.1\r\n')
    const agent =
      tls === undefined
        ? new PlainAgent({ keepAlive: true })
        : new Agent({ keepAlive: true, ca: readFileSync(pem.cert) })
    t.teardown(() => agent.destroy())
    const s3 = clientOf(t, address, { agent })
    await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
    await wait(50)
    t.equal(Object.keys(agent.freeSockets).length, 1, 'a connection is kept')
    const took = await timed(close)
    t.ok(took < 5000, `${took} ms`)
    t.ok(await isClosed(silent))
    t.ok(await isClosed(half))
  }
})

t.test('the end: a request under way ends, and its connection with it', async t => {
  const { address, close } = await running(t)
  const s3 = clientOf(t, address)
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  const { hostname, port } = new URL(address)
  const signed = aws4.sign(
    {
      host: `${hostname}:${port}`,
      path: '/photos/a',
      method: 'PUT',
      service: 's3',
      region: 'sichuan',
      headers: {},
      body: 'hello',
    },
    user,
  )
  const socket = await dial(address)
  const lines = Object.entries(signed.headers).map(([name, value]) => `${name}: ${String(value)}\r\n`)
  let answer = ''
  socket.on('data', piece => (answer += String(piece)))
  socket.write(`PUT /photos/a HTTP/1.1\r\n${lines.join('')}\r\nhel`)
  await wait(100)
  const closing = timed(close)
  await wait(100)
  socket.write('lo')
  const took = await closing
  t.ok(took < 5000, `${took} ms`)
  t.match(answer, /^HTTP\/1\.1 200 OK/)
})

t.test('the end: requests under way may go on for a while, idle connections may not', async t => {
  const { address, close } = await running(t, {}, { grace: 200 })
  const socket = connect(Number(new URL(address).port), '127.0.0.1')
  await once(socket, 'connect')
  socket.write('PUT /photos/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab') // and never the rest
  socket.on('error', () => undefined).resume()
  await wait(50)
  const began = Date.now()
  const gone = once(socket, 'close')
  await close()
  const took = Date.now() - began
  t.ok(took < 5000, `${took} ms`)
  await gone
})

t.test('limits.uploadDays: an upload that nobody completes is aborted, with a line', async t => {
  const { data, address, close } = await running(t)
  const s3 = clientOf(t, address)
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket: 'photos', Key: 'a' }))
  await close()
  const warned = once(process, 'warning')
  const again = await running(t, { data, limits: { ...standardLimits, uploadDays: 1 / 86_400_000 } })
  const [warning] = await warned
  t.match(String(warning), new RegExp(`an upload was aborted.*bucket photos, key a, upload ${UploadId}, begun at 2`))
  const part = { Bucket: 'photos', Key: 'a', UploadId, PartNumber: 1, Body: 'x' }
  await t.rejects(clientOf(t, again.address).send(new UploadPartCommand(part)), { name: 'NoSuchUpload' })
})

t.test(
  'an index that fails while it commits ends the server',
  { skip: existsSync('/dev/full') ? false : 'no /dev/full' },
  async t => {
    t.capture(console, 'error')
    const data = t.testdir()
    const gateway = await startGateway(configOf(data), { grace: 0 })
    const client = clientOf(t, gateway.address)
    await client.send(new CreateBucketCommand({ Bucket: 'bucket' }))
    fillUp(join(data, 'objects', 'index', 'data.mdb'), true)
    const putting = client.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'k', Body: 'x' }))
    await t.rejects(putting, { name: 'InsufficientStorage', $metadata: { httpStatusCode: 507 } })
    t.match(await gateway.broken, {
      code: 'StoreFailed',
      message: /start the server again/,
      cause: { code: 'StoreFull' },
    })
    await gateway.close()
  },
)
