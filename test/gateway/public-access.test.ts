// The public access block, the ownership controls and the policy status of a bucket, with Amazon's own client: what is set is enforced.
import {
  type BucketCannedACL,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketOwnershipControlsCommand,
  DeleteBucketPolicyCommand,
  DeletePublicAccessBlockCommand,
  GetBucketAclCommand,
  GetBucketOwnershipControlsCommand,
  GetBucketPolicyStatusCommand,
  GetObjectAclCommand,
  GetObjectCommand,
  GetPublicAccessBlockCommand,
  ListObjectsV2Command,
  type ObjectCannedACL,
  type ObjectOwnership,
  type PublicAccessBlockConfiguration,
  PutBucketAclCommand,
  PutBucketOwnershipControlsCommand,
  PutBucketPolicyCommand,
  PutObjectAclCommand,
  PutObjectCommand,
  PutPublicAccessBlockCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import t, { type Test } from 'tap'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, ordinary, region, startGateway, stranger } from '../support/gateway.ts'

const Bucket = 'bucket'
const everyone = 'http://acs.amazonaws.com/groups/global/AllUsers'
const signed = 'http://acs.amazonaws.com/groups/global/AuthenticatedUsers'
const openAcls = ['public-read', 'public-read-write', 'authenticated-read'] as const

const withBucket = async (t: Test, options: Parameters<typeof startGateway>[1] = {}) => {
  const gateway = await startGateway(t, options)
  const s3 = gateway.client()
  await s3.send(new CreateBucketCommand({ Bucket }))
  const block = (PublicAccessBlockConfiguration: PublicAccessBlockConfiguration) =>
    s3.send(new PutPublicAccessBlockCommand({ Bucket, PublicAccessBlockConfiguration }))
  const own = (ObjectOwnership: ObjectOwnership, by: S3Client = s3) =>
    by.send(new PutBucketOwnershipControlsCommand({ Bucket, OwnershipControls: { Rules: [{ ObjectOwnership }] } }))
  const put = (Key: string, ACL?: ObjectCannedACL) => s3.send(new PutObjectCommand({ Bucket, Key, ACL, Body: 'text' }))
  const policy = (...statements: readonly object[]) =>
    s3.send(new PutBucketPolicyCommand({ Bucket, Policy: policyOf(...statements) }))
  const anonymous = async (path: string) => (await gateway.signedFetch(undefined, 'GET', path)).status
  return { gateway, s3, other: gateway.client(stranger), block, own, put, policy, anonymous }
}

const policyOf = (...statements: readonly object[]): string =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: statements.map(statement => ({
      ...{ Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: `arn:aws:s3:::${Bucket}/*` },
      ...statement,
    })),
  })

const refused = (name: string, httpStatusCode: number) => ({ name, $metadata: { httpStatusCode } })
const denied = refused('AccessDenied', 403)
const disabled = refused('AccessControlListNotSupported', 400)

const grantTo = (URI: string) => ({
  Owner: { ID: admin.domainId },
  Grants: [{ Grantee: { Type: 'Group' as const, URI }, Permission: 'READ' as const }],
})

/** Every way to ask for an ACL that opens something, each as a request that is sent anew. */
const openings = (s3: S3Client): readonly (readonly [what: string, ask: () => Promise<unknown>])[] => [
  ...openAcls.flatMap((ACL): (readonly [string, () => Promise<unknown>])[] => [
    [`${ACL} of the bucket`, () => s3.send(new PutBucketAclCommand({ Bucket, ACL }))],
    [`${ACL} of an object`, () => s3.send(new PutObjectAclCommand({ Bucket, Key: 'key', ACL }))],
    [`${ACL} with an object`, () => s3.send(new PutObjectCommand({ Bucket, Key: 'key', ACL, Body: 'x' }))],
    [
      `${ACL} with a copy`,
      () => s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/key`, ACL })),
    ],
    [`${ACL} with an upload`, () => s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'parts', ACL }))],
  ]),
  ...[everyone, signed].flatMap((URI): (readonly [string, () => Promise<unknown>])[] => {
    const AccessControlPolicy = grantTo(URI)
    return [
      [`${URI} of the bucket`, () => s3.send(new PutBucketAclCommand({ Bucket, AccessControlPolicy }))],
      [`${URI} of an object`, () => s3.send(new PutObjectAclCommand({ Bucket, Key: 'key', AccessControlPolicy }))],
    ]
  }),
]

t.test('a client puts, gets and deletes the public access block', async t => {
  const { gateway, s3, other, block } = await withBucket(t)
  const get = async () => (await s3.send(new GetPublicAccessBlockCommand({ Bucket }))).PublicAccessBlockConfiguration
  await t.rejects(get(), refused('NoSuchPublicAccessBlockConfiguration', 404))
  const all = {
    BlockPublicAcls: true,
    IgnorePublicAcls: false,
    BlockPublicPolicy: true,
    RestrictPublicBuckets: false,
  }
  await block(all)
  t.strictSame(await get(), all)
  await block({ RestrictPublicBuckets: true })
  t.strictSame(await get(), {
    BlockPublicAcls: false,
    IgnorePublicAcls: false,
    BlockPublicPolicy: false,
    RestrictPublicBuckets: true,
  })
  const config = { Bucket, PublicAccessBlockConfiguration: {} }
  await t.rejects(other.send(new GetPublicAccessBlockCommand({ Bucket })), denied)
  await t.rejects(other.send(new PutPublicAccessBlockCommand(config)), denied)
  await t.rejects(other.send(new DeletePublicAccessBlockCommand({ Bucket })), denied)
  for (const [content, code] of [
    ['', 'InvalidRequest'],
    ['<Other>true</Other>', 'InvalidRequest'],
    ['<BlockPublicAcls>yes</BlockPublicAcls>', 'MalformedXML'],
    ['<BlockPublicAcls>true</BlockPublicAcls><BlockPublicAcls>false</BlockPublicAcls>', 'MalformedXML'],
    ['<BlockPublicAcls>TRUE</BlockPublicAcls>', undefined],
  ] as const) {
    const body = `<PublicAccessBlockConfiguration>${content}</PublicAccessBlockConfiguration>`
    t.equal((await gateway.signedFetch(admin, 'PUT', '/bucket?publicAccessBlock', { body })).code, code, content)
  }
  t.match(await get(), { BlockPublicAcls: true, RestrictPublicBuckets: false })
  await s3.send(new DeletePublicAccessBlockCommand({ Bucket }))
  await t.rejects(get(), refused('NoSuchPublicAccessBlockConfiguration', 404))
})

t.test('BlockPublicAcls: public ACLs are refused, by header, in XML, on buckets and objects', async t => {
  const { gateway, s3, block, put, anonymous } = await withBucket(t)
  await put('key')
  await put('open', 'public-read')
  await block({ BlockPublicAcls: true })
  for (const [what, ask] of openings(s3)) await t.rejects(ask(), denied, what)
  const form = new FormData()
  form.set('key', 'form')
  form.set('acl', 'public-read')
  form.set('file', new Blob(['x']))
  await s3.send(new PutBucketAclCommand({ Bucket, ACL: 'private' }))
  t.equal((await fetch(`${gateway.url}/${Bucket}`, { method: 'POST', body: form })).status, 403)
  await put('key', 'bucket-owner-full-control')
  t.equal(await anonymous('/bucket/open'), 200, 'what was open before stays so')
  await s3.send(new DeletePublicAccessBlockCommand({ Bucket }))
  for (const [what, ask] of openings(s3)) await t.resolves(ask(), what)
})

t.test('BlockPublicAcls: an upload that was begun with a public ACL is not completed', async t => {
  const { s3, block, own } = await withBucket(t)
  const Key = 'parts'
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ACL: 'public-read' }))
  const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: 'text' }))
  const complete = () =>
    s3.send(
      new CompleteMultipartUploadCommand({
        Bucket,
        Key,
        UploadId,
        MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] },
      }),
    )
  await block({ BlockPublicAcls: true })
  await t.rejects(complete(), denied)
  await block({ BlockPublicAcls: false })
  await own('BucketOwnerEnforced')
  await t.rejects(complete(), disabled)
  await own('ObjectWriter')
  await complete()
  await block({ BlockPublicAcls: true })
  await t.resolves(complete(), 'sent again')
})

t.test('IgnorePublicAcls: public ACLs may be put, and open nothing', async t => {
  const { gateway, s3, other, block, put, anonymous } = await withBucket(t)
  await s3.send(new PutBucketAclCommand({ Bucket, ACL: 'public-read-write' }))
  await put('key', 'public-read')
  await put('signed', 'authenticated-read')
  const write = async () => (await gateway.signedFetch(undefined, 'PUT', '/bucket/theirs', { body: 'x' })).status
  const list = () => other.send(new ListObjectsV2Command({ Bucket }))
  const read = () => other.send(new GetObjectCommand({ Bucket, Key: 'signed' }))
  const remove = async () => {
    const body = '<Delete><Object><Key>none</Key></Object></Delete>'
    const headers = { 'x-amz-checksum-crc32': 'AAAAAA==' }
    return (await gateway.signedFetch(undefined, 'POST', '/bucket?delete', { headers, body })).status
  }
  t.strictSame([await anonymous('/bucket/key'), await anonymous('/bucket'), await write()], [200, 200, 200])
  t.equal(await remove(), 400, 'read, and its checksum is wrong')
  await t.resolves(list())
  await t.resolves(read())
  await block({ IgnorePublicAcls: true })
  t.strictSame([await anonymous('/bucket/key'), await anonymous('/bucket'), await write()], [403, 403, 403])
  t.equal(await remove(), 403)
  await t.rejects(list(), denied)
  await t.rejects(read(), denied)
  for (const [what, ask] of openings(s3)) await t.resolves(ask(), what)
  await put('key', 'public-read')
  t.equal(await anonymous('/bucket/key'), 403)
  const owner = { Grantee: { ID: admin.domainId }, Permission: 'FULL_CONTROL' }
  const grants = async (command: GetBucketAclCommand | GetObjectAclCommand) =>
    command instanceof GetBucketAclCommand ? (await s3.send(command)).Grants : (await s3.send(command)).Grants
  const bucketAcl = () => grants(new GetBucketAclCommand({ Bucket }))
  const objectAcl = () => grants(new GetObjectAclCommand({ Bucket, Key: 'key' }))
  t.match(await bucketAcl(), [owner], 'what counts is answered')
  t.equal((await bucketAcl())?.length, 1)
  t.equal((await objectAcl())?.length, 1)
  await block({ IgnorePublicAcls: false })
  t.equal((await bucketAcl())?.length, 2, 'they are kept')
  t.equal((await objectAcl())?.length, 2)
  t.equal(await anonymous('/bucket/key'), 200)
})

t.test('BlockPublicPolicy: public policies are refused', async t => {
  const { gateway, s3, block, put, policy, anonymous } = await withBucket(t)
  await put('key')
  await block({ BlockPublicPolicy: true })
  await t.rejects(policy({}), denied)
  await policy({ Principal: { AWS: stranger.domainId } })
  const { PolicyStatus } = await s3.send(new GetBucketPolicyStatusCommand({ Bucket }))
  t.strictSame(PolicyStatus, { IsPublic: false })
  const theirs = gateway.client(stranger)
  await t.resolves(theirs.send(new GetObjectCommand({ Bucket, Key: 'key' })))
  await s3.send(new DeletePublicAccessBlockCommand({ Bucket }))
  await policy({})
  await block({ BlockPublicPolicy: true })
  t.equal(await anonymous('/bucket/key'), 200, 'one that was there before stays')
})

t.test('RestrictPublicBuckets: a bucket with a public policy serves its own tenant alone', async t => {
  const { gateway, s3, other, block, put, policy, anonymous } = await withBucket(t)
  await put('key')
  await put('open', 'public-read')
  const delegated = { Principal: { AWS: stranger.domainId }, Action: 's3:*' }
  const read = (Key = 'key') => other.send(new GetObjectCommand({ Bucket, Key }))
  await policy(delegated, {})
  await t.resolves(read())
  t.equal(await anonymous('/bucket/key'), 200)
  await block({ RestrictPublicBuckets: true })
  await t.rejects(read(), denied, 'the delegation counts no more')
  await t.rejects(read('open'), denied, 'nor does an ACL')
  t.strictSame([await anonymous('/bucket/key'), await anonymous('/bucket/open')], [403, 403])
  await t.rejects(other.send(new PutObjectCommand({ Bucket, Key: 'new', Body: 'x' })), denied)
  const body = '<Delete><Object><Key>key</Key></Object></Delete>'
  t.equal((await gateway.signedFetch(stranger, 'POST', '/bucket?delete', { body })).code, 'AccessDenied')
  for (const who of [admin, ordinary]) {
    await t.resolves(gateway.client(who).send(new GetObjectCommand({ Bucket, Key: 'key' })), who.name)
  }
  await policy(delegated)
  await t.resolves(read(), 'a policy that is not public is not restricted')
  await t.resolves(read('open'))
  t.equal(await anonymous('/bucket/open'), 200)
  await s3.send(new DeleteBucketPolicyCommand({ Bucket }))
  t.equal(await anonymous('/bucket/open'), 200)
})

t.test('a client puts, gets and deletes the ownership controls', async t => {
  const { gateway, s3, other, own } = await withBucket(t)
  const get = async () => (await s3.send(new GetBucketOwnershipControlsCommand({ Bucket }))).OwnershipControls?.Rules
  await t.rejects(get(), refused('OwnershipControlsNotFoundError', 404))
  for (const ObjectOwnership of ['BucketOwnerPreferred', 'ObjectWriter', 'BucketOwnerEnforced'] as const) {
    await own(ObjectOwnership)
    t.strictSame(await get(), [{ ObjectOwnership }])
  }
  await t.rejects(other.send(new GetBucketOwnershipControlsCommand({ Bucket })), denied)
  await t.rejects(own('ObjectWriter', other), denied)
  await t.rejects(other.send(new DeleteBucketOwnershipControlsCommand({ Bucket })), denied)
  const rule = (ownership: string) => `<Rule><ObjectOwnership>${ownership}</ObjectOwnership></Rule>`
  for (const content of ['', '<Rule></Rule>', rule('Nobody'), rule('ObjectWriter') + rule('ObjectWriter')]) {
    const body = `<OwnershipControls>${content}</OwnershipControls>`
    t.equal((await gateway.signedFetch(admin, 'PUT', '/bucket?ownershipControls', { body })).code, 'MalformedXML')
  }
  t.strictSame(await get(), [{ ObjectOwnership: 'BucketOwnerEnforced' }])
  await s3.send(new DeleteBucketOwnershipControlsCommand({ Bucket }))
  await t.rejects(get(), refused('OwnershipControlsNotFoundError', 404))
})

t.test('BucketOwnerEnforced: ACLs are refused, and count no more', async t => {
  const { gateway, s3, own, put, anonymous } = await withBucket(t)
  await put('key')
  await put('open', 'public-read')
  await s3.send(new PutBucketAclCommand({ Bucket, ACL: 'public-read' }))
  await t.rejects(own('BucketOwnerEnforced'), refused('InvalidBucketAclWithObjectOwnership', 400))
  await s3.send(new PutBucketAclCommand({ Bucket, ACL: 'private' }))
  await own('BucketOwnerEnforced')
  t.equal(await anonymous('/bucket/open'), 403, 'the ACL of an object opens nothing')
  t.equal((await s3.send(new GetObjectAclCommand({ Bucket, Key: 'open' }))).Grants?.length, 1)
  for (const [what, ask] of openings(s3)) await t.rejects(ask(), disabled, what)
  for (const ACL of ['private', 'bucket-owner-read', 'aws-exec-read'] as const) {
    await t.rejects(put('key', ACL), disabled, ACL)
  }
  await t.rejects(s3.send(new PutBucketAclCommand({ Bucket, ACL: 'private' })), disabled)
  await t.rejects(s3.send(new PutObjectAclCommand({ Bucket, Key: 'key', GrantRead: `uri="${everyone}"` })), disabled)
  await t.rejects(s3.send(new PutBucketAclCommand({ Bucket, GrantFullControl: 'id="domain2"' })), disabled)
  const grant = (grantee: string) =>
    `<AccessControlPolicy><Owner><ID>domain1</ID></Owner><AccessControlList><Grant><Grantee>${grantee}</Grantee>` +
    '<Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>'
  for (const grantee of ['<ID>domain2</ID>', '<EmailAddress>a@b</EmailAddress>', '<ID>domain1</ID>']) {
    const reply = await gateway.signedFetch(admin, 'PUT', '/bucket/key?acl', { body: grant(grantee) })
    t.equal(reply.code, 'AccessControlListNotSupported', grantee)
  }
  const full = { Grantee: { Type: 'CanonicalUser' as const, ID: admin.domainId }, Permission: 'FULL_CONTROL' as const }
  const AccessControlPolicy = { Owner: { ID: admin.domainId }, Grants: [full] }
  await put('key', 'bucket-owner-full-control')
  await put('key')
  await s3.send(new PutObjectAclCommand({ Bucket, Key: 'key', ACL: 'bucket-owner-full-control' }))
  await s3.send(new PutObjectAclCommand({ Bucket, Key: 'key', AccessControlPolicy }))
  await s3.send(new PutBucketAclCommand({ Bucket, AccessControlPolicy }))
  await own('BucketOwnerPreferred')
  t.equal(await anonymous('/bucket/open'), 200, 'they are kept, and count again')
  for (const [what, ask] of openings(s3)) await t.resolves(ask(), what)
})

t.test('a bucket is made with an ownership', async t => {
  const gateway = await startGateway(t)
  const s3 = gateway.client()
  const make = (name: string, ObjectOwnership: ObjectOwnership, ACL?: BucketCannedACL) =>
    s3.send(new CreateBucketCommand({ Bucket: name, ObjectOwnership, ACL }))
  await make('one', 'BucketOwnerEnforced')
  const { OwnershipControls } = await s3.send(new GetBucketOwnershipControlsCommand({ Bucket: 'one' }))
  t.strictSame(OwnershipControls?.Rules, [{ ObjectOwnership: 'BucketOwnerEnforced' }])
  await t.rejects(s3.send(new PutBucketAclCommand({ Bucket: 'one', ACL: 'public-read' })), disabled)
  await t.rejects(
    make('two', 'BucketOwnerEnforced', 'public-read'),
    refused('InvalidBucketAclWithObjectOwnership', 400),
  )
  await make('two', 'ObjectWriter', 'public-read')
  await make('three', 'BucketOwnerEnforced', 'private')
  const headers = { 'x-amz-object-ownership': 'Nobody' }
  t.equal((await gateway.signedFetch(admin, 'PUT', '/four', { headers })).code, 'InvalidArgument')
})

t.test('the status of a policy: public, as S3 documents it', async t => {
  const { s3, other, policy } = await withBucket(t, { profile: createProfile('s3', { region }) })
  const status = async () => (await s3.send(new GetBucketPolicyStatusCommand({ Bucket }))).PolicyStatus?.IsPublic
  await t.rejects(status(), { ...refused('NoSuchBucketPolicy', 404), message: 'The bucket policy does not exist' })
  await policy({})
  t.equal(await status(), true)
  await t.rejects(other.send(new GetBucketPolicyStatusCommand({ Bucket })), denied)
  await policy({ Principal: { AWS: 'arn:aws:iam::domain2:root' } })
  t.equal(await status(), false)
})
