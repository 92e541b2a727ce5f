/** Debian's `aws` command against the built gateway: put, get, range, multipart and copy with SSE-KMS. Skips, in one line, where it is missing. */
import { execFile, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { startServer } from '../support/server.ts'

const run = promisify(execFile)
const command = existsSync('/usr/bin/aws') ? '/usr/bin/aws' : 'aws' // Debian's, not one that a version manager puts in front
const missing = spawnSync(command, ['--version']).status !== 0 && 'the command aws is not installed (Debian: awscli)'

t.test('aws', { skip: missing }, async t => {
  const directory = t.testdir()
  const server = await startServer(join(directory, 'data'))
  t.teardown(() => server.stop())
  const as = ({
    accessKeyId,
    secretAccessKey,
  }: {
    readonly accessKeyId: string
    readonly secretAccessKey: string
  }) => ({
    PATH: process.env['PATH'],
    HOME: directory,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_DEFAULT_REGION: server.region,
    AWS_EC2_METADATA_DISABLED: 'true',
  })
  const aws = (args: readonly string[], user = server.admin) =>
    run(command, ['--endpoint-url', server.url, ...args], { env: as(user), maxBuffer: 64 * 1_048_576 })
  const json = async (...args: readonly string[]): Promise<unknown> =>
    JSON.parse((await aws(['s3api', ...args])).stdout)
  const file = join(directory, 'cat.jpg')
  const back = join(directory, 'back.jpg')
  const kms = { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: /^arn:aws:kms:sichuan:.*:key\// }

  await t.test('put, head, get, range, list', async t => {
    const body = randomBytes(300_000)
    writeFileSync(file, body)
    await aws(['s3', 'mb', 's3://photos'])
    await aws(['s3', 'cp', file, 's3://photos/cat.jpg', '--sse', 'aws:kms'])
    t.match(await json('head-object', '--bucket', 'photos', '--key', 'cat.jpg'), { ...kms, ContentLength: body.length })
    await aws(['s3', 'cp', 's3://photos/cat.jpg', back])
    t.equal(Buffer.compare(readFileSync(back), body), 0)
    const range = ['get-object', '--bucket', 'photos', '--key', 'cat.jpg', '--range', 'bytes=65530-65600', back]
    t.match(await json(...range), { ...kms, ContentRange: 'bytes 65530-65600/300000' })
    t.equal(Buffer.compare(readFileSync(back), body.subarray(65_530, 65_601)), 0)
    t.match((await aws(['s3', 'ls', 's3://photos/'])).stdout, /300000 cat\.jpg/)
  })

  await t.test('multipart', async t => {
    const body = randomBytes(20 * 1_048_576 + 5)
    writeFileSync(file, body)
    await aws(['s3', 'cp', file, 's3://photos/large', '--sse', 'aws:kms'])
    t.match(await json('head-object', '--bucket', 'photos', '--key', 'large'), {
      ...kms,
      ContentLength: body.length,
      ETag: /^"[0-9a-f]{32}-3"$/,
    })
    await aws(['s3', 'cp', 's3://photos/large', back])
    t.equal(Buffer.compare(readFileSync(back), body), 0)
  })

  await t.test('copy, and copy onto itself under the default key', async t => {
    await aws(['s3', 'cp', 's3://photos/large', 's3://photos/copy', '--sse', 'aws:kms'])
    await aws(['s3', 'cp', 's3://photos/copy', back])
    t.equal(Buffer.compare(readFileSync(back), readFileSync(file)), 0)
    t.match(await json('head-object', '--bucket', 'photos', '--key', 'copy'), kms)
    await aws(['s3', 'cp', 's3://photos/cat.jpg', 's3://photos/plain'])
    const plain = await json('head-object', '--bucket', 'photos', '--key', 'plain')
    t.match(plain, { ContentLength: 300_000 })
    t.notMatch(plain, { ServerSideEncryption: String }, 'without a header the copy is not encrypted')
  })

  await t.test('an ordinary user is refused SSE-KMS, and told why', async t => {
    const refused = async (attempt: Promise<unknown>, stderr: RegExp) =>
      t.match(await attempt.catch((error: unknown) => error), { stderr })
    await refused(
      aws(['s3', 'cp', file, 's3://photos/mine', '--sse', 'aws:kms'], server.user),
      /AccessDenied.*tenant_admin/,
    )
    await refused(aws(['s3api', 'get-object', '--bucket', 'photos', '--key', 'nope', back]), /NoSuchKey/)
    await aws(['s3', 'rm', 's3://photos/', '--recursive'])
    await aws(['s3', 'rb', 's3://photos'])
  })
})
