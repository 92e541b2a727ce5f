/**
 * Conditional requests (RFC 9110, section 13), in the order of precedence that Amazon S3 documents for GetObject and CopyObject. Pure
 * functions of headers and an object's validators.
 */
import { SseError } from '../../errors.ts'
import type { HeaderGetter } from '../../sse/names.ts'
import type { ObjectCondition } from '../../store/records.ts'
import { parseTime } from './time.ts'

/** What conditions look at. */
export interface Validators {
  /** Without quotes. */
  readonly etag: string
  /** Milliseconds since 1970; conditions know whole seconds, as Last-Modified does. */
  readonly modified: number
}

type Comparison = 'strong' | 'weak'

/** The ETags of a list: quoted, weak, or bare as some clients send them. */
const etags = (list: string): readonly { readonly etag: string; readonly weak: boolean }[] =>
  [...list.matchAll(/(W\/)?(?:"([^"]*)"|([^\s,"]+))/g)].map(([, weak, quoted, bare = '']) => ({
    etag: quoted ?? bare,
    weak: weak !== undefined,
  }))

/** Whether a list of ETags has this one, or is `*` (RFC 9110, section 8.8.3.2). */
const matches = (list: string, etag: string, comparison: Comparison): boolean =>
  list.trim() === '*' || etags(list).some(each => each.etag === etag && (comparison === 'weak' || !each.weak))

/**
 * The first header whose condition does not hold. A date that cannot be read is no condition (RFC 9110, section 13.1.3), nor is one that is
 * still to come.
 */
const failing = (header: HeaderGetter, { etag, modified }: Validators, now: number): string | undefined => {
  const date = (name: string): number | undefined => {
    const time = parseTime(header(name) ?? '')
    return time !== undefined && time <= now ? time : undefined
  }
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
export const isNotModified = (header: HeaderGetter, object: Validators, now: number): boolean => {
  const condition = failing(header, object, now)
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
export const assertSourceConditions = (header: HeaderGetter, source: Validators, now: number): void => {
  const ofSource: HeaderGetter = name => header(`x-amz-copy-source-${name}`) ?? header(`x-obs-copy-source-${name}`)
  const condition = failing(ofSource, source, now)
  if (condition !== undefined) throw failed(`x-amz-copy-source-${condition.toLowerCase()}`)
}

/** The ETags of a list for a comparison. `strong` leaves out weak ETags, which never match (RFC 9110, section 8.8.3.2). */
const etagsIn = (list: string | undefined, comparison: Comparison): readonly string[] | '*' | undefined => {
  if (list === undefined) return undefined
  if (list.trim() === '*') return '*'
  return etags(list).flatMap(({ etag, weak }) => (weak && comparison === 'strong' ? [] : [etag]))
}

const notImplemented = (headers: string, additionalMessage: string): SseError =>
  new SseError('NotImplemented', {
    message: 'A header you provided implies functionality that is not implemented',
    details: { Header: headers, additionalMessage },
  })

const valueRefused = (header: string): SseError =>
  notImplemented(header, `We don't accept the provided value of ${header} header for this API`)

/**
 * The condition of a write: PUT, Copy and Complete take an ETag in If-Match, or `*` in If-None-Match, as S3 has it: `NotImplemented` for anything
 * else. The store checks it in the transaction that makes the change.
 */
export const writeCondition = (header: HeaderGetter): ObjectCondition => {
  const ifMatch = etagsIn(header('if-match'), 'strong')
  const ifNoneMatch = etagsIn(header('if-none-match'), 'weak')
  if (ifMatch !== undefined && ifNoneMatch !== undefined) {
    throw notImplemented('If-Match,If-None-Match', 'Multiple conditional request headers present in the request')
  }
  if (ifMatch === '*') throw valueRefused('If-Match')
  if (ifNoneMatch !== undefined && ifNoneMatch !== '*') throw valueRefused('If-None-Match')
  return { ...(ifMatch && { ifMatch }), ...(ifNoneMatch && { ifNoneMatch }) }
}

/** What a deletion is bound to, as the client says it. */
export interface DeletedIf {
  /** An ETag, or `*`. */
  readonly etag: string | undefined
  /** The time of last change: a date of HTTP, or ISO 8601. */
  readonly modified: string | undefined
  /** Bytes of plaintext. */
  readonly size: string | undefined
}

const namedTime = (text: string): number => {
  const time = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(text) ? Date.parse(text) : (parseTime(text) ?? NaN)
  if (!Number.isNaN(time)) return Math.floor(time / 1000)
  throw new SseError('InvalidArgument', {
    message: 'The time of last change is not a date. Send it as Last-Modified or a listing has it.',
    details: { ArgumentName: 'x-amz-if-match-last-modified-time', ArgumentValue: text },
  })
}

const namedSize = (text: string): number => {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new SseError('InvalidArgument', {
    message: 'The size is not a number of bytes. Send it as Content-Length or a listing has it.',
    details: { ArgumentName: 'x-amz-if-match-size', ArgumentValue: text },
  })
}

/** The condition of a deletion. `InvalidArgument` for a time or size that is none. */
export const deleteCondition = ({ etag, modified, size }: DeletedIf): ObjectCondition => {
  const ifMatch = etagsIn(etag, 'strong')
  return {
    ...(ifMatch && { ifMatch }),
    ...(modified !== undefined && { modified: namedTime(modified) }),
    ...(size !== undefined && { size: namedSize(size) }),
  }
}

/** What a DELETE says of it. `NotImplemented` for If-None-Match, which S3 does not take there. */
export const deletedIf = (header: HeaderGetter): DeletedIf => {
  if (header('if-none-match') !== undefined) throw valueRefused('If-None-Match')
  return {
    etag: header('if-match'),
    modified: header('x-amz-if-match-last-modified-time'),
    size: header('x-amz-if-match-size'),
  }
}
