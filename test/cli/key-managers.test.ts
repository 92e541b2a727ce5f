/**
 * Key managers by configuration: `sse-kms serve` over each of them with Amazon's own client, several with rules, objects and files that move
 * from one to another, `keys`, `encrypt`, `decrypt` and `rewrap` with `--kms`, and what a start says.
 */
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  PutBucketEncryptionCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { configOf, noMoto, startMoto } from '../support/aws.ts'
import { cli } from '../support/cli.ts'
import { startHuawei } from '../support/huawei.ts'
import { kmipMissing, startKmip } from '../support/kmip.ts'
import { noSoftHsm, startSoftHsm } from '../support/pkcs11.ts'
import { type RunningServer, startServer } from '../support/server.ts'
import { startVault } from '../support/vault.ts'

/** A key manager that runs, as a configuration names it. */
interface Started {
  readonly entry: Readonly<Record<string, unknown>>
  /** A key of it, as `--key` takes it. */
  readonly keyId: string
  stop(): unknown
}

const secretFile = (folder: string, name: string, content: string): { readonly file: string } => {
  const file = join(folder, name)
  writeFileSync(file, `${content}\n`)
  return { file }
}

const vaultEntry = async (folder: string): Promise<Started & { readonly root: string; readonly address: string }> => {
  const { vault, kms, keyId } = await startVault()
  const { roleId, secretId, address, root } = vault
  const auth = { method: 'approle', roleId, secretId: secretFile(folder, 'secret-id', secretId) }
  const stop = async (): Promise<void> => {
    await kms.close?.()
    await vault.stop()
  }
  return { entry: { provider: 'vault', instance: 'vault-main', address, auth }, keyId, stop, root, address }
}

const dewEntry = async (folder: string): Promise<Started> => {
  const { dew, keyId, stop } = await startHuawei()
  const { accessKey, secretKey, address, project } = dew
  const secret = secretFile(folder, 'secret-key', secretKey)
  return {
    entry: { provider: 'huawei', instance: 'dew1', address, project, accessKey, secretKey: secret },
    keyId,
    stop,
  }
}

const managers: Readonly<
  Record<string, { readonly skip?: string | false; start(folder: string, t: Test): Promise<Started> }>
> = {
  SoftHSM: {
    skip: noSoftHsm,
    start: async folder => {
      const { options, keyId, stop } = await startSoftHsm(folder)
      const { instance, module, token } = options
      const pin = secretFile(folder, 'pin', '1234')
      return { entry: { provider: 'pkcs11', instance, module, token, pin }, keyId, stop }
    },
  },
  PyKMIP: {
    skip: kmipMissing,
    start: async () => {
      const { folder, port, keyId, stop } = await startKmip()
      const tls = { ca: join(folder, 'ca.pem'), cert: join(folder, 'gateway.pem'), key: join(folder, 'gateway.key') }
      return { entry: { provider: 'kmip', instance: 'kmip1', host: '127.0.0.1', port, tls }, keyId, stop }
    },
  },
  'moto (AWS KMS)': {
    skip: noMoto,
    start: async folder => {
      const { keyId, stop, config } = await startMoto()
      const { region, endpoint, credentials } = { ...config }
      if (credentials === undefined || typeof credentials === 'function') throw new TypeError('credentials')
      const secretAccessKey = secretFile(folder, 'aws-secret', credentials.secretAccessKey)
      const { accessKeyId } = credentials
      return { entry: { provider: 'aws', region, endpoint, accessKeyId, secretAccessKey }, keyId, stop }
    },
  },
  'stand-in for Vault': { start: vaultEntry },
  'stand-in for DEW': { start: dewEntry },
}

const configFile = (folder: string, content: object): string => {
  const file = join(folder, 'sse-kms.json')
  writeFileSync(file, JSON.stringify(content))
  return file
}

const clientOf = (t: Test, { url, region, admin }: RunningServer): S3Client => {
  const client = new S3Client({ endpoint: url, region, forcePathStyle: true, maxAttempts: 1, credentials: admin })
  t.teardown(() => client.destroy())
  return client
}

/** The lines of a start, once there are as many. */
const linesOf = async (server: RunningServer, count: number): Promise<string> => {
  for (let tries = 0; tries < 200; tries++) {
    if (
      server
        .errors()
        .split('\n')
        .filter(line => line.startsWith('key manager')).length >= count
    )
      break
    await wait(50)
  }
  return server.errors()
}

const kmsHeaders = { ServerSideEncryption: 'aws:kms' } as const
const text = (n: number): string => 'sse-kms '.repeat(n)

const multipart = async (s3: S3Client, named: { readonly Bucket: string; readonly Key: string }): Promise<Buffer> => {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...named, ...kmsHeaders }))
  const bodies = [randomBytes(5 * 1024 * 1024), randomBytes(1000)]
  const Parts = []
  for (const [i, Body] of bodies.entries()) {
    const { ETag } = await s3.send(new UploadPartCommand({ ...named, UploadId, PartNumber: i + 1, Body }))
    Parts.push({ PartNumber: i + 1, ETag })
  }
  await s3.send(new CompleteMultipartUploadCommand({ ...named, UploadId, MultipartUpload: { Parts } }))
  return Buffer.concat(bodies)
}

const bytesOf = async (
  s3: S3Client,
  named: { readonly Bucket: string; readonly Key: string; readonly Range?: string },
) => {
  const { Body, SSEKMSKeyId } = await s3.send(new GetObjectCommand(named))
  return { bytes: Buffer.from((await Body?.transformToByteArray()) ?? []), keyId: SSEKMSKeyId }
}

for (const [name, { skip = false, start }] of Object.entries(managers)) {
  t.test(`serve over ${name}`, { skip }, async t => {
    const folder = t.testdir()
    const { entry, keyId, stop } = await start(folder, t)
    t.teardown(() => stop())
    const config = configFile(folder, { kms: [entry] })
    const data = join(folder, 'data')
    let server = await startServer(data, ['--config', config])
    t.teardown(() => server.stop())
    const wholeLine = new RegExp(
      `^key manager ${String(entry['instance'] ?? 'aws')} \\([a-z0-9-]+\\): reachable, (\\d) of \\1 keys usable, 1 of 2 default keys there$`,
      'm',
    )
    t.match(await linesOf(server, 1), wholeLine, 'the default key of the service is there')

    let s3 = clientOf(t, server)
    const Bucket = 'photos'
    await s3.send(new CreateBucketCommand({ Bucket }))
    const put = await s3.send(new PutObjectCommand({ Bucket, Key: 'cat', Body: text(20_000), ...kmsHeaders }))
    t.match(put.SSEKMSKeyId, /^arn:aws:kms:sichuan:domainid\w+:key\/[0-9a-f-]{36}$/)
    await s3.send(new PutObjectCommand({ Bucket, Key: 's3', Body: text(1), ServerSideEncryption: 'AES256' }))
    const parts = await multipart(s3, { Bucket, Key: 'parts' })
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: 'photos/cat', ...kmsHeaders }))
    await server.stop()

    server = await startServer(data, ['--config', config])
    s3 = clientOf(t, server)
    t.match(await linesOf(server, 1), /: reachable, 2 of 2 keys usable, 2 of 2 default keys there$/m)
    for (const Key of ['cat', 'copy']) {
      const got = await bytesOf(s3, { Bucket, Key })
      t.equal(got.bytes.toString(), text(20_000), Key)
      t.equal(got.keyId, put.SSEKMSKeyId)
    }
    t.equal((await bytesOf(s3, { Bucket, Key: 'cat', Range: 'bytes=8-14' })).bytes.toString(), 'sse-kms')
    t.equal((await bytesOf(s3, { Bucket, Key: 's3' })).bytes.toString(), text(1))
    t.ok((await bytesOf(s3, { Bucket, Key: 'parts' })).bytes.equals(parts))
    t.notOk(server.errors().includes('1234') || /secret/.test(server.errors()), 'no secret is told')

    // The same file on the command line.
    const plain = join(folder, 'plain')
    writeFileSync(plain, text(3))
    const sealed = join(folder, 'sealed')
    const env = process.env
    const encrypted = await cli(['encrypt', '--kms', config, '--key', keyId, plain, '-o', sealed], { env })
    t.equal(encrypted.code, 0, encrypted.stderr)
    const decrypted = await cli(['decrypt', '--kms', config, sealed], { env })
    t.equal(decrypted.stdout.toString(), text(3), decrypted.stderr)
    const listed = await cli(['keys', 'list', '--kms', config, '--json'], { env })
    t.ok(JSON.stringify(JSON.parse(listed.stdout.toString())).includes(keyId), listed.stderr)
  })
}

t.test('several key managers, with rules for tenants and buckets; objects and files that move', async t => {
  const folder = t.testdir()
  const vault = await vaultEntry(folder)
  const dew = await dewEntry(folder)
  t.teardown(() => Promise.all([vault.stop(), dew.stop()]))
  const data = join(folder, 'data')
  // At first the embedded key store alone.
  let server = await startServer(data, ['--profile', 's3'])
  t.teardown(() => server.stop())
  let s3 = clientOf(t, server)
  await s3.send(new CreateBucketCommand({ Bucket: 'logs-1' }))
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  const old = await s3.send(new PutObjectCommand({ Bucket: 'photos', Key: 'cat', Body: text(9), ...kmsHeaders }))
  const parts = await multipart(s3, { Bucket: 'photos', Key: 'parts' })
  await server.stop()

  const domainId = 'domainiddomainiddomainiddoma0001'
  const kms = [
    { ...dew.entry, tenants: [domainId], buckets: ['logs-*'] },
    { ...vault.entry, tenants: [domainId], keys: [{ domainId, key: vault.keyId, alias: 'archive' }] },
    { provider: 'local' },
  ]
  const config = configFile(folder, { kms })
  server = await startServer(data, ['--profile', 's3', '--config', config])
  s3 = clientOf(t, server)
  t.match(await linesOf(server, 2), /^key manager vault-main \(vault-transit\): reachable, 1 of 1 keys usable, 0 of 1/m)

  const log = await s3.send(new PutObjectCommand({ Bucket: 'logs-1', Key: 'a', Body: 'a', ...kmsHeaders }))
  const photo = await s3.send(new PutObjectCommand({ Bucket: 'photos', Key: 'dog', Body: 'b', ...kmsHeaders }))
  t.equal(new Set([old.SSEKMSKeyId, log.SSEKMSKeyId, photo.SSEKMSKeyId]).size, 3, 'a default key in each')
  t.equal((await bytesOf(s3, { Bucket: 'photos', Key: 'cat' })).bytes.toString(), text(9), 'the old object opens')
  const only = join(folder, 'only')
  mkdirSync(only)
  const inVault = await cli(['keys', 'list', '--kms', configFile(only, { kms: [vault.entry] }), '--json'])
  t.ok(
    inVault.stdout.toString().includes(photo.SSEKMSKeyId?.split('/')[1] ?? 'none'),
    'keys list shows the id that clients see',
  )

  // An object and an upload's object move from the embedded key store to Vault: copies onto themselves, of which no byte is sealed anew.
  const toVault = { MetadataDirective: 'COPY', ...kmsHeaders } as const
  for (const Key of ['cat', 'parts']) {
    const moved = await s3.send(
      new CopyObjectCommand({
        Bucket: 'photos',
        Key,
        CopySource: `photos/${Key}`,
        SSEKMSKeyId: 'alias/archive',
        ...toVault,
      }),
    )
    t.not(moved.SSEKMSKeyId, old.SSEKMSKeyId)
  }
  // A bucket's own key.
  await s3.send(
    new PutBucketEncryptionCommand({
      Bucket: 'logs-1',
      ServerSideEncryptionConfiguration: {
        Rules: [
          { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: photo.SSEKMSKeyId ?? '' } },
        ],
      },
    }),
  )
  const byBucket = await s3.send(new PutObjectCommand({ Bucket: 'logs-1', Key: 'b', Body: 'c' }))
  t.equal(byBucket.SSEKMSKeyId, photo.SSEKMSKeyId)
  await server.stop()

  // The key of the embedded key store that those lay under is disabled: what moved opens, by Vault alone.
  const keys = ['keys', 'disable', String(old.SSEKMSKeyId), '--data', data]
  t.equal((await cli(keys)).code, 0)
  server = await startServer(data, ['--profile', 's3', '--config', config])
  s3 = clientOf(t, server)
  t.equal((await bytesOf(s3, { Bucket: 'photos', Key: 'cat' })).bytes.toString(), text(9))
  t.ok((await bytesOf(s3, { Bucket: 'photos', Key: 'parts' })).bytes.equals(parts))
  t.equal((await bytesOf(s3, { Bucket: 'logs-1', Key: 'a' })).bytes.toString(), 'a')

  // One key manager is away: what needs it is 503, and the others go on.
  await dew.stop()
  await server.stop()
  server = await startServer(data, ['--profile', 's3', '--config', config])
  s3 = clientOf(t, server)
  t.match(await linesOf(server, 2), /^key manager dew1 \(huawei-kms\): not reachable: /m)
  await t.rejects(bytesOf(s3, { Bucket: 'logs-1', Key: 'a' }), { name: 'ServiceUnavailable' })
  t.equal((await bytesOf(s3, { Bucket: 'logs-1', Key: 'b' })).bytes.toString(), 'c')
  await server.stop()

  // A key manager that the configuration lost.
  server = await startServer(data, [
    '--profile',
    's3',
    '--config',
    configFile(folder, { kms: [{ provider: 'local' }] }),
  ])
  for (let tries = 0; tries < 100 && !server.errors().includes('dew1'); tries++) await wait(50)
  t.match(server.errors(), /objects may lie under keys of the key manager (dew1|vault-main), which kms does not name/)
  s3 = clientOf(t, server)
  await t.rejects(bytesOf(s3, { Bucket: 'photos', Key: 'cat' }), 'its object does not open')
})

t.test('a file moves from a key store to Vault, and from there to a key service', async t => {
  const folder = t.testdir()
  const vault = await vaultEntry(folder)
  const dew = await dewEntry(folder)
  t.teardown(() => Promise.all([vault.stop(), dew.stop()]))
  const keyring = join(folder, 'keys')
  t.equal((await cli(['keys', 'create', '--keyring', keyring])).code, 0)
  const [plain, sealed] = [join(folder, 'plain'), join(folder, 'sealed')]
  writeFileSync(plain, text(50_000))
  t.equal((await cli(['encrypt', '--keyring', keyring, plain, '-o', sealed])).code, 0)
  const before = readFileSync(sealed)
  const env = { VAULT_ADDR: vault.address, VAULT_TOKEN: vault.root }
  const toVault = ['rewrap', sealed, '--keyring', keyring, '--kms', 'vault', '--to', 'photos']
  const moved = await cli(toVault, { env })
  t.equal(moved.code, 0, moved.stderr)
  t.ok(readFileSync(sealed).subarray(-100_000).equals(before.subarray(-100_000)), 'its data stays as it is')
  t.equal((await cli(['decrypt', '--kms', 'vault', sealed], { env })).stdout.toString(), text(50_000))
  t.match((await cli(['decrypt', '--keyring', keyring, sealed])).code, 3)
  mkdirSync(join(folder, 'both'))
  const both = configFile(join(folder, 'both'), [{ ...vault.entry, instance: 'vault' }, dew.entry])
  const toDew = await cli(['rewrap', sealed, '--kms', both, '--to', dew.keyId])
  t.equal(toDew.code, 0, toDew.stderr)
  const only = configFile(folder, dew.entry)
  t.equal((await cli(['decrypt', '--kms', only, sealed])).stdout.toString(), text(50_000))

  // A key manager that is away leaves the file as it is.
  const then = readFileSync(sealed)
  await vault.stop()
  const failed = await cli(['rewrap', sealed, '--kms', both, '--from', dew.keyId, '--to', 'vault:transit/photos'])
  t.match(failed, { code: 1, stderr: /The KMS cannot be reached/ })
  t.ok(readFileSync(sealed).equals(then))
})

t.test('keys --kms', async t => {
  const folder = t.testdir()
  const { entry, stop } = await vaultEntry(folder)
  t.teardown(() => stop())
  const file = configFile(folder, entry)
  const keys = (...words: readonly string[]) => cli(['keys', ...words, '--kms', file])
  const made = await keys('create', '--alias', 'new')
  t.equal(made.stdout.toString(), 'vault-main:transit/new\n')
  t.match((await keys('create')).stderr, /needs --alias NAME/)
  t.match((await keys('list')).stdout.toString(), /^KEY .*STATE .*NAME .*ID FOR CLIENTS\n.*vault-main:transit\/films /s)
  t.equal((await keys('rotate', 'new')).stdout.toString(), 'vault-main:transit/new is enabled, version 2.\n')
  t.match(await keys('disable', 'new'), { code: 1, stderr: /cannot disable keys\. Use its own tools/ })
  t.match(await keys('rotate', 'none'), { code: 1, stderr: /does not exist/ })
  t.match(await cli(['keys', 'list', '--kms', file, '--data', folder]), { code: 2 })
})

t.test('a key manager of your own', async t => {
  const library = fileURLToPath(new URL('../../dist/testing.js', import.meta.url))
  const folder = t.testdir({
    'own.mjs': `import { memoryKms } from ${JSON.stringify(library)}\nexport const open = ({ instance }) => memoryKms({ instance })\n`,
    'other.mjs': 'export const open = () => ({})\n',
  })
  const module = join(folder, 'own.mjs')
  const entry = { provider: 'module', module, instance: 'mine' }
  const server = await startServer(join(folder, 'data'), ['--config', configFile(folder, { kms: [entry] })])
  t.teardown(() => server.stop())
  const s3 = clientOf(t, server)
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  await s3.send(new PutObjectCommand({ Bucket: 'photos', Key: 'a', Body: 'a', ...kmsHeaders }))
  t.equal((await bytesOf(s3, { Bucket: 'photos', Key: 'a' })).bytes.toString(), 'a')
  t.match(await linesOf(server, 1), /^key manager mine /m)

  const refused = async (wrong: object, problem: RegExp): Promise<void> => {
    const config = configFile(folder, { kms: [{ ...entry, ...wrong }] })
    t.match(await cli(['serve', '--listen', '127.0.0.1:0', '--data', join(folder, 'd'), '--config', config]), {
      code: 2,
      stderr: problem,
    })
  }
  await refused({ module: join(folder, 'none.mjs') }, /kms\[0\]\.module: .* cannot be loaded/)
  await refused({ module: join(folder, 'other.mjs') }, /opens no KeyManager/)
  await refused({ module: 'node:path' }, /does not export a function open/)
})

const moto = { provider: 'aws', ...{ region: configOf(1).region, endpoint: configOf(1).endpoint } }

t.test('what a configuration may not say', async t => {
  const folder = t.testdir()
  const refused = async (kms: unknown, problem: string | RegExp): Promise<void> => {
    const config = configFile(folder, { kms })
    const { code, stderr } = await cli(['serve', '--data', join(folder, 'data'), '--config', config])
    t.match({ code, stderr }, { code: 2, stderr: problem })
  }
  await refused({}, 'kms: expected a list of key managers')
  await refused([], 'kms: expected at least one key manager')
  await refused(
    [{ provider: 'gcp' }],
    'kms[0].provider: expected "provider": "local", "aws", "huawei", "vault", "pkcs11", "kmip" or "module"',
  )
  await refused([{ provider: 'vault' }], /kms\[0\]\.address: expected a URL .*kms\[0\]\.auth: expected "method"/)
  await refused([moto, moto], 'kms[1].instance: aws is used already, in kms[0]')
  await refused([{ ...moto, accessKeyId: 'a' }], 'kms[0]: accessKeyId and secretAccessKey are given both or not at all')
  await refused(
    [{ ...moto, accessKeyId: 'a', secretAccessKey: { environment: 'NOT_SET' } }],
    'kms[0].secretAccessKey: the environment variable NOT_SET is not set',
  )
  await refused(
    [{ ...moto, accessKeyId: 'a', secretAccessKey: { file: join(folder, 'none') } }],
    'kms[0].secretAccessKey: the file cannot be read',
  )
  await refused([{ ...moto, tenants: ['nobody'] }], 'kms[0]: there is no tenant nobody')
  await refused([{ ...moto, buckets: ['a'] }], 'kms: no key manager is for')
  await refused([{ ...moto, instance: 'A B' }], 'kms[0].instance: expected 1 to 32 of a-z, 0-9 and -')
  await refused([{ ...moto, bounds: { tries: 0 } }], 'kms[0].bounds.tries: expected a whole number from 1')
  await refused(
    [{ provider: 'kmip', host: 'h', tls: { ca: join(folder, 'none') } }],
    'kms[0].tls.ca: the file cannot be read',
  )
  await refused(
    [{ provider: 'huawei', address: 'https://h', project: 'p' }],
    'kms[0]: expected accessKey and secretKey, or token',
  )
  const gone = {
    provider: 'vault',
    address: 'http://127.0.0.1:1',
    auth: { method: 'token', token: 'x' },
    bounds: { tries: 1 },
  }
  const away = await cli(['serve', '--data', join(folder, 'data'), '--config', configFile(folder, { kms: [gone] })])
  t.match(away, { code: 1, stderr: /key manager|KMS/ }, 'without the key of the index there is no start')
})
