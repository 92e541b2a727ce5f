/** Names and ids as every store checks and makes them. */
import { randomUUID } from 'node:crypto'
import { SseError } from '../errors.ts'

/** Refuses what cannot be a name: `TypeError` where it is not well-formed, `RangeError` where it is empty or longer than `most` bytes. */
export const checkName = (what: string, name: string, most: number): void => {
  if (/\p{Surrogate}/u.test(name)) throw new TypeError(`${what} is not well-formed Unicode`)
  const length = Buffer.byteLength(name)
  if (length < 1 || length > most)
    throw new RangeError(`${what} has ${length} bytes of UTF-8; 1 to ${most} are possible`)
}

/** Refuses what cannot be the place of an object. */
export const checkPlace = (bucketId: string, key: string): void => {
  checkName('the id of a bucket', bucketId, 32)
  checkName('the key of an object', key, 1024)
}

/** Refuses what cannot be the place of an upload. */
export const checkUploadPlace = (bucketId: string, key: string, id: string): void => {
  checkPlace(bucketId, key)
  checkName('the id of an upload', id, 600)
}

/** The id of a body as the index has it: `StoreFailed` unless it is 32 hex digits, for it becomes part of a path. */
export const checkBodyId = (id: string): string => {
  if (/^[0-9a-f]{32}$/.test(id)) return id
  const message =
    'The index names a body file by what is no id: it is damaged, or was changed. Restore the store from a backup.'
  throw new SseError('StoreFailed', { message })
}

/** A new id: 32 hex digits, of a UUID, since Node draws the randomness of many UUIDs at once. */
export const newId = (): string => randomUUID().replaceAll('-', '')
