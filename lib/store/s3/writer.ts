/**
 * A body on its way into S3-compatible storage. A stream cannot be rewound, so what may have to be sent again lies in memory: a body of one part
 * goes with one PUT, a longer one part by part. So many parts are under way, one more is being filled, and then the writer waits.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  type CompletedPart,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { createHash } from 'node:crypto'
import { SseError } from '../../errors.ts'
import type { BodySink } from '../body-store.ts'
import { isMissing, type Upstream } from './upstream.ts'

/** What the storage checks that it got what was sent. */
export type UpstreamChecksum = 'crc32' | 'crc32c' | 'crc64nvme' | 'md5'

/** Where a body goes, and how. */
export interface SinkOptions {
  readonly Bucket: string
  readonly Key: string
  readonly checksum: UpstreamChecksum
  readonly partSize: number
  readonly partsInFlight: number
}

/** Parts that S3 takes of one object. */
const mostParts = 10_000

/** Bytes of memory that a body begins with. */
const firstMemory = 262_144

const algorithms = { crc32: 'CRC32', crc32c: 'CRC32C', crc64nvme: 'CRC64NVME' } as const

/** The checksum of bytes that are sent, or what has the SDK compute it. */
const checksumOf = (
  checksum: UpstreamChecksum,
  bytes: Uint8Array,
): Pick<PutObjectCommandInput, 'ContentMD5' | 'ChecksumAlgorithm'> =>
  checksum === 'md5'
    ? { ContentMD5: createHash('md5').update(bytes).digest('base64') }
    : { ChecksumAlgorithm: algorithms[checksum] }

/** Takes a body into the storage. */
export class UpstreamSink implements BodySink {
  readonly #upstream: Upstream
  readonly #options: SinkOptions
  readonly #abort = new AbortController()
  #memory = Buffer.alloc(0)
  #filled = 0
  #size = 0
  #upload: string | undefined
  readonly #parts: CompletedPart[] = []
  readonly #inFlight = new Set<Promise<void>>()
  #failure: unknown
  #isFinishing = false

  /** Begins a body: nothing is sent before there is a part. */
  constructor(upstream: Upstream, options: SinkOptions) {
    this.#upstream = upstream
    this.#options = options
  }

  /** See {@link BodySink}. */
  async write(pieces: readonly Uint8Array[]): Promise<void> {
    const { partSize } = this.#options
    for (const piece of pieces) {
      for (let at = 0; at < piece.length;) {
        if (this.#filled === partSize) await this.#sendPart()
        const taken = Math.min(piece.length - at, partSize - this.#filled)
        this.#makeRoom(this.#filled + taken)
        this.#memory.set(piece.subarray(at, at + taken), this.#filled)
        this.#filled += taken
        at += taken
      }
    }
  }

  /** See {@link BodySink}. */
  async finish(): Promise<void> {
    this.#isFinishing = true
    if (this.#upload === undefined) return this.#put(this.#take())
    await this.#sendPart()
    await Promise.all(this.#inFlight)
    this.#throwFailure()
    await this.#complete(this.#upload)
  }

  /** See {@link BodySink}. */
  async discard(): Promise<void> {
    this.#abort.abort()
    this.#memory = Buffer.alloc(0)
    await Promise.all(this.#inFlight)
    const { Bucket, Key } = this.#options
    if (this.#upload !== undefined) {
      const command = new AbortMultipartUploadCommand({ Bucket, Key, UploadId: this.#upload })
      const aborting = this.#upstream.ask((client, options) => client.send(command, options), { attempts: 1 })
      await aborting.catch((error: unknown) => {
        if (!isMissing(error)) throw error
      })
    }
    if (!this.#isFinishing) return
    const command = new DeleteObjectCommand({ Bucket, Key })
    await this.#upstream.ask((client, options) => client.send(command, options), { attempts: 1 })
  }

  #makeRoom(needed: number): void {
    if (this.#memory.length >= needed) return
    // All of it for the parts after the first: there is a long body.
    const size = this.#upload === undefined ? Math.max(this.#memory.length * 2, needed, firstMemory) : Infinity
    const larger = Buffer.allocUnsafeSlow(Math.min(size, this.#options.partSize))
    this.#memory.copy(larger, 0, 0, this.#filled)
    this.#memory = larger
  }

  /** What was filled; the next part gets memory of its own, as this one may be sent again. */
  #take(): Uint8Array {
    const bytes = this.#memory.subarray(0, this.#filled)
    this.#memory = Buffer.alloc(0)
    this.#filled = 0
    this.#size += bytes.length
    return bytes
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure
  }

  async #put(Body: Uint8Array): Promise<void> {
    const { Bucket, Key, checksum } = this.#options
    const command = () => new PutObjectCommand({ Bucket, Key, Body, ...checksumOf(checksum, Body) })
    await this.#upstream.ask((client, options) => client.send(command(), options), { signal: this.#abort.signal })
  }

  async #begin(): Promise<string> {
    const { Bucket, Key, checksum } = this.#options
    const sums =
      checksum === 'md5' ? {} : { ChecksumAlgorithm: algorithms[checksum], ChecksumType: 'FULL_OBJECT' as const }
    const command = new CreateMultipartUploadCommand({ Bucket, Key, ...sums })
    const { signal } = this.#abort
    const { UploadId } = await this.#upstream.ask((client, options) => client.send(command, options), { signal })
    if (UploadId !== undefined) return UploadId
    throw new SseError('StoreFailed', { message: 'The storage of the bodies began an upload without an id.' })
  }

  /** Sends what was filled as a part, once there is room for one more. */
  async #sendPart(): Promise<void> {
    this.#upload ??= await this.#begin()
    while (this.#inFlight.size >= this.#options.partsInFlight) await Promise.race(this.#inFlight)
    this.#throwFailure()
    const number = this.#parts.length + 1
    if (number > mostParts) {
      const message = `A body is longer than ${mostParts} parts of ${this.#options.partSize} bytes. Give s3Bodies a larger partSize.`
      throw new SseError('StoreFailed', { message })
    }
    this.#parts.push({ PartNumber: number })
    const sending: Promise<void> = this.#uploadPart(this.#upload, number, this.#take())
      .catch((error: unknown) => {
        this.#failure ??= error
      })
      .finally(() => this.#inFlight.delete(sending))
    this.#inFlight.add(sending)
  }

  async #uploadPart(UploadId: string, PartNumber: number, Body: Uint8Array): Promise<void> {
    const { Bucket, Key, checksum } = this.#options
    const input = { Bucket, Key, UploadId, PartNumber, Body, ...checksumOf(checksum, Body) }
    const { ETag, ChecksumCRC32, ChecksumCRC32C, ChecksumCRC64NVME } = await this.#upstream.ask(
      (client, options) => client.send(new UploadPartCommand({ ...input }), options),
      { signal: this.#abort.signal },
    )
    this.#parts[PartNumber - 1] = { PartNumber, ETag, ChecksumCRC32, ChecksumCRC32C, ChecksumCRC64NVME }
  }

  async #complete(UploadId: string): Promise<void> {
    const { Bucket, Key, checksum } = this.#options
    const { signal } = this.#abort
    const ChecksumType = checksum === 'md5' ? undefined : 'FULL_OBJECT'
    const MultipartUpload = { Parts: this.#parts }
    const command = new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload, ChecksumType })
    try {
      await this.#upstream.ask((client, options) => client.send(command, options), { signal })
    } catch (error) {
      // An earlier attempt may have completed it, and its answer was lost: nobody else makes a body of this id.
      if (!isMissing(error)) throw error
      const head = new HeadObjectCommand({ Bucket, Key })
      const { ContentLength } = await this.#upstream.ask((client, options) => client.send(head, options), { signal })
      if (ContentLength !== this.#size) throw error
    }
  }
}
