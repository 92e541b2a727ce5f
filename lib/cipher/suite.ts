/**
 * The suites of the object format (format.md, section 1): one id fixes AEAD, KDF hash, segment size and label together. Nothing else
 * selects them, and there is no suite without a KDF, a commitment or authentication.
 */

/** An AEAD of a suite, by its name in the IANA registry. */
export type Aead = 'AEAD_AES_256_GCM' | 'AEAD_CHACHA20_POLY1305'

/** The id of a suite as the format stores it. 0x0004 is reserved. */
export type SuiteId = 1 | 2 | 3 | 5

/** A row of the table of suites. Sizes in bytes. */
export interface Suite {
  /** What the descriptor stores. */
  readonly id: SuiteId
  /** The AEAD that seals its segments. */
  readonly aead: Aead
  /** S, plaintext bytes of a full segment. */
  readonly segmentSize: number
  /** First part of the KDF's info. */
  readonly label: string
}

const suite = (id: SuiteId, aead: Aead, segmentSize: number, label: string): Suite =>
  Object.freeze({ id, aead, segmentSize, label })

const gcm = 'AEAD_AES_256_GCM'
const cobblestone = suite(2, gcm, 16_384, 'c2sp.org/chunked-encryption@v1+')

/** The suites by id. */
export const suites: ReadonlyMap<number, Suite> = new Map<number, Suite>([
  [1, suite(1, gcm, 65_536, 'sse-kms-streams/v1/64KiB+')],
  [2, cobblestone],
  [3, suite(3, 'AEAD_CHACHA20_POLY1305', 65_536, 'sse-kms-streams/v1/64KiB+')],
  [5, suite(5, gcm, 262_144, 'sse-kms-streams/v1/256KiB+')],
])

/**
 * The suite of an id; `RangeError` where there is none. Stored ids are checked by the parsers of the format, not here.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sizes}
 */
export const suiteOf = (id: SuiteId): Suite => {
  const found = suites.get(id)
  if (found === undefined) throw new RangeError(`suite ${id} is unknown: use 1, 2, 3 or 5`)
  return found
}

/** T, bytes of an AEAD tag. */
export const tagSize = 16
/** H, bytes of a stream's header: salt and commitment. */
export const headerSize = 56
/** Bytes of a stream's salt. */
export const saltSize = 24
/** Bytes of every key that enters Expand. */
export const keySize = 32
/** Bytes of a bodyId. */
export const bodyIdSize = 16
/** Bytes of an AEAD nonce. */
export const nonceSize = 12
