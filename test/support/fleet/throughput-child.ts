/** A client of the load, a process of its own: eight requests at a time for some seconds; tells how many succeeded. */
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { once } from 'node:events'
import { bucket } from './load.ts'
import type { ChildTask } from './throughput.ts'

const isTask = (value: unknown): value is ChildTask => typeof value === 'object' && value !== null && 'method' in value

const [task]: unknown[] = await once(process, 'message')
if (!isTask(task)) throw new TypeError('not a task')
const { url: endpoint, region, credentials, name, method, size, seconds } = task
const s3 = new S3Client({ endpoint, region, forcePathStyle: true, maxAttempts: 1, credentials: { ...credentials } })
const Body = Buffer.alloc(size, name)
const put = (lane: number): PutObjectCommand =>
  new PutObjectCommand({
    Bucket: bucket,
    Key: `${name}/${lane}`,
    Body,
    ServerSideEncryption: 'aws:kms',
    BucketKeyEnabled: true,
  })

const lanes = Array.from({ length: 8 }, (_, lane) => lane)
await Promise.all(lanes.map(lane => s3.send(put(lane))))
let count = 0
const end = performance.now() + seconds * 1000
const work = async (lane: number): Promise<void> => {
  while (performance.now() < end) {
    if (method === 'PUT') await s3.send(put(lane))
    else {
      const { Body: got } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: `${name}/${lane}` }))
      await got?.transformToByteArray()
    }
    count++
  }
}
await Promise.all(lanes.map(work))
process.send?.(count)
