/**
 * The façade: what a server or pipeline calls. It joins a KMS, the accepted keys and an engine, and hands out bodies as drivers; `adapt`
 * makes them Node, stream-chain or Web streams. Free of `node:`; the entries choose the adapters.
 */
import { assertBytes } from '../arguments.ts'
import { disposal } from '../bytes.ts'
import type { Engine } from '../cipher/engine.ts'
import { SegmentMemory } from '../cipher/memory.ts'
import { suiteOf } from '../cipher/suite.ts'
import { filePrefix, parseEnvelope } from '../envelope/envelope.ts'
import type { WrapRecord } from '../envelope/wrap-record.ts'
import { SseError } from '../errors.ts'
import { BucketKeys } from '../kms/bucket-keys.ts'
import { type EncryptionContext, encryptionContext, storedContext } from '../kms/context.ts'
import { checkedForBucketKeys, checkedWrapper } from '../kms/checked.ts'
import { customerKey } from '../kms/customer.ts'
import type { CallOptions } from '../kms/provider.ts'
import { acceptedOf, customerOnly, providersOf } from '../kms/providers.ts'
import { underOuterKeys } from '../kms/wrap.ts'
import { chunkBytes, type Driver } from '../segment/driver.ts'
import type { ByteRange } from '../segment/layout.ts'
import {
  assertCopyOptions,
  assertDecryptOptions,
  assertEncryptOptions,
  assertFile,
  assertKeyOptions,
  assertSseOptions,
  assertTarget,
  assertUpload,
  envelopeBytes,
} from './arguments.ts'
import { reencrypt, rewrapEnvelope, type RewrapTarget } from './copy.ts'
import { decryptBody, type Decryption, type UnlockParts } from './decrypt.ts'
import { encryptBody, type Encryption } from './encrypt.ts'
import { decryptFile, decryptPipe, type RandomAccess, readFileEnvelope } from './file.ts'
import { type Body, fileOf, whole } from './whole.ts'
import {
  completeUpload,
  type CompletedUpload,
  type CompleteOptions,
  encryptPart,
  type ListedPart,
  listParts,
  type ListPartsOptions,
  type NamedPart,
  type PartEncryption,
  type PartOptions,
} from './multipart.ts'
import type {
  CopyOptions,
  DecryptOptions,
  EncryptOptions,
  FileOptions,
  FileRangeOptions,
  KeyOptions,
  SseOptions,
  StoredUpload,
  TargetOptions,
  UploadOptions,
} from './options.ts'
import {
  type CompletableUpload,
  createUpload,
  type CreatedUpload,
  openForComplete,
  openToComplete,
  openUpload,
  type ServiceKey,
} from './upload.ts'

/** A self-describing file under another master key or context. */
export interface RewrappedFile {
  /** The new front: what stands before the streams. */
  readonly prefix: Uint8Array
  /** Where the streams lie in the old file; they follow the new front unchanged. */
  readonly streams: ByteRange
}

/** A copy that is made while its bytes flow. */
export interface Reencryption extends Encryption {
  /** The source; its `stored` says which bytes to send through. */
  readonly from: Decryption
}

/** A body and its driver. */
export interface WithDriver {
  /** What all adapters call. */
  readonly driver: Driver
}

/** Dresses whatever has a driver. */
export type Adapt<F> = <T extends WithDriver>(result: T) => T & F

/**
 * Encrypts and decrypts objects; every body comes with the adapters `F` of its entry. Rejections are `SseError`s, but for wrong arguments of
 * the calling program: `TypeError` and `RangeError`.
 */
export interface SseOf<F> extends Disposable {
  /**
   * Begins to encrypt a body: one call to the KMS, then a stream.
   *
   * {@includeCode ../../test/examples/pipeline.test.ts#sse,range}
   */
  encrypt(options?: EncryptOptions): Promise<Encryption & F>
  /**
   * Checks an envelope (bytes, or base64url text), then makes the stream that opens its object or a range of it.
   *
   * {@includeCode ../../test/examples/pipeline.test.ts#sse,range}
   */
  decrypt(envelope: Uint8Array | string, options?: DecryptOptions): Promise<Decryption & F>
  /**
   * Decrypts a self-describing file (SKF1), or a range of it; with `ifRange`, an ETag without quotes, the range holds for that object alone (the
   * If-Range of HTTP), and another one is decrypted whole.
   *
   * {@includeCode ../../test/examples/reference.test.ts#sse,files}
   */
  decryptFile(file: RandomAccess, options?: FileRangeOptions): Promise<Decryption & F>
  /**
   * Decrypts a self-describing file from a pipe; its end may still bring an error.
   *
   * {@includeCode ../../test/examples/pipeline.test.ts#sse,file}
   */
  decryptPipe(options?: FileOptions): Promise<WithDriver & F>
  /**
   * Encrypts bytes, or text as UTF-8, that lie in memory as a whole: one call to the KMS. What it gives is a self-describing file (SKF1) in new memory.
   * `RangeError` where there is no memory for it: beyond some MiB take `encrypt`. The bytes must not change until it is there.
   *
   * {@includeCode ../../test/examples/pipeline.test.ts#sse,bytes}
   */
  encryptBytes(bytes: Uint8Array | string, options?: TargetOptions): Promise<Uint8Array>
  /**
   * Decrypts a self-describing file that lies in memory as a whole, or a range of it; into new memory, and only if all of that is authentic.
   *
   * {@includeCode ../../test/examples/pipeline.test.ts#sse,bytes}
   */
  decryptBytes(bytes: Uint8Array, options?: FileOptions): Promise<Uint8Array>
  /**
   * Creates a multipart upload: one call to the KMS.
   *
   * {@includeCode ../../test/examples/pipeline.test.ts#sse,multipart}
   */
  createUpload(options?: UploadOptions): Promise<CreatedUpload>
  /**
   * Begins to encrypt one attempt of a part, in any order, on any machine.
   *
   * {@includeCode ../../test/examples/pipeline.test.ts#sse,multipart}
   */
  encryptPart(upload: StoredUpload, part: number, options?: KeyOptions & PartOptions): Promise<PartEncryption & F>
  /**
   * What listings show of stored receipts, in their order; one that does not open is left out.
   *
   * {@includeCode ../../test/examples/reference.test.ts#sse,parts}
   */
  listParts(
    upload: StoredUpload,
    receipts: readonly Uint8Array[],
    options?: KeyOptions & ListPartsOptions,
  ): Promise<readonly ListedPart[]>
  /**
   * Completes an upload out of the parts that the client names.
   *
   * {@includeCode ../../test/examples/pipeline.test.ts#sse,multipart}
   */
  completeUpload(
    upload: StoredUpload,
    named: readonly NamedPart[],
    receipts: readonly Uint8Array[],
    options?: KeyOptions & CompleteOptions,
  ): Promise<CompletedUpload>
  /**
   * A new envelope over the same bytes, under another master key or context: no byte of the body is read.
   *
   * {@includeCode ../../test/examples/pipeline.test.ts#sse,rewrap}
   */
  rewrap(envelope: Uint8Array | string, options: CopyOptions): Promise<Uint8Array>
  /**
   * The new front of a self-describing file under another master key or context, and where the streams lie that follow it unchanged.
   *
   * {@includeCode ../../test/examples/reference.test.ts#sse,files}
   */
  rewrapFile(file: RandomAccess, options: CopyOptions): Promise<RewrappedFile>
  /**
   * Decrypts and encrypts under a new data key while the bytes flow: `from.stored` in, the target's streams out.
   *
   * {@includeCode ../../test/examples/reference.test.ts#sse,reencrypt}
   */
  reencrypt(envelope: Uint8Array | string, options: CopyOptions): Promise<Reencryption & F>
  /**
   * Wipes the bucket keys in memory; calls that need one reject with `TypeError` afterwards. The KMS stays open.
   *
   * {@includeCode ../../test/examples/reference.test.ts#key,bucket-key}
   */
  dispose(): void
}

const opened = (
  envelope: Uint8Array,
  unlock: UnlockParts,
  { range, held, etag, values, partValues, memory }: DecryptOptions,
): Promise<Decryption> => decryptBody(unlock, { envelope, range, held, etag, values, partValues, memory })

/** The façade over an engine that is chosen once, at the first call. */
export const sseOver = <F extends Pick<Body, 'pieces'>>(
  options: Omit<SseOptions, 'engine'>,
  pick: () => Promise<Engine>,
  adapt: Adapt<F>,
): SseOf<F> => {
  assertSseOptions(options)
  const managers = [options.kms].flat().map(kms => checkedWrapper(kms, options.deadline))
  const kms = providersOf(managers)
  const bucketKeys = new BucketKeys(providersOf(managers.map(checkedForBucketKeys)), options.bucketKeys)
  const suite = suiteOf(options.suite ?? 1)
  const accepted = acceptedOf(managers, options.accept)
  let picked: Promise<Engine> | undefined
  const engineOf = (): Promise<Engine> => (picked ??= pick())

  /** The provider and accepted keys of a call; `release` wipes the copy of a customer's key. */
  const unlockOf = async (keys: KeyOptions) => {
    const { context, bucketContext, signal } = keys
    signal?.throwIfAborted()
    const engine = await engineOf()
    if (keys.customerKey === undefined) {
      const accept = keys.accept === undefined ? accepted : acceptedOf(managers, keys.accept)
      const call: CallOptions = { signal, onKeyUse: keys.onKeyUse, fresh: keys.fresh }
      const known = { bucketContext, ...(keys.fresh !== true && { bucketKeys }) }
      return { unlock: { engine, providers: kms, accept, context, ...known, call }, release: () => undefined }
    }
    const provider = customerKey(engine, keys.customerKey)
    const accept = [{ provider: provider.name, keyId: '' }]
    const unlock = { engine, providers: customerOnly(provider), accept, context }
    return { unlock, release: () => provider.dispose() }
  }

  const within = async <T>(call: KeyOptions, run: (unlock: UnlockParts) => Promise<T>): Promise<T> => {
    const { unlock, release } = await unlockOf(call)
    try {
      return await run(unlock)
    } finally {
      release()
    }
  }

  /** The master key of a target, and what wraps under it: the provider itself or the bucket key that is asked for. */
  const targetKey = (
    { engine, providers, accept, bucketContext, bucketKeys: keys }: UnlockParts,
    { keyId, bucketKey = false }: TargetOptions,
  ): Pick<RewrapTarget, 'keyId' | 'provider' | 'wrapper'> => {
    const chosen = accept.find(key => keyId === undefined || key.keyId === keyId)
    if (chosen === undefined) throw new SseError('KeyNotAccepted')
    const target = { keyId: chosen.keyId, provider: providers.of(chosen) }
    const { provider } = target
    if (!bucketKey) return { ...target, wrapper: provider.bindsContext ? provider : underOuterKeys(engine, provider) }
    if (bucketContext === undefined || keys === undefined) {
      throw new TypeError("a bucket key is bound to a bucketContext: name it, and no customer's key")
    }
    const bound = { ...chosen, bucketContext: encryptionContext(bucketContext) }
    return { ...target, wrapper: keys.wrapper(engine, bound) }
  }

  const serviceKey = (
    target: NonNullable<UploadOptions['service']>,
    { customerKey, context, signal, onKeyUse }: UploadOptions,
  ): Promise<ServiceKey> => {
    if (customerKey === undefined) throw new TypeError("a key of the service goes with a customer's key")
    return within({ ...target, signal, onKeyUse }, async unlock => {
      const { keyId, wrapper: provider } = targetKey(unlock, target)
      return { provider, keyId, context: encryptionContext(context), call: unlock.call }
    })
  }

  const begin = (options: EncryptOptions): Promise<Encryption> =>
    within(options, unlock => {
      const { engine, call } = unlock
      const { keyId, wrapper: provider } = targetKey(unlock, options)
      const context = encryptionContext(options.context)
      const { length, values, file, memory } = options
      return encryptBody({ engine, suite, provider, keyId, context, call, length, values, file, memory })
    })

  const openFile = async (file: RandomAccess, call: FileRangeOptions): Promise<Decryption & F> =>
    adapt(await within(call, unlock => decryptFile(file, { ...unlock, range: call.range, ifRange: call.ifRange })))

  const withUpload = async <U extends CompletableUpload, T>(
    open: (uploadId: string, session: Uint8Array, unlock: UnlockParts) => Promise<U>,
    stored: StoredUpload,
    call: KeyOptions,
    run: (upload: U) => Promise<T>,
  ): Promise<T> => {
    assertUpload(stored)
    assertKeyOptions(call)
    return within(call, async unlock => {
      const upload = await open(stored.uploadId, stored.session, unlock)
      try {
        return await run(upload)
      } finally {
        upload.dispose()
      }
    })
  }

  const targetContext = (record: WrapRecord, { context, to }: CopyOptions): EncryptionContext =>
    to.context === undefined ? storedContext(record.context, context) : encryptionContext(to.context)

  const rewrap = (bytes: Uint8Array, record: WrapRecord, call: CopyOptions, file: boolean): Promise<Uint8Array> =>
    within(call, source =>
      within({ signal: call.signal, onKeyUse: call.onKeyUse, ...call.to }, target => {
        const to = { ...targetKey(target, call.to), unlock: target, context: targetContext(record, call) }
        return rewrapEnvelope(bytes, source, to, file)
      }),
    )

  return {
    encrypt: async (call = {}) => {
      assertEncryptOptions(call)
      return adapt(await begin(call))
    },
    decrypt: async (envelope, call = {}) => {
      assertDecryptOptions(call)
      const bytes = envelopeBytes(envelope)
      return adapt(await within(call, unlock => opened(bytes, unlock, call)))
    },
    decryptFile: async (file, call = {}) => {
      assertFile(file)
      assertDecryptOptions(call)
      return openFile(file, call)
    },
    decryptPipe: async (call = {}) => {
      assertDecryptOptions(call)
      const { unlock, release } = await unlockOf(call)
      const pipe = decryptPipe({ ...unlock, range: call.range })
      const dispose = () => {
        pipe.dispose()
        release() // the key is needed when the envelope has come, so its copy lives as long as the driver
      }
      return adapt({ driver: { ...pipe, dispose } })
    },
    encryptBytes: async (bytes, call = {}) => {
      assertTarget(call)
      const plaintext = chunkBytes(bytes)
      const put = adapt(await begin({ ...call, length: plaintext.length, file: true }))
      return whole(put, plaintext, put.planned?.fileLength ?? 0, call.signal)
    },
    decryptBytes: async (bytes, call = {}) => {
      assertBytes('decryptBytes', bytes, 'what encryptBytes gave: a Uint8Array or Buffer')
      assertDecryptOptions(call)
      const get = await openFile(fileOf(bytes), call)
      return whole(get, bytes.subarray(get.stored.start, get.stored.end + 1), get.length, call.signal)
    },
    createUpload: async (options = {}) => {
      assertTarget(options)
      return within(options, async unlock => {
        const { engine, call } = unlock
        const context = encryptionContext(options.context)
        const { keyId, wrapper: provider } = targetKey(unlock, options)
        const service = options.service && (await serviceKey(options.service, options))
        return createUpload({ engine, suite, provider, keyId, context, call, service, own: options.own })
      })
    },
    encryptPart: async (upload, part, call = {}) =>
      adapt(await withUpload(openUpload, upload, call, open => encryptPart(open, part, call))),
    listParts: (upload, receipts, call = {}) =>
      withUpload(openForComplete, upload, call, open => listParts(open, receipts, call)),
    completeUpload: (upload, named, receipts, call = {}) =>
      withUpload(openToComplete, upload, call, open => completeUpload(open, named, receipts, call)),
    rewrap: async (envelope, call) => {
      assertCopyOptions(call)
      const bytes = envelopeBytes(envelope)
      return rewrap(bytes, parseEnvelope(bytes).record, call, false)
    },
    rewrapFile: async (file, call) => {
      assertFile(file)
      assertCopyOptions(call)
      const { envelope, bytes, at } = await readFileEnvelope(file)
      const prefix = filePrefix(await rewrap(bytes, envelope.record, call, true))
      return { prefix, streams: { start: at, end: file.size - 1 } }
    },
    reencrypt: async (envelope, call) => {
      assertCopyOptions(call)
      const bytes = envelopeBytes(envelope)
      const memory = new SegmentMemory()
      const from = await within(call, unlock => opened(bytes, unlock, { ...call, memory }))
      try {
        const context = targetContext(parseEnvelope(bytes).record, call).entries
        const { signal, onKeyUse, to } = call
        const into = await begin({ signal, onKeyUse, ...to, context, length: from.length, memory: call.memory })
        return adapt({ ...into, from, driver: reencrypt(from, into.driver, memory) })
      } catch (error) {
        from.driver.dispose()
        throw error
      }
    },
    dispose: () => bucketKeys.dispose(),
    [disposal]: () => bucketKeys.dispose(),
  }
}
