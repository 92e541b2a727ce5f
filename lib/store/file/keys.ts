/**
 * Keys of the index: lists of names as bytes, in the order of the names' UTF-8 bytes, first name first.
 *
 *   name ‖ 00 ‖ name ‖ 00 ‖ …        every byte of a name is one more than in UTF-8
 *
 * UTF-8 uses no byte above F4, so the sum fits, 00 is free to end a name (which may hold NUL itself), FF is behind everything, no two lists
 * collide, and a key is as long as its names: LMDB takes 1,978 bytes.
 */
import { concat } from '../../bytes.ts'
import { SseError } from '../../errors.ts'

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

/** Refuses what cannot be a name: `TypeError` where it is not well-formed, `RangeError` where it is empty or longer than `most` bytes. */
export const checkName = (what: string, name: string, most: number): void => {
  if (/\p{Surrogate}/u.test(name)) throw new TypeError(`${what} is not well-formed Unicode`)
  const length = Buffer.byteLength(name)
  if (length < 1 || length > most)
    throw new RangeError(`${what} has ${length} bytes of UTF-8; 1 to ${most} are possible`)
}

/** The id of a body as the index has it: `StoreFailed` unless it is 32 hex digits, for it becomes part of a path. */
export const checkBodyId = (id: string): string => {
  if (/^[0-9a-f]{32}$/.test(id)) return id
  const message =
    'The index names a body file by what is no id: it is damaged, or was changed. Restore the store from a backup.'
  throw new SseError('StoreFailed', { message })
}
