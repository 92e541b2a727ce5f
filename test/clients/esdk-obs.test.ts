/**
 * OBS's own client, `esdk-obs-nodejs` of npm, against a running gateway, in each of its styles: OBS's headers and signature where the bucket stands
 * in the host; `x-amz-…` headers under Signature Version 2 where it stands in the path. Everything under SSE-KMS.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { connect as connectTo } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import ObsClient, { type ObsAnswer, type ObsUrl } from 'esdk-obs-nodejs'
import t, { type Test } from 'tap'
import type { GatewayOptions } from '../../lib/gateway/options.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { customerKey } from '../support/customer-key.ts'
import { admin, ordinary, region, startGateway } from '../support/gateway.ts'

const Bucket = 'photos'
const Key = 'cats/größe 😀+.jpg'
const arn = /^arn:aws:kms:sichuan:domain1:key\/[0-9a-f-]{36}$/
const body = randomBytes(250_001)
const KiB = 1024
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/** Finds every name on loopback: there is no DNS for a bucket's host. */
const agent = new Agent({
  lookup: (_host, { all }, done) =>
    all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4),
})

/** A style, and the words that the client is answered in. */
interface Style {
  readonly signature: 'obs' | 'v2'
  readonly kms: string
  readonly family: 'x-obs-' | 'x-amz-'
  /** Header of the key. */
  readonly keyId: string
}

const obsStyle: Style = {
  signature: 'obs',
  kms: 'kms',
  family: 'x-obs-',
  keyId: 'x-obs-server-side-encryption-kms-key-id',
}
const amzStyle: Style = {
  signature: 'v2',
  kms: 'aws:kms',
  family: 'x-amz-',
  keyId: 'x-amz-server-side-encryption-aws-kms-key-id',
}

const start = async (t: Test, { signature }: Style, options: Partial<GatewayOptions> = {}) => {
  let now: number | undefined
  const gateway = await startGateway(t, { hosts: ['obs.localhost'], clock: () => now ?? Date.now(), ...options })
  const [, port = ''] = gateway.host.split(':')
  const connect = async (who = admin) => {
    const client = new ObsClient({
      access_key_id: who.accessKeyId,
      secret_access_key: who.secretAccessKey,
      max_retry_count: 0,
      http_agent: agent,
      server: `http://${signature === 'obs' ? 'obs.localhost' : '127.0.0.1'}:${port}`,
      region,
    })
    await wait(0) // it makes itself ready after its constructor has returned
    return client
  }
  const at = (time: number): void => {
    now = time
  }
  return { gateway, connect, at, port: Number(port), folder: t.testdir() }
}

/** What a call answers, which must have gone well. */
const result = async (call: Promise<ObsAnswer>): Promise<Readonly<Record<string, unknown>>> => {
  const { CommonMsg, InterfaceResult } = await call
  if (CommonMsg.Status >= 300) throw new Error(`${CommonMsg.Status} ${CommonMsg.Code}: ${CommonMsg.Message}`)
  return InterfaceResult ?? {}
}

/** The bytes of what `getObject` answers with `SaveAsStream`. */
const contentOf = async ({ Content }: Readonly<Record<string, unknown>>): Promise<Buffer> => {
  if (!(Content instanceof Readable)) throw new TypeError('no stream')
  return buffer(Content)
}

const denied = { CommonMsg: { Status: 403, Code: 'AccessDenied', Message: /tenant_admin/ } }

/** Everything that the client has, in one of its styles. */
const course = async (t: Test, style: Style): Promise<void> => {
  const { signature, kms, family, keyId } = style
  const told = { SseKms: kms, SseKmsKey: arn }

  await t.test('put, get, ranges, copy, listing, delete', async t => {
    const { connect, gateway, folder } = await start(t, style)
    const obs = await connect()
    await result(obs.createBucket({ Bucket, Location: region }))
    t.match(await result(obs.listBuckets({})), { Buckets: [{ BucketName: Bucket }] })
    await result(obs.headBucket({ Bucket }))
    t.match(await result(obs.getBucketLocation({ Bucket })), { Location: region })

    const SourceFile = join(folder, 'cat.jpg')
    writeFileSync(SourceFile, body)
    let headers: IncomingHttpHeaders = {}
    const ResponseHook = (answer: { readonly headers: IncomingHttpHeaders }): void => {
      headers = answer.headers
    }
    const put = await result(
      obs.putObject({ Bucket, Key, SourceFile, SseKms: 'kms', Metadata: { a: 'b' }, ResponseHook }),
    )
    t.match(put, { ...told, ETag: /^"[0-9a-f]{32}-1"$/ }, 'a file, whose length it does not tell')
    t.match(headers, { [`${family}server-side-encryption`]: kms, [keyId]: arn })
    const others = Object.keys(headers).filter(name => /server-side/.test(name) && !name.startsWith(family))
    t.strictSame(others, [], 'in the words of one family alone')
    const { SseKmsKey } = put
    const named = { Bucket, Key: 'named', SseKms: 'kms', SseKmsKey, SseKmsProjectId: admin.projectId }
    t.match(await result(obs.putObject({ ...named, Body: 'text' })), { SseKms: kms, SseKmsKey })
    const wrong = await obs.putObject({ ...named, SseKmsProjectId: 'other', Body: 'text' })
    t.match(wrong, { CommonMsg: { Status: 400, Code: 'InvalidArgument', Message: /project/ } })
    t.match(await result(obs.getObjectMetadata({ Bucket, Key, ResponseHook })), {
      ...told,
      ContentLength: `${body.length}`,
      Metadata: { a: 'b' },
    })
    t.match(headers, { [keyId]: SseKmsKey })

    const whole = await result(obs.getObject({ Bucket, Key, SaveAsStream: true }))
    t.match(whole, { SseKms: kms, SseKmsKey, ETag: put['ETag'] })
    t.ok(same(await contentOf(whole), body))
    const range = await result(obs.getObject({ Bucket, Key, Range: 'bytes=65530-65600', SaveAsStream: true }))
    t.match(range, { SseKms: kms, ContentLength: '71' })
    t.ok(same(await contentOf(range), body.subarray(65_530, 65_601)))
    t.match(await result(obs.getObject({ Bucket, Key: 'named' })), { Content: 'text' })

    const copy = await result(obs.copyObject({ Bucket, Key: 'copy', CopySource: `${Bucket}/${Key}`, SseKms: 'kms' }))
    t.match(copy, { SseKms: kms, SseKmsKey })
    t.ok(same(await contentOf(await result(obs.getObject({ Bucket, Key: 'copy', SaveAsStream: true }))), body))
    t.match(await result(obs.listObjects({ Bucket, Delimiter: '/' })), {
      Contents: [{ Key: 'copy', Size: `${body.length}` }, { Key: 'named' }],
      CommonPrefixes: [{ Prefix: 'cats/' }],
    })
    t.match(await result(obs.listObjects({ Bucket, Prefix: 'cats/' })), { Contents: [{ Key, ETag: put['ETag'] }] })

    const user = await connect(ordinary)
    t.match(await user.putObject({ Bucket, Key: 'mine', Body: 'x', SseKms: 'kms' }), denied)
    t.match(await user.initiateMultipartUpload({ Bucket, Key: 'mine', SseKms: 'kms' }), denied)
    t.match(await user.copyObject({ Bucket, Key: 'mine', CopySource: `${Bucket}/${Key}`, SseKms: 'kms' }), denied)
    t.match(await user.getObject({ Bucket, Key }), denied)
    t.match(await user.getObjectMetadata({ Bucket, Key }), denied, 'though HEAD has no body to say it in')
    t.match(await obs.getObjectMetadata({ Bucket, Key: 'mine' }), { CommonMsg: { Status: 404, Code: 'NoSuchKey' } })
    t.match(await obs.getObject({ Bucket, Key: 'mine' }), { CommonMsg: { Status: 404, Code: 'NoSuchKey' } })

    const gone = await result(obs.deleteObjects({ Bucket, Quiet: false, Objects: [{ Key }, { Key: 'copy' }] }))
    t.match(gone, { Deleteds: [{ Key }, { Key: 'copy' }] })
    await result(obs.deleteObject({ Bucket, Key: 'named' }))
    await result(obs.deleteBucket({ Bucket }))
    const asked = gateway.log.filter(({ action }) => action === 'HeadApiVersion').length
    t.equal(asked > 0, signature === 'obs', 'it asks what is spoken here before it speaks so')
    obs.close()
    user.close()
  })

  await t.test('uploads in parts, by hand and of a file', async t => {
    const { connect, folder } = await start(t, style)
    const obs = await connect()
    await result(obs.createBucket({ Bucket }))
    const file = join(folder, 'large.bin')
    writeFileSync(file, body)
    const first = await result(obs.putObject({ Bucket, Key: 'source', SourceFile: file, SseKms: 'kms' }))
    const { SseKmsKey } = first
    const at = { Bucket, Key }
    const created = await result(obs.initiateMultipartUpload({ ...at, SseKms: 'kms', SseKmsKey }))
    t.match(created, { SseKms: kms, SseKmsKey })
    const { UploadId } = created
    const part = await result(
      obs.uploadPart({ ...at, UploadId, PartNumber: 1, SourceFile: file, Offset: 0, PartSize: 100 * KiB }),
    )
    t.match(part, { SseKms: kms, SseKmsKey })
    const CopySource = `${Bucket}/source`
    const copied = await result(
      obs.copyPart({
        ...at,
        UploadId,
        PartNumber: 2,
        CopySource,
        CopySourceRange: `bytes=${100 * KiB}-${200 * KiB - 1}`,
      }),
    )
    t.match(copied, { SseKms: kms, SseKmsKey })
    const rest = { PartNumber: 3, SourceFile: file, Offset: 200 * KiB, PartSize: body.length - 200 * KiB }
    const last = await result(obs.uploadPart({ ...at, UploadId, ...rest }))
    t.match(await result(obs.listMultipartUploads({ Bucket })), { Uploads: [{ Key, UploadId }] })
    t.match(await result(obs.listParts({ ...at, UploadId })), {
      Parts: [{ PartNumber: '1', Size: `${100 * KiB}` }, { PartNumber: '2' }, { PartNumber: '3', ETag: last['ETag'] }],
    })
    const Parts = [part, copied, last].map(({ ETag }, i) => ({ PartNumber: i + 1, ETag }))
    const done = await result(obs.completeMultipartUpload({ ...at, UploadId, Parts }))
    t.match(done, { SseKms: kms, SseKmsKey, ETag: /-3"$/ })
    const whole = await result(obs.getObject({ ...at, SaveAsStream: true }))
    t.match(whole, { SseKms: kms, SseKmsKey })
    t.ok(same(await contentOf(whole), body), 'of parts as small as OBS takes them')

    const small = await result(obs.initiateMultipartUpload({ ...at, SseKms: 'kms' }))
    const tiny = await result(obs.uploadPart({ ...at, UploadId: small['UploadId'], PartNumber: 1, Body: 'small' }))
    const end = await result(obs.uploadPart({ ...at, UploadId: small['UploadId'], PartNumber: 2, Body: 'end' }))
    const refused = await obs.completeMultipartUpload({
      ...at,
      UploadId: small['UploadId'],
      Parts: [tiny, end].map(({ ETag }, i) => ({ PartNumber: i + 1, ETag })),
    })
    t.match(refused, { CommonMsg: { Status: 400, Code: 'EntityTooSmall' } })
    await result(obs.abortMultipartUpload({ ...at, UploadId: small['UploadId'] }))

    const upload = { Bucket, UploadFile: file, PartSize: 100 * KiB, TaskNum: 3, SseKms: 'kms', SseKmsKey }
    t.match(await result(obs.uploadFile({ ...upload, Key: 'file' })), { SseKms: kms, SseKmsKey, ETag: /-3"$/ })
    const back = join(folder, 'back.bin')
    await result(obs.downloadFile({ Bucket, Key: 'file', DownloadFile: back, PartSize: 100 * KiB, TaskNum: 3 }))
    // The client calls back when the last answer has ended, with writes to its file still under way.
    for (let i = 0; i < 500 && !same(readFileSync(back), body); i++) await wait(10)
    t.ok(same(readFileSync(back), body), 'three ranges at once')
    const user = await connect(ordinary)
    const thrown: unknown = await user.uploadFile({ ...upload, Key: 'mine' }).catch((error: unknown) => error)
    t.match(thrown, /^AccessDenied:.*tenant_admin/)
    t.match(await result(obs.listMultipartUploads({ Bucket })), { Uploads: [] }, 'nothing is left')
  })

  await t.test('the default of the bucket, its policy, SSE-C', async t => {
    const { connect } = await start(t, style)
    const obs = await connect()
    await result(obs.createBucket({ Bucket }))
    const none = { CommonMsg: { Status: 404, Code: 'ServerSideEncryptionConfigurationNotFoundError' } }
    t.match(await obs.getBucketEncryption({ Bucket }), none)
    const rule = { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: kms } }
    await result(obs.setBucketEncryption({ Bucket, Rule: rule }))
    t.match(await result(obs.getBucketEncryption({ Bucket })), { Rule: rule })
    t.match(await result(obs.putObject({ Bucket, Key, Body: 'text' })), told)
    await result(obs.deleteBucketEncryption({ Bucket }))
    t.match(await obs.getBucketEncryption({ Bucket }), none)

    const Policy = JSON.stringify({
      Statement: [
        {
          Sid: 'DenyUnEncryptedObjectUploads',
          Effect: 'Deny',
          Principal: { ID: '*' },
          Action: ['PutObject'],
          Resource: [`${Bucket}/*`],
          Condition: { StringNotEquals: { 'x-obs-server-side-encryption': 'kms' } },
        },
      ],
    })
    await result(obs.setBucketPolicy({ Bucket, Policy }))
    t.match(await result(obs.getBucketPolicy({ Bucket })), { Policy })
    const plain = await obs.putObject({ Bucket, Key, Body: 'text' })
    t.match(plain, { CommonMsg: { Status: 403, Code: 'AccessDenied' } })
    t.match(await result(obs.putObject({ Bucket, Key, Body: 'text', SseKms: 'kms' })), told)
    await result(obs.deleteBucketPolicy({ Bucket }))
    t.notMatch(await result(obs.putObject({ Bucket, Key, Body: 'text' })), { SseKms: String })

    // It takes the key as text, and encodes it itself.
    const { bytes, md5 } = customerKey(Buffer.from('0123456789abcdef0123456789ABCDEF'))
    const own = { SseC: 'AES256', SseCKey: bytes.toString() }
    t.match(await result(obs.putObject({ Bucket, Key: 'own', Body: 'text', ...own })), {
      SseC: 'AES256',
      SseCKeyMd5: md5,
    })
    t.match(await result(obs.getObject({ Bucket, Key: 'own', ...own })), { Content: 'text', SseCKeyMd5: md5 })
    t.match(await obs.getObject({ Bucket, Key: 'own' }), { CommonMsg: { Status: 400, Code: 'InvalidRequest' } })
  })

  await t.test("the block and the policy's status, by OBS's client", async t => {
    const { connect } = await start(t, style)
    const obs = await connect()
    await result(obs.createBucket({ Bucket }))
    const none = { CommonMsg: { Status: 404, Code: 'NoSuchPublicAccessBlockConfiguration' } }
    t.match(await obs.getBucketPublicAccessBlock({ Bucket }), none)
    await result(obs.putBucketPublicAccessBlock({ Bucket, BlockPublicAcls: true, BlockPublicPolicy: false }))
    const kept = { BlockPublicAcls: 'true', BlockPublicPolicy: 'false', IgnorePublicAcls: 'false' }
    t.match(await result(obs.getBucketPublicAccessBlock({ Bucket })), kept)
    const open = await obs.setBucketAcl({ Bucket, ACL: 'public-read' })
    t.match(open, { CommonMsg: { Status: 403, Code: 'AccessDenied' } })
    await result(obs.deleteBucketPublicAccessBlock({ Bucket }))
    await result(obs.setBucketAcl({ Bucket, ACL: 'public-read' }))
    const read = { Effect: 'Allow', Principal: { ID: '*' }, Action: ['GetObject'], Resource: [`${Bucket}/*`] }
    await result(obs.setBucketPolicy({ Bucket, Policy: JSON.stringify({ Statement: [read] }) }))
    t.match(await result(obs.getBucketPolicyPublicStatus({ Bucket })), { IsPublic: 'true' })
  })

  await t.test('URLs and forms that it signs', async t => {
    const { connect, at, port } = await start(t, style)
    const obs = await connect()
    await result(obs.createBucket({ Bucket }))
    /** Sends what was signed, as the client says that it must be sent. */
    const send = async (
      { SignedUrl, ActualSignedRequestHeaders }: ObsUrl,
      method = 'GET',
      more: Readonly<Record<string, string>> = {},
      content?: Uint8Array,
    ) => {
      const { pathname, search } = new URL(SignedUrl)
      const headers = { ...ActualSignedRequestHeaders, ...more }
      const req = request({ host: '127.0.0.1', port, method, path: `${pathname}${search}`, headers })
      req.end(content)
      const answer = await new Promise<Readable & { statusCode?: number; headers: IncomingHttpHeaders }>(
        (resolve, reject) => {
          req.once('response', resolve)
          req.once('error', reject)
        },
      )
      return { status: answer.statusCode, headers: answer.headers, body: await buffer(answer) }
    }
    const sse = { [`${family}server-side-encryption`]: kms }
    const user = await connect(ordinary)
    type Sign = 'createSignedUrlSync' | 'createV4SignedUrlSync'
    const urls: readonly Sign[] =
      signature === 'obs' ? ['createSignedUrlSync'] : ['createSignedUrlSync', 'createV4SignedUrlSync']
    for (const sign of urls) {
      const putUrl = obs[sign]({ Method: 'PUT', Bucket, Key, Expires: 60, Headers: sse })
      const put = await send(putUrl, 'PUT', {}, body)
      t.match(put, { status: 200, headers: { ...sse, [keyId]: arn } }, put.body.toString())
      const bare = { ...putUrl, ActualSignedRequestHeaders: { Host: putUrl.ActualSignedRequestHeaders['Host'] ?? '' } }
      t.match(await send(bare, 'PUT', {}, body), { status: 403 }, 'the header is part of what was signed')
      const getUrl = obs[sign]({ Method: 'GET', Bucket, Key, Expires: 60 })
      const got = await send(getUrl)
      t.match(got, { status: 200, headers: { ...sse, [keyId]: put.headers[keyId] } })
      t.ok(same(got.body, body))
      const range = await send(getUrl, 'GET', { range: 'bytes=65530-65600' })
      t.match(range, { status: 206, headers: sse })
      t.ok(same(range.body, body.subarray(65_530, 65_601)))
      const refused = await send(user[sign]({ Method: 'GET', Bucket, Key, Expires: 60 }))
      t.match(refused.body.toString(), /<Code>AccessDenied<.*tenant_admin/)
      at(Date.now() + 61_000)
      t.match((await send(getUrl)).body.toString(), /<Code>AccessDenied<.*expired/i)
      at(Date.now())
    }

    const fields = { ...sse, 'content-type': 'text/plain', success_action_status: '201' }
    const asked = { Bucket, Key: 'form', Expires: 60, FormParams: fields }
    const signed = obs.createPostSignatureSync(asked)
    const v4 = obs.createV4PostSignatureSync(asked)
    const forms: readonly Readonly<Record<string, string>>[] =
      signature === 'obs'
        ? [
            { token: signed.Token },
            { AccessKeyId: admin.accessKeyId, signature: signed.Signature, policy: signed.Policy },
          ]
        : [
            { AWSAccessKeyId: admin.accessKeyId, signature: signed.Signature, policy: signed.Policy },
            {
              'x-amz-algorithm': v4.Algorithm,
              'x-amz-credential': v4.Credential,
              'x-amz-date': v4.Date,
              'x-amz-signature': v4.Signature,
              policy: v4.Policy,
            },
          ]
    for (const credentials of forms) {
      const form = new FormData()
      for (const [name, value] of Object.entries({ key: 'form', ...fields, ...credentials })) form.append(name, value)
      form.append('file', new Blob([new Uint8Array(body)]), 'cat.jpg')
      const posted = await fetch(`http://127.0.0.1:${port}/${Bucket}`, { method: 'POST', body: form })
      t.equal(posted.status, 201, await posted.text())
      t.match(Object.fromEntries(posted.headers), { ...sse, [keyId]: arn })
      t.ok(same(await contentOf(await result(obs.getObject({ Bucket, Key: 'form', SaveAsStream: true }))), body))
      await result(obs.deleteObject({ Bucket, Key: 'form' }))
    }
  })
}

t.test("the bucket in the host: OBS's headers and signature", t => course(t, obsStyle))

t.test('the bucket in the path: x-amz headers under Signature Version 2', t => course(t, amzStyle))

for (const SseKms of ['kms', undefined]) {
  t.test(`a stream that breaks off leaves the old object, ${SseKms ?? 'not encrypted'}`, async t => {
    const { connect, gateway } = await start(t, obsStyle)
    const obs = await connect()
    await result(obs.createBucket({ Bucket }))
    await result(obs.putObject({ Bucket, Key, Body: 'old', SseKms }))
    const broken = async function* () {
      yield body
      await wait(50)
      throw new Error('the disk is gone')
    }
    const Body = Readable.from(broken(), { objectMode: false })
    await t.rejects(obs.putObject({ Bucket, Key, Body, SseKms }), /the disk is gone/)
    while (gateway.log.filter(({ action }) => action === 'PutObject').length < 2) await wait(10)
    t.match(await result(obs.getObject({ Bucket, Key })), { Content: 'old' })
    const whole = Readable.from([body, body], { objectMode: false })
    await result(obs.putObject({ Bucket, Key, Body: whole, SseKms }))
    const got = await contentOf(await result(obs.getObject({ Bucket, Key, SaveAsStream: true })))
    t.ok(same(got, Buffer.concat([body, body])), 'and one that ends is stored')
  })
}

t.test('under the rules of Amazon a body tells its length, and parts have 5 MiB', async t => {
  const { connect, folder, port } = await start(t, amzStyle, { profile: createProfile('s3', { region }) })
  const obs = await connect()
  await result(obs.createBucket({ Bucket }))
  const SourceFile = join(folder, 'cat.jpg')
  writeFileSync(SourceFile, body)
  const untold = await obs.putObject({ Bucket, Key, SourceFile })
  t.match(untold, { CommonMsg: { Status: 411, Code: 'MissingContentLength' } })
  await result(obs.putObject({ Bucket, Key, SourceFile, ContentLength: body.length }))
  const { SignedUrl } = obs.createSignedUrlSync({ Method: 'PUT', Bucket, Key, Expires: 60 })
  const { pathname, search } = new URL(SignedUrl)
  const socket = connectTo(port, '127.0.0.1')
  socket.write(`PUT ${pathname}${search} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`)
  t.match((await buffer(socket)).toString(), /^HTTP\/1\.1 411 /, 'nor may nothing at all be told')
  const parts = { Bucket, Key: 'parts', UploadFile: SourceFile, PartSize: 100 * KiB }
  t.match(await obs.uploadFile(parts).catch((error: unknown) => error), /^EntityTooSmall/)
  t.match(await obs.putObject({ Bucket, Key, Body: 'text', SseKms: 'kms' }), {
    CommonMsg: { Status: 400, Code: 'InvalidArgument', Message: /Signature Version 4/ },
  })
})
