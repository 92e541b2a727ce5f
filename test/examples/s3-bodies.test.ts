/** What the guide to bodies in S3 shows, with our own gateway in place of the storage. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { openFileStore } from '../../lib/store.ts'
import { s3Bodies } from '../../lib/store/s3/bodies.ts'
import { ownUpstream } from '../support/s3-upstreams.ts'
import { record } from '../support/store.ts'

t.test('bodies in S3', async t => {
  const { bucket, config, client } = await ownUpstream(t)
  const directory = await mkdtemp(join(tmpdir(), 's3-example-'))
  t.teardown(() => rm(directory, { recursive: true }))
  process.chdir(directory)
  const { accessKeyId, secretAccessKey } = Object(config.credentials)
  Object.assign(process.env, {
    ...{ AWS_ENDPOINT_URL_S3: config.endpoint, AWS_REGION: config.region, BUCKET: bucket },
    ...{ AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
  })
  // #region s3-bodies
  const bodies = s3Bodies({
    bucket: process.env['BUCKET'] ?? 'my-bodies', // it is there already
    prefix: 'sse-kms',
    config: { region: process.env['AWS_REGION'] ?? 'eu-west-1', forcePathStyle: true }, // and an endpoint for other storage than Amazon's
    // checksum: 'md5' for storage that does not know the newer ones
  })
  const store = await openFileStore('./objects', { bodies }) // for createGateway
  // #endregion s3-bodies
  const b = await store.createBucket('b', { owner: 'o', region: 'r', created: 1 })
  const body = await store.createBody()
  await pipeline(Readable.from([Buffer.alloc(100_000)]), body.writable)
  await store.putObject(b, 'k', record({ size: 100_000 }), body)
  await store.close()
  const { ListObjectsV2Command } = await import('@aws-sdk/client-s3')
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }))
  t.match(Contents, [{ Key: new RegExp(`^sse-kms/${store.id}/[0-9a-f]{32}$`), Size: 100_000 }])
})
