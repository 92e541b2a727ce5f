/** Answers that take long: a Complete and copies keep their connection alive with blanks, and an error after them is the document of the 200. */
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { SseError } from '../../lib/errors.ts'
import { openFileStore } from '../../lib/store/file/store.ts'
import type { ObjectStore } from '../../lib/store/store.ts'
import { admin, startGateway } from '../support/gateway.ts'

/** A gateway whose store takes its time for completions, copies and parts; `failing` says with what they fail then. */
const slowly = async (t: Test, blankEvery?: number) => {
  const rows = await openFileStore(t.testdir(), { sweepEvery: 0 })
  t.teardown(() => rows.close())
  const failing: { with?: SseError | undefined } = {}
  const late = async <T>(work: () => Promise<T>): Promise<T> => {
    await wait(200)
    if (failing.with !== undefined) throw failing.with
    return work()
  }
  const store: ObjectStore = {
    ...rows,
    completeUpload: (...change) => late(() => rows.completeUpload(...change)),
    copyObject: (...change) => late(() => rows.copyObject(...change)),
    putPart: (...change) => late(() => rows.putPart(...change)),
  }
  const gateway = await startGateway(t, { store, blankEvery })
  const s3 = gateway.client()
  await s3.send(new CreateBucketCommand({ Bucket: 'bucket' }))
  await s3.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'source', Body: 'hello' }))
  const at = { Bucket: 'bucket', Key: 'key' }
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...at, ServerSideEncryption: 'aws:kms' }))
  const upload = { ...at, UploadId }
  const { ETag } = await s3.send(new UploadPartCommand({ ...upload, PartNumber: 1, Body: 'hello' }))
  const xml = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${ETag}</ETag></Part></CompleteMultipartUpload>`
  const complete = () => gateway.signedFetch(admin, 'POST', `/bucket/key?uploadId=${UploadId}`, { body: xml })
  const copy = { CopySource: 'bucket/source' }
  return { ...gateway, s3, failing, upload, copy, ETag, complete }
}

const declaration = '<\\?xml version="1.0" encoding="UTF-8"\\?>\n'

t.test('a Complete and copies that take long: blanks behind the declaration', async t => {
  const { s3, upload, ETag, complete, copy, signedFetch } = await slowly(t, 40)
  const completed = await complete()
  t.match(
    completed.text,
    new RegExp(`^${declaration} +<CompleteMultipartUploadResult.*</CompleteMultipartUploadResult>$`),
  )
  t.match(completed, {
    status: 200,
    headers: { 'transfer-encoding': 'chunked', 'x-amz-server-side-encryption': 'aws:kms' },
  })
  const again = { ...upload, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } }
  t.match(await s3.send(new CompleteMultipartUploadCommand(again)), { ETag: /^"[0-9a-f]{32}-1"$/, Bucket: 'bucket' })
  const headers = { 'x-amz-copy-source': 'bucket/source' }
  const copied = await signedFetch(admin, 'PUT', '/bucket/copied', { headers })
  t.match(copied.text, new RegExp(`^${declaration} +<CopyObjectResult.*</CopyObjectResult>$`))
  t.match(await s3.send(new CopyObjectCommand({ Bucket: 'bucket', Key: 'copied', ...copy })), {
    CopyObjectResult: { ETag: /./ },
  })
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket: 'bucket', Key: 'key' }))
  const part = { Bucket: 'bucket', Key: 'key', UploadId, PartNumber: 1, ...copy }
  t.match(await s3.send(new UploadPartCopyCommand(part)), { CopyPartResult: { ETag: /./ } })
})

t.test('an error after blanks is the document of the 200, and clients see it', async t => {
  const { s3, failing, upload, ETag, complete, copy, log } = await slowly(t, 40)
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket: 'bucket', Key: 'other' }))
  failing.with = new SseError('PreconditionFailed')
  const answer = await complete()
  t.match(answer.text, new RegExp(`^${declaration} +<Error><Code>PreconditionFailed</Code>.*<RequestId>.*</Error>$`))
  t.equal(answer.status, 200)
  t.match(log.at(-1), { status: 200, error: { code: 'PreconditionFailed' } }, 'the log has the error')
  const named = { ...upload, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } }
  await t.rejects(s3.send(new CompleteMultipartUploadCommand(named)), { name: 'PreconditionFailed' })
  const target = { Bucket: 'bucket', Key: 'copied', ...copy }
  await t.rejects(s3.send(new CopyObjectCommand(target)), { name: 'PreconditionFailed' })
  const part = { Bucket: 'bucket', Key: 'other', UploadId, PartNumber: 1, ...copy }
  await t.rejects(s3.send(new UploadPartCopyCommand(part)), { name: 'PreconditionFailed' })
})

t.test('what is done before its time has a status and a length', async t => {
  const { failing, complete } = await slowly(t)
  failing.with = new SseError('PreconditionFailed')
  t.match(await complete(), { status: 412, code: 'PreconditionFailed', headers: { 'content-length': /./ } })
  failing.with = undefined
  t.match(await complete(), { status: 200, headers: { 'content-length': /./ } })
})
