/**
 * The encryption context on the wire: base64 of a JSON object from strings to strings. `kms/context.ts` has the rule which names a client may
 * set. It is applied here too, so that a request fails at its headers.
 */
import { base64, fromBase64, fromUtf8, utf8 } from '../bytes.ts'
import { SseError } from '../errors.ts'
import { clientContext } from '../kms/context.ts'
import { contextHeader } from './names.ts'

/** The system entry that a server computes from the request: `arn:aws:s3:::bucket/key`. */
export const arnEntry = 'aws:s3:arn'

const malformed = (): SseError => {
  const message = `The header '${contextHeader}' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map`
  return new SseError('InvalidContext', { message, details: { ArgumentName: contextHeader } })
}

const parseJson = (text: string): unknown => {
  const bytes = fromBase64(text)
  if (bytes === undefined) throw malformed()
  try {
    return JSON.parse(fromUtf8(bytes))
  } catch {
    throw malformed()
  }
}

/**
 * The client's entries of an encryption context. An entry `aws:s3:arn` that equals `objectArn` is dropped: the server adds it anyway.
 *
 * @throws {SseError} `InvalidContext` where it is not base64 of a JSON map of strings, sets `aws:s3:arn` to another value, uses another
 * reserved or an empty name, has lone surrogates, or is too large.
 */
export const parseContextHeader = (text: string, objectArn?: string): ReadonlyMap<string, string> => {
  const json = parseJson(text)
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw malformed()
  const entries = new Map<string, string>()
  for (const [name, value] of Object.entries<unknown>({ ...json })) {
    if (typeof value !== 'string') throw malformed()
    entries.set(name, value)
  }
  clientContext(entries, objectArn === undefined ? {} : { [arnEntry]: objectArn })
  entries.delete(arnEntry)
  return entries
}

/** The header's value for a context, the inverse of {@link parseContextHeader}. */
export const formatContextHeader = (context: ReadonlyMap<string, string>): string => {
  const entries = Array.from(context, ([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`)
  return base64(utf8(`{${entries.join(',')}}`))
}
