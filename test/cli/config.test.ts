// The configuration of `sse-kms serve`: what it refuses and how it says so, flags, environment and defaults; the demo tenant; and the server's
// start and end.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t, { type Test } from 'tap'
import { type Config, demoTenants, loadConfig } from '../../lib/cli/config.ts'
import { checkConfig, jsonSchema, toConfig } from '../../lib/cli/config-schema.ts'
import { exitCodes } from '../../lib/cli/failure.ts'
import type { Environment, Io } from '../../lib/cli/io.ts'
import { SseError } from '../../lib/errors.ts'
import { serveWith } from '../../lib/cli/serve.ts'
import { cli, Collector, ended, start } from '../support/cli.ts'

const user = { name: 'ann', accessKeyId: 'AKANN', secretAccessKey: 'secret', roles: ['tenant_admin'] }
const tenant = { domainId: 'domain1', projectId: 'project1', users: [user] }

/** Loads a configuration out of a file. */
const load = (t: Test, content: unknown, env: Environment = {}, flags: Parameters<typeof loadConfig>[1] = {}) => {
  const path = join(t.testdir(), 'config.json')
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return loadConfig(path, flags, env)
}

const standardLimits = toConfig('nothing', {}).limits

const withUser = (change: object) => ({ tenants: [{ ...tenant, users: [{ ...user, ...change }] }] })

const withGrant = (change: object) => ({
  tenants: [{ ...tenant, keyGrants: [{ users: ['AKANN'], rights: ['kms:Decrypt'], ...change }] }],
})

const refusals: readonly (readonly [content: unknown, problem: string])[] = [
  ['{', 'this is not JSON'],
  [[], 'expected object, received array'],
  [{ regoin: 'x' }, 'regoin: there is no such field'],
  [{ region: 5 }, 'region: expected string, received number'],
  [{ region: 'a/b' }, 'region: expected a region of 1 to 64 of A-Z, a-z, 0-9, _ and -'],
  [{ profile: 'aws' }, 'profile: expected "obs" or "s3"'],
  [{ listen: '9000' }, 'listen: expected HOST:PORT, such as 127.0.0.1:9000 or [::1]:9000'],
  [{ listen: '::1:9000' }, 'listen: expected HOST:PORT'],
  [{ listen: 'a:70000' }, 'listen: expected a port up to 65535'],
  [{ admin: { listen: 'a:70000' } }, 'admin.listen: expected a port up to 65535'],
  [{ drainSeconds: -1 }, 'drainSeconds: expected 0 to 3600 seconds'],
  [{ workers: 0 }, 'workers: expected 1 to 256, or "auto"'],
  [{ hosts: ['a:1'] }, 'hosts[0]: expected a host name in lower case, without a port'],
  [{ rootKey: 'x' }, 'rootKey: expected { "file": "…" }, { "environment": "NAME" } or { "passphrase": … }'],
  [
    { rootKey: { passphrase: { environment: 'NOT_SET' } } },
    'rootKey.passphrase: the environment variable NOT_SET is not set',
  ],
  [{ tls: { cert: 'a' } }, 'tls.key: expected string, received undefined'],
  [{ log: 'xml' }, 'log: expected "text", "json" or "none"'],
  [{ baseEncryption: 'sse-kms' }, 'baseEncryption: expected "none" or "sse-s3"'],
  [{ defaultChecksum: 'md5' }, 'defaultChecksum: expected "none" or "crc64nvme"'],
  [{ bucketKeySeconds: 0 }, 'bucketKeySeconds: expected 1 to 86400 seconds'],
  [{ bucketKeySeconds: 86_401 }, 'bucketKeySeconds: expected 1 to 86400 seconds'],
  [{ bucketKeySeconds: 1.5 }, 'bucketKeySeconds: expected whole seconds'],
  [{ limits: { connections: 0 } }, 'limits.connections: expected a whole number from 1 to 1000000000'],
  [{ limits: { kmsSeconds: 0.5 } }, 'limits.kmsSeconds: expected a whole number from 1 to 1000000000'],
  [{ limits: { conections: 1 } }, 'limits.conections: there is no such field'],
  [{ customerKeys: 'yes' }, 'customerKeys: expected boolean, received string'],
  [{ tenants: [] }, 'tenants: expected at least one tenant'],
  [{ tenants: [{ ...tenant, users: [] }] }, 'tenants[0].users: expected at least one user'],
  [
    withUser({ secretAccessKey: 5 }),
    'tenants[0].users[0].secretAccessKey: expected a string, { "environment": "NAME" } or { "file": "PATH" }',
  ],
  [withUser({ secretAccessKey: '' }), 'tenants[0].users[0].secretAccessKey: expected a string that is not empty'],
  [
    withUser({ secretAccessKey: { environment: 'A B' } }),
    'tenants[0].users[0].secretAccessKey.environment: expected the name',
  ],
  [
    withUser({ secretAccessKey: { environment: 'EMPTY' } }),
    'tenants[0].users[0].secretAccessKey: the environment variable EMPTY is not set',
  ],
  [withUser({ accessKeyId: 'a/b' }), 'tenants[0].users[0].accessKeyId: expected 1 to 128 of'],
  [withUser({ roles: ['admin'] }), 'tenants[0].users[0].roles[0]: expected "tenant_admin", the only role there is'],
  [withGrant({ users: [] }), 'tenants[0].keyGrants[0]: expected users or roles'],
  [withGrant({ users: ['AKBOB'] }), 'tenants[0].keyGrants[0].users: AKBOB is no access key id of the tenant'],
  [
    withGrant({ roles: ['admin'] }),
    'tenants[0].keyGrants[0].roles[0]: expected "tenant_admin", the only role there is',
  ],
  [withGrant({ rights: [] }), 'tenants[0].keyGrants[0].rights: expected at least one right'],
  [
    withGrant({ rights: ['kms:*'] }),
    'tenants[0].keyGrants[0].rights[0]: expected one of kms:GenerateDataKey, kms:Decrypt',
  ],
  [withGrant({ keys: [] }), 'tenants[0].keyGrants[0].keys: expected at least one key; leave keys out for all'],
  [withGrant({ keys: ['photos'] }), 'tenants[0].keyGrants[0].keys[0]: expected the ARN or id of a key, or alias/NAME'],
  [
    withGrant({ keys: ['alias/photos', 'arn:aws:kms:sichuan:domain2:alias/photos'] }),
    'tenants[0].keyGrants[0].keys: arn:aws:kms:sichuan:domain2:alias/photos is no key of the tenant in sichuan',
  ],
  [{ tenants: [tenant, tenant] }, 'tenants[1].domainId: domain1 is used already, in tenants[0].domainId'],
  [
    { tenants: [tenant, { ...tenant, domainId: 'domain2' }] },
    'tenants[1].users[0].accessKeyId: AKANN is used already, in tenants[0].users[0].accessKeyId',
  ],
  [
    { a: 1, b: 2, region: 1 },
    'region: expected string, received number; a: there is no such field; b: there is no such field',
  ],
]

t.test('what is refused, with the field and what was expected', async t => {
  for (const [content, problem] of refusals) {
    const error: unknown = await load(t, content, { EMPTY: '' }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    t.match(error, { code: 'InvalidConfig', message: /config\.json: / }, problem)
    const { message } = error instanceof Error ? error : new Error()
    t.ok(message.includes(problem), message)
    t.match(message, /\. See sse-kms serve --print-schema\.$/)
  }
  await t.rejects(loadConfig(undefined, { listen: 'x' }, {}), {
    code: 'InvalidConfig',
    message: /^command line: listen: expected HOST:PORT/,
  })
  await t.rejects(loadConfig('none.json', {}, {}), { code: 'ENOENT' })
})

t.test('defaults', async t => {
  const data = join(t.testdir(), 'data')
  const { config, demo } = await load(t, { tenants: [tenant], data })
  t.equal(demo, undefined)
  t.strictSame(config, {
    region: 'sichuan',
    profile: 'obs',
    listen: { host: '127.0.0.1', port: 9000 },
    data,
    rootKey: { file: join(data, 'root.key'), create: true },
    hosts: ['127.0.0.1', 'localhost'],
    tenants: [tenant],
    lenientParts: false,
    defaultChecksum: 'none',
    bucketKeySeconds: 300,
    drainSeconds: 0,
    workers: 1,
    limits: standardLimits,
    log: 'text',
  } satisfies Config)
  t.notOk(existsSync(data), 'nothing is made')
})

t.test('a configuration with everything in it', async t => {
  const env = { ANN: 'from the environment', PASS: 'phrase' }
  const { config } = await load(
    t,
    {
      $schema: './config.schema.json',
      region: 'r1',
      profile: 's3',
      listen: '[::1]:0',
      data: 'relative',
      rootKey: { passphrase: { environment: 'PASS' } },
      hosts: ['s3.example.org'],
      tenants: [{ ...tenant, users: [{ ...user, roles: undefined, secretAccessKey: { environment: 'ANN' } }] }],
      customerKeys: false,
      lenientParts: true,
      baseEncryption: 'none',
      defaultChecksum: 'none',
      bucketKeySeconds: 60,
      tls: { cert: 'cert.pem', key: '/key.pem' },
      admin: { listen: '[::1]:0', allowRemote: true },
      drainSeconds: 5,
      workers: 3,
      limits: { connections: 5 },
      log: 'none',
    },
    env,
  )
  t.strictSame(config, {
    region: 'r1',
    profile: 's3',
    listen: { host: '::1', port: 0 },
    data: resolve('relative'),
    rootKey: { passphrase: 'phrase' },
    hosts: ['s3.example.org'],
    tenants: [{ ...tenant, users: [{ ...user, roles: [], secretAccessKey: 'from the environment' }] }],
    customerKeys: false,
    lenientParts: true,
    baseEncryption: 'none',
    defaultChecksum: 'none',
    bucketKeySeconds: 60,
    tls: { cert: resolve('cert.pem'), key: '/key.pem' },
    admin: { host: '::1', port: 0, allowRemote: true },
    drainSeconds: 5,
    workers: 3,
    limits: { ...standardLimits, connections: 5 },
    log: 'none',
  } satisfies Config)
})

t.test('flags go before the file; what is left out follows from the rest', async t => {
  const of = async (content: object, flags: Parameters<typeof loadConfig>[1] = {}, env: Environment = {}) =>
    (await load(t, { tenants: [tenant], ...content }, env, flags)).config
  const flags = { listen: 'Host.example:80', data: '/d', region: 'r2', profile: 's3', log: 'json', rootKeyFile: 'k' }
  const config = await of(
    { listen: 'x:1', data: 'y', region: 'z', profile: 'obs', log: 'none', rootKey: { environment: 'E' } },
    flags,
  )
  t.match(config, {
    listen: { host: 'Host.example', port: 80 },
    data: '/d',
    region: 'r2',
    profile: 's3',
    log: 'json',
    rootKey: { file: 'k', create: true },
  })
  t.strictSame(config.hosts, ['host.example', 'localhost'])
  t.equal(config.defaultChecksum, 'crc64nvme')
  for (const listen of ['0.0.0.0:1', '[::]:1', 'localhost:1']) t.strictSame((await of({ listen })).hosts, ['localhost'])
  t.strictSame((await of({ rootKey: { environment: 'E' } })).rootKey, { environment: 'E' })
  t.strictSame((await of({ rootKey: { file: 'f' } })).rootKey, { file: resolve('f'), create: false })
  t.strictSame((await of({ rootKey: { file: '/f', create: true } })).rootKey, { file: '/f', create: true })
  t.strictSame((await of({}, {}, { SSE_KMS_ROOT_KEY: 'x' })).rootKey, { environment: 'SSE_KMS_ROOT_KEY' })
  t.strictSame((await of({}, {}, { SSE_KMS_PASSPHRASE: 'x' })).rootKey, { passphrase: 'x' })
})

t.test('the published schema', async t => {
  const published: unknown = JSON.parse(readFileSync(new URL('../../docs/config.schema.json', import.meta.url), 'utf8'))
  t.strictSame(published, jsonSchema(), 'docs/config.schema.json is what sse-kms serve --print-schema prints')
  const printed = await cli(['serve', '--print-schema'])
  t.strictSame(JSON.parse(printed.stdout.toString()), published)
  const names = Object.keys(Object(published).properties)
  t.strictSame(
    names.filter(name => !('description' in Object(published).properties[name])),
    [],
  )
  t.equal(Object(published).required, undefined, 'every field has a default')
  t.equal(checkConfig({}).problems, undefined)
})

t.test('the demo tenant', async t => {
  const data = join(t.testdir(), 'new', 'data')
  const many = await Promise.all([1, 2, 3, 4].map(() => demoTenants(data)))
  const path = join(data, 'demo.json')
  for (const demo of many) t.strictSame(demo.tenants, many[0]?.tenants, 'all that start at once get the same')
  t.equal(many.filter(demo => demo.isNew).length, 1)
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.match(many[0]?.tenants, [
    {
      domainId: 'domainiddomainiddomainiddoma0001',
      users: [
        {
          name: 'admin',
          accessKeyId: /^DEMO[0-9A-F]{16}$/,
          secretAccessKey: /^[0-9a-f]{40}$/,
          roles: ['tenant_admin'],
        },
        { name: 'user', roles: [] },
      ],
    },
  ])
  t.equal((await demoTenants(data)).isNew, false)
  const other = await demoTenants(join(t.testdirName, 'other'))
  t.notSame(other.tenants, many[0]?.tenants)
  const { config, demo } = await loadConfig(undefined, { data }, {})
  t.strictSame(config.tenants, many[0]?.tenants)
  t.equal(demo?.path, path)
  t.strictSame((await loadConfig(path, {}, {})).config.tenants, config.tenants, 'it is a configuration itself')

  writeFileSync(path, '{}')
  await t.rejects(demoTenants(data), {
    code: 'InvalidConfig',
    message: /demo\.json: tenants: expected the demo tenant; delete the file/,
  })
  await t.rejects(demoTenants('/dev/null/data'), { code: 'ENOTDIR' })
  await t.rejects(demoTenants('/proc'), { code: 'ENOENT' })
})

/** Starts `serve` with the real gateway, and resolves when it said that it listens. */
const serving = async (argv: readonly string[], env: Environment = {}) => {
  const controller = new AbortController()
  const stdout = new Collector()
  const stderr = new Collector()
  const result = cli(['serve', '--log', 'none', '--listen', '127.0.0.1:0', ...argv], {
    stdout,
    stderr,
    env,
    signal: controller.signal,
  })
  while (stdout.text === '') {
    const over = await Promise.race([result, new Promise(r => setTimeout(r, 20))])
    if (over !== undefined) break
  }
  return { text: stdout.text, stderr, result, stop: () => controller.abort() }
}

t.test('serve: starts, says where, and ends in good order', async t => {
  const data = join(t.testdir(), 'data')
  const first = await serving(['--data', data])
  const [, url = ''] =
    /^sse-kms listens on (http:\/\/127\.0\.0\.1:\d+) \(region sichuan, profile obs, data in .*data\)\n/.exec(
      first.text,
    ) ?? []
  t.match(first.text, /credentials were made and are kept in .*demo\.json/)
  t.match(first.text, /# admin \(tenant_admin\) of domainid/)
  t.match(first.text, /# user of domainid/)
  t.match(first.text, new RegExp(`\n {2}aws --endpoint-url ${url} s3 mb s3://photos\n`))
  t.match(
    first.text,
    /export AWS_ACCESS_KEY_ID=DEMO[0-9A-F]{16} AWS_SECRET_ACCESS_KEY=[0-9a-f]{40} AWS_DEFAULT_REGION=sichuan\n/,
  )
  t.match(first.stderr.text, /^sse-kms: made the root key .*root\.key/)
  t.equal((await fetch(url)).status, 403)
  const list = await cli(['keys', 'list', '--data', data, '--json'])
  t.equal(list.code, 0, 'the key store, while the server runs')
  first.stop()
  t.equal((await first.result).code, 0)
  await t.rejects(fetch(url), 'nobody listens any more')

  const second = await serving(['--data', data, '--json', '--region', 'r9'])
  const info: unknown = JSON.parse(second.text)
  t.match(info, {
    address: /^http:\/\/127/,
    region: 'r9',
    profile: 'obs',
    data,
    pid: process.pid,
    demo: [{ users: [{ name: 'admin' }, { name: 'user' }] }],
  })
  t.equal(second.stderr.text, '')
  second.stop()
  await second.result

  const third = await serving(['--data', data])
  t.match(third.text, /credentials are in .*demo\.json/)
  third.stop()
  await third.result

  const path = join(data, 'config.json')
  writeFileSync(path, JSON.stringify({ tenants: [tenant], data, rootKey: { environment: 'SERVE_ROOT_KEY' } }))
  const wrong = await cli(['serve', '--config', path])
  t.match(wrong.stderr, /SERVE_ROOT_KEY has no root key/)
  t.equal(wrong.code, exitCodes.notAuthentic)
  writeFileSync(
    path,
    JSON.stringify({
      tenants: [tenant],
      data: join(data, 'own'),
      rootKey: { file: join(data, 'own.key'), create: true },
    }),
  )
  const own = await serving(['--config', path])
  t.match(own.text, /^[^\n]+\n$/, 'one line, and no demo')
  own.stop()
  await own.result
  const json = await serving(['--config', path, '--json'])
  t.notOk('demo' in Object(JSON.parse(json.text)))
  json.stop()
  await json.result
  t.match(
    (await cli(['serve', '--config', path, '--profile', 'x'])).stderr,
    /^sse-kms: command line: profile: expected "obs" or "s3"/,
  )
  t.equal((await cli(['serve', '--config', path, '--profile', 'x'])).code, exitCodes.usage)
})

t.test('serve: an end that comes early, or a reader that is gone', async t => {
  const data = join(t.testdir(), 'data')
  const calls: string[] = []
  const command = serveWith(async () => {
    calls.push('start')
    return {
      address: 'http://here',
      checkKeys: async () => [],
      reload: async () => undefined,
      broken: new Promise<SseError>(() => {}),
      close: async () => {
        calls.push('close')
      },
    }
  })
  const broken = new Collector()
  broken._write = (_chunk, _encoding, done) => done(new Error('EPIPE'))
  broken.on('error', () => undefined)
  const io = (stdout: Collector, signal: AbortSignal): Io => ({
    stdin: process.stdin,
    stdout,
    stderr: new Collector(),
    env: {},
    signal,
  })
  await command.run(['--data', data], io(new Collector(), AbortSignal.abort()))
  await t.rejects(command.run(['--data', data], io(broken, new AbortController().signal)), { message: 'EPIPE' })
  t.strictSame(calls, ['start', 'close', 'start', 'close'])
})

t.test('serve: a store that is broken ends it with an error', async t => {
  const calls: string[] = []
  const command = serveWith(async () => ({
    address: 'http://here',
    checkKeys: async () => [],
    reload: async () => undefined,
    broken: Promise.resolve(new SseError('StoreFailed')),
    close: async () => {
      calls.push('close')
    },
  }))
  const io: Io = {
    stdin: process.stdin,
    stdout: new Collector(),
    stderr: new Collector(),
    env: {},
    signal: new AbortController().signal,
  }
  const running = command.run(['--data', join(t.testdir(), 'data')], io)
  await t.rejects(running, { code: 'StoreFailed' })
  t.same(calls, ['close'])
})

t.test('serve as a process: SIGTERM ends it with status 0', async t => {
  const data = join(t.testdir(), 'data')
  const env = process.env['SSE_KMS_ROOT_KEY']
  process.env['SSE_KMS_ROOT_KEY'] = randomBytes(32).toString('hex')
  t.teardown(() => (env === undefined ? delete process.env['SSE_KMS_ROOT_KEY'] : undefined))
  const child = start(['serve', '--json', '--log', 'none', '--listen', '127.0.0.1:0', '--data', data])
  const end = ended(child)
  const [chunk]: unknown[] = await once(child.stdout ?? child, 'data')
  const { address } = Object(JSON.parse(String(chunk)))
  t.equal((await fetch(String(address))).status, 403)
  child.kill('SIGTERM')
  const { code, signal } = await end
  t.strictSame([code, signal], [0, null])
  t.notOk(existsSync(join(data, 'root.key')), 'the root key came from the environment')
})
