/**
 * Bytes and text: the few helpers that every floor needs, free of `node:` and of `Buffer`. The only file of lib with type assertions.
 */
/// <reference lib="esnext.disposable" preserve="true" />

/** A value now, or a promise of it: what an engine of either kind returns. */
export type MaybePromise<T> = T | Promise<T>

const encoder = new TextEncoder()
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Up to this length ASCII is faster without encoder and decoder. */
const short = 64

/** UTF-8 bytes of a string. Lone surrogates become U+FFFD: check {@link isWellFormed} first where that matters. */
export const utf8 = (text: string): Uint8Array => {
  if (text.length > short) return encoder.encode(text)
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit > 0x7f) return encoder.encode(text)
    bytes[i] = unit
  }
  return bytes
}

/** The string of UTF-8 bytes; throws `TypeError` where they are not well-formed; a leading U+FEFF is kept. */
export const fromUtf8 = (bytes: Uint8Array): string => {
  if (bytes.length > short) return strictDecoder.decode(bytes)
  let text = ''
  for (const byte of bytes) {
    if (byte > 0x7f) return strictDecoder.decode(bytes)
    text += String.fromCharCode(byte)
  }
  return text
}

/** Whether a string has no lone surrogate. */
export const isWellFormed = (text: string): boolean => !/\p{Surrogate}/u.test(text)

/** The pieces one after the other, in new unpooled memory. */
export const concat = (...pieces: readonly Uint8Array[]): Uint8Array => {
  let length = 0
  for (const piece of pieces) length += piece.length
  const out = new Uint8Array(length)
  let at = 0
  for (const piece of pieces) {
    out.set(piece, at)
    at += piece.length
  }
  return out
}

/** A copy in new unpooled memory. (`slice` of a Node `Buffer` is no copy but a view, and bytes from outside may be one.) */
export const copy = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(bytes)

/** Unsigned big-endian 16 bits. */
export const u16 = (n: number): Uint8Array => Uint8Array.of((n >>> 8) & 255, n & 255)

/** Unsigned big-endian 32 bits. */
export const u32 = (n: number): Uint8Array => Uint8Array.of(n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255)

/** Writes unsigned big-endian 16 bits. */
export const setU16 = (bytes: Uint8Array, at: number, n: number): void => {
  bytes[at] = n >>> 8
  bytes[at + 1] = n
}

/** Writes unsigned big-endian 32 bits. */
export const setU32 = (bytes: Uint8Array, at: number, n: number): void => {
  setU16(bytes, at, n >>> 16)
  setU16(bytes, at + 2, n)
}

/** Unsigned big-endian 16 bits; bytes behind the end count as 0. */
export const getU16 = (bytes: Uint8Array, at = 0): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)

/** Unsigned big-endian 32 bits; bytes behind the end count as 0. */
export const getU32 = (bytes: Uint8Array, at = 0): number => getU16(bytes, at) * 0x1_0000 + getU16(bytes, at + 2)

/**
 * A DataView over exactly these bytes, for many values. For a few it is slow: V8 then gives a small array, which lies on its heap, memory of its
 * own. (`subarray` and `buffer` do the same.)
 */
export const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Compares in time that depends on the lengths alone. */
export const equal = (a: Uint8Array, b: Uint8Array): boolean => {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0)
  return difference === 0
}

/** Byte order, as listings and contexts need it: negative, 0 or positive. Not for secrets. */
export const compare = (a: Uint8Array, b: Uint8Array): number => {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

const pairs: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Lower-case hex. */
export const hex = (bytes: Uint8Array): string => {
  let out = ''
  for (const byte of bytes) out += pairs[byte] ?? ''
  return out
}

/** Bytes of hex in either case; `undefined` where it is not hex. */
export const fromHex = (text: string): Uint8Array | undefined => {
  if (!/^([0-9a-f]{2})*$/i.test(text)) return undefined
  const out = new Uint8Array(text.length / 2)
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16)
  return out
}

const toBinary = (bytes: Uint8Array): string => {
  let out = ''
  for (let i = 0; i < bytes.length; i += 8192) out += String.fromCharCode(...bytes.subarray(i, i + 8192))
  return out
}

/** base64 with padding. */
export const base64 = (bytes: Uint8Array): string => btoa(toBinary(bytes))

const sextets: ReadonlyMap<string, number> = new Map(
  Array.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/', (digit, i) => [digit, i]),
)

/**
 * Bytes of padded base64; `undefined` unless it is the one spelling of them. Makes no string of what it decodes: it may be a key, and a string
 * cannot be wiped.
 */
export const fromBase64 = (text: string): Uint8Array | undefined => {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return undefined
  const digits = text.indexOf('=') < 0 ? text.length : text.indexOf('=')
  const bytes = new Uint8Array(Math.floor((digits * 3) / 4))
  let bits = 0
  let count = 0
  let at = 0
  for (let i = 0; i < digits; i++) {
    bits = (bits << 6) | (sextets.get(text[i] ?? '') ?? 0)
    count += 6
    if (count < 8) continue
    count -= 8
    bytes[at++] = bits >>> count
    bits &= (1 << count) - 1
  }
  return bits === 0 ? bytes : undefined
}

/** base64url without padding (format.md, section 7). */
export const base64url = (bytes: Uint8Array): string =>
  base64(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')

/** Bytes of unpadded base64url; `undefined` unless it is the one spelling of them (format.md, section 7). */
export const fromBase64url = (text: string): Uint8Array | undefined => {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return undefined
  const padded = text.replaceAll('-', '+').replaceAll('_', '/') + '='.repeat((4 - (text.length % 4)) % 4)
  return fromBase64(padded)
}

/** Overwrites secrets; `undefined` is let pass so that it fits a `finally`. */
export const wipe = (...secrets: readonly (Uint8Array | undefined)[]): void => {
  for (const secret of secrets) secret?.fill(0)
}

/** Whether a value is a promise: synchronous and asynchronous engines meet here. */
export const isPromise = <T>(value: MaybePromise<T>): value is Promise<T> => value instanceof Promise

/**
 * The name of what `using` calls at the end of a block. A browser that has no such symbol yet gets the one that esbuild and Babel compile `using` to.
 */
export const disposal: typeof Symbol.dispose = Symbol.dispose ?? (Symbol.for('Symbol.dispose') as typeof Symbol.dispose)

/** The same bytes in the type that WebCrypto takes (never over shared memory). */
export const overArrayBuffer = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => bytes as Uint8Array<ArrayBuffer>
