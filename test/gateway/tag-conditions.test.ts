// Policies that ask for tags, of the object that is there and of the request, with Amazon's own client: what is judged is what is done.
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectTaggingCommand,
  GetObjectAclCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ObjectAttributes,
  PutBucketPolicyCommand,
  PutObjectAclCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  type S3Client,
  S3ServiceException,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import t, { type Test } from 'tap'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, ordinary, region, startGateway, stranger, strangersUser } from '../support/gateway.ts'

const Bucket = 'bucket'
const everything = [`arn:aws:s3:::${Bucket}`, `arn:aws:s3:::${Bucket}/*`]
const theirs = { AWS: stranger.domainId }
const tagSet = (tags: Readonly<Record<string, string>>) => ({
  TagSet: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })),
})

const withBucket = async (t: Test) => {
  const gateway = await startGateway(t, { profile: createProfile('s3', { region }) })
  const s3 = gateway.client()
  await s3.send(new CreateBucketCommand({ Bucket }))
  const put = (Key: string, Tagging?: string, by: S3Client = s3) =>
    by.send(new PutObjectCommand({ Bucket, Key, Tagging, Body: 'text' }))
  const policy = (...statements: readonly object[]) => {
    const all = statements.map(statement => ({
      ...{ Effect: 'Allow', Principal: theirs, Resource: everything },
      ...statement,
    }))
    const Policy = JSON.stringify({ Version: '2012-10-17', Statement: all })
    return s3.send(new PutBucketPolicyCommand({ Bucket, Policy }))
  }
  return { gateway, s3, put, policy, other: gateway.client(stranger) }
}

const outcome = (answer: Promise<unknown>): Promise<string> =>
  answer.then(
    () => 'done',
    (error: unknown) => {
      if (error instanceof S3ServiceException) return error.$metadata.httpStatusCode === 403 ? 'denied' : error.name
      throw error
    },
  )

/** Everything that a policy can decide by the tags of the object that is there. */
const asks: ReadonlyMap<string, (s3: S3Client, Key: string) => Promise<unknown>> = new Map<
  string,
  (s3: S3Client, Key: string) => Promise<unknown>
>([
  ['get', (s3, Key) => s3.send(new GetObjectCommand({ Bucket, Key }))],
  ['head', (s3, Key) => s3.send(new HeadObjectCommand({ Bucket, Key }))],
  [
    'attributes',
    (s3, Key) =>
      s3.send(new GetObjectAttributesCommand({ Bucket, Key, ObjectAttributes: [ObjectAttributes.OBJECT_SIZE] })),
  ],
  ['get the ACL', (s3, Key) => s3.send(new GetObjectAclCommand({ Bucket, Key }))],
  ['get the tags', (s3, Key) => s3.send(new GetObjectTaggingCommand({ Bucket, Key }))],
  ['copy from it', (s3, Key) => s3.send(new CopyObjectCommand({ Bucket: 'own', Key, CopySource: `${Bucket}/${Key}` }))],
  [
    'copy a part from it',
    async (s3, Key) => {
      const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket: 'own', Key }))
      const part = { Bucket: 'own', Key, UploadId, PartNumber: 1 }
      await s3.send(new UploadPartCopyCommand({ ...part, CopySource: `${Bucket}/${Key}` }))
    },
  ],
  ['put the ACL', (s3, Key) => s3.send(new PutObjectAclCommand({ Bucket, Key, ACL: 'private' }))],
  [
    'put the ACL in XML',
    (s3, Key) => {
      const full = {
        Grantee: { Type: 'CanonicalUser' as const, ID: admin.domainId },
        Permission: 'FULL_CONTROL' as const,
      }
      const AccessControlPolicy = { Owner: { ID: admin.domainId }, Grants: [full] }
      return s3.send(new PutObjectAclCommand({ Bucket, Key, AccessControlPolicy }))
    },
  ],
  [
    'put tags',
    (s3, Key) => s3.send(new PutObjectTaggingCommand({ Bucket, Key, Tagging: tagSet({ Team: 'blue', more: '1' }) })),
  ],
  ['delete the tags', (s3, Key) => s3.send(new DeleteObjectTaggingCommand({ Bucket, Key }))],
])

t.test('the tags of the object that is there: Allow', async t => {
  const { other, put, policy } = await withBucket(t)
  await other.send(new CreateBucketCommand({ Bucket: 'own' }))
  await policy({ Action: 's3:*', Condition: { StringEquals: { 's3:ExistingObjectTag/team': 'blue' } } })
  for (const [what, ask] of asks) {
    await put('blue', 'Team=blue&a=b')
    await put('red', 'Team=red')
    await put('bare')
    t.equal(await outcome(ask(other, 'blue')), 'done', `${what}: the tag`)
    t.equal(await outcome(ask(other, 'red')), 'denied', `${what}: another value`)
    t.equal(await outcome(ask(other, 'bare')), 'denied', `${what}: none`)
    t.equal(await outcome(ask(other, 'missing')), 'denied', `${what}: no object`)
  }
  t.equal(await outcome(put('blue', undefined, other)), 'denied', 'not to overwrite it, as in S3')
  t.equal(await outcome(other.send(new DeleteObjectCommand({ Bucket, Key: 'blue' }))), 'denied', 'nor to delete it')
})

t.test('the tags of the object that is there: Deny', async t => {
  const { gateway, s3, put, policy, other } = await withBucket(t)
  await s3.send(new CreateBucketCommand({ Bucket: 'own' }))
  const Condition = { StringEquals: { 's3:ExistingObjectTag/team': 'red' } }
  await policy({ Effect: 'Deny', Principal: '*', Action: ['s3:GetObject*', 's3:*Acl', 's3:*Tagging'], Condition })
  for (const [what, ask] of asks) {
    await put('red', 'team=red')
    await put('bare')
    t.equal(await outcome(ask(gateway.client(ordinary), 'red')), 'denied', `${what}: the tag`)
    t.equal(await outcome(ask(gateway.client(ordinary), 'bare')), 'done', `${what}: none`)
  }
  const open = (Tagging: string) => s3.send(new PutObjectCommand({ Bucket, Key: 'open', ACL: 'public-read', Tagging }))
  const read = () => outcome(other.send(new GetObjectCommand({ Bucket, Key: 'open' })))
  await open('team=blue')
  t.equal(await read(), 'done', 'by the ACL of the object')
  await open('team=red')
  t.equal(await read(), 'denied', 'no ACL takes a Deny back')
  await policy({ Action: 's3:GetObject', Condition })
  await s3.send(new PutObjectCommand({ Bucket, Key: 'open', ACL: 'public-read', Tagging: 'team=blue' }))
  t.equal(await read(), 'done', 'where an Allow does not hold, the ACL counts')
})

t.test('each permission by itself is asked for with the tags', async t => {
  const { put, policy, other } = await withBucket(t)
  await other.send(new CreateBucketCommand({ Bucket: 'own' }))
  await put('blue', 'team=blue')
  await put('red', 'team=red')
  const Condition = { StringEquals: { 's3:ExistingObjectTag/team': 'blue' } }
  const blue = (Action: string) => policy({ Action: ['s3:GetObject', 's3:PutObject'] }, { Action, Condition })
  for (const [what, Action] of [
    ['attributes', 's3:GetObjectAttributes'],
    ['copy from it', 's3:GetObjectTagging'],
  ] as const) {
    await blue(Action)
    t.equal(await outcome(asks.get(what)?.(other, 'blue') ?? Promise.reject(new Error(what))), 'done', Action)
    t.equal(await outcome(asks.get(what)?.(other, 'red') ?? Promise.reject(new Error(what))), 'denied', Action)
  }
  for (const [Action, input] of [
    ['s3:PutObjectAcl', { ACL: 'public-read' }],
    ['s3:PutObjectTagging', { Tagging: 'team=blue' }],
  ] as const) {
    await blue(Action)
    const over = other.send(new PutObjectCommand({ Bucket, Key: 'blue', Body: 'x', ...input }))
    t.equal(await outcome(over), 'denied', `${Action}: a new object has none`)
  }
})

t.test('a Deny by ACL and tag together holds for an ACL in the header and in the body', async t => {
  const { s3, put, policy } = await withBucket(t)
  const Condition = {
    StringEquals: { 's3:ExistingObjectTag/team': 'red', 's3:x-amz-acl': 'public-read' },
  }
  await policy({ Effect: 'Deny', Principal: '*', Action: 's3:PutObjectAcl', Resource: everything[1], Condition })
  const grant = {
    Grantee: { Type: 'Group' as const, URI: 'http://acs.amazonaws.com/groups/global/AllUsers' },
    Permission: 'READ' as const,
  }
  const AccessControlPolicy = { Owner: { ID: admin.domainId }, Grants: [grant] }
  for (const list of [{ ACL: 'public-read' as const }, { AccessControlPolicy }]) {
    await put('red', 'team=red')
    await put('blue', 'team=blue')
    t.equal(await outcome(s3.send(new PutObjectAclCommand({ Bucket, Key: 'red', ...list }))), 'denied')
    t.equal(await outcome(s3.send(new PutObjectAclCommand({ Bucket, Key: 'blue', ...list }))), 'done')
  }
})

t.test('no row is read for the tags: those of the object that is opened count', async t => {
  const { gateway, put, policy, other } = await withBucket(t)
  await put('blue', 'team=blue')
  await put('red', 'team=red')
  let reads = 0
  const { store } = gateway
  for (const name of ['getObject', 'openObject'] as const) {
    const read = store[name].bind(store)
    Object.assign(store, {
      [name]: (bucketId: string, key: string) => {
        reads++
        return read(bucketId, key)
      },
    })
  }
  const counted = async (ask: () => Promise<unknown>): Promise<number> => {
    reads = 0
    await ask()
    return reads
  }
  const get = () => other.send(new GetObjectCommand({ Bucket, Key: 'blue' }))
  const change = () =>
    other.send(new PutObjectTaggingCommand({ Bucket, Key: 'blue', Tagging: tagSet({ team: 'blue' }) }))
  const without = { Action: 's3:*' }
  await policy(without)
  const before = [await counted(get), await counted(change)]
  await policy({ ...without, Condition: { StringEquals: { 's3:ExistingObjectTag/team': 'blue' } } })
  t.strictSame([await counted(get), await counted(change)], before)
  // Who changes the tags in the index gets nothing: they are of the authenticated row.
  const { id, revision } = (await gateway.rows.getBucket(Bucket)) ?? { id: '', revision: '' }
  const record = await gateway.rows.getObject(id, 'red')
  const notes = { ...record?.notes, tags: [['team', 'blue']] as const }
  await gateway.rows.updateNotes({ id, revision }, 'red', { notes, mac: record?.mac })
  await t.rejects(other.send(new GetObjectCommand({ Bucket, Key: 'red' })), {
    name: 'InternalError',
    $metadata: { httpStatusCode: 500 },
  })
})

/** Every way to write an object, and the tags that it gets. */
const writes: ReadonlyMap<string, (s3: S3Client, Tagging: string | undefined) => Promise<unknown>> = new Map<
  string,
  (s3: S3Client, Tagging: string | undefined) => Promise<unknown>
>([
  ['put', (s3, Tagging) => s3.send(new PutObjectCommand({ Bucket, Key: 'key', Tagging, Body: 'x' }))],
  [
    'copy, other tags',
    (s3, Tagging) => {
      const to = { Bucket, Key: 'key', CopySource: 'own/tagged', Tagging, TaggingDirective: 'REPLACE' } as const
      return s3.send(new CopyObjectCommand(to))
    },
  ],
  [
    "copy, its source's tags",
    (s3, Tagging) => s3.send(new CopyObjectCommand({ Bucket, Key: 'key', CopySource: `own/${Tagging ?? 'bare'}` })),
  ],
  [
    'an upload',
    async (s3, Tagging) => {
      const at = { Bucket, Key: 'key' }
      const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...at, Tagging }))
      const part = { ...at, UploadId, PartNumber: 1 }
      const { ETag } = await s3.send(new UploadPartCommand({ ...part, Body: 'x' }))
      const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] }
      await s3.send(new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload }))
    },
  ],
  [
    'a form',
    async (s3, Tagging) => {
      const tags = (Tagging ?? '').split('&').filter(tag => tag !== '')
      const xml = tags.map(tag => `<Tag><Key>${tag.split('=')[0]}</Key><Value>${tag.split('=')[1]}</Value></Tag>`)
      const tagging = `<Tagging><TagSet>${xml.join('')}</TagSet></Tagging>`
      const { url, fields } = await createPresignedPost(s3, {
        ...{ Bucket, Key: 'key' },
        ...(Tagging !== undefined && { Fields: { tagging }, Conditions: [['starts-with', '$tagging', '']] }),
      })
      const form = new FormData()
      for (const [name, value] of Object.entries(fields)) form.set(name, value)
      form.set('file', new Blob(['x']))
      const { status } = await fetch(url, { method: 'POST', body: form })
      if (status === 403)
        throw new S3ServiceException({ name: 'AccessDenied', $fault: 'client', $metadata: { httpStatusCode: 403 } })
    },
  ],
])

const withSources = async (t: Test) => {
  const made = await withBucket(t)
  const { gateway, other } = made
  await other.send(new CreateBucketCommand({ Bucket: 'own' }))
  for (const [Key, Tagging] of [
    ['tagged', 'secret=yes'],
    ['bare', undefined],
    ['team=blue', 'team=blue'],
    ['team=red', 'team=red'],
    ['Team=blue&more=1', 'Team=blue&more=1'],
  ] as const) {
    await other.send(new PutObjectCommand({ Bucket: 'own', Key, Tagging, Body: 'x' }))
  }
  return { ...made, theirsUser: gateway.client(strangersUser) }
}

t.test('the tags of a request: Allow and Deny, whichever way it writes', async t => {
  const { other, policy } = await withSources(t)
  const puts = { Action: ['s3:PutObject', 's3:PutObjectTagging'], Resource: everything[1] }
  const expect = async (what: string, allowed: readonly (string | undefined)[], refused: typeof allowed) => {
    for (const [way, write] of writes) {
      for (const tags of allowed) t.equal(await outcome(write(other, tags)), 'done', `${what}, ${way}: ${tags}`)
      for (const tags of refused) t.equal(await outcome(write(other, tags)), 'denied', `${what}, ${way}: ${tags}`)
    }
  }
  await policy({ ...puts, Condition: { StringEquals: { 's3:RequestObjectTag/team': 'blue' } } })
  await expect('Allow', ['team=blue', 'Team=blue&more=1'], ['team=red', undefined])
  const denies = { Effect: 'Deny', Principal: '*', Resource: everything[1] }
  const red = { StringEquals: { 's3:RequestObjectTag/team': 'red' } }
  for (const Action of ['s3:PutObject', 's3:PutObjectTagging']) {
    await policy(puts, { ...denies, Action, Condition: red })
    await expect(`Deny ${Action}`, ['team=blue', undefined], ['team=red'])
  }
  await policy({
    ...puts,
    Condition: { 'ForAllValues:StringEquals': { 's3:RequestObjectTagKeys': ['team'] } },
  })
  await expect('names', ['team=blue', undefined], ['Team=blue&more=1'])
})

t.test('the tags that are put on an object stand in the body, and in no header', async t => {
  const { gateway, s3, put, policy, other } = await withBucket(t)
  await put('key', 'team=blue')
  await policy({ Action: 's3:PutObjectTagging', Condition: { StringEquals: { 's3:RequestObjectTag/team': 'blue' } } })
  const tag = (tags: Readonly<Record<string, string>>) =>
    outcome(other.send(new PutObjectTaggingCommand({ Bucket, Key: 'key', Tagging: tagSet(tags) })))
  t.equal(await tag({ team: 'blue' }), 'done')
  t.equal(await tag({ team: 'red' }), 'denied')
  t.equal(await tag({}), 'denied')
  const body = '<Tagging><TagSet><Tag><Key>team</Key><Value>red</Value></Tag></TagSet></Tagging>'
  const headers = { 'x-amz-tagging': 'team=blue' }
  t.equal((await gateway.signedFetch(stranger, 'PUT', '/bucket/key?tagging', { headers, body })).code, 'AccessDenied')
  await policy({ Action: 's3:*', Condition: { StringEquals: { 's3:RequestObjectTag/team': 'blue' } } })
  t.equal(
    (await gateway.signedFetch(stranger, 'GET', '/bucket/key', { headers })).code,
    'AccessDenied',
    'a GET has none',
  )
  t.equal((await gateway.signedFetch(stranger, 'DELETE', '/bucket/key', { headers })).code, 'AccessDenied')
  const copied = { ...headers, 'x-amz-copy-source': 'bucket/key' }
  await put('key', 'team=red')
  await policy(
    { Action: 's3:Get*' },
    { Action: 's3:Put*', Condition: { StringEquals: { 's3:RequestObjectTag/team': 'blue' } } },
  )
  const copy = await gateway.signedFetch(stranger, 'PUT', '/bucket/copy', { headers: copied })
  t.equal(copy.code, 'AccessDenied', "a copy has its source's")
  await s3.send(new PutObjectCommand({ Bucket, Key: 'key', Body: 'x' }))
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'parts' }))
  await policy({ Action: 's3:Put*', Condition: { StringEquals: { 's3:RequestObjectTag/team': 'blue' } } })
  const path = `/bucket/parts?partNumber=1&uploadId=${UploadId}`
  t.equal((await gateway.signedFetch(stranger, 'PUT', path, { headers, body })).code, 'AccessDenied', 'nor has a part')
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'parts', UploadId }))
})
