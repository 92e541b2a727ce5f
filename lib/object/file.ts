/**
 * Self-describing files (SKF1; format.md, section 7): an envelope in front of the streams, for files, pipes and the command line. From a
 * pipe the checks that need the end come at the end; from a file that can be read anywhere they come first.
 */
import { copy } from '../bytes.ts'
import { streamContext } from '../cipher/derive.ts'
import { filePrefixSize, type Envelope, parseEnvelope, parseFilePrefix } from '../envelope/envelope.ts'
import { SseError } from '../errors.ts'
import { type Driver, type Emit, strict } from '../segment/driver.ts'
import { open } from '../segment/select.ts'
import { type ByteRange, plaintextLength, type RangeRequest, resolveRange, segmentRange } from '../segment/layout.ts'
import { slicer } from '../segment/sync.ts'
import { type Decryption, openVerified, type UnlockParts, type Verified, verifyEnvelope } from './decrypt.ts'
import { indexParts, type PartIndex } from './part-index.ts'

/** A file that can be read at any place. */
export interface RandomAccess {
  /** Its bytes in all. */
  readonly size: number
  /** Exactly the bytes `start` to `end`, inclusive. */
  read(start: number, end: number): Promise<Uint8Array>
}

/** What stands in front of a file's streams. */
export interface FileFront {
  /** The envelope, parsed: claims until key and descriptor were verified. */
  readonly envelope: Envelope
  /** The envelope's bytes. */
  readonly bytes: Uint8Array
  /** Where the streams begin. */
  readonly at: number
}

/**
 * The envelope at the front of a file, parsed, without any key; and where the streams begin. `NotAuthentic` where there is none.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sse,files}
 */
export const readFileEnvelope = async (file: RandomAccess): Promise<FileFront> => {
  if (file.size < filePrefixSize) throw new SseError('NotAuthentic')
  const at = filePrefixSize + parseFilePrefix(await file.read(0, filePrefixSize - 1))
  if (file.size < at) throw new SseError('NotAuthentic')
  const bytes = await file.read(filePrefixSize, at - 1)
  return { envelope: parseEnvelope(bytes, true), bytes, at }
}

/** What a file is decrypted with. */
export interface FileParts extends UnlockParts {
  /** What to release; everything by default. */
  readonly range?: RangeRequest | undefined
  /** An ETag, without quotes, for which alone the range holds (If-Range): another object is released whole. */
  readonly ifRange?: string | undefined
}

/**
 * Decrypts a file that can be read anywhere, or a range of it. `stored` of the result counts from the front of the file. Where the length
 * was unknown when the file was written, its last segment is opened first, so that every length stated is authentic.
 */
export const decryptFile = async (file: RandomAccess, parts: FileParts): Promise<Decryption> => {
  const { envelope, at } = await readFileEnvelope(file)
  const held = file.size - at
  const { unknownLength, storedLength } = envelope.descriptor
  const verified = await verifyEnvelope(envelope, parts)
  try {
    if (!unknownLength && held !== storedLength) throw new SseError('NotAuthentic')
    const index = unknownLength ? await establishLength(verified, file, at) : verified.index
    const range = parts.ifRange === undefined || parts.ifRange === verified.etag ? parts.range : undefined
    const opened = openVerified(verified, { range }, index)
    return { ...opened, stored: { start: at + opened.stored.start, end: at + opened.stored.end } }
  } finally {
    verified.key.dispose()
  }
}

const establishLength = async (verified: Verified, file: RandomAccess, at: number): Promise<PartIndex> => {
  const { suite, bodyId } = verified.envelope.descriptor
  const length = plaintextLength(suite, file.size - at)
  const lastAt = Math.floor(length / suite.segmentSize) * suite.segmentSize
  const tail = segmentRange(suite, length, { start: lastAt, end: lastAt })
  const spans = verified.index.rows.map(row => ({
    salt: row.salt,
    context: streamContext(bodyId, row.part),
    firstSegment: tail.firstSegment,
    stored: tail.storedEnd - tail.storedStart,
    last: true,
  }))
  const probe = open(verified.engine, { suite, dek: copy(verified.key.bytes), spans })
  try {
    await probe.write(await file.read(at + tail.storedStart, at + tail.storedEnd - 1), () => undefined)
    await probe.end(() => undefined)
  } finally {
    probe.dispose()
  }
  const rows = verified.index.rows.map(row => ({ ...row, length }))
  return indexParts(suite, rows)
}

/**
 * A driver that decrypts a file from a pipe: the file's bytes in, plaintext out. Every segment is opened, a range only cut out of them. The
 * end may still bring an error (`NotAuthentic` for a file that is cut or too long), so a consumer must heed it. A suffix of a file of
 * unknown length cannot be had from a pipe: `RangeNotSatisfiable`.
 */
export const decryptPipe = (parts: FileParts): Driver => {
  const prefix = new Uint8Array(filePrefixSize)
  let front = prefix // what is being gathered; after the prefix, the envelope
  let filled = 0
  let disposed = false
  let streams: Driver | undefined
  const open = async (envelope: Uint8Array): Promise<Driver> => {
    const verified = await verifyEnvelope(parseEnvelope(envelope, true), parts)
    try {
      const range = parts.range
      if (range === undefined || !verified.envelope.descriptor.unknownLength) {
        return openVerified(verified, { range, sequential: true }).driver
      }
      const cut = withoutLength(range)
      return cutOut(openVerified(verified, {}).driver, cut)
    } finally {
      verified.key.dispose()
    }
  }
  const begin = async (chunk: Uint8Array, emit: Emit): Promise<void> => {
    let at = 0
    while (at < chunk.length) {
      const piece = chunk.subarray(at, at + front.length - filled)
      front.set(piece, filled)
      filled += piece.length
      at += piece.length
      if (filled < front.length) return
      filled = 0
      if (front === prefix) {
        front = new Uint8Array(parseFilePrefix(prefix))
      } else {
        streams = await open(front)
        if (disposed) streams.dispose()
        return streams.write(chunk.subarray(at), emit)
      }
    }
  }
  return strict({
    write: (chunk, emit) => (streams === undefined ? begin(chunk, emit) : streams.write(chunk, emit)),
    end: emit => {
      if (streams === undefined) throw new SseError('NotAuthentic')
      return streams.end(emit)
    },
    dispose: () => {
      disposed = true
      streams?.dispose()
    },
  })
}

/** The range of a request, where no length is known to cut it at. */
const withoutLength = (range: RangeRequest): ByteRange => {
  if ('suffix' in range) {
    throw new SseError('RangeNotSatisfiable', {
      message: 'The last bytes of a file of unknown length cannot be read from a pipe. Name the file instead.',
    })
  }
  return resolveRange(range, Infinity)
}

/** A range of a stream whose length only its end tells. */
const cutOut = (driver: Driver, { start, end }: ByteRange): Driver => {
  const slice = slicer(start, end - start + 1)
  let count = 0
  const through =
    (emit: Emit): Emit =>
    plaintext => {
      count += plaintext.length
      slice(plaintext, emit)
    }
  return {
    write: (chunk, emit) => driver.write(chunk, through(emit)),
    end: async emit => {
      await driver.end(through(emit))
      if (count <= start) throw new SseError('RangeNotSatisfiable')
    },
    dispose: () => driver.dispose(),
  }
}
