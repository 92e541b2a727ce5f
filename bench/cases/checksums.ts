/** The checksums of a body, on its way in 64 KiB pieces: ours against the packages that compute the same, and what Node computes natively. */
import { Crc32c } from '@aws-crypto/crc32c'
import { Crc64Nvme } from '@aws-sdk/crc64-nvme'
import { createDigest, type DigestAlgorithm } from '../../lib/gateway/body/checksums.ts'
import type { BenchCase, Contestant } from '../harness.ts'
import { hex, u32 } from '../../lib/bytes.ts'
import { plaintext } from '../support/streams.ts'

const MiB = 1_048_576

interface Running {
  update(bytes: Uint8Array): unknown
  finish(): Uint8Array | Promise<Uint8Array>
}

const packages: Readonly<Partial<Record<DigestAlgorithm, readonly [name: string, begin: () => Running]>>> = {
  crc64nvme: [
    '@aws-sdk/crc64-nvme',
    () => {
      const crc = new Crc64Nvme()
      return { update: bytes => crc.update(bytes), finish: () => crc.digest() }
    },
  ],
  crc32c: [
    '@aws-crypto/crc32c',
    () => {
      const crc = new Crc32c()
      return { update: bytes => crc.update(bytes), finish: () => u32(crc.digest()) }
    },
  ],
}

const digestOf = async (running: Running, size: number): Promise<string> => {
  for (const chunk of plaintext(size)) running.update(chunk)
  return hex(await running.finish())
}

/** The case. */
export const checksums: BenchCase = {
  name: 'checksums',
  about:
    'the checksums of bodies: CRC-64/NVME and CRC-32C here and in the packages of the AWS SDK, and what Node computes natively',
  make: async bench => {
    const size: number = bench.pick(MiB, 16 * MiB, 64 * MiB)
    const contestants: Contestant[] = []
    for (const algorithm of ['crc64nvme', 'crc32c', 'crc32', 'sha1', 'sha256', 'md5'] as const) {
      const ours = () => createDigest(algorithm)
      const against: Contestant[] = []
      const begin = packages[algorithm]
      const run = (begin: () => Running) => async () => {
        await digestOf(begin(), size)
        return size
      }
      if (begin !== undefined) against.push({ name: begin[0], direction: algorithm, size, run: run(begin[1]) })
      const validate = async () => {
        if (begin !== undefined && (await digestOf(ours(), MiB + 5)) !== (await digestOf(begin[1](), MiB + 5)))
          throw new Error(`${algorithm} is another one than that of ${begin[0]}`)
      }
      contestants.push(...against, { name: algorithm, direction: algorithm, size, against, validate, run: run(ours) })
    }
    return [{ name: 'pieces of 64 KiB', unit: 'MB/s', contestants }]
  },
}
