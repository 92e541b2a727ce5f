/** Against the gateway of this package as the storage: 12 MiB in parts of 5, ranges, tampering, and a source that breaks. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import {
  CreateBucketCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { createSse, LocalKms } from 'sse-kms-streams'
import { get, put } from './objects.js'

const data = process.env['DATA'] ?? ''
const main = fileURLToPath(new URL('cli/main.js', import.meta.resolve('sse-kms-streams')))
const gateway = spawn(process.execPath, [main, 'serve', '--listen', '127.0.0.1:0', '--data', join(data, 'gateway')])
let told = ''
for await (const line of createInterface({ input: gateway.stdout }))
  if ((told += `${line}\n`).includes('aws --endpoint-url')) break
const [endpoint = ''] = /http:\/\/127\.0\.0\.1:\d+/.exec(told) ?? []
const [, accessKeyId = '', secretAccessKey = ''] = /ACCESS_KEY_ID=(\S+) AWS_SECRET_ACCESS_KEY=(\S+)/.exec(told) ?? []
const credentials = { accessKeyId, secretAccessKey }
const s3 = new S3Client({ endpoint, region: 'sichuan', forcePathStyle: true, credentials })
const kms = await LocalKms.open(join(data, 'keys'), { root: { file: join(data, 'root.key'), create: true } })
const { keyId } = await kms.defaultKey({ region: 'sichuan', domainId: 'my-tenant' })
const clients = { s3, sse: createSse({ kms, accept: [keyId] }) }
try {
  const Bucket = 'sealed'
  await s3.send(new CreateBucketCommand({ Bucket }))
  const large = { Bucket, Key: 'large' }
  const plain = randomBytes(12 << 20)
  await put(clients, large, Readable.from(chunks(plain)), plain.length)
  assert.ok(plain.equals(await buffer(await get(clients, large))))
  console.log('ok 12 MiB in parts come back')
  const range = { start: 5_000_000, end: 5_000_099 }
  assert.deepEqual(await buffer(await get(clients, large, range)), plain.subarray(5_000_000, 5_000_100))
  assert.deepEqual(await buffer(await get(clients, large, { suffix: 7 })), plain.subarray(-7))
  console.log('ok ranges')

  const { Body } = await s3.send(new GetObjectCommand(large))
  const stored = Buffer.from((await Body?.transformToByteArray()) ?? [])
  assert.ok(!stored.includes(plain.subarray(1000, 1032)))
  console.log('ok the storage has no plaintext')
  await s3.send(new PutObjectCommand({ Bucket, Key: 'other', Body: stored }))
  await assert.rejects(get(clients, { Bucket, Key: 'other' }), { code: 'NotAuthentic' })
  stored[7_000_000] = (stored[7_000_000] ?? 0) ^ 1
  await s3.send(new PutObjectCommand({ ...large, Body: stored }))
  await assert.rejects(async () => buffer(await get(clients, large)), { code: 'NotAuthentic' })
  assert.deepEqual(await buffer(await get(clients, large, { start: 0, end: 9 })), plain.subarray(0, 10))
  console.log('ok an object under another name and a changed byte are refused')

  const broken = async function* () {
    yield plain.subarray(0, 6 << 20)
    throw new Error('the source broke')
  }
  await assert.rejects(
    put(clients, { Bucket, Key: 'broken' }, Readable.from(broken()), plain.length),
    /the source broke/,
  )
  await assert.rejects(put(clients, { Bucket, Key: 'short' }, Readable.from(['x']), 2), { code: 'LengthMismatch' })
  const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket }))
  const { Uploads = [] } = await s3.send(new ListMultipartUploadsCommand({ Bucket }))
  assert.deepEqual([Contents.map(({ Key }) => Key), Uploads], [['large', 'other'], []])
  console.log('ok a source that breaks or is too short leaves neither an object nor an upload')
} finally {
  kms.close()
  s3.destroy()
  gateway.kill()
  await once(gateway, 'close')
}

function* chunks(bytes: Uint8Array): Iterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536)
}
