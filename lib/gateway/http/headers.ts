/**
 * Request headers, parsed once from the wire, so that the headers that are read are the ones that were signed. Values are as `node:http` gives
 * them: one character a byte.
 */
import { SseError } from '../../errors.ts'
import { obsNames, s3Names } from '../../sse/names.ts'
import type { Query } from './route.ts'

/** Headers by name in lower case; several of one name are joined by a comma, in the order in which they came. */
export type RequestHeaders = ReadonlyMap<string, string>

/** Trims spaces and tabs, in linear time. Other white space stays: here it may be part of UTF-8. */
export const trimmed = (text: string): string => {
  let start = 0
  let end = text.length
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (start < end && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

const isBlank = (character: number): boolean => character === 0x20 || character === 0x09

/** Parses node's `rawHeaders` (name, value, name, …); spaces and tabs around a value go. */
export const parseHeaders = (rawHeaders: readonly string[]): RequestHeaders => {
  const headers = new Map<string, string>()
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? '').toLowerCase()
    const value = trimmed(rawHeaders[i + 1] ?? '')
    const before = headers.get(name)
    headers.set(name, before === undefined ? value : `${before},${value}`)
  }
  return headers
}

const ofThePresigning = new Set(
  ['algorithm', 'credential', 'date', 'expires', 'signedheaders', 'signature'].map(name => `x-amz-${name}`),
)
// SDKs put these into presigned URLs, before the body is known. Amazon S3 ignores them there.
const ofAnotherBody = /^x-amz-(sdk-checksum-algorithm|checksum-(?!(algorithm|mode|type)$).*)$/

/** One character a byte, as headers have it. */
export const asHeader = (text: string): string => Buffer.from(text).toString('latin1')

const conditions = ['if-match', 'if-none-match']

/**
 * The headers that the query of a presigned URL carries: parameters that begin with `prefix`, conditions, and those of `others`. Headers that
 * were sent override them. Use them only once the signature was verified.
 */
export const carriedHeaders = (query: Query, prefix: string, others: readonly string[] = []): RequestHeaders => {
  const carried = new Map<string, string>()
  for (const [parameter, value] of query) {
    const name = parameter.toLowerCase()
    if (!(name.startsWith(prefix) || conditions.includes(name) || others.includes(name))) continue
    if (carried.has(name) || ofThePresigning.has(name) || ofAnotherBody.test(name)) continue
    carried.set(name, asHeader(value))
  }
  return carried
}

const twoValues = (message: string, name: string): SseError =>
  new SseError('InvalidArgument', { message, details: { ArgumentName: name } })

/** Headers and those that a query or form carries. `InvalidArgument` where one came both ways with two values: which of them was signed? */
export const withCarried = (carried: RequestHeaders, headers: RequestHeaders): RequestHeaders => {
  for (const [name, value] of carried) {
    if ((headers.get(name) ?? value) !== value)
      throw twoValues(`${name} was sent twice, with two values. Send it once.`, name)
  }
  return new Map([...carried, ...headers])
}

const twinOf = (name: string): string => (name === obsNames.keyId ? s3Names.keyId : name.replace(/^x-obs-/, 'x-amz-'))

/**
 * `InvalidArgument` where a header stands in the spellings of both families with two values: code that reads one would not see what code that
 * reads the other decides by.
 */
export const assertOneMeaning = (headers: RequestHeaders): void => {
  for (const [name, value] of headers) {
    if (!name.startsWith('x-obs-') || name === 'x-obs-date') continue // each signature has its own date
    const same = name === obsNames.algorithm && value === obsNames.kms ? s3Names.kms : value
    const twin = twinOf(name)
    if ((headers.get(twin) ?? same) !== same) throw twoValues(`${twin} and ${name} differ. Send one of them.`, twin)
  }
}
