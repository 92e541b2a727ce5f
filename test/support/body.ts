/** Bodies put and got through the façade, for tests of the object layer. */
import type { Driver } from '../../lib/segment/driver.ts'
import type { RandomAccess } from '../../lib/object/file.ts'
import { drive, driven, inRandomChunks, type Outcome, seeded } from './drive.ts'

/** Bytes that differ from one seed to the next. */
export const bodyOf = (length: number, seed = 1): Uint8Array => {
  const random = seeded(seed + length)
  return new Uint8Array(length).map(() => random() * 256)
}

/** Sends a body through an encryption; what is to be stored. */
export const put = ({ driver }: { readonly driver: Driver }, plaintext: Uint8Array): Promise<Uint8Array> =>
  driven(driver, inRandomChunks(plaintext, seeded(plaintext.length)))

/** A decryption, and where its bytes lie. */
export interface Got {
  readonly driver: Driver
  readonly stored: { readonly start: number; readonly end: number }
}

/** Reads the stored bytes that a decryption asks for; its plaintext. */
export const get = ({ driver, stored }: Got, body: Uint8Array): Promise<Uint8Array> =>
  driven(driver, inRandomChunks(body.subarray(stored.start, stored.end + 1), seeded(stored.end)))

/** The same, for a body that must not end well. */
export const tryGet = ({ driver, stored }: Got, body: Uint8Array): Promise<Outcome> =>
  drive(driver, inRandomChunks(body.subarray(stored.start, stored.end + 1), seeded(stored.end)))

/** A file in memory. */
export const inMemory = (data: Uint8Array): RandomAccess => ({
  size: data.length,
  read: async (start, end) => data.slice(start, end + 1),
})
