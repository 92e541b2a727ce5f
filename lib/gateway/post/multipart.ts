/**
 * Reads `multipart/form-data` (RFC 7578; RFC 2046, section 5.1) part by part, in the memory of one chunk. Refuses what is ambiguous: parts without a
 * name, folded headers, bytes that are not UTF-8. (@fastify/busboy accepts all of these.)
 *
 *     [preamble CRLF] --BOUNDARY CRLF  headers CRLF CRLF  body  CRLF --BOUNDARY CRLF  …  CRLF --BOUNDARY--  [CRLF epilogue]
 */
import { fromUtf8 } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import type { BodyReader } from '../body/receive.ts'
import { cut } from '../http/canonical.ts'

/** What the headers of a part say. */
export interface FormPart {
  readonly name: string
  /** As it was sent, with whatever path it has; `undefined` where none was. */
  readonly filename: string | undefined
}

const maxHeaders = 16 * 1024
const maxPadding = 256

/** 400: the body is not such a form. */
export const malformedForm = (cause?: unknown): SseError => new SseError('MalformedPOSTRequest', { cause })

/** Bytes as text; `MalformedPOSTRequest` where they are not UTF-8. */
export const formText = (bytes: Uint8Array): string => {
  try {
    return fromUtf8(bytes)
  } catch (cause) {
    throw malformedForm(cause)
  }
}

const parameter = /;[ \t]*([\w*-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";]+))[ \t]*/gy

/** A header's first word in lower case, and its parameters, the first of a name; `undefined` where they are none. */
const parseValue = (text: string): readonly [word: string, parameters: ReadonlyMap<string, string> | undefined] => {
  const [word] = cut(text, ';')
  const rest = text.slice(word.length)
  const found = new Map<string, string>()
  let end = 0
  for (const match of rest.matchAll(parameter)) {
    const [all, name = '', quoted, token = ''] = match
    end = match.index + all.length
    // Browsers do not escape backslashes, so those of a path stay. Other clients escape quotes and backslashes.
    const value = quoted === undefined ? token : quoted.replace(/\\(["\\])/g, '$1')
    if (!found.has(name.toLowerCase())) found.set(name.toLowerCase(), value)
  }
  return [word.trim().toLowerCase(), end === rest.length ? found : undefined]
}

/** The boundary of a Content-Type; `undefined` where it is another type. `MalformedPOSTRequest` where it has none that is valid. */
export const boundaryOf = (contentType: string): string | undefined => {
  const [type, parameters] = parseValue(contentType)
  if (type !== 'multipart/form-data') return undefined
  const boundary = parameters?.get('boundary') ?? ''
  if (!/^[\w'()+,./:=? -]{0,69}[\w'()+,./:=?-]$/.test(boundary)) throw malformedForm()
  return boundary
}

const parseHeaders = (block: string): FormPart => {
  let disposition: string | undefined
  for (const line of block.split('\r\n')) {
    const [name, value] = cut(line, ':')
    if (value === undefined || !/^[\w!#$%&'*+.^`|~-]+$/.test(name)) throw malformedForm()
    if (name.toLowerCase() !== 'content-disposition') continue
    if (disposition !== undefined) throw malformedForm()
    disposition = value.trim()
  }
  const [kind, parameters] = parseValue(disposition ?? '')
  const name = parameters?.get('name')
  if (kind !== 'form-data' || name === undefined) throw malformedForm()
  return { name, filename: parameters?.get('filename') }
}

/** Reads the parts of a form, no further than asked. */
export class MultipartReader {
  readonly #source: Pick<BodyReader, 'next'>
  readonly #delimiter: Buffer
  /** Bytes that came and were not used; begins as the line that the first delimiter follows. */
  #held: Buffer = Buffer.from('\r\n')
  /** Whether the end of a body, or of the preamble, is yet to come. */
  #inside = true

  /** Reads a source from where it is. */
  constructor(source: Pick<BodyReader, 'next'>, boundary: string) {
    this.#source = source
    this.#delimiter = Buffer.from(`\r\n--${boundary}`)
  }

  /** The next part, once the rest of the one before was skipped; `undefined` behind the last. `MalformedPOSTRequest`, and what the source fails with. */
  async next(): Promise<FormPart | undefined> {
    for await (const _skipped of this.body()) continue
    while (this.#held.length < 2) await this.#more()
    if (this.#held.toString('latin1', 0, 2) === '--') return undefined
    const padding = await this.#until('\r\n', maxPadding)
    if (!/^[ \t]*$/.test(padding.toString('latin1'))) throw malformedForm()
    this.#inside = true
    const headers = await this.#until('\r\n\r\n', maxHeaders)
    this.#held = this.#held.subarray(4)
    return parseHeaders(formText(headers.subarray(2)))
  }

  /** What is left of the body of the part. */
  async *body(): AsyncGenerator<Uint8Array, void, undefined> {
    while (this.#inside) {
      const at = this.#held.indexOf(this.#delimiter)
      const end = at < 0 ? Math.max(0, this.#held.length - this.#delimiter.length + 1) : at
      const bytes = this.#held.subarray(0, end)
      this.#held = this.#held.subarray(at < 0 ? end : end + this.#delimiter.length)
      this.#inside = at < 0
      if (end > 0) yield bytes
      if (at < 0) await this.#more()
    }
  }

  /** What comes before a mark, which stays. */
  async #until(mark: string, limit: number): Promise<Buffer> {
    for (;;) {
      const at = this.#held.indexOf(mark)
      if ((at < 0 ? this.#held.length : at) > limit) throw malformedForm()
      if (at >= 0) {
        const found = this.#held.subarray(0, at)
        this.#held = this.#held.subarray(at)
        return found
      }
      await this.#more()
    }
  }

  /** Waits until more has come. */
  async #more(): Promise<void> {
    const chunk = await this.#source.next()
    if (chunk === undefined) throw malformedForm()
    this.#held = Buffer.concat([this.#held, chunk])
  }
}
