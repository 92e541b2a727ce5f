/**
 * Copies (format.md, section 8): a rewrap replaces the wrap record over the same bytes, without reading one; a re-encryption decrypts and
 * encrypts under a new data key while the bytes flow.
 */
import { wipe } from '../bytes.ts'
import { deriveBody } from '../cipher/derive.ts'
import type { Engine } from '../cipher/engine.ts'
import type { SegmentMemory } from '../cipher/memory.ts'
import { verifyDescriptor } from '../envelope/descriptor.ts'
import { encodeEnvelope, type Envelope, parseEnvelope } from '../envelope/envelope.ts'
import { encodeRecord } from '../envelope/wrap-record.ts'
import { assertAccepted } from '../kms/wrap.ts'
import { type EncryptionContext, storedContext } from '../kms/context.ts'
import type { DataKey } from '../kms/data-key.ts'
import type { DataKeyWrapper, KeyWrapper, WrappedKey } from '../kms/provider.ts'
import type { Driver } from '../segment/driver.ts'
import { type Decryption, unlockRight, type UnlockParts, unwrapAccepted } from './decrypt.ts'

/** The target of a rewrap. */
export interface RewrapTarget {
  /** What the new record is unwrapped with. */
  readonly unlock: UnlockParts
  /** The provider of the target's master key. */
  readonly provider: DataKeyWrapper
  /** What wraps: the provider, or a bucket key of it. */
  readonly wrapper: KeyWrapper
  /** Full id of the target's master key. */
  readonly keyId: string
  /** The target's context. */
  readonly context: EncryptionContext
}

const rewrapKey = async (envelope: Envelope, source: UnlockParts, to: RewrapTarget): Promise<WrappedKey> => {
  const { wrapped, context: stored } = envelope.record
  const { provider } = to
  const { call } = to.unlock
  // A blob that the provider made moves inside it; a bucket key's never leaves its bucket, and across providers the key is unwrapped here.
  assertAccepted(wrapped, source.accept)
  if (wrapped.wrapAlg < 3 && to.wrapper === provider && source.providers.of(wrapped) === provider) {
    return provider.rewrapDataKey({ from: { wrapped, context: storedContext(stored, source.context) }, to }, call)
  }
  const key = await unlockRight(envelope.record, source, async found => {
    await assertOpens(source.engine, envelope, found)
    return found
  })
  try {
    return await to.wrapper.wrapDataKey(key, to, call)
  } finally {
    key.dispose()
  }
}

/** `NotAuthentic` unless the descriptor opens under this data key. */
const assertOpens = async (engine: Engine, { descriptor, table }: Envelope, key: DataKey): Promise<void> => {
  const keys = await deriveBody(engine, key.bytes, descriptor.bodyId)
  try {
    await verifyDescriptor(engine, keys.descriptor, descriptor, table)
  } finally {
    wipe(keys.descriptor, keys.etag, keys.aux)
  }
}

/**
 * A new envelope over the same bytes, under another master key or context. The new record is unwrapped once and must open the descriptor
 * before it is returned, so that the old one may be deleted. `file` says that the envelope stands in a file.
 */
export const rewrapEnvelope = async (
  bytes: Uint8Array,
  source: UnlockParts,
  to: RewrapTarget,
  file = false,
): Promise<Uint8Array> => {
  const envelope = parseEnvelope(bytes, file)
  const record = encodeRecord(await rewrapKey(envelope, source, to), to.context.stored)
  const key = await unwrapAccepted(to.unlock, record.wrapped, to.context)
  try {
    await assertOpens(source.engine, envelope, key)
  } finally {
    key.dispose()
  }
  return encodeEnvelope(record, envelope.descriptor.bytes, envelope.table)
}

/**
 * Decrypts with one driver and encrypts with the other: the source's stored bytes in, the target's streams out. `memory` is that of the source.
 */
export const reencrypt = (from: Decryption, into: Driver, memory: SegmentMemory): Driver => {
  const through = async (run: (emit: (bytes: Uint8Array) => void) => unknown, emit: (bytes: Uint8Array) => void) => {
    const plaintext: Uint8Array[] = []
    try {
      await run(bytes => plaintext.push(bytes))
      for (const piece of plaintext) await into.write(piece, emit)
    } finally {
      wipe(...plaintext)
      for (const piece of plaintext) memory.give(piece)
    }
  }
  return {
    write: (chunk, emit) => through(take => from.driver.write(chunk, take), emit),
    end: async emit => {
      await through(take => from.driver.end(take), emit)
      await into.end(emit)
    },
    dispose: () => {
      from.driver.dispose()
      into.dispose()
    },
  }
}
