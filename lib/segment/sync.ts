/** Seals and opens over a synchronous engine: the header, then segments, each piece as it arrives. */
import { concat, equal, wipe } from '../bytes.ts'
import { deriveStreamSync, type StreamKeys } from '../cipher/derive.ts'
import type { SegmentOpener, SyncEngine } from '../cipher/engine.ts'
import type { SegmentMemory } from '../cipher/memory.ts'
import { headerSize, saltSize, type Suite, tagSize } from '../cipher/suite.ts'
import { SseError } from '../errors.ts'
import type { Driver, Emit } from './driver.ts'
import { Framing } from './framing.ts'
import { lengthGuard, nonces } from './layout.ts'
import { type Span, SpanReader } from './reader.ts'

/** What a sealing driver is made of. */
export interface SealParts {
  readonly suite: Suite
  /** Keys of the stream; the driver owns them and wipes them. */
  readonly keys: StreamKeys
  /** The stream's salt: drawn for this attempt, never used before. */
  readonly salt: Uint8Array
  /** Plaintext length if it was declared; another one is `LengthMismatch`. */
  readonly length?: number | undefined
  /** Where to seal into; new memory by default. */
  readonly memory?: SegmentMemory | undefined
}

/** A driver that seals over a synchronous engine. */
export const sealOver = (engine: SyncEngine, { suite, keys, salt, length, memory }: SealParts): Driver => {
  const nonce = nonces(keys.baseNonce)
  const sealer = engine.sealer(suite.aead, keys.key, memory)
  const guard = lengthGuard(suite, length)
  let emit: Emit | undefined
  const framing = new Framing(suite.segmentSize, false, {
    begin: index => sealer.begin(nonce(index)),
    piece: bytes => {
      const sealed = sealer.update(bytes)
      if (sealed !== undefined) emit?.(sealed)
    },
    end: () => {
      for (const sealed of sealer.final()) emit?.(sealed)
    },
  })
  let header: Uint8Array | undefined = concat(salt, keys.commitment)
  const start = (to: Emit) => {
    emit = to
    if (header !== undefined) to(header)
    header = undefined
  }
  return {
    write: (chunk, to) => {
      guard.add(chunk.length)
      start(to)
      framing.push(chunk)
    },
    end: to => {
      guard.end()
      start(to)
      framing.finish(true)
    },
    dispose: () => {
      sealer.dispose()
      framing.dispose()
      wipe(keys.key, keys.baseNonce)
    },
  }
}

/** What an opening driver is made of. */
export interface OpenParts {
  readonly suite: Suite
  /** The data key; the driver owns it and wipes it. */
  readonly dek: Uint8Array
  /** The runs of segments that come, in order. */
  readonly spans: Iterable<Span>
  /** Plaintext bytes of the runs to leave out at the front. */
  readonly skip?: number | undefined
  /** Plaintext bytes to release after them; all by default. */
  readonly take?: number | undefined
  /** Where to open into; new memory by default. */
  readonly memory?: SegmentMemory | undefined
}

/** The salt of a run: the table's, else the one in the header that lies in front. */
export const saltOf = (span: Span, header: Uint8Array | undefined): Uint8Array => {
  const salt = span.salt ?? header?.subarray(0, saltSize)
  if (salt === undefined) throw new TypeError('a run without a header needs its salt')
  return salt
}

/** Compares a header with the salt and commitment that the keys demand; without a header there is nothing to compare. */
export const checkHeader = (header: Uint8Array | undefined, salt: Uint8Array, keys: StreamKeys): void => {
  if (header !== undefined && !equal(header, concat(salt, keys.commitment))) throw new SseError('NotAuthentic')
}

/** Lets a slice of the plaintext that passes leave. */
export const slicer = (skip = 0, take = Infinity): ((plaintext: Uint8Array, emit: Emit) => void) => {
  let from = skip
  let left = take
  return (plaintext, emit) => {
    const cut = plaintext.subarray(Math.min(from, plaintext.length)).subarray(0, Math.min(left, plaintext.length))
    from -= Math.min(from, plaintext.length)
    left -= cut.length
    if (cut.length > 0) emit(cut)
  }
}

/** A driver that opens over a synchronous engine. */
export const openOver = (engine: SyncEngine, { suite, dek, spans, skip, take, memory }: OpenParts): Driver => {
  const slice = slicer(skip, take)
  let emit: Emit | undefined
  let current: SegmentOpener | undefined
  const reader = new SpanReader(suite, spans, (span, header) => {
    current?.dispose()
    const salt = saltOf(span, header)
    const keys = deriveStreamSync(engine, suite, dek, salt, span.context)
    const opener = engine.opener(suite.aead, keys.key, memory)
    const nonce = nonces(keys.baseNonce)
    current = opener
    wipe(keys.key, keys.baseNonce)
    checkHeader(header, salt, keys)
    // Plaintext from the segment on, as far as the store has it.
    const left = (index: number): number => {
      const front = span.firstSegment === 0 ? headerSize : 0
      return span.stored - front - (index - span.firstSegment) * (suite.segmentSize + tagSize) - tagSize
    }
    return {
      begin: index => opener.begin(nonce(index), Math.max(0, Math.min(suite.segmentSize, left(index)))),
      piece: bytes => opener.update(bytes),
      end: (_index, tag) => {
        for (const plaintext of opener.final(tag)) slice(plaintext, bytes => emit?.(bytes))
      },
    }
  })
  return {
    write: (chunk, to) => {
      emit = to
      reader.push(chunk)
    },
    end: to => {
      emit = to
      reader.finish()
    },
    dispose: () => {
      current?.dispose()
      reader.dispose()
      wipe(dek)
    },
  }
}
