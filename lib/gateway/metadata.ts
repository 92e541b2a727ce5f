/** What of a request's headers is kept with an object and answered as it is. */
import { SseError } from '../errors.ts'
import type { RequestHeaders } from './headers.ts'

const kept = new Set([
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-type',
  'expires',
])
const maxMetadata = 2048

/** Headers to keep: the standard ones, and user metadata (`x-amz-meta-…`, `x-obs-meta-…`) of at most 2 KiB. */
export const objectHeaders = (headers: RequestHeaders): Readonly<Record<string, string>> => {
  const out = new Map<string, string>()
  let size = 0
  for (const [name, value] of headers) {
    const own = /^x-(?:amz|obs)-meta-(.+)$/.exec(name)?.[1]
    if (own !== undefined) {
      out.set(`x-amz-meta-${own}`, value)
      size += own.length + value.length
    } else if (kept.has(name)) {
      const stripped = name === 'content-encoding' ? withoutChunked(value) : value
      if (stripped !== '') out.set(name, stripped)
    }
  }
  if (size > maxMetadata) throw new SseError('MetadataTooLarge')
  return Object.fromEntries(out)
}

/** `aws-chunked` describes the transfer, not the object. */
const withoutChunked = (value: string): string =>
  value
    .split(',')
    .map(coding => coding.trim())
    .filter(coding => coding !== 'aws-chunked' && coding !== '')
    .join(',')

/** Kept headers as an answer has them: user metadata in the client's dialect. */
export const answerMetadata = (
  headers: Readonly<Record<string, string>>,
  dialect: 's3' | 'obs',
): Readonly<Record<string, string>> =>
  dialect === 's3'
    ? headers
    : Object.fromEntries(
        Object.entries(headers).map(([name, value]) => [name.replace(/^x-amz-meta-/, 'x-obs-meta-'), value]),
      )
