/** Headers kept with an object: which ones, how answers give them back, and how a query overrides them. */
import { validateHeaderName, validateHeaderValue } from 'node:http'
import { SseError } from '../../errors.ts'
import type { Dialect } from '../../sse/names.ts'
import type { AnswerHeaders } from './answer.ts'
import { fromHeaderText, toHeaderText } from './encoded-words.ts'
import type { RequestHeaders } from './headers.ts'
import type { Query } from './route.ts'

const kept = ['cache-control', 'content-disposition', 'content-encoding', 'content-language', 'content-type', 'expires']
const maxMetadata = 2048

/** `InvalidArgument` for what could not be answered as a header later: a query and a form can say more than a header can. */
const assertHeader = (name: string, value: string): void => {
  try {
    validateHeaderName(name)
    validateHeaderValue(name, value)
  } catch (cause) {
    const message = `${JSON.stringify(name)} has a character that a header cannot have. Leave it out.`
    throw new SseError('InvalidArgument', { message, details: { ArgumentName: name }, cause })
  }
}

/**
 * Headers to keep: the standard ones, and user metadata (`x-amz-meta-…`, `x-obs-meta-…`), read as text, of at most 2 KiB. `MetadataTooLarge`;
 * `InvalidArgument` for control characters.
 */
export const objectHeaders = (headers: RequestHeaders): Readonly<Record<string, string>> => {
  const out = new Map<string, string>()
  let size = 0
  for (const [name, value] of headers) {
    const own = /^x-(?:amz|obs)-meta-(.+)$/s.exec(name)?.[1]
    if (own !== undefined || kept.includes(name)) assertHeader(name, value)
    if (own !== undefined) {
      const text = fromHeaderText(value)
      out.set(`x-amz-meta-${own}`, text)
      size += own.length + text.length
    } else if (kept.includes(name)) {
      const stripped = name === 'content-encoding' ? withoutChunked(value) : value
      if (stripped !== '') out.set(name, stripped)
    }
  }
  if (size > maxMetadata) throw new SseError('MetadataTooLarge')
  return Object.fromEntries(out)
}

/** `aws-chunked` describes the transfer, not the object. A value without it stays as it was sent. */
const withoutChunked = (value: string): string => {
  const codings = value.split(',')
  const others = codings.filter(coding => coding.trim() !== 'aws-chunked')
  return others.length === codings.length ? value : others.join(',').trim()
}

/** Kept headers as an answer has them: user metadata in encoded words where it takes them, and in the client's dialect. */
export const answerMetadata = (
  headers: Readonly<Record<string, string>>,
  dialect: Dialect,
): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => {
      const own = /^x-amz-meta-(.+)$/.exec(name)?.[1]
      if (own === undefined) return [name, value]
      return [`x-${dialect === 's3' ? 'amz' : 'obs'}-meta-${own}`, toHeaderText(value)]
    }),
  )

/**
 * The headers that the query of a GET or HEAD overrides (`response-content-type` and so on). `InvalidRequest` for an unsigned request: otherwise a
 * link could serve an object as something that its owner did not store. `InvalidArgument` for a value that is not printable ASCII.
 */
export const overriddenHeaders = (query: Query, signed: boolean): AnswerHeaders => {
  const headers = new Map<string, string>()
  for (const name of kept) {
    const parameter = `response-${name}`
    const value = query.get(parameter)
    if (value === undefined) continue
    if (!signed) {
      const message = 'Request specific response headers cannot be used for anonymous GET requests. Sign the request.'
      throw new SseError('InvalidRequest', { message })
    }
    if (!/^[\x20-\x7e]*$/.test(value)) {
      const message = `${parameter} has a character that a header cannot have. Leave it out.`
      throw new SseError('InvalidArgument', { message, details: { ArgumentName: parameter } })
    }
    headers.set(name, value)
  }
  return Object.fromEntries(headers)
}
