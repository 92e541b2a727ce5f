/** The gateway over the store in PostgreSQL, with bodies as files, driven by Amazon's own client. */
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { join } from 'node:path'
import t from 'tap'
import { openBodyFiles } from '../../lib/store/file/disk.ts'
import { openPostgresStore } from '../../lib/store/postgres/store.ts'
import { startGateway } from '../support/gateway.ts'
import { postgresMissing, startPostgres } from '../support/postgres.ts'
import { filesBecome, filesIn, pattern } from '../support/store.ts'

t.test('put, get, range, multipart, copy, list and delete', { skip: postgresMissing }, async t => {
  const server = await startPostgres()
  t.teardown(() => server.close())
  const connection = await server.create()
  const gateway = await startGateway(t, {
    openRows: directory =>
      openPostgresStore({
        connection,
        bodies: () => openBodyFiles(join(directory, 'bodies')),
        sweepEvery: 0,
        grace: 0,
      }),
  })
  const s3 = gateway.client()
  const kms = { ServerSideEncryption: 'aws:kms' } as const
  const Bucket = 'photos'
  await s3.send(new CreateBucketCommand({ Bucket }))
  const read = async (Key: string, Range?: string): Promise<Buffer> => {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key, Range }))
    return Buffer.from((await Body?.transformToByteArray()) ?? [])
  }

  const small = pattern(1000, 1)
  const large = pattern(3_000_000, 2)
  for (const [Key, Body] of [
    ['a/small', small],
    ['a/large', large],
    ['b', small],
  ] as const) {
    await s3.send(new PutObjectCommand({ Bucket, Key, Body, ContentType: 'image/png', Metadata: { a: 'b' }, ...kms }))
    t.ok((await read(Key)).equals(Body), Key)
  }
  t.ok((await read('a/large', 'bytes=100000-2000000')).equals(large.subarray(100_000, 2_000_001)))
  t.ok((await read('a/small', 'bytes=-10')).equals(small.subarray(-10)))
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'a/large' }))
  t.match(head, { ContentLength: 3_000_000, ContentType: 'image/png', ServerSideEncryption: 'aws:kms' })

  const Key = 'c/parts'
  const parts = [pattern(5_242_880, 3), pattern(5_242_880, 4), pattern(10, 5)]
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ...kms }))
  const Parts = await Promise.all(
    parts.map(async (Body, i) => {
      const PartNumber = i + 1
      const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }))
      return { PartNumber, ETag }
    }),
  )
  const complete = (): Promise<{ readonly ETag?: string | undefined }> =>
    s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
  const { ETag } = await complete()
  t.equal((await complete()).ETag, ETag, 'a Complete that is sent again')
  const whole = Buffer.concat(parts)
  t.ok((await read(Key)).equals(whole))
  t.ok((await read(Key, 'bytes=5242870-5242890')).equals(whole.subarray(5_242_870, 5_242_891)))

  const files = filesIn(gateway.directory).length
  await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/${Key}`, ...kms }))
  t.ok((await read('copy')).equals(whole))
  t.equal(filesIn(gateway.directory).length, files, 'no byte was copied')

  const listed = await s3.send(new ListObjectsV2Command({ Bucket, Delimiter: '/', MaxKeys: 3 }))
  t.same(
    listed.CommonPrefixes?.map(({ Prefix }) => Prefix),
    ['a/', 'c/'],
  )
  t.match(listed, { IsTruncated: true, Contents: [{ Key: 'b', Size: 1000 }] })
  const ContinuationToken = listed.NextContinuationToken
  const rest = await s3.send(new ListObjectsV2Command({ Bucket, Delimiter: '/', ContinuationToken }))
  t.match(rest, { IsTruncated: false, Contents: [{ Key: 'copy', Size: whole.length }] })

  const stale = new PutObjectCommand({ Bucket, Key: 'b', Body: small, IfNoneMatch: '*', ...kms })
  await t.rejects(s3.send(stale), { name: 'PreconditionFailed' })
  await s3.send(new DeleteObjectCommand({ Bucket, Key }))
  t.ok((await read('copy')).equals(whole), 'the copy has the body still')
  const Objects = ['a/small', 'a/large', 'b', 'copy'].map(name => ({ Key: name }))
  await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }))
  await s3.send(new DeleteBucketCommand({ Bucket }))
  t.ok(await filesBecome(gateway.directory, 0), 'no file is left')

  await server.run(connection, 'ALTER TABLE bucket RENAME COLUMN settings TO gone')
  const refused = await gateway.signedFetch(undefined, 'GET', '/photos')
  t.equal(refused.status, 500)
  t.notMatch(refused.text, /SELECT|settings|column|PostgreSQL/)
  await server.run(connection, 'ALTER TABLE bucket RENAME COLUMN gone TO settings')
  await server.kill()
  const away = await gateway.signedFetch(undefined, 'GET', '/photos')
  t.match(away, { status: 503, code: 'ServiceUnavailable', headers: { 'retry-after': /^[0-9]+$/ } })
  await server.start()
  t.equal((await gateway.signedFetch(undefined, 'GET', '/photos')).status, 404, 'it goes on')
})
