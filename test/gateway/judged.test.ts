// A change holds for the bucket that was judged: what happens to the bucket while a client holds the body of its request back.
import aws4 from 'aws4'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { SseError } from '../../lib/errors.ts'
import type { GatewayUser } from '../../lib/gateway/options.ts'
import type { ObjectStore } from '../../lib/store/store.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, ordinary, region, type Reply, startGateway, stranger, type TestGateway } from '../support/gateway.ts'
import { filesBecome, filesIn } from '../support/store.ts'

type Headers = Readonly<Record<string, string>>
type Answer = Pick<Reply, 'status' | 'code' | 'text'>

const kms = { 'x-amz-server-side-encryption': 'aws:kms' }
/** Ordinary users may have SSE-KMS here. */
const profile = createProfile('s3', { region })
/** Larger than what a store keeps in its index: half of it has a file already. */
const large = 'body '.repeat(60_000)

interface Held {
  /** Sends a part of the body. */
  send(piece: string): Promise<void>
  /** Sends the rest; the answer. */
  finish(rest: string): Promise<Answer>
}

/** Sends a request but for its body: the gateway has judged it, and asks for the body. */
const held = async (
  { url, host }: TestGateway,
  who: GatewayUser,
  method: string,
  path: string,
  headers: Headers,
  length: number,
): Promise<Held> => {
  const sent = { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', 'content-length': String(length), ...headers }
  const signed = aws4.sign({ service: 's3', region, method, host, path, headers: { ...sent } }, who)
  const req = request(`${url}${path}`, { method, headers: { ...signed.headers, expect: '100-continue' } })
  const answered = once(req, 'response')
  req.flushHeaders()
  const first = await Promise.race([once(req, 'continue').then(() => 100), answered.then(([res]) => res.statusCode)])
  if (first !== 100) throw new Error(`${method} ${path}: the body is not asked for, but answered ${first}`)
  return {
    send: piece => new Promise(resolve => req.write(piece, () => resolve())),
    finish: async rest => {
      req.end(rest)
      const [res] = await answered
      const body = await text(res)
      return { status: res.statusCode, text: body, code: /<Code>(.*?)<\/Code>/.exec(body)?.[1] }
    },
  }
}

/** The whole of it, with something that happens meanwhile. */
const holding = async (
  gateway: TestGateway,
  who: GatewayUser,
  [method, path, headers, body]: readonly [string, string, Headers, string],
  meanwhile: (half: () => Promise<void>) => Promise<void>,
): Promise<Answer> => {
  const { send, finish } = await held(gateway, who, method, path, headers, Buffer.byteLength(body))
  const middle = Math.floor(body.length / 2)
  let at = 0
  await meanwhile(async () => {
    await send(body.slice(0, middle))
    at = middle
  })
  return finish(body.slice(at))
}

const withBucket = async (t: Test, options: Parameters<typeof startGateway>[1] = {}) => {
  const gateway = await startGateway(t, options)
  const send = async (who: GatewayUser, method: string, path: string, body?: string, headers: Headers = {}) => {
    const reply = await gateway.signedFetch(who, method, path, { headers, ...(body !== undefined && { body }) })
    t.ok(reply.status < 300, `${method} ${path}: ${reply.status}`)
    return reply
  }
  await send(admin, 'PUT', '/bucket')
  return { gateway, send }
}

const denying = (action: string): string =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: {
      Effect: 'Deny',
      Principal: { AWS: 'arn:aws:iam::domain1:user/ordinary' },
      Action: action,
      Resource: ['arn:aws:s3:::bucket', 'arn:aws:s3:::bucket/*'],
    },
  })
const tags = '<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>'
const deletes = '<Delete><Object><Key>key</Key></Object><Object><Key>other</Key></Object></Delete>'
const md5 = (body: string) => ({ 'content-md5': createHash('md5').update(body).digest('base64') })
const uploadId = ({ text: xml }: Reply): string => /<UploadId>(.*?)</.exec(xml)?.[1] ?? ''

t.test('a bucket that another tenant has made anew gets nothing of what was for the old one', async t => {
  for (const [what, status, target, sent] of [
    ['an object', 404, 'key', ['PUT', '/bucket/key', {}, large]],
    ['an object under SSE-KMS', 404, 'key', ['PUT', '/bucket/key', kms, large]],
    ['a small object', 404, 'key', ['PUT', '/bucket/key', {}, 'small']],
    ['tags of an object', 404, 'key', ['PUT', '/bucket/key?tagging=', {}, tags]],
    ['a policy', 404, undefined, ['PUT', '/bucket?policy=', {}, denying('s3:GetObject')]],
    ['an ACL', 404, undefined, ['PUT', '/bucket?acl=', {}, '']],
    ['tags of the bucket', 404, undefined, ['PUT', '/bucket?tagging=', {}, tags]],
    ['DeleteObjects', 404, undefined, ['POST', '/bucket?delete=', md5(deletes), deletes]],
    ['a part', 404, 'parts', ['PUT', '/bucket/parts', {}, large]],
    ['a part under SSE-KMS', 404, 'parts', ['PUT', '/bucket/parts', kms, large]],
  ] as const) {
    await t.test(what, async t => {
      const { gateway, send } = await withBucket(t)
      const { store, byName, directory } = gateway
      const owner = `<Owner><ID>${admin.domainId}</ID></Owner>`
      const grantee = '<Grantee><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee>'
      const acl = `<AccessControlPolicy>${owner}<AccessControlList><Grant>${grantee}<Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>`
      const [method, path, headers] = sent
      const body = what === 'an ACL' ? acl : sent[3]
      const isPart = path === '/bucket/parts'
      const id = isPart ? uploadId(await send(admin, 'POST', '/bucket/parts?uploads=', undefined, headers)) : ''
      const whole = isPart
        ? ([method, `${path}?partNumber=1&uploadId=${id}`, {}, body] as const)
        : ([method, path, headers, body] as const)

      const answer = await holding(gateway, admin, whole, async half => {
        await half()
        if (isPart) await send(admin, 'DELETE', `/bucket/parts?uploadId=${id}`)
        await send(admin, 'DELETE', '/bucket')
        await send(stranger, 'PUT', '/bucket')
        await send(stranger, 'PUT', '/bucket/key', 'theirs')
        await send(stranger, 'PUT', '/bucket/other', 'theirs')
      })
      const before = await store.getBucket('bucket')
      t.match(answer, { status, code: 'NoSuchBucket' })
      t.match(before, { owner: stranger.domainId, settings: {} })
      t.strictSame(Object.keys(before?.settings ?? { none: '' }), [], 'no setting')
      t.strictSame(await byName.keys('bucket'), ['key', 'other'], 'no object, and none is gone')
      t.strictSame((await byName.getObject('bucket', 'key'))?.notes.tags, undefined)
      t.equal((await send(stranger, 'GET', '/bucket/key')).text, 'theirs', `${target ?? 'nothing'} is theirs`)
      const uploads = await store.listUploads(before?.id ?? '', { limit: 10 })
      t.strictSame(uploads.uploads, [])
      t.ok(await filesBecome(directory, 0), 'no body is left')
    })
  }
})

t.test('a policy that begins to deny the writer while the body is under way', async t => {
  for (const headers of [{}, kms]) {
    const { gateway, send } = await withBucket(t, { profile })
    const { byName, directory } = gateway
    await send(ordinary, 'PUT', '/bucket/old', 'old')
    const id = uploadId(await send(ordinary, 'POST', '/bucket/parts?uploads=', undefined, headers))
    const deny = (action: string) => async (half: () => Promise<void>) => {
      await half()
      await send(admin, 'PUT', '/bucket?policy=', denying(action))
    }
    const lift = () => send(admin, 'DELETE', '/bucket?policy=')
    const refused = { status: 403, code: 'AccessDenied' }

    const put = await holding(gateway, ordinary, ['PUT', '/bucket/key', headers, large], async half => {
      await half()
      await until('the body has a file', () => filesIn(directory).length === 1)
      await send(admin, 'PUT', '/bucket?policy=', denying('s3:PutObject'))
    })
    t.match(put, refused, 'an object')
    t.equal(await byName.getObject('bucket', 'key'), undefined)
    t.ok(await filesBecome(directory, 0), 'no body is left')
    await lift()

    const over = await holding(gateway, ordinary, ['PUT', '/bucket/old', headers, large], deny('s3:PutObject'))
    t.match(over, refused, 'over an object')
    await lift()
    t.equal((await send(ordinary, 'GET', '/bucket/old')).text, 'old')

    const target = `/bucket/parts?partNumber=1&uploadId=${id}`
    t.match(await holding(gateway, ordinary, ['PUT', target, {}, large], deny('s3:PutObject')), refused, 'a part')
    t.strictSame(await byName.listParts('bucket', 'parts', id), [])
    t.ok(await filesBecome(directory, 0), 'no body is left')
    await lift()

    const tagging = ['PUT', '/bucket/old?tagging=', {}, tags] as const
    t.match(await holding(gateway, ordinary, tagging, deny('s3:PutObjectTagging')), refused, 'tags')
    await lift()
    t.equal((await byName.getObject('bucket', 'old'))?.notes.tags, undefined)

    const xml = '<Delete><Object><Key>old</Key></Object></Delete>'
    const deleting = ['POST', '/bucket?delete=', md5(xml), xml] as const
    const { text: deleted } = await holding(gateway, ordinary, deleting, deny('s3:DeleteObject'))
    t.match(deleted, '<Code>AccessDenied</Code>', 'DeleteObjects')
    t.strictSame(await byName.keys('bucket'), ['old'])
  }
})

t.test('settings that change meanwhile and take nothing away', async t => {
  for (const headers of [{}, kms]) {
    const { gateway, send } = await withBucket(t, { profile })
    const { byName, directory, store } = gateway
    const tagIt = async (half: () => Promise<void>) => {
      await half()
      await send(admin, 'PUT', '/bucket?tagging=', tags)
    }
    const denyOthers = async (half: () => Promise<void>) => {
      await half()
      await send(admin, 'PUT', '/bucket?policy=', denying('s3:ListBucket'))
    }
    for (const meanwhile of [tagIt, denyOthers]) {
      const put = await holding(gateway, ordinary, ['PUT', '/bucket/key', headers, large], meanwhile)
      t.equal(put.status, 200, 'an object')
      t.equal((await send(ordinary, 'GET', '/bucket/key')).text, large)
      t.ok(await filesBecome(directory, 1))
    }
    const id = uploadId(await send(ordinary, 'POST', '/bucket/parts?uploads=', undefined, headers))
    const target = `/bucket/parts?partNumber=1&uploadId=${id}`
    t.equal((await holding(gateway, ordinary, ['PUT', target, {}, large], tagIt)).status, 200, 'a part')
    t.equal((await byName.listParts('bucket', 'parts', id)).length, 1)

    await send(admin, 'DELETE', '/bucket?tagging=')
    const policy = denying('s3:GetObjectTagging')
    t.equal((await holding(gateway, admin, ['PUT', '/bucket?policy=', {}, policy], tagIt)).status, 204, 'a policy')
    const { settings = {} } = (await store.getBucket('bucket')) ?? {}
    t.strictSame(Object.keys(settings).sort(), ['policy', 'tagging'], 'beside what was put meanwhile')
    t.equal(settings['policy'], policy)
  }
})

t.test('a bucket that changes, and is another one when it is looked at again', async t => {
  const { gateway } = await withBucket(t)
  const { store, byName, directory } = gateway
  const remade: ObjectStore = Object.assign(Object.create(store), {
    putObject: async (...[bucket, ...rest]: Parameters<ObjectStore['putObject']>) => {
      if ((await store.getBucket('bucket'))?.id !== bucket.id) return store.putObject(bucket, ...rest)
      await store.deleteBucket(bucket)
      await store.createBucket('bucket', { owner: stranger.domainId, region, created: 0 })
      throw new SseError('BucketChanged')
    },
  })
  const other = await startGateway(t, { store: remade })
  const reply = await other.signedFetch(admin, 'PUT', '/bucket/key', { body: large })
  t.match(reply, { status: 404, code: 'NoSuchBucket' })
  t.strictSame(await byName.keys('bucket'), [])
  t.ok(await filesBecome(directory, 0))
})

t.test('settings that change at every attempt: an answer after twenty, and nothing left', async t => {
  const { gateway } = await withBucket(t)
  const { store, byName, directory } = gateway
  let attempts = 0
  const busy: ObjectStore = Object.assign(Object.create(store), {
    putObject: () => {
      attempts++
      return Promise.reject(new SseError('BucketChanged'))
    },
  })
  const other = await startGateway(t, { store: busy })
  t.match(await other.signedFetch(admin, 'PUT', '/bucket/key', { body: large }), {
    status: 409,
    code: 'OperationAborted',
  })
  t.equal(attempts, 20)
  t.equal(await byName.getObject('bucket', 'key'), undefined)
  t.ok(await filesBecome(directory, 0))
})

/** Waits until something is so. */
const until = async (what: string, check: () => boolean): Promise<void> => {
  for (let i = 0; i < 1000; i++) {
    if (check()) return
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  throw new Error(`it did not happen: ${what}`)
}

t.test('what may be public is asked again where that changes while the body is under way', async t => {
  const blocks = (name: string) =>
    `<PublicAccessBlockConfiguration><${name}>true</${name}></PublicAccessBlockConfiguration>`
  const disables =
    '<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>'
  const group = '<Grantee><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee>'
  const acl = `<AccessControlPolicy><Owner><ID>domain1</ID></Owner><AccessControlList><Grant>${group}<Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>`
  const opens = denying('s3:GetObject')
    .replace('Deny', 'Allow')
    .replace(/"Principal":\{.*?\}/, '"Principal":"*"')
  const open = { 'x-amz-acl': 'public-read' }
  for (const [what, code, sent, changed, change, headers] of [
    [
      'a public object',
      'AccessDenied',
      ['PUT', '/bucket/key', open, large],
      'publicAccessBlock',
      blocks('BlockPublicAcls'),
    ],
    [
      'a public object',
      'AccessControlListNotSupported',
      ['PUT', '/bucket/key', open, large],
      'ownershipControls',
      disables,
    ],
    ['an ACL', 'AccessDenied', ['PUT', '/bucket/key?acl=', {}, acl], 'publicAccessBlock', blocks('BlockPublicAcls')],
    [
      'a public policy',
      'AccessDenied',
      ['PUT', '/bucket?policy=', {}, opens],
      'publicAccessBlock',
      blocks('BlockPublicPolicy'),
    ],
    [
      'controls that disable ACLs',
      'InvalidBucketAclWithObjectOwnership',
      ['PUT', '/bucket?ownershipControls=', {}, disables],
      'acl',
      undefined,
      open,
    ],
  ] as const) {
    const { gateway, send } = await withBucket(t)
    await send(admin, 'PUT', '/bucket/key', 'old')
    const answer = await holding(gateway, admin, sent, async half => {
      await half()
      await send(admin, 'PUT', `/bucket?${changed}=`, change, headers)
    })
    t.equal(answer.code, code, `${what}: ${changed}`)
    t.equal((await gateway.signedFetch(admin, 'GET', '/bucket/key')).text, 'old')
  }
})

t.test(
  'a policy that asks for tags is asked again where object or policy change while the body is under way',
  async t => {
    const tagged = { 'x-amz-tagging': 'a=b' }
    const byTag = (effect: string, key: string, value: string, action: string) => {
      const condition = { StringEquals: { [key]: value } }
      const { Statement, ...others } = JSON.parse(denying(action))
      return JSON.stringify({ ...others, Statement: { ...Statement, Effect: effect, Condition: condition } })
    }
    for (const [what, sent, before, changed, change, headers] of [
      [
        'other tags of the object',
        ['PUT', '/bucket/key?tagging=', {}, tags],
        byTag('Deny', 's3:ExistingObjectTag/team', 'red', 's3:PutObjectTagging'),
        ...['/bucket/key', 'new', { 'x-amz-tagging': 'team=red' }],
      ],
      [
        'a policy on the tags of the object',
        ['PUT', '/bucket/key?tagging=', {}, tags],
        undefined,
        ...['/bucket?policy=', byTag('Deny', 's3:ExistingObjectTag/old', 'yes', 's3:PutObjectTagging'), {}],
      ],
      [
        'a policy on the tags of the request, in a body',
        ['PUT', '/bucket/key?tagging=', {}, tags],
        undefined,
        ...['/bucket?policy=', byTag('Deny', 's3:RequestObjectTag/a', 'b', 's3:PutObjectTagging'), {}],
      ],
      [
        'a policy on the tags of the request, in a header',
        ['PUT', '/bucket/key', tagged, large],
        undefined,
        ...['/bucket?policy=', byTag('Deny', 's3:RequestObjectTag/a', 'b', 's3:PutObject'), {}],
      ],
    ] as const) {
      const { gateway, send } = await withBucket(t)
      await send(admin, 'PUT', '/bucket/key', 'old', { 'x-amz-tagging': 'old=yes' })
      if (before !== undefined) await send(admin, 'PUT', '/bucket?policy=', before)
      const answer = await holding(gateway, ordinary, sent, async half => {
        await half()
        await send(admin, 'PUT', changed, change, headers)
      })
      t.equal(answer.code, 'AccessDenied', what)
      const kept = (await gateway.signedFetch(admin, 'GET', '/bucket/key?tagging')).text
      t.notMatch(kept, '<Key>a</Key>', what)
    }
  },
)
