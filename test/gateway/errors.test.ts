// Errors as a client gets them: in profile `s3` the words and elements of Amazon S3, in neither profile anything of the server.
import { CreateBucketCommand, GetBucketTaggingCommand, PutBucketAclCommand } from '@aws-sdk/client-s3'
import t, { type Test } from 'tap'
import { errorTable, SseError } from '../../lib/errors.ts'
import { clientMessage, errorElements } from '../../lib/gateway/http/error-body.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, type Reply, region, startGateway, stranger } from '../support/gateway.ts'

const start = async (t: Test, name: 's3' | 'obs' = 's3') => {
  const gateway = await startGateway(t, { profile: createProfile(name, { region }) })
  await gateway.signedFetch(admin, 'PUT', '/bucket')
  await gateway.signedFetch(admin, 'PUT', '/bucket/key', { body: 'abc' })
  return gateway
}

/** The names of a table, with their type. */
const keysOf = <T extends object>(table: T): readonly (keyof T)[] =>
  Object.keys(table).filter((name): name is Extract<keyof T, string> => name in table)

/** The elements of an error's document, in their order. */
const elementsOf = ({ text }: Reply): Readonly<Record<string, string>> =>
  Object.fromEntries(
    [...text.matchAll(/<(\w+)>([^<]*)<\/\1>/g)].map(([, name = '', value = '']) => [
      name,
      value.replaceAll('&apos;', "'").replaceAll('&quot;', '"'),
    ]),
  )

type Case = readonly [
  what: string,
  method: string,
  path: string,
  expected: Readonly<Record<string, string>>,
  body?: string | undefined,
  headers?: Readonly<Record<string, string>>,
]

const tagging = (key: string) =>
  `<Tagging><TagSet><Tag><Key>${key}</Key><Value>v</Value></Tag><Tag><Key>${key}</Key><Value>v</Value></Tag></TagSet></Tagging>`
const upload =
  'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.'

const cases: readonly Case[] = [
  [
    "S3's words: no key",
    'GET',
    '/bucket/none',
    { Code: 'NoSuchKey', Message: 'The specified key does not exist.', Key: 'none' },
  ],
  [
    "S3's words: no bucket",
    'GET',
    '/none-such/key',
    { Code: 'NoSuchBucket', Message: 'The specified bucket does not exist', BucketName: 'none-such' },
  ],
  [
    "S3's words: no upload",
    'POST',
    '/bucket/key?uploadId=none',
    { Code: 'NoSuchUpload', Message: upload, UploadId: 'none' },
    '<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>',
  ],
  [
    "S3's words: a bucket that is not empty",
    'DELETE',
    '/bucket',
    { Code: 'BucketNotEmpty', Message: 'The bucket you tried to delete is not empty', BucketName: 'bucket' },
  ],
  [
    "S3's words: a method",
    'POST',
    '/bucket/key',
    {
      Code: 'MethodNotAllowed',
      Message: 'The specified method is not allowed against this resource.',
      Method: 'POST',
      ResourceType: 'OBJECT',
    },
  ],
  [
    "S3's words: a range",
    'GET',
    '/bucket/key',
    {
      Code: 'InvalidRange',
      Message: 'The requested range is not satisfiable',
      ActualObjectSize: '3',
      RangeRequested: 'bytes=5-6',
    },
    undefined,
    { range: 'bytes=5-6' },
  ],
  [
    "S3's words: a condition",
    'GET',
    '/bucket/key',
    {
      Code: 'PreconditionFailed',
      Message: 'At least one of the pre-conditions you specified did not hold',
      Condition: 'If-Match',
    },
    undefined,
    { 'if-match': '"other"' },
  ],
  [
    "S3's words: tags that stand twice",
    'PUT',
    '/bucket/key?tagging=',
    { Code: 'InvalidTag', Message: 'Cannot provide multiple Tags with the same key', TagKey: 'twice' },
    tagging('twice'),
  ],
  [
    "S3's words: XML",
    'PUT',
    '/bucket/key?tagging=',
    {
      Code: 'MalformedXML',
      Message: 'The XML you provided was not well-formed or did not validate against our published schema',
    },
    '<Tagging>',
  ],
  [
    "S3's words: a checksum",
    'PUT',
    '/bucket/new',
    { Code: 'BadDigest', Message: 'The CRC32 you specified did not match the calculated checksum.' },
    'abc',
    { 'x-amz-checksum-crc32': 'AAAAAA==' },
  ],
]

for (const [what, method, path, expected, body, headers] of cases) {
  t.test(what, async t => {
    const { signedFetch } = await start(t)
    const reply = await signedFetch(admin, method, path, {
      ...(body !== undefined && { body }),
      ...(headers && { headers }),
    })
    const { RequestId, HostId, ...elements } = elementsOf(reply)
    t.strictSame(elements, expected)
    t.match({ RequestId, HostId }, { RequestId: /^[0-9A-F]{16}$/, HostId: /./ })
    t.equal(reply.headers['server'], 'AmazonS3')
  })
}

t.test("S3's words: who may not, and a signature", async t => {
  const { signedFetch, url } = await start(t)
  const denied = elementsOf(await signedFetch(stranger, 'GET', '/bucket/key'))
  t.match(denied, { Code: 'AccessDenied', Message: 'Access Denied' })
  t.notOk('Resource' in denied)
  const liar = { ...admin, secretAccessKey: 'another' }
  const {
    Message,
    StringToSign = '',
    StringToSignBytes = '',
    CanonicalRequestBytes = '',
  } = elementsOf(await signedFetch(liar, 'GET', '/bucket/key'))
  t.match(Message, /^The request signature we calculated does not match the signature you provided\. Check your key/)
  t.equal(Buffer.from(StringToSignBytes.replaceAll(' ', ''), 'hex').toString(), StringToSign)
  t.match(Buffer.from(CanonicalRequestBytes.replaceAll(' ', ''), 'hex').toString(), /^GET\n\/bucket\/key\n/)
  const res = await fetch(`${url}/bucket/key?Expires=1&AWSAccessKeyId=${admin.accessKeyId}&Signature=x`)
  t.match(await res.text(), /<Message>(Request has expired|The request signature we calculated)/)
})

t.test('profile obs keeps our words, the path and its name', async t => {
  const { signedFetch } = await start(t, 'obs')
  const reply = await signedFetch(admin, 'GET', '/bucket/none')
  t.match(elementsOf(reply), {
    Code: 'NoSuchKey',
    Message: errorTable.NoSuchKey.message,
    Key: 'none',
    Resource: '/bucket/none',
  })
  t.equal(reply.headers['server'], 'OBS')
})

t.test('nothing of the server is in an answer', async t => {
  const secret = '/var/lib/keys is damaged at 10.0.0.7'
  const facts = { requestId: 'r', hostId: 'h', resource: '/b/k', method: 'GET' }
  for (const code of keysOf(errorTable)) {
    const error = new SseError(code, { message: secret })
    if (error.status < 500 || error.status === 501) continue
    for (const profile of ['s3', 'obs'] as const) {
      t.not(clientMessage(error, profile), '', code)
      t.notMatch(JSON.stringify(errorElements(error, { ...facts, profile })), /var.lib|10\.0/, `${code}, ${profile}`)
    }
  }
  const { kms } = await start(t)
  const defaultKey = () => Promise.reject(new SseError('KeyringCorrupt', { message: secret }))
  const broken = new Proxy(kms, {
    get: (target, name) => {
      if (name === 'defaultKey') return defaultKey
      const member: unknown = Reflect.get(target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
  const { signedFetch, log } = await startGateway(t, { kms: broken })
  await signedFetch(admin, 'PUT', '/other')
  const reply = await signedFetch(admin, 'PUT', '/other/k', {
    body: 'x',
    headers: { 'x-amz-server-side-encryption': 'aws:kms' },
  })
  t.equal(reply.status, 500)
  t.notMatch(reply.text, /var.lib/)
  t.ok(log.some(({ error }) => error?.message === secret))
})

t.test('tags that a bucket is made with', async t => {
  const { client } = await start(t)
  const s3 = client()
  const TagSet = [{ Key: 'team', Value: 'storage' }]
  const make = (Bucket: string, Tags: { Key: string; Value: string }[]) =>
    s3.send(new CreateBucketCommand({ Bucket, CreateBucketConfiguration: { LocationConstraint: undefined, Tags } }))
  await make('tagged', TagSet)
  t.same((await s3.send(new GetBucketTaggingCommand({ Bucket: 'tagged' }))).TagSet, TagSet)
  await t.rejects(make('wrong', [{ Key: 'aws:x', Value: '' }]), { name: 'InvalidTag' })
  await t.rejects(s3.send(new GetBucketTaggingCommand({ Bucket: 'wrong' })), { name: 'NoSuchBucket' }, 'it is not made')
})

t.test('grants that no canned ACL has are refused, and nothing is changed', async t => {
  const { client, store } = await start(t)
  const s3 = client()
  const Owner = { ID: admin.domainId }
  const owner = { Type: 'CanonicalUser', ID: admin.domainId } as const
  const grants = [
    [{ Grantee: owner, Permission: 'READ' }],
    [
      { Grantee: owner, Permission: 'FULL_CONTROL' },
      { Grantee: { Type: 'CanonicalUser', ID: 'domain2' }, Permission: 'READ' },
    ],
    [
      { Grantee: owner, Permission: 'FULL_CONTROL' },
      { Grantee: { Type: 'AmazonCustomerByEmail', EmailAddress: 'a@b.c' }, Permission: 'READ' },
    ],
  ] as const
  for (const Grants of grants) {
    const put = new PutBucketAclCommand({ Bucket: 'bucket', AccessControlPolicy: { Owner, Grants: [...Grants] } })
    await t.rejects(s3.send(put), { name: 'NotImplemented', message: /Use one of private/ })
  }
  await t.rejects(s3.send(new PutBucketAclCommand({ Bucket: 'bucket', GrantRead: 'id=domain2' })), {
    name: 'NotImplemented',
  })
  t.same((await store.getBucket('bucket'))?.settings, {})
})
