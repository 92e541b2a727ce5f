/**
 * Encrypts one body: a new data key from the KMS, the stream, the descriptor, the envelope. Knows nothing of HTTP or of a store. The
 * object exists once the caller commits envelope and body together.
 */
import { type MaybePromise, wipe } from '../bytes.ts'
import { deriveBody, deriveStream, streamContext } from '../cipher/derive.ts'
import type { Engine } from '../cipher/engine.ts'
import type { SegmentMemory } from '../cipher/memory.ts'
import { randomId } from '../cipher/random.ts'
import { bodyIdSize, saltSize, type Suite } from '../cipher/suite.ts'
import { objectEtag, sealDescriptor } from '../envelope/descriptor.ts'
import { encodeEnvelope, filePrefix, filePrefixSize } from '../envelope/envelope.ts'
import { totals } from '../envelope/part-table.ts'
import { sealValues, type Values } from '../envelope/sealed-values.ts'
import { encodeRecord } from '../envelope/wrap-record.ts'
import type { EncryptionContext } from '../kms/context.ts'
import type { CallOptions, KeyWrapper } from '../kms/provider.ts'
import { type Driver, type Emit, strict } from '../segment/driver.ts'
import { seal } from '../segment/select.ts'
import { storedLength } from '../segment/layout.ts'

/** What a body is encrypted with. */
export interface EncryptParts {
  /** What computes. */
  readonly engine: Engine
  /** AEAD, KDF and segment size. */
  readonly suite: Suite
  /** The KMS, a bucket key of it, or a customer's key. */
  readonly provider: KeyWrapper
  /** Full id of the master key. */
  readonly keyId: string
  /** What is authenticated with the wrapped data key. */
  readonly context: EncryptionContext
  /** What the call to the KMS is given. */
  readonly call?: CallOptions | undefined
  /** Plaintext bytes, where they were declared: another length then fails without a commit. */
  readonly length?: number | undefined
  /** Asked once, after the last byte: values to seal beside the envelope, such as checksums. */
  readonly values?: (() => MaybePromise<Values>) | undefined
  /** Memory for what leaves, to be given back piece by piece; new memory by default. See `SegmentMemory`. */
  readonly memory?: SegmentMemory | undefined
  /** Makes a self-describing file (SKF1): the envelope leaves in front of the streams. */
  readonly file?: boolean | undefined
}

/** What is known of an object with its descriptor. */
export interface PlannedObject {
  /** The envelope's bytes. */
  readonly envelope: Uint8Array
  /** The object's ETag, without quotes. */
  readonly etag: string
  /** Plaintext bytes; `Infinity` in a file whose length was not declared. */
  readonly plaintextLength: number
  /** Bytes of the streams, without a file's envelope; `Infinity` likewise. */
  readonly storedLength: number
  /** Bytes of a self-describing file: its front, the envelope and the streams; `Infinity` likewise. */
  readonly fileLength: number
}

/** What is to be committed beside the body, together with it. */
export interface SealedObject extends PlannedObject {
  /** Sealed values; no bytes where there are none. */
  readonly values: Uint8Array
}

/** A body that is being encrypted. */
export interface Encryption {
  /** Plaintext in, streams out. */
  readonly driver: Driver
  /** Full id of the master key that was used. */
  readonly keyId: string
  /** What is known before the first byte, where the length was declared. Commit {@link Encryption.result}, not this. */
  readonly planned: PlannedObject | undefined
  /** What is to be committed, once the stream has ended without an error; `TypeError` before. */
  result(): SealedObject
}

/** For a `result` that is asked too early. */
export const finished = <T>(result: T | undefined): T => {
  if (result === undefined) throw new TypeError('the result is known when the stream has ended without an error')
  return result
}

/** Begins to encrypt a body; one call to the KMS, or none under a bucket key in memory. Rejects with the provider's errors. */
export const encryptBody = async (parts: EncryptParts): Promise<Encryption> => {
  const { engine, suite, length, memory } = parts
  if (length !== undefined) storedLength(suite, length)
  const target = { keyId: parts.keyId, context: parts.context }
  const { key, wrapped } = await parts.provider.generateDataKey(target, parts.call)
  const bodyId = randomId(bodyIdSize)
  const salt = randomId(saltSize)
  try {
    const record = encodeRecord(wrapped, parts.context.stored)
    const keys = await deriveBody(engine, key.bytes, bodyId)
    const describe = async (count: number) => {
      const rows = [{ part: 0, length: count, salt }]
      const sealed = await sealDescriptor(engine, keys.descriptor, suite, bodyId, rows)
      const { descriptor, table } = sealed
      const envelope = encodeEnvelope(record, descriptor, table)
      const stored = totals(suite, rows).stored
      const object: PlannedObject = {
        envelope,
        etag: await objectEtag(engine, keys.etag, sealed),
        plaintextLength: count,
        storedLength: stored,
        fileLength: filePrefixSize + envelope.length + stored,
      }
      return { descriptor, object }
    }
    const planned = length !== undefined || parts.file === true ? await describe(length ?? Infinity) : undefined
    let prefix = parts.file === true && planned !== undefined ? filePrefix(planned.object.envelope) : undefined
    let result: SealedObject | undefined
    let count = 0
    let disposed = false
    const streamKeys = await deriveStream(engine, suite, key.bytes, salt, streamContext(bodyId, 0))
    const stream = seal(engine, { suite, keys: streamKeys, salt, length, memory })
    const start = (emit: Emit) => {
      if (prefix !== undefined) emit(prefix)
      prefix = undefined
    }
    const driver = strict({
      write: (chunk, emit) => {
        start(emit)
        count += chunk.length
        return stream.write(chunk, emit)
      },
      end: async emit => {
        start(emit)
        await stream.end(emit)
        const { descriptor, object } = planned ?? (await describe(count))
        const list = await parts.values?.()
        const values = list === undefined ? new Uint8Array(0) : await sealValues(engine, keys.aux, descriptor, list)
        if (!disposed) result = { ...object, values } // else under keys that were wiped meanwhile
      },
      dispose: () => {
        disposed = true
        stream.dispose()
        wipe(keys.descriptor, keys.etag, keys.aux)
      },
    })
    return { driver, keyId: wrapped.keyId, planned: planned?.object, result: () => finished(result) }
  } finally {
    key.dispose()
  }
}
