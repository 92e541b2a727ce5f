/**
 * The wrap record (format.md, section 6): the data key at rest, replaceable by copy, rename and rotation.
 *
 *     2      recLen (bytes that follow)
 *     2      wrapAlg    1 opaque blob of the provider   2 local   3 under a bucket key   4 under an outer key
 *     1 + p  provider   1..32 of [a-z0-9-]
 *     2 + k  keyId      UTF-8, 1..2 048; "sse-c": empty
 *     2 + c  user context
 *     2 + b  blob       1..6 144
 */
import { concat, copy, fromUtf8, u16, utf8 } from '../bytes.ts'
import { parseContext } from '../kms/context.ts'
import type { WrapAlg, WrappedKey } from '../kms/provider.ts'
import { localVersion, maxBlob, splitNested } from '../kms/wrap.ts'
import { malformed, Reader } from './codec.ts'

/** A wrap record, parsed. */
export interface WrapRecord {
  /** The wrapped key. */
  readonly wrapped: WrappedKey
  /** The user's context as it is stored. */
  readonly context: Uint8Array
  /** The record's own bytes, recLen included. */
  readonly bytes: Uint8Array
}

const maxKeyId = 2048

const wrapAlgOf = (n: number): WrapAlg => (n === 1 || n === 2 || n === 3 || n === 4 ? n : malformed())

const allowed = (provider: string): readonly WrapAlg[] =>
  provider === 'local' ? [2, 3] : provider === 'sse-c' ? [2] : [1, 3, 4]

const check = (wrapped: WrappedKey, keyIdSize: number): void => {
  const { provider, wrapAlg, blob } = wrapped
  if (!/^[a-z0-9-]{1,32}$/.test(provider)) malformed()
  if (provider === 'sse-c' ? keyIdSize !== 0 : keyIdSize < 1 || keyIdSize > maxKeyId) malformed()
  if (blob.length < 1 || blob.length > maxBlob) malformed()
  if (!allowed(provider).includes(wrapAlg)) malformed()
  if (wrapAlg === 2 && (localVersion(blob) === 0) !== (provider === 'sse-c')) malformed()
  if (wrapAlg > 2) splitNested(wrapped)
}

/** The record of a wrapped key and the stored form of its user context. */
export const encodeRecord = (wrapped: WrappedKey, context: Uint8Array): WrapRecord => {
  const provider = utf8(wrapped.provider)
  const keyId = utf8(wrapped.keyId)
  check(wrapped, keyId.length)
  const size = 9 + provider.length + keyId.length + context.length + wrapped.blob.length
  const bytes = concat(
    u16(size),
    u16(wrapped.wrapAlg),
    Uint8Array.of(provider.length),
    provider,
    u16(keyId.length),
    keyId,
    u16(context.length),
    context,
    u16(wrapped.blob.length),
    wrapped.blob,
  )
  return { wrapped, context, bytes }
}

/**
 * Reads a record, whose bytes stay where they lie; `NotAuthentic` unless it is well-formed and its wrapAlg one of its provider's.
 */
export const readRecord = (reader: Reader): WrapRecord => {
  const start = reader.position
  const fields = new Reader(reader.view(reader.u16()))
  const wrapAlg = wrapAlgOf(fields.u16())
  const provider = text(fields.bytes(fields.u8()))
  const keyIdBytes = fields.bytes(fields.u16())
  const context = fields.view(fields.u16())
  const blob = fields.view(fields.u16())
  fields.end()
  const wrapped = { provider, keyId: text(keyIdBytes), wrapAlg, blob }
  check(wrapped, keyIdBytes.length)
  parseContext(context)
  return { wrapped, context, bytes: reader.since(start) }
}

/** Parses bytes that are one record and nothing more. */
export const parseRecord = (bytes: Uint8Array): WrapRecord => {
  const reader = new Reader(copy(bytes))
  const record = readRecord(reader)
  reader.end()
  return record
}

const text = (bytes: Uint8Array): string => {
  try {
    return fromUtf8(bytes)
  } catch (cause) {
    return malformed(cause)
  }
}
