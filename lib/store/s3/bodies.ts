/**
 * Bodies in any S3-compatible storage: one object a body, named by its random id under the id of the store. Needs the optional package
 * `@aws-sdk/client-s3`.
 *
 * @module sse-kms-streams/store/s3
 */
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import type { BodyStore, BodyStoreMaker } from '../body-store.ts'
import { readBody } from './reader.ts'
import { isMissing, openUpstream } from './upstream.ts'
import { type UpstreamChecksum, UpstreamSink } from './writer.ts'

export type { UpstreamChecksum }

/** Where {@link s3Bodies} keeps bodies, and how it gets there. */
export interface S3BodiesOptions {
  /** The bucket, which is there already. */
  readonly bucket: string
  /** Folder of the bucket, such as `sse-kms`; all of it where left out. Bodies lie in a folder of their store's id under it. */
  readonly prefix?: string | undefined
  /** The SDK's own configuration: region, credentials, endpoint, path style. Its `maxAttempts` and its checksums are not used. */
  readonly config?: S3ClientConfig | undefined
  /** Bytes of a part, 5 MiB to 5 GiB; 16 MiB where left out. A body up to this is one PUT, and none is longer than 10,000 parts. */
  readonly partSize?: number | undefined
  /** Parts of a body that are sent at a time; 2 where left out. A body takes memory of one part more than these. */
  readonly partsInFlight?: number | undefined
  /**
   * What the storage checks that it got what was sent; `crc32` where left out, which is the fastest, and which a whole body that is read is checked
   * with too. `md5` is for storage that does not know the others.
   */
  readonly checksum?: UpstreamChecksum | undefined
  /** Attempts of a call, the first one included; 4 where left out. A read has so many for each byte that it reached. */
  readonly attempts?: number | undefined
  /** Milliseconds of an attempt, and until the next bytes of a body that is read; 30 seconds where left out. */
  readonly timeout?: number | undefined
  /** Milliseconds that a body may be read for, less than the store's grace time; 50 minutes where left out. */
  readonly longestRead?: number | undefined
}

const mebibyte = 1_048_576

const assertCount = (name: string, value: number, least: number, most: number): void => {
  if (Number.isInteger(value) && value >= least && value <= most) return
  throw new RangeError(`${name} of s3Bodies is a whole number from ${least} to ${most}, not ${value}`)
}

const isId = (text: string): boolean => /^[0-9a-f]{32}$/.test(text)

/**
 * Keeps the bodies of a store in S3-compatible storage: for `bodies` of a store's options. Each store gets a client of its own, which it closes.
 * Nothing is asked of the storage before it is needed. `RangeError` and `TypeError` for options that cannot be.
 *
 * {@includeCode ../../../test/examples/s3-bodies.test.ts#s3-bodies}
 */
export const s3Bodies = (options: S3BodiesOptions): BodyStoreMaker => {
  const {
    bucket: Bucket,
    prefix = '',
    config,
    partSize = 16 * mebibyte,
    partsInFlight = 2,
    checksum = 'crc32',
    attempts = 4,
    timeout = 30_000,
    longestRead = 3_000_000,
  } = options
  if (Bucket === '') throw new TypeError('bucket of s3Bodies is empty')
  if (prefix.startsWith('/')) throw new TypeError('prefix of s3Bodies begins with a slash')
  assertCount('partSize', partSize, 5 * mebibyte, 5120 * mebibyte)
  assertCount('partsInFlight', partsInFlight, 1, 64)
  assertCount('attempts', attempts, 1, 20)
  assertCount('timeout', timeout, 1, 3_600_000)
  assertCount('longestRead', longestRead, 1, 2_147_483_647)

  return storeId => {
    const upstream = openUpstream({ config, checksums: checksum !== 'md5', attempts, timeout })
    const Prefix = `${prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`}${storeId}/`
    const keyOf = (id: string): string => {
      if (isId(id)) return `${Prefix}${id}`
      throw new TypeError('the id of a body is 32 hex digits')
    }
    const idOf = (key: string | undefined): readonly string[] => {
      const id = key?.startsWith(Prefix) === true ? key.slice(Prefix.length) : ''
      return isId(id) ? [id] : []
    }

    const store: BodyStore = {
      remote: true,
      create: async id => new UpstreamSink(upstream, { Bucket, Key: keyOf(id), checksum, partSize, partsInFlight }),
      open: async (id, size) => {
        const body = { Bucket, Key: keyOf(id), size }
        return { size, read: range => readBody(upstream, body, range, longestRead), close: async () => {} }
      },
      sizeOf: async id => {
        const command = new HeadObjectCommand({ Bucket, Key: keyOf(id) })
        try {
          return (await upstream.ask((client, send) => client.send(command, send))).ContentLength
        } catch (error) {
          if (isMissing(error)) return undefined
          throw error
        }
      },
      delete: async id => {
        const command = new DeleteObjectCommand({ Bucket, Key: keyOf(id) })
        await upstream.ask((client, send) => client.send(command, send))
        return true // the storage does not tell
      },
      list: async function* () {
        for (let after: string | undefined; ;) {
          const command = new ListObjectsV2Command({ Bucket, Prefix, ContinuationToken: after })
          const page = await upstream.ask((client, send) => client.send(command, send))
          yield (page.Contents ?? []).flatMap(({ Key }) => idOf(Key))
          after = page.NextContinuationToken
          if (page.IsTruncated !== true || after === undefined) return
        }
      },
      discardUnfinished: async unwanted => {
        let discarded = 0
        for (let after: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } = {}; ;) {
          const command = new ListMultipartUploadsCommand({ Bucket, Prefix, ...after })
          const page = await upstream.ask((client, send) => client.send(command, send))
          const uploads = page.Uploads ?? []
          const gone = new Set(await unwanted(uploads.flatMap(({ Key }) => idOf(Key))))
          for (const { Key, UploadId } of uploads) {
            if (!idOf(Key).some(id => gone.has(id))) continue
            const abort = new AbortMultipartUploadCommand({ Bucket, Key, UploadId })
            await upstream
              .ask((client, send) => client.send(abort, send))
              .catch((error: unknown) => {
                if (!isMissing(error)) throw error
              })
            discarded++
          }
          after = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker }
          if (page.IsTruncated !== true || after.KeyMarker === undefined) return discarded
        }
      },
      close: async () => upstream.close(),
    }
    return store
  }
}
