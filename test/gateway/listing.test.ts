// Listings of both forms and of versions, held against a model; multi-object delete; GetObjectAttributes.
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  GetObjectAttributesCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  type ObjectAttributes,
  PutObjectCommand,
  type S3Client,
  S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import * as fc from 'fast-check'
import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { compare, utf8 } from '../../lib/bytes.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { checksumsOf } from '../../lib/gateway/objects/checksums.ts'
import { admin, ordinary, region, startGateway, stranger, type TestGateway } from '../support/gateway.ts'
import { bucketOf, put, record } from '../support/store.ts'

const Bucket = 'bucket'
const kms = { 'x-amz-server-side-encryption': 'aws:kms' }

const withKeys = async (t: Test, keys: readonly string[]): Promise<TestGateway> => {
  const gateway = await startGateway(t)
  const bucket = await gateway.store.createBucket(Bucket, { owner: 'domain1', region, created: 0 })
  for (const key of keys) await put(gateway.store, bucket, key, Buffer.from(key), { owner: 'domain1', etag: 'e' })
  return gateway
}

const inOrder = (keys: readonly string[]): readonly string[] =>
  [...new Set(keys)].toSorted((a, b) => compare(utf8(a), utf8(b)))

/** Keys and common prefixes in the order in which a listing has them. */
const model = (keys: readonly string[], prefix: string, delimiter: string): readonly string[] =>
  inOrder(
    keys
      .filter(key => key.startsWith(prefix))
      .map(key => {
        const at = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
        return at < 0 ? key : key.slice(0, at + delimiter.length)
      }),
  )

interface Page {
  readonly Contents?: readonly { readonly Key?: string | undefined }[] | undefined
  readonly CommonPrefixes?: readonly { readonly Prefix?: string | undefined }[] | undefined
}

const decode = (text: string): string => decodeURIComponent(text.replaceAll('+', ' '))

const shown = ({ Contents = [], CommonPrefixes = [] }: Page): readonly string[] => [
  ...Contents.map(({ Key = '' }) => decode(Key)),
  ...CommonPrefixes.map(({ Prefix = '' }) => decode(Prefix)),
]

const listAll = {
  V1: async (s3: S3Client, prefix: string, delimiter: string, limit: number): Promise<readonly string[][]> => {
    const pages: string[][] = []
    let marker: string | undefined
    do {
      const page = await s3.send(
        new ListObjectsCommand({
          Bucket,
          Prefix: prefix,
          Delimiter: delimiter,
          MaxKeys: limit,
          EncodingType: 'url',
          Marker: marker,
        }),
      )
      pages.push([...shown(page)])
      const next = page.NextMarker ?? page.Contents?.at(-1)?.Key
      marker = page.IsTruncated === true ? decode(next ?? '') : undefined
    } while (marker !== undefined)
    return pages
  },
  V2: async (s3: S3Client, prefix: string, delimiter: string, limit: number): Promise<readonly string[][]> => {
    const pages: string[][] = []
    let token: string | undefined
    do {
      const page = await s3.send(
        new ListObjectsV2Command({
          Bucket,
          Prefix: prefix,
          Delimiter: delimiter,
          MaxKeys: limit,
          EncodingType: 'url',
          ContinuationToken: token,
        }),
      )
      const keys = shown(page)
      if (page.KeyCount !== keys.length) throw new Error('KeyCount is another one')
      pages.push([...keys])
      token = page.NextContinuationToken
      if ((token !== undefined) !== page.IsTruncated) throw new Error('a token if and only if there is more')
    } while (token !== undefined)
    return pages
  },
  versions: async (s3: S3Client, prefix: string, delimiter: string, limit: number): Promise<readonly string[][]> => {
    const pages: string[][] = []
    let marker: string | undefined
    let id: string | undefined
    do {
      const page = await s3.send(
        new ListObjectVersionsCommand({
          Bucket,
          Prefix: prefix,
          Delimiter: delimiter,
          MaxKeys: limit,
          EncodingType: 'url',
          KeyMarker: marker,
          VersionIdMarker: id,
        }),
      )
      if (page.Versions?.some(({ VersionId, IsLatest }) => VersionId !== 'null' || IsLatest !== true) === true) {
        throw new Error('a version that is not null')
      }
      pages.push([...shown({ ...page, Contents: page.Versions })])
      marker = page.NextKeyMarker === undefined ? undefined : decode(page.NextKeyMarker)
      id = page.NextVersionIdMarker
    } while (marker !== undefined)
    return pages
  },
}

const awkward = [
  'a',
  'a/',
  'a//',
  'a/b',
  'a/b/c',
  'a b',
  'a+b',
  'a%2Fb',
  '..',
  '../x',
  'é',
  'e\u0301',
  '\u{10000}',
  '\uffff',
  '\ud7ff',
]
const more = ['b&c<d>"', "it's", 'x\r\ny', 'tab\t', '\u0001', 'z/z/z', 'z/y', ' lead', 'trail ', 'a\u0000b']

t.test(
  'every listing shows what is there, once, in byte order, whatever prefix, delimiter and size of page',
  async t => {
    const keys = [...awkward, ...more]
    const { client } = await withKeys(t, keys)
    const s3 = client()
    const prefixes = fc.constantFrom('', 'a', 'a/', 'z/', ' ', 'é', 'nothing', 'a%')
    const delimiters = fc.constantFrom('', '/', 'b', '//', '\u0001')
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('V1' as const, 'V2' as const, 'versions' as const),
        prefixes,
        delimiters,
        fc.integer({ min: 2, max: 30 }),
        async (form, prefix, delimiter, limit) => {
          const pages = await listAll[form](s3, prefix, delimiter, limit)
          const expected = model(keys, prefix, delimiter)
          t.same(inOrder(pages.flat()), expected)
          t.equal(pages.flat().length, expected.length, 'each once')
          t.ok(pages.every(page => page.length <= limit))
          t.ok(
            pages.every((page, i) => {
              const [last = ''] = inOrder(pages[i - 1] ?? []).slice(-1)
              return i === 0 || page.every(name => compare(utf8(name), utf8(last)) > 0)
            }),
            'a page begins behind the one before',
          )
        },
      ),
      { numRuns: 40 },
    )
  },
)

t.test('keys come unencoded too, and what stands in a listing is what was asked and what is there', async t => {
  const keys = ['a/1', 'a/2', 'b & <c>', 'd']
  const { client, signedFetch } = await withKeys(t, keys)
  const s3 = client()
  const one = await s3.send(new ListObjectsCommand({ Bucket, Delimiter: '/', MaxKeys: 2 }))
  t.match(one, {
    Name: Bucket,
    Prefix: '',
    Marker: '',
    Delimiter: '/',
    MaxKeys: 2,
    IsTruncated: true,
    NextMarker: 'b & <c>',
  })
  t.same(shown(one), ['b & <c>', 'a/'])
  t.match(one.Contents?.[0], {
    Key: 'b & <c>',
    Size: 7,
    ETag: '"e"',
    StorageClass: 'STANDARD',
    Owner: { ID: 'domain1' },
  })
  t.equal(
    (await s3.send(new ListObjectsCommand({ Bucket, MaxKeys: 2 }))).NextMarker,
    undefined,
    'only with a delimiter',
  )

  const two = await s3.send(new ListObjectsV2Command({ Bucket, StartAfter: 'a/1', MaxKeys: 2 }))
  t.match(two, { StartAfter: 'a/1', KeyCount: 2, IsTruncated: true })
  t.same(shown(two), ['a/2', 'b & <c>'])
  t.equal(two.Contents?.[0]?.Owner, undefined)
  const rest = await s3.send(
    new ListObjectsV2Command({
      Bucket,
      StartAfter: 'a/1',
      ContinuationToken: two.NextContinuationToken,
      FetchOwner: true,
    }),
  )
  t.equal(rest.ContinuationToken, two.NextContinuationToken)
  t.same(shown(rest), ['d'], 'the token counts, not where it began')
  t.equal(rest.Contents?.[0]?.Owner?.ID, 'domain1')

  const versions = await s3.send(new ListObjectVersionsCommand({ Bucket, KeyMarker: 'a/1', MaxKeys: 1 }))
  t.match(versions, { KeyMarker: 'a/1', NextKeyMarker: 'a/2', NextVersionIdMarker: 'null', IsTruncated: true })
  t.match(versions.Versions?.[0], { Key: 'a/2', VersionId: 'null', IsLatest: true, Owner: { ID: 'domain1' } })

  for (const path of ['/bucket?max-keys=0', '/bucket?list-type=2&max-keys=0', '/bucket?versions&max-keys=0']) {
    const { text } = await signedFetch(admin, 'GET', path)
    t.match(text, '<MaxKeys>0</MaxKeys>')
    t.match(text, '<IsTruncated>false</IsTruncated>')
    t.notMatch(text, '<Key>')
  }
  t.match((await signedFetch(admin, 'GET', '/bucket?max-keys=5000')).text, '<MaxKeys>1000</MaxKeys>')

  const wrong: readonly (readonly [path: string, headers?: Record<string, string>])[] = [
    ['/bucket?max-keys=-1'],
    ['/bucket?max-keys=many'],
    ['/bucket?encoding-type=base64'],
    ['/bucket?list-type=2&continuation-token='],
    ['/bucket?list-type=2&continuation-token=%21'],
    ['/bucket?list-type=2&continuation-token=_w'],
    ['/bucket?versions&version-id-marker=null'],
    ['/bucket', kms],
    ['/bucket?list-type=2', kms],
    ['/bucket?versions', kms],
  ]
  for (const [path, headers = {}] of wrong) {
    const reply = await signedFetch(admin, 'GET', path, { headers })
    t.equal(`${reply.status} ${reply.code}`, '400 InvalidArgument', path)
  }
  t.equal((await signedFetch(stranger, 'GET', '/bucket?max-keys=-1')).code, 'AccessDenied', 'decided first')
})

const md5 = (body: string): Record<string, string> => ({
  'content-md5': createHash('md5').update(body).digest('base64'),
})

t.test('many objects are deleted at once, each for itself', async t => {
  const keys = [...awkward, ...more].filter(key => !key.includes('\uffff'))
  const { client, byName, signedFetch } = await withKeys(t, [...keys, 'stays', 'a  b'])
  const s3 = client()
  const left = async (): Promise<readonly string[]> => byName.keys(Bucket)

  const gone = await s3.send(
    new DeleteObjectsCommand({ Bucket, Delete: { Objects: [...keys, 'never there'].map(Key => ({ Key })) } }),
  )
  t.equal(gone.Errors, undefined)
  t.same(inOrder(gone.Deleted?.map(({ Key = '' }) => Key) ?? []), inOrder([...keys, 'never there']))
  t.same(await left(), ['a  b', 'stays'], 'those and no others: spaces and control characters count')

  const send = (body: string, headers: Record<string, string> = md5(body)) =>
    signedFetch(admin, 'POST', '/bucket?delete', { body, headers })
  const quiet = await send('<Delete><Quiet>true</Quiet><Object><Key>a  b</Key></Object></Delete>')
  t.equal(quiet.status, 200)
  t.notMatch(quiet.text, '<Deleted>')
  const versions = await send(
    '<Delete><Object><Key>stays</Key><VersionId>v1</VersionId></Object><Object><Key>x</Key><VersionId>null</VersionId></Object></Delete>',
  )
  t.match(
    versions.text,
    /<Error><Key>stays<\/Key><VersionId>v1<\/VersionId><Code>InvalidArgument<\/Code><Message>[^<]+/,
  )
  t.match(versions.text, '<Deleted><Key>x</Key><VersionId>null</VersionId></Deleted>')
  const long = await send(`<Delete><Quiet>true</Quiet><Object><Key>${'k'.repeat(1025)}</Key></Object></Delete>`)
  t.match(long.text, '<Code>KeyTooLongError</Code>', 'errors are told to the quiet too')
  const etag = await send('<Delete><Object><Key>stays</Key><ETag>"other"</ETag></Object></Delete>')
  t.match(etag.text, '<Code>PreconditionFailed</Code>')
  t.same(await left(), ['stays'])
  const encoded = await send(
    '<Delete><EncodingType>url</EncodingType><Object><Key>st%61ys</Key></Object><Object><Key>a%2Bb+c</Key></Object></Delete>',
  )
  t.match(encoded.text, '<Key>a%2Bb%20c</Key>', 'OBS clients may encode keys')
  t.same(await left(), [])

  const wrong: readonly (readonly [what: string, body: string, code: string, headers?: Record<string, string>])[] = [
    ['no digest', '<Delete><Object><Key>a</Key></Object></Delete>', 'InvalidRequest', {}],
    ['another digest', '<Delete><Object><Key>a</Key></Object></Delete>', 'BadDigest', md5('x')],
    ['no object', '<Delete></Delete>', 'MalformedXML'],
    ['an object without a key', '<Delete><Object></Object></Delete>', 'MalformedXML'],
    ['an empty key', '<Delete><Object><Key></Key></Object></Delete>', 'MalformedXML'],
    ['1,001 objects', `<Delete>${'<Object><Key>a</Key></Object>'.repeat(1001)}</Delete>`, 'MalformedXML'],
    [
      'an unknown encoding',
      '<Delete><EncodingType>x</EncodingType><Object><Key>a</Key></Object></Delete>',
      'MalformedXML',
    ],
    [
      'a bad encoding',
      '<Delete><EncodingType>url</EncodingType><Object><Key>%</Key></Object></Delete>',
      'MalformedXML',
    ],
    [
      'an entity of its own',
      '<!DOCTYPE a [<!ENTITY b "c">]><Delete><Object><Key>&b;</Key></Object></Delete>',
      'MalformedXML',
    ],
    ['an unknown entity', '<Delete><Object><Key>&nbsp;</Key></Object></Delete>', 'MalformedXML'],
    ['a long entity', '<Delete><Object><Key>&abcdefghijkl;</Key></Object></Delete>', 'MalformedXML'],
    ['half a character', '<Delete><Object><Key>&#xd800;</Key></Object></Delete>', 'MalformedXML'],
    ['a name that JavaScript reserves', '<Delete><__proto__>a</__proto__></Delete>', 'MalformedXML'],
    ['too much', `<Delete>${' '.repeat(2_100_000)}</Delete>`, 'EntityTooLarge'],
  ]
  for (const [what, body, code, headers] of wrong) t.equal((await send(body, headers)).code, code, what)
  t.equal((await send(`<Delete>${'<Object><Key>a</Key></Object>'.repeat(1000)}</Delete>`)).status, 200)
})

t.test('who may delete what: decided for each key', async t => {
  const { byName, signedFetch } = await withKeys(t, ['open/a', 'open/b', 'closed'])
  t.equal((await signedFetch(admin, 'PUT', '/bucket/open/kms', { body: 'x', headers: kms })).status, 200)
  const body = `<Delete>${['open/a', 'closed', 'open/kms'].map(key => `<Object><Key>${key}</Key></Object>`).join('')}</Delete>`
  const send = (who: typeof admin | undefined) =>
    signedFetch(who, 'POST', '/bucket?delete', { body, headers: md5(body) })
  for (const who of [undefined, stranger]) {
    const reply = await send(who)
    t.equal(`${reply.status} ${reply.code}`, '403 AccessDenied', 'where nothing lets anybody in, nothing is read')
  }
  await byName.setSettings(Bucket, {
    policy: JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        { Effect: 'Allow', Principal: '*', Action: 's3:DeleteObject', Resource: 'arn:aws:s3:::bucket/open/*' },
        {
          Effect: 'Deny',
          Principal: { AWS: 'arn:aws:iam::domain1:user/ordinary' },
          Action: 's3:DeleteObject',
          Resource: 'arn:aws:s3:::bucket/open/*',
        },
      ],
    }),
  })
  const codes = (text: string): readonly string[] =>
    [...text.matchAll(/<(Deleted|Error)><Key>(.*?)<\/Key>/g)].map(([, what, key]) => `${what} ${key}`)
  const open = await send(undefined)
  t.equal(open.status, 200)
  t.same(codes(open.text), ['Deleted open/a', 'Error closed', 'Error open/kms'], 'SSE-KMS is not opened')
  t.match(open.text, '<Code>AccessDenied</Code>')
  t.same(codes((await send(ordinary)).text), ['Deleted closed', 'Error open/a', 'Error open/kms'])
  t.same(await byName.keys(Bucket), ['open/b', 'open/kms'])
})

const attributes: ObjectAttributes[] = ['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize']

t.test('GetObjectAttributes: what is known of an object, its checksums opened', async t => {
  const { client, signedFetch } = await startGateway(t, { profile: createProfile('s3', { region }) })
  const s3 = client()
  await signedFetch(admin, 'PUT', '/bucket')
  const body = 'some text'
  const sha256 = createHash('sha256').update(body).digest('base64')
  const put = await s3.send(
    new PutObjectCommand({
      Bucket,
      Key: 'key',
      Body: body,
      ServerSideEncryption: 'aws:kms',
      ChecksumAlgorithm: 'SHA256',
    }),
  )
  const get = (Key: string, ObjectAttributes: ObjectAttributes[] = attributes, more = {}) =>
    s3.send(new GetObjectAttributesCommand({ Bucket, Key, ObjectAttributes, ...more }))
  const all = await get('key')
  t.match(all, {
    ETag: put.ETag?.replaceAll('"', ''),
    Checksum: { ChecksumSHA256: sha256, ChecksumType: 'FULL_OBJECT' },
    StorageClass: 'STANDARD',
    ObjectSize: 9,
  })
  t.equal(all.ObjectParts, undefined)
  t.type(all.LastModified, Date)
  const some = await get('key', ['ObjectSize'])
  t.same([some.ETag, some.Checksum, some.StorageClass, some.ObjectSize], [undefined, undefined, undefined, 9])

  await s3.send(new PutObjectCommand({ Bucket, Key: 'base', Body: body, ChecksumAlgorithm: 'SHA256' }))
  t.match(await get('base'), {
    ETag: createHash('md5').update(body).digest('hex'),
    Checksum: { ChecksumSHA256: sha256 },
  })

  const key = Buffer.alloc(32, 5)
  const customer = {
    SSECustomerAlgorithm: 'AES256',
    SSECustomerKey: key.toString('base64'),
    SSECustomerKeyMD5: createHash('md5').update(key).digest('base64'),
  }
  await s3.send(new PutObjectCommand({ Bucket, Key: 'own', Body: body, ChecksumAlgorithm: 'CRC32', ...customer }))
  t.match(await get('own', attributes, customer), { Checksum: { ChecksumType: 'FULL_OBJECT' }, ObjectSize: 9 })
  const refused = await get('own').catch((error: unknown) => error)
  t.match(refused, { name: 'InvalidRequest' }, 'a key is needed')

  const upload = await s3.send(
    new CreateMultipartUploadCommand({
      Bucket,
      Key: 'parts',
      ServerSideEncryption: 'aws:kms',
      ChecksumAlgorithm: 'CRC32',
    }),
  )
  const Parts = []
  for (const [i, size] of [5 * 1024 * 1024, 7].entries()) {
    const at = { Bucket, Key: 'parts', UploadId: upload.UploadId, PartNumber: 3 * i + 1 }
    Parts.push({
      PartNumber: at.PartNumber,
      ETag: (await s3.send(new UploadPartCommand({ ...at, Body: Buffer.alloc(size) }))).ETag,
    })
  }
  await s3.send(
    new CompleteMultipartUploadCommand({ Bucket, Key: 'parts', UploadId: upload.UploadId, MultipartUpload: { Parts } }),
  )
  t.match((await get('parts')).ObjectParts, {
    TotalPartsCount: 2,
    PartNumberMarker: '0',
    NextPartNumberMarker: '4',
    MaxParts: 1000,
    IsTruncated: false,
    Parts: [
      { PartNumber: 1, Size: 5 * 1024 * 1024 },
      { PartNumber: 4, Size: 7 },
    ],
  })
  t.match((await get('parts', ['ObjectParts'], { MaxParts: 1 })).ObjectParts, {
    NextPartNumberMarker: '1',
    IsTruncated: true,
    Parts: [{ PartNumber: 1 }],
  })
  t.match((await get('parts', ['ObjectParts'], { PartNumberMarker: '1' })).ObjectParts, {
    IsTruncated: false,
    Parts: [{ PartNumber: 4 }],
  })
  const last = await get('parts', ['ObjectParts'], { PartNumberMarker: '4' })
  t.match(last.ObjectParts, { NextPartNumberMarker: '4', IsTruncated: false })

  const wrong: readonly (readonly [headers: Record<string, string>, code: string])[] = [
    [{}, 'InvalidArgument'],
    [{ 'x-amz-object-attributes': 'ETag,Colour' }, 'InvalidArgument'],
    [{ 'x-amz-object-attributes': 'ObjectParts', 'x-amz-max-parts': 'x' }, 'InvalidArgument'],
    [{ 'x-amz-object-attributes': 'ETag', ...kms }, 'InvalidArgument'],
  ]
  for (const [headers, code] of wrong) {
    t.equal(
      (await signedFetch(admin, 'GET', '/bucket/parts?attributes', { headers })).code,
      code,
      JSON.stringify(headers),
    )
  }
  const none = await get('none').catch((error: unknown) => error)
  t.ok(none instanceof S3ServiceException && none.name === 'NoSuchKey')
})

t.test('checksums of parts’ checksums are told apart', async t => {
  const values = new Map([
    [1, Buffer.alloc(16)],
    [0x80 + 3, Buffer.from([1, 2, 3, 4])],
  ])
  t.same(checksumsOf(values), [{ algorithm: 'crc32c', type: 'COMPOSITE', value: 'AQIDBA==' }])
})

t.test('GetObjectAttributes of objects without encryption, and of damaged ones', async t => {
  const { client, store, signedFetch } = await withKeys(t, ['plain'])
  const ask = new GetObjectAttributesCommand({ Bucket, Key: 'plain', ObjectAttributes: attributes })
  const all = await client().send(ask)
  t.match(all, { ETag: 'e', ObjectSize: 5 })
  t.same([all.Checksum, all.ObjectParts], [undefined, undefined])
  const headers = { 'x-amz-object-attributes': 'Checksum' }
  await put(
    store,
    await bucketOf(store, Bucket),
    'damaged',
    Buffer.from('x'),
    record({ kind: 'sse-kms', owner: 'domain1' }),
  )
  t.equal((await signedFetch(admin, 'GET', '/bucket/damaged?attributes', { headers })).code, 'InternalError')
})
