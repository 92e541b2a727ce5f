// Checksums of what is asked for of an object, and its parts: as they were uploaded, and as a copy has them.
import t, { type Test } from 'tap'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { createHash, randomBytes } from 'node:crypto'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, region, startGateway } from '../support/gateway.ts'

const Bucket = 'photos'

const open = async (t: Test): Promise<S3Client> => {
  const gateway = await startGateway(t, { profile: createProfile('s3', { region, baseEncryption: 'none' }) })
  await gateway.signedFetch(admin, 'PUT', `/${Bucket}`)
  return gateway.client()
}

const kinds = [{}, { ServerSideEncryption: 'AES256' }, { ServerSideEncryption: 'aws:kms' }] as const
const body = randomBytes(1000)
const parts = [randomBytes(5 * 1024 * 1024), body]

const upload = async (s3: S3Client, Key: string, ChecksumType: 'COMPOSITE' | 'FULL_OBJECT', more: object) => {
  const asked = { ChecksumAlgorithm: 'CRC32', ChecksumType } as const
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ...asked, ...more }))
  const Parts = await Promise.all(
    parts.map(async (Body, i) => {
      const part = { Bucket, Key, UploadId, PartNumber: i + 1, Body }
      const { ETag, ChecksumCRC32 } = await s3.send(new UploadPartCommand(part))
      return { PartNumber: i + 1, ETag, ChecksumCRC32 }
    }),
  )
  return s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
}

const attributes = (s3: S3Client, Key: string, more: object = {}) =>
  s3.send(
    new GetObjectAttributesCommand({ Bucket, Key, ObjectAttributes: ['ETag', 'Checksum', 'ObjectParts'], ...more }),
  )

t.test('a range that is the whole object has its checksum, and any other one has none', async t => {
  const s3 = await open(t)
  for (const kind of kinds) {
    const { ChecksumCRC32 } = await s3.send(
      new PutObjectCommand({ Bucket, Key: 'a', Body: body, ChecksumAlgorithm: 'CRC32', ...kind }),
    )
    for (const [asked, whole] of [
      [{ Range: 'bytes=0-' }, true],
      [{ Range: 'bytes=0-999' }, true],
      [{ Range: 'bytes=-2000' }, true],
      [{ PartNumber: 1 }, true],
      [{ Range: 'bytes=1-' }, false],
      [{ Range: 'bytes=0-998' }, false],
    ] as const) {
      const request = { Bucket, Key: 'a', ChecksumMode: 'ENABLED', ...asked } as const
      const expected = whole ? { ChecksumCRC32, ChecksumType: 'FULL_OBJECT' } : { ChecksumCRC32: undefined }
      const got = await s3.send(new GetObjectCommand(request))
      t.match(got, { ...expected, $metadata: { httpStatusCode: 206 } }, JSON.stringify({ ...asked, ...kind }))
      await got.Body?.transformToByteArray() // the client checks it
      t.match(await s3.send(new HeadObjectCommand(request)), expected)
    }
  }
})

t.test('parts of an upload: their count alone where the checksum is of the whole object', async t => {
  const s3 = await open(t)
  for (const kind of kinds) {
    await upload(s3, 'a', 'FULL_OBJECT', kind)
    t.strictSame((await attributes(s3, 'a')).ObjectParts, { TotalPartsCount: 2 })
    await upload(s3, 'a', 'COMPOSITE', kind)
    t.match((await attributes(s3, 'a')).ObjectParts, { TotalPartsCount: 2, Parts: [{ PartNumber: 1 }, { Size: 1000 }] })
    const whole = { Bucket, Key: 'a', ChecksumMode: 'ENABLED' } as const
    const { ChecksumCRC32 } = await s3.send(new HeadObjectCommand({ ...whole, Range: 'bytes=0-' }))
    t.match(ChecksumCRC32, /-2$/)
    t.equal((await s3.send(new HeadObjectCommand({ ...whole, PartNumber: 2 }))).ChecksumCRC32, undefined)
  }
})

t.test('a copy of an object in parts has them where no byte is read, and is one part otherwise', async t => {
  const s3 = await open(t)
  const key = randomBytes(32)
  const customer = {
    SSECustomerAlgorithm: 'AES256',
    SSECustomerKey: key.toString('base64'),
    SSECustomerKeyMD5: createHash('md5').update(key).digest('base64'),
  }
  for (const kind of kinds) {
    const { ETag } = await upload(s3, 'a', 'COMPOSITE', kind)
    for (const [target, read, keeps] of [
      [kind, {}, true],
      [customer, customer, false],
    ] as const) {
      const copy = new CopyObjectCommand({ Bucket, Key: 'b', CopySource: `${Bucket}/a`, ...target })
      const answer = (await s3.send(copy)).CopyObjectResult
      const told = await attributes(s3, 'b', read)
      const of = (PartNumber: number) => s3.send(new HeadObjectCommand({ Bucket, Key: 'b', PartNumber, ...read }))
      t.equal(answer?.ETag, `"${told.ETag}"`)
      t.equal(told.Checksum?.ChecksumType, keeps ? 'COMPOSITE' : 'FULL_OBJECT')
      if (keeps) {
        t.match(ETag, /-2"$/)
        t.match(answer?.ETag, /-2"$/)
        t.match(answer?.ChecksumCRC32, /-2$/)
        t.equal(told.ObjectParts?.TotalPartsCount, 2)
        t.match(await of(2), { PartsCount: 2, ContentLength: 1000 })
      } else {
        t.match(answer?.ETag, /-1"$/)
        t.notMatch(answer?.ChecksumCRC32, '-')
        t.equal(told.ObjectParts, undefined)
        t.match(await of(1), { PartsCount: undefined, ContentLength: 5 * 1024 * 1024 + 1000 })
        await t.rejects(of(2))
      }
    }
  }
})
