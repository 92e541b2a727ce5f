// Checksums of what is asked for of an object, and its parts: as they were uploaded, and as a copy has them.
import t, { type Test } from 'tap'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { createHash, randomBytes } from 'node:crypto'
import { createDigest } from '../../lib/gateway/body/checksums.ts'
import { createProfile, type Profile } from '../../lib/sse/profile.ts'
import { admin, region, startGateway } from '../support/gateway.ts'

const Bucket = 'photos'

const open = async (t: Test, more: Partial<Profile> = {}): Promise<S3Client> => {
  const profile = { ...createProfile('s3', { region, baseEncryption: 'none' }), ...more }
  const gateway = await startGateway(t, { profile })
  await gateway.signedFetch(admin, 'PUT', `/${Bucket}`)
  return gateway.client()
}

const kinds = [{}, { ServerSideEncryption: 'AES256' }, { ServerSideEncryption: 'aws:kms' }] as const
const body = randomBytes(1000)
const parts = [randomBytes(5 * 1024 * 1024), body]

const upload = async (s3: S3Client, Key: string, ChecksumType: 'COMPOSITE' | 'FULL_OBJECT', more: object) => {
  const asked = { ChecksumAlgorithm: 'CRC32', ChecksumType } as const
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ...asked, ...more }))
  const Parts = await Promise.all(
    parts.map(async (Body, i) => {
      const part = { Bucket, Key, UploadId, PartNumber: i + 1, Body }
      const { ETag, ChecksumCRC32 } = await s3.send(new UploadPartCommand(part))
      return { PartNumber: i + 1, ETag, ChecksumCRC32 }
    }),
  )
  return s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
}

const attributes = (s3: S3Client, Key: string, more: object = {}) =>
  s3.send(
    new GetObjectAttributesCommand({ Bucket, Key, ObjectAttributes: ['ETag', 'Checksum', 'ObjectParts'], ...more }),
  )

t.test('a range that is the whole object has its checksum, and any other one has none', async t => {
  const s3 = await open(t)
  for (const kind of kinds) {
    const { ChecksumCRC32 } = await s3.send(
      new PutObjectCommand({ Bucket, Key: 'a', Body: body, ChecksumAlgorithm: 'CRC32', ...kind }),
    )
    for (const [asked, whole] of [
      [{ Range: 'bytes=0-' }, true],
      [{ Range: 'bytes=0-999' }, true],
      [{ Range: 'bytes=-2000' }, true],
      [{ PartNumber: 1 }, true],
      [{ Range: 'bytes=1-' }, false],
      [{ Range: 'bytes=0-998' }, false],
    ] as const) {
      const request = { Bucket, Key: 'a', ChecksumMode: 'ENABLED', ...asked } as const
      const expected = whole ? { ChecksumCRC32, ChecksumType: 'FULL_OBJECT' } : { ChecksumCRC32: undefined }
      const got = await s3.send(new GetObjectCommand(request))
      t.match(got, { ...expected, $metadata: { httpStatusCode: 206 } }, JSON.stringify({ ...asked, ...kind }))
      await got.Body?.transformToByteArray() // the client checks it
      t.match(await s3.send(new HeadObjectCommand(request)), expected)
    }
  }
})

t.test('parts of an upload: their count alone where the checksum is of the whole object', async t => {
  const s3 = await open(t)
  for (const kind of kinds) {
    await upload(s3, 'a', 'FULL_OBJECT', kind)
    t.strictSame((await attributes(s3, 'a')).ObjectParts, { TotalPartsCount: 2 })
    await upload(s3, 'a', 'COMPOSITE', kind)
    t.match((await attributes(s3, 'a')).ObjectParts, { TotalPartsCount: 2, Parts: [{ PartNumber: 1 }, { Size: 1000 }] })
    const whole = { Bucket, Key: 'a', ChecksumMode: 'ENABLED', Range: 'bytes=0-' } as const
    t.match((await s3.send(new HeadObjectCommand(whole))).ChecksumCRC32, /-2$/)
  }
})

t.test('a copy of an object in parts has them where no byte is read, and is one part otherwise', async t => {
  const s3 = await open(t)
  const key = randomBytes(32)
  const customer = {
    SSECustomerAlgorithm: 'AES256',
    SSECustomerKey: key.toString('base64'),
    SSECustomerKeyMD5: createHash('md5').update(key).digest('base64'),
  }
  for (const kind of kinds) {
    const { ETag } = await upload(s3, 'a', 'COMPOSITE', kind)
    for (const [target, read, keeps] of [
      [kind, {}, true],
      [customer, customer, false],
    ] as const) {
      const copy = new CopyObjectCommand({ Bucket, Key: 'b', CopySource: `${Bucket}/a`, ...target })
      const answer = (await s3.send(copy)).CopyObjectResult
      const told = await attributes(s3, 'b', read)
      const of = (PartNumber: number) => s3.send(new HeadObjectCommand({ Bucket, Key: 'b', PartNumber, ...read }))
      t.equal(answer?.ETag, `"${told.ETag}"`)
      t.equal(told.Checksum?.ChecksumType, keeps ? 'COMPOSITE' : 'FULL_OBJECT')
      if (keeps) {
        t.match(ETag, /-2"$/)
        t.match(answer?.ETag, /-2"$/)
        t.match(answer?.ChecksumCRC32, /-2$/)
        t.equal(told.ObjectParts?.TotalPartsCount, 2)
        t.match(await of(2), { PartsCount: 2, ContentLength: 1000 })
      } else {
        t.match(answer?.ETag, /-1"$/)
        t.notMatch(answer?.ChecksumCRC32, '-')
        t.equal(told.ObjectParts, undefined)
        t.match(await of(1), { PartsCount: undefined, ContentLength: 5 * 1024 * 1024 + 1000 })
        await t.rejects(of(2))
      }
    }
  }
})

const customerKey = (fill: number) => {
  const key = Buffer.alloc(32, fill)
  return {
    SSECustomerAlgorithm: 'AES256',
    SSECustomerKey: key.toString('base64'),
    SSECustomerKeyMD5: createHash('md5').update(key).digest('base64'),
  }
}

const algorithms = ['CRC32', 'CRC32C', 'SHA1', 'SHA256'] as const
type Algorithm = (typeof algorithms)[number]
const names = { CRC32: 'crc32', CRC32C: 'crc32c', SHA1: 'sha1', SHA256: 'sha256' } as const

const sumOf = async (algorithm: Algorithm, bytes: Uint8Array): Promise<Buffer> => {
  const digest = createDigest(names[algorithm])
  digest.update(bytes)
  return Buffer.from(await digest.finish())
}

/** Numbers and bytes of parts that are uploaded in this order. */
type Pieces = readonly (readonly [number: number, bytes: Uint8Array])[]

/** Uploads parts under a checksum, and completes. */
const uploadParts = async (
  s3: S3Client,
  Key: string,
  pieces: Pieces,
  ChecksumAlgorithm: Algorithm,
  ChecksumType: 'COMPOSITE' | 'FULL_OBJECT',
  write: object,
  read: object,
) => {
  const at = { Bucket, Key }
  const initiate = { ...at, ChecksumAlgorithm, ChecksumType, ...write }
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand(initiate))
  const Parts = await Promise.all(
    pieces.map(async ([PartNumber, Body]) => {
      const part = { ...at, UploadId, PartNumber, Body, ChecksumAlgorithm, ...read }
      const { ETag, [`Checksum${ChecksumAlgorithm}` as const]: sum } = await s3.send(new UploadPartCommand(part))
      return { PartNumber, ETag, [`Checksum${ChecksumAlgorithm}`]: sum }
    }),
  )
  await s3.send(new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload: { Parts } }))
}

const kindsWithCustomers = [
  ...kinds.map(write => ({ write, read: {} })),
  { write: customerKey(5), read: customerKey(5) },
] as const

/** Asks for a part and its checksum in every way. */
const asksFor = (s3: S3Client, Key: string, PartNumber: number, read: object) => {
  const request = { Bucket, Key, PartNumber, ChecksumMode: 'ENABLED', ...read } as const
  const get = async () => {
    const got = await s3.send(new GetObjectCommand(request))
    return { ...got, bytes: await got.Body?.transformToByteArray() } // the client compares them with the checksum
  }
  return { get, head: () => s3.send(new HeadObjectCommand(request)) }
}

t.test(
  'parts of a composite checksum have their own: by number, in the attributes, and in copies of the bytes',
  async t => {
    for (const name of ['s3', 'obs'] as const) {
      const made = createProfile(name, { region, ...(name === 's3' && { baseEncryption: 'none' }) })
      const gateway = await startGateway(t, { profile: { ...made, minimumPartSize: 1 } })
      await gateway.signedFetch(admin, 'PUT', `/${Bucket}`)
      const s3 = gateway.client()
      const pieces = [
        [3, randomBytes(100_000)],
        [7, randomBytes(1000)],
      ] as const
      for (const { write, read } of kindsWithCustomers) {
        for (const algorithm of name === 's3' ? algorithms : (['SHA256'] as const)) {
          const what = JSON.stringify([name, write, algorithm])
          const element = `Checksum${algorithm}`
          await uploadParts(s3, 'a', pieces, algorithm, 'COMPOSITE', write, read)
          const source = 'SSECustomerKey' in read && {
            CopySourceSSECustomerAlgorithm: read.SSECustomerAlgorithm,
            CopySourceSSECustomerKey: read.SSECustomerKey,
            CopySourceSSECustomerKeyMD5: read.SSECustomerKeyMD5,
          }
          const CopySource = `${Bucket}/a`
          await s3.send(new CopyObjectCommand({ Bucket, Key: 'b', CopySource, ...write, ...source }))
          for (const Key of ['a', 'b']) {
            const Parts = []
            for (const [number, bytes] of pieces) {
              const sum = (await sumOf(algorithm, bytes)).toString('base64')
              const expected = { [element]: sum, ChecksumType: 'COMPOSITE', PartsCount: 2, ContentLength: bytes.length }
              const asked = asksFor(s3, Key, number, read)
              const got = await asked.get()
              t.match(got, expected, `${what}: GET ${Key} ${number}`)
              t.ok(Buffer.from(bytes).equals(got.bytes ?? Buffer.alloc(0)))
              t.match(await asked.head(), expected, `${what}: HEAD ${Key} ${number}`)
              const request = { Bucket, Key, PartNumber: number, ...read }
              const silent = await s3.send(new HeadObjectCommand(request))
              t.match(silent, { [element]: undefined, ChecksumType: undefined }, 'nobody asks')
              Parts.push({ PartNumber: number, Size: bytes.length, [element]: sum })
            }
            const told = await attributes(s3, Key, read)
            t.strictSame(told.ObjectParts?.Parts, Parts, `${what}: attributes of ${Key}`)
            const page = await attributes(s3, Key, { ...read, MaxParts: 1, PartNumberMarker: '3' })
            t.strictSame(page.ObjectParts?.Parts, Parts.slice(1), `${what}: a page of them`)
          }
          const { kind, partValues } = (await gateway.byName.getObject(Bucket, 'a')) ?? {}
          for (const [, bytes] of pieces) {
            const inClear = Buffer.from(partValues ?? []).includes(await sumOf(algorithm, bytes))
            t.equal(inClear, kind === 'plain', `${what}: they lie sealed beside what is sealed`)
          }
        }
      }
    }
  },
)

t.test('the only part has the checksum of its bytes, and parts of a whole object’s checksum have none', async t => {
  const s3 = await open(t, { minimumPartSize: 1 })
  const large = randomBytes(100_000)
  for (const { write, read } of kindsWithCustomers) {
    const what = JSON.stringify(write)
    const sum = (await sumOf('CRC32', body)).toString('base64')
    for (const ChecksumType of ['COMPOSITE', 'FULL_OBJECT'] as const) {
      await uploadParts(s3, 'a', [[1, body]], 'CRC32', ChecksumType, write, read)
      const { get, head } = asksFor(s3, 'a', 1, read)
      const expected = { ChecksumCRC32: sum, ChecksumType, PartsCount: 1 }
      t.match(await get(), expected, `${what}: GET, ${ChecksumType}`)
      t.match(await head(), expected, `${what}: HEAD, ${ChecksumType}`)
    }
    for (const last of [body, Buffer.alloc(0)]) {
      const two = [
        [1, large],
        [2, last],
      ] as const
      await uploadParts(s3, 'a', two, 'CRC32', 'FULL_OBJECT', write, read)
      for (const number of last.length > 0 ? [1, 2] : [1]) {
        const { get, head } = asksFor(s3, 'a', number, read)
        const none = { ChecksumCRC32: undefined, ChecksumType: undefined, PartsCount: 2 }
        t.match(await get(), none, `${what}: GET ${number} of ${large.length + last.length} bytes`)
        t.match(await head(), none, `${what}: HEAD ${number} of ${large.length + last.length} bytes`)
      }
    }
  }
})

t.test('parts of an object that was completed without their checksums have none', async t => {
  const gateway = await startGateway(t, { profile: createProfile('s3', { region, baseEncryption: 'none' }) })
  await gateway.signedFetch(admin, 'PUT', `/${Bucket}`)
  const s3 = gateway.client()
  for (const kind of kinds) {
    await upload(s3, 'a', 'COMPOSITE', kind)
    const place = { bucket: Bucket, key: 'a' }
    await gateway.byName.plant(place, place, { partValues: undefined })
    const { get, head } = asksFor(s3, 'a', 2, {})
    const none = { ChecksumCRC32: undefined, ChecksumType: undefined, PartsCount: 2, ContentLength: 1000 }
    t.match(await get(), none)
    const before = gateway.calls.unwrap
    t.match(await head(), none)
    t.equal(gateway.calls.unwrap, before, 'and the KMS is not asked')
    const told = await attributes(s3, 'a')
    t.match(told.Checksum, { ChecksumCRC32: String, ChecksumType: 'COMPOSITE' })
    t.strictSame(told.ObjectParts?.Parts, [
      { PartNumber: 1, Size: 5 * 1024 * 1024 },
      { PartNumber: 2, Size: 1000 },
    ])
  }
})
