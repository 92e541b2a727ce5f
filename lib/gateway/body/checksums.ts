/**
 * The checksums that a request declares for its body, and their verification while the body passes. Computes what was declared and what the
 * caller asks for. Source: "Checking object integrity" of the Amazon S3 user guide.
 */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { base64, equal, fromBase64, hex, type MaybePromise, u32 } from '../../bytes.ts'
import { valueIds, type ValueName } from '../../envelope/sealed-values.ts'
import { SseError } from '../../errors.ts'
import type { HeaderGetter } from '../../sse/names.ts'
import type { RequestHeaders } from '../http/headers.ts'
import type { BodyStage } from '../http/pour.ts'
import { crc32c, Crc64Nvme } from './crc.ts'

/** A digest by the name that its header has, or `md5`. */
export type DigestAlgorithm = ValueName

/** A running digest. */
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

/** A checksum that has a header of its own. */
export type ChecksumAlgorithm = Exclude<DigestAlgorithm, 'md5'>

/** The checksums, as SDKs list them. */
export const checksumAlgorithms = ['crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256'] as const

const prefix = 'x-amz-checksum-'

const invalid = (message: string): SseError => new SseError('InvalidRequest', { message })

/** The header of a checksum, which is also the name of its trailer. */
export const checksumHeader = (algorithm: ChecksumAlgorithm): string => `${prefix}${algorithm}`

/** A checksum by its name in any case, as `x-amz-checksum-algorithm` has it; `undefined` for an unknown one. */
export const parseChecksumAlgorithm = (name: string): ChecksumAlgorithm | undefined =>
  checksumAlgorithms.find(each => each === name.toLowerCase())

/** The algorithm that Initiate or a copy asks for; `undefined` without `x-amz-checksum-algorithm`. `InvalidRequest` for an unknown one. */
export const requestedAlgorithm = (header: HeaderGetter): ChecksumAlgorithm | undefined => {
  const name = header('x-amz-checksum-algorithm')
  const algorithm = name === undefined ? undefined : parseChecksumAlgorithm(name)
  if (name === undefined || algorithm !== undefined) return algorithm
  const known = checksumAlgorithms.map(each => each.toUpperCase()).join(', ')
  throw invalid(`Checksum algorithm provided is unsupported. Please try again with any of the valid types: [${known}]`)
}

/** What a request says of its body. */
export interface DeclaredChecksums {
  /** The one checksum; its value comes in the trailer where it is `undefined`. */
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly value: Uint8Array | undefined } | undefined
  readonly contentMd5?: Uint8Array | undefined
}

const valueOf = (algorithm: DigestAlgorithm, text: string): Uint8Array | undefined => {
  const bytes = fromBase64(text)
  return bytes?.length === valueIds[algorithm].size ? bytes : undefined
}

const parseValue = (algorithm: ChecksumAlgorithm, text: string, where: string): Uint8Array => {
  const value = valueOf(algorithm, text)
  if (value !== undefined) return value
  throw invalid(
    `Value for ${checksumHeader(algorithm)} ${where} is invalid. Send ${valueIds[algorithm].size} bytes in base64.`,
  )
}

// Not checksums of this body.
const others = new Set(['algorithm', 'mode', 'type'].map(name => `${prefix}${name}`))

const inHeaders = (headers: RequestHeaders): DeclaredChecksums['checksum'] => {
  const [first, ...more] = [...headers].filter(([name]) => name.startsWith(prefix) && !others.has(name))
  if (first === undefined) return undefined
  if (more.length > 0) {
    throw invalid('Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.')
  }
  const [name, value] = first
  const algorithm = parseChecksumAlgorithm(name.slice(prefix.length))
  if (algorithm === undefined) {
    const known = checksumAlgorithms.join(', ')
    throw invalid(`The algorithm type you specified in x-amz-checksum- header is invalid. Use one of ${known}.`)
  }
  return { algorithm, value: parseValue(algorithm, value, 'header') }
}

const inTrailer = (headers: RequestHeaders): DeclaredChecksums['checksum'] => {
  const announced = headers.get('x-amz-trailer')?.toLowerCase().trim()
  if (announced === undefined || announced === '') return undefined
  const algorithm = checksumAlgorithms.find(each => checksumHeader(each) === announced)
  if (algorithm !== undefined) return { algorithm, value: undefined }
  throw invalid(
    'The value specified in the x-amz-trailer header is not supported. Announce one x-amz-checksum- trailer.',
  )
}

/**
 * Reads what the headers declare of the body. Not for CompleteMultipartUpload, whose checksum headers are
 * the object's. Throws `InvalidRequest` (several checksums, an unknown one, a malformed value) and `InvalidDigest` (Content-MD5).
 */
export const declaredChecksums = (headers: RequestHeaders): DeclaredChecksums => {
  const [header, trailer] = [inHeaders(headers), inTrailer(headers)]
  if (header !== undefined && trailer !== undefined) {
    throw invalid('Expecting a single x-amz-checksum- header. Send it as a header or as a trailer, not both.')
  }
  const checksum = header ?? trailer
  const named = headers.get('x-amz-sdk-checksum-algorithm')
  if (named !== undefined && checksum === undefined) {
    throw invalid(
      'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.',
    )
  }
  if (named !== undefined && parseChecksumAlgorithm(named) !== checksum?.algorithm) {
    throw invalid('Value for x-amz-sdk-checksum-algorithm header is invalid. Name the checksum that is sent.')
  }
  const md5 = headers.get('content-md5')
  const contentMd5 = md5 === undefined ? undefined : valueOf('md5', md5)
  if (md5 !== undefined && contentMd5 === undefined) throw new SseError('InvalidDigest')
  return { checksum, contentMd5 }
}

/** What the body is checked against. */
export interface ChecksumOptions {
  readonly declared: DeclaredChecksums
  /** The SHA-256 that the request's signature covers. */
  readonly sha256?: Uint8Array | undefined
  /** The value of the announced trailer, asked for when the body has ended. */
  readonly trailer?: (() => string) | undefined
  /** Digests to compute in any case. */
  readonly always?: readonly DigestAlgorithm[] | undefined
}

/** Verifies a body. */
export interface ChecksumVerifier {
  /**
   * Passes the body on as it is. Fails before its end is passed on, with `BadDigest`, `XAmzContentSHA256Mismatch`, or `InvalidRequest` for a malformed
   * trailer.
   */
  readonly stage: BodyStage
  /** Everything that was computed, raw; empty before the end. */
  digests(): ReadonlyMap<DigestAlgorithm, Uint8Array>
}

/** Makes the verification of a body. */
export const verifyChecksums = ({ declared, sha256, trailer, always = [] }: ChecksumOptions): ChecksumVerifier => {
  const { checksum, contentMd5 } = declared
  const names = new Set(always)
  if (checksum !== undefined) names.add(checksum.algorithm)
  if (contentMd5 !== undefined) names.add('md5')
  if (sha256 !== undefined) names.add('sha256')
  const wanted = new Map<DigestAlgorithm, Digest>([...names].map(each => [each, createDigest(each)]))
  const digests = new Map<DigestAlgorithm, Uint8Array>()

  const check = (algorithm: DigestAlgorithm, digest: Uint8Array): void => {
    if (algorithm === 'sha256' && sha256 !== undefined && !equal(digest, sha256)) {
      throw new SseError('XAmzContentSHA256Mismatch', { details: { ClientComputedContentSHA256: hex(sha256) } })
    }
    if (algorithm === 'md5' && contentMd5 !== undefined && !equal(digest, contentMd5)) {
      throw new SseError('BadDigest', {
        message: 'The Content-MD5 you specified did not match what we received. Send the body again.',
        details: { ExpectedDigest: base64(contentMd5) },
      })
    }
    if (algorithm !== checksum?.algorithm) return
    const value = checksum.value ?? parseValue(checksum.algorithm, trailer?.() ?? '', 'trailing header')
    if (equal(digest, value)) return
    throw new SseError('BadDigest', {
      message: `The ${algorithm.toUpperCase()} you specified did not match the calculated checksum. Send the body again.`,
      s3Message: `The ${algorithm.toUpperCase()} you specified did not match the calculated checksum.`,
    })
  }

  const finish = async (): Promise<void> => {
    for (const [algorithm, running] of wanted) digests.set(algorithm, await running.finish())
    for (const [algorithm, digest] of digests) check(algorithm, digest)
  }

  const stage: BodyStage = async function* (source) {
    for await (const bytes of source) {
      for (const running of wanted.values()) running.update(bytes)
      yield bytes
    }
    await finish()
  }
  return { stage, digests: () => digests }
}
