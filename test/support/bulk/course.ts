/**
 * Many objects are moved to another master key while a server runs: the command is killed in the middle and given again. Short as a test, long as
 * `npm run bulk`.
 */
import { CreateBucketCommand, PutBucketEncryptionCommand, S3Client } from '@aws-sdk/client-s3'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { type OpenedBucket, openBucket } from '../../../lib/cli/bulk-store.ts'
import { type Arguments, parseArguments } from '../../../lib/cli/command.ts'
import { rewrapObjects } from '../../../lib/cli/rewrap-objects.ts'
import { bucketContext, keysOfStored, objectContext } from '../../../lib/gateway/objects/encryption.ts'
import { openStored } from '../../../lib/gateway/objects/read.ts'
import { keyPlaceOf } from '../../../lib/gateway/objects/rewrap.ts'
import type { ObjectRecord } from '../../../lib/store/records.ts'
import { cli, ended, start } from '../cli.ts'
import { main, type RunningServer, startServer } from '../server.ts'

/** The tenant. */
export const domainId = 'domain1'
const ann = { name: 'ann', accessKeyId: 'AKANN', secretAccessKey: 'secret-of-ann', roles: ['tenant_admin'] }
/** The bucket. */
export const bucket = 'photos'

/** A store with a server on it, and two master keys of its tenant. */
export interface BulkSetup {
  readonly config: string
  readonly server: RunningServer
  readonly s3: S3Client
  /** Their ARNs. */
  readonly keys: readonly [string, string]
  /** Makes another one. */
  createKey(alias: string): Promise<string>
  /** Gives a key a new version. */
  rotate(key: string): Promise<void>
  close(): Promise<void>
}

/** Starts a server in a folder, with a bucket whose default encryption is the first of two keys, under a bucket key where it is asked for. */
export const setUp = async (folder: string, bucketKey = true, more: object = {}): Promise<BulkSetup> => {
  const config = join(folder, 'sse-kms.json')
  const data = join(folder, 'data')
  const tenants = [{ domainId, projectId: 'project1', users: [ann] }]
  writeFileSync(config, JSON.stringify({ tenants, profile: 's3', data, ...more }))
  const server = await startServer(data, ['--config', config])
  const { url: endpoint, region } = server
  const s3 = new S3Client({ endpoint, region, forcePathStyle: true, maxAttempts: 1, credentials: { ...ann } })
  const onKeys = async (...words: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await cli([
      'keys',
      ...words,
      ...['--data', data, '--region', region, '--domain', domainId, '--json'],
    ])
    if (code !== 0) throw new Error(stderr)
    return stdout.toString()
  }
  const createKey = async (alias: string): Promise<string> => {
    const key: unknown = JSON.parse(await onKeys('create', '--alias', alias))
    if (typeof key !== 'object' || key === null || !('keyId' in key)) throw new TypeError('keys create tells the key')
    return String(key.keyId)
  }
  const keys = [await createKey('first'), await createKey('second')] as const
  await s3.send(new CreateBucketCommand({ Bucket: bucket }))
  await s3.send(
    new PutBucketEncryptionCommand({
      Bucket: bucket,
      ServerSideEncryptionConfiguration: {
        Rules: [
          {
            ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: keys[0] },
            BucketKeyEnabled: bucketKey,
          },
        ],
      },
    }),
  )
  const close = async (): Promise<void> => {
    s3.destroy()
    await server.stop()
  }
  const rotate = async (key: string): Promise<void> => void (await onKeys('rotate', key))
  return { config, server, s3, keys, createKey, rotate, close }
}

const argumentsOf = (config: string): Arguments<'config' | 'data' | 'region' | 'root-key-file' | 'bucket' | 'prefix'> =>
  parseArguments('test', rewrapObjects.options, 0, ['--config', config, '--bucket', bucket])

/** Opens the bucket as the command does, in this process. */
export const withBucket = async <T>(config: string, use: (opened: OpenedBucket) => Promise<T>): Promise<T> => {
  const io = { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr, env: process.env }
  const opened = await openBucket(argumentsOf(config), { ...io, signal: new AbortController().signal }, 'test')
  try {
    return await use(opened)
  } finally {
    await opened.close()
  }
}

/** The key of an object by its number: in the order of listings. */
export const keyOf = (i: number): string => `object-${String(i).padStart(7, '0')}`
/** Its body. */
export const bodyOf = (i: number): Buffer => Buffer.from(`the body of object ${i}, `.repeat(1 + (i % 5)))

/** Does something with each number below `count`, many at once. */
const each = async (count: number, work: (i: number) => Promise<void>): Promise<void> => {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: 64 }, worker))
}

/** Puts small objects straight into the store, as a server would, under a key. */
export const fill = ({ config, keys: [keyId] }: BulkSetup, count: number, bucketKey = true): Promise<void> =>
  withBucket(config, async ({ services, store, place, commit }) => {
    await each(count, async i => {
      const key = keyOf(i)
      const options = { keyId, accept: [keyId], bucketContext: bucketContext(place()), bucketKey }
      const put = await services.sse.encrypt({ ...options, context: objectContext(place(), key) })
      const body = await store.createBody()
      for await (const bytes of put.pieces([bodyOf(i)])) body.writable.write(Uint8Array.from(bytes))
      body.writable.end()
      await once(body.writable, 'finish')
      const { plaintextLength: size, etag, envelope, values } = put.result()
      const notes = { keyId, ...(bucketKey && { bucketKey }) }
      const kept = { kind: 'sse-kms', headers: { 'x-amz-meta-number': String(i) }, notes, owner: domainId } as const
      const record = { ...kept, size, etag, envelope, values, modified: 1_700_000_000_000 + i }
      await commit(judged => store.putObject(judged, key, record, body))
    })
  })

/** What the command reports with `--json`. */
export interface BulkReport {
  readonly objects: number
  readonly changed: number
  readonly already: number
  readonly kmsCalls: number
}

const isReport = (value: unknown): value is BulkReport =>
  typeof value === 'object' && value !== null && 'kmsCalls' in value && 'changed' in value && 'already' in value

/** The report of a run. */
export const reportOf = (stdout: Buffer): BulkReport => {
  const report: unknown = JSON.parse(stdout.toString())
  if (isReport(report)) return report
  throw new TypeError('this is no report')
}

/** What was seen of a run. */
export interface BulkRun {
  /** How often it was killed. */
  readonly kills: number
  /** Its last report. */
  readonly report: BulkReport
  readonly seconds: number
}

/** Gives the command; kills it when it has come to each of these objects; gives it again until it ends by itself. */
export const rewrapKilled = (
  { config, keys: [, to] }: BulkSetup,
  count: number,
  killAt: readonly number[],
  more: readonly string[] = [],
): Promise<BulkRun> =>
  withBucket(config, async ({ store, place }) => {
    const isMoved = async (i: number): Promise<boolean> => {
      const record = await store.getObject(place().bucket.id, keyOf(i))
      return record?.envelope !== undefined && keyPlaceOf(record.envelope).keyId === to
    }
    const begun = performance.now()
    const words = ['rewrap-objects', '--config', config, '--bucket', bucket, '--to', to, '--json', ...more]
    for (const at of killAt) {
      const child = start(words, main)
      const end = ended(child)
      while (child.exitCode === null && !(await isMoved(at))) await sleep(5)
      child.kill('SIGKILL')
      const { signal, stderr } = await end
      if (signal !== 'SIGKILL') throw new Error(`it ended before it was killed: ${stderr}`)
      if (await isMoved(count - 1)) throw new Error('it was killed too late')
    }
    const { code, stdout, stderr } = await ended(start(words, main))
    if (code !== 0) throw new Error(`${code}: ${stderr}`)
    return { kills: killAt.length, report: reportOf(stdout), seconds: (performance.now() - begun) / 1000 }
  })

/** Reads objects, every one whose number divides by `step` with its body, and looks at the rows of all. Throws where one is not as it should be. */
export const verify = (
  { config, keys: [, to] }: BulkSetup,
  count: number,
  { step = 1, before }: { readonly step?: number; readonly before?: (i: number, record: ObjectRecord) => void } = {},
): Promise<void> =>
  withBucket(config, async ({ services, store, place }) => {
    await each(count, async i => {
      const key = keyOf(i)
      const opened = await store.openObject(place().bucket.id, key)
      if (opened?.record.envelope === undefined) throw new Error(`${key} is gone`)
      const { record, body } = opened
      try {
        const { keyId } = keyPlaceOf(record.envelope ?? new Uint8Array())
        if (keyId !== to || record.notes.keyId !== to) throw new Error(`${key} is not under the new key`)
        if (record.modified !== 1_700_000_000_000 + i) throw new Error(`${key} has another time`)
        if (record.headers['x-amz-meta-number'] !== String(i)) throw new Error(`${key} has other metadata`)
        before?.(i, record)
        if (i % step !== 0) return
        const options = await keysOfStored(services, record, place(), key)
        const read = { options, answer: { kind: 'plain' }, release: () => undefined } as const
        const found = await buffer((await openStored(services, record, read, { body })).read())
        if (!found.equals(bodyOf(i))) throw new Error(`${key} has another body`)
      } finally {
        await body.close()
      }
    })
  })
