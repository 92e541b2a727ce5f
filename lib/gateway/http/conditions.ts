/**
 * Conditional requests (RFC 9110, section 13), in the order of precedence that Amazon S3 documents for GetObject and CopyObject. Pure: what a
 * request's headers say of an object, and nothing about where the object comes from.
 */
import { SseError } from '../../errors.ts'
import type { RangeRequest } from '../../segment/layout.ts'
import type { HeaderGetter } from '../../sse/names.ts'
import type { Condition } from '../../store/store.ts'
import { parseTime } from './time.ts'

/** What conditions look at. */
export interface Validators {
  /** Without quotes. */
  readonly etag: string
  /** Milliseconds since 1970; conditions know whole seconds, as Last-Modified does. */
  readonly modified: number
}

type Comparison = 'strong' | 'weak'

/** Whether a list of ETags has this one: `*`, quoted, weak, or bare as some clients send it (RFC 9110, section 8.8.3.2). */
const matches = (list: string, etag: string, comparison: Comparison): boolean =>
  list.trim() === '*' ||
  [...list.matchAll(/(W\/)?(?:"([^"]*)"|([^\s,"]+))/g)].some(
    ([, weak, quoted, bare]) => (quoted ?? bare) === etag && (comparison === 'weak' || weak === undefined),
  )

/** The first header whose condition does not hold. A date that cannot be read is no condition (RFC 9110, section 13.1.3). */
const failing = (header: HeaderGetter, { etag, modified }: Validators): string | undefined => {
  const date = (name: string): number | undefined => parseTime(header(name) ?? '')
  const seconds = modified - (modified % 1000)
  const match = header('if-match')
  const unmodifiedSince = date('if-unmodified-since')
  if (match !== undefined) {
    if (!matches(match, etag, 'strong')) return 'If-Match'
  } else if (unmodifiedSince !== undefined && seconds > unmodifiedSince) return 'If-Unmodified-Since'
  const noneMatch = header('if-none-match')
  const modifiedSince = date('if-modified-since')
  if (noneMatch !== undefined) return matches(noneMatch, etag, 'weak') ? 'If-None-Match' : undefined
  return modifiedSince !== undefined && seconds <= modifiedSince ? 'If-Modified-Since' : undefined
}

const failed = (condition: string): SseError =>
  new SseError('PreconditionFailed', { details: { Condition: condition } })

/** Whether a GET or HEAD is answered 304. `PreconditionFailed` (412) where If-Match or If-Unmodified-Since does not hold. */
export const isNotModified = (header: HeaderGetter, object: Validators): boolean => {
  const condition = failing(header, object)
  if (condition === 'If-Match' || condition === 'If-Unmodified-Since') throw failed(condition)
  return condition !== undefined
}

/** Whether the Range of a request holds for this object: If-Range names its ETag or its time (RFC 9110, section 13.1.5), or is not there. */
export const isRangeFor = (header: HeaderGetter, { etag, modified }: Validators): boolean => {
  const condition = header('if-range')
  if (condition === undefined) return true
  const date = parseTime(condition)
  return date === undefined ? matches(condition, etag, 'strong') : modified - (modified % 1000) === date
}

/** `x-amz-copy-source-if-…` of a copy, or OBS's spelling: `PreconditionFailed` (412) whichever does not hold. */
export const assertSourceConditions = (header: HeaderGetter, source: Validators): void => {
  const ofSource: HeaderGetter = name => header(`x-amz-copy-source-${name}`) ?? header(`x-obs-copy-source-${name}`)
  const condition = failing(ofSource, source)
  if (condition !== undefined) throw failed(`x-amz-copy-source-${condition.toLowerCase()}`)
}

/**
 * What If-Match and If-None-Match say of a change, to be asked again inside it; `undefined` where they say nothing. Throws `PreconditionFailed`
 * (412), and for If-Match `NoSuchKey` (404) where there is no object, as S3 answers it.
 */
export const changeCondition = (header: HeaderGetter): Condition | undefined => {
  const match = header('if-match')
  const noneMatch = header('if-none-match')
  if (match === undefined && noneMatch === undefined) return undefined
  return current => {
    if (match !== undefined) {
      if (current === undefined) throw new SseError('NoSuchKey')
      if (!matches(match, current.etag, 'strong')) throw failed('If-Match')
    }
    if (noneMatch !== undefined && current !== undefined && matches(noneMatch, current.etag, 'weak')) {
      throw failed('If-None-Match')
    }
  }
}

/** The range of a header, or `undefined` for the whole. */
export const parseRange = (header: string | undefined): RangeRequest | undefined => {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? '')
  if (match === null) return undefined
  const [, first = '', last = ''] = match
  if (first === '') return last === '' ? undefined : { suffix: Number(last) }
  if (last === '') return { start: Number(first) }
  return Number(last) < Number(first) ? undefined : { start: Number(first), end: Number(last) }
}
