// The gateway over the engine openssl seals and opens into memory that is used again: never before the system has taken what lies in it.
import { createHash, randomBytes } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { Readable } from 'node:stream'
import t from 'tap'
import { openSslOfTests } from '../support/engines.ts'
import { startGateway } from '../support/gateway.ts'

const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

t.test('slow readers and writers at once get and keep their own bytes', async t => {
  const gateway = await startGateway(t, { engine: openSslOfTests })
  const client = gateway.client()
  const Bucket = 'photos'
  await client.send(new CreateBucketCommand({ Bucket }))
  const put = async (Key: string, Body: Uint8Array) =>
    client.send(new PutObjectCommand({ Bucket, Key, Body, ServerSideEncryption: 'aws:kms' }))
  const get = async (Key: string, pause: number): Promise<string> => {
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }))
    if (!(Body instanceof Readable)) throw new TypeError('the body is no stream')
    await setTimeout(pause) // what does not fit into the buffers of the system waits in the gateway
    const hash = createHash('sha256')
    for await (const chunk of Body) hash.update(chunk)
    return hash.digest('hex')
  }
  const bodies = new Map(Array.from({ length: 6 }, (_, i) => [`body ${i}`, randomBytes(16_000_000 + i * 70_001)]))
  await Promise.all(Array.from(bodies, ([key, body]) => put(key, body)))
  for (let round = 0; round < 2; round++) {
    const overwritten = Array.from(bodies.keys(), key => [`${key}, round ${round}`, randomBytes(1_500_000)] as const)
    const [found] = await Promise.all([
      Promise.all(Array.from(bodies.keys(), (key, i) => get(key, i * 200))),
      ...overwritten.map(([key, body]) => put(key, body)),
    ])
    t.strictSame(found, Array.from(bodies.values(), hashOf), 'read while others are written')
    const written = await Promise.all(overwritten.map(([key]) => get(key, 0)))
    t.strictSame(
      written,
      overwritten.map(([, body]) => hashOf(body)),
      'written while others are read',
    )
  }
})
