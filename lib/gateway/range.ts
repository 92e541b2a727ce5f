/** The Range header (RFC 9110, section 14): one range of bytes. Several ranges, other units and malformed ones are ignored, as S3 does. */
import type { RangeRequest } from '../segment/layout.ts'

/** The range of a header, or `undefined` for the whole. */
export const parseRange = (header: string | undefined): RangeRequest | undefined => {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? '')
  if (match === null) return undefined
  const [, first = '', last = ''] = match
  if (first === '') return last === '' ? undefined : { suffix: Number(last) }
  if (last === '') return { start: Number(first) }
  return Number(last) < Number(first) ? undefined : { start: Number(first), end: Number(last) }
}
