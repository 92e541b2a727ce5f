// Conditions of changes as clients send them: on PUT, Copy and Complete, on deletions, and in the query of a presigned URL.
import t, { type Test } from 'tap'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { Sha256 } from '@aws-crypto/sha256-js'
import { SignatureV4 } from '@smithy/signature-v4'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, region, startGateway } from '../support/gateway.ts'

const Bucket = 'photos'

const open = async (t: Test) => {
  const gateway = await startGateway(t, { profile: createProfile('s3', { region }) })
  await gateway.signedFetch(admin, 'PUT', `/${Bucket}`)
  return { gateway, s3: gateway.client() }
}

const kinds = [{}, { ServerSideEncryption: 'aws:kms' }] as const

const bodyOf = async (s3: S3Client, Key: string): Promise<string | undefined> =>
  (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body?.transformToString()

/** An upload of one part, and what completes it. */
const upload = async (s3: S3Client, Key: string, Body: string, kind: (typeof kinds)[number]) => {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ...kind }))
  const at = { Bucket, Key, UploadId }
  const { ETag } = await s3.send(new UploadPartCommand({ ...at, PartNumber: 1, Body }))
  return { ...at, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } }
}

const failed = (Condition: string) => ({ name: 'PreconditionFailed', $metadata: { httpStatusCode: 412 }, Condition })
const notImplemented = (Header: string) => ({ name: 'NotImplemented', $metadata: { httpStatusCode: 501 }, Header })

t.test('PUT, Copy and Complete hold the same conditions', async t => {
  const { s3 } = await open(t)
  await s3.send(new PutObjectCommand({ Bucket, Key: 'source', Body: 'copied' }))
  type Conditions = { IfMatch?: string | undefined; IfNoneMatch?: string | undefined }
  for (const kind of kinds) {
    const writes: Readonly<Record<string, (Key: string, conditions: Conditions) => Promise<unknown>>> = {
      PUT: (Key, conditions) => s3.send(new PutObjectCommand({ Bucket, Key, Body: 'put', ...kind, ...conditions })),
      Copy: (Key, conditions) =>
        s3.send(new CopyObjectCommand({ Bucket, Key, CopySource: 'photos/source', ...kind, ...conditions })),
      Complete: async (Key, conditions) =>
        s3.send(new CompleteMultipartUploadCommand({ ...(await upload(s3, Key, 'parts', kind)), ...conditions })),
    }
    for (const [name, write] of Object.entries(writes)) {
      const Key = `${name} ${JSON.stringify(kind)}`
      await t.rejects(write(Key, { IfMatch: '"x"' }), { name: 'NoSuchKey' }, `${Key}: nothing to match`)
      await t.resolves(write(Key, { IfNoneMatch: '*' }), `${Key}: a new one`)
      const { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key, Body: 'first', ...kind }))
      await t.rejects(write(Key, { IfNoneMatch: '*' }), failed('If-None-Match'), `${Key}: there already`)
      await t.rejects(write(Key, { IfMatch: '"x"' }), failed('If-Match'), `${Key}: another one`)
      await t.rejects(write(Key, { IfMatch: '*' }), notImplemented('If-Match'), `${Key}: any`)
      await t.rejects(write(Key, { IfNoneMatch: ETag }), notImplemented('If-None-Match'), `${Key}: not this one`)
      await t.rejects(write(Key, { IfMatch: ETag, IfNoneMatch: '*' }), notImplemented('If-Match,If-None-Match'))
      t.equal(await bodyOf(s3, Key), 'first', `${Key}: nothing was written`)
      await t.resolves(write(Key, { IfMatch: ETag }), `${Key}: this one`)
      t.not(await bodyOf(s3, Key), 'first')
    }
  }
})

t.test('a Complete that is sent again is answered before any condition', async t => {
  const { s3 } = await open(t)
  for (const kind of kinds) {
    const complete = { ...(await upload(s3, 'again', 'parts', kind)), IfNoneMatch: '*' }
    const first = await s3.send(new CompleteMultipartUploadCommand(complete))
    const second = await s3.send(new CompleteMultipartUploadCommand(complete))
    t.equal(second.ETag, first.ETag)
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'again' }))
  }
})

t.test('deletions hold an ETag, a time and a size', async t => {
  const { gateway, s3 } = await open(t)
  for (const kind of kinds) {
    await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'four', ...kind }))
    const { ETag = '', LastModified = new Date(0) } = await s3.send(new HeadObjectCommand({ Bucket, Key: 'a' }))
    const earlier = new Date(LastModified.getTime() - 1000)
    const del = (conditions: object) => s3.send(new DeleteObjectCommand({ Bucket, Key: 'a', ...conditions }))
    await t.rejects(del({ IfMatch: '"x"' }), failed('If-Match'))
    await t.rejects(del({ IfMatchLastModifiedTime: earlier }), failed('x-amz-if-match-last-modified-time'))
    await t.rejects(del({ IfMatchSize: 5 }), failed('x-amz-if-match-size'))
    const refused = await gateway.signedFetch(admin, 'DELETE', '/photos/a', { headers: { 'if-none-match': '*' } })
    t.match(refused, { status: 501, code: 'NotImplemented' })
    const many = async (more: object) => {
      const Objects = [{ Key: 'a', ...more }]
      const { Errors } = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }))
      return Errors?.map(({ Code }) => Code)
    }
    t.strictSame(await many({ ETag: '"x"' }), ['PreconditionFailed'])
    t.strictSame(await many({ LastModifiedTime: earlier }), ['PreconditionFailed'])
    t.strictSame(await many({ Size: 5 }), ['PreconditionFailed'])
    t.equal(await bodyOf(s3, 'a'), 'four', 'it is still there')
    await t.resolves(del({ IfMatch: ETag, IfMatchLastModifiedTime: LastModified, IfMatchSize: 4 }))
    await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'four', ...kind }))
    const { LastModified: anew } = await s3.send(new HeadObjectCommand({ Bucket, Key: 'a' }))
    t.equal(await many({ LastModifiedTime: anew, Size: 4 }), undefined)
    await t.rejects(bodyOf(s3, 'a'), { name: 'NoSuchKey' })
  }
})

t.test('deletions of what is not there: an ETag asks for an object, a time and a size do not', async t => {
  const { s3 } = await open(t)
  const del = async (conditions: object) => {
    const { $metadata } = await s3.send(new DeleteObjectCommand({ Bucket, Key: 'none', ...conditions }))
    return $metadata.httpStatusCode
  }
  const missing = { name: 'NoSuchKey', $metadata: { httpStatusCode: 404 } }
  t.equal(await del({}), 204)
  await t.rejects(del({ IfMatch: '"x"' }), missing)
  await t.rejects(del({ IfMatch: '*' }), missing)
  await t.rejects(del({ IfMatch: '*', IfMatchSize: 4 }), missing)
  t.equal(await del({ IfMatchSize: 4 }), 204)
  t.equal(await del({ IfMatchLastModifiedTime: new Date(0) }), 204)
  const Objects = [
    { Key: 'a', ETag: '"x"' },
    { Key: 'b', ETag: '*' },
    { Key: 'c', Size: 4 },
    { Key: 'd', LastModifiedTime: new Date(0) },
    { Key: 'e' },
  ]
  const { Deleted, Errors } = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }))
  t.strictSame(
    Errors?.map(({ Key, Code }) => [Key, Code]),
    [
      ['a', 'NoSuchKey'],
      ['b', 'NoSuchKey'],
    ],
  )
  t.strictSame(
    Deleted?.map(({ Key }) => Key),
    ['c', 'd', 'e'],
  )
})

t.test('conditions in the query of a presigned URL', async t => {
  const { gateway, s3 } = await open(t)
  const { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'first' }))
  const signer = new SignatureV4({ service: 's3', region, sha256: Sha256, uriEscapePath: false, credentials: admin })
  const { hostname, port, host } = new URL(gateway.url)
  const put = async (query: Record<string, string>) => {
    const headers = { host, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }
    const wire = { method: 'PUT', protocol: 'http:', hostname, port: Number(port), path: '/photos/a', headers, query }
    const signed = new URLSearchParams(
      Object.entries((await signer.presign(wire)).query ?? {}).map(([name, value]) => [name, String(value)]),
    )
    return (await fetch(`${gateway.url}/photos/a?${signed.toString()}`, { method: 'PUT', body: 'second' })).status
  }
  t.equal(await put({ 'If-None-Match': '*' }), 412)
  t.equal(await put({ 'if-match': '"x"' }), 412)
  t.equal(await bodyOf(s3, 'a'), 'first')
  t.equal(await put({ 'If-Match': String(ETag) }), 200)
  t.equal(await bodyOf(s3, 'a'), 'second')
})
