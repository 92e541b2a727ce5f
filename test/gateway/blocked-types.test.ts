/** BlockedEncryptionTypes in a bucket's encryption, with Amazon's own client: every write under a customer's key is refused, and reads are not. */
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketEncryptionCommand,
  DeleteObjectCommand,
  GetBucketEncryptionCommand,
  GetObjectCommand,
  ListPartsCommand,
  PutBucketEncryptionCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import { createHash } from 'node:crypto'
import t from 'tap'
import { createProfile } from '../../lib/sse/profile.ts'
import { region, startGateway } from '../support/gateway.ts'

const Bucket = 'photos'
const secret = Buffer.from('0123456789abcdef0123456789abcdef')
const customer = { SSECustomerAlgorithm: 'AES256', SSECustomerKey: secret.toString() } as const
const source = { CopySourceSSECustomerAlgorithm: 'AES256', CopySourceSSECustomerKey: secret.toString() } as const

t.test('a bucket that refuses SSE-C', async t => {
  for (const profile of ['s3', 'obs'] as const) {
    await t.test(profile, async t => {
      const gateway = await startGateway(t, { profile: createProfile(profile, { region }), trustTransport: true })
      const s3 = gateway.client()
      await s3.send(new CreateBucketCommand({ Bucket }))
      const block = (...EncryptionType: readonly ('SSE-C' | 'NONE')[]) =>
        s3.send(
          new PutBucketEncryptionCommand({
            Bucket,
            ServerSideEncryptionConfiguration: {
              Rules: [
                {
                  ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' },
                  ...(EncryptionType.length > 0 && { BlockedEncryptionTypes: { EncryptionType: [...EncryptionType] } }),
                },
              ],
            },
          }),
        )
      const told = async () => {
        const { ServerSideEncryptionConfiguration: found } = await s3.send(new GetBucketEncryptionCommand({ Bucket }))
        return found?.Rules?.[0]?.BlockedEncryptionTypes?.EncryptionType
      }
      const put = () => s3.send(new PutObjectCommand({ Bucket, Key: 'new', Body: 'x', ...customer }))
      await s3.send(new PutObjectCommand({ Bucket, Key: 'old', Body: 'hello', ...customer }))
      const upload = { Bucket, Key: 'parts' }
      const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...upload, ...customer }))
      const part = { ...upload, UploadId, PartNumber: 1, ...customer }
      const { ETag } = await s3.send(new UploadPartCommand({ ...part, Body: 'part' }))

      await block('SSE-C')
      t.strictSame(await told(), ['SSE-C'])
      const CopySource = `${Bucket}/old`
      const form = async () => {
        const Fields = {
          'x-amz-server-side-encryption-customer-algorithm': 'AES256',
          'x-amz-server-side-encryption-customer-key': secret.toString('base64'),
          'x-amz-server-side-encryption-customer-key-MD5': createHash('md5').update(secret).digest('base64'),
        }
        const post = await createPresignedPost(s3, {
          ...{ Bucket, Key: 'form', Fields },
          Conditions: Object.entries(Fields).map(([name, value]) => ({ [name]: value })),
        })
        const data = new FormData()
        for (const [name, value] of Object.entries(post.fields)) data.set(name, value)
        data.set('file', new Blob(['x']))
        const reply = await fetch(post.url, { method: 'POST', body: data })
        const text = await reply.text()
        if (reply.status === 403 && text.includes('<Code>AccessDenied</Code>'))
          throw Object.assign(new Error(text), { name: 'AccessDenied' })
      }
      const writes: Readonly<Record<string, () => Promise<unknown>>> = {
        PutObject: put,
        PostObject: form,
        CopyObject: () => s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource, ...source, ...customer })),
        CreateMultipartUpload: () => s3.send(new CreateMultipartUploadCommand({ ...upload, ...customer })),
        UploadPart: () => s3.send(new UploadPartCommand({ ...part, PartNumber: 2, Body: 'part' })),
        UploadPartCopy: () => s3.send(new UploadPartCopyCommand({ ...part, PartNumber: 2, CopySource, ...source })),
      }
      for (const [name, write] of Object.entries(writes)) {
        await t.rejects(write(), { name: 'AccessDenied', message: 'SSE-C' }, name)
      }
      const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key: 'old', ...customer }))
      t.equal(await Body?.transformToString(), 'hello', 'what lies there is read')
      await s3.send(
        new CopyObjectCommand({ Bucket, Key: 'copy', CopySource, ...source, ServerSideEncryption: 'aws:kms' }),
      )
      t.equal((await s3.send(new ListPartsCommand({ ...upload, UploadId }))).Parts?.length, 1)
      const Parts = [{ PartNumber: 1, ETag }]
      await s3.send(new CompleteMultipartUploadCommand({ ...upload, UploadId, MultipartUpload: { Parts } }))
      await s3.send(new DeleteObjectCommand({ Bucket, Key: 'old' }))
      await s3.send(new PutObjectCommand({ Bucket, Key: 'other', Body: 'x' }))

      await block('NONE')
      t.strictSame(await told(), ['NONE'])
      await put()
      await block('SSE-C')
      await block()
      t.equal(await told(), undefined)
      await put()
      await block('SSE-C')
      await s3.send(new DeleteBucketEncryptionCommand({ Bucket }))
      await put()
      await t.rejects(block('SSE-C', 'NONE'), { name: 'MalformedXML' })
    })
  }
})
