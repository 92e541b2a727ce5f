// CORS of buckets: the configuration by a real client, preflights and requests as a browser sends them.
import {
  DeleteBucketCorsCommand,
  GetBucketCorsCommand,
  GetObjectCommand,
  PutBucketCorsCommand,
  type CORSRule,
} from '@aws-sdk/client-s3'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { request } from 'node:http'
import { once } from 'node:events'
import { buffer } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { admin, startGateway, stranger, type TestGateway } from '../support/gateway.ts'

const site = 'https://www.example.com'
const rules: CORSRule[] = [
  {
    ID: 'site',
    AllowedOrigins: ['https://*.example.com'],
    AllowedMethods: ['GET', 'PUT', 'POST'],
    AllowedHeaders: ['content-type', 'x-amz-*'],
    ExposeHeaders: ['ETag', 'x-amz-request-id'],
    MaxAgeSeconds: 600,
  },
  { AllowedOrigins: ['*'], AllowedMethods: ['HEAD'] },
]

const withRules = async (t: Test): Promise<TestGateway> => {
  const gateway = await startGateway(t)
  await gateway.signedFetch(admin, 'PUT', '/bucket')
  await gateway.client().send(new PutBucketCorsCommand({ Bucket: 'bucket', CORSConfiguration: { CORSRules: rules } }))
  return gateway
}

/** As a browser does, which `fetch` of Node would not: it keeps Origin and its kin to itself. */
const send = async (
  { url }: TestGateway,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body?: Uint8Array,
) => {
  const req = request(url + path, { method, headers })
  req.end(body)
  const [res] = await once(req, 'response')
  const text = (await buffer(res)).toString()
  const cors = Object.entries(res.headers).filter(([name]) => /^access-control-|^vary$/.test(name))
  const [, code] = /<Code>(.*?)<\/Code>/.exec(text) ?? []
  const [, message] = /<Message>(.*?)<\/Message>/.exec(text) ?? []
  return { status: res.statusCode, cors: Object.fromEntries(cors), code, message, text }
}

const ask = (method: string, origin = site, headers?: string) => ({
  origin,
  'access-control-request-method': method,
  ...(headers !== undefined && { 'access-control-request-headers': headers }),
})

const vary = 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method'
const allowed = {
  'access-control-allow-origin': site,
  'access-control-allow-methods': 'GET, PUT, POST',
  'access-control-expose-headers': 'ETag, x-amz-request-id',
  'access-control-max-age': '600',
  'access-control-allow-credentials': 'true',
  vary,
}

t.test('a client puts, gets and deletes the configuration', async t => {
  const gateway = await withRules(t)
  const s3 = gateway.client()
  const Bucket = 'bucket'
  t.same((await s3.send(new GetBucketCorsCommand({ Bucket }))).CORSRules, rules)
  await t.rejects(gateway.client(stranger).send(new GetBucketCorsCommand({ Bucket })), { name: 'AccessDenied' })
  await t.rejects(gateway.client(stranger).send(new DeleteBucketCorsCommand({ Bucket })), { name: 'AccessDenied' })
  await s3.send(new DeleteBucketCorsCommand({ Bucket }))
  await t.rejects(s3.send(new GetBucketCorsCommand({ Bucket })), { name: 'NoSuchCORSConfiguration' })
  t.match(await send(gateway, 'OPTIONS', '/bucket/key', ask('GET')), {
    status: 403,
    code: 'AccessForbidden',
    message: 'CORSResponse: CORS is not enabled for this bucket.',
    cors: {},
  })
})

t.test('configurations that are refused, as S3 words it', async t => {
  const { client } = await withRules(t)
  const rule: CORSRule = { AllowedOrigins: ['*'], AllowedMethods: ['GET'] }
  const cases: readonly (readonly [CORSRule[], string, RegExp?])[] = [
    [[], 'MalformedXML'],
    [[{ ...rule, AllowedOrigins: [] }], 'MalformedXML'],
    [[{ ...rule, AllowedMethods: [] }], 'MalformedXML'],
    [[{ ...rule, ID: 'x'.repeat(256) }], 'MalformedXML'],
    [[{ ...rule, MaxAgeSeconds: -1 }], 'MalformedXML'],
    [[{ ...rule, AllowedMethods: ['PATCH'] }], 'InvalidRequest', /Unsupported method is PATCH/],
    [
      [{ ...rule, AllowedOrigins: ['http://*.*'] }],
      'InvalidRequest',
      /AllowedOrigin "http:\/\/\*\.\*" can not have more/,
    ],
    [[{ ...rule, AllowedHeaders: ['*-*'] }], 'InvalidRequest', /AllowedHeader "\*-\*" can not have more/],
    [[{ ...rule, ExposeHeaders: ['*'] }], 'InvalidRequest', /ExposeHeader "\*" contains wildcard/],
    [[{ ...rule, ExposeHeaders: ['a\r\nb: c'] }], 'InvalidRequest'],
    [Array.from({ length: 101 }, () => rule), 'InvalidRequest', /limit of 100 rules/],
  ]
  for (const [CORSRules, name, message = /./] of cases) {
    const put = new PutBucketCorsCommand({ Bucket: 'bucket', CORSConfiguration: { CORSRules } })
    await t.rejects(client().send(put), { name, message }, JSON.stringify(CORSRules).slice(0, 80))
  }
  await client().send(
    new PutBucketCorsCommand({
      Bucket: 'bucket',
      CORSConfiguration: { CORSRules: Array.from({ length: 100 }, () => rule) },
    }),
  )
})

t.test('preflights', async t => {
  const gateway = await withRules(t)
  const preflight = (headers: Readonly<Record<string, string>>, path = '/bucket/key') =>
    send(gateway, 'OPTIONS', path, headers)
  t.match(await preflight(ask('PUT')), { status: 200, cors: allowed, text: '' })
  t.strictSame((await preflight(ask('PUT', site, 'Content-Type, X-Amz-Date'))).cors, {
    ...allowed,
    'access-control-allow-headers': 'content-type, x-amz-date',
  })
  t.strictSame((await preflight(ask('HEAD'))).cors, {
    'access-control-allow-origin': '*',
    'access-control-allow-methods': 'HEAD',
    vary,
  })
  for (const [name, headers] of [
    ['a method', ask('DELETE')],
    ['a header', ask('PUT', site, 'authorization')],
    ['an origin', ask('PUT', 'https://example.com')],
    ['an origin in other case', ask('PUT', 'https://www.EXAMPLE.com')],
    ['an origin that only contains it', ask('PUT', 'https://www.example.com.evil.org')],
    ['no origin', ask('PUT', 'null')],
  ] as const) {
    t.match(await preflight(headers), { status: 403, code: 'AccessForbidden', cors: {} }, `${name} that no rule has`)
  }
  t.match(await preflight({ 'access-control-request-method': 'PUT' }), {
    status: 400,
    code: 'BadRequest',
    message: 'Insufficient information. Origin request header needed.',
  })
  for (const method of ['PATCH', undefined]) {
    const headers = { origin: site, ...(method !== undefined && { 'access-control-request-method': method }) }
    t.match(await preflight(headers), {
      status: 400,
      message: `Invalid Access-Control-Request-Method: ${method ?? 'null'}`,
    })
  }
  t.match(await preflight(ask('PUT'), '/none-such/key'), { status: 403, message: 'CORSResponse: Bucket not found' })
  t.match(await preflight(ask('PUT'), '/'), { status: 403, code: 'AccessForbidden' })
  t.match(await preflight(ask('PUT'), '/bucket'), { status: 200 })
  t.ok(gateway.log.some(({ action, status }) => action === 'OptionsObject' && status === 200))
  t.ok(gateway.log.some(({ action, status }) => action === 'OptionsBucket' && status === 200))
})

t.test('a preflight of a presigned URL needs no signature of its own', async t => {
  const gateway = await withRules(t)
  const url = new URL(await getSignedUrl(gateway.client(), new GetObjectCommand({ Bucket: 'bucket', Key: 'key' })))
  t.match(await send(gateway, 'OPTIONS', url.pathname + url.search, ask('GET')), { status: 200, cors: allowed })
})

t.test('answers that a browser may read, errors too, and those that it may not', async t => {
  const gateway = await withRules(t)
  await gateway.signedFetch(admin, 'PUT', '/bucket/key', { body: 'x' })
  const url = new URL(await getSignedUrl(gateway.client(), new GetObjectCommand({ Bucket: 'bucket', Key: 'key' })))
  const path = url.pathname + url.search
  t.match(await send(gateway, 'GET', path, { origin: site }), { status: 200, cors: allowed, text: 'x' })
  t.match(await send(gateway, 'GET', '/bucket/key', { origin: site }), {
    status: 403,
    code: 'AccessDenied',
    cors: allowed,
  })
  t.match(
    await send(gateway, 'GET', path.replace('X-Amz-Signature=', 'X-Amz-Signature=0'), { origin: site }),
    { status: 403, cors: allowed },
    'not understood',
  )
  t.strictSame((await send(gateway, 'GET', path, { origin: 'https://other.org' })).cors, {})
  t.strictSame((await send(gateway, 'GET', path, {})).cors, {})
  t.strictSame((await send(gateway, 'GET', '/none-such/key', { origin: site })).cors, {})
})

t.test('the form of a browser', async t => {
  const gateway = await withRules(t)
  const { fields } = await createPresignedPost(gateway.client(), { Bucket: 'bucket', Key: 'form' })
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.set(name, value)
  form.set('file', new Blob(['from a form']))
  const encoded = new Response(form)
  const type = encoded.headers.get('content-type') ?? ''
  const body = Buffer.from(await encoded.arrayBuffer())
  const post = await send(gateway, 'POST', '/bucket', { origin: site, 'content-type': type }, body)
  t.match(post, { status: 204, cors: allowed })
  t.equal((await gateway.signedFetch(admin, 'GET', '/bucket/form')).text, 'from a form')
})
