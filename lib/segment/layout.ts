/**
 * Sizes and ranges of a stream (format.md, section 3), pure arithmetic, exact in numbers below 2^53. Lengths and offsets in bytes.
 */
import { copy, getU32, setU32 } from '../bytes.ts'
import { headerSize, type Suite, tagSize } from '../cipher/suite.ts'
import { SseError } from '../errors.ts'

/** The most segments of a stream: the counter has 32 bits. */
export const maxSegments: number = 2 ** 32

/**
 * The longest plaintext of one stream: S * 2^32 - 1, so that its last segment is short.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sizes}
 */
export const maxPlaintext = (suite: Suite): number => suite.segmentSize * maxSegments - 1

/**
 * Stored length L(P) of a plaintext of `plaintext` bytes; `RangeError` unless that is a length the suite can hold.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sizes}
 */
export const storedLength = (suite: Suite, plaintext: number): number => {
  if (!Number.isSafeInteger(plaintext) || plaintext < 0 || plaintext > maxPlaintext(suite)) {
    throw new RangeError(`a plaintext length of suite ${suite.id} is an integer from 0 to ${maxPlaintext(suite)}`)
  }
  return headerSize + plaintext + tagSize * (Math.floor(plaintext / suite.segmentSize) + 1)
}

/**
 * Plaintext length P(L) of a stored length; {@link SseError} `NotAuthentic` where no stream has that length (cut at a segment boundary,
 * or malformed).
 *
 * {@includeCode ../../test/examples/reference.test.ts#sizes}
 */
export const plaintextLength = (suite: Suite, stored: number): number => {
  const full = suite.segmentSize + tagSize
  const body = stored - headerSize
  const rest = body % full
  if (!Number.isSafeInteger(stored) || body < tagSize || rest < tagSize || body / full >= maxSegments) {
    throw new SseError('NotAuthentic')
  }
  return suite.segmentSize * Math.floor(body / full) + rest - tagSize
}

/** A range of bytes, both ends inclusive. */
export interface ByteRange {
  /** First byte, counted from 0. */
  readonly start: number
  /** Last byte. */
  readonly end: number
}

/** Where the segments that hold a range of a stream lie. */
export interface SegmentRange {
  /** Index of the first segment, absolute in the stream. */
  readonly firstSegment: number
  /** First stored byte: of the header where the first segment is the stream's first, else of the segment. */
  readonly storedStart: number
  /** One past the last stored byte. */
  readonly storedEnd: number
  /** Plaintext offset of the first segment. */
  readonly plaintextStart: number
}

/**
 * The segments of a stream of `length` plaintext bytes that hold `range`, which lies inside it.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sizes}
 */
export const segmentRange = (suite: Suite, length: number, range: ByteRange): SegmentRange => {
  const full = suite.segmentSize + tagSize
  const firstSegment = Math.floor(range.start / suite.segmentSize)
  const lastSegment = Math.floor(range.end / suite.segmentSize)
  return {
    firstSegment,
    storedStart: firstSegment === 0 ? 0 : headerSize + full * firstSegment,
    storedEnd: Math.min(headerSize + full * (lastSegment + 1), storedLength(suite, length)),
    plaintextStart: firstSegment * suite.segmentSize,
  }
}

/** A range as a client asks for it: from a to b inclusive, from a to the end, or the last `suffix` bytes. */
export type RangeRequest =
  | {
      /** First byte, counted from 0. */
      readonly start: number
      /** Last byte; the object's last one where left out. */
      readonly end?: number | undefined
    }
  | {
      /** How many of the last bytes. */
      readonly suffix: number
    }

const whole = (n: number): number => {
  if (!Number.isInteger(n) || n < 0) throw new RangeError('the numbers of a range are integers from 0')
  return n
}

/**
 * The bytes of an object of `length` that a request means, cut at its end; {@link SseError} `RangeNotSatisfiable` (416) where there are
 * none, `RangeError` where the request has a number that is no integer from 0.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sizes}
 */
export const resolveRange = (request: RangeRequest, length: number): ByteRange => {
  const range =
    'suffix' in request
      ? { start: Math.max(0, length - whole(request.suffix)), end: length - 1 }
      : {
          start: whole(request.start),
          end: request.end === undefined ? length - 1 : Math.min(whole(request.end), length - 1),
        }
  if (range.start > range.end) {
    const headers = Number.isFinite(length) ? { 'content-range': `bytes */${length}` } : {}
    throw new SseError('RangeNotSatisfiable', { headers })
  }
  return range
}

/** Counts plaintext. */
export interface LengthGuard {
  /** Bytes came; `LengthMismatch` or `StreamTooLong` where they are too many. */
  add(bytes: number): void
  /** The end came; `LengthMismatch` where bytes are missing. */
  end(): void
}

/** A guard for a declared length, or for the suite's longest. */
export const lengthGuard = (suite: Suite, declared: number | undefined): LengthGuard => {
  const longest = declared ?? maxPlaintext(suite)
  let count = 0
  return {
    add: bytes => {
      count += bytes
      if (count > longest) throw new SseError(declared === undefined ? 'StreamTooLong' : 'LengthMismatch')
    },
    end: () => {
      if (declared !== undefined && count !== declared) throw new SseError('LengthMismatch')
    },
  }
}

/** A function from index (0 to 2^32-1) to the nonce of that segment; it returns the same memory every time. */
export const nonces = (base: Uint8Array): ((index: number) => Uint8Array) => {
  const nonce = copy(base)
  // The index has 32 bits, so of its 8 bytes the first four are zero and leave the base as it is.
  const low = getU32(nonce, 8)
  return index => {
    setU32(nonce, 8, low ^ index)
    return nonce
  }
}
