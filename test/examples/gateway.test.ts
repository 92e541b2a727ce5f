/** The whole gateway in a server of one's own, and the AWS SDK as its client. */
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { join } from 'node:path'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import t from 'tap'
import { createSse, LocalKms } from '../../lib/index.ts'
import { authenticateStore, createGateway } from '../../lib/gateway.ts'
import { createProfile } from '../../lib/rules.ts'
import { openFileStore } from '../../lib/store.ts'

process.env['DATA'] = t.testdir()
process.env['ALICE_SECRET'] = 'correct horse battery staple'
// #region gateway
const data = process.env['DATA'] ?? './data'
const secretAccessKey = process.env['ALICE_SECRET'] ?? ''
const kms = await LocalKms.open(join(data, 'keys'), { root: { file: join(data, 'root.key'), create: true } })
const sse = createSse({ kms, accept: [] }) // the gateway names the accepted keys at every call
const region = 'sichuan'
// The index decides who may do what: its rows lie under a MAC.
const store = await authenticateStore(await openFileStore(join(data, 'objects')), { kms, sse, region })
const tenant = { domainId: 'my-tenant', projectId: 'my-project' }
const alice = { ...tenant, name: 'alice', accessKeyId: 'ALICE', secretAccessKey, roles: ['tenant_admin'] }

const handler = createGateway({
  store,
  kms,
  sse,
  profile: createProfile('obs', { region }),
  tenants: [tenant],
  users: [alice],
})
const server = createServer(handler).on('checkContinue', handler).on('clientError', handler.clientError)
server.listen(Number(process.env['PORT'] ?? 0), '127.0.0.1')

const stop = async () => {
  server.close() // lets the requests under way end
  await once(server, 'close')
  await store.close()
  sse.dispose() // wipes its bucket keys
  kms.close()
}
process.once('SIGTERM', stop)
// #endregion gateway

t.test('the AWS SDK puts and gets, and nobody is asked for a body in vain', async t => {
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const s3 = new S3Client({
    endpoint: `http://127.0.0.1:${port}`,
    region: 'sichuan',
    forcePathStyle: true,
    credentials: { accessKeyId: 'ALICE', secretAccessKey },
  })
  t.teardown(async () => {
    s3.destroy()
    process.off('SIGTERM', stop)
    await stop()
  })
  const name = { Bucket: 'photos', Key: 'cat.txt' }
  await s3.send(new CreateBucketCommand({ Bucket: 'photos' }))
  const put = await s3.send(new PutObjectCommand({ ...name, Body: 'meow', ServerSideEncryption: 'aws:kms' }))
  t.match(put, { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: /^arn:aws:kms:sichuan:my-tenant:key\// })
  // A body is asked for after the decision: this request is not signed.
  const headers = { expect: '100-continue', 'content-length': 4 }
  const asking = request(`http://127.0.0.1:${port}/photos/dog.txt`, { method: 'PUT', headers }).on('continue', () =>
    t.fail('the body was asked for'),
  )
  asking.flushHeaders()
  const [answer]: { statusCode?: number }[] = await once(asking, 'response')
  t.equal(answer?.statusCode, 403)
  asking.destroy()
  const get = await s3.send(new GetObjectCommand(name))
  t.equal(await get.Body?.transformToString(), 'meow')
})
