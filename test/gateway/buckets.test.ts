// What belongs to a bucket: making it, where it lies, its default encryption, tags, ACL and versioning; tags and ACLs of its objects.
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketEncryptionCommand,
  DeleteBucketTaggingCommand,
  DeleteObjectTaggingCommand,
  GetBucketAclCommand,
  GetBucketEncryptionCommand,
  GetBucketLocationCommand,
  GetBucketTaggingCommand,
  GetBucketVersioningCommand,
  GetObjectAclCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  PutBucketAclCommand,
  PutBucketEncryptionCommand,
  PutBucketTaggingCommand,
  PutBucketVersioningCommand,
  PutObjectAclCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import t, { type Test } from 'tap'
import { SseError } from '../../lib/errors.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { openFileStore } from '../../lib/store/file/store.ts'
import { admin, ordinary, region, startGateway, stranger, type TestGateway } from '../support/gateway.ts'

/** A gateway with the bucket `bucket`. */
const withBucket = async (t: Test, options: Parameters<typeof startGateway>[1] = {}): Promise<TestGateway> => {
  const gateway = await startGateway(t, options)
  t.equal((await gateway.signedFetch(admin, 'PUT', '/bucket')).status, 200)
  return gateway
}

const s3 = createProfile('s3', { region })
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error: unknown) => {
      if (!(error instanceof S3ServiceException)) throw error
      if (error.message === '') throw new Error('an error without a message')
      return `${error.$metadata.httpStatusCode} ${error.name}`
    },
  )

t.test('buckets are made, found, listed in pages and deleted', async t => {
  const gateway = await startGateway(t)
  const { signedFetch, client } = gateway
  const s3 = client()
  for (const name of ['alpha', 'beta', 'betamax', 'gamma']) await s3.send(new CreateBucketCommand({ Bucket: name }))
  await client(stranger).send(new CreateBucketCommand({ Bucket: 'strange' }))

  const all = await s3.send(new ListBucketsCommand({}))
  t.same(
    all.Buckets?.map(({ Name, BucketRegion }) => [Name, BucketRegion]),
    ['alpha', 'beta', 'betamax', 'gamma'].map(name => [name, region]),
    'those of the tenant alone, with their region',
  )
  t.equal(all.Owner?.ID, 'domain1')
  t.equal(all.ContinuationToken, undefined)

  const first = await s3.send(new ListBucketsCommand({ MaxBuckets: 3 }))
  t.same(
    first.Buckets?.map(bucket => bucket.Name),
    ['alpha', 'beta', 'betamax'],
  )
  const second = await s3.send(new ListBucketsCommand({ MaxBuckets: 3, ContinuationToken: first.ContinuationToken }))
  t.same(
    second.Buckets?.map(bucket => bucket.Name),
    ['gamma'],
  )
  t.equal(second.ContinuationToken, undefined)
  const some = await s3.send(new ListBucketsCommand({ Prefix: 'beta', BucketRegion: region }))
  t.same(
    some.Buckets?.map(bucket => bucket.Name),
    ['beta', 'betamax'],
  )
  t.equal(some.Prefix, 'beta')
  t.same((await s3.send(new ListBucketsCommand({ BucketRegion: 'elsewhere' }))).Buckets, [])
  t.match(
    (await signedFetch(admin, 'GET', '/', { headers: { 'x-obs-date': 'today' } })).text,
    `<Location>${region}</Location>`,
    'OBS clients are told the region in their own word',
  )
  t.equal((await signedFetch(undefined, 'GET', '/')).code, 'AccessDenied')

  t.equal(await codeOf(s3.send(new CreateBucketCommand({ Bucket: 'alpha' }))), '409 BucketAlreadyOwnedByYou')
  t.equal(await codeOf(client(stranger).send(new CreateBucketCommand({ Bucket: 'alpha' }))), '409 BucketAlreadyExists')
  t.equal((await signedFetch(admin, 'PUT', '/UPPER')).code, 'InvalidBucketName')
  const body = (name: string, value: string) =>
    `<CreateBucketConfiguration><${name}>${value}</${name}></CreateBucketConfiguration>`
  t.equal(
    (await signedFetch(admin, 'PUT', '/there', { body: body('LocationConstraint', 'mars') })).code,
    'InvalidLocationConstraint',
  )
  t.equal((await signedFetch(admin, 'PUT', '/there', { body: body('LocationConstraint', region) })).status, 200)
  t.equal((await signedFetch(admin, 'PUT', '/obs', { body: body('Location', region) })).status, 200)

  const head = await signedFetch(admin, 'HEAD', '/alpha')
  t.equal(head.status, 200)
  t.equal(head.headers['x-amz-bucket-region'], region)
  t.equal(head.headers['x-obs-bucket-location'], region)
  t.equal((await s3.send(new HeadBucketCommand({ Bucket: 'alpha' }))).BucketRegion, region)
  t.equal((await signedFetch(stranger, 'HEAD', '/alpha')).status, 403)
  t.equal((await signedFetch(undefined, 'HEAD', '/alpha')).status, 403)
  t.equal((await signedFetch(admin, 'HEAD', '/nowhere')).status, 404)

  t.equal((await s3.send(new GetBucketLocationCommand({ Bucket: 'alpha' }))).LocationConstraint, region)
  t.match(
    (await signedFetch(admin, 'GET', '/alpha?location', { headers: { 'x-obs-date': 'today' } })).text,
    new RegExp(`<Location [^>]*>${region}</Location>`),
  )

  await signedFetch(admin, 'PUT', '/alpha/key', { body: 'x' })
  t.equal((await signedFetch(admin, 'DELETE', '/alpha')).code, 'BucketNotEmpty')
  await signedFetch(admin, 'DELETE', '/alpha/key')
  t.equal((await signedFetch(stranger, 'DELETE', '/alpha')).code, 'AccessDenied')
  t.equal((await signedFetch(admin, 'DELETE', '/alpha')).status, 204)
  t.equal((await signedFetch(admin, 'DELETE', '/alpha')).code, 'NoSuchBucket')
})

t.test('a bucket of another kind is refused by name, and none is made', async t => {
  const { client, signedFetch, store } = await startGateway(t)
  for (const CreateBucketConfiguration of [
    { Bucket: { Type: 'Directory', DataRedundancy: 'SingleAvailabilityZone' } },
    { Bucket: { Type: 'Directory' }, Location: { Type: 'AvailabilityZone', Name: 'use1-az4' } },
    { Location: { Type: 'LocalZone', Name: 'use1-lax1-az1' } },
  ] as const) {
    await t.rejects(client().send(new CreateBucketCommand({ Bucket: 'other', CreateBucketConfiguration })), {
      name: 'NotImplemented',
      message: /Directory buckets/,
    })
  }
  for (const body of ['<Bucket/>', '<Bucket>Directory</Bucket>', '<Location/><Location/>']) {
    const sent = { body: `<CreateBucketConfiguration>${body}</CreateBucketConfiguration>` }
    t.equal((await signedFetch(admin, 'PUT', '/other', sent)).code, 'NotImplemented', body)
  }
  for (const [name, value, what] of [
    ['x-obs-fs-file-interface', 'Enabled', 'Parallel file systems'],
    ['x-amz-bucket-object-lock-enabled', 'true', 'Object lock'],
    ['x-obs-bucket-object-lock-enabled', 'true', 'Object lock'],
  ] as const) {
    const refused = await signedFetch(admin, 'PUT', '/other', { headers: { [name]: value } })
    t.equal(`${refused.status} ${refused.code}`, '501 NotImplemented', name)
    t.match(refused.text, `<Header>${name}</Header>`)
    t.match(refused.text, `<Message>${what}`)
  }
  t.strictSame(await store.listBuckets(), [])
  const made = await signedFetch(admin, 'PUT', '/other', { headers: { 'x-amz-bucket-object-lock-enabled': 'false' } })
  t.equal(made.status, 200)
})

t.test('a tenant has no more buckets than it may', async t => {
  const { client, signedFetch } = await startGateway(t, { limits: { bucketsPerTenant: 2 } })
  const make = (name: string): Promise<unknown> => client().send(new CreateBucketCommand({ Bucket: name }))
  await make('one')
  await make('two')
  t.equal(await codeOf(make('three')), '400 TooManyBuckets')
  t.equal(await codeOf(make('two')), '409 BucketAlreadyOwnedByYou')
  await client(stranger).send(new CreateBucketCommand({ Bucket: 'four' }))
  t.equal((await signedFetch(admin, 'DELETE', '/one')).status, 204)
  await make('three')
})

t.test('a bucket has no more open uploads than it may', async t => {
  const { client, signedFetch } = await startGateway(t, { limits: { uploadsPerBucket: 1 } })
  await client().send(new CreateBucketCommand({ Bucket: 'bucket' }))
  const begin = () => client().send(new CreateMultipartUploadCommand({ Bucket: 'bucket', Key: 'k' }))
  const { UploadId = '' } = await begin()
  t.equal(await codeOf(begin()), '400 InvalidRequest')
  t.equal((await signedFetch(admin, 'DELETE', `/bucket/k?uploadId=${UploadId}`)).status, 204)
  await begin()
})

t.test('a bucket with open uploads is deleted as its profile says', async t => {
  for (const [profile, status, left] of [
    [createProfile('obs', { region }), 409, 200],
    [s3, 204, 404],
  ] as const) {
    const { client, signedFetch } = await withBucket(t, { profile })
    await client().send(new PutObjectCommand({ Bucket: 'bucket', Key: 'object', Body: 'x' }))
    const { UploadId } = await client().send(new CreateMultipartUploadCommand({ Bucket: 'bucket', Key: 'k' }))
    const part = { Bucket: 'bucket', Key: 'k', UploadId, PartNumber: 1 }
    await client().send(new UploadPartCommand({ ...part, Body: 'part' }))
    t.equal((await signedFetch(admin, 'DELETE', '/bucket')).code, 'BucketNotEmpty', 'an object keeps it')
    t.equal((await signedFetch(admin, 'DELETE', '/bucket/object')).status, 204)
    t.equal((await signedFetch(admin, 'DELETE', '/bucket')).status, status)
    t.equal((await signedFetch(admin, 'HEAD', '/bucket')).status, left)
    const again = client().send(new UploadPartCommand({ ...part, Body: 'part' }))
    t.equal(await codeOf(again), left === 404 ? '404 NoSuchBucket' : 'no error')
  }
})

t.test('the region us-east-1 has no name in S3', async t => {
  const east = 'us-east-1'
  const gateway = await startGateway(t, { profile: createProfile('obs', { region: east }) })
  await gateway.store.createBucket('bucket', { owner: 'domain1', region: east, created: 0 })
  const reply = await gateway.signedFetch(undefined, 'GET', '/bucket?location')
  t.equal(reply.code, 'AccessDenied')
  await gateway.byName.setSettings('bucket', {
    policy: JSON.stringify({
      Version: '2012-10-17',
      Statement: { Effect: 'Allow', Principal: '*', Action: 's3:GetBucketLocation', Resource: 'arn:aws:s3:::bucket' },
    }),
  })
  t.match(
    (await gateway.signedFetch(undefined, 'GET', '/bucket?location')).text,
    /<LocationConstraint [^>]*><\/Location/,
  )
})

t.test('a bucket whose tenant is not configured any more is for nobody', async t => {
  const { store, signedFetch } = await startGateway(t)
  await store.createBucket('orphan', { owner: 'gone', region, created: 0 })
  t.equal((await signedFetch(admin, 'GET', '/orphan')).code, 'AccessDenied')
})

t.test('OBS clients ask for the version of the interface, unsigned', async t => {
  const { signedFetch } = await withBucket(t)
  for (const path of ['/?apiversion', '/bucket?apiversion', '/bucket/?apiversion']) {
    const reply = await signedFetch(undefined, 'HEAD', path)
    t.equal(reply.status, 200, path)
    t.equal(reply.headers['x-obs-api'], '3.0', path)
  }
})

t.test('default encryption: put, got back, used, deleted', async t => {
  const { signedFetch, client } = await withBucket(t)
  const s3 = client()
  const Bucket = 'bucket'
  t.equal(
    await codeOf(s3.send(new GetBucketEncryptionCommand({ Bucket }))),
    '404 ServerSideEncryptionConfigurationNotFoundError',
  )
  t.equal((await signedFetch(admin, 'DELETE', '/bucket?encryption')).status, 204, 'also where there is none')
  const rule = { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' as const }, BucketKeyEnabled: false }
  await s3.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration: { Rules: [rule] } }))
  const got = await s3.send(new GetBucketEncryptionCommand({ Bucket }))
  t.same(got.ServerSideEncryptionConfiguration?.Rules, [rule])
  const obs = await signedFetch(admin, 'GET', '/bucket?encryption', { headers: { 'x-obs-date': 'today' } })
  t.match(obs.text, '<SSEAlgorithm>kms</SSEAlgorithm>', 'in the words of OBS')

  const put = await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'text' }))
  t.equal(put.ServerSideEncryption, 'aws:kms', 'a request that says nothing gets the default')
  t.match(put.SSEKMSKeyId, /^arn:aws:kms:sichuan:domain1:key\//)
  t.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: 'a' }))).ServerSideEncryption, 'aws:kms')
  t.equal(
    (await signedFetch(ordinary, 'PUT', '/bucket/b', { body: 'x' })).code,
    'AccessDenied',
    'the rules of SSE-KMS hold for the default too',
  )

  const xml = (inner: string) =>
    `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>${inner}</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`
  const tries: readonly (readonly [what: string, body: string, expected: string | undefined])[] = [
    ['a key', xml('<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>whatever</KMSMasterKeyID>'), undefined],
    ['spaces', xml('<SSEAlgorithm>\n kms\n</SSEAlgorithm>'), undefined],
    ["OBS's form", xml('<SSEAlgorithm>kms</SSEAlgorithm><ProjectID>p</ProjectID>'), undefined],
    [
      'a key with AES256',
      xml('<SSEAlgorithm>AES256</SSEAlgorithm><KMSMasterKeyID>k</KMSMasterKeyID>'),
      'InvalidArgument',
    ],
    ['no rule', '<ServerSideEncryptionConfiguration/>', 'MalformedXML'],
    [
      'two rules',
      `<ServerSideEncryptionConfiguration>${'<Rule></Rule>'.repeat(2)}</ServerSideEncryptionConfiguration>`,
      'MalformedXML',
    ],
    ['an unknown algorithm', xml('<SSEAlgorithm>rot13</SSEAlgorithm>'), 'MalformedXML'],
    ['another root', '<Other/>', 'MalformedXML'],
    ['no XML', 'AES256', 'MalformedXML'],
    ['bytes that are no UTF-8', 'ÿ', 'MalformedXML'],
    ['aws:kms:dsse', xml('<SSEAlgorithm>aws:kms:dsse</SSEAlgorithm>'), 'NotImplemented'],
  ]
  for (const [what, body, expected] of tries) {
    const bytes = what.startsWith('bytes') ? Buffer.from(body, 'latin1') : body
    t.equal((await signedFetch(admin, 'PUT', '/bucket?encryption', { body: bytes })).code, expected, what)
  }
  t.equal(
    (await signedFetch(admin, 'PUT', '/bucket/c', { body: 'x' })).code,
    'InvalidArgument',
    'a project that is not the tenant’s',
  )
  t.equal((await signedFetch(stranger, 'PUT', '/bucket?encryption', { body: xml('') })).code, 'AccessDenied')

  await s3.send(new DeleteBucketEncryptionCommand({ Bucket }))
  t.equal((await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'text' }))).ServerSideEncryption, undefined)
})

t.test('default encryption of the s3 profile: the base is answered where nothing is configured', async t => {
  const { signedFetch, client, byName } = await withBucket(t, { profile: s3 })
  const got = await client().send(new GetBucketEncryptionCommand({ Bucket: 'bucket' }))
  t.same(got.ServerSideEncryptionConfiguration?.Rules, [
    { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' }, BucketKeyEnabled: false },
  ])
  await byName.setSettings('bucket', { encryption: '{' })
  t.equal((await signedFetch(admin, 'PUT', '/bucket/a', { body: 'x' })).code, 'InternalError', 'nothing in the clear')
})

t.test('tags of a bucket', async t => {
  const { signedFetch, client } = await withBucket(t)
  const s3 = client()
  const Bucket = 'bucket'
  t.equal(await codeOf(s3.send(new GetBucketTaggingCommand({ Bucket }))), '404 NoSuchTagSet')
  const legal = [
    { Key: 'project', Value: 'blue + green = 1/2' },
    { Key: ' Größe ', Value: '' },
  ]
  await s3.send(new PutBucketTaggingCommand({ Bucket, Tagging: { TagSet: legal } }))
  t.same((await s3.send(new GetBucketTaggingCommand({ Bucket }))).TagSet, legal)

  const xml = (...tags: readonly string[]) =>
    `<Tagging><TagSet>${tags.map(tag => `<Tag>${tag}</Tag>`).join('')}</TagSet></Tagging>`
  const tag = (name: string, value = 'v') => `<Key>${name}</Key><Value>${value}</Value>`
  const many = (count: number) => xml(...Array.from({ length: count }, (_, i) => tag(`k${i}`)))
  const tries: readonly (readonly [what: string, body: string, expected: string | undefined])[] = [
    ['50 tags', many(50), undefined],
    ['51 tags', many(51), 'InvalidTag'],
    ['the same name twice', xml(tag('a'), tag('a')), 'InvalidTag'],
    ['an empty name', xml(tag('')), 'InvalidTag'],
    ['a name of 129 characters', xml(tag('k'.repeat(129))), 'InvalidTag'],
    ['a name with a sign', xml(tag('a!')), 'InvalidTag'],
    ['a value of 257 characters', xml(tag('k', 'v'.repeat(257))), 'InvalidTag'],
    ['a value with a control character', xml(tag('k', '&#1;')), 'InvalidTag'],
    ['a tag of the system', xml(tag('aws:x')), 'InvalidTag'],
    ['no value', xml('<Key>k</Key>'), 'MalformedXML'],
    ['no name', xml('<Value>v</Value>'), 'MalformedXML'],
    ['no set, which clears them', '<Tagging/>', undefined],
    ['no tags', xml(), undefined],
  ]
  for (const [what, body, expected] of tries) {
    t.equal((await signedFetch(admin, 'PUT', '/bucket?tagging', { body })).code, expected, what)
  }
  t.equal(await codeOf(s3.send(new GetBucketTaggingCommand({ Bucket }))), '404 NoSuchTagSet', 'none are none')
  await s3.send(new PutBucketTaggingCommand({ Bucket, Tagging: { TagSet: legal } }))
  await s3.send(new DeleteBucketTaggingCommand({ Bucket }))
  t.equal(await codeOf(s3.send(new GetBucketTaggingCommand({ Bucket }))), '404 NoSuchTagSet')
})

t.test('tags of an object: with the write, put, got, counted, deleted', async t => {
  const { signedFetch, client, byName } = await withBucket(t)
  const s3 = client()
  const at = { Bucket: 'bucket', Key: 'key' }
  const tagsOf = async () => (await s3.send(new GetObjectTaggingCommand(at))).TagSet
  t.equal(await codeOf(s3.send(new GetObjectTaggingCommand(at))), '404 NoSuchKey')
  await s3.send(
    new PutObjectCommand({ ...at, Body: 'text', ServerSideEncryption: 'aws:kms', Tagging: 'a=1&b=x%20y+z&c' }),
  )
  t.same(await tagsOf(), [
    { Key: 'a', Value: '1' },
    { Key: 'b', Value: 'x y z' },
    { Key: 'c', Value: '' },
  ])
  const before = await byName.getObject('bucket', 'key')
  await s3.send(new PutObjectTaggingCommand({ ...at, Tagging: { TagSet: [{ Key: 'd', Value: '2' }] } }))
  t.same(await tagsOf(), [{ Key: 'd', Value: '2' }])
  const after = await byName.getObject('bucket', 'key')
  t.equal(after?.modified, before?.modified, 'tags do not change the object')
  t.same(after?.envelope, before?.envelope)
  t.equal(await (await s3.send(new GetObjectCommand(at))).Body?.transformToString(), 'text')
  const head = await signedFetch(admin, 'HEAD', '/bucket/key')
  t.equal(head.headers['x-amz-tagging-count'], '1')
  t.equal((await s3.send(new GetObjectCommand(at))).TagCount, 1)
  await s3.send(new DeleteObjectTaggingCommand(at))
  t.same(await tagsOf(), [])
  t.equal((await signedFetch(admin, 'HEAD', '/bucket/key')).headers['x-amz-tagging-count'], undefined)
  t.equal(
    (await signedFetch(admin, 'PUT', '/bucket/key?tagging', { body: '<Tagging><TagSet/></Tagging>' })).status,
    200,
  )
  t.same(await tagsOf(), [])
  t.equal((await signedFetch(admin, 'DELETE', '/bucket/none?tagging')).code, 'NoSuchKey')

  const tries: readonly (readonly [tagging: string, expected: string | undefined])[] = [
    ['', undefined],
    ['a=1&a=2', 'InvalidArgument'],
    ['%', 'InvalidArgument'],
    ['a=%ff', 'InvalidArgument'],
    ['aws:a=1', 'InvalidTag'],
    [Array.from({ length: 11 }, (_, i) => `k${i}=v`).join('&'), 'InvalidTag'],
  ]
  for (const [tagging, expected] of tries) {
    for (const name of ['x-amz-tagging', 'x-obs-tagging']) {
      const reply = await signedFetch(admin, 'PUT', '/bucket/other', { body: 'x', headers: { [name]: tagging } })
      t.equal(reply.code, expected, `${name}: ${tagging}`)
    }
  }
})

t.test('tags that many clients change at once', async t => {
  const { signedFetch, byName } = await withBucket(t)
  await signedFetch(admin, 'PUT', '/bucket/key', { body: 'x' })
  const replies = await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      signedFetch(admin, 'PUT', '/bucket/key?tagging', {
        body: `<Tagging><TagSet><Tag><Key>k</Key><Value>${i}</Value></Tag></TagSet></Tagging>`,
      }),
    ),
  )
  t.same(
    replies.map(reply => reply.status),
    replies.map(() => 200),
  )
  t.match((await byName.getObject('bucket', 'key'))?.notes.tags, [['k', /^\d$/]])
})

t.test('settings of a bucket that many clients change at once', async t => {
  const { signedFetch, store } = await withBucket(t)
  const tagging = (value: number) =>
    `<Tagging><TagSet><Tag><Key>k</Key><Value>${value}</Value></Tag></TagSet></Tagging>`
  const all = async (changes: readonly (readonly [method: string, query: string, body?: string])[]) => {
    const replies = await Promise.all(
      changes.map(([method, query, body]) =>
        signedFetch(admin, method, `/bucket?${query}`, body === undefined ? {} : { body }),
      ),
    )
    t.same(
      replies.map(reply => reply.status).filter(status => status >= 300),
      [],
    )
  }
  await all([
    ...Array.from({ length: 14 }, (_, i) => ['PUT', 'tagging', tagging(i)] as const),
    ['PUT', 'versioning', '<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>'],
  ])
  const before = await store.getBucket('bucket')
  t.same(Object.keys(before?.settings ?? {}).sort(), ['tagging', 'versioning'])
  // What changes nothing is no change: the revision stays, and nobody has to try again.
  await all(Array.from({ length: 50 }, () => ['DELETE', 'encryption'] as const))
  t.equal((await store.getBucket('bucket'))?.revision, before?.revision)
})

t.test('tags of an object that others do not leave alone, and of one that cannot be written', async t => {
  for (const [error, code] of [
    [new SseError('PreconditionFailed'), 'SlowDown'],
    [new SseError('NoSuchKey'), 'SlowDown'],
    [new SseError('StoreFailed'), 'InternalError'],
    [new TypeError('a bug'), 'InternalError'],
  ] as const) {
    const store = await openFileStore(t.testdir({}), { sweepEvery: 0 })
    const faulty = { ...store, updateNotes: () => Promise.reject(error) }
    const { signedFetch } = await withBucket(t, { store: faulty })
    await signedFetch(admin, 'PUT', '/bucket/key', { body: 'x' })
    t.equal((await signedFetch(admin, 'DELETE', '/bucket/key?tagging')).code, code, error.message)
    await store.close()
  }
})

t.test('ACLs of a bucket: canned ones by header and as XML', async t => {
  const { signedFetch, client } = await withBucket(t)
  const s3 = client()
  const Bucket = 'bucket'
  const grants = async () =>
    (await s3.send(new GetBucketAclCommand({ Bucket }))).Grants?.map(
      ({ Grantee, Permission }) => `${Grantee?.ID ?? Grantee?.URI} ${Permission}`,
    )
  const all = 'http://acs.amazonaws.com/groups/global/AllUsers'
  const known = 'http://acs.amazonaws.com/groups/global/AuthenticatedUsers'
  t.same(await grants(), ['domain1 FULL_CONTROL'])
  await s3.send(new PutBucketAclCommand({ Bucket, ACL: 'public-read-write' }))
  t.same(await grants(), ['domain1 FULL_CONTROL', `${all} READ`, `${all} WRITE`])
  await s3.send(new PutBucketAclCommand({ Bucket, ACL: 'authenticated-read' }))
  t.same(await grants(), ['domain1 FULL_CONTROL', `${known} READ`])
  await s3.send(new PutBucketAclCommand({ Bucket, ACL: 'private' }))
  t.same(await grants(), ['domain1 FULL_CONTROL'])

  const policy = await s3.send(new GetBucketAclCommand({ Bucket }))
  const everyone = { Grantee: { Type: 'Group' as const, URI: all }, Permission: 'READ' as const }
  await s3.send(
    new PutBucketAclCommand({
      Bucket,
      AccessControlPolicy: { Owner: policy.Owner, Grants: [...(policy.Grants ?? []), everyone] },
    }),
  )
  t.same(await grants(), ['domain1 FULL_CONTROL', `${all} READ`], 'what was got can be put')
  await s3.send(new PutBucketAclCommand({ Bucket, AccessControlPolicy: policy }))
  t.same(await grants(), ['domain1 FULL_CONTROL'])

  const xml = (list: string, owner = '<Owner><ID>domain1</ID></Owner>') =>
    `<AccessControlPolicy>${owner}<AccessControlList>${list}</AccessControlList></AccessControlPolicy>`
  const grant = (who: string, permission = '<Permission>READ</Permission>') =>
    `<Grant><Grantee>${who}</Grantee>${permission}</Grant>`
  await s3.send(new PutBucketAclCommand({ Bucket, ACL: 'public-read' }))
  const obs = await signedFetch(admin, 'GET', '/bucket?acl', { headers: { 'x-obs-date': 'today' } })
  t.match(obs.text, '<Grantee><Canned>Everyone</Canned></Grantee>', 'in the words of OBS')
  t.match(obs.text, '<Grantee><ID>domain1</ID>')

  const tries: readonly (readonly [what: string, body: string, expected: string | undefined])[] = [
    ['everyone, as OBS writes it', xml(grant('<Canned>Everyone</Canned>')), undefined],
    ['the owner alone', xml(grant('<ID>domain1</ID>', '<Permission>FULL_CONTROL</Permission>')), undefined],
    ['the owner, but to read', xml(grant('<ID>domain1</ID>')), 'NotImplemented'],
    ['nobody', xml(''), undefined],
    ['another user', xml(grant('<ID>domain2</ID>')), 'NotImplemented'],
    ['another group', xml(grant('<URI>http://acs.amazonaws.com/groups/s3/LogDelivery</URI>')), 'NotImplemented'],
    ['another canned grantee of OBS', xml(grant('<Canned>Nobody</Canned>')), 'NotImplemented'],
    ['writing alone', xml(grant(`<URI>${all}</URI>`, '<Permission>WRITE</Permission>')), 'NotImplemented'],
    ['no permission', xml(grant(`<URI>${all}</URI>`, '')), 'MalformedXML'],
    ['no grantee', xml(grant('')), 'MalformedXML'],
    ['two grantees in one', xml(grant(`<ID>domain1</ID><URI>${all}</URI>`)), 'MalformedXML'],
    ['another owner', xml('', '<Owner><ID>domain2</ID></Owner>'), 'AccessDenied'],
    ['no owner', xml('', ''), 'MalformedXML'],
    ['nothing', '', 'InvalidRequest'],
  ]
  for (const [what, body, expected] of tries) {
    t.equal((await signedFetch(admin, 'PUT', '/bucket?acl', { body })).code, expected, what)
  }
  const headers: readonly (readonly [headers: Record<string, string>, expected: string | undefined])[] = [
    [{ 'x-obs-acl': 'public-read' }, undefined],
    [{ 'x-obs-acl': 'public-read', 'x-amz-acl': 'public-read' }, undefined],
    [{ 'x-obs-acl': 'public-read', 'x-amz-acl': 'private' }, 'InvalidArgument'],
    [{ 'x-amz-acl': 'bucket-owner-full-control' }, undefined],
    [{ 'x-amz-acl': 'open' }, 'InvalidArgument'],
    [{ 'x-amz-acl': '' }, 'InvalidArgument'],
    [{ 'x-amz-acl': 'aws-exec-read' }, 'NotImplemented'],
    [{ 'x-obs-acl': 'public-read-delivered' }, 'NotImplemented'],
    [{ 'x-amz-grant-read': 'id="domain2"' }, 'NotImplemented'],
    [{ 'x-obs-grant-full-control-delivered': 'id=domain2' }, 'NotImplemented'],
  ]
  for (const [sent, expected] of headers) {
    t.equal((await signedFetch(admin, 'PUT', '/bucket?acl', { headers: sent })).code, expected, JSON.stringify(sent))
  }
  const both = await signedFetch(admin, 'PUT', '/bucket?acl', { headers: { 'x-amz-acl': 'private' }, body: xml('') })
  t.equal(both.code, 'InvalidRequest')
  t.equal((await signedFetch(stranger, 'GET', '/bucket?acl')).code, 'AccessDenied')
})

t.test('what the ACL of a bucket opens, and what it does not', async t => {
  const { signedFetch } = await startGateway(t)
  const acl = (name: string) => ({ headers: { 'x-amz-acl': name } })
  await signedFetch(admin, 'PUT', '/private')
  await signedFetch(admin, 'PUT', '/read', acl('public-read'))
  await signedFetch(admin, 'PUT', '/write', acl('public-read-write'))
  await signedFetch(admin, 'PUT', '/known', acl('authenticated-read'))
  for (const bucket of ['private', 'read', 'write', 'known']) {
    await signedFetch(admin, 'PUT', `/${bucket}/key`, { body: 'x' })
    await signedFetch(admin, 'PUT', `/${bucket}/kms`, {
      body: 'x',
      headers: { 'x-amz-server-side-encryption': 'aws:kms' },
    })
  }
  const table: readonly (readonly [who: 'nobody' | 'stranger', what: string, answers: readonly number[]])[] = [
    // private, public-read, public-read-write, authenticated-read
    ['nobody', 'GET /', [403, 200, 200, 403]],
    ['nobody', 'GET /?list-type=2', [403, 200, 200, 403]],
    ['nobody', 'GET /?versions', [403, 200, 200, 403]],
    ['nobody', 'GET /?acl', [403, 403, 403, 403]],
    ['nobody', 'GET /key', [403, 403, 403, 403]],
    ['nobody', 'GET /none', [403, 404, 404, 403]],
    ['nobody', 'PUT /new', [403, 403, 200, 403]],
    ['nobody', 'PUT /kms', [403, 403, 403, 403]],
    ['nobody', 'DELETE /new', [403, 403, 204, 403]],
    ['nobody', 'DELETE /kms', [403, 403, 403, 403]],
    ['nobody', 'DELETE /', [403, 403, 403, 403]],
    ['stranger', 'GET /', [403, 200, 200, 200]],
    ['stranger', 'GET /key', [403, 403, 403, 403]],
    ['stranger', 'PUT /new', [403, 403, 200, 403]],
    ['stranger', 'PUT /kms', [403, 403, 403, 403]],
    ['stranger', 'PUT /new?acl', [403, 403, 403, 403]],
    ['stranger', 'GET /new?tagging', [403, 403, 403, 403]],
  ]
  for (const [who, what, answers] of table) {
    const [method = '', path = ''] = what.split(' ')
    const got: number[] = []
    for (const bucket of ['private', 'read', 'write', 'known']) {
      const body = method === 'PUT' ? { body: 'y' } : {}
      got.push((await signedFetch(who === 'nobody' ? undefined : stranger, method, `/${bucket}${path}`, body)).status)
    }
    t.same(got, answers, `${who}: ${what}`)
  }
  const sly = { body: 'y', headers: { 'x-amz-acl': 'public-read' } }
  t.equal(
    (await signedFetch(stranger, 'PUT', '/write/new', sly)).status,
    200,
    'whoever may write may open what is written',
  )
  const tagged = { body: 'y', headers: { 'x-amz-tagging': 'a=b' } }
  t.equal((await signedFetch(stranger, 'PUT', '/write/new', tagged)).code, 'AccessDenied', 'nor tag')
  const kms = { body: 'y', headers: { 'x-amz-server-side-encryption': 'aws:kms' } }
  t.equal((await signedFetch(stranger, 'PUT', '/write/new', kms)).code, 'AccessDenied', 'nor use the keys of the owner')
  t.equal((await signedFetch(stranger, 'GET', '/private/none')).code, 'AccessDenied', 'what is not there is not told')
})

t.test('ACLs of an object: kept with the write, put, and honoured but for SSE-KMS', async t => {
  const { signedFetch, client } = await withBucket(t)
  const s3 = client()
  const at = { Bucket: 'bucket', Key: 'key' }
  await s3.send(new PutObjectCommand({ ...at, Body: 'text', ACL: 'public-read' }))
  const acl = await s3.send(new GetObjectAclCommand(at))
  t.same(
    acl.Grants?.map(grant => grant.Permission),
    ['FULL_CONTROL', 'READ'],
  )
  t.equal((await signedFetch(undefined, 'GET', '/bucket/key')).text, 'text')
  t.equal((await signedFetch(undefined, 'HEAD', '/bucket/key')).status, 200)
  t.equal((await signedFetch(stranger, 'GET', '/bucket/key')).text, 'text')
  t.equal((await signedFetch(undefined, 'GET', '/bucket/key?acl')).code, 'AccessDenied')
  t.equal((await signedFetch(undefined, 'DELETE', '/bucket/key')).code, 'AccessDenied')
  await s3.send(new PutObjectAclCommand({ ...at, ACL: 'authenticated-read' }))
  t.equal((await signedFetch(undefined, 'GET', '/bucket/key')).code, 'AccessDenied')
  t.equal((await signedFetch(stranger, 'GET', '/bucket/key')).status, 200)
  await s3.send(new PutObjectAclCommand({ ...at, ACL: 'private' }))
  t.equal((await signedFetch(stranger, 'GET', '/bucket/key')).code, 'AccessDenied')
  await s3.send(new PutObjectAclCommand({ ...at, ACL: 'public-read' }))
  await s3.send(new PutObjectCommand({ ...at, Body: 'new' }))
  t.equal((await signedFetch(undefined, 'GET', '/bucket/key')).code, 'AccessDenied', 'a new object is its owner’s')

  await s3.send(new PutObjectCommand({ ...at, Body: 'secret', ACL: 'public-read', ServerSideEncryption: 'aws:kms' }))
  for (const who of [undefined, stranger]) {
    t.equal((await signedFetch(who, 'GET', '/bucket/key')).code, 'AccessDenied')
    t.equal((await signedFetch(who, 'HEAD', '/bucket/key')).status, 403)
  }
  t.equal((await signedFetch(admin, 'GET', '/bucket/key')).text, 'secret')
  t.equal((await signedFetch(admin, 'GET', '/bucket/none?acl')).code, 'NoSuchKey')
  t.equal(
    (await signedFetch(admin, 'PUT', '/bucket/none?acl', { headers: { 'x-amz-acl': 'private' } })).code,
    'NoSuchKey',
  )
})

t.test('ACL and tags of an upload are those of its object', async t => {
  const { client, signedFetch } = await withBucket(t)
  const s3 = client()
  const at = { Bucket: 'bucket', Key: 'key' }
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...at, ACL: 'public-read', Tagging: 'a=b' }))
  const { ETag } = await s3.send(new UploadPartCommand({ ...at, UploadId, PartNumber: 1, Body: 'text' }))
  const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] }
  await s3.send(new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload }))
  const reply = await signedFetch(undefined, 'GET', '/bucket/key')
  t.same([reply.text, reply.headers['x-amz-tagging-count']], ['text', '1'])
})

t.test('a client may say whose bucket it expects', async t => {
  const { signedFetch } = await withBucket(t)
  const expect = (owner: string) => ({ headers: { 'x-amz-expected-bucket-owner': owner } })
  t.equal((await signedFetch(admin, 'GET', '/bucket', expect('domain1'))).status, 200)
  t.equal((await signedFetch(admin, 'GET', '/bucket', expect('domain2'))).code, 'AccessDenied')
})

t.test('a storage class is one of those of S3 or OBS; there is one', async t => {
  const { signedFetch } = await withBucket(t)
  const put = (headers: Readonly<Record<string, string>>) => signedFetch(admin, 'PUT', '/bucket/k', { headers })
  t.equal((await put({ 'x-amz-storage-class': 'GOLD' })).code, 'InvalidStorageClass')
  t.match((await put({ 'x-obs-storage-class': 'standard' })).text, /<StorageClassRequested>standard</)
  for (const name of ['x-amz-storage-class', 'x-obs-storage-class'])
    t.equal((await put({ [name]: 'COLD' })).status, 200)
  t.match((await signedFetch(admin, 'GET', '/bucket')).text, /<StorageClass>STANDARD</)
})

t.test('every answer names itself, in the headers of its client alone', async t => {
  const { signedFetch } = await withBucket(t)
  const ids = ({ headers }: { readonly headers: object }) =>
    Object.keys(headers).filter(name => /^x-\w+-(?:request-id|id-2)$/.test(name))
  const s3Ids = ['x-amz-request-id', 'x-amz-id-2']
  t.strictSame(ids(await signedFetch(admin, 'GET', '/bucket')), s3Ids)
  t.strictSame(ids(await signedFetch(admin, 'GET', '/bucket/none')), s3Ids)
  // s3cmd sends back what a HEAD answered; headers of the other family would make another client of it.
  const obs = await signedFetch(admin, 'GET', '/bucket', { headers: { 'x-obs-storage-class': 'STANDARD' } })
  t.strictSame(ids(obs), ['x-obs-request-id', 'x-obs-id-2'])
  const unknown = await signedFetch({ ...admin, accessKeyId: 'nobody' }, 'GET', '/bucket')
  t.equal(unknown.code, 'InvalidAccessKeyId')
  t.strictSame(ids(unknown).sort(), [...s3Ids, ...ids(obs)].sort(), 'both, where it is not known who asks')
})

t.test('what is not built is refused by its name', async t => {
  const { signedFetch } = await withBucket(t)
  const reply = await signedFetch(admin, 'PUT', '/bucket?lifecycle', { body: '<LifecycleConfiguration/>' })
  t.equal(`${reply.status} ${reply.code}`, '501 NotImplemented')
  t.match(reply.text, 'lifecycle')
  t.equal((await signedFetch(admin, 'PATCH', '/bucket')).code, 'MethodNotAllowed')
})

t.test('versioning can be suspended, and objects have the version null', async t => {
  const { signedFetch, client } = await withBucket(t)
  const s3 = client()
  const Bucket = 'bucket'
  t.equal((await s3.send(new GetBucketVersioningCommand({ Bucket }))).Status, undefined)
  const enabled = new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } })
  t.equal(await codeOf(s3.send(enabled)), '501 NotImplemented')
  await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Suspended' } }))
  t.equal((await s3.send(new GetBucketVersioningCommand({ Bucket }))).Status, 'Suspended')
  t.equal(
    (await signedFetch(admin, 'PUT', '/bucket?versioning', { body: '<VersioningConfiguration/>' })).code,
    'MalformedXML',
  )

  await signedFetch(admin, 'PUT', '/bucket/key', { body: 'x' })
  t.equal((await signedFetch(admin, 'GET', '/bucket/key?versionId=null')).text, 'x')
  const other = await signedFetch(admin, 'GET', '/bucket/key?versionId=3sL4kqtJlcpXroDTDmJ')
  t.equal(other.status, 400)
  t.equal(other.code, 'InvalidArgument')
  t.equal((await signedFetch(admin, 'DELETE', '/bucket/key?versionId=null')).status, 204)
  t.equal((await signedFetch(admin, 'GET', '/bucket/key')).code, 'NoSuchKey')
})
