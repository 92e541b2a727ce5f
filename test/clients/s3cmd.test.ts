/** Debian's s3cmd against the built gateway with SSE-KMS, with both signatures that it has. Skips, in one line, where it is missing. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  type ClientUser,
  clientCourse,
  type CourseRest,
  type ObjectClient,
  partSize,
} from '../support/client-course.ts'
import { debian } from '../support/debian.ts'

const s3cmd = debian('/usr/bin/s3cmd', 's3cmd')

/** The key id makes it aws:kms: without one s3cmd asks for AES256. */
const kms = ({ keyArn }: ClientUser) => ['--server-side-encryption', `--server-side-encryption-kms-id=${keyArn}`]

/** Runs s3cmd as a user. */
const as = (user: ClientUser, ...always: readonly string[]) => {
  const { server, directory, accessKeyId, secretAccessKey } = user
  const { host } = new URL(server.url)
  const config = join(directory, 's3cfg')
  writeFileSync(
    config,
    [
      '[default]',
      `access_key = ${accessKeyId}`,
      `secret_key = ${secretAccessKey}`,
      `host_base = ${host}`,
      `host_bucket = ${host}`,
      `bucket_location = ${server.region}`,
      'use_https = False',
      'progress_meter = False',
      `multipart_chunk_size_mb = ${partSize / 1_048_576}`,
    ].join('\n'),
  )
  const env = { HOME: directory, LANG: 'C.UTF-8' }
  return (...args: readonly string[]) => s3cmd.run(['--config', config, ...always, ...args], env)
}

const clientOf =
  (...always: readonly string[]) =>
  (user: ClientUser): ObjectClient => {
    const run = as(user, ...always)
    return {
      makeBucket: bucket => run('mb', `s3://${bucket}`),
      put: (file, bucket, key) => run('put', ...kms(user), file, `s3://${bucket}/${key}`),
      get: (bucket, key, file) => run('get', '--force', `s3://${bucket}/${key}`, file),
      copy: (bucket, from, to) => run('cp', ...kms(user), `s3://${bucket}/${from}`, `s3://${bucket}/${to}`),
      list: async bucket => {
        const lines = (await run('ls', '--recursive', `s3://${bucket}`)).toString().split('\n').filter(Boolean)
        return lines.map(line => line.replace(/^\S+ \S+ +(\d+) +s3:\/\/[^/]+\/(.*)$/, '$1 $2'))
      },
      remove: (bucket, key) => run('del', `s3://${bucket}/${key}`),
      empty: bucket => run('del', '--recursive', '--force', `s3://${bucket}/`),
      removeBucket: bucket => run('rb', `s3://${bucket}`),
    }
  }

const restWith =
  (...always: readonly string[]) =>
  async (t: Test, { admin, bucket, cat, isUnderKms }: CourseRest): Promise<void> => {
    const run = as(admin, ...always)
    const object = `s3://${bucket}/cat.jpg`
    await t.test('a download that broke off goes on by a range', async t => {
      const file = join(admin.directory, 'partial')
      writeFileSync(file, cat.subarray(0, 100_000))
      await run('get', '--continue', object, file)
      t.equal(Buffer.compare(readFileSync(file), cat), 0)
    })
    await t.test('info, modify, mv, sync, du', async t => {
      t.match((await run('info', object)).toString(), /SSE: +aws:kms/)
      await run('modify', '--add-header=x-amz-meta-seen:yes', ...kms(admin), object)
      t.match((await run('info', object)).toString(), /x-amz-meta-seen: yes/)
      await isUnderKms(t, 'cat.jpg', cat.length)
      await run('mv', ...kms(admin), object, `s3://${bucket}/moved`)
      await isUnderKms(t, 'moved', cat.length)
      await run('mv', ...kms(admin), `s3://${bucket}/moved`, object)
      const folder = join(admin.directory, 'partial')
      t.match((await run('sync', ...kms(admin), folder, `s3://${bucket}/sync/`)).toString(), /upload:/)
      await isUnderKms(t, 'sync/partial', cat.length)
      t.notMatch((await run('sync', ...kms(admin), folder, `s3://${bucket}/sync/`)).toString(), /upload:/)
      t.match((await run('du', `s3://${bucket}/sync/`)).toString(), new RegExp(`^ *${cat.length} +1 objects`))
    })
  }

t.test('s3cmd', { skip: s3cmd.missing }, t => clientCourse(t, clientOf(), restWith()))

t.test('s3cmd with signature version 2', { skip: s3cmd.missing }, t =>
  clientCourse(t, clientOf('--signature-v2'), restWith('--signature-v2')),
)
