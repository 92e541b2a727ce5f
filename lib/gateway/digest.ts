/** The digests that S3 knows, fed piece by piece. CRCs come as big-endian bytes. */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { Crc64Nvme } from '@aws-sdk/crc64-nvme'
import { type MaybePromise, u32 } from '../bytes.ts'
import type { ValueName } from '../envelope/sealed-values.ts'
import { crc32c } from './crc32c.ts'

/** A digest by the name that its header has, or `md5`. */
export type DigestAlgorithm = ValueName

/** A digest in the making. */
export interface Digest {
  /** Takes bytes and keeps none of them. */
  update(bytes: Uint8Array): void
  /** The digest of all bytes; call it once. */
  finish(): MaybePromise<Uint8Array>
}

const crc = (next: (bytes: Uint8Array, before: number) => number): Digest => {
  let value = 0
  return {
    update: bytes => {
      value = next(bytes, value)
    },
    finish: () => u32(value),
  }
}

/** Begins a digest. */
export const createDigest = (algorithm: DigestAlgorithm): Digest => {
  switch (algorithm) {
    case 'crc32':
      return crc(crc32)
    case 'crc32c':
      return crc(crc32c)
    case 'crc64nvme': {
      const digest = new Crc64Nvme()
      return { update: bytes => digest.update(bytes), finish: () => digest.digest() }
    }
    default: {
      const hash = createHash(algorithm)
      return { update: bytes => void hash.update(bytes), finish: () => hash.digest() }
    }
  }
}
