/**
 * Rights to master keys through the gateway: every action of SSE-KMS by every set of rights, whatever is in memory; what grants do not touch;
 * what the audit is told.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListPartsCommand,
  PutBucketEncryptionCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import t, { type Test } from 'tap'
import type { GatewayUser, KeyUseEntry } from '../../lib/gateway/options.ts'
import { guarded } from '../../lib/kms/decorators/guarded.ts'
import { registered } from '../../lib/kms/registered.ts'
import { memoryKms } from '../../lib/kms/testing/memory.ts'
import { createSse } from '../../lib/object/node.ts'
import type { GrantableRight, KeyGrant } from '../../lib/sse/grants.ts'
import { createProfile, tenantAdmin } from '../../lib/sse/profile.ts'
import { admin, ordinary, region, startGateway, stranger, type TestGateway } from '../support/gateway.ts'

const Bucket = 'photos'
const domainId = admin.domainId
const everything: readonly GrantableRight[] = [
  'kms:GenerateDataKey',
  'kms:Decrypt',
  'kms:ReEncrypt*',
  'kms:DescribeKey',
]

const user = (name: string, roles: readonly string[] = []): GatewayUser => ({
  ...ordinary,
  name,
  roles,
  accessKeyId: `AK${name}`,
})
const writer = user('writer')
const reader = user('reader')
const both = user('both')
const others = user('others')
const nobody = user('nobody', [tenantAdmin])
const users = [admin, stranger, writer, reader, both, others, nobody]

const rightsOf = new Map<GatewayUser, readonly GrantableRight[]>([
  [admin, everything],
  [writer, ['kms:GenerateDataKey']],
  [reader, ['kms:Decrypt']],
  [both, ['kms:GenerateDataKey', 'kms:Decrypt']],
  [others, ['kms:ReEncrypt*', 'kms:DescribeKey']],
  [nobody, []],
])
const grants: readonly KeyGrant[] = [...rightsOf].map(([{ accessKeyId }, rights]) => {
  return { domainId, users: [accessKeyId], rights }
})

const kms = { ServerSideEncryption: 'aws:kms' } as const
const named = (Key: string) => ({ Bucket, Key })
const part = new Uint8Array(5 * 1024)

/** An upload that is open, with a part. */
const begin = async (s3: S3Client, sent: object) => {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...named('parts'), ...sent }))
  const upload = { ...named('parts'), UploadId }
  const { ETag } = await s3.send(new UploadPartCommand({ ...upload, PartNumber: 1, Body: part }))
  return { upload, Parts: [{ PartNumber: 1, ETag }] }
}

const postForm = async ({ url }: TestGateway, s3: S3Client): Promise<void> => {
  const Fields = { 'x-amz-server-side-encryption': 'aws:kms' }
  const Conditions = Object.entries(Fields).map(([name, value]) => ({ [name]: value }))
  const { fields } = await createPresignedPost(s3, { ...named('form'), Fields, Conditions })
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.set(name, value)
  form.set('file', new Blob(['from a form']))
  const answer = await fetch(`${url}/${Bucket}`, { method: 'POST', body: form })
  if (answer.status === 204) return
  const text = await answer.text()
  const of = (name: string) => new RegExp(`<${name}>(.*?)</${name}>`).exec(text)?.[1]
  throw Object.assign(new Error(of('Message')), { name: of('Code'), $metadata: { httpStatusCode: answer.status } })
}

/** An action of SSE-KMS: the rights that it takes, what goes before it, and the action itself. */
interface Action {
  readonly rights: readonly GrantableRight[]
  /** By the administrator, each time. */
  prepare?(s3: S3Client, sent: object): Promise<Awaited<ReturnType<typeof begin>>>
  run(s3: S3Client, sent: object, upload: Awaited<ReturnType<typeof begin>>, gateway: TestGateway): Promise<unknown>
}

const generate = ['kms:GenerateDataKey'] as const
const decrypt = ['kms:Decrypt'] as const
const body = { Body: 'hello' }

const actions: Readonly<Record<string, Action>> = {
  PutObject: {
    rights: generate,
    run: (s3, sent) => s3.send(new PutObjectCommand({ ...named('put'), ...body, ...sent })),
  },
  'PostObject, a form': { rights: generate, run: (s3, _sent, _upload, gateway) => postForm(gateway, s3) },
  'PutObject by the default of the bucket': {
    rights: generate,
    run: s3 => s3.send(new PutObjectCommand({ Bucket: 'defaults', Key: 'put', ...body })),
  },
  GetObject: {
    rights: decrypt,
    run: async s3 => (await s3.send(new GetObjectCommand(named('sealed')))).Body?.transformToString(),
  },
  'GetObject, a range': {
    rights: decrypt,
    run: async s3 =>
      (await s3.send(new GetObjectCommand({ ...named('sealed'), Range: 'bytes=1-2' }))).Body?.transformToString(),
  },
  HeadObject: { rights: decrypt, run: s3 => s3.send(new HeadObjectCommand(named('sealed'))) },
  GetObjectAttributes: {
    rights: decrypt,
    run: s3 => s3.send(new GetObjectAttributesCommand({ ...named('sealed'), ObjectAttributes: ['ObjectSize'] })),
  },
  'CopyObject to SSE-KMS': {
    rights: generate,
    run: (s3, sent) => s3.send(new CopyObjectCommand({ ...named('copy'), CopySource: `${Bucket}/plain`, ...sent })),
  },
  'CopyObject from SSE-KMS': {
    rights: decrypt,
    run: s3 => s3.send(new CopyObjectCommand({ ...named('copy'), CopySource: `${Bucket}/sealed` })),
  },
  'CopyObject within SSE-KMS, a rewrap': {
    rights: [...generate, ...decrypt],
    run: (s3, sent) => s3.send(new CopyObjectCommand({ ...named('copy'), CopySource: `${Bucket}/sealed`, ...sent })),
  },
  'CopyObject onto itself': {
    rights: [...generate, ...decrypt],
    run: (s3, sent) => s3.send(new CopyObjectCommand({ ...named('sealed'), CopySource: `${Bucket}/sealed`, ...sent })),
  },
  CreateMultipartUpload: {
    rights: generate,
    run: (s3, sent) => s3.send(new CreateMultipartUploadCommand({ ...named('parts'), ...sent })),
  },
  UploadPart: {
    rights: decrypt,
    prepare: begin,
    run: (s3, _sent, { upload }) => s3.send(new UploadPartCommand({ ...upload, PartNumber: 2, Body: part })),
  },
  'UploadPartCopy from a plain object': {
    rights: decrypt,
    prepare: begin,
    run: (s3, _sent, { upload }) =>
      s3.send(new UploadPartCopyCommand({ ...upload, PartNumber: 2, CopySource: `${Bucket}/plain` })),
  },
  'UploadPartCopy from SSE-KMS into a plain upload': {
    rights: decrypt,
    prepare: s3 => begin(s3, {}),
    run: (s3, _sent, { upload }) =>
      s3.send(new UploadPartCopyCommand({ ...upload, PartNumber: 2, CopySource: `${Bucket}/sealed` })),
  },
  ListParts: {
    rights: decrypt,
    prepare: begin,
    run: (s3, _sent, { upload }) => s3.send(new ListPartsCommand(upload)),
  },
  CompleteMultipartUpload: {
    rights: decrypt,
    prepare: begin,
    run: (s3, _sent, { upload, Parts }) =>
      s3.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } })),
  },
  'AbortMultipartUpload and DeleteObject, which use no key': {
    rights: [],
    prepare: begin,
    run: async (s3, _sent, { upload }) => {
      await s3.send(new AbortMultipartUploadCommand(upload))
      await s3.send(new DeleteObjectCommand(named('copy')))
    },
  },
}

const none = { upload: { ...named('none'), UploadId: '' }, Parts: [] }

/** Objects and a default of a bucket, written by the administrator. */
const fill = async (gateway: TestGateway, sent: object) => {
  const s3 = gateway.client(admin)
  for (const name of [Bucket, 'defaults']) await s3.send(new CreateBucketCommand({ Bucket: name }))
  const Rules = [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' as const } }]
  await s3.send(new PutBucketEncryptionCommand({ Bucket: 'defaults', ServerSideEncryptionConfiguration: { Rules } }))
  await s3.send(new PutObjectCommand({ ...named('plain'), ...body }))
  const { SSEKMSKeyId = '' } = await s3.send(new PutObjectCommand({ ...named('sealed'), ...body, ...sent }))
  await s3.send(new GetObjectCommand(named('sealed')))
  return { s3, arn: SSEKMSKeyId }
}

/** What is in memory when an action comes. */
interface Way {
  readonly sent: object
  readonly profiles: readonly ('s3' | 'obs')[]
  start(t: Test, more: object): Promise<TestGateway>
}

const ways: Readonly<Record<string, Way>> = {
  'nothing in memory': { sent: kms, profiles: ['s3', 'obs'], start: (t, more) => startGateway(t, more) },
  'a bucket key in memory': {
    sent: { ...kms, BucketKeyEnabled: true },
    profiles: ['s3'],
    start: (t, more) => startGateway(t, more),
  },
  'a data key in memory': {
    sent: kms,
    profiles: ['s3'],
    start: (t, more) => {
      const memory = guarded(memoryKms())
      const rows = new Map<string, string>()
      const register = {
        claim: async (name: string, value: string) => rows.get(name) ?? (rows.set(name, value), value),
        claims: async () => rows,
      }
      return startGateway(t, {
        ...more,
        kms: registered(memory, { register }),
        sse: createSse({ kms: memory, accept: [] }),
      })
    },
  },
}

t.test('each action takes its rights', async t => {
  for (const [way, { sent, profiles, start }] of Object.entries(ways)) {
    for (const profile of profiles) {
      await t.test(`${profile}, ${way}`, async t => {
        const uses: KeyUseEntry[] = []
        const gateway = await start(t, {
          profile: createProfile(profile, { region, baseEncryption: 'none' }),
          users,
          keyGrants: grants,
          audit: (use: KeyUseEntry) => uses.push(use),
        })
        const { s3: owner, arn } = await fill(gateway, sent)
        t.match(arn, /^arn:aws:kms:sichuan:domain1:key\//)
        for (const [who, rights] of rightsOf) {
          const s3 = gateway.client(who)
          for (const [name, { rights: needed, prepare, run }] of Object.entries(actions)) {
            const label = `${who.name}: ${name}`
            const upload = (await prepare?.(owner, sent)) ?? none
            uses.length = 0
            const missing = needed.filter(right => !rights.includes(right))
            if (missing.length === 0) {
              await t.resolves(run(s3, sent, upload, gateway), label)
              t.notOk(uses.some(use => use.missing !== undefined))
              continue
            }
            const error: unknown = await run(s3, sent, upload, gateway).catch((thrown: unknown) => thrown)
            t.match(error, { $metadata: { httpStatusCode: 403 } }, label)
            const [first] = missing
            if (name !== 'HeadObject') {
              const resource = first === 'kms:GenerateDataKey' ? 'the default key' : arn
              t.match(error, {
                name: 'AccessDenied',
                message: `User: ${who.name} is not authorized to perform: ${first}`,
              })
              t.match(error, { message: `on resource: ${resource} because no grant` })
            }
            t.match(
              uses.map(({ outcome, missing, accessKeyId }) => ({ outcome, missing, accessKeyId })),
              [{ outcome: 'KeyAccessDenied', missing: first, accessKeyId: who.accessKeyId }],
              'no key was used, and one line says so',
            )
            t.equal(uses.length, 1)
          }
        }
        const log = gateway.log.filter(({ error }) => error?.code === 'KeyAccessDenied')
        t.ok(log.length > 0 && log.every(({ status }) => status === 403))
      })
    }
  }
})

t.test('rights to one key are none to another: by ARN, id and alias', async t => {
  const keyGrants: KeyGrant[] = [{ domainId, users: [admin.accessKeyId], rights: everything }]
  const gateway = await startGateway(t, { profile: createProfile('s3', { region }), users })
  const made = await gateway.kms.createKey({ region, domainId, alias: 'photos' })
  const other = await gateway.kms.createKey({ region, domainId, alias: 'films' })
  const id = made.keyId.slice(made.keyId.lastIndexOf('/') + 1)
  const rights = ['kms:GenerateDataKey', 'kms:Decrypt'] as const
  keyGrants.push(
    { domainId, users: [both.accessKeyId], keys: [made.keyId], rights },
    { domainId, users: [writer.accessKeyId], keys: [id], rights },
    { domainId, users: [reader.accessKeyId], keys: ['alias/photos'], rights },
    { domainId, roles: [tenantAdmin], keys: ['alias/obs/default'], rights },
  )
  const uses: KeyUseEntry[] = []
  const strict = await startGateway(t, {
    profile: createProfile('s3', { region }),
    users,
    store: gateway.store,
    kms: gateway.kms,
    sse: createSse({ kms: gateway.kms, accept: [] }),
    keyGrants,
    audit: use => uses.push(use),
  })
  const owner = strict.client(admin)
  await owner.send(new CreateBucketCommand({ Bucket }))
  for (const { keyId, aliases } of [made, other]) {
    await owner.send(new PutObjectCommand({ ...named(aliases[0] ?? ''), ...body, ...kms, SSEKMSKeyId: keyId }))
  }
  await owner.send(new PutObjectCommand({ ...named('default'), ...body, ...kms }))
  for (const who of [both, writer, reader]) {
    const s3 = strict.client(who)
    for (const SSEKMSKeyId of [made.keyId, id, 'alias/photos']) {
      await t.resolves(s3.send(new PutObjectCommand({ ...named(who.name), ...body, ...kms, SSEKMSKeyId })), who.name)
    }
    await t.resolves(s3.send(new GetObjectCommand(named('photos'))))
    const denied = (right: string, key: string) => ({
      name: 'AccessDenied',
      message: `User: ${who.name} is not authorized to perform: ${right} on resource: ${key} because`,
    })
    for (const SSEKMSKeyId of [other.keyId, 'alias/films']) {
      const put = new PutObjectCommand({ ...named(who.name), ...body, ...kms, SSEKMSKeyId })
      await t.rejects(s3.send(put), denied('kms:GenerateDataKey', other.keyId))
    }
    uses.length = 0
    await t.rejects(s3.send(new GetObjectCommand(named('films'))), denied('kms:Decrypt', other.keyId))
    t.match(uses, [{ keyId: other.keyId, missing: 'kms:Decrypt', operation: 'unwrap', key: 'films', cached: false }])
    await t.rejects(s3.send(new PutObjectCommand({ ...named(who.name), ...body, ...kms })), { name: 'AccessDenied' })
    const copy = new CopyObjectCommand({ ...named('copy'), CopySource: `${Bucket}/films`, ...kms, SSEKMSKeyId: id })
    await t.rejects(s3.send(copy), denied('kms:Decrypt', other.keyId), "the source's key")
  }
  const role = strict.client(nobody)
  await t.resolves(role.send(new GetObjectCommand(named('default'))), 'a role, and the alias of the default key')
  await t.rejects(role.send(new GetObjectCommand(named('photos'))), { name: 'AccessDenied' })

  // An alias that goes away takes the right along.
  await gateway.kms.deleteAlias({ region, domainId }, 'photos')
  await t.rejects(strict.client(reader).send(new GetObjectCommand(named('photos'))), { name: 'AccessDenied' })
  await t.resolves(strict.client(both).send(new GetObjectCommand(named('photos'))))
})

t.test('a default key is not made for somebody who may not use it', async t => {
  const gateway = await startGateway(t, { users, keyGrants: grants })
  await gateway.client(admin).send(new CreateBucketCommand({ Bucket }))
  const put = new PutObjectCommand({ ...named('a'), ...body, ...kms })
  for (const who of [reader, nobody]) await t.rejects(gateway.client(who).send(put), { name: 'AccessDenied' })
  t.strictSame(await gateway.kms.listKeys({ region, domainId }), [])
  await t.resolves(gateway.client(writer).send(put))
})

t.test('what grants do not touch: SSE-S3, SSE-C, plain objects, and tenants without grants', async t => {
  for (const profile of ['s3', 'obs'] as const) {
    const gateway = await startGateway(t, {
      profile: createProfile(profile, { region, baseEncryption: 'none' }),
      users: [...users, ordinary],
      keyGrants: grants,
    })
    const s3 = gateway.client(nobody)
    await s3.send(new CreateBucketCommand({ Bucket }))
    const own = { SSECustomerAlgorithm: 'AES256', SSECustomerKey: Buffer.alloc(32, 1).toString('base64') }
    for (const [sent, again] of [
      [{}, {}],
      [{ ServerSideEncryption: 'AES256' as const }, {}],
      [own, own],
    ] as const) {
      await s3.send(new PutObjectCommand({ ...named('a'), ...body, ...sent }))
      const got = await s3.send(new GetObjectCommand({ ...named('a'), ...again }))
      t.equal(await got.Body?.transformToString(), 'hello', profile)
      await t.resolves(s3.send(new HeadObjectCommand({ ...named('a'), ...again })))
    }
    const theirs = gateway.client(stranger)
    await theirs.send(new CreateBucketCommand({ Bucket: 'theirs' }))
    await t.resolves(theirs.send(new PutObjectCommand({ Bucket: 'theirs', Key: 'a', ...body, ...kms })))
    await t.resolves(theirs.send(new GetObjectCommand({ Bucket: 'theirs', Key: 'a' })))

    // Another tenant has no right, whatever a policy or grants say.
    const statement = { Effect: 'Allow', Principal: '*', Action: 's3:*', Resource: ['arn:aws:s3:::theirs/*'] }
    const policy = JSON.stringify({ Version: '2012-10-17', Statement: [statement] })
    t.equal((await gateway.signedFetch(stranger, 'PUT', '/theirs?policy', { body: policy })).status, 204)
    t.match(await gateway.signedFetch(admin, 'GET', '/theirs/a'), { status: 403, code: 'AccessDenied' })
    t.match(await gateway.signedFetch(undefined, 'GET', '/theirs/a'), { code: /AccessDenied|InvalidArgument/ })
  }
})
