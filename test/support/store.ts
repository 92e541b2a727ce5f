/** What tests of stores share: records, bodies, and a look at the disk. */
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BodyOptions, BodyWriter, ObjectStore } from '../../lib/store/store.ts'
import type { Bucket, BucketRevision, NewObject, NewPart, NewUpload } from '../../lib/store/records.ts'

/** A new directory, in memory where that is possible: what a test does not ask of a disk need not wait for one. */
export const quickDirectory = (): string =>
  mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'sse-kms-store-'))

/** The bucket of this name, as it is now. */
export const bucketOf = async (store: ObjectStore, name: string): Promise<Bucket> => {
  const bucket = await store.getBucket(name)
  if (bucket === undefined) throw new Error(`there is no bucket ${name}`)
  return bucket
}

/** A record, but for what is given. */
export const record = (given: Partial<NewObject> = {}): NewObject => ({
  size: 1,
  etag: 'etag',
  modified: 1_700_000_000_000,
  kind: 'plain',
  headers: { 'content-type': 'text/plain' },
  notes: {},
  owner: 'domain',
  ...given,
})

/** An upload, but for what is given. */
export const upload = (id: string, given: Partial<NewUpload> = {}): NewUpload => ({
  id,
  kind: 'plain',
  headers: {},
  notes: {},
  owner: 'domain',
  initiated: 1,
  ...given,
})

/** An attempt of a part. */
export const part = (number: number, attempt: string, size = 1): NewPart => ({ number, attempt, size, modified: 2 })

/** `size` bytes that differ from place to place, and with the seed. */
export const pattern = (size: number, seed = 0): Buffer => {
  const bytes = Buffer.alloc(size)
  for (let i = 0; i < size; i++) bytes[i] = (seed * 31 + i + (i >> 8) * 7 + (i >> 16) * 13) & 255
  return bytes
}

/** A whole body of these bytes, which were written in pieces. */
export const bodyOf = async (
  store: ObjectStore,
  bytes: Uint8Array,
  options?: BodyOptions,
  piece = 50_000,
): Promise<BodyWriter> => {
  const body = await store.createBody(options)
  const pieces: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += piece) pieces.push(bytes.subarray(at, at + piece))
  await pipeline(Readable.from(pieces), body.writable)
  return body
}

/** Puts an object of these bytes; answers its revision. */
export const put = async (
  store: ObjectStore,
  bucket: BucketRevision,
  key: string,
  bytes: Uint8Array,
  given: Partial<NewObject> = {},
): Promise<string> => {
  const body = await bodyOf(store, bytes)
  return (await store.putObject(bucket, key, record({ size: bytes.length, ...given }), body)).revision
}

/** The bytes of an object; `undefined` where there is none. */
export const get = async (
  store: ObjectStore,
  { id }: Pick<BucketRevision, 'id'>,
  key: string,
): Promise<Buffer | undefined> => {
  const opened = await store.openObject(id, key)
  if (opened === undefined) return undefined
  try {
    return await buffer(opened.body.read())
  } finally {
    await opened.body.close()
  }
}

/** Makes an object of these pieces, each a part; answers its revision. */
export const assemble = async (
  store: ObjectStore,
  b: BucketRevision,
  key: string,
  pieces: readonly Buffer[],
): Promise<string> => {
  const id = `upload of ${key}`
  await store.createUpload(b, key, upload(id))
  for (const [i, bytes] of pieces.entries()) {
    await store.putPart(b, key, id, part(i, String(i)), await bodyOf(store, bytes))
  }
  const attempts = pieces.map((_, i) => String(i))
  return (await store.completeUpload(b, key, id, { token: id, attempts, record: record() })).revision
}

/** Names of the body files of a store, sorted. */
export const filesIn = (directory: string): readonly string[] => {
  const bodies = join(directory, 'bodies')
  return readdirSync(bodies)
    .filter(name => name.length === 2)
    .flatMap(shelf => readdirSync(join(bodies, shelf)))
    .toSorted()
}

/** Waits until a store holds that many body files: those of deleted bodies go in the background. */
export const filesBecome = async (directory: string, count: number): Promise<boolean> => {
  for (let i = 0; i < 500; i++) {
    if (filesIn(directory).length === count) return true
    await sleep(10)
  }
  return false
}

/**
 * Puts /dev/full, which answers every write with ENOSPC, in the place of the descriptor with which this process writes to a file: the one
 * opened with O_DSYNC, or the other one. Linux only.
 */
export const fillUp = (path: string, dsync: boolean): void => {
  for (const name of readdirSync('/proc/self/fd')) {
    const fd = Number(name)
    if (link(`/proc/self/fd/${name}`) !== path) continue
    const flags = Number.parseInt(
      /flags:\s+([0-7]+)/.exec(readFileSync(`/proc/self/fdinfo/${name}`, 'utf8'))?.[1] ?? '',
      8,
    )
    if ((flags & 3) === 0 || ((flags & constants.O_DSYNC) !== 0) !== dsync) continue
    const others: number[] = []
    closeSync(fd)
    for (let full = openSync('/dev/full', 'w'); full !== fd; full = openSync('/dev/full', 'w')) others.push(full)
    for (const other of others) closeSync(other)
  }
}

const link = (path: string): string => {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
