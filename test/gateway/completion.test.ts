// What Complete says of its object is held against the upload; what listings say of checksums.
import t, { type Test } from 'tap'
import {
  CompleteMultipartUploadCommand,
  type CompleteMultipartUploadCommandInput,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  GetObjectCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, region, startGateway } from '../support/gateway.ts'

const Bucket = 'photos'

const open = async (t: Test, name: 's3' | 'obs' = 's3') => {
  const gateway = await startGateway(t, { profile: createProfile(name, { region }) })
  await gateway.signedFetch(admin, 'PUT', `/${Bucket}`)
  return { gateway, s3: gateway.client() }
}

const kms = { ServerSideEncryption: 'aws:kms' } as const

type Asked = Pick<CreateMultipartUploadCommandInput, 'ChecksumAlgorithm' | 'ChecksumType' | 'ServerSideEncryption'>

/** An upload of one part of nine bytes, to be completed with more or other members. */
const upload = async (s3: S3Client, Key: string, asked: Asked) => {
  // The SDK would ask for CRC32 where nothing is named.
  const create = new CreateMultipartUploadCommand({ Bucket, Key, ...asked })
  if (asked.ChecksumAlgorithm === undefined) {
    create.middlewareStack.add(
      next => args => {
        const { request } = args
        if (typeof request === 'object' && request !== null && 'headers' in request) {
          Reflect.deleteProperty(Object(request.headers), 'x-amz-checksum-algorithm')
        }
        return next(args)
      },
      { step: 'build', priority: 'low' },
    )
  }
  const { UploadId } = await s3.send(create)
  const at = { Bucket, Key, UploadId }
  const { ChecksumAlgorithm } = asked
  const { ETag, ...sums } = await s3.send(
    new UploadPartCommand({ ...at, PartNumber: 1, Body: 'nine byte', ...(ChecksumAlgorithm && { ChecksumAlgorithm }) }),
  )
  const complete = (more: Partial<CompleteMultipartUploadCommandInput>, part: object = {}) =>
    s3.send(
      new CompleteMultipartUploadCommand({
        ...at,
        ...more,
        MultipartUpload: { Parts: [{ PartNumber: 1, ETag, ...part }] },
      }),
    )
  return { complete, sums }
}

t.test('Complete says another size, type or algorithm than the upload has', async t => {
  const { s3 } = await open(t)
  const SHA256 = 'A'.repeat(43) + '='
  for (const kind of [{}, kms]) {
    for (const asked of [
      {},
      { ChecksumAlgorithm: 'SHA1' },
      { ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' },
    ] as const) {
      const { complete, sums } = await upload(s3, 'a', { ...asked, ...kind })
      const what = JSON.stringify({ ...asked, ...kind })
      const type = 'ChecksumType' in asked || !('ChecksumAlgorithm' in asked) ? 'FULL_OBJECT' : 'COMPOSITE'
      const other = type === 'COMPOSITE' ? 'FULL_OBJECT' : 'COMPOSITE'
      const refusals = [
        [
          () => complete({ MpuObjectSize: 10 }),
          'InvalidRequest',
          "The provided 'x-amz-mp-object-size' header value 10 does not match what was computed: 9",
        ],
        [
          () => complete({ MpuObjectSize: -1 }),
          'InvalidRequest',
          "Value for x-amz-mp-object-size header is less than zero: '-1'",
        ],
        [
          () => complete({ ChecksumType: other }),
          'InvalidRequest',
          `The upload was created using the ${type} checksum mode. The complete request must use the same checksum mode.`,
        ],
        [
          () => complete({ ChecksumSHA256: SHA256 }),
          'BadDigest',
          / you specified did not match the calculated checksum/,
        ],
        [
          () => complete({}, { ChecksumSHA256: SHA256 }),
          'ChecksumAlgorithm' in asked ? 'BadDigest' : 'InvalidPart',
          /./,
        ],
      ] as const
      for (const [answer, name, message] of refusals) {
        await t.rejects(answer(), { name, message, $metadata: { httpStatusCode: 400 } }, `${what}: ${String(message)}`)
      }
      const { ChecksumSHA1, ChecksumCRC32 } = sums
      const part = 'ChecksumAlgorithm' in asked ? { ChecksumSHA1, ChecksumCRC32 } : {}
      await t.resolves(complete({ MpuObjectSize: 9, ChecksumType: type }, part), what)
    }
  }
})

t.test('a size that is no number, and an upload without a checksum', async t => {
  const { gateway, s3 } = await open(t, 'obs')
  const { complete } = await upload(s3, 'a', {})
  await t.rejects(complete({ ChecksumType: 'COMPOSITE' }), {
    name: 'InvalidRequest',
    message: /using the null checksum mode/,
  })
  await t.rejects(complete({ ChecksumCRC32: 'AAAAAA==' }), { name: 'BadDigest', message: /^The null you specified/ })
  await t.rejects(complete({}, { ChecksumCRC32: 'AAAAAA==' }), { name: 'InvalidPart' })
  const created = await gateway.signedFetch(admin, 'POST', '/photos/b?uploads')
  const id = /<UploadId>(.*?)</.exec(created.text)?.[1] ?? ''
  const part = await gateway.signedFetch(admin, 'PUT', `/photos/b?uploadId=${id}&partNumber=1`, { body: 'x' })
  const body = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${part.headers.etag}</ETag></Part></CompleteMultipartUpload>`
  for (const size of ['x', '1e0', '']) {
    const headers = { 'x-amz-mp-object-size': size }
    const answer = await gateway.signedFetch(admin, 'POST', `/photos/b?uploadId=${id}`, { body, headers })
    t.match(answer, { status: 400, code: 'InvalidRequest', text: /x-amz-mp-object-size header is invalid/ }, size)
  }
})

t.test('listings name the algorithm and the type of each checksum', async t => {
  const { gateway, s3 } = await open(t)
  const full = { ChecksumType: 'FULL_OBJECT' } as const
  for (const [Key, kind] of [
    ['1 sse-s3', {}],
    ['2 kms', kms],
  ] as const) {
    await s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x', ChecksumAlgorithm: 'SHA256', ...kind }))
    const { complete, sums } = await upload(s3, `${Key} parts`, { ChecksumAlgorithm: 'CRC32C', ...kind })
    await complete({}, { ChecksumCRC32C: sums.ChecksumCRC32C })
    await s3.send(
      new CopyObjectCommand({ Bucket, Key: `${Key} parts copied`, CopySource: `${Bucket}/${Key} parts`, ...kind }),
    )
  }
  await gateway.signedFetch(admin, 'PUT', '/photos/3%20default', { body: 'x' })
  await s3.send(
    new PutObjectTaggingCommand({ Bucket, Key: '1 sse-s3', Tagging: { TagSet: [{ Key: 'a', Value: 'b' }] } }),
  )
  const ofParts = { ChecksumAlgorithm: ['CRC32C'], ChecksumType: 'COMPOSITE' }
  const expected = [
    ...['1 sse-s3', '2 kms'].flatMap(Key => [
      { Key, ChecksumAlgorithm: ['SHA256'], ...full },
      { Key: `${Key} parts`, ...ofParts },
      { Key: `${Key} parts copied`, ...ofParts },
    ]),
    { Key: '3 default', ChecksumAlgorithm: ['CRC64NVME'], ...full },
  ]
  t.match((await s3.send(new ListObjectsCommand({ Bucket }))).Contents, expected)
  t.match((await s3.send(new ListObjectsV2Command({ Bucket }))).Contents, expected)
  t.match((await s3.send(new ListObjectVersionsCommand({ Bucket }))).Versions, expected)
  const obs = await open(t, 'obs')
  await obs.gateway.signedFetch(admin, 'PUT', '/photos/a', { body: 'x' })
  t.notMatch((await obs.gateway.signedFetch(admin, 'GET', '/photos')).text, /Checksum/)
})

t.test('an object under SSE-KMS is copied onto itself, and leaves its key, under the rules of S3 only', async t => {
  for (const name of ['s3', 'obs'] as const) {
    const { s3 } = await open(t, name)
    await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'kept', Metadata: { a: 'b' }, ...kms }))
    const copy = () => s3.send(new CopyObjectCommand({ Bucket, Key: 'a', CopySource: `${Bucket}/a` }))
    if (name === 's3') t.match(await copy(), { ServerSideEncryption: 'AES256' })
    else await t.rejects(copy(), { name: 'InvalidRequest', message: /illegal/ })
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'a' }))
    t.match(got, { Metadata: { a: 'b' }, ServerSideEncryption: name === 's3' ? 'AES256' : 'aws:kms' })
    t.equal(await got.Body?.transformToString(), 'kept')
  }
})
