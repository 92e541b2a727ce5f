/**
 * Reads the stored streams of a body, or the runs of segments that a range needs: headers, segments, the borders between streams, and
 * what may not follow them. Pure and without cryptography; {@link Framing} cuts the segments.
 */
import { copy } from '../bytes.ts'
import { SseError } from '../errors.ts'
import { headerSize, type Suite } from '../cipher/suite.ts'
import { type FrameSink, Framing } from './framing.ts'

/** A run of segments of one stream, as it lies in the store. */
export interface Span {
  /** Salt of the stream, from the verified part table; `undefined` where only the stream's own header tells it. */
  readonly salt: Uint8Array | undefined
  /** Context of the stream's keys. */
  readonly context: Uint8Array
  /** Absolute index of the first segment. With 0 the stream's header lies in front and is compared. */
  readonly firstSegment: number
  /** Stored bytes of the run, header included; `Infinity` where the end of the input ends the stream. */
  readonly stored: number
  /** Whether the run ends with the stream's last segment. */
  readonly last: boolean
  /** The header, read apart, of a run that begins later in a stream without descriptor: its C is compared first. */
  readonly header?: Uint8Array | undefined
}

/**
 * A run begins: takes the header that is to be compared, if any, and gives what takes its segments.
 */
export type BeginSpan = (span: Span, header: Uint8Array | undefined) => FrameSink

/** Reads runs one after the other. */
export class SpanReader {
  readonly #suite: Suite
  readonly #spans: Iterator<Span>
  readonly #begin: BeginSpan
  readonly #header = new Uint8Array(headerSize)
  #headerFill = 0
  #span: Span | undefined
  #framing: Framing | undefined
  #left = 0

  /** `spans` is asked for the next run once the one before is complete. */
  constructor(suite: Suite, spans: Iterable<Span>, begin: BeginSpan) {
    this.#suite = suite
    this.#spans = spans[Symbol.iterator]()
    this.#begin = begin
    this.#next()
  }

  /** Takes bytes of the store; `NotAuthentic` where there are more than the runs have. */
  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length;) {
      const span = this.#span
      if (span === undefined) throw new SseError('NotAuthentic')
      if (this.#framing === undefined && span.firstSegment > 0) this.#open(span, span.header)
      const wanted = this.#framing === undefined ? headerSize - this.#headerFill : Infinity
      const part = chunk.subarray(at, at + Math.min(wanted, this.#left, chunk.length - at))
      if (this.#framing === undefined) this.#takeHeader(span, part)
      else this.#framing.push(part)
      at += part.length
      this.#left -= part.length
      if (this.#left === 0) this.#complete(span)
    }
  }

  /** The input ended; `NotAuthentic` where it is cut. */
  finish(): void {
    if (this.#span !== undefined && this.#left === Infinity) this.#complete(this.#span)
    if (this.#span !== undefined) throw new SseError('NotAuthentic')
  }

  /** Overwrites what is held. */
  dispose(): void {
    this.#framing?.dispose()
  }

  #takeHeader(span: Span, part: Uint8Array): void {
    this.#header.set(part, this.#headerFill)
    this.#headerFill += part.length
    if (this.#headerFill === headerSize) this.#open(span, copy(this.#header))
  }

  #open(span: Span, header: Uint8Array | undefined): void {
    this.#framing = new Framing(this.#suite.segmentSize, true, this.#begin(span, header), span.firstSegment)
  }

  #complete(span: Span): void {
    if (this.#framing === undefined) throw new SseError('NotAuthentic')
    this.#framing.finish(span.last)
    this.#next()
  }

  #next(): void {
    const next = this.#spans.next()
    this.#span = next.done === true ? undefined : next.value
    this.#framing = undefined
    this.#headerFill = 0
    this.#left = this.#span?.stored ?? 0
  }
}
