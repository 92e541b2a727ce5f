/**
 * Opens stored streams over a synchronous engine. Commitments are compared before any segment is opened, plaintext leaves after its tag
 * was checked, and a range is cut out of the segments that hold it.
 */
import { concat, equal, wipe } from '../bytes.ts'
import { deriveStreamSync, type StreamKeys } from '../cipher/derive.ts'
import type { SegmentOpener, SyncEngine } from '../cipher/engine.ts'
import { saltSize, type Suite } from '../cipher/suite.ts'
import { SseError } from '../errors.ts'
import type { Driver, Emit } from './driver.ts'
import { nonces } from './nonce.ts'
import { type Span, SpanReader } from './reader.ts'

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
export const openOver = (engine: SyncEngine, { suite, dek, spans, skip, take }: OpenParts): Driver => {
  const slice = slicer(skip, take)
  let emit: Emit | undefined
  let current: SegmentOpener | undefined
  const reader = new SpanReader(suite, spans, (span, header) => {
    current?.dispose()
    const salt = saltOf(span, header)
    const keys = deriveStreamSync(engine, suite, dek, salt, span.context)
    const opener = engine.opener(suite.aead, keys.key)
    const nonce = nonces(keys.baseNonce)
    current = opener
    wipe(keys.key, keys.baseNonce)
    checkHeader(header, salt, keys)
    return {
      begin: index => opener.begin(nonce(index)),
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
