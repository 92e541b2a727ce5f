/** The test vectors in `test/vectors`; its README says what they hold. */
import { readFileSync } from 'node:fs'

/** A file of vectors, such as `sk1.json`, in the shape that the test expects. */
export const vectors = <T>(name: string): T => {
  const parsed: T = JSON.parse(readFileSync(new URL(`../vectors/${name}`, import.meta.url), 'utf8'))
  return parsed
}

/** Bytes of a vector's hex; throws where it is none. */
export const bytes = (digits: string): Uint8Array => {
  if (!/^([0-9a-f]{2})*$/.test(digits)) throw new TypeError('not hex')
  return Uint8Array.from(Buffer.from(digits, 'hex'))
}
