/** Debian's `aws` command against the built gateway with SSE-KMS. Skips, in one line, where it is missing. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type ClientUser, clientCourse, type ObjectClient, partSize } from '../support/client-course.ts'
import { debian } from '../support/debian.ts'

const command = debian('/usr/bin/aws', 'awscli')

/** Runs aws as a user. */
const as = ({ server, directory, accessKeyId, secretAccessKey }: ClientUser) => {
  mkdirSync(join(directory, '.aws'), { recursive: true })
  writeFileSync(
    join(directory, '.aws/config'),
    `[default]\nmax_attempts = 1\ns3 =\n  multipart_threshold = ${partSize + 1}\n  multipart_chunksize = ${partSize}\n`,
  )
  const env = {
    HOME: directory,
    LANG: 'C.UTF-8',
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_DEFAULT_REGION: server.region,
    AWS_EC2_METADATA_DISABLED: 'true',
  }
  return (...args: readonly string[]) => command.run(['--endpoint-url', server.url, ...args], env)
}

const jsonOf = (output: Buffer): unknown => JSON.parse(output.toString())

const clientOf = (user: ClientUser): ObjectClient => {
  const aws = as(user)
  const kms = ['--sse', 'aws:kms', '--sse-kms-key-id', user.keyArn]
  return {
    makeBucket: bucket => aws('s3', 'mb', `s3://${bucket}`),
    put: (file, bucket, key) => aws('s3', 'cp', file, `s3://${bucket}/${key}`, ...kms),
    get: (bucket, key, file) => aws('s3', 'cp', `s3://${bucket}/${key}`, file),
    range: async (bucket, key, first, last) => {
      const file = join(user.directory, 'range')
      const range = ['--range', `bytes=${first}-${last}`]
      await aws('s3api', 'get-object', '--bucket', bucket, '--key', key, ...range, file)
      return readFileSync(file)
    },
    copy: (bucket, from, to) => aws('s3', 'cp', `s3://${bucket}/${from}`, `s3://${bucket}/${to}`, ...kms),
    list: async bucket => {
      const args = ['--bucket', bucket, '--page-size', '2', '--query', 'Contents[].[Size,Key]']
      const listed = jsonOf(await aws('s3api', 'list-objects-v2', ...args))
      return Array.isArray(listed) ? listed.map(([size, key]) => `${size} ${key}`) : []
    },
    remove: (bucket, key) => aws('s3', 'rm', `s3://${bucket}/${key}`),
    empty: bucket => aws('s3', 'rm', `s3://${bucket}/`, '--recursive'),
    removeBucket: bucket => aws('s3', 'rb', `s3://${bucket}`),
  }
}

t.test('aws', { skip: command.missing }, t =>
  clientCourse(t, clientOf, async (t, { admin, bucket, cat, isUnderKms }) => {
    const aws = as(admin)
    await t.test('the default key; a copy without a header; multi-delete; what refusals say', async t => {
      const file = join(admin.directory, 'file')
      writeFileSync(file, cat)
      await aws('s3', 'cp', file, `s3://${bucket}/default/key`, '--sse', 'aws:kms')
      await isUnderKms(t, 'default/key', cat.length)
      await aws('s3', 'cp', `s3://${bucket}/default/key`, `s3://${bucket}/default/plain`)
      const plain = jsonOf(await aws('s3api', 'head-object', '--bucket', bucket, '--key', 'default/plain'))
      t.match(plain, { ContentLength: cat.length })
      t.notMatch(plain, { ServerSideEncryption: String }, 'without a header the copy is not encrypted')
      const objects = JSON.stringify({ Objects: [{ Key: 'default/key' }, { Key: 'default/plain' }] })
      const deleted = await aws('s3api', 'delete-objects', '--bucket', bucket, '--delete', objects)
      t.match(jsonOf(deleted), { Deleted: [{ Key: 'default/key' }, { Key: 'default/plain' }] })
      await t.rejects(aws('s3api', 'get-object', '--bucket', bucket, '--key', 'nope', file), { message: /NoSuchKey/ })
    })
    await t.test('bucket encryption', async t => {
      const rule = { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' }, BucketKeyEnabled: true }
      const configuration = JSON.stringify({ Rules: [rule] })
      const put = ['put-bucket-encryption', '--bucket', bucket, '--server-side-encryption-configuration']
      await aws('s3api', ...put, configuration)
      t.match(jsonOf(await aws('s3api', 'get-bucket-encryption', '--bucket', bucket)), {
        ServerSideEncryptionConfiguration: { Rules: [rule] },
      })
      const file = join(admin.directory, 'file')
      writeFileSync(file, cat)
      await aws('s3', 'cp', file, `s3://${bucket}/by default`)
      await isUnderKms(t, 'by default', cat.length)
      await aws('s3api', 'delete-bucket-encryption', '--bucket', bucket)
    })
  }),
)
