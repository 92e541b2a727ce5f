/**
 * Keys of the index: lists of names as bytes, in the order of the names' UTF-8 bytes, first name first.
 *
 *   name ‖ 00 ‖ name ‖ 00 ‖ …        every byte of a name is one more than in UTF-8
 *
 * UTF-8 uses no byte above F4, so the sum fits, 00 is free to end a name (which may hold NUL itself), FF is behind everything, no two lists
 * collide, and a key is as long as its names: LMDB takes 1,978 bytes.
 */
import { concat } from '../../bytes.ts'

/** Bytes of the beginning of a name: what the keys of all names that begin so begin with. */
export const encodePrefix = (text: string): Uint8Array => encodeKey(text).subarray(0, -1)

/** A key. */
export const encodeKey = (...names: readonly string[]): Uint8Array => {
  let size = 0
  for (const name of names) size += Buffer.byteLength(name) + 1
  const key = new Uint8Array(size)
  let at = 0
  for (const name of names) {
    for (const byte of Buffer.from(name)) key[at++] = byte + 1
    at++
  }
  return key
}

/** The names of a key. */
export const decodeKey = (key: Uint8Array): readonly string[] => {
  const names: string[] = []
  for (let at = 0; at < key.length;) {
    const end = key.indexOf(0, at)
    const name = Buffer.allocUnsafe(end - at)
    let i = 0
    for (const byte of key.subarray(at, end)) name[i++] = byte - 1
    names.push(name.toString())
    at = end + 1
  }
  return names
}

/** The first key after this one. */
export const keyAfter = (key: Uint8Array): Uint8Array => concat(key, Uint8Array.of(0))

/** A key after every key that begins so. */
export const keyAfterAll = (prefix: Uint8Array): Uint8Array => concat(prefix, Uint8Array.of(255))
