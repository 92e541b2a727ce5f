// Conditional requests, ranges that depend on a condition, headers that a request replaces, and parts by number: the rules alone, then over HTTP.
import t from 'tap'
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { createHash, randomBytes } from 'node:crypto'
import { SseError } from '../../lib/errors.ts'
import {
  assertSourceConditions,
  deleteCondition,
  deletedIf,
  isNotModified,
  isRangeFor,
  type Validators,
  writeCondition,
} from '../../lib/gateway/http/conditions.ts'
import { notePartSizes, partsOf } from '../../lib/gateway/objects/parts.ts'
import type { HeaderGetter } from '../../lib/sse/names.ts'
import { assertCondition } from '../../lib/store/condition.ts'
import type { PartRun } from '../../lib/store/records.ts'
import { admin, ordinary, startGateway } from '../support/gateway.ts'
import { record } from '../support/store.ts'

const headersOf =
  (headers: Readonly<Record<string, string>>): HeaderGetter =>
  name =>
    headers[name]
const modified = Date.UTC(2026, 0, 2, 3, 4, 5, 678)
const object: Validators = { etag: 'abc', modified }
const now = modified + 5000
const [before, at, after, future] = [-1000, 0, 1000, 6000].map(ms => new Date(modified + ms).toUTCString())
const refusal = (run: () => unknown): string => {
  try {
    return String(run())
  } catch (error) {
    if (error instanceof SseError) return `${error.status} ${error.details['Condition'] ?? error.code}`
    throw error
  }
}

t.test('reads: RFC 9110, 13.2.2', async t => {
  const rows: readonly (readonly [headers: Readonly<Record<string, string | undefined>>, outcome: string])[] = [
    [{}, 'false'],
    [{ 'if-match': '"abc"' }, 'false'],
    [{ 'if-match': 'abc' }, 'false'],
    [{ 'if-match': '*' }, 'false'],
    [{ 'if-match': ' "x" , "abc"' }, 'false'],
    [{ 'if-match': '"x", "y"' }, '412 If-Match'],
    [{ 'if-match': '' }, '412 If-Match'],
    [{ 'if-match': 'W/"abc"' }, '412 If-Match'],
    [{ 'if-unmodified-since': at }, 'false'],
    [{ 'if-unmodified-since': after }, 'false'],
    [{ 'if-unmodified-since': before }, '412 If-Unmodified-Since'],
    [{ 'if-unmodified-since': 'yesterday' }, 'false'],
    [{ 'if-match': '"abc"', 'if-unmodified-since': before }, 'false'],
    [{ 'if-none-match': '"abc"' }, 'true'],
    [{ 'if-none-match': 'W/"abc"' }, 'true'],
    [{ 'if-none-match': '*' }, 'true'],
    [{ 'if-none-match': '"x"' }, 'false'],
    [{ 'if-modified-since': before }, 'false'],
    [{ 'if-modified-since': at }, 'true'],
    [{ 'if-modified-since': after }, 'true'],
    [{ 'if-modified-since': '2026' }, 'false'],
    [{ 'if-modified-since': future }, 'false'],
    [{ 'if-unmodified-since': future }, 'false'],
    [{ 'if-none-match': '"x"', 'if-modified-since': after }, 'false'],
    [{ 'if-none-match': '"abc"', 'if-modified-since': before }, 'true'],
    [{ 'if-match': '"abc"', 'if-none-match': '"abc"' }, 'true'],
    [{ 'if-match': '"x"', 'if-none-match': '"abc"' }, '412 If-Match'],
  ]
  for (const [headers, outcome] of rows) {
    const sent = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value ?? '']))
    t.equal(
      refusal(() => isNotModified(headersOf(sent), object, now)),
      outcome,
      JSON.stringify(headers),
    )
    const ofSource = Object.fromEntries(
      Object.entries(sent).map(([name, value]) => [`x-amz-copy-source-${name}`, value]),
    )
    const copied = refusal(() => assertSourceConditions(headersOf(ofSource), object, now))
    t.match(
      copied,
      outcome === 'false' ? /^undefined$/ : /^412 x-amz-copy-source-if-/,
      `copy ${JSON.stringify(headers)}`,
    )
  }
  t.equal(
    refusal(() => assertSourceConditions(headersOf({ 'x-obs-copy-source-if-none-match': 'abc' }), object, now)),
    '412 x-amz-copy-source-if-none-match',
  )
})

t.test('If-Range', async t => {
  for (const [value, holds] of [
    [undefined, true],
    ['"abc"', true],
    ['"x"', false],
    ['W/"abc"', false],
    [at, true],
    [before, false],
    [after, false],
  ] as const) {
    t.equal(isRangeFor(headersOf(value === undefined ? {} : { 'if-range': value }), object), holds, String(value))
  }
})

t.test('changes', async t => {
  const current = { ...record({ etag: 'abc', size: 7, modified }), storedSize: 1, revision: 'v' }
  const write = (headers: Readonly<Record<string, string>>) => writeCondition(headersOf(headers))
  const del = (headers: Readonly<Record<string, string>>) => deleteCondition(deletedIf(headersOf(headers)))
  t.strictSame([write({}), del({})], [{}, {}])
  const [time, length] = ['x-amz-if-match-last-modified-time', 'x-amz-if-match-size'] as const
  const rows = [
    [write, { 'if-match': '"abc"' }, 'undefined', '404 NoSuchKey'],
    [write, { 'if-match': '*' }, '501 NotImplemented', '501 NotImplemented'],
    [write, { 'if-match': '"x"' }, '412 If-Match', '404 NoSuchKey'],
    [write, { 'if-none-match': '*' }, '412 If-None-Match', 'undefined'],
    [write, { 'if-none-match': '"abc"' }, '501 NotImplemented', '501 NotImplemented'],
    [write, { 'if-match': '"abc"', 'if-none-match': '*' }, '501 NotImplemented', '501 NotImplemented'],
    [del, { 'if-match': '"abc"' }, 'undefined', '404 NoSuchKey'],
    [del, { 'if-match': '*' }, 'undefined', '404 NoSuchKey'],
    [del, { 'if-match': '"x"' }, '412 If-Match', '404 NoSuchKey'],
    [del, { 'if-none-match': '*' }, '501 NotImplemented', '501 NotImplemented'],
    [del, { [time]: at }, 'undefined', 'undefined'],
    [del, { [time]: new Date(modified).toISOString() }, 'undefined', 'undefined'],
    [del, { [time]: before }, `412 ${time}`, 'undefined'],
    [del, { [time]: 'yesterday' }, '400 InvalidArgument', '400 InvalidArgument'],
    [del, { [length]: '7' }, 'undefined', 'undefined'],
    [del, { [length]: '8' }, `412 ${length}`, 'undefined'],
    [del, { [length]: '1e3' }, '400 InvalidArgument', '400 InvalidArgument'],
  ] as const
  for (const [condition, headers, there, absent] of rows) {
    const sent = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
    t.equal(
      refusal(() => assertCondition(current, condition(sent))),
      there,
      JSON.stringify(headers),
    )
    t.equal(
      refusal(() => assertCondition(undefined, condition(sent))),
      absent,
      `${JSON.stringify(headers)}, no object`,
    )
  }
})

t.test('what is noted of parts', async t => {
  const noted = (partSizes: readonly PartRun[]) =>
    partsOf({ ...record({ notes: { partSizes } }), storedSize: 1, revision: 'v' })
  const run = (first: number, size: number, count = 1): PartRun => ({ first, size, count })
  for (const [sizes, note] of [
    [[], []],
    [[[1, 7]], [run(1, 7)]],
    [
      [
        [1, 5],
        [2, 5],
        [3, 5],
        [9, 2],
      ],
      [run(1, 5, 3), run(9, 2)],
    ],
    [
      [
        [1, 5],
        [3, 5],
        [4, 5],
        [5, 4],
      ],
      [run(1, 5), run(3, 5, 2), run(5, 4)],
    ],
  ] as const) {
    const parts = sizes.map(([number, size]) => ({ number, size }))
    t.strictSame(notePartSizes(parts), note)
    t.strictSame(noted(note), parts)
  }
  const many = Array.from({ length: 10_000 }, (_, i) => ({ number: i + 1, size: 5_242_880 }))
  t.strictSame(notePartSizes(many), [run(1, 5_242_880, 10_000)])
  t.strictSame(noted(notePartSizes(many)), many)
})

t.test('over HTTP', async t => {
  const gateway = await startGateway(t)
  const send = (method: string, path: string, headers: Readonly<Record<string, string>> = {}, body?: string) =>
    gateway.signedFetch(admin, method, path, { headers, ...(body !== undefined && { body }) })
  await send('PUT', '/bucket')

  for (const [kind, encryption] of [
    ['plain', {}],
    ['SSE-KMS', { 'x-amz-server-side-encryption': 'aws:kms' }],
  ] as const) {
    const path = `/bucket/${kind}`
    const first = await send('PUT', path, { ...encryption, 'cache-control': 'max-age=60' }, 'one')
    const etag = String(first.headers.etag)

    await t.test(`${kind}: reads`, async t => {
      for (const method of ['GET', 'HEAD']) {
        const same = await send(method, path, { 'if-none-match': etag })
        t.match(same, { status: 304, text: '', headers: { etag, 'cache-control': 'max-age=60' } })
        t.ok(same.headers['last-modified'])
        t.equal((await send(method, path, { 'if-modified-since': String(same.headers['last-modified']) })).status, 304)
        t.equal((await send(method, path, { 'if-none-match': '"x"' })).status, 200)
        const tomorrow = new Date(Date.now() + 86_400_000).toUTCString()
        t.equal((await send(method, path, { 'if-modified-since': tomorrow })).status, 200, 'still to come')
        t.equal((await send(method, path, { 'if-match': '"x"' })).status, 412)
        t.equal((await send(method, path, { 'if-match': etag, range: 'bytes=1-' })).status, 206)
        t.equal((await send(method, path, { 'if-range': '"x"', range: 'bytes=1-' })).status, 200)
        t.match(await send(method, path, { 'if-range': etag, range: 'bytes=1-' }), {
          status: 206,
          headers: { 'content-range': 'bytes 1-2/3' },
        })
      }
      t.match(await send('GET', path, { 'if-match': '"x"' }), {
        code: 'PreconditionFailed',
        text: /<Condition>If-Match<\/Condition>/,
      })
    })

    await t.test(`${kind}: a range that the object does not have`, async t => {
      for (const method of ['GET', 'HEAD']) {
        const reply = await send(method, path, { range: 'bytes=3-' })
        t.match(reply, { status: 416, headers: { 'content-range': 'bytes */3' } }, method)
        if (method === 'HEAD') continue
        t.equal(reply.code, 'InvalidRange')
        t.match(reply.text, '<ActualObjectSize>3</ActualObjectSize>')
        t.match(reply.text, '<RangeRequested>bytes=3-</RangeRequested>')
      }
    })

    await t.test(`${kind}: writes`, async t => {
      t.match(await send('PUT', path, { ...encryption, 'if-none-match': '*' }, 'two'), { status: 412 })
      t.match(await send('PUT', path, { ...encryption, 'if-match': '"x"' }, 'two'), { status: 412 })
      t.match(await send('PUT', `${path}-new`, { ...encryption, 'if-match': etag }, 'two'), { code: 'NoSuchKey' })
      t.equal((await send('GET', path)).text, 'one')
      const replaced = await send('PUT', path, { ...encryption, 'if-match': etag }, 'two')
      t.equal(replaced.status, 200)
      t.equal((await send('GET', path)).text, 'two')
      t.match(await send('PUT', `${path}-new`, { ...encryption, 'if-none-match': '*' }, 'new'), { status: 200 })
      t.match(await send('DELETE', path, { 'if-match': etag }), { status: 412 })
      t.match(await send('DELETE', path, { 'if-match': String(replaced.headers.etag) }), { status: 204 })
      t.match(await send('DELETE', path, { 'if-match': '*' }), { status: 404, code: 'NoSuchKey' })
      t.match(await send('DELETE', path), { status: 204 })
    })
  }

  await t.test('of writers at the same moment, one creates', async t => {
    const made = await Promise.all(
      Array.from({ length: 8 }, (_, i) => send('PUT', '/bucket/race', { 'if-none-match': '*' }, `writer ${i}`)),
    )
    t.strictSame(made.map(({ status }) => status).sort(), [200, ...Array<number>(7).fill(412)])
    const winner = made.findIndex(({ status }) => status === 200)
    t.equal((await send('GET', '/bucket/race')).text, `writer ${winner}`)
  })

  await t.test('a request replaces headers of its answer, if it is signed', async t => {
    await send('PUT', '/bucket/page', { 'content-type': 'text/html', 'x-amz-acl': 'public-read' }, '<p>')
    const names = [
      'content-type',
      'content-language',
      'expires',
      'cache-control',
      'content-disposition',
      'content-encoding',
    ]
    const query = names.map(name => `response-${name}=${encodeURIComponent(`a "${name}"`)}`).join('&')
    for (const method of ['GET', 'HEAD']) {
      const { headers } = await send(method, `/bucket/page?${query}`)
      for (const name of names) {
        t.equal(headers[name], `a "${name}"`, name)
      }
    }
    for (const text of ['a%0D%0Ab', 'a%09b', '%7F', '%C3%BC', '%E2%82%AC']) {
      const refused = await send('GET', `/bucket/page?response-content-disposition=${text}`)
      t.match(
        refused,
        { status: 400, code: 'InvalidArgument', text: /<ArgumentName>response-content-disposition</ },
        text,
      )
    }
    const anonymous = await gateway.signedFetch(undefined, 'GET', '/bucket/page?response-content-type=text%2Fplain')
    t.match(anonymous, { status: 400, code: 'InvalidRequest' })
    t.match(await gateway.signedFetch(undefined, 'GET', '/bucket/page'), { headers: { 'content-type': 'text/html' } })
  })

  await t.test('parts by number', async t => {
    const client = gateway.client()
    const sizes = [5 * 1024 * 1024, 5 * 1024 * 1024 + 1, 7]
    const bytes = sizes.map(size => randomBytes(size))
    for (const [kind, encryption] of [
      ['plain', {}],
      ['SSE-KMS', { ServerSideEncryption: 'aws:kms' }],
      ['SSE-C', {}],
    ] as const) {
      const customerKey = randomBytes(32)
      const sseC =
        kind === 'SSE-C'
          ? {
              SSECustomerAlgorithm: 'AES256',
              SSECustomerKey: customerKey.toString('base64'),
              SSECustomerKeyMD5: createHash('md5').update(customerKey).digest('base64'),
            }
          : {}
      const name = { Bucket: 'bucket', Key: `parts of ${kind}` }
      const { UploadId } = await client.send(new CreateMultipartUploadCommand({ ...name, ...encryption, ...sseC }))
      const Parts = await Promise.all(
        bytes.map(async (Body, i) => {
          const PartNumber = [1, 2, 5][i] ?? 0
          const { ETag } = await client.send(new UploadPartCommand({ ...name, UploadId, PartNumber, Body, ...sseC }))
          return { PartNumber, ETag }
        }),
      )
      await client.send(new CompleteMultipartUploadCommand({ ...name, UploadId, MultipartUpload: { Parts }, ...sseC }))
      const total = sizes.reduce((sum, size) => sum + size, 0)
      let start = 0
      for (const [i, PartNumber] of [1, 2, 5].entries()) {
        const expected = bytes[i] ?? Buffer.alloc(0)
        const range = `bytes ${start}-${start + expected.length - 1}/${total}`
        const wanted = {
          PartsCount: 3,
          ContentLength: expected.length,
          ContentRange: range,
          $metadata: { httpStatusCode: 206 },
        }
        const part = { ...name, PartNumber, ...sseC }
        t.match(await client.send(new HeadObjectCommand(part)), wanted, `${kind}: HEAD of part ${PartNumber}`)
        const got = await client.send(new GetObjectCommand(part))
        t.match(got, wanted, `${kind}: GET of part ${PartNumber}`)
        t.equal(Buffer.compare((await got.Body?.transformToByteArray()) ?? new Uint8Array(), expected), 0)
        start += expected.length
      }
      await t.rejects(client.send(new GetObjectCommand({ ...name, PartNumber: 3, ...sseC })), {
        name: 'InvalidPartNumber',
        $metadata: { httpStatusCode: 416 },
      })
    }
    const path = '/bucket/parts%20of%20plain?partNumber='
    t.match(await send('GET', `${path}3`), { text: /<ActualPartCount>3<.*<PartNumberRequested>3</ })
    t.match(await send('GET', `${path}0`), { status: 400, code: 'InvalidArgument' })
    t.match(await send('GET', `${path}1`, { range: 'bytes=0-1' }), { status: 400, code: 'InvalidRequest' })
  })

  await t.test('an object that was not uploaded in parts is its own part 1', async t => {
    for (const headers of [{}, { 'x-amz-server-side-encryption': 'aws:kms' }]) {
      await send('PUT', '/bucket/whole', headers, 'whole')
      await send('PUT', '/bucket/empty', headers, '')
      for (const method of ['GET', 'HEAD']) {
        const first = await send(method, '/bucket/whole?partNumber=1')
        t.match(first, { status: 206, headers: { 'content-range': 'bytes 0-4/5' } })
        t.notOk(first.headers['x-amz-mp-parts-count'])
        t.match(await send(method, '/bucket/empty?partNumber=1'), { status: 200, headers: { 'content-length': '0' } })
        t.equal((await send(method, '/bucket/whole?partNumber=2')).status, 416)
      }
      t.match(await send('GET', '/bucket/whole?partNumber=2'), { text: /<ActualPartCount>1</ })
    }
    const forbidden = await gateway.signedFetch(ordinary, 'GET', '/bucket/whole?partNumber=1')
    t.match(forbidden, { status: 403 }, 'SSE-KMS is for tenant_admin, by part too')
  })
})
