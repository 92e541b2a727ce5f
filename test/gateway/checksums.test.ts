/** Checksums of objects: the client's or the profile's default, kept with every kind of object, answered on writes, and on reads that ask. */
import { createHash, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { combineCrcs, isCrc } from '../../lib/gateway/body/crc.ts'
import { checksumAlgorithms } from '../../lib/gateway/body/checksums.ts'
import { createDigest, type DigestAlgorithm } from '../../lib/gateway/body/checksums.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { admin, region, type Reply, startGateway } from '../support/gateway.ts'

type Headers = Readonly<Record<string, string>>

const MiB = 1_048_576

const digestOf = async (algorithm: DigestAlgorithm, ...pieces: readonly Uint8Array[]): Promise<Buffer> => {
  const digest = createDigest(algorithm)
  for (const piece of pieces) digest.update(piece)
  return Buffer.from(await digest.finish())
}
const sumOf = async (algorithm: DigestAlgorithm, ...pieces: readonly Uint8Array[]): Promise<string> =>
  (await digestOf(algorithm, ...pieces)).toString('base64')

const key = Buffer.alloc(32, 5)
const keyed = (prefix: string): Headers => ({
  [`${prefix}-algorithm`]: 'AES256',
  [`${prefix}-key`]: key.toString('base64'),
  [`${prefix}-key-md5`]: createHash('md5').update(key).digest('base64'),
})
const customer = keyed('x-amz-server-side-encryption-customer')

/** Every kind: what a write says, what a read repeats, what a copy from it repeats. `AES256` in a gateway whose base is `none`. */
const kinds = [
  { name: 'plain', write: {}, read: {}, from: {} },
  { name: 'SSE-S3', write: { 'x-amz-server-side-encryption': 'AES256' }, read: {}, from: {} },
  { name: 'SSE-KMS', write: { 'x-amz-server-side-encryption': 'aws:kms' }, read: {}, from: {} },
  {
    name: 'SSE-C',
    write: customer,
    read: customer,
    from: keyed('x-amz-copy-source-server-side-encryption-customer'),
  },
] as const

const mode = { 'x-amz-checksum-mode': 'ENABLED' }
const s3 = (options: Partial<Parameters<typeof createProfile>[1]> = {}) =>
  createProfile('s3', { region, baseEncryption: 'none', ...options })

const open = async (t: Test, profile = s3()) => {
  const gateway = await startGateway(t, { profile })
  const send = (method: string, path: string, headers: Headers = {}, body?: string | Uint8Array): Promise<Reply> =>
    gateway.signedFetch(admin, method, path, {
      headers: { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', ...headers },
      ...(body === undefined ? {} : { body }),
    })
  t.equal((await send('PUT', '/photos')).status, 200)
  return { ...gateway, send }
}

/** The checksums in the headers of an answer, with their type. */
const told = ({ headers }: Reply): Record<string, unknown> =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('x-amz-checksum-')))
/** The same in the elements of an answer. */
const written = ({ text }: Reply): Record<string, string> =>
  Object.fromEntries(
    [...text.matchAll(/<Checksum(CRC32C?|CRC64NVME|SHA1|SHA256|Type)>([^<]*)</g)].map(([, name = '', value = '']) => [
      `x-amz-checksum-${name.toLowerCase()}`,
      value,
    ]),
  )
const full = (algorithm: string, value: string) => ({
  [`x-amz-checksum-${algorithm}`]: value,
  'x-amz-checksum-type': 'FULL_OBJECT',
})

const body = Buffer.from('some text that is held to its checksum')

t.test('s3: a body without a checksum gets CRC-64/NVME; one with a checksum keeps that', async t => {
  const { send } = await open(t)
  for (const kind of kinds) {
    for (const algorithm of [undefined, ...checksumAlgorithms]) {
      const at = `/photos/${kind.name}-${algorithm ?? 'none'}`
      const value = await sumOf(algorithm ?? 'crc64nvme', body)
      const sent: Headers = algorithm === undefined ? {} : { [`x-amz-checksum-${algorithm}`]: value }
      const expected = full(algorithm ?? 'crc64nvme', value)
      const put = await send('PUT', at, { ...kind.write, ...sent }, body)
      t.strictSame(told(put), expected, `${at}: PUT`)
      t.strictSame(told(await send('GET', at, { ...kind.read, ...mode })), expected, `${at}: GET`)
      t.strictSame(told(await send('HEAD', at, { ...kind.read, ...mode })), expected, `${at}: HEAD`)
      t.strictSame(told(await send('GET', at, kind.read)), {}, `${at}: GET does not ask`)
      t.strictSame(told(await send('HEAD', at, kind.read)), {}, `${at}: HEAD does not ask`)
      const range = { ...kind.read, ...mode, range: 'bytes=1-3' }
      t.strictSame(told(await send('GET', at, range)), {}, `${at}: of a range none is known`)
      t.strictSame(told(await send('HEAD', at, range)), {})
      const attributes = await send('GET', `${at}?attributes`, {
        ...kind.read,
        'x-amz-object-attributes': 'Checksum',
      })
      t.strictSame(written(attributes), expected, `${at}: attributes`)
    }
  }
})

t.test('an empty body, and one in chunks', async t => {
  const { send } = await open(t)
  t.strictSame(told(await send('PUT', '/photos/empty', {}, '')), full('crc64nvme', 'AAAAAAAAAAA='))
  const chunked = await send(
    'PUT',
    '/photos/chunks',
    { 'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', 'x-amz-decoded-content-length': '5' },
    '5\r\nhello\r\n0\r\n\r\n',
  )
  t.strictSame(told(chunked), full('crc64nvme', await sumOf('crc64nvme', Buffer.from('hello'))))
})

t.test('no default: the option, and obs', async t => {
  for (const profile of [s3({ defaultChecksum: 'none' }), createProfile('obs', { region })]) {
    const { send } = await open(t, profile)
    for (const kind of kinds) {
      const at = `/photos/${kind.name}`
      t.strictSame(told(await send('PUT', at, kind.write, body)), {}, `${profile.name} ${kind.name}`)
      t.strictSame(told(await send('GET', at, { ...kind.read, ...mode })), {})
      const sha1 = await sumOf('sha1', body)
      const put = await send('PUT', at, { ...kind.write, 'x-amz-checksum-sha1': sha1 }, body)
      t.strictSame(told(put), full('sha1', sha1), 'what the client sends is kept')
      t.strictSame(told(await send('HEAD', at, { ...kind.read, ...mode })), full('sha1', sha1))
    }
    const id = /<UploadId>(.*?)</.exec((await send('POST', '/photos/parts?uploads')).text)?.[1] ?? ''
    const part = await send('PUT', `/photos/parts?uploadId=${id}&partNumber=1`, {}, 'x')
    t.strictSame(told(part), {})
    const list = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${part.headers.etag}</ETag></Part></CompleteMultipartUpload>`
    const done = await send('POST', `/photos/parts?uploadId=${id}`, {}, list)
    t.equal(done.status, 200)
    t.strictSame(written(done), {})
  }
  t.equal(createProfile('obs', { region, defaultChecksum: 'crc64nvme' }).defaultChecksum, 'crc64nvme')
})

t.test('a browser’s form', async t => {
  const gateway = await open(t)
  await gateway.send('PUT', '/photos?acl', { 'x-amz-acl': 'public-read-write' })
  const form = `--b\r\nContent-Disposition: form-data; name="key"\r\n\r\nform\r\n--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n${body.toString()}\r\n--b--\r\n`
  const headers = { 'content-type': 'multipart/form-data; boundary=b' }
  const posted = await gateway.signedFetch(undefined, 'POST', '/photos', { headers, body: form })
  const expected = full('crc64nvme', await sumOf('crc64nvme', body))
  t.equal(posted.status, 204)
  t.strictSame(told(posted), expected)
  t.strictSame(told(await gateway.send('GET', '/photos/form', mode)), expected)
})

t.test('copies keep the checksum of their source, whatever becomes of its bytes', async t => {
  const gateway = await open(t)
  const { send } = gateway
  const sha1 = await sumOf('sha1', body)
  const crc64 = await sumOf('crc64nvme', body)
  for (const source of kinds) {
    await send('PUT', `/photos/${source.name}`, { ...source.write, 'x-amz-checksum-sha1': sha1 }, body)
    for (const target of kinds) {
      const at = `/photos/${source.name}-to-${target.name}`
      const copy = { 'x-amz-copy-source': `photos/${source.name}`, ...source.from, ...target.write }
      t.strictSame(written(await send('PUT', at, copy)), full('sha1', sha1), at)
      t.strictSame(told(await send('HEAD', at, { ...target.read, ...mode })), full('sha1', sha1), `${at}: HEAD`)
      const other = await send('PUT', at, { ...copy, 'x-amz-checksum-algorithm': 'CRC64NVME' })
      t.strictSame(written(other), full('crc64nvme', crc64), `${at}: another algorithm is computed`)
      t.strictSame(told(await send('GET', at, { ...target.read, ...mode })), full('crc64nvme', crc64))
      const same = await send('PUT', at, { ...copy, 'x-amz-checksum-algorithm': 'SHA1' })
      t.strictSame(written(same), full('sha1', sha1), `${at}: the same algorithm`)
      const unknown = await send('PUT', at, { ...copy, 'x-amz-checksum-algorithm': 'MD5' })
      t.match(unknown, { status: 400, code: 'InvalidRequest' })
    }
  }
})

t.test('a copy of an object that has none gets the default where its bytes are read', async t => {
  const { send, byName } = await open(t)
  await send('PUT', '/photos/a', {}, body)
  const at = { bucket: 'photos', key: 'a' }
  await byName.plant(at, at, { notes: {} })
  const copy = { 'x-amz-copy-source': 'photos/a' }
  t.strictSame(written(await send('PUT', '/photos/b', copy)), {})
  const sealed = await send('PUT', '/photos/b', { ...copy, 'x-amz-server-side-encryption': 'AES256' })
  t.strictSame(written(sealed), full('crc64nvme', await sumOf('crc64nvme', body)))
})

const uploadOf = async (
  send: Awaited<ReturnType<typeof open>>['send'],
  at: string,
  { write, read }: { readonly write: Headers; readonly read: Headers },
  asked: Headers = {},
) => {
  const initiated = await send('POST', `${at}?uploads`, { ...write, ...asked })
  const id = /<UploadId>(.*?)</.exec(initiated.text)?.[1] ?? ''
  const etags: string[] = []
  const part = async (number: number, bytes: Uint8Array, more: Headers = {}): Promise<Reply> => {
    const reply = await send('PUT', `${at}?uploadId=${id}&partNumber=${number}`, { ...read, ...more }, bytes)
    etags[number - 1] = reply.headers.etag ?? ''
    return reply
  }
  const complete = (more: Headers = {}, extra: readonly string[] = []): Promise<Reply> => {
    const parts = etags.map(
      (etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${etag}</ETag>${extra[i] ?? ''}</Part>`,
    )
    const xml = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`
    return send('POST', `${at}?uploadId=${id}`, { ...read, ...more }, xml)
  }
  return { initiated, id, part, complete, etags }
}

const [one, two] = [randomBytes(5 * MiB), randomBytes(1000)]

t.test('s3: an upload without a checksum gets the CRC-64/NVME of the whole object', async t => {
  const { send } = await open(t)
  const whole = await sumOf('crc64nvme', one, two)
  for (const kind of kinds) {
    const at = `/photos/${kind.name}`
    const upload = await uploadOf(send, at, kind)
    t.strictSame(told(upload.initiated), {})
    const first = await upload.part(1, one)
    t.strictSame(told(first), { 'x-amz-checksum-crc64nvme': await sumOf('crc64nvme', one) })
    const crc32 = await sumOf('crc32', two)
    const second = await upload.part(2, two, { 'x-amz-checksum-crc32': crc32 })
    t.strictSame(told(second), { 'x-amz-checksum-crc32': crc32 }, 'a part may have one of its own')
    const listed = await send('GET', `${at}?uploadId=${upload.id}`, kind.read)
    const parts = [...listed.text.matchAll(/<ChecksumCRC64NVME>(.*?)</g)].map(([, value]) => value)
    const sums = [await sumOf('crc64nvme', one), await sumOf('crc64nvme', two)]
    t.strictSame(parts, kind.name === 'SSE-KMS' ? [] : sums, `${kind.name}: under SSE-KMS nobody asked for it`)
    t.notMatch(listed.text, '<ChecksumAlgorithm>')
    const wrong = await upload.complete({ 'x-amz-checksum-crc64nvme': 'AAAAAAAAAAA=' })
    t.match(wrong, { status: 400, code: 'BadDigest' }, `${kind.name}: Complete is held to what it says`)
    const done = await upload.complete({ 'x-amz-checksum-crc64nvme': whole })
    const answered = kind.name === 'SSE-KMS' ? {} : full('crc64nvme', whole)
    t.strictSame(written(done), answered, kind.name)
    t.strictSame(written(await upload.complete()), answered, 'and again')
    t.strictSame(told(await send('HEAD', at, { ...kind.read, ...mode })), full('crc64nvme', whole))
    t.strictSame(told(await send('GET', at, { ...kind.read, ...mode })), full('crc64nvme', whole))
    const copy = { 'x-amz-copy-source': `photos/${kind.name}`, ...kind.from, ...kind.write }
    t.strictSame(written(await send('PUT', `${at}-copy`, copy)), full('crc64nvme', whole), 'its copy')
  }
})

t.test('the checksum that Initiate asks for', async t => {
  const { send } = await open(t)
  for (const kind of kinds) {
    for (const [name, asked] of [
      ['crc32', 'COMPOSITE'],
      ['sha256', undefined],
      ['crc32c', 'FULL_OBJECT'],
      ['crc64nvme', undefined],
    ] as const) {
      const type = asked ?? (name === 'crc64nvme' ? 'FULL_OBJECT' : 'COMPOSITE')
      const at = `/photos/${kind.name}-${name}`
      const headers = {
        'x-amz-checksum-algorithm': name.toUpperCase(),
        ...(asked === undefined ? {} : { 'x-amz-checksum-type': asked }),
      }
      const upload = await uploadOf(send, at, kind, headers)
      t.strictSame(told(upload.initiated), {
        'x-amz-checksum-algorithm': name.toUpperCase(),
        'x-amz-checksum-type': type,
      })
      const sums = [await digestOf(name, one), await digestOf(name, two)]
      const texts = sums.map(sum => sum.toString('base64'))
      await upload.part(1, one, { [`x-amz-checksum-${name}`]: texts[0] ?? '' })
      t.strictSame(told(await upload.part(2, two)), { [`x-amz-checksum-${name}`]: texts[1] }, 'computed where not sent')
      const other = await send(
        'PUT',
        `${at}?uploadId=${upload.id}&partNumber=2`,
        { ...kind.read, 'x-amz-checksum-sha1': await sumOf('sha1', two) },
        two,
      )
      t.match(other, { status: 400, code: 'InvalidRequest' }, 'another checksum than the one asked for')
      const listed = await send('GET', `${at}?uploadId=${upload.id}`, kind.read)
      t.match(listed.text, `<ChecksumAlgorithm>${name.toUpperCase()}</ChecksumAlgorithm>`)
      const element = (text: string) => `<Checksum${name.toUpperCase()}>${text}</Checksum${name.toUpperCase()}>`
      t.match(await upload.complete({}, [element(texts[1] ?? '')]), { status: 400, code: 'InvalidPart' })
      const done = await upload.complete({}, texts.map(element))
      const value = type === 'COMPOSITE' ? `${await sumOf(name, ...sums)}-2` : await sumOf(name, one, two)
      const expected = { [`x-amz-checksum-${name}`]: value, 'x-amz-checksum-type': type }
      t.strictSame(written(done), expected, at)
      t.strictSame(told(await send('HEAD', at, { ...kind.read, ...mode })), expected)
      t.strictSame(told(await send('GET', at, { ...kind.read, ...mode })), expected)
      const attributes = await send('GET', `${at}?attributes`, { ...kind.read, 'x-amz-object-attributes': 'Checksum' })
      t.match(written(attributes), { [`x-amz-checksum-${name}`]: value.replace(/-2$/, '') })
      const copy = { 'x-amz-copy-source': at.slice(1), ...kind.from, ...kind.write }
      t.strictSame(written(await send('PUT', `${at}-copy`, copy)), expected, 'parts stay parts')
    }
  }
})

t.test('what Initiate cannot ask for', async t => {
  const { send } = await open(t)
  const wrong: readonly Headers[] = [
    { 'x-amz-checksum-algorithm': 'MD5' },
    { 'x-amz-checksum-type': 'COMPOSITE' },
    { 'x-amz-checksum-algorithm': 'CRC32', 'x-amz-checksum-type': 'HALF_OBJECT' },
    { 'x-amz-checksum-algorithm': 'SHA256', 'x-amz-checksum-type': 'FULL_OBJECT' },
    { 'x-amz-checksum-algorithm': 'CRC64NVME', 'x-amz-checksum-type': 'COMPOSITE' },
  ]
  for (const headers of wrong) {
    t.match(
      await send('POST', '/photos/a?uploads', headers),
      { status: 400, code: 'InvalidRequest' },
      JSON.stringify(headers),
    )
  }
})

t.test('a part that is copied has the checksum of its upload', async t => {
  const { send } = await open(t)
  await send('PUT', '/photos/source', {}, body)
  for (const kind of kinds) {
    const at = `/photos/${kind.name}`
    const upload = await uploadOf(send, at, kind)
    const copied = await send('PUT', `${at}?uploadId=${upload.id}&partNumber=1`, {
      ...kind.read,
      'x-amz-copy-source': 'photos/source',
      'x-amz-copy-source-range': 'bytes=0-8',
    })
    const value = await sumOf('crc64nvme', body.subarray(0, 9))
    const tells = kind.name !== 'SSE-KMS' // under which nobody asked for it
    t.strictSame(written(copied), tells ? { 'x-amz-checksum-crc64nvme': value } : {})
    upload.etags[0] = /<ETag>(.*?)</.exec(copied.text)?.[1] ?? ''
    t.strictSame(written(await upload.complete()), tells ? full('crc64nvme', value) : {})
    t.strictSame(told(await send('HEAD', at, { ...kind.read, ...mode })), full('crc64nvme', value))
  }
})

t.test('an upload with a part that has no checksum has none', async t => {
  const { send, byName } = await open(t)
  const upload = await uploadOf(send, '/photos/a', { write: {}, read: {} })
  const etag = createHash('md5').update('x').digest('hex')
  const part = { number: 1, attempt: 'a', size: 1, etag, modified: 0 }
  await byName.putPart('photos', 'a', upload.id, part, 'x')
  upload.etags[0] = etag
  t.notMatch((await send('GET', `/photos/a?uploadId=${upload.id}`)).text, '<ChecksumCRC64NVME>')
  const done = await upload.complete()
  t.equal(done.status, 200)
  t.strictSame(written(done), {})
})

t.test('CRCs of pieces add up to that of the whole', async t => {
  for (const name of ['crc32', 'crc32c', 'crc64nvme'] as const) {
    t.ok(isCrc(name))
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }), async pieces => {
        const rows = await Promise.all(
          pieces.map(async piece => ({ crc: await digestOf(name, piece), length: piece.length })),
        )
        return (await digestOf(name, ...pieces)).equals(combineCrcs(name, rows))
      }),
    )
  }
  t.notOk(isCrc('sha1'))
  const part = Buffer.alloc(1000, 7)
  const row = { crc: await digestOf('crc64nvme', part), length: part.length }
  const whole = combineCrcs(
    'crc64nvme',
    Array.from({ length: 10_000 }, () => row),
  )
  t.strictSame(Buffer.from(whole), await digestOf('crc64nvme', ...Array.from({ length: 10_000 }, () => part)))
})
