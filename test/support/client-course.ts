/**
 * The course that every client of Debian runs against the built gateway: put, get, range, multipart, copy, listing and delete with SSE-KMS,
 * and an ordinary user who is refused. What the gateway stored is checked by Amazon's SDK, what it gives back by the bytes.
 */
import { HeadObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type DemoUser, type RunningServer, startServer } from './server.ts'

/** Bytes from which a client uploads in parts, and the size of these. */
export const partSize: number = 8 * 1_048_576

/** A client as one user. Whatever fails rejects, with the client's own words in the message. */
export interface ObjectClient {
  makeBucket(bucket: string): Promise<unknown>
  /** Uploads a file under SSE-KMS, in parts of {@link partSize} where it is larger. */
  put(file: string, bucket: string, key: string): Promise<unknown>
  get(bucket: string, key: string, file: string): Promise<unknown>
  /** Some bytes, first to last; for clients that can. */
  range?(bucket: string, key: string, first: number, last: number): Promise<Uint8Array>
  /** Copies within the service, under SSE-KMS. */
  copy(bucket: string, from: string, to: string): Promise<unknown>
  /** Every object, in pages of two for clients that can: size and key. */
  list(bucket: string): Promise<readonly string[]>
  remove(bucket: string, key: string): Promise<unknown>
  /** Removes every object. */
  empty(bucket: string): Promise<unknown>
  removeBucket(bucket: string): Promise<unknown>
}

/** What a client is made for. */
export interface ClientUser extends DemoUser {
  readonly server: RunningServer
  /** Folder of the client's own. */
  readonly directory: string
  /** The ARN of the tenant's default master key. */
  readonly keyArn: string
}

/** What is still to be tested of a client, with its bucket and a file that lies there under `cat.jpg`. */
export interface CourseRest {
  readonly admin: ClientUser
  readonly bucket: string
  readonly cat: Buffer<ArrayBuffer>
  /** Fails unless the object is of this size and under SSE-KMS. */
  isUnderKms(t: Test, key: string, size: number): Promise<void>
}

/** ARN of a master key of the demo tenant. */
const arn = /^arn:aws:kms:sichuan:[^:]+:key\/[0-9a-f-]{36}$/

const sdkOf = (server: RunningServer): S3Client =>
  new S3Client({ endpoint: server.url, region: server.region, forcePathStyle: true, credentials: server.admin })

/**
 * The server that the course is run against: that of the variable COURSE_SERVER, as JSON with url, region, admin and user, or a fresh one.
 */
const serverOf = async (directory: string): Promise<RunningServer> => {
  const given = process.env['COURSE_SERVER']
  if (given === undefined) return startServer(join(directory, 'data'))
  const found: RunningServer = JSON.parse(given)
  return { ...found, errors: () => '', stop: async () => undefined }
}

/** The default master key comes to be with the first object that needs it. */
const defaultKey = async (server: RunningServer): Promise<string> => {
  const { BucketAlreadyOwnedByYou, CreateBucketCommand, PutObjectCommand } = await import('@aws-sdk/client-s3')
  const sdk = sdkOf(server)
  await sdk.send(new CreateBucketCommand({ Bucket: 'first' })).catch((error: unknown) => {
    if (!(error instanceof BucketAlreadyOwnedByYou)) throw error
  })
  const put = new PutObjectCommand({ Bucket: 'first', Key: 'k', Body: 'v', ServerSideEncryption: 'aws:kms' })
  const { SSEKMSKeyId = '' } = await sdk.send(put)
  sdk.destroy()
  return SSEKMSKeyId
}

/** Runs the course; `rest` is what this client is tested for beyond it. */
export const clientCourse = async (
  t: Test,
  clientOf: (user: ClientUser) => ObjectClient,
  rest: (t: Test, course: CourseRest) => Promise<void> = async () => undefined,
): Promise<void> => {
  const directory = t.testdir({ admin: {}, user: {} })
  const server = await serverOf(directory)
  const sdk = sdkOf(server)
  t.teardown(async () => {
    sdk.destroy()
    await server.stop()
  })
  const keyArn = await defaultKey(server)
  if (process.env['COURSE_SERVER'] === undefined) t.match(keyArn, arn)
  const admin = { ...server.admin, server, keyArn, directory: join(directory, 'admin') }
  const client = clientOf(admin)
  const file = join(directory, 'file')
  const back = join(directory, 'back')
  const bucket = 'photos'
  const cat = randomBytes(300_000)
  const large = randomBytes(2 * partSize + 5)

  const isUnderKms = async (t: Test, key: string, size: number): Promise<void> => {
    const head = await sdk.send(new HeadObjectCommand({ Bucket: bucket, Key: key }))
    t.match(head, { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: keyArn, ContentLength: size }, key)
  }
  const comesBack = async (t: Test, key: string, body: Uint8Array): Promise<void> => {
    await isUnderKms(t, key, body.length)
    writeFileSync(back, '')
    await client.get(bucket, key, back)
    t.equal(Buffer.compare(readFileSync(back), body), 0, `${key} comes back`)
  }

  await t.test('put, get, range', async t => {
    await client.makeBucket(bucket)
    const bodies = { 'cat.jpg': cat, 'a b+c/ü%20d&e.txt': cat.subarray(0, 65_536), empty: cat.subarray(0, 0) }
    for (const [key, body] of Object.entries(bodies)) {
      writeFileSync(file, body)
      await client.put(file, bucket, key)
      await comesBack(t, key, body)
    }
    const bytes = await client.range?.(bucket, 'cat.jpg', 65_530, 65_600)
    if (bytes !== undefined) t.equal(Buffer.compare(bytes, cat.subarray(65_530, 65_601)), 0, 'a range')
  })

  await t.test('multipart, and a range over two parts', async t => {
    writeFileSync(file, large)
    await client.put(file, bucket, 'large')
    const { ETag } = await sdk.send(new HeadObjectCommand({ Bucket: bucket, Key: 'large' }))
    t.match(ETag, /^"[0-9a-f]{32}-3"$/, 'in parts')
    await comesBack(t, 'large', large)
    const bytes = await client.range?.(bucket, 'large', partSize - 7, partSize + 7)
    if (bytes !== undefined) t.equal(Buffer.compare(bytes, large.subarray(partSize - 7, partSize + 8)), 0, 'a range')
  })

  await t.test('copy', async t => {
    await client.copy(bucket, 'cat.jpg', 'copy of cat')
    await comesBack(t, 'copy of cat', cat)
    await client.copy(bucket, 'large', 'copy of large')
    await comesBack(t, 'copy of large', large)
  })

  await t.test('listing', async t => {
    const expected = [
      `${cat.length} cat.jpg`,
      `${cat.length} copy of cat`,
      `${large.length} copy of large`,
      '0 empty',
      `${large.length} large`,
      '65536 a b+c/ü%20d&e.txt',
    ]
    t.strictSame([...(await client.list(bucket))].sort(), expected.sort())
  })

  await t.test('an ordinary user is refused SSE-KMS, and told why', async t => {
    const ordinary = clientOf({ ...server.user, server, keyArn, directory: join(directory, 'user') })
    writeFileSync(file, cat)
    await t.rejects(ordinary.put(file, bucket, 'mine'), { message: /tenant_admin/ })
    const refused = join(directory, 'refused')
    // rclone takes what it may not see for an empty folder, and succeeds.
    await ordinary.get(bucket, 'cat.jpg', refused).catch(() => undefined)
    t.notOk(existsSync(refused) && readFileSync(refused).length > 0, 'nothing of the object comes')
    await t.rejects(sdk.send(new HeadObjectCommand({ Bucket: bucket, Key: 'mine' })), { name: 'NotFound' })
  })

  await rest(t, { admin, bucket, cat, isUnderKms })

  await t.test('delete', async t => {
    await client.remove(bucket, 'cat.jpg')
    await t.rejects(sdk.send(new HeadObjectCommand({ Bucket: bucket, Key: 'cat.jpg' })), { name: 'NotFound' })
    await client.empty(bucket)
    t.strictSame(await client.list(bucket), [])
    await client.removeBucket(bucket)
    await t.rejects(client.list(bucket), { message: /NoSuchBucket|does not exist|not found/ })
  })
}
