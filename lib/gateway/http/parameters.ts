/** Parameters that all listings share. */
import { createHash } from 'node:crypto'
import { fromBase64url, fromUtf8 } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import type { Query } from './route.ts'

/** What has a query: a request. */
export interface WithQuery {
  readonly query: Query
}

const most = 1000

/** A parameter's text, empty where it is not given. */
export const parameterOf = ({ query }: WithQuery, name: string): string => query.get(name) ?? ''

/** A limit such as `max-keys`: 1,000 by default and at most. `InvalidArgument` if it is not a number. */
export const limitOf = ({ query }: WithQuery, name: string): number => {
  const text = query.get(name)
  return text === undefined || text === '' ? most : Math.min(integer(name, text), most)
}

/** A marker that is a number; 0 where it is not given. */
export const markerOf = ({ query }: WithQuery, name: string): number => {
  const text = query.get(name) ?? ''
  return text === '' ? 0 : integer(name, text)
}

/** A number of a parameter or header; `InvalidArgument` if it is not one. */
export const integer = (name: string, text: string): number => {
  if (/^\d{1,10}$/.test(text)) return Number(text)
  throw new SseError('InvalidArgument', {
    message: `Argument ${name} must be an integer from 0 to 2147483647.`,
    details: { ArgumentName: name, ArgumentValue: text },
  })
}

/** What the ids of a key's uploads end with, so that a marker of another key is told. */
export const uploadIdEnd = (key: string): string => createHash('sha256').update(key).digest('base64url').slice(0, 12)

/**
 * Behind which upload a page begins; an upload's id counts only beside its key. `InvalidArgument` for the id of another key's upload. The upload may
 * be gone by now.
 */
export const uploadMarkers = ({ query }: WithQuery): { readonly key: string; readonly id: string } => {
  const key = query.get('key-marker') ?? ''
  const id = key === '' ? '' : (query.get('upload-id-marker') ?? '')
  if (id === '' || id.endsWith(`.${uploadIdEnd(key)}`)) return { key, id }
  throw new SseError('InvalidArgument', {
    message: 'Invalid uploadId marker. Use the markers that the last page answered.',
    details: { ArgumentName: 'upload-id-marker', ArgumentValue: id },
  })
}

/** Encodes keys for an answer: percent-encoded if the client asked for it. */
export const encoderOf = ({ query }: WithQuery): ((text: string) => string) => {
  const type = query.get('encoding-type')
  if (type === undefined) return text => text
  if (type !== 'url') {
    throw new SseError('InvalidArgument', {
      message: 'Invalid Encoding Method specified in Request. Use url.',
      details: { ArgumentName: 'encoding-type', ArgumentValue: type },
    })
  }
  return text => encodeURIComponent(text).replaceAll('%2F', '/').replaceAll('%20', '+')
}

/** The key that the continuation token holds; `undefined` for the first page. `InvalidArgument` for a malformed token. */
export const continuationToken = ({ query }: WithQuery): string | undefined => {
  const token = query.get('continuation-token')
  if (token === undefined) return undefined
  const bytes = fromBase64url(token)
  try {
    if (bytes !== undefined && bytes.length > 0) return fromUtf8(bytes)
  } catch {
    // answered below
  }
  throw new SseError('InvalidArgument', {
    message: 'The continuation token provided is incorrect. Use the one that the last page answered.',
    details: { ArgumentName: 'continuation-token' },
  })
}
