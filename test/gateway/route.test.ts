// From requests to actions: every operation that clients of S3 and OBS have is the one that is done, or is refused by its name.
import t from 'tap'
import { admin, startGateway } from '../support/gateway.ts'
import { obsOperations, s3Operations } from '../support/operations.ts'

/** The names that OBS has for what S3 calls otherwise. */
const obsNames = new Map([
  ['GetBucketMetadata', 'HeadBucket'],
  ['GetBucketVersioningConfiguration', 'GetBucketVersioning'],
  ['SetBucketVersioningConfiguration', 'PutBucketVersioning'],
  ['GetObjectMetadata', 'HeadObject'],
  ['ListVersions', 'ListObjectVersions'],
  ['InitiateMultipartUpload', 'CreateMultipartUpload'],
  ['CopyPart', 'UploadPartCopy'],
])

t.test('every operation of S3 and OBS is built, or refused by its name', async t => {
  const operations = [...(await s3Operations()), ...obsOperations()]
  t.ok(operations.filter(({ of }) => of === 'S3').length > 100)
  t.ok(operations.filter(({ of }) => of === 'OBS').length > 70)
  for (const { operation, of, action, code, sub } of operations) {
    const name = of === 'S3' ? operation : (obsNames.get(operation) ?? operation.replace(/^Set/, 'Put'))
    if (operation.startsWith('Options')) t.equal(code, 'MethodNotAllowed', operation)
    else if (action === undefined) t.match({ code, sub }, { code: 'NotImplemented', sub: /./ }, `${of}: ${operation}`)
    else t.equal(action, name, `${of}: ${operation}`)
  }
})

t.test('a write with a sub-resource that nobody knows', async t => {
  const { signedFetch } = await startGateway(t)
  await signedFetch(admin, 'PUT', '/bucket')
  await signedFetch(admin, 'PUT', '/bucket/key', { body: 'old' })
  for (const [method, target] of [
    ['PUT', '/bucket/key?novelty'],
    ['PUT', '/bucket/key?metadata'], // OBS
    ['PUT', '/bucket/key?renameObject'], // S3
    ['PUT', '/bucket/key?encryption'], // S3; a bucket has that too
    ['DELETE', '/bucket/key?annotation'],
    ['DELETE', '/bucket/key?policy'],
    ['DELETE', '/bucket?novelty'],
    ['DELETE', '/bucket?uploadId=1'],
  ] as const) {
    const reply = await signedFetch(admin, method, target)
    t.equal(`${reply.status} ${reply.code}`, '501 NotImplemented', `${method} ${target}`)
  }
  t.equal((await signedFetch(admin, 'GET', '/bucket/key?novelty')).text, 'old', 'reads may carry anything')
  t.equal((await signedFetch(admin, 'GET', '/bucket?prefix=&delimiter=')).status, 200)
  const put = await signedFetch(admin, 'PUT', '/bucket/key?x-id=PutObject&x-amz-novelty', { body: 'new' })
  t.equal(put.status, 200, 'as SDKs send it')
})
