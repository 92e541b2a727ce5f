/**
 * The wraps that are computed here (format.md, section 6), in bytes:
 *
 *     wrapAlg 2   u32 key version ‖ wrapSalt[32] ‖ AES-256-KW(KEK, DEK)[40]
 *     wrapAlg 3   u16 len ‖ inner[len] ‖ wrapSalt[32] ‖ AES-256-KW(KEK, DEK)[40]     inner: a bucket key, under the bucket context
 *     wrapAlg 4   the same bytes                                                      inner: an outer key, under the object context
 */
import { concat, getU16, getU32, u16, u32, wipe } from '../bytes.ts'
import { deriveKek } from '../cipher/derive.ts'
import type { Engine } from '../cipher/engine.ts'
import { randomId, randomKey } from '../cipher/random.ts'
import { SseError } from '../errors.ts'
import type { EncryptionContext } from './context.ts'
import { DataKey } from './data-key.ts'
import type {
  AcceptedKey,
  CallOptions,
  DataKeyWrapper,
  GeneratedKey,
  KeyWrapper,
  WrapAlg,
  WrappedKey,
} from './provider.ts'

const saltBytes = 32
const wrappedBytes = 40
/** Bytes of a wrapAlg 2 blob. */
export const localBlobSize = 76
/** The longest blob of a record. */
export const maxBlob = 6144
/** The longest inner blob of wrapAlg 3 and 4. */
export const maxInner = 6070

const malformed = (): never => {
  throw new SseError('NotAuthentic')
}

const seal = async (
  engine: Engine,
  kekSource: Uint8Array,
  wrapAlg: WrapAlg,
  dek: DataKey,
  context: EncryptionContext,
): Promise<readonly [salt: Uint8Array, wrapped: Uint8Array]> => {
  const salt = randomId(saltBytes)
  const kek = await deriveKek(engine, kekSource, wrapAlg, salt, context.canonical)
  try {
    return [salt, await engine.wrap(kek, dek.bytes)]
  } finally {
    wipe(kek)
  }
}

const open = async (
  engine: Engine,
  kekSource: Uint8Array,
  wrapAlg: WrapAlg,
  sealed: Uint8Array,
  context: EncryptionContext,
): Promise<DataKey> => {
  const kek = await deriveKek(engine, kekSource, wrapAlg, sealed.subarray(0, saltBytes), context.canonical)
  try {
    return new DataKey(await engine.unwrap(kek, sealed.subarray(saltBytes)))
  } finally {
    wipe(kek)
  }
}

/** The key version of a wrapAlg 2 blob; `NotAuthentic` where it has another length. */
export const localVersion = (blob: Uint8Array): number => (blob.length === localBlobSize ? getU32(blob) : malformed())

/** A wrapAlg 2 blob of a data key under a key of 32 bytes; version 0 for a customer's key, else from 1. */
export const wrapLocal = async (
  engine: Engine,
  key: Uint8Array,
  version: number,
  dek: DataKey,
  context: EncryptionContext,
): Promise<Uint8Array> => concat(u32(version), ...(await seal(engine, key, 2, dek, context)))

/** The data key of a wrapAlg 2 blob; `NotAuthentic` under another key or context. */
export const unwrapLocal = async (
  engine: Engine,
  key: Uint8Array,
  blob: Uint8Array,
  context: EncryptionContext,
): Promise<DataKey> => {
  localVersion(blob)
  return open(engine, key, 2, blob.subarray(4), context)
}

/** The wrapAlg that a provider's own blobs have. */
export const providerWrapAlg = (provider: string): 1 | 2 => (provider === 'local' || provider === 'sse-c' ? 2 : 1)

/**
 * The inner wrap of a wrapAlg 3 or 4 blob, as its provider made it, and what follows it, both where they lie; `NotAuthentic` where lengths
 * contradict.
 */
export const splitNested = (wrapped: WrappedKey): { readonly inner: WrappedKey; readonly rest: Uint8Array } => {
  const { blob, provider, keyId } = wrapped
  const size = getU16(blob)
  if (size < 1 || size > maxInner || blob.length !== 2 + size + saltBytes + wrappedBytes) return malformed()
  const inner = blob.subarray(2, 2 + size)
  const wrapAlg = providerWrapAlg(provider)
  if (wrapAlg === 2 && localVersion(inner) === 0) return malformed()
  return { inner: { provider, keyId, wrapAlg, blob: inner }, rest: blob.subarray(2 + size) }
}

/**
 * Wraps a data key under a bucket key (wrapAlg 3) or an outer key (4), of which `inner` is the provider's own wrap.
 */
export const wrapNested = async (
  engine: Engine,
  wrapAlg: 3 | 4,
  kekKey: DataKey,
  inner: WrappedKey,
  dek: DataKey,
  context: EncryptionContext,
): Promise<WrappedKey> => {
  if (inner.blob.length > maxInner) throw new RangeError(`an inner blob has at most ${maxInner} bytes`)
  const sealed = await seal(engine, kekKey.bytes, wrapAlg, dek, context)
  return { ...inner, wrapAlg, blob: concat(u16(inner.blob.length), inner.blob, ...sealed) }
}

/** The data key under a bucket key or outer key. */
export const unwrapNested = async (
  engine: Engine,
  wrapped: WrappedKey,
  kekKey: DataKey,
  context: EncryptionContext,
): Promise<DataKey> => open(engine, kekKey.bytes, wrapped.wrapAlg, splitNested(wrapped).rest, context)

/** Makes a data key here and wraps it; it is wiped where that fails. */
export const generateKey = async (
  wrap: (key: DataKey) => Promise<WrappedKey>,
  engine?: Engine,
): Promise<GeneratedKey> => {
  const key = new DataKey(randomKey(engine))
  try {
    return { key, wrapped: await wrap(key) }
  } catch (error) {
    key.dispose()
    throw error
  }
}

/** Makes data keys here and wraps them with `wrapDataKey`. */
export const wrapperOf = (wrapDataKey: KeyWrapper['wrapDataKey'], engine?: Engine): KeyWrapper => ({
  wrapDataKey,
  generateDataKey: (target, call) => generateKey(key => wrapDataKey(key, target, call), engine),
})

/**
 * Wraps data keys under outer keys of a provider, a fresh one for each (wrapAlg 4): the outer key binds the context where the provider
 * does not.
 */
export const underOuterKeys = (engine: Engine, provider: DataKeyWrapper): KeyWrapper =>
  wrapperOf(async (key, target, call) => {
    const outer = await provider.generateDataKey(target, call)
    try {
      return await wrapNested(engine, 4, outer.key, outer.wrapped, key, target.context)
    } finally {
      outer.key.dispose()
    }
  })

/**
 * Unwraps a data key of any wrapAlg: 1 and 2 by the provider, 3 and 4 through the key that the provider unwraps first. `NotAuthentic`,
 * without a call, for wrapAlg 1 of a provider that binds no context: nothing says that the object still has its name. The record's key
 * must be an accepted one: check that before. The caller disposes the key.
 */
export const unwrapKey = async (
  engine: Engine,
  provider: DataKeyWrapper,
  wrapped: WrappedKey,
  context: EncryptionContext,
  bucketContext: EncryptionContext | undefined,
  call?: CallOptions,
): Promise<DataKey> => {
  if (wrapped.wrapAlg < 3) {
    if (!provider.bindsContext) return malformed()
    return provider.unwrapDataKey({ wrapped, context }, call)
  }
  const innerContext = wrapped.wrapAlg === 3 ? bucketContext : context
  if (innerContext === undefined) throw new TypeError('an object under a bucket key needs its bucket context')
  const outer = await provider.unwrapDataKey({ wrapped: splitNested(wrapped).inner, context: innerContext }, call)
  try {
    return await unwrapNested(engine, wrapped, outer, context)
  } finally {
    outer.dispose()
  }
}

/** The version of the master key that a wrapped key tells: of `local`, and of Vault, whose blobs begin with `vault:vN:`. */
export const masterKeyVersion = (wrapped: WrappedKey): number | undefined => {
  const blob = wrapped.wrapAlg > 2 ? splitNested(wrapped).inner.blob : wrapped.blob
  if (wrapped.provider === 'local') return blob.length === localBlobSize ? getU32(blob) : undefined
  const [, vault] = /^vault:v(\d{1,9}):/.exec(String.fromCharCode(...blob.subarray(0, 20))) ?? []
  return vault === undefined ? undefined : Number(vault)
}

const versionOf = (wrapped: WrappedKey): number =>
  getU32(wrapped.wrapAlg === 2 ? wrapped.blob : splitNested(wrapped).inner.blob)

/** Throws {@link SseError} `KeyNotAccepted` unless the wrapped key's master key is among the accepted ones. */
export const assertAccepted = (wrapped: WrappedKey, accept: readonly AcceptedKey[]): void => {
  const found = accept.filter(({ provider, keyId }) => provider === wrapped.provider && keyId === wrapped.keyId)
  if (found.length === 0) throw new SseError('KeyNotAccepted')
  const lowest = Math.min(...found.map(({ lowestVersion = 0 }) => lowestVersion))
  if (wrapped.provider !== 'local' || versionOf(wrapped) >= lowest) return
  const message =
    `The data key is wrapped under version ${versionOf(wrapped)} of its key, and only versions from ${lowest} on are accepted. ` +
    'Accept the old version once more and rewrap the object: a file with sse-kms rewrap, an object by copying it onto itself.'
  throw new SseError('KeyNotAccepted', { message })
}
