/** Debian's rclone against the built gateway with SSE-KMS. Skips, in one line, where it is missing. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type ClientUser, clientCourse, type ObjectClient, partSize } from '../support/client-course.ts'
import { debian } from '../support/debian.ts'

const rclone = debian('/usr/bin/rclone', 'rclone')

/** Runs rclone as a user, with the remote `gw:`. */
const as = ({ server, directory, accessKeyId, secretAccessKey, keyArn }: ClientUser) => {
  const options = {
    type: 's3',
    provider: 'Other',
    endpoint: server.url,
    region: server.region,
    access_key_id: accessKeyId,
    secret_access_key: secretAccessKey,
    server_side_encryption: 'aws:kms',
    sse_kms_key_id: keyArn,
    upload_cutoff: `${partSize}B`,
    chunk_size: `${partSize}B`,
    copy_cutoff: `${partSize}B`,
    list_chunk: '2',
  }
  const env = Object.fromEntries([
    ['HOME', directory],
    ['RCLONE_CONFIG', ''],
    ...Object.entries(options).map(([name, value]) => [`RCLONE_CONFIG_GW_${name.toUpperCase()}`, value]),
  ])
  return (...args: readonly string[]) => rclone.run([...args, '--retries', '1', '--low-level-retries', '1'], env)
}

const clientOf = (user: ClientUser): ObjectClient => {
  const run = as(user)
  return {
    makeBucket: bucket => run('mkdir', `gw:${bucket}`),
    put: (file, bucket, key) => run('copyto', file, `gw:${bucket}/${key}`),
    get: (bucket, key, file) => run('copyto', '--ignore-times', `gw:${bucket}/${key}`, file),
    range: (bucket, key, first, last) =>
      run('cat', '--offset', String(first), '--count', String(last - first + 1), `gw:${bucket}/${key}`),
    copy: (bucket, from, to) => run('copyto', `gw:${bucket}/${from}`, `gw:${bucket}/${to}`),
    list: async bucket => {
      const listed: readonly { readonly Path: string; readonly Size: number }[] = JSON.parse(
        (await run('lsjson', '--recursive', '--files-only', `gw:${bucket}`)).toString(),
      )
      return listed.map(({ Path, Size }) => `${Size} ${Path}`)
    },
    remove: (bucket, key) => run('deletefile', `gw:${bucket}/${key}`),
    empty: bucket => run('delete', `gw:${bucket}`),
    removeBucket: bucket => run('rmdir', `gw:${bucket}`),
  }
}

t.test('rclone', { skip: rclone.missing }, t =>
  clientCourse(t, clientOf, async (t, { admin, bucket, cat, isUnderKms }) => {
    const run = as(admin)
    await t.test('sync, check, moveto, touch', async t => {
      const folder = join(admin.directory, 'folder')
      await run('sync', `gw:${bucket}`, folder)
      t.equal(Buffer.compare(readFileSync(join(folder, 'cat.jpg')), cat), 0)
      writeFileSync(join(folder, 'more'), cat)
      await run('sync', folder, `gw:${bucket}`)
      await isUnderKms(t, 'more', cat.length)
      await run('check', '--download', folder, `gw:${bucket}`)
      await run('moveto', `gw:${bucket}/more`, `gw:${bucket}/moved`)
      await isUnderKms(t, 'moved', cat.length)
      await run('touch', '--timestamp', '2020-01-02T03:04:05', `gw:${bucket}/moved`)
      t.match((await run('lsl', `gw:${bucket}/moved`)).toString(), /300000 2020-01-02 03:04:05/)
      await isUnderKms(t, 'moved', cat.length)
    })
  }),
)
