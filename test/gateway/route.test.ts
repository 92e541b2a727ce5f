// From requests to actions: every operation that clients of S3 and OBS have is the one that is done, or is refused by its name.
import { S3Client } from '@aws-sdk/client-s3'
import t from 'tap'
import { actions } from '../../lib/gateway/actions/index.ts'
import { notBuiltOperations } from '../../lib/gateway/http/not-built.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, region, startGateway } from '../support/gateway.ts'
import { obsOperations, s3Commands, s3Operations } from '../support/operations.ts'

/** The names that OBS has for what S3 calls otherwise. */
const obsNames = new Map([
  ['GetBucketMetadata', 'HeadBucket'],
  ['GetBucketVersioningConfiguration', 'GetBucketVersioning'],
  ['SetBucketVersioningConfiguration', 'PutBucketVersioning'],
  ['GetObjectMetadata', 'HeadObject'],
  ['ListVersions', 'ListObjectVersions'],
  ['InitiateMultipartUpload', 'CreateMultipartUpload'],
  ['CopyPart', 'UploadPartCopy'],
  ['GetBucketPublicAccessBlock', 'GetPublicAccessBlock'],
  ['PutBucketPublicAccessBlock', 'PutPublicAccessBlock'],
  ['DeleteBucketPublicAccessBlock', 'DeletePublicAccessBlock'],
  ['GetBucketPolicyPublicStatus', 'GetBucketPolicyStatus'],
])

t.test('every operation of S3 and OBS is built, or refused by its name', async t => {
  const operations = [...(await s3Operations()), ...obsOperations()]
  t.ok(operations.filter(({ of }) => of === 'S3').length > 100)
  t.ok(operations.filter(({ of }) => of === 'OBS').length > 70)
  const shared = new Set(operations.flatMap(({ of, sub }) => (of === 'S3' && sub !== undefined ? [sub] : [])))
  for (const { operation, of, action, code, sub = '', named } of operations) {
    const name = of === 'S3' ? operation : (obsNames.get(operation) ?? operation.replace(/^Set/, 'Put'))
    if (operation.startsWith('Options')) t.equal(code, 'MethodNotAllowed', operation)
    else if (action !== undefined) t.equal(action, name, `${of}: ${operation}`)
    // What both have goes by S3's name.
    else if (of === 'OBS' && shared.has(sub)) t.match({ code, named }, { code: 'NotImplemented', named: /^[A-Z]/ })
    else t.strictSame({ code, named }, { code: 'NotImplemented', named: operation }, `${of}: ${operation}`)
  }
  t.strictSame(
    notBuiltOperations.filter(name => name in actions),
    [],
    'what is built is not said to be missing',
  )
})

t.test("Amazon's SDK: every operation that is not built is refused by its name, and nothing else is done", async t => {
  const gateway = await startGateway(t, { profile: createProfile('s3', { region }) })
  await gateway.signedFetch(admin, 'PUT', '/bucket')
  await gateway.signedFetch(admin, 'PUT', '/bucket/key', { body: 'old' })
  const client = new S3Client({
    ...{ endpoint: gateway.url, region, forcePathStyle: true, credentials: admin, maxAttempts: 1 },
    // What goes to hosts of its own comes here too.
    ...{ disableHostPrefix: true, disableS3ExpressSessionAuth: true },
  })
  t.teardown(() => client.destroy())
  const missing = [...s3Commands()].filter(([operation]) => !(operation in actions))
  t.ok(missing.length > 50)
  for (const [operation, command] of missing) {
    await t.rejects(
      client.send(command),
      {
        name: 'NotImplemented',
        message: new RegExp(`^${operation} is not implemented here\\. `),
        $metadata: { httpStatusCode: 501 },
      },
      operation,
    )
  }
  t.equal((await gateway.signedFetch(admin, 'GET', '/bucket/key')).text, 'old')
})

t.test('a write with a sub-resource that nobody knows', async t => {
  const { signedFetch } = await startGateway(t)
  await signedFetch(admin, 'PUT', '/bucket')
  await signedFetch(admin, 'PUT', '/bucket/key', { body: 'old' })
  for (const [method, target] of [
    ['PUT', '/bucket/key?novelty'],
    ['PUT', '/bucket/key?metadata'], // OBS
    ['PUT', '/bucket/key?renameObject'], // S3
    ['DELETE', '/bucket/key?annotation'],
    ['DELETE', '/bucket/key?policy'],
    ['DELETE', '/bucket?novelty'],
    ['DELETE', '/bucket?uploadId=1'],
    ['PUT', '/bucket/key?retention&versionId=1'],
    ['PUT', '/bucket/key?x-id=ReplaceObject'],
    ['GET', '/bucket?x-id=ListNovelties'],
  ] as const) {
    const reply = await signedFetch(admin, method, target)
    t.equal(`${reply.status} ${reply.code}`, '501 NotImplemented', `${method} ${target}`)
  }
  t.equal((await signedFetch(admin, 'GET', '/bucket/key?novelty')).text, 'old', 'reads may carry anything')
  t.equal((await signedFetch(admin, 'GET', '/bucket?prefix=&delimiter=')).status, 200)
  const put = await signedFetch(admin, 'PUT', '/bucket/key?x-id=PutObject&x-amz-novelty', { body: 'new' })
  t.equal(put.status, 200, 'as SDKs send it')
})

t.test('a write whose headers ask for what is not built is refused, and nothing is written', async t => {
  const { signedFetch } = await startGateway(t, { profile: createProfile('s3', { region }) })
  await signedFetch(admin, 'PUT', '/bucket', { headers: { 'x-amz-acl': 'public-read-write' } })
  await signedFetch(admin, 'PUT', '/bucket/key', { body: 'old' })
  for (const [name, value] of [
    ['x-amz-object-lock-mode', 'COMPLIANCE'],
    ['x-amz-object-lock-retain-until-date', '2030-01-01T00:00:00Z'],
    ['x-amz-object-lock-legal-hold', 'ON'],
    ['x-obs-object-lock-mode', 'COMPLIANCE'],
    ['x-amz-website-redirect-location', '/elsewhere'],
    ['x-obs-website-redirect-location', '/elsewhere'],
    ['x-amz-write-offset-bytes', '3'],
    ['x-obs-expires', '3'],
  ] as const) {
    const form =
      `--b\r\ncontent-disposition: form-data; name="key"\r\n\r\nkey\r\n` +
      `--b\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n` +
      `--b\r\ncontent-disposition: form-data; name="file"\r\n\r\nnew\r\n--b--\r\n`
    const headers = { [name]: value }
    for (const [what, reply] of [
      ['PUT', await signedFetch(admin, 'PUT', '/bucket/key', { headers, body: 'new' })],
      [
        'copy',
        await signedFetch(admin, 'PUT', '/bucket/copy', { headers: { ...headers, 'x-amz-copy-source': 'bucket/key' } }),
      ],
      ['Initiate', await signedFetch(admin, 'POST', '/bucket/key?uploads', { headers })],
      [
        'form',
        await signedFetch(undefined, 'POST', '/bucket', {
          headers: { 'content-type': 'multipart/form-data; boundary=b' },
          body: form,
        }),
      ],
    ] as const) {
      t.equal(`${reply.status} ${reply.code}`, '501 NotImplemented', `${what}: ${name}`)
      t.match(reply.text, `<Header>${name}</Header>`)
    }
  }
  t.equal((await signedFetch(admin, 'GET', '/bucket/key')).text, 'old')
  t.equal((await signedFetch(admin, 'GET', '/bucket/copy')).code, 'NoSuchKey')
})
