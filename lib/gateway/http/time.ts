/** Times on the wire: their formats, and how far the one of a signed request may differ from the server's. */
import { SseError } from '../../errors.ts'

const basic = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/
const http = /^(?:[A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d (?:GMT|UTC|[+-]\d{4})$/

/** Default of `maxSkew`, in milliseconds: 15 minutes. */
export const defaultSkew: number = 15 * 60 * 1000

/** Milliseconds of `20130524T000000Z` or `Fri, 24 May 2013 00:00:00 GMT`; `undefined` for anything else. */
export const parseTime = (text: string): number | undefined => {
  const [, ...fields] = basic.exec(text) ?? []
  const [year, month, day, hour, minute, second] = fields
  const readable =
    fields.length > 0 ? `${year}-${month}-${day}T${hour}:${minute}:${second}Z` : http.test(text) ? text : ''
  const time = Date.parse(readable)
  return Number.isNaN(time) ? undefined : time
}

/** `2013-05-24T00:00:00.000Z` of milliseconds, as answers have it: S3 knows whole seconds. */
export const answeredTime = (milliseconds: number): string =>
  new Date(Math.floor(milliseconds / 1000) * 1000).toISOString()

/** `20130524T000000Z` of milliseconds. */
export const basicTime = (milliseconds: number): string =>
  new Date(milliseconds).toISOString().replace(/\.\d+|[-:]/g, '')

/** The time of a signed request from its header; `AccessDenied` where it is missing or malformed. */
export const requestTime = (text: string | undefined): number => {
  const time = text === undefined ? undefined : parseTime(text)
  if (time !== undefined) return time
  throw new SseError('AccessDenied', {
    message:
      'AWS authentication requires a valid Date or x-amz-date header. Send the time at which the request was signed.',
    s3Message: 'AWS authentication requires a valid Date or x-amz-date header',
  })
}

/** Refuses a request whose time is more than `maxSkew` milliseconds off (`RequestTimeTooSkewed`). */
export const assertFresh = (time: number, now: number, maxSkew: number): void => {
  if (Math.abs(now - time) <= maxSkew) return
  throw new SseError('RequestTimeTooSkewed', {
    details: {
      RequestTime: new Date(time).toISOString(),
      ServerTime: new Date(now).toISOString(),
      MaxAllowedSkewMilliseconds: String(maxSkew),
    },
  })
}

/** Refuses an expired presigned URL (`AccessDenied`). Both times are in milliseconds. */
export const assertNotExpired = (expires: number, now: number): void => {
  if (now <= expires) return
  throw new SseError('AccessDenied', {
    message: 'Request has expired. Ask for a new presigned URL.',
    s3Message: 'Request has expired',
    details: { Expires: new Date(expires).toISOString(), ServerTime: new Date(now).toISOString() },
  })
}
