/** `sse-kms backup` of a server under load, and `sse-kms restore` as docs/operations.md says it: what was acknowledged before the backup began is read. */
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { cli, type CliResult } from '../support/cli.ts'
import { main, type RunningServer, startServer } from '../support/server.ts'

const ann = { name: 'ann', accessKeyId: 'AKANN', secretAccessKey: 'secret-of-ann', roles: ['tenant_admin'] }
const Bucket = 'photos'

const clientOf = (t: Test, { url, region }: RunningServer): S3Client => {
  const client = new S3Client({ endpoint: url, region, forcePathStyle: true, maxAttempts: 1, credentials: ann })
  t.teardown(() => client.destroy())
  return client
}

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** The command lines of a section of docs/operations.md that begin so, their words. */
const documented = (section: string): readonly (readonly string[])[] => {
  const text = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')
  const [, after = ''] = text.split(`\n${section}\n`)
  const [body = ''] = after.split(/\n#+ /)
  return [...body.matchAll(/^sse-kms (.*?)(?: +#.*)?$/gm)].map(([, line = '']) => line.trim().split(/ +/))
}

t.test(
  'a backup under load, the next ones, some of them killed, and a restore by the commands of the documentation',
  async t => {
    const folder = t.testdir()
    const at = (name: string): string => join(folder, name)
    const [data, config, backup] = [at('data'), at('sse-kms.json'), at('backup')]
    const rootKey = at('root.key')
    writeFileSync(rootKey, randomBytes(32), { mode: 0o600 })
    const tenants = [{ domainId: 'domain1', projectId: 'project1', users: [ann] }]
    writeFileSync(config, JSON.stringify({ profile: 's3', data, rootKey: { file: rootKey }, tenants }))
    const places: Readonly<Record<string, string>> = {
      './sse-kms.json': config,
      '/backup/sse-kms': backup,
      './root.key': rootKey,
    }
    const run = (words: readonly string[]): Promise<CliResult> => cli(words.map(word => places[word] ?? word))
    const lines = documented('## Backup and restore')
    const line = (name: string): readonly string[] => {
      const found = lines.find(([first]) => first === name)
      if (found === undefined) throw new Error(`docs/operations.md has no command sse-kms ${name}`)
      return found
    }

    let server = await startServer(data, ['--config', config])
    t.teardown(() => server.stop())
    let s3 = clientOf(t, server)
    const known = new Map<string, string>()
    const put = async (Key: string, size: number, keep = true): Promise<void> => {
      const Body = randomBytes(size)
      await s3.send(new PutObjectCommand({ Bucket, Key, Body, ServerSideEncryption: 'aws:kms' }))
      if (keep) known.set(Key, digest(Body))
    }
    await s3.send(new CreateBucketCommand({ Bucket }))
    for (let i = 0; i < 12; i++) await put(`kept-${i}`, i % 3 === 0 ? 1000 : 100_000 + i)
    const parts = [randomBytes(5 * 1024 * 1024), randomBytes(70_000)]
    const { UploadId } = await s3.send(
      new CreateMultipartUploadCommand({ Bucket, Key: 'parts', ServerSideEncryption: 'aws:kms' }),
    )
    const Parts = []
    for (const [i, Body] of parts.entries()) {
      const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key: 'parts', UploadId, PartNumber: i + 1, Body }))
      Parts.push({ ETag, PartNumber: i + 1 })
    }

    const stop = new AbortController()
    const load = async (n: number): Promise<void> => {
      for (let i = 0; !stop.signal.aborted; i++) {
        const Key = `load-${n}-${i % 4}`
        if (i % 3 === 2) await s3.send(new DeleteObjectCommand({ Bucket, Key }))
        else await put(Key, 90_000, false)
      }
    }
    const loads = [load(1)]
    const backups = async (...more: string[]): Promise<Record<string, number>> => {
      const { code, stdout, stderr } = await run([...line('backup'), '--json', ...more])
      t.equal(code, 0, stderr)
      return JSON.parse(stdout.toString())
    }
    try {
      const first = await backups()
      t.ok((first['added'] ?? 0) >= 10)
      await put('later', 100_000)
      const second = await backups()
      t.ok((second['added'] ?? 0) < (first['added'] ?? 0), 'only what is new')
      await put('latest', 100_000)
      // Killed at any moment: the one before stays, and the next one goes on.
      const names = (): readonly string[] => readdirSync(join(backup, 'snapshots'))
      for (const after of [400, 800]) {
        const words = ['backup', backup, '--config', config]
        const child = spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, main, ...words], { stdio: 'ignore' })
        const exited = once(child, 'exit')
        await wait(after)
        child.kill('SIGKILL')
        await exited
        const { snapshot } = JSON.parse(readFileSync(join(backup, 'backup.json'), 'utf8'))
        t.ok(names().includes(snapshot), 'a snapshot counts, and is there')
        t.ok(existsSync(join(backup, 'snapshots', snapshot, 'index', 'data.mdb')))
      }
      t.equal((await cli(['restore', backup, '--data', at('trial'), '--root-key-file', rootKey])).code, 0)
      t.equal((await cli(['check', '--config', config, '--data', at('trial'), '--deep'])).code, 0, 'after the kills')
      rmSync(at('trial'), { recursive: true })
    } finally {
      stop.abort()
      await Promise.all(loads)
    }
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'kept-11' }))
    known.delete('kept-11')
    const last = await backups()
    t.ok((last['dropped'] ?? 0) > 0)
    t.equal(readdirSync(join(backup, 'snapshots')).length, 1)
    const held = readdirSync(join(backup, 'bodies'), { recursive: true, encoding: 'utf8' })
    t.equal(held.filter(name => name.length > 30).length, last['files'])
    const all = readdirSync(backup, { recursive: true, encoding: 'utf8' })
    t.strictSame(
      all.filter(name => /root|demo|sse-kms\.json/.test(name)),
      [],
      'no root key, no secrets',
    )
    t.ok(all.some(name => name.endsWith('keyring.json')))

    await server.stop('SIGKILL')
    renameSync(data, at('lost'))
    const wrong = at('wrong.key')
    writeFileSync(wrong, randomBytes(32), { mode: 0o600 })
    const refused = await run([...line('restore').filter(word => !/root/.test(word)), '--root-key-file', wrong])
    t.match(refused, {
      code: 3,
      stderr: /does not open with this root key\. Give the root key that it had when the backup was made/,
    })
    t.notOk(existsSync(join(data, 'objects')), 'nothing was restored')
    const done = await run(line('restore'))
    t.equal(done.code, 0, done.stderr)
    t.match(done.stdout.toString(), /^restored \d+ body files of .*, the index and the key store as of 20/)
    const checked = await run(line('check'))
    t.equal(checked.code, 0, `${checked.stdout.toString()} ${checked.stderr}`)
    t.equal(statSync(join(data, 'objects', 'index')).mode & 0o077, 0)
    t.match(await run(line('restore')), { code: 1, stderr: /a restore overwrites nothing/ })

    server = await startServer(data, ['--config', config])
    s3 = clientOf(t, server)
    const read = async (Key: string): Promise<string> => {
      const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }))
      return digest((await Body?.transformToByteArray()) ?? new Uint8Array())
    }
    for (const [Key, sum] of known) t.equal(await read(Key), sum, Key)
    await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key: 'parts', UploadId, MultipartUpload: { Parts } }))
    t.equal(await read('parts'), digest(Buffer.concat(parts)), 'an upload goes on where it was')
    await put('new', 100_000)
    const other = await cli(['backup', backup, '--config', config, '--copy'])
    t.equal(other.code, 0, 'and the next backup of what was restored goes on')
  },
)

t.test('what is no backup, and what is not backed up', async t => {
  const folder = t.testdir()
  const at = (name: string): string => join(folder, name)
  t.match(await cli(['backup']), { code: 2, stderr: /no folder was given/ })
  t.match(await cli(['restore', folder, '--data', at('d')]), { code: 1, stderr: /There is no backup in/ })
  writeFileSync(at('backup.json'), '{"format":"sse-kms-backup/9","snapshot":"x"}')
  t.match(await cli(['restore', folder, '--data', at('d')]), {
    code: 1,
    stderr: /is not one of a backup that this program/,
  })
  const config = (store: object): string => {
    writeFileSync(at('config.json'), JSON.stringify({ data: at('d'), store }))
    return at('config.json')
  }
  const s3 = { s3: { bucket: 'b', region: 'r' } }
  const ofS3 = await cli(['backup', at('b'), '--config', config({ bodies: s3 })])
  t.match(ofS3, { code: 2, stderr: /bodies are in S3-compatible storage.*versioning or replication.*graceSeconds/ })
  const postgres = { postgres: { url: 'postgres://u@h/d' } }
  const ofPostgres = await cli(['restore', at('b'), '--config', config({ index: postgres })])
  t.match(ofPostgres, { code: 2, stderr: /The index is in PostgreSQL.*pg_dump or a base backup/ })
  t.match(await cli(['backup', at('b'), '--data', at('d')]), { code: 1, stderr: /There is no store in/ })

  const server = await startServer(at('data'))
  await server.stop()
  t.equal((await cli(['backup', at('b'), '--data', at('data')])).code, 0)
  const second = await startServer(at('second'))
  await second.stop()
  t.match(await cli(['backup', at('b'), '--data', at('second')]), {
    code: 1,
    stderr: /is one of the store [0-9a-f]{32}, not of/,
  })
  const { nameProcess } = await import('../../lib/store/file/liveness.ts')
  writeFileSync(at('b/lock'), JSON.stringify(nameProcess()))
  t.match(await cli(['backup', at('b'), '--data', at('data')]), {
    code: 1,
    stderr: /Another process makes or restores the backup/,
  })
  rmSync(at('b/lock'))
  writeFileSync(join(at('data'), 'keys', 'root.key'), 'a secret')
  t.equal((await cli(['backup', at('b'), '--data', at('data')])).code, 0)
  const all = readdirSync(at('b'), { recursive: true, encoding: 'utf8' })
  t.strictSame(
    all.filter(name => name.includes('root')),
    [],
    'only files of a key store are taken from its folder',
  )
})
