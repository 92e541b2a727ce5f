// Details of answers that clients of S3 see: times, markers, names of sources, and what a listing says of each thing.
import t, { type Test } from 'tap'
import * as fc from 'fast-check'
import {
  AbortMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListBucketsCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import { fromHeaderText, toHeaderText } from '../../lib/gateway/http/encoded-words.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, region, type Sent, startGateway } from '../support/gateway.ts'

type Headers = NonNullable<Sent['headers']>

const Bucket = 'photos'

const open = async (t: Test, options: Parameters<typeof startGateway>[1] = {}) => {
  const gateway = await startGateway(t, { profile: createProfile('s3', { region }), ...options })
  const send = (method: string, path: string, headers: Headers = {}, body?: string | Uint8Array) =>
    gateway.signedFetch(admin, method, path, { headers, ...(body !== undefined && { body }) })
  t.equal((await send('PUT', `/${Bucket}`)).status, 200)
  return { gateway, s3: gateway.client(), send }
}

t.test('times in XML are whole seconds', async t => {
  const { send } = await open(t, { clock: () => Date.now() - (Date.now() % 1000) + 678 })
  const kms = { 'x-amz-server-side-encryption': 'aws:kms' }
  await send('PUT', '/photos/a', kms, 'x')
  const upload = await send('POST', '/photos/b?uploads')
  const id = /<UploadId>(.*?)</.exec(upload.text)?.[1] ?? ''
  await send('PUT', `/photos/b?partNumber=1&uploadId=${id}`, {}, 'x')
  const source = { 'x-amz-copy-source': '/photos/a' }
  for (const answer of [
    await send('GET', '/'),
    await send('GET', '/photos'),
    await send('GET', '/photos?list-type=2'),
    await send('GET', '/photos?versions'),
    await send('GET', '/photos?uploads'),
    await send('GET', `/photos/b?uploadId=${id}`),
    await send('PUT', '/photos/c', source),
    await send('PUT', `/photos/b?partNumber=2&uploadId=${id}`, source),
  ]) {
    const times = [...answer.text.matchAll(/>(\d{4}-\d\d-\d\dT[^<]*)</g)].map(([, time]) => time)
    t.ok(times.length > 0, answer.text)
    for (const time of times) t.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/)
  }
})

t.test('ListBuckets names the ARN of each bucket, and takes an empty token for the first page', async t => {
  const { s3, send } = await open(t)
  await send('PUT', '/photos2')
  const list = (more: object = {}) => s3.send(new ListBucketsCommand(more))
  const both = [Bucket, 'photos2'].map(Name => ({ Name, BucketArn: `arn:aws:s3:::${Name}`, BucketRegion: region }))
  t.match(await list(), { Buckets: both })
  t.match(await list({ ContinuationToken: '' }), { Buckets: both })
  const first = await list({ MaxBuckets: 1, ContinuationToken: '' })
  t.match(first, { Buckets: [{ Name: Bucket }] })
  t.strictSame(
    (await list({ ContinuationToken: first.ContinuationToken })).Buckets?.map(({ Name }) => Name),
    ['photos2'],
  )
  t.match(await send('GET', '/?continuation-token=x'), { status: 400, code: 'InvalidArgument' })
  t.match(await send('GET', '/photos?list-type=2&continuation-token='), { status: 400, code: 'InvalidArgument' })
})

t.test('ListMultipartUploads: markers of a last page, and of another key', async t => {
  const { s3 } = await open(t)
  const list = (more: object = {}) => s3.send(new ListMultipartUploadsCommand({ Bucket, ...more }))
  t.match(await list(), {
    IsTruncated: false,
    NextKeyMarker: '',
    NextUploadIdMarker: '',
    KeyMarker: '',
    UploadIdMarker: '',
  })
  const ids: (string | undefined)[] = []
  for (const [Key, more] of [
    ['a', {}],
    ['b', { ServerSideEncryption: 'aws:kms' }],
    ['b', { ChecksumAlgorithm: 'SHA256' }],
  ] as const) {
    ids.push((await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ...more }))).UploadId)
  }
  const all = await list()
  const last = all.Uploads?.at(-1)
  t.match(all, { IsTruncated: false, NextKeyMarker: 'b', NextUploadIdMarker: last?.UploadId })
  t.match(
    all.Uploads?.find(({ UploadId }) => UploadId === ids[2]),
    { ChecksumAlgorithm: 'SHA256', ChecksumType: 'COMPOSITE' },
  )
  const [a, b] = all.Uploads ?? []
  t.match(
    await list({ UploadIdMarker: a?.UploadId }),
    { UploadIdMarker: '', Uploads: { length: 3 } },
    'without its key',
  )
  t.match(await list({ KeyMarker: 'b', UploadIdMarker: b?.UploadId }), { Uploads: [{ UploadId: last?.UploadId }] })
  for (const UploadIdMarker of [a?.UploadId, 'x']) {
    await t.rejects(list({ KeyMarker: 'b', UploadIdMarker }), {
      name: 'InvalidArgument',
      message: /Invalid uploadId marker/,
      ArgumentName: 'upload-id-marker',
      ArgumentValue: UploadIdMarker,
    })
  }
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'b', UploadId: b?.UploadId }))
  const behind = await list({ KeyMarker: 'b', UploadIdMarker: b?.UploadId })
  t.match(behind, { Uploads: [{ UploadId: last?.UploadId }] }, 'the upload may be gone by now')
})

t.test('the source of a copy: a plus is a space, and a URL is its path', async t => {
  const { gateway, s3 } = await open(t)
  await s3.send(new PutObjectCommand({ Bucket, Key: 'my file', Body: 'spaced' }))
  await s3.send(new PutObjectCommand({ Bucket, Key: 'c++', Body: 'pluses' }))
  for (const [CopySource, body] of [
    ['photos/my+file', 'spaced'],
    ['/photos/my%20file', 'spaced'],
    ['photos/c%2B%2B', 'pluses'],
    [`${gateway.url}/photos/my+file`, 'spaced'],
    ['https://s3.example.com/photos/c%2b%2b?versionId=null', 'pluses'],
  ] as const) {
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource }))
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'copy' }))
    t.equal(await got.Body?.transformToString(), body, CopySource)
  }
  await t.rejects(s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: 'http://s3.example.com' })), {
    name: 'InvalidArgument',
  })
})

t.test('DeleteObjects of a bucket that is deleted meanwhile is answered for the whole request', async t => {
  const { gateway, send } = await open(t)
  const everything = {
    Effect: 'Allow',
    Principal: '*',
    Action: 's3:*',
    Resource: ['photos', 'photos/*'].map(each => `arn:aws:s3:::${each}`),
  }
  await send('PUT', '/photos?policy', {}, JSON.stringify({ Version: '2012-10-17', Statement: [everything] }))
  const body = '<Delete><Object><Key>a</Key></Object><Object><Key>b</Key></Object></Delete>'
  const headers = {
    expect: '100-continue',
    'content-length': body.length,
    'content-md5': createHash('md5').update(body).digest('base64'),
  }
  const req = request(`${gateway.url}/photos?delete`, { method: 'POST', headers })
  req.flushHeaders()
  await once(req, 'continue') // the bucket was found
  t.equal((await send('DELETE', '/photos')).status, 204)
  req.end(body)
  const [res] = await once(req, 'response')
  t.equal(res.statusCode, 404)
  t.match(await text(res), '<Code>NoSuchBucket</Code>')
})

const bytes = (text: string): string => Buffer.from(text).toString('latin1')
const word = (text: string): string => `=?UTF-8?B?${Buffer.from(text).toString('base64')}?=`

t.test('text of metadata: encoded words both ways', async t => {
  const { gateway, s3, send } = await open(t)
  for (const [sent, kept] of [
    ['plain', 'plain'],
    [word('Größe'), word('Größe')],
    ['=?utf-8?q?Gr=C3=B6=c3=9fe_2?=', word('Größe 2')],
    ['=?ISO-8859-1?Q?Gr=F6=DFe?=', word('Größe')],
    [`${word('Grö')} \t${word('ße')}`, word('Größe')],
    [`a ${word('ö')} b`, word('a ö b')],
    ['=?UTF-8?Q?plain?=', 'plain'],
    ['=?no-charset?B?AAAA?=', word('=?no-charset?B?AAAA?=')],
    ['=?UTF-8?B?!?=', word('=?UTF-8?B?!?=')],
    ['a =? b ?=', 'a =? b ?='],
  ] as const) {
    for (const kind of [{}, { 'x-amz-server-side-encryption': 'aws:kms' }]) {
      const put = await send(
        'PUT',
        '/photos/a',
        { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', 'x-amz-meta-a': sent, ...kind },
        'x',
      )
      t.equal(put.status, 200, put.text)
      t.equal((await send('GET', '/photos/a')).headers['x-amz-meta-a'], kept, sent)
      await send('PUT', '/photos/b', { 'x-amz-copy-source': 'photos/a' })
      t.equal((await send('HEAD', '/photos/b')).headers['x-amz-meta-a'], kept, 'its copy')
    }
  }
  // Bytes as they are, which the signing client cannot send.
  await send('PUT', '/photos?acl', { 'x-amz-acl': 'public-read-write' })
  for (const sent of [bytes('Größe'), Buffer.from('Größe', 'latin1').toString('latin1')]) {
    const req = request(`${gateway.url}/photos/raw`, { method: 'PUT', headers: { 'x-amz-meta-a': sent } })
    req.end(Buffer.from('x'))
    const [res] = await once(req, 'response')
    t.equal(res.statusCode, 200, await text(res))
    t.equal((await send('GET', '/photos/raw')).headers['x-amz-meta-a'], word('Größe'), sent)
  }
  t.equal((await send('GET', '/photos/a', { 'x-obs-date': 'x' })).headers['x-obs-meta-a'], 'a =? b ?=')
  await s3.send(new PutObjectCommand({ Bucket, Key: 'c', Body: 'x', Metadata: { name: word('Größe') } }))
  t.match(await s3.send(new GetObjectCommand({ Bucket, Key: 'c' })), { Metadata: { name: word('Größe') } })
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 300 }), text => {
      const shown = toHeaderText(bytes(text))
      const words = shown.split(' ')
      return (
        fromHeaderText(shown) === bytes(text) &&
        /^[\x20-\x7e]*$/.test(shown) &&
        (shown === text || words.every(({ length }) => length <= 75))
      )
    }),
  )
})

t.test('control characters in the metadata of a form are kept, and answered in encoded words', async t => {
  const { gateway, send } = await open(t)
  const { url, fields } = await createPresignedPost(gateway.client(), {
    Bucket,
    Key: 'form',
    Fields: { 'x-amz-meta-a': 'one\r\ntwo: \u0001 größer ☃', success_action_status: '201' },
  })
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  form.append('file', 'x')
  t.equal((await fetch(url, { method: 'POST', body: form })).status, 201)
  for (const method of ['GET', 'HEAD']) {
    const { headers } = await send(method, '/photos/form')
    t.equal(headers['x-amz-meta-a'], word('one\r\ntwo: \u0001 größer ☃'))
    t.notOk('two' in headers)
  }
})
